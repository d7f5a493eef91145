"""checks: the wrong kind is a TypeError, what is out of range a ValueError; NumPy's integers and bools are integers and
bools."""

import random

import numpy as np
import pytest
import torch

from microgradc import checks

INTEGERS = [3, np.int64(3), np.uint8(3), np.array(3), torch.tensor(3)]
NOT_INTEGERS = [
    3.0,
    np.float64(3),
    True,
    np.True_,
    np.array(True),
    "3",
    None,
    [3],
    np.array([3]),
    np.array([3, 3]),
    torch.tensor(3.0),
]


def test_integers():
    for value in INTEGERS:
        for found in (checks.integer(value, "n"), checks.integer(value, "n", 1), checks.as_integer(value)):
            assert (found, type(found)) == (3, int)
        with pytest.raises(ValueError, match="n must be an integer of at least 4, got "):
            checks.integer(value, "n", 4)
        assert checks.seed(value).random() == random.Random(3).random()
    for value in NOT_INTEGERS:
        assert checks.as_integer(value) is None
        with pytest.raises(TypeError, match="n must be a positive integer, got "):
            checks.integer(value, "n", 1)
        if value is not None:
            with pytest.raises(TypeError, match="seed must be an integer"):
                checks.seed(value)


def test_flags():
    for value in (True, np.True_, np.bool_(1)):
        assert checks.flag(value, "shuffle") is True
        assert checks.flag(~np.bool_(value), "shuffle") is False
    for value in (1, 0, None, "yes", np.int64(1), np.array([True])):
        with pytest.raises(TypeError, match="shuffle must be True or False, got "):
            checks.flag(value, "shuffle")


def test_numbers():
    assert checks.number(np.float32(0.5), "p", checks.FROM_0_TO_1) == 0.5
    assert checks.pair([0, np.int64(1)], "betas", checks.FROM_0_TO_1) == (0.0, 1.0)
    for value in ("1", None, 1j, [1]):
        with pytest.raises(TypeError, match="p must be a real number"):
            checks.number(value, "p", checks.FROM_0_TO_1)
    for value in (2, float("nan")):
        with pytest.raises(ValueError, match=r"p must be in \[0, 1\]"):
            checks.number(value, "p", checks.FROM_0_TO_1)


def test_arrays_of_numbers():
    a = np.ones(3, np.float16)
    assert checks.real_array(a, "a") is a
    assert checks.real_array([[1, True]], "a").tolist() == [[1, 1]]
    assert checks.real_array([None], "a", and_objects=True).dtype == object
    with pytest.raises(ValueError, match="a must have rows of one length, got rows that differ"):
        checks.real_array([[1], [1, 2]], "a")
    with pytest.raises(TypeError, match=r"a must be an array of real numbers: .*requires grad"):
        checks.real_array(torch.ones(1, requires_grad=True), "a")
    for wrong in (["a"], [1j], [None], np.array(["2020-01-01"], "M8[D]")):
        with pytest.raises(TypeError, match="a must be real numbers, got dtype "):
            checks.real_array(wrong, "a")
