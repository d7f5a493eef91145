"""What is to be learnt: a loss, and where the classes part, if there are classes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from microgradc import losses
from microgradc.train.labels import NAMES, OURS, Labels
from microgradc.train.metrics import Metric
from microgradc.train.scores import classes_of, has_classes, is_right

Loss = Callable[[Sequence[Any], Sequence[Any]], Any]

CLASSIFICATION = (losses.cross_entropy, losses.nll_loss, losses.binary_cross_entropy_with_logits, losses.hinge_loss)
# Arguments with which a loss is still a mean over examples.
PER_EXAMPLE = {"delta", "margin", "beta", "label_smoothing", "pos_weight", "full", "eps", "log_input", "log_target"}


class Task:
    """What is to be learnt: a loss, and where the classes part, if there are classes.

    Args:
        loss: one of our losses or another function, as `named_loss` returns it; None for the usual one.
        y: the targets, as the loss takes them: int64 or float64.
        count: the number of outputs.
        labels: their classes.
        metrics: what else is to be measured.

    Attributes:
        loss: a function of a list of outputs and a list of targets.
        is_ours: whether it is a mean over examples of a loss of ours.
        kind: which of our losses it is, whatever its arguments; another function as it is.
        threshold: what one output is compared with, see `accuracy`; None if the targets are not classes.
    """

    is_ours: bool
    kind: Any
    labels: Labels
    metrics: list[Metric]
    is_of_several: bool

    def __init__(self, loss: Any, y: np.ndarray, count: int, labels: Labels, metrics: Sequence[Metric] = ()) -> None:
        self.call: Any = usual_loss(y, count) if loss is None else loss
        self.loss: Any = base_of(self.call)
        self.is_ours = self.loss in OURS
        self.kind = kind_of(self.call)
        self.labels, self.metrics, self.is_of_several = labels, list(metrics), y.ndim == 2
        self.threshold: float | None = None
        if self.kind is losses.binary_cross_entropy:
            self.threshold = 0.5
        elif self.kind in CLASSIFICATION or (count == 1 and has_classes(y, {-1, 1})):
            self.threshold = 0.0
        self.codes = labels.codes
        if labels.classes is not None and self.codes is None:
            self.codes = labels.classes if len(labels.classes) else None

    @property
    def needs_outputs(self) -> bool:
        """Whether more than the loss is measured."""
        return self.threshold is not None or bool(self.metrics)

    def check(self, y: np.ndarray, count: int, whose: str = "") -> None:
        """Raise what one of our losses would raise for these targets, all at once, with the example's number in the
        data."""
        if self.loss in (losses.cross_entropy, losses.nll_loss) and count == 1:
            raise ValueError(
                f"{self.loss.__name__} needs a model with an output for each class, this one has a single output"
            )
        elif (
            count > 1 and y.ndim == 1 and self.is_ours and self.loss not in (losses.cross_entropy, losses.nll_loss)
        ):
            raise ValueError(
                f"{whose}y has one number for each example, the model {count} outputs; "
                "classes must be integers, y.astype(int), "
                f"and {self.loss.__name__} needs a target for each output"
            )
        if self.is_ours:
            try:
                self.call(np.full(len(y) if count == 1 else (len(y), count), 0.5), y)
            except (TypeError, ValueError) as error:
                raise type(error)(f"{whose}y does not fit {self.loss.__name__} and {count} outputs: {error}") from None

    def measure(self, loss: float, outputs: np.ndarray, y: np.ndarray) -> dict[str, float]:
        """Return the loss and, of classes, the accuracy of the outputs of some examples; and the metrics."""
        found = {"loss": loss}
        if self.threshold is not None:
            classes = y.argmax(axis=1) if y.ndim == 2 and self.kind is losses.cross_entropy else y
            found["accuracy"] = float(np.mean(is_right(outputs, classes, self.threshold)))
        if self.metrics:
            with np.errstate(all="ignore"):     # of a training that diverges
                found |= self.measure_more(outputs, y)
        return found

    def measure_epochs(self, losses: list[float], outputs: np.ndarray, y: np.ndarray) -> list[dict[str, float]]:
        """Return the same of several epochs, whose outputs and targets have one more axis in front."""
        if self.metrics or self.threshold is None or y.ndim > 2:
            return [self.measure(*epoch) for epoch in zip(losses, outputs, y, strict=True)]
        flat = outputs.reshape(-1, *outputs.shape[2:])
        right = is_right(flat, y.reshape(-1), self.threshold).reshape(len(losses), -1).mean(axis=1)
        return [{"loss": x, "accuracy": a} for x, a in zip(losses, right.tolist(), strict=True)]

    def measure_more(self, outputs: np.ndarray, y: np.ndarray) -> dict[str, float]:
        """Return the metrics."""
        labels, classes = y, self.labels.classes
        predicted = outputs
        if classes is not None and self.codes is not None:
            if y.ndim == 2:
                y = y.argmax(axis=1)
            places = np.searchsorted(self.codes, y)
            found = classes_of(outputs, np.arange(len(classes)), self.threshold or 0.0)
            labels, predicted = classes[places], classes[found]
        values = {}
        for metric in self.metrics:
            if metric.of == "classes":
                value = metric.function(places, found, len(self.labels.classes))    # type: ignore[arg-type]
            elif metric.of == "predictions":
                value = metric.function(labels, predicted)
            else:
                value = metric.function(y, outputs)
            values[metric.name] = float(value)
        return values


def named_loss(loss: Any) -> Any:
    """Return the loss of a name, or the function that was given."""
    if isinstance(loss, str):
        if loss not in NAMES:
            raise ValueError(f"loss must be one of {', '.join(NAMES)}, or a callable, got {loss!r}")
        return getattr(losses, loss)
    if loss is not None and not callable(loss):
        raise TypeError(f"loss must be a name or a callable of outputs and targets, got {loss!r}")
    return loss


def kind_of(loss: Any) -> Any:
    """Return which of our losses this is, whatever arguments are given; another function as it is."""
    return loss.func if isinstance(loss, partial) and loss.func in OURS else loss


def base_of(loss: Any) -> Any:
    """Return which of our losses this is with some of its arguments given, where it is still a mean over examples."""
    if isinstance(loss, partial) and loss.func in OURS and not loss.args and set(loss.keywords) <= PER_EXAMPLE:
        return loss.func
    return loss


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
            f"y has integers other than 0 and 1, or -1 and 1, such as {y.max()}: one output has two classes; "
            "a model for k classes has k "
            "outputs, MLP(nin, [..., k]); for regression, give loss='mse_loss' or targets that are floats"
        )
    return losses.mse_loss
