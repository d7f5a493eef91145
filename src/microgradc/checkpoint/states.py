"""Numbers in files, in the safetensors format, which any framework reads: of models, of optimizers and of schedules.

Nothing in such a file is run when it is loaded.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from microgradc import checks
from microgradc.checkpoint import nests
from microgradc.container import DTYPES, check_path, read_entry, read_header, write
from microgradc.keywords import suggest_keywords
from microgradc.nn.module import Module
from microgradc.nn.state import check_state, groups_for
from microgradc.optim import Optimizer
from microgradc.optim.lr_scheduler import LRScheduler

if TYPE_CHECKING:
    import numpy as np

_Model = TypeVar("_Model")

_NEST = "microgradc state"     # what the metadata of a file call the state of an optimizer or a schedule


@suggest_keywords
def save(model: Any, path: str | os.PathLike[str]) -> None:
    """Write the numbers of a model, an optimizer or a schedule to a file, in the safetensors format, float64.

    The file is written whole or not at all: whatever goes wrong, an older one stays as it was. The same numbers give
    the same bytes. `model.save` writes what the model is made of too.

    Args:
        model: a `Module`, an optimizer or a schedule of its learning rates; or anything else whose method
            `state_dict()` returns arrays by name.
        path: where to, usually with the ending .safetensors. A new file has the permissions of any other new file, one
            that is replaced keeps its own.

    Raises:
        TypeError: model has no method `state_dict`, or it returns something other than arrays of real numbers.
        ValueError: model has no parameters, or path is something other than a file, such as a folder.
        OSError: the file cannot be written.

    >>> import tempfile
    >>> from microgradc import nn
    >>> model = nn.MLP(2, [16, 16, 1])
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save(model, f"{folder}/model.safetensors")
    ...     copy = load(nn.MLP(2, [16, 16, 1]), f"{folder}/model.safetensors")
    >>> copy([1.0, 2.0]).data == model([1.0, 2.0]).data
    True
    """
    from safetensors.numpy import save as serialize

    from microgradc import __version__

    _check_model(model, "state_dict")
    path = check_path(path)
    # One entry of metadata: safetensors writes several in any order, another in each process.
    if isinstance(model, (Optimizer, LRScheduler)):
        state, text = nests.packed(model.state_dict())
        write(path, serialize(state, metadata={_NEST: text}))
        return
    # In rows, order="C": safetensors writes the memory as it lies.
    state = {name: _numbers(array, name).astype(float, "C", copy=False) for name, array in model.state_dict().items()}
    if not state:
        raise ValueError(f"this {type(model).__name__} has no parameters to save")
    write(path, serialize(state, metadata={"format": f"microgradc {__version__}"}))


@suggest_keywords
def load(model: _Model, path: str | os.PathLike[str], strict: bool = True) -> _Model:
    """Set the numbers of a model, an optimizer or a schedule to those in a file that `save` wrote; return the model.

    Either all numbers are set or none. Nothing in a file is ever run. Numbers may be inf or nan, which a model that
    diverged is full of.

    Args:
        model: a `Module` of the same architecture, an optimizer with groups of the same sizes, a schedule of the same
            kind, or anything else with a method `load_state_dict` that takes arrays by name.
        path: the file, safetensors from here or elsewhere: what `model.save` wrote, and what has PyTorch's names,
            `layers.0.weight` and `layers.0.bias`, too. Its entries are float64, or float32 or float16, which are
            converted.
        strict: whether an entry that is missing in the file, or that the model does not have, is an error; if not, it
            is left out.

    Raises:
        TypeError: model has no method `load_state_dict`, or strict is not a bool.
        ValueError: the file is damaged, is not a safetensors file, or does not fit the model; the message lists what
            does not fit.
        OSError: the file cannot be read; `FileNotFoundError` if there is none.
    """
    _check_model(model, "load_state_dict")
    strict = checks.flag(strict, "strict")
    path = check_path(path)
    try:
        if isinstance(model, (Optimizer, LRScheduler)):
            _load_nest(model, path, strict)
        else:
            state = _read(path, model, strict)
            model.load_state_dict(state, **({} if strict else {"strict": False}))  # type: ignore[attr-defined]
    except ValueError as error:
        raise ValueError(f"cannot load {path}: {error}") from None
    return model


def _numbers(array: Any, name: str) -> np.ndarray:
    """Return an entry of a state as an array of real numbers."""
    try:
        return checks.real_array(array, f"state_dict()[{name!r}]")
    except (TypeError, ValueError) as error:
        raise TypeError(f"{error}; arrays by name are what is saved here, pickle or json keep all else") from None


def _read(path: Path, model: Any, strict: bool) -> dict[str, np.ndarray]:
    """Return the entries of a safetensors file as float64 arrays, after a look at what they are called and how large
    they are: only what the model takes is read."""
    # Other models say it when they have the arrays.
    knows = getattr(model.load_state_dict, "__func__", None) is Module.load_state_dict

    def look_at(names: Mapping[str, Any]) -> None:
        if knows:
            check_state(model, names, shapes=False, strict=strict)

    with open(path, "rb") as file:
        header = read_header(file, os.fstat(file.fileno()).st_size, look_at)
        entries = header.entries
        if knows and not strict:
            groups = groups_for(model, entries)
            entries = {name: entry for name, entry in entries.items() if name in groups}
        for name, entry in entries.items():
            if entry.dtype not in DTYPES:
                wanted = f"floating-point numbers, {', '.join(DTYPES)}"
                raise ValueError(f"{checks.shown(name)} must hold {wanted}, got {checks.shown(entry.dtype)}")
        if knows:
            if _NEST in header.metadata:
                raise ValueError("it has the state of an optimizer or a schedule, and not of a model")
            check_state(model, {name: entry.shape for name, entry in entries.items()}, strict=strict)
        return {name: read_entry(file, header.start, entry) for name, entry in entries.items()}


def _load_nest(model: Optimizer | LRScheduler, path: Path, strict: bool) -> None:
    """Set the state of an optimizer or a schedule."""
    kind = type(model).__name__
    if not strict:
        raise ValueError(f"the state of a {kind} is loaded as a whole: strict=False is for models")
    optimizer = model if isinstance(model, Optimizer) else model.optimizer
    most = sum(len(group["params"]) for group in optimizer.param_groups)
    with open(path, "rb") as file:
        header = read_header(file, os.fstat(file.fileno()).st_size)
        if _NEST not in header.metadata:
            raise ValueError(f"it has numbers of a model, and not the state of a {kind}")
        for name, entry in header.entries.items():
            if entry.dtype not in DTYPES or math.prod(entry.shape) > most:
                raise ValueError(f"{checks.shown(name)} must hold a number for each of at most {most} parameters")
        arrays = {name: read_entry(file, header.start, entry) for name, entry in header.entries.items()}
    try:
        model.load_state_dict(nests.unpacked(header.metadata[_NEST], arrays, most))
    except TypeError as error:     # what a file has is a matter of its value
        raise ValueError(str(error)) from None


def _check_model(model: Any, method: str) -> None:
    if not callable(getattr(model, method, None)) or isinstance(model, type):
        raise TypeError(f"model must be a Module, or have a method {method}, got {model!r}")
