"""Put faults into the C, Cython and Python sources, one at a time, and see which test fails.

    python -m tests.trust.mutants                      all of mutants.toml; some minutes
    python -m tests.trust.mutants --only 3 17 --show   these, with what pytest said
    python -m tests.trust.mutants --write              and keep the results, which docs/coverage.md counts

One build has all faults of C and Cython: each is chosen by the environment variable MICROGRADC_MUTANT when the package
is imported; with 0 none is there, and the tests that saw one must pass then. A fault of Python is written into the copy
while its tests run. A fault that ends Python, or keeps it busy for too long, is seen, too.
"""

import argparse
import hashlib
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
import tomllib
from dataclasses import dataclass
from pathlib import Path

from .instrumented import ROOT, built, copy_of_sources, environment_of

LIST = Path(__file__).with_name("mutants.toml")
RESULTS = Path(__file__).with_name("mutants.json")
CHANGE = re.compile(r"«(.*?) → (.*?)»", re.DOTALL)
LONGEST = 120       # seconds of a processor that the tests of one fault may take; more is a loop that does not end
WAITS = 1800        # seconds, for tests that wait for something that does not come

SWITCH = """\
#ifndef MGC_MUTANT
#include <stdlib.h>
static int mgc_mutant_chosen = -1;
static inline int mgc_mutant(int number)
{
    if (mgc_mutant_chosen < 0) {
        const char *text = getenv("MICROGRADC_MUTANT");
        mgc_mutant_chosen = text ? atoi(text) : 0;
    }
    return mgc_mutant_chosen == number;
}
#define MGC_MUTANT(number) mgc_mutant(number)
#endif
"""
DECLARED = "cdef extern from *:\n    bint MGC_MUTANT(int) noexcept nogil\n\n"


@dataclass
class Mutant:
    """A fault: where it is, what it breaks, which tests reach it; and if no test can see it, why not."""

    number: int
    file: str
    change: str
    breaks: str
    tests: list
    unseen: str = ""

    @property
    def key(self):
        return f"{self.file}: {self.breaks}"

    @property
    def is_compiled(self):
        return not self.file.endswith(".py")

    def texts(self):
        """Return what is in front of the place, what is there, what comes to be there, and what is behind."""
        before, old, new, behind = CHANGE.split(self.change)
        return before, old, new, behind

    def place_in(self, text):
        """Return where the old text begins and ends.

        Raises:
            ValueError: it is not there once.
        """
        before, old, _, behind = self.texts()
        if (count := text.count(before + old + behind)) != 1:
            raise ValueError(f"mutant {self.number} of {self.file} must apply once, but does {count} times: {old!r}")
        begin = text.index(before + old + behind) + len(before)
        return begin, begin + len(old)

    def put_into(self, text, switched):
        """Return a text with the fault in it; switched: so that it is there if it is chosen, else not."""
        begin, end = self.place_in(text)
        _, old, new, _ = self.texts()
        return text[:begin] + (self._either(old, new, text, begin, end) if switched else new) + text[end:]

    def _either(self, old, new, text, begin, end):
        chosen = f"MGC_MUTANT({self.number})"
        if self.file.endswith((".pyx", ".pxi")):
            line_begin, line_end = text.rindex("\n", 0, begin) + 1, text.index("\n", end)
            if text[line_begin:begin].strip() or text[end:line_end].strip():
                return f"({new} if {chosen} else {old})"
            return f"if {chosen}: {new}\n{text[line_begin:begin]}else: {old}"
        if old.endswith(";"):
            return f"{{ if ({chosen}) {{ {new} }} else {{ {old} }} }}"
        return f"({chosen} ? ({new}) : ({old}))"


def mutants():
    """Return those of the list, numbered from 1."""
    entries = tomllib.loads(LIST.read_text(encoding="utf-8"))["mutant"]
    return [Mutant(number, **entry) for number, entry in enumerate(entries, 1)]


def _with_the_table_as_text(text):
    """Return ops.h so that the texts of its rows, which Python reads, stay as they are."""
    begin = text.index("#define MGC_TABLE(ROW)")
    table = text[begin:text.index("\n\n", begin)]
    strings = text.index("static const mgc_row mgc_rows[]")
    return (text[:begin] + table.replace("MGC_TABLE", "MGC_TABLE_AS_TEXT", 1) + "\n\n" + text[begin:strings]
            + text[strings:].replace("MGC_TABLE(ROW)", "MGC_TABLE_AS_TEXT(ROW)", 1))


