"""Calls whose arguments look like those of the call before, and parameters that are read again when one changed."""

import copy
import gc
import pickle
import threading

import numpy as np
import pytest

import microgradc
from microgradc import Value, _kernels, compile, nn, no_grad, optim, take

rng = np.random.default_rng(0)


def square(x, w):
    return sum((a * w + 1) ** 2 for a in x)


ARGUMENTS = {
    "list": [0.5, -1.0, 2.0],
    "array": np.array([0.5, -1.0, 2.0]),
    "float32": np.array([0.5, -1.0, 2.0], np.float32),
    "integers": np.array([1, -1, 2]),
    "list of integers": [1, -1, 2],
    "mixed list": [1, -1.0, 2.5],
    "booleans": [True, False, True],
    "strided": np.array([0.5, 7.0, -1.0, 7.0, 2.0, 7.0])[::2],
    "swapped": np.array([0.5, -1.0, 2.0]).astype(">f8"),
    "read-only": np.frombuffer(np.array([0.5, -1.0, 2.0]).tobytes()),
    "tuple": (0.5, -1.0, 2.0),
    "objects": np.array([0.5, -1.0, 2.0], object),
    "Values": [Value(0.5), Value(-1.0), Value(2.0)],
    "NumPy's floats": [np.float64(0.5), np.float64(-1.0), np.float64(2.0)],
    "longer": [0.5, -1.0, 2.0, 4.0],
    "shorter": np.array([0.5]),
    "subclass": np.array([0.5, -1.0, 2.0]).view(type("Mine", (np.ndarray,), {})),
}


def numbers(x):
    return [v.data if isinstance(v, Value) else float(v) for v in x]


@pytest.mark.parametrize("first", ARGUMENTS)
def test_arguments_of_every_kind_after_one_another(first):
    f = compile(square)
    for second in ARGUMENTS:
        for name in (first, second, second, first):
            x = ARGUMENTS[name]
            value, (gx, gw) = f.value_and_grad(x, 0.5)
            expected = sum((a * 0.5 + 1) ** 2 for a in numbers(x))
            assert value == pytest.approx(expected, rel=1e-14)
            assert np.asarray(gx, float).tolist() == pytest.approx([a * 0.5 + 1 for a in numbers(x)], rel=1e-14)
            assert gw == pytest.approx(sum(2 * (a * 0.5 + 1) * a for a in numbers(x)), rel=1e-13, abs=1e-15)
            assert f(x, 0.5).data == value


def test_a_batch_between_examples():
    f = compile(square)
    X, w = rng.normal(size=(5, 3)), rng.normal(size=5)
    for _ in range(3):
        rows = [f.value_and_grad(x, a)[0] for x, a in zip(X, w.tolist(), strict=True)]
        assert f.map(X, w).tolist() == rows
        assert f.map(X[:1], w[:1]).tolist() == rows[:1]
        assert f.map(X[::2], w[::2]).tolist() == rows[::2]
        assert f.sum(X, w).data == pytest.approx(sum(rows), rel=1e-14)
        assert f.mean(X[1:], w[1:]).data == pytest.approx(np.mean(rows[1:]), rel=1e-14)
        assert f.map_value_and_grad(X, w)[0].tolist() == rows
        assert f.map(X.astype(np.float32), w).tolist() == pytest.approx(rows, rel=1e-6)


@pytest.mark.parametrize("bad", [np.ones((2, 4)), np.ones(2), np.ones((0, 3)), np.ones((2, 3, 2)), 3.0, "x", None])
def test_a_batch_that_does_not_fit_after_one_that_does(bad):
    f = compile(lambda x: x[0] + x[1] + x[2])
    good = np.arange(6.0).reshape(2, 3)
    expected = f.map(good).tolist()
    try:
        got = f.map(bad)
    except (TypeError, ValueError, IndexError, microgradc.CompileError):
        pass
    else:
        assert got.shape[:1] == (2,)        # four columns are an example of another shape
    assert f.map(good).tolist() == expected


def test_rows_that_differ_in_number():
    f = compile(lambda x, y: x * y)
    assert f.map(np.ones(3), np.ones(3)).tolist() == [1, 1, 1]
    with pytest.raises(ValueError, match="one row for each example"):
        f.map(np.ones(3), np.ones(4))
    with pytest.raises(ValueError, match="one row for each example"):
        f.mean(np.ones(3), np.ones(4))


