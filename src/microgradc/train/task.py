"""What is to be learnt, and by which way gradients come: step by step through a graph, or compiled."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from microgradc import losses
from microgradc.checks import check_examples, check_rows
from microgradc.engine import CompileError, no_grad
from microgradc.transforms import compile, has_same_graph

Loss = Callable[[Sequence[Any], Sequence[Any]], Any]


class Task:
    """What is to be learnt: a loss, and where the classes part, if there are classes.

    Args:
        loss: see `fit`.
        y: the targets, int64 or float64.
        count: the number of outputs.

    Attributes:
        loss: a function of a list of outputs and a list of targets.
        threshold: what one output is compared with, see `accuracy`; None if the targets are no classes.
    """

    def __init__(self, loss: str | Loss | None, y: np.ndarray, count: int) -> None:
        self.loss: Any = usual_loss(y, count) if loss is None else loss
        if isinstance(self.loss, str):
            if self.loss not in losses.__all__:
                raise ValueError(f"loss must be one of {', '.join(losses.__all__)}, or a callable, got {loss!r}")
            self.loss = getattr(losses, self.loss)
        elif not callable(self.loss):
            raise TypeError(f"loss must be a name or a callable of outputs and targets, got {loss!r}")
        self.threshold: float | None = None
        if self.loss is losses.binary_cross_entropy:
            self.threshold = 0.5
        elif self.loss in CLASSIFICATION or (count == 1 and has_classes(y, {-1, 1})):
            self.threshold = 0.0

    def check(self, y: np.ndarray, count: int, whose: str = "") -> None:
        """Raise what one of our losses would raise for these targets, all at once, with the example's number in the data."""
        if self.loss in (losses.cross_entropy, losses.nll_loss) and count == 1:
            raise ValueError(f"{self.loss.__name__} needs a model with an output for each class, this one has a single output")
        elif count > 1 and y.ndim == 1 and self.loss in OURS and self.loss not in (losses.cross_entropy, losses.nll_loss):
            raise ValueError(
                f"{whose}y has one number for each example, the model {count} outputs; classes must be integers, y.astype(int), "
                f"and {self.loss.__name__} needs a target for each output"
            )
        if self.loss in OURS:
            try:
                self.loss(np.full(len(y) if count == 1 else (len(y), count), 0.5), y)
            except (TypeError, ValueError) as error:
                raise type(error)(f"{whose}y does not fit {self.loss.__name__} and {count} outputs: {error}") from None

    def measure(self, loss: float, results: np.ndarray, y: np.ndarray) -> dict[str, float]:
        """Return the loss and, of classes, the accuracy of the outputs of some examples."""
        if self.threshold is None:
            return {"loss": loss}
        return {"loss": loss, "accuracy": float(np.mean(is_right(results, y, self.threshold)))}


OURS = [getattr(losses, name) for name in losses.__all__]
CLASSIFICATION = (losses.cross_entropy, losses.nll_loss, losses.binary_cross_entropy_with_logits, losses.hinge_loss)


def usual_loss(y: np.ndarray, count: int) -> Loss:
    """Return the loss that `fit` takes by default."""
    if y.dtype.kind == "i" and y.ndim == 1:
        if count > 1:
            return losses.cross_entropy
        if has_classes(y, {0, 1}):
            return losses.binary_cross_entropy_with_logits
        if has_classes(y, {-1, 1}):
            return losses.hinge_loss
        raise ValueError(
            f"y has integers other than 0 and 1, or -1 and 1, such as {y.max()}: one output has two classes; a model for k classes has k "
            "outputs, MLP(nin, [..., k]); for regression, give loss='mse_loss' or targets that are floats"
        )
    return losses.mse_loss


def has_classes(y: np.ndarray, classes: set[int]) -> bool:
    """Return whether the targets are classes out of these."""
    return y.ndim == 1 and set(np.unique(y).tolist()) <= classes


class Eager:
    """Losses and gradients of batches through a graph that is built anew for each."""

    compiled = False

    def __init__(self, model: Any, task: Task) -> None:
        self.model, self.task = model, task

    def evaluate(self, X: np.ndarray, y: np.ndarray) -> tuple[float, np.ndarray]:
        """Return the loss and the outputs of examples."""
        with evaluating(self.model), no_grad():
            loss, results = self._loss(X, y)
        return float(loss), results

    def add_gradients(self, X: np.ndarray, y: np.ndarray) -> tuple[float, np.ndarray]:
        """Add the gradients of the loss of a batch to those of the parameters; return the loss and the outputs."""
        loss, results = self._loss(X, y)
        if not hasattr(loss, "backward"):
            raise TypeError(f"loss must return a Value that depends on the parameters, got {type(loss).__name__} {loss!r:.40}")
        loss.backward()
        return loss.data, results

    def _loss(self, X: np.ndarray, y: np.ndarray) -> tuple[Any, np.ndarray]:
        results = [single(self.model(x)) for x in X.tolist()]
        return self.task.loss(results, y.tolist()), as_array(results)


