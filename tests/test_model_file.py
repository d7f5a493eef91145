"""Whole models in files: what they are made of comes back, PyTorch reads them, and no file does harm."""

import json
import math
import random
import struct
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import safetensors
import safetensors.numpy
from test_checkpoint import bits

import microgradc
from microgradc import (
    MLP,
    Activation,
    Dropout,
    Embedding,
    Flatten,
    Layer,
    LayerNorm,
    Module,
    Neuron,
    Sequential,
    Softmax,
    Value,
    load,
    load_model,
    save,
)

DATA = Path(__file__).parent / "data"


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.safetensors"


def stack():
    """Return a model of all that can be in a file."""
    rng = random.Random(1)
    return Sequential(
        Layer(3, 4, activation=microgradc.tanh, rng=rng),
        Activation(partial(microgradc.elu, alpha=0.5)),
        Sequential(Layer(4, 2, nonlin=False, rng=rng), Activation("gelu"), Dropout(0.25)),
        MLP(2, [3, 2], activation="silu", output_activation="sigmoid", seed=2),
        microgradc.softmax,
        Neuron(2, rng=rng),
    )


def by_axes():
    """Return a model of modules whose arrays have the same names for us and for PyTorch."""
    return Sequential(Flatten(), LayerNorm(3), LayerNorm([3], eps=1e-3, bias=False), Softmax(dim=-1))


def test_modules_by_axes(path):
    model = by_axes()
    for i, p in enumerate(model.parameters()):
        p.data = i / 7
    model.save(path)
    copy = load_model(path)
    assert repr(copy) == repr(model)
    assert bits(copy) == bits(model)
    assert [v.data for v in copy([1.0, 2.0, 4.0])] == [v.data for v in model([1.0, 2.0, 4.0])]


def described(path):
    with safetensors.safe_open(path, "np") as file:
        return json.loads(file.metadata()["microgradc model"])


def with_description(path, edit):
    """Return the file with another description, what `edit` makes of it or changes in it."""
    description = described(path)
    found = edit(description)
    text = found if isinstance(found, str) else json.dumps(description if found is None else found)
    return safetensors.numpy.save(safetensors.numpy.load_file(path), metadata={"microgradc model": text})


def test_a_model_comes_back(path):
    model = stack()
    model.save(path)
    state = random.getstate()
    copy = load_model(path)
    assert random.getstate() == state
    assert type(copy) is Sequential
    assert repr(copy) == repr(model)
    assert bits(copy) == bits(model)
    assert [name for name, _ in copy.named_parameters()] == [name for name, _ in model.named_parameters()]
    x = [0.3, -1.0, 2.0]
    assert copy.eval()(x).data == model.eval()(x).data
    first = path.read_bytes()
    copy.train().save(path)
    assert path.read_bytes() == first


@pytest.mark.parametrize(
    "make",
    [
        lambda: MLP(2, [1], seed=0),
        lambda: MLP(3, [4, 2], activation="tanh", output_activation="softplus", seed=0),
        lambda: MLP(2, [3, 1], activation=partial(microgradc.leaky_relu, negative_slope=0.2), seed=0),
        lambda: Layer(2, 3),
        lambda: Neuron(4, activation="sigmoid"),
        lambda: Neuron(4, nonlin=False),
        lambda: Dropout(0.1),
        lambda: Activation(microgradc.square),
        lambda: Sequential(microgradc.log_softmax),
    ],
)
def test_models_of_one_kind(path, make):
    model = make()
    model.save(path)
    copy = load_model(path)
    assert type(copy) is type(model)
    assert repr(copy) == repr(model)
    assert bits(copy) == bits(model)
    assert {name for name in vars(copy) if name[0] != "_"} == {name for name in vars(model) if name[0] != "_"}


def test_neurons_that_differ(path):
    model = MLP(2, [3, 2], seed=0)
    model.layers[0].neurons[1].activation = "tanh"
    model.layers[0].neurons[2].nonlin = False
    model.save(path)
    copy = load_model(path)
    assert repr(copy) == repr(model)
    assert copy([1.0, 2.0])[0].data == model([1.0, 2.0])[0].data


def test_a_copy_can_be_trained_and_compiled(path):
    X, y = microgradc.make_moons(40, noise=0.1, random_state=0)
    model = MLP(2, [8, 1], seed=0)
    model.save(path)
    found = [m.fit(X, y, epochs=3, seed=1, progress=False).loss for m in (model, load_model(path))]
    assert found[0] == found[1]
    assert len(load_model(path).vector()) == 33


