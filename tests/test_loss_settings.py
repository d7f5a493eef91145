"""What losses take besides predictions and targets: weights, ignored classes, smoothed labels, variances, axes.

Values and gradients are PyTorch's, eagerly and compiled.
"""

import math
from itertools import product

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from test_losses import REDUCTIONS

import microgradc
from microgradc import Value, array, compile, grads, losses, stop_gradient, to_numpy
from microgradc.engine.value import plain_number

INF, NAN = math.inf, math.nan
pytestmark = pytest.mark.filterwarnings("ignore:reduction. 'mean' divides:UserWarning")


def numbers(x):
    return np.vectorize(plain_number, otypes=[float])(np.asarray(x, object))


def compare(theirs, ours, *operands, rtol=1e-12, atol=1e-14, compiled=True):
    """Compare values and gradients of functions of arrays: eagerly, of numbers alone, and compiled."""
    operands = [np.asarray(a, float) for a in operands]
    tensors = [torch.tensor(a, requires_grad=True) for a in operands]
    expected = theirs(*tensors)
    weights = np.linspace(1.0, 2.0, expected.numel()).reshape(tuple(expected.shape))
    slopes = torch.autograd.grad((expected * torch.from_numpy(weights)).sum(), tensors)
    near = {"rtol": rtol, "atol": atol}
    arrays = [array(a) if a.ndim else Value(float(a)) for a in operands]
    got = ours(*arrays)
    assert np.shape(got) == tuple(expected.shape)
    np.testing.assert_allclose(numbers(got), expected.detach().numpy(), **near)
    np.sum(np.asarray(got, object) * weights).backward()
    for a, slope in zip(arrays, slopes, strict=True):
        np.testing.assert_allclose(grads(a) if isinstance(a, np.ndarray) else a.grad, slope.numpy(), **near)
    plain = ours(*operands)
    assert {type(x) for x in np.asarray(plain, object).ravel()} == {float}
    np.testing.assert_allclose(np.asarray(plain, float), expected.detach().numpy(), **near)
    if compiled:
        f = compile(lambda *a: np.sum(np.asarray(ours(*a), object) * weights) * 1.0)
        value, found = f.value_and_grad(*(a if a.ndim else float(a) for a in operands))
        np.testing.assert_allclose(value, np.sum(expected.detach().numpy() * weights), **near)
        found = found if len(operands) > 1 else [found]
        for slope, of_program in zip(slopes, found, strict=True):
            np.testing.assert_allclose(np.reshape(of_program, slope.shape), slope.numpy(), **near)


def as_tensor(a):
    return None if a is None else torch.tensor(a)


RNG = np.random.default_rng(0)
X, Y, W = RNG.normal(size=(4, 3)), RNG.normal(size=(4, 3)), RNG.random((4, 3))
P, Q = RNG.random((4, 3)), RNG.integers(0, 3, (4, 3)) / 2


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize(("name", "settings"), [("mse_loss", {}), ("l1_loss", {}), ("huber_loss", {"delta": 0.7})])
def test_weights(name, settings, reduction):
    def of(module):
        return lambda x, y, w: getattr(module, name)(x, y, weight=w, reduction=reduction, **settings)

    compare(of(F), of(losses), X, Y, W)
    compare(of(F), of(losses), X[0], Y[0], W[0])


def test_weights_of_a_mean_that_are_all_0():
    for name in ("mse_loss", "l1_loss"):
        assert math.isnan(getattr(losses, name)([1.0], [2.0], weight=[0.0]))
        assert math.isnan(getattr(losses, name)([Value(1.0)], [2.0], weight=[0.0]).data)
    assert losses.huber_loss([1.0], [2.0], weight=[0.0]) == 0.0


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("weight", [W, W[0], W[:, :1], W[0, :1], np.float64(0.7)], ids=np.shape)
def test_weights_of_the_cross_entropy_of_two_classes(weight, reduction):
    w = torch.tensor(weight)
    compare(
        lambda x: F.binary_cross_entropy(x, torch.tensor(Q), w, reduction=reduction),
        lambda x: losses.binary_cross_entropy(x, Q, weight, reduction),
        P,
    )
    compare(
        lambda x, y: F.binary_cross_entropy_with_logits(x, y, w, reduction=reduction),
        lambda x, y: losses.binary_cross_entropy_with_logits(x, y, weight, reduction),
        X,
        P,
    )
    for other in (W[0], np.float64(2.5), None):
        settings = {"reduction": reduction, "pos_weight": as_tensor(other)}
        compare(
            lambda x: F.binary_cross_entropy_with_logits(x, torch.tensor(Q), w, **settings),  # noqa: B023
            lambda x: losses.binary_cross_entropy_with_logits(x, Q, weight, reduction, other),  # noqa: B023
            5 * X,
        )


