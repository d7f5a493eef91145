"""Where the boxes and lines of a graph go: a layered layout, operands on the left, the root on the right.

The method of Sugiyama, Tagawa and Toda (1981): layers by longest path, dummy vertices where a line passes a layer, an
order in each layer with few crossings by barycentre sweeps, then coordinates that keep neighbours close. What needs no
picture is here; `viz` draws.
"""

from bisect import bisect_right, insort
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise

BOX_GAP = 9.0       # between boxes above each other
LINE_GAP = 5.0      # between a line and what is above or below it
COLUMN_GAP = 26.0   # between columns; more where lines are steep
ORDER_SWEEPS = 24
PLACE_SWEEPS = 40
SIDE_PULL = 0.2     # of a line that need not be straight; that of others is 1 to 9

Point = tuple[float, float]


@dataclass
class Layout:
    """Centres of the boxes, and for each edge the points that it runs through.

    The pieces of a route are horizontal inside a column and cross the gap to the next one in turn: the first and the
    last are horizontal. All coordinates are between 0 and width or height; y grows downwards.
    """

    centres: list[Point]
    routes: list[list[Point]]
    width: float
    height: float


def layered_layout(sizes: Sequence[tuple[float, float]], edges: Sequence[tuple[int, int]]) -> Layout:
    """Lay out an acyclic graph.

    Boxes do not overlap, and lines run through no box. The edges out of one vertex share a line for as long as they
    can.

    Args:
        sizes: the width and height of each box.
        edges: pairs of indices of boxes, from left to right; a pair may occur more than once.

    Returns:
        A Layout, in the unit of `sizes`.

    Raises:
        ValueError: the graph has a cycle.

    >>> layered_layout([(20, 10), (30, 10)], [(0, 1)]).centres
    [(10.0, 5.0), (61.0, 5.0)]
    """
    layer_of = _layers_by_longest_path(len(sizes), edges)
    graph = _ProperGraph(layer_of, edges)
    heights = [h for _, h in sizes] + [0.0] * (len(graph.layer_of) - len(sizes))
    _order(graph)
    y = _place(graph, heights)
    top = min(y[v] - heights[v] / 2 for v in range(len(y)))
    y = [centre - top for centre in y]
    columns = _columns(graph, [w for w, _ in sizes], y)
    return Layout(
        centres=[(sum(columns[layer_of[v]]) / 2, y[v]) for v in range(len(sizes))],
        routes=_routes(graph, sizes, edges, columns, y),
        width=columns[0][1],
        height=max(y[v] + heights[v] / 2 for v in range(len(y))),
    )


def _layers_by_longest_path(count: int, edges: Sequence[tuple[int, int]]) -> list[int]:
    """For each vertex, the length of the longest path from it to the right end of the graph: so leaves are near what
    uses them."""
    operands: list[list[int]] = [[] for _ in range(count)]
    uses = [0] * count
    for a, b in edges:
        operands[b].append(a)
        uses[a] += 1
    layer_of = [0] * count
    ready = [v for v in range(count) if not uses[v]]
    for v in ready:
        for a in operands[v]:
            layer_of[a] = max(layer_of[a], layer_of[v] + 1)
            uses[a] -= 1
            if not uses[a]:
                ready.append(a)
    if len(ready) < count:
        raise ValueError(
            f"the graph must have no cycle, but {count - len(ready)} of its {count} vertices are on one or lead to one"
        )
    return layer_of


