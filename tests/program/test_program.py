"""Program: recorded graphs, replayed on other numbers, against the same graphs built by the eager engine."""

import itertools
import math
import random

import numpy as np
import pytest
from graphs import _step_of_values, recipes
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from test_lanes import OPERATORS, ROWS

import microgradc
from microgradc import Program, Value, _kernels, take
from microgradc.engine import IntegerInput, Trace

INF, NAN = math.inf, math.nan
SHARE = 1e-12    # of the largest number of a row. vmath.h documents at most 2 ulp from the C library's.
rng = np.random.default_rng(0)


def record(build, columns, params=(), lanes=None, integers=()):
    """A program of build(inputs, parameters), recorded at numbers that no test replays; and its parameters."""
    w = [Value(p) for p in params]
    inputs = [IntegerInput(0) if i in integers else Value(0.7 + 0.1 * i) for i in range(columns)]
    with Trace():
        outputs = build(inputs, w)
    return Program(outputs, inputs, lanes=lanes), w


def eager(build, row, params=(), integers=()):
    """The value of one example, and its gradients for parameters and inputs."""
    w = [Value(p) for p in params]
    inputs = [int(x) if i in integers else Value(x) for i, x in enumerate(row)]
    out = build(inputs, w)
    out = out if isinstance(out, Value) else Value(out)
    out.backward()
    return out.data, [p.grad for p in w], [NAN if i in integers else x.grad for i, x in enumerate(inputs)]


def parameter_grads(made, w, grads):
    """The gradients of a run, in the order of w; 0 for those that the program does not need."""
    by_id = {id(p): g for p, g in zip(made.parameters, grads, strict=True)}
    return [by_id.get(id(p), 0.0) for p in w]


def close(got, expected, share=SHARE):
    """Whether numbers agree: inf and nan exactly, the others within a share of the largest."""
    got, expected = np.asarray(got, float), np.asarray(expected, float)
    finite = np.isfinite(expected)
    scale = np.abs(expected[finite]).max(initial=0.0)
    return (
        got.shape == expected.shape
        and np.array_equal(got[~finite], expected[~finite], equal_nan=True)
        and np.isfinite(got[finite]).all()
        and (np.abs(got[finite] - expected[finite]) <= share * scale + 5e-324).all()
    )


def check(build, X, params=(), lanes=None, integers=(), share=SHARE):
    """Replay against eager: with and without gradients, values, their sum, gradients of parameters and inputs."""
    X = np.ascontiguousarray(X, float)
    made, w = record(build, X.shape[1], params, lanes, integers)
    sums, values, grads, (input_grads,) = made.run((X,), [1.0], True, True)
    expected = [eager(build, row, params, integers) for row in X]
    assert close(values[:, 0], [e[0] for e in expected], share), made
    assert np.array_equal(made(X), values, equal_nan=True), made  # the places that are used again hold what they should
    assert close(sums, [np.sum(values)], 1e-11)
    input_grads[:, integers] = NAN    # nobody asks for these
    assert close(input_grads, [e[2] for e in expected], share), made
    total = np.sum([e[1] for e in expected], axis=0) if params else []
    assert close(parameter_grads(made, w, grads), total, max(share, 1e-15 * len(X))), made
    assert close(parameter_grads(made, w, made.run((X,), [1.0], False, False)[2]), total, max(share, 1e-15 * len(X))), (
        made
    )
    return made


# Rows

NUMBERS = {1: [0.0, -0.0, 0.3, -0.3, 0.9, 1.0, -1.0, 2.5, -7.25, 40.0, -1000.0, 1e300, -1e-300, INF, -INF, NAN],
           2: [0.0, -0.0, 0.5, -1.0, 2.0, -3.0, 7.25, 1e200, -1e200, INF, -INF, NAN],
           3: [0.0, 0.5, -1.0, 3.0, INF, NAN]}  # fmt: skip


