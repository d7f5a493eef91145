"""A loss of 1,000 predictions, forward and backward; cross_entropy and nll_loss of 100 examples of 10 classes."""

import math
import random
from functools import partial

import pytest

from microgradc import Value, losses

N, CLASSES = 1000, 10
LABELS = {"hinge_loss": (-1.0, 1.0)}
OF_CLASSES = ("cross_entropy", "nll_loss")
SETTINGS = {"cosine_similarity": {"dim": 0}, "gaussian_nll_loss": {"var": 0.5}, "kl_div": {"reduction": "sum"}}


def make_numbers(name):
    """Return predictions, probabilities so that they do for every loss, and targets."""
    rng = random.Random(0)
    if name in OF_CLASSES:
        n = N // CLASSES
        return [[rng.random() for _ in range(CLASSES)] for _ in range(n)], [rng.randrange(CLASSES) for _ in range(n)]
    if name == "kl_div":
        return [math.log(rng.random()) for _ in range(N)], [rng.random() for _ in range(N)]
    return [rng.random() for _ in range(N)], [rng.choice(LABELS.get(name, (0.0, 1.0))) for _ in range(N)]


def map_nested(f, x):
    return [map_nested(f, entry) for entry in x] if isinstance(x, list) else f(x)


def prepare(engine, name):
    """Return a step, which returns the loss, and what reads the gradients of one backward pass."""
    predictions, target = make_numbers(name)
    if engine == "PyTorch":
        torch = pytest.importorskip("torch", reason="compares with PyTorch")
        torch.set_num_threads(1)
        functional = torch.nn.functional
        inputs = torch.tensor(predictions, dtype=torch.float64, requires_grad=True)
        target = torch.tensor(target, dtype=torch.int64 if name in OF_CLASSES else torch.float64)
        loss_of = getattr(functional, name, None) or (lambda x, y: functional.relu(1 - y * x).mean())
        leaves = [inputs]
    else:
        inputs, loss_of = map_nested(Value, predictions), getattr(losses, name)
        leaves = [v for row in inputs for v in (row if isinstance(row, list) else [row])]

    settings = SETTINGS.get(name, {})

    def step():
        loss = loss_of(inputs, target, **settings)
        loss.backward()
        return loss.item()

    def gradients():
        for leaf in leaves:
            leaf.grad = None if engine == "PyTorch" else 0
        step()
        return inputs.grad.flatten().tolist() if engine == "PyTorch" else [v.grad for v in leaves]

    return step, gradients


@pytest.mark.parametrize("engine", ["microgradc", "PyTorch"])
@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.benchmark(group=f"{name}: step")) for name in losses.__all__]
)
def test_step(benchmark, name, engine):
    step, gradients = prepare(engine, name)
    loss = benchmark(step)
    # Against the loss alone, of numbers, along a random direction.
    predictions, target = make_numbers(name)

    def loss_of(x):
        return getattr(losses, name)(x, target, **SETTINGS.get(name, {}))

    assert loss == pytest.approx(loss_of(predictions), rel=1e-12)
    h, rng = 1e-7, random.Random(1)
    moves = map_nested(lambda x: h * rng.choice((-1, 1)), predictions)
    above, below = (loss_of(add(predictions, moves, sign)) for sign in (1, -1))
    directions = [m / h for row in moves for m in (row if isinstance(row, list) else [row])]
    slope = sum(d * g for d, g in zip(directions, gradients(), strict=True))
    assert (above - below) / (2 * h) == pytest.approx(slope, rel=1e-5, abs=1e-8)


def add(x, moves, sign):
    if isinstance(x, list):
        return [add(entry, move, sign) for entry, move in zip(x, moves, strict=True)]
    return x + sign * moves


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.benchmark(group=f"{name}: step")) for name in losses.__all__]
)
def test_control(benchmark, name):
    """The loss alone, of floats: no autograd."""
    loss_of = partial(getattr(losses, name), **SETTINGS.get(name, {}))
    assert benchmark(loss_of, *make_numbers(name)) > (-1 if name in ("nll_loss", "gaussian_nll_loss") else 0)
