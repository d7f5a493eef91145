"""Each line of the tables in docs/coming_from.md is run: our side always, theirs where their library is installed.
Where both sides give numbers, these are the same."""

import math
import re
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest

import microgradc

PAGE = Path(__file__).parents[2] / "docs" / "coming_from.md"
SNIPPET = re.compile(r"`([^`]+)`")
# What a line of a table may speak of, as numbers.
A, B, POINT, DIRECTION = 0.7, -1.2, [0.5, 1.5], [1.0, -2.0]
EXAMPLES, TARGETS = [[0.5, 1.5], [1.0, -1.0], [2.0, 0.25]], [0, 1, 1]


def sections():
    """Yield each library with the pairs of snippets in its table."""
    for part in PAGE.read_text(encoding="utf-8").split("\n## ")[1:]:
        library = part.partition("\n")[0]
        for theirs, ours in re.findall(r"^\| (`.*`) \| (`.*`) \|$", part, re.MULTILINE):
            theirs, ours = SNIPPET.findall(theirs), SNIPPET.findall(ours)
            assert len(theirs) == len(ours), f"{library}: {theirs} and {ours} are not as many"
            for pair in zip(theirs, ours, strict=True):
                yield pytest.param(library, *pair, id=f"{library}: {pair[0]}")


def function_with(sin):
    return lambda x: x[0] ** 2 * x[1] + sin(x[1])


def ours():
    names = {name: getattr(microgradc, name) for name in microgradc.__all__}
    model = microgradc.MLP(2, [3, 1], seed=0)
    for p, slope in zip(model.parameters(), GRADIENTS, strict=True):
        p.grad = slope
    return names | {
        "math": math,
        "a": microgradc.Value(A),
        "b": microgradc.Value(B),
        "x": np.array(POINT),
        "v": np.array(DIRECTION),
        "X": np.array(EXAMPLES),
        "y": np.array(TARGETS),
        "f": function_with(microgradc.sin),
        "g": lambda w, x: microgradc.dot(w, x),
        "step": lambda carry, x: (carry * x, carry + x),
        "model": model,
        "optimizer": microgradc.SGD(model.parameters(), lr=0.1),
    }


GRADIENTS = [0.1 * k for k in range(13)]


def of_micrograd():
    micrograd = pytest.importorskip("micrograd.engine") and import_module("micrograd")
    import_module("micrograd.nn")
    value = micrograd.engine.Value
    model = micrograd.nn.MLP(2, [3, 1])
    for p, slope in zip(model.parameters(), GRADIENTS, strict=True):
        p.grad = slope
    return {"micrograd": micrograd, "a": value(A), "b": value(B), "model": model}


def of_pytorch():
    torch = pytest.importorskip("torch")
    number = {"dtype": torch.float64, "requires_grad": True}
    model = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.Linear(3, 1)).double()
    at = iter(GRADIENTS)
    for p in model.parameters():
        p.grad = torch.tensor([next(at) for _ in range(p.numel())], dtype=torch.float64).reshape(p.shape)
    return {
        "torch": torch,
        "a": torch.tensor(A, **number),
        "b": torch.tensor(B, **number),
        "x": torch.tensor(POINT, **number),
        "v": torch.tensor(DIRECTION, dtype=torch.float64),
        "X": torch.tensor(EXAMPLES, dtype=torch.float64),
        "y": torch.tensor(TARGETS),
        "f": function_with(torch.sin),
        "model": model,
        "optimizer": torch.optim.SGD(model.parameters(), lr=0.1),
    }


def of_jax():
    jax = pytest.importorskip("jax")
    jax.config.update("jax_enable_x64", True)
    return {
        "jax": jax,
        "a": A,
        "b": B,
        "x": jax.numpy.array(POINT),
        "v": jax.numpy.array(DIRECTION),
        "X": jax.numpy.array(EXAMPLES),
        "f": function_with(jax.numpy.sin),
        "g": lambda w, x: w @ x,
        "step": lambda carry, x: (carry * x, carry + x),
    }


def of_casadi():
    casadi = pytest.importorskip("casadi")
    symbol = casadi.SX.sym("x", 2)
    arrays = {"x": np.array(POINT), "v": np.array(DIRECTION), "X": np.array(EXAMPLES)}
    return {"casadi": casadi, "a": A, "b": B, **arrays, "s": symbol, "e": function_with(casadi.sin)(symbol)}


def of_autograd():
    autograd = pytest.importorskip("autograd")
    for module in ("extend", "numpy", "scipy.special"):
        import_module(f"autograd.{module}")
    arrays = {"x": np.array(POINT), "v": np.array(DIRECTION)}
    return {"autograd": autograd, "math": math, "a": A, "b": B, **arrays, "f": function_with(autograd.numpy.sin)}


THEIRS = {"micrograd": of_micrograd, "PyTorch": of_pytorch, "JAX": of_jax, "CasADi": of_casadi, "autograd": of_autograd}


def result_of(snippet, names):
    """Return what a snippet gives, or None for a statement."""
    try:
        code = compile(snippet, "coming_from.md", "eval")
    except SyntaxError:
        return exec(compile(snippet, "coming_from.md", "exec"), names)
    return eval(code, names)


def numbers_of(thing):
    """Return the numbers that a result is made of, or None if it is something else."""
    if thing is None:
        return None
    if isinstance(thing, list | tuple):
        found = [numbers_of(part) for part in thing]
        return None if None in found else [number for numbers in found for number in numbers]
    if hasattr(thing, "data") and isinstance(thing.data, int | float):    # a Value
        return [float(thing.data)]
    if type(thing).__name__ == "Tensor":
        thing = thing.detach().numpy()
    try:
        array = np.asarray(thing, dtype=float)
    except (TypeError, ValueError):
        return None
    return array.ravel().tolist()


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")    # of theirs
@pytest.mark.parametrize(("library", "theirs", "ours_"), list(sections()))
def test_line(library, theirs, ours_, tmp_path):
    path = {"path": str(tmp_path / "file")}
    found = result_of(ours_, {**ours(), **path})
    names = THEIRS[library]() | path
    wanted = result_of(theirs, names)
    found, wanted = numbers_of(found), numbers_of(wanted)
    if found is not None and wanted is not None:
        np.testing.assert_allclose(found, wanted, rtol=1e-9)
