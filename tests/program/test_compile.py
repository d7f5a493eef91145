"""compile: what a function may take and return, what it refuses, and that a replay is what the function itself
gives."""

import threading
from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest

import microgradc
from microgradc import CompileError, Value, compile, losses, nn, take
from microgradc.engine import is_tracing
from microgradc.engine.value import plain_number

rng = np.random.default_rng(0)
w, v = Value(2.0), Value(-0.5)


@pytest.fixture(autouse=True)
def no_traces_left():
    w.data, v.data, w.grad, v.grad = 2.0, -0.5, 0.0, 0.0
    yield
    assert not is_tracing()


def f_scalars(x, y):
    return (w * x + v * y).tanh()


def f_list(x, y):
    return sum(a * b for a, b in zip(x[0], x[1], strict=True)) * w + y


def f_dict(d, t):
    return (d["a"] * w + d["b"][1] - t[0] * t[1][0]).sin() + d["b"][0]


def f_array(X, b):
    return np.sum(np.tanh(X @ X.T) * w) + b.sum()


ARGUMENTS = {
    "floats": (f_scalars, lambda: (rng.normal(), rng.normal())),
    "ints and bools": (f_scalars, lambda: (int(rng.integers(-5, 5)), np.bool_(rng.integers(2)))),
    "NumPy scalars": (f_scalars, lambda: (np.float32(rng.normal()), np.int16(rng.integers(-5, 5)))),
    "a fraction": (f_scalars, lambda: (Fraction(int(rng.integers(9)), 7), np.bool_(True))),
    "nested lists": (f_list, lambda: (rng.normal(size=(2, 3)).tolist(), 1.5)),
    "an array as lists": (f_list, lambda: (rng.normal(size=(2, 3)), 1.5)),
    "a dict": (f_dict, lambda: ({"a": rng.normal(), "b": rng.normal(size=2)}, (rng.normal(), [rng.normal()]))),
    "arrays": (f_array, lambda: (rng.normal(size=(2, 2)), rng.normal(size=(1, 2, 1)))),
    "strides": (f_array, lambda: (rng.normal(size=(4, 6))[::-2, ::3], rng.normal(size=(3, 2)).T)),
    "dtypes": (f_array, lambda: (rng.integers(0, 5, (2, 2)).astype(">i4"), rng.normal(size=3).astype(np.float16))),
}


def same(got, expected):
    assert got.data == pytest.approx(expected.data, rel=1e-12, abs=1e-300)
    grads = []
    for out in (got, expected):
        w.grad = v.grad = 0.0
        out.backward()
        grads.append([w.grad, v.grad])
    assert grads[0] == pytest.approx(grads[1], rel=1e-11, abs=1e-13)


@pytest.mark.parametrize("name", ARGUMENTS)
def test_structures_of_arguments(name):
    """Each is recorded once; one example, sums, means and maps are what the function gives; gradients of arguments are
    those of Values."""
    f, draw = ARGUMENTS[name]
    calls = []
    compiled = compile(lambda *args: calls.append(1) or f(*args))
    for n in (1, 4, 11):
        examples = [draw() for _ in range(n)]
        batch = tuple(stack([e[i] for e in examples]) for i in range(2))
        same(compiled(*examples[0]), f(*to_values(examples[0])))
        same(compiled.sum(*batch), sum(f(*to_values(e)) for e in examples))
        same(compiled.mean(*batch), sum(f(*to_values(e)) for e in examples) / n)
        values = compiled.map(*batch)
        assert values.shape == (n,)
        assert values == pytest.approx([f(*to_values(e)).data for e in examples], rel=1e-12)
        w.data += 0.1    # parameters are read anew
        again, grads = compiled.map_value_and_grad(*batch)
        for i, e in enumerate(examples):
            value, gradient = compiled.value_and_grad(*e)
            leaves = to_values(e)
            out = f(*leaves)
            out.backward()
            assert value == pytest.approx(out.data, rel=1e-12)
            assert again[i] == pytest.approx(out.data, rel=1e-12)
            assert flat(gradient) == pytest.approx(flat(leaves, "grad"), rel=1e-11, abs=1e-14)
            assert flat(take_row(grads, i)) == pytest.approx(flat(leaves, "grad"), rel=1e-11, abs=1e-14)
    # Once: a list of lists in a batch is an array there, and an array in a list of lists too.
    # The third call is with numbers, a fourth with Values where it needs them.
    assert len(calls) in (3, 4)


