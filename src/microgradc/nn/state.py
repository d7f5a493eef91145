"""The parameters of a module as arrays by name, which its state is: read and written, found wrong, and called by other
names.

A layer's weights are rows by our names, `neurons.0.w`, `neurons.0.b`, …, and matrices by PyTorch's: `weight`, of
shape (out, in), and `bias`. Layers and stacks of them are read as they lie; for all else, each parameter is looked at.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from functools import partial
from itertools import chain
from types import BuiltinFunctionType, FunctionType, NoneType
from typing import TYPE_CHECKING, Any, NamedTuple

from microgradc import checks
from microgradc.engine.value import Value, read_numbers, write_numbers
from microgradc.nn.search import are_parameters

if TYPE_CHECKING:
    import numpy as np

_SHOWN = 20   # faults of a state that its error lists; the others are counted

# What has no parameters in it.
_PLAIN = (str, float, int, bool, NoneType, FunctionType, BuiltinFunctionType, partial)

_OF_A_NEURON = {"w", "b", "nonlin", "activation", "training"}


class Group(NamedTuple):
    """Parameters that make up one array of a state."""

    shape: tuple[int, ...]
    rows: list[list[Value]]      # all parameters of one row after the other

    def read(self) -> np.ndarray:
        """Return the numbers."""
        import numpy as np

        array = np.empty(self.shape)
        read_numbers(self.rows, array, False)
        return array

    def write(self, array: np.ndarray) -> None:
        """Set the parameters to the numbers in an array of that shape."""
        write_numbers(self.rows, array.astype(float, "C", copy=False))


class Block(NamedTuple):
    """The parameters of a layer, or of a neuron by itself: the weights and the bias of each neuron."""

    name: str                      # what the names of its groups begin with
    weights: list[list[Value]]
    biases: list[Value]
    is_layer: bool

    def groups(self) -> dict[str, Group]:
        """Return the groups by our names."""
        found = {}
        for i, (w, b) in enumerate(zip(self.weights, self.biases, strict=True)):
            name = f"{self.name}neurons.{i}." if self.is_layer else self.name
            found[f"{name}w"] = Group((len(w),), [w])
            found[f"{name}b"] = Group((), [[b]])
        return found

    def matrices(self) -> dict[str, Group]:
        """Return the groups by PyTorch's names."""
        n = len(self.biases)
        weight = Group((n, len(self.weights[0])), self.weights)
        return {f"{self.name}weight": weight, f"{self.name}bias": Group((n,), [self.biases])}


def groups_of(module: Any) -> dict[str, Group]:
    """Return the parameters by our names: those of `named_parameters`, less the indices that end them."""
    return _by_our_names(module, _blocks(module))


def matrices_of(module: Any) -> dict[str, Group]:
    """Return the parameters by PyTorch's names, so far as they are those of layers and neurons."""
    blocks = _blocks(module)
    if blocks is None:
        return _as_matrices(_searched(module))
    return dict(chain.from_iterable(block.matrices().items() for block in blocks))


def groups_for(module: Any, names: Mapping[str, Any]) -> dict[str, Group]:
    """Return the parameters by those of the two kinds of names that more of the given ones are."""
    blocks = _blocks(module)
    if blocks is not None:
        matrices = dict(chain.from_iterable(block.matrices().items() for block in blocks))
        if matrices.keys() == names.keys():
            return matrices
    groups = _by_our_names(module, blocks)
    if blocks is None:
        matrices = _as_matrices(groups)
    return matrices if len(names.keys() & matrices.keys()) > len(names.keys() & groups.keys()) else groups


def check_state(module: Any, names: Mapping[str, Any], shapes: bool = True, strict: bool = True) -> None:
    """Raise the ValueError that `load_state_dict` raises if arrays have other names, or shapes, than it needs.

    Args:
        names: the shapes of the arrays, or anything, by name.
        shapes: whether they are shapes.
        strict: whether the names must be those of the module.
    """
    groups = groups_for(module, names)
    faults = wrong_names(groups, names) if strict else []
    for name, group in groups.items():
        if shapes and name in names:
            faults += wrong_shape(name, names[name], group)
    refuse_faults(module, faults)


def wrong_names(groups: Mapping[str, Group], names: Mapping[str, Any]) -> list[str]:
    """Return what is wrong with the names of a state, a text for each that is missing or unexpected."""
    faults = [f"{checks.shown(name)} is missing" for name in groups if name not in names]
    unexpected = [name for name in names if name not in groups]
    faults += [f"{checks.shown(name)} is unexpected: the model has no such entry" for name in unexpected[:_SHOWN]]
    return faults + unexpected[_SHOWN:]   # these are not listed


def wrong_shape(name: str, shape: tuple[int, ...], group: Group) -> list[str]:
    """Return a text that says so if an array has another shape than its group, in a list."""
    if shape == group.shape:
        return []
    return [f"{checks.shown(name)} has shape {shape}, the model needs {group.shape}"]


def refuse_faults(module: Any, faults: list[str]) -> None:
    """Raise ValueError if there are faults."""
    if faults:
        listed = "\n  ".join(faults[:_SHOWN] + [f"… and {len(faults) - _SHOWN} more"] * (len(faults) > _SHOWN))
        raise ValueError(f"the state does not fit {type(module).__name__}, which stays as it was:\n  {listed}")


