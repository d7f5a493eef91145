"""compare_with_torch, and the command that prints its table."""

import math
import subprocess
import sys

import pytest
import torch

import microgradc
from microgradc import Value, compare_with_torch, compile
from microgradc.checking import compare, torch_rows
from microgradc.cli.main import main

MODULE = """
import microgradc

def product(x, y):
    return (x * y).tanh()

def rosenbrock(x):
    return sum(100 * (b - a * a) ** 2 + (1 - a) ** 2 for a, b in zip(x, x[1:]))

def wrong(x, y):
    return (x + y.data * 0) * (3.0 if type(x) is microgradc.Value else 2.0)

def own(x):
    return microgradc.Value(x.data**2, (x,), (3 * x.data,))

def fails(x):
    raise ZeroDivisionError("no such x")

pi = 3.14
"""


def test_numbers_agree():
    def f(x, y):
        return (x * y).tanh() + x.exp() / y

    found = compare_with_torch(f, (0.5, -2.0))
    assert found.agrees
    assert bool(found) is True
    names = ["f", "d f / d inputs[0]", "d f / d inputs[1]"]
    names += [f"d2 f / d inputs[{i}] d inputs[{j}]" for i, j in ((0, 0), (0, 1), (1, 1))]
    assert [line.name for line in found.lines] == names
    x, y = (torch.tensor(v, dtype=torch.float64, requires_grad=True) for v in (0.5, -2.0))
    hessian = torch.autograd.functional.hessian(f, (x, y))
    theirs = [hessian[0][0].item(), hessian[0][1].item(), hessian[1][1].item()]
    assert [line.other for line in found.lines[3:]] == pytest.approx(theirs, rel=1e-14)
    assert [line.eager for line in found.lines[3:]] == pytest.approx(theirs, rel=1e-12)
    assert [line.compiled for line in found.lines[3:]] == pytest.approx(theirs, rel=1e-12)
    assert repr(found) == "<Comparison of 6 numbers: all agree>"
    assert str(found).splitlines()[0].split() == ["microgradc", "compiled", "PyTorch"]
    assert str(found).endswith("All agree.")


def test_functions_of_microgradc_run_on_tensors_by_their_graph():
    def f(x, w):
        total = microgradc.dot(w, x, 0.5)
        return [microgradc.softmax([total, x[0], 1.0])[1], microgradc.where(x[0] > 0, total.gelu(), 0.0), 2.0]

    found = compare_with_torch(f, ([0.5, -1.0], [2.0, 3.0]))
    assert found.agrees
    assert found.notes == ["Called with tensors, it raises TypeError; so its graph was run on tensors."]
    assert len(found.lines) == 3 * (1 + 4 + 10)
    assert found.lines[1].name == "d f[0] / d inputs[0][0]"
    assert compare_with_torch(compile(lambda x: microgradc.exp(x) * x), 2.0).agrees


def test_labels_and_orders():
    x = Value(2.0, label="x")
    found = compare_with_torch(lambda x: x**3, x, order=1)
    assert [line.name for line in found.lines] == ["f", "d f / d x"]
    assert (x.grad, x.data) == (0.0, 2.0)


def test_where_they_part(monkeypatch):
    rows = dict(torch_rows.torch_rows())
    rows["sigmoid"] = lambda x: torch.sigmoid(x) + 1e-6
    monkeypatch.setattr("microgradc.checking.tensors.torch_rows", lambda: rows)
    found = compare_with_torch(lambda x: microgradc.exp((x * 2).sigmoid() * 3), 0.5)
    assert not found.agrees
    assert found.parts.startswith("the value of 'sigmoid': 0.731058")
    assert "line" in found.parts
    assert "(x * 2).sigmoid()" in found.parts
    assert "differs" in str(found)
    assert str(found).endswith("3 of 3 numbers differ.")


def test_where_gradients_part(monkeypatch):
    rows = dict(torch_rows.torch_rows())
    rows["exp"] = lambda x: torch.exp(x.detach()) * (1 + 2 * (x - x.detach()))
    monkeypatch.setattr("microgradc.checking.tensors.torch_rows", lambda: rows)
    found = compare_with_torch(lambda x: microgradc.exp(x * 2.0).tanh(), 0.1)
    assert found.parts.startswith("the gradient of '*': ")


def test_what_has_a_rule_of_its_own():
    def f(x):
        return Value(x.data**2, (x,), (2 * x.data,)) * x

    found = compare_with_torch(f, 3.0)
    assert found.agrees is None
    assert bool(found) is False
    assert [line.eager for line in found.lines] == [27.0, 27.0]
    assert any("No second derivatives" in note for note in found.notes)
    assert any("Not compiled" in note for note in found.notes)
    assert found.lines[0].compiled is None


def badsq(x):
    out = Value(x.data**2, (x,), "badsq")

    def backward():
        x.grad += 3 * x.data * out.grad

    out._backward = backward
    return out


def bad_product(x):
    out = x * microgradc.exp(x)
    out._backward = lambda: None
    return out


compiled_square = compile(lambda x: x * x)

OWN_RULES = [
    (badsq, "badsq"),
    (bad_product, "*"),
    (lambda x: Value(x.data**2, (x,), (3 * x.data,)), "custom"),
    (lambda x: x.func(math.sin, derivative=math.sin), "sin"),
    (microgradc.function(derivative=lambda x: 3 * x)(math.cosh), "cosh"),
    (lambda x: compiled_square(x) * 1.0, "custom"),
]


