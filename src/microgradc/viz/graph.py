"""The part of a graph that a picture shows, its nodes as text, and `format_graph`, the picture that is text alone.

A large graph is drawn in part: the nodes nearest to the root, and for each node "… n more" in place of the operands
left out. So the work depends on `max_nodes` and not on the size of the graph, and a picture of a graph of millions of
nodes is there at once.
"""

from math import isfinite

from microgradc import checks
from microgradc.cells import one_line
from microgradc.engine import Value
from microgradc.keywords import suggest_keywords

EDGES_PER_NODE = 8  # that are drawn at most, on average: one node may have millions of operands that are all the same
LONGEST_LABEL = 32        # characters; the rest is shortened to "…"


class Part:
    """The part of a graph that is nearest to its root, at most max_nodes nodes of it, numbered from the root, which is
    0."""

    nodes: list[Value]

    def __init__(self, root: Value, max_nodes: int) -> None:
        if not isinstance(root, Value):
            raise TypeError(
                f"root must be a Value, the result whose graph is drawn, got {type(root).__name__} {root!r}"
            )
        checks.integer(max_nodes, "max_nodes", 1)
        self.nodes = [root]
        self.operands: list[
            list[int]
        ] = []  # for each node, the numbers of its operands, in order, repeated as they are
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


@suggest_keywords
def format_graph(root: Value, max_nodes: int = 200) -> str:
    """Return the graph of a Value as text: a tree, each node above its operands.

    Args:
        root: the Value whose graph is written.
        max_nodes: how many nodes are written at most, those nearest to the root; in place of others stands "… n more".

    Returns:
        A line for each node, with a number, its operation, label, data and gradient. What occurs again is a reference
        to that number.

    Raises:
        TypeError: root is not a Value.
        ValueError: max_nodes is not a positive integer.

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
    graph = Part(root, max_nodes)
    lines: list[str] = []
    written: dict[int, int] = {}
    stack: list[tuple[int | str, str, str]] = [
        (0, "", "")
    ]  # a node or a text, what its line begins with, and those below it
    while stack:
        content, prefix, below = stack.pop()
        if isinstance(content, str):
            lines.append(prefix + content)
            continue
        node = graph.nodes[content]
        name = " ".join(filter(None, [one_line(node._op, LONGEST_LABEL), *label_of(node)]))
        if content in written:
            lines.append(f"{prefix}{name + ', ' if name else ''}see #{written[content]}")
            continue
        written[content] = len(written) + 1
        lines.append(prefix + " | ".join([f"#{written[content]} {name}".rstrip(), *numbers_of(node)]))
        operands: list[int | str] = [*graph.operands[content]]
        if graph.hidden[content]:
            operands.append(more(graph.hidden[content]))
        for i in range(len(operands) - 1, -1, -1):
            last = i == len(operands) - 1
            stack.append((operands[i], below + ("└─ " if last else "├─ "), below + ("   " if last else "│  ")))
    return "\n".join(lines)


def label_of(node: Value) -> list[str]:
    """The label as one line of text, in a list; an empty one if there is none."""
    label = node.label
    if label is None or (isinstance(label, str) and not label):     # most nodes; an array has no truth value
        return []
    text = one_line(str(label), LONGEST_LABEL)
    return [text] if text else []


def numbers_of(node: Value) -> list[str]:
    return [f"data {number_as_text(node.data)}", f"grad {number_as_text(node.grad)}"]


def number_as_text(x: float) -> str:
    """Four decimals, as in micrograd; an exponent where they would say nothing or too much."""
    return f"{x:.4f}" if x == 0 or 1e-3 <= abs(x) < 1e6 or not isfinite(x) else f"{x:.4e}"


def more(count: int) -> str:
    return f"… {count:,} more"
