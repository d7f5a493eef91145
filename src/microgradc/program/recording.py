"""Recordings: a function is called with Values in place of numbers, again with other numbers, and then as it is."""

from __future__ import annotations

import math
import warnings
import weakref
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import numpy as np

from microgradc import changes, checks, trees
from microgradc.engine import CompileError, Input, IntegerInput, Trace, Value
from microgradc.engine.value import plain_number
from microgradc.program.arguments import STATIC, call, is_static, unwrapped
from microgradc.program.graph import Graph
from microgradc.program.layouts import LEAVES, Layout, Part, gradients_in, layout_of, list_or_axis
from microgradc.program.plain_calls import leaves_of, plain_call, without_values
from microgradc.program.program import Program, Static, Watch, recorded_graph
from microgradc.program.reached import Reached
from microgradc.program.scan import scans_recorded

TOLERANCE = 1e-9     # of the largest number on the way
INTEGER_END = 2.0**63    # NumPy's integers wrap around from here on


class Recordings:
    """The recordings of a function, by the shape of the arguments: those that were used last.

    Args:
        f: the function.
        lanes: see `Program`.
        limit: how many to keep.
    """

    f: Callable[..., Any]
    lanes: int | None
    limit: int
    has_warned: bool

    def __init__(self, f: Callable[..., Any], lanes: int | None, limit: int) -> None:
        self.f, self.lanes, self.limit = f, lanes, limit
        self.clear()
        self.has_warned = False

    def clear(self) -> None:
        """Forget all."""
        self.known: dict[Any, Recording] = {}
        self.used: dict[Recording, None] = {}      # that which was not used for longest comes first
        self.latest: Recording | None = None

    def emptied(self) -> Recordings:
        """Return the same without recordings."""
        return Recordings(self.f, self.lanes, self.limit)

    def find(self, key: Any) -> Recording | None:
        """Return the recording for a key, unless something was changed since that the function may look at."""
        recording = self.known.get(key)
        if recording is None or recording.change is not changes.latest or not recording.watch:
            return None
        if recording is not self.latest:
            self.use(recording)
        return recording

    def record(
        self, key: Any, args: tuple[Any, ...], names: tuple[str, ...] = (), shared: frozenset[int] = frozenset()
    ) -> Recording:
        """Return the recording for a key that was not found: the one there is if the function does the same still.

        Args:
            key: of an `Example`; where the last arguments have names, with these.
            args, names: see `Arguments.given`.
            shared: which of the arguments have no axis in a batch, for the recording of one.
        """
        recording = self.known.get(key)
        if recording is not None and recording.still_holds(self.f, args):
            self.use(recording)
            return recording
        keep_layout = not any(map(_is_reference, key[1]))
        renewed = Recording(self.f, args, names, shared, self.lanes, keep_layout)
        if recording is not None:
            self._forget(recording)
        self.use(renewed)
        self.also(key, renewed)
        if len(self.used) > self.limit:
            self._drop_oldest()
        return renewed

    def also(self, key: Any, recording: Recording) -> None:
        """Let a recording be found by one more key."""
        if key not in recording.keys:
            recording.keys.append(key)
        self.known[key] = recording

    def use(self, recording: Recording) -> None:
        """Say that a recording was used."""
        self.used.pop(recording, None)
        self.used[recording] = None
        self.latest = recording

    def _forget(self, recording: Recording) -> None:
        self.used.pop(recording, None)
        for key in recording.keys:
            if self.known.get(key) is recording:
                del self.known[key]

    def _drop_oldest(self) -> None:
        oldest, newest = next(iter(self.used)), next(reversed(self.used))
        self._forget(oldest)
        if not self.has_warned:
            self.has_warned = True
            warnings.warn(
                f"{_name(self.f)} was recorded for more than {self.limit} shapes of arguments, the last of them "
                f"{_shown(newest.keys[0])} and the first {_shown(oldest.keys[0])}: the recording that was not used for "
                "longest goes, and is made anew when it is needed. Give arguments of few shapes (pad lists to some "
                f"lengths), or compile(f, recordings=…) more than {self.limit}",
                RuntimeWarning,
                stacklevel=4,
            )


