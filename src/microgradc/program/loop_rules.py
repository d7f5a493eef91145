"""Derivatives of loops, as loops: backward from the last iteration to the first, and forward beside the loop itself.

Backward, a first loop gives the carries with which each iteration begins. A second one goes through them in reverse:
it carries what the carries receive, and sums of what is received by all that the iterations take from around; its xs
are the carries, the xs and what the ys receive, and its ys are what the xs receive. Forward, carries and xs have their
tangents beside them. So these are loops again, which have derivatives of the same kind.

Changes with what a `Loop` is made of. How a step's derivatives are found is told by whoever asks (`calculus.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from microgradc.program.graph import Graph, Loop

__all__ = ["copied_into", "loop_adjoints", "loop_tangents"]

# Adds derivatives to a graph: of seeds, (place, place of a derivative, where it is one), for places that are wanted.
# What is received comes with the place of a 0 or a 1, whether anything is; None if that does not depend on numbers.
Seed = tuple[int, int, tuple[tuple[int, int], ...]]
Derivatives = Callable[[Graph, list[Seed], list[int]], list[Any]]


def copied_into(
    to: Graph, graph: Graph, inputs: list[int], parameters: list[int], ended: int | None = None
) -> list[Any]:
    """Add a graph's expressions to another one; return their places there, a list of results for a scan.

    Args:
        to: the other graph.
        graph: a Graph.
        inputs, parameters: the places in `to` of what is in the place of its leaves.
        ended: where this is not 0, indices may be anything: then 0 is taken.
    """
    made: list[Any] = []
    for op, operands, number in graph:
        x = [made[operand] for operand in operands]
        if number is None:
            if op == "take" and ended is not None:
                x[0] = to.add("where", ended, to.constant(0.0), x[0])
            made.append(to.add(op, *x))
        elif op == "scan":
            made.append(to.scan(graph.all_loops[int(number)], *x))
        elif op == "result":
            made.append(x[0][int(number)])
        elif op == "constant":
            made.append(to.constant(number))
        else:
            made.append((inputs if op == "input" else parameters)[int(number)])
    return made


class _Body(NamedTuple):
    """A copy of a loop's body in a graph: the places of its leaves and of what it gives."""

    graph: Graph
    carries: list[int]
    xs: list[int]
    captured: list[int]
    next: list[int]
    ys: list[int]
    end: list[int]      # one or none


def _inputs(graph: Graph, count: int) -> list[int]:
    return [graph.input() for _ in range(count)]


def _copied(loop: Loop, graph: Graph, carries: list[int], xs: list[int], ended: int | None = None) -> _Body:
    """Return a copy of a loop's body in a graph, over these inputs, and parameters, which are added."""
    captured = [graph.parameter() for _ in range(loop.body.parameter_count)]
    made = copied_into(graph, loop.body, carries + xs, captured, ended)
    found = [made[e] for e in loop.body.outputs]
    next_ys = loop.carries + loop.ys
    return _Body(graph, carries, xs, captured, found[: loop.carries], found[loop.carries : next_ys], found[next_ys:])


def _with_carries(loop: Loop) -> Loop:
    """Return a loop whose ys are the carries with which an iteration begins, and whether it had ended then."""
    graph = Graph()
    inputs = _inputs(graph, loop.carries + loop.xs)
    body = _copied(loop, graph, inputs[: loop.carries], inputs[loop.carries :])
    graph.outputs = (*body.next, *body.carries, *body.end, *body.end)
    return Loop(graph, loop.length, loop.carries, loop.xs, loop.ends, loop.keeps_all)


