"""A group of parameters: what a step needs of it, and what its entries in an optimizer's lists may be."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from typing import Any

import numpy as np

from microgradc import checks
from microgradc.engine.value import Value
from microgradc.optim import updates


class Group:
    """What a step needs of a group of parameters, checked, and what is remembered for speed.

    An optimizer makes one for each entry of `param_groups`. Users change those entries, so each step reads them anew.

    Attributes:
        params: the list of parameters.
        settings: the settings that have a default.
        buffers: the arrays of the state that these settings ask for, by name.
        step: the number of the step that is taken, from 1.
        first: whether a buffer is new, all 0.
        known: the parameters that have passed all checks.
        held: where the rule of the update is put for a loop in C; None for the update itself.
    """

    known: updates.Known
    step: int
    first: bool

    __slots__ = ("buffers", "first", "given", "held", "known", "names", "params", "settings", "step")

    def __init__(self) -> None:
        self.params: list[Value] = []
        self.settings: dict[str, Any] = {}
        self.buffers: dict[str, Any] = {}
        self.step, self.first = 0, False
        self.known = updates.Known()
        self.held: updates.Held | None = None
        self.given: list[Any] | None = None     # what the settings were made of
        self.names: list[str] = []              # of the buffers


def listed(params: Any) -> list[Any]:
    """Return the entries of an ordered iterable as a list of its own."""
    expected = "params must be an iterable of Values, such as model.parameters(), or of dicts with 'params'"
    if isinstance(params, Value):
        raise TypeError(f"{expected}, got a single Value; pass a list, [value]")
    if isinstance(params, dict):
        advice = "pass [group] for one group, list(d.values()) for the Values of a dict"
        raise TypeError(f"{expected}, got a dict; {advice}")
    if isinstance(params, (set, frozenset)):
        raise TypeError(f"{expected}, got a set, which has no order; pass a list")
    iterable = hasattr(params, "__iter__") or hasattr(params, "__getitem__")
    if isinstance(params, (str, bytes)) or hasattr(params, "parameters") or not iterable:
        raise TypeError(f"{expected}, got {type(params).__name__} {params!r:.60}")
    return list(params)


def parameters(entry: dict[str, Any], i: int) -> list[Value]:
    """Return the parameters of param_groups[i]."""
    if not isinstance(entry, dict):
        raise TypeError(f"param_groups[{i}] must be a dict, got {entry!r:.60}")
    params = entry.get("params")
    if type(params) is not list:
        raise TypeError(f"param_groups[{i}]['params'] must be a list of Values, got {params!r:.60}")
    return params


def copied_settings(entry: dict[str, Any]) -> dict[str, Any]:
    """Return a copy of the settings of a group."""
    return {key: deepcopy(value) for key, value in entry.items() if key != "params"}


def checked_state(
    state: dict[str, Any], name: str, n: int, buffers: Mapping[str, str | None], optimizer: str
) -> dict[str, Any]:
    """Return a checked copy of the state of a group with n parameters; the names of its buffers are the optimizer's."""
    if not state:
        return {}
    if unknown := state.keys() - buffers.keys() - {"step"}:
        raise ValueError(f"{name} has {sorted(map(str, unknown))}, unknown to {optimizer}; is it another optimizer's?")
    if missing := {"step", *(key for key, switch in buffers.items() if switch is None)} - state.keys():
        raise ValueError(f"{name} lacks {sorted(missing)}; is it another optimizer's?")
    checked: dict[str, Any] = {"step": checks.integer(state["step"], f"{name}['step']", 0)}
    for key in state.keys() - {"step"}:
        array = np.asarray(state[key])
        are_numbers = array.dtype.kind in "fiu"
        if not are_numbers or array.shape != (n,):
            expected, found = f"{n} numbers, one for each parameter", f"{array.dtype} of shape {array.shape}"
            raise (ValueError if are_numbers else TypeError)(f"{name}[{key!r}] must be {expected}, got {found}")
        checked[key] = array.astype(np.float64)
    return checked
