"""Where the time of the compiled moons step goes, and what the machine could do: `python benchmarks/roofline.py`.

Times are the shortest of many. The machine's figures are those of one core, measured by roofline.c, for which gcc is
needed; the functions are listed where `perf` is installed.
"""

import ctypes
import os
import shutil
import subprocess
import sys
import tempfile
from itertools import pairwise
from pathlib import Path
from time import perf_counter, process_time

import compiled_workloads as workloads
import generated_c
import numpy as np
import training

import microgradc
from microgradc import nn, optim
from microgradc.cli import moons

LAYERS = [(16, 2), (16, 16), (1, 16)]     # outputs, inputs
CALLS = 20_000
PROFILED_SECONDS = 4
FUNCTIONS = 20


def shortest(work):
    """Return the shortest time of a call in microseconds."""
    times = []
    for _ in range(CALLS):
        begin = perf_counter()
        work()
        times.append(perf_counter() - begin)
    return min(times) * 1e6


def machine_lines():
    """Return lines with what one core could do, and its peak in flop/s."""
    library = generated_c.compile_c(Path(__file__).with_name("roofline.c").read_text(), generated_c.COMMAND)
    for function in (library.flops, library.read_bytes, library.copy_bytes):
        function.restype = ctypes.c_double
    peak = max(library.flops(ctypes.c_long(10**6)) for _ in range(10))
    lines = [f"{peak / 1e9:.0f} Gflop/s of multiply-adds, {library.width()} doubles in a vector"]
    memory = np.zeros(2**18 + 8)
    pointer = ctypes.c_void_p((memory.ctypes.data + 63) & ~63)
    for size in (2**14, 2**17, 2**20):
        read, copied = (
            max(function(pointer, ctypes.c_long(size), ctypes.c_long(2**26 // size)) for _ in range(10)) / 1e9
            for function in (library.read_bytes, library.copy_bytes)
        )
        lines.append(f"{size // 1024:>5} KiB: {read:.0f} GB/s read, {copied:.0f} GB/s copied (read and written)")
    return lines, peak


def work_lines(program, n, peak, taken):
    """Return lines with the arithmetic and the traffic of n examples, next to the time that they took in
    microseconds."""
    products = [m * k for m, k in LAYERS]
    multiply_adds = {
        "forward": sum(products),
        "gradients of weights": sum(products),
        "gradients of operands": sum(products[1:]),
    }
    lanes = -(-n // 8) * 8
    flops = 2 * sum(multiply_adds.values()) * n
    stats = program.stats()
    forward, backward = rows_moved(stats["slots"])
    moved = (forward + backward) * lanes * 8
    return [
        f"multiply-adds of an example: {', '.join(f'{count} {name}' for name, count in multiply_adds.items())}",
        f"{n} examples: {flops:,} flop, at the peak {flops / peak * 1e6:.1f} us; {lanes} lanes are computed",
        f"rows: {stats['slots']} of values and as many of gradients, "
        f"{stats['slots'] * 2 * lanes * 8:,} bytes in {lanes} lanes",
        f"traffic: {forward} rows forward, {backward} backward, {moved:,} bytes; {flops / moved:.2f} flop a byte",
        f"reached: {flops / taken / 1e3:.0f} Gflop/s, {flops / taken / 1e-6 / peak:.0%} of the peak, "
        f"and {moved / taken / 1e3:.0f} GB/s",
    ]


def rows_moved(slots):
    """Return how many rows the steps read and write, forward and backward: each operand and each result once a step.

    Backward, all gradients are set to zero first, and what an operand receives is read, added to and written.
    """
    rest = {"neg": 2, "mul": 3, "add": 3, "relu": 2, "add again": 3}
    rest_back = {"add again": 5, "relu": 4, "add": 5, "mul": 4}
    relus = sum(m for m, _ in LAYERS[:-1])
    forward = 2 * 3 + sum(k + m for m, k in LAYERS) + 2 * relus + sum(rest.values())
    weights, operands = sum(m + k for m, k in LAYERS), sum(m + 2 * k for m, k in LAYERS[1:])
    return forward, slots + weights + operands + 4 * relus + sum(rest_back.values())


def part_lines():
    """Return lines with the times of the parts of a step, the program that was run, and the time of the loops over
    lanes."""
    model = moons.seeded(nn.MLP)
    loss, (X, y) = workloads.moons_loss(model), workloads.moons_arrays()
    optimizer = optim.SGD(model.parameters(), lr=moons.RATE)
    program, column = loss.program(X[0], y[0]), y[:, None]
    few = X[:8].copy(), y[:8].copy()
    total = loss.mean(X, y)

    def step():
        total = loss.mean(X, y)
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
        return total.item()

    times = {
        "an empty call": shortest(lambda: None),
        "f.mean of 100 examples": shortest(lambda: loss.mean(X, y)),
        "f.mean of 8 examples": shortest(lambda: loss.mean(*few)),
        "Program.run, with gradients": shortest(lambda: program.run((X, column), [1.0], False, False)),
        "zero_grad": shortest(optimizer.zero_grad),
        "backward": shortest(total.backward),
        "optimizer.step": shortest(optimizer.step),
    }
    with microgradc.no_grad():
        times["f.mean of 100 examples, no_grad"] = shortest(lambda: loss.mean(X, y))
        times["f.mean of 8 examples, no_grad"] = shortest(lambda: loss.mean(*few))
    times["the whole step"] = shortest(step)
    # Eight lanes cost next to nothing in themselves: what they take is there for any number of examples.
    taken = times["f.mean of 100 examples"] - times["f.mean of 8 examples"]
    lines = [f"{name:<36}{microseconds:>8.2f}" for name, microseconds in times.items()]
    return [*lines, f"{'so the loops over 92 more examples':<36}{taken:>8.2f}"], program, taken * 100 / 92


def large_lines(peak):
    """Return lines with the arithmetic of a step of the larger network of training.py, and the time that it takes."""
    inputs, *outputs = training.LARGE
    sizes = list(pairwise([inputs, *outputs]))
    products = [k * m for k, m in sizes]
    parameters = sum(products) + sum(outputs)
    run, steps, n = training.large_in("f.train", 40), 40, len(training.large_examples()[0])
    run()
    times = []
    for _ in range(10):
        begin = process_time()
        run()
        times.append((process_time() - begin) / steps)
    flops, taken = 2 * n * (2 * sum(products) + sum(products[1:])), min(times)
    return [
        f"{'-'.join(map(str, training.LARGE))}, {n} examples: {parameters:,} parameters, "
        f"{8 * parameters / 1024:.0f} KiB, and as much for their gradients",
        f"{flops:,} flop, at the peak {flops / peak * 1e6:.0f} us; reached in {taken * 1e6:.0f} us: "
        f"{flops / taken / 1e9:.0f} Gflop/s, {flops / taken / peak:.0%} of the peak",
    ]


def profile_lines():
    """Return lines with the functions in which most of the time goes."""
    if not shutil.which("perf"):
        return ["not profiled: perf is not installed"]
    with tempfile.TemporaryDirectory() as directory:
        data, command = str(Path(directory, "perf.data")), [sys.executable, __file__, "--steps"]
        recording = [
            "perf",
            "record",
            "-D",
            "2000",
            "-F",
            "5000",
            "-e",
            "cpu-clock:u",
            "-o",
            data,
            *command,
        ]  # after the imports
        found = subprocess.run(recording, capture_output=True, text=True, check=False)
        if found.returncode:
            return [f"not profiled: {found.stderr.strip()}"]
        report = ["perf", "report", "-i", data, "--no-children", "--stdio", "--sort", "dso,symbol"]
        text = subprocess.run(report, capture_output=True, text=True, check=True).stdout
    rows = [line.split() for line in text.splitlines() if "%" in line and not line.startswith("#")]
    return [f"{share:>7} {dso.partition('.')[0]:<16}{' '.join(name[1:])}" for share, dso, *name in rows[:FUNCTIONS]]


def steps():
    """Take steps for as long as they are profiled."""
    step, begin = workloads.moons_step(), perf_counter()
    while perf_counter() - begin < PROFILED_SECONDS:
        for _ in range(1000):
            step()


def main():
    """Print everything."""
    print(f"load averages: {' '.join(f'{load:.1f}' for load in os.getloadavg())}, {os.cpu_count()} cores")
    parts, program, taken = part_lines()
    print("\nmicroseconds\n" + "\n".join(parts))
    if generated_c.is_available():
        machine, peak = machine_lines()
        print("\none core\n" + "\n".join(machine))
        print("\nthe loops over lanes\n" + "\n".join(work_lines(program, 100, peak, taken)))
        print("\na step of a larger network\n" + "\n".join(large_lines(peak)))
    else:
        print("\nthe machine is not measured: gcc is not installed")
    print("\nshare of the time of a step\n" + "\n".join(profile_lines()))


if __name__ == "__main__":
    steps() if "--steps" in sys.argv else main()
