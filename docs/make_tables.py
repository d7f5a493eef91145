"""Rewrite what the pages list of the operations, between `<!-- operations: begin -->` and `<!-- operations: end -->`.

    python docs/make_tables.py            # rewrite
    python docs/make_tables.py --check    # exit with 1, and name the pages that are out of date
"""

import argparse
import inspect
import re
import textwrap
from pathlib import Path

import microgradc
from microgradc.engine import TABLE

ROOT = Path(__file__).parents[1]
GENERATED = re.compile(r"(<!-- operations: begin -->\n).*?(<!-- operations: end -->)", re.DOTALL)


def function_of(row):
    """Return the function of an operation, or None if it is an operator alone."""
    return getattr(microgradc, row.name.lower(), None)


def function_names():
    """Return the names of all functions in the table, in lines."""
    names = " ".join(row.name.lower() for row in TABLE if function_of(row))
    return textwrap.fill(f"`{names}`", 140) + "\n"


def first_sentence(row):
    """Return what an operation returns, in Markdown: the first sentence of its documentation, or else the operator."""
    text = getattr(row, "doc", "") or getattr(function_of(row), "__doc__", None) or f"`{row.op}`"
    sentence = " ".join(re.split(r"(?<=\.)\s", text.strip(), maxsplit=1)[0].split())
    sentence = sentence.removeprefix("Return ").removesuffix(".").replace("|", r"\|")
    # An asterisk between letters would begin emphasis; within backquotes it stands for itself.
    return "`".join(part if i % 2 else part.replace("*", r"\*") for i, part in enumerate(sentence.split("`")))


def operation_rows():
    """Return the table of all operations. Operands have the names that the function's signature gives them."""
    lines = [
        "| name | `_op` | operands | returns | gradient of the first operand | of the second | of the third |",
        "|---" * 7 + "|",
    ]
    for row in TABLE:
        function = function_of(row)
        names = dict(
            zip("xyz"[: row.operands], inspect.signature(function).parameters if function else "xyz", strict=False)
        )
        gradients = [
            re.sub(r"\b[xyz]\b", lambda m, names=names: names[m[0]], text) for text in (row.gx, row.gy, row.gz)
        ]
        cells = [f"`{row.name.lower()}`", f"`{row.op}`", f"`{', '.join(names.values())}`", first_sentence(row)]
        cells += [f"`{gradients[i]}`" if i < row.operands else "" for i in range(3)]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def pages():
    """Yield each page that has a generated part: its path, its text, and its text as it should be."""
    for name, generate in [("README.md", function_names), ("docs/expressions.md", operation_rows)]:
        text = (ROOT / name).read_text(encoding="utf-8")
        generated = generate()
        renewed, count = GENERATED.subn(lambda m, generated=generated: m[1] + generated + m[2], text)
        if count != 1:
            raise ValueError(f"{name} must have the two markers once, found {count}")
        yield ROOT / name, text, renewed


def stale():
    """Return the names of the pages that are out of date."""
    return [path.relative_to(ROOT).as_posix() for path, text, renewed in pages() if text != renewed]


def main():
    """Rewrite the pages, or check them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="change nothing; exit with 1 if a page is out of date")
    if parser.parse_args().check:
        if names := stale():
            raise SystemExit(f"out of date: {', '.join(names)}; run python docs/make_tables.py")
        return
    for path, _, renewed in pages():
        path.write_text(renewed, encoding="utf-8")


if __name__ == "__main__":
    main()