def test_results_have_memory_of_their_own():
    f = compile(lambda x: [x[0] * 2, x[1]])
    g = compile(lambda x: x[0] * x[1])
    first, second = f.map(np.ones((2, 2))), f.map(np.full((2, 2), 5.0))
    assert [first.tolist(), second.tolist()] == [[[2, 1], [2, 1]], [[10, 5], [10, 5]]]
    one, two = g.value_and_grad(np.array([1.0, 2.0]))[1], g.value_and_grad(np.array([3.0, 4.0]))[1]
    assert [one.tolist(), two.tolist()] == [[2, 1], [4, 3]]
    assert one.flags.writeable


def test_large_results_take_the_memory_of_those_that_are_gone():
    f = compile(lambda x: x * 2)
    X = np.arange(50_000.0)
    kept = [f.map(X + i) for i in range(20)]
    again = [f.map_value_and_grad(X + i) for i in range(20)]
    for i in range(20):
        assert (kept[i] == 2 * (X + i)).all()
        assert (again[i][0] == kept[i]).all()
        assert (again[i][1] == 2).all()
    assert kept[0].flags.writeable
    assert kept[0].flags.c_contiguous
    view = f.map(X)[10:20]      # it holds the memory
    for _ in range(20):
        f.map(X + 1)
    assert view.tolist() == (2 * X[10:20]).tolist()
    assert (pickle.loads(pickle.dumps(kept[3])) == kept[3]).all()


def test_memory_that_is_kept_is_bounded(run_python):
    out = run_python(
        "import numpy as np, resource\n"
        "from microgradc import compile\n"
        "f = compile(lambda x: x * 2)\n"
        "for n in range(1_000_000, 9_000_000, 500_000): f.map(np.ones(n)); f.map(np.ones(n // 7))\n"
        "pages = int(open('/proc/self/statm').read().split()[1]) if __import__('os').path.exists('/proc') else 0\n"
        "print(pages * resource.getpagesize() / 1e6)"
    )
    assert float(out) < 200


def test_arguments_that_change_while_they_are_recorded():
    for count in (2, 10_000):
        xs = [1.0, 2.0]

        def f(v, xs=xs, count=count):
            if len(xs) < count + 2:
                xs.extend([3.0] * count)
            return v[0] * v[1]

        g = compile(f)
        g(xs)
        for _ in range(3):
            assert g(list(xs)).data == 2.0
            value, grad = g.value_and_grad(list(xs))
            assert (value, grad[:2].tolist(), grad[2:].any()) == (2.0, [2.0, 1.0], False)
        ints = [1, 2]

        def h(v, ints=ints):
            ints[:] = [1.0, 2.0]
            return v[0] * v[1]

        k = compile(h)
        assert [k(ints).data, k([3.0, 4.0]).data, k([5, 6]).data] == [2.0, 12.0, 30.0]


def test_gradients_that_are_enabled_while_a_call_is_looked_up():
    """An attribute that a recording watches may run any code."""
    guard = no_grad()

    class Holder:
        __slots__ = ("armed", "w")

        def __init__(self):
            self.w, self.armed = Value(3.0), False

        def __getattribute__(self, name):
            if name == "w" and object.__getattribute__(self, "armed"):
                object.__setattr__(self, "armed", False)
                guard.__exit__(None, None, None)
            return object.__getattribute__(self, name)

    holder = Holder()
    f = compile(lambda x: sum(a * holder.w for a in x))
    x = np.arange(200.0)
    f(x), f(x)
    guard.__enter__()
    holder.armed = True
    assert f(x).data == f(x).data == 3 * x.sum()
    assert f.mean(x[None]).data == 3 * x.sum()


def test_parameters_are_not_read_again_for_nothing():
    """Only what is written to a Value that is known changes the count; results and their graphs do not."""
    w = Value(1.0)
    f, two = compile(lambda x: x * w), compile(lambda x: [x * w, x + w])
    f(1.0), two(1.0)
    before = _kernels.leaf_version()
    for _ in range(3):
        f(2.0)
        two(2.0)[0].backward()
        (f(3.0) * 2 + Value(1.0)).backward()
        f.map(np.ones(3))
    assert _kernels.leaf_version() == before
    w.data = 2.0
    assert _kernels.leaf_version() > before