@pytest.mark.parametrize("labels", [Q, Q > 0.6, np.array([[0, 1, 1]] * 4)], ids=["between", "bools", "integers"])
def test_pos_weight(labels):
    """It may be learnt too."""
    targets = torch.tensor(labels, dtype=torch.float64)
    for shape in ((3,), (1,), (), (4, 3), (4, 1)):
        compare(
            lambda x, p: (1 - targets) * F.softplus(x) + p * targets * F.softplus(-x),    # theirs has no slope of p
            lambda x, p: losses.binary_cross_entropy_with_logits(x, labels, pos_weight=p, reduction="none"),
            X,
            1 + RNG.random(shape),
        )
    one_each = losses.binary_cross_entropy_with_logits(X[0], labels[0], pos_weight=2.0)
    assert one_each == pytest.approx(losses.binary_cross_entropy_with_logits(X[:1], labels[:1], pos_weight=[2.0] * 3))


def test_pos_weight_keeps_the_digits():
    v = Value(40.0)
    loss = losses.binary_cross_entropy_with_logits(v, 1, pos_weight=3.0)
    loss.backward()
    assert loss.data == pytest.approx(3 * math.log1p(math.exp(-40)), rel=1e-14)
    assert v.grad == pytest.approx(-3 / (1 + math.exp(40)), rel=1e-14)


# Classes.

C = 4
TARGETS = {
    "one": (RNG.normal(size=C), np.int64(2)),
    "batch": (RNG.normal(size=(5, C)), np.array([0, 3, 1, 1, 2])),
    "some ignored": (RNG.normal(size=(5, C)), np.array([0, -100, 1, -100, 2])),
    "all ignored": (RNG.normal(size=(2, C)), np.array([-100, -100])),
    "axes": (RNG.normal(size=(2, C, 3, 2)), RNG.integers(0, C, (2, 3, 2))),
}
CLASS_WEIGHTS = [None, np.array([0.5, 1.0, 2.0, 0.25]), np.array([1.0, 0.0, 2.0, 0.0])]


@pytest.mark.parametrize("weight", CLASS_WEIGHTS, ids=["unweighted", "weighted", "some 0"])
@pytest.mark.parametrize("case", TARGETS)
def test_classes(case, weight):
    x, y = TARGETS[case]
    compiled = case in ("one", "some ignored")
    for reduction, ignored in product(REDUCTIONS, [-100, 1]):
        settings = {"ignore_index": ignored, "reduction": reduction}
        targets = np.where(y == -100, 1, y) if ignored == 1 else y
        compare(
            lambda x: F.nll_loss(x, as_tensor(targets), as_tensor(weight), **settings),  # noqa: B023
            lambda x: losses.nll_loss(x, targets, weight, **settings),  # noqa: B023
            x,
            compiled=compiled,
        )
        for smoothing in (0.0, 0.1, 1.0):
            more = {**settings, "label_smoothing": smoothing}
            compare(
                lambda x: F.cross_entropy(x, as_tensor(targets), as_tensor(weight), **more),  # noqa: B023
                lambda x: losses.cross_entropy(x, targets, weight, **more),  # noqa: B023
                x,
                compiled=compiled,
            )


@pytest.mark.parametrize("shape", [(C,), (3, C), (2, C, 3)])
@pytest.mark.parametrize("weight", CLASS_WEIGHTS, ids=["unweighted", "weighted", "some 0"])
def test_probabilities_of_classes(shape, weight):
    x, p = RNG.normal(size=shape), RNG.random(shape)
    p /= p.sum(axis=min(1, p.ndim - 1), keepdims=True)
    for reduction, smoothing in product(REDUCTIONS, (0.0, 0.2)):
        settings = {"reduction": reduction, "label_smoothing": smoothing}
        compare(
            lambda x, p: F.cross_entropy(x, p, as_tensor(weight), **settings),  # noqa: B023
            lambda x, p: losses.cross_entropy(x, p, weight, **settings),  # noqa: B023
            x,
            p,
            compiled=reduction == "mean",
        )


