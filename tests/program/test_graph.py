"""Graphs that are built, recorded, printed and compared; each pass alone, on random graphs and on corners."""

import math
import pickle
import random
import sys
from array import array
from fractions import Fraction

import numpy as np
import pytest
from corners import CORNERS, INF, NAN
from hypothesis import given, settings
from hypothesis import strategies as st

import microgradc
from microgradc import CompileError, Program, Value, compile
from microgradc.program.graph import RULES, Graph, flat, graph_of, known, simplify, sums

PASSES = {"simplify": simplify, "sums": sums, "both": lambda g: sums(simplify(g))}
POWERS = [0.0, -0.0, 1.0, 2.0, 3.0, 4.0, 0.5, -0.5, -1.0, -2.0]
EXTREMES = [sign * x for x in (1e-310, 1e-200, 1e-160, 1e-108, 1e-103, 1e-77, 1e77, 1e103, 1e108, 1e160, 1e200, 1.7e308)
            for sign in (1, -1)]  # fmt: skip
# None with a jump, a bend or a pole, which would make much of the last bit in which sums differ.
UNARY = ["neg", "tanh", "sin", "sigmoid"]
BINARY = ["add", "sub", "mul"]


def small():
    g = Graph()
    x, w = g.input(), g.parameter()
    g.outputs = [g.add("tanh", g.add("mul", x, w))]
    return g


def test_printing_and_walking():
    g = small()
    assert str(g) == "%0 = input 0\n%1 = parameter 0\n%2 = mul %0, %1\n%3 = tanh %2\nreturn %3"
    assert repr(g) == "<Graph: 4 expressions, 1 inputs, 1 parameters, 1 outputs>"
    assert len(g) == 4
    assert [e.op for e in g] == ["input", "parameter", "mul", "tanh"]
    assert g[2] == ("mul", (0, 1), None)
    assert (g[1].number, g.outputs, g.input_count, g.parameter_count) == (0, (3,), 1, 1)
    with pytest.raises(IndexError, match="has 4 expressions, got 4"):
        g[4]


def test_equal_expressions_are_one():
    g = small()
    assert g.add("mul", 0, 1) == 2
    assert g.add("mul", 1, 0) == 4      # another order has other gradients' bits
    assert g.constant(0.0) != g.constant(-0.0)
    assert g.constant(NAN) == g.constant(NAN)
    assert len({g.input(), g.input(), g.parameter(), g.parameter()}) == 4


def test_a_graph_of_many_expressions():
    g = Graph()
    x, random_source = g.input(), random.Random(0)
    pairs = {}
    for _ in range(20_000):
        pair = random_source.randrange(len(g)), x
        e = g.add("add", *pair)
        assert pairs.setdefault(pair, e) == e
    assert all(g[e].operands == pair for pair, e in pairs.items())
    assert len(g) == len(pairs) + 1
    copy = pickle.loads(pickle.dumps(g))
    assert copy == g
    assert copy.add("add", 0, 0) == g.add("add", 0, 0)


class Labelled(Value):
    """A Value that lies where Python puts objects with attributes, not side by side with plain ones."""

    __slots__ = ("more",)


@pytest.mark.parametrize("seed", range(3))
def test_nodes_wherever_they_lie_are_told_apart(seed):
    """By their addresses, while they are recorded: many in a row, with holes, of two classes, scattered."""
    source = random.Random(seed)
    leaves = [source.choice([Value, Labelled])(source.random()) for _ in range(6_000)]
    del leaves[1_000:4_000:3]
    if seed:
        source.shuffle(leaves)
    leaves += [Value(0.5) for _ in range(100)]       # in the holes
    twice = leaves + leaves[::-1]
    program = Program([microgradc.dot(twice, twice[::-1]), microgradc.sum(twice)], leaves[:7])
    assert list(map(id, program.parameters)) == list(map(id, leaves[7:]))
    graph = program.stages["recorded"]
    places = [*range(len(leaves)), *reversed(range(len(leaves)))]
    assert graph[graph.outputs[1]].operands == tuple(places)
    assert graph[graph.outputs[0]].operands == tuple(p for pair in zip(places, places[::-1], strict=True) for p in pair)


