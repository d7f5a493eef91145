"""Examples that are a dask array, and what programs give for them."""

from __future__ import annotations

from typing import Any

import dask
import dask.array as da
import numpy as np

from microgradc.distributed import tasks
from microgradc.distributed.tasks import Payload, Point
from microgradc.program.program import Program


class Rows:
    """A dask array of examples, in chunks of whole rows.

    Args:
        X: of shape (n, nin).

    Raises:
        ValueError: it has another shape.
        TypeError: it is not made of real numbers.
    """

    def __init__(self, X: da.Array) -> None:
        if X.dtype.kind not in "fiub":
            raise TypeError(f"X must be made of real numbers, got a dask array of {X.dtype}")
        if X.ndim != 2 or not X.shape[1] >= 1 or X.shape[0] == 0:
            expected = "a row of numbers for each example, at least one, shape (n, nin)"
            raise ValueError(f"X must have {expected}, got a dask array of shape {X.shape}")
        self.X = X if X.numblocks[1] == 1 else X.rechunk({1: -1})

    def first(self, computed: bool) -> np.ndarray:
        """Return one example, of shape (1, nin): the first one, or zeros in its place if nothing is to be computed."""
        if not computed:
            return np.zeros((1, self.X.shape[1]))
        for size, block in zip(self.X.chunks[0], self.X.to_delayed().ravel(), strict=True):
            if size:
                (row,) = dask.compute(block[:1])
                if len(row):
                    return np.require(row, float, ["C", "A"])
        raise ValueError("X must have at least one example, got none: all chunks are empty")

    def outputs(self, program: Program) -> da.Array:
        """Return the outputs of a program of rows, of shape (n, nout): see `outputs_of_rows`."""
        point = Point(np.array([p.data for p in program.parameters], float), None, False, ())
        return outputs_of_rows(tasks.pack(program), point, [self.X], program.output_count)


def outputs_of_rows(payload: Payload, point: Point, leaves: list[da.Array], width: int) -> da.Array:
    """Return what `outputs_of_chunk` does with each chunk of aligned arrays, as one dask array of so many columns."""
    sent = dask.delayed(payload, name=payload.name, traverse=False)
    where = dask.delayed(point, traverse=False)
    task = dask.delayed(tasks.outputs_of_chunk, pure=False)
    blocks = [leaf.to_delayed().ravel() for leaf in leaves]
    rows = [
        da.from_delayed(task(sent, where, *chunk), (size, width), float)
        for size, chunk in zip(leaves[0].chunks[0], zip(*blocks, strict=True), strict=True)
    ]
    return da.concatenate(rows, allow_unknown_chunksizes=True)
