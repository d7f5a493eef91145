"""What the arguments of losses are read as: entries of one shape, their weights, classes; what is made of losses."""

from __future__ import annotations

import builtins
from itertools import product
from math import inf, prod
from numbers import Real
from operator import mul
from typing import Any, Literal, TypeAlias

from microgradc import checks, trees
from microgradc.engine import IntegerInput, Value, is_tracing
from microgradc.engine.functions import dot, mean, sum
from microgradc.engine.value import plain_number, real_number

__all__ = [
    "LABELS",
    "Reduction",
    "Shape",
    "check_probabilities",
    "check_reduction",
    "is_known",
    "quotient",
    "read_class_weights",
    "read_classes",
    "read_entries",
    "read_pairs",
    "read_weights",
    "reduced",
    "rows_along",
    "spread",
    "third",
    "to_floats",
]

Reduction: TypeAlias = Literal["mean", "sum", "none"]
Shape: TypeAlias = tuple[int, ...]

LABELS = "labels -1 and +1 become 0 and 1 by (y + 1) / 2"


def read_pairs(
    input: Any, target: Any, reduction: str, also: str = "", broadcast: bool = False
) -> tuple[list[Any], list[Any], Shape]:
    """Return the entries of input and of target, Values and floats, and the shape of both.

    Args:
        also: a reduction that the loss has besides the usual ones.
        broadcast: whether the target is repeated where its shape is less.
    """
    check_reduction(reduction, also)
    inputs, shape = read_entries(input, "input")
    targets, target_shape = read_entries(target, "target")
    inputs, targets = to_floats(inputs, "input", shape), to_floats(targets, "target", target_shape)
    if shape != target_shape:
        repeated = spread(targets, target_shape, shape) if broadcast else None
        if repeated is not None:
            return inputs, repeated, shape
        advice = ""
        for name, longer, shorter in (("input", shape, target_shape), ("target", target_shape, shape)):
            if len(longer) == 2 and longer == (*shorter, 1):
                entries = _first_of_rows(input if name == "input" else target, name)
                advice = f"; each row of {name} has one entry: take it out, as in {entries}"
        raise ValueError(f"input and target must have the same shape, got {shape} and {target_shape}{advice}")
    return inputs, targets, shape


def _first_of_rows(x: Any, name: str) -> str:
    """Return how a program says what the rows of x begin with."""
    if hasattr(x, "iloc"):
        return f"{name}.iloc[:, 0]"
    return f"{name}[:, 0]" if hasattr(x, "shape") else f"[row[0] for row in {name}]"


def read_classes(
    input: Any, target: Any, reduction: str, ignore_index: int, or_probabilities: bool = False
) -> tuple[list[list[Any]], list[Any], Shape]:
    """Return the rows of input, the index or probabilities that target has for each, and the shape of the losses.

    That shape is (N, d1, …), or () for one example. The index of a row that is ignored is None.
    """
    check_reduction(reduction)
    entries, shape = read_entries(input, "input")
    if not shape:
        raise ValueError(_SHAPE_OF_CLASSES.format(shape))
    axis = min(1, len(shape) - 1)
    n_classes, losses_shape = shape[axis], (*shape[:axis], *shape[axis + 1 :])
    rows = rows_along(to_floats(entries, "input", shape), shape, axis)
    indices, target_shape = read_entries(target, "target")
    integers = all(isinstance(y, (int, IntegerInput)) and not isinstance(y, bool) for y in indices)
    if or_probabilities and target_shape == shape and not integers:
        probabilities = to_floats(indices, "target", shape)
        check_probabilities(probabilities, "target", shape, "they are the probabilities of the classes")
        if ignore_index >= 0:
            raise ValueError(f"ignore_index is for targets that are indices of classes, got {ignore_index}")
        return rows, rows_along(probabilities, shape, axis), losses_shape
    if target_shape != losses_shape:
        if len(shape) > 2:
            expected = f"with axes after the classes, target must have shape {losses_shape}, got {target_shape}"
            raise ValueError(f"{_SHAPE_OF_CLASSES.format(shape)}; {expected}")
        n = losses_shape[0] if losses_shape else 0
        expected = f"{n} indices, one for each row of input" if n else "one index, for the one row of input"
        advice = f"; or probabilities of the classes, floats of shape {shape}" if or_probabilities else ""
        got = f"shape {target_shape}"
        if target_shape == shape:
            got = f"an entry for each of input, shape {shape}"
            advice += "; np.argmax(target, axis=-1) has the indices of one-hot rows"
        raise ValueError(f"target must be {expected}, got {got}{advice}")
    for i, y in enumerate(indices):
        if isinstance(y, IntegerInput):
            continue
        if type(y) is not int:
            y = indices[i] = _to_class(y, "target", i, target_shape)
        if y == ignore_index:
            indices[i] = None
        elif not 0 <= y < n_classes:
            entry = trees.place("target", i, target_shape)
            raise ValueError(f"{entry} must be the index of one of {n_classes} classes, 0 to {n_classes - 1}, got {y}")
    return rows, indices, losses_shape


_SHAPE_OF_CLASSES = "input must have shape (C,), one number for each class, or (N, C), got {}"


def rows_along(entries: list[Any], shape: Shape, axis: int) -> list[list[Any]]:
    """Return the rows along an axis of entries of this shape, in the order of the other axes."""
    n, after = shape[axis], prod(shape[axis + 1 :])
    if after == 1:
        return trees.rows(entries, n)
    return [entries[begin + k : begin + n * after : after] for begin in range(0, len(entries), n * after)
            for k in range(after)]


