"""compare_with_torch: one function on Values, compiled, and on tensors, side by side."""

from __future__ import annotations

import math
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any, NamedTuple

from microgradc.checking.blame import Tolerance
from microgradc.checking.inputs import Inputs, at, number_of, received
from microgradc.checking.tensors import Parting, Tensors
from microgradc.engine import CompileError, EnableGrad, Value
from microgradc.engine.value import difference, noting_places, place_as_text
from microgradc.keywords import suggest_keywords
from microgradc.program.calculus import gradients
from microgradc.program.compile import Compiled, compile

MOST_ROWS = 60      # of a table that is printed


class Line(NamedTuple):
    """A number by each way; None where a way has none. It agrees if those that there are do."""

    name: str
    eager: float
    compiled: float | None
    other: float | None
    agrees: bool


class Comparison:
    """What `compare_with_torch` found. `print` shows it as a table.

    Attributes:
        agrees: True if all numbers agree, False if some differ; None if none differ, but some were not compared with
            PyTorch, for they come from rules of one's own. The comparison itself is true for True alone.
        lines: a `Line` for each value, derivative and second derivative: name, eager, compiled, other, agrees.
        other: what the last column is: 'PyTorch'; or 'differences', where PyTorch is not installed.
        parts: the first operation at which microgradc and PyTorch part, in words; None if there is none.
        notes: what else is to be said: why something was not compiled, say.
        not_compared: the names of operations with a rule of one's own, which PyTorch has no counterpart of.
    """

    lines: list[Line]
    other: str
    parts: str | None
    notes: list[str]
    not_compared: list[str]
    agrees: bool | None

    def __init__(
        self, lines: list[Line], other: str, parts: str | None, notes: list[str], not_compared: list[str]
    ) -> None:
        self.lines, self.other, self.parts, self.notes, self.not_compared = lines, other, parts, notes, not_compared
        agrees = parts is None and all(line.agrees for line in lines)
        self.agrees = None if agrees and not_compared else agrees

    def __bool__(self) -> bool:
        return self.agrees is True

    def __str__(self) -> str:
        shown = sorted(self.lines, key=lambda line: line.agrees) if len(self.lines) > MOST_ROWS else self.lines
        width = max(len(line.name) for line in self.lines) + 2
        text = [f"{'':<{width}}{'microgradc':>24}{'compiled':>24}{self.other:>24}"]
        for line in shown[:MOST_ROWS]:
            columns = "".join(f"{_number(x):>24}" for x in (line.eager, line.compiled, line.other))
            text.append(f"{line.name:<{width}}{columns}{'' if line.agrees else '  differs'}".rstrip())
        if len(shown) > MOST_ROWS:
            text.append(f"… {len(shown) - MOST_ROWS:,} more, which agree" if shown[MOST_ROWS].agrees else "… and more")
        text += [] if self.parts is None else [f"They part at {self.parts}"]
        text += self.notes
        if len(self.not_compared) == 1:
            text.append(f"not compared: {self.not_compared[0]!r} has a rule of its own, which gradcheck checks")
        elif self.not_compared:
            names = ", ".join(map(repr, self.not_compared))
            text.append(f"not compared: {names} have rules of their own, which gradcheck checks")
        different = sum(not line.agrees for line in self.lines)
        if self.agrees is not None:
            text.append("All agree." if self.agrees else f"{different} of {len(self.lines)} numbers differ.")
        return "\n".join(text)

    def __repr__(self) -> str:
        verdict = {True: "all agree", False: "they differ", None: "not all are compared"}[self.agrees]
        return f"<Comparison of {len(self.lines)} numbers: {verdict}>"


def _number(x: float | None) -> str:
    return "-" if x is None else repr(x)


@suggest_keywords
def compare_with_torch(
    f: Callable[..., Any], inputs: Any, order: int = 2, *, atol: float = 1e-9, rtol: float = 1e-9
) -> Comparison:
    """Run a function on Values, compiled, and on PyTorch's float64 tensors; compare all numbers.

    The function is called with tensors. Where it does not take them, for it calls functions of microgradc, its graph is
    run on tensors instead, operation by operation. That is done in any case, to find where they part. PyTorch has no
    counterpart of a rule of one's own (a closure, local gradients, `func`, `function`, a compiled function): results of
    such a graph are not compared with it, and `gradcheck` is for these.

    Args:
        f: a function that returns a Value, or a nest of them; or a compiled one. It is called as `f(*inputs)`.
        inputs: as for `gradcheck`.
        order: 1 for values and gradients; 2 for second derivatives too.
        atol, rtol: numbers agree that are atol + rtol * abs(number) apart, or less.

    Returns:
        A Comparison: `print(c)` shows a table, `c.agrees` says whether all agree; None if some were not compared.

    Raises:
        ImportError: PyTorch is not installed.
        TypeError, ValueError: see `gradcheck`.

    >>> c = compare_with_torch(lambda x, y: (x * y).tanh(), (0.5, -2.0))
    >>> c
    <Comparison of 6 numbers: all agree>
    """
    if find_spec("torch") is None:
        raise ImportError("compare_with_torch needs PyTorch: pip install torch. gradcheck does without")
    with EnableGrad():
        return compared(f, inputs, order, atol, rtol, with_torch=True)


