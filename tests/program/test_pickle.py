"""Programs and compiled functions that leave their process: pickles, workers, copies."""

import copy
import enum
import multiprocessing
import os
import pickle
import subprocess
import sys
import time
from collections import namedtuple
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pickled
import pytest

import microgradc
from microgradc import Program, Value, compile, nn, take
from microgradc.engine import CompileError
from microgradc.program import carried

X = np.random.default_rng(0).normal(size=(20, 2))


def there_and_back(x):
    return pickle.loads(pickle.dumps(x))


def made_here(scale=2.0):
    w = Value(scale)
    return compile(lambda x: (w * x[0] - x[1]).tanh() * w), w


def bits(array):
    return np.asarray(array).tobytes()


def test_program_keeps_its_bits_its_lanes_and_its_counts():
    x, w, b = [Value(0.1), Value(0.2)], Value(0.3), Value(-0.4)
    program = Program([(w * x[0] + b).tanh(), x[1].exp() * w], x, lanes=16)
    again = there_and_back(program)
    assert bits(again(X)) == bits(program(X))
    assert (again.input_count, again.output_count) == (2, 2)
    assert str(again) == str(program)
    assert again.stages == program.stages
    assert [p.data for p in again.parameters] == [p.data for p in program.parameters]
    assert not set(again.parameters) & set(program.parameters)
    again.parameters[0].data = 7.0
    assert w.data == 0.3
    assert bits(again(X)) != bits(program(X))


def test_a_program_that_comes_back_has_gradients_and_can_be_compared():
    x, w = Value(0.5), Value(2.0)
    out = (w * x).exp()
    program, w2, x2, out2 = there_and_back((Program(out, [x]), w, x, out))
    assert program.parameters == (w2,)
    assert program.has_same_graph([out2], [x2])
    program.add_gradients((np.array([[0.5]]),), [1.0])
    assert w2.grad == pytest.approx(0.5 * np.exp(1.0), rel=1e-15)


def test_numbers_that_a_function_makes_itself_stay_constants():
    w = Value(3.0)
    f = compile(lambda x: x * Value(2.0) + w)
    f(1.0)
    again = there_and_back(f.program(1.0))
    assert len(again.parameters) == 1
    assert again(np.array([[5.0]])).tolist() == [[13.0]]


@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
def test_parameters_are_those_of_a_model_in_the_same_pickle(protocol):
    model = nn.MLP(2, [4, 1], seed=0)
    program = compile(lambda x: model(x)).program(X[0])
    model2, program2 = pickle.loads(pickle.dumps((model, program), protocol))
    assert set(program2.parameters) == set(model2.parameters())
    program3, model3 = pickle.loads(pickle.dumps([program, model], protocol))
    assert set(program3.parameters) == set(model3.parameters())
    model2.parameters()[0].data += 1.0
    assert bits(program2(X)) != bits(program(X))


def test_copies_of_a_program():
    x, w = Value(0.5), Value(2.0)
    program = Program(w * x, [x])
    assert copy.copy(program).parameters == (w,)
    w2, program2 = copy.deepcopy((w, program))
    assert program2.parameters == (w2,)
    assert w2 is not w


@pytest.mark.parametrize("seed", range(5))
def test_pickled_graphs_are_equal(seed):
    rng = np.random.default_rng(seed)
    g = microgradc.program.graph.Graph()
    places = [g.input(), g.input(), g.parameter(), g.constant(-0.0), g.constant(float("nan")), g.constant(np.inf)]
    for _ in range(200):
        op = rng.choice(["add", "mul", "tanh", "sum", "where", "dense", "products", "take"])
        count = {"add": 2, "mul": 2, "tanh": 1, "sum": 5, "where": 3, "dense": 5, "products": 4, "take": 3}[op]
        places.append(g.add(str(op), *rng.choice(places, count).tolist()))
    g.outputs = [places[-1], places[0], places[-1]]
    again = there_and_back(g)
    assert again == g
    assert hash(again) == hash(g)
    assert str(again) == str(g)


