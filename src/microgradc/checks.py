"""What an argument must be, said in one place for the modules that ask the same."""

from __future__ import annotations

import random
from collections.abc import Callable
from math import inf, isfinite
from operator import index
from typing import TYPE_CHECKING, Any, NamedTuple

from microgradc.engine.value import real_number

if TYPE_CHECKING:
    import numpy as np


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
    x = real_number(value, name)
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


def integer(value: Any, name: str, least: int | None = None) -> int:
    """Return value, an integer that is not less than `least`, as an int."""
    expected = {None: "an integer", 1: "a positive integer"}.get(least, f"an integer of at least {least}")
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        raise TypeError(f"{name} must be {expected}, got {value!r:.60}")
    if least is not None and value < least:
        raise ValueError(f"{name} must be {expected}, got {value!r}")
    return index(value)


def seed(value: Any) -> Any:
    """Return what has the methods of the module `random`: the module itself for None, a generator of its own for an integer.

    Raises:
        TypeError: value is neither, nor a `random.Random`, which is returned as it is.
    """
    if value is None or value is random:
        return random
    if isinstance(value, random.Random):
        return value
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        raise TypeError(f"seed must be an integer, a random.Random, or None for the module random, got {value!r}")
    return random.Random(index(value))


def examples(X: Any, y: Any, check_finite: bool = True, whose: str = "") -> tuple[np.ndarray, np.ndarray]:
    """Return examples and targets as arrays, float64 of shape (n, nin) and int64 or float64 of shape (n,) or (n, nout).

    Args:
        X, y: lists or arrays of numbers; a column y, of shape (n, 1), becomes flat.
        check_finite: whether an inf or nan is an error.
        whose: what comes before X and y in messages.

    Raises:
        ValueError: they are empty, not of these shapes, not finite; the message gives the row.
        TypeError: they are no numbers.
    """
    import numpy as np

    X, y = rows(X, f"{whose}X"), _numbers(y, f"{whose}y")
    if y.ndim == 2 and y.shape[1] == 1:
        y = y[:, 0]
    if y.ndim not in (1, 2) or len(y) != len(X):
        raise ValueError(f"{whose}y must have a target for each of the {len(X)} rows of X, shape ({len(X)},), got shape {y.shape}")
    if check_finite:
        for a, name in ((X, f"{whose}X"), (y, f"{whose}y")):
            if not np.isfinite(a).all():
                i = tuple(np.argwhere(~np.isfinite(a))[0])
                place = f"row {i[0]}" + (f", column {i[1]}" if len(i) == 2 else "")
                raise ValueError(f"{name} has {a[i]} in {place}; leave such rows out, fill them, or go on with check_finite=False")
    return X, y


def rows(X: Any, name: str = "X") -> np.ndarray:
    """Return examples as float64 of shape (n, nin), n and nin at least 1.

    Raises:
        ValueError: X is of another shape.
        TypeError: X are no real numbers.
    """
    X = _numbers(X, name).astype(float)
    if X.ndim != 2 or 0 in X.shape:
        hint = "; see X.reshape(-1, 1), or [x] for one example" if X.ndim == 1 and len(X) else ""
        raise ValueError(f"{name} must have a row of numbers for each example, at least one, shape (n, nin), got shape {X.shape}{hint}")
    return X


def _numbers(a: Any, name: str) -> np.ndarray:
    """Return an array of int64 or float64."""
    import numpy as np

    try:
        a = np.asarray(a)
    except ValueError:
        raise ValueError(f"{name} must have rows of one length, got rows that differ") from None
    if a.dtype.kind not in "fiub":
        raise TypeError(f"{name} must be real numbers, got dtype {a.dtype}")
    if a.dtype.kind == "u" and a.size and a.max() > np.iinfo(np.int64).max:
        raise ValueError(f"{name} has {a.max()}, which is too large for a 64-bit integer")
    return a.astype(np.float64 if a.dtype.kind == "f" else np.int64)
