"""Functions written as C, compiled and called: each row and each operation, against the engine and PyTorch."""

import ctypes
import itertools
import math
import re
import subprocess

import numpy as np
import pytest
import torch
from c_library import COMPILERS, STRICT, WHY_NOT, Library, run_compiler, write
from corners import CORNERS, PAIRS, TRIPLES
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_graph import grown

import microgradc
from microgradc import CompileError, Value, compile, engine, nn
from microgradc.program.c_loops import LOOPS
from microgradc.program.c_statements import PART
from microgradc.program.c_text import helpers_of, number_text
from microgradc.program.graph import RULES, Graph, simplify, sums
from microgradc.program.to_c import write_c

pytestmark = pytest.mark.skipif(not COMPILERS, reason=WHY_NOT)

MODES = ["baked", "passed"]
each_mode = pytest.mark.parametrize("mode", MODES)


def same(a, b, ulp=0):
    """Return whether two numbers are equal, or nan, or a few units in the last place apart."""
    return a == b or (a != a and b != b) or abs(a - b) <= ulp * max(math.ulp(a), math.ulp(b))


def all_same(found, wanted, ulp=0):
    return all(same(a, b, ulp) for a, b in zip(found, wanted, strict=True))


def parameters_of(f, *args):
    return [p.data for p in f.program(*args).parameters]


def run(graph, inputs, parameters, seeds):
    """Return what the engine gives for a graph: outputs, gradients of inputs and of parameters."""
    leaves = [Value(x) for x in (*inputs, *parameters)]
    outputs = graph.values(leaves[:len(inputs)], leaves[len(inputs):])
    outputs = [out if isinstance(out, Value) else Value(out) for out in outputs]
    microgradc.sum([s * out for s, out in zip(seeds, outputs, strict=True)]).backward()
    gradients = [v.grad for v in leaves]
    return [out.data for out in outputs], gradients[:len(inputs)], gradients[len(inputs):]


# Rows

ROWS = {row.name.lower(): row for row in engine.TABLE}


def one_row(op):
    """Return the graph of one row."""
    graph = Graph()
    graph.outputs = [graph.add(op, *[graph.input() for _ in range(ROWS[op].operands)])]
    return graph


def all_rows():
    """Return the texts of all rows in one function, each with inputs of its own; and the places of these."""
    graph = Graph()
    operands = {row.name.lower(): [graph.input() for _ in range(row.operands)] for row in engine.TABLE}
    graph.outputs = [graph.add(op, *xs) for op, xs in operands.items()]
    return write_c(graph, [], "rows", True, "baked"), operands


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    texts, operands = all_rows()
    return Library(tmp_path_factory.mktemp("rows"), texts, "rows"), operands


@pytest.mark.parametrize("compiler", COMPILERS)
def test_no_compiler_warns(tmp_path, compiler):
    texts, operands = all_rows()
    for is_float in (False, True):
        library = Library(tmp_path, texts, "rows", ("-O3",), is_float, compiler)
        inputs = [0.5] * library.counts["INPUTS"]
        assert library.values(inputs) == pytest.approx(
            [run(one_row(op), [0.5] * len(xs), [], [1.0])[0][0] for op, xs in operands.items()],
            rel=1e-5, abs=1e-5, nan_ok=True,
        )


@pytest.mark.parametrize("begin", range(0, 1001, 100))
def test_each_row_has_the_bits_of_the_engine(rows, begin):
    library, operands = rows
    points = {1: itertools.cycle(CORNERS), 2: itertools.cycle(PAIRS), 3: itertools.cycle(TRIPLES)}
    for _ in range(begin):
        for source in points.values():
            next(source)
    for _ in range(100):
        point = {n: next(source) for n, source in points.items()}
        given = {op: point[row.operands] if row.operands > 1 else (point[1],) for op, row in ROWS.items()}
        outputs, gradients, _ = library.gradients([x for xs in given.values() for x in xs], [1.5] * len(given))
        for op, out in zip(given, outputs, strict=True):
            wanted, wanted_gradients, _ = run(one_row(op), given[op], [], [1.5])
            found = [gradients[i] for i in operands[op]]
            assert same(out, wanted[0]), (op, given[op])
            assert all_same(found, wanted_gradients), (op, given[op], found, wanted_gradients)


