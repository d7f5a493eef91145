"""The arguments of compiled functions as people write them: by keyword, and static ones, which are no numbers."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from enum import Enum
from functools import cached_property
from typing import Any

from microgradc.program.program import Static

__all__ = ["STATIC", "Arguments", "is_static", "unwrapped"]

STATIC = (Enum, Static)     # what is a leaf of arguments, though it may look like a container
_KEYWORDS = (inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.VAR_KEYWORD)
_BY_PLACE = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


def is_static(leaf: Any) -> bool:
    """Return whether a leaf of arguments is no number, but belongs to the recording: the function gets it as it is."""
    return leaf is None or isinstance(leaf, (str, bytes, Enum, Static))


def unwrapped(leaf: Any) -> Any:
    """Return a static leaf as the function gets it."""
    return leaf.value if isinstance(leaf, Static) else leaf


class Arguments:
    """How the arguments of a function are given: which belong to which parameter, and which are static or shared.

    Args:
        f: the function.
        static, shared: names of parameters.

    Raises:
        TypeError: static or shared is not made of names.
        ValueError: the function has no such parameter, or one is both.
    """

    static: frozenset[str]
    shared: frozenset[str]

    def __init__(self, f: Callable[..., Any], static: Iterable[str] = (), shared: Iterable[str] = ()) -> None:
        self.f = f
        # By how many are given by place, and the names of the others: what is found by the signature once.
        self._orders: dict[tuple[int, tuple[str, ...]], tuple[tuple[str, ...], tuple[str, ...]]] = {}
        self._static_in: dict[tuple[int, tuple[str, ...]], frozenset[int]] = {}
        self._shared_in: dict[tuple[int, tuple[str, ...]], frozenset[int]] = {}
        self.static = self._names(static, "static")
        self.shared = self._names(shared, "shared")
        for name in self.static & self.shared:
            raise ValueError(f"a parameter is static or shared, not both, got {name!r} twice")

    def __reduce__(self) -> tuple[Any, ...]:
        return Arguments, (self.f, tuple(self.static), tuple(self.shared))

    def _names(self, given: Iterable[str], what: str) -> frozenset[str]:
        if not isinstance(given, Iterable):
            raise TypeError(f"{what} must be made of names of parameters, {what}=('n',), got {given!r:.40}")
        names = [given] if isinstance(given, str) else list(given)
        for name in names:
            if not isinstance(name, str):
                raise TypeError(f"{what} must be made of names of parameters, {what}=('n',), got {name!r:.40}")
        if names and self._parameters is None:
            raise ValueError(f"{what}={tuple(names)} names parameters, but {self.f!r:.60} does not say which it has")
        known = [] if self._parameters is None else [p.name for p in self._parameters]
        for name in names:
            if name not in known:
                having = f"its parameters are {', '.join(known)}" if known else "it has none"
                raise ValueError(f"{what} names {name!r}, which is no parameter of the function; {having}")
        return frozenset(names)

    @cached_property
    def _signature(self) -> inspect.Signature | None:
        try:
            return inspect.signature(self.f)
        except (TypeError, ValueError):     # some functions in C have none
            return None

    @cached_property
    def _parameters(self) -> list[inspect.Parameter] | None:
        return None if self._signature is None else list(self._signature.parameters.values())

    @cached_property
    def _places(self) -> tuple[list[str], str | None]:
        """The names of parameters that are given by place, and of that which takes the rest."""
        parameters = self._parameters or []
        rest = [p.name for p in parameters if p.kind is inspect.Parameter.VAR_POSITIONAL]
        return [p.name for p in parameters if p.kind in _BY_PLACE], rest[0] if rest else None

    def _name(self, i: int, count: int, names: tuple[str, ...]) -> str | None:
        """Return the name of the parameter that gets argument i of `count`, of which the last have names."""
        if i >= count - len(names):
            name = names[i - count]
            rest = [p.name for p in self._parameters or [] if p.kind is inspect.Parameter.VAR_KEYWORD]
            return rest[0] if rest and name not in [p.name for p in self._parameters or []] else name
        by_place, rest_of_places = self._places
        return by_place[i] if i < len(by_place) else rest_of_places

    def takes(self, name: str) -> bool:
        """Return whether an argument can be given by this keyword."""
        by_place_alone = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.VAR_POSITIONAL)
        return self._parameters is None or any(
            p.kind is inspect.Parameter.VAR_KEYWORD or (p.name == name and p.kind not in by_place_alone)
            for p in self._parameters
        )

    def given(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], tuple[str, ...]]:
        """Return the arguments of a call in the order of the signature, and the names of the last of them.

        Those that have a place and can be given by it, have no name. Static ones are wrapped: those of the parameters
        that are static, and bools.

        Raises:
            TypeError: the function does not take these arguments; a static one cannot be hashed.
        """
        names: tuple[str, ...] = ()
        if kwargs:
            args, names = self._bind(args, kwargs)
        count = len(args)
        static = self._in(self.static, self._static_in, count, names)
        if static or any(type(a) is bool for a in args):
            args = tuple([
                self._wrapped(a, i, count, names) if i in static or type(a) is bool else a for i, a in enumerate(args)
            ])
        return args, names

    def by_place(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, ...]:
        """Return the arguments of a call by place, as they are.

        Raises:
            TypeError: one of them can be given by keyword alone.
        """
        if kwargs:
            args, names = self._bind(args, kwargs)
            if names:
                raise TypeError(f"this is of arguments that can be given by place, and {names[0]!r} cannot: compile a "
                                "function in which it can, or which has it already")
        return args

    def _bind(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], tuple[str, ...]]:
        given = len(args), tuple(kwargs)
        order = self._orders.get(given)
        if order is None:
            order = self._orders[given] = self._order(args, kwargs)
        by_place, names = order
        return (*args, *[kwargs[name] for name in by_place], *[kwargs[name] for name in names]), names

    def _order(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Return the names of arguments that have a place after args, in their order; and of those that have none."""
        if self._signature is None:
            return (), tuple(kwargs)
        try:
            bound = self._signature.bind(*args, **kwargs)
        except TypeError as error:
            name = getattr(self.f, "__qualname__", None) or f"{self.f!r:.60}"
            raise TypeError(f"{name}{self._signature} does not take these arguments: {error}") from None
        names = tuple(bound.kwargs)
        return tuple([p for p in self._places[0] if p in kwargs and p not in names]), names

    def _wrapped(self, a: Any, i: int, count: int, names: tuple[str, ...]) -> Any:
        try:
            return Static(a)
        except TypeError:
            name = self._name(i, count, names)
            raise TypeError(
                f"the static argument {name!r} belongs to the recording, so it must be hashable; give a tuple "
                f"instead of a list, a frozen dataclass instead of a dict; got {type(a).__name__} {a!r:.40}"
            ) from None

    def _in(
        self, wanted: frozenset[str], known: dict[tuple[int, tuple[str, ...]], frozenset[int]], count: int,
        names: tuple[str, ...],
    ) -> frozenset[int]:
        """Return which arguments are of the wanted parameters."""
        if not wanted:
            return frozenset()
        found = known.get((count, names))
        if found is None:
            found = known[count, names] = frozenset(i for i in range(count) if self._name(i, count, names) in wanted)
        return found

    def shared_in(self, count: int, names: tuple[str, ...]) -> frozenset[int]:
        """Return which of the arguments, as `given` returned them, are shared."""
        return self._in(self.shared, self._shared_in, count, names)


def call(f: Callable[..., Any], args: Iterable[Any], names: tuple[str, ...]) -> Any:
    """Call f with arguments, the last of which have names."""
    args = tuple(args)
    if not names:
        return f(*args)
    by_place = len(args) - len(names)
    return f(*args[:by_place], **dict(zip(names, args[by_place:], strict=True)))


def for_one(gradients: tuple[Any, ...], args: tuple[Any, ...]) -> Any:
    """Return the gradients of the arguments, None for a static one; alone, if one argument is not static."""
    alone = [g for g, a in zip(gradients, args, strict=True) if not is_static(a)]
    return alone[0] if len(alone) == 1 else gradients
