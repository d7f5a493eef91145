"""Who makes operations for derivatives: of Values, in the engine, or in a graph.

Changes with what is folded into a number when a derivative is put together.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from microgradc.engine import Value, is_tracing
from microgradc.engine.value import derive, is_noting, operate
from microgradc.program.graph import Graph, Loop
from microgradc.program.scan import results_of

__all__ = ["Builder", "Nodes", "Operand", "Places", "Term", "combined", "is_zero", "total_of"]

# Of an expression: a Value or a place in a graph; or a float, a constant.
Operand = Any
# A product of two, or a single one and None: what is added to a derivative.
Term = tuple[Operand, Operand | None]


class Builder(Protocol):
    """Who makes operations.

    Attributes:
        short: how many terms a sum of products has at most that is made of additions, not one dot.
        derive: told of which operation the next ones are a derivative; None if nobody asks.
    """

    short: int
    derive: Callable[[Any], None] | None

    def add(self, op: str, *operands: Operand) -> Operand:
        """Return an operation on some operands, at least one of which is no constant."""

    def scan(self, loop: Loop, operands: list[Operand]) -> list[Operand]:
        """Return the results of a loop."""

    def number_of(self, operand: Operand) -> float | None:
        """Return the number of an operand for which alone the derivatives are built; None if it may be another one."""


class Nodes:
    """Who makes Values."""

    add = staticmethod(operate)
    scan = staticmethod(results_of)

    def __init__(self, short: int = 0) -> None:
        self.short = short
        self.derive: Callable[[Any], None] | None = derive if is_noting() else None

    def number_of(self, operand: Operand) -> float | None:
        return None if is_tracing() else operand.data if isinstance(operand, Value) else operand


class Places:
    """Who adds to a graph."""

    short = 0
    derive: Callable[[Any], None] | None = None

    def __init__(self, graph: Graph) -> None:
        self.graph = graph

    def add(self, op: str, *operands: Operand) -> Operand:
        return self.graph.add(op, *[self.place(x) for x in operands])

    def scan(self, loop: Loop, operands: list[Operand]) -> list[Operand]:
        return self.graph.scan(loop, *[self.place(x) for x in operands])

    def place(self, operand: Operand) -> int:
        return self.graph.constant(operand) if type(operand) is float else operand

    def number_of(self, operand: Operand) -> float | None:
        return operand if type(operand) is float else None


def combined(builder: Builder, op: str, *x: Operand) -> Operand:
    """Return an operation; a number or an operand where that has the same bits."""
    if float not in map(type, x):
        return builder.add(op, *x)
    numbers = [operand for operand in x if type(operand) is float]
    if len(numbers) == len(x):
        return operate(op, *x)
    if op == "mul" and abs(numbers[0]) == 1:
        other = x[1] if type(x[0]) is float else x[0]
        return other if numbers[0] == 1 else combined(builder, "neg", other)
    if op == "div" and type(x[1]) is float and x[1] == 1:
        return x[0]
    if op == "pow" and type(x[1]) is float and x[1] in (0, 1):
        return x[0] if x[1] == 1 else 1.0
    if op == "where" and type(x[0]) is float:
        return x[1] if x[0] != 0 else x[2]
    return builder.add(op, *x)


def total_of(builder: Builder, terms: list[Term]) -> Operand:
    """Return the sum of some terms in their order, as the engine adds them up: several products are one dot."""
    terms = [_without_factor_1(a, b) for a, b in terms]
    if len(terms) == 1:
        a, b = terms[0]
        return a if b is None else combined(builder, "mul", a, b)
    if len(terms) <= builder.short:
        return combined(builder, "add", total_of(builder, terms[:1]), total_of(builder, terms[1:]))
    if all(b is None for _, b in terms):
        return combined(builder, "add" if len(terms) == 2 else "sum", *[a for a, _ in terms])
    return combined(builder, "dot", *[x for a, b in terms for x in (a, 1.0 if b is None else b)])


def is_zero(a: Operand, b: Operand | None) -> bool:
    """Return whether a term is the number 0."""
    return b is None and type(a) is float and a == 0


def _without_factor_1(a: Operand, b: Operand | None) -> Term:
    if b is not None and type(a) is float and a == 1:
        return b, None
    return a, None if type(b) is float and b == 1 else b
