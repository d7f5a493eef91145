"""Schedules of learning rates: `torch.optim.lr_scheduler`. The names are in `microgradc.optim` too.

A schedule computes the learning rate of each group of an optimizer from two things: the epoch, which is the number of
calls of `step()`, and the group's initial rate, `group["initial_lr"]`. PyTorch computes it from the rate before, which
is the same but for rounding. So here a rate that was set by hand lasts until the next `step()`.

If an optimizer has several schedules, each changes the rate that they have set together, as in PyTorch: the factors of
`StepLR`, `LinearLR` and `CosineAnnealingLR` multiply. (A cosine goes down to `eta_min` and not to its share of it; and
`LambdaLR` begins anew from the initial rate, so let it be the first to step.)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from math import cos, pi
from typing import Any, ClassVar

from microgradc import checks
from microgradc.checks import ABOVE_0_TO_1, FINITE, FROM_0_TO_1, NOT_NEGATIVE
from microgradc.keywords import suggest_keywords
from microgradc.optim.optimizer import Check, Optimizer, within

__all__ = ["CosineAnnealingLR", "LRScheduler", "LambdaLR", "LinearLR", "StepLR"]

_COUNT: Check = partial(checks.integer, least=1)


class LRScheduler:
    """The base of the schedules, which set learning rates by the epoch. Use one of those.

    Args:
        optimizer: the optimizer whose learning rates are set, at once and in every `step()`.
        last_epoch: -1 to begin; to go on, the epoch before the next one. The groups must have an "initial_lr" then.

    Raises:
        TypeError: optimizer is not an optimizer, or an argument has the wrong type.
        ValueError: an argument is out of range, or an "initial_lr" is missing.
    """

    # A schedule gives `_lr` and the checks of its arguments, by name.
    _checks: ClassVar[Mapping[str, Check]] = {}

    def __init__(self, optimizer: Optimizer, last_epoch: int = -1) -> None:
        groups = getattr(optimizer, "param_groups", None)
        if not isinstance(groups, list):
            raise TypeError(f"optimizer must be an optimizer, such as SGD(model.parameters()), got {optimizer!r:.60}")
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

    def step(self) -> None:
        """Go to the next epoch: set the learning rates. Call it after the optimizer's steps of an epoch."""
        self._go_to(self.last_epoch + 1, self._changed if self.optimizer._schedules > 1 else None)
        self.optimizer._loaded = ()

    def _go_to(self, epoch: int, change: Callable[[int, float, int, float], float] | None) -> None:
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
        self.last_epoch = epoch
        self._last_lr, self.optimizer._scheduled = lrs, list(lrs)

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
        loaded = dict(state_dict, last_epoch=checks.integer(state_dict["last_epoch"], "last_epoch", 0))
        for name in ("base_lrs", "_last_lr"):
            loaded[name] = self._rates(state_dict[name], name)
        vars(self).update(loaded, **self._checked(loaded))

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

    def _begun(self, i: int, base_lr: float, epoch: int, lr: float) -> float:
        """Return the rate of group i with which this schedule begins next to others, which have set lr."""
        if epoch == 0:
            return self._chained(i, base_lr, epoch, lr)
        if self.optimizer._loaded:
            return self.optimizer._loaded[i]
        return lr * self._lr(i, base_lr, epoch) / base_lr if base_lr else 0.0

    def _changed(self, i: int, base_lr: float, epoch: int, lr: float) -> float:
        """Return the rate of group i that this schedule makes of the last one, which others have set too."""
        if lr == self._lr(i, base_lr, epoch - 1):     # they have changed nothing: no rounding adds up
            return self._lr(i, base_lr, epoch)
        return self._chained(i, base_lr, epoch, lr)

    def _chained(self, i: int, base_lr: float, epoch: int, lr: float) -> float:
        """Return the rate of group i after the rate lr of the epoch before, whoever set it."""
        return self._lr(i, base_lr, epoch)

    def _lr(self, i: int, base_lr: float, epoch: int) -> float:
        """Return the learning rate of group i, if there are no other schedules."""
        name = type(self).__name__
        raise NotImplementedError(f"{name} has no rule; use StepLR, LinearLR, CosineAnnealingLR or LambdaLR")


