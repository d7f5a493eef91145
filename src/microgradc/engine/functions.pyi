"""The operations as functions, of Values, numbers and NumPy arrays of either; and those of any number of operands."""

# Values and arrays have `__float__`, so to a type checker they are numbers too: their overloads come first, and overlap
# with the last.
# mypy: disable-error-code="overload-overlap"

from collections.abc import Iterable
from decimal import Decimal
from fractions import Fraction
from typing import Any, Protocol, SupportsIndex, TypeAlias, TypeVar, overload

import numpy as np
from numpy.typing import NDArray

from microgradc.engine.value import Value, _Number

_T = TypeVar("_T")
_Array: TypeAlias = NDArray[Any]
_Scalar: TypeAlias = Value | _Number
_Operand: TypeAlias = Value | _Number | _Array
_Real: TypeAlias = (
    float | Fraction | Decimal | np.floating[Any] | np.integer[Any] | np.bool_
)  # what is a number and no Value for sure

class _OfOneOperand(Protocol):
    """A function of a Value, a number or an array of either."""

    @overload
    def __call__(self, x: Value) -> Value: ...
    @overload
    def __call__(self, x: _Array) -> _Array: ...
    @overload
    def __call__(self, x: _Real) -> float: ...
    @overload
    def __call__(self, x: _Scalar) -> Value | float: ...

exp: _OfOneOperand
"""Return e ** x."""
expm1: _OfOneOperand
"""Return e ** x - 1, exact for small x."""
log: _OfOneOperand
"""Return the natural logarithm of x; -inf at 0, nan below."""
log1p: _OfOneOperand
"""Return log(1 + x), exact for small x; -inf at -1, nan below."""
log2: _OfOneOperand
"""Return the logarithm of x to base 2; -inf at 0, nan below."""
log10: _OfOneOperand
"""Return the logarithm of x to base 10; -inf at 0, nan below."""
exp2: _OfOneOperand
"""Return 2 ** x."""
sqrt: _OfOneOperand
"""Return the square root of x; nan below 0."""
cbrt: _OfOneOperand
"""Return the cube root of x, that of -x with the sign changed."""
square: _OfOneOperand
"""Return x * x."""
sin: _OfOneOperand
"""Return the sine of x, in radians."""
cos: _OfOneOperand
"""Return the cosine of x, in radians."""
tan: _OfOneOperand
"""Return the tangent of x, in radians."""
asin: _OfOneOperand
"""Return the arc sine of x, in radians; nan outside [-1, 1]."""
acos: _OfOneOperand
"""Return the arc cosine of x, in radians; nan outside [-1, 1]."""
atan: _OfOneOperand
"""Return the arc tangent of x, in radians."""
sinh: _OfOneOperand
"""Return the hyperbolic sine of x."""
cosh: _OfOneOperand
"""Return the hyperbolic cosine of x."""
tanh: _OfOneOperand
"""Return the hyperbolic tangent of x."""
asinh: _OfOneOperand
"""Return the inverse hyperbolic sine of x."""
acosh: _OfOneOperand
"""Return the inverse hyperbolic cosine of x; nan below 1."""
atanh: _OfOneOperand
"""Return the inverse hyperbolic tangent of x; nan outside [-1, 1]."""
erf: _OfOneOperand
"""Return the error function of x."""
erfc: _OfOneOperand
"""Return 1 - erf(x), exact for large x."""
gammaln: _OfOneOperand
"""Return log(abs(gamma(x))), also called lgamma; inf at 0 and the negative integers."""
lgamma = gammaln
digamma: _OfOneOperand
"""Return the derivative of gammaln(x); nan at the negative integers."""
sigmoid: _OfOneOperand
"""Return 1 / (1 + exp(-x))."""
log_sigmoid: _OfOneOperand
"""Return log(sigmoid(x)), without underflow."""
logit: _OfOneOperand
"""Return log(x / (1 - x)), of which sigmoid is the inverse; nan outside [0, 1]."""
relu: _OfOneOperand
"""Return x where it is positive, else 0."""
gelu: _OfOneOperand
"""Return x * Phi(x), Phi the normal distribution function."""
silu: _OfOneOperand
"""Return x * sigmoid(x), also called swish."""
selu: _OfOneOperand
"""Return scale * x where x is positive, else scale * alpha * (exp(x) - 1)."""
mish: _OfOneOperand
"""Return x * tanh(softplus(x))."""
softsign: _OfOneOperand
"""Return x / (1 + abs(x))."""
hardtanh: _OfOneOperand
"""Return x, but at least -1 and at most 1."""
softplus: _OfOneOperand
"""Return log(1 + exp(x))."""
step: _OfOneOperand
"""Return 1 where x is positive, else 0."""
sign: _OfOneOperand
"""Return 1 where x is positive, -1 where it is negative, else 0, also where it is nan."""
floor: _OfOneOperand
"""Return the largest integer that is at most x."""
ceil: _OfOneOperand
"""Return the smallest integer that is at least x."""

