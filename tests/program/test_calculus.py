"""Derivatives as operations: each row of the table, backward and forward, against backward(), PyTorch and central
differences; in graphs; of random functions; of deep graphs."""

import copy
import itertools
import math
import random

import pytest
import torch
from corners import CORNERS, INF
from engine.test_table import ROWS as IN_TORCH
from engine.test_table import grid, same, smooth_points
from test_graph import close, grown, run

import microgradc
from microgradc import Value, compile, engine, gradients
from microgradc.engine.value import operations_of
from microgradc.program import rules
from microgradc.program.calculus import adjoints, tangents, tangents_of
from microgradc.program.graph import Graph
from microgradc.program.rules import rule, wide_rule

BY_NAME = {row.name: row for row in engine.TABLE}
# PyTorch has no derivatives of these, or none with respect to a parameter.
BY_DIFFERENCES = {"FLOORDIV", "LESS", "LESS_EQUAL", "STEP", "ELU"}


@pytest.mark.parametrize("name", BY_NAME)
def test_first_derivatives_are_those_of_backward(name):
    row, wrong = BY_NAME[name], []
    for point in grid(row):
        operands = list(map(Value, point))
        out = IN_TORCH[name][1](*operands)
        out.backward()
        for v, slope in zip(operands, gradients(out, operands), strict=True):
            if not (slope.data == v.grad or (slope.data != slope.data and v.grad != v.grad)):
                wrong.append((point, slope.data, v.grad))
    assert not wrong


def test_every_column_is_operations():
    for row in engine.TABLE:
        for column in ("gx", "gy", "gz")[: row.operands]:
            steps = rule(row.name.lower(), column)
            assert all(type(step) in (str, float) or step[0].upper() in BY_NAME for step in steps)
            assert bool(steps) == (getattr(row, column) != "0")


def test_a_column_that_is_none_says_so(monkeypatch):
    monkeypatch.setitem(rules.ROWS, "odd", BY_NAME["SIN"]._replace(gx="g * bessel(x)"))
    with pytest.raises(NotImplementedError, match=r"derivative of odd has no derivative of its own: bessel\(x\)"):
        rule("odd", "gx")
    monkeypatch.setitem(rules.ROWS, "odd", BY_NAME["SIN"]._replace(gy="x > 0 ? g : 0"))
    with pytest.raises(NotImplementedError, match="derivative of odd"):
        rule("odd", "gy")


def derivatives_in_torch(f, point, order):
    tensors = [torch.tensor(x, dtype=torch.float64, requires_grad=True) for x in point]
    levels, current = [], [f(*tensors)]
    for _ in range(order):
        following = []
        for y in current:
            found = (
                torch.autograd.grad(y, tensors, create_graph=True, allow_unused=True)
                if y.requires_grad
                else [None] * len(tensors)
            )
            following += [torch.zeros((), dtype=torch.float64) if t is None else t for t in found]
        current = following
        levels.append([t.item() for t in current])
    return levels


def derivatives(f, point, order):
    xs = list(map(Value, point))
    levels, current = [], [f(*xs)]
    for _ in range(order):
        current = [g for y in current for g in gradients(y, xs)]
        levels.append([g.data for g in current])
    return levels


def slopes(f, point, order):
    """Central differences of derivatives one order below, by Richardson's extrapolation."""
    count, found = len(point), []

    def below(j, h):
        return derivatives(f, [x + h * (i == j) for i, x in enumerate(point)], order - 1)[-1]

    by_operand = []
    for j in range(count):
        h = 1e-3 * max(1.0, abs(point[j]))
        rows = [
            [(a - b) / (2 * s) for a, b in zip(below(j, s), below(j, -s), strict=True)] for s in (h, h / 2, h / 4)
        ]
        once = [[(4 * b - a) / 3 for a, b in zip(*pair, strict=True)] for pair in (rows[:2], rows[1:])]
        by_operand.append([(16 * b - a) / 15 for a, b in zip(*once, strict=True)])
    for e in range(len(by_operand[0])):
        found += [by_operand[j][e] for j in range(count)]
    return found


