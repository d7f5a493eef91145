"""Recordings that leave their process: a pickled function finds its name again, or is what its recordings do."""

from __future__ import annotations

import inspect
import pickle
import sys
import weakref
from collections.abc import Callable
from types import FunctionType, MethodType
from typing import Any, NamedTuple

import numpy as np

from microgradc import changes, trees
from microgradc.engine import IntegerInput, Value
from microgradc.program import keys
from microgradc.program.arguments import STATIC, Arguments, is_static
from microgradc.program.layouts import LEAVES
from microgradc.program.program import Example, Program, recorded_graph
from microgradc.program.recording import Recording, Recordings

_NAMES = ("__module__", "__name__", "__qualname__", "__doc__")
_KINDS = (
    inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.VAR_POSITIONAL,
    inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.VAR_KEYWORD,
)  # fmt: skip


class Carried(NamedTuple):
    """What of a recording is pickled."""

    program: Program
    shape: trees.Shape          # of what the function returns
    all_keys: list[keys.Key]    # with names for classes, and a `_Held` for any other object
    constants: tuple[tuple[int, Any], ...] = ()    # what it returns besides that is no number, with its places

    def __reduce__(self) -> Any:
        shape = trees.Shape(tuple(map(_by_name, self.shape.steps)), self.shape.leaf_count)
        return _carried, (self.program, shape, self.all_keys, self.constants)

    def recording(self) -> tuple[Recording, list[keys.Key]]:
        """Return it as a recording, and the keys to find it by."""
        layout = keys.layout_of(self.all_keys[0])
        is_plain = all(step is None or step.kind in (list, tuple, dict) for step in layout.shape.steps)
        names, shared = (*self.all_keys[0][2:], (), frozenset())[:2]
        made = Recording.of_program(self.program, self.shape, layout.arguments() if is_plain else None, names, shared,
                                    self.constants)
        return made, list(map(here, self.all_keys))


def _by_name(step: trees.Step | None) -> trees.Step | None:
    """Return a step with its name in place of a class that no module has."""
    if step is None or not keys.is_made(step.kind):
        return step
    return trees.Step(keys.ClassName(step.kind.__name__), step.size, keys.fields_of(step))  # type: ignore[arg-type]


def _carried(
    program: Program, shape: trees.Shape, all_keys: list[keys.Key], constants: tuple[tuple[int, Any], ...]
) -> Carried:
    """Return what was pickled."""
    steps = tuple([
        trees.Step(keys.record_class(step.kind.name, step.detail), step.size)
        if step is not None and isinstance(step.kind, keys.ClassName) else step
        for step in shape.steps
    ])
    return Carried(program, trees.Shape(steps, shape.leaf_count), all_keys, constants)


class _Held(NamedTuple):
    """An object among the keys of dicts, which a key has a weak reference to."""

    thing: Any


class Absent:
    """A function that is not there, but for what its recordings do.

    Args:
        names: its name and what else `functools.wraps` copies; 'parameters', what `parameters_of` returned.
    """

    def __init__(self, names: dict[str, Any]) -> None:
        self.__dict__.update(names)
        self.__doc__ = names.get("__doc__")
        self.names = names
        if names.get("parameters") is not None:
            self.__signature__ = _signature_of(names["parameters"])
        self.recordings: CarriedRecordings

    def __reduce__(self) -> Any:
        return Absent, (self.names,)

    def __repr__(self) -> str:
        return str(self.names.get("shown") or self.names.get("__qualname__"))

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Compute with the engine's own operations, which other functions can be recorded with."""
        args, names = Arguments(self, self.names.get("static", ())).given(args, kwargs)
        key = Example(trees.map_leaves(_without_input, args, LEAVES)).key
        recording = self.recordings.record((*key, names) if names else key, args)
        leaves = [leaf for leaf in trees.flatten(args, STATIC)[0] if not is_static(leaf)]
        values = recorded_graph(recording.program).values(leaves, recording.program.parameters)
        return recording.rebuild([v if isinstance(v, Value) else Value(v) for v in values])


class CarriedRecordings(Recordings):
    """The recordings of a function that is not there: no other can be made.

    Args:
        f: what stands for the function.
        lanes, limit: see `Recordings`.
        sources: the recordings.
    """

    carried: list[tuple[Recording, list[Any]]]

    def __init__(self, f: Absent, lanes: int | None, limit: int, sources: list[Carried]) -> None:
        self.sources = sources      # which hold what keys refer to
        self.carried = [source.recording() for source in sources]
        super().__init__(f, lanes, limit)
        f.recordings = self

    def __reduce__(self) -> Any:
        return CarriedRecordings, (self.f, self.lanes, self.limit, self.sources)

    def clear(self) -> None:
        """Forget all but what was carried."""
        super().clear()
        for recording, all_keys in self.carried:
            recording.keys.clear()
            for key in all_keys:
                self.also(key, recording)

    def emptied(self) -> Recordings:
        """Return the recordings that a copy has."""
        return self

    def find(self, key: Any) -> Recording | None:
        """Return the recording for a key: classes may be others of the same name and fields, and integers may be where
        it has numbers."""
        recording = self.known.get(key)
        if recording is None:
            if not _is_of_example(key):
                return None
            given = keys.plain(key)
            found = (r for r, all_keys in self.carried if any(keys.takes(known, given) for known in all_keys))
            recording = next(found, None)
            if recording is None:
                return None
            self.known[key] = recording
        recording.change = changes.latest    # whatever it was, it is not looked at
        return recording

    def record(
        self, key: Any, args: tuple[Any, ...], names: tuple[str, ...] = (), shared: frozenset[int] = frozenset()
    ) -> Recording:
        """Return the recording for a key.

        Raises:
            ValueError: there is none.
        """
        recording = self.find(key)
        if recording is None:
            there = "; ".join(f"({keys.in_words(all_keys[0])})" for _, all_keys in self.carried) or "none"
            raise ValueError(
                f"{getattr(self.f, '__qualname__', 'the function')} is here as its recordings alone, not as code, so "
                f"it takes arguments that it was recorded for: {there}; got ({keys.in_words(key)})"
            )
        return recording