def test_modes_travel(path):
    model = stack()
    model.eval()
    model.layers[2].layers[2].train()      # a Dropout that stays on
    model.save(path)
    copy = load_model(path)
    assert [m.training for m in copy.modules()] == [m.training for m in model.modules()]
    assert copy.layers[2].layers[2].training
    assert not copy.training


@pytest.mark.parametrize(
    "labels", [["a", "b"], [1, 2, 3], [0.5, 1.0], [True, False], ["a", 1, 2.0, False], [], ["\u2028\x00\ud7ff"]]
)
def test_classes_travel(path, labels):
    model = MLP(2, [1])
    model.classes_ = labels
    model.save(path)
    found = load_model(path).classes_
    assert found == labels
    assert list(map(type, found)) == list(map(type, labels))


@pytest.mark.parametrize("dtype", [None, object])
def test_classes_in_arrays(path, dtype):
    for labels in (["a", "long"], [3, 1], [0.5], [True, False]):
        model = MLP(2, [1])
        model.classes_ = np.array(labels, dtype)
        model.save(path)
        found = load_model(path).classes_
        assert found.dtype == model.classes_.dtype
        assert found.tolist() == labels


@pytest.mark.parametrize("dtype", ["int8", "uint16", "int32", "float32", "float16", "float64"])
def test_classes_keep_their_numbers(path, dtype):
    model = MLP(2, [2], seed=0)
    model.classes_ = np.array([3, 7], dtype)
    model.save(path)
    assert load_model(path).predict([[1.0, 2.0]]).dtype == dtype


def test_what_fit_noted_travels(path):
    model = MLP(2, [1])
    vars(model)["_learnt"] = {"loss": "hinge_loss", "threshold": 0.0, "several": False}
    model.save(path)
    assert vars(load_model(path))["_learnt"] == vars(model)["_learnt"]


def test_no_classes(path):
    MLP(2, [1]).save(path)
    assert load_model(path).classes_ is None
    model = MLP(2, [1])
    for label in (b"bytes", None, math.nan, (1, 2)):
        model.classes_ = [label]
        with pytest.raises(TypeError, match="classes_ has a label that is no text, number or bool"):
            model.save(path)


def test_weights_are_matrices_with_the_names_of_pytorch(path):
    model = MLP(3, [4, 2], seed=0)
    model.save(path)
    entries = safetensors.numpy.load_file(path)
    assert {name: array.shape for name, array in entries.items()} == {
        "layers.0.weight": (4, 3), "layers.0.bias": (4,), "layers.1.weight": (2, 4), "layers.1.bias": (2,),
    }
    assert entries["layers.0.weight"].tolist() == [[v.data for v in n.w] for n in model.layers[0].neurons]
    assert "layers.0.neurons.0.w" in model.state_dict()


