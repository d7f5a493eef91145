"""The clipping of gradients: `torch.nn.utils`' functions of that name, for scalar parameters."""

from collections.abc import Iterable
from math import inf, isfinite, isnan
from types import GeneratorType
from typing import Any
from warnings import warn

from microgradc import checks
from microgradc.checks import BOUND
from microgradc.engine.value import Value, real_number
from microgradc.keywords import suggest_keywords
from microgradc.optim import updates
from microgradc.optim.group import listed

__all__ = ["clip_grad_norm_", "clip_grad_value_"]


@suggest_keywords
def clip_grad_norm_(
    parameters: Value | Iterable[Value], max_norm: float, norm_type: float = 2.0, error_if_nonfinite: bool = False
) -> float:
    """Scale all gradients by min(1, max_norm / (norm + 1e-6)), as `torch.nn.utils.clip_grad_norm_`.

    The norm is that of all gradients as one vector.

    Args:
        parameters: an iterable of Values, or one.
        max_norm: the largest norm that is left as it is, at least 0.
        norm_type: the p of the p-norm; `math.inf` or "inf" for the largest absolute value.
        error_if_nonfinite: whether a norm that is inf or nan is an error. If not, inf makes finite gradients 0, and nan
            makes all of them nan.

    Returns:
        The norm before the scaling.

    Raises:
        TypeError: a parameter is not a Value, max_norm or norm_type is not a number.
        ValueError: max_norm is negative or nan, norm_type is nan.
        RuntimeError: the norm is not finite, and that is an error. No gradient has changed.
    """
    params = _clipped(parameters)
    largest = checks.number(max_norm, "max_norm", BOUND)
    p = real_number(inf if norm_type == "inf" else norm_type, "norm_type")
    if isnan(p):
        raise ValueError("norm_type must be the p of a p-norm, got nan")
    norm = updates.grad_norm(params, p)
    if error_if_nonfinite and not isfinite(norm):
        advice = "error_if_nonfinite=False scales them anyway"
        raise RuntimeError(f"the norm of the gradients is {norm}, they cannot be clipped; {advice}")
    factor = largest / (norm + 1e-6)
    updates.scale_grads(params, 1.0 if factor > 1 else factor)
    return norm


@suggest_keywords
def clip_grad_value_(parameters: Value | Iterable[Value], clip_value: float) -> None:
    """Put all gradients into [-clip_value, clip_value]; nan stays nan. As `torch.nn.utils.clip_grad_value_`.

    Args:
        parameters: an iterable of Values, or one.
        clip_value: the largest absolute value that is left as it is, at least 0.

    Raises:
        TypeError: a parameter is not a Value, clip_value is not a number.
        ValueError: clip_value is negative or nan.
    """
    updates.clamp_grads(_clipped(parameters), checks.number(clip_value, "clip_value", BOUND))


def _clipped(parameters: Any) -> list[Value]:
    """Return the parameters whose gradients are to be clipped as a list."""
    params = [parameters] if isinstance(parameters, Value) else listed(parameters)
    if not params and isinstance(parameters, GeneratorType):
        message = "parameters is a generator that gives nothing: no gradient is clipped; was it used up before?"
        warn(message, stacklevel=3)
    return params
