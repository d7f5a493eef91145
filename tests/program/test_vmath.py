"""The functions of vmath.h, at each SIMD level that this processor has: against mpmath, and libm's special values."""

import functools
import itertools
import math
import re
from pathlib import Path

import numpy as np
import pytest

import microgradc
from microgradc import Value, _kernels, engine

mpmath = pytest.importorskip("mpmath", reason="compares with mpmath")

INF, NAN = math.inf, math.nan
LANES = Path(__file__).parents[2] / "src" / "microgradc" / "program" / "lanes"
HEADER = (LANES / "vmath.h").read_text(encoding="utf-8")
BOUNDS = {
    name: float(ulp)
    for name, ulp in re.findall(r"(\w+) (\d\.\d)(?=[ ,])", HEADER.split("Largest errors")[1].split("*/")[0])
}
each_level = pytest.mark.parametrize("level", _kernels.levels())
each_function = pytest.mark.parametrize("name", BOUNDS)

FAR = 2.0**20  # angles beyond take another loop
DOMAINS = {
    "exp": (-750, 715), "expm1": (-50, 715), "sinh": (-715, 715), "cosh": (-715, 715), "tanh": (-22, 22),
    "sigmoid": (-750, 50),
    "log": (0, 10), "log2": (0, 10), "log1p": (-1, 10), "acosh": (1, 10), "asin": (-1, 1), "acos": (-1, 1),
    "atanh": (-1, 1),
    "sin": (-FAR, FAR), "cos": (-FAR, FAR), "tan": (-FAR, FAR), "erf": (-6.2, 6.2),
}  # fmt: skip
ODD = [
    "expm1",
    "log1p",
    "sin",
    "tan",
    "asin",
    "atan",
    "sinh",
    "tanh",
    "asinh",
    "atanh",
    "erf",
]  # or x at 0, with its sign
SPECIAL = [
    0.0,
    1.0,
    0.5,
    2.0,
    3.0,
    2.5,
    1e10,
    2.0**52 + 1,
    2.0**53,
    2.0**53 + 2,
    1 - 2**-53,
    1 + 2**-52,
    5e-324,
    2.2e-308,
    1e-300,
]
SPECIAL += [1.7976931348623157e308, 708.5, 709.9, 710.4, 710.5, 744.4, 745.2, INF, NAN]
SPECIAL += [-x for x in SPECIAL]


def operands(name):
    return next(row.operands for row in engine.TABLE if row.name == name.upper())


def lanes(level, name, x):
    """The level's values at x of shape (operands, lanes)."""
    out = np.empty((1, x.shape[1]))
    _kernels.forward(level, name.upper(), x, out)
    return out[0]


def libm(name, *x):
    if name == "sigmoid" and x[0] < 0:  # the engine's is 0 below -709
        return math.exp(x[0]) / (1 + math.exp(x[0]))
    operation = Value.__pow__ if name == "pow" else getattr(microgradc, name)
    return operation(*map(Value, x)).data


def exact(name, *x):
    """The value to 60 digits and more: a float and the rest."""
    x = [mpmath.mpf(v) for v in x]
    with mpmath.workdps(400 if abs(x[0]) > FAR or abs(x[0]) < 1e-20 else 60):
        if name == "pow":
            y = mpmath.power(*x)
        elif name == "sigmoid":
            y = 1 / (1 + mpmath.exp(-x[0]))
        elif name == "log2":
            y = mpmath.log(x[0]) / mpmath.ln2
        else:
            y = getattr(mpmath, name)(*x)
        nearest = float(y)
        return nearest, float(y - nearest) if math.isfinite(nearest) else 0.0


@functools.cache
def arguments(name):
    """At random over the domain, over all doubles, near 0, near 1, near the smallest double; for angles, near multiples
    of pi / 4."""
    rng = np.random.default_rng(0)
    low, high = DOMAINS.get(name, (-10, 10))
    shape = (operands(name), 400)
    patterns = rng.integers(0, 2**64, shape, dtype=np.uint64, endpoint=False).view(float)
    near_0 = rng.uniform(-1, 1, shape) * 2.0 ** -rng.integers(0, 80, shape)
    near_1 = 1 + rng.uniform(-1, 1, shape) * 2.0 ** -rng.integers(1, 52, shape)
    subnormal = rng.uniform(-1, 1, shape) * 2.0**-1022
    x = np.concatenate([rng.uniform(low, high, shape), patterns, near_0, near_1, subnormal], axis=1)
    if name == "pow":  # results over the whole range
        base = np.abs(np.concatenate([patterns[0], near_1[0], near_0[0]]))
        with np.errstate(all="ignore"):
            x = np.concatenate([np.abs(x), [base, rng.uniform(-750, 715, base.shape) / np.log(base)]], axis=1)
    if name in ("sin", "cos", "tan"):
        x = np.where(np.abs(x) > 2.0**1000, NAN, x)
        multiples = rng.integers(-(2**20), 2**20, shape) * (math.pi / 4)
        far = rng.uniform(-1, 1, shape) * 2.0 ** rng.integers(20, 1000, shape)
        x = np.concatenate([x, multiples, np.nextafter(multiples, INF), far], axis=1)
    inside = np.isfinite(x).all(axis=0)
    if name in DOMAINS and name not in ("sin", "cos", "tan"):
        inside &= (low < x[0]) & (x[0] < high) | (name.startswith("log") & (x[0] > low))
    return x[:, inside & (x != 0).all(axis=0)]


