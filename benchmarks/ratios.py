"""Measure the ratios that the engine is held to, and say which hold: `python benchmarks/ratios.py`.

Everything is measured as in `microgradc.cli.bench`: each engine in a process of its own, by turns. A ratio is taken of
the shortest times, which decides, and of the medians, for comparison. The exit code is 1 if a target is missed. What is
not installed is not held to anything.
"""

import subprocess
import sys
import tempfile
from statistics import median
from time import perf_counter

import workloads
from minigrad_engine import COMMANDS, WITH_MINIGRAD

from microgradc.cli import bench
from microgradc.cli.engines import installed_version
from microgradc.cli.workers import Worker

ROUNDS = 10
OPERATION_ENGINES = ["micrograd", "minigrad", "microgradc"]
SIZES = [10**3, 10**4, 10**5, 10**6, 10**7]


class Report:
    """The rows that have been printed, and whether all targets were met."""

    def __init__(self):
        self.missed = 0
        print(f"{'':<60}{'by min':>10}{'by median':>12}{'target':>12}")

    def row(self, name, compare, times, bound, least=False, unit="x"):
        """Print a row.

        Args:
            name: what is compared.
            compare: makes the figure from a function that is `min` or `median`, applied to each of the times.
            times: lists of numbers; one is empty if it could not be measured.
            bound: what the figure must not exceed, or must reach if `least`.
        """
        target = f"{'>=' if least else '<='} {bound:g} {unit}"
        if not all(times):
            print(f"{name:<60}{'-':>10}{'-':>12}{target:>12}  not measured")
            return
        by_min, by_median = (compare(*map(statistic, times)) for statistic in (min, median))
        met = by_min >= bound if least else by_min <= bound
        self.missed += not met
        print(f"{name:<60}{by_min:>10.2f}{by_median:>12.2f}{target:>12}  {'pass' if met else 'FAIL'}", flush=True)

    def at_least(self, name, slow, fast, bound):
        """Print how many times as long `slow` takes."""
        self.row(name, lambda a, b: a / b, [slow, fast], bound, least=True)

    def at_most(self, name, times, base, bound):
        """Print how many times as long as `base` it takes."""
        self.row(name, lambda a, b: a / b, [times, base], bound)


def take_turns(commands, turns, script=workloads.__file__, rounds=ROUNDS):
    """Return each worker, closed, after so many rounds of turns.

    Args:
        commands: the command of each worker, by name.
        turns: how often each measures in a turn, by name.
        script: what the commands are given to.

    Raises:
        RuntimeError: one of microgradc's has died.
    """
    workers = {name: Worker([script, *command]) for name, command in commands.items()}
    for _ in range(rounds):
        for name, worker in workers.items():
            worker.take_turn(turns[name])
    for name, worker in workers.items():
        if not worker.failure:
            worker.close()
        elif not {"micrograd", "minigrad"} & set(commands[name]):
            raise RuntimeError(f"{name}: {worker.failure}")
    return workers


def numbers(workers, name, part):
    """Return what a worker measured; nothing if there is none."""
    return workers[name].numbers(part) if name in workers else []


def moons_rows(report):
    """The moons step."""
    workers = bench.measure_steps(ROUNDS, WITH_MINIGRAD, COMMANDS)
    report.missed += sum(bool(workers[name].failure) for name in workers if name.startswith("microgradc"))
    steps = {name: numbers(workers, name, "step") for name in WITH_MINIGRAD}
    expression, nn = steps["microgradc, micrograd's expression"], steps["microgradc.nn"]
    report.at_least("moons step, micrograd's expression: faster than micrograd", steps["micrograd"], expression, 50)
    report.at_most(
        "moons step, micrograd's expression: to Python floats", expression, steps["Python floats, no autograd"], 2.3
    )
    report.at_least("moons step, micrograd's expression: faster than minigrad", steps["minigrad"], expression, 2)
    report.at_least("moons step, microgradc.nn: faster than micrograd", steps["micrograd"], nn, 250)
    report.at_most("moons step, microgradc.nn: to PyTorch eager, batched", nn, steps["PyTorch eager, batched"], 3)
    return bench.table(workers, WITH_MINIGRAD)


