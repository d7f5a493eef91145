"""Functions with loops in files and pickles, and as C functions for SciPy: what comes back, and what is refused."""

import copy
import json
import math
import multiprocessing
import pickle
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pickled
import pytest
from safetensors import safe_open
from test_function_file import leaves, mutated, rewrite, saved

import microgradc
from microgradc import Value, compile, load_compiled, nn, scan, take
from microgradc.program import function_file
from microgradc.program.graph import Graph, Loop

GOLDEN = Path(__file__).parents[1] / "data" / "function-format-2.safetensors"


def golden_function():
    """What the golden file was made from, by `golden_function().save(GOLDEN, *golden_arguments())`."""
    model = nn.MLP(2, [3, 1], activation="tanh", seed=0)
    rate = Value(0.05, label="rate")
    table = [Value(1.0), Value(-2.0), Value(0.5)]

    def walk(at, i, forces):
        def inner(c, t):
            return c * 0.5 + t * rate, None

        def step(c, x):
            position, count = c
            force, k = x
            position = position + 0.1 * model([position, force]) + scan(inner, force, [1.0, 2.0, at])[0]
            return (position * take(table, (count + k + i) % 3), count + 1), position * rate

        (end, _), ys = scan(step, (at, 1), (forces, range(len(forces))), keep="sqrt")
        root, _ = scan(lambda r, _: ((r + end * end / r) / 2, None), 1.0 + at * at, length=50,
                       until=lambda r: (r * r - end * end) < 1e-10)
        return {"end": end, "root": root, "ys": ys}

    return compile(walk)


def golden_arguments():
    return 0.5, 2, np.array([0.1, -0.2, 0.3, 0.4, -0.5])


def golden_by_numpy(numbers):
    """What `golden_function` returns for `golden_arguments`, in plain Python."""
    at, i, forces = golden_arguments()

    def neuron(name, x):
        return sum(numbers[f"{name}.w.{k}"] * x[k] for k in range(len(x))) + numbers[f"{name}.b"]

    position, count, ys = at, 1, []
    for k, force in enumerate(forces):
        hidden = [math.tanh(neuron(f"model.layers.0.neurons.{n}", [position, force])) for n in range(3)]
        c = force
        for t in (1.0, 2.0, at):
            c = c * 0.5 + t * numbers["rate"]
        position = position + 0.1 * neuron("model.layers.1.neurons.0", hidden) + c
        ys.append(position * numbers["rate"])
        position *= numbers[f"table[{(count + k + i) % 3}]"]
        count += 1
    root = 1.0 + at * at
    for _ in range(50):
        if root * root - position * position < 1e-10:
            break
        root = (root + position * position / root) / 2
    return [position, root, *ys]


def contents(path):
    """Return the metadata and the arrays of a file."""
    with safe_open(path, "numpy") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        return json.loads(file.metadata()["microgradc"]), tensors


@pytest.fixture
def path(tmp_path):
    return tmp_path / "f.safetensors"


# Files


def test_the_golden_file():
    """Written by the first version with format 2; later versions read it for ever."""
    loaded = load_compiled(GOLDEN)
    names = dict(loaded.named_parameters())
    assert {"rate", "table[0]", "table[1]", "table[2]", "model.layers.0.neurons.2.w.1"} <= names.keys()
    numbers = {name: p.data for name, p in names.items()}
    assert leaves(loaded(*golden_arguments())) == pytest.approx(golden_by_numpy(numbers), rel=1e-12)
    loaded(*golden_arguments())["root"].backward()
    for name in ("rate", "table[2]", "model.layers.1.neurons.0.b"):
        up, down = ({**numbers, name: numbers[name] + step} for step in (1e-5, -1e-5))
        slope = (golden_by_numpy(up)[1] - golden_by_numpy(down)[1]) / 2e-5
        assert names[name].grad == pytest.approx(slope, rel=1e-6, abs=1e-9)


