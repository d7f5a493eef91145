"""Graph: what a function does, as flat arrays that can be printed, walked, compared and pickled; and passes over it."""

from array import array
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple, SupportsFloat

from typing_extensions import disjoint_base

from microgradc.engine import Value

__all__ = ["RULES", "Expression", "Graph", "known", "simplify", "sums"]

RULES: list[tuple[str, str, str]]

class Expression(NamedTuple):
    """An expression of a graph."""

    op: str
    operands: tuple[int, ...]
    number: float | int | None

@disjoint_base
class Graph:
    """A function as a list of expressions, each once and after its operands."""

    input_count: int
    parameter_count: int
    outputs: tuple[int, ...]
    def input(self) -> int:
        """Add the next input; return its place."""

    def parameter(self) -> int:
        """Add the next parameter; return its place."""

    def constant(self, x: SupportsFloat) -> int:
        """Add a constant; return its place."""

    def add(self, op: str, *operands: int) -> int:
        """Add an operation; return its place, which is that of an equal one if there is one."""

    def scan(self, loop: Loop, *operands: int) -> list[int]:
        """Add a loop; return the places of its results: the carries in the end, and then the ys of each iteration."""

    @property
    def all_loops(self) -> tuple[Loop, ...]:
        """The loops, by the number of a scan."""

    def values(self, inputs: Iterable[Any], parameters: Iterable[Any]) -> list[Value | Any]:
        """Return the outputs for numbers or Values in the places of inputs and parameters: Values, made by the
        engine."""

    def first_lines(self, most: int) -> list[str]:
        """Return the lines of so many expressions, as `str` has them, but with so many operands at most."""

    def _repr_html_(self) -> str | None: ...
    def __len__(self) -> int: ...
    def __getitem__(self, key: int, /) -> Expression: ...
    def __iter__(self) -> Iterator[Expression]: ...
    def __eq__(self, value: object, /) -> bool: ...
    def __hash__(self) -> int: ...

@disjoint_base
class Loop:
    """What a `scan` repeats: a graph, the body, and how it is fed."""

    body: Graph
    length: int
    carries: int
    xs: int
    ys: int
    ends: bool
    keeps_all: bool
    def __init__(
        self, body: Graph, length: int, carries: int, xs: int, ends: bool = False, keeps_all: bool = True
    ) -> None: ...
    def values(self, operands: list[Any]) -> list[Value | Any]:
        """Return the results for numbers or Values: one operation of the engine after another."""

    def _repr_html_(self) -> str | None: ...
    def __eq__(self, value: object, /) -> bool: ...
    def __hash__(self) -> int: ...

def body_of(outputs: list[Any], inputs: list[Value]) -> tuple[Graph, list[Value]]:
    """Return what a function does as the body of a loop, and the Values from outside that it uses."""

def known(graph: Graph, numbers: list[float | None]) -> Graph:
    """Return a graph in which some parameters are constants; the others are counted anew."""

def simplify(graph: Graph) -> Graph:
    """Return a graph with the same values and gradients, of cheaper operations: see `RULES`."""

def sums(graph: Graph) -> Graph:
    """Return a graph in which each sum is one expression."""

def flat(graph: Graph) -> tuple[Any, ...]:
    """Return a graph as arrays, which `graph_of` takes as its arguments."""

def graph_of(
    input_count: int,
    parameter_count: int,
    names: tuple[str, ...],
    ops: array[int],
    counts: array[int],
    operands: array[int],
    leaves: array[int],
    constants: array[float],
    outputs: array[int],
    loops: list[Loop] = ...,
) -> Graph:
    """Return the graph that `flat` returned these of. All of it is checked."""

def require_recorded(graph: Graph, is_body: bool = False) -> list[int]:
    """Raise ValueError unless a graph is one that functions are recorded as, before any pass; return the inputs that
    are an index."""