@overload
def leaky_relu(x: _Array, negative_slope: _Operand = 0.01) -> _Array:
    """Return x where it is positive, else negative_slope * x."""
@overload
def leaky_relu(x: _Scalar, negative_slope: _Array) -> _Array: ...
@overload
def leaky_relu(x: Value, negative_slope: _Scalar = 0.01) -> Value: ...
@overload
def leaky_relu(x: _Scalar, negative_slope: Value) -> Value: ...
@overload
def leaky_relu(x: _Real, negative_slope: _Real = 0.01) -> float: ...
@overload
def leaky_relu(x: _Scalar, negative_slope: _Scalar = 0.01) -> Value | float: ...

@overload
def elu(x: _Array, alpha: _Operand = 1.0) -> _Array:
    """Return x where it is positive, else alpha * (exp(x) - 1)."""
@overload
def elu(x: _Scalar, alpha: _Array) -> _Array: ...
@overload
def elu(x: Value, alpha: _Scalar = 1.0) -> Value: ...
@overload
def elu(x: _Scalar, alpha: Value) -> Value: ...
@overload
def elu(x: _Real, alpha: _Real = 1.0) -> float: ...
@overload
def elu(x: _Scalar, alpha: _Scalar = 1.0) -> Value | float: ...

@overload
def atan2(y: _Array, x: _Operand) -> _Array:
    """Return the angle of the point (x, y) to the x axis, in radians, in [-pi, pi]."""
@overload
def atan2(y: _Scalar, x: _Array) -> _Array: ...
@overload
def atan2(y: Value, x: _Scalar) -> Value: ...
@overload
def atan2(y: _Scalar, x: Value) -> Value: ...
@overload
def atan2(y: _Real, x: _Real) -> float: ...
@overload
def atan2(y: _Scalar, x: _Scalar) -> Value | float: ...

@overload
def hypot(x: _Array, y: _Operand) -> _Array:
    """Return sqrt(x**2 + y**2) without overflow."""
@overload
def hypot(x: _Scalar, y: _Array) -> _Array: ...
@overload
def hypot(x: Value, y: _Scalar) -> Value: ...
@overload
def hypot(x: _Scalar, y: Value) -> Value: ...
@overload
def hypot(x: _Real, y: _Real) -> float: ...
@overload
def hypot(x: _Scalar, y: _Scalar) -> Value | float: ...

@overload
def logaddexp(x: _Array, y: _Operand) -> _Array:
    """Return log(exp(x) + exp(y)) without overflow."""
@overload
def logaddexp(x: _Scalar, y: _Array) -> _Array: ...
@overload
def logaddexp(x: Value, y: _Scalar) -> Value: ...
@overload
def logaddexp(x: _Scalar, y: Value) -> Value: ...
@overload
def logaddexp(x: _Real, y: _Real) -> float: ...
@overload
def logaddexp(x: _Scalar, y: _Scalar) -> Value | float: ...

@overload
def polygamma(n: SupportsIndex, x: Value) -> Value:
    """Return the derivative of order n of digamma(x), as a node with a local gradient."""
@overload
def polygamma(n: SupportsIndex, x: _Array) -> _Array: ...
@overload
def polygamma(n: SupportsIndex, x: _Real) -> float: ...
@overload
def polygamma(n: SupportsIndex, x: _Scalar) -> Value | float: ...

@overload
def minimum(x: _Array, y: _Operand) -> _Array:
    """Return the smaller of x and y; nan if one is nan."""
@overload
def minimum(x: _Scalar, y: _Array) -> _Array: ...
@overload
def minimum(x: Value, y: _Scalar) -> Value: ...
@overload
def minimum(x: _Scalar, y: Value) -> Value: ...
@overload
def minimum(x: _Real, y: _Real) -> float: ...
@overload
def minimum(x: _Scalar, y: _Scalar) -> Value | float: ...