def test_the_limit_of_recordings_is_kept():
    f = compile(lambda x: sum(x), recordings=2)
    f([1.0]), f([1.0, 1.0])
    with pytest.warns(RuntimeWarning, match="more than 2 shapes"):
        f([1.0] * 3)
    for n in (1, 2, 3, 4, 5, 1, 2, 3, 4, 5):
        x = [1.0] * n
        assert f(x).data == n
        f.program([1.0] * (n + 1))
        f.map_value_and_grad(np.ones((2, n + 2)))
        assert f(x).data == n
    assert len(f._recordings.used) <= 2
    often = [1.0] * 9
    f(often)
    kept = f.program(often)
    for n in (10, 11, 12):      # the one that is used in between stays
        f([1.0] * n)
        f(often)
    assert f.program(often) is kept


def test_a_call_that_calls_itself_while_it_is_looked_up():
    class Holder:
        __slots__ = ("w",)
        busy = False

        def __getattribute__(self, name):
            if name == "w" and not Holder.busy and ready:
                Holder.busy = True
                for n in (1, 2, 3, 4, 5):
                    f([2.0] * n)
                Holder.busy = False
            return object.__getattribute__(self, name)

    ready = False
    holder = Holder()
    holder.w = Value(3.0)
    f = compile(lambda x: sum(a * holder.w for a in x))
    for n in (1, 2, 3, 4):
        f([1.0] * n)
    ready = True
    for n in (4, 1, 3, 2):
        assert f([1.0] * n).data == 3.0 * n
        assert f.value_and_grad([1.0] * n)[0] == 3.0 * n


def test_an_example_keeps_the_sign_of_its_zero():
    f = compile(lambda x: x * -1.0)
    assert np.signbit([f(0.0).data, f.value_and_grad(0.0)[0], f.mean(np.zeros(1)).data, f.map(np.zeros(1))[0]]).all()


def test_arrays_without_numbers_after_those_with():
    f = compile(lambda x: x[0] + x[1])
    assert f(np.ones(2)).data == 2.0
    for bad in (np.array(["2020-01-01", "2020-01-02"], "M8[D]"), np.array(["a", "b"]), np.array([1j, 2j])):
        with pytest.raises(TypeError):
            f(bad)
        with pytest.raises(TypeError):
            f.value_and_grad(bad)


def test_integers_stay_integers():
    table = [Value(1.0), Value(2.0), Value(3.0)]
    f = compile(lambda i, js: take(table, i) + sum(take(table, j) for j in js))
    for i, js in ((0, [1, 2]), (2, [0, 0]), (1, [1, 1])):
        assert f(i, js).data == 1.0 + i + sum(1 + j for j in js)
    for i, js in ((3, [0, 0]), (-1, [0, 0]), (0, [0, 3])):
        with pytest.raises(IndexError, match="at least 0 and less than 3"):
            f(i, js)
        assert f(0, [0, 0]).data == 3.0


def test_several_outputs_with_gradients_after_others():
    w = Value(3.0)
    f = compile(lambda x: {"a": x * w, "b": x + w})
    first = f(2.0)
    second = f(5.0)
    (first["a"] + second["b"]).backward()
    assert (first["a"].data, second["b"].data, w.grad) == (6.0, 8.0, 3.0)
    w.grad, w.data = 0.0, 10.0
    second["a"].backward()      # of the numbers of then
    assert w.grad == 5.0


WRITES = {
    "data": lambda model, w: setattr(w, "data", 7.0),
    "augmented": lambda model, w: setattr(w, "data", w.data + 1),
    "__init__": lambda model, w: w.__init__(7.0),
    "SGD": lambda model, w: step(optim.SGD(model.parameters(), lr=0.1), model),
    "Adam": lambda model, w: step(optim.Adam(model.parameters(), lr=0.1), model),
    "AdamW": lambda model, w: step(optim.AdamW(model.parameters(), lr=0.1), model),
    "RMSprop": lambda model, w: step(optim.RMSprop(model.parameters(), lr=0.1), model),
    "load_state_dict": lambda model, w: model.load_state_dict({k: a + 0.1 for k, a in model.state_dict().items()}),
    "several": lambda model, w: [setattr(p, "data", 0.1) for p in model.parameters()],
}


def step(optimizer, model):
    for p in model.parameters():
        p.grad = 1.0
    optimizer.step()


