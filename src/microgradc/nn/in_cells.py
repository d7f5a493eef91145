"""What cells of notebooks show of a module: its parts, and how many parameters they have."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from microgradc.cells import html, line, of_count, table
from microgradc.nn.search import find_parameters


def page_of_module(module: Any, all_parameters: Callable[..., Any]) -> str:
    """Return the class of a module, the number of its parameters and a table of its parts.

    Args:
        module: it.
        all_parameters: `Module.parameters`.
    """

    def count(thing: Any) -> int:
        return len(find_parameters(SimpleNamespace(x=thing), all_parameters, False)[0])

    parts = [(name, thing) for name, thing in vars(module).items() if not name.startswith("_")]
    if [name for name, _ in parts] == ["layers"] and isinstance(module.layers, list):
        parts = [(f"layers.{i}", layer) for i, layer in enumerate(module.layers)]
    counted = [(name, thing, count(thing)) for name, thing in parts]
    rows = [[name, _in_words(thing), f"{n:,}"] for name, thing, n in counted if n or hasattr(thing, "train")]
    facts = [of_count(count(module), "parameter"), f"in {'training' if module.training else 'evaluation'} mode"]
    begin = line(f"<b>{html(type(module).__name__)}</b>", facts)
    return begin + (table(["part", "", "parameters"], rows, words=2) if rows else "")


def _in_words(part: Any) -> str:
    """Return what a part is, without the numbers in it."""
    if callable(words := getattr(type(part), "_in_words", None)):
        return words(part)
    if isinstance(part, (list, tuple, dict)):
        return f"{type(part).__name__} of {len(part):,}"
    return repr(part)
