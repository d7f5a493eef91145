"""The workloads of `compiled_workloads.py` in pytest's process: one table for each, the engines side by side."""

import compiled_workloads
import pytest
from compiled_workloads import CHECKED, TOLERANCE, WORKLOADS, numbers_of

import microgradc

CASES = [(workload, engine) for workload, engines in WORKLOADS.items() for engine in engines]


@pytest.fixture(autouse=True)
def number_of_threads():
    """Engines set it: put it back."""
    before = microgradc.get_num_threads()
    yield
    microgradc.set_num_threads(before)


@pytest.fixture(scope="module")
def references():
    """The first results of the first engine of each workload that was measured."""
    return {}


@pytest.mark.parametrize(("workload", "name"), CASES)
def test_work(benchmark, workload, name, references):
    benchmark.group = workload
    engine = WORKLOADS[workload][name]
    if lacking := compiled_workloads.missing(engine):
        pytest.skip(f"not installed: {', '.join(lacking)}")
    work, results = engine.make(), []

    def measured():
        result = work()
        if len(results) < CHECKED:
            results.append(numbers_of(result))

    with engine.context():
        benchmark.pedantic(measured, rounds=engine.turn, iterations=engine.repeat, warmup_rounds=1)
    reference = references.setdefault(workload, results)
    for result, expected in zip(results, reference, strict=False):
        assert result == pytest.approx(expected, rel=TOLERANCE)
