"""Who looks at a training after its epochs: callbacks that may end it, keep its best model, or show how far it is."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from importlib import import_module
from typing import Any, Protocol

import numpy as np

from microgradc import checks
from microgradc.checks import NOT_NEGATIVE
from microgradc.container import check_path
from microgradc.keywords import suggest_keywords
from microgradc.modes import evaluating
from microgradc.train.bars import new_bar
from microgradc.train.history import History

__all__ = ["EarlyStopping", "ModelCheckpoint", "ProgressBar"]


class Callback(Protocol):
    """What `fit` asks after each epoch. If it has `on_train_begin` or `on_train_end`, they get the same arguments."""

    def on_epoch_end(self, model: Any, history: History, /) -> Any:
        """Look at an epoch that was completed; what is true ends the training."""


class EarlyStopping:
    """End a training that has stopped to get better.

    Args:
        patience: after how many epochs in a row without a better number.
        min_delta: how much better is better.
        restore_best: whether the model gets the parameters of its best epoch back, however the training ends, but for
            Ctrl-C.
        monitor: the number to look at, a list of the `History` or one of its metrics: the least is the best of losses
            and errors, the largest of all else. None for `validation_loss` if there is validation, else `loss`.

    Attributes:
        best: the best number, nan before there was one.
        best_epoch: its epoch, from 1; 0 before there was one.

    Raises:
        TypeError, ValueError: an argument is of the wrong type, or out of range; at the first epoch, there is no such
            number.

    >>> from microgradc import MLP, make_moons
    >>> X, y = make_moons(100, noise=0.3, random_state=0)
    >>> stop = EarlyStopping(patience=3)
    >>> history = MLP(2, [8, 1], seed=0).fit(
    ...     X, y, epochs=500, lr=0.1, validation=0.2, callbacks=[stop], seed=0, progress=False)
    >>> len(history) == stop.best_epoch + 3 and min(history.validation_loss) == stop.best
    True
    """

    patience: int
    min_delta: float
    restore_best: bool
    monitor: str | None
    best: float
    best_epoch: int

    @suggest_keywords
    def __init__(
        self, patience: int = 10, min_delta: float = 0, restore_best: bool = True, monitor: str | None = None
    ) -> None:
        self.patience = checks.integer(patience, "patience", 0)
        self.min_delta = checks.number(min_delta, "min_delta", NOT_NEGATIVE)
        self.restore_best = checks.flag(restore_best, "restore_best")
        self.monitor = _checked_monitor(monitor)
        self._begin()

    def _begin(self) -> None:
        self.best, self.best_epoch, self._seen = math.nan, 0, 0
        self._numbers: Any = None

    def on_epoch_end(self, model: Any, history: History) -> bool:
        """Return whether the latest epochs were none better than the best before; then restore that, if wanted."""
        if len(history) <= self._seen:      # another training
            self._begin()
        self._seen = len(history)
        name = monitored(history, self.monitor)
        number = history[name][-1]
        if is_better(name, number, self.best, self.min_delta):
            self.best, self.best_epoch = number, len(history)
            self._numbers = numbers_of(model) if self.restore_best else None
        if len(history) - self.best_epoch < max(self.patience, 1):
            return False
        self.on_train_end(model, history)
        return True

    def on_train_end(self, model: Any, history: History) -> None:
        """Restore the best parameters, if wanted."""
        if self._numbers is not None:
            set_numbers(model, self._numbers)
            self._numbers = None


class ModelCheckpoint:
    """Save a model to a file after each epoch: `model.save(path)`, in evaluation mode, which `load_model` reads.

    A model with parts of a class of your own cannot be saved whole: `microgradc.save` keeps its numbers, for `load`.

    Args:
        path: where to; "{epoch}" in it is the number of the epoch, from 1, "{epoch:03d}" with leading zeros.
        save_best_only: whether to save only what is better than all before in this training.
        monitor: which number says so, as for `EarlyStopping`.

    Raises:
        TypeError, ValueError: an argument is of the wrong type, or there is no such number.
        OSError: the file cannot be written.

    >>> import tempfile
    >>> from microgradc import MLP, load_model, make_moons
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     keep = ModelCheckpoint(f"{folder}/best.safetensors", save_best_only=True, monitor="loss")
    ...     history = MLP(2, [8, 1]).fit(*make_moons(40), epochs=5, callbacks=[keep], progress=False)
    ...     best = load_model(f"{folder}/best.safetensors")
    """

    path: str
    save_best_only: bool
    monitor: str | None
    best: float

    @suggest_keywords
    def __init__(
        self, path: str | os.PathLike[str], *, save_best_only: bool = False, monitor: str | None = None
    ) -> None:
        check_path(path)
        self.path = os.fspath(path)
        self.save_best_only = checks.flag(save_best_only, "save_best_only")
        self.monitor = _checked_monitor(monitor)
        self.best, self._seen = math.nan, 0
        try:
            self._path_of(1)
        except (LookupError, ValueError):
            raise ValueError(f"path may have {{epoch}} in it, and nothing else in braces, got {self.path!r}") from None

    def on_epoch_end(self, model: Any, history: History) -> None:
        """Save the model, if it is to be saved now."""
        if len(history) <= self._seen:
            self.best = math.nan
        self._seen = len(history)
        if self.save_best_only:
            name = monitored(history, self.monitor)
            if not is_better(name, history[name][-1], self.best):
                return
            self.best = history[name][-1]
        save_whole(model, self._path_of(len(history)))

    def _path_of(self, epoch: int) -> str:
        return self.path.format(epoch=epoch) if "{epoch" in self.path else self.path


class ProgressBar:
    """Show how far a training is, with its latest losses and accuracies: what `fit(progress=True)` does.

    It is a bar of tqdm's on standard error in a terminal; and in Jupyter one line of a cell's output, which stays one
    in what nbconvert makes of it.

    >>> from microgradc import MLP, make_moons
    >>> history = MLP(2, [8, 1]).fit(*make_moons(40), epochs=5, callbacks=[ProgressBar()])
    """

    def __init__(self) -> None:
        self._bar: Any = None

    def on_train_begin(self, model: Any, history: History) -> None:
        """Show the bar."""
        if self._bar is None:
            self._bar = new_bar(history.epochs or None)
        self._bar.set_description("training" if history.why_eager else "training, compiled")

    def on_epoch_end(self, model: Any, history: History) -> None:
        """Show that there were further epochs; there may be several since the last call."""
        if self._bar is None or len(history) < self._bar.n:
            self.on_train_end(model, history)
            self.on_train_begin(model, history)
        self._bar.set_postfix(history.latest(), refresh=False)
        self._bar.update(len(history) - self._bar.n)

    def on_train_end(self, model: Any, history: History) -> None:
        """Leave the bar as it is."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def _says(self, text: str, total: int) -> None:
        """Say what keeps the first of so many epochs from beginning."""
        if self._bar is None:
            self._bar = new_bar(total)
        self._bar.set_description(text)


