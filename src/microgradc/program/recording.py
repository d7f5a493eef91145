"""Recordings: a function is called with Values in place of numbers, again with other numbers, and then as it is."""

from __future__ import annotations

import math
import threading
import warnings
import weakref
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from microgradc import changes, checks, trees
from microgradc.engine import CompileError, EnableGrad, Input, IntegerInput, Trace, Value, no_grad
from microgradc.engine.value import plain_number
from microgradc.program.calculus import NoGraphError
from microgradc.program.program import Program, Watch
from microgradc.program.reached import Reached

ARRAYS = (np.ndarray,)
TOLERANCE = 1e-9     # of the largest number on the way
INTEGER_END = 2.0**63    # NumPy's integers wrap around from here on
_thread = threading.local()     # trying: whether this thread makes the plain call of a recording


class Recordings:
    """The recordings of a function, by the shape of the arguments: those that were used last.

    Args:
        f: the function.
        lanes: see `Program`.
        limit: how many to keep.
    """

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

    def record(self, key: Any, args: tuple[Any, ...]) -> Recording:
        """Return the recording for a key that was not found: the one there is if the function does the same still."""
        recording = self.known.get(key)
        if recording is not None and recording.still_holds(self.f, args):
            self.use(recording)
            return recording
        renewed = Recording(self.f, args, self.lanes, keep_layout=not any(map(_is_reference, key[1])))
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


def is_trying() -> bool:
    """Return whether this thread calls a function plainly, to compare it with its recording."""
    return getattr(_thread, "trying", False)


class Recording:
    """A function's program for one shape of arguments, and the shape of what it returns.

    It holds no object of the caller's but what the function reaches by itself.

    Args:
        f: the function.
        args: the arguments of one example, as the caller gave them.
        lanes: see `Program`.
        keep_layout: whether to keep the shape of the arguments; not where it has objects of the caller's.
    """

    def __init__(self, f: Callable[..., Any], args: tuple[Any, ...], lanes: int | None, keep_layout: bool) -> None:
        reached = Reached(f)
        numbers = trees.map_leaves(without_values, args, ARRAYS)
        try:
            with np.errstate(all="ignore"):
                first = _trace(f, numbers, change=False)
                if not first.values:
                    raise TypeError(
                        "a compiled function must return a Value, or lists, tuples, dicts and dataclasses of them, "
                        f"got {first.returned!r:.60}"
                    )
                self.program = Program(first.values, first.inputs, lanes=lanes)
                second = _trace(f, numbers, change=True)
                if not self.program.has_same_graph(second.values, second.inputs, again=True):
                    raise CompileError(
                        f"{_name(f)} did something else when it was called again with other numbers, so "
                        "it cannot be replayed: it draws random numbers, or changes what it uses, or looks at its "
                        "numbers; compute such things outside, and pass them as arguments"
                    )
                self._compare(f, args, numbers, first)
        finally:
            reached.restore()
        self.shape = second.shape        # the graphs are not needed any more
        self.has_one_output = self.shape == trees.LEAF
        columns = [_Part(i, ()) for i in range(self.shape.leaf_count)]
        self.parts = trees.flatten(trees.unflatten(self.shape, columns, _list_or_axis), (_Part,))
        # Where the results are one array, the shape of an example in it.
        self.axes = self.parts[0][0].axes if self.parts[1] == trees.LEAF else None
        self.layout = _layout(args) if keep_layout else None
        self.keys: list[Any] = []        # in Recordings
        self.derived: dict[str, Any] = {}        # programs of derivatives, by what they compute
        self.known_parts: tuple[list[_Part], trees.Shape] | None = None
        self.renew_watch(f)

    def _compare(self, f: Callable[..., Any], args: tuple[Any, ...], numbers: Any, traced: _Traced) -> None:
        """Raise CompileError unless a plain call gives the numbers that the recording had."""
        largest = self.program.largest_number()
        try:
            found = _plain_call(f, args, may_wrap=largest >= INTEGER_END)
        except Exception:
            row = [plain_number(x) for x in trees.flatten(numbers)[0]]
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

    def is_current(self) -> bool:
        """Return whether nothing was changed since this was recorded that a function may look at."""
        return self.change is changes.latest and bool(self.watch)

    def still_holds(self, f: Callable[..., Any], args: tuple[Any, ...]) -> bool:
        """Return whether the function, called again, does what it did; if so, it is current again."""
        if not has_same_graph(self.program, f, args):
            return False
        self.renew_watch(f)
        return True

    def renew_watch(self, f: Callable[..., Any]) -> None:
        """Remember what the function reaches now: after its calls, which may set attributes."""
        self.change = changes.latest
        self.watch: Watch = Reached(f).watch()

    def rebuild(self, values: list[Value]) -> Any:
        """Return Values in the shape of what the function returned."""
        return values[0] if self.has_one_output else trees.unflatten(self.shape, values)

    def rebuild_arrays(self, results: np.ndarray) -> Any:
        """Return the columns of results in the shape of what the function returned: a list becomes an axis."""
        parts, shape = self.parts
        return trees.unflatten(shape, [part.of(results) for part in parts])

    def gradients(self, row: np.ndarray, args: tuple[Any, ...]) -> Any:
        """Return the numbers of a row in the shape of the arguments: a list becomes an array if it has equal rows."""
        found: list[Any] = []
        numbers = row.tolist()
        start = 0
        leaves, shape = self.layout or _layout(args)
        for size_and_shape in leaves:
            if size_and_shape is None:
                found.append(numbers[start])
                start += 1
            else:
                size, array_shape = size_and_shape
                found.append(row[start : start + size].reshape(array_shape).copy())
                start += size
        return trees.unflatten(shape, found, _array_if_possible)

    def argument_parts(self, args: tuple[Any, ...]) -> tuple[list[_Part], trees.Shape]:
        """Return where the numbers of the arguments are in a row: the parts, and the shape of the arguments."""
        if self.known_parts is not None:
            return self.known_parts
        layout, shape = self.layout or _layout(args)
        parts, first = [], 0
        for size_and_shape in layout:
            size, axes = size_and_shape or (1, ())
            parts.append(_Part(first, axes))
            first += size
        found = trees.flatten(trees.unflatten(shape, parts, _list_or_axis), (_Part,))
        if self.layout is not None:
            self.known_parts = found
        return found

    def require_one_output(self) -> None:
        """Raise ValueError unless the function returned a single Value."""
        if not self.has_one_output:
            raise ValueError("the function must return one Value for this, it returned several")


