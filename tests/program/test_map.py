"""What `map` returns, and which arrays are taken."""

import gc
import sys
import weakref
from collections import namedtuple

import numpy as np
import pytest

import microgradc
from microgradc import Value, compile, trees

Point = namedtuple("Point", "x y")
w = Value(2.0)
X = np.array([1.0, -2.0, 4.0])

RESULTS = {
    "tuple": lambda x: (w * x, x),
    "namedtuple": lambda x: Point(x, w),
    "dict": lambda x: {"a": [x, w], "b": (x, {"c": x})},
    "list": lambda x: [x, w, x * w],
    "list of lists": lambda x: [[x, w], [x * x, x], [w, w]],
    "list of tuples": lambda x: [(x, w * x, w), (x, x * x, x)],
    "list of namedtuples": lambda x: [Point(x, w), Point(w, x), Point(x, x)],
    "three deep": lambda x: [[[x, w]], [[w, x * x]]],
    "tuple of lists": lambda x: ([x, w], [[x], [w]]),
    "list of dicts": lambda x: [{"a": x}, {"a": [x, w]}],
    "ragged": lambda x: [[x], [x, w]],
    "mixed": lambda x: (x, [x, [x, w]]),
    "empty": lambda x: (x, []),
}


def row(result, i):
    """What is at [i] of each leaf, without arrays."""
    if isinstance(result, np.ndarray):
        return result[i].tolist()
    if isinstance(result, dict):
        return {key: row(entry, i) for key, entry in result.items()}
    return (
        type(result)(*[row(x, i) for x in result])
        if isinstance(result, Point)
        else type(result)([row(x, i) for x in result])
    )


def numbers(result):
    """What f(x) returned, as numbers; tuples in lists as lists, for they are axes."""
    if isinstance(result, Value):
        return result.data
    if isinstance(result, dict):
        return {key: numbers(entry) for key, entry in result.items()}
    if isinstance(result, Point):
        return Point(*map(numbers, result))
    return type(result)(map(numbers, result))


def as_lists(x):
    return [as_lists(y) for y in x] if isinstance(x, (list, tuple)) else x


@pytest.mark.parametrize("name", RESULTS)
def test_each_leaf_is_that_of_the_example(name):
    f = compile(RESULTS[name])
    result = f.map(X)
    for i, x in enumerate(X):
        expected = numbers(f(x))
        if isinstance(expected, list):
            assert as_lists(row(result, i)) == as_lists(expected)
        else:
            assert row(result, i) == expected


def test_lists_of_equal_shapes_are_axes():
    for name, shape in {
        "list": (3, 3),
        "list of lists": (3, 3, 2),
        "list of tuples": (3, 2, 3),
        "three deep": (3, 2, 1, 2),
    }.items():
        result = compile(RESULTS[name]).map(X)
        assert isinstance(result, np.ndarray)
        assert result.shape == shape
    exponent, name = compile(lambda x: (x, w)).map(X)
    assert exponent.tolist() == X.tolist()
    assert name.tolist() == [2.0] * 3


def test_results_are_not_kept_in_a_cycle():
    f, g = compile(lambda x: w * x), compile(lambda x: [w * x, (x, x)])
    f.map(X), g.map(X), f.map(X.tolist()), f.map_value_and_grad(X)
    gc.collect()
    gc.disable()
    try:
        results = [f.map(X), g.map(X)[0], f.map(X.tolist()), *f.map_value_and_grad(X)]
        references = list(map(weakref.ref, results))
        del results
        assert [reference() for reference in references] == [None] * len(references)
        assert gc.collect() == 0
    finally:
        gc.enable()


def unaligned(a):
    a = np.ascontiguousarray(a)
    return np.frombuffer(bytes(1) + a.tobytes(), dtype=a.dtype, offset=1).reshape(a.shape)


def record(a):
    packed = np.zeros(len(a), np.dtype([("flag", "i1"), ("x", float, a.shape[1:])]))
    packed["x"] = a
    return packed["x"]


ARRAYS = {
    "unaligned": unaligned,
    "a field of packed records": record,
    "byte-swapped": lambda a: a.astype(">f8"),
    "float32, unaligned": lambda a: unaligned(a.astype(np.float32)),
    "strides": lambda a: np.repeat(a, 2, 0)[::2],
    "read-only": lambda a: np.broadcast_to(a, a.shape),
    "unmasked": np.ma.array,
}


