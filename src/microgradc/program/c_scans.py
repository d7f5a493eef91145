"""Loops over iterations as C: `for` loops whose body is in the text once, forward and back.

Changes with what a loop keeps from its iterations, as scan.h of programs does, in whose order gradients are added. The
way back goes through the iterations in reverse: it finds the carries with which one began, runs it again, and then its
statements back.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import NamedTuple

from microgradc.program.c_layout import Body, Layout
from microgradc.program.c_statements import PART, Shared, Statements, function
from microgradc.program.c_text import number_text
from microgradc.program.c_units import FEWEST

__all__ = ["Ref", "Scans", "moves", "runs"]

_LARGEST = 1 << 24      # of the integers that a float has


class Ref(NamedTuple):
    """An entry of an array: `array[at rest]`, where `rest` depends on the iteration."""

    array: str
    at: int
    rest: str = ""


def runs(places: Sequence[tuple[int, ...]]) -> list[tuple[int, int, tuple[int, ...]]]:
    """Return where runs begin, how long they are, and by how much each number grows in them."""
    found: list[tuple[int, int, tuple[int, ...]]] = []
    begin = 0
    while begin < len(places):
        end, strides = begin + 1, (0,) * len(places[begin])
        if end < len(places):
            strides = tuple([b - a for a, b in zip(places[begin], places[end], strict=True)])
            while end < len(places) and all(
                b - a == stride for a, b, stride in zip(places[end - 1], places[end], strides, strict=True)
            ):
                end += 1
        if end - begin < FEWEST:
            end = begin + 1
        found.append((begin, end - begin, strides))
        begin = end
    return found


def _at(ref: Ref, stride: int) -> str:
    by = f"{'+' if stride > 0 else '-'} {'' if abs(stride) == 1 else f'{abs(stride)} * '}i" if stride else ""
    return f"{ref.array}[{' '.join(filter(None, [f'{ref.at}{ref.rest}', by]))}]"


def moves(pairs: Iterable[tuple[Ref, Ref | str]], sign: str = "=") -> list[str]:
    """Return statements that assign to the first of each pair the second, which may be a text, or add it."""
    statements: list[str] = []
    alike: list[tuple[Ref, Ref]] = []

    def flush() -> None:
        for begin, count, strides in runs([(to.at, source.at) for to, source in alike]):
            to, source = alike[begin]
            if count == 1:
                statements.append(f"{_at(to, 0)} {sign} {_at(source, 0)};")
            else:
                statements.append(f"for (int i = 0; i < {count}; i++) "
                                  f"{_at(to, strides[0])} {sign} {_at(source, strides[1])};")
        alike.clear()

    for to, source in pairs:
        is_like = alike and isinstance(source, Ref) and [to[::2], source[::2]] == [x[::2] for x in alike[0]]
        if not is_like:
            flush()
        if isinstance(source, Ref):
            alike.append((to, source))
        else:
            statements.append(f"{_at(to, 0)} {sign} {source};")
    flush()
    return statements


class Scans(Statements):
    """Statements, among which there may be loops. Functions that these call are added to what the file has."""

    def __init__(self, layout: Layout, shared: Shared) -> None:
        super().__init__(layout, shared)
        self._written: dict[int, _Scan] = {}

    def scan_forward(self, scan: int) -> list[str]:
        self._written[scan] = _Scan(self, scan)
        return [f"mgc_loop_{self._written[scan].number}(v);"]

    def scan_backward(self, scan: int) -> list[str]:
        self._written[scan].write_back()
        return [f"mgc_loop_{self._written[scan].number}_back(v, d);"]


class _Scan:
    """A loop: the functions of an iteration, and of all of them.

    Args:
        around: what is written around it.
        scan: the expression there.
    """

    def __init__(self, around: Scans, scan: int) -> None:
        self.around, self.shared = around, around.shared
        self.body: Body = around.layout.bodies[scan]
        self.loop = self.body.loop
        self.inside = Scans(self.body, self.shared)
        self.number = self.shared.loop_count
        self.shared.loop_count += 1
        first = around.layout.root.value_count + self.body.kept
        carries = self.loop.carries
        self._done = first
        self._aside = [Ref("v", first + 2 + i) for i in range(carries)]
        self._received = [Ref("v", first + 2 + carries + i) for i in range(carries)]
        self._kept = first + 2 + 2 * carries
        self._carry = [Ref("v", self.body.first + i) for i in range(carries)]
        self._x = [Ref("v", self.body.first + carries + i) for i in range(self.loop.xs)]
        self._next = self.body.graph.outputs
        self._write()

    # Where numbers are

    def _gradients(self, refs: Sequence[Ref]) -> list[Ref]:
        return [ref._replace(array="d") for ref in refs]

    def _source(self, statements: Statements, e: int) -> Ref | str:
        if statements.layout.number[e] is None:
            return Ref("v", statements.layout.place(e))
        return statements.value(e)

    def _kept_rows(self, row: str) -> list[Ref]:
        by = f" + {self.loop.carries} * {row}"
        return [Ref("v", self._kept + i, by) for i in range(self.loop.carries)]

    def _places_of_column(self, places: Sequence[int]) -> tuple[int, str] | str:
        """Return places that are one in each iteration: a number and a text that is added to it, or a text."""
        strides = {b - a for a, b in pairwise(places)} or {0}
        if len(strides) == 1:
            stride = strides.pop()
            return places[0], f" {'+' if stride > 0 else '-'} {abs(stride)} * t" if stride else ""
        return f"{self.inside.table('int', places)}[t]"

    def _x_source(self, i: int) -> Ref | str:
        """Return where one of the xs of iteration t is."""
        layout, column = self.around.layout, self.body.column(i)
        numbers = [layout.number[x] for x in column]
        known = [number for number in numbers if number is not None]
        if len(known) < len(column):
            found = self._places_of_column([layout.place(x) for x in column])
            return f"v[{found}]" if isinstance(found, str) else Ref("v", *found)
        if len(set(map(repr, known))) == 1:
            return number_text(known[0])
        begin, step = known[0], known[1] - known[0]
        if all(x.is_integer() and repr(x) == repr(begin + t * step) and abs(x) < _LARGEST for t, x in enumerate(known)):
            return f"{number_text(begin)} + {number_text(step)} * t"
        return f"{self.inside.table(self.shared.real, known)}[t]"

    # Forward

    def _write(self) -> None:
        n, real, layout = self.number, self.shared.real, self.around.layout
        xs = moves((to, self._x_source(i)) for i, to in enumerate(self._x))
        self._add_function(f"mgc_loop_{n}_step({real} *restrict v, const int t)", [
            *_using_t(xs), *self._in_parts(f"loop_{n}_part", f"{real} *restrict v", "v", self.inside.forward())
        ])
        begin = moves(zip(self._carry, [self._source(self.around, x) for x in self.body.operands], strict=False))
        inside = []
        if layout.gradients and self._carry:
            keep = moves(zip(self._kept_rows("t" if self.body.every == 1 else f"(t / {self.body.every})"),
                             self._carry, strict=True))
            inside += keep if self.body.every == 1 else [f"if (t % {self.body.every} == 0) {{ {' '.join(keep)} }}"]
        inside.append(f"mgc_loop_{n}_step(v, t);")
        if self.loop.ends:
            inside.append(f"if ({self.inside.value(self._next[-1])} != 0) break;")
        carries = self.loop.carries
        inside += moves((Ref("v", place, " + t"), self._source(self.inside, self._next[carries + i]))
                        for i, place in self.body.ys.items())
        inside += self._go_on()
        end = moves((Ref("v", place), self._carry[i]) for i, place in self.body.results.items())
        keeps_count = self.loop.ends and layout.gradients
        if keeps_count:     # as two numbers, which a float has without loss
            end += [f"v[{self._done}] = ({real})(t / 4096);", f"v[{self._done + 1}] = ({real})(t % 4096);"]
        head = ["int t = 0;", f"for (; t < {self.loop.length}; t++) {{"] if keeps_count else \
            [f"for (int t = 0; t < {self.loop.length}; t++) {{"]
        self._add_function(f"mgc_loop_{n}({real} *restrict v)", [*begin, *head, *_indented(inside), "}", *end])

    def _go_on(self) -> list[str]:
        """Return statements by which the next carries come to be those with which the next iteration begins."""
        sources = [self._source(self.inside, e) for e in self._next[:self.loop.carries]]
        pairs = [(to, source) for to, source in zip(self._carry, sources, strict=True) if to != source]
        if not any(source in self._carry for _, source in pairs):
            return moves(pairs)
        aside = list(zip(self._aside, [source for _, source in pairs], strict=False))
        return [*moves(aside), *moves(zip([to for to, _ in pairs], self._aside, strict=False))]

    def _in_parts(self, name: str, parameters: str, arguments: str, statements: list[str]) -> list[str]:
        """Return the statements, or if they are many, calls of functions that have them."""
        if len(statements) <= PART:
            return statements
        parts = self.inside.parts(name, parameters, statements)
        self.shared.functions += parts
        return self.inside.calls(name, parts, arguments)

    def _add_function(self, head: str, lines: list[str]) -> None:
        self.shared.functions.append(function(f"static void {head}", lines))

    # Back

    def write_back(self) -> None:
        """Write the functions that go back."""
        n, real, layout, none = self.number, self.shared.real, self.around.layout, self.shared.none
        carries, every, length = self.loop.carries, self.body.every, self.loop.length
        arrays = f"{real} *restrict v, {real} *restrict d"
        active = [i for i in range(carries) if self.inside.layout.active[self._next[i]]]
        lines = [f"for (int i = {self.body.first}; i < {self.body.end}; i++) d[i] = {none};"]
        lines += moves(((Ref("d", self.body.place(self._next[i])), self._received[i]) for i in active), "+=")
        lines += moves(((Ref("d", self.body.place(self._next[carries + i])), Ref("d", place, " + t"))
                        for i, place in self.body.ys.items() if self.body.active[self._next[carries + i]]), "+=")
        lines += self._in_parts(f"loop_{n}_part_back", arrays, "v, d", self.inside.backward())
        lines += moves(zip(self._received, self._gradients(self._carry), strict=True))
        for i, x in enumerate(self._gradients(self._x)):
            column = self.body.column(i)
            if any(layout.active[e] for e in column):
                found = self._places_of_column([layout.place(e) if layout.active[e] else layout.nobody for e in column])
                lines += moves([(Ref("d", *found), x)], "+=") if not isinstance(found, str) else \
                    [f"d[{found}] += {_at(x, 0)};"]
        self._add_function(f"mgc_loop_{n}_step_back({arrays}, const int t)", _using_t(lines))

        begin = moves((to, Ref("d", self.body.results[i]) if i in self.body.results else none)
                      for i, to in enumerate(self._received))
        done = str(length)
        if self.loop.ends:
            begin.append(f"const int done = 4096 * (int)v[{self._done}] + (int)v[{self._done + 1}];")
            done = "done"
        inside: list[str] = []
        if carries and every > 1:
            begin.append("int part = -1;")
            inside += self._find_part(done)
        if carries:
            row = "t" if every == 1 else f"({(length - 1) // every + 1} + t % {every})"
            inside += moves(zip(self._carry, self._kept_rows(row), strict=True))
        inside += [f"mgc_loop_{n}_step(v, t);", f"mgc_loop_{n}_step_back(v, d, t);"]
        end = moves(((Ref("d", layout.place(e)), self._received[i])
                     for i, e in enumerate(self.body.operands[:carries]) if layout.active[e]), "+=")
        self._add_function(f"mgc_loop_{n}_back({arrays})", [
            *begin, f"for (int t = {done}; t-- > 0;) {{", *_indented(inside), "}", *end
        ])

    def _find_part(self, done: str) -> list[str]:
        """Return statements that find the carries of a part of the iterations, from those with which it began."""
        every = self.body.every
        parts = (self.loop.length - 1) // every + 1
        return [
            f"if (t / {every} != part) {{",
            f"    part = t / {every};",
            *_indented(moves(zip(self._carry, self._kept_rows("part"), strict=True))),
            f"    for (int u = 0, begin = part * {every};; u++) {{",
            *_indented(_indented([
                *moves(zip(self._kept_rows(f"({parts} + u)"), self._carry, strict=True)),
                f"if (u + 1 == {every} || begin + u + 1 == {done}) break;",
                f"mgc_loop_{self.number}_step(v, begin + u);",
                *self._go_on(),
            ])),
            "    }",
            "}",
        ]


def _indented(lines: list[str]) -> list[str]:
    return [f"    {line}" for line in lines]


def _using_t(lines: list[str]) -> list[str]:
    """Return lines that use t, or say that they do not."""
    return lines if re.search(r"\bt\b", " ".join(lines)) else ["(void)t;", *lines]