class _ProperGraph:
    """The graph with dummy vertices, so that every line leads from one layer to the next. Layer 0 is on the right.

    One chain of dummies serves all the edges out of a vertex: with one for each edge, a weight that is used in every
    step of a long computation would need the square of their number.
    """

    def __init__(self, layer_of: list[int], edges: Sequence[tuple[int, int]]) -> None:
        self.boxes = len(layer_of)
        self.layer_of = list(layer_of)
        self.chains: list[list[int]] = [[v] for v in range(self.boxes)]  # a vertex and its dummies, from left to right
        lines: dict[tuple[int, int], None] = {}                          # a set that keeps the order of the operands
        for a, b in edges:
            chain = self.chains[a]
            for layer in range(layer_of[a] - len(chain), layer_of[b], -1):
                chain.append(len(self.layer_of))
                self.layer_of.append(layer)
            lines[chain[layer_of[a] - layer_of[b] - 1], b] = None
        for chain in self.chains:
            lines.update(dict.fromkeys(pairwise(chain)))
        self.left: list[list[int]] = [[] for _ in self.layer_of]
        self.right: list[list[int]] = [[] for _ in self.layer_of]
        for a, b in lines:
            self.left[b].append(a)
            self.right[a].append(b)
        self.layers = self._depth_first()

    def _depth_first(self) -> list[list[int]]:
        """The layers, each in the order of a depth-first walk from the right: a tree has no crossings then."""
        layers: list[list[int]] = [[] for _ in range(max(self.layer_of) + 1)]
        seen = [False] * len(self.layer_of)
        stack = [v for v in range(self.boxes - 1, -1, -1) if not self.right[v]]
        while stack:
            v = stack.pop()
            if not seen[v]:
                seen[v] = True
                layers[self.layer_of[v]].append(v)
                stack.extend(reversed(self.left[v]))
        return layers


def _order(graph: _ProperGraph) -> None:
    """Order each layer so that few lines cross: sort by the mean position of the neighbours, to and fro; keep the
    best."""
    layers = graph.layers
    best, fewest = [list(layer) for layer in layers], _crossings(graph)
    for sweep in range(ORDER_SWEEPS):
        if not fewest:
            break
        leftwards = sweep % 2 == 0
        neighbours = graph.right if leftwards else graph.left
        for fixed, free in pairwise(layers if leftwards else layers[::-1]):
            position = {v: i for i, v in enumerate(fixed)}
            barycentre = {
                v: sum(position[u] for u in neighbours[v]) / len(neighbours[v]) for v in free if neighbours[v]
            }
            places = [i for i, v in enumerate(free) if v in barycentre]  # what has no neighbours there stays
            for i, v in zip(places, sorted(barycentre, key=barycentre.__getitem__), strict=True):
                free[i] = v
        crossings = _crossings(graph)
        if crossings < fewest:
            best, fewest = [list(layer) for layer in layers], crossings
    graph.layers = best


def _crossings(graph: _ProperGraph) -> int:
    """Count the pairs of lines that cross."""
    total = 0
    for right, left in pairwise(graph.layers):
        position = {v: i for i, v in enumerate(right)}
        ends: list[int] = []  # of the lines that begin above
        for a in left:
            arrivals = sorted(position[b] for b in graph.right[a])
            total += sum(len(ends) - bisect_right(ends, b) for b in arrivals)
            for b in arrivals:
                insort(ends, b)
    return total


def _place(graph: _ProperGraph, heights: list[float]) -> list[float]:
    """Find y for each vertex: near its neighbours by weighted least squares, in the order of its layer, and apart from
    the next.

    A layer at a time, given the others, to and fro.
    """
    y = [0.0] * len(heights)
    distances = [
        [
            (heights[a] + heights[b]) / 2 + (BOX_GAP if a < graph.boxes and b < graph.boxes else LINE_GAP)
            for a, b in pairwise(layer)
        ]
        for layer in graph.layers
    ]
    to_right = [[(b, _pull(graph, a, b)) for b in graph.right[a]] for a in range(len(y))]
    to_left = [[(a, _pull(graph, a, b)) for a in graph.left[b]] for b in range(len(y))]
    to_both = [left + right for left, right in zip(to_left, to_right, strict=True)]
    for sweep in range(PLACE_SWEEPS):
        leftwards = sweep % 2 == 0
        # From one side first, which carries a position through all layers at once; then from both.
        pulls_of = to_both if sweep >= PLACE_SWEEPS // 2 else to_right if leftwards else to_left
        for i in range(len(graph.layers)) if leftwards else reversed(range(len(graph.layers))):
            wanted, weights = [], []
            for v in graph.layers[i]:
                weight = sum(pull for _, pull in pulls_of[v])
                wanted.append(sum(pull * y[u] for u, pull in pulls_of[v]) / weight if weight else y[v])
                weights.append(weight or SIDE_PULL)
            for v, centre in zip(graph.layers[i], _nearest_apart(wanted, weights, distances[i]), strict=True):
                y[v] = centre
    return y


