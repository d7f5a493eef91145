"""What a function reaches: modules, whose state a recording leaves as it was, and the places where parameters are."""

from __future__ import annotations

import random
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from operator import is_
from types import BuiltinFunctionType, CellType, CodeType, FunctionType, MethodType, ModuleType, SimpleNamespace
from typing import Any

import numpy as np

from microgradc.engine import Value
from microgradc.program.program import Watch, other_than_values

_PLAIN = (int, float, complex, str, bytes, type(None), type, range, BuiltinFunctionType, CodeType, Value)


class Reached:
    """What a function reaches through its variables, defaults, `self`, and what it wraps.

    A module is an object with a method `parameters`, and the object that is called, or whose method is. Its parts are
    what is in its attributes, of any class.
    """

    def __init__(self, f: Callable[..., Any]) -> None:
        self.lists: list[list[Any]] = []
        self.dicts: list[dict[Any, Any]] = []
        self.cells: list[CellType] = []
        self.variables: list[tuple[dict[str, Any], str]] = []
        self.attributes: list[tuple[Any, str]] = []
        self.others: list[Any] = []
        self.saved: list[Callable[[], None]] = [_saved_generator(random), _saved_generator(np.random)]
        self._seen: dict[int, tuple[Any, bool]] = {}    # what was visited, kept alive, and whether within a module
        self._stack: list[tuple[Any, bool]] = []
        owner = getattr(f, "__self__", f)
        self._stack.append((f, False))
        if not isinstance(owner, (FunctionType, ModuleType, *_PLAIN)):
            self._stack.append((owner, True))
        while self._stack:
            self._visit(*self._stack.pop())

    def watch(self) -> Watch:
        """Return a Watch over the places that hold parameters, or what has some."""
        return Watch(self.lists, self.dicts, self.cells, self.variables, self.attributes, self.others)

    def restore(self) -> None:
        """Put back the state of the modules and of generators of random numbers; Values and their holders stay."""
        for put_back in self.saved:
            put_back()

    def _visit(self, thing: Any, inside: bool) -> None:
        if isinstance(thing, _PLAIN) or _is_ours(type(thing)):
            return
        before = self._seen.get(id(thing))
        if before is not None and (before[1] or not inside):
            return
        self._seen[id(thing)] = thing, inside
        if isinstance(thing, FunctionType):
            self._visit_function(thing)
        elif isinstance(thing, MethodType):
            self._push([thing.__func__], inside)
            self._push([thing.__self__], True)
        elif isinstance(thing, partial):
            self._push([thing.func, thing.args, thing.keywords], inside)
        elif isinstance(thing, ModuleType):
            return
        else:
            self._visit_object(thing, inside, before is None)

    def _visit_object(self, thing: Any, inside: bool, first: bool) -> None:
        if isinstance(thing, (random.Random, np.random.Generator, np.random.RandomState)):
            if inside and not isinstance(thing, random.SystemRandom):
                self.saved.append(_saved_generator(thing))
        elif isinstance(thing, (list, tuple, set, frozenset, deque)):
            self._visit_entries(thing, inside, first)
        elif isinstance(thing, dict):
            self._visit_dict(thing, inside, first)
        elif isinstance(thing, np.ndarray):
            if inside and thing.flags.writeable:
                self.saved.append(_saved_array(thing))
            if thing.dtype == object:
                if first and thing.flags.forc:      # else its entries in a row would be a copy
                    self.others.append((thing if thing.flags.c_contiguous else thing.T).reshape(-1))
                self._push(thing.ravel().tolist(), inside)
        elif _is_library(type(thing)) and not isinstance(thing, SimpleNamespace):
            return
        else:
            inside = inside or callable(getattr(type(thing), "parameters", None))
            self._visit_instance(thing, inside, first)

    def _visit_instance(self, thing: Any, inside: bool, first: bool) -> None:
        attributes = getattr(thing, "__dict__", None)
        if isinstance(attributes, dict):
            if inside:
                self.saved.append(_saved_dict(attributes))
            if first and not _says_changes(type(thing)):
                self.variables += [(attributes, name) for name, entry in attributes.items() if _may_hold(entry)]
            self._push(list(attributes.values()), inside)
        names = [name for kind in type(thing).__mro__ for name in _slots(kind) if hasattr(thing, name)]
        if names:
            if inside:
                self.saved.append(_saved_slots(thing, names))
            if first:
                self.attributes += [(thing, name) for name in names if _may_hold(getattr(thing, name))]
            self._push([getattr(thing, name) for name in names], inside)
        for kind in type(thing).__mro__:
            if not _is_library_name(kind.__module__):
                self._push([entry for entry in vars(kind).values() if isinstance(entry, FunctionType)], False)
                self._visit_class(kind)

    def _visit_class(self, kind: Any) -> None:
        if not isinstance(kind, type) or _is_library_name(kind.__module__) or id(kind) in self._seen:
            return
        self._seen[id(kind)] = kind, False
        for name, entry in vars(kind).items():
            if isinstance(entry, (Value, list, tuple, dict, np.ndarray)) and not name.startswith("__"):
                self.attributes.append((kind, name))
                self._push([entry], False)

    def _visit_entries(self, thing: Any, inside: bool, first: bool) -> None:
        entries = list(thing)
        if isinstance(thing, deque) and first:
            self.others.append(thing)
        others = other_than_values(entries)
        is_watched = len(others) < len(entries) or not all(isinstance(entry, (int, float, str)) for entry in others)
        if isinstance(thing, list) and first and is_watched:
            self.lists.append(thing)
        if inside and not isinstance(thing, (tuple, frozenset)):
            self.saved.append(_saved_entries(thing, entries))
        self._push(others, inside)

    def _visit_dict(self, thing: dict[Any, Any], inside: bool, first: bool) -> None:
        if first and not all(isinstance(entry, (int, float, str)) for entry in thing.values()):
            self.dicts.append(thing)
        if inside:
            self.saved.append(_saved_dict(thing))
        self._push(list(thing.values()), inside)

    def _visit_function(self, f: FunctionType) -> None:
        for cell in f.__closure__ or ():
            try:
                content = cell.cell_contents
            except ValueError:      # a variable that has no value yet
                continue
            if _may_hold(content):
                self.cells.append(cell)
            self._push([content], False)
            self._visit_class(content)
        names: set[str] = set()
        codes = [f.__code__]
        while codes:
            code = codes.pop()
            names.update(code.co_names)
            codes += [constant for constant in code.co_consts if isinstance(constant, CodeType)]
        if _is_library_name(f.__globals__.get("__name__")):    # they are what they are
            names.clear()
        for name in names & f.__globals__.keys():
            content = f.__globals__[name]
            if isinstance(content, ModuleType) and not _is_library_name(content.__name__):
                self._push([vars(content)[other] for other in names & vars(content).keys()], False)
            elif _may_hold(content):
                self.variables.append((f.__globals__, name))
                self._push([content], False)
            self._visit_class(content)
        self._push([f.__defaults__, f.__kwdefaults__, getattr(f, "__wrapped__", None)], False)

    def _push(self, things: Iterable[Any], inside: bool) -> None:
        self._stack += [(thing, inside) for thing in things if not isinstance(thing, _PLAIN)]


