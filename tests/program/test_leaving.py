"""What of compiled functions can leave a process, and what is refused."""

import inspect

import numpy as np
import pytest

import microgradc
from microgradc import Value, compile, load_compiled, take


@pytest.fixture
def path(tmp_path):
    return tmp_path / "f.safetensors"


def test_what_a_file_cannot_hold_is_refused(path):
    table = [Value(1.0), Value(2.0), Value(3.0)]
    power = compile(lambda x, n: sum([x**k for k in range(n)]), static=("n",))
    with pytest.raises(ValueError, match="static argument"):
        power.save(path, 2.0, 3)
    with pytest.raises(ValueError, match="static argument"):
        compile(lambda x, kind: x if kind == "a" else -x).save(path, 2.0, "a")
    assert not path.exists()
    compile(lambda i: take(table, i + 1)).save(path, 0)
    loaded = load_compiled(path)
    assert [loaded(0).data, loaded(1).data] == [2.0, 3.0]
    with pytest.raises(IndexError):
        loaded(2)
    compile(lambda x: microgradc.select(x > 0, x.log(), x)).save(path, 1.0)
    loaded = load_compiled(path)
    assert [loaded(-2.0).data, loaded.value_and_grad(-2.0)] == [-2.0, (-2.0, 1.0)]


@compile
def damped(x, rate, *, scale=1.0, kind=None):
    y = x * microgradc.exp(-rate * x) * scale
    return y if kind is None else getattr(microgradc, kind)(y)


def test_arguments_by_keyword(path):
    """As in a call: `f.save(path, 1.0, scale=2.0)`."""
    wanted = damped(0.5, 2.0, scale=3.0).data
    damped.save(path, 0.5, rate=2.0, scale=3.0)
    loaded = load_compiled(path)
    assert loaded.map.__self__ is loaded
    for found in (loaded(0.5, 2.0, 3.0), loaded(0.5, rate=2.0, scale=3.0), loaded(scale=3.0, rate=2.0, x=0.5)):
        assert found.data == wanted
    assert loaded.map(np.array([0.5]), scale=np.array([3.0]), rate=np.array([2.0])).tolist() == [wanted]
    assert list(inspect.signature(loaded).parameters) == ["x", "rate", "scale"]
    with pytest.raises(TypeError, match="missing a required argument: 'rate'"):
        loaded(x=0.5)
    with pytest.raises(ValueError, match=r"takes arguments that it was recorded for: \(number, number, number\)"):
        loaded(0.5)
    for texts in (damped.to_c(0.5, rate=2.0, scale=3.0), damped.to_c(rate=2.0, x=0.5, scale=3.0)):
        assert texts == damped.to_c(0.5, 2.0, scale=3.0)
    assert "pricer_INPUTS = 2" in damped.to_c(0.5, rate=2.0, kind="sin")[1]     # what is static is in the text
    assert "sin(" in damped.to_c(0.5, rate=2.0, kind="sin", name="other")[0]
    assert damped.jacobian(x=0.5, rate=2.0) == damped.jacobian(0.5, 2.0)
    assert damped.hessian(0.5, rate=2.0) == damped.hessian(0.5, 2.0)
    for method in (damped.jacobian, damped.hessian):
        with pytest.raises(TypeError, match="can be given by place, and 'scale' cannot"):
            method(0.5, 2.0, scale=3.0)


def test_low_level_callables_by_keyword():
    integrate = pytest.importorskip("scipy.integrate", reason="SciPy is not installed")
    f = damped.low_level_callable(0.0, scale=1.0, rate=0.0)
    found = integrate.quad(f, 0, 1, args=(2.0, 3.0))[0]
    assert found == pytest.approx(integrate.quad(lambda x: 3 * x * np.exp(-2 * x), 0, 1)[0], rel=1e-12)


def test_names_that_are_no_words_of_python(path):
    compile(lambda *xs: sum(xs)).save(path, 1.0, 2.0)
    assert load_compiled(path)(3.0, 4.0).data == 7.0
