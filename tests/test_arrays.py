"""NumPy object arrays of Values."""

import pickle
import sys

import numpy as np
import pytest
import torch

import microgradc
from microgradc import Value, array, grads, to_numpy


def test_there_and_back():
    a = array([[1.0, 2], [3, 4]])
    assert a.shape == (2, 2)
    assert a.dtype == object
    assert to_numpy(a).tolist() == [[1.0, 2.0], [3.0, 4.0]]
    assert to_numpy(a).dtype == grads(a).dtype == float
    v = Value(5.0)
    assert array([v, 1.0])[0] is v
    assert array(3.0).shape == ()
    assert array(np.zeros((0, 3))).shape == (0, 3)
    assert to_numpy([v, 2.0]).tolist() == [5.0, 2.0]


def test_a_two_layer_network_against_pytorch():
    rng = np.random.default_rng(0)
    X, W1, W2 = rng.normal(size=(5, 3)), rng.normal(size=(3, 4)), rng.normal(size=(4, 2))
    w1, w2 = array(W1), array(W2)
    loss = np.sum((np.tanh(X @ w1) @ w2 - 1.0) ** 2) / 10 + np.exp(w1).mean() + np.dot(w2[:, 0], w2[:, 1])
    loss.backward()
    t1, t2 = (torch.tensor(w, requires_grad=True) for w in (W1, W2))
    loss_t = (
        ((torch.tanh(torch.tensor(X) @ t1) @ t2 - 1.0) ** 2).sum() / 10 + torch.exp(t1).mean() + t2[:, 0] @ t2[:, 1]
    )
    loss_t.backward()
    assert loss.data == pytest.approx(loss_t.item(), rel=1e-13)
    np.testing.assert_allclose(grads(w1), t1.grad.numpy(), rtol=1e-12)
    np.testing.assert_allclose(grads(w2), t2.grad.numpy(), rtol=1e-12)


NUMPY_NAMES = (
    "exp expm1 log log1p log2 sqrt sin cos tan arcsin arccos arctan sinh cosh tanh arcsinh arctanh absolute".split()
)


@pytest.mark.parametrize("name", NUMPY_NAMES)
def test_numpy_functions_call_the_methods(name):
    x = np.array([0.25, 0.5])
    np.testing.assert_allclose(to_numpy(getattr(np, name)(array(x))), getattr(np, name)(x), rtol=1e-14)


def test_numpy_functions_of_two_arguments():
    x, y = np.array([0.25, -3.0]), np.array([2.0, 0.5])
    for f in (np.arctan2, np.hypot, np.maximum, np.minimum, np.power, np.floor_divide, np.remainder):
        x_ = abs(x) if f is np.power else x
        np.testing.assert_allclose(to_numpy(f(array(x_), array(y))), f(x_, y), rtol=1e-14)


def test_values_with_arrays():
    v, a = Value(2.0), np.array([1.0, 2.0])
    for out, expected in [
        (v * a, [2, 4]),
        (a * v, [2, 4]),
        (v - a, [1, 0]),
        (a / v, [0.5, 1]),
        (v**a, [2, 4]),
        (a**v, [1, 4]),
    ]:
        assert isinstance(out, np.ndarray)
        assert to_numpy(out).tolist() == expected
    (v * a).sum().backward()
    assert v.grad == 3.0
    assert isinstance(np.array(3.0) * v, Value)
    assert isinstance(np.float64(3.0) * v, Value)


def test_functions_of_arrays():
    x = np.array([[0.5, 1.0], [2.0, 3.0]])
    assert microgradc.exp(x).dtype == float
    np.testing.assert_allclose(microgradc.exp(x), np.exp(x), rtol=1e-15)
    np.testing.assert_allclose(to_numpy(microgradc.log(array(x))), np.log(x), rtol=1e-15)
    np.testing.assert_allclose(microgradc.maximum(x, 1.5), np.maximum(x, 1.5))
    np.testing.assert_allclose(to_numpy(microgradc.hypot(Value(1.0), x)), np.hypot(1.0, x), rtol=1e-15)
    np.testing.assert_allclose(to_numpy(microgradc.where(x > 1, array(x), 0.0)), np.where(x > 1, x, 0.0))
    np.testing.assert_allclose(microgradc.clip(x, 0.75, hi=2.0), np.clip(x, 0.75, 2.0))
    np.testing.assert_allclose(microgradc.leaky_relu(-x), -x * 0.01)
    assert microgradc.exp(np.float64(1.0)) == microgradc.exp(1) == microgradc.exp(1.0)


