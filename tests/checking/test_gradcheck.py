"""gradcheck: what is right passes, what is wrong is found and named; next to torch.autograd.gradcheck."""

import math
import random
import re

import numpy as np
import pytest
import torch

import microgradc
from microgradc import MLP, GradcheckError, Value, compile, function, gradcheck, no_grad
from microgradc.engine import TABLE
from microgradc.engine.value import operate

POINTS = {"acosh": [1.7], "polygamma": [2.0, 1.7], "atanh": [0.3], "logit": [0.3], "bce": [0.3, 0.8]}
AT = [0.37, 0.81, 1.9]


def wrong_square(x):
    out = Value(x.data**2, (x,), "square")

    def backward():
        x.grad += x.data * out.grad

    out._backward = backward
    return out


def line_of(f):
    """The file, and the line of the function's first statement."""
    return f.__code__.co_filename, f.__code__.co_firstlineno + 1


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row.name)
def test_every_operation(row):
    name = row.name.lower()
    point = POINTS.get(name, AT)[: row.operands]
    numbers = [v for v in point if name not in ("polygamma", "where") or v is not point[0]]

    def f(*values):
        given = values if len(values) == len(point) else (point[0], *values)
        return operate(name, *given)

    if name == "straight_through":
        with pytest.raises(GradcheckError, match="wrong is the operation 'straight_through'"):
            gradcheck(f, tuple(numbers))
    else:
        assert gradcheck(f, tuple(numbers), order=2) is True


@pytest.mark.parametrize("f", [microgradc.sum, microgradc.mean, microgradc.logsumexp])
def test_operations_of_many_operands(f):
    assert gradcheck(lambda x: f([*x, x[0], 2.0]), np.array([0.5, -1.0, 2.0]), order=2)
    lists = [0.5, -1.0], [2.0, 3.0]
    assert gradcheck(lambda x, w: microgradc.softmax([microgradc.dot(x, w, x[0]), *x]), lists, order=2)


@pytest.mark.parametrize("x", [1e-8, 1e-3, 1.0, 1e5, 1e12])
def test_the_step_is_of_the_size_of_the_input(x):
    assert gradcheck(lambda x: x.log() + 1 / x, x, order=2)
    assert gradcheck(lambda x: (x / 1e3).sin() * x, min(x, 1e5))


def closure(x):
    return wrong_square(x)


def local_gradients(x):
    return Value(math.sin(x.data), (x,), (math.sin(x.data),))


def func(x):
    return x.func(math.sin, derivative=math.sin)


@function(derivative=lambda x, y: (y, y))
def product(x, y):
    return x * y


def decorated(x):
    return product(2.0, x * 3) + product(x, 2.0)


def opaque(x):
    return Value(x.data * 2, (x,), "double")


BY_HAND = [
    (closure, "square", 0, 1.3, 2.6),
    (local_gradients, "custom", 0, math.sin(1.3), math.cos(1.3)),
    (func, "sin", 0, math.sin(1.3), math.cos(1.3)),
    (decorated, "product", 0, 1.3 * 3, 2.0),
    (opaque, "double", 0, 0.0, 2.0),
]


@pytest.mark.parametrize(("f", "operation", "operand", "by_rule", "by_differences"), BY_HAND, ids=lambda x: str(x))
def test_a_wrong_rule_is_named(f, operation, operand, by_rule, by_differences):
    with pytest.raises(GradcheckError) as caught:
        gradcheck(lambda x: f(x) * 3 + x.exp(), 1.3)
    found = caught.value
    assert (found.operation, found.operand) == (operation, operand)
    if f is not decorated:
        assert (found.by_rule, found.by_differences) == pytest.approx((by_rule, by_differences), rel=1e-6)
    assert found.place == line_of(wrong_square if f is closure else f)
    assert str(found).startswith("the derivative of result 0 with respect to inputs[0], at 1.3, is ")
    assert f"wrong is the operation {operation!r}" in str(found)
    assert f"line {found.place[1]}: " in str(found)
    assert gradcheck(lambda x: f(x) * 3, 1.3, raise_exception=False) is False


