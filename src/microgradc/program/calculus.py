"""The calculus: derivatives as operations, of Values and in graphs, backward and forward.

A derivative column of ops.h, parsed once (`rules.py`), is read by whoever builds operations: of Values, in the engine,
or in a `Graph`. A column is linear in g, so the same steps serve both directions: with g the gradient that arrives at
the result, they give an operand's gradient; with g the tangent of an operand, its part of the result's tangent.
Changes with how derivatives are put together; the rules are in ops.h, but for those of any number of operands.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple, Protocol

from microgradc import trees
from microgradc.engine import Value, is_tracing
from microgradc.engine.value import is_grad_enabled, operate, operations_of
from microgradc.program.c_text import ROWS
from microgradc.program.graph import Graph
from microgradc.program.rules import Step, rule, wide_rule

__all__ = [
    "NoGraphError", "adjoints", "cotangents_of", "dependence", "gradients", "replayed", "tangents", "tangents_of",
]  # fmt: skip

# Of an expression: a Value or a place in a graph; or a float, a constant.
_Operand = Any
# A product of two, or a single one and None: what is added to a derivative.
_Term = tuple[_Operand, _Operand | None]

_COLUMNS = ("gx", "gy", "gz")


class NoGraphError(RuntimeError):
    """Gradients were asked for of what was computed within `no_grad()`."""


# Operations


class _Builder(Protocol):
    """Who makes operations."""

    def add(self, op: str, *operands: _Operand) -> _Operand:
        """Return an operation on some operands, at least one of which is no constant."""

    def number_of(self, operand: _Operand) -> float | None:
        """Return the number of an operand for which alone the derivatives are built; None if it may be another one."""


class _Nodes:
    """Who makes Values."""

    add = staticmethod(operate)

    def number_of(self, operand: _Operand) -> float | None:
        return None if is_tracing() else operand.data if isinstance(operand, Value) else operand


class _Places:
    """Who adds to a graph."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph

    def add(self, op: str, *operands: _Operand) -> _Operand:
        return self.graph.add(op, *[self.place(x) for x in operands])

    def place(self, operand: _Operand) -> int:
        return self.graph.constant(operand) if type(operand) is float else operand

    def number_of(self, operand: _Operand) -> float | None:
        return operand if type(operand) is float else None


def _combined(builder: _Builder, op: str, *x: _Operand) -> _Operand:
    """Return an operation; a number or an operand where that has the same bits."""
    if float not in map(type, x):
        return builder.add(op, *x)
    numbers = [operand for operand in x if type(operand) is float]
    if len(numbers) == len(x):
        return operate(op, *x)
    if op == "mul" and abs(numbers[0]) == 1:
        other = x[1] if type(x[0]) is float else x[0]
        return other if numbers[0] == 1 else _combined(builder, "neg", other)
    if op == "div" and type(x[1]) is float and x[1] == 1:
        return x[0]
    if op == "pow" and type(x[1]) is float and x[1] in (0, 1):
        return x[0] if x[1] == 1 else 1.0
    if op == "where" and type(x[0]) is float:
        return x[1] if x[0] != 0 else x[2]
    return builder.add(op, *x)


def _total(builder: _Builder, terms: list[_Term]) -> _Operand:
    """Return the sum of some terms in their order, as the engine adds them up: several products are one dot."""
    if len(terms) == 1:
        a, b = terms[0]
        return a if b is None else _combined(builder, "mul", a, b)
    if all(b is None for _, b in terms):
        return _combined(builder, "add" if len(terms) == 2 else "sum", *[a for a, _ in terms])
    return _combined(builder, "dot", *[x for a, b in terms for x in (a, 1.0 if b is None else b)])


class _Entry(NamedTuple):
    """An operation that derivatives are taken of."""

    handle: _Operand                        # what it is to the builder
    op: str
    operands: tuple[int | float, ...]       # which entries; a float is a constant
    local: tuple[float, ...] | None = None  # what its operands receive, where that was given
    has_closure: bool = False
    hooks: tuple[Callable[[Any], Any], ...] = ()    # of a Value; they may change what it receives