def test_bad_input():
    with pytest.raises(TypeError, match=r"microgradc\.array"):
        Value(np.ones(3))
    with pytest.raises(TypeError, match="must be a real number, got str"):
        array([1.0, "a"])
    with pytest.raises(TypeError, match=r"x\[1\]\[0\] must be a real number, got str 'a'"):
        array([[1.0], ["a"]])
    with pytest.raises(TypeError, match=r"a\[0\] must be a real number, got str '1'"):
        to_numpy(["1"])
    with pytest.raises(ValueError, match=r"x must have rows of one length, got 2 in x\[0\] and 1 in x\[1\]"):
        array([[1.0, 2.0], [3.0]])
    with pytest.raises(TypeError, match=r"x\[1\] must be a row, as x\[0\] is, got float"):
        array([[1.0], 2.0])
    with pytest.raises(TypeError, match=r"x\[1\] must be a real number, got list"):
        array([1.0, [2.0]])
    with pytest.raises(TypeError, match="must hold Values"):
        grads([1.0])
    with pytest.raises(TypeError, match=r"microgradc\.array"):
        microgradc.exp([1.0])


def test_the_former_name_of_to_numpy():
    from microgradc import arrays
    from microgradc import data as module
    from microgradc.train.data import make_moons

    assert module.make_moons is make_moons
    for former in (module, arrays.data):
        with pytest.warns(DeprecationWarning, match=r"microgradc\.to_numpy\(a\)") as warnings:
            assert former(array([1.0])).tolist() == [1.0]
        assert warnings[0].filename == __file__


MORE_NUMPY_NAMES = "log10 exp2 cbrt fabs rint round deg2rad rad2deg degrees radians square reciprocal".split()


@pytest.mark.filterwarnings("ignore:overflow encountered")
@pytest.mark.parametrize("name", MORE_NUMPY_NAMES)
def test_more_functions_of_numpy(name):
    x = np.array([[2.0, 0.5], [1.5, 2.5], [0.49999999999999994, 3e16]])
    f = getattr(np, name)
    got = f(array(x))
    assert got.shape == x.shape
    np.testing.assert_allclose(to_numpy(got), f(x), rtol=1e-14)
    assert f(Value(1.5)).data == pytest.approx(f(1.5), rel=1e-14)


@pytest.mark.parametrize("x", [-3.5, -2.5, -1.5, -0.5, -0.3, 0.0, 0.5, 1.5, 2.5, 4.7, 1e300, np.inf, -np.inf, np.nan])
def test_rounding_is_numpys_and_has_no_slope(x):
    v = Value(x)
    rounded = v.rint()
    np.testing.assert_array_equal(rounded.data, np.rint(x))
    (rounded * 3.0).backward()
    assert v.grad == 0


def test_the_norm():
    x = array([3.0, 4.0])
    norm = np.linalg.norm(x)
    norm.backward()
    assert norm.data == 5.0
    np.testing.assert_allclose(grads(x), [0.6, 0.8])


def test_degrees_have_a_slope():
    v = Value(30.0)
    np.sin(np.deg2rad(v)).backward()
    assert v.grad == pytest.approx(np.cos(np.pi / 6) * np.pi / 180)


OF_NUMBERS = "exp exp2 expm1 log log2 log10 log1p sqrt cbrt sin cos tan arcsin arccos arctan sinh cosh tanh".split()
OF_NUMBERS += "arcsinh arctanh fabs rint deg2rad rad2deg radians degrees sign floor ceil square reciprocal".split()


def mixed(x, mask):
    """An array with Values and floats in it, some rows of either alone; and its Values."""
    values = array(x)
    return np.where(mask, values, x), values


@pytest.mark.parametrize("name", OF_NUMBERS)
def test_functions_of_values_and_floats_in_one_array(name):
    f, x = getattr(np, name), np.array([[0.5, 0.25, 0.75], [0.1, 0.2, 0.3], [0.9, 0.8, 0.6]])
    mask = np.array([[True, False, True], [False] * 3, [True] * 3])
    a, values = mixed(x, mask)
    for view in (slice(None), (slice(None), slice(0, 2)), slice(None, None, -1), (slice(None), 1), (1, 1)):
        np.testing.assert_allclose(to_numpy(f(a[view])), f(x[view]), rtol=1e-14)
    of_all = f(values)
    got = f(a)
    assert [isinstance(v, Value) for v in got.flat] == mask.ravel().tolist()
    np.sum(got).backward()
    slopes = grads(values)
    for v in values.flat:
        v.grad = 0
    np.sum(of_all[mask]).backward()
    np.testing.assert_array_equal(slopes, grads(values))
    assert isinstance(f(values[0, 0]), Value)    # of a Value alone, too


