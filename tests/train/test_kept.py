"""The recordings that a model keeps: made once, never stale, nobody's but the model's."""

import copy
import gc
import inspect
import pickle
import threading
import weakref

import numpy as np
import pytest

import microgradc
from microgradc import Value, nn, no_grad, outputs
from microgradc.train import kept
from microgradc.train.data import make_moons

X, Y = make_moons(40, noise=0.1, random_state=0)
SETTINGS = {"epochs": 2, "seed": 0, "progress": False}


@pytest.fixture
def recorded(monkeypatch):
    """The list of what is recorded from now on."""
    found = []

    class Counted(kept.Recording):
        def __init__(self, f, *args):
            super().__init__(f, *args)
            found.append(f.__name__)

    monkeypatch.setattr(kept, "Recording", Counted)
    kept.TEMPLATES.known.clear()
    return found


@pytest.fixture
def model():
    return nn.MLP(2, [6, 1], activation="tanh", seed=0)


def by_hand(model, rows=X):
    training = model.training
    model.eval()
    with no_grad():
        found = np.array([microgradc.to_numpy(model(row)) for row in rows.tolist()], float)
    model.train(training)
    return found


def check(model, rows=X):
    found = model.outputs(rows)
    np.testing.assert_allclose(found, by_hand(model, rows).reshape(found.shape), rtol=1e-12, atol=1e-14)


def test_a_second_fit_does_not_record_again(model, recorded):
    model.fit(X, Y, **SETTINGS)
    assert recorded == ["example"]
    model.fit(X, Y, **SETTINGS)
    model.fit(X, Y, batch_size=7, optimizer="sgd", **SETTINGS)
    assert recorded == ["example"]
    model.fit(X, Y, validation=0.25, **SETTINGS)
    model.fit(X, Y, sample_weight=np.ones(40), **SETTINGS)
    assert recorded == ["example", "example", "weighted"]
    model.predict(X)
    microgradc.accuracy(model, X, Y)
    assert len(recorded) == 4
    model.fit(X, Y, loss="mse_loss", **SETTINGS)
    assert len(recorded) == 5
    for _ in range(2):
        model.fit(X, Y, validation=0.25, callback=lambda history: None, **SETTINGS)
        model.predict(X)
    assert len(recorded) == 5


def test_a_second_fit_trains_the_same(model):
    other = nn.MLP(2, [6, 1], activation="tanh", seed=0)
    first = model.fit(X, Y, **SETTINGS)
    model.set_vector(other.vector())
    assert model.fit(X, Y, **SETTINGS).loss == first.loss == other.fit(X, Y, compile=True, **SETTINGS).loss


CHANGES = {
    "numbers": lambda m: [setattr(p, "data", p.data + 0.1) for p in m.parameters()],
    "a view": lambda m: m.vector().__iadd__(0.1),
    "activation": lambda m: [setattr(n, "activation", "relu") for n in m.layers[0].neurons],
    "one activation": lambda m: setattr(m.layers[0].neurons[2], "activation", "sigmoid"),
    "linear": lambda m: setattr(m.layers[0].neurons[0], "nonlin", False),
    "a weight": lambda m: m.layers[0].neurons[1].w.__setitem__(0, Value(3.0)),
    "a bias": lambda m: setattr(m.layers[1].neurons[0], "b", Value(-3.0)),
    "a layer": lambda m: m.layers.insert(1, nn.Layer(6, 6)),
    "a neuron": lambda m: m.layers[0].neurons.__setitem__(0, nn.Neuron(2)),
    "another function": lambda m: m.layers.append(lambda x: x * 2),
    "a list of weights": lambda m: setattr(m.layers[0].neurons[1], "w", [Value(1.0), Value(2.0)]),
    "shared weights": lambda m: m.layers[0].neurons[1].w.__setitem__(0, m.layers[0].neurons[0].w[0]),
}


@pytest.mark.parametrize("change", CHANGES)
def test_what_changed_is_seen(change, model):
    model.fit(X, Y, **SETTINGS)
    check(model)
    CHANGES[change](model)
    check(model)
    other = copy.deepcopy(model)
    assert model.fit(X, Y, **SETTINGS).loss == pytest.approx(other.fit(X, Y, compile=False, **SETTINGS).loss, rel=1e-10)
    check(model)
    check(model, X[:1])


def test_a_class_that_is_changed_is_seen(model, monkeypatch):
    check(model)
    plain = nn.Layer.__call__
    monkeypatch.setattr(nn.Layer, "__call__", lambda self, x: [2 * v for v in np.ravel(plain(self, x))])
    check(model)
    monkeypatch.undo()
    check(model)


class Scaled(nn.Module):
    """A model that nobody can watch: it reads an array and a dict."""

    def __init__(self):
        self.net, self.scale, self.settings = nn.MLP(2, [4, 1], seed=0), np.ones(1), {"shift": 0.0}
        self._hidden = nn.Dropout(0.5, seed=0)

    def forward(self, x):
        return self.net(x) * float(self.scale[0]) + self.settings["shift"]


def test_a_model_of_ones_own_is_asked_each_time():
    model = Scaled()
    check(model)
    model.scale[0] = 3.0
    check(model)
    model.settings["shift"] = 1.0
    check(model)
    model.fit(X, Y, **SETTINGS)
    model.scale[0] = 2.0
    other = copy.deepcopy(model)
    assert model.fit(X, Y, **SETTINGS).loss == pytest.approx(other.fit(X, Y, compile=False, **SETTINGS).loss, rel=1e-10)


