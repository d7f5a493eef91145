"""The layered layout: what must hold for every acyclic graph, and that it is a good one where there is a best."""

from itertools import combinations, pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from microgradc.viz.layout import BOX_GAP, layered_layout


@st.composite
def graphs(draw):
    count = draw(st.integers(1, 25))
    sizes = [(draw(st.integers(5, 150)), draw(st.integers(5, 60))) for _ in range(count)]
    edges = [(a, draw(st.integers(a + 1, count - 1))) for a in range(count - 1) for _ in range(draw(st.integers(0, 3)))]
    return sizes, edges


def box_of(layout, sizes, v):
    (x, y), (width, height) = layout.centres[v], sizes[v]
    return x - width / 2, y - height / 2, x + width / 2, y + height / 2


@settings(max_examples=80, deadline=None)
@given(graphs())
def test_no_box_overlaps_another_and_no_line_runs_through_one(graph):
    sizes, edges = graph
    layout = layered_layout(sizes, edges)
    boxes = [box_of(layout, sizes, v) for v in range(len(sizes))]
    for left, top, right, bottom in boxes:
        assert -1e-6 <= left < right <= layout.width + 1e-6
        assert -1e-6 <= top < bottom <= layout.height + 1e-6
    for a, b in combinations(boxes, 2):
        assert a[2] < b[0] or b[2] < a[0] or a[3] < b[1] or b[3] < a[1]
    for (a, b), route in zip(edges, layout.routes, strict=True):
        assert route[0] == (boxes[a][2], layout.centres[a][1])
        assert route[-1][0] == boxes[b][0]
        assert boxes[b][1] < route[-1][1] < boxes[b][3]
        assert all(before[0] <= after[0] + 1e-9 for before, after in pairwise(route))
        for (x0, y0), (x1, y1) in pairwise(route):
            # A piece stays between its ends, whatever curve is drawn: those that are not horizontal cross a gap without
            # boxes.
            touched = [
                v for v, (left, top, right, bottom) in enumerate(boxes)
                if left < x1 - 1e-6 and x0 + 1e-6 < right and top < max(y0, y1) + 1e-6 and min(y0, y1) - 1e-6 < bottom
            ]
            assert not touched, (a, b, touched)


def test_operands_are_on_the_left():
    layout = layered_layout([(10, 10)] * 4, [(0, 1), (1, 3), (0, 2), (2, 3), (0, 3)])
    x = [x for x, _ in layout.centres]
    assert x[0] < x[1] == x[2] < x[3]


def test_a_leaf_is_next_to_what_uses_it():
    chain = [(i, i + 1) for i in range(9)]
    layout = layered_layout([(10, 10)] * 11, [*chain, (10, 9)])
    assert layout.centres[10][0] == layout.centres[8][0]


def test_a_chain_is_straight():
    layout = layered_layout([(10, 10)] * 50, [(i, i + 1) for i in range(49)])
    assert {y for _, y in layout.centres} == {5.0}


def test_a_tree_has_no_crossings_and_its_operands_are_in_order():
    edges = [(child, (child - 1) // 3) for child in range(1, 40)]
    layout = layered_layout([(10, 10)] * 40, edges)
    for parent in range(13):
        ys = [layout.centres[3 * parent + i][1] for i in (1, 2, 3)]
        assert ys == sorted(ys)
    for first in (1, 4, 13):  # the layers, from the root out
        ys = [layout.centres[v][1] for v in range(first, 3 * first + 1)]
        assert ys == sorted(ys)


def test_crossings_that_need_not_be_are_removed():
    # Depth first, the second layer is a, b, c and the third is that of a, then of b: sorting by the neighbours puts it
    # right.
    sizes = [(10, 10)] * 7
    edges = [(1, 0), (2, 0), (3, 0), (4, 3), (4, 1), (5, 2), (6, 1), (6, 3)]
    layout = layered_layout(sizes, edges)
    y = [y for _, y in layout.centres]
    crossings = [
        (p, q) for p, q in combinations(edges[3:], 2) if (y[p[0]] - y[q[0]]) * (y[p[1]] - y[q[1]]) < 0
    ]
    assert len(crossings) == 1  # of 1, 3, 4 and 6: two operands of the same two nodes cross once, however they lie


def test_twenty_operands_are_packed_around_their_sum():
    layout = layered_layout([(30, 20)] * 21, [(v, 20) for v in range(20)])
    ys = [y for _, y in layout.centres]
    assert [b - a for a, b in pairwise(ys[:20])] == pytest.approx([20 + BOX_GAP] * 19)
    assert ys[20] == pytest.approx(sum(ys[:20]) / 20)
    ends = [route[-1][1] for route in layout.routes]
    assert ends == sorted(set(ends))  # each line has a place of its own


def test_an_operand_used_twice_has_two_lines():
    first, second = layered_layout([(30, 20)] * 2, [(0, 1), (0, 1)]).routes
    assert first[0] == second[0]
    assert first[-1][1] < second[-1][1]


def test_a_line_past_many_layers_is_nearly_straight():
    chain = [(i, i + 1) for i in range(40)]
    layout = layered_layout([(40, 20)] * 42, [*chain, (41, 40), (41, 1)])
    ys = [y for _, y in layout.routes[-2]][2:-2]
    assert max(ys) - min(ys) < 5


def test_a_vertex_used_in_every_layer_takes_a_line_not_one_for_each():
    count = 300
    layout = layered_layout(
        [(10, 10)] * count, [(i, i + 1) for i in range(count - 1)] + [(0, i) for i in range(2, count)]
    )
    assert layout.height < 120  # with a line for each it would be 300 times LINE_GAP


def test_a_cycle_is_an_error():
    with pytest.raises(ValueError, match="no cycle, but 2 of its 3 vertices"):
        layered_layout([(1, 1)] * 3, [(0, 1), (1, 0)])
