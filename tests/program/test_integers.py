"""Integers among the arguments: exact in Python, wrapping around in NumPy, doubles in a recording."""

import math

import numpy as np
import pytest
from test_function_file import contents, rewrite

import microgradc
from microgradc import CompileError, Value, compile, load_compiled, take

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


@pytest.mark.parametrize(("op", "operands", "message"), [
    ("add", [0, 3], r"must be an input, or computed from some as integers are, got parameter"),
    ("add", [0, 1], r"input 1 is an index, so it must be an integer, got a number"),
    ("clip", [0, 2, 3], r"computed from some as integers are, got clip"),
    ("sum", [0, 2, 2], r"computed from some as integers are, got sum"),
    ("exp", [0], r"computed from some as integers are, got exp"),
    ("sub", [0, 2], None),
])  # fmt: skip
def test_an_index_in_a_file_is_made_from_integers(tmp_path, op, operands, message):
    """Before a run it is checked as what integers make: nothing else may be in its place."""
    path, w = tmp_path / "f.safetensors", Value(123456.0)
    compile(lambda i, x: take([x, x * w, x + 1.0], i + 1)).save(path, 1, 2.0)
    content, arrays = contents(path)
    content["operations"] = ["input", "constant", "add", "parameter", "mul", "take", "clip", "sum", "exp", "sub"]
    number = content["operations"].index
    ops = ["input", "input", "constant", "parameter", op, "mul", "add", "take"]
    arrays["ops"] = np.array(list(map(number, ops)), np.int32)
    arrays["counts"] = np.array([0, 0, 0, 0, len(operands), 2, 2, 4], np.int32)
    arrays["operands"] = np.array([*operands, 1, 3, 1, 2, 4, 1, 5, 6], np.int32)
    rewrite(path, content, arrays)
    if message is None:
        assert load_compiled(path)(2, 2.0).data == 2 * 123456.0
        return
    with pytest.raises(ValueError, match=message):
        load_compiled(path)
