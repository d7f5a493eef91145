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
    ignored = checks.integer(ignore_index, "ignore_index")
    smoothing = checks.number(label_smoothing, "label_smoothing", FROM_0_TO_1)
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

    def loss_of(row: list[Any], y: Any) -> Any:
        if smoothing:
            return _smoothed(row, y, weights, smoothing)
        if is_tracing():     # where the class is an argument, a program has a step for this
            chosen: Any = take(log_softmax(row), y)
            return _times(weights, y, -chosen)
        # The largest logit is taken off first, where it would cancel digits of the result, as in `log_softmax`. It is a
        # constant: what it takes from one term, it takes from the other.
        largest = plain_number(max(row))
        shifted = [x - largest for x in row]
        return _times(weights, y, logsumexp(shifted) - shifted[y])

    return _of_classes(loss_of, rows, classes, weights, ignored, shape, reduction)


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

    def loss_of(row: list[Any], y: Any) -> Any:
        chosen: Any = take(row, y)
        return _times(weights, y, -chosen)

    return _of_classes(loss_of, rows, classes, weights, ignored, shape, reduction)


def _times(weights: list[Any] | None, y: Any, loss: Any) -> Any:
    return loss if weights is None else take(weights, y) * loss


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
    loss_of: Any, rows: list[list[Any]], classes: list[Any], weights: list[Any] | None, ignored: int, shape: Shape,
    reduction: str,
) -> Any:
    """Return the losses of the classes, as reduction has it, less those that are ignored.

    Args:
        loss_of: a function of a row and a class that returns the loss, times the weight of the class.
    """
    # Which classes are arguments of a function that is compiled, and may be the one that is ignored.
    unknown = [ignored != _IGNORED and isinstance(y, IntegerInput) for y in classes]
    if weights is None and None not in classes and not any(unknown):
        return reduced([loss_of(row, y) for row, y in zip(rows, classes, strict=True)], shape, reduction)
    losses: list[Any] = []
    parts: list[Any] = []     # of the mean
    for row, y, may_be in zip(rows, classes, unknown, strict=True):
        if y is None:
            losses.append(Value(0.0) if any(isinstance(x, Value) for x in row) else 0.0)
            continue
        kept: Any = 1.0
        if may_be:
            kept = 1 - 1 // (1 + abs(y - ignored))
            y = y * kept     # any other
        part = kept if weights is None else kept * take(weights, y)
        parts.append(part)
        losses.append(select(kept, loss_of(row, y), 0.0) if may_be else loss_of(row, y))
    if reduction == "none":
        return trees.nest(losses, shape)
    total = sum(losses)
    return total if reduction == "sum" else quotient(total, sum(parts) if parts else 0.0)
