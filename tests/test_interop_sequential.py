"""Sequential to PyTorch and back: the same outputs and gradients, and an error for whatever it cannot be."""

import random

import numpy as np
import pytest

import microgradc
from microgradc import nn

torch = pytest.importorskip("torch", reason="compares with PyTorch")


def numbers(x):
    return microgradc.to_numpy(np.asarray(x, object))


def parts():
    """Modules of PyTorch, each from 6 numbers to 6."""
    return {
        "Linear": lambda: torch.nn.Linear(6, 6),
        "no bias": lambda: torch.nn.Linear(6, 6, bias=False),
        "LayerNorm": lambda: torch.nn.LayerNorm(6, eps=1e-3),
        "LayerNorm without bias": lambda: torch.nn.LayerNorm(6, bias=False),
        "LayerNorm without numbers": lambda: torch.nn.LayerNorm(6, elementwise_affine=False),
        "Softmax": lambda: torch.nn.Softmax(dim=1),
        "Softmax of the last": lambda: torch.nn.Softmax(dim=-1),
        "LogSoftmax": lambda: torch.nn.LogSoftmax(dim=1),
        "Flatten": torch.nn.Flatten,
        "Dropout": lambda: torch.nn.Dropout(0.3),
        "Identity": torch.nn.Identity,
        "ELU": lambda: torch.nn.ELU(0.5),
        "LeakyReLU": lambda: torch.nn.LeakyReLU(0.3),
        "GELU": torch.nn.GELU,
        "Tanh": torch.nn.Tanh,
        "nested": lambda: torch.nn.Sequential(torch.nn.Linear(6, 6), torch.nn.Sequential(torch.nn.SiLU())),
    }


def randomized(module):
    for p in module.parameters():
        p.data = torch.randn(p.shape, dtype=torch.float64)
    return module.double()


def agree(model, module, X):
    """Compare outputs, and the gradients of all parameters, of a batch."""
    x = torch.tensor(X)
    expected = module(x)
    got = model(X)
    np.testing.assert_allclose(numbers(got), expected.detach().numpy(), rtol=1e-12, atol=1e-13)
    model.zero_grad()
    module.zero_grad()
    (np.asarray(got, object) ** 2).sum().backward()
    (expected**2).sum().backward()
    slopes = [p.grad.numpy().ravel() for p in module.parameters()]
    total = sum(p.grad**2 for p in model.parameters())
    np.testing.assert_allclose(
        total - of_missing_biases(model, module), sum((s**2).sum() for s in slopes), rtol=1e-9, atol=1e-20
    )


def of_missing_biases(model, module):
    """The squares of the gradients of biases that PyTorch's module does not have."""
    if not isinstance(module, torch.nn.Sequential):
        return 0.0
    total = 0.0
    for part, theirs in zip(model, module, strict=True):
        if type(theirs) is torch.nn.Linear and theirs.bias is None:
            total += sum(n.b.grad**2 for n in part.neurons)
        total += of_missing_biases(part, theirs)
    return total


@pytest.mark.parametrize("name", parts())
def test_each_there_and_back(name):
    torch.manual_seed(0)
    module = randomized(torch.nn.Sequential(torch.nn.Linear(6, 6), parts()[name](), torch.nn.Linear(6, 6))).eval()
    model = nn.Sequential.from_torch(module)
    X = np.random.default_rng(0).normal(size=(4, 6))
    agree(model, module, X)
    again = model.to_torch()
    assert not again.training
    if name != "no bias":
        assert str(again) == str(module).replace("dim=1)", "dim=-1)" if name == "LogSoftmax" else "dim=1)")
    outputs = [each(torch.tensor(X)).detach() for each in (again, module)]
    np.testing.assert_allclose(*outputs, rtol=1e-13, atol=1e-14)
    assert repr(nn.Sequential.from_torch(again)) == repr(model)


def test_random_stacks():
    rng = random.Random(0)
    torch.manual_seed(1)
    for _ in range(30):
        made = [torch.nn.Linear(6, 6), *(rng.choice(list(parts().values()))() for _ in range(rng.randint(1, 5)))]
        module = randomized(torch.nn.Sequential(*made)).eval()
        agree(nn.Sequential.from_torch(module), module, np.random.default_rng(0).normal(size=(3, 6)))


def test_an_embedding():
    torch.manual_seed(0)
    module = torch.nn.Sequential(
        torch.nn.Embedding(5, 3, padding_idx=1), torch.nn.Flatten(), torch.nn.LayerNorm(6), torch.nn.Linear(6, 2)
    )
    randomized(module)
    model = nn.Sequential.from_torch(module)
    X = np.array([[0, 1], [4, 4], [1, 2]])
    agree(model, module, X)
    assert str(model.to_torch()) == str(module)
    agree(model, model.to_torch(), X)
    assert nn.Sequential.from_torch(module.float()).layers[0].padding_idx == 1


def test_images():
    module = randomized(torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(12, 3), torch.nn.Softmax(dim=1)))
    model = nn.Sequential.from_torch(module)
    agree(model, module, np.random.default_rng(0).normal(size=(4, 3, 4)))
    agree(model, module, np.random.default_rng(0).normal(size=(4, 12)))


