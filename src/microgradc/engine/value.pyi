"""Value: a number that remembers how it was made, and finds the derivatives of what was made from it."""

# Values and arrays have `__float__`, so to a type checker they are numbers too: their overloads come first, and overlap
# with the last.
# mypy: disable-error-code="overload-overlap"

from collections.abc import Callable, Iterable
from typing import (
    Any,
    ClassVar,
    NamedTuple,
    ParamSpec,
    Protocol,
    Self,
    SupportsFloat,
    SupportsIndex,
    TypeAlias,
    TypeVar,
    overload,
)

import numpy as np
from numpy.typing import NDArray
from typing_extensions import Buffer, disjoint_base

_Number: TypeAlias = SupportsFloat | SupportsIndex
_P = ParamSpec("_P")
_R = TypeVar("_R")

class Row(NamedTuple):
    """One row of the table in ops.h; see there for the columns."""

    name: str
    op: str
    operands: int
    params: int
    value: str
    gx: str
    gy: str
    gz: str
    doc: str

__all__ = [
    "TABLE",
    "AnomalyError",
    "CompileError",
    "Row",
    "Value",
    "detect_anomaly",
    "function",
    "no_grad",
    "topological_sort",
]

TABLE: tuple[Row, ...]

@disjoint_base
class Value:
    """A scalar that takes part in a computation, and its gradient."""

    __array_priority__: ClassVar[float]
    def __init__(
        self,
        data: _Number,
        _children: Iterable[Value] | str = (),
        _op: str | Iterable[_Number] | Iterable[Value] = "",
        label: Any = "",
    ) -> None: ...
    @property
    def data(self) -> float:
        """The number."""
        ...
    @data.setter
    def data(self, value: _Number) -> None: ...
    @property
    def grad(self) -> float:
        """d root / d self, for the root that `backward()` was called on."""
        ...
    @grad.setter
    def grad(self, value: _Number) -> None: ...
    @property
    def label(self) -> Any:
        """A name, for pictures; '' if there is none."""
        ...
    @label.setter
    def label(self, value: Any) -> None: ...
    def _repr_html_(self) -> str | None: ...
    @property
    def _op(self) -> str:
        """The operation that made this node: '+', '*', '**2', 'ReLU', 'tanh', …; '' for a leaf."""
        ...
    @_op.setter
    def _op(self, value: str) -> None: ...
    @property
    def _children(self) -> tuple[Value, ...]:
        """The operands, in order; one that occurs twice is there twice."""
        ...
    @property
    def _prev(self) -> set[Value]:
        """The operands, as micrograd has them: a set."""
        ...
    @property
    def _local_grads(self) -> tuple[float, ...]:
        """d self / d child, for each of `_children`; () if that is up to a Python `_backward`."""
        ...
    @property
    def _backward(self) -> Callable[[], object]:
        """A callable that sends this node's gradient on to its operands."""
        ...
    @_backward.setter
    def _backward(self, value: Callable[[], object]) -> None: ...
    def backward(self, gradient: _Number | None = None, retain_graph: bool | None = None) -> None:
        """Find d self / d v for every v that self was made from, and add it to `v.grad`."""
        ...
    @overload
    def __add__(self, other: NDArray[Any], /) -> NDArray[Any]: ...
    @overload
    def __add__(self, other: Value | _Number, /) -> Value: ...
    @overload
    def __radd__(self, other: NDArray[Any], /) -> NDArray[Any]: ...
    @overload
    def __radd__(self, other: Value | _Number, /) -> Value: ...
    @overload
    def __sub__(self, other: NDArray[Any], /) -> NDArray[Any]: ...
    @overload
    def __sub__(self, other: Value | _Number, /) -> Value: ...
    @overload
    def __rsub__(self, other: NDArray[Any], /) -> NDArray[Any]: ...
    @overload
    def __rsub__(self, other: Value | _Number, /) -> Value: ...
    @overload
    def __mul__(self, other: NDArray[Any], /) -> NDArray[Any]: ...
    @overload
    def __mul__(self, other: Value | _Number, /) -> Value: ...
    @overload
    def __rmul__(self, other: NDArray[Any], /) -> NDArray[Any]: ...
    @overload
    def __rmul__(self, other: Value | _Number, /) -> Value: ...
    @overload
    def __truediv__(self, other: NDArray[Any], /) -> NDArray[Any]: ...
    @overload
    def __truediv__(self, other: Value | _Number, /) -> Value: ...
    @overload
    def __rtruediv__(self, other: NDArray[Any], /) -> NDArray[Any]: ...
    @overload
    def __rtruediv__(self, other: Value | _Number, /) -> Value: ...
    @overload
    def __floordiv__(self, other: NDArray[Any], /) -> NDArray[Any]: ...
    @overload
    def __floordiv__(self, other: Value | _Number, /) -> Value: ...
    @overload
    def __rfloordiv__(self, other: NDArray[Any], /) -> NDArray[Any]: ...
    @overload
    def __rfloordiv__(self, other: Value | _Number, /) -> Value: ...
    @overload
    def __mod__(self, other: NDArray[Any], /) -> NDArray[Any]: ...
    @overload
    def __mod__(self, other: Value | _Number, /) -> Value: ...
    @overload
    def __rmod__(self, other: NDArray[Any], /) -> NDArray[Any]: ...
    @overload
    def __rmod__(self, other: Value | _Number, /) -> Value: ...
    @overload
    def __pow__(self, other: NDArray[Any], modulo: None = None, /) -> NDArray[Any]: ...
    @overload
    def __pow__(self, other: Value | _Number, modulo: None = None, /) -> Value: ...
    @overload
    def __rpow__(self, other: NDArray[Any], modulo: None = None, /) -> NDArray[Any]: ...
    @overload
    def __rpow__(self, other: Value | _Number, modulo: None = None, /) -> Value: ...
    def __divmod__(self, other: Value | _Number, /) -> tuple[Value, Value]: ...
    def __rdivmod__(self, other: Value | _Number, /) -> tuple[Value, Value]: ...
    def __neg__(self) -> Value: ...
    def __pos__(self) -> Self: ...
    def __abs__(self) -> Value: ...
    @overload
    def __lt__(self, other: NDArray[Any], /) -> NDArray[np.bool_]: ...
    @overload
    def __lt__(self, other: Value | _Number, /) -> bool: ...
    @overload
    def __le__(self, other: NDArray[Any], /) -> NDArray[np.bool_]: ...
    @overload
    def __le__(self, other: Value | _Number, /) -> bool: ...
    @overload
    def __gt__(self, other: NDArray[Any], /) -> NDArray[np.bool_]: ...
    @overload
    def __gt__(self, other: Value | _Number, /) -> bool: ...
    @overload
    def __ge__(self, other: NDArray[Any], /) -> NDArray[np.bool_]: ...
    @overload
    def __ge__(self, other: Value | _Number, /) -> bool: ...
    def __bool__(self) -> bool: ...
    def __hash__(self) -> int: ...
    def __float__(self) -> float: ...
    def __int__(self) -> int: ...
    @overload
    def __round__(self, ndigits: None = None) -> int: ...
    @overload
    def __round__(self, ndigits: SupportsIndex) -> float: ...
    def __floor__(self) -> int: ...
    def __ceil__(self) -> int: ...
    def __trunc__(self) -> int: ...
    def __format__(self, spec: str) -> str: ...
    def detach(self) -> Value:
        """Return the number as a new leaf, which no gradient goes through, as `torch.Tensor.detach` does."""
        ...
    def conjugate(self) -> Value:
        """Return self: the numbers are real."""
        ...
    def item(self) -> float:
        """Return the number, as `torch.Tensor.item` does."""
        ...
    def __copy__(self) -> Self: ...
    def __deepcopy__(self, memo: dict[int, Any]) -> Self: ...
    def __reduce_ex__(self, protocol: SupportsIndex) -> tuple[Any, ...]: ...
    def exp(self) -> Value:
        """Return e ** x."""
    def expm1(self) -> Value:
        """Return e ** x - 1, exact for small x."""
    def log(self) -> Value:
        """Return the natural logarithm of x; -inf at 0, nan below."""
    def log1p(self) -> Value:
        """Return log(1 + x), exact for small x; -inf at -1, nan below."""
    def log2(self) -> Value:
        """Return the logarithm of x to base 2; -inf at 0, nan below."""
    def log10(self) -> Value:
        """Return the logarithm of x to base 10; -inf at 0, nan below."""
    def exp2(self) -> Value:
        """Return 2 ** x."""
    def sqrt(self) -> Value:
        """Return the square root of x; nan below 0."""
    def cbrt(self) -> Value:
        """Return the cube root of x, that of -x with the sign changed."""
    def square(self) -> Value:
        """Return x * x."""
    def sin(self) -> Value:
        """Return the sine of x, in radians."""
    def cos(self) -> Value:
        """Return the cosine of x, in radians."""
    def tan(self) -> Value:
        """Return the tangent of x, in radians."""
    def asin(self) -> Value:
        """Return the arc sine of x, in radians; nan outside [-1, 1]."""
    def acos(self) -> Value:
        """Return the arc cosine of x, in radians; nan outside [-1, 1]."""
    def atan(self) -> Value:
        """Return the arc tangent of x, in radians."""
    def sinh(self) -> Value:
        """Return the hyperbolic sine of x."""
    def cosh(self) -> Value:
        """Return the hyperbolic cosine of x."""
    def tanh(self) -> Value:
        """Return the hyperbolic tangent of x."""
    def asinh(self) -> Value:
        """Return the inverse hyperbolic sine of x."""
    def acosh(self) -> Value:
        """Return the inverse hyperbolic cosine of x; nan below 1."""
    def atanh(self) -> Value:
        """Return the inverse hyperbolic tangent of x; nan outside [-1, 1]."""
    def erf(self) -> Value:
        """Return the error function of x."""
    def erfc(self) -> Value:
        """Return 1 - erf(x), exact for large x."""
    def gammaln(self) -> Value:
        """Return log(abs(gamma(x))), also called lgamma; inf at 0 and the negative integers."""
    def digamma(self) -> Value:
        """Return the derivative of gammaln(x); nan at the negative integers."""
    def sigmoid(self) -> Value:
        """Return 1 / (1 + exp(-x))."""
    def log_sigmoid(self) -> Value:
        """Return log(sigmoid(x)), without underflow."""
    def logit(self) -> Value:
        """Return log(x / (1 - x)), of which sigmoid is the inverse; nan outside [0, 1]."""
    def relu(self) -> Value:
        """Return x where it is positive, else 0."""
    def leaky_relu(self, negative_slope: Value | _Number = 0.01) -> Value:
        """Return self where it is positive, else negative_slope * self."""
        ...
    def elu(self, alpha: Value | _Number = 1.0) -> Value:
        """Return self where it is positive, else alpha * (exp(self) - 1)."""
        ...
    def gelu(self) -> Value:
        """Return x * Phi(x), Phi the normal distribution function."""
    def silu(self) -> Value:
        """Return x * sigmoid(x), also called swish."""
    def selu(self) -> Value:
        """Return scale * x where x is positive, else scale * alpha * (exp(x) - 1)."""
    def mish(self) -> Value:
        """Return x * tanh(softplus(x))."""
    def softsign(self) -> Value:
        """Return x / (1 + abs(x))."""
    def hardtanh(self) -> Value:
        """Return x, but at least -1 and at most 1."""
    def softplus(self) -> Value:
        """Return log(1 + exp(x))."""
    def step(self) -> Value:
        """Return 1 where x is positive, else 0."""
    def sign(self) -> Value:
        """Return 1 where x is positive, -1 where it is negative, else 0, also where it is nan."""
    def floor(self) -> Value:
        """Return the largest integer that is at most x."""
    def ceil(self) -> Value:
        """Return the smallest integer that is at least x."""
    arcsin = asin
    arccos = acos
    arctan = atan
    arcsinh = asinh
    arccosh = acosh
    arctanh = atanh
    lgamma = gammaln
    fabs = __abs__
    def arctan2(self, x: Value | _Number) -> Value:
        """Return the angle of the point (x, self) to the x axis, in radians."""
        ...
    def hypot(self, other: Value | _Number) -> Value:
        """Return sqrt(self**2 + other**2)."""
        ...
    def logaddexp(self, other: Value | _Number) -> Value:
        """Return log(exp(self) + exp(other)) without overflow."""
        ...
    def rint(self) -> Value:
        """Return the nearest integer, the even one of two; `np.rint` and `np.round` ask for it."""
        ...
    def deg2rad(self) -> Value:
        """Return self * pi / 180, degrees as radians."""
        ...
    def rad2deg(self) -> Value:
        """Return self * 180 / pi, radians as degrees."""
        ...
    radians = deg2rad
    degrees = rad2deg
    def register_hook(self, hook: Callable[[float], object]) -> RemovableHandle:
        """Have a function called with the gradient of self when it is complete, in each `backward()`."""
        ...
    def func(
        self,
        f: Callable[[float], _Number],
        derivative: Callable[[float], _Number] | None = None,
        h: _Number | None = None,
    ) -> Value:
        """Return f(self), for any function f of one number."""
        ...

