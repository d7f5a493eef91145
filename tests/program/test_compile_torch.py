"""Compiled losses against PyTorch in float64, over whole batches: the value and all gradients."""

import numpy as np
import pytest
import torch

import microgradc
from microgradc import compile, nn
from microgradc.losses import cross_entropy

rng = np.random.default_rng(0)
SIZES = [1, 7, 8, 9, 64, 1000]


def tensors_of(model):
    """The weights and biases of each layer, as leaves."""
    layers = []
    for layer in model.layers:
        W = torch.tensor([[p.data for p in n.w] for n in layer.neurons], dtype=torch.float64, requires_grad=True)
        b = torch.tensor([n.b.data for n in layer.neurons], dtype=torch.float64, requires_grad=True)
        layers.append((W, b))
    return layers


def forward(layers, X, activation):
    for i, (W, b) in enumerate(layers):
        X = X @ W.T + b
        if i < len(layers) - 1:
            X = activation(X)
    return X


def l2(layers):
    return sum((p * p).sum() for layer in layers for p in layer)


def check(model, layers, total, theirs):
    """Within 1e-12 of the largest gradient, and the value within 1e-12."""
    model.zero_grad()
    total.backward()
    theirs.backward()
    assert total.data == pytest.approx(theirs.item(), rel=1e-12)
    for layer, (W, b) in zip(model.layers, layers, strict=True):
        ours = np.array([[*(p.grad for p in n.w), n.b.grad] for n in layer.neurons])
        expected = np.column_stack([W.grad.numpy(), b.grad.numpy()])
        assert np.abs(ours - expected).max() <= 1e-12 * max(np.abs(expected).max(), 1e-3)


@pytest.mark.parametrize("n", SIZES)
def test_moons(n):
    """The max-margin loss with the L2 term."""
    X, labels = microgradc.make_moons(max(n, 2), noise=0.1, random_state=1)
    X, y = np.asarray(X)[:n], 2.0 * np.asarray(labels)[:n] - 1
    model = nn.MLP(2, [16, 16, 1], seed=0)
    layers = tensors_of(model)
    f = compile(lambda x, y: (1 - y * model(x)).relu() + 1e-4 * sum(p * p for p in model.parameters()))
    scores = forward(layers, torch.tensor(X), torch.relu)[:, 0]
    check(model, layers, f.mean(X, y), (1 - torch.tensor(y) * scores).relu().mean() + 1e-4 * l2(layers))


@pytest.mark.parametrize("n", SIZES)
def test_digits(n):
    """Pictures of 8 x 8 and ten classes."""
    X, y = rng.integers(0, 17, (n, 64)) / 16, rng.integers(0, 10, n)
    model = nn.MLP(64, [32, 10], seed=0)
    layers = tensors_of(model)
    f = compile(lambda x, y: cross_entropy(model(x), y))
    logits = forward(layers, torch.tensor(X), torch.relu)
    check(model, layers, f.sum(X, y), torch.nn.functional.cross_entropy(logits, torch.tensor(y), reduction="sum"))
    assert compile(model).map(X) == pytest.approx(logits.detach().numpy(), rel=1e-12, abs=1e-13)


@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("lanes", [None, 8])
def test_tanh(n, lanes):
    """A regression, and the gradients of the inputs."""
    X, y = rng.normal(size=(n, 8)), rng.normal(size=n)
    model = nn.MLP(8, [24, 24, 1], seed=0, activation="tanh")
    layers = tensors_of(model)
    f = compile(lambda x, y: (model(x) - y) ** 2, lanes=lanes)
    X_theirs = torch.tensor(X, requires_grad=True)
    loss = ((forward(layers, X_theirs, torch.tanh)[:, 0] - torch.tensor(y)) ** 2).mean()
    check(model, layers, f.mean(X, y), loss)
    _, (of_X, _) = f.map_value_and_grad(X, y)
    expected = X_theirs.grad.numpy() * n
    assert np.abs(of_X - expected).max() <= 1e-12 * np.abs(expected).max()


@pytest.mark.parametrize("n", [1, 9, 100])
def test_black_scholes(n):
    """A function that is not a network: the price of a call option and its gradients."""

    def price(erf, exp, log, sqrt):
        def call(spot, strike, rate, sigma, time):
            d1 = (log(spot / strike) + (rate + sigma**2 / 2) * time) / (sigma * sqrt(time))
            d2 = d1 - sigma * sqrt(time)
            return spot * (1 + erf(d1 / 2**0.5)) / 2 - strike * exp(-rate * time) * (1 + erf(d2 / 2**0.5)) / 2

        return call

    columns = rng.uniform([80, 90, 0.01, 0.1, 0.5], [120, 110, 0.05, 0.4, 2.0], (n, 5)).T
    f = compile(price(microgradc.erf, microgradc.exp, microgradc.log, microgradc.sqrt))
    values, grads = f.map_value_and_grad(*columns)
    theirs = [torch.tensor(c, requires_grad=True) for c in columns]
    expected = price(torch.erf, torch.exp, torch.log, torch.sqrt)(*theirs)
    expected.sum().backward()
    assert values == pytest.approx(expected.detach().numpy(), rel=1e-12)
    for ours, tensor in zip(grads, theirs, strict=True):
        assert ours == pytest.approx(tensor.grad.numpy(), rel=1e-12, abs=1e-12)
