"""compile: record a function of one example once, and replay it over whole batches."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from functools import update_wrapper
from numbers import Real
from typing import Any

import numpy as np

from microgradc import changes
from microgradc.engine import CompileError, Input, IntegerInput, Trace, Value, is_tracing, refuse
from microgradc.program.program import Example, Program, plain_batch

__all__ = ["Compiled", "compile"]


def compile(f: Callable[..., Any] | None = None, *, lanes: int | None = None) -> Any:
    """Make a function of one example fast: it is recorded once, and replayed for all examples of a batch, many at a time. A decorator.

    The function is called for each shape of its arguments, with Values in place of the numbers, and what it does with them is recorded;
    and once more, with other numbers, to see that it does the same. So it must not depend on the numbers in any other way: what would
    write a number of the first example into the record (`if`, `float()`, `.data`, …) raises a CompileError that says what to do
    instead. All other leaves, such as the parameters of a model, are read anew at each call, and get their gradients.

    Args:
        f: a function of numbers, and of lists, tuples, dicts and arrays of numbers, that returns a Value, or lists, tuples and dicts of
            Values. An integer argument may be an index (`microgradc.take`).
        lanes: how many examples to go through at once, a multiple of 8; by default, as many as fit into the cache.

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
        return lambda f: Compiled(f, lanes)
    return Compiled(f, lanes)


