"""PyTorch's spellings: backward(gradient, retain_graph), detach, zero_grad(set_to_none)."""

import math

import pytest
import torch

import microgradc
from microgradc import SGD, Value, compile, nn


def both(f, *numbers):
    """Run f on Values and on tensors; return the gradients of the two."""
    values = [Value(x) for x in numbers]
    tensors = [torch.tensor(x, dtype=torch.float64, requires_grad=True) for x in numbers]
    f(*values)
    f(*tensors)
    return [v.grad for v in values], [0.0 if t.grad is None else t.grad.item() for t in tensors]


def seeded(x, y):
    z = (x * y).tanh()
    seed = 2.5 if isinstance(x, Value) else torch.tensor(2.5).double()
    z.backward(seed, retain_graph=True)
    z.backward(gradient=seed * -3, retain_graph=False)


def of_a_leaf(x, y):
    (x if isinstance(x, Value) else x * 1).backward(4.0 if isinstance(x, Value) else torch.tensor(4.0).double())


def cut(x, y):
    (x * y.detach() + (x * x).detach() * y).backward()


@pytest.mark.parametrize("f", [seeded, of_a_leaf, cut])
def test_gradients_are_those_of_pytorch(f):
    ours, theirs = both(f, 0.5, -0.75)
    assert ours == pytest.approx(theirs, rel=1e-14)


def test_a_seed_of_any_number():
    for seed in (0, -0.0, 1, True, math.inf, 1e-300):
        x = Value(3.0)
        y = x * 2
        y.backward(seed)
        assert (y.grad, x.grad) == (seed, 2 * seed)
    x = Value(3.0)
    (x * 2).backward(math.nan)
    assert math.isnan(x.grad)


def test_hooks_and_several_outputs_get_the_seed():
    seen = []
    x = Value(1.0)
    y = x * 3
    y.register_hook(seen.append)
    y.backward(0.5)
    assert seen == [0.5]
    assert x.grad == 1.5
    f = compile(lambda a, b: (a * b, a + b))
    w = Value(2.0)
    f(w, 5.0)[0].backward(10.0)
    assert w.grad == 50.0


def test_what_is_no_gradient():
    y = Value(1.0) * 2
    with pytest.raises(TypeError, match="gradient must be a real number, got str 'x'"):
        y.backward("x")
    with pytest.raises(TypeError, match=r"gradient must be a real number, got .*Value"):
        y.backward(Value(1.0))
    with pytest.raises(TypeError, match="retain_graph must be True, False or None, got int 1"):
        y.backward(None, 1)
    assert y.grad == 0.0


def test_detach():
    x = Value(3.0, label="x")
    y = (x * x).detach()
    assert (y.data, y._op, y._prev, y.label) == (9.0, "", set(), "")
    assert x.detach() is not x
    with pytest.raises(TypeError):
        x.detach(1)


def test_detach_in_a_compiled_function():
    def f(x, y):
        return x * y.detach() + (x * x).detach() * y.detach().exp()

    compiled = compile(f)
    values = [Value(0.5), Value(-0.75)]
    f(*values).backward()
    value, slopes = compiled.value_and_grad(0.5, -0.75)
    assert value == pytest.approx(f(Value(0.5), Value(-0.75)).data)
    assert slopes == pytest.approx([v.grad for v in values])
    w = Value(2.0)
    g = compile(lambda x: w.detach() * w * x)
    g.mean([1.0, 3.0]).backward()
    assert w.grad == 4.0


@pytest.mark.parametrize("set_to_none", [True, False])
def test_zero_grad(set_to_none):
    model = nn.MLP(2, [3, 1], seed=0)
    optimizer = SGD(model.parameters(), lr=0.1)
    for f in (model.zero_grad, optimizer.zero_grad):
        model([1.0, 2.0]).backward()
        assert any(p.grad for p in model.parameters())
        f(set_to_none=set_to_none)
        assert {p.grad for p in model.parameters()} == {0.0}
        with pytest.raises(TypeError, match="set_to_none must be True or False"):
            f(None)


def test_code_of_pytorch_runs():
    """A loop as it is written for PyTorch."""
    w = Value(0.0)
    optimizer = microgradc.NAdam([w], lr=0.1)
    for _ in range(200):
        optimizer.zero_grad(set_to_none=True)
        loss = microgradc.smooth_l1_loss(w, 2.0)
        loss.backward(retain_graph=True)
        optimizer.step()
    assert loss.detach().item() < 1e-3


def test_backward_of_a_leaf_adds_to_its_gradient():
    x, t = Value(2.0), torch.tensor(2.0, dtype=torch.float64, requires_grad=True)
    x.backward()
    t.backward()
    x.backward(3.0)
    t.backward(torch.tensor(3.0, dtype=torch.float64))
    assert x.grad == t.grad.item() == 4.0
