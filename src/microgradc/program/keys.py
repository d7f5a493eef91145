"""Keys of recordings, read: what arguments looked like, as a shape and its leaves, in words, and without classes."""

from __future__ import annotations

import re
import weakref
from collections import namedtuple
from collections.abc import Callable, Iterable
from functools import cache
from itertools import islice
from keyword import iskeyword
from typing import Any, NamedTuple

import numpy as np

from microgradc import trees

# As Example has it; where there are such, the names of the last arguments, and which are shared.
Key = tuple[Any, ...]

_TOKEN = re.compile(rb"a([0-9x]*)([if])|([if])|([\[({<])|s|[\])}>]")
_KINDS = {b"[": list, b"(": tuple, b"{": dict}
_LONGEST = 200      # characters in words
_RECORDS: set[Any] = set()


class Leaf(NamedTuple):
    """What stands where the shape of arguments has a leaf: a number, or an array of them."""

    shape: tuple[int, ...] | None    # None for a number
    is_integer: bool

    @property
    def size(self) -> int:
        """How many numbers there are."""
        size = 1
        for length in self.shape or ():
            size *= length
        return size

    def zeros(self) -> Any:
        """Return something that looks like this."""
        if self.shape is None:
            return 0 if self.is_integer else 0.0
        return np.zeros(self.shape, np.int64 if self.is_integer else float)


class Fixed(NamedTuple):
    """What stands where there is something static."""

    value: Any

    @property
    def size(self) -> int:
        """How many numbers there are."""
        return 0

    def zeros(self) -> Any:
        """Return the same: it belongs to what arguments look like."""
        return self.value


class Layout(NamedTuple):
    """What arguments look like: a tuple of them as `trees.flatten` has it, and its leaves. Arrays are leaves."""

    shape: trees.Shape
    leaves: list[Any]       # each a Leaf or Fixed

    def arguments(self) -> tuple[Any, ...]:
        """Return arguments that look like this, of zeros."""
        found: tuple[Any, ...] = trees.unflatten(self.shape, [leaf.zeros() for leaf in self.leaves])
        return found

    def each(self) -> list[Layout]:
        """Return the layout of each argument, a tuple of one entry."""
        found = []
        steps, leaves = self.shape.steps[1:], iter(self.leaves)
        start = 0
        for _ in range(_size_of(self.shape.steps[0])):
            end, waiting = start, 1
            while waiting:
                waiting += _size_of(steps[end]) - 1
                end += 1
            count = steps[start:end].count(None)
            shape = trees.Shape((trees.Step(tuple, 1), *steps[start:end]), count)
            found.append(Layout(shape, list(islice(leaves, count))))
            start = end
        return found


class ClassName(NamedTuple):
    """What stands for a class in a key that has left its process: the fields come after it."""

    name: str


def layout_of(key: Key) -> Layout:
    """Return what arguments of a key look like.

    Raises:
        ReferenceError: a class or an object among the keys of dicts is gone.
    """
    tokens = list(_TOKEN.finditer(key[0]))
    sizes, open_ones = [0] * len(tokens), [-1]
    top = 0
    for i, token in enumerate(tokens):
        if token[0] in b"])}>":
            open_ones.pop()
            continue
        if open_ones[-1] < 0:
            top += 1
        else:
            sizes[open_ones[-1]] += 1
        if token[4]:
            open_ones.append(i)
    names = iter(key[1])
    steps: list[trees.Step | None] = [trees.Step(tuple, top)]
    leaves: list[Leaf | Fixed] = []
    for size, token in zip(sizes, tokens, strict=True):
        if token[3]:
            leaves.append(Leaf(None, token[3] == b"i"))
            steps.append(None)
        elif token[2]:
            leaves.append(Leaf(tuple(map(int, token[1].split(b"x"))), token[2] == b"i"))
            steps.append(None)
        elif token[0] == b"s":
            leaves.append(Fixed(next(names)))
            steps.append(None)
        elif token[0] == b"{":
            steps.append(trees.Step(dict, size, tuple(map(object_of, islice(names, size)))))
        elif token[0] == b"<":
            steps.append(_record_step(object_of(next(names)), size, names))
        elif token[4]:
            steps.append(trees.Step(_KINDS[token[4]], size))
    return Layout(trees.Shape(tuple(steps), len(leaves)), leaves)


def plain(key: Key) -> Key:
    """Return a key in which the names of classes and of their fields stand for classes.

    Raises:
        ReferenceError: see `layout_of`.
    """
    if b"<" not in key[0]:
        return key
    names: list[Any] = []
    given = iter(key[1])
    layout = layout_of(key)
    leaves = iter(layout.leaves)
    for step in layout.shape.steps:
        if step is None:
            if isinstance(next(leaves), Fixed):
                names.append(next(given))
            continue
        if step.kind in (tuple, list):
            continue
        if step.kind is dict:
            names += islice(given, step.size)
            continue
        first, fields = next(given), fields_of(step)
        if isinstance(first, ClassName) or not hasattr(step.kind, "_fields"):
            next(islice(given, step.size, step.size), None)
        names += [ClassName(step.kind.__name__), *fields]
    return key[0], tuple(names), *key[2:]