class Compiled:
    """A function that is recorded and replayed; see `compile`.

    A batch is the same arguments with one more axis in front: for a number an array of shape (n,), for an array of shape (k,) or a list
    of k numbers one of shape (n, k); dicts and tuples of them stay dicts and tuples. Any real dtype and any strides will do.
    """

    def __init__(self, f: Callable[..., Any], lanes: int | None = None) -> None:
        if not callable(f):
            raise TypeError(f"f must be a function of one example, got {f!r:.60}")
        update_wrapper(self, f)    # first: f may be a Compiled, whose attributes it copies
        self._f = f
        self._lanes = lanes
        self._recordings: dict[Any, _Recording] = {}

    def __call__(self, *args: Any) -> Any:
        """Return what the function returns for one example: a Value, or a list, tuple or dict of them, which fit into any graph.

        Args:
            args: the arguments of one example; Values among them get their gradients.
        """
        if is_tracing():    # one compiled function calls another
            return self._f(*args)
        example = Example(args)
        recording = self._find(example.key) or self._record(example, args)
        return recording.rebuild(recording.program.example(example))

    def mean(self, *args: Any) -> Any:
        """Return the mean over a batch, a Value (or a list, tuple or dict of them) whose `backward()` reaches parameters and Values.

        Args:
            args: the arguments with one more axis in front, for the examples.

        Raises:
            ValueError: the arguments have no examples, or differ in their number.
            IndexError: an index is out of range; the message gives the example.
            CompileError: the function cannot be recorded.
        """
        return self._total(args, mean=True)

    def sum(self, *args: Any) -> Any:
        """Return the sum over a batch. See `mean`."""
        return self._total(args, mean=False)

    def map(self, *args: Any) -> Any:
        """Return the function's numbers for each example of a batch: float64 of shape (n,), (n, k) for a list of k Values; no gradients.

        For a tuple or dict, it is a tuple or dict of such arrays. Args, Raises: see `mean`.
        """
        recording, arrays, _, _ = self._batch(args)
        return recording.rebuild_arrays(recording.program(*arrays))

    def value_and_grad(self, *args: Any) -> tuple[float, Any]:
        """Return the value for one example and its gradient, as `scipy.optimize.minimize(f.value_and_grad, x0, jac=True)` takes them.

        Args:
            args: the arguments of one example.

        Returns:
            A float, and the gradients of the arguments: floats and float64 arrays. For one argument, its gradient; for several, a tuple.

        Raises:
            ValueError: the function returns something other than one Value.
        """
        if is_tracing():
            refuse("f.value_and_grad")
        example = Example(args)
        recording = self._find(example.key) or self._record(example, args)
        recording.require_one_output()
        sums, _, _, (grads,) = recording.program.run((example.row(),), [1.0], False, True)
        flat = iter(grads[0].tolist())
        gradients = tuple(_gradient_like(a, flat) for a in args)
        return sums[0], gradients[0] if len(args) == 1 else gradients

    def map_value_and_grad(self, *args: Any) -> tuple[np.ndarray, Any]:
        """Return values and gradients for each example of a batch.

        Args:
            args: the arguments with one more axis in front, for the examples.

        Returns:
            float64 of shape (n,), and the gradients of the arguments, arrays of their shapes; for one argument, its gradient, for several
            a tuple of them.
        """
        batch = _Batch(args)
        recording = self._recording(batch)
        recording.require_one_output()
        _, values, _, grads = recording.program.run(batch.arrays, [1.0], True, True)
        found = iter(grads)
        gradients = tuple(batch.gradient_like(a, found) for a in args)
        return values[:, 0], gradients[0] if len(args) == 1 else gradients

    def program(self, *args: Any) -> Program:
        """Return the Program for the arguments of one example; `print` shows its steps."""
        if is_tracing():
            refuse("f.value_and_grad")
        example = Example(args)
        return (self._find(example.key) or self._record(example, args)).program

    def _total(self, args: tuple[Any, ...], mean: bool) -> Any:
        recording, arrays, n, values = self._batch(args)
        return recording.rebuild(recording.program.totals(arrays, 1 / n if mean else 1.0, values))

    def _batch(self, args: tuple[Any, ...]) -> tuple[_Recording, tuple[np.ndarray, ...], int, list[Any] | None]:
        """Return the recording for a batch, its arrays, how many examples it has, and the Values in it."""
        plain = plain_batch(args)
        if plain is not None:
            key, arrays, n = plain
            recording = self._find(key)
            if recording is None:
                recording = self._recordings[key] = self._recording(_Batch(args))
            return recording, arrays, n, None
        batch = _Batch(args)
        return self._recording(batch), batch.arrays, batch.n, batch.values

    def _recording(self, batch: _Batch) -> _Recording:
        """Return the recording for the examples of a batch."""
        example = Example(batch.first)
        return self._find(example.key) or self._record(example, batch.first)

    def _find(self, key: Any) -> _Recording | None:
        """Return the recording for a key, made anew if the function does something else since an attribute of a module was set."""
        recording = self._recordings.get(key)
        if recording is None or recording.change is changes.latest:
            return recording
        if has_same_graph(recording.program, self._f, recording.args):
            recording.change = changes.latest
            return recording
        renewed = _Recording(self._f, recording.args, self._lanes)
        self._recordings = {key: renewed if other is recording else other for key, other in self._recordings.items()}
        return renewed

    def _record(self, example: Example, args: tuple[Any, ...]) -> _Recording:
        recording = self._recordings[example.key] = _Recording(self._f, args, self._lanes)
        return recording

    def __getstate__(self) -> dict[str, Any]:
        """Return what a copy or pickle has: a recording belongs to the parameters that it was made with."""
        return {**self.__dict__, "_recordings": {}}

    def __repr__(self) -> str:
        return f"<compiled {getattr(self._f, '__qualname__', self._f)}>"

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        raise TypeError("compile methods of an object, not of a class: self.loss = microgradc.compile(self.loss) in __init__")


