"""What an argument must be, said in one place for the modules that ask the same.

The rule: what is of the wrong kind is a TypeError; what is of the right kind but out of range is a ValueError. NumPy's
integers and bools are integers and bools; a bool is not an integer.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Callable, Sequence
from itertools import chain
from math import inf, isfinite
from operator import index
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, SupportsFloat, SupportsIndex, TypeAlias

from microgradc.engine.value import array_of, real_number

if TYPE_CHECKING:
    from types import ModuleType

    import numpy as np
    from numpy.typing import ArrayLike

    # What `seed` takes: None and the module `random` are the same.
    Seed: TypeAlias = (
        int | np.integer[Any] | random.Random | np.random.Generator | np.random.RandomState | ModuleType | None
    )
    # A number or a Value; nested lists, arrays, tensors and tables of them.
    Nested: TypeAlias = ArrayLike | SupportsFloat | SupportsIndex | Sequence["Nested"]

    class Lazy(Protocol):
        """A dask array: what is made of it is another one."""

        @property
        def chunks(self) -> Any: ...
        def compute(self) -> Any: ...


class Range(NamedTuple):
    """Numbers that a setting may be."""

    description: str
    contains: Callable[[float], bool]


POSITIVE = Range("positive and finite", lambda x: 0 < x < inf)
ABOVE_0 = Range("positive", lambda x: x > 0)
NOT_NEGATIVE = Range("at least 0 and finite", lambda x: 0 <= x < inf)
BOUND = Range("at least 0", lambda x: x >= 0)
FROM_0_TO_1 = Range("in [0, 1]", lambda x: 0 <= x <= 1)
ABOVE_0_TO_1 = Range("in (0, 1]", lambda x: 0 < x <= 1)
BELOW_1 = Range("in [0, 1)", lambda x: 0 <= x < 1)
FINITE = Range("finite", isfinite)


def number(value: Any, name: str, within: Range) -> float:
    """Return value as a float; raise TypeError if it is not a real number, ValueError if it is out of range."""
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
    """Return value, which must be True or False, as a bool."""
    if not is_bool(value):
        raise TypeError(f"{name} must be True or False, got {value!r:.60}")
    return bool(value)


def is_bool(value: Any) -> bool:
    """Return whether value is True or False, Python's or NumPy's."""
    return isinstance(value, bool) or (
        getattr(getattr(value, "dtype", None), "kind", None) == "b" and value.ndim == 0
    )


def integer(value: Any, name: str, least: int | None = None) -> int:
    """Return value, an integer that is not less than `least`, as an int."""
    expected = {None: "an integer", 1: "a positive integer"}.get(least, f"an integer of at least {least}")
    found = as_integer(value)
    if found is None:
        raise TypeError(f"{name} must be {expected}, got {value!r:.60}")
    if least is not None and found < least:
        raise ValueError(f"{name} must be {expected}, got {value!r:.60}")
    return found


def as_integer(value: Any) -> int | None:
    """Return an integer as an int; None for anything else, such as a bool."""
    if isinstance(value, bool):
        return None
    try:
        return index(value)
    except TypeError:   # NumPy's bools, and numbers with a method __index__ for those of them that are integers
        return None


def shown(text: Any, limit: int = 80) -> str:
    """Return a text from elsewhere, such as a name in a file, as a message may show it: no control characters, cut."""
    text = str(text)
    cut = text[:limit] + "…" * (len(text) > limit)
    if cut.isprintable():
        return cut
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in cut)


def seed(value: Any, name: str = "seed") -> Any:
    """Return what has the methods of the module `random`: the module itself for None, a new generator for an integer.

    One of NumPy's generators seeds a new one with a number that it draws, so the next use of it gives other numbers.

    Raises:
        TypeError: value is something else; a `random.Random` is returned as it is.
    """
    if value is None or value is random:
        return random
    if isinstance(value, random.Random):
        return value
    drawn = numpy_seed(value)
    found = as_integer(value) if drawn is None else drawn
    if found is None:
        expected = "an integer, a random.Random, or None for the module random, or a NumPy generator"
        raise TypeError(f"{name} must be {expected}, got {value!r:.60}")
    return random.Random(found)


def source(rng: Any) -> Any:
    """Return a source of random numbers, one of NumPy's as one with the methods of the module `random`."""
    drawn = numpy_seed(rng)
    return rng if drawn is None else random.Random(drawn)


def numpy_seed(value: Any) -> int | None:
    """Return an integer that a `numpy.random.Generator` or `RandomState` draws; None for anything else."""
    generators = sys.modules.get("numpy.random")     # where nobody imported it, nobody has one
    if generators is None:
        return None
    if isinstance(value, generators.Generator):
        return int(value.integers(2**63))
    if isinstance(value, generators.RandomState) or value is generators:
        return int(value.randint(2**63 - 1, dtype="int64"))
    return None


