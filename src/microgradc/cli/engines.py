"""The engines whose speed is compared: how each takes the moons step.

An engine is a function, NAME_step, that returns a function of no arguments, which takes the next step and returns the
loss before it. All begin with the same parameters.
"""

# ruff: noqa: B905 -- zip as micrograd writes it

from __future__ import annotations

import gc
from collections.abc import Callable, Sequence
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from typing import Any, NamedTuple

from microgradc import Value, __version__, nn
from microgradc.cli.moons import DECAY, RATE, compiled_step, points, scalar_step, seeded

Step = Callable[[], float]     # takes the next step, and returns the loss before it


def micrograd_step() -> Step:
    """Return the step of micrograd, as it is installed."""
    from micrograd import engine
    from micrograd import nn as micrograd_nn

    return scalar_step(seeded(micrograd_nn.MLP), engine.Value)


def collect_by_hand() -> None:
    """Collect garbage, and keep the collector from doing it by itself: half to nine tenths of micrograd's time is spent
    there."""
    gc.disable()
    gc.collect()


class SumNeuron(nn.Neuron):
    """A neuron whose weighted sum is micrograd's expression, a node for each product and each addition."""

    def __init__(self, neuron: nn.Neuron) -> None:
        self.w, self.b, self.nonlin = neuron.w, neuron.b, neuron.nonlin

    def __call__(self, x: Any) -> Any:
        act = sum((wi * xi for wi, xi in zip(self.w, x)), self.b)
        return act.relu() if self.nonlin else act


class FloatNeuron(nn.Neuron):
    """The same neuron on Python floats."""

    def __init__(self, neuron: nn.Neuron) -> None:
        numbers: Any = [w.data for w in neuron.w], neuron.b.data
        (self.w, self.b), self.nonlin = numbers, neuron.nonlin

    def __call__(self, x: Any) -> Any:
        act = sum((wi * xi for wi, xi in zip(self.w, x)), self.b)
        return 0.0 if self.nonlin and act < 0 else act


def with_neurons(kind: Callable[[nn.Neuron], nn.Neuron]) -> Any:
    """Return the seeded model with neurons of another kind."""
    model = seeded(nn.MLP)
    for layer in model.layers:
        layer.neurons = [kind(neuron) for neuron in layer.neurons]
    return model


def float_step() -> Step:
    """Return the control: the loops of the forward pass and of the update, no derivatives; its parameters stay as they
    are."""
    model = with_neurons(FloatNeuron)
    parameters = [p for layer in model.layers for neuron in layer.neurons for p in (*neuron.w, neuron.b)]
    X, y = points()

    def step() -> float:
        inputs = [list(map(float, row)) for row in X]
        scores = list(map(model, inputs))
        losses = [max(1 + -yi * scorei, 0.0) for yi, scorei in zip(y, scores)]
        loss = sum(losses) * (1.0 / len(losses)) + DECAY * sum(p * p for p in parameters)
        for p in parameters:
            p -= RATE * 0.0
        return loss
    return step


def one_thread_step() -> Step:
    """Return the step with the loss of one point compiled, on one thread."""
    from microgradc.program import set_num_threads

    set_num_threads(1)
    return compiled_step(seeded(nn.MLP))


def torch_step() -> Step:
    """Return the step of PyTorch, all points at once."""
    import torch

    torch.set_num_threads(1)
    X, y = (torch.tensor(numbers, dtype=torch.float64) for numbers in points())
    linear, relu = torch.nn.Linear, torch.nn.ReLU
    model: Any = torch.nn.Sequential(linear(2, 16), relu(), linear(16, 16), relu(), linear(16, 1)).double()
    for to, layer in zip(model[::2], seeded(nn.MLP).layers):
        to.weight.data[:] = torch.tensor([[w.data for w in neuron.w] for neuron in layer.neurons], dtype=torch.float64)
        to.bias.data[:] = torch.tensor([neuron.b.data for neuron in layer.neurons], dtype=torch.float64)
    parameters = list(model.parameters())

    def loss_of() -> Any:
        return (1 - y * model(X).squeeze(1)).relu().mean() + DECAY * sum((p * p).sum() for p in parameters)

    return torch_loop(loss_of, parameters, RATE)


def torch_loop(loss_of: Callable[[], Any], parameters: Sequence[Any], rate: float) -> Step:
    """Return the step of a training loop in PyTorch, the parameters updated in place: faster than an optimizer
    object."""
    import torch

    def step() -> float:
        loss = loss_of()
        for p in parameters:
            p.grad = None
        loss.backward()
        with torch.no_grad():
            for p in parameters:
                p.sub_(p.grad, alpha=rate)
        return loss.item()
    return step


class Engine(NamedTuple):
    """A row of the table, and how many steps make a turn."""

    project: str  # on the Python package index
    make_step: Callable[[], Step]
    turn: int = 10
    learns: bool = True
    between: Callable[[], object] = lambda: None  # what is done between two steps, untimed


ENGINES = {
    "micrograd": Engine("micrograd", micrograd_step, turn=2),
    "micrograd, garbage collector off": Engine("micrograd", micrograd_step, turn=2, between=collect_by_hand),
    "microgradc, micrograd's expression": Engine("microgradc", lambda: scalar_step(with_neurons(SumNeuron), Value)),
    "microgradc.nn": Engine("microgradc", lambda: scalar_step(seeded(nn.MLP), Value)),
    "microgradc, compiled": Engine("microgradc", one_thread_step, turn=100),
    "PyTorch eager, batched": Engine("torch", torch_step),
    "Python floats, no autograd": Engine("microgradc", float_step, learns=False),
}


def installed_version(project: str) -> str | None:
    """Return the version of a project, None if it is not installed."""
    with suppress(PackageNotFoundError):
        return __version__ if project == "microgradc" else version(project)
    return None
