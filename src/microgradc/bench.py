"""Time one training step in microgradc and in other engines: what `python -m microgradc bench` runs.

The *moons step* is one step of the training in micrograd's demo: MLP(2, [16, 16, 1]) with ReLU on 100 two-moons points, mean max-margin loss
plus L2, zero_grad, backward, one SGD update, and the release of the graph; float64, one thread. All engines begin with the same parameters.

Each engine runs in a process of its own, so that one engine's objects do not slow the garbage collection of another, and one that crashes
does not end the run. The processes take turns, so that a machine that is slow for a while is slow for all. A turn is several steps: the
first after a pause finds cold caches, which would cost the fastest engines the most.
"""

import ctypes
import json
import platform
import random
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

from microgradc import nn

SIZES = 2, [16, 16, 1]
SEED = 1337
RATE = 0.1
DECAY = 1e-4
STEPS_IN_A_TURN = 10
TOLERANCE = 1e-9


# The engines. Each function returns one: a function of no arguments that takes the next training step and returns the loss before it.


def moons():
    """Return the 100 points, a list of pairs, and their targets, -1.0 or 1.0."""
    from microgradc.data import make_moons

    X, y = make_moons(100, noise=0.1, random_state=SEED)
    return X.tolist(), (y * 2.0 - 1.0).tolist()


def seeded(MLP):
    """Return a model with the initial parameters that every engine begins with."""
    random.seed(SEED)
    return MLP(*SIZES)


def demo_loss(scores, y, parameters):
    """Return the loss in the words of micrograd's demo."""
    losses = [(1 + -yi * scorei).relu() for yi, scorei in zip(y, scores)]
    return sum(losses) * (1.0 / len(losses)) + DECAY * sum(p * p for p in parameters)


def scalar_step(model, Value, loss_of=demo_loss):
    """Return the step of a model whose parameters are `Value`s with `data` and `grad`."""
    X, y = moons()

    def step():
        inputs = [list(map(Value, row)) for row in X]
        scores = list(map(model, inputs))
        loss = loss_of(scores, y, model.parameters())
        model.zero_grad()
        loss.backward()
        for p in model.parameters():
            p.data -= RATE * p.grad
        return loss.data

    return step


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
        return float_relu(act) if self.nonlin else act


def float_relu(x):
    return x if x > 0 else 0.0


def with_neurons(kind):
    """Return the seeded model with neurons of another kind."""
    model = seeded(nn.MLP)
    for layer in model.layers:
        layer.neurons = [kind(neuron) for neuron in layer.neurons]
    return model


def micrograd_step():
    from micrograd.engine import Value
    from micrograd.nn import MLP

    return scalar_step(seeded(MLP), Value)


def expression_step():
    from microgradc import Value

    return scalar_step(with_neurons(SumNeuron), Value)


def nn_step():
    from microgradc import Value

    return scalar_step(seeded(nn.MLP), Value)


def minigrad_step():
    protect_none()
    from minigrad.engine import Value
    from minigrad.nn import MLP

    def loss_of(scores, y, parameters):
        # minigrad 0.0.6 takes no plain numbers as operands.
        losses = [(Value(1.0) + Value(-yi) * scorei).relu() for yi, scorei in zip(y, scores)]
        return sum(losses, Value(0.0)) * Value(1.0 / len(losses)) + Value(DECAY) * sum((p * p for p in parameters), Value(0.0))

    return scalar_step(seeded(MLP), Value, loss_of)


def protect_none():
    """Keep an interpreter alive in which minigrad 0.0.6 drops references to None that it does not own."""
    if sys.version_info < (3, 12):  # None is immortal since
        ctypes.c_ssize_t.from_address(id(None)).value += 1 << 40


def torch_step():
    import torch

    torch.set_num_threads(1)
    X, y = (torch.tensor(numbers, dtype=torch.float64) for numbers in moons())
    modules = []
    for layer in seeded(nn.MLP).layers:
        linear = torch.nn.Linear(len(layer.neurons[0].w), len(layer.neurons), dtype=torch.float64)
        with torch.no_grad():
            linear.weight.copy_(torch.tensor([[w.data for w in neuron.w] for neuron in layer.neurons], dtype=torch.float64))
            linear.bias.zero_()
        modules += [linear, torch.nn.ReLU()]
    model = torch.nn.Sequential(*modules[:-1])
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


def float_step():
    """Return the control: the loops of the forward pass and of the update, no derivatives; its parameters stay as they are."""
    model = with_neurons(FloatNeuron)
    X, y = moons()

    def step():
        inputs = [list(map(float, row)) for row in X]
        scores = list(map(model, inputs))
        losses = [float_relu(1 + -yi * scorei) for yi, scorei in zip(y, scores)]
        loss = sum(losses) * (1.0 / len(losses)) + DECAY * sum(p * p for p in model.parameters())
        parameters = model.parameters()
        for i, p in enumerate(parameters):
            parameters[i] = p - RATE * 0.0
        return loss

    return step


class Engine(NamedTuple):
    project: str  # on the Python package index; '' for none
    make_step: Callable
    learns: bool = True