class StepLR(LRScheduler):
    """Multiply the learning rates with gamma every step_size epochs: initial_lr gamma^floor(epoch / step_size).

    Args:
        optimizer, last_epoch: as for `LRScheduler`.
        step_size: the number of epochs with the same rate.
        gamma: the factor, at least 0.
    """

    step_size: int
    gamma: float
    _checks: ClassVar = {"step_size": _COUNT, "gamma": within(NOT_NEGATIVE)}

    @suggest_keywords
    def __init__(self, optimizer: Optimizer, step_size: int, gamma: float = 0.1, last_epoch: int = -1) -> None:
        self._set(step_size=step_size, gamma=gamma)
        super().__init__(optimizer, last_epoch)

    def _lr(self, i: int, base_lr: float, epoch: int) -> float:
        return base_lr * self.gamma ** (epoch // self.step_size)

    def _chained(self, i: int, base_lr: float, epoch: int, lr: float) -> float:
        return lr * self.gamma if epoch and epoch % self.step_size == 0 else lr


class LinearLR(LRScheduler):
    """Take the factor of the learning rates from start_factor to end_factor in a line, over total_iters epochs.

    It stays there.

    Args:
        optimizer, last_epoch: as for `LRScheduler`.
        start_factor: the factor of epoch 0, in (0, 1].
        end_factor: the factor of epoch total_iters and all that follow, in [0, 1].
        total_iters: the number of epochs in between.

    >>> from microgradc.optim import SGD
    >>> optimizer = SGD([Value(1.0)], lr=1.0)
    >>> schedule = LinearLR(optimizer, start_factor=0.5, total_iters=2)
    >>> for _ in range(4):
    ...     print(optimizer.param_groups[0]["lr"])
    ...     optimizer.step()
    ...     schedule.step()
    0.5
    0.75
    1.0
    1.0
    """

    start_factor: float
    end_factor: float
    total_iters: int
    _checks: ClassVar = {"start_factor": within(ABOVE_0_TO_1), "end_factor": within(FROM_0_TO_1), "total_iters": _COUNT}

    @suggest_keywords
    def __init__(
        self,
        optimizer: Optimizer,
        start_factor: float = 1 / 3,
        end_factor: float = 1.0,
        total_iters: int = 5,
        last_epoch: int = -1,
    ) -> None:
        self._set(start_factor=start_factor, end_factor=end_factor, total_iters=total_iters)
        super().__init__(optimizer, last_epoch)

    def _lr(self, i: int, base_lr: float, epoch: int) -> float:
        return base_lr * self._factor(epoch)

    def _chained(self, i: int, base_lr: float, epoch: int, lr: float) -> float:
        if epoch > self.total_iters:
            return lr
        return lr * self._factor(epoch) / (self._factor(epoch - 1) if epoch else 1.0)

    def _factor(self, epoch: int) -> float:
        if epoch >= self.total_iters:
            # The sum below might end just beside it, at less than 0 for an end_factor of 0.
            return self.end_factor
        return self.start_factor + (self.end_factor - self.start_factor) * epoch / self.total_iters


class CosineAnnealingLR(LRScheduler):
    """Take the learning rates down to eta_min and up again along a cosine, with a period of 2 T_max epochs.

    lr = eta_min + (initial_lr - eta_min) (1 + cos(pi epoch / T_max)) / 2

    Loshchilov and Hutter, "SGDR", 2017, without the restarts.

    Args:
        optimizer, last_epoch: as for `LRScheduler`.
        T_max: the number of epochs on the way down.
        eta_min: the lowest rate, at least 0.
    """

    T_max: int
    eta_min: float
    _checks: ClassVar = {"T_max": _COUNT, "eta_min": within(NOT_NEGATIVE)}

    @suggest_keywords
    def __init__(self, optimizer: Optimizer, T_max: int, eta_min: float = 0.0, last_epoch: int = -1) -> None:
        self._set(T_max=T_max, eta_min=eta_min)
        super().__init__(optimizer, last_epoch)

    def _lr(self, i: int, base_lr: float, epoch: int) -> float:
        return self.eta_min + (base_lr - self.eta_min) * (1 + cos(pi * epoch / self.T_max)) / 2

    def _chained(self, i: int, base_lr: float, epoch: int, lr: float) -> float:
        # torch/optim/lr_scheduler.py, CosineAnnealingLR.get_lr
        if epoch == 0:
            return lr
        if (epoch - 1 - self.T_max) % (2 * self.T_max) == 0:     # from the lowest point, where nothing is left of lr
            return lr + (base_lr - self.eta_min) * (1 - cos(pi / self.T_max)) / 2
        before = 1 + cos(pi * (epoch - 1) / self.T_max)
        return (1 + cos(pi * epoch / self.T_max)) / before * (lr - self.eta_min) + self.eta_min


class LambdaLR(LRScheduler):
    """Multiply the initial learning rates with a function of the epoch.

    Args:
        optimizer, last_epoch: as for `LRScheduler`.
        lr_lambda: a function that takes the epoch, an int, and returns the factor; or a list with one for each group.

    >>> from microgradc.optim import SGD
    >>> optimizer = SGD([Value(1.0)], lr=1.0)
    >>> schedule = LambdaLR(optimizer, lambda epoch: 1 / (1 + epoch))
    >>> schedule.step()
    >>> schedule.get_last_lr()
    [0.5]
    """

    @suggest_keywords
    def __init__(
        self,
        optimizer: Optimizer,
        lr_lambda: Callable[[int], float] | Sequence[Callable[[int], float]],
        last_epoch: int = -1,
    ) -> None:
        n = len(getattr(optimizer, "param_groups", ()))
        functions: list[Any] = list(lr_lambda) if isinstance(lr_lambda, (list, tuple)) else [lr_lambda] * n
        for function in functions:
            if not callable(function):
                raise TypeError(f"lr_lambda must be a function of the epoch, or a list of them, got {function!r:.60}")
        if len(functions) != n:
            raise ValueError(f"lr_lambda must have {n} functions, one for each group, got {len(functions)}")
        self.lr_lambdas: list[Callable[[int], float]] = functions
        super().__init__(optimizer, last_epoch)

    def _lr(self, i: int, base_lr: float, epoch: int) -> float:
        factor = self.lr_lambdas[i](epoch)
        return base_lr * checks.number(factor, f"the factor that lr_lambda returned for epoch {epoch}", NOT_NEGATIVE)

    def _changed(self, i: int, base_lr: float, epoch: int, lr: float) -> float:
        return self._lr(i, base_lr, epoch)