def test_functions_of_two_numbers_in_mixed_arrays():
    x, y = np.array([0.5, -2.0, 3.0]), np.array([1.5, 0.25, -1.0])
    a, values = mixed(x, np.array([True, False, True]))
    others = [y, list(y), 0.5, array(y), mixed(y, np.array([False, False, True]))[0], Value(2.0), np.float32(3)]
    for f in (np.arctan2, np.hypot, np.logaddexp):
        for other in others:
            numbers = to_numpy(other)
            np.testing.assert_allclose(to_numpy(f(a, other)), f(x, numbers), rtol=1e-14)
            np.testing.assert_allclose(to_numpy(f(other, a)), f(numbers, x), rtol=1e-14)
    assert f(0.0, 1.0) == np.log(1 + np.e)
    total = np.logaddexp.reduce(values)
    total.backward()
    np.testing.assert_allclose(grads(values), torch.softmax(torch.tensor(x), 0).numpy(), rtol=1e-14)
    assert isinstance(np.logaddexp(Value(1.0), 2.0), Value)
    with pytest.raises(TypeError, match="must be a Value or a real number"):
        np.logaddexp(values, "a")


@pytest.mark.parametrize("x", [0.0, -0.0, 2.5, -2.5, 1e300, np.inf, -np.inf, np.nan])
def test_signs_and_steps(x):
    for f in (np.sign, np.floor, np.ceil):
        v = Value(x)
        for result in (f(v), f(array([x]))[0]):
            expected = 0.0 if x != x and f is np.sign else f(x)    # as in PyTorch
            np.testing.assert_array_equal(result.data, expected)
        f(v).backward()
        assert v.grad == 0


def test_arrays_of_other_objects_stay_numpys():
    class Own:
        def sqrt(self):
            return "mine"

        def arctan2(self, other):
            return "theirs"

        def __floor__(self):
            return 5

    own = np.array([Own(), Own()])
    assert list(np.sqrt(own)) == ["mine", "mine"]
    assert list(np.arctan2(own, own)) == ["theirs", "theirs"]
    assert list(np.floor(own)) == [5, 5]
    assert np.sign(np.array([3, -2, 0], object)).tolist() == [1, -1, 0]
    with pytest.raises(TypeError, match="NoneType which has no callable exp method"):
        np.exp(np.array([Value(1.0), None]))
    with pytest.raises(TypeError, match="has no callable sqrt method"):
        np.sqrt(np.empty(2, object))
    with pytest.raises(OverflowError):
        np.sqrt(np.array([10**400], object))


def test_subclasses_of_numbers_keep_their_methods():
    class Own(float):
        def sqrt(self):
            return "mine"

        def arctan2(self, other):
            return "theirs"

        hypot = arctan2

    class Count(int):
        sqrt = Own.sqrt

    class Single(np.float32):
        sqrt = Own.sqrt

    for own in Own(4.0), Count(4), Single(4.0):
        assert np.sqrt(np.array([own, Value(4.0)], object))[0] == "mine"
    for f in np.arctan2, np.hypot:
        assert f(np.array([Own(4.0)], object), np.array([Own(1.0)], object)).tolist() == ["theirs"]
    plain = np.array([4, True, 4.0, np.float64(4), np.float16(4), np.int8(4), np.bool_(True), np.longdouble(4)], object)
    assert np.sqrt(plain).tolist() == [2.0, 1.0, 2.0, 2.0, 2.0, 2.0, 1.0, 2.0]
    with pytest.raises(TypeError, match="timedelta64 which has no callable sqrt method"):
        np.sqrt(np.array([np.timedelta64(4)], object))


@pytest.mark.parametrize("f", [np.trunc, np.fix])
def test_truncation_takes_numbers_of_any_type(f):
    numbers = [2.5, np.float32(-1.5), np.float64(-0.5), np.float16(7.5), np.int8(3), 4, np.bool_(True)]
    assert [float(v) for v in f(np.array(numbers, object))] == [2, -1, 0, 7, 3, 4, 1]
    first, second = f(np.array([Value(-1.5), np.float32(1)], object))
    assert (int(first), second) == (-1, 1)