@functools.cache
def expected(name):
    return np.array([exact(name, *x) for x in arguments(name).T.tolist()]).T


def test_each_function_has_a_bound():
    rows = (LANES / "rows.h").read_text(encoding="utf-8")
    assert set(re.findall(r"#define (\w+)(?:\(x\) NEAR_OR_ANY| MGC_V)\(", rows)) == set(BOUNDS)


NEAR = {
    "exp": lambda x: np.abs(x) <= 708, "log": lambda x: (x >= 2.0**-1022) & (x < INF), "sigmoid": lambda x: x >= -36,
    **dict.fromkeys(["sin", "cos", "tan"], lambda x: np.abs(x) <= FAR),
}  # fmt: skip


@each_level
@pytest.mark.parametrize("name", NEAR)
def test_a_far_argument_changes_no_other_value(name, level):
    x = arguments(name)
    near = x[:, NEAR[name](x[0])]
    assert near.shape[1] > 500
    for far in -1e300, INF, NAN, -5e-324, 1e300:
        got = lanes(level, name, np.concatenate([near, [[far]]], axis=1))
        assert got[:-1].tobytes() == lanes(level, name, near).tobytes()
        np.testing.assert_array_equal(got[-1:], lanes(level, name, np.array([[far]])))


@pytest.mark.skipif("avx512" not in _kernels.levels(), reason="this processor has no AVX-512")
@each_function
def test_the_levels_with_fused_multiply_add_have_the_same_bits(name):
    x = arguments(name)
    near = x[:, NEAR[name](x[0])] if name in NEAR else x
    for given in x, near:
        wide, narrow = lanes("avx512", name, given), lanes("avx2", name, given)
        np.testing.assert_array_equal(wide, narrow)
        assert (np.signbit(wide) == np.signbit(narrow))[~np.isnan(wide)].all()


@each_level
@each_function
def test_within_the_documented_bound(name, level):
    nearest, rest = expected(name)
    got = lanes(level, name, arguments(name))
    with np.errstate(invalid="ignore"):
        error = np.where(got == nearest, np.abs(rest), np.abs((got - nearest) - rest)) / np.spacing(np.abs(nearest))
    error = np.where(np.isinf(nearest), np.where(got == nearest, 0, INF), error)
    worst = error.argmax()
    assert error[worst] <= BOUNDS[name], (arguments(name)[:, worst], got[worst], nearest[worst])
    assert error[worst] > 0.4  # the reference is not the function itself


@each_level
@each_function
def test_special_values_are_libms(name, level):
    points = list(itertools.product(SPECIAL, repeat=operands(name)))
    for point, got in zip(points, lanes(level, name, np.array(points).T), strict=True):
        want = libm(name, *point)
        if math.isnan(want):
            assert math.isnan(got), point
        elif want in (0, 1, -1) or math.isinf(want):
            assert (got, math.copysign(1, got)) == (want, math.copysign(1, want)), point
        else:
            assert abs(got - want) <= (BOUNDS[name] + 1) * math.ulp(want), point


@each_level
@pytest.mark.parametrize("name", ODD)
def test_around_zero_it_is_nearly_its_argument(name, level):
    above = np.concatenate([[0.0, 5e-324, 1e-310, 2.0**-1022], 2.0 ** -np.arange(60, 1000.0)])
    slope = 2 / math.sqrt(math.pi) if name == "erf" else 1
    for x in (above, -above):
        got = lanes(level, name, x[None])
        assert np.array_equal(np.signbit(got), np.signbit(x))
        assert np.all(np.abs(got - slope * x) <= np.spacing(np.abs(x)))


@each_level
@pytest.mark.parametrize("name", ["sin", "cos", "tan"])
def test_a_far_angle_leaves_its_neighbours_alone(name, level):
    x = np.random.default_rng(1).uniform(-100, 100, 64)
    alone = lanes(level, name, x[None])
    beside = x.copy()
    beside[5] = 1e22
    got = lanes(level, name, beside[None])
    assert np.array_equal(np.delete(got, 5), np.delete(alone, 5))
    assert got[5] == pytest.approx(getattr(math, name)(1e22), rel=1e-15)


@each_level
@pytest.mark.parametrize(("name", "derivative"), [("SIN", math.cos), ("COS", lambda x: -math.sin(x))])
def test_gradients_at_far_angles(name, derivative, level):
    x = np.array([[0.5, 1e22, -3.0, 1e300, 2.0**20, -(2.0**20), np.nextafter(2.0**20, INF), 7.0]])
    grads = np.zeros_like(x)
    _kernels.backward(level, name, x, np.zeros_like(x), np.full_like(x, 2.0), grads)
    assert grads[0] == pytest.approx([2 * derivative(v) for v in x[0]], rel=1e-15)
