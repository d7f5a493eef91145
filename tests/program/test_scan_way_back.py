"""The way back through a loop: what of an iteration is run again, what is kept of it, which gradients are assigned."""

import numpy as np
import pytest
from engine.test_table import ROWS

from microgradc import Value, compile, cos, dot, engine, less, logsumexp, scan, sin, sqrt, take, where
from microgradc import sum as sum_of

rng = np.random.default_rng(0)
W = [Value(x) for x in rng.normal(size=6)]
OPERANDS = {row.name: row.operands for row in engine.TABLE}


def require_same_bits(f, X):
    """Compare examples side by side, whose iterations are run again, with each by itself, which keeps what it wrote;
    and with a plain loop."""
    side_by_side, single = compile(f), compile(f)
    value, grads = side_by_side.map_value_and_grad(*X.T)
    for i, row in enumerate(X):
        found, slopes = single.value_and_grad(*row)
        values = [Value(x) for x in row]
        y = f(*values)
        y.backward()
        np.testing.assert_array_equal(found, value[i])
        np.testing.assert_array_equal(slopes, [g[i] for g in grads])
        np.testing.assert_allclose(slopes, [v.grad for v in values], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", OPERANDS)
def test_rows(name):
    """What a row reads on its way back was computed again: its operands, its result, or neither."""
    operation = ROWS[name][1]

    def f(x, y, z):
        def step(c, _):
            operands = (0.3 * c + 0.4, 0.2 * y + 0.1 * c, z + 0.1 * c)[: OPERANDS[name]]
            return 0.25 * c + 0.5 * operation(*operands), None

        return scan(step, x, length=4)[0]

    require_same_bits(f, rng.uniform(0.2, 0.6, size=(9, 3)))


LOOPS = {
    "one carry is the other one": lambda c, x, y: (c[1], c[0] * y),
    "both are the same": lambda c, x, y: (c[0] * c[1], c[0] * c[1]),
    "what is around": lambda c, x, y: (x, c[0] + c[1] * y),
    "the same again": lambda c, x, y: (c[0], c[1] * c[0] + y),
    "a parameter": lambda c, x, y: (W[0], c[0] * c[1] + y),
    "a constant": lambda c, x, y: (0.5, c[0] * c[1] + y),
    "twice": lambda c, x, y: (c[0] * c[0] + c[0], c[1] + c[0]),
    "angles": lambda c, x, y: (sin(c[0]) * cos(c[0]), cos(c[1]) + sin(c[0] + y) * sin(y)),
    "a run of angles": lambda c, x, y: (sum_of([sin(c[0] + w) for w in W]), sum_of([cos(w * c[1]) for w in W]) * y),
    "a layer": lambda c, x, y: (dot(W[:3], [c[0], c[1], y]), dot(W[3:], [c[0], c[1], y])),
    "a layer of what is read": lambda c, x, y: (sin(dot(W[:3], [c[0], c[1], y])), c[0] * dot(W[3:], [c[0], c[1], x])),
    "products": lambda c, x, y: (dot([c[0], c[1]], [x, y]), c[0] - c[1]),
    "sums of exponentials": lambda c, x, y: (logsumexp([c[0], c[1], y]), logsumexp([c[1], x])),
    "a choice": lambda c, x, y: (where(less(c[0], y), c[0] + c[1], sqrt(c[0] * c[0] + 1.0)), c[1] * y),
    "a loop": lambda c, x, y: (scan(lambda d, _: (d * c[1] + sin(d) * y, None), c[0], length=3)[0], c[1] + c[0]),
}


@pytest.mark.parametrize("keep", ["all", "sqrt"])
@pytest.mark.parametrize("name", LOOPS)
def test_loops(name, keep):
    def f(x, y):
        c = scan(lambda c, _: (LOOPS[name](c, x, y), None), (x, y * y), length=6, keep=keep)[0]
        return c[0] + c[1] * x

    require_same_bits(f, rng.uniform(-1.0, 1.0, size=(11, 2)))


@pytest.mark.parametrize("keep", ["all", "sqrt"])
def test_ys_and_xs_and_an_end(keep):
    def f(x, y):
        steps = [x * 0.5, y, x * y, x, y * y]
        c, ys = scan(lambda c, u: (c * u + sin(c), (c + u, cos(c))), x, steps, keep=keep)
        (d,) = scan(lambda c, u: ((c[0] * u + 0.5 * c[0],), None), (x,), steps, keep=keep,
                    until=lambda c: less(y, c[0]))[0]
        return c * ys[0][4] + ys[1][2] + d

    require_same_bits(f, rng.uniform(-1.0, 1.0, size=(11, 2)))


def test_indices_that_are_computed_are_right_when_an_iteration_is_run_again():
    def f(x, y):
        return scan(lambda c, i: (c * take([x, y, x * y], i % 3) + take([x, y], (i + 1) // 4), None), x, range(6))[0]

    require_same_bits(f, rng.uniform(-1.0, 1.0, size=(9, 2)))


def test_angles_far_from_zero():
    """There the reduction is the C library's."""
    X = np.array([[1e22, 0.5], [-3e7, 1e300], [0.0, -0.0], [2.0**20, -(2.0**20)], [np.inf, 1.0], [np.nan, 1.0]])
    def several(x, y):
        return sum_of([sin(x * k) * cos(y * k) for k in range(9)])

    for f in (lambda x, y: sin(x) * cos(y) * sin(y), several):
        value, (gx, gy) = compile(f).map_value_and_grad(*X.T)
        for i, row in enumerate(X):
            found, slopes = compile(f).value_and_grad(*row)
            np.testing.assert_array_equal([found, *slopes], [value[i], gx[i], gy[i]])
            np.testing.assert_array_equal(found, compile(f).map(*X.T)[i])
