"""To PyTorch and back: the same outputs and gradients, and an error for whatever an MLP cannot be."""

import copy
import itertools
import pickle
import random
import sys
import warnings
from functools import partial

import numpy as np
import pytest

import microgradc
from microgradc import Value, nn

torch = pytest.importorskip("torch", reason="compares with PyTorch")
from torch.nn.utils import prune  # noqa: E402

ACTIVATIONS = {
    "ReLU": torch.nn.ReLU,
    "LeakyReLU": torch.nn.LeakyReLU,
    "LeakyReLU(0.3)": lambda: torch.nn.LeakyReLU(0.3),
    "LeakyReLU(-0.5)": lambda: torch.nn.LeakyReLU(-0.5),
    "ELU": torch.nn.ELU,
    "ELU(0.5)": lambda: torch.nn.ELU(0.5),
    "GELU": torch.nn.GELU,
    "SiLU": torch.nn.SiLU,
    "Softplus": torch.nn.Softplus,
    "Sigmoid": torch.nn.Sigmoid,
    "Tanh": torch.nn.Tanh,
    "Identity": torch.nn.Identity,
    "none": None,
}


def make_stack(rng, dtype=torch.float64):
    """Return a random stack: 1 to 4 Linear layers of 1 to 6 neurons, with and without bias, and activations, partly
    nested."""
    sizes = [rng.randint(1, 6) for _ in range(rng.randint(2, 5))]
    modules = []
    for nin, nout in itertools.pairwise(sizes):
        block = [torch.nn.Linear(nin, nout, bias=rng.random() < 0.7, dtype=dtype)]
        activation = ACTIVATIONS[rng.choice(list(ACTIVATIONS))]
        block += [activation()] if activation else []
        modules += rng.choice(
            [block, [torch.nn.Sequential(*block)], [torch.nn.Sequential(torch.nn.Sequential(block[0]), *block[1:])]]
        )
    return torch.nn.Sequential(*modules)


def forward(model, X):
    """Return the outputs of an MLP for the rows of X, as a list of lists."""
    return [out if isinstance(out, list) else [out] for out in model(X)]


def gradients(model):
    """Return the gradients of an MLP, layer by layer: of the weights, a matrix, and of the biases."""
    layers = [layer.neurons for layer in model.layers]
    return [
        (np.array([[w.grad for w in n.w] for n in neurons]), np.array([n.b.grad for n in neurons]))
        for neurons in layers
    ]


def agree(model, module, X):
    """Assert that outputs, and the gradients of the sum of their squares, are the same to 1e-12."""
    out, out_t = forward(model, X), module(torch.tensor(X))
    np.testing.assert_allclose([[v.data for v in row] for row in out], out_t.detach().numpy(), rtol=1e-12, atol=1e-12)
    model.zero_grad()
    module.zero_grad()
    microgradc.sum(v * v for row in out for v in row).backward()
    (out_t**2).sum().backward()
    linears = [m for m in module.modules() if isinstance(m, torch.nn.Linear)]
    for (weight, bias), linear in zip(gradients(model), linears, strict=True):
        scale = 1e-12 * max(1.0, linear.weight.grad.abs().max().item())
        np.testing.assert_allclose(weight, linear.weight.grad.numpy(), rtol=1e-12, atol=scale)
        if linear.bias is not None:
            np.testing.assert_allclose(bias, linear.bias.grad.numpy(), rtol=1e-12, atol=scale)


@pytest.mark.parametrize("seed", range(40))
def test_random_stacks(seed):
    rng = random.Random(seed)
    torch.manual_seed(seed)
    module = make_stack(rng)
    model = nn.MLP.from_torch(module)
    X = torch.randn(7, len(model.layers[0].neurons[0].w), dtype=torch.float64).numpy()
    agree(model, module, X)
    again = model.to_torch()
    agree(model, again, X)
    assert nn.MLP.from_torch(again).state_dict().keys() == model.state_dict().keys()
    for name, array in nn.MLP.from_torch(again).state_dict().items():
        assert array.tobytes() == model.state_dict()[name].tobytes()


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("x", [0.0, -0.0, 1e-300, -1.5, 18.0, -19.0, 300.0, -800.0])
def test_activations_one_by_one(activation, x):
    """Corners and saturation."""
    after = [ACTIVATIONS[activation]()] if ACTIVATIONS[activation] else []
    module = torch.nn.Sequential(torch.nn.Linear(1, 2, dtype=torch.float64), *after)
    with torch.no_grad():
        module[0].weight.fill_(1.0)
        module[0].bias.fill_(0.0)
    agree(nn.MLP.from_torch(module), module, np.array([[x]]))