@pytest.mark.parametrize("leaves", [[0, 0, 0], [0, 1, 0], [0, 1, 1]])
def test_each_input_and_parameter_of_a_flat_graph_is_there_once(leaves):
    g = Graph()
    g.outputs = [g.add("mul", g.add("mul", g.input(), g.parameter()), g.parameter())]
    parts = list(flat(g))
    assert graph_of(*parts) == g
    assert list(parts[6]) == [0, 0, 1]
    parts[6][:] = array("i", leaves)
    with pytest.raises(ValueError, match="expression 3 must be one of the parameters after"):
        graph_of(*parts)


@pytest.mark.parametrize(("call", "error", "message"), [
    (lambda g: g.add("nonsense", 0), ValueError, "op must be an operation, one of"),
    (lambda g: g.add("constant"), ValueError, "op must be an operation"),
    (lambda g: g.add("mul", 0), ValueError, "mul takes 2 operands, got 1"),
    (lambda g: g.add("products", 0, 1, 2), ValueError, "products takes pairs operands, got 3"),
    (lambda g: g.add("take", 0), ValueError, "take takes at least 2 operands, got 1"),
    (lambda g: g.add("mul", 0, 99), IndexError, "one of the 4 expressions in the graph, got 99"),
    (lambda g: g.add("mul", 0, -1), IndexError, "got -1"),
    (lambda g: g.add("mul", 0, 1.0), IndexError, "got 1.0"),
    (lambda g: g.add(None, 0), TypeError, "op"),
    (lambda g: g.constant("x"), TypeError, "real number|str"),
    (lambda g: setattr(g, "outputs", [7]), IndexError, "got 7"),
    (lambda g: g.values([], [1.0]), ValueError, "inputs must be 1 numbers or Values, got 0"),
])  # fmt: skip
def test_bad_input(call, error, message):
    g = small()
    before = str(g)
    with pytest.raises(error, match=message):
        call(g)
    assert str(g) == before


def test_graphs_are_equal_where_they_do_the_same():
    g, h = small(), small()
    assert g == h
    assert hash(g) == hash(h)
    assert pickle.loads(pickle.dumps(g)) == g
    h.outputs = [2]
    assert g != h
    other = small()
    other.constant(1.0)
    assert g != other
    assert g != "a graph"
    assert len({g, small(), other}) == 2


def grown(seed, size=25):
    """Return a random graph of two inputs, two parameters and some constants."""
    source, g = random.Random(seed), Graph()
    for make in (g.input, g.parameter, g.input, g.parameter):
        make()
    for x in (1.0, -0.0, 0.0, 2.0, 0.5, -1.0, 3.0):
        g.constant(x)
    for _ in range(size):
        kind = source.random()
        pick = [source.randrange(max(0, len(g) - 12), len(g)) for _ in range(6)]
        if kind < 0.2:
            g.add(source.choice(UNARY), pick[0])
        elif kind < 0.6:
            g.add(source.choice(BINARY), *pick[:2])
        elif kind < 0.7:
            g.add("where", g.constant(source.choice([0.0, 2.0])), *pick[:2])
        elif kind < 0.8:
            exponent = source.choice([0.0, 1.0, 2.0, 3.0, 4.0])     # the higher ones of small numbers
            g.add("pow", g.add("tanh", pick[0]) if exponent > 2 else pick[0], g.constant(exponent))
        elif kind < 0.85:
            neutral = g.constant(source.choice([0.0, -0.0, 1.0, -1.0]))
            g.add(source.choice(BINARY), *source.sample([pick[0], neutral], 2))
        elif kind < 0.88:
            g.add("where", pick[0], pick[1], pick[1])
        else:
            g.add(source.choice(["sum", "mean", "dot", "logsumexp"]), *pick[:source.randint(2, 6)])
    g.outputs = [*source.sample(range(len(g)), 3), len(g) - 1]
    return g


