"""What a model predicts, and how much of that is right."""

from __future__ import annotations

from typing import Any

import numpy as np

from microgradc import checks
from microgradc.engine import no_grad
from microgradc.engine.value import plain_number
from microgradc.keywords import suggest_keywords
from microgradc.modes import evaluating

__all__ = ["accuracy", "outputs"]


@suggest_keywords
def outputs(model: Any, X: Any) -> np.ndarray:
    """Return what a model gives for each of the rows of X, without a graph and in evaluation mode.

    Args:
        model: a `Module`, or anything that can be called with a list of numbers.
        X: examples, numbers of shape (n, nin).

    Returns:
        float64 of shape (n,) for one output, else (n, nout).

    Raises:
        ValueError: X is not of that shape.
        TypeError: X are not numbers.
    """
    rows = checks.rows(X).tolist()
    with evaluating(model), no_grad():
        return as_array([model(row) for row in rows])


@suggest_keywords
def accuracy(model: Any, X: Any, y: Any, threshold: float = 0.0) -> float:
    """Return the share of examples that a model classifies right.

    Args:
        model: as in `outputs`.
        X: examples, numbers of shape (n, nin).
        y: classes, integers of shape (n,): indices for a model with several outputs, of which the largest decides; 0
            and 1, or -1 and 1, for one output.
        threshold: where the classes part if there is one output: 0 for a score or logit, 0.5 for a probability.

    Raises:
        ValueError: X or y is of the wrong shape or empty.
        TypeError: they are not numbers.
    """
    X, y = checks.examples(X, y, check_finite=False)
    predictions = outputs(model, X)
    count = predictions.size // len(predictions)
    if count == 1 and not (has_classes(y, {0, 1}) or has_classes(y, {-1, 1})):
        raise ValueError("y must have the classes 0 and 1, or -1 and 1, for a model with one output")
    if count > 1 and y.shape != predictions.shape and not (y.ndim == 1 and has_classes(y, set(range(count)))):
        raise ValueError(
            f"y must have the classes 0 to {count - 1}, the indices of the {count} outputs, "
            "or one class for each output"
        )
    return float(np.mean(is_right(predictions, y, threshold)))


def is_right(predictions: np.ndarray, y: np.ndarray, threshold: float) -> np.ndarray:
    """Return for each example whether its class was found: that of the largest output, or that on the right side of the
    threshold."""
    if predictions.ndim == 2 and y.ndim == 1:
        return predictions.argmax(axis=1) == y
    return (predictions > threshold) == (y > 0)


def single(prediction: Any) -> Any:
    """Return a model's output; the entry of a list or array of one."""
    return prediction[0] if isinstance(prediction, (list, tuple, np.ndarray)) and len(prediction) == 1 else prediction


def as_array(predictions: list[Any]) -> np.ndarray:
    """Return outputs, Values or lists of them, as float64 of shape (n,) for one output, else (n, nout)."""
    found = np.array(
        [
            [plain_number(v) for v in r] if isinstance(r, (list, tuple, np.ndarray)) else plain_number(r)
            for r in predictions
        ]
    )
    return found[:, 0] if found.ndim == 2 and found.shape[1] == 1 else found


def has_classes(y: np.ndarray, classes: set[int]) -> bool:
    """Return whether the targets are classes out of these."""
    return y.ndim == 1 and set(np.unique(y).tolist()) <= classes
