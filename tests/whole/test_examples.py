"""Each example runs in a process of its own, in an empty folder, and does what it says."""

import base64
import io
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from matplotlib.image import imread

import microgradc

TESTS = Path(__file__).parent
EXAMPLES = TESTS.parents[1] / "examples"
# The package that is tested here, wherever an example runs.
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(Path(microgradc.__file__).parents[1]), "PYTHONIOENCODING": "utf-8"}


@pytest.fixture
def run_example(tmp_path):
    """Run an example, which must end well; return what it printed."""

    def run(name, *arguments, **environment):
        result = subprocess.run(
            [sys.executable, str(EXAMPLES / name), *map(str, arguments)],
            capture_output=True,
            encoding="utf-8",
            timeout=300,
            cwd=tmp_path,
            env={**ENVIRONMENT, **environment},
        )
        assert result.returncode == 0, f"exit code {result.returncode}\n{result.stdout}\n{result.stderr}"
        return result.stdout

    return run


def check_picture(png):
    """It is a PNG, a path or a stream, of a reasonable size, and something is drawn in it."""
    pixels = imread(png, format="png")
    assert min(pixels.shape[:2]) > 100
    assert (pixels != pixels[0, 0]).any(axis=2).mean() > 0.01


def numbers(pattern, text):
    return [float(number) for number in re.findall(pattern, text)]


def test_every_example_has_a_test():
    """Here, a function with its name, or a file of its own."""
    examples = {path.stem for path in EXAMPLES.iterdir() if path.is_file()}
    assert examples >= {"digits", "gpt", "moons"}
    assert [
        name for name in examples if f"test_{name}" not in globals() and not (TESTS / f"test_{name}.py").exists()
    ] == []


def test_autograd_basics(run_example):
    out = run_example("autograd_basics.py")
    assert "dc/da = -3.0, which is b; dc/db = 2.0, which is a" in out
    assert "#3 a | data 2.0000 | grad -3.0000" in out
    ((numerical, exact),) = re.findall(r"= (\S+), numerically; exp\(0.5\) = (\S+)", out)
    assert float(numerical) == pytest.approx(float(exact), rel=1e-9)
    gradients = re.findall(r"d cbrt\(x\)/dx at +(\S+): (\S+) by the formula, (\S+) numerically", out)
    assert len(gradients) == 3
    for x, formula, numerical in gradients:
        assert float(formula) == pytest.approx(abs(float(x)) ** (-2 / 3) / 3, rel=1e-9)
        assert float(numerical) == pytest.approx(float(formula), rel=1e-8)


def test_expression_and_net(run_example, tmp_path):
    out = run_example("expression_and_net.py")
    assert "L = -8.0; dL/da = 6.0, dL/db = -4.0, dL/dc = -2.0, dL/df = 4.0" in out
    check_picture(tmp_path / "expression_and_net-pictures" / "expression.png")
    losses = numbers(r"loss (\S+)", out)
    assert len(losses) == 20
    assert losses[-1] < losses[0] / 10
    before, after = (
        np.array(list(map(float, found.split(", ")))) for found in re.findall(r"predictions \w+: +\[(.*?)\]", out)
    )
    wanted = [1, -1, -1, 1]
    assert np.abs(after - wanted).max() < 0.2 < np.abs(before - wanted).max()


def test_tanh_mlp_graph(run_example, tmp_path):
    out = run_example("tanh_mlp_graph.py", "--folder", "pictures", "--steps", 40)
    losses = numbers(r"step .* loss (\S+)", out)
    assert len(losses) == 40
    assert losses[-1] < losses[0] / 10
    source = (tmp_path / "pictures" / "loss.gv").read_text()
    for content in ("tanh", "dot", "layers.0.neurons.1.w.0", "x[3][1]", "output 2", "loss"):
        assert content in source
    if shutil.which("dot") is None:
        pytest.skip("the program dot is not installed: the pictures were not tested")
    check_picture(tmp_path / "pictures" / "loss.png")
    svg = ElementTree.parse(tmp_path / "pictures" / "loss.svg").getroot()
    assert svg.tag == "{http://www.w3.org/2000/svg}svg"
    assert "output 2" in {text.text for text in svg.iter("{http://www.w3.org/2000/svg}text")}


