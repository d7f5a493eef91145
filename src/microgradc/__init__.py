"""micrograd's API, compiled: a scalar reverse-mode autodiff engine.

`Value` is the number that remembers how it was made. The rest of the names are functions of Values; `nn` has neurons and layers, `data`
small data sets.
"""

from importlib import import_module as _import_module

from microgradc.engine import Value, function, no_grad, topological_sort
from microgradc.functions import (
    acos,
    acosh,
    asin,
    asinh,
    atan,
    atan2,
    atanh,
    bce,
    clip,
    cos,
    cosh,
    dot,
    elu,
    erf,
    exp,
    expm1,
    gelu,
    hypot,
    leaky_relu,
    linear,
    log,
    log1p,
    log2,
    log_softmax,
    logsumexp,
    maximum,
    mean,
    minimum,
    relu,
    sigmoid,
    silu,
    sin,
    sinh,
    softmax,
    softplus,
    sqrt,
    step,
    sum,
    tan,
    tanh,
    where,
)

__version__ = "0.1.0"

__all__ = [
    "Value",
    "acos",
    "acosh",
    "array",
    "asin",
    "asinh",
    "atan",
    "atan2",
    "atanh",
    "bce",
    "clip",
    "cos",
    "cosh",
    "data",
    "dot",
    "elu",
    "erf",
    "exp",
    "expm1",
    "function",
    "gelu",
    "grads",
    "hypot",
    "install",
    "leaky_relu",
    "linear",
    "log",
    "log1p",
    "log2",
    "log_softmax",
    "logsumexp",
    "maximum",
    "mean",
    "minimum",
    "nn",
    "no_grad",
    "relu",
    "sigmoid",
    "silu",
    "sin",
    "sinh",
    "softmax",
    "softplus",
    "sqrt",
    "step",
    "sum",
    "tan",
    "tanh",
    "topological_sort",
    "where",
]

# What is imported on first use: these modules import NumPy, or more of the standard library than an engine needs.
_LAZY = {"nn": None, "data": None, "array": "arrays", "grads": "arrays", "install": "dropin"}


def __getattr__(name):
    if name not in _LAZY:
        raise AttributeError(f"module 'microgradc' has no attribute {name!r}")
    module = _import_module(f"microgradc.{_LAZY[name] or name}")
    value = globals()[name] = getattr(module, name) if _LAZY[name] else module
    return value


def __dir__():
    return sorted({*globals(), *_LAZY} - {"_LAZY", "_import_module"})
