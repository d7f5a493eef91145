"""Run the parts, each in a process of its own, and print a report.

python -m tests.trust --hours 8                    all parts, each with its share of the time
python -m tests.trust --hours 0.1 --only graphs files
python -m tests.trust --list
"""

import argparse
import importlib
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from .findings import Budget, Findings
from .table import PARTS

TESTS = Path(__file__).parents[1]
OVERTIME = 600  # seconds by which a part may exceed its share: one build, one test file


def run_inside(name, seconds, seed):
    """Run a part in this process."""
    sys.path.insert(0, str(TESTS))  # the helpers of the tests
    [module] = [part.module for part in PARTS if part.name == name]
    run = importlib.import_module(f".{module or name}", __package__).run
    return run(Budget(seconds, seed), *[name] * bool(module))


def run_part(name, seconds, seed):
    """Run a part in a process of its own: one that dies is a finding."""
    again = f"python -m tests.trust --only {name} --hours {seconds / 3600:.4g} --seed {seed}"
    with tempfile.TemporaryDirectory() as folder:
        result = Path(folder, "findings.json")
        command = [
            sys.executable,
            "-X",
            "faulthandler",
            "-m",
            "tests.trust",
            "--inside",
            name,
            str(seconds),
            "--seed",
            str(seed),
            "--json",
            str(result),
        ]
        try:
            process = subprocess.run(
                command, cwd=TESTS.parent, capture_output=True, text=True, errors="replace", timeout=seconds + OVERTIME
            )
            says = f"ended with {process.returncode}\n{process.stderr[-4000:]}"
        except subprocess.TimeoutExpired as error:
            says = f"did not end within {error.timeout:.0f} s"
        if result.exists():
            return Findings.of_dict(json.loads(result.read_text(encoding="utf-8")))
    findings = Findings()
    findings.add(f"the part {says}", seed, again)
    return findings


def line_of(name, findings, seconds):
    counts = ", ".join(
        f"{key} {value:.3g}" if isinstance(value, float) else f"{key} {value:,}"
        for key, value in findings.counts.items()
    )
    if findings.missing:
        verdict = f"NOT RUN: {findings.missing}"
    elif findings.found:
        verdict = f"FOUND {len(findings.found)}"
    else:
        verdict = "nothing found"
    return f"{name:<12} {seconds:7.0f} s {findings.cases:>12,} cases  {verdict}" + (f"  ({counts})" if counts else "")


def main():
    parser = argparse.ArgumentParser(
        prog="python -m tests.trust", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--hours", type=float, default=8.0, help="of all parts together; 0.1 is six minutes")
    parser.add_argument("--only", nargs="+", metavar="NAME", choices=[part.name for part in PARTS], help="these parts")
    parser.add_argument("--seed", type=int, help="repeat what was found with it; else a new one")
    parser.add_argument("--json", metavar="FILE", help="write the report to a file, too")
    parser.add_argument("--list", action="store_true", help="name the parts, and what each does")
    parser.add_argument("--inside", nargs=2, metavar=("NAME", "SECONDS"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.list:
        for part in PARTS:
            print(f"{part.name:<12} {part.what}")
        return 0
    seed = int.from_bytes(os.urandom(3), "big") if options.seed is None else options.seed
    if options.inside:
        name, seconds = options.inside
        findings = run_inside(name, float(seconds), seed)
        Path(options.json).write_text(json.dumps(findings.as_dict()), encoding="utf-8")
        return 0
    parts = [part for part in PARTS if not options.only or part.name in options.only]
    total = sum(part.share for part in parts)
    print(f"seed {seed}; Python {platform.python_version()} on {platform.machine()}, {os.cpu_count()} cores")
    report = {}
    for part in parts:
        began = time.monotonic()
        findings = run_part(part.name, options.hours * 3600 * part.share / total, seed)
        took = time.monotonic() - began
        report[part.name] = {"seconds": took, "seed": seed, **findings.as_dict()}
        print(line_of(part.name, findings, took), flush=True)
        for finding in findings.found:
            print(f"--- seed {finding.seed}: {finding.what}\n{finding.program}\n", flush=True)
        if options.json:  # after each part: a run that is stopped leaves what it has
            Path(options.json).write_text(json.dumps(report, indent=1), encoding="utf-8")
    return 1 if any(entry["found"] for entry in report.values()) else 0


sys.exit(main())
