"""How much examples count: by themselves, and by their class."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from microgradc import checks
from microgradc.train.labels import Labels


def checked_weights(sample_weight: Any, n: int, name: str = "sample_weight") -> np.ndarray | None:
    """Return the weights of n examples, float64, or None.

    Raises:
        ValueError: there are not as many; one is negative, inf or nan; all are 0.
        TypeError: they are not numbers.
    """
    if sample_weight is None:
        return None
    weights = checks.real_array(sample_weight, name).astype(float)
    if weights.shape != (n,):
        raise ValueError(f"{name} must have a number for each of the {n} rows of X, got shape {weights.shape}")
    wrong = ~((weights >= 0) & (weights < np.inf))
    if wrong.any():
        i = int(np.argmax(wrong))
        raise ValueError(f"{name}[{i}] must be at least 0 and finite, got {weights[i]}")
    if not weights.any():
        raise ValueError(f"{name} must have a number above 0, got none")
    return weights


def with_classes(
    weights: np.ndarray | None, class_weight: Any, y: np.ndarray, labels: Labels
) -> np.ndarray | None:
    """Return weights times those of the classes.

    Args:
        weights: of the examples, or None for 1.
        class_weight: 'balanced', a weight by label, or None.
        y: the targets, as the loss takes them.
        labels: their classes.

    Raises:
        ValueError: the targets are not classes; a label is not one of them; a weight is out of range.
        TypeError: class_weight is something else.
    """
    if class_weight is None:
        return weights
    classes = labels.classes
    if classes is None or y.ndim != 1:
        raise ValueError("class_weight is for targets that are classes, a label for each example; these are not")
    codes = np.asarray(classes if labels.codes is None else labels.codes)
    places = np.searchsorted(codes, y)
    factors = np.ones(len(classes))
    if isinstance(class_weight, str) and class_weight == "balanced":
        counts = np.bincount(places, minlength=len(classes))
        factors[counts > 0] = len(y) / ((counts > 0).sum() * counts[counts > 0])
    elif isinstance(class_weight, Mapping):
        known = labels.places
        for label, weight in class_weight.items():
            plain = label.item() if isinstance(label, np.generic) else label
            if plain not in known:
                names = ", ".join(map(repr, list(known)[:10]))
                raise ValueError(f"class_weight has {plain!r}, which is none of the classes {names}")
            factors[known[plain]] = checks.number(weight, f"class_weight[{plain!r}]", checks.NOT_NEGATIVE)
    else:
        raise TypeError(f"class_weight must be 'balanced' or a dict of weights by label, got {class_weight!r:.60}")
    found = factors[places]
    return found if weights is None else weights * found