def run(g, inputs, parameters):
    """Return the outputs of a graph and what each leaf receives from their sum."""
    leaves = [Value(x) for x in (*inputs, *parameters)]
    out = g.values(leaves[:len(inputs)], leaves[len(inputs):])
    out = [Value(x) if not isinstance(x, Value) else x for x in out]
    microgradc.sum([*out, Value(0.0)]).backward()
    return [v.data for v in out], [v.grad for v in leaves]


def close(a, b):
    return all((x == y) or (x != x and y != y) or math.isclose(x, y, rel_tol=1e-9, abs_tol=1e-9)
               for x, y in zip(a, b, strict=True))  # fmt: skip


@pytest.mark.parametrize("name", PASSES)
@settings(max_examples=150, deadline=None)
@given(st.integers(0, 10**6), st.lists(st.floats(0.1, 2.0), min_size=4, max_size=4))
def test_a_pass_keeps_values_and_gradients(name, seed, numbers):
    g = grown(seed)
    before = pickle.dumps(g)
    made = PASSES[name](g)
    assert pickle.dumps(g) == before
    assert (made.input_count, made.parameter_count) == (2, 2)
    values, gradients = run(g, numbers[:2], numbers[2:])
    found, found_gradients = run(made, numbers[:2], numbers[2:])
    if not all(map(math.isfinite, values)):     # the sign of a 0 is not kept, nor that of what is divided by it
        return
    assert close(found, values), (str(g), str(made))
    if all(map(math.isfinite, gradients)):      # where an infinite slope meets a 0, what is left out matters
        assert close(found_gradients, gradients), (str(g), str(made))


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 10**6), st.lists(st.floats(0.1, 2.0), min_size=4, max_size=4), st.tuples(*[st.booleans()] * 2))
def test_known_parameters_are_constants(seed, numbers, are_known):
    g = grown(seed)
    before, left = pickle.dumps(g), [x for x, is_known in zip(numbers[2:], are_known, strict=True) if not is_known]
    made = known(g, [x if is_known else None for x, is_known in zip(numbers[2:], are_known, strict=True)])
    assert pickle.dumps(g) == before
    assert (made.input_count, made.parameter_count) == (2, len(left))
    assert [e.number for e in made if e.op == "parameter"] == list(range(len(left)))
    for then in (lambda g: g, PASSES["both"]):
        values, gradients = run(then(g), numbers[:2], numbers[2:])
        found, found_gradients = run(then(made), numbers[:2], left)
        if not all(map(math.isfinite, values)):
            return
        assert close(found, values), (str(g), str(made))
        wanted = [*gradients[:2], *(x for x, is_known in zip(gradients[2:], are_known, strict=True) if not is_known)]
        if all(map(math.isfinite, gradients)):
            assert close(found_gradients, wanted), (str(g), str(made))


def test_known_becomes_one_with_the_same_constant():
    g = Graph()
    x, w, v = g.input(), g.parameter(), g.parameter()
    g.outputs = [g.add("mul", g.add("mul", x, w), v), g.add("mul", x, g.constant(3.0))]
    made = known(g, [3.0, None])
    assert str(made) == (
        "%0 = input 0\n%1 = constant 3.0\n%2 = parameter 0\n%3 = mul %0, %1\n%4 = mul %3, %2\nreturn %4, %3"
    )
    assert known(g, [None, None]) == g
    for bad, error in (([1.0], ValueError), ([1.0, "x"], TypeError), ((1.0, 2.0), TypeError)):
        with pytest.raises(error):
            known(g, bad)


