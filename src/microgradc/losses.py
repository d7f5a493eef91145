"""Loss functions, named and called as in `torch.nn.functional`.

`input` and `target` are a Value or a number; a list, tuple, generator, array, tensor or column of a table of them; or a
nested list, array, tensor or table, such as a batch of rows of outputs. Entries are taken by position. Both have the
same shape: nothing is broadcast. `reduction` is 'mean', 'sum' or 'none', which gives the losses in the shape of the
input, as nested lists. A loss is a Value if one of the entries that it is made from is a Value, and else a float.

Every function raises

- TypeError where an entry is neither a Value nor a real number, or reduction is not a string;
- ValueError where the shapes differ, the rows of a batch differ in length, there are no entries, or reduction is none
  of the three.

>>> from microgradc import Value
>>> predictions = [Value(0.5), Value(2.0)]
>>> loss = mse_loss(predictions, [1.0, 0.0])
>>> loss.backward()
>>> loss.data, predictions[1].grad
(2.125, 2.0)
"""

from numbers import Real
from typing import Any, Literal, TypeAlias

from microgradc import checks, trees
from microgradc.checks import ABOVE_0
from microgradc.engine import IntegerInput, Value, is_tracing
from microgradc.engine.functions import bce, clip, dot, log_softmax, logsumexp, mean, relu, softplus, sum, take
from microgradc.engine.value import plain_number, real_number
from microgradc.keywords import suggest_keywords

Reduction: TypeAlias = Literal["mean", "sum", "none"]
_Shape: TypeAlias = tuple[int, ...]


@suggest_keywords
def mse_loss(input: Any, target: Any, reduction: Reduction = "mean") -> Any:
    """Return the squared error, (x - y)**2.

    Args:
        input: the predictions x, of any shape.
        target: what they should have been, y, of the same shape.
        reduction: 'mean', 'sum' or 'none'.

    >>> mse_loss([1.0, 2.0], [1.0, 5.0], reduction="sum")
    9.0
    """
    inputs, targets, shape = _read_pairs(input, target, reduction)
    errors = [x - y for x, y in zip(inputs, targets, strict=True)]
    if reduction == "none":
        return trees.nest([e * e for e in errors], shape)
    total = dot(errors, errors)   # one node, where squares and their sum would be one for each entry
    return total if reduction == "sum" else total / len(errors)


@suggest_keywords
def l1_loss(input: Any, target: Any, reduction: Reduction = "mean") -> Any:
    """Return the absolute error, |x - y|; its derivative is 0 where x = y.

    Args:
        input: the predictions x, of any shape.
        target: what they should have been, y, of the same shape.
        reduction: 'mean', 'sum' or 'none'.
    """
    inputs, targets, shape = _read_pairs(input, target, reduction)
    return _reduce([abs(x - y) for x, y in zip(inputs, targets, strict=True)], shape, reduction)


@suggest_keywords
def huber_loss(input: Any, target: Any, reduction: Reduction = "mean", delta: float = 1.0) -> Any:
    """Return the Huber loss: 0.5 (x - y)**2 for errors up to delta, delta (|x - y| - 0.5 delta) for larger ones.

    Huber, "Robust estimation of a location parameter", 1964.

    Args:
        input: the predictions x, of any shape.
        target: what they should have been, y, of the same shape.
        reduction: 'mean', 'sum' or 'none'.
        delta: the error at which the loss becomes linear, a positive number.

    Raises:
        ValueError: delta is not positive.
    """
    delta = checks.number(delta, "delta", ABOVE_0)
    inputs, targets, shape = _read_pairs(input, target, reduction)
    errors = [x - y for x, y in zip(inputs, targets, strict=True)]
    # With c the error, clipped: c e - 0.5 c**2 is both branches in one.
    clipped = [clip(e, -delta, delta) for e in errors]
    if reduction == "none":
        return trees.nest([c * (e - 0.5 * c) for c, e in zip(clipped, errors, strict=True)], shape)
    total = dot(clipped, errors) - 0.5 * dot(clipped, clipped)
    return total if reduction == "sum" else total / len(errors)


