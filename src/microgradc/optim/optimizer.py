"""Optimizers: groups of parameters, their settings and state, and the rules of a step."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from copy import deepcopy
from operator import is_
from typing import Any, ClassVar

import numpy as np

from microgradc import checks
from microgradc.checks import BELOW_1, FINITE, FROM_0_TO_1, NOT_NEGATIVE, POSITIVE, Range
from microgradc.engine.value import Value, zero_grad
from microgradc.optim import updates

__all__ = ["SGD", "Adam", "AdamW", "Optimizer", "RMSprop"]

# A new learning rate is positive; a schedule may take it down to 0.
_RANGES = {
    "lr": NOT_NEGATIVE,
    "momentum": FROM_0_TO_1,
    "dampening": FINITE,
    "weight_decay": NOT_NEGATIVE,
    "eps": NOT_NEGATIVE,
    "alpha": FROM_0_TO_1,
}
_FLAGS = {"nesterov", "maximize", "amsgrad", "centered"}


class Optimizer:
    """What takes steps that change parameters along their gradients. The base of the optimizers; use one of those.

    Args:
        params: an iterable of Values, leaves each; or of groups, dicts with the Values under "params" and settings of their own.
        defaults: the settings of groups that have none of their own.

    Attributes:
        param_groups: a list of dicts, the settings of each group and its list of "params". Settings may be changed between steps.
        state: for each group a dict, empty before its first step: the number of steps, and float64 arrays with one number for
            each parameter.

    Raises:
        TypeError: params is no such iterable, a parameter is no Value, a setting has the wrong type.
        ValueError: there are no parameters, one occurs twice or is no leaf, a setting is out of range.
    """

    # The arrays of the state, by name; each with the setting that switches it on, or None if it is always there.
    _buffers: ClassVar[dict[str, str | None]] = {}

    def __init__(self, params: Iterable[Value] | Iterable[dict[str, Any]], defaults: dict[str, Any]) -> None:
        self.defaults = dict(defaults)
        self.defaults = self._checked(defaults, lr=POSITIVE)
        self.param_groups: list[dict[str, Any]] = []
        self.state: list[dict[str, Any]] = []
        self._seen: dict[int, tuple[list[Any], dict[str, Any]]] = {}
        self._known: defaultdict[int, updates.Known] = defaultdict(updates.Known)
        for group in _groups(params):
            self.add_param_group(group)

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a group of parameters, which the next steps change too.

        Args:
            param_group: a dict with the Values under "params"; settings that it lacks are the defaults.

        Raises:
            TypeError, ValueError: as for the optimizer itself; the optimizer stays as it was.
        """
        if not isinstance(param_group, dict) or "params" not in param_group:
            raise TypeError(f"a group must be a dict with 'params', such as {{'params': [v], 'lr': 0.1}}, got {param_group!r:.60}")
        params = listed(param_group["params"])
        if not params:
            raise ValueError(
                "params is empty, there is nothing to optimize; a generator that was used up gives an empty list: "
                "pass model.parameters() anew, or a list"
            )
        updates.check(params, {})
        place = {id(p): f"param_groups[{i}]" for i, group in enumerate(self.param_groups) for p in group["params"]}
        for i, p in enumerate(params):
            if id(p) in place:
                raise ValueError(f"params[{i}] is in the optimizer already, in {place[id(p)]}; a parameter must occur once")
            place[id(p)] = f"the same list, params[{i}]"
        settings = self._checked({**self.defaults, **param_group}, lr=POSITIVE)
        self.param_groups.append({**param_group, **settings, "params": params})
        self.state.append({})

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Change all parameters once, by their gradients.

        Args:
            closure: called before that, if given: a function that computes the gradients anew and returns the loss.

        Returns:
            What closure returned; None without it.

        Raises:
            TypeError, ValueError: a group was changed to something that cannot be used. No parameter has changed.
        """
        loss = None if closure is None else closure()
        if len(self.param_groups) != len(self.state):
            raise ValueError(f"there are {len(self.param_groups)} param_groups, {len(self.state)} of them added with add_param_group")
        plans = []
        for i, (group, state) in enumerate(zip(self.param_groups, self.state, strict=True)):
            params = self._params(i)
            settings = self._settings(i, group)
            buffers = {}
            for name, switch in self._buffers.items():
                if switch is None or settings[switch]:
                    buffers[name] = state[name] if name in state else np.zeros(len(params))
            if len(self.param_groups) > 1:     # else the update checks in time
                updates.check(params, buffers)
            step = state.get("step", 0)
            if type(step) is not int or step < 0:
                step = checks.integer(step, f"state[{i}]['step']", 0)
            plans.append((i, params, settings, buffers, step + 1, state))
        for i, params, settings, buffers, step, state in plans:
            self._update(i, params, settings, buffers, step, first=not buffers.keys() <= state.keys())
            state.update(buffers, step=step)
        return loss

    def zero_grad(self) -> None:
        """Set the gradient of every parameter to 0, before the next `backward()`."""
        for i in range(len(self.param_groups)):
            zero_grad(self._params(i))

    def state_dict(self) -> dict[str, Any]:
        """Return what training needs to go on later: a copy of the state and of the settings.

        Returns:
            A dict of "state", one dict of numbers and float64 arrays for each group, and "param_groups", the dicts of settings, with the
            numbers of the parameters, counted over all groups, in place of the parameters.
        """
        groups, begin = [], 0
        for i, group in enumerate(self.param_groups):
            end = begin + len(self._params(i))
            groups.append({**{k: deepcopy(v) for k, v in group.items() if k != "params"}, "params": list(range(begin, end))})
            begin = end
        return {"state": deepcopy(self.state), "param_groups": groups}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from what `state_dict` returned, of an optimizer of the same kind, with as many parameters in each group.

        Raises:
            TypeError, ValueError: state_dict does not fit; the optimizer stays as it was.
        """
        if not isinstance(state_dict, dict) or not state_dict.keys() >= {"state", "param_groups"}:
            raise TypeError(f"state_dict must be a dict with 'state' and 'param_groups', as state_dict() returns, got {state_dict!r:.60}")
        groups, states = state_dict["param_groups"], state_dict["state"]
        for name, entries in (("param_groups", groups), ("state", states)):
            if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
                raise TypeError(f"{name} must be a list of dicts, got {entries!r:.60}")
            if len(entries) != len(self.param_groups):
                raise ValueError(f"{name} must have {len(self.param_groups)} entries, one for each group, got {len(entries)}")
        loaded = []
        for i, (group, state) in enumerate(zip(groups, states, strict=True)):
            params = self._params(i)
            saved = group.get("params")
            if not isinstance(saved, list) or len(saved) != len(params):
                found = f"{len(saved)}" if isinstance(saved, list) else repr(saved)
                raise ValueError(f"param_groups[{i}]['params'] must have {len(params)} entries, one for each parameter, got {found}")
            settings = self._checked(group, f"param_groups[{i}]")
            others = {k: deepcopy(v) for k, v in group.items() if k != "params"}
            loaded.append(({**others, **settings, "params": params}, self._loaded_state(i, state, len(params))))
        self.state = [state for _, state in loaded]
        for group, (new, _) in zip(self.param_groups, loaded, strict=True):
            group.clear()
            group.update(new)

    def __repr__(self) -> str:
        lines = [f"{type(self).__name__} ("]
        for i, group in enumerate(self.param_groups):
            lines += [f"Parameter Group {i}", f"    params: {len(group['params'])} Values"]
            lines += [f"    {name}: {group[name]}" for name in sorted(group) if name != "params"]
        return "\n".join([*lines, ")"])

    def _update(
        self, i: int, params: list[Value], settings: dict[str, Any], buffers: dict[str, Any], step: int, first: bool
    ) -> None:
        """Change the parameters of group i. `step` counts from 1; `first`: the buffers are new."""
        raise NotImplementedError(f"{type(self).__name__} has no rule for a step; use SGD, Adam, AdamW or RMSprop")

    def _checked(self, settings: dict[str, Any], place: str = "", lr: Range = NOT_NEGATIVE) -> dict[str, Any]:
        """Return those of the settings that have a default, checked; place says in errors where they are from."""
        checked = {}
        for key in self.defaults:
            name = f"{place}[{key!r}]" if place else key
            if key not in settings:
                raise ValueError(f"{name} is missing")
            value = settings[key]
            if key in _RANGES:
                value = checks.number(value, name, lr if key == "lr" else _RANGES[key])
            elif key == "betas":
                value = checks.pair(value, name, BELOW_1)
            elif key in _FLAGS:
                value = checks.flag(value, name)
            checked[key] = value
        return checked

    def _settings(self, i: int, group: dict[str, Any]) -> dict[str, Any]:
        """Return the checked settings of group i; those of the last step, if the group has the same objects still."""
        values = list(map(group.get, self.defaults))
        seen, settings = self._seen.get(i, ([], {}))
        if not seen or not all(map(is_, values, seen)):
            settings = self._checked(group, f"param_groups[{i}]")
            if all(type(value) in (float, int, bool, tuple) for value in values):    # others may change and be the same object
                self._seen[i] = values, settings
        return settings

    def _params(self, i: int) -> list[Value]:
        params = self.param_groups[i].get("params")
        if type(params) is not list:
            raise TypeError(f"param_groups[{i}]['params'] must be a list of Values, got {params!r:.60}")
        return params

    def _loaded_state(self, i: int, state: dict[str, Any], n: int) -> dict[str, Any]:
        """Return a checked copy of the state of group i, with n parameters."""
        if not state:
            return {}
        name = f"state[{i}]"
        if unknown := state.keys() - self._buffers.keys() - {"step"}:
            raise ValueError(f"{name} has {sorted(map(str, unknown))}, unknown to {type(self).__name__}; is it another optimizer's?")
        if missing := {"step", *(key for key, switch in self._buffers.items() if switch is None)} - state.keys():
            raise ValueError(f"{name} lacks {sorted(missing)}; is it another optimizer's?")
        loaded: dict[str, Any] = {"step": checks.integer(state["step"], f"{name}['step']", 0)}
        for key in state.keys() - {"step"}:
            array = np.asarray(state[key])
            if array.dtype.kind not in "fiu" or array.shape != (n,):
                raise ValueError(f"{name}[{key!r}] must be {n} numbers, one for each parameter, got {array.dtype} of shape {array.shape}")
            loaded[key] = array.astype(np.float64)
        return loaded


