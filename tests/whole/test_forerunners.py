"""What the READMEs of five earlier projects show, with only the import changed.

They are reimplementations of micrograd, each with additions of its own. Their code stands here as they print it.
"""

import math
import random

import numpy as np
import pytest

import microgradc


@pytest.fixture(autouse=True)
def seeded():
    random.seed(1337)


def run(program, **names):
    exec(program, names)
    return names


# Micro-Autograd & MLP Engine: a custom function, differentiated numerically; MSE as a sum; two blobs.


def test_autograd_example(capsys):
    run("""
from microgradc import Value

a = Value(2.0, label="a")
b = Value(-3.0, label="b")
c = a * b + Value(10.0)
c.backward()

print(a.grad)  # dc/da = b
""")
    assert float(capsys.readouterr().out) == -3.0


def test_custom_function(capsys):
    run("""
import numpy as np
from microgradc import Value

x = Value(0.5)
y = x.func(np.exp)  # Differentiates np.exp numerically
y.backward()

print(x.grad)
""")
    assert float(capsys.readouterr().out) == pytest.approx(math.exp(0.5), rel=1e-9)


def test_mlp_example(capsys):
    run("""
from microgradc import MLP

# 2 inputs → two hidden layers (4,4) → 1 output
model = MLP(2, [4, 4, 1])

x = [2.0, 3.0]
print(model(x))
""")
    assert capsys.readouterr().out == "Value(data=0.9767377200426484, grad=0)\n"


def test_training_on_blobs():
    """Its MLP has a training loop with a learning rate and a loss; the loss is a sum of squares."""
    names = run("""
from microgradc import MLP
from microgradc.train.data import make_blobs
from microgradc.losses import mse_loss

X, y = make_blobs(n_samples=60, centers=[[-2.0, -2.0], [2.0, 2.0]], random_state=0)
y = 2.0 * y - 1
model = MLP(2, [4, 4, 1])
history = model.fit(
    X, y, loss=lambda p, t: mse_loss(p, t, reduction="sum"), optimizer="sgd", lr=0.001, epochs=150, seed=0,
    progress=False,
)
right = sum((model(x).data > 0) == (t > 0) for x, t in zip(X, y))
""")
    assert names["right"] == 60
    assert names["history"].loss[-1] < names["history"].loss[0] / 5


# MicroGrad - Autograd & Neural Nets from Scratch: two moons with an SVM loss and hand-written gradient descent; its
# list of things to come.


def test_two_moons_with_max_margin_and_gradient_descent():
    names = run("""
from microgradc import MLP
from microgradc.train.data import make_moons
import numpy as np

X, y = make_moons(n_samples=100, noise=0.1, random_state=1)
y = y*2 - 1
model = MLP(2, [16, 16, 1])

for k in range(100):
    scores = list(map(model, X))
    losses = [(1 + -yi*scorei).relu() for yi, scorei in zip(y, scores)]
    data_loss = sum(losses) * (1.0 / len(losses))
    reg_loss = 1e-4 * sum((p*p for p in model.parameters()))
    total_loss = data_loss + reg_loss
    accuracy = [(yi > 0) == (scorei.data > 0) for yi, scorei in zip(y, scores)]
    model.zero_grad()
    total_loss.backward()
    learning_rate = 1.0 - 0.9*k/100
    for p in model.parameters():
        p.data -= learning_rate * p.grad
""")
    assert sum(names["accuracy"]) == 100


def test_what_it_lists_as_future_work():
    """Batched inputs, cross-entropy, softmax, dropout, more activations, a visualization tool for the graph."""
    names = run("""
from microgradc import Dropout, Layer, Sequential, Value, cross_entropy, draw_graph, softmax
model = Sequential(Layer(2, 8, activation="gelu"), Dropout(0.1, seed=0), Layer(8, 3, nonlin=False))
logits = model([[1.0, 2.0], [3.0, 4.0]])
loss = cross_entropy(logits, [0, 2])
loss.backward()
probabilities = softmax(logits[0])
picture = draw_graph(Value(1.0, label="a") + Value(2.0, label="b"))
""")
    assert sum(names["probabilities"]).data == pytest.approx(1)
    assert any(p.grad for p in names["model"].parameters())
    assert names["picture"] is not None


# Micrograd MLP: tanh neurons, mean squared error, manual gradient descent, the loss's graph with Graphviz.


def test_a_tanh_mlp_and_the_graph_of_its_loss():
    names = run("""
from microgradc import MLP, draw_dot

xs = [[2.0, 3.0, -1.0], [3.0, -1.0, 0.5], [0.5, 1.0, 1.0], [1.0, 1.0, -1.0]]
ys = [1.0, -1.0, -1.0, 1.0]
model = MLP(3, [4, 4, 1], activation="tanh", output_activation="tanh")
losses = []
for step in range(50):
    loss = sum((model(x) - y) ** 2 for x, y in zip(xs, ys)) / len(xs)
    for p in model.parameters():
        p.grad = 0.0
    loss.backward()
    for p in model.parameters():
        p.data -= 0.1 * p.grad
    losses.append(loss.data)
graph = draw_dot(loss, collapse=False)
""")
    assert names["losses"][-1] < names["losses"][0] / 10
    for operation in ("tanh", "dot", "+", "/", "**2"):
        assert operation in names["graph"].source