def _restore(
    _nodes: Any,
    cls: type[Value],
    op: str,
    data: float,
    grad: float,
    operands: tuple[Any, ...],
    local: Any = None,
    label: Any = "",
    op_name: Any = None,
) -> Value:
    """Make the node that `__reduce_ex__` described. For pickle."""
    ...

def plain_number(x: Any) -> float:
    """Return the number of a Value, whose graph is not wanted, or of anything else that `float` takes."""
    ...

def real_number(value: Any, name: str) -> float:
    """Return a real number as a float, or raise the TypeError that says what the argument `name` should have been."""
    ...

def without_bare(things: Iterable[Any]) -> list[Any]:
    """Return a list of things without the Values that have no attributes."""
    ...

def array_of(o: Any, name: str) -> NDArray[Any] | None:
    """Return a NumPy array, a frame, a series, a tensor or the like as a NumPy array, its entries by position."""
    ...

_Operation: TypeAlias = tuple[
    Value, str, tuple[Value | float, ...], tuple[float, ...] | None, bool, tuple[Callable[[Any], Any], ...]
]

def operations_of(root: Value) -> list[_Operation]:
    """Return what a Value was made by: an entry for each node that it depends on, operands first, its own last."""
    ...

def operate(op: str, *operands: Value | _Number) -> Value | Any:
    """Return the result of an operation: a Value; a float if all operands are numbers."""
    ...

