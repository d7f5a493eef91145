"""The losses of predictions and targets, entry by entry."""

from __future__ import annotations

from typing import Any

from microgradc import checks, trees
from microgradc.checks import ABOVE_0, NOT_NEGATIVE
from microgradc.engine import Value
from microgradc.engine.functions import bce, clip, dot, relu, softplus, sum
from microgradc.engine.value import plain_number, real_number
from microgradc.keywords import suggest_keywords
from microgradc.losses.reading import (
    LABELS,
    Reduction,
    Shape,
    check_probabilities,
    is_known,
    quotient,
    read_pairs,
    read_weights,
    reduced,
    third,
)

__all__ = [
    "binary_cross_entropy",
    "binary_cross_entropy_with_logits",
    "hinge_loss",
    "huber_loss",
    "l1_loss",
    "mse_loss",
    "smooth_l1_loss",
]


@suggest_keywords
def mse_loss(input: Any, target: Any, reduction: Reduction = "mean", weight: Any = None) -> Any:
    """Return the squared error, (x - y)**2.

    Args:
        input: the predictions x, of any shape.
        target: what they should have been, y, of the same shape.
        reduction: 'mean', 'sum' or 'none'. With weights, the mean is sum(w (x - y)**2) / sum(w).
        weight: w, a number for each entry, in the shape of the input.

    >>> mse_loss([1.0, 2.0], [1.0, 5.0], reduction="sum")
    9.0
    >>> mse_loss([1.0, 2.0], [1.0, 5.0], weight=[2.0, 1.0])
    3.0
    """
    inputs, targets, shape = read_pairs(input, target, reduction)
    weights = read_weights(weight, "weight", shape, same_shape=True)
    errors = [x - y for x, y in zip(inputs, targets, strict=True)]
    if weights is not None:
        return _weighted_mean([e * e for e in errors], shape, reduction, weights)
    if reduction == "none":
        return trees.nest([e * e for e in errors], shape)
    total = dot(errors, errors)   # one node, where squares and their sum would be one for each entry
    return total if reduction == "sum" else total / len(errors)


@suggest_keywords
def l1_loss(input: Any, target: Any, reduction: Reduction = "mean", weight: Any = None) -> Any:
    """Return the absolute error, |x - y|; its derivative is 0 where x = y.

    Args:
        input: the predictions x, of any shape.
        target: what they should have been, y, of the same shape.
        reduction: 'mean', 'sum' or 'none'. With weights, the mean is sum(w |x - y|) / sum(w).
        weight: w, a number for each entry, in the shape of the input.
    """
    inputs, targets, shape = read_pairs(input, target, reduction)
    weights = read_weights(weight, "weight", shape, same_shape=True)
    losses = [abs(x - y) for x, y in zip(inputs, targets, strict=True)]
    return reduced(losses, shape, reduction) if weights is None else _weighted_mean(losses, shape, reduction, weights)


@suggest_keywords
def huber_loss(
    input: Any, target: Any, reduction: Reduction = "mean", delta: float = 1.0, weight: Any = None
) -> Any:
    """Return the Huber loss: 0.5 (x - y)**2 for errors up to delta, delta (|x - y| - 0.5 delta) for larger ones.

    Huber, "Robust estimation of a location parameter", 1964.

    Args:
        input: the predictions x, of any shape.
        target: what they should have been, y, of the same shape.
        reduction: 'mean', 'sum' or 'none'. The mean is over the entries, also with weights, as PyTorch's is.
        delta: the error at which the loss becomes linear, a positive number.
        weight: a number for each entry, in the shape of the input.

    Raises:
        ValueError: delta is not positive.
    """
    delta = checks.number(delta, "delta", ABOVE_0)
    inputs, targets, shape = read_pairs(input, target, reduction)
    return _huber(inputs, targets, delta, shape, reduction, read_weights(weight, "weight", shape, same_shape=True))


@suggest_keywords
def smooth_l1_loss(input: Any, target: Any, reduction: Reduction = "mean", beta: float = 1.0) -> Any:
    """Return 0.5 (x - y)**2 / beta for errors up to beta, |x - y| - 0.5 beta for larger ones: Huber's, over beta.

    Girshick, "Fast R-CNN", 2015.

    Args:
        input: the predictions x, of any shape.
        target: what they should have been, y, of the same shape.
        reduction: 'mean', 'sum' or 'none'.
        beta: the error at which the loss becomes linear, at least 0; with 0 it is `l1_loss`.

    Raises:
        ValueError: beta is negative.
    """
    beta = checks.number(beta, "beta", NOT_NEGATIVE)
    if beta == 0:
        return l1_loss(input, target, reduction)
    inputs, targets, shape = read_pairs(input, target, reduction)
    found = _huber(inputs, targets, beta, shape, reduction, None)
    return trees.map_leaves(lambda loss: loss / beta, found) if reduction == "none" else found / beta


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
    inputs, targets, shape = read_pairs(input, target, reduction)
    if not all(isinstance(y, float) for y in targets) or not {-1.0, 1.0}.issuperset(targets):
        for i, y in enumerate(targets):
            if is_known(y) and plain_number(y) not in (-1, 1):
                entry = trees.place("target", i, shape)
                got = f"{plain_number(y)}; labels 0 and 1 become these by 2 * y - 1"
                raise ValueError(f"{entry} must be -1 or +1, got {got}")
    # margin - y * x, without a node for the product where y is a number
    rests = [
        margin - y * x if isinstance(y, Value) else margin - x if y == 1.0 else margin + x
        for x, y in zip(inputs, targets, strict=True)
    ]
    return reduced([relu(rest) for rest in rests], shape, reduction)