# MicroGrad-NumPy: the PyTorch-like API.


def test_labels(capsys):
    run("""
from microgradc import Value

a = Value(2.0, label='a')
b = Value(3.0, label='b')
c = a * b + a  # c = 2*3 + 2 = 8
c.backward()

print(f"dc/da = {a.grad}")  # dc/da = b + 1 = 4
print(f"dc/db = {b.grad}")  # dc/db = a = 2
""")
    assert capsys.readouterr().out == "dc/da = 4.0\ndc/db = 2.0\n"


def test_its_table_of_operations():
    from microgradc import Value

    for f, value, gradient in [
        (lambda v: v + 3, 5, 1),
        (lambda v: v * 3, 6, 3),
        (lambda v: v**3, 8, 12),
        (Value.relu, 2, 1),
        (Value.tanh, math.tanh(2), 1 - math.tanh(2) ** 2),
        (Value.sigmoid, 1 / (1 + math.exp(-2)), math.exp(-2) / (1 + math.exp(-2)) ** 2),
        (Value.exp, math.exp(2), math.exp(2)),
        (Value.log, math.log(2), 0.5),
    ]:
        a = Value(2.0)
        out = f(a)
        out.backward()
        assert (out.data, a.grad) == (pytest.approx(value), pytest.approx(gradient))


@pytest.mark.parametrize("loss", ["mse_loss", "hinge_loss", "binary_cross_entropy_with_logits"])
@pytest.mark.parametrize("optimizer", ["SGD", "Adam"])
def test_pytorch_like_training_loop(loss, optimizer):
    X, y = microgradc.data.make_moons(40, noise=0.1, random_state=0)
    y = y if loss.startswith("binary") else 2 * y - 1
    names = run(
        f"""
from microgradc import MLP, {optimizer}, {loss}, Value

# Create model: 2 inputs → 4 hidden → 4 hidden → 1 output
model = MLP(2, [4, 4, 1])

# Training loop
optimizer = {optimizer}(model.parameters(), lr=0.1)
history = []

for epoch in range(100):
    # Forward pass
    predictions = [model([Value(x[0]), Value(x[1])]) for x in X]
    loss = {loss}(predictions, y)

    # Backward pass
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    history.append(loss.data)
""",
        X=X,
        y=y,
    )
    assert names["history"][-1] < 0.7 * names["history"][0]


def test_its_other_names():
    from microgradc import Layer, Module, Neuron, Value, binary_cross_entropy, topological_sort

    assert isinstance(Neuron(2), Module)
    assert isinstance(Layer(2, 3), Module)
    a = Value(2.0)
    b = a * a
    assert topological_sort(b) == [a, b]
    p = Value(0.5)
    binary_cross_entropy([p], [1]).backward()
    assert p.grad == -2.0


# micrograd.py - Enhanced Autograd Engine: matplotlib pictures, mini-batches, 3-4-4-1 on four points for 20 steps.


def test_labelled_expression_drawn_with_matplotlib(tmp_path):
    names = run("""
from microgradc import Value, draw_graph

a = Value(2.0, label='a')
b = Value(-3.0, label='b')
c = Value(10.0, label='c')
e = a * b; e.label = 'e'
d = e + c; d.label = 'd'
f = Value(-2.0, label='f')
L = d * f; L.label = 'L'
L.backward()
figure = draw_graph(L)
""")
    assert (names["a"].grad, names["L"].data) == (6.0, -8.0)
    names["figure"].savefig(tmp_path / "graph.png")


def test_four_points_twenty_steps():
    names = run("""
from microgradc import MLP

xs = [[2.0, 3.0, -1.0], [3.0, -1.0, 0.5], [0.5, 1.0, 1.0], [1.0, 1.0, -1.0]]
ys = [1.0, -1.0, -1.0, 1.0]
n = MLP(3, [4, 4, 1], activation="tanh", output_activation="tanh")
learning_rate = 0.1
losses = []
for k in range(20):
    ypred = [n(x) for x in xs]
    loss = sum((yout - ygt)**2 for ygt, yout in zip(ys, ypred))
    for p in n.parameters():
        p.grad = 0.0
    loss.backward()
    for p in n.parameters():
        p.data -= learning_rate * p.grad
    losses.append(loss.data)
ypred = [n(x) for x in xs]
""")
    assert names["losses"][-1] < 0.1 * names["losses"][0]
    assert [v.data > 0 for v in names["ypred"]] == [True, False, False, True]


def test_minibatches_and_optimizers():
    X, y = microgradc.data.make_moons(60, noise=0.1, random_state=0)
    names = run(
        """
from microgradc import MLP, Adam, batches, hinge_loss

model = MLP(2, [8, 1], activation="tanh")
optimizer = Adam(model.parameters(), lr=0.05)
for epoch in range(60):
    for Xb, yb in batches(X, y, batch_size=16):
        loss = hinge_loss(model(Xb), yb)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
""",
        X=X,
        y=2 * y - 1,
    )
    assert microgradc.accuracy(names["model"], X, 2 * y - 1) > 0.9
    assert np.isfinite(names["loss"].data)
