"""The scalar GPT: about 75,000 nodes, everything shared. A wrong topological order shows after some fifty steps."""

import gc
import os
import sys
from pathlib import Path

import plain_engine
import pytest

import microgradc

sys.path.insert(0, str(Path(__file__).parents[2] / "examples"))
gpt = pytest.importorskip("gpt", reason="examples/gpt.py needs the package `names`")


@pytest.fixture(scope="module")
def names():
    return gpt.load_names()


STEPS = 200 if os.environ.get("MICROGRADC_LONG") else 20


def test_steps_as_in_plain_python(names):
    plain, compiled = gpt.GPT(plain_engine.Value), gpt.GPT(microgradc.Value)
    gc.disable()  # the plain engine's graphs have no cycles; the collector would only slow it down
    try:
        pairs = list(zip(plain.train(names, STEPS), compiled.train(names, STEPS), strict=True))
    finally:
        gc.enable()
    assert [ours for _, ours in pairs] == pytest.approx([theirs for theirs, _ in pairs], rel=1e-12, abs=0)
    assert [p.data for p in compiled.parameters] == pytest.approx(
        [p.data for p in plain.parameters], rel=1e-9, abs=1e-12
    )


def test_compiled_loops_learn_the_same(names):
    plain, compiled = gpt.GPT(loops=gpt.PlainLoops), gpt.GPT(loops=gpt.CompiledLoops)
    pairs = list(zip(plain.train(names, 100), compiled.train(names, 100), strict=True))
    assert [a for a, _ in pairs] == pytest.approx([b for _, b in pairs], rel=1e-9)


def test_the_compiled_loss_learns_the_same(names):
    """The names have all lengths there are, so there is a recording for each, and two names in turn differ in it."""
    plain, compiled = gpt.GPT(loops=gpt.CompiledLoops), gpt.GPT(loops=gpt.CompiledLoops)
    pairs = list(zip(plain.train(names, 100), compiled.train_compiled(names, 100), strict=True))
    assert [b for _, b in pairs] == pytest.approx([a for a, _ in pairs], rel=1e-9, abs=0)
    assert [p.data for p in compiled.parameters] == pytest.approx(
        [p.data for p in plain.parameters], rel=1e-7, abs=1e-9
    )


def test_the_graph_is_as_large_as_it_says(names):
    loss = gpt.GPT().loss(gpt.tokens_of(next(n for n in names if len(n) == 8)))
    assert 70_000 < len(microgradc.topological_sort(loss)) < 80_000


@pytest.mark.parametrize("form", [[], ["--compiled"]], ids=" ".join)
def test_the_program(capsys, form):
    gpt.main(["20", *form])
    out = capsys.readouterr().out
    assert "4275 names, 4192 parameters" in out
    assert "made up: " in out