_Terms = Iterator[tuple[int, _Operand, _Operand | None]]     # for operand i, a term


def _terms(builder: _Builder, entry: _Entry, x: list[_Operand], gs: dict[int, _Operand]) -> _Terms:
    """Yield for each operand i in gs its terms: its derivative times gs[i].

    Raises:
        TypeError: the node's rule is not made of operations.
    """
    if entry.has_closure or entry.op == "opaque":
        raise _no_rule(entry)
    if entry.op in ROWS:
        scope = dict(zip("xyz", x, strict=False), f=entry.handle)
        for i, scope["g"] in gs.items():
            steps = rule(entry.op, _COLUMNS[i])
            if steps:
                yield i, *_evaluated(builder, steps, scope)
    elif entry.op == "custom":
        yield from _given(entry, x, gs)
    elif entry.op in _WIDE:
        yield from _WIDE[entry.op](builder, x, entry.handle, gs)
    else:
        steps = wide_rule(entry.op)
        for i, g in gs.items():
            if steps:
                yield i, *_evaluated(builder, steps, {"v": x[i], "f": entry.handle, "g": g})


def _evaluated(builder: _Builder, steps: tuple[Step, ...], scope: Mapping[str, _Operand]) -> _Term:
    """Return what a rule gives; where its last step is a product, the factors."""
    stack: list[_Operand] = []
    factors = steps[-1] == ("mul", 2)
    for step in steps[:-1] if factors else steps:
        if isinstance(step, str):
            stack.append(scope[step])
        elif isinstance(step, float):
            stack.append(step)
        else:
            op, count = step
            operands = stack[-count:]
            del stack[-count:]
            stack.append(_combined(builder, op, *operands))
    return stack[0], stack[1] if factors else None


# Operations of any number of operands whose column is C alone, and those of graphs


def _of_mean(builder: _Builder, x: list[_Operand], f: _Operand, gs: dict[int, _Operand]) -> _Terms:
    shares: dict[int, _Operand] = {}     # by identity: of a gradient, it is one for all operands
    for i, g in gs.items():
        if id(g) not in shares:
            shares[id(g)] = _combined(builder, "div", g, float(len(x)))
        yield i, shares[id(g)], None


def _of_dot(builder: _Builder, x: list[_Operand], f: _Operand, gs: dict[int, _Operand]) -> _Terms:
    for i, g in gs.items():
        yield i, g, None if i == len(x) - 1 and len(x) % 2 else x[i ^ 1]


def _of_dense(builder: _Builder, x: list[_Operand], f: _Operand, gs: dict[int, _Operand]) -> _Terms:
    k = len(x) // 2
    for i, g in gs.items():
        yield i, g, None if i == 2 * k else x[i + k if i < k else i - k]


def _of_logsumexp(builder: _Builder, x: list[_Operand], f: _Operand, gs: dict[int, _Operand]) -> _Terms:
    """exp(v - f) times a scale, with which these add up to 1 where f is large and was rounded: see wide.h."""
    parts = [_combined(builder, "exp", _combined(builder, "sub", v, f)) for v in x]
    known = builder.number_of(f)
    if known is None or (abs(known) > 32 and not math.isinf(known)):
        total = _combined(builder, "sum", *parts)
        is_large = _combined(builder, "less", 32.0, _combined(builder, "abs", f))
        is_infinite = _combined(builder, "sub", f, f)      # nan, which is not 0
        scale = _combined(builder, "where", is_infinite, 1.0, _combined(builder, "div", 1.0, total))
        scale = _combined(builder, "where", is_large, scale, 1.0)
        parts = [_combined(builder, "mul", part, scale) for part in parts]
    for i, g in gs.items():
        yield i, g, parts[i]


