"""Optimizers, schedules of their learning rates and the clipping of gradients: `torch.optim` for scalar parameters.

The names, arguments, defaults and formulas are PyTorch's, so training goes as it does there, in float64. Two things
differ. A gradient that was not computed is 0, so every parameter takes part in every step. The state of a group is one
array for each quantity, aligned with the group's list of parameters.
"""

from microgradc.optim import lr_scheduler, rules
from microgradc.optim.clip import clip_grad_norm_, clip_grad_value_
from microgradc.optim.lr_scheduler import (
    CosineAnnealingLR,
    CosineAnnealingWarmRestarts,
    ExponentialLR,
    LambdaLR,
    LinearLR,
    MultiStepLR,
    ReduceLROnPlateau,
    SequentialLR,
    StepLR,
)
from microgradc.optim.optimizer import Optimizer
from microgradc.optim.rules import *  # noqa: F403

# All optimizers among the rules are public.
__all__ = [
    *(name for name, thing in vars(rules).items() if isinstance(thing, type) and issubclass(thing, Optimizer)),
    "CosineAnnealingLR",
    "CosineAnnealingWarmRestarts",
    "ExponentialLR",
    "LambdaLR",
    "LinearLR",
    "MultiStepLR",
    "ReduceLROnPlateau",
    "SequentialLR",
    "StepLR",
    "clip_grad_norm_",
    "clip_grad_value_",
    "lr_scheduler",
]