class _Traced(NamedTuple):
    """What a function did when it was called with Values in place of numbers."""

    returned: Any
    values: list[Value]     # in what it returned; none if there was something else
    shape: trees.Shape      # of what it returned
    inputs: list[Value]


def has_same_graph(program: Program, f: Callable[..., Any], args: tuple[Any, ...]) -> bool:
    """Return whether a function, called again, does what a program was recorded from.

    Raises:
        CompileError: it does what cannot be replayed.
    """
    reached = Reached(f)
    try:
        with np.errstate(all="ignore"):
            traced = _trace(f, trees.map_leaves(without_values, args, ARRAYS), change=True)
        return len(traced.values) == program.output_count and program.has_same_graph(traced.values, traced.inputs)
    finally:
        reached.restore()


def _trace(f: Callable[..., Any], args: tuple[Any, ...], change: bool) -> _Traced:
    """Call f with Values in place of the numbers in args; if change, of others."""
    inputs: list[Value] = []

    def new_input(number: Any) -> Value:
        inputs.append(Input(number) if checks.as_integer(number) is None else IntegerInput(number))
        return inputs[-1]

    traced = trees.map_leaves(new_input, args)
    if change:
        for v in inputs:
            # An index stays one. What is not is another number, of the other sign.
            v.data = 0.7 * v.data if isinstance(v, IntegerInput) else math.copysign(0.7 * abs(v.data) + 0.1, -v.data)
    with Trace() as trace:
        returned = f(*traced)
    if trace.refused is not None:
        raise CompileError(f"{trace.refused}\n  {_name(f)} caught this error, and went on")
    leaves, shape = trees.flatten(trees.map_leaves(_without_array, returned, ARRAYS))
    try:
        return _Traced(returned, [v if isinstance(v, Value) else Value(v) for v in leaves], shape, inputs)
    except TypeError:
        return _Traced(returned, [], shape, inputs)


def _plain_call(f: Callable[..., Any], args: tuple[Any, ...], may_wrap: bool) -> list[float]:
    """Return the numbers that f returns for args; where it cannot take these, for others that say the same.

    Integers of NumPy wrap around where a recording, like Python, does not, and have no negative powers: in their place
    may be Python's. x.exp() needs a Value.
    """
    before, _thread.trying = is_trying(), True
    ways: list[Callable[[], tuple[Any, ...]]] = [
        lambda: trees.map_leaves(_in_double, args, ARRAYS),
        lambda: trees.map_leaves(_in_exact_integers, args, ARRAYS),
        lambda: trees.map_leaves(_with_value, trees.map_leaves(without_values, args, ARRAYS)),
    ]
    if may_wrap or not any(map(_is_numpys_integer, trees.flatten(args, ARRAYS)[0])):
        del ways[0 if may_wrap else 1]
    try:
        with no_grad():
            for way in ways[:-1]:
                try:
                    return _numbers_in(f(*way()))
                except Exception:      # the next way may do, and the last one raises
                    continue
            try:
                return _numbers_in(f(*ways[-1]()))
            except NoGraphError:       # f takes gradients of what it computes
                with EnableGrad():
                    return _numbers_in(f(*ways[-1]()))
    finally:
        _thread.trying = before


