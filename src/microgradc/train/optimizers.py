"""Which optimizer a training takes its steps with."""

from __future__ import annotations

from typing import Any

from microgradc import optim

# The optimizers that have a name, and the learning rate that suits networks of some hundred parameters.
OPTIMIZERS: dict[str, tuple[Any, float]] = {
    "sgd": (optim.SGD, 0.1),
    "adam": (optim.Adam, 0.01),
    "adamw": (optim.AdamW, 0.01),
    "rmsprop": (optim.RMSprop, 0.01),
    "adagrad": (optim.Adagrad, 0.1),
    "nadam": (optim.NAdam, 0.01),
}


def make_optimizer(optimizer: Any, model: Any, lr: float | None, weight_decay: float | None = None) -> Any:
    """Return the optimizer that `fit` was asked for."""
    if not callable(getattr(model, "parameters", None)):
        raise TypeError(f"model must be a Module, or have a method parameters(), got {model!r:.60}")
    if isinstance(optimizer, optim.Optimizer):
        ours = {id(p) for p in model.parameters()}
        if not any(id(p) in ours for group in optimizer.param_groups for p in group["params"]):
            raise ValueError("the optimizer has none of the model's parameters; make it from model.parameters()")
        if lr is not None:
            raise ValueError("lr is given to the optimizer that you made; leave it out here")
        if weight_decay is not None:
            raise ValueError("weight_decay is given to the optimizer that you made; leave it out here")
        return optimizer
    settings = {} if lr is None else {"lr": lr}
    if isinstance(optimizer, str):
        if optimizer not in OPTIMIZERS:
            raise ValueError(
                f"optimizer must be one of {', '.join(OPTIMIZERS)}, an optimizer or a class of them, got {optimizer!r}"
            )
        optimizer, usual = OPTIMIZERS[optimizer]
        settings = settings or {"lr": usual}
    elif not callable(optimizer):
        raise TypeError(f"optimizer must be a name, an optimizer or a class of them, got {optimizer!r}")
    if weight_decay is not None:
        settings["weight_decay"] = weight_decay
    made = optimizer(list(model.parameters()), **settings)
    if not callable(getattr(made, "step", None)) or not hasattr(made, "param_groups"):
        raise TypeError(f"optimizer must make an optimizer, with step() and param_groups, got {made!r:.60}")
    return made
