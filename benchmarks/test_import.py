"""What `import microgradc` adds to the start of Python."""

import subprocess
import sys

import pytest


@pytest.mark.benchmark(group="start of Python")
@pytest.mark.parametrize("statement", ["pass", "import microgradc"])
def test_start(benchmark, statement):
    run = benchmark.pedantic(
        subprocess.run, ([sys.executable, "-c", statement],), {"check": True, "capture_output": True}, rounds=20
    )
    assert run.stdout == run.stderr == b""
