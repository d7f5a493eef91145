"""One example, run on single numbers: the bits of a lane of a batch, for every step and layout, at each SIMD level."""

import itertools
import math
import os

import numpy as np
import pytest
from corners import CORNERS
from graphs import build_values, recipes
from hypothesis import given, settings
from hypothesis import strategies as st

from microgradc import Program, Value, _kernels, compile, dot, engine, logsumexp, take
from microgradc.program.graph import Graph

rng = np.random.default_rng(0)
ROWS = {row.name: row for row in engine.TABLE}
NUMBERS = np.concatenate([CORNERS, rng.normal(size=20), 50 * rng.normal(size=10), rng.random(10)])

# Where the operands of result i of `count` are: one after another, all the same, backwards, every other, overlapping.
LAYOUTS = {
    "runs": lambda i, j, count: i + j * count,
    "one second": lambda i, j, count: i if j == 0 else count + j,
    "backwards": lambda i, j, count: (count - 1 - i if j else i) + j * count,
    "strides": lambda i, j, count: 2 * i + j,
    "overlapping": lambda i, j, count: i + j,
    "the other way round": lambda i, j, count: i + 2 - j,
}


def require_same_bits(program, X):
    """Compare each example by itself with what it gives among the others: outputs, sums and gradients of the inputs."""
    seeds = rng.normal(size=program.output_count).tolist()
    _, batch, _, (batch_grads,) = program.run((X,), seeds, True, True)
    for i, row in enumerate(X):
        sums, outputs, _, (grads,) = program.run((row[None],), seeds, True, True)
        np.testing.assert_array_equal(outputs[0], batch[i], strict=True)
        assert (np.signbit(outputs[0]) == np.signbit(batch[i]))[~np.isnan(batch[i])].all()
        np.testing.assert_array_equal(grads[0], batch_grads[i], strict=True)
        np.testing.assert_array_equal(sums, outputs[0])
        np.testing.assert_array_equal(program(row[None])[0], batch[i])


def program_of_rows(name, layout, count):
    operands = ROWS[name].operands
    places = [[LAYOUTS[layout](i, j, count) for j in range(operands)] for i in range(count)]
    graph = Graph()
    inputs = [graph.input() for _ in range(1 + max(itertools.chain(*places)))]
    graph.outputs = [graph.add(name.lower(), *(inputs[at] for at in row)) for row in places]
    leaves = [Value(0.5) for _ in inputs]
    return Program(graph.values(leaves, []), leaves)


@pytest.mark.parametrize("name", ROWS)
def test_rows_in_every_layout(name):
    for layout, count in itertools.product(LAYOUTS, [1, 2, 7, 8, 30]):
        program = program_of_rows(name, layout, count)
        require_same_bits(program, rng.choice(NUMBERS, size=(9, program.input_count)))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_long_runs(layout):
    """Longer than the part that is put side by side at a time."""
    for name in ("MUL", "EXP", "WHERE", "ATAN2"):
        program = program_of_rows(name, layout, 600)
        require_same_bits(program, rng.normal(size=(3, program.input_count)))


def layer(inputs, outputs, with_bias, repeated):
    """A dense layer whose weights are parameters; some of its inputs may come twice."""
    x = [Value(0.0) for _ in range(inputs)]
    read = [x[i % max(1, inputs - 2)] if repeated else x[i] for i in range(inputs)]
    w = [[Value(a) for a in row] for row in rng.normal(size=(outputs, inputs))]
    b = [Value(a) for a in rng.normal(size=outputs)] if with_bias else [None] * outputs
    return Program([dot(row, read, bias) for row, bias in zip(w, b, strict=True)], x)


@pytest.mark.parametrize("with_bias", [False, True])
@pytest.mark.parametrize("repeated", [False, True])
def test_dense_layers(with_bias, repeated):
    for inputs, outputs in itertools.product([1, 2, 3, 4, 7, 8, 9, 33, 70], [1, 2, 4, 5, 9, 17, 40]):
        program = layer(inputs, outputs, with_bias, repeated)
        X = rng.normal(size=(9, inputs))
        X[3, 0], X[4, -1], X[5, 0] = math.inf, math.nan, -0.0
        require_same_bits(program, X)


