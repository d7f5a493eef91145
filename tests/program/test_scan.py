"""Loops that stay loops: values and derivatives of all orders are those of the loop that is written out."""

import math
import pickle
import threading
from collections import namedtuple
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import microgradc
from microgradc import CompileError, Value, compile, exp, gradients, less, scan, select, sin, take, tanh
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
X, Y = np.random.default_rng(1).normal(size=(2, 53))
EXAMPLES = [(0.3, 0.5), (-1.1, 0.2), (1.7, -0.4)]


def parameter_gradients(y):
    for p in PARAMETERS:
        p.grad = 0.0
    y.backward()
    return [y.data, *[p.grad for p in PARAMETERS]]


@pytest.fixture(params=["all", "sqrt"])
def keep(request):
    return request.param


@pytest.mark.parametrize("name", LOOPS)
def test_values_and_gradients(name, keep):
    f, plain = LOOPS[name](scan, keep), compile(LOOPS[name](written_out, keep))
    compiled = compile(f)
    for x, q in EXAMPLES:
        a, b = Value(x), Value(q)
        found, expected = compiled.value_and_grad(x, q), plain.value_and_grad(x, q)
        np.testing.assert_allclose([found[0], *found[1]], [expected[0], *expected[1]], rtol=1e-12, atol=1e-14)
        eager = parameter_gradients(f(a, b))
        np.testing.assert_allclose([eager[0], a.grad, b.grad], [expected[0], *expected[1]], rtol=1e-12, atol=1e-14)
        np.testing.assert_allclose(parameter_gradients(compiled(x, q)), eager, rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(parameter_gradients(compiled.mean(X, Y)), parameter_gradients(plain.mean(X, Y)),
                               rtol=1e-11, atol=1e-14)  # fmt: skip


@pytest.mark.parametrize("name", LOOPS)
def test_bits_depend_on_nothing(name):
    """One example, a batch of any size, any number of threads, and what the way back keeps."""
    compiled, roots = compile(LOOPS[name](scan, "all")), compile(LOOPS[name](scan, "sqrt"))
    values, slopes = compiled.map_value_and_grad(X, Y)
    again = roots.map_value_and_grad(X, Y)
    np.testing.assert_array_equal([values, *slopes], [again[0], *again[1]])
    np.testing.assert_array_equal(compiled.map(X, Y), values)
    for n in (1, 7, 8, 9):
        np.testing.assert_array_equal(compiled.map_value_and_grad(X[:n], Y[:n])[1], [s[:n] for s in slopes])
    found = [compiled.value_and_grad(x, y) for x, y in zip(X[:9], Y[:9], strict=True)]
    np.testing.assert_array_equal([[v, *s] for v, s in found], np.array([values, *slopes])[:, :9].T)
    many = np.tile(X, 400), np.tile(Y, 400)
    before = microgradc.get_num_threads()
    try:
        totals = []
        for threads in (1, 2, 3):
            microgradc.set_num_threads(threads)
            totals.append(parameter_gradients(compiled.mean(*many)))
        assert totals[0] == totals[1] == totals[2]
        assert parameter_gradients(roots.mean(*many)) == totals[0]
    finally:
        microgradc.set_num_threads(before)


@pytest.mark.parametrize("name", LOOPS)
def test_second_and_third_derivatives(name, keep):
    f, plain = LOOPS[name](scan, keep), LOOPS[name](written_out, keep)
    for x, q in EXAMPLES[:2]:
        np.testing.assert_allclose(compile(f).hessian(x, q), compile(plain).hessian(x, q), rtol=1e-9, atol=1e-11)

    def third(f):
        def g(x, q):
            dx, dq = gradients(f(x, q), [x, q])
            dxx, dw = gradients(dx * dq, [x, W])
            return gradients(dxx + dw, x)

        return compile(g)

    with microgradc.no_grad():
        np.testing.assert_allclose(third(f).map(X[:5], Y[:5]), third(plain).map(X[:5], Y[:5]), rtol=1e-9, atol=1e-10)


def test_of_a_batch():
    def loss(scan):
        return compile(lambda x, q: recurrent(scan, "all")(x, q) ** 2)

    found, expected = loss(scan), loss(written_out)
    direction = np.random.default_rng(2).normal(size=len(PARAMETERS)).tolist()
    np.testing.assert_allclose(found.mean_hvp(direction, X, Y, parameters=PARAMETERS),
                               expected.mean_hvp(direction, X, Y, parameters=PARAMETERS), rtol=1e-9, atol=1e-12)  # fmt: skip
    np.testing.assert_allclose(found.map_gradients(X, Y, parameters=PARAMETERS),
                               expected.map_gradients(X, Y, parameters=PARAMETERS), rtol=1e-10, atol=1e-13)  # fmt: skip


def test_hessian_through_1000_steps_against_pytorch():
    def f(sine, x, v, g, steps, loop):
        def step(c, _):
            a, b = c
            return (a + 0.01 * b, b - 0.01 * g * sine(a)), None

        return loop(step, (x, v), length=steps)[0][0]

    h = compile(lambda x, v, g: f(sin, x, v, g, 1000, scan)).hessian(1.0, 0.3, 9.81)
    start = torch.tensor([1.0, 0.3, 9.81], dtype=torch.float64)

    def plain(step, carry, length):
        for _ in range(length):
            carry, _ = step(carry, None)
        return carry, None

    expected = torch.autograd.functional.hessian(lambda t: f(torch.sin, t[0], t[1], t[2], 1000, plain), start)
    np.testing.assert_allclose(h, expected.numpy(), rtol=1e-9)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_random_loops(data):
    """Steps of random operations on carries, xs, arguments and parameters."""
    carries, width, length = (data.draw(st.integers(1, 3)), data.draw(st.integers(0, 2)), data.draw(st.integers(1, 7)))
    count = data.draw(st.integers(carries, 8))
    unary = [sin, tanh, lambda a: a * 0.5, lambda a: exp(-a * a), lambda a: -a]
    binary = [lambda a, b: a * b, lambda a, b: a + b, lambda a, b: a - b, lambda a, b: a / (b * b + 1.0), microgradc.maximum]
    program = [
        (data.draw(st.integers(0, 4)), data.draw(st.booleans()), data.draw(st.integers(0, 99)), data.draw(st.integers(0, 99)))
        for _ in range(count)
    ]
    numbers = data.draw(st.lists(st.floats(-2, 2), min_size=width * length, max_size=width * length))
    has_y = data.draw(st.booleans())
    keep = data.draw(st.sampled_from(["all", "sqrt"]))

    def f(scan):
        def g(x, q):
            def step(c, u):
                things = [*c, *(u or ()), x, q, W, 0.3]
                for which, is_unary, i, j in program:
                    a, b = things[i % len(things)], things[j % len(things)]
                    things.append(unary[which](a) if is_unary else binary[which](a, b))
                return tuple(things[-carries:]), (things[len(things) // 2],) if has_y else None

            xs = tuple([[z * q for z in numbers[k * length : (k + 1) * length]] for k in range(width)])
            c, ys = scan(step, (x, q, 0.5)[:carries], xs or None, None if xs else length, keep=keep)
            return sum_of([*c, *(ys[0] if has_y else [])])

        return compile(g)

    found, expected = f(scan), f(written_out)
    np.testing.assert_allclose(found.map_value_and_grad(X[:9], Y[:9])[1], expected.map_value_and_grad(X[:9], Y[:9])[1],
                               rtol=1e-9, atol=1e-11)  # fmt: skip
    np.testing.assert_allclose(found.hessian(0.4, -0.7), expected.hessian(0.4, -0.7), rtol=1e-8, atol=1e-10)
    assert found.value_and_grad(X[0], Y[0])[0] == found.map(X[:3], Y[:3])[0]


# Loops that end


def newton(scan_or_loop, x):
    return scan_or_loop(lambda g, _: ((g + x / g) / 2, None), 1.0, length=60,
                        until=lambda g: less(abs(g * g - x), 1e-12))[0]  # fmt: skip


def test_a_loop_that_ends_is_pythons():
    def loop(step, carry, length, until):
        for _ in range(length):
            if until(carry):
                break
            carry, _ = step(carry, None)
        return carry, None

    compiled = compile(lambda x: newton(scan, x))
    numbers = np.array([2.0, 1e-3, 1.0, 4.0, 1e6, 3.0, 2.5, 1e-9, 7.0])
    with microgradc.no_grad():
        expected = [float(newton(loop, Value(x))) for x in numbers]
    np.testing.assert_array_equal(compiled.map(numbers), expected)
    assert [compiled.value_and_grad(x)[0] for x in numbers] == expected
    values, slopes = compiled.map_value_and_grad(numbers[[0, 2, 3, 4]])
    np.testing.assert_allclose(slopes[[0, 2, 3]], 0.5 / np.sqrt(numbers[[0, 3, 4]]), rtol=1e-6)
    assert slopes[1] == 0.0     # no iteration was done


@pytest.mark.parametrize("test, count", [
    (lambda c: True, 0), (lambda c: False, 5), (lambda c: 0.0, 5), (lambda c: math.nan, 0), (lambda c: 2, 0),
    (lambda c: c * math.nan, 0), (lambda c: less(4.0, c), 3), (lambda c: c - 1.0, 1),
])  # fmt: skip
def test_what_until_returns(test, count):
    f = lambda x: scan(lambda c, _: (c * 2.0, None), x, length=5, until=test)[0]    # noqa: E731
    assert f(1.0 if count != 3 else Value(1.0)) == 2.0**count if count != 3 else f(Value(1.0)).data == 8.0
    compiled = compile(f)
    assert compiled.value_and_grad(1.0) == (2.0**count, 2.0**count)
    np.testing.assert_array_equal(compiled.map(np.ones(3)), [2.0**count] * 3)


def test_what_was_not_done_sends_no_nan():
    """Each example ends by itself; what its lane computes afterwards is infinite, or nan."""
    w = Value(1.0)

    def f(x):
        return scan(lambda c, _: (further(c), None), x, length=40, until=lambda c: less(3.0, c))[0]

    def further(c):
        return c + 0.5 * w * (1.0 + 0.1 * microgradc.log(3.5 - c) / (4.0 - c))

    def loop(x):
        while not 3.0 < x.data:
            x = further(x)
        return x

    numbers = [0.0, 2.9, 3.0, 3.5, 4.0, 1.0, 5.0, -1.0, 2.0]
    expected, slopes = [], []
    for number in numbers:
        x = Value(number)
        y = loop(x)
        y.backward()
        expected.append(y.data)
        slopes.append(x.grad)
    total, w.grad = w.grad, 0.0
    compiled = compile(f)
    found, of_x = compiled.map_value_and_grad(np.array(numbers))
    np.testing.assert_allclose(found, expected, rtol=1e-14)
    np.testing.assert_allclose(of_x, slopes, rtol=1e-13)
    compiled.sum(np.array(numbers)).backward()
    assert w.grad == pytest.approx(total, rel=1e-13)
    assert np.isfinite(compiled.hessian(0.0))


# What steps take and return


Point = namedtuple("Point", "x y")


@dataclass
class State:
    position: object
    history: object


@pytest.mark.parametrize("carry, step", [
    (lambda x: {"a": x, "b": [x, 1.0]}, lambda c, u: {"a": c["b"][0] * W, "b": [c["a"] + u, c["b"][1]]}),
    (lambda x: Point(x, 2.0), lambda c, u: Point(c.y * u, c.x)),
    (lambda x: State(x, (0.5, x)), lambda c, u: State(c.position * c.history[0] + u, (c.history[1], c.position))),
    (lambda x: np.array([x, x * 2.0], object), lambda c, u: c[::-1] * u + W),
    (lambda x: np.array([1.0, 2.0]), lambda c, u: c * u + W),
    (lambda x: (), lambda c, u: ()),
])  # fmt: skip
def test_structures(carry, step):
    def f(x):
        c, ys = scan(lambda c, u: (step(c, u), [u * x, {"k": u}]), carry(x), np.linspace(0.5, 1.0, 4))
        leaves = microgradc.trees.flatten(c)[0]
        return sum_of([*leaves, *ys[0], *ys[1]["k"]])

    x = Value(0.7)
    y = f(x)
    y.backward()
    value, slope = compile(f).value_and_grad(0.7)
    assert value == pytest.approx(y.data, rel=1e-14)
    assert slope == pytest.approx(x.grad, rel=1e-14)


def test_ys_and_xs():
    def f(x):
        c, ys = scan(lambda c, u: (c + u["a"][1], (u["a"], None, "t", c)), x, {"a": np.arange(6.0).reshape(3, 2)})
        return c, ys

    for g in (f, compile(f)):
        c, (rows, nothing, text, carries) = g(Value(1.0))
        assert c.data == 10.0 and nothing is None and text == ["t"] * 3
        assert [float(getattr(v, "data", v)) for row in rows for v in row] == [0.0, 2.0, 4.0, 1.0, 3.0, 5.0]
        assert [v.data for v in carries] == [1.0, 2.0, 5.0]
    assert scan(lambda c, x: (c + x, None), 1.0, range(5)) == (11.0, None)
    assert scan(lambda c, x: (c, x), 1.0, (i * i for i in range(3))) == (1.0, [0, 1, 4])
    assert scan(lambda c, x: 1 / 0, 1.0, []) == (1.0, [])
    assert compile(lambda x: scan(lambda c, x: 1 / 0, x, length=0)[0]).value_and_grad(3.0) == (3.0, 1.0)


@pytest.mark.parametrize("call, error, text", [
    (lambda: scan(3, 1.0, length=2), TypeError, "step must be a function"),
    (lambda: scan(lambda c, x: (c, None), 1.0), TypeError, "needs xs, or length"),
    (lambda: scan(lambda c, x: (c, None), 1.0, length=-1), ValueError, "length"),
    (lambda: scan(lambda c, x: (c, None), 1.0, length=2.5), TypeError, "length"),
    (lambda: scan(lambda c, x: (c, None), 1.0, [1, 2], 3), ValueError, "one length, got 2, 3"),
    (lambda: scan(lambda c, x: (c, None), 1.0, ([1], [1, 2])), ValueError, "one length, got 1, 2"),
    (lambda: scan(lambda c, x: (c, None), 1.0, 7), TypeError, "xs must be"),
    (lambda: scan(lambda c, x: (c, None), 1.0, ()), ValueError, "xs have none"),
    (lambda: scan(lambda c, x: c, 1.0, length=2), TypeError, "the next carry and y"),
    (lambda: scan(lambda c, x: ([c, c], None), 1.0, length=2), ValueError, r"carry, number, got \[number, number\]"),
    (lambda: scan(lambda c, x: ((c[0],), None), (1.0, 2.0), length=2), ValueError, "structure of the carry"),
    (lambda: scan(lambda c, x: (c, 1.0), 1.0, length=2, until=lambda c: False), ValueError, "y must be None"),
    (lambda: scan(lambda c, x: (c, None), 1.0, length=2, until=3), TypeError, "until must be"),
    (lambda: scan(lambda c, x: (c, None), 1.0, length=2, until=lambda c: "no"), TypeError, "until must return"),
    (lambda: scan(lambda c, x: (c, None), 1.0, length=2, keep="some"), ValueError, "'all' or 'sqrt'"),
])  # fmt: skip
def test_wrong_arguments(call, error, text):
    with pytest.raises(error, match=text):
        call()
    if error is not TypeError or "until must return" not in text:
        with pytest.raises(error, match=text):
            compile(lambda x: call()[0] + x)(1.0)


def test_what_a_recording_refuses():
    with pytest.raises(CompileError, match="made of numbers and Values, got str"):
        compile(lambda x: scan(lambda c, _: (c, None), (x, "text"), length=2)[0][0])(1.0)
    with pytest.raises(CompileError, match="cannot be replayed"):
        compile(lambda x: scan(lambda c, _: (c * 2.0 if c > 1.0 else c, None), x, length=2)[0])(1.0)
    with pytest.raises(CompileError, match="does something else"):
        compile(lambda x: scan(lambda c, _: (c * (2.0 if isinstance(c, Value) else 3.0), None), x, length=2)[0])(1.0)
    with pytest.raises(ZeroDivisionError):
        compile(lambda x: scan(lambda c, _: (1 / 0, None), x, length=2)[0])(1.0)
    assert compile(lambda x: x * 2.0).value_and_grad(1.0) == (2.0, 2.0)


def test_an_index_that_picks_nothing():
    f = compile(lambda x, n: scan(lambda c, i: (c + take(TABLE, i + n) * x, None), 0.0, range(3))[0])
    assert f.value_and_grad(1.0, 2)[0] == pytest.approx(sum(t.data for t in TABLE[2:]))
    for call in (f, f.value_and_grad, f.hessian):
        with pytest.raises(IndexError, match="picks from"):
            call(1.0, 3)
    with pytest.raises(IndexError, match="picks from"):
        f.map(np.ones(20), np.arange(20) // 10 * 3)


# Programs with loops


def test_pickles_copies_and_equality():
    program = compile(nested(scan, "sqrt")).program(0.3, 0.5)
    again = pickle.loads(pickle.dumps(program))
    rows = np.array([[0.3, 0.5], [0.1, -0.2]])
    np.testing.assert_array_equal(again(rows), program(rows))
    for graph in program.stages.values():
        copied = pickle.loads(pickle.dumps(graph))
        assert copied == graph and hash(copied) == hash(graph) and str(copied) == str(graph)
    other = compile(nested(scan, "all")).program(0.3, 0.5).stages["recorded"]
    assert other != program.stages["recorded"]
    values = other.values([0.3, 0.5], list(compile(nested(scan, "all")).program(0.3, 0.5).parameters))
    assert values[0].data == pytest.approx(float(program(rows)[0, 0]), rel=1e-14)


def test_graphs_with_loops_are_checked():
    body = microgradc.program.graph.Graph()
    carry, x, p = body.input(), body.input(), body.parameter()
    body.outputs = [body.add("add", body.add("mul", carry, p), x)]
    Loop = microgradc.program.graph.Loop     # noqa: N806
    loop = Loop(body, 3, 1, 1)
    with pytest.raises(ValueError, match="body of a loop"):
        body.outputs = []
    graph = microgradc.program.graph.Graph()
    leaves = [graph.input() for _ in range(4)]
    with pytest.raises(ValueError, match="takes 5 operands"):
        graph.scan(loop, *leaves)
    with pytest.raises(IndexError):
        graph.scan(loop, *leaves, 99)
    with pytest.raises(ValueError, match="op must be"):
        graph.add("scan", *leaves)
    graph.outputs = graph.scan(loop, *leaves, graph.constant(2.0))
    assert graph.values([1.0, 1.0, 1.0, 1.0], [])[0].data == 15.0
    for wrong in ((0, 1, 1), (3, 2, 1), (3, 1, 0), (3, -1, 3)):
        with pytest.raises(ValueError):
            Loop(body, *wrong)
    with pytest.raises(ValueError, match="ends the loop"):
        Loop(body, 3, 1, 1, True)
    make, (*parts, loops) = graph.__reduce__()
    for wrong in ([], [body], [Loop(body, 2, 1, 1)]):
        with pytest.raises(ValueError):
            make(*parts, wrong)


def test_a_body_may_not_grow_behind_a_loop():
    body = microgradc.program.graph.Graph()
    body.outputs = [body.input()]
    loop = microgradc.program.graph.Loop(body, 2, 1, 0)
    for grow in (body.input, body.parameter, lambda: body.constant(1.0), lambda: body.add("neg", 0)):
        with pytest.raises(ValueError, match="body of a loop"):
            grow()
    assert loop.body is body


def test_threads_and_memory():
    compiled = compile(fed(scan, "sqrt"))
    expected = compiled.value_and_grad(0.3, 0.5)
    found = []

    def work():
        for _ in range(50):
            found.append(compiled.value_and_grad(0.3, 0.5))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [expected] * 200


def test_sqrt_keeps_little():
    def bytes_of(keep):
        f = compile(lambda x: scan(lambda c, _: (c + 0.001 * sin(c) * x, None), x, length=10_000, keep=keep)[0])
        stats = f.program(1.0).stats()
        return stats["bytes"] / stats["lanes"]

    assert bytes_of("all") > 80_000
    assert bytes_of("sqrt") < 4_000
