"""Frames, series, tensors and the like are taken by position, never by label, wherever an array is."""

import copy
import functools
import operator
import random

import numpy as np
import pytest

import microgradc as mg
from microgradc import MLP, Value, nn

DATA = np.array([[5.0, 1.0], [0.5, 2.0], [-1.0, 0.25]])


class Frame:
    """A table as pandas has it: iteration and indices go by labels that are numbers; `__array__` has its data."""

    def __init__(self, data):
        self.data = np.array(data)

    def __iter__(self):
        return iter(range(7, 7 + self.data.shape[-1]))

    def __len__(self):
        return len(self.data)

    def __getitem__(self, label):
        return self.data[-1 - label]

    def __array__(self, dtype=None, copy=None):
        return self.data


def pandas_table(data):
    pandas = pytest.importorskip("pandas", reason="tables of pandas")
    data = np.array(data)
    labels = list(range(len(data)))[::-1]
    return pandas.DataFrame(data, labels) if data.ndim == 2 else pandas.Series(data, labels)


def tensor(data):
    return pytest.importorskip("torch", reason="tensors of PyTorch").tensor(np.array(data))


def scalars(data):
    return [scalars(row) if np.ndim(row) else np.float32(row) for row in data]


@pytest.fixture(params=[Frame, pandas_table, tensor, scalars, np.array], ids=lambda f: f.__name__)
def table(request):
    return request.param


def test_losses(table):
    target = [[0.5, 0.25], [1.0, 0.0], [0.75, 0.5]]
    for loss in (mg.mse_loss, mg.l1_loss, mg.huber_loss, mg.binary_cross_entropy_with_logits, mg.cross_entropy):
        assert loss(table(DATA), table(target)) == loss(DATA.tolist(), target)
    assert mg.hinge_loss(table(DATA[:, 0]), table(np.array([1, -1, 1]))) == mg.hinge_loss(
        DATA[:, 0].tolist(), [1, -1, 1]
    )
    if table is not scalars:
        classes = np.array([1, 0, 1])
        assert mg.cross_entropy(table(DATA), table(classes)) == mg.cross_entropy(DATA.tolist(), [1, 0, 1])
        assert mg.nll_loss([table(row) for row in DATA], table(classes)) == mg.nll_loss(DATA.tolist(), [1, 0, 1])


def test_functions_of_many(table):
    row, rows = DATA[:, 0], DATA.tolist()
    for f in (mg.sum, mg.mean, mg.logsumexp, mg.softmax, mg.log_softmax):
        assert f(table(row)) == f(row.tolist())
        with pytest.raises(TypeError):
            f(table(DATA))
    assert mg.dot(table(row), table(row), 1.0) == mg.dot(row.tolist(), row.tolist(), 1.0)
    assert mg.linear(table(DATA[0]), table(DATA), table(row)) == mg.linear(rows[0], rows, row.tolist())
    assert mg.take(table(row), 2) == row[2]
    assert mg.take(table(DATA), 1) == rows[1]
    assert mg.to_numpy(table(DATA)).tolist() == rows


def test_models(table):
    for model in (
        MLP(2, [3, 2], seed=0),
        nn.Layer(2, 3, rng=random.Random(0)),
        nn.Neuron(2, rng=random.Random(0)),
        nn.Activation("tanh"),
        nn.Sequential(nn.Layer(2, 2, activation=lambda v: v.exp()), nn.Dropout(0.5).eval()),
    ):

        def numbers(x, model=model):
            return mg.to_numpy(model(x)).tolist()

        assert numbers(table(DATA)) == numbers(DATA.tolist())
        assert numbers(table(DATA[0])) == numbers(DATA[0].tolist())


