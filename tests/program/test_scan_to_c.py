"""Loops in C texts: values and gradients are those of the compiled function, and the text is that of one iteration."""

import random

import numpy as np
import pytest
from c_library import COMPILERS, WHY_NOT, Library

import microgradc
from microgradc import Value, compile, nn, scan, select, take, trees

pytestmark = pytest.mark.skipif(not COMPILERS, reason=WHY_NOT)


def flat(nest):
    return [float(x) for leaf in trees.flatten(nest)[0] if leaf is not None for x in np.ravel(leaf)]


def compare(folder, f, args, mode="baked", rel=1e-13, others=()):
    """Compile a function as C; compare values and all gradients with the compiled function's, for several arguments."""
    library = Library(folder, f.to_c(*args, parameters=mode))
    for example in (args, *others):
        parameters = f.program(*example).parameters
        numbers = [p.data for p in parameters]
        for p in parameters:
            p.grad = 0.0
        values = [Value(x) for x in flat(example)]
        count = iter(values)
        nest, shape = trees.flatten(example)
        result = f(*trees.unflatten(shape, [x if isinstance(x, int) and next(count) is not None else
                                            np.array([next(count) for _ in range(x.size)]).reshape(x.shape)
                                            if isinstance(x, np.ndarray) else next(count) for x in nest]))
        outputs = trees.flatten(result)[0]
        seeds = [1.0 + 0.5 * i for i in range(len(outputs))]
        microgradc.sum([s * out for s, out in zip(seeds, outputs, strict=True)]).backward()
        found = library.gradients(flat(example), seeds, numbers)
        wanted = [out.data for out in outputs], [v.grad for v in values], [p.grad for p in parameters]
        for a, b in zip(found, wanted, strict=True):
            np.testing.assert_allclose(a, b, rtol=rel, atol=1e-15)
        assert library.values(flat(example), numbers) == found[0]
    return library


W, B = Value(0.7), Value(-0.2)


def of_xs(x):
    (a, b), ys = scan(lambda c, t: ((c[0] * W + t[0], microgradc.tanh(c[1]) + t[1] * c[0]), (c[0] * c[1], c[1])),
                      (x[0], 0.5), (x[1:8], x[8:]))
    return a + b, ys


def constants(x):
    """xs that are integers, numbers, the same, and numbers and inputs mixed."""
    c, ys = scan(lambda c, t: (c * 0.9 + t[0] * microgradc.sin(t[1]) * W - t[2] + t[3], c * t[0]), x[0],
                 (range(6), np.array([0.1, 0.5, 0.2, -3.0, 0.0, -0.0]), [2.5] * 6, [x[1], 1.0, W, x[2], x[1], x[0]]))
    return [c, *ys]


def counter(x):
    """A carry that is an integer, and is an index; so are xs."""
    table = [x[0], x[1] * x[2], x[2].exp()]
    (c, _), _ = scan(lambda c, t: ((c[0] + take(table, c[1] % 3) * take([1.0, c[0], W], t % 3), c[1] + 2), None),
                     (0.25, 1), range(7))
    return c


def nested(x):
    def inner(c, t):
        return (c[0] + t * c[1] * W.exp(), c[1] * 0.9 + B), c[0] * 0.1

    def outer(c, t):
        (a, b), ys = scan(inner, (c, t), [0.1, x[2], 0.3])
        return a * 0.5 + microgradc.sum(ys), b + a

    c, ys = scan(outer, x[0], x[1:])
    return c * c, ys[-1]


def three_deep(x):
    def deep(c, t):
        return scan(lambda c, t: (scan(lambda c, _: (c * W + x[1], None), c + t, length=3)[0], None), c, [t, t * 2])
    return scan(lambda c, t: (deep(c, t)[0].tanh(), None), x[0], x)[0]


def until(x):
    return scan(lambda c, _: ((c[0] * 1.5 + x[1], c[0]), None), (x[0], B * x[2]), length=60,
                until=lambda c: c[0] > 10.0 * x[2])[0]


def swap(x):
    (a, b, c), _ = scan(lambda c, _: ((c[1], c[0] * W, c[0] + c[2]), None), (x[0], x[1], x[2]), length=5)
    return [a * b, c]


