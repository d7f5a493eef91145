"""Which lines and branches the tests reach: of Python, of Cython, and of the headers in C. Writes docs/coverage.md.

    python -m tests.trust.coverage                     build, run the tests, write the page; most of an hour
    python -m tests.trust.coverage --tests engine nn   only these, below tests/
    python -m tests.trust.coverage --folder F          build and run in F, and add to what is counted there
    python -m tests.trust.coverage --folder F --tests  run nothing: write the page from what is counted in F

A copy is built without optimisation, with gcov's counters: of each line and branch of the headers, and of each line of
the C that Cython wrote, which says from which line of Cython it comes. coverage.py counts lines of Python, also in the
processes that tests begin. Needs gcc, gcov and coverage.py (`pip install coverage`).
"""

import argparse
import gzip
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path

from .instrumented import built, copy_of_sources, environment_of
from .page import write

FLAGS = ["-O0", "--coverage", "-fprofile-update=atomic"]

# What says nothing about the package's lines, or would take longest: whole programs, other processes, type checkers.
LEFT_OUT = (
    "whole/test_public_names.py", "whole/test_micrograd_repository.py", "whole/test_gpt.py", "whole/test_house.py",
    "whole/test_adding_an_operation.py", "whole/test_examples.py::test_many_rows",
    "whole/test_examples.py::test_digits",
    "whole/test_examples.py::test_digits_with_another_seed_and_few_epochs", "cli/test_command_line.py::test_bench",
    "engine/test_depth.py::test_a_chain_of_ten_million_nodes",
)

FOLDERS = ("engine", "program", "optim", "nn", ".", "train", "checking", "viz", "cli", "whole")

SETTINGS = """\
[run]
plugins =
source = {tree}/src/microgradc
data_file = {data}/.coverage
parallel = true
concurrency = thread,multiprocessing
sigterm = true
"""


def prepare(folder):
    """Build the copy, unless it is there."""
    tree = Path(folder, "tree").resolve()
    if not list(tree.rglob("*.gcno")):
        copy_of_sources(tree)
        levels = tree / "src" / "microgradc" / "program" / "lanes" / "levels.h"
        text = levels.read_text(encoding="utf-8")       # what becomes part of others has no branches of its own
        inline = "static inline __attribute__((always_inline))"
        assert text.count(inline) == 1, "levels.h has no MGC_INLINE for gcc"
        levels.write_text(text.replace(inline, "static __attribute__((noinline, unused))"), encoding="utf-8")
        built(tree, FLAGS, ["--coverage"])
    data, site = Path(folder, "data").resolve(), Path(folder, "site").resolve()
    data.mkdir(exist_ok=True)
    site.mkdir(exist_ok=True)
    (site / "sitecustomize.py").write_text("import coverage\ncoverage.process_startup()\n", encoding="utf-8")
    settings = Path(folder, "settings.ini").resolve()
    settings.write_text(SETTINGS.format(tree=tree, data=data), encoding="utf-8")
    environment = environment_of(tree, COVERAGE_PROCESS_START=str(settings))
    environment["PYTHONPATH"] = os.pathsep.join([str(site), environment["PYTHONPATH"]])
    return tree, environment


def run_tests(tree, environment, names, say=print):
    """Run tests, a process for each folder, so that one that dies loses little."""
    left_out = [option for name in LEFT_OUT for option in ("--deselect", f"tests/{name}")]
    for name in names:
        began = time.monotonic()
        files = sorted(tree.glob("tests/test_*.py")) if name == "." else [tree / "tests" / name]
        result = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *left_out, *map(str, files)], cwd=tree,
            env=environment, text=True, errors="replace", capture_output=True)
        closing = result.stdout.strip().rpartition("\n")[2]
        say(f"tests/{name}: {closing} ({time.monotonic() - began:.0f} s)", flush=True)


def of_python(folder, tree):
    """Return for each file of Python its lines, and those that were run."""
    import coverage
    settings = Path(folder, "combined.ini")
    combined = Path(folder, "combined").resolve()
    combined.mkdir(exist_ok=True)
    settings.write_text(f"[run]\ndata_file = {combined}/.coverage\n", encoding="utf-8")
    counted = coverage.Coverage(config_file=str(settings))
    counted.combine([str(Path(folder, "data"))], strict=False, keep=True)
    lines = {}
    for file in sorted((tree / "src" / "microgradc").rglob("*.py")):
        _, there, _, missing, _ = counted.analysis2(str(file))
        lines[file.relative_to(tree / "src" / "microgradc").as_posix()] = (set(there), set(there) - set(missing))
    return lines


