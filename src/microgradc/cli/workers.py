"""Processes that measure, and take turns: a machine that is slow for a while is slow for all of them."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from time import perf_counter
from typing import Any


class Worker:
    """A process that runs a Python `command`, which calls `serve`. `results` is what it measured; `failure` says how it
    died, if it did."""

    def __init__(self, command: Sequence[str]) -> None:
        self.process = subprocess.Popen(
            [sys.executable, *command],
            text=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        self.results: list[dict[str, float]] = []
        self.failure = ""

    def take_turn(self, count: int) -> None:
        """Have it measure `count` times in a row. One that has died stays so."""
        if self.failure:
            return
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        with suppress(BrokenPipeError):
            self.process.stdin.write(f"{count}\n")
            self.process.stdin.flush()
        line = self.process.stdout.readline()
        if line:
            self.results += json.loads(line)
        else:
            errors, code = self.close(), self.process.returncode
            self.failure = (
                f"crashed: {signal.Signals(-code).name}"
                if code < 0
                else f"failed: {(errors.splitlines() or [str(code)])[-1]}"
            )

    def numbers(self, name: str) -> list[float]:
        """Return what it measured under a name, oldest first."""
        return [result[name] for result in self.results]

    def close(self) -> str:
        """Let it end, and return what it wrote on standard error."""
        return self.process.communicate()[1]


def serve(measure: Callable[..., Any], *args: Any) -> None:
    """Answer each number n on standard input with one line: what n calls of measure(*args) returned."""
    for line in sys.stdin:
        print(json.dumps([measure(*args) for _ in range(int(line))]), flush=True)


def timed(step: Callable[[], float], between: Callable[[], object]) -> dict[str, float]:
    """Take a step, and return its time in seconds and its loss."""
    between()
    begin = perf_counter()
    return {"loss": step(), "step": perf_counter() - begin}
