"""What a function reaches: modules, whose state a recording leaves as it was, and the places where parameters are."""

from __future__ import annotations

import gc
import random
import sys
from collections import ChainMap, UserDict, UserList, deque
from collections.abc import Callable, Iterable
from functools import cache, partial
from operator import is_
from pathlib import Path
from types import (
    BuiltinFunctionType,
    CellType,
    CodeType,
    FunctionType,
    MappingProxyType,
    MemberDescriptorType,
    MethodType,
    ModuleType,
    SimpleNamespace,
)
from typing import Any

import numpy as np

from microgradc.engine import Value
from microgradc.engine.value import without_bare
from microgradc.program.program import Watch, has_entries

_PLAIN = (int, float, complex, str, bytes, type(None), type, range, BuiltinFunctionType, CodeType)
_HOLDERS = (SimpleNamespace, UserList, UserDict, ChainMap)    # of the standard library: their attributes are looked at


class Reached:
    """What a function reaches through its variables, defaults, `self`, and what it wraps.

    A module is an object with a method `parameters`, and the object that is called, or whose method is. Its parts are
    what is in its attributes, of any class. Of the user's Python modules those names are looked at that a function
    has.

    Args:
        f: the function.
        others: what it gets besides numbers.
        saves: whether to save the state of modules, for `restore`.
    """

    def __init__(self, f: Callable[..., Any], others: Iterable[Any] = (), saves: bool = False) -> None:
        self.lists: list[list[Any]] = []
        self.dicts: list[dict[Any, Any]] = []
        self.cells: list[CellType] = []
        self.variables: list[tuple[dict[str, Any], str]] = []
        self.attributes: list[tuple[Any, str]] = []
        self.others: list[Any] = []
        self._saves = saves
        self._saved: list[tuple[Callable[..., None], Any, Any]] = []    # what puts back, into what, and what was there
        self._seen: dict[int, tuple[Any, bool]] = {}    # what was visited, kept alive, and whether within a module
        self._stack: list[tuple[Any, bool]] = []
        self._names: set[str] = set()                   # that functions have
        self._modules: list[ModuleType] = []            # that are in something other than a function's variables
        self._watched: set[tuple[int, str]] = set()     # the variables, by the dicts they are in
        self._package = _package_of(getattr(f, "__module__", None))
        if saves:
            self._saved += [_saved_generator(random), _saved_generator(np.random)]
        owner = getattr(f, "__self__", f)
        self._stack += [(thing, False) for thing in (*others, f)]
        if not isinstance(owner, (FunctionType, ModuleType, Value, *_PLAIN)):
            self._stack.append((owner, True))
        while self._stack or self._modules:
            if self._stack:
                self._visit(*self._stack.pop())
            else:
                self._visit_names([vars(self._modules.pop())], self._names)

    def watch(self) -> Watch:
        """Return a Watch over the places that hold parameters, or what has some."""
        return Watch(self.lists, self.dicts, self.cells, self.variables, self.attributes, self.others)

    def things(self) -> list[Any]:
        """Return all that was looked at, but for plain numbers, texts and the like."""
        return [thing for thing, _ in self._seen.values()]

    def restore(self) -> None:
        """Put back the state of the modules and of generators of random numbers; Values and their holders stay."""
        for put_back, thing, before in self._saved:
            put_back(thing, before)

    def parameters(self) -> list[Any]:
        """Return what the modules say their parameters are, in the order in which they were found, each once."""
        found: dict[int, Any] = {}
        for thing, _ in list(self._seen.values()):
            if callable(getattr(type(thing), "parameters", None)):
                found.update((id(p), p) for p in thing.parameters())
        return list(found.values())

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
            if not self._is_foreign(thing.__name__):
                self._modules.append(thing)
        elif isinstance(thing, Value):
            self._visit_instance(thing, False, before is None)
        else:
            self._visit_object(thing, inside, before is None)

    def _visit_object(self, thing: Any, inside: bool, first: bool) -> None:
        if isinstance(thing, (random.Random, np.random.Generator, np.random.RandomState)):
            if inside and self._saves and not isinstance(thing, random.SystemRandom):
                self._saved.append(_saved_generator(thing))
        elif isinstance(thing, (list, tuple, set, frozenset, deque)):
            self._visit_entries(thing, inside, first)
        elif isinstance(thing, dict):
            self._visit_dict(thing, inside, first)
        elif isinstance(thing, np.ndarray):
            if inside and self._saves and thing.flags.writeable:
                self._saved.append((_put_back_array, thing, thing.copy()))
            if thing.dtype == object:
                if first:
                    self.others += _rows_of(thing)
                self._push(thing.ravel().tolist(), inside)
        elif isinstance(thing, MappingProxyType):
            self._push(gc.get_referents(thing), False)
        elif _is_library(type(thing)) and not isinstance(thing, _HOLDERS):
            return
        else:
            inside = inside or callable(getattr(type(thing), "parameters", None))
            self._visit_instance(thing, inside, first)

    def _visit_instance(self, thing: Any, inside: bool, first: bool) -> None:
        attributes = getattr(thing, "__dict__", None)
        if isinstance(attributes, dict):
            if inside and self._saves:
                self._saved.append((_put_back_dict, attributes, dict(attributes)))
            if first and not _says_changes(type(thing)):
                self.variables += [(attributes, name) for name, entry in attributes.items() if _may_hold(entry)]
            self._push(list(attributes.values()), inside)
        names = [name for kind in type(thing).__mro__ for name in _slots(kind) if hasattr(thing, name)]
        if names:
            if inside and self._saves:
                self._saved.append((_put_back_slots, thing, {name: getattr(thing, name) for name in names}))
            if first:
                self.attributes += [(thing, name) for name in names if _may_hold(getattr(thing, name))]
            self._push([getattr(thing, name) for name in names], inside)
        for kind in type(thing).__mro__:
            if not _is_library_name(kind.__module__):
                self._push([entry for entry in vars(kind).values() if isinstance(entry, FunctionType)], False)
                self._visit_class(kind)

    def _visit_class(self, kind: Any) -> None:
        if not isinstance(kind, type) or self._is_foreign(kind.__module__) or id(kind) in self._seen:
            return
        self._seen[id(kind)] = kind, False
        for name, entry in vars(kind).items():
            if isinstance(entry, (Value, list, tuple, dict, np.ndarray)) and not name.startswith("__"):
                self.attributes.append((kind, name))
                self._push([entry], False)

    def _visit_entries(self, thing: Any, inside: bool, first: bool) -> None:
        entries = thing if isinstance(thing, list) else list(thing)
        if first and not isinstance(thing, (tuple, frozenset)) and any(map(_may_hold, entries)):
            places: list[Any] = self.lists if isinstance(thing, list) else self.others
            places.append(thing)
        if inside and self._saves and not isinstance(thing, (tuple, frozenset)):
            self._saved.append((_put_back_entries, thing, tuple(entries)))
        self._push(entries, inside)

    def _visit_dict(self, thing: dict[Any, Any], inside: bool, first: bool) -> None:
        if first and not all(isinstance(entry, (int, float, str)) for entry in thing.values()):
            self.dicts.append(thing)
        if inside and self._saves:
            self._saved.append((_put_back_dict, thing, dict(thing)))
        self._push(list(thing.values()), inside)

    def _visit_function(self, f: FunctionType) -> None:
        names: set[str] = set()
        codes = [f.__code__]
        while codes:
            code = codes.pop()
            names.update(code.co_names)
            codes += [constant for constant in code.co_consts if isinstance(constant, CodeType)]
        if self._is_foreign(f.__globals__.get("__name__")):    # they are what they are
            names.clear()
        self._names |= names
        namespaces = [f.__globals__]
        for cell in f.__closure__ or ():
            try:
                content = cell.cell_contents
            except ValueError:      # a variable that has no value yet
                continue
            if isinstance(content, ModuleType):
                namespaces.append(vars(content))
            elif _may_hold(content):
                self.cells.append(cell)
                self._push([content], False)
            self._visit_class(content)
        package = f.__globals__.get("__package__")
        for name in names:          # of what is imported within the function
            for module in (sys.modules.get(name), sys.modules.get(f"{package}.{name}")):
                if isinstance(module, ModuleType) and not self._is_foreign(module.__name__):
                    namespaces.append(vars(module))
        self._visit_names(namespaces, names)
        for name in ("__defaults__", "__kwdefaults__"):
            if getattr(f, name) is not None:
                self.attributes.append((f, name))
        self._visit_variables(vars(f), list(vars(f)))
        self._push([f.__defaults__, f.__kwdefaults__], False)

    def _visit_names(self, namespaces: list[dict[str, Any]], names: set[str]) -> None:
        """Visit those of a function's names that are in the variables of modules, and of modules in these."""
        done = set()
        for variables in namespaces:     # which grows
            is_foreign = variables is not namespaces[0] and self._is_foreign(variables.get("__name__"))
            if is_foreign or id(variables) in done:
                continue
            done.add(id(variables))
            found = names & variables.keys()
            namespaces += [vars(variables[name]) for name in found if isinstance(variables[name], ModuleType)]
            self._visit_variables(variables, [name for name in found if not isinstance(variables[name], ModuleType)])

    def _visit_variables(self, variables: dict[str, Any], names: list[str]) -> None:
        for name in names:
            content = variables[name]
            if _may_hold(content) and (id(variables), name) not in self._watched:
                self._watched.add((id(variables), name))
                self.variables.append((variables, name))
                self._push([content], False)
            self._visit_class(content)

    def _is_foreign(self, name: str | None) -> bool:
        """Return whether a module is a library's: of the standard library, or installed, and not the function's own."""
        package = _package_of(name)
        return _is_library_name(package) or (package != self._package and _is_installed(package))

    def _push(self, things: Iterable[Any], inside: bool) -> None:
        self._stack += [(thing, inside) for thing in without_bare(things) if not isinstance(thing, _PLAIN)]


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


