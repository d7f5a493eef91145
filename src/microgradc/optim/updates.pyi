"""The loops of `optim` over a list of parameters. Everything is checked before the first of them changes."""

from typing import Any, SupportsIndex

from typing_extensions import disjoint_base

from microgradc.engine.value import Value, _Number

__all__ = [
    "Held",
    "Known",
    "adagrad",
    "adam",
    "clamp_grads",
    "grad_norm",
    "nadam",
    "not_finite",
    "require_parameters",
    "rmsprop",
    "scale_grads",
    "sgd",
    "zero_grad",
]

# A buffer is a writable float64 array with one number for each parameter: anything with the buffer protocol.

@disjoint_base
class Known:
    """A list of parameters that has passed all checks, as a tuple: it owns them, and what is a leaf remains one."""

@disjoint_base
class Held:
    """The rule of a group of parameters, as a loop in C takes it: its settings, and its buffers, which it owns."""

    def capsule(self) -> Any:
        """Return a capsule of an `mgc_update`, which this must outlive."""

def require_parameters(params: list[Value], buffers: dict[str, Any], known: Known | None = None) -> None:
    """Raise what a step over these parameters with these buffers, arrays by name, would raise."""
    ...

def zero_grad(params: list[Value], known: Known) -> None:
    """Set the gradient of each parameter to 0."""
    ...

def not_finite(params: list[Value], known: Known) -> int:
    """Return the place of the first parameter whose gradient is inf or nan; -1 if there is none."""
    ...

def sgd(
    params: list[Value],
    known: Known,
    momentum_buffer: Any,
    first: bool,
    held: Held | None = None,
    *,
    lr: _Number,
    momentum: _Number,
    dampening: _Number,
    weight_decay: _Number,
    nesterov: bool,
    maximize: bool,
) -> None:
    """Take a step of stochastic gradient descent."""
    ...

def adam(
    params: list[Value],
    known: Known,
    exp_avg: Any,
    exp_avg_sq: Any,
    max_exp_avg_sq: Any,
    step: SupportsIndex,
    held: Held | None = None,
    *,
    lr: _Number,
    beta1: _Number,
    beta2: _Number,
    eps: _Number,
    weight_decay: _Number,
    decay: _Number,
    maximize: bool,
) -> None:
    """Take a step of Adam."""
    ...

def rmsprop(
    params: list[Value],
    known: Known,
    square_avg: Any,
    grad_avg: Any,
    momentum_buffer: Any,
    held: Held | None = None,
    *,
    lr: _Number,
    alpha: _Number,
    eps: _Number,
    weight_decay: _Number,
    momentum: _Number,
    maximize: bool,
) -> None:
    """Take a step of RMSprop."""
    ...

def adagrad(
    params: list[Value],
    known: Known,
    sum: Any,
    step: SupportsIndex,
    first: bool,
    held: Held | None = None,
    *,
    lr: _Number,
    lr_decay: _Number,
    weight_decay: _Number,
    initial_accumulator_value: _Number,
    eps: _Number,
    maximize: bool,
) -> None:
    """Take a step of Adagrad."""
    ...

def nadam(
    params: list[Value],
    known: Known,
    exp_avg: Any,
    exp_avg_sq: Any,
    mu_product: Any,
    step: SupportsIndex,
    first: bool,
    held: Held | None = None,
    *,
    lr: _Number,
    beta1: _Number,
    beta2: _Number,
    eps: _Number,
    weight_decay: _Number,
    decay: _Number,
    momentum_decay: _Number,
    maximize: bool,
) -> None:
    """Take a step of NAdam."""
    ...

def grad_norm(params: list[Value], p: _Number) -> float:
    """Return the p-norm of all gradients together, as torch.linalg.vector_norm."""
    ...

def scale_grads(params: list[Value], factor: _Number) -> None:
    """Multiply all gradients with a factor."""
    ...

def clamp_grads(params: list[Value], largest: _Number) -> None:
    """Put all gradients into [-largest, largest]; nan stays nan."""
    ...
