"""Every row of ops.h: a method or function, a stub, a docstring; values and gradients against PyTorch and finite
differences."""

import inspect
import itertools
import math
import pickle
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from corners import CORNERS, INF, NAN, PAIRS, TRIPLES

import microgradc
from microgradc import Value, engine
from microgradc.checking.torch_rows import torch_rows
from microgradc.engine import functions
from microgradc.engine.value import operate, plain_number

BY_NAME = {row.name: row for row in engine.TABLE}

# How one writes a row here, where that is not a method of one operand, or a function of more.
WRITTEN = {
    "ADD": lambda x, y: x + y,
    "SUB": lambda x, y: x - y,
    "MUL": lambda x, y: x * y,
    "DIV": lambda x, y: x / y,
    "POW": lambda x, y: x**y,
    "FLOORDIV": lambda x, y: x // y,
    "MOD": lambda x, y: x % y,
    "NEG": lambda x: -x,
    "ABS": abs,
    "LEAKY_RELU": Value.leaky_relu,
    "ELU": Value.elu,
    "POLYGAMMA": lambda n, x: operate("polygamma", n, x),
}
TORCH = torch_rows()


def written(name):
    return WRITTEN.get(name) or getattr(Value if BY_NAME[name].operands == 1 else microgradc, name.lower())


# For each row: how PyTorch computes it, and how one writes it here.
ROWS = {name: (TORCH[name.lower()], written(name)) for name in BY_NAME if name.lower() in TORCH}
# PyTorch has no derivative for these in some operands.
NO_TORCH_GRADIENT = {"FLOORDIV", "LESS", "LESS_EQUAL", "STEP"}


def grid(row):
    if row.name == "ELU":
        return [(x, alpha) for x, alpha in PAIRS if math.isfinite(alpha)]
    if row.name == "POLYGAMMA":
        return list(itertools.product([0.0, 1.0, 2.0, 3.0], [x for x in CORNERS if abs(x) < 1e3 or x != x]))
    if row.name == "BCE":  # PyTorch refuses what is not a probability
        return list(
            itertools.product(
                [0.0, -0.0, 5e-324, 1e-300, 1e-44, 1e-13, 0.1, 0.5, 0.7, 1 - 1e-9, 1 - 2**-53, 1.0], repeat=2
            )
        )
    return {1: [(x,) for x in CORNERS], 2: PAIRS, 3: TRIPLES}[row.operands]


def same(a, b, absolute=1e-300):
    return (a != a and b != b) or a == b or math.isclose(a, b, rel_tol=1e-12, abs_tol=absolute)


def test_every_row_is_tested():
    assert set(ROWS) == set(BY_NAME)
    assert set(TORCH) - {name.lower() for name in BY_NAME} == {"sum", "mean", "logsumexp", "take", "dot"}


@pytest.mark.parametrize("name", BY_NAME)
def test_value_as_in_pytorch(name):
    in_torch, ours = ROWS[name]
    wrong = []
    for point in grid(BY_NAME[name]):
        expected = in_torch(*(torch.tensor(x, dtype=torch.float64) for x in point)).item()
        got = ours(*map(Value, point)).data
        # PyTorch's vector library flushes tiny results and is 1 ulp off at some points; nothing else may differ.
        if not same(got, expected):
            wrong.append((point, got, expected))
    assert not wrong


@pytest.mark.parametrize("name", BY_NAME)
def test_gradient_as_in_pytorch(name):
    in_torch, ours = ROWS[name]
    row = BY_NAME[name]
    wrong = []
    for point in grid(row):
        operands = list(map(Value, point))
        out = ours(*operands)
        (out * 3.0).backward()
        if name in NO_TORCH_GRADIENT:
            assert [v.grad for v in operands] == [0.0] * len(point)
            continue
        tensors = [torch.tensor(x, dtype=torch.float64, requires_grad=True) for x in point]
        (in_torch(*tensors) * 3.0).backward()
        if any(x != x for x in point):
            continue  # where a nan came in, the masks of different versions of PyTorch differ
        for v, t in zip(operands, tensors, strict=True):
            expected = 0.0 if t.grad is None else t.grad.item()
            # PyTorch's tanh is 1 ulp off at 7.25, which 1 - f * f magnifies.
            if not same(v.grad, expected, absolute=1e-15 if name == "TANH" else 1e-300):
                wrong.append((point, v.grad, expected))
    assert not wrong