def read_weights(weight: Any, name: str, shape: Shape, same_shape: bool = False) -> list[Any] | None:
    """Return a weight for each entry of this shape; None where weight is.

    Args:
        same_shape: whether the weights must have that shape; if not, a number will do, or one for each output.
    """
    if weight is None:
        return None
    weights, own = read_entries(weight, name)
    weights = to_floats(weights, name, own)
    if own == shape:
        return weights
    found = None if same_shape else spread(weights, own, shape)
    if found is None:
        expected = f"shape {shape}, a number for each entry" if same_shape else f"a shape that fits {shape}"
        if not same_shape and len(shape) > 1:
            expected += f", such as ({shape[-1]},), a number for each output"
        raise ValueError(f"{name} must have {expected}, got {own}")
    return found


def read_class_weights(weight: Any, n: int) -> list[Any] | None:
    """Return a weight for each of n classes; None where weight is."""
    if weight is None:
        return None
    weights, shape = read_entries(weight, "weight")
    if shape != (n,):
        raise ValueError(f"weight must have {n} entries, one for each class, got shape {shape}")
    return to_floats(weights, "weight", shape)


def spread(entries: list[Any], own: Shape, shape: Shape) -> list[Any] | None:
    """Return entries of shape `own` broadcast to `shape`; None if they do not fit."""
    if own == shape:
        return entries
    own = (1,) * (len(shape) - len(own)) + own
    if len(own) != len(shape) or any(a not in (1, n) for a, n in zip(own, shape, strict=True)):
        return None
    steps = [0 if a == 1 else prod(own[k + 1 :]) for k, a in enumerate(own)]
    places = product(*map(range, shape))
    return [entries[builtins.sum(map(mul, steps, place))] for place in places]


def read_entries(x: Any, name: str) -> tuple[list[Any], Shape]:
    entries, shape = trees.entries(x, name)
    if not entries:
        raise ValueError(f"{name} must have at least one entry, got none")
    return entries, shape


def to_floats(entries: list[Any], name: str, shape: Shape) -> list[Any]:
    """Return the entries, the numbers among them as floats."""
    types = set(map(type, entries))   # few, so that there is no test for each entry
    if types <= {Value, float}:
        return entries
    if all(issubclass(t, Real) for t in types):
        return list(map(float, entries))
    return [x if isinstance(x, Value) else _to_float(x, name, i, shape) for i, x in enumerate(entries)]


def _to_float(x: Any, name: str, i: int, shape: Shape) -> float:
    try:
        return real_number(x, name)
    except TypeError:
        got = f"{type(x).__name__} {x!r:.40}"
        raise TypeError(f"{trees.place(name, i, shape)} must be a Value or a real number, got {got}") from None


def _to_class(y: Any, name: str, i: int, shape: Shape) -> int:
    index = checks.as_integer(y)
    if index is None:
        advice = "; convert it with int(...)" if isinstance(y, Real) else ""
        got = f"{type(y).__name__} {y!r:.40}{advice}"
        raise TypeError(f"{trees.place(name, i, shape)} must be an integer, the index of a class, got {got}")
    return index


def check_reduction(reduction: str, also: str = "") -> None:
    """Raise unless reduction is one of those there are, or another that the loss has."""
    expected, advice = "reduction must be 'mean', 'sum' or 'none'", f"; this loss has {also!r} too" if also else ""
    if not isinstance(reduction, str):
        raise TypeError(f"{expected}, got {reduction!r:.60}{advice}")
    if reduction not in ("mean", "sum", "none", also or "none"):
        raise ValueError(f"{expected}, got {reduction!r}{advice}")


def third(weight: Any, reduction: Any) -> tuple[Any, Any]:
    """Return weight and reduction; a text in the place of the weight is the reduction, which once came third."""
    return (None, weight) if isinstance(weight, str) else (weight, reduction)


def check_probabilities(entries: list[Any], name: str, shape: Shape, advice: str) -> None:
    """Raise ValueError if an entry is outside [0, 1]; nan is not."""
    entries = [x for x in entries if is_known(x)] if is_tracing() else entries
    if not entries or (min(entries) >= 0 and max(entries) <= 1):   # fast; false where the first is nan
        return
    for i, x in enumerate(entries):
        if x < 0 or x > 1:
            raise ValueError(f"{trees.place(name, i, shape)} must be in [0, 1], got {plain_number(x)}; {advice}")


def is_known(x: Any) -> bool:
    """Return whether x is a number that does not change; while a function is traced, a Value is not one."""
    return not (is_tracing() and isinstance(x, Value))


def reduced(losses: list[Any], shape: Shape, reduction: str, weights: list[Any] | None = None) -> Any:
    """Return the losses, times their weights, as reduction has it; the mean is over their number."""
    if weights is None:
        if reduction == "none":
            return trees.nest(losses, shape)
        return mean(losses) if reduction == "mean" else sum(losses)
    if reduction == "none":
        return trees.nest(list(map(mul, weights, losses)), shape)
    total = dot(weights, losses)
    return total if reduction == "sum" else total / len(losses)


def quotient(x: Any, y: Any) -> Any:
    """Return x / y, also for floats of which y is 0."""
    return x * inf if isinstance(y, float) and y == 0 and isinstance(x, float) else x / y
