"""grad, jacobian, hessian, hvp, jvp and vjp, of plain and of compiled functions, against torch.func."""

import dataclasses
import gc
import itertools
import math
import pickle
import random
import threading

import numpy as np
import pytest
import torch

import microgradc
from microgradc import Value, compile, grad, gradients, hessian, hvp, jacobian, jvp, nn, value_and_grad, vjp


def rosenbrock(x):
    return microgradc.sum([100 * (b - a * a) ** 2 + (1 - a) ** 2 for a, b in itertools.pairwise(x)])


def rosenbrock_in_torch(x):
    return (100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2).sum()


X = np.array([0.3, -1.2, 0.7, 1.9])
V = np.array([1.0, 0.5, -2.0, 0.25])
FUNCTIONS = {"plain": rosenbrock, "compiled": compile(rosenbrock)}


def several(x):
    return [x[0] * x[1].sin(), (x[2] * x[3]).exp(), x[0] + 2 * x[3], x[1] / x[2], x[0] * x[0] * x[3]]


def several_in_torch(x):
    return torch.stack([x[0] * x[1].sin(), (x[2] * x[3]).exp(), x[0] + 2 * x[3], x[1] / x[2], x[0] * x[0] * x[3]])


hessian_in_torch = torch.autograd.functional.hessian


def tensor(x):
    return torch.tensor(x, dtype=torch.float64)


@pytest.fixture(params=FUNCTIONS)
def f(request):
    return FUNCTIONS[request.param]


def test_of_one_argument(f):
    value, slopes = value_and_grad(f)(X)
    assert value == pytest.approx(rosenbrock_in_torch(tensor(X)).item())
    np.testing.assert_allclose(slopes, torch.func.grad(rosenbrock_in_torch)(tensor(X)), rtol=1e-12)
    np.testing.assert_array_equal(grad(f)(X), slopes)
    matrix = hessian_in_torch(rosenbrock_in_torch, tensor(X)).numpy()
    got = hessian(f)(X)
    assert (got.dtype, got.shape) == (float, (4, 4))
    np.testing.assert_allclose(got, matrix, rtol=1e-12, atol=1e-12)
    product = hvp(f, X, V)
    np.testing.assert_allclose(product, matrix @ V, rtol=1e-12)
    np.testing.assert_allclose(hvp(f, X.tolist(), V.tolist()), product, rtol=1e-12)
    np.testing.assert_allclose(jacobian(f)(X), slopes, rtol=1e-12)
    y, dy = jvp(f, (X,), (V,))
    assert (y, dy) == (pytest.approx(value), pytest.approx(slopes @ V))
    y, pull = vjp(f, X)
    assert y == pytest.approx(value)
    np.testing.assert_allclose(pull(2.0)[0], 2 * slopes, rtol=1e-12)


def test_methods():
    f = FUNCTIONS["compiled"]
    np.testing.assert_array_equal(f.hessian(X), hessian(f)(X))
    np.testing.assert_array_equal(f.jacobian(X), jacobian(f)(X))
    np.testing.assert_array_equal(f.hvp(X, V), hvp(f, X, V))
    g = compile(lambda x, w: x * x * w)
    assert g.jacobian(2.0, 3.0) == (12.0, 4.0)
    assert g.hessian(2.0, 3.0) == ((6.0, 4.0), (4.0, 0.0))
    assert g.hvp(2.0, 1.0, 3.0) == 6.0


def test_several_results():
    expected = torch.autograd.functional.jacobian(several_in_torch, tensor(X)).numpy()
    for g in (several, compile(several)):
        np.testing.assert_allclose(jacobian(g)(X), expected, rtol=1e-12)
        np.testing.assert_allclose(jvp(g, (X,), (V,))[1], expected @ V, rtol=1e-12)
        y, pull = vjp(g, X)
        np.testing.assert_allclose(y, several_in_torch(tensor(X)), rtol=1e-12)
        np.testing.assert_allclose(pull([1.0, 2.0, 3.0, 4.0, 5.0])[0], np.arange(1.0, 6.0) @ expected, rtol=1e-12)
    few = jacobian(lambda x: several(x)[:2])(X)      # fewer results than numbers: backward
    np.testing.assert_allclose(few, expected[:2], rtol=1e-12)