def _saved_generator(generator: Any) -> tuple[Callable[..., None], Any, Any]:
    """Return what `restore` needs for a generator of random numbers; for a module of such, for its global one."""
    if isinstance(generator, np.random.Generator):
        return _put_back_bits, generator.bit_generator, generator.bit_generator.state
    if hasattr(generator, "getstate"):
        return _put_back_state, generator, generator.getstate()
    return _put_back_numpys_state, generator, generator.get_state()


def _put_back_bits(bits: np.random.BitGenerator, before: Any) -> None:
    bits.state = before


def _put_back_state(generator: Any, before: Any) -> None:
    generator.setstate(before)


def _put_back_numpys_state(generator: Any, before: Any) -> None:
    generator.set_state(before)


def _put_back_array(array: np.ndarray, before: np.ndarray) -> None:
    if array.dtype != object or not holds_parameters(array.ravel().tolist()):
        array[...] = before


def _put_back_entries(container: Any, before: tuple[Any, ...]) -> None:
    if type(container) is list and has_entries(container, before):
        return
    after = list(container)
    if len(after) == len(before) and all(map(is_, after, before)):
        return
    known = set(map(id, before))
    if not holds_parameters([entry for entry in after if id(entry) not in known]):
        container.clear()
        (container.update if isinstance(container, set) else container.extend)(before)


