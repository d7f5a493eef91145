"""micrograd's API, compiled: a scalar reverse-mode autodiff engine."""

from microgradc.engine import Value, function, no_grad, topological_sort
from microgradc.functions import (
    acos, acosh, asin, asinh, atan, atan2, atanh, clip, cos, cosh, dot, elu, erf, exp, expm1, gelu, hypot, leaky_relu, log, log1p, log2,
    log_softmax, logsumexp, maximum, mean, minimum, relu, sigmoid, silu, sin, sinh, softmax, softplus, sqrt, step, sum, tan, tanh, where,
)
