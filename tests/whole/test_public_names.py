"""The public names: `__init__.pyi` is their only list. It is read by type checkers, and by the package on its
import."""

import importlib.util
import inspect
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import microgradc

PACKAGE = Path(microgradc.__file__).parent
STUB = (PACKAGE / "__init__.pyi").read_text(encoding="utf-8")
NAMES = re.findall(r" as (\w+)", STUB) + re.findall(r"^(\w+) = ", STUB, re.MULTILINE)


def test_every_name_of_the_stub_resolves():
    for name in NAMES:
        assert getattr(microgradc, name) is not None, name
    assert len(NAMES) == len(set(NAMES)) > 50
    assert set(microgradc.__all__) == {*NAMES, *microgradc.engine.functions.__all__}
    assert len(microgradc.__all__) == len(set(microgradc.__all__))
    assert {*microgradc.__all__, "__version__"} <= set(dir(microgradc))


def test_names_are_what_the_stub_says():
    for module, names in re.findall(r"^from (\S+) import (.* as .*)$", STUB, re.MULTILINE):
        for name in re.findall(r"(\w+) as", names):
            thing = getattr(microgradc, name)
            assert inspect.ismodule(thing) or thing is getattr(importlib.import_module(module), name)
    assert microgradc.training is importlib.import_module("microgradc.train.fit")


def test_all_can_be_imported_at_once(run_python):
    run_python("from microgradc import *; assert MLP and training.fit and exp(0) == 1 and nn.Layer")


def test_what_is_not_the_engine_is_imported_on_first_use(run_python):
    modules = "sorted(m for m in sys.modules if m.partition('.')[0] in ('microgradc', 'numpy'))"
    names = ("", ".after_numpy", ".engine", ".engine.functions", ".engine.value", ".moved")
    engine = [f"microgradc{name}" for name in names]
    run_python(f"import sys, microgradc; assert {modules} == {engine}, {modules}")
    run_python("import sys, microgradc; microgradc.nn; assert 'microgradc.nn' in sys.modules")


def test_an_unknown_name_is_an_error():
    with pytest.raises(AttributeError, match="module 'microgradc' has no attribute 'nothing'"):
        microgradc.nothing  # noqa: B018


NOT_UNDERSTOOD = [
    "from microgradc.nn import MLP",
    "from microgradc.nn import MLP as Net",
    "from microgradc.nn import *",
    "def f(): ...",
]


@pytest.mark.parametrize("line", NOT_UNDERSTOOD)
def test_a_line_that_is_not_understood_is_an_error(line, tmp_path):
    copy = tmp_path / "microgradc"
    shutil.copytree(PACKAGE, copy, ignore=shutil.ignore_patterns("__pycache__", "*.c"))
    (copy / "__init__.pyi").write_text(f"{STUB}{line}\n", encoding="utf-8")
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    command = [sys.executable, "-c", "import microgradc"]
    result = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert result.returncode == 1
    where = rf"__init__\.pyi, line {len(STUB.splitlines()) + 1}"
    assert re.search(rf"ImportError: .*{where}: not .*{re.escape(line)}", result.stderr)


USER = """
import microgradc
from microgradc import MLP, Value, exp, fit, training
from microgradc import *

reveal_type(MLP(2, [3, 1]))
reveal_type(exp(Value(1.0)))
reveal_type(exp(1))
reveal_type(fit)
reveal_type(training.fit)
reveal_type(microgradc.losses.mse_loss)
reveal_type(tanh)
reveal_type(microgradc.__version__)
microgradc.nothing
"""


@pytest.mark.skipif(not os.environ.get("MICROGRADC_LONG"), reason="tests/types does most of it: MICROGRADC_LONG")
def test_type_checkers_see_the_names(tmp_path):
    if importlib.util.find_spec("mypy") is None:
        pytest.skip("mypy is not installed")
    (tmp_path / "user.py").write_text(USER)
    command = [sys.executable, "-m", "mypy", "--no-incremental", "--ignore-missing-imports", "user.py"]
    installed = PACKAGE.parent.name == "site-packages"    # where mypy looks by itself
    environment = {} if installed else {"MYPYPATH": str(PACKAGE.parent)}
    result = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    types = re.findall(r'Revealed type is "(.*)"', result.stdout)
    assert len(types) == USER.count("reveal_type"), result.stdout + result.stderr
    assert types[:3] == ["microgradc.nn.containers.MLP", "microgradc.engine.value.Value", "float"]
    assert all(text != "Any" for text in types)
    assert "History" in types[3] == types[4]
    assert types[7] == "str"
    assert re.findall(r"user\.py:\d+: error: (.*?)  \[", result.stdout) == ['Module has no attribute "nothing"']
