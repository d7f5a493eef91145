"""to_c: a graph as a C file and its header, which need nothing but C99 and libm.

Changes with what is in these two files. What is computed together, and where numbers lie, is in c_layout.py.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from textwrap import TextWrapper
from typing import Any

from microgradc.program.c_layout import FEWEST, Layout, Unit, Walk
from microgradc.program.c_loops import LOOPS, loop_text
from microgradc.program.c_text import PREFIX, ROWS, helpers_of, number_text, row_text
from microgradc.program.graph import Graph

__all__ = ["write_c"]

PART = 100      # statements of one function at most: compilers need more than linear time for a large one

# What a function cannot be called: words of C and C++, and functions that math.h declares.
_TAKEN = set(
    "alignas alignof and asm auto bool break case catch char class compl const constexpr continue decltype default "
    "delete do double else enum explicit export extern false float for friend goto if inline int long main mutable "
    "namespace new noexcept not nullptr operator or private protected public register restrict return short signed "
    "sizeof static struct switch template this throw true try typedef typeid typename typeof union unsigned using "
    "virtual void volatile while xor NAN INFINITY HUGE_VAL NULL inputs outputs seeds parameters work main "
    "size_t ptrdiff_t wchar_t max_align_t nullptr_t offsetof float_t double_t math_errhandling linux unix".split()
)
_MATH = (
    "acos acosh asin asinh atan atan2 atanh cbrt ceil copysign cos cosh drem erf erfc exp exp10 exp2 expm1 fabs fdim "
    "finite floor fma scalb signgam significand sincos "
    "fmax fmin fmod frexp gamma hypot ilogb isfinite isgreater isgreaterequal isinf isless islessequal islessgreater "
    "isnan isnormal isunordered fpclassify signbit j0 j1 jn y0 y1 yn ldexp lgamma llrint llround log log10 log1p log2 "
    "logb lrint lround modf nan nearbyint nextafter nexttoward pow remainder remquo rint round scalbln scalbn sin sinh "
    "sqrt tan tanh tgamma trunc"
).split()
_TAKEN.update(name + ending for name in _MATH for ending in ("", "f", "l"))


def write_c(graph: Graph, parameters: Sequence[float], name: str, gradients: bool, passing: str) -> tuple[str, str]:
    """Return the texts of a C file and its header.

    Args:
        graph: what to compute, after its passes.
        parameters: their numbers.
        name: of the function, and of what else others see.
        gradients: whether there is a function for gradients.
        passing: 'baked' for parameters that are written into the file, 'passed' for an argument.

    Raises:
        ValueError: the name cannot be one in C, or passing is something else.
        CompileError: there is an operation that has no C text.
        MemoryError: there is no memory.
    """
    if passing not in ("baked", "passed"):
        raise ValueError(f"parameters must be 'baked' or 'passed', got {passing!r:.60}")
    if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z]\w*", name, re.ASCII):
        raise ValueError(f"name must be one that C takes, letters, digits and _ after a letter, got {name!r:.60}")
    if name in _TAKEN or name.startswith(PREFIX):
        raise ValueError(f"name must be one that is free in C and C++, got {name!r:.60}")
    layout = Layout(graph, list(parameters) if passing == "baked" else None, bool(gradients))
    return _Writer(layout, name).source(), _header(layout, name)


@cache
def _template(op: str, column: str) -> str:
    """Return a column of a row with the names of its variables in braces."""
    return re.sub(r"\b[xyzfg]\b", r"{\g<0>}", row_text(op, column))


class _Writer:
    """The C file: tables, functions for parts of the work, and those that others call."""

    def __init__(self, layout: Layout, name: str) -> None:
        self.layout, self.name, self.real = layout, name, f"{PREFIX}real"
        self.is_baked = layout.parameters is not None
        self.is_sent_apart = any(layout.behind)
        self.plus = " + 0" if self.is_sent_apart else ""    # makes 0 of -0
        self.tables: dict[tuple[str, tuple[Any, ...]], str] = {}

    def source(self) -> str:
        layout, name = self.layout, self.name
        forward = self._parts("forward", f"{self.real} *restrict v", self._forward())
        backward = []
        if layout.gradients:
            backward = self._parts("backward", f"const {self.real} *restrict v, {self.real} *restrict d",
                                   self._backward())
        public = self._public(self._calls("forward", forward, "v"), self._calls("backward", backward, "work, d"))
        body = "\n\n".join([*forward, *backward, *public])
        used: list[str] = []
        text = body
        for loop in reversed(LOOPS):    # those that call others come last
            if f"{loop}(" in text:
                used.insert(0, loop)
                text += loop_text(loop, self.real, self.is_sent_apart)
        called = "\n\n".join([loop_text(loop, self.real, self.is_sent_apart) for loop in used])
        return "\n\n".join(filter(None, [
            f"/* {name}.h says what this is. */\n#include \"{name}.h\"\n\n#include <math.h>\n#include <stddef.h>",
            f"typedef {name}_real {self.real};",
            helpers_of(called + body, self.real),
            called,
            "\n".join(map(self._table_text, self.tables, self.tables.values())),
            body,
        ])) + "\n"

    # Numbers and places

    def _value(self, e: int) -> str:
        number = self.layout.number[e]
        return f"v[{self.layout.place(e)}]" if number is None else number_text(number)

    def _gradient(self, e: int) -> str:
        return f"d[{self.layout.place(e)}]"

    def _table(self, kind: str, entries: Iterable[Any]) -> str:
        """Return the name of a table of numbers or places; equal ones are one."""
        key = kind, tuple([repr(x) for x in entries] if kind == self.real else entries)
        return self.tables.setdefault(key, f"mgc_{'w' if kind == self.real else 'p'}{len(self.tables)}")

    def _table_text(self, key: tuple[str, tuple[Any, ...]], name: str) -> str:
        kind, entries = key
        texts = [number_text(float(x)).strip("()") for x in entries] if kind == self.real else map(str, entries)
        return f"static const {kind} {name}[] = {{\n{_wrapped(', '.join(texts))}\n}};"

    def _places(self, expressions: Iterable[int]) -> str:
        return self._table("int", [self.layout.place(e) for e in expressions])

    # Statements

    def _parts(self, name: str, parameters: str, statements: list[str]) -> list[str]:
        """Return functions that do what the statements do, and a list of them.

        Called by the list, they stay what they are: a compiler would make one large function of those it sees called.
        """
        heads = [f"{name}_{i}({parameters})" for i in range(-(-len(statements) // PART))]
        parts = [_function(f"static void mgc_{head}", statements[i * PART:(i + 1) * PART])
                 for i, head in enumerate(heads)]
        if len(parts) > 1:
            names = ", ".join([f"mgc_{name}_{i}" for i in range(len(parts))])
            parts.append(f"static void (*const mgc_{name}[])({parameters}) = {{\n{_wrapped(names)}\n}};")
        return parts

    def _calls(self, name: str, parts: list[str], arguments: str) -> list[str]:
        """Return what calls those functions."""
        if len(parts) < 2:
            return [f"mgc_{name}_0({arguments});"] * len(parts)
        return [f"for (int i = 0; i < {len(parts) - 1}; i++) mgc_{name}[i]({arguments});"]

    def _forward(self) -> list[str]:
        statements = []
        for unit in self.layout.units:
            if not unit.is_known:
                write = self._run_forward if unit.walks else self._loop_forward if self.layout.is_loop(unit) else \
                    self._one_forward
                statements.append(write(unit))
        return statements

    def _backward(self) -> list[str]:
        statements: list[str] = []
        for unit in reversed(self.layout.units):
            if self.layout.active[unit.members[0]]:
                if unit.walks:
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
        return [f"if (mgc_sent({self._gradient(e)})) {f'{{ {inside} }}' if len(statements) > 1 else inside}"]

    def _one_forward(self, unit: Unit) -> str:
        """One expression, or the few of a small dense layer."""
        return " ".join([f"v[{self.layout.place(e)}] = {self._one_value(e)};" for e in unit.members])

    def _one_value(self, e: int) -> str:
        op, x, _ = self.layout.expressions[e]
        if op in ROWS:
            return _template(op, "value").format(**self._named(x))
        terms = []
        if op == "dense":
            bias, k = self._value(x[-1]), len(x) // 2
            terms = [] if bias == "(-0.0)" else [bias]      # -0 changes no sum
            pairs = zip(x[k:2 * k], x[:k], strict=True)
        else:
            pairs = zip(x[::2], x[1::2], strict=True)
        for factors in pairs:
            texts = [text for text in map(self._value, factors) if text != "1.0"]
            terms.append(" * ".join(texts) or "1.0")
        return " + ".join(terms)

    def _named(self, operands: Sequence[int]) -> dict[str, str]:
        return dict(zip("xyz", map(self._value, operands), strict=False))

    def _one_backward(self, e: int) -> list[str]:
        op, operands, _ = self.layout.expressions[e]
        x: Sequence[int] = operands
        active, g = self.layout.active, self._gradient(e)
        if op in ROWS:
            names = {**self._named(x), "f": self._value(e), "g": g}
            sent = [(y, _template(op, column)) for y, column in zip(x, ("gx", "gy", "gz"), strict=False)]
            return [f"{self._gradient(y)} += {text.format(**names)}{self.plus};"
                    for y, text in sent if text and active[y]]
        statements = []
        if op == "dense":
            k = len(x) // 2
            if active[x[-1]]:
                statements.append(f"{self._gradient(x[-1])} += {g}{self.plus};")
            x = [y for pair in zip(x[k:2 * k], x[:k], strict=True) for y in pair]
        for a, b in zip(x[::2], x[1::2], strict=True):
            statements += [f"{self._gradient(y)} += {g} * {self._value(other)}{self.plus};"
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
        return f"{self._table(self.real, walk.numbers)}[i]"

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
            call = f"mgc_dense({where}" if where else f"mgc_dense_of({self._places(weights)}"
            return f"{call}, v, {self._rest(unit)});"
        function = "logsumexp_of" if unit.op == "logsumexp" else unit.op
        count = len(operands) // 2 if unit.op == "products" else len(operands)
        return f"v[{self.layout.place(e)}] = mgc_{function}(v, {self._places(operands)}, {count});"

    def _loop_backward(self, unit: Unit) -> str:
        e = unit.members[0]
        operands = self.layout.expressions[e].operands
        if unit.op == "dense":
            weights = self.layout.weights(unit)
            where, receivers = self._rows_of(weights, "v"), self._receivers(weights)
            if where and receivers:
                sent = "sent_" if self.layout.behind[e] else ""
                return f"mgc_dense_{sent}back({where}, {receivers}, v, d, {self._rest(unit)});"
            places = "NULL" if where else self._places(weights)
            nobody = self.layout.result_count + self.layout.graph.parameter_count
            table = self._table("int", [self.layout.place(w) if self.layout.active[w] else nobody for w in weights])
            return f"mgc_dense_of_back({where or 'NULL'}, {places}, {table}, v, d, {self._rest(unit)});"
        count = len(operands) // 2 if unit.op == "products" else len(operands)
        value = f"{self._value(e)}, " if unit.op == "logsumexp" else ""
        return f"mgc_{unit.op}_back(v, d, {self._places(operands)}, {count}, {value}{self._gradient(e)});"

    def _rest(self, unit: Unit) -> str:
        """Return the last arguments of the loops of a dense layer: its operands, the first result, and two sizes."""
        operands = self.layout.expressions[unit.members[0]].operands
        k = len(operands) // 2
        return f"{self._places(operands[:k])}, {self.layout.place(unit.members[0])}, {len(unit.members)}, {k}"

    def _rows_of(self, weights: list[int], array: str) -> str:
        """Return a pointer to weights that lie one after another; '' if they do not."""
        if array == "v" and self.is_baked:
            return self._table(self.real, [self.layout.number[w] for w in weights])
        places = [self.layout.place(w) for w in weights]
        return f"{array} + {places[0]}" if places == list(range(places[0], places[0] + len(places))) else ""

    def _receivers(self, weights: list[int]) -> str:
        """Return a pointer to the gradients of weights, NULL if they have none; '' if they do not lie in order."""
        are_active = {self.layout.active[w] for w in weights}
        if len(are_active) == 2:
            return ""
        return self._rows_of(weights, "d") if are_active == {True} else "NULL"

    # What others call

    def _public(self, forward: list[str], backward: list[str]) -> list[str]:
        layout, name = self.layout, self.name
        passed, passing = ("", "") if self.is_baked else (f"const {self.real} *parameters, ", "parameters, ")
        if layout.reads_parameters and layout.graph.parameter_count and self.is_baked:
            passing = self._table(self.real, layout.parameters or []) + ", "
            passed = f"const {self.real} *parameters, "
        lines = _loop_over(layout.graph.input_count, f"{name}_INPUTS", lambda i: f"v[{i}] = inputs[{i}];", "inputs")
        if layout.reads_parameters:
            order = self._parameter_index()
            lines += _loop_over(layout.graph.parameter_count, f"{name}_PARAMETERS",
                                lambda i: f"v[{layout.result_count} + {i}] = parameters[{order}];",
                                "parameters" if passed else "")
        if len(layout.fills) > FEWEST:
            places, numbers = self._table("int", layout.fills), self._table(self.real, layout.fills.values())
            lines.append(f"for (int i = 0; i < {len(layout.fills)}; i++) v[{places}[i]] = {numbers}[i];")
        else:
            lines += [f"v[{place}] = {number_text(number)};" for place, number in layout.fills.items()]
        lines += forward
        lines += self._outputs(lambda i, e: f"outputs[{i}] = {e};")
        head = f"const {self.real} *inputs, {passed}{self.real} *outputs, "
        functions = [_function(f"static void mgc_values({head}{self.real} *v)", lines)]
        arguments = f"inputs, {passing}outputs, work"
        functions.append(_function(_signature(layout, name), [f"mgc_values({arguments});"]))
        if layout.gradients:
            functions.append(_function(_gradients_signature(layout, name),
                                       [f"mgc_values({arguments});", *self._gradient_lines(backward)]))
        return functions

    def _gradient_lines(self, backward: list[str]) -> list[str]:
        layout, name = self.layout, self.name
        count = layout.result_count + layout.graph.parameter_count + 1     # the last one is for what has no gradient
        zero = "-0.0" if self.is_sent_apart else "0"
        lines = [f"{self.real} *const d = work + {layout.value_count};",
                 f"for (int i = 0; i < {count}; i++) d[i] = {zero};"]
        lines += self._outputs(
            lambda i, e: f"{e.replace('v[', 'd[', 1)} += seeds[{i}]{self.plus};" if "[" in e else "(void)seeds;"
        )
        lines += backward
        for what, how_many, to, at in (
            ("input", layout.graph.input_count, "i", "i"),
            ("parameter", layout.graph.parameter_count, self._parameter_index(), f"{layout.result_count} + i"),
        ):
            gradients = f"{what}_gradients"
            loop = f"for (int i = 0; i < {name}_{what.upper()}S; i++) {gradients}[{to}] = d[{at}]{self.plus};"
            loop = f"if ({gradients}) {loop}"
            lines.append(loop if how_many else f"(void){gradients};")
        return lines

    def _parameter_index(self) -> str:
        """Return which parameter has place i among them."""
        order = self.layout.parameter_order
        return "i" if order == sorted(order) else f"{self._table('int', order)}[i]"

    def _outputs(self, write: Callable[[Any, str], str]) -> list[str]:
        """Return a statement for each output, or a loop over them."""
        outputs, layout = self.layout.graph.outputs, self.layout
        if layout.reads_outputs_by_table:
            table = self._places(outputs)
            return [f"for (int i = 0; i < {self.name}_OUTPUTS; i++) " + write("i", f"v[{table}[i]]")]
        texts = []
        for i, e in enumerate(outputs):
            is_seeded = layout.active[e] and "seeds" in write(i, "v[0]")
            texts.append(write(i, f"v[{layout.place(e)}]" if is_seeded else self._value(e)))
        return texts


def _loop_over(count: int, limit: str, statement: Callable[[str], str], unused: str) -> list[str]:
    """Return a loop as lines; what says that a pointer is unused if there is nothing to go through."""
    if not count:
        return [f"(void){unused};"] if unused else []
    return [f"for (int i = 0; i < {limit}; i++) {statement('i')}"]


def _wrapped(text: str, indent: str = "    ") -> str:
    lines = TextWrapper(120, initial_indent="    ", subsequent_indent=indent, break_on_hyphens=False,
                        break_long_words=False)
    return lines.fill(text)


def _function(head: str, lines: list[str]) -> str:
    """Return a function; what it does not use of v is said not to be used."""
    text = "\n".join([f"    {line}" if len(line) < 117 else _wrapped(line, "        ") for line in lines])
    if re.search(r"\bv[,)]", head) and not re.search(r"\bv\b", text):
        text = "    (void)v;\n" + text
    return f"{_head(head)}\n{{\n{text}\n}}"


def _head(text: str) -> str:
    """Return the head of a function, in lines that are not too long."""
    lines = TextWrapper(119, subsequent_indent=" " * (text.index("(") + 1), break_long_words=False)
    begin, after = text[:text.index("(")], text[text.index("("):]
    apart = after.replace(", ", ",\0").replace(" ", "\1").replace("\0", " ")     # a parameter stays in one line
    return lines.fill(begin.replace(" ", "\1") + apart).replace("\1", " ")


def _signature(layout: Layout, name: str) -> str:
    real = f"{name}_real"
    passed = "" if layout.parameters is not None else f"const {real} *parameters, "
    return f"void {name}(const {real} *inputs, {passed}{real} *outputs, {real} *work)"


def _gradients_signature(layout: Layout, name: str) -> str:
    real = f"{name}_real"
    passed = "" if layout.parameters is not None else f"const {real} *parameters, "
    return (f"void {name}_gradients(const {real} *inputs, {passed}const {real} *seeds, {real} *outputs, "
            f"{real} *input_gradients, {real} *parameter_gradients, {real} *work)")


def _header(layout: Layout, name: str) -> str:
    """Return the text of the header: what there is, and how it is called."""
    upper, real = f"{name}_H", f"{name}_real"
    numbers = layout.value_count
    if layout.gradients:
        numbers += layout.result_count + layout.graph.parameter_count + 1
    gradients = f"""

