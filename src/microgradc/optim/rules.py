"""The optimizers: the settings of each, the arrays of its state and its rule, which is a loop in `updates`."""

from collections.abc import Iterable
from functools import partial
from typing import Any, ClassVar

from microgradc import checks
from microgradc.checks import BELOW_1, FINITE, FROM_0_TO_1, NOT_NEGATIVE
from microgradc.engine.value import Value
from microgradc.keywords import suggest_keywords
from microgradc.optim import updates
from microgradc.optim.optimizer import Group, Optimizer, within


class SGD(Optimizer):
    """Stochastic gradient descent, with momentum if asked: b ← momentum b + (1 - dampening) g, p ← p - lr b.

    Args:
        params: an iterable of Values or of groups, as for `Optimizer`.
        lr: the learning rate.
        momentum: the share of the last step's direction that is kept, in [0, 1].
        dampening: what is taken off the gradient's share in the direction.
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

    _buffers: ClassVar = {"momentum_buffer": "momentum"}
    _checks: ClassVar = {**Optimizer._checks, "dampening": within(FINITE), "nesterov": checks.flag}

    @suggest_keywords
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

    def _require_consistent(self, settings: dict[str, Any]) -> None:
        momentum, dampening = settings["momentum"], settings["dampening"]
        if settings["nesterov"] and not (momentum > 0 and dampening == 0):
            raise ValueError(f"nesterov needs a momentum, got {momentum}, and no dampening, got {dampening}")

    def _update(self, group: Group) -> None:
        momentum_buffer = group.buffers.get("momentum_buffer")
        updates.sgd(group.params, group.known, momentum_buffer, group.first, group.held, **group.settings)


class Adam(Optimizer):
    """Adam: p ← p - lr m / (sqrt(v) + eps), m and v running means of g and g², both corrected for their start at 0.

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

    _buffers: ClassVar = {"exp_avg": None, "exp_avg_sq": None, "max_exp_avg_sq": "amsgrad"}
    _checks: ClassVar = {**Optimizer._checks, "betas": partial(checks.pair, within=BELOW_1), "amsgrad": checks.flag}
    _decoupled: ClassVar[bool] = False

    @suggest_keywords
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

    def _update(self, group: Group) -> None:
        settings, buffers = group.settings, group.buffers
        beta1, beta2 = settings["betas"]
        lr, weight_decay = settings["lr"], settings["weight_decay"]
        updates.adam(
            group.params,
            group.known,
            buffers["exp_avg"],
            buffers["exp_avg_sq"],
            buffers.get("max_exp_avg_sq"),
            group.step,
            group.held,
            lr=lr,
            beta1=beta1,
            beta2=beta2,
            eps=settings["eps"],
            weight_decay=0 if self._decoupled else weight_decay,
            decay=1 - lr * weight_decay if self._decoupled else 1,
            maximize=settings["maximize"],
        )


