"""The training loop: `fit` and its `History`."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from time import perf_counter
from typing import Any

from tqdm import tqdm

from microgradc import optim
from microgradc import checks
from microgradc.train.data import batches, hold_out
from microgradc.train.scores import accuracy, outputs, set_mode
from microgradc.train.task import Loss, Task
from microgradc.train.ways import Compiled, Eager, choose_way

__all__ = ["History", "accuracy", "fit", "outputs"]

# The optimizers that have a name, and the learning rate that suits networks of some hundred parameters.
OPTIMIZERS: dict[str, tuple[Any, float]] = {
    "sgd": (optim.SGD, 0.1),
    "adam": (optim.Adam, 0.01),
    "adamw": (optim.AdamW, 0.01),
    "rmsprop": (optim.RMSprop, 0.01),
}


class History:
    """What `fit` saw, one entry for each epoch that was completed.

    Attributes:
        loss: the mean loss of the examples, each at its turn in the epoch.
        accuracy: the share of examples that were classified right at their turn; empty if the targets are no classes.
        validation_loss, validation_accuracy: the same of the validation data, after the epoch; empty if there are none.
        lr: the learning rate.
        seconds: how long the epoch took.
        interrupted: whether Ctrl-C ended the training.
        why_eager: why the training was not compiled; '' if it was.
    """

    def __init__(self) -> None:
        self.loss: list[float] = []
        self.accuracy: list[float] = []
        self.validation_loss: list[float] = []
        self.validation_accuracy: list[float] = []
        self.lr: list[float] = []
        self.seconds: list[float] = []
        self.interrupted = False
        self.why_eager = ""

    def __len__(self) -> int:
        return len(self.loss)

    def append(self, entry: dict[str, float]) -> None:
        """Add an epoch: a number for each attribute that has one."""
        for name, number in entry.items():
            getattr(self, name).append(number)

    def latest(self) -> dict[str, str]:
        """Return the latest losses and accuracies as text, by name."""
        names = [name for name in ("loss", "accuracy", "validation_loss", "validation_accuracy") if getattr(self, name)]
        return {name: format(getattr(self, name)[-1], ".1%" if name.endswith("accuracy") else ".4g") for name in names}

    def __repr__(self) -> str:
        facts = [f"{len(self)} epochs", *(f"{name} {text}" for name, text in self.latest().items()), *["interrupted"] * self.interrupted]
        return f"<History: {', '.join(facts)}>"


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
    check_finite: bool = True,
    compile: bool | None = None,
) -> History:
    """Train a model on examples, and leave it in evaluation mode. `model.fit(X, y, …)` is this function.

    Args:
        model: a `Module`, or anything that can be called with a list of numbers and has `parameters()`.
        X: examples, numbers of shape (n, nin).
        y: targets, numbers of shape (n,), or (n, nout) for several outputs.
        loss: a function of a list of outputs and a list of targets that returns a Value, or the name of one in `microgradc.losses`. By
            default, integer targets are classes: with several outputs it is `cross_entropy`; with one, it is
            `binary_cross_entropy_with_logits` for targets 0 and 1, and `hinge_loss` for -1 and 1. Otherwise it is `mse_loss`.
        optimizer: 'sgd', 'adam', 'adamw' or 'rmsprop'; an optimizer; or a function that makes one of a list of parameters and, if it is
            given, lr, such as a class in `microgradc.optim`.
        lr: the learning rate; by default 0.01 ('sgd': 0.1) for an optimizer that is named, its own default for a function.
        epochs: how often to go through the examples.
        batch_size: how many examples make a step of the optimizer; the last step of an epoch takes what is left.
        shuffle: whether to take the examples in another order in each epoch.
        seed: for the order, an integer or a `random.Random`; None for the module `random`.
        validation: examples to evaluate after each epoch: a pair (X, y), or the share of the examples to keep apart for it.
        progress: whether to show a progress bar (tqdm, on standard error).
        callback: called with the history after each epoch; training ends early if it returns True.
        check_finite: whether an inf or nan in the data, or a loss that becomes one, is an error.
        compile: whether to compile the model and the loss, which makes training some ten times faster (`microgradc.compile`); by
            default, where that is possible: not with dropout, a loss of your own, or a model that looks at its numbers.
            `History.why_eager` says why not. A callback may change the model; it is then compiled again.

    Returns:
        A History. After Ctrl-C (KeyboardInterrupt) it has the epochs that were completed, and the model is what it was then.

    Raises:
        ValueError: the data are empty, not finite, of the wrong shape or out of range; so is another argument.
        TypeError: the data are no numbers; an argument is of the wrong type.
        FloatingPointError: the loss became inf or nan; the parameters are those before that step.
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
    if compile is not None:
        compile = checks.flag(compile, "compile")
    if callback is not None and not callable(callback):
        raise TypeError(f"callback must be a function of the history, got {callback!r:.60}")
    rng = checks.seed(seed)
    X, y = checks.examples(X, y, check_finite)
    held_out = None
    if isinstance(validation, (tuple, list)) and len(validation) == 2:
        held_out = checks.examples(*validation, check_finite, "the validation data's ")
        if held_out[0].shape[1] != X.shape[1]:
            raise ValueError(f"the validation data's X has {held_out[0].shape[1]} columns, X has {X.shape[1]}")
    elif validation is not None:
        (X, y), held_out = hold_out(X, y, validation, rng)
    count = outputs(model, X[:1]).size
    task = Task(loss, y, count)
    task.check(y, count)
    if held_out is not None:
        task.check(held_out[1], count, "the validation data's ")
    steps = make_optimizer(optimizer, model, lr)
    history = History()
    set_mode(model, training=True)
    try:
        way, history.why_eager = choose_way(model, task, X[0], y[0], compile)
        with tqdm(total=epochs, desc="training, compiled" if way.compiled else "training", unit="epoch", disable=not progress) as bar:
            for _ in range(epochs):
                set_mode(model, training=True)
                begin, rate = perf_counter(), steps.param_groups[0]["lr"]
                turns = batches(X, y, batch_size, shuffle=shuffle, seed=rng)
                entry = train_epoch(way, turns, task, steps, check_finite)
                entry |= {"lr": rate, "seconds": perf_counter() - begin}
                if held_out is not None:
                    found = task.measure(*way.evaluate(*held_out), held_out[1])
                    entry |= {f"validation_{name}": number for name, number in found.items()}
                history.append(entry)
                bar.set_postfix(history.latest(), refresh=False)
                bar.update()
                if callback is None:
                    continue
                if callback(history) is True:
                    break
                set_mode(model, training=True)
                if isinstance(way, Compiled) and not way.is_current():     # the callback changed the model
                    way, history.why_eager = choose_way(model, task, X[0], y[0], compile)
    except KeyboardInterrupt:
        history.interrupted = True
    finally:
        set_mode(model, training=False)
    return history


