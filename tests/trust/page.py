"""Write the tables of docs/coverage.md: what tests reach, what they do not and why, and which faults they see."""

import json
import re
from collections import defaultdict
from itertools import groupby

from .instrumented import ROOT
from .mutants import RESULTS, mutants

PAGE = ROOT / "docs" / "coverage.md"
PACKAGE = ROOT / "src" / "microgradc"


def share(reached, there):
    """Return a share in words: how many of how many."""
    return f"{100 * reached / there:.1f} %" if there else ""


def packages(python, cython):
    """Return the table of packages: lines of Python, lines of Cython."""
    totals = defaultdict(lambda: [0, 0, 0, 0])
    for kind, files in enumerate((python, cython)):
        for name, (there, reached) in files.items():
            for package in (f"`{name.partition('/')[0]}/`" if "/" in name else "files on top", "**all**"):
                totals[package][2 * kind] += len(there)
                totals[package][2 * kind + 1] += len(reached)
    rows = ["| package | lines of Python | reached | lines of Cython | reached |", "|---|---|---|---|---|"]
    for package in sorted(totals, key=lambda name: (name == "**all**", name)):
        there, reached, cython_there, cython_reached = totals[package]
        cells = [there, share(reached, there), cython_there or "", share(cython_reached, cython_there)]
        rows.append(f"| {package} | {' | '.join(map(str, cells))} |")
    return rows


def headers(lines, branches):
    """Return the table of headers in C: lines and branches, those least reached first."""
    rows = ["| header | lines | reached | branches | taken |", "|---|---|---|---|---|"]

    def row(title, there, reached, ways, taken):
        return f"| {title} | {there} | {share(reached, there)} | {ways or ''} | {share(taken, ways)} |"

    sizes = {
        name: (len(there), len(reached), len(branches[name][0]), len(branches[name][1]))
        for name, (there, reached) in lines.items()
    }
    for name in sorted(sizes):
        rows.append(row(f"`{name}`", *sizes[name]))
    rows.append(row("**all**", *(sum(numbers[i] for numbers in sizes.values()) for i in range(4))))
    return rows


# Why a line is not reached, by what it says; the first that fits.
REASONS = [
    ("no memory: `python -m tests.trust --only allocations`",
     r"no_memory|MemoryError|NoMemory|< 0\)? ?(return|\{)|return (-1|NULL|0);|failed\b|if \(!\w+\)|== NULL|return NULL|"
     r"mgc_free_numbering\(&larger\)|\|\| mgc_\w+\("),
    ("another compiler or system", r"_MSC_VER|_WIN|win32|darwin"),
]


def why(text):
    for reason, pattern in REASONS:
        if re.search(pattern, text):
            return reason
    return ""


def runs(numbers):
    """Return line numbers in words: 3, 7-9."""
    words = []
    for _, run in groupby(enumerate(sorted(numbers)), key=lambda pair: pair[1] - pair[0]):
        run = [number for _, number in run]
        words.append(str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}")
    return ", ".join(words)


def faults():
    """Return the table of faults that were put in: how many are seen."""
    results = json.loads(RESULTS.read_text(encoding="utf-8"))
    totals = defaultdict(lambda: [0, 0, 0])
    for mutant in mutants():
        for part in (mutant.file.rpartition("/")[0] or "files on top", "**all**"):
            totals[part][0] += 1
            totals[part][1] += bool(results.get(mutant.key))
            totals[part][2] += bool(mutant.unseen)
    rows = ["| folder | faults | seen by a test | explained |", "|---|---|---|---|"]
    for part in sorted(totals, key=lambda name: (name == "**all**", name)):
        there, killed, explained = totals[part]
        title = part if part.startswith(("*", "files")) else f"`{part}/`"
        rows.append(f"| {title} | {there} | {killed} | {explained or ''} |")
    return rows


def put(name, rows):
    """Put a table between its two markers."""
    text = PAGE.read_text(encoding="utf-8")
    marked = re.compile(rf"(<!-- {name}: begin -->\n).*?(<!-- {name}: end -->)", re.DOTALL)
    text, count = marked.subn(lambda found: found[1] + "\n".join(rows) + "\n" + found[2], text)
    if count != 1:
        raise ValueError(f"{PAGE} must have the two markers of {name} once, found {count}")
    PAGE.write_text(text, encoding="utf-8")


def write(python, cython, lines, branches):
    """Write all tables."""
    put("packages", packages(python, cython))
    put("headers", headers(lines, branches))
    put("faults", faults())
