"""The samples with which PyTorch tests its operations: each row of the table gives its values and gradients.

Eagerly, as a function, and compiled. What differs is in docs/differences.md.
"""

import math
from collections import Counter

import pytest
import torch
import torch.nn.functional as F
from torch_samples import few, samples

import microgradc
from microgradc import Value, engine
from microgradc.engine import functions
from microgradc.engine.value import operate, plain_number


class LeftOut(Exception):
    """Why a sample is."""


def same(f, ours=None, **only):
    """Take f's samples as they are; leave out those whose settings are not these."""

    def read(x, args, kwargs):
        for name, value in kwargs.items():
            if name not in only or value != only[name]:
                raise LeftOut(f"{name} is a setting that the row does not have")
        return f, ours, (x, *args)

    return read


def with_alpha(f, ours):
    def read(x, args, kwargs):
        alpha = kwargs.get("alpha", 1)
        if isinstance(alpha, complex):
            raise LeftOut("alpha is complex")
        return (lambda x, y: f(x, y, alpha=alpha)), (lambda x, y: ours(x, y * alpha)), (x, *args)

    return read


def with_setting(f, ours, name, default):
    ours = getattr(microgradc, ours)

    def read(x, args, kwargs):
        value = kwargs.get(name, args[0] if args else default)
        return (lambda x: f(x, value)), (lambda x: ours(x, value)), (x,)

    return read


def softplus(x, args, kwargs):
    beta, threshold = kwargs.get("beta", 1), kwargs.get("threshold", 20)
    below = x[x * beta <= threshold]    # above, PyTorch returns x
    return (lambda x: F.softplus(x, beta, threshold)), (lambda x: (x * beta).softplus() / beta), (below,)


def clamp(x, args, kwargs):
    lo, hi = (*args, *(kwargs.get(name) for name in ("min", "max")[len(args) :]))
    if lo is None or hi is None:
        raise LeftOut("one of the bounds is None")
    return torch.clamp, microgradc.clip, (x, lo, hi)


def where(condition, args, kwargs):
    return (lambda c, x, y: torch.where(c != 0, x, y)), microgradc.where, (condition.double(), *args)


def where_of_input(x, args, kwargs):
    """PyTorch's samples have the condition second."""
    return where(args[0], (x, args[1]), kwargs)


def bce(x, args, kwargs):
    if kwargs.get("weight") is not None:
        raise LeftOut("weights are up to the loss")
    return F.binary_cross_entropy, microgradc.bce, (x, *args)


def without_slope(f, ours):
    """PyTorch has no derivative; here it is 0."""

    def read(x, args, kwargs):
        return (lambda x, y: f(torch.as_tensor(x).double(), y).detach()), ours, (x, *args)

    return read


def remainder(x, args, kwargs):
    """PyTorch has no derivative of the remainder of a number by a tensor."""
    return torch.remainder, (lambda x, y: x % y), (torch.as_tensor(x), *args)


def step(x, args, kwargs):
    return (lambda x: torch.heaviside(x, torch.zeros_like(x)).detach()), None, (x,)


def polygamma(x, args, kwargs):
    order = kwargs.get("n", *args)
    return (lambda n, x: torch.polygamma(int(n), x)), (lambda n, x: operate("polygamma", n, x)), (order, x)