def test_rows_in_loops(tmp_path):
    """Runs of rows whose operands go on by a stride, stand still, or are numbers."""
    def f(x, y):
        return [
            *(a * b for a, b in zip(x, y, strict=True)),
            *(x[2 * i].tanh() for i in range(4)),
            *(a - 0.5 for a in reversed(x)),
            *(microgradc.clip(a, -1.0, float(i)) for i, a in enumerate(x)),
            *(a / y[0] for a in x),
        ]
    f = compile(f)
    x, y = np.linspace(-2, 2, 8), np.linspace(0.5, 1.5, 8)
    texts = f.to_c(x, y, name="loops")
    assert texts[0].count("for (int i = ") >= 8
    library = Library(tmp_path, texts, "loops")
    u, v = list(map(Value, x)), list(map(Value, y))
    wanted = f._f(u, v)
    microgradc.sum(wanted).backward()
    outputs, gradients, _ = library.gradients([*x, *y], np.ones(len(wanted)))
    assert all_same(outputs, [w.data for w in wanted])
    assert all_same(gradients, [w.grad for w in (*u, *v)])


# Operations of any number of operands

W = [Value(x) for x in np.linspace(-1, 1.5, 24)]
WIDE = {
    "sum": lambda x: microgradc.sum(list(x)) * microgradc.sum(list(x[:3])),
    "mean": lambda x: microgradc.mean([*x, W[0]]),
    "dot": lambda x: microgradc.dot(list(x), W[:6], W[7]) + microgradc.dot(list(x), list(x)),
    "products": lambda x: x[0] * x[1] + x[2] * x[3] + x[4] * x[5] + x[0] * x[5] + x[1] * x[4] + W[3] * x[0],
    "logsumexp": lambda x: microgradc.logsumexp([*x, W[1], 0.25]),
    "softmax": lambda x: microgradc.softmax(list(x))[2],
    "dense": lambda x: microgradc.sum([microgradc.dot(list(x), W[i:i + 6], W[i + 6]).tanh() for i in range(0, 18, 3)]),
    "constants": lambda x: microgradc.sum([microgradc.dot(list(x), range(i, i + 6)).relu() for i in range(4)]),
    "mixed": lambda x: microgradc.sum([microgradc.dot(list(x), [*W[i:i + 4], 1.5, i], 2.0).sin() for i in range(4)]),
    "penalty": lambda x: x[0] + 0.1 * microgradc.sum([w * w for w in W]) + W[0].exp() + microgradc.logsumexp(W),
}


@each_mode
@pytest.mark.parametrize("name", WIDE)
def test_wide_operations(tmp_path, name, mode):
    f = compile(WIDE[name])
    x = np.array([0.3, -0.7, 1.1, 0.0, -1e3, 2.0])
    library = Library(tmp_path, f.to_c(x, name="wide", parameters=mode), "wide")
    parameters = f.program(x).parameters
    numbers = [p.data for p in parameters] if mode == "passed" else ()
    for p in parameters:
        p.grad = 0.0
    inputs = list(map(Value, x))
    out = WIDE[name](inputs)
    out.backward()
    outputs, gradients, of_parameters = library.gradients(x, parameters=numbers)
    assert same(outputs[0], out.data)
    assert all_same(gradients, [v.grad for v in inputs], ulp=8)
    assert all_same(of_parameters, [p.grad for p in parameters], ulp=8)
    assert library.values(x, numbers) == outputs