class AdamW(Adam):
    """Adam with decoupled weight decay: p ← (1 - lr weight_decay) p before each step, and the gradient stays as it is.

    Loshchilov and Hutter, "Decoupled Weight Decay Regularization", 2019. The arguments are those of `Adam`; only the
    default of weight_decay differs.
    """

    _decoupled: ClassVar[bool] = True

    @suggest_keywords
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
    """RMSprop: p ← p - lr g / (sqrt(v) + eps), v a running mean of g².

    Hinton, "Neural Networks for Machine Learning", lecture 6.

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

    _buffers: ClassVar = {"square_avg": None, "grad_avg": "centered", "momentum_buffer": "momentum"}
    _checks: ClassVar = {**Optimizer._checks, "alpha": within(FROM_0_TO_1), "centered": checks.flag}

    @suggest_keywords
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

    def _update(self, group: Group) -> None:
        buffers = group.buffers
        updates.rmsprop(
            group.params,
            group.known,
            buffers["square_avg"],
            buffers.get("grad_avg"),
            buffers.get("momentum_buffer"),
            group.held,
            **{name: value for name, value in group.settings.items() if name != "centered"},
        )


class Adagrad(Optimizer):
    """Adagrad: p ← p - lr_t g / (sqrt(v) + eps), v the sum of all g², lr_t = lr / (1 + t lr_decay) at step t, from 0.

    Duchi, Hazan and Singer, "Adaptive Subgradient Methods for Online Learning and Stochastic Optimization", 2011.

    Args:
        params: an iterable of Values or of groups, as for `Optimizer`.
        lr: the learning rate.
        lr_decay: how fast the learning rate falls with the steps, at least 0.
        weight_decay: g ← g + weight_decay p, the gradient of an L2 penalty.
        initial_accumulator_value: where the sums begin, at least 0.
        eps: what keeps the denominator from 0.
        maximize: whether to go up instead of down.
    """

    _buffers: ClassVar = {"sum": None}
    _checks: ClassVar = {
        **Optimizer._checks,
        "lr_decay": within(NOT_NEGATIVE),
        "initial_accumulator_value": within(NOT_NEGATIVE),
    }

    @suggest_keywords
    def __init__(
        self,
        params: Iterable[Value] | Iterable[dict[str, Any]],
        lr: float = 1e-2,
        lr_decay: float = 0,
        weight_decay: float = 0,
        initial_accumulator_value: float = 0,
        eps: float = 1e-10,
        *,
        maximize: bool = False,
    ) -> None:
        defaults = {"lr": lr, "lr_decay": lr_decay, "eps": eps, "weight_decay": weight_decay, "maximize": maximize}
        super().__init__(params, {**defaults, "initial_accumulator_value": initial_accumulator_value})

    def _update(self, group: Group) -> None:
        params, known, sums = group.params, group.known, group.buffers["sum"]
        updates.adagrad(params, known, sums, group.step, group.first, group.held, **group.settings)


class NAdam(Optimizer):
    """Adam with Nesterov's momentum: the step is that of the next mean of g, with a momentum that rises over the steps.

    At step t, from 1, mu_t = beta1 (1 - 0.96^(t momentum_decay) / 2). With m and v the running means of g and g², v
    corrected for its start at 0,
    p ← p - lr ((1 - mu_t) g / (1 - mu_1 … mu_t) + mu_{t+1} m / (1 - mu_1 … mu_{t+1})) / (sqrt(v) + eps).

    Dozat, "Incorporating Nesterov Momentum into Adam", 2016. The product of the momenta is a number of each parameter,
    `state[i]["mu_product"]`.

    Args:
        params: an iterable of Values or of groups, as for `Optimizer`.
        lr: the learning rate.
        betas: how much of the running means of g and of g² a step keeps, both in [0, 1).
        eps: what keeps the denominator from 0.
        weight_decay: g ← g + weight_decay p, the gradient of an L2 penalty.
        momentum_decay: how fast the momentum rises, at least 0.
        decoupled_weight_decay: whether the weight decay is that of `AdamW`, p ← (1 - lr weight_decay) p.
        maximize: whether to go up instead of down.
    """

    _buffers: ClassVar = {"exp_avg": None, "exp_avg_sq": None, "mu_product": None}
    _checks: ClassVar = {
        **Optimizer._checks,
        "betas": partial(checks.pair, within=BELOW_1),
        "momentum_decay": within(NOT_NEGATIVE),
        "decoupled_weight_decay": checks.flag,
    }

    @suggest_keywords
    def __init__(
        self,
        params: Iterable[Value] | Iterable[dict[str, Any]],
        lr: float = 2e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        momentum_decay: float = 4e-3,
        decoupled_weight_decay: bool = False,
        *,
        maximize: bool = False,
    ) -> None:
        defaults = {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay, "maximize": maximize}
        decays = {"momentum_decay": momentum_decay, "decoupled_weight_decay": decoupled_weight_decay}
        super().__init__(params, {**defaults, **decays})

    def _update(self, group: Group) -> None:
        settings, buffers = group.settings, group.buffers
        beta1, beta2 = settings["betas"]
        lr, weight_decay, decoupled = settings["lr"], settings["weight_decay"], settings["decoupled_weight_decay"]
        updates.nadam(
            group.params,
            group.known,
            buffers["exp_avg"],
            buffers["exp_avg_sq"],
            buffers["mu_product"],
            group.step,
            group.first,
            group.held,
            lr=lr,
            beta1=beta1,
            beta2=beta2,
            eps=settings["eps"],
            weight_decay=0 if decoupled else weight_decay,
            decay=1 - lr * weight_decay if decoupled else 1,
            momentum_decay=settings["momentum_decay"],
            maximize=settings["maximize"],
        )
