"""Pictures of training, with matplotlib: what a model has learnt, and how the loss fell."""

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from microgradc import checks
from microgradc.engine import no_grad
from microgradc.engine.value import plain_number
from microgradc.keywords import suggest_keywords
from microgradc.modes import evaluating
from microgradc.viz.figures import check_axes, import_matplotlib, new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito's colours, which people with any colour vision can tell apart (jfly.uni-koeln.de/color), the lighter
# ones last.
COLOURS = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#f0e442", "#000000"]
MARKERS = ["o", "^", "s", "D", "v", "P", "X", "*"]
MARGIN = 0.1            # around the points, as a fraction of their range
LOG_SCALE_FROM = 100.0  # the ratio of the largest loss to the smallest
MOST_BINS = 2000        # along the epochs, a few for each pixel: a line of 10^5 points takes minutes to draw, or fails


@suggest_keywords
def plot_decision_boundary(
    model: Callable[[list[float]], Any],
    X: Any,
    y: Any,
    ax: "Axes | None" = None,
    *,
    resolution: int = 80,
    threshold: float = 0.0,
) -> "Figure":
    """Plot the classes that a model finds in the plane, under the points of a data set.

    A model of one output has two classes: the second is where the output is above the threshold. One of several outputs
    has a class for
    each: that of the largest output. The model is called resolution² times, without a graph and in evaluation mode.

    Args:
        model: a callable of a list of two numbers that returns a Value or a number, or a list of several, such as
            `nn.MLP(2, [16, 1])`.
        X: points, of shape (n, 2).
        y: their classes, of shape (n,). For one output at most two different ones, such as -1 and 1, or 0 and 1; the
            larger is the one above the threshold. For k outputs 0 … k - 1, or any k different ones, in ascending order.
        ax: the axes to draw in; None for a new figure.
        resolution: the number of grid points along each axis.
        threshold: for one output, where the classes meet: 0 for a score or logit, 0.5 for a probability.

    Returns:
        The figure: the new one, which pyplot does not know, so that a notebook shows it once; or that of `ax`.

    Raises:
        ImportError: matplotlib is not installed.
        TypeError: ax is not Axes, or model is not callable.
        ValueError: X, y or resolution does not have that shape or range, or the classes do not go with the model's
            outputs.
    """
    import_matplotlib()
    check_axes(ax)
    if not callable(model):
        raise TypeError(f"model must be a callable of a list of two numbers, got {type(model).__name__}")
    checks.integer(resolution, "resolution", 2)
    X, y = _points_and_classes(X, y)
    low, high = X.min(0), X.max(0)
    margin = np.where(high > low, (high - low) * MARGIN, 1.0)
    across, up = (np.linspace(low[i] - margin[i], high[i] + margin[i], resolution) for i in range(2))
    scores = _scores(model, across, up)
    if len(scores) == 1:
        scores = np.concatenate([threshold - scores, scores - threshold])
        classes = _two_classes(y)
    else:
        classes = _classes_of_outputs(y, len(scores))

    if ax is None:
        ax = new_figure((6.0, 4.5), layout="constrained").add_subplot()
    for k in range(len(scores)):
        colour = COLOURS[k % len(COLOURS)]
        with np.errstate(invalid="ignore"):  # inf - inf is nan, and nan is left blank
            lead = np.clip(scores[k] - np.delete(scores, k, 0).max(0), -1e12, 1e12)
        if (lead > 0).any():
            ax.contourf(across, up, lead, levels=[0, np.inf], colors=[colour], alpha=0.25)
        if (lead > 0).any() and (lead < 0).any():
            ax.contour(across, up, lead, levels=[0], colors=["#333333"], linewidths=1)
        of_class = X[y == classes[k]] if k < len(classes) else X[:0]
        if len(of_class):
            marker = MARKERS[k % len(MARKERS)]
            style: dict[str, Any] = {
                "color": colour,
                "marker": marker,
                "edgecolors": "white",
                "linewidths": 0.6,
                "zorder": 3,
            }
            ax.scatter(of_class[:, 0], of_class[:, 1], s=28, label=str(classes[k]), **style)
    ax.set(xlabel="x[0]", ylabel="x[1]", xlim=across[[0, -1]], ylim=up[[0, -1]])
    ax.legend(title="class")
    return ax.figure.canvas.figure


def _points_and_classes(X: Any, y: Any) -> tuple[NDArray[Any], NDArray[Any]]:
    try:
        with no_grad():   # the numbers of Values
            points = np.asarray(X, dtype=float)
    except (TypeError, ValueError) as error:
        raise ValueError(f"X must be an array of numbers of shape (n, 2), got {type(X).__name__}: {error}") from error
    classes = np.asarray(y)
    if points.ndim != 2 or points.shape[1] != 2 or not len(points):
        raise ValueError(
            f"X must have shape (n, 2), two coordinates for each of at least one point, got {points.shape}"
        )
    if not np.isfinite(points).all():
        raise ValueError("X must be finite, got nan or inf")
    if classes.shape != points.shape[:1]:
        raise ValueError(f"y must have shape ({len(points)},), a class for each point of X, got {classes.shape}")
    return points, classes


