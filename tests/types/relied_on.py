"""The types that users rely on: `assert_type` is looked at by mypy and pyright, and by a test when this runs."""

from collections.abc import Sequence
from typing import Any, assert_type

import numpy as np
from numpy.typing import NDArray

import microgradc as mg
from microgradc import History, Module, Value, nn, optim
from microgradc.program.compile import Compiled

a, b = Value(2.0), Value(3.0)
floats: NDArray[np.float64] = np.ones(2)

# The engine.
assert_type(a.data, float)
assert_type(a.grad, float)
assert_type(a + b, Value)
assert_type(2 * a - 1 / b, Value)
assert_type(a**2, Value)
assert_type(-a, Value)
assert_type(a == b, bool)
assert_type(a < 1.0, bool)
assert_type(a.relu().tanh().exp(), Value)
assert_type(sum([a, b], Value(0)), Value)
assert_type(mg.sum([a, b]), Value)
assert_type(mg.sum(x * x for x in [a, b]), Value)
assert_type(mg.sum([1.0, 2.0]), float)
assert_type(mg.dot([a, b], [1.0, 2.0]), Value)
assert_type(mg.softmax([a, b]), list[Value])
assert_type(mg.exp(a), Value)
assert_type(mg.exp(1.0), float)
assert_type(mg.maximum(a, 0.0), Value)
assert_type(mg.less(a, 0.0), Value)
assert_type(mg.where(a, 1.0, b), Value)
assert_type(mg.topological_sort(a + b), list[Value])
assert_type(a._children, tuple[Value, ...])


@mg.no_grad()
def with_parentheses(x: float, *, scale: int = 2) -> str:
    return str(x * scale)


@mg.no_grad
def without(x: float) -> list[float]:
    return [x]


assert_type(with_parentheses(1.0, scale=3), str)
assert_type(without(1.0), list[float])


@mg.function
def twice(x: float) -> float:
    return 2.0 * x


with mg.detect_anomaly():
    assert_type(twice(a), Value)
assert_type(twice(1.0), float)

# Arrays.
w = mg.array([[1.0, 2.0], [3.0, 4.0]])
assert_type(w, NDArray[np.object_])
assert_type(mg.to_numpy(w), NDArray[np.float64])
assert_type(mg.grads(w), NDArray[np.float64])

# Networks: what a model gives depends on its size and on its argument; a neuron gives one Value.
model = nn.MLP(2, [4, 1], seed=0)
assert_type(model([1.0, 2.0]), Any)
assert_type(nn.Neuron(2)([1.0, 2.0]), Value)
assert_type(nn.Neuron(2)([a, b]), Value)
assert_type(model.parameters(), list[Value])
assert_type(model.state_dict(), dict[str, NDArray[np.float64]])
assert_type(model.eval(), nn.MLP)
assert_type(model.vector(), NDArray[np.float64])
X, y = mg.make_moons(20, random_state=0)
assert_type(X, NDArray[np.float64])
assert_type(y, NDArray[np.int64])
history = model.fit(X, y, epochs=1, progress=False)
assert_type(history, History)
assert_type(mg.fit(model, X, y, epochs=1, progress=False), History)
assert_type(history.loss, list[float])
assert_type(model.predict(X), NDArray[Any])
assert_type(model.predict_proba(X), NDArray[np.float64])
assert_type(model.outputs([[1.0, 2.0]]), NDArray[np.float64])
assert_type(mg.accuracy(model, X, y), float)


def load_model() -> Module:
    return assert_type(mg.load_model("model.safetensors"), Module)


# Losses, optimizers and batches.
assert_type(mg.mse_loss([a, b], [1.0, 2.0]), Value)
assert_type(mg.cross_entropy([a, b], 1, label_smoothing=0.1), Value)
assert_type(mg.hinge_loss([[a], [b]], [[1], [-1]], "sum"), Value)
assert_type(mg.l1_loss([0.5, 1.0], [1.0, 2.0]), float)
assert_type(mg.mse_loss([a, b], [1.0, 2.0], reduction="none"), Any)
optimizer = optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
assert_type(optimizer.step(), None)
assert_type(optimizer.step(lambda: 1.5), float)
assert_type(mg.clip_grad_norm_(model.parameters(), 1.0), float)
for rows, targets in mg.batches(X, y, 5):
    assert_type(rows, NDArray[np.float64])
    assert_type(targets, NDArray[np.int64])
for numbers, names in mg.batches([[1.0], [2.0]], ["a", "b"], 1):
    assert_type(numbers, list[list[float]])
    assert_type(names, list[str])


# Compiled functions keep their parameters.
@mg.compile
def error(x: Sequence[Value | float], target: Value | float, *, power: int = 2) -> Value:
    return (mg.dot(x, [a, b]) - target) ** 2


@mg.compile(shared=("theta",), static=("power",))
def shared(x: Value | float, theta: Sequence[Value | float], power: int) -> Value:
    return (theta[0] * x + theta[1] + 0.0 * a) ** power


@mg.compile
def square(x: float, w: float) -> float:
    return w * x * x


@mg.compile
def of_values(x: Value, ys: Sequence[Value]) -> Value:
    return x * mg.sum(ys)


assert_type(error([1.0, 2.0], 3.0), Value)
assert_type(of_values(1.0, [2.0, 3.0]), Value)     # numbers may be given where the text says Value
assert_type(of_values(a, floats), Value)
assert_type(square(2.0, 3.0), Value)
assert_type(square.mean([2.0], [1.0]), Value)
assert_type(shared(1.0, [1.0, 2.0], power=2), Value)
assert_type(error.mean([[1.0, 2.0]], [3.0]), Value)
assert_type(error.value_and_grad([1.0, 2.0], 3.0), tuple[float, Any])
assert_type(shared.mean_value_and_grad(floats, floats, 2), tuple[float, Any])
assert_type(error.map_value_and_grad([[1.0, 2.0]], [3.0])[0], NDArray[np.float64])


def number_of_parameters(f: Compiled[[float], Value]) -> int:
    return len(f.program(1.0).parameters)


# Derivatives: of a number a number, of a Value a Value, of an array an array.
def cube(x: Value | float) -> Value | float:
    return x * x * x


def product(x: Sequence[Value]) -> Value:
    return x[0] * x[1] ** 2


assert_type(mg.grad(cube)(2.0), float)
assert_type(mg.grad(cube)(a), Value)
assert_type(mg.grad(mg.grad(cube))(2.0), float)
assert_type(mg.grad(product)(floats), NDArray[np.float64])
assert_type(mg.grad(product)([1.0, 2.0]), NDArray[np.float64])
assert_type(mg.value_and_grad(product)(floats), tuple[float, NDArray[np.float64]])
assert_type(mg.hessian(product)(floats), NDArray[np.float64])
assert_type(mg.hessian(product, sparse=True)(floats), Any)
assert_type(mg.hvp(product, floats, floats), NDArray[np.float64])
assert_type(mg.gradients(a * b, a), Value)
assert_type(mg.gradients(a * b, [a, b]), list[Value])


def step(carry: Value, x: float) -> tuple[Value, Value]:
    return carry * x, carry


end, path = mg.scan(step, a, [1.0, 2.0])
assert_type(path, list[Value])
assert_type(end, Value)


def swing(state: tuple[Value, Value], _: None) -> tuple[tuple[Value, Value], None]:
    angle, speed = state
    return (angle + 0.1 * speed, speed - 0.1 * angle), None


state, nothing = mg.scan(swing, (a, 0.0), length=10)
assert_type(state, tuple[Value, Value])
assert_type(nothing, None)