def _of_take(builder: _Builder, x: list[_Operand], f: _Operand, gs: dict[int, _Operand]) -> _Terms:
    for i, g in gs.items():
        if i:
            is_another = _combined(builder, "sub", x[0], float(i - 1))
            yield i, _combined(builder, "where", is_another, 0.0, g), None


def _of_cross_entropy(builder: _Builder, x: list[_Operand], f: _Operand, gs: dict[int, _Operand]) -> _Terms:
    of_values = {i - 1: g for i, g in gs.items() if i}
    for i, a, b in _of_logsumexp(builder, x[1:], _combined(builder, "logsumexp", *x[1:]), of_values):
        yield i + 1, a, b
    for i, a, _ in _of_take(builder, x, f, gs):
        yield i, -1.0, a


_WIDE: dict[str, Callable[[_Builder, list[_Operand], _Operand, dict[int, _Operand]], _Terms]] = {
    "mean": _of_mean, "dot": _of_dot, "logsumexp": _of_logsumexp, "take": _of_take,
    "products": _of_dot, "dense": _of_dense, "cross_entropy": _of_cross_entropy,
}  # fmt: skip


# Nodes with rules of their own


def _name(node: Value) -> str:
    return str(node.label or node._op or "without a name")


def _no_rule(entry: _Entry) -> TypeError:
    return TypeError(
        f"the node {_name(entry.handle)!r} has a rule of its own (a closure, local gradients, a compiled function), "
        "which has no derivative; use operations of microgradc, or take derivatives inside of the compiled function"
    )


def _given(entry: _Entry, x: list[_Operand], gs: dict[int, _Operand]) -> _Terms:
    """Local gradients: numbers that depend on the operands, though how is not known. Who asks gets an error."""
    assert entry.local is not None
    name = _name(entry.handle)
    common = Value(0.0, [operand for operand in x if isinstance(operand, Value)], name)

    def refuse() -> None:
        raise _no_rule(entry)

    common._backward = refuse
    for i, g in gs.items():
        yield i, g, Value(entry.local[i], (common,), f"d {name}")


# Backward and forward


_Seeds = Iterable[tuple[int, _Operand]]     # for an entry, what comes from outside


def _backward(builder: _Builder, tape: list[_Entry], seeds: _Seeds, wanted: Iterable[int]) -> list[Any]:
    """Return what some entries receive, None for one that receives nothing.

    Args:
        builder: who makes operations.
        tape: operations, each after its operands.
        seeds: for an entry, the gradient that arrives from outside.
        wanted: which entries.
    """
    wanted = list(wanted)
    depends = [False] * len(tape)        # on one that is wanted
    for e in wanted:
        depends[e] = True
    for e, entry in enumerate(tape):
        for o in entry.operands:
            if type(o) is int and depends[o]:
                depends[e] = True
                break
    received: dict[int, list[_Term]] = {}
    for e, g in seeds:
        received.setdefault(e, []).append((g, None))
    found: dict[int, _Operand] = {}
    for e in range(len(tape) - 1, -1, -1):
        terms = received.pop(e, None)
        if not terms or not depends[e]:
            continue
        entry, found[e] = tape[e], _total(builder, terms)
        for hook in entry.hooks:
            changed = hook(_as_value(found[e]))
            found[e] = found[e] if changed is None else changed
        gs = {i: found[e] for i, o in enumerate(entry.operands) if type(o) is int and depends[o]}
        if gs:
            x = [tape[o].handle if type(o) is int else o for o in entry.operands]
            for i, a, b in _terms(builder, entry, x, gs):
                if type(a) is not float or a != 0 or b is not None:
                    received.setdefault(entry.operands[i], []).append((a, b))  # type: ignore[arg-type]
    return [found.get(e) for e in wanted]