def compared(
    f: Callable[..., Any], inputs: Any, order: int, atol: float, rtol: float, with_torch: bool
) -> Comparison:
    """Return what `compare_with_torch` does; without PyTorch, differences in its place."""
    if not callable(f):
        raise TypeError(f"f must be a function, got {f!r:.60}")
    if isinstance(order, bool) or order not in (1, 2):
        raise ValueError(f"order must be 1 or 2, got {order!r}")
    given, tolerance, notes = Inputs(inputs), Tolerance(atol, rtol), []
    plain = f._f if isinstance(f, Compiled) else f
    with noting_places():
        results = given.call(plain)
    eager, why = _eager(results, given, order)
    if why:
        notes.append(f"No second derivatives: {why}")
        order = 1
    compiled = _compiled(plain, given, len(results), order, notes)
    parts = None
    not_compared: list[str] = []
    if with_torch:
        tensors = Tensors(results, given, tolerance)
        other, note, not_compared = tensors.numbers(plain, order)
        notes += [note] if note else []
        parts = _in_words(tensors.parting())
    else:
        other = _differences(plain, given, order)
        tolerance = Tolerance(max(atol, 1e-7), max(rtol, 1e-5))
        notes.append("PyTorch is not installed: the last column has differences, which are right to some digits.")
    names = _names(given, results, order)
    lines = [
        Line(name, x, y, z, _agree(Tolerance(atol, rtol), x, y) and _agree(tolerance, x, z))
        for name, x, y, z in zip(names, eager, compiled, other, strict=True)
    ]
    return Comparison(lines, "PyTorch" if with_torch else "differences", parts, notes, not_compared)


def _agree(tolerance: Tolerance, x: float, y: float | None) -> bool:
    return y is None or tolerance.holds(x, y) or (math.isnan(x) and math.isnan(y))


def _names(given: Inputs, results: list[Any], order: int) -> list[str]:
    labels = [v.label if isinstance(v.label, str) else "" for v in given.values]
    names = [label or name for label, name in zip(labels, given.names, strict=True)]
    found = []
    for k in range(len(results)):
        y = "f" if len(results) == 1 else f"f[{k}]"
        found += [y, *[f"d {y} / d {name}" for name in names]]
        if order == 2:
            found += [f"d2 {y} / d {a} d {b}" for i, a in enumerate(names) for b in names[i:]]
    return found


def _eager(results: list[Any], given: Inputs, order: int) -> tuple[list[float], str]:
    """Return value, gradient and the upper half of the Hessian, of each result in turn; and why there is no Hessian."""
    found: list[float] = []
    seconds: list[list[float]] = []
    why = ""
    if order == 2:
        try:
            seconds = [_upper([received(g, given.values) for g in gradients(y, given.values)]) for y in results]
        except TypeError as error:
            why = str(error)
    for k, y in enumerate(results):
        found += [number_of(y), *received(y, given.values), *(seconds[k] if seconds else [])]
    return found, why


def _upper(rows: Any) -> list[float]:
    return [float(x) for i, row in enumerate(rows) for x in row[i:]]


def _compiled(
    f: Callable[..., Any], given: Inputs, count: int, order: int, notes: list[str]
) -> list[float] | list[None]:
    """Return the same numbers of the compiled function; None for each, and a note, if it cannot be compiled."""
    import numpy as np

    from microgradc import trees

    x = np.array(given.numbers())

    def all_of(row: Any) -> list[Any]:
        return trees.flatten(given.call_with(f, list(row)))[0]

    found: list[float] = []
    try:
        for k in range(count):
            one = compile(lambda row, k=k: all_of(row)[k])
            value, slopes = one.value_and_grad(x)
            found += [float(value), *map(float, slopes), *(_upper(one.hessian(x)) if order == 2 else [])]
    except (CompileError, TypeError, ValueError) as error:
        notes.append(f"Not compiled: {error}")
        size = len(x)
        return [None] * (count * (1 + size + (size * (size + 1) // 2 if order == 2 else 0)))
    return found


def _differences(f: Callable[..., Any], given: Inputs, order: int) -> list[float | None]:
    """Return the same by differences; those of the second derivatives are of gradients."""
    found: list[float | None] = []
    for k, y in enumerate(given.call(f)):
        found.append(None)
        found += [_difference(lambda: number_of(given.call(f)[k]), v) for v in given.values]  # noqa: B023
        if order == 2 and isinstance(y, Value):
            for i in range(len(given.values)):
                for v in given.values[i:]:
                    found.append(_difference(lambda: received(given.call(f)[k], given.values)[i], v))  # noqa: B023
        elif order == 2:
            found += [0.0] * (len(given.values) * (len(given.values) + 1) // 2)
    return found


def _difference(compute: Callable[[], float], v: Value) -> float:
    def value_at(x: float) -> float:
        with at(v, x):
            return compute()

    return difference(value_at, v.data)[0]


def _in_words(parting: Parting | None) -> str | None:
    if parting is None:
        return None
    node, op = parting.node, parting.operation
    what = f"the {parting.what} of {op!r}" + (f" ({node.label!r})" if node.label else "")
    return f"{what}: {parting.ours!r} here, {parting.theirs!r} in PyTorch\n  {place_as_text(parting.place)}"
