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
from contextlib import contextmanager
from typing import Any, NamedTuple, overload

from microgradc import trees
from microgradc.engine import Value
from microgradc.engine.value import derive, is_grad_enabled, loop_behind, operate, operations_of
from microgradc.program.builders import Builder, Nodes, Operand, Places, Term, combined, is_zero, total_of
from microgradc.program.c_text import ROWS
from microgradc.program.conditions import Condition, gathered, masked, taken_at
from microgradc.program.graph import Graph
from microgradc.program.iterations import fixed_nodes
from microgradc.program.loop_rules import Seed, loop_adjoints, loop_tangents
from microgradc.program.rules import Step, rule, wide_rule
from microgradc.program.scan import results_of

__all__ = [
    "COLUMNS", "NoGraphError", "adjoints", "cotangents_of", "gradients", "replayed", "tangents", "tangents_of",
    "tape_of",
]  # fmt: skip

COLUMNS = "gx", "gy", "gz"


class NoGraphError(RuntimeError):
    """Gradients were asked for of what was computed within `no_grad()`."""


# Operations and their terms


class _Entry(NamedTuple):
    """An operation that derivatives are taken of."""

    handle: Operand                         # what it is to the builder
    op: str
    operands: tuple[int | float, ...]       # which entries; a float is a constant
    local: tuple[float, ...] | None = None  # what its operands receive, where that was given
    has_closure: bool = False
    detail: Any = None                      # of a scan its Loop, of a result which it is
    hooks: tuple[Callable[[Any], Any], ...] = ()    # of a Value; they may change what it receives


_Terms = Iterator[tuple[int, Operand, Operand | None]]     # for operand i, a term


def _terms(builder: Builder, entry: _Entry, x: list[Operand], gs: dict[int, Operand]) -> _Terms:
    """Yield for each operand i in gs its terms: its derivative times gs[i].

    Raises:
        TypeError: the node's rule is not made of operations.
    """
    if entry.has_closure or entry.op == "opaque":
        raise _no_rule(entry)
    if entry.op in ROWS:
        scope = dict(zip("xyz", x, strict=False), f=entry.handle)
        for i, scope["g"] in gs.items():
            steps = rule(entry.op, COLUMNS[i])
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


def _evaluated(builder: Builder, steps: tuple[Step, ...], scope: Mapping[str, Operand]) -> Term:
    """Return what a rule gives; where its last step is a product, the factors."""
    stack: list[Operand] = []
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
            stack.append(combined(builder, op, *operands))
    return stack[0], stack[1] if factors else None


# Operations of any number of operands whose column is C alone, and those of graphs


def _of_mean(builder: Builder, x: list[Operand], f: Operand, gs: dict[int, Operand]) -> _Terms:
    shares: dict[int, Operand] = {}     # by identity: of a gradient, it is one for all operands
    for i, g in gs.items():
        if id(g) not in shares:
            shares[id(g)] = combined(builder, "div", g, float(len(x)))
        yield i, shares[id(g)], None


def _of_dot(builder: Builder, x: list[Operand], f: Operand, gs: dict[int, Operand]) -> _Terms:
    for i, g in gs.items():
        yield i, g, None if i == len(x) - 1 and len(x) % 2 else x[i ^ 1]


def _of_dense(builder: Builder, x: list[Operand], f: Operand, gs: dict[int, Operand]) -> _Terms:
    k = len(x) // 2
    for i, g in gs.items():
        yield i, g, None if i == 2 * k else x[i + k if i < k else i - k]


def _of_logsumexp(builder: Builder, x: list[Operand], f: Operand, gs: dict[int, Operand]) -> _Terms:
    """exp(v - f) times a scale, with which these add up to 1 where f is large and was rounded: see wide.h."""
    parts = [combined(builder, "exp", combined(builder, "sub", v, f)) for v in x]
    known = builder.number_of(f)
    if known is None or (abs(known) > 32 and not math.isinf(known)):
        total = combined(builder, "sum", *parts)
        is_large = combined(builder, "less", 32.0, combined(builder, "abs", f))
        is_infinite = combined(builder, "sub", f, f)      # nan, which is not 0
        scale = combined(builder, "where", is_infinite, 1.0, combined(builder, "div", 1.0, total))
        scale = combined(builder, "where", is_large, scale, 1.0)
        parts = [combined(builder, "mul", part, scale) for part in parts]
    for i, g in gs.items():
        yield i, g, parts[i]


