"""minigrad 0.0.6 as an engine: it takes no plain numbers as operands, and needs a process that survives it.

`python minigrad_engine.py` is a worker of `microgradc.cli.workers.Worker` that takes the moons step.
"""

# ruff: noqa: B905 -- zip as minigrad writes it

import ctypes
import sys

from microgradc.cli.engines import ENGINES, Engine
from microgradc.cli.moons import DECAY, scalar_step, seeded
from microgradc.cli.workers import serve, timed


def protect_none():
    """Keep an interpreter alive in which minigrad 0.0.6 drops references to None that it does not own."""
    if sys.version_info < (3, 12):  # later ones never release None
        ctypes.c_ssize_t.from_address(id(None)).value += 1 << 40


def minigrad_step():
    """Return the step of minigrad 0.0.6, which takes no plain numbers as operands."""
    protect_none()
    from minigrad.engine import Value as V
    from minigrad.nn import MLP

    def loss_of(scores, y, parameters):
        losses = [(V(1.0) + V(-yi) * scorei).relu() for yi, scorei in zip(y, scores)]
        return sum(losses, V(0.0)) * V(1.0 / len(losses)) + V(DECAY) * sum((p * p for p in parameters), V(0.0))

    return scalar_step(seeded(MLP), V, loss_of)


WITH_MINIGRAD = {**ENGINES, "minigrad": Engine("minigrad", minigrad_step)}
COMMANDS = {"minigrad": [__file__]}


if __name__ == "__main__":
    serve(timed, minigrad_step(), lambda: None)
