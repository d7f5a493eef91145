"""The losses: values and gradients against PyTorch in float64, all shapes and reductions, corners included."""

import math
from fractions import Fraction
from itertools import product

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from microgradc import Value, array, grads, log_softmax, losses, nn, topological_sort
from microgradc.engine.value import plain_number

INF, NAN = math.inf, math.nan
pytestmark = pytest.mark.filterwarnings("ignore:reduction. 'mean' divides:UserWarning")


def reduced(values, reduction):
    return values if reduction == "none" else getattr(values, reduction)()


def hinge(input, target, reduction="mean", margin=1.0):
    """PyTorch has no loss of this name for single scores: written with its relu."""
    return reduced(F.relu(margin - target * input), reduction)


REAL = [0.0, -0.0, 1e-300, -1e-300, 0.25, 1.0, -1.0, 2.5, -2.5, 1000.0, -1000.0]
COUNT = [0.0, 0.5, 1.0, 2.0, 3.5, 7.0, 1000.0]
LOG = [-0.0, -1e-300, -0.25, -1.0, -2.5, -30.0, -1000.0]
PROBABILITY = [0.0, 5e-324, 1e-300, 1e-13, 0.25, 0.5, 0.75, 1 - 1e-9, 1 - 2**-53, 1.0]

# Name: (PyTorch's, settings, corners of the input, corners of the target).
ELEMENTWISE = {
    "mse_loss": (F.mse_loss, [{}], REAL, REAL),
    "l1_loss": (F.l1_loss, [{}], REAL, REAL),
    "huber_loss": (F.huber_loss, [{}, {"delta": 1.5}, {"delta": 1e-3}, {"delta": 2000.0}], REAL, REAL),
    "smooth_l1_loss": (F.smooth_l1_loss, [{}, {"beta": 1.5}, {"beta": 1e-3}, {"beta": 0.0}], REAL, REAL),
    "poisson_nll_loss": (
        F.poisson_nll_loss, [{}, {"full": True}, {"log_input": False, "eps": 1e-3, "full": True}], PROBABILITY, COUNT
    ),
    "kl_div": (F.kl_div, [{}], LOG, PROBABILITY),
    "hinge_loss": (hinge, [{}, {"margin": 2.5}, {"margin": 0.0}], REAL, [-1.0, 1.0]),
    "binary_cross_entropy": (F.binary_cross_entropy, [{}], PROBABILITY, PROBABILITY),
    "binary_cross_entropy_with_logits": (F.binary_cross_entropy_with_logits, [{}], [*REAL, 20.0, -20.0], PROBABILITY),
}
CLASSES = ["cross_entropy", "nll_loss"]   # of the same name in PyTorch
CASES = [
    pytest.param(name, settings, id=f"{name} {settings or ''}")
    for name, case in ELEMENTWISE.items()
    for settings in case[1]
]
REDUCTIONS = ["mean", "sum", "none"]


def nested(x, make):
    return [nested(entry, make) for entry in x] if isinstance(x, list) else make(x)


def flat(x):
    return [v for entry in x for v in flat(entry)] if isinstance(x, list) else [x]


def compare(name, input, target, target_makes=(Value, float), **settings):
    """Compare a loss, and the gradients of 3 times the sum of what it returns, with PyTorch's."""
    in_torch = ELEMENTWISE[name][0]
    x, y = (torch.tensor(a, dtype=torch.float64, requires_grad=True) for a in (input, target))
    expected = in_torch(x, y, **settings)
    (3 * expected.sum()).backward()
    for make in target_makes:
        inputs, targets = nested(input, Value), nested(target, make)
        got = getattr(losses, name)(inputs, targets, **settings)
        # PyTorch's form of the loss of logits cancels: what is right to 1e-16 times the logit there is exact here.
        absolute = 2e-13 if name == "binary_cross_entropy_with_logits" else 1e-300
        assert np.shape(got) == tuple(expected.shape)
        np.testing.assert_allclose(nested(got, plain_number), expected.tolist(), rtol=1e-13, atol=absolute)
        for loss in flat(got):
            assert isinstance(loss, Value)
            (loss * 3).backward()
        near = {"rtol": 1e-12, "atol": 1e-15 if "logits" in name else 1e-300}
        np.testing.assert_allclose(nested(inputs, lambda v: v.grad), x.grad.tolist(), **near)
        if make is Value:
            near["atol"] = 2e-13 if "logits" in name else near["atol"]
            np.testing.assert_allclose(nested(targets, lambda v: v.grad), y.grad.tolist(), **near)