def stack(entries):
    if isinstance(entries[0], dict):
        return {k: stack([e[k] for e in entries]) for k in entries[0]}
    if isinstance(entries[0], tuple) or (isinstance(entries[0], list) and isinstance(entries[0][0], (dict, tuple))):
        return tuple(stack([e[i] for e in entries]) for i in range(len(entries[0])))
    return (
        np.array(entries)[:]
        if isinstance(entries[0], np.ndarray)
        else [float(e) if isinstance(e, Fraction) else e for e in entries]
    )


def to_values(a):
    if isinstance(a, dict):
        return {k: to_values(x) for k, x in a.items()}
    if isinstance(a, (list, tuple)):
        return type(a)(to_values(x) for x in a)
    return microgradc.array(a) if isinstance(a, np.ndarray) else Value(a)


def flat(a, name=None):
    if isinstance(a, dict):
        a = list(a.values())
    if isinstance(a, (list, tuple, np.ndarray)):
        return [x for entry in a for x in flat(entry, name)]
    return [getattr(a, name) if name else plain_number(a)]


def take_row(a, i):
    if isinstance(a, dict):
        return {k: take_row(x, i) for k, x in a.items()}
    return tuple(take_row(x, i) for x in a) if isinstance(a, tuple) else a[i]


def test_gradients_have_the_shape_of_the_arguments():
    f = compile(lambda d, x: d[0]["a"] * d[0]["b"][1] + d[1] * x)
    value, (of_d, of_x) = f.value_and_grad([{"a": 2.0, "b": [3.0, 4.0]}, 5.0], 7.0)
    assert (value, of_d[0]["a"], list(of_d[0]["b"]), of_d[1], of_x) == (43.0, 4.0, [0.0, 2.0], 7.0, 5.0)
    f = compile(lambda rows: rows[0][0] * rows[0][1] + rows[1][0])
    _, (first, second) = f.value_and_grad([[2.0, 3.0], [4.0]])
    assert (first.tolist(), second.tolist()) == ([3.0, 2.0], [1.0])
    _, matrix = compile(lambda rows: rows[0][0] * rows[1][1]).value_and_grad([[2.0, 3.0], [4.0, 5.0]])
    assert matrix.tolist() == [[5.0, 0.0], [0.0, 2.0]]


def test_scipy_minimises():
    optimize = pytest.importorskip("scipy.optimize", reason="SciPy is not installed")

    @compile
    def rosenbrock(x):
        return sum(100 * (b - a**2) ** 2 + (1 - a) ** 2 for a, b in pairwise(x))

    found = optimize.minimize(rosenbrock.value_and_grad, np.zeros(6), jac=True, method="BFGS")
    assert found.success
    assert found.x == pytest.approx(np.ones(6), abs=1e-5)
    assert found.nfev < 100
    theirs = optimize.rosen_der(np.linspace(-1, 2, 6))
    assert rosenbrock.value_and_grad(np.linspace(-1, 2, 6))[1] == pytest.approx(theirs, rel=1e-12)


def test_outputs():
    X = rng.normal(size=5)
    shapes = {
        "one": lambda x: x * w,
        "list": lambda x: [x * w, x + 1, 3],
        "tuple": lambda x: (x, [x * w, x * v]),
        "dict": lambda x: {"a": x, "b": (x * w, w)},
        "array": lambda x: np.array([[x, x * w], [v + 0, x]]),
    }
    for name, f in shapes.items():
        g = compile(f)
        one, expected = g(X[0]), f(Value(X[0]))
        assert flat(one) == pytest.approx(flat(expected))
        assert type(one) is (list if name == "array" else type(expected))
        sums = flat(g.sum(X), "data") if name != "list" else [a.data for a in g.sum(X)]
        assert sums == pytest.approx(np.sum([flat(f(Value(x))) for x in X], axis=0))
    assert compile(shapes["list"]).map(X).shape == (5, 3)
    assert compile(shapes["array"]).map(X).shape == (5, 2, 2)
    first, second = compile(shapes["tuple"]).map(X)
    assert (first.shape, second.shape) == ((5,), (5, 2))
    assert set(compile(shapes["dict"]).map(X)) == {"a", "b"}
    assert compile(shapes["array"]).map(X)[:, 0, 1] == pytest.approx(X * 2)
    for nothing in (None, [], "a", {}, [None], object()):
        with pytest.raises(TypeError, match="must return a Value"):
            compile(lambda x, nothing=nothing: nothing)(1.0)
    with pytest.raises(ValueError, match="must return one Value"):
        compile(shapes["list"]).value_and_grad(1.0)


