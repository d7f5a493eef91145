"""The losses of scores of classes."""

from __future__ import annotations

from typing import Any

from microgradc import checks, trees
from microgradc.checks import FROM_0_TO_1
from microgradc.engine import IntegerInput, Value, is_tracing
from microgradc.engine.functions import dot, log_softmax, logsumexp, select, sum, take
from microgradc.engine.value import plain_number
from microgradc.keywords import suggest_keywords
from microgradc.losses.reading import Reduction, Shape, quotient, read_class_weights, read_classes, reduced, third

__all__ = ["cross_entropy", "nll_loss"]

_IGNORED = -100     # the default of ignore_index, PyTorch's


@suggest_keywords
def cross_entropy(
    input: Any,
    target: Any,
    weight: Any = None,
    ignore_index: int = _IGNORED,
    reduction: Reduction = "mean",
    label_smoothing: float = 0.0,
) -> Any:
    """Return the cross-entropy of softmax(x) for the class y, log(sum(exp(x))) - x[y], without overflow.

    For probabilities p of the classes it is -(p[0] log_softmax(x)[0] + p[1] log_softmax(x)[1] + …).

    Args:
        input: the logits x of one example, of shape (C,), or of a batch, (N, C) or (N, C, d1, …).
        target: the index of the right class, in [0, C); for a batch, N of them, or shape (N, d1, …). Or probabilities
            of the classes, floats or bools in input's shape, such as one-hot rows.
        weight: a number w for each class, w[y] for an example; of probabilities, each is multiplied with its own.
        ignore_index: a target that is left out. In a function that is compiled, the default, -100, is not looked for
            in targets that are arguments.
        reduction: 'mean', 'sum' or 'none'. The mean is over the examples that are not left out, sum(w[y] loss) /
            sum(w[y]), and nan if there are none; for probabilities it is over all, also with weights.
        label_smoothing: what is taken off the probabilities and given to all classes alike, in [0, 1]: p becomes
            (1 - label_smoothing) p + label_smoothing / C (Szegedy et al., "Rethinking the Inception Architecture for
            Computer Vision", 2016).

    Raises:
        TypeError: an index is not an integer.
        ValueError: an index is out of range, a probability or label_smoothing outside [0, 1], weight is not a number
            for each class, or ignore_index is given for probabilities.

    >>> cross_entropy([[0.0, 0.0], [1000.0, 990.0]], [1, 0], reduction="none")
    [0.6931471805599453, 4.539889921686465e-05]
    >>> cross_entropy([[0.0, 0.0]], [[0.5, 0.5]])
    0.6931471805599453
    >>> cross_entropy([[0.0, 0.0], [1000.0, 990.0]], [1, -100])
    0.6931471805599453
    """
    weight, reduction = third(weight, reduction)
    ignored = ignore_index if type(ignore_index) is int else checks.integer(ignore_index, "ignore_index")
    smoothing = checks.number(label_smoothing, "label_smoothing", FROM_0_TO_1) if label_smoothing else 0.0
    rows, classes, shape = read_classes(input, target, reduction, ignored, or_probabilities=True)
    weights = read_class_weights(weight, len(rows[0]))
    if classes and isinstance(classes[0], list):
        losses = []
        for row, p in zip(rows, classes, strict=True):
            shares = [(1 - smoothing) * q + smoothing / len(row) for q in p] if smoothing else p
            if weights is not None:
                shares = [w * q for w, q in zip(weights, shares, strict=True)]
            losses.append(-dot(shares, log_softmax(row)))
        return reduced(losses, shape, reduction)

    of_class = _traced if is_tracing() else _cross_entropy
    if smoothing:

        def of_class(row: list[Any], y: Any) -> Any:
            return _smoothed(row, y, weights, smoothing)

    return _of_classes(of_class, rows, classes, weights, ignored, shape, reduction, weighted=bool(smoothing))


def _cross_entropy(row: list[Any], y: int) -> Any:
    # The largest logit is taken off first, where it would cancel digits of the result, as in `log_softmax`. It is a
    # constant: what it takes from one term, it takes from the other.
    largest = plain_number(max(row))
    shifted = [x - largest for x in row]
    return logsumexp(shifted) - shifted[y]


def _traced(row: list[Any], y: Any) -> Any:
    """Return the same where the class is an argument of a function that is compiled: a program has a step for it."""
    chosen: Any = take(log_softmax(row), y)
    return -chosen


@suggest_keywords
def nll_loss(
    input: Any, target: Any, weight: Any = None, ignore_index: int = _IGNORED, reduction: Reduction = "mean"
) -> Any:
    """Return the negative log-likelihood of the class y, -x[y].

    Args:
        input: the log-probabilities x of one example, of shape (C,), or of a batch, (N, C) or (N, C, d1, …); such as
            `log_softmax` gives.
        target: the index of the right class, in [0, C); for a batch, N of them, or shape (N, d1, …).
        weight, ignore_index, reduction: as for `cross_entropy`.

    Raises:
        TypeError: an index is not an integer.
        ValueError: an index is out of range, or weight is not a number for each class.
    """
    weight, reduction = third(weight, reduction)
    ignored = checks.integer(ignore_index, "ignore_index")
    rows, classes, shape = read_classes(input, target, reduction, ignored)
    weights = read_class_weights(weight, len(rows[0]))
    return _of_classes(_chosen, rows, classes, weights, ignored, shape, reduction)


def _chosen(row: list[Any], y: Any) -> Any:
    chosen: Any = take(row, y)
    return -chosen


def _smoothed(row: list[Any], y: Any, weights: list[Any] | None, smoothing: float) -> Any:
    """Return the cross-entropy for a share of smoothing / C of each class, and the rest of class y, each weighted."""
    logs, each = log_softmax(row), smoothing / len(row)
    weights = [1.0] * len(row) if weights is None else weights
    if isinstance(y, int):
        shares = [each * w for w in weights]
        shares[y] = shares[y] + (1 - smoothing) * weights[y]
        return -dot(shares, logs)
    chosen: Any = take(logs, y)
    return -((1 - smoothing) * take(weights, y) * chosen + each * dot(weights, logs))


def _of_classes(
    of_class: Any,
    rows: list[list[Any]],
    classes: list[Any],
    weights: list[Any] | None,
    ignored: int,
    shape: Shape,
    reduction: str,
    weighted: bool = False,
) -> Any:
    """Return the losses of the classes, as reduction has it, less those that are ignored.

    Args:
        of_class: a function of a row and a class that returns the loss.
        weighted: whether that has the weight of the class already.
    """
    searched = ignored != _IGNORED and is_tracing()
    if weights is None and None not in classes and not searched:
        return reduced([of_class(row, y) for row, y in zip(rows, classes, strict=True)], shape, reduction)
    losses: list[Any] = []
    parts: list[Any] = []     # of the mean
    for row, y in zip(rows, classes, strict=True):
        if y is None:
            losses.append(Value(0.0) if any(isinstance(x, Value) for x in row) else 0.0)
            continue
        kept: Any = None
        if searched and isinstance(y, IntegerInput):     # which may be the one that is ignored
            kept = 1 - 1 // (1 + abs(y - ignored))
            y = y * kept     # any other
        part: Any = 1.0
        loss = of_class(row, y)
        if weights is not None:
            part = take(weights, y)
            loss = loss if weighted else part * loss
        if kept is not None:
            part, loss = kept * part, select(kept, loss, 0.0)
        parts.append(part)
        losses.append(loss)
    if reduction == "none":
        return trees.nest(losses, shape)
    total = sum(losses)
    return total if reduction == "sum" else quotient(total, sum(parts) if parts else 0.0)
