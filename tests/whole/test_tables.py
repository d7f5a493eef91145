"""What the pages list of the operations is what the engine's table has."""

import re
import runpy
from pathlib import Path

import pytest

from microgradc.engine import TABLE

SCRIPT = Path(__file__).parents[2] / "docs" / "make_tables.py"


@pytest.fixture(scope="module")
def script():
    return runpy.run_path(str(SCRIPT))


def test_pages_are_up_to_date(script):
    assert script["stale"]() == [], "run python docs/make_tables.py"


def test_every_operation_has_a_row(script):
    rows = script["operation_rows"]().splitlines()[2:]
    cells = [re.split(r"(?<!\\)\|", row) for row in rows]
    assert [cell[1].strip(" `") for cell in cells] == [row.name.lower() for row in TABLE]
    assert all(len(cell) == 9 for cell in cells)


def test_a_stale_page_is_named(script, tmp_path, monkeypatch):
    (tmp_path / "docs").mkdir()
    for name in ("README.md", "docs/expressions.md"):
        (tmp_path / name).write_text(
            (SCRIPT.parents[1] / name).read_text(encoding="utf-8").replace("tanh", "tonh"), encoding="utf-8"
        )
    monkeypatch.setitem(script["pages"].__globals__, "ROOT", tmp_path)
    assert script["stale"]() == ["README.md", "docs/expressions.md"]
    monkeypatch.setattr("sys.argv", ["make_tables.py", "--check"])
    with pytest.raises(SystemExit, match=r"out of date: README.md, docs/expressions.md"):
        script["main"]()
    monkeypatch.setattr("sys.argv", ["make_tables.py"])
    script["main"]()
    assert script["stale"]() == []