def test_values_among_the_arguments():
    f = compile(lambda x, y: w * x[0] * x[1] + y)
    a, b = Value(3.0), Value(4.0)
    f([a, b * 2], 1.0).backward()
    assert (a.grad, b.grad, w.grad) == (16.0, 12.0, 24.0)
    a.grad = b.grad = w.grad = 0.0
    f([w, w], w).backward()    # a parameter that is an argument too
    assert w.grad == 3 * 2.0**2 + 1
    w.grad = 0.0
    X = np.array([[a, 1.0], [b, a]], dtype=object)
    (f.mean(X, [0, 0]) * 2).backward()
    assert (a.grad, b.grad, w.grad) == (2.0 + 8.0, 6.0, 3.0 + 12.0)
    f.mean([[a, 1.0], [b, a]], np.zeros(2))
    assert f.map(X, np.zeros(2)).tolist() == [6.0, 24.0]
    with microgradc.no_grad():
        assert not f.mean(X, [0, 0])._prev
        assert not f([a, b], 1.0)._prev
    assert f.value_and_grad([a, b], 1.0)[1][0].tolist() == [8.0, 6.0]


def test_compiled_functions_call_each_other_and_themselves():
    square = compile(lambda x: x * x * w)
    outer = compile(lambda x: square(x) + square(x + 1))
    same(outer.mean(np.arange(3.0)), sum(w * x * x + w * (x + 1) ** 2 for x in range(3)) / 3)

    @compile
    def power(x, n=5):
        return x if n == 1 else x * power(x, n - 1)

    assert power(2.0).data == 32.0
    assert compile(square, lanes=16)(3.0).data == 18.0
    assert compile(square, lanes=16).program(3.0).stats()["lanes"] == 16
    assert compile(lanes=16)(lambda x: x + w).sum(np.ones(3)).data == 9.0
    for inside in (
        lambda x: square.mean(np.ones(3)),
        lambda x: square.map(np.array([x])),
        lambda x: square.value_and_grad(x)[0] * w,
    ):
        with pytest.raises(CompileError, match="outer one"):
            compile(inside)(1.0)


def test_wrong_arguments():
    f = compile(lambda x, y: x * y * w)
    for wrong, error, message in [
        ((np.zeros(0), np.zeros(0)), ValueError, "at least one example"),
        (([], []), ValueError, "at least one example"),
        ((), ValueError, "at least one argument"),
        ((1.0, 2.0), ValueError, "argument 0 must have an axis for the examples"),
        ((np.ones(3), 2.0), ValueError, "argument 1 must have an axis for the examples"),
        ((np.ones(3), np.ones(4)), ValueError, "got 3 and, in argument 1, 4"),
        (([[1, 2], [3]], [1, 2]), ValueError, "rows of one length"),
        ((["a", "b"], [1, 2]), TypeError, "must be real numbers, got dtype <U1"),
        (([1j], [1]), TypeError, "real numbers"),
        (([None], [1]), TypeError, "real numbers and Values, got NoneType"),
        (([{"a": 1}], [1]), TypeError, "real numbers and Values, got dict"),
        ((np.array(["1.5"], object), [1]), TypeError, "real numbers and Values, got str"),
        ((np.array(["2020-01-01"], "M8[D]"), [1]), TypeError, "real numbers"),
        (([1.0],), TypeError, "missing 1 required positional argument"),
    ]:
        for method in (f.mean, f.sum, f.map, f.map_value_and_grad):
            with pytest.raises(error, match=message):
                method(*wrong)
    cycle = []
    cycle.append(cycle)
    for wrong, error in [("a", TypeError), (None, TypeError), (1j, TypeError), ({1, 2}, TypeError),
                         (np.array(["1"]), TypeError), (["1.5"], TypeError), (np.array([1j]), TypeError),
                         (cycle, RecursionError), (10**400, OverflowError)]:  # fmt: skip
        with pytest.raises(error):
            f(wrong, 1.0)
    with pytest.raises(TypeError, match="must be a function"):
        compile(3)
    with pytest.raises(ValueError, match="multiple of 8"):
        compile(lambda x: x, lanes=9)(1.0)

    class Model:
        loss = compile(lambda self, x: x)

    with pytest.raises(TypeError, match="in __init__"):
        Model().loss(1.0)
    assert f(2.0, 3.0).data == 12.0