@each_mode
def test_takes(tmp_path, mode):
    table = [Value(x) for x in (0.5, -1.0, 2.0, 0.25, 3.0)]

    def f(i, x):
        logits = [x * w for w in table]
        return (microgradc.take(table, i), microgradc.logsumexp(logits) - microgradc.take(logits, i),
                microgradc.take([x, 1.0, table[1]], i))
    f = compile(f)
    library = Library(tmp_path, f.to_c(1, 0.5, name="takes", parameters=mode), "takes")
    parameters = f.program(1, 0.5).parameters
    numbers = [p.data for p in parameters]
    for i in range(3):
        for p in parameters:
            p.grad = 0.0
        outs, x = f(i, v := Value(0.75)), v
        microgradc.sum([a * s for a, s in zip(outs, (1.0, 2.0, 3.0), strict=True)]).backward()
        outputs, gradients, of_parameters = library.gradients([i, 0.75], (1.0, 2.0, 3.0), numbers)
        assert all_same(outputs, [out.data for out in outs], ulp=4)
        assert gradients == [0.0, pytest.approx(x.grad, rel=1e-14)]
        assert of_parameters == pytest.approx([p.grad for p in parameters], rel=1e-14, abs=1e-16)
    for i in (-1, 5, math.nan, 1e300, -math.inf):       # out of range: nan, and nothing for what was not taken
        outputs, gradients, of_parameters = library.gradients([i, 0.75], (1.0, 0.0, 1.0), numbers)
        assert all(math.isnan(out) for out in outputs)
        assert gradients == [0.0, 0.0]
        assert not any(of_parameters)


# Functions

def branchy(x, y):
    a = microgradc.where(microgradc.less(x, y), (x - y).exp(), (y * x).relu())
    b = microgradc.clip(x * y, -0.5, 0.5) + microgradc.maximum(x, y) * microgradc.minimum(x, 2.0)
    return a, b.leaky_relu(0.1), abs(x)


@each_mode
def test_branches_as_in_pytorch(tmp_path, mode):
    library = Library(tmp_path, compile(branchy).to_c(1.0, 2.0, name="branchy", parameters=mode), "branchy")
    for x, y in itertools.product([-1.5, -0.25, 0.5, 3.0], repeat=2):
        if x == y:
            continue
        u, v = (torch.tensor(z, dtype=torch.float64, requires_grad=True) for z in (x, y))
        a = torch.where(u < v, (u - v).exp(), (v * u).relu())
        b = (u * v).clamp(-0.5, 0.5) + torch.maximum(u, v) * torch.minimum(u, torch.tensor(2.0))
        outs = a, torch.nn.functional.leaky_relu(b, 0.1), abs(u)
        (outs[0] + 2 * outs[1] - 3 * outs[2]).backward()
        outputs, gradients, _ = library.gradients([x, y], (1.0, 2.0, -3.0))
        assert outputs == pytest.approx([out.item() for out in outs], rel=1e-15)
        assert gradients == pytest.approx([u.grad.item(), v.grad.item()], rel=1e-14, abs=1e-15)


@each_mode
@pytest.mark.parametrize("compiler", COMPILERS)
def test_a_network_has_the_bits_of_the_engine(tmp_path, mode, compiler):
    model = nn.MLP(2, [16, 16, 1], seed=0)
    f = compile(lambda x: model(x))
    texts = f.to_c([0.5, 0.5], name="net", parameters=mode)
    assert sum(map(len, texts)) < 20_000
    library = Library(tmp_path, texts, "net", ("-O2",), compiler=compiler)
    parameters = f.program([0.5, 0.5]).parameters
    numbers = [p.data for p in parameters]
    for x in np.random.default_rng(0).normal(size=(20, 2)):
        inputs = list(map(Value, x))
        model.zero_grad()
        out = model(inputs)
        out.backward()
        outputs, gradients, of_parameters = library.gradients(x, parameters=numbers)
        assert outputs == [out.data]
        assert gradients == [v.grad for v in inputs]
        assert of_parameters == [p.grad for p in parameters]
        assert library.gradients(x, parameters=numbers, wanted=(False, False))[0] == outputs
        assert library.gradients(x, parameters=numbers, wanted=(True, False))[1] == gradients


def test_equal_layers_share_their_weights(tmp_path):
    layer = nn.MLP(6, [6], seed=1)

    def f(x):
        for _ in range(4):
            x = [v.relu() for v in layer(x)]
        return x
    f = compile(f)
    texts = f.to_c(np.ones(6), name="shared")
    assert texts[0].count("static const mgc_real ") == 1
    library = Library(tmp_path, texts, "shared")
    inputs = list(map(Value, np.linspace(0.1, 1, 6)))
    outs = f._f(inputs)
    layer.zero_grad()
    microgradc.sum(outs).backward()
    outputs, gradients, of_parameters = library.gradients(np.linspace(0.1, 1, 6), np.ones(6))
    assert outputs == [out.data for out in outs]
    assert gradients == pytest.approx([v.grad for v in inputs], rel=1e-13)
    assert of_parameters == pytest.approx([p.grad for p in f.program(np.ones(6)).parameters], rel=1e-13)