def test_tanh_mlp_graph_without_dot(run_example, tmp_path):
    out = run_example("tanh_mlp_graph.py", "--steps", 1, PATH=str(tmp_path))
    assert out.count("drawn in") == 2
    folder = tmp_path / "tanh_mlp_graph-pictures"
    assert {path.name for path in folder.iterdir()} == {"loss.gv", "loss.png", "loss.svg"}
    check_picture(folder / "loss.png")


@pytest.mark.parametrize(
    ("loss", "optimizer"), [("mse_loss", "SGD"), ("hinge_loss", "Adam"), ("binary_cross_entropy_with_logits", "Adam")]
)
def test_training_loop(run_example, tmp_path, loss, optimizer):
    out = run_example(
        "training_loop.py", "--loss", loss, "--optimizer", optimizer, "--epochs", 50, "--folder", "pictures"
    )
    losses, accuracies = numbers(r"loss (\d\S+)", out), numbers(r"accuracy (\S+)%", out)
    assert len(losses) == len(accuracies) == 5
    assert losses[-1] < losses[0]
    assert accuracies[-1] >= 93
    for name in ("decision-boundary.png", "loss.png"):
        assert f"drawn in {Path('pictures', name)}" in out
        check_picture(tmp_path / "pictures" / name)


def test_second_order(run_example, tmp_path):
    out = run_example("second_order.py", "--folder", "pictures")
    assert [float(x) < 1e-6 for x in re.findall(r"to scikit-learn (\S+)", out)] == [True, True]
    assert numbers(r"certified parameters (\S+)", out)[0] < 1e-9
    assert "298 numbers in the Hessian" in out
    assert numbers(r"to 1 (\S+)", out)[0] < 1e-8
    check_picture(tmp_path / "pictures" / "second_order.png")


def test_implied_volatility(run_example, tmp_path):
    out = run_example("implied_volatility.py", "--folder", "pictures")
    assert numbers(r"largest error (\S+)", out)[0] < 1e-9
    check_picture(tmp_path / "pictures" / "implied_volatility.png")


def test_pinn(run_example, tmp_path):
    out = run_example("pinn.py", "--steps", 300, "--folder", "pictures")
    assert numbers(r"largest error (\S+)", out)[0] < 0.2
    check_picture(tmp_path / "pictures" / "pinn.png")


def test_pendulum(run_example, tmp_path):
    out = run_example("pendulum.py", "--folder", "pictures")
    found = re.findall(r"^(\w+) +(\S+) \+- (\S+), true (\S+)", out, re.MULTILINE)
    assert [name for name, *_ in found] == ["length", "damping"]
    for _, x, error, true in found:
        assert 0 < float(error) < 1e-3
        assert abs(float(x) - float(true)) < 3 * float(error)
    check_picture(tmp_path / "pictures" / "pendulum.png")


def test_many_rows(run_example):
    """On two worker processes; tests/test_distributed.py compares their bits."""
    pytest.importorskip("distributed", reason="examples/many_rows.py needs dask")
    out = run_example("many_rows.py", "--rows", 50_000, "--chunk", 4_000, "--steps", 5, "--workers", 2)
    lines = re.findall(r"^(\d) workers?: .* rows a second.* MB at most.*estimate \[(.*)\], truth \[(.*)\]", out, re.M)
    assert [workers for workers, *_ in lines] == ["2"]
    for _, found, true in lines:
        np.testing.assert_allclose(*[np.array(text.split(", "), float) for text in (found, true)], atol=0.05)


