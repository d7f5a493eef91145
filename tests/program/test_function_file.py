"""Functions in files: what is in them, what comes back, and what is refused."""

import copy
import json
import math
import pickle
import random
from collections import namedtuple
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import save as serialize

import microgradc
from microgradc import Value, compile, load_compiled, nn, take
from microgradc.program import function_file
from microgradc.program.loaded import LoadedFunction

GOLDEN = Path(__file__).parents[1] / "data" / "function-format-1.safetensors"
X = np.random.default_rng(0).normal(size=(20, 2))
Point = namedtuple("Point", "x y")


@dataclass
class Option:
    strike: float
    years: float


def golden_function():
    """What the golden file was made from, by `golden_function().save(GOLDEN, *golden_arguments())`."""
    model = nn.MLP(2, [3, 2], seed=0)
    rate = Value(0.05, label="rate")
    table = [Value(1.0), Value(-2.0), Value(0.5)]

    def price(option, at, market, i, *more):
        spot = market["spot"] * (rate * option.years).exp() - option.strike
        hidden = model([at.x, at.y])
        chosen = take(table, i) * microgradc.where(spot > 0.0, spot, -0.0)
        rest = microgradc.logsumexp([*hidden, chosen, more[0][1][2]]) + microgradc.sum([more[1][0], more[1][1], spot])
        weights = microgradc.mean(more[0][0]) + microgradc.dot(more[0][1], [1.0, -0.5, 2.0])
        return {"price": rest, "parts": (Point(chosen, weights), [spot, more[0][0][1] ** 3 / 7.0])}

    return compile(price)


def golden_arguments():
    return (Option(90.0, 2.0), Point(0.5, -1.5), {"spot": 100.0, 3: 1.0}, 2,
            np.array([[0.1, 0.2, 0.3], [1.5, 2.5, 3.5]]), [4.0, 5.0])


def leaves(result):
    return [v.data for v in microgradc.trees.flatten(result)[0]]


@pytest.fixture
def path(tmp_path):
    return tmp_path / "f.safetensors"


def saved(path, f, *args):
    f.save(path, *args)
    return load_compiled(path)


def contents(path):
    """Return the metadata and the arrays of a file."""
    with safe_open(path, "numpy") as file:
        arrays = {name: file.get_tensor(name) for name in function_file.ENTRIES}
        return json.loads(file.metadata()["microgradc"]), arrays


def rewrite(path, content, arrays, digest=True):
    """Write a file with such metadata and arrays, which says so."""
    content = dict(content)
    if digest:
        content.pop("sha256", None)
        content["sha256"] = function_file._digest(content, arrays)
    path.write_bytes(serialize(arrays, metadata={"microgradc": json.dumps(content)}))


def test_a_model_comes_back_with_names(path):
    model = nn.MLP(2, [4, 1], seed=0)
    scale = Value(0.5)
    f = compile(lambda x, y: (1 - y * model(x) * scale).relu())
    f(X[0], 1.0)
    model.parameters()[0].data = 0.25               # the numbers of now are saved
    loaded = saved(path, f, X[0], 1.0)
    assert isinstance(loaded, LoadedFunction)
    names = dict(loaded.named_parameters())
    assert tuple(names.values()) == loaded.parameters
    assert names.keys() == {"scale", *(f"model.{name}" for name, _ in model.named_parameters())}
    assert {f"model.{name}": p.data for name, p in model.named_parameters()}.items() <= {
        name: p.data for name, p in names.items()}.items()
    assert names["model.layers.0.neurons.0.w.0"].data == 0.25
    Y = np.sign(X[:, 0])
    for g in (loaded, pickle.loads(pickle.dumps(loaded)), copy.deepcopy(loaded)):
        assert g.map(X, Y).tobytes() == f.map(X, Y).tobytes()
        assert g.mean(X, Y).data == f.mean(X, Y).data
        assert g.sum(X, Y).data == f.sum(X, Y).data
        assert g(X[1], Y[1]).data == f(X[1], Y[1]).data
        assert str(g.value_and_grad(X[1], Y[1])) == str(f.value_and_grad(X[1], Y[1]))
        assert str(g.map_value_and_grad(X, Y)) == str(f.map_value_and_grad(X, Y))
        assert str(g.program(X[0], 1.0)) == str(f.program(X[0], 1.0))
        assert g.to_c(X[0], 1.0) == f.to_c(X[0], 1.0)
        assert dict(g.named_parameters()).keys() == names.keys()
    loaded.save(path.with_name("again"), X[0], 1.0)
    assert path.with_name("again").read_bytes() == path.read_bytes()


