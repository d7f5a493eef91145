"""Compiled functions as C functions in SciPy's loops."""

import ctypes
import gc
import pickle
import threading

import numpy as np
import pytest

import microgradc
from microgradc import Value, compile, nn, take

scipy = pytest.importorskip("scipy", reason="SciPy is not installed")
integrate = pytest.importorskip("scipy.integrate", reason="SciPy is not installed")
ndimage = pytest.importorskip("scipy.ndimage", reason="SciPy is not installed")

NUMBER, NUMBERS, BUFFER = microgradc.program.program.SIGNATURES


def called(callable_, *numbers):
    """Call the C function of a LowLevelCallable: its pointer is in a capsule."""
    api = ctypes.pythonapi
    api.PyCapsule_GetPointer.restype, api.PyCapsule_GetPointer.argtypes = ctypes.c_void_p, [
        ctypes.py_object, ctypes.c_char_p]
    function = api.PyCapsule_GetPointer(callable_.function, NUMBERS.encode())
    data = api.PyCapsule_GetPointer(callable_.user_data, b"microgradc")
    kind = ctypes.CFUNCTYPE(ctypes.c_double, ctypes.c_int, ctypes.POINTER(ctypes.c_double), ctypes.c_void_p)
    return kind(function)(len(numbers), (ctypes.c_double * len(numbers))(*numbers), data)


@pytest.mark.parametrize("signature", [NUMBER, NUMBERS])
def test_quad(signature):
    rate = Value(0.5)
    f = compile(lambda x: (-rate * x * x).exp() * (3 * x).cos())
    low = f.low_level_callable(0.0, signature=signature)
    assert isinstance(low, scipy.LowLevelCallable)
    assert integrate.quad(low, -2, 3) == integrate.quad(lambda x: f(float(x)).data, -2, 3)
    before = integrate.quad(low, 0, 1)
    rate.data = 2.0     # the numbers of then stay
    assert integrate.quad(low, 0, 1) == before
    assert integrate.quad(f.low_level_callable(0.0), 0, 1) != before


def test_quad_with_arguments():
    f = compile(lambda x, a, b: a * x.sin() + b)
    low = f.low_level_callable(0.0, 0.0, 0.0)
    wanted = integrate.quad(lambda x: f(float(x), 2.0, 3.0).data, 0, 1)
    assert integrate.quad(low, 0, 1, args=(2.0, 3.0)) == wanted


def test_generic_filter():
    model = nn.MLP(9, [4, 1], seed=0)
    f = compile(lambda window: model(window))
    image = np.random.default_rng(0).normal(size=(12, 10))
    low = f.low_level_callable(np.zeros(9), signature=BUFFER)
    found = ndimage.generic_filter(image, low, size=3)
    assert found.tobytes() == ndimage.generic_filter(image, lambda w: f(w.copy()).data, size=3).tobytes()
    with pytest.raises(RuntimeError, match="filter function"):
        ndimage.generic_filter(image, low, size=5)


@pytest.mark.parametrize("size", [1, 3, 40, 3000])
def test_it_has_the_bits_of_a_call(size):
    """Also where the memory of a call is not on the stack, and for functions of constants alone."""
    w = [Value(0.1 * i) for i in range(size)]
    f = compile(lambda x: microgradc.logsumexp([v * y.tanh() for v, y in zip(w, x, strict=True)]) + w[0] * 2)
    low = f.low_level_callable([0.0] * size)
    x = np.random.default_rng(size).normal(size=size).tolist()
    assert [called(low, *x) for _ in range(3)] == [f(x).data] * 3
    constant = compile(lambda x: w[0] + 1)
    assert called(constant.low_level_callable(1.0), 2.0) == 1.0


def test_an_index_and_a_wrong_number_of_numbers():
    f = compile(lambda i, x: take([x, 2 * x, 3 * x], i))
    low = f.low_level_callable(0, 1.0)
    assert [called(low, i, 5.0) for i in (0, 1, 2)] == [5.0, 10.0, 15.0]
    for wrong in [(3, 5.0), (-1, 5.0), (0.5, 5.0), (np.nan, 5.0), (np.inf, 5.0), (1,), (1, 5.0, 6.0), ()]:
        assert np.isnan(called(low, *wrong))


def test_what_it_holds_lives_as_long_as_it_does():
    def make():
        w = Value(3.0)
        return compile(lambda x: w * x).low_level_callable(1.0)

    low = make()
    gc.collect()
    assert called(low, 2.0) == 6.0
    for _ in range(1000):
        make()
    assert called(low, 2.0) == 6.0


def test_threads_call_it_at_once():
    model = nn.MLP(2, [16, 16, 1], seed=0)
    f = compile(lambda x: model(x))
    low, wanted, wrong = f.low_level_callable([0.0, 0.0]), f([0.3, -0.7]).data, []

    def work():
        wrong.extend(x for x in (called(low, 0.3, -0.7) for _ in range(2000)) if x != wanted)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_functions_that_were_loaded(tmp_path):
    w = Value(0.5)
    f = compile(lambda x: (w * x).sin())
    f.save(tmp_path / "f", 1.0)
    for g in (microgradc.load_compiled(tmp_path / "f"), pickle.loads(pickle.dumps(f))):
        assert integrate.quad(g.low_level_callable(1.0), 0, 1) == integrate.quad(f.low_level_callable(1.0), 0, 1)


def test_what_is_refused():
    f = compile(lambda x: [x, x * 2])
    with pytest.raises(ValueError, match="must return one Value for this, it returned 2"):
        f.low_level_callable(1.0)
    g = compile(lambda x, y: x * y)
    with pytest.raises(ValueError, match="of one number must have one, got 2"):
        g.low_level_callable(1.0, 2.0, signature=NUMBER)
    with pytest.raises(ValueError, match=r"signature must be one of 'double \(double, void \*\)', .*got 'double'"):
        g.low_level_callable(1.0, 2.0, signature="double")
