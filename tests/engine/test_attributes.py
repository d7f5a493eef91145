"""Attributes that people give to nodes, and methods that they add to the class."""

import abc
import copy
import gc
import pickle
import random
import subprocess
import sys
import weakref

import numpy as np
import pytest

import microgradc
from microgradc import Value


class Slotted(Value):
    __slots__ = ("q",)


class Bare(Value):
    __slots__ = ()


class Open(Value):
    pass


@pytest.mark.parametrize("cls", [Value, Slotted, Bare, Open])
def test_any_attribute(cls):
    v = cls(2.0)
    assert vars(v) == {}
    v.color, v._label = "red", "w1"
    setattr(v, "m", 0.5)  # noqa: B010
    vars(v)["n"] = 1
    v.label = "x"
    assert vars(v) == {"color": "red", "_label": "w1", "m": 0.5, "n": 1}
    assert (v.color, v.label, v.data, (v * 2).data) == ("red", "x", 2.0, 4.0)
    assert "color" in dir(v)
    del v.color
    for forget in (lambda: v.color, lambda: delattr(v, "color")):
        with pytest.raises(AttributeError, match="color"):
            forget()
    v.__dict__ = {"a": 1}
    assert (vars(v), v.label) == ({"a": 1}, "x")
    with pytest.raises(TypeError, match="dictionary"):
        v.__dict__ = 3


def test_results_have_attributes_and_no_more_memory():
    assert sys.getsizeof(Value(1.0) * 2) == 80
    y = Value(1.0) * 2
    y.history = [1]
    assert y.history == [1]


@pytest.mark.parametrize("name", ["_prev", "_children"])
def test_operands_stay(name):
    with pytest.raises(AttributeError, match="never change: make a new one"):
        setattr(Value(1.0), name, set())


COPIES = {
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    "pickle": lambda v: pickle.loads(pickle.dumps(v)),
    "python": lambda v: pickle.loads(pickle._dumps(v, 2)),
}


@pytest.mark.parametrize("make", COPIES.values(), ids=COPIES)
@pytest.mark.parametrize("cls", [Value, Slotted, Open])
def test_copies_have_them(make, cls):
    v = cls(1.0)
    v.tags, v.label = ["a"], "x"
    if cls is Slotted:
        v.q = 3
    other = make(v)
    assert (type(other), vars(other), other.label) == (cls, {"tags": ["a"]}, "x")
    assert (other.tags is v.tags) is (make is copy.copy)
    assert getattr(other, "q", 3) == 3
    other.more = 1
    assert vars(v) == {"tags": ["a"]}


@pytest.mark.parametrize("make", list(COPIES.values())[1:], ids=list(COPIES)[1:])
def test_copies_of_cycles(make):
    v = Value(1.0)
    root = v * 2
    v.me, v.root, root.both = v, root, [v, root]
    for start in (root, v):
        other = make(start)
        first = other._children[0] if start is root else other
        assert first.me is first
        assert first.root._children[0] is first
        assert first.root.both == [first, first.root]
        assert first is not v


def test_a_dict_of_attributes_is_copied_as_a_dict():
    v = Value(1.0)
    v.a = [1]
    for make in COPIES.values():
        assert type(make(vars(v))) is dict
        assert make(vars(v)) == {"a": [1]}


@pytest.mark.parametrize("cls", [Value, Open])
def test_cycles_through_attributes_are_collected(cls):
    class Witness:
        pass

    def by_attribute(v):
        v.me = [v]

    def by_dict(v):
        vars(v)["me"] = v

    def by_result(v):
        v.results = []
        v.results.append((v * 2).tanh())

    for close in (by_attribute, by_dict, by_result):
        v, witness = cls(1.0), Witness()
        v.witness = witness
        close(v)
        seen = weakref.ref(witness)
        del v, witness
        gc.collect()
        assert seen() is None


@pytest.mark.parametrize("hold", [
    lambda v, out: setattr(v, "result", out),
    lambda v, out: setattr(v, "users", [out]),
    lambda v, out: setattr(v, "users", (1, out)),
    lambda v, out: setattr(v, "tape", {"out": out}),
])  # fmt: skip
def test_cycles_to_results_that_were_there_before_are_collected(hold):
    ended = []

    class Ends:
        def __del__(self):
            ended.append(self)

    leaf = Value(1.0)
    out = leaf * 2
    leaf.witness = Ends()
    hold(leaf, out)
    del leaf, out
    gc.collect()
    assert len(ended) == 1


def test_parent_pointers_are_collected():
    ended = []

    class Ends:
        def __del__(self):
            ended.append(self)

    x = Value(1.0)
    x.witness = Ends()
    root = ((x * 2) + 1).tanh() * x
    for node in microgradc.topological_sort(root):
        for child in node._prev:
            child.parent = node
    del x, root, node, child
    gc.collect()
    assert len(ended) == 1


@pytest.mark.parametrize("before", [True, False])
def test_a_cycle_through_a_node_is_found_if_the_attribute_was_there_first(before):
    """docs/differences.md has the exception."""

    class Witness:
        pass

    witness, v = Witness(), Value(1.0)
    seen = weakref.ref(witness)
    if before:
        v.witness = witness
    witness.result = v * 2
    v.witness = witness
    del witness
    del v
    gc.collect()
    assert (seen() is None) == before
    if not before:
        del seen().result


