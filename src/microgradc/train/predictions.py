"""Predictions of a model that was fitted: classes and their probabilities, or numbers."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from microgradc import losses
from microgradc.train.scores import classes_of, outputs, over_chunks

NAME = "_learnt"    # the attribute of a model that says what it was fitted to

# How outputs become probabilities, by the loss.
PROBABILITIES = ("cross_entropy", "nll_loss", "binary_cross_entropy_with_logits", "binary_cross_entropy")

SIGNS = np.array([-1.0, 1.0])


def remember(model: Any, task: Any) -> None:
    """Note in a model what it is fitted to: the classes, and what its outputs are then."""
    if hasattr(model, "__dict__"):
        loss = task.loss.__name__ if task.is_ours else ""
        several = task.is_of_several and task.threshold is not None
        note(model, task.labels.classes, loss, task.threshold or 0.0, several)


def note(model: Any, classes: np.ndarray | None, loss: str, threshold: float = 0.0, several: bool = False) -> None:
    """Note in a model its classes, by which loss it learnt them, where those of one output part, and whether there were
    several targets for each example."""
    vars(model)["classes_"] = classes       # no change of what it computes
    vars(model)[NAME] = {"loss": loss, "threshold": threshold, "several": several}


def predict(model: Any, X: Any) -> Any:
    """Return what a model predicts: see `Module.predict`."""
    learnt, classes = vars(model).get(NAME, {}), getattr(model, "classes_", None)
    found = outputs(model, X)
    if classes is not None:
        return over_chunks(partial(classes_of, classes=classes, threshold=learnt.get("threshold", 0.0)), found)
    if learnt.get("several"):
        return over_chunks(partial(signs, learnt=learnt), found)
    return found


def signs(found: np.ndarray, learnt: dict[str, Any]) -> np.ndarray:
    """Return 1 for outputs above the threshold, and 0 or -1 for the others."""
    above = (found > learnt["threshold"]).astype(int)
    return 2 * above - 1 if learnt["loss"] == "hinge_loss" else above


def predict_proba(model: Any, X: Any) -> Any:
    """Return the probabilities of classes: see `Module.predict_proba`."""
    learnt = vars(model).get(NAME)
    if learnt is None:
        raise ValueError("predict_proba needs a model that was fitted to classes: call fit first")
    loss = learnt["loss"]
    if loss not in PROBABILITIES:
        if getattr(model, "classes_", None) is None and not learnt["several"]:
            raise ValueError(f"this model was fitted to numbers, by {loss or 'a loss of your own'}: it has no classes")
        advice = "binary_cross_entropy_with_logits leads to some, and cross_entropy for several classes"
        raise ValueError(f"{loss or 'a loss of your own'} gives scores, no probabilities; {advice}")
    return over_chunks(partial(probabilities, loss=loss), outputs(model, X))


def probabilities(found: np.ndarray, loss: str) -> np.ndarray:
    """Return the probabilities of outputs, float64 of shape (n, k)."""
    if loss == losses.cross_entropy.__name__:
        shifted = np.exp(found - found.max(axis=1, keepdims=True))
        return shifted / shifted.sum(axis=1, keepdims=True)
    if loss == losses.nll_loss.__name__:
        return np.exp(found)
    if loss == losses.binary_cross_entropy.__name__:
        return found if found.ndim == 2 else np.column_stack([1 - found, found])
    return sigmoid(found if found.ndim == 2 else found[:, None] * SIGNS)


def sigmoid(x: np.ndarray) -> np.ndarray:
    """Return 1 / (1 + exp(-x)), without overflow."""
    e = np.exp(-np.abs(x))
    return np.where(x >= 0, 1.0, e) / (1 + e)
