"""Program: a graph of Values, recorded once and replayed over many examples at once."""

from collections.abc import Iterable, Sequence
from typing import Any, Self, SupportsFloat, SupportsIndex, final

import numpy as np
from numpy.typing import NDArray
from typing_extensions import disjoint_base

from microgradc.engine import Value
from microgradc.program.graph import Graph

__all__ = ["Program", "get_num_threads", "set_num_threads"]

_Floats = NDArray[np.float64]

@disjoint_base
class Program:
    """A graph of Values, made ready to be replayed over many examples at once."""

    parameters: tuple[Value, ...]
    input_count: int
    output_count: int
    shared_count: int
    def __init__(
        self,
        outputs: Value | Iterable[Value],
        inputs: Iterable[Value],
        *,
        lanes: int | None = None,
        shared: Iterable[Value] = (),
    ) -> None: ...
    def __call__(self, *arrays: _Floats) -> _Floats:
        """Return the outputs of n examples: float64 of shape (n, number of outputs)."""

    def run(
        self,
        arrays: tuple[_Floats, ...],
        seeds: Sequence[float] | None,
        with_outputs: bool,
        with_input_grads: bool,
        shared: Example | None = None,
        parameters: _Floats | None = None,
        threads: SupportsIndex = 0,
        with_sums: bool = True,
    ) -> tuple[list[float], Any, Any, Any]:
        """Run the program over n examples."""

    def totals(
        self,
        arrays: tuple[_Floats, ...],
        factor: float,
        input_values: list[Value | None] | None = None,
        shared: Example | None = None,
    ) -> list[Value]:
        """Return for each output the sum over the examples times a factor, a Value: a node over the parameters."""

    def example(self, example: Example) -> list[Value]:
        """Return the outputs of one example, Values: nodes over the parameters and the example's Values."""

    def add_gradients(self, arrays: tuple[_Floats, ...], seeds: Sequence[float]) -> tuple[list[float], _Floats]:
        """Add the gradients of the sum of seed times output to the parameters; return the sums and the outputs of each
        example."""

    def has_same_graph(
        self, outputs: list[Value], inputs: list[Value], again: bool = False, shared: list[Value] | None = None
    ) -> bool:
        """Return whether other outputs come from other inputs in the same way, with the same constants and
        parameters."""

    def largest_number(self) -> float:
        """Return the size of the largest finite number in the recorded graph."""

    @property
    def stages(self) -> dict[str, Graph]:
        """The graphs that the passes made one after another, by name; the last one is run."""

    def _repr_html_(self) -> str | None: ...
    def stats(self) -> dict[str, Any]:
        """Return how large the program is: numbers of inputs, parameters, steps, …; bytes for a block of examples."""

@disjoint_base
class Example:
    """Numbers, Values, and lists, tuples, dicts and arrays of them, as a row of numbers, and a key of their shape."""

    def __new__(cls, args: Iterable[Any]) -> Self: ...
    @property
    def key(self) -> tuple[bytes, tuple[Any, ...]]:
        """What arguments of the same shape have in common."""

    def row(self) -> _Floats:
        """Return the numbers as an array of shape (1, count)."""

@final
class Static:
    """An argument that is no number: the function gets it as it is, and for another one it is recorded anew."""

    value: Any
    def __init__(self, value: Any) -> None: ...
    def __eq__(self, value: object, /) -> bool: ...
    def __hash__(self) -> int: ...

@final
class Latest:
    """The recordings that were used last, for calls whose arguments look like those of the calls before. Its methods
    return None where they do not."""

    def __init__(self, recordings: Any) -> None: ...
    def add(
        self,
        recording: Any,
        pattern: Any,
        names: tuple[str, ...] = (),
        positions: frozenset[int] = ...,
        shared: Any = None,
    ) -> None:
        """Let a recording be found for arguments that look like those that it was found for."""

    def example(self, args: tuple[Any, ...], names: tuple[str, ...] = ()) -> Any:
        """Return what a compiled function returns when it is called, or None."""

    def value_and_grad(self, args: tuple[Any, ...], names: tuple[str, ...] = ()) -> tuple[float, Any] | None:
        """Return what `Compiled.value_and_grad` returns, or None."""

    def map(self, args: tuple[Any, ...], names: tuple[str, ...] = ()) -> _Floats | None:
        """Return what `Compiled.map` returns, or None."""

    def total(self, args: tuple[Any, ...], names: tuple[str, ...], mean: bool) -> Any:
        """Return what `Compiled.mean`, or `sum`, returns, or None."""

    def total_and_grad(self, args: tuple[Any, ...], names: tuple[str, ...], mean: bool) -> tuple[float, Any] | None:
        """Return what `Compiled.sum_value_and_grad`, or that of the mean, returns, or None."""

def program_of(
    recorded: Graph,
    leaves: list[Value | None],
    numbers: list[float | None],
    largest: SupportsFloat = 0.0,
    lanes: int | None = None,
    shared_count: int = 0,
) -> Program:
    """Return a Program of a recorded graph."""