def _by_our_names(module: Any, blocks: list[Block] | None) -> dict[str, Group]:
    if blocks is None:
        return _searched(module)
    return dict(chain.from_iterable(block.groups().items() for block in blocks))


def _searched(module: Any) -> dict[str, Group]:
    """Return the parameters by name less the indices that end it.

    They are one group where these are the indices of a full array, and else a group each.
    """
    places: dict[str, dict[tuple[int, ...], Value]] = {}
    for name, p in module.named_parameters():
        parts = name.split(".")
        k = len(parts)
        while k > 1 and parts[k - 1].isdecimal():
            k -= 1
        entries = places.setdefault(".".join(parts[:k]), {})
        index = tuple(map(int, parts[k:]))
        if index in entries:
            raise ValueError(f"two parameters are both called {name}: give the entries of dicts names that differ")
        entries[index] = p
    groups = {}
    for name, entries in places.items():
        shape = tuple(max(axis) + 1 for axis in zip(*entries, strict=False))
        if all(len(index) == len(shape) for index in entries) and len(entries) == math.prod(shape):
            groups[name] = Group(shape, [[entries[index] for index in sorted(entries)]])
        else:
            groups |= {".".join([name, *map(str, index)]): Group((), [[p]]) for index, p in entries.items()}
    return groups


_NEURON = re.compile(r"((?:.*\.)?)w", re.DOTALL)
_OF_A_LAYER = re.compile(r"((?:.*\.)?)neurons\.(\d+)\.", re.DOTALL)


def _as_matrices(groups: dict[str, Group]) -> dict[str, Group]:
    """Return groups in which w and b of neurons are called weight and bias, and those of a layer are matrices."""
    layers: dict[str, dict[int, tuple[Group, Group]]] = {}
    taken: dict[str, str] = {}         # the layer or neuron of a group
    for name, weights in groups.items():
        match, bias = _NEURON.fullmatch(name), groups.get(f"{name[:-1]}b")
        if match and bias is not None and len(weights.shape) == 1 and bias.shape == ():
            layer = _OF_A_LAYER.fullmatch(match[1])
            place, i = (layer[1], int(layer[2])) if layer else (match[1], 0)
            layers.setdefault(place, {})[i] = weights, bias
            taken |= {name: place, f"{name[:-1]}b": place}
    found: dict[str, Group] = {}
    for name, group in groups.items():
        rows = layers.get(taken[name], {}) if name in taken else {}
        if sorted(rows) != list(range(len(rows))) or len({w.shape for w, _ in rows.values()}) != 1:
            found[name] = group
        elif f"{taken[name]}weight" not in found:
            ordered = [rows[i] for i in range(len(rows))]
            shape = len(rows), ordered[0][0].shape[0]
            found[f"{taken[name]}weight"] = Group(shape, [row for w, _ in ordered for row in w.rows])
            found[f"{taken[name]}bias"] = Group(shape[:1], [row for _, b in ordered for row in b.rows])
    return found


def _blocks(module: Any) -> list[Block] | None:
    """Return the parameters of a stack of layers and neurons; None if it has others, or may have."""
    blocks: list[Block] = []
    if not _visit(module, "", _search_of(module), blocks):
        return None
    rows = [row for block in blocks for w, b in zip(block.weights, block.biases, strict=True) for row in (w, [b])]
    return blocks if are_parameters(rows) else None


def _search_of(module: Any) -> Callable[[Any], Any] | None:
    """Return the method `parameters` of all modules: a class with another one has parameters of its own choice."""
    methods = [vars(kind)["parameters"] for kind in type(module).__mro__ if "parameters" in vars(kind)]
    return methods[-1] if methods else None


def _visit(thing: Any, name: str, search: Any, blocks: list[Block]) -> bool:
    """Add the blocks of a stack, a layer or a neuron; return False if it is something else with parameters."""
    if isinstance(thing, _PLAIN):
        return True
    if getattr(type(thing), "parameters", None) is not search or not hasattr(thing, "__dict__"):
        return False
    parts = _parts(thing)
    if not parts:
        return True
    neurons = [thing] if parts.keys() == {"w", "b"} else parts.get("neurons")
    if parts.keys() == {"layers"} and type(parts["layers"]) is list:
        return all(_visit(part, f"{name}layers.{i}.", search, blocks) for i, part in enumerate(parts["layers"]))
    if type(neurons) is not list or len(parts) != 1 + ("w" in parts) or not neurons:
        return False
    if not all(_is_neuron(neuron, search) for neuron in neurons) or len({len(neuron.w) for neuron in neurons}) != 1:
        return False
    blocks.append(Block(name, [n.w for n in neurons], [n.b for n in neurons], "w" not in parts))
    return True


def _is_neuron(thing: Any, search: Any) -> bool:
    """Return whether a thing has the parameters of a neuron, and no others."""
    if getattr(type(thing), "parameters", None) is not search:
        return False
    found = vars(thing)
    w = found.get("w")
    if type(w) is not list or not w or "b" not in found:
        return False
    if found.keys() <= _OF_A_NEURON and isinstance(found.get("activation"), _PLAIN):
        return True
    return _parts(thing).keys() == {"w", "b"}


def _parts(module: Any) -> dict[str, Any]:
    """Return the attributes of a module that may have parameters."""
    return {
        name: value
        for name, value in vars(module).items()
        if not (name.startswith("_") or isinstance(value, _PLAIN) or name == "classes_")
    }
