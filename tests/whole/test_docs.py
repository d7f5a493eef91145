"""The examples in docstrings, in docs and in the README run, and give what they say; links lead somewhere; files stay
short."""

import doctest
import re
import runpy
import shutil
import sys
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from pkgutil import walk_packages

import pytest
from PIL import Image

import microgradc

ROOT = Path(__file__).parents[2]
FINDER = doctest.DocTestFinder(exclude_empty=True)
DOCTESTED = [
    import_module(module.name)
    for module in walk_packages(microgradc.__path__, "microgradc.")
    if module.name != "microgradc.__main__"
]


def docstring_examples():
    for module in DOCTESTED:
        names = {**vars(microgradc.engine), **vars(microgradc.engine.functions), **vars(module)}
        owners = [(module.__name__, module)]
        for name, thing in vars(module).items():
            if getattr(thing, "__module__", None) == module.__name__ and getattr(thing, "__doc__", None):
                owners.append((name, thing))
                if isinstance(thing, type):
                    owners += [
                        (f"{name}.{n}", t)
                        for n, t in vars(thing).items()
                        if getattr(t, "__doc__", None) and not n.startswith("__")
                    ]
        for name, owner in owners:
            test = doctest.DocTestParser().get_doctest(owner.__doc__ or "", dict(names), name, None, 0)
            if test.examples:
                yield pytest.param(test, id=f"{module.__name__}:{name}")


EXAMPLES = list(docstring_examples())


@pytest.fixture
def without_micrograd():
    """No micrograd is imported, and what `install()` puts in its place is gone afterwards."""

    def take():
        return {name: sys.modules.pop(name) for name in list(sys.modules) if name.partition(".")[0] == "micrograd"}

    before = take()
    yield
    take()
    sys.modules.update(before)


def run_doctest(test):
    out = []
    assert doctest.DocTestRunner(verbose=False).run(test, out=out.append).failed == 0, "".join(out)


@pytest.mark.usefixtures("without_micrograd")
@pytest.mark.parametrize("test", EXAMPLES)
def test_docstrings(test):
    run_doctest(test)


def test_there_are_docstring_examples():
    assert len(EXAMPLES) >= 10


PAGES = sorted((ROOT / "docs").glob("*.md"))
# A block of code, and what it needs if it is marked: <!-- needs torch -->
BLOCK = re.compile(r"(?:<!-- needs (\w+) -->\n)?```python\n(.*?)^```", re.DOTALL | re.MULTILINE)
NEEDED = {name: find_spec(name) for name in ("torch", "dask", "joblib", "ray")}
NEEDED |= {"dot": shutil.which("dot"), "cc": shutil.which("cc")}
NEEDED["mpi4py"] = find_spec("mpi4py") and shutil.which("mpiexec")      # which is nothing without a library of MPI


def page_examples():
    """Yield each page with the blocks that are not marked; and again, for each thing that others need, with those
    too."""
    for page in PAGES:
        blocks = BLOCK.findall(page.read_text(encoding="utf-8"))
        for thing in dict.fromkeys(need for need, _ in [("", ""), *blocks]):
            code = "\n".join(code for need, code in blocks if need in ("", thing))
            test = doctest.DocTestParser().get_doctest(code, {}, page.name, str(page), 0)
            if test.examples:
                missing = thing and not NEEDED[thing]
                mark = pytest.mark.skipif(
                    bool(missing), reason=f"{page.name} shows something that needs {thing}, which is not installed"
                )
                yield pytest.param(test, marks=mark, id=f"{page.name}-{thing}" if thing else page.name)


@pytest.mark.parametrize("test", list(page_examples()))
def test_pages(test, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)   # where files that they save go
    run_doctest(test)


def test_pages_have_examples_and_stay_short():
    for page in PAGES:
        text = re.sub(
            "(?<=: begin -->).*(?=<!--)", "", page.read_text(encoding="utf-8"), flags=re.DOTALL
        )  # but for generated tables
        assert len(text.splitlines()) < 120, page.name
        assert page.name in ("coverage.md", "differences.md", "gallery.md", "trust.md") or ">>> " in text, page.name


