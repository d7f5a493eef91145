"""`Module.vector` and `set_vector`: parameters as one array, and who owns what of it."""

import copy
import gc
import hashlib
import os
import pickle
import weakref

import numpy as np
import pytest

from microgradc import MLP, SGD, Module, Value, compile
from microgradc.engine import CompileError
from microgradc.engine.value import read_numbers, vector_of, write_numbers, write_vector

pytestmark = pytest.mark.skipif(
    os.environ.get("MICROGRADC_SLAB") == "0", reason="CPython puts Values anywhere: all arrays are copies"
)


class Some(Module):
    """A module of these parameters."""

    def __init__(self, *values):
        self.values = list(values)


def evenly(count):
    """Return Values that lie evenly in memory."""
    kept = []      # so that others come next
    for _ in range(100):
        values = [Value(float(i)) for i in range(count)]
        if vector_of(values, False) is not None:
            return values
        kept += values
    pytest.fail("Values made one after another do not lie evenly")


def unevenly():
    """Return Values that do not."""
    values = evenly(6)
    return [values[i] for i in (0, 1, 3, 5)]


def test_a_view_is_what_the_model_has():
    model = Some(*evenly(5))
    theta, grads = model.vector(), model.vector("grad")
    assert theta.dtype == grads.dtype == float
    assert theta.shape == grads.shape == (5,)
    assert theta.flags.writeable
    assert grads.flags.writeable
    theta *= 2
    grads[1:3] = 7.0
    assert [p.data for p in model.parameters()] == [0.0, 2.0, 4.0, 6.0, 8.0]
    assert [p.grad for p in model.parameters()] == [0.0, 7.0, 7.0, 0.0, 0.0]
    model.values[0].data = -1.0
    model.zero_grad()
    assert theta[0] == -1.0
    assert not grads.any()
    assert pickle.loads(pickle.dumps(theta)).tolist() == theta.tolist() == copy.deepcopy(theta).tolist()


def test_a_new_network_lies_evenly():
    model = MLP(2, [16, 16, 1], seed=0)
    assert len(model.vector()) == 337
    assert model.vector().tolist() == [p.data for p in model.parameters()]


def test_a_copy_says_so():
    model = Some(*unevenly())
    theta = model.vector()
    assert theta.tolist() == [0.0, 1.0, 3.0, 5.0]
    assert not theta.flags.writeable
    with pytest.raises(ValueError, match="read-only"):
        theta[0] = 1.0
    model.set_vector(theta + 1)
    assert model.vector().tolist() == [1.0, 2.0, 4.0, 6.0]
    assert theta[0] == 0.0


def test_few_and_subclasses_and_backwards():
    assert Module().vector().shape == (0,)
    Module().set_vector([])
    one = Some(Value(3.0))
    one.vector()[0] = 4.0
    assert one.values[0].data == 4.0

    class Named(Value):
        pass

    model = Some(*[Named(1.0) for _ in range(4)])
    assert model.vector().tolist() == [1.0] * 4
    values = evenly(4)
    theta = Some(*values[::-1]).vector()
    theta[0] = 9.0
    assert values[3].data == 9.0
    assert theta.tolist() == [9.0, 2.0, 1.0, 0.0]


def test_a_compiled_function_sees_what_was_written():
    model = MLP(2, [4, 1], seed=0)
    f = compile(lambda x: model(x))
    x = np.array([[0.5, -1.0], [1.0, 2.0]])

    def expected():
        return [model(row).data for row in x.tolist()]

    theta = model.vector()
    for _ in range(3):
        theta += 0.25
        assert f.map(x).tolist() == pytest.approx(expected(), rel=1e-14)
        theta[3] = -theta[3]
        assert f(x[0]).data == pytest.approx(expected()[0], rel=1e-14)
        assert f.mean(x).data == pytest.approx(np.mean(expected()), rel=1e-14)
    model.vector()[:] = 0.5                              # a view that is gone at once
    assert f.map(x).tolist() == pytest.approx(expected(), rel=1e-14)
    part, theta = theta[2:5], None
    part[:] = 1.0                                        # a view of a view
    assert f.map(x).tolist() == pytest.approx(expected(), rel=1e-14)
    part[:] = -0.0
    part[:] = 0.0
    assert f.map(x).tolist() == pytest.approx(expected(), rel=1e-14)
    model.set_vector(np.full(len(model.parameters()), 0.125))
    assert f.map(x).tolist() == pytest.approx(expected(), rel=1e-14)


def test_the_sign_of_zero_is_seen():
    w = Value(0.0)
    f = compile(lambda x: x / w)
    theta = Some(w).vector()
    assert f.map([1.0]).tolist() == [np.inf]
    theta[0] = -0.0
    assert f.map([1.0]).tolist() == [-np.inf]