@pytest.mark.parametrize("with_bias", [False, True])
def test_gradients_of_layers(with_bias):
    """The gradients of one example, added up by hand, are those of a batch but for the order of a sum."""
    for inputs, outputs in ((1, 1), (3, 5), (8, 4), (40, 9), (5000, 2)):
        program = layer(inputs, outputs, with_bias, repeated=False)
        X = rng.normal(size=(4, inputs))
        seeds = rng.normal(size=outputs).tolist()
        batch = program.run((X,), seeds, False, False)[2]
        single = [program.run((row[None],), seeds, False, False)[2] for row in X]
        scale = np.abs(single).sum(axis=0)
        assert (np.abs(np.sum(single, axis=0) - batch) <= 1e-15 * scale).all()
        padded = np.repeat(X[:1], 2, axis=0)       # twice the same: a sum of two equal numbers is exact
        np.testing.assert_array_equal(program.run((padded,), seeds, False, False)[2], 2 * single[0])


def wide(kind, count):
    if kind == "take":
        return compile(take).program([0.5] * count, 0)
    if kind == "cross entropy":
        return compile(lambda values, i: logsumexp(values) - take(values, i)).program([0.5] * count, 0)
    x = [Value(0.5) for _ in range(count + 1)]
    if kind == "logsumexp":
        return Program([logsumexp(x), logsumexp(x[:1])], x)
    return Program([dot(x[: count // 2], x[-(count // 2) :]), dot(x, x)] if count > 1 else [x[0] * x[0]], x)


@pytest.mark.parametrize("kind", ["logsumexp", "products", "take", "cross entropy"])
def test_wide_operations(kind):
    for count in (1, 2, 3, 8, 31, 300, 700):
        program = wide(kind, count)
        for scale in (1.0, 30.0, 1e3, 1e308):
            with np.errstate(over="ignore"):
                X = np.clip(scale * rng.normal(size=(9, count + 1)), -1.7e308, 1.7e308)
            X[1, 0], X[2, 0], X[3, :-1], X[4, 0], X[5, :-1] = math.inf, math.nan, 0.0, -math.inf, -math.inf
            if kind in ("take", "cross entropy"):
                X[:, -1] = rng.integers(0, count, size=9)
            require_same_bits(program, X)


def test_take_of_parameters():
    table = [Value(a) for a in rng.normal(size=7)]
    program = compile(lambda i: take(table, i) * 2).program(0)
    for k in range(7):
        sums, _, grads, _ = program.run((np.array([[float(k)]]),), [3.0], False, False)
        assert sums == [2 * table[k].data]
        assert grads.tolist() == [6.0 * (j == k) for j in range(7)]


@settings(max_examples=60, deadline=None)
@given(recipes(), st.integers(0, 2**32 - 1))
def test_random_graphs(recipe, seed):
    values = build_values(recipe)
    inputs = values[: len(recipe[0])]
    program = Program([values[root] for root in recipe[2]], inputs)
    X = np.random.default_rng(seed).normal(size=(9, len(inputs)))
    require_same_bits(program, X)


def test_the_value_is_that_of_an_example_in_a_batch_of_many():
    w = [Value(a) for a in rng.normal(size=20)]
    x = [Value(0.0) for _ in range(20)]
    program = Program(sum((a * b).tanh() for a, b in zip(w, x, strict=True)), x)
    X = rng.normal(size=(1000, 20))
    assert [program(row[None]).item() for row in X] == program(X)[:, 0].tolist()


# At other levels.
TESTS = "rows or dense or layers or wide or long" if os.environ.get("MICROGRADC_LONG") else "dense or layers or long"


@pytest.mark.parametrize("level", _kernels.levels()[:-1])
def test_other_levels(level, run_python):
    out = run_python(
        "import sys, pytest; sys.exit(pytest.main(['-q', '-p', 'no:cacheprovider', sys.argv[1], '-k', sys.argv[2]]))",
        __file__, TESTS, MICROGRADC_SIMD=level,
    )  # fmt: skip
    assert "failed" not in out
