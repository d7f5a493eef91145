"""Sums over parts of a batch: numbers that can be made anywhere, sent, and added up by a fixed tree."""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import sha256
from itertools import zip_longest
from typing import Any, NamedTuple

import numpy as np

from microgradc.cells import never_fails, one_line
from microgradc.engine import is_tracing, refuse
from microgradc.engine.value import is_grad_enabled
from microgradc.program import keys
from microgradc.program.arguments import Arguments, is_static
from microgradc.program.batch import BATCHES, Batch
from microgradc.program.carried import here, portable
from microgradc.program.program import Example, Program, recorded_graph, values_of_sums
from microgradc.program.recording import Recording, Recordings
from microgradc.trees import flatten, map_leaves

__all__ = ["Partial", "Partials", "combine"]


class Origin(NamedTuple):
    """Of what function and arguments a part is."""

    key: keys.Key       # what the arguments look like
    program: str        # the operations and their operands, by their hash; without the numbers


class Partial:
    """What a function comes to over a part of a batch: numbers alone, which can be pickled. See `Compiled.partial`.

    Attributes:
        count: how many examples there were; 0 for an empty part, which adds nothing.
        sum: the sum of the function over them, a float; float64 of shape (k,) if it returns k numbers.
        gradients: those of the sum, in the order of `f.program(…).parameters`, float64 of shape (p,); (k, p) if the
            function returns k numbers. None if they were not wanted, within `no_grad`.
        shared_gradients: the same in the numbers of the shared arguments, float64 of shape (s,) or (k, s), or None.
    """

    gradients: np.ndarray | None
    shared_gradients: np.ndarray | None
    count: int
    sum: Any

    __slots__ = ("_origin", "count", "gradients", "shared_gradients", "sum")

    def __init__(
        self, count: int, sum: Any, gradients: np.ndarray | None, shared_gradients: np.ndarray | None, origin: Origin
    ) -> None:
        self.count, self.sum, self.gradients, self.shared_gradients = count, sum, gradients, shared_gradients
        self._origin = origin

    @property
    def mean(self) -> Any:
        """The sum by the count; nan for an empty part."""
        return self.sum / self.count if self.count else self.sum * float("nan")

    def __reduce__(self) -> Any:
        return Partial, (self.count, self.sum, self.gradients, self.shared_gradients, self._origin)

    @never_fails
    def __repr__(self) -> str:
        return f"<Partial: {self.count} examples, sum {one_line(str(self.sum), 60)}>"

    def is_like(self, other: Partial) -> bool:
        """Return whether the other may be of the same function."""
        return self._origin == other._origin and np.shape(self.sum) == np.shape(other.sum) and all(
            x is None or y is None or x.shape == y.shape
            for x, y in [(self.gradients, other.gradients), (self.shared_gradients, other.shared_gradients)]
        )


def combine(parts: Iterable[Partial]) -> Partial:
    """Return the sum of parts, which is a part again.

    They are added by a fixed binary tree: neighbours, (0, 1), (2, 3), …, then these pairs, and so on; what is left over
    at the end goes up as it is. So the bits depend on the parts and their order alone, not on who adds them; and
    `combine([combine(parts[:16]), combine(parts[16:])])` has the bits of `combine(parts)`, for 16 as for each power of
    2. Empty parts add nothing.

    Raises:
        ValueError: there are no parts, or they are of different functions or arguments.
        TypeError: one is not a `Partial`.

    >>> import microgradc
    >>> f = microgradc.compile(lambda x: x * x)
    >>> combine([f.partial([1.0, 2.0]), f.partial([3.0])])
    <Partial: 3 examples, sum 14.0>
    """
    level = list(parts)
    for i, part in enumerate(level):
        if not isinstance(part, Partial):
            raise TypeError(f"parts[{i}] must be what f.partial returned, got {type(part).__name__} {part!r:.40}")
        if not level[0].is_like(part):
            raise ValueError(f"parts[{i}] is of another function, or of other arguments, than parts[0]")
    if not level:
        raise ValueError("there must be at least one part, got none")
    while len(level) > 1:
        level = [a if b is None else _added(a, b) for a, b in zip_longest(level[::2], level[1::2])]
    return level[0]


def _added(a: Partial, b: Partial) -> Partial:
    if not a.count or not b.count:
        return a if a.count else b
    return Partial(
        a.count + b.count, a.sum + b.sum, _sum(a.gradients, b.gradients),
        _sum(a.shared_gradients, b.shared_gradients), a._origin,
    )  # fmt: skip


