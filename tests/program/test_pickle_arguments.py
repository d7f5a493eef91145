"""Functions with static, shared and named arguments that leave their process."""

import enum
import inspect
import pickle

import numpy as np
import pytest

from microgradc import Value, compile


class Colour(enum.Enum):
    RED = 1


def there_and_back(x):
    return pickle.loads(pickle.dumps(x))


def test_static_arguments_and_what_is_returned_besides_numbers():
    w = Value(3.0)

    def f(x, n, kind=None, *, scale=1.0):
        return {"kind": kind or None, "x": sum(w * x**k for k in range(n)) * scale * (-1 if kind else 1), "none": None}

    g = compile(f, static=("n",))
    calls = [lambda g: g(2.0, 3), lambda g: g(2.0, n=3, kind="minus"), lambda g: g(x=2.0, n=2, kind=Colour.RED),
             lambda g: g(2.0, 3, scale=0.5), lambda g: g(2.0, 3, False)]
    wanted = [(found["kind"], found["x"].data) for found in (call(g) for call in calls)]
    loaded = there_and_back(there_and_back(g))
    for _ in range(2):      # the second one goes the shortest way
        assert [(found["kind"], found["x"].data) for found in (call(loaded) for call in calls)] == wanted
    assert loaded.map(x=np.array([2.0, 3.0]), n=3)["x"].tolist() == [21.0, 39.0]
    assert loaded.map(np.array([2.0, 3.0]), 3, scale=np.array([1.0, 2.0]))["x"].tolist() == [21.0, 78.0]
    with pytest.raises(ValueError, match=r"number, 3, scale=number\).*got \(number, 4\)"):
        loaded(2.0, 4)
    with pytest.raises(ValueError, match=r"got \(number, 3, 'other'\)"):
        loaded(2.0, 3, "other")
    with pytest.raises(TypeError, match=r"missing a required argument: 'n'"):
        loaded(x=2.0)
    with pytest.raises(TypeError, match=r"unexpected keyword argument 'm'"):
        loaded(2.0, 3, m=2)
    outer = compile(lambda x: loaded(x=x, n=3, scale=x)["x"] + loaded(x, 3)["x"])
    assert outer.value_and_grad(2.0) == (63.0, 66.0)


def test_shared_arguments():
    w = Value(0.5)
    f = compile(lambda theta, x, y: (theta["a"] * x + theta["b"] * w - y) ** 2, shared=("theta",))
    theta, x, y = {"a": 2.0, "b": 1.0}, np.arange(4.0), np.ones(4)
    wanted = f.sum_value_and_grad(theta, x, y)
    assert f(theta, 1.0, 1.0).data == 2.25      # another recording
    for loaded in (there_and_back(f), there_and_back(there_and_back(f))):
        for _ in range(2):
            assert loaded.sum_value_and_grad(theta, x, y) == wanted
        assert loaded.mean(theta, y=y, x=x).data == wanted[0] / 4
        assert loaded.map(theta, x, y).tolist() == f.map(theta, x, y).tolist()
        assert loaded(theta, 1.0, 1.0).data == 2.25
        with pytest.raises(ValueError, match=r"shared \{'a': number, 'b': number\}, number, number"):
            loaded.sum_value_and_grad([2.0, 1.0], x, y)
        loaded.program(theta, 1.0, 1.0).parameters[0].data = 1.5
        assert loaded.sum_value_and_grad(theta, x, y)[0] != wanted[0]
    assert pickle.loads(pickle.dumps(f.program(theta, 1.0, 1.0))).parameters[0].data == 0.5


def test_the_signature_and_the_documentation_travel():
    def f(x, /, y=2.0, *rest, z):
        """Add up."""
        return x + y + sum(rest) + z

    g = compile(f)
    g(1.0, z=1.0), g(1.0, 2.0, 3.0, z=1.0)
    loaded = there_and_back(g)
    assert loaded.__doc__ == "Add up."
    assert list(inspect.signature(loaded).parameters) == ["x", "y", "rest", "z"]
    assert loaded(1.0, 2.0, 3.0, z=4.0).data == 10.0
    assert loaded.value_and_grad(1.0, z=4.0) == (7.0, (1.0, 1.0))
    with pytest.raises(TypeError, match="positional.only"):
        loaded(x=1.0, z=1.0)
    assert there_and_back(made_with_a_lambda()).__doc__ is None


def made_with_a_lambda():
    f = compile(lambda x: x + 1)
    f(1.0)
    return f


def test_what_cannot_be_pickled_among_static_arguments_stays_behind():
    f = compile(lambda x, g=None: x if g is None else g(x), static=("g",))
    f(1.0), f(1.0, lambda x: 2 * x)
    loaded = there_and_back(f)
    assert loaded(3.0).data == 3.0
    with pytest.raises(ValueError, match="number"):
        loaded(3.0, abs)


def test_cloudpickle_keeps_what_is_shared_or_static():
    cloudpickle = pytest.importorskip("cloudpickle", reason="cloudpickle is not installed")
    f = compile(lambda theta, x, n=2: theta * x**n, static=("n",), shared=("theta",))
    f(2.0, 3.0), f.sum_value_and_grad(2.0, np.ones(3), 3)
    again = pickle.loads(cloudpickle.dumps(f))
    assert again.sum_value_and_grad(2.0, np.full(2, 2.0), 3) == (32.0, 16.0)
    assert again(2.0, 4.0).data == 32.0
