"""What a network is called with: one example or a batch of them."""

from __future__ import annotations

from typing import Any

from microgradc.engine import Value

_NUMBERS = (Value, float, int)


def is_batch(x: Any) -> bool:
    """Return whether x is a list of examples: a 2-D array, or a list or tuple of lists, tuples or 1-D arrays."""
    if type(x) is list and x and type(x[0]) in _NUMBERS:     # the usual example, told apart fast
        return False
    if getattr(x, "ndim", None) == 2:
        return True
    if not isinstance(x, (list, tuple)) or not len(x):
        return False
    return isinstance(x[0], (list, tuple)) or getattr(x[0], "ndim", 0) == 1


def check_length(x: Any, neuron: Any) -> None:
    """Raise ValueError unless x has an entry for each weight of the neuron."""
    if hasattr(x, "__len__") and len(x) != len(neuron.w):
        expected = f"{len(neuron.w)} entries, one for each input of {neuron}"
        raise ValueError(f"x must have {expected}, got {len(x)}") from None
