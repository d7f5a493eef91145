"""The plain call of a function, with numbers, that a recording of it is compared with. Changes with what numbers such a
function may be called with.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from typing import Any

import numpy as np

from microgradc import checks, trees
from microgradc.engine import EnableGrad, Value, no_grad
from microgradc.program.arguments import STATIC, call, is_static, unwrapped
from microgradc.program.calculus import NoGraphError
from microgradc.program.layouts import LEAVES, as_array
from microgradc.program.scan import scans_tried

__all__ = ["is_trying", "leaves_of", "plain_call", "without_values"]

_thread = threading.local()     # trying: whether this thread makes the plain call of a recording


def is_trying() -> bool:
    """Return whether this thread calls a function plainly, to compare it with its recording."""
    return getattr(_thread, "trying", False)


def leaves_of(returned: Any) -> tuple[list[Any], trees.Shape]:
    return trees.flatten(trees.map_leaves(_without_array, returned, LEAVES), STATIC)


def plain_call(
    f: Callable[..., Any], args: tuple[Any, ...], names: tuple[str, ...], may_wrap: bool, scans: list[Any]
) -> list[float]:
    """Return the numbers that f returns for args; where it cannot take these, for others that say the same.

    Integers of NumPy wrap around where a recording, like Python, does not, and have no negative powers: in their place
    may be Python's. x.exp() needs a Value.
    """
    ways: list[Callable[[], tuple[Any, ...]]] = [
        lambda: trees.map_leaves(_in_double, args, LEAVES),
        lambda: trees.map_leaves(_in_exact_integers, args, LEAVES),
        lambda: trees.map_leaves(_with_value, trees.map_leaves(without_values, args, LEAVES), STATIC),
    ]
    if may_wrap or not any(map(_is_numpys_integer, trees.flatten(args, LEAVES)[0])):
        del ways[0 if may_wrap else 1]
    before, _thread.trying = is_trying(), True      # nothing in between here and there may fail
    try:
        with no_grad():
            for way in ways[:-1]:
                try:
                    with scans_tried(scans):
                        return _numbers_in(_call_with(f, way(), names))
                except Exception:      # the next way may do, and the last one raises
                    continue
            try:
                with scans_tried(scans):
                    return _numbers_in(_call_with(f, ways[-1](), names))
            except NoGraphError:       # f takes gradients of what it computes
                with EnableGrad():
                    return _numbers_in(_call_with(f, ways[-1](), names))
    finally:
        _thread.trying = before


def _call_with(f: Callable[..., Any], args: tuple[Any, ...], names: tuple[str, ...]) -> Any:
    return call(f, trees.map_leaves(unwrapped, args, LEAVES), names)


def _numbers_in(returned: Any) -> list[float]:
    return [_number_of(v) for v in leaves_of(returned)[0] if not is_static(v)]


def _number_of(leaf: Any) -> float:
    """Return the number of a Value, or a number in double precision: an integer that has none is infinite."""
    try:
        return leaf.data if isinstance(leaf, Value) else Value(leaf).data
    except OverflowError:
        return -math.inf if leaf < 0 else math.inf


def _is_numpys_integer(leaf: Any) -> bool:
    return getattr(getattr(leaf, "dtype", None), "kind", "") in ("i", "u")


def _in_exact_integers(leaf: Any) -> Any:
    """Return Python's integers in place of NumPy's; all else as `_in_double` does."""
    if is_static(leaf):
        return leaf
    leaf = as_array(leaf)
    if _is_numpys_integer(leaf):
        return leaf.astype(object) if isinstance(leaf, np.ndarray) else leaf.item()
    return _in_double(leaf)


def _with_value(leaf: Any) -> Any:
    """Return a Value in place of a number that is not an integer."""
    return leaf if is_static(leaf) or checks.as_integer(leaf) is not None else Value(leaf)


def _in_double(leaf: Any) -> Any:
    """Return a copy of an array, a NumPy number as it is, with the digits with which a program computes."""
    if is_static(leaf):
        return leaf
    leaf = as_array(leaf)
    kind = getattr(getattr(leaf, "dtype", None), "kind", "")
    if kind in ("f", "b"):
        return np.array(leaf, float)[()]
    return np.array(leaf, np.int64)[()] if kind in ("i", "u") else leaf.copy() if kind == "O" else leaf


def without_values(leaf: Any) -> Any:
    """Return a number in place of a Value, an array of floats in place of one of objects; a copy of any other array."""
    if is_static(leaf):
        return leaf
    leaf = as_array(leaf)
    if isinstance(leaf, np.ndarray):
        with no_grad():     # of Values, whose graph is not wanted here
            return leaf.astype(float) if leaf.dtype == object else leaf.copy()
    return leaf.data if isinstance(leaf, Value) else leaf


def _without_array(leaf: Any) -> Any:
    """Return lists in place of an array: what a compiled function returns has none."""
    return leaf.tolist() if isinstance(leaf, np.ndarray) else leaf
