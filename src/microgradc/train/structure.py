"""What a model is made of, but for the numbers of its parameters: two models of one structure do the same with theirs.

So what was recorded of one is a program of the other too: in a cross-validation, say, where each fold has a new model.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from microgradc.engine import Value
from microgradc.program.program import Program, program_of

MOST = 16               # programs that are remembered
MOST_LEAVES = 100_000   # of one of them
# Attributes of this package's modules on which nothing depends that they compute.
IGNORED = frozenset(["training", "classes_", "_kept", "_learnt", "_plan", "_rng"])


class Structure(NamedTuple):
    """What a model is made of: a key, and its parameters in their order."""

    key: tuple[Any, ...]
    parameters: list[Value]


class _Unknown(Exception):
    """Something that nobody can describe."""


def structure_of(model: Any) -> Structure | None:
    """Return the structure of a model of this package's layers; None if there is anything else in it."""
    tokens: list[Any] = []
    parameters: list[Value] = []
    try:
        _describe(model, tokens, {}, parameters)
    except (_Unknown, RecursionError):
        return None
    return Structure(tuple(tokens), parameters)


def _describe(thing: Any, tokens: list[Any], seen: dict[int, int], parameters: list[Value]) -> None:
    kind = type(thing)
    if kind is str or kind is int or kind is float or kind is bool or thing is None:
        tokens.extend((kind, thing))
        return
    before = seen.get(id(thing))
    if before is not None:
        tokens.extend(("again", before))
        return
    seen[id(thing)] = len(seen)
    if kind is Value:
        if thing._op:
            raise _Unknown
        tokens.append(Value)
        parameters.append(thing)
    elif kind is list or kind is tuple:
        tokens += (kind, len(thing))
        for entry in thing:
            _describe(entry, tokens, seen, parameters)
    elif kind is dict:
        tokens += (kind, len(thing))
        for key, entry in thing.items():
            _describe(key, tokens, seen, parameters)
            _describe(entry, tokens, seen, parameters)
    elif kind.__module__.startswith("microgradc.nn.") and hasattr(kind, "load_state_dict"):
        attributes = [(name, entry) for name, entry in vars(thing).items() if name not in IGNORED]
        tokens += (kind, kind.__call__, thing.training, len(attributes))
        for name, entry in attributes:
            tokens.append(name)
            _describe(entry, tokens, seen, parameters)
    elif callable(thing) and str(getattr(thing, "__module__", "")).startswith("microgradc.engine."):
        tokens.extend(("function", thing))
    else:
        raise _Unknown


class Template(NamedTuple):
    """A program without the parameters of its model: what `program_of` takes, and where the leaves are among them."""

    graph: Any
    places: list[int | None]
    rest: tuple[Any, ...]
    axes: tuple[int, ...] | None

    def program(self, parameters: list[Value]) -> Program:
        """Return the program with these parameters."""
        leaves = [None if place is None else parameters[place] for place in self.places]
        return program_of(self.graph, leaves, *self.rest)


class Templates:
    """The programs of structures that were recorded last."""

    def __init__(self) -> None:
        self.known: dict[Any, Template] = {}

    def find(self, key: Any) -> Template | None:
        """Return the template of a structure and of what is done with it."""
        return self.known.get(key)

    def add(self, key: Any, program: Program, parameters: list[Value], axes: tuple[int, ...] | None) -> None:
        """Remember a program, unless it is very large, or has leaves that are none of the parameters."""
        parts: Any = program.__reduce__()[1]
        graph, leaves, *rest = parts
        places = {id(p): i for i, p in enumerate(parameters)}
        if len(leaves) > MOST_LEAVES or any(leaf is not None and id(leaf) not in places for leaf in leaves):
            return
        self.known.pop(key, None)
        found: list[int | None] = [None if leaf is None else places[id(leaf)] for leaf in leaves]
        self.known[key] = Template(graph, found, tuple(rest), axes)
        while len(self.known) > MOST:
            self.known.pop(next(iter(self.known)), None)
