"""Model files that are wrong or hostile: a clear error, and nothing is half done."""

import json
import random

import pytest
import safetensors
import safetensors.numpy
from test_checkpoint import FOREIGN, entry, mutations, pack
from test_model_file import described, with_description

from microgradc import MLP, Dropout, Layer, Sequential, load_model


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.safetensors"


def changed_to(**changes):
    return lambda description: description["model"]["layers"][0].update(changes)


HOSTILE = {
    "no JSON": lambda d: "{",
    "a list": lambda d: "[]",
    "null": lambda d: "null",
    "deep": lambda d: "[" * 100_000,
    "deep stacks": lambda d: (
        '{"format":1,"version":"","classes":null,"learnt":null,"model":'
        + '{"kind":"Sequential","layers":[' * 3000 + "]}" * 3000 + "}"
    ),
    "another format": lambda d: d.update(format=2),
    "no format": lambda d: d.pop("format") and None,
    "no model": lambda d: d.pop("model") and None,
    "a name twice": lambda d: '{"format":1,"format":1,"version":"","model":{},"classes":null,"learnt":null}',
    "nan": lambda d: '{"format":1,"version":"","model":{"kind":"Dropout","p":NaN},"classes":null,"learnt":null}',
    "many digits": lambda d: (
        '{"format":1,"version":"","model":{"kind":"Dropout","p":' + "9" * 10_000 + '},"classes":null,"learnt":null}'
    ),
    "a text as a model": lambda d: d.update(model="MLP"),
    "a class that there is not": lambda d: d["model"].update(kind="os.system"),
    "a module that there is not": changed_to(kind="Module"),
    "a list as a class": changed_to(kind=["Layer"]),
    "no layers": lambda d: d["model"].update(layers=[]),
    "a text as layers": lambda d: d["model"].update(layers="Layer"),
    "more fields": lambda d: d["model"].update(more=1),
    "a huge layer": changed_to(nin=10**9, nout=10**9),
    "a layer of size 0": changed_to(nin=0),
    "a negative size": changed_to(nout=-3),
    "a size that is a bool": changed_to(nin=True),
    "a float size": changed_to(nin=3.0),
    "a text as a size": changed_to(nin="3"),
    "another size": changed_to(nin=4),
    "no size": lambda d: d["model"]["layers"][0].pop("nin") and None,
    "no activation": lambda d: d["model"]["layers"][0].pop("activation") and None,
    "an activation that there is not": changed_to(activation="eval"),
    "a function that there is not": changed_to(activation={"function": "eval"}),
    "a function of another module": changed_to(activation={"function": "__import__"}),
    "a list as a function": changed_to(activation={"function": ["relu"]}),
    "a text as a setting": changed_to(activation={"function": "elu", "alpha": "1"}),
    "two activations for four neurons": changed_to(activation=["relu", "relu"]),
    "a number as nonlin": changed_to(nonlin=1),
    "a number as a mode": changed_to(training=0),
    "an activation as a part": lambda d: d["model"]["layers"].append({"kind": "function", "is": "relu"}),
    "a probability of 2": lambda d: d["model"]["layers"].append({"kind": "Dropout", "p": 2}),
    "a text as a probability": lambda d: d["model"]["layers"].append({"kind": "Dropout", "p": "x"}),
    "another argument": lambda d: d["model"]["layers"].append({"kind": "Dropout", "p": 0.1, "rng": 1}),
    "one layer more": lambda d: d["model"]["layers"].append(d["model"]["layers"][0]),
    "one layer less": lambda d: d["model"]["layers"].pop() and None,
    "a text as classes": lambda d: d.update(classes="ab"),
    "classes of lists": lambda d: d.update(classes={"labels": [[1]], "as": "list"}),
    "a text as what was learnt": lambda d: d.update(learnt="mse_loss"),
    "a list as a threshold": lambda d: d.update(learnt={"loss": "", "threshold": [0.0], "several": False}),
    "less learnt": lambda d: d.update(learnt={"loss": ""}),
    "classes of two kinds": lambda d: d.update(classes={"labels": [1, "a"], "as": "array"}),
    "classes that are too large": lambda d: d.update(classes={"labels": [300], "as": "int8"}),
    "classes in a set": lambda d: d.update(classes={"labels": [1], "as": "set"}),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_descriptions_that_are_wrong(path, kind):
    MLP(3, [4, 2], seed=0).save(path)
    path.write_bytes(with_description(path, HOSTILE[kind]))
    with pytest.raises(ValueError, match=r"^cannot load .*model\.safetensors: ") as caught:
        load_model(path)
    assert len(str(caught.value)) < 1000


@pytest.mark.parametrize("kind", FOREIGN)
def test_foreign_and_hostile_files(path, kind):
    path.write_bytes(FOREIGN[kind])
    with pytest.raises(ValueError, match=r"^cannot load .*model\.safetensors: "):
        load_model(path)


def test_a_layer_without_its_numbers(path):
    metadata = {"microgradc model": json.dumps(
        {"format": 1, "model": {"kind": "Layer", "nin": 2**40, "nout": 2**40, "nonlin": True, "activation": "relu"},
         "classes": None, "learnt": None, "version": ""})}
    path.write_bytes(pack({"__metadata__": metadata}))
    with pytest.raises(ValueError, match="weight is missing"):
        load_model(path)
    entries = {"weight": entry([2**40, 0], 0, 0), "bias": entry([0], 0, 0)}
    path.write_bytes(pack({"__metadata__": metadata, **entries}))
    with pytest.raises(ValueError, match=r"weight has shape \(1099511627776, 0\), its Layer needs"):
        load_model(path)


def test_2000_damaged_files(path):
    """Each is refused with an error that names the file, or is the right model: what its description says, with its
    numbers."""
    model = Sequential(Layer(2, 3, activation="tanh", rng=random.Random(0)), Dropout(0.5), Layer(3, 1, nonlin=False))
    model.classes_ = ["a", "b"]
    model.save(path)
    content, loaded, refusals = path.read_bytes(), 0, 0
    rng = random.Random(7)
    for _ in range(10):
        for damaged in mutations(content, rng):
            path.write_bytes(damaged)
            try:
                found = load_model(path)
            except ValueError as error:
                refusals += str(path) in str(error)
                continue
            loaded += 1
            entries = safetensors.numpy.load(damaged)
            again = path.with_name("again")
            found.save(again)
            assert {name: a.tobytes() for name, a in safetensors.numpy.load_file(again).items()} == {
                name: a.tobytes() for name, a in entries.items()
            }
            said, kept = described(path), described(again)
            assert kept["model"] == without_defaults(said["model"])
            assert kept["classes"] == {"labels": said["classes"]["labels"], "as": said["classes"]["as"]}
    assert loaded + refusals == 2000
    assert loaded > 30
    assert refusals > 1000


def without_defaults(found):
    found = {name: value for name, value in found.items() if not (name == "training" and value is True)}
    if "layers" in found:
        found["layers"] = [without_defaults(layer) for layer in found["layers"]]
    return found