@contextmanager
def state_kept(f: Callable[..., Any]) -> Iterator[None]:
    """Leave the state of the modules that a function reaches, and of generators of random numbers, as it was."""
    reached = Reached(f)
    try:
        yield
    finally:
        reached.restore()


def holds_parameters(thing: Any) -> bool:
    """Return whether something is a leaf, a module, or a container with one: what a recording may refer to."""
    stack, seen = [thing], set()
    while stack:
        x = stack.pop()
        if isinstance(x, Value):
            if not x._op:
                return True
        elif isinstance(x, (list, tuple, set, dict)) and id(x) not in seen:
            seen.add(id(x))
            stack += x.values() if isinstance(x, dict) else x
        elif callable(getattr(type(x), "parameters", None)):
            return True
    return False


def _saved_generator(generator: Any) -> Callable[[], None]:
    """Return what puts the state of a generator back; of a module of generators, that of its global one."""
    if isinstance(generator, np.random.Generator):
        bits = generator.bit_generator
        state = bits.state
        return lambda: setattr(bits, "state", state)
    if hasattr(generator, "getstate"):
        state = generator.getstate()
        return lambda: generator.setstate(state)
    state = generator.get_state()
    return lambda: generator.set_state(state)


def _saved_array(array: np.ndarray) -> Callable[[], None]:
    before = array.copy()

    def put_back() -> None:
        if array.dtype != object or not holds_parameters(array.ravel().tolist()):
            array[...] = before

    return put_back


def _saved_entries(container: Any, before: list[Any]) -> Callable[[], None]:
    def put_back() -> None:
        after = list(container)
        if len(after) == len(before) and all(map(is_, after, before)):
            return
        known = set(map(id, before))
        if not holds_parameters([entry for entry in after if id(entry) not in known]):
            container.clear()
            (container.update if isinstance(container, set) else container.extend)(before)

    return put_back


def _saved_dict(container: dict[Any, Any]) -> Callable[[], None]:
    before = dict(container)

    def put_back() -> None:
        missing = object()
        for key in [key for key in container if key not in before]:
            if not holds_parameters(container[key]):
                del container[key]
        for key, entry in before.items():
            after = container.get(key, missing)
            if after is not entry and not holds_parameters(after):
                container[key] = entry

    return put_back


def _saved_slots(thing: Any, names: list[str]) -> Callable[[], None]:
    before = {name: getattr(thing, name) for name in names}

    def put_back() -> None:
        for name, entry in before.items():
            after = getattr(thing, name, None)
            if after is not entry and not holds_parameters(after):
                object.__setattr__(thing, name, entry)

    return put_back


def _may_hold(entry: Any) -> bool:
    """Return whether something may be a parameter or hold some."""
    return isinstance(entry, Value) or not isinstance(entry, _PLAIN)


def _says_changes(kind: type) -> bool:
    """Return whether a class says to `changes` that an attribute is set, as modules do."""
    return getattr(kind.__setattr__, "__module__", None) == "microgradc.nn.module"


def _slots(kind: type) -> list[str]:
    """Return the names of the slots that a class adds."""
    slots = vars(kind).get("__slots__", ())
    names = [slots] if isinstance(slots, str) else list(slots)
    return [
        f"_{kind.__name__.lstrip('_')}{name}" if name.startswith("__") and not name.endswith("__") else name
        for name in names if name not in ("__dict__", "__weakref__")
    ]


def _is_library_name(name: str | None) -> bool:
    package = (name or "").partition(".")[0]
    return package == "numpy" or package == "microgradc" or package in sys.stdlib_module_names - {"__main__"}


def _is_library(kind: type) -> bool:
    """Return whether a class is of NumPy or the standard library: then its attributes are not looked at."""
    return _is_library_name(kind.__module__) and not kind.__module__.startswith("microgradc")


def _is_ours(kind: type) -> bool:
    """Return whether a class is one of the compiler's own."""
    return kind.__module__ == "microgradc.program.program"
