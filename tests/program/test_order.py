"""The order of sums, and softmax of any size: a compiled function has the digits that the function has."""

import itertools
import math
import signal
import time

import numpy as np
import pytest

import microgradc
from microgradc import Value, compile, nn, take

INF = float("inf")
LARGE = (1.0, 1.7e9, 1e13, 1e17, -1e17)

ORDERED = {
    "(x - y) + c": lambda x, y: (x - y) + 1e-3,
    "x - y - c": lambda x, y: x - y - 1e-3,
    "c + (x - y)": lambda x, y: 1e-3 + (x - y),
    "(x - y) * w + c": lambda x, y: (x - y) * 2.0 + 1e-3,
    "-(x - y) + c": lambda x, y: -(x - y) + 1e-3,
    "x * x - y * x + c": lambda x, y: (x - 2 * y) + y + 0.25,
    "sum": lambda x, y: microgradc.sum([x, -y, 1e-3, 2e-3]),
    "builtin sum": lambda x, y: sum([x, -y, 1e-3, 2e-3]),
    "mean": lambda x, y: microgradc.mean([x, -y, 1.0]),
    "dot": lambda x, y: microgradc.dot([1.0, -1.0, 1.0], [x, y, 0.125], 0.0),
    "dot with a bias": lambda x, y: microgradc.dot([1.0, -1.0], [x, y], 0.125),
    "a trick that rounds": lambda x, y: (x + 2.0**52) - 2.0**52,
    "scalars at the end": lambda x, y: x - y + 1e-3 * 0.5 + 0.25,
    "a sum within": lambda x, y: x - (y - 0.5),
}


@pytest.mark.parametrize("x", LARGE)
@pytest.mark.parametrize("name", ORDERED)
def test_sums_keep_their_order(name, x):
    f = ORDERED[name]
    expected = f(Value(x), Value(x)).data
    assert compile(f)(x, x).data == pytest.approx(expected, rel=1e-15)
    assert compile(f).map(np.full(20, x), np.full(20, x)) == pytest.approx([expected] * 20, rel=1e-15)


def test_a_parameter_is_added_where_it_stands():
    b, w = Value(1e-3), Value(1.0)
    f = compile(lambda x, y: x * w - y + b)
    total = f.sum(np.array([1e17, 3.0]), np.array([1e17, 1.0]))
    assert total.data == 1e-3 + (2.0 + 1e-3)
    total.backward()
    assert (b.grad, w.grad) == (2.0, 1e17 + 3.0)


ROWS = [[s, s, 0.0] for s in (0.0, 10.0, 1e4, 1e8, 1e12, 1e16, 1e100)]
ROWS += [
    [-1e16, -1e16, -1e17],
    [INF, 0.0, 1.0],
    [-INF, 0.0, 1.0],
    [-INF, -INF, -INF],
    [float("nan"), 0.0, 1.0],
    [2.0, 1, 3],
]


@pytest.mark.parametrize("row", ROWS, ids=str)
def test_softmax_of_any_size_is_that_of_torch(row):
    torch = pytest.importorskip("torch")
    x = torch.tensor([row], dtype=torch.float64, requires_grad=True)
    weights = [0.3, -1.0, 2.0]
    for name in ("softmax", "log_softmax"):
        x.grad = None
        expected = getattr(torch, name)(x, 1)
        function = getattr(microgradc, name)
        found = compile(lambda r, function=function: function(r)).map(np.array([row]))
        np.testing.assert_allclose(found, expected.detach(), rtol=1e-13, atol=1e-300)
        if np.isfinite(row).all():
            (expected * torch.tensor(weights, dtype=torch.float64)).sum().backward()
            f = compile(lambda r, function=function: microgradc.dot(function(r), weights))
            np.testing.assert_allclose(f.map_value_and_grad(np.array([row]))[1], x.grad, rtol=1e-12, atol=1e-15)
    for k in range(3):
        x.grad = None
        expected = torch.nn.functional.cross_entropy(x, torch.tensor([k]))
        f = compile(lambda r, k: microgradc.cross_entropy(r, k))
        value, (gradient, _) = f.map_value_and_grad(np.array([row]), np.array([k]))
        np.testing.assert_allclose(value, [expected.item()], rtol=1e-13)
        if np.isfinite(row).all():
            expected.backward()
            np.testing.assert_allclose(gradient, x.grad, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("x", [0.0, 5.0, 50.0, 700.0, 1e4, 1e8, 1e16, 1e300, -1e16])
def test_gradients_of_logsumexp_add_up_to_1(x):
    v = Value(x)
    microgradc.logsumexp([v, v]).backward()
    assert v.grad == pytest.approx(1.0, rel=1e-13)
    for f in (lambda x: microgradc.logsumexp([x, x]), lambda x: microgradc.logsumexp([x, x, x - 1e3])):
        assert compile(f).value_and_grad(x)[1] == pytest.approx(1.0, rel=1e-13)
    w = Value(x)
    compile(lambda y: microgradc.logsumexp([w, w]) + y)(1.0).backward()
    assert w.grad == pytest.approx(1.0, rel=1e-13)


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="needs a timer that sends signals")
@pytest.mark.parametrize("threads", [1, 2])
def test_a_long_run_can_be_interrupted(threads):
    model = nn.MLP(2, [32, 32, 1], seed=0)
    f = compile(lambda a, b: model([a, b]))
    A = np.random.default_rng(0).random(2_000_000)
    f.sum(A[:10], A[:10])
    heard, before, count = [], signal.getsignal(signal.SIGALRM), microgradc.get_num_threads()
    microgradc.set_num_threads(threads)
    try:
        signal.signal(signal.SIGALRM, lambda *_: heard.append(time.perf_counter()))
        signal.setitimer(signal.ITIMER_REAL, 0.02, 0.02)
        whole = f.sum(A, A).data
        signal.setitimer(signal.ITIMER_REAL, 0)
        assert len(heard) > 1  # and the run went on
        signal.signal(signal.SIGALRM, signal.default_int_handler)
        signal.setitimer(signal.ITIMER_REAL, 0.02)
        with pytest.raises(KeyboardInterrupt):
            f.sum(A, A)
        assert f.sum(A, A).data == whole
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        microgradc.set_num_threads(count)


