"""Write the tables of docs/coverage.md: what tests reach, what they do not and why, and which faults they see."""

import json
import re
from collections import defaultdict

from .instrumented import ROOT
from .mutants import RESULTS, mutants

PAGE = ROOT / "docs" / "coverage.md"
LIST = PAGE.with_suffix(".txt")


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


def unreached(cython, lines, branches, tree):
    """Return the text of docs/coverage.txt: each line of a tree that was not reached, each with a branch not taken."""
    words = ["Written by python -m tests.trust.coverage: lines that no test reached; +n, lines with n branches that no",
             "test took. See coverage.md for why."]
    for name in sorted({*cython, *lines}):
        there, reached = cython.get(name) or lines[name]
        missing = defaultdict(int, dict.fromkeys(there - reached, 0))
        for number, *_ in branches[name][0] - branches[name][1] if name in branches else ():
            missing[number] += number not in there - reached
        if missing:
            words += ["", name]
        text = (tree / "src" / "microgradc" / name).read_text(encoding="utf-8").split("\n")
        for number in sorted(missing):
            mark = f"+{missing[number]}" if missing[number] else ""
            words.append(f"{number:5} {mark:>4} {text[number - 1].strip()[:100]}")
    return "\n".join(words) + "\n"


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


def write(python, cython, lines, branches, tree):
    """Write all tables."""
    put("packages", packages(python, cython))
    put("headers", headers(lines, branches))
    put("faults", faults())
    LIST.write_text(unreached(cython, lines, branches, tree), encoding="utf-8")
