"""`fit`: train a model on examples."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from microgradc import checks
from microgradc.checks import BOUND
from microgradc.keywords import suggest_keywords
from microgradc.program.training import wants_loss
from microgradc.train.callbacks import checked_callbacks
from microgradc.train.data import hold_out
from microgradc.train.history import History
from microgradc.train.kept import known_count
from microgradc.train.labels import Labels, find_labels
from microgradc.train.loop import Examples, Loop
from microgradc.train.metrics import checked_metrics
from microgradc.train.optimizers import make_optimizer
from microgradc.train.predictions import remember
from microgradc.train.scores import accuracy, by_row, outputs
from microgradc.train.task import Loss, Task, kind_of, named_loss
from microgradc.train.weights import checked_weights, with_classes

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from microgradc.checks import Seed
    from microgradc.optim import Optimizer
    from microgradc.train.callbacks import Callback as Callback

    Stepping: TypeAlias = str | Optimizer | Callable[..., Any]      # what makes the steps

__all__ = ["History", "accuracy", "fit", "outputs"]


@suggest_keywords
def fit(
    model: Any,
    X: ArrayLike,
    y: ArrayLike,
    *,
    loss: str | Loss | None = None,
    optimizer: Stepping = "adam",
    lr: float | None = None,
    weight_decay: float | None = None,
    epochs: int = 100,
    batch_size: int = 32,
    shuffle: bool = True,
    seed: Seed = None,
    validation: float | tuple[ArrayLike, ...] | None = None,
    sample_weight: ArrayLike | None = None,
    class_weight: Mapping[Any, float] | Literal["balanced"] | None = None,
    metrics: str | Callable[..., Any] | Sequence[str | Callable[..., Any]] | None = None,
    schedule: Any = None,
    schedule_every: Literal["epoch", "step"] = "epoch",
    clip_norm: float | None = None,
    progress: bool = True,
    callback: Callable[[History], Any] | None = None,
    callbacks: Sequence[Callback] | None = None,
    check_finite: bool = True,
    compile: bool | None = None,
) -> History:
    """Train a model on examples, and leave it in evaluation mode. `model.fit(X, y, …)` is this function.

    Within `no_grad` it trains all the same: its gradients are its own.

    Args:
        model: a `Module`, or anything that can be called with a list of numbers and has `parameters()`.
        X: examples, numbers of shape (n, nin).
        y: targets, numbers of shape (n,), or (n, nout) for several outputs; or classes, of shape (n,): texts, bools,
            categories of pandas, integers, or floats for several outputs. Their labels are remembered in
            `model.classes_`. Integers from 0 are the indices of several outputs.
        loss: a function of a list of outputs and a list of targets that returns a Value, or the name of one in
            `microgradc.losses`. By default, texts, bools and integers are classes: with several outputs it is
            `cross_entropy`; with one, it is `binary_cross_entropy_with_logits`, and `hinge_loss` for -1 and 1.
            Otherwise it is `mse_loss`. A function of your own gets 0, 1, … for labels that are others.
        optimizer: 'sgd', 'adam', 'adamw', 'rmsprop', 'adagrad' or 'nadam'; an optimizer; or a function that makes one
            of a list of parameters and, if it is given, lr, such as a class in `microgradc.optim`.
        lr: the learning rate; by default 0.01 ('sgd' and 'adagrad': 0.1) for an optimizer that is named, its own
            default for a function.
        weight_decay: for the optimizer that is made here, see there.
        epochs: how often to go through the examples.
        batch_size: how many examples make a step of the optimizer; the last step of an epoch takes what is left.
        shuffle: whether to take the examples in another order in each epoch.
        seed: for the order, an integer, a `random.Random` or a NumPy generator; None for the module `random`.
        validation: examples to evaluate after each epoch: a pair (X, y), or with weights (X, y, sample_weight); or the
            share of the examples to keep apart for it, of each class the same.
        sample_weight: a number for each example, with which its loss is multiplied.
        class_weight: a number for each label in a dict, with which the losses of its examples are multiplied, 1 for
            those that are not in it; or 'balanced', n / (number of classes * examples of the class).
        metrics: what else is measured, in training and validation: names, of 'balanced_accuracy', 'precision',
            'recall', 'f1', 'roc_auc' and losses for classes, 'mse', 'rmse', 'mae', 'r2' and losses for numbers; or
            functions of targets and what is predicted for them, such as those in `sklearn.metrics`.
        schedule: a schedule of the optimizer's learning rates; or a function that makes one of the optimizer.
        schedule_every: when it steps, after each "epoch" or "step".
        clip_norm: the largest norm of all gradients of a step, see `clip_grad_norm_`.
        progress: whether to show a progress bar (tqdm, on standard error).
        callback: called with the history after each epoch; training ends early if it returns True, Python's or NumPy's.
        callbacks: objects with a method `on_epoch_end(model, history)`, such as `EarlyStopping()`, which is called
            after each epoch; a true result of one ends the training. Those that have `on_train_begin(model, history)`
            or `on_train_end`, with the same arguments, are called then too.
        check_finite: whether an inf or nan in the data, or a loss or gradient that becomes one, is an error.
        compile: whether to compile the model and the loss, which makes training some ten times faster
            (`microgradc.compile`); by default, where that is possible: not with dropout, a loss of your own, or a model
            that looks at its numbers. `History.why_eager` says why not. A callback may change the model; it is then
            compiled again.

    Returns:
        A History. After Ctrl-C (KeyboardInterrupt) it has the epochs that were completed, and the model is what it was
        then.

    Raises:
        ValueError: the data are empty, not finite, of the wrong shape or out of range; so is another argument.
        TypeError: the data are not numbers; an argument is of the wrong type.
        FloatingPointError: the loss or a gradient became inf or nan; the parameters are those before that step.
        CompileError: compile is True, and that is not possible.

    >>> import numpy as np
    >>> from microgradc import nn
    >>> model = nn.MLP(1, [8, 1], activation="tanh", seed=0)
    >>> x = np.linspace(-1, 1, 20)
    >>> history = model.fit(x[:, None], x**2, epochs=200, seed=0, progress=False)
    >>> history.loss[-1] < 0.01
    True
    """
    checks.integer(epochs, "epochs", 1)
    checks.integer(batch_size, "batch_size", 1)
    checks.flag(shuffle, "shuffle")
    checks.flag(progress, "progress")
    checks.flag(check_finite, "check_finite")
    if compile is not None:
        compile = checks.flag(compile, "compile")
    if callback is not None and not callable(callback):
        raise TypeError(f"callback must be a function of the history, got {callback!r:.60}")
    found = checked_callbacks(callbacks)
    if schedule_every not in ("epoch", "step"):
        raise ValueError(f"schedule_every must be 'epoch' or 'step', got {schedule_every!r:.40}")
    if clip_norm is not None:
        clip_norm = checks.number(clip_norm, "clip_norm", BOUND)
    rng = checks.seed(seed)
    prepared = prepare(model, X, y, loss, validation, sample_weight, class_weight, metrics, rng, check_finite)
    steps = make_optimizer(optimizer, model, lr, weight_decay)
    is_own = not (rng is random or rng is seed)
    loop = Loop(
        model, *prepared, steps, rng, batch_size, shuffle, check_finite, compile,
        make_schedule(schedule, steps, schedule_every), schedule_every, clip_norm, callback, found, is_own,
    )
    remember(model, loop.task)
    return loop.run(epochs, progress)


def prepare(
    model: Any, X: Any, y: Any, loss: Any, validation: Any, sample_weight: Any, class_weight: Any, metrics: Any,
    rng: Any, check_finite: bool,
) -> tuple[Task, Examples, Examples | None]:
    """Return what is to be learnt of which examples, and those to evaluate, all checked. The arguments are `fit`'s."""
    loss = named_loss(loss)
    rows = checks.rows(X)
    count = known_count(model, rows.shape[1]) or by_row(model, rows[:1]).size
    labels = find_labels(y, kind_of(loss), count)
    X, y = checks.examples(rows, labels.encode(y), check_finite)
    weights = checked_weights(sample_weight, len(y))
    task = Task(loss, y, count, labels, checked_metrics(metrics, labels.classes is not None))
    task.check(y, count)
    examples, held_out = Examples(X, y, weights), None
    if isinstance(validation, (tuple, list)) and len(validation) in (2, 3):
        whose = "the validation data's "
        X_out, y_out = checks.examples(validation[0], labels.encode(validation[1], whose), check_finite, whose)
        if X_out.shape[1] != X.shape[1]:
            raise ValueError(f"{whose}X has {X_out.shape[1]} columns, X has {X.shape[1]}")
        task.check(y_out, count, whose)
        weights_out = validation[2] if len(validation) == 3 else None
        held_out = Examples(X_out, y_out, checked_weights(weights_out, len(y_out), f"{whose}sample_weight"))
    elif validation is not None:
        kept, apart = hold_out(y, validation, rng, labels.classes is not None and y.ndim == 1)
        examples, held_out = examples.taken(kept), examples.taken(apart)
    return task, with_class_weight(examples, class_weight, labels), held_out


def with_class_weight(examples: Examples, class_weight: Any, labels: Labels) -> Examples:
    """Return examples whose weights are multiplied with those of their classes."""
    return examples._replace(weights=with_classes(examples.weights, class_weight, examples.y, labels))


def make_schedule(schedule: Any, optimizer: Any, every: str) -> Any:
    """Return the schedule that `fit` was asked for."""
    if schedule is None:
        return None
    found = schedule if callable(getattr(schedule, "step", None)) and not isinstance(schedule, type) else None
    if found is None and callable(schedule):
        found = schedule(optimizer)
    if not callable(getattr(found, "step", None)):
        expected = "a schedule, or a function that makes one of the optimizer, such as lambda o: StepLR(o, 10)"
        raise TypeError(f"schedule must be {expected}, got {schedule!r:.60}")
    if getattr(found, "optimizer", optimizer) is not optimizer:
        raise ValueError("the schedule is of another optimizer: give that as optimizer=, or a function of one")
    if every == "step" and wants_loss(found):
        raise ValueError(f"{type(found).__name__} looks at the loss of an epoch: give schedule_every='epoch'")
    return found