def _forward(builder: _Builder, tape: list[_Entry], seeds: _Seeds, wanted: Iterable[int]) -> list[Any]:
    """Return the tangents of some entries, None for one that does not depend on what has a tangent.

    Args:
        seeds: for an entry, its tangent.
        builder, tape, wanted: see `_backward`.
    """
    found: dict[int, _Operand] = dict(seeds)
    for e, entry in enumerate(tape):
        ts = {i: found[o] for i, o in enumerate(entry.operands) if type(o) is int and o in found}
        if ts and e not in found:
            x = [tape[o].handle if type(o) is int else o for o in entry.operands]
            terms = [(a, b) for _, a, b in _terms(builder, entry, x, ts) if type(a) is not float or a != 0 or b]
            if terms:
                found[e] = _total(builder, terms)
    return [found.get(e) for e in wanted]


# Values


def _tape_of(roots: Iterable[Value]) -> tuple[list[_Entry], dict[int, int]]:
    """Return the operations that some Values were made by, and which entry each node is, by its id."""
    tape: list[_Entry] = []
    places: dict[int, int] = {}
    for root in roots:
        if id(root) in places:
            continue
        for node, op, operands, local, has_closure, hooks in operations_of(root):
            if id(node) not in places:
                places[id(node)] = len(tape)
                among = tuple([x if type(x) is float else places[id(x)] for x in operands])
                tape.append(_Entry(node, op, among, local, has_closure, hooks))
    return tape, places


def gradients(y: Any, xs: Any) -> Any:
    """Return the gradients of y with respect to xs as Values, which are part of a graph and have gradients again.

    It changes no `.grad`. It works on what was computed already, so xs may be inner nodes, too; and inside of a
    function that is compiled.

    Args:
        y: a Value, or a number, which depends on nothing.
        xs: a Value; or a list, or any nest of lists, tuples, dicts and arrays, of Values.

    Returns:
        A Value for each of xs, in the same structure; `Value(0.0)` where y does not depend on it.

    Raises:
        TypeError: something else than Values is in xs; a node on the way from xs to y has a Python closure as its rule,
            or, for a second derivative, local gradients.
        NoGraphError: y has no graph, and gradients are disabled by `no_grad()`.

    >>> x = Value(2.0)
    >>> slope = gradients(x**3, x)
    >>> slope.data, gradients(slope, x).data
    (12.0, 12.0)
    """
    leaves, shape = trees.flatten(list(xs) if isinstance(xs, (tuple, Iterator)) else xs)
    for x in leaves:
        if not isinstance(x, Value):
            raise TypeError(f"xs must be a Value or a list of Values, got {type(x).__name__} {x!r:.40}")
    if not isinstance(y, Value):
        if not isinstance(y, (int, float)):
            raise TypeError(f"y must be a Value, got {type(y).__name__} {y!r:.40}")
        return trees.unflatten(shape, [Value(0.0) for _ in leaves])
    return trees.unflatten(shape, cotangents_of([y], leaves, [1.0]))


def cotangents_of(ys: list[Any], xs: list[Value], seeds: list[Any]) -> list[Value]:
    """Return what some Values receive from others, as Values: for each x the sum over i of seeds[i] * dys[i]/dx.

    Args:
        ys: Values, or numbers, which depend on nothing.
        xs: Values.
        seeds: for each of ys a Value or a number.

    Raises:
        NoGraphError: ys have no graph, and gradients are disabled by `no_grad()`.
    """
    tape, places = _tape_of([y for y in ys if isinstance(y, Value)])
    inside = [i for i, x in enumerate(xs) if id(x) in places]
    if not inside and not is_grad_enabled() and all(entry.op == "leaf" for entry in tape):
        raise NoGraphError("y has no graph: gradients are disabled by no_grad()")
    given = [(places[id(y)], seed) for y, seed in zip(ys, seeds, strict=True) if isinstance(y, Value)]
    found: list[Any] = [None] * len(xs)
    received = _backward(_Nodes(), tape, given, [places[id(xs[i])] for i in inside])
    for i, g in zip(inside, received, strict=True):
        found[i] = g
    return [_as_value(g) for g in found]