def _put_back_dict(container: dict[Any, Any], before: dict[Any, Any]) -> None:
    missing = object()
    for key in [key for key in container if key not in before]:
        if not holds_parameters(container[key]):
            del container[key]
    for key, entry in before.items():
        after = container.get(key, missing)
        if after is not entry and not holds_parameters(after):
            container[key] = entry


def _put_back_slots(thing: Any, before: dict[str, Any]) -> None:
    for name, entry in before.items():
        after = getattr(thing, name, None)
        is_slot = isinstance(getattr(type(thing), name, None), MemberDescriptorType)    # and not a property over it
        if is_slot and after is not entry and not holds_parameters(after):
            object.__setattr__(thing, name, entry)


def _may_hold(entry: Any) -> bool:
    """Return whether something may be a parameter or hold some."""
    return not isinstance(entry, _PLAIN)


def _rows_of(array: np.ndarray) -> list[np.ndarray]:
    """Return views that have the entries of an array of objects: one if they are in a row, else its rows."""
    array = np.asarray(array)
    if array.flags.forc:
        return [(array if array.flags.c_contiguous else array.T).reshape(-1)]
    return [array[place] for place in np.ndindex(array.shape[:-1])]


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


def _package_of(name: str | None) -> str:
    return (name or "").partition(".")[0]


@cache
def _is_installed(package: str) -> bool:
    """Return whether a package lies where pip puts packages."""
    module = sys.modules.get(package)
    places = [getattr(module, "__file__", None), *getattr(module, "__path__", ())]
    return any(place and {"site-packages", "dist-packages"} & set(Path(place).parts) for place in places)


def _is_library_name(name: str | None) -> bool:
    package = _package_of(name)
    return package == "numpy" or package == "microgradc" or package in sys.stdlib_module_names - {"__main__"}


def _is_library(kind: type) -> bool:
    """Return whether a class is of NumPy or the standard library: then its attributes are not looked at."""
    return _is_library_name(kind.__module__) and not kind.__module__.startswith("microgradc")


def _is_ours(kind: type) -> bool:
    """Return whether a class is one of the compiler's own, or of who keeps recordings, or what a layer looked up.

    What a compiled function reaches is what its function does. A recording has a Watch; one that saw it would keep it.
    """
    keepers = ("microgradc.program.program", "microgradc.program.recording", "microgradc.train.kept")
    return kind.__module__ in keepers or (kind.__module__ == "microgradc.nn.layers" and kind.__name__ == "_LayerPlan")
