"""Random graphs against PyTorch in float64: values, and gradients over several roots and repeated passes."""

import math
import os

import pytest
import torch
from graphs import build_tensors, build_values, recipes
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

import microgradc
from microgradc import Value, topological_sort

EXAMPLES = 300 if os.environ.get("MICROGRADC_LONG") else 100
slow = settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))


def close(ours, theirs):
    """Within 1e-12, relative to the largest number of either list: cancellation magnifies what rounding did before."""
    scale = max(1.0, *map(abs, theirs))
    return all(math.isclose(a, b, rel_tol=1e-12, abs_tol=1e-12 * scale) for a, b in zip(ours, theirs, strict=True))


def tensor_grads(tensors):
    return [0.0 if t.grad is None else t.grad.item() for t in tensors]


@slow
@given(recipes())
def test_values_and_gradients(recipe):
    leaves, _, roots = recipe
    values, tensors = build_values(recipe), build_tensors(recipe)
    numbers = [t.item() for t in tensors]
    assume(all(math.isfinite(x) and abs(x) < 1e8 for x in numbers))
    assert close([v.data for v in values], numbers)
    leaf_sums = [0.0] * len(leaves)
    for root in roots:
        # One pass at a time: PyTorch 2.13 adds leaf gradients up wrongly where they are views of one expanded number,
        # as after stack(...).sum(); and inner nodes are reset at the start of a pass here.
        for t in tensors:
            t.grad = None
        values[root].backward()
        tensors[root].backward(retain_graph=True)
        expected = tensor_grads(tensors)
        assume(all(abs(g) < 1e8 for g in expected))
        leaf_sums = [total + g for total, g in zip(leaf_sums, expected, strict=False)]
        reached = set(topological_sort(values[root]))
        pairs = [
            (v.grad, g) for v, g in zip(values[len(leaves) :], expected[len(leaves) :], strict=True) if v in reached
        ]
        pairs += [(v.grad, g) for v, g in zip(values, leaf_sums, strict=False)]
        assert close(*zip(*pairs, strict=True))


@slow
@given(recipes(), st.integers(1, 4))
def test_repeated_passes_add_up_in_leaves_alone(recipe, times):
    values = build_values(recipe)
    root, leaves = values[-1], values[: len(recipe[0])]
    assume(all(math.isfinite(v.data) for v in values))
    root.backward()
    once, inner = [v.grad for v in leaves], [v.grad for v in values[len(leaves) :]]
    assume(all(math.isfinite(g) for g in once))
    for _ in range(times):
        root.backward()
    assert [v.grad for v in values[len(leaves) :]] == inner
    assert [v.grad for v in leaves] == pytest.approx([g * (times + 1) for g in once], rel=1e-12)


@slow
@given(recipes())
def test_topological_sort_is_micrograds_order(recipe):
    """Post-order, depth-first, children in their order: the same list that the recursive build_topo makes."""
    root = build_values(recipe)[-1]
    expected, visited = [], set()

    def build_topo(v):
        if v not in visited:
            visited.add(v)
            for child in v._children:
                build_topo(child)
            expected.append(v)

    build_topo(root)
    got = topological_sort(root)
    assert list(map(id, got)) == list(map(id, expected))


@slow
@given(recipes())
def test_backward_is_the_chain_rule_over_local_grads(recipe):
    """By hand, node by node: the same bits as backward()."""
    values = build_values(recipe)
    root = values[-1]
    assume(all(math.isfinite(v.data) for v in values))
    root.backward()
    got = [v.grad for v in values]
    order = topological_sort(root)
    for v in order:
        v.grad = 0.0
    root.grad = 1.0
    for node in reversed(order):
        node._backward()
    assert [v.grad for v in values] == got


def test_the_bits_are_the_same_in_every_process(run_python):
    program = (
        "import random; from microgradc import Value, nn; random.seed(5); m = nn.MLP(3, [8, 8, 1])\n"
        "loss = sum((m([random.gauss(0, 1) for _ in range(3)]) - 1) ** 2 for _ in range(20)); loss.backward()\n"
        "print([p.grad.hex() for p in m.parameters()])"
    )
    assert len({run_python(program, PYTHONHASHSEED=str(seed)) for seed in (0, 1, 2)}) == 1


def test_known_hard_cases():
    x = Value(3.0)
    diamond = (x * 2) * (x * 2 + x)
    diamond.backward()
    assert x.grad == 36.0

    x = Value(1.5)
    y = x
    for _ in range(60):
        y = y + y  # each node used twice in one operation
    y.backward()
    assert x.grad == 2.0**60

    # A node that is pushed early by one parent, and needed late by another: marked when pushed, it would come out too
    # early.
    x = Value(2.0)
    shared = x * 3
    deep = shared
    for _ in range(10):
        deep = deep * 1.5 + shared
    root = shared * deep + shared
    root.backward()
    t = torch.tensor(2.0, dtype=torch.float64, requires_grad=True)
    shared_t = t * 3
    deep_t = shared_t
    for _ in range(10):
        deep_t = deep_t * 1.5 + shared_t
    (shared_t * deep_t + shared_t).backward()
    assert x.grad == pytest.approx(t.grad.item(), rel=1e-14)


def test_two_roots_that_share_a_part():
    x = Value(2.0)
    shared = x * x
    a, b = shared * 3, shared + x
    a.backward()
    assert (x.grad, shared.grad) == (12.0, 3.0)
    b.backward()
    assert (x.grad, shared.grad) == (17.0, 1.0)


def test_second_backward_adds_the_same_again():
    x = Value(3.0)
    y = x**3
    y.backward()
    assert x.grad == 27.0
    y.backward()
    assert x.grad == 54.0


def test_a_leaf_as_root():
    x = Value(3.0)
    x.backward()
    x.backward()
    assert x.grad == 2.0
    assert microgradc.topological_sort(x) == [x]