class _Recording:
    """A function's program for one shape of arguments, and the shape of what it returns."""

    def __init__(self, f: Callable[..., Any], args: tuple[Any, ...], lanes: int | None) -> None:
        args = tuple(map(_plain, args))
        self.outputs, leaves, inputs = _trace(f, args, change=False)
        if not leaves:
            raise TypeError(f"a compiled function must return a Value, or lists, tuples and dicts of them, got {self.outputs!r:.60}")
        self.program = Program(leaves, inputs, lanes=lanes)
        outputs, leaves, inputs = _trace(f, args, change=True)
        if not self.program.has_same_graph(leaves, inputs):
            raise CompileError(
                f"{getattr(f, '__qualname__', f)} did something else when it was called again with other numbers, so it cannot be "
                "replayed: it draws random numbers, or changes what it uses, or looks at its numbers; compute such things outside, and "
                "pass them as arguments"
            )
        self.outputs = _like(outputs, iter(range(len(leaves))))    # where each is; the graph is not needed any more
        self.args = args
        self.change = changes.latest     # after the calls of f, which may set attributes

    def rebuild(self, values: list[Value]) -> Any:
        """Return Values in the shape of what the function returned."""
        return values[0] if self.outputs == 0 and type(self.outputs) is int else _like(self.outputs, iter(values))

    def rebuild_arrays(self, results: np.ndarray) -> Any:
        """Return the columns of results in the shape of what the function returned: a list becomes an axis."""

        def build(shape: Any) -> Any:
            if isinstance(shape, dict):
                return {name: build(entry) for name, entry in shape.items()}
            if isinstance(shape, tuple):
                return tuple(build(entry) for entry in shape)
            if isinstance(shape, list):
                return np.stack([build(entry) for entry in shape], axis=1)
            return results[:, shape].copy() if results.shape[1] > 1 else results[:, 0]

        return build(self.outputs)

    def require_one_output(self) -> None:
        """Raise ValueError unless the function returned a single Value."""
        if self.outputs != 0 or type(self.outputs) is not int:
            raise ValueError("the function must return one Value for this, it returned several")


class _Batch:
    """The arguments of a batch: arrays for a program, and the arguments of the first example."""

    def __init__(self, args: tuple[Any, ...]) -> None:
        if is_tracing():
            refuse("f.mean")
        arrays: list[np.ndarray] = []
        self.n = -1
        self.values: list[Any] | None = None
        self.first = tuple(self._read(a, arrays, i) for i, a in enumerate(args))
        if self.n < 1:
            raise ValueError(f"a batch must have at least one {'example' if args else 'argument'}, got none")
        if any(a.dtype == object for a in arrays):
            self.values = [v if isinstance(v, Value) else None for a in arrays for v in a.ravel().tolist()]
        self.arrays = tuple(np.ascontiguousarray(a, float).reshape(self.n, -1) for a in arrays)

    def _read(self, a: Any, arrays: list[np.ndarray], i: int) -> Any:
        """Append the arrays in an argument; return the argument of the first example."""
        if isinstance(a, dict):
            return {name: self._read(entry, arrays, i) for name, entry in a.items()}
        if isinstance(a, tuple):
            return tuple(self._read(entry, arrays, i) for entry in a)
        try:
            array = a if isinstance(a, np.ndarray) else np.asarray(a)
        except ValueError:
            raise ValueError(f"argument {i} must have rows of one length, got rows that differ") from None
        if array.dtype.kind not in "fiubO":
            raise TypeError(f"argument {i} must be made of real numbers, got dtype {array.dtype}")
        if array.dtype == object:
            for entry in array.ravel().tolist():
                if not isinstance(entry, (Value, Real)):
                    raise TypeError(f"argument {i} must be made of real numbers and Values, got {type(entry).__name__} {entry!r:.40}")
        if array.ndim == 0:
            raise ValueError(f"argument {i} must have an axis for the examples, got the single {a!r:.40}; np.full(n, x) repeats a number")
        if self.n >= 0 and len(array) != self.n:
            raise ValueError(f"the arguments must have one row for each example, got {self.n} and, in argument {i}, {len(array)}")
        self.n = len(array)
        arrays.append(array)
        if not self.n:
            return 0.0
        first = array[0]
        return first if isinstance(a, np.ndarray) and array.ndim > 1 else first.tolist() if hasattr(first, "tolist") else first

    def gradient_like(self, a: Any, grads: Iterator[np.ndarray]) -> Any:
        """Return the next gradients in the shape of an argument."""
        if isinstance(a, dict):
            return {name: self.gradient_like(entry, grads) for name, entry in a.items()}
        if isinstance(a, tuple):
            return tuple(self.gradient_like(entry, grads) for entry in a)
        return next(grads).reshape(np.shape(a))


