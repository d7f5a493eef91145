"""Models in files, in the safetensors format: numbers by name, which any framework reads.

Nothing in such a file is run when it is loaded.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, TypeVar

from microgradc import checks
from microgradc.container import DTYPES, Entry, check_path, damaged, read_header, write
from microgradc.keywords import suggest_keywords
from microgradc.nn.module import Module, check_names, check_shapes

if TYPE_CHECKING:
    import numpy as np

_Model = TypeVar("_Model")
_PIECE = 1 << 16    # numbers that are read at a time



@suggest_keywords
def save(model: Any, path: str | os.PathLike[str]) -> None:
    """Write the parameters of a model to a file, in the safetensors format, float64.

    The file is written whole or not at all: whatever goes wrong, an older one stays as it was. The same parameters give
    the same bytes.

    Args:
        model: a `Module`, or anything else whose method `state_dict()` returns arrays by name.
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
    # In rows, order="C": safetensors writes the memory as it lies.
    state = {name: _numbers(array, name).astype(float, "C", copy=False) for name, array in model.state_dict().items()}
    if not state:
        raise ValueError(f"this {type(model).__name__} has no parameters to save")
    # One entry: safetensors writes several in any order, another in each process.
    write(path, serialize(state, metadata={"format": f"microgradc {__version__}"}))


@suggest_keywords
def load(model: _Model, path: str | os.PathLike[str]) -> _Model:
    """Set the parameters of a model to those in a safetensors file, such as `save` writes; return the model.

    Either all parameters are set or none. Nothing in a file is ever run. Numbers may be inf or nan, which a model that
    diverged is full of.

    Args:
        model: a `Module` of the same architecture, or anything else with a method `load_state_dict` that takes arrays
            by name.
        path: the file. Its entries are float64, or float32 or float16, which are converted.

    Raises:
        TypeError: model has no method `load_state_dict`.
        ValueError: the file is damaged, is not a safetensors file, or does not fit the model; the message lists what
            does not fit.
        OSError: the file cannot be read; `FileNotFoundError` if there is none.
    """
    _check_model(model, "load_state_dict")
    path = check_path(path)
    try:
        model.load_state_dict(_read(path, model))  # type: ignore[attr-defined]
    except ValueError as error:
        raise ValueError(f"cannot load {path}: {error}") from None
    return model


def _numbers(array: Any, name: str) -> np.ndarray:
    """Return an entry of a state as an array of real numbers."""
    try:
        return checks.real_array(array, f"state_dict()[{name!r}]")
    except (TypeError, ValueError) as error:
        advice = "a model's state is what is saved here; pickle or json keep that of an optimizer or a schedule"
        raise TypeError(f"{error}; {advice}") from None


def _read(path: Path, model: Any) -> dict[str, np.ndarray]:
    """Return the entries of a safetensors file as float64 arrays, after a look at what they are called and how large
    they are: only what the model takes is read."""

    def look_at(names: Mapping[str, Any]) -> None:
        if _loads_as_modules_do(model):
            check_names(model, names)

    with open(path, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        header = read_header(file, size, look_at)
        for name, entry in header.entries.items():
            if entry.dtype not in DTYPES:
                wanted = f"floating-point numbers, {', '.join(DTYPES)}"
                raise ValueError(f"{checks.shown(name)} must hold {wanted}, got {checks.shown(entry.dtype)}")
        if _loads_as_modules_do(model):
            check_shapes(model, {name: entry.shape for name, entry in header.entries.items()})
        return {name: _read_entry(file, header.start, entry) for name, entry in header.entries.items()}


def _loads_as_modules_do(model: Any) -> bool:
    """Whether the names and shapes that a model takes are known; other models say it when they have the arrays."""
    return getattr(model.load_state_dict, "__func__", None) is Module.load_state_dict


def _read_entry(file: BinaryIO, start: int, entry: Entry) -> np.ndarray:
    """Return the numbers of an entry as float64. They are read piece by piece, so that nothing is held twice."""
    import numpy as np

    array = np.empty(math.prod(entry.shape))
    file.seek(start + entry.begin)
    for first in range(0, array.size, _PIECE):
        part = array[first : first + _PIECE]
        content = file.read(part.size * int(DTYPES[entry.dtype][-1]))
        try:
            numbers = np.frombuffer(content, DTYPES[entry.dtype])
            with np.errstate(invalid="ignore"):   # a float32 may be a signalling nan
                part[:] = numbers
        except ValueError:
            raise damaged("it became shorter while it was read") from None
    return array.reshape(entry.shape)


def _check_model(model: Any, method: str) -> None:
    if not callable(getattr(model, method, None)) or isinstance(model, type):
        raise TypeError(f"model must be a Module, or have a method {method}, got {model!r}")