@overload
def maximum(x: _Array, y: _Operand) -> _Array:
    """Return the larger of x and y; nan if one is nan."""
@overload
def maximum(x: _Scalar, y: _Array) -> _Array: ...
@overload
def maximum(x: Value, y: _Scalar) -> Value: ...
@overload
def maximum(x: _Scalar, y: Value) -> Value: ...
@overload
def maximum(x: _Real, y: _Real) -> float: ...
@overload
def maximum(x: _Scalar, y: _Scalar) -> Value | float: ...

@overload
def less(x: _Array, y: _Operand) -> _Array:
    """Return 1 where x < y, else 0, also where one is nan."""
@overload
def less(x: _Scalar, y: _Array) -> _Array: ...
@overload
def less(x: Value, y: _Scalar) -> Value: ...
@overload
def less(x: _Scalar, y: Value) -> Value: ...
@overload
def less(x: _Real, y: _Real) -> float: ...
@overload
def less(x: _Scalar, y: _Scalar) -> Value | float: ...

@overload
def less_equal(x: _Array, y: _Operand) -> _Array:
    """Return 1 where x <= y, else 0, also where one is nan."""
@overload
def less_equal(x: _Scalar, y: _Array) -> _Array: ...
@overload
def less_equal(x: Value, y: _Scalar) -> Value: ...
@overload
def less_equal(x: _Scalar, y: Value) -> Value: ...
@overload
def less_equal(x: _Real, y: _Real) -> float: ...
@overload
def less_equal(x: _Scalar, y: _Scalar) -> Value | float: ...

@overload
def bce(x: _Array, y: _Operand) -> _Array:
    """Return the binary cross-entropy of a probability x and a label y."""
@overload
def bce(x: _Scalar, y: _Array) -> _Array: ...
@overload
def bce(x: Value, y: _Scalar) -> Value: ...
@overload
def bce(x: _Scalar, y: Value) -> Value: ...
@overload
def bce(x: _Real, y: _Real) -> float: ...
@overload
def bce(x: _Scalar, y: _Scalar) -> Value | float: ...

@overload
def where(condition: _Array, x: _Operand, y: _Operand) -> _Array:
    """Return x where the condition holds, else y."""
@overload
def where(condition: _Scalar, x: _Array, y: _Operand) -> _Array: ...
@overload
def where(condition: _Scalar, x: _Scalar, y: _Array) -> _Array: ...
@overload
def where(condition: Value, x: _Scalar, y: _Scalar) -> Value: ...
@overload
def where(condition: _Scalar, x: Value, y: _Scalar) -> Value: ...
@overload
def where(condition: _Scalar, x: _Scalar, y: Value) -> Value: ...
@overload
def where(condition: _Real, x: _Real, y: _Real) -> float: ...
@overload
def where(condition: _Scalar, x: _Scalar, y: _Scalar) -> Value | float: ...

@overload
def select(condition: _Array, x: _Operand, y: _Operand) -> _Array:
    """Return x where the condition holds, else y; what was not selected gets no gradient at all, not even 0."""
@overload
def select(condition: _Scalar, x: _Array, y: _Operand) -> _Array: ...
@overload
def select(condition: _Scalar, x: _Scalar, y: _Array) -> _Array: ...
@overload
def select(condition: _Scalar, x: Value, y: Value) -> Value: ...
@overload
def select(condition: _Real, x: _Real, y: _Real) -> float: ...
@overload
def select(condition: _Scalar, x: _Scalar, y: _Scalar) -> Value | float: ...

@overload
def straight_through(x: _Array, y: _Operand) -> _Array:
    """Return x, with the gradient of y."""
@overload
def straight_through(x: _Scalar, y: _Array) -> _Array: ...
@overload
def straight_through(x: Value, y: _Scalar) -> Value: ...
@overload
def straight_through(x: _Scalar, y: Value) -> Value: ...
@overload
def straight_through(x: _Real, y: _Real) -> float: ...
@overload
def straight_through(x: _Scalar, y: _Scalar) -> Value | float: ...

@overload
def stop_gradient(v: _Array) -> _Array:
    """Return the number of v as a constant: what v was made from gets no gradient."""
@overload
def stop_gradient(v: Value) -> Value: ...
@overload
def stop_gradient(v: _Real) -> float: ...

@overload
def clip(x: _Array, lo: _Operand | None = None, hi: _Operand | None = None) -> _Array:
    """Return x, but at least lo and at most hi; hi where they contradict each other."""
