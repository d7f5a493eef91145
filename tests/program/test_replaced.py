"""A parameter that another Value took the place of, with the same number: the function is recorded anew, wherever the
place is."""

import collections
import copy
import dataclasses
import math
import sys
import types

import mpmath
import numpy as np
import pytest

from microgradc import Value, compile, nn
from microgradc.program.reached import Reached

LIST = [Value(2.0)]


class Slotted:
    __slots__ = ("w",)


class Plain:
    pass


class Partnered(Value):
    pass


class SlottedValue(Value):
    __slots__ = ("partner",)


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


def in_python_module(imported):
    within, settings = types.ModuleType("own_settings"), types.ModuleType("own_settings.within")
    within.settings, settings.w, settings.within = settings, Value(2.0), within    # either refers to the other
    sys.modules["own_settings"] = within

    def put(v):
        settings.w = v

    if imported:

        def f(x):
            import own_settings

            return own_settings.settings.w * x

        return f, put
    return lambda x: within.settings.w * x, put


def in_module_in_attribute():
    line, settings = Plain(), types.ModuleType("own_settings")
    line.settings, settings.w = settings, Value(2.0)
    return lambda x: line.settings.w * x, lambda v: setattr(settings, "w", v)


def in_defaults():
    def f(x, w=Value(2.0)):  # noqa: B008
        return w * x

    return f, lambda v: setattr(f, "__defaults__", (v,))


def in_keyword_defaults():
    def f(x, *, w=Value(2.0)):  # noqa: B008
        return w * x

    return f, lambda v: setattr(f, "__kwdefaults__", {"w": v})


def in_function_attribute():
    def f(x):
        return f.w * x

    f.w = Value(2.0)
    return f, lambda v: setattr(f, "w", v)


def in_set():
    entries = {Value(2.0)}

    def put(v):
        entries.clear()
        entries.add(v)

    return lambda x: next(iter(entries)) * x, put


def in_proxy():
    entries = {"w": Value(2.0)}
    proxy = types.MappingProxyType(entries)
    return lambda x: proxy["w"] * x, lambda v: entries.__setitem__("w", v)


def in_strided():
    W = np.array([[Value(2.0) for _ in range(4)] for _ in range(2)], object)[:, ::2]
    return lambda x: W[1, 1] * x, lambda v: W.__setitem__((1, 1), v)


def in_attribute_of_value(kind=Value):
    v = kind(1.0)
    v.partner = Value(2.0)
    pair = [v, Value(1.0)]
    return lambda x: pair[0].partner * x, lambda new: setattr(v, "partner", new)


PLACES = {
    "python module": lambda: in_python_module(False),
    "python module imported within": lambda: in_python_module(True),
    "python module in an attribute": in_module_in_attribute,
    "defaults": in_defaults,
    "keyword defaults": in_keyword_defaults,
    "function attribute": in_function_attribute,
    "set": in_set,
    "proxy": in_proxy,
    "user list": lambda: in_entry(collections.UserList([Value(2.0)])),
    "user dict": lambda: in_entry(collections.UserDict(w=Value(2.0)), "w"),
    "chain map": lambda: in_entry(collections.ChainMap({"w": Value(2.0)}), "w"),
    "strided array": in_strided,
    "attribute of a Value": in_attribute_of_value,
    "attribute of a Value of a subclass": lambda: in_attribute_of_value(Partnered),
    "slot of a Value of a subclass": lambda: in_attribute_of_value(SlottedValue),
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


def test_installed_packages_are_not_searched():
    w = Value(2.0)

    def f(x):
        return w * x * float(mpmath.pi) + pytest.approx(1.0).expected

    reached = Reached(f)
    assert not any(variables is vars(mpmath) or variables is vars(pytest) for variables, _ in reached.variables)
    assert len(reached.variables) + len(reached.attributes) < 50
    assert compile(f)(1.0).data == 2.0 * math.pi + 1.0