@suggest_keywords
def hinge_loss(input: Any, target: Any, reduction: Reduction = "mean", margin: float = 1.0) -> Any:
    """Return the hinge (max-margin) loss, max(0, margin - y x); its derivative is 0 at the kink.

    Args:
        input: the scores x, of any shape.
        target: the labels y, -1 or +1, of the same shape.
        reduction: 'mean', 'sum' or 'none'.
        margin: the score, on the right side, from which on there is no loss.

    Raises:
        ValueError: a label is neither -1 nor +1.
    """
    margin = real_number(margin, "margin")
    inputs, targets, shape = _read_pairs(input, target, reduction)
    if not all(isinstance(y, float) for y in targets) or not {-1.0, 1.0}.issuperset(targets):
        for i, y in enumerate(targets):
            if _is_known(y) and plain_number(y) not in (-1, 1):
                entry = trees.place("target", i, shape)
                got = f"{plain_number(y)}; labels 0 and 1 become these by 2 * y - 1"
                raise ValueError(f"{entry} must be -1 or +1, got {got}")
    # margin - y * x, without a node for the product where y is a number
    rests = [
        margin - y * x if isinstance(y, Value) else margin - x if y == 1.0 else margin + x
        for x, y in zip(inputs, targets, strict=True)
    ]
    return _reduce([relu(rest) for rest in rests], shape, reduction)


@suggest_keywords
def binary_cross_entropy(input: Any, target: Any, reduction: Reduction = "mean") -> Any:
    """Return the binary cross-entropy of probabilities, -(y log(x) + (1 - y) log(1 - x)).

    Each logarithm is at least -100, and the derivative is (x - y) / max(x (1 - x), 1e-12), as in PyTorch: finite at 0
    and 1. What ends in a sigmoid is better left without, and given to `binary_cross_entropy_with_logits`.

    Args:
        input: the probabilities x, in [0, 1], of any shape.
        target: the labels y, in [0, 1], of the same shape.
        reduction: 'mean', 'sum' or 'none'.

    Raises:
        ValueError: a probability or label is outside [0, 1].
    """
    inputs, targets, shape = _read_pairs(input, target, reduction)
    _check_probabilities(inputs, "input", shape, "did you mean binary_cross_entropy_with_logits?")
    _check_probabilities(targets, "target", shape, _LABELS)
    return _reduce([bce(x, y) for x, y in zip(inputs, targets, strict=True)], shape, reduction)


@suggest_keywords
def binary_cross_entropy_with_logits(input: Any, target: Any, reduction: Reduction = "mean") -> Any:
    """Return the binary cross-entropy of sigmoid(x), y log(1 + exp(-x)) + (1 - y) log(1 + exp(x)), without overflow.

    Neither term is negative, so nothing cancels: the loss of a good prediction keeps all its digits. (PyTorch's form,
    (1 - y) x + log(1 + exp(-x)), gives 0 for x = -40 and y = 0, and nan for x = -inf; here it is the limit.)

    Args:
        input: the logits x, of any shape.
        target: the labels y, in [0, 1], of the same shape.
        reduction: 'mean', 'sum' or 'none'.

    Raises:
        ValueError: a label is outside [0, 1]. (PyTorch takes it, and the loss is then unbounded.)
    """
    inputs, targets, shape = _read_pairs(input, target, reduction)
    _check_probabilities(targets, "target", shape, _LABELS)
    losses = [
        dot((softplus(x), softplus(-x)), (1 - y, y))
        if isinstance(y, Value) or y not in (0, 1)
        else softplus(x if y == 0 else -x)
        for x, y in zip(inputs, targets, strict=True)
    ]
    return _reduce(losses, shape, reduction)


