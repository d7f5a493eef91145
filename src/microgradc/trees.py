"""Nests of lists, dicts, arrays and the like: taken apart into leaves and a shape, and put together again.

`flatten` and `unflatten` are for any nest. What follows them is for the most frequent one, lists of lists of numbers
with rows of one length: `entries`, `nest`, `rows` and `place`, which says in an error where an entry is.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from math import prod
from typing import Any, NamedTuple

from microgradc.engine.value import Value, array_of

_ATOMS = frozenset({Value, float, int, bool, complex, str, bytes, type(None)})    # classes of most leaves


class Step(NamedTuple):
    """A container of a nest: its class, how many entries it has, and what else it takes to make it again."""

    kind: type
    size: int
    detail: tuple[Any, ...] = ()   # the keys of a dict, the fields of a dataclass, the shape and dtype of an array


class Shape(NamedTuple):
    """All of a nest but its leaves. Shapes can be compared, hashed and pickled.

    It is flat, so that no depth of a nest exhausts the stack.
    """

    steps: tuple[Step | None, ...]   # the containers, each before its entries; None for a leaf
    leaf_count: int

    def __repr__(self) -> str:
        return f"<shape of {self.leaf_count} leaves in {len(self.steps) - self.leaf_count} containers>"


LEAF = Shape((None,), 1)   # the shape of what is not a container


def flatten(x: Any, leaf_types: tuple[type, ...] = ()) -> tuple[list[Any], Shape]:
    """Take a nest apart.

    Containers are lists, tuples, namedtuples, dicts, instances of dataclasses, and NumPy arrays of numbers or objects.
    Everything else is a leaf: a number, a Value, a string, None. The order is that of reading: a dict in the order in
    which its keys were added, a dataclass in that of its fields, an array row by row. Entries of an array of numbers
    are leaves of Python's types.

    Args:
        x: the nest, of any depth. The same container may be in several places.
        leaf_types: classes of containers that are to be leaves all the same.

    Returns:
        The leaves, and the shape for `unflatten`.

    Raises:
        ValueError: a container contains itself.

    >>> leaves, shape = flatten({"w": [1.0, 2.0], "b": (3.0, None)})
    >>> leaves
    [1.0, 2.0, 3.0, None]
    >>> unflatten(shape, "abcd")
    {'w': ['a', 'b'], 'b': ('c', 'd')}
    """
    if type(x) in _ATOMS or isinstance(x, leaf_types):
        return [x], LEAF
    leaves: list[Any] = []
    steps: list[Step | None] = []
    array_type = _array_type()
    # The containers around, and what is still to be read of each.
    path: list[tuple[Any, Iterator[Any]]] = [(None, iter((x,)))]
    around: set[int] = set()
    while path:
        for thing in path[-1][1]:
            is_leaf = type(thing) in _ATOMS or isinstance(thing, leaf_types)
            opened = None if is_leaf else _open(thing, array_type)
            if opened is None:
                leaves.append(thing)
                steps.append(None)
                continue
            if id(thing) in around:
                raise ValueError(f"a nest must end, got a {type(thing).__name__} that contains itself")
            step, children = opened
            steps.append(step)
            path.append((thing, iter(children)))
            around.add(id(thing))
            break
        else:
            around.discard(id(path.pop()[0]))
    return leaves, Shape(tuple(steps), len(leaves))


def unflatten(shape: Shape, leaves: Iterable[Any], make_list: Callable[[list[Any]], Any] | None = None) -> Any:
    """Put a nest together: undo `flatten`, or make a nest of the same shape with other leaves.

    Containers are new ones. A namedtuple is of its class; any other subclass of list, tuple, dict or array comes back
    as the plain type. A dataclass is made as by `copy.copy`: neither `__init__` nor `__post_init__` runs, and the
    fields are set, those with `init=False` and those of a frozen class too; attributes that are not fields are lost. An
    array of numbers has the dtype that it had if the leaves are of the type that `flatten` gives for it (float for
    float32, say), and otherwise holds them as objects.

    Args:
        shape: what `flatten` returned.
        leaves: as many as the shape has.
        make_list: what to call for each list with its entries; by default, it stays a list.

    Raises:
        ValueError: there are more or fewer leaves.
    """
    leaves = list(leaves)
    if len(leaves) != shape.leaf_count:
        raise ValueError(f"there must be {shape.leaf_count} leaves for this shape, got {len(leaves)}")
    if shape is LEAF:
        return leaves[0]
    made: list[Any] = []    # read from its end, the shape has the entries of a container before it
    for step in reversed(shape.steps):
        if step is None:
            made.append(leaves.pop())
            continue
        start = len(made) - step.size
        contents = made[start:]
        contents.reverse()
        del made[start:]
        if step.kind is list:
            made.append(contents if make_list is None else make_list(contents))
        else:
            made.append(_close(step, contents))
    return made[0]


def map_leaves(f: Callable[[Any], Any], x: Any, leaf_types: tuple[type, ...] = ()) -> Any:
    """Return a nest of the same shape with f(leaf) in place of each leaf. See `flatten`.

    >>> map_leaves(str, [1, {"a": (2, 3)}])
    ['1', {'a': ('2', '3')}]
    """
    leaves, shape = flatten(x, leaf_types)
    return unflatten(shape, map(f, leaves))


def _array_type() -> Any:
    """Return the class of arrays for isinstance; where NumPy is not imported, there are none."""
    return getattr(sys.modules.get("numpy"), "ndarray", ())


def _open(x: Any, array_type: Any) -> tuple[Step, Iterable[Any]] | None:
    """Return what kind of container x is, and its entries; None for a leaf."""
    kind = type(x)
    if isinstance(x, (list, tuple)):
        entries = list(x)
        plain = list if isinstance(x, list) else kind if hasattr(kind, "_fields") else tuple
        return Step(plain, len(entries)), entries
    if isinstance(x, dict):
        items = dict(x)
        return Step(dict, len(items), tuple(items)), items.values()
    if isinstance(x, array_type):
        if x.dtype.kind not in "biufcO":   # dates, texts and records
            return None
        array = sys.modules["numpy"].asarray(x)
        return Step(array_type, array.size, (array.shape, array.dtype)), array.ravel().tolist()
    if hasattr(kind, "__dataclass_fields__"):
        from dataclasses import fields

        names = tuple(field.name for field in fields(x) if hasattr(x, field.name))
        return Step(kind, len(names), names), [getattr(x, name) for name in names]
    return None


def _close(step: Step, contents: list[Any]) -> Any:
    """Return a container of that kind, which is not a list, with these entries."""
    kind, detail = step.kind, step.detail
    if kind is tuple:
        return tuple(contents)
    if kind is dict:
        return dict(zip(detail, contents, strict=True))
    if issubclass(kind, tuple):
        return kind._make(contents)  # type: ignore[attr-defined]
    if hasattr(kind, "__dataclass_fields__"):
        instance = kind.__new__(kind)
        for name, entry in zip(detail, contents, strict=True):
            object.__setattr__(instance, name, entry)
        return instance
    return _array(detail[0], detail[1], contents)


def _array(shape: tuple[int, ...], dtype: Any, contents: list[Any]) -> Any:
    import numpy as np

    if dtype.kind != "O" and set(map(type, contents)) <= {type(dtype.type(0).item())}:
        return np.array(contents, dtype).reshape(shape)
    array = np.empty(len(contents), object)
    for i, entry in enumerate(contents):   # at once, NumPy would look into entries that are lists
        array[i] = entry
    return array.reshape(shape)


def entries(x: Any, name: str) -> tuple[list[Any], tuple[int, ...]]:
    """Return the entries of a nest of rows of one length, one after another, and its shape, as an array has one.

    Args:
        x: a list, tuple, generator, array, frame, series or tensor, of entries or of further rows, by position; or a
            single entry, whose shape is (). Numbers in an array come as Python's.
        name: what it is called in errors.

    Raises:
        ValueError: rows differ in length, or are masked.
        TypeError: there is an entry among rows, or what `array_of` refuses.

    >>> entries([[1, 2, 3], (4, 5, 6)], "x")
    ([1, 2, 3, 4, 5, 6], (2, 3))
    """
    found: list[Any] = [x]
    shape: tuple[int, ...] = ()
    array = array_of(x, name)
    if array is not None:
        found, shape = array.ravel().tolist(), array.shape
    while found and _is_row(found[0]):
        lists = [_read_row(row, name, i, shape) for i, row in enumerate(found)]
        length = len(lists[0])
        for i, row in enumerate(lists):
            if len(row) != length:
                first, other = place(name, 0, shape), place(name, i, shape)
                raise ValueError(
                    f"{name} must have rows of one length, got {length} in {first} and {len(row)} in {other}"
                )
        found = list(chain.from_iterable(lists))
        shape += (length,)
    return found, shape


def nest(entries: list[Any], shape: tuple[int, ...]) -> Any:
    """Return nested lists of that shape, which is not empty: undo `entries`."""
    for length in reversed(shape[1:]):
        entries = rows(entries, length)
    return entries if shape else entries[0]


def rows(entries: list[Any], length: int) -> list[list[Any]]:
    """Return the entries as rows of that length."""
    return [entries[i : i + length] for i in range(0, len(entries), length)]


def place(name: str, i: int, shape: tuple[int, ...]) -> str:
    """Return what one writes in Python for entry i of a nest.

    >>> place("x", 5, (2, 3))
    'x[1][2]'
    """
    for k in range(len(shape)):
        name += f"[{i // prod(shape[k + 1 :]) % shape[k]}]"
    return name


def _is_row(x: Any) -> bool:
    iterable = hasattr(x, "__iter__") or hasattr(x, "__array__")
    return iterable and not isinstance(x, (str, bytes, dict, set)) and getattr(x, "ndim", 1) > 0


def _read_row(row: Any, name: str, i: int, shape: tuple[int, ...]) -> list[Any]:
    if not _is_row(row):
        got = f"{type(row).__name__} {row!r:.40}"
        raise TypeError(f"{place(name, i, shape)} must be a row, as {place(name, 0, shape)} is, got {got}")
    array = array_of(row, place(name, i, shape))
    # tolist gives Python's numbers, which are read faster
    return list(row) if array is None else array.tolist()