class Recording:
    """A function's program for one shape of arguments, and the shape of what it returns.

    It holds no object of the caller's but what is static, and what the function reaches by itself.

    Args:
        f: the function.
        args: the arguments of one example, as `Arguments.given` returns them.
        names: of the last of them.
        shared: which of them are shared inputs of the program.
        lanes: see `Program`.
        keep_layout: whether to keep the shape of the arguments; not where it has objects of the caller's.
    """

    layout: Layout | None
    shape: trees.Shape
    parts: tuple[list[Part], trees.Shape]
    names: tuple[str, ...]
    shared: frozenset[int]
    statics: list[Any]
    program: Program
    constants: list[tuple[int, Any]]
    has_one_output: bool
    is_list: bool       # whether what it returns is a list of Values
    axes: Any
    change: object

    def __init__(
        self,
        f: Callable[..., Any],
        args: tuple[Any, ...],
        names: tuple[str, ...],
        shared: frozenset[int],
        lanes: int | None,
        keep_layout: bool,
    ) -> None:
        self.names, self.shared = names, shared
        self.statics = [leaf.value for leaf in trees.flatten(args, LEAVES)[0] if isinstance(leaf, Static)]
        reached = Reached(f, self.statics, saves=True)
        numbers = trees.map_leaves(without_values, args, LEAVES)
        try:
            with np.errstate(all="ignore"):
                with scans_recorded() as scans:
                    first = _trace(f, numbers, names, shared, change=False)
                if not first.values:
                    raise TypeError(
                        "a compiled function must return a Value, or lists, tuples, dicts and dataclasses of them, "
                        f"got {first.returned!r:.60}"
                    )
                self.program = Program(first.values, first.inputs, lanes=lanes, shared=first.shared)
                second = _trace(f, numbers, names, shared, change=True)
                same_result = first.shape == second.shape and first.constants == second.constants
                if not same_result or not self.program.has_same_graph(
                    second.values, second.inputs, again=True, shared=second.shared
                ):
                    raise CompileError(
                        f"{_name(f)} did something else when it was called again with other numbers, so "
                        "it cannot be replayed: it draws random numbers, or changes what it uses, or looks at its "
                        "numbers; compute such things outside, and pass them as arguments"
                    )
                self._compare(f, args, numbers, first, scans)
        finally:
            reached.restore()
        self._set_shape(second.shape, second.constants)    # the graphs are not needed any more
        self.layout = layout_of(args) if keep_layout else None
        self.keys: list[Any] = []        # in Recordings
        self.derived: dict[Any, Any] = {}        # programs of derivatives, by what they compute
        self.known_parts: tuple[list[Part], trees.Shape] | None = None
        self.renew_watch(f)

    @classmethod
    def of_program(
        cls,
        program: Program,
        shape: trees.Shape,
        args: tuple[Any, ...] | None,
        names: tuple[str, ...] = (),
        shared: frozenset[int] = frozenset(),
        constants: Iterable[tuple[int, Any]] = (),
    ) -> Recording:
        """Return a recording of a function that is not there: it looks at nothing.

        Args:
            program: what the function does.
            shape: of what it returns.
            args: arguments that look like those of an example, or None if they have objects of the caller's.
            names, shared: of the arguments, see `Recording`.
            constants: what it returns besides, that is no number, with its places.
        """
        made = cls.__new__(cls)
        made.program = program
        made.names, made.shared, made.statics = names, shared, []
        made._set_shape(shape, list(constants))
        made.layout = None if args is None else layout_of(args)
        made.keys, made.derived, made.known_parts = [], {}, None
        made.change, made.watch = changes.latest, Watch([], [], [], [], [], [])
        return made

    def _set_shape(self, shape: trees.Shape, constants: list[tuple[int, Any]]) -> None:
        self.shape, self.constants = shape, constants
        self.has_one_output = shape == trees.LEAF
        count = self.program.output_count
        self.is_list = not constants and shape.steps == (trees.Step(list, count), *[None] * count)
        columns = self._with_constants([Part(i, ()) for i in range(self.program.output_count)])
        self.parts = trees.flatten(trees.unflatten(shape, columns, list_or_axis), (Part,))
        # Where the results are one array, the shape of an example in it.
        self.axes = self.parts[0][0].axes if self.parts[1] == trees.LEAF else None

    def _compare(
        self, f: Callable[..., Any], args: tuple[Any, ...], numbers: Any, traced: _Traced, scans: list[Any]
    ) -> None:
        """Raise CompileError unless a plain call gives the numbers that the recording had."""
        largest = self.program.largest_number()
        try:
            found = plain_call(f, args, self.names, largest >= INTEGER_END, scans)
        except Exception:
            if not self.shared:
                row = [plain_number(x) for x in trees.flatten(numbers, STATIC)[0] if not is_static(x)]
                self.program(np.array([row]))    # an index that is out of range: says for which example
            raise
        limit = TOLERANCE * largest
        wanted = [v.data for v in traced.values]
        if len(found) != len(wanted):
            parting = f"it returns {len(found)} numbers, and the recording {len(wanted)}"
        else:
            for i, (x, y) in enumerate(zip(found, wanted, strict=True)):
                if not (x == y or abs(x - y) <= limit or (math.isnan(x) and math.isnan(y))):
                    which = f"number {i} of the {len(wanted)}" if len(wanted) > 1 else "the number"
                    parting = f"{which} that it returns is {x!r}, and {y!r} in the recording"
                    break
            else:
                return
        raise CompileError(
            f"{_name(f)} does something else when it is called with the numbers of an example than when it is "
            f"recorded with Values in their place: {parting}. It may ask for the type of its arguments "
            "(isinstance, hasattr), make text of them, catch errors, or change what it uses from call to call; "
            "do such things outside, or in a way that does not depend on it"
        )

    def is_of_numbers(self, or_names: bool = False) -> bool:
        """Return whether arguments and results are numbers, each with its place, or a name, none of them static or
        shared."""
        has_static = any(isinstance(key[0], bytes) and b"s" in key[0] for key in self.keys)
        return not ((self.names and not or_names) or self.shared or self.statics or self.constants or has_static)

    def has_indices(self) -> bool:
        """Return whether the function picks by an index: programs of its derivatives may not look at it."""
        found: bool | None = self.derived.get("has indices")
        if found is None:
            found = self.derived["has indices"] = _picks(recorded_graph(self.program))
        return found

    def is_current(self) -> bool:
        """Return whether nothing was changed since this was recorded that a function may look at."""
        return self.change is changes.latest and bool(self.watch)

    def still_holds(self, f: Callable[..., Any], args: tuple[Any, ...]) -> bool:
        """Return whether the function, called again, does what it did; if so, it is current again."""
        if not has_same_graph(self.program, f, args, self.names, self.shared, self.statics):
            return False
        self.renew_watch(f)
        return True

    def renew_watch(self, f: Callable[..., Any]) -> None:
        """Remember what the function reaches now: after its calls, which may set attributes."""
        self.change = changes.latest
        self.watch: Watch = Reached(f, self.statics).watch()

    def rebuild(self, values: list[Value]) -> Any:
        """Return Values in the shape of what the function returned; a list of them may be the given one."""
        if self.has_one_output or self.is_list:
            return values if self.is_list else values[0]
        return trees.unflatten(self.shape, self._with_constants(values))

    def _with_constants(self, results: list[Any]) -> list[Any]:
        """Return results, and between them what the function returns that is no Value: None, texts."""
        if self.constants:
            results = list(results)
            for i, leaf in self.constants:
                results.insert(i, leaf)
        return results

    def rebuild_arrays(self, results: np.ndarray) -> Any:
        """Return the columns of results in the shape of what the function returned: a list becomes an axis."""
        parts, shape = self.parts
        return trees.unflatten(shape, [part.of(results) if isinstance(part, Part) else part for part in parts])

    def gradients(self, row: np.ndarray, args: tuple[Any, ...]) -> Any:
        """Return the numbers of a row in the shape of the arguments: a list becomes an array if it has equal rows."""
        return gradients_in(row, self.layout or layout_of(args))

    def argument_parts(self, args: tuple[Any, ...]) -> tuple[list[Part], trees.Shape]:
        """Return where the numbers of the arguments are in a row: the parts, and the shape of the arguments."""
        if self.known_parts is not None:
            return self.known_parts
        layout, shape = self.layout or layout_of(args)
        parts, first = [], 0
        for size_and_shape in layout:
            size, axes = size_and_shape or (1, ())
            parts.append(Part(first, axes))
            first += size
        found = trees.flatten(trees.unflatten(shape, parts, list_or_axis), (Part,))
        if self.layout is not None:
            self.known_parts = found
        return found

    def require_one_output(self) -> None:
        """Raise ValueError unless the function returned a single Value."""
        if not self.has_one_output:
            raise ValueError("the function must return one Value for this, it returned several")


