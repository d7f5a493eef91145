"""What models in files are made of. `KINDS` is the table: a row for each class says what it is made with, which arrays
it has and how it is made again. **The place for a new layer.**
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import microgradc
from microgradc import checks
from microgradc.engine import Value

if TYPE_CHECKING:
    import numpy as np

functions: Any = microgradc.engine.functions

Arguments = dict[str, Any]
Shapes = dict[str, tuple[int, ...]]

# Attributes that every module may have.
_OF_ALL = {"training", "classes_"}


class Kind(NamedTuple):
    """How parts of one class are written and made.

    Attributes:
        type: the class. Instances of subclasses are not of this kind: what they do is in code.
        attributes: the attributes of a part that are kept, or have parameters; another one is refused.
        fields: the names of its arguments.
        arguments: returns what of a part is kept besides arrays, as JSON has it; raises TypeError for what cannot be.
        shapes: returns the shapes of its arrays, by their names in `matrices_of`, for these arguments, which it checks:
            TypeError or ValueError. It is called before anything of that size is made.
        make: returns a part, given the arguments and the arrays; None for the class, called with the arguments, whose
            parameters are set to the arrays then.
    """

    type: Any
    attributes: set[str]
    fields: set[str]
    arguments: Callable[[Any], Arguments]
    shapes: Callable[[Arguments], Shapes] = lambda arguments: {}
    make: Callable[[Arguments, Mapping[str, np.ndarray]], Any] | None = None


def check_attributes(part: Any, attributes: set[str], place: str) -> None:
    """Raise TypeError if a part has attributes that would be lost."""
    extra = [name for name in vars(part) if not name.startswith("_") and name not in attributes | _OF_ALL]
    if extra:
        raise TypeError(f"{place} has an attribute of your own, {extra[0]!r}")


# Activations and functions.


def described_function(function: Any) -> Any:
    """Return a function of microgradc as JSON has it, for one with settings too; the name of an activation as it is.

    Raises:
        TypeError: it is another function.
    """
    if isinstance(function, str):
        return function
    settings: dict[str, Any] = {}
    plain = function
    if isinstance(function, partial) and not function.args:
        plain, settings = function.func, function.keywords
    name = getattr(plain, "__name__", "")
    if name not in functions.__all__ or getattr(functions, name) is not plain or not all(
        type(x) in (float, int) for x in settings.values()
    ):
        raise TypeError(f"a function of your own, {_shown(function)}")
    return {"function": name, **settings}


def made_function(found: Any) -> Any:
    """Return the function that `described_function` described, or the name of an activation.

    Raises:
        TypeError, ValueError: it describes none.
    """
    if isinstance(found, str):
        return microgradc.nn.activations.check_activation(found)
    if not isinstance(found, dict) or found.get("function") not in functions.__all__:
        raise ValueError(f"it names a function that microgradc does not have, {checks.shown(found)}")
    settings = {name: value for name, value in found.items() if name != "function"}
    if not all(type(x) in (float, int) for x in settings.values()):
        raise ValueError(f"it has settings that are not numbers, {checks.shown(found)}")
    function = getattr(functions, found["function"])
    return partial(function, **settings) if settings else function


def _shown(function: Any) -> str:
    name = getattr(function, "__qualname__", None) or repr(function)
    code = getattr(function, "__code__", None)
    return f"{name} ({code.co_filename}, line {code.co_firstlineno})" if code else str(name)


# Neurons and layers.


def _neuron_arguments(neuron: Any) -> Arguments:
    return {"nin": len(neuron.w), **_activation(neuron)}


def _activation(neuron: Any) -> Arguments:
    try:
        return {"nonlin": bool(neuron.nonlin), "activation": described_function(neuron.activation)}
    except TypeError as error:
        raise TypeError(f"has as its activation {error}") from None


def _layer_arguments(layer: Any) -> Arguments:
    neurons = layer.neurons
    for i, neuron in enumerate(neurons):
        if type(neuron) is not microgradc.Neuron:
            raise TypeError(f"has a neuron {i} of a class of your own, {type(neuron).__name__}")
        check_attributes(neuron, KINDS["Neuron"].attributes, f"its neuron {i}")
    if not neurons or len({len(neuron.w) for neuron in neurons}) != 1:
        raise TypeError("has neurons with different numbers of inputs")
    sizes = {"nin": len(neurons[0].w), "nout": len(neurons)}
    first = neurons[0]
    if all(n.activation is first.activation and n.nonlin is first.nonlin for n in neurons):
        return {**sizes, **_activation(first)}
    rows = [_activation(neuron) for neuron in neurons]
    return {**sizes, "nonlin": [r["nonlin"] for r in rows], "activation": [r["activation"] for r in rows]}


def _size(arguments: Arguments, name: str) -> int:
    return checks.integer(arguments[name], name, 1)


def _neuron_shapes(arguments: Arguments) -> Shapes:
    return {"weight": (1, _size(arguments, "nin")), "bias": (1,)}


def _layer_shapes(arguments: Arguments) -> Shapes:
    return {"weight": (_size(arguments, "nout"), _size(arguments, "nin")), "bias": (_size(arguments, "nout"),)}


def _make_neurons(arguments: Arguments, arrays: Mapping[str, np.ndarray]) -> list[Any]:
    """Return neurons with these weights, made one after another so that their parameters lie evenly."""
    made = []
    n = len(arrays["bias"])
    nonlin, activation = arguments["nonlin"], arguments["activation"]
    nonlins = nonlin if isinstance(nonlin, list) else [nonlin] * n
    if isinstance(activation, list):
        activations = [made_function(found) for found in activation]
    else:
        activations = [made_function(activation)] * n
    if not len(nonlins) == len(activations) == n:
        raise ValueError("it has activations for another number of neurons")
    for on in nonlins:
        checks.flag(on, "nonlin")
    for row, bias, on, f in zip(arrays["weight"], arrays["bias"].tolist(), nonlins, activations, strict=True):
        neuron = microgradc.Neuron.__new__(microgradc.Neuron)
        weights = list(map(Value, row.tolist()))
        vars(neuron).update(w=weights, b=Value(bias), nonlin=on, activation=f)
        made.append(neuron)
    return made


def _make_layer(arguments: Arguments, arrays: Mapping[str, np.ndarray]) -> Any:
    layer = microgradc.Layer.__new__(microgradc.Layer)
    layer.neurons = _make_neurons(arguments, arrays)
    return layer


# The rest.


def _activation_arguments(part: Any) -> Arguments:
    try:
        return {"function": described_function(part.activation)}
    except TypeError as error:
        raise TypeError(f"applies {error}") from None


def _norm_arguments(part: Any) -> Arguments:
    return {
        "normalized_shape": list(part.normalized_shape), "eps": part.eps,
        "elementwise_affine": part.elementwise_affine, "bias": part.bias is not None,
    }  # fmt: skip


def _norm_shapes(arguments: Arguments) -> Shapes:
    shape = tuple(checks.integer(n, "normalized_shape", 1) for n in arguments["normalized_shape"])
    has_bias = checks.flag(arguments["bias"], "bias")
    if not checks.flag(arguments["elementwise_affine"], "elementwise_affine"):
        return {}
    return {"weight": shape, "bias": shape} if has_bias else {"weight": shape}


def _embedding_arguments(part: Any) -> Arguments:
    return {name: getattr(part, name) for name in ("num_embeddings", "embedding_dim", "padding_idx")}


def _embedding_shapes(arguments: Arguments) -> Shapes:
    return {"weight": (_size(arguments, "num_embeddings"), _size(arguments, "embedding_dim"))}


def _make_embedding(arguments: Arguments, arrays: Mapping[str, np.ndarray]) -> Any:
    """Return an embedding with these numbers: no random ones are drawn."""
    made = microgradc.Embedding(**arguments, init=lambda nin, nout, rng: 0.0)
    made.load_state_dict(arrays)
    return made


_OF_A_NEURON = {"nin", "nonlin", "activation"}

KINDS = {
    "Neuron": Kind(
        microgradc.Neuron, {"w", "b", "nonlin", "activation"}, _OF_A_NEURON, _neuron_arguments, _neuron_shapes,
        lambda arguments, arrays: _make_neurons(arguments, arrays)[0],
    ),
    "Layer": Kind(
        microgradc.Layer, {"neurons"}, {*_OF_A_NEURON, "nout"}, _layer_arguments, _layer_shapes, _make_layer
    ),
    "Activation": Kind(
        microgradc.Activation, {"activation"}, {"function"}, _activation_arguments,
        make=lambda arguments, arrays: microgradc.Activation(made_function(arguments["function"])),
    ),
    "Dropout": Kind(microgradc.Dropout, {"p"}, {"p"}, lambda part: {"p": part.p}),
    "Softmax": Kind(microgradc.Softmax, {"dim"}, {"dim"}, lambda part: {"dim": part.dim}),
    "Flatten": Kind(
        microgradc.Flatten, {"start_dim", "end_dim"}, {"start_dim", "end_dim"},
        lambda part: {"start_dim": part.start_dim, "end_dim": part.end_dim},
    ),
    "LayerNorm": Kind(
        microgradc.LayerNorm, {"normalized_shape", "eps", "elementwise_affine", "weight", "bias"},
        {"normalized_shape", "eps", "elementwise_affine", "bias"}, _norm_arguments, _norm_shapes,
    ),
    "Embedding": Kind(
        microgradc.Embedding, {"num_embeddings", "embedding_dim", "padding_idx", "weight"},
        {"num_embeddings", "embedding_dim", "padding_idx"}, _embedding_arguments, _embedding_shapes, _make_embedding,
    ),
}

# Those that are made of others, which are in their attribute `layers`.
STACKS: dict[str, Any] = {"MLP": microgradc.MLP, "Sequential": microgradc.Sequential}