def test_parts_that_are_ours():
    model = nn.Sequential(
        nn.MLP(3, [5, 4], "tanh", seed=0),
        nn.Activation(microgradc.relu),
        nn.Layer(4, 4, activation="silu", rng=random.Random(0)),
        nn.Activation("softplus"),
        nn.Activation("linear"),
        microgradc.log_softmax,
        nn.Sequential(nn.Dropout(0.25), nn.Layer(4, 1, nonlin=False)),
        nn.Softmax(),
    )
    module = model.to_torch()
    kinds = "Sequential ReLU Linear SiLU Softplus Identity LogSoftmax Sequential Softmax".split()
    assert [type(part).__name__ for part in module] == kinds
    module[-1].dim = 1    # PyTorch warns of none
    model.eval()
    module.eval()
    X = np.random.default_rng(0).normal(size=(4, 3))
    np.testing.assert_allclose(numbers(model(X)), module(torch.tensor(X)).detach()[:, 0], rtol=1e-12)


def test_training_and_evaluation():
    module = torch.nn.Sequential(torch.nn.Dropout(0.5), torch.nn.Sequential(torch.nn.Dropout(0.25)))
    module[1].eval()
    model = nn.Sequential.from_torch(module)
    again = model.to_torch()
    for both in (model, again):
        assert (both.training, both[0].training, both[1].training, both[1][0].training) == (True, True, False, False)
        assert (both[0].p, both[1][0].p) == (0.5, 0.25)


def test_random_numbers_are_left_alone():
    module = torch.nn.Sequential(torch.nn.Embedding(3, 2), torch.nn.Flatten(), torch.nn.Linear(2, 2))
    states = random.getstate(), torch.get_rng_state()
    nn.Sequential.from_torch(module).to_torch()
    assert random.getstate() == states[0]
    assert torch.equal(torch.get_rng_state(), states[1])


SHARED = torch.nn.Linear(2, 2)
HOOKED = torch.nn.Linear(2, 2)
HOOKED.register_forward_hook(lambda module, x, y: 2 * y)


class Residual(torch.nn.Sequential):
    def forward(self, x):
        return x + super().forward(x)


@pytest.mark.parametrize(
    ("module", "error", "message"),
    [
        (torch.nn.Linear(2, 2), TypeError, r"takes a torch.nn.Sequential, got Linear\(in_features=2"),
        (None, TypeError, "takes a torch.nn.Sequential, got None"),
        (Residual(torch.nn.ReLU()), TypeError, "takes a torch.nn.Sequential, got Residual"),
        ([torch.nn.Conv1d(1, 1, 1)], TypeError, r"Sequential of Linear, ReLU, .*LogSoftmax, Softmax, got Conv1d"),
        ([torch.nn.BatchNorm1d(2)], TypeError, "got BatchNorm1d"),
        ([Residual(torch.nn.ReLU())], TypeError, "got Residual"),
        ([torch.nn.Softmax(dim=0)], ValueError, r"Softmax\(dim=0\) is over the examples of a batch.*dim=-1"),
        ([torch.nn.Flatten(0)], ValueError, r"Flatten\(start_dim=0.* joins the examples of a batch.*start_dim=1"),
        ([torch.nn.Embedding(3, 2, max_norm=1.0)], ValueError, "no max_norm and no scale_grad_by_freq"),
        ([torch.nn.GELU("tanh")], ValueError, "gelu is the exact one"),
        ([SHARED, SHARED], ValueError, "share a parameter"),
        ([torch.nn.ReLU(), HOOKED], ValueError, "has forward hooks"),
        ([], ValueError, "Sequential needs at least one module"),
    ],
)
def test_what_a_sequential_cannot_be(module, error, message):
    with pytest.raises(error, match=message):
        nn.Sequential.from_torch(torch.nn.Sequential(*module) if isinstance(module, list) else module)


class Doubled(nn.Sequential):
    def __call__(self, x):
        return [2 * v for v in super().__call__(x)]


class Own(nn.Module):
    def forward(self, x):
        return x


LAYER = nn.Layer(2, 2)


@pytest.mark.parametrize(
    ("parts", "error", "message"),
    [
        ([lambda x: x], TypeError, "activations that have a name, .*got <function"),
        ([nn.Activation(abs)], TypeError, "activations that have a name, .*got <built-in function abs>"),
        ([Own()], TypeError, "a Sequential of the modules of microgradc.nn .*got Own"),
        ([nn.Neuron(2)], TypeError, "got Neuron"),
        ([Doubled(LAYER)], TypeError, "a Sequential of modules with no methods __call__ of their own, got Doubled"),
        ([LAYER, LAYER], ValueError, "a parameter of layer 1 comes twice"),
        ([nn.Softmax(0)], ValueError, "over the examples of a batch"),
    ],
)
def test_what_pytorch_cannot_be(parts, error, message):
    with pytest.raises(error, match=message):
        nn.Sequential(*parts).to_torch()