def test_which_operand():
    def f(x, y, z):
        return Value(x.data * y.data + z.data, (x, y, z), (y.data, 17.0, 1.0))

    with pytest.raises(GradcheckError) as caught:
        gradcheck(lambda a, b: f(a, a * b, (a * b).sin()), (0.5, 2.0))     # operands that depend on one another
    assert (caught.value.operand, caught.value.by_rule) == (1, 17.0)
    assert caught.value.by_differences == pytest.approx(0.5, rel=1e-6)


@pytest.mark.parametrize("place", [0, 500, 999])
def test_one_among_a_thousand_is_found(place):
    def chain(x):
        y = x
        for i in range(1000):
            y = wrong_square(y / 30) * 30 if i == place else y + 0.001 * y.sin() * (i % 7)
        return y

    with pytest.raises(GradcheckError) as caught:
        gradcheck(chain, 0.7)
    assert (caught.value.operation, caught.value.place) == ("square", line_of(wrong_square))
    assert gradcheck(lambda x: chain(x) if place > 1000 else x.sin(), 0.7)


def test_a_wrong_closure_on_an_operation():
    def f(x, y):
        out = x * y
        out._backward = lambda: None
        return out

    with pytest.raises(GradcheckError, match=r"wrong is the operation '\*'.*operand 0, at 2.0, is 0.0 by its rule"):
        gradcheck(f, (2.0, 3.0))


def test_compiled_functions():
    model = MLP(2, [4, 1], activation="tanh", seed=0)
    f = compile(lambda x: model(x) ** 2)
    assert gradcheck(f, np.array([0.5, -1.0]), order=2)
    assert gradcheck(lambda *p: f([0.5, -1.0]), tuple(model.parameters()))      # Values stay who they are
    with pytest.raises(GradcheckError) as caught:
        gradcheck(compile(lambda x: product(x * 2.0, x)), 1.5)
    assert (caught.value.operation, caught.value.operand) == ("product", 1)
    pair = compile(lambda x, y: [x * y, (x / y).exp()])
    assert gradcheck(pair, (0.5, 2.0), order=2)
    assert gradcheck(lambda x: pair(x * 2, 3.0)[1] + x, 0.5)


def test_a_compiled_function_that_is_wrong_by_itself():
    from microgradc.program.compile import Compiled

    class Broken(Compiled):
        def __call__(self, x):
            return super().__call__(x) * 2 - x.data * x.data

    with pytest.raises(GradcheckError, match="right by itself when the function is called as it is"):
        gradcheck(Broken(lambda x: x * x), 3.0)


def test_what_goes_past_the_graph():
    for f in (lambda x: x * x.data, lambda x: x.data * 2, lambda x: [x, math.sin(x.data)][1]):
        with pytest.raises(GradcheckError, match="takes numbers past the graph"):
            gradcheck(f, 2.0)
    with pytest.raises(GradcheckError, match="when it is called again"):
        gradcheck(lambda x: x * random.random(), 2.0)

    def in_no_grad(x):
        with no_grad():
            return x * 2

    with pytest.raises(GradcheckError, match=r"is 0\.0 by backward"):
        gradcheck(in_no_grad, 2.0)
    x = Value(3.0, label="w")
    message = r"\('w'\).*\n.*a hook changes .* of 'w'"
    with x.register_hook(lambda g: 2 * g), pytest.raises(GradcheckError, match=message):
        gradcheck(lambda x: x * x, x)


def test_a_bend_is_called_one():
    with pytest.raises(GradcheckError, match=r"'ReLU'.*\n.*\n.*there is a bend: 0.0 by .* left, 1.0 from the right"):
        gradcheck(lambda x: x.relu(), 0.0)
    assert gradcheck(lambda x: x.relu(), 1e-3)


INFINITE = "the derivative is infinite there"
BEND = r"it has a bend there, {} by differences from the left and {} from the right"