@pytest.mark.parametrize("name", ROWS)
def test_every_row(name):
    """Each operand an input, a parameter or a constant, on ordinary numbers and corners; one by one, as nan would hide
    the others."""
    n = ROWS[name].operands
    function = OPERATORS.get(name) or getattr(microgradc, name.lower())
    for kinds in itertools.product("ipc", repeat=n):
        if set(kinds) == {"c"}:
            continue
        columns = kinds.count("i")
        for fixed in itertools.product(
            NUMBERS[n][: 12 if columns else None] if n < 3 else NUMBERS[3], repeat=n - columns
        ):

            def build(inputs, w, kinds=kinds, fixed=fixed):
                x, p, c = (
                    iter(inputs),
                    iter(w),
                    (fixed[i] for i, kind in enumerate(k for k in kinds if k != "i") if kind == "c"),
                )
                return function(*[next({"i": x, "p": p, "c": c}[kind]) for kind in kinds])

            params = [x for x, kind in zip(fixed, (k for k in kinds if k != "i"), strict=True) if kind == "p"]
            X = np.array(list(itertools.product(NUMBERS[n], repeat=columns)), float)
            made, w = record(build, X.shape[1], params)
            _, values, _, (input_grads,) = made.run((X,), [1.0], True, True)
            for i, row in enumerate(X):
                value, grads, of_inputs = eager(build, row, params)
                place = name, kinds, fixed, row
                assert close(values[i], [value], 4e-15), (place, values[i], value)
                assert close(input_grads[i], of_inputs, 1e-14), (place, input_grads[i], of_inputs)
                got = parameter_grads(made, w, made.run((X[i : i + 1],), [1.0], False, False)[2])
                assert close(got, grads, 1e-14), (place, got, grads)


@pytest.mark.parametrize("name", [name for name in ROWS if ROWS[name].operands > 1])
def test_one_value_as_all_operands(name):
    function = OPERATORS.get(name) or getattr(microgradc, name.lower())
    n = ROWS[name].operands
    check(lambda x, w: function(*[x[0]] * n), [[0.4], [-2.0], [3.0]])
    check(lambda x, w: function(*[w[0]] * n) * x[0], [[0.4], [-2.0], [3.0]], [0.6])


@pytest.mark.parametrize("exponent", [0, 1, 2, 3, -1, -2, 0.5, -0.5, 1.5])
def test_powers_of_a_constant_exponent(exponent):
    for x in [0.0, -0.0, 1.0, -2.0, 1e-160, 1e160, 1e300, INF, -INF, NAN]:
        if exponent == -0.5 and math.copysign(1, x) < 0 and x in (0.0, -INF):
            continue    # the slopes differ there: docs/differences.md
        check(lambda v, w: v[0] ** exponent + 0 * w[0], [[x]], [1.0], share=1e-14)


# Graphs

slow = settings(max_examples=120, deadline=None, suppress_health_check=list(HealthCheck))


@slow
@given(recipes(), st.data())
def test_random_graphs(recipe, data):
    """Some leaves are inputs, the others parameters or constants; several outputs; replayed on other numbers."""
    leaves, steps, roots = recipe
    kinds = data.draw(st.lists(st.sampled_from("iiipc"), min_size=len(leaves), max_size=len(leaves)))
    columns, params = kinds.count("i"), [x for x, kind in zip(leaves, kinds, strict=True) if kind == "p"]
    n = data.draw(st.sampled_from([1, 3, 9]))
    X = np.random.default_rng(len(steps)).uniform(-2, 2, (n, columns))

    def build(root):
        def graph(inputs, w):
            x, p = iter(inputs), iter(w)
            nodes = [
                next(x) if kind == "i" else next(p) if kind == "p" else Value(leaf)
                for leaf, kind in zip(leaves, kinds, strict=True)
            ]
            for name, operands, number in steps:
                nodes.append(_step_of_values(name, [nodes[i] for i in operands], number))
            return [nodes[i] for i in root] if isinstance(root, list) else nodes[root]

        return graph

    if not columns:
        X = np.zeros((n, 1))
    expected = [[eager(build(root), row, params) for row in X] for root in roots]
    assume(all(abs(x) < 1e6 for of_root in expected for value, gw, gx in of_root for x in [value, *gw, *gx]))
    made, w = record(build(roots), X.shape[1], params, lanes=data.draw(st.sampled_from([None, 8])))
    values = made(X)
    for k, of_root in enumerate(expected):
        scale = max(1.0, *(abs(x) for value, gw, gx in of_root for x in [value, *gw, *gx]))
        seeds = [float(k == j) for j in range(len(roots))]
        _, again, grads, (input_grads,) = made.run((X,), seeds, True, True)
        assert np.abs(values[:, k] - [e[0] for e in of_root]).max() <= SHARE * scale
        assert np.abs(again - values).max() <= SHARE * max(1.0, np.abs(values).max())
        assert np.abs(input_grads - np.reshape([e[2] for e in of_root], X.shape)).max() <= 10 * SHARE * scale
        if params:
            total = np.sum([e[1] for e in of_root], axis=0)
            assert np.abs(np.array(parameter_grads(made, w, grads)) - total).max() <= 10 * SHARE * n * scale