@pytest.mark.parametrize("name", ["cross_entropy", "nll_loss"])
@pytest.mark.parametrize("weight", [None, [0.5, 1.0, 2.0]])
@pytest.mark.parametrize("ignored", [1, -1])
def test_classes_that_are_arguments_of_a_compiled_function(name, weight, ignored):
    """The classes of one example, three words of a text, are not known when it is recorded."""
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(6, 3, 3)), rng.choice([0, ignored, 2], size=(6, 3))
    y[0], y[1] = ignored, [0, ignored, 2]
    settings = [{}] if name == "nll_loss" else [{}, {"label_smoothing": 0.3}]
    for reduction, more in product(["sum", "mean"], settings):
        more = {**more, "ignore_index": ignored, "reduction": reduction}
        f = compile(lambda x, y: getattr(losses, name)(x, y, weight, **more))  # noqa: B023
        for row, classes in zip(x, y, strict=True):
            t = torch.tensor(row, requires_grad=True)
            of_torch = getattr(F, name)(t, torch.tensor(classes), as_tensor(weight and np.array(weight)), **more)
            of_torch.backward()
            value, (slope, _) = f.value_and_grad(row, classes)
            np.testing.assert_allclose(value, of_torch.item(), rtol=1e-12)
            if not math.isnan(value):
                np.testing.assert_allclose(slope, t.grad.numpy(), rtol=1e-12, atol=1e-15)


def test_the_usual_ignored_class_is_not_looked_for_in_a_compiled_function():
    f = compile(lambda x, y: losses.cross_entropy(x, y))
    assert f([0.0, 0.0], 1).data == pytest.approx(math.log(2))
    with pytest.raises(IndexError, match="got -100"):
        f([0.0, 0.0], -100).backward()


def test_ignored_rows_are_losses_of_0():
    row = [Value(1.0), Value(2.0)]
    kept, ignored = losses.cross_entropy([row, row], [0, -100], reduction="none")
    assert kept.data > 0
    ignored.backward()
    assert ignored.data == row[0].grad == 0.0
    assert losses.nll_loss([[1.0, 2.0]], [5], ignore_index=5, reduction="none") == [0.0]
    assert losses.nll_loss([row], [5], ignore_index=5, reduction="sum").data == 0.0


# Distributions.

VARIANCES = [
    ((4, 3), (4, 3)),
    ((4, 3), (4,)),
    ((4, 3), (4, 1)),
    ((4, 3), (1, 3)),
    ((3,), (3,)),
    ((3,), ()),
    ((3,), (1,)),
    ((2, 3, 4), (2, 3)),
    ((2, 3, 4), (2, 1, 4)),
    ((), ()),
]


@pytest.mark.parametrize(("shape", "of_var"), VARIANCES)
def test_gaussian(shape, of_var):
    rng = np.random.default_rng(2)
    x, y, v = rng.normal(size=shape), rng.normal(size=shape), rng.random(of_var) + 0.01
    for reduction, full in product(REDUCTIONS, (False, True)):
        settings = {"full": full, "eps": 0.3, "reduction": reduction}
        compare(
            lambda x, y, v: F.gaussian_nll_loss(x, y, v, **settings),  # noqa: B023
            lambda x, y, v: losses.gaussian_nll_loss(x, y, v, **settings),  # noqa: B023
            x,
            y,
            v,
        )


def test_gaussian_of_small_variances():
    x, y, v = [0.5, -0.5, 1.0, 2.0], [0.0, 1.0, 0.0, -0.5], [0, 1e-6, 1e-7, 2]
    compare(F.gaussian_nll_loss, losses.gaussian_nll_loss, x, y, v)
    compare(lambda x: F.gaussian_nll_loss(x, x * 2, 0.25), lambda x: losses.gaussian_nll_loss(x, x * 2, 0.25), X)
    v = Value(0.0)
    losses.gaussian_nll_loss([Value(1.0), 2.0], [0.0, 2.0], [v, 0.0], eps=0.0).backward()
    assert math.isnan(v.grad)     # as PyTorch's: infinite terms of both signs
    assert math.isnan(losses.gaussian_nll_loss(1.0, 0.0, 0.0, eps=0.0))
    assert math.isnan(losses.gaussian_nll_loss(0.0, 0.0, 0.0, eps=0.0))
    assert math.isnan(losses.gaussian_nll_loss(1.0, 0.0, NAN))


