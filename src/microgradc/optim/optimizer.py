"""What all optimizers share: groups of parameters with settings and state, and a step that checks before it changes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from copy import deepcopy
from functools import partial
from operator import is_
from typing import Any, ClassVar, TypeVar, overload

import numpy as np

from microgradc import checks
from microgradc.checks import FROM_0_TO_1, NOT_NEGATIVE, POSITIVE, Range
from microgradc.engine.value import Value
from microgradc.optim import updates
from microgradc.optim.group import Group, checked_state, copied_settings, listed, parameters

_OURS = {"step", "zero_grad", "_update"}     # the methods that say what a step is

_Loss = TypeVar("_Loss")
Check = Callable[[Any, str], Any]     # takes a value and its name in errors; returns the value, as it is used


def within(allowed: Range) -> Check:
    """Return the check of a number that must be in this range."""
    return partial(checks.number, within=allowed)


class Optimizer:
    """The base of the optimizers, which change parameters along their gradients. Use one of those.

    Args:
        params: an iterable of Values, all leaves; or of groups, dicts with the Values under "params" and settings.
        defaults: the settings of groups that have none of their own.

    Attributes:
        param_groups: a list of dicts, the settings of each group and its list of "params". Settings may be changed
            between steps.
        state: a list of dicts, each empty before the first step of its group: the number of steps, and float64 arrays
            with one number for each parameter.

    Raises:
        TypeError: params is not such an iterable, a parameter is not a Value, a setting has the wrong type.
        ValueError: there are no parameters, one occurs twice or is not a leaf, a setting is out of range.
    """

    defaults: dict[str, Any]

    # An optimizer gives the next two and `_update`.
    # The arrays of its state, by name; each with the setting that switches it on, or None if it is always there.
    _buffers: ClassVar[Mapping[str, str | None]] = {}
    # The checks of its settings, by name.
    _checks: ClassVar[Mapping[str, Check]] = {
        "lr": within(NOT_NEGATIVE),
        "eps": within(NOT_NEGATIVE),
        "weight_decay": within(NOT_NEGATIVE),
        "momentum": within(FROM_0_TO_1),
        "maximize": checks.flag,
    }

    # How many schedules (`lr_scheduler`) it has got; the rates that they set together, one for each group; and those in
    # a state that was loaded since, which have each schedule's share.
    _schedules: int = 0
    _scheduled: list[float]
    _loaded: Sequence[float] = ()

    def __init__(self, params: Iterable[Value] | Iterable[dict[str, Any]], defaults: dict[str, Any]) -> None:
        self.defaults = dict(defaults)
        self.defaults = self._checked(defaults, new=True)
        self.param_groups: list[dict[str, Any]] = []
        self.state: list[dict[str, Any]] = []
        self._groups: list[Group] = []     # made by steps, of the two lists above
        entries = listed(params)
        for group in entries if entries and isinstance(entries[0], dict) else [{"params": entries}]:
            self.add_param_group(group)

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a group of parameters, which the next steps change too.

        Args:
            param_group: a dict with the Values under "params"; settings that it lacks are the defaults.

        Raises:
            TypeError, ValueError: as for the optimizer itself; the optimizer stays as it was.
        """
        if not isinstance(param_group, dict) or "params" not in param_group:
            expected = "a dict with 'params', such as {'params': [v], 'lr': 0.1}"
            raise TypeError(f"a group must be {expected}, got {param_group!r:.60}")
        params = listed(param_group["params"])
        if not params:
            raise ValueError(
                "params is empty, there is nothing to optimize; a generator that was used up gives an empty list: "
                "pass model.parameters() anew, or a list"
            )
        place = {id(p): f"param_groups[{i}]" for i, group in enumerate(self.param_groups) for p in group["params"]}
        for i, p in enumerate(params):
            if id(p) in place and isinstance(p, Value):
                found = f"is in the optimizer already, in {place[id(p)]}"
                raise ValueError(f"params[{i}] {found}; a parameter must occur once")
            place[id(p)] = f"the same list, params[{i}]"
        updates.require_parameters(params, {})
        settings = self._checked({**self.defaults, **param_group}, new=True)
        self.param_groups.append({**param_group, **settings, "params": params})
        self.state.append({})

    @overload
    def step(self, closure: None = None) -> None: ...
    @overload
    def step(self, closure: Callable[[], _Loss]) -> _Loss: ...
    def step(self, closure: Callable[[], _Loss] | None = None) -> _Loss | None:
        """Change all parameters once, by their gradients.

        Args:
            closure: called before that, if given: a function that computes the gradients anew and returns the loss.

        Returns:
            What closure returned; None without it.

        Raises:
            TypeError, ValueError: a group was changed to something that cannot be used. No parameter has changed.
        """
        loss = None if closure is None else closure()
        self._begin()
        for group, state in zip(self._groups, self.state, strict=False):
            self._update(group)
            if group.first:
                state.update(group.buffers)
            state["step"] = group.step
        return loss

    def _begin(self) -> None:
        """Read the groups for a step; raise what it would raise."""
        if len(self.param_groups) != len(self.state):
            n, added = len(self.param_groups), len(self.state)
            raise ValueError(f"there are {n} param_groups, {added} of them added with add_param_group")
        while len(self._groups) < len(self.state):
            self._groups.append(Group())
        for i, (group, entry, state) in enumerate(zip(self._groups, self.param_groups, self.state, strict=False)):
            self._read(group, i, entry, state)

    def _hold(self) -> list[tuple[Group, updates.Held]] | None:
        """Return the groups, each with the rule of its update, for steps that a loop in C takes.

        It returns None where a class or an object has methods of its own, which alone know what a step is.
        """
        if vars(self).keys() & _OURS or any(
            not getattr(type(self), name).__module__.startswith("microgradc.optim.") for name in _OURS
        ):
            return None
        self._begin()
        return [(group, self._held(group)) for group in self._groups[: len(self.state)]]

    def _held(self, group: Group) -> updates.Held:
        group.held = held = updates.Held()
        try:
            self._update(group)
        finally:
            group.held = None
        return held

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Set the gradient of every parameter to 0, before the next `backward()`.

        Args:
            set_to_none: PyTorch's; a gradient that is not there is 0 here.
        """
        checks.flag(set_to_none, "set_to_none")
        for i, entry in enumerate(self.param_groups):
            known = self._groups[i].known if i < len(self._groups) else updates.Known()
            updates.zero_grad(parameters(entry, i), known)

    def state_dict(self) -> dict[str, Any]:
        """Return what training needs to go on later: a copy of the state and of the settings.

        Returns:
            A dict of "state", one dict of numbers and float64 arrays for each group, and "param_groups", the dicts of
            settings, with the numbers of the parameters, counted over all groups, in place of the parameters.
        """
        groups, begin = [], 0
        for i, entry in enumerate(self.param_groups):
            end = begin + len(parameters(entry, i))
            groups.append({**copied_settings(entry), "params": list(range(begin, end))})
            begin = end
        return {"state": deepcopy(self.state), "param_groups": groups}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from what `state_dict` returned, of an optimizer of the same kind with groups of the same sizes.

        Raises:
            TypeError: state_dict or something in it has the wrong type; the optimizer stays as it was.
            ValueError: state_dict is another optimizer's, or something in it is out of range; the same.
        """
        if not isinstance(state_dict, dict) or not state_dict.keys() >= {"state", "param_groups"}:
            expected = "a dict with 'state' and 'param_groups', as state_dict() returns"
            raise TypeError(f"state_dict must be {expected}, got {state_dict!r:.60}")
        groups, states = state_dict["param_groups"], state_dict["state"]
        for name, entries in (("param_groups", groups), ("state", states)):
            if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
                raise TypeError(f"{name} must be a list of dicts, got {entries!r:.60}")
            if len(entries) != len(self.param_groups):
                expected = f"{len(self.param_groups)} entries, one for each group"
                raise ValueError(f"{name} must have {expected}, got {len(entries)}")
        loaded = []
        for i, (entry, group, state) in enumerate(zip(self.param_groups, groups, states, strict=True)):
            params, saved = parameters(entry, i), group.get("params")
            expected = f"param_groups[{i}]['params'] must have {len(params)} entries, one for each parameter"
            if not isinstance(saved, list):
                raise TypeError(f"{expected}, got {saved!r:.60}")
            if len(saved) != len(params):
                raise ValueError(f"{expected}, got {len(saved)}")
            settings = self._checked(group, f"param_groups[{i}]")
            new_state = checked_state(state, f"state[{i}]", len(params), self._buffers, type(self).__name__)
            loaded.append(({**copied_settings(group), **settings, "params": params}, new_state))
        self.state = [state for _, state in loaded]
        for entry, (new, _) in zip(self.param_groups, loaded, strict=True):
            entry.clear()
            entry.update(new)
        self._loaded = self._scheduled = [entry["lr"] for entry in self.param_groups]     # schedules go on from here

    def __getstate__(self) -> dict[str, Any]:
        """Return what a copy or a pickle has: not the groups, which refer to these very parameters."""
        return {name: value for name, value in vars(self).items() if name != "_groups"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state, _groups=[])
        for former in ("_seen", "_known"):     # in pickles of version 0.1
            vars(self).pop(former, None)

    def __repr__(self) -> str:
        lines = [f"{type(self).__name__} ("]
        for i, entry in enumerate(self.param_groups):
            lines += [f"Parameter Group {i}", f"    params: {len(entry['params'])} Values"]
            lines += [f"    {name}: {entry[name]}" for name in sorted(entry) if name != "params"]
        return "\n".join([*lines, ")"])

    def _update(self, group: Group) -> None:
        """Change the parameters of a group and its buffers."""
        raise NotImplementedError(f"{type(self).__name__} has no rule for a step; use SGD, Adam or another")

    def _require_consistent(self, settings: dict[str, Any]) -> None:
        """Raise ValueError if settings that are right alone are wrong together."""

    def _checked(self, settings: dict[str, Any], place: str = "", new: bool = False) -> dict[str, Any]:
        """Return those of the settings that have a default, checked; place says in errors where they are from."""
        checked = {}
        for key in self.defaults:
            name = f"{place}[{key!r}]" if place else key
            if key not in settings:
                raise ValueError(f"{name} is missing")
            # A new learning rate is positive. A schedule may take it down to 0.
            check = within(POSITIVE) if new and key == "lr" else self._checks.get(key)
            checked[key] = check(settings[key], name) if check else settings[key]
        self._require_consistent(checked)
        return checked

    def _checked_again(
        self, entry: dict[str, Any], place: str, settings: dict[str, Any], before: list[Any] | None
    ) -> dict[str, Any]:
        """Return a group's settings, of which those are checked that were others before: a schedule changes one."""
        if before is None or len(before) != len(self.defaults) or not self.defaults.keys() <= entry.keys():
            return self._checked(entry, place)
        checked = dict(settings)
        for key, value in zip(self.defaults, before, strict=True):
            if entry[key] is not value:
                check = self._checks.get(key)
                checked[key] = check(entry[key], f"{place}[{key!r}]") if check else entry[key]
        self._require_consistent(checked)
        return checked

    def _read(self, group: Group, i: int, entry: dict[str, Any], state: dict[str, Any]) -> None:
        """Give group i what its entries in `param_groups` and `state` have now; raise what its update would raise."""
        params = parameters(entry, i)
        if not isinstance(state, dict):
            raise TypeError(f"state[{i}] must be a dict, got {state!r:.60}")
        given = list(map(entry.get, self.defaults))
        if group.given is None or len(given) != len(group.given) or not all(map(is_, given, group.given)):
            before, group.given = group.given, None
            group.settings = settings = self._checked_again(entry, f"param_groups[{i}]", group.settings, before)
            group.names = [name for name, switch in self._buffers.items() if switch is None or settings[switch]]
            # Objects of other types may change and still be the same.
            if all(type(value) in (float, int, bool, tuple) for value in given):
                group.given = given
        group.params, group.buffers, group.first = params, {}, False
        for name in group.names:
            if name in state:
                group.buffers[name] = state[name]
            else:
                group.buffers[name] = np.zeros(len(params))
                group.first = True
        step = state.get("step", 0)
        if type(step) is not int or step < 0:
            step = checks.integer(step, f"state[{i}]['step']", 0)
        group.step = step + 1
        if len(self.param_groups) > 1:     # else the update checks in time
            updates.require_parameters(params, group.buffers, group.known)