@overload
def clip(x: _Scalar, lo: _Array, hi: _Operand | None = None) -> _Array: ...
@overload
def clip(x: _Scalar, lo: _Scalar | None = None, *, hi: _Array) -> _Array: ...
@overload
def clip(x: _Scalar, lo: _Scalar | None, hi: _Array) -> _Array: ...
@overload
def clip(x: Value, lo: _Scalar | None = None, hi: _Scalar | None = None) -> Value: ...
@overload
def clip(x: _Scalar, lo: Value, hi: _Scalar | None = None) -> Value: ...
@overload
def clip(x: _Scalar, lo: _Scalar | None = None, *, hi: Value) -> Value: ...
@overload
def clip(x: _Scalar, lo: _Scalar | None, hi: Value) -> Value: ...
@overload
def clip(x: _Real, lo: _Real | None = None, hi: _Real | None = None) -> float: ...
@overload
def clip(x: _Scalar, lo: _Scalar | None = None, hi: _Scalar | None = None) -> Value | float: ...

# Of a mixture of Values and numbers the result is a Value, unless all happen to be numbers: `Value | Any`.

@overload
def sum(values: Iterable[Value]) -> Value:
    """Return the sum of the values, as one node however many they are."""
@overload
def sum(values: Iterable[_Real]) -> float: ...
@overload
def sum(values: Iterable[_Scalar]) -> Value | Any: ...

@overload
def mean(values: Iterable[Value]) -> Value:
    """Return the arithmetic mean of the n values, as one node."""
@overload
def mean(values: Iterable[_Real]) -> float: ...
@overload
def mean(values: Iterable[_Scalar]) -> Value | Any: ...

@overload
def dot(w: Iterable[Value], x: Iterable[_Scalar], bias: _Scalar | None = None) -> Value:
    """Return bias + w[0] * x[0] + w[1] * x[1] + …, as one node."""
@overload
def dot(w: Iterable[_Scalar], x: Iterable[Value], bias: _Scalar | None = None) -> Value: ...
@overload
def dot(w: Iterable[_Scalar], x: Iterable[_Scalar], bias: Value) -> Value: ...
@overload
def dot(w: Iterable[_Real], x: Iterable[_Real], bias: _Real | None = None) -> float: ...
@overload
def dot(w: Iterable[_Scalar], x: Iterable[_Scalar], bias: _Scalar | None = None) -> Value | Any: ...

@overload
def linear(
    x: Iterable[Value], weight: Iterable[Iterable[_Scalar]], bias: Iterable[_Scalar] | None = None
) -> list[Value]:
    """Return `dot(row, x, b)` for each row of a matrix and its bias: a matrix-vector product, W x + b."""
@overload
def linear(
    x: Iterable[_Scalar], weight: Iterable[Iterable[Value]], bias: Iterable[_Scalar] | None = None
) -> list[Value]: ...
@overload
def linear(
    x: Iterable[_Real], weight: Iterable[Iterable[_Real]], bias: Iterable[_Real] | None = None
) -> list[float]: ...
@overload
def linear(
    x: Iterable[_Scalar], weight: Iterable[Iterable[_Scalar]], bias: Iterable[_Scalar] | None = None
) -> list[Value | Any]: ...
@overload
def logsumexp(values: Iterable[Value]) -> Value:
    """Return log(sum(exp(v) for v in values)), as one node, without overflow."""
@overload
def logsumexp(values: Iterable[_Real]) -> float: ...
@overload
def logsumexp(values: Iterable[_Scalar]) -> Value | Any: ...

@overload
def softmax(values: Iterable[Value]) -> list[Value]:
    """Return exp(v) / sum(exp(v) for all v), for each of the values, without overflow."""
@overload
def softmax(values: Iterable[_Real]) -> list[float]: ...
@overload
def softmax(values: Iterable[_Scalar]) -> list[Value | Any]: ...

@overload
def log_softmax(values: Iterable[Value]) -> list[Value]:
    """Return v - logsumexp(values), for each of the values."""
@overload
def log_softmax(values: Iterable[_Real]) -> list[float]: ...
@overload
def log_softmax(values: Iterable[_Scalar]) -> list[Value | Any]: ...

@overload
def take(values: Iterable[Iterable[_T]], index: SupportsIndex | Value) -> list[_T]:
    """Return `values[index]`, also where the index is an argument of a function that is compiled."""
@overload
def take(values: Iterable[_T], index: SupportsIndex | Value) -> _T: ...
