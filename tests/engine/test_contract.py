"""The drop-in contract: what micrograd programs do, over micrograd itself and over microgradc."""

import copy
import gc
import os
import random
from types import SimpleNamespace

import numpy as np
import pytest

import microgradc
from microgradc.train.data import make_moons


def readme_example(Value):
    a = Value(-4.0)
    b = Value(2.0)
    c = a + b
    d = a * b + b**3
    c += c + 1
    c += 1 + c + (-a)
    d += d * 2 + (b + a).relu()
    d += 3 * d + (b - a).relu()
    e = c - d
    f = e**2
    g = f / 2.0
    g += 10.0 / f
    g.backward()
    return a, b, g


def test_readme_example(engine):
    a, b, g = readme_example(engine.Value)
    assert f"{g.data:.4f}" == "24.7041"
    assert f"{a.grad:.4f}" == "138.8338"
    assert f"{b.grad:.4f}" == "645.5773"


def test_sanity_check(engine):
    def f(x):
        z = 2 * x + 2 + x
        q = z.relu() + z * x
        h = (z * z).relu()
        return x, h + q + q * x

    torch = pytest.importorskip("torch", reason="compares with PyTorch")
    x, y = f(engine.Value(-4.0))
    y.backward()
    xt, yt = f(torch.tensor(-4.0, dtype=torch.float64, requires_grad=True))
    yt.backward()
    assert y.data == yt.item()
    assert x.grad == xt.grad.item()


def test_more_ops(engine):
    torch = pytest.importorskip("torch", reason="compares with PyTorch")
    a, b, g = readme_example(engine.Value)
    at, bt = (torch.tensor(v, dtype=torch.float64, requires_grad=True) for v in (-4.0, 2.0))
    c = at + bt
    d = at * bt + bt**3
    c = c + c + 1
    c = c + 1 + c + (-at)
    d = d + d * 2 + (bt + at).relu()
    d = d + 3 * d + (bt - at).relu()
    e = c - d
    f = e**2
    gt = f / 2.0 + 10.0 / f
    gt.backward()
    assert abs(g.data - gt.item()) < 1e-6
    assert abs(a.grad - at.grad.item()) < 1e-6
    assert abs(b.grad - bt.grad.item()) < 1e-6


def trace(root):
    """From micrograd's trace_graph.ipynb, as people paste it."""
    nodes, edges = set(), set()

    def build(v):
        if v not in nodes:
            nodes.add(v)
            for child in v._prev:
                edges.add((child, v))
                build(child)

    build(root)
    return nodes, edges


def draw_dot(root):
    """The notebook's draw_dot, with lists in place of graphviz's calls."""
    dot_nodes, dot_edges = {}, []
    nodes, edges = trace(root)
    for n in nodes:
        dot_nodes[str(id(n))] = "{ data %.4f | grad %.4f }" % (n.data, n.grad)  # noqa: UP031 (the notebook's own)
        if n._op:
            dot_nodes[str(id(n)) + n._op] = n._op
            dot_edges.append((str(id(n)) + n._op, str(id(n))))
    for n1, n2 in edges:
        dot_edges.append((str(id(n1)), str(id(n2)) + n2._op))
    return dot_nodes, dot_edges


def test_draw_dot(engine):
    x = engine.Value(1.5)
    y = (x * 2 + 1).relu() + x**2
    y.backward()
    nodes, edges = trace(y)
    assert len(nodes) == 8
    assert len(edges) == 8
    assert sorted(n._op for n in nodes) == sorted(["", "", "", "*", "+", "ReLU", "**2", "+"])
    dot_nodes, dot_edges = draw_dot(y)
    assert {end for edge in dot_edges for end in edge} == set(dot_nodes)
    assert "{ data 1.5000 | grad 5.0000 }" in dot_nodes.values()
    assert draw_dot(y) == (dot_nodes, dot_edges) or sorted(draw_dot(y)[1]) == sorted(dot_edges)


