"""Pictures of graphs: `draw_dot` through Graphviz, `draw_graph` with matplotlib alone, `format_graph` as text; and of training (`plots`).

A large graph is drawn in part: the nodes nearest to the root, and for each node "… n more" in place of the operands left out. So the work
depends on `max_nodes` and not on the size of the graph, and a picture of a graph of millions of nodes is there at once.
"""

import re
from functools import cache
from itertools import pairwise
from math import isfinite
from typing import TYPE_CHECKING, Any

from microgradc.engine import Value
from microgradc.viz.layout import Layout, layered_layout
from microgradc.viz.training import check_axes, import_matplotlib, new_figure, plot_decision_boundary, plot_history

if TYPE_CHECKING:
    from graphviz import Digraph
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["draw_dot", "draw_graph", "format_graph", "plot_decision_boundary", "plot_history"]

EDGES_PER_NODE = 8        # that are drawn at most, on average: one node may have millions of operands that are all the same
LONGEST_LABEL = 32        # characters; the rest is shortened to "…"
FONT_SIZE = 8.0           # points; in a graph too large for a figure, and in axes too small for the graph, less
LARGEST_FIGURE = 200.0    # inches: matplotlib draws 2**16 pixels at most, and some people save with 300 for each inch
PADDING = 4.0             # points, between a box and its text, and around the picture
LINE_HEIGHT = 1.25        # font sizes
RED, PALE_RED, DARK, GREY = "#b3261e", "#fbe9e7", "#222222", "#8a8a8a"


class _Graph:
    """The part of a graph that is nearest to its root, at most max_nodes nodes of it, numbered from the root, which is 0."""

    def __init__(self, root: Value, max_nodes: int) -> None:
        if not isinstance(root, Value):
            raise TypeError(f"root must be a Value, the result whose graph is drawn, got {type(root).__name__} {root!r}")
        if isinstance(max_nodes, bool) or not hasattr(max_nodes, "__index__") or max_nodes < 1:
            raise ValueError(f"max_nodes must be a positive integer, got {max_nodes!r}")
        self.nodes = [root]
        self.operands: list[list[int]] = []  # for each node, the numbers of its operands, in order, repeated as they are
        self.hidden: list[int] = []          # for each node, how many more operands it has
        number = {id(root): 0}
        edges_left = EDGES_PER_NODE * max_nodes
        for node in self.nodes:  # which grows
            shown = []
            children = node._children
            for child in children[:edges_left]:
                if id(child) not in number and len(self.nodes) < max_nodes:
                    number[id(child)] = len(self.nodes)
                    self.nodes.append(child)
                if id(child) in number:
                    shown.append(number[id(child)])
            edges_left -= len(shown)
            self.operands.append(shown)
            self.hidden.append(len(children) - len(shown))


def draw_dot(root: Value, format: str = "svg", rankdir: str = "LR", max_nodes: int = 500) -> "Digraph":
    """Draw the graph of a Value with Graphviz, as micrograd's notebook trace_graph does.

    Graphviz is quick with wide graphs, and may take minutes for a deep one with hundreds of lines that skip layers; draw_graph does not.

    Args:
        root: the Value whose graph is drawn: what it was made from, with the numbers and gradients of now.
        format: of the picture that `render` makes: 'svg', 'png', 'pdf', ….
        rankdir: 'LR', operands on the left, or 'TB', operands on top.
        max_nodes: how many nodes are drawn at most, those nearest to the root; in place of others stands "… n more".

    Returns:
        A `graphviz.Digraph`. A notebook shows it; `dot.render('name')` writes a picture and `dot.save('name.dot')` its source, which
        `dot.source` is too.

    Raises:
        ImportError: the Python package graphviz is not installed.
        RuntimeError: when it is rendered or shown, and the program `dot` is not installed. `source` and `save` do not need it.
        TypeError: root is no Value.
        ValueError: format, rankdir or max_nodes is none that there is.

    >>> x = Value(2.0, label='x')
    >>> dot = draw_dot(x * x)
    >>> '{ x | data 2.0000 | grad 0.0000 }' in dot.source
    True
    """
    if rankdir not in ("LR", "TB"):
        raise ValueError(f"rankdir must be 'LR' or 'TB', got {rankdir!r}")
    graph = _Graph(root, max_nodes)
    dot = _digraph_class()(format=format, graph_attr={"rankdir": rankdir})
    for i, node in enumerate(graph.nodes):
        fields = [_escaped(field) for field in (*_label_of(node), *_numbers_of(node))]
        dot.node(f"n{i}", label="{ " + " | ".join(fields) + " }", shape="record")
        target = f"n{i}"
        if node._op:
            target = f"op{i}"
            dot.node(target, label=_escaped(_one_line(node._op)))
            dot.edge(target, f"n{i}")
        for operand in graph.operands[i]:
            dot.edge(f"n{operand}", target)
        if graph.hidden[i]:
            dot.node(f"more{i}", label=_more(graph.hidden[i]), shape="plaintext")
            dot.edge(f"more{i}", target, style="dashed")
    return dot