def _sum(x: np.ndarray | None, y: np.ndarray | None) -> np.ndarray | None:
    return None if x is None or y is None else x + y


class Partials:
    """These methods of `Compiled`."""

    _f: Any
    _arguments: Arguments
    _recordings: Recordings

    def _batch(
        self, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[Recording, tuple[np.ndarray, ...], int, list[Any] | None, Example | None]:
        raise NotImplementedError

    def _of_batch(self, batch: Batch, names: tuple[str, ...], shared: frozenset[int]) -> Recording:
        raise NotImplementedError

    def partial(self, *args: Any, **kwargs: Any) -> Partial:
        """Return the sum over a part of a batch and its gradients, as numbers: to be sent, and added to others.

        `f.mean_of(parts)` and `f.sum_of(parts)` are Values again; `microgradc.combine(parts)` adds parts up before.

        Args:
            args, kwargs: as for `mean`; numbers alone. A part may be empty: arrays with no row.

        Returns:
            A `Partial`, with `count`, `sum`, `mean`, `gradients` and `shared_gradients`.

        Raises:
            TypeError, ValueError, IndexError, CompileError: see `mean`. There are Values among the examples.

        >>> import microgradc
        >>> w = Value(3.0)
        >>> f = microgradc.compile(lambda x: w * x)
        >>> part = f.partial([1.0, 2.0])
        >>> part.count, part.sum, part.gradients.tolist()
        (2, 9.0, [3.0])
        """
        if is_tracing():
            refuse("f.partial")
        given, names = self._arguments.given(args, kwargs)
        shared = self._arguments.shared_in(len(given), names)
        with_gradients = is_grad_enabled()
        one = one_for_none(given, shared)
        if one is not None:
            recording = self._of_batch(Batch(one, shared), names, shared)
            return empty_part(recording.program, with_gradients, origin_of(recording))
        recording, arrays, n, values, example = self._batch(args, kwargs)
        if values is not None:
            raise TypeError(
                "f.partial takes the numbers of the examples: Values among them would get no gradients; give "
                "microgradc.to_numpy(…), or share what is to be fitted, compile(f, shared=(name,))"
            )
        return partial_of(recording.program, arrays, n, example, with_gradients, origin_of(recording))

    def mean_of(self, parts: Partial | Iterable[Partial]) -> Any:
        """Return the mean over all examples of parts, a Value whose `backward()` reaches the parameters.

        The parts may come from other processes: they need nothing but the same function. They are added up as by
        `microgradc.combine`.

        Args:
            parts: what `partial` returned, in an order that is always the same; or one of them.

        Returns:
            What `mean` returns. Shared arguments get no gradients: see `Partial.shared_gradients`.

        Raises:
            ValueError: there are no examples; the parts are of different functions, or not of this one; they have no
                gradients, as they were made within `no_grad`, and gradients are enabled.
            TypeError: something among parts is not a `Partial`.

        >>> import microgradc
        >>> w = Value(3.0)
        >>> f = microgradc.compile(lambda x: w * x)
        >>> mean = f.mean_of([f.partial([1.0, 2.0]), f.partial([6.0])])
        >>> mean.backward()
        >>> mean.data, w.grad
        (9.0, 3.0)
        """
        part = parts if isinstance(parts, Partial) else combine(parts)
        return value_of(self._recording_of(part), part, mean=True)

    def sum_of(self, parts: Partial | Iterable[Partial]) -> Any:
        """Return the sum over all examples of parts, a Value. See `mean_of`."""
        part = parts if isinstance(parts, Partial) else combine(parts)
        return value_of(self._recording_of(part), part, mean=False)

    def _recording_of(self, part: Partial) -> Recording:
        """Return the recording for arguments such as a part was made of, which may have been elsewhere."""
        known = (
            recording
            for recording in reversed(list(self._recordings.used))
            if any(key_of_example(key) == part._origin.key for key in recording.keys if isinstance(key[0], bytes))
        )
        found = next(known, None)
        if found is None or not found.is_current():
            key = here(part._origin.key)
            names, shared = (*key[2:], (), frozenset())[:2]
            if b"<" in key[0]:
                raise ValueError(
                    f"{getattr(self, '__qualname__', 'the function')} was not called in this process yet with such "
                    f"arguments as the parts are of, ({keys.in_words(key)}): call it once"
                )
            found = self._recordings.record(key, keys.layout_of(key).arguments(), names, shared)
        return found


def partial_of(
    program: Program,
    arrays: tuple[np.ndarray, ...],
    n: int,
    shared: Example | None,
    with_gradients: bool,
    origin: Origin,
    parameters: np.ndarray | None = None,
    threads: int = 0,
) -> Partial:
    """Return the part that n examples are.

    Args:
        arrays, shared, parameters, threads: see `Program.run`.
        origin: what `origin_of` returned.
    """
    count, s = program.output_count, program.shared_count
    if not with_gradients:
        sums, *_ = program.run(arrays, None, False, False, shared, parameters, threads)
        return Partial(n, sums[0] if count == 1 else np.array(sums), None, None, origin)
    rows = []
    for i in range(count):
        seeds = [-0.0] * count      # which nobody takes for a gradient
        seeds[i] = 1.0
        sums, _, grads, _ = program.run(arrays, seeds, False, False, shared, parameters, threads)
        rows.append(grads)
    if count == 1:
        return Partial(n, sums[0], rows[0][s:], rows[0][:s], origin)
    gradients = np.array(rows)
    return Partial(n, np.array(sums), gradients[:, s:], gradients[:, :s], origin)


def empty_part(program: Program, with_gradients: bool, origin: Origin) -> Partial:
    """Return the part that no examples are."""
    axes = () if program.output_count == 1 else (program.output_count,)
    total = np.zeros(axes) if axes else 0.0
    if not with_gradients:
        return Partial(0, total, None, None, origin)
    s, p = program.shared_count, len(program.parameters)
    return Partial(0, total, np.zeros((*axes, p)), np.zeros((*axes, s)), origin)


def value_of(recording: Recording, part: Partial, mean: bool, shared_values: list[Any] | None = None) -> Any:
    """Return a part as Values over the parameters, in the shape of what the function returns.

    Args:
        mean: whether to divide it by its count.
        shared_values: for each number of the shared arguments the Value that it was read from, or None.
    """
    program = recording.program
    if not part.count:
        raise ValueError("there must be at least one example, got empty parts alone")
    if part.gradients is None and is_grad_enabled():
        raise ValueError("the parts have no gradients, as they were made within no_grad: make them with gradients, or "
                         "take their sum within no_grad, too")
    factor = 1 / part.count if mean else 1.0
    sums = np.atleast_1d(np.asarray(part.sum, float)) * factor
    gradients = None
    if part.gradients is not None and part.shared_gradients is not None:
        both = np.concatenate([part.shared_gradients, part.gradients], axis=-1)
        gradients = np.ascontiguousarray(np.atleast_2d(both)) * factor
    wanted = program.output_count, program.shared_count + len(program.parameters)
    if len(sums) != wanted[0] or (gradients is not None and gradients.shape != wanted):
        got = f"{len(sums)} numbers and {0 if gradients is None else gradients.shape[1]} gradients"
        raise ValueError(f"the parts are of another function: this one has {wanted[0]} results and {wanted[1]} "
                         f"parameters, they have {got}")
    if origin_of(recording).program != part._origin.program:
        raise ValueError("the parts are of another function: one with other operations")
    return recording.rebuild(values_of_sums(program, sums.tolist(), gradients, shared_values))


def origin_of(recording: Recording) -> Origin:
    """Return of what the parts are that a recording makes, to be sent anywhere."""
    found: Origin | None = recording.derived.get("origin")
    if found is None:
        reduced: Any = recorded_graph(recording.program).__reduce__()
        *_, names, ops, counts, operands, leaves, _, outputs, _ = reduced[1]
        seen = sha256(repr(names).encode())
        for numbers in (ops, counts, operands, leaves, outputs):
            seen.update(numbers)
        key = key_of_example(next(key for key in recording.keys if isinstance(key[0], bytes)))
        found = recording.derived["origin"] = Origin(key, seen.hexdigest())
    return found


def key_of_example(key: keys.Key) -> keys.Key:
    """Return a key of an example, to be sent anywhere."""
    return portable(keys.plain(key))


def one_for_none(given: tuple[Any, ...], shared: frozenset[int]) -> tuple[Any, ...] | None:
    """Return arguments of one example, all 0, if the given ones are arrays that have none; else None."""
    leaves = [leaf for i, a in enumerate(given) if i not in shared for leaf in flatten(a, BATCHES)[0]]
    arrays = [leaf for leaf in leaves if not is_static(leaf)]
    if not arrays or any(not isinstance(a, np.ndarray) or a.ndim == 0 or len(a) for a in arrays):
        return None
    return tuple([
        a if i in shared else map_leaves(
            lambda leaf: leaf if is_static(leaf) else np.zeros((1, *leaf.shape[1:]), leaf.dtype), a, BATCHES
        )
        for i, a in enumerate(given)
    ])  # fmt: skip
