"""Copies and pickles keep the graph, its sharing, and everything a node carries; and do not recurse."""

import copy
import os
import pickle

import pytest
from graphs import build_values, recipes
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import microgradc
from microgradc import Value, topological_sort

DEPTH = 500_000 if os.environ.get("MICROGRADC_LONG") else 100_000     # of a graph

COPIES = {
    "deepcopy": copy.deepcopy,
    "pickle": lambda v: pickle.loads(pickle.dumps(v)),
    "pickle protocol 2": lambda v: pickle.loads(pickle.dumps(v, 2)),
    "pickle in Python": lambda v: pickle.loads(pickle._dumps(v)),
}


def description(nodes):
    """Everything about the graph below nodes, by position."""
    order, seen = [], {}
    for root in nodes:
        for v in topological_sort(root):
            if id(v) not in seen:
                seen[id(v)] = len(seen)
                order.append(v)
    return [
        (v.data, v.grad, v._op, v.label, type(v), v._local_grads, [seen[id(c)] for c in v._children]) for v in order
    ]


@pytest.mark.parametrize("method", COPIES)
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(recipes(max_steps=20), st.data())
def test_random_graphs(method, recipe, data):
    values = build_values(recipe)
    values[-1].backward()
    chosen = data.draw(st.lists(st.sampled_from(values), min_size=1, max_size=6))
    copies = COPIES[method](chosen)
    assert description(copies) == description(chosen)
    same = [[(i, j) for i, a in enumerate(nodes) for j, b in enumerate(nodes) if a is b] for nodes in (chosen, copies)]
    assert same[0] == same[1]
    assert not {id(v) for c in copies for v in topological_sort(c)} & {
        id(v) for c in chosen for v in topological_sort(c)
    }


@pytest.mark.parametrize("method", COPIES)
def test_a_copy_differentiates_on_its_own(method):
    x = Value(2.0, label="x")
    y = microgradc.dot([x, 3], [x * x, 1.0], bias=x.tanh()) + Value(1.0, (x,), (4.0,)) + x**2 + microgradc.clip(x, 0, 5)
    y2, x2 = COPIES[method]([y, x])
    y.backward()
    y2.backward()
    assert (y2.data, x2.grad, x2.label) == (y.data, x.grad, "x")
    assert (x2**2)._op == "**2"
    assert [v._op for v in topological_sort(y2)] == [v._op for v in topological_sort(y)]


@pytest.mark.parametrize("method", ["deepcopy", "pickle"])
def test_a_deep_graph(method):
    x = Value(1.0)
    y = x
    for _ in range(DEPTH):
        y = (y + x) * 1.0
    copied = COPIES[method](y)
    y.backward()
    copied.backward()
    order = topological_sort(copied)
    assert len(order) == 3 * DEPTH + 1  # with the constants as leaves
    assert order[0].grad == x.grad == DEPTH + 1


class Labelled(Value):
    def __init__(self, data, note=None):
        super().__init__(data)
        self.note = note


@pytest.mark.parametrize("method", COPIES)
def test_subclasses_keep_their_attributes(method):
    a = Labelled(2.0, note=["n"])
    b = a * 3
    a.downstream = b
    b2 = COPIES[method](b)
    a2 = b2._children[0]
    assert type(a2) is Labelled
    assert a2.note == ["n"]
    assert a2.note is not a.note
    assert a2.downstream is b2


class Slotted(Value):
    __slots__ = ("note",)


class OwnWay(Value):
    def __reduce__(self):
        return (OwnWay, (self.data + 100.0,))


@pytest.mark.parametrize("method", [*COPIES.values(), copy.copy])
def test_slots_are_kept(method):
    v = Slotted(2.0)
    v.note = ["n"]
    assert method(v).note == ["n"]


def test_a_subclass_may_pickle_in_its_own_way():
    assert pickle.loads(pickle.dumps(OwnWay(1.0))).data == 101.0


def test_attributes_and_threads_do_not_make_pickles_grow():
    def size(n, leaf):
        y = leaf
        for _ in range(n):
            y = y + leaf
        return len(pickle.dumps(y))

    leaf = Labelled(1.0)
    leaf.other = Value(1.0) * 2  # pickled in the midst of the list, with a list of its own
    assert size(2000, leaf) < 2.5 * size(1000, leaf)


def test_labels_are_copied_with_the_graph():
    x = Value(1.0)
    y = x * 2
    x.label = [y]
    y2 = copy.deepcopy(y)
    assert y2._children[0].label == [y2]


def test_shallow_copy_shares_operands():
    x = Value(2.0)
    y = x * 3 + x
    c = copy.copy(y)
    assert c is not y
    assert c._children[1] is x
    c.backward()
    assert x.grad == 4.0
    assert y.grad == 0.0
    node = copy.copy(Labelled(1.0, note=x))
    assert node.note is x


@pytest.mark.parametrize("copy_it", [*COPIES.values(), copy.copy])
def test_a_closure_cannot_be_copied(copy_it):
    x = Value(2.0)
    out = Value(4.0, (x,))
    out._backward = lambda: None
    with pytest.raises(TypeError, match="local gradients"):
        copy_it(out)


def test_a_failed_pickle_does_not_spoil_the_next():
    x = Value(1.0)
    y = x
    for _ in range(10_000):
        y = y + x
    y._children[0].label = lambda: None
    z = y * 2
    with pytest.raises((pickle.PicklingError, AttributeError)):
        pickle.dumps(z)
    y._children[0].label = ""
    assert pickle.loads(pickle.dumps(z)).data == z.data


@pytest.mark.parametrize(
    "arguments",
    [
        (None, int, "ADD", 1.0, 0.0, ()),
        (None, Value, "NO_SUCH", 1.0, 0.0, ()),
        (None, Value, "ADD", 1.0, 0.0, (Value(1.0),)),
        (None, Value, "NEG", 1.0, 0.0, (Value(1.0), Value(1.0))),
        (None, Value, "SUM", 1.0, 0.0, ()),
        (None, Value, "DOT", 1.0, 0.0, ("a", 1.0)),
        (None, Value, "CUSTOM", 1.0, 0.0, (Value(1.0),)),
        (None, Value, "CUSTOM", 1.0, 0.0, (Value(1.0),), (1.0, 2.0)),
        (None, Value, "SUM", 1.0, 0.0, (Value(1.0),), (1.0,)),
        (None, Value, "LEAF", 1.0, 0.0, (Value(1.0),)),
        (None, Value, "NEG", 1.0, 0.0, (2.0,)),
        (None, type("Odd", (Value,), {"__new__": lambda cls: Value(1.0) * 2}), "NEG", 1.0, 0.0, (Value(1.0),)),
        (None, type("Odd", (Value,), {"__new__": lambda cls: 3}), "NEG", 1.0, 0.0, (Value(1.0),)),
        (None, Value, 3, 1.0, 0.0, ()),
        (None, Value, "ADD", None, 0.0, (Value(1.0), Value(1.0))),
    ],
)
def test_a_forged_pickle_is_refused(arguments):
    with pytest.raises((TypeError, ValueError)):
        microgradc.engine._restore(*arguments)
