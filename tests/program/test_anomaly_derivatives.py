"""detect_anomaly and derivatives of whole functions: the operation whose derivative is not finite, and its line."""

import numpy as np
import pytest

import microgradc
from microgradc import (
    AnomalyError,
    Value,
    compile,
    detect_anomaly,
    grad,
    gradients,
    hessian,
    hvp,
    jacobian,
    jvp,
    vjp,
    where,
)
from microgradc.engine.value import is_detecting


def power(x):
    a = x[0] * x[1]
    b = a**1.5
    return b + x[1]


def root(x):
    return [x[1] * 2, x[0].sqrt()]


W = Value(0.0, label="w")


def loss(x):
    return (W * x) ** 1.5


def shared_loss(theta, x):
    return (theta[0] * x) ** 1.5


def line(f, number):
    return __file__, f.__code__.co_firstlineno + number


def caught(f):
    with pytest.raises(AnomalyError) as found, detect_anomaly():
        f()
    assert not is_detecting()
    return found.value


ZERO, FINE = np.array([0.0, 1.0]), np.array([1.0, 2.0])
ROWS = np.array([[1.0, 2.0], [0.0, 1.0], [3.0, 1.0]])
compiled, compiled_root, compiled_loss = compile(power), compile(root), compile(loss)
with_shared = compile(shared_loss, shared=("theta",))
SECOND = {
    "hessian of a compiled function": lambda x: compiled.hessian(x),
    "sparse": lambda x: compiled.hessian(x, sparse=True),
    "hessian": lambda x: hessian(power)(x),
    "hvp of a compiled function": lambda x: compiled.hvp(x, x + 1),
    "hvp": lambda x: hvp(power, x, x + 1),
}


@pytest.mark.parametrize("name", SECOND)
def test_second_derivatives(name):
    call = SECOND[name]
    for _ in range(2):          # recorded, and recorded already
        found = caught(lambda: call(ZERO))
        assert (found.operation, found.place) == ("**1.5", line(power, 2))
        assert [getattr(x, "data", x) for x in found.operands] == [0.0, 1.5]
        assert str(found).startswith("in the derivative of order 2 of '**1.5', the result of '**-0.5' is inf\n")
        assert "in the compiled function power, which was called again as it is" in str(found)
    with detect_anomaly():
        within = call(FINE)
    wanted = call(FINE)
    if name == "sparse":
        within, wanted = within.toarray(), wanted.toarray()
    np.testing.assert_array_equal(within, wanted)


FIRST = {
    "jacobian of a compiled function": lambda: compiled_root.jacobian(ZERO),
    "jacobian": lambda: jacobian(root)(ZERO),
    "grad": lambda: grad(lambda x: root(x)[1])(ZERO),
    "jvp": lambda: jvp(root, (ZERO,), (FINE,)),
    "vjp": lambda: vjp(root, ZERO)[1]([1.0, 1.0]),
}


@pytest.mark.parametrize("name", FIRST)
def test_first_derivatives(name):
    found = caught(FIRST[name])
    assert (found.operation, found.operand, found.place) == ("sqrt", 0, line(root, 1))


def test_a_tangent_alone():
    """The first derivatives are finite, and their product with the direction is not."""
    found = caught(lambda: jvp(lambda x: x * 1e200, (1.0,), (1e200,)))
    assert found.operation == "*"
    assert str(found).startswith("in the derivative of '*', the result of '*' is inf")


BATCHES = {
    "mean_hvp": lambda *x: compiled_loss.mean_hvp([1.0], *x),
    "mean_hessian": lambda *x: compiled_loss.mean_hessian(*x),
    "of chosen ones": lambda *x: compiled_loss.mean_hvp([1.0], *x, parameters=iter([W])),
}


@pytest.mark.parametrize("name", BATCHES)
def test_batches(name):
    found = caught(lambda: BATCHES[name](np.array([1.0, 2.0])))
    assert (found.operation, found.place) == ("**1.5", line(loss, 1))
    assert "in example 0 of 2" in str(found)
    assert W.grad == 0.0
    W.data = 1.0
    try:
        with detect_anomaly():
            within = BATCHES[name]([1.0, 2.0])
        np.testing.assert_array_equal(within, BATCHES[name]([1.0, 2.0]))
        found = caught(lambda: BATCHES[name]([1.0, 0.0, 2.0]))
        assert "in example 1 of 3" in str(found)
    finally:
        W.data = 0.0


def test_map_gradients_and_shared_arguments():
    of_root = compile(lambda x: (W * x).sqrt())
    found = caught(lambda: of_root.map_gradients([0.5, 2.0]))
    assert (found.operation, found.operand) == ("sqrt", 0)
    found = caught(lambda: with_shared.mean_hvp([1.0], [2.0], np.array([3.0, 0.0])))
    assert (found.operation, found.place) == ("**1.5", line(shared_loss, 1))
    assert "in example 1 of 2" in str(found)
    with detect_anomaly():
        assert with_shared.mean_hessian([1.0], np.array([1.0])).tolist() == [[0.75]]
    square = compile(lambda x: W * W * x)
    assert caught(lambda: square.mean_hvp([1e308], [4.0, 4.0])).operation == "dot"      # where it is added up


def test_a_branch_that_is_not_taken_is_not_to_blame():
    """The derivative in the branch that is not taken is inf as well, and was made before the other one."""

    def f(x):
        a = (x[0] * 0.0).log()
        b = x[0] ** 1.5
        return where(x[0] < 5.0, b, a)

    with detect_anomaly(), pytest.raises(AnomalyError):
        f([Value(0.0)])         # called as it is, the line of log is the first

    def g(x):
        a = (x[0] + 1.0) ** 0.5
        b = x[0] ** 1.5
        c = x[1] ** 1.5
        return where(x[1] < 5.0, b + a, c)

    found = caught(lambda: compile(g).hessian(np.array([0.0, 0.0])))
    assert (found.operation, found.place) == ("**1.5", line(g, 2))


def test_derivatives_of_values():
    """Without a compiler, the derivative raises when it is made, with the line of the operation."""

    def slopes(x):
        y = x**1.5
        return gradients(gradients(y, x), x)

    found = caught(lambda: slopes(Value(0.0)))
    assert (found.operation, found.place) == ("**1.5", line(slopes, 1))
    with detect_anomaly():
        x = Value(0.0)
        y = x**1.5
        with pytest.raises(AnomalyError):
            gradients(gradients(y, x), x)
        with pytest.raises(AnomalyError) as later:
            1.0 / x             # no derivative any more
    assert str(later.value).startswith("the result of '/' is inf")


def test_indices():
    f = compile(lambda t, i: microgradc.take(t, i) ** 1.5)
    assert caught(lambda: f.hessian([0.0, 1.0], 0)).operation == "**1.5"