def loop_results(loop: Any, operands: tuple[Value | _Number, ...], numbers: list[float]) -> list[Any]:
    """Return the results of a loop, Values over one node that has the operands; floats if no operand is a Value."""
    ...

def loop_behind(v: Value) -> Any:
    """Return the Loop of a node that is a scan."""
    ...

def number_behind(x: Value | _Number) -> float:
    """Return the number of a Value, also while a function is traced, or a real number in double precision."""
    ...

def is_index(v: Value) -> bool:
    """Whether a Value is made from integer arguments of a function that is traced, by integer arithmetic alone."""
    ...

def zero_grad(params: list[Value]) -> None:
    """Set the gradient of each of the Values to 0."""
    ...

def topological_sort(root: Value) -> list[Value]:
    """Return the nodes that `root` depends on, itself included, each after its operands."""
    ...

class _Differentiable(Protocol):
    """What `function` makes."""

    @overload
    def __call__(self, x: Value, /, *args: Value | _Number) -> Value: ...
    @overload
    def __call__(self, *args: float) -> float: ...
    @overload
    def __call__(self, *args: Value | _Number) -> Value | Any: ...

@overload
def function(
    f: Callable[..., _Number],
    *,
    derivative: Callable[..., _Number | Iterable[_Number]] | None = None,
    h: _Number | None = None,
) -> _Differentiable:
    """Make a function of numbers differentiable: applied to Values, it gives a node."""
    ...
