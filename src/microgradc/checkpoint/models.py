"""Whole models in files: what they are made of, as a text in the file's metadata, and their numbers.

Nothing in such a file is run when it is loaded: a model is made of the parts that `parts.py` lists.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import microgradc
from microgradc import checks
from microgradc.container import DTYPES, Entry, check_path, damaged, read_entry, read_header, unique, write
from microgradc.keywords import suggest_keywords
from microgradc.nn.state import matrices_of

if TYPE_CHECKING:
    import numpy as np

__all__ = ["load_model", "save_model"]

_MODEL = "microgradc model"     # what the metadata of a file call the description of its model
_FORMAT = 1
_LEARNT = "_learnt"             # the attribute in which `fit` notes what the outputs of a model are
# The dtypes of numbers that labels may have.
_NUMBERS = [f"{kind}{bits}" for kind in ("int", "uint") for bits in (8, 16, 32, 64)] + ["float16", "float32", "float64"]
_MOST_LEVELS = 100              # of stacks in stacks


def save_model(model: Any, path: str | os.PathLike[str]) -> None:
    """Write a whole model to a file: see `Module.save`."""
    from safetensors.numpy import save as serialize

    from microgradc import __version__

    path = check_path(path)
    try:
        parts = _described(model, "", 0)
        noted = {"classes": _described_classes(vars(model).get("classes_")), "learnt": vars(model).get(_LEARNT)}
        groups = matrices_of(model)
        if sum(math.prod(group.shape) for group in groups.values()) != _count(parts):
            raise TypeError("it has parameters in two places, which would become two")
    except TypeError as error:
        advice = (
            "a file has no code. microgradc.save(model, path) keeps the numbers, and microgradc.load(model, path) sets "
            "those of a model that your code made"
        )
        raise TypeError(f"cannot save this {type(model).__name__} whole: {error}; {advice}") from None
    # One entry of metadata: safetensors writes several in any order, another in each process.
    text = json.dumps({"format": _FORMAT, "version": __version__, "model": parts, **noted}, allow_nan=False)
    write(path, serialize({name: group.read() for name, group in groups.items()}, metadata={_MODEL: text}))


@suggest_keywords
def load_model(path: str | os.PathLike[str]) -> microgradc.Module:
    """Return the model in a file that `model.save` wrote: its parts, its numbers, its classes and its modes.

    Nothing in a file is ever run, and no random numbers are drawn.

    Args:
        path: the file.

    Raises:
        ValueError: the file is damaged, is not a safetensors file, has numbers alone or describes no model of parts
            that microgradc has.
        OSError: the file cannot be read; `FileNotFoundError` if there is none.
    """
    path = check_path(path)
    try:
        with open(path, "rb") as file:
            header = read_header(file, os.fstat(file.fileno()).st_size)
            if _MODEL not in header.metadata:
                advice = "microgradc.load(model, path) sets those of a model that you made"
                raise ValueError(f"it has numbers, and does not say of which model; {advice}")
            description = _read(header.metadata[_MODEL])
            plans = _plans(description["model"], "", 0, header.entries)
            if unexpected := header.entries.keys() - plans.shapes().keys():
                raise ValueError(f"{checks.shown(min(unexpected))} is unexpected: the model has no such entry")
            arrays = {name: read_entry(file, header.start, entry) for name, entry in header.entries.items()}
        model = plans.make(arrays)
        classes, learnt = _classes(description["classes"]), _checked_learnt(description["learnt"])
        if classes is not None:
            model.classes_ = classes
        if learnt is not None:
            vars(model)[_LEARNT] = learnt
    except RecursionError:
        raise ValueError(f"cannot load {path}: it describes a model that is nested too deeply") from None
    except (TypeError, ValueError) as error:     # what a file has is a matter of its value
        raise ValueError(f"cannot load {path}: {error}") from None
    return model


def _described(part: Any, place: str, level: int) -> dict[str, Any]:
    """Return what a part is made of, as JSON has it; TypeError says which part cannot be described."""
    from microgradc.checkpoint import parts

    if level > _MOST_LEVELS:
        raise TypeError(f"it has more than {_MOST_LEVELS} Sequentials in one another")
    where = place or "it"
    training = {} if getattr(part, "training", True) else {"training": False}
    for name, stack in parts.STACKS.items():
        if type(part) is stack:
            parts.check_attributes(part, {"layers"}, where)
            layers = [
                _described(layer, f"{place}.layers.{i}".lstrip("."), level + 1) for i, layer in enumerate(part.layers)
            ]
            return {"kind": name, "layers": layers, **training}
    for name, kind in parts.KINDS.items():
        if type(part) is kind.type:
            parts.check_attributes(part, kind.attributes, where)
            try:
                return {"kind": name, **kind.arguments(part), **training}
            except TypeError as error:
                raise TypeError(f"{where} {error}") from None
    if isinstance(part, microgradc.Module):
        raise TypeError(f"{where} is a Module of a class of your own, {type(part).__name__}")
    try:
        return {"kind": "function", "is": parts.described_function(part)}
    except TypeError as error:
        raise TypeError(f"{where} is {error}") from None


def _count(described: dict[str, Any]) -> int:
    """Return how many parameters a model has by its description."""
    from microgradc.checkpoint import parts

    if "layers" in described:
        return sum(map(_count, described["layers"]))
    kind = parts.KINDS.get(described["kind"])
    return 0 if kind is None else sum(map(math.prod, kind.shapes(described).values()))


class _Plan(NamedTuple):
    """A part that a file describes, all of which is checked but the numbers."""

    name: str                             # of the part: 'layers.0.'
    found: dict[str, Any]                 # its description
    own: dict[str, tuple[int, ...]]       # the shapes of its arrays
    layers: list[_Plan]

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Return the shapes of all arrays, by name."""
        found = {f"{self.name}{name}": shape for name, shape in self.own.items()}
        for layer in self.layers:
            found |= layer.shapes()
        return found

    def make(self, arrays: Mapping[str, np.ndarray]) -> Any:
        """Return the part with these numbers."""
        from microgradc.checkpoint import parts

        name = self.found["kind"]
        arguments = {key: value for key, value in self.found.items() if key not in ("kind", "training")}
        if name == "function":
            return parts.made_function(arguments["is"])
        made: Any
        if name in parts.STACKS:
            made = parts.STACKS[name].__new__(parts.STACKS[name])
            made.layers = [layer.make(arrays) for layer in self.layers]
        else:
            kind, own = parts.KINDS[name], {key: arrays[f"{self.name}{key}"] for key in self.own}
            if kind.make is not None:
                made = kind.make(arguments, own)
            else:
                made = kind.type(**arguments)
                made.load_state_dict(own)
        if not self.found.get("training", True):
            for module in [made, *made.modules()] if not self.layers else [made]:
                module.training = False
        return made


