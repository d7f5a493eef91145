"""The house: who imports whom. Arrows between packages point one way, and no file imports, by whatever way, what
imports it.

`python tests/whole/test_house.py` prints the arrows between packages.
"""

import ast
import re
from collections import defaultdict
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "src" / "microgradc"

# From the ground up. What lies on one floor knows nothing of its neighbours.
FLOORS = [
    {"cells"},
    {"engine"},
    {"changes", "checks", "keywords", "modes", "moved", "trees", "ufuncs"},
    {"container"},
    {"after_numpy", "arrays", "program"},
    {"derivatives"},
    {"nn", "losses", "optim"},
    {"train"},
    {"distributed"},
    {"checkpoint", "checking", "interop", "sklearn", "viz"},
    {"cli"},
    {"__init__", "__main__", "_kernels"},
]
FLOOR_OF = {name: i for i, floor in enumerate(FLOORS) for name in floor}

# Methods that lead upward: they import in their body, and what they call imports nothing back (which the search for
# circles sees).
UPWARD = {
    ("nn.module", "train.fit"),
    ("nn.module", "train.scores"),
    ("nn.module", "train.predictions"),
    ("nn.module", "checkpoint.models"),
    ("nn.containers", "interop"),
    ("program.chunks", "distributed.chunks"),
    ("train.history", "viz.training"),
}


def name_of(path):
    """Return the name of a source file below the package: 'engine.value', 'engine' for its __init__."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if len(parts) > 1 and parts[-1] == "__init__" else parts)


SOURCES = {name_of(path): path for ending in ("py", "pyx") for path in PACKAGE.rglob(f"*.{ending}")}


# The places of public names, by the list of them: `from microgradc import MLP` is an arrow to nn.
STUB = (PACKAGE / "__init__.pyi").read_text(encoding="utf-8")
PLACES = {
    name: module.removeprefix("microgradc").lstrip(".")
    for module, names in re.findall(r"^from (\S+) import (.* as .*)$", STUB, re.MULTILINE)
    for name in re.findall(r" as (\w+)", names)
}


def resolved(name):
    """Return the file that an imported name of the package is, or is in; None if it is the package itself."""
    while name and name not in SOURCES:
        name = PLACES[name] if "." not in name and PLACES.get(name) else name.rpartition(".")[0]
    return name or None


def imports_of_python(text):
    """Yield the dotted names that Python code imports from the package, wherever it does."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def imports_of_cython(text):
    """Yield the same of Cython code, and of the declarations that it takes."""
    for module, names in re.findall(r"^\s*from\s+(microgradc[\w.]*)\s+c?import\s+\(?([\w, *]+)", text, re.MULTILINE):
        yield from (f"{module}.{name.strip()}" for name in names.split(","))
    yield from re.findall(r"^\s*c?import\s+(microgradc[\w.]*)", text, re.MULTILINE)


def included(path):
    """Return the text of a Cython file and of those that it includes."""
    text = path.read_text(encoding="utf-8")
    return text + "".join(included(path.parent / name) for name in re.findall(r'^include "(.+)"', text, re.MULTILINE))


def arrows():
    """Return for each file the files of the package that it imports."""
    found = defaultdict(set)
    for name, path in SOURCES.items():
        imports = (
            imports_of_python(path.read_text(encoding="utf-8"))
            if path.suffix == ".py"
            else imports_of_cython(included(path))
        )
        for imported in imports:
            if imported.partition(".")[0] == "microgradc" and (target := resolved(imported.partition(".")[2])) not in (
                None,
                name,
            ):
                found[name].add(target)
    return found


def package_of(name):
    return name.partition(".")[0]


@pytest.fixture(scope="module")
def house():
    return arrows()


def test_every_file_has_a_floor():
    assert {package_of(name) for name in SOURCES} == set(FLOOR_OF)


def test_no_arrow_climbs(house):
    for name, targets in house.items():
        for target in targets:
            here, there = package_of(name), package_of(target)
            if (name, target) not in UPWARD and here != there:
                assert FLOOR_OF[there] < FLOOR_OF[here], f"{name} imports {target}, which is not below it"


def test_methods_that_lead_upward_do(house):
    assert {(name, target) for name, target in UPWARD if target not in house[name]} == set()


def test_no_circles_of_files(house):
    try:
        list(TopologicalSorter(house).static_order())
    except CycleError as error:
        pytest.fail(f"a circle: {' <- '.join(error.args[1])}")


def test_a_circle_is_found():
    with pytest.raises(CycleError):
        list(TopologicalSorter({"a": {"b"}, "b": {"a"}}).static_order())
    assert [resolved(name) for name in ("MLP", "losses", "compile")] == ["nn", "losses", "program.compile"]
    assert set(imports_of_python("def f():\n    from microgradc.nn import MLP\n")) == {"microgradc.nn.MLP"}
    assert set(imports_of_python("if TYPE_CHECKING:\n    import microgradc.nn.module\n")) == {"microgradc.nn.module"}
    assert set(imports_of_cython("from microgradc.engine.value cimport *\nimport microgradc.nn\n")) == {
        "microgradc.engine.value.*",
        "microgradc.nn",
    }


def test_files_at_the_top_are_few():
    top = [path for path in PACKAGE.iterdir() if path.suffix in (".py", ".pyx", ".pyi")]
    assert len(top) < 20


if __name__ == "__main__":
    packages = defaultdict(set)
    for name, targets in arrows().items():
        packages[package_of(name)] |= {package_of(target) for target in targets} - {package_of(name)}
    for floor in FLOORS:
        for package in sorted(floor):
            print(f"{package:<12} -> {', '.join(sorted(packages[package], key=FLOOR_OF.get)) or 'nothing'}")