@pytest.mark.parametrize(("f", "inputs", "operation", "by_rule", "why"), [
    (lambda x: (x * 2.0).sqrt() * 3, 0.0, "sqrt", math.inf, INFINITE),
    (lambda x: x**0.5, 0.0, "**0.5", math.inf, INFINITE),
    (lambda x: microgradc.cbrt(x), 0.0, "cbrt", math.inf, INFINITE),
    (lambda x: microgradc.acos(x), -1.0, "acos", -math.inf, INFINITE),
    (lambda x: x.relu(), 0.0, "ReLU", 0.0, BEND.format("0.0", "1.0")),
    (lambda x: microgradc.clip(x, -1.0, 1.0), 1.0, "clip", 1.0, BEND.format("1.0", "0.0")),
    (lambda x: microgradc.maximum(x, x * 3.0), 0.0, "max", 0.5, BEND.format("0.0", "1.0")),
    (lambda x: abs(x) + 2.0 * x.relu(), 0.0, "ReLU", 0.0, BEND.format("0.0", "1.0")),
    (lambda x: microgradc.floor(x), 1.0, "floor", 0.0, "the function jumps there"),
    (lambda x: microgradc.sign(x), 0.0, "sign", 0.0, "the function jumps there"),
])  # fmt: skip
def test_where_there_is_no_derivative_no_rule_is_wrong(f, inputs, operation, by_rule, why):
    if operation == "max":
        assert gradcheck(f, inputs)     # the rule is the mean of both sides, as is a central difference
        return
    with pytest.raises(GradcheckError) as caught:
        gradcheck(f, inputs)
    found = caught.value
    assert (found.operation, found.operand, found.by_rule) == (operation, 0, by_rule)
    assert f"no rule is wrong: the operation {operation!r} has no derivative" in str(found)
    assert re.search(why, str(found))
    assert "wrong is" not in str(found)
    assert gradcheck(f, inputs, raise_exception=False) is False


def test_slow_limits_are_limits():
    """Differences of x**1.5 at 0 come to 0 as sqrt(h)."""
    assert gradcheck(lambda x: x**1.5, 0.0)
    assert gradcheck(lambda x, y: (x * y) ** 1.25, (0.0, 2.0))
    with pytest.raises(GradcheckError, match=rf"'\*\*0.5' .*{INFINITE}"):
        gradcheck(lambda x: x**1.5, 0.0, order=2)


@pytest.mark.parametrize("slope", [-0.5, 1.5, math.inf])
def test_a_wrong_rule_at_a_bend_is_wrong(slope):
    def mine(x):
        return Value(max(x.data, 0.0), (x,), (slope,))

    with pytest.raises(GradcheckError, match="wrong is the operation 'custom'"):
        gradcheck(lambda x: mine(x) * 2, 0.0)


def test_a_wrong_rule_at_a_jump_or_a_corner_is_wrong():
    with pytest.raises(GradcheckError, match="wrong is the operation 'custom'"):
        gradcheck(lambda x: Value(float(x.data >= 1), (x,), (3.0,)), 1.0)
    with pytest.raises(GradcheckError, match="wrong is the operation 'custom'"):
        gradcheck(lambda x: Value(math.sqrt(abs(x.data)), (x,), (3.0,)), 0.0)


def test_what_is_not_finite_blames_no_rule():
    with pytest.raises(GradcheckError) as caught:
        gradcheck(lambda x: x * x + x, (1e200,))
    found = caught.value
    assert (found.operation, found.operand, found.by_rule) == ("*", 0, 2e200)
    assert math.isnan(found.by_differences)
    assert found.place is not None
    assert "the value of the operation '*' is inf, with operand 0, at 1e+200: differences say nothing" in str(found)
    assert "wrong is" not in str(found)
    assert gradcheck(lambda x: x * x, (1e200,), raise_exception=False) is False

    def at_1_alone(x):
        return Value(2.0 if x.data == 1 else math.nan, (x,), (2.0,))

    message = "'custom' has no finite differences with respect to operand 0, at 1.0, where its derivative is 2.0 by its"
    with pytest.raises(GradcheckError, match=message) as caught:
        gradcheck(lambda x: at_1_alone(x) * x, 1.0)
    assert "wrong is" not in str(caught.value)
    with pytest.raises(GradcheckError, match="the function has no finite differences there") as caught:
        gradcheck(lambda x: x * 2.0, 1.0, eps=1e308)
    assert caught.value.operation is None
    assert "past the graph" not in str(caught.value)
    with pytest.raises(GradcheckError, match="wrong is the operation 'square'"):      # a wrong rule, behind an inf
        gradcheck(lambda x: x * 1e200 * 1e200 + wrong_square(x), 2.0)


