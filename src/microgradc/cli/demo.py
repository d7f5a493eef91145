"""python -m microgradc demo: micrograd's demo notebook, with progress, a summary, pictures, and a comparison: compiled, and micrograd."""

import random
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from statistics import median
from tempfile import TemporaryFile
from time import perf_counter

import numpy as np
from tqdm import trange

from microgradc import Value, topological_sort
from microgradc.cli.bench import DECAY, demo_loss
from microgradc.train.data import make_moons
from microgradc.optim import SGD
from microgradc.train.fit import History
from microgradc.program.compile import compile

COMPARED_STEPS = 5


class MoonsTraining:
    """An MLP(2, [16, 16, 1]) on two moons: max-margin loss, L2 regularisation, gradient descent.

    Args:
        package: 'microgradc' or 'micrograd'.
        seed: for the data and the initial weights.
        steps: how many steps the training has; the learning rate falls from 1 to 0.1 over them.
    """

    def __init__(self, package, seed, steps):
        random.seed(seed)
        X, y = make_moons(n_samples=100, noise=0.1, random_state=seed)
        self.X, self.y = X.tolist(), (2 * y - 1).tolist()
        self.model = import_module(f"{package}.nn").MLP(2, [16, 16, 1])
        self.steps = steps
        self.losses, self.times = [], []

    def loss(self):
        """Return the total loss, a Value, and the share of points on the right side."""
        scores = [self.model(x) for x in self.X]
        right = sum((score.data > 0) == (yi > 0) for yi, score in zip(self.y, scores, strict=True))
        return demo_loss(scores, self.y, self.model.parameters()), right / len(scores)

    def step(self):
        """Take the next step; return the accuracy before it. The loss and the time in seconds go to `losses` and `times`."""
        begin = perf_counter()
        loss, accuracy = self.loss()
        self.model.zero_grad()
        loss.backward()
        learning_rate = self.learning_rate()
        for p in self.model.parameters():
            p.data -= learning_rate * p.grad
        self.losses.append(loss.data)
        del loss
        self.times.append(perf_counter() - begin)
        return accuracy


    def learning_rate(self):
        """Return the learning rate of the next step."""
        return 1.0 - 0.9 * len(self.losses) / self.steps

    def check(self, reference):
        """Raise AssertionError unless the losses are those of another training."""
        for expected, loss in zip(reference.losses, self.losses, strict=False):
            if not abs(loss - expected) <= 1e-9 * abs(expected):
                raise AssertionError(f"a loss is {loss!r} where it was {expected!r} before")


class CompiledMoonsTraining(MoonsTraining):
    """The same with the loss of one point compiled, and the update by `optim.SGD`."""

    def __init__(self, seed, steps):
        super().__init__("microgradc", seed, steps)
        model = self.model
        self.optimizer = SGD(model.parameters())

        @compile
        def loss(x, y):
            return (1 - y * model(x)).relu() + DECAY * sum(p * p for p in model.parameters())

        self.mean_loss = loss.mean
        self.X, self.y = np.array(self.X), np.array(self.y, float)

    def step(self):
        """Take the next step. The loss and the time in seconds go to `losses` and `times`."""
        begin = perf_counter()
        self.optimizer.zero_grad()
        loss = self.mean_loss(self.X, self.y)
        loss.backward()
        self.optimizer.param_groups[0]["lr"] = self.learning_rate()
        self.optimizer.step()
        self.losses.append(loss.data)
        del loss
        self.times.append(perf_counter() - begin)


def make_folder(folder):
    """Make a folder for the pictures if there is none; raise OSError if no file can be written in it."""
    Path(folder).mkdir(parents=True, exist_ok=True)
    with TemporaryFile(dir=folder):
        pass


def run(steps, seed, folder):
    """Train, print a summary, and draw pictures into a folder that exists."""
    history = History()
    training = MoonsTraining("microgradc", seed, steps)
    parameters = len(training.model.parameters())
    print(f"two moons, {len(training.X)} points; {parameters} parameters in an MLP with layers 2, 16, 16, 1")
    with trange(steps, desc="training", unit="step") as progress:
        for _ in progress:
            accuracy = training.step()
            history.append({"loss": training.losses[-1], "accuracy": accuracy})
            progress.set_postfix(loss=f"{training.losses[-1]:.4f}", accuracy=f"{accuracy:.0%}", refresh=False)
    loss, accuracy = training.loss()
    nodes = sum(1 for v in topological_sort(loss) if v._op)
    print(f"accuracy          {accuracy:.0%}")
    print(f"loss              {training.losses[0]:.4f} at first, {training.losses[-1]:.4f} at last")
    print(f"nodes             {nodes:,} made in a step, {nodes / median(training.times) / 1e6:.1f} million a second")
    print("time of a step    median; the losses are the same")
    for row in _comparison(training, seed):
        print(f"  {row}")
    # At last: micrograd's time goes to the garbage collector, which would go through all that matplotlib imports.
    print(f"pictures          {', '.join(draw(training, history, folder))} in {folder}")


def _comparison(eager, seed):
    """Return a row for each way: compiled, step by step, and micrograd."""
    compiled = CompiledMoonsTraining(seed, eager.steps)
    for _ in range(eager.steps):
        compiled.step()
    compiled.check(eager)
    rows = {"microgradc, compiled": compiled, "microgradc": eager}
    with suppress(ModuleNotFoundError):
        micrograd = MoonsTraining("micrograd", seed, eager.steps)
        for _ in range(min(COMPARED_STEPS, eager.steps)):
            micrograd.step()
        micrograd.check(eager)
        rows["micrograd"] = micrograd
    slowest = median(list(rows.values())[-1].times)
    texts = [f"{name:<22}{median(row.times) * 1e3:10.3f} ms{slowest / median(row.times):12,.0f} x" for name, row in rows.items()]
    return texts if "micrograd" in rows else [*texts, f"{'micrograd':<22}is not installed: `pip install micrograd` and run the demo again"]


def draw(training, history, folder):
    """Draw what the model has learnt, how, and one of its neurons; return the names of the pictures."""
    from microgradc.viz import draw_graph, plot_decision_boundary, plot_history

    figures = {
        "decision-boundary.png": plot_decision_boundary(training.model, training.X, training.y),
        "history.png": plot_history(history),
        "neuron.png": draw_graph(_neuron(training)),
    }
    for name, figure in figures.items():
        figure.savefig(Path(folder, name), dpi=200)
    return list(figures)


def _neuron(training):
    """Return the output of the first neuron for the point that excites it most, with labels and gradients."""
    neuron = training.model.layers[0].neurons[0]
    point = max(training.X, key=lambda x: neuron(x).data)
    out = neuron([Value(number, label=f"x[{i}]") for i, number in enumerate(point)])
    neuron.zero_grad()
    out.backward()
    for i, w in enumerate(neuron.w):
        w.label = f"w[{i}]"
    neuron.b.label, out.label = "b", "output"
    return out
