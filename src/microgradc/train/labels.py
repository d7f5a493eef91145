"""Classes and their labels: texts, categories, bools, numbers; what a loss takes in their place, and the way back."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Any

import numpy as np

from microgradc import checks, losses

SCORES = (losses.binary_cross_entropy_with_logits, losses.binary_cross_entropy, losses.hinge_loss)
INDICES = (losses.cross_entropy, losses.nll_loss)


@dataclass
class Labels:
    """The classes of targets.

    Attributes:
        classes: the labels; those of one output are below and above the threshold, those of several in their order.
            None where targets are numbers.
        codes: what the loss takes in place of each.
        changed: whether the codes are others than the labels.
    """

    classes: np.ndarray | None = None
    codes: np.ndarray | None = None
    changed: bool = False

    def encode(self, y: Any, whose: str = "") -> Any:
        """Return what the loss takes for these labels; a class that is not among them is a ValueError."""
        if not self.changed:
            return y
        assert self.classes is not None
        assert self.codes is not None
        y = column_of(y)
        given = flat(as_labels(y, f"{whose}y") if is_text(y) else checks.real_array(y, f"{whose}y"))
        places = np.array([self.places.get(label, -1) for label in given.tolist()], int)
        if (places < 0).any():
            label = given.tolist()[int(np.argmax(places < 0))]
            known = ", ".join(map(repr, self.classes.tolist()[:10]))
            raise ValueError(f"{whose}y has {label!r}, which is none of the classes {known}")
        return self.codes[places]

    @property
    def places(self) -> dict[Any, int]:
        """The place of each label."""
        return {} if self.classes is None else {label: i for i, label in enumerate(self.classes.tolist())}


def find_labels(y: Any, loss: Any, count: int) -> Labels:
    """Return the classes of targets, if they are classes.

    Args:
        y: targets as they were given.
        loss: one of our losses, another function, or None for the usual one.
        count: the number of outputs.

    Raises:
        TypeError: they are texts, and the loss takes numbers.
        ValueError: there are more or less classes than the outputs can have.
    """
    y = column_of(y)
    if is_text(y):
        labels, all_classes = classes_of(y)
        if loss in OURS and loss not in (*SCORES, *INDICES):
            raise TypeError(f"y must be real numbers for {loss.__name__}, got labels such as {labels.tolist()[0]!r}")
        if len(all_classes) == max(count, 2):
            return coded(all_classes, loss, count)
        classes = np.array(sorted(set(labels.tolist()), key=all_classes.tolist().index), all_classes.dtype)
        require_as_many(classes, count)
        return coded(classes, loss, count)
    y = flat(checks.real_array(y, "y"))
    if y.ndim != 1:
        return Labels(np.arange(count)) if loss in INDICES and count > 1 else Labels()
    if not np.isfinite(y).all():
        return Labels()
    found = np.unique(y)
    if y.dtype.kind == "b":
        if loss is None or loss in (*SCORES, *INDICES):
            return coded(np.array([False, True]), loss, count) if count <= 2 else Labels(np.arange(count))
        return Labels()
    return of_scores(found, loss) if count == 1 else of_indices(found, loss, count)


def of_scores(found: np.ndarray, loss: Any) -> Labels:
    """Return the classes that different numbers are for one output."""
    numbers, kind = set(found.tolist()), found.dtype.type
    is_known = numbers <= {0, 1} or (numbers <= {-1, 1} and loss in (None, losses.hinge_loss))
    if loss is None and found.dtype.kind == "f":     # numbers, but for the usual two of classes
        usual = found.tolist() in ([0.0, 1.0], [-1.0, 1.0])
        return Labels(found, found.astype(int), True) if usual else Labels()
    if loss not in (None, *SCORES):
        return Labels(np.array([-1, 1], kind)) if numbers <= {-1, 1} and loss not in OURS else Labels()
    if is_known and not (loss is losses.hinge_loss and not numbers <= {-1, 1}):
        return Labels(np.array([0, 1] if numbers <= {0, 1} else [-1, 1], kind))
    is_probability = found.dtype.kind == "f" and found[0] >= 0 and found[-1] <= 1
    if len(found) == 2 and not is_probability and (loss is None or found[0] != 0):
        return coded(found, loss, 1)
    return Labels(np.array([-1, 1] if loss is losses.hinge_loss else [0, 1]) if loss is not None else None)


def of_indices(found: np.ndarray, loss: Any, count: int) -> Labels:
    """Return the classes that different numbers are for several outputs."""
    if loss not in (None, *INDICES):
        return Labels()
    are_integers = (found == np.floor(found)).all()
    if are_integers and found[0] >= 0 and found[-1] < count:
        classes = np.arange(count).astype(found.dtype)
        return Labels(classes, np.arange(count), found.dtype.kind == "f")
    if len(found) == count and not (are_integers and found[0] == 0):
        return coded(found, loss, count)
    return Labels()


def coded(classes: np.ndarray, loss: Any, count: int) -> Labels:
    """Return classes with other codes than their labels."""
    if loss is losses.hinge_loss and count == 1:
        return Labels(classes, np.array([-1, 1]), True)
    return Labels(classes, np.arange(len(classes)), True)


def require_as_many(classes: np.ndarray, count: int) -> None:
    """Raise ValueError unless outputs can tell these classes apart."""
    n, shown = len(classes), ", ".join(map(repr, classes.tolist()[:5]))
    if n != max(count, 2):
        advice = "one output has two classes; a model for k classes has k outputs, MLP(nin, [..., k])"
        outputs = "1 output" if count == 1 else f"{count} outputs"
        raise ValueError(f"y has {n} class{'es' * (n != 1)}, {shown}, and the model {outputs}: {advice}")


def is_text(y: Any) -> bool:
    """Return whether targets are texts, categories or the like, no numbers."""
    if is_categorical(y):
        return True
    dtype = getattr(y, "dtype", None)
    if dtype is not None:
        name = str(dtype)
        return name.startswith(("<U", "|S", "<S", "str", "string")) or (name == "object" and has_text(np.ravel(y)))
    return isinstance(y, (list, tuple)) and has_text(y)


def has_text(entries: Any) -> bool:
    """Return whether the first of some entries that is there is a text."""
    first = next((entry for entry in entries if entry is not None), None)
    if isinstance(first, (list, tuple, np.ndarray)) and len(first) == 1:
        first = first[0]
    return isinstance(first, (str, bytes))


def is_categorical(y: Any) -> bool:
    """Return whether y is a categorical series, or array, of pandas."""
    pandas: Any = sys.modules.get("pandas")     # where nobody imported it, nobody has one
    return pandas is not None and isinstance(getattr(y, "dtype", None), pandas.CategoricalDtype)


def classes_of(y: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return the labels of examples, and the classes in their order: that of the categories, or of the alphabet."""
    labels = flat(as_labels(y, "y"))
    if is_categorical(y):
        return labels, np.asarray(y.dtype.categories)
    return labels, np.unique(labels)


