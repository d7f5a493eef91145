"""What `help()` and an editor show of a call is what it takes."""

import inspect

import pytest

import microgradc
from microgradc import MLP, Module, Value


def shown(f):
    return {p.name: (p.kind, p.default) for p in inspect.signature(f).parameters.values()}


def test_a_value():
    assert str(inspect.signature(Value)) == "(data, _children=(), _op='', label='')"
    child = Value(2.0)
    v = Value(**{"data": 1.0, "_children": (child,), "_op": "+", "label": "x"})
    assert (v.data, v._children, v._op, v.label) == (1.0, (child,), "+", "x")
    assert Value.__doc__.startswith("A scalar that takes part in a computation")


@pytest.mark.parametrize("kind", [Module, MLP])
def test_the_method_fit_has_the_arguments_of_the_function(kind):
    method, function = shown(kind.fit), shown(microgradc.fit)
    assert next(iter(method)) == "self"
    assert list(method.items())[1:] == list(function.items())[1:]
    assert len(function) > 12
