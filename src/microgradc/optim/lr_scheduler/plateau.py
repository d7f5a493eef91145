"""The schedule that goes by what a training achieves."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from math import inf
from typing import Any, ClassVar, Literal

from microgradc import checks
from microgradc.checks import BELOW_1, NOT_NEGATIVE
from microgradc.engine.value import Value, plain_number, real_number
from microgradc.keywords import suggest_keywords
from microgradc.optim.lr_scheduler.base import LRScheduler
from microgradc.optim.optimizer import Optimizer, within

__all__ = ["ReduceLROnPlateau"]


def _one_of(*names: str) -> Any:
    def check(value: Any, name: str) -> str:
        if not isinstance(value, str) or value not in names:
            error = ValueError if isinstance(value, str) else TypeError
            raise error(f"{name} must be {' or '.join(map(repr, names))}, got {value!r:.60}")
        return value

    return check


def _any_number(value: Any, name: str) -> float:
    return real_number(value, name)


class ReduceLROnPlateau(LRScheduler):
    """Multiply the learning rates with factor when a metric, such as the loss, has not got better for a while.

    Call `step(metric)` at the end of each epoch; `f.train(schedule=…)` calls it with the mean loss of the epoch.

    Args:
        optimizer: the optimizer whose learning rates are reduced.
        mode: "min" where less is better, "max" where more is.
        factor: of the rates, in [0, 1).
        patience: how many epochs without a better metric are let pass; the next one reduces the rates.
        threshold: by how much a metric must be better than the best, to be better.
        threshold_mode: "rel": by threshold times the best; "abs": by threshold.
        cooldown: how many epochs after that no metric counts as worse.
        min_lr: where the rates stop; a number, or a list of one for each group.
        eps: a change of a rate that is not larger is left out.

    Raises:
        TypeError: optimizer is not an optimizer, or an argument has the wrong type.
        ValueError: an argument is out of range.

    >>> from microgradc.optim import SGD
    >>> optimizer = SGD([Value(1.0)], lr=1.0)
    >>> schedule = ReduceLROnPlateau(optimizer, factor=0.5, patience=1)
    >>> for loss in (3.0, 2.0, 2.0, 2.5, 1.0):
    ...     schedule.step(loss)
    >>> schedule.get_last_lr()
    [0.5]
    """

    last_epoch: int
    min_lrs: list[float]

    mode: str
    factor: float
    patience: int
    threshold: float
    threshold_mode: str
    cooldown: int
    eps: float
    best: float
    cooldown_counter: int
    num_bad_epochs: int
    _checks: ClassVar = {
        "mode": _one_of("min", "max"),
        "factor": within(BELOW_1),
        "patience": partial(checks.integer, least=0),
        "threshold": within(NOT_NEGATIVE),
        "threshold_mode": _one_of("rel", "abs"),
        "cooldown": partial(checks.integer, least=0),
        "eps": within(NOT_NEGATIVE),
        "best": _any_number,
        "cooldown_counter": partial(checks.integer, least=0),
        "num_bad_epochs": partial(checks.integer, least=0),
    }
    takes_metric: ClassVar[bool] = True

    @suggest_keywords
    def __init__(
        self,
        optimizer: Optimizer,
        mode: Literal["min", "max"] = "min",
        factor: float = 0.1,
        patience: int = 10,
        threshold: float = 1e-4,
        threshold_mode: Literal["rel", "abs"] = "rel",
        cooldown: int = 0,
        min_lr: Sequence[float] | float = 0,
        eps: float = 1e-8,
    ) -> None:
        groups = self._groups_of(optimizer)
        arguments = {"mode": mode, "factor": factor, "patience": patience, "threshold": threshold, "eps": eps}
        counts = {"cooldown": cooldown, "cooldown_counter": 0, "num_bad_epochs": 0}
        best = -inf if mode == "max" else inf
        self._set(**arguments, threshold_mode=threshold_mode, **counts, best=best)
        self.default_min_lr: float | None = None
        if isinstance(min_lr, (list, tuple)):
            self.min_lrs = self._lowest(min_lr, "min_lr", len(groups))
        else:
            self.default_min_lr = checks.number(min_lr, "min_lr", NOT_NEGATIVE)
            self.min_lrs = [self.default_min_lr] * len(groups)
        self.optimizer = optimizer
        self.last_epoch = 0
        self._last_lr = [group["lr"] for group in groups]
        optimizer._schedules += 1
        optimizer._scheduled = list(self._last_lr)

    def step(self, metrics: Any) -> None:  # type: ignore[override]
        """Take note of the metric of an epoch, and reduce the learning rates if it is time.

        Args:
            metrics: a number, or a Value; nan is no better than anything.

        Raises:
            TypeError: metrics is not a number.
            ValueError: min_lr was a list, and the optimizer has got another group since.
        """
        metric = plain_number(metrics) if isinstance(metrics, Value) else real_number(metrics, "metrics")
        better = self._is_better(metric)
        bad = 0 if better else self.num_bad_epochs + 1
        cooldown = self.cooldown_counter
        if cooldown > 0:
            cooldown, bad = cooldown - 1, 0
        if bad > self.patience:
            self._reduce()
            cooldown, bad = self.cooldown, 0
        if better:
            self.best = metric
        self.last_epoch, self.cooldown_counter, self.num_bad_epochs = self.last_epoch + 1, cooldown, bad
        self._last_lr = [group["lr"] for group in self.optimizer.param_groups]
        self.optimizer._scheduled, self.optimizer._loaded = list(self._last_lr), ()

    @property
    def in_cooldown(self) -> bool:
        """Whether the rates were reduced so recently that no metric counts as worse."""
        return self.cooldown_counter > 0

    def _is_better(self, metric: float) -> bool:
        # torch/optim/lr_scheduler.py, ReduceLROnPlateau._is_better
        step = -self.threshold if self.mode == "min" else self.threshold
        bound = self.best * (1.0 + step) if self.threshold_mode == "rel" else self.best + step
        return metric < bound if self.mode == "min" else metric > bound

    def _reduce(self) -> None:
        groups = self.optimizer.param_groups
        if len(groups) != len(self.min_lrs):
            if self.default_min_lr is None:
                n = len(self.min_lrs)
                raise ValueError(f"the optimizer has {len(groups)} groups, min_lr had {n}; make the schedule anew")
            self.min_lrs = [self.default_min_lr] * len(groups)
        for group, lowest in zip(groups, self.min_lrs, strict=True):
            lr = max(group["lr"] * self.factor, lowest)
            if group["lr"] - lr > self.eps:
                group["lr"] = lr

    def _loadable(self, state: dict[str, Any]) -> dict[str, Any]:
        default, n = state["default_min_lr"], len(self.optimizer.param_groups)
        loaded = dict(state, last_epoch=checks.integer(state["last_epoch"], "last_epoch", 0))
        loaded["min_lrs"] = self._lowest(state["min_lrs"], "min_lrs", n)
        loaded["_last_lr"] = self._lowest(state["_last_lr"], "_last_lr", n)
        loaded["default_min_lr"] = None if default is None else checks.number(default, "default_min_lr", NOT_NEGATIVE)
        return {**loaded, **self._checked(loaded)}

    @staticmethod
    def _lowest(rates: Any, name: str, n: int) -> list[float]:
        """Return a checked copy of a list of rates, one for each group."""
        expected = f"a list of {n} numbers, one for each group"
        if not isinstance(rates, (list, tuple)):
            raise TypeError(f"{name} must be {expected}, got {rates!r:.60}")
        if len(rates) != n:
            raise ValueError(f"{name} must be {expected}, got {rates!r:.60}")
        return [checks.number(lr, f"{name}[{i}]", NOT_NEGATIVE) for i, lr in enumerate(rates)]
