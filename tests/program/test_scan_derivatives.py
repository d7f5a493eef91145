"""Derivatives of all orders of random programs with loops in loops, loops that end by themselves, selections and
straight-through estimators: recorded, in C texts, and as plain loops of Values, which know nothing of recorded ones."""

import os
import random

import numpy as np
import pytest
from c_library import COMPILERS, WHY_NOT, Library

import microgradc
from microgradc import Value, compile, gradients, hvp, jvp, less, scan, select, stop_gradient, straight_through, take

W = Value(0.7)
COUNT = 3
KINDS = ["mul", "sin", "tanh", "add", "ratio", "select", "inner", "until", "through", "stop", "take", "ys", "slope"]


class Program:
    """A random function of three numbers: expressions at random, of which some are loops, whose steps are such again.

    What is chosen is chosen once, from the seed: each call does the same.
    """

    def __init__(self, seed):
        self.seed = seed

    def __call__(self, x):
        self.choose = random.Random(self.seed)
        return self.block([x[i] for i in range(COUNT)], 3, 4)

    def block(self, given, depth, size):
        """Return a number made of given ones."""
        nodes = list(given)
        for _ in range(size):
            kinds = KINDS if depth > 1 else [k for k in KINDS if k not in ("inner", "until", "ys")]
            kind, a, b = self.choose.choice(kinds), self.choose.choice(nodes), self.choose.choice(nodes)
            nodes.append(getattr(self, kind)(a, b, depth))
        return microgradc.tanh(nodes[-1] + 0.5 * nodes[-2])

    def mul(self, a, b, depth):
        return a * b

    def add(self, a, b, depth):
        return a + W * b

    def ratio(self, a, b, depth):
        return a / (b * b + 1.0)

    def sin(self, a, b, depth):
        return microgradc.sin(a + 0.3)

    def tanh(self, a, b, depth):
        return microgradc.tanh(a * 1.3)

    def select(self, a, b, depth):
        bound = self.choose.choice([-0.35, 0.05, 0.45])
        return select(less(a, bound), a * b, microgradc.sqrt(a - bound + 0.01))

    def through(self, a, b, depth):
        return straight_through(microgradc.floor(a * 4.0) * 0.25, a * b)

    def stop(self, a, b, depth):
        return a * stop_gradient(b)

    def take(self, a, b, depth):
        return take([a, b, a * b], self.choose.randrange(3))

    def slope(self, a, b, depth):
        a = a * 1.0
        return microgradc.tanh(gradients(microgradc.sin(a) * a * b, a))

    def inner(self, a, b, depth):
        keep, length, plan = self.choose.choice(["all", "sqrt"]), self.choose.randint(1, 4), self.choose.random()

        def step(carry, t):
            self.choose = random.Random(plan)
            p, q = carry
            return (self.block([p, q, a], depth - 1, 2), microgradc.tanh(p - q * t)), None

        before = self.choose
        (p, q), _ = scan(step, (a, b), [0.1 * i for i in range(length)], keep=keep)
        self.choose = before
        return p + q

    def until(self, a, b, depth):
        keep, bound, plan = self.choose.choice(["all", "sqrt"]), self.choose.uniform(0.2, 0.9), self.choose.random()

        def step(carry, _):
            self.choose = random.Random(plan)
            p, n = carry
            return (self.block([p, b], depth - 1, 2) * 0.5 + a * 0.1, n + 0.17 * (1.0 + b * b)), None

        before = self.choose
        (p, n), _ = scan(step, (a, b * 0.0), length=7, until=lambda c: less(bound, c[1]), keep=keep)
        self.choose = before
        return p * n

    def ys(self, a, b, depth):
        plan, length = self.choose.random(), self.choose.randint(1, 3)

        def step(c, x):
            self.choose = random.Random(plan)
            y = self.block([c, x, b], depth - 1, 2)
            return y, (y * c, x)

        before = self.choose
        _, (ys, zs) = scan(step, a, [a, a * b, b][:length])
        self.choose = before
        return microgradc.sum([y * z for y, z in zip(ys, zs, strict=True)])


def by_values(f, x, v):
    """Value, gradient, Hessian and the third derivatives along v, twice, of plain loops."""
    xs = [Value(n) for n in x]
    y = f(xs)
    slopes = gradients(y, xs)
    rows = [gradients(slope, xs) for slope in slopes]
    along = microgradc.sum([h * v[i] * v[j] for i, row in enumerate(rows) for j, h in enumerate(row)])
    return (y.data, [g.data for g in slopes], [[h.data for h in row] for row in rows],
            [g.data for g in gradients(along, xs)])  # fmt: skip


