"""compile: arguments and results in namedtuples and dataclasses; an example is read in the order of trees, by
hypothesis."""

import pickle
from collections import OrderedDict, namedtuple
from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from microgradc import CompileError, Value, checks, compile, no_grad, take, trees
from microgradc.engine.value import plain_number
from microgradc.program.program import Example

Point = namedtuple("Point", "x y")
Other = namedtuple("Other", "x y")
w = Value(2.0)


@dataclass
class Line:
    slope: object
    intercept: object
    unused: object = field(init=False, default=0.0)


@dataclass(frozen=True)
class Fit:
    mean: object
    rest: object


def integers_in(dtype):
    return st.builds(
        lambda shape, seed: np.random.default_rng(seed).integers(0, 9, shape).astype(dtype),
        st.lists(st.integers(1, 2), min_size=1, max_size=2).map(tuple), st.integers(0, 3),
    )  # fmt: skip


finite = st.floats(-100, 100)
values = finite.map(Value)
integers = st.integers(-9, 9)
numbers = (
    finite
    | integers
    | st.booleans()
    | values
    | finite.map(np.float32)
    | integers.map(np.int64)
    | st.just(np.True_)
    | st.fractions()
)
arrays = st.sampled_from(["f8", ">f4", "i8", "u1", "?"]).flatmap(integers_in)
objects = st.lists(numbers, min_size=1, max_size=3).map(lambda entries: np.array([*entries, None], object)[:-1])
nests = st.recursive(
    numbers | arrays | objects,
    lambda inner: st.lists(inner, max_size=3)
    | st.lists(inner, max_size=3).map(tuple)
    | st.builds(Point, inner, inner)
    | st.builds(Other, inner, inner)
    | st.builds(Line, inner, inner)
    | st.dictionaries(st.sampled_from("abc"), inner, max_size=2),
    max_leaves=8,
)


def plain(leaf):
    """What counts of an array in an argument: its shape, and whether it is one of integers."""
    if isinstance(leaf, np.ndarray):
        with no_grad():     # which lets Values be read as numbers
            return leaf.astype(np.int64 if leaf.dtype.kind in "iu" else float)
    return leaf


def read(args):
    """Return the numbers in arguments, and all else that a key is to tell apart, as trees has it."""
    leaves, shape = trees.flatten(trees.map_leaves(plain, args, (np.ndarray,)))
    return [plain_number(leaf) for leaf in leaves], (shape, [checks.as_integer(leaf) is not None for leaf in leaves])


@given(st.lists(nests, max_size=3).map(tuple))
@settings(max_examples=300, deadline=None)
def test_an_example_has_the_leaves_of_trees(args):
    row = Example(args).row()
    expected, _ = read(args)
    assert row.shape == (1, len(expected))
    assert row[0].tolist() == expected


@given(st.lists(nests, min_size=2, max_size=2).map(tuple), st.data())
@settings(max_examples=300, deadline=None)
def test_keys_are_equal_where_the_shapes_of_trees_are(pair, data):
    leaves, shape = trees.flatten(pair[0])
    similar = trees.unflatten(shape, [data.draw(st.sampled_from([leaf, 7, 0.5])) for leaf in leaves])
    for other in (pair[1], similar, pickle.loads(pickle.dumps(pair[0]))):
        keys = [Example((x,)).key for x in (pair[0], other)]
        assert (keys[0] == keys[1]) == (read((pair[0],))[1] == read((other,))[1])


def test_namedtuples_and_dataclasses_arrive_and_come_back():
    seen = []

    @compile
    def f(line, point):
        seen.append((type(line), type(point)))
        return Fit(mean=line.slope * point.x + line.intercept * w, rest=Point(point.y, (point.x, {"a": line.slope})))

    out = f(Line(2.0, 3.0), Point(5.0, 7.0))
    assert seen == [(Line, Point)] * 3
    assert isinstance(out, Fit)
    assert isinstance(out.rest, Point)
    assert trees.map_leaves(lambda v: v.data, out) == Fit(16.0, Point(7.0, (5.0, {"a": 2.0})))
    X = np.arange(6.0).reshape(2, 3)
    batch = Line(X[0], X[1]), Point(X[0], X[1])
    batch[0].unused = np.zeros(3)
    rows = f.map(*batch)
    assert isinstance(rows, Fit)
    assert rows.mean.tolist() == (X[0] * X[0] + 2 * X[1]).tolist()
    assert rows.rest.x.tolist() == X[1].tolist()
    assert f.mean(*batch).rest.y[1]["a"].data == X[0].mean()
    assert len(seen) == 3
    f(Line(2.0, 3.0), Other(5.0, 7.0))
    assert seen[3:] == [(Line, Other)] * 3, "another class, another recording"


def test_gradients_come_in_the_containers_of_the_arguments():
    f = compile(lambda point, line: point.x * point.y + line.slope[0] * line.slope[1] + line.intercept)
    value, (point, line) = f.value_and_grad(Point(2.0, 3.0), Line([4.0, 5.0], 6.0))
    assert (value, point) == (32.0, Point(3.0, 2.0))
    assert isinstance(line, Line)
    assert (line.slope.tolist(), line.intercept, line.unused) == ([5.0, 4.0], 1.0, 0.0)
    batch = Line(np.ones((3, 2)), np.ones(3))
    batch.unused = np.zeros(3)
    values, (point, line) = f.map_value_and_grad(Point(np.arange(3.0), np.ones(3)), batch)
    assert values.tolist() == [2.0, 3.0, 4.0]
    assert point.y.tolist() == [0.0, 1.0, 2.0]
    assert line.slope.shape == (3, 2)
    _, grads = compile(lambda x: x[0].x * x[1].x).value_and_grad([Point(2.0, 0.0), Point(3.0, 0.0)])
    assert grads == [Point(3.0, 0.0), Point(2.0, 0.0)]


def test_what_containers_of_other_kinds_do():
    assert compile(lambda d: OrderedDict(b=d["a"]))(OrderedDict(a=1.0))["b"].data == 1.0
    f = compile(lambda point: take([w, w * 2], point.x) * point.y)
    assert f(Point(1, 3.0)).data == 12.0
    with pytest.raises(TypeError, match=r"an argument must be made of numbers, .* got complex 1j"):
        f(Line(1j, 1.0))
    endless = []
    endless.append(endless)
    with pytest.raises(RecursionError, match="in the arguments of a compiled function"):
        f(endless)
    with pytest.raises(ValueError, match="a nest must end, got a list that contains itself"):
        compile(lambda x: [x, endless])(1.0)
    inner = compile(lambda x: x * w)
    with pytest.raises(
        CompileError, match=r"f\.program cannot be replayed for other numbers: call the function itself, and program"
    ):
        compile(lambda x: inner.program(x))(1.0)