def _of_cross_entropy(builder: Builder, x: list[Operand], f: Operand, gs: dict[int, Operand]) -> _Terms:
    of_values = {i - 1: g for i, g in gs.items() if i}
    for i, a, b in _of_logsumexp(builder, x[1:], combined(builder, "logsumexp", *x[1:]), of_values):
        yield i + 1, a, b
    for i, g in of_values.items():
        is_another = combined(builder, "sub", x[0], float(i))
        yield i + 1, -1.0, combined(builder, "where", is_another, 0.0, g)


_WIDE: dict[str, Callable[[Builder, list[Operand], Operand, dict[int, Operand]], _Terms]] = {
    "mean": _of_mean, "dot": _of_dot, "products": _of_dot, "dense": _of_dense,
    "logsumexp": _of_logsumexp, "cross_entropy": _of_cross_entropy,
}  # fmt: skip


# Nodes with rules of their own


def _name(node: Value) -> str:
    return str(node.label or node._op or "without a name")


def _no_rule(entry: _Entry) -> TypeError:
    return TypeError(
        f"the node {_name(entry.handle)!r} has a rule of its own (a closure, local gradients, a compiled function), "
        "which has no derivative; use operations of microgradc, or take derivatives inside of the compiled function"
    )


def _given(entry: _Entry, x: list[Operand], gs: dict[int, Operand]) -> _Terms:
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


_Seeds = Iterable[tuple[Any, ...]]      # for an entry, what comes from outside, and perhaps the Condition under which