def test_it_comes_back(path):
    f, args = golden_function(), golden_arguments()
    f.save(path, *args)
    loaded = load_compiled(path)
    for g in (loaded, pickle.loads(pickle.dumps(loaded)), copy.deepcopy(loaded)):
        assert leaves(g(*args)) == leaves(f(*args))
        assert g.program(*args).stages == f.program(*args).stages
        assert g.to_c(*args) == f.to_c(*args)
    batch = np.array([0.5, 0.7]), np.array([2, 0]), np.stack([args[2], args[2] * 2])
    assert str(loaded.map(*batch)) == str(f.map(*batch))
    loaded.save(path.with_name("again"), *args)
    assert path.with_name("again").read_bytes() == path.read_bytes()
    content, arrays = contents(path)
    assert content["format"] == 2
    assert [(loop["length"], loop["carries"], loop["xs"], loop["ends"], loop["keeps_all"])
            for loop in content["loops"]] == [(5, 2, 2, False, False), (50, 1, 0, True, True)]
    assert [loop["length"] for loop in content["loops"][0]["loops"]] == [3]
    assert {"take", "tanh", "mod", "scan"} <= {*content["loops"][0]["operations"]}
    assert arrays["loops.0.loops.0.ops"].dtype == np.int32


def test_the_size_is_that_of_one_iteration(path):
    w, sizes = Value(0.9), []
    for length in (10, 100_000):
        f = compile(lambda x, length=length: scan(lambda c, _: ((c * w).sin(), None), x, length=length)[0])
        assert saved(path, f, 0.3)(0.3).data == f(0.3).data
        sizes.append(path.stat().st_size)
    assert sizes[1] - sizes[0] < 16


def test_functions_without_loops_have_format_1(path):
    compile(lambda x: x * 2.0).save(path, 1.0)
    content, arrays = contents(path)
    assert content["format"] == 1
    assert "loops" not in content
    assert arrays.keys() == function_file.ENTRIES.keys()


def test_names_that_only_a_step_has(path):
    loaded = saved(path, compile(lambda x: scan(lambda c, _: (c * pickled.w * SCALE, None), x, length=3)[0]), 0.5)
    assert [name for name, _ in loaded.named_parameters()] == ["parameters.0", "SCALE"]


SCALE = Value(0.5)


def array(name, x):
    def change(content, arrays):
        arrays[name] = np.array(x, arrays[name].dtype)
    return change


def put(name, i, x):
    def change(content, arrays):
        arrays[name][i] = x
    return change


def loop(name, x):
    def change(content, arrays):
        content["loops"][0][name] = x
    return change


def without(name):
    def change(content, arrays):
        del arrays[name]
    return change


def nothing(content, arrays):
    content["loops"] = []
    for name in [name for name in arrays if name.startswith("loops.")]:
        del arrays[name]


def an_index_that_is_divided(content, arrays):
    content["loops"][0]["operations"][2] = "div"
    arrays["loops.0.operands"][2] = 3


def a_sum_with_a_loop(content, arrays):
    content["operations"].append("exp")
    arrays["ops"][7], arrays["parts"] = 5, np.delete(arrays["parts"], 2)


def very_deep(content, arrays):
    inside = content["loops"][0]
    for _ in range(40):
        inside["loops"] = [dict(inside, loops=[])]
        inside = inside["loops"][0]


