"""sum, mean, dot, logsumexp, softmax: one node each, against PyTorch."""

import math
import random

import pytest
import torch

import microgradc
from microgradc import Value, dot, log_softmax, logsumexp, mean, softmax
from microgradc.engine.value import plain_number

VALUES = [[0.5], [1.0, -2.0, 3.5], [1000.0, 999.0, -1000.0], [-1000.0, -1001.0], [0.0, 0.0, 0.0], [1e-3, 700.0, 710.0]]
REDUCTIONS = {
    "sum": (microgradc.sum, torch.sum),
    "mean": (mean, torch.mean),
    "logsumexp": (logsumexp, lambda t: torch.logsumexp(t, 0)),
}


@pytest.mark.parametrize("name", REDUCTIONS)
@pytest.mark.parametrize("numbers", VALUES)
def test_reductions(name, numbers):
    ours, in_torch = REDUCTIONS[name]
    values = list(map(Value, numbers))
    out = ours(values)
    (out * 3).backward()
    t = torch.tensor(numbers, dtype=torch.float64, requires_grad=True)
    expected = in_torch(t)
    (expected * 3).backward()
    assert out.data == pytest.approx(expected.item(), rel=1e-14)
    assert [v.grad for v in values] == pytest.approx(t.grad.tolist(), rel=1e-12, abs=1e-300)
    assert out._op == name
    assert out._children == tuple(values)
    assert ours(numbers) == out.data
    assert ours(v for v in values).data == out.data
    assert plain_number(ours([*values[:-1], numbers[-1]])) == out.data


@pytest.mark.parametrize("bias", [None, 0.25, "value"])
@pytest.mark.parametrize("n", [1, 2, 16])
def test_dot(n, bias):
    rng = random.Random(n)
    ws, xs = ([rng.gauss(0, 1) for _ in range(n)] for _ in range(2))
    w, x = list(map(Value, ws)), list(map(Value, xs))
    b = Value(0.25) if bias == "value" else bias
    out = dot(w, x, b)
    (out * 2).backward()
    wt, xt, bt = (torch.tensor(v, dtype=torch.float64, requires_grad=True) for v in (ws, xs, 0.25))
    (2 * (wt @ xt + (0 if bias is None else bt))).backward()
    assert [v.grad for v in w] == pytest.approx(wt.grad.tolist(), rel=1e-13)
    assert [v.grad for v in x] == pytest.approx(xt.grad.tolist(), rel=1e-13)
    if bias == "value":
        assert b.grad == 2.0
    # The bits of micrograd's expression, and the same for numbers among the operands.
    start = 0 if bias is None else b
    assert out.data == sum((wi * xi for wi, xi in zip(w, x, strict=True)), start).data
    assert dot(w, xs, b).data == dot(ws, x, b).data == out.data
    assert dot(ws, xs, 0.25 if bias else None) == (out.data if bias else dot(w, x).data)


def test_numbers_cost_no_node():
    w = [Value(1.0), Value(2.0)]
    out = dot(w, [3.0, 4.0], bias=5.0)
    assert out.data == 16.0
    out.backward()
    assert [v.grad for v in w] == [3.0, 4.0]
    assert len(out._children) == 5  # looked at, the numbers become leaves
    assert out._children == out._children
    assert out._local_grads == (3.0, 1.0, 4.0, 2.0, 1.0)
    w[0].grad = 0
    out.backward()
    assert w[0].grad == 3.0


def test_the_same_value_in_many_places():
    x = Value(3.0)
    dot([x, x, 2], [x, 4, x], bias=x).backward()
    assert x.grad == 2 * 3.0 + 4 + 2 + 1


@pytest.mark.parametrize("numbers", VALUES)
@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
def test_softmax(name, numbers):
    ours, in_torch = {"softmax": (softmax, torch.softmax), "log_softmax": (log_softmax, torch.log_softmax)}[name]
    for i in range(len(numbers)):
        values = list(map(Value, numbers))
        out = ours(values)
        out[i].backward()
        t = torch.tensor(numbers, dtype=torch.float64, requires_grad=True)
        expected = in_torch(t, 0)
        expected[i].backward()
        assert [v.data for v in out] == pytest.approx(expected.tolist(), rel=1e-12, abs=1e-300)
        assert [v.grad for v in values] == pytest.approx(t.grad.tolist(), rel=1e-12, abs=1e-15)
    assert ours(numbers) == [v.data for v in out]


