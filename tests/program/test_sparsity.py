"""Which derivatives are 0, and which others are found in one direction."""

import random

import numpy as np
import pytest

import microgradc
from microgradc import Value
from microgradc.engine import IntegerInput
from microgradc.engine.value import operate
from microgradc.program.sparsity import Dependence, groups_of_columns, groups_of_rows, groups_of_symmetric


def masks_of(pattern):
    return [sum(1 << int(j) for j in np.flatnonzero(row)) for row in pattern]


def rebuilt(groups, found):
    matrix = np.zeros(groups.shape)
    matrix[groups.rows, groups.columns] = found[groups.found]
    return matrix


@pytest.mark.parametrize("seed", range(30))
def test_every_number_is_found(seed):
    source = np.random.default_rng(seed)
    m, n = source.integers(1, 15, 2)
    matrix = source.normal(size=(m, n)) * (source.random((m, n)) < source.choice([0.05, 0.2, 0.5, 1.0]))
    masks = masks_of(matrix != 0)
    by_columns, by_rows = groups_of_columns(masks, n), groups_of_rows(masks, n)
    np.testing.assert_array_equal(rebuilt(by_columns, by_columns.directions() @ matrix.T), matrix)
    np.testing.assert_array_equal(rebuilt(by_rows, by_rows.directions() @ matrix), matrix)
    for groups in (by_columns, by_rows):
        assert list(zip(groups.columns, groups.rows, strict=True)) == sorted(zip(*np.nonzero(matrix.T), strict=True))
    half = source.normal(size=(n, n)) * (source.random((n, n)) < source.choice([0.05, 0.2, 0.5]))
    symmetric = half + half.T
    groups = groups_of_symmetric(masks_of(half != 0))       # one of two equal numbers need not be known
    np.testing.assert_array_equal(rebuilt(groups, groups.directions() @ symmetric), symmetric)
    assert groups.count <= max(1, groups_of_columns(masks_of(symmetric != 0), n).count)


def test_few_groups():
    n = 40
    band, arrow = np.abs(np.subtract.outer(range(n), range(n))) <= 1, np.eye(n, dtype=bool)
    arrow[0], arrow[:, 0] = True, True
    assert groups_of_columns(masks_of(band), n).count == 3
    assert groups_of_columns(masks_of(arrow), n).count == n
    assert groups_of_symmetric(masks_of(arrow)).count == 2
    assert groups_of_rows(masks_of(arrow[:1]), n).count == 1
    assert groups_of_symmetric([0] * 5).count == 0
    assert groups_of_columns([], 3).directions().shape == (0, 3)


def test_what_sends_nothing_is_not_depended_on():
    x, index = [Value(float(i)) for i in range(5)], IntegerInput(1)
    ys = [
        microgradc.where(x[0], x[1] * x[2], x[3]), microgradc.less(x[0], x[1]) * x[4],
        operate("take", index, x[1], x[2]), 2.0, x[3], x[0] * x[1] + 2.0,
    ]  # fmt: skip
    assert Dependence(ys, [*x, index]).masks() == [0b01110, 0b10000, 0b00110, 0, 0b01000, 0b00011]


def test_work_is_counted_in_directions():
    x = [Value(float(i)) for i in range(4)]
    of_pairs = Dependence([x[0] * x[1], x[2] * x[3]], x)
    assert of_pairs.work([0, 0, 0, 0]) == of_pairs.work([0, 0, 1, 1]) == 1
    assert of_pairs.work([0, 1, 0, 1]) == pytest.approx(8 / 6)
    assert of_pairs.work([-1, -1, 0, 0]) == 0.5


def test_wide_random_patterns_take_no_more_than_greedy_columns():
    source = random.Random(0)
    pattern = np.zeros((200, 200), bool)
    for i in range(200):
        pattern[i, source.sample(range(200), 3)] = True
    groups = groups_of_symmetric(masks_of(pattern))
    assert groups.count < groups_of_columns(masks_of(pattern | pattern.T), 200).count