SMOOTH = {
    1: [(0.3,), (0.7,), (1.9,), (-0.4,), (-1.3,)],
    2: [(0.3, 0.8), (1.7, -0.6), (2.5, 2.1)],
    3: [(1.0, 0.4, 2.0), (0.0, 0.4, 2.0), (3.0, 0.4, 2.0)],
}


def smooth_points(row):
    for point in [(0.0, 0.3), (1.0, 1.9), (3.0, 2.5)] if row.name == "POLYGAMMA" else SMOOTH[row.operands]:
        if not math.isnan(ROWS[row.name][1](*map(Value, point)).data):
            yield point


@pytest.mark.parametrize("name", BY_NAME)
def test_gradient_by_finite_differences(name):
    row, ours = BY_NAME[name], ROWS[name][1]
    points = list(smooth_points(row))
    assert points
    for point in points:
        operands = list(map(Value, point))
        ours(*operands).backward()
        for i, v in enumerate(operands):
            if (name in ("WHERE", "POLYGAMMA") and i == 0) or name == "STRAIGHT_THROUGH":   # that of another value
                continue
            h = 1e-5
            above, below = (ours(*(Value(x + d * (j == i)) for j, x in enumerate(point))).data for d in (h, -h))
            assert v.grad == pytest.approx((above - below) / (2 * h), rel=1e-7, abs=1e-8), point


SHARED_NAMES = "exp log log1p sqrt sin cos sinh cosh tanh erf sigmoid expm1 minimum maximum where step".split()
NAMESPACE = {name: getattr(functions, name) for name in [*SHARED_NAMES, "digamma"]}
NAMESPACE |= {
    "polygamma": ROWS["POLYGAMMA"][1],
    "pow": lambda x, y: x**y,
    "floordiv": lambda x, y: x // y,
    "LN_2": math.log(2),
    "LN_10": math.log(10),
    "SELU_SCALE": 1.0507009873554804934193349852946,
    "SELU_SCALE_ALPHA": 1.0507009873554804934193349852946 * 1.6732632423543772848170429916717,
    "SQRT_HALF": math.sqrt(0.5),
    "TWO_OVER_SQRT_PI": 2 / math.sqrt(math.pi),
    "BCE_EPSILON": torch.tensor(1e-12, dtype=torch.float32).item(),
    "NORMAL_DENSITY_0": 1 / math.sqrt(2 * math.pi),
}


@pytest.mark.parametrize("name", BY_NAME)
def test_second_derivative_from_the_rule_text(name):
    """The text of a gradient column, evaluated with Values, builds the gradient's graph; its gradient is the second
    derivative."""
    row, (in_torch, ours) = BY_NAME[name], ROWS[name]
    for point in smooth_points(row):
        for i, rule in enumerate((row.gx, row.gy, row.gz)[: row.operands]):
            operands = [Value(x) for x in point]
            scope = dict(zip("xyz", operands, strict=False), f=ours(*operands), g=Value(1.0), **NAMESPACE)
            first = eval(rule, scope)
            tensors = [torch.tensor(x, dtype=torch.float64, requires_grad=True) for x in point]
            if name in NO_TORCH_GRADIENT:
                assert plain_number(first) == 0.0
                continue
            first_t = torch.autograd.grad(in_torch(*tensors), tensors, create_graph=True, allow_unused=True)[i]
            if first_t is None:
                assert plain_number(first) == 0.0
                continue
            assert plain_number(first) == pytest.approx(first_t.item(), rel=1e-12, abs=1e-15)
            if not first_t.requires_grad:
                continue
            seconds_t = torch.autograd.grad(first_t, tensors, allow_unused=True)
            if isinstance(first, Value):
                first.backward()
            for v, t in zip(operands, seconds_t, strict=True):
                assert v.grad == pytest.approx(0.0 if t is None else t.item(), rel=1e-11, abs=1e-13), (point, rule)


# Where an exponent that is a number does what one that is a tensor does: docs/differences.md.
C_POWERS = {(1.5, -INF), (1.5, -0.0)}