@suggest_keywords
def cross_entropy(input: Any, target: Any, reduction: Reduction = "mean") -> Any:
    """Return the cross-entropy of softmax(x) for the class y, log(sum(exp(x))) - x[y], without overflow.

    For probabilities p of the classes it is -(p[0] log_softmax(x)[0] + p[1] log_softmax(x)[1] + …).

    Args:
        input: the logits x of one example, of shape (C,), or of a batch, (N, C).
        target: the index of the right class, in [0, C); for a batch, N of them. Or probabilities of the classes, floats
            or bools in input's shape, such as one-hot rows.
        reduction: 'mean', 'sum' or 'none'. The mean is over the examples.

    Raises:
        TypeError: an index is not an integer.
        ValueError: an index is out of range, a probability outside [0, 1].

    >>> cross_entropy([[0.0, 0.0], [1000.0, 990.0]], [1, 0], reduction="none")
    [0.6931471805599453, 4.539889921686465e-05]
    >>> cross_entropy([[0.0, 0.0]], [[0.5, 0.5]])
    0.6931471805599453
    """
    rows, classes, shape = _read_classes(input, target, reduction, or_probabilities=True)
    if classes and isinstance(classes[0], list):
        return _reduce([-dot(p, log_softmax(row)) for row, p in zip(rows, classes, strict=True)], shape, reduction)
    losses: list[Any] = []
    for row, y in zip(rows, classes, strict=True):
        if is_tracing():     # where the class is an argument, a program has a step for this
            chosen: Any = take(log_softmax(row), y)
            losses.append(-chosen)
            continue
        # The largest logit is taken off first, where it would cancel digits of the result, as in `log_softmax`. It is a
        # constant: what it takes from one term, it takes from the other.
        largest = plain_number(max(row))
        shifted = [x - largest for x in row]
        losses.append(logsumexp(shifted) - shifted[y])
    return _reduce(losses, shape, reduction)


@suggest_keywords
def nll_loss(input: Any, target: Any, reduction: Reduction = "mean") -> Any:
    """Return the negative log-likelihood of the class y, -x[y].

    Args:
        input: the log-probabilities x of one example, of shape (C,), or of a batch, (N, C); such as `log_softmax`
            gives.
        target: the index of the right class, in [0, C); for a batch, N of them.
        reduction: 'mean', 'sum' or 'none'.

    Raises:
        TypeError: an index is not an integer.
        ValueError: an index is out of range.
    """
    rows, classes, shape = _read_classes(input, target, reduction)
    return _reduce([-take(row, y) for row, y in zip(rows, classes, strict=True)], shape, reduction)


_LABELS = "labels -1 and +1 become 0 and 1 by (y + 1) / 2"


def _read_pairs(input: Any, target: Any, reduction: str) -> tuple[list[Any], list[Any], _Shape]:
    """Return the entries of input and of target, Values and floats, and the shape of both."""
    _check_reduction(reduction)
    inputs, shape = _read_entries(input, "input")
    targets, target_shape = _read_entries(target, "target")
    if shape != target_shape:
        advice = ""
        for name, longer, shorter in (("input", shape, target_shape), ("target", target_shape, shape)):
            if len(longer) == 2 and longer == (*shorter, 1):
                entries = _first_of_rows(input if name == "input" else target, name)
                advice = f"; each row of {name} has one entry: take it out, as in {entries}"
        raise ValueError(f"input and target must have the same shape, got {shape} and {target_shape}{advice}")
    return _to_floats(inputs, "input", shape), _to_floats(targets, "target", shape), shape


def _first_of_rows(x: Any, name: str) -> str:
    """Return how a program says what the rows of x begin with."""
    if hasattr(x, "iloc"):
        return f"{name}.iloc[:, 0]"
    return f"{name}[:, 0]" if hasattr(x, "shape") else f"[row[0] for row in {name}]"


