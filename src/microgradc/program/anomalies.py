"""What a compiled function does within `detect_anomaly()`: where it gives a number that is not finite, the one bad
example is called again as plain Python, which finds the operation and the line. Where a derivative is not finite, it is
made of Values: each of these knows of which operation it is a derivative."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from microgradc import checks, trees
from microgradc.engine import AnomalyError, Value, topological_sort
from microgradc.engine.value import anomaly_at, detect_anomaly, noting_places, operations_of, set_origin, undetected
from microgradc.program.arguments import STATIC, call, is_static, unwrapped
from microgradc.program.batch import BATCHES, Batch
from microgradc.program.layouts import LEAVES
from microgradc.program.plain_calls import without_values

_OF_ONE = ("__call__", "value_and_grad")     # the methods that take one example


def checked(compiled: Any, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Return what a method of a compiled function returns.

    Args:
        compiled: a Compiled.
        name: of its method.
        args, kwargs: its arguments.

    Raises:
        AnomalyError: a number that it returns is not finite; in `backward()`, a gradient.
    """
    with undetected():
        found = getattr(compiled, name)(*args, **kwargs)

    def replay() -> None:
        _replay(compiled, name, args, kwargs)

    leaves = trees.flatten(found, STATIC)[0]
    if not all(map(_is_finite, leaves)):
        replay()
    set_origin([leaf for leaf in leaves if isinstance(leaf, Value)], replay)
    return found


def _is_finite(leaf: Any) -> bool:
    number = leaf.data if isinstance(leaf, Value) else leaf
    return not isinstance(number, float) or math.isfinite(number)