def test_batches_and_training(table):
    X, y = DATA, DATA[:, 0]
    turns = list(mg.batches(table(X), table(y), 2, seed=0))
    assert [(np.array(a).tolist(), np.array(b).tolist()) for a, b in turns] == [
        (a.tolist(), b.tolist()) for a, b in mg.batches(X, y, 2, seed=0)
    ]
    losses = [
        MLP(2, [1], seed=0).fit(a, b, epochs=2, seed=0, progress=False).loss for a, b in ((X, y), (table(X), table(y)))
    ]
    assert losses[0] == losses[1]


def test_a_tensor_that_requires_grad_is_not_cut_off_in_silence():
    torch = pytest.importorskip("torch", reason="tensors of PyTorch")
    x, X = torch.ones(2, requires_grad=True), torch.ones(3, 2, requires_grad=True)
    model = MLP(2, [1])
    calls = [
        lambda: model(x),
        lambda: model(X),
        lambda: mg.sum(x),
        lambda: mg.exp(x),
        lambda: mg.mse_loss(x, [1, 1]),
        lambda: mg.mse_loss([x], [[1, 1]]),
        lambda: mg.batches(X, [1, 2, 3]),
        lambda: mg.array(x),
        lambda: model.fit(X, [1.0, 2.0, 3.0]),
        lambda: mg.outputs(model, X),
        lambda: mg.sum([x[0]]),
    ]
    for call in calls:
        with pytest.raises(TypeError, match=r"detach\(\)"):
            call()


def test_what_is_refused():
    masked = np.ma.masked_array([1.0, 2.0], [False, True])
    for call in (lambda: mg.sum(masked), lambda: mg.mse_loss(masked, [1, 1]), lambda: MLP(2, [1])(masked)):
        with pytest.raises(ValueError, match="masked entries"):
            call()
    for call in (
        lambda: mg.batches([masked, masked], [1, 2], 1),
        lambda: mg.batches([1.0, 2.0], [1, np.ma.masked], 1),
        lambda: MLP(2, [1]).fit([[1.0, 2.0], masked], [1.0, 2.0], epochs=1, progress=False),
    ):
        with pytest.raises(ValueError, match="masked entries"):
            call()
    assert mg.sum(np.ma.masked_array([1.0, 2.0])) == 3.0
    with pytest.raises(TypeError, match="got a dict"):
        mg.sum({1: 2.0})
    with pytest.raises(TypeError, match="X must be a list, an array"):
        mg.batches(iter([1]), [1])


@pytest.mark.parametrize("make", [np.random.default_rng, np.random.RandomState], ids=["Generator", "RandomState"])
def test_numpy_generators_are_seeds(make):
    def drawn(rng):
        model = MLP(2, [3, 1], seed=rng, init="normal")
        layer = nn.Layer(2, 2, rng=rng, init="normal")
        X, y = mg.make_moons(10, noise=0.1, random_state=rng)
        order = [b.tolist() for _, b in mg.batches(X, np.arange(10), 3, seed=rng)]
        loss = model.fit(X, y, epochs=2, seed=rng, progress=False).loss
        return [p.data for p in [*model.parameters(), *layer.parameters()]], X.tolist(), order, loss

    assert drawn(make(3)) == drawn(make(3))
    assert drawn(make(3)) != drawn(make(4))
    rng = make(3)
    assert drawn(rng) != drawn(rng)


@pytest.mark.parametrize("shape", [(4, 3), (3,)])
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_probabilities_as_in_pytorch(shape, reduction):
    torch = pytest.importorskip("torch", reason="compares with PyTorch")
    rng = np.random.default_rng(0)
    logits, p = rng.normal(size=shape) * 10, rng.uniform(size=shape)
    one_hot = np.eye(3)[rng.integers(3, size=shape[:-1])]
    for target in (p / p.sum(-1, keepdims=True), one_hot):
        ours, theirs = mg.array(logits), torch.tensor(logits, requires_grad=True)
        loss = mg.cross_entropy(ours, target, reduction)
        expected = torch.nn.functional.cross_entropy(theirs, torch.tensor(target), reduction=reduction)
        np.testing.assert_allclose(mg.to_numpy(loss), expected.detach().numpy(), rtol=1e-12)
        mg.sum(loss if isinstance(loss, list) else [loss]).backward()
        expected.sum().backward()
        np.testing.assert_allclose(mg.grads(ours), theirs.grad.numpy(), rtol=1e-9, atol=1e-12)


