"""python -m microgradc demo: micrograd's demo notebook, with progress, a summary, pictures, and a comparison: compiled,
and micrograd."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from statistics import median
from tempfile import TemporaryFile
from time import perf_counter
from typing import Any

from tqdm import trange

from microgradc import Value, topological_sort
from microgradc.cli.moons import compiled_step, demo_loss, points, scalar_step, seeded
from microgradc.train.history import History

COMPARED_STEPS = 5        # of micrograd, which is slow
COMPARED_LOSSES = 1000


class Training:
    """A training on two moons as in micrograd's notebook: the learning rate falls from 1 to 0.1.

    Args:
        package: 'microgradc' or 'micrograd'.
        seed: for the data and the initial weights.
        steps: how many steps the training has.
        compiled: whether the loss of one point is compiled.
    """

    def __init__(self, package: str, seed: int, steps: int, compiled: bool = False) -> None:
        self.model: Any = seeded(import_module(f"{package}.nn").MLP, seed)
        self.steps = steps
        self.losses: list[float] = []
        self.times: list[float] = []
        self.accuracy = 0.0
        self.X, self.y = points(seed)
        rates = (1.0 - 0.9 * step / steps for step in range(steps))
        make = compiled_step(self.model, seed=seed, rates=rates) if compiled else None
        self._step = make or scalar_step(self.model, float, self.loss_of, seed=seed, rates=rates)

    def loss_of(self, scores: Sequence[Any], y: Sequence[float], parameters: Sequence[Any]) -> Any:
        """Return the loss, a Value; note the accuracy, the share of points on the right side."""
        right = sum((score.data > 0) == (target > 0) for target, score in zip(y, scores, strict=True))
        self.accuracy = right / len(scores)
        return demo_loss(scores, y, parameters)

    def loss(self) -> Any:
        """Return the loss of the model as it is."""
        return self.loss_of(list(map(self.model, self.X)), self.y, self.model.parameters())

    def step(self) -> None:
        """Take the next step. The loss before it and the time in seconds go to `losses` and `times`."""
        begin = perf_counter()
        self.losses.append(self._step())
        self.times.append(perf_counter() - begin)

    def check(self, reference: Training) -> None:
        """Raise AssertionError unless the losses are those of another training.

        The first ones, for a long training enlarges the rounding in which two ways to add differ.
        """
        for expected, loss in zip(reference.losses[:COMPARED_LOSSES], self.losses, strict=False):
            if not abs(loss - expected) <= 1e-9 * abs(expected):
                raise AssertionError(f"a loss is {loss!r} where it was {expected!r} before")


def make_folder(folder: Path | str) -> None:
    """Make a folder for the pictures if there is none; raise OSError if no file can be written in it."""
    Path(folder).mkdir(parents=True, exist_ok=True)
    with TemporaryFile(dir=folder):
        pass


def run(steps: int, seed: int, folder: Path | str) -> None:
    """Train, print a summary, and draw pictures into a folder that exists."""
    history = History()
    training = Training("microgradc", seed, steps)
    parameters = len(training.model.parameters())
    print(f"two moons, {len(training.X)} points; {parameters} parameters in an MLP with layers 2, 16, 16, 1")
    with trange(steps, desc="training", unit="step") as progress:
        for _ in progress:
            training.step()
            history.append({"loss": training.losses[-1], "accuracy": training.accuracy})
            progress.set_postfix(loss=f"{training.losses[-1]:.4f}", accuracy=f"{training.accuracy:.0%}", refresh=False)
    loss = training.loss()
    nodes = sum(1 for v in topological_sort(loss) if v._op)
    print(f"accuracy          {training.accuracy:.0%}")
    print(f"loss              {training.losses[0]:.4f} at first, {training.losses[-1]:.4f} at last")
    print(f"nodes             {nodes:,} made in a step, {nodes / median(training.times) / 1e6:.1f} million a second")
    print("time of a step    median; the losses are the same")
    for row in _comparison(training, seed):
        print(f"  {row}")
    # At last: micrograd's time goes to the garbage collector, which would go through all that matplotlib imports.
    print(f"pictures          {', '.join(draw(training, history, folder))} in {folder}")


def _comparison(eager: Training, seed: int) -> list[str]:
    """Return a row for each way: compiled, step by step, and micrograd."""
    compiled = Training("microgradc", seed, eager.steps, compiled=True)
    for _ in range(eager.steps):
        compiled.step()
    compiled.check(eager)
    rows = {"microgradc, compiled": compiled, "microgradc": eager}
    with suppress(ModuleNotFoundError):
        micrograd = Training("micrograd", seed, eager.steps)
        for _ in range(min(COMPARED_STEPS, eager.steps)):
            micrograd.step()
        micrograd.check(eager)
        rows["micrograd"] = micrograd
    slowest = median(list(rows.values())[-1].times)
    texts = [
        f"{name:<22}{median(row.times) * 1e3:10.3f} ms{slowest / median(row.times):12,.0f} x"
        for name, row in rows.items()
    ]
    return (
        texts
        if "micrograd" in rows
        else [*texts, f"{'micrograd':<22}is not installed: `pip install micrograd` and run the demo again"]
    )


def draw(training: Training, history: History, folder: Path | str) -> list[str]:
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


def _neuron(training: Training) -> Value:
    """Return the output of the first neuron for the point that excites it most, with labels and gradients."""
    neuron = training.model.layers[0].neurons[0]
    point = max(training.X, key=lambda x: neuron(x).data)
    out: Value = neuron([Value(number, label=f"x[{i}]") for i, number in enumerate(point)])
    neuron.zero_grad()
    out.backward()
    for i, w in enumerate(neuron.w):
        w.label = f"w[{i}]"
    neuron.b.label, out.label = "b", "output"
    return out