def chain(n):
    w = Value(0.1)

    def f(x):
        for _ in range(n):
            x = (x * 1.0001 + w).sin()
        return x

    f = compile(f)
    f(0.3)
    return f


def test_size_and_time_are_linear():
    sizes, times = [], []
    for n in (3_333, 33_333):
        f = chain(n)
        begin = time.process_time()
        content = pickle.dumps(f.program(0.3))
        again = pickle.loads(content)
        times.append(time.process_time() - begin)
        sizes.append(len(content))
        assert bits(again(np.array([[0.3]]))) == bits([f(0.3).data])
    assert sizes[1] < 11 * sizes[0]
    assert sizes[1] < 2_000_000     # for 99,999 operations
    assert times[1] < 100 * max(times[0], 1e-3)     # not its square


def test_what_has_a_name_is_the_same_object():
    assert there_and_back(pickled.by_name) is pickled.by_name
    pickled.by_name(1.0)
    assert there_and_back(pickled.by_name) is pickled.by_name


def lambdas():
    return made_here()[0], (X[0],)


def nested():
    def f(x, y):
        return (x * y).exp() / y
    return compile(f), (0.5, 0.25)


def methods():
    return pickled.Model().loss, (X[0], 1.0)


def methods_of_what_is_not_a_module():
    return pickled.NotAModule().loss, (0.25,)


def methods_of_a_local_class():
    class Local(pickled.Model):
        pass
    return Local().loss, (X[0], 1.0)


def functions_with_another_name():
    return pickled.other_name, (0.7,)


def modules():
    return compile(nn.Sequential(nn.MLP(2, [3, 1], seed=1))), (X[0],)


WAYS = [lambdas, nested, methods, methods_of_what_is_not_a_module, methods_of_a_local_class,
        functions_with_another_name, modules]


@pytest.mark.parametrize("way", WAYS)
def test_without_a_name_the_recordings_do(way):
    f, args = way()
    f(*args)
    again = there_and_back(f)
    assert again is not f
    assert pickled.in_hex(again, *args) == pickled.in_hex(f, *args)
    batch = tuple(np.stack([np.asarray(a, float)] * 3) for a in args)
    assert bits(again.map(*batch)) == bits(f.map(*batch))
    assert again.mean(*batch).data == f.mean(*batch).data
    assert again.sum(*batch).data == f.sum(*batch).data
    assert bits(again.map_value_and_grad(*batch)[0]) == bits(f.map_value_and_grad(*batch)[0])
    assert again.to_c(*args) == f.to_c(*args)
    assert repr(again) == repr(f)
    assert pickled.in_hex(there_and_back(again), *args) == pickled.in_hex(f, *args)


