"""A large graph as a few boxes: what is computed in the same way of the same kind of things is in one of them.

Nobody has said which nodes are a layer; it is seen in what they compute. Sums of sums are one sum, sums of products are
weighted sums, those with an activation around them are neurons. Neurons of one layer, and the same layer for each
example of a batch, are computed alike all the way from the leaves, so they have equal keys, and one box.
"""

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from itertools import chain
from math import isfinite
from typing import Any

from microgradc.cells import of_count, one_line
from microgradc.checks import is_bool
from microgradc.engine import Value
from microgradc.viz.graph import LONGEST_LABEL, Part, label_of, number_as_text, numbers_of

COLLAPSED_FROM = 60       # nodes
# How many nodes are looked at, those nearest to the root: the work does not depend on the size of the graph.
LOOKED_AT, MOST_LOOKED_AT, LOOKED_AT_FOR_A_BOX = 20_000, 100_000, 500
ACTIVATIONS = frozenset(
    "ReLU tanh sigmoid leaky_relu elu gelu silu selu mish softsign hardtanh softplus log_sigmoid".split()
)
SYMMETRIC = frozenset(["sum", "mean", "logsumexp"])       # of any number of operands, in whatever order


@dataclass
class Content:
    """What a box of a picture shows, of one node or several."""

    nodes: list[Value]
    op: str
    label: list[str]      # bold lines
    lines: list[str]


@dataclass
class Contents:
    """The boxes of a picture from the root, which is the first; for each the places of its operands; and how many more
    it has."""

    boxes: list[Content]
    operands: list[list[int]]
    hidden: list[int]


def contents_of(root: Value, max_nodes: int, collapse: bool | None) -> Contents:
    """Return the boxes of a picture of at most max_nodes: of a node each, or of many.

    Args:
        root: the Value whose graph is drawn.
        max_nodes: how many boxes there are at most, those nearest to the root.
        collapse: whether many nodes may be in one; None to do so for a graph of more than 60 nodes, if that halves it.
    """
    if collapse is not None and not is_bool(collapse):
        raise TypeError(f"collapse must be True, False or None, got {one_line(repr(collapse), 40)}")
    plain = Part(root, max_nodes)
    if collapse or (collapse is None and len(Part(root, COLLAPSED_FROM + 1).nodes) > COLLAPSED_FROM):
        part = Part(root, max(max_nodes, min(MOST_LOOKED_AT, max(LOOKED_AT, LOOKED_AT_FOR_A_BOX * max_nodes))))
        groups = _Groups(part)
        if collapse or 2 * len(groups.order) <= len(part.nodes):
            return groups.boxes(max_nodes)
    boxes = [Content([v], one_line(v._op, LONGEST_LABEL), label_of(v), numbers_of(v)) for v in plain.nodes]
    return Contents(boxes, plain.operands, plain.hidden)


@dataclass
class _Sum:
    """A sum of products and other terms, perhaps with an activation around it."""

    products: list[tuple[int, int]]
    others: list[int]
    activation: str = ""
    inside: list[int] = field(default_factory=list)     # the nodes that are a part of it


