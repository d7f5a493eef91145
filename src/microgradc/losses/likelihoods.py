"""The losses that are likelihoods of distributions, and the divergence of two of them."""

from __future__ import annotations

from math import pi
from typing import Any

from microgradc import checks, trees
from microgradc.checks import NOT_NEGATIVE
from microgradc.engine import Value
from microgradc.engine.functions import exp, less_equal, log, maximum, straight_through, where
from microgradc.engine.value import plain_number
from microgradc.keywords import suggest_keywords
from microgradc.losses.reading import (
    Reduction,
    Shape,
    is_known,
    quotient,
    read_entries,
    read_pairs,
    reduced,
    spread,
    to_floats,
)

__all__ = ["gaussian_nll_loss", "kl_div", "poisson_nll_loss"]

_HALF_LOG_2_PI = 0.9189385332046727


@suggest_keywords
def gaussian_nll_loss(
    input: Any, target: Any, var: Any, full: bool = False, eps: float = 1e-6, reduction: Reduction = "mean"
) -> Any:
    """Return the negative log-likelihood of y under a normal distribution, 0.5 (log(var) + (x - y)**2 / var).

    Nix and Weigend, "Estimating the mean and variance of the target probability distribution", 1994.

    Args:
        input: the expectations x, of any shape.
        target: the samples y, of the same shape, or of one that can be broadcast to it, as in PyTorch.
        var: the variances, at least 0, in the same shape; without its last axis, or with 1 in place of one, for a
            variance that several entries share; or a number. One below eps counts as eps, with the gradient of eps.
        full: whether to add the constant, 0.5 log(2 pi).
        eps: the least variance.
        reduction: 'mean', 'sum' or 'none'.

    Raises:
        ValueError: a variance is negative, or var has another shape.

    >>> gaussian_nll_loss([0.0, 1.0], [0.0, 3.0], [1.0, 4.0], reduction="none")
    [0.0, 1.1931471805599454]
    """
    full = checks.flag(full, "full")
    least = checks.number(eps, "eps", NOT_NEGATIVE)
    inputs, targets, shape = read_pairs(input, target, reduction, broadcast=True)
    losses = []
    for x, y, v in zip(inputs, targets, _variances(var, shape), strict=True):
        if is_known(v) and not plain_number(v) < least:
            floor = v
        else:
            floor = straight_through(maximum(v, least), v) if isinstance(v, Value) else least
        error = x - y
        loss = 0.5 * (log(floor) + quotient(error * error, floor))
        losses.append(loss + _HALF_LOG_2_PI if full else loss)
    return reduced(losses, shape, reduction)


@suggest_keywords
def poisson_nll_loss(
    input: Any,
    target: Any,
    log_input: bool = True,
    full: bool = False,
    eps: float = 1e-8,
    reduction: Reduction = "mean",
) -> Any:
    """Return the negative log-likelihood of the counts y under a Poisson distribution, exp(x) - y x, less log(y!).

    Args:
        input: the logarithms x of the expectations, of any shape.
        target: the counts y, of the same shape.
        log_input: if not, x are the expectations themselves, and the loss is x - y log(x + eps).
        full: whether to add Stirling's approximation of log(y!), y log(y) - y + 0.5 log(2 pi y), for y above 1.
        eps: what keeps the logarithm of x from -inf.
        reduction: 'mean', 'sum' or 'none'.
    """
    of_logs, full = checks.flag(log_input, "log_input"), checks.flag(full, "full")
    eps = checks.number(eps, "eps", NOT_NEGATIVE)
    inputs, targets, shape = read_pairs(input, target, reduction)
    losses = []
    for x, y in zip(inputs, targets, strict=True):
        loss = exp(x) - y * x if of_logs else x - y * log(x + eps)
        losses.append(loss + _stirling(y) if full else loss)
    return reduced(losses, shape, reduction)


@suggest_keywords
def kl_div(input: Any, target: Any, reduction: Any = "mean", log_target: bool = False) -> Any:
    """Return the Kullback-Leibler divergence, y (log(y) - x), of distributions y from those whose logarithms are x.

    Args:
        input: the logarithms x of the probabilities, of any shape, such as `log_softmax` gives.
        target: the probabilities y, of the same shape. Where one is 0, so is y log(y).
        reduction: 'mean', over all entries; 'batchmean', the sum over the number of rows, which is the divergence
            itself; 'sum' or 'none'.
        log_target: whether target has logarithms too; the loss is exp(y) (y - x).

    >>> kl_div([[-1.0, -0.5]], [[0.5, 0.5]], reduction="batchmean")
    0.056852819440054714
    """
    of_logs = checks.flag(log_target, "log_target")
    inputs, targets, shape = read_pairs(input, target, reduction, "batchmean")
    if of_logs:
        losses = [exp(y) * (y - x) for x, y in zip(inputs, targets, strict=True)]
    else:
        losses = [_times_its_log(y) - y * x for x, y in zip(inputs, targets, strict=True)]
    if reduction == "batchmean":
        return reduced(losses, shape, "sum") / (shape[0] if shape else 1)
    return reduced(losses, shape, reduction)


def _times_its_log(y: Any) -> Any:
    """Return y log(y), and 0 for 0; as in PyTorch, the derivative there is nan."""
    if isinstance(y, Value):
        return where(y, y * log(y), 0.0)
    return y * log(y) if y else 0.0


def _stirling(y: Any) -> Any:
    """Return Stirling's approximation of log(y!); 0 for y up to 1; as in PyTorch, the derivative at 0 is nan."""
    if not isinstance(y, Value) and y <= 1:
        return 0.0
    approximation = y * log(y) - y + 0.5 * log(2 * pi * y)
    return where(less_equal(y, 1.0), 0.0, approximation) if isinstance(y, Value) else approximation


def _variances(var: Any, shape: Shape) -> list[Any]:
    """Return a variance for each entry of this shape."""
    variances, own = read_entries(var, "var")
    variances = to_floats(variances, "var", own)
    for i, v in enumerate(variances):
        if is_known(v) and plain_number(v) < 0:
            raise ValueError(f"{trees.place('var', i, own)} must be at least 0, got {plain_number(v)}")
    fitting = (*own, 1) if own and own == shape[:-1] else own
    found = spread(variances, fitting, shape)
    if found is None or len(fitting) not in (0, len(shape)):
        fit = f"{shape}, {shape[:-1]} or one with 1 for an axis"
        raise ValueError(f"var must be a number or have shape {fit}, got {own}")
    return found