def test_softplus_above_the_threshold():
    module = torch.nn.Sequential(torch.nn.Linear(1, 1, dtype=torch.float64), torch.nn.Softplus())
    model = nn.MLP.from_torch(module)
    for p, number in zip(model.parameters(), [1.0, 0.0], strict=True):
        p.data = number
    exact = model.to_torch()
    for x in (20.5, 25.0, 39.9, 40.1, 600.0, 1e4):
        agree(model, exact, np.array([[x]]))
    assert exact(torch.tensor([20.5], dtype=torch.float64)).item() - 20.5 == pytest.approx(1.25e-9, rel=0.01)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_other_dtypes_convert_exactly(dtype):
    torch.manual_seed(0)
    module = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Tanh(), torch.nn.Linear(4, 2)).to(dtype)
    model = nn.MLP.from_torch(module)
    agree(model, copy.deepcopy(module).double(), np.array([[0.5, -1.0, 2.0], [0.0, 0.0, 1.0]]))
    assert model.to_torch()[0].weight.dtype == torch.float64
    assert torch.equal(model.to_torch()[0].weight, module[0].weight.double())


def test_one_linear_layer():
    module = torch.nn.Linear(3, 2, bias=False, dtype=torch.float64)
    model = nn.MLP.from_torch(module)
    assert repr(model) == "MLP of [Layer of [LinearNeuron(3), LinearNeuron(3)]]"
    assert [n.b.data for n in model.layers[0].neurons] == [0.0, 0.0]
    agree(model, module, np.eye(3))


def test_the_layers_have_the_right_activations():
    modules = [
        torch.nn.Linear(2, 1),
        torch.nn.Tanh(),
        torch.nn.Linear(1, 1),
        torch.nn.Identity(),
        torch.nn.Linear(1, 1),
        torch.nn.GELU(),
    ]
    model = nn.MLP.from_torch(torch.nn.Sequential(*modules))
    assert repr(model) == "MLP of [Layer of [TanhNeuron(2)], Layer of [LinearNeuron(1)], Layer of [GELUNeuron(1)]]"
    shown = [str(m) for m in model.to_torch()]
    sizes = [f"Linear(in_features={n}, out_features=1, bias=True)" for n in (2, 1, 1)]
    assert shown == [sizes[0], "Tanh()", sizes[1], sizes[2], "GELU(approximate='none')"]


@pytest.mark.parametrize("activation", ["linear", *(name for name in nn.ACTIVATIONS if name != "linear")])
def test_from_an_mlp_and_back(activation):
    model = nn.MLP(3, [4, 2], activation, output_activation="tanh", seed=0)
    module = model.to_torch()
    X = np.random.default_rng(0).normal(size=(5, 3))
    agree(model, module, X)
    agree(nn.MLP.from_torch(module), module, X)
    assert repr(nn.MLP.from_torch(module)) == repr(model)
    if activation != "linear":
        by_function = nn.MLP(3, [4, 2], getattr(microgradc, activation), output_activation="tanh", seed=0)
        assert str(by_function.to_torch()) == str(module)


def test_settings_there_and_back():
    model = nn.MLP(
        2, [3, 1], partial(microgradc.elu, alpha=0.25), partial(microgradc.leaky_relu, negative_slope=0.75), seed=1
    )
    module = model.to_torch()
    assert [str(module[i]) for i in (1, 3)] == ["ELU(alpha=0.25)", "LeakyReLU(negative_slope=0.75)"]
    X = np.random.default_rng(0).normal(size=(20, 2))
    agree(model, module, X)
    again = pickle.loads(pickle.dumps(nn.MLP.from_torch(module)))
    agree(again, again.to_torch(), X)