def graph_of_integers(seed, inputs, params, index):
    """Operations that give integers for integers, small enough to be exact: whatever the order of additions, the bits
    are the same."""
    r, m = random.Random(seed), microgradc
    nodes = [*inputs, *params]

    def pick():
        return r.choice(nodes[-8:] if r.random() < 0.6 else nodes)

    def some(values=None, count=None):
        return [r.choice(values) if values else m.clip(pick(), -9, 9) for _ in range(count or r.randrange(1, 6))]

    kinds = [
        lambda: pick() + pick(), lambda: pick() - pick(), lambda: r.randrange(-3, 4) * pick(),
        lambda: pick() + r.randrange(-3, 4),
        lambda: -pick(), lambda: pick() * m.clip(pick(), -9, 9), lambda: m.maximum(pick(), pick()),
        lambda: abs(pick()).relu(),
        lambda: m.sum(some()), lambda: m.mean(some(count=2)) * 2, lambda: m.dot(some(count=3), some(count=3), pick()),
        lambda: take(some(count=4), index), lambda: take(some([*params, 5, pick()], 4), index) + params[0],
        lambda: m.where(m.less(pick(), pick()), pick(), pick()),
        lambda: sum(m.linear(some(count=3), [some(params, 3) for _ in range(3)], some(params, 3))),
    ]  # fmt: skip
    for _ in range(r.choice([1, 3, 10, 30, 80])):
        nodes.append(m.clip(r.choice(kinds)(), -60, 60) if r.random() < 0.5 else r.choice(kinds)())
    return [nodes[-1], *(pick() for _ in range(r.randrange(3)))]


@pytest.mark.parametrize("first", range(0, 300, 50))
def test_random_graphs_of_integers_have_the_same_bits(first):
    compared = 0
    for seed in range(first, first + 50):
        r = np.random.default_rng(seed)
        columns, n = int(r.integers(1, 5)), int(r.choice([1, 7, 8, 9, 17]))
        params = r.integers(-3, 4, r.integers(1, 7)).astype(float).tolist()
        X = np.column_stack([r.integers(-3, 4, (n, columns)), r.integers(0, 4, n)]).astype(float)

        def build(x, w, seed=seed, columns=columns):
            return graph_of_integers(seed, x[:columns], w, x[columns])

        made, w = record(build, columns + 1, params, r.choice([8, 16]).item(), integers=(columns,))
        values = made(X)
        for k in range(made.output_count):
            expected = [eager(lambda x, w, k=k: build(x, w)[k], row, params, (columns,)) for row in X]
            if not max(abs(x) for value, gw, gx in expected for x in [value, *gw, *gx[:-1]]) < 1e14:
                continue
            compared += 1
            _, again, grads, (input_grads,) = made.run(
                (X,), [float(k == j) for j in range(made.output_count)], True, True
            )
            assert values[:, k].tolist() == again[:, k].tolist() == [e[0] for e in expected], (seed, made)
            assert input_grads[:, :-1].tolist() == [e[2][:-1] for e in expected], (seed, made)
            assert parameter_grads(made, w, grads) == np.sum([e[1] for e in expected], axis=0).tolist(), (seed, made)
    assert compared > 60


def weighted(x, w):
    return [wi * xi for wi, xi in zip(w, x, strict=True)]


