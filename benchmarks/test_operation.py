"""One scalar operation. Each figure is for 10,000 of them: 1 ms in the table is 100 ns an operation.

minigrad is left to `ratios.py`, where the process that it needs for itself also times it.
"""

import sys

import pytest
import workloads
from workloads import CHAINS, LENGTH, PRODUCTS

ROUNDS = 50


@pytest.mark.benchmark(group="10,000 kept products: forward")
@pytest.mark.parametrize("engine", ["micrograd", "microgradc", "floor", "Python floats"])
def test_forward(benchmark, engine, number):
    a, b, kept = number(1.5), number(2.5), []

    def setup():
        kept[:] = [None] * PRODUCTS

    benchmark.pedantic(workloads.fill_with_products, (a, b, kept), setup=setup, rounds=ROUNDS)
    assert {product if number is float else product.data for product in kept} == {3.75}
    assert len(set(map(id, kept))) == PRODUCTS


@pytest.mark.benchmark(group="10,000 kept products: release")
@pytest.mark.parametrize("engine", ["microgradc", "floor", "Python floats"])
def test_release_of_products(benchmark, engine, number):
    a, b, kept = number(1.5), number(2.5), []

    def setup():
        kept[:] = [None] * PRODUCTS
        workloads.fill_with_products(a, b, kept)

    benchmark.pedantic(kept.clear, setup=setup, rounds=ROUNDS)
    assert not kept


# The graphs with a backward pass: 20 chains of 500 products, which micrograd can do as well, and one chain of 10,000.


def one_chain(x, factor):
    return workloads.chain(x, factor, PRODUCTS)


GRAPHS = [
    pytest.param("micrograd", workloads.chains, id="micrograd, 20 chains"),
    pytest.param("microgradc", workloads.chains, id="microgradc, 20 chains"),
    pytest.param("microgradc", one_chain, id="microgradc, one chain"),
]


def gradients(build):
    """Return d end / d x and d end / d factor where both are 1."""
    return (CHAINS, CHAINS * LENGTH) if build is workloads.chains else (1, PRODUCTS)


@pytest.mark.benchmark(group="a graph of 10,000 products: forward")
@pytest.mark.parametrize(("engine", "build"), GRAPHS)
def test_building(benchmark, number, build):
    x, factor, kept = number(1.0), number(1.0), []
    benchmark.pedantic(lambda: kept.append(build(x, factor)), setup=kept.clear, rounds=ROUNDS)
    assert kept[0].data == gradients(build)[0]


@pytest.mark.benchmark(group="a graph of 10,000 products: forward")
def test_building_on_floats(benchmark):
    assert benchmark.pedantic(one_chain, (1.0, 1.0), rounds=ROUNDS) == 1


@pytest.mark.benchmark(group="a graph of 10,000 products: backward")
@pytest.mark.parametrize(("engine", "build"), GRAPHS)
def test_backward(benchmark, number, build):
    x, factor = number(1.0), number(1.0)

    def setup():
        x.grad = factor.grad = 0
        return (build(x, factor),), {}

    benchmark.pedantic(lambda end: end.backward(), setup=setup, rounds=ROUNDS)
    assert (x.grad, factor.grad) == gradients(build)


@pytest.mark.benchmark(group="a graph of 10,000 products: backward")
def test_backward_by_hand(benchmark):
    values, factor = [1.0] * PRODUCTS, 1.0

    def backward():
        gradient, factor_gradient = 1.0, 0.0
        for value in reversed(values):
            factor_gradient += gradient * value
            gradient *= factor
        return gradient, factor_gradient

    assert benchmark.pedantic(backward, rounds=ROUNDS) == (1, PRODUCTS)


@pytest.mark.benchmark(group="a graph of 10,000 products: release")
@pytest.mark.parametrize(
    ("engine", "build"), GRAPHS[1:]
)  # micrograd's are cycles, left to the garbage collector: see test_moons.py
def test_release(benchmark, number, build):
    x, factor, kept = number(1.0), number(1.0), []

    def setup():
        kept.append(build(x, factor))
        kept[0].backward()

    before = sys.getrefcount(factor)
    benchmark.pedantic(kept.clear, setup=setup, rounds=ROUNDS)
    assert sys.getrefcount(factor) == before