# For each rule: what it is applied to, and what becomes of it.
RULED = {
    "sum": (lambda g, x, w: g.add("sum", x, w, x), "products"),
    "mean": (lambda g, x, w: g.add("mean", x, w, x), "div"),
    "dot": (lambda g, x, w: g.add("dot", x, w, x, w, g.constant(0.5)), "products"),
    "-(-x)": (lambda g, x, w: g.add("neg", g.add("neg", x)), "input"),
    "x ** 0": (lambda g, x, w: g.add("pow", x, g.constant(0.0)), "constant"),
    "x ** 1": (lambda g, x, w: g.add("pow", x, g.constant(1.0)), "input"),
    "x ** 2": (lambda g, x, w: g.add("pow", x, g.constant(4.0)), "mul"),
    "x ** 0.5": (lambda g, x, w: g.add("pow", x, g.constant(0.5)), "sqrt"),
    "x ** -1": (lambda g, x, w: g.add("pow", x, g.constant(-1.0)), "div"),
    "x * 1": (lambda g, x, w: g.add("mul", g.constant(1.0), x), "input"),
    "x * -1": (lambda g, x, w: g.add("mul", g.constant(-1.0), x), "neg"),
    "x / 2": (lambda g, x, w: g.add("div", x, g.constant(2.0)), "mul"),
    "x + -0.0": (lambda g, x, w: g.add("add", x, g.constant(-0.0)), "input"),
    "x + -y": (lambda g, x, w: g.add("add", w, g.add("neg", x)), "sub"),
    "x - 0.0": (lambda g, x, w: g.add("sub", x, g.constant(0.0)), "input"),
    "x - -y": (lambda g, x, w: g.add("sub", w, g.add("neg", x)), "add"),
    "where(1, x, y)": (lambda g, x, w: g.add("where", g.constant(1.0), x, w), "input"),
    "where(c, x, x)": (lambda g, x, w: g.add("where", w, x, x), "input"),
    "logsumexp(v) - take(v, i)": (
        lambda g, x, w: g.add("sub", g.add("logsumexp", x, w), g.add("take", g.constant(1.0), x, w)), "cross_entropy",
    ),
    "take(log_softmax(v), i)": (
        lambda g, x, w: g.add("take", g.constant(0.0), *(g.add("sub", v, g.add("logsumexp", x, w)) for v in (x, w))),
        "neg",
    ),
}  # fmt: skip


def test_each_rule_is_tested_and_has_a_reason():
    assert list(RULED) == [name for name, _, _ in RULES]
    assert all(len(reason) > 3 for _, _, reason in RULES)


@pytest.mark.parametrize("name", RULED)
def test_a_rule_on_corners(name):
    build, expected = RULED[name]
    g = Graph()
    g.outputs = [build(g, g.input(), g.parameter())]
    made = simplify(g)
    assert made[made.outputs[0]].op == expected
    finite = name in ("logsumexp(v) - take(v, i)", "take(log_softmax(v), i)")
    for x in CORNERS:
        if finite and not abs(x) < 100:     # the difference of two infinities is another story
            continue
        if name == "x ** 0.5" and same(x, abs(x) * -1.0) and x in (0.0, -INF):
            continue    # of a Value, as of a tensor, this power is a square root already: tested below
        values, gradients = run(g, [x], [0.75])
        found, found_gradients = run(made, [x], [0.75])
        assert close(found, values), x
        assert same(found[0], values[0]) or found[0] != 0, x
        assert close(found_gradients, gradients), x