@suggest_keywords
def binary_cross_entropy(input: Any, target: Any, weight: Any = None, reduction: Reduction = "mean") -> Any:
    """Return the binary cross-entropy of probabilities, -(y log(x) + (1 - y) log(1 - x)).

    Each logarithm is at least -100, and the derivative is (x - y) / max(x (1 - x), 1e-12), as in PyTorch: finite at 0
    and 1. What ends in a sigmoid is better left without, and given to `binary_cross_entropy_with_logits`.

    Args:
        input: the probabilities x, in [0, 1], of any shape.
        target: the labels y, in [0, 1], of the same shape.
        weight: a number, or one for each output or entry, that the losses are multiplied with.
        reduction: 'mean', 'sum' or 'none'. The mean is over the entries.

    Raises:
        ValueError: a probability or label is outside [0, 1].
    """
    weight, reduction = third(weight, reduction)
    inputs, targets, shape = read_pairs(input, target, reduction)
    weights = read_weights(weight, "weight", shape)
    check_probabilities(inputs, "input", shape, "did you mean binary_cross_entropy_with_logits?")
    check_probabilities(targets, "target", shape, LABELS)
    return reduced([bce(x, y) for x, y in zip(inputs, targets, strict=True)], shape, reduction, weights)


@suggest_keywords
def binary_cross_entropy_with_logits(
    input: Any, target: Any, weight: Any = None, reduction: Reduction = "mean", pos_weight: Any = None
) -> Any:
    """Return the binary cross-entropy of sigmoid(x), y log(1 + exp(-x)) + (1 - y) log(1 + exp(x)), without overflow.

    Neither term is negative, so nothing cancels: the loss of a good prediction keeps all its digits. (PyTorch's form,
    (1 - y) x + log(1 + exp(-x)), gives 0 for x = -40 and y = 0, and nan for x = -inf; here it is the limit.)

    Args:
        input: the logits x, of any shape.
        target: the labels y, in [0, 1], of the same shape.
        weight: a number, or one for each output or entry, that the losses are multiplied with.
        reduction: 'mean', 'sum' or 'none'. The mean is over the entries.
        pos_weight: a number, or one for each output, that the first term is multiplied with: how much more a missed 1
            counts than a missed 0.

    Raises:
        ValueError: a label is outside [0, 1]. (PyTorch takes it, and the loss is then unbounded.)
    """
    weight, reduction = third(weight, reduction)
    inputs, targets, shape = read_pairs(input, target, reduction)
    check_probabilities(targets, "target", shape, LABELS)
    weights = read_weights(weight, "weight", shape)
    of_ones = read_weights(pos_weight, "pos_weight", shape)
    losses = [
        dot((softplus(x), softplus(-x)), (1 - y, y if of_ones is None else y * of_ones[i]))
        if isinstance(y, Value) or y not in (0, 1)
        else softplus(x) if y == 0 else softplus(-x) if of_ones is None else of_ones[i] * softplus(-x)
        for i, (x, y) in enumerate(zip(inputs, targets, strict=True))
    ]
    return reduced(losses, shape, reduction, weights)


def _weighted_mean(losses: list[Any], shape: Shape, reduction: str, weights: list[Any]) -> Any:
    """Return losses times weights, as reduction has it; the mean is over the sum of the weights."""
    if reduction != "mean":
        return reduced(losses, shape, reduction, weights)
    return quotient(dot(weights, losses), sum(weights))


def _huber(
    inputs: list[Any], targets: list[Any], delta: float, shape: Shape, reduction: str, weights: list[Any] | None
) -> Any:
    errors = [x - y for x, y in zip(inputs, targets, strict=True)]
    # With c the error, clipped: c e - 0.5 c**2 is both branches in one.
    clipped = [clip(e, -delta, delta) for e in errors]
    if reduction == "none" or weights is not None:
        losses = [c * (e - 0.5 * c) for c, e in zip(clipped, errors, strict=True)]
        return reduced(losses, shape, reduction, weights)
    total = dot(clipped, errors) - 0.5 * dot(clipped, clipped)
    return total if reduction == "sum" else total / len(errors)
