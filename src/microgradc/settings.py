"""What the settings of optimizers and schedules may be, and the error if they are not."""

from collections.abc import Callable
from math import inf, isfinite
from typing import Any, NamedTuple

from microgradc import updates


class Range(NamedTuple):
    """Numbers that a setting may be."""

    description: str
    contains: Callable[[float], bool]


POSITIVE = Range("positive and finite", lambda x: 0 < x < inf)
NOT_NEGATIVE = Range("at least 0 and finite", lambda x: 0 <= x < inf)
BOUND = Range("at least 0", lambda x: x >= 0)
FROM_0_TO_1 = Range("in [0, 1]", lambda x: 0 <= x <= 1)
ABOVE_0_TO_1 = Range("in (0, 1]", lambda x: 0 < x <= 1)
BELOW_1 = Range("in [0, 1)", lambda x: 0 <= x < 1)
FINITE = Range("finite", isfinite)


def number(value: Any, name: str, within: Range) -> float:
    """Return value as a float; raise TypeError if it is no real number, ValueError if it is out of range."""
    x = updates.number(value, name)
    if not within.contains(x):
        raise ValueError(f"{name} must be {within.description}, got {value!r}")
    return x


def pair(value: Any, name: str, within: Range) -> tuple[float, float]:
    """Return value, a list or tuple of two numbers, as a tuple of floats."""
    if not isinstance(value, (list, tuple)) or len(value) != 2:
        raise TypeError(f"{name} must be a pair of numbers, got {value!r}")
    return number(value[0], f"{name}[0]", within), number(value[1], f"{name}[1]", within)


def flag(value: Any, name: str) -> bool:
    """Return value, which must be True or False."""
    if not isinstance(value, bool):
        raise TypeError(f"{name} must be True or False, got {value!r}")
    return value


def integer(value: Any, name: str, least: int) -> int:
    """Return value, an integer that is not less than `least`, as an int."""
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        raise TypeError(f"{name} must be an integer, got {value!r}")
    if value < least:
        raise ValueError(f"{name} must be an integer of at least {least}, got {value!r}")
    return int(value)
