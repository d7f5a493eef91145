"""The similarity of vectors."""

from __future__ import annotations

from typing import Any

from microgradc import checks, trees
from microgradc.checks import NOT_NEGATIVE
from microgradc.engine import Value, is_tracing
from microgradc.engine.functions import dot, less, maximum, select, sqrt, straight_through
from microgradc.keywords import suggest_keywords
from microgradc.losses.reading import quotient, read_entries, rows_along, spread, to_floats

__all__ = ["cosine_similarity"]


@suggest_keywords
def cosine_similarity(x1: Any, x2: Any, dim: int = 1, eps: float = 1e-8) -> Any:
    """Return the cosine of the angle between vectors, x1 · x2 / (max(|x1|, eps) max(|x2|, eps)).

    Args:
        x1, x2: Values and numbers, of shapes that can be broadcast against one another: axes of length 1, or missing
            at the front, are repeated.
        dim: the axis of the vectors: 1 for rows of a batch, 0 for two vectors alone; from the end if negative.
        eps: the least norm. Of a vector that is 0, the norm has the derivative 0.

    Returns:
        A Value or a float for each pair of vectors, as nested lists in the shape of the other axes.

    Raises:
        TypeError: an entry is neither a Value nor a real number, or dim is not an integer.
        ValueError: the shapes do not fit, there is no such axis, or eps is negative.

    >>> cosine_similarity([[1.0, 0.0], [3.0, 4.0]], [[2.0, 0.0], [4.0, -3.0]])
    [1.0, 0.0]
    """
    axis, least = checks.integer(dim, "dim"), checks.number(eps, "eps", NOT_NEGATIVE)
    first, shape1 = read_entries(x1, "x1")
    second, shape2 = read_entries(x2, "x2")
    first, second = to_floats(first, "x1", shape1), to_floats(second, "x2", shape2)
    if not shape1 and not shape2:     # two numbers are vectors too
        shape1 = (1,)
    n = max(len(shape1), len(shape2))
    padded = zip((1,) * (n - len(shape1)) + shape1, (1,) * (n - len(shape2)) + shape2, strict=True)
    shape = tuple(b if a == 1 else a for a, b in padded)
    spread1, spread2 = spread(first, shape1, shape), spread(second, shape2, shape)
    if spread1 is None or spread2 is None:
        raise ValueError(f"x1 and x2 must have shapes that fit, got {shape1} and {shape2}")
    if not -n <= axis < n:
        advice = "; of two vectors alone it is 0" if n == 1 else ""
        raise ValueError(f"dim must be an axis of the {n} that x1 and x2 have, got {dim}{advice}")
    axis %= n
    pairs = zip(rows_along(spread1, shape, axis), rows_along(spread2, shape, axis), strict=True)
    found = [quotient(quotient(dot(a, b), _norm(a, least)), _norm(b, least)) for a, b in pairs]
    return trees.nest(found, (*shape[:axis], *shape[axis + 1 :]))


def _norm(x: list[Any], least: float) -> Any:
    """Return the Euclidean norm, or the least if that is more, with the derivative of the norm in both cases."""
    square = dot(x, x)
    if not isinstance(square, Value):
        return max(sqrt(square), least)
    norm = select(less(0.0, square) if is_tracing() else square.data > 0, sqrt(square), 0.0)
    if is_tracing():
        return straight_through(maximum(norm, least), norm)
    if not isinstance(norm, Value):
        return least
    return straight_through(least, norm) if norm.data < least else norm
