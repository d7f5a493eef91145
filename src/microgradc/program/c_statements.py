"""The statements of a C text: what computes the results of units, and what sends their gradients on.

Changes with how a unit is written. Loops over iterations are in c_scans.py.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import cache
from textwrap import TextWrapper
from typing import Any

from microgradc.program.c_layout import Layout
from microgradc.program.c_text import PREFIX, ROWS, number_text, row_text
from microgradc.program.c_units import Unit, Walk

__all__ = ["PART", "Shared", "Statements", "function", "in_lines"]

PART = 100      # statements of one function at most: compilers need more than linear time for a large one


@cache
def _template(op: str, column: str) -> str:
    """Return a column of a row with the names of its variables in braces."""
    return re.sub(r"\b[xyzfg]\b", r"{\g<0>}", row_text(op, column))


class Shared:
    """What the whole file has: tables, and the functions of loops.

    Args:
        layout: of the function.
    """

    is_baked: bool
    is_sent_apart: bool

    def __init__(self, layout: Layout) -> None:
        self.real = f"{PREFIX}real"
        self.is_baked = layout.parameters is not None
        self.is_sent_apart = layout.is_careful or any(layout.behind)
        self.plus = " + 0" if self.is_sent_apart else ""    # makes 0 of -0
        self.none = "-0.0" if self.is_sent_apart else "0"   # what gradients begin at
        self.tables: dict[tuple[str, tuple[Any, ...]], str] = {}
        self.functions: list[str] = []
        self.loop_count = 0


class Statements:
    """The statements of a function, or of an iteration.

    Args:
        layout: what is computed, and where.
        shared: what the file has.
    """

    layout: Layout
    shared: Shared
    real: str
    plus: str

    def __init__(self, layout: Layout, shared: Shared) -> None:
        self.layout, self.shared = layout, shared
        self.real, self.plus = shared.real, shared.plus

    def scan_forward(self, scan: int) -> list[str]:
        """Return statements that run a loop."""
        raise NotImplementedError

    def scan_backward(self, scan: int) -> list[str]:
        """Return statements that run its iterations back."""
        raise NotImplementedError

    # Numbers and places

    def value(self, e: int) -> str:
        number = self.layout.number[e]
        return f"v[{self.layout.place(e)}]" if number is None else number_text(number)

    def gradient(self, e: int) -> str:
        return f"d[{self.layout.place(e)}]"

    def table(self, kind: str, entries: Iterable[Any]) -> str:
        """Return the name of a table of numbers or places; equal ones are one."""
        key = kind, tuple([repr(x) for x in entries] if kind == self.real else entries)
        return self.shared.tables.setdefault(key, f"mgc_{'w' if kind == self.real else 'p'}{len(self.shared.tables)}")

    def table_text(self, key: tuple[str, tuple[Any, ...]], name: str) -> str:
        kind, entries = key
        texts = [number_text(float(x)).strip("()") for x in entries] if kind == self.real else map(str, entries)
        return f"static const {kind} {name}[] = {{\n{_wrapped(', '.join(texts))}\n}};"

    def places(self, expressions: Iterable[int]) -> str:
        return self.table("int", [self.layout.place(e) for e in expressions])

    # Statements

    def parts(self, name: str, parameters: str, statements: list[str]) -> list[str]:
        """Return functions that do what the statements do, and a list of them.

        Called by the list, they stay what they are: a compiler would make one large function of those it sees called.
        """
        heads = [f"{name}_{i}({parameters})" for i in range(-(-len(statements) // PART))]
        parts = [function(f"static void mgc_{head}", statements[i * PART:(i + 1) * PART])
                 for i, head in enumerate(heads)]
        if len(parts) > 1:
            names = ", ".join([f"mgc_{name}_{i}" for i in range(len(parts))])
            parts.append(f"static void (*const mgc_{name}[])({parameters}) = {{\n{_wrapped(names)}\n}};")
        return parts

    def calls(self, name: str, parts: list[str], arguments: str) -> list[str]:
        """Return what calls those functions."""
        if len(parts) < 2:
            return [f"mgc_{name}_0({arguments});"] * len(parts)
        return [f"for (int i = 0; i < {len(parts) - 1}; i++) mgc_{name}[i]({arguments});"]

    def forward(self) -> list[str]:
        statements: list[str] = []
        for unit in self.layout.units:
            if unit.op == "scan":
                statements += self.scan_forward(unit.members[0])
            elif not unit.is_known:
                write = self._run_forward if unit.walks else self._loop_forward if self.layout.is_loop(unit) else \
                    self._one_forward
                statements.append(write(unit))
        return statements

    def backward(self) -> list[str]:
        statements: list[str] = []
        for unit in reversed(self.layout.units):
            if self.layout.active[unit.members[0]]:
                if unit.op == "scan":
                    statements += self.scan_backward(unit.members[0])
                elif unit.walks:
                    statements += self._run_backward(unit)
                elif self.layout.is_loop(unit):
                    call = [self._loop_backward(unit)]
                    statements += call if unit.op == "dense" else self._if_sent(unit.members[0], call)
                else:
                    for e in reversed(unit.members):
                        statements += self._if_sent(e, self._one_backward(e))
        return statements

    def _if_sent(self, e: int, statements: list[str]) -> list[str]:
        """Return statements that send the gradient of an expression on, if there is one."""
        if not statements or not self.layout.behind[e] or len(self.layout.expressions[e].operands) == 0:
            return statements
        inside = " ".join(statements)
        return [f"if (mgc_sent({self.gradient(e)})) {f'{{ {inside} }}' if len(statements) > 1 else inside}"]

    def _one_forward(self, unit: Unit) -> str:
        """One expression, or the few of a small dense layer."""
        return " ".join([f"v[{self.layout.place(e)}] = {self._one_value(e)};" for e in unit.members])

    def _one_value(self, e: int) -> str:
        op, x, _ = self.layout.expressions[e]
        if op in ROWS:
            return _template(op, "value").format(**self._named(x))
        terms = []
        if op == "dense":
            bias, k = self.value(x[-1]), len(x) // 2
            terms = [] if bias == "(-0.0)" else [bias]      # -0 changes no sum
            pairs = zip(x[k:2 * k], x[:k], strict=True)
        else:
            pairs = zip(x[::2], x[1::2], strict=True)
        for factors in pairs:
            texts = [text for text in map(self.value, factors) if text != "1.0"]
            terms.append(" * ".join(texts) or "1.0")
        return " + ".join(terms)

    def _named(self, operands: Sequence[int]) -> dict[str, str]:
        return dict(zip("xyz", map(self.value, operands), strict=False))

    def _one_backward(self, e: int) -> list[str]:
        op, operands, _ = self.layout.expressions[e]
        x: Sequence[int] = operands
        active, g = self.layout.active, self.gradient(e)
        if op in ROWS:
            names = {**self._named(x), "f": self.value(e), "g": g}
            sent = [(y, _template(op, column)) for y, column in zip(x, ("gx", "gy", "gz"), strict=False)]
            return [f"{self.gradient(y)} += {text.format(**names)}{self.plus};"
                    for y, text in sent if text and active[y]]
        statements = []
        if op == "dense":
            k = len(x) // 2
            if active[x[-1]]:
                statements.append(f"{self.gradient(x[-1])} += {g}{self.plus};")
            x = [y for pair in zip(x[k:2 * k], x[:k], strict=True) for y in pair]
        for a, b in zip(x[::2], x[1::2], strict=True):
            statements += [f"{self.gradient(y)} += {g} * {self.value(other)}{self.plus};"
                           for y, other in ((a, b), (b, a)) if active[y]]
        return statements

    def _run_forward(self, unit: Unit) -> str:
        names = {name: self._walked(walk) for name, walk in zip("xyz", unit.walks, strict=False)}
        text = _template(unit.op, "value").format(**names)
        return f"for (int i = 0; i < {len(unit.members)}; i++) v[{self._step(unit.members[0], 1)}] = {text};"

    def _run_backward(self, unit: Unit) -> list[str]:
        names = {name: self._walked(walk) for name, walk in zip("xyz", unit.walks, strict=False)}
        here = self._step(unit.members[0], 1)
        names.update(f=f"v[{here}]", g=f"d[{here}]")
        sent = [(walk, _template(unit.op, column))
                for walk, column in zip(unit.walks, ("gx", "gy", "gz"), strict=False)]
        texts = [f"d[{self._step(walk.expression, walk.stride)}] += {text.format(**names)}{self.plus};"
                 for walk, text in sent if text and walk.receives]
        if_sent = f"if (mgc_sent(d[{here}])) " if self.layout.behind[unit.members[0]] else ""
        return [f"for (int i = {len(unit.members)}; i-- > 0;) {if_sent}{{ {' '.join(texts)} }}"] if texts else []

    def _walked(self, walk: Walk) -> str:
        """Return the text of an operand of a run, by i."""
        if walk.numbers is None:
            return f"v[{self._step(walk.expression, walk.stride)}]"
        if len(set(map(repr, walk.numbers))) == 1:
            return number_text(walk.numbers[0])
        return f"{self.table(self.real, walk.numbers)}[i]"

    def _step(self, e: int, stride: int) -> str:
        first = self.layout.place(e)
        if stride == 0:
            return str(first)
        return f"{first} {'+' if stride > 0 else '-'} {'' if abs(stride) == 1 else f'{abs(stride)} * '}i"

    def _loop_forward(self, unit: Unit) -> str:
        e = unit.members[0]
        operands = self.layout.expressions[e].operands
        if unit.op == "dense":
            weights = self.layout.weights(unit)
            where = self._rows_of(weights, "v")
            call = f"mgc_dense({where}" if where else f"mgc_dense_of({self.places(weights)}"
            return f"{call}, v, {self._rest(unit)});"
        function = "logsumexp_of" if unit.op == "logsumexp" else unit.op
        count = len(operands) // 2 if unit.op == "products" else len(operands)
        return f"v[{self.layout.place(e)}] = mgc_{function}(v, {self.places(operands)}, {count});"

    def _loop_backward(self, unit: Unit) -> str:
        e = unit.members[0]
        operands = self.layout.expressions[e].operands
        if unit.op == "dense":
            weights = self.layout.weights(unit)
            where, receivers = self._rows_of(weights, "v"), self._receivers(weights)
            if where and receivers:
                sent = "sent_" if self.layout.behind[e] else ""
                return f"mgc_dense_{sent}back({where}, {receivers}, v, d, {self._rest(unit)});"
            places = "NULL" if where else self.places(weights)
            layout = self.layout
            table = self.table("int", [layout.place(w) if layout.active[w] else layout.nobody for w in weights])
            return f"mgc_dense_of_back({where or 'NULL'}, {places}, {table}, v, d, {self._rest(unit)});"
        count = len(operands) // 2 if unit.op == "products" else len(operands)
        value = f"{self.value(e)}, " if unit.op == "logsumexp" else ""
        return f"mgc_{unit.op}_back(v, d, {self.places(operands)}, {count}, {value}{self.gradient(e)});"

    def _rest(self, unit: Unit) -> str:
        """Return the last arguments of the loops of a dense layer: its operands, the first result, and two sizes."""
        operands = self.layout.expressions[unit.members[0]].operands
        k = len(operands) // 2
        return f"{self.places(operands[:k])}, {self.layout.place(unit.members[0])}, {len(unit.members)}, {k}"

    def _rows_of(self, weights: list[int], array: str) -> str:
        """Return a pointer to weights that lie one after another; '' if they do not."""
        if array == "v" and self.shared.is_baked:
            return self.table(self.real, [self.layout.number[w] for w in weights])
        places = [self.layout.place(w) for w in weights]
        return f"{array} + {places[0]}" if places == list(range(places[0], places[0] + len(places))) else ""

    def _receivers(self, weights: list[int]) -> str:
        """Return a pointer to the gradients of weights, NULL if they have none; '' if they do not lie in order."""
        are_active = {self.layout.active[w] for w in weights}
        if len(are_active) == 2:
            return ""
        return self._rows_of(weights, "d") if are_active == {True} else "NULL"


def _wrapped(text: str, indent: str = "    ") -> str:
    lines = TextWrapper(120, initial_indent="    ", subsequent_indent=indent, break_on_hyphens=False,
                        break_long_words=False)
    return lines.fill(text)


def function(head: str, lines: list[str]) -> str:
    """Return a function; what it does not use of v is said not to be used."""
    text = "\n".join([f"    {line}" if len(line) < 117 else _wrapped(line, "        ") for line in lines])
    if re.search(r"\bv[,)]", head) and not re.search(r"\bv\b", text):
        text = "    (void)v;\n" + text
    return f"{in_lines(head)}\n{{\n{text}\n}}"


def in_lines(text: str) -> str:
    """Return the head of a function, in lines that are not too long."""
    lines = TextWrapper(119, subsequent_indent=" " * (text.index("(") + 1), break_long_words=False)
    begin, after = text[:text.index("(")], text[text.index("("):]
    apart = after.replace(", ", ",\0").replace(" ", "\1").replace("\0", " ")     # a parameter stays in one line
    return lines.fill(begin.replace(" ", "\1") + apart).replace("\1", " ")
