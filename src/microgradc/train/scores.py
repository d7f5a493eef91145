"""What a model gives for examples, and how much of that is right."""

from __future__ import annotations

from copy import deepcopy
from functools import partial
from typing import TYPE_CHECKING, Any, overload

import numpy as np

from microgradc import changes, checks
from microgradc.engine import CompileError, EnableGrad, is_tracing, no_grad
from microgradc.engine.value import is_detecting, plain_number
from microgradc.keywords import suggest_keywords
from microgradc.modes import evaluating, set_mode
from microgradc.program.chunks import rows_in_chunks
from microgradc.program.lazy_arrays import is_dask_array
from microgradc.program.program import Program
from microgradc.train.kept import NAME, OUTPUTS, Kept, as_example, kept_with, recorded
from microgradc.train.labels import as_labels, column_of, flat, is_categorical, is_text
from microgradc.train.structure import structure_of

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from microgradc.checks import Lazy

__all__ = ["accuracy", "outputs"]

FEW = 16        # rows: for less, a model is called where it would take longer to find out what it does
MANY = 20_000   # parameters: to record so many takes a quarter of a second
FLOAT64 = np.dtype(float)


@overload
def outputs(model: Any, X: Lazy, *, compile: bool | None = None) -> Any: ...
@overload
def outputs(model: Any, X: ArrayLike, *, compile: bool | None = None) -> NDArray[np.float64]: ...
@suggest_keywords
def outputs(model: Any, X: Any, *, compile: bool | None = None) -> Any:
    """Return what a model gives for each of the rows of X, without a graph and in evaluation mode.

    Args:
        model: a `Module`, or anything that can be called with a list of numbers.
        X: examples, numbers of shape (n, nin); or a dask array of them.
        compile: whether to compile the model (`microgradc.compile`), which is kept with it for the next call; True says
            why that is not possible. By default, where it is; but for less than 16 rows not where it would take longer
            than to call the model: where it has very many parameters, or is of a class of your own.

    Returns:
        float64 of shape (n,) for one output, else (n, nout). Of a dask array: a dask array with the same chunks, which
        is computed when it is wanted, with the numbers that the model has now.

    Raises:
        ValueError: X is not of that shape.
        TypeError: X are not numbers.
        CompileError: compile is True, and that is not possible.
    """
    plain = type(X) is np.ndarray and X.dtype is FLOAT64 and X.ndim == 2 and X.size and X.flags.carray
    if not plain and is_dask_array(X):
        return outputs_of_chunks(model, X, compile)
    rows = X if plain else np.require(checks.rows(X), float, ["C", "A"])
    if compile is None:
        kept = getattr(model, "__dict__", {}).get(NAME)
        if type(kept) is Kept and kept.owner() is model:
            found = kept.recordings.get((OUTPUTS, rows.shape[1]))
            if found is not None and found.is_current() and not (is_tracing() or is_detecting()):
                return shaped(found.program(rows))
    elif not checks.flag(compile, "compile"):
        return by_row(model, rows)
    program = program_of(model, rows, bool(compile))
    return by_row(model, rows) if program is None else shaped(program(rows))


def by_row(model: Any, rows: np.ndarray) -> np.ndarray:
    """Return the same by calling the model for each row."""
    with evaluating(model), no_grad():
        return as_array([model(row) for row in rows.tolist()])


def outputs_of_chunks(model: Any, X: Any, compile: bool | None) -> Any:
    """Return the outputs for a dask array: what is to be done with each chunk, by a program or else by a copy."""
    rows = rows_in_chunks(X)
    first = rows.first(structure_of(model) is None)
    program = None if compile is False else program_of(model, first, bool(compile), few=False)
    if program is not None:
        return shaped(rows.outputs(program))
    made = deepcopy(model)      # which nobody changes before it is called
    set_mode(made, training=False)
    like = by_row(made, first)
    return over_chunks(partial(by_row_of_chunk, made, like), rows.X, like)