def test_parameters_can_be_trained(path):
    w = Value(3.0)
    loaded = saved(path, compile(lambda x: (w * x - 1) ** 2), 1.0)
    optimizer = microgradc.SGD(loaded.parameters, lr=0.1)
    for _ in range(50):
        optimizer.zero_grad()
        loaded.mean(np.array([1.0, 2.0])).backward()
        optimizer.step()
    assert loaded.parameters[0].data == pytest.approx(0.6, abs=1e-6)
    assert w.data == 3.0


def test_nests_come_back_as_plain_namedtuples(path):
    f, args = golden_function(), golden_arguments()
    loaded = saved(path, f, *args)
    found, wanted = loaded(*args), f(*args)
    assert leaves(found) == leaves(wanted)
    assert found.keys() == wanted.keys()
    assert type(found["parts"][0]).__name__ == "Point"
    assert type(found["parts"][0]) is not Point
    assert found["parts"][0]._fields == ("x", "y")
    assert leaves(pickle.loads(pickle.dumps(found))) == leaves(wanted)
    # Classes of one's own, or any others of the same name and fields
    alike = namedtuple("Option", "strike years")(90.0, 2.0)
    assert leaves(loaded(alike, *args[1:])) == leaves(wanted)
    assert f"{loaded.map(*batch_of(args))}" == f"{f.map(*batch_of(args))}"
    with pytest.raises(ValueError, match=r"golden_function.*price is here .*Option\(strike=number, years=number\), "
                       r"Point.*, \{'spot': number, 3: number\}, integer, array\(2, 3\), \[number, number\]\); got "):
        loaded(*args[:-1])


def batch_of(args):
    option, at, market, i, a, b = args
    twice = [1.0, 2.0]
    return (Option(np.multiply(option.strike, twice), np.multiply(option.years, twice)), Point(*np.outer(at, twice)),
            {key: np.multiply(x, twice) for key, x in market.items()}, np.array([i, 0]), np.stack([a, a + 1]),
            [np.multiply(x, twice) for x in b])


def test_what_is_in_a_file(path):
    golden_function().save(path, *golden_arguments())
    content, arrays = contents(path)
    assert content["format"] == 1
    assert content["version"] == microgradc.__version__
    assert content["name"] == "golden_function.<locals>.price"
    assert {"exp", "mul", "take", "where", "logsumexp", "sum", "mean", "dot", "constant"} <= set(content["operations"])
    assert [(a["name"], a["kind"]) for a in content["arguments"]] == [
        (name, "example") for name in ("option", "at", "market", "i", "more[0]", "more[1]")]
    assert content["arguments"][0]["steps"] == [["dataclass", "Option", ["strike", "years"]], "number", "number"]
    assert content["arguments"][1]["steps"] == [["namedtuple", "Point", ["x", "y"]], "number", "number"]
    assert content["arguments"][3]["steps"] == ["integer"]
    assert content["arguments"][4]["steps"] == [["array", [2, 3], "number"]]
    assert content["result"][:3] == [["dict", ["price", "parts"]], "number", ["tuple", 2]]
    assert {"rate", "table[2]", "model.layers.0.neurons.0.w.1"} <= set(content["parameters"])
    assert {name: a.dtype.name for name, a in arrays.items()} == {
        "ops": "int32", "counts": "int32", "operands": "int32", "outputs": "int32",
        "constants": "float64", "parameters": "float64"}