# Of a file of a loop of 3 times 1 carry and 1 of the xs, a number and an index, which has 1 of the ys. Its body: %0, %1
# inputs, %2 parameter, %3 mul, %4 take %1 of %0 and %3; it returns %4 and %3.
HOSTILE = [
    (loop("length", 0), "length must be at least 1"),
    (loop("length", -1), "a loop must have a length, carries and xs, integers"),
    (loop("length", 2**31), "a loop must have a length, carries and xs, integers"),
    (loop("length", 3.0), "a loop must have a length, carries and xs, integers"),
    (loop("length", True), "a loop must have a length, carries and xs, integers"),
    (loop("length", 2**31 - 1), "some 10.9 xs and ys"),
    (loop("length", 4), "expression 5 must have the 6 operands of its loop, got 5"),
    (loop("length", 2), "expression 5 must have the 4 operands of its loop, got 5"),
    (loop("carries", 2), r"the body must have 2 \+ 1 inputs, got 2"),
    (loop("carries", 2**31 - 1), "the body must have"),
    (loop("xs", 0), r"the body must have 1 \+ 0 inputs, got 2"),
    (loop("ends", 1), "ends and keeps_all, true or false"),
    (loop("ends", True), "expression [0-9]+ must be one of 1 results, got"),
    (loop("keeps_all", None), "ends and keeps_all, true or false"),
    (loop("operations", None), "operations must be a list of texts"),
    (loop("operations", ["input"]), "loops.0.ops must be numbers of the 1 operations"),
    (loop("operations", ["input", "parameter", "dense", "take"]), "dense takes|is dense, which functions are not"),
    (loop("operations", ["input", "parameter", "scan", "take"]), "more loops and results of loops than the 0 numbers"),
    (loop("operations", ["input", "parameter", "result", "take"]), "more loops and results of loops than the 0 num"),
    (loop("operations", ["input", "input", "mul", "take"]), "a name of an operation comes twice"),
    (loop("loops", None), "its loops must be a list of objects"),
    (loop("loops", [3]), "its loops must be a list of objects"),
    (loop("loops", [{}]), "its loops must be a list of objects"),
    (very_deep, "no entry|more than 32 deep"),
    (nothing, "expression 5 must be one of 0 loops, got 0"),
    (without("parts"), "no entry 'parts'"),
    (without("loops.0.constants"), "no entry 'loops.0.constants'"),
    (without("loops.0.parts"), "no entry 'loops.0.parts'"),
    (put("outputs", 0, 5), "output 5 is a loop; it must be one of its results"),
    (a_sum_with_a_loop, "operand 5 of expression 7 is a loop; it must be one of its results"),
    (put("parts", 0, 1), "expression 5 must be one of 1 loops, got 1"),
    (put("parts", 0, -1), "expression 5 must be one of 1 loops, got -1"),
    (put("parts", 1, 4), "expression 6 must be one of 4 results, got 4"),
    (put("parts", 1, -1), "expression 6 must be one of 4 results, got -1"),
    (put("parts", 2, 0), "expression 7 is the same as expression 6"),
    (array("parts", [0]), "more loops and results of loops than the 1 numbers"),
    (array("parts", [0, 0, 1, 2, 3, 0]), "there are 5 loops and results of loops, and 6 numbers"),
    (array("loops.0.parts", [0]), "there are 0 loops and results of loops, and 1 numbers"),
    (array("loops.0.outputs", [4]), "expression [0-9]+ must be one of 1 results, got"),
    (array("loops.0.outputs", []), "the body must have an output for each of 1 carries, got 0"),
    (array("loops.0.outputs", [4, 5]), "an output must be one of 5 expressions, got 5"),
    (an_index_that_is_divided, "the index of expression 4, take, .* got div"),
    (put("loops.0.operands", 1, 4), "operands of expression 3 must be expressions before it"),
    (put("loops.0.ops", 0, 1), "the body must have"),
    (put("loops.0.counts", 3, 1), "mul takes 2 operands"),
]


@pytest.mark.parametrize("i", range(len(HOSTILE)))
def test_hostile_files(path, i):
    change, message = HOSTILE[i]
    w = Value(2.0)

    def f(x, i):
        c, ys = scan(lambda c, t: (take([c, c * w], t), c * w), x, [0, 1, i])
        return [c, *ys]

    compile(f).save(path, 1.5, 1)
    content, arrays = contents(path)
    assert content["operations"] == ["input", "parameter", "constant", "scan", "result"]
    assert content["loops"][0]["operations"] == ["input", "parameter", "mul", "take"]
    assert leaves(load_compiled(path)(1.5, 1)) == leaves(f(Value(1.5), 1))
    change(content, arrays)
    rewrite(path, content, arrays)
    with pytest.raises(ValueError, match=f"(?s)cannot load .*({message})"):
        load_compiled(path)


