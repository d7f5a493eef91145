"""compile: trace a function of one example once, and replay its recording over whole batches."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from copy import deepcopy
from functools import update_wrapper
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, Self, SupportsIndex, TypeAlias, TypeVar, overload

import numpy as np

from microgradc import checks
from microgradc.cells import in_a_cell, never_fails
from microgradc.engine import Value, is_tracing, refuse
from microgradc.engine.value import is_detecting
from microgradc.keywords import suggest_keywords
from microgradc.program import anomalies
from microgradc.program.arguments import Arguments, call, for_one, is_static, unwrapped
from microgradc.program.batch import Batch, repeated
from microgradc.program.carried import (
    Absent,
    Carried,
    CarriedRecordings,
    carried_recordings,
    is_for_cloudpickle,
    method_of,
    name_leads_to,
    named,
    names_of,
)
from microgradc.program.chunks import chunked
from microgradc.program.deriving import Deriving
from microgradc.program.in_cells import page_of_function
from microgradc.program.layouts import gradients_in, layout_of
from microgradc.program.leaving import Leaving
from microgradc.program.partial import Partials
from microgradc.program.plain_calls import is_trying
from microgradc.program.program import (
    Example,
    Latest,
    Program,
    Static,
    pattern_of,
    plain_batch,
)
from microgradc.program.recording import Recording, Recordings
from microgradc.program.training import Training

if TYPE_CHECKING:
    from numpy.typing import NDArray

    _Given: TypeAlias = Value | float | np.number[Any] | NDArray[Any] | list[Any] | tuple[Any, ...]

__all__ = ["Compiled", "compile"]

_P = ParamSpec("_P")
_R = TypeVar("_R")


@overload
def compile(
    f: Callable[_P, Value | float],     # a number becomes a Value
    *,
    static: Iterable[str] = (),
    shared: Iterable[str] = (),
    lanes: int | None = None,
    recordings: int = 64,
) -> Compiled[_P, Value]: ...
@overload
def compile(
    f: Callable[_P, _R],
    *,
    static: Iterable[str] = (),
    shared: Iterable[str] = (),
    lanes: int | None = None,
    recordings: int = 64,
) -> Compiled[_P, _R]: ...
@overload
def compile(
    f: None = None,
    *,
    static: Iterable[str] = (),
    shared: Iterable[str] = (),
    lanes: int | None = None,
    recordings: int = 64,
) -> Callable[[Callable[_P, _R]], Compiled[_P, _R]]: ...
@suggest_keywords
def compile(
    f: Callable[..., Any] | None = None,
    *,
    static: Iterable[str] = (),
    shared: Iterable[str] = (),
    lanes: int | None = None,
    recordings: int = 64,
) -> Any:
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
            (`microgradc.take`). None, texts, members of enums, and a bool that is an argument by itself are static:
            the function gets them as they are, and is recorded for each anew.
        static: names of further parameters that are static, of anything that can be hashed: ("n",) for a `range(n)`.
        shared: names of parameters that have no axis for the examples in `mean`, `sum`, `map` and the others: what
            is to be fitted to all of them.
        lanes: how many examples to go through at once, a multiple of 8; by default, as many as fit into the cache.
        recordings: how many recordings to keep, one for each shape of the arguments. The least recently used goes
            first, and is made anew when it is needed.

    Returns:
        A `Compiled`, which has `mean`, `sum`, `map`, `value_and_grad`, `map_value_and_grad` and `train`.

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
        return lambda f: Compiled(f, lanes, recordings, static, shared)
    return Compiled(f, lanes, recordings, static, shared)


class Compiled(Deriving, Leaving, Partials, Training, Generic[_P, _R]):
    """A function that is traced and replayed; see `compile`.

    A batch is the same arguments with one more axis in front. A number becomes an array of shape (n,). An array of
    shape (k,) or a list of k numbers becomes one of shape (n, k). Dicts, tuples and dataclasses stay what they are. Any
    real dtype and any strides will do.
    """

    def __init__(
        self,
        f: Callable[_P, _R],
        lanes: int | None = None,
        recordings: int = 64,
        static: Iterable[str] = (),
        shared: Iterable[str] = (),
    ) -> None:
        if not callable(f):
            raise TypeError(f"f must be a function of one example, got {f!r:.60}")
        update_wrapper(self, f, updated=())    # not f's attributes: those of a module may have names of methods here
        self._f = f
        self._arguments = Arguments(f, static, shared)
        self._named = sorted(self._arguments.static), sorted(self._arguments.shared)
        self._recordings = Recordings(f, lanes, checks.integer(recordings, "recordings", 1))
        self._latest = Latest(self._recordings)

    @overload
    def __call__(self, *args: _P.args, **kwargs: _P.kwargs) -> _R: ...
    @overload       # where the function's text says Value, a number may be given
    def __call__(self, first: _Given, /, *others: _Given) -> _R: ...
    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Return what the function returns for one example: a Value, or a container of them, which fit into any graph.

        Args:
            args, kwargs: the arguments of one example; Values among them get their gradients.
        """
        names: tuple[str, ...] = ()
        given: tuple[Any, ...] = args
        is_plain = not (kwargs or self._arguments.static)
        if not is_plain and not is_tracing():
            given, names = self._arguments.given(args, kwargs)
        found = self._latest.example(given, names)
        if found is not None:
            return found
        if is_tracing():    # one compiled function calls another
            return self._f(*args, **kwargs)
        if is_detecting():
            return anomalies.checked(self, "__call__", args, kwargs)
        if is_plain:
            given, _ = self._arguments.given(args, {})
        pattern, example = pattern_of(given), Example(given)
        recording = self._find(example, names)
        if recording is None:
            if is_trying():    # a recording of another one calls it, to see what it does without a recording
                return call(self._f, map(unwrapped, given), names)
            recording = self._recordings.record(_key(example, names), given, names)
        self._latest.add(recording, pattern, names)
        return recording.rebuild(recording.program.example(example))

    def mean(self, *args: Any, **kwargs: Any) -> _R:
        """Return the mean over a batch, a Value (or a container of them) whose `backward()` reaches all leaves.

        Args:
            args, kwargs: the arguments with one more axis in front, for the examples; static and shared ones as they
                are. Values among them get their gradients.

        Raises:
            TypeError: an argument is not made of numbers, or the function does not return Values.
            ValueError: the arguments have no examples, or differ in their number.
            IndexError: an index is out of range; the message gives the example.
            CompileError: the function cannot be replayed for other numbers.
        """
        return self._total(args, kwargs, mean=True)

    def sum(self, *args: Any, **kwargs: Any) -> _R:
        """Return the sum over a batch. See `mean`."""
        return self._total(args, kwargs, mean=False)

    def map(self, *args: Any, **kwargs: Any) -> Any:
        """Return the function's numbers for each example of a batch, without gradients.

        Args, Raises: see `mean`.

        Returns:
            float64 of shape (n,), or (n, k) where the function returns a list of k Values; where it returns a tuple,
            dict or dataclass, the same with such arrays in it. In a list, tuples are axes too; a list of unequal things
            or dicts stays a list. Entry i of each array belongs to example i.
        """
        given, names = self._quick(args, kwargs)
        found = self._latest.map(given, names)
        if found is not None:
            return found
        chunks = chunked(self, args, kwargs)
        if chunks is not None:
            return chunks.map()
        if is_detecting():
            return anomalies.checked(self, "map", args, kwargs)
        recording, arrays, _, _, shared = self._batch(args, kwargs)
        _, results, _, _ = recording.program.run(arrays, None, True, False, shared, with_sums=False)
        return recording.rebuild_arrays(results)

    def value_and_grad(self, *args: Any, **kwargs: Any) -> tuple[float, Any]:
        """Return the value for one example and its gradient.

        It is what SciPy takes: `scipy.optimize.minimize(f.value_and_grad, x0, jac=True)`.

        Args:
            args, kwargs: the arguments of one example.

        Returns:
            A float, and the gradients of the arguments: floats and float64 arrays. If one argument is not static, its
            gradient; else a tuple with an entry for each argument given, in the order of the function's parameters,
            None for a static one.

        Raises:
            ValueError: the function returns something other than one Value.
        """
        given, names = self._quick(args, kwargs)
        found = self._latest.value_and_grad(given, names)
        if found is not None:
            return found
        if is_tracing():
            refuse("f.value_and_grad")
        if is_detecting():
            return anomalies.checked(self, "value_and_grad", args, kwargs)
        given, names = self._arguments.given(args, kwargs)
        pattern, example = pattern_of(given), Example(given)
        recording = self._recording(example, given, names)
        recording.require_one_output()
        self._latest.add(recording, pattern, names)
        sums, _, _, (grads,) = recording.program.run((example.row(),), [1.0], False, True)
        return sums[0], for_one(recording.gradients(grads[0], given), given)

    def map_value_and_grad(self, *args: Any, **kwargs: Any) -> tuple[NDArray[np.float64], Any]:
        """Return values and gradients for each example of a batch.

        Args:
            args, kwargs: the arguments with one more axis in front, for the examples; static and shared ones as they
                are.

        Returns:
            float64 of shape (n,), and the gradients of the arguments, arrays of their shapes with the axis for the
            examples, those of shared ones too; for which and in which order, see `value_and_grad`.
        """
        chunks = chunked(self, args, kwargs)
        if chunks is not None:
            return chunks.map_value_and_grad()
        if is_detecting():
            return anomalies.checked(self, "map_value_and_grad", args, kwargs)
        given, names = self._arguments.given(args, kwargs)
        shared = self._arguments.shared_in(len(given), names)
        if shared:      # each example has a gradient of its own
            n = Batch(given, shared).n
            given = tuple([repeated(a, n) if i in shared else a for i, a in enumerate(given)])
        batch = Batch(given)
        recording = self._recording(Example(batch.first), batch.first, names)
        recording.require_one_output()
        _, values, _, grads = recording.program.run(batch.arrays, [1.0], True, True, with_sums=False)
        return values[:, 0], for_one(batch.gradients(grads), given)

    def mean_value_and_grad(self, *args: Any, **kwargs: Any) -> tuple[float, Any]:
        """Return the mean over a batch and the gradient of the shared arguments.

        It is what SciPy takes: `scipy.optimize.minimize(f.mean_value_and_grad, theta, args=(X, Y), jac=True)` with
        `compile(f, shared=("theta",))`.

        Args:
            args, kwargs: the arguments with one more axis in front, for the examples; static and shared ones as they
                are.

        Returns:
            A float, and the gradient of the shared argument, of its shape; for several, a tuple of them in the order of
            the function's parameters.

        Raises:
            ValueError: no argument is shared; the function returns something other than one Value.
        """
        return self._total_and_grad(args, kwargs, "mean_value_and_grad")

    def sum_value_and_grad(self, *args: Any, **kwargs: Any) -> tuple[float, Any]:
        """Return the sum over a batch and the gradient of the shared arguments. See `mean_value_and_grad`."""
        return self._total_and_grad(args, kwargs, "sum_value_and_grad")

    def program(self, *args: Any, **kwargs: Any) -> Program:
        """Return the Program for the arguments of one example; `print` shows its steps."""
        if is_tracing():
            refuse("f.program")
        given, names = self._arguments.given(args, kwargs)
        return self._recording(Example(given), given, names).program

    def clear(self) -> None:
        """Forget all recordings; each is made anew when it is needed."""
        self._recordings.clear()
        self._latest = Latest(self._recordings)

    def _quick(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], tuple[str, ...]]:
        """Return arguments as `Latest` takes them: what `Arguments.given` returns, where that is not the same."""
        return self._arguments.given(args, kwargs) if kwargs or self._arguments.static else (args, ())

    def _total(self, args: tuple[Any, ...], kwargs: dict[str, Any], mean: bool) -> Any:
        found = self._latest.total(*self._quick(args, kwargs), mean)
        if found is not None:
            return found
        chunks = chunked(self, args, kwargs)
        if chunks is not None:
            return chunks.total(mean)
        if is_detecting():
            return anomalies.checked(self, "mean" if mean else "sum", args, kwargs)
        recording, arrays, n, values, shared = self._batch(args, kwargs)
        return recording.rebuild(recording.program.totals(arrays, 1 / n if mean else 1.0, values, shared))

    def _total_and_grad(self, args: tuple[Any, ...], kwargs: dict[str, Any], name: str) -> tuple[float, Any]:
        found = self._latest.total_and_grad(*self._quick(args, kwargs), name == "mean_value_and_grad")
        if found is not None:
            return found
        given, names = self._arguments.given(args, kwargs)
        shared = self._arguments.shared_in(len(given), names)
        if not shared:
            wanted = "is given" if self._arguments.shared else "is there: compile(f, shared=('theta',)) says which"
            raise ValueError(f"{name} returns the gradient of shared arguments, and none {wanted}")
        chunks = chunked(self, args, kwargs)
        if chunks is not None:
            return chunks.total_and_grad(name == "mean_value_and_grad")
        if is_detecting():
            return anomalies.checked(self, name, args, kwargs)
        recording, arrays, n, _, example = self._batch(args, kwargs)
        recording.require_one_output()
        factor = 1 / n if name == "mean_value_and_grad" else 1.0
        (total,), _, grads, _ = recording.program.run(arrays, [factor], False, False, example)
        grads, theta = grads[: recording.program.shared_count], tuple([given[i] for i in sorted(shared)])
        return total * factor, for_one(gradients_in(grads, layout_of(theta)), theta)

    def _batch(
        self, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[Recording, tuple[np.ndarray, ...], int, list[Any] | None, Example | None]:
        """Return the recording for a batch, its arrays, how many examples it has, its Values, and what is shared."""
        given, names = self._arguments.given(args, kwargs)
        shared = self._arguments.shared_in(len(given), names)
        theta = tuple([given[i] for i in sorted(shared)])
        example = Example(theta) if shared else None
        varying = tuple([a for i, a in enumerate(given) if i not in shared])
        arrays = tuple([a for a in varying if not is_static(a)])
        plain = plain_batch(arrays)
        if plain is None:
            batch = Batch(given, shared)
            return self._of_batch(batch, names, shared), batch.arrays, batch.n, batch.values, example
        key, found, n = plain
        if names or len(arrays) < len(given):
            static = [(i, Static(a)) for i, a in enumerate(given) if i not in shared and is_static(a)]
            key = key, tuple(static), None if example is None else example.key, names, shared
        patterns = None
        if all(a is b for a, b in zip(found, arrays, strict=True)):
            patterns = pattern_of(tuple([a if is_static(a) else a[0] for a in varying])), pattern_of(theta)
        recording = self._recordings.find(key)
        if recording is None:
            recording = self._of_batch(Batch(given, shared), names, shared)
            self._recordings.also(key, recording)
        if patterns is not None and None not in patterns:
            self._latest.add(recording, patterns[0], names, shared, patterns[1] if shared else None)
        return recording, found, n, None, example

    def _of_batch(self, batch: Batch, names: tuple[str, ...], shared: frozenset[int]) -> Recording:
        """Return the recording for the first example of a batch, in which some arguments may be shared."""
        return self._known_of_batch(batch, names, shared) or self._recordings.record(
            _batch_key(batch, names, shared), batch.first, names, shared
        )

    def _known_of_batch(self, batch: Batch, names: tuple[str, ...], shared: frozenset[int]) -> Recording | None:
        return self._recordings.find(_batch_key(batch, names, shared))

    def _find(self, example: Example, names: tuple[str, ...]) -> Recording | None:
        return self._recordings.find(_key(example, names))

    def _recording(self, example: Example, args: tuple[Any, ...], names: tuple[str, ...]) -> Recording:
        """Return the recording for an example."""
        return self._find(example, names) or self._recordings.record(_key(example, names), args, names)

    def __getstate__(self) -> dict[str, Any]:
        """Return what a copy has: a recording belongs to the parameters that it was made with."""
        recordings = self._recordings.emptied()
        return {**self.__dict__, "_recordings": recordings, "_latest": Latest(recordings)}

    def __copy__(self) -> Self:
        made = type(self).__new__(type(self))
        made.__dict__.update(self.__getstate__())
        return made

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        memo[id(self)] = made = type(self).__new__(type(self))
        made.__dict__.update(deepcopy(self.__getstate__(), memo))
        return made

    def __reduce_ex__(self, protocol: SupportsIndex) -> Any:
        """Return what is pickled: the function's name, and what it does, for where nothing has that name."""
        module, qualname = getattr(self, "__module__", None), getattr(self, "__qualname__", None)
        leads_here = name_leads_to(module, qualname, self)
        carried = carried_recordings(self._recordings)
        by_value = not leads_here or (module == "__main__" and is_for_cloudpickle())
        if not carried and by_value:    # the function itself, if it can be pickled
            return object.__reduce_ex__(self, protocol)
        settings = {
            "lanes": self._recordings.lanes,
            "recordings": self._recordings.limit,
            "static": self._named[0],
            "shared": self._named[1],
        }
        if not leads_here:
            module = None
        return _find_or_make, (type(self), module, qualname, names_of(self._f, self), settings, carried)

    def rejoin(self, owner: Any) -> None:
        """Be a method of an object again, if this was one and was pickled with the object, which has come back now."""
        method = method_of(self._f, owner, self._recordings)
        if method is not None:
            recordings = self._recordings
            update_wrapper(self, method, updated=())
            self._f, self._arguments = method, Arguments(method, *self._named)
            self._recordings = Recordings(method, recordings.lanes, recordings.limit)
            self._latest = Latest(self._recordings)

    @never_fails
    def __repr__(self) -> str:
        return f"<compiled {getattr(self._f, '__qualname__', self._f)}>"

    def _repr_html_(self) -> str | None:
        return in_a_cell(lambda: page_of_function(self, self._recordings))

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        advice = "self.loss = microgradc.compile(self.loss) in __init__"
        raise TypeError(f"compile methods of an object, not of a class: {advice}")


def _find_or_make(
    cls: type[Compiled[..., Any]],
    module: str | None,
    qualname: str,
    names: dict[str, Any],
    settings: dict[str, Any],
    carried: list[Carried],
) -> Compiled[..., Any]:
    """Return the compiled function that was pickled: what has its name, or one that does what the recordings do."""
    found = named(module, qualname)
    if isinstance(found, Compiled):
        return found
    if not carried:
        raise AttributeError(
            f"there is no compiled function {qualname} in the module {module} of this process, and it was pickled "
            "without recordings, which would do in its place: call it once before it is pickled"
        )
    made = cls.__new__(cls)
    f = Absent({**names, "static": settings["static"]})
    Compiled.__init__(made, f, **settings)
    made._recordings = CarriedRecordings(f, settings["lanes"], settings["recordings"], carried)
    made._latest = Latest(made._recordings)
    return made


def _batch_key(batch: Batch, names: tuple[str, ...], shared: frozenset[int]) -> Any:
    """Return the key of the recording for the first example of a batch."""
    key = _key(Example(batch.first), names)
    return (*key[:2], names, shared) if shared else key


def _key(example: Example, names: tuple[str, ...]) -> Any:
    """Return the key of the recording for an example, the last arguments of which have names."""
    return (*example.key, names) if names else example.key
