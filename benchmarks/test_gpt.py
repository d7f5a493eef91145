"""A training step of examples/gpt.py: the engine in plain Python, microgradc under the same loops, microgradc's own
loops."""

import pytest
import workloads


@pytest.mark.parametrize("form", ["plain Python", "unmodified", "compiled loops"])
@pytest.mark.benchmark(group="GPT step")
def test_gpt_step(benchmark, form):
    pytest.importorskip("names", reason="examples/gpt.py needs the package `names`")
    result = benchmark(workloads.make_gpt(form))
    assert 1.0 < result["loss"] < 4.0