ZERO, MINUS = Value(0.0), Value(-1.0)
OF_ZERO = [[ZERO, 1.0], [1.0, ZERO], [0.0, ZERO], [ZERO, 0.0], [0.0, 0.0], [np.float32(0), ZERO]]


@pytest.mark.parametrize("entries", OF_ZERO)
def test_one_cause_one_warning(entries):
    with pytest.warns(RuntimeWarning) as caught:
        np.log(np.array(entries, object))
    assert [str(warning.message) for warning in caught] == ["divide by zero encountered in log"]
    with pytest.warns(RuntimeWarning) as caught:
        np.log(np.array([*entries, -1.0, MINUS], object))
    assert [str(w.message).partition(" enc")[0] for w in caught] == ["divide by zero", "invalid value"]
    with np.errstate(divide="raise"), pytest.raises(FloatingPointError, match="divide by zero encountered in log"):
        np.log(np.array(entries, object))
    with np.errstate(all="ignore"):
        np.log(np.array([*entries, -1.0], object))


def test_places_are_given_back():
    """References of what was in an output, and of what is put there."""
    a = array(np.ones(50))
    out = np.empty(50, object)
    marker = Value(7.0)
    out[:] = marker
    before = sys.getrefcount(marker)
    for _ in range(3):
        np.exp(a, out=out)
        np.logaddexp(a, a, out=out)
    assert sys.getrefcount(marker) == before - 50
    made = out[0]
    assert sys.getrefcount(made) == 3    # the array, the name, the argument
    np.sqrt(a, out=a)
    np.exp(a, where=np.arange(50) % 2 == 0, out=a)
    assert to_numpy(a)[:2].tolist() == [np.e, 1.0]


def test_a_replaced_method_is_called():
    class Own(Value):
        def exp(self):
            return "mine"

    assert np.exp(np.array([Own(1.0), Value(0.0), 0.0]))[0] == "mine"


@pytest.mark.parametrize("ord", [None, 1, 2, 0.5, 3, np.inf, -np.inf])
@pytest.mark.parametrize("axis", [None, 0, 1])
def test_norms_along_axes(ord, axis):
    if axis is None and ord not in (None, 1, np.inf, -np.inf):
        ord = None    # of a matrix, these need singular values
    x = np.array([[3.0, -4.0, 1.0], [0.5, 2.0, -6.0]])
    a = array(x)
    norm = np.linalg.norm(a, ord, axis)
    np.testing.assert_allclose(to_numpy(norm), np.linalg.norm(x, ord, axis), rtol=1e-14)
    np.sum(norm).backward()
    t = torch.tensor(x, requires_grad=True)
    if axis is None:
        of_torch = torch.linalg.matrix_norm(t, "fro" if ord is None else ord)
    else:
        of_torch = torch.linalg.vector_norm(t, 2 if ord is None else ord, dim=axis)
    of_torch.sum().backward()
    np.testing.assert_allclose(grads(a), t.grad.numpy(), rtol=1e-13)


@pytest.mark.parametrize("ord", [3, 0.5, 1.5])
def test_any_norm_of_a_vector(ord):
    """NumPy looks for the dtype of what is an array only with keepdims."""
    x = np.array([3.0, -4.0, 1.0])
    assert np.linalg.norm(array(x), ord, keepdims=True)[0].data == pytest.approx(np.linalg.norm(x, ord), rel=1e-14)


@pytest.mark.parametrize("f", [np.linalg.det, np.linalg.inv, lambda a: np.linalg.solve(a, a[0]), np.linalg.pinv])
def test_what_needs_a_library_of_numbers_is_an_error(f):
    with pytest.raises(TypeError, match=r"dtype\('O'\)"):
        f(array(np.eye(2)))


def test_arrays_are_numpys_own():
    a = array([[1.0, 2.0], [3.0, 4.0]])
    assert type(a) is type(a + a) is type(np.exp(a)) is type(a[0]) is np.ndarray
    assert isinstance(np.sum(a), Value)
    assert isinstance(a[0] @ a[1], Value)
    other = pickle.loads(pickle.dumps(a))
    assert to_numpy(np.concatenate([a, other])).tolist() == [[1.0, 2.0], [3.0, 4.0]] * 2
    assert np.asarray(a) is a
    assert np.stack([a, a]).tolist()[0][0] == [a[0, 0], a[0, 1]]