@pytest.mark.parametrize("name", BY_NAME)
def test_second_and_third_derivatives(name):
    row, (in_torch, ours) = BY_NAME[name], IN_TORCH[name]
    for point in smooth_points(row):
        f, f_in_torch, numbers = ours, in_torch, point
        if name == "POLYGAMMA":      # of x alone: n is an integer
            n, numbers = int(point[0]), point[1:]
            f, f_in_torch = (lambda x, n=n: microgradc.polygamma(n, x)), (lambda t, n=n: torch.polygamma(n, t))
        levels = derivatives(f, numbers, 3)
        if name in BY_DIFFERENCES:
            for order in (2, 3):
                assert levels[order - 1] == pytest.approx(slopes(f, numbers, order), rel=1e-9, abs=1e-9), point
        else:
            for got, expected in zip(levels, derivatives_in_torch(f_in_torch, numbers, 3), strict=True):
                assert got == pytest.approx(expected, rel=1e-9, abs=1e-11), point


# Where PyTorch's derivatives are not those of its own first ones, so ours are others:
# - leaky_relu(x, a) at x = 0: the first one with respect to x is a there, whose slope in a is 1; PyTorch says 0;
# - binary cross-entropy of a prediction of 0 or 1: 1 / (x (1 - x)) is bounded there by 1e12, which PyTorch's second
#   backward leaves out.
EXPLAINED = {"LEAKY_RELU": lambda x, a: x == 0, "BCE": lambda x, y: x in (0, 1)}
AT_CORNERS = sorted(set(BY_NAME) - (BY_DIFFERENCES - {"ELU"}) - {"POLYGAMMA"})      # which has an integer


@pytest.mark.parametrize("name", AT_CORNERS)
def test_second_and_third_derivatives_at_ties_and_corners(name):
    """Where both are numbers: PyTorch has others than we where a formula meets inf - inf or 0 * inf."""
    row, (in_torch, ours), wrong = BY_NAME[name], IN_TORCH[name], []
    corners = [0.0, -0.0, 1.0, -1.0, 0.5, 2.0, -2.0, 3.0, 20.0, -20.0]
    if row.operands == 3:
        corners = corners[:6]
    for point in itertools.product(corners, repeat=row.operands):
        f, f_in_torch, numbers = ours, in_torch, point
        if name == "ELU":        # of x alone
            f, f_in_torch = (lambda x, a=point[1]: x.elu(a)), (lambda t, a=point[1]: torch.nn.functional.elu(t, a))
            numbers = point[:1]
        if name in EXPLAINED and EXPLAINED[name](*point):
            continue
        if name == "BCE" and not all(0 <= x <= 1 for x in point):       # PyTorch refuses them
            continue
        levels = zip(derivatives(f, numbers, 3)[1:], derivatives_in_torch(f_in_torch, numbers, 3)[1:], strict=True)
        for order, pairs in enumerate(levels, 2):
            for got, expected in zip(*pairs, strict=True):
                are_numbers = math.isfinite(got) and math.isfinite(expected)
                if are_numbers and got != pytest.approx(expected, rel=1e-9, abs=1e-9):
                    wrong.append((order, point, got, expected))
    assert not wrong


@pytest.mark.parametrize("name", EXPLAINED)
def test_what_is_explained_is_so(name):
    """The second derivatives are those of the first ones: by differences where these are smooth."""
    if name == "LEAKY_RELU":
        assert derivatives(IN_TORCH[name][1], (0.0, 0.3), 2)[1] == [0.0, 1.0, 1.0, 0.0]
        assert derivatives(IN_TORCH[name][1], (0.0, 0.3 + 1e-3), 1)[0][0] == 0.3 + 1e-3
        assert derivatives_in_torch(IN_TORCH[name][0], (0.0, 0.3 + 1e-3), 1)[0][0] == 0.3 + 1e-3
    else:
        (slope, _), (_, mixed, *_) = derivatives(IN_TORCH[name][1], (0.0, 1.0), 2)
        (nearer, _), = derivatives(IN_TORCH[name][1], (0.0, 0.5), 1)
        assert mixed == pytest.approx((slope - nearer) / 0.5, rel=1e-9)
        assert derivatives_in_torch(IN_TORCH[name][0], (0.0, 1.0), 1)[0][0] == pytest.approx(slope, rel=1e-6)