@pytest.mark.parametrize(
    "settings", [{}, {"full": True}, {"log_input": False}, {"log_input": False, "eps": 0.1}], ids=str
)
def test_poisson(settings):
    counts = RNG.integers(0, 20, (4, 3)).astype(float)
    counts[0, 0] = 0.5
    for reduction in REDUCTIONS:
        settings = {**settings, "reduction": reduction}
        compare(
            lambda x: F.poisson_nll_loss(x, torch.tensor(counts), **settings),  # noqa: B023
            lambda x: losses.poisson_nll_loss(x, counts, **settings),  # noqa: B023
            W,
        )
        compare(
            lambda x, y: F.poisson_nll_loss(x, y, **settings),  # noqa: B023
            lambda x, y: losses.poisson_nll_loss(x, y, **settings),  # noqa: B023
            W,
            counts + 0.25,
        )


@pytest.mark.parametrize("log_target", [False, True])
@pytest.mark.parametrize("reduction", [*REDUCTIONS, "batchmean"])
def test_divergence(reduction, log_target):
    x = np.log(P)
    for target in (P[::-1], P) if log_target else (P[::-1], Q / 2):
        y = np.log(target) if log_target else target
        settings = {"reduction": reduction, "log_target": log_target}
        positive = np.where(y == 0, 0.5, y)
        compare(
            lambda x: F.kl_div(x, torch.tensor(y.copy()), **settings),  # noqa: B023
            lambda x: losses.kl_div(x, y, **settings),  # noqa: B023
            x,
        )
        compare(
            lambda x, y: F.kl_div(x, y, **settings),  # noqa: B023
            lambda x, y: losses.kl_div(x, y, **settings),  # noqa: B023
            x,
            positive,
        )
    corners = [0.0, -INF, 1.0, -0.5, NAN]
    for a, b in product([-INF, -1.0, 0.0, 1.0], corners):
        expected = F.kl_div(torch.tensor([a]).double(), torch.tensor([b]).double(), log_target=log_target)
        assert losses.kl_div([a], [b], log_target=log_target) == pytest.approx(expected.item(), nan_ok=True)


# Cosines.


@pytest.mark.parametrize(
    ("first", "second", "dim"),
    [
        ((4, 3), (4, 3), 1),
        ((4, 3), (4, 3), 0),
        ((3,), (3,), 0),
        ((3,), (4, 3), -1),
        ((2, 3, 4), (3, 1), 1),
        ((2, 3, 4), (2, 3, 4), -3),
        ((1, 3), (4, 1), 1),
        ((), (), 0),
    ],
)
def test_cosines(first, second, dim):
    a, b = RNG.normal(size=first), RNG.normal(size=second)
    for eps in (1e-8, 1.5):     # some norms are below
        compare(
            lambda a, b: F.cosine_similarity(a, b, dim, eps),  # noqa: B023
            lambda a, b: losses.cosine_similarity(a, b, dim, eps),  # noqa: B023
            a,
            b,
            atol=1e-12,     # where gradients are 0 but for rounding: that of a vector along itself
        )


def test_cosines_of_small_vectors():
    compare(F.cosine_similarity, losses.cosine_similarity, [[0, 0], [1, 2], [1e-9, 0]], [[1, 2], [0, 0], [1, 1]])
    assert math.isnan(losses.cosine_similarity([0.0, 0.0], [1.0, 1.0], dim=0, eps=0.0))


# What is refused.