def test_argnums():
    def f(x, w, b):
        return microgradc.dot(w, x, b) ** 2

    args = np.array([1.0, 2.0]), [0.5, -1.0], 3.0
    s = 2 * (0.5 - 2.0 + 3.0)
    assert grad(f, 2)(*args) == grad(f, -1)(*args) == s
    gw, gb = grad(f, (1, 2))(*args)
    assert gw.tolist() == [s, 2 * s]
    assert gb == s
    blocks = hessian(f, (0, 2))(*args)
    assert blocks[0][0].tolist() == [[0.5, -1.0], [-1.0, 2.0]]
    assert blocks[0][1].tolist() == [1.0, -2.0]
    assert blocks[1][0].tolist() == [1.0, -2.0]
    assert blocks[1][1] == 2.0
    assert hvp(f, args[0], np.array([1.0, 0.0]), *args[1:]).tolist() == [0.5, -1.0]
    for argnums, error in [(3, ValueError), (-4, ValueError), (1.0, TypeError), ("x", TypeError), (True, TypeError)]:
        with pytest.raises(error, match="argnums must be"):
            grad(f, argnums)(*args)


@dataclasses.dataclass
class Point:
    a: float
    b: list


def test_structures():
    def f(p, d):
        return {"y": p.a * p.b[0] * d["w"][0][1], "z": (p.b[1], [d["w"][0][0], d["w"][1][0]])}

    args = Point(2.0, [3.0, 5.0]), {"w": np.array([[1.0, 7.0], [2.0, 4.0]])}
    found = jacobian(f, (0, 1))(*args)
    p, d = found["y"]
    assert (p.a, p.b.tolist()) == (21.0, [14.0, 0.0])
    assert d["w"].tolist() == [[0.0, 6.0], [0.0, 0.0]]
    p, d = found["z"][1]
    assert (p.a.tolist(), p.b.tolist()) == ([0.0, 0.0], [[0.0, 0.0], [0.0, 0.0]])
    assert d["w"].tolist() == [[[1.0, 0.0], [0.0, 0.0]], [[0.0, 0.0], [1.0, 0.0]]]
    matrix = hessian(lambda p, d: f(p, d)["y"])(*args)
    assert matrix.a.a == 0.0
    assert matrix.a.b.tolist() == [7.0, 0.0]
    assert matrix.b.a.tolist() == [7.0, 0.0]
    y, dy = jvp(f, args, (Point(1.0, [0.0, 1.0]), {"w": np.zeros((2, 2))}))
    assert (dy["y"], dy["z"][0], dy["z"][1].tolist()) == (21.0, 1.0, [0.0, 0.0])
    assert y["y"] == 42.0
    _, pull = vjp(f, *args)
    (p, d) = pull({"y": 1.0, "z": (1.0, [0.0, 2.0])})
    assert (p.a, p.b.tolist(), d["w"].tolist()) == (21.0, [14.0, 1.0], [[0.0, 6.0], [2.0, 0.0]])


