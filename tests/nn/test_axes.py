"""Flatten, LayerNorm, Softmax and Embedding: PyTorch's results, gradients, arguments and reprs; eager and compiled."""

import copy
import inspect
import pickle
import random

import numpy as np
import pytest
import torch

import microgradc
from microgradc import Value, array, compile, grads, nn
from microgradc.engine.value import plain_number


def numbers(x):
    return np.vectorize(plain_number, otypes=[float])(np.asarray(x, object))


def compare(ours, theirs, x):
    """Compare a module with PyTorch's: outputs, gradients of inputs and parameters; eagerly and compiled."""
    x = np.asarray(x, float)
    t = torch.tensor(x, requires_grad=True)
    theirs.zero_grad()
    expected = theirs(t)
    weights = np.linspace(1.0, 2.0, expected.numel()).reshape(tuple(expected.shape))
    (expected * torch.from_numpy(weights)).sum().backward()
    near = {"rtol": 1e-12, "atol": 1e-12}
    values = array(x)
    got = ours(values.tolist())
    assert np.shape(got) == tuple(expected.shape)
    np.testing.assert_allclose(numbers(got), expected.detach().numpy(), **near)
    ours.zero_grad(set_to_none=False)
    np.sum(np.asarray(got, object) * weights).backward()
    np.testing.assert_allclose(grads(values), t.grad.numpy(), **near)
    slopes = [p.grad.numpy() for p in theirs.parameters()]
    parameters = [p.grad for p in ours.parameters()]
    np.testing.assert_allclose(parameters, np.concatenate([[], *map(np.ravel, slopes)]), **near)
    np.testing.assert_allclose(numbers(ours(x)), expected.detach().numpy(), **near)
    f = compile(lambda x: np.sum(np.asarray(ours(x), object) * weights) * 1.0)
    value, slope = f.value_and_grad(x.tolist())
    np.testing.assert_allclose(value, np.sum(expected.detach().numpy() * weights), **near)
    np.testing.assert_allclose(slope, t.grad.numpy(), **near)
    assert repr(ours) == repr(theirs)


RNG = np.random.default_rng(0)
NORMS = [
    ((4,), (5, 4), {}),
    (4, (4,), {}),
    (4, (2, 3, 4), {"eps": 0.1}),
    ((3, 4), (2, 3, 4), {}),
    ([3, 4], (3, 4), {"bias": False}),
    (4, (5, 4), {"elementwise_affine": False}),
    (1, (3, 1), {}),
]


@pytest.mark.parametrize(("lengths", "shape", "settings"), NORMS)
def test_layer_norm(lengths, shape, settings):
    ours, theirs = nn.LayerNorm(lengths, **settings), torch.nn.LayerNorm(lengths, **settings, dtype=torch.float64)
    compare(ours, theirs, RNG.normal(size=shape))
    names = {name: tuple(p.shape) for name, p in theirs.named_parameters()}
    assert {name: a.shape for name, a in ours.state_dict().items()} == names
    for name, p in theirs.named_parameters():
        p.data = torch.tensor(RNG.normal(size=p.shape))
        ours.load_state_dict({name: p.detach().numpy()}, strict=False)
    compare(ours, theirs, 3 + RNG.normal(size=shape))


@pytest.mark.parametrize("dim", [None, -1, 0, 1, -2])
@pytest.mark.parametrize("shape", [(4, 3), (2, 3, 4)])
@pytest.mark.filterwarnings("ignore:Implicit dimension")
def test_softmax(shape, dim):
    compare(nn.Softmax(dim), torch.nn.Softmax(dim), RNG.normal(size=shape))


def test_softmax_of_one_example():
    row = [1.0, 2.0, 4.0]
    for dim in (None, 0, 1, -1):
        assert nn.Softmax(dim)(row) == microgradc.softmax(row)
    assert nn.Softmax(dim=1)(3.0) == 1.0


@pytest.mark.parametrize("axes", [(), (0,), (1, 2), (2,), (0, 1), (-2, -1), (1, 1)])
@pytest.mark.parametrize("shape", [(2, 3, 4), (2, 1, 3, 2)])
def test_flatten(shape, axes):
    compare(nn.Flatten(*axes), torch.nn.Flatten(*axes), RNG.normal(size=shape))


def test_flatten_of_few_axes():
    assert nn.Flatten()([[1, 2], [3, 4]]) == [[1, 2], [3, 4]]
    assert nn.Flatten()([1, 2]) == [1, 2]
    assert nn.Flatten(0)([[1, 2], [3, 4]]) == [1, 2, 3, 4]