def digest():
    """What a build is made from."""
    made = hashlib.sha256(repr([(mutant.file, mutant.change) for mutant in mutants() if mutant.is_compiled]).encode())
    for file in sorted(file for ending in ("pyx", "pxd", "pxi", "h") for file in (ROOT / "src").rglob(f"*.{ending}")):
        made.update(file.read_bytes())
    return made.hexdigest()


def build(folder):
    """Build a copy with all faults of C and Cython, none of which is chosen; one that is there gets the tests anew."""
    package = copy_of_sources(folder) / "src" / "microgradc"
    done = Path(folder, "built.txt")
    if done.exists() and done.read_text(encoding="utf-8") == digest():
        return folder
    switch = Path(folder, "mutant.h").resolve()
    switch.write_text(SWITCH, encoding="utf-8")
    for mutant in mutants():
        if mutant.is_compiled:
            file = package / mutant.file
            text = file.read_text(encoding="utf-8")
            if mutant.file == "engine/ops.h" and "MGC_TABLE_AS_TEXT" not in text:
                text = _with_the_table_as_text(text)
            # A row is there twice now; the second is the one that is compiled.
            twice = mutant.file == "engine/ops.h" and text.count("".join(mutant.texts()[i] for i in (0, 1, 3))) == 2
            head, tail = text.split("#define MGC_TABLE(ROW)") if twice else ("", text)
            text = head + ("#define MGC_TABLE(ROW)" if twice else "") + mutant.put_into(tail, True)
            file.write_text(text, encoding="utf-8")
    for file in package.rglob("*.pyx"):
        text = file.read_text(encoding="utf-8")
        begin = re.search(r"^(cimport|from|import|cdef) ", text, re.MULTILINE).start()
        file.write_text(text[:begin] + DECLARED + text[begin:], encoding="utf-8")
    built(folder, ["-O1", "-include", str(switch)])
    for mutant in mutants():        # some are read by Python, too
        if mutant.is_compiled:
            (package / mutant.file).write_bytes((ROOT / "src" / "microgradc" / mutant.file).read_bytes())
    done.write_text(digest(), encoding="utf-8")
    return folder


# Tests that run others in a process of its own, or take longer than those that see the same.
SLOW = (
    "engine/test_slab.py::test_the_engine_works_without_slabs", "program/test_one.py::test_other_levels",
    "program/test_program.py::test_each_level_of_simd", "engine/test_depth.py::test_a_chain_of_ten_million_nodes",
    "program/test_lowering.py::test_ctrl_c_while_a_program_is_planned",
)

# One process imports what tests need, but for the package, and forks for each fault: that saves most of the time.
SERVER = """
import json, os, resource, sys, warnings
import numpy, pytest
try:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import torch
except ImportError:
    pass
slow = [option for name in json.loads(sys.argv[1]) for option in ("--deselect", f"tests/{name}")]
for line in sys.stdin:
    number, output, *tests = line.rstrip().split("\\t")
    child = os.fork()
    if child:
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
        continue
    os.setpgid(0, 0)
    with open(output, "w") as file:
        file.write(f"{os.getpid()}\\n")
        file.flush()
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    resource.setrlimit(resource.RLIMIT_CPU, (int(sys.argv[2]),) * 2)
    os.environ["MICROGRADC_MUTANT"] = number
    status = pytest.main([*slow, "-x", "-q", "--tb=short", "-p", "no:cacheprovider", *tests])
    sys.stdout.flush()
    os._exit(int(status))
"""


