"""How a compiled function leaves its process: as C text, as a C function for SciPy, to a file."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from microgradc.engine import is_tracing, refuse
from microgradc.program.arguments import Arguments
from microgradc.program.program import Example, Program, low_level_capsules
from microgradc.program.recording import Recording

__all__ = ["Leaving"]


class Leaving:
    """These methods of `Compiled`."""

    _f: Callable[..., Any]
    _arguments: Arguments

    def program(self, *args: Any, **kwargs: Any) -> Program:
        """Return the Program for the arguments of one example."""
        raise NotImplementedError

    def _recording(self, example: Example, args: tuple[Any, ...], names: tuple[str, ...]) -> Recording:
        raise NotImplementedError

    def to_c(
        self,
        *args: Any,
        name: str = "pricer",
        gradients: bool = True,
        parameters: str = "baked",
        **kwargs: Any,
    ) -> tuple[str, str]:
        """Return the function as C: the texts of a file `name.c` and of its header `name.h`, which says how to call it.

        The file is C99 and needs libm alone. It allocates nothing and has no state.

        Args:
            args, kwargs: the arguments of one example; arguments of the same shape can be computed. What is static
                belongs to the C function.
            name: what the C function is called.
            gradients: whether there is a function `name_gradients`, too.
            parameters: 'baked' to write the parameters' numbers of now into the file; 'passed' to make them an
                argument, in the order of `f.program(*args).parameters`.

        Raises:
            ValueError: the name is not one in C, or parameters is something else.
            CompileError: the function cannot be replayed for other numbers, or written as C.
        """
        from microgradc.program.to_c import write_c
        program = self.program(*args, **kwargs)
        return write_c(program.stages["sums"], [p.data for p in program.parameters], name, gradients, parameters)

    def low_level_callable(
        self, *args: Any, signature: str = "double (int, double *, void *)", **kwargs: Any
    ) -> Any:
        """Return the function, with the parameters' numbers of now, as one that SciPy's loops call without Python: a
        `scipy.LowLevelCallable` for `scipy.integrate.quad`, `scipy.ndimage.generic_filter` and others.

        Threads may call it at once. Where an index is out of range, or there are more or fewer numbers than the
        arguments have, the result is nan; `generic_filter` raises a RuntimeError for the latter.

        Args:
            args, kwargs: the arguments of one example; their numbers in their order are what the C function takes.
            signature: of the C function: 'double (int, double *, void *)' or, of one number, 'double (double, void *)'
                for `quad`; 'int (double *, intptr_t, double *, void *)' for `generic_filter`.

        Raises:
            ValueError: the function returns something other than one Value, or there is no such signature.
            ImportError: SciPy is not installed.
            CompileError: the function cannot be replayed for other numbers.
        """
        from scipy import LowLevelCallable
        return LowLevelCallable(*low_level_capsules(self.program(*args, **kwargs), signature))

    def save(self, path: str | os.PathLike[str], *args: Any, **kwargs: Any) -> None:
        """Write what the function does to a file, with the numbers of now: `microgradc.load_compiled` reads it.

        The file is in the safetensors format. It has the recorded operations by name, what the arguments and the result
        are, and the parameters; no code. It is written whole or not at all.

        Args:
            path: where to, usually with the ending .safetensors.
            args, kwargs: the arguments of one example, numbers; the function in the file takes arguments of the same
                shape, by place or by their names.

        Raises:
            TypeError: a dict in the arguments or the result has keys other than strings, numbers, booleans and None.
            ValueError: path is something other than a file, or a field has a name that a namedtuple's cannot have.
            OSError: the file cannot be written.
            CompileError: the function cannot be replayed for other numbers.
        """
        from microgradc.program.function_file import write_function
        if is_tracing():
            refuse("f.save")
        given, names = self._arguments.given(args, kwargs)
        write_function(path, self._f, self._recording(Example(given), given, names), given)