def _read_classes(
    input: Any, target: Any, reduction: str, or_probabilities: bool = False
) -> tuple[list[list[Any]], list[Any], _Shape]:
    """Return the rows of input, the index or probabilities that target has for each, and the shape of the losses.

    That shape is (N,), or () for one example.
    """
    _check_reduction(reduction)
    entries, shape = _read_entries(input, "input")
    if len(shape) not in (1, 2):
        raise ValueError(f"input must have shape (C,), one number for each class, or (N, C), got {shape}")
    entries = _to_floats(entries, "input", shape)
    *batch, n_classes = shape
    indices, target_shape = _read_entries(target, "target")
    integers = all(isinstance(y, (int, IntegerInput)) and not isinstance(y, bool) for y in indices)
    if or_probabilities and target_shape == shape and not integers:
        probabilities = _to_floats(indices, "target", shape)
        _check_probabilities(probabilities, "target", shape, "they are the probabilities of the classes")
        return trees.rows(entries, n_classes), trees.rows(probabilities, n_classes), tuple(batch)
    if target_shape != tuple(batch):
        expected = f"{batch[0]} indices, one for each row of input" if batch else "one index, for the one row of input"
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
        if not 0 <= y < n_classes:
            entry = trees.place("target", i, target_shape)
            raise ValueError(f"{entry} must be the index of one of {n_classes} classes, 0 to {n_classes - 1}, got {y}")
    return trees.rows(entries, n_classes), indices, target_shape


def _read_entries(x: Any, name: str) -> tuple[list[Any], _Shape]:
    entries, shape = trees.entries(x, name)
    if not entries:
        raise ValueError(f"{name} must have at least one entry, got none")
    return entries, shape


def _to_floats(entries: list[Any], name: str, shape: _Shape) -> list[Any]:
    """Return the entries, the numbers among them as floats."""
    types = set(map(type, entries))   # few, so that there is no test for each entry
    if types <= {Value, float}:
        return entries
    if all(issubclass(t, Real) for t in types):
        return list(map(float, entries))
    return [x if isinstance(x, Value) else _to_float(x, name, i, shape) for i, x in enumerate(entries)]


def _to_float(x: Any, name: str, i: int, shape: _Shape) -> float:
    try:
        return real_number(x, name)
    except TypeError:
        got = f"{type(x).__name__} {x!r:.40}"
        raise TypeError(f"{trees.place(name, i, shape)} must be a Value or a real number, got {got}") from None


def _to_class(y: Any, name: str, i: int, shape: _Shape) -> int:
    index = checks.as_integer(y)
    if index is None:
        advice = "; convert it with int(...)" if isinstance(y, Real) else ""
        got = f"{type(y).__name__} {y!r:.40}{advice}"
        raise TypeError(f"{trees.place(name, i, shape)} must be an integer, the index of a class, got {got}")
    return index


def _check_reduction(reduction: str) -> None:
    if not isinstance(reduction, str):
        raise TypeError(f"reduction must be 'mean', 'sum' or 'none', got {reduction!r:.60}")
    if reduction not in ("mean", "sum", "none"):
        raise ValueError(f"reduction must be 'mean', 'sum' or 'none', got {reduction!r}")


def _check_probabilities(entries: list[Any], name: str, shape: _Shape, advice: str) -> None:
    """Raise ValueError if an entry is outside [0, 1]; nan is not."""
    entries = [x for x in entries if _is_known(x)] if is_tracing() else entries
    if not entries or (min(entries) >= 0 and max(entries) <= 1):   # fast; false where the first is nan
        return
    for i, x in enumerate(entries):
        if x < 0 or x > 1:
            raise ValueError(f"{trees.place(name, i, shape)} must be in [0, 1], got {plain_number(x)}; {advice}")


def _is_known(x: Any) -> bool:
    """Return whether x is a number that does not change; while a function is traced, a Value is not one."""
    return not (is_tracing() and isinstance(x, Value))


def _reduce(losses: list[Any], shape: _Shape, reduction: str) -> Any:
    if reduction == "none":
        return trees.nest(losses, shape)
    return mean(losses) if reduction == "mean" else sum(losses)


# A loss is public as soon as it is defined above without an underscore.
__all__ = sorted(
    name for name, f in globals().items() if not name.startswith("_") and getattr(f, "__module__", None) == __name__
)