@pytest.mark.parametrize(
    "numbers", [[math.inf, 0.0], [-math.inf, 0.0], [math.inf, math.inf], [-math.inf, -math.inf], [math.nan, 0.0]]
)
@pytest.mark.parametrize("name", ["softmax", "log_softmax", "logsumexp"])
def test_infinite_values(name, numbers):
    expected = getattr(torch, name)(torch.tensor(numbers, dtype=torch.float64), 0)
    assert getattr(microgradc, name)(numbers) == pytest.approx(expected.tolist(), nan_ok=True)


@pytest.mark.parametrize("small", [5.0, 10.0, 50.0, 700.0])
def test_logsumexp_keeps_the_digits_of_a_small_result(small):
    """log(1 + e) where e is tiny, which log alone rounds to 0."""
    for numbers in ([0.0, -small], [-small, 0.0]):
        assert logsumexp(numbers) == pytest.approx(math.log1p(math.exp(-small)), rel=1e-15)
    assert log_softmax([1000.0, 1000.0 - small])[0] == pytest.approx(-math.log1p(math.exp(-small)), rel=1e-15)


@pytest.mark.parametrize("numbers", [[1e6 + 0.3, 1e6 + 0.7], [-1e9, -1e9 - 1, -1e9], [1e15, 1e15]])
def test_gradients_of_logsumexp_at_large_values_add_up_to_one(numbers):
    """Where the result is so large that it was rounded."""
    values = list(map(Value, numbers))
    logsumexp(values).backward()
    parts = [math.exp(x - max(numbers)) for x in numbers]
    assert [v.grad for v in values] == pytest.approx([part / sum(parts) for part in parts], rel=1e-15)


def test_softmax_adds_up_to_one_and_stays_finite():
    assert math.fsum(softmax([1000.0, -1000.0, 999.0])) == pytest.approx(1.0, rel=1e-15)
    assert logsumexp([-math.inf, -math.inf]) == -math.inf
    assert logsumexp([math.inf, 1.0]) == math.inf
    assert math.isnan(logsumexp([math.nan, 1.0]))


@pytest.mark.parametrize("f", [microgradc.sum, mean, logsumexp, softmax, log_softmax])
def test_bad_input(f):
    with pytest.raises(ValueError, match="values must have at least one entry"):
        f([])
    with pytest.raises(TypeError, match=r"values\[1\] must be a Value or a real number, got str 'a'"):
        f([Value(1.0), "a"])
    with pytest.raises(TypeError, match="values must be an iterable of Values and numbers, got float"):
        f(3.0)


@pytest.mark.parametrize("f", [
    microgradc.sum, microgradc.mean, microgradc.softmax, microgradc.logsumexp,
    lambda values: microgradc.dot(values, [1.0]), lambda values: Value(1.0, values),
    lambda values: Value(1.0, (Value(2.0),), values),
])
def test_what_an_iterable_raises_is_passed_on(f):
    def broken():
        yield 1.0
        raise TypeError("of its own")

    with pytest.raises(TypeError, match="of its own"):
        f(broken())
    with pytest.raises(TypeError, match="iterable"):
        f(3)


def test_bad_input_of_dot():
    x = Value(1.0)
    with pytest.raises(ValueError, match="same length, got 1 and 2"):
        dot([x], [x, x])
    for arguments, name in [
        (([x, None], [x, x]), r"w\[1\]"),
        (([x, x], [x, "b"]), r"x\[1\]"),
        (([x], [x], [1]), "bias"),
    ]:
        with pytest.raises(TypeError, match=f"{name} must be a Value or a real number"):
            dot(*arguments)
    with pytest.raises(TypeError, match="w must be an iterable"):
        dot(1.0, [x])
    assert dot([], []) == 0.0
    assert dot([], [], bias=x).data == 1.0