def test_parameters_are_those_of_now_or_passed(tmp_path):
    w = Value(2.0)
    f = compile(lambda x: w * x + w.exp())
    baked = Library(tmp_path, f.to_c(1.0, name="baked"), "baked")
    passed = Library(tmp_path, f.to_c(1.0, name="passed", parameters="passed"), "passed")
    assert baked.values([3.0]) == passed.values([3.0], [2.0]) == [6.0 + math.exp(2.0)]
    assert passed.values([3.0], [0.0]) == [1.0]
    assert passed.gradients([3.0], parameters=[0.0]) == ([1.0], [0.0], [4.0])
    w.data = 0.0
    assert Library(tmp_path, f.to_c(1.0, name="later"), "later").gradients([3.0]) == ([1.0], [0.0], [4.0])


@each_mode
def test_outputs_that_are_no_results(tmp_path, mode):
    """An input, a parameter, a constant, and one twice: none is left unset."""
    w = Value(2.0)
    for count in (1, 3):
        f = compile(lambda x, count=count: [x, w, x * 0 + 1, x, w * w] * count)
        library = Library(tmp_path, f.to_c(1.0, name=f"plain{count}", parameters=mode), f"plain{count}")
        assert library.values([3.0], [2.0]) == [3.0, 2.0, 1.0, 3.0, 4.0] * count
        _, gradients, of_parameters = library.gradients([3.0], [1.0, 1.0, 1.0, 2.0, 10.0] * count, [2.0])
        assert (gradients, of_parameters) == ([3.0 * count], [41.0 * count])


def test_no_inputs_and_no_gradients(tmp_path):
    f = compile(lambda: Value(2.0) * 3)
    texts = f.to_c(name="nothing", gradients=False)
    assert "gradients" not in "".join(texts).replace("// ", "")
    assert Library(tmp_path, texts, "nothing").values([]) == [6.0]
    assert Library(tmp_path, f.to_c(name="none"), "none").gradients([]) == ([6.0], [], [])


def test_float(tmp_path):
    model = nn.MLP(2, [8, 1], activation="tanh", seed=0)
    f = compile(lambda x: model(x))
    library = Library(tmp_path, f.to_c([1.0, 2.0], name="small"), "small", is_float=True)
    value, gradient = f.value_and_grad([0.5, -0.25])
    outputs, gradients, _ = library.gradients([0.5, -0.25])
    assert outputs == pytest.approx([value], rel=1e-5)
    assert outputs != [value]
    assert gradients == pytest.approx(gradient.tolist(), rel=1e-5)


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, 10**6), st.lists(st.floats(0.1, 2.0), min_size=4, max_size=4), st.sampled_from(MODES))
def test_random_graphs(tmp_path_factory, seed, numbers, mode):
    recorded = grown(seed, size=60)
    graph = sums(simplify(recorded))
    library = Library(tmp_path_factory.mktemp("random"), write_c(graph, numbers[2:], "random", True, mode), "random")
    seeds = [1.0, -0.5, 2.0, 0.25]
    wanted = run(recorded, numbers[:2], numbers[2:], seeds)
    found = library.gradients(numbers[:2], seeds, numbers[2:])
    if not all(map(math.isfinite, itertools.chain(*wanted))):
        return
    for got, expected in zip(found, wanted, strict=True):
        assert got == pytest.approx(expected, rel=1e-9, abs=1e-9), str(graph)


# The text

def test_numbers_are_read_back():
    texts = [number_text(x) for x in CORNERS]
    assert [float(text.strip("()").replace("INFINITY", "inf")) for text in texts] == pytest.approx(CORNERS, nan_ok=True)
    assert [number_text(x) for x in (-0.0, 0.1, -math.inf, math.nan)] == ["(-0.0)", "0.1", "(-INFINITY)", "NAN"]


