"""Loops without what is the same in all iterations: before a graph becomes C, that is moved out of their bodies.

Changes with what is moved. Programs compute once, too, what depends on parameters alone, and add up its gradient before
they send it on, so the digits are theirs.
"""

from __future__ import annotations

from typing import NamedTuple

from microgradc.program.graph import Graph, Loop

__all__ = ["lifted"]


def lifted(graph: Graph) -> Graph:
    """Return a graph of the same inputs, parameters and outputs, in whose loops all depends on an input or a carry."""
    to = _Made()
    inputs = [_Here(to.graph.input(), True) for _ in range(graph.input_count)]
    parameters: list[_Expression] = [_Here(to.graph.parameter(), False) for _ in range(graph.parameter_count)]
    to.graph.outputs = tuple(to.add_all(graph, inputs, parameters))
    return to.graph


class _Here(NamedTuple):
    """An expression of a graph that is made, and whether it varies."""

    place: int
    varies: bool


class _Outside(NamedTuple):
    """An expression of the graph around: a parameter, once something reads it."""

    of: _Expression
    varies: bool


class _Constant(NamedTuple):
    number: float
    varies: bool = False


_Expression = _Here | _Outside | _Constant


class _Made:
    """A graph that is made; of a body, the graph around."""

    def __init__(self, around: _Made | None = None) -> None:
        self.graph = Graph()
        self.around = around
        self.captured: dict[_Expression, int] = {}      # those around, and the parameters for them

    def add_all(self, graph: Graph, inputs: list[_Here], parameters: list[_Expression]) -> list[int]:
        """Add what is in a graph; return the places of its outputs."""
        found: list[_Expression] = []
        results: dict[int, list[int]] = {}
        for e, (op, operands, number) in enumerate(graph):
            which = int(number) if number is not None and op != "constant" else 0
            if op == "constant":
                found.append(_Constant(float(number) if number is not None else 0.0))
            elif op == "input":
                found.append(inputs[which])
            elif op == "parameter":
                found.append(parameters[which])
            elif op == "scan":
                results[e] = self._add_loop(graph.all_loops[which], [found[x] for x in operands])
                found.append(_Here(-1, True))
            elif op == "result":
                found.append(_Here(results[operands[0]][which], True))
            else:
                found.append(self._add(op, [found[x] for x in operands]))
        return [self._place(found[e]) for e in graph.outputs]

    def _add(self, op: str, operands: list[_Expression]) -> _Expression:
        varies = any(x.varies for x in operands)
        if varies or self.around is None:
            return _Here(self.graph.add(op, *map(self._place, operands)), varies)
        return _Outside(self.around._add(op, [x.of if isinstance(x, _Outside) else x for x in operands]), False)

    def _place(self, x: _Expression) -> int:
        if isinstance(x, _Here):
            return x.place
        if isinstance(x, _Constant):
            return self.graph.constant(x.number)
        if x.of not in self.captured:
            self.captured[x.of] = self.graph.parameter()
        return self.captured[x.of]

    def _add_loop(self, loop: Loop, operands: list[_Expression]) -> list[int]:
        body, first = _Made(self), loop.carries + loop.length * loop.xs
        inputs = [_Here(body.graph.input(), True) for _ in range(loop.carries + loop.xs)]
        captured: list[_Expression] = [
            x if isinstance(x, _Constant) else _Outside(x, x.varies) for x in operands[first:]
        ]
        body.graph.outputs = tuple(body.add_all(loop.body, inputs, captured))
        made = Loop(body.graph, loop.length, loop.carries, loop.xs, loop.ends, loop.keeps_all)
        return self.graph.scan(made, *map(self._place, [*operands[:first], *body.captured]))