/* The same, and gradients: of the sum over all outputs of seed times output. They are assigned, not added to; either
   pointer may be NULL. A seed of 0 still meets an infinite derivative, and then gives nan. */
{_head(_gradients_signature(layout, name) + ';')}""" if layout.gradients else ""
    where = "as the recording has them, f.program(...).parameters" if layout.parameters is None else "in this file"
    about = [
        f"{name}: a function recorded by microgradc, in C99; it needs libm alone.",
        f"It allocates nothing and keeps nothing: threads may call it at once, each with its own memory. `work` is "
        f"{name}_WORK numbers, whatever is in them; no array may overlap another one. Inputs are the numbers in the "
        "arguments, one after another; an argument that is an index is a number like the others, and where it is out "
        f"of range what it takes is nan, and receives nothing. Parameters are {where}.",
        f"With -D{name}_FLOAT, here and where it is called, numbers are float. Compiled without contraction to fused "
        "multiply-adds (-ffp-contract=off), the results are those of the engine.",
    ]
    lines = TextWrapper(118, initial_indent=" * ", subsequent_indent=" * ", break_on_hyphens=False)
    comment = "\n *\n".join(map(lines.fill, about))
    return f"""/*{comment[2:]}
 */
#ifndef {upper}
#define {upper}

#ifdef {name}_FLOAT
typedef float {real};
#else
typedef double {real};
#endif

enum {{
    {name}_INPUTS = {layout.graph.input_count},
    {name}_OUTPUTS = {len(layout.graph.outputs)},
    {name}_PARAMETERS = {layout.graph.parameter_count},
    {name}_WORK = {max(numbers, 1)}
}};

#ifdef __cplusplus
extern "C" {{
#endif

/* Compute all outputs. */
{_head(_signature(layout, name) + ';')}{gradients}

#ifdef __cplusplus
}}
#endif

#endif
"""