@cache
def _digraph_class() -> Any:
    """Return graphviz's Digraph, with an error that helps if the program `dot` is missing."""
    try:
        import graphviz
    except ImportError as error:
        raise ImportError("draw_dot needs the Python package graphviz: pip install graphviz. draw_graph does without") from error

    class Dot(graphviz.Digraph):
        def pipe(self, *args: Any, **kwargs: Any) -> Any:  # a notebook calls this one
            try:
                return super().pipe(*args, **kwargs)
            except graphviz.ExecutableNotFound as error:
                raise RuntimeError(_NO_DOT) from error

        def render(self, *args: Any, **kwargs: Any) -> str:
            try:
                return super().render(*args, **kwargs)
            except graphviz.ExecutableNotFound as error:
                raise RuntimeError(_NO_DOT) from error

    return Dot


_NO_DOT = """the program `dot` of Graphviz, which draws this picture, is not installed or not on the PATH. Install it with one of
    apt install graphviz
    brew install graphviz
    conda install -c conda-forge graphviz
    winget install graphviz
or from https://graphviz.org/download; or use draw_graph, which needs matplotlib alone"""


def draw_graph(
    root: Value, ax: "Axes | None" = None, *, max_nodes: int = 200, figsize: tuple[float, float] | None = None
) -> "Figure":
    """Draw the graph of a Value with matplotlib; no other program is needed.

    Each node is a box with its operation, label, number and gradient. Operands are on the left, in the order from top to bottom where
    that makes no lines cross. Lines from one node share their way.

    Args:
        root: the Value whose graph is drawn: what it was made from, with the numbers and gradients of now.
        ax: the axes to draw in; None for a new figure as large as the graph needs.
        max_nodes: how many nodes are drawn at most, those nearest to the root; in place of others stands "… n more".
        figsize: width and height of the new figure in inches; the text is scaled to fit.

    Returns:
        The figure: the new one, which pyplot does not know, so that a notebook shows it once; or that of `ax`.

    Raises:
        ImportError: matplotlib is not installed.
        TypeError: root is no Value, or ax no Axes.
        ValueError: max_nodes is no positive integer, or figsize is given together with ax.
    """
    import_matplotlib()
    if ax is not None and figsize is not None:
        raise ValueError("figsize is the size of a new figure, but ax has one already; give one of the two")
    graph = _Graph(root, max_nodes)
    boxes = [_Box(_numbers_of(node), _label_of(node), _one_line(node._op)) for node in graph.nodes]
    edges = [(operand, i) for i, operands in enumerate(graph.operands) for operand in operands]
    for i, count in enumerate(graph.hidden):
        if count:
            edges.append((len(boxes), i))
            boxes.append(_Box([_more(count)], [], ""))
    layout = layered_layout([(box.width, box.height) for box in boxes], edges)
    width, height = layout.width + 2 * PADDING, layout.height + 2 * PADDING
    if ax is None:
        scale = min(1.0, LARGEST_FIGURE * 72 / max(width, height))
        ax = new_figure(figsize or (width * scale / 72, height * scale / 72)).add_axes((0, 0, 1, 1))
    else:
        check_axes(ax)
    _draw(ax, boxes, layout, width, height)
    return ax.figure.canvas.figure  # not ax.figure, which may be a part of it


class _Box:
    """What a box shows, and how large it is, in points."""

    def __init__(self, lines: list[str], label: list[str], op: str) -> None:
        from matplotlib.font_manager import FontProperties

        self.lines, self.label, self.op = lines, label, op
        plain, bold = FontProperties(size=FONT_SIZE), FontProperties(size=FONT_SIZE, weight="bold")
        widths = [_text_width(text, bold) for text in label] + [_text_width(text, plain) for text in lines]
        self.op_width = max(_text_width(op, bold) + 2 * PADDING, LINE_HEIGHT * FONT_SIZE) if op else 0.0
        self.width = self.op_width + max(widths) + 2 * PADDING
        self.height = len(widths) * LINE_HEIGHT * FONT_SIZE + PADDING


def _text_width(text: str, font: Any) -> float:
    from matplotlib.textpath import text_to_path

    return text_to_path.get_text_width_height_descent(text, font, ismath=False)[0]


