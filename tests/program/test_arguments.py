"""Arguments as people write them: by keyword, with defaults, static ones, and those that have no axis in a batch."""

import enum
import math
import pickle
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pytest

import microgradc
from microgradc import Value, compile, nn


def scaled(x, y=2.0, *, shift=0.5):
    return x * y + shift


CALLS = [
    ((3.0,), {}),
    ((3.0, 4.0), {}),
    ((3.0,), {"y": 4.0}),
    ((), {"x": 3.0}),
    ((), {"y": 4.0, "x": 3.0}),
    ((3.0,), {"shift": 1.0}),
    ((3.0, 4.0), {"shift": 1.0}),
    ((), {"shift": 1.0, "y": 4.0, "x": 3.0}),
]


@pytest.mark.parametrize("first", CALLS)
def test_keywords_and_defaults_in_any_order(first):
    f = compile(scaled)
    for args, kwargs in (first, *CALLS, first):
        for _ in range(2):      # the second time, the call before was like this one
            assert f(*args, **kwargs).data == scaled(*args, **kwargs)
            value, _ = f.value_and_grad(*args, **kwargs)
            assert value == scaled(*args, **kwargs)
        batch = [np.array([a, a + 1]) for a in args], {k: np.array([a, a + 1]) for k, a in kwargs.items()}
        expected = [scaled(*[a + i for a in args], **{k: a + i for k, a in kwargs.items()}) for i in (0, 1)]
        assert f.map(*batch[0], **batch[1]).tolist() == expected
        assert f.mean(*batch[0], **batch[1]).data == sum(expected) / 2
        assert f.sum(*batch[0], **batch[1]).data == sum(expected)
        assert f.map_value_and_grad(*batch[0], **batch[1])[0].tolist() == expected


def test_gradients_of_keywords_come_in_the_order_of_the_parameters():
    f = compile(scaled)
    assert f.value_and_grad(y=4.0, x=3.0) == (12.5, (4.0, 3.0))
    assert f.value_and_grad(x=3.0) == (6.5, 2.0)
    assert f.value_and_grad(shift=1.0, x=3.0) == (7.0, (2.0, 1.0))
    values, (gx, gs) = f.map_value_and_grad(shift=np.ones(2), x=np.array([3.0, 4.0]))
    assert (values.tolist(), gx.tolist(), gs.tolist()) == ([7.0, 9.0], [2.0, 2.0], [1.0, 1.0])
    w = Value(4.0)
    f(3.0, y=w, shift=Value(0.0)).backward()
    assert w.grad == 3.0
    assert f.program(3.0, shift=1.0).input_count == 2


def test_arguments_without_names_of_their_own():
    f = compile(lambda x, *rest, **named: x + sum(rest) + sum(named.values()))
    assert f(1.0, 2.0, 3.0, a=4.0, b=5.0).data == 15.0
    assert f.value_and_grad(1.0, a=4.0) == (5.0, (1.0, 1.0))
    assert f.value_and_grad(1.0, b=4.0) == (5.0, (1.0, 1.0)), "another name, another recording"
    assert compile(lambda x, /, y: x - y)(3.0, y=1.0).data == 2.0
    assert compile(math.copysign).program is not None
    inner = compile(scaled)
    outer = compile(lambda x: inner(x, shift=x * 2))
    assert outer(3.0).data == 12.0
    assert outer.map(np.array([3.0, 1.0])).tolist() == [12.0, 4.0]


@pytest.mark.parametrize(
    ("args", "kwargs", "says"),
    [
        ((1.0,), {"z": 2.0}, "unexpected keyword argument 'z'"),
        ((1.0,), {"x": 2.0}, "multiple values for argument 'x'"),
        ((), {"y": 2.0}, "missing a required argument: 'x'"),
    ],
)
def test_keywords_that_do_not_fit(args, kwargs, says):
    f = compile(scaled)
    for call in (f, f.mean, f.map, f.value_and_grad, f.map_value_and_grad, f.program):
        with pytest.raises(TypeError, match=rf"scaled\(x, y=2\.0, \*, shift=0\.5\) does not take these.*{says}"):
            call(*args, **kwargs)


class Kind(enum.Enum):
    TANH = 1
    EXP = 2


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 2


def of_kind(x, kind=None):
    if kind is None or kind is False:
        return x * 1.0
    if kind in ("tanh", b"tanh", Kind.TANH, Level.LOW) or kind is True:
        return x.tanh() if isinstance(x, Value) else math.tanh(x)
    return x.exp() if isinstance(x, Value) else math.exp(x)


KINDS = [None, "tanh", "exp", b"tanh", b"exp", Kind.TANH, Kind.EXP, Level.LOW, Level.HIGH, True, False]


