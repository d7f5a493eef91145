"""Numbers that say how good predictions are, by name; what they are follows `sklearn.metrics`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from microgradc import losses
from microgradc.train.history import History
from microgradc.train.labels import NAMES, OURS


@dataclass
class Metric:
    """A number that predictions have.

    Attributes:
        name: its name in the history.
        of: what it is computed from besides the targets: the places of "classes", of which it gets the number too;
            the "outputs"; or "predictions", which are labels or numbers, as the targets are then.
        function: of targets and these.
    """

    name: str
    of: str
    function: Callable[..., Any]


def balanced_accuracy(y: np.ndarray, found: np.ndarray, count: int) -> float:
    """Return the mean over the classes that there are of the share of their examples that were found."""
    return float(np.mean([np.mean(found[y == c] == c) for c in np.unique(y)]))


def precision(y: np.ndarray, found: np.ndarray, count: int) -> float:
    """Return the share of right ones among those predicted."""
    return over_classes(y, found, count, lambda right, real, predicted: right / predicted if predicted else 0.0)


def recall(y: np.ndarray, found: np.ndarray, count: int) -> float:
    """Return the share of examples of a class that were found."""
    return over_classes(y, found, count, lambda right, real, predicted: right / real if real else 0.0)


def f1(y: np.ndarray, found: np.ndarray, count: int) -> float:
    """Return the harmonic mean of precision and recall."""
    return over_classes(
        y, found, count, lambda right, real, predicted: 2 * right / (real + predicted) if real + predicted else 0.0
    )


def over_classes(
    y: np.ndarray, found: np.ndarray, count: int, score: Callable[[float, float, float], float]
) -> float:
    """Return a score from how many examples are right, real and predicted: of the second of two classes, of more the
    mean over those that there are."""
    classes = np.array([1]) if count == 2 else np.union1d(y, found)
    scores = [score(np.sum((y == c) & (found == c)), np.sum(y == c), np.sum(found == c)) for c in classes]
    return float(np.mean(scores))


def roc_auc(y: np.ndarray, scores: np.ndarray) -> float:
    """Return the share of pairs of examples of two classes in which that of the second has the higher score."""
    if scores.ndim == 2 and scores.shape[1] == 2:
        scores = scores[:, 1] - scores[:, 0]
    if scores.ndim != 1:
        raise ValueError(f"the metric roc_auc is for two classes, there are {scores.shape[1]}")
    second = y > 0
    n, m = int(second.sum()), int((~second).sum())
    if n == 0 or m == 0:
        return float("nan")
    _, places, counts = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[places]
    return float((ranks[second].sum() - n * (n + 1) / 2) / (n * m))


def r2(y: np.ndarray, found: np.ndarray) -> float:
    """Return the share of the variance of the targets that is explained, the mean over outputs."""
    left, total = ((y - found) ** 2).sum(0), ((y - y.mean(0)) ** 2).sum(0)
    with np.errstate(all="ignore"):
        return float(np.mean(np.where(total > 0, 1 - left / total, np.where(left > 0, 0.0, 1.0))))


METRICS = {
    "accuracy": Metric("accuracy", "classes", lambda y, found, count: np.mean(y == found)),
    "balanced_accuracy": Metric("balanced_accuracy", "classes", balanced_accuracy),
    "precision": Metric("precision", "classes", precision),
    "recall": Metric("recall", "classes", recall),
    "f1": Metric("f1", "classes", f1),
    "roc_auc": Metric("roc_auc", "outputs", roc_auc),
    "mse": Metric("mse", "outputs", lambda y, found: np.mean((y - found) ** 2)),
    "rmse": Metric("rmse", "outputs", lambda y, found: np.sqrt(np.mean((y - found) ** 2))),
    "mae": Metric("mae", "outputs", lambda y, found: np.mean(np.abs(y - found))),
    "r2": Metric("r2", "outputs", r2),
}


TAKEN = set(dir(History())) - {"accuracy"}      # what a history has by other names than those of metrics
NUMBERS = ("mse", "rmse", "mae", "r2")      # these are for targets that are no classes


def checked_metrics(metrics: Any, has_classes: bool) -> list[Metric]:
    """Return the metrics that `fit` was asked for.

    Args:
        metrics: names, or functions of targets and predictions; None for none.
        has_classes: whether the targets are classes.

    Raises:
        ValueError: there is none of that name, or it is not for such targets.
        TypeError: one is neither.
    """
    if metrics is None:
        return []
    found: list[Metric] = []
    for metric in [metrics] if isinstance(metrics, str) or not isinstance(metrics, Sequence) else metrics:
        if callable(metric) and metric not in OURS:
            name = getattr(metric, "__name__", type(metric).__name__)
            name = name if name.isidentifier() else "metric"
            found.append(Metric(name, "predictions", metric))
        else:
            found.append(named_metric(metric, has_classes))
    for i, metric in enumerate(found):
        before = [m.name for m in found[:i]]
        if metric.name in before or metric.name in TAKEN:
            found[i] = Metric(f"{metric.name}_{i + 1}", metric.of, metric.function)
    return [metric for metric in found if metric.name != "accuracy" or metric.of == "predictions"]


def named_metric(metric: Any, has_classes: bool) -> Metric:
    """Return the metric of a name, or one of our losses."""
    if metric in OURS or (isinstance(metric, str) and metric in NAMES):
        name = metric if isinstance(metric, str) else metric.__name__
        loss = getattr(losses, name)
        return Metric(name, "outputs", lambda y, found: loss(found, y))
    if not isinstance(metric, str):
        raise TypeError(f"metrics must be names or functions of targets and predictions, got {metric!r:.60}")
    if metric not in METRICS:
        from difflib import get_close_matches

        meant = get_close_matches(metric, METRICS, 1)
        advice = f". Did you mean {meant[0]!r}?" if meant else ""
        raise ValueError(f"metrics must be of {', '.join(METRICS)}, losses or functions, got {metric!r}{advice}")
    known = METRICS[metric]
    if (metric in NUMBERS) == has_classes:
        kinds = ("classes", "numbers") if has_classes else ("numbers", "classes")
        raise ValueError(f"the targets are {kinds[0]}, and the metric {metric} is for {kinds[1]}")
    return known