def _numbers_in(returned: Any) -> list[float]:
    leaves, _ = trees.flatten(trees.map_leaves(_without_array, returned, ARRAYS))
    return [_number_of(v) for v in leaves]


def _number_of(leaf: Any) -> float:
    """Return the number of a Value, or a number in double precision: an integer that has none is infinite."""
    try:
        return leaf.data if isinstance(leaf, Value) else Value(leaf).data
    except OverflowError:
        return -math.inf if leaf < 0 else math.inf


def _is_numpys_integer(leaf: Any) -> bool:
    return getattr(getattr(leaf, "dtype", None), "kind", "") in ("i", "u")


def _in_exact_integers(leaf: Any) -> Any:
    """Return Python's integers in place of NumPy's; all else as `_in_double` does."""
    leaf = _as_array(leaf)
    if _is_numpys_integer(leaf):
        return leaf.astype(object) if isinstance(leaf, np.ndarray) else leaf.item()
    return _in_double(leaf)


def _with_value(leaf: Any) -> Any:
    """Return a Value in place of a number that is not an integer."""
    return Value(leaf) if checks.as_integer(leaf) is None else leaf


def _as_array(leaf: Any) -> Any:
    """Return an array in place of what is like one: a matrix, a Series, a tensor."""
    return np.asarray(leaf) if getattr(leaf, "shape", ()) else leaf


def _in_double(leaf: Any) -> Any:
    """Return a copy of an array, a NumPy number as it is, with the digits with which a program computes."""
    leaf = _as_array(leaf)
    kind = getattr(getattr(leaf, "dtype", None), "kind", "")
    if kind in ("f", "b"):
        return np.array(leaf, float)[()]
    return np.array(leaf, np.int64)[()] if kind in ("i", "u") else leaf.copy() if kind == "O" else leaf


def _name(f: Any) -> str:
    return getattr(f, "__qualname__", None) or f"{f!r:.60}"


def without_values(leaf: Any) -> Any:
    """Return a number in place of a Value, an array of floats in place of one of objects; a copy of any other array."""
    leaf = _as_array(leaf)
    if isinstance(leaf, np.ndarray):
        with no_grad():     # of Values, whose graph is not wanted here
            return leaf.astype(float) if leaf.dtype == object else leaf.copy()
    return leaf.data if isinstance(leaf, Value) else leaf


def _without_array(leaf: Any) -> Any:
    """Return lists in place of an array: what a compiled function returns has none."""
    return leaf.tolist() if isinstance(leaf, np.ndarray) else leaf


class _Part:
    """What is one array of `map`: columns one after another of the results, and the axes that it has for them."""

    def __init__(self, first: int, axes: tuple[int, ...]) -> None:
        self.first, self.axes = first, axes

    def of(self, results: np.ndarray) -> np.ndarray:
        """Return the array, with memory of its own."""
        last = self.first + math.prod(self.axes)
        columns = results if last - self.first == results.shape[1] else results[:, self.first : last].copy()
        return columns.reshape(len(results), *self.axes)


def _list_or_axis(entries: list[Any]) -> Any:
    """Return the entries of a list as one part with one more axis after the first, if they are equal parts."""
    axis = _axis(entries)
    return entries if axis is None else axis


def _axis(entry: Any) -> _Part | None:
    if isinstance(entry, _Part):
        return entry
    if not isinstance(entry, (list, tuple)) or not entry:
        return None
    parts = [_axis(part) for part in entry]
    if parts[0] is None or any(part is None or part.axes != parts[0].axes for part in parts):
        return None
    return _Part(parts[0].first, (len(parts), *parts[0].axes))


def _layout(args: tuple[Any, ...]) -> tuple[list[tuple[int, tuple[int, ...]] | None], trees.Shape]:
    """Return for each leaf the size and shape of an array, None for a number; and the shape of the arguments."""
    leaves, shape = trees.flatten(trees.map_leaves(_as_array, args, ARRAYS), ARRAYS)
    return [(leaf.size, leaf.shape) if isinstance(leaf, np.ndarray) else None for leaf in leaves], shape


def _array_if_possible(entries: list[Any]) -> Any:
    """Return gradients as an array if they are numbers, or arrays of one shape."""
    numeric = all(isinstance(entry, (float, np.ndarray)) for entry in entries)
    return np.array(entries) if numeric and len({getattr(entry, "shape", ()) for entry in entries}) <= 1 else entries


def _is_reference(name: Any) -> bool:
    return isinstance(name, (weakref.ref, tuple))


def _shown(key: tuple[bytes, tuple[Any, ...]]) -> str:
    """Return the shape of arguments: f a number, i an integer, [...] a list, and so on, as in `Example`."""
    text = key[0].decode()
    return text if len(text) <= 40 else f"{text[:30]}… ({len(text)} characters)"
