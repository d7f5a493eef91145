"""Loops for tests: each as a `scan`, or written out."""

import numpy as np

import microgradc
from microgradc import Value, exp, less, select, take, tanh
from microgradc import sum as sum_of

V, W = Value(-0.3), Value(0.7)
CELLS = [[Value(x) for x in row] for row in np.random.default_rng(0).normal(size=(3, 3)).tolist()]
TABLE = [Value(0.3 * i - 1) for i in range(5)]
PARAMETERS = [V, W, *[w for row in CELLS for w in row], *TABLE]


def written_out(step, carry, xs=None, length=None, *, keep="all", until=None):
    """The loop with an operation for each of all iterations; one that has ended goes on without effect."""
    ys = []
    for t in range(len(xs[0]) if isinstance(xs, tuple) else length if xs is None else len(xs)):
        x = tuple([a[t] for a in xs]) if isinstance(xs, tuple) else None if xs is None else xs[t]
        before = carry
        carry, y = step(carry, x)
        if until is not None:
            ended = until(before)
            carry = tuple([select(ended, a, b) for a, b in zip(before, carry, strict=True)])
        ys.append(y)
    if ys[0] is None:
        return carry, None
    return carry, tuple(map(list, zip(*ys, strict=True))) if isinstance(ys[0], tuple) else ys


def recurrent(scan, keep):
    def f(x, q):
        def step(c, u):
            new = [tanh(sum_of([w * s for w, s in zip(row, c, strict=True)]) + u * x) for row in CELLS]
            return new, new[0] * W

        c, ys = scan(step, [q, 0.0, q * x], [0.1 * i for i in range(11)], keep=keep)
        return c[0] + c[1] * c[2] + sum_of([y * y for y in ys])

    return f


def fed(scan, keep):
    """Carries that change places, xs that depend on arguments and parameters, ys of which some are not used."""
    def f(x, q):
        def step(c, u):
            a, b = u
            return (c[1], c[0] * a + b * exp(-c[1] * q)), (c[0] * b, c[1])

        xs = [x * (0.1 * i) for i in range(7)], [q + W * (0.1 * i) for i in range(7)]
        c, (y, z) = scan(step, (x, q), xs, keep=keep)
        return c[0] * c[1] + y[3] * z[-1] - y[0]

    return f


def counted(scan, keep):
    def f(x, q):
        def step(c, i):
            s, k = c
            return (s * 0.9 + take(TABLE, (i + k) % 5) * x * s, k + 2), s

        c, ys = scan(step, (q, 0), range(9), keep=keep)
        return c[0] + ys[4] * c[1]

    return f


def ended(scan, keep):
    """What would follow is nan."""
    def f(x, q):
        def step(c, _):
            return (c[0] * 0.5 + W * 0.01 * x, c[1] + microgradc.sqrt(c[0] - 0.2)), None

        c, _ = scan(step, (x * x + 1.0, q), length=12, until=lambda c: less(c[0], 0.3), keep=keep)
        return c[0] * c[1]

    return f


def nested(scan, keep):
    def f(x, q):
        def outer(c, u):
            def inner(d, _):
                a, b = d
                return (a + 0.1 * b * W, b - 0.1 * a * x * u), a * b

            d, ys = scan(inner, (c, q), length=5, keep=keep)
            return tanh(d[0] * V + ys[2]), d[1]

        c, ys = scan(outer, x, [0.3, 0.1, -0.2, W, q], keep=keep)
        return c + sum_of(ys)

    return f


def alone(scan, keep):
    """Of parameters alone, with a carry that nothing changes, and one that comes to be a constant."""
    def f(x, q):
        def step(c, _):
            return (c[0] * W + V, c[1], 2.0), c[2]

        c, ys = scan(step, (V, W * V, 1.0), length=6, keep=keep)
        return (c[0] + c[1] * c[2]) * x + ys[1] + q

    return f


LOOPS = {f.__name__: f for f in (recurrent, fed, counted, ended, nested, alone)}
