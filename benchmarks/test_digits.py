"""An epoch of examples/digits.py: MLP(64, [32, 10]) with relu on 1,347 images, in batches of 32; cross-entropy, Adam.

All engines begin with the same parameters and take the same batches. PyTorch gets a whole batch at once, as two
matrices.
"""

from operator import mul

import pytest

import microgradc
from microgradc import nn, optim

BATCH, RATE = 32, 0.01
CHECKED_EPOCHS = 2


@pytest.fixture(scope="module")
def digits():
    """The images, lists of 64 numbers in [0, 1], and their digits."""
    datasets = pytest.importorskip("sklearn.datasets", reason="the images are scikit-learn's: pip install scikit-learn")
    images, digits = datasets.load_digits(return_X_y=True)
    n = len(images) * 3 // 4
    return (images[:n] / 16).tolist(), digits[:n].tolist()


def make_model():
    return nn.MLP(64, [32, 10], init="kaiming_uniform", seed=0)


def loop_epoch(X, y):
    """The loop written by hand."""
    model = make_model()
    return training_epoch(model, optim.Adam(model.parameters(), lr=RATE), microgradc.cross_entropy, cut(X, y), len(y))


def fit_epoch(X, y):
    """One call of `fit`, with its checks."""
    model = make_model()
    optimizer = optim.Adam(model.parameters(), lr=RATE)
    settings = {"optimizer": optimizer, "epochs": 1, "batch_size": BATCH, "shuffle": False, "progress": False}
    return lambda: model.fit(X, y, loss="cross_entropy", **settings).loss[0]


def torch_epoch(X, y):
    torch = pytest.importorskip("torch", reason="compares with PyTorch: pip install torch")
    torch.set_num_threads(1)
    model = make_model().to_torch()
    turns = [(torch.tensor(rows, dtype=torch.float64), torch.tensor(targets)) for rows, targets in cut(X, y)]
    return training_epoch(
        model, torch.optim.Adam(model.parameters(), lr=RATE), torch.nn.functional.cross_entropy, turns, len(y)
    )


def cut(X, y):
    return list(microgradc.batches(X, y, BATCH, shuffle=False))


def training_epoch(model, optimizer, loss_of, turns, count):
    """Return what trains for an epoch and returns the mean loss of the examples, in microgradc or PyTorch: it reads the
    same."""

    def epoch():
        total = 0.0
        for X, y in turns:
            loss = loss_of(model(X), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item() * len(y)
        return total / count

    return epoch


ENGINES = {"microgradc, a loop": loop_epoch, "microgradc, fit": fit_epoch, "PyTorch eager, batched": torch_epoch}


@pytest.mark.benchmark(group="digits: an epoch")
@pytest.mark.parametrize("engine", ENGINES)
def test_epoch(benchmark, engine, digits):
    epoch = ENGINES[engine](*digits)
    losses = []
    benchmark.pedantic(lambda: losses.append(epoch()), rounds=10, warmup_rounds=1)
    reference = torch_epoch(*digits)
    expected = [reference() for _ in losses[:CHECKED_EPOCHS]]
    assert losses[:CHECKED_EPOCHS] == pytest.approx(expected, rel=1e-9)
    assert len(losses) == 1 or losses[-1] < losses[0] / 5   # it learns


@pytest.mark.benchmark(group="digits: the outputs of all images")
@pytest.mark.parametrize("engine", ["microgradc, no_grad", "Python floats, no autograd"])
def test_outputs(benchmark, engine, digits):
    """What the products alone cost in Python, next to a forward pass that keeps no graph."""
    X, _ = digits
    model = make_model()
    hidden, last = ([([w.data for w in n.w], n.b.data) for n in layer.neurons] for layer in model.layers)

    def products(layer, x):
        return [sum(map(mul, w, x), b) for w, b in layer]

    def outputs():
        return [products(last, [max(v, 0.0) for v in products(hidden, x)]) for x in X]

    found = benchmark.pedantic(outputs if engine.startswith("Python") else lambda: model.outputs(X), rounds=5)
    for row, expected in zip(found, outputs(), strict=True):
        assert list(row) == pytest.approx(expected, rel=1e-9, abs=1e-12)
