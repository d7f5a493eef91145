"""compile: trace a function of one example once, and replay its recording over whole batches."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import update_wrapper
from itertools import islice
from numbers import Real
from typing import Any

import numpy as np

from microgradc import checks, trees
from microgradc.engine import Value, is_tracing, refuse
from microgradc.keywords import suggest_keywords
from microgradc.program import directions
from microgradc.program.program import Example, Latest, Program, plain_batch, require_unmasked
from microgradc.program.recording import Recording, Recordings, is_trying, without_values

__all__ = ["Compiled", "compile"]

_BATCHES = (np.ndarray, list)    # what has an entry or row for each example


@suggest_keywords
def compile(f: Callable[..., Any] | None = None, *, lanes: int | None = None, recordings: int = 64) -> Any:
    """Make a function of one example fast: trace it once, and replay it for all examples of a batch, many at a time.

    A decorator. The function is called for each shape of its arguments, with Values in place of the numbers, and what
    it does with them is recorded; then once more, with other numbers, to see that it does the same; and then as it is,
    with the numbers of the example, to see that this gives the same. So it must not depend on the numbers in any other
    way: what would write a number of the first example into the recording (`if`, `float()`, `.data`, …) raises a
    CompileError that says what to do instead. All other leaves, such as the parameters of a model, are read anew at
    each call, and get their gradients.

    Args:
        f: a function of numbers, and of lists, tuples, namedtuples, dicts, dataclasses and arrays of numbers, that
            returns a Value, or any of these containers of Values. An integer argument may be an index
            (`microgradc.take`).
        lanes: how many examples to go through at once, a multiple of 8; by default, as many as fit into the cache.
        recordings: how many recordings to keep, one for each shape of the arguments. The least recently used goes
            first, and is made anew when it is needed.

    Returns:
        A `Compiled`, which has `mean`, `sum`, `map`, `value_and_grad` and `map_value_and_grad`.

    >>> from microgradc import nn
    >>> model = nn.MLP(2, [8, 1], seed=0)
    >>> @compile
    ... def loss(x, y):
    ...     return (1 - y * model(x)).relu()
    >>> X, y = np.array([[0.0, 1.0], [1.0, 0.0]]), np.array([1.0, -1.0])
    >>> total = loss.mean(X, y)
    >>> total.backward()
    >>> total.data == (loss(X[0], y[0]).data + loss(X[1], y[1]).data) / 2
    True
    """
    if f is None:
        return lambda f: Compiled(f, lanes, recordings)
    return Compiled(f, lanes, recordings)


class Compiled:
    """A function that is traced and replayed; see `compile`.

    A batch is the same arguments with one more axis in front. A number becomes an array of shape (n,). An array of
    shape (k,) or a list of k numbers becomes one of shape (n, k). Dicts, tuples and dataclasses stay what they are. Any
    real dtype and any strides will do.
    """

    def __init__(self, f: Callable[..., Any], lanes: int | None = None, recordings: int = 64) -> None:
        if not callable(f):
            raise TypeError(f"f must be a function of one example, got {f!r:.60}")
        update_wrapper(self, f, updated=())    # not f's attributes: those of a module may have names of methods here
        self._f = f
        self._recordings = Recordings(f, lanes, checks.integer(recordings, "recordings", 1))
        self._latest = Latest(self._recordings)

    def __call__(self, *args: Any) -> Any:
        """Return what the function returns for one example: a Value, or a container of them, which fit into any graph.

        Args:
            args: the arguments of one example; Values among them get their gradients.
        """
        found = self._latest.example(args)
        if found is not None:
            return found
        if is_tracing():    # one compiled function calls another
            return self._f(*args)
        example = Example(args)
        recording = self._recordings.find(example.key)
        if recording is None:
            if is_trying():    # a recording of another one calls it, to see what it does without a recording
                return self._f(*args)
            recording = self._recordings.record(example.key, args)
        self._latest.add(recording, args)
        return recording.rebuild(recording.program.example(example))

    def mean(self, *args: Any) -> Any:
        """Return the mean over a batch, a Value (or a container of them) whose `backward()` reaches all leaves.

        Args:
            args: the arguments with one more axis in front, for the examples; Values among them get their gradients.

        Raises:
            TypeError: an argument is not made of numbers, or the function does not return Values.
            ValueError: the arguments have no examples, or differ in their number.
            IndexError: an index is out of range; the message gives the example.
            CompileError: the function cannot be replayed for other numbers.
        """
        return self._total(args, mean=True)

    def sum(self, *args: Any) -> Any:
        """Return the sum over a batch. See `mean`."""
        return self._total(args, mean=False)

    def map(self, *args: Any) -> Any:
        """Return the function's numbers for each example of a batch, without gradients.

        Args, Raises: see `mean`.

        Returns:
            float64 of shape (n,), or (n, k) where the function returns a list of k Values; where it returns a tuple,
            dict or dataclass, the same with such arrays in it. In a list, tuples are axes too; a list of unequal things
            or dicts stays a list. Entry i of each array belongs to example i.
        """
        found = self._latest.map(args)
        if found is not None:
            return found
        recording, arrays, _, _ = self._batch(args)
        return recording.rebuild_arrays(recording.program(*arrays))

    def value_and_grad(self, *args: Any) -> tuple[float, Any]:
        """Return the value for one example and its gradient.

        It is what SciPy takes: `scipy.optimize.minimize(f.value_and_grad, x0, jac=True)`.

        Args:
            args: the arguments of one example.

        Returns:
            A float, and the gradients of the arguments: floats and float64 arrays. For one argument, its gradient; for
            several, a tuple.

        Raises:
            ValueError: the function returns something other than one Value.
        """
        found = self._latest.value_and_grad(args)
        if found is not None:
            return found
        if is_tracing():
            refuse("f.value_and_grad")
        example = Example(args)
        recording = self._recordings.find(example.key) or self._recordings.record(example.key, args)
        recording.require_one_output()
        self._latest.add(recording, args)
        sums, _, _, (grads,) = recording.program.run((example.row(),), [1.0], False, True)
        gradients = recording.gradients(grads[0], args)
        return sums[0], gradients[0] if len(args) == 1 else gradients

    def map_value_and_grad(self, *args: Any) -> tuple[np.ndarray, Any]:
        """Return values and gradients for each example of a batch.

        Args:
            args: the arguments with one more axis in front, for the examples.

        Returns:
            float64 of shape (n,), and the gradients of the arguments, arrays of their shapes; for one argument, its
            gradient, for several a tuple of them.
        """
        batch = _Batch(args)
        recording = self._recording(batch)
        recording.require_one_output()
        _, values, _, grads = recording.program.run(batch.arrays, [1.0], True, True)
        gradients = batch.gradients(grads)
        return values[:, 0], gradients[0] if len(args) == 1 else gradients

    def jacobian(self, *args: Any) -> Any:
        """Return the derivatives of each result with respect to the arguments. See `microgradc.jacobian`.

        Args:
            args: the arguments of one example.

        Returns:
            The structure of the results, in each place that of the arguments: for one argument its derivatives, for
            several a tuple. For a list of m results and an array of shape (n,), float64 of shape (m, n).
        """
        return directions.jacobian_of(self, args, directions.argnums_of(args))

    def hessian(self, *args: Any) -> Any:
        """Return the second derivatives of the one result. See `microgradc.hessian`.

        Args:
            args: the arguments of one example.

        Returns:
            For an array of shape (n,), float64 of shape (n, n); for several arguments a tuple of tuples.
        """
        return directions.hessian_of(self, args, directions.argnums_of(args))

    def hvp(self, x: Any, v: Any, *args: Any) -> Any:
        """Return the product of the Hessian with respect to x and v. See `microgradc.hvp`.

        It is what SciPy takes: `scipy.optimize.minimize(f.value_and_grad, x0, jac=True, hessp=f.hvp)`.

        Args:
            x: the first argument of one example.
            v: the same structure.
            args: further arguments, which are held fixed.

        Returns:
            The structure of x, float64.
        """
        return directions.hvp_of(self, x, v, args)

    def program(self, *args: Any) -> Program:
        """Return the Program for the arguments of one example; `print` shows its steps."""
        if is_tracing():
            refuse("f.program")
        example = Example(args)
        return (self._recordings.find(example.key) or self._recordings.record(example.key, args)).program

    def to_c(
        self, *args: Any, name: str = "pricer", gradients: bool = True, parameters: str = "baked"
    ) -> tuple[str, str]:
        """Return the function as C: the texts of a file `name.c` and of its header `name.h`, which says how to call it.

        The file is C99 and needs libm alone. It allocates nothing and has no state.

        Args:
            args: the arguments of one example; arguments of the same shape can be computed.
            name: what the C function is called.
            gradients: whether there is a function `name_gradients`, too.
            parameters: 'baked' to write the parameters' numbers of now into the file; 'passed' to make them an
                argument, in the order of `f.program(*args).parameters`.

        Raises:
            ValueError: the name is not one in C, or parameters is something else.
            CompileError: the function cannot be replayed for other numbers, or written as C.
        """
        from microgradc.program.to_c import write_c
        program = self.program(*args)
        return write_c(program.stages["sums"], [p.data for p in program.parameters], name, gradients, parameters)

    def clear(self) -> None:
        """Forget all recordings; each is made anew when it is needed."""
        self._recordings.clear()
        self._latest = Latest(self._recordings)

    def _total(self, args: tuple[Any, ...], mean: bool) -> Any:
        found = self._latest.total(args, mean)
        if found is not None:
            return found
        recording, arrays, n, values = self._batch(args)
        return recording.rebuild(recording.program.totals(arrays, 1 / n if mean else 1.0, values))

    def _batch(self, args: tuple[Any, ...]) -> tuple[Recording, tuple[np.ndarray, ...], int, list[Any] | None]:
        """Return the recording for a batch, its arrays, how many examples it has, and the Values in it."""
        plain = plain_batch(args)
        if plain is not None:
            key, arrays, n = plain
            recording = self._recordings.find(key)
            if recording is None:
                recording = self._recording(_Batch(args))
                self._recordings.also(key, recording)
            if all(a is given for a, given in zip(arrays, args, strict=True)):
                self._latest.add(recording, tuple([a[0] for a in arrays]))
            return recording, arrays, n, None
        batch = _Batch(args)
        return self._recording(batch), batch.arrays, batch.n, batch.values

    def _recording(self, batch: _Batch) -> Recording:
        """Return the recording for the examples of a batch."""
        key = Example(batch.first).key
        return self._recordings.find(key) or self._recordings.record(key, batch.first)

    def __getstate__(self) -> dict[str, Any]:
        """Return what a copy or pickle has: a recording belongs to the parameters that it was made with."""
        recordings = self._recordings.emptied()
        return {**self.__dict__, "_recordings": recordings, "_latest": Latest(recordings)}

    def __repr__(self) -> str:
        return f"<compiled {getattr(self._f, '__qualname__', self._f)}>"

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        advice = "self.loss = microgradc.compile(self.loss) in __init__"
        raise TypeError(f"compile methods of an object, not of a class: {advice}")


class _Batch:
    """The arguments of a batch: arrays for a program, and the arguments of the first example."""

    def __init__(self, args: tuple[Any, ...]) -> None:
        if is_tracing():
            refuse("f.mean")
        self.n = -1
        leaves: list[Any] = []
        arrays: list[np.ndarray] = []
        self.arg_shapes: list[trees.Shape] = []
        for i, a in enumerate(args):
            found, shape = trees.flatten(a, _BATCHES)
            self.arg_shapes.append(shape)
            leaves += found
            arrays += [self._read(leaf, i) for leaf in found]
        if self.n < 1:
            raise ValueError(f"a batch must have at least one {'example' if args else 'argument'}, got none")
        self.given = arrays
        self.first = self._arguments(map(_first_entry, leaves, arrays))
        self.values: list[Any] | None = None
        if any(a.dtype.kind == "O" for a in arrays):
            self.values = [v if isinstance(v, Value) else None for a in arrays for v in a.ravel().tolist()]
            arrays = [without_values(a) if a.dtype.kind == "O" else a for a in arrays]
        self.arrays = tuple(np.require(a, float, ["C", "A"]).reshape(self.n, -1) for a in arrays)

    def _read(self, a: Any, i: int) -> np.ndarray:
        """Return what is in argument i as an array with an entry or row for each example."""
        require_unmasked(a)
        array = checks.real_array(a, f"argument {i}", and_objects=True)
        if array.dtype.kind == "O":
            for entry in array.ravel().tolist():
                if not isinstance(entry, (Value, Real)):
                    got = f"{type(entry).__name__} {entry!r:.40}"
                    raise TypeError(f"argument {i} must be made of real numbers and Values, got {got}")
        if array.ndim == 0:
            got = f"the single {a!r:.40}; np.full(n, x) repeats a number"
            raise ValueError(f"argument {i} must have an axis for the examples, got {got}")
        if self.n >= 0 and len(array) != self.n:
            got = f"{self.n} and, in argument {i}, {len(array)}"
            raise ValueError(f"the arguments must have one row for each example, got {got}")
        self.n = len(array)
        return array

    def gradients(self, grads: list[np.ndarray]) -> Any:
        """Return gradients in the shape of the arguments."""
        return self._arguments(grad.reshape(a.shape) for grad, a in zip(grads, self.given, strict=True))

    def _arguments(self, leaves: Iterator[Any]) -> tuple[Any, ...]:
        """Return leaves in the shape of the arguments."""
        return tuple([
            next(leaves) if shape is trees.LEAF else trees.unflatten(shape, islice(leaves, shape.leaf_count))
            for shape in self.arg_shapes
        ])


def _first_entry(given: Any, array: np.ndarray) -> Any:
    """Return the first row of an array; a list if a list was given."""
    if array.ndim == 1:
        return array.item(0)
    return array[0] if isinstance(given, np.ndarray) else array[0].tolist()
