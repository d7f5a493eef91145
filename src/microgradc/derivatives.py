"""Derivatives of functions: gradients, Jacobians, Hessians and products with them, by the names that JAX gives them.

A function is recorded once for each shape of its arguments (`microgradc.compile`), and what is asked for is made of its
recording, and kept with it (`program.directions`). Where an argument is a Value, all these
functions return Values, part of a graph: so they nest, and work inside of functions that are compiled.
"""

from __future__ import annotations

import types
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias, overload

from microgradc.engine import Value
from microgradc.program.compile import Compiled, compile
from microgradc.program.directions import (
    Argnums,
    hessian_of,
    hvp_of,
    jacobian_of,
    jvp_of,
    value_and_grad_of,
    vjp_of,
)

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    # Of these the derivatives are one array.
    _Numbers: TypeAlias = NDArray[np.floating[Any]] | NDArray[np.integer[Any]] | list[float] | list[int]

__all__ = ["grad", "hessian", "hvp", "jacobian", "jvp", "value_and_grad", "vjp"]

_First = Literal[0]


class _Gradient(Protocol):
    """What `grad` returns for the first argument: its gradient is of its kind."""

    @overload
    def __call__(self, x: float, /, *args: float) -> float: ...
    @overload
    def __call__(self, x: Value, /, *args: Any) -> Value: ...
    @overload
    def __call__(self, x: _Numbers, /, *args: float | _Numbers) -> NDArray[np.float64]: ...
    @overload
    def __call__(self, *args: Any) -> Any: ...


class _ValueAndGradient(Protocol):
    """What `value_and_grad` returns for the first argument."""

    @overload
    def __call__(self, x: float, /, *args: float) -> tuple[float, float]: ...
    @overload
    def __call__(self, x: Value, /, *args: Any) -> tuple[Value, Value]: ...
    @overload
    def __call__(self, x: _Numbers, /, *args: float | _Numbers) -> tuple[float, NDArray[np.float64]]: ...
    @overload
    def __call__(self, *args: Any) -> tuple[Any, Any]: ...


@overload
def grad(f: Callable[..., Any], argnums: _First = 0) -> _Gradient: ...
@overload
def grad(f: Callable[..., Any], argnums: Argnums) -> Callable[..., Any]: ...
def grad(f: Callable[..., Any], argnums: Argnums = 0) -> Callable[..., Any]:
    """Return a function that gives the gradient of f, which returns one Value.

    Args:
        f: a function of numbers, and of lists, dicts, arrays and the like of numbers; or a compiled one.
        argnums: with respect to which arguments; a tuple gives a tuple.

    Returns:
        A function of the same arguments: floats and float64 arrays in the structure of the argument; Values where an
        argument has Values.

    Raises:
        TypeError: f is not a function, argnums are not integers.
        ValueError: there is no such argument; f returns something else than one Value. These two when it is called.

    >>> grad(lambda x: x[0] * x[1] ** 2)([2.0, 3.0])
    array([ 9., 12.])
    >>> grad(grad(lambda x: x**4))(1.0)
    12.0
    """
    return _Transform(f, argnums, "grad", _grad_of)


@overload
def value_and_grad(f: Callable[..., Any], argnums: _First = 0) -> _ValueAndGradient: ...
@overload
def value_and_grad(f: Callable[..., Any], argnums: Argnums) -> Callable[..., tuple[Any, Any]]: ...
def value_and_grad(f: Callable[..., Any], argnums: Argnums = 0) -> Callable[..., Any]:
    """Return a function that gives the value of f and its gradient, a tuple. See `grad`."""
    return _Transform(f, argnums, "value_and_grad", value_and_grad_of)


def jacobian(f: Callable[..., Any], argnums: Argnums = 0, *, sparse: bool = False) -> Callable[..., Any]:
    """Return a function that gives the derivatives of each result of f.

    Args, Raises: see `grad`; f may return any nest of Values.
        sparse: whether to give a `scipy.sparse.csc_array`; see `hessian`.

    Returns:
        A function of the same arguments: the structure of the results, in each place that of the argument. For a list
        of m results and an array of shape (n,), float64 of shape (m, n).

    >>> jacobian(lambda x: [x[0] * x[1], x[0] + x[1]])([2.0, 3.0]).tolist()
    [[3.0, 2.0], [1.0, 1.0]]
    """
    return _Transform(f, argnums, "jacobian", partial(jacobian_of, sparse=sparse))