class SGD(Optimizer):
    """Stochastic gradient descent, with momentum if asked: b ← momentum b + (1 - dampening) g, p ← p - lr b.

    Args:
        params: an iterable of Values or of groups, as for `Optimizer`.
        lr: the learning rate.
        momentum: the share of the last step's direction that is kept, in [0, 1].
        dampening: what is taken off the gradient's share in it.
        weight_decay: g ← g + weight_decay p, the gradient of an L2 penalty.
        nesterov: whether to look ahead, p ← p - lr (g + momentum b) (Sutskever et al., 2013).
        maximize: whether to go up instead of down.

    >>> w = Value(3.0)
    >>> optimizer = SGD([w], lr=0.1)
    >>> for _ in range(100):
    ...     optimizer.zero_grad()
    ...     ((w - 1) ** 2).backward()
    ...     optimizer.step()
    >>> round(w.data, 6)
    1.0
    """

    _buffers: ClassVar[dict[str, str | None]] = {"momentum_buffer": "momentum"}

    def __init__(
        self,
        params: Iterable[Value] | Iterable[dict[str, Any]],
        lr: float = 1e-3,
        momentum: float = 0,
        dampening: float = 0,
        weight_decay: float = 0,
        nesterov: bool = False,
        *,
        maximize: bool = False,
    ) -> None:
        defaults = {"lr": lr, "momentum": momentum, "dampening": dampening, "weight_decay": weight_decay}
        super().__init__(params, {**defaults, "nesterov": nesterov, "maximize": maximize})

    def _checked(self, settings: dict[str, Any], place: str = "", lr: Range = NOT_NEGATIVE) -> dict[str, Any]:
        checked = super()._checked(settings, place, lr)
        if checked["nesterov"] and not (checked["momentum"] > 0 and checked["dampening"] == 0):
            raise ValueError(f"nesterov needs a momentum, got {checked['momentum']}, and no dampening, got {checked['dampening']}")
        return checked

    def _update(
        self, i: int, params: list[Value], settings: dict[str, Any], buffers: dict[str, Any], step: int, first: bool
    ) -> None:
        updates.sgd(params, self._known[i], buffers.get("momentum_buffer"), first, **settings)


