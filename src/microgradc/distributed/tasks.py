"""The tasks of batches in chunks: what travels, and what is done with a chunk."""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from functools import cached_property
from hashlib import sha256
from typing import Any, NamedTuple

import numpy as np

from microgradc import __version__, checks
from microgradc.engine import Value
from microgradc.program.partial import Origin, Partial, empty_part, partial_of
from microgradc.program.program import Example, Program, program_of


class Payload:
    """A program as it travels: without the numbers of its parameters, so that it is the same at each step.

    Args:
        text: what `pack` made of a program.
        version: of microgradc, where it was made.
    """

    text: bytes
    version: str

    def __init__(self, text: bytes, version: str) -> None:
        self.text, self.version = text, version

    def __reduce__(self) -> Any:
        return Payload, (self.text, self.version)

    @cached_property
    def name(self) -> str:
        """What two payloads of the same program have in common."""
        return f"microgradc-program-{sha256(self.version.encode() + self.text).hexdigest()[:32]}"

    @cached_property
    def program(self) -> Program:
        """The program; it is made once in each process.

        Raises:
            RuntimeError: another version of microgradc made it.
        """
        if self.version != __version__:
            raise RuntimeError(
                f"this worker has microgradc {__version__}, and the program was recorded by {self.version}: results "
                "would depend on who computes what; install one version everywhere"
            )
        graph, is_parameter, numbers, largest, lanes, shared_count = pickle.loads(self.text)
        leaves = [Value(0.0) if it_is else None for it_is in is_parameter]
        return program_of(graph, leaves, numbers, largest, lanes, shared_count)


def pack(program: Program) -> Payload:
    """Return a program as it travels."""
    reduced: Any = program.__reduce__()
    graph, leaves, numbers, largest, lanes, shared_count = reduced[1]
    is_parameter = [leaf is not None for leaf in leaves]
    return Payload(pickle.dumps((graph, is_parameter, numbers, largest, lanes, shared_count), 5), __version__)


class Point(NamedTuple):
    """Where a function is evaluated, and what is wanted of it."""

    parameters: np.ndarray
    shared: np.ndarray | None       # numbers of the shared arguments
    with_gradients: bool
    origin: Origin                  # of the parts

    def numbers(self) -> np.ndarray:
        """Return the parameters as a program takes them: what came over a network may lie anywhere in memory."""
        return np.require(self.parameters, float, ["C", "A"])

    def example(self) -> Example | None:
        """Return the shared arguments as a program takes them."""
        return None if self.shared is None else Example(tuple(self.shared.tolist()))


def rows_of(chunk: Sequence[Any], number: int) -> tuple[tuple[np.ndarray, ...], int]:
    """Return arrays of one chunk as a program takes them, and how many examples there are.

    Args:
        chunk: an array for each argument that is not static.
        number: of the chunk, for errors.
    """
    arrays = [checks.real_array(a, f"argument {i} in chunk {number}") for i, a in enumerate(chunk)]
    n = len(arrays[0])
    for i, a in enumerate(arrays):
        if len(a) != n:
            raise ValueError(
                f"the arguments must have the same rows in each chunk, got {n} and, in argument {i}, {len(a)} in "
                f"chunk {number}; .compute_chunk_sizes() says how many there are, so that they can be aligned"
            )
    return tuple([np.require(a, float, ["C", "A"]).reshape(n, -1) if n else a for a in arrays]), n


def part_of_chunk(payload: Payload, point: Point, number: int, chunk: Sequence[Any]) -> Partial:
    """Return what a chunk adds: a task, which takes one thread."""
    program = payload.program
    arrays, n = rows_of(chunk, number)
    if not n:
        return empty_part(program, point.with_gradients, point.origin)
    try:
        return partial_of(
            program, arrays, n, point.example(), point.with_gradients, point.origin, point.numbers(), threads=1
        )
    except IndexError as error:
        error.add_note(f"in chunk {number}, where example 0 is its first row")
        raise


def parts_of_chunks(payload: Payload, point: Point, numbers: list[int], chunks: list[Sequence[Any]]) -> list[Partial]:
    """Return what each of some chunks adds: one task for those that are in one place."""
    return [part_of_chunk(payload, point, i, chunk) for i, chunk in zip(numbers, chunks, strict=True)]


def outputs_of_chunk(payload: Payload, point: Point, *chunk: Any) -> np.ndarray:
    """Return the outputs for each row of a chunk, and next to them the gradients of the inputs if they are wanted."""
    program, with_gradients = payload.program, point.with_gradients
    arrays, n = rows_of(chunk, 0)
    if not n:
        return np.zeros((0, program.output_count + with_gradients * program.input_count))
    seeds = [1.0] if with_gradients else None
    _, outputs, _, grads = program.run(arrays, seeds, True, with_gradients, point.example(), point.numbers(), 1)
    if not with_gradients:
        return outputs if outputs.base is None else outputs.copy()
    return np.concatenate([outputs, *[g.reshape(n, -1) for g in grads]], axis=1)
