"""Initial values of weights: a function for each of the usual ways.

Each takes `nin` and `nout`, the numbers of inputs and of outputs of a layer, and `rng`, the module `random` or a
`random.Random`, and returns the next weight, a float. `functools.partial` sets what comes after these:
`nn.MLP(2, [16, 1], init=partial(init.normal, std=0.1))`.
"""

import math
import random
from collections.abc import Callable
from typing import Any

__all__ = ["kaiming_normal", "kaiming_uniform", "normal", "uniform", "xavier_normal", "xavier_uniform"]

# Any source of random numbers with the methods of the module `random`.
Initializer = Callable[[int, int, Any], float]


def uniform(nin: int, nout: int, rng: Any = random, low: float = -1.0, high: float = 1.0) -> float:
    """Return a number from the uniform distribution on [low, high]; micrograd's way."""
    return rng.uniform(low, high)


def normal(nin: int, nout: int, rng: Any = random, mean: float = 0.0, std: float = 1.0) -> float:
    """Return a number from the normal distribution with this mean and standard deviation."""
    return rng.gauss(mean, std)


def xavier_uniform(nin: int, nout: int, rng: Any = random, gain: float = 1.0) -> float:
    """Return a number from the uniform distribution on [-a, a], a = gain sqrt(6 / (nin + nout)).

    Glorot and Bengio, "Understanding the difficulty of training deep feedforward neural networks", 2010. For tanh, a
    gain of 5/3 is usual.
    """
    a = gain * math.sqrt(6 / (nin + nout))
    return rng.uniform(-a, a)


def xavier_normal(nin: int, nout: int, rng: Any = random, gain: float = 1.0) -> float:
    """Return a number from the normal distribution with standard deviation gain sqrt(2 / (nin + nout)).

    See `xavier_uniform`.
    """
    return rng.gauss(0.0, gain * math.sqrt(2 / (nin + nout)))


def kaiming_uniform(nin: int, nout: int, rng: Any = random, gain: float = math.sqrt(2)) -> float:
    """Return a number from the uniform distribution on [-a, a], a = gain sqrt(3 / nin).

    He et al., "Delving deep into rectifiers", 2015. The default gain is that for relu.
    """
    a = gain * math.sqrt(3 / nin)
    return rng.uniform(-a, a)


def kaiming_normal(nin: int, nout: int, rng: Any = random, gain: float = math.sqrt(2)) -> float:
    """Return a number from the normal distribution with standard deviation gain / sqrt(nin). See `kaiming_uniform`."""
    return rng.gauss(0.0, gain / math.sqrt(nin))


def initializer(init: str | Initializer) -> Initializer:
    """Return the initialiser of that name, or the callable itself.

    Raises:
        ValueError: there is none of that name.
        TypeError: init is neither a name nor callable.
    """
    if isinstance(init, str):
        if init not in __all__:
            names = ", ".join(__all__)
            raise ValueError(f"init must be one of {names}, or a callable of nin, nout and rng, got {init!r}")
        return globals()[init]
    if not callable(init):
        raise TypeError(f"init must be a name or a callable of nin, nout and rng, got {init!r}")
    return init