def test_reprs(engine):
    random.seed(0)
    assert repr(engine.Value(2.0)) == "Value(data=2.0, grad=0)"
    assert str(engine.Value(-0.5) * 3.0) == "Value(data=-1.5, grad=0)"
    model = engine.nn.MLP(2, [3, 1])
    assert repr(model) == "MLP of [Layer of [ReLUNeuron(2), ReLUNeuron(2), ReLUNeuron(2)], Layer of [LinearNeuron(3)]]"


def test_ops_and_prev(engine):
    Value = engine.Value
    a, b = Value(2.0), Value(3.0)
    assert (a + b)._op == "+"
    assert (a * b)._op == "*"
    assert (a**2)._op == "**2"
    assert (a**2.5)._op == "**2.5"
    assert (a**-1)._op == "**-1"
    assert a.relu()._op == "ReLU"
    assert a._op == ""
    assert a._prev == set()
    assert (a + b)._prev == {a, b}
    assert (a * a)._prev == {a}
    assert (a**3)._prev == {a}
    assert isinstance((a + b)._prev, set)


def test_prev_gives_the_same_objects_at_each_read(engine):
    v = engine.Value(2.0) * 3
    assert {id(n) for n in v._prev} == {id(n) for n in v._prev}
    assert sorted(n.data for n in v._prev) == [2.0, 3.0]
    constant = next(n for n in v._prev if n.data == 3.0)
    v.backward()
    assert constant.grad == 2.0


def test_build_topo_and_backward_by_hand(engine):
    x = engine.Value(3.0)
    y = x * x + (x * 2).relu()
    topo, visited = [], set()

    def build_topo(v):
        if v not in visited:
            visited.add(v)
            for child in v._prev:
                build_topo(child)
            topo.append(v)

    build_topo(y)
    y.grad = 1.0
    for node in reversed(topo):
        node._backward()
    assert x.grad == 8.0


def test_assigning_backward(engine):
    Value = engine.Value
    x = Value(2.0)
    out = Value(x.data**3, (x,), "cube")

    def _backward():
        x.grad += 3 * x.data**2 * out.grad

    out._backward = _backward
    (out * 2.0).backward()
    assert x.grad == 24.0
    assert out._op == "cube"
    assert out._prev == {x}
    assert out._backward is _backward


def test_a_node_built_by_hand_without_a_rule_passes_nothing_back(engine):
    x = engine.Value(2.0)
    out = engine.Value(1.0, (x,))
    (out * 2.0).backward()
    assert out.grad == 2.0
    assert x.grad == 0


def test_subclassing(engine):
    class Named(engine.Value):
        def __init__(self, data, name):
            super().__init__(data)
            self.name = name

        def double(self):
            return self * 2.0

    v = Named(3.0, "v")
    out = v.double() + v
    out.backward()
    assert (v.name, v.grad, out.data) == ("v", 3.0, 9.0)
    assert isinstance(v, engine.Value)
    assert type(out) is engine.Value


def test_a_layer_without_its_constructor(engine):
    class Pair(engine.nn.Layer):
        def __init__(self, nin):
            self.neurons = [engine.nn.Neuron(nin), engine.nn.Neuron(nin)]

    assert len(Pair(2)([1.0, 2.0])) == 2


def test_identity_in_sets_and_dicts(engine):
    a, b = engine.Value(1.0), engine.Value(1.0)
    assert a != b
    assert a == a
    assert len({a, b, a}) == 2
    assert {a: "a", b: "b"}[b] == "b"
    assert b in [a, b]
    assert bool(engine.Value(0.0))


def test_numpy_scalars(engine):
    v = engine.Value(2.0)
    for product in (np.float64(3) * v, v * np.float64(3), v * np.int64(3), np.int64(3) * v, np.float32(3) * v):
        assert isinstance(product, engine.Value)
        assert product.data == 6.0
    total = np.float64(1) + v - np.float64(2)
    total.backward()
    assert (total.data, v.grad) == (1.0, 1.0)