def close(found, wanted):
    np.testing.assert_allclose(found, wanted, rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize("seed", range(60 if os.environ.get("MICROGRADC_LONG") else 20))
def test_random_programs(seed, tmp_path):
    plain = Program(seed)
    f, source = compile(plain), random.Random(seed)
    for _ in range(2):
        x, v = ([source.uniform(-1.2, 1.2) for _ in range(COUNT)] for _ in range(2))
        value, slope, matrix, third = by_values(plain, x, v)
        found = f.value_and_grad(np.array(x))
        close(found[0], value)
        close(found[1], slope)
        close(f.map(np.array([x, x]))[1], value)
        close(f.hessian(np.array(x)), matrix)
        close(f.hvp(np.array(x), np.array(v)), np.array(matrix) @ v)
        close(jvp(lambda x, v=v: hvp(f, x, v), (x,), (v,))[1], third)
    if seed % 2 or not COMPILERS:
        return
    slopes = compile(lambda x: gradients(plain(x), x))
    for g, wanted, rows in ((f, [value], [slope]), (slopes, slope, matrix)):
        library = Library(tmp_path, g.to_c(x))
        close(library.values(x, [W.data] * library.counts.get("PARAMETERS", 0)), wanted)
        for i, row in enumerate(rows):
            seeds = [float(k == i) for k in range(len(rows))]
            close(library.gradients(x, seeds)[1], row)


def _captured(x):
    """What is taken from around is undefined, and never taken."""
    root = microgradc.sqrt(x[0] - 5.0)
    return scan(lambda c, t: (c * select(less(c, 9.0), x[1], root) * t, None), x[2], [0.5, 0.7])[0]


def _in_the_xs(x):
    rows = [microgradc.sqrt(x[0] - 5.0), x[0] * x[1], microgradc.log(x[0] - 5.0)]
    return scan(lambda c, t: (c + select(less(t[0], 1.0), x[1], t[1]) * c, None), x[2], ([0.0, 2.0, 0.5], rows))[0]


def _in_the_carry(x):
    """A carry that the next iteration does not take, and that was made of what is infinite."""
    def step(carry, t):
        c, root = carry
        return (c * select(less(2.0, t), root, x[1]), microgradc.sqrt(c * 0.0)), None

    return scan(step, (x[2], microgradc.sqrt(x[0] - 5.0)), [0.1, 0.2, 0.3])[0][0]


def _behind_the_loop(x):
    """The loop itself is undefined, and is not taken."""
    bad = scan(lambda c, _: (microgradc.sqrt(c - 5.0), None), x[0], length=3)[0]
    return select(less(x[0], 2.0), x[0] * x[1] * x[2], bad * x[1])


def _never_begun(x):
    root = microgradc.sqrt(x[0] - 5.0)
    return scan(lambda c, _: (c * root, None), x[2] * x[1], length=3, until=lambda c: less(c, 100.0))[0] * x[0]


@pytest.mark.parametrize("f", [_captured, _in_the_xs, _in_the_carry, _behind_the_loop, _never_begun])
def test_what_is_not_taken_gets_nothing_in_any_order(f):
    x, v = [0.3, 0.6, 0.8], [1.0, -0.5, 2.0]
    _, slope, matrix, third = by_values(f, x, v)
    assert np.isfinite(np.array(matrix)).all()
    compiled = compile(f)
    close(compiled.value_and_grad(np.array(x))[1], slope)
    close(compile(lambda x: gradients(f(x), x))(x)[0].data, slope[0])
    close(compiled.hessian(x), matrix)
    close(jvp(lambda x: hvp(compiled, x, v), (x,), (v,))[1], third)


@pytest.mark.skipif(not COMPILERS, reason=WHY_NOT)
def test_three_loops_in_one_another_in_c(tmp_path):
    def f(x):
        def third(c, t):
            return (c[0] * 0.5 + microgradc.sin(c[1]) * t, c[1] + c[0] * W), c[0]

        def second(c, t):
            (a, b), ys = scan(third, (c, t), [0.3, 0.7])
            return a * b + ys[1], ys[0] * t

        def first(c, t):
            d, ys = scan(second, c * t, [c, t, 0.2])
            return microgradc.tanh(d + ys[2]), d

        c, ys = scan(first, x[0], [x[1], x[2]])
        return c + microgradc.sum(ys)

    x, v = [0.4, -0.7, 0.9], [1.0, 0.5, -1.0]
    _, slope, matrix, third = by_values(f, x, v)
    compiled = compile(f)
    close(compiled.hessian(x), matrix)
    close(jvp(lambda x: hvp(compiled, x, v), (x,), (v,))[1], third)
    library = Library(tmp_path, compile(lambda x: gradients(f(x), x)).to_c(x))
    close(library.values(x), slope)
    for i, row in enumerate(matrix):
        close(library.gradients(x, [float(k == i) for k in range(COUNT)])[1], row)


def test_examples_that_end_at_different_iterations():
    """Newton's square root, which ends when it is near enough: second derivatives of each example of a batch."""
    def root(a):
        step = lambda c, _: ((c + a / c) * 0.5, None)  # noqa: E731
        return scan(step, a * 0.5 + 0.5, length=60, until=lambda c: less(abs(c * c - a), 1e-13 * a))[0]

    A = np.array([1.0, 2.0, 1e6, 1e-6, 9.0, 1e20])
    f = compile(root)
    for a, value, slope in zip(A, f.map(A), f.map_value_and_grad(A)[1], strict=True):
        assert (value, slope) == (pytest.approx(a**0.5), pytest.approx(0.5 * a**-0.5))
        assert f.hessian(a) == pytest.approx(by_values(lambda x: root(x[0]), [a], [1.0])[2][0][0], rel=1e-9)
