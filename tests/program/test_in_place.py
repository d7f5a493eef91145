"""Rows that are read and written where the caller has them: the same bits as those that are copied."""

import numpy as np
import pytest

from microgradc import SGD, Program, Value, compile, dot, exp, maximum, sin

rng = np.random.default_rng(0)
W = [Value(0.7), Value(-1.3)]

# Each of two inputs; those that are not all of single operations of ops.h have rows that are copied.
FUNCTIONS = {
    "one operation": lambda x, y: exp(x) + 0 * y,
    "one input is not used": lambda x, y: x**3,
    "the output is an input": lambda x, y: y,
    "used three times": lambda x, y: x * x + x * y - sin(x),
    "the output is used by another": lambda x, y: [x * y, (x * y).exp()],
    "outputs that are equal": lambda x, y: [x * y, x * y],
    "parameters": lambda x, y: W[0] * x + exp(W[1] * y) * W[0],
    "no operation of the inputs": lambda x, y: W[0] * W[1],
    "a layer": lambda x, y: sin(x) * dot([x, y], W, 0.5),
    "ties": lambda x, y: maximum(x, y) * y,
    "runs": lambda x, y: sin(x) * sin(y) + sin(x * y) / sin(x - y),
    "two contributions": lambda x, y: exp(x * y) / (x + y),
}
SIZES = [2, 7, 8, 9, 264, 265, 1000, 1040]


def at_offset(column, offset):
    """Return the column in memory that begins so many doubles after a 64-byte boundary."""
    room = np.empty(len(column) + 16)
    begin = -room.ctypes.data % 64 // 8 + offset
    room[begin : begin + len(column)] = column
    return room[begin : begin + len(column)]


@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_the_bits_are_those_of_rows_that_are_copied(name, n):
    x, y = Value(0.3), Value(0.8)
    program = Program(FUNCTIONS[name](x, y), [x, y])
    seeds = [1.5, -0.0, 2.0][: program.output_count]
    columns = rng.normal(size=(2, n)) + 2
    sums, outputs, grads, (both,) = program.run((np.ascontiguousarray(columns.T),), seeds, True, True)
    for offset in (0, 1, 4, 7):
        given = at_offset(columns[0], offset), at_offset(columns[1], 8 - offset)
        found = program.run(given, seeds, True, True)
        assert found[0] == sums
        assert found[1].tobytes() == outputs.tobytes()
        assert found[2].tobytes() == grads.tobytes()
        assert np.column_stack(found[3]).tobytes() == both.tobytes()
        assert (np.array(given) == columns).all()     # nothing is written there
        assert program(*given).tobytes() == outputs.tobytes()
        assert program.run(given, seeds, False, False)[2].tobytes() == grads.tobytes()


def test_a_gradient_that_nothing_sends_is_0():
    x, y = Value(0.3), Value(0.8)
    program = Program(x.exp(), [x, y])
    _, outputs, _, (gx, gy) = program.run((np.zeros(16), np.ones(16)), [1.0], True, True)
    assert gx.tolist() == outputs[:, 0].tolist() == [1.0] * 16
    assert gy.tobytes() == np.zeros(16).tobytes()


def test_a_careful_run_copies():
    """A 0 that meets an infinite derivative becomes nan, unless nothing was sent."""
    x, y = Value(1.0), Value(1.0)
    program = Program([x.sqrt(), y * 2], [x, y])
    _, _, _, (gx, gy) = program.run((np.zeros(16), np.ones(16)), [-0.0, 1.0], True, True)
    assert gx.tobytes() == np.zeros(16).tobytes()
    assert (gy == 2).all()
    assert np.isnan(program.run((np.zeros(16), np.ones(16)), [0.0, 1.0], True, True)[3][0]).all()


def test_examples_in_another_order_are_copied():
    """Batches of a training, of columns that are arrays of their own, and as many as lanes."""
    x, y = rng.normal(size=(2, 64))
    trained = []
    for give in (lambda f: f, lambda f: lambda row: f(row[0], row[1])):
        v = Value(0.5)
        f = compile(give(lambda a, b, v=v: (sin(a) * v - exp(b)) ** 2))
        arrays = (x, y) if not trained else (np.column_stack([x, y]),)
        losses = f.train(SGD([v], lr=0.01), *arrays, epochs=3, batch_size=16, seed=1)
        trained.append((losses.tolist(), v.data))
    assert trained[0] == trained[1]