def as_labels(y: Any, name: str) -> np.ndarray:
    """Return labels as an array, of texts or objects.

    Raises:
        ValueError: one is missing.
        TypeError: they are of different kinds.
    """
    labels = np.asarray(y, dtype=object)
    entries = labels.ravel().tolist()
    missing = [i for i, entry in enumerate(entries) if is_missing(entry)]
    if missing:
        raise ValueError(f"{name} has no label in row {missing[0]}; leave such rows out, or fill them")
    kinds = {str if isinstance(entry, str) else type(entry) for entry in entries}
    if len(kinds) > 1 and not is_categorical(y):
        names = ", ".join(sorted(kind.__name__ for kind in kinds))
        raise TypeError(f"{name} must have labels of one kind, got {names}; texts, as in y.astype(str), are one")
    return labels.astype(str if kinds == {str} else bytes) if kinds in ({str}, {bytes}) else labels


def is_missing(entry: Any) -> bool:
    """Return whether a label is None, nan, or what pandas has in their place."""
    return entry is None or type(entry).__name__ in ("NAType", "NaTType") or entry != entry


def column_of(y: Any) -> Any:
    """Return the only column of a frame; anything else as it is."""
    return y.iloc[:, 0] if hasattr(y, "iloc") and getattr(y, "shape", ())[1:] == (1,) else y


def flat(y: np.ndarray) -> np.ndarray:
    """Return targets, a column as a row."""
    return y[:, 0] if y.ndim == 2 and y.shape[1] == 1 else y


# The losses of predictions and targets alone, by name.
NAMES = [name for name in losses.__all__ if name not in ("cosine_similarity", "gaussian_nll_loss")]
OURS = [getattr(losses, name) for name in NAMES]