def test_corners_as_constants(tmp_path):
    f = compile(lambda x: [x * c for c in CORNERS] + [microgradc.maximum(x, c) for c in CORNERS])
    library = Library(tmp_path, f.to_c(1.0, name="corners"), "corners")
    assert all_same(library.values([1.0]), [v.data for v in f(1.0)])


def test_what_is_not_used_is_not_written():
    c, _ = compile(lambda x: x.tanh() * 2).to_c(1.0)
    assert not re.findall(r"mgc_(?!forward|backward|values|real)\w+", c)
    assert helpers_of("mgc_sigmoid(x)", "real").startswith("static inline real mgc_sigmoid(real x)")


def test_the_signatures():
    f = compile(lambda x: x * Value(2.0))
    _, h = f.to_c(1.0, name="pricer")
    flat = re.sub(r"\s+", " ", h)
    assert "void pricer(const pricer_real *inputs, pricer_real *outputs, pricer_real *work);" in flat
    assert ("void pricer_gradients(const pricer_real *inputs, const pricer_real *seeds, pricer_real *outputs, "
            "pricer_real *input_gradients, pricer_real *parameter_gradients, pricer_real *work);") in flat
    for name in ("INPUTS", "OUTPUTS", "PARAMETERS", "WORK"):
        assert f"pricer_{name} = " in h
    flat = re.sub(r"\s+", " ", f.to_c(1.0, parameters="passed")[1])
    assert "void pricer(const pricer_real *inputs, const pricer_real *parameters, pricer_real *outputs" in flat


def test_no_line_is_long():
    model = nn.MLP(2, [16, 16, 1], seed=0)
    f = compile(lambda x: model(x))
    for text in (*f.to_c([1.0, 2.0], name="a_function_of_two_numbers"), *f.to_c([1.0, 2.0], parameters="passed")):
        assert max(map(len, text.splitlines())) <= 120


@pytest.mark.parametrize(("arguments", "message"), [
    ({"name": "2much"}, "name must be one that C takes.*'2much'"),
    ({"name": "prix-net"}, "name must be one that C takes"),
    ({"name": "_x"}, "after a letter"),
    ({"name": "prïx"}, "name must be one that C takes"),
    ({"name": ""}, "got ''"),
    ({"name": None}, "got None"),
    ({"name": "double"}, "free in C and C"),
    ({"name": "template"}, "free in C and C"),
    ({"name": "expf"}, "free in C and C"),
    ({"name": "mgc_step"}, "free in C and C"),
    ({"name": "size_t"}, "free in C and C"),
    ({"name": "main"}, "free in C and C"),
    ({"parameters": "live"}, "parameters must be 'baked' or 'passed', got 'live'"),
    ({"parameters": None}, "parameters must be"),
])  # fmt: skip
def test_bad_input(arguments, message):
    with pytest.raises(ValueError, match=message):
        compile(lambda x: x * 2).to_c(1.0, **arguments)


def test_a_function_can_be_called_what_a_helper_is(tmp_path):
    f = compile(lambda x: x.sigmoid())
    assert Library(tmp_path, f.to_c(0.5, name="sigmoid"), "sigmoid").values([0.5]) == [f(0.5).data]


def test_each_operation_of_graphs_has_a_text():
    """A row, a loop, or a rule of `simplify` that replaces it."""
    with pytest.raises(ValueError, match="one of add, ") as refused:
        Graph().add("nonsense")
    names = set(re.search("one of (.*), got", str(refused.value))[1].split(", ")) - {"", "custom", "scan", "result"}
    ruled = {rule[1] for rule in RULES}
    loops = {name.removeprefix("mgc_").removesuffix("_back") for name in LOOPS}
    assert names - ruled - loops - set(ROWS) == set()
    graph = Graph()
    x, y = graph.input(), graph.input()
    graph.outputs = [graph.add(name, x, y) for name in ("sum", "mean", "dot")]
    write_c(sums(simplify(graph)), [], "f", True, "baked")


def test_operations_without_a_text():
    graph = Graph()
    graph.outputs = [graph.add("mean", graph.input(), graph.input())]       # before the passes
    with pytest.raises(CompileError, match="'mean' cannot be written as C"):
        write_c(graph, [], "f", True, "baked")


# Compilers