@pytest.mark.parametrize("first", KINDS, ids=repr)
def test_static_arguments_of_every_kind(first):
    f = compile(of_kind)
    X = np.array([0.25, -0.5, 1.0])
    for kind in (first, *KINDS, first):
        expected = of_kind(Value(0.25), kind)
        expected.backward()
        assert f(0.25, kind).data == pytest.approx(expected.data, rel=1e-15)
        assert f(0.25, kind=kind).data == pytest.approx(expected.data, rel=1e-15)
        value, gradient = f.value_and_grad(0.25, kind)
        assert isinstance(gradient, float), "the gradient of the one argument that is not static"
        assert value == pytest.approx(expected.data, rel=1e-15)
        found = [f.map(X, kind), f.map(X, kind=kind), f.map_value_and_grad(X, kind)[0]]
        for values in found:
            assert values == pytest.approx([of_kind(Value(x), kind).data for x in X], rel=1e-15)
        assert f.mean(X, kind).data == pytest.approx(found[0].mean(), rel=1e-15)
    assert f.map(X).tolist() == X.tolist()


def test_gradients_have_a_place_for_each_argument():
    f = compile(lambda x, kind, y: x * y if kind == "product" else x + y)
    assert f.value_and_grad(2.0, "product", 3.0) == (6.0, (3.0, None, 2.0))
    values, (gx, none, gy) = f.map_value_and_grad(np.ones(2), "sum", np.array([2.0, 3.0]))
    assert (values.tolist(), gx.tolist(), none, gy.tolist()) == ([3.0, 4.0], [1.0, 1.0], None, [1.0, 1.0])
    w = Value(2.0)
    assert compile(lambda kind: w * 2 if kind else w).value_and_grad(True) == (4.0, (None,))


def test_named_static_arguments():
    def powers_and_sums(x, n, powers=(1, 2)):
        return sum(x**p for p in powers) + sum(x for _ in range(n))

    f = compile(powers_and_sums, static=("n", "powers"))
    assert f(2.0, 3).data == 12.0
    assert f(2.0, n=0).data == 6.0
    assert f(2.0, 1, powers=(3,)).data == 10.0
    assert f.map(np.array([1.0, 2.0]), 2).tolist() == [4.0, 10.0]
    assert f.value_and_grad(2.0, 3) == (12.0, 8.0)
    assert f(2.0, np.int64(3)).data == 12.0
    only = compile(lambda *, n, x: x * n, static="n")
    assert only.value_and_grad(n=3, x=2.0) == (6.0, 3.0)
    rest = compile(lambda x, *flags: x * len(flags), static="flags")
    assert rest.value_and_grad(2.0, 7, 8, 9) == (6.0, 3.0)


def test_static_arguments_that_are_equal_but_not_the_same():
    seen = []
    f = compile(lambda x, n: seen.append(n) or x * n, static=("n",))
    for n in (1, True, 1.0, 0.0, -0.0, (1, 2), (1.0, 2), (True, 2)):
        seen.clear()
        with np.errstate(all="ignore"):
            f(2.0, n) if not isinstance(n, tuple) else compile(lambda x, n: seen.append(n) or x, static="n")(2.0, n)
        assert {(type(m), str(m)) for m in seen} == {(type(n), str(n))}
    f = compile(lambda x, n: x * len(n), static=("n",))
    programs = {id(f.program(2.0, n)) for n in ((1, 2), (1.0, 2), (True, 2), (1, 2))}
    assert len(programs) == 3


def test_functions_and_models_as_static_arguments():
    f = compile(lambda x, g: g(x) * 2, static=("g",))
    assert f(0.5, microgradc.tanh).data == pytest.approx(2 * math.tanh(0.5), rel=1e-15)
    assert f(0.5, microgradc.exp).data == 2 * math.exp(0.5)
    model = nn.MLP(2, [3, 1], seed=0)
    g = compile(lambda model, x: model(x), static=("model",))
    X = np.array([[0.5, 1.0], [2.0, 3.0]])
    assert g.map(model, X) == pytest.approx([model(x.tolist()).data for x in X], rel=1e-14)
    g.sum(model, X).backward()
    assert any(p.grad for p in model.parameters())
    model.layers[0].neurons[0].b = Value(100.0)      # another parameter in the same place
    assert g.map(model, X) == pytest.approx([model(x.tolist()).data for x in X], rel=1e-14)


@pytest.mark.parametrize(
    ("options", "error", "says"),
    [
        ({"static": ("m",)}, ValueError, "static names 'm', which is no parameter of the function; its parameters are"),
        ({"static": (1,)}, TypeError, "static must be made of names of parameters"),
        ({"statics": ("n",)}, TypeError, "Did you mean 'static'"),
    ],
)
def test_names_that_are_not_parameters(options, error, says):
    with pytest.raises(error, match=says):
        compile(lambda x, n: x * n, **options)
    with pytest.raises(error, match=says):
        compile(**options)(lambda x, n: x * n)