def test_second_derivatives():
    assert gradcheck(lambda x, y: (x * y).tanh() / y, (0.5, 2.0), order=2)
    with pytest.raises(TypeError, match="rule of its own"):
        gradcheck(lambda x: Value(x.data * 2, (x,), (2.0,)), 1.0, order=2)


def test_a_wrong_column_is_found(monkeypatch):
    """In the rules of second derivatives, whose numbers `backward()` does not use."""
    from microgradc.program import calculus, rules

    right = calculus.rule
    monkeypatch.setattr(calculus, "rule", lambda op, column: right("cos" if op == "sin" else op, column))
    assert rules.ROWS
    with pytest.raises(GradcheckError, match=r"is 0.3623.* by backward\(\) and .* by gradients\(\)"):
        gradcheck(lambda x: x.sin(), 1.2, order=2)


def test_nothing_stays_changed():
    x, w = Value(2.0), Value(3.0)
    x.grad, w.grad = 7.0, 8.0
    y = w * 2
    y.grad = 9.0
    assert gradcheck(lambda x, y: x * y + 2 * x, (x, y), order=2)       # y is an inner node
    with pytest.raises(GradcheckError):
        gradcheck(lambda x: wrong_square(x) * w, x)
    assert (x.data, x.grad, w.data, w.grad, y.data, y.grad) == (2.0, 7.0, 3.0, 8.0, 6.0, 9.0)


def test_arguments():
    assert gradcheck(lambda x, n, name: x * n if name == "a" else x, (2.0, 3, "a"))
    assert gradcheck(lambda d: d["a"] * d["b"][0], {"a": 1.0, "b": [np.float64(2.0), 3]})
    assert gradcheck(lambda x, y: x * y, (Value(2.0), 1.5), eps=1e-4, atol=1e-5, rtol=1e-3)
    x = Value(2.0)
    assert gradcheck(lambda a, b: a * b, (x, x), order=2)       # one Value twice
    assert gradcheck(lambda x: [], 2.0)
    assert gradcheck(lambda x: {"a": (x, 3.0, [x * x])}, 2.0)
    for wrong in (3, (), "x", None, (1, True)):
        with pytest.raises(TypeError, match="inputs must have a Value or a number of floating point"):
            gradcheck(lambda *x: x[0], wrong)
    with pytest.raises(TypeError, match="f must be a function"):
        gradcheck(3.0, 2.0)
    for order in (0, 3, True, "1"):
        with pytest.raises(ValueError, match="order must be 1 or 2"):
            gradcheck(lambda x: x, 2.0, order)
    with pytest.raises(TypeError, match="must return a Value, or a nest of Values and numbers, got str 'a'"):
        gradcheck(lambda x: ["a"], 2.0)
    with pytest.raises(TypeError, match=r"[Dd]id you mean 'rtol'"):
        gradcheck(lambda x: x, 2.0, rtoll=1)
    with pytest.raises(ZeroDivisionError):
        gradcheck(lambda x: 1 / 0, 2.0)
    with pytest.raises(GradcheckError, match="inf by backward"):
        gradcheck(lambda x: x.sqrt(), 0.0)


class TheirSquare(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x * x

    @staticmethod
    def backward(ctx, g):
        return g * ctx.saved_tensors[0]


PAIRS = [
    (lambda x, y: (x * y).tanh(), lambda x, y: (x * y).tanh()),
    (lambda x, y: x.relu() + y, lambda x, y: x.relu() + y),
    (lambda x, y: abs(x) * y, lambda x, y: abs(x) * y),
    (lambda x, y: wrong_square(x) + y, lambda x, y: TheirSquare.apply(x) + y),
    (lambda x, y: x * x.data + y, lambda x, y: x * x.detach() + y),
]


@pytest.mark.parametrize(("ours", "theirs"), PAIRS)
@pytest.mark.parametrize("point", [(0.5, 2.0), (0.0, 1.0), (-1.5, -0.3)])
def test_the_verdict_is_pytorchs(ours, theirs, point):
    tensors = tuple(torch.tensor(x, dtype=torch.float64, requires_grad=True) for x in point)
    verdict = torch.autograd.gradcheck(theirs, tensors, raise_exception=False)
    assert gradcheck(ours, point, raise_exception=False) is verdict


def test_in_no_grad():
    with no_grad():
        assert gradcheck(lambda x: x * x, 2.0) is True
