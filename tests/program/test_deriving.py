"""Second derivatives of a mean over a batch, and a gradient for each example, against torch.func."""

import numpy as np
import pytest
import torch

import microgradc
from microgradc import Value, compile, nn, no_grad, take

rng = np.random.default_rng(0)
X, Y = rng.normal(size=(30, 2)), rng.normal(size=30)
ACTIVATIONS = {"tanh": torch.tanh, "relu": torch.relu, "sigmoid": torch.sigmoid}


def make(activation):
    model = nn.MLP(2, [5, 4, 1], activation=activation, seed=1)
    return model, compile(lambda x, y: (model(x) - y) ** 2 + 0.1 * model.layers[0].neurons[0].b ** 4)


def in_torch(activation, X, Y):
    """The mean loss as a function of all parameters."""

    X, Y = torch.tensor(X), torch.tensor(Y)

    def loss(p, X=X, Y=Y):
        h, first, penalty = X, 0, 0.1 * p[2] ** 4
        for k, n in ((2, 5), (5, 4), (4, 1)):
            w = p[first : first + (k + 1) * n].reshape(n, k + 1)
            h, first = h @ w[:, :-1].T + w[:, -1], first + (k + 1) * n
            h = ACTIVATIONS[activation](h) if n > 1 else h
        return ((h[:, 0] - Y) ** 2).mean() + penalty

    return loss