@overload
def hessian(f: Callable[..., Any], argnums: _First = 0, *, sparse: Literal[False] = False) -> _Gradient: ...
@overload
def hessian(f: Callable[..., Any], argnums: Argnums = 0, *, sparse: bool = False) -> Callable[..., Any]: ...
def hessian(f: Callable[..., Any], argnums: Argnums = 0, *, sparse: bool = False) -> Callable[..., Any]:
    """Return a function that gives the second derivatives of f, which returns one Value.

    Args:
        f, argnums: see `grad`.
        sparse: whether to give a `scipy.sparse.csc_array`, which needs SciPy. It has the numbers that may be others
            than 0, those that the graph does not show to be 0 whatever the arguments are; rows and columns are the
            numbers of the arguments, one after another.

    Returns:
        A function of the same arguments: the structure of the argument, in each place the same structure. For an array
        of shape (n,), float64 of shape (n, n).

    Raises:
        ImportError: sparse, and SciPy is not installed. See `grad`.
        TypeError: sparse, and an argument has Values, or a function is traced. See `grad`.

    >>> hessian(lambda x: x[0] * x[1] ** 2)([2.0, 3.0]).tolist()
    [[0.0, 6.0], [6.0, 4.0]]
    """
    return _Transform(f, argnums, "hessian", partial(hessian_of, sparse=sparse))


@overload
def hvp(f: Callable[..., Any], x: float, v: float, *args: float) -> float: ...
@overload
def hvp(f: Callable[..., Any], x: _Numbers, v: _Numbers, *args: float | _Numbers) -> NDArray[np.float64]: ...
@overload
def hvp(f: Callable[..., Any], x: Any, v: Any, *args: Any) -> Any: ...
def hvp(f: Callable[..., Any], x: Any, v: Any, *args: Any) -> Any:
    """Return the product of the Hessian of f with respect to x and v, without the Hessian.

    Args:
        f: a function that returns one Value. One that is compiled is recorded once, as is a plain function that is
            kept; a new lambda is recorded at each call.
        x: its first argument.
        v: the direction, in the structure of x.
        args: further arguments, which are held fixed.

    Returns:
        The structure of x: floats and float64 arrays.

    Raises:
        ValueError: v has another structure than x; f returns something else than one Value.

    >>> hvp(lambda x: x[0] * x[1] ** 2, [2.0, 3.0], [1.0, 0.0])
    array([0., 6.])
    """
    return hvp_of(_compiled(f), x, v, args)


def jvp(f: Callable[..., Any], primals: Any, tangents: Any) -> tuple[Any, Any]:
    """Return the results of f and their derivatives in a direction, the product of the Jacobian and the tangents.

    Args:
        f: see `hvp`; it may return any nest of Values.
        primals: a tuple or list of its arguments.
        tangents: the direction, in the structure of primals.

    Returns:
        Two of the structure that f returns.

    Raises:
        ValueError: the tangents have another structure than the primals.

    >>> jvp(lambda x: x**3, (2.0,), (1.0,))
    (8.0, 12.0)
    """
    primals = _tuple(primals, "primals")
    tangents = _tuple(tangents, "tangents")
    return jvp_of(_compiled(f), primals, tangents)


def vjp(f: Callable[..., Any], *primals: Any) -> tuple[Any, Callable[[Any], tuple[Any, ...]]]:
    """Return the results of f, and a function that gives the products of cotangents and the Jacobian.

    Args:
        f: see `jvp`.
        primals: its arguments.

    Returns:
        The results; and a function of one argument, a number for each result in the same structure, that returns a
        tuple with what each argument receives.

    >>> y, pull = vjp(lambda x, w: x * w, 2.0, 3.0)
    >>> y, pull(1.0)
    (6.0, (3.0, 2.0))
    """
    return vjp_of(_compiled(f), primals)


class _Transform:
    """A function of the same arguments as another one: see `grad` and its like."""

    def __init__(self, f: Callable[..., Any], argnums: Argnums, name: str, of: Callable[..., Any]) -> None:
        if not callable(f):
            raise TypeError(f"f must be a function, got {f!r:.60}")
        for i in argnums if isinstance(argnums, tuple) else (argnums,):
            if isinstance(i, bool) or not isinstance(i, int):
                raise TypeError(f"argnums must be an integer or a tuple of them, got {argnums!r:.60}")
        self._compiled = f if isinstance(f, Compiled) else compile(f)
        self._argnums, self._name, self._of = argnums, name, of

    def __call__(self, *args: Any) -> Any:
        return self._of(self._compiled, args, self._argnums)

    def __repr__(self) -> str:
        return f"<{self._name} of {getattr(self._compiled, '__qualname__', self._compiled)}>"


def _grad_of(f: Compiled[..., Any], args: tuple[Any, ...], argnums: Argnums) -> Any:
    return value_and_grad_of(f, args, argnums)[1]


def _compiled(f: Callable[..., Any]) -> Compiled[..., Any]:
    """Return a compiled function: f itself, or that of a plain function, which is kept with it."""
    if isinstance(f, Compiled):
        return f
    if not isinstance(f, types.FunctionType):
        return compile(f)
    known = f.__dict__.get("_microgradc_compiled")
    if known is None or known._f is not f:       # a wrapper has a copy of what f has
        known = f.__dict__["_microgradc_compiled"] = compile(f)
    return known


def _tuple(given: Any, name: str) -> tuple[Any, ...]:
    if not isinstance(given, (tuple, list)):
        raise TypeError(f"{name} must be a tuple of arguments, got {type(given).__name__} {given!r:.40}")
    return tuple(given)
