"""Derivatives of functions: gradients, Jacobians, Hessians and products with them, by the names that JAX gives them.

A function is recorded once for each shape of its arguments (`microgradc.compile`). What is asked for is made of its
recording by `program.calculus`, and kept with it as a program whose examples are directions, which run side by side in
lanes; what depends on the arguments alone is computed once for all of them. Where an argument is a Value, all these
functions return Values, part of a graph: so they nest, and work inside of functions that are compiled.
"""

from __future__ import annotations

import math
import threading
import types
from collections.abc import Callable
from typing import Any

import numpy as np

from microgradc import trees
from microgradc.engine import IntegerInput, Trace, Value, is_tracing
from microgradc.program.calculus import cotangents_of, gradients, replayed, tangents_of
from microgradc.program.compile import Compiled, compile
from microgradc.program.program import Example, Program
from microgradc.program.recording import Recording

__all__ = ["grad", "hessian", "hvp", "jacobian", "jvp", "value_and_grad", "vjp"]

Argnums = int | tuple[int, ...]
_ARRAYS = (np.ndarray,)


# What users call


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
    of = value_and_grad(f, argnums)
    return _Transform(f, argnums, "grad", lambda _, args, __: of(*args)[1])


def value_and_grad(f: Callable[..., Any], argnums: Argnums = 0) -> Callable[..., Any]:
    """Return a function that gives the value of f and its gradient, a tuple. See `grad`."""
    return _Transform(f, argnums, "value_and_grad", _value_and_grad)


def jacobian(f: Callable[..., Any], argnums: Argnums = 0) -> Callable[..., Any]:
    """Return a function that gives the derivatives of each result of f.

    Args, Raises: see `grad`; f may return any nest of Values.

    Returns:
        A function of the same arguments: the structure of the results, in each place that of the argument. For a list
        of m results and an array of shape (n,), float64 of shape (m, n).

    >>> jacobian(lambda x: [x[0] * x[1], x[0] + x[1]])(np.array([2.0, 3.0])).tolist()
    [[3.0, 2.0], [1.0, 1.0]]
    """
    return _Transform(f, argnums, "jacobian", jacobian_of)


def hessian(f: Callable[..., Any], argnums: Argnums = 0) -> Callable[..., Any]:
    """Return a function that gives the second derivatives of f, which returns one Value.

    Args, Raises: see `grad`.

    Returns:
        A function of the same arguments: the structure of the argument, in each place the same structure. For an array
        of shape (n,), float64 of shape (n, n).

    >>> hessian(lambda x: x[0] * x[1] ** 2)(np.array([2.0, 3.0])).tolist()
    [[0.0, 6.0], [6.0, 4.0]]
    """
    return _Transform(f, argnums, "hessian", hessian_of)


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
    if _has_values((x, v, args)):
        xs, shape, rebuilt = _as_values(x)
        slopes = cotangents_of([_one(_plain(f)(rebuilt, *args))], xs, [1.0])
        return trees.unflatten(shape, tangents_of(slopes, xs, _like(v, x, "v")))
    found = _Recorded(_compiled(f), (x, *args), "hvp")
    direction = found.direction((v, *map(_zeros, args)), "v")
    return found.rebuilt_arguments(found.run("hessian", direction)[0])[0]


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
    if _has_values((primals, tangents)):
        xs, _, rebuilt = _as_values(primals)
        ys, shape = trees.flatten(_plain(f)(*rebuilt))
        return trees.unflatten(shape, ys), trees.unflatten(shape, tangents_of(ys, xs, _like(tangents, primals)))
    found = _Recorded(_compiled(f), primals, "jvp")
    row = found.run("values and tangents", found.direction(tangents, "tangents"))
    count = row.shape[1] // 2
    return found.rebuilt_results(row[:, :count]), found.rebuilt_results(row[:, count:])


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
    if _has_values(primals):
        xs, shape, rebuilt = _as_values(primals)
        returned = _plain(f)(*rebuilt)
        ys = trees.flatten(returned)[0]
        return returned, lambda cotangents: trees.unflatten(shape, cotangents_of(ys, xs, _like(cotangents, returned)))
    found = _Recorded(_compiled(f), primals, "vjp")
    results = found.rebuilt_results(found.recording.program(found.row))

    def pull(cotangents: Any) -> tuple[Any, ...]:
        seeds = np.array([_like(cotangents, results)], float)
        return found.rebuilt_arguments(found.run("cotangents", seeds)[0])

    return results, pull


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


# Each for a compiled function, some arguments, and which of them; None for all


def argnums_of(args: tuple[Any, ...]) -> Argnums:
    """Return which arguments the methods of compiled functions differentiate: the only one, or all, as a tuple."""
    return 0 if len(args) == 1 else tuple(range(len(args)))