@pytest.mark.parametrize(("name", "settings"), CASES)
def test_corners(name, settings):
    _, _, inputs, targets = ELEMENTWISE[name]
    for x, y in product(inputs, targets):
        compare(name, x, y, **settings)


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize(("name", "settings"), CASES)
def test_batches(name, settings, reduction):
    _, _, inputs, targets = ELEMENTWISE[name]
    pairs = list(product(inputs, targets))[:60]
    xs, ys = (list(column) for column in zip(*pairs, strict=True))
    compare(name, xs, ys, reduction=reduction, **settings)
    rows = [[a[i : i + 2] for i in range(0, len(a) // 2 * 2, 2)] for a in (xs, ys)]
    compare(name, *rows, reduction=reduction, **settings)
    compare(name, *([[row] * 3 for row in a] for a in rows), reduction=reduction, **settings)


@pytest.mark.parametrize("delta", [1e-3, 0.25, 1.0, 3.0])
def test_the_kinks_of_huber(delta):
    for error in (delta, -delta, math.nextafter(delta, 0), math.nextafter(delta, INF), -math.nextafter(delta, INF)):
        compare("huber_loss", error, 0.0, delta=delta)


@pytest.mark.parametrize("name", ELEMENTWISE)
@given(data=st.data(), reduction=st.sampled_from(REDUCTIONS), rows=st.integers(1, 4), columns=st.integers(0, 3))
@settings(max_examples=60, deadline=None)
def test_random(name, data, reduction, rows, columns):
    _, settings, inputs, targets = ELEMENTWISE[name]
    interval = (0, 1) if inputs is PROBABILITY else (-1000, 1000)
    input_entry = st.floats(*interval) | st.sampled_from(inputs)
    target_entry = (
        st.sampled_from(targets)
        if len(targets) == 2
        else st.floats(min(targets), max(targets)) | st.sampled_from(targets)
    )

    def batch(entry):
        row = st.lists(entry, min_size=columns, max_size=columns) if columns else entry
        return data.draw(st.lists(row, min_size=rows, max_size=rows))

    compare(name, batch(input_entry), batch(target_entry), reduction=reduction, **data.draw(st.sampled_from(settings)))


def compare_classes(name, rows, classes, reduction):
    x = torch.tensor(rows, dtype=torch.float64, requires_grad=True)
    expected = getattr(F, name)(x, torch.tensor(classes), reduction=reduction)
    (3 * expected.sum()).backward()
    inputs = nested(rows, Value)
    got = getattr(losses, name)(inputs, classes, reduction=reduction)
    # PyTorch rounds a loss to 1e-16 where it is small: test_cross_entropy_keeps_the_digits.
    np.testing.assert_allclose(nested(got, plain_number), expected.tolist(), rtol=1e-12, atol=1e-15)
    for loss in flat(got):
        (loss * 3).backward()
    np.testing.assert_allclose(nested(inputs, lambda v: v.grad), x.grad.tolist(), rtol=1e-12, atol=1e-15)


LOGITS = [
    [0.5, -1.0, 2.0],
    [1000.0, 999.0, -1000.0],
    [-1000.0, 0.0, 1000.0],
    [0.0, 0.0, 0.0],
    [3.0, 3.0, -3.0],
    [1e-300, -1e-300, 0.0],
]
LOGITS += [[-INF, 0.0, 1.0], [INF, 0.0, 1.0], [-INF, -INF, -INF], [INF, INF, 0.0], [NAN, 0.0, 1.0], [0.0, NAN, 1.0]]


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("name", CLASSES)
def test_classes(name, reduction):
    for row, y in product(LOGITS, range(3)):
        compare_classes(name, row, y, reduction)
    finite = LOGITS[:6]
    compare_classes(name, finite, [2, 0, 1, 1, 0, 2], reduction)
    compare_classes(name, [[5.0]], [0], reduction)


@given(data=st.data(), name=st.sampled_from(CLASSES), reduction=st.sampled_from(REDUCTIONS))
@settings(max_examples=100, deadline=None)
def test_random_classes(data, name, reduction):
    n, c = data.draw(st.integers(1, 5)), data.draw(st.integers(1, 5))
    rows = data.draw(st.lists(st.lists(st.floats(-1000, 1000), min_size=c, max_size=c), min_size=n, max_size=n))
    compare_classes(name, rows, data.draw(st.lists(st.integers(0, c - 1), min_size=n, max_size=n)), reduction)


@pytest.mark.parametrize("gap", [1.0, 10.0, 40.0, 700.0])
def test_cross_entropy_keeps_the_digits_of_a_small_loss(gap):
    """log(1 + exp(-gap)): subtracted from 1000, PyTorch's has an error of 1e-16, which here would be nearly all."""
    for offset in (0.0, 1000.0, -1000.0):
        row = [Value(offset), Value(offset - gap)]
        loss = losses.cross_entropy(row, 0)
        loss.backward()
        assert loss.data == pytest.approx(math.log1p(math.exp(-gap)), rel=1e-15)
        assert row[1].grad == pytest.approx(1 / (1 + math.exp(gap)), rel=1e-15)


@pytest.mark.parametrize("x", [30.0, 40.0, 700.0, -30.0, -40.0, -700.0])
def test_a_good_logit_keeps_the_digits_of_its_loss_and_gradient(x):
    v = Value(x)
    loss = losses.binary_cross_entropy_with_logits(v, float(x > 0))
    loss.backward()
    assert loss.data == pytest.approx(math.log1p(math.exp(-abs(x))), rel=1e-15)
    assert v.grad == pytest.approx(math.copysign(1 / (1 + math.exp(abs(x))), -x), rel=1e-15)


def test_an_infinite_logit_gives_the_limit():
    cases = [(INF, 1, 0.0, 0.0), (INF, 0, INF, 1.0), (-INF, 1, INF, -1.0), (-INF, 0, 0.0, 0.0), (-INF, 0.5, INF, -0.5)]
    for x, y, expected, gradient in cases:
        v = Value(x)
        loss = losses.binary_cross_entropy_with_logits([v], [y])
        loss.backward()
        assert (loss.data, v.grad) == (expected, gradient)
        assert (
            torch.sigmoid(torch.tensor(x)).item() - y == gradient
        )  # PyTorch's gradient; its value is nan for most of these


def test_wrong_predictions_at_1000_have_their_whole_gradient():
    for name, x, y, expected in [
        ("binary_cross_entropy_with_logits", -1000.0, 1.0, -1.0),
        ("binary_cross_entropy_with_logits", 1000.0, 0.0, 1.0),
        ("hinge_loss", -1000.0, 1.0, -1.0),
        ("huber_loss", -1000.0, 1000.0, -1.0),
        ("mse_loss", -1000.0, 1000.0, -4000.0),
    ]:
        v = Value(x)
        getattr(losses, name)([v], [y]).backward()
        assert v.grad == expected
    row = [Value(1000.0), Value(-1000.0)]
    losses.cross_entropy(row, 1).backward()
    assert [v.grad for v in row] == [1.0, -1.0]


@pytest.mark.parametrize("name", ELEMENTWISE)
def test_nan_gives_nan(name):
    assert math.isnan(getattr(losses, name)([Value(0.5), Value(NAN)], [1.0, 1.0]).data)
    assert math.isnan(getattr(losses, name)([Value(NAN), Value(0.5)], [1.0, 1.0]).data)
    if name != "hinge_loss":
        assert math.isnan(getattr(losses, name)([Value(0.5)], [NAN]).data)


@pytest.mark.parametrize("name", ELEMENTWISE)
def test_every_kind_of_input(name):
    f = getattr(losses, name)
    numbers, labels = [0.25, 0.5, 1.0], [1, -1, 1] if name == "hinge_loss" else [1, 0, 1]
    values = list(map(Value, numbers))
    expected = f(values, labels).data
    for predictions in (tuple(values), (v for v in values), np.array(values), array(numbers), [0.25, values[1], 1]):
        assert f(predictions, labels).data == expected
    for targets in (
        tuple(labels),
        (y for y in labels),
        map(float, labels),
        *(np.array(labels, dtype) for dtype in ("int8", "int64", "float32", "float64", object)),
        list(np.array(labels)),
        [np.float32(y) for y in labels],
        list(map(Fraction, labels)),
        list(map(Value, labels)),
        torch.tensor(labels),
    ):
        assert f(values, targets).data == expected
    if name != "hinge_loss":
        assert f(values, np.array(labels, bool)).data == f(values, list(np.array(labels, bool))).data == expected
    assert type(f(numbers, labels)) is float
    assert f(numbers, labels) == expected
    assert isinstance(f(numbers, list(map(Value, labels))), Value)
    grid = array([numbers, numbers])
    out = f(grid, np.array([labels, labels]), reduction="none")
    assert [len(out), len(out[0])] == [2, 3]
    f(grid, np.array([labels, labels]), reduction="sum").backward()
    f(values, labels, reduction="sum").backward()
    np.testing.assert_array_equal(grads(grid), [[v.grad for v in values]] * 2)


def test_every_kind_of_class_index():
    rows = [[0.5, 1.0], [2.0, -1.0]]
    expected = F.cross_entropy(torch.tensor(rows, dtype=torch.float64), torch.tensor([1, 0])).item()
    makes = [list, tuple, iter, np.array, np.uint8, lambda y: list(np.array(y)), torch.tensor]
    for make, make_rows in product(
        makes, [array, np.array, lambda x: nested(x, Value), lambda x: (map(Value, row) for row in x)]
    ):
        assert plain_number(losses.cross_entropy(make_rows(rows), make([1, 0]))) == pytest.approx(expected, rel=1e-14)
    assert losses.cross_entropy(map(Value, rows[0]), np.int64(1)).data == losses.cross_entropy(np.array(rows[0]), 1)


def test_nll_of_log_softmax_is_cross_entropy():
    rows = [[Value(0.5), Value(1.0)], [Value(2.0), Value(-1.0)]]
    a, b = losses.nll_loss(map(log_softmax, rows), [1, 0]), losses.cross_entropy(rows, [1, 0])
    assert a.data == pytest.approx(b.data, rel=1e-15)


def test_the_predictions_of_a_model():
    model = nn.MLP(2, [4, 1])
    X, y = [[1.0, 2.0], [-1.0, 0.5], [0.0, 3.0]], [1.0, -1.0, 1.0]
    loss = losses.mse_loss([model(x) for x in X], y)
    loss.backward()
    by_hand = sum((model(x) - t) ** 2 for x, t in zip(X, y, strict=True)) / 3
    got = [p.grad for p in model.parameters()]
    model.zero_grad()
    by_hand.backward()
    assert loss.data == pytest.approx(by_hand.data, rel=1e-14)
    assert got == pytest.approx([p.grad for p in model.parameters()], rel=1e-12)


# Nodes over n entries: more would be slower.
COUNTS = {
    "mse_loss": (1, 2),
    "l1_loss": (2, 1),
    "huber_loss": (2, 5),
    "hinge_loss": (2, 1),
    "binary_cross_entropy": (1, 1),
}


@pytest.mark.parametrize("name", COUNTS)
def test_few_nodes(name):
    n, (each, once) = 50, COUNTS[name]
    values = [Value(0.25) for _ in range(n)]
    loss = getattr(losses, name)(values, [1.0] * n)
    assert len([v for v in topological_sort(loss) if v._op]) == each * n + once


def test_few_nodes_of_cross_entropy():
    loss = losses.cross_entropy([[Value(0.25) for _ in range(10)] for _ in range(5)], [0] * 5)
    assert len([v for v in topological_sort(loss) if v._op]) == 5 * (10 + 2) + 1