class _Groups:
    """The nodes of a part of a graph, in groups of those that are computed alike."""

    def __init__(self, part: Part) -> None:
        self.part = part
        self.ops = [node._op for node in part.nodes]
        self.labels = [label_of(node) for node in part.nodes]
        self.uses = [0] * len(part.nodes)
        for operands in part.operands:
            for j in operands:
                self.uses[j] += 1
        self.sums: dict[int, _Sum] = {}
        self.absorbed = [False] * len(part.nodes)
        self.units = self._units()          # nodes that are not a part of another one, operands first
        self.key_of = self._keys()
        self._find_weights()
        members: dict[int, list[int]] = {}
        for i in self.units:
            if i not in self.weights:
                members.setdefault(self.key_of[i], []).append(i)
        self.members = members
        self.order = self._from_the_root()

    # What is one thing

    def _units(self) -> list[int]:
        part, left = self.part, list(self.uses)
        users_first = [0]
        for i in users_first:      # which grows
            if not self.absorbed[i]:
                self._join(i)
            for j in part.operands[i]:
                left[j] -= 1
                if not left[j]:
                    users_first.append(j)
        return [i for i in reversed(users_first) if not self.absorbed[i]]

    def _join(self, i: int) -> None:
        """Let a node take in the sums and products that nothing else uses."""
        operands = self.part.operands[i]
        if self.ops[i] in ACTIVATIONS and operands and self._is_inner(operands[0]):
            found = self._sum_at(operands[0])
            if found and found.products:
                found.activation = self.ops[i]
                found.inside.append(operands[0])
                self._take(i, found)
        elif (found := self._sum_at(i)) and (found.products or found.inside or len(found.others) > 2):
            self._take(i, found)

    def _take(self, i: int, found: _Sum) -> None:
        self.sums[i] = found
        for j in found.inside:
            self.absorbed[j] = True

    def _is_inner(self, j: int) -> bool:
        return self.uses[j] == 1 and not self.labels[j] and not self.part.hidden[j] and bool(self.part.operands[j])

    def _sum_at(self, i: int) -> _Sum | None:
        op, operands = self.ops[i], self.part.operands[i]
        if op == "dot" and not self.part.hidden[i]:
            pairs = list(zip(operands[::2], operands[1::2], strict=False))
            return _Sum(pairs, operands[2 * len(pairs) :])
        if op not in ("+", "sum"):
            return None
        terms, inside, stack = [], [], operands[::-1]
        while stack:
            j = stack.pop()
            if self.ops[j] in ("+", "sum") and self._is_inner(j):
                inside.append(j)
                stack.extend(reversed(self.part.operands[j]))
            else:
                terms.append(j)
        products = [
            j for j in terms if self.ops[j] == "*" and self._is_inner(j) and len(self.part.operands[j]) == 2
        ]
        if len(products) < 2:
            return _Sum([], terms, inside=inside)
        taken = set(products)
        pairs = [(self.part.operands[j][0], self.part.operands[j][1]) for j in products]
        return _Sum(pairs, [j for j in terms if j not in taken], inside=inside + products)

    # Who is alike

    def _keys(self) -> list[int]:
        """Return a number for each node, the same for those that are computed alike, by leaves of the same use."""
        before = self._numbered(lambda i: ())
        uses: dict[int, set[tuple[int, int]]] = {}
        for i in self.units:
            for role, operands in self._roles(i):
                for j in operands:
                    if not self.part.operands[j]:
                        uses.setdefault(j, set()).add((before[i], role))
        roles = {j: tuple(sorted(found)) for j, found in uses.items()}
        return self._numbered(lambda i: roles.get(i, ()))

    def _numbered(self, of_leaf: Callable[[int], tuple[tuple[int, int], ...]]) -> list[int]:
        numbers: dict[object, int] = {}
        key_of = [0] * len(self.part.nodes)
        for i in self.units:
            hidden, found = bool(self.part.hidden[i]), self.sums.get(i)
            if not self.part.operands[i]:
                key: object = (self.ops[i], hidden, of_leaf(i))
            elif found is None:
                operands: Any = [key_of[j] for j in self.part.operands[i]]
                operands = frozenset(Counter(operands).items()) if self.ops[i] in SYMMETRIC else tuple(operands)
                key = (self.ops[i], hidden, *self.labels[i], operands)
            else:
                pairs = frozenset(Counter((key_of[a], key_of[b]) for a, b in found.products).items())
                others = frozenset(Counter(key_of[j] for j in found.others).items())
                key = (found.activation, hidden, *self.labels[i], pairs, others)
            key_of[i] = numbers.setdefault(key, len(numbers))
        return key_of

    def _roles(self, i: int) -> Iterable[tuple[int, Iterable[int]]]:
        """The operands of a unit by what they are to it."""
        found = self.sums.get(i)
        if found is None:
            operands = self.part.operands[i]
            return [(0, operands)] if self.ops[i] in SYMMETRIC else enumerate((j,) for j in operands)
        return enumerate(([a for a, _ in found.products], [b for _, b in found.products], found.others))

    # Layers

    def _find_weights(self) -> None:
        """Find the leaves that are weights and biases of one layer alone: they have no box of their own."""
        self.weights: set[int] = set()
        self.layers: dict[int, tuple[int, int, int]] = {}       # by key: neurons, inputs, parameters in the box
        of_key: dict[int, list[int]] = {}
        users: dict[int, set[int]] = {}
        for i in self.units:
            of_key.setdefault(self.key_of[i], []).append(i)
            for _, operands in self._roles(i):
                for j in operands:
                    users.setdefault(j, set()).add(self.key_of[i])
        for key, members in of_key.items():
            found = self.sums.get(members[0])
            if found is None or not found.products:
                continue
            role = self._role_of_weights([self.sums[i] for i in members])
            if role is None:
                continue
            leaves = self._leaves_of_all([self.sums[i] for i in members], role)
            own = {j for each in leaves for j in each if users[j] == {key} and self.part.nodes[j]._op == ""}
            self.layers[key] = len({*leaves}), len(found.products), len(own)
            self.weights |= own

    def _role_of_weights(self, sums: list[_Sum]) -> int | None:
        """Return which of the factors are weights: leaves, and if both are, those that make fewer neurons.

        Where each row of the one meets each of the other, and no bias belongs to either, they are the first factors, as
        in micrograd's `w * x`.
        """
        leaves = [{pair[role] for s in sums for pair in s.products} for role in (0, 1)]
        possible = [role for role in (0, 1) if not any(self.part.operands[j] for j in leaves[role])]
        if leaves[0] & leaves[1] or not possible:
            return None
        rows = [len({*self._leaves_of_all(sums, role)}) for role in (0, 1)]
        biased = any(not self.part.operands[j] for s in sums for j in s.others)
        if len(possible) == 2 and not biased and rows[0] * rows[1] == len(sums):
            return 0
        return min(possible, key=lambda role: (rows[role], -len(leaves[role])))

    def _leaves_of_all(self, sums: list[_Sum], role: int) -> list[tuple[int, ...]]:
        """Return the weights and biases of each neuron."""
        return [
            (*[pair[role] for pair in s.products], *[j for j in s.others if not self.part.operands[j]]) for s in sums
        ]

    # The picture

    def _operands_of(self, key: int) -> dict[int, None]:
        """The nodes that a group is made from, in the order of its first member's operands."""
        found: dict[int, None] = {}
        for i in self.members[key]:
            s = self.sums.get(i)
            operands = self.part.operands[i] if s is None else [*chain.from_iterable(s.products), *s.others]
            found.update((j, None) for j in operands if j not in self.weights)
        return found

    def _from_the_root(self) -> dict[int, list[int]]:
        """Return for each group those of its operands, nearest to the root first."""
        order: dict[int, list[int]] = {self.key_of[0]: []}
        queue = [self.key_of[0]]
        for key in queue:          # which grows
            order[key] = list(dict.fromkeys(self.key_of[j] for j in self._operands_of(key)))
            for other in order[key]:
                if other not in order:
                    order[other] = []
                    queue.append(other)
        return order

    def boxes(self, max_nodes: int) -> Contents:
        """Return the boxes of the groups nearest to the root."""
        shown = {key: place for place, key in enumerate(list(self.order)[:max_nodes])}
        operands = [[shown[other] for other in self.order[key] if other in shown] for key in shown]
        hidden = [
            sum(self.part.hidden[i] for i in self.members[key])
            + sum(self.key_of[j] not in shown for j in self._operands_of(key))
            for key in shown
        ]
        return Contents([self._box(key) for key in shown], operands, hidden)

    def _box(self, key: int) -> Content:
        members = self.members[key]
        first, count = members[0], len(members)
        nodes = [self.part.nodes[i] for i in members]
        found = self.sums.get(first)
        label, lines = _common_label([self.labels[i] for i in members]), []
        op = self.ops[first]
        if key in self.layers:
            neurons, inputs, parameters = self.layers[key]
            lines.append(f"{of_count(neurons, 'neuron')} of {of_count(inputs, 'input')}")
            lines += [of_count(parameters, "parameter")] if parameters else []
            times, rest = divmod(count, neurons)
            if count != neurons:
                lines.append(f"{count:,} in all" if rest else f"{times:,} times")
            op = found.activation if found and found.activation else "dot"
        else:
            if found and found.products:
                lines.append(f"sum of {of_count(len(found.products), 'product')}")
            elif found:
                lines.append(f"sum of {len(found.others) + self.part.hidden[first]:,}")
            if count > 1:
                is_leaf = not self.part.operands[first] and not self.part.hidden[first]
                lines.append(f"{count:,} numbers" if is_leaf else f"{count:,} times")
        if lines:
            label, lines = [*label, lines[0]], lines[1:]
        numbers = numbers_of(nodes[0]) if count == 1 else [
            f"data {_range(node.data for node in nodes)}", f"grad {_range(node.grad for node in nodes)}"
        ]
        return Content(nodes, one_line(op, LONGEST_LABEL), label, lines + numbers)


def _common_label(labels: list[list[str]]) -> list[str]:
    """Return the label that all have, or what all begin with."""
    texts = {label[0] if label else "" for label in labels}
    low, high = min(texts), max(texts)
    same = next((k for k, (a, b) in enumerate(zip(low, high, strict=False)) if a != b), min(len(low), len(high)))
    if low == high:
        return [low] if low else []
    return [f"{low[:same].rstrip('.')}…"] if same > 1 else []


def _range(numbers: Iterable[float]) -> str:
    """Return the least and the largest of numbers as text, and how many are not finite."""
    known = list(numbers)
    finite = [x for x in known if isfinite(x)]
    texts = dict.fromkeys(map(number_as_text, (min(finite), max(finite)))) if finite else {}
    others = [f"{len(known) - len(finite):,} not finite"] * (len(finite) < len(known))
    return ", ".join([" … ".join(texts), *others] if texts else others)
