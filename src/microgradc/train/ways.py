"""By which way the gradients of a batch come: through a graph that is built anew, or by a recording that is
replayed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from microgradc import losses
from microgradc.engine import CompileError, no_grad
from microgradc.engine.functions import dot
from microgradc.engine.value import is_detecting, plain_number
from microgradc.modes import evaluating
from microgradc.train.kept import KeptRecording, as_example, recorded
from microgradc.train.scores import as_array, single
from microgradc.train.task import Task


class Eager:
    """Losses and gradients of batches through a graph that is built anew for each."""

    model: Any
    task: Task

    compiled = False

    def __init__(self, model: Any, task: Task) -> None:
        self.model, self.task = model, task

    def is_current(self) -> bool:
        """Return True: each graph is built of what the model is by then."""
        return True

    def evaluate(self, X: np.ndarray, y: np.ndarray, weights: np.ndarray | None) -> tuple[float, np.ndarray]:
        """Return the loss and the outputs of examples."""
        with evaluating(self.model), no_grad():
            loss, predictions = self._loss(X, y, weights)
        return plain_number(loss), predictions

    def add_gradients(self, X: np.ndarray, y: np.ndarray, weights: np.ndarray | None) -> tuple[float, np.ndarray]:
        """Add the gradients of the loss of a batch to those of the parameters; return the loss and the outputs."""
        loss, predictions = self._loss(X, y, weights)
        if not hasattr(loss, "backward"):
            raise TypeError(
                f"loss must return a Value that depends on the parameters, got {type(loss).__name__} {loss!r:.40}"
            )
        loss.backward()
        return loss.data, predictions

    def _loss(self, X: np.ndarray, y: np.ndarray, weights: np.ndarray | None) -> tuple[Any, np.ndarray]:
        predictions = [single(self.model(x)) for x in X.tolist()]
        if weights is None:
            loss = self.task.call(predictions, y.tolist())
        else:       # the loss of each example
            single_losses = [self.task.call([p], [t]) for p, t in zip(predictions, y.tolist(), strict=True)]
            loss = dot((weights / len(X)).tolist(), single_losses)
        return loss, as_array(predictions)


class Replayed:
    """The same by recordings of one example that are replayed: for losses of this package, which are means over
    examples.

    Args:
        model, task: what learns what.
        x, target: an example.
        is_weighted: whether examples have weights, which are one more input of the program.
        is_evaluated: whether examples will be evaluated.

    Raises:
        CompileError: the model or the loss cannot be recorded.
    """

    model: Any
    task: Task
    sees_outputs_later: bool
    arguments: tuple[*tuple[Any, ...], float] | tuple[Any, ...]

    compiled = True

    def __init__(
        self, model: Any, task: Task, x: np.ndarray, target: Any, is_weighted: bool, is_evaluated: bool
    ) -> None:
        if not task.is_ours:
            raise CompileError(
                "a loss of your own may be something other than a mean over examples, which is what is compiled"
            )

        def example(x: Any, y: Any) -> Any:
            prediction = single(model(x))
            return task.call([prediction], [y]), prediction     # a batch of one, as for `Eager`

        def weighted(x: Any, y: Any, weight: Any) -> Any:
            loss, prediction = example(x, y)
            return loss * weight, prediction

        self.model, self.task = model, task
        # Whether nothing in an epoch depends on the outputs: this loss looks at those of each batch before its step.
        self.sees_outputs_later = task.loss is not losses.binary_cross_entropy
        plain: tuple[Any, ...] = (as_example(model, x), target.tolist())
        key = task.call, len(x), target.shape, target.dtype.kind
        self.arguments = (*plain, 1.5) if is_weighted else plain
        self.example: Callable[..., Any] = weighted if is_weighted else example
        self.kept: KeptRecording = recorded(model, ("training", is_weighted, *key), self.example, self.arguments)
        self.program = self.kept.program
        if is_evaluated:
            with evaluating(model):      # what a model does may depend on `training`
                self.evaluation = recorded(model, ("evaluation", *key), example, plain).program

    def is_current(self) -> bool:
        """Return whether the model does what it did when it was recorded."""
        return self.kept.still_holds(self.model, self.example, self.arguments)

    def evaluate(self, X: np.ndarray, y: np.ndarray, weights: np.ndarray | None) -> tuple[float, np.ndarray]:
        """Return the loss and the outputs of examples."""
        found = self.evaluation(X, y.astype(float))
        loss = found[:, 0] if weights is None else found[:, 0] * weights
        return float(loss.mean()), self.predictions(found, y)

    def add_gradients(self, X: np.ndarray, y: np.ndarray, weights: np.ndarray | None) -> tuple[float, np.ndarray]:
        """Add the gradients of the loss of a batch to those of the parameters; return the loss and the outputs."""
        seeds = [1 / len(X)] + [0.0] * (self.program.output_count - 1)
        arrays = (X, y.astype(float)) if weights is None else (X, y.astype(float), weights)
        sums, found = self.program.add_gradients(arrays, seeds)
        return sums[0] / len(X), self.predictions(found, y)

    def predictions(self, found: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Return the model's outputs among those of the program."""
        predictions = found[..., 1] if self.program.output_count == 2 else found[..., 1:]
        if self.task.loss is losses.binary_cross_entropy and not ((predictions >= 0) & (predictions <= 1)).all():
            self.task.loss(predictions.tolist(), y.tolist())  # which says what is wrong; a program does not
        return predictions


def choose_way(
    model: Any, task: Task, x: np.ndarray, target: Any, compiled: bool | None,
    is_weighted: bool = False, is_evaluated: bool = True,
) -> tuple[Eager | Replayed, str]:
    """Return the way by which gradients come, and why it is not the compiled one.

    Args:
        x, target, is_weighted, is_evaluated: see `Replayed`.
        compiled: whether to compile; None to do so if it is possible.

    Raises:
        CompileError: it is asked for and not possible; or whatever else the model or the loss raises then.
    """
    if compiled is False:
        return Eager(model, task), "compile=False"
    if is_detecting():
        return Eager(model, task), "within detect_anomaly(), where each line is looked at"
    try:
        return Replayed(model, task, x, target, is_weighted, is_evaluated), ""
    except Exception as error:      # whatever the model does with Values; if it does so with numbers, training says it
        if compiled:
            raise
        why = str(error) if isinstance(error, CompileError) else f"{type(error).__name__}: {error}"
        return Eager(model, task), why