def test_what_cannot_be_static():
    f = compile(lambda x, n: x * len(n), static=("n",))
    with pytest.raises(TypeError, match=r"static argument 'n' .* must be hashable; .* got list \[1, 2\]"):
        f(1.0, [1, 2])
    with pytest.raises(ValueError, match="got none: each is static or shared"):
        compile(lambda kind: Value(1.0)).map("x")
    with pytest.raises(TypeError, match="must be made of numbers"):
        compile(lambda x: x[0])(np.array([None, 1.0], object))
    with pytest.raises(TypeError, match=r"compile\(f, static=\(name,\)\); got object"):
        compile(lambda x, y: x)(1.0, object())


def test_bools_in_arrays_and_lists_are_numbers():
    f = compile(lambda x, flags: x * sum(flags))
    assert f(2.0, [True, False, True]).data == 4.0
    assert f.value_and_grad(2.0, [True, True])[1][1].tolist() == [2.0, 2.0]
    g = compile(lambda x, label: x * label)
    labels = np.array([True, False])
    assert g.map(np.array([2.0, 3.0]), labels).tolist() == [2.0, 0.0]
    assert g.map(np.array([2.0, 3.0]), labels.tolist()).tolist() == [2.0, 0.0]
    assert g.map(np.array([2.0, 3.0], np.float32), labels).tolist() == [2.0, 0.0]
    assert g(2.0, labels[0]).data == 2.0
    assert g(2.0, True).data == 2.0


class Point(NamedTuple):
    x: float
    y: float
    name: str | None = None


@dataclass(frozen=True)
class Setting:
    rate: float
    kind: str = "tanh"
    note: None = None


def test_static_leaves_of_containers():
    def f(point, setting, options):
        z = point.x * point.y * setting.rate
        if point.name is not None:
            z = z + len(point.name)
        z = microgradc.tanh(z) if setting.kind == "tanh" else z
        return Point(z * options["a"], point.y * 2.0, point.name)

    g = compile(f)
    for name in (None, "abc", None):
        for kind in ("none", "tanh"):
            arguments = Point(Value(0.5), Value(0.25), name), Setting(Value(2.0), kind), {"a": 3.0, "mode": "x"}
            expected = f(*arguments)
            plain = Point(0.5, 0.25, name), Setting(2.0, kind), {"a": 3.0, "mode": "x"}
            found = g(*plain)
            assert isinstance(found, Point)
            assert found.name == name
            assert (found.x.data, found.y.data) == pytest.approx((expected.x.data, expected.y.data), rel=1e-15)
            batch = Point(np.full(4, 0.5), np.full(4, 0.25), name), Setting(np.full(4, 2.0), kind)
            rows = g.map(*batch, {"a": np.full(4, 3.0), "mode": "x"})
            assert isinstance(rows, Point)
            assert rows.name == name
            assert rows.x == pytest.approx([expected.x.data] * 4, rel=1e-15)


def test_gradients_of_containers_with_static_leaves():
    h = compile(lambda point, setting: point.x * point.y * setting.rate)
    value, (point, setting) = h.value_and_grad(Point(2.0, 3.0, "p"), Setting(4.0))
    assert (value, point, setting) == (24.0, Point(12.0, 8.0, None), Setting(6.0, None, None))
    values, (point, setting) = h.map_value_and_grad(Point(np.full(2, 2.0), np.ones(2), "p"), Setting(np.full(2, 4.0)))
    assert values.tolist() == [8.0, 8.0]
    assert (point.x.tolist(), point.name, setting.rate.tolist(), setting.kind) == ([4.0, 4.0], None, [2.0, 2.0], None)


def test_static_arguments_next_to_the_fast_path():
    f = compile(lambda x, flag=None: x[0] * x[1] if flag is None else x[0] + x[1])
    x = np.array([2.0, 5.0])
    for _ in range(3):
        assert f.value_and_grad(x)[0] == 10.0
        assert f.value_and_grad(x, True)[0] == 7.0
        assert f.value_and_grad(x, None)[0] == 10.0
        assert f.value_and_grad(x, flag="a")[0] == 7.0
        assert f.map(x[None]).tolist() == [10.0]
        assert f.map(x[None], "a").tolist() == [7.0]


def test_too_many_flags_are_forgotten():
    f = compile(lambda x, name: x * len(name), recordings=2)
    with pytest.warns(RuntimeWarning, match="recorded for more than 2 shapes"):
        assert [f(2.0, "a" * n).data for n in (1, 2, 3)] == [2.0, 4.0, 6.0]


