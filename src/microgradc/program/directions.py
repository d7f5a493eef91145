"""Derivatives of a recorded function at numbers: programs whose examples are directions, which run side by side in
lanes.

What depends on the arguments alone is computed once for all directions. Where an argument is a Value, and while a
function is traced, derivatives are taken of a plain call, and are Values. Changes with how derivatives of a function
are made of its recording; `microgradc.derivatives` has the functions for users, `Compiled` the methods.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from typing import Any

import numpy as np

from microgradc import trees
from microgradc.engine import IntegerInput, Trace, Value, is_tracing
from microgradc.program.calculus import cotangents_of, dependence, gradients, replayed, tangents_of
from microgradc.program.graph import Graph
from microgradc.program.program import Example, Program
from microgradc.program.recording import Recording

Argnums = int | tuple[int, ...]
_ARRAYS = (np.ndarray,)


# Each for a compiled function, some arguments, and which of them


def argnums_of(args: tuple[Any, ...]) -> Argnums:
    """Return which arguments the methods of compiled functions differentiate: the only one, or all, as a tuple."""
    return 0 if len(args) == 1 else tuple(range(len(args)))


def jacobian_of(f: Any, args: tuple[Any, ...], argnums: Argnums) -> Any:
    """Return the derivatives of each result; see `jacobian`."""
    if has_values(*args):
        xs, args = _chosen_values(args, argnums)
        return trees.map_leaves(lambda y: gradients(y, xs), plain(f)(*args))
    _chosen(args, argnums)
    found = Recorded(f, args, "jacobian")
    n, m = found.row.size, found.recording.program.output_count
    matrix = found.matrix("tangents") if n <= m else found.run("cotangents", np.eye(m))
    return found.rebuilt_rows(matrix, found.recording.parts, argnums)


def hessian_of(f: Any, args: tuple[Any, ...], argnums: Argnums) -> Any:
    """Return the second derivatives of the one result; see `hessian`."""
    if has_values(*args):
        xs, args = _chosen_values(args, argnums)
        return trees.map_leaves(lambda slope: gradients(slope, xs), gradients(one_value(plain(f)(*args)), xs))
    _chosen(args, argnums)
    found = Recorded(f, args, "hessian")
    matrix = found.matrix("hessian")
    return _chosen(found.rebuilt_rows(matrix, found.recording.argument_parts(args), argnums), argnums)


def hvp_of(f: Any, x: Any, v: Any, args: tuple[Any, ...]) -> Any:
    """Return the product of the Hessian with respect to x and v; see `hvp`."""
    if has_values(x, v, *args):
        xs, shape, rebuilt = as_values(x)
        slopes = cotangents_of([one_value(plain(f)(rebuilt, *args))], xs, [1.0])
        return trees.unflatten(shape, tangents_of(slopes, xs, like(v, x, "v")))
    found = Recorded(f, (x, *args), "hvp")
    direction = found.direction((v, *map(zeros, args)), "v")
    return found.rebuilt_arguments(found.run("hessian", direction)[0])[0]


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

    def __init__(self, f: Any, args: tuple[Any, ...], name: str) -> None:
        given, names = f._arguments.given(args, {})
        example = Example(given)
        self.args, self.row = args, np.array(example.row(), float).reshape(1, -1)
        self.recording: Recording = f._recording(example, given, names)
        if not self.recording.is_of_numbers():
            raise ValueError("derivatives are of functions of numbers, which return numbers; for a static argument, "
                             "compile functools.partial(f, …) or a function that has it already")
        if name in ("hessian", "hvp"):
            self.recording.require_one_output()

    def run(self, what: str, directions: np.ndarray) -> np.ndarray:
        """Return what a program of derivatives gives for each row of directions; see `_Directions`."""
        return self._program(what).run(self.row[0], directions)

    def matrix(self, what: str) -> np.ndarray:
        """Return the derivatives of each result, a row, with respect to each number of the arguments."""
        return self._program(what).matrix(self.row[0])

    def _program(self, what: str) -> _Directions:
        program = self.recording.derived.get(what)
        if program is None:
            program = self.recording.derived[what] = _Directions(self.recording.program, what)
        return program

    def direction(self, v: tuple[Any, ...], name: str) -> np.ndarray:
        """Return a direction, in the structure of the arguments, as a row."""
        return np.array([like(v, self.args, name)], float)

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
        self.indices = _inputs_of_indices(graph)
        self.lock = threading.Lock()
        with Trace():        # no number is looked at
            self.xs = [IntegerInput(0) if i in self.indices else Value(0.0) for i in range(program.input_count)]
            ys = replayed(graph, self.xs, list(program.parameters))
            given = [Value(1.0) for _ in (ys if what == "cotangents" else self.xs)]
            if what == "cotangents":
                found = cotangents_of(ys, self.xs, given)
            else:
                results = cotangents_of(ys, self.xs, [1.0]) if what == "hessian" else ys
                found = tangents_of(results, self.xs, given)
                self.groups = _Groups(dependence(results, self.xs), len(self.xs))
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

    def matrix(self, row: np.ndarray) -> np.ndarray:
        """Return the derivatives of each result, a row, with respect to each number of the arguments, in few runs."""
        return self.groups.matrix(self.run(row, self.groups.directions))


def _inputs_of_indices(graph: Graph) -> list[int]:
    """Return the inputs that are the index of `take`, or that one is computed from."""
    expressions = list(graph)
    of_index = [False] * len(expressions)
    for op, operands, _ in expressions:
        if op == "take":
            of_index[operands[0]] = expressions[operands[0]].op != "where"      # which is that of `select`
    for e in range(len(expressions) - 1, -1, -1):
        if of_index[e]:
            for x in expressions[e].operands:
                of_index[x] = True
    return sorted(int(x.number or 0) for x, is_it in zip(expressions, of_index, strict=True)
                  if is_it and x.op == "input")


class _Groups:
    """Columns of a matrix of derivatives that are found in one direction, for no row has two of them.

    Where a number is 0 in whatever arguments, the matrix has 0. Columns are put into the first group that they fit in:
    Curtis, Powell, Reid, "On the estimation of sparse Jacobian matrices", IMA J. Appl. Math. 1974.

    Args:
        masks: for each row, which columns may have something else than 0, as bits.
        count: how many columns there are.
    """

    def __init__(self, masks: list[int], count: int) -> None:
        self.shape = len(masks), count
        full = (1 << count) - 1
        self.is_dense = any(mask == full for mask in masks)
        self.directions = np.eye(count)
        if self.is_dense:
            return
        rows_of: list[list[int]] = [[] for _ in range(count)]
        for i, mask in enumerate(masks):
            while mask:
                rows_of[(mask & -mask).bit_length() - 1].append(i)
                mask &= mask - 1
        taken = [0] * len(masks)      # by row, the groups that have one of its columns
        groups = []
        for rows in rows_of:
            union = 0
            for i in rows:
                union |= taken[i]
            groups.append((~union & (union + 1)).bit_length() - 1)
            for i in rows:
                taken[i] |= 1 << groups[-1]
        self.rows = np.array([i for rows in rows_of for i in rows], int)
        self.columns = np.repeat(np.arange(count), [len(rows) for rows in rows_of])
        self.group_of = np.array(groups, int)[self.columns]
        self.directions = np.zeros((max(groups, default=-1) + 1, count))
        self.directions[groups, range(count)] = 1.0

    def matrix(self, found: np.ndarray) -> np.ndarray:
        """Return the matrix, of what was found for each group."""
        if self.is_dense:
            return found.T
        matrix = np.zeros(self.shape)
        matrix[self.rows, self.columns] = found[self.group_of, self.rows]
        return matrix


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


def _lists(nest: Any) -> Any:
    return trees.map_leaves(lambda leaf: leaf.tolist() if isinstance(leaf, np.ndarray) else leaf, nest, _ARRAYS)
