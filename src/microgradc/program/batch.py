"""The arguments of a batch: arrays for a program, and the arguments of its first example."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from numbers import Real
from typing import Any

import numpy as np

from microgradc import checks, trees
from microgradc.engine import Value, is_tracing, refuse
from microgradc.program.arguments import STATIC, is_static
from microgradc.program.lazy_arrays import is_dask_array
from microgradc.program.plain_calls import without_values
from microgradc.program.program import require_unmasked

BATCHES = (np.ndarray, list, *STATIC)    # what has an entry or row for each example, or none at all


class Batch:
    """The arguments of a batch.

    Args:
        args: as `Arguments.given` returned them.
        shared: which of them have no axis for the examples.

    Attributes:
        n: how many examples there are.
        first: the arguments of the first one.
        arrays: the numbers of all but the shared ones, for a Program.
        values: for each of these the Value that was given in its place, or None; None if there are no Values.
    """

    arrays: tuple[np.ndarray, ...]
    shared: list[Any]
    first: tuple[Any, ...]
    n: int

    def __init__(self, args: tuple[Any, ...], shared: frozenset[int] = frozenset()) -> None:
        if is_tracing():
            refuse("f.mean")
        self.n = -1
        self.shared = [args[i] for i in sorted(shared)]
        self._shapes: list[trees.Shape | None] = []         # of the arguments, None for a shared one
        self._arrays: list[np.ndarray | None] = []          # of all leaves, None for a static one
        firsts: list[Any] = []
        for i, a in enumerate(args):
            if i in shared:
                self._shapes.append(None)
                continue
            leaves, shape = trees.flatten(a, BATCHES)
            self._shapes.append(shape)
            for leaf in leaves:
                array = None if is_static(leaf) else self._read(leaf, i)
                self._arrays.append(array)
                firsts.append(leaf if array is None else _first_entry(leaf, array))
        if self.n < 1:
            none = "got none" if not args else "got none: each is static or shared"
            raise ValueError(f"a batch must have at least one argument with an axis for the examples, {none}")
        self.first = self._arguments(iter(firsts), iter(self.shared))
        arrays = [a for a in self._arrays if a is not None]
        self.values: list[Any] | None = None
        if any(a.dtype.kind == "O" for a in arrays):
            self.values = [v if isinstance(v, Value) else None for a in arrays for v in a.ravel().tolist()]
            arrays = [without_values(a) if a.dtype.kind == "O" else a for a in arrays]
        self.arrays = tuple(np.require(a, float, ["C", "A"]).reshape(self.n, -1) for a in arrays)

    def _read(self, a: Any, i: int) -> np.ndarray:
        """Return what is in argument i as an array with an entry or row for each example."""
        if is_dask_array(a):
            raise TypeError(
                f"argument {i} is a dask array, which this would have to compute as a whole; f.mean, f.sum, f.map and "
                "f.train go through it chunk by chunk, f.partial takes one chunk, and .compute() gives all numbers"
            )
        require_unmasked(a)
        array = checks.real_array(a, f"argument {i}", and_objects=True)
        if array.dtype.kind == "O":
            for entry in array.ravel().tolist():
                if not isinstance(entry, (Value, Real)):
                    got = f"{type(entry).__name__} {entry!r:.40}"
                    raise TypeError(f"argument {i} must be made of real numbers and Values, got {got}")
        if array.ndim == 0:
            got = f"the single {a!r:.40}; np.full(n, x) repeats a number, compile(f, shared=(name,)) shares it"
            raise ValueError(f"argument {i} must have an axis for the examples, got {got}")
        if self.n == 0 or len(array) == 0:
            raise ValueError("a batch must have at least one example, got none")
        if self.n >= 0 and len(array) != self.n:
            got = f"{self.n} and, in argument {i}, {len(array)}"
            raise ValueError(f"the arguments must have one row for each example, got {got}")
        self.n = len(array)
        return array

    def gradients(self, grads: list[np.ndarray]) -> tuple[Any, ...]:
        """Return gradients in the shape of the arguments, of which none is shared; None for what is static."""
        left = iter(grads)
        found = [None if a is None else next(left).reshape(a.shape) for a in self._arrays]
        return self._arguments(iter(found), iter(()))

    def _arguments(self, leaves: Iterator[Any], shared: Iterator[Any]) -> tuple[Any, ...]:
        """Return leaves in the shape of the arguments."""
        return tuple([
            next(shared) if shape is None
            else next(leaves) if shape is trees.LEAF
            else trees.unflatten(shape, islice(leaves, shape.leaf_count))
            for shape in self._shapes
        ])


def repeated(a: Any, n: int) -> Any:
    """Return what a shared argument is as one of a batch of n examples."""
    def repeat(leaf: Any) -> Any:
        if is_static(leaf):
            return leaf
        return np.broadcast_to(leaf, (n, *leaf.shape)) if isinstance(leaf, np.ndarray) else [leaf] * n
    return trees.map_leaves(repeat, a, BATCHES)


def _first_entry(given: Any, array: np.ndarray) -> Any:
    """Return the first row of an array; a list if a list was given."""
    if array.ndim == 1:
        return array[0] if array.dtype.kind == "b" else array.item(0)     # a bool of Python's would be static
    return array[0] if isinstance(given, np.ndarray) else array[0].tolist()
