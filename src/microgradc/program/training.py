"""Training by a compiled loss: the steps of an optimizer, without Python between them where nothing asks for it."""

from __future__ import annotations

import inspect
import random
from collections.abc import Callable, Iterable
from math import inf, isfinite, sqrt
from typing import Any

import numpy as np

from microgradc import checks, trees
from microgradc.checks import BOUND
from microgradc.engine import EnableGrad, Value, is_tracing, refuse
from microgradc.engine.value import is_detecting
from microgradc.keywords import unexpected
from microgradc.program.arguments import Arguments, is_static, unwrapped
from microgradc.program.batch import BATCHES
from microgradc.program.chunks import chunked
from microgradc.program.program import Example, Order, Steps
from microgradc.program.recording import Recording

__all__ = ["Training", "held_rules", "order_of", "wants_loss"]

MOST_EPOCHS = 10_000     # of one run


class Training:
    """This method of `Compiled`."""

    _arguments: Arguments

    def mean(self, *args: Any, **kwargs: Any) -> Any:
        """Return the mean over a batch."""
        raise NotImplementedError

    def _batch(
        self, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[Recording, tuple[np.ndarray, ...], int, list[Any] | None, Example | None]:
        raise NotImplementedError

    def train(
        self,
        optimizer: Any,
        *batch: Any,
        epochs: int = 1,
        batch_size: int | None = None,
        shuffle: bool = True,
        seed: Any = None,
        schedule: Any = None,
        schedule_every: str = "epoch",
        clip_norm: float | None = None,
        callback: Callable[[int, float], Any] | None = None,
        **named: Any,
    ) -> np.ndarray:
        """Minimize the mean over a batch, in steps of an optimizer: the loop by hand, in C.

        Each step is `f.mean(…)` over some of the examples, `zero_grad()`, `backward()` and the optimizer's `step()`,
        with the same bits. The optimizers of microgradc take all steps in one call without the GIL, except that a
        schedule and a callback are Python; other optimizers, and parameters with hooks, have the loop in Python.

        Args:
            optimizer: an optimizer of the parameters; anything with `zero_grad()` and `step()`.
            batch, named: the arguments of all examples, as for `f.mean`; by keyword those whose names are not among
                the following.
            epochs: how often to go through the examples.
            batch_size: how many examples make a step; the last step of an epoch takes what is left. None for all of
                them, in the order that they have.
            shuffle, seed: the order of the examples, as for `batches`.
            schedule: a schedule of the optimizer's learning rates; or anything with `step()`. One whose steps take
                a number, such as `ReduceLROnPlateau`, gets the mean loss of each epoch.
            schedule_every: when it steps, after each "epoch" or "step".
            clip_norm: the largest norm of the gradients of all the optimizer's parameters, see `clip_grad_norm_`.
            callback: called after each epoch with its number, from 0, and its mean loss; a true result ends the
                training.

        Returns:
            The mean loss of each epoch, each example at its turn: float64 of shape (epochs,), or shorter if the
            callback ended it. The gradients of the last step remain.

        Raises:
            TypeError, ValueError: an argument is wrong; see `mean` for those of a batch.
            RuntimeError: the optimizer takes the steps of another training meanwhile, in another thread.
            FloatingPointError: the loss or a gradient became inf or nan. The parameters are those before that step.
            KeyboardInterrupt: after Ctrl-C. The last step is a whole one, and parameters and state are those after it.

        >>> from microgradc import SGD, Value, compile
        >>> w = Value(0.0)
        >>> loss = compile(lambda x, y: (w * x - y) ** 2)
        >>> losses = loss.train(SGD([w], lr=0.1), [1.0, 2.0], [3.0, 6.0], epochs=20)
        >>> round(w.data, 3), len(losses)
        (3.0, 20)
        """
        if is_tracing():
            refuse("f.train")
        for name in named:
            if not self._arguments.takes(name):
                raise unexpected(Training.train, name)
        for name in ("zero_grad", "step"):
            if isinstance(optimizer, type) or not callable(getattr(optimizer, name, None)):
                expected = "an optimizer, such as SGD(model.parameters())"
                raise TypeError(f"optimizer must be {expected}, got {optimizer!r:.60}")
        if schedule is not None and (isinstance(schedule, type) or not callable(getattr(schedule, "step", None))):
            raise TypeError(f"schedule must be a schedule, such as StepLR(optimizer, 10), got {schedule!r:.60}")
        if hasattr(optimizer, "param_groups") and getattr(schedule, "optimizer", optimizer) is not optimizer:
            raise ValueError("the schedule is of another optimizer")
        if schedule_every not in ("epoch", "step"):
            raise ValueError(f"schedule_every must be 'epoch' or 'step', got {schedule_every!r:.40}")
        metric = schedule is not None and wants_loss(schedule)
        if metric and schedule_every == "step":
            raise ValueError("schedule_every must be 'epoch' for a schedule that takes the loss of one, got 'step'")
        if callback is not None and not callable(callback):
            raise TypeError(f"callback must be a function of an epoch's number and its loss, got {callback!r:.60}")
        count = checks.integer(epochs, "epochs", 1)
        size = None if batch_size is None else checks.integer(batch_size, "batch_size", 1)
        clip = -1.0 if clip_norm is None else checks.number(clip_norm, "clip_norm", BOUND)
        mixed = checks.flag(shuffle, "shuffle") and size is not None
        if seed is not None and not mixed:
            checks.seed(seed)       # a wrong one is an error all the same
        chunks = chunked(self, batch, named)
        turns: Any = Turns(self, optimizer, (batch, named), size, seed if mixed else False, clip)
        if chunks is not None:
            turns = chunks.turns(turns, seed if mixed else False)
        losses: list[float] = []
        by_step = schedule is not None and schedule_every == "step"
        one_epoch = schedule is not None or callback is not None
        try:
            while len(losses) < count:
                most = 1 if one_epoch else min(MOST_EPOCHS, count - len(losses))
                with EnableGrad():
                    found = turns.take(most, 1 if by_step else None)
                losses += found
                if schedule is not None and (by_step or found):
                    schedule.step(*losses[-1:]) if metric else schedule.step()
                if callback is not None and found and callback(len(losses) - 1, losses[-1]):
                    break
        finally:
            turns.end()
        return np.array(losses)


class Turns:
    """The steps of a training, by the fastest way that there is each time.

    Args:
        compiled: a Compiled.
        batch: the arguments of all examples, those by place and those by keyword.
        size: how many examples make a step, None for all.
        seed: for the order, False to keep it.
        clip: the largest norm of the gradients; less than 0 for any.
    """

    compiled: Any
    optimizer: Any
    size: int | None
    clip: float
    rng: Any
    total: Any
    done: float
    batch: tuple[tuple[Any, ...], dict[str, Any]]

    def __init__(
        self, compiled: Any, optimizer: Any, batch: tuple[tuple[Any, ...], dict[str, Any]], size: int | None,
        seed: Any, clip: float,
    ) -> None:
        self.compiled, self.optimizer, self.batch, self.size, self.clip = compiled, optimizer, batch, size, clip
        self.steps: Steps | None = None
        self.recording: Recording | None = None     # whose steps these are
        self.order: Order | None = None
        self.rng = None if seed is False else checks.seed(seed)
        self.seed = seed
        self.left: list[Any] = []        # by hand: the turns of an epoch that are left
        self.done, self.total = 0.0, 0.0

    def take(self, epochs: int, most: int | None) -> list[float]:
        """Go on for so many epochs, or steps, at most; return the mean losses of the epochs that ended."""
        if not self.left and not is_detecting():
            recording, arrays, n, values, shared = self.compiled._batch(*self.batch)
            recording.require_one_output()
            held = None if values is not None else held_rules(self.optimizer)
            if held is not None:
                params, rules = held
                held_steps = self._steps(recording, params, shared)
                if not held_steps.has_hooks:
                    return self._run(held_steps, arrays, n, shared, rules, epochs, most)
        losses: list[float] = []
        steps = 0
        while len(losses) < epochs and steps != most:
            losses += self._step_by_hand()
            steps += 1
        return losses

    def end(self) -> None:
        """Keep the steps for the next training."""
        if self.steps is not None and self.recording is not None:
            self.steps.forget()
            self.recording.derived["steps"] = self.steps

    def _steps(self, recording: Recording, params: list[Value], shared: Example | None) -> Steps:
        """Return the steps of a program: those of before if they are for the same parameters."""
        steps = self.steps
        if steps is None:       # nobody else has them, once they are taken
            steps = recording.derived.pop("steps", None)
        if steps is None or not steps.is_for(recording.program, params, shared):
            steps = Steps(recording.program, params, shared)
        self.steps, self.recording = steps, recording
        return steps

    def _run(
        self, steps: Steps, arrays: tuple[np.ndarray, ...], n: int, shared: Example | None, rules: list[Any],
        epochs: int, most: int | None,
    ) -> list[float]:
        if self.order is None:
            self.order = order_of(n, self.rng, self.seed)
        size = n if self.size is None else self.size
        most = -1 if most is None else most
        if not steps.run(arrays, shared, rules, self.order, size, epochs, most, self.clip, True):
            raise _not_finite(steps.loss, steps.not_finite())
        return steps.losses

    def _step_by_hand(self) -> list[float]:
        """Take a step; return the mean loss of the epoch in a list if it has ended."""
        if not self.left:
            self.left, self.done, self.total = self._turns(), 0, 0.0
        rows = self.left.pop(0)
        args, named = self._taken(rows)
        total = self.compiled.mean(*args, **named)
        self.step(total)
        self.total += total.data * len(rows)
        self.done += len(rows)
        return [] if self.left else [total.data if len(rows) == self.done else self.total / self.done]

    def step(self, total: Any) -> None:
        """Take the step of a mean over some examples."""
        if not isinstance(total, Value):
            raise ValueError(f"the function must return one Value to be minimized, got {type(total).__name__}")
        self.optimizer.zero_grad()
        total.backward()
        params = self._parameters()
        bad = next(((p, p.grad) for p in params if not isfinite(p.grad)), None)
        if bad is not None or not isfinite(total.data):
            raise _not_finite(total.data, bad)
        if self.clip >= 0:
            _clip(params, self.clip)
        self.optimizer.step()

    def go_on_with(self, args: tuple[Any, ...], named: dict[str, Any]) -> None:
        """Take other examples from now on."""
        self.batch, self.order, self.left = (args, named), None, []

    def _turns(self) -> list[Any]:
        arrays = self.compiled._batch(*self.batch)[1]
        n = len(arrays[0])
        order = list(range(n))
        if self.rng is not None:
            self.rng.shuffle(order)
        size = n if self.size is None else self.size
        return [order[i : i + size] for i in range(0, n, size)]

    def _taken(self, rows: list[int]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Return the arguments of some of the examples, those by place and those by keyword."""
        given, names = self.compiled._arguments.given(*self.batch)
        shared = self.compiled._arguments.shared_in(len(given), names)

        def taken(leaf: Any) -> Any:
            if is_static(leaf):
                return leaf
            return leaf[rows] if isinstance(leaf, np.ndarray) else [leaf[i] for i in rows]

        args = tuple([
            unwrapped(a) if i in shared or is_static(a) else trees.map_leaves(taken, _read(a), BATCHES)
            for i, a in enumerate(given)
        ])
        by_place = len(args) - len(names)
        return args[:by_place], dict(zip(names, args[by_place:], strict=True))

    def _parameters(self) -> Iterable[Value]:
        groups = getattr(self.optimizer, "param_groups", None)
        if isinstance(groups, list):
            return [p for group in groups for p in group["params"]]
        return list(self.compiled._batch(*self.batch)[0].program.parameters)


def held_rules(optimizer: Any) -> tuple[list[Value], list[Any]] | None:
    """Return an optimizer's parameters and the rules of its groups, as `Steps` take them; None if it has none."""
    hold = getattr(optimizer, "_hold", None)
    held = None if hold is None else hold()
    if held is None:
        return None
    params = held[0][0].params if len(held) == 1 else [p for group, _ in held for p in group.params]
    return params, [
        (rule, len(group.params), group.step - 1, group.buffers if group.first else None, state)
        for (group, rule), state in zip(held, optimizer.state, strict=True)
    ]


def wants_loss(schedule: Any) -> bool:
    """Return whether the steps of a schedule take a number, as those of `ReduceLROnPlateau`."""
    places = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    parameters = inspect.signature(schedule.step).parameters.values()
    return any(p.default is p.empty and p.kind in places for p in parameters)


def order_of(n: int, rng: Any, seed: Any) -> Order:
    """Return the order of n examples that rng, which `checks.seed` made of seed, gives."""
    return Order(n, rng, not (rng is random or rng is seed))


def _read(a: Any) -> Any:
    """Return an argument whose leaves have rows: a frame, a tensor and the like as an array."""
    return a if isinstance(a, (list, tuple, dict)) or not hasattr(a, "__array__") else np.asarray(a)


def _not_finite(loss: float, bad: tuple[Value, float] | None) -> FloatingPointError:
    before = "the parameters are those before that step"
    if bad is None or not isfinite(loss):
        return FloatingPointError(f"the loss became {loss}, and {before}; a lower learning rate may help, or clip_norm")
    p, grad = bad
    name = f" {p.label!r}" if p.label else ""
    return FloatingPointError(
        f"the gradient of a parameter{name} became {grad}, though the loss is {loss}, and {before}: somewhere an "
        "infinite derivative meets a 0, such as that of sqrt or log at 0"
    )


def _clip(params: Iterable[Value], largest: float) -> None:
    """Do what `optim.clip_grad_norm_` does."""
    params, total = list(params), 0.0
    for p in params:
        total += p.grad * p.grad
    factor = largest / (sqrt(total) + 1e-6) if total < inf else 0.0
    for p in params:
        p.grad *= 1.0 if factor > 1 else factor