def loop_adjoints(
    scan: Callable[[Loop, list[Any]], list[Any]],
    loop: Loop,
    x: list[Any],
    arrived: dict[int, Any],
    where: dict[int, Any],
    wanted: list[int],
    backward: Derivatives,
) -> Iterator[tuple[int, Any, Any]]:
    """Yield for operands of a loop what they receive, and what is not 0 where they receive something; None if always.

    Args:
        scan: makes a loop over operands, and returns its results.
        loop: a Loop.
        x: its operands.
        arrived: what arrived at its results, by their numbers.
        where: what is not 0 where it did, of those at which nothing arrived elsewhere.
        wanted: which operands.
        backward: see `Derivatives`; places are those of gradients, None for one that receives nothing.
    """
    c, w, m, length = loop.carries, loop.xs, loop.ys, loop.length
    first = c + length * w
    columns = sorted({(i - c) % w for i in wanted if c <= i < first})
    captured = [i - first for i in wanted if i >= first]
    arriving = sorted({(i - c) % m for i in arrived if i >= c})
    sent = _Sent(loop, arrived, where)
    began = scan(_with_carries(loop), x)[c:]

    graph = Graph()
    received, sums = _inputs(graph, c), _inputs(graph, len(captured))
    alive, ever = dict(zip(sent.alive, _inputs(graph, len(sent.alive)), strict=True)), []
    if sent.depends:
        ever = _inputs(graph, len(captured))
    carries, ended, xs = _inputs(graph, c), _inputs(graph, int(loop.ends)), _inputs(graph, w)
    gys = _inputs(graph, len(arriving))
    flags = dict(zip(sent.flags, _inputs(graph, len(sent.flags)), strict=True)) | alive
    body = _copied(loop, graph, carries, xs, ended[0] if ended else None)

    def seed(place: int, g: int, which: int) -> list[Seed]:
        """Return the gradient of an output of the body, if anything is ever sent to it, and where."""
        if which in flags:
            flag = flags[which]
            if sent.depends:
                flag = graph.add("where", flag, graph.constant(1.0), graph.constant(0.0))
            return [(place, g, ((flag, 1),))]
        return [(place, g, ())] if sent.whenever[which] else []

    of_carries = [s for i in range(c) for s in seed(body.next[i], received[i], i)]
    of_ys = [s for j, g in zip(arriving, gys, strict=True) for s in seed(body.ys[j], g, c + j)]
    leaves = [*carries, *[xs[j] for j in columns], *[body.captured[j] for j in captured]]
    found = backward(graph, of_carries + of_ys, leaves)
    nothing: list[Any] = [(None, None)] * len(leaves)
    frozen = backward(graph, of_ys, leaves) if loop.ends and of_ys else nothing

    def chosen(i: int, before: int | None) -> int:
        """Return what leaf i receives, with what there was before; in lanes in which the loop had ended, as if the
        carries were not changed."""
        going = _sum(graph, before if i >= c else None, found[i][0])
        return _unless(graph, ended[0], going, _sum(graph, before, frozen[i][0])) if ended else going

    def is_sent(i: int, before: int | None) -> int:
        """Return whether leaf i receives anything, as a 0 or a 1."""
        going = _either(graph, before if i >= c else None, found[i])
        return graph.add("where", ended[0], _either(graph, before, frozen[i]), going) if ended else going

    gradients = [chosen(i, received[i]) for i in range(c)]
    of_xs = [chosen(c + j, None) for j in range(len(columns))]
    at = c + len(columns)
    totals = [chosen(at + j, sums[j]) for j in range(len(captured))]
    still = [is_sent(i, alive.get(i)) for i in sent.alive]
    ever = [is_sent(at + j, before) for j, before in enumerate(ever)]
    to_xs = [is_sent(c + j, None) for j in range(len(columns))] if sent.depends else []
    graph.outputs = (*gradients, *totals, *still, *ever, *of_xs, *to_xs)

    operands = [arrived.get(i, 0.0) for i in range(c)] + [0.0] * len(captured)
    operands += [where.get(i, float(i in arrived)) for i in sent.alive] + [0.0] * len(ever)
    size = c + len(ended)
    for t in reversed(range(length)):
        operands += began[t * size : (t + 1) * size]
        operands += x[c + t * w : c + (t + 1) * w]
        operands += [arrived.get(c + t * m + j, 0.0) for j in arriving]
        operands += [where.get(c + t * m + which - c, float(sent.at[which][t])) for which in sent.flags]
    width = size + w + len(arriving) + len(sent.flags)
    count = c + len(captured) + len(still) + len(ever)
    results = scan(Loop(graph, length, count, width, False, loop.keeps_all), operands + x[first:])
    for i in wanted:
        if i < c:
            yield i, results[i], results[c + len(captured) + sent.alive.index(i)] if i in sent.alive else None
        elif i >= first:
            j = captured.index(i - first)
            yield i, results[c + j], results[c + len(captured) + len(still) + j] if ever else None
        else:
            t, column = divmod(i - c, w)
            row = results[count + (length - 1 - t) * (len(of_xs) + len(to_xs)) :]
            j = columns.index(column)
            yield i, row[j], row[len(columns) + j] if to_xs else None


class _Sent:
    """To which outputs of a body something is sent, in which iterations; where nothing is, not even 0 is to be sent.

    Args:
        loop: a Loop.
        arrived, where: see `loop_adjoints`.

    Attributes:
        depends: whether that depends on numbers: on what a `take` takes, on the end of the loop, on `where`.
        alive: if so, the carries to which something is ever sent; else none.
        at: for each carry that comes next, and then each y, by iteration whether something is sent to it.
        whenever: whether that is so in any iteration.
        flags: those for which it is so in some, and not in others, or depends on numbers; but for `alive`.
    """

    def __init__(self, loop: Loop, arrived: dict[int, Any], where: dict[int, Any]) -> None:
        c, m, length = loop.carries, loop.ys, loop.length
        masks = _carries_of(loop.body, c)
        reads = [masks[e] for e in loop.body.outputs]      # of each output the carries that it is made from
        self.at = [[False] * length for _ in range(c + m)]
        alive = [i in arrived for i in range(c)]
        for t in reversed(range(length)):
            now = alive + [c + t * m + j in arrived for j in range(m)]
            for which, is_sent in enumerate(now):
                self.at[which][t] = is_sent
            union = 0
            for which, is_sent in enumerate(now):
                union |= reads[which] if is_sent else 0
            # In lanes in which the loop has ended, what arrived stays.
            alive = [bool(union >> i & 1) or (loop.ends and alive[i]) for i in range(c)]
        self.whenever = [any(flags) for flags in self.at]
        self.depends = bool(where) or loop.ends or _takes(loop.body)
        self.alive = [i for i in range(c) if self.whenever[i]] if self.depends else []
        conditional = {c + (i - c) % m for i in where if i >= c}
        self.flags = [
            which for which, flags in enumerate(self.at)
            if which not in self.alive and any(flags) and (not all(flags) or which in conditional)
        ]