def test_probabilities_compiled_and_refused():
    X, y = np.random.default_rng(0).normal(size=(6, 2)), np.eye(2)[[0, 1, 1, 0, 1, 0]]
    histories = [
        MLP(2, [2], seed=0).fit(X, y, loss="cross_entropy", epochs=3, seed=0, progress=False, compile=c)
        for c in (True, False)
    ]
    np.testing.assert_allclose(histories[0].loss, histories[1].loss, rtol=1e-9)
    assert histories[0].accuracy == histories[1].accuracy
    with pytest.raises(ValueError, match=r"target must be 1 indices.* got shape \(1, 3\); or probabilities.*\(1, 2\)"):
        mg.cross_entropy([[1.0, 2.0]], [[0.2, 0.3, 0.5]])
    with pytest.raises(ValueError, match=r"target\[0\]\[1\] must be in \[0, 1\], got 1.5"):
        mg.cross_entropy([[1.0, 2.0]], [[0.2, 1.5]])


def test_batches_can_be_gone_through_again():
    X, y = [[float(i)] for i in range(7)], list(range(7))
    turns = mg.batches(X, y, 3, seed=1)
    passes = [[b for _, b in turns] for _ in range(3)]
    order, rng = list(range(7)), random.Random(1)
    rng.shuffle(order)
    assert passes[0] == [order[:3], order[3:6], order[6:]]
    assert passes[0] != passes[1] != passes[2]
    assert all(sorted(functools.reduce(operator.iadd, p, [])) == y for p in passes)
    assert len(turns) == 3
    assert len(mg.batches(X, y, 3, drop_last=True)) == 2
    assert [b for _, b in copy.deepcopy(turns)] == [b for _, b in turns]


@pytest.mark.parametrize("compile", [True, False])
def test_fit_within_no_grad_trains(compile):
    def losses():
        return MLP(2, [1], seed=0).fit(DATA, DATA[:, 0], epochs=3, seed=0, progress=False, compile=compile).loss

    expected = losses()
    with mg.no_grad():
        assert losses() == expected
        assert not Value(1.0).exp()._children


@pytest.mark.parametrize("compile", [True, False])
@pytest.mark.parametrize("optimizer", ["sgd", "adam", "adamw", "rmsprop"])
@pytest.mark.parametrize("epochs", [1, 3])
def test_a_gradient_that_is_nan_stops_before_the_step(compile, optimizer, epochs):
    class Norm(mg.Module):
        def __init__(self):
            self.w, self.b = Value(0.5), Value(0.25)

        def forward(self, x):
            return (self.w * self.w * x[0] * x[0]).sqrt() + self.b

    model = Norm()
    with pytest.raises(FloatingPointError, match=r"the gradient of w became .*nan, though the loss is"):
        model.fit(
            [[0.0], [1.0]], [0.0, 1.0], epochs=epochs, seed=0, progress=False, compile=compile, optimizer=optimizer
        )
    assert (model.w.data, model.b.data) == (0.5, 0.25)
    model.fit([[0.0]], [0.0], epochs=1, progress=False, compile=compile, check_finite=False)


@pytest.mark.parametrize(
    ("answer", "epochs"),
    [(True, 1), (np.True_, 1), (np.array(True), 1), (np.False_, 4), (False, 4), (None, 4), (1, 4), ("stop", 4)],
)
def test_what_a_callback_returns(answer, epochs):
    history = MLP(2, [1], seed=0).fit(DATA, DATA[:, 0], epochs=4, progress=False, callback=lambda h: answer)
    assert len(history) == epochs
