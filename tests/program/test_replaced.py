"""A parameter that another Value took the place of, with the same number: the function is recorded anew, wherever the
place is."""

import collections
import copy
import dataclasses
import types

import numpy as np
import pytest

from microgradc import Value, compile, nn

LIST = [Value(2.0)]


class Slotted:
    __slots__ = ("w",)


class Plain:
    pass


class InClass:
    w = Value(2.0)


class ClassAlone:
    w = Value(2.0)


IN_CLASS = InClass()


@dataclasses.dataclass
class Data:
    w: Value


@dataclasses.dataclass(frozen=True)
class Frozen:
    parts: tuple


class Line(nn.Module):
    def __init__(self):
        self.w = Value(2.0)

    def forward(self, x):
        return self.w * x


def in_attribute(holder):
    holder.w = Value(2.0)
    return lambda x: holder.w * x, lambda v: setattr(holder, "w", v)


def in_entry(container, key=0):
    return lambda x: container[key] * x, lambda v: container.__setitem__(key, v)


def in_cell():
    w = Value(2.0)

    def put(v):
        nonlocal w
        w = v

    return lambda x: w * x, put


def in_default():
    def f(x, w=LIST):
        return w[0] * x

    return f, lambda v: f.__defaults__[0].__setitem__(0, v)


def in_method():
    line = Line()
    return line.forward, lambda v: setattr(line, "w", v)


def deep_within():
    holder = Frozen(({"a": [Plain()]},))
    holder.parts[0]["a"][0].w = Value(2.0)

    def f(x):
        return holder.parts[0]["a"][0].w * x

    return f, lambda v: setattr(holder.parts[0]["a"][0], "w", v)


def in_matrix(order):
    W = np.empty((2, 2), object, order)
    for i in np.ndindex(2, 2):
        W[i] = Value(2.0)
    return lambda x: W[1, 0] * x, lambda v: W.__setitem__((1, 0), v)


def in_copied_layer():
    model = nn.Sequential(nn.Layer(1, 1, nonlin=False))
    neuron = next(m for m in model.modules() if isinstance(m, nn.Neuron))
    neuron.w[0].data = 2.0

    def put(v):
        layer = copy.deepcopy(next(m for m in model.modules() if isinstance(m, nn.Layer)))
        layer.neurons[0].w[0] = v
        next(m for m in model.modules() if hasattr(m, "layers")).layers[0] = layer

    return lambda x: model([x]), put


PLACES = {
    "module": lambda: in_attribute(Line()),
    "instance": lambda: in_attribute(Plain()),
    "dataclass": lambda: in_attribute(Data(Value(0.0))),
    "namespace": lambda: in_attribute(types.SimpleNamespace()),
    "slot": lambda: in_attribute(Slotted()),
    "list": lambda: in_entry([Value(2.0)]),
    "dict": lambda: in_entry({"w": Value(2.0)}, "w"),
    "deque": lambda: in_entry(collections.deque([Value(2.0), 1.0])),
    "object array": lambda: in_entry(np.array([Value(2.0), Value(1.0)], object)),
    "matrix": lambda: in_matrix("C"),
    "matrix by columns": lambda: in_matrix("F"),
    "cell": in_cell,
    "default": in_default,
    "method": in_method,
    "deep within": deep_within,
    "copied layer": in_copied_layer,
    "class alone": lambda: ((lambda x: ClassAlone.w * x), lambda v: setattr(ClassAlone, "w", v)),
    "class": lambda: ((lambda x, self=IN_CLASS: self.w * x), lambda v: setattr(InClass, "w", v)),
}


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("number", [2.0, 5.0])
def test_another_value_in_its_place_is_used_and_trained(place, number):
    function, put = PLACES[place]()
    f = compile(function)
    f(3.0)
    f.mean([3.0, 4.0])
    new = Value(number)
    put(new)
    f(3.0).backward()
    assert new.grad == 3.0
    total = f.sum([3.0, 4.0])
    assert total.data == pytest.approx(7.0 * number)
    total.backward()
    assert new.grad == 10.0


def test_numbers_in_objects_that_change_cost_no_recording():
    holder, calls = Plain(), []
    holder.w, holder.count = Value(2.0), 0

    def function(x):
        calls.append(1)
        return holder.w * x

    f = compile(function)
    f(1.0)
    before = len(calls)
    for _ in range(5):
        holder.count += 1
        f(1.0)
    assert len(calls) == before