@pytest.mark.parametrize("way", WAYS)
def test_other_processes_compute_the_same_bits(way, tmp_path):
    f, args = way()
    f(*args)
    (tmp_path / "f.pickle").write_bytes(pickle.dumps((f, args)))
    # Without the test's modules.
    code = ("import pickle, sys; f, args = pickle.load(open(sys.argv[1], 'rb')); v, g = f.value_and_grad(*args); "
            "g = g if isinstance(g, tuple) else (g,); import numpy as np; "
            "print([float(x).hex() for x in np.concatenate([np.ravel(x) for x in (v, *g)])])")
    run = subprocess.run([sys.executable, "-I", "-c", f"import sys; sys.path.insert(0, {source()!r}); {code}",
                          tmp_path / "f.pickle"], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert run.stdout.strip() == str(pickled.in_hex(f, *args))


def source():
    return str(Path(microgradc.__file__).parents[1])


def test_another_shape_is_an_error_that_says_which_there_are():
    f, _ = made_here()
    f([1.0, 2.0]), f(X[0])
    again = there_and_back(f)
    message = (r"lambda> is here as its recordings alone.*: \(\[number, number\]\); \(array\(2\)\); "
               r"got \(\[number, number, number\]\)")
    for call in (again, again.value_and_grad, again.program, again.to_c):
        with pytest.raises(ValueError, match=message):
            call([1.0, 2.0, 3.0])
    with pytest.raises(ValueError, match=r"got \(array\(3\)\)"):
        again.map(np.ones((4, 3)))
    with pytest.raises(ValueError, match=r"got \(\)"):
        again()
    assert again([1.0, 2.0]).data == f([1.0, 2.0]).data
    again.clear()
    assert again(X[0]).data == f(X[0]).data


def test_integers_do_where_there_are_numbers_and_not_the_other_way():
    f = compile(lambda x, i: take([x, 2 * x], i))
    f(1.0, 0)
    again = there_and_back(f)
    assert again(3, 1).data == 6.0
    assert again.map(np.array([3, 4]), np.array([0, 1])).tolist() == [3.0, 8.0]
    with pytest.raises(ValueError, match=r"\(number, integer\); got \(number, number\)"):
        again(3.0, 1.0)
    with pytest.raises(IndexError, match="less than 2, got 2"):
        again(3.0, 2)


class Colour(enum.Enum):
    RED = 1
    BLUE = 2


Point = namedtuple("Point", "x y")


@dataclass
class Pair:
    one: float
    two: float


def test_classes_and_enums_in_arguments_and_results():
    f = compile(lambda p, d: Pair(p.x * d[Colour.RED].one, [Point(p.y, d[("a", 1)])]))
    args = Point(2.0, 3.0), {Colour.RED: Pair(4.0, 5.0), ("a", 1): 6.0}
    f(*args)
    again = there_and_back(f)
    value = again(*args)
    assert type(value) is Pair
    assert type(value.two[0]) is Point
    assert (value.one.data, value.two[0].x.data, value.two[0].y.data) == (8.0, 3.0, 6.0)
    Alike = namedtuple("Point", "x y")
    assert again(Alike(2.0, 3.0), args[1]).one.data == 8.0
    with pytest.raises(ValueError, match=r"Point\(x=number, y=number\).*got \(Other\(x=number, y=number\)"):
        again(namedtuple("Other", "x y")(2.0, 3.0), args[1])


def test_several_shapes_travel():
    w = Value(2.0)
    f = compile(lambda x: sum(w * v for v in x))
    for n in range(1, 6):
        f([1.0] * n)
    again = there_and_back(f)
    assert [again([3.0] * n).data for n in range(1, 6)] == [6.0 * n for n in range(1, 6)]
    programs = [again.program([3.0] * n) for n in range(1, 6)]
    assert len({p.parameters for p in programs}) == 1      # the same Value in all


def test_a_recording_that_does_not_hold_stays_behind():
    model = nn.MLP(2, [3, 1], seed=0)
    f = compile(lambda x: model(x))
    f(X[0]), f(X[0].tolist())
    nn.MLP(1, [1])      # something changed, but nothing that f reaches
    assert there_and_back(f)(X[0]).data == f(X[0]).data
    model.layers[0] = nn.Layer(2, 3)
    f(X[0])
    assert there_and_back(f)(X[0]).data == f(X[0]).data
    with pytest.raises(ValueError, match="recordings alone"):
        there_and_back(f)(X[0].tolist())


def test_what_was_not_recorded():
    f, _ = made_here()
    with pytest.raises((pickle.PicklingError, AttributeError), match=r"lambda|local object"):
        pickle.dumps(f)
    pickled.by_name.clear()
    content = pickle.dumps(pickled.by_name, 2)
    assert pickle.loads(content) is pickled.by_name
    with pytest.raises(AttributeError, match=r"no compiled function by_name in the module nowhere.*call it once"):
        pickle.loads(content.replace(b"pickled", b"nowhere"))


def test_the_name_of_another_function_is_not_used():
    shadow = compile(lambda x: x + 1)
    shadow.__module__, shadow.__qualname__ = "pickled", "by_name"
    shadow(1.0)
    again = there_and_back(shadow)
    assert again is not pickled.by_name
    assert again(1.0).data == 2.0


def test_a_method_of_a_module_that_travels_with_it_is_whole():
    model = pickled.Model()
    model.loss(X[0], 1.0)
    again = there_and_back(model)
    assert again.loss(X[0], 1.0).data == model.loss(X[0], 1.0).data
    assert set(again.loss.program(X[0], 1.0).parameters) == set(again.parameters())
    assert again.loss(X[0].tolist(), 1.0).data == model.loss(X[0], 1.0).data     # another shape
    again.layers = nn.MLP(2, [1], seed=4)
    assert again.loss(X[0], 1.0).data == again.loss.__wrapped__(X[0], 1.0).data  # and what it reaches is looked at


def test_a_method_of_another_object_is_not_taken_for_one_of_this():
    one, two = pickled.Model(), pickled.Model()
    two.loss = one.loss
    one.loss(X[0], 1.0)
    one.layers.parameters()[0].data += 1.0
    wanted = one.loss(X[0], 1.0).data
    assert there_and_back(two).loss(X[0], 1.0).data == wanted


def test_modules_with_slots_come_back():
    class Slotted(nn.Module):
        __slots__ = ("extra",)

    globals()["Slotted"] = Slotted
    Slotted.__qualname__ = "Slotted"
    model = Slotted()
    model.extra, model.w = 3, Value(2.0)
    for again in (there_and_back(model), copy.copy(model), copy.deepcopy(model)):
        assert (again.extra, again.w.data) == (3, 2.0)
    del globals()["Slotted"]


def test_copies_share_no_parameters_unless_they_are_shallow():
    model = pickled.Model()
    model.loss(X[0], 1.0)
    deep = copy.deepcopy(model)
    deep.layers.parameters()[0].data += 1.0
    assert deep.loss(X[0], 1.0).data != model.loss(X[0], 1.0).data
    absent = there_and_back(model.loss)
    deep, shallow = copy.deepcopy(absent), copy.copy(absent)
    (p, *_), (q, *_) = absent.program(X[0], 1.0).parameters, deep.program(X[0], 1.0).parameters
    assert shallow.program(X[0], 1.0).parameters[0] is p
    q.data += 1.0
    assert deep(X[0], 1.0).data != absent(X[0], 1.0).data == shallow(X[0], 1.0).data


def test_inside_another_compiled_function():
    f, _ = made_here()
    f(X[0]), f([1.0, 2.0])
    again = there_and_back(f)
    outer = compile(lambda x, s: s * again(x) + again([s, x[0]]))
    expected = compile(lambda x, s: s * f(x) + f([s, x[0]]))
    assert pickled.in_hex(outer, X[0], 0.5) == pickled.in_hex(expected, X[0], 0.5)
    index = compile(lambda i, x: take([x[0], x[1], x[0] * 2], i[1]))
    index(np.array([0, 1]), X[0])
    index = there_and_back(index)
    assert compile(lambda i, x: index(i, x) + 1)(np.array([0, 2]), X[0]).data == 2 * X[0][0] + 1
    with pytest.raises(CompileError, match="value_and_grad"):
        compile(lambda x: x * again.value_and_grad([1.0, 2.0])[0])(1.0)
    with pytest.raises(ValueError, match="recordings alone"):
        compile(lambda x: again(x))(1.0)


def test_gradients_reach_parameters_and_arguments():
    f, w = made_here()
    x = Value(0.3)
    f([x, 0.1])
    again = there_and_back(f)
    x.grad = w.grad = 0.0
    f([x, 0.1]).backward()
    wanted = x.grad, w.grad
    x.grad = 0.0
    again([x, 0.1]).backward()
    assert (x.grad, again.program([0.3, 0.1]).parameters[0].grad) == wanted


@pytest.mark.parametrize("method", [m for m in ("fork", "spawn") if m in multiprocessing.get_all_start_methods()])
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
def test_multiprocessing(method):
    ways = [way() for way in WAYS if way is not methods_of_a_local_class]
    for f, args in ways:
        f(*args)
    pickled.by_name(0.25)
    with multiprocessing.get_context(method).Pool(1) as pool:
        found = pool.starmap(pickled.in_hex, [(f, *args) for f, args in [*ways, (pickled.by_name, (0.25,))]])
        assert pool.apply(pickled.is_by_name, (pickled.by_name,))
    assert found == [pickled.in_hex(f, *args) for f, args in [*ways, (pickled.by_name, (0.25,))]]


MAIN = """
import multiprocessing, sys
import numpy as np
import microgradc
from microgradc import Value

w = Value(0.5)

@microgradc.compile
def f(x):
    return (w * x).exp()

if __name__ == "__main__":
    if sys.argv[1:] == ["write"]:
        import pickle
        f(1.0)
        w.data = 0.75                       # the numbers of now travel
        sys.stdout.buffer.write(pickle.dumps(f))
    elif sys.argv[1:] == ["joblib"]:        # whose workers have another __main__
        import joblib
        with joblib.parallel_config(backend="loky", n_jobs=2, inner_max_num_threads=1):
            found = joblib.Parallel()(joblib.delayed(f.value_and_grad)(x) for x in (0.25, 0.5))
        print(found == [f.value_and_grad(0.25), f.value_and_grad(0.5)])
    else:
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            print(pool.map(f.value_and_grad, [0.25, 0.5]) == [f.value_and_grad(0.25), f.value_and_grad(0.5)])
"""


def run_main(tmp_path, *args):
    (tmp_path / "script.py").write_text(MAIN)
    run = subprocess.run([sys.executable, tmp_path / "script.py", *args], capture_output=True,
                         env={**os.environ, "PYTHONPATH": source()})
    assert run.returncode == 0, run.stderr.decode()
    return run.stdout


def test_functions_of_main_in_a_script_and_from_a_notebook(tmp_path):
    assert run_main(tmp_path).decode().strip() == "True"
    f = pickle.loads(run_main(tmp_path, "write"))     # here, __main__ has no f, as in a worker of a notebook
    assert f(1.0).data == np.exp(0.75)
    assert repr(f) == "<compiled f>"


def test_joblib(tmp_path):
    joblib = pytest.importorskip("joblib", reason="joblib is not installed")
    assert run_main(tmp_path, "joblib").decode().strip() == "True"
    f, _ = made_here()
    f(X[0])
    with joblib.parallel_config(backend="loky", n_jobs=2, inner_max_num_threads=1):
        found = joblib.Parallel()(joblib.delayed(f.value_and_grad)(x) for x in X)
    assert [value for value, _ in found] == [f(x).data for x in X]


def test_cloudpickle():
    cloudpickle = pytest.importorskip("cloudpickle", reason="cloudpickle is not installed")
    f, _ = made_here()
    new = pickle.loads(cloudpickle.dumps(f))          # not recorded: the function itself
    assert new(X[0]).data == f(X[0]).data
    assert pickle.loads(cloudpickle.dumps(f))(X[0]).data == f(X[0]).data

    class Local(nn.Module):
        def __init__(self):
            self.w = Value(2.0)
            self.loss = compile(self.loss)

        def loss(self, x):
            return self.w * x

    model = Local()
    model.loss(1.0)
    again = pickle.loads(cloudpickle.dumps(model))
    again.w.data = 5.0
    assert again.loss(2.0).data == 10.0
    assert again.loss([1.0][0]).data == 5.0
    assert model.w.data == 2.0


def test_a_memory_error_is_not_taken_for_a_function_that_cannot_be_called(monkeypatch):
    def carry(recording, keys):
        raise MemoryError

    f, _ = made_here()
    f(X[0])
    monkeypatch.setattr(carried, "_carry", carry)
    with pytest.raises(MemoryError):
        pickle.dumps(f)
