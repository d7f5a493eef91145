"""python -m microgradc, and install()."""

import subprocess
import sys
from pathlib import Path

import pytest
from matplotlib.image import imread

SCRIPT = """
import sys, random
import micrograd
from micrograd.engine import Value
from micrograd import nn
from micrograd.nn import MLP
assert __name__ == "__main__"
random.seed(int(sys.argv[1]))
model = MLP(2, [4, 1])
loss = (model([1.0, -2.0]) - 1.0) ** 2
loss.backward()
print(Value.__module__, nn.__name__, micrograd.engine.Value is Value, sys.argv[1:], repr(loss.data))
"""


def python(*arguments, cwd=None):
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, timeout=600, cwd=cwd)


def test_run_makes_micrograd_mean_microgradc(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    ours = python("-m", "microgradc", "run", str(script), "3", "--flag")
    assert ours.returncode == 0, ours.stderr
    theirs = python(str(script), "3", "--flag")
    assert ours.stdout.startswith("microgradc.engine microgradc.nn True ['3', '--flag'] ")
    assert theirs.stdout.startswith("micrograd.engine micrograd.nn True ['3', '--flag'] ")
    assert ours.stdout.split()[-1] == theirs.stdout.split()[-1]


def test_run_finds_the_modules_beside_the_script_and_passes_exits_on(tmp_path):
    (tmp_path / "beside.py").write_text("from micrograd.engine import Value\nx = Value(2.0)\n")
    script = tmp_path / "main.py"
    script.write_text("import sys, beside\nprint(beside.x * 3)\nsys.exit(7)\n")
    result = python("-m", "microgradc", "run", str(script))
    assert result.returncode == 7
    assert result.stdout == "Value(data=6.0, grad=0)\n"
    script.write_text("raise KeyError('inside')\n")
    result = python("-m", "microgradc", "run", str(script))
    assert result.returncode == 1
    assert "KeyError: 'inside'" in result.stderr


def test_run_without_the_file():
    result = python("-m", "microgradc", "run", "no/such/file.py")
    assert result.returncode == 2
    assert "there is no file no/such/file.py" in result.stderr


@pytest.mark.parametrize("arguments", [[], ["dance"], ["demo", "--steps", "0"], ["bench", "--rounds", "x"]])
def test_bad_command_lines(arguments):
    result = python("-m", "microgradc", *arguments)
    assert result.returncode == 2
    assert "usage: python -m microgradc" in result.stderr


def test_demo(tmp_path):
    folder = tmp_path / "new" / "pictures"
    result = python("-m", "microgradc", "demo", "--folder", str(folder))
    assert result.returncode == 0, result.stderr
    assert "accuracy          100%" in result.stdout
    assert "nodes" in result.stdout
    times = [float(row.split()[-4]) for row in result.stdout.splitlines() if row.endswith(" x")]
    assert len(times) == 3
    assert times[0] < times[1] < times[2], "compiled, step by step, micrograd"
    assert "100/100" in result.stderr  # the progress bar
    assert f"decision-boundary.png, history.png, neuron.png in {folder}" in result.stdout
    assert sorted(path.name for path in folder.iterdir()) == ["decision-boundary.png", "history.png", "neuron.png"]
    for path in folder.iterdir():
        pixels = imread(path)
        assert min(pixels.shape[:2]) > 300
        assert (pixels != pixels[0, 0]).any(axis=2).mean() > 0.01   # it is not empty


def test_demo_without_micrograd_and_without_a_window(tmp_path):
    """Pictures go to files: pyplot, which alone opens windows, is not even imported."""
    program = (
        "import sys; sys.modules['micrograd'] = sys.modules['matplotlib.pyplot'] = None\n"
        "from microgradc.__main__ import main; main(['demo', '--steps', '3', '--folder', sys.argv[1]])"
    )
    result = python("-c", program, str(tmp_path))
    assert result.returncode == 0, result.stderr
    assert "pip install micrograd" in result.stdout
    assert (tmp_path / "history.png").exists()


def test_demo_draws_into_a_folder_of_its_own(run_python, tmp_path):
    run_python(
        "import os, sys; os.chdir(sys.argv[1]); from microgradc.__main__ import main; main(['demo', '--steps', '1'])",
        str(tmp_path),
    )
    assert (tmp_path / "microgradc-demo" / "neuron.png").exists()


def in_place_of_a_folder(tmp_path):
    (tmp_path / "pictures").write_text("a file")
    return tmp_path / "pictures", "File exists"


def below_a_file(tmp_path):
    (tmp_path / "file").write_text("a file")
    return tmp_path / "file" / "pictures", "Not a directory"


def not_writable(tmp_path):
    if not Path("/proc").is_dir():
        pytest.skip("/proc, in which not even the administrator can make a file, is not on this system")
    return Path("/proc"), "/proc"


@pytest.mark.parametrize("case", [in_place_of_a_folder, below_a_file, not_writable])
def test_demo_with_no_folder_to_draw_into_says_so_before_it_trains(tmp_path, case):
    folder, reason = case(tmp_path)
    result = python("-m", "microgradc", "demo", "--folder", str(folder))
    assert result.returncode == 2
    assert result.stdout == ""
    assert result.stderr.startswith(f"python -m microgradc demo: no pictures can be written to {folder} (")
    assert reason in result.stderr
    assert result.stderr.count("\n") == 1


def test_bench():
    result = python("-m", "microgradc", "bench", "--rounds", "1")
    assert result.returncode == 0, result.stderr
    for engine in ("micrograd", "microgradc.nn", "PyTorch"):
        assert engine in result.stdout


def test_install(run_python):
    out = run_python("""
import microgradc
microgradc.install()
import micrograd, micrograd.nn as n
from micrograd.engine import Value
print(micrograd.__name__, n.__name__, Value is microgradc.Value)
microgradc.install()
""")
    assert out == "microgradc microgradc.nn True\n"


def test_install_after_micrograd_warns(run_python):
    run_python("""
import warnings, micrograd.engine, microgradc
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    microgradc.install()
assert "imported before" in str(caught[0].message)
""")


def test_import_is_light(run_python):
    heavy = ("numpy", "tqdm", "matplotlib", "random", "argparse", "inspect", "copy")
    out = run_python(f"import sys, microgradc; print([m for m in {heavy} if m in sys.modules])")
    assert out == "[]\n"
