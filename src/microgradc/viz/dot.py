"""Graphs drawn by Graphviz."""

import re
from functools import cache
from typing import TYPE_CHECKING, Any

from microgradc.engine import Value
from microgradc.keywords import suggest_keywords
from microgradc.viz.graph import Part, label_of, more, numbers_of, one_line
from microgradc.viz.shades import check_color, shades

if TYPE_CHECKING:
    from graphviz import Digraph


@suggest_keywords
def draw_dot(
    root: Value, format: str = "svg", rankdir: str = "LR", max_nodes: int = 500, color: str | None = None
) -> "Digraph":
    """Draw the graph of a Value with Graphviz, as micrograd's notebook trace_graph does.

    Graphviz is quick with wide graphs, and may take minutes for a deep one with hundreds of lines that skip layers;
    draw_graph does not.

    Args:
        root: the Value whose graph is drawn: what it was made from, with the numbers and gradients of now.
        format: of the picture that `render` makes: 'svg', 'png', 'pdf', ….
        rankdir: 'LR', operands on the left, or 'TB', operands on top.
        max_nodes: how many nodes are drawn at most, those nearest to the root; in place of others stands "… n more".
        color: 'grad' to fill each node by the size of its gradient: the darker, the larger; white is 0, pink inf or
            nan.

    Returns:
        A `graphviz.Digraph`. A notebook shows it; `dot.render('name')` writes a picture and `dot.save('name.dot')` its
        source, which `dot.source` is too.

    Raises:
        ImportError: the Python package graphviz is not installed.
        RuntimeError: when it is rendered or shown, and the program `dot` is not installed. `source` and `save` do not
            need it.
        TypeError: root is not a Value.
        ValueError: format, rankdir, max_nodes or color is none that there is.

    >>> x = Value(2.0, label='x')
    >>> dot = draw_dot(x * x)
    >>> '{ x | data 2.0000 | grad 0.0000 }' in dot.source
    True
    """
    if rankdir not in ("LR", "TB"):
        raise ValueError(f"rankdir must be 'LR' or 'TB', got {rankdir!r}")
    check_color(color)
    graph = Part(root, max_nodes)
    filled = [{"style": "filled", "fillcolor": shade} if color else {} for shade in shades(graph.nodes, color)]
    dot = _digraph_class()(format=format, graph_attr={"rankdir": rankdir})
    for i, node in enumerate(graph.nodes):
        fields = [_escaped(field) for field in (*label_of(node), *numbers_of(node))]
        dot.node(f"n{i}", label="{ " + " | ".join(fields) + " }", shape="record", **filled[i])
        target = f"n{i}"
        if node._op:
            target = f"op{i}"
            dot.node(target, label=_escaped(one_line(node._op)))
            dot.edge(target, f"n{i}")
        for operand in graph.operands[i]:
            dot.edge(f"n{operand}", target)
        if graph.hidden[i]:
            dot.node(f"more{i}", label=more(graph.hidden[i]), shape="plaintext")
            dot.edge(f"more{i}", target, style="dashed")
    return dot


@cache
def _digraph_class() -> Any:
    """Return graphviz's Digraph, with an error that helps if the program `dot` is missing."""
    try:
        import graphviz
    except ImportError as error:
        raise ImportError(
            "draw_dot needs the Python package graphviz: pip install graphviz. draw_graph does without"
        ) from error

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


_NO_DOT = """the program `dot` of Graphviz, which draws this picture, is not installed or not on the PATH.
Install it with one of
    apt install graphviz
    brew install graphviz
    conda install -c conda-forge graphviz
    winget install graphviz
or from https://graphviz.org/download; or use draw_graph, which needs matplotlib alone"""


def _escaped(text: str) -> str:
    """For a label in Graphviz's language: what means something in a record, or begins an HTML entity, is taken
    literally."""
    return re.sub(r"([\\{}|<>])", r"\\\1", text.replace("&", "&amp;"))
