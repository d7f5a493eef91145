"""Graphs drawn by Graphviz."""

import re
import signal
import subprocess
from collections.abc import Callable
from functools import cache
from inspect import signature
from pathlib import Path
from typing import TYPE_CHECKING, Any

from microgradc.engine import Value
from microgradc.keywords import suggest_keywords
from microgradc.viz.collapse import Contents, contents_of
from microgradc.viz.graph import more
from microgradc.viz.instead import PROGRAM_MISSING, Instead
from microgradc.viz.shades import check_color, shades
from microgradc.viz.svg import SVG, as_image, only

if TYPE_CHECKING:
    from graphviz import Digraph

PATIENCE = 20.0     # seconds, that a notebook waits for `dot`


@suggest_keywords
def draw_dot(
    root: Value,
    format: str = "svg",
    rankdir: str = "LR",
    max_nodes: int = 500,
    color: str | None = None,
    collapse: bool | None = None,
) -> "Digraph":
    """Draw the graph of a Value with Graphviz, as micrograd's notebook trace_graph does.

    Where the program `dot` is not installed, fails, or takes longer than 20 seconds for a notebook, the picture is the
    one that draw_graph draws, with a line that says so.

    Args:
        root: the Value whose graph is drawn: what it was made from, with the numbers and gradients of now.
        format: of the picture that `render` makes: 'svg', 'png', 'pdf', ….
        rankdir: 'LR', operands on the left, or 'TB', operands on top.
        max_nodes: how many nodes are drawn at most, those nearest to the root; in place of others stands "… n more".
        color: 'grad' to fill each node by the size of its gradient: the darker, the larger; white is 0, pink inf or
            nan.
        collapse: whether nodes that are computed alike are one in the picture: see `draw_graph`.

    Returns:
        A `graphviz.Digraph`. A notebook shows it; `dot.render('name')` writes a picture and `dot.save('name.dot')` its
        source, which `dot.source` is too. Without the Python package graphviz, what has the methods `render` and `pipe`
        alone.

    Raises:
        RuntimeError: when it is rendered, `dot` cannot do it, and matplotlib does not write that format.
        TypeError: root is not a Value, or collapse is not a bool or None.
        ValueError: format, rankdir, max_nodes or color is none that there is.

    >>> x = Value(2.0, label='x')
    >>> dot = draw_dot(x * x)
    >>> '{ x | data 2.0000 | grad 0.0000 }' in dot.source
    True
    """
    if rankdir not in ("LR", "TB"):
        raise ValueError(f"rankdir must be 'LR' or 'TB', got {rankdir!r}")
    check_color(color)
    graph = contents_of(root, max_nodes, collapse)
    colours = shades([content.nodes for content in graph.boxes], color)
    instead = Instead(graph, colours, format)
    kind = _digraph_class()
    if kind is None:
        return instead
    dot = kind(format=format, graph_attr={"rankdir": rankdir})
    dot.instead = instead
    _describe(dot, graph, [{"style": "filled", "fillcolor": colour} if color else {} for colour in colours])
    return dot


def _describe(dot: "Digraph", graph: Contents, filled: list[dict[str, str]]) -> None:
    """Say in Graphviz's language what is in a picture."""
    for i, content in enumerate(graph.boxes):
        fields = [_escaped(field) for field in (*content.label, *content.lines)]
        dot.node(f"n{i}", label="{ " + " | ".join(fields) + " }", shape="record", **filled[i])
        target = f"n{i}"
        if content.op:
            target = f"op{i}"
            dot.node(target, label=_escaped(content.op))
            dot.edge(target, f"n{i}")
        for operand in graph.operands[i]:
            dot.edge(f"n{operand}", target)
        if graph.hidden[i]:
            dot.node(f"more{i}", label=more(graph.hidden[i]), shape="plaintext")
            dot.edge(f"more{i}", target, style="dashed")


@cache
def _digraph_class() -> Any:
    """Return graphviz's Digraph, for which something else draws where the program `dot` cannot; None without it."""
    try:
        import graphviz
    except ImportError:
        return None

    class Dot(graphviz.Digraph):
        instead: Instead

        def _repr_mimebundle_(self, include: Any = None, exclude: Any = None, **_: Any) -> dict[str, Any]:
            try:
                svg = _run(self.engine, self.source, "svg").decode()
                image = as_image(svg)
            except (OSError, subprocess.SubprocessError, ValueError) as error:
                return self.instead.bundle(_reason(error), include, exclude)
            try:
                png = _run(self.engine, self.source, "png")
            except (OSError, subprocess.SubprocessError):       # some builds of Graphviz write no PNG
                png = None
            bundle = {"text/html": image, "image/png": png}
            if include or image is png is None:
                bundle[SVG] = svg
            return only(bundle, include, exclude)

        def copy(self) -> Any:
            copied = super().copy()
            copied.instead = self.instead
            return copied

        def pipe(self, *args: Any, **kwargs: Any) -> Any:
            try:
                return super().pipe(*args, **kwargs)
            except (graphviz.ExecutableNotFound, subprocess.CalledProcessError) as error:
                reason = _reason(error)
            given = _by_name(super().pipe, args, kwargs)
            return self.instead.pipe(given.pop("format", None) or self.format, reason=reason, **given)

        def render(self, *args: Any, **kwargs: Any) -> str:
            try:
                return super().render(*args, **kwargs)
            except (graphviz.ExecutableNotFound, subprocess.CalledProcessError) as error:
                reason = _reason(error)
            # The source is written, and the two names are attributes now.
            given = _by_name(super().render, args, kwargs) | {"filename": self.filename, "directory": self.directory}
            self.instead.format = self.format
            path = self.instead.render(**given, reason=reason)
            if given.get("cleanup"):
                outfile = given.get("outfile")
                Path(self.filepath if outfile is None else Path(outfile).with_suffix(".gv")).unlink(missing_ok=True)
            return path

    return Dot


def _by_name(method: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
    """Return the arguments of a call, each by its name."""
    return signature(method).bind(*args, **kwargs).arguments


def _run(program: str, source: str, format: str) -> bytes:
    """Return a picture by Graphviz."""
    command = [program, f"-T{format}"]
    return subprocess.run(command, input=source.encode(), capture_output=True, check=True, timeout=PATIENCE).stdout


def _reason(error: Exception) -> str:
    """Return why there is no picture, on a line."""
    if isinstance(error, subprocess.TimeoutExpired):
        return f"dot took longer than {error.timeout:g} seconds"
    if isinstance(error, ValueError):
        return "dot failed: what it wrote is not SVG"
    if not isinstance(error, subprocess.CalledProcessError):
        return PROGRAM_MISSING
    said = error.stderr.decode(errors="replace") if isinstance(error.stderr, bytes) else error.stderr or ""
    if error.returncode < 0:
        return f"dot was ended by {signal.Signals(-error.returncode).name}"
    return f"dot failed: {next(iter(said.strip().splitlines()), f'exit code {error.returncode}')}"


def _escaped(text: str) -> str:
    """For a label in Graphviz's language: what means something in a record, or begins an HTML entity, is taken
    literally."""
    return re.sub(r"([\\{}|<>])", r"\\\1", text.replace("&", "&amp;"))
