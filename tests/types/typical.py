"""What users write, in one program: clean under mypy --strict and pyright, and it runs."""

import random
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import microgradc as mg
from microgradc import MLP, Module, Value, nn, optim


def lecture() -> list[float]:
    """Train as in the lecture: a loop by hand."""
    random.seed(1337)
    xs = [[2.0, 3.0, -1.0], [3.0, -1.0, 0.5], [0.5, 1.0, 1.0], [1.0, 1.0, -1.0]]
    ys = [1.0, -1.0, -1.0, 1.0]
    model = MLP(3, [4, 4, 1], activation="tanh")
    losses: list[float] = []
    for step in range(20):
        predictions: list[Value] = [model(x) for x in xs]
        loss = sum(((out - y) ** 2 for y, out in zip(ys, predictions, strict=True)), Value(0.0))
        loss += 1e-4 * mg.sum(p * p for p in model.parameters())
        model.zero_grad()
        loss.backward()
        for p in model.parameters():
            p.data -= (0.1 - 0.004 * step) * p.grad
        losses.append(loss.data)
    return losses


class Line(Module):
    """A model of one's own."""

    def __init__(self) -> None:
        self.slope, self.intercept = Value(0.5, label="slope"), Value(0.0)

    def forward(self, x: Sequence[float]) -> Value:
        return self.slope * x[0] + self.intercept


def trained(folder: Path) -> float:
    """Train with fit, save, load and predict."""
    X, y = mg.make_moons(60, noise=0.1, random_state=0)
    model = nn.MLP(2, [8, 1], seed=0)
    history = model.fit(X, y, epochs=3, lr=0.05, batch_size=20, validation=0.25, seed=0, progress=False)
    model.save(folder / "model.safetensors")
    labels = mg.load_model(folder / "model.safetensors").predict(X)
    print(history.loss[-1], (labels == y).mean(), mg.accuracy(model, X, y))
    line = Line()
    optimizer = optim.Adam(line.parameters(), lr=0.1)
    schedule = optim.StepLR(optimizer, step_size=5)
    for inputs, targets in mg.batches([[0.0], [1.0], [2.0]], [1.0, 3.0, 5.0], batch_size=3, seed=0):
        total = mg.mse_loss([line(x) for x in inputs], targets)
        optimizer.zero_grad()
        total.backward()
        mg.clip_grad_norm_(line.parameters(), 1.0)
        optimizer.step()
        schedule.step()
    return history.loss[-1]


@mg.compile(shared=("theta",))
def error(x: Value, y: Value, theta: Sequence[Value]) -> Value:
    """A scalar function that is replayed over batches."""
    return (theta[0] + theta[1] * x - y) ** 2


def rosenbrock(x: Sequence[Value]) -> Value:
    return (1 - x[0]) ** 2 + 100 * (x[1] - x[0] ** 2) ** 2


def derivatives() -> NDArray[np.float64]:
    """Derivatives, arrays and loops."""
    x, y = np.linspace(0.0, 1.0, 10), np.linspace(1.0, 2.0, 10)
    value, gradient = error.mean_value_and_grad(x, y, np.zeros(2))
    hessian = mg.hessian(rosenbrock)(np.ones(2))
    weights = mg.array([[1.0, 2.0], [3.0, 4.0]])
    squares: Value = np.sum(weights @ weights)
    squares.backward()
    end, path = mg.scan(lambda carry, rate: (carry * rate, carry), Value(1.0), [0.5, 0.25])
    end.backward()
    with mg.no_grad():
        print(value, gradient.shape, mg.grads(weights).sum(), len(path), mg.exp(Value(1.0)).data)
    return hessian + mg.to_numpy(weights)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as name:
        results = lecture()[-1], trained(Path(name)), derivatives().shape
    print(*results, file=sys.stderr)
