"""Nodes with local gradients, functions that are not built in, and closures."""

import math

import numpy as np
import pytest

import microgradc
from microgradc import Value, function


def test_local_gradients():
    a, b = Value(2.0), Value(3.0)
    out = Value(a.data * b.data, (a, b), (b.data, a.data))
    (out * 2 + a).backward()
    assert (a.grad, b.grad) == (7.0, 4.0)
    assert out._local_grads == (3.0, 2.0)
    assert out._children == (a, b)


def test_the_class_of_the_one_file_gpt():
    """Its form: every operation makes Value(data, children, local_grads)."""

    class V(Value):
        def __mul__(self, other):
            return V(self.data * other.data, (self, other), (other.data, self.data))

        def __add__(self, other):
            return V(self.data + other.data, (self, other), (1, 1))

    x, y = V(2.0), V(5.0)
    out = x * y + x * x
    out.backward()
    assert type(out) is V
    assert (out.data, x.grad, y.grad) == (14.0, 9.0, 2.0)


@pytest.mark.parametrize("f", [np.exp, math.exp, np.tanh, math.sin, lambda v: v**3, abs])
@pytest.mark.parametrize("x", [0.5, -2.0, 30.0])
def test_func_by_central_difference(f, x):
    torch = pytest.importorskip("torch", reason="compares with PyTorch")
    v = Value(x)
    y = v.func(f)
    y.backward()
    t = torch.tensor(x, dtype=torch.float64, requires_grad=True)
    {np.exp: torch.exp, math.exp: torch.exp, np.tanh: torch.tanh, math.sin: torch.sin, abs: torch.abs}.get(
        f, lambda u: u**3
    )(t).backward()
    assert y.data == f(x)
    assert v.grad == pytest.approx(t.grad.item(), rel=1e-8, abs=1e-9)


def test_func_with_a_derivative():
    v = Value(0.5)
    y = v.func(math.exp, derivative=math.exp)
    y.backward()
    assert v.grad == math.exp(0.5)
    assert y._op == "exp"
    v.grad = 0
    v.func(lambda x: x * x, h=0.5).backward()
    assert v.grad == 1.0


def test_function_decorator():
    @function(derivative=lambda x, y: (y, x))
    def product(x, y):
        """Their product."""
        return x * y

    @function
    def volume(r, h):
        return math.pi * r * r * h

    a, b = Value(2.0), Value(3.0)
    (product(a, b) + product(a, 10.0) + product(4.0, b)).backward()
    assert (a.grad, b.grad) == (13.0, 6.0)
    assert product(2.0, 3.0) == 6.0
    assert product.__name__ == "product"
    assert product.__doc__ == "Their product."
    assert product(a, b)._op == "product"
    a.grad = b.grad = 0
    volume(a, b).backward()
    assert a.grad == pytest.approx(2 * math.pi * 6, rel=1e-9)
    assert b.grad == pytest.approx(4 * math.pi, rel=1e-9)
    with microgradc.no_grad():
        assert product(a, b)._prev == set()


def test_bad_functions():
    v = Value(1.0)
    with pytest.raises(TypeError, match="f must be a callable, got int 3"):
        v.func(3)
    with pytest.raises(TypeError, match="derivative must be a callable"):
        v.func(math.exp, derivative=2.0)
    with pytest.raises(ValueError, match="h must be positive, got 0"):
        v.func(math.exp, h=0)
    with pytest.raises(ValueError, match="not taken when a derivative is given"):
        v.func(math.exp, math.exp, h=0.1)
    with pytest.raises(TypeError, match="the result of <lambda> must be a real number, got str"):
        v.func(lambda x: "a")
    with pytest.raises(TypeError, match=r"local_grads\[0\] must be a real number"):
        v.func(math.exp, derivative=lambda x: "a")
    with pytest.raises(ValueError, match="one number for each argument, got 1 for 2"):
        function(derivative=lambda x, y: (1.0,))(lambda x, y: x)(v, v)
    with pytest.raises(TypeError, match="argument 1 of"):
        function(lambda x, y: x)(v, "a")
    with pytest.raises(ZeroDivisionError):
        v.func(lambda x: 1 / 0)


def test_bad_nodes_built_by_hand():
    x = Value(1.0)
    with pytest.raises(ValueError, match="got 2 for 1 children"):
        Value(1.0, (x,), (1.0, 2.0))
    with pytest.raises(TypeError, match=r"_children\[1\] must be a Value, got float 2.0"):
        Value(1.0, (x, 2.0))
    with pytest.raises(TypeError, match="iterable of Values"):
        Value(1.0, 3)
    with pytest.raises(TypeError, match=r"local_grads\[0\] must be a real number, got str"):
        Value(1.0, (x,), ("a",))
    with pytest.raises(TypeError, match="local_grads must be an iterable"):
        Value(1.0, (x,), 3.0)
    with pytest.raises(TypeError, match="no children"):
        Value(1.0, (), (2.0,))
    with pytest.raises(TypeError, match="_backward must be a callable"):
        x._backward = None
    with pytest.raises(TypeError, match="once, when it is made"):
        (x * 2).__init__(1.0)
    with pytest.raises(TypeError, match="once, when it is made"):
        x.__init__(1.0, (Value(2.0),))


def test_a_leaf_may_have_a_closure():
    calls = []
    x = Value(1.0)
    x._backward = lambda: calls.append(x.grad)
    (x * 3).backward()
    assert calls == [3.0]
    assert x._backward() is None