def operation_rows(report):
    """One operation whose result is kept."""
    engines = [name for name in OPERATION_ENGINES if installed_version(name)]
    with tempfile.TemporaryDirectory() as floor:
        workloads.build_floor(floor)
        commands = {("products", name): ["products", name, floor] for name in [*engines, "floor", "Python floats"]}
        commands |= {("chains", name): ["chains", name] for name in engines}
        workers = take_turns(commands, {name: 5 if "micrograd" in name else 50 for name in commands})
    forward = {
        name: numbers(workers, ("products", name), "forward") for name in [*OPERATION_ENGINES, "floor", "Python floats"]
    }
    backward = {name: numbers(workers, ("chains", name), "backward") for name in OPERATION_ENGINES}
    build, release = (numbers(workers, ("chains", "microgradc"), part) for part in ("build", "release"))
    report.at_least("kept product, forward: faster than micrograd", forward["micrograd"], forward["microgradc"], 25)
    report.at_most("kept product, forward: to the floor", forward["microgradc"], forward["floor"], 2.2)
    report.at_least(
        "chains of products, backward: faster than micrograd", backward["micrograd"], backward["microgradc"], 35
    )
    report.at_most("chains of products: release to building", release, build, 1)
    times = {f"forward, {engine}": times for engine, times in forward.items()}
    times |= {f"backward, {engine}": times for engine, times in backward.items()}
    times |= {"building chains, microgradc": build, "release of chains, microgradc": release}
    scale = 1e9 / workloads.PRODUCTS
    lines = [line(name, taken, scale) for name, taken in times.items() if taken]
    lines += [
        f"{workload}, {engine}: {worker.failure}" for (workload, engine), worker in workers.items() if worker.failure
    ]
    return [heading("one operation, loop included", "ns"), *lines]


def gpt_rows(report):
    """The scalar GPT of examples/gpt.py."""
    forms = {"plain Python": 2, "unmodified": 10, "compiled loops": 20}
    workers = take_turns({form: ["gpt", form] for form in forms}, forms)
    steps = {form: numbers(workers, form, "step") for form in forms}
    reference = numbers(workers, "plain Python", "loss")
    for form, worker in workers.items():
        if bench.largest_difference(worker.numbers("loss"), reference) > bench.TOLERANCE:
            raise RuntimeError(f"{form}: its losses differ from those in plain Python")
    report.at_least("GPT step, unmodified: faster than plain Python", steps["plain Python"], steps["unmodified"], 12)
    report.at_least(
        "GPT step, compiled loops: faster than plain Python", steps["plain Python"], steps["compiled loops"], 50
    )
    return [heading("GPT step", "ms"), *[line(form, taken, 1e3) for form, taken in steps.items()]]


def scaling_rows(report):
    """The cost of a node in chains of many sizes."""
    workers = take_turns({n: ["scaling", str(n)] for n in SIZES}, {n: max(1, 10**5 // n) for n in SIZES})
    parts = "build", "backward", "release"
    costs = {n: [sum(result[part] for part in parts) / n for result in workers[n].results] for n in SIZES}
    name = "cost of a node, 10^3 to 10^7 of them: dearest to cheapest"
    report.row(name, lambda *cost: max(cost) / min(cost), costs.values(), 1.5)
    lines = [line(f"{n:,} nodes", costs[n], 1e9) for n in SIZES]
    for part in parts:
        lines += [line(f"  {part}, {n:,} nodes", numbers(workers, n, part), 1e9 / n) for n in SIZES]
    return [heading("a node of a chain", "ns"), *lines]


def import_rows(report):
    """What the import adds to the start of Python."""
    times = {"pass": [], "import microgradc": []}
    for _ in range(3 * ROUNDS):
        for statement, taken in times.items():
            begin = perf_counter()
            subprocess.run([sys.executable, "-c", statement], check=True)
            taken.append((perf_counter() - begin) * 1e3)
    report.row("import microgradc: added to the start of Python", lambda a, b: b - a, times.values(), 15, unit="ms")
    return [heading("start of Python", "ms"), *[line(statement, taken, 1) for statement, taken in times.items()]]


def heading(what, unit):
    """Return the heading of lines made by `line`."""
    return f"{what:<36}{'min ' + unit:>10}{'median ' + unit:>11}"


def line(name, times, scale):
    """Return a line with the shortest time and the median, both times `scale`."""
    return f"{name:<36}{min(times) * scale:>10.1f}{median(times) * scale:>11.1f}"


def main():
    """Print the ratios, then the times that they were made of."""
    print(bench.machine(WITH_MINIGRAD))
    report = Report()
    tables = [rows(report) for rows in (moons_rows, operation_rows, gpt_rows, scaling_rows, import_rows)]
    for table in tables:
        print()
        print("\n".join(table))
    return 1 if report.missed else 0


if __name__ == "__main__":
    sys.exit(main())
