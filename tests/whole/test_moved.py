"""Names of before: modules, and what pickles of version 0.1.0 refer to."""

import importlib
import pickle
import subprocess
import sys
from pathlib import Path

import pytest

import microgradc
from microgradc import moved


@pytest.mark.parametrize(
    "name", ["checkpoint", "data", "engine", "init", "losses", "nn", "optim", "program", "training", "viz"]
)
def test_submodules_keep_their_names(name, run_python):
    run_python(f"import microgradc.{name}; assert microgradc.{name}")
    run_python(f"import microgradc; assert microgradc.{name}")
    run_python(f"from microgradc import {name} as a; import microgradc.{name} as b; assert a is b")


@pytest.mark.parametrize("name", moved.MOVED)
def test_a_former_name_is_the_module_itself(name):
    module = importlib.import_module(f"microgradc.{name}")
    assert module is importlib.import_module(f"microgradc.{moved.MOVED[name]}") is sys.modules[f"microgradc.{name}"]
    assert module.__spec__.name == module.__name__ == f"microgradc.{moved.MOVED[name]}"


def test_a_former_name_can_be_run():
    command = [sys.executable, "-W", "error", "-m", "microgradc.bench", "--worker", "microgradc.nn"]
    result = subprocess.run(command, input="1\n", capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert '"loss"' in result.stdout


def test_a_renamed_name_of_the_package_works_on_with_a_warning(monkeypatch):
    monkeypatch.setitem(moved.RENAMED, "Number", ("Value", "0.3"))
    with pytest.warns(DeprecationWarning, match=r"microgradc\.Number is called microgradc\.Value since") as warned:
        assert microgradc.Number is microgradc.Value
    with pytest.warns(DeprecationWarning, match="since version 0.3, after which the old name goes") as imported:
        from microgradc import Number
    assert Number is microgradc.Value
    assert {warned[0].filename, imported[0].filename} == {__file__}
    assert "Number" not in microgradc.__all__


def overdue(renamed, version):
    """Return the former names that have had their minor version."""
    return [former for former, (_, since) in renamed.items() if not version.startswith(f"{since}.")]


def test_a_renamed_name_goes_after_one_minor_version():
    assert overdue({"a": ("b", "0.2"), "c": ("d", "0.3")}, "0.3.1") == ["a"]
    assert not overdue(moved.RENAMED, microgradc.__version__)
    changes = (Path(__file__).parents[2] / "CHANGELOG.md").read_text(encoding="utf-8")
    assert all(f"`{name}`" in changes for former, (new, _) in moved.RENAMED.items() for name in (former, new))


def test_what_never_was_is_not_found():
    with pytest.raises(ModuleNotFoundError, match=r"No module named 'microgradc\.nothing'"):
        importlib.import_module("microgradc.nothing")
    with pytest.raises(ModuleNotFoundError, match="No module named 'transforms'"):
        importlib.import_module("transforms")


# What pickles of version 0.1.0 have in them; without `data` they were made with protocol 0, where names are plain text.
@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("engine", "Value"),
        ("engine", "_restore"),
        ("engine", "CompileError"),
        ("functions", "tanh"),
        ("functions", "leaky_relu"),
        ("nn", "MLP"),
        ("nn", "Layer"),
        ("nn", "Neuron"),
        ("nn", "Sequential"),
        ("nn", "Activation"),
        ("nn", "Dropout"),
        ("module", "Module"),
        ("init", "normal"),
        ("losses", "mse_loss"),
        ("optim", "SGD"),
        ("optim", "Adam"),
        ("optim", "AdamW"),
        ("optim", "RMSprop"),
        ("updates", "Known"),
        ("lr_scheduler", "StepLR"),
        ("lr_scheduler", "LambdaLR"),
        ("training", "History"),
        ("training", "fit"),
        ("tasks", "accuracy"),
        ("tasks", "outputs"),
        ("transforms", "Compiled"),
        ("transforms", "compile"),
        ("arrays", "array"),
        ("arrays", "data"),
        ("data", "make_moons"),
        ("program", "set_num_threads"),
        ("dropin", "install"),
        ("viz", "draw_graph"),
        ("plots", "plot_history"),
        ("interop", "mlp_from_torch"),
        ("checkpoint", "save"),
    ],
)
def test_names_in_old_pickles_are_found(module, name):
    assert pickle.loads(f"cmicrogradc.{module}\n{name}\n.".encode()) is not None


def test_values_live_in_engine():
    assert microgradc.Value.__module__ == "microgradc.engine"
    assert repr(microgradc.Value) == "<class 'microgradc.engine.Value'>"
    for thing in (microgradc.CompileError, microgradc.no_grad, microgradc.function, microgradc.topological_sort):
        assert thing.__module__ == "microgradc.engine"
    v = microgradc.Value(2.0) * 3
    assert b"microgradc.engine\n" in pickle.dumps(v, 0)
    assert b"microgradc.engine.value" not in pickle.dumps(v, 0)


CIMPORTS = """
from microgradc.engine cimport Value, mgc_node

def data_of(Value v):
    cdef mgc_node *node = &v.node
    return node.data
"""


def test_cimport_from_the_package_works(tmp_path, run_python):
    (tmp_path / "reads.pyx").write_text(CIMPORTS)
    root = microgradc.__path__[0]
    run_python(
        "import os, sys; os.chdir(sys.argv[1]); sys.argv = ['setup.py', '-q', 'build_ext', '--inplace']\n"
        "from Cython.Build import cythonize; from setuptools import Extension, setup\n"
        f"setup(name='reads', ext_modules="
        f"cythonize([Extension('reads', ['reads.pyx'], include_dirs=[{root!r}])], quiet=True))\n"
        "sys.path.insert(0, '.'); import reads; from microgradc import Value; assert reads.data_of(Value(2.5)) == 2.5",
        str(tmp_path),
    )


def test_what_version_0_1_0_pickled_loads():
    """tests/data/version-0.1.0.pickle was written by that version."""
    found = pickle.loads((Path(__file__).parents[1] / "data" / "version-0.1.0.pickle").read_bytes())
    graph, model = found["graph"], found["mlp"]
    leaf = microgradc.topological_sort(graph)[0]
    assert (graph.data, leaf.label, leaf.grad) == (6.9640275800758165, "a", 3.0706508248531645)
    assert model([1.0, 2.0]).data == -0.059233899493940124
    assert sum(v.data for v in found["sequential"].eval()([1.0, -2.0])) == pytest.approx(1.0)
    assert len(found["history"]) == 2
    assert found["module"].parameters()[0].data == 1.0
    found["optimizer"].step()
    found["schedule"].step()
    assert found["schedule"].optimizer is found["optimizer"]
    names = "tanh mse_loss make_moons fit accuracy".split()
    assert found["functions"] == tuple(getattr(microgradc, name) for name in names)