def test_digits(run_example, tmp_path):
    """In the 20 epochs of its default, which take two seconds."""
    pytest.importorskip("sklearn", reason="examples/digits.py needs scikit-learn")
    out = run_example("digits.py")
    (accuracy,) = numbers(r"test accuracy (\S+)%", out)
    assert accuracy >= 95
    assert re.search(r"training +[\d.]+ s, [\d.]+ s an epoch", out)
    folder = tmp_path / "digits-results"
    check_picture(folder / "history.png")
    # What was saved is what was tested.
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    images, digits = load_digits(return_X_y=True)
    _, X, _, y = train_test_split(images / 16, digits, test_size=0.25, stratify=digits, random_state=0)
    model = microgradc.load(microgradc.MLP(64, [32, 10]), folder / "digits.safetensors")
    assert microgradc.accuracy(model, X, y) == pytest.approx(accuracy / 100, abs=1e-4)


def test_digits_with_another_seed_and_few_epochs(run_example):
    pytest.importorskip("sklearn", reason="examples/digits.py needs scikit-learn")
    (accuracy,) = numbers(r"test accuracy (\S+)%", run_example("digits.py", "--epochs", 5, "--seed", 1))
    assert accuracy >= 90


def test_to_c(run_example, tmp_path):
    if not any(map(shutil.which, ("cc", "gcc", "clang"))):
        pytest.skip("there is no C compiler: examples/to_c.py was not run")
    out = run_example("to_c.py")
    pairs = re.findall(r" C (\S+) +Python (\S+)", out)
    assert len(pairs) == 10
    assert all(in_c == in_python for in_c, in_python in pairs[:4])      # sums, products and relu: the same bits
    for in_c, in_python in pairs[4:]:
        assert float(in_c) == pytest.approx(float(in_python), rel=1e-13)
    assert (tmp_path / "to_c-files" / "model.h").exists()


def run_notebook(name, folder, monkeypatch):
    """Return the outputs of a notebook's cells."""
    nbformat = pytest.importorskip("nbformat", reason="runs a notebook: pip install nbclient ipykernel")
    nbclient = pytest.importorskip("nbclient", reason="runs a notebook: pip install nbclient ipykernel")
    pytest.importorskip("ipykernel", reason="runs a notebook: pip install nbclient ipykernel")
    notebook = nbformat.read(EXAMPLES / name, as_version=4)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert not any(cell.outputs or cell.execution_count for cell in code), "a notebook is committed without its outputs"
    for key, value in ENVIRONMENT.items():
        monkeypatch.setenv(key, value)
    nbclient.NotebookClient(
        notebook, timeout=120, kernel_name="python3", resources={"metadata": {"path": str(folder)}}
    ).execute()
    outputs = [output for cell in code for output in cell.outputs]
    assert not [output.text for output in outputs if output.output_type == "stream" and output.name == "stderr"]
    return outputs


def test_cells(tmp_path, monkeypatch):
    outputs = run_notebook("cells.ipynb", tmp_path, monkeypatch)
    pages = [output.data.get("text/html", "") for output in outputs if output.output_type == "execute_result"]
    kinds = [re.match(r"<img|<div>drawn by|<div>(<.*?>)?[\w&;]*", page)[0] for page in pages]
    drawn = "<img" if shutil.which("dot") else "<div>drawn by"
    assert kinds == ["<div><code>Value", "<img", "<div><b>MLP", "<div><b>History", "<img", "<img", "<img", drawn,
                     "<div><code>&lt;compiled", "<div><b>Program", "<div><code>&lt;compiled"]
    assert all(len(page) < 100_000 for page in pages)


def test_moons(tmp_path, monkeypatch):
    outputs = run_notebook("moons.ipynb", tmp_path, monkeypatch)
    printed = "".join(output.text for output in outputs if output.output_type == "stream")
    assert "number of parameters 337" in printed
    assert numbers(r"step +99 .* accuracy (\d+)%", printed) == [100]
    pictures = [output.data["image/png"] for output in outputs if "image/png" in output.get("data", {})]
    assert len(pictures) == 5
    for picture in pictures:
        check_picture(io.BytesIO(base64.b64decode(picture)))
