"""What turns a Value into a plain number: on purpose it may, in silence it may not."""

import array as arrays
import copy
import decimal
import fractions
import math
import pickle
import statistics
import struct

import numpy as np
import pytest

import microgradc
from microgradc import Value, no_grad
from microgradc.engine.value import plain_number

LOSING = {
    "float": float,
    "complex": complex,
    "math.exp": math.exp,
    "math.hypot": lambda v: math.hypot(v, 1.0),
    "math.fsum": lambda v: math.fsum([v]),
    "percent": lambda v: "%.2f" % v,  # noqa: UP031
    "an entry": lambda v: np.zeros(2).__setitem__(0, v),
    "astype": lambda v: np.array([v]).astype(float),
    "dtype": lambda v: np.array([v], dtype=float),
    "interp": lambda v: np.interp(v, [0.0, 9.0], [0.0, 1.0]),
    "i0": lambda v: np.i0([v]),
    "mean": lambda v: statistics.mean([v, 1.0]),
    "fmean": lambda v: statistics.fmean([v, 1.0]),
    "Decimal": decimal.Decimal,
    "Fraction": fractions.Fraction,
    "pack": lambda v: struct.pack("d", v),
    "array": lambda v: arrays.array("d", [v]),
    "Value": Value,
    "data": lambda v: setattr(Value(1.0), "data", v),
    "grad": lambda v: setattr(Value(1.0), "grad", v),
    "rate": lambda v: microgradc.optim.SGD([Value(1.0)], lr=v),
    "local gradients": lambda v: Value(1.0, (v,), (v,)),
    "a function's result": lambda v: Value(1.0).func(lambda x: v * x),
}


@pytest.mark.parametrize("convert", LOSING.values(), ids=LOSING)
@pytest.mark.parametrize("make", [lambda: Value(2.5), lambda: Value(1.25) * 2], ids=["leaf", "node"])
def test_a_graph_is_not_lost(convert, make):
    with pytest.raises((TypeError, struct.error)):
        convert(make())


def test_the_error_names_the_ways_out():
    with pytest.raises(TypeError, match=r"microgradc\.exp\(v\).*v\.data.*v\.item\(\).*no_grad"):
        math.exp(Value(1.0))
    with pytest.raises(TypeError, match=r"^data must be a real number, got microgradc.engine.Value .*\.data is its"):
        Value(Value(1.0))


def test_within_no_grad_it_is_a_number():
    v = Value(2.5)
    with no_grad():
        assert float(v) == complex(v) == np.array([v]).astype(float)[0] == Value(v).data == 2.5
        assert math.exp(v) == math.exp(2.5)


@pytest.mark.parametrize("x", [-2.5, -0.0, 0.5, 1.5, 7.999, 1e18])
def test_what_reads_the_number_on_purpose(x):
    v = Value(x)
    for f in (math.floor, math.ceil, math.trunc, int, round):
        assert f(v) == f(x)
        assert type(f(v)) is int
    assert (f"{v:.2f}", round(v, 1), v.item(), plain_number(v)) == (f"{x:.2f}", round(x, 1), x, x)
    assert max(v, Value(-9.0)) is v
    assert sorted([v, Value(-9.0)])[1] is v
    assert (v > -9, v < -9) == (True, False)


def test_floor_of_what_is_not_finite():
    with pytest.raises(OverflowError):
        math.floor(Value(math.inf))
    with pytest.raises(ValueError, match="NaN"):
        math.trunc(Value(math.nan))


@pytest.mark.parametrize("graph", [True, False])
def test_truth(graph):
    def make(f, *args):
        if graph:
            return f(*args)
        with no_grad():
            return f(*args)

    v = Value(3.0)
    for f, args, expected in [
        (microgradc.less, (v, 2.0), False), (microgradc.less, (2.0, v), True), (microgradc.less_equal, (v, 3.0), True),
        (microgradc.less_equal, (v, 2.0), False), (microgradc.step, (v,), True), (microgradc.step, (-v,), False),
        (microgradc.less, (v, math.nan), False), (Value.step, (Value(0.0),), False),
    ]:
        found = make(f, *args)
        for truth in (found, copy.copy(found), copy.deepcopy(found), pickle.loads(pickle.dumps(found))):
            assert bool(truth) is expected
    assert make(lambda: v * 0)
    assert Value(0.0)
    row = microgradc.array([3.0, 1.0])
    assert np.where(make(microgradc.less, row, 2.0), "small", "large").tolist() == ["large", "small"]
    assert np.count_nonzero(make(microgradc.step, row - 2)) == 1
