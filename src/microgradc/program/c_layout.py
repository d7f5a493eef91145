"""The order of a C text and the places of its numbers: what of a graph is computed together, when, and where it lies.

Changes with what becomes a loop. Numbers lie in one array: inputs first, then results, then constants that a loop
reads, then parameters. Gradients have the same places in another one. What is known when the text is written, as
everything is that depends on no input where the parameters are baked in, is a number in the text, and has a place in
the array of values only where a loop reads it.
"""

from __future__ import annotations

import heapq
from typing import NamedTuple

from microgradc.engine import CompileError, Value, no_grad
from microgradc.program.c_loops import LOOPS
from microgradc.program.c_text import PREFIX, ROWS
from microgradc.program.graph import Expression, Graph

__all__ = ["FEWEST", "Layout", "Unit", "Walk"]

FEWEST = 4          # results that are a loop, and terms that are one; fewer are written one by one
_LATER = 1 << 40    # where places are counted from whose beginning is known at the end: of constants, of parameters
_PARAMETERS = 2 * _LATER

# Operations of any number of operands, but for layers, which have several results too.
_SEVERAL = {name[len(PREFIX):-len("_back")] for name in LOOPS if name.endswith("_back")}
_SEVERAL -= {"dense", "dense_of", "dense_sent"}


class Walk(NamedTuple):
    """An operand of a loop: the places that it has in turn, first + i * stride, or numbers."""

    numbers: tuple[float, ...] | None     # where they are known
    expression: int                       # the first one
    stride: int
    receives: bool


