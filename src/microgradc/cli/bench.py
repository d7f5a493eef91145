"""Time one training step in microgradc and in other engines: what `python -m microgradc bench` runs.

The *moons step* is a step of micrograd's demo: MLP(2, [16, 16, 1]) with ReLU on 100 two-moons points, mean max-margin loss plus L2,
zero_grad, backward, one SGD update, and the release of the graph; float64, one thread. All engines begin with the same parameters.

Each engine runs in a process of its own, so that one engine's objects do not slow the garbage collection of another, and one that crashes
does not end the run. The processes take turns, so that a machine that is slow for a while is slow for all. A turn is several steps where
steps are short: the first after a pause finds cold caches, which would cost the fastest engines the most.

An engine is a function, NAME_step, that returns a function of no arguments, which takes the next step and returns the loss before it.
"""

# ruff: noqa: B905 -- zip as micrograd writes it

import ctypes
import gc
import json
import platform
import random
import re
import signal
import statistics
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from time import perf_counter
from typing import NamedTuple

from microgradc import Value, __version__, nn

SEED = 1337
RATE = 0.1
DECAY = 1e-4
TOLERANCE = 1e-9
STEP_WORKER = ["-m", "microgradc.cli.bench", "--worker"]


def moons():
    """Return the 100 points, a list of pairs, and their targets, -1.0 or 1.0."""
    from microgradc.train.data import make_moons

    X, y = make_moons(100, noise=0.1, random_state=SEED)
    return X.tolist(), (y * 2.0 - 1.0).tolist()


def seeded(MLP):
    """Return a model with the initial parameters that every engine begins with."""
    random.seed(SEED)
    return MLP(2, [16, 16, 1])


def demo_loss(scores, y, parameters):
    """Return the loss in the words of micrograd's demo."""
    losses = [(1 + -yi * scorei).relu() for yi, scorei in zip(y, scores)]
    return sum(losses) * (1.0 / len(losses)) + DECAY * sum(p * p for p in parameters)


def scalar_step(model, number, loss_of=demo_loss):
    """Return the step of a model whose parameters and inputs are of the type `number`, with `data` and `grad`."""
    X, y = moons()

    def step():
        inputs = [list(map(number, row)) for row in X]
        scores = list(map(model, inputs))
        loss = loss_of(scores, y, model.parameters())
        model.zero_grad()
        loss.backward()
        for p in model.parameters():
            p.data -= RATE * p.grad
        return loss.data
    return step


def micrograd_step():
    """Return the step of micrograd, as it is installed."""
    from micrograd import engine
    from micrograd import nn as micrograd_nn

    return scalar_step(seeded(micrograd_nn.MLP), engine.Value)


def collect_by_hand():
    """Collect garbage, and keep the collector from doing it by itself: half to nine tenths of micrograd's time is spent there."""
    gc.disable()
    gc.collect()


class SumNeuron(nn.Neuron):
    """A neuron whose weighted sum is micrograd's expression, a node for each product and each addition."""

    def __init__(self, neuron):
        self.w, self.b, self.nonlin = neuron.w, neuron.b, neuron.nonlin

    def __call__(self, x):
        act = sum((wi * xi for wi, xi in zip(self.w, x)), self.b)
        return act.relu() if self.nonlin else act


class FloatNeuron(nn.Neuron):
    """The same neuron on Python floats."""

    def __init__(self, neuron):
        self.w, self.b, self.nonlin = [w.data for w in neuron.w], neuron.b.data, neuron.nonlin

    def __call__(self, x):
        act = sum((wi * xi for wi, xi in zip(self.w, x)), self.b)
        return 0.0 if self.nonlin and act < 0 else act


def with_neurons(kind):
    """Return the seeded model with neurons of another kind."""
    model = seeded(nn.MLP)
    for layer in model.layers:
        layer.neurons = [kind(neuron) for neuron in layer.neurons]
    return model