def test_they_nest():
    def f(x):
        return (x * x).sin() * x

    third = grad(grad(grad(f)))
    t = tensor(0.7)
    expected = torch.func.grad(torch.func.grad(torch.func.grad(f)))(t).item()
    assert third(0.7) == pytest.approx(expected, rel=1e-12)
    assert grad(compile(grad(compile(grad(f)))))(0.7) == pytest.approx(expected, rel=1e-12)
    np.testing.assert_allclose(jacobian(grad(rosenbrock))(X), hessian(rosenbrock)(X), rtol=1e-12, atol=1e-12)

    def cubic(x):
        return microgradc.sum([microgradc.sum(row) for row in hessian(rosenbrock)(x)])

    def cubic_in_torch(x):
        return hessian_in_torch(rosenbrock_in_torch, x, create_graph=True).sum()

    t = tensor(X).requires_grad_()
    [expected] = torch.autograd.grad(cubic_in_torch(t), t)
    np.testing.assert_allclose(grad(cubic)(X), expected, rtol=1e-10)
    outer = compile(lambda x: jvp(rosenbrock, (x,), (V,))[1] + microgradc.dot(hvp(rosenbrock, x, V), V))
    slopes, matrix = grad(rosenbrock)(X), hessian(rosenbrock)(X)
    assert outer(X).data == pytest.approx(slopes @ V + V @ matrix @ V)
    pulled = compile(lambda x: vjp(several, x)[1]([1.0, 0.0, 0.0, 0.0, 1.0])[0])
    np.testing.assert_allclose(
        [v.data for v in pulled(X)], jacobian(several)(X)[0] + jacobian(several)(X)[4], rtol=1e-12
    )


def test_of_values_they_give_values():
    x = Value(2.0)
    slope = grad(lambda v: v**3)(x)
    assert (slope.data, gradients(slope, x).data) == (12.0, 12.0)
    assert hessian(lambda v: v**3)(x).data == 12.0
    [[a, b], [c, d]] = hessian(compile(lambda v: v[0] ** 2 * v[1]))([x, 3.0])
    assert [v.data for v in (a, b, c, d)] == [6.0, 4.0, 4.0, 0.0]
    assert jacobian(lambda v: [v, v * v])(x)[1].data == 4.0
    assert [v.data for v in jvp(lambda v: v**3, (x,), (1.0,))] == [8.0, 12.0]
    assert vjp(lambda v: v**3, x)[1](2.0)[0].data == 24.0
    assert hvp(lambda v: v**3, x, 2.0).data == 24.0


def test_parameters_are_read_anew():
    model = nn.MLP(2, [4, 1], activation="tanh", seed=0)
    f = compile(lambda x: model(x))
    g = f.hessian(np.array([0.3, 0.4]))
    for p in model.parameters():
        p.data *= 2.0
    again = f.hessian(np.array([0.3, 0.4]))
    assert not np.allclose(g, again)
    np.testing.assert_array_equal(again, compile(lambda x: model(x)).hessian(np.array([0.3, 0.4])))
    for layer in model.layers:
        layer.neurons[0].w[0] = Value(5.0)
    np.testing.assert_array_equal(
        f.hessian(np.array([0.3, 0.4])), compile(lambda x: model(x)).hessian(np.array([0.3, 0.4]))
    )


def test_an_index_among_the_arguments():
    table = [Value(0.5), Value(-1.0), Value(2.0)]
    f = compile(lambda i, x: microgradc.take(table, i) * x**2 + microgradc.logsumexp([x, 40.0]))
    for i, v in enumerate(table):
        assert f.hvp is not None
        assert hessian(f, 1)(i, 3.0) == pytest.approx(2 * v.data, rel=1e-12)
        assert jvp(f, (i, 3.0), (0, 1.0))[1] == pytest.approx(6 * v.data + math.exp(-37), rel=1e-12)
    g = compile(lambda x, i: microgradc.take(table, i) * x[0] ** 2 * x[1])
    for i, v in enumerate(table):
        x = [3.0, 2.0]
        assert g.hvp(x, [1.0, 0.0], i).tolist() == pytest.approx([4 * v.data, 6 * v.data], rel=1e-12)
        assert g.hessian(x, i)[0][0].tolist() == pytest.approx(np.array([[4, 6], [6, 0]]) * v.data, rel=1e-12)
    for call in (
        lambda: hessian(f, 1)(3, 1.0), lambda: f.hessian(3, 1.0, sparse=True), lambda: f.jacobian(-1, 1.0),
        lambda: g.hvp(x, x, 3), lambda: g.hessian(x, 3), lambda: vjp(g, x, 5)[1](1.0),
    ):  # fmt: skip
        with pytest.raises(IndexError):
            call()