def numbers(model):
    return torch.tensor([p.data for p in model.parameters()], dtype=torch.float64)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_of_a_network(activation):
    model, loss = make(activation)
    for n in (30, 1, 7):
        of_torch = in_torch(activation, X[:n], Y[:n])
        p = numbers(model)
        matrix = torch.autograd.functional.hessian(of_torch, p).numpy()
        found = loss.mean_hessian(X[:n], Y[:n])
        np.testing.assert_allclose(found, matrix, rtol=1e-10, atol=1e-12)
        np.testing.assert_array_equal(found, found.T)
        v = rng.normal(size=len(p))
        for direction in (v, v.tolist(), v):        # the second array goes the short way
            product = loss.mean_hvp(direction, X[:n], Y[:n])
            np.testing.assert_allclose(product, matrix @ v, rtol=1e-10, atol=1e-12)
        rows = torch.func.vmap(torch.func.grad(lambda p, x, y, f=of_torch: f(p, x[None], y[None])), (None, 0, 0))(
            p, torch.tensor(X[:n]), torch.tensor(Y[:n])
        )
        np.testing.assert_allclose(loss.map_gradients(X[:n], Y[:n]), rows.numpy(), rtol=1e-10, atol=1e-12)
    for q in model.parameters():
        q.data *= 0.5       # they are read anew
    v = np.ones(len(p))
    matrix = torch.autograd.functional.hessian(of_torch, numbers(model)).numpy()
    np.testing.assert_allclose(loss.mean_hvp(v, X[:7], Y[:7]), matrix @ v, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(loss.mean_hessian(X[:7], Y[:7]), matrix, rtol=1e-10, atol=1e-12)
    with no_grad():
        np.testing.assert_allclose(loss.mean_hvp(v, X[:7].tolist(), Y[:7].tolist()), matrix @ v, rtol=1e-10, atol=1e-12)
    assert all(q.grad == 0 for q in model.parameters())


def test_chosen_parameters():
    model, loss = make("tanh")
    everything = loss.mean_hessian(X, Y)
    last, unused = model.layers[-1].parameters(), Value(3.0)
    places = [model.parameters().index(p) for p in last]
    np.testing.assert_array_equal(loss.mean_hessian(X, Y, parameters=iter(last)), everything[np.ix_(places, places)])
    chosen = [last[1], unused, model.parameters()[0]]
    v = [1.0, 5.0, -2.0]
    expected = everything[np.ix_([places[1], 0], [places[1], 0])] @ [1.0, -2.0]
    found = loss.mean_hvp(v, X, Y, parameters=chosen)
    np.testing.assert_allclose(found, [expected[0], 0.0, expected[1]], rtol=1e-12)
    rows = loss.map_gradients(X, Y)
    np.testing.assert_allclose(loss.map_gradients(X, Y, parameters=chosen)[:, 2], rows[:, 0])
    assert loss.map_gradients(X, Y, parameters=[unused]).tolist() == [[0.0]] * 30
    assert loss.map_gradients(X, Y, parameters=[]).shape == (30, 0)
    assert loss.mean_hessian(X, Y, parameters=[]).shape == (0, 0)


def test_parameters_in_no_model_come_behind():
    model, w, b = nn.MLP(2, [1], seed=0), Value(2.0), Value(3.0)
    f = compile(lambda x: b * w * w + model(x) ** 2)
    found = f.mean_hessian(X)
    assert found.shape == (5, 5)
    order = [model.parameters().index(p) if p in model.parameters() else -1 for p in f.program(X[0]).parameters]
    left = [p for p, i in zip(f.program(X[0]).parameters, order, strict=True) if i < 0]
    expected = {(w, w): 6.0, (w, b): 4.0, (b, w): 4.0, (b, b): 0.0}
    assert found[3:, 3:].tolist() == [[expected[p, q] for q in left] for p in left]
    assert (found[:3, 3:] == 0).all()
    np.testing.assert_allclose(found[:2, :2], 2 * X.T @ X / 30)


def test_of_shared_arguments():
    def curve(theta, scale, x, y):
        return (theta[0] * x[0] + (theta[1] * x[1]).exp() * scale - y) ** 2

    a, b, c = torch.tensor(X[:, 0]), torch.tensor(X[:, 1]), torch.tensor(Y)

    def mean(p):
        return ((p[0] * a + (p[1] * b).exp() * p[2] - c) ** 2).mean()

    f = compile(curve, shared=("theta", "scale"))
    theta, p = np.array([0.5, -0.3]), torch.tensor([0.5, -0.3, 1.5], dtype=torch.float64)
    matrix = torch.autograd.functional.hessian(mean, p).numpy()
    np.testing.assert_allclose(f.mean_hessian(theta, 1.5, X, Y), matrix, rtol=1e-12)
    product = f.mean_hvp((np.array([1.0, 2.0]), -1.0), theta, 1.5, X, Y)
    assert isinstance(product, tuple)
    np.testing.assert_allclose(np.hstack(product), matrix @ [1.0, 2.0, -1.0], rtol=1e-12)
    rows = f.map_gradients(theta, 1.5, X, Y)
    np.testing.assert_allclose(rows.mean(axis=0), torch.func.grad(mean)(p).numpy(), rtol=1e-12)
    _, (slope, slope_of_scale) = f.mean_value_and_grad(theta, 1.5, X, Y)
    np.testing.assert_allclose(rows.mean(axis=0), [*slope, slope_of_scale], rtol=1e-12)
    one = compile(lambda theta, x, y: curve(theta, 1.5, x, y), shared=("theta",))
    np.testing.assert_allclose(one.mean_hvp([1.0, 2.0], theta, X, Y), matrix[:2, :2] @ [1.0, 2.0], rtol=1e-12)
    with pytest.raises(ValueError, match="v must have the structure"):
        one.mean_hvp(np.ones(3), theta, X, Y)


def test_a_shared_function_with_parameters():
    w = Value(2.0)
    f = compile(lambda theta, x: w**3 * theta * x, shared=("theta",))
    x = np.array([1.0, 3.0])
    assert f.mean_hessian(5.0, x).tolist() == [[0.0]]
    assert f.mean_hessian(5.0, x, parameters=[w]).tolist() == [[120.0]]
    assert f.map_gradients(5.0, x).tolist() == [[8.0], [24.0]]
    assert f.map_gradients(5.0, x, parameters=[w]).tolist() == [[60.0], [180.0]]


def test_an_index_and_a_wide_operation():
    table = [Value(0.1 * i) for i in range(4)]
    f = compile(lambda i, x: microgradc.logsumexp([t * x for t in table]) - take(table, i) * x)
    indices, x = np.array([0, 3, 1, 1]), rng.normal(size=4)

    def mean(p):
        return (torch.logsumexp(p * torch.tensor(x)[:, None], 1) - p[indices] * torch.tensor(x)).mean()

    p = torch.tensor([v.data for v in table], dtype=torch.float64)
    matrix = torch.autograd.functional.hessian(mean, p).numpy()
    np.testing.assert_allclose(f.mean_hessian(indices, x, parameters=table), matrix, rtol=1e-10, atol=1e-12)
    rows = f.map_gradients(indices, x, parameters=table)
    np.testing.assert_allclose(rows.mean(axis=0), torch.func.grad(mean)(p).numpy(), rtol=1e-10, atol=1e-12)
    with pytest.raises(IndexError):
        f.mean_hvp(np.ones(4), np.array([0, 4]), x[:2], parameters=table)


def test_a_loaded_function(tmp_path):
    _, loss = make("tanh")
    loss.save(tmp_path / "loss.safetensors", X[0], Y[0])
    loaded = microgradc.load_compiled(tmp_path / "loss.safetensors")
    order = list(loss.program(X[0], Y[0]).parameters)
    expected = loss.mean_hessian(X, Y, parameters=order)
    np.testing.assert_array_equal(loaded.mean_hessian(X, Y), expected)
    np.testing.assert_array_equal(loaded.hessian(X[0], Y[0])[0][0], loss.hessian(X[0], Y[0])[0][0])


BAD = {
    "too short": (lambda f: f.mean_hvp(np.ones(3), X, Y), ValueError, "a number for each of the 44 parameters"),
    "too many axes": (lambda f: f.mean_hvp(np.ones((44, 1)), X, Y), ValueError, "for each of the 44 parameters"),
    "no numbers": (lambda f: f.mean_hvp(["a"] * 44, X, Y), TypeError, "v must be"),
    "no Values": (lambda f: f.mean_hessian(X, Y, parameters=[1.0]), TypeError, r"parameters\[0\] must be a Value"),
    "no examples": (lambda f: f.mean_hessian(X[:0], Y[:0]), ValueError, "at least one example"),
    "several results": (lambda f: compile(lambda x: [x, x]).mean_hessian(Y), ValueError, "one Value"),
    "several, of each": (lambda f: compile(lambda x: [x, x]).map_gradients(Y), ValueError, "one Value"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input(name):
    call, error, message = BAD[name]
    with pytest.raises(error, match=message):
        call(make("tanh")[1])