class Adam(Optimizer):
    """Adam: p ← p - lr m / (sqrt(v) + eps), m and v running means of g and g², each corrected for their start at 0.

    Kingma and Ba, "Adam: A Method for Stochastic Optimization", 2015.

    Args:
        params: an iterable of Values or of groups, as for `Optimizer`.
        lr: the learning rate.
        betas: how much of the running means of g and of g² a step keeps, both in [0, 1).
        eps: what keeps the denominator from 0.
        weight_decay: g ← g + weight_decay p, the gradient of an L2 penalty.
        amsgrad: whether v is the largest so far (Reddi et al., "On the Convergence of Adam and Beyond", 2018).
        maximize: whether to go up instead of down.
    """

    _buffers: ClassVar[dict[str, str | None]] = {"exp_avg": None, "exp_avg_sq": None, "max_exp_avg_sq": "amsgrad"}
    _decoupled: ClassVar[bool] = False

    def __init__(
        self,
        params: Iterable[Value] | Iterable[dict[str, Any]],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        amsgrad: bool = False,
        *,
        maximize: bool = False,
    ) -> None:
        defaults = {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay}
        super().__init__(params, {**defaults, "amsgrad": amsgrad, "maximize": maximize})

    def _update(
        self, i: int, params: list[Value], settings: dict[str, Any], buffers: dict[str, Any], step: int, first: bool
    ) -> None:
        beta1, beta2 = settings["betas"]
        lr, weight_decay = settings["lr"], settings["weight_decay"]
        updates.adam(
            params,
            self._known[i],
            buffers["exp_avg"],
            buffers["exp_avg_sq"],
            buffers.get("max_exp_avg_sq"),
            step_size=lr / (1 - beta1**step),
            root_correction=(1 - beta2**step) ** 0.5,
            beta1=beta1,
            beta2=beta2,
            eps=settings["eps"],
            weight_decay=0 if self._decoupled else weight_decay,
            decay=1 - lr * weight_decay if self._decoupled else 1,
            maximize=settings["maximize"],
        )