@pytest.mark.parametrize("write", WRITES)
def test_parameters_are_read_again_after(write):
    model = nn.MLP(2, [3, 1], seed=0)
    w = model.parameters()[0]
    f = compile(lambda x: model(x).tanh())
    x, X = [0.5, -0.25], np.array([[0.5, -0.25], [1.0, 2.0]])
    with no_grad():
        for _ in range(3):
            before = f(x).data
            assert before == f.map(X)[0] == f.value_and_grad(x)[0] == pytest.approx(model(x).tanh().data, rel=1e-13)
        WRITES[write](model, w)
        after = model(x).tanh().data
        assert after != before
        assert f(x).data == f.map(X)[0] == f.mean(X[:1]).data == f.value_and_grad(x)[0]
        assert f(x).data == pytest.approx(after, rel=1e-13)


def test_parameters_that_are_copied_and_unpickled_are_others():
    w = Value(2.0)
    f = compile(lambda x: x * w)
    assert f(1.0).data == 2.0
    for other in (copy.copy(w), copy.deepcopy(w), pickle.loads(pickle.dumps(w))):
        other.data = 9.0
        assert f(1.0).data == 2.0


def test_a_value_that_is_given_its_number_late():
    w = Value.__new__(Value)
    f = compile(lambda x: x + w)
    assert f(1.0).data == 1.0
    w.__init__(5.0)
    assert f(1.0).data == 6.0


def test_a_parameter_that_gets_a_closure_between_calls():
    w, seen = Value(2.0), []
    f = compile(lambda x: x * w)
    f(1.0).backward()
    f(1.0).backward()
    w._backward = lambda: seen.append(w.grad)
    w.grad = 0.0
    f(3.0).backward()
    assert (w.grad, seen) == (3.0, [3.0])


def test_a_parameter_that_gets_an_attribute_between_calls_is_collected():
    class Mine(Value):
        pass

    def make():
        w = Mine(2.0)
        f = compile(lambda x: x * w)
        f(1.0)
        f(1.0)
        w.last = f(1.0)       # a cycle: the result is made from w
        return __import__("weakref").ref(w)

    gone = make()
    gc.collect()
    assert gone() is None


def test_what_the_function_reads_is_looked_at():
    table = {"w": Value(1.0)}
    f = compile(lambda x: x * table["w"])
    assert [f(2.0).data, f(2.0).data] == [2.0, 2.0]
    table["w"] = Value(5.0)
    assert [f(2.0).data, f(2.0).data] == [10.0, 10.0]
    nested = [[Value(1.0)], [Value(2.0)]]
    g = compile(lambda x: x * nested[0][0] + nested[1][0])
    assert [g(2.0).data, g(2.0).data] == [4.0, 4.0]
    nested[1] = [Value(7.0)]
    assert [g(2.0).data, g(2.0).data] == [9.0, 9.0]


def test_clear_and_copies():
    f = compile(lambda x: x * 2)
    f(1.0), f(1.0)
    f.clear()
    assert f(2.0).data == 4.0
    again = copy.copy(f)
    assert [again(3.0).data, f(4.0).data] == [6.0, 8.0]


def test_inside_another_compiled_function():
    inner = compile(lambda x: x * x)
    assert inner(3.0).data == 9.0
    outer = compile(lambda x: inner(x) + 1)
    assert [outer(2.0).data, inner(4.0).data, outer(5.0).data] == [5.0, 16.0, 26.0]
    with pytest.raises(microgradc.CompileError):
        compile(lambda x: x * inner.value_and_grad(2.0)[0])(1.0)


def test_threads():
    w = Value(1.0)
    f = compile(lambda x: sum(a * w for a in x))
    wrong = []

    def work(k):
        x = np.full(50, float(k))
        for _ in range(300):
            value, grad = f.value_and_grad(x)
            if value != 50.0 * k or (grad != 1.0).any() or f(x).data != value:
                wrong.append((k, value))

    threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not wrong


def test_the_recordings_that_are_kept_are_those_used_last():
    f = compile(lambda x: sum(x), recordings=2)
    for _ in range(3):
        f([1.0]), f([1.0, 2.0])
    with pytest.warns(RuntimeWarning, match="more than 2 shapes"):
        f([1.0, 2.0, 3.0])
    assert f([1.0, 2.0]).data == 3.0