@pytest.mark.parametrize("padding", [None, 0, -2])
@pytest.mark.parametrize("x", [3, [0, 4, 4], [[1, 2], [3, 0], [0, 0]], np.arange(5), torch.tensor([[4, 3]])])
def test_embedding(x, padding):
    ours = nn.Embedding(5, 3, padding, rng=random.Random(0))
    theirs = torch.nn.Embedding(5, 3, padding, dtype=torch.float64)
    if padding is not None:
        assert ours.state_dict()["weight"][padding].tolist() == [0.0, 0.0, 0.0]
    numbers_of_both = RNG.normal(size=(5, 3))
    theirs.weight.data = torch.tensor(numbers_of_both)
    ours.load_state_dict({"weight": numbers_of_both})
    expected = theirs(torch.as_tensor(x))
    got = ours(x)
    np.testing.assert_array_equal(numbers(got), expected.detach().numpy())
    (expected**2).sum().backward()
    np.sum(np.asarray(got, object) ** 2).backward()
    np.testing.assert_array_equal(np.reshape([p.grad for p in ours.parameters()], (5, 3)), theirs.weight.grad.numpy())
    assert repr(ours) == repr(theirs)


@pytest.mark.parametrize("padding", [None, 1])
def test_embedding_of_computed_indices(padding):
    table = nn.Embedding(6, 2, padding, rng=random.Random(1))
    head = [Value(0.5), Value(-2.0)]

    def plain(i, j):
        return microgradc.dot(table([i, j + 1])[0], table(abs(i - j) // 2)) * head[0] + table(j)[1] * head[1]

    f = compile(plain)
    indices = np.array([[0, 3], [1, 4], [5, 1], [2, 2]])
    total = f.mean(indices[:, 0], indices[:, 1])
    total.backward()
    found = [p.grad for p in table.parameters()]
    table.zero_grad()
    expected = sum(plain(int(i), int(j)) for i, j in indices) / 4
    expected.backward()
    assert total.data == pytest.approx(expected.data, rel=1e-13)
    assert found == pytest.approx([p.grad for p in table.parameters()], rel=1e-12)
    if padding is not None:
        assert [p.grad for p in table.weight[padding]] == [0.0, 0.0]
    with pytest.raises(IndexError):
        f.mean([6], [0])


def test_a_model_of_letters_learns():
    """The parts of a model of names: an embedding of three letters, joined, and a hidden layer."""
    letters = nn.Sequential(
        nn.Embedding(5, 2, rng=random.Random(0)),
        nn.Flatten(),
        nn.Layer(6, 8, activation="tanh", rng=random.Random(1)),
        nn.LayerNorm(8),
        nn.Layer(8, 5, nonlin=False, rng=random.Random(2)),
    )
    X = np.random.default_rng(0).integers(0, 5, (12, 3))
    y = X.sum(axis=1) % 5
    assert np.shape(letters(X)) == (12, 5)
    assert [v.data for v in letters(X[3])] == [v.data for v in letters(X)[3]]
    loss = compile(lambda x, y: microgradc.cross_entropy(letters(x), y))
    losses = loss.train(microgradc.NAdam(letters.parameters(), lr=0.05), X, y, epochs=200)
    assert losses[-1] < 0.1 < losses[0]
    assert microgradc.cross_entropy(letters(X), y).data == pytest.approx(loss.mean(X, y).data)


def test_flatten_in_sequential():
    rng = random.Random(0)
    model = nn.Sequential(nn.Flatten(), nn.Layer(6, 2, rng=rng), nn.Softmax(dim=1))
    X = RNG.normal(size=(4, 2, 3))
    expected = [[v.data for v in model(row)] for row in X.reshape(4, 6)]
    for batch in (X, X.tolist(), list(X), torch.tensor(X), X.reshape(4, 6), X.reshape(4, 6).tolist()):
        assert [[v.data for v in row] for row in model(batch)] == expected
    inside = nn.Sequential(lambda x: [[v, v] for v in x], nn.Flatten(), sum)
    assert inside([1.0, 2.0]) == 6.0
    assert inside([[1.0, 2.0], [3.0, 4.0]]) == [6.0, 14.0]
    with pytest.raises(ValueError, match="start_dim must be at least 1 in Sequential, where examples stay apart"):
        nn.Sequential(lambda x: [x, x], nn.Flatten(0))([1.0, 2.0])


def test_a_layer_of_one_neuron_before():
    for part in (nn.Softmax(dim=1), nn.Softmax(dim=-1), nn.LayerNorm(1), nn.Flatten()):
        out = nn.Sequential(nn.Layer(2, 1), part)([1.0, 2.0])
        assert isinstance(out, Value)


def test_signatures_begin_as_those_of_pytorch():
    for kind in ("LayerNorm", "Embedding", "Softmax", "Flatten"):
        ours, theirs = (inspect.signature(getattr(module, kind)).parameters for module in (nn, torch.nn))
        names = [name for name, p in ours.items() if p.kind is p.POSITIONAL_OR_KEYWORD]
        assert names == list(theirs)[: len(names)]
        assert [ours[name].default for name in names] == [theirs[name].default for name in names]
        assert getattr(microgradc, kind) is getattr(nn, kind)


def test_copies_and_initial_numbers():
    table = nn.Embedding(100, 20, rng=random.Random(0))
    assert abs(np.std(table.vector()) - 1) < 0.05
    assert nn.Embedding(2, 2, init=lambda n, m, rng: n + m).vector().tolist() == [4.0] * 4
    for module in (table, nn.LayerNorm((2, 3)), nn.Softmax(-1), nn.Flatten(1, 2)):
        for other in (copy.deepcopy(module), pickle.loads(pickle.dumps(module))):
            assert repr(other) == repr(module)
            assert other.vector().tolist() == module.vector().tolist()


REFUSED = [
    (lambda: nn.LayerNorm(0), ValueError, "normalized_shape must be a positive integer, got 0"),
    (lambda: nn.LayerNorm(2.5), TypeError, "normalized_shape must be a positive integer, got 2.5"),
    (lambda: nn.LayerNorm([]), ValueError, "normalized_shape must have at least one length"),
    (lambda: nn.LayerNorm(3, eps=-1), ValueError, "eps must be at least 0"),
    (lambda: nn.LayerNorm(3, bias=1), TypeError, "bias must be True or False"),
    (lambda: nn.LayerNorm(3)([1.0, 2.0]), ValueError, r"x must have a shape that ends in \(3,\), got \(2,\)"),
    (lambda: nn.Embedding(0, 2), ValueError, "num_embeddings must be a positive integer"),
    (lambda: nn.Embedding(3, 2, 3), ValueError, "padding_idx must be one of 3 rows, got 3"),
    (lambda: nn.Embedding(3, 2, 0.5), TypeError, "padding_idx must be an integer"),
    (lambda: nn.Embedding(3, 2)(3), IndexError, "index must be at least 0 and less than 3"),
    (lambda: nn.Embedding(3, 2)([0, -1]), IndexError, "got -1"),
    (lambda: nn.Embedding(3, 2)([0.5]), TypeError, "index must be an integer, got float 0.5"),
    (lambda: nn.Embedding(3, 2)(Value(1.0)), TypeError, "index must be an integer"),
    (lambda: nn.Softmax(dim="x"), TypeError, "dim must be an integer"),
    (lambda: nn.Softmax(dim=2)([[1.0]]), ValueError, r"dim must be an axis of x, of shape \(1, 1\), got 2"),
    (lambda: nn.Flatten(1.0), TypeError, "start_dim must be an integer"),
    (lambda: nn.Flatten(2, 1)([[[1.0]]]), ValueError, "end_dim must not come before start_dim"),
    (lambda: nn.Flatten(3)([[[1.0]]]), ValueError, r"start_dim must be an axis of x, of shape \(1, 1, 1\), got 3"),
]


@pytest.mark.parametrize(("call", "error", "message"), REFUSED)
def test_what_is_refused(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_models_of_embeddings_are_fitted_and_asked_compiled():
    indices = np.random.default_rng(0).integers(0, 5, size=(30, 2))
    letters = nn.Sequential(nn.Embedding(5, 3), nn.Flatten(), nn.Layer(6, 2, nonlin=False))
    letters.fit(indices, indices[:, 0] % 2, epochs=1, seed=0, progress=False, compile=True)
    wanted = letters.outputs(indices, compile=False)
    for x in (indices, indices.astype(np.uint8), indices.astype(float)):
        np.testing.assert_allclose(letters.outputs(x, compile=True), wanted, rtol=1e-12, atol=1e-12)
    for wrong in (5, -1, 0.5):
        with pytest.raises(IndexError, match="must be an integer, at least 0 and less than 5"):
            letters.outputs([[wrong, 0]] * 20)
