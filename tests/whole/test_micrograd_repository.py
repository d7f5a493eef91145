"""micrograd's repository on microgradc: its tests, its demo and its notebook of graphs, with nothing changed.

The files in tests/data/micrograd are those of github.com/karpathy/micrograd (MIT, see LICENSE there):
`engine_tests.txt` as it is, the notebooks as their cells of code one after another. `python -m microgradc run` and
micrograd itself print the same.
"""

import re
import subprocess
import sys
from pathlib import Path

import pytest

FILES = Path(__file__).parents[1] / "data" / "micrograd"


def run(program, tmp_path, ours, **changed):
    """Run one of the files, with lines changed, on microgradc or micrograd; return the lines that it prints."""
    text = (FILES / program).read_text()
    for before, after in changed.values():
        assert before in text
        text = text.replace(before, after)
    script = tmp_path / f"{'ours' if ours else 'theirs'}_{program}"
    script.write_text("import matplotlib; matplotlib.use('Agg')\n" + text)
    command = [sys.executable, *(["-m", "microgradc", "run"] if ours else []), str(script)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=600, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    return result.stdout.splitlines()


def read_numbers(line):
    return [float(x) for x in re.findall(r"-?\d+\.?\d*(?:e[-+]\d+)?", line)]


def test_its_tests(tmp_path):
    calls = "test_sanity_check(); test_more_ops(); print(Value.__module__)"
    text = (FILES / "engine_tests.txt").read_text()
    for ours, module in ((True, "microgradc.engine"), (False, "micrograd.engine")):
        script = tmp_path / "script.py"
        script.write_text(f"{text}\n{calls}\n")
        command = [sys.executable, *(["-m", "microgradc", "run"] if ours else []), str(script)]
        result = subprocess.run(command, capture_output=True, text=True, timeout=300)
        assert (result.returncode, result.stdout) == (0, module + "\n"), result.stderr


def test_its_demo_trains(tmp_path):
    pytest.importorskip("sklearn")
    lines = run("demo.txt", tmp_path, ours=True)
    assert len(lines) == 103
    assert lines[-1].startswith("step 99 loss 0.0")
    assert lines[-1].endswith("accuracy 100.0%")


def test_its_demo_prints_what_it_prints_with_micrograd(tmp_path):
    pytest.importorskip("sklearn")
    few = {"steps": ("range(100)", "range(1)"), "mesh": ("h = 0.25", "h = 2.0")}
    ours, theirs = (run("demo.txt", tmp_path, ours, **few) for ours in (True, False))
    assert len(ours) == len(theirs) == 4
    for a, b in zip(ours, theirs, strict=True):
        assert re.sub(r"[-\d.e]+", "#", a) == re.sub(r"[-\d.e]+", "#", b)
        assert read_numbers(a) == pytest.approx(read_numbers(b), rel=1e-9)


def test_its_graphs(tmp_path):
    """All but the picture itself, which needs the program dot: the nodes and edges, whatever their order."""
    shown = "print(*sorted(re.findall('label=(.*)', dot.source)), sep=chr(10)); print(dot.source.count('->'))"
    changed = {"end": ("dot.render('gout')", shown), "start": ("import random", "import random, re")}
    ours, theirs = (run("trace_graph.txt", tmp_path, ours, **changed) for ours in (True, False))
    # One node of ours is a whole neuron's sum; the root and the leaves are the same.
    assert ours != theirs
    for label in ("data 1.0000", "data -2.0000"):
        assert sum(label in line for line in ours) == sum(label in line for line in theirs) >= 1
