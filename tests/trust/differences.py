"""Where a single operation is known to give back something else than PyTorch's, and why: docs/differences.md has those
that users may meet. What lies behind such a node is not compared."""

import numpy as np

NAN_MASKS = {
    "maximum",
    "minimum",
    "clip",
    "elu",
    "selu",
    "hardtanh",
    "relu",
    "where",
    "leaky_relu",
    "bce",
    "bce_number",
    "polygamma",
}
# 1 - f * f, f + 1 and the like magnify the last bit of f; or several nodes here or in PyTorch, which cancel
CANCEL = {"tanh", "expm1", "sigmoid", "softsign", "softmax", "log_softmax", "mish", "silu", "bce", "bce_number", "gelu"}


def hidden(name, x, g):
    """Return where what operands receive is not compared.

    Args:
        x: the operands, as arrays.
        g: the gradients that arrive.
    """
    nowhere = np.zeros(len(g), bool)
    with np.errstate(all="ignore"):
        if name in NAN_MASKS:  # the masks at a nan differ; and alpha times a slope may be subnormal
            tiny = (np.abs(x[-1]) < 1e-290) if name == "elu" else nowhere
            return np.any([np.isnan(operand) for operand in x], axis=0) | tiny
        if name == "atan2":  # PyTorch takes the reciprocal of x * x + y * y, which overflows; 0 * inf at 0, 0
            return ~np.isfinite(g) | (np.sum([operand * operand for operand in x], axis=0) < 1e-307)
        if name == "hypot":  # PyTorch's vector library flushes tiny results to 0
            return np.max([np.abs(operand) for operand in x], axis=0) < 1e-290
        if name in ("mish", "log_sigmoid", "softplus", "silu"):  # slopes there are subnormal, and flushed by one
            return np.abs(x[0]) > 650
        if name == "logit":  # at -0 PyTorch has inf one by one, and -inf in lanes
            return x[0] == 0
        if name == "pow":  # slopes that are subnormal are flushed
            small = np.max([np.abs(operand) for operand in x], axis=0) > 1e140
            return ~np.isfinite(g) | small | (np.min([np.abs(operand) for operand in x], axis=0) < 1e-140)
        if name in (
            "softsign",
            "softmax",
            "log_softmax",
            "logsumexp",
        ):  # PyTorch multiplies inf with 0, or has inf - inf
            return ~np.isfinite(g)
    return nowhere


def hidden_value(name, x):
    """Return where results are not compared."""
    with np.errstate(all="ignore"):
        if name == "mod" and len(x) == 2:  # in lanes, PyTorch divides, which overflows; one by one it does not
            return np.isinf(x[0] / x[1])
        if name == "mod":
            return np.abs(x[0]) < 1e-290
    return np.zeros(len(x[0]), bool)


def slack(name, g):
    """Return by how much what operands receive may differ in any case."""
    # Between poles, polygamma adds terms of both signs.
    share = 1e-12 if name == "polygamma" else 1e-15 if name in CANCEL else 0.0
    return share * np.abs(np.where(np.isfinite(g), g, 0.0))
