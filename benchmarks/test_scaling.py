"""How the cost of a node depends on the size of the graph: one chain of products, built, passed backward and
released."""

import pytest
import workloads

from microgradc import Value

SIZES = [10**3, 10**4, 10**5, 10**6, 10**7]
LARGEST_IN_TESTS = 10**5


@pytest.mark.benchmark(group="a chain of n products: build, backward and release")
@pytest.mark.parametrize("n", SIZES)
def test_chain(benchmark, n):
    if benchmark.disabled and n > LARGEST_IN_TESTS:
        pytest.skip(f"more than {LARGEST_IN_TESTS:,} nodes are for timing")
    times = benchmark.pedantic(workloads.measure_one_chain, (Value, n), rounds=max(3, min(100, 10**6 // n)))
    assert set(times) == {"build", "backward", "release"}  # the gradients are checked in there


@pytest.mark.benchmark(group="a chain of n products on floats")
@pytest.mark.parametrize("n", SIZES)
def test_chain_of_floats(benchmark, n):
    if benchmark.disabled and n > LARGEST_IN_TESTS:
        pytest.skip(f"more than {LARGEST_IN_TESTS:,} products are for timing")
    assert benchmark.pedantic(workloads.chain, (1.0, 1.0, n), rounds=max(3, min(100, 10**6 // n))) == 1
