"""What the site is made of: every public name has a place in the reference, every page one in the menus.

`mkdocs build --strict` finds the rest: links that lead nowhere, and names that it could not describe.
"""

import importlib.util
import re
from pathlib import Path

import pytest

import microgradc

ROOT = Path(__file__).parents[2]
PLACE = importlib.util.spec_from_file_location("site_reference", ROOT / "docs" / "site" / "reference.py")


@pytest.fixture
def reference():
    pytest.importorskip("sklearn")
    module = importlib.util.module_from_spec(PLACE)
    PLACE.loader.exec_module(module)
    return module


def test_every_public_name_is_on_one_page(reference):
    names = [name for names in reference.contents().values() for name in names]
    assert len(names) == len(set(names))
    things = {id(reference.thing_at(name)) for name in names}
    modules = ("nn", "optim", "optim.lr_scheduler", "losses", "sklearn", "engine", "program", "checking", "viz")
    for module in map(reference.module, modules):
        for name in module.__all__:
            thing = getattr(module, name)
            assert id(thing) in things or hasattr(thing, "__path__"), f"{module.__name__}.{name}"
    for name in microgradc.__all__:
        thing = getattr(microgradc, name)
        assert id(thing) in things or hasattr(thing, "__loader__"), name


def test_modules_that_say_what_is_public_are_read(reference):
    """A package whose `__all__` has more than the package's list is among those that are read."""
    packages = {path.parent.name for path in ROOT.glob("src/microgradc/*/__init__.py")}
    with_list = {name for name in packages if hasattr(reference.module(name), "__all__")}
    assert with_list <= set(reference.PUBLIC)


def test_a_name_without_a_page_is_an_error(reference, monkeypatch):
    monkeypatch.setitem(microgradc._PLACES, "shown", "microgradc.train.history")
    with pytest.raises(LookupError, match=r"no page for microgradc\.shown, which is from train\.history"):
        reference.contents()


def test_a_new_name_comes_to_the_page_of_its_module(reference, monkeypatch):
    monkeypatch.setitem(microgradc._PLACES, "Batches", "microgradc.train.data")
    assert "microgradc.Batches" in reference.contents()["train"]
    assert "\n::: microgradc.Batches\n" in reference.page_text("train")


def test_every_page_is_in_a_menu():
    menus = re.findall(r"- (\w+\.md)$", (ROOT / "mkdocs.yml").read_text(encoding="utf-8"), re.MULTILINE)
    assert len(menus) == len(set(menus))
    assert {page.name for page in ROOT.glob("docs/*.md")} <= set(menus)