def jacobian_of(f: Compiled, args: tuple[Any, ...], argnums: Argnums) -> Any:
    """Return the derivatives of each result; see `jacobian`."""
    if _has_values(args):
        xs, args = _chosen_values(args, argnums)
        return trees.map_leaves(lambda y: gradients(y, xs), _plain(f)(*args))
    _chosen(args, argnums)
    found = _Recorded(f, args, "jacobian")
    n, m = found.row.size, found.recording.program.output_count
    if n <= m:
        matrix = found.run("tangents", np.eye(n)).T
    else:
        matrix = found.run("cotangents", np.eye(m))
    parts, shape = found.recording.parts
    return trees.unflatten(
        shape,
        [
            _chosen(found.rebuilt_arguments(matrix[p.first : p.first + math.prod(p.axes)], p.axes), argnums)
            for p in parts
        ],
    )


def hessian_of(f: Compiled, args: tuple[Any, ...], argnums: Argnums) -> Any:
    """Return the second derivatives of the one result; see `hessian`."""
    if _has_values(args):
        xs, args = _chosen_values(args, argnums)
        return trees.map_leaves(lambda slope: gradients(slope, xs), gradients(_one(_plain(f)(*args)), xs))
    _chosen(args, argnums)
    found = _Recorded(f, args, "hessian")
    matrix = found.run("hessian", np.eye(found.row.size))
    parts, shape = found.recording.argument_parts(args)
    outer = trees.unflatten(
        shape,
        [
            _chosen(found.rebuilt_arguments(matrix[p.first : p.first + math.prod(p.axes)], p.axes), argnums)
            for p in parts
        ],
    )
    return _chosen(outer, argnums)


def _value_and_grad(f: Compiled, args: tuple[Any, ...], argnums: Argnums) -> tuple[Any, Any]:
    if _has_values(args):
        xs, args = _chosen_values(args, argnums)
        y = _one(_plain(f)(*args))
        return y, gradients(y, xs)
    _chosen(args, argnums)
    value, slopes = f.value_and_grad(*args)
    return value, _chosen((slopes,) if len(args) == 1 else slopes, argnums)


# Recordings


class _Recorded:
    """A recording of a function, and the numbers of an example."""

    def __init__(self, f: Compiled, args: tuple[Any, ...], name: str) -> None:
        example = Example(args)
        self.args, self.row = args, np.array(example.row(), float).reshape(1, -1)
        self.recording: Recording = f._recordings.find(example.key) or f._recordings.record(example.key, args)
        if name in ("hessian", "hvp"):
            self.recording.require_one_output()

    def run(self, what: str, directions: np.ndarray) -> np.ndarray:
        """Return what a program of derivatives gives for each row of directions; see `_Directions`."""
        program = self.recording.derived.get(what)
        if program is None:
            program = self.recording.derived[what] = _Directions(self.recording.program, what)
        return program.run(self.row[0], directions)

    def direction(self, v: tuple[Any, ...], name: str) -> np.ndarray:
        """Return a direction, in the structure of the arguments, as a row."""
        return np.array([_like(v, self.args, name)], float)

    def rebuilt_arguments(self, rows: np.ndarray, axes: tuple[int, ...] = ()) -> tuple[Any, ...]:
        """Return what is in the last axis in the structure of the arguments, the other axes reshaped."""
        parts, shape = self.recording.argument_parts(self.args)
        rows = rows.reshape((*axes, -1))
        blocks = [rows[..., p.first : p.first + math.prod(p.axes)].reshape(axes + p.axes) for p in parts]
        return trees.unflatten(shape, [block.copy() if block.ndim else block.item() for block in blocks])

    def rebuilt_results(self, row: np.ndarray) -> Any:
        """Return a row of numbers in the structure of the results."""
        parts, shape = self.recording.parts
        found = [part.of(row)[0] for part in parts]
        return trees.unflatten(shape, [x if isinstance(x, np.ndarray) else float(x) for x in found])


