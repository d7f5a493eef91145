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


SMOOTH = {
    "log": (math.log, lambda x: 1 / x),
    "sqrt": (math.sqrt, lambda x: 0.5 / math.sqrt(x)),
    "1/t": (lambda t: 1 / t, lambda x: -1 / x**2),
    "t**4": (lambda t: t**4, lambda x: 4 * x**3),
    "cbrt": (math.cbrt, lambda x: math.cbrt(x) / (3 * x)),
    "sin": (math.sin, math.cos),
    "exp(-t)": (lambda t: math.exp(-t), lambda x: -math.exp(-x)),
    "exp": (math.exp, math.exp),
    "t log t": (lambda t: t * math.log(t), lambda x: math.log(x) + 1),
    "acos(1 - t)": (lambda t: math.acos(1 - t), lambda x: 1 / math.sqrt(x * (2 - x))),
    "np.log": (np.log, lambda x: 1 / x),
    "linear": (lambda t: 3 * t, lambda x: 3.0),
}


@pytest.mark.parametrize("name", SMOOTH)
def test_differences_of_smooth_functions(name):
    f, derivative = SMOOTH[name]
    tried = 0
    for exponent in range(-80, 81, 5):
        for sign in (1, -1):
            v = Value(sign * 1.07 * 10 ** (exponent / 10))
            if v.data < 0 and name == "np.log":
                continue
            try:
                f(v.data)
            except (ValueError, OverflowError):
                continue
            v.func(f).backward()
            expected = derivative(v.data)
            if abs(expected) > 1e-9 * abs(f(v.data) / v.data):      # else rounding of f hides it from every step
                tried += 1
                assert v.grad == pytest.approx(expected, rel=1e-6, abs=0), v
    assert tried >= 16


@pytest.mark.parametrize(
    ("f", "x", "expected", "tolerance"),
    [
        (lambda t: t * math.sqrt(t), 0.0, 0.0, 1e-6),
        (lambda t: t**1.5, 0.0, 0.0, 1e-6),                       # complex below 0
        (lambda t: t**1.5 if t >= 0 else math.nan, 0.0, 0.0, 1e-6),
        (lambda t: np.sqrt(t) * t, 0.0, 0.0, 1e-6),               # nan, and a warning
        (lambda t: 1 / (1 / t) if t <= 2 else 1 / 0, 2.0, 1.0, 1e-6),
        (lambda t: math.log(t) if t >= 1 else math.log(-1), 1.0, 1.0, 1e-6),
        (lambda t: math.exp(t) if t <= 0 else math.inf, 0.0, 1.0, 1e-6),
        (math.exp, 709.7, math.exp(709.7), 1e-6 * math.exp(709.7)),
        (math.acos, 1 - 1e-9, -1 / math.sqrt(2e-9), 1e-2),
        (lambda t: max(0.0, t), 1e-8, 1.0, 0.0),
        (lambda t: max(0.0, t), -1e-8, 0.0, 0.0),
        (abs, 0.0, 0.0, 0.0),
        (lambda t: 5.0, 1e8, 0.0, 0.0),
        (lambda t: 5.0, 0.0, 0.0, 0.0),
        (math.sin, 1e12, math.cos(1e12), 1e-6),
        (lambda t: math.sin(1e5 * t), 1.0, 1e5 * math.cos(1e5), 1e-1),
        (lambda t: t, 5e-324, 1.0, 0.0),
        (lambda t: t, 1e300, 1.0, 1e-9),
        (lambda t: t, math.inf, math.nan, 0.0),
        (lambda t: t if t == 1 else math.nan, 1.0, math.nan, 0.0),
        (math.floor, 2.5, 0.0, 0.0),
        (math.ceil, -2.5, 0.0, 0.0),
        (lambda t: t // 1, 7.3, 0.0, 0.0),
        (lambda t: float(int(t)), 123.4, 0.0, 0.0),
        (lambda t: t % 1, 1e6 + 0.5, 1.0, 1e-6),
        (lambda t: round(t, 2), 2.503, 0.0, 0.0),
        (lambda t: abs(t - 3) if t > 2 else 1.0, 1.9, 0.0, 0.0),
        (math.cos, 1e-8, -1e-8, 1e-12),
    ],
)
def test_differences_at_ends_and_corners(f, x, expected, tolerance):
    v = Value(x)
    v.func(f).backward()
    assert v.grad == pytest.approx(expected, rel=0, abs=tolerance, nan_ok=True)


def test_differences_of_several_arguments_and_their_errors():
    @function
    def power(x, y):
        return x**y

    x, y = Value(1e-6), Value(2.5)
    power(x, y).backward()
    assert x.grad == pytest.approx(2.5 * 1e-6**1.5, rel=1e-6)
    assert y.grad == pytest.approx(1e-6**2.5 * math.log(1e-6), rel=1e-6)

    def only_here(t):
        if t != 2.0:
            raise ValueError("there is no table for this")
        return 1.0

    with pytest.raises(ValueError, match="no table"):
        Value(2.0).func(only_here)
    with pytest.raises(TypeError, match="the result of <lambda> must be a real number, got str"):
        Value(2.0).func(lambda t: 1.0 if t == 2 else "a")
    calls = []
    Value(2.0).func(lambda t: calls.append(t) or t**3)
    assert len(calls) == 7      # the value, and six for the slope
    del calls[:]
    Value(0.0).func(lambda t: calls.append(t) or float(len(calls)))   # no function at all
    assert len(calls) <= 80


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
