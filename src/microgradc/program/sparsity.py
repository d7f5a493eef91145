"""Which derivatives are 0 whatever the numbers are, and which others are found in one direction.

Changes with how columns of a matrix are put together: Curtis, Powell, Reid, "On the estimation of sparse Jacobian
matrices", IMA J. Appl. Math. 1974; of a symmetric one Gebremedhin, Manne, Pothen, "What color is your Jacobian?", SIAM
Review 2005.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from itertools import pairwise
from typing import Any

import numpy as np

from microgradc.engine import Value
from microgradc.program.c_text import ROWS
from microgradc.program.calculus import COLUMNS, tape_of
from microgradc.program.rules import rule

__all__ = ["Dependence", "Groups", "groups_of_columns", "groups_of_rows", "groups_of_symmetric"]

_MOST_PATHS = 1_000_000     # of a symmetric matrix, which are looked at for groups: about half a second


class Dependence:
    """On which of some Values others depend.

    An operation that sends no gradient to an operand, as `where` to its condition, does not depend on it.

    Args:
        ys: Values, or numbers, which depend on nothing.
        xs: Values.
    """

    def __init__(self, ys: list[Any], xs: list[Value]) -> None:
        tape, places = tape_of([y for y in ys if isinstance(y, Value)])
        self._operands = [[o for i, o in enumerate(e.operands) if type(o) is int and _sends(e.op, i)] for e in tape]
        self._ys = [places[id(y)] if isinstance(y, Value) else -1 for y in ys]
        self._xs = [places.get(id(x), -1) for x in xs]

    def masks(self) -> list[int]:
        """Return for each of ys on which of xs it depends, as bits."""
        masks = self._spread(range(len(self._xs)))
        return [masks[y] if y >= 0 else 0 for y in self._ys]

    def work(self, groups: Iterable[int]) -> float:
        """Return how many operations the derivatives in the directions of groups have, for each of the Values'.

        Args:
            groups: for each of xs which one it is in, or -1.
        """
        return sum(map(int.bit_count, self._spread(groups))) / max(1, len(self._operands))

    def _spread(self, bits: Iterable[int]) -> list[int]:
        masks = [0] * len(self._operands)
        for x, bit in zip(self._xs, bits, strict=True):
            if x >= 0 and bit >= 0:
                masks[x] |= 1 << bit
        for e, operands in enumerate(self._operands):
            for o in operands:
                masks[e] |= masks[o]
        return masks


def _sends(op: str, i: int) -> bool:
    """Return whether operand i of an operation receives anything."""
    return bool(rule(op, COLUMNS[i])) if op in ROWS else i > 0 or op not in ("take", "cross_entropy")


class Groups:
    """Numbers of a matrix, column after column, and the directions that they are found in.

    Attributes:
        shape: of the matrix.
        rows, columns: of each number.
        found: for each number, the group whose direction finds it, and at which place of what is found.
        group_of: for each column, or row, of the matrix, which group it is in; -1 where there are no numbers.
        count: how many groups there are.
    """

    rows: np.ndarray
    columns: np.ndarray
    found: tuple[np.ndarray, np.ndarray]
    shape: tuple[int, int]
    group_of: list[int]
    count: int

    def __init__(
        self,
        shape: tuple[int, int],
        rows: np.ndarray,
        columns: np.ndarray,
        found: tuple[np.ndarray, np.ndarray],
        group_of: list[int],
    ) -> None:
        self.shape, self.rows, self.columns, self.found, self.group_of = shape, rows, columns, found, group_of
        self.count = max(group_of, default=-1) + 1

    def directions(self) -> np.ndarray:
        """Return for each group a row with 1 for those that are in it, and 0."""
        directions = np.zeros((self.count, len(self.group_of)))
        for i, group in enumerate(self.group_of):
            if group >= 0:
                directions[group, i] = 1.0
        return directions


def groups_of_columns(masks: list[int], count: int) -> Groups:
    """Put columns into one group of which no row has two.

    Args:
        masks: for each row, which columns may have something else than 0, as bits.
        count: how many columns there are.
    """
    shape = len(masks), count
    rows, columns = _by_columns(_by_rows(masks, count), count)
    group_of = _apart(shape, rows, columns)
    return Groups(shape, rows, columns, (np.array(group_of, int)[columns], rows), group_of)


def groups_of_rows(masks: list[int], count: int) -> Groups:
    """Put rows into one group of which no column has two: what is found has a place for each column."""
    shape = len(masks), count
    by_row = _by_rows(masks, count)
    rows, columns = _by_columns(by_row, count)
    group_of = _apart((count, len(masks)), np.concatenate([*by_row, np.zeros(0, int)]), _numbered(by_row))
    return Groups(shape, rows, columns, (np.array(group_of, int)[rows], columns), group_of)


def groups_of_symmetric(masks: list[int]) -> Groups:
    """Do the same for a symmetric matrix, in which one of two numbers that are equal is enough."""
    n = len(masks)
    by_row = _by_rows(masks, n)
    first, second = _numbered(by_row), np.concatenate([*by_row, np.zeros(0, int)])
    pairs = np.unique(np.concatenate([first * n + second, second * n + first]))
    columns, rows = pairs // n, pairs % n      # symmetric: by columns as by rows
    ends = np.searchsorted(columns, np.arange(n + 1)).tolist()
    neighbours = [rows[begin:end].tolist() for begin, end in pairwise(ends)]
    group_of = _apart((n, n), rows, columns)
    if sum(len(neighbours[j]) for found in neighbours for j in found) <= _MOST_PATHS:
        starred = _star(neighbours)
        if max(starred, default=0) < max(group_of, default=0):
            group_of = starred
    times = [Counter([group_of[j] for j in found]) for found in neighbours]
    groups, places = np.zeros(len(rows), int), np.zeros(len(rows), int)
    for e, (i, j) in enumerate(zip(rows.tolist(), columns.tolist(), strict=True)):
        i, j = min(i, j), max(i, j)
        if times[i][group_of[j]] != 1:
            i, j = j, i
        groups[e], places[e] = group_of[j], i
    return Groups((n, n), rows, columns, (groups, places), group_of)


def _by_rows(masks: list[int], count: int) -> list[np.ndarray]:
    """Return the places of the bits in each mask."""
    size = (count + 7) // 8
    return [
        np.flatnonzero(np.unpackbits(np.frombuffer(mask.to_bytes(size, "little"), np.uint8), bitorder="little"))
        for mask in masks
    ]


def _numbered(by_row: list[np.ndarray]) -> np.ndarray:
    return np.repeat(np.arange(len(by_row)), list(map(len, by_row)))


def _by_columns(by_row: list[np.ndarray], count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows and the columns of numbers, column after column."""
    columns, rows = np.concatenate([*by_row, np.zeros(0, int)]), _numbered(by_row)
    order = np.argsort(columns, kind="stable")
    return rows[order], columns[order]