ROWS_WITH_INFINITIES = [
    [-math.inf, -math.inf, 0.0], [-math.inf, 1.0, 0.5], [math.inf, 0.0, 1.0], [0.0, -math.inf, 40.0],
    [-math.inf, -math.inf, -math.inf], [1e16, -math.inf, 1e16],
]


@pytest.mark.parametrize("row", ROWS_WITH_INFINITIES)
@pytest.mark.parametrize("i", [0, 1, 2])
def test_the_gradient_of_an_infinite_logit_that_is_taken_is_that_of_torch(row, i):
    torch = pytest.importorskip("torch")
    x = torch.tensor(row, dtype=torch.float64, requires_grad=True)
    loss = torch.nn.functional.cross_entropy(x, torch.tensor(i))
    loss.backward()
    f = compile(lambda x, i: microgradc.cross_entropy(x, i))
    for made in (f, compile(lambda x, i: -take(microgradc.log_softmax(x), i))):
        value, (grad, _) = made.value_and_grad(row, i)
        assert np.allclose(value, loss.item(), equal_nan=True)
        assert np.allclose(grad, x.grad.tolist(), equal_nan=True)


LOGITS = [0.0, 1.5, 40.0, math.inf, -math.inf, 1e308, -1e308, math.nan]


@pytest.mark.parametrize("i", [0, 1, 2])
@pytest.mark.parametrize("integer", [False, True], ids=["class known", "class an argument"])
def test_cross_entropy_of_infinite_and_huge_logits_is_that_of_torch(i, integer):
    torch = pytest.importorskip("torch")
    losses = (
        microgradc.cross_entropy,
        lambda x, i: microgradc.nll_loss(microgradc.log_softmax(x), i),
        lambda x, i: microgradc.cross_entropy([x], [i]),
    )
    compiled = [compile(f if integer else lambda x, f=f: f(x, i)) for f in losses]
    target = ([i],) if integer else ()
    for f in compiled:
        f.mean([[1.0, 2.0, 3.0]], *target)      # recorded on finite logits
    rows = list(itertools.product(LOGITS, repeat=3))
    x = torch.tensor(rows, dtype=torch.float64, requires_grad=True)
    values = torch.nn.functional.cross_entropy(x, torch.tensor([i] * len(rows)), reduction="none")
    values.sum().backward()
    targets = (np.full(len(rows), i),) if integer else ()
    for f in compiled:
        found, gradients = f.map_value_and_grad(np.array(rows), *targets)
        np.testing.assert_allclose(found, values.detach(), rtol=1e-12, atol=1e-15)
        np.testing.assert_allclose(gradients[0] if integer else gradients, x.grad, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("integer", [False, True], ids=["class known", "class an argument"])
@pytest.mark.parametrize("row", [*ROWS_WITH_INFINITIES, [1e308, -1e308, 0.0], [math.inf, 1.0, 2.0]])
def test_cross_entropy_is_recorded_on_infinite_logits(row, integer):
    for i in range(3):
        leaves = [Value(x) for x in row]
        loss = microgradc.cross_entropy(leaves, i)
        loss.backward()
        expected = [v.grad for v in leaves]
        if integer:
            value, (grad, _) = compile(lambda x, i: microgradc.cross_entropy(x, i)).value_and_grad(row, i)
        else:
            value, grad = compile(lambda x, i=i: microgradc.cross_entropy(x, i)).value_and_grad(row)
        np.testing.assert_allclose(value, loss.data, rtol=1e-12)
        np.testing.assert_allclose(grad, expected, rtol=1e-12, atol=1e-15)
