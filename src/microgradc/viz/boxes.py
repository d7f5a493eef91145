"""Graphs drawn with matplotlib alone: a box for each node, laid out by `layout`."""

from itertools import pairwise
from typing import TYPE_CHECKING, Any

from microgradc.engine import Value
from microgradc.keywords import suggest_keywords
from microgradc.viz.collapse import Contents, contents_of
from microgradc.viz.figures import check_axes, import_matplotlib, new_figure
from microgradc.viz.graph import more
from microgradc.viz.layout import Layout, layered_layout
from microgradc.viz.shades import NONE, check_color, shades

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FONT_SIZE = 8.0           # points; in a graph too large for a figure, and in axes too small for the graph, less
LARGEST_FIGURE = 200.0    # inches: matplotlib draws 2**16 pixels at most, and some people save with 300 for each inch
PADDING = 4.0             # points, between a box and its text, and around the picture
LINE_HEIGHT = 1.25        # font sizes
RED, PALE_RED, DARK, GREY = "#b3261e", "#fbe9e7", "#222222", "#8a8a8a"


@suggest_keywords
def draw_graph(
    root: Value,
    ax: "Axes | None" = None,
    *,
    max_nodes: int = 200,
    figsize: tuple[float, float] | None = None,
    color: str | None = None,
    collapse: bool | None = None,
) -> "Figure":
    """Draw the graph of a Value with matplotlib; no other program is needed.

    Each node is a box with its operation, label, number and gradient. Operands are on the left, in the order from top
    to bottom where that makes no lines cross. Lines from one node share their way.

    Args:
        root: the Value whose graph is drawn: what it was made from, with the numbers and gradients of now.
        ax: the axes to draw in; None for a new figure as large as the graph needs.
        max_nodes: how many nodes are drawn at most, those nearest to the root; in place of others stands "… n more".
        figsize: width and height of the new figure in inches; the text is scaled to fit.
        color: 'grad' to fill each box by the size of its gradient, over four decades down from the largest: the darker,
            the larger; white is 0, pink inf or nan.
        collapse: whether nodes that are computed alike are in one box, with how many they are and the range of their
            numbers: the neurons of a layer, the same for each example, a long sum. True, False, or None to do so for a
            graph of more than 60 nodes, if there are at most half as many boxes then.

    Returns:
        The figure: the new one, which pyplot does not know, so that a notebook shows it once; or that of `ax`.

    Raises:
        ImportError: matplotlib is not installed.
        TypeError: root is not a Value, ax is not Axes, or collapse is not a bool or None.
        ValueError: max_nodes is not a positive integer, color is none that there is, or figsize is given together with
            ax.
    """
    import_matplotlib()
    if ax is not None and figsize is not None:
        raise ValueError("figsize is the size of a new figure, but ax has one already; give one of the two")
    check_color(color)
    check_axes(ax)
    contents = contents_of(root, max_nodes, collapse)
    return draw_contents(contents, shades([content.nodes for content in contents.boxes], color), ax, figsize)


def draw_contents(
    contents: Contents,
    colours: list[str],
    ax: "Axes | None" = None,
    figsize: tuple[float, float] | None = None,
    note: str = "",
) -> "Figure":
    """Draw boxes of given contents and colours; below them, if any, a note."""
    import_matplotlib()
    boxes = [Box(c.lines, c.label, c.op, colour) for c, colour in zip(contents.boxes, colours, strict=True)]
    edges = [(operand, i) for i, operands in enumerate(contents.operands) for operand in operands]
    for i, count in enumerate(contents.hidden):
        if count:
            edges.append((len(boxes), i))
            boxes.append(Box([more(count)], [], ""))
    layout = layered_layout([(box.width, box.height) for box in boxes], edges)
    width, height = layout.width + 2 * PADDING, layout.height + 2 * PADDING
    if note:
        width = max(width, 1.1 * Box([note], [], "").width)     # the letters may be other ones, in a browser
        height += 2 * LINE_HEIGHT * FONT_SIZE
    if ax is None:
        scale = min(1.0, LARGEST_FIGURE * 72 / max(width, height))
        ax = new_figure(figsize or (width * scale / 72, height * scale / 72)).add_axes((0, 0, 1, 1))
    _draw(ax, boxes, layout, width, height, note)
    return ax.figure.canvas.figure  # not ax.figure, which may be a part of it