@pytest.mark.parametrize("seed", range(200))
def test_random_functions_in_torch(seed):
    def make(library):
        def f(x):
            choose, nodes = random.Random(seed), [x[i] for i in range(5)]
            for _ in range(15):
                a, b = choose.choice(nodes[-6:]), choose.choice(nodes)
                kind = choose.choice(["add", "sub", "mul", "div", "tanh", "sin", "sigmoid", "maximum"])
                if kind == "div":
                    nodes.append(a / (b * b + 1.0))
                elif kind in ("add", "sub", "mul"):
                    nodes.append({"add": a + b, "sub": a - b, "mul": a * b}[kind])
                elif kind == "maximum":
                    nodes.append(library.maximum(a, b * 0.5))
                else:
                    nodes.append(getattr(library, kind)(a))
            return nodes[-1] * nodes[-2] + nodes[-3]

        return f

    source = random.Random(seed)
    x, v = (np.array([source.uniform(-1.5, 1.5) for _ in range(5)]) for _ in range(2))
    ours, theirs = make(microgradc), make(torch)
    t, close = tensor(x), {"rtol": 1e-9, "atol": 1e-9}
    matrix = hessian_in_torch(theirs, t).numpy()
    np.testing.assert_allclose(grad(ours)(x), torch.func.grad(theirs)(t), **close)
    np.testing.assert_allclose(hessian(ours)(x), matrix, **close)
    np.testing.assert_allclose(hvp(ours, x, v), matrix @ v, **close)
    slope = torch.func.grad(theirs)(t).numpy()
    assert jvp(ours, (x,), (v,))[1] == pytest.approx(slope @ v, rel=1e-9, abs=1e-9)
    value, pull = vjp(ours, x)
    assert value == pytest.approx(theirs(t).item(), rel=1e-9)
    np.testing.assert_allclose(pull(1.5)[0], 1.5 * slope, **close)
    if seed % 5:
        return
    np.testing.assert_allclose(hessian(ours, sparse=True)(x).toarray(), matrix, **close)
    np.testing.assert_allclose(jacobian(grad(ours))(x), matrix, **close)
    along = tensor(v)
    third = torch.func.grad(lambda t: torch.func.grad(lambda s: torch.func.grad(theirs)(s) @ along)(t) @ along)(t)
    np.testing.assert_allclose(jvp(lambda x: hvp(ours, x, v), (x,), (v,))[1], third, **close)


def test_they_are_pickled_with_their_function():
    slope = pickle.loads(pickle.dumps(grad(rosenbrock)))
    np.testing.assert_array_equal(slope(X), grad(rosenbrock)(X))
    assert repr(slope) == "<grad of rosenbrock>"


def test_a_replaced_parameter_is_noticed_through_all_of_them():
    model = nn.MLP(2, [4, 1], activation="tanh", seed=0)
    second = grad(lambda x: grad(lambda x: model(x))(x)[0])
    at = np.array([0.3, 0.4])
    second(at)
    model.layers[0].neurons[0].w[0] = Value(5.0)
    np.testing.assert_allclose(second(at), hessian(lambda x: model(x))(at)[0], rtol=1e-12)


@pytest.mark.parametrize("seed", range(20))
def test_columns_are_found_together_where_no_row_has_two(seed):
    source = random.Random(seed)
    terms = [source.sample(range(12), 3) for _ in range(source.randrange(1, 8))]

    def f(x, sin=microgradc.sin):
        return 2.0 + sum((sin(x[i] * x[j]) * x[k] for i, j, k in terms), 0.0 * x[0])

    def g(x):
        return [f(x), *(x[i] * x[j] for i, j, k in terms), x[3], *([x[0] * x[11]] * 12)]

    x = np.array([source.uniform(-1, 1) for _ in range(12)])
    of_torch = hessian_in_torch(lambda t: f(t, torch.sin), tensor(x)).numpy()
    np.testing.assert_allclose(hessian(f)(x), of_torch, rtol=1e-10, atol=1e-13)
    ours = jacobian(g)(x)
    xs = list(map(Value, x))
    for row, y in zip(ours, g(xs), strict=True):
        np.testing.assert_allclose(row, [v.data for v in gradients(y, xs)], rtol=1e-12, atol=1e-15)


