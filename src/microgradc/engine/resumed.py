"""Decorated functions whose body runs after the call: generators and coroutines.

They are in Python, for a compiled generator has no frame by which its blocks could be told from its caller's.
"""

from __future__ import annotations

import inspect
import types
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import AbstractContextManager
from functools import wraps
from typing import Any


def wrap(f: Callable[..., Any], block: Callable[[], AbstractContextManager[Any]]) -> Callable[..., Any] | None:
    """Return f with its body in a block, of the same kind as f; None if f is an ordinary function."""
    if inspect.isgeneratorfunction(f):
        return _generator(f, block)
    if inspect.iscoroutinefunction(f):
        return _coroutine(f, block)
    if inspect.isasyncgenfunction(f):
        return _async_generator(f, block)
    return None


def _generator(f: Callable[..., Any], block: Callable[[], AbstractContextManager[Any]]) -> Callable[..., Any]:
    @wraps(f)
    def without_graph(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
        with block():
            return (yield from f(*args, **kwargs))

    flags = getattr(getattr(f, "__code__", None), "co_flags", 0)
    return types.coroutine(without_graph) if flags & inspect.CO_ITERABLE_COROUTINE else without_graph


def _coroutine(f: Callable[..., Any], block: Callable[[], AbstractContextManager[Any]]) -> Callable[..., Any]:
    @wraps(f)
    async def without_graph(*args: Any, **kwargs: Any) -> Any:
        with block():
            return await f(*args, **kwargs)

    return without_graph


def _async_generator(f: Callable[..., Any], block: Callable[[], AbstractContextManager[Any]]) -> Callable[..., Any]:
    @wraps(f)
    async def without_graph(*args: Any, **kwargs: Any) -> AsyncGenerator[Any, Any]:
        with block():
            generator = f(*args, **kwargs)
            resume, given = generator.asend, None
            while True:
                try:
                    value = await resume(given)
                except StopAsyncIteration:
                    return
                try:
                    resume, given = generator.asend, (yield value)
                except GeneratorExit:
                    await generator.aclose()
                    raise
                except BaseException as error:
                    resume, given = generator.athrow, error

    return without_graph
