"""Loops that stay loops: `scan`, and what is remembered of one while a function is recorded.

Changes with what a loop's step may take and return. What it becomes is a `Loop` of a graph.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np

from microgradc import checks, trees
from microgradc.engine import CompileError, Input, IntegerInput, Value, is_tracing
from microgradc.engine.value import is_index, loop_results, number_behind
from microgradc.program.graph import Graph, Loop, body_of
from microgradc.program.program import program_of

__all__ = ["results_of", "scan", "scans_recorded", "scans_tried"]

Step = Callable[[Any, Any], tuple[Any, Any]]
Until = Callable[[Any], Any]
_SAME = 1e-9         # how far a plain step may be from the recorded one, of the largest number
_SEQUENCES = (list, range, np.ndarray)
_thread = threading.local()     # recorded: a list of scans, or None; tried: an iterator over them, or None


def scan(
    step: Step,
    carry: Any,
    xs: Any = None,
    length: int | None = None,
    *,
    keep: str = "all",
    until: Until | None = None,
) -> tuple[Any, Any]:
    """Run a loop: `for x in xs: carry, y = step(carry, x)`; return the carry in the end, and all y.

    Called with Values it is that loop, and its graph that of all iterations. In a function that is compiled the step
    is recorded once, however many iterations there are; what it uses from around, parameters and other Values, is the
    same in all of them. The way back keeps the carries and runs each iteration again.

    Args:
        step: a function of the carry and x that returns the next carry and y, which may be None. Both are numbers,
            Values, or any nest of lists, tuples, dicts, dataclasses and arrays of them; the next carry has the
            structure of the carry.
        carry: what the first iteration gets. Numbers in it are constants.
        xs: a list, range or array of what the iterations get, or a nest of tuples, dicts and dataclasses of such; None
            if they get None. Integers may be an index of `take`.
        length: the number of iterations; may be left out where xs says it.
        keep: "all", or "sqrt": when compiled, the way back keeps about sqrt(length) carries, and computes the others
            once more. The results have the same bits.
        until: a function of the carry, asked before each iteration: the loop ends where it returns something that is
            not 0. Each example ends by itself. The step's y must be None then.

    Returns:
        The carry after the last iteration; and y's structure with a list in each place, which has an entry for each
        iteration; None if y is None, and [] if there is no iteration.

    Raises:
        TypeError: step returns something else than a carry and y; there is neither xs nor length.
        ValueError: the next carry has another structure; xs have unequal lengths; y changes its structure, or is not
            None where there is an until.

    >>> x = Value(3.0)
    >>> root, _ = scan(lambda guess, _: ((guess + x / guess) / 2, None), 1.0, length=20)
    >>> root.backward()
    >>> round(root.data, 6), round(x.grad, 6)
    (1.732051, 0.288675)
    """
    if not callable(step):
        raise TypeError(f"step must be a function of carry and x, got {step!r:.60}")
    if until is not None and not callable(until):
        raise TypeError(f"until must be a function of the carry, or None, got {until!r:.60}")
    if keep not in ("all", "sqrt"):
        raise ValueError(f"keep must be 'all' or 'sqrt', got {keep!r:.60}")
    fed = _Fed(xs, length)
    if not fed.length:
        return carry, [] if until is None else None
    if is_tracing():
        return _recorded(step, carry, fed, keep == "all", until)
    known = _next_tried()
    if known is not None:
        return _tried(known, step, carry, fed, until)
    return _looped(step, carry, fed, until)


class _Fed:
    """The xs: what each iteration gets.

    Args:
        xs, length: see `scan`.
    """

    def __init__(self, xs: Any, length: int | None) -> None:
        if length is not None:
            length = checks.integer(length, "length", least=0)
        if xs is None:
            if length is None:
                raise TypeError("a scan needs xs, or length, the number of iterations")
            self.sequences: list[Any] = []
            self.shape = trees.flatten(None)[1]
        else:
            self.sequences, self.shape = trees.flatten(_as_lists(xs), _SEQUENCES)
            for sequence in self.sequences:
                if not isinstance(sequence, _SEQUENCES):
                    raise TypeError("xs must be a list, range or array with an entry for each iteration, or tuples and "
                                    f"dicts of such, got {type(sequence).__name__} {sequence!r:.40}")
            lengths = {len(sequence) for sequence in self.sequences} | ({length} - {None})
            if len(lengths) != 1:
                which = "xs have none" if not lengths else f"got {', '.join(map(str, sorted(lengths)))}"  # type: ignore
                raise ValueError(f"xs, and length if it is given, must have one length, {which}")
            length = lengths.pop()
        assert length is not None
        self.length = length
        self.is_none = xs is None

    def __getitem__(self, t: int) -> Any:
        """Return what iteration t gets."""
        return None if self.is_none else trees.unflatten(self.shape, [sequence[t] for sequence in self.sequences])


def _as_lists(xs: Any) -> Any:
    """Return xs with lists in place of iterators and of arrays' like, which have no length or no order of their own."""
    if isinstance(xs, (*_SEQUENCES, tuple, dict)) or hasattr(type(xs), "__dataclass_fields__"):
        return xs
    if hasattr(xs, "__array__"):
        return np.asarray(xs)
    return list(xs) if isinstance(xs, Iterator) else xs