def count(*values):
    return len({id(node) for v in values for node, op, *_ in operations_of(v) if op != "leaf"})


def swing(y, w, steps=30):
    for _ in range(steps):
        y, w = y + w * 0.01, w - (microgradc.sin(y) * 9.81 + w * 0.1) * 0.01
    return y


def test_how_large_the_graph_of_gradients_is():
    x = [Value(0.1 * i) for i in range(100)]
    rosenbrock = microgradc.sum([100 * (b - a * a) ** 2 + (1 - a) ** 2 for a, b in itertools.pairwise(x)])
    start = [Value(1.0), Value(0.0)]
    model = microgradc.nn.MLP(2, [16, 16, 1], activation="tanh", seed=0)
    for y, leaves, most in (
        (rosenbrock, x, 2.3), (swing(*start), start, 2.3), (model([0.3, 0.4]), model.parameters(), 8.0),
    ):  # fmt: skip
        assert 1 < count(y, *gradients(y, leaves)) / count(y) <= most


WIDE = {
    "sum": lambda x, y, z: microgradc.sum([x, y * z, 3.0, x]) ** 3,
    "mean": lambda x, y, z: microgradc.mean([x, y * z, 3.0, x]) ** 3,
    "dot": lambda x, y, z: microgradc.dot([x, y, 2.0], [y, z, x], x * z) ** 2 * microgradc.dot([x], [x]),
    "logsumexp": lambda x, y, z: microgradc.logsumexp([x * y, 1.0, z, x]) * y,
    "large logsumexp": lambda x, y, z: microgradc.logsumexp([100 * x * y, z + 100, z * x]) * y,
    "softmax": lambda x, y, z: microgradc.dot(microgradc.softmax([x * y, z, x]), [1.0, y, z * z]),
}


def wide_in_torch(name, x, y, z):
    three, s = torch.tensor(3.0, dtype=torch.float64), torch.stack
    if name in ("sum", "mean"):
        entries = s([x, y * z, three, x])
        return (entries.sum() if name == "sum" else entries.mean()) ** 3
    if name == "dot":
        return (x * y + y * z + 2 * x + x * z) ** 2 * x * x
    if name == "logsumexp":
        return torch.logsumexp(s([x * y, three / 3, z, x]), 0) * y
    if name == "large logsumexp":
        return torch.logsumexp(s([100 * x * y, z + 100, z * x]), 0) * y
    return torch.softmax(s([x * y, z, x]), 0) @ s([three / 3, y, z * z])


@pytest.mark.parametrize("name", WIDE)
def test_wide_operations(name):
    for point in [(0.3, 0.7, -1.2), (1.5, 0.6, 0.4), (-0.2, 2.0, 0.9)]:
        levels = derivatives(WIDE[name], point, 3)
        theirs = derivatives_in_torch(lambda *t: wide_in_torch(name, *t), point, 3)
        for got, expected in zip(levels, theirs, strict=True):
            assert got == pytest.approx(expected, rel=1e-9, abs=1e-10)


@pytest.mark.parametrize("values", [(1e300, 1e300), (1e3, 1e3 + 1), (INF, 1.0), (-INF, -INF), (-INF, 2.0), (40.0, 1.0)])
def test_logsumexp_of_large_numbers(values):
    operands = list(map(Value, values))
    out = microgradc.logsumexp(operands)
    out.backward()
    for v, g in zip(operands, gradients(out, operands), strict=True):
        assert same(g.data, v.grad)
    compiled = compile(lambda a, b: gradients(microgradc.logsumexp([a, b]), [a, b]))
    assert all(same(g.data, v.grad) for g, v in zip(compiled(*values), operands, strict=True))


def test_a_wide_operation_without_a_rule_says_so(monkeypatch):
    assert wide_rule("sum") == ("g",)
    with pytest.raises(NotImplementedError, match="derivative of mean has no derivative of its own"):
        wide_rule("mean")
    monkeypatch.setattr(rules, "wide_column", lambda op: "2 * g * v")
    assert wide_rule.__wrapped__("sumsq") == (2.0, "g", ("mul", 2), "v", ("mul", 2))


# Random graphs


