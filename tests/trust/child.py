"""Work in a process of its own, which may die: it says where it is, `at ...`, and what it found, a JSON object each."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
# How what a sanitizer or Valgrind reports begins.
REPORT = r"runtime error:|(ERROR|WARNING): \w+Sanitizer|==\d+== (Invalid|Conditional jump|Use of|Syscall param)"


def say_at(where):
    """In a child: what it does next; the last one is known when it dies."""
    os.write(1, f"at {where}\n".encode())


def say(**event):
    """In a child: `count` a name `by` so many; or `found`, with the `program` that repeats it."""
    os.write(1, (json.dumps(event) + "\n").encode())


def run_child(findings, seed, module, *arguments, timeout, environment=None, prefix=()):
    """Run `python -m tests.trust.<module> <arguments>`, and take what it says into the findings."""
    command = [*prefix, sys.executable, "-X", "faulthandler", "-m", f"tests.trust.{module}", *map(str, arguments)]
    try:
        result = subprocess.run(
            command,
            cwd=ROOT,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout,
            env={**os.environ, **(environment or {})},
        )
        output, errors, code = result.stdout, result.stderr, result.returncode
    except subprocess.TimeoutExpired as error:
        output, errors, code = (error.stdout or b"").decode(errors="replace"), "", f"none: it hung for {timeout:.0f} s"
    where = ""
    for line in output.splitlines():
        if line.startswith("at "):
            where = line
        elif line.startswith("{"):
            event = json.loads(line)
            if "found" in event:
                findings.add(event["found"], seed, event.get("program") or " ".join(command))
            elif event["count"] == "cases":
                findings.cases += event["by"]
            else:
                findings.count(event["count"], event["by"])
    if code:
        # What Python's own files and functions are in: the last frames
        trace = report_in(errors) if re.search(REPORT, errors) else "\n".join(errors.splitlines()[-25:])
        findings.add(
            f"{module} {' '.join(map(str, arguments))} ended with exit code {code} {where}\n{trace}",
            seed,
            " ".join(command),
        )
    return re.findall(r"^(?!at |\{).+", output, re.MULTILINE)


def report_in(output):
    """The report of a sanitizer, else the end of what was printed."""
    found = re.search(f"^.*({REPORT})", output, re.MULTILINE)
    return output[found.start() : found.start() + 3000] if found else output[-3000:]