def test_copies_keep_what_is_static():
    f = pickle.loads(pickle.dumps(compile(scaled, static="y")))
    assert f.value_and_grad(2.0, 3)[1] == 3.0


def test_calls_that_look_alike_are_told_apart():
    """Each kind of call twice, so that the shortest way is taken, and all of them in turn."""
    w = Value(0.5)

    def plain(x, n, kind=None, *, scale=1.0, flag=False):
        y = sum((w * x) ** k for k in range(n)) * scale
        return -y if flag is True else y if kind is None else y * len(kind)

    f = compile(plain, static=("n",))
    X, S = np.array([0.5, 1.0, 2.0]), np.array([1.0, 2.0, 3.0])
    calls = [
        ((X, 3), {}), ((X, 2), {}), ((X, 4), {}), ((X, 3, "ab"), {}), ((X, 3, "abc"), {}), ((X, 3), {"kind": "ab"}),
        ((X, 3), {"scale": S}), ((X,), {"n": 3, "scale": S, "flag": True}), ((X, 3), {"flag": True}),
        ((X, 3), {"flag": False}), ((X, 3), {"flag": np.zeros(3)}), ((), {"scale": S, "n": 2, "x": X}),
    ]
    wanted, slopes = [], []
    for args, kwargs in calls:
        rows = [({k: a[i] if isinstance(a, np.ndarray) else a for k, a in kwargs.items()}, i) for i in range(3)]
        found = [plain(Value(X[i]), *args[1:], **{k: a for k, a in row.items() if k != "x"}) for row, i in rows]
        wanted.append([v.data for v in found])
        slopes.append(0.0)
        for v in found:
            w.grad = 0.0
            v.backward()
            slopes[-1] += w.grad
    for _ in range(3):
        for (args, kwargs), numbers, slope in zip(calls, wanted, slopes, strict=True):
            for _ in range(2):
                assert f.map(*args, **kwargs).tolist() == pytest.approx(numbers)
                w.grad = 0.0
                total = f.sum(*args, **kwargs)
                total.backward()
                assert (total.data, w.grad) == pytest.approx((sum(numbers), slope))
                example = [a[1].item() if isinstance(a, np.ndarray) else a for a in args]
                named = {k: a[1].item() if isinstance(a, np.ndarray) else a for k, a in kwargs.items()}
                assert f(*example, **named).data == pytest.approx(numbers[1])
                assert f.value_and_grad(*example, **named)[0] == pytest.approx(numbers[1])
    value, gradients = f.value_and_grad(2.0, 3, "ab", scale=2.0)
    assert f.value_and_grad(2.0, 3, "ab", scale=2.0) == (value, gradients)
    assert gradients[1:3] == (None, None)
    assert f.value_and_grad(2.0, 3) == f.value_and_grad(2.0, n=3) == (3.0, pytest.approx(1.5))


def test_batches_with_shared_arguments_take_the_shortest_way():
    w = Value(0.5)
    f = compile(lambda a, x, n, b: [a * x**n, b[0] * w], static="n", shared=("a", "b"))
    g = compile(lambda a, x, n, b: a * x**n + b[0] * w * x, static="n", shared=("a", "b"))
    x = np.array([1.0, 2.0, 3.0])
    for a, n, b in [(2.0, 2, [1.0]), (3.0, 2, [1.0]), (2.0, 3, [2.0]), (2.0, 3, [2.0, 4.0]), (2.0, 2, np.ones(1))] * 2:
        for _ in range(2):
            assert f.map(a, x, n, b).tolist() == [[a * v**n, b[0] * 0.5] for v in x]
            total, _ = f.mean(a, x, n, b)
            assert total.data == pytest.approx(a * np.mean(x**n))
            w.grad = 0.0
            f.sum(a, x, b=b, n=n)[1].backward()
            assert w.grad == 3 * b[0]
            w.grad = 0.0
            g.mean(a, x, n, b).backward()
            assert w.grad == pytest.approx(2 * b[0])
            value, (of_a, of_b) = g.sum_value_and_grad(a, x, n, b)
            assert value == pytest.approx(a * np.sum(x**n) + 3 * b[0])
            assert of_a == pytest.approx(np.sum(x**n))
            assert of_b.tolist() == [3.0, *[0.0] * (len(b) - 1)]
            assert g.sum_value_and_grad(a, x, n=n, b=b)[0] == value
    v = Value(2.0)
    g.sum(v, x, 2, [1.0]).backward()        # a Value goes the way of all calls
    assert v.grad == 14.0


def test_names_of_static_arguments_are_names():
    for given in (3, None, [1]):
        with pytest.raises(TypeError, match=r"static must be made of names of parameters, static=\('n',\), got"):
            compile(lambda x: x, static=given)
