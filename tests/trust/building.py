"""Copies of the sources that are built with a sanitizer; they stay in the temporary folder, by what they are of.

And how tests run with them."""

import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from .child import REPORT, ROOT, report_in, run_child
from .instrumented import built, copy_of_sources


def preloaded(name):
    """Return the setting that loads a library of a sanitizer before all others; it is '' where gcc has none."""
    found = []
    # libstdc++ before what uses it, or the exceptions of other libraries are not found.
    for library in (name, "libstdc++.so.6"):
        command = ["gcc", f"-print-file-name={library}"]
        path = subprocess.run(command, capture_output=True, text=True).stdout.strip() if shutil.which("gcc") else ""
        if not os.path.isabs(path):
            return {"LD_PRELOAD": ""}
        found.append(os.path.realpath(path))
    return {"LD_PRELOAD": " ".join(found)}


def build(flags):
    """Return a copy of the tree that was built with these flags for the compiler and the linker, or is there still."""
    flags = ["-O1", "-g1", *flags]  # quick to compile, with lines in reports
    digest = hashlib.sha256(repr((flags, sys.version)).encode())
    for ending in ("pyx", "pxd", "pxi", "h"):
        for file in sorted((ROOT / "src").rglob(f"*.{ending}")):
            digest.update(file.read_bytes())
    tree = copy_of_sources(Path(tempfile.gettempdir(), f"microgradc-trust-{digest.hexdigest()[:16]}"))
    done = tree / "built"
    if not done.exists():
        built(tree, flags, flags)
        shutil.rmtree(tree / "build", ignore_errors=True)
        done.touch()
    return tree


def run_scenarios(budget, findings, tree, environment, prefix=()):
    """Run the scenarios of the other parts in a build."""
    run_child(
        findings,
        budget.seed,
        "scenarios",
        timeout=max(budget.left(), 0) + 300,
        environment={"PYTHONPATH": str(tree / "src"), **environment},
        prefix=prefix,
    )


def run_tests(budget, findings, tree, files, environment, left_out=(), prefix=(), options=()):
    """Run test files, one process each, while there is time; what fails or is reported is a finding.

    Args:
        files: below tests/, the most telling first.
        left_out: names of tests that mean nothing here.
    """
    chosen = " and ".join(f"not {name}" for name in left_out)
    for i, file in enumerate(files):
        if i and budget.left() <= 0:
            findings.count("test files left out for lack of time", len(files) - i)
            return
        command = [
            *prefix,
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-p",
            "no:cacheprovider",
            "--tb=short",
            "--capture=sys",  # the report of a sanitizer, which ends the process, is not pytest's to keep
            *options,
            *(["-k", chosen] if chosen else []),
            f"tests/{file}",
        ]
        began = time.monotonic()
        result = subprocess.run(
            command,
            cwd=tree,
            capture_output=True,
            text=True,
            errors="replace",
            env={**os.environ, "PYTHONPATH": str(tree / "src"), **environment},
        )
        output = result.stdout + result.stderr
        passed = re.search(r"(\d+) passed", output)
        findings.cases += int(passed[1]) if passed else 0
        findings.count("test files")
        findings.largest("slowest file in seconds", time.monotonic() - began)
        if result.returncode not in (0, 5) or re.search(REPORT, output):
            settings = " ".join(f"{key}='{value}'" for key, value in environment.items())
            findings.add(
                f"{file}: exit code {result.returncode}\n{report_in(output)}",
                budget.seed,
                f"cd {tree} && {settings} PYTHONPATH=src {' '.join(command)}",
            )
