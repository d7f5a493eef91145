"""Schedules one after another."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from typing import Any, ClassVar

from microgradc import checks
from microgradc.keywords import suggest_keywords
from microgradc.optim.lr_scheduler.base import LRScheduler, milestones_of
from microgradc.optim.optimizer import Optimizer

__all__ = ["SequentialLR"]


class SequentialLR(LRScheduler):
    """Schedules one after another; each begins anew, with its epoch 0 and the initial rates, at its milestone.

    Step this one, and not those.

    Args:
        optimizer, last_epoch: as for `LRScheduler`.
        schedulers: schedules of this optimizer by the epoch, made before.
        milestones: the epochs at which the second of them begins, the third, …, in their order.

    Raises:
        TypeError: one of schedulers is not a schedule.
        ValueError: one takes a metric (`ReduceLROnPlateau`) or is another optimizer's; there are none; milestones are
            not one less.

    >>> from microgradc.optim import SGD, ExponentialLR, LinearLR
    >>> optimizer = SGD([Value(1.0)], lr=1.0)
    >>> warm, decay = LinearLR(optimizer, 0.25, total_iters=3), ExponentialLR(optimizer, 0.5)
    >>> schedule = SequentialLR(optimizer, [warm, decay], milestones=[4])
    >>> rates = []
    >>> for _ in range(7):
    ...     rates += schedule.get_last_lr()
    ...     schedule.step()
    >>> rates
    [0.25, 0.5, 0.75, 1.0, 1.0, 0.5, 0.25]
    """

    _checks: ClassVar = {"_milestones": milestones_of}
    _milestones: list[int]
    _schedulers: list[LRScheduler]

    @suggest_keywords
    def __init__(
        self, optimizer: Optimizer, schedulers: Sequence[LRScheduler], milestones: Iterable[int], last_epoch: int = -1
    ) -> None:
        parts: list[Any] = list(schedulers) if hasattr(schedulers, "__iter__") else [schedulers]
        for i, part in enumerate(parts):
            if not isinstance(part, LRScheduler):
                raise TypeError(f"schedulers[{i}] must be a schedule, such as StepLR(optimizer, 10), got {part!r:.60}")
            if part.takes_metric:
                expected = "a schedule by the epoch"
                raise ValueError(f"schedulers[{i}] must be {expected}, got {type(part).__name__}, which takes a metric")
            if part.optimizer is not optimizer:
                raise ValueError(f"schedulers[{i}] is another optimizer's; make it of the one that comes first")
            if any(part is other for other in parts[:i]):
                raise ValueError(f"schedulers[{i}] comes twice; make one for each place")
        if not parts:
            raise ValueError("schedulers must have at least one schedule, got none")
        begins = milestones_of(milestones)
        if len(begins) != len(parts) - 1:
            raise ValueError(f"milestones must be one less than the {len(parts)} schedulers, got {len(begins)}")
        checks.integer(last_epoch, "last_epoch", -1)
        self._schedulers, self._milestones = parts, begins
        base_lrs = [group.get("initial_lr", group["lr"]) for group in optimizer.param_groups]
        for group, lr in zip(optimizer.param_groups, base_lrs, strict=True):
            group["lr"] = lr
        # They step no more by themselves.
        optimizer._schedules, optimizer._scheduled = optimizer._schedules - len(parts), base_lrs
        super().__init__(optimizer, last_epoch)

    def _part(self, epoch: int) -> tuple[LRScheduler, int]:
        """Return the schedule of an epoch, and which epoch it is there."""
        k = bisect_right(self._milestones, epoch)
        return self._schedulers[k], epoch - ([0, *self._milestones][k])

    def _lr(self, i: int, base_lr: float, epoch: int) -> float:
        part, own = self._part(epoch)
        return part._lr(i, base_lr, own)

    def _chained(self, i: int, base_lr: float, epoch: int, lr: float) -> float:
        part, own = self._part(epoch)
        return part._chained(i, base_lr, own, lr) if own or not epoch else part._lr(i, base_lr, 0)

    def _note(self, epoch: int, lrs: list[float]) -> None:
        super()._note(epoch, lrs)
        for part, begin, end in zip(
            self._schedulers, [0, *self._milestones], [*self._milestones, epoch + 1], strict=True
        ):
            if begin <= epoch < end:
                part._note(epoch - begin, list(lrs))
            else:
                part.last_epoch = min(epoch, end - 1) - begin if begin <= epoch else -1

    def state_dict(self) -> dict[str, Any]:
        """Return a copy of all but the optimizer, whose state has the rates, and the functions of a `LambdaLR`."""
        return {**super().state_dict(), "_schedulers": [part.state_dict() for part in self._schedulers]}

    def _loadable(self, state: dict[str, Any]) -> dict[str, Any]:
        states, parts = state["_schedulers"], self._schedulers
        if not isinstance(states, list) or len(states) != len(parts):
            raise ValueError(f"_schedulers must be a list of {len(parts)} states, got {states!r:.60}")
        loaded = {**super()._loadable(state), "_schedulers": parts}
        if len(loaded["_milestones"]) != len(parts) - 1:
            raise ValueError(f"_milestones must be {len(parts) - 1} epochs, got {state['_milestones']!r:.60}")
        before = [part.state_dict() for part in parts]
        try:
            for part, each in zip(parts, states, strict=True):
                part.load_state_dict(each)
        except (TypeError, ValueError):
            for part, each in zip(parts, before, strict=True):
                part.load_state_dict(each)
            raise
        return loaded
