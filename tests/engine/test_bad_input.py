"""Bad input gets a TypeError or ValueError that names the argument, what came and what was expected; and changes
nothing."""

import operator
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest

import microgradc
from microgradc import Value, nn

NOT_NUMBERS = ["a", None, 1j, np.ones(3), np.array(2.0), [1.0], (1,), {}, object(), b"1", Value]
NOT_NUMBERS += [np.complex64(1), np.complex128(1)]


@pytest.mark.parametrize("bad", NOT_NUMBERS, ids=lambda o: type(o).__name__)
def test_not_a_number(bad):
    with pytest.raises(TypeError, match="data must be a real number, got "):
        Value(bad)
    v = Value(1.0)
    with pytest.raises(TypeError, match="data must be a real number, got "):
        v.data = bad
    with pytest.raises(TypeError, match="grad must be a real number, got "):
        v.grad = bad
    assert (v.data, v.grad) == (1.0, 0.0)


NUMBERS = [1, 1.5, True, np.float64(2), np.float32(2), np.int8(2), np.bool_(True), Decimal("1.5"), Fraction(1, 2)]


@pytest.mark.parametrize("number", NUMBERS, ids=repr)
def test_numbers(number):
    assert Value(number).data == float(number)
    assert (Value(1.0) + number).data == 1.0 + float(number)
    assert (number * Value(2.0)).data == float(number) * 2.0
    assert microgradc.sum([Value(1.0), number]).data == 1.0 + float(number)


@pytest.mark.parametrize("bad", ["x", None, 1j, [1], {}, object()], ids=lambda o: type(o).__name__)
@pytest.mark.parametrize("operator", ["+", "-", "*", "/", "**", "//", "%", "<", ">="])
def test_operators(operator, bad):
    v = Value(1.0)
    for expression in (f"v {operator} bad", f"bad {operator} v"):
        with pytest.raises(TypeError, match="None" if bad is None else type(bad).__name__):
            eval(expression, {"v": v, "bad": bad})


def test_a_tensor_is_an_array():
    torch = pytest.importorskip("torch", reason="compares with PyTorch")
    for tensor in (torch.ones(2), torch.tensor(1.0)):
        with pytest.raises(TypeError, match="data must be a real number"):
            Value(tensor)


def test_advice():
    with pytest.raises(
        TypeError, match=r"an operand of \+ must be a Value or a real number, got str 'x'; convert it with float"
    ):
        Value(1) + "x"
    with pytest.raises(TypeError, match=r"microgradc.array\(x\) makes an array of Values"):
        Value(np.ones(3))
    with pytest.raises(TypeError, match=r"shape \(3,\)"):
        Value(np.ones(3))
    with pytest.raises(TypeError, match=r"convert it with float"):
        Value("3.5")
    with pytest.raises(TypeError, match="complex numbers are not supported"):
        Value(1j)


def test_a_number_that_fails_to_convert_says_so_itself():
    class Bad:
        def __float__(self):
            raise RuntimeError("no luck")

    with pytest.raises(RuntimeError, match="no luck"):
        Value(Bad())
    with pytest.raises(OverflowError):
        Value(10**400)
    with pytest.raises(OverflowError):
        Value(1.0) * 10**400


def test_functions():
    v = Value(1.0)
    with pytest.raises(TypeError, match="x must be a Value, a real number or an array of either, got str 'a'"):
        microgradc.exp("a")
    with pytest.raises(TypeError, match="y must be a Value or a real number, got None"):
        microgradc.maximum(v, None)
    with pytest.raises(TypeError, match="condition must be"):
        microgradc.where("a", v, v)
    with pytest.raises(TypeError, match="lo must be"):
        microgradc.clip(v, "a")
    with pytest.raises(TypeError, match="negative_slope must be"):
        v.leaky_relu("a")
    with pytest.raises(TypeError, match="Value"):
        microgradc.topological_sort(3)
    with pytest.raises(TypeError):
        pow(v, 2, 3)


