"""Modules that do the same to each entry of a list, for use in Sequential: Activation and Dropout."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from microgradc import checks
from microgradc.cells import never_fails
from microgradc.checks import FROM_0_TO_1
from microgradc.engine import Value, is_tracing, refuse
from microgradc.keywords import suggest_keywords
from microgradc.nn.activations import check_activation, function_of, shown_activation
from microgradc.nn.inputs import entries_of, rows_of
from microgradc.nn.module import Module

__all__ = ["Activation", "Dropout"]


class Activation(Module):
    """An activation, applied to each entry of a list, for use in `Sequential`.

    Args:
        function: a name or a callable of a Value; see `Neuron`.

    Raises:
        ValueError: there is no activation of that name.
        TypeError: function is neither a name nor callable.

    >>> Activation("relu")([Value(-1.0), 2.0])
    [Value(data=0.0, grad=0), 2.0]
    """

    @suggest_keywords
    def __init__(self, function: str | Callable[[Value], Value]) -> None:
        self.activation = check_activation(function)

    def __call__(self, x: Any) -> Any:
        """Return the function of x, of each entry if it is a list."""
        f = function_of(self.activation)
        if isinstance(x, (Value, float, int)):
            return f(x)
        batch = rows_of(x)
        return [f(v) for v in entries_of(x)] if batch is None else [self(row) for row in batch]

    @never_fails
    def __repr__(self) -> str:
        return shown_activation(self.activation)


class Dropout(Module):
    """In training, set each entry to 0 with probability p, and multiply the others by 1 / (1 - p).

    In evaluation, change nothing.

    Srivastava et al., "Dropout: a simple way to prevent neural networks from overfitting", 2014. `model.eval()`
    switches it off, `model.train()` on again; `fit` and `outputs` do so by themselves.

    Args:
        p: the probability, in [0, 1].
        seed: of a generator of its own, or a `random.Random` or NumPy generator; None for the module `random`.

    Raises:
        ValueError: p is not in [0, 1].
        TypeError: p is not a real number.
    """

    p: float

    @suggest_keywords
    def __init__(self, p: float = 0.5, seed: Any = None) -> None:
        self.p = checks.number(p, "p", FROM_0_TO_1)
        self._rng = None if seed is None else checks.seed(seed)     # a module cannot be copied

    def __call__(self, x: Any) -> Any:
        """Return x, a Value, a list of Values and numbers or a batch of such lists, with some entries dropped."""
        if not self.training or self.p == 0:
            return x
        if is_tracing():
            refuse("dropout")
        x = entries_of(x)
        if not hasattr(x, "__iter__"):
            return self._drop(x)
        batch = rows_of(x)
        return [self._drop(v) for v in x] if batch is None else [self(row) for row in batch]

    def _drop(self, v: Any) -> Any:
        return v * (0.0 if checks.seed(self._rng).random() < self.p else 1 / (1 - self.p))

    @never_fails
    def __repr__(self) -> str:
        return f"Dropout(p={self.p})"