def _replay(compiled: Any, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    """Call the function as it is with the numbers of the bad example, and raise what that finds; or that it is the
    compiled function alone that has such numbers."""
    given, names = compiled._arguments.given(args, kwargs)
    where, example = "", given
    if name not in _OF_ONE:
        shared = compiled._arguments.shared_in(len(given), names)
        with undetected():
            i = _first_bad(compiled, args, kwargs)
        n = Batch(given, shared).n
        if i is None:
            raise AnomalyError(f"{_shown(compiled)}: a sum over its {n} examples is not finite, and each of them is")
        where = f"\n  in example {i} of {n}"
        only = [a if k in shared else trees.map_leaves(_from(i), a, BATCHES) for k, a in enumerate(given)]
        example = Batch(tuple(only), shared).first
    where = f"{where}\n  in {_shown(compiled)}, which was called again as it is"
    with _told(where):
        _call_plainly(compiled._f, example, names)
    raise _only_compiled(compiled, "a number", where)


@contextmanager
def _told(where: str) -> Iterator[None]:
    """Say in the error which example it was, and of which function."""
    try:
        yield
    except AnomalyError as error:
        error.args = (f"{error}{where}",)
        raise


def _only_compiled(compiled: Any, what: str, where: str) -> AnomalyError:
    return AnomalyError(
        f"{_shown(compiled)} gives {what} that is not finite, and called as it is, it does not: numbers near the "
        f"ends of the range are rounded another way{where}"
    )


def _from(i: int) -> Callable[[Any], Any]:
    return lambda leaf: leaf if is_static(leaf) else leaf[i : i + 1]


def _shown(compiled: Any) -> str:
    return f"the compiled function {getattr(compiled, '__qualname__', compiled)}"


def _first_bad(compiled: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> int | None:
    """Return the first example whose results or gradients are not finite."""
    recording, arrays, n, _, shared = compiled._batch(args, kwargs)
    run, seeds = recording.program.run, [1.0] * recording.program.output_count
    _, outputs, _, input_grads = run(arrays, seeds, True, True, shared)
    bad = [~np.isfinite(a.reshape(n, -1)).all(axis=1) for a in (outputs, *input_grads)]
    found = np.flatnonzero(np.logical_or.reduce(bad))
    if len(found):
        return int(found[0])
    for i in range(n):
        _, _, grads, _ = run(tuple([a[i : i + 1] for a in arrays]), seeds, False, False, shared)
        if not np.isfinite(grads).all():
            return i
    return None


# Derivatives


def derivatives(
    compiled: Any, args: tuple[Any, ...], find: Callable[[tuple[Any, ...], bool], Any], sparse: bool = False
) -> Any:
    """Return derivatives of a compiled function.

    Args:
        compiled: a Compiled.
        args: its arguments, which are numbers.
        find: returns the derivatives for arguments, sparse or not; for Values, Values.
        sparse: what find gets.

    Raises:
        AnomalyError: a number among them is not finite.
    """
    with undetected():
        found = find(args, sparse)
    if not _are_finite(found):
        given, names = compiled._arguments.given(args, {})
        _replay_derivatives(compiled, given, names, lambda values: _values_in(find(tuple(values), False)), "")
    return found


def derivatives_of_batch(
    compiled: Any,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    find: Callable[[tuple[Any, ...], dict[str, Any]], Any],
    again: Callable[[Value, list[Value]], Iterable[Value]],
    parameters: Iterable[Value] | None,
) -> Any:
    """Return derivatives over a batch with respect to parameters, or shared arguments.

    Args:
        compiled: a Compiled.
        args, kwargs: its arguments.
        find: returns the derivatives for arguments.
        again: returns the same as Values, of a result with respect to some Values.
        parameters: with respect to which ones, if they were named.

    Raises:
        AnomalyError: a number among them is not finite.
    """
    with undetected():
        found = find(args, kwargs)
        if _are_finite(found):
            return found
        given, names = compiled._arguments.given(args, kwargs)
        shared = compiled._arguments.shared_in(len(given), names)
        n = Batch(given, shared).n
        for i in range(n):
            only = tuple([a if k in shared else trees.map_leaves(_from(i), a, BATCHES) for k, a in enumerate(given)])
            count = len(only) - len(names)
            if not _are_finite(find(only[:count], dict(zip(names, only[count:], strict=True)))):
                break
        else:
            raise AnomalyError(f"{_shown(compiled)}: a derivative of a sum over its {n} examples is not finite, and "
                               "that of each of them is")
        recording = compiled._batch(args, kwargs)[0]
        chosen = None if shared and parameters is None else compiled._chosen(recording, parameters)

    def made(values: list[Any]) -> Iterable[Value]:
        (y,) = _values_in(call(compiled._f, values, names))
        leaves = trees.flatten([values[k] for k in sorted(shared)])[0] if chosen is None else chosen
        return again(y, [leaf for leaf in leaves if isinstance(leaf, Value)])

    _replay_derivatives(compiled, Batch(only, shared).first, names, made, f"\n  in example {i} of {n}")
    return found


def _replay_derivatives(
    compiled: Any, example: tuple[Any, ...], names: tuple[str, ...], made: Callable[[list[Any]], Iterable[Value]],
    where: str,
) -> None:
    """Make derivatives of Values, and raise what is not finite on the way to one that is not."""
    where = f"{where}\n  in {_shown(compiled)}, which was called again as it is"
    with _told(where):
        _call_plainly(compiled._f, example, names)
        ways = [_as_values(example, compiled._f, integers) for integers in (False, True)]
        with undetected(), noting_places():
            for y in _first_that_works(ways, made):
                bad = _first_not_finite(y)
                if bad is not None:
                    raise anomaly_at(bad)
    raise _only_compiled(compiled, "a derivative", where)


def _first_not_finite(y: Value) -> Value | None:
    """Return the first operation on the way to y whose result is not finite; None if y is finite.

    What does not reach it, such as the other branch of a `where`, may be what it is.
    """
    if math.isfinite(y.data):
        return None
    reached, first = {id(y)}, None
    for node, op, operands, *_ in reversed(operations_of(y)):
        if id(node) in reached and op != "leaf":
            bad = [x for x in operands if isinstance(x, Value) and not math.isfinite(x.data)]
            reached.update(map(id, bad))
            if all(not x._children for x in bad):
                first = node
    return first


def _values_in(nest: Any) -> list[Value]:
    return [leaf for leaf in trees.flatten(nest)[0] if isinstance(leaf, Value)]


def _are_finite(found: Any) -> bool:
    """Return whether all numbers of a nest of arrays and sparse matrices are finite."""
    leaves = trees.flatten(found, (np.ndarray,))[0]
    return all(np.isfinite(getattr(leaf, "data", leaf) if hasattr(leaf, "indptr") else leaf).all() for leaf in leaves)


# What is called again


def _first_that_works(ways: list[list[Any]], f: Callable[[list[Any]], Any]) -> Any:
    """Return what f returns for the first of some ways to say the same arguments that it can take."""
    for k, way in enumerate(ways):
        try:
            return f(way)
        except AnomalyError:
            raise
        except Exception:      # an integer that is no index may have to be a Value
            if k == len(ways) - 1:
                raise
    return None


def _call_plainly(f: Callable[..., Any], example: tuple[Any, ...], names: tuple[str, ...]) -> None:
    """Call f with Values in place of numbers, and `backward()` on what it returns; no `.grad` stays changed."""
    ways = [_as_values(example, f, integers=False), _as_values(example, f, integers=True)]
    with detect_anomaly():
        returned = _first_that_works(ways, lambda way: call(f, way, names))
        for root in [leaf for leaf in trees.flatten(returned, STATIC)[0] if isinstance(leaf, Value)]:
            leaves = [v for v in topological_sort(root) if not v._children]
            before = [v.grad for v in leaves]
            try:
                root.backward()
            finally:
                for v, grad in zip(leaves, before, strict=True):
                    v.grad = grad


def _as_values(example: tuple[Any, ...], f: Callable[..., Any], integers: bool) -> list[Any]:
    """Return the arguments with Values in place of numbers, whose labels say which they are."""
    code = getattr(f, "__code__", None)
    known = code.co_varnames[: code.co_argcount] if code is not None else ()
    made = []
    for i, argument in enumerate(example):
        name = known[i] if i < len(known) else f"argument {i}"
        plain = trees.map_leaves(_plain, argument, LEAVES)
        leaves, shape = trees.flatten(plain, STATIC)
        places: Iterator[str] = iter([name] if shape == trees.LEAF else [f"{name}[{k}]" for k in range(len(leaves))])
        made.append(trees.unflatten(shape, [_as_value(leaf, next(places), integers) for leaf in leaves]))
    return made


def _plain(leaf: Any) -> Any:
    return leaf if isinstance(leaf, Value) else without_values(leaf)


def _as_value(leaf: Any, name: str, integers: bool) -> Any:
    if isinstance(leaf, Value):
        return leaf
    if is_static(leaf):
        return unwrapped(leaf)
    if checks.as_integer(leaf) is not None and not integers:
        return leaf
    return Value(leaf, label=name)
