"""Programs of derivatives of a recorded function.

A product with a direction is a program of one example, of arguments and direction. So is a matrix whose numbers take
little more work than one direction: a sparse one. Of any other the directions are examples, which run side by side in
lanes; what depends on the arguments alone is computed once for all of them. Changes with what these programs compute.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np

from microgradc.engine import IntegerInput, Trace, Value
from microgradc.program.calculus import cotangents_of, replayed, tangents_of
from microgradc.program.graph import Graph
from microgradc.program.program import Derived, MeanProduct, Program, recorded_graph
from microgradc.program.sparsity import Dependence, Groups, groups_of_columns, groups_of_rows, groups_of_symmetric

__all__ = ["PRODUCTS", "Matrix", "csc_array_class", "gradients_program", "mean_product", "product_program"]

PRODUCTS = "hvp", "jvp", "vjp"

_SHORT = 4              # terms of a sum of products that is made of additions, in programs of one example
_MOST_WORK = 4          # of a matrix in a program of one example, in directions
_MOST_GROUPS = 64       # of columns there; of rows as many as the work


def product_program(program: Program, name: str) -> Program:
    """Return a program of the numbers of arguments and then those of a direction.

    Args:
        program: what was recorded.
        name: 'hvp', the derivatives of the gradient of the one result; 'jvp', the results and their derivatives; 'vjp',
            of a number for each result, what the arguments receive.
    """
    with Trace():        # no number is looked at
        xs, ys = _replayed(program)
        given = [Value(1.0) for _ in (ys if name == "vjp" else xs)]
        if name == "vjp":
            found = cotangents_of(ys, xs, given, _SHORT)
        elif name == "jvp":
            found = [*ys, *tangents_of(ys, xs, given, _SHORT)]
        else:
            found = tangents_of(cotangents_of(ys, xs, [1.0], _SHORT), xs, given, _SHORT)
        return Program(found, [*xs, *given])


class Matrix:
    """A program of the derivatives of results, each a row, or those of the gradient of the one result.

    Args:
        program: what was recorded.
        name: 'jacobian' or 'hessian'.

    Attributes:
        groups: of columns, or rows, that are found together.
        directions: of the groups, if these are the examples; None for a program of one example.
    """

    groups: Groups

    def __init__(self, program: Program, name: str) -> None:
        self._of_hessian = name == "hessian"
        self.directions: np.ndarray | None = None
        self._indices: tuple[int, ...] = ()
        with Trace():
            xs, ys = _replayed(program)
            lines = cotangents_of(ys, xs, [1.0], _SHORT) if self._of_hessian else ys
            dependence = Dependence(lines, xs)
            self.groups = self._grouped(dependence.masks(), len(xs))
            if self._is_little_work(dependence):
                self._program, self._source = self._numbers(lines, xs)
            else:
                self.directions = self.groups.directions()
                self._program, self._indices = self._in_lanes(program)
                group, place = self.groups.found
                self._source = group * self._program.output_count + place

    def dense(self, shape: tuple[int, ...], is_whole: bool) -> Derived:
        """Return it as an array of this shape. See `Derived`."""
        target = self.groups.rows * self.groups.shape[1] + self.groups.columns
        return self._derived(target, shape, is_whole, None)

    def sparse(self, is_whole: bool) -> Derived:
        """Return its numbers, of which `finish` makes a csc_array."""
        count = len(self.groups.rows)
        return self._derived(np.arange(count), (count,), is_whole, self._as_csc)

    def _derived(self, target: np.ndarray, shape: tuple[int, ...], is_whole: bool, finish: Any) -> Derived:
        source = self._source.tolist()
        return Derived(self._program, self.directions, source, target.tolist(), shape, is_whole, finish, self._indices)

    @cached_property
    def _kept(self) -> Any:
        groups = self.groups
        ends = np.searchsorted(groups.columns, np.arange(groups.shape[1] + 1))
        parts = np.ones(len(groups.rows)), groups.rows.astype(np.int32), ends.astype(np.int32)
        return csc_array_class()(parts, groups.shape)

    def _as_csc(self, numbers: np.ndarray) -> Any:
        """Return a copy of the kept csc_array with other numbers: its constructor takes longer than many programs."""
        kept = self._kept
        made = object.__new__(type(kept))
        vars(made).update(vars(kept))
        made.data, made.indices, made.indptr = numbers, kept.indices.copy(), kept.indptr.copy()
        return made

    def _grouped(self, masks: list[int], count: int) -> Groups:
        self._by_rows = False
        if self._of_hessian:
            return groups_of_symmetric(masks)
        by_columns, by_rows = groups_of_columns(masks, count), groups_of_rows(masks, count)
        self._by_rows = by_rows.count < by_columns.count
        return by_rows if self._by_rows else by_columns

    def _is_little_work(self, dependence: Dependence) -> bool:
        if self._by_rows:
            return self.groups.count <= _MOST_WORK
        return self.groups.count <= _MOST_GROUPS and dependence.work(self.groups.group_of) <= _MOST_WORK

    def _numbers(self, lines: list[Value], xs: list[Value]) -> tuple[Program, np.ndarray]:
        """Return a program of one example, which has each number that is needed once, and where each is."""
        groups, places = self.groups.found
        pairs, source = np.unique(groups * (max(self.groups.shape) + 1) + places, return_inverse=True)
        wanted: list[list[int]] = [[] for _ in range(self.groups.count)]
        for pair in pairs.tolist():
            group, place = divmod(pair, max(self.groups.shape) + 1)
            wanted[group].append(place)
        outputs: list[Value] = []
        for group, its_places in enumerate(wanted):
            members = [i for i, g in enumerate(self.groups.group_of) if g == group]
            ones = [1.0] * len(members)
            if self._by_rows:
                found = cotangents_of([lines[i] for i in members], [xs[i] for i in its_places], ones, _SHORT)
            else:
                found = tangents_of([lines[i] for i in its_places], [xs[i] for i in members], ones, _SHORT)
            outputs += found
        return Program(outputs or [Value(0.0)], xs), source.reshape(-1)

    def _in_lanes(self, program: Program) -> tuple[Program, tuple[int, ...]]:
        """Return a program whose examples are directions, the arguments its shared inputs, and which are indices."""
        indices = _inputs_of_indices(recorded_graph(program))
        numbers, ys = _replayed(program)
        shared = [Value(0.0) if i in indices else x for i, x in enumerate(numbers)]
        given = [Value(1.0) for _ in (ys if self._by_rows else numbers)]
        if self._by_rows:
            found = cotangents_of(ys, numbers, given)
        else:
            found = tangents_of(cotangents_of(ys, numbers, [1.0]) if self._of_hessian else ys, numbers, given)
        places = tuple(indices)
        return Program(found, [*[numbers[i] for i in places], *given], shared=shared), places


def mean_product(program: Program, chosen: list[Value] | None) -> MeanProduct:
    """Return the product of second derivatives and a direction, which is the gradient of the tangent in it.

    Args:
        program: what was recorded, of one result.
        chosen: with respect to which parameters; None for the shared inputs.
    """
    with Trace():
        xs, shared, ys = _replayed_with_shared(program)
        leaves = shared if chosen is None else chosen
        direction = [Value(1.0) for _ in leaves]
        made = Program(tangents_of(ys, leaves, direction), xs, shared=[*shared, *direction])
    places = {id(p): i for i, p in enumerate([*shared, *direction, *made.parameters])}
    return MeanProduct(made, [places.get(id(p), -1) for p in leaves])


def gradients_program(program: Program, chosen: list[Value] | None) -> Program:
    """Return a program whose outputs are the gradients of the one result; see `mean_product`."""
    with Trace():
        xs, shared, ys = _replayed_with_shared(program)
        found = cotangents_of(ys, shared if chosen is None else chosen, [1.0])
        return Program(found or [Value(0.0)], xs, shared=shared)


def csc_array_class() -> Any:
    """Return SciPy's csc_array.

    Raises:
        ImportError: SciPy is not installed.
    """
    try:
        from scipy.sparse import csc_array
    except ImportError as error:
        raise ImportError(
            "sparse=True gives a scipy.sparse.csc_array: pip install scipy, or 'microgradc[sparse]'"
        ) from error
    return csc_array


def _replayed(program: Program) -> tuple[list[Value], list[Value]]:
    """Return what a program does, once more, of new inputs: these and the outputs."""
    xs, _, ys = _replayed_with_shared(program)
    return xs, ys


def _replayed_with_shared(program: Program) -> tuple[list[Value], list[Value], list[Value]]:
    """Return what a program does, once more, of new inputs and shared ones: these and the outputs."""
    graph = recorded_graph(program)
    indices = _inputs_of_indices(graph)
    xs = [IntegerInput(0) if i in indices else Value(0.0) for i in range(program.input_count)]
    shared = [Value(0.0) for _ in range(program.shared_count)]
    return xs, shared, replayed(graph, xs, [*shared, *program.parameters])


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