class _Directions:
    """A program over the directions in which derivatives are taken of another program.

    The arguments are its parameters, so that what depends on them alone is computed once for all directions.

    Args:
        program: what was recorded.
        what: 'tangents', for each direction of the arguments the results' derivatives in it; 'values and tangents',
            the results before them; 'cotangents', for each direction of the results what the arguments receive;
            'hessian', for each direction of the arguments the derivatives of the gradient of the one result.
    """

    def __init__(self, program: Program, what: str) -> None:
        graph = program.stages["recorded"]
        of_take = {graph[operands[0]].number for op, operands, _ in graph if op == "take"}
        self.indices = [int(i) for i in sorted(of_take - {None})]  # type: ignore[type-var]
        self.lock = threading.Lock()
        with Trace():        # no number is looked at
            self.xs = [IntegerInput(0) if i in of_take else Value(0.0) for i in range(program.input_count)]
            ys = replayed(graph, self.xs, list(program.parameters))
            given = [Value(1.0) for _ in (ys if what == "cotangents" else self.xs)]
            if what == "cotangents":
                found = cotangents_of(ys, self.xs, given)
            elif what == "hessian":
                found = tangents_of(cotangents_of(ys, self.xs, [1.0]), self.xs, given)
            else:
                found = tangents_of(ys, self.xs, given)
            if what == "values and tangents":
                found = [*ys, *found]
            self.program = Program(found, [*[self.xs[i] for i in self.indices], *given])

    def run(self, row: np.ndarray, directions: np.ndarray) -> np.ndarray:
        """Return a row of derivatives for each row of directions, at the arguments whose numbers are in `row`."""
        arrays = [np.tile(row[self.indices], (len(directions), 1))] if self.indices else []
        with self.lock:
            for x, number in zip(self.xs, row.tolist(), strict=True):
                x.data = number
            return self.program(*arrays, np.ascontiguousarray(directions))


# Arguments


def _compiled(f: Callable[..., Any]) -> Compiled:
    """Return a compiled function: f itself, or that of a plain function, which is kept with it."""
    if isinstance(f, Compiled):
        return f
    if not isinstance(f, types.FunctionType):
        return compile(f)
    known = f.__dict__.get("_microgradc_compiled")
    if known is None or known._f is not f:       # a wrapper has a copy of what f has
        known = f.__dict__["_microgradc_compiled"] = compile(f)
    return known


def _plain(f: Callable[..., Any]) -> Callable[..., Any]:
    return f._f if isinstance(f, Compiled) else f


def _has_values(nest: Any) -> bool:
    """Return whether there is a Value in a nest; while a function is traced, numbers are treated as Values as well."""
    if is_tracing():
        return True
    leaves = trees.flatten(nest, _ARRAYS)[0]
    return any(
        isinstance(leaf, Value) or (isinstance(leaf, np.ndarray) and leaf.dtype == object and _has_values(leaf.tolist()))
        for leaf in leaves
    )


def _as_values(nest: Any) -> tuple[list[Value], trees.Shape, Any]:
    """Return the leaves of a nest as Values, numbers as new ones; the shape; and the nest of them."""
    leaves, shape = trees.flatten(nest)
    values = [v if isinstance(v, Value) else Value(v) for v in leaves]
    return values, shape, trees.unflatten(shape, values)


def _chosen_values(args: tuple[Any, ...], argnums: Argnums) -> tuple[Any, tuple[Any, ...]]:
    """Return the arguments that are differentiated, of Values; and all arguments, with these in their places."""
    given = list(args)
    for i in argnums if isinstance(argnums, tuple) else (argnums,):
        _chosen(args, i)
        given[i] = _as_values(given[i])[2]
    chosen = _chosen(tuple(given), argnums)
    return list(chosen) if isinstance(argnums, tuple) else chosen, tuple(given)


def _chosen(args: tuple[Any, ...], argnums: Argnums) -> Any:
    """Return one argument, or a tuple of them."""
    if isinstance(argnums, tuple):
        return tuple([_chosen(args, i) for i in argnums])
    if not -len(args) <= argnums < len(args):
        raise ValueError(f"argnums must be arguments of the function, which was called with {len(args)}, got {argnums}")
    return args[argnums]


def _one(y: Any) -> Any:
    if not isinstance(y, (Value, int, float)):
        raise ValueError(f"the function must return one Value for this, it returned {type(y).__name__} {y!r:.40}")
    return y


def _tuple(given: Any, name: str) -> tuple[Any, ...]:
    if not isinstance(given, (tuple, list)):
        raise TypeError(f"{name} must be a tuple of arguments, got {type(given).__name__} {given!r:.40}")
    return tuple(given)


def _zeros(nest: Any) -> Any:
    return trees.map_leaves(lambda _: 0.0, nest)


def _like(given: Any, pattern: Any, name: str = "cotangents") -> list[Any]:
    """Return the numbers or Values of a nest, which has the structure of another one; arrays may be lists."""
    leaves, shape = trees.flatten(_lists(given))
    other = trees.flatten(_lists(pattern))[1]
    if shape != other:
        raise ValueError(f"{name} must have the structure {other!r}, got {shape!r}")
    return leaves


def _lists(nest: Any) -> Any:
    return trees.map_leaves(lambda leaf: leaf.tolist() if isinstance(leaf, np.ndarray) else leaf, nest, _ARRAYS)
