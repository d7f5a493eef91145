"""How an estimator trains its network: the steps, the loss and the rules that end it are those of scikit-learn's."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np

import microgradc
from microgradc.engine.functions import dot, stop_gradient
from microgradc.losses import binary_cross_entropy_with_logits, cross_entropy

ACTIVATIONS = {"identity": "linear", "logistic": "sigmoid", "tanh": "tanh", "relu": "relu"}

_LOWEST_RATE = 1e-6      # of learning_rate="adaptive"


def make_network(sizes: list[int], activation: str, rng: Any) -> microgradc.MLP:
    """Return a network with scikit-learn's initial weights, from the same random numbers."""
    factor = 2.0 if activation == "logistic" else 6.0
    rows = []
    for nin, nout in pairwise(sizes):
        bound = math.sqrt(factor / (nin + nout))
        weights = rng.uniform(-bound, bound, (nin, nout))
        rows.append(np.column_stack([weights.T, rng.uniform(-bound, bound, nout)]).ravel())
    model = microgradc.MLP(sizes[0], sizes[1:], activation=ACTIVATIONS[activation], seed=0)
    model.set_vector(np.concatenate(rows))
    return model


def squared_error(output: Any, y: Any) -> Any:
    """Return half of the mean squared error, with the gradient of half of the sum, as scikit-learn has it."""
    outputs, targets = (output, y) if isinstance(output, list) else ([output], [y])
    errors = [z - t for z, t in zip(outputs, targets, strict=True)]
    total = 0.5 * dot(errors, errors)
    return total if len(errors) == 1 else total + stop_gradient(total / len(errors) - total)


def log_loss(output: Any, y: Any) -> Any:
    """Return the loss of classes: y is the number of one, or 0 or 1 for each output."""
    if not isinstance(output, list):
        return binary_cross_entropy_with_logits([output], [y])
    if hasattr(y, "__len__"):
        return binary_cross_entropy_with_logits(output, y, reduction="sum")
    return cross_entropy([output], [y])


def compiled_loss(model: microgradc.MLP, loss: Callable[[Any, Any], Any]) -> Any:
    """Return the loss of an example, compiled: of its inputs, its target, its weight and that of the penalty."""
    weights = [w for layer in model.layers for neuron in layer.neurons for w in neuron.w]

    def example(x: Any, y: Any, weight: Any, decay: Any) -> Any:
        return weight * loss(model(x), y) + decay * (0.5 * dot(weights, weights))

    return microgradc.compile(example)


def compiled_outputs(model: microgradc.MLP) -> Any:
    """Return the network compiled, without its parameters."""
    return microgradc.compile(lambda x: model(x))


class Examples:
    """Examples to train on, and what each weighs in its batch.

    The loss of a batch is the weighted mean of those of its examples, and alpha / 2 times the sum of the squared
    weights of the network over the sum of those of the examples. A mean over the batch is that if each example has
    factors of its own.
    """

    y: np.ndarray
    weight: np.ndarray | None
    begins: np.ndarray
    counts: np.ndarray
    alpha: float
    size: int

    def __init__(self, X: np.ndarray, y: np.ndarray, weight: np.ndarray | None, alpha: float, size: int) -> None:
        self.X, self.y, self.weight, self.alpha, self.size = X, y, weight, alpha, size
        self.begins = np.arange(0, len(X), size)
        self.counts = np.diff(np.append(self.begins, len(X)))

    def ordered(self, order: np.ndarray | None) -> tuple[np.ndarray, ...]:
        """Return the arguments of the loss for all examples, in an order or as they are."""
        X, y, weight = self.X, self.y, self.weight
        if order is not None:
            X, y, weight = X[order], y[order], None if weight is None else weight[order]
        if weight is None:
            return X, y, np.ones(len(X)), np.repeat(self.alpha / self.counts, self.counts)
        totals = np.add.reduceat(weight, self.begins)
        # A batch whose weights are all 0 teaches nothing.
        factors = np.divide(self.counts, totals, out=np.zeros(len(totals)), where=totals > 0)
        of_examples = np.repeat(factors, self.counts)
        return X, y, weight * of_examples, of_examples * np.repeat(self.alpha / self.counts, self.counts)


def make_optimizer(estimator: Any, model: microgradc.MLP) -> Any:
    """Return the optimizer that an estimator asks for."""
    rate, params = estimator.learning_rate_init, model.parameters()
    betas = estimator.beta_1, estimator.beta_2
    match estimator.solver:
        case "sgd":
            nesterov = estimator.nesterovs_momentum and estimator.momentum > 0
            return microgradc.SGD(params, lr=rate, momentum=estimator.momentum, nesterov=nesterov)
        case "adam":
            return microgradc.Adam(params, lr=rate, betas=betas, eps=estimator.epsilon)
        case "adamw":
            return microgradc.AdamW(params, lr=rate, betas=betas, eps=estimator.epsilon, weight_decay=estimator.alpha)
        case _:
            return microgradc.RMSprop(params, lr=rate, eps=estimator.epsilon)