class Box:
    """What a box shows, and how large it is, in points."""

    lines: list[str]
    label: list[str]
    op: str
    shade: str
    op_width: float
    width: float
    height: float

    def __init__(self, lines: list[str], label: list[str], op: str, shade: str = NONE) -> None:
        from matplotlib.font_manager import FontProperties

        self.lines, self.label, self.op, self.shade = lines, label, op, shade
        plain, bold = FontProperties(size=FONT_SIZE), FontProperties(size=FONT_SIZE, weight="bold")
        widths = [_text_width(text, bold) for text in label] + [_text_width(text, plain) for text in lines]
        self.op_width = max(_text_width(op, bold) + 2 * PADDING, LINE_HEIGHT * FONT_SIZE) if op else 0.0
        self.width = self.op_width + max(widths) + 2 * PADDING
        self.height = len(widths) * LINE_HEIGHT * FONT_SIZE + PADDING


def _text_width(text: str, font: Any) -> float:
    from matplotlib.textpath import text_to_path

    return text_to_path.get_text_width_height_descent(text, font, ismath=False)[0]


def _draw(ax: "Axes", boxes: list[Box], layout: Layout, width: float, height: float, note: str) -> None:
    """Draw in axes whose data coordinates become the layout's, times a scale that makes it fit."""
    from matplotlib.patches import PathPatch, Polygon, Rectangle
    from matplotlib.path import Path

    ax.set_axis_off()
    # If the figure has a layout engine, the axes have their size only now.
    ax.figure.canvas.figure.draw_without_rendering()
    window = ax.get_window_extent()
    room_x, room_y = (size / ax.figure.dpi * 72 for size in (window.width, window.height))
    scale = min(room_x / width, room_y / height, 2.0)
    left, top = (width - room_x / scale) / 2 - PADDING, (height - room_y / scale) / 2 - PADDING
    ax.set(xlim=(left, left + room_x / scale), ylim=(top + room_y / scale, top))

    for route in layout.routes:
        (end_x, end_y) = route[-1]
        points, codes = [route[0]], [Path.MOVETO]
        for i, ((x0, y0), (x1, y1)) in enumerate(pairwise(route)):
            middle = (x0 + x1) / 2
            points += [(x1, y1)] if i % 2 == 0 else [(middle, y0), (middle, y1), (x1, y1)]
            codes += [Path.LINETO] if i % 2 == 0 else [Path.CURVE4] * 3
        ax.add_patch(PathPatch(Path(points, codes), fill=False, color=GREY, linewidth=0.8 * scale, label="_edge"))
        ax.add_patch(
            Polygon(
                [(end_x, end_y), (end_x - 5, end_y - 2), (end_x - 5, end_y + 2)],
                color=GREY,
                linewidth=0,
                label="_arrowhead",
            )
        )

    def write(x: float, y: float, text: str, **style: Any) -> None:
        ax.text(x, y, text, fontsize=FONT_SIZE * scale, va="center_baseline", parse_math=False, usetex=False, **style)

    if note:
        write(0, height - 2 * PADDING - LINE_HEIGHT * FONT_SIZE / 2, note, color=GREY)
    for box, (x, y) in zip(boxes, layout.centres, strict=True):
        x, y = x - box.width / 2, y - box.height / 2
        is_stub = len(box.lines) == 1
        style: dict[str, Any] = {
            "edgecolor": GREY if is_stub else DARK,
            "linestyle": ":" if is_stub else "-",
            "linewidth": 0.8 * scale,
        }
        ax.add_patch(Rectangle((x, y), box.width, box.height, facecolor=box.shade, label="_box", **style))
        if box.op:
            ax.add_patch(Rectangle((x, y), box.op_width, box.height, facecolor=PALE_RED, label="_operation", **style))
            write(x + box.op_width / 2, y + box.height / 2, box.op, ha="center", color=RED, weight="bold")
        for i, text in enumerate(box.label + box.lines):
            middle = y + PADDING / 2 + (i + 0.5) * LINE_HEIGHT * FONT_SIZE
            write(
                x + box.op_width + PADDING, middle, text, color=DARK, weight="bold" if i < len(box.label) else "normal"
            )
