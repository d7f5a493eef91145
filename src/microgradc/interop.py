"""Networks from PyTorch and to PyTorch: what is behind `from_torch` and `to_torch` of `nn.MLP` and `nn.Sequential`."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from itertools import chain
from typing import Any, TypeVar

import microgradc
from microgradc import trees

_MLP = TypeVar("_MLP", bound="microgradc.MLP")
_Sequential = TypeVar("_Sequential", bound="microgradc.Sequential")

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
    seen: set[int] = set()
    modules: list[Any] = []
    for i, layer in enumerate(model.layers):
        modules += _layer_to_torch(torch, layer, i, seen)
    return torch.nn.Sequential(*modules)


def sequential_from_torch(cls: type[_Sequential], module: Any) -> _Sequential:
    """Return a Sequential with the parameters of a PyTorch module. See `nn.Sequential.from_torch`."""
    torch = _import_torch()
    if not _is_sequential(torch, module):
        got = module if isinstance(module, torch.nn.Module) else repr(module)
        raise TypeError(f"from_torch takes a torch.nn.Sequential, got {got}")
    _refuse_hooks(module)
    if len(list(module.parameters())) != len(list(module.named_parameters(remove_duplicate=False))):
        raise ValueError("two modules share a parameter, a Sequential would have two: give each its own")
    return _in_mode_of(module, cls(*(_part_from_torch(torch, part) for part in module)))


def sequential_to_torch(model: microgradc.Sequential) -> Any:
    """Return a PyTorch module with the parameters of a Sequential. See `nn.Sequential.to_torch`."""
    return _sequential_to_torch(_import_torch(), model, set())


def _sequential_to_torch(torch: Any, model: microgradc.Sequential, seen: set[int]) -> Any:
    _check_plain(model, microgradc.Sequential)
    modules: list[Any] = []
    for i, part in enumerate(model.layers):
        modules += _layer_to_torch(torch, part, i, seen) if isinstance(part, microgradc.Layer) else [
            _part_to_torch(torch, part, i, seen)
        ]
    return _in_mode_of(model, torch.nn.Sequential(*modules))


def _part_from_torch(torch: Any, part: Any) -> Any:
    """Return the module or function that a module of PyTorch is."""
    nn, theirs, kind = microgradc.nn, torch.nn, type(part)
    if _is_sequential(torch, part):
        return _in_mode_of(part, nn.Sequential(*(_part_from_torch(torch, each) for each in part)))
    if kind is theirs.Linear:
        weights, biases = iter(part.weight.detach().flatten().tolist()), _numbers(part.bias, part.out_features)
        layer = nn.Layer(part.in_features, part.out_features, nonlin=False, init=lambda nin, nout, rng: next(weights))
        _write([neuron.b for neuron in layer.neurons], biases)
        return layer
    if kind is theirs.LayerNorm:
        norm = nn.LayerNorm(part.normalized_shape, part.eps, part.elementwise_affine, part.bias is not None)
        for parameter, tensor in ((norm.weight, part.weight), (norm.bias, part.bias)):
            if tensor is not None:
                _write(trees.entries(parameter, "")[0], tensor.detach().flatten().tolist())
        return norm
    if kind is theirs.Embedding:
        if part.max_norm is not None or part.scale_grad_by_freq:
            raise ValueError(f"an embedding has no max_norm and no scale_grad_by_freq, got {part}")
        numbers = part.weight.detach().flatten().tolist()
        table = nn.Embedding(part.num_embeddings, part.embedding_dim, part.padding_idx, init=lambda *_: 0.0)
        _write([p for row in table.weight for p in row], numbers)
        return table
    if kind is theirs.Softmax or kind is theirs.LogSoftmax:
        if part.dim == 0:
            raise ValueError(f"{part} is over the examples of a batch, which are apart here: give it dim=-1")
        return nn.Softmax(part.dim) if kind is theirs.Softmax else microgradc.log_softmax
    if kind is theirs.Flatten:
        if part.start_dim == 0:
            raise ValueError(f"{part} joins the examples of a batch, which are apart here: give it start_dim=1")
        return nn.Flatten(part.start_dim, part.end_dim)
    if kind is theirs.Dropout:
        return _in_mode_of(part, nn.Dropout(part.p))
    if kind is theirs.Identity:
        return nn.Activation("linear")
    activation = _activation_from_torch(torch, part)
    if activation is None:
        got = part if isinstance(part, theirs.Module) else repr(part)
        raise TypeError(f"from_torch takes a torch.nn.Sequential of {', '.join(_supported())}, got {got}")
    return nn.Activation(activation)


def _part_to_torch(torch: Any, part: Any, i: int, seen: set[int]) -> Any:
    """Return the module of PyTorch that does what part i of a Sequential does."""
    nn, theirs = microgradc.nn, torch.nn
    if isinstance(part, nn.Sequential):
        return _sequential_to_torch(torch, part, seen)
    kind = type(part)
    if kind is nn.LayerNorm:
        _note_parameters(part.parameters(), i, seen)
        bias = part.bias is not None
        norm = theirs.LayerNorm(part.normalized_shape, part.eps, part.elementwise_affine, bias, dtype=torch.float64)
        for parameter, tensor in ((part.weight, norm.weight), (part.bias, norm.bias)):
            if tensor is not None:
                entries = trees.entries(parameter, "")[0]
                tensor.data = torch.tensor([p.data for p in entries], dtype=torch.float64).reshape(tensor.shape)
        return norm
    if kind is nn.Embedding:
        _note_parameters(part.parameters(), i, seen)
        weight = torch.tensor([[p.data for p in row] for row in part.weight], dtype=torch.float64)
        table = theirs.Embedding(*weight.shape, part.padding_idx, device="meta")   # there it draws no random numbers
        table.weight = theirs.Parameter(weight)
        return table
    if kind is nn.Softmax:
        if part.dim == 0:
            raise ValueError(f"{part} of one example would be over the examples of a batch in PyTorch: give it dim=-1")
        return theirs.Softmax(part.dim)
    if kind is nn.Flatten:
        return theirs.Flatten(part.start_dim, part.end_dim)
    if kind is nn.Dropout:
        return _in_mode_of(part, theirs.Dropout(part.p))
    if part is microgradc.softmax or part is microgradc.log_softmax:
        return (theirs.Softmax if part is microgradc.softmax else theirs.LogSoftmax)(dim=-1)
    if kind is nn.Activation or not isinstance(part, nn.Module):
        name, settings = _named(part.activation if kind is nn.Activation else part)
        return getattr(theirs, nn.ACTIVATIONS[name])(**settings) if name != "linear" else theirs.Identity()
    expected = "a Sequential of the modules of microgradc.nn and of activations that have a name"
    raise TypeError(f"to_torch takes {expected}, got {kind.__name__}")


def _in_mode_of(module: Any, made: Any) -> Any:
    """Return what was made of a module, in training or evaluation as that is; not what is in it."""
    if made.training != module.training:
        made.training = module.training
    return made


def _layer_to_torch(torch: Any, layer: microgradc.Layer, i: int, seen: set[int]) -> list[Any]:
    """Return the Linear layer, and the activation if there is one, that layer i of a model is."""
    _check_plain(layer, microgradc.Layer)
    for neuron in layer.neurons:
        _check_plain(neuron, microgradc.Neuron)
        _note_parameters([*neuron.w, neuron.b], i, seen)
    activations = [_activation_to_torch(neuron) for neuron in layer.neurons]
    if any(activation != activations[0] for activation in activations):
        raise ValueError(
            f"the neurons of layer {i} differ in their activations, which a PyTorch module cannot: {layer}"
        )
    name, settings = activations[0]
    linear = _linear_to_torch(torch, layer)
    return [linear] if name == "linear" else [linear, getattr(torch.nn, microgradc.nn.ACTIVATIONS[name])(**settings)]


def _note_parameters(parameters: list[microgradc.Value], i: int, seen: set[int]) -> None:
    """Raise if a parameter of part i of a model came before."""
    for p in parameters:
        if id(p) in seen:
            advice = "PyTorch would have two: give each place its own"
            raise ValueError(f"a parameter of layer {i} comes twice in the model, {advice}")
        seen.add(id(p))


def _numbers(tensor: Any, n: int) -> list[float]:
    """Return the n numbers of a tensor; 0 if there is none."""
    return [0.0] * n if tensor is None else tensor.detach().tolist()


def _write(parameters: list[microgradc.Value], numbers: list[float]) -> None:
    for p, number in zip(parameters, numbers, strict=True):
        p.data = number


def _supported() -> list[str]:
    others = ["Dropout", "Embedding", "Flatten", "Identity", "LayerNorm", "LogSoftmax", "Softmax"]
    return [*microgradc.nn.ACTIVATIONS.values(), *others]


def _read_stack(torch: Any, module: Any) -> list[tuple[Any, Any]]:
    """Return the Linear layers of a module, each with the activation after it."""
    stack: list[tuple[Any, Any]] = []
    for layer in _parts_of(torch, module):
        if type(layer) is torch.nn.Linear:
            stack.append((layer, "linear"))
        elif type(layer) is not torch.nn.Identity:
            activation = _activation_from_torch(torch, layer)
            if activation is None:
                _refuse_in_mlp(torch, layer)
            if not stack:
                raise ValueError(f"an MLP begins with a Linear layer, got {layer}")
            linear, before = stack[-1]
            if before != "linear":
                raise ValueError(f"an MLP has one activation after each Linear layer, got a second one, {layer}")
            stack[-1] = linear, activation
    if not stack:
        raise ValueError(f"an MLP has at least one Linear layer, got {module}")
    _refuse_hooks(module)
    return stack


def _refuse_in_mlp(torch: Any, layer: Any) -> None:
    supported = [name for name in microgradc.nn.ACTIVATIONS.values() if name != "Linear"]
    hint = ""
    if isinstance(layer, torch.nn.Dropout):
        hint = "; an MLP has no dropout: leave it out, as in evaluation, or take Sequential.from_torch"
    got = layer if isinstance(layer, torch.nn.Module) else repr(layer)
    expected = f"a torch.nn.Linear, or a torch.nn.Sequential of Linear and {', '.join(['Identity', *supported])}"
    raise TypeError(f"from_torch takes {expected}, got {got}{hint}")


def _refuse_hooks(module: Any) -> None:
    for part in module.modules():   # pruning, for one, computes the weights in a hook
        if part._forward_hooks or part._forward_pre_hooks:
            raise ValueError(f"{part} has forward hooks, which would not run here: remove them first")


def _is_sequential(torch: Any, module: Any) -> bool:
    return isinstance(module, torch.nn.Sequential) and type(module).forward is torch.nn.Sequential.forward


def _parts_of(torch: Any, module: Any) -> Iterator[Any]:
    """Yield the module, or, if it is a Sequential, those in it."""
    if _is_sequential(torch, module):
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
    """Return the activation that a layer of PyTorch is: its name, or a partial function for other settings.

    It is None for any other layer.
    """
    named = {getattr(torch.nn, shown): name for name, shown in microgradc.nn.ACTIVATIONS.items() if name != "linear"}
    name = named.get(type(layer))
    if name is None:
        return None
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
    return _named(neuron.activation if neuron.nonlin else "linear")


def _named(activation: Any) -> tuple[str, dict[str, float]]:
    """Return the name of an activation, and the arguments for PyTorch's module of that name."""
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
        kind = "a Sequential of modules" if cls is microgradc.Sequential else "an MLP of Layers of Neurons"
        raise TypeError(f"to_torch takes {kind} with no methods __call__ of their own, got {type(thing).__name__}")


def _import_torch() -> Any:
    try:
        import torch
    except ImportError as error:
        raise ImportError("from_torch and to_torch need PyTorch: pip install torch") from error
    return torch
