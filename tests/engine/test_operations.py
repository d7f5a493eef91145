"""Operations by their names, and what a Value was made by: what the calculus of derivatives is written with."""

import math

import pytest

import microgradc
from microgradc import Value, compile, engine
from microgradc.engine.value import is_grad_enabled, operate, operations_of

WIDE = {
    "sum": (microgradc.sum, [0.5, 2.0, 0.25]),
    "mean": (microgradc.mean, [0.5, 2.0, 0.25]),
    "logsumexp": (microgradc.logsumexp, [0.5, 2.0, 0.25]),
    "dot": (lambda v: microgradc.dot(v[::2], v[1::2]), [0.5, 2.0, 0.25, 3.0]),
    "dot with bias": (lambda v: microgradc.dot(v[:4:2], v[1::2], v[4]), [0.5, 2.0, 0.25, 3.0, 7.0]),
}


@pytest.mark.parametrize("row", engine.TABLE, ids=lambda row: row.name)
def test_a_row_by_its_name(row):
    name, numbers = row.name.lower(), [1.0, 0.4, 2.0][: row.operands]
    leaves = list(map(Value, numbers))
    out = operate(name, *leaves)
    assert operate(name, *numbers) == out.data or math.isnan(out.data)
    assert out._children == tuple(leaves)
    [*_, (node, op, operands, local, has_closure, hooks)] = operations_of(out)
    assert (node, op, operands, local, has_closure, hooks) == (out, name, tuple(leaves), None, False, ())
    for wrong in (numbers[1:], [*numbers, 1.0]):
        with pytest.raises(ValueError, match=f"{name} takes {row.operands} operands, got {len(wrong)}"):
            operate(name, *wrong)


@pytest.mark.parametrize("name", WIDE)
def test_a_wide_operation_by_its_name(name):
    f, numbers = WIDE[name]
    op = name.partition(" ")[0]
    assert operate(op, *numbers) == f(numbers)
    leaves = list(map(Value, numbers))
    assert operate(op, *leaves).data == f(leaves).data
    assert operations_of(operate(op, *leaves))[-1][1:3] == (op, tuple(leaves))


@pytest.mark.parametrize("op", ["nonsense", "leaf", "custom", "opaque", ""])
def test_what_is_not_an_operation(op):
    with pytest.raises(ValueError, match="there is no operation"):
        operate(op, 1.0)
    with pytest.raises(TypeError):
        operate(None, 1.0)


def test_what_a_value_was_made_by():
    x = Value(2.0)
    square = x**2
    y = square * 3 + x
    entries = operations_of(y)
    assert [entry[1] for entry in entries] == ["leaf", "pow", "mul", "add"]
    assert entries[1][2] == (x, 2.0)
    assert entries[2][2] == (square, 3.0)
    assert type(entries[2][2][1]) is float       # still a number: nothing was changed
    given = Value(8.0, (x,), (12.0,))
    assert operations_of(given)[-1] == (given, "custom", (x,), (12.0,), False, ())
    closure = Value(8.0, (x,), "mine")
    closure._backward = lambda: None
    assert operations_of(closure)[-1] == (closure, "opaque", (x,), None, True, ())
    w = Value(5.0)
    first, _ = compile(lambda a: [a * w, a])(x)
    assert operations_of(first)[-1] == (first, "custom", (w, x), (2.0, 5.0), False, ())


def test_whether_gradients_are_enabled():
    assert is_grad_enabled()
    with microgradc.no_grad():
        assert not is_grad_enabled()


def test_gradients_of_logsumexp_add_up_to_1():
    torch = pytest.importorskip("torch", reason="compares with PyTorch")
    x = Value(1e16)
    microgradc.logsumexp([x, x, x]).backward()
    assert x.grad == pytest.approx(1.0, rel=1e-15)
    t = torch.tensor(1e16, dtype=torch.float64, requires_grad=True)
    torch.stack([t, t, t]).logsumexp(0).backward()
    assert t.grad.item() == pytest.approx(0.406, abs=1e-3)


def test_a_slope_of_0_behind_an_infinite_gradient():
    torch = pytest.importorskip("torch", reason="compares with PyTorch")
    y, t = Value(2.0), torch.tensor(2.0, dtype=torch.float64, requires_grad=True)
    ((0.0**y) ** 0.5).backward()
    ((0.0**t) ** 0.5).backward()
    assert y.grad == 0.0
    assert math.isnan(t.grad.item())
    x = Value(0.0)
    (microgradc.atan2(x, Value(0.0)) ** 0.5).backward()
    assert x.grad == 0.0