def counted_by_gcov(tree):
    """Yield what gcov says of each file, of each extension."""
    with tempfile.TemporaryDirectory() as folder:
        for data in tree.rglob("*.gcda"):
            subprocess.run(["gcov", "--json-format", "--branch-probabilities", str(data)], cwd=folder, check=True,
                           capture_output=True)
            for result in Path(folder).glob("*.gcov.json.gz"):
                with gzip.open(result) as file:
                    yield from json.load(file)["files"]
                result.unlink()


def levels_that_are_not_here():
    """Return the SIMD levels that this processor lacks, as the names of their functions begin."""
    from microgradc._kernels import levels
    return [f"{name}_" for name in ("baseline", "avx2", "avx512") if name not in levels()]


def _ways_once(count, text):
    """Return how many branches of a line there are, if the compiler put the line into one function again and again."""
    ways = 2 * len(re.findall(r"\?|&&|\|\||\b(?:if|for|while) \(|\bMGC_UNROLLED_FOR\(", text.partition("/*")[0]))
    return ways if ways and count > ways and count % ways == 0 else count


def of_headers(counted, tree, missing_levels):
    """Return for each header its lines and those that were run, its branches and those that were taken.

    A header is in several extensions, kernels are compiled for each level of SIMD instructions, and small functions
    become part of others: of all these, a line and a branch count once. But where a line has a table, `MGC_TABLE(ROW)`,
    a branch counts once for each function that the table becomes.
    """
    lines, branches = defaultdict(lambda: (set(), set())), defaultdict(lambda: (set(), set()))
    found, texts = defaultdict(list), {}        # of a line: the branches in each function
    for file in counted:
        name = file["file"].removeprefix("src/microgradc/")
        if not name.endswith(".h") or name.startswith("/"):
            continue
        text = texts[name] = (tree / file["file"]).read_text(encoding="utf-8").split("\n")
        for line in file["lines"]:
            function, number = line.get("function_name", ""), line["line_number"]
            if any(level in function for level in missing_levels):
                continue
            lines[name][0].add(number)
            if line["count"]:
                lines[name][1].add(number)
            is_table = re.search(r"\b\w+_(TABLE|STEPS)\(", text[number - 1])
            function = re.sub(r"(baseline|avx2|avx512)_", "", function).partition(".")[0] if is_table else ""
            if ways := [way["count"] for way in line["branches"] if not way["throw"]]:
                found[name, number, function].append(ways)
    for (name, number, function), several in found.items():
        once = _ways_once(min(map(len, several)), texts[name][number - 1])
        for ways in several:
            for i, count in enumerate(ways):
                branches[name][0].add((number, function, i % once))
                if count:
                    branches[name][1].add((number, function, i % once))
    return lines, branches


def of_cython(counted, tree):
    """Return for each file of Cython its lines, and those that were run: by the C that was written for them."""
    lines = defaultdict(lambda: (set(), set()))
    for file in counted:
        if not file["file"].endswith(".c"):
            continue
        counts = {line["line_number"]: line["count"] for line in file["lines"]}
        place = None
        text = (tree / file["file"]).read_text(encoding="utf-8").split("\n")
        for number, line in enumerate(text, 1):
            if found := re.match(r'\s*/\* "(?:src/)?microgradc/(\S+\.(?:pyx|pxi))":(\d+)$', line):
                place = found[1], int(found[2])
            elif "/* function exit code */" in line or line == "}":
                place = None
            elif place and number in counts:
                lines[place[0]][0].add(place[1])
                if counts[number]:
                    lines[place[0]][1].add(place[1])
                    place = None        # the rest may be of what Cython makes of errors
    return lines


def main():
    parser = argparse.ArgumentParser(prog="python -m tests.trust.coverage", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tests", nargs="*", default=FOLDERS, help="below tests/; . for the files that are there")
    parser.add_argument("--folder", help="where the copy is built and its counters are")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or temporary
        tree, environment = prepare(folder)
        run_tests(tree, environment, options.tests)
        counted = list(counted_by_gcov(tree))
        lines, branches = of_headers(counted, tree, levels_that_are_not_here())
        write(of_python(folder, tree), of_cython(counted, tree), lines, branches, tree)


if __name__ == "__main__":
    main()
