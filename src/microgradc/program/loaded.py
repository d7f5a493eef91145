"""Functions from files."""

from __future__ import annotations

import os
from collections.abc import Iterator
from keyword import iskeyword
from typing import Any

from microgradc import keywords
from microgradc.cells import in_a_cell
from microgradc.engine import Value
from microgradc.program.carried import Absent, Carried, CarriedRecordings
from microgradc.program.compile import Compiled
from microgradc.program.function_file import read_function
from microgradc.program.in_cells import page_of_function, page_of_parameters
from microgradc.program.program import program_of

__all__ = ["LoadedFunction", "load_compiled"]


class LoadedFunction(Compiled[..., Any]):
    """A compiled function from a file: it has all methods of one, and takes the arguments that it was saved with.

    Attributes:
        parameters: the Values that it computes with, a tuple.
    """

    _f: Absent
    _recordings: CarriedRecordings

    @property
    def parameters(self) -> tuple[Value, ...]:
        return self._recordings.sources[0].program.parameters

    def named_parameters(self) -> Iterator[tuple[str, Value]]:
        """Return pairs of a name and a parameter; one whose name is not known is called 'parameters.3', say."""
        names = self._f.names["parameter_names"]
        pairs = enumerate(zip(names, self.parameters, strict=True))
        return iter([(f"parameters.{i}" if name is None else name, p) for i, (name, p) in pairs])

    def _repr_html_(self) -> str | None:
        return in_a_cell(lambda: page_of_function(self, self._recordings) + page_of_parameters(self))


@keywords.suggest_keywords
def load_compiled(path: str | os.PathLike[str]) -> LoadedFunction:
    """Return a function that the method `save` of a compiled function wrote to a file.

    Nothing in the file is run. Namedtuples and dataclasses in the arguments and the result are in it by their names: an
    argument may be of any class of that name with these fields; the result has plain namedtuples.

    Args:
        path: the file.

    Returns:
        What a compiled function is: it has `mean`, `sum`, `map`, `value_and_grad`, … It takes arguments of the shape
        that it was saved with. `parameters` are its Values, a tuple; `named_parameters()` gives them with their names.

    Raises:
        ValueError: the file is damaged, has something else in it, or was written by a later version in another format.
        OSError: the file cannot be read; `FileNotFoundError` if there is none.

    >>> import microgradc, tempfile
    >>> rate = Value(0.05)
    >>> @microgradc.compile
    ... def bond(price, years):
    ...     return price * (-rate * years).exp()
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     bond.save(f"{folder}/bond.safetensors", 100.0, 2.0)
    ...     loaded = load_compiled(f"{folder}/bond.safetensors")
    >>> loaded(100.0, 10.0).data == bond(100.0, 10.0).data
    True
    >>> loaded.parameters
    (Value(data=0.05, grad=0),)
    """
    stored = read_function(path)
    values: list[Value | None] = [Value(x) for x in stored.numbers]
    program = program_of(stored.graph, values, [None] * len(values))
    given = [name for name in stored.argument_names if name.isidentifier() and not iskeyword(name)]
    f = Absent({
        "__module__": "__main__", "__name__": stored.name.rpartition(".")[2], "__qualname__": stored.name,
        "parameter_names": stored.parameter_names, "argument_names": stored.argument_names,
        # With a signature, arguments may be given by their names.
        "parameters": [(name, 1, False) for name in given] if len({*given}) == len(stored.argument_names) else None,
    })
    made = LoadedFunction.__new__(LoadedFunction)
    Compiled.__init__(made, f)
    try:
        carried = [Carried(program, stored.result, [stored.key])]
        made._recordings = CarriedRecordings(f, None, 64, carried)
    except RecursionError:
        raise ValueError(f"cannot load {path}: its result is nested too deeply") from None
    return made