def test_links_lead_somewhere():
    pages = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *PAGES]
    texts = {page: re.sub("`[^`\n]*`", "", page.read_text(encoding="utf-8")) for page in pages}    # code is no link
    links = [(page, link) for page, text in texts.items() for link in re.findall(r"\]\(([^)#]+)", text)]
    assert len(links) > 20
    for page, link in links:
        if not link.startswith("https://"):
            assert (page.parent / link).exists(), f"{link} in {page.name}"
    for page in PAGES:   # each can be found from the README, by way of the guide
        assert any((of.parent / link).resolve() == page for of, link in links if of != page), page.name


def test_pictures_are_those_that_the_script_draws(tmp_path):
    runpy.run_path(str(ROOT / "docs" / "make_pictures.py"))["main"](tmp_path, epochs=2)
    committed = sorted(path for path in (ROOT / "docs" / "images").iterdir() if path.is_file())
    assert sorted(p.name for p in tmp_path.iterdir()) == [p.name for p in committed]
    for picture in committed:
        assert picture.stat().st_size < (600_000 if picture.suffix == ".gif" else 100_000)
        pages = [*PAGES, ROOT / "README.md"]
        assert any(f"images/{picture.name}" in page.read_text(encoding="utf-8") for page in pages)
    for folder, frames in [(tmp_path, 3), (ROOT / "docs" / "images", 41)]:
        with Image.open(folder / "learning.gif") as film:
            assert film.n_frames == frames


def test_gallery_has_every_example_with_its_picture(tmp_path):
    made = runpy.run_path(str(ROOT / "docs" / "make_gallery.py"))
    examples = {path.name for path in (ROOT / "examples").iterdir() if path.suffix in (".py", ".ipynb")}
    assert set(made["EXAMPLES"]) == examples
    page = (ROOT / "docs" / "gallery.md").read_text(encoding="utf-8")
    entry = r"^- \[!\[.{10,}\]\(images/gallery/(\w+)\.png\)\]\(\.\./examples/(.*)\)\n  \[(.*)\]\(.*\3\): "
    shown = re.findall(entry, page, re.MULTILINE)
    assert {example for _, example, _ in shown} == examples
    assert all(picture == example.partition(".")[0] and example == text for picture, example, text in shown)
    pictures = sorted((ROOT / "docs" / "images" / "gallery").iterdir())
    assert [picture.stem for picture in pictures] == sorted(picture for picture, _, _ in shown)
    assert all(picture.stat().st_size < 40_000 for picture in pictures)
    made["main"](["autograd_basics.py", "expression_and_net.py"], tmp_path)    # one of each kind
    for picture in tmp_path.iterdir():
        with Image.open(picture) as image:
            assert image.size == made["SIZE"]
            assert len(image.getcolors()) > 10


def test_readme_examples(run_python, tmp_path, monkeypatch):
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    assert len(blocks) >= 3
    monkeypatch.chdir(tmp_path)
    run_python("\n".join(blocks), PYTHONPATH=str(Path(microgradc.__file__).parents[1]))


def test_every_public_name_has_a_docstring():
    for name in microgradc.__all__:
        assert getattr(microgradc, name).__doc__, name
    public = [n for n in vars(microgradc.Value) if not n.startswith("_")]
    assert len(public) > 30
    for name in public:
        assert getattr(microgradc.Value, name).__doc__, name


def test_differences_are_listed():
    """As many rows in the first table as tests: a difference has both."""
    table = (ROOT / "docs" / "differences.md").read_text(encoding="utf-8").partition("\n## ")[0]
    rows = [line for line in table.splitlines() if line.startswith("| ") and "---" not in line][1:]
    tests = re.findall(r"^def test_", (ROOT / "tests" / "whole" / "test_differences.py").read_text(), re.MULTILINE)
    assert len(rows) == len(tests)


def test_files_stay_short():
    for pattern in ("src/**/*.py*", "src/**/*.h", "tests/**/*.py", "benchmarks/*.py", "examples/*.py", "docs/**/*.py"):
        for path in ROOT.glob(pattern):
            if path.suffix in (".py", ".pyx", ".pxi", ".pxd", ".pyi", ".h"):
                lines = path.read_text().splitlines()
                assert len(lines) <= (600 if path.suffix == ".pyi" else 500), path     # a stub lists what is public
                assert max(map(len, lines), default=0) <= 120, path