def test_integer_arguments():
    table = [[Value(float(10 * i + j)) for j in range(2)] for i in range(4)]
    f = compile(lambda i, x: sum(a * x for a in take(table, i)) + take([w, v, x], i))
    labels, X = np.array([0, 2, 1, 2, 0], np.int8), rng.normal(size=5)

    def eager(i, x):
        return sum(a * x for a in table[i]) + [w, v, x][i]

    same(f.sum(labels, X), sum(eager(i, Value(x)) for i, x in zip(labels, X, strict=True)))
    same(f(2, 1.5), eager(2, Value(1.5)))
    assert f.map(labels.tolist(), X) == pytest.approx([eager(i, Value(x)).data for i, x in zip(labels, X, strict=True)])
    for row in table:
        for p in row:
            p.grad = 0.0
    f.sum(labels, X).backward()
    assert [row[0].grad for row in table] == pytest.approx([X[[0, 4]].sum(), X[2], X[[1, 3]].sum(), 0.0])
    for wrong, place in [([0, 3], 1), ([-1, 0], 0), ([0, 0, 2**40], 2), ([10**15, 0], 0)]:
        with pytest.raises(
            IndexError, match=f"index of example {place} must be an integer, at least 0 and less than 3"
        ):
            f.mean(np.array(wrong), np.ones(len(wrong)))
        with pytest.raises(IndexError, match=f"index of example {place} "):
            compile(lambda i, x: take([w, v, x], i)).mean(wrong, np.ones(len(wrong)))
    with pytest.raises(IndexError, match="example 0"):
        f(3, 1.0)
    with pytest.raises(TypeError, match="index must be an integer"):
        f.mean(np.zeros(2), np.ones(2))
    kept = []
    compile(lambda i: kept.append(i) or take([w, v], i))(1)
    with pytest.raises(CompileError, match="of another function"):
        compile(lambda x: take([w, x], kept[0]))(1.0)
    # in eager code
    assert take([w, 3.0], np.int64(0)) is w
    assert take([[w, v], [1.0, 2.0]], 0) == [w, v]
    for index, error in [
        (2, IndexError),
        (-1, IndexError),
        (True, TypeError),
        (1.0, TypeError),
        (w, TypeError),
        ("0", TypeError),
    ]:
        with pytest.raises(error, match="index must be"):
            take([w, v], index)
    with pytest.raises(ValueError, match="at least one"):
        take([], 0)
    with pytest.raises(ValueError, match="one length"):
        take([[w], [w, v]], 0)