def _draw(ax: "Axes", boxes: list[_Box], layout: Layout, width: float, height: float) -> None:
    """Draw in axes whose data coordinates become the layout's, times a scale that makes it fit."""
    from matplotlib.patches import PathPatch, Polygon, Rectangle
    from matplotlib.path import Path

    ax.set_axis_off()
    ax.figure.canvas.figure.draw_without_rendering()  # if the figure has a layout engine, the axes have their size only now
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
        ax.add_patch(Polygon([(end_x, end_y), (end_x - 5, end_y - 2), (end_x - 5, end_y + 2)], color=GREY, linewidth=0, label="_arrowhead"))

    def write(x: float, y: float, text: str, **style: Any) -> None:
        ax.text(x, y, text, fontsize=FONT_SIZE * scale, va="center_baseline", parse_math=False, usetex=False, **style)

    for box, (x, y) in zip(boxes, layout.centres, strict=True):
        x, y = x - box.width / 2, y - box.height / 2
        is_stub = len(box.lines) == 1
        style: dict[str, Any] = {"edgecolor": GREY if is_stub else DARK, "linestyle": ":" if is_stub else "-", "linewidth": 0.8 * scale}
        ax.add_patch(Rectangle((x, y), box.width, box.height, facecolor="white", label="_box", **style))
        if box.op:
            ax.add_patch(Rectangle((x, y), box.op_width, box.height, facecolor=PALE_RED, label="_operation", **style))
            write(x + box.op_width / 2, y + box.height / 2, box.op, ha="center", color=RED, weight="bold")
        for i, text in enumerate(box.label + box.lines):
            middle = y + PADDING / 2 + (i + 0.5) * LINE_HEIGHT * FONT_SIZE
            write(x + box.op_width + PADDING, middle, text, color=DARK, weight="bold" if i < len(box.label) else "normal")


def format_graph(root: Value, max_nodes: int = 200) -> str:
    """Return the graph of a Value as text: a tree, each node above its operands.

    Args:
        root: the Value whose graph is written.
        max_nodes: how many nodes are written at most, those nearest to the root; in place of others stands "… n more".

    Returns:
        A line for each node, with a number, its operation, label, data and gradient. What occurs again is a reference to that number.

    Raises:
        TypeError: root is no Value.
        ValueError: max_nodes is no positive integer.

    >>> x, w = Value(2.0, label='x'), Value(-3.0, label='w')
    >>> y = (x * w + x).relu()
    >>> y.backward()
    >>> print(format_graph(y))
    #1 ReLU | data 0.0000 | grad 1.0000
    └─ #2 + | data -4.0000 | grad 0.0000
       ├─ #3 * | data -6.0000 | grad 0.0000
       │  ├─ #4 x | data 2.0000 | grad 0.0000
       │  └─ #5 w | data -3.0000 | grad 0.0000
       └─ x, see #4
    """
    graph = _Graph(root, max_nodes)
    lines: list[str] = []
    written: dict[int, int] = {}
    stack: list[tuple[int | str, str, str]] = [(0, "", "")]  # a node or a text, what its line begins with, and those below it
    while stack:
        content, prefix, below = stack.pop()
        if isinstance(content, str):
            lines.append(prefix + content)
            continue
        node = graph.nodes[content]
        name = " ".join(filter(None, [_one_line(node._op), *_label_of(node)]))
        if content in written:
            lines.append(f"{prefix}{name + ', ' if name else ''}see #{written[content]}")
            continue
        written[content] = len(written) + 1
        lines.append(prefix + " | ".join([f"#{written[content]} {name}".rstrip(), *_numbers_of(node)]))
        operands: list[int | str] = [*graph.operands[content]]
        if graph.hidden[content]:
            operands.append(_more(graph.hidden[content]))
        for i in range(len(operands) - 1, -1, -1):
            last = i == len(operands) - 1
            stack.append((operands[i], below + ("└─ " if last else "├─ "), below + ("   " if last else "│  ")))
    return "\n".join(lines)


def _label_of(node: Value) -> list[str]:
    """The label as one line of text, in a list; an empty one if there is none."""
    text = _one_line("" if node.label is None else str(node.label))
    return [text] if text else []


def _numbers_of(node: Value) -> list[str]:
    return [f"data {_number(node.data)}", f"grad {_number(node.grad)}"]


def _number(x: float) -> str:
    """Four decimals, as in micrograd; an exponent where they would say nothing or too much."""
    return f"{x:.4f}" if x == 0 or 1e-3 <= abs(x) < 1e6 or not isfinite(x) else f"{x:.4e}"


def _one_line(text: str) -> str:
    """The text with what cannot be printed (line ends, control characters, half a surrogate pair) as spaces, and not too long."""
    text = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return text if len(text) <= LONGEST_LABEL else text[: LONGEST_LABEL - 1] + "…"


def _more(count: int) -> str:
    return f"… {count:,} more"


def _escaped(text: str) -> str:
    """For a label in Graphviz's language: what means something in a record, or begins an HTML entity, is taken literally."""
    return re.sub(r"([\\{}|<>])", r"\\\1", text.replace("&", "&amp;"))
