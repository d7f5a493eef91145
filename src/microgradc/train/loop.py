"""The loop of a training: epochs of steps, what they saw, and when they end."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any

import numpy as np

from microgradc import checks
from microgradc.engine import EnableGrad
from microgradc.modes import set_mode
from microgradc.optim import Optimizer, updates
from microgradc.program.program import Order, Steps
from microgradc.program.training import held_rules
from microgradc.train.callbacks import ProgressBar
from microgradc.train.data import batches
from microgradc.train.history import History
from microgradc.train.task import Task
from microgradc.train.ways import Eager, Replayed, choose_way

Examples = tuple[np.ndarray, np.ndarray]


@dataclass
class Loop:
    """A training as `fit` was asked for it, all arguments checked; `run` takes it through its epochs."""

    model: Any
    task: Task
    optimizer: Any
    examples: Examples
    held_out: Examples | None
    rng: Any
    batch_size: int
    shuffle: bool
    check_finite: bool
    compile: bool | None
    callback: Callable[[History], Any] | None
    callbacks: list[Any]
    is_own: bool = False        # whether nobody else uses rng
    history: History = field(default_factory=History)
    known: list[updates.Known] = field(default_factory=list)     # the parameters of each group, checked
    steps_in_c: Steps | None = None
    order: Order | None = None                                   # theirs

    def run(self, epochs: int, progress: bool) -> History:
        """Train for so many epochs, and leave the model in evaluation mode; return the history."""
        self.history.epochs = epochs
        bars = [c for c in self.callbacks if isinstance(c, ProgressBar)]
        if progress and not bars:
            self.callbacks = [*self.callbacks, ProgressBar()]
        set_mode(self.model, training=True)
        try:
            way = self.choose_way()
            self.tell("on_train_begin")
            for _ in range(epochs):
                self.history.append(self.epoch(way))
                if self.is_ended():
                    break
                if self.callback is not None or self.callbacks:
                    set_mode(self.model, training=True)
                    if not way.is_current():     # a callback changed the model
                        way = self.choose_way()
            self.tell("on_train_end")
        except KeyboardInterrupt:
            self.history.interrupted = True
        finally:
            set_mode(self.model, training=False)
        return self.history

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
        X, y = self.examples
        with EnableGrad():
            way, self.history.why_eager = choose_way(self.model, self.task, X[0], y[0], self.compile)
        return way

    def epoch(self, way: Eager | Replayed) -> dict[str, float]:
        """Go through all examples once; return the epoch's entry of the history."""
        begin, rate = perf_counter(), self.optimizer.param_groups[0]["lr"]
        with EnableGrad():     # `fit` may be called within no_grad, and callbacks are its caller's code
            entry = self.epoch_in_c(way) if isinstance(way, Replayed) else None
            if entry is None:
                if self.order is not None:
                    self.order.give_back()
                turns = batches(*self.examples, self.batch_size, shuffle=self.shuffle, seed=self.rng)
                entry = self.steps(way, turns)
        entry |= {"lr": rate, "seconds": perf_counter() - begin}
        if self.held_out is not None:
            found = self.task.measure(*way.evaluate(*self.held_out), self.held_out[1])
            entry |= {f"validation_{name}": number for name, number in found.items()}
        return entry

    def epoch_in_c(self, way: Replayed) -> dict[str, float] | None:
        """Do what `steps` does for an epoch, with no Python between its steps; None where they need some."""
        held = held_rules(self.optimizer) if way.sees_outputs_later else None
        if held is None:
            return None
        params, rules = held
        if self.steps_in_c is None or not self.steps_in_c.is_for(way.program, params, None):
            self.steps_in_c = Steps(way.program, params, None)
        steps = self.steps_in_c
        if steps.has_hooks:
            return None
        X, y = self.examples
        if self.order is None:
            self.order = Order(len(y), self.rng if self.shuffle else None, self.is_own)
        outputs = np.empty((len(y), way.program.output_count))
        arrays = np.ascontiguousarray(X), np.ascontiguousarray(y, float)
        try:
            is_finite = steps.run(
                arrays, None, rules, self.order, self.batch_size, 1, -1, -1.0, self.check_finite, outputs
            )
        finally:
            self.optimizer._release(steps.steps)
        if not is_finite:
            found = steps.not_finite()
            if found is None or not math.isfinite(steps.loss):
                raise self.bad_loss(steps.loss)
            raise self.bad_gradient(*found, steps.loss)
        y = y[self.order.visited()] if self.shuffle else y
        return self.task.measure(steps.losses[0], way.predictions(outputs, y), y)

    def steps(self, way: Eager | Replayed, turns: Iterable[Examples]) -> dict[str, float]:
        """Take one step of the optimizer for each batch; return the mean loss and accuracy, each example at its
        turn."""
        totals: dict[str, float] = {}
        count = 0
        for X, y in turns:
            self.optimizer.zero_grad()
            loss, predictions = way.add_gradients(X, y)
            if self.check_finite and not math.isfinite(loss):
                raise self.bad_loss(loss)
            if self.check_finite:
                self.require_finite_gradients(loss)
            self.optimizer.step()
            for name, number in self.task.measure(loss, predictions, y).items():
                totals[name] = totals.get(name, 0.0) + number * len(y)
            count += len(y)
        return {name: total / count for name, total in totals.items()}

    def require_finite_gradients(self, loss: float) -> None:
        """Raise FloatingPointError if a gradient is inf or nan, which a step would write into the parameters."""
        ours = isinstance(self.optimizer, Optimizer)
        groups = [g["params"] for g in self.optimizer.param_groups] if ours else [list(self.model.parameters())]
        while len(self.known) < len(groups):
            self.known.append(updates.Known())
        for params, known in zip(groups, self.known, strict=False):
            i = updates.not_finite(params, known)
            if i >= 0:
                raise self.bad_gradient(params[i], params[i].grad, loss)

    def bad_loss(self, loss: float) -> FloatingPointError:
        """Return what is raised for a loss that is inf or nan."""
        return FloatingPointError(
            f"the loss became {loss}; a lower learning rate than {self.optimizer.param_groups[0]['lr']} "
            "may help, or inputs of size 1, or optim.clip_grad_norm_. (check_finite=False goes on.)"
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