def test_networks():
    for make, sizes, kind in (
        (nn.Neuron, (0,), ValueError),
        (nn.Neuron, (2.5,), TypeError),
        (nn.Layer, (2, -1), ValueError),
        (nn.MLP, (True, [1]), TypeError),
        (nn.MLP, (2, [3, 0]), ValueError),
    ):
        with pytest.raises(kind, match="must be a positive integer, got "):
            make(*sizes)
    for bad in ([], 3, "34", None, 2.5):
        with pytest.raises(
            ValueError if bad == [] else TypeError, match="nouts must be a list of at least one layer size"
        ):
            nn.MLP(2, bad)
    model = nn.MLP(2, [3, 1])
    for x in ([1.0], [1.0, 2.0, 3.0], []):
        with pytest.raises(ValueError, match=f"x must have 2 entries.*{len(x)}"):
            model(x)
    with pytest.raises(TypeError, match="x must be an iterable"):
        model(1.0)
    with pytest.raises(TypeError, match=r"x\[0\] must be a Value or a real number, got str"):
        model(["a", "b"])
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        microgradc.nothing  # noqa: B018


def test_nothing_from_python_crashes():
    """What no program would do; each ends in an exception or a sane result."""
    v = Value.__new__(Value)
    assert (v.data, v.grad, v._prev, v._op) == (0.0, 0.0, set(), "")
    (v * 2).backward()
    assert v.grad == 2.0
    late = Value.__new__(Value)
    late.__init__(3.0, (v,), (2.0,))
    late.backward()
    knot = Value.__new__(Value)
    other = knot * 2
    knot.__init__(1.0, (other,), (1.0,))  # no real graph: it must end all the same
    other.backward()
    microgradc.topological_sort(other)
    for attribute in ("data", "grad", "label", "_op", "_backward"):
        with pytest.raises((AttributeError, NotImplementedError, TypeError)):
            delattr(v, attribute)


def test_types_stay_what_they_are():
    """Values lie in memory of their own; an instance of a subclass does not."""

    class Same(Value):
        __slots__ = ()

    for v, other in ((Value(1.0), Same), (Same(1.0), Value)):
        for assign in (lambda v, t: setattr(v, "__class__", t), object.__dict__["__class__"].__set__):
            with pytest.raises(TypeError):
                assign(v, other)
    for name in ("__name__", "__qualname__", "__doc__", "__module__", "anything"):
        before = getattr(Value, name, None)
        setattr(Value, name, "x")
        assert getattr(Value, name) == "x"
        setattr(Value, name, before)
    del Value.anything
    for name in ("__name__", "__bases__"):
        with pytest.raises(TypeError):
            setattr(Value, name, 3)
    assert repr(Value) == "<class 'microgradc.engine.Value'>"


@pytest.mark.parametrize("cls", [Value, microgradc.engine.value.Listing], ids=lambda cls: cls.__name__)
def test_methods_called_on_something_else(cls):
    """Cython's own method objects would read the memory of whatever comes as self."""
    for name, attribute in vars(cls).items():
        if name in ("__new__", "__doc__", "__module__", "__array_priority__", "__pyx_vtable__"):
            continue
        for arguments in ((3,), (3, 4), (3, 4, 5), ()):
            with pytest.raises(TypeError):
                getattr(attribute, "__get__" if not callable(attribute) else "__call__")(*arguments)


def test_what_is_masked_is_no_operand():
    v, masked = Value(1.0), np.ma.masked
    for f in (operator.add, operator.sub, operator.mul, operator.truediv, operator.pow):
        with pytest.raises(TypeError, match=r"^an operand of .* got numpy\.ma.*; .* fill it, a\.filled\(0\.0\)"):
            f(v, masked)
    with pytest.raises(TypeError, match=r"^data must be a real number, got numpy\.ma.*; .* fill it, a\.filled\(0\.0\)"):
        Value(masked)
    assert (v < masked) is masked    # as of any number
    assert (v * np.ma.array([2.0, 3.0], mask=[False, True])).tolist()[1] is None