def tangents_of(ys: list[Any], xs: list[Value], directions: list[Any]) -> list[Value]:
    """Return the derivatives of some Values in a direction, as Values: the sum over i of directions[i] * dy/dxs[i].

    Args:
        ys: Values, or numbers, which depend on nothing.
        xs: Values.
        directions: for each of xs a Value or a number.
    """
    tape, places = _tape_of([y for y in ys if isinstance(y, Value)])
    seeds = [(places[id(x)], t) for x, t in zip(xs, directions, strict=True) if id(x) in places]
    found = iter(_forward(_Nodes(), tape, seeds, [places[id(y)] for y in ys if isinstance(y, Value)]))
    return [_as_value(next(found) if isinstance(y, Value) else None) for y in ys]


def dependence(ys: list[Any], xs: list[Value]) -> list[int]:
    """Return for each of ys on which of xs it depends: bit i is set where it was made from xs[i], whatever numbers."""
    tape, places = _tape_of([y for y in ys if isinstance(y, Value)])
    masks = [0] * len(tape)
    for i, x in enumerate(xs):
        if id(x) in places:
            masks[places[id(x)]] |= 1 << i
    for e, entry in enumerate(tape):
        for o in entry.operands:
            if type(o) is int:
                masks[e] |= masks[o]
    return [masks[places[id(y)]] if isinstance(y, Value) else 0 for y in ys]


def _as_value(found: Any) -> Value:
    return found if isinstance(found, Value) else Value(0.0 if found is None else found)


# Graphs


def replayed(graph: Graph, inputs: list[Value], parameters: list[Value]) -> list[Value]:
    """Return the outputs of a recorded graph, made of Values in the places of inputs and parameters.

    Unlike `Graph.values`, it looks at no number: the index of `take` stays a Value.
    """
    leaves = {"input": inputs, "parameter": parameters}
    made: list[Any] = []
    for op, operands, number in graph:
        if number is None:
            made.append(operate(op, *[made[x] for x in operands]))
        else:
            made.append(number if op == "constant" else leaves[op][int(number)])
    return [_as_value(made[e]) for e in graph.outputs]


def _tape_of_graph(graph: Graph) -> list[_Entry]:
    return [
        _Entry(float(number) if op == "constant" and number is not None else e, op, operands)
        for e, (op, operands, number) in enumerate(graph)
    ]


def _leaf(graph: Graph, op: str, count: int) -> list[int | None]:
    """Return the places of the inputs, or parameters; None for one that is not there."""
    places = {number: e for e, (kind, _, number) in enumerate(graph) if kind == op}
    return [places.get(i) for i in range(count)]


def adjoints(graph: Graph) -> Graph:
    """Return a graph that has, after its outputs, what inputs and then parameters receive from the sum of outputs.

    >>> g = Graph()
    >>> x, w = g.input(), g.parameter()
    >>> g.outputs = [g.add("mul", x, w)]
    >>> adjoints(g).outputs
    (2, 1, 0)
    """
    made = copy.copy(graph)
    builder = _Places(made)
    leaves = [*_leaf(graph, "input", graph.input_count), *_leaf(graph, "parameter", graph.parameter_count)]
    seeds = [(e, 1.0) for e in graph.outputs]
    received = iter(_backward(builder, _tape_of_graph(graph), seeds, [e for e in leaves if e is not None]))
    found = [None if e is None else next(received) for e in leaves]
    made.outputs = (*graph.outputs, *[builder.place(0.0 if g is None else g) for g in found])
    return made


def tangents(graph: Graph) -> Graph:
    """Return a graph that has, after its outputs, their tangents: as many inputs more are the tangents of inputs."""
    made = copy.copy(graph)
    builder = _Places(made)
    leaves = _leaf(graph, "input", graph.input_count)
    directions = [made.input() for _ in leaves]
    seeds = [(e, t) for e, t in zip(leaves, directions, strict=True) if e is not None]
    found = _forward(builder, _tape_of_graph(graph), seeds, graph.outputs)
    made.outputs = (*graph.outputs, *[builder.place(0.0 if t is None else t) for t in found])
    return made
