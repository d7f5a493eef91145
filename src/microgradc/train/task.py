"""What is to be learnt: a loss, and where the classes part, if there are classes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from microgradc import losses
from microgradc.train.scores import has_classes, is_right

Loss = Callable[[Sequence[Any], Sequence[Any]], Any]


class Task:
    """What is to be learnt: a loss, and where the classes part, if there are classes.

    Args:
        loss: see `fit`.
        y: the targets, int64 or float64.
        count: the number of outputs.

    Attributes:
        loss: a function of a list of outputs and a list of targets.
        threshold: what one output is compared with, see `accuracy`; None if the targets are not classes.
    """

    def __init__(self, loss: str | Loss | None, y: np.ndarray, count: int) -> None:
        self.loss: Any = usual_loss(y, count) if loss is None else loss
        if isinstance(self.loss, str):
            if self.loss not in NAMES:
                raise ValueError(f"loss must be one of {', '.join(NAMES)}, or a callable, got {loss!r}")
            self.loss = getattr(losses, self.loss)
        elif not callable(self.loss):
            raise TypeError(f"loss must be a name or a callable of outputs and targets, got {loss!r}")
        self.threshold: float | None = None
        if self.loss is losses.binary_cross_entropy:
            self.threshold = 0.5
        elif self.loss in CLASSIFICATION or (count == 1 and has_classes(y, {-1, 1})):
            self.threshold = 0.0

    def check(self, y: np.ndarray, count: int, whose: str = "") -> None:
        """Raise what one of our losses would raise for these targets, all at once, with the example's number in the
        data."""
        if self.loss in (losses.cross_entropy, losses.nll_loss) and count == 1:
            raise ValueError(
                f"{self.loss.__name__} needs a model with an output for each class, this one has a single output"
            )
        elif (
            count > 1 and y.ndim == 1 and self.loss in OURS and self.loss not in (losses.cross_entropy, losses.nll_loss)
        ):
            raise ValueError(
                f"{whose}y has one number for each example, the model {count} outputs; "
                "classes must be integers, y.astype(int), "
                f"and {self.loss.__name__} needs a target for each output"
            )
        if self.loss in OURS:
            try:
                self.loss(np.full(len(y) if count == 1 else (len(y), count), 0.5), y)
            except (TypeError, ValueError) as error:
                raise type(error)(f"{whose}y does not fit {self.loss.__name__} and {count} outputs: {error}") from None

    def measure(self, loss: float, predictions: np.ndarray, y: np.ndarray) -> dict[str, float]:
        """Return the loss and, of classes, the accuracy of the outputs of some examples."""
        if self.threshold is None:
            return {"loss": loss}
        if y.ndim == 2 and self.loss is losses.cross_entropy:     # probabilities: the class is the likeliest
            y = y.argmax(axis=1)
        return {"loss": loss, "accuracy": float(np.mean(is_right(predictions, y, self.threshold)))}


# The losses of predictions and targets alone, by name.
NAMES = [name for name in losses.__all__ if name not in ("cosine_similarity", "gaussian_nll_loss")]
OURS = [getattr(losses, name) for name in NAMES]
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
            f"y has integers other than 0 and 1, or -1 and 1, such as {y.max()}: one output has two classes; "
            "a model for k classes has k "
            "outputs, MLP(nin, [..., k]); for regression, give loss='mse_loss' or targets that are floats"
        )
    return losses.mse_loss