def _scores(model: Callable[[list[float]], Any], across: NDArray[Any], up: NDArray[Any]) -> NDArray[Any]:
    """The model's outputs on a grid, of shape (outputs, len(up), len(across))."""
    with evaluating(model), no_grad():
        rows = [np.atleast_1d(np.asarray(model([float(a), float(b)]), dtype=float)) for b in up for a in across]
    if rows[0].ndim != 1 or any(row.shape != rows[0].shape for row in rows) or not rows[0].size:
        raise ValueError(
            f"model must return a number or a list of numbers, always as many, got one of shape {rows[0].shape}"
        )
    return np.array(rows).T.reshape(-1, len(up), len(across))


def _two_classes(y: NDArray[Any]) -> list[Any]:
    """The class below the threshold and the one above; None for one that no point has."""
    found = np.unique(y).tolist()
    if len(found) > 2:
        raise ValueError(f"y must have at most 2 classes for a model of one output, got {len(found)}: {found[:5]}")
    if len(found) == 2:
        return found
    return [None, *found] if not isinstance(found[0], str) and found[0] > 0 else [*found, None]


def _classes_of_outputs(y: NDArray[Any], outputs: int) -> list[Any]:
    found = np.unique(y).tolist()
    if all(c in range(outputs) for c in found):
        return list(range(outputs))
    if len(found) != outputs:
        raise ValueError(
            f"y must have classes 0 to {outputs - 1}, or {outputs} different ones, one for each output of the model, "
            f"got {len(found)}: {found[:5]}"
        )
    return found


@suggest_keywords
def plot_history(history: Any, ax: "Axes | None" = None) -> "Figure":
    """Plot the loss, and the accuracy if there is one, against the epoch.

    The loss has a logarithmic scale if it is positive and falls or rises by more than a factor of 100.

    Args:
        history: an object with the lists `loss`, `accuracy`, `validation_loss` and `validation_accuracy`, an entry for
            each epoch. Entries may be None and lists may be empty or absent, but for `loss`. Or a list of losses.
        ax: the axes to draw the loss in, accuracy has an axis on the right then; None for a new figure, where it has a
            panel of its own.

    Returns:
        The figure: the new one, which pyplot does not know, so that a notebook shows it once; or that of `ax`.

    Raises:
        ImportError: matplotlib is not installed.
        TypeError: history is neither, or ax is not Axes.
        ValueError: there is no loss.
    """
    import_matplotlib()
    check_axes(ax)
    from matplotlib.ticker import MaxNLocator

    loss, accuracy = _series(history, "loss"), _series(history, "accuracy")
    if not loss:
        raise ValueError("history must have a loss of at least one epoch, got none")
    if ax is None:
        figure = new_figure((6.0, 5.0 if accuracy else 3.2), layout="constrained")
        panels = figure.subplots(1 + bool(accuracy), sharex=True, squeeze=False)[:, 0].tolist()
    else:
        panels = [ax, ax.twinx()] if accuracy else [ax]
    for panel, name, curves, colour in zip(panels, ["loss", "accuracy"], [loss, accuracy], COLOURS, strict=False):
        for label, (epochs, values) in curves.items():
            style = "--" if label.startswith("validation") else "-"
            panel.plot(
                *_thinned(epochs, values),
                label=label,
                color=colour,
                linestyle=style,
                marker="." if len(values) < 30 else "",
            )
        panel.set_ylabel(name, color=colour)
    if ax is None:
        for panel in panels:
            if len(panel.get_lines()) > 1:
                panel.legend()
    elif len(lines := [line for panel in panels for line in panel.get_lines()]) > 1:
        panels[-1].legend(handles=lines, loc="center right")  # between a loss that falls and an accuracy that rises
    bottom = panels[0] if ax is not None else panels[-1]
    bottom.set_xlabel("epoch")
    bottom.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1, steps=[1, 2, 5, 10]))
    everything = np.concatenate([values for _, values in loss.values()])
    finite = everything[np.isfinite(everything)]
    if len(finite) and finite.min() > 0 and finite.max() / finite.min() > LOG_SCALE_FROM:
        panels[0].set_yscale("log")
    return panels[0].figure.canvas.figure


def _thinned(epochs: NDArray[Any], values: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return the points of a long curve that its picture shows: the first, lowest, highest and last of each bin."""
    if len(values) <= 4 * MOST_BINS:
        return epochs, values
    edges = np.linspace(0, len(values), MOST_BINS + 1).astype(int).tolist()
    kept: set[int] = set()
    for first, end in pairwise(edges):
        part = values[first:end]
        known = part[~np.isnan(part)]
        kept |= {first, end - 1}
        kept |= {first + int(np.flatnonzero(part == v)[0]) for v in (known.min(), known.max())} if len(known) else set()
    order = np.array(sorted(kept))
    return epochs[order], values[order]


def _series(history: Any, name: str) -> dict[str, tuple[NDArray[Any], NDArray[Any]]]:
    """The curves of training and validation that there are, by name: epochs from 1, and values."""
    if isinstance(history, Sequence | np.ndarray) and not isinstance(history, str):
        lists = {name: history if name == "loss" else None}
    elif hasattr(history, "loss"):
        lists = {key: getattr(history, key.replace(" ", "_"), None) for key in (name, f"validation {name}")}
    else:
        raise TypeError(f"history must be a History or a list of losses, got {type(history).__name__}")
    curves = {}
    for label, entries in lists.items():
        numbered = enumerate([] if entries is None else entries, 1)
        known = [(epoch, plain_number(v)) for epoch, v in numbered if v is not None]
        if known:
            epochs, values = zip(*known, strict=True)
            curves[label] = np.array(epochs), np.array(values)
    return curves
