"""Loops in C texts: values and gradients are those of the compiled function, and the text is that of one iteration."""

import random
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from c_library import COMPILERS, WHY_NOT, Library

import microgradc
from microgradc import Value, compile, gradients, nn, scan, select, take, trees
from microgradc.program.c_lifted import lifted
from microgradc.program.graph import Graph, Loop
from microgradc.program.to_c import write_c

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
            np.testing.assert_allclose(a, b, rtol=rel, atol=rel and 1e-15)
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
    """Without functions of a libm, they have the bits of the compiled function."""
    rng = random.Random(seed)
    has_libm = bool(seed % 2)
    compare(tmp_path, compile(random_function(rng, has_libm)), (example_of(6, seed),),
            rng.choice(["baked", "passed"]), rel=1e-13 if has_libm else 0, others=[(example_of(6, 100 + seed),)])


def example_of(n, seed):
    return np.random.default_rng(seed).uniform(-1.0, 1.0, n)


def pendulum(length, keep="all"):
    """Runge and Kutta's method for a pendulum; the angle in the end."""
    h, friction = 0.01, Value(0.1)

    def slope(angle, speed, arm):
        return speed, -9.81 / arm * angle.sin() - friction * speed

    def f(x):
        def step(c, _):
            a = slope(*c, x[2])
            b = slope(*[u + h / 2 * v for u, v in zip(c, a, strict=True)], x[2])
            d = slope(*[u + h / 2 * v for u, v in zip(c, b, strict=True)], x[2])
            e = slope(*[u + h * v for u, v in zip(c, d, strict=True)], x[2])
            return [u + h / 6 * (p + 2 * q + 2 * r + s) for u, p, q, r, s in zip(c, a, b, d, e, strict=True)], None
        return scan(step, [x[0], x[1]], length=length, keep=keep)[0][0]
    return compile(f)


X = np.array([1.0, 0.2, 1.5])


def test_a_pendulum_of_1000_steps(tmp_path):
    results = []
    for keep in ("all", "sqrt"):
        f = pendulum(1000, keep)
        library = compare(tmp_path, f, (X,), rel=1e-9)
        results.append(library.gradients(X))
        assert library.counts["WORK"] < {"all": 2300, "sqrt": 400}[keep]
    assert results[0] == results[1]


@pytest.mark.parametrize("keep", ["all", "sqrt"])
def test_the_text_is_that_of_one_iteration(keep):
    short, long = (pendulum(length, keep).to_c(X) for length in (100, 1_000_000))
    assert len(long[0]) < len(short[0]) + 100
    assert len(long[0]) < 7000


def by_length(length, keep, until=None):
    def f(x):
        c, _ = scan(lambda c, t: ((c[0] * c[1] + t, c[1] * 0.875 - c[0]), None), (x[0], x[1]), [x[2]] * length,
                    keep=keep, until=until)
        return c
    return compile(f)


@pytest.mark.parametrize("length", [1, 2, 3, 4, 5, 9, 10, 17])
def test_what_is_kept_changes_no_bit(tmp_path, length):
    x = np.array([0.25, 0.5, 0.125])
    results = []
    for keep in ("all", "sqrt"):
        for until in (None, lambda c: c[1] < -0.4):
            library = compare(tmp_path, by_length(length, keep, until), (x,), rel=0, others=[(x - 0.6,), (x + 0.4,)])
            results.append(library.gradients(x, (1.0, 1.0)))
    assert results[0] == results[2]
    assert results[1] == results[3]


def test_cells_with_layers(tmp_path):
    """A GRU of two layers, whose weights are given, and trained ones."""
    rng = np.random.default_rng(0)
    n, k = 5, 3
    weights = {name: [[Value(w) for w in row] for row in rng.normal(size=(n, n + k + 1), scale=0.4)] for name in "zrh"}

    def dense(name, values):
        return [microgradc.dot(row[1:], values, row[0]) for row in weights[name]]

    def cell(h, x):
        z = [microgradc.sigmoid(v) for v in dense("z", [*h, *x])]
        r = [microgradc.sigmoid(v) for v in dense("r", [*h, *x])]
        new = [microgradc.tanh(v) for v in dense("h", [*[a * b for a, b in zip(r, h, strict=True)], *x])]
        return [(1 - a) * b + a * c for a, b, c in zip(z, h, new, strict=True)]

    def f(xs):
        def step(c, x):
            first = cell(c[0], x)
            return [first, cell(c[1], first[:k])], first[0]
        c, ys = scan(step, [[0.0] * n, [0.0] * n], xs)
        return c[1], microgradc.sum(ys)

    xs = rng.normal(size=(6, k))
    for mode in ("baked", "passed"):
        texts = compile(f).to_c(xs, parameters=mode)
        assert "mgc_dense(" in texts[0]
        compare(tmp_path, compile(f), (xs,), mode, rel=1e-11)


def test_a_long_body_is_in_parts(tmp_path):
    def f(x):
        def step(c, t):
            for i in range(150):
                c = (c * W + t).sin() if i % 3 else c - t * B
            return c, c * c
        c, ys = scan(step, x[0], x)
        return c, ys[-1]
    library = compare(tmp_path, compile(f), (np.array([0.3, 0.1, -0.2, 0.4, 0.5]),), rel=1e-9)
    assert library.values([0.3, 0.1, -0.2, 0.4, 0.5])
    text, _ = compile(f).to_c(np.zeros(5))
    assert "mgc_loop_0_part_1(" in text
    assert "mgc_loop_0_part_back_1(" in text