@pytest.mark.parametrize("x", [INF, -INF, 0.0, -0.0, 5e-324, 2.0, -2.0, NAN])
@pytest.mark.parametrize("exponent", [0.5, -0.5, 1.5, -1.5, 2, 3, -1, 1, 0, 2.5])
def test_a_number_as_exponent_and_a_value(x, exponent):
    """PyTorch takes the root where the exponent is the number 1/2, and not where it is a tensor."""
    for of_us, of_torch in [(exponent, exponent), (Value(exponent), torch.tensor(exponent, dtype=torch.float64))]:
        v, t = Value(x), torch.tensor(x, dtype=torch.float64, requires_grad=True)
        if (exponent, x) in C_POWERS and of_us is exponent:
            of_torch = torch.tensor(exponent, dtype=torch.float64)
        ours, theirs = v**of_us, t**of_torch
        ours.backward()
        theirs.backward()
        assert same(ours.data, theirs.item())
        assert math.copysign(1, ours.data) == math.copysign(1, theirs.item()) or ours.data != ours.data
        assert same(v.grad, t.grad.item())
        assert same(ours._local_grads[0], v.grad)


@pytest.mark.parametrize("name", ["ELU", "RELU", "SELU", "HARDTANH"])
def test_the_slope_at_nan(name):
    row, (in_torch, ours) = BY_NAME[name], ROWS[name]
    point = (NAN, 1.5)[: row.operands]
    v, t = Value(NAN), torch.tensor(NAN, dtype=torch.float64, requires_grad=True)
    ours(v, *point[1:]).backward()
    in_torch(t, *(torch.tensor(x, dtype=torch.float64) for x in point[1:])).backward()
    assert same(v.grad, t.grad.item())


@pytest.mark.parametrize("base", [0.0, -0.0])
def test_zero_to_the_power_of_nan(base):
    x, y = Value(base), Value(NAN)
    (x**y).backward()
    t, s = (torch.tensor(v, dtype=torch.float64, requires_grad=True) for v in (base, NAN))
    (t**s).backward()
    assert same(x.grad, t.grad.item())
    assert same(y.grad, s.grad.item())


@pytest.mark.parametrize("n", [0, 1, 2, 3, 5])
def test_polygamma(n):
    for x in [0.3, 1.0, 2.5, 11.0, 30.0]:
        v, t = Value(x), torch.tensor(x, dtype=torch.float64, requires_grad=True)
        ours, theirs = functions.polygamma(n, v), torch.polygamma(n, t)
        ours.backward()
        theirs.backward()
        assert ours.data == pytest.approx(theirs.item(), rel=1e-13)
        assert v.grad == pytest.approx(t.grad.item(), rel=1e-13)
        assert functions.polygamma(n, np.array([x])) == pytest.approx(theirs.item(), rel=1e-13)
    with pytest.raises(ValueError, match="n must be at least 0, got -1"):
        functions.polygamma(-1, 1.0)
    with pytest.raises(TypeError, match="n must be an integer, got float"):
        functions.polygamma(1.0, 1.0)
    compiled = microgradc.compile(lambda x: functions.polygamma(n, x))
    assert compiled.value_and_grad(2.5) == pytest.approx((functions.polygamma(n, 2.5), functions.polygamma(n + 1, 2.5)))


METHOD_OF_OP = {"+": "add", "-": "sub", "*": "mul", "/": "truediv", "**": "pow", "//": "floordiv", "%": "mod"}
PACKAGE = Path(microgradc.__file__).parent


def stub(module):
    return (PACKAGE / f"{module}.pyi").read_text()


@pytest.mark.parametrize("name", BY_NAME)
def test_row_has_a_method_or_function_with_stub_and_docstring(name):
    row = BY_NAME[name]
    special = {"NEG": "__neg__", "ABS": "__abs__"}.get(name) or (
        f"__{METHOD_OF_OP[row.op]}__" if row.op in METHOD_OF_OP else None
    )
    if special:
        assert callable(getattr(Value, special))
        assert re.search(rf"def {special}\(", stub("engine/value"))
        return
    python_name = name.lower()
    function = getattr(microgradc, python_name)
    assert function.__doc__.startswith(row.doc)
    assert first_sentence(row.doc).startswith("Return ")
    assert first_sentence(row.doc).endswith(".")
    in_functions = rf"^{python_name}: _OfOneOperand$" if row.operands == 1 else rf"^def {python_name}\("
    assert re.search(in_functions, stub("engine/functions"), re.MULTILINE), f"{python_name}: engine/functions.pyi"
    assert inspect.signature(function)
    if row.operands == 1 or name in ("LEAKY_RELU", "ELU"):
        assert "d/dx" in getattr(Value, python_name).__doc__
        assert re.search(rf"def {python_name}\(", stub("engine/value")), f"{python_name}: engine/value.pyi"


