"""What the steps of loops take and return, what is refused, and programs that have loops."""

import math
import pickle
import threading
from collections import namedtuple
from dataclasses import dataclass

import numpy as np
import pytest
from scans import TABLE, W, fed, nested, written_out

import microgradc
from microgradc import CompileError, Value, compile, gradients, less, scan, sin, take
from microgradc import sum as sum_of

# What steps take and return


Point = namedtuple("Point", "x y")


@dataclass
class State:
    position: object
    history: object


@pytest.mark.parametrize(("carry", "step"), [
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
        assert (c.data, nothing, text) == (10.0, None, ["t"] * 3)
        assert [float(getattr(v, "data", v)) for row in rows for v in row] == [0.0, 2.0, 4.0, 1.0, 3.0, 5.0]
        assert [v.data for v in carries] == [1.0, 2.0, 5.0]
    assert scan(lambda c, x: (c + x, None), 1.0, range(5)) == (11.0, None)
    assert scan(lambda c, x: (c, x), 1.0, (i * i for i in range(3))) == (1.0, [0, 1, 4])
    assert scan(lambda c, x: 1 / 0, 1.0, []) == (1.0, [])
    assert compile(lambda x: scan(lambda c, x: 1 / 0, x, length=0)[0]).value_and_grad(3.0) == (3.0, 1.0)


@pytest.mark.parametrize(("call", "error", "text"), [
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
    with pytest.raises(CompileError, match="made of numbers and Values, got object"):
        compile(lambda x: scan(lambda c, _: (c, None), (x, object()), length=2)[0][0])(1.0)
    with pytest.raises(CompileError, match="no number in a carry must stay"):
        compile(lambda x: scan(lambda c, _: ((c[0], "b"), None), (x, "a"), length=2)[0][0])(1.0)
    numbers = iter([1.0, 2.0, 3.0, 4.0] * 9)
    with pytest.raises(CompileError, match="when it is called again"):
        compile(lambda x: scan(lambda c, _: (c * x + next(numbers), None), x, length=4)[0])(1.0)
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
        assert copied == graph
        assert (hash(copied), str(copied)) == (hash(graph), str(graph))
    other = compile(nested(scan, "all")).program(0.3, 0.5).stages["recorded"]
    assert other != program.stages["recorded"]
    values = other.values([0.3, 0.5], list(compile(nested(scan, "all")).program(0.3, 0.5).parameters))
    assert values[0].data == pytest.approx(float(program(rows)[0, 0]), rel=1e-14)


def test_graphs_with_loops_are_checked():
    body = microgradc.program.graph.Graph()
    carry, x, p = body.input(), body.input(), body.parameter()
    body.outputs = [body.add("add", body.add("mul", carry, p), x)]
    Loop = microgradc.program.graph.Loop
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
        with pytest.raises(ValueError, match="must"):
            Loop(body, *wrong)
    with pytest.raises(ValueError, match="ends the loop"):
        Loop(body, 3, 1, 1, True)
    make, (*parts, _) = graph.__reduce__()
    for wrong in ([], [body], [Loop(body, 2, 1, 1)]):
        with pytest.raises(ValueError, match="must"):
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


# What could be lost, or come to an end


def test_a_result_that_nobody_needs_sends_nothing():
    """Its slope is infinite; 0 times it would be nan."""
    def f(x):
        c, ys = scan(lambda c, _: ((c[0] + x, microgradc.sqrt(c[1])), c[1]), (x, 0.0 * x), length=3)
        return c[0] + ys[0]

    x = Value(2.0)
    y = f(x)
    y.backward()
    assert compile(f).value_and_grad(2.0) == (y.data, x.grad)
    assert np.array_equal(compile(f).map_value_and_grad(np.full(5, 2.0))[1], np.full(5, x.grad))


def test_second_derivatives_of_what_nobody_needs():
    """As by the loop that is written out: nothing is sent through what leads to nothing, and before it is needed."""
    def unused(scan):
        return lambda x: scan(lambda c, _: (c + 1.0, microgradc.sqrt(c)), x, length=3)[1][-1]

    def beside(scan):
        def f(x):
            c, _ = scan(lambda c, _: ((c[0] * x + 1.0, microgradc.sqrt(c[1])), None), (x, 0.0 * x), length=3)
            return c[0]

        return f

    def between(scan):
        def f(x):
            _, ys = scan(lambda c, _: (c - 1.0, microgradc.sqrt(c)), x, length=4)
            return ys[1]

        return f

    for f, x in ((unused, 0.0), (beside, 2.0), (between, 3.0)):
        expected = compile(f(written_out)).hessian(x)
        assert math.isfinite(expected)
        assert compile(f(scan)).hessian(x) == pytest.approx(expected, rel=1e-12)


def test_nothing_that_is_no_number_is_in_the_way():
    f = compile(lambda x: scan(lambda c, u: (c, u * x), (None, "a"), [1.0, 2.0]))
    (nothing, text), ys = f(3.0)
    assert (nothing, text, [y.data for y in ys]) == (None, "a", [3.0, 6.0])
    g = compile(lambda x: scan(lambda c, u: (c * 2.0 if u is None else c, None), x, [None] * 3)[0])
    assert g.value_and_grad(1.0) == (8.0, 8.0)


def test_indices_of_nested_loops():
    def f(x, n):
        def step(c, i):
            return scan(lambda e, j: (e * take(TABLE, j + n + i) * x, None), c, range(2))[0], None

        return scan(step, 1.0, range(2))[0]

    for n in (1, 0, 2):
        assert compile(f).value_and_grad(0.9, n)[0] == pytest.approx(f(Value(0.9), n).data, rel=1e-14)


def test_an_index_after_the_end_is_not_looked_at():
    def f(x):
        return scan(lambda c, i: ((c[0] + take(TABLE[:2], c[1]) * x, c[1] + 1), None), (x, 0), range(9),
                    until=lambda c: less(1.5, c[1] + 0.0))[0][0]  # fmt: skip

    assert compile(f).value_and_grad(1.0)[0] == pytest.approx(1.0 + TABLE[0].data + TABLE[1].data)
    np.testing.assert_allclose(compile(f).map(np.ones(9)), 1.0 + TABLE[0].data + TABLE[1].data)
    assert compile(lambda x: f(x) * x).hessian(1.0) == pytest.approx(2.0 + 2.0 * (TABLE[0].data + TABLE[1].data))


def test_a_loop_is_no_operand():
    body = microgradc.program.graph.Graph()
    body.outputs = [body.input()]
    graph = microgradc.program.graph.Graph()
    x = graph.input()
    (result,) = graph.scan(microgradc.program.graph.Loop(body, 2, 1, 0), x)
    for wrong in (lambda: graph.add("add", result - 1, x), lambda: setattr(graph, "outputs", [result - 1])):
        with pytest.raises(ValueError, match="take one of its results"):
            wrong()
    with pytest.raises(ValueError, match="must be a Loop"):
        graph.scan(microgradc.program.graph.Loop.__new__(microgradc.program.graph.Loop), x)
    for _ in range(64):
        inner, body = microgradc.program.graph.Loop(body, 1, 1, 0), microgradc.program.graph.Graph()
        body.outputs = body.scan(inner, body.input())
    with pytest.raises(ValueError, match="within at most 63 others"):
        microgradc.program.graph.Loop(body, 1, 1, 0)


def test_a_long_loop_hears_signals(run_python):
    printed = run_python(
        "import signal, time\n"
        "from microgradc import compile, scan, sin\n"
        "f = compile(lambda x: scan(lambda c, _: (c + 1e-9 * sin(c), None), x, length=10**9, keep='sqrt')[0])\n"
        "def stop(*_):\n"
        "    raise KeyboardInterrupt\n"
        "signal.signal(signal.SIGALRM, stop)\n"
        "signal.setitimer(signal.ITIMER_REAL, 0.5)\n"
        "begin = time.perf_counter()\n"
        "try:\n"
        "    f(1.0)\n"
        "except KeyboardInterrupt:\n"
        "    print(time.perf_counter() - begin < 20)\n"
        "g = compile(lambda x: scan(lambda c, _: (c + sin(c), None), x, length=10)[0])\n"
        "print(g.value_and_grad(1.0)[0] > 1)\n"
    )
    assert printed.split() == ["True", "True"]


# Derivatives within a step: carry and x are what the iteration begins with, whatever they were made from


def _with_respect_to_what_is_around(x):
    def step(c, _):
        return gradients(c * c * x, x), None

    return scan(step, x, length=3)[0]


def _with_respect_to_the_carry(x):
    def step(c, z):
        y = c * c * x * z
        return gradients(y, c) + gradients(y, z), gradients(y, x)

    last, ys = scan(step, x, [x, x * 2, x + 0.5])
    return last + ys[0] * ys[1]


def _with_an_entry_that_stays(x):
    def step(carry, _):
        c, p = carry
        return (gradients(sin(c * p), p), p), None

    return scan(step, (x * 2, x), length=4)[0][0]


def _with_a_scan_in_the_step(x):
    def outer(c, _):
        def inner(d, _):
            return gradients(sin(d * c * x), d) + gradients(d * c * x, c), None

        return scan(inner, c, length=2)[0] + gradients(c * x * x, x), None

    return scan(outer, x, length=3)[0]


def _with_second_derivatives(x):
    def step(c, _):
        y = sin(c * x) * c
        slope = gradients(y, c)
        return slope + gradients(slope, x), None

    return scan(step, x * 1.0, length=3)[0]


@pytest.mark.parametrize("f", [
    _with_respect_to_what_is_around, _with_respect_to_the_carry, _with_an_entry_that_stays, _with_a_scan_in_the_step,
    _with_second_derivatives,
])  # fmt: skip
def test_derivatives_within_a_step_are_those_of_the_iteration(f):
    compiled, x = compile(f), Value(0.7)
    y = f(x)
    y.backward()
    value, slope = compiled.value_and_grad(0.7)
    assert value == pytest.approx(y.data, rel=1e-12)
    assert slope == pytest.approx(x.grad, rel=1e-12)
    again = Value(0.7)
    (second,) = [gradients(gradients(f(again), again), again)]
    assert compiled.hessian(0.7) == pytest.approx(second.data, rel=1e-10)


def test_derivatives_within_a_step_by_hand():
    """y = c * c * x, of which the step returns c * c: with respect to x, c is fixed, even in the first iteration."""
    assert _with_respect_to_what_is_around(Value(1.5)).data == 1.5**8


@pytest.mark.parametrize("make", [np.array, np.float64, lambda x: np.array(x, dtype=object)])
def test_arrays_without_axes_are_numbers(make):
    def f(x):
        def step(carry, z):
            c, d = carry["a"], carry["b"]
            return {"a": c * x, "b": np.array(d * 2)}, {"y": np.array(c * z, dtype=object)}

        carry, ys = scan(step, {"a": make(1.5), "b": make(1.0)}, [np.array(1.0), make(2.0), 3.0])
        return carry["a"] * carry["b"] + ys["y"][2]

    x = Value(2.0)
    y = f(x)
    y.backward()
    assert (y.data, x.grad) == (1.5 * 64 + 18, 1.5 * 8 * 12 + 18)
    assert compile(f).value_and_grad(2.0) == (y.data, x.grad)
    assert f(2.0) == y.data
    with pytest.raises(ValueError, match="must have the structure of the carry, number, got"):
        scan(lambda c, _: (np.array([c, c]), None), make(1.0), length=2)
