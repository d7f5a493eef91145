"""A graph of Values on PyTorch's tensors, operation by operation; and where the two part."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

from microgradc import trees
from microgradc.checking.blame import Tolerance, sent
from microgradc.checking.inputs import Inputs, number_of, received
from microgradc.checking.torch_rows import torch_rows
from microgradc.engine import Value
from microgradc.engine.value import operations_of, place_of


class Parting(NamedTuple):
    """The first node whose number, or gradient, is another one in PyTorch."""

    node: Value
    operation: str
    what: str               # 'value' or 'gradient'
    ours: float
    theirs: float
    place: tuple[str, int] | None


class Tensors:
    """The nodes of some results, each with a tensor that was computed from those of its operands.

    Args:
        results: Values and floats.
        given: what they were computed from.
        tolerance: how far apart numbers may be.
    """

    def __init__(self, results: list[Any], given: Inputs, tolerance: Tolerance) -> None:
        self._results, self._given, self._tolerance = results, given, tolerance
        self._tensors: dict[int, Any] = {id(v): _leaf(v.data) for v in given.values}
        self._nodes: dict[int, tuple[Value, str]] = {}
        self._own_rules: list[list[str]] = [[] for _ in results]    # for each result, who has a rule of its own
        for y, own_rules in zip(results, self._own_rules, strict=True):
            for node, op, operands, local, has_closure, _ in operations_of(y) if isinstance(y, Value) else []:
                if id(node) not in self._nodes:
                    self._nodes[id(node)] = node, op
                if op != "leaf" and _has_own_rule(op, has_closure):
                    own_rules.append(node._op or op)
                if id(node) not in self._tensors:
                    self._tensors[id(node)] = self._computed(node, op, operands, local, has_closure)

    def _computed(
        self, node: Value, op: str, operands: tuple[Any, ...], local: tuple[float, ...] | None, has_closure: bool
    ) -> Any:
        import torch

        tensors = [self._tensors[id(x)] if isinstance(x, Value) else _leaf(x, False) for x in operands]
        if op == "leaf":
            return _leaf(node.data)
        if _has_own_rule(op, has_closure):      # taken as it is
            of_nodes = {id(x): x for x in operands if isinstance(x, Value)}
            slopes = sent(node, of_nodes, operands, local)
            return _given(node.data, [self._tensors[key] for key in of_nodes], [slopes[key] for key in of_nodes])
        return torch.as_tensor(torch_rows()[op](*tensors), dtype=torch.float64)

    def numbers(self, f: Callable[..., Any], order: int) -> tuple[list[float | None], str, list[str]]:
        """Return value, gradient and the upper half of the Hessian, of each result in turn; what is to be said; and the
        operations that have no counterpart. None for each number of a result that depends on one."""
        xs = [_leaf(v.data) for v in self._given.values]
        note = ""
        own_rules: list[list[str]] = [[] for _ in self._results]      # called with tensors, all of it is PyTorch's
        try:
            ys = trees.flatten(self._given.call_with(f, xs))[0]
            if len(ys) != len(self._results) or not all(hasattr(y, "grad_fn") for y in ys):
                raise TypeError("it returns something else than tensors")
        except Exception as error:
            note = f"Called with tensors, it raises {type(error).__name__}; so its graph was run on tensors."
            own_rules = self._own_rules
            xs = [self._tensors[id(v)] for v in self._given.values]
            ys = [self._tensors[id(y)] if isinstance(y, Value) else _leaf(y, False) for y in self._results]
        found: list[float | None] = []
        for y, names in zip(ys, own_rules, strict=True):
            slopes = _gradients(y, xs)
            numbers = [y.item(), *[g.item() for g in slopes]]
            if order == 2:
                for i, g in enumerate(slopes):
                    numbers += [s.item() for s in _gradients(g, xs)[i:]]
            found += [None] * len(numbers) if names else numbers
        return found, note, list(dict.fromkeys(name for names in own_rules for name in names))

    def parting(self) -> Parting | None:
        """Return the first node whose number is another one, operands first; else whose gradient is, results first."""
        nodes = list(self._nodes.values())
        for node, op in nodes:
            found = self._parting(node, op, "value", node.data, self._tensors[id(node)].item())
            if found is not None:
                return found
        for y in self._results:
            if isinstance(y, Value):
                ours = received(y, [node for node, _ in nodes])
                theirs = _gradients(self._tensors[id(y)], [self._tensors[id(node)] for node, _ in nodes])
                for (node, op), x, t in zip(reversed(nodes), reversed(ours), reversed(theirs), strict=True):
                    found = self._parting(node, op, "gradient", x, t.item())
                    if found is not None:
                        return found
        return None

    def _parting(self, node: Value, op: str, what: str, ours: float, theirs: float) -> Parting | None:
        if self._tolerance.holds(ours, theirs) or (math.isnan(ours) and math.isnan(theirs)):
            return None
        return Parting(node, node._op or op, what, ours, theirs, place_of(node))


def _has_own_rule(op: str, has_closure: bool) -> bool:
    return has_closure or op not in torch_rows()


def _leaf(number: Any, requires_grad: bool = True) -> Any:
    import torch

    return torch.tensor(number_of(number), dtype=torch.float64, requires_grad=requires_grad)


def _gradients(y: Any, xs: list[Any]) -> list[Any]:
    import torch

    if not y.requires_grad:
        return [torch.zeros((), dtype=torch.float64) for _ in xs]
    wanted = [x for x in xs if x.requires_grad]
    found = iter(torch.autograd.grad(y, wanted, create_graph=True, allow_unused=True, materialize_grads=True))
    return [next(found) if x.requires_grad else torch.zeros((), dtype=torch.float64) for x in xs]


def _given(number: float, operands: list[Any], slopes: list[float]) -> Any:
    """Return a tensor of a number that sends these slopes back."""
    import torch

    total = torch.tensor(number, dtype=torch.float64)
    for x, slope in zip(operands, slopes, strict=True):
        total = total + (x - x.detach()) * slope
    return total
