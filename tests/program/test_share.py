"""Equal layers and equal tables have one block of weights and of gradients: values and gradients against eager."""

import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_program import check, eager, record

import microgradc
from microgradc import Program, Value, dot, nn, take
from microgradc.program.graph import Graph

rng = np.random.default_rng(5)
UNITS = 5


def layer(w, rows, first=0):
    """A dense layer: as many neurons as rows, each of their weights and a bias, from w[first] on."""
    size = len(rows) + 1
    neurons = [w[first + i * size:first + (i + 1) * size] for i in range(len(rows))]
    return [dot(neuron[:-1], rows, neuron[-1]).tanh() for neuron in neurons]


def weight_count(build, columns, params=(), integers=()):
    made, _ = record(build, columns, params, integers=integers)
    return made.stats()["weights"]


def parameters(count):
    return rng.normal(size=count).tolist()


def recurrent(steps, every=1):
    """The same layer again and again; the inputs are added every so often."""

    def build(x, w):
        rows = [v * 0.5 for v in x]
        for step in range(steps):
            rows = layer(w, rows)
            if step % every == 0:
                rows = [a + b for a, b in zip(rows, x, strict=True)]
        return microgradc.sum(rows)

    return build


def test_a_recurrent_net_has_the_weights_of_one_step():
    count = UNITS * (UNITS + 1)
    w = parameters(count)
    of_sum = UNITS + 2      # of six terms, and a bias
    assert weight_count(recurrent(1), UNITS, w) == weight_count(recurrent(12), UNITS, w) == count + of_sum


def test_the_positions_of_a_sequence_have_the_weights_of_one():
    model = nn.MLP(3, [8, 2], seed=0)
    x = [[Value(0.1 * (i + j)) for j in range(3)] for i in range(6)]
    outputs = [microgradc.logsumexp(model(row)) for row in x]
    inputs = [v for row in x for v in row]
    of_one, of_six = Program(outputs[0], inputs[:3]).stats(), Program(microgradc.sum(outputs), inputs).stats()
    count, of_sum = 3 * 8 + 8 + 8 * 2 + 2, 6 + 1        # ones and a bias
    assert of_one["weights"] == count
    assert of_six["weights"] == count + of_sum


@pytest.mark.parametrize("lanes", [None, 8, 24])
@pytest.mark.parametrize("build", [recurrent(3), recurrent(9), recurrent(7, every=3)])
def test_values_and_gradients(build, lanes):
    w = parameters(UNITS * (UNITS + 1))
    check(build, rng.normal(size=(1, UNITS)), w, lanes, share=1e-11)
    check(build, rng.normal(size=(70, UNITS)), w, lanes, share=1e-11)


def test_other_weights_have_blocks_of_their_own():
    """Of the same parameters in another order or number, or with another bias; equal numbers are not enough."""

    def build(x, w):
        a, b, c, d = w
        return microgradc.sum([
            dot([a, b], x).tanh() * dot([b, a], x[::-1]), (dot([a, b], x[:1] * 2) + c).tanh(),
            (dot([a, b], x[1:] * 2) + d).tanh(), dot([a, b, b], [*x, x[0]]).tanh(), dot([a, b, 0.0, c], x * 2).tanh(),
        ])  # fmt: skip

    check(build, rng.normal(size=(9, 2)), [0.5, 0.5, 0.25, 0.25])


def test_a_block_is_where_the_first_of_its_layers_is():
    """Three layers, the second of which comes again, with others in between."""

    def build(x, w):
        rows = list(x)
        for first in (0, 6, 12, 6, 6, 0, 12):
            rows = layer(w, rows, first)
        return microgradc.sum(rows)

    w = parameters(18)
    assert weight_count(build, 2, w) == 18 + 2 + 1       # the sum has ones and a bias
    check(build, rng.normal(size=(33, 2)), w)


def test_equal_tables_have_one_block():
    def build(x, w):
        return take(w[:4], x[1]) * x[0] + (take(w[:4], x[2]) * x[0]).tanh() + take(w[1:], x[2])

    w = parameters(5)
    assert weight_count(build, 3, w, integers=[1, 2]) == 4 + 4
    X = np.column_stack([rng.normal(size=12), np.arange(12) % 4, np.arange(12) // 3])
    check(build, X, w, integers=[1, 2])


def test_careful_runs():
    """What was not taken sends nothing to the weights that it shares with what was."""

    def build(x, w):
        first = dot([w[0], w[1]], x[:2])
        return take([first.sqrt(), dot([w[0], w[1]], x[1:3]).tanh(), first * x[2]], x[3])

    X = np.array([[1.0, -1.0, 0.5, 1.0], [2.0, -2.0, 0.25, 2.0], [1.0, 2.0, 3.0, 0.0], [0.0, 0.0, 1.0, 1.0]])
    made, _ = record(build, 4, [0.5, 0.5], integers=[3])
    assert made.stats()["weights"] == 3
    _, values, grads, _ = made.run((X,), [1.0], True, True)
    expected = [eager(build, row, [0.5, 0.5], integers=[3]) for row in X]
    assert values[:, 0] == pytest.approx([e[0] for e in expected])
    assert np.isfinite(grads).all()
    assert grads == pytest.approx(np.sum([e[1] for e in expected], axis=0))


def layered(seed):
    """A random graph of layers from a pool, so that some come again: four inputs, twenty parameters."""
    source, g = random.Random(seed), Graph()
    rows, w = [g.input() for _ in range(4)], [g.parameter() for _ in range(20)]
    biases = [*w, g.constant(0.0), g.constant(-0.0), g.constant(0.5)]
    pool = []
    for _ in range(source.randint(1, 3)):
        k = source.randint(1, 4)
        pool.append([([source.choice(w) for _ in range(k)], source.choice(biases))
                     for _ in range(source.randint(1, 6))])  # fmt: skip
    for _ in range(source.randint(2, 8)):
        neurons = source.choice(pool)
        k = len(neurons[0][0])
        chosen = [source.choice(rows[-8:]) for _ in range(k)]
        for weights, bias in neurons:
            rows.append(g.add("tanh", g.add("dense", *chosen, *weights, bias)))
    g.outputs = [g.add("sum", *rows[-6:])]
    return g


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 10**6))
def test_random_layers(seed):
    """Plans of graphs whose layers come again, against the engine."""
    g, numbers = layered(seed), np.random.default_rng(seed)

    def build(x, w):
        return g.values(x, w)[0]

    check(build, numbers.normal(size=(int(numbers.integers(1, 40)), 4)), numbers.normal(size=20).tolist(), share=1e-11)
