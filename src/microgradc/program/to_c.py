"""to_c: a graph as a C file and its header, which need nothing but C99 and libm.

Changes with what is in these two files. What is computed together, and where numbers lie, is in c_layout.py.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from textwrap import TextWrapper
from typing import Any

from microgradc.program.c_layout import Layout
from microgradc.program.c_loops import LOOPS, loop_text
from microgradc.program.c_scans import Scans, runs
from microgradc.program.c_statements import Shared, function, in_lines
from microgradc.program.c_text import PREFIX, helpers_of, number_text
from microgradc.program.c_units import FEWEST
from microgradc.program.graph import Graph

__all__ = ["write_c"]

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


class _Writer(Scans):
    """The C file: tables, functions for parts of the work, and those that others call."""

    def __init__(self, layout: Layout, name: str) -> None:
        super().__init__(layout, Shared(layout))
        self.name = name

    def source(self) -> str:
        layout, name = self.layout, self.name
        shared = self.shared
        forward = self.parts("forward", f"{self.real} *restrict v", self.forward())
        backward = []
        if layout.gradients:
            const = "" if layout.bodies else "const "       # iterations are run again on the way back
            backward = self.parts("backward", f"{const}{self.real} *restrict v, {self.real} *restrict d",
                                  self.backward())
        public = self._public(self.calls("forward", forward, "v"), self.calls("backward", backward, "work, d"))
        body = "\n\n".join([*shared.functions, *forward, *backward, *public])
        used: list[str] = []
        text = body
        for loop in reversed(LOOPS):    # those that call others come last
            if f"{loop}(" in text:
                used.insert(0, loop)
                text += loop_text(loop, self.real, shared.is_sent_apart)
        called = "\n\n".join([loop_text(loop, self.real, shared.is_sent_apart) for loop in used])
        return "\n\n".join(filter(None, [
            f"/* {name}.h says what this is. */\n#include \"{name}.h\"\n\n#include <math.h>\n#include <stddef.h>",
            f"typedef {name}_real {self.real};",
            helpers_of(called + body, self.real),
            called,
            "\n".join(map(self.table_text, shared.tables, shared.tables.values())),
            body,
        ])) + "\n"

    # What others call

    def _public(self, forward: list[str], backward: list[str]) -> list[str]:
        layout, name = self.layout, self.name
        passed, passing = ("", "") if self.shared.is_baked else (f"const {self.real} *parameters, ", "parameters, ")
        if layout.reads_parameters and layout.graph.parameter_count and self.shared.is_baked:
            passing = self.table(self.real, layout.parameters or []) + ", "
            passed = f"const {self.real} *parameters, "
        lines = _loop_over(layout.graph.input_count, f"{name}_INPUTS", lambda i: f"v[{i}] = inputs[{i}];", "inputs")
        if layout.reads_parameters:
            order = self._parameter_index()
            lines += _loop_over(layout.graph.parameter_count, f"{name}_PARAMETERS",
                                lambda i: f"v[{layout.result_count} + {i}] = parameters[{order}];",
                                "parameters" if passed else "")
        if len(layout.fills) > FEWEST:
            places, numbers = self.table("int", layout.fills), self.table(self.real, layout.fills.values())
            lines.append(f"for (int i = 0; i < {len(layout.fills)}; i++) v[{places}[i]] = {numbers}[i];")
        else:
            lines += [f"v[{place}] = {number_text(number)};" for place, number in layout.fills.items()]
        lines += forward
        lines += self._outputs(lambda i, e: f"outputs[{i}] = {e};")
        head = f"const {self.real} *inputs, {passed}{self.real} *outputs, "
        functions = [function(f"static void mgc_values({head}{self.real} *v)", lines)]
        arguments = f"inputs, {passing}outputs, work"
        functions.append(function(_signature(layout, name), [f"mgc_values({arguments});"]))
        if layout.gradients:
            functions.append(function(_gradients_signature(layout, name),
                                       [f"mgc_values({arguments});", *self._gradient_lines(backward)]))
        return functions

    def _gradient_lines(self, backward: list[str]) -> list[str]:
        layout, name = self.layout, self.name
        lines = [f"{self.real} *const d = work + {layout.gradients_begin};",
                 f"for (int i = 0; i < {layout.nobody + 1}; i++) d[i] = {self.shared.none};"]
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
        return "i" if order == sorted(order) else f"{self.table('int', order)}[i]"

    def _outputs(self, write: Callable[[Any, str], str]) -> list[str]:
        """Return a statement for each output, or a loop over them."""
        outputs, layout = self.layout.graph.outputs, self.layout
        if layout.reads_outputs_by_table and layout.bodies:
            return self._runs_of_outputs(write)
        if layout.reads_outputs_by_table:
            table = self.places(outputs)
            return [f"for (int i = 0; i < {self.name}_OUTPUTS; i++) " + write("i", f"v[{table}[i]]")]
        texts = []
        for i, e in enumerate(outputs):
            is_seeded = layout.active[e] and "seeds" in write(i, "v[0]")
            texts.append(write(i, f"v[{layout.place(e)}]" if is_seeded else self.value(e)))
        return texts


    def _runs_of_outputs(self, write: Callable[[Any, str], str]) -> list[str]:
        """Return loops over outputs whose places follow one another, as the ys of a loop do."""
        places = [self.layout.place(e) for e in self.layout.graph.outputs]
        texts = []
        for begin, count, (stride,) in runs([(place,) for place in places]):
            if count == 1:
                texts.append(write(begin, f"v[{places[begin]}]"))
            else:
                by = f" + {stride} * i" if stride else ""
                texts.append(f"for (int i = 0; i < {count}; i++) " + write(f"{begin} + i", f"v[{places[begin]}{by}]"))
        return texts


def _loop_over(count: int, limit: str, statement: Callable[[str], str], unused: str) -> list[str]:
    """Return a loop as lines; what says that a pointer is unused if there is nothing to go through."""
    if not count:
        return [f"(void){unused};"] if unused else []
    return [f"for (int i = 0; i < {limit}; i++) {statement('i')}"]


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
    numbers = layout.gradients_begin + (layout.nobody + 1) * layout.gradients
    gradients = f"""

/* The same, and gradients: of the sum over all outputs of seed times output. They are assigned, not added to; either
   pointer may be NULL. A seed of 0 still meets an infinite derivative, and then gives nan. */
{in_lines(_gradients_signature(layout, name) + ';')}""" if layout.gradients else ""
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
{in_lines(_signature(layout, name) + ';')}{gradients}

#ifdef __cplusplus
}}
#endif

#endif
"""
