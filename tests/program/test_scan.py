"""Loops that stay loops: values and derivatives of all orders are those of the loop that is written out."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scans import LOOPS, PARAMETERS, W, recurrent, written_out

import microgradc
from microgradc import Value, compile, exp, gradients, less, scan, sin, tanh
from microgradc import sum as sum_of

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
    for f in (lambda f: f.mean_hvp(direction, X, Y, parameters=PARAMETERS), lambda f: f.mean_hessian(X[:3], Y[:3])):
        np.testing.assert_allclose(f(found), f(expected), rtol=1e-9, atol=1e-12)
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
    binary = [lambda a, b: a * b, lambda a, b: a + b, lambda a, b: a - b, lambda a, b: a / (b * b + 1.0),
              microgradc.maximum]  # fmt: skip
    program = [
        (data.draw(st.integers(0, 4)), data.draw(st.booleans()), *data.draw(st.tuples(*[st.integers(0, 99)] * 2)))
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
    _, slopes = compiled.map_value_and_grad(numbers[[0, 2, 3, 4]])
    np.testing.assert_allclose(slopes[[0, 2, 3]], 0.5 / np.sqrt(numbers[[0, 3, 4]]), rtol=1e-6)
    assert slopes[1] == 0.0     # no iteration was done


@pytest.mark.parametrize(("test", "count"), [
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
        while not x.data > 3.0:
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
