"""Steps that `fit` takes in C are those that it takes in Python."""

import random
import signal
import threading

import pytest

from microgradc import nn
from microgradc.train.data import make_moons
from microgradc.train.loop import Loop


@pytest.mark.parametrize("loss", ["mse_loss", "hinge_loss", "binary_cross_entropy_with_logits"])
@pytest.mark.parametrize("settings", [{}, {"shuffle": False}, {"batch_size": 1000}, {"seed": None}], ids=str)
def test_steps_in_c_are_those_in_python(loss, settings, monkeypatch):
    X, y = make_moons(60, noise=0.1, random_state=0)
    found = []
    for in_c in (True, False):
        if not in_c:
            monkeypatch.setattr(Loop, "epochs_in_c", lambda self, way, epochs, entries: False)
        random.seed(5)
        model = nn.MLP(2, [6, 1], seed=0)
        history = model.fit(X, y if "cross" in loss else 2 * y - 1, loss=loss, epochs=5, progress=False,
                            **{"seed": 3, "batch_size": 16, **settings})
        found.append((history.loss, model.vector().tolist(), model.vector("grad").tolist(), random.random()))
        assert history.why_eager == ""
    assert found[0][0] == pytest.approx(found[1][0], rel=1e-15)
    assert found[0][1:] == found[1][1:]


@pytest.mark.usefixtures("ctrl_c")
@pytest.mark.parametrize("settings", [{}, {"validation": 0.3}, {"metrics": ["f1"]}], ids=str)
def test_ctrl_c_within_a_run_of_epochs(settings):
    X, y = make_moons(60, noise=0.1, random_state=0)
    model = nn.MLP(2, [6, 1], seed=0)
    model.fit(X, y, epochs=1, progress=False)
    timer = threading.Timer(0.3, signal.raise_signal, args=(signal.SIGINT,))
    timer.start()
    history = model.fit(X, y, epochs=3_000_000, batch_size=16, seed=3, progress=False, **settings)
    assert history.interrupted
    lengths = {len(history[name]) for name in history.names()}
    assert lengths == {len(history)}
    assert 0 < len(history) < 3_000_000
    assert not model.training


def test_many_epochs_in_one_call_are_as_one_by_one():
    X, y = make_moons(60, noise=0.1, random_state=0)
    found = []
    for callback in (None, lambda history: None):
        model = nn.MLP(2, [6, 1], seed=0)
        history = model.fit(X, y, epochs=50, batch_size=16, seed=3, progress=False, callback=callback, metrics=["f1"])
        found.append((history.loss, history.accuracy, history.f1, model.vector().tolist()))
    assert found[0] == found[1]


def test_a_training_that_needs_python_again_goes_on_with_its_order():
    X, y = make_moons(60, noise=0.1, random_state=0)
    found = []
    for late in (True, False):
        model = nn.MLP(2, [6, 1], seed=0)

        def callback(history, model=model, late=late):
            if len(history.loss) == (2 if late else 1):
                model.parameters()[0].register_hook(lambda g: g)      # changes nothing, but is Python

        model.fit(X, y, epochs=5, progress=False, seed=3, batch_size=16, callback=callback)
        found.append(model.vector().tolist())
    assert found[0] == found[1]