def test_the_golden_file():
    """Written by the first version with format 1; later versions read it for ever."""
    loaded = load_compiled(GOLDEN)
    names = dict(loaded.named_parameters())
    assert [names[f"table[{i}]"].data for i in range(3)] == [1.0, -2.0, 0.5]
    assert names["rate"].data == 0.05
    assert len(names) == 21
    numbers = {name: p.data for name, p in names.items()}
    assert leaves(loaded(*golden_arguments())) == pytest.approx(golden_by_numpy(numbers), rel=1e-12)
    loaded(*golden_arguments())["price"].backward()
    for name in ("rate", "table[2]", "model.layers.1.neurons.0.b"):
        up, down = ({**numbers, name: numbers[name] + step} for step in (1e-5, -1e-5))
        slope = (golden_by_numpy(up)[0] - golden_by_numpy(down)[0]) / 2e-5
        assert names[name].grad == pytest.approx(slope, rel=1e-6, abs=1e-9)


def golden_by_numpy(numbers):
    """What `golden_function` returns for `golden_arguments`, in NumPy."""
    def neuron(name, x):
        return np.dot([numbers[f"{name}.w.{k}"] for k in range(len(x))], x) + numbers[f"{name}.b"]

    x = [max(neuron(f"model.layers.0.neurons.{k}", [0.5, -1.5]), 0.0) for k in range(3)]
    hidden = [neuron(f"model.layers.1.neurons.{k}", x) for k in range(2)]
    spot = 100.0 * np.exp(numbers["rate"] * 2.0) - 90.0
    chosen = numbers["table[2]"] * spot
    price = np.log(np.sum(np.exp([*hidden, chosen, 3.5]))) + 4.0 + 5.0 + spot
    weights = np.mean([0.1, 0.2, 0.3]) + np.dot([1.5, 2.5, 3.5], [1.0, -0.5, 2.0])
    return [price, chosen, weights, spot, 0.2**3 / 7.0]


def test_a_file_of_100_000_operations_is_linear_in_size(path):
    w, sizes = Value(0.1), []

    def repeated(n):
        def f(x):
            for _ in range(n):
                x = (x * 1.0001 + w).sin()
            return x
        return compile(f)

    for n in (3_333, 33_333):
        f = repeated(n)
        assert saved(path, f, 0.3)(0.3).data == f(0.3).data
        sizes.append(path.stat().st_size)
    assert sizes[1] < 11 * sizes[0]


def test_results_of_all_kinds(path):
    for f, x in [
        (lambda x: [x, [x, x * 2]], 1.0), (lambda x: (), 1.0), (lambda x: x, 1.0), (lambda x: [Value(2.0), x], 0.5),
        (lambda x: {None: x, True: x + 1, 2.5: x, "é": x, 7: x}, 1.0), (lambda x: Value(math.nan) + x, 1.0),
        (lambda x: {"": (x,), "b": {}}, 1.0), (lambda x: microgradc.take([1.0, x[0]], x[1]), (2.0, 1)),
    ]:
        f = compile(f)
        try:
            wanted = f(x)
        except TypeError:      # it returns nothing
            continue
        found = saved(path, f, x)(x)
        assert repr(found) == repr(wanted)
        assert load_compiled(path).program(x).stages == f.program(x).stages


def test_what_cannot_be_saved(path):
    class Key:
        pass

    key = Key()
    for f, args, error, message in [
        (lambda d: d[key], ({key: 1.0},), TypeError, "keys of dicts in the arguments must be strings.*Key"),
        (lambda x: {(1, 2): x}, (1.0,), TypeError, r"keys of dicts in the result must be strings.*\(1, 2\)"),
        (lambda x: {math.nan: x}, (1.0,), TypeError, "in the result .* got nan"),
        (lambda x: {1.0: {-math.inf: x}}, (1.0,), TypeError, "in the result .* got -inf"),
        (lambda x: Hidden(x), (1.0,), ValueError, "start with an underscore"),
    ]:
        with pytest.raises(error, match=message):
            compile(f).save(path, *args)
        assert not path.exists()
    with pytest.raises(ValueError, match="folder"):
        compile(lambda x: x * 2).save(path.parent, 1.0)
    with pytest.raises(FileNotFoundError):
        compile(lambda x: x * 2).save(path / "nowhere" / "f", 1.0)
    with pytest.raises(microgradc.CompileError, match="save"):
        compile(lambda x: compile(lambda y: y * 2).save(path, x))(1.0)


@dataclass
class Hidden:
    _x: float


