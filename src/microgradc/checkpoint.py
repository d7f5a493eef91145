"""Models in files, in the safetensors format: numbers by name, which any framework reads.

Nothing in such a file is run when it is loaded.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from microgradc import checks

if TYPE_CHECKING:
    import numpy as np

_Model = TypeVar("_Model")

# The entries that `load` takes, all of which a float64 holds exactly.
_DTYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2"}


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
    path = _check_path(path)
    # In rows, order="C": safetensors writes the memory as it lies.
    state = {name: _numbers(array, name).astype(float, "C", copy=False) for name, array in model.state_dict().items()}
    if not state:
        raise ValueError(f"this {type(model).__name__} has no parameters to save")
    # One entry: safetensors writes several in any order, another in each process.
    _write(path, serialize(state, metadata={"format": f"microgradc {__version__}"}))


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
    path = _check_path(path)
    try:
        model.load_state_dict(_read(path))  # type: ignore[attr-defined]
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


def _write(path: Path, content: bytes) -> None:
    """Write a file in one step for all who read it: under another name in the same folder, then renamed."""
    path = Path(os.path.realpath(path))   # the file that a link leads to is replaced, not the link
    if not path.parent.is_dir():
        raise FileNotFoundError(errno.ENOENT, "there is no such folder to save in", str(path.parent))
    temporary = path.parent / f".microgradc-{os.urandom(8).hex()}.tmp"
    try:
        with open(temporary, "xb") as file:
            if path.exists():
                shutil.copymode(path, temporary)
            file.write(content)
            file.flush()
            os.fsync(file.fileno())   # else a power failure after the renaming could leave an empty file
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _read(path: Path) -> dict[str, np.ndarray]:
    """Return the entries of a safetensors file as float64 arrays.

    `safetensors.numpy.load_file` would not say which entry is wrong.
    """
    import numpy as np
    from safetensors import SafetensorError, deserialize

    content = path.read_bytes()
    try:
        entries = deserialize(content)
    except SafetensorError as error:
        raise ValueError(f"it is not a safetensors file, or a damaged one: {error}") from None
    json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")], object_pairs_hook=_unique)
    arrays = {}
    for name, entry in sorted(entries, key=itemgetter(0)):   # they come in another order each time, errors should not
        dtype = _DTYPES.get(entry["dtype"])
        if dtype is None:
            raise ValueError(f"{name} must hold floating-point numbers, {', '.join(_DTYPES)}, got {entry['dtype']}")
        array = np.frombuffer(entry["data"], dtype).reshape(entry["shape"])
        with np.errstate(invalid="ignore"):   # a float32 may be a signalling nan
            arrays[name] = array.astype(float)
    return arrays


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return a dict of the pairs, in which no name may come twice: which of them holds would be up to the reader."""
    entries = dict(pairs)
    if len(entries) != len(pairs):
        raise ValueError(f"a name comes twice in its header, among {', '.join(name for name, _ in pairs[:20])}")
    return entries


def _check_model(model: Any, method: str) -> None:
    if not callable(getattr(model, method, None)) or isinstance(model, type):
        raise TypeError(f"model must be a Module, or have a method {method}, got {model!r}")


def _check_path(path: str | os.PathLike[str]) -> Path:
    """Return the path, which must not lead to a folder, a device or a pipe: these end badly, or not at all."""
    path = Path(path)
    if path.exists() and not path.is_file():
        kind = "folder" if path.is_dir() else "device or pipe"
        raise ValueError(f"path must be that of a file, got {path}, which is a {kind}")
    return path