def recorded_graph(program: Program) -> Graph:
    """Return the graph that a program was recorded as, before any pass; numbers that are known are constants in it."""

SIGNATURES: tuple[str, ...]
"""The C functions that a program can be."""

def low_level_capsules(program: Program, signature: str) -> tuple[Any, Any]:
    """Return a program of one output as a C function and its data, two capsules, as SciPy takes them."""

@final
class Derived:
    """A program of derivatives, and where its numbers go in an array."""

    directions: _Floats | None
    finish: Any
    shape: tuple[int, ...]
    is_whole: bool
    def __new__(
        cls,
        program: Program,
        directions: _Floats | None,
        source: Iterable[int],
        target: Iterable[int],
        shape: tuple[int, ...],
        is_whole: bool,
        finish: Any = None,
        indices: tuple[int, ...] = (),
    ) -> Self: ...
    def __call__(self, *rows: _Floats) -> Any:
        """Return the array for the numbers of the arguments; a float where it has no axes."""

def latest_matrix(latest: Latest, args: tuple[Any, ...], name: str) -> Any:
    """Return what `Compiled.hessian`, or `jacobian`, returns, or None."""

def latest_hvp(latest: Latest, x: Any, v: Any, others: tuple[Any, ...]) -> Any:
    """Return what `Compiled.hvp` returns, or None."""

@final
class MeanProduct:
    """The product of a direction and the second derivatives of a mean over a batch, as gradients of a mean of tangents.
    """

    count: int
    def __new__(cls, program: Program, places: list[int]) -> Self: ...
    def product(self, arrays: tuple[_Floats, ...], shared: Example | None, v: _Floats) -> _Floats:
        """Return the product with v, a float64 array with a number for each place."""

    def matrix(self, arrays: tuple[_Floats, ...], shared: Example | None) -> _Floats:
        """Return the second derivatives: the products with unit vectors, of which one half is taken."""

def latest_mean_product(latest: Latest, args: tuple[Any, ...], v: Any) -> _Floats | None:
    """Return what `Compiled.mean_hvp` returns, or None."""

def pattern_of(args: tuple[Any, ...]) -> Any:
    """Return what arguments look like, for `Latest.add`; None if it does not know it: Values, nests, other numbers."""

def has_entries(entries: list[Any], before: tuple[Any, ...]) -> bool:
    """Return whether a list has the very objects that are in a tuple, in their order."""

@disjoint_base
class Watch:
    """Lists, dicts, variables of functions, and the very objects that are in them now."""

    def __init__(
        self,
        lists: Iterable[list[Any]],
        dicts: Iterable[dict[Any, Any]],
        cells: Iterable[Any],
        variables: Iterable[tuple[dict[str, Any], str]],
        attributes: Iterable[tuple[Any, str]],
        others: Iterable[Iterable[Any]],
    ) -> None: ...
    def __bool__(self) -> bool:
        """Return whether each is where it was."""

@disjoint_base
class Order:
    """The places of n examples, in the order that `rng.shuffle(list(range(n)))` gives them, again and again."""

    is_twister: bool
    def __new__(cls, n: SupportsIndex, rng: Any, is_own: bool) -> Self: ...
    def give_back(self) -> None:
        """Give the state of the generator back, from which others go on."""

@disjoint_base
class Steps:
    """The steps of a training, of the mean over a batch of a program's first output."""

    program: Program
    steps: int
    loss: float
    has_hooks: bool
    losses: list[float]
    def __init__(self, program: Program, parameters: list[Value], shared: Example | None) -> None: ...
    def is_for(self, program: Program, parameters: list[Value], shared: Example | None) -> bool:
        """Return whether these are of the same program and parameters, and Values in the same shared places."""

    def forget(self) -> None:
        """Forget the examples, whose arrays are not kept: the next run begins an epoch."""

    def not_finite(self) -> tuple[Value, float] | None:
        """Return the first parameter whose gradient is inf or nan, and the gradient; None if there is none."""

    def run(
        self,
        arrays: tuple[_Floats, ...],
        shared: Example | None,
        rules: list[Any],
        order: Order,
        batch: SupportsIndex,
        epochs: SupportsIndex,
        most: SupportsIndex,
        clip: SupportsFloat,
        check: bool,
        outputs: Any = None,
        places: Any = None,
    ) -> bool:
        """Take steps, without the GIL as long as nothing asks for it. What was begun in the run before goes on."""

def values_of_sums(
    program: Program, sums: list[float], gradients: _Floats | None, shared_values: list[Value | None] | None = None
) -> list[Value]:
    """Return numbers as nodes over the parameters of a program."""

def require_unmasked(a: Any) -> None:
    """Raise TypeError for a masked array in which something is masked."""

def plain_batch(args: tuple[Any, ...]) -> tuple[tuple[Any, ...], tuple[_Floats, ...], int] | None:
    """Return a key of the shapes of an example, float64 arrays, and the number of examples; None for other than arrays
    of numbers."""

def set_num_threads(n: int) -> None:
    """Set how many threads a compiled function may use for a large batch."""

def get_num_threads() -> int:
    """Return how many threads a compiled function may use for a large batch."""