def _apart(shape: tuple[int, int], rows: np.ndarray, columns: np.ndarray) -> list[int]:
    """Return a group for each column, the first that it fits in; no row has two columns of one."""
    count = shape[1]
    if np.bincount(rows, minlength=1).max() == count:     # a full row
        return list(range(count))
    taken = [0] * shape[0]      # by row, the groups that have one of its columns
    group_of = []
    for found in np.split(rows, np.searchsorted(columns, np.arange(1, count))):
        union = 0
        for i in found:
            union |= taken[i]
        group = (~union & (union + 1)).bit_length() - 1 if len(found) else -1
        group_of.append(group)
        for i in found:
            taken[i] |= 1 << group
    return group_of


def _star(neighbours: list[list[int]]) -> list[int]:
    """Return a group for each vertex of a graph: neighbours have different ones, and paths of four at least three."""
    adjacent = [[w for w in found if w != v] for v, found in enumerate(neighbours)]
    group_of = [-1] * len(neighbours)
    for v in sorted(range(len(neighbours)), key=lambda v: -len(neighbours[v])):
        if not neighbours[v]:
            continue
        union = 0
        for w in adjacent[v]:
            group = group_of[w]
            if group >= 0:
                union |= 1 << group
            for x in adjacent[w]:
                if group_of[x] < 0 or union >> group_of[x] & 1:
                    continue
                if group < 0 or any(group_of[y] == group for y in adjacent[x] if y != w):
                    union |= 1 << group_of[x]
        group_of[v] = (~union & (union + 1)).bit_length() - 1
    return group_of