def carried_recordings(recordings: Recordings) -> list[Carried]:
    """Return what of the recordings is to be pickled: those that hold. The function may be called to see whether."""
    if isinstance(recordings, CarriedRecordings):
        return recordings.sources
    found = []
    for recording in list(recordings.used):
        all_keys = [key for key in recording.keys if _is_of_example(key)]
        if not all(map(_can_be_pickled, recording.statics)):
            continue
        try:
            all_keys = [keys.plain(key) for key in all_keys]
            holds = recording.is_current() or recording.still_holds(
                recordings.f, keys.layout_of(all_keys[0]).arguments()
            )
            if holds and all_keys:
                found.append(_carry(recording, all_keys))
        except MemoryError:
            raise
        except Exception:   # the function cannot be called so any more: what it did does not count
            continue
    return found


def is_for_cloudpickle() -> bool:
    """Return whether cloudpickle calls the method that asks this: it takes functions of `__main__` by value."""
    return "cloudpickle" in str(sys._getframe(2).f_globals.get("__name__"))


def name_leads_to(module: str | None, qualname: str | None, thing: Any) -> bool:
    """Return whether a name is that of a thing, for whoever imports the module."""
    return thing is not None and named(module, qualname, do_import=False) is thing


def named(module: str | None, qualname: str | None, do_import: bool = True) -> Any:
    """Return what has a name; None if nothing has."""
    if not isinstance(module, str) or not isinstance(qualname, str):
        return None
    if do_import and module not in sys.modules:
        try:
            __import__(module)
        except ImportError:
            return None
    found = sys.modules.get(module)
    for name in qualname.split("."):
        found = getattr(found, name, None)
    return found


def names_of(f: Callable[..., Any], compiled: Any) -> dict[str, Any]:
    """Return the names of a function, and what it says of itself; and which method it is of an object that has the
    compiled function among its attributes."""
    if isinstance(f, Absent):
        return f.names
    owner = getattr(f, "__self__", None)
    if owner is not None and any(x is compiled for x in getattr(owner, "__dict__", {}).values()):
        return {**_names_of(f), "method": f.__name__}
    return _names_of(f)


def method_of(f: Any, owner: Any, recordings: Recordings) -> Any:
    """Return the method of an object that an absent function stands for; None if it is not a method, or another
    object's."""
    name = f.names.get("method") if isinstance(f, Absent) else None
    if name is None or not isinstance(recordings, CarriedRecordings):
        return None
    own = {id(p) for p in owner.parameters()}
    if any(id(p) not in own for source in recordings.sources for p in source.program.parameters):
        return None
    method = getattr(type(owner), name, None)
    return MethodType(method, owner) if isinstance(method, FunctionType) else None


def _names_of(f: Callable[..., Any]) -> dict[str, Any]:
    names = {name: getattr(f, name) for name in _NAMES if isinstance(getattr(f, name, None), str)}
    names["parameters"] = parameters_of(f)
    return names if "__qualname__" in names else {**names, "shown": f"{f!r:.200}"}


def parameters_of(f: Callable[..., Any]) -> list[tuple[str, int, bool]] | None:
    """Return the name and the kind of each parameter, and whether it has a default; None if they are not known."""
    try:
        parameters = inspect.signature(f).parameters.values()
    except (TypeError, ValueError):
        return None
    return [(p.name, int(p.kind), p.default is not p.empty) for p in parameters]


def _signature_of(parameters: list[tuple[str, int, bool]]) -> inspect.Signature:
    """Return a signature, in which ... stands for any default: what it does is in the recordings."""
    return inspect.Signature([
        inspect.Parameter(name, _KINDS[kind], default=... if has_default else inspect.Parameter.empty)
        for name, kind, has_default in parameters
    ])


def _can_be_pickled(thing: Any) -> bool:
    try:
        pickle.dumps(thing)
    except Exception:   # whatever its class raises
        return False
    return True


def _is_of_example(key: Any) -> bool:
    """Whether it is a key of an Example, not of arrays of a batch."""
    return isinstance(key[0], bytes)


def _carry(recording: Recording, all_keys: list[keys.Key]) -> Carried:
    return Carried(recording.program, recording.shape, list(map(portable, all_keys)), tuple(recording.constants))


def portable(key: keys.Key) -> keys.Key:
    """Return a key of `keys.plain` that holds what it refers to, and can be pickled if that can."""
    return keys.map_names(_held, key)


def here(key: keys.Key) -> keys.Key:
    """Return such a key as it is in this process."""
    return keys.map_names(_name_of, key)


def _held(name: Any) -> Any:
    return _Held(keys.object_of(name)) if isinstance(name, weakref.ref) else name


def _name_of(name: Any) -> Any:
    """Return what stands for an object in a key, in this process."""
    if not isinstance(name, _Held):
        return name
    try:
        return weakref.ref(name.thing)
    except TypeError:
        return name.thing


def _without_input(leaf: Any) -> Any:
    """Return an integer in place of one of another function that is being recorded."""
    if isinstance(leaf, np.ndarray) and leaf.dtype == object:
        entries = leaf.ravel().tolist()
        return np.zeros(leaf.shape, int) if entries and all(isinstance(v, IntegerInput) for v in entries) else leaf
    return 0 if isinstance(leaf, IntegerInput) else leaf