def real_array(a: Any, name: str, and_objects: bool = False) -> np.ndarray:
    """Return a as a NumPy array of real numbers, of whatever dtype; an array stays the same object.

    Args:
        and_objects: whether its dtype may be object too; what the objects are is left to the caller.

    Raises:
        ValueError: it has rows that differ in length, or is masked, or has rows that are.
        TypeError: it is made of something else, or what `array_of` refuses.
    """
    import numpy as np

    if hasattr(type(a), "__dask_graph__"):
        raise TypeError(f"{name} is {type(a).__name__} of dask, which this would pull into memory as a whole: "
                        ".compute() does that; f.mean, f.map, f.train and model.predict take dask arrays")
    require_unmasked(a, name)
    array = array_of(a, name)
    try:
        a = np.asarray(a) if array is None else array
    except ValueError:
        raise ValueError(f"{name} must have rows of one length, got rows that differ") from None
    except (TypeError, RuntimeError) as error:   # a tensor that wants to be detached, for one
        raise TypeError(f"{name} must be an array of real numbers: {error}") from None
    if a.dtype.kind not in ("fiubO" if and_objects else "fiub"):
        raise TypeError(f"{name} must be real numbers, got dtype {a.dtype}")
    return a


def require_unmasked(a: Any, name: str) -> None:
    """Raise ValueError if a list or tuple has masked entries, at any depth: NumPy would take what is under the mask."""
    masked_arrays: Any = sys.modules.get("numpy.ma")     # where nobody imported it, nobody has one
    rows: list[Any] = [a] if masked_arrays is not None and isinstance(a, (list, tuple)) else []
    while rows:
        entries = rows[0] if len(rows) == 1 else list(chain.from_iterable(rows))
        types = set(map(type, entries))      # few, so that there is no test for each entry
        if any(issubclass(t, masked_arrays.MaskedArray) for t in types):
            for entry in entries:
                if isinstance(entry, masked_arrays.MaskedArray):
                    array_of(entry, name)
        nested = [issubclass(t, (list, tuple)) for t in types]
        if all(nested):
            rows = entries
        else:
            rows = [entry for entry in entries if isinstance(entry, (list, tuple))] if any(nested) else []


def examples(X: Any, y: Any, check_finite: bool = True, whose: str = "") -> tuple[np.ndarray, np.ndarray]:
    """Return examples and targets as arrays, float64 of shape (n, nin) and int64 or float64 of shape (n,) or (n, nout).

    Args:
        X, y: lists or arrays of numbers; a column y, of shape (n, 1), becomes flat.
        check_finite: whether an inf or nan is an error.
        whose: what comes before X and y in messages.

    Raises:
        ValueError: they are empty, not of these shapes, not finite; the message gives the row.
        TypeError: they are not real numbers.
    """
    import numpy as np

    X, y = rows(X, f"{whose}X"), _as_int_or_float(y, f"{whose}y")
    if y.ndim == 2 and y.shape[1] == 1:
        y = y[:, 0]
    if y.ndim not in (1, 2) or len(y) != len(X):
        expected = f"a target for each of the {len(X)} rows of X, shape ({len(X)},)"
        raise ValueError(f"{whose}y must have {expected}, got shape {y.shape}")
    if check_finite:
        for a, name in ((X, f"{whose}X"), (y, f"{whose}y")):
            if not np.isfinite(a).all():
                i = tuple(np.argwhere(~np.isfinite(a))[0])
                place = f"row {i[0]}" + (f", column {i[1]}" if len(i) == 2 else "")
                advice = "leave such rows out, fill them, or go on with check_finite=False"
                raise ValueError(f"{name} has {a[i]} in {place}; {advice}")
    return X, y


def rows(X: Any, name: str = "X") -> np.ndarray:
    """Return examples as float64 of shape (n, nin), n and nin at least 1.

    Raises:
        ValueError: X is of another shape.
        TypeError: X is not made of real numbers.
    """
    X = _as_int_or_float(X, name).astype(float)
    if X.ndim != 2 or 0 in X.shape:
        hint = "; see X.reshape(-1, 1), or [x] for one example" if X.ndim == 1 and len(X) else ""
        expected = "a row of numbers for each example, at least one, shape (n, nin)"
        raise ValueError(f"{name} must have {expected}, got shape {X.shape}{hint}")
    return X


def _as_int_or_float(a: Any, name: str) -> np.ndarray:
    """Return an array of int64 or float64."""
    import numpy as np

    a = real_array(a, name)
    if a.dtype.kind == "u" and a.size and a.max() > np.iinfo(np.int64).max:
        raise ValueError(f"{name} has {a.max()}, which is too large for a 64-bit integer")
    return a.astype(np.float64 if a.dtype.kind == "f" else np.int64)
