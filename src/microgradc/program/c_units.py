"""What is computed together in a C text, and in which order.

Changes with what a unit is.
"""

from __future__ import annotations

import heapq
from typing import NamedTuple

from microgradc.program.graph import Expression

__all__ = ["FEWEST", "Unit", "Walk", "in_order"]

FEWEST = 4          # results that are a loop, and terms that are one; fewer are written one by one


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


def in_order(units: list[Unit], expressions: list[Expression], results: dict[int, list[int]]) -> list[Unit]:
    """Return units in the order in which a graph's expressions are, as far as what is computed together allows.

    So gradients are added in the order in which the engine adds them.
    """
    unit_of = {e: i for i, unit in enumerate(units) for e in unit.members}
    unit_of.update({e: unit_of[scan] for scan, found in results.items() for e in found})
    users: list[list[int]] = [[] for _ in units]
    waits = [0] * len(units)
    for i, unit in enumerate(units):
        needed = {unit_of[x] for e in unit.members for x in expressions[e].operands if x in unit_of}
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