def train(
    estimator: Any, loss: Any, examples: Examples, score: Callable[[], float] | None, rng: Any, epochs: int
) -> None:
    """Train an estimator's network by its optimizer for so many epochs at most, and note what it saw.

    Args:
        loss: as `compiled_loss` returns it.
        score: returns how good the network is on examples that were kept apart; None without these.
        rng: for the order.
    """
    model, optimizer, n = estimator.model_, estimator._optimizer, len(examples.X)
    order = np.arange(n) if estimator.shuffle else None
    best = model.vector().copy()
    estimator.n_iter_ = 0
    given = examples.ordered(None)
    try:
        for _ in range(epochs):
            if order is not None:
                turns = np.arange(n)       # what `sklearn.utils.shuffle` does
                rng.shuffle(turns)
                order = order[turns]
                given = examples.ordered(order)
            estimator.loss_ = float(loss.train(optimizer, *given, batch_size=examples.size, shuffle=False)[0])
            estimator.n_iter_ += 1
            estimator.t_ += n
            estimator.loss_curve_.append(estimator.loss_)
            if estimator.verbose:
                print(f"Iteration {estimator.n_iter_}, loss = {estimator.loss_:.8f}")
            if score is None:
                _note_loss(estimator)
            elif _note_score(estimator, score()):
                best = model.vector().copy()
            if estimator.solver == "sgd" and estimator.learning_rate == "invscaling":
                _set_rate(optimizer, estimator.learning_rate_init / (estimator.t_ + 1) ** estimator.power_t)
            if estimator._no_improvement_count > estimator.n_iter_no_change:
                rate = optimizer.param_groups[0]["lr"]
                if estimator.solver != "sgd" or estimator.learning_rate != "adaptive" or rate <= _LOWEST_RATE:
                    break
                _set_rate(optimizer, rate / 5)
                estimator._no_improvement_count = 0
    except KeyboardInterrupt:
        warnings.warn("training was interrupted", stacklevel=4)
    except FloatingPointError as error:
        raise ValueError(f"the training diverged: {error}. Inputs of size 1 (StandardScaler) may help") from None
    if score is not None:
        model.set_vector(best)


def _set_rate(optimizer: Any, rate: float) -> None:
    """Set the learning rate of SGD. Its momentum is of gradients, and scikit-learn's of steps: they stay the same."""
    group, state = optimizer.param_groups[0], optimizer.state[0]
    if "momentum_buffer" in state:
        state["momentum_buffer"] *= group["lr"] / rate
    group["lr"] = rate


def _note_loss(estimator: Any) -> None:
    latest = estimator.loss_curve_[-1]
    is_better = latest <= estimator.best_loss_ - estimator.tol
    estimator._no_improvement_count = 0 if is_better else estimator._no_improvement_count + 1
    estimator.best_loss_ = min(latest, estimator.best_loss_)


def _note_score(estimator: Any, score: float) -> bool:
    """Note the score of an epoch; return whether it is the best so far."""
    estimator.validation_scores_.append(score)
    if estimator.verbose:
        print(f"Validation score: {score:f}")
    is_better = score >= estimator.best_validation_score_ + estimator.tol
    estimator._no_improvement_count = 0 if is_better else estimator._no_improvement_count + 1
    if score > estimator.best_validation_score_:
        estimator.best_validation_score_ = score
        return True
    return False


def minimize(estimator: Any, loss: Any, examples: Examples) -> None:
    """Train an estimator's network by SciPy's L-BFGS, over all examples at once."""
    from scipy.optimize import minimize as scipy_minimize

    model, given = estimator.model_, examples.ordered(None)

    def value_and_grad(theta: np.ndarray) -> tuple[float, np.ndarray]:
        model.set_vector(theta)
        model.zero_grad()
        total = loss.mean(*given)
        total.backward()
        return total.data, model.vector("grad").copy()

    options = {"maxfun": estimator.max_fun, "maxiter": estimator.max_iter, "gtol": estimator.tol}
    found = scipy_minimize(value_and_grad, model.vector().copy(), method="L-BFGS-B", jac=True, options=options)
    model.set_vector(found.x)
    model.zero_grad()
    estimator.loss_, estimator.n_iter_ = float(found.fun), int(found.nit)
    if not np.isfinite(found.x).all() or not math.isfinite(found.fun):
        raise ValueError("the training diverged: the loss or a parameter became inf or nan")


