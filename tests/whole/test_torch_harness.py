"""PyTorch's own samples of operations over many numbers, of losses and of optimizers: values and gradients.

What is left out is counted by its reason, and each reason is listed: a new one fails.
"""

from collections import Counter

import numpy as np
import pytest
import torch
from torch_samples import internal, samples

import microgradc
from microgradc import array, grads, losses, optim
from microgradc.engine.value import plain_number


def numbers(x):
    return np.vectorize(plain_number, otypes=[float])(np.asarray(x, object))


def compare(theirs, ours, tensors):
    """Compare a function of tensors, and the gradients of a weighted sum of its results, with ours of arrays."""
    tensors = [t.detach().clone().requires_grad_() for t in tensors]
    out = theirs(*tensors)
    arrays = [array(t.detach().numpy()) for t in tensors]
    got = np.asarray(ours(*arrays), object)
    assert got.shape == tuple(out.shape)
    np.testing.assert_allclose(numbers(got), out.detach().numpy(), rtol=1e-12, atol=1e-13)
    weights = np.linspace(1.0, 2.0, got.size).reshape(got.shape)
    if not got.size:
        return
    np.sum(got * weights).backward()
    slopes = torch.autograd.grad((out * torch.from_numpy(weights)).sum(), tensors, allow_unused=True)
    for a, slope in zip(arrays, slopes, strict=True):
        expected = np.zeros(a.shape) if slope is None else slope.numpy()
        np.testing.assert_allclose(grads(a), expected, rtol=1e-11, atol=1e-13)


# Operations over many numbers.


def along(f, x, dim, keepdim):
    """Reduce an array along some of its axes with a function of a list."""
    axes = tuple(range(x.ndim)) if dim in (None, ()) else (dim,) if isinstance(dim, int) else tuple(dim)
    axes = tuple(axis % max(x.ndim, 1) for axis in axes) if x.ndim else ()
    rest = [n for i, n in enumerate(x.shape) if i not in axes]
    rows = np.moveaxis(x, axes, range(x.ndim - len(axes), x.ndim)).reshape(*rest, -1)
    result = np.empty(rows.shape[:-1], object)
    for place in np.ndindex(*rows.shape[:-1]):
        result[place] = f(list(rows[place]))
    return result.reshape([1 if i in axes else n for i, n in enumerate(x.shape)]) if keepdim else result


def mapped(f, x, dim):
    """Map a function of a list to a list over the rows along an axis."""
    if not x.ndim:
        return np.asarray(f([x.item()])[0], object)
    moved = np.moveaxis(x, dim, -1)
    result = np.empty(moved.shape, object)
    for place in np.ndindex(*moved.shape[:-1]):
        result[place] = f(list(moved[place]))
    return np.moveaxis(result, -1, dim)


REDUCTIONS = ["sum", "mean", "logsumexp"]


@pytest.mark.parametrize("name", REDUCTIONS)
def test_reductions(name):
    taken, left_out = 0, Counter()
    for x, args, kwargs in samples(name):
        if not x.numel():
            left_out["no numbers"] += 1
            continue
        dim = args[0] if args else kwargs.get("dim")
        keepdim = args[1] if len(args) > 1 else kwargs.get("keepdim", False)
        theirs = getattr(torch, name)
        compare(
            lambda t: theirs(t, *args, **kwargs),  # noqa: B023
            lambda a: along(getattr(microgradc, name), a, dim, keepdim),  # noqa: B023
            [x],
        )
        taken += 1
    assert taken >= 10
    assert set(left_out) <= {"no numbers"}


@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
def test_softmax(name):
    taken = 0
    for x, args, kwargs in samples(name):
        if x.numel():
            theirs = getattr(torch, name)
            compare(
                lambda t: theirs(t, *args, **kwargs),  # noqa: B023
                lambda a: mapped(getattr(microgradc, name), a, args[0]),  # noqa: B023
                [x],
            )
            taken += 1
    assert taken >= 6


def test_dot():
    for x, (y,), _ in samples("dot"):
        compare(torch.dot, lambda a, b: microgradc.dot(list(a), list(b)), [x, y])


