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

from .child import ROOT, run_child
from .instrumented import copy_of_sources


def _digest(flags):
    """What an earlier build must have had in common with this one."""
    digest = hashlib.sha256(repr((flags, sys.version)).encode())
    for file in sorted(path for ending in ("pyx", "pxd", "pxi", "h") for path in (ROOT / "src").rglob(f"*.{ending}")):
        digest.update(file.read_bytes())
    return digest.hexdigest()[:16]


def library_of(name, compiler="gcc"):
    """Return the path of a sanitizer's library, or '' where the compiler has none."""
    if shutil.which(compiler) is None:
        return ""
    path = subprocess.run([compiler, f"-print-file-name={name}"], capture_output=True, text=True).stdout.strip()
    return os.path.realpath(path) if os.path.isabs(path) else ""


def _copy(tree):
    """The sources as they are now; compiled files of an earlier copy stay."""
    copy_of_sources(tree)
    setup = tree / "setup.py"
    setup.write_text(setup.read_text(encoding="utf-8").replace('"-g0"', '"-g1"'), encoding="utf-8")   # lines in reports


def build(flags):
    """Return a copy of the tree that was built with these flags.

    Raises:
        RuntimeError: it does not build.
    """
    tree = Path(tempfile.gettempdir(), f"microgradc-trust-{_digest(flags)}")
    done = tree / "built"
    _copy(tree)
    if not done.exists():
        linker = f"gcc -pthread -shared {flags}"
        own = {"MICROGRADC_OPTIMIZE": "1", "CFLAGS": flags, "LDFLAGS": flags, "LDSHARED": linker}
        result = subprocess.run(
            [sys.executable, "setup.py", "build_ext", "--inplace"],
            cwd=tree,
            text=True,
            env={**os.environ, **own},
            capture_output=True,
        )
        if result.returncode:
            raise RuntimeError(f"it does not build with {flags}:\n{result.stdout[-1000:]}{result.stderr[-3000:]}")
        shutil.rmtree(tree / "build", ignore_errors=True)
        done.write_text(flags, encoding="utf-8")
    return tree


def run_scenarios(budget, findings, tree, environment):
    """Run the scenarios of the other parts in a build."""
    run_child(
        findings,
        budget.seed,
        "scenarios",
        timeout=max(budget.left(), 0) + 300,
        environment={"PYTHONPATH": str(tree / "src"), **environment},
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
            "-x",
            "-p",
            "no:cacheprovider",
            "--tb=short",
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
        if result.returncode not in (0, 5) or re.search(r"runtime error:|ERROR: \w+Sanitizer|WARNING: Thread", output):
            settings = " ".join(f"{key}='{value}'" for key, value in environment.items())
            findings.add(
                f"{file}: exit code {result.returncode}\n{report_in(output)}",
                budget.seed,
                f"cd {tree} && {settings} PYTHONPATH=src {' '.join(command)}",
            )


def report_in(output):
    """The report of a sanitizer, else the end of what was printed."""
    found = re.search(
        r"^.*(runtime error:|ERROR: \w+Sanitizer|WARNING: ThreadSanitizer|Invalid (read|write))", output, re.MULTILINE
    )
    return output[found.start() : found.start() + 3000] if found else output[-3000:]
