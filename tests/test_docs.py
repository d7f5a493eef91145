"""The examples in docstrings and in the README run, and give what they say; files stay short."""

import doctest
import re
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules

import pytest

import microgradc

ROOT = Path(__file__).parents[1]
FINDER = doctest.DocTestFinder(exclude_empty=True)
DOCTESTED = [import_module(f"microgradc.{module.name}") for module in iter_modules(microgradc.__path__) if module.name != "__main__"]


def docstring_examples():
    for module in DOCTESTED:
        names = {**vars(microgradc.engine), **vars(microgradc.functions), **vars(module)}
        owners = [(module.__name__, module)]
        for name, thing in vars(module).items():
            if getattr(thing, "__module__", None) == module.__name__ and getattr(thing, "__doc__", None):
                owners.append((name, thing))
                if isinstance(thing, type):
                    owners += [(f"{name}.{n}", t) for n, t in vars(thing).items() if getattr(t, "__doc__", None) and not n.startswith("__")]
        for name, owner in owners:
            test = doctest.DocTestParser().get_doctest(owner.__doc__ or "", dict(names), name, None, 0)
            if test.examples:
                yield pytest.param(test, id=f"{module.__name__}:{name}")


EXAMPLES = list(docstring_examples())


@pytest.mark.parametrize("test", EXAMPLES)
def test_docstrings(test):
    out = []
    assert doctest.DocTestRunner(verbose=False).run(test, out=out.append).failed == 0, "".join(out)


def test_there_are_docstring_examples():
    assert len(EXAMPLES) >= 10


def test_readme_examples(run_python, tmp_path, monkeypatch):
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert len(blocks) >= 3
    run_python("\n".join(blocks))


def test_every_public_name_has_a_docstring():
    for name in microgradc.__all__:
        assert getattr(microgradc, name).__doc__, name
    public = [n for n in vars(microgradc.Value) if not n.startswith("_")]
    assert len(public) > 30
    for name in public:
        assert getattr(microgradc.Value, name).__doc__, name


def test_differences_are_listed():
    """As many rows as tests: a difference has both."""
    rows = [line for line in (ROOT / "docs" / "differences.md").read_text().splitlines() if line.startswith("| ") and "---" not in line][1:]
    tests = re.findall(r"^def test_", (ROOT / "tests" / "test_differences.py").read_text(), re.MULTILINE)
    assert len(rows) == len(tests)


def test_files_stay_short():
    for pattern in ("src/microgradc/*.py*", "src/microgradc/*.h", "tests/*.py", "benchmarks/*.py", "examples/*.py"):
        for path in ROOT.glob(pattern):
            if path.suffix in (".py", ".pyx", ".pxi", ".pxd", ".pyi", ".h"):
                assert len(path.read_text().splitlines()) <= 500, path
