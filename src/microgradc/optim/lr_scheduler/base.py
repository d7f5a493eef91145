"""What all schedules share: the epoch, the learning rates of the groups, and how several of them get along."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, ClassVar

from microgradc import checks
from microgradc.checks import FINITE, NOT_NEGATIVE
from microgradc.optim.optimizer import Check, Optimizer

__all__ = ["COUNT", "LRScheduler", "milestones_of"]

COUNT: Check = partial(checks.integer, least=1)


class LRScheduler:
    """The base of the schedules, which set learning rates by the epoch. Use one of those.

    Args:
        optimizer: the optimizer whose learning rates are set, at once and in every `step()`.
        last_epoch: -1 to begin; to go on, the epoch before the next one. The groups must have an "initial_lr" then.

    Raises:
        TypeError: optimizer is not an optimizer, or an argument has the wrong type.
        ValueError: an argument is out of range, or an "initial_lr" is missing.
    """

    base_lrs: list[float]
    last_epoch: Any

    # A schedule gives `_lr` and the checks of its arguments, by name.
    _checks: ClassVar[Mapping[str, Check]] = {}
    # Whether `step` takes a metric, such as the mean loss of the epoch.
    takes_metric: ClassVar[bool] = False

    def __init__(self, optimizer: Optimizer, last_epoch: int = -1) -> None:
        groups = self._groups_of(optimizer)
        self.optimizer = optimizer
        self.last_epoch = checks.integer(last_epoch, "last_epoch", -1)
        for i, group in enumerate(groups):
            if self.last_epoch >= 0 and "initial_lr" not in group:
                raise ValueError(
                    f"param_groups[{i}] has no 'initial_lr' to go on with at last_epoch={last_epoch}; "
                    "load the optimizer's state first, or begin with last_epoch=-1"
                )
        self.base_lrs = []
        for i, group in enumerate(groups):
            key = "initial_lr" if "initial_lr" in group else "lr"
            self.base_lrs.append(checks.number(group.get(key), f"param_groups[{i}][{key!r}]", NOT_NEGATIVE))
        self._last_lr: list[float] = []
        others = getattr(optimizer, "_schedules", 0)
        self._go_to(self.last_epoch + 1, self._begun if others else None)
        optimizer._schedules = others + 1
        for group, lr in zip(groups, self.base_lrs, strict=True):
            group.setdefault("initial_lr", lr)

    @staticmethod
    def _groups_of(optimizer: Any) -> list[dict[str, Any]]:
        groups = getattr(optimizer, "param_groups", None)
        if not isinstance(groups, list):
            raise TypeError(f"optimizer must be an optimizer, such as SGD(model.parameters()), got {optimizer!r:.60}")
        return groups

    def step(self) -> None:
        """Go to the next epoch: set the learning rates. Call it after the optimizer's steps of an epoch."""
        self._advance(self.last_epoch + 1)

    def _advance(self, epoch: Any) -> None:
        """Set the learning rates of an epoch after the first."""
        self._go_to(epoch, self._changed if self.optimizer._schedules > 1 else None)
        self.optimizer._loaded = ()

    def _go_to(self, epoch: Any, change: Callable[[int, float, Any, float], float] | None) -> None:
        """Set the learning rates of an epoch: those of this schedule alone, or a change of what several have set."""
        groups = self.optimizer.param_groups
        if len(groups) != len(self.base_lrs):
            n = len(self.base_lrs)
            raise ValueError(f"the optimizer has {len(groups)} groups, {n} when the schedule was made; make it anew")
        if change is None:
            lrs = [self._lr(i, base_lr, epoch) for i, base_lr in enumerate(self.base_lrs)]
        else:
            scheduled = self.optimizer._scheduled
            scheduled = scheduled + [group["lr"] for group in groups[len(scheduled) :]]     # groups that were added
            lrs = [change(i, base_lr, epoch, scheduled[i]) for i, base_lr in enumerate(self.base_lrs)]
        for group, lr in zip(groups, lrs, strict=True):
            group["lr"] = lr
        self.optimizer._scheduled = list(lrs)
        self._note(epoch, lrs)

    def _note(self, epoch: Any, lrs: list[float]) -> None:
        """Note in the state that these are the rates of this epoch."""
        self.last_epoch, self._last_lr = epoch, lrs

    def get_last_lr(self) -> list[float]:
        """Return the learning rates that were set last, one for each group."""
        return list(self._last_lr)

    def state_dict(self) -> dict[str, Any]:
        """Return a copy of all but the optimizer, whose state has the rates, and the functions of a `LambdaLR`."""
        state = {name: value for name, value in vars(self).items() if name not in ("optimizer", "lr_lambdas")}
        return {name: list(value) if isinstance(value, list) else value for name, value in state.items()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from what `state_dict` returned.

        The learning rates change with the next `step()` only: load the optimizer's state too.

        Raises:
            TypeError: state_dict or something in it has the wrong type; the schedule stays as it was.
            ValueError: state_dict is another schedule's, or something in it is out of range; the same.
        """
        names = self.state_dict().keys()
        expected = f"a dict with {sorted(names)}, as state_dict() returns"
        if not isinstance(state_dict, dict):
            raise TypeError(f"state_dict must be {expected}, got {state_dict!r:.60}")
        if state_dict.keys() != names:
            raise ValueError(f"state_dict must be {expected}, got {sorted(map(str, state_dict))}")
        vars(self).update(self._loadable(state_dict))

    def _loadable(self, state: dict[str, Any]) -> dict[str, Any]:
        """Return the attributes that a state has, checked."""
        loaded = dict(state, last_epoch=checks.integer(state["last_epoch"], "last_epoch", -1))
        for name in ("base_lrs", "_last_lr"):
            loaded[name] = self._rates(state[name], name)
        return {**loaded, **self._checked(loaded)}

    def _set(self, **arguments: Any) -> None:
        """Check the arguments of this kind of schedule and make them attributes; nothing is set if one is refused."""
        vars(self).update(self._checked(arguments))

    def _checked(self, arguments: dict[str, Any]) -> dict[str, Any]:
        """Return those of the arguments that have a check, checked."""
        return {name: check(arguments[name], name) for name, check in self._checks.items()}

    def _rates(self, rates: Any, name: str) -> list[float]:
        """Return a checked copy of the rates in a state, one for each group."""
        expected = f"a list of {len(self.base_lrs)} numbers, one for each group"
        if not isinstance(rates, list):
            raise TypeError(f"{name} must be {expected}, got {rates!r:.60}")
        if len(rates) != len(self.base_lrs):
            raise ValueError(f"{name} must be {expected}, got {rates!r:.60}")
        return [checks.number(lr, f"{name}[{i}]", FINITE) for i, lr in enumerate(rates)]

    def _begun(self, i: int, base_lr: float, epoch: Any, lr: float) -> float:
        """Return the rate of group i with which this schedule begins next to others, which have set lr."""
        if epoch == 0:
            return self._chained(i, base_lr, epoch, lr)
        if self.optimizer._loaded:
            return self.optimizer._loaded[i]
        return lr * self._lr(i, base_lr, epoch) / base_lr if base_lr else 0.0

    def _changed(self, i: int, base_lr: float, epoch: Any, lr: float) -> float:
        """Return the rate of group i that this schedule makes of the last one, which others have set too."""
        if lr == self._lr(i, base_lr, epoch - 1):     # they have changed nothing: no rounding adds up
            return self._lr(i, base_lr, epoch)
        return self._chained(i, base_lr, epoch, lr)

    def _chained(self, i: int, base_lr: float, epoch: Any, lr: float) -> float:
        """Return the rate of group i after the rate lr of the epoch before, whoever set it."""
        return self._lr(i, base_lr, epoch)

    def _lr(self, i: int, base_lr: float, epoch: Any) -> float:
        """Return the learning rate of group i, if there are no other schedules."""
        name = type(self).__name__
        raise NotImplementedError(f"{name} has no rule; use StepLR, LambdaLR or another of optim.lr_scheduler")


def milestones_of(value: Any, name: str = "milestones") -> list[int]:
    """Return epochs, which must not fall, as a list."""
    expected = "a list of epochs, such as [30, 80]"
    if isinstance(value, (str, bytes)) or not hasattr(value, "__iter__"):
        raise TypeError(f"{name} must be {expected}, got {value!r:.60}")
    epochs = [checks.integer(epoch, f"{name}[{i}]", 0) for i, epoch in enumerate(value)]
    if epochs != sorted(epochs):
        raise ValueError(f"{name} must be in their order, got {epochs!r:.60}")
    return epochs