def test_numbers_as_attributes_do_not_slow_down_what_is_computed():
    p = Value(1.0)
    p.m, p.name, p.array = 0.5, "p", np.zeros(3)
    assert not gc.is_tracked(p)
    assert not gc.is_tracked(p * 2)


@pytest.mark.usefixtures("clean")
def test_methods_of_the_class():
    old = Value.tanh
    Value.cube = lambda self: self * self * self
    Value.tanh = lambda self: "mine"
    Value.__matmul__ = lambda self, other: self * other
    x = Open(2.0)
    y = x.cube()
    y.backward()
    assert (y.data, x.grad, x.tanh(), (x @ Value(3.0)).data) == (8.0, 12.0, "mine", 6.0)
    del Value.cube, Value.__matmul__
    Value.tanh = old
    assert Value(0.0).tanh().data == 0.0
    with pytest.raises(AttributeError):
        x.cube()
    with pytest.raises(TypeError):
        x @ x
    plus = Value.__add__
    Value.__add__ = lambda self, other: plus(self, 100)
    assert (Value(1.0) + 1).data == (Open(1.0) + 1).data == 101.0
    Value.__add__ = plus
    assert (Value(1.0) + 1).data == (1 + Open(1.0)).data == 2.0


@pytest.mark.usefixtures("clean")
def test_a_method_that_makes_its_node_by_hand():
    def square(self):
        out = Value(self.data**2, (self,), "square")

        def _backward():
            self.grad += 2 * self.data * out.grad

        out._backward = _backward
        return out

    Value.square = square
    x = Value(3.0)
    (x.square() * 2).backward()
    assert x.grad == 12.0


def test_an_abstract_subclass():
    class Abstract(Value, abc.ABC):
        @abc.abstractmethod
        def name(self): ...

    class Named(Abstract):
        def name(self):
            return "named"

    with pytest.raises(TypeError, match="abstract"):
        Abstract(1.0)
    assert Named(1.0).name() == "named"


def test_the_class_of_a_node_stays():
    for v, cls in ((Value(1.0), Bare), (Bare(1.0), Value), (Value(1.0), Open)):
        with pytest.raises(TypeError, match="__class__ assignment"):
            v.__class__ = cls
        with pytest.raises(TypeError, match="__class__ assignment"):
            object.__dict__["__class__"].__set__(v, cls)


FUZZ = """
import gc, random, sys
gc.set_threshold(1)
import microgradc
from microgradc import Value
class Open(Value): pass
class Slotted(Value): __slots__ = ("q",)
class Mixin:
    def __init__(self, *args): self.seen = args
class Mixed(Mixin, Value): pass
class Other(Value):
    def __setattr__(self, name, value): super().__setattr__(name, value)
r = random.Random(int(sys.argv[1]))
names = [n for n in {**vars(object), **vars(Value)} if n not in ("__class__", "__getattribute__", "__doc__")]
names += ["x", "__del__", "__getattr__", "__bases__", "__name__", "__qualname__", "__dict__", "__abstractmethods__"]
things = [None, 3, "text", [], {}, (), (Mixin,), lambda *a: None, lambda self, *a: self, lambda s, o: Value(2.0),
          property(lambda s: 1), Value(1.0), object.__new__, object.__setattr__, staticmethod(lambda *a: 1), int, Value]
alive = []
for i in range(1500):
    name, target = r.choice(names), r.choice([Value, Value, Open, None])
    try:
        if target is None:
            target = r.choice(alive) if alive else Value(1.0)
        if r.random() < 0.3: delattr(target, name)
        else: setattr(target, name, r.choice(things + alive[-3:]))
    except Exception: pass
    for make in (lambda: Value(1.0), lambda: Open(2.0), lambda: Slotted(3.0), lambda: Mixed(), lambda: Other(1.0),
                 lambda: alive[-1] * alive[-2], lambda: alive[-1].tanh(), lambda: microgradc.sum(alive[-3:])):
        try: alive.append(make())
        except Exception: pass
    for do in (lambda: alive[-1].backward(), lambda: repr(alive[-1]), lambda: vars(alive[-1]),
               lambda: setattr(alive[-1], "a", alive[-2]), lambda: setattr(alive[-1], "label", "l"),
               lambda: setattr(alive[-1], "_backward", lambda: None), lambda: hash(alive[-1])):
        try: do()
        except Exception: pass
    del alive[:-6]
print("alive")
"""


@pytest.mark.parametrize("seed", range(4))
def test_nothing_done_to_the_class_crashes(seed):
    run = subprocess.run([sys.executable, "-c", FUZZ, str(seed)], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr[-2000:]
    assert "alive" in run.stdout


def test_methods_in_any_order():
    r = random.Random(0)
    for _ in range(200):
        name = r.choice(["_a", "_b", "_c"])
        if name in vars(Value):
            delattr(Value, name)
        else:
            setattr(Value, name, lambda self, name=name: (name, self.data))
            assert getattr(Value(1.0), name)() == getattr(Open(1.0), name)() == (name, 1.0)
    for name in ("_a", "_b", "_c"):
        if name in vars(Value):
            delattr(Value, name)
    assert microgradc.Value is Value
