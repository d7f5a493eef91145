"""The arguments of a batch, some of which are dask arrays, and what compiled functions do with them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cached_property
from itertools import count as numbered
from typing import Any

import dask
import dask.array as da
import numpy as np

from microgradc import checks, trees
from microgradc.distributed import tasks
from microgradc.distributed.cluster import current_client, forget_places, parts_there, places_of, sent_to
from microgradc.distributed.tasks import Payload, Point
from microgradc.distributed.turns import ChunkTurns
from microgradc.engine import Value
from microgradc.engine.value import is_grad_enabled
from microgradc.program.arguments import STATIC, for_one, is_static, unwrapped
from microgradc.program.batch import Batch
from microgradc.program.layouts import Part, gradients_in, layout_of
from microgradc.program.partial import Origin, Partial, combine, origin_of, value_of
from microgradc.program.program import Example, Program
from microgradc.program.recording import Recording

GROUP = 16      # parts that one task adds: a power of 2, so that the tree of sums stays what it is
_LEAVES = (np.ndarray, list, da.Array, *STATIC)
_call_numbers = numbered()


class Chunks:
    """The arguments of a batch, some of which are dask arrays: aligned, chunk to chunk.

    Args:
        compiled: a `Compiled`.
        args, kwargs: its arguments, as for `mean`.

    Raises:
        TypeError, ValueError: see `Compiled.mean`; the arguments do not have the same rows.
    """

    leaves: list[da.Array]
    given: Any
    names: Any
    shared: Any
    theta: Example | None

    def __init__(self, compiled: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self.compiled = compiled
        self.given, self.names = compiled._arguments.given(args, kwargs)
        self.shared = compiled._arguments.shared_in(len(self.given), self.names)
        theta = tuple([self.given[i] for i in sorted(self.shared)])
        for leaf in trees.flatten(theta, _LEAVES)[0]:
            if isinstance(leaf, da.Array):
                raise TypeError("a shared argument must be numbers or Values, got a dask array: .compute() gives them")
        self.theta = Example(theta) if self.shared else None
        self.theta_values = theta
        found: list[Any] = []
        for i, a in enumerate(self.given):
            if i not in self.shared:
                found += [(i, leaf) for leaf in trees.flatten(a, _LEAVES)[0] if not is_static(leaf)]
        first = next(leaf for _, leaf in found if isinstance(leaf, da.Array))
        if first.ndim == 0:
            raise ValueError("a dask array must have an axis for the examples, got one of shape ()")
        self.sizes: tuple[Any, ...] = first.chunks[0]
        self.leaves = [self._aligned(leaf, i) for i, leaf in found]

    def __len__(self) -> int:
        """How many chunks there are."""
        return len(self.sizes)

    def _aligned(self, leaf: Any, i: int) -> da.Array:
        """Return an argument in the chunks of the first dask array."""
        is_known = not any(map(math.isnan, self.sizes))
        if not isinstance(leaf, da.Array):
            array = checks.real_array(leaf, f"argument {i}")
            if not is_known:
                raise ValueError(
                    f"argument {i} is a whole array next to a dask array whose chunks have unknown sizes: "
                    "compute_chunk_sizes() finds them"
                )
            if array.ndim == 0 or len(array) != sum(self.sizes):
                got = f"{sum(self.sizes)} and, in argument {i}, {len(array) if array.ndim else 'a single number'}"
                raise ValueError(f"the arguments must have one row for each example, got {got}")
            return da.from_array(array, chunks=(self.sizes, *array.shape[1:]))
        if leaf.dtype.kind not in "fiub":
            raise TypeError(f"argument {i} must be made of real numbers, got a dask array of {leaf.dtype}")
        if leaf.ndim == 0 or any(map(math.isnan, leaf.shape[1:])):
            raise ValueError(f"argument {i} must have rows of a known size, got a dask array of shape {leaf.shape}")
        if any(k != 1 for k in leaf.numblocks[1:]):
            leaf = leaf.rechunk(dict.fromkeys(range(1, leaf.ndim), -1))
        sizes = leaf.chunks[0]
        if any(map(math.isnan, sizes)) or not is_known:
            if len(sizes) != len(self.sizes):
                raise ValueError(
                    f"the arguments must have the same chunks where their sizes are unknown, got {len(self.sizes)} "
                    f"and, in argument {i}, {len(sizes)}: compute_chunk_sizes() finds them"
                )
            return leaf
        if sum(sizes) != sum(self.sizes):
            got = f"{sum(self.sizes)} and, in argument {i}, {sum(sizes)}"
            raise ValueError(f"the arguments must have one row for each example, got {got}")
        return leaf if sizes == self.sizes else leaf.rechunk({0: self.sizes})

    def with_leaves(self, leaves: Sequence[Any]) -> tuple[Any, ...]:
        """Return the arguments with other arrays in place of those that have rows."""
        left = iter(leaves)
        return tuple([
            a if i in self.shared else trees.map_leaves(lambda x: x if is_static(x) else next(left), a, _LEAVES)
            for i, a in enumerate(self.given)
        ])

    def recording(self) -> Recording:
        """Return the recording for these arguments; the first rows are computed only if there is none yet."""
        zeros = [np.zeros((1, *leaf.shape[1:]), leaf.dtype) for leaf in self.leaves]
        found: Recording | None = self.compiled._known_of_batch(
            Batch(self.with_leaves(zeros), self.shared), self.names, self.shared
        )
        if found is None:
            first = Batch(self.with_leaves(self._first_rows()), self.shared)
            found = self.compiled._of_batch(first, self.names, self.shared)
        return found

    def _first_rows(self) -> list[np.ndarray]:
        for i, size in enumerate(self.sizes):
            if size == 0:
                continue
            rows = dask.compute(*[leaf.to_delayed().ravel()[i][:1] for leaf in self.leaves])
            if all(map(len, rows)):
                return list(rows)
        raise ValueError("a batch must have at least one example, got none: all chunks are empty")

    def payload(self, recording: Recording) -> Payload:
        """Return the program of a recording as it travels."""
        found: Payload | None = recording.derived.get("payload")
        if found is None:
            found = recording.derived["payload"] = tasks.pack(recording.program)
        return found

    def point(self, recording: Recording, with_gradients: bool) -> Point:
        """Return the numbers of now."""
        numbers = np.array([p.data for p in recording.program.parameters], float)
        shared = None if self.theta is None else self.theta.row()[0]
        return Point(numbers, shared, with_gradients, origin_of(recording))

    def partial(self, with_gradients: bool) -> tuple[Recording, Partial]:
        """Return the sum over all chunks, by the tree of `combine`; and the recording that it is of."""
        recording = self.recording()
        payload, point = self.payload(recording), self.point(recording, with_gradients)
        client = current_client()
        found = None if client is None else self._by_place(client, payload, point)
        if found is None:
            found = self._by_graph(client, payload, point)
        if not found.count:
            raise ValueError("a batch must have at least one example, got none: all chunks are empty")
        return recording, found

    def _by_graph(self, client: Any, payload: Payload, point: Point) -> Partial:
        """Compute the parts as tasks behind those that make the chunks, each chunk alone."""
        sent = dask.delayed(payload, name=payload.name, traverse=False) if client is None else sent_to(client, payload)
        where = dask.delayed(point, name=f"microgradc-point-{next(_call_numbers)}", traverse=False)
        blocks = [leaf.to_delayed().ravel() for leaf in self.leaves]
        task, add = dask.delayed(tasks.part_of_chunk, pure=False), dask.delayed(combine, pure=False)
        level = [task(sent, where, i, list(chunk)) for i, chunk in enumerate(zip(*blocks, strict=True))]
        while len(level) > 1:
            level = [add(level[i : i + GROUP]) for i in range(0, len(level), GROUP)]
        return dask.compute(level[0])[0]

    def _by_place(self, client: Any, payload: Payload, point: Point) -> Partial | None:
        """Compute the parts where the chunks are; None if the chunks are not computed yet."""
        chunks = self._futures
        if chunks is None:
            return None
        names = tuple([leaf.name for leaf in self.leaves])
        groups: dict[str, list[int]] = {}
        for i, place in enumerate(places_of(client, names, [chunk[0] for chunk in chunks])):
            groups.setdefault(place, []).append(i)
        parts = None if "" in groups else parts_there(client, payload, point, groups, chunks)
        if parts is None:
            forget_places(client, names)
            sent = sent_to(client, payload)
            running = [
                client.submit(tasks.parts_of_chunks, sent, point, numbers, [chunks[i] for i in numbers], pure=False)
                for numbers in groups.values()
            ]
            parts = {}
            for numbers, found in zip(groups.values(), client.gather(running), strict=True):
                parts |= zip(numbers, found, strict=True)
        return combine([parts[i] for i in range(len(chunks))])

    @cached_property
    def _futures(self) -> list[list[Any]] | None:
        """For each chunk the futures of its arrays, if all are persisted on a cluster; else None."""
        from distributed import futures_of

        columns = []
        for leaf in self.leaves:
            known = {future.key: future for future in futures_of(leaf)}
            wanted = list(dask.core.flatten(leaf.__dask_keys__()))
            if len(leaf.__dask_graph__()) != len(wanted) or any(key not in known for key in wanted):
                return None
            columns.append([known[key] for key in wanted])
        return [list(chunk) for chunk in zip(*columns, strict=True)]

    def total(self, mean: bool) -> Any:
        """Return what `mean` or `sum` does: Values over the parameters."""
        recording, part = self.partial(is_grad_enabled())
        return value_of(recording, part, mean, shared_values(self.theta_values) if self.shared else None)

    def total_and_grad(self, mean: bool) -> tuple[float, Any]:
        """Return what `mean_value_and_grad` or `sum_value_and_grad` does."""
        recording = self.recording()
        recording.require_one_output()
        _, part = self.partial(True)
        factor = 1 / part.count if mean else 1.0
        assert part.shared_gradients is not None
        grads = gradients_in(part.shared_gradients * factor, layout_of(self.theta_values))
        return float(part.sum * factor), for_one(grads, self.theta_values)

    def map(self) -> Any:
        """Return what `map` does, as dask arrays with the same chunks, which are computed when they are wanted."""
        recording = self.recording()
        found = self._outputs(recording, False)
        parts, shape = recording.parts
        return trees.unflatten(shape, [
            _in_shape(found[:, part.first : part.first + math.prod(part.axes)], part.axes)
            if isinstance(part, Part) else part for part in parts
        ])

    def map_value_and_grad(self) -> tuple[Any, Any]:
        """Return what `map_value_and_grad` does, as dask arrays with the same chunks."""
        if self.shared:
            raise TypeError("map_value_and_grad of dask arrays takes no shared arguments: give them an axis for the "
                            "examples, or use mean_value_and_grad")
        recording = self.recording()
        recording.require_one_output()
        found = self._outputs(recording, True)
        grads, first = [], 1
        for leaf in self.leaves:
            size = math.prod(leaf.shape[1:])
            columns = found[:, first : first + size]
            grads.append(_in_shape(columns, leaf.shape[1:]))
            first += size
        made = tuple([None if is_static(a) else a for a in self.with_leaves(grads)])
        return found[:, 0], for_one(made, self.given)

    def _outputs(self, recording: Recording, with_gradients: bool) -> Any:
        """Return the outputs of all rows, and perhaps gradients, as one dask array of columns."""
        program = recording.program
        payload, point = self.payload(recording), self.point(recording, with_gradients)
        width = program.output_count + with_gradients * program.input_count
        return outputs_of_rows(payload, point, self.leaves, width)

    def turns(self, turns: Any, seed: Any) -> ChunkTurns:
        """Return the steps of a training over the chunks, for `f.train`."""
        return ChunkTurns(self, turns, seed)

    def computed(self, i: int) -> tuple[tuple[Any, ...], dict[str, Any], int]:
        """Return the arguments of chunk i, in this process, by place and by name; and how many rows it has."""
        arrays = dask.compute(*[leaf.to_delayed().ravel()[i] for leaf in self.leaves])
        _, n = tasks.rows_of(arrays, i)
        args = tuple(map(unwrapped, self.with_leaves(arrays)))
        by_place = len(args) - len(self.names)
        return args[:by_place], dict(zip(self.names, args[by_place:], strict=True)), n


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
        point = Point(np.array([p.data for p in program.parameters], float), None, False, Origin((), ""))
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


def shared_values(theta: tuple[Any, ...]) -> list[Any] | None:
    """Return for each number of the shared arguments the Value that it was read from, or None."""
    leaves = [leaf for leaf in trees.flatten(theta, STATIC)[0] if not is_static(leaf)]
    values = [leaf if isinstance(leaf, Value) else None for leaf in leaves]
    return values if any(v is not None for v in values) else None


def _in_shape(columns: Any, shape: tuple[int, ...]) -> Any:
    """Return columns of a dask array with the axes of an argument or a result."""
    if len(shape) == 1:
        return columns
    return columns.map_blocks(
        _reshaped, shape, dtype=float, drop_axis=1, new_axis=list(range(1, len(shape) + 1)) or None,
        chunks=(columns.chunks[0], *[(size,) for size in shape]),
    )  # fmt: skip


def _reshaped(block: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    return block.reshape(len(block), *shape)
