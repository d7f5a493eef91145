"""What every picture drawn with matplotlib begins with: matplotlib, the axes, a figure."""

from io import BytesIO
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from microgradc.viz.pictures import Picture


def import_matplotlib() -> None:
    """Import matplotlib, or say how to install it."""
    try:
        import matplotlib  # noqa: F401
    except ImportError as error:
        raise ImportError(
            "this picture is drawn with matplotlib, which is not installed: pip install matplotlib"
        ) from error


def check_axes(ax: Any) -> None:
    """Raise TypeError unless ax is None or matplotlib's Axes."""
    from matplotlib.axes import Axes

    if ax is not None and not isinstance(ax, Axes):
        raise TypeError(
            f"ax must be matplotlib's Axes, such as the second result of plt.subplots(), got {type(ax).__name__}"
        )


def new_figure(figsize: tuple[float, float], **arguments: Any) -> "Picture":
    """Make a figure that pyplot does not know: no state is left behind, and a notebook shows it as a cell's result
    alone, so once."""
    from microgradc.viz.pictures import Picture

    return Picture(figsize=figsize, **arguments)


def _png(figure: "Figure") -> bytes:
    """Return a figure as PNG. Pictures that version 0.1 pickled refer to it."""
    stream = BytesIO()
    figure.savefig(stream, format="png")
    return stream.getvalue()
