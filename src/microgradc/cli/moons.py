"""The moons step: a training step of micrograd's demo, which the demo takes and the benchmarks time.

MLP(2, [16, 16, 1]) with ReLU on 100 two-moons points, mean max-margin loss plus L2, zero_grad, backward, one SGD
update, and the release of the graph; float64, one thread.
"""

# ruff: noqa: B905 -- zip as micrograd writes it

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from itertools import repeat
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from microgradc.program.compile import Compiled

SEED = 1337
RATE = 0.1
DECAY = 1e-4


def points(seed: int = SEED) -> tuple[list[list[float]], list[float]]:
    """Return the 100 points, a list of pairs, and their targets, -1.0 or 1.0."""
    from microgradc.train.data import make_moons

    X, y = make_moons(100, noise=0.1, random_state=seed)
    return X.tolist(), (y * 2.0 - 1.0).tolist()


def seeded(MLP: Callable[[int, list[int]], Any], seed: int = SEED) -> Any:
    """Return a model with the initial parameters that every engine begins with."""
    random.seed(seed)
    return MLP(2, [16, 16, 1])


def demo_loss(scores: Sequence[Any], y: Sequence[float], parameters: Sequence[Any]) -> Any:
    """Return the loss in the words of micrograd's demo."""
    losses = [(1 + -yi * scorei).relu() for yi, scorei in zip(y, scores)]
    return sum(losses) * (1.0 / len(losses)) + DECAY * sum(p * p for p in parameters)


def scalar_step(
    model: Any,
    number: Callable[[float], Any],
    loss_of: Callable[[list[Any], list[float], list[Any]], Any] = demo_loss,
    *,
    seed: int = SEED,
    rates: Iterator[float] | None = None,
) -> Callable[[], float]:
    """Return a function that takes the next step, and returns the loss before it.

    Args:
        model: a model whose parameters have `data` and `grad`.
        number: the type of the inputs: that of the parameters, or float.
        loss_of: a function of the scores, the targets and the parameters.
        seed: of the points.
        rates: an iterator over the learning rates; None for RATE at each step.
    """
    X, y = points(seed)
    rates = rates or repeat(RATE)

    def step() -> float:
        inputs = [list(map(number, row)) for row in X]
        scores = list(map(model, inputs))
        loss = loss_of(scores, y, model.parameters())
        model.zero_grad()
        loss.backward()
        rate = next(rates)
        for p in model.parameters():
            p.data -= rate * p.grad
        return loss.data
    return step


def compiled_loss(model: Any) -> Compiled[[Any, Any], Any]:
    """Return the loss of one point, compiled: its mean over the points is the loss of the demo."""
    from microgradc.program.compile import compile

    parameters = model.parameters()
    return compile(lambda x, y: (1 + -y * model(x)).relu() + DECAY * sum(p * p for p in parameters))


def compiled_step(model: Any, *, seed: int = SEED, rates: Iterator[float] | None = None) -> Callable[[], float]:
    """Return the same with the loss of one point compiled, and the update by `optim.SGD`. See `scalar_step`."""
    import numpy as np

    from microgradc import optim

    optimizer, rates = optim.SGD(model.parameters()), rates or repeat(RATE)
    X, y = (np.array(numbers) for numbers in points(seed))
    loss_of = compiled_loss(model)

    def step() -> float:
        loss = loss_of.mean(X, y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.param_groups[0]["lr"] = next(rates)
        optimizer.step()
        return loss.data
    return step
