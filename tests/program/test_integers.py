"""Integers among the arguments: exact in Python, wrapping around in NumPy, doubles in a recording."""

import math

import numpy as np
import pytest

import microgradc
from microgradc import CompileError, compile, take

big = 2**40
CASES = [
    (lambda x: x * 2, 2**70, 2.0**71),
    (lambda x: x**60, 3, 3.0**60),
    (lambda x: -(x**60) % 7, 3, None),
    (lambda x: (x + 1.0) - x, 2**70, 0.0),
    (lambda x: x // 3 + x % 3, 2**70, None),
    (lambda x: 2**x, 1100, math.inf),
    (lambda x: -(x**400), 10, -math.inf),
    (lambda x: x**-1, 2, 0.5),
    (lambda x: x / 4, True, 0.25),
    (lambda x: x * x, np.int64(big), 2.0**80),
    (lambda x: x * x, np.int8(100), 1e4),
    (lambda x: x - 2, np.uint8(1), -1.0),
    (lambda x: -x, np.uint64(2**63 + 2048), -(2.0**63) - 2048),
    (lambda x: x**-2, np.int32(2), 0.25),
    (lambda x: x[0] ** 60, np.array([3, 1]), 3.0**60),
    (lambda x: x[0] * x[1], np.array([big, -big]), -(2.0**80)),
    (lambda x: (x * x).sum(), np.array([[big, 1], [1, big]]), 2.0**81),
    (lambda x: microgradc.dot(x, x), np.array([big, 1]), 2.0**80),
    (lambda x: x[0] * 2.0, np.array([2**63 + 2048, 1], np.uint64), 2.0**64 + 4096),
    (lambda x: abs(x[0]), np.array([-(2**63), 1]), 2.0**63),
    (lambda x: -x[0] - x[1], np.array([-128, 127], np.int8), 1.0),
    (lambda x: x[0] - x[1], np.array([1, 2], np.uint8), -1.0),
    (lambda x: x.mean() ** -1, np.array([4, 4], np.int16), 0.25),
    (lambda x: x[0] ** -1 + x[1], np.array([2, 4]), 4.5),
    (lambda x: take([x[0] * x[0], x[1] * 1.0], 1) + x[0] * x[0], np.array([big, 3]), 2.0**80),
    (lambda x: (x * x).mean(axis=0)[1], np.array([[1, big], [1, big]]), 2.0**80),
]


@pytest.mark.parametrize("case", range(len(CASES)))
def test_a_recording_computes_in_doubles_and_no_integer_is_a_false_alarm(case):
    f, x, expected = CASES[case]
    got = compile(f)(x).data
    if expected is not None:
        assert got == pytest.approx(expected, rel=1e-12)
    rows = [x, x] if not isinstance(x, np.ndarray) else np.array([x, x])
    assert compile(f).map(rows).tolist() == pytest.approx([got, got])


def test_what_asks_for_the_type_of_integers_is_found():
    def of_type(x):
        return x * (2.0 if isinstance(x, (int, np.integer)) else 3.0)

    def of_dtype(x):
        return x[0] * (2.0 if x.dtype.kind == "i" else 3.0)

    for f, arguments in ((of_type, (7, 2**70, np.int32(7))), (of_dtype, (np.array([1, 2]), np.array([5], np.int8)))):
        for x in arguments:
            with pytest.raises(CompileError, match="something else when it is called"):
                compile(f)(x)


def test_an_integer_quotient_beyond_doubles_is_said_to_differ():
    with pytest.raises(CompileError, match=r"is 10\.0, and nan in the recording"):
        compile(lambda x: x**400 / x**399)(10)


def test_an_integer_argument_beyond_doubles_is_refused():
    with pytest.raises(OverflowError, match="too large"):
        compile(lambda x: x * 1.0)(10**400)