def _picks(graph: Graph) -> bool:
    """Return whether there is a `take` in a graph, or in a loop of it."""
    return any(op == "take" for op, _, _ in graph) or any(_picks(loop.body) for loop in graph.all_loops)


class _Traced(NamedTuple):
    """What a function did when it was called with Values in place of numbers."""

    returned: Any
    values: list[Value]     # in what it returned; none if there was something else
    shape: trees.Shape      # of what it returned
    constants: list[tuple[int, Any]]    # the leaves of it that are no numbers, with their places
    inputs: list[Value]
    shared: list[Value]


def has_same_graph(
    program: Program,
    f: Callable[..., Any],
    args: tuple[Any, ...],
    names: tuple[str, ...] = (),
    shared: frozenset[int] = frozenset(),
    statics: Iterable[Any] = (),
) -> bool:
    """Return whether a function, called again, does what a program was recorded from.

    Raises:
        CompileError: it does what cannot be replayed.
    """
    reached = Reached(f, statics, saves=True)
    try:
        with np.errstate(all="ignore"):
            traced = _trace(f, trees.map_leaves(without_values, args, LEAVES), names, shared, change=True)
        same_count = len(traced.values) == program.output_count
        return same_count and program.has_same_graph(traced.values, traced.inputs, shared=traced.shared)
    finally:
        reached.restore()