def takes(known: Key, given: Key) -> bool:
    """Return whether a recording for arguments of the known key does for those of the given one: integers do where it
    has numbers."""
    return known[1:] == given[1:] and len(known[0]) == len(given[0]) and all(
        x == y or (x == ord("f") and y == ord("i")) for x, y in zip(known[0], given[0], strict=True)
    )


def in_words(key: Key) -> str:
    """Return what arguments look like.

    >>> in_words((b"fia2x3f[fff]{ff}", ("x", "y")))
    "number, integer, array(2, 3), [number, number, number], {'x': number, 'y': number}"
    >>> in_words((b"ffs", (None,), ("y", "kind"), frozenset([0])))
    'shared number, y=number, kind=None'
    """
    try:
        shape, leaves = layout_of(key)
    except ReferenceError:
        return "objects that are gone"
    made: list[str] = []
    rest = list(leaves)
    for step in reversed(shape.steps[1:]):
        if step is None:
            leaf = rest.pop()
            if isinstance(leaf, Fixed):
                made.append(f"{getattr(leaf.value, 'value', leaf.value)!r:.40}")
                continue
            kind = "integer" if leaf.is_integer else "number"
            inside = ", ".join(map(str, leaf.shape or ()))
            made.append(kind if leaf.shape is None else f"{'integer ' * leaf.is_integer}array({inside})")
            continue
        start = len(made) - step.size
        parts = made[start:][::-1]
        del made[start:]
        made.append(_container_in_words(step, parts))
    made.reverse()
    names, shared = (*key[2:], (), ())[:2]
    for i, name in enumerate(names, len(made) - len(names)):
        made[i] = f"{name}={made[i]}"
    text = ", ".join([f"shared {part}" if i in shared else part for i, part in enumerate(made)])
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"


def record_class(name: str, fields: Iterable[str]) -> Any:
    """Return the class of namedtuples of that name and with these fields: always the same one.

    Raises:
        ValueError: they are not names that a namedtuple can have.
    """
    return _record_class(name, tuple(fields))


def make_record(name: str, fields: tuple[str, ...], entries: tuple[Any, ...]) -> Any:
    """Return a namedtuple of such a class. For pickle."""
    return record_class(name, fields)(*entries)


def is_made(kind: Any) -> bool:
    """Return whether a class was made by `record_class`, so that no module has it."""
    return kind in _RECORDS


def fields_of(step: trees.Step) -> tuple[str, ...]:
    """Return the names of the fields of a namedtuple or a dataclass."""
    return step.detail or getattr(step.kind, "_fields", ())


def object_of(name: Any) -> Any:
    """Return what a name stands for, in the words of `name_of` in examples.pxi.

    Raises:
        ReferenceError: it is gone.
    """
    if type(name) is tuple:
        return tuple(map(object_of, name))
    if not isinstance(name, weakref.ref):
        return name
    found = name()
    if found is None:
        raise ReferenceError("a class or an object that arguments were made of is gone")
    return found


def map_names(f: Callable[[Any], Any], key: Key) -> Key:
    """Return a key with f(name) in place of what stands for a key of a dict or a class; in tuples as well."""
    return key[0], tuple(_map_name(f, name) for name in key[1]), *key[2:]


def _map_name(f: Callable[[Any], Any], name: Any) -> Any:
    return tuple(_map_name(f, entry) for entry in name) if type(name) is tuple else f(name)


@cache
def _record_class(name: str, fields: tuple[str, ...]) -> Any:
    for word in (name, *fields):
        if not isinstance(word, str) or not word.isidentifier() or iskeyword(word) or len(word) > 1000:
            raise ValueError(f"{word!r:.60} is not a name that a namedtuple or its field can have")
    make: Any = namedtuple
    made = make(name, fields)
    made.__reduce__ = _reduce_record
    _RECORDS.add(made)
    return made


def _reduce_record(record: Any) -> Any:
    return make_record, (type(record).__name__, record._fields, tuple(record))


def _size_of(step: trees.Step | None) -> int:
    return 0 if step is None else step.size


def _record_step(kind: Any, size: int, names: Iterable[Any]) -> trees.Step:
    """Return the step of a namedtuple or dataclass whose class was read; its fields may be next."""
    if not isinstance(kind, ClassName) and hasattr(kind, "_fields"):
        return trees.Step(kind, size)
    fields = tuple(islice(names, size))
    if isinstance(kind, ClassName):
        kind = type(kind.name, (), {})    # to be shown
    return trees.Step(kind, size, fields)


def _container_in_words(step: trees.Step, parts: list[str]) -> str:
    if step.kind is list or step.kind is tuple:
        opening, closing = "[]" if step.kind is list else "()"
        if len(parts) > 4 and len(set(parts)) == 1:
            return f"{opening}{len(parts)} of {parts[0]}{closing}"
        return f"{opening}{', '.join(parts)}{closing}"
    if step.kind is dict:
        return f"{{{', '.join(f'{key!r:.40}: {part}' for key, part in zip(step.detail, parts, strict=True))}}}"
    inside = ", ".join(f"{name}={part}" for name, part in zip(fields_of(step), parts, strict=True))
    return f"{step.kind.__name__}({inside})"
