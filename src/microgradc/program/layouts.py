"""Numbers in the shapes of arguments and of results: the gradients of an example, the columns of a batch."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from microgradc import trees
from microgradc.program.arguments import STATIC, is_static

LEAVES = (np.ndarray, *STATIC)      # of arguments
STATIC_LEAF = (0, (0,))     # in place of the size and shape of an array
Layout = tuple[list[tuple[int, tuple[int, ...]] | None], trees.Shape]


def as_array(leaf: Any) -> Any:
    """Return an array in place of what is like one: a matrix, a Series, a tensor."""
    return np.asarray(leaf) if getattr(leaf, "shape", ()) else leaf


def gradients_in(row: np.ndarray, layout: Layout) -> Any:
    """Return the numbers of a row in a layout."""
    found: list[Any] = []
    numbers = row.tolist()
    start = 0
    leaves, shape = layout
    for size_and_shape in leaves:
        if size_and_shape is STATIC_LEAF:
            found.append(None)
        elif size_and_shape is None:
            found.append(numbers[start])
            start += 1
        else:
            size, array_shape = size_and_shape
            found.append(row[start : start + size].reshape(array_shape).copy())
            start += size
    return trees.unflatten(shape, found, _array_if_possible)


class Part:
    """What is one array of `map`: columns one after another of the results, and the axes that it has for them."""

    first: int
    axes: tuple[int, ...]

    def __init__(self, first: int, axes: tuple[int, ...]) -> None:
        self.first, self.axes = first, axes

    def of(self, results: np.ndarray) -> np.ndarray:
        """Return the array, with memory of its own."""
        last = self.first + math.prod(self.axes)
        columns = results if last - self.first == results.shape[1] else results[:, self.first : last].copy()
        return columns.reshape(len(results), *self.axes)


def list_or_axis(entries: list[Any]) -> Any:
    """Return the entries of a list as one part with one more axis after the first, if they are equal parts."""
    axis = _axis(entries)
    return entries if axis is None else axis


def _axis(entry: Any) -> Part | None:
    if isinstance(entry, Part):
        return entry
    if not isinstance(entry, (list, tuple)) or not entry:
        return None
    parts = [_axis(part) for part in entry]
    if parts[0] is None or any(part is None or part.axes != parts[0].axes for part in parts):
        return None
    return Part(parts[0].first, (len(parts), *parts[0].axes))


def layout_of(args: tuple[Any, ...]) -> Layout:
    """Return for each leaf the size and shape of an array, None for a number; and the shape of the arguments."""
    arrays = trees.map_leaves(lambda leaf: leaf if is_static(leaf) else as_array(leaf), args, LEAVES)
    leaves, shape = trees.flatten(arrays, LEAVES)
    return [
        STATIC_LEAF if is_static(leaf) else (leaf.size, leaf.shape) if isinstance(leaf, np.ndarray) else None
        for leaf in leaves
    ], shape


def _array_if_possible(entries: list[Any]) -> Any:
    """Return gradients as an array if they are numbers, or arrays of one shape."""
    numeric = all(isinstance(entry, (float, np.ndarray)) for entry in entries)
    return np.array(entries) if numeric and len({getattr(entry, "shape", ()) for entry in entries}) <= 1 else entries