def test_linear():
    def linear(x, w, b=None):
        b = [0.0] * len(w) if b is None else list(b)
        result = np.empty((*x.shape[:-1], len(w)), object)
        for place in np.ndindex(*x.shape[:-1]):
            result[place] = microgradc.linear(list(x[place]), w.tolist(), b)
        return result

    taken = 0
    for x, args, _ in samples("nn.functional.linear"):
        if x.numel() and all(t.ndim == 2 - i for i, t in enumerate(args)):
            compare(torch.nn.functional.linear, linear, [x, *args])
            taken += 1
    assert taken >= 5


# Losses.

# For each loss: how many samples there are at least.
LOSSES = {
    "mse_loss": 6,
    "l1_loss": 6,
    "huber_loss": 9,
    "smooth_l1_loss": 8,
    "binary_cross_entropy": 11,
    "binary_cross_entropy_with_logits": 26,
    "cross_entropy": 21,
    "nll_loss": 61,
    "gaussian_nll_loss": 300,
    "poisson_nll_loss": 72,
    "kl_div": 16,
    "cosine_similarity": 9,
}


def plain(x):
    return x.detach().numpy() if isinstance(x, torch.Tensor) else x


@pytest.mark.filterwarnings("ignore:reduction. 'mean' divides:UserWarning")
@pytest.mark.parametrize("name", LOSSES)
def test_losses(name):
    theirs, ours = getattr(torch.nn.functional, name), getattr(losses, name)
    taken = empty = 0
    for x, (target, *rest), kwargs in samples(f"nn.functional.{name}"):
        if not x.numel():
            empty += 1
            continue
        named = {key: plain(value) for key, value in kwargs.items() if value is not None}
        target_of_ours, *more = map(plain, (target, *rest))
        tensors = [x, target] if target.is_floating_point() else [x]

        def of_tensors(x, t=target, theirs=theirs, rest=rest, kwargs=kwargs):
            return theirs(x, t, *rest, **kwargs)

        def of_arrays(x, t=target_of_ours, ours=ours, more=more, named=named):
            return ours(x, t, *more, **named)

        compare(of_tensors, of_arrays, tensors)
        taken += 1
    assert taken >= LOSSES[name]
    assert empty <= (name in ("cross_entropy", "nll_loss")), "a mean of nothing is an error here"


def test_every_loss_has_samples():
    assert set(losses.__all__) - set(LOSSES) == {"hinge_loss"}     # PyTorch's has another meaning


# Optimizers.

KINDS = ["SGD", "Adam", "AdamW", "RMSprop", "Adagrad", "NAdam"]
HOW_IT_IS_COMPUTED = {"foreach", "fused", "capturable", "differentiable"}    # settings that change no number


@pytest.mark.parametrize("name", KINDS)
def test_optimizers(name):
    torch.set_default_dtype(torch.float64)     # that of NAdam's product of momenta
    try:
        compare_optimizers(name)
    finally:
        torch.set_default_dtype(torch.float32)


def compare_optimizers(name):
    [entry] = [o for o in internal("common_optimizers").optim_db if o.optim_cls.__name__ == name]
    taken = 0
    for sample in entry.optim_inputs_func(device="cpu", dtype=torch.float64):
        kwargs = {key: value for key, value in sample.kwargs.items() if key not in HOW_IT_IS_COMPUTED}
        rng = np.random.default_rng(0)
        start, curvature = rng.normal(size=(2, 6))
        t = torch.tensor(start, requires_grad=True)
        a = array(start)
        if isinstance(kwargs.get("lr"), torch.Tensor):
            kwargs["lr"] = kwargs["lr"].item()    # a tensor is an error here, which says so
        theirs, ours = entry.optim_cls([t], **sample.kwargs), getattr(optim, name)(list(a), **kwargs)
        for _ in range(100):
            theirs.zero_grad()
            ours.zero_grad()
            (torch.sin(t * 3) * torch.from_numpy(curvature) + t * t).sum().backward()
            np.sum(np.sin(a * 3) * curvature + a * a).backward()
            theirs.step()
            ours.step()
        np.testing.assert_allclose(numbers(a), t.detach().numpy(), rtol=1e-12, err_msg=sample.desc)
        taken += 1
    assert taken >= 5


def test_other_optimizers_are_named_as_missing():
    """What PyTorch has more than these is not here; a new one of ours must be added to KINDS."""
    ours = {n for n, c in vars(optim).items() if isinstance(c, type) and issubclass(c, optim.Optimizer)} - {"Optimizer"}
    assert ours == set(KINDS)
