"""Derivatives of a recorded function at numbers, in the structures of its arguments and results.

Where an argument is a Value, and while a function is traced, derivatives are taken of a plain call, and are Values.
Changes with what the transforms take and return: `microgradc.derivatives` has the functions for users, `Compiled` the
methods, `derived.py` the programs.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from microgradc import trees
from microgradc.engine import Value, is_tracing
from microgradc.engine.value import is_detecting
from microgradc.program import anomalies
from microgradc.program.calculus import cotangents_of, gradients, tangents_of
from microgradc.program.derived import PRODUCTS, Matrix, csc_array_class, product_program
from microgradc.program.layouts import Part, gradients_in, layout_of
from microgradc.program.program import Derived, Example, latest_hvp, latest_matrix, pattern_of
from microgradc.program.recording import Recording

Argnums = int | tuple[int, ...]
_ARRAYS = (np.ndarray,)


# Each for a compiled function, some arguments, and which of them


def argnums_of(args: tuple[Any, ...]) -> Argnums:
    """Return which arguments the methods of compiled functions differentiate: the only one, or all, as a tuple."""
    return 0 if len(args) == 1 else tuple(range(len(args)))


def jacobian_of(f: Any, args: tuple[Any, ...], argnums: Argnums, sparse: bool = False) -> Any:
    """Return the derivatives of each result; see `jacobian`."""
    if argnums == argnums_of(args):
        found = latest_matrix(f._latest, args, "sparse jacobian" if sparse else "jacobian")
        if found is not None:
            return found
    if has_values(*args):
        _require_numbers(sparse)
        xs, args = _chosen_values(args, argnums)
        return trees.map_leaves(lambda y: gradients(y, xs), plain(f)(*args))
    _chosen(args, argnums)
    if is_detecting():
        again = lambda a, as_sparse: jacobian_of(f, a, _of_values(a, argnums), as_sparse)  # noqa: E731
        return anomalies.derivatives(f, args, again, sparse)
    recorded = Recorded(f, args, "jacobian")
    if sparse:
        return recorded.sparse("jacobian", argnums)
    return recorded.rebuilt_rows(recorded.matrix("jacobian"), recorded.recording.parts, argnums)


def hessian_of(f: Any, args: tuple[Any, ...], argnums: Argnums, sparse: bool = False) -> Any:
    """Return the second derivatives of the one result; see `hessian`."""
    if argnums == argnums_of(args):
        found = latest_matrix(f._latest, args, "sparse hessian" if sparse else "hessian")
        if found is not None:
            return found
    if has_values(*args):
        _require_numbers(sparse)
        xs, args = _chosen_values(args, argnums)
        return trees.map_leaves(lambda slope: gradients(slope, xs), gradients(one_value(plain(f)(*args)), xs))
    _chosen(args, argnums)
    if is_detecting():
        again = lambda a, as_sparse: hessian_of(f, a, _of_values(a, argnums), as_sparse)  # noqa: E731
        return anomalies.derivatives(f, args, again, sparse)
    recorded = Recorded(f, args, "hessian")
    if sparse:
        return recorded.sparse("hessian", argnums)
    matrix = recorded.matrix("hessian")
    return _chosen(recorded.rebuilt_rows(matrix, recorded.recording.argument_parts(args), argnums), argnums)


def hvp_of(f: Any, x: Any, v: Any, args: tuple[Any, ...]) -> Any:
    """Return the product of the Hessian with respect to x and v; see `hvp`."""
    found = latest_hvp(f._latest, x, v, args)
    if found is not None:
        return found
    if has_values(x, v, *args):
        xs, shape, rebuilt = as_values(x)
        slopes = cotangents_of([one_value(plain(f)(rebuilt, *args))], xs, [1.0])
        return trees.unflatten(shape, tangents_of(slopes, xs, like(v, x, "v")))
    if is_detecting():
        return anomalies.derivatives(f, (x, *args), lambda a, _: hvp_of(f, a[0], _like_arguments(v, a), a[1:]))
    recorded = Recorded(f, (x, *args), "hvp")
    derived = recorded.derived("hvp")
    product = derived(recorded.row, recorded.direction((v, *map(zeros, args)), "v"))
    return product if derived.is_whole else recorded.rebuilt_arguments(np.reshape(product, -1))[0]


def second_derivatives(y: Value, xs: list[Value]) -> Iterator[Value]:
    """Yield the second derivatives of a Value with respect to others, row by row."""
    for slope in gradients(y, xs):
        yield from gradients(slope, xs)


def product_of(y: Value, xs: list[Value], direction: Any) -> list[Value]:
    """Return the product of the second derivatives of a Value and a direction, a nest of numbers."""
    return tangents_of(gradients(y, xs), xs, as_values(direction)[0])


def jvp_of(f: Any, primals: tuple[Any, ...], tangents: tuple[Any, ...]) -> tuple[Any, Any]:
    """Return the results and their derivatives in a direction; see `jvp`."""
    if has_values(*primals, *tangents):
        xs, _, rebuilt = as_values(primals)
        ys, shape = trees.flatten(plain(f)(*rebuilt))
        return trees.unflatten(shape, ys), trees.unflatten(shape, tangents_of(ys, xs, like(tangents, primals)))
    if is_detecting():
        again = lambda a, _: jvp_of(f, a, _like_arguments(tangents, a))  # noqa: E731
        return anomalies.derivatives(f, primals, again)
    recorded = Recorded(f, primals, "jvp")
    row = recorded.derived("jvp")(recorded.row, recorded.direction(tangents, "tangents")).reshape(1, -1)
    count = row.shape[1] // 2
    return recorded.rebuilt_results(row[:, :count]), recorded.rebuilt_results(row[:, count:])


def vjp_of(f: Any, primals: tuple[Any, ...]) -> tuple[Any, Callable[[Any], tuple[Any, ...]]]:
    """Return the results, and a function of cotangents; see `vjp`."""
    if has_values(*primals):
        xs, shape, rebuilt = as_values(primals)
        returned = plain(f)(*rebuilt)
        ys = trees.flatten(returned)[0]
        return returned, lambda cotangents: trees.unflatten(shape, cotangents_of(ys, xs, like(cotangents, returned)))
    if is_detecting():
        def pulled(given: Any) -> Any:
            again = lambda a, _: vjp_of(f, a)[1](_like_arguments(given, a))  # noqa: E731
            return anomalies.derivatives(f, primals, again)

        return anomalies.derivatives(f, primals, lambda a, _: vjp_of(f, a)[0]), pulled
    recorded = Recorded(f, primals, "vjp")
    results = recorded.rebuilt_results(recorded.recording.program(recorded.row.reshape(1, -1)))

    def pull(cotangents: Any) -> tuple[Any, ...]:
        seeds = np.array(like(cotangents, results), float)
        return recorded.rebuilt_arguments(recorded.derived("vjp")(recorded.row, seeds))

    return results, pull


def value_and_grad_of(f: Any, args: tuple[Any, ...], argnums: Argnums) -> tuple[Any, Any]:
    """Return the one result and its derivatives; see `value_and_grad`."""
    if has_values(*args):
        xs, args = _chosen_values(args, argnums)
        y = one_value(plain(f)(*args))
        return y, gradients(y, xs)
    _chosen(args, argnums)
    value, slopes = f.value_and_grad(*args)
    return value, _chosen((slopes,) if len(args) == 1 else slopes, argnums)


# Recordings


class Recorded:
    """A recording of a function, and the numbers of an example."""

    row: np.ndarray
    args: tuple[Any, ...]

    def __init__(self, f: Any, args: tuple[Any, ...], name: str) -> None:
        given, names = f._arguments.given(args, {})
        pattern, example = None if names else pattern_of(given), Example(given)
        self.args, self.row = args, np.array(example.row()[0], float)
        self.recording: Recording = f._recording(example, given, names)
        if not self.recording.is_of_numbers():
            raise ValueError("derivatives are of functions of numbers, which return numbers; for a static argument, "
                             "compile functools.partial(f, …) or a function that has it already")
        if name in ("hessian", "hvp"):
            self.recording.require_one_output()
        if self.recording.has_indices():
            self.recording.program(self.row.reshape(1, -1))
        f._latest.add(self.recording, pattern)

    def derived(self, name: str) -> Derived:
        """Return a program of derivatives: 'hessian', 'jacobian', 'sparse' of these, 'hvp', 'jvp' or 'vjp'."""
        found: Derived | None = self.recording.derived.get(name)
        if found is None:
            found = self.recording.derived[name] = self._made(name)
        return found

    def matrix(self, name: str) -> np.ndarray:
        """Return the derivatives of each result, a row, with respect to each number of the arguments."""
        return np.reshape(self.derived(name)(self.row), (-1, self.row.size))

    def sparse(self, name: str, argnums: Argnums) -> Any:
        """Return the same as a csc_array, for some arguments."""
        csc_array_class()
        derived = self.derived(f"sparse {name}")
        found = derived.finish(derived(self.row))
        if argnums == argnums_of(self.args):
            return found
        chosen = _chosen(self.rebuilt_arguments(np.arange(self.row.size)), argnums)
        columns = np.array(_numbers(chosen), int)
        return found[columns][:, columns] if name == "hessian" else found[:, columns]

    def _made(self, name: str) -> Derived:
        if name in PRODUCTS:
            program = product_program(self.recording.program, name)
            axes = self._axes(1) if name == "hvp" and not self.recording.has_indices() else None
            shape = (program.output_count,) if axes is None else axes
            places = range(math.prod(shape))
            return Derived(program, None, places, places, shape, axes is not None)
        kind, has_indices = name.removeprefix("sparse "), self.recording.has_indices()
        matrix = self.recording.derived.get(f"matrix of {kind}")
        if matrix is None:
            matrix = self.recording.derived[f"matrix of {kind}"] = Matrix(self.recording.program, kind)
        if kind != name:
            return matrix.sparse(not has_indices)
        of_arguments = self._axes(len(self.args))
        of_results = of_arguments if name == "hessian" else self.recording.axes
        if of_arguments is None or of_results is None:
            return matrix.dense(matrix.groups.shape, False)
        return matrix.dense(of_results + of_arguments, not has_indices)

    def _axes(self, count: int) -> tuple[int, ...] | None:
        """Return the axes of the first argument, if it is a number or an array and the arguments are so many."""
        parts, shape = self.recording.argument_parts(self.args)
        first = trees.unflatten(shape, parts)[0] if self.args and count == 1 else None
        return first.axes if isinstance(first, Part) else None

    def direction(self, v: tuple[Any, ...], name: str) -> np.ndarray:
        """Return a direction, in the structure of the arguments, as a row."""
        return np.array(like(v, self.args, name), float)

    def rebuilt_arguments(self, rows: np.ndarray, axes: tuple[int, ...] = ()) -> tuple[Any, ...]:
        """Return what is in the last axis in the structure of the arguments, the other axes reshaped."""
        parts, shape = self.recording.argument_parts(self.args)
        rows = rows.reshape((*axes, -1))
        blocks = [rows[..., p.first : p.first + math.prod(p.axes)].reshape(axes + p.axes) for p in parts]
        return trees.unflatten(shape, [block.copy() if block.ndim else block.item() for block in blocks])

    def rebuilt_rows(self, matrix: np.ndarray, parts: tuple[list[Any], trees.Shape], argnums: Argnums) -> Any:
        """Return a matrix: its rows in the structure of these parts, in each place the columns in that of arguments."""
        return trees.unflatten(
            parts[1],
            [
                _chosen(self.rebuilt_arguments(matrix[p.first : p.first + math.prod(p.axes)], p.axes), argnums)
                for p in parts[0]
            ],
        )

    def rebuilt_results(self, row: np.ndarray) -> Any:
        """Return a row of numbers in the structure of the results."""
        parts, shape = self.recording.parts
        found = [part.of(row)[0] for part in parts]
        return trees.unflatten(shape, [x if isinstance(x, np.ndarray) else float(x) for x in found])


# Arguments


def plain(f: Any) -> Callable[..., Any]:
    """Return the function that was compiled."""
    return getattr(f, "_f", f)


def has_values(*args: Any) -> bool:
    """Return whether there is a Value in arguments; while a function is traced, numbers are treated as Values, too."""
    if is_tracing():
        return True
    for a in args:
        if isinstance(a, float) or (isinstance(a, np.ndarray) and a.dtype != object):
            continue
        for leaf in trees.flatten(a, _ARRAYS)[0]:
            if isinstance(leaf, Value):
                return True
            if isinstance(leaf, np.ndarray) and leaf.dtype == object and has_values(leaf.tolist()):
                return True
    return False


def as_values(nest: Any) -> tuple[list[Value], trees.Shape, Any]:
    """Return the leaves of a nest as Values, numbers as new ones; the shape; and the nest of them."""
    leaves, shape = trees.flatten(nest)
    values = [v if isinstance(v, Value) else Value(v) for v in leaves]
    return values, shape, trees.unflatten(shape, values)


def _chosen_values(args: tuple[Any, ...], argnums: Argnums) -> tuple[Any, tuple[Any, ...]]:
    """Return the arguments that are differentiated, of Values; and all arguments, with these in their places."""
    given = list(args)
    for i in argnums if isinstance(argnums, tuple) else (argnums,):
        _chosen(args, i)
        given[i] = as_values(given[i])[2]
    chosen = _chosen(tuple(given), argnums)
    return list(chosen) if isinstance(argnums, tuple) else chosen, tuple(given)


def _of_values(args: tuple[Any, ...], argnums: Argnums) -> Argnums:
    """Return those of some arguments that have Values, where any of them has: an integer may be an index."""
    if not isinstance(argnums, tuple) or not has_values(*args):
        return argnums
    return tuple([i for i in argnums if has_values(args[i])])


def _like_arguments(direction: Any, args: tuple[Any, ...]) -> Any:
    """Return a direction, of Values where arguments have Values: products of numbers alone are no operations."""
    return as_values(direction)[2] if has_values(*args) else direction


def _chosen(args: tuple[Any, ...], argnums: Argnums) -> Any:
    """Return one argument, or a tuple of them."""
    if isinstance(argnums, tuple):
        return tuple([_chosen(args, i) for i in argnums])
    if not -len(args) <= argnums < len(args):
        raise ValueError(f"argnums must be arguments of the function, which was called with {len(args)}, got {argnums}")
    return args[argnums]


def one_value(y: Any) -> Any:
    if not isinstance(y, (Value, int, float)):
        raise ValueError(f"the function must return one Value for this, it returned {type(y).__name__} {y!r:.40}")
    return y


def zeros(nest: Any) -> Any:
    if isinstance(nest, np.ndarray):
        return np.zeros(nest.shape)
    return trees.map_leaves(lambda _: 0.0, nest)


def like(given: Any, pattern: Any, name: str = "cotangents") -> list[Any]:
    """Return the numbers or Values of a nest, which has the structure of another one; arrays may be lists."""
    if type(given) is tuple and type(pattern) is tuple and len(given) == len(pattern):
        return [leaf for one, other in zip(given, pattern, strict=True) for leaf in like(one, other, name)]
    if isinstance(given, np.ndarray) and isinstance(pattern, np.ndarray) and given.shape == pattern.shape:
        return given.ravel().tolist()
    leaves, shape = trees.flatten(_lists(given))
    other = trees.flatten(_lists(pattern))[1]
    if shape != other:
        raise ValueError(f"{name} must have the structure {other!r}, got {shape!r}")
    return leaves


def in_structure(row: np.ndarray, nest: Any) -> Any:
    """Return numbers in the structure of a nest: arrays for arrays and lists of numbers."""
    return gradients_in(row, layout_of((nest,)))[0]


def _numbers(nest: Any) -> list[Any]:
    """Return the numbers of a nest of floats and arrays, one after another."""
    return [x for leaf in trees.flatten(nest, _ARRAYS)[0] for x in np.ravel(leaf).tolist()]


def _require_numbers(sparse: bool) -> None:
    if sparse:
        raise TypeError("sparse=True is for arguments that are numbers: a csc_array has no Values")


def _lists(nest: Any) -> Any:
    return trees.map_leaves(lambda leaf: leaf.tolist() if isinstance(leaf, np.ndarray) else leaf, nest, _ARRAYS)
