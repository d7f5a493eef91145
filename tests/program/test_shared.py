"""Arguments that have no axis for the examples: what they give, and their gradients."""

from typing import NamedTuple

import numpy as np
import pytest
import torch
from scipy import optimize

import microgradc
from microgradc import Value, compile, nn

rng = np.random.default_rng(0)
X = rng.normal(size=(200, 3))
Y = rng.poisson(np.exp(X @ [0.3, -0.2, 0.1] + 0.4)).astype(float)


def poisson(theta, x, y):
    z = microgradc.dot(theta[:3], x) + theta[3]
    return microgradc.exp(z) - y * z


def expected(theta, mean=False):
    t = torch.tensor(theta, dtype=torch.float64, requires_grad=True)
    z = torch.tensor(X) @ t[:3] + t[3]
    total = (z.exp() - torch.tensor(Y) * z).sum() / (len(X) if mean else 1)
    total.backward()
    return total.item(), t.grad.numpy()


@pytest.mark.parametrize("make", [np.array, list, lambda t: np.array(t, np.float32), lambda t: np.array(t * 2)[:4]])
def test_values_and_gradients_of_batches(make):
    f = compile(poisson, shared=("theta",))
    for theta in (make([0.125, -0.25, 0.5, 1.0]), make([0.5, 0.25, -0.125, 0.0])):
        for _ in range(2):
            for mean, call in ((False, f.sum_value_and_grad), (True, f.mean_value_and_grad)):
                value, gradient = call(theta, X, Y)
                total, slope = expected(list(theta), mean)
                assert isinstance(value, float)
                assert value == pytest.approx(total, rel=1e-13)
                assert gradient == pytest.approx(slope, rel=1e-12)
                assert gradient.dtype == np.float64
                assert call(y=Y, x=X, theta=theta)[0] == value
            assert f.sum(theta, X, Y).data == pytest.approx(expected(list(theta))[0], rel=1e-13)
            assert f.mean(theta, X, Y).data == pytest.approx(expected(list(theta), True)[0], rel=1e-13)
            rows = f.map(theta, X, Y)
            assert rows == pytest.approx([f(theta, x, y).data for x, y in zip(X, Y, strict=True)], rel=1e-13)
            values, (of_theta, of_x, of_y) = f.map_value_and_grad(theta, X, Y)
            assert values == pytest.approx(rows, rel=1e-14)
            assert of_theta.shape == (200, 4)
            assert of_theta.sum(axis=0) == pytest.approx(expected(list(theta))[1], rel=1e-12)
            for i in (0, 199):
                value, (one, gx, gy) = f.value_and_grad(theta, X[i], Y[i])
                assert value == pytest.approx(rows[i], rel=1e-14)
                assert one == pytest.approx(of_theta[i], rel=1e-13)
                assert gx == pytest.approx(of_x[i], rel=1e-13)
                assert gy == pytest.approx(of_y[i], rel=1e-13)


def test_scipy_fits_them():
    f = compile(poisson, shared="theta")
    for call in (f.sum_value_and_grad, f.mean_value_and_grad):
        found = optimize.minimize(call, np.zeros(4), args=(X, Y), jac=True)
        assert np.abs(call(found.x, X, Y)[1]).max() < 1e-3
        assert found.x == pytest.approx([0.3, -0.2, 0.1, 0.4], abs=0.3)


def test_values_among_them_get_their_gradients():
    f = compile(poisson, shared=("theta",))
    theta = [Value(0.125), -0.25, Value(0.5), Value(1.0)]
    f.sum(theta, X, Y).backward()
    slope = expected([0.125, -0.25, 0.5, 1.0])[1]
    assert [theta[0].grad, theta[2].grad, theta[3].grad] == pytest.approx([slope[0], slope[2], slope[3]], rel=1e-12)
    (2.0 * f.mean(theta, X, Y)).backward()
    assert theta[0].grad == pytest.approx(slope[0] * (1 + 2 / 200), rel=1e-12)
    w = Value(3.0)
    g = compile(lambda a, x: {"p": a[0] * x * w, "q": x + a[1] * w}, shared=("a",))
    a, batch = [Value(2.0), Value(5.0)], [Value(1.0), Value(4.0)]
    found = g.sum(a, batch)
    assert (found["p"].data, found["q"].data) == (30.0, 35.0)
    (found["p"] + 10 * found["q"]).backward()
    assert [v.grad for v in (w, *a, *batch)] == [2 * 5 + 10 * 2 * 5, 15.0, 60.0, 6.0 + 10, 6.0 + 10]


def test_the_same_value_inside_and_outside():
    w = Value(3.0)
    f = compile(lambda t, x: t * w * x, shared=("t",))
    f.sum(w, np.array([1.0, 2.0])).backward()
    assert w.grad == 2 * 3.0 * 3.0


class Line(NamedTuple):
    slope: float
    ends: list
    name: str = "line"


