"""What `help()` and an editor show of a call is what it takes."""

import inspect
import subprocess
import sys

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


class Plain(Value):
    pass


@pytest.mark.parametrize("kind", [Value, Plain])
def test_a_label_in_the_second_place(kind):
    a, b = Value(2.0), Value(3.0)
    for v, label, children, op in [
        (kind(1.0, "a"), "a", (), ""),
        (kind(1.0, ""), "", (), ""),
        (kind(1.0, "a", "*"), "a", (), "*"),
        (kind(6.0, "c", (a, b), "*"), "c", (a, b), "*"),
        (kind(6.0, "c", _children_of(a, b), "*"), "c", (a, b), "*"),
        (kind(6.0, "c", (a, b)), "c", (a, b), ""),
        (kind(6.0, (a, b), "*", "c"), "c", (a, b), "*"),
        (kind(6.0, _children="c", _op=(a,), label="+"), "c", (a,), "+"),
    ]:
        assert (v.label, v._children, v._op) == (label, children, op)
    with pytest.raises(TypeError, match="label of a Value is given once, got 'a' in the second place and 'b'"):
        kind(1.0, "a", label="b")
    with pytest.raises(TypeError, match=r"_children\[0\] must be a Value, got float"):
        kind(1.0, "a", [1.0])


def _children_of(*values):
    yield from values


@pytest.mark.parametrize("kind", [Value, Plain])
@pytest.mark.parametrize(
    ("name", "advice"),
    [
        ("requires_grad", "every Value has a gradient"),
        ("_prev", "_children"),
        ("prev", "_children"),
        ("op", "_op"),
        ("_label", "label"),
        ("grad", "v.grad = "),
        ("lable", "did you mean 'label'"),
        ("child", "did you mean '_children'"),
        ("colour", "it takes data, _children, _op and label"),
    ],
)
def test_an_argument_of_others_is_an_error_that_names_ours(kind, name, advice):
    with pytest.raises(TypeError, match=f"^Value has no argument '{name}': .*{advice}"):
        kind(1.0, **{name: True})


def test_a_subclass_has_arguments_of_its_own():
    class Tensor(Value):
        def __init__(self, data, requires_grad=False):
            super().__init__(data)
            self.requires_grad = requires_grad

    assert Tensor(1.0, requires_grad=True).requires_grad is True
    with pytest.raises(TypeError, match="unexpected keyword argument 'op'"):
        Tensor(1.0, op="+")


@pytest.mark.parametrize(("name", "ours"), [("prev", "_prev"), ("op", "_op"), ("_label", "label")])
def test_an_attribute_of_others_is_an_error_that_names_ours(name, ours):
    """In what Python prints of it."""
    program = f"from microgradc import Value; Value(1.0).{name}"
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert f"has no attribute '{name}'. Did you mean: '{ours}'?" in result.stderr


@pytest.mark.parametrize("kind", [Module, MLP])
def test_the_method_fit_has_the_arguments_of_the_function(kind):
    method, function = shown(kind.fit), shown(microgradc.fit)
    assert next(iter(method)) == "self"
    assert list(method.items())[1:] == list(function.items())[1:]
    assert len(function) > 12