def train_epoch(way: Eager | Compiled, turns: Iterable[tuple[Any, Any]], task: Task, steps: Any, check_finite: bool) -> dict[str, float]:
    """Take one step of the optimizer for each batch; return the mean loss and accuracy, each example at its turn."""
    totals: dict[str, float] = {}
    count = 0
    for X, y in turns:
        steps.zero_grad()
        loss, results = way.add_gradients(X, y)
        if check_finite and not math.isfinite(loss):
            raise FloatingPointError(
                f"the loss became {loss}; a lower learning rate than {steps.param_groups[0]['lr']} may help, or inputs of size 1, "
                "or optim.clip_grad_norm_. (check_finite=False goes on.)"
            )
        steps.step()
        for name, number in task.measure(loss, results, y).items():
            totals[name] = totals.get(name, 0.0) + number * len(y)
        count += len(y)
    return {name: total / count for name, total in totals.items()}


def make_optimizer(optimizer: Any, model: Any, lr: float | None) -> Any:
    """Return the optimizer that `fit` was asked for."""
    if not callable(getattr(model, "parameters", None)):
        raise TypeError(f"model must be a Module, or have a method parameters(), got {model!r:.60}")
    if isinstance(optimizer, optim.Optimizer):
        ours = {id(p) for p in model.parameters()}
        if not any(id(p) in ours for group in optimizer.param_groups for p in group["params"]):
            raise ValueError("the optimizer has none of the model's parameters; make it from model.parameters()")
        if lr is not None:
            raise ValueError("lr is given to the optimizer that you made; leave it out here")
        return optimizer
    settings = {} if lr is None else {"lr": lr}
    if isinstance(optimizer, str):
        if optimizer not in OPTIMIZERS:
            raise ValueError(f"optimizer must be one of {', '.join(OPTIMIZERS)}, an optimizer or a class of them, got {optimizer!r}")
        optimizer, usual = OPTIMIZERS[optimizer]
        settings = settings or {"lr": usual}
    elif not callable(optimizer):
        raise TypeError(f"optimizer must be a name, an optimizer or a class of them, got {optimizer!r}")
    return optimizer(list(model.parameters()), **settings)