# For each row: PyTorch's name (and variant), and how a sample is read. None: as the function of the row's name is.
NAMES = {
    "ADD": ("add", "", with_alpha(torch.add, lambda x, y: x + y)),
    "SUB": ("sub", "", with_alpha(torch.sub, lambda x, y: x - y)),
    "MUL": ("mul", "", same(torch.mul, lambda x, y: x * y)),
    "DIV": ("div", "no_rounding_mode", same(torch.div, lambda x, y: x / y)),
    "POW": ("pow", "", same(torch.pow, lambda x, y: x**y)),
    "FLOORDIV": ("floor_divide", "", without_slope(torch.floor_divide, lambda x, y: x // y)),
    "MOD": ("remainder", "", remainder),
    "NEG": ("neg", "", same(torch.neg, lambda x: -x)),
    "ABS": ("abs", "", same(torch.abs, abs)),
    "GAMMALN": ("lgamma", "", same(torch.lgamma)),
    "POLYGAMMA": ("polygamma", "polygamma_n_2", polygamma),
    "RELU": ("nn.functional.relu", "", same(F.relu, inplace=False)),
    "LEAKY_RELU": ("nn.functional.leaky_relu", "", with_setting(F.leaky_relu, "leaky_relu", "negative_slope", 0.01)),
    "ELU": ("nn.functional.elu", "", with_setting(F.elu, "elu", "alpha", 1.0)),
    "GELU": ("nn.functional.gelu", "", same(F.gelu, approximate="none")),
    "SILU": ("nn.functional.silu", "", same(F.silu, inplace=False)),
    "SELU": ("nn.functional.selu", "", same(F.selu, inplace=False)),
    "MISH": ("nn.functional.mish", "", same(F.mish, inplace=False)),
    "SOFTSIGN": ("nn.functional.softsign", "", same(F.softsign)),
    "HARDTANH": ("nn.functional.hardtanh", "", same(F.hardtanh, min_val=-1, max_val=1)),
    "LOG_SIGMOID": ("nn.functional.logsigmoid", "", same(F.logsigmoid)),
    "SOFTPLUS": ("nn.functional.softplus", "", softplus),
    "STEP": ("heaviside", "", step),
    "MINIMUM": ("minimum", "", same(torch.minimum)),
    "MAXIMUM": ("maximum", "", same(torch.maximum)),
    "LESS": ("lt", "", same(lambda x, y: torch.lt(x, y).double(), microgradc.less)),
    "LESS_EQUAL": ("le", "", same(lambda x, y: torch.le(x, y).double(), microgradc.less_equal)),
    "BCE": ("nn.functional.binary_cross_entropy", "", bce),
    "WHERE": ("where", "", where_of_input),
    "CLIP": ("clamp", "", clamp),
}
NOT_IN_PYTORCH = {"CBRT", "STRAIGHT_THROUGH"}    # straight_through(x, y) is (y - x).detach() + x there
WITHOUT_EXTREMES = {"WHERE", "CLIP"}    # PyTorch's extreme samples of these cannot be made with gradients
ROWS = [row for row in engine.TABLE if row.name not in NOT_IN_PYTORCH]

# What docs/differences.md says: a difference of the gradients at these operands.
AT_NAN = {"MAXIMUM", "MINIMUM", "CLIP", "ELU", "SELU", "HARDTANH"}


def reader(row):
    if row.name in NAMES:
        return NAMES[row.name]
    return row.name.lower(), "", same(getattr(torch, row.name.lower()))


def points(row):
    """Yield (PyTorch's function, ours, the operands: numbers, or tensors of one dimension)."""
    name, variant, read = reader(row)
    for x, args, kwargs in samples(name, variant, reference=row.name not in WITHOUT_EXTREMES):
        try:
            theirs, ours, operands = read(x, args, kwargs)
        except LeftOut:
            continue
        tensors = [t for t in operands if isinstance(t, torch.Tensor)]
        if any(isinstance(t, complex) or (isinstance(t, torch.Tensor) and t.is_complex()) for t in operands):
            continue
        settings = row.name in ("LEAKY_RELU", "ELU")
        if len(operands) != (1 if settings else row.operands):
            continue    # logit's eps
        if not tensors or not math.prod(torch.broadcast_shapes(*(t.shape for t in tensors))):
            continue
        chosen = iter(few(tensors))
        operands = [next(chosen).double() if isinstance(t, torch.Tensor) else t for t in operands]
        yield theirs, ours or getattr(microgradc, row.name.lower()), operands


def differentiated(theirs, operands):
    """Return PyTorch's values, and its gradients of each operand that is a tensor."""
    leaves = [t.requires_grad_() if isinstance(t, torch.Tensor) else t for t in operands]
    tensors = [t for t in leaves if isinstance(t, torch.Tensor)]
    kwargs = {"reduction": "none"} if theirs is F.binary_cross_entropy else {}
    out = theirs(*leaves, **kwargs)
    slopes = [None] * len(tensors)
    if out.requires_grad:
        slopes = torch.autograd.grad(out.sum(), tensors, allow_unused=True)
    zeros = torch.zeros_like(out)
    return out.tolist(), list(zip(*((zeros if s is None else s).tolist() for s in slopes), strict=True))


def near(a, b, absolute):
    return (a != a and b != b) or a == b or math.isclose(a, b, rel_tol=1e-9, abs_tol=absolute)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_samples(row):
    count, wrong = Counter(), []

    def check(way, point, got, expected):
        count[way] += 1
        absolute = 1e-13 * max([1.0, *(abs(x) for x in point if math.isfinite(x) and abs(x) < 100)])
        if not near(got, expected, absolute):
            wrong.append((way, point, got, expected))

    for theirs, ours, operands in points(row):
        values, slopes = differentiated(theirs, operands)
        is_value = [isinstance(t, torch.Tensor) for t in operands]
        numbers = [t.tolist() if v else [t] * len(values) for t, v in zip(operands, is_value, strict=True)]
        compiled = None
        for point, value, slope in zip(zip(*numbers, strict=True), values, slopes, strict=True):
            leaves = [Value(x) if v else x for x, v in zip(point, is_value, strict=True)]
            out = ours(*leaves)
            out.backward()
            of_operands = [v.grad for v in leaves if isinstance(v, Value)]
            check("value", point, out.data, value)
            check("of numbers", point, plain_number(ours(Value(point[0]), *point[1:])), value)
            with_slope = not (row.name in AT_NAN and any(x != x for x in point))
            if with_slope:
                for got, expected in zip(of_operands, slope, strict=True):
                    check("gradient", point, got, expected)
            given = [x for x, v in zip(point, is_value, strict=True) if v]
            if compiled is None:
                compiled = in_program(ours, point, is_value)
            of_program, of_inputs = compiled.value_and_grad(*given)
            check("compiled", point, of_program, value)
            if with_slope:
                for got, expected in zip(of_inputs if len(given) > 1 else [of_inputs], slope, strict=True):
                    check("compiled gradient", point, got, expected)
    assert not wrong, f"{len(wrong)} of {count}: {wrong[:8]}"
    assert count["value"] >= 10


def in_program(ours, point, is_value):
    """Compile a function of the operands that are not settings."""

    def f(*given):
        inputs = iter(given)
        return ours(*(next(inputs) if v else x for x, v in zip(point, is_value, strict=True))) * 1.0

    return microgradc.compile(f)


@pytest.mark.parametrize("f", [F.elu, F.selu, F.hardtanh])
def test_slopes_at_nan_depend_on_the_place_in_pytorch(f):
    """PyTorch's lanes have another mask than its loop for the rest: neither is right or wrong."""
    slopes = set()
    for count in (1, 64):
        x = torch.full((count,), math.nan, dtype=torch.float64, requires_grad=True)
        f(x).sum().backward()
        slopes.update(map(str, x.grad.tolist()))
    assert slopes == {"1.0" if f is not F.selu else "1.0507009873554805", "0.0" if f is F.hardtanh else "nan"}


def test_every_row_has_samples():
    assert set(NAMES) | NOT_IN_PYTORCH <= {row.name for row in engine.TABLE}
    assert not hasattr(torch, "cbrt")
    assert functions.cbrt(8.0) == 2.0
    assert not hasattr(torch, "straight_through")