def nested(x, w):
    inner = [sum(weighted(x, w)) + i for i in range(3)]
    return sum(a * b for a, b in itertools.pairwise(inner)) - inner[0] - inner[2]


SUMS = {
    "builtin": lambda x, w: sum(weighted(x, w)),
    "builtin with bias": lambda x, w: sum(weighted(x, w), w[0]),
    "dot": lambda x, w: microgradc.dot(w, x, w[1]),
    "dot of inputs": lambda x, w: microgradc.dot(x, x[::-1]),
    "dot of parameters": lambda x, w: microgradc.dot(w, w) * x[0],
    "sum": lambda x, w: microgradc.sum(weighted(x, w) + x + w + [3, 0.5]),
    "sum of one": lambda x, w: microgradc.sum([x[0]]) + microgradc.mean([x[1]]),
    "mean": lambda x, w: microgradc.mean([*x, *w, 7]),
    "mean of sums": lambda x, w: microgradc.mean([x[0] + x[1] - w[0], x[2] * w[1] - x[3], microgradc.sum(x)]),
    "minus": lambda x, w: x[0] - x[1] - (x[2] - w[0]) - (-x[3] + 2) - w[1] * x[0],
    "minus products": lambda x, w: -(x[0] * x[1]) - w[0] * w[1] - (x[2] * w[2] - -x[3] * 3),
    "nested": nested,
    "shared parts": lambda x, w: (s := x[0] + x[1] * w[0] + w[1]) + s * s + (s + x[2] + x[3]) * (s - w[2]),
    "a term twice": lambda x, w: x[0] + x[0] + x[0] + w[0] + w[0] + x[0] * w[0] + x[0] * w[0],
    "a term cancels": lambda x, w: (x[0] - x[0]) + w[0] * x[1] - w[0] * x[1] + x[2],
    "squares": lambda x, w: sum(v * v for v in x) + sum(p * p for p in w) + sum(v**2 for v in x),
    "constants": lambda x, w: 1 + x[0] + 2 + 3 * x[1] - 4 + w[0] + 5 - x[2] * -2 + (x[3] + 1.5) * 0.5,
    "constants alone": lambda x, w: Value(1.0) + 2 + Value(3.0) * 4 + 0 * x[0],
    "no input": lambda x, w: w[0] * w[1] + w[2].tanh() + microgradc.logsumexp(w),
    "one input of many": lambda x, w: x[3] + 1,
    "no parameter": lambda x, w: x[0] * x[1] + x[2] + x[3],
    "layer": lambda x, w: sum(v.tanh() for v in microgradc.linear(x, [w, w[::-1], w], [w[0], 0, 1.5])),
    "layers": lambda x, w: sum(
        microgradc.linear(microgradc.linear(x, [w, w[1:] + w[:1]], None), [w[:2], w[2:]], w[:2])
    ),
    "neighbours": lambda x, w: sum((a * b).sin() for a, b in itertools.pairwise(x)),
    "differences": lambda x, w: (
        sum((a - b) ** 2 for a, b in itertools.pairwise(x)) + sum(abs(a - b) for a, b in zip(x, w, strict=True))
    ),
    "common parts": lambda x, w: (x[0] * w[0]).exp() + (x[0] * w[0]).exp() * (w[0] * x[0]).exp(),
    "dead code": lambda x, w: [x[0].log(), (w[0] * x[1]).exp(), x[2] + w[1]][2],
    "an input": lambda x, w: x[2],
    "a parameter": lambda x, w: w[1],
    "a constant": lambda x, w: Value(4.0),
    "logsumexp": lambda x, w: microgradc.logsumexp([*x, *w, 0.5]),
    "logsumexp of parameters": lambda x, w: microgradc.logsumexp(w) * x[0],
    "logsumexp of one": lambda x, w: microgradc.logsumexp(x[:1]) + microgradc.logsumexp([x[1], x[1]]),
    "softmax": lambda x, w: microgradc.dot(microgradc.softmax(x), w),
    "log_softmax": lambda x, w: microgradc.dot(microgradc.log_softmax(weighted(x, w)), x),
    "chain": lambda x, w: sum(weighted(x, w) * 30) + sum(x) * 20,
    "where": lambda x, w: (
        microgradc.where(microgradc.less(x[0], w[0]), x[1] * w[1], x[2]) + microgradc.clip(x[3], -1, w[2])
    ),
}


