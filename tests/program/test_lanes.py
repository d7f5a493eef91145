"""The kernels of lanes.h, at each SIMD level that this processor has: rows against the eager engine, layers against
NumPy."""

import functools
import math
import operator
import re

import numpy as np
import pytest
from corners import CORNERS, INF, NAN, PAIRS, TRIPLES
from hypothesis import given, settings
from hypothesis import strategies as st

import microgradc
from microgradc import Value, _kernels, engine
from microgradc.engine.value import operate

GRIDS = {1: [(x,) for x in CORNERS], 2: PAIRS, 3: TRIPLES}
ROWS = {row.name: row for row in engine.TABLE}
OPERATORS = {
    "ADD": operator.add, "SUB": operator.sub, "MUL": operator.mul, "DIV": operator.truediv, "POW": operator.pow,
    "FLOORDIV": operator.floordiv, "MOD": operator.mod, "NEG": operator.neg, "ABS": abs,
    "POLYGAMMA": functools.partial(operate, "polygamma"),
}  # fmt: skip
LEVELS = _kernels.levels()
each_level = pytest.mark.parametrize("level", LEVELS)
each_row = pytest.mark.parametrize("name", ROWS)
each_number_of_lanes = pytest.mark.parametrize("lanes", [1, 7, 8, 9, 24, 104])

# What the C library computes otherwise than a level may: these columns need not have the same bits as the engine's.
FUNCTIONS = re.compile(r"\b(exp|expm1|log|log1p|log2|pow|a?sinh?|a?cosh?|a?tanh?|atan2|hypot|erf|sigmoid)\(")


def agree(got, expected, column):
    """Whether the bits are the same, or, if the column calls functions, whether all but the last few are."""
    got, expected = np.asarray(got), np.asarray(expected)
    near = got == expected
    if FUNCTIONS.search(column):
        near |= np.isclose(got, expected, rtol=4e-15, atol=1e-300)
    return near & (np.signbit(got) == np.signbit(expected)) | np.isnan(got) & np.isnan(expected)


@functools.cache
def eager(name, points, gradient):
    """By the engine: the values of a row, of shape (1, lanes), and what its operands receive, of shape (operands,
    lanes)."""
    function = OPERATORS.get(name) or getattr(microgradc, name.lower())
    values, grads = [], []
    for point in points:
        operands = [Value(x) for x in point]
        out = function(*operands)
        (out * gradient).backward()
        values.append(out.data)
        grads.append([v.grad for v in operands])
    return np.array([values]), np.array(grads).T


def points_of(name):
    return tuple(GRIDS[ROWS[name].operands])


@each_level
@each_row
def test_values_are_the_engines(name, level):
    points = points_of(name)
    expected, _ = eager(name, points, 1.0)
    got = np.full_like(expected, 7.0)
    _kernels.forward(level, name, np.array(points).T, got, padding=NAN)
    same = agree(got, expected, ROWS[name].value)[0]
    assert not [(points[i], got[0, i], expected[0, i]) for i in np.flatnonzero(~same)]


@each_level
@each_row
@pytest.mark.parametrize("gradient", [1.0, 3.0, -0.1, INF, NAN])
def test_gradients_are_the_engines(name, level, gradient):
    row, points = ROWS[name], points_of(name)
    values, expected = eager(name, points, gradient)
    operands, incoming = np.array(points).T, np.full_like(values, gradient)
    got = np.zeros_like(expected)
    _kernels.backward(level, name, operands, values, incoming, got, padding=NAN)
    for i, column in enumerate((row.gx, row.gy, row.gz)[: row.operands]):
        same = agree(got[i], expected[i], column)
        assert not [(points[j], i, got[i, j], expected[i, j]) for j in np.flatnonzero(~same)]

        alone = np.full_like(expected, 7.0)  # it adds up, and an operand that wants nothing is left alone
        _kernels.backward(level, name, operands, values, incoming, alone, [j == i for j in range(row.operands)])
        assert agree(alone[i], 7.0 + got[i], "").all()
        assert (np.delete(alone, i, axis=0) == 7.0).all()


@each_level
@pytest.mark.parametrize("name", [name for name in ROWS if ROWS[name].operands > 1])
def test_one_array_for_all_operands(name, level):
    row, x = ROWS[name], np.array(CORNERS)
    operands = np.tile(x, (row.operands, 1))
    values, _ = eager(name, tuple(map(tuple, operands.T)), 1.0)
    incoming = np.full_like(values, 3.0)
    apart, together = np.zeros_like(operands), np.zeros_like(operands)
    _kernels.backward(level, name, operands, values, incoming, apart)
    _kernels.backward(level, name, operands, values, incoming, together, shared=True)
    with np.errstate(invalid="ignore"):
        assert agree(together[0], functools.reduce(operator.add, apart), "").all()


