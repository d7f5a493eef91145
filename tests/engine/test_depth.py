"""Depth and width are bounded by memory alone."""

import threading

import pytest

import microgradc
from microgradc import Value

TEN_MILLION = 10_000_000


def chain(n, x):
    y = x
    for _ in range(n):
        y = y + x
    return y


def build_differentiate_release(n):
    x = Value(1.0)
    y = chain(n, x)
    assert y.data == n + 1
    y.backward()
    assert x.grad == n + 1
    del y
    return x


def test_a_chain_of_ten_million_nodes():
    build_differentiate_release(TEN_MILLION)


@pytest.mark.parametrize("n", [1_000_000, TEN_MILLION])
def test_on_a_thread_with_a_small_stack(n):
    result = []
    before = threading.stack_size(256 * 1024)
    try:
        thread = threading.Thread(target=lambda: result.append(build_differentiate_release(n).grad))
        thread.start()
        thread.join()
    finally:
        threading.stack_size(before)
    assert result == [n + 1]


def test_a_sum_over_a_million_operands():
    values = [Value(0.5) for _ in range(1_000_000)]
    total = microgradc.sum(values)
    assert total.data == 500_000.0
    total.backward()
    assert all(v.grad == 1.0 for v in values)
    assert len(microgradc.topological_sort(total)) == 1_000_001


def test_a_deep_ladder_in_which_each_node_is_used_twice():
    x = Value(1.0)
    a, b = x * 1.0, x * 1.0
    for _ in range(100_000):
        a, b = (a + b) * 0.5, (a - b) * 0.5 + a
    (a + b).backward()
    assert x.grad == pytest.approx((a + b).data, rel=1e-9)


def test_a_deep_chain_of_nodes_with_closures_and_of_subclasses():
    class Node(Value):
        pass

    for make in (lambda c: Value(c.data, (c,), (1.0,)), lambda c: Node(c.data, (c,), (1.0,)), with_closure):
        x = Value(1.0)
        y = x
        for _ in range(100_000):
            y = make(y)
        y.backward()
        assert x.grad == 1.0
        del y


def with_closure(child):
    out = Value(child.data, (child,))

    def _backward():
        child.grad += out.grad

    out._backward = _backward
    return out


def test_topological_sort_of_a_deep_chain():
    x = Value(1.0)
    order = microgradc.topological_sort(chain(1_000_000, x))
    assert len(order) == 1_000_001
    assert order[0] is x


def test_a_wide_node_over_wide_nodes():
    x = Value(2.0)
    rows = [microgradc.dot([x] * 300, [x] * 300, bias=x) for _ in range(300)]
    microgradc.mean(rows).backward()
    assert x.grad == pytest.approx(2 * 300 * 2.0 + 1)
