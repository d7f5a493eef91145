"""The activations that have a name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from microgradc.engine import TABLE, functions

# The activations that have a name: the name of the function, and that of PyTorch's module.
ACTIVATIONS = {
    "linear": "Linear",
    "relu": "ReLU",
    "leaky_relu": "LeakyReLU",
    "elu": "ELU",
    "gelu": "GELU",
    "silu": "SiLU",
    "softplus": "Softplus",
    "sigmoid": "Sigmoid",
    "tanh": "Tanh",
}

# The numbers of the operations of one operand, by name.
_OPERATIONS = {row.name.lower(): i for i, row in enumerate(TABLE, start=1) if row.operands == 1}


def check_activation(activation: Any) -> Any:
    """Raise unless activation is one that has a name, or a callable."""
    if isinstance(activation, str):
        if activation not in ACTIVATIONS:
            raise ValueError(f"activation must be one of {', '.join(ACTIVATIONS)}, or a callable, got {activation!r}")
    elif not callable(activation):
        raise TypeError(f"activation must be a name or a callable of a Value, got {activation!r}")
    return activation


def function_of(activation: str | Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Return the function of that name, or the callable itself."""
    if not isinstance(activation, str):
        return activation
    return _identity if activation == "linear" else getattr(functions, activation)


def _identity(x: Any) -> Any:
    return x


def operation_of(neuron: Any) -> int | None:
    """Return the number of the operation that is the neuron's activation, 0 for none; None for one that is no row of the table."""
    if not neuron.nonlin or neuron.activation == "linear":
        return 0
    return _OPERATIONS.get(neuron.activation) if isinstance(neuron.activation, str) else None