class Server:
    """Runs tests in the copy."""

    def __init__(self, folder):
        self.folder = folder
        self.output = Path(folder, "output.txt").resolve()
        self.process = subprocess.Popen([sys.executable, "-X", "faulthandler", "-c", SERVER, json.dumps(SLOW),
                                         str(LONGEST)],
                                        cwd=folder, env=environment_of(folder), text=True, stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE)

    def close(self):
        self.process.stdin.close()
        self.process.wait()

    def run(self, number, tests):
        """Run tests until one fails; return its name, None if none does, and what pytest said."""
        self.output.unlink(missing_ok=True)
        print(number, self.output, *[f"tests/{name}" for name in tests], sep="\t", file=self.process.stdin, flush=True)
        timer = threading.Timer(WAITS, self.stop)
        timer.start()
        status = int(self.process.stdout.readline())
        is_stopped = not timer.is_alive()
        timer.cancel()
        output = self.output.read_text(encoding="utf-8", errors="replace")
        if status == 0:
            return None, output
        if is_stopped or status in (-signal.SIGXCPU, -signal.SIGKILL):
            return "no end", output
        # What a name has in brackets may have spaces and hyphens, too.
        if found := re.search(r"^(?:FAILED|ERROR) tests/([^\s[]+(?:\[.+?\](?= - |$))?)", output, re.MULTILINE):
            return found[1], output
        if status > 0:
            raise RuntimeError(f"pytest ended with {status}:\n{output[-3000:]}")
        return f"the end of Python ({signal.Signals(-status).name})", output

    def stop(self):
        """End the tests that are running, and the processes that they began."""
        os.killpg(int(self.output.read_text(encoding="utf-8").partition("\n")[0]), signal.SIGKILL)


def verdict_of(server, mutant, show=False):
    """Return which test sees a fault; None if none does."""
    file = Path(server.folder, "src", "microgradc", mutant.file)
    sound = file.read_text(encoding="utf-8")
    try:
        if not mutant.is_compiled:
            file.write_text(mutant.put_into(sound, False), encoding="utf-8")
        killer, output = server.run(mutant.number, mutant.tests)
    finally:
        if not mutant.is_compiled:
            file.write_text(sound, encoding="utf-8")
    if show:
        print(output[-6000:])
    return killer


def seen(numbers=None, show=False, folder=None, seconds=None, say=print):
    """Yield each fault, and which test sees it, None where none does; as many as there is time for."""
    with tempfile.TemporaryDirectory() as temporary:
        began = time.monotonic()
        folder = Path(folder or temporary)
        build(folder)
        say(f"the copy is there after {time.monotonic() - began:.0f} s")
        server, killers = Server(folder), []
        try:
            for mutant in mutants():
                if numbers and mutant.number not in numbers:
                    continue
                if seconds is not None and time.monotonic() - began > seconds:
                    say("the time is over")
                    return
                killer = verdict_of(server, mutant, show)
                if killer and "::" in killer:
                    killers.append(killer)
                yield mutant, killer
            fails, output = server.run(0, killers) if killers else (None, "")
            if fails:
                raise RuntimeError(f"{fails} fails without a fault, too:\n{output[-3000:]}")
        finally:
            server.close()


def run(budget):
    """The part of `python -m tests.trust`: a fault that no test sees is a finding, unless it is said why."""
    from .findings import Findings
    findings = Findings()
    for mutant, killer in seen(seconds=budget.left(), say=lambda _: None):
        findings.cases += 1
        findings.count("seen" if killer else "explained" if mutant.unseen else "not seen")
        if not killer and not mutant.unseen:
            findings.add(f"no test sees fault {mutant.number}, {mutant.breaks}", budget.seed,
                         f"python -m tests.trust.mutants --only {mutant.number}")
    return findings


def main():
    parser = argparse.ArgumentParser(prog="python -m tests.trust.mutants", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", type=int, metavar="N", help="these, by their number")
    parser.add_argument("--show", action="store_true", help="print what pytest said")
    parser.add_argument("--write", action="store_true", help="keep the results in mutants.json")
    parser.add_argument("--folder", help="where the copy is built, and found by another run with the same list")
    options = parser.parse_args()
    results = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else {}
    left = 0
    for mutant, killer in seen(options.only, options.show, options.folder):
        left += not killer and not mutant.unseen
        verdict = killer or (f"not seen: {mutant.unseen}" if mutant.unseen else "NOT SEEN")
        print(f"{mutant.number:3} {mutant.file}: {mutant.breaks}\n      {verdict}", flush=True)
        results[mutant.key] = killer
        if options.write:
            there = {one.key: results[one.key] for one in mutants() if one.key in results}
            RESULTS.write_text(json.dumps(there, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return 1 if left else 0


if __name__ == "__main__":
    sys.exit(main())
