"""Models in files, in the safetensors format: numbers by name, which any framework reads.

Nothing in such a file is run when it is loaded.
"""

from __future__ import annotations

import errno
import json
import math
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple, TypeVar

from microgradc import checks
from microgradc.keywords import suggest_keywords
from microgradc.nn.module import Module, check_names, check_shapes

if TYPE_CHECKING:
    import numpy as np

_Model = TypeVar("_Model")

# The entries that `load` takes, all of which a float64 holds exactly.
_DTYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2"}
_OTHER_DTYPES = frozenset(
    "BOOL I8 I16 I32 I64 U8 U16 U32 U64 BF16 C64 F4 F6_E2M3 F6_E3M2 "
    "F8_E4M3 F8_E5M2 F8_E8M0 F8_E4M3FNUZ F8_E5M2FNUZ".split()
)
_LONGEST_HEADER = 100_000_000   # bytes, the format's own limit
_MOST_DIMENSIONS = 32           # NumPy 1's
_PIECE = 1 << 16                # numbers that are read at a time
_MANY = 1000                    # entries


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
    path = _check_path(path)
    # In rows, order="C": safetensors writes the memory as it lies.
    state = {name: _numbers(array, name).astype(float, "C", copy=False) for name, array in model.state_dict().items()}
    if not state:
        raise ValueError(f"this {type(model).__name__} has no parameters to save")
    # One entry: safetensors writes several in any order, another in each process.
    _write(path, serialize(state, metadata={"format": f"microgradc {__version__}"}))


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
    path = _check_path(path)
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


class _Entry(NamedTuple):
    """Where numbers lie in a file, as its header says."""

    dtype: str
    shape: tuple[int, ...]
    begin: int
    end: int


def _read(path: Path, model: Any) -> dict[str, np.ndarray]:
    """Return the entries of a safetensors file as float64 arrays, after a look at what they are called and how large
    they are: only what the model takes is read."""
    with open(path, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        header = _header(file, size, model)
        start = size - max((entry.end for entry in header.values()), default=0)
        for name, entry in header.items():
            if entry.dtype not in _DTYPES:
                wanted = f"floating-point numbers, {', '.join(_DTYPES)}"
                raise ValueError(f"{checks.shown(name)} must hold {wanted}, got {checks.shown(entry.dtype)}")
        if _loads_as_modules_do(model):
            check_shapes(model, {name: entry.shape for name, entry in header.items()})
        return {name: _read_entry(file, start, entry) for name, entry in header.items()}


def _loads_as_modules_do(model: Any) -> bool:
    """Whether the names and shapes that a model takes are known; other models say it when they have the arrays."""
    return getattr(model.load_state_dict, "__func__", None) is Module.load_state_dict


def _header(file: BinaryIO, size: int, model: Any) -> dict[str, _Entry]:
    """Return the entries by name, sorted, from a header that keeps the rules of the format, all of which are checked:
    the data has no gap, no overlap, and nothing before or after it. If there are very many entries, it is seen first
    whether the model has such names."""
    head = file.read(8)
    length = int.from_bytes(head, "little")
    if len(head) < 8 or not 2 <= length <= min(size - 8, _LONGEST_HEADER):
        raise _damaged(f"its first 8 bytes say that its header has {length:,} bytes, of {size:,} in the file")
    text = file.read(length)
    try:
        if not text.startswith(b"{"):
            raise _damaged("its header does not begin with {")
        found = json.loads(text.decode(), object_pairs_hook=_unique, parse_int=_natural, parse_constant=_no_number)
    except (UnicodeError, json.JSONDecodeError, RecursionError) as error:
        raise _damaged(f"its header is not JSON: {checks.shown(error, 200)}") from None
    metadata = found.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise _damaged("its metadata must be texts by name")
    if len(found) > _MANY and _loads_as_modules_do(model):
        check_names(model, found)
    entries = {name: _entry(name, found[name]) for name in sorted(found)}
    end = 0
    for name, entry in sorted(entries.items(), key=lambda item: item[1][2:]):
        if entry.begin != end:
            raise _damaged(f"the data of {checks.shown(name)} must begin at {end}, got {entry.begin}")
        end = entry.end
    if size - 8 - length != end:
        raise _damaged(f"its entries have {end:,} bytes together, and {size - 8 - length:,} follow the header")
    return entries


def _entry(name: str, found: Any) -> _Entry:
    """Return what a header says of one entry."""
    try:
        name.encode()   # half a surrogate pair is not a text
        dtype, shape, (begin, end) = found["dtype"], found["shape"], found["data_offsets"]
        is_whole = all(type(x) is int and 0 <= x < 1 << 63 for x in [*shape, begin, end])
    except (UnicodeError, TypeError, KeyError, ValueError):
        is_whole = False
    if not is_whole or not isinstance(dtype, str) or not isinstance(shape, list):
        raise _damaged(f"{checks.shown(name)} must have a dtype, a shape and two data_offsets")
    if dtype not in _DTYPES and dtype not in _OTHER_DTYPES:
        raise _damaged(f"{checks.shown(name)} has the dtype {checks.shown(dtype)}, which the format does not have")
    if len(shape) > _MOST_DIMENSIONS:
        raise _damaged(f"{checks.shown(name)} has {len(shape)} dimensions, NumPy takes {_MOST_DIMENSIONS} at most")
    if dtype in _DTYPES and end - begin != math.prod(shape) * int(_DTYPES[dtype][-1]):
        raise _damaged(f"{checks.shown(name)} of shape {tuple(shape)} and dtype {dtype} has {end - begin:,} bytes")
    if begin > end:
        raise _damaged(f"{checks.shown(name)} ends before it begins")
    return _Entry(dtype, tuple(shape), begin, end)


def _read_entry(file: BinaryIO, start: int, entry: _Entry) -> np.ndarray:
    """Return the numbers of an entry as float64. They are read piece by piece, so that nothing is held twice."""
    import numpy as np

    array = np.empty(math.prod(entry.shape))
    file.seek(start + entry.begin)
    for first in range(0, array.size, _PIECE):
        part = array[first : first + _PIECE]
        content = file.read(part.size * int(_DTYPES[entry.dtype][-1]))
        try:
            numbers = np.frombuffer(content, _DTYPES[entry.dtype])
            with np.errstate(invalid="ignore"):   # a float32 may be a signalling nan
                part[:] = numbers
        except ValueError:
            raise _damaged("it became shorter while it was read") from None
    return array.reshape(entry.shape)


def _damaged(what: str) -> ValueError:
    return ValueError(f"it is not a safetensors file, or a damaged one: {what}")


def _natural(text: str) -> int:
    """Return an integer of the header; -1, which no field may be, for what is negative or has more than 20 digits."""
    return int(text) if text.isdecimal() and len(text) <= 20 else -1


def _no_number(text: str) -> None:
    raise _damaged(f"its header is not JSON: it has {text}")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return a dict of the pairs, in which no name may come twice: which of them holds would be up to the reader."""
    entries = dict(pairs)
    if len(entries) != len(pairs):
        some = ", ".join(checks.shown(name) for name, _ in pairs[:20])
        raise ValueError(f"a name comes twice in its header, among {some}")
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