# A plain loop


def _looped(step: Step, carry: Any, fed: _Fed, until: Until | None) -> tuple[Any, Any]:
    structure = _structure(carry)
    ys: list[list[Any]] = []
    shape: trees.Shape | None = None
    for t in range(fed.length):
        if until is not None and _number(until(carry), "until") != 0:
            break
        carry, y = _one_step(step, carry, fed[t], structure, until)
        leaves, found = trees.flatten(y)
        if shape is None:
            shape, ys = found, [[] for _ in leaves]
        elif _plain(found) != _plain(shape):
            raise ValueError(f"y must have one structure, got {_shown(found)} after {_shown(shape)}")
        for entries, leaf in zip(ys, leaves, strict=True):
            entries.append(leaf)
    if shape is None:
        return carry, None
    return carry, _of_ys(shape, [None if all(entry is None for entry in entries) else entries for entries in ys])


def _one_step(step: Step, carry: Any, x: Any, structure: trees.Shape, until: Until | None) -> tuple[Any, Any]:
    """Return what step returns, if it is what it has to be."""
    returned = step(carry, x)
    if not isinstance(returned, tuple) or len(returned) != 2:
        raise TypeError(f"step must return the next carry and y, two (y may be None), got {returned!r:.60}")
    found = _structure(returned[0])
    if _plain(found) != _plain(structure):
        raise ValueError(f"the next carry must have the structure of the carry, {_shown(structure)}, "
                         f"got {_shown(found)}")
    if until is not None and returned[1] is not None:
        raise ValueError(f"with until, y must be None, as it is not known how many there are, got {returned[1]!r:.60}")
    return returned


def _of_ys(shape: trees.Shape, ys: Iterable[list[Any] | None]) -> Any:
    """Return y's structure with lists in the places of its numbers; None where y is None in all iterations."""
    return trees.unflatten(_without_dtypes(shape), ys)


def _is_constant(leaf: Any) -> bool:
    """Return whether a leaf of y is no number: it is the same in all iterations."""
    return leaf is None or isinstance(leaf, (str, bytes))


def _repeated(leaf: Any, length: int) -> list[Any] | None:
    return None if leaf is None else [leaf] * length


def _number(x: Any, name: str) -> float:
    """Return the number of a Value, a truth value or a number."""
    if isinstance(x, (bool, np.bool_)):
        return float(x)
    try:
        return number_behind(x)
    except TypeError:
        raise TypeError(f"{name} must return a truth value, a number or a Value, got {x!r:.60}") from None


# Structures


def _structure(nest: Any) -> trees.Shape:
    return trees.flatten(nest)[1]


def _without_dtypes(shape: trees.Shape) -> trees.Shape:
    """Return a shape whose arrays may have anything in them."""
    steps = tuple([
        step._replace(detail=(step.detail[0], np.dtype(object))) if step and step.kind is np.ndarray else step
        for step in shape.steps
    ])
    return shape._replace(steps=steps)


def _plain(shape: trees.Shape) -> trees.Shape:
    return _without_dtypes(shape) if any(step and step.kind is np.ndarray for step in shape.steps) else shape


class _Place:
    def __repr__(self) -> str:
        return "number"


def _shown(shape: trees.Shape) -> str:
    return f"{trees.unflatten(_without_dtypes(shape), [_Place()] * shape.leaf_count)!r:.120}"


# While a function is recorded


class _Scan(NamedTuple):
    """A scan that was recorded, with the numbers of the example."""

    begin: list[float]      # the carry, and x of the first iteration
    first: list[float]      # what the first iteration gives: the next carry, y, and whether none is left
    results: list[float]    # the carry in the end, and the ys of each iteration
    inner: list[_Scan]      # those within its step