def test_pytorch_reads_them(path):
    torch = pytest.importorskip("torch", reason="reads a file with PyTorch")
    import safetensors.torch

    class Net(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = torch.nn.ModuleList([torch.nn.Linear(3, 4), torch.nn.Linear(4, 2)])

        def forward(self, x):
            return self.layers[1](torch.relu(self.layers[0](x)))

    model = MLP(3, [4, 2], seed=0)
    model.save(path)
    net = Net().double()
    net.load_state_dict(safetensors.torch.load_file(path))
    x = [0.5, -1.0, 2.0]
    expected = [v.data for v in model(x)]
    assert net(torch.tensor(x).double()).tolist() == pytest.approx(expected, abs=1e-15)
    stack = MLP(3, [4, 2], seed=9).to_torch()        # 0 and 2 are its Linear layers
    entries = safetensors.torch.load_file(path)
    names = {"0": "layers.0", "2": "layers.1"}
    stack.load_state_dict({name: entries[name.replace(name[0], names[name[0]], 1)] for name in stack.state_dict()})
    assert stack(torch.tensor(x).double()).tolist() == pytest.approx(expected, abs=1e-15)
    other = load(MLP(3, [4, 2], seed=3), path)
    safetensors.torch.save_file(net.float().state_dict(), path)      # and the other way round
    load(other, path)
    assert other.layers[0].neurons[0].w[0].data == float(np.float32(model.layers[0].neurons[0].w[0].data))


def test_both_kinds_of_names_are_taken(path):
    model, state = stack(), stack().state_dict()
    for p in model.parameters():
        p.data = 0.0
    stack().save(path)
    matrices = safetensors.numpy.load_file(path)
    assert matrices.keys().isdisjoint(state.keys())
    model.load_state_dict(matrices)
    assert bits(model) == bits(stack())
    model.load_state_dict({name: 0 * array for name, array in state.items()})
    assert not any(p.data for p in model.parameters())
    assert bits(load(model, path)) == bits(stack())
    save(stack(), path)
    for p in model.parameters():
        p.data = 0.0
    assert bits(load(model, path)) == bits(stack())
    with pytest.raises(ValueError, match=r"layers\.0\.weight has shape \(1, 3\), the model needs \(4, 3\)"):
        model.load_state_dict({**matrices, "layers.0.weight": np.zeros((1, 3))})
    del matrices["layers.0.bias"]
    with pytest.raises(ValueError, match=r"layers\.0\.bias is missing"):
        model.load_state_dict(matrices)


class Own(Module):
    def __init__(self):
        self.scale = Value(0.5)
        self.layers = Sequential(Layer(2, 2, rng=random.Random(3)), Dropout(0.2))
        self.table = [[Value(1.0), Value(2.0)], [Value(3.0), Value(4.0)]]
        self.out = Neuron(2, rng=random.Random(4))


def test_both_in_a_module_of_one_s_own():
    model, state = Own(), Own().state_dict()
    rows = [state[f"layers.layers.0.neurons.{i}.w"] for i in range(2)]
    matrices = {
        "scale": 7.0, "table": state["table"], "layers.layers.0.weight": rows, "layers.layers.0.bias": [5.0, 6.0],
        "out.weight": [state["out.w"]], "out.bias": [8.0],
    }
    model.load_state_dict(matrices)
    assert [n.b.data for n in model.layers.layers[0].neurons] == [5.0, 6.0]
    assert (model.scale.data, model.out.b.data) == (7.0, 8.0)
    with pytest.raises(ValueError, match="has shape"):
        model.load_state_dict({**matrices, "out.bias": 1.0})


def test_files_of_before_load():
    assert bits(load(MLP(3, [4, 2], activation="tanh", seed=5), DATA / "model-format-1.safetensors")) == bits(
        MLP(3, [4, 2], seed=1)
    )
    model = Own()
    for p in model.parameters():
        p.data = 0.0
    assert bits(load(model, DATA / "own-module-format-1.safetensors")) == bits(Own())
    with pytest.raises(ValueError, match=r"it has numbers, and does not say of which model; microgradc\.load\("):
        load_model(DATA / "model-format-1.safetensors")


def test_embeddings(path):
    model = Sequential(Embedding(5, 3, padding_idx=1, rng=random.Random(0)), Layer(3, 2, rng=random.Random(1)))
    model.layers[0].weight[2][1].data = 7.0
    model.save(path)
    state = random.getstate()
    copy = load_model(path)
    assert random.getstate() == state
    assert repr(copy) == repr(model)
    assert bits(copy) == bits(model)
    assert [v.data for v in copy(2)] == [v.data for v in model(2)]
    tensors = safetensors.numpy.load_file(path)
    assert tensors["layers.0.weight"].shape == (5, 3)


def test_files_of_now_will_load():
    """The file is kept: what it says must be understood by all later versions."""
    model = load_model(DATA / "whole-model-format-1.safetensors")
    assert repr(model) == repr(stack())
    assert bits(model) == bits(stack())
    assert model.classes_ == ["yes", "no"]
    assert not model.training


def test_what_does_not_fit_strictly(path):
    MLP(3, [4, 2], seed=1).save(path)
    model = load(MLP(3, [4, 2, 5], seed=2), path, strict=False)
    assert bits(model)[: 8 * 26] == bits(MLP(3, [4, 2], seed=1))
    assert bits(model)[8 * 26 :] == bits(MLP(3, [4, 2, 5], seed=2))[8 * 26 :]
    save(MLP(3, [4, 2, 5], seed=1), path)
    assert bits(load(MLP(3, [4, 2]), path, strict=False)) == bits(MLP(3, [4, 2], seed=1))
    for strict in (True, False):
        with pytest.raises(ValueError, match="has shape"):
            load(MLP(2, [4, 2]), path, strict=strict)
    with pytest.raises(TypeError, match="strict must be True or False"):
        load(MLP(3, [4, 2]), path, strict=1)


class OfMine(MLP):
    pass


def lambda_in(place):
    f = lambda v: v + 1  # noqa: E731
    return {
        "layer": lambda: Sequential(Layer(2, 1), f),
        "activation": lambda: Sequential(Layer(2, 1), Activation(f)),
        "neuron": lambda: MLP(2, [3, 1], activation=f),
    }[place]()


@pytest.mark.parametrize(
    ("place", "what"),
    [
        ("layer", r"layers\.1 is a function of your own, lambda_in\.<locals>\.<lambda> \(.*test_model_file\.py, line"),
        ("activation", r"layers\.1 applies a function of your own, .*<lambda>"),
        ("neuron", r"layers\.0 has as its activation a function of your own, .*<lambda>"),
    ],
)
def test_a_lambda_is_named(path, place, what):
    with pytest.raises(TypeError, match=rf"^cannot save this \w+ whole: {what}.*microgradc\.save\(model, path\) keeps"):
        lambda_in(place).save(path)
    assert not path.exists()


def test_what_is_of_one_s_own(path):
    shared = MLP(2, [2, 2])
    shared.layers[1].neurons[0].b = shared.layers[0].neurons[0].b
    twice = Layer(2, 2)
    extra = MLP(2, [1])
    extra.temperature = Value(1.0)
    noted = Sequential(Layer(2, 1))
    noted.layers[0].neurons[0].note = "x"
    mixed = Layer(2, 1)
    mixed.neurons.append(Neuron(3))
    changed = Layer(2, 1)
    changed.neurons.append(Own())
    for model, what in [
        (Own(), r"it is a Module of a class of your own, Own; a file has no code\. microgradc\.save\("),
        (Sequential(Own()), r"layers\.0 is a Module of a class of your own, Own"),
        (OfMine(2, [1]), "it is a Module of a class of your own, OfMine"),
        (Sequential(int), "layers.0 is a function of your own, int"),
        (Sequential(np.tanh), "layers.0 is a function of your own"),
        (Sequential(partial(microgradc.elu, alpha="1")), r"layers\.0 is a function of your own"),
        (shared, "it has parameters in two places"),
        (Sequential(twice, twice), "it has parameters in two places"),
        (extra, "it has an attribute of your own, 'temperature'"),
        (noted, "its neuron 0 has an attribute of your own, 'note'"),
        (mixed, "different numbers of inputs"),
        (changed, "has a neuron 1 of a class of your own, Own"),
    ]:
        with pytest.raises(TypeError, match=what):
            model.save(path)
    assert not path.exists()


def test_layers_whose_parameters_lie_apart(path):
    """Weights that were replaced, a weight that is no leaf, and lists that somebody made of tuples."""
    model = MLP(2, [3, 1], seed=0)
    model.layers[0].neurons[1].w[0] = Value(7.0)
    kept = [Value(float(i)) for i in range(3)]
    model.layers[0].neurons[0].w = kept[::-2]
    model.save(path)
    assert bits(load_model(path)) == bits(model)
    state = model.state_dict()
    assert state["layers.0.neurons.0.w"].tolist() == [2.0, 0.0]
    model.layers[0].neurons[2].w = tuple(model.layers[0].neurons[2].w)
    assert model.state_dict().keys() == state.keys()
    model.layers[0].neurons[2].w = [Value(1.0) + 1, Value(3.0)]
    assert model.state_dict().keys() - state.keys() == {"layers.0.neurons.2.w.1"}


def test_numbers_that_are_not_finite(path):
    model = MLP(3, [4, 2], seed=0)
    for p, number in zip(model.parameters(), [math.nan, math.inf, -math.inf, -0.0, 5e-324], strict=False):
        p.data = number
    model.parameters()[-1].data = struct.unpack("d", b"\1\2\3\4\5\6\xf8\xff")[0]
    model.save(path)
    assert bits(load_model(path)) == bits(model)


def test_a_compiled_function_sees_what_was_loaded(path):
    model, other = MLP(2, [3, 1], seed=0), MLP(2, [3, 1], seed=1)
    other.save(path)
    f = microgradc.compile(model)
    assert f([1.0, 2.0]).data == model([1.0, 2.0]).data
    load(model, path)
    assert f([1.0, 2.0]).data == other([1.0, 2.0]).data
