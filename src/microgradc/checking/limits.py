"""What a function does around a number, where a derivative and differences say something else: which limits there are.

Smooth functions have one limit of (f(x + h) - f(x)) / h from both sides; others have two, or none.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise
from typing import NamedTuple

_STEPS = [2.0**-k for k in (8, 13, 18, 23, 28)]     # of x, or of 1


class Limits(NamedTuple):
    """Difference quotients from the left and from the right, for smaller and smaller steps; empty outside of the
    function's domain."""

    left: list[float]
    right: list[float]

    def reach(self, derivative: float) -> bool:
        """Return whether they come nearer to a derivative with every step: x**1.5 at 0 does, though slowly."""
        return math.isfinite(derivative) and any(self) and all(
            abs(b - derivative) <= 0.6 * abs(a - derivative) for side in self for a, b in pairwise(side)
        )

    def in_words(self, by_rule: float) -> str | None:
        """Return why there is no derivative to compare that of a rule with; None if there is one, or the rule is none
        of those that may stand for it."""
        left, right = map(_limit, self)
        found = [limit for limit in (left, right) if limit is not None]
        if any(map(_is_jump, self)):
            return None if by_rule != 0 and math.isfinite(by_rule) else "the function jumps there"
        if any(map(math.isinf, found)):
            signs = {limit for limit in found if math.isinf(limit)}
            return "the derivative is infinite there" if by_rule in signs else None
        if left is None or right is None or _are_close(left, right):
            return None
        room = 1e-3 * max(abs(left), abs(right))
        if not min(left, right) - room <= by_rule <= max(left, right) + room:
            return None
        return (
            f"it has a bend there, {_rounded(left)!r} by differences from the left and {_rounded(right)!r} from the "
            "right, between which a rule may choose"
        )


def limits(f: Callable[[float], float], x: float) -> Limits:
    """Return the difference quotients of a function at x."""
    scale = abs(x) or 1.0
    middle = _at(f, x)
    sides = []
    for sign in (-1.0, 1.0):
        ends = [x + sign * scale * step for step in _STEPS]
        side = [(_at(f, end) - middle) / (end - x) for end in ends]
        sides.append(side if all(map(math.isfinite, side)) else [])
    return Limits(*sides)


def _at(f: Callable[[float], float], x: float) -> float:
    try:
        return f(x)
    except (ValueError, ArithmeticError):
        return math.nan


def _limit(side: list[float]) -> float | None:
    """Return the limit of quotients; inf if they grow, None if there is none."""
    if not side:
        return None
    if all(b * a > 0 and abs(b) >= 1.5 * abs(a) for a, b in pairwise(side)):
        return math.copysign(math.inf, side[-1])
    return side[-1] if _are_close(side[-2], side[-1]) else None


def _is_jump(side: list[float]) -> bool:
    """Return whether quotients grow as steps become smaller: the difference stays."""
    return bool(side) and all(a and abs(b / a - 32.0) < 0.5 for a, b in pairwise(side))


def _are_close(a: float, b: float) -> bool:
    return abs(a - b) <= 1e-3 * max(abs(a), abs(b)) + 1e-6


def _rounded(x: float) -> float:
    return round(x, 6) + 0.0
