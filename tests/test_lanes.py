"""The kernels of lanes.h, at each level of SIMD instructions that this processor has: rows against the eager engine, layers against NumPy."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from microgradc import Value, engine, program

INF, NAN = math.inf, math.nan
CORNERS = [0.0, -0.0, 1.0, -1.0, 0.5, -0.5, 2.0, -2.0, 3.0, -3.0, 0.1, 7.25, -7.25, 20.0, -20.0, 1000.0, -1000.0, 1e-300, -1e-300, 5e-324]
CORNERS += [1e300, -1e300, INF, -INF, NAN]
GRIDS = {
    1: [(x,) for x in CORNERS],
    2: list(itertools.product(CORNERS, repeat=2)),
    3: list(itertools.product([0.0, -0.0, 1.0, -1.0, 0.25, 2.5, -3.0, INF, -INF, NAN], repeat=3)),
}
GRADIENTS = [1.0, 3.0, -0.0, INF]
ROWS = {row.name: row for row in engine.TABLE}
LEVELS = program._levels()
each_row_and_level = pytest.mark.parametrize(("name", "level"), itertools.product(ROWS, LEVELS))
each_level = pytest.mark.parametrize("level", LEVELS)


def eager(name, point, gradient):
    """The value of a row and what its operands receive, by the engine."""
    operands = [Value(x) for x in point]
    out = getattr(engine_functions(), name)(*operands)
    out.backward(gradient)
    return out.data, [v.grad for v in operands]


def bits(a):
    """The bits of an array, with one nan for all."""
    a = np.asarray(a)
    return np.where(np.isnan(a), np.nan, a).view(np.int64)