def test_an_index_that_is_no_integer_is_an_error_when_it_is_called(path):
    w = Value(2.0)
    compile(lambda x: scan(lambda c, t: (take([c, c * w], t), None), x, [0, 1])[0]).save(path, 1.5)
    content, arrays = contents(path)
    arrays["constants"][:] = [0.5, 7.0]
    rewrite(path, content, arrays)
    loaded = load_compiled(path)
    with pytest.raises(IndexError, match="an index in a scan picked nothing"):
        loaded(1.5)


def test_a_huge_length_takes_little_memory(path):
    def halved(keep):
        return compile(lambda x: scan(lambda c, _: (c * 0.5, None), x, None, 10, until=lambda c: c < 0.1, keep=keep)[0])

    for keep in ("sqrt", "all"):
        halved(keep).save(path, 1.0)
        content, arrays = contents(path)
        content["loops"][0]["length"] = 2**29
        rewrite(path, content, arrays)
        if keep == "sqrt":
            assert load_compiled(path).value_and_grad(1.0) == (0.0625, 0.0625)
            continue
        with pytest.raises(ValueError, match="may keep 67,108,864 ys and carries, got 536,870,912; with keep='sqrt'"):
            load_compiled(path)


def test_200_mutations_are_errors_or_give_the_right_numbers(path):
    content, rng, args = GOLDEN.read_bytes(), random.Random(0), golden_arguments()
    wanted = leaves(load_compiled(GOLDEN)(*args))
    for _ in range(200):
        path.write_bytes(mutated(content, rng))
        try:
            loaded = load_compiled(path)
        except ValueError as error:
            assert str(error).startswith("cannot load")  # noqa: PT017
            continue
        assert leaves(loaded(*args)) == wanted


def test_200_mutations_that_say_they_are_right_crash_nothing(path):
    """With a digest that fits, so that the checks of the graph are all there is."""
    rng, args, loaded_ones = random.Random(1), golden_arguments(), 0
    good_content, good_arrays = contents(GOLDEN)
    batch = np.array([0.5, 0.7]), np.array([2, 0]), np.stack([args[2], args[2] * 2])
    names = [name for name in good_arrays if name != "parameters" and good_arrays[name].size]
    for _ in range(200):
        content, arrays = copy.deepcopy(good_content), {name: a.copy() for name, a in good_arrays.items()}
        for _ in range(rng.choice([1, 1, 2])):
            name = rng.choice(names)
            i = rng.randrange(arrays[name].size)
            arrays[name][i] = rng.choice([rng.randrange(-2, 40), arrays[name][i] + 1, 2**31 - 1])
        if rng.random() < 0.2:
            rng.choice(content["loops"])[rng.choice(["length", "carries", "xs"])] = rng.randrange(60)
        rewrite(path, content, arrays)
        try:
            loaded = load_compiled(path)
        except ValueError as error:
            assert str(error).startswith("cannot load")  # noqa: PT017
            continue
        loaded_ones += 1
        try:
            microgradc.sum(microgradc.trees.flatten(loaded(*args))[0]).backward()
            loaded.map(*batch)
        except IndexError as error:
            assert "an index" in str(error)  # noqa: PT017
    assert 10 < loaded_ones < 190


# Pickles


def in_loops():
    """A loop in a loop, one that ends, and an index: what a pickle has to carry."""
    return golden_function(), golden_arguments()


def sums_of_ys(x):
    """A function at module level, so that it has a name."""
    w = pickled.w
    c, ys = scan(lambda c, t: (c * w + t.sin(), c * c), x[0], x[1:], keep="sqrt")
    return c + microgradc.sum(ys)


def summed():
    return compile(lambda x: sums_of_ys(x)), (np.array([0.5, 0.1, -0.4, 0.3, 0.8]),)


def test_pickles_have_the_same_bits():
    f, (x,) = summed()
    f(x)
    again = pickle.loads(pickle.dumps(f))
    assert again is not f
    assert pickled.in_hex(again, x) == pickled.in_hex(f, x)
    batch = np.stack([x, x + 1.0, x * 2.0])
    assert again.map(batch).tobytes() == f.map(batch).tobytes()
    assert again.mean(batch).data == f.mean(batch).data
    assert str(again.map_value_and_grad(batch)) == str(f.map_value_and_grad(batch))
    f, args = in_loops()
    f(*args)
    again = pickle.loads(pickle.dumps(f))
    assert leaves(again(*args)) == leaves(f(*args))
    assert again.program(*args).stages == f.program(*args).stages