class AdamW(Adam):
    """Adam with decoupled weight decay: p ← (1 - lr weight_decay) p before each step, and the gradient stays as it is.

    Loshchilov and Hutter, "Decoupled Weight Decay Regularization", 2019. The arguments are those of `Adam`.
    """

    _decoupled: ClassVar[bool] = True

    def __init__(
        self,
        params: Iterable[Value] | Iterable[dict[str, Any]],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        amsgrad: bool = False,
        *,
        maximize: bool = False,
    ) -> None:
        super().__init__(params, lr, betas, eps, weight_decay, amsgrad, maximize=maximize)


class RMSprop(Optimizer):
    """RMSprop: p ← p - lr g / (sqrt(v) + eps), v a running mean of g² (Hinton, "Neural Networks for Machine Learning", lecture 6).

    Args:
        params: an iterable of Values or of groups, as for `Optimizer`.
        lr: the learning rate.
        alpha: how much of the running mean a step keeps, in [0, 1].
        eps: what keeps the denominator from 0.
        weight_decay: g ← g + weight_decay p, the gradient of an L2 penalty.
        momentum: the share of the last step that is kept, in [0, 1].
        centered: whether to divide by the standard deviation of g, v less the square of g's running mean.
        maximize: whether to go up instead of down.
    """

    _buffers: ClassVar[dict[str, str | None]] = {"square_avg": None, "grad_avg": "centered", "momentum_buffer": "momentum"}

    def __init__(
        self,
        params: Iterable[Value] | Iterable[dict[str, Any]],
        lr: float = 1e-2,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0,
        momentum: float = 0,
        centered: bool = False,
        *,
        maximize: bool = False,
    ) -> None:
        defaults = {"lr": lr, "alpha": alpha, "eps": eps, "weight_decay": weight_decay}
        super().__init__(params, {**defaults, "momentum": momentum, "centered": centered, "maximize": maximize})

    def _update(
        self, i: int, params: list[Value], settings: dict[str, Any], buffers: dict[str, Any], step: int, first: bool
    ) -> None:
        numbers = {name: value for name, value in settings.items() if name != "centered"}
        updates.rmsprop(params, self._known[i], buffers["square_avg"], buffers.get("grad_avg"), buffers.get("momentum_buffer"), **numbers)


def _groups(params: Any) -> Iterator[dict[str, Any]]:
    """Yield the groups in what an optimizer was given."""
    entries = listed(params)
    if entries and isinstance(entries[0], dict):
        yield from entries
    else:
        yield {"params": entries}


def listed(params: Any) -> list[Any]:
    """Return the entries of an ordered iterable as a list of its own."""
    expected = "params must be an iterable of Values, such as model.parameters(), or of dicts with 'params'"
    if isinstance(params, Value):
        raise TypeError(f"{expected}, got a single Value; pass a list, [value]")
    if isinstance(params, dict):
        raise TypeError(f"{expected}, got a dict; pass [group] for one group, list(d.values()) for the Values of a dict")
    if isinstance(params, (set, frozenset)):
        raise TypeError(f"{expected}, got a set, which has no order; pass a list")
    iterable = hasattr(params, "__iter__") or hasattr(params, "__getitem__")
    if isinstance(params, (str, bytes)) or hasattr(params, "parameters") or not iterable:
        raise TypeError(f"{expected}, got {type(params).__name__} {params!r:.60}")
    return list(params)