def test_the_copies_are_independent():
    module = torch.nn.Linear(1, 1, dtype=torch.float64)
    before = module.weight.item()
    model = nn.MLP.from_torch(module)
    again = model.to_torch()
    model.parameters()[0].data += 1.0
    assert module.weight.item() == again[0].weight.item() == before
    assert all(p.requires_grad and p.is_leaf for p in again.parameters())


def test_random_numbers_are_left_alone():
    module = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.ReLU(), torch.nn.Linear(4, 1))
    states = random.getstate(), torch.get_rng_state(), np.random.get_state()[1]
    model = nn.MLP.from_torch(module)
    model.to_torch()
    assert random.getstate() == states[0]
    assert torch.equal(torch.get_rng_state(), states[1])
    assert (np.random.get_state()[1] == states[2]).all()


def test_a_subclass_of_mlp():
    class Network(nn.MLP):
        pass

    assert type(Network.from_torch(torch.nn.Linear(2, 2))) is Network


def test_a_subclass_of_sequential():
    class Stack(torch.nn.Sequential):
        pass

    class Residual(torch.nn.Sequential):
        def forward(self, x):
            return x + super().forward(x)

    layers = torch.nn.Linear(2, 2, dtype=torch.float64), torch.nn.Tanh()
    agree(nn.MLP.from_torch(Stack(*layers)), Stack(*layers), np.ones((1, 2)))
    with pytest.raises(TypeError, match="got Residual"):
        nn.MLP.from_torch(Residual(*layers))