LOSSES = {
    "mse": (losses.mse_loss, lambda: rng.normal(size=3)),
    "l1": (losses.l1_loss, lambda: rng.normal(size=3)),
    "huber": (losses.huber_loss, lambda: rng.normal(size=3) * 3),
    "hinge": (losses.hinge_loss, lambda: rng.choice([-1.0, 1.0], 3)),
    "hinge of ints": (losses.hinge_loss, lambda: rng.choice([-1, 1], 3)),
    "bce": (
        lambda x, y, **how: losses.binary_cross_entropy([a.sigmoid() for a in x], y, **how),
        lambda: rng.uniform(size=3),
    ),
    "bce with logits": (losses.binary_cross_entropy_with_logits, lambda: rng.uniform(size=3)),
    "cross-entropy": (losses.cross_entropy, lambda: int(rng.integers(3))),
    "nll": (lambda x, y, **how: losses.nll_loss(microgradc.log_softmax(x), y, **how), lambda: int(rng.integers(3))),
}


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("name", LOSSES)
def test_losses(name, reduction):
    loss, draw = LOSSES[name]

    def f(x, y):
        return microgradc.sum(np.ravel(loss([a * w + v for a in x], y, reduction=reduction)).tolist())

    X, Y = rng.normal(size=(20, 3)), [draw() for _ in range(20)]
    same(compile(f).sum(X, np.array(Y)), sum(f(list(map(Value, x)), y) for x, y in zip(X, Y, strict=True)))


@pytest.mark.parametrize("activation", sorted({"relu", "tanh", "sigmoid", "linear", *nn.ACTIVATIONS}))
def test_networks(activation):
    model = nn.MLP(3, [5, 4, 2], seed=1, activation=activation)

    def f(x, y):
        return (model(x)[0] - y) ** 2 + model(x)[1]

    X, Y = rng.normal(size=(9, 3)), rng.normal(size=9)
    grads = []
    for total in (compile(f).mean(X, Y), sum(f(x.tolist(), y) for x, y in zip(X, Y, strict=True)) / 9):
        model.zero_grad()
        total.backward()
        grads.append([total.data, *(p.grad for p in model.parameters())])
    assert grads[0] == pytest.approx(grads[1], rel=1e-11, abs=1e-13)


def test_training_follows_eager_training():
    X, y = microgradc.make_moons(60, random_state=3)
    y = 2 * np.asarray(y) - 1
    models = [nn.MLP(2, [8, 8, 1], seed=5) for _ in range(2)]

    def loss_of(model):
        return lambda x, y: (1 - y * model(x)).relu() + 1e-4 * sum(p * p for p in model.parameters())

    compiled, one = compile(loss_of(models[0])), loss_of(models[1])
    for step in range(100):
        totals = (
            compiled.mean(X, y),
            sum(one(x, t) for x, t in zip(np.asarray(X).tolist(), y.tolist(), strict=True)) / 60,
        )
        assert totals[0].data == pytest.approx(totals[1].data, rel=1e-9)
        for model, total in zip(models, totals, strict=True):
            model.zero_grad()
            total.backward()
            for p in model.parameters():
                p.data -= (0.5 - 0.004 * step) * p.grad
    parameters = [[p.data for p in model.parameters()] for model in models]
    assert parameters[0] == pytest.approx(parameters[1], rel=1e-9, abs=1e-9)


def test_text():
    assert repr(compile(f_scalars)) == "<compiled f_scalars>"
    assert compile(f_scalars).__name__ == "f_scalars"
    assert "tanh" in str(compile(f_scalars).program(1.0, 2.0))


def test_a_failed_recording_leaves_nothing_behind():
    fail = [True]

    @compile
    def f(x):
        if fail:
            raise KeyError("mine")
        return x * w

    for call in (lambda: f(1.0), lambda: f.mean(np.ones(2)), lambda: f.map(np.ones(2))):
        with pytest.raises(KeyError, match="mine"):
            call()
        assert not is_tracing()
    fail.clear()
    assert f(2.0).data == 4.0
    assert f.mean(np.ones(2)).data == 2.0


def test_other_threads_do_not_record():
    inside, done, seen, tracing = threading.Event(), threading.Event(), [], []

    def elsewhere():
        inside.wait(10)
        seen.append((is_tracing(), f"{w:.1f}", w > 1, w.data))
        done.set()

    thread = threading.Thread(target=elsewhere)
    thread.start()

    @compile
    def f(x):
        inside.set()
        assert done.wait(10)
        tracing.append(is_tracing())
        return x * w

    with microgradc.no_grad():
        assert f.mean(np.ones(3)).data == 2.0    # recorded all the same
    thread.join()
    assert seen == [(False, "2.0", True, 2.0)]
    assert tracing == [True, True, False]
    f.mean(np.ones(3)).backward()
    assert w.grad == 1.0
