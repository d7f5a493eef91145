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


def activation_of(neuron: Any) -> str | Callable[[Any], Any]:
    """Return the activation that the neuron applies: its own, or none at all."""
    return neuron.activation if neuron.nonlin else "linear"


def operation_of(neuron: Any) -> int | None:
    """Return the number of the operation that is the neuron's activation.

    It is 0 for 'linear', and None for an activation that is not a row of the table of operations.
    """
    activation = activation_of(neuron)
    if not isinstance(activation, str):
        return None
    return 0 if activation == "linear" else _OPERATIONS.get(activation)


def shown_activation(activation: str | Callable[[Any], Any]) -> str:
    """Return what an activation is called in a repr: the name that PyTorch's module has, or that of the function."""
    if isinstance(activation, str):
        return ACTIVATIONS[activation]
    return getattr(activation, "__name__", type(activation).__name__)