class Custom(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(2, 2)

    def forward(self, x):
        return self.layer(x)


def sequence(*modules):
    return torch.nn.Sequential(torch.nn.Linear(2, 2), *modules)


SUPPORTED = (
    r"takes a torch.nn.Linear, or a torch.nn.Sequential of Linear and Identity, ReLU, LeakyReLU, ELU, .*Tanh, got "
)
SHARED = torch.nn.Linear(2, 2)
HOOKED = torch.nn.Linear(2, 2)
HOOKED.register_forward_hook(lambda module, x, y: 2 * y)
UNFIT = [
    (sequence(torch.nn.Dropout(0.25)), TypeError, SUPPORTED + r"Dropout\(p=0.25.*an MLP has no dropout"),
    (sequence(torch.nn.Softmax(-1)), TypeError, SUPPORTED + "Softmax"),
    (sequence(torch.nn.ReLU6()), TypeError, SUPPORTED + "ReLU6"),
    (torch.nn.Conv1d(1, 1, 1), TypeError, SUPPORTED + "Conv1d"),
    (Custom(), TypeError, SUPPORTED + "Custom"),
    (torch.nn.utils.parametrizations.weight_norm(torch.nn.Linear(2, 2)), TypeError, "got ParametrizedLinear"),
    (torch.nn.LazyLinear(2), TypeError, "got LazyLinear"),
    (torch.nn.Linear(2, 2, dtype=torch.complex128), TypeError, "real number, got complex"),
    ("a string", TypeError, SUPPORTED + "'a string'"),
    (None, TypeError, SUPPORTED + "None"),
    (torch.nn.Linear, TypeError, SUPPORTED + "<class"),
    (sequence(torch.nn.GELU(approximate="tanh")), ValueError, r"the exact one, .*got GELU\(approximate='tanh'\)"),
    (sequence(torch.nn.Softplus(beta=2)), ValueError, "softplus has beta 1"),
    (sequence(torch.nn.Softplus(threshold=5)), ValueError, "must be at least 20"),
    (sequence(torch.nn.ReLU(), torch.nn.Tanh()), ValueError, r"got a second one, Tanh\(\)"),
    (
        torch.nn.Sequential(torch.nn.ReLU(), torch.nn.Linear(2, 2)),
        ValueError,
        r"begins with a Linear layer, got ReLU\(\)",
    ),
    (torch.nn.Sequential(), ValueError, r"at least one Linear layer, got Sequential\(\)"),
    (torch.nn.Identity(), ValueError, "at least one Linear layer"),
    (sequence(torch.nn.Linear(3, 1)), ValueError, r"Linear\(in_features=3.*must have 2 inputs"),
    (torch.nn.Sequential(SHARED, torch.nn.ReLU(), SHARED), ValueError, "share a parameter"),
    (sequence(HOOKED), ValueError, "has forward hooks"),
    (prune.l1_unstructured(torch.nn.Linear(2, 2), "weight", 0.5), ValueError, "has forward hooks"),
]


@pytest.mark.parametrize(("module", "error", "match"), UNFIT, ids=[match[-30:] for _, _, match in UNFIT])
def test_what_an_mlp_cannot_be(module, error, match):
    with pytest.raises(error, match=match):
        nn.MLP.from_torch(module)


def test_no_neurons():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")   # PyTorch's own: nothing to initialise
        module = torch.nn.Sequential(torch.nn.Linear(0, 3))
    with pytest.raises(ValueError, match="nin must be a positive integer, got 0"):
        nn.MLP.from_torch(module)


def square(x):
    return x * x


class Doubled(nn.Neuron):
    def __call__(self, x):
        return super().__call__(x) * 2


class Softmaxed(nn.MLP):
    def __call__(self, x):
        return microgradc.softmax(super().__call__(x))


LEARNT_SLOPE = partial(microgradc.leaky_relu, negative_slope=Value(0.1))


@pytest.mark.parametrize(
    "activation", [square, lambda x: x.tanh(), partial(square), LEARNT_SLOPE, partial(microgradc.atan2, 1.0)]
)
def test_activations_that_pytorch_does_not_have(activation):
    with pytest.raises(
        TypeError, match=r"activations that have a name, linear, relu, .*, got (<function|functools.partial)"
    ):
        nn.MLP(2, [2, 1], activation).to_torch()


def test_what_pytorch_cannot_be():
    model = nn.MLP(2, [2, 1])
    model.layers[0].neurons[1].activation = "tanh"
    with pytest.raises(
        ValueError, match=r"the neurons of layer 0 differ.*Layer of \[ReLUNeuron\(2\), TanhNeuron\(2\)\]"
    ):
        model.to_torch()
    model.layers[0].neurons[1] = model.layers[0].neurons[0]
    with pytest.raises(ValueError, match="a parameter of layer 0 comes twice"):
        model.to_torch()
    model.layers[0].neurons[1] = Doubled(2)
    with pytest.raises(TypeError, match="got Doubled"):
        model.to_torch()
    model.layers[0] = microgradc.softmax
    with pytest.raises(TypeError, match="no methods __call__ of their own, got cython_function_or_method"):
        model.to_torch()
    with pytest.raises(TypeError, match="got Softmaxed"):
        Softmaxed(2, [2]).to_torch()


def test_arrays_of_values_and_batches():
    torch.manual_seed(0)
    module = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.SiLU(), torch.nn.Linear(4, 2)).double()
    model = nn.MLP.from_torch(module)
    X = np.random.default_rng(0).normal(size=(6, 3))
    values, tensor = microgradc.array(X), torch.tensor(X, requires_grad=True)
    out, expected = np.array(model(values)), module(tensor)
    np.testing.assert_allclose(microgradc.to_numpy(out), expected.detach().numpy(), rtol=1e-12)
    (out**2).sum().backward()
    (expected**2).sum().backward()
    np.testing.assert_allclose(microgradc.grads(values), tensor.grad.numpy(), rtol=1e-12, atol=1e-14)
    for inputs in (values[0], X[0], X[0].tolist(), tuple(values[0])):
        assert [v.data for v in model(inputs)] == microgradc.to_numpy(out[0]).tolist()
    for batch in (X, X.tolist(), values.tolist(), list(X), tuple(values)):
        assert [[v.data for v in row] for row in model(batch)] == microgradc.to_numpy(out).tolist()


def test_without_pytorch(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    for f in (lambda: nn.MLP(1, [1]).to_torch(), lambda: nn.MLP.from_torch(None)):
        with pytest.raises(ImportError, match="need PyTorch: pip install torch"):
            f()


def test_pytorch_is_imported_on_first_use(run_python):
    program = (
        "import sys; from microgradc import checkpoint, interop; print({'torch', 'safetensors'} & set(sys.modules))"
    )
    assert run_python(program).strip() == "set()"