def test_what_is_not_the_file_of_a_function(path):
    with pytest.raises(FileNotFoundError):
        load_compiled(path)
    with pytest.raises(ValueError, match="folder"):
        load_compiled(path.parent)
    for content, message in [
        (b"", "its first 8 bytes"),
        (b"\x80\x04K\x01.", "its first 8 bytes"),
        (serialize({"x": np.zeros(1)}), "no entry 'microgradc'"),
        (serialize({"x": np.zeros(1)}, metadata={"microgradc": "{"}), "metadata are not JSON"),
        (serialize({"x": np.zeros(1)}, metadata={"microgradc": "[" * 100_000}), "nested too deeply"),
        (serialize({"x": np.zeros(1)}, metadata={"microgradc": "[]"}), "metadata must be an object"),
        (serialize({"x": np.zeros(1)}, metadata={"microgradc": "{}"}), "format must be a number, got None"),
        (serialize({"x": np.zeros(1)}, metadata={"microgradc": '{"format": NaN}'}), "it has NaN"),
        (serialize({"x": np.zeros(1)}, metadata={"microgradc": '{"format": 1}'}), "no entry 'ops'"),
        (serialize({"x": np.zeros(1)}, metadata={"microgradc": '{"format": 1, "format": 1}'}), "comes twice"),
        (serialize({"x": np.zeros(1)}, metadata={"microgradc": '{"format": 3}'}),
         "format 3, of a later version of microgradc; this one reads up to 2"),
    ]:
        path.write_bytes(content)
        with pytest.raises(ValueError, match=f"(?s)cannot load .*f.safetensors: .*{message}"):
            load_compiled(path)
    microgradc.save(nn.MLP(1, [1]), path)
    with pytest.raises(ValueError, match="not the file of a compiled function"):
        load_compiled(path)


def put(name, i, x):
    def change(content, arrays):
        arrays[name][i] = x
    return change


def array(name, x):
    def change(content, arrays):
        arrays[name] = x
    return change


def entry(name, x, i=None):
    def change(content, arrays):
        if i is None:
            content[name] = x
        else:
            content[name][i] = x
    return change


def steps(*of_argument):
    return entry("arguments", [{"name": "x", "kind": "example", "steps": list(of_argument)}])


def an_input_twice(content, arrays):
    arrays["ops"][2] = arrays["ops"][0]


def a_constant_of_two(content, arrays):
    arrays["counts"][4], arrays["operands"][2:4] = 2, [0, 1]


def without_ops(content, arrays):
    del arrays["ops"]


