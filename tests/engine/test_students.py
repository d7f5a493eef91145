"""What programs that follow micrograd do to the class: methods replaced, subclasses with ways of their own."""

import copy
import functools
import gc
import math
import operator
import pickle
import random
import threading
from unittest import mock

import pytest

import microgradc
from microgradc import MLP, Value

pytestmark = pytest.mark.usefixtures("clean")


def test_the_lectures_tanh_and_exp():
    def tanh(self):
        t = (math.exp(2 * self.data) - 1) / (math.exp(2 * self.data) + 1)
        out = Value(t, (self,), "tanh")

        def _backward():
            self.grad += (1 - t**2) * out.grad

        out._backward = _backward
        return out

    Value.tanh = tanh
    x1, x2, w1, w2, b = (Value(x) for x in (2.0, 0.0, -3.0, 1.0, 6.8813735870195432))
    (x1 * w1 + x2 * w2 + b).tanh().backward()
    assert [v.grad for v in (x1, w1, x2, w2)] == pytest.approx([-1.5, 1.0, 0.5, 0.0], abs=1e-9)


def test_init_replaced():
    init, seen = Value.__init__, []

    def with_name(self, data, _children=(), _op="", requires_grad=True, name=None):
        init(self, data, _children, _op)
        self.requires_grad, self.name = requires_grad, name
        seen.append(data)

    class Own(Value):
        pass

    Value.__init__ = with_name
    for kind in (Value, Own):
        v = kind(2.0, requires_grad=False, name="w")
        assert (v.name, v.requires_grad, (v * 2).data) == ("w", False, 4.0)
    assert kind(data=1.0, _children=(v,), _op="x")._op == "x"
    Value.__init__ = init
    assert seen == [2.0, 2.0, 1.0]
    with pytest.raises(TypeError, match="Value has no argument 'requires_grad'"):
        Value(1.0, requires_grad=False)


def test_backward_replaced_by_the_lectures():
    def backward(self, seed=1.0):
        topo, visited = [], set()

        def build(v):
            if v not in visited:
                visited.add(v)
                for child in v._prev:
                    build(child)
                topo.append(v)

        build(self)
        self.grad = seed
        for v in reversed(topo):
            v._backward()

    Value.backward = backward
    x = Value(3.0)
    (x * x + x).backward(2.0)
    assert x.grad == 14.0


def test_operators_texts_and_containers():
    Value.__repr__ = lambda self: f"V({self.data})"
    assert (repr(Value(1.0) * 2), f"{Value(1.0)}", str([Value(1.0)])) == ("V(2.0)", "V(1.0)", "[V(1.0)]")
    Value.__getitem__ = lambda self, i: self.data + i
    Value.__iter__ = lambda self: iter([self.data])
    Value.__call__ = lambda self: self.data
    Value.count = 0
    v = Value(2.0)
    v.count += 1
    assert (v[1], list(v), v(), v.count, Value.count) == (3.0, [2.0], 2.0, 1, 0)
    with mock.patch.object(Value, "relu", return_value="patched"):
        assert v.relu() == "patched"
    assert v.relu().data == 2.0


def test_adam_by_hand():
    random.seed(1)
    model = MLP(2, [4, 1])
    for p in model.parameters():
        p.m = p.v = 0
    for t in range(1, 20):
        loss = sum((model([a, b]) - a * b) ** 2 for a, b in [(1.0, 1.0), (-1.0, 1.0)])
        model.zero_grad()
        loss.backward()
        for p in model.parameters():
            p.m = 0.9 * p.m + 0.1 * p.grad
            p.v = 0.999 * p.v + 0.001 * p.grad**2
            p.data -= 0.01 * (p.m / (1 - 0.9**t)) / ((p.v / (1 - 0.999**t)) ** 0.5 + 1e-8)
    for make in (copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))):
        for p, q in zip(model.parameters(), make(model).parameters(), strict=True):
            assert (p.data, p.m, p.v) == (q.data, q.m, q.v)
            assert p is not q
    for p in model.parameters():
        p.momentum = Value(0.0)    # an attribute of a parameter is not a parameter
    assert len(model.parameters()) == 17


def test_subclasses_with_ways_of_their_own():
    class Own(Value):
        def __setattr__(self, name, value):
            super().__setattr__(name, value + 1 if name == "data" else value)

        def __getattr__(self, name):
            if name.startswith("is_"):
                return True
            raise AttributeError(name)

        @functools.cached_property
        def twice(self):
            return self * 2

        def __eq__(self, other):
            return self.data == getattr(other, "data", other)

        __hash__ = Value.__hash__

    v = Own(1.0)
    v.data, v.foo = 2, "x"
    assert (v.data, v.foo, v.is_big, v.twice is v.twice, v == 3.0) == (3.0, "x", True, True, True)
    assert not hasattr(v, "nope")
    assert copy.deepcopy(v).is_x
    (v * v).backward()
    assert v.grad == 6.0
    gc.collect()


def test_functions_of_the_standard_library():
    values = [Value(float(i)) for i in range(1, 5)]
    assert functools.reduce(operator.mul, values).data == math.prod(values).data == 24.0
    assert functools.lru_cache(lambda v: v.data)(values[1]) == 2.0

    @functools.singledispatch
    def show(x):
        return "other"

    show.register(Value)(lambda x: "value")
    assert show(values[0] * 2) == "value"


def test_attributes_from_many_threads():
    values = [microgradc.Value(1.0) for _ in range(100)]

    def work():
        for v in values:
            for i in range(50):
                setattr(v, f"a{i % 7}", i)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(len(vars(v)) == 7 for v in values)