def chain(count):
    graph = Graph()
    x = y = graph.input()
    for i in range(count):
        y = graph.add("sin" if i % 3 else "mul", *([y] if i % 3 else [y, x]))
    graph.outputs = [y]
    return graph


def test_a_large_function_is_written_in_parts(tmp_path):
    """Its text grows as it does, and no function in it is large."""
    small, large = (write_c(chain(count), [], "chain", True, "baked")[0] for count in (1_000, 100_000))
    assert len(large) < 120 * len(small)
    assert max(part.count(";") for part in large.split("\n}")) <= 2 * PART
    graph = chain(2_000)
    library = Library(tmp_path, write_c(graph, [], "chain", True, "baked"), "chain", ("-O0",))
    wanted, gradients, _ = run(graph, [0.75], [], [1.0])
    assert library.gradients([0.75])[:2] == (wanted, gradients)


MAIN = """
#include "{name}.h"
#include <stdio.h>
int main(void)
{{
    {name}_real x[{name}_INPUTS] = {{{inputs}}}, seeds[{name}_OUTPUTS], out[{name}_OUTPUTS], gx[{name}_INPUTS];
    {name}_real gp[{name}_PARAMETERS], work[{name}_WORK];
    for (int i = 0; i < {name}_OUTPUTS; i++) seeds[i] = 1;
    {name}(x, out, work);
    {name}_gradients(x, seeds, out, gx, gp, work);
    for (int i = 0; i < {name}_OUTPUTS; i++) printf("%.17g ", (double)out[i]);
    return 0;
}}
"""


@pytest.mark.parametrize("compiler", COMPILERS)
def test_under_sanitizers(tmp_path, compiler):
    flags = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
    (tmp_path / "empty.c").write_text("int main(void) { return 0; }\n")
    try:
        run_compiler(tmp_path, *flags, "empty.c", "-o", "empty", compiler=compiler)
    except AssertionError:
        pytest.skip(f"{compiler} has no sanitizers here: C texts were not run under them")
    model = nn.MLP(3, [8, 5], seed=0)

    def f(i, x):
        logits = model(x)
        return microgradc.logsumexp(logits) - microgradc.take(logits, i)
    f = compile(f)
    x = [0.5, -0.25, 1.0]
    write(tmp_path, f.to_c(4, x, name="net"), "net")
    (tmp_path / "main.c").write_text(MAIN.format(name="net", inputs="4, " + ", ".join(map(repr, x))))
    run_compiler(tmp_path, *STRICT, *flags, "-g", "main.c", "net.c", "-lm", "-o", "main", compiler=compiler)
    done = subprocess.run([tmp_path / "main"], capture_output=True, encoding="utf-8", timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    assert float(done.stdout) == pytest.approx(f(4, x).data, rel=1e-15)


def test_the_header_in_cpp(tmp_path):
    write(tmp_path, compile(lambda x: x * Value(2.0)).to_c(1.0, name="f"), "f")
    (tmp_path / "use.cpp").write_text('#include "f.h"\nvoid use(double *x, double *y, double *w) { f(x, y, w); }\n')
    flags = ["-std=c++11", "-Wall", "-Wextra", "-pedantic", "-Werror"]
    try:
        run_compiler(tmp_path, "-x", "c++", "-fsyntax-only", "/dev/null")
    except AssertionError:
        pytest.skip("there is no C++ compiler: the header was not tried in C++")
    run_compiler(tmp_path, *STRICT, "-c", "f.c")
    run_compiler(tmp_path, *flags, "-shared", "-fPIC", "-c", "use.cpp")


def test_threads_may_call_it_at_once(tmp_path):
    from concurrent.futures import ThreadPoolExecutor

    model = nn.MLP(2, [8, 8, 1], seed=0)
    library = Library(tmp_path, compile(lambda x: model(x)).to_c([1.0, 2.0], name="net"), "net")
    assert isinstance(library.functions, ctypes.CDLL)      # which lets other threads run meanwhile
    points = np.random.default_rng(0).normal(size=(200, 2))
    wanted = [library.gradients(x) for x in points]
    with ThreadPoolExecutor(4) as threads:
        assert list(threads.map(library.gradients, points)) == wanted
