"""The loop of a training: epochs of steps, what they saw, and when they end."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from threading import Timer
from time import perf_counter
from typing import Any, NamedTuple

import numpy as np

from microgradc import checks
from microgradc.engine import EnableGrad
from microgradc.modes import set_mode
from microgradc.optim import Optimizer, clip_grad_norm_, updates
from microgradc.program.program import Order, Steps
from microgradc.program.training import held_rules, wants_loss
from microgradc.train.callbacks import ProgressBar
from microgradc.train.data import batches
from microgradc.train.history import History
from microgradc.train.task import Task
from microgradc.train.ways import Eager, Replayed, choose_way

SHOWN_EVERY = 0.1       # seconds, between two looks at the progress bar
LONG = 1.0              # seconds, after which it says that the model is being recorded
MOST_OUTPUTS = 1 << 20  # that are kept for the accuracies of several epochs
MOST_EPOCHS = 10_000    # in one call
MOST_MEASURED = 50      # where Python measures each of them: Ctrl-C must not lose many


class Examples(NamedTuple):
    """Examples, their targets as the loss takes them, and their weights or None."""

    X: np.ndarray
    y: np.ndarray
    weights: np.ndarray | None

    def taken(self, places: Any) -> Examples:
        """Return those in these places."""
        return Examples(self.X[places], self.y[places], None if self.weights is None else self.weights[places])


@dataclass
class Loop:
    """A training as `fit` was asked for it, all arguments checked; `run` takes it through its epochs."""

    model: Any
    task: Task
    examples: Examples
    held_out: Examples | None
    optimizer: Any
    rng: Any
    batch_size: int
    shuffle: bool
    check_finite: bool
    compile: bool | None
    schedule: Any
    schedule_every: str
    clip_norm: float | None
    callback: Callable[[History], Any] | None
    callbacks: list[Any]
    is_own: bool = False        # whether nobody else uses rng
    history: History = field(default_factory=History)
    known: list[updates.Known] = field(default_factory=list)     # the parameters of each group, checked
    steps_in_c: Steps | None = None
    order: Order | None = None                                   # theirs
    bar: Any = None

    def run(self, epochs: int, progress: bool) -> History:
        """Train for so many epochs, and leave the model in evaluation mode; return the history."""
        self.history.epochs = epochs
        bars = [c for c in self.callbacks if isinstance(c, ProgressBar)]
        if progress and not bars:
            bars = [ProgressBar()]
            self.callbacks = [*self.callbacks, *bars]
        self.bar = bars[0] if bars else None
        set_mode(self.model, training=True)
        try:
            way = self.choose_way()
            self.tell("on_train_begin")
            while len(self.history) < epochs:
                self.take(way, min(self.at_once(), epochs - len(self.history)))
                if self.is_ended():
                    break
                if self.callback is not None or self.callbacks:
                    set_mode(self.model, training=True)
                    if not way.is_current():     # a callback changed the model
                        way = self.choose_way()
            self.tell("on_train_end")
        except KeyboardInterrupt:
            self.history.interrupted = True
            self.history.cut()
        finally:
            if self.bar is not None:
                self.bar.on_train_end(self.model, self.history)
            set_mode(self.model, training=False)
        return self.history

    def at_once(self) -> int:
        """Return how many epochs may go by before Python is asked again."""
        asked = [c for c in self.callbacks if not isinstance(c, ProgressBar)]
        if self.callback is not None or asked or self.held_out is not None or self.schedule is not None:
            return 1
        most = MOST_MEASURED if self.task.metrics else MOST_EPOCHS
        if self.bar is not None:
            seconds = self.history.seconds
            most = min(most, max(1, int(SHOWN_EVERY / max(seconds[-1], 1e-6)))) if seconds else 1
        return most

    def is_ended(self) -> bool:
        """Ask the callbacks, each of them, whether the training is at its end."""
        answer = None if self.callback is None else self.callback(self.history)
        answers = [c.on_epoch_end(self.model, self.history) for c in self.callbacks]
        return bool(checks.is_bool(answer) and answer) or any(map(bool, answers))

    def tell(self, event: str) -> None:
        """Call the callbacks that want to know of the beginning or the end."""
        for c in self.callbacks:
            if callable(getattr(c, event, None)):
                getattr(c, event)(self.model, self.history)

    def choose_way(self) -> Eager | Replayed:
        """Return by which way the gradients come, and note why it is not the compiled one."""
        X, y, weights = self.examples
        timer = None if self.bar is None else Timer(LONG, self.bar._says, ["recording the model", self.history.epochs])
        if timer is not None:
            timer.daemon = True
            timer.start()
        try:
            with EnableGrad():
                way, self.history.why_eager = choose_way(
                    self.model, self.task, X[0], y[0], self.compile, weights is not None, self.held_out is not None
                )
        finally:
            if timer is not None:
                timer.cancel()
                timer.join()
        return way

    def take(self, way: Eager | Replayed, epochs: int) -> None:
        """Go through all examples so often, or less; add entries to the history."""
        begin, rate = perf_counter(), self.optimizer.param_groups[0]["lr"]
        entries: list[dict[str, float]] = []
        seconds, is_whole = 0.0, False
        try:
            with EnableGrad():     # `fit` may be called within no_grad, and callbacks are its caller's code
                if not (isinstance(way, Replayed) and self.epochs_in_c(way, epochs, entries)):
                    if self.order is not None:
                        self.order.give_back()
                    entries.append(self.epoch(way))
            seconds = perf_counter() - begin
            if self.held_out is not None:
                X, y, weights = self.held_out
                found = self.task.measure(*way.evaluate(X, y, weights), y)
                entries[0] |= {f"validation_{name}": number for name, number in found.items()}
            is_whole = True
        finally:
            if is_whole or self.held_out is None:       # else an interrupted epoch has no validation
                seconds = (seconds or perf_counter() - begin) / max(len(entries), 1)
                self.note(entries, rate, seconds)
        if self.schedule is not None and self.schedule_every == "epoch":
            self.step_schedule()

    def note(self, entries: list[dict[str, float]], rate: float, seconds: float) -> None:
        """Add entries to the history, all of them though Ctrl-C may come meanwhile."""
        before = len(self.history)
        try:
            self.history.extend(entries, lr=rate, seconds=seconds)
        except KeyboardInterrupt:
            self.history.cut()
            if len(self.history) == before:
                self.history.extend(entries, lr=rate, seconds=seconds)
            raise

    def epochs_in_c(self, way: Replayed, epochs: int, entries: list[dict[str, float]]) -> bool:
        """Do what `epoch` does with no Python between its steps; return False where they need some."""
        held = held_rules(self.optimizer) if way.sees_outputs_later else None
        if held is None:
            return False
        params, rules = held
        if self.steps_in_c is None or not self.steps_in_c.is_for(way.program, params, None):
            self.steps_in_c = Steps(way.program, params, None)
        steps = self.steps_in_c
        if steps.has_hooks:
            return False
        X, y, weights = self.examples
        n, count = len(y), way.program.output_count
        if self.order is None:
            self.order = Order(n, self.rng if self.shuffle else None, self.is_own)
        outputs = places = None
        if self.task.needs_outputs:
            epochs = min(epochs, max(1, MOST_OUTPUTS // (n * count)))
            outputs, places = np.empty((epochs, n, count)), np.empty((epochs, n)) if self.shuffle else None
        arrays = [np.ascontiguousarray(X), np.ascontiguousarray(y, float)]
        if weights is not None:
            arrays.append(weights)
        by_step = self.schedule is not None and self.schedule_every == "step"
        clip = -1.0 if self.clip_norm is None else self.clip_norm
        found: list[float] = []
        try:
            while len(found) < epochs:
                try:
                    is_finite = steps.run(
                        tuple(arrays), None, rules, self.order, self.batch_size, epochs, 1 if by_step else -1, clip,
                        self.check_finite, outputs, places,
                    )
                finally:
                    found = steps.losses
                if not is_finite:
                    self.raise_not_finite(steps)
                if by_step:
                    self.step_schedule()
                    rules = held_rules(self.optimizer)[1]    # type: ignore[index]
        finally:
            try:
                entries += self.measured(way, found, outputs, places)
            except KeyboardInterrupt:       # what was measured is wanted all the same
                entries += [] if entries else self.measured(way, found, outputs, places)
                raise
        return True

    def measured(
        self, way: Replayed, losses: list[float], outputs: np.ndarray | None, places: np.ndarray | None
    ) -> list[dict[str, float]]:
        """Return the entries of epochs: the losses, and what the outputs of the examples at these places give."""
        k, y = len(losses), self.examples.y
        if outputs is None or k == 0:
            return [{"loss": loss} for loss in losses]
        visited = np.stack([y] * k) if places is None else y[places[:k].astype(np.intp)]
        return self.task.measure_epochs(losses, way.predictions(outputs[:k], visited), visited)

    def epoch(self, way: Eager | Replayed) -> dict[str, float]:
        """Take one step of the optimizer for each batch; return the mean loss and accuracy, each example at its
        turn."""
        total = 0.0
        outputs, targets = [], []
        numbers = np.arange(len(self.examples.y))
        for turn, _ in batches(numbers, numbers, self.batch_size, shuffle=self.shuffle, seed=self.rng):
            batch = self.examples.taken(turn)
            self.optimizer.zero_grad()
            loss, predictions = way.add_gradients(*batch)
            if self.check_finite and not math.isfinite(loss):
                raise self.bad_loss(loss)
            if self.check_finite:
                self.require_finite_gradients(loss)
            if self.clip_norm is not None:
                clip_grad_norm_([p for group in self.groups() for p in group], self.clip_norm)
            self.optimizer.step()
            if self.schedule is not None and self.schedule_every == "step":
                self.step_schedule()
            total += loss * len(turn)
            outputs.append(predictions)
            targets.append(batch.y)
        return self.task.measure(total / len(numbers), np.concatenate(outputs), np.concatenate(targets))

    def step_schedule(self) -> None:
        """Go to the next learning rate; a schedule that asks for it gets the latest loss."""
        if self.schedule_every == "epoch" and wants_loss(self.schedule):
            self.schedule.step((self.history.validation_loss or self.history.loss)[-1])
        else:
            self.schedule.step()

    def groups(self) -> list[list[Any]]:
        """Return the parameters that the optimizer changes."""
        ours = isinstance(self.optimizer, Optimizer)
        return [g["params"] for g in self.optimizer.param_groups] if ours else [list(self.model.parameters())]

    def require_finite_gradients(self, loss: float) -> None:
        """Raise FloatingPointError if a gradient is inf or nan, which a step would write into the parameters."""
        groups = self.groups()
        while len(self.known) < len(groups):
            self.known.append(updates.Known())
        for params, known in zip(groups, self.known, strict=False):
            i = updates.not_finite(params, known)
            if i >= 0:
                raise self.bad_gradient(params[i], params[i].grad, loss)

    def raise_not_finite(self, steps: Steps) -> None:
        """Raise the error for a step in C that was not taken."""
        found = steps.not_finite()
        if found is None or not math.isfinite(steps.loss):
            raise self.bad_loss(steps.loss)
        raise self.bad_gradient(*found, steps.loss)

    def bad_loss(self, loss: float) -> FloatingPointError:
        """Return what is raised for a loss that is inf or nan."""
        return FloatingPointError(
            f"the loss became {loss}; a lower learning rate than {self.optimizer.param_groups[0]['lr']} "
            "may help, or inputs of size 1, or clip_norm. (check_finite=False goes on.)"
        )

    def bad_gradient(self, parameter: Any, grad: float, loss: float) -> FloatingPointError:
        """Return what is raised for a gradient that is."""
        return FloatingPointError(
            f"the gradient of {self.name_of(parameter)} became {grad}, though the "
            f"loss is {loss}, and the parameters are those before that step: somewhere an infinite derivative "
            "meets a 0, such as that of sqrt, log or x ** 0.5 at 0; add a small number there, (x + 1e-12), or "
            "clip what goes in. (check_finite=False goes on.)"
        )

    def name_of(self, parameter: Any) -> str:
        """Return what the model calls a parameter."""
        if hasattr(self.model, "named_parameters"):
            for name, p in self.model.named_parameters():
                if p is parameter:
                    return str(name)
        return f"a parameter, {parameter!r:.60}"