class Unit(NamedTuple):
    """What is computed together: one expression, a run of results of one row, or a dense layer.

    Attributes:
        op: the name of its operation.
        members: its expressions, whose places follow one another.
        walks: of a run of a row, its operands; else empty.
        is_known: nothing is computed forward, as its number is known.
    """

    op: str
    members: tuple[int, ...]
    walks: tuple[Walk, ...] = ()
    is_known: bool = False


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
        units: in the order in which they are computed.
        fills: places in the array of values, and the known numbers that a loop reads there.
        result_count: how many places inputs, results and constants have.
        reads_parameters: whether parameters have places in the array of values too.
        parameter_order: the parameters in the order of their places, in which those of a layer follow one another.
    """

    def __init__(self, graph: Graph, parameters: list[float] | None, gradients: bool) -> None:
        self.graph, self.parameters, self.gradients = graph, parameters, gradients
        self.expressions: list[Expression] = list(graph)
        self.reads_parameters = parameters is None
        self.fills: dict[int, float] = {}
        self.active: list[bool] = []
        self.level: list[int] = []
        self.number: list[float | None] = []
        self._place: list[int] = [-1] * len(self.expressions)
        self._next = graph.input_count
        self._constants = 0
        self._look_at_expressions()
        self.behind = self._look_behind() if gradients else [False] * len(self.expressions)
        self.units = self._in_order(self._all_units())
        self._read_by_tables()
        self.parameter_order = self._parameter_order()
        self._rank = {number: i for i, number in enumerate(self.parameter_order)}
        self.result_count = self._next + self._constants
        self.value_count = self.result_count + graph.parameter_count * self.reads_parameters
        self._place = [self._final(place) for place in self._place]
        self.fills = {self._final(place): number for place, number in self.fills.items()}

    def place(self, e: int) -> int:
        """Return the place of an expression; -1 if it has none."""
        return self._place[e]

    def weights(self, unit: Unit) -> list[int]:
        """Return the weights of a dense layer: the biases of its results, then what each operand is multiplied with."""
        all_operands = [self.expressions[e].operands for e in unit.members]
        k = len(all_operands[0]) // 2
        return [operands[at] for at in (-1, *range(k, 2 * k)) for operands in all_operands]

    def _parameter_order(self) -> list[int]:
        order: dict[int, None] = {}
        for unit in self.units:
            if unit.op == "dense" and self.is_loop(unit):
                weights = [self.expressions[w] for w in self.weights(unit)]
                numbers = dict.fromkeys([int(w.number or 0) for w in weights if w.op == "parameter"])
                if len(numbers) == len(weights) and not any(number in order for number in numbers):
                    order.update(numbers)
        order.update(dict.fromkeys(range(self.graph.parameter_count)))
        return list(order)

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
        return self.result_count + self._rank[place - _PARAMETERS]

    def _look_at_expressions(self) -> None:
        varies: list[bool] = []
        for e, (op, operands, number) in enumerate(self.expressions):
            varies.append(op == "input" or any(varies[x] for x in operands))
            self.active.append(op in ("input", "parameter") or any(self.active[x] for x in operands))
            self.level.append(1 + max([self.level[x] for x in operands]) if operands else 0)
            if op == "input":
                self._place[e] = int(number or 0)
            elif op == "parameter":
                self._place[e] = _PARAMETERS + int(number or 0)
            elif op not in ROWS and op not in _SEVERAL and op not in ("constant", "dense"):
                raise CompileError(f"the operation {op!r} cannot be written as C")
        baked = self.parameters is not None
        self.number = self._known_numbers([not (varies[e] if baked else self.active[e]) for e in range(len(varies))])

    def _look_behind(self) -> list[bool]:
        others = [not self.active[e] for e in range(len(self.expressions))]     # whether something else reads it
        taken = [False] * len(others)
        for e in self.graph.outputs:
            others[e] = True
        for e in reversed(range(len(others))):
            op, operands, _ = self.expressions[e]
            if self.active[e]:
                is_behind = op == "take" or (taken[e] and not others[e])
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

    def _all_units(self) -> list[Unit]:
        """Return all units, places given to their members; levels one after another."""
        levels: dict[int, list[int]] = {}
        for e, (_, operands, _) in enumerate(self.expressions):
            if operands and (self.number[e] is None or (self.gradients and self.active[e])):
                levels.setdefault(self.level[e], []).append(e)
        units: list[Unit] = []
        for level in sorted(levels):
            alike: dict[object, list[int]] = {}
            for e in levels[level]:
                op, operands, _ = self.expressions[e]
                key = (op, operands[:len(operands) // 2]) if op == "dense" else op if op in ROWS else e
                alike.setdefault(e if self.number[e] is not None else (key, self.behind[e]), []).append(e)
            for members in alike.values():
                units += self._units_of(members)
        return units

    def _units_of(self, members: list[int]) -> list[Unit]:
        """Return the units of some expressions of one operation, on one level."""
        op = self.expressions[members[0]].op
        is_known = self.number[members[0]] is not None
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

    def _give_places(self, members: list[int]) -> None:
        for e in members:
            self._place[e] = self._next
            self._next += 1

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
        if not self.active[x] or (not self.gradients and self.number[x] is not None):
            return 0        # known numbers that receive nothing
        return self._place[y] - self._place[x]

    def _in_order(self, units: list[Unit]) -> list[Unit]:
        """Return units in the order in which a graph's expressions are, as far as what is computed together allows.

        So gradients are added in the order in which the engine adds them.
        """
        unit_of = {e: i for i, unit in enumerate(units) for e in unit.members}
        users: list[list[int]] = [[] for _ in units]
        waits = [0] * len(units)
        for i, unit in enumerate(units):
            needed = {unit_of[x] for e in unit.members for x in self.expressions[e].operands if x in unit_of}
            waits[i] = len(needed)
            for j in needed:
                users[j].append(i)
        ready = [(max(unit.members), i) for i, unit in enumerate(units) if not waits[i]]
        heapq.heapify(ready)
        order = []
        while ready:
            _, i = heapq.heappop(ready)
            order.append(units[i])
            for j in users[i]:
                waits[j] -= 1
                if not waits[j]:
                    heapq.heappush(ready, (max(units[j].members), j))
        return order

    # What loops read

    def _read_by_tables(self) -> None:
        """Give places in the array of values to known numbers that loops read by their places."""
        for unit in self.units:
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
        return len(self.graph.outputs) > FEWEST

    def _fill(self, e: int) -> None:
        number = self.number[e]
        if number is None:
            return
        if self.expressions[e].op == "parameter" and self.gradients:
            self.reads_parameters = True
            return
        if self._place[e] not in self.fills and (self._place[e] < 0 or self.expressions[e].op == "parameter"):
            self._place[e] = _LATER + self._constants
            self._constants += 1
        self.fills[self._place[e]] = number
