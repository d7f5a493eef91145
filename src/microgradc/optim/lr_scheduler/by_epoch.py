"""The schedules whose rates depend on the epoch alone."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence
from math import cos, floor, pi
from typing import Any, ClassVar

from microgradc import checks
from microgradc.checks import ABOVE_0_TO_1, FROM_0_TO_1, NOT_NEGATIVE
from microgradc.keywords import suggest_keywords
from microgradc.optim.lr_scheduler.base import COUNT, LRScheduler, milestones_of
from microgradc.optim.optimizer import Optimizer, within

__all__ = [
    "CosineAnnealingLR",
    "CosineAnnealingWarmRestarts",
    "ExponentialLR",
    "LambdaLR",
    "LinearLR",
    "MultiStepLR",
    "StepLR",
]


class StepLR(LRScheduler):
    """Multiply the learning rates with gamma every step_size epochs: initial_lr gamma^floor(epoch / step_size).

    Args:
        optimizer, last_epoch: as for `LRScheduler`.
        step_size: the number of epochs with the same rate.
        gamma: the factor, at least 0.
    """

    step_size: int
    gamma: float
    _checks: ClassVar = {"step_size": COUNT, "gamma": within(NOT_NEGATIVE)}

    @suggest_keywords
    def __init__(self, optimizer: Optimizer, step_size: int, gamma: float = 0.1, last_epoch: int = -1) -> None:
        self._set(step_size=step_size, gamma=gamma)
        super().__init__(optimizer, last_epoch)

    def _lr(self, i: int, base_lr: float, epoch: int) -> float:
        return base_lr * self.gamma ** (epoch // self.step_size)

    def _chained(self, i: int, base_lr: float, epoch: int, lr: float) -> float:
        return lr * self.gamma if epoch and epoch % self.step_size == 0 else lr


class MultiStepLR(LRScheduler):
    """Multiply the learning rates with gamma at each of the milestones.

    Args:
        optimizer, last_epoch: as for `LRScheduler`.
        milestones: epochs, in their order; one that is there twice counts twice.
        gamma: the factor, at least 0.
    """

    milestones: list[int]
    gamma: float
    _checks: ClassVar = {"milestones": milestones_of, "gamma": within(NOT_NEGATIVE)}

    @suggest_keywords
    def __init__(
        self, optimizer: Optimizer, milestones: Iterable[int], gamma: float = 0.1, last_epoch: int = -1
    ) -> None:
        self._set(milestones=milestones, gamma=gamma)
        super().__init__(optimizer, last_epoch)

    def _lr(self, i: int, base_lr: float, epoch: int) -> float:
        return base_lr * self.gamma ** bisect_right(self.milestones, epoch)

    def _chained(self, i: int, base_lr: float, epoch: int, lr: float) -> float:
        return lr * self.gamma ** self.milestones.count(epoch)


class ExponentialLR(LRScheduler):
    """Multiply the learning rates with gamma every epoch: initial_lr gamma^epoch.

    Args:
        optimizer, last_epoch: as for `LRScheduler`.
        gamma: the factor, at least 0.
    """

    gamma: float
    _checks: ClassVar = {"gamma": within(NOT_NEGATIVE)}

    @suggest_keywords
    def __init__(self, optimizer: Optimizer, gamma: float, last_epoch: int = -1) -> None:
        self._set(gamma=gamma)
        super().__init__(optimizer, last_epoch)

    def _lr(self, i: int, base_lr: float, epoch: int) -> float:
        return base_lr * self.gamma**epoch

    def _chained(self, i: int, base_lr: float, epoch: int, lr: float) -> float:
        return lr * self.gamma if epoch else lr


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
    _checks: ClassVar = {"start_factor": within(ABOVE_0_TO_1), "end_factor": within(FROM_0_TO_1), "total_iters": COUNT}

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
    _checks: ClassVar = {"T_max": COUNT, "eta_min": within(NOT_NEGATIVE)}

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


class CosineAnnealingWarmRestarts(LRScheduler):
    """Take the learning rates down to eta_min along a cosine, again and again; each time takes T_mult times as long.

    lr = eta_min + (initial_lr - eta_min) (1 + cos(pi T_cur / T_i)) / 2, for T_cur epochs since the last restart, of T_i

    Loshchilov and Hutter, "SGDR: Stochastic Gradient Descent with Warm Restarts", 2017.

    Args:
        optimizer, last_epoch: as for `LRScheduler`.
        T_0: the number of epochs before the first restart.
        T_mult: the factor of that number at each restart, an integer of at least 1.
        eta_min: the lowest rate, at least 0.
    """

    T_0: int
    T_mult: int
    eta_min: float
    _checks: ClassVar = {"T_0": COUNT, "T_mult": COUNT, "eta_min": within(NOT_NEGATIVE)}
    _position: float = 0     # the epoch, with its fraction

    @suggest_keywords
    def __init__(
        self, optimizer: Optimizer, T_0: int, T_mult: int = 1, eta_min: float = 0.0, last_epoch: int = -1
    ) -> None:
        self._set(T_0=T_0, T_mult=T_mult, eta_min=eta_min)
        super().__init__(optimizer, last_epoch)

    def step(self, epoch: float | None = None) -> None:
        """Go on by one epoch, or to an epoch, which may have a fraction: `step(epoch + i / n)` after batch i of n.

        Raises:
            TypeError, ValueError: epoch is not a number of at least 0.
        """
        self._advance(self._position + 1 if epoch is None else checks.number(epoch, "epoch", NOT_NEGATIVE))

    def _note(self, epoch: float, lrs: list[float]) -> None:
        self._position = epoch
        super()._note(floor(epoch), lrs)

    def _loadable(self, state: dict[str, Any]) -> dict[str, Any]:
        position = checks.number(state["_position"], "_position", NOT_NEGATIVE)
        return {**super()._loadable(state), "_position": int(position) if position == int(position) else position}

    def _lr(self, i: int, base_lr: float, epoch: float) -> float:
        since, length = self._turn(epoch)
        return self.eta_min + (base_lr - self.eta_min) * (1 + cos(pi * since / length)) / 2

    def _changed(self, i: int, base_lr: float, epoch: float, lr: float) -> float:
        return self._lr(i, base_lr, epoch)

    def _chained(self, i: int, base_lr: float, epoch: float, lr: float) -> float:
        return self._lr(i, base_lr, epoch)

    @property
    def T_cur(self) -> float:
        """The number of epochs since the last restart."""
        return self._turn(self._position)[0]

    @property
    def T_i(self) -> int:
        """The number of epochs between the last restart and the next."""
        return self._turn(self._position)[1]

    def _turn(self, epoch: float) -> tuple[float, int]:
        """Return how many epochs there were since the last restart, and how many there are until the next."""
        length = self.T_0
        if self.T_mult == 1:
            return epoch % length, length
        while epoch >= length:
            epoch -= length
            length *= self.T_mult
        return epoch, length


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