def test_few_directions_for_a_banded_matrix():
    f = compile(rosenbrock)
    f.hessian(np.arange(50.0))
    [recording] = f._recordings.used
    assert recording.derived["matrix of hessian"].groups.count <= 3
    assert compile(lambda x: x[0] * 3.0 + x[1]).hessian(X).tolist() == np.zeros((4, 4)).tolist()


def test_within_no_grad():
    with microgradc.no_grad():
        np.testing.assert_allclose(hessian(lambda x: rosenbrock(x))(X), hessian(rosenbrock)(X))
        x = Value(1.0)
        y = x * x
        with pytest.raises(microgradc.program.calculus.NoGraphError, match="gradients are disabled"):
            gradients(y, x)


def test_threads_do_not_mix():
    f = compile(rosenbrock)
    points = [X * k for k in (0.5, 1.0, 1.5, 2.0)]
    expected = [f.hessian(p) for p in points]
    wrong = []

    def work(i):
        for _ in range(50):
            if not np.array_equal(f.hessian(points[i]), expected[i]):
                wrong.append(i)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_what_was_watched_before_is_not_kept():
    """A recording is looked at again after a layer was made. It is kept with f, and so among what f reaches."""
    w = Value(2.0)

    def f(x):
        return (x * w).tanh()

    def watches():
        nn.MLP(2, [2, 1])
        nn.MLP(2, [2, 1]).layers = []       # an attribute of a module is set
        hvp(f, 1.0, 1.0)
        gc.collect()
        return sum(type(thing).__name__ == "Watch" for thing in gc.get_objects())

    before = [watches() for _ in range(3)][-1]
    assert [watches() for _ in range(5)][-1] == before


def test_a_plain_function_is_recorded_once():
    calls = []

    def f(x):
        calls.append(1)
        return x**3

    for _ in range(3):
        assert hvp(f, 2.0, 1.0) == 12.0
        assert jvp(f, (2.0,), (1.0,)) == (8.0, 12.0)
    count = len(calls)
    hvp(f, 5.0, 1.0)
    assert len(calls) == count
    slope = grad(f)
    slope(1.0)
    count = len(calls)
    slope(2.0)
    assert len(calls) == count


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: grad(3.0), TypeError, "f must be a function"),
        (lambda: grad(several)(X), ValueError, "must return one Value"),
        (lambda: hessian(several)(X), ValueError, "must return one Value"),
        (lambda: hvp(several, X, V), ValueError, "must return one Value"),
        (lambda: hessian(several)([Value(1.0)] * 4), ValueError, "must return one Value"),
        (lambda: hvp(rosenbrock, X, V[:3]), ValueError, "v must have the structure"),
        (lambda: jvp(rosenbrock, (X,), (V, V)), ValueError, "tangents must have the structure"),
        (lambda: jvp(rosenbrock, X, (V,)), TypeError, "primals must be a tuple"),
        (lambda: vjp(several, X)[1](1.0), ValueError, "cotangents must have the structure"),
        (lambda: hvp(rosenbrock, X, V * 1j), TypeError, "real|complex|float"),
    ],
)
def test_bad_input(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_a_newton_step_of_scipy():
    scipy = pytest.importorskip("scipy.optimize", reason="SciPy is not installed")
    f = compile(rosenbrock)
    found = scipy.minimize(f.value_and_grad, np.full(10, -1.0), jac=True, hessp=f.hvp, method="Newton-CG", tol=1e-10)
    np.testing.assert_allclose(found.x, np.ones(10), rtol=1e-6)
