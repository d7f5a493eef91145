"""trees: whatever is taken apart is put together as it was; the order is that of PyTorch's pytrees."""

import copy
import pickle
from collections import OrderedDict, namedtuple
from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils import _pytree

from microgradc import Value
from microgradc.trees import LEAF, entries, flatten, map_leaves, nest, place, unflatten

Pair = namedtuple("Pair", "first second")


@dataclass(frozen=True)
class Frozen:
    weight: object
    bias: object


@dataclass
class Counted:
    made = 0
    rows: object
    total: object = field(init=False)

    def __post_init__(self):
        Counted.made += 1
        self.total = len(self.rows)


numbers = st.floats(allow_nan=False) | st.integers(-(2**40), 2**40) | st.booleans() | st.none() | st.text(max_size=2)
plain = st.recursive(
    numbers,
    lambda inner: st.lists(inner, max_size=3)
    | st.lists(inner, max_size=3).map(tuple)
    | st.builds(Pair, inner, inner)
    | st.dictionaries(st.text(max_size=2) | st.integers(0, 3), inner, max_size=3),
    max_leaves=12,
)
arrays = st.builds(
    lambda shape, dtype, seed: np.random.default_rng(seed).integers(0, 2, shape).astype(dtype),
    st.lists(st.integers(0, 3), max_size=3).map(tuple),
    st.sampled_from(["f8", ">f4", "f2", "i8", "u1", "?", "c16", "g", "O"]),
    st.integers(0, 9),
)
anything = st.recursive(
    plain | arrays,
    lambda inner: st.lists(inner, max_size=3)
    | st.builds(Frozen, inner, inner)
    | st.builds(Pair, inner, inner)
    | st.builds(Counted, st.lists(inner, max_size=2))
    | st.dictionaries(st.text(max_size=2), inner, max_size=3),
    max_leaves=6,
)


def same(a, b):
    """Return whether two nests are equal, types included; written apart from what is tested."""
    if type(a) is not type(b):
        return False
    if isinstance(a, np.ndarray):
        return a.shape == b.shape and a.dtype == b.dtype and all(map(same, a.ravel().tolist(), b.ravel().tolist()))
    if isinstance(a, dict):
        return list(a) == list(b) and all(same(a[key], b[key]) for key in a)
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, (Frozen, Counted)):
        return same(vars(a), vars(b))
    return a == b


@given(anything)
@settings(max_examples=150, deadline=None)
def test_there_and_back(x):
    leaves, shape = flatten(x)
    made = Counted.made
    assert same(unflatten(shape, leaves), x)
    assert Counted.made == made, "a constructor ran"
    assert flatten(unflatten(shape, leaves)) == (leaves, shape)
    restored = pickle.loads(pickle.dumps(shape))
    assert restored == shape
    assert hash(restored) == hash(shape)
    assert same(map_leaves(lambda leaf: leaf, x), x)
    names = [f"leaf {i}" for i in range(len(leaves))]
    assert flatten(unflatten(shape, names))[0] == names
    for wrong in (names[1:], [*names, "more"]):
        if len(wrong) != len(names):
            with pytest.raises(ValueError, match=f"there must be {len(names)} leaves for this shape, got {len(wrong)}"):
                unflatten(shape, wrong)


@given(plain)
@settings(max_examples=150, deadline=None)
def test_the_leaves_are_those_of_pytorchs_pytrees(x):
    leaves, shape = flatten(x)
    expected, spec = _pytree.tree_flatten(x)
    assert same(leaves, expected)
    numbered = list(range(len(leaves)))
    assert same(unflatten(shape, numbered), _pytree.tree_unflatten(numbered, spec))


@given(plain, plain)
@settings(max_examples=100, deadline=None)
def test_shapes_are_equal_where_all_but_the_leaves_is(x, y):
    theirs = [_pytree.tree_structure(a) for a in (x, y)]
    assert (flatten(x)[1] == flatten(y)[1]) == (theirs[0] == theirs[1])


def test_shapes_differ_by_class_keys_and_places():
    nests = [
        1, [1], (1,), {"a": 1}, {"b": 1}, Pair(1, 1), (1, 1), [1, 1], [[1], 1], [1, [1]], [], (), {}, [[]],
        {"a": 1, "b": 1},
        {"b": 1, "a": 1}, Frozen(1, 1), np.ones(2), np.ones((2, 1)), np.ones(2, int),
    ]  # fmt: skip
    assert len({flatten(x)[1] for x in nests}) == len(nests)
    assert flatten("text") == (["text"], LEAF)
    assert repr(flatten([1, (2, 3)])[1]) == "<shape of 3 leaves in 2 containers>"


def test_what_is_a_leaf():
    v = Value(1.0)
    others = [v, "text", b"bytes", {1, 2}, range(3), None, object(), Pair, Frozen, np.float64(1.0), np.array(["a"])]
    assert all(a is b for a, b in zip(flatten(others)[0], others, strict=True))
    x = {"a": [1, 2], "b": (3, [4])}
    leaves, shape = flatten(x, leaf_types=(list,))
    assert leaves == [[1, 2], 3, [4]]
    assert unflatten(shape, [1, 2, 3]) == {"a": 1, "b": (2, 3)}
    assert flatten(x, leaf_types=(dict,)) == ([x], LEAF)


