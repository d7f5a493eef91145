"""The moons step of `microgradc.cli.bench`: whole, and forward, backward and release apart."""

import gc
import random

import pytest
from minigrad_engine import COMMANDS

from microgradc import Value, nn
from microgradc.cli import bench, moons
from microgradc.cli.engines import ENGINES, SumNeuron, installed_version, with_neurons

CHECKED_STEPS = 3


def require(project):
    """Skip unless a project is installed."""
    if not installed_version(project):
        pytest.skip(f"{project} is not installed: pip install {project}")


@pytest.fixture(scope="module")
def reference():
    """The losses of the first steps, of micrograd if it is installed."""
    engine = "micrograd" if installed_version("micrograd") else "microgradc.nn"
    step = ENGINES[engine].make_step()
    return [step() for _ in range(CHECKED_STEPS)]


@pytest.mark.benchmark(group="moons step")
@pytest.mark.parametrize("engine", ENGINES)
def test_step(benchmark, engine, reference):
    require(ENGINES[engine].project)
    step = ENGINES[engine].make_step()
    losses = []
    benchmark(lambda: losses.append(step()))
    if not ENGINES[engine].learns:
        reference = reference[:1]
    assert losses[: len(reference)] == pytest.approx(reference[: len(losses)], rel=bench.TOLERANCE)


@pytest.mark.benchmark(group="moons step")
@pytest.mark.parametrize("engine", ["minigrad"])
def test_step_in_a_process_of_its_own(benchmark, engine, reference, start_worker):
    require(engine)
    worker = start_worker(COMMANDS[engine])
    worker.take_turn(1)
    benchmark(worker.take_turn, 1)
    assert worker.failure == ""
    losses = worker.numbers("loss")
    assert losses[: len(reference)] == pytest.approx(reference[: len(losses)], rel=bench.TOLERANCE)


def micrograd_parts():
    """Return micrograd's model and its type of numbers."""
    require("micrograd")
    from micrograd.engine import Value
    from micrograd.nn import MLP

    return moons.seeded(MLP), Value


PARTS = {
    "micrograd": micrograd_parts,
    "microgradc, micrograd's expression": lambda: (with_neurons(SumNeuron), Value),
    "microgradc.nn": lambda: (moons.seeded(nn.MLP), Value),
}


@pytest.fixture
def forward(engine):
    """A function that returns the loss of the model at its initial parameters; `forward.model` is the model."""
    model, number = PARTS[engine]()
    X, y = moons.points()

    def forward():
        inputs = [list(map(number, row)) for row in X]
        return moons.demo_loss(list(map(model, inputs)), y, model.parameters())

    forward.model = model
    return forward


@pytest.mark.benchmark(group="moons step: forward")
@pytest.mark.parametrize("engine", PARTS)
def test_forward(benchmark, engine, forward, reference):
    kept = []
    benchmark.pedantic(lambda: kept.append(forward()), setup=kept.clear, rounds=10)
    assert kept[-1].data == pytest.approx(reference[0], rel=bench.TOLERANCE)


@pytest.mark.benchmark(group="moons step: forward")
@pytest.mark.parametrize("engine", ["Python floats, no autograd"])
def test_forward_control(benchmark, engine, reference):
    step = ENGINES[engine].make_step()
    assert benchmark(step) == pytest.approx(reference[0], rel=bench.TOLERANCE)


@pytest.mark.benchmark(group="moons step: backward")
@pytest.mark.parametrize("engine", PARTS)
def test_backward(benchmark, engine, forward):
    def setup():
        forward.model.zero_grad()
        return (forward(),), {}

    benchmark.pedantic(lambda loss: loss.backward(), setup=setup, rounds=10)
    # The loss falls along the gradient as fast as the gradient says. (The model is piecewise linear: no kink is this
    # near.)
    parameters = forward.model.parameters()
    step = 1e-7
    directions = [random.Random(i).uniform(-1, 1) for i in range(len(parameters))]
    expected = sum(d * p.grad for d, p in zip(directions, parameters, strict=True))
    losses = []
    for sign in (1, -2):
        for d, p in zip(directions, parameters, strict=True):
            p.data += sign * step * d
        losses.append(forward().data)
    assert (losses[0] - losses[1]) / (2 * step) == pytest.approx(expected, rel=1e-5)


@pytest.mark.benchmark(group="moons step: release")
@pytest.mark.parametrize("engine", PARTS)
def test_release(benchmark, engine, forward):
    kept = []

    def setup():
        kept.append(forward())
        kept[0].backward()

    def release():
        kept.clear()
        if engine == "micrograd":
            gc.collect()  # its graphs are cycles, which nothing else finds

    benchmark.pedantic(release, setup=setup, rounds=10)
    assert not kept