def _plans(found: Any, name: str, level: int, entries: Mapping[str, Entry]) -> _Plan:
    """Return the plan of the part that a file describes; ValueError for what is none of ours, or does not fit its
    arrays."""
    from microgradc.checkpoint import parts

    if level > _MOST_LEVELS:
        raise ValueError("it describes a model that is nested too deeply")
    if not isinstance(found, dict) or not isinstance(found.get("kind"), str):
        raise ValueError(f"it describes something that is no part of a model, {checks.shown(found)}")
    if not isinstance(found.get("training", True), bool):
        raise ValueError(f"training must be true or false, got {checks.shown(found['training'])}")
    kind = found["kind"]
    if kind in parts.STACKS:
        _check_keys(found, {"layers"})
        layers = found["layers"]
        if not isinstance(layers, list) or not layers:
            raise ValueError(f"layers must be a list of parts, got {checks.shown(layers)}")
        plans = [_plans(layer, f"{name}layers.{i}.", level + 1, entries) for i, layer in enumerate(layers)]
        return _Plan(name, found, {}, plans)
    if kind == "function":
        _check_keys(found, {"is"})
        if isinstance(parts.made_function(found["is"]), str):
            raise ValueError(f"{checks.shown(found['is'])} is the name of an activation, and no part of a model")
        return _Plan(name, found, {}, [])
    if kind not in parts.KINDS:
        raise ValueError(f"it has a part that microgradc does not have, {checks.shown(kind)}")
    _check_keys(found, parts.KINDS[kind].fields)
    shapes = parts.KINDS[kind].shapes(found)
    for key, shape in shapes.items():
        entry = entries.get(f"{name}{key}")
        if entry is None:
            raise ValueError(f"{name}{key} is missing")
        if entry.shape != shape:
            raise ValueError(f"{name}{key} has shape {entry.shape}, its {kind} needs {shape}")
        if entry.dtype not in DTYPES:
            wanted = f"floating-point numbers, {', '.join(DTYPES)}"
            raise ValueError(f"{name}{key} must hold {wanted}, got {checks.shown(entry.dtype)}")
    return _Plan(name, found, shapes, [])