class Compiled:
    """The same, recorded for one example and replayed: for losses of ours, which are means over examples.

    Raises:
        CompileError: the model or the loss cannot be recorded.
    """

    compiled = True

    def __init__(self, model: Any, task: Task, x: np.ndarray, target: Any) -> None:
        if task.loss not in OURS:
            raise CompileError("a loss of your own may be something other than a mean over examples, which is what is compiled")

        def example(x: Any, y: Any) -> Any:
            result = single(model(x))
            return task.loss(result, y), result

        self.model, self.task = model, task
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
        return float(found[:, 0].mean()), self._results(found, y)

    def add_gradients(self, X: np.ndarray, y: np.ndarray) -> tuple[float, np.ndarray]:
        """Add the gradients of the loss of a batch to those of the parameters; return the loss and the outputs."""
        seeds = [1 / len(X)] + [0.0] * (self.program.output_count - 1)
        sums, found = self.program.add_gradients((X, y.astype(float)), seeds)
        return sums[0] / len(X), self._results(found, y)

    def _results(self, found: np.ndarray, y: np.ndarray) -> np.ndarray:
        results = found[:, 1] if self.program.output_count == 2 else found[:, 1:]
        if self.task.loss is losses.binary_cross_entropy and not ((results >= 0) & (results <= 1)).all():
            self.task.loss(results.tolist(), y.tolist())     # says which output is no probability; a program does not
        return results


def choose_way(model: Any, task: Task, x: np.ndarray, target: Any, compiled: bool | None) -> tuple[Eager | Compiled, str]:
    """Return the way by which gradients come, and why it is not the compiled one.

    Args:
        x, target: an example.
        compiled: whether to compile; None to do so if it is possible.

    Raises:
        CompileError: it is asked for and not possible.
    """
    if compiled is False:
        return Eager(model, task), "compile=False"
    try:
        return Compiled(model, task, x, target), ""
    except CompileError as error:
        if compiled:
            raise
        return Eager(model, task), str(error)


def outputs(model: Any, X: Any) -> np.ndarray:
    """Return what a model gives for each of the rows of X, without a graph and in evaluation mode.

    Args:
        model: a `Module`, or anything that can be called with a list of numbers.
        X: examples, numbers of shape (n, nin).

    Returns:
        float64 of shape (n,) for one output, else (n, nout).

    Raises:
        ValueError: X is not of that shape.
        TypeError: X are no numbers.
    """
    rows = check_rows(X).tolist()
    with evaluating(model), no_grad():
        return as_array([model(row) for row in rows])


def accuracy(model: Any, X: Any, y: Any, threshold: float = 0.0) -> float:
    """Return the share of examples that a model classifies right.

    Args:
        model: as in `outputs`.
        X: examples, numbers of shape (n, nin).
        y: classes, integers of shape (n,): indices for a model with several outputs, of which the largest decides; 0 and 1, or -1 and 1,
            for one output.
        threshold: where the classes part if there is one output: 0 for a score or logit, 0.5 for a probability.

    Raises:
        ValueError: X or y is of the wrong shape or empty.
        TypeError: they are no numbers.
    """
    X, y = check_examples(X, y, check_finite=False)
    results = outputs(model, X)
    count = results.size // len(results)
    if count == 1 and not (has_classes(y, {0, 1}) or has_classes(y, {-1, 1})):
        raise ValueError("y must have the classes 0 and 1, or -1 and 1, for a model with one output")
    if count > 1 and y.shape != results.shape and not (y.ndim == 1 and has_classes(y, set(range(count)))):
        raise ValueError(f"y must have the classes 0 to {count - 1}, the indices of the {count} outputs, or one class for each output")
    return float(np.mean(is_right(results, y, threshold)))


def is_right(results: np.ndarray, y: np.ndarray, threshold: float) -> np.ndarray:
    """Return for each example whether its class was found: that of the largest output, or that on the right side of the threshold."""
    if results.ndim == 2 and y.ndim == 1:
        return results.argmax(axis=1) == y
    return (results > threshold) == (y > 0)


def single(result: Any) -> Any:
    """Return a model's output; the entry of a list or array of one."""
    return result[0] if isinstance(result, (list, tuple, np.ndarray)) and len(result) == 1 else result


def as_array(results: list[Any]) -> np.ndarray:
    """Return outputs, Values or lists of them, as float64 of shape (n,) for one output, else (n, nout)."""
    found = np.array([[float(v) for v in r] if isinstance(r, (list, tuple, np.ndarray)) else float(r) for r in results])
    return found[:, 0] if found.ndim == 2 and found.shape[1] == 1 else found


def set_mode(model: Any, training: bool) -> None:
    """Switch a model between training and evaluation, if it has the two."""
    if hasattr(model, "train"):
        model.train(training)


@contextmanager
def evaluating(model: Any) -> Iterator[None]:
    """Set a model to evaluation, and back."""
    parts = list(model.modules()) if hasattr(model, "modules") else [model] if hasattr(model, "training") else []
    before = [part.training for part in parts]
    set_mode(model, training=False)
    try:
        yield
    finally:
        for part, mode in zip(parts, before, strict=True):
            if part.training != mode:
                part.training = mode
