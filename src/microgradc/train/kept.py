"""The recordings of a model, which are kept with it: who trains it again, or asks it again, does not record again.

A model that is made of this package's layers is watched: as long as nothing in it was replaced, its recordings hold.
A new model of the same structure needs no recording either.
What any other model does may depend on whatever it likes. It is called once more each time, to see whether it does what
it did.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from operator import is_
from typing import Any

import numpy as np

from microgradc import changes
from microgradc.engine import Value
from microgradc.program.program import Program, Watch
from microgradc.program.reached import Reached
from microgradc.program.recording import INTEGER_END, Recording, has_same_graph
from microgradc.train.structure import Structure, Templates, structure_of

NAME = "_kept"      # of the attribute
MOST = 16           # recordings of one model
TEMPLATES = Templates()     # of all models
OUTPUTS = "outputs"     # begins the keys of what a model returns


class Kept:
    """The recordings of a model, by what they compute. A copy of the model, or one from a pickle, has none."""

    def __init__(self, owner: Any = None) -> None:
        self.owner: Callable[[], Any] = (lambda: None) if owner is None else weakref.ref(owner)
        self.recordings: dict[tuple[Any, ...], KeptRecording] = {}
        self.refused: dict[tuple[Any, ...], tuple[object, str]] = {}     # why there is none, and when that was found

    def __reduce__(self) -> Any:
        return Kept, ()


class KeptRecording:
    """A program, and what must not change for it to hold.

    Attributes:
        program: the program.
        axes: the shape of what the function returns for an example, None if that is no array.
        columns: how many numbers an example has.
    """

    program: Program
    axes: tuple[int, ...] | None
    columns: int
    structure: Structure | None
    change: object
    watch: Watch | None
    calls: list[tuple[type, Callable[..., Any]]]

    def __init__(
        self, program: Program, axes: tuple[int, ...] | None, columns: int, model: Any, structure: Structure | None
    ) -> None:
        self.program, self.axes, self.columns, self.structure = program, axes, columns, structure
        self.renew(model)

    def renew(self, model: Any) -> None:
        """Remember what the model is made of."""
        self.change, self.watch = changes.lasting, None
        if not is_module(model):
            return
        self.calls = [(kind, kind.__call__) for kind in {type(part) for part in model.modules()}]
        if all(is_ours(kind) for kind, _ in self.calls):
            reached = Reached(model)
            if all(map(is_plain, reached.things())):
                self.watch = reached.watch()

    @property
    def is_watched(self) -> bool:
        """Whether what the model does is known without a call, as long as it has the same parts."""
        return self.watch is not None

    def is_current(self) -> bool:
        """Return whether the model has the same parts, with the same parameters in them."""
        if self.change is not changes.lasting or not self.watch:
            return False
        return all(kind.__call__ is call for kind, call in self.calls)     # somebody may put another in its place

    def still_holds(
        self, model: Any, f: Callable[..., Any], args: tuple[Any, ...], structure: Structure | None = None
    ) -> bool:
        """Return whether the function, which calls the model, does what it did."""
        if self.is_current():
            return True
        if self.is_watched and self.structure is not None:
            now = structure_of(model) if structure is None else structure
            holds = now is not None and now.key == self.structure.key and all(
                map(is_, now.parameters, self.structure.parameters)
            )
        else:
            holds = has_same_graph(self.program, f, args)
        if holds:
            self.renew(model)
        return holds


def recorded(model: Any, key: tuple[Any, ...], f: Callable[..., Any], args: tuple[Any, ...]) -> KeptRecording:
    """Return the recording of a function that calls a model: the one that is kept, if it holds; else a new one.

    Args:
        key: what the function does with the model, and in which mode.
        args: of an example.

    Raises:
        CompileError: it cannot be recorded; or whatever the model raises then.
    """
    kept = kept_with(model)
    found = kept.recordings.get(key)
    if found is not None and found.is_current():
        return found
    structure = structure_of(model)
    if found is not None and found.still_holds(model, f, args, structure):
        return found
    template = None if structure is None else TEMPLATES.find((structure.key, key))
    if structure is not None and template is not None:
        program, axes = template.program(structure.parameters), template.axes
    else:
        recording = Recording(f, args, (), frozenset(), None, False)
        program, axes = recording.program, None if recording.constants else recording.axes
        if structure is not None:
            TEMPLATES.add((structure.key, key), program, structure.parameters, axes)
    found = KeptRecording(program, axes, len(args[0]), model, structure)
    kept.recordings.pop(key, None)
    kept.recordings[key] = found
    while len(kept.recordings) > MOST:
        kept.recordings.pop(next(iter(kept.recordings)), None)
    return found


def as_example(model: Any, row: np.ndarray) -> list[Any]:
    """Return a row of numbers to record a model with: integers where they are, if it takes rows by indices."""
    numbers = row.tolist()
    if not is_module(model) or not any(hasattr(part, "num_embeddings") for part in model.modules()):
        return numbers
    return [int(x) if x.is_integer() and abs(x) < INTEGER_END else x for x in numbers]


def known_count(model: Any, columns: int) -> int | None:
    """Return how many outputs a model has for an example of so many numbers, if that was recorded."""
    for key, recording in kept_with(model).recordings.items():
        if recording.columns == columns and recording.is_current():
            return recording.program.output_count - (key[0] != OUTPUTS)     # all others return the loss too
    return None


def kept_with(model: Any) -> Kept:
    """Return what is kept with a model; for one that is no `Module`, something empty."""
    if not is_module(model):
        return Kept()
    found = vars(model).get(NAME)
    if type(found) is not Kept or found.owner() is not model:
        found = vars(model)[NAME] = Kept(model)
    return found


def is_module(model: Any) -> bool:
    """Return whether a model is a `Module`, which says when its attributes change."""
    return getattr(type(model).__setattr__, "__module__", None) == "microgradc.nn.module"


def is_ours(kind: type) -> bool:
    """Return whether a class is one of this package's layers, or a part of them."""
    return kind.__module__.startswith("microgradc.nn.")


def is_plain(thing: Any) -> bool:
    """Return whether something that a model reaches does not change but as a `Watch` or `changes` see it."""
    kind = type(thing)
    if kind in (Value, list, tuple, dict, object, Kept, np.ndarray) or is_ours(kind) or is_generator(thing):
        return True
    name = getattr(thing, "__module__", None)
    return callable(thing) and isinstance(name, str) and name.startswith("microgradc.") and not is_method(thing)


def is_method(thing: Any) -> bool:
    """Return whether a function belongs to an object."""
    return getattr(thing, "__self__", None) is not None


def is_generator(thing: Any) -> bool:
    """Return whether something is a source of random numbers, which a recording does not ask."""
    return hasattr(thing, "getstate") or hasattr(thing, "bit_generator") or hasattr(thing, "get_state")