def first_sentence(text):
    return re.split(r"(?<=\.)\s", text, maxsplit=1)[0]


@pytest.mark.parametrize(
    "name", [name for name in BY_NAME if BY_NAME[name].operands == 1 and name not in ("NEG", "ABS")]
)
def test_method_and_function_of_one_operand_are_made_from_the_row(name):
    """True builtins, with the row's documentation; where a stub repeats what is returned, it says what the row says."""
    row, python_name = BY_NAME[name], name.lower()
    method, function = vars(Value)[python_name], getattr(functions, python_name)
    assert type(method) is type(vars(int)["bit_length"])
    assert method.__doc__ == function.__doc__ == row.doc
    assert (str(inspect.signature(method)), str(inspect.signature(function))) == ("(self, /)", "(x)")
    assert (method.__qualname__, function.__name__) == (f"Value.{python_name}", python_name)
    assert function.__module__ == "microgradc.engine.functions"
    assert pickle.loads(pickle.dumps(function)) is function is getattr(microgradc, python_name)
    assert pickle.loads(pickle.dumps(method)) is method
    in_stubs = rf'(?:^{python_name}: _OfOneOperand|def {python_name}\(self\) -> Value:)\n\s*"""(.*?)"""'
    for text in re.findall(in_stubs, stub("engine/functions") + stub("engine/value"), re.MULTILINE):
        assert text == first_sentence(row.doc)

    class Subclass(Value):
        pass

    point = 1.5 if name == "ACOSH" else 0.5
    v = Value(point)
    assert type(method(Subclass(point))) is Value
    assert function(v).data == method(v).data == function(point) == function(x=point)
    assert function(np.array([point]))[0] == function(np.array([v]))[0].data == function(point)
    with microgradc.no_grad():
        assert method(v)._children == function(v)._children == ()
    for wrong in (point, None):
        with pytest.raises(TypeError, match="doesn't apply to a"):
            method(wrong)
    for arguments, named in [((), {}), ((v, v), {}), ((v,), {"x": v}), ((), {"y": v})]:
        with pytest.raises(TypeError, match=rf"^{python_name}\(\) (takes exactly 1|got an unexpected)"):
            function(*arguments, **named)


def test_functions_lists_what_it_has():
    assert len(functions.__all__) == len(set(functions.__all__)) > 40
    assert {row.name.lower() for row in engine.TABLE if hasattr(functions, row.name.lower())} < set(functions.__all__)
    assert {"sum", "softmax", "linear", "take"} < set(functions.__all__)
    assert "Value" not in functions.__all__


@pytest.mark.parametrize("name", BY_NAME)
def test_local_grads_are_what_backward_uses(name):
    row, ours = BY_NAME[name], ROWS[name][1]
    for point in smooth_points(row):
        operands = list(map(Value, point))
        out = ours(*operands)
        out.backward()
        if name == "STRAIGHT_THROUGH":      # its x is a number: not even 0 is sent to what it was made from
            operands[0] = out._children[0]
        assert out._children == tuple(operands)
        assert out._local_grads == tuple(v.grad for v in operands)


@pytest.mark.parametrize("name", [r.name for r in engine.TABLE if r.operands == 2])
def test_a_number_on_either_side(name):
    ours = ROWS[name][1]
    operators = name not in ("LEAKY_RELU", "ELU")
    for x, y in [(0.5, 2.0), (0.7, 3.0), (1.0, 1.0)] if name == "BCE" else [(1.5, 2.5), (0.7, 3.0), (2.0, 2.0)]:
        a, b = Value(x), Value(y)
        both = ours(a, b)
        both.backward()
        c = Value(x)
        right = ours(c, y)
        right.backward()
        assert (right.data, c.grad) == (both.data, a.grad)
        if operators:
            d = Value(y)
            left = ours(x, d)
            left.backward()
            assert (left.data, d.grad) == (both.data, b.grad)
            assert same(ours(Value(int(y)), int(y)).data, ours(Value(float(int(y))), Value(float(int(y)))).data)