# Of a file of `take([x[0] * w, x[0] + 0.5], x[1])`: %0, %1 inputs, %2 parameter, %3 mul, %4 constant, %5 add, %6 take.
HOSTILE = [
    (put("ops", 3, 99), "ops must be numbers of the 6 operations"),
    (put("ops", 3, -1), "ops must be numbers of the 6 operations"),
    (put("counts", 3, 1), "mul takes 2 operands, got 1"),
    (put("counts", 3, -2), "expression 3 must have some of the 7 operands that are left, got -2"),
    (put("counts", 3, 2**31 - 1), "expression 3 must have some of the 7 operands that are left, got 2147483647"),
    (put("counts", 0, 1), "operands of expression 0 must be expressions before it"),
    (a_constant_of_two, "expression 4, constant, must have no operands, got 2"),
    (put("operands", 0, 3), "operands of expression 3 must be expressions before it, got 3"),
    (put("operands", 0, 6), "operands of expression 3 must be expressions before it, got 6"),
    (put("operands", 1, -1), "operands of expression 3 must be expressions before it, got -1"),
    (put("operands", 4, 2), "the index of expression 6, take, must be an input, .* as integers are, got parameter"),
    (put("operands", 4, 0), "input 0 is an index, so it must be an integer, got a number"),
    (put("outputs", 0, 7), "an output must be one of 7 expressions, got 7"),
    (put("outputs", 0, -1), "an output must be one of 7 expressions, got -1"),
    (array("outputs", np.zeros(0, np.int32)), "the result has 1 numbers, and the graph 0"),
    (array("outputs", np.zeros(3, np.int32)), "the result has 1 numbers, and the graph 3"),
    (array("outputs", np.zeros((1, 1), np.int32)), "outputs must be one row of I32"),
    (array("operands", np.zeros(6, np.int32)), "must have some of the|must be an input|must be expressions"),
    (array("operands", np.zeros(8, np.int32)), "must be an input|the expressions have 7 operands, got 8"),
    (array("ops", np.zeros(7, np.int64)), "ops must be one row of I32, got I64"),
    (array("ops", np.zeros(7, np.float32)), "ops must be one row of I32, got F32"),
    (array("constants", np.zeros(1, np.float32)), "constants must be one row of F64, got F32"),
    (array("constants", np.zeros(0)), "more expressions of the kind constant than the 0 numbers"),
    (array("constants", np.zeros(2)), "the expressions have 1 constants, got 2"),
    (array("parameters", np.zeros(0)), "must be 2 inputs and 0 parameters"),
    (array("parameters", np.zeros(2)), "must be 2 inputs and 2 parameters"),
    (array("ops", np.zeros(0, np.int32)), "there must be 2 inputs"),
    (an_input_twice, "must be 2 inputs and 1 parameters.* got 3 and 0"),
    (without_ops, "no entry 'ops'"),
    (entry("operations", "frobnicate", 2), "no operation 'frobnicate' in this version"),
    (entry("operations", "custom", 2), "no operation 'custom'"),
    (entry("operations", "dense", 2), "dense takes|is dense, which functions are not recorded with"),
    (entry("operations", "cross_entropy", 5), "is cross_entropy, which functions are not recorded with"),
    (entry("operations", "tanh", 2), "tanh takes 1 operands, got 2"),
    (entry("operations", 7, 2), "operations must be a list of texts"),
    (entry("operations", "input", 2), "there must be 2 inputs"),
    (entry("operations", []), "ops|there must be"),
    (entry("operations", ["input", "parameter", "mul", "constant", "add", "take", "take"]), "comes twice"),
    (entry("parameters", []), "there must be 1 names of parameters, got 0"),
    (entry("parameters", {}), "parameters must be a list"),
    (entry("result", ["number", "number"]), "the result has more steps"),
    (entry("result", []), "the result has fewer steps"),
    (entry("result", ["integer"]), "the result must be made of single numbers"),
    (entry("result", [["list", 2], "number", ["list", 1]]), "the result has fewer steps"),
    (entry("result", [["list", 2**70], "number"]), "a step that is none"),
    (entry("result", [["list", -1], "number"]), "a step that is none"),
    (entry("result", [["list", True], "number"]), "a step that is none"),
    (entry("result", [["dict", ["a", "a"]], "number", "number"]), "a step that is none"),
    (entry("result", [["dict", [["a"]]], "number"]), "a step that is none"),
    (entry("result", [["namedtuple", "P", ["__class__"]], "number"]), "underscore"),
    (entry("result", [["namedtuple", "P", ["x=print(1)"]], "number"]), "not a name that a namedtuple"),
    (entry("result", [["namedtuple", "P(); import os", ["x"]], "number"]), "not a name that a namedtuple"),
    (entry("result", [["namedtuple", "P", ["x", "x"]], "number", "number"]), "duplicate"),
    (entry("result", [["tuple", 1]] * 100_000 + ["number"]), "no error"),
    (entry("name", None), "its name must be a text"),
    (entry("arguments", None), "arguments must be a list of objects"),
    (entry("arguments", [None]), "arguments must be a list of objects"),
    (entry("arguments", []), "must be 0 inputs"),
    (entry("arguments", [{"name": "x", "kind": "shared", "steps": []}]), "of the kind shared, .*does not know"),
    (entry("arguments", [{"name": 3, "kind": "example", "steps": [["tuple", 2], "number", "integer"]}]), "the name of"),
    (steps(), "fewer steps"),
    (steps("number"), "must be 1 inputs"),
    (steps(["array", [2], "number"]), "input 1 is an index"),
    (steps(["array", [2**31 - 1] * 32, "number"]), "must be [0-9]+ inputs"),
    (steps(["array", [2**40], "number"]), "a step that is none"),
    (steps(["array", [], "number"]), "a step that is none"),
    (steps(["array", [1] * 33, "number"]), "a step that is none"),
    (steps(*[["list", 1]] * 100_000, ["tuple", 2], "number", "integer"), "nested too deeply"),
    (steps({"list": 1}), "a step that is none"),
]


