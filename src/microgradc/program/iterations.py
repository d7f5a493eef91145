"""Derivatives that the step of a loop takes: those of its iteration alone, in a plain loop as in a recorded one.

The carry and x of an iteration are what it begins with, whatever they were made from: the carry of the first one may be
a Value that the step uses by its name as well, and that of a later one depends on it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from microgradc import trees
from microgradc.engine import Value, is_tracing

__all__ = ["called_alone", "fixed_nodes"]

_thread = threading.local()     # fixed: a tuple of _Fixed, of the plain loops in whose steps this thread is


class _Fixed:
    """Values that an iteration gets, in place of those that they are in other places.

    Attributes:
        nodes: them, by their ids; None while the step takes no derivatives, which spares the copies.
    """

    def __init__(self) -> None:
        self.nodes: dict[int, Value] | None = None

    def copied(self, nest: Any) -> Any:
        return trees.map_leaves(self._copied, nest)

    def _copied(self, leaf: Any) -> Any:
        if not isinstance(leaf, Value):
            return leaf
        made = leaf * 1.0
        assert self.nodes is not None
        self.nodes[id(made)] = made
        return made


class _TakesDerivatives(BaseException):
    """A step takes derivatives, and is begun again with copies; not for `except Exception` in code of the user's."""

    def __init__(self, of: _Fixed) -> None:
        super().__init__()
        self.of = of


def called_alone(step: Callable[[Any, Any], Any], carry: Any, x: Any) -> Any:
    """Return what step returns, in which derivatives are those of this iteration alone, as in a recorded loop."""
    if is_tracing():
        return step(carry, x)
    fixed = _Fixed()
    around = getattr(_thread, "fixed", ())
    _thread.fixed = (*around, fixed)
    try:
        try:
            return step(carry, x)
        except _TakesDerivatives as error:
            if error.of is not fixed:
                raise
        fixed.nodes = {}
        return step(fixed.copied(carry), fixed.copied(x))
    finally:
        _thread.fixed = around


def fixed_nodes() -> dict[int, Value]:
    """Return the nodes, by their ids, at which derivatives end that a step takes now."""
    found: dict[int, Value] = {}
    if not is_tracing():
        for fixed in getattr(_thread, "fixed", ()):
            if fixed.nodes is None:
                raise _TakesDerivatives(fixed)
            found.update(fixed.nodes)
    return found
