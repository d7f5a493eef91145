"""gradcheck: derivatives next to differences, and the operation that is to blame."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

from microgradc.checking.blame import Compute, Graph, Tolerance, Wrong
from microgradc.checking.inputs import Inputs, at, number_of, received
from microgradc.checking.limits import limits
from microgradc.engine import EnableGrad, Value
from microgradc.engine.value import difference, operations_of, place_as_text
from microgradc.keywords import suggest_keywords
from microgradc.program.calculus import gradients
from microgradc.program.compile import Compiled, compile


class GradcheckError(RuntimeError):
    """A derivative is not that of the function; or nobody can say, for there are no finite differences.

    Attributes:
        operation: the name of the operation whose derivative is wrong, as `_op` has it; if none is, of the first that
            has no derivative there, or no finite differences; None if each is right by itself.
        operand: which of its operands, from 0.
        by_rule, by_differences: the two numbers: of that operation; of the whole function, if each is right by itself.
        place: the file and line of your code that made the node; None if that is not known.
    """

    operation: str | None
    operand: int | None
    by_rule: float
    by_differences: float
    place: tuple[str, int] | None

    def __init__(self, message: str, wrong: Wrong | None = None, numbers: tuple[float, float] = (0.0, 0.0)) -> None:
        super().__init__(message)
        self.operation = None if wrong is None else wrong.operation
        self.operand = None if wrong is None else wrong.operand
        self.by_rule, self.by_differences = numbers if wrong is None else (wrong.by_rule, wrong.by_differences)
        self.place = None if wrong is None else wrong.place


@suggest_keywords
def gradcheck(
    f: Callable[..., Any],
    inputs: Any,
    order: int = 1,
    *,
    eps: float | None = None,
    atol: float = 1e-10,
    rtol: float = 1e-5,
    raise_exception: bool = True,
) -> bool:
    """Compare the derivatives of a function with differences; where they differ, find the operation that is wrong.

    As `torch.autograd.gradcheck`: f is called as `f(*inputs)`, and each derivative of each result is compared. Then
    each node of the graph is looked at by itself, also nodes with a rule of your own: local gradients, a closure in
    `_backward`, `Value.func`, `function`. No `.grad` and no `.data` stays changed.

    Args:
        f: a function that returns a Value, or a nest of them; or a compiled one. It must do the same each time.
        inputs: a tuple of arguments; or one argument that is no tuple, such as a Value, a number, an array or a list.
            Derivatives are those with respect to the Values and floats among them; integers stay as they are.
        order: 2 to check the second derivatives too.
        eps: the step of the central difference, absolute as in PyTorch. By default a step is found for each input: it
            begins with 2**-12 of the input and is extrapolated to 0 (Press et al., Numerical Recipes, 5.7).
        atol, rtol: a derivative may be off by atol + rtol * abs(difference), and by the error that the differences have
            by themselves, which is estimated, and bounded.
        raise_exception: False to return False in place of raising GradcheckError.

    Returns:
        True.

    Raises:
        GradcheckError: a derivative is wrong. It names the operation, the operand, both numbers and the line; at a
            bend, as that of `relu` at 0, it says so. Or a value or its differences are not finite, which say nothing
            of a rule: then it says where.
        TypeError: f is not callable, it returns something else than Values and numbers, or inputs have nothing that has
            a derivative; for order=2, a node has a rule of its own, which has no second derivative.
        ValueError: order is not 1 or 2.

    >>> gradcheck(lambda x, y: (x * y).tanh(), (0.5, -2.0), order=2)
    True
    """
    if not callable(f):
        raise TypeError(f"f must be a function, got {f!r:.60}")
    if isinstance(order, bool) or order not in (1, 2):
        raise ValueError(f"order must be 1 or 2, got {order!r}")
    given = Inputs(inputs)
    check = _Check(given, Tolerance(atol, rtol), eps)
    try:
        with EnableGrad():
            check.first(f)
            if order == 2:
                check.second(f)
    except GradcheckError:
        if raise_exception:
            raise
        return False
    return True


class _Check:
    """How derivatives are compared."""

    def __init__(self, inputs: Inputs, tolerance: Tolerance, eps: float | None) -> None:
        self.inputs, self.tolerance, self.eps = inputs, tolerance, eps

    def first(self, f: Callable[..., Any]) -> None:
        """Compare the first derivatives."""
        def compute() -> list[Any]:
            return self.inputs.call(f)

        plain = partial(self.inputs.call, f._f) if isinstance(f, Compiled) else compute
        self._compare(compute, plain, f, _result)

    def second(self, f: Callable[..., Any]) -> None:
        """Compare the second derivatives, whose first ones are right."""
        plain, values = f._f if isinstance(f, Compiled) else f, self.inputs.values

        def firsts() -> list[Any]:
            return [g for y in self.inputs.call(plain) for g in gradients(y, values)]

        by_backward = [x for y in self.inputs.call(plain) for x in received(y, values)]
        for i, (g, x) in enumerate(zip(firsts(), by_backward, strict=True)):
            if not self.tolerance.holds(g.data, x) and not (math.isnan(g.data) and math.isnan(x)):
                which = self._of_result(i)
                raise GradcheckError(f"{which} is {x!r} by backward() and {g.data!r} by gradients()")
        self._compare(firsts, firsts, plain, self._of_result)
        if isinstance(f, Compiled):
            self._compare_compiled(f)

    def _of_result(self, i: int) -> str:
        n = len(self.inputs.values)
        return f"the derivative of result {i // n} with respect to {self.inputs.names[i % n]}"

    def _compare(self, compute: Compute, plain: Compute, f: Any, name: Callable[[int], str]) -> None:
        """Compare the derivatives of what is computed; `plain` computes the same with all its operations."""
        values, results = self.inputs.values, compute()
        again = compute()
        if not _same(results, again):
            raise GradcheckError(
                f"{_shown(f)} returns {_first_other(again, results)!r} when it is called again, and "
                f"{_first_other(results, again)!r} before: it must do the same each time"
            )
        slopes = [received(y, values) for y in results]
        for j, v in enumerate(values):
            known: dict[float, list[float]] = {}     # what is computed for numbers of v
            for i in range(len(results)):
                along = partial(_result_at, compute, v, known, i)
                by_differences, error = self._difference(along, v.data)
                if not self.tolerance.holds(slopes[i][j], by_differences, error):
                    if self.eps is None and limits(along, v.data).reach(slopes[i][j]):
                        continue
                    numbers = slopes[i][j], by_differences
                    raise self._error(plain, i, j, numbers, name(i), along, compute is plain)

    def _difference(self, f: Callable[[float], float], x: float) -> tuple[float, float]:
        if self.eps is None:
            return difference(f, x)
        def central(step: float) -> float:
            return (f(x + step) - f(x - step)) / ((x + step) - (x - step))

        found = central(self.eps)
        return found, abs(found - central(self.eps / 2)) + 2**-52 * abs(f(x)) / self.eps

    def _error(
        self,
        compute: Compute,
        i: int,
        j: int,
        numbers: tuple[float, float],
        name: str,
        along: Callable[[float], float],
        is_plain: bool,
    ) -> GradcheckError:
        """Return the error that says who is to blame."""
        x = self.inputs.values[j].data
        label = self.inputs.values[j].label
        which = self.inputs.names[j] + (f" ({label!r})" if label else "")
        lines = [
            f"the derivative of {name} with respect to {which}, at {x!r}, is {numbers[0]!r} by backward() and "
            f"{numbers[1]!r} by differences"
        ]
        bend = _bend(along, x)
        graph = Graph(compute)
        wrong, hooked = graph.wrong_in(graph.results[i], self.tolerance), _hooked(graph.results[i])
        if wrong is not None and not wrong.is_known:
            lines += [_not_finite(wrong), place_as_text(wrong.place)]
        elif wrong is not None:
            lines.append(
                f"wrong is the operation {wrong.operation!r}: its derivative with respect to operand {wrong.operand}, "
                f"at {wrong.at!r}, is {wrong.by_rule!r} by its rule and {wrong.by_differences!r} by differences"
            )
            lines.append(place_as_text(wrong.place))
        elif not math.isfinite(numbers[1]):
            lines.append("the function has no finite differences there, which say nothing of its derivative")
        elif hooked:
            lines.append(f"each operation is right by itself, but a hook changes the gradient of {hooked}")
        elif not is_plain:
            lines.append(
                "each operation is right by itself when the function is called as it is: wrong is what is compiled"
            )
        else:
            lines.append(
                "each operation in the graph is right by itself: the function takes numbers past the graph (.data, "
                "float(v), no_grad), or depends on something that changes"
            )
        if bend is not None:
            lines.append(f"there is a bend: {bend[0]!r} by differences from the left, {bend[1]!r} from the right")
        return GradcheckError("\n  ".join(lines), wrong, numbers)

    def _compare_compiled(self, f: Compiled[..., Any]) -> None:
        """Compare the Hessian that the compiler finds, of a function with one result."""
        if len(self.inputs.call(f)) != 1:
            return
        import numpy as np

        def of_row(row: Any) -> Any:
            return self.inputs.call_with(f._f, list(row))

        packed, x = compile(of_row), np.array(self.inputs.numbers())
        found = packed.hessian(x)
        for j in range(len(x)):

            for i in range(len(x)):

                def slope_at(number: float, i: int = i, j: int = j) -> float:
                    moved = x.copy()
                    moved[j] = number
                    return float(packed.value_and_grad(moved)[1][i])

                by_differences, error = self._difference(slope_at, float(x[j]))
                if not self.tolerance.holds(float(found[i, j]), by_differences, error):
                    names = f"{self.inputs.names[i]} and {self.inputs.names[j]}"
                    raise GradcheckError(
                        f"the second derivative of {_shown(f)} with respect to {names} is {float(found[i, j])!r} by "
                        f"what is compiled and {by_differences!r} by differences",
                        None,
                        (float(found[i, j]), by_differences),
                    )


def _result_at(compute: Compute, v: Value, known: dict[float, list[float]], i: int, x: float) -> float:
    """Return number i of what is computed where v is x."""
    if x not in known:
        with at(v, x):
            known[x] = list(map(number_of, compute()))
    return known[x][i]


def _result(i: int) -> str:
    return f"result {i}"


def _not_finite(unknown: Wrong) -> str:
    """Return in words why differences say nothing of the rule of an operation."""
    op, number, operand = unknown.operation, unknown.node.data, f"operand {unknown.operand}, at {unknown.at!r}"
    if unknown.excuse is not None:
        return (
            f"no rule is wrong: the operation {op!r} has no derivative with respect to {operand} ({unknown.by_rule!r} "
            f"by its rule): {unknown.excuse}"
        )
    if not math.isfinite(number):
        return f"the value of the operation {op!r} is {number!r}, with {operand}: differences say nothing of its rule"
    return (
        f"the operation {op!r} has no finite differences with respect to {operand}, where its derivative is "
        f"{unknown.by_rule!r} by its rule: they say nothing of it"
    )


def _shown(f: Any) -> str:
    return getattr(f, "__qualname__", None) or f"{f!r:.60}"


def _same(a: list[Any], b: list[Any]) -> bool:
    return len(a) == len(b) and all(
        x == y or (math.isnan(x) and math.isnan(y)) for x, y in zip(map(number_of, a), map(number_of, b), strict=True)
    )


def _first_other(a: list[Any], b: list[Any]) -> Any:
    """Return the first number of a that is another one in b; how many numbers there are if that differs."""
    if len(a) != len(b):
        return f"{len(a)} numbers"
    return next(number_of(x) for x, y in zip(a, b, strict=True) if not _same([x], [y]))


def _bend(f: Callable[[float], float], x: float) -> tuple[float, float] | None:
    """Return the slopes from the left and from the right, where they differ."""
    h = 1e-6 * max(abs(x), 1e-3)
    try:
        left, middle, right = f(x - h), f(x), f(x + h)
    except (ValueError, ArithmeticError):
        return None
    slopes = (middle - left) / h, (right - middle) / h
    is_bend = abs(slopes[0] - slopes[1]) > 1e-2 * max(map(abs, slopes)) + 1e-6
    return (round(slopes[0], 6), round(slopes[1], 6)) if is_bend and all(map(math.isfinite, slopes)) else None


def _hooked(result: Any) -> str:
    """Return the name of a node with hooks; nothing if there is none."""
    for node, op, *_, hooks in operations_of(result) if isinstance(result, Value) else []:
        if hooks:
            return repr(node.label or node._op or op)
    return ""
