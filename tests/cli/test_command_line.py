"""python -m microgradc, and install()."""

import subprocess
import sys
from importlib.util import find_spec
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
        "from microgradc.cli.main import main; main(['demo', '--steps', '3', '--folder', sys.argv[1]])"
    )
    result = python("-c", program, str(tmp_path))
    assert result.returncode == 0, result.stderr
    assert "pip install micrograd" in result.stdout
    assert (tmp_path / "history.png").exists()


def test_demo_draws_into_a_folder_of_its_own(run_python, tmp_path):
    run_python(
        "import os, sys; os.chdir(sys.argv[1]); from microgradc.cli.main import main; main(['demo', '--steps', '1'])",
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


SUBMODULES = "losses optim optim.lr_scheduler viz nn nn.layers engine engine.functions checkpoint program".split()


@pytest.mark.parametrize("imported_before", [False, True])
def test_install_gives_the_same_modules(run_python, imported_before):
    run_python(f"""
import importlib, sys, microgradc
names = {SUBMODULES}
if {imported_before}:
    for name in names:
        importlib.import_module("microgradc." + name)
microgradc.install()
microgradc.install()
for name in names:
    theirs = importlib.import_module("micrograd." + name)
    ours = importlib.import_module("microgradc." + name)
    assert theirs is ours is sys.modules["micrograd." + name], name
    assert ours.__name__ == ours.__spec__.name == "microgradc." + name
from micrograd.optim import SGD
from micrograd import viz
assert SGD is microgradc.SGD and viz is microgradc.viz
model = microgradc.MLP(2, [1])
model.fit([[0.0, 1.0], [1.0, 0.0]], [0, 1], optimizer=SGD(model.parameters(), lr=0.1), epochs=1, progress=False)
""")


@pytest.mark.parametrize("name", ["tensor", "optim.nope", "nn.functional"])
def test_install_and_a_module_that_there_is_not(run_python, name):
    out = run_python(f"""
import microgradc
microgradc.install()
try:
    import micrograd.{name}
except ImportError as error:
    print(error.name, error)
""")
    assert out.startswith(f"micrograd.{name} no module 'micrograd.{name}': `micrograd` is microgradc here")


def test_install_and_a_program_that_asks_for_modules(run_python):
    """`find_spec` is None for what there is not, as for any package; a module that is imported anew is the same."""
    run_python("""
import importlib.util, sys, microgradc
microgradc.install()
for name, there in [("nn", True), ("nope", False), ("optim.nope", False), ("optim", True)]:
    assert (importlib.util.find_spec("micrograd." + name) is not None) is there, name
import micrograd.engine as engine
del sys.modules["micrograd.engine"]
import micrograd.engine as again
assert again is engine
names = {}
exec("from micrograd.engine import *; from micrograd.nn import *", names)
assert {"Value", "MLP"} <= set(names)
""")


WORKERS = """
import concurrent.futures, multiprocessing, os, sys

from micrograd.engine import Value


def work(x):
    from micrograd.optim import SGD

    return Value(x).data, Value.__module__, SGD.__module__, __name__


def nested(x):
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.map(work, [x])[0]


if __name__ == "__main__":
    os.chdir("/")
    sys.argv[0] = "renamed"
    for method in multiprocessing.get_all_start_methods():
        with multiprocessing.get_context(method).Pool(2) as pool:
            print(*pool.map(work, [1.0, 2.0]))
    with concurrent.futures.ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        print(*pool.map(nested, [3.0]))
    if sys.argv[1:]:
        import joblib

        print(*joblib.Parallel(2)(joblib.delayed(work)(float(i)) for i in range(2)))
"""


@pytest.mark.parametrize("installed", [True, False])
def test_workers_of_a_script_get_microgradc(tmp_path, installed):
    """Also where a `micrograd` of its own, that must not be imported, lies beside the script."""
    if not installed:
        (tmp_path / "micrograd").mkdir()
        (tmp_path / "micrograd" / "__init__.py").write_text("raise ImportError('no micrograd')\n")
    script = tmp_path / "script.py"
    script.write_text(WORKERS)
    with_joblib = ["joblib"] * (installed and find_spec("joblib") is not None)
    result = python("-m", "microgradc", "run", str(script), *with_joblib)
    assert result.returncode == 0, result.stderr
    lines = result.stdout.splitlines()
    assert len(lines) >= 3
    for line in lines:
        assert line.count("'microgradc.engine', 'microgradc.optim.rules'") == line.count("(") > 0, line


AFTER = """
import atexit, pickle, sys, threading, time


class Own:
    pass


def late():
    time.sleep(0.3)
    print(type(pickle.loads(pickle.dumps(Own()))).__name__, "in a thread", flush=True)


threading.Thread(target=late).start()
atexit.register(lambda: print(type(pickle.loads(pickle.dumps(Own()))).__name__, "at exit", Own.__module__))
print(sys.argv, sys.path[0], __file__, __name__, sorted(set(globals()) - {"Own", "late"}), __builtins__ is not None)
END
"""
ENDS = {
    "returns": "",
    "exits": "sys.exit(3)",
    "exits with a text": "sys.exit('a text')",
    "raises": "def f():\n    raise KeyError('inside') from ValueError('cause')\nf()",
    "is interrupted": "raise KeyboardInterrupt",
    "has a hook": "sys.excepthook = lambda kind, error, tb: print('hooked', kind, tb.tb_lineno)\n1 / 0",
    "cannot be compiled": "x = (",
}


@pytest.mark.parametrize("end", ENDS)
def test_a_script_runs_as_under_python(tmp_path, end):
    (tmp_path / "script.py").write_text(AFTER.replace("END", ENDS[end]))
    ours = python("-m", "microgradc", "run", "script.py", "a", "--b", cwd=tmp_path)
    theirs = python("script.py", "a", "--b", cwd=tmp_path)
    assert ours.stdout == theirs.stdout
    assert ours.stderr == theirs.stderr
    assert ours.returncode == theirs.returncode
