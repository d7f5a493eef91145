"""The arguments of a function that is checked, with Values in the places of their real numbers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from microgradc import trees
from microgradc.engine import Value
from microgradc.engine.value import operations_of
from microgradc.program.layouts import LEAVES, as_array


class Inputs:
    """What a function is called with: `f(*inputs)`.

    Values stay who they are; a real number of floating point becomes a Value; integers, flags and texts stay.

    Args:
        inputs: a tuple of arguments; or one argument alone, which is no tuple.

    Attributes:
        values: the Values, each once.
        names: what to write for each in Python.

    Raises:
        TypeError: there is nothing among them that has a derivative.
    """

    def __init__(self, inputs: Any) -> None:
        arguments = inputs if type(inputs) is tuple else (inputs,)
        self.values: list[Value] = []
        self.names: list[str] = []
        self._arguments = [self._made(a, f"inputs[{i}]") for i, a in enumerate(arguments)]
        if not self.values:
            raise TypeError(
                "inputs must have a Value or a number of floating point, whose derivatives can be checked "
                f"(2.0 instead of 2), got {inputs!r:.60}"
            )

    def _made(self, argument: Any, name: str) -> Any:
        leaves, shape = trees.flatten(trees.map_leaves(as_array, argument, LEAVES))
        known = {id(v) for v in self.values}
        made = []
        for i, leaf in enumerate(leaves):
            v = leaf if isinstance(leaf, Value) else Value(leaf) if _is_float(leaf) else None
            if v is not None and id(v) not in known:
                known.add(id(v))
                self.values.append(v)
                self.names.append(name if shape == trees.LEAF else f"{name}[{i}]")
            made.append(leaf if v is None else v)
        return trees.unflatten(shape, made)

    def call(self, f: Callable[..., Any]) -> list[Any]:
        """Return what f returns for the numbers of now: Values and floats, one after another.

        Raises:
            TypeError: it returns something else.
        """
        found = trees.flatten(f(*self._arguments))[0]
        for y in found:
            if not isinstance(y, Value) and (isinstance(y, (bool, str)) or not hasattr(y, "__float__")):
                got = f"{type(y).__name__} {y!r:.40}"
                raise TypeError(f"the function must return a Value, or a nest of Values and numbers, got {got}")
        return [y if isinstance(y, Value) else float(y) for y in found]

    def call_with(self, f: Callable[..., Any], numbers: list[Any]) -> Any:
        """Return what f returns for other numbers, or Values, in the places of the Values."""
        place = {id(v): x for v, x in zip(self.values, numbers, strict=True)}
        return f(*trees.map_leaves(lambda leaf: place.get(id(leaf), leaf), self._arguments))

    def numbers(self) -> list[float]:
        """Return the numbers of now."""
        return [v.data for v in self.values]


def _is_float(leaf: Any) -> bool:
    return isinstance(leaf, float) or getattr(getattr(leaf, "dtype", None), "kind", "") == "f"


def number_of(y: Any) -> float:
    """Return the number of a Value or a number."""
    return y.data if isinstance(y, Value) else float(y)


@contextmanager
def at(v: Value, number: float) -> Iterator[None]:
    """Give a Value another number for a while."""
    before = v.data
    v.data = number
    try:
        yield
    finally:
        v.data = before


def received(y: Any, values: list[Value]) -> list[float]:
    """Return what `y.backward()` sends to some Values; no gradient stays changed."""
    if not isinstance(y, Value):
        return [0.0] * len(values)
    nodes = {id(entry[0]): entry[0] for entry in operations_of(y)} | {id(v): v for v in values}
    before = [(v, v.grad) for v in nodes.values()]
    try:
        for v, _ in before:
            v.grad = 0.0
        y.backward()
        return [v.grad for v in values]
    finally:
        for v, grad in before:
            v.grad = grad