@pytest.mark.parametrize("name", SUMS)
def test_sums_however_they_are_written(name):
    for seed, lanes, n in [(1, None, 5), (2, 8, 17)]:
        X = np.random.default_rng(seed).normal(size=(n, 4))
        check(SUMS[name], X, [0.5, -1.25, 2.0, 0.125], lanes)


def test_wide_operations_on_hard_numbers():
    hard = [
        [1000.0, 0.0, -1000.0],
        [1e-9, 0.0, 1e-9],
        [700.0, 700.0, 700.0],
        [-INF, 0.0, 1.0],
        [-800.0, -800.0, -900.0],
    ]
    check(lambda x, w: microgradc.logsumexp(x), hard)
    check(lambda x, w: microgradc.softmax(x)[0] * w[0], hard[:3] + hard[4:], [2.0])
    for row in ([INF, 0.0, 1.0], [INF, INF, 1.0], [-INF, -INF, -INF], [NAN, 0.0, 1.0]):
        check(lambda x, w: microgradc.logsumexp(x), [row])
    rows = [[*row, k] for row in [*hard[:3], [40.0, 0.0, -40.0]] for k in range(3)]
    for row in rows:    # one by one: small losses keep all their digits
        check(lambda x, w: microgradc.cross_entropy(x[:3], x[3]), [row], integers=(3,))
        check(lambda x, w: microgradc.nll_loss(microgradc.log_softmax(x[:3]), x[3]), [row], integers=(3,))
        leaves = [Value(x) for x in row[:3]]
        loss = microgradc.cross_entropy(leaves, row[3])
        loss.backward()
        value, grad = microgradc.compile(lambda x, k=row[3]: microgradc.cross_entropy(x, k)).value_and_grad(row[:3])
        assert value == pytest.approx(loss.data, rel=SHARE, abs=0)
        # That of a class that is all but certain has digits here that are lost in p - 1.
        assert grad == pytest.approx([v.grad for v in leaves], rel=SHARE, abs=1e-16)
    check(
        lambda x, w: microgradc.cross_entropy([x[0], w[0], 0.5], x[1]),
        [[0.3, 0], [1.0, 1], [-1.0, 2]],
        [0.4],
        integers=(1,),
    )


def test_take():
    X = np.column_stack([rng.normal(size=(20, 3)), rng.integers(0, 3, 20), rng.integers(0, 4, 20)])
    check(lambda x, w: take(x[:3], x[3]) * x[0], X, integers=(3, 4))
    check(lambda x, w: take(w, x[4]) * x[0] + w[1], X, [1.0, 2.0, 3.0, 4.0], integers=(3, 4))
    check(lambda x, w: take([1.0, 2.0, 4.0], x[3]) * x[0], X, integers=(3, 4))
    check(
        lambda x, w: take([x[0], w[0], 2.0], x[3]) + take([w[1], w[0] * 2, 1.0, w[1]], x[4]) * x[3],
        X,
        [5.0, 6.0],
        integers=(3, 4),
    )
    check(
        lambda x, w: microgradc.dot(take([w[:2], w[2:], x[:2]], x[3]), take([x[:2]] * 4, x[4])),
        X,
        [1.0, 2.0, 3.0, 4.0],
        integers=(3, 4),
    )


# Batches

MODEL_X = rng.normal(size=(1000, 3))
MODEL_W = rng.normal(size=20).tolist()


def model(x, w):
    hidden = [v.tanh() for v in microgradc.linear(x, [w[i : i + 3] for i in range(0, 12, 3)], w[12:16])]
    return (microgradc.dot(w[16:20], hidden) - 1).relu() + 0.01 * sum(p * p for p in w) + microgradc.logsumexp(hidden)


