"""Loops that stay loops: `scan`, and what is remembered of one while a function is recorded.

Changes with what a loop's step may take and return. What it becomes is a `Loop` of a graph.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, Literal, NamedTuple, TypeVar, overload

import numpy as np

from microgradc import checks, trees
from microgradc.engine import CompileError, Input, IntegerInput, Value, is_tracing
from microgradc.engine.value import is_index, loop_results, number_behind
from microgradc.program.graph import Graph, Loop, body_of
from microgradc.program.iterations import called_alone
from microgradc.program.program import Program, program_of

__all__ = ["results_of", "scan", "scans_recorded", "scans_tried"]

Step = Callable[[Any, Any], tuple[Any, Any]]
Until = Callable[[Any], Any]
_C = TypeVar("_C")
_X = TypeVar("_X")
_Keep = Literal["all", "sqrt"]
_SAME = 1e-9         # how far a number of a plain step may be from that of the recorded one, of its size
_LONGEST = 2**31 - 1
_SEQUENCES = (list, range, np.ndarray)
_thread = threading.local()     # recorded: a list of scans, or None; tried: an iterator over them, or None


@overload
def scan(
    step: Callable[[_C, _X], tuple[_C, Value]],
    carry: _C, xs: list[_X], length: int | None = None, *, keep: _Keep = "all", until: None = None,
) -> tuple[_C, list[Value]]: ...
@overload
def scan(
    step: Callable[[_C, Any], tuple[_C, None]],     # the first carry may have numbers where the step has Values
    carry: Any, xs: Any = None, length: int | None = None, *, keep: _Keep = "all", until: Until | None = None,
) -> tuple[_C, None]: ...
@overload
def scan(
    step: Callable[[_C, Any], tuple[_C, Any]],
    carry: Any, xs: Any = None, length: int | None = None, *, keep: _Keep = "all", until: Until | None = None,
) -> tuple[_C, Any]: ...
def scan(
    step: Step,
    carry: Any,
    xs: Any = None,
    length: int | None = None,
    *,
    keep: _Keep = "all",
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
            if length > _LONGEST:
                raise ValueError(f"length must be at most {_LONGEST:,}, got {length:,}")
        if xs is None:
            if length is None:
                raise TypeError("a scan needs xs, or length, the number of iterations")
            self.sequences: list[Any] = []
            self.shape = trees.flatten(None)[1]
        else:
            self.sequences, self.shape = trees.flatten(_as_lists(xs), _SEQUENCES)
            for sequence in self.sequences:
                if not isinstance(sequence, _SEQUENCES) or (isinstance(sequence, np.ndarray) and not sequence.ndim):
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
        leaves, found = _flat(y)
        if shape is None:
            shape, ys = found, [[] for _ in leaves]
        elif _without_dtypes(found) != _without_dtypes(shape):
            raise ValueError(f"y must have one structure, got {_shown(found)} after {_shown(shape)}")
        for entries, leaf in zip(ys, leaves, strict=True):
            entries.append(leaf)
    if shape is None:
        return carry, None
    return carry, _of_ys(shape, [None if all(entry is None for entry in entries) else entries for entries in ys])


def _one_step(step: Step, carry: Any, x: Any, structure: trees.Shape, until: Until | None) -> tuple[Any, Any]:
    """Return what step returns, if it is what it has to be."""
    returned = called_alone(step, carry, x)
    if not isinstance(returned, tuple) or len(returned) != 2:
        raise TypeError(f"step must return the next carry and y, two (y may be None), got {returned!r:.60}")
    found = _structure(returned[0])
    if _without_dtypes(found) != _without_dtypes(structure):
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


def _number(x: Any, name: str) -> float:
    """Return the number of a Value, a truth value or a number."""
    if isinstance(x, (bool, np.bool_)):
        return float(x)
    try:
        return number_behind(x)
    except TypeError:
        raise TypeError(f"{name} must return a truth value, a number or a Value, got {x!r:.60}") from None


# Structures


def _flat(nest: Any) -> tuple[list[Any], trees.Shape]:
    """Return the leaves of a nest and its shape, in which an array without axes is a number."""
    leaves, shape = trees.flatten(nest)
    if any(step and step.kind is np.ndarray and step.detail[0] == () for step in shape.steps):
        steps = [step for step in shape.steps if not step or step.kind is not np.ndarray or step.detail[0] != ()]
        shape = shape._replace(steps=tuple(steps))
    return leaves, shape


def _structure(nest: Any) -> trees.Shape:
    return _flat(nest)[1]


def _without_dtypes(shape: trees.Shape) -> trees.Shape:
    """Return a shape whose arrays may have anything in them."""
    if not any(step and step.kind is np.ndarray for step in shape.steps):
        return shape
    steps = tuple([
        step._replace(detail=(step.detail[0], np.dtype(object))) if step and step.kind is np.ndarray else step
        for step in shape.steps
    ])
    return shape._replace(steps=steps)


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


class _Nest:
    """The numbers of a carry, an x or a y; and what else is in it, which stays as it is: None, texts.

    Args:
        nest: a nest.
        name: what it is called in errors.
    """

    def __init__(self, nest: Any, name: str) -> None:
        leaves, shape = _flat(nest)
        self.shape = _without_dtypes(shape)
        self.constants = {i: leaf for i, leaf in enumerate(leaves) if _is_constant(leaf)}
        self.numbers = [_require_number(leaf, name) for i, leaf in enumerate(leaves) if i not in self.constants]

    def rebuilt(self, numbers: Iterable[Any], length: int | None = None) -> Any:
        """Return the nest with other things in the places of its numbers; of a length, with lists in all places."""
        rest = iter(numbers)
        return trees.unflatten(self.shape, [
            self._constant(i, length) if i in self.constants else next(rest) for i in range(self.shape.leaf_count)
        ])

    def _constant(self, i: int, length: int | None) -> Any:
        return self.constants[i] if length is None or self.constants[i] is None else [self.constants[i]] * length


def _recorded(step: Step, carry: Any, fed: _Fed, keeps_all: bool, until: Until | None) -> tuple[Any, Any]:
    """Record the step, once, as a loop."""
    given, xs = _Nest(carry, "the carry"), _rows_of(fed)
    are_integers = [_is_integer(v) for v in given.numbers]
    columns_are = [all(_is_integer(row.numbers[i]) for row in xs) for i in range(len(xs[0].numbers))]
    while True:
        found = _traced_step(step, given, are_integers, xs[0], columns_are, until)
        stay = [was and _is_integer(v) for was, v in zip(are_integers, found.carry.numbers, strict=True)]
        if stay == are_integers:
            break
        are_integers = stay        # a 0 to begin with may be a number like others
    body, captured = body_of(found.outputs, found.inputs)
    records = getattr(_thread, "recorded", None)
    # Where nobody records, the function is traced once more as a whole, and compared.
    if records is not None and not _is_same(
        body, captured, _traced_step(step, given, are_integers, xs[0], columns_are, until)
    ):
        raise CompileError(
            "the step of a scan does something else when it is called again: it draws random numbers, or changes what "
            "it uses; let the carry have what changes, and xs what is another thing in each iteration"
        )
    width, count, ys = len(xs[0].numbers), len(given.numbers), len(found.y.numbers)
    loop = Loop(body, fed.length, count, width, until is not None, keeps_all)
    fed_numbers = [v for row in xs for v in row.numbers] if width else []
    results = results_of(loop, [*given.numbers, *fed_numbers, *captured])
    if records is not None:
        begin = [_number(v, "carry") for v in (*given.numbers, *xs[0].numbers)]
        first = [_number(v, "step") for v in found.outputs]
        records.append(_Scan(begin, first, [_number(v, "result") for v in results], found.inner))
    columns = [results[count + i :: ys] for i in range(ys)]
    return found.carry.rebuilt(results[:count]), found.y.rebuilt(columns, fed.length)


def _is_same(body: Graph, captured: list[Value], again: _Traced) -> bool:
    """Return whether a step that was traced again does the same."""
    other, values = body_of(again.outputs, again.inputs)
    if other != body:
        return False
    return not captured or Program(captured, []).has_same_graph(values, [], again=True)


class _Traced(NamedTuple):
    """What a step did with Values in the places of numbers."""

    inputs: list[Value]
    carry: _Nest
    y: _Nest
    outputs: list[Any]      # the numbers of these, and whether no iteration is left
    inner: list[_Scan]


def _traced_step(
    step: Step, carry: _Nest, are_integers: list[bool], x: _Nest, columns_are: list[bool], until: Until | None
) -> _Traced:
    inputs = [
        _input(v, is_integer)
        for v, is_integer in zip(carry.numbers + x.numbers, are_integers + columns_are, strict=True)
    ]
    given = carry.rebuilt(inputs[: len(are_integers)])
    with _inner_scans() as inner:
        returned, y = _one_step(step, given, x.rebuilt(inputs[len(are_integers) :]), carry.shape, until)
        end = [] if until is None else [until(given)]
    new, found = _Nest(returned, "the next carry"), _Nest(y, "y")
    if new.constants != carry.constants:
        raise CompileError(f"what is no number in a carry must stay, got {new.constants} for {carry.constants}, by "
                           "their places among its entries")
    ends = [v if isinstance(v, Value) else _number(v, "until") for v in end]
    return _Traced(inputs, new, found, [*new.numbers, *found.numbers, *ends], inner)


def _inner_scans() -> AbstractContextManager[list[_Scan]]:
    """Collect the scans within a step, if somebody will look at their numbers."""
    return nullcontext([]) if getattr(_thread, "recorded", None) is None else scans_recorded()


def _rows_of(fed: _Fed) -> list[_Nest]:
    """Return what the iterations get; where that is None, for the first one alone."""
    rows: list[_Nest] = []
    for t in range(1 if fed.is_none else fed.length):
        row = _Nest(fed[t], f"xs[{t}]")
        if rows and (row.shape, row.constants) != (rows[0].shape, rows[0].constants):
            raise ValueError(f"xs must have one structure, got {_shown(row.shape)} in number {t}, after "
                             f"{_shown(rows[0].shape)}")
        rows.append(row)
    return rows


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
    graph.outputs = tuple(graph.scan(loop, *places, *captured))
    if not graph.outputs:
        return []
    known: list[float | None] = [*numbers[count:]]
    program = program_of(graph, [None] * len(captured), known)
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
    x = fed[0]
    if not _are_close([*_plain_numbers(carry), *_plain_numbers(x)], known.begin):
        return _looped(step, carry, fed, until)
    with scans_tried(known.inner):
        end = [] if until is None else [_number(until(carry), "until")]
        returned, y = _one_step(step, carry, x, _structure(carry), until)
    new, ys = _plain_numbers(returned), _plain_numbers(y)
    if not _are_close([*new, *ys, *end], known.first):
        with scans_tried(None):
            return _looped(step, carry, fed, until)
    make = Value if any(isinstance(leaf, Value) for leaf in (*new, *ys)) else float
    results = [make(number) for number in known.results]
    columns = [results[len(new) + i :: len(ys)] for i in range(len(ys))]
    return _Nest(returned, "carry").rebuilt(results[: len(new)]), _Nest(y, "y").rebuilt(columns, fed.length)


def _plain_numbers(nest: Any) -> list[Any]:
    return [leaf for leaf in trees.flatten(nest)[0] if not _is_constant(leaf)]


def _are_close(given: list[Any], wanted: list[float]) -> bool:
    try:
        numbers = [_number(leaf, "a number") for leaf in given]
    except (TypeError, OverflowError):
        return False
    if len(numbers) != len(wanted):
        return False
    return all(
        x == y or abs(x - y) <= _SAME * abs(y) or (math.isnan(x) and math.isnan(y))
        for x, y in zip(numbers, wanted, strict=True)
    )