@pytest.mark.parametrize("name", ARRAYS)
def test_any_array_of_numbers_is_taken(name):
    rows = np.array([[1.0, 2.0], [3.0, 5.0], [0.5, -1.0]])
    given = ARRAYS[name](rows)
    f = compile(lambda x: w * x[0] * x[1])
    assert f.map(given).tolist() == [4.0, 30.0, -1.0]
    assert f.mean(given).data == 11.0
    assert f.map_value_and_grad(given)[1].tolist() == (2 * rows[:, ::-1]).tolist()
    one = ARRAYS[name](rows[0])
    assert f(one).data == 4.0
    assert f.value_and_grad(one)[1].tolist() == [4.0, 2.0]


@pytest.mark.filterwarnings("ignore:the matrix subclass")
def test_what_is_like_an_array_is_taken_by_position():
    pandas, torch = pytest.importorskip("pandas"), pytest.importorskip("torch")
    frame = pandas.DataFrame({"b": [1.0, 3.0], "a": [2.0, 5.0]}, index=[1, 0])
    for rows, first in (
        (frame, frame.iloc[0]),
        (np.matrix([[1.0, 2.0], [3.0, 5.0]]), np.matrix([1.0, 2.0])),
        (torch.tensor([[1.0, 2.0], [3.0, 5.0]]), torch.tensor([1.0, 2.0])),
    ):
        f = compile(lambda x: w * microgradc.sum(np.ravel(x).tolist()))
        assert f.map(rows).tolist() == [6.0, 16.0]
        f.clear()
        assert f(first).data == 6.0
        assert f.value_and_grad(first)[0] == 6.0


def test_masked_entries_are_refused():
    f, rows = compile(lambda x: w * x[0]), np.ma.array([[1.0, 2.0]], mask=[[False, True]])
    for call, given in (
        (f, rows[0]),
        (f.map, rows),
        (f.sum, rows),
        (f.value_and_grad, rows[0]),
        (f.map_value_and_grad, rows),
    ):
        with pytest.raises(TypeError, match="masked"):
            call(given)
    for given in ([rows[0], rows[0]], [[1.0, np.ma.masked]], [[[1.0]], [[rows[0]]]], [(1.0, rows[0])]):
        for call in (f.map, f.mean, f.map_value_and_grad):
            with pytest.raises(ValueError, match="masked entries"):
                call(given)
    assert f.map([np.ma.array([3.0, 2.0]), [1.0, 2.0]]).tolist() == [6.0, 2.0]


@pytest.mark.parametrize("f", [
    lambda x: x[0] * 2,
    lambda x: [x[0], x[1], x[0]],
    lambda x: (x[0], [x[1], x[0]]),
    lambda x: {"a": [[x[0], x[1]], [x[1], x[0]]], "b": (x[0],)},
    lambda x: [[x[0]], [x[1], x[0]]],
])
def test_results_are_in_no_cycle(f):
    """They go when nobody has them, without the collector."""
    f = compile(f)
    X = np.arange(20.0).reshape(10, 2)
    f.map(X)
    gc.collect()
    gc.disable()
    try:
        arrays, _ = trees.flatten(f.map(X), (np.ndarray,))
        bases = [array if array.base is None else array.base for array in arrays]
        gone = [weakref.ref(array) for array in arrays + bases]
        del arrays, bases
        assert [ref() for ref in gone] == [None] * len(gone)
        assert gc.collect() == 0
    finally:
        gc.enable()


def test_parameters_go_with_the_last_loss_that_is_made_over_them():
    def loss_and_parameter():
        v = Value(2.0)
        return compile(lambda x: v * x).mean(X), v

    loss, v = loss_and_parameter()
    loss.backward()
    assert v.grad == pytest.approx(X.mean())
    del loss
    gc.collect()        # the function, which refers to itself
    assert sys.getrefcount(v) == 2      # the name, and the argument


def test_arrays_of_a_result_share_no_memory():
    result = compile(lambda x: {"a": [x[0], x[1]], "b": (x[0], [x[1], x[0]])}).map(np.ones((4, 2)))
    result["a"][:] = 5.0
    assert (result["b"][0] == 1).all()
    assert (result["b"][1] == 1).all()