@pytest.mark.parametrize("lanes", [None, 8, 16, 40, 136, 2**31 - 8])
def test_sizes_of_batches(lanes):
    for n in (1, 7, 8, 9, 64, 1000) if lanes != 40 else (1, 39, 40, 41):
        check(model, MODEL_X[:n], MODEL_W, lanes)


def test_padding_and_bad_examples_touch_nothing_else():
    """Functions that are nan or inf at 0 or at the last example; inf, nan in one example stay there."""

    def bad(x, w):
        return (x[0] * w[0]).log() / x[1] + x[2] ** w[1] + microgradc.logsumexp(x) + microgradc.dot(x, w)

    X = rng.uniform(1, 2, (21, 3))
    for n in range(1, 18):
        check(bad, X[:n], [1.0, 2.0, 3.0], 8)
    made, _ = record(bad, 3, [1.0, 2.0, 3.0], 8)
    _, values, _, (grads,) = made.run((X,), [1.0], True, True)
    for number, bad_one in itertools.product([INF, -INF, NAN, 0.0], [0, 9, 20]):
        spoilt = X.copy()
        spoilt[bad_one] = number
        others = np.arange(21) != bad_one
        _, values_spoilt, _, (grads_spoilt,) = made.run((spoilt,), [1.0], True, True)
        assert (values_spoilt[others] == values[others]).all()
        assert (grads_spoilt[others] == grads[others]).all()
        assert not np.isfinite(values_spoilt[bad_one]).all()
    with np.errstate(invalid="ignore"):
        ends_in_0, _ = record(lambda x, w: x[0] / x[0] + w[0] * x[0].log(), 1, [1.0], 8)
        X = np.array([[1.0], [2.0], [0.0]])
        assert np.isfinite(ends_in_0(X)[:2]).all()
        assert np.isnan(ends_in_0(X)[2])


def test_the_outputs_are_apart():
    """A gradient of 0 that went through another output's steps would be nan."""
    for outputs in (lambda x, w: [x[0] * w[0], w[1].sqrt()], lambda x, w: [x[0] * w[0], (x[0] * w[1]).log()]):
        made, w = record(outputs, 1, [3.0, 0.0])
        first, _ = made.totals((np.ones((5, 1)),), 1.0)
        first.backward()
        assert [p.grad for p in w] == [5.0, 0.0]


def test_outputs_that_are_leaves_or_come_twice():
    made, w = record(lambda x, w: [x[1], w[0], Value(7.0), x[0] * w[0], x[0] * w[0], x[1]], 2, [3.0])
    X = rng.normal(size=(11, 2))
    expected = np.column_stack([X[:, 1], np.full(11, 3.0), np.full(11, 7.0), X[:, 0] * 3, X[:, 0] * 3, X[:, 1]])
    assert (made(X) == expected).all()
    totals = made.totals((X,), 1 / 11)
    assert [t.data for t in totals] == pytest.approx(expected.mean(axis=0), rel=1e-14)
    totals[1].backward()
    assert w[0].grad == pytest.approx(1.0, rel=1e-15)
    sums, _, grads, (input_grads,) = made.run((X,), [1.0, 2.0, 3.0, 4.0, 5.0, 6.0], False, True)
    assert sums == pytest.approx(expected.sum(axis=0), rel=1e-14)
    assert grads == pytest.approx([2 * 11 + 9 * X[:, 0].sum(), 3 * 11])    # 7 is a leaf like any other
    assert input_grads == pytest.approx(np.column_stack([np.full(11, 27.0), np.full(11, 7.0)]))


@pytest.mark.parametrize("level", _kernels.levels())
def test_each_level_of_simd(level, run_python):
    out = run_python(
        "import sys, pytest; sys.exit(pytest.main(['-q', '-p', 'no:cacheprovider', sys.argv[1], '-k', sys.argv[2]]))",
        __file__, "sums_however or hard_numbers or sizes_of or take or padding", MICROGRADC_SIMD=level,
    )  # fmt: skip
    assert "failed" not in out
    stats = "import numpy; from microgradc import *; x = Value(1.0); print(Program(x * 2, [x]).stats()['simd'])"
    assert run_python(stats, MICROGRADC_SIMD=level).strip() == level
