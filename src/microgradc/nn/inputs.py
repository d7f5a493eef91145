"""What a network is called with: one example or a batch of them."""

from __future__ import annotations

from typing import Any

from microgradc.engine import Value
from microgradc.engine.value import array_of

_NUMBERS = (Value, float, int)


def rows_of(x: Any) -> list[Any] | None:
    """Return the examples of a batch, by position; None if x is a single one.

    A batch is a 2-D array, frame or tensor, or a list or tuple of lists, tuples or what has one axis.
    """
    if type(x) is list and x and type(x[0]) in _NUMBERS:     # the usual example, told apart fast
        return None
    if isinstance(x, (list, tuple)):
        if len(x) and (isinstance(x[0], (list, tuple)) or _axes(x[0]) == 1):
            return list(x)
        return None
    array = array_of(x, "x")
    return list(array) if array is not None and array.ndim == 2 else None


def entries_of(x: Any) -> Any:
    """Return the entries of an example, by position."""
    array = array_of(x, "x")
    return x if array is None else array.tolist()


def _axes(x: Any) -> int:
    """Return how many axes an array or the like has."""
    unknown = 1 if hasattr(x, "__array__") else 0     # columns of some libraries have no ndim
    return int(getattr(x, "ndim", unknown))


def check_length(x: Any, neuron: Any) -> None:
    """Raise ValueError unless x has an entry for each weight of the neuron."""
    if hasattr(x, "__len__") and getattr(x, "ndim", None) != 0 and len(x) != len(neuron.w):
        expected = f"{len(neuron.w)} entries, one for each input of {neuron}"
        raise ValueError(f"x must have {expected}, got {len(x)}") from None