def _recorded(step: Step, carry: Any, fed: _Fed, keeps_all: bool, until: Until | None) -> tuple[Any, Any]:
    """Record the step, once, as a loop."""
    leaves, shape = trees.flatten(carry)
    begin = [_require_number(leaf, "carry") for leaf in leaves]
    xs = [[_require_number(leaf, f"xs[{t}]") for leaf in row] for t, row in enumerate(_rows_of(fed))] or [[]]
    are_integers = [_is_integer(leaf) for leaf in begin]
    columns_are = [all(_is_integer(row[i]) for row in xs) for i in range(len(xs[0]))]
    while True:
        found = _traced_step(step, begin, shape, are_integers, xs[0], columns_are, fed, until)
        stay = [was and _is_integer(leaf) for was, leaf in zip(are_integers, found.carry, strict=True)]
        if stay == are_integers:
            break
        are_integers = stay        # a 0 to begin with may be a number like others
    body, captured = body_of([*found.carry, *found.ys, *found.end], found.inputs)
    loop = Loop(body, fed.length, len(begin), len(xs[0]), until is not None, keeps_all)
    operands = [*begin, *[leaf for row in xs for leaf in row], *captured]
    results = results_of(loop, operands)
    records = getattr(_thread, "recorded", None)
    if records is not None:
        first = [_number(v, "step") for v in (*found.carry, *found.ys, *found.end)]
        numbers = [_number(v, "result") for v in results]
        records.append(_Scan([_number(v, "carry") for v in (*begin, *xs[0])], first, numbers, found.inner))
    count = len(begin)
    ys = [results[count + i :: len(found.ys)] for i in range(len(found.ys))]
    return trees.unflatten(_without_dtypes(found.carry_shape), results[:count]), found.of_ys(ys, fed.length)


class _Traced(NamedTuple):
    """What a step did with Values in the places of numbers."""

    inputs: list[Value]
    carry: list[Any]
    carry_shape: trees.Shape
    ys: list[Any]
    constants: dict[int, Any]     # the leaves of y that are no numbers, by their places
    y_shape: trees.Shape
    end: list[Any]
    inner: list[_Scan]

    def of_ys(self, ys: list[list[Any]], length: int) -> Any:
        """Return lists of ys in y's structure."""
        columns = iter(ys)
        return _of_ys(self.y_shape, [
            _repeated(self.constants[i], length) if i in self.constants else next(columns)
            for i in range(self.y_shape.leaf_count)
        ])


def _traced_step(
    step: Step, begin: list[Any], shape: trees.Shape, are_integers: list[bool],
    xs: list[Any], columns_are: list[bool], fed: _Fed, until: Until | None,
) -> _Traced:  # fmt: skip
    carry = [_input(v, is_integer) for v, is_integer in zip(begin, are_integers, strict=True)]
    row = [_input(v, is_integer) for v, is_integer in zip(xs, columns_are, strict=True)]
    given = trees.unflatten(_without_dtypes(shape), carry)
    with scans_recorded() as inner:
        x = None if fed.is_none else trees.unflatten(_without_dtypes(_structure(fed[0])), row)
        returned, y = _one_step(step, given, x, shape, until)
        end = [] if until is None else [until(given)]
    new, new_shape = trees.flatten(returned)
    y_leaves, y_shape = trees.flatten(y)
    constants = {i: leaf for i, leaf in enumerate(y_leaves) if _is_constant(leaf)}
    ys = [_require_number(leaf, "y") for i, leaf in enumerate(y_leaves) if i not in constants]
    new = [_require_number(leaf, "the next carry") for leaf in new]
    end = [v if isinstance(v, Value) else _number(v, "until") for v in end]
    return _Traced([*carry, *row], new, new_shape, ys, constants, y_shape, end, inner)


def _rows_of(fed: _Fed) -> Iterator[list[Any]]:
    """Yield the leaves of what each iteration gets; nothing where that is None."""
    shape: trees.Shape | None = None
    for t in range(0 if fed.is_none else fed.length):
        leaves, found = trees.flatten(fed[t])
        if shape is not None and _plain(found) != _plain(shape):
            raise ValueError(f"xs must have one structure, got {_shown(found)} in number {t}, after {_shown(shape)}")
        shape = found
        yield leaves


def _input(v: Any, is_integer: bool) -> Value:
    number = number_behind(v)
    return IntegerInput(number) if is_integer else Input(number)


