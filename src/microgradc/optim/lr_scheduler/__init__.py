"""Schedules of learning rates: `torch.optim.lr_scheduler`. The names are in `microgradc.optim` too.

A schedule computes the learning rate of each group of an optimizer from two things: the epoch, which is the number of
calls of `step()`, and the group's initial rate, `group["initial_lr"]`. PyTorch computes it from the rate before, which
is the same but for rounding. So here a rate that was set by hand lasts until the next `step()`.

If an optimizer has several schedules, each changes the rate that they have set together, as in PyTorch: the factors of
`StepLR`, `LinearLR` and `CosineAnnealingLR` multiply. (A cosine goes down to `eta_min` and not to its share of it; and
`LambdaLR` begins anew from the initial rate, so let it be the first to step.)
"""

from microgradc.optim.lr_scheduler import by_epoch
from microgradc.optim.lr_scheduler.base import LRScheduler
from microgradc.optim.lr_scheduler.by_epoch import *  # noqa: F403
from microgradc.optim.lr_scheduler.plateau import ReduceLROnPlateau
from microgradc.optim.lr_scheduler.sequence import SequentialLR

__all__ = [*by_epoch.__all__, "LRScheduler", "ReduceLROnPlateau", "SequentialLR"]