ENGINES = {
    "micrograd": Engine("micrograd", micrograd_step),
    "microgradc, micrograd's expression": Engine("microgradc", expression_step),
    "microgradc.nn": Engine("microgradc", nn_step),
    "minigrad": Engine("minigrad", minigrad_step),
    "PyTorch eager, batched": Engine("torch", torch_step),
    "Python floats, no autograd": Engine("", float_step, learns=False),
}


def installed_version(project):
    """Return the version of a project, '' if it is not installed."""
    if project == "microgradc":
        from microgradc import __version__

        return __version__
    try:
        return version(project)
    except PackageNotFoundError:
        return ""


def is_installed(engine):
    project = ENGINES[engine].project
    return not project or bool(installed_version(project))


# Processes that measure in turn.


class Worker:
    """A process that measures one thing, whenever it is asked to.

    Args:
        command: the program and its arguments; it calls `serve`.

    Attributes:
        results: what it measured, oldest first.
        failure: how it died, '' while it has not.
    """

    def __init__(self, command):
        self.process = subprocess.Popen(
            [sys.executable, *command], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        self.results = []
        self.failure = ""

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
            _, errors = self.process.communicate()
            code = self.process.returncode
            self.failure = f"crashed: {signal.Signals(-code).name}" if code < 0 else f"failed: {(errors.splitlines() or [code])[-1]}"

    def times(self, part):
        """Return the seconds that a part took, each time."""
        return [result[part] for result in self.results]

    def close(self):
        if not self.failure:
            self.process.communicate()


def serve(measure):
    """Answer each number n on standard input with a line: what n calls of `measure` returned."""
    for line in sys.stdin:
        print(json.dumps([measure() for _ in range(int(line))]), flush=True)


def serve_steps(engine):
    """Serve the steps of an engine."""
    step = ENGINES[engine].make_step()

    def measure():
        begin = perf_counter()
        loss = step()
        return {"step": perf_counter() - begin, "loss": loss}

    serve(measure)


def step_command(engine):
    """Return the command of a worker that takes an engine's steps."""
    return ["-m", "microgradc.bench", "--worker", engine]


def measure_steps(rounds):
    """Return a worker, done, for each engine that is installed, after `rounds` turns."""
    workers = {engine: Worker(step_command(engine)) for engine in ENGINES if is_installed(engine)}
    for _ in range(rounds):
        for worker in workers.values():
            worker.take_turn(STEPS_IN_A_TURN)
    for worker in workers.values():
        worker.close()
    return workers


# The table.


def largest_difference(losses, reference):
    """Return the largest relative difference between the losses of the steps that both took; nan if a loss is nan."""
    differences = [abs(a - b) / abs(b) for a, b in zip(losses, reference)]
    return max(differences) if all(d == d for d in differences) else float("nan")


def remark(engine, workers, reference):
    """Return what is to be said of an engine's losses; nothing if they are the reference's."""
    losses = workers[engine].times("loss")
    difference = largest_difference(losses if ENGINES[engine].learns else losses[:1], workers[reference].times("loss"))
    return "" if difference <= TOLERANCE else f"its losses are not {reference}'s: they differ by {difference:.1e}"


def table(workers):
    """Return the lines of the table of what `measure_steps` returned."""
    reference = "micrograd" if "micrograd" in workers and workers["micrograd"].results else "microgradc.nn"
    lines = [f"{'engine':<36}{'min ms':>10}{'median ms':>11}{'times faster':>14}"]
    for engine in ENGINES:
        worker = workers.get(engine)
        if worker is None:
            lines.append(f"{engine:<36}  not installed: pip install {ENGINES[engine].project}")
            continue
        line = f"{engine:<36}"
        if worker.results:
            times = worker.times("step")
            faster = f"{min(workers['micrograd'].times('step')) / min(times):.1f}" if reference == "micrograd" else "-"
            line += f"{min(times) * 1e3:>10.3f}{statistics.median(times) * 1e3:>11.3f}{faster:>14}"
            line += "  " + remark(engine, workers, reference)
        lines.append(f"{line}  {worker.failure}".rstrip())
    return lines


def machine():
    """Return the processor, the Python and the engines in one line."""
    with suppress(OSError):
        models = [line.split(":", 1)[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    processor = (models if "models" in locals() and models else [platform.processor() or platform.machine()])[0]
    projects = dict.fromkeys(engine.project for engine in ENGINES.values() if engine.project)
    versions = [f"{project} {installed_version(project)}" for project in projects if installed_version(project)]
    return f"{processor}; {platform.python_implementation()} {platform.python_version()}; {', '.join(versions)}"


def main(rounds=5):
    """Measure, and print the table.

    Args:
        rounds: how many turns of 10 steps each engine takes.
    """
    print(f"One training step: MLP(2, [16, 16, 1]), 100 points, float64, one thread. {rounds} turns of {STEPS_IN_A_TURN} steps for each engine.")
    print(machine())
    print()
    print("\n".join(table(measure_steps(rounds))))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--worker"]:
        serve_steps(sys.argv[2])
    else:
        main()
