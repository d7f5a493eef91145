"""The order of a C text and the places of its numbers: what of a graph is computed together, when, and where it lies.

Changes with what becomes a loop. Numbers lie in one array: inputs first, then results, then constants that a loop
reads, then parameters. Gradients have the same places in another one. What is known when the text is written, as
everything is that depends on no input where the parameters are baked in, is a number in the text, and has a place in
the array of values only where a loop reads it.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from microgradc.engine import CompileError, Value, no_grad
from microgradc.program.c_lifted import lifted
from microgradc.program.c_loops import LOOPS
from microgradc.program.c_text import PREFIX, ROWS
from microgradc.program.c_units import FEWEST, Unit, Walk, in_order
from microgradc.program.graph import Expression, Graph, Loop

__all__ = ["Body", "Layout"]

_LATER = 1 << 40    # where places are counted from whose beginning is known at the end: of constants, of parameters
_PARAMETERS = 2 * _LATER
_MOST = (1 << 31) - 1       # numbers: places are C's int

# Operations of any number of operands, but for layers, which have several results too.
_SEVERAL = {name[len(PREFIX):-len("_back")] for name in LOOPS if name.endswith("_back")}
_SEVERAL -= {"dense", "dense_of", "dense_sent"}
_OTHERS = {"input", "parameter", "constant", "dense", "scan"}


def _takes(graph: Graph) -> bool:
    """Return whether there is a `take`, in bodies too."""
    return any(x.op == "take" for x in graph) or any(_takes(loop.body) for loop in graph.all_loops)


class Layout:
    """Units in their order, and places.

    Args:
        graph: after its passes.
        parameters: their numbers, which are written into the text; None if they are passed.
        gradients: whether gradients are wanted.

    Attributes:
        expressions: those of the graph.
        number: of each its number if it is known, else None.
        active: of each whether it depends on an input or a parameter, and so receives a gradient.
        behind: of each whether only `take` reads it, as one of several, or what only `take` reads: where that takes
            another, nothing is sent to it, not even 0.
        bodies: of each scan the layout of what an iteration does.
        is_careful: whether there are loops and a `take`: then anything may be behind it.
        units: in the order in which they are computed.
        fills: places in the array of values, and the known numbers that a loop reads there.
        result_count: how many places inputs, results and constants have.
        kept_count: how many numbers loops keep from their iterations, after the values.
        reads_parameters: whether parameters have places in the array of values too.
        parameter_order: the parameters in the order of their places, in which those of a layer follow one another.
    """

    reads_parameters: bool
    is_careful: bool
    parameter_order: list[int]
    units: list[Unit]
    result_count: int
    value_count: int
    graph: Graph
    parameters: list[float] | None
    gradients: bool
    bodies: dict[int, Body]
    behind: list[bool]

    raw: Callable[[int], int]       # the place of an expression before it is known where parameters begin

    def __init__(self, graph: Graph, parameters: list[float] | None, gradients: bool) -> None:
        self.root = self
        self.reads_parameters = parameters is None
        self.fills: dict[int, float] = {}
        self._constants = self.kept_count = 0
        self.is_careful = bool(graph.all_loops) and gradients and _takes(graph)
        self._look_at(lifted(graph) if graph.all_loops else graph, parameters, gradients)
        self._next = graph.input_count
        self.parameter_order = self._parameter_order()
        for place, which in enumerate(self.parameter_order):
            self._rank[which] = place
        self.raw = self._place.__getitem__
        for e, (op, _, number) in enumerate(self.expressions):
            if op == "parameter":
                self._place[e] = _PARAMETERS + self._rank[int(number or 0)]
        self.units = in_order(self._all_units(), self.expressions, self._results)
        self._read_by_tables()
        self.result_count = self._next + self._constants
        self.value_count = self.result_count + graph.parameter_count * self.reads_parameters
        self.fills = {self._final(place): number for place, number in self.fills.items()}
        if self.value_count + self.kept_count + self.result_count + graph.parameter_count >= _MOST:
            raise CompileError("the function cannot be written as C: its loops keep too many numbers")

    def _look_at(self, graph: Graph, parameters: list[float] | None, gradients: bool) -> None:
        """Find out what can be known before there are places."""
        self.graph, self.parameters, self.gradients = graph, parameters, gradients
        self.expressions: list[Expression] = list(graph)
        self.active: list[bool] = []
        self.level: list[int] = []
        self.number: list[float | None] = []
        self._results: dict[int, list[int]] = {}        # of a scan the expressions that are results of it
        self._rank = [0] * graph.parameter_count
        self._place: list[int] = [-1] * len(self.expressions)
        self._used = {x for _, operands, _ in self.expressions for x in operands} | set(graph.outputs)
        for e, (op, operands, _) in enumerate(self.expressions):
            self.level.append(1 + max([self.level[x] for x in operands]) if operands else 0)
            if op == "result":
                self._results.setdefault(operands[0], []).append(e)
            elif op not in ROWS and op not in _SEVERAL and op not in _OTHERS:
                raise CompileError(f"the operation {op!r} cannot be written as C")
        self._look_at_expressions()
        self.bodies = {e: Body(self, e) for e, x in enumerate(self.expressions) if x.op == "scan"}
        self.behind = self._look_behind() if gradients else [False] * len(self.expressions)
        self._groups = self._all_groups()

    def place(self, e: int) -> int:
        """Return the place of an expression; -1 if it has none."""
        return self.root._final(self.raw(e))

    @property
    def nobody(self) -> int:
        """The place of the gradient of what has none."""
        return self.root.result_count + self.root.graph.parameter_count

    @property
    def gradients_begin(self) -> int:
        """Where the gradients begin in the memory of a call, after the values and what loops keep."""
        return self.value_count + self.kept_count

    def weights(self, unit: Unit) -> list[int]:
        """Return the weights of a dense layer: the biases of its results, then what each operand is multiplied with."""
        all_operands = [self.expressions[e].operands for e in unit.members]
        k = len(all_operands[0]) // 2
        return [operands[at] for at in (-1, *range(k, 2 * k)) for operands in all_operands]

    def parameter_of(self, e: int) -> int | None:
        """Return which parameter of the function an expression is; None if it is none."""
        op, _, number = self.expressions[e]
        return int(number or 0) if op == "parameter" else None

    def _parameter_order(self) -> list[int]:
        order: dict[int, None] = {}
        self._order_parameters(order)
        order.update(dict.fromkeys(range(self.graph.parameter_count)))
        return list(order)

    def _order_parameters(self, order: dict[int, None]) -> None:
        """Add the parameters of layers to those in order."""
        for members in self._groups:
            unit = Unit(self.expressions[members[0]].op, tuple(members))
            if unit.op == "scan":
                self.bodies[members[0]]._order_parameters(order)
            elif unit.op == "dense" and self.is_loop(unit):
                weights = self.weights(unit)
                numbers = dict.fromkeys([p for p in map(self.parameter_of, weights) if p is not None])
                if len(numbers) == len(weights) and not any(number in order for number in numbers):
                    order.update(numbers)

    def is_loop(self, unit: Unit) -> bool:
        """Return whether a unit is written as a loop, or a call of one, that reads its operands by their places."""
        operands = len(self.expressions[unit.members[0]].operands)
        if unit.op == "dense":
            return len(unit.members) * (operands // 2) > FEWEST
        return unit.op in _SEVERAL and (unit.op != "products" or operands > 2 * FEWEST)

    def _final(self, place: int) -> int:
        if place < _LATER:
            return place
        if place < _PARAMETERS:
            return self._next + place - _LATER
        return self.result_count + place - _PARAMETERS

    def _look_at_expressions(self) -> None:
        varies: list[bool] = []
        for e, (op, operands, number) in enumerate(self.expressions):
            varies.append(op in ("input", "scan") or any(varies[x] for x in operands))
            self.active.append(op in ("input", "parameter") or any(self.active[x] for x in operands))
            if op == "input":
                self._place[e] = int(number or 0)
        baked = self.parameters is not None
        self.number = self._known_numbers([
            not (varies[e] or (not baked and self.active[e])) for e in range(len(varies))
        ])

    def _look_behind(self) -> list[bool]:
        others = [not self.active[e] for e in range(len(self.expressions))]     # whether something else reads it
        taken = [False] * len(others)
        for e in self.graph.outputs:
            others[e] = True
        for e in reversed(range(len(others))):
            op, operands, _ = self.expressions[e]
            if self.active[e]:
                is_behind = op == "take" or (op == "scan" and self.is_careful) or (taken[e] and not others[e])
                for x in operands[op == "take":]:
                    taken[x] |= is_behind
                    others[x] |= not is_behind
        return [taken[e] and not others[e] for e in range(len(others))]

    def _known_numbers(self, known: list[bool]) -> list[float | None]:
        """Return the numbers of some expressions, computed by the engine; None for the others."""
        graph = Graph()
        place: dict[int, int] = {}
        parameters = self.parameters or []
        places = [graph.parameter() for _ in parameters]
        for e, (op, operands, number) in enumerate(self.expressions):
            if known[e]:
                place[e] = (
                    graph.constant(number or 0.0) if op == "constant" else places[int(number or 0)]
                    if op == "parameter" else graph.add(op, *[place[x] for x in operands])
                )
        graph.outputs = tuple(place.values())
        with no_grad():
            values = graph.values([], [Value(x) for x in parameters])
        numbers = dict(zip(place, values, strict=True))
        return [numbers[e].data if e in numbers else None for e in range(len(known))]

    # Units

    def _all_groups(self) -> list[list[int]]:
        """Return what may be computed together; levels one after another."""
        levels: dict[int, list[int]] = {}
        for e, (op, operands, _) in enumerate(self.expressions):
            is_computed = self.number[e] is None or (self.gradients and self.active[e])
            if (operands or op == "scan") and op != "result" and is_computed:
                levels.setdefault(self.level[e], []).append(e)
        groups: list[list[int]] = []
        for level in sorted(levels):
            alike: dict[object, list[int]] = {}
            for e in levels[level]:
                op, operands, _ = self.expressions[e]
                key = (op, operands[:len(operands) // 2]) if op == "dense" else op if op in ROWS else e
                is_known = self.number[e] is not None
                alike.setdefault(e if is_known else (key, self.behind[e], self.active[e]), []).append(e)
            groups += alike.values()
        return groups

    def _all_units(self) -> list[Unit]:
        """Return all units, places given to their members."""
        return [unit for members in self._groups for unit in self._units_of(members)]

    def _units_of(self, members: list[int]) -> list[Unit]:
        """Return the units of some expressions of one operation, on one level."""
        op = self.expressions[members[0]].op
        is_known = self.number[members[0]] is not None
        if op == "scan":
            self._place_results(members[0])
            self.bodies[members[0]].arrange()
            return [Unit(op, tuple(members))]
        if op not in ROWS:
            self._give_places(members)
            return [Unit(op, tuple(members), is_known=is_known)]
        found, begin = [], 0
        while begin < len(members):
            end, walks = self._run(members, begin)
            if end - begin < FEWEST:
                end, walks = begin + 1, ()
            self._give_places(members[begin:end])
            found.append(Unit(op, tuple(members[begin:end]), walks, is_known))
            begin = end
        return found

    def _place_results(self, scan: int) -> None:
        """Give places to the results of a loop; ys that something reads lie one after another."""
        body = self.bodies[scan]
        carries, length, ys = body.loop.carries, body.loop.length, body.loop.ys
        for e in self._results.get(scan, []):
            which = int(self.expressions[e].number or 0)
            if e not in self._used:
                continue
            if which < carries:
                self._give_places([e])
                body.results[which] = self._place[e]
                continue
            t, i = divmod(which - carries, ys)
            if i not in body.ys:
                body.ys[i] = self.root._next
                self.root._next += length
            self._place[e] = body.ys[i] + t

    def _give_places(self, members: list[int]) -> None:
        for e in members:
            self._place[e] = self.root._next
            self.root._next += 1

    def _run(self, members: list[int], begin: int) -> tuple[int, tuple[Walk, ...]]:
        """Return where a run ends, in which each operand goes on by the same stride, and its operands."""
        firsts = self.expressions[members[begin]].operands
        if begin + 1 == len(members):
            return begin + 1, ()
        strides = [self._stride(x, y) for x, y in
                   zip(firsts, self.expressions[members[begin + 1]].operands, strict=True)]
        if None in strides:
            return begin + 1, ()
        end, last = begin + 2, self.expressions[members[begin + 1]].operands
        while end < len(members):
            operands = self.expressions[members[end]].operands
            if [self._stride(x, y) for x, y in zip(last, operands, strict=True)] != strides:
                break
            end, last = end + 1, operands
        if end - begin < FEWEST:
            return end, ()
        walks = []
        for i, (x, stride) in enumerate(zip(firsts, strides, strict=True)):
            numbers = [self.number[self.expressions[e].operands[i]] for e in members[begin:end]]
            known = tuple(number for number in numbers if number is not None)
            walks.append(Walk(known or None, x, stride or 0, self.active[x]))
        return end, tuple(walks)

    def _stride(self, x: int, y: int) -> int | None:
        """Return how far the place of y is from that of x; None if they cannot be operands of one loop."""
        if x == y:
            return 0
        if (self.number[x] is None) != (self.number[y] is None) or self.active[x] != self.active[y]:
            return None
        if self.number[x] is not None and not (self.active[x] and self.gradients):
            return 0        # known numbers that receive nothing
        return self.raw(y) - self.raw(x)

    # What loops read

    def _read_by_tables(self) -> None:
        """Give places in the array of values to known numbers that loops read by their places."""
        for unit in self.units:
            if unit.op == "scan":
                self.bodies[unit.members[0]].read_by_tables()
                continue
            if not self.is_loop(unit):
                continue
            for e in unit.members:
                operands = self.expressions[e].operands
                rows = len(operands) // 2 if unit.op == "dense" and self.parameters is not None else len(operands)
                for x in operands[:rows]:
                    self._fill(x)
        if self.reads_outputs_by_table:
            for e in self.graph.outputs:
                self._fill(e)

    @property
    def reads_outputs_by_table(self) -> bool:
        """Whether the outputs are copied by a loop."""
        return self is self.root and len(self.graph.outputs) > FEWEST

    def _fill(self, e: int) -> None:
        number, root = self.number[e], self.root
        if number is None:
            return
        if self.expressions[e].op == "parameter" and self.gradients:
            root.reads_parameters = True
            return
        if self._place[e] not in root.fills and (self._place[e] < 0 or self.expressions[e].op == "parameter"):
            self._place[e] = _LATER + root._constants
            root._constants += 1
        root.fills[self._place[e]] = number


class Body(Layout):
    """What an iteration of a loop does.

    Its inputs and results lie one after another, in the arrays of the function. What it takes from around has its place
    there.

    Args:
        parent: the layout around.
        scan: the expression there.

    Attributes:
        loop: the Loop.
        operands: those of the scan.
        first, end: where its places begin and end; first are the carries, then the xs.
        results: places of carries in the end, by their numbers.
        ys: places of the first of the ys that something reads, by their numbers.
        every: of how many iterations the carries of one are kept.
        kept: where the numbers begin that the loop keeps, after the values.
    """

    root: Layout
    parent: Layout
    is_careful: bool
    operands: tuple[int, ...]
    every: int
    first: int
    units: list[Unit]
    end: int
    kept: int

    loop: Loop

    def __init__(self, parent: Layout, scan: int) -> None:
        self.root, self.parent, self.is_careful = parent.root, parent, parent.is_careful
        _, self.operands, which = parent.expressions[scan]
        self.loop = loop = parent.graph.all_loops[int(which or 0)]
        self._captured = self.operands[loop.carries + loop.length * loop.xs:]
        self.results: dict[int, int] = {}
        self.ys: dict[int, int] = {}
        self.first = self.end = self.kept = 0
        self.every = 1 if loop.keeps_all or loop.length < FEWEST else math.ceil(math.sqrt(loop.length))
        self._look_at(loop.body, parent.parameters, parent.gradients)


    def parameter_of(self, e: int) -> int | None:
        op, _, number = self.expressions[e]
        return self.parent.parameter_of(self._captured[int(number or 0)]) if op == "parameter" else None

    def column(self, i: int) -> tuple[int, ...]:
        """Return the i-th of the xs of all iterations."""
        begin, loop = self.loop.carries + i, self.loop
        return self.operands[begin:begin + loop.length * loop.xs:loop.xs]

    def _look_at_expressions(self) -> None:
        """A carry is active if what it begins with is, or what comes next."""
        loop, around = self.loop, self.parent
        inputs = [around.active[x] for x in self.operands[:loop.carries]]
        inputs += [any(around.active[x] for x in self.column(i)) for i in range(loop.xs)]
        for op, _, number in self.expressions:
            self.number.append(
                number if op == "constant" else around.number[self._captured[int(number or 0)]]
                if op == "parameter" else None
            )
        while True:
            self.active.clear()
            for op, operands, number in self.expressions:
                which = int(number or 0) if op in ("input", "parameter") else 0
                self.active.append(
                    inputs[which] if op == "input" else around.active[self._captured[which]] if op == "parameter"
                    else any(self.active[x] for x in operands)
                )
            found = [inputs[i] or self.active[self.graph.outputs[i]] for i in range(loop.carries)]
            if found == inputs[:loop.carries]:
                break
            inputs[:loop.carries] = found

    def _look_behind(self) -> list[bool]:
        return [self.is_careful] * len(self.expressions)

    def raw(self, e: int) -> int:
        op, _, number = self.expressions[e]
        return self.parent.raw(self._captured[int(number or 0)]) if op == "parameter" else self._place[e]

    def arrange(self) -> None:
        """Give places to inputs and results, and to what the loop keeps."""
        loop, root = self.loop, self.root
        self.first = root._next
        root._next += loop.carries + loop.xs
        for e, (op, _, number) in enumerate(self.expressions):
            if op == "input":
                self._place[e] = self.first + int(number or 0)
        self.units = in_order(self._all_units(), self.expressions, self._results)
        self.end = root._next
        rows = 1
        if self.gradients:
            rows = 2 + (loop.length if self.every == 1 else (loop.length - 1) // self.every + 1 + self.every)
        self.kept = root.kept_count
        root.kept_count += 2 + loop.carries * rows

    def read_by_tables(self) -> None:
        """Give places to numbers that are read by them: as some of the xs are, all others of theirs."""
        for i in range(self.loop.xs):
            column = self.column(i)
            if not all(self.parent.number[x] is not None for x in column):
                for x in column:
                    self.parent._fill(x)
        self._read_by_tables()

    def _fill(self, e: int) -> None:
        op, _, number = self.expressions[e]
        if op == "parameter":
            self.parent._fill(self._captured[int(number or 0)])
        else:
            super()._fill(e)