def _check_keys(found: dict[str, Any], names: set[str]) -> None:
    if found.keys() - {"kind", "training"} != names:
        raise ValueError(f"{found['kind']} must have {', '.join(sorted(names))}, got {checks.shown(list(found))}")


def _read(text: str) -> dict[str, Any]:
    """Return the description of a model."""
    try:
        found = json.loads(text, object_pairs_hook=unique, parse_constant=_refuse)
    except json.JSONDecodeError as error:
        raise damaged(f"its description of a model is not JSON: {checks.shown(error)}") from None
    if not isinstance(found, dict) or type(found.get("format")) is not int:
        raise ValueError("it describes no model")
    if found["format"] != _FORMAT:
        raise ValueError(f"it has a model of format {found['format']}, this version of microgradc reads {_FORMAT}")
    if found.keys() != {"format", "version", "model", "classes", "learnt"}:
        raise ValueError(f"its description of a model has {checks.shown(list(found))}")
    return found


def _refuse(text: str) -> None:
    raise ValueError(f"its description of a model has {text}")


def _described_classes(classes: Any) -> dict[str, Any] | None:
    """Return labels of classes, a list or an array, as JSON has them."""
    if classes is None:
        return None
    is_array = hasattr(classes, "dtype")
    labels = [label.item() if hasattr(label, "dtype") else label for label in classes]
    for label in labels:
        if not isinstance(label, (bool, int, float, str)) or (isinstance(label, float) and not math.isfinite(label)):
            raise TypeError(f"classes_ has a label that is no text, number or bool, {label!r:.60}")
    kind = "list" if not is_array else "objects" if classes.dtype == object else "array"
    if kind == "array" and classes.dtype.name in _NUMBERS:
        kind = classes.dtype.name
    return {"labels": labels, "as": kind}


def _checked_learnt(found: Any) -> dict[str, Any] | None:
    """Return what `fit` noted: the name of the loss, where classes part, and whether outputs are classes each."""
    if found is None:
        return None
    kinds = {"loss": str, "threshold": float, "several": bool}
    if not isinstance(found, dict) or {name: type(value) for name, value in found.items()} != kinds:
        raise ValueError(f"what it learnt must be {', '.join(kinds)}, got {checks.shown(found)}")
    return found


def _classes(found: Any) -> Any:
    """Return the labels that `_described_classes` described."""
    if found is None:
        return None
    labels = found.get("labels") if isinstance(found, dict) else None
    if not isinstance(labels, list) or not all(isinstance(x, (bool, int, float, str)) for x in labels):
        raise ValueError(f"its classes must be texts, numbers or bools, got {checks.shown(found)}")
    if found.get("as") == "list":
        return labels
    import numpy as np

    names = {"array": None, "objects": object, **{name: np.dtype(name) for name in _NUMBERS}}
    kind = found.get("as")
    if not isinstance(kind, str) or kind not in names:
        raise ValueError(f"its classes must be a list or an array, got {checks.shown(found)}")
    try:
        made = np.array(labels, names[kind])
    except OverflowError:
        made = np.array(None)
    if made.tolist() != labels:
        raise ValueError(f"its classes must be labels of one kind, got {checks.shown(found)}")
    return made