@pytest.mark.parametrize("i", range(len(HOSTILE)))
def test_hostile_files(path, i):
    change, message = HOSTILE[i]
    w = Value(2.0)
    compile(lambda x: take([x[0] * w, x[0] + 0.5], x[1])).save(path, (1.5, 1))
    content, arrays = contents(path)
    assert content["operations"] == ["input", "parameter", "mul", "constant", "add", "take"]
    change(content, arrays)
    rewrite(path, content, arrays, digest="ops" in arrays)
    if message == "no error":
        assert leaves(load_compiled(path)((1.5, 1))) == [2.0]
        return
    with pytest.raises(ValueError, match=f"(?s)cannot load .*({message})"):
        load_compiled(path)


def test_what_was_changed_by_accident_is_seen(path):
    w = Value(2.0)
    compile(lambda x: x * w).save(path, 1.0)
    content, arrays = contents(path)
    arrays["parameters"][0] = 3.0
    rewrite(path, content, arrays, digest=False)
    with pytest.raises(ValueError, match="another SHA-256 than it says"):
        load_compiled(path)
    rewrite(path, content, arrays)
    assert load_compiled(path)(2.0).data == 6.0
    arrays["parameters"][0] = math.nan      # a model that diverged
    rewrite(path, content, arrays)
    assert math.isnan(load_compiled(path)(2.0).data)


def mutated(content, rng):
    """Return content with something wrong in it: bytes, a bit, a piece that is gone, twice or elsewhere."""
    changed = bytearray(content)
    for _ in range(rng.choice([1, 1, 1, 2, 8])):
        i, j = sorted(rng.randrange(len(changed)) for _ in range(2))
        way = rng.randrange(6)
        if way == 0:
            changed[i] ^= 1 << rng.randrange(8)
        elif way == 1:
            changed[i : i + 4] = rng.randbytes(4)
        elif way == 2:
            changed[i : i + 1] = rng.choice([b"0", b"9", b'"', b"]", b"}", b",", b"-"])
        elif way == 3:
            del changed[i : min(j, i + 16)]
        elif way == 4:
            changed[i:i] = changed[i : i + 16]
        else:
            changed = changed[: max(j, 1)]
    return bytes(changed)


def outcome_of(path, wanted):
    """Load what may be damaged: an error, or the right numbers."""
    try:
        loaded = load_compiled(path)
    except ValueError as error:
        assert str(error).startswith("cannot load")  # noqa: PT017
        return False
    assert leaves(loaded(*golden_arguments())) == wanted
    return True


def test_200_mutations_are_errors_or_give_the_right_numbers(path):
    content, rng = GOLDEN.read_bytes(), random.Random(0)
    wanted = leaves(load_compiled(GOLDEN)(*golden_arguments()))
    for _ in range(200):
        path.write_bytes(mutated(content, rng))
        outcome_of(path, wanted)


def test_200_mutations_that_say_they_are_right_crash_nothing(path):
    """With a digest that fits, so that the checks of the graph are all there is."""
    rng = random.Random(1)
    good_content, good_arrays = contents(GOLDEN)
    loaded_ones = 0
    for _ in range(200):
        content, arrays = copy.deepcopy(good_content), {name: a.copy() for name, a in good_arrays.items()}
        for _ in range(rng.choice([1, 1, 2])):
            name = rng.choice(["ops", "counts", "operands", "operands", "outputs", "constants"])
            i = rng.randrange(arrays[name].size)
            arrays[name][i] = rng.choice([rng.randrange(-2, 60), arrays[name][i] + 1, 2**31 - 1])
        rewrite(path, content, arrays)
        try:
            loaded = load_compiled(path)
        except ValueError as error:
            assert str(error).startswith("cannot load")  # noqa: PT017
            continue
        loaded_ones += 1
        loaded(*golden_arguments())
        loaded.map(*batch_of(golden_arguments()))
        for v in microgradc.trees.flatten(loaded(*golden_arguments()))[0]:
            v.backward()
    assert 10 < loaded_ones < 190
