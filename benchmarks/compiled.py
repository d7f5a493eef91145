"""Measure the ratios that compiled functions are held to, and say which hold: `python benchmarks/compiled.py [ROUNDS]`.

As in `ratios.py`: each engine in a process of its own, by turns; the shortest times decide, the medians are for
comparison; the exit code is 1 if a target is missed. Results are compared after they are timed, and the run fails if
they differ.
"""

import os
import sys

import compiled_workloads
from compiled_workloads import COMPILED, TOLERANCE, TORCH, WORKLOADS
from ratios import Report, heading, line, take_turns

from microgradc.cli import bench
from microgradc.cli.engines import installed_version

ROUNDS = 10
PROJECTS = ["microgradc", "micrograd", "torch", "jax", "numpy", "scipy"]

# The workload, the engine that takes longer, the one that takes less, and how many times as long at least.
RATIOS = [
    ("moons step", "micrograd", COMPILED, 10_000),
    ("moons step", TORCH, COMPILED, 10),
    ("moons step", "jax.jit", COMPILED, 5),
    ("moons step", "generated C", COMPILED, 2.5),
    ("one example, with gradients", TORCH, COMPILED, 8),
    ("one example, no_grad", TORCH, COMPILED, 8),
    ("digits step, batch 32, SGD", TORCH, COMPILED, 4),
    ("digits step, batch 32, Adam", TORCH, COMPILED, 4),
    ("digits step, batch 1,797, SGD", TORCH, COMPILED, 1),
    ("tanh step, batch 1,000", TORCH, COMPILED, 1),
    ("moons loss, batch 100,000", "one thread", "two threads", 1.7),
    ("100,000 prices and gradients", "jax.jit", COMPILED, 2),
    ("100,000 prices and gradients", "NumPy by hand, blocks", COMPILED, 0.5),
]
# The workload, the engine, and the microseconds that it may take.
TIMES = [
    ("recording the moons loss", "nn.MLP", 3000),
    ("recording the moons loss", "micrograd's expression", 3000),
    ("one example, with gradients", COMPILED, 3),
    ("one example, no_grad", COMPILED, 3),
]


def measure(workload, rounds):
    """Return the times of each engine of a workload, and remarks on those that could not be measured.

    Raises:
        RuntimeError: an engine has died, or its results are not those of the others.
    """
    engines = WORKLOADS[workload]
    remarks = {
        name: f"not installed: {', '.join(lacking)}"
        for name in engines
        if (lacking := compiled_workloads.missing(engines[name]))
    }
    present = [name for name in engines if name not in remarks]
    commands = {name: [workload, name] for name in present}
    workers = take_turns(commands, {name: engines[name].turn for name in present}, compiled_workloads.__file__, rounds)
    results = {name: [result for result in worker.numbers("result") if result] for name, worker in workers.items()}
    for name in present:
        if workers[name].failure:
            raise RuntimeError(f"{workload}, {name}: {workers[name].failure}")
        difference = largest_difference(results[name], results[present[0]])
        if not difference <= TOLERANCE:
            raise RuntimeError(
                f"{workload}: the results of {name} differ from those of {present[0]} by {difference:.1e}"
            )
    return {name: worker.numbers("step") for name, worker in workers.items()}, remarks


def largest_difference(results, reference):
    """Return the largest relative difference between the numbers in two lists of results, as far as both go; nan if
    there is one."""
    return max(bench.largest_difference(a, b) for a, b in zip(results, reference, strict=False))


def main(rounds=ROUNDS):
    """Print the ratios, then the times that they were made of."""
    versions = [f"{project} {version}" for project in PROJECTS if (version := installed_version(project))]
    print(bench.machine().partition(";")[0], sys.version.partition(" ")[0], *versions, sep="; ")
    print(f"load averages before: {' '.join(f'{load:.1f}' for load in os.getloadavg())}, {os.cpu_count()} cores")
    report, times, tables = Report(), {}, []
    for workload in WORKLOADS:
        times[workload], remarks = measure(workload, rounds)
        for name, slow, fast, bound in RATIOS:
            if name == workload:
                report.at_least(f"{name}: {slow}", times[name].get(slow, []), times[name].get(fast, []), bound)
        for name, engine, bound in TIMES:
            if name == workload:
                microseconds = [taken * 1e6 for taken in times[name][engine]]
                report.row(f"{name}: {engine}", lambda taken: taken, [microseconds], bound, unit="us")
        tables += ["", heading(workload, "us"), *[line(name, taken, 1e6) for name, taken in times[workload].items()]]
        tables += [f"{name:<36}{remark}" for name, remark in remarks.items()]
    print("\n".join(tables))
    print(f"\nload averages after: {' '.join(f'{load:.1f}' for load in os.getloadavg())}")
    return 1 if report.missed else 0


if __name__ == "__main__":
    sys.exit(main(*map(int, sys.argv[1:])))
