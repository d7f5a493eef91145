"""Which operation of a graph has a wrong derivative: each is looked at by itself, its rule next to differences."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

from microgradc.checking.inputs import at, number_of
from microgradc.checking.limits import limits
from microgradc.engine import Value
from microgradc.engine.value import difference, noting_places, operate, operations_of, place_of

Compute = Callable[[], list[Any]]


class Wrong(NamedTuple):
    """An operation whose derivative is wrong; or one of which nothing is known, for it has no derivative there, or no
    finite differences."""

    node: Value
    operation: str
    operand: int
    at: float               # the number of the operand
    by_rule: float
    by_differences: float
    place: tuple[str, int] | None
    excuse: str | None = None       # why there is no derivative, in words

    @property
    def is_known(self) -> bool:
        """Whether there are differences that say that the rule is wrong."""
        return math.isfinite(self.by_differences) and self.excuse is None


class Tolerance(NamedTuple):
    """How far apart a derivative by a rule and one by differences may be."""

    atol: float
    rtol: float

    def holds(self, by_rule: float, by_differences: float, error: float = 0.0) -> bool:
        """Return whether two agree; error is how far off the differences may be by themselves."""
        if by_rule == by_differences:
            return True
        room = self.atol + self.rtol * abs(by_differences)
        return abs(by_rule - by_differences) <= room + min(error, 1e-6 + 1e-3 * abs(by_differences))


class Graph:
    """What a computation makes: its results, and each node in the order of making, with its line.

    Args:
        compute: what is computed, anew with each call; it must do the same each time.
    """

    results: list[Any]

    def __init__(self, compute: Compute) -> None:
        self._compute = compute
        self._made: list[Value] = []
        with noting_places(self._made.append):
            self.results = compute()
        self._numbers = [v.data for v in self._made]
        self._place_of = {id(v): i for i, v in enumerate(self._made)}

    def wrong_in(self, result: Any, tolerance: Tolerance) -> Wrong | None:
        """Return the first operation, operands before results, whose derivative is wrong; else the first of which
        nothing is known; None if there is neither."""
        unknown = None
        for node, op, operands, local, has_closure, _ in operations_of(result) if isinstance(result, Value) else []:
            if op == "leaf":
                continue
            of_nodes = {id(x): x for x in operands if isinstance(x, Value)}
            by_rule = sent(node, of_nodes, operands, local)
            for key, x in of_nodes.items():
                is_by_hand = has_closure or op in ("custom", "opaque")
                value_at = self._by_hand(node, x) if is_by_hand else _alone(op, operands, x)
                if value_at is None:
                    continue
                found = difference(value_at, x.data)
                if not tolerance.holds(by_rule[key], *found):
                    i, around = next(i for i, o in enumerate(operands) if o is x), limits(value_at, x.data)
                    if around.reach(by_rule[key]):
                        continue
                    wrong = Wrong(node, node._op or op, i, x.data, by_rule[key], found[0], place_of(node),
                                  around.in_words(by_rule[key]))
                    if wrong.is_known:
                        return wrong
                    unknown = unknown or wrong
        return unknown

    def _by_hand(self, node: Value, operand: Value) -> Callable[[float], float] | None:
        """Return the function of one operand of a node that code of the user's makes: it is run again up to this node,
        with another number for the operand, while all the other nodes keep theirs. None if it makes the operand as a
        leaf."""
        if id(node) not in self._place_of:
            return None
        target, moved = self._place_of[id(node)], self._place_of.get(id(operand), -1)
        if moved >= target or (moved < 0 and operand._children):
            return None

        def value_at(number: float) -> float:
            count = 0

            def then(v: Value) -> None:
                nonlocal count
                if count == target:
                    raise _Reached(v.data)
                v.data = number if count == moved else self._numbers[count]
                count += 1

            with at(operand, number if moved < 0 else operand.data):
                try:
                    with noting_places(then):
                        self._compute()
                except _Reached as reached:
                    return reached.number
            raise ArithmeticError("it does something else when it is called again")

        return value_at


class _Reached(BaseException):
    """The node was made that is looked at; not for `except Exception` in code of the user's."""

    def __init__(self, number: float) -> None:
        super().__init__()
        self.number = number


def _alone(op: str, operands: tuple[Any, ...], x: Value) -> Callable[[float], float]:
    """Return an operation as a function of one of its operands."""
    numbers = list(map(number_of, operands))
    places = [i for i, o in enumerate(operands) if o is x]

    def value_at(number: float) -> float:
        for i in places:
            numbers[i] = number
        return number_of(operate(op, *numbers))

    return value_at


def sent(
    node: Value, of_nodes: dict[int, Value], operands: tuple[Any, ...], local: tuple[float, ...] | None
) -> dict[int, float]:
    """Return what a node sends to each operand for a gradient of 1; no gradient stays changed."""
    if local is not None:
        sent = dict.fromkeys(of_nodes, 0.0)
        for o, slope in zip(operands, local, strict=True):
            if isinstance(o, Value):
                sent[id(o)] += slope
        return sent
    before = [(v, v.grad) for v in (node, *of_nodes.values())]
    try:
        for v, _ in before:
            v.grad = 0.0
        node.grad = 1.0
        node._backward()
        return {key: v.grad for key, v in of_nodes.items()}
    finally:
        for v, grad in before:
            v.grad = grad
