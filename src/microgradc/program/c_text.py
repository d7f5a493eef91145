"""The operations in C, as text: the rows of ops.h and the functions that they call, taken from the engine's headers.

Changes with how the text of a header becomes the text of a file that stands alone. No rule is written here: a row's
value and its gradients are its columns, and a helper is the function in the header, with other names.
"""

from __future__ import annotations

import math
import re
import struct
from functools import cache

from microgradc.engine import TABLE

__all__ = ["PREFIX", "ROWS", "helpers_of", "macro_number", "number_text", "row_text", "wide_column", "wide_gradient"]

PREFIX = "mgc_"     # of all names that are seen in one file alone

ROWS = {row.name.lower(): row for row in TABLE}
"""The rows of ops.h, by the names of operations in graphs."""

_FUNCTION = re.compile(r"^static inline double (\w+)\(([^)]*)\)\s*\{", re.MULTILINE)
_NUMBER_MACRO = re.compile(r"^#define (\w+) ([-+.\w]+)[ \t]*$", re.MULTILINE)
_WIDE_PARAMETERS = ("mgc_reader *at, const void *values, Py_ssize_t count", "const mgc_wide *w")


def _header(name: str) -> str:
    """Return the text of one of the engine's headers, without comments."""
    from importlib import resources  # here, for it takes longer to import than the compiler
    text = resources.files("microgradc.engine").joinpath(name).read_text(encoding="utf-8")
    return re.sub(r"[ \t]*/\*.*?\*/", "", text, flags=re.DOTALL)


def _end(text: str, begin: int) -> int:
    """Return the place after the bracket that closes the one at `begin`."""
    depth = 0
    for at in range(begin, len(text)):
        depth += (text[at] in "({") - (text[at] in ")}")
        if depth == 0:
            return at + 1
    raise AssertionError(f"a bracket is open at the end of {text[begin:begin + 60]!r}")


@cache
def _headers() -> tuple[dict[str, str], dict[str, str]]:
    """Return the functions of the headers, and the macros that are numbers, by name."""
    functions: dict[str, str] = {}
    macros: dict[str, str] = {}
    for header in ("special.h", "ops.h", "wide.h"):
        text = _header(header)
        macros.update(_NUMBER_MACRO.findall(text))
        for found in _FUNCTION.finditer(text):
            if header != "wide.h" or found[2].startswith(_WIDE_PARAMETERS):
                functions[found[1]] = text[found.start():_end(text, found.end() - 1)]
    for name in ("mgc_value", "mgc_value_with_number", "mgc_power_in_slope"):   # of the engine, not of rows
        functions.pop(name, None)
    return functions, macros


def _of_places(text: str) -> str:
    """Return a function of wide.h as one of places: v[p[i]] is value i of several."""
    for parameters in _WIDE_PARAMETERS:
        text = text.replace(parameters, "const double *v, const int *p, int count")
    text = text.replace("w->count", "count").replace("Py_ssize_t", "int")
    while found := re.search(r"\b(at\(values, |mgc_wide_at\(w, )", text):
        end = _end(text, text.index("(", found.start()))
        text = f"{text[:found.start()]}v[p[{text[found.end():end - 1]}]]{text[end:]}"
    return text


def _named(text: str) -> str:
    """Return text in which macros are numbers, and names of helpers have the prefix."""
    functions, macros = _headers()

    def name(found: re.Match[str]) -> str:
        word = found[0]
        if word in functions:
            return PREFIX + word.removeprefix(PREFIX)
        return f"({macros[word]})" if word in macros else word

    return re.sub(r"(?<![\w.])[A-Za-z_]\w*", name, text)


def helpers_of(text: str, real: str) -> str:
    """Return the functions that a C text calls, each before those that call it.

    Args:
        text: with the names that `row_text` gives.
        real: the name of the type of numbers.
    """
    functions, _ = _headers()
    by_name = {PREFIX + name.removeprefix(PREFIX): name for name in functions}
    found: dict[str, str] = {}

    def visit(caller: str) -> None:
        for word in by_name:
            if word not in found and f"{word}(" in caller:
                source = functions[by_name[word]]
                own = _named(_of_places(source) if source.startswith(f"static inline double {PREFIX}") else source)
                visit(own.partition("(")[2])
                found[word] = re.sub(r"\bdouble\b", real, own)

    visit(text)
    return "\n\n".join(found.values())


def macro_number(name: str) -> float | None:
    """Return the number that a name in the columns stands for, None if it is not a macro; `1e-12f` is a C float."""
    text = _headers()[1].get(name)
    if text is None:
        return None
    if text.endswith("f"):
        return float(struct.unpack("f", struct.pack("f", float(text[:-1])))[0])
    return float(text)


@cache
def row_text(op: str, column: str) -> str:
    """Return a column of a row as C, over x, y, z, f and g; '' where it is the gradient 0.

    Args:
        op: the name of the operation in graphs.
        column: 'value', 'gx', 'gy' or 'gz'.
    """
    text = getattr(ROWS[op], column)
    return "" if text == "0" and column != "value" else _named(text)


@cache
def wide_column(op: str) -> str:
    """Return the text of wide.h for what a value v receives from an operation, over v, f, g and scale."""
    text = _header("wide.h")
    begin = text.index("(", text.index(f"ROW( {op.upper()},"))
    row = text[begin + 1:_end(text, begin) - 1]
    columns, depth = [""], 0
    for letter in row:
        depth += (letter == "(") - (letter == ")")
        if letter == "," and not depth:
            columns.append("")
        else:
            columns[-1] += letter
    return columns[3].strip()


@cache
def wide_gradient(op: str) -> str:
    """Return what a value v receives from an operation of wide.h as C."""
    return _named(wide_column(op))


def number_text(x: float) -> str:
    """Return a number as C reads it back, bit for bit; what is negative is in brackets."""
    if math.isnan(x):
        return "NAN"
    text = "INFINITY" if math.isinf(x) else repr(abs(x))
    return f"(-{text})" if math.copysign(1.0, x) < 0 else text