@overload
def function(
    f: None = None,
    *,
    derivative: Callable[..., _Number | Iterable[_Number]] | None = None,
    h: _Number | None = None,
) -> Callable[[Callable[..., _Number]], _Differentiable]: ...

class CompileError(RuntimeError):
    """A function that is to be compiled does what could not be repeated for other numbers."""

class Trace:
    """While this context lasts, this thread records: Values refuse what could not be replayed, comparisons make
    nodes."""

    refused: str | None
    def __enter__(self) -> Self: ...
    def __exit__(self, kind: object = None, error: object = None, trace: object = None) -> None: ...

@disjoint_base
class EnableGrad:
    """While this context lasts, results remember their operands, whatever no_grad() blocks are open around it."""

    def __enter__(self) -> None: ...
    def __exit__(self, kind: object = None, error: object = None, trace: object = None) -> None: ...

class Input(Value):
    """A number among the arguments of a function that is recorded."""

class IntegerInput(Input):
    """An integer among them."""

    def __index__(self) -> int: ...

def vector_of(params: list[Value], gradients: bool) -> Buffer | None:
    """Return the numbers or gradients of Values as a buffer that is a view of them; None if they do not lie evenly."""

def read_numbers(rows: list[list[Value]], array: Any, gradients: bool) -> None:
    """Write the numbers or gradients of the Values in lists to an array of as many float64, in rows."""

