"""Time one training step in microgradc and in other engines: what `python -m microgradc bench` runs.

Each engine runs in a process of its own, so that one engine's objects do not slow the garbage collection of another,
and one that crashes does not end the run. A turn is several steps where steps are short: the first after a pause finds
cold caches, which would cost the fastest engines the most.
"""

# ruff: noqa: B905 -- zip as micrograd writes it

from __future__ import annotations

import platform
import re
import statistics
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

from microgradc.cli.engines import ENGINES, Engine, installed_version
from microgradc.cli.workers import Worker, serve, timed

TOLERANCE = 1e-9
STEP_WORKER = ["-m", "microgradc.cli.bench", "--worker"]


def measure_steps(
    rounds: int, engines: Mapping[str, Engine] = ENGINES, commands: Mapping[str, list[str]] | None = None
) -> dict[str, Worker]:
    """Return a worker for each engine that is installed, closed, after `rounds` turns.

    Args:
        rounds: how often each engine takes its turn.
        engines: the engines by name.
        commands: for an engine that is not in `ENGINES`, by its name, the Python command of a worker for it.
    """
    commands = {**{name: [*STEP_WORKER, name] for name in ENGINES}, **(commands or {})}
    workers = {name: Worker(commands[name]) for name, engine in engines.items() if installed_version(engine.project)}
    for _ in range(rounds):
        for name, worker in workers.items():
            worker.take_turn(engines[name].turn)
    for worker in workers.values():
        if not worker.failure:
            worker.close()
    return workers


def largest_difference(losses: Iterable[float], reference: Iterable[float]) -> float:
    """Return the largest relative difference between the losses of the steps that both took; nan if there is one."""
    return max((abs(a - b) / abs(b) for a, b in zip(losses, reference)), key=lambda d: (d != d, d), default=0.0)


def table(workers: Mapping[str, Worker], engines: Mapping[str, Engine] = ENGINES) -> list[str]:
    """Return the lines of the table of what `measure_steps` returned."""
    base = "micrograd" if "micrograd" in workers and workers["micrograd"].results else "microgradc.nn"
    reference = workers[base]
    lines = [f"{'engine':<36}{'min ms':>10}{'median ms':>11}{'times faster':>14}"]
    for name, engine in engines.items():
        worker = workers.get(name)
        remarks = [worker.failure] if worker else [f"not installed: pip install {engine.project}"]
        figures = ""
        if worker and worker.results:
            times, losses = worker.numbers("step"), worker.numbers("loss")
            faster = f"{min(reference.numbers('step')) / min(times):.1f}" if base == "micrograd" else "-"
            figures = f"{min(times) * 1e3:>10.3f}{statistics.median(times) * 1e3:>11.3f}{faster:>14}"
            difference = largest_difference(losses if engine.learns else losses[:1], reference.numbers("loss"))
            remarks += (
                [] if difference <= TOLERANCE else [f"its losses differ from those of {base}: by {difference:.1e}"]
            )
        lines.append(f"{name:<36}{figures}  {' '.join(filter(None, remarks))}".rstrip())
    return lines


def machine(engines: Mapping[str, Engine] = ENGINES) -> str:
    """Return the processor, the Python and the engines in one line."""
    cpuinfo = Path("/proc/cpuinfo")
    models = re.findall(r"model name\s*: (.*)", cpuinfo.read_text()) if cpuinfo.exists() else []
    processor = models[0] if models else platform.processor() or platform.machine()
    projects = dict.fromkeys(engine.project for engine in engines.values())
    versions = [f"{project} {installed_version(project)}" for project in projects if installed_version(project)]
    return f"{processor}; {platform.python_implementation()} {platform.python_version()}; {', '.join(versions)}"


def main(rounds: int = 10) -> None:
    """Let each engine take `rounds` turns, and print the table."""
    print(f"One training step: MLP(2, [16, 16, 1]), 100 points, float64, one thread; {rounds} turns for each engine.")
    print(machine(), end="\n\n", flush=True)
    print("\n".join(table(measure_steps(rounds))))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--worker"]:
        engine = ENGINES[sys.argv[2]]
        serve(timed, engine.make_step(), engine.between)
    else:
        main()