def _is_integer(leaf: Any) -> bool:
    if isinstance(leaf, Value):
        return is_index(leaf)
    return checks.as_integer(leaf) is not None


def _require_number(leaf: Any, name: str) -> Any:
    """Return a Value, or a number as Python's: an integer stays one."""
    if isinstance(leaf, Value):
        return leaf
    integer = checks.as_integer(leaf)
    if integer is not None:
        return integer
    try:
        return number_behind(leaf)
    except TypeError:
        raise CompileError(
            f"{name} of a scan that is recorded must be made of numbers and Values, got {type(leaf).__name__} "
            f"{leaf!r:.40}; what is no number may be used by the step from around"
        ) from None


def results_of(loop: Loop, operands: list[Any]) -> list[Any]:
    """Return the results of a loop, Values; their numbers are those for the numbers of the operands.

    While a function is traced whose numbers nobody looks at, they are nan.
    """
    is_looked_at = getattr(_thread, "recorded", None) is not None or not any(isinstance(v, Value) for v in operands)
    count = loop.carries + loop.length * loop.ys
    return loop_results(loop, tuple(operands), _numbers_of(loop, operands) if is_looked_at else [math.nan] * count)


def _numbers_of(loop: Loop, operands: list[Any]) -> list[float]:
    numbers = [_number(v, "operand") for v in operands]
    count = loop.carries + loop.length * loop.xs
    graph = Graph()
    places = [graph.input() for _ in range(count)]
    captured = [graph.parameter() for _ in numbers[count:]]
    graph.outputs = graph.scan(loop, *places, *captured)
    if not graph.outputs:
        return []
    program = program_of(graph, [None] * len(captured), numbers[count:])
    found: list[float] = program(np.array([numbers[:count]]).reshape(1, -1))[0].tolist()
    return found


# In the plain call that a recording is compared with


@contextmanager
def scans_recorded() -> Iterator[list[_Scan]]:
    """Collect the scans that this thread records meanwhile."""
    before, _thread.recorded = getattr(_thread, "recorded", None), []
    try:
        yield _thread.recorded
    finally:
        _thread.recorded = before


@contextmanager
def scans_tried(scans: list[_Scan] | None) -> Iterator[None]:
    """Let the scans of plain calls of this thread take their results from recorded ones, in their order."""
    before, _thread.tried = getattr(_thread, "tried", None), None if scans is None else iter(scans)
    try:
        yield
    finally:
        _thread.tried = before


def _next_tried() -> _Scan | None:
    tried = getattr(_thread, "tried", None)
    return None if tried is None else next(tried, None)


def _tried(known: _Scan, step: Step, carry: Any, fed: _Fed, until: Until | None) -> tuple[Any, Any]:
    """Compare one plain step with the recorded one; if they are the same, take the results of the recorded loop.

    If not, the loop is run, and who compares its results finds what is different.
    """
    leaves, shape = trees.flatten(carry)
    x = fed[0]
    begin = [*leaves, *([] if fed.is_none else trees.flatten(x)[0])]
    if not _are_close(begin, known.begin):
        return _looped(step, carry, fed, until)
    with scans_tried(known.inner):
        end = [] if until is None else [_number(until(carry), "until")]
        returned, y = _one_step(step, carry, x, shape, until)
    new, new_shape = trees.flatten(returned)
    y_leaves, y_shape = trees.flatten(y)
    ys = [leaf for leaf in y_leaves if not _is_constant(leaf)]
    if not _are_close([*new, *ys, *end], known.first):
        with scans_tried(None):
            return _looped(step, carry, fed, until)
    make = Value if any(isinstance(leaf, Value) for leaf in (*new, *ys)) else float
    results = [make(number) for number in known.results]
    columns = iter([results[len(new) + i :: len(ys)] for i in range(len(ys))])
    lists = [_repeated(leaf, fed.length) if _is_constant(leaf) else next(columns) for leaf in y_leaves]
    return trees.unflatten(_without_dtypes(new_shape), results[: len(new)]), _of_ys(y_shape, lists)


def _are_close(given: list[Any], wanted: list[float]) -> bool:
    try:
        numbers = [_number(leaf, "a number") for leaf in given]
    except (TypeError, OverflowError):
        return False
    if len(numbers) != len(wanted):
        return False
    largest = max([abs(x) for x in wanted if math.isfinite(x)], default=0.0)
    return all(
        x == y or abs(x - y) <= _SAME * largest or (math.isnan(x) and math.isnan(y))
        for x, y in zip(numbers, wanted, strict=True)
    )