@pytest.mark.parametrize("seed", range(60))
def test_random_graphs_backward_and_forward(seed):
    g, source = grown(seed), random.Random(seed)
    numbers = [source.uniform(0.1, 2.0) for _ in range(4)]
    values, expected = run(g, numbers[:2], numbers[2:])
    if not all(map(math.isfinite, values + expected)):
        return
    leaves = [Value(x) for x in numbers]
    outputs = [v if isinstance(v, Value) else Value(v) for v in g.values(leaves[:2], leaves[2:])]
    assert close([v.data for v in gradients(microgradc.sum([*outputs, 0.0]), leaves)], expected)
    directions = [source.uniform(-1, 1) for _ in leaves]
    found = sum(t.data for t in tangents_of(outputs, leaves, directions))
    assert close([found], [sum(a * b for a, b in zip(directions, expected, strict=True))])
    # In the graph
    backward, forward = adjoints(copy.copy(g)), tangents(g)
    received = [float(getattr(v, "data", v)) for v in backward.values(numbers[:2], numbers[2:])]
    assert close(received, [*values, *expected])
    given = [float(getattr(v, "data", v)) for v in forward.values([*numbers[:2], *directions[:2]], numbers[2:])]
    assert given[: len(values)] == values
    assert close([sum(given[len(values) :])], [sum(a * b for a, b in zip(directions[:2], expected, strict=False))])


@pytest.mark.parametrize("seed", range(40))
def test_second_derivatives_of_random_graphs_in_torch(seed):
    source = random.Random(seed)
    numbers = [source.uniform(0.3, 1.5) for _ in range(3)]

    def f(*xs, unary, source_seed=seed):
        choose, nodes = random.Random(source_seed), list(xs)
        for _ in range(12):
            a, b = choose.choice(nodes[-6:]), choose.choice(nodes)
            kind = choose.choice(["add", "sub", "mul", "div", "tanh", "sin", "sigmoid", "exp"])
            if kind == "div":
                nodes.append(a / (b * b + 1.0))
            elif kind in ("add", "sub", "mul"):
                nodes.append({"add": a + b, "sub": a - b, "mul": a * b}[kind])
            else:
                nodes.append(unary(kind, a if kind != "exp" else a * 0.1))
        return nodes[-1]

    def ours(*xs):
        return f(*xs, unary=lambda kind, v: getattr(microgradc, kind)(v))

    def theirs(*xs):
        return f(*xs, unary=lambda kind, t: getattr(torch, kind)(t))

    for got, expected in zip(derivatives(ours, numbers, 3), derivatives_in_torch(theirs, numbers, 3), strict=True):
        assert got == pytest.approx(expected, rel=1e-9, abs=1e-9)

    def second(*xs):
        return [g for y in gradients(ours(*xs), list(xs)) for g in gradients(y, list(xs))]

    assert [v.data for v in compile(second)(*numbers)] == pytest.approx(
        derivatives(ours, numbers, 2)[1], rel=1e-9, abs=1e-12
    )


# What is asked for


def test_structures():
    x, y = Value(2.0), Value(3.0)
    z = x * x * y
    assert gradients(z, x).data == 12.0
    assert [g.data for g in gradients(z, (x, y))] == [12.0, 4.0]
    assert type(gradients(z, (x, y))) is list
    assert {k: g.data for k, g in gradients(z, {"a": x, "b": y}).items()} == {"a": 12.0, "b": 4.0}
    assert [[g.data for g in row] for row in gradients(z, [[x], [y, x]])] == [[12.0], [4.0, 12.0]]
    assert gradients(z, z).data == 1.0
    assert gradients(z, Value(1.0)).data == 0.0
    assert gradients(3.0, x).data == 0.0
    assert (x.grad, y.grad, z.grad) == (0, 0, 0)


def test_inner_nodes():
    x = Value(2.0)
    h = x * x
    y = h * h * x
    assert [g.data for g in gradients(y, [h, x])] == [16.0, 80.0]
    slope = gradients(y, x)
    assert gradients(slope, h).data == pytest.approx(2 * 4.0 + 4 * 2.0 * 2.0)    # h**2 + 2 h x 2 x, of h


@pytest.mark.parametrize(("y", "xs"), [("y", [Value(1.0)]), (Value(1.0), [1.0]), (Value(1.0), "x"), (None, Value(1.0))])
def test_bad_input(y, xs):
    with pytest.raises(TypeError, match="must be a Value"):
        gradients(y, xs)


