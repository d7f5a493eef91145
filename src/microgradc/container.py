"""Files in the safetensors format: their headers, all of whose rules are checked, and writing one whole or not at all.

Nothing in such a file is run when it is read.
"""

from __future__ import annotations

import errno
import json
import math
import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple

from microgradc import checks

if TYPE_CHECKING:
    import numpy as np

# The entries that `load` takes, all of which a float64 holds exactly.
DTYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2"}
_OTHER_DTYPES = frozenset(
    "BOOL I8 I16 I32 I64 U8 U16 U32 U64 BF16 C64 F4 F6_E2M3 F6_E3M2 "
    "F8_E4M3 F8_E5M2 F8_E8M0 F8_E4M3FNUZ F8_E5M2FNUZ".split()
)
_LONGEST_HEADER = 100_000_000   # bytes, the format's own limit
_MOST_DIMENSIONS = 32           # NumPy 1's
_MANY = 1000                    # entries
_PIECE = 1 << 16                # numbers that are read at a time


class Entry(NamedTuple):
    """Where numbers lie in a file, as its header says."""

    dtype: str
    shape: tuple[int, ...]
    begin: int
    end: int


class Header(NamedTuple):
    """What the header of a file says."""

    entries: dict[str, Entry]    # by name, sorted
    metadata: dict[str, str]
    start: int                   # where the data begin in the file


def write(path: Path, content: bytes) -> None:
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


def read_header(file: BinaryIO, size: int, look_at: Callable[[Mapping[str, Any]], None] | None = None) -> Header:
    """Return the header of a file: that it keeps the rules of the format is checked, and that the data has no gap, no
    overlap, and nothing before or after it.

    Args:
        file: the file, at its beginning.
        size: how many bytes it has.
        look_at: what to call with the names of the entries before anything else is done with them, if there are very
            many; what it raises is raised.

    Raises:
        ValueError: it is not a safetensors file, or a damaged one.
    """
    head = file.read(8)
    length = int.from_bytes(head, "little")
    if len(head) < 8 or not 2 <= length <= min(size - 8, _LONGEST_HEADER):
        raise damaged(f"its first 8 bytes say that its header has {length:,} bytes, of {size:,} in the file")
    text = file.read(length)
    try:
        if not text.startswith(b"{"):
            raise damaged("its header does not begin with {")
        found = json.loads(text.decode(), object_pairs_hook=unique, parse_int=_natural, parse_constant=_no_number)
    except (UnicodeError, json.JSONDecodeError, RecursionError) as error:
        raise damaged(f"its header is not JSON: {checks.shown(error, 200)}") from None
    metadata = found.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise damaged("its metadata must be texts by name")
    if len(found) > _MANY and look_at is not None:
        look_at(found)
    entries = {name: _entry(name, found[name]) for name in sorted(found)}
    end = 0
    for name, entry in sorted(entries.items(), key=lambda item: item[1][2:]):
        if entry.begin != end:
            raise damaged(f"the data of {checks.shown(name)} must begin at {end}, got {entry.begin}")
        end = entry.end
    if size - 8 - length != end:
        raise damaged(f"its entries have {end:,} bytes together, and {size - 8 - length:,} follow the header")
    return Header(entries, metadata, 8 + length)


def read_entry(file: BinaryIO, start: int, entry: Entry) -> np.ndarray:
    """Return the numbers of an entry as float64. They are read piece by piece, so that nothing is held twice.

    Args:
        file: the file.
        start: where its data begin.
        entry: one whose dtype is in DTYPES.

    Raises:
        ValueError: the file became shorter.
    """
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


def _entry(name: str, found: Any) -> Entry:
    """Return what a header says of one entry."""
    try:
        name.encode()   # half a surrogate pair is not a text
        dtype, shape, (begin, end) = found["dtype"], found["shape"], found["data_offsets"]
        is_whole = all(type(x) is int and 0 <= x < 1 << 63 for x in [*shape, begin, end])
    except (UnicodeError, TypeError, KeyError, ValueError):
        is_whole = False
    if not is_whole or not isinstance(dtype, str) or not isinstance(shape, list):
        raise damaged(f"{checks.shown(name)} must have a dtype, a shape and two data_offsets")
    if dtype not in DTYPES and dtype not in _OTHER_DTYPES:
        raise damaged(f"{checks.shown(name)} has the dtype {checks.shown(dtype)}, which the format does not have")
    if len(shape) > _MOST_DIMENSIONS:
        raise damaged(f"{checks.shown(name)} has {len(shape)} dimensions, NumPy takes {_MOST_DIMENSIONS} at most")
    if dtype in DTYPES and end - begin != math.prod(shape) * int(DTYPES[dtype][-1]):
        raise damaged(f"{checks.shown(name)} of shape {tuple(shape)} and dtype {dtype} has {end - begin:,} bytes")
    if begin > end:
        raise damaged(f"{checks.shown(name)} ends before it begins")
    return Entry(dtype, tuple(shape), begin, end)


def damaged(what: str) -> ValueError:
    """Return the error for a file that is not in the format."""
    return ValueError(f"it is not a safetensors file, or a damaged one: {what}")


def _natural(text: str) -> int:
    """Return an integer of the header; -1, which no field may be, for what is negative or has more than 20 digits."""
    return int(text) if text.isdecimal() and len(text) <= 20 else -1


def _no_number(text: str) -> None:
    raise damaged(f"its header is not JSON: it has {text}")


def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return a dict of the pairs, in which no name may come twice: which of them holds would be up to the reader."""
    entries = dict(pairs)
    if len(entries) != len(pairs):
        some = ", ".join(checks.shown(name) for name, _ in pairs[:20])
        raise ValueError(f"a name comes twice in its header, among {some}")
    return entries


def check_path(path: str | os.PathLike[str]) -> Path:
    """Return the path, which must not lead to a folder, a device or a pipe: these end badly, or not at all."""
    path = Path(path)
    if path.exists() and not path.is_file():
        kind = "folder" if path.is_dir() else "device or pipe"
        raise ValueError(f"path must be that of a file, got {path}, which is a {kind}")
    return path