@pytest.mark.parametrize(("f", "name"), OWN_RULES, ids=lambda x: str(x))
def test_a_rule_of_ones_own_is_not_compared_with_itself(f, name):
    found = compare_with_torch(lambda x: [f(x), microgradc.exp(x)], 1.5, order=1)
    assert found.agrees is None
    assert not found
    assert found.not_compared == [name]
    assert [line.other for line in found.lines[:2]] == [None, None]
    assert found.lines[3].other == pytest.approx(math.exp(1.5))
    assert str(found).endswith(f"\nnot compared: {name!r} has a rule of its own, which gradcheck checks")
    assert "All agree" not in str(found)
    assert repr(found) == "<Comparison of 4 numbers: not all are compared>"


def test_several_rules_of_ones_own():
    found = compare_with_torch(lambda x: badsq(x) + bad_product(badsq(x)), 1.5)
    assert str(found).endswith("\nnot compared: 'badsq', '*' have rules of their own, which gradcheck checks")


def test_a_rule_of_ones_own_in_a_function_that_takes_tensors():
    def f(x):
        out = x * x
        if isinstance(x, Value):
            out._backward = lambda: None
        return out

    found = compare_with_torch(f, 1.5, order=1)
    assert (found.agrees, found.not_compared) == (False, [])
    assert [line.other for line in found.lines] == [2.25, 3.0]
    assert str(found).endswith("1 of 2 numbers differ.")


def test_corners():
    assert compare_with_torch(lambda x, y: microgradc.maximum(x, y) + x.relu(), (0.0, 0.0)).agrees
    found = compare_with_torch(lambda x: x.log() * 0.0, 0.0)
    assert found.agrees          # nan here and there
    assert len(str(compare_with_torch(lambda x: sum(v * v for v in x), [1.0] * 15))) < 12_000


def test_wrong_arguments(monkeypatch):
    with pytest.raises(TypeError, match="f must be a function"):
        compare_with_torch(None, 1.0)
    with pytest.raises(ValueError, match="order must be 1 or 2"):
        compare_with_torch(lambda x: x, 1.0, order=3)
    with pytest.raises(TypeError, match="inputs must have a Value"):
        compare_with_torch(lambda x: x, 1)
    monkeypatch.setattr(compare, "find_spec", lambda name: None)
    with pytest.raises(ImportError, match="pip install torch"):
        compare_with_torch(lambda x: x, 1.0)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    (tmp_path / "checked_models.py").write_text(MODULE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield tmp_path
    sys.modules.pop("checked_models", None)


def test_the_command(folder, capsys):
    assert main(["check", "checked_models:product", "--inputs", "1.0,2.0"]) == 0
    table = capsys.readouterr().out
    assert table.endswith("All agree.\n")
    assert "PyTorch" in table
    assert main(["check", "checked_models:rosenbrock", "--inputs", "-1.0,2.0,0.5", "--order", "1"]) == 0
    assert "d f / d inputs[0][2]" in capsys.readouterr().out
    assert main(["check", "checked_models:wrong", "--inputs=1,2"]) == 1
    assert "numbers differ." in capsys.readouterr().out
    assert main(["check", "checked_models:own", "--inputs=1"]) == 1
    assert capsys.readouterr().out.endswith("not compared: 'custom' has a rule of its own, which gradcheck checks\n")


@pytest.mark.parametrize(
    ("target", "inputs", "message"),
    [
        ("no_such_module_here:f", "1", "there is no module no_such_module_here, here or among what is installed"),
        ("checked_models:g", "1", "there is no function g in checked_models; it has product, rosenbrock, wrong, own"),
        ("checked_models:pi", "1", "checked_models:pi is not a function, but float 3.14"),
        ("checked_models", "1", "what is checked is MODULE:FUNCTION, such as models:loss, got 'checked_models'"),
        ("checked_models:product", "1", "checked_models:product(x, y) takes 2 numbers, and --inputs has 1"),
        ("checked_models:product", "1,2,3", "checked_models:product(x, y) takes 2 numbers, and --inputs has 3"),
        ("checked_models:product", "", "takes 2 numbers, and --inputs has 0"),
        ("checked_models:product", "1,a", "--inputs are numbers with commas between them, such as 1.0,2.0, got '1,a'"),
    ],
)
def test_what_the_command_says_of_mistakes(folder, capsys, target, inputs, message):
    assert main(["check", target, "--inputs", inputs]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("python -m microgradc check: ")
    assert message in printed.err


def test_what_the_command_says_of_exceptions(folder, capsys):
    assert main(["check", "checked_models:fails", "--inputs", "1"]) == 1
    error = capsys.readouterr().err
    assert error.startswith("Traceback (most recent call last):\n")
    assert error.endswith("check: checked_models:fails raised an exception, ZeroDivisionError: no such x\n")


def test_without_pytorch(folder):
    program = (
        "import sys; sys.modules['torch'] = None\n"
        "import importlib.util as u; find = u.find_spec\n"
        "u.find_spec = lambda name, *a: None if name == 'torch' else find(name, *a)\n"
        "from microgradc.cli.main import main\n"
        "sys.exit(main(['check', 'checked_models:product', '--inputs', '1.0,2.0']))"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stderr
    assert "differences" in result.stdout
    assert "PyTorch is not installed" in result.stdout
    assert result.stdout.endswith("All agree.\n")