def test_several_and_in_containers():
    def f(x, line, scale=1.0):
        return (line.slope * x + line.ends[0] * line.ends[1]) * scale

    g = compile(f, shared=("scale", "line"))
    x = np.array([1.0, 2.0])
    value, line = g.sum_value_and_grad(x, Line(2.0, [3.0, 4.0]))
    assert value == 30.0
    assert (line.slope, line.ends.tolist(), line.name) == (3.0, [8.0, 6.0], None)
    value, (line, scale) = g.sum_value_and_grad(x, scale=2.0, line=Line(2.0, [3.0, 4.0]))
    assert (value, line.slope, scale) == (60.0, 6.0, 30.0)
    assert g.map(x, Line(2.0, [3.0, 4.0]), 2.0).tolist() == [28.0, 32.0]
    values, (gx, line, scale) = g.map_value_and_grad(x, Line(2.0, [3.0, 4.0]), 2.0)
    assert values.tolist() == [28.0, 32.0]
    assert (gx.tolist(), line.slope.tolist(), scale.tolist()) == ([4.0, 4.0], [2.0, 4.0], [14.0, 16.0])
    assert line.ends.tolist() == [[8.0, 6.0], [8.0, 6.0]]


def test_with_parameters_and_threads():
    model = nn.MLP(3, [8, 1], seed=0)
    f = compile(lambda t, x: (model(x) * t[0] + t[1]) ** 2, shared=("t",))
    g = compile(lambda x: (model(x) * t[0] + t[1]) ** 2)
    many = rng.normal(size=(20_000, 3))
    t = [Value(0.5), Value(-0.25)]
    total = g.sum(many)
    total.backward()
    grads = [v.grad for v in (*t, *model.parameters())]
    value, gradient = f.sum_value_and_grad([0.5, -0.25], many)
    assert value == total.data
    assert gradient == pytest.approx(grads[:2], rel=1e-12)
    for v in (*t, *model.parameters()):
        v.grad = 0.0
    f.sum(t, many).backward()
    assert [v.grad for v in (*t, *model.parameters())] == pytest.approx(grads, rel=1e-12)
    model.layers[0].neurons[0].w[0].data += 1.0
    assert f.sum_value_and_grad([0.5, -0.25], many)[0] == g.sum(many).data
    with microgradc.no_grad():
        assert f.mean([0.5, -0.25], many).data == pytest.approx(g.mean(many).data, rel=1e-14)


def test_what_they_cannot_be():
    f = compile(poisson)
    with pytest.raises(ValueError, match=r"sum_value_and_grad returns .* shared arguments.*compile\(f, shared="):
        f.sum_value_and_grad(np.zeros(4), X, Y)
    with pytest.raises(ValueError, match="mean_value_and_grad returns the gradient of shared arguments, and none is g"):
        compile(lambda x, t=1.0: x * t, shared=("t",)).mean_value_and_grad(Y)
    with pytest.raises(ValueError, match="shared names 'thta', which is no parameter of the function; its parameters"):
        compile(poisson, shared=("thta",))
    with pytest.raises(ValueError, match="static or shared, not both, got 'y' twice"):
        compile(poisson, shared=("y",), static=("y",))
    with pytest.raises(ValueError, match=r"shared=\('x',\) names parameters, but .* does not say which it has"):
        compile(max, shared="x")
    g = compile(poisson, shared=("theta", "x", "y"))
    with pytest.raises(ValueError, match="got none: each is static or shared"):
        g.mean(np.zeros(4), X[0], Y[0])
    with pytest.raises(TypeError, match="index must be an integer, or an integer argument"):
        compile(lambda i, x: microgradc.take([x, x * 2], i), shared=("i",)).map(1, Y)
    with pytest.raises(ValueError, match="one Value"):
        compile(lambda t, x: [t * x, x], shared=("t",)).sum_value_and_grad(1.0, Y)
    a, b, x = Value(1.0), Value(2.0), Value(3.0)
    program = microgradc.Program(a * x + b, [x], shared=[a, b])
    with pytest.raises(ValueError, match="the program has 2 shared inputs, got 0"):
        program(np.ones((1, 1)))


def test_single_calls_and_the_fast_path():
    f = compile(lambda t, x: t * x, shared=("t",))
    assert f(2.0, 3.0).data == 6.0
    assert f.map(np.array([2.0, 5.0])[0], np.array([1.0, 2.0])).tolist() == [2.0, 4.0]
    g = compile(lambda t, x: t[0] * x[0] + t[1], shared=("t",))
    for _ in range(3):
        assert g(np.array([2.0, 1.0]), np.array([3.0])).data == 7.0
        assert g.value_and_grad(np.array([2.0, 1.0]), np.array([3.0]))[0] == 7.0
        assert g.map(np.array([2.0, 1.0]), np.array([[3.0], [4.0]])).tolist() == [7.0, 9.0]
        assert g.mean(np.array([2.0, 1.0]), np.array([[3.0], [4.0]])).data == 8.0
    doubled = compile(lambda t, x, flag: t * x * (2 if flag else 1), shared="t")
    assert doubled.sum_value_and_grad(3.0, np.array([1.0, 2.0]), True) == (18.0, 6.0)
    assert doubled.sum_value_and_grad(3.0, np.array([1.0, 2.0]), False) == (9.0, 3.0)