def test_a_view_keeps_its_values_and_the_model_may_go():
    values = evenly(1000)
    model = Some(*values)
    theta, gone = model.vector(), weakref.ref(model)
    del model, values
    gc.collect()
    assert gone() is None
    others = [Value(-1.0) for _ in range(5000)]          # would take the place of those that were freed
    assert theta.tolist() == list(range(1000))
    theta += 1
    assert all(v.data == -1.0 for v in others)
    view = memoryview(theta)
    del theta
    gc.collect()
    assert view[999] == 1000.0


def test_replaced_parameters_are_no_longer_those_of_the_view():
    model = Some(*evenly(3))
    theta = model.vector()
    model.values[1] = Value(8.0)
    theta[:] = 5.0
    assert [p.data for p in model.parameters()] == [5.0, 8.0, 5.0]
    assert model.vector().tolist() == [5.0, 8.0, 5.0]


def test_a_view_in_a_cycle_is_released():
    class Holder:
        pass

    values = evenly(3)
    holder = Holder()
    values[0].mine, holder.values = holder, values
    holder.view = memoryview(vector_of(values, False))
    gone = weakref.ref(holder)
    del holder, values
    gc.collect()
    assert gone() is None


def test_consumers_without_strides_are_refused():
    buffer = vector_of(evenly(3), False)
    for read in (bytes, bytearray):
        assert len(read(memoryview(buffer))) == 24
    with pytest.raises(BufferError):
        np.frombuffer(buffer)
    with pytest.raises(BufferError):
        hashlib.sha256(buffer)


def test_training_and_scipy():
    optimize = pytest.importorskip("scipy.optimize")
    model = MLP(2, [4, 1], activation="tanh", seed=0)
    loss = compile(lambda x, y: (model(x) - y) ** 2)
    X = np.random.default_rng(0).normal(size=(20, 2))
    y = X[:, 0] * X[:, 1]

    def value_and_grad(theta):
        model.set_vector(theta)
        model.zero_grad()
        total = loss.mean(X, y)
        total.backward()
        return total.data, model.vector("grad").copy()

    result = optimize.minimize(value_and_grad, model.vector(), jac=True, method="L-BFGS-B")
    assert result.fun < 0.01
    SGD(model.parameters(), lr=0.1).step()
    assert model.vector().tolist() == [p.data for p in model.parameters()]


def test_wrong_arguments():
    model = Some(*evenly(3))
    for theta in ([1.0, 2.0], [[1.0, 2.0, 3.0]], ["a", "b", "c"], 3.0, [1.0, 2.0, None]):
        with pytest.raises((TypeError, ValueError), match="theta"):
            model.set_vector(theta)
    with pytest.raises(ValueError, match="'data' or 'grad'"):
        model.vector("gradient")
    assert model.vector().tolist() == [0.0, 1.0, 2.0]
    with pytest.raises(TypeError, match=r"parameters\[1\]"):
        vector_of([Value(1.0), 2.0], False)
    with pytest.raises(TypeError, match="floats"):
        write_vector([Value(1.0)], [1])
    with pytest.raises(ValueError, match="1 Values for 2 numbers"):
        write_vector([Value(1.0)], [1.0, 2.0])
    for f in (lambda x: x + model.vector()[0], lambda x: model.set_vector([1.0, 2.0, 3.0]) or x):
        with pytest.raises(CompileError):
            compile(f)(1.0)


def test_numbers_of_lists_are_read_and_written():
    rows, array = [evenly(2), unevenly(), []], np.empty((2, 3))
    read_numbers(rows, array, False)
    assert array.ravel().tolist() == [0.0, 1.0, 0.0, 1.0, 3.0, 5.0]
    write_numbers(rows, array * 2)
    assert [v.data for row in rows for v in row] == [0.0, 2.0, 0.0, 2.0, 6.0, 10.0]
    rows[1][0].grad = 7.0
    read_numbers(rows, array, True)
    assert array.ravel().tolist() == [0.0, 0.0, 7.0, 0.0, 0.0, 0.0]
    before = [v.data for row in rows for v in row]
    for wrong in (np.empty(5), np.empty(6, np.float32), np.empty(6, ">f8"), np.empty(6, np.int64)):
        with pytest.raises(ValueError, match="there are 6 Values, for which an array must have as many float64"):
            write_numbers(rows, wrong)
    with pytest.raises(ValueError, match=r"not C-contiguous"):
        read_numbers(rows, np.empty(12)[::2], False)
    with pytest.raises((ValueError, BufferError), match=r"read-only|not writable"):
        read_numbers(rows, frozen(6), False)
    with pytest.raises(TypeError, match="parameters must be Values, got float"):
        write_numbers([[1.0]], np.empty(1))
    with pytest.raises(TypeError):
        write_numbers([(Value(1.0),)], np.empty(1))
    assert [v.data for row in rows for v in row] == before


def frozen(n):
    array = np.zeros(n)
    array.flags.writeable = False
    return array