def float_step():
    """Return the control: the loops of the forward pass and of the update, no derivatives; its parameters stay as they are."""
    model = with_neurons(FloatNeuron)
    parameters = [p for layer in model.layers for neuron in layer.neurons for p in (*neuron.w, neuron.b)]
    X, y = moons()

    def step():
        inputs = [list(map(float, row)) for row in X]
        scores = list(map(model, inputs))
        losses = [max(1 + -yi * scorei, 0.0) for yi, scorei in zip(y, scores)]
        loss = sum(losses) * (1.0 / len(losses)) + DECAY * sum(p * p for p in parameters)
        for p in parameters:
            p -= RATE * 0.0
        return loss
    return step


def compiled_step():
    """Return the step with the loss of one point compiled, on one thread, and the update by `optim.SGD`."""
    import numpy as np

    from microgradc import optim, program
    from microgradc.program import compile as transforms

    program.set_num_threads(1)
    model = seeded(nn.MLP)
    optimizer = optim.SGD(model.parameters(), lr=RATE)
    X, y = (np.array(numbers) for numbers in moons())

    @transforms.compile
    def loss_of(x, y):
        return (1 - y * model(x)).relu() + DECAY * sum(p * p for p in model.parameters())

    def step():
        loss = loss_of.mean(X, y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.data
    return step


def minigrad_step():
    """Return the step of minigrad 0.0.6, which takes no plain numbers as operands."""
    protect_none()
    from minigrad.engine import Value as V
    from minigrad.nn import MLP

    def loss_of(scores, y, parameters):
        losses = [(V(1.0) + V(-yi) * scorei).relu() for yi, scorei in zip(y, scores)]
        return sum(losses, V(0.0)) * V(1.0 / len(losses)) + V(DECAY) * sum((p * p for p in parameters), V(0.0))

    return scalar_step(seeded(MLP), V, loss_of)


def protect_none():
    """Keep an interpreter alive in which minigrad 0.0.6 drops references to None that it does not own."""
    if sys.version_info < (3, 12):  # later ones never release None
        ctypes.c_ssize_t.from_address(id(None)).value += 1 << 40


def torch_step():
    """Return the step of PyTorch, all points at once."""
    import torch

    torch.set_num_threads(1)
    X, y = (torch.tensor(numbers, dtype=torch.float64) for numbers in moons())
    linear, relu = torch.nn.Linear, torch.nn.ReLU
    model = torch.nn.Sequential(linear(2, 16), relu(), linear(16, 16), relu(), linear(16, 1)).double()
    for to, layer in zip(model[::2], seeded(nn.MLP).layers):
        to.weight.data[:] = torch.tensor([[w.data for w in neuron.w] for neuron in layer.neurons], dtype=torch.float64)
        to.bias.data[:] = torch.tensor([neuron.b.data for neuron in layer.neurons], dtype=torch.float64)
    parameters = list(model.parameters())

    def step():
        loss = (1 - y * model(X).squeeze(1)).relu().mean() + DECAY * sum((p * p).sum() for p in parameters)
        for p in parameters:
            p.grad = None
        loss.backward()
        with torch.no_grad():
            for p in parameters:
                p.sub_(p.grad, alpha=RATE)
        return loss.item()
    return step


class Engine(NamedTuple):
    """A row of the table, and how many steps make a turn."""

    project: str  # on the Python package index
    make_step: Callable
    turn: int = 10
    learns: bool = True
    between: Callable = lambda: None  # what is done between two steps, untimed


ENGINES = {
    "micrograd": Engine("micrograd", micrograd_step, turn=2),
    "micrograd, garbage collector off": Engine("micrograd", micrograd_step, turn=2, between=collect_by_hand),
    "microgradc, micrograd's expression": Engine("microgradc", lambda: scalar_step(with_neurons(SumNeuron), Value)),
    "microgradc.nn": Engine("microgradc", lambda: scalar_step(seeded(nn.MLP), Value)),
    "microgradc, compiled": Engine("microgradc", compiled_step, turn=100),
    "minigrad": Engine("minigrad", minigrad_step),
    "PyTorch eager, batched": Engine("torch", torch_step),
    "Python floats, no autograd": Engine("microgradc", float_step, learns=False),
}


def installed_version(project):
    """Return the version of a project, None if it is not installed."""
    with suppress(PackageNotFoundError):
        return __version__ if project == "microgradc" else version(project)


class Worker:
    """A process that runs a Python `command`, which calls `serve`. `results` is what it measured; `failure` says how it died, if it did."""

    def __init__(self, command):
        pipes = dict.fromkeys(["stdin", "stdout", "stderr"], subprocess.PIPE)
        self.process = subprocess.Popen([sys.executable, *command], text=True, **pipes)
        self.results, self.failure = [], ""

    def take_turn(self, count):
        """Have it measure `count` times in a row. One that has died stays so."""
        if self.failure:
            return
        with suppress(BrokenPipeError):
            self.process.stdin.write(f"{count}\n")
            self.process.stdin.flush()
        line = self.process.stdout.readline()
        if line:
            self.results += json.loads(line)
        else:
            errors, code = self.close(), self.process.returncode
            self.failure = f"crashed: {signal.Signals(-code).name}" if code < 0 else f"failed: {(errors.splitlines() or [code])[-1]}"

    def numbers(self, name):
        """Return what it measured under a name, oldest first."""
        return [result[name] for result in self.results]

    def close(self):
        """Let it end, and return what it wrote on standard error."""
        return self.process.communicate()[1]


def serve(measure, *args):
    """Answer each number n on standard input with one line: what n calls of measure(*args) returned."""
    for line in sys.stdin:
        print(json.dumps([measure(*args) for _ in range(int(line))]), flush=True)


def timed(step, between):
    """Take a step, and return its time in seconds and its loss."""
    between()
    begin = perf_counter()
    return {"loss": step(), "step": perf_counter() - begin}


def measure_steps(rounds):
    """Return a worker for each engine that is installed, closed, after `rounds` turns."""
    workers = {name: Worker([*STEP_WORKER, name]) for name, engine in ENGINES.items() if installed_version(engine.project)}
    for _ in range(rounds):
        for name, worker in workers.items():
            worker.take_turn(ENGINES[name].turn)
    for worker in workers.values():
        if not worker.failure:
            worker.close()
    return workers


def largest_difference(losses, reference):
    """Return the largest relative difference between the losses of the steps that both took; nan if there is one."""
    return max((abs(a - b) / abs(b) for a, b in zip(losses, reference)), key=lambda d: (d != d, d), default=0.0)


def table(workers):
    """Return the lines of the table of what `measure_steps` returned."""
    base = "micrograd" if "micrograd" in workers and workers["micrograd"].results else "microgradc.nn"
    reference = workers[base]
    lines = [f"{'engine':<36}{'min ms':>10}{'median ms':>11}{'times faster':>14}"]
    for name, engine in ENGINES.items():
        worker = workers.get(name)
        remarks = [worker.failure] if worker else [f"not installed: pip install {engine.project}"]
        figures = ""
        if worker and worker.results:
            times, losses = worker.numbers("step"), worker.numbers("loss")
            faster = f"{min(reference.numbers('step')) / min(times):.1f}" if base == "micrograd" else "-"
            figures = f"{min(times) * 1e3:>10.3f}{statistics.median(times) * 1e3:>11.3f}{faster:>14}"
            difference = largest_difference(losses if engine.learns else losses[:1], reference.numbers("loss"))
            remarks += [] if difference <= TOLERANCE else [f"its losses differ from those of {base}: by {difference:.1e}"]
        lines.append(f"{name:<36}{figures}  {' '.join(filter(None, remarks))}".rstrip())
    return lines


def machine():
    """Return the processor, the Python and the engines in one line."""
    cpuinfo = Path("/proc/cpuinfo")
    models = re.findall(r"model name\s*: (.*)", cpuinfo.read_text()) if cpuinfo.exists() else []
    processor = models[0] if models else platform.processor() or platform.machine()
    projects = dict.fromkeys(engine.project for engine in ENGINES.values())
    versions = [f"{project} {installed_version(project)}" for project in projects if installed_version(project)]
    return f"{processor}; {platform.python_implementation()} {platform.python_version()}; {', '.join(versions)}"


def main(rounds=10) -> None:
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