@pytest.mark.parametrize("method", [m for m in ("fork", "spawn") if m in multiprocessing.get_all_start_methods()])
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
def test_multiprocessing(method):
    f, args = summed()
    f(*args)
    with multiprocessing.get_context(method).Pool(1) as pool:
        assert pool.starmap(pickled.in_hex, [(f, *args)]) == [pickled.in_hex(f, *args)]


def test_another_process_without_the_module(tmp_path):
    f, args = summed()
    f(*args)
    (tmp_path / "f.pickle").write_bytes(pickle.dumps((f, args)))
    code = ("import pickle, sys; sys.path.insert(0, sys.argv[1]); f, args = pickle.load(open(sys.argv[2], 'rb')); "
            "v, g = f.value_and_grad(*args); print([float(x).hex() for x in (v, *g)])")
    source = str(Path(microgradc.__file__).parents[1])
    done = subprocess.run([sys.executable, "-I", "-c", code, source, tmp_path / "f.pickle"], capture_output=True,
                          text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == str(pickled.in_hex(f, *args))


def test_joblib():
    joblib = pytest.importorskip("joblib", reason="joblib is not installed")
    f, (x,) = summed()
    f(x)
    with joblib.parallel_config(backend="loky", n_jobs=2, inner_max_num_threads=1):
        found = joblib.Parallel()(joblib.delayed(f.value_and_grad)(x * k) for k in range(3))
    assert [value for value, _ in found] == [f(x * k).data for k in range(3)]


def test_cloudpickle():
    cloudpickle = pytest.importorskip("cloudpickle", reason="cloudpickle is not installed")
    f, (x,) = summed()
    for _ in range(2):          # not recorded: the function itself; then what was recorded
        assert pickled.in_hex(pickle.loads(cloudpickle.dumps(f)), x) == pickled.in_hex(f, x)


# C functions for SciPy


def test_quad():
    integrate = pytest.importorskip("scipy.integrate", reason="SciPy is not installed")
    w = Value(0.75)
    f = compile(lambda x: scan(lambda c, t: (c * w + microgradc.sin(t * x), None), x, range(1, 40), keep="sqrt")[0])
    found = integrate.quad(f.low_level_callable(0.0), -1, 2)
    assert found == integrate.quad(lambda x: f(float(x)).data, -1, 2)
    root = compile(lambda x: scan(lambda r, _: ((r + x / r) / 2, None), 1.0 + x, length=50,
                                  until=lambda r: abs(r * r - x) < 1e-12)[0])
    assert integrate.quad(root.low_level_callable(0.0), 1, 4)[0] == pytest.approx(14 / 3, rel=1e-10)


def test_low_level_callables_with_a_wrong_index():
    from test_low_level import called
    table = [Value(1.0), Value(2.0), Value(3.0)]
    f = compile(lambda x, i: scan(lambda c, t: (c + take(table, t + i), None), x, range(2))[0])
    low = f.low_level_callable(0.5, 0)
    assert [called(low, 0.5, i) for i in (0.0, 1.0)] == [3.5, 5.5]
    assert all(math.isnan(called(low, 0.5, i)) for i in (2.0, -1.0, 0.5, math.nan))
    assert math.isnan(called(low, 0.5))


def test_a_loop_is_no_number():
    body, graph = Graph(), Graph()
    body.outputs = [body.add("exp", body.input())]
    x = graph.input()
    result, = graph.scan(Loop(body, 3, 1, 0), x)
    scan_place = graph[result].operands[0]
    for call in (lambda: graph.add("exp", scan_place), lambda: graph.scan(Loop(body, 2, 1, 0), scan_place),
                 lambda: setattr(graph, "outputs", [scan_place])):
        with pytest.raises(ValueError, match=f"place {scan_place} is a loop, which has no number of its own"):
            call()