def test_modes(recorded):
    model = nn.Sequential(nn.Layer(2, 6), nn.Dropout(0.5, seed=0), nn.Layer(6, 1, nonlin=False))
    model.train()
    first = model.outputs(X)
    assert model.training
    assert (model.outputs(X) == first).all(), "dropout is off"
    model.eval()
    assert (model.outputs(X) == first).all()
    model.layers[1].train()
    assert (model.outputs(X) == first).all()
    assert [m.training for m in model.modules()].count(True) == 1
    assert len(recorded) == 1


def test_a_module_that_is_hidden_keeps_its_mode():
    model = nn.Sequential(nn.Layer(2, 4), nn.Layer(4, 1, nonlin=False))
    model.layers[0]._extra = nn.Dropout(0.9, seed=0)
    model.outputs(X)
    model.layers[0]._extra.eval()
    check(model)


def test_threads(model):
    model.outputs(X)
    expected, found = model.outputs(X).tolist(), []

    def ask():
        found.extend(model.outputs(X).tolist() == expected for _ in range(50))

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [True] * 200


def test_copies_have_none_and_pickles_are_as_before(model):
    before = len(pickle.dumps(model))
    model.fit(X, Y, **SETTINGS)
    model.predict(X)
    assert len(pickle.dumps(model)) < before + 1000
    for other in (pickle.loads(pickle.dumps(model)), copy.deepcopy(model)):
        CHANGES["a bias"](other)
        check(other)
        check(model)
    shallow = copy.copy(model)
    shallow.layers = [*model.layers, nn.Layer(1, 1)]
    check(shallow)
    check(model)


@pytest.mark.parametrize("make", [lambda: nn.MLP(2, [6, 1], seed=0), Scaled])
def test_a_model_goes_when_nobody_has_it(make):
    gc.disable()
    try:
        model = make()
        model.fit(X, Y, validation=0.2, **SETTINGS)
        model.predict(X)
        there = weakref.ref(model)
        del model
        assert there() is None, "at once: it is in no circle"
    finally:
        gc.enable()


def test_why_a_model_is_not_compiled_is_said_on_request():
    def branching(x):
        return net(x) if net(x) > 0 else net(x) * 0.5

    net = nn.MLP(2, [4, 1], seed=0)
    model = nn.Sequential(branching)
    for _ in range(2):
        check(model)
        with pytest.raises(microgradc.CompileError, match="cannot be replayed"):
            outputs(model, X, compile=True)
    assert (outputs(net, X, compile=True) == net.outputs(X)).all()
    with pytest.raises(TypeError, match="compile must be True or False"):
        outputs(net, X, compile="yes")
    check(nn.Sequential(net, lambda v: [v, 2.0 * v]))
    with pytest.raises(microgradc.CompileError, match="something other than a number or a list"):
        outputs(nn.Sequential(net, lambda v: {"a": v}), X, compile=True)


def test_within_no_grad_and_within_a_recording(model):
    with no_grad():
        check(model)
    with microgradc.detect_anomaly():
        check(model, X[:3])


def test_rows_of_all_kinds(model):
    expected = model.outputs(X)
    for rows in (X.tolist(), X.astype(np.float32), np.asfortranarray(X), X[::2], np.repeat(X, 2, 1)[:, ::2]):
        kind = np.asarray(rows)
        found = model.outputs(rows)
        np.testing.assert_allclose(found, expected[::2] if len(kind) < 40 else expected, rtol=1e-5)
    read_only = X.copy()
    read_only.flags.writeable = False
    assert (model.outputs(read_only) == expected).all()
    with pytest.raises(ValueError, match="x must have 2 entries"):
        model.outputs(np.ones((3, 5)))


def test_fit_has_all_arguments_twice():
    ours, theirs = (inspect.signature(f).parameters for f in (nn.Module.fit, microgradc.fit))
    assert [(p.name, p.default, p.kind) for p in list(ours.values())[3:]] == [
        (p.name, p.default, p.kind) for p in list(theirs.values())[3:]]


def test_a_model_of_the_same_structure_does_not_record_again(recorded):
    for seed in range(3):
        model, other = (nn.MLP(2, [5, 4, 1], activation="tanh", seed=seed) for _ in range(2))
        history = model.fit(X, Y, validation=0.2, **SETTINGS)
        assert history.loss == pytest.approx(other.fit(X, Y, validation=0.2, compile=False, **SETTINGS).loss, rel=1e-10)
        check(model)
    assert len(recorded) == 3


@pytest.mark.parametrize("change", CHANGES)
def test_a_model_of_another_structure_is_another(change, model):
    check(model)        # its program is there to be taken
    other = nn.MLP(2, [6, 1], activation="tanh", seed=0)
    CHANGES[change](other)
    check(other)
    eager = copy.deepcopy(other)
    assert other.fit(X, Y, **SETTINGS).loss == pytest.approx(eager.fit(X, Y, compile=False, **SETTINGS).loss, rel=1e-10)


def test_cross_validation_records_once(recorded):
    from sklearn.model_selection import KFold

    template = nn.MLP(2, [3, 1], seed=0)
    for train, test in KFold(4).split(X):
        model = copy.deepcopy(template)
        model.fit(X[train], Y[train], **SETTINGS)
        microgradc.accuracy(model, X[test], Y[test])
    assert len(recorded) == 2


def test_templates_are_few_and_hold_no_model():
    kept.TEMPLATES.known.clear()
    model = nn.MLP(2, [3, 1], seed=0)
    model.outputs(X)
    parameter = model.parameters()[0]
    assert kept.TEMPLATES.known
    del model
    gc.collect()
    assert not any(type(r) is not list for r in gc.get_referrers(parameter) if r is not locals())
    for width in range(1, 25):
        nn.MLP(2, [width, 1]).outputs(X)
    assert len(kept.TEMPLATES.known) == 16