def test_an_index_out_of_range_is_nan_and_receives_nothing(tmp_path):
    f = compile(lambda x, i: scan(lambda c, t: (c * 0.5 + take([x[1], W], t + i), c), x[0], range(2)))
    library = compare(tmp_path, f, (np.array([0.5, 0.25]), 0))
    outputs, of_inputs, _ = library.gradients([0.5, 0.25, 1.0], (1.0, 1.0, 1.0))
    assert np.isnan(outputs[0])
    assert outputs[1:] == [0.5, 0.25 + W.data]
    assert of_inputs == [0.25 + 1.0 + 0.5, 0.0, 0.0]


def test_loops_without_carries_or_results(tmp_path):
    compare(tmp_path, compile(lambda x: scan(lambda _, t: ((), t * W), (), x)[1]), (np.array([0.5, 1.5, 2.0]),))
    compare(tmp_path, compile(lambda x: scan(lambda c, t: (c, t * c), x[0], x)[0]), (np.array([0.5, 1.5, 2.0]),))
    compare(tmp_path, compile(lambda x: scan(lambda c, t: (t, 2.0), x[0], x)), (np.array([0.5, 1.5, 2.0]),))
    compare(tmp_path, compile(lambda x: scan(lambda c, _: (c * x, None), x, length=5, until=lambda c: True)[0]), (0.5,))
    compare(tmp_path, compile(lambda x: scan(lambda c, _: (W, None), x, length=5, until=lambda c: c < W)[0]), (0.5,))


@pytest.mark.parametrize("compiler", COMPILERS)
@pytest.mark.parametrize("is_float", [False, True])
def test_compilers_say_nothing(tmp_path, compiler, is_float):
    for f in (nested, until, chosen, constants):
        x = example(f)
        texts = compile(f).to_c(x, parameters="passed")
        library = Library(tmp_path, texts, flags=["-O2"], is_float=is_float, compiler=compiler)
        parameters = [p.data for p in compile(f).program(x).parameters]
        wanted = [float(v) for v in flat_numbers(compile(f)(x))]
        assert library.values(x, parameters) == pytest.approx(wanted, rel=1e-4 if is_float else 1e-12)


def flat_numbers(result):
    return [v.data if isinstance(v, Value) else v for v in trees.flatten(result)[0]]


def test_without_gradients_nothing_is_kept(tmp_path):
    texts = pendulum(1000).to_c(X, gradients=False)
    assert "_back" not in texts[0]
    library = Library(tmp_path, texts)
    assert library.counts["WORK"] < 100
    assert library.values(X) == [pendulum(1000)(X).data]


def test_threads_call_it_at_once(tmp_path):
    library = Library(tmp_path, pendulum(1000, "sqrt").to_c(X))
    wanted = [library.gradients(X + 0.1 * i) for i in range(8)]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(lambda i: library.gradients(X + 0.1 * (i % 8)), range(64))) == wanted * 8


def test_parameters_of_a_layer_and_alone(tmp_path):
    """Places of parameters, which follow those of the layers, and runs over them."""
    model = nn.MLP(3, [4, 3], activation="tanh", seed=0)

    def f(x):
        c, _ = scan(lambda c, t: ([a + t * b for a, b in zip(c, model(c), strict=True)], None), list(x[:3]), x)
        return microgradc.sum(c) + 0.1 * microgradc.sum([w**2 * 1.5 for w in model.parameters()])

    compare(tmp_path, compile(f), (np.array([0.1, 0.3, -0.5, 0.2]),), "passed", rel=1e-12)
    compare(tmp_path, compile(lambda x: model(x)[0] + 0.1 * microgradc.sum([w**2 * 1.5 for w in model.parameters()])),
            (np.array([0.1, 0.3, -0.5]),), "passed", rel=1e-12)


@pytest.mark.parametrize("keep", ["all", "sqrt"])
@pytest.mark.parametrize("ends", [False, True])
def test_derivatives_of_loops_are_loops(tmp_path, keep, ends):
    """A Hessian's row, and the gradient of that."""
    def f(x):
        (a, b), ys = scan(lambda c, t: ((c[0] * W + c[1] * 0.3 + t.sin(), (c[1] * c[0]).tanh()),
                                        None if ends else c[0] * t),
                          (x[0], x[1]), [x[2], x[0], x[1], x[2], x[0]], keep=keep,
                          until=(lambda c: c[0] > 1.2) if ends else None)
        y = a * b + (0.0 if ends else microgradc.sum(ys))
        first = gradients(y, list(x))
        return [y, *first, *gradients(first[0], list(x))]

    compare(tmp_path, compile(f), (X * 0.5,), rel=1e-11)


def test_what_is_the_same_in_all_iterations_is_moved_out():
    for f in EXAMPLES:
        x = example(f)
        graph = compile(f).program(x).stages["sums"]
        made = lifted(graph)
        numbers = [p.data for p in compile(f).program(x).parameters]
        assert flat_numbers(made.values(x.tolist(), numbers)) == flat_numbers(graph.values(x.tolist(), numbers))
        assert lifted(made) == made
    body = lifted(compile(nested).program(example(nested)).stages["sums"]).all_loops[0].body
    assert "exp" not in str(body)       # of a parameter
    assert "mul" in str(body)


def test_too_many_numbers_to_keep():
    def written(count, gradients, keeps_all):
        graph, body = Graph(), Graph()
        carries = [body.input() for _ in range(3)]
        body.outputs = [body.add("mul", c, carries[0]) for c in carries]
        loop = Loop(body, 2**28, 3, 0, False, keeps_all)
        inputs = [graph.input() for _ in range(3 * count)]
        graph.outputs = [x for i in range(count) for x in graph.scan(loop, *inputs[3 * i:3 * i + 3])]
        return write_c(graph, [], "f", gradients, "baked")

    assert written(2, True, True)
    assert written(3, False, True)
    assert written(3, True, False)
    with pytest.raises(microgradc.CompileError, match="its loops keep too many numbers"):
        written(3, True, True)