def by_row_of_chunk(model: Any, like: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Return what `by_row` does; nothing for no rows."""
    return by_row(model, checks.rows(rows)) if len(rows) else like[:0]


def over_chunks(f: Any, found: Any, example: np.ndarray | None = None) -> Any:
    """Return what a function makes of rows: of each chunk, where they are a dask array.

    Args:
        f: a function of an array, with a row for each of it.
        found: the array.
        example: what it makes of one row; by default it is asked.
    """
    if type(found) is np.ndarray or not is_dask_array(found):
        return f(found)
    like = f(np.zeros((1, *found.shape[1:]))) if example is None else example
    return found.map_blocks(
        f, dtype=like.dtype, meta=like[:0], drop_axis=list(range(1, found.ndim)), new_axis=list(range(1, like.ndim)),
        chunks=(found.chunks[0], *[(size,) for size in like.shape[1:]]),
    )  # fmt: skip


def program_of(model: Any, rows: np.ndarray, required: bool = False, few: bool = True) -> Program | None:
    """Return the program of what a model gives for a row; None where there is none, or it would take longer.

    Args:
        few: whether there are no more rows than these.

    Raises:
        CompileError: it is required, and not possible; or whatever else the model raises then.
    """
    kept, key = kept_with(model), (OUTPUTS, rows.shape[1])
    known = kept.recordings.get(key)
    if not required:
        if is_tracing() or is_detecting() or kept.refused.get(key, ("", ""))[0] is changes.lasting:
            return None
        if few and len(rows) < FEW and not (is_quick(model) if known is None else known.is_watched):
            return None

    def example(x: Any) -> Any:
        return single(model(x))

    try:
        with evaluating(model), EnableGrad():
            found = recorded(model, key, example, (as_example(model, rows[0]),))
        if found.axes is None or len(found.axes) > 1:
            raise CompileError("the model returns something other than a number or a list of numbers")
        return found.program
    except Exception as error:      # whatever it does with Values; if it does so with numbers, a plain call says it
        kept.recordings.pop(key, None)
        kept.refused[key] = changes.lasting, f"{error}"
        if required:
            raise
        return None


def shaped(found: np.ndarray) -> np.ndarray:
    """Return the outputs of a program, those of one output as a row."""
    return found[:, 0] if found.shape[1] == 1 else found


@suggest_keywords
def accuracy(model: Any, X: Any, y: Any, threshold: float | None = None) -> float:
    """Return the share of examples that a model classifies right.

    Args:
        model: as in `outputs`.
        X: examples, numbers of shape (n, nin).
        y: classes, of shape (n,): the labels that the model was fitted to; or indices for a model with several outputs,
            of which the largest decides; 0 and 1, or -1 and 1, for one output.
        threshold: where the classes part if there is one output: 0 for a score or logit, 0.5 for a probability. None
            for 0.5 if the model was fitted with `binary_cross_entropy`, else 0.

    Raises:
        ValueError: X or y is of the wrong shape or empty, or its classes are none of the model's.
        TypeError: they are not numbers, and the model was not fitted to such labels.
    """
    classes: np.ndarray | None = getattr(model, "classes_", None)
    learnt = getattr(model, "_learnt", {})
    if threshold is None:
        threshold = learnt.get("threshold", 0.0)
    labels = None if classes is None else own_labels(classes, y)
    if labels is not None and classes is not None:
        X, _ = checks.examples(X, np.zeros(len(labels)), check_finite=False)
        predictions = outputs(model, X)
        return float(np.mean(classes_of(predictions, classes, threshold) == labels))
    X, y = checks.examples(X, y, check_finite=False)
    predictions = outputs(model, X)
    if y.shape == predictions.shape and y.ndim == 2 and learnt.get("loss") == "cross_entropy":
        y = y.argmax(axis=1)        # probabilities of the classes, as `fit` took them
    count = predictions.size // len(predictions)
    if count == 1 and not (has_classes(y, {0, 1}) or has_classes(y, {-1, 1})):
        raise ValueError("y must have the classes 0 and 1, or -1 and 1, for a model with one output")
    if count > 1 and y.shape != predictions.shape and not (y.ndim == 1 and has_classes(y, set(range(count)))):
        raise ValueError(
            f"y must have the classes 0 to {count - 1}, the indices of the {count} outputs, "
            "or one class for each output"
        )
    return float(np.mean(is_right(predictions, y, threshold)))


def own_labels(classes: np.ndarray, y: Any) -> np.ndarray | None:
    """Return targets as labels of a model; None if they are none of them, or other numbers for its classes."""
    y = column_of(y)
    if is_categorical(y) or (is_text(y) and classes.dtype.kind in "OUST"):
        return flat(as_labels(y, "y"))
    if classes.dtype.kind not in "biuf":
        return None
    labels = flat(checks.real_array(y, "y"))
    known = np.isin(labels, classes)
    plain = {0, 1} if len(classes) == 2 else set(range(len(classes)))
    is_index = labels.ndim == 1 and (has_classes(labels, plain) or (len(classes) == 2 and has_classes(labels, {-1, 1})))
    return labels if labels.ndim == 1 and (known.all() or (known.any() and not is_index)) else None


def classes_of(predictions: np.ndarray, classes: np.ndarray, threshold: float = 0.0) -> np.ndarray:
    """Return the classes of outputs, with their labels."""
    found: np.ndarray = classes.take(predictions.argmax(axis=1) if predictions.ndim == 2 else predictions > threshold)
    return found


def is_right(predictions: np.ndarray, y: np.ndarray, threshold: float) -> np.ndarray:
    """Return for each example whether its class was found: that of the largest output, or that on the right side of the
    threshold."""
    if predictions.ndim == 2 and y.ndim == 1:
        return predictions.argmax(axis=1) == y
    return (predictions > threshold) == (y > 0)


def is_quick(model: Any) -> bool:
    """Return whether a model is soon recorded, and known without a call from then on: by its class and size."""
    return type(model).__module__.startswith("microgradc.nn.") and len(model.parameters()) <= MANY


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
