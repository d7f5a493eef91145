"""The states of optimizers and of schedules, nests of numbers and arrays, as arrays by name and a text of the rest."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from microgradc import checks
from microgradc.container import unique

if TYPE_CHECKING:
    import numpy as np

_MOST_LEVELS = 20


def packed(state: dict[str, Any]) -> tuple[dict[str, np.ndarray], str]:
    """Return the arrays of a state by name, and a text that says where they and all else belong.

    Raises:
        TypeError: something in the state is neither a number, a text nor an array.
    """
    arrays: dict[str, np.ndarray] = {}
    return arrays, json.dumps(_pack(state, "state_dict()", "", arrays), sort_keys=True, allow_nan=False)


def unpacked(text: str, arrays: Mapping[str, np.ndarray], most: int) -> Any:
    """Return what `packed` was given.

    Args:
        text, arrays: what it returned.
        most: how many parameters there are.

    Raises:
        ValueError: the text is something else.
    """
    try:
        found = json.loads(text, object_pairs_hook=unique, parse_constant=_refuse)
        return _unpack(found, arrays, most)
    except RecursionError:
        raise ValueError("its description of a state is nested too deeply") from None


def _pack(value: Any, place: str, name: str, arrays: dict[str, np.ndarray]) -> Any:
    import numpy as np

    if isinstance(value, np.ndarray):
        arrays[name] = checks.real_array(value, place).astype(float, "C", copy=False)
        return {"array": name}
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return {"float": repr(float(value))}
    if value is None or isinstance(value, (bool, str, int, float)):
        return value
    if isinstance(value, dict) and all(isinstance(key, str) for key in value):
        return {"dict": {k: _pack(v, f"{place}[{k!r}]", f"{name}.{k}".lstrip("."), arrays) for k, v in value.items()}}
    if isinstance(value, list) and len(value) > 1 and type(value[0]) is int:
        begin, end = value[0], value[0] + len(value)
        if value == list(range(begin, end)):
            return {"range": [begin, end]}
    if isinstance(value, (list, tuple)):
        entries = [_pack(v, f"{place}[{i}]", f"{name}.{i}".lstrip("."), arrays) for i, v in enumerate(value)]
        return {"tuple": entries} if isinstance(value, tuple) else entries
    expected = "a number, a text, an array or a nest of these"
    raise TypeError(f"{place} must be {expected}, got {value!r:.60}; pickle keeps it")


def _unpack(found: Any, arrays: Mapping[str, np.ndarray], most: int, level: int = 0) -> Any:
    if level > _MOST_LEVELS:
        raise ValueError("its description of a state is nested too deeply")
    if isinstance(found, list):
        return [_unpack(entry, arrays, most, level + 1) for entry in found]
    if not isinstance(found, dict):
        return found
    match list(found.items()):
        case [("dict", dict(entries))]:
            return {key: _unpack(entry, arrays, most, level + 1) for key, entry in entries.items()}
        case [("tuple", list(entries))]:
            return tuple(_unpack(entry, arrays, most, level + 1) for entry in entries)
        case [("array", str(name))] if name in arrays:
            return arrays[name]
        case [("float", ("inf" | "-inf" | "nan") as text)]:
            return float(text)
        case [("range", [int(begin), int(end)])] if 0 <= begin <= end <= most:
            return list(range(begin, end))
    raise ValueError(f"its description of a state has {checks.shown(found)}")


def _refuse(text: str) -> None:
    raise ValueError(f"its description of a state has {text}")
