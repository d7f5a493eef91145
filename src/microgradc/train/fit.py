"""`fit`: train a model on examples."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

from microgradc import checks
from microgradc.keywords import suggest_keywords
from microgradc.train.callbacks import checked_callbacks
from microgradc.train.data import split_validation
from microgradc.train.history import History
from microgradc.train.loop import Loop
from microgradc.train.optimizers import make_optimizer
from microgradc.train.scores import accuracy, outputs
from microgradc.train.task import Loss, Task

__all__ = ["History", "accuracy", "fit", "outputs"]


@suggest_keywords
def fit(
    model: Any,
    X: Any,
    y: Any,
    *,
    loss: str | Loss | None = None,
    optimizer: Any = "adam",
    lr: float | None = None,
    epochs: int = 100,
    batch_size: int = 32,
    shuffle: bool = True,
    seed: Any = None,
    validation: float | tuple[Any, Any] | None = None,
    progress: bool = True,
    callback: Callable[[History], Any] | None = None,
    callbacks: Any = None,
    check_finite: bool = True,
    compile: bool | None = None,
) -> History:
    """Train a model on examples, and leave it in evaluation mode. `model.fit(X, y, …)` is this function.

    Within `no_grad` it trains all the same: its gradients are its own.

    Args:
        model: a `Module`, or anything that can be called with a list of numbers and has `parameters()`.
        X: examples, numbers of shape (n, nin).
        y: targets, numbers of shape (n,), or (n, nout) for several outputs.
        loss: a function of a list of outputs and a list of targets that returns a Value, or the name of one in
            `microgradc.losses`. By default, integer targets are classes: with several outputs it is `cross_entropy`;
            with one, it is `binary_cross_entropy_with_logits` for targets 0 and 1, and `hinge_loss` for -1 and 1.
            Otherwise it is `mse_loss`.
        optimizer: 'sgd', 'adam', 'adamw' or 'rmsprop'; an optimizer; or a function that makes one of a list of
            parameters and, if it is given, lr, such as a class in `microgradc.optim`.
        lr: the learning rate; by default 0.01 ('sgd': 0.1) for an optimizer that is named, its own default for a
            function.
        epochs: how often to go through the examples.
        batch_size: how many examples make a step of the optimizer; the last step of an epoch takes what is left.
        shuffle: whether to take the examples in another order in each epoch.
        seed: for the order, an integer, a `random.Random` or a NumPy generator; None for the module `random`.
        validation: examples to evaluate after each epoch: a pair (X, y), or the share of the examples to keep apart for
            it.
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
    rng = checks.seed(seed)
    examples, held_out = split_validation(checks.examples(X, y, check_finite), validation, rng, check_finite)
    count = outputs(model, examples[0][:1]).size
    task = Task(loss, examples[1], count)
    task.check(examples[1], count)
    if held_out is not None:
        task.check(held_out[1], count, "the validation data's ")
    steps = make_optimizer(optimizer, model, lr)
    is_own = not (rng is random or rng is seed)
    loop = Loop(
        model, task, steps, examples, held_out, rng, batch_size, shuffle, check_finite, compile, callback, found, is_own
    )
    return loop.run(epochs, progress)
