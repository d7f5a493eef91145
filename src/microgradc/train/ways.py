"""By which way the gradients of a batch come: through a graph that is built anew, or by a recording that is
replayed."""

from __future__ import annotations

from typing import Any

import numpy as np

from microgradc import losses
from microgradc.engine import CompileError, no_grad
from microgradc.engine.value import is_detecting, plain_number
from microgradc.modes import evaluating
from microgradc.program.compile import compile
from microgradc.program.recording import has_same_graph
from microgradc.train.scores import as_array, single
from microgradc.train.task import OURS, Task


class Eager:
    """Losses and gradients of batches through a graph that is built anew for each."""

    compiled = False

    def __init__(self, model: Any, task: Task) -> None:
        self.model, self.task = model, task

    def is_current(self) -> bool:
        """Return True: each graph is built of what the model is by then."""
        return True

    def evaluate(self, X: np.ndarray, y: np.ndarray) -> tuple[float, np.ndarray]:
        """Return the loss and the outputs of examples."""
        with evaluating(self.model), no_grad():
            loss, predictions = self._loss(X, y)
        return plain_number(loss), predictions

    def add_gradients(self, X: np.ndarray, y: np.ndarray) -> tuple[float, np.ndarray]:
        """Add the gradients of the loss of a batch to those of the parameters; return the loss and the outputs."""
        loss, predictions = self._loss(X, y)
        if not hasattr(loss, "backward"):
            raise TypeError(
                f"loss must return a Value that depends on the parameters, got {type(loss).__name__} {loss!r:.40}"
            )
        loss.backward()
        return loss.data, predictions

    def _loss(self, X: np.ndarray, y: np.ndarray) -> tuple[Any, np.ndarray]:
        predictions = [single(self.model(x)) for x in X.tolist()]
        return self.task.loss(predictions, y.tolist()), as_array(predictions)


class Replayed:
    """The same by recordings of one example that are replayed: for losses of this package, which are means over
    examples.

    Raises:
        CompileError: the model or the loss cannot be recorded.
    """

    compiled = True

    def __init__(self, model: Any, task: Task, x: np.ndarray, target: Any) -> None:
        if task.loss not in OURS:
            raise CompileError(
                "a loss of your own may be something other than a mean over examples, which is what is compiled"
            )

        def example(x: Any, y: Any) -> Any:
            prediction = single(model(x))
            return task.loss([prediction], [y]), prediction     # a batch of one, as for `Eager`

        self.model, self.task = model, task
        # Whether nothing in an epoch depends on the outputs: this loss looks at those of each batch before its step.
        self.sees_outputs_later = task.loss is not losses.binary_cross_entropy
        self.example, self.arguments = example, (x.tolist(), target.tolist())
        self.program = compile(example).program(*self.arguments)
        with evaluating(model):      # what a model does may depend on `training`
            self.evaluation = compile(example).program(*self.arguments)

    def is_current(self) -> bool:
        """Return whether the model does what it did when it was recorded."""
        return has_same_graph(self.program, self.example, self.arguments)

    def evaluate(self, X: np.ndarray, y: np.ndarray) -> tuple[float, np.ndarray]:
        """Return the loss and the outputs of examples."""
        found = self.evaluation(X, y.astype(float))
        return float(found[:, 0].mean()), self.predictions(found, y)

    def add_gradients(self, X: np.ndarray, y: np.ndarray) -> tuple[float, np.ndarray]:
        """Add the gradients of the loss of a batch to those of the parameters; return the loss and the outputs."""
        seeds = [1 / len(X)] + [0.0] * (self.program.output_count - 1)
        sums, found = self.program.add_gradients((X, y.astype(float)), seeds)
        return sums[0] / len(X), self.predictions(found, y)

    def predictions(self, found: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Return the model's outputs among those of the program."""
        predictions = found[:, 1] if self.program.output_count == 2 else found[:, 1:]
        if self.task.loss is losses.binary_cross_entropy and not ((predictions >= 0) & (predictions <= 1)).all():
            self.task.loss(predictions.tolist(), y.tolist())  # which says what is wrong; a program does not
        return predictions


def choose_way(
    model: Any, task: Task, x: np.ndarray, target: Any, compiled: bool | None
) -> tuple[Eager | Replayed, str]:
    """Return the way by which gradients come, and why it is not the compiled one.

    Args:
        x, target: an example.
        compiled: whether to compile; None to do so if it is possible.

    Raises:
        CompileError: it is asked for and not possible; or whatever else the model or the loss raises then.
    """
    if compiled is False:
        return Eager(model, task), "compile=False"
    if is_detecting():
        return Eager(model, task), "within detect_anomaly(), where each line is looked at"
    try:
        return Replayed(model, task, x, target), ""
    except Exception as error:      # whatever the model does with Values; if it does so with numbers, training says it
        if compiled:
            raise
        why = str(error) if isinstance(error, CompileError) else f"{type(error).__name__}: {error}"
        return Eager(model, task), why