def _backward(
    builder: Builder, tape: list[_Entry], seeds: _Seeds, wanted: Iterable[int], sent: dict[int, Condition] | None = None
) -> list[Any]:
    """Return what some entries receive, None for one that receives nothing.

    Args:
        builder: who makes operations.
        tape: operations, each after its operands.
        seeds: for an entry, the gradient that arrives from outside.
        wanted: which entries.
        sent: is told where these receive something.
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
    received: dict[Any, list[tuple[Term, Condition]]] = {}
    for e, g, *where in seeds:
        received.setdefault(e, []).append(((g, None), where[0] if where else ()))
    found: dict[int, Operand] = dict.fromkeys(wanted)
    arrived: dict[Any, dict[int, tuple[Operand, Condition]]] = {}       # at the results of a scan
    for e in range(len(tape) - 1, -1, -1):
        if e in arrived:
            entry = tape[e]
            x = [tape[o].handle if type(o) is int else o for o in entry.operands]
            among = [i for i, o in enumerate(entry.operands) if type(o) is int and depends[o]]
            at = arrived.pop(e)
            gs = {i: masked(builder, *sent) for i, sent in at.items()}
            where_sent = {i: masked(builder, 1.0, condition) for i, (_, condition) in at.items() if condition}
            for i, g, flag in loop_adjoints(builder.scan, entry.detail, x, gs, where_sent, among, _received_in):
                if type(g) is not float or g != 0:
                    at_all = () if flag is None else ((builder.add("where", flag, 1.0, 0.0), 1),)
                    received.setdefault(entry.operands[i], []).append(((g, None), at_all))
        terms = received.pop(e, None)
        if not terms or not depends[e]:
            continue
        entry = tape[e]
        if builder.derive is not None:
            builder.derive(entry.handle)
        total, condition = gathered(builder, terms)
        if entry.hooks:
            total, condition = _after_hooks(entry, masked(builder, total, condition)), ()
        if e in found:
            found[e] = masked(builder, total, condition)
            if sent is not None:
                sent[e] = condition
        if entry.op == "result":
            arrived.setdefault(entry.operands[0], {})[entry.detail] = total, condition
            continue
        gs = {i: total for i, o in enumerate(entry.operands) if type(o) is int and depends[o]}
        if not gs:
            continue
        x = [tape[o].handle if type(o) is int else o for o in entry.operands]
        if entry.op == "take":      # sends to the one that it takes, and to the others nothing, not even 0
            for i in filter(None, gs):
                taken = (*condition, taken_at(builder, x, i))
                received.setdefault(entry.operands[i], []).append(((total, None), taken))
            continue
        for i, a, b in _terms(builder, entry, x, gs):
            if not is_zero(a, b):
                received.setdefault(entry.operands[i], []).append(((a, b), condition))
    return [found[e] for e in wanted]


def _after_hooks(entry: _Entry, received: Operand) -> Operand:
    """Return what a Value received when its hooks have changed it."""
    for hook in entry.hooks:
        changed = hook(_as_value(received))
        received = received if changed is None else changed
    return received


def _forward(builder: Builder, tape: list[_Entry], seeds: _Seeds, wanted: Iterable[int]) -> list[Any]:
    """Return the tangents of some entries, None for one that does not depend on what has a tangent.

    Args:
        seeds: for an entry, its tangent.
        builder, tape, wanted: see `_backward`.
    """
    found: dict[int, Operand] = {e: t for e, t, *_ in seeds}
    of_loops: dict[Any, list[Operand]] = {}
    for e, entry in enumerate(tape):
        if entry.op == "result":
            if entry.operands[0] in of_loops:
                found[e] = of_loops[entry.operands[0]][entry.detail]
            continue
        ts = {i: found[o] for i, o in enumerate(entry.operands) if type(o) is int and o in found}
        if not ts or e in found:
            continue
        if builder.derive is not None:
            builder.derive(entry.handle)
        if entry.op == "dot" or entry.op == "products":     # weights stay one after another
            ts = {i: ts[i] for i in sorted(ts, key=lambda i: i % 2)}
        x = [tape[o].handle if type(o) is int else o for o in entry.operands]
        if entry.op == "scan":
            of_loops[e] = loop_tangents(builder.scan, entry.detail, x, ts, _tangents_in)
        elif entry.op == "take":
            if any(ts):     # but for the index
                found[e] = builder.add("take", x[0], *[ts.get(i, 0.0) for i in range(1, len(x))])
        else:
            terms = [(a, b) for _, a, b in _terms(builder, entry, x, ts) if not is_zero(a, b)]
            if terms:
                found[e] = total_of(builder, terms)
    return [found.get(e) for e in wanted]


# Values


def tape_of(roots: Iterable[Value]) -> tuple[list[_Entry], dict[int, int]]:
    """Return the operations that some Values were made by, and which entry each node is, by its id."""
    tape: list[_Entry] = []
    places: dict[int, int] = {}
    fixed = fixed_nodes()
    for root in roots:
        if id(root) in places:
            continue
        for node, op, operands, local, has_closure, hooks in operations_of(root):
            if id(node) not in places:
                places[id(node)] = len(tape)
                if id(node) in fixed:
                    tape.append(_Entry(node, "leaf", ()))
                    continue
                among = tuple([x if type(x) is float else places[id(x)] for x in operands])
                detail = loop_behind(node) if op == "scan" else int(among[1]) if op == "result" else None
                tape.append(_Entry(node, op, among[:1] if op == "result" else among, local, has_closure, detail, hooks))
    return tape, places


@overload
def gradients(y: Value | float, xs: Value) -> Value: ...
@overload
def gradients(y: Value | float, xs: list[Value]) -> list[Value]: ...
@overload
def gradients(y: Value | float, xs: Any) -> Any: ...
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


def cotangents_of(ys: list[Any], xs: list[Value], seeds: list[Any], short: int = 0) -> list[Value]:
    """Return what some Values receive from others, as Values: for each x the sum over i of seeds[i] * dys[i]/dx.

    Args:
        ys: Values, or numbers, which depend on nothing.
        xs: Values.
        seeds: for each of ys a Value or a number.
        short: see `_Builder`. A program of one example goes through many equal additions at once, through dots one by
            one.

    Raises:
        NoGraphError: ys have no graph, and gradients are disabled by `no_grad()`.
    """
    tape, places = tape_of([y for y in ys if isinstance(y, Value)])
    inside = [i for i, x in enumerate(xs) if id(x) in places]
    if not inside and not is_grad_enabled() and all(entry.op == "leaf" for entry in tape):
        raise NoGraphError("y has no graph: gradients are disabled by no_grad()")
    given = [(places[id(y)], seed) for y, seed in zip(ys, seeds, strict=True) if isinstance(y, Value)]
    found: list[Any] = [None] * len(xs)
    with _noted():
        received = _backward(Nodes(short), tape, given, [places[id(xs[i])] for i in inside])
    for i, g in zip(inside, received, strict=True):
        found[i] = g
    return [_as_value(g) for g in found]


def tangents_of(ys: list[Any], xs: list[Value], directions: list[Any], short: int = 0) -> list[Value]:
    """Return the derivatives of some Values in a direction, as Values: the sum over i of directions[i] * dy/dxs[i].

    Args:
        ys: Values, or numbers, which depend on nothing.
        xs: Values.
        directions: for each of xs a Value or a number.
        short: see `cotangents_of`.
    """
    tape, places = tape_of([y for y in ys if isinstance(y, Value)])
    seeds = [(places[id(x)], t) for x, t in zip(xs, directions, strict=True) if id(x) in places]
    with _noted():
        found = iter(_forward(Nodes(short), tape, seeds, [places[id(y)] for y in ys if isinstance(y, Value)]))
    return [_as_value(next(found) if isinstance(y, Value) else None) for y in ys]


@contextmanager
def _noted() -> Iterator[None]:
    """Where lines are noted, those of derivatives are the lines of what they are derivatives of, until the end."""
    try:
        yield
    finally:
        derive(None)


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
        elif op == "scan":
            made.append(results_of(graph.all_loops[int(number)], [made[x] for x in operands]))
        elif op == "result":
            made.append(made[operands[0]][int(number)])
        else:
            made.append(number if op == "constant" else leaves[op][int(number)])
    return [_as_value(made[e]) for e in graph.outputs]


def _tape_of_graph(graph: Graph) -> list[_Entry]:
    loops = graph.all_loops
    return [
        _Entry(float(number) if op == "constant" and number is not None else e, op, operands, None, False,
               loops[int(number)] if op == "scan" and number is not None else number)
        for e, (op, operands, number) in enumerate(graph)
    ]  # fmt: skip


def _received_in(graph: Graph, seeds: list[Seed], wanted: list[int]) -> list[tuple[int | None, int | None]]:
    """Add to a graph what some of its expressions receive; return the places, and those of whether they do."""
    builder, sent = Places(graph), dict[int, Condition]()
    found = _backward(builder, _tape_of_graph(graph), seeds, wanted, sent)
    return [
        (None if g is None else builder.place(g), builder.place(masked(builder, 1.0, sent[e])) if sent.get(e) else None)
        for e, g in zip(wanted, found, strict=True)
    ]


def _tangents_in(graph: Graph, seeds: list[Seed], wanted: list[int]) -> list[int | None]:
    """Add to a graph the tangents of some of its expressions; return the places."""
    builder = Places(graph)
    found = _forward(builder, _tape_of_graph(graph), seeds, wanted)
    return [None if t is None else builder.place(t) for t in found]


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
    builder = Places(made)
    leaves = [*_leaf(graph, "input", graph.input_count), *_leaf(graph, "parameter", graph.parameter_count)]
    seeds = [(e, 1.0) for e in graph.outputs]
    received = iter(_backward(builder, _tape_of_graph(graph), seeds, [e for e in leaves if e is not None]))
    found = [None if e is None else next(received) for e in leaves]
    made.outputs = (*graph.outputs, *[builder.place(0.0 if g is None else g) for g in found])
    return made


def tangents(graph: Graph) -> Graph:
    """Return a graph that has, after its outputs, their tangents: as many inputs more are the tangents of inputs."""
    made = copy.copy(graph)
    builder = Places(made)
    leaves = _leaf(graph, "input", graph.input_count)
    directions = [made.input() for _ in leaves]
    seeds = [(e, t) for e, t in zip(leaves, directions, strict=True) if e is not None]
    found = _forward(builder, _tape_of_graph(graph), seeds, graph.outputs)
    made.outputs = (*graph.outputs, *[builder.place(0.0 if t is None else t) for t in found])
    return made