# What other rules, and others of their forms, make: operations with a constant, as (what, which operand, the constant).
NEUTRAL = [
    ("add", 0, -0.0, "input"), ("add", 1, -0.0, "input"), ("add", 0, 0.0, "add"), ("add", 1, 0.0, "add"),
    ("sub", 1, 0.0, "input"), ("sub", 0, -0.0, "neg"), ("sub", 0, 0.0, "sub"), ("sub", 1, -0.0, "sub"),
    ("mul", 0, 1.0, "input"), ("mul", 1, 1.0, "input"), ("mul", 0, -1.0, "neg"), ("mul", 1, -1.0, "neg"),
    ("mul", 0, 0.0, "mul"), ("mul", 1, -0.0, "mul"), ("div", 1, 1.0, "input"), ("div", 1, -1.0, "neg"),
    ("div", 0, 1.0, "div"), ("div", 1, 0.0, "div"), ("div", 1, 4.0, "mul"), ("div", 1, 3.0, "div"),
    ("div", 1, 2.0**-1022, "mul"), ("div", 1, 2.0**-1024, "div"), ("div", 1, -5e-324, "div"),   # whose inverse is inf
]  # fmt: skip


@pytest.mark.parametrize(("op", "at", "constant", "expected"), NEUTRAL)
def test_neutral_elements_on_corners(op, at, constant, expected):
    """The bits of the value, its sign included, and the gradient are those of the engine and of PyTorch."""
    torch = pytest.importorskip("torch")
    of_torch = {"add": torch.add, "sub": torch.sub, "mul": torch.mul, "div": torch.div}[op]
    g = Graph()
    operands = [g.input(), g.constant(constant)]
    g.outputs = [g.add(op, *(operands[::-1] if at == 0 else operands))]
    made = simplify(g)
    assert made[made.outputs[0]].op == expected
    for x in CORNERS + EXTREMES:
        t, c = (torch.tensor(v, dtype=torch.float64, requires_grad=True) for v in (x, constant))
        out = of_torch(c, t) if at == 0 else of_torch(t, c)
        out.backward()
        (value,), gradients = run(made, [x], [])
        assert same(value, out.item()), x
        assert same(value, run(g, [x], [])[0][0]), x
        assert close(gradients, [t.grad.item()]), x


def same(x, y):
    """Whether two numbers have the same bits, or both are nan."""
    return (x != x and y != y) or (x == y and math.copysign(1, x) == math.copysign(1, y))


@pytest.mark.parametrize("exponent", POWERS)
def test_powers_become_cheaper_operations(exponent):
    g = Graph()
    g.outputs = [g.add("pow", g.input(), g.constant(exponent))]
    made = simplify(g)
    assert "pow" not in {made[e].op for e in made.outputs}
    for x in CORNERS + EXTREMES:
        if exponent == -0.5 and math.copysign(1, x) < 0 and x in (0.0, -INF):
            continue    # docs/differences.md
        values, gradients = run(made, [x], [])
        v = Value(x)
        out = v**exponent
        out.backward()
        assert close(values, [out.data]), x
        assert close(gradients, [v.grad]), x


@pytest.mark.parametrize("exponent", POWERS)
def test_powers_have_the_corners_of_torch(exponent):
    """Infinities, zeros with their signs, what overflows and what vanishes: the value and the gradient."""
    torch = pytest.importorskip("torch")
    g = Graph()
    g.outputs = [g.add("pow", g.input(), g.constant(exponent))]
    made = simplify(g)
    for x in CORNERS + EXTREMES:
        if exponent == -0.5 and math.copysign(1, x) < 0 and x in (0.0, -INF):
            continue    # docs/differences.md
        t = torch.tensor(x, dtype=torch.float64, requires_grad=True)
        out = t**exponent
        out.backward()
        (value,), (gradient,) = run(made, [x], [])
        for ours, theirs in ((value, out.item()), (gradient, t.grad.item())):
            # PyTorch divides 1 by x * x, which is infinite before x ** -2 is 0. What is subnormal has few digits.
            assert close([ours], [theirs]) or abs(ours - theirs) < 2.3e-308, x
            if abs(theirs) > 2.3e-308:
                assert math.isclose(ours, theirs, rel_tol=1e-15), x