def _pull(graph: _ProperGraph, a: int, b: int) -> float:
    """How much the line from a to b should be straight.

    One that passes layers most (as in Gansner et al. 1993); least one from a leaf and a branch of a line that goes on:
    a constant goes beside the computation, which goes straight on.
    """
    leaves = a < graph.boxes and not graph.left[a] and len(graph.right[a]) == 1
    branches = a >= graph.boxes and graph.right[a][-1] >= graph.boxes  # the dummy that the line goes on to comes last
    if b < graph.boxes and (leaves or branches):
        return SIDE_PULL
    return (1 if a < graph.boxes else 3) * (1 if b < graph.boxes else 3)


def _nearest_apart(wanted: list[float], weights: list[float], distances: list[float]) -> list[float]:
    """Return the positions nearest to the wanted ones, by weighted least squares, that are at least the distances
    apart.

    Without the distances that is isotonic regression, solved by pooling adjacent violators.
    """
    offsets = list(accumulate(distances, initial=0.0))
    blocks: list[tuple[float, float, int]] = []  # mean, weight, count
    for position, weight, offset in zip(wanted, weights, offsets, strict=True):
        mean, count = position - offset, 1
        while blocks and blocks[-1][0] >= mean:
            above, above_weight, above_count = blocks.pop()
            mean = (above * above_weight + mean * weight) / (above_weight + weight)
            weight += above_weight
            count += above_count
        blocks.append((mean, weight, count))
    means = [mean for mean, _, count in blocks for _ in range(count)]
    return [mean + offset for mean, offset in zip(means, offsets, strict=True)]


def _columns(graph: _ProperGraph, widths: list[float], y: list[float]) -> list[tuple[float, float]]:
    """The left and right end of each layer's column; between them more room where lines are steep."""
    columns = []
    x = 0.0
    for i in range(len(graph.layers) - 1, -1, -1):
        width = max(widths[v] for v in graph.layers[i] if v < graph.boxes)
        columns.append((x, x + width))
        rise = max((abs(y[a] - y[b]) for a in graph.layers[i] for b in graph.right[a]), default=0)
        x += width + COLUMN_GAP + min(rise / 8, 3 * COLUMN_GAP)
    return columns[::-1]


def _routes(
    graph: _ProperGraph,
    sizes: Sequence[tuple[float, float]],
    edges: Sequence[tuple[int, int]],
    columns: list[tuple[float, float]],
    y: list[float],
) -> list[list[Point]]:
    """The points of each edge, from the middle of a box's right side to a place of its own on the left side of
    another."""
    passed = [
        graph.chains[a][: graph.layer_of[a] - graph.layer_of[b]] for a, b in edges
    ]  # the box on the left, dummies
    arrivals: dict[int, list[int]] = {}
    for e, (_, b) in enumerate(edges):
        arrivals.setdefault(b, []).append(e)
    routes: list[list[Point]] = [[] for _ in edges]
    for b, arriving in arrivals.items():
        arriving.sort(key=lambda e: y[passed[e][-1]])
        for i, e in enumerate(arriving):
            a = edges[e][0]
            points = [(x, y[v]) for v in passed[e] for x in columns[graph.layer_of[v]]]
            points[0] = (sum(columns[graph.layer_of[a]]) / 2 + sizes[a][0] / 2, y[a])
            left, right = columns[graph.layer_of[b]]
            inlet = y[b] + ((i + 0.5) / len(arriving) - 0.5) * 0.7 * sizes[b][1]
            routes[e] = [*points, (left, inlet), ((left + right) / 2 - sizes[b][0] / 2, inlet)]
    return routes