def test_nodes_with_rules_of_their_own():
    x = Value(2.0)
    given = Value(8.0, (x,), (12.0,))
    given.label = "cube"
    first = gradients(given * x, x)
    assert first.data == 8.0 + 2 * 12.0
    with pytest.raises(TypeError, match="the node 'd cube' has a rule of its own"):
        gradients(first, x)
    with pytest.raises(TypeError, match="the node 'cube' has a rule of its own"):
        first.backward()
    closure = Value(4.0, (x,), "square of mine")
    closure._backward = lambda: None
    with pytest.raises(TypeError, match="'square of mine' has a rule of its own"):
        gradients(closure, x)
    for compiled in (compile(lambda a: a * a * a), compile(lambda a: [a * a * a, a])):
        out = compiled(x)
        out = out[0] if isinstance(out, list) else out
        slope = gradients(out, x)
        assert slope.data == 12.0
        with pytest.raises(TypeError, match="inside of the compiled function"):
            gradients(slope, x)


def test_deep_graphs():
    x = Value(0.5)
    v = x
    for _ in range(8_000):
        v = v * 0.99999 + x * 1e-6
    first = gradients(v * v, x)
    slope = gradients(v, x).data
    assert first.data == pytest.approx(2 * v.data * slope)
    assert gradients(first, x).data == pytest.approx(2 * slope**2)


def test_what_several_dots_send_is_one_dot():
    x, weights = [Value(0.1 * i) for i in range(4)], [[Value(0.3 * i - j) for i in range(4)] for j in range(5)]
    hidden = [v.tanh() for v in microgradc.linear(x, weights)]
    slopes_of = gradients(microgradc.dot(hidden, [1.0, 2.0, 3.0, 4.0, 5.0]), x)
    assert [g._op for g in slopes_of] == ["dot"] * 4
    assert [len(g._children) for g in slopes_of] == [10] * 4


def test_the_second_derivative_of_a_network_in_a_compiled_function():
    model = microgradc.nn.MLP(2, [8, 8, 1], activation="tanh", seed=0)

    def residual(t, x):
        u = model([t, x])
        u_t, u_x = gradients(u, [t, x])
        return u_t - 0.1 * gradients(u_x, x)

    compiled = compile(residual)
    eager = residual(Value(0.3), Value(0.7))
    assert compiled(0.3, 0.7).data == pytest.approx(eager.data, rel=1e-12)
    (eager * eager).backward()
    expected = [p.grad for p in model.parameters()]
    model.zero_grad()
    total = compile(lambda t, x: residual(t, x) ** 2).mean([0.3, 0.3], [0.7, 0.7])
    total.backward()
    assert [p.grad for p in model.parameters()] == pytest.approx(expected, rel=1e-9, abs=1e-12)


def test_an_index_in_a_compiled_function():
    table = [Value(0.5), Value(-1.0), Value(2.0)]

    def f(i, x):
        return gradients(microgradc.take(table, i) ** 2 * x**3, [x, table[1], table[2]])

    compiled = compile(f)
    for i, v in enumerate(table):
        got = [g.data for g in compiled(i, 2.0)]
        assert got == pytest.approx([v.data**2 * 12, *(2 * v.data * 8 * (i == k) for k in (1, 2))])


def test_graphs_with_the_operations_of_graphs():
    g = Graph()
    x, y, w, v = g.input(), g.input(), g.parameter(), g.parameter()
    dense = g.add("dense", x, y, w, v, w)
    loss = g.add("cross_entropy", g.constant(1.0), dense, g.add("products", x, y, w, v), v)
    g.outputs = [g.add("mul", loss, dense)]
    numbers = [0.3, -0.8, 1.1, 0.4]
    values, expected = run(g, numbers[:2], numbers[2:])
    found = [v.data for v in adjoints(g).values(map(Value, numbers[:2]), map(Value, numbers[2:]))]
    assert found == pytest.approx([*values, *expected], rel=1e-12)


def test_a_square_at_corners():
    for x in CORNERS:
        v = Value(x)
        assert same(gradients(v**2, v).data, 2 * x)