@pytest.mark.parametrize(("exponent", "most"), [(3.0, (2, 2)), (4.0, (2, 2)), (-1.0, (1, 2)), (-2.0, (2, 3))])
def test_the_digits_of_powers(exponent, most):
    """How many ulp the value and the gradient are from the exact ones at most, where these are normal numbers."""
    g = Graph()
    g.outputs = [g.add("pow", g.input(), g.constant(exponent))]
    made, source, n = simplify(g), random.Random(0), int(exponent)
    for _ in range(3000):
        x = source.uniform(1, 2) * 2.0 ** source.randint(-70, 70) * source.choice([1, -1])
        found, exact = run(made, [x], []), (Fraction(x) ** n, n * Fraction(x) ** (n - 1))
        for (ours,), right, ulps in zip(found, exact, most, strict=True):
            assert abs(Fraction(ours) - right) <= ulps * Fraction(math.ulp(float(right))), x


def test_a_power_of_0_is_left_where_its_slope_meets_others():
    """The slope of sqrt at 0 is infinite; 0 times that is nan, in PyTorch and in the engine."""
    g = Graph()
    g.outputs = [g.add("pow", g.add("sqrt", g.input()), g.constant(0.0))]
    made = simplify(g)
    assert made[made.outputs[0]].op == "pow"
    assert math.isnan(run(made, [0.0], [])[1][0])
    assert math.isnan(run(g, [0.0], [])[1][0])


def test_sums_keep_their_order_and_forms():
    g = Graph()
    x, y, w, b = g.input(), g.input(), g.parameter(), g.parameter()
    total = g.add("add", g.add("add", g.add("mul", x, w), g.add("mul", y, w)), b)
    g.outputs = [total, g.add("sub", g.add("add", b, w), g.add("mul", x, y))]
    made = sums(g)
    dense, products = made.outputs
    assert made[dense].op == "dense"
    assert made[products].op == "products"
    assert run(made, [1e17, -1e17], [1.0, 1e-3])[0] == run(g, [1e17, -1e17], [1.0, 1e-3])[0]


def test_the_stages_of_a_program():
    w = Value(3.0)
    f = compile(lambda x, y: (x**2 + w * y + w * x).tanh())
    stages = f.program(1.0, 2.0).stages
    assert list(stages) == ["recorded", "simplify", "sums"]
    assert [[e.op for e in stages[name] if e.operands] for name in stages] == [
        ["pow", "mul", "add", "mul", "add", "tanh"],
        ["mul", "mul", "add", "mul", "add", "tanh"],
        ["products", "tanh"],
    ]


def test_a_constant_that_somebody_looked_at_is_no_parameter():
    w = Value(2.0)

    def f(x):
        y = x * 3 + w
        for v in y._children:      # 3 becomes a leaf, to be seen
            assert v is w or len(v._children) == 2
        return y

    program = compile(f).program(1.0)
    assert program.parameters == (w,)
    assert program.stages["recorded"].parameter_count == 1
    assert program(np.array([[5.0]])).tolist() == [[17.0]]
    assert compile(f).mean(np.ones(3)).data == 5.0


def test_a_program_holds_nothing_but_parameters():
    w, x = Value(2.0), Value(1.0)
    before = sys.getrefcount(x)
    node = (w * x).tanh()
    made = Program(node, [x])
    assert sys.getrefcount(x) > before
    del node
    assert sys.getrefcount(x) == before
    assert made(np.array([[0.5]])).tolist() == [[pytest.approx(math.tanh(1.0), rel=1e-15)]]


def test_what_cannot_be_replayed_is_refused():
    x = Value(1.0)
    with pytest.raises(CompileError, match="has a rule of its own"):
        Program(x.func(math.exp), [x])


def test_stages_are_printed_when_asked_for(run_python):
    out = run_python("""
import contextlib, io
from microgradc import compile
with contextlib.redirect_stderr(io.StringIO()) as shown:
    compile(lambda x: x ** 2).map([1.0, 2.0])
print(shown.getvalue())
""", MICROGRADC_DEBUG="program")
    assert "simplify:\n%0 = input 0\n" in out
    assert "= mul %0, %0\nreturn" in out