def test_object_arrays(engine):
    a = np.array([engine.Value(1.0), engine.Value(2.0)])
    out = np.sum(a * np.array([3.0, 4.0]) + a @ a)
    out.backward()
    assert out.data == 21.0
    assert [v.grad for v in a] == [7.0, 12.0]


def test_writable_attributes(engine):
    v = engine.Value(1.0)
    v.data -= 0.25
    v.grad = 0
    v.grad += 2.5
    v.label = "weight"
    assert (v.data, v.grad, v.label) == (0.75, 2.5, "weight")


def test_copies(engine):
    v = engine.Value(3.0)
    v.grad = 1.5
    c = copy.deepcopy(v)
    c.data = 4.0
    assert (v.data, c.data, c.grad) == (3.0, 4.0, 1.5)


def test_seeded_model_has_the_same_parameters(engine):
    random.seed(1337)
    model = engine.nn.MLP(2, [16, 16, 1])
    after = random.random()
    random.seed(1337)
    expected = [random.uniform(-1, 1) for _ in range(2 * 16 + 16 * 16 + 16)]
    parameters = model.parameters()
    assert len(parameters) == 337
    assert [p.data for layer in model.layers for n in layer.neurons for p in n.w] == expected
    assert all(n.b.data == 0 for layer in model.layers for n in layer.neurons)
    assert parameters[:3] == [*model.layers[0].neurons[0].w, model.layers[0].neurons[0].b]
    assert after == random.random()


def test_model_call(engine):
    random.seed(3)
    model = engine.nn.MLP(3, [4, 2])
    out = model([1.0, engine.Value(-2.0), 0.5])
    assert [type(v) for v in out] == [engine.Value] * 2
    assert isinstance(engine.nn.MLP(3, [4, 1])([1.0, 2.0, 3.0]), engine.Value)
    sum(out).backward()
    assert any(p.grad for p in model.parameters())
    model.zero_grad()
    assert not any(p.grad for p in model.parameters())


def moons_losses(engine, steps, after_step=lambda: None):
    """The loop of micrograd's demo.ipynb."""
    random.seed(1337)
    X, y = make_moons(100, noise=0.1, random_state=1337)
    y = y * 2 - 1
    model = engine.nn.MLP(2, [16, 16, 1])
    losses = []
    for k in range(steps):
        inputs = [list(map(engine.Value, row)) for row in X]
        scores = list(map(model, inputs))
        hinge = [(1 + -yi * scorei).relu() for yi, scorei in zip(y, scores, strict=True)]
        data_loss = sum(hinge) * (1.0 / len(hinge))
        total_loss = data_loss + 1e-4 * sum(p * p for p in model.parameters())
        model.zero_grad()
        total_loss.backward()
        learning_rate = 1.0 - 0.9 * k / 100
        for p in model.parameters():
            p.data -= learning_rate * p.grad
        losses.append(total_loss.data)
        del total_loss, data_loss, hinge, scores, inputs
        after_step()
    return losses


STEPS = 100 if os.environ.get("MICROGRADC_LONG") else 6     # micrograd's, each takes the better part of a second


@pytest.fixture(scope="module")
def micrograd_losses():
    import micrograd.engine
    import micrograd.nn

    # The collector would go through micrograd's 200,000 closures again and again: ten times as long.
    gc.disable()
    try:
        theirs = SimpleNamespace(Value=micrograd.engine.Value, nn=micrograd.nn)
        return moons_losses(theirs, STEPS, after_step=gc.collect)
    finally:
        gc.enable()


def test_moons_demo(micrograd_losses):
    losses = moons_losses(SimpleNamespace(Value=microgradc.Value, nn=microgradc.nn), 100)
    assert losses[:STEPS] == pytest.approx(micrograd_losses, rel=1e-9, abs=0)
    assert losses[-1] < 0.05 < losses[0]
