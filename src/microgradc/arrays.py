"""NumPy arrays of Values: how they are made and read back. NumPy does the rest."""

import numpy as np

from microgradc.engine import Value


def array(x):
    """Make an object array of Values, one new leaf for each number; entries that are Values stay as they are.

    Args:
        x: a number, a nested list of numbers and Values, or an array of any shape.

    Returns:
        An object array of the same shape, to which `+ - * / ** @`, `np.dot`, `np.sum`, `np.exp`, … apply.

    Raises:
        TypeError: an entry is no real number.
        ValueError: the nested lists are ragged.

    >>> w = array([[1.0, 2.0], [3.0, 4.0]])
    >>> np.sum(w @ w).backward()
    >>> grads(w)
    array([[ 7., 11.],
           [ 9., 13.]])
    """
    return _map(lambda v: v if isinstance(v, Value) else Value(v), x, object)


def data(a):
    """Return the numbers in an array of Values as a float64 array of the same shape. `microgradc.data` is this function.

    Args:
        a: an array or nested list of Values and numbers.
    """
    return _map(float, a, float)


def grads(a):
    """Return the gradients in an array of Values as a float64 array of the same shape.

    Args:
        a: an array or nested list of Values.

    Raises:
        TypeError: an entry is no Value.
    """
    return _map(_grad, a, float)


def _grad(v):
    if not isinstance(v, Value):
        raise TypeError(f"a must hold Values, which have a gradient, got {type(v).__name__} {v!r}")
    return v.grad


def _map(f, x, dtype):
    source = np.asarray(x, dtype=object)
    if any(isinstance(entry, (list, tuple)) for entry in source.flat):
        raise ValueError(f"x must have rows of one length, got a ragged list of shape {source.shape}")
    result = np.empty(source.shape, dtype)
    for i, entry in np.ndenumerate(source):
        result[i] = f(entry)
    return result