def write_numbers(rows: list[list[Value]], array: Any) -> None:
    """Set the numbers of the Values in lists to those in an array of as many float64, in rows."""

def write_vector(params: list[Value], numbers: list[float]) -> None:
    """Set the numbers of Values to as many floats."""

def refuse(what: str) -> None:
    """Raise the CompileError that says what was refused, in which line, and what to do instead."""

def is_tracing() -> bool:
    """Return whether this thread traces a function."""

def is_grad_enabled() -> bool:
    """Return whether results remember what they were made from: not within `no_grad()`."""

class no_grad:
    """Make results without operands, for this thread: no graph is kept."""

    @overload
    def __new__(cls, f: None = None) -> Self: ...
    @overload
    def __new__(cls, f: Callable[_P, _R]) -> Callable[_P, _R]: ...  # type: ignore[misc]  # as a bare decorator
    def __enter__(self) -> Self: ...
    def __exit__(self, kind: object = None, error: object = None, trace: object = None) -> None: ...
    def __call__(self, f: Callable[_P, _R]) -> Callable[_P, _R]: ...

class AnomalyError(FloatingPointError):
    """The first number that is not finite, within `detect_anomaly()`."""

    operation: str | None
    operands: tuple[Value | float, ...]
    operand: int | None
    place: tuple[str, int] | None
    def __init__(
        self,
        message: str,
        operation: str | None = None,
        operands: tuple[Value | float, ...] = (),
        operand: int | None = None,
        place: tuple[str, int] | None = None,
    ) -> None: ...

class RemovableHandle:
    """What `Value.register_hook` returns. As a context manager, it removes the hook at its end."""

    def __init__(self, hooks: dict[RemovableHandle, Callable[[float], object]]) -> None: ...
    def remove(self) -> None: ...
    def __enter__(self) -> Self: ...
    def __exit__(self, kind: object = None, error: object = None, trace: object = None) -> None: ...

@disjoint_base
class Observer:
    """A context in which this thread notes where nodes are made; which and what else, say its subclasses."""

    def __enter__(self) -> Self: ...
    def __exit__(self, kind: object = None, error: object = None, trace: object = None) -> None: ...

class detect_anomaly(Observer):
    """Raise at the first number that is not finite, forward or backward, with the line that made it."""

    def __init__(self) -> None: ...

class noting_places(Observer):
    """While this context lasts, the nodes that this thread makes know in which line of the user's code that was."""

    def __init__(self, then: Callable[[Value], object] | None = None) -> None: ...

class undetected(Observer):
    """While this context lasts, numbers need not be finite."""

    def __enter__(self) -> Self: ...

def anomaly_at(v: Value) -> AnomalyError:
    """Return the AnomalyError that says that the number of a node is not finite."""

def derive(v: Value | None) -> None:
    """Say of which operation the derivative is that is made from now on, while places are noted."""

def is_noting() -> bool:
    """Return whether this thread notes where nodes are made."""

def is_detecting() -> bool:
    """Return whether this thread is within `detect_anomaly()`."""

def place_of(v: Value) -> tuple[str, int] | None:
    """Return the file and the line of the user's code that made a node, a tuple; None if nobody noted it."""

def place_as_text(place: tuple[str, int] | None) -> str:
    """Return a file and a line with what is there."""

def set_origin(values: Iterable[Value], origin: Callable[[], object]) -> None:
    """Say of the results of one call what to do when they send a gradient that is not finite."""

def difference(f: Callable[[float], _Number], x: float) -> tuple[float, float]:
    """Return the derivative of a function of one number by differences, and its estimated error; nan if there are
    none."""
