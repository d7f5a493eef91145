"""Multi-layer perceptrons from PyTorch and to PyTorch: what is behind `nn.MLP.from_torch` and `nn.MLP.to_torch`."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from itertools import chain
from typing import Any, TypeVar

import microgradc

_MLP = TypeVar("_MLP", bound="microgradc.MLP")

# Activations with a setting: its name and default, which are the same here and in PyTorch.
_SETTINGS = {"leaky_relu": ("negative_slope", 0.01), "elu": ("alpha", 1.0)}

# PyTorch returns x as softplus(x) above a threshold. From 40 on that is exact in float64; above its default, 20, it is
# off by up to 2.1e-9.
_EXACT_THRESHOLD = 40.0
_USUAL_THRESHOLD = 20.0


def mlp_from_torch(cls: type[_MLP], module: Any) -> _MLP:
    """Return an MLP with the parameters of a PyTorch module. See `nn.MLP.from_torch`."""
    torch = _import_torch()
    stack = _read_stack(torch, module)
    shapes = [tuple(layer.weight.shape) for layer, _ in stack]
    for i in range(1, len(shapes)):
        if shapes[i][1] != shapes[i - 1][0]:
            expected = f"{shapes[i - 1][0]} inputs, the outputs of the Linear layer before it"
            raise ValueError(f"{stack[i][0]} must have {expected}")
    if len(list(module.parameters())) != sum(1 + (layer.bias is not None) for layer, _ in stack):
        raise ValueError("two layers share a parameter, an MLP would have two: give each layer its own")
    # The order in which an MLP asks for initial weights is that of the rows of one matrix after the other.
    weights = chain.from_iterable(layer.weight.detach().flatten().tolist() for layer, _ in stack)
    model = cls(shapes[0][1], [nout for nout, _ in shapes], init=lambda nin, nout, rng: next(weights))
    for layer, (linear, activation) in zip(model.layers, stack, strict=True):
        biases = [0.0] * len(layer.neurons) if linear.bias is None else linear.bias.detach().tolist()
        for neuron, bias in zip(layer.neurons, biases, strict=True):
            neuron.b.data = bias
            neuron.activation = activation
            neuron.nonlin = activation != "linear"
    return model


def mlp_to_torch(model: microgradc.MLP) -> Any:
    """Return a PyTorch module with the parameters of an MLP. See `nn.MLP.to_torch`."""
    torch = _import_torch()
    _check_plain(model, microgradc.MLP)
    modules, seen = [], set()
    for i, layer in enumerate(model.layers):
        _check_plain(layer, microgradc.Layer)
        for neuron in layer.neurons:
            _check_plain(neuron, microgradc.Neuron)
            for p in [*neuron.w, neuron.b]:
                if id(p) in seen:
                    advice = "PyTorch would have two: give each place its own"
                    raise ValueError(f"a parameter of layer {i} comes twice in the model, {advice}")
                seen.add(id(p))
        activations = [_activation_to_torch(neuron) for neuron in layer.neurons]
        if any(activation != activations[0] for activation in activations):
            raise ValueError(
                f"the neurons of layer {i} differ in their activations, which a PyTorch module cannot: {layer}"
            )
        modules.append(_linear_to_torch(torch, layer))
        name, settings = activations[0]
        if name != "linear":
            modules.append(getattr(torch.nn, microgradc.nn.ACTIVATIONS[name])(**settings))
    return torch.nn.Sequential(*modules)


def _read_stack(torch: Any, module: Any) -> list[tuple[Any, Any]]:
    """Return the Linear layers of a module, each with the activation after it."""
    stack: list[tuple[Any, Any]] = []
    for layer in _parts_of(torch, module):
        if type(layer) is torch.nn.Linear:
            stack.append((layer, "linear"))
        elif type(layer) is not torch.nn.Identity:
            activation = _activation_from_torch(torch, layer)
            if not stack:
                raise ValueError(f"an MLP begins with a Linear layer, got {layer}")
            linear, before = stack[-1]
            if before != "linear":
                raise ValueError(f"an MLP has one activation after each Linear layer, got a second one, {layer}")
            stack[-1] = linear, activation
    if not stack:
        raise ValueError(f"an MLP has at least one Linear layer, got {module}")
    for part in module.modules():   # pruning, for one, computes the weights in a hook
        if part._forward_hooks or part._forward_pre_hooks:
            raise ValueError(f"{part} has forward hooks, which an MLP would not run: remove them first")
    return stack


def _parts_of(torch: Any, module: Any) -> Iterator[Any]:
    """Yield the module, or, if it is a Sequential, those in it."""
    if isinstance(module, torch.nn.Sequential) and type(module).forward is torch.nn.Sequential.forward:
        for child in module:
            yield from _parts_of(torch, child)
    else:
        yield module


def _linear_to_torch(torch: Any, layer: microgradc.Layer) -> Any:
    """Return a Linear layer with the weights and biases of the neurons."""
    weight = torch.tensor([[w.data for w in neuron.w] for neuron in layer.neurons], dtype=torch.float64)
    bias = torch.tensor([neuron.b.data for neuron in layer.neurons], dtype=torch.float64)
    linear = torch.nn.Linear(weight.shape[1], weight.shape[0], device="meta")   # there it draws no random numbers
    linear.weight, linear.bias = torch.nn.Parameter(weight), torch.nn.Parameter(bias)
    return linear


def _activation_from_torch(torch: Any, layer: Any) -> Any:
    """Return the activation that a layer of PyTorch is: its name, or a partial function for other settings."""
    named = {getattr(torch.nn, shown): name for name, shown in microgradc.nn.ACTIVATIONS.items() if name != "linear"}
    name = named.get(type(layer))
    if name is None:
        supported = ", ".join(["Identity", *(microgradc.nn.ACTIVATIONS[name] for name in named.values())])
        hint = "; an MLP has no dropout: leave it out, as in evaluation" if isinstance(layer, torch.nn.Dropout) else ""
        got = layer if isinstance(layer, torch.nn.Module) else repr(layer)
        expected = f"a torch.nn.Linear, or a torch.nn.Sequential of Linear and {supported}"
        raise TypeError(f"from_torch takes {expected}, got {got}{hint}")
    if name == "gelu" and layer.approximate != "none":
        raise ValueError(f"gelu is the exact one, GELU(approximate='none'), got {layer}")
    if name == "softplus" and not (layer.beta == 1 and layer.threshold >= _USUAL_THRESHOLD):
        expected = f"beta 1 and no threshold, so PyTorch's must be at least {_USUAL_THRESHOLD:g}"
        raise ValueError(f"softplus has {expected}, got {layer}")
    if name in _SETTINGS:
        setting, default = _SETTINGS[name]
        number = float(getattr(layer, setting))
        if number != default:
            return partial(getattr(microgradc, name), **{setting: number})
    return name


def _activation_to_torch(neuron: microgradc.Neuron) -> tuple[str, dict[str, float]]:
    """Return the name of a neuron's activation, and the arguments for PyTorch's module of that name."""
    activation = neuron.activation if neuron.nonlin else "linear"
    function: Any = microgradc.nn.function_of(activation)
    settings: dict[str, Any] = {}
    if isinstance(function, partial) and not function.args:
        function, settings = function.func, function.keywords
    if all(isinstance(number, (float, int)) for number in settings.values()):
        for name in microgradc.nn.ACTIVATIONS:
            if microgradc.nn.function_of(name) is function and settings.keys() <= set(_SETTINGS.get(name, ())[:1]):
                return name, {"threshold": _EXACT_THRESHOLD} if name == "softplus" else settings
    names = ", ".join(microgradc.nn.ACTIVATIONS)
    raise TypeError(f"to_torch takes activations that have a name, {names}, got {activation!r}")


def _check_plain(thing: Any, cls: type) -> None:
    """Raise unless a call of the thing does what a call of that class does."""
    if not isinstance(thing, cls) or type(thing).__call__ is not cls.__call__:
        expected = "an MLP of Layers of Neurons with no methods __call__ of their own"
        raise TypeError(f"to_torch takes {expected}, got {type(thing).__name__}")


def _import_torch() -> Any:
    try:
        import torch
    except ImportError as error:
        raise ImportError("from_torch and to_torch need PyTorch: pip install torch") from error
    return torch