def _takes(body: Graph) -> bool:
    """Return whether there is a `take` in a body, or in a loop in it, or such a loop may end by itself."""
    return any(op == "take" for op, _, _ in body) or any(loop.ends or _takes(loop.body) for loop in body.all_loops)


def _either(graph: Graph, before: int | None, found: tuple[int | None, int | None]) -> int:
    """Return a 0 or a 1, whether something was sent before or is sent now; see `Derivatives`."""
    now = graph.constant(float(found[0] is not None)) if found[1] is None else found[1]
    return now if before is None else graph.add("where", before, graph.constant(1.0), now)


def _carries_of(body: Graph, count: int) -> list[int]:
    """Return for each expression, as bits, which of the first inputs it is made from."""
    masks: list[int] = []
    for op, operands, number in body:
        mask = 0
        for operand in operands:
            mask |= masks[operand]
        if op == "input" and number is not None and number < count:
            mask = 1 << int(number)
        masks.append(mask)
    return masks


def _sum(graph: Graph, *terms: int | None) -> int:
    """Return the sum of one or two terms, of which None is 0."""
    given = [e for e in terms if e is not None]
    return graph.add("add", *given) if len(given) == 2 else given[0] if given else graph.constant(0.0)


def _unless(graph: Graph, condition: int, x: int, otherwise: int) -> int:
    """Return x, or something else where the condition is not 0; nothing goes through what was not chosen."""
    index = graph.add("where", condition, graph.constant(1.0), graph.constant(0.0))
    return graph.add("take", index, x, otherwise)


def loop_tangents(
    scan: Callable[[Loop, list[Any]], list[Any]],
    loop: Loop,
    x: list[Any],
    tangents: dict[int, Any],
    forward: Derivatives,
) -> list[Any]:
    """Return the tangents of a loop's results.

    Args:
        scan, loop, x: see `loop_adjoints`.
        tangents: those of operands, by their numbers.
        forward: see `Derivatives`; places are those of tangents.
    """
    c, w, length = loop.carries, loop.xs, loop.length
    first = c + length * w
    columns = sorted({(i - c) % w for i in tangents if c <= i < first})
    captured = sorted([i - first for i in tangents if i >= first])
    graph = Graph()
    carries, of_carries = _inputs(graph, c), _inputs(graph, c)
    xs, of_xs = _inputs(graph, w), _inputs(graph, len(columns))
    body = _copied(loop, graph, carries, xs)
    of_captured = [graph.parameter() for _ in captured]
    moving = _with_tangents(loop, {i for i in tangents if i < c}, columns, captured)
    seeds: list[Seed] = [(e, t, ()) for i, (e, t) in enumerate(zip(carries, of_carries, strict=True)) if i in moving]
    seeds += [(xs[j], t, ()) for j, t in zip(columns, of_xs, strict=True)]
    seeds += [(body.captured[j], t, ()) for j, t in zip(captured, of_captured, strict=True)]
    found = [_sum(graph, t) for t in forward(graph, seeds, [*body.next, *body.ys])]
    graph.outputs = (*body.next, *found, *body.end)
    beside = Loop(graph, length, 2 * c, w + len(columns), loop.ends, loop.keeps_all)
    operands = x[:c] + [tangents.get(i, 0.0) for i in range(c)]
    for t in range(length):
        operands += x[c + t * w : c + (t + 1) * w]
        operands += [tangents.get(c + t * w + j, 0.0) for j in columns]
    operands += x[first:] + [tangents[first + j] for j in captured]
    results = scan(beside, operands)
    return results[c:]


def _with_tangents(loop: Loop, moving: set[int], columns: list[int], captured: list[int]) -> set[int]:
    """Return which carries may have a tangent: those that begin with one, or are made from what has one."""
    begin = {("input", loop.carries + j) for j in columns} | {("parameter", j) for j in captured}
    while True:
        has: list[bool] = []
        for op, operands, number in loop.body:
            is_leaf = op == "input" and number in moving
            has.append(is_leaf or (op, number) in begin or any(has[operand] for operand in operands))
        found = moving | {i for i in range(loop.carries) if has[loop.body.outputs[i]]}
        if found == moving:
            return moving
        moving = found