@each_level
@each_number_of_lanes
def test_no_lane_depends_on_another(level, lanes):
    rng = np.random.default_rng(0)
    x, f, w = rng.normal(size=(2, lanes)), np.empty((1, lanes)), rng.normal(size=(5, 2))
    spoilt = x.copy()
    spoilt[:, lanes // 2] = NAN, INF
    others = np.arange(lanes) != lanes // 2
    for name in ROWS:
        if ROWS[name].operands == 2:
            g = f.copy()
            _kernels.forward(level, name, x, f, padding=1.0)
            _kernels.forward(level, name, spoilt, g, padding=INF)
            assert agree(f, g, "")[:, others].all()
    out, out_spoilt, reverse = np.empty((3, 5, lanes))
    _kernels.dense(level, w, None, x, [0, 1], out, padding=1.0)
    _kernels.dense(level, w, None, spoilt, [0, 1], out_spoilt, padding=NAN)
    _kernels.dense(level, w, None, x[:, ::-1], [0, 1], reverse)
    assert (out[:, others] == out_spoilt[:, others]).all()
    assert np.isnan(out_spoilt[:, ~others]).all()
    assert (out == reverse[:, ::-1]).all()
    grads, grads_spoilt, reverse = np.zeros((3, 2, lanes))
    _kernels.dense_operands(level, w, out, [0, 1], False, grads, padding=1.0)
    _kernels.dense_operands(level, w, out_spoilt, [0, 1], False, grads_spoilt, padding=NAN)
    _kernels.dense_operands(level, w, out[:, ::-1], [0, 1], True, reverse)
    assert (grads[:, others] == grads_spoilt[:, others]).all()
    assert (grads == reverse[:, ::-1]).all()


@st.composite
def layers(draw):
    """Sizes, row numbers with repetitions, and small integers: with these every order of additions gives the same
    bits."""
    size = st.one_of(st.integers(1, 9), st.sampled_from([10, 16, 17, 31, 64, 100]))
    m, k, lanes, rows = draw(size), draw(size), draw(st.integers(1, 140)), draw(st.integers(1, 40))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    at = rng.integers(0, rows, k).tolist()
    arrays = [rng.integers(-9, 10, shape).astype(float) for shape in [(m, k), (m,), (rows, lanes), (m, lanes)]]
    return arrays, at, draw(st.integers(0, lanes))


@each_level
@given(layer=layers(), padding=st.sampled_from([0.0, NAN, INF]))
@settings(deadline=None)
def test_layers_are_numpys(level, layer, padding):
    (w, bias, x, g), rows, valid = layer
    out = np.empty_like(g)
    _kernels.dense(level, w, bias, x, rows, out, padding)
    assert (out == bias[:, None] + w @ x[rows]).all()
    _kernels.dense(level, w, None, x, rows, out, padding)
    assert (out == w @ x[rows]).all()

    grads, expected = x.copy(), x.copy()
    np.add.at(expected, rows, w.T @ g)
    _kernels.dense_operands(level, w, g, rows, False, grads, padding)
    assert (grads == expected).all()
    assigned = np.full((len(rows), x.shape[1]), NAN)
    _kernels.dense_operands(level, w, g, list(range(len(rows)))[::-1], True, assigned, padding)
    assert (assigned == (w.T @ g)[::-1]).all()

    g[:, valid:], x[:, valid:] = padding, -padding
    gw, gbias = w.copy(), bias.copy()
    _kernels.dense_weights(level, g, x, rows, gw, gbias, valid, padding)
    assert (gw == w + g[:, :valid] @ x[rows, :valid].T).all()
    assert (gbias == bias + g[:, :valid].sum(axis=1)).all()
    _kernels.dense_weights(level, g, x, rows, gw, None, 0, padding)
    assert (gw == w + g[:, :valid] @ x[rows, :valid].T).all()
    assert _kernels.sum(level, g[:1], valid, padding) == g[0, :valid].sum()


@each_level
@pytest.mark.parametrize("shape", [(64, 64, 128), (3, 1000, 40), (300, 2, 8), (1, 64, 104)])
def test_layers_of_real_numbers(level, shape):
    m, k, n = shape
    rng = np.random.default_rng(1)
    w, bias, x, g = (rng.normal(size=size) for size in [(m, k), m, (k, n), (m, n)])
    rows = list(range(k))
    out, grads, gw, gbias = np.empty((m, n)), np.zeros((k, n)), np.zeros((m, k)), np.zeros(m)
    _kernels.dense(level, w, bias, x, rows, out)
    _kernels.dense_operands(level, w, g, rows, False, grads)
    _kernels.dense_weights(level, g, x, rows, gw, gbias, n)
    for got, expected in [(out, bias[:, None] + w @ x), (grads, w.T @ g), (gw, g @ x.T), (gbias, g.sum(axis=1))]:
        np.testing.assert_allclose(got, expected, rtol=1e-12, atol=1e-12)
    assert _kernels.sum(level, x[:1], n) == pytest.approx(math.fsum(x[0]), rel=1e-13, abs=1e-13)


@each_level
@pytest.mark.parametrize("special", [INF, -INF, NAN])
def test_what_is_not_finite_goes_where_it_must(level, special):
    w, x = np.ones((3, 4)), np.ones((4, 10))
    w[1, 2], x[3, 6] = special, 0.0
    out = np.empty((3, 10))
    _kernels.dense(level, w, None, x, [0, 1, 2, 3], out)
    with np.errstate(invalid="ignore"):
        np.testing.assert_array_equal(out, w @ x)
    gw = np.zeros((3, 4))
    x[2, 5] = special
    _kernels.dense_weights(level, np.ones((3, 10)), x, [0, 1, 2, 3], gw, None, 10)
    np.testing.assert_array_equal(gw, np.tile([10, 10, special, 9], (3, 1)))


@pytest.mark.parametrize("level", LEVELS)
def test_the_environment_chooses_the_level(level, run_python):
    assert (
        run_python("from microgradc import _kernels; print(_kernels.level())", MICROGRADC_SIMD=level).strip() == level
    )


def test_the_fastest_level_by_default(run_python):
    assert (
        run_python("from microgradc import _kernels; print(_kernels.level())", MICROGRADC_SIMD="").strip() == LEVELS[-1]
    )


def test_a_level_that_there_is_not(run_python):
    program_text = """
try:
    import microgradc.program
except ValueError as error:
    print(error)
"""
    message = run_python(program_text, MICROGRADC_SIMD="sse5")
    assert "baseline" in message
    assert "not 'sse5'" in message
    assert "MICROGRADC_SIMD" in message


def test_shapes_that_do_not_fit():
    level, x, w, out = LEVELS[0], np.ones((2, 5)), np.ones((3, 2)), np.ones((3, 5))
    with pytest.raises(ValueError, match="not 'sse5'"):
        _kernels.forward("sse5", "ADD", x, out[:1])
    with pytest.raises(ValueError, match=r"not a row of ops\.h"):
        _kernels.forward(level, "LEAF", x, out[:1])
    with pytest.raises(ValueError, match="operands"):
        _kernels.forward(level, "NEG", x, out[:1])
    with pytest.raises(ValueError, match="out"):
        _kernels.forward(level, "ADD", x, out)
    with pytest.raises(ValueError, match="grads"):
        _kernels.backward(level, "ADD", x, out[:1], out[:1], out)
    with pytest.raises(ValueError, match="rows"):
        _kernels.dense(level, w, None, x, [0, 2], out)
    with pytest.raises(ValueError, match="rows"):
        _kernels.dense(level, w, None, x, [0, -1], out)
    with pytest.raises(ValueError, match="bias"):
        _kernels.dense(level, w, np.ones(2), x, [0, 1], out)
    with pytest.raises(ValueError, match="must differ"):
        _kernels.dense_operands(level, w, out, [1, 1], True, x)
    with pytest.raises(ValueError, match="valid"):
        _kernels.dense_weights(level, out, x, [0, 1], w, None, 6)
    with pytest.raises(TypeError, match="None"):
        _kernels.sum(level, None, 1)


@pytest.mark.parametrize("rows", [[0, 2], [-1, 0], [1 << 40, 0], [0, 1 << 31]])
def test_rows_that_there_are_not(rows):
    level, x, w, g = LEVELS[0], np.ones((2, 8)), np.ones((1, 2)), np.ones((1, 8))
    with pytest.raises(ValueError, match="the shapes do not fit: rows"):
        _kernels.dense(level, w, None, x, rows, g)
    with pytest.raises(ValueError, match="the shapes do not fit: rows"):
        _kernels.dense_operands(level, w, g, rows, False, x)
    with pytest.raises(ValueError, match="the shapes do not fit: rows"):
        _kernels.dense_weights(level, g, x, rows, w, None, 8)


@pytest.mark.parametrize("count", [-1, 0, 1, 8, 1 << 31, 1 << 57, 1 << 58, 1 << 60, 1 << 61, (1 << 63) - 1])
@pytest.mark.parametrize("lanes", [-1, 0, 1, 8, 1 << 31, 1 << 57, 1 << 58, 1 << 60, 1 << 61, (1 << 63) - 1])
def test_rows_that_no_memory_can_hold(count, lanes):
    if count < 0 or lanes < 0:
        with pytest.raises(ValueError, match="rows and lanes"):
            _kernels.Rows(count, lanes, 0.0)
    elif max(count, 1) * lanes > 1 << 61 or count * lanes > 1 << 50:
        with pytest.raises(MemoryError, match="no memory for"):
            _kernels.Rows(count, lanes, 0.0)
    elif count * (lanes + 8) < 1 << 20:
        rows = _kernels.Rows(count, lanes, 0.0)
        assert (rows.count, rows.lanes, rows.n) == (count, lanes, -(-lanes // 8) * 8)


def test_views_that_no_memory_can_hold():
    large = np.broadcast_to(0.0, (1, 1 << 58))
    with pytest.raises(MemoryError, match="no memory for"):
        _kernels.sum(LEVELS[0], large, 1)