def many_carries(x):
    model = nn.MLP(6, [8, 6], activation="tanh", seed=0)
    c, ys = scan(lambda c, t: ([a + t * b for a, b in zip(c, model(c), strict=True)], c[3]), list(x), [0.5, 0.25, 0.1])
    return c, ys


def chosen(x):
    """What is not taken may be infinite, in some iterations."""
    def step(c, t):
        return select(c > 1.0, c.log() + x[1], c * c + 0.6), select(t > 0.0, microgradc.log(t * x[2]), x[2])

    c, ys = scan(step, x[0], [0.0, 1.0, -2.0, 0.5])
    return c + microgradc.sum(ys)


def unread(x):
    """ys and carries that nobody reads, and results that are read alone."""
    (_, b), ys = scan(lambda c, t: ((c[0] * t, c[1] + t), (c[0].exp(), c[0] - t, c[1])), (x[0], x[1]), x)
    return b, ys[1][2]


def after_and_before(x):
    first, ys = scan(lambda c, t: (c * W + t, c), x[0] * x[1], [v.sin() for v in x])
    second, _ = scan(lambda c, t: (c * B + t * first, None), 0.0, ys)
    return second + first


EXAMPLES = {
    of_xs: 15, constants: 3, counter: 3, nested: 4, three_deep: 4, until: 3, swap: 3, many_carries: 6, chosen: 3,
    unread: 4, after_and_before: 4,
}


def example(f, seed=0):
    return np.random.default_rng(seed).uniform(0.1, 1.5, EXAMPLES[f])


@pytest.mark.parametrize("mode", ["baked", "passed"])
@pytest.mark.parametrize("f", EXAMPLES)
def test_values_and_gradients(tmp_path, f, mode):
    compare(tmp_path, compile(f), (example(f),), mode, others=[(example(f, seed),) for seed in (1, 2, 3)])


def random_step(rng, carries, xs, ys, libm):
    """Return a random step, with what it takes from around."""
    unary = ["tanh", "sin", "exp"] if libm else ["relu", "square", "neg"]
    ops = ["add", "sub", "mul", "mul", *unary]
    plan = [(rng.choice(ops), rng.random(), rng.random()) for _ in range(rng.randrange(1, 9))]

    def step(c, t):
        known = [*c, *(t if xs else []), W, B, 0.5, W * B]
        for op, i, j in plan:
            a, b = known[int(i * len(known))], known[int(j * len(known))]
            new = a + b if op == "add" else a - b if op == "sub" else a * b if op == "mul" else \
                -a if op == "neg" else getattr(microgradc, op)(a)
            known.append(new * 0.5)
        some = [known[-1 - i % len(known)] for i in range(carries)]
        return tuple(some), tuple(known[-2 * i - 1] for i in range(ys)) if ys else None
    return step


def random_function(rng, libm):
    carries, xs, ys = rng.randrange(1, 4), rng.randrange(3), rng.randrange(3)
    length = rng.choice([1, 2, 3, 4, 7, 11, 16])
    step, keep = random_step(rng, carries, xs, ys, libm), rng.choice(["all", "sqrt"])
    inner = random_step(rng, carries, 0, 0, libm) if rng.random() < 0.4 else None
    until = None
    if not ys and rng.random() < 0.5:
        stop = rng.uniform(-0.5, 1.5)
        until = lambda c: c[0] > stop  # noqa: E731

    def f(x):
        def full(c, t):
            c, y = step(c, t)
            if inner is not None:
                c = scan(inner, c, length=3, keep=keep)[0]
            return c, y

        fed = [tuple(x[(i + t) % 6] * (1 + i) for i in range(xs)) for t in range(length)] if xs else None
        c, found = scan(full, tuple(x[:carries]), fed, length, keep=keep, until=until)
        return [*c, *(microgradc.sum(y) for y in found or []), x[0] * 1.0]
    return f


@pytest.mark.parametrize("seed", range(12))
def test_random_loops(tmp_path, seed):
    rng = random.Random(seed)
    compare(tmp_path, compile(random_function(rng, seed % 2)), (example_of(6, seed),), rng.choice(["baked", "passed"]),
            others=[(example_of(6, 100 + seed),)])


def example_of(n, seed):
    return np.random.default_rng(seed).uniform(-1.0, 1.0, n)