def test_lists_may_become_something_else():
    leaves, shape = flatten([[1.0, 2.0], {"a": [3.0]}, (4.0,)])
    assert unflatten(shape, leaves, make_list=tuple) == ((1.0, 2.0), {"a": (3.0,)}, (4.0,))


def test_arrays_of_other_leaves_hold_objects():
    leaves, shape = flatten(np.array([[1, 2]], np.int8))
    assert leaves == [1, 2]
    assert all(type(leaf) is int for leaf in leaves)
    assert unflatten(shape, [3, 4]).dtype == np.int8
    halves = unflatten(shape, [0.5, 1.5])
    assert (halves.dtype, halves.tolist()) == (object, [[0.5, 1.5]])
    v = Value(1.0)
    assert unflatten(shape, [v, [2]])[0, 0] is v
    nested = np.empty(2, object)
    nested[:] = [{"a": 1.0}, [v]]
    assert flatten(nested)[0] == [1.0, v]
    assert flatten(np.array(2.0))[0] == [2.0]


def test_subclasses_come_back_as_the_plain_type():
    class Rows(list):
        pass

    back = map_leaves(lambda leaf: leaf, [OrderedDict(a=1), Rows([2]), np.ones((1, 1)).view(np.matrix)])
    assert [type(x) for x in back] == [dict, list, np.ndarray]
    assert back[:2] == [{"a": 1}, [2]]


def test_dataclasses_are_made_like_copies():
    x = Counted([1, 2])
    back = map_leaves(lambda leaf: leaf * 10, x)
    assert (back.rows, back.total) == ([10, 20], 20)
    unset = copy.copy(x)
    del unset.total
    assert vars(map_leaves(str, unset)) == {"rows": ["1", "2"]}
    assert map_leaves(str, Frozen(1, 2)) == Frozen("1", "2")

    @dataclass(slots=True)
    class Slotted:
        a: int

    assert map_leaves(str, Slotted(1)) == Slotted("1")


def test_what_contains_itself_is_refused():
    endless_list, endless_dict, endless_array = [1.0], {}, np.empty(1, object)
    endless_list.append((endless_list,))
    endless_dict["a"] = [endless_dict]
    endless_array[0] = endless_array
    endless_dataclass = Counted([])
    endless_dataclass.total = endless_dataclass
    for x, kind in [
        (endless_list, "list"),
        (endless_dict, "dict"),
        (endless_array, "ndarray"),
        (endless_dataclass, "Counted"),
    ]:
        with pytest.raises(ValueError, match=f"a nest must end, got a {kind} that contains itself"):
            flatten([x])
    shared = [1.0]
    assert flatten([shared, (shared, shared)])[0] == [1.0] * 3


def test_any_depth():
    deep = 1.0
    for i in range(20_000):
        deep = [deep] if i % 2 else {"a": deep}
    leaves, shape = flatten(deep)
    assert leaves == [1.0]
    assert pickle.loads(pickle.dumps(shape)) == shape
    assert len({shape, flatten(deep)[1]}) == 1
    back = unflatten(shape, [2.0])
    for x in (back, deep):   # the list's own release would do as well
        while isinstance(x, (list, dict)):
            x = x.pop() if isinstance(x, list) else x.pop("a")
    assert x == 1.0


def test_entries():
    square = np.array([[1, 2], [3, 4]])
    for x in (square.tolist(), ((1, 2), [3, 4]), square, [np.array([1, 2]), iter([3, 4])], square.astype(object)):
        assert entries(x, "x") == ([1, 2, 3, 4], (2, 2))
    assert entries(5, "x") == ([5], ())
    assert entries([], "x") == ([], (0,))
    assert entries([[], []], "x") == ([], (2, 0))
    assert entries(np.zeros((0, 3)), "x") == ([], (0, 3))
    assert entries("text", "x") == (["text"], ())
    assert entries(np.ones((1, 2)).view(np.matrix), "x") == ([1.0, 1.0], (1, 2))
    with pytest.raises(ValueError, match=r"x must have rows of one length, got 1 in x\[0\]\[0\] and 2 in x\[1\]\[0\]"):
        entries([[[1]], [[1, 2]]], "x")
    with pytest.raises(TypeError, match=r"x\[1\] must be a row, as x\[0\] is, got int 2"):
        entries([[1], 2], "x")


@given(st.lists(st.integers(1, 3), max_size=4))
def test_nest_undoes_entries(shape):
    x = np.arange(np.prod(shape, dtype=int)).reshape(shape)
    found, shape_found = entries(x.tolist(), "x")
    assert shape_found == x.shape
    assert nest(found, shape_found) == x.tolist()
    for i in found:
        assert eval(place("x", i, x.shape)) == i


def test_numpy_is_not_imported_for_lists(run_python):
    program = """if True:
        import sys
        import microgradc
        assert "microgradc.trees" not in sys.modules
        from microgradc import checks, trees
        assert trees.unflatten(trees.flatten([1, (2,)])[1], "ab") == ["a", ("b",)]
        assert trees.entries([[1]], "x") == ([1], (1, 1))
        checks.integer(1, "n")
        checks.flag(True, "flag")
        print("numpy" in sys.modules)"""
    assert run_python(program).strip() == "False"
