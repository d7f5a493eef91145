"""NumPy arrays of Values: how they are made and read back. NumPy does the rest, with the loops of `ufuncs`."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from microgradc import trees, ufuncs
from microgradc.engine import Value
from microgradc.engine.value import real_number

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from microgradc.checks import Nested

ufuncs.install()


def array(x: Nested) -> NDArray[np.object_]:
    """Make an object array of Values, one new leaf for each number; entries that are Values stay as they are.

    Args:
        x: a number, a nested list of numbers and Values, or an array of any shape.

    Returns:
        An object array of the same shape, to which `+ - * / ** @`, `np.dot`, `np.sum`, `np.exp`, … apply.

    Raises:
        TypeError: an entry is not a real number.
        ValueError: the nested lists are ragged.

    >>> w = array([[1.0, 2.0], [3.0, 4.0]])
    >>> np.sum(w @ w).backward()
    >>> grads(w)
    array([[ 7., 11.],
           [ 9., 13.]])
    """
    return _map(lambda v: v if isinstance(v, Value) else Value(real_number(v, "x")), x, "x", object)


def to_numpy(a: Nested) -> NDArray[np.float64]:
    """Return the numbers in an array of Values as a float64 array of the same shape.

    Args:
        a: an array or nested list of Values and numbers.

    Raises:
        TypeError: an entry is neither a Value nor a real number.
        ValueError: the nested lists are ragged.

    >>> to_numpy([[Value(1.0), 2.0]])
    array([[1., 2.]])
    """
    return _map(lambda v: v.data if isinstance(v, Value) else real_number(v, "a"), a, "a", float)


def data(a: Nested) -> NDArray[np.float64]:
    """Return `to_numpy(a)`: the former name."""
    warnings.warn("microgradc.arrays.data(a) is now called microgradc.to_numpy(a)", DeprecationWarning, stacklevel=2)
    return to_numpy(a)


def grads(a: Nested) -> NDArray[np.float64]:
    """Return the gradients in an array of Values as a float64 array of the same shape.

    Args:
        a: an array or nested list of Values.

    Raises:
        TypeError: an entry is not a Value.
        ValueError: the nested lists are ragged.
    """
    entries, shape = trees.entries(a, "a")
    for i, v in enumerate(entries):
        if not isinstance(v, Value):
            got = f"{type(v).__name__} {v!r:.40} in {trees.place('a', i, shape)}"
            raise TypeError(f"a must hold Values, which have a gradient, got {got}")
    return np.array([v.grad for v in entries], float).reshape(shape)


def _map(f: Callable[[Any], Value | float], x: Nested, name: str, dtype: type) -> NDArray[Any]:
    """Return an array of f(entry) for the entries of x; an error of f says which entry it was."""
    entries, shape = trees.entries(x, name)
    result: NDArray[Any] = np.empty(len(entries), dtype)
    for i, entry in enumerate(entries):
        try:
            result[i] = f(entry)
        except TypeError:
            place = trees.place(name, i, shape)
            raise TypeError(f"{place} must be a real number, got {type(entry).__name__} {entry!r:.40}") from None
    return result.reshape(shape)