def has_same_graph(program: Program, f: Callable[..., Any], args: tuple[Any, ...]) -> bool:
    """Return whether a function, called again, does what a program was recorded from.

    Raises:
        CompileError: it does what cannot be recorded.
    """
    _, leaves, inputs = _trace(f, args, change=True)
    return len(leaves) == program.output_count and program.has_same_graph(leaves, inputs)


def _trace(f: Callable[..., Any], args: tuple[Any, ...], change: bool) -> tuple[Any, list[Value], list[Value]]:
    """Call f with Values in place of the numbers in args, or of others; return what it returned, the Values in it, and its inputs."""
    inputs: list[Value] = []
    traced = tuple(_with_inputs(a, inputs) for a in args)
    if change:
        for v in inputs:
            # An index stays one. What is not is another number, of the other sign.
            v.data = 0.7 * v.data if isinstance(v, IntegerInput) else math.copysign(0.7 * abs(v.data) + 0.1, -v.data)
    with Trace():
        outputs = f(*traced)
    try:
        return outputs, [v if isinstance(v, Value) else Value(v) for v in _leaves(outputs)], inputs
    except TypeError:
        return outputs, [], inputs


def _plain(a: Any) -> Any:
    """Return a copy of an argument with numbers in place of Values, which refers to nothing of the caller's."""
    if isinstance(a, dict):
        return {name: _plain(entry) for name, entry in a.items()}
    if isinstance(a, (list, tuple)):
        return (list if isinstance(a, list) else tuple)(_plain(entry) for entry in a)
    if isinstance(a, np.ndarray) and a.ndim:
        return a.astype(float) if a.dtype == object else a.copy()
    return a.data if isinstance(a, Value) else a


def _with_inputs(a: Any, inputs: list[Value]) -> Any:
    """Return an argument with new Values in place of its numbers, in the order in which `Example` reads them."""
    if isinstance(a, dict):
        return {name: _with_inputs(entry, inputs) for name, entry in a.items()}
    if isinstance(a, (list, tuple)):
        return (list if isinstance(a, list) else tuple)(_with_inputs(entry, inputs) for entry in a)
    if isinstance(a, np.ndarray) and a.ndim:
        array = np.empty(a.shape, object)
        for i, entry in np.ndenumerate(a):
            array[i] = _with_inputs(entry, inputs)
        return array
    integer = hasattr(type(a), "__index__") and not isinstance(a, (bool, np.bool_))
    inputs.append(IntegerInput(a) if integer else Input(a))
    return inputs[-1]


def _leaves(a: Any) -> list[Any]:
    """Return the entries of nested lists, tuples, dicts and arrays, in order."""
    if isinstance(a, np.ndarray):
        a = a.tolist()
    if isinstance(a, dict):
        return [leaf for entry in a.values() for leaf in _leaves(entry)]
    if isinstance(a, (list, tuple)):
        return [leaf for entry in a for leaf in _leaves(entry)]
    return [a]


def _like(a: Any, leaves: Iterator[Any]) -> Any:
    """Return nested lists, tuples and dicts of the same shape with other entries."""
    if isinstance(a, np.ndarray):
        a = a.tolist()
    if isinstance(a, dict):
        return {name: _like(entry, leaves) for name, entry in a.items()}
    if isinstance(a, (list, tuple)):
        return (list if isinstance(a, list) else tuple)(_like(entry, leaves) for entry in a)
    return next(leaves)


def _gradient_like(a: Any, flat: Iterator[float]) -> Any:
    """Return the next numbers in the shape of an argument: a list or array becomes an array."""
    if isinstance(a, dict):
        return {name: _gradient_like(entry, flat) for name, entry in a.items()}
    if isinstance(a, tuple):
        return tuple(_gradient_like(entry, flat) for entry in a)
    if isinstance(a, np.ndarray) and a.ndim:
        return np.array([next(flat) for _ in range(a.size)]).reshape(a.shape)
    if isinstance(a, list):
        entries = [_gradient_like(entry, flat) for entry in a]
        numeric = not any(isinstance(entry, (dict, list, tuple)) for entry in entries)
        return np.array(entries) if numeric and len(set(map(np.shape, entries))) <= 1 else entries
    return next(flat)