def _trace(
    f: Callable[..., Any], args: tuple[Any, ...], names: tuple[str, ...], shared: frozenset[int], change: bool
) -> _Traced:
    """Call f with Values in place of the numbers in args; if change, of others."""
    inputs: list[Value] = []
    shared_inputs: list[Value] = []

    def new_input(number: Any) -> Any:
        if is_static(number):
            return unwrapped(number)
        inputs.append(Input(number) if checks.as_integer(number) is None else IntegerInput(number))
        return inputs[-1]

    def new_shared_input(number: Any) -> Any:
        if is_static(number):
            return unwrapped(number)
        shared_inputs.append(Input(number))     # no index: that is another one for each example, or static
        return shared_inputs[-1]

    traced = [
        trees.map_leaves(new_shared_input if i in shared else new_input, a, STATIC) for i, a in enumerate(args)
    ]
    if change:
        for v in [*inputs, *shared_inputs]:
            # An index stays one. What is not is another number, of the other sign.
            v.data = 0.7 * v.data if isinstance(v, IntegerInput) else math.copysign(0.7 * abs(v.data) + 0.1, -v.data)
    with Trace() as trace:
        returned = call(f, traced, names)
    if trace.refused is not None:
        raise CompileError(f"{trace.refused}\n  {_name(f)} caught this error, and went on")
    leaves, shape = leaves_of(returned)
    constants = [(i, leaf) for i, leaf in enumerate(leaves) if is_static(leaf)]
    try:
        values = [v if isinstance(v, Value) else Value(v) for v in leaves if not is_static(v)]
    except TypeError:
        values = []
    return _Traced(returned, values, shape, constants, inputs, shared_inputs)


def _name(f: Any) -> str:
    return getattr(f, "__qualname__", None) or f"{f!r:.60}"


def _is_reference(name: Any) -> bool:
    return isinstance(name, (weakref.ref, tuple))


def _shown(key: tuple[bytes, tuple[Any, ...]]) -> str:
    """Return the shape of arguments: f a number, i an integer, [...] a list, and so on, as in `Example`."""
    text = key[0].decode()
    return text if len(text) <= 40 else f"{text[:30]}… ({len(text)} characters)"
