"""The parts of `python -m tests.trust`, a second of each that needs no build; that each finds what it is for; and that
`docs/numerics.md` names each environment variable that is read."""

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="compares with PyTorch")

from trust import differences, files, graphs, programs, random_graphs, recorded, spellings, threads, trees
from trust.child import run_child
from trust.findings import Budget, Findings
from trust.judged import judge
from trust.table import PARTS

ROOT = Path(__file__).parents[2]
FOUND = spellings.spellings()
MAKE = spellings.makers(FOUND)


def test_the_table_names_modules():
    for part in PARTS:
        assert (ROOT / f"tests/trust/{part.module or part.name}.py").exists()
    assert len({part.name for part in PARTS}) == len(PARTS)


@pytest.mark.parametrize("wild", [False, True])
def test_graphs(wild):
    batch = random_graphs.random_batch(np.random.default_rng(5), 300, FOUND, wild)
    data, grads = graphs.by_microgradc(batch, MAKE)
    theirs, their_grads = graphs.by_pytorch(batch, FOUND)
    wrong = np.flatnonzero(graphs.differs(data, theirs).any(0) | graphs.differs(grads, their_grads).any(0))
    assert len(wrong) < 30
    few = batch.only(wrong)
    assert list(judge(few, *graphs.by_microgradc(few, MAKE, everything=True), FOUND)) == []


@pytest.mark.parametrize("what", ["data", "grads"])
def test_a_wrong_number_in_a_graph_is_found(what):
    batch = random_graphs.random_batch(np.random.default_rng(6), 20, FOUND, wild=False)
    data, grads = graphs.by_microgradc(batch, MAKE, everything=True)
    assert list(judge(batch, data, grads, FOUND)) == []
    [node, graph] = np.argwhere(batch.differentiated[4:] & np.isfinite(data[4:]) & (data[4:] != 0) & (grads[4:] != 0))[
        0
    ]
    {"data": data, "grads": grads}[what][node + 4, graph] *= 1 + 1e-6
    found = list(judge(batch, data, grads, FOUND))
    assert graph in [of for of, _ in found]
    assert "Value(" in random_graphs.program_of(batch, graph, FOUND)


def test_what_is_not_compared_is_little():
    g = np.ones(3)
    x = [np.array([1.0, 2.0, 3.0])] * 2
    assert not any(differences.hidden(spelling.name, x, g).any() for spelling in FOUND)
    assert not any(differences.hidden_value(spelling.name, x).any() for spelling in FOUND)


def test_graphs_as_programs():
    findings = Findings()
    recorded.compare(findings, np.random.default_rng(1), FOUND, 1, 8)
    assert [finding.what for finding in findings.found] == []
    assert findings.counts["compiled functions"] == 16


def test_programs():
    findings = programs.run(Budget(60, 40), most=6)
    assert [finding.what for finding in findings.found] == []
    assert findings.counts["compiled"] >= 3


def test_trees():
    findings = trees.run(Budget(60, 40), most=15)
    assert [finding.what for finding in findings.found] == []


def test_threads():
    findings = threads.run(Budget(60, 3), most=1)
    assert [finding.what for finding in findings.found] == []


def test_files():
    if sys.platform == "win32":
        pytest.skip("limits its memory by the module resource")
    findings = files.run(Budget(1, 7), most=100)
    assert [finding.what for finding in findings.found] == []
    assert findings.counts["refused"] > 20


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs timers, /proc and an allocator that fails")
@pytest.mark.parametrize("module", ["signals", "leaks", "forks"])
def test_children(module):
    findings = Findings()
    arguments = {"signals": ("graph", 1, 0.3), "leaks": ("graph", 200, 1), "forks": (1, 0.2, 2)}[module]
    run_child(findings, 1, module, *arguments, timeout=100)
    assert [finding.what for finding in findings.found] == []
    assert findings.cases


def test_a_child_that_dies_is_a_finding():
    findings = Findings()
    run_child(findings, 9, "leaks", "no such scenario", 1, 1, timeout=100)
    [finding] = findings.found
    assert "exit code 1" in finding.what
    assert "KeyError" in finding.what
    assert finding.seed == 9


def test_the_report(tmp_path):
    file = tmp_path / "report.json"
    result = subprocess.run(
        [sys.executable, "-m", "tests.trust", "--only", "trees", "--hours", "0", "--seed", "4", "--json", file],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    assert re.search(r"^trees .* 1 cases  nothing found", result.stdout, re.MULTILINE)
    assert json.loads(file.read_text())["trees"]["seed"] == 4


def test_each_environment_variable_is_in_the_page():
    page = (ROOT / "docs/numerics.md").read_text(encoding="utf-8")
    sources = [
        *(ROOT / "src").rglob("*.py"),
        *(ROOT / "src").rglob("*.p[yx][xid]"),
        *(ROOT / "src").rglob("*.h"),
        ROOT / "setup.py",
    ]
    read = {
        name
        for file in sources
        if file.suffix != ".c"
        for name in re.findall(r"""["'](MICROGRADC_[A-Z]+)["']""", file.read_text(encoding="utf-8"))
    }
    assert {"MICROGRADC_SIMD", "MICROGRADC_SLAB", "MICROGRADC_CHECKED"} <= read
    listed = set(re.findall(r"^\| `(MICROGRADC_[A-Z]+)`", page, re.MULTILINE))
    assert listed == read | {"MICROGRADC_LONG"}