V = Value(0.5)
PAIR = [[V, V, V], [V, V, V]]
REFUSED = [
    (lambda: losses.mse_loss([V, V], [1, 1], weight=[1.0]), ValueError, r"weight must have shape \(2,\), .*got \(1,\)"),
    (lambda: losses.mse_loss([V, V], [1, 1], weight=2.0), ValueError, r"weight must have shape \(2,\), a number"),
    (lambda: losses.mse_loss([V, V], [1, 1], weight=[1.0, "a"]), TypeError, r"weight\[1\] must be a Value or a real"),
    (
        lambda: losses.binary_cross_entropy_with_logits(PAIR, PAIR, pos_weight=[1.0, 2.0]),
        ValueError,
        r"pos_weight must have a shape that fits \(2, 3\), such as \(3,\), a number for each output, got \(2,\)",
    ),
    (lambda: losses.binary_cross_entropy([V], [1], [[1.0]]), ValueError, r"weight must have a shape that fits"),
    (lambda: losses.binary_cross_entropy([V], [1], []), ValueError, "weight must have at least one entry"),
    (lambda: losses.cross_entropy(PAIR, [0, 1], [1.0, 2.0]), ValueError, "weight must have 3 entries, one for each"),
    (lambda: losses.nll_loss(PAIR, [0, 1], 2.0), ValueError, r"weight must have 3 entries, .*got shape \(\)"),
    (lambda: losses.cross_entropy(PAIR, [0, 1], ignore_index=1.0), TypeError, "ignore_index must be an integer"),
    (lambda: losses.cross_entropy(PAIR, [0, 1], label_smoothing=1.5), ValueError, r"label_smoothing must be in"),
    (lambda: losses.cross_entropy(PAIR, PAIR, ignore_index=2), ValueError, "ignore_index is for targets that are"),
    (lambda: losses.cross_entropy([PAIR], [[0, 0]]), ValueError, r"target must have shape \(1, 3\), got \(1, 2\)"),
    (lambda: losses.gaussian_nll_loss([V, V], [1, 1], [1.0, -1]), ValueError, r"var\[1\] must be at least 0, got -1"),
    (lambda: losses.gaussian_nll_loss(PAIR, PAIR, [1.0, 2.0, 3.0]), ValueError, r"var must be a number or have shape"),
    (lambda: losses.gaussian_nll_loss([V], [1], [1.0], full=1), TypeError, "full must be True or False"),
    (lambda: losses.gaussian_nll_loss([V], [1], [1.0], eps=-1), ValueError, "eps must be at least 0"),
    (lambda: losses.poisson_nll_loss([V], [1], log_input="yes"), TypeError, "log_input must be True or False"),
    (lambda: losses.kl_div([V], [1], log_target=None), TypeError, "log_target must be True or False"),
    (lambda: losses.kl_div([V], [1], "batch"), ValueError, "'mean', 'sum' or 'none', got 'batch'; .*'batchmean'"),
    (lambda: losses.smooth_l1_loss([V], [1], beta=-0.5), ValueError, "beta must be at least 0"),
    (lambda: losses.cosine_similarity([V, V], [1, 1]), ValueError, "dim must be an axis of the 1 .*got 1; .*it is 0"),
    (lambda: losses.cosine_similarity([V, V], [1, 1, 1], 0), ValueError, r"shapes that fit, got \(2,\) and \(3,\)"),
    (lambda: losses.cosine_similarity([V, "a"], [1, 1], 0), TypeError, r"x1\[1\] must be a Value or a real number"),
    (lambda: losses.cross_entropy(PAIR, [0, 1], labelsmoothing=0.1), TypeError, "Did you mean 'label_smoothing'"),
]


@pytest.mark.parametrize(("call", "error", "message"), REFUSED, ids=[message[:40] for _, _, message in REFUSED])
def test_what_is_refused(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_the_order_of_arguments_is_that_of_pytorch():
    """Less the two that PyTorch gave up."""
    import inspect

    for name in losses.__all__:
        if name in ("hinge_loss", "cosine_similarity"):     # PyTorch's own has no signature
            continue
        ours, theirs = (inspect.signature(getattr(module, name)).parameters for module in (losses, F))
        expected = [key for key in theirs if key not in ("size_average", "reduce")]
        assert list(ours) == expected
        assert {key: p.default for key, p in ours.items()} == {key: theirs[key].default for key in expected}


def test_a_reduction_may_still_come_third():
    for name in ("binary_cross_entropy", "binary_cross_entropy_with_logits", "mse_loss"):
        f = getattr(losses, name)
        assert f([0.25, 0.5], [0, 1], "sum") == f([0.25, 0.5], [0, 1], reduction="sum") != f([0.25, 0.5], [0, 1])
    assert losses.cross_entropy([PAIR[0]], [0], "none")[0].data == losses.cross_entropy(PAIR[0], 0).data
    assert losses.nll_loss([[1.0, 2.0]] * 2, [1, 1], "sum") == -4.0


def test_weights_are_constants_or_learnt():
    w = microgradc.array([0.5, 2.0])
    x = [Value(1.0), Value(-1.0)]
    losses.mse_loss(x, [0.0, 1.0], weight=w).backward()
    assert grads(w).tolist() == pytest.approx([(1 - 3.4) / 2.5, (4 - 3.4) / 2.5])
    frozen = [stop_gradient(v) for v in w]
    assert losses.mse_loss(x, [0.0, 1.0], weight=frozen).data == losses.mse_loss(x, [0.0, 1.0], weight=to_numpy(w)).data