def checked_callbacks(callbacks: Any) -> list[Any]:
    """Return the callbacks that `fit` was given, a list."""
    if callbacks is None:
        return []
    found = list(callbacks) if isinstance(callbacks, Sequence) and not isinstance(callbacks, str) else [callbacks]
    for callback in found:
        if isinstance(callback, type) or not callable(getattr(callback, "on_epoch_end", None)):
            expected = "objects with a method on_epoch_end(model, history), such as EarlyStopping()"
            is_function = callable(callback) and not isinstance(callback, type)
            advice = "; a function of the history is given as callback=" if is_function else ""
            raise TypeError(f"callbacks must be {expected}, got {callback!r:.60}{advice}")
    return found


def monitored(history: History, monitor: str | None) -> str:
    """Return the name of the list of a history that says how good a model is."""
    if monitor is None:
        return "validation_loss" if history.validation_loss else "loss"
    names = [name for name in history.names() if name not in ("lr", "seconds")]
    if monitor not in names:
        advice = "" if history.validation_loss or not monitor.startswith("validation") else "; there is no validation"
        raise ValueError(f"monitor must be one of {', '.join(names)}, got {monitor!r}{advice}")
    return monitor


def is_better(name: str, number: float, best: float, by: float = 0.0) -> bool:
    """Return whether a number is better than the best one before, nan if there was none."""
    if math.isnan(number):
        return False
    if math.isnan(best):
        return True
    return number < best - by if is_loss(name) else number > best + by


def is_loss(name: str) -> bool:
    """Return whether the least is the best."""
    return name.endswith(("loss", "error", "entropy", "deviance", "mse", "mae", "rmse"))


def numbers_of(model: Any) -> Any:
    """Return a copy of the numbers of a model's parameters."""
    return model.vector().copy() if hasattr(model, "set_vector") else np.array([p.data for p in model.parameters()])


def set_numbers(model: Any, numbers: Any) -> None:
    """Set a model's parameters to such numbers."""
    if hasattr(model, "set_vector"):
        model.set_vector(numbers)
        return
    for p, number in zip(model.parameters(), numbers.tolist(), strict=True):
        p.data = number


def save_whole(model: Any, path: str) -> None:
    """Save a model as it is after training: whole, or where it has parts of a class of the user's, its numbers."""
    if hasattr(model, "save"):
        try:
            with evaluating(model):
                return model.save(path)
        except TypeError:       # which says why not
            pass
    import_module("microgradc.checkpoint").save(model, path)      # which imports `nn`, whose modules have `fit`


def _checked_monitor(monitor: Any) -> str | None:
    if monitor is not None and not isinstance(monitor, str):
        raise TypeError(f"monitor must be the name of a list of the history, or None, got {monitor!r:.60}")
    return monitor
