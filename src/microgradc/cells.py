"""What cells of notebooks show of an object: HTML of a line, a table, and what can be unfolded.

A text becomes HTML here alone: it is escaped, on one line and not too long, for names and labels are the users'.
JupyterLab shows all of this in notebooks that are not trusted, too: there are no scripts and no style sheets. There are
no colours either, so that it is read well on a dark page.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import wraps
from html import escape
from reprlib import recursive_repr
from typing import Any

MOST_ROWS = 20          # of a table
MOST_ENTRIES = 32       # of a list in a repr
LONGEST = 100           # characters of a text

LEFT = ' style="text-align: left"'


def in_a_cell(page: Callable[..., str], *things: Any) -> str | None:
    """Return a page of things; None, for which a notebook shows the repr, if one of them is not as it should be."""
    try:
        return page(*things)
    except Exception:     # half-built, or an attribute or a method that is the user's
        return None


def never_fails(method: Callable[[Any], str]) -> Callable[[Any], str]:
    """Return a `__repr__` that shows what any object shows where that one fails: of what is half-built, say."""

    @wraps(method)
    def __repr__(self: Any) -> str:
        try:
            return method(self)
        except Exception:
            return object.__repr__(self)

    return recursive_repr()(__repr__)


def one_line(text: str, longest: int = LONGEST) -> str:
    """Return a text with what cannot be printed (line ends, control characters, half a surrogate pair) as spaces, and
    not too long."""
    text = " ".join("".join(c if c.isprintable() else " " for c in text[: 20 * longest]).split())
    return text if len(text) <= longest else text[: longest - 1] + "…"


def of_count(count: int, name: str) -> str:
    """Return a count of things in words.

    >>> of_count(1, "input"), of_count(1200, "input")
    ('1 input', '1,200 inputs')
    """
    return f"{count:,} {name}{'' if count == 1 else 's'}"


def listed(texts: Iterable[str], count: int) -> str:
    """Return texts with commas between them; of many, the first few and how many there are.

    >>> listed(map(str, range(100)), 100)
    '0, 1, 2, … 100 in all'
    """
    if count <= MOST_ENTRIES:
        return ", ".join(texts)
    texts = iter(texts)
    return ", ".join([*(next(texts) for _ in range(3)), f"… {count:,} in all"])


def html(text: Any, longest: int = LONGEST) -> str:
    """Return anything as text in HTML."""
    return escape(one_line(str(text), longest))


def code(text: Any, longest: int = 2 * LONGEST) -> str:
    """Return a text in the letters of code."""
    return f"<code>{html(text, longest)}</code>"


def line(begin: str, facts: Iterable[Any]) -> str:
    """Return a line: HTML, and facts behind it."""
    return f"<div>{' · '.join([begin, *map(html, filter(None, facts))])}</div>"


def table(heads: Sequence[str], rows: Sequence[Sequence[Any]], count: int | None = None, words: int = 1) -> str:
    """Return a table of texts, with its middle left out if it is long.

    Args:
        heads: what is above the columns; none of them for a table without.
        rows: all of them; or the first ones of `count`.
        count: how many there are.
        words: how many of the columns, from the left, are no numbers.
    """
    count = len(rows) if count is None else count
    shown = [_row("td", cells, words) for cells in rows[: MOST_ROWS + 1]]
    if len(rows) > MOST_ROWS + 1:
        half = MOST_ROWS // 2
        shown = [_row("td", cells, words) for cells in (*rows[:half], ["…"] * len(heads), *rows[-half:])]
    elif count > len(rows):
        shown.append(_row("td", [f"… {count - len(rows):,} more", *[""] * (len(rows[0]) - 1)], words))
    head = f"<thead>{_row('th', heads, words)}</thead>" if heads else ""
    return f"<table>{head}<tbody>{''.join(shown)}</tbody></table>"


def _row(kind: str, cells: Sequence[Any], words: int) -> str:
    return "<tr>" + "".join(f"<{kind}{LEFT * (i < words)}>{html(x)}</{kind}>" for i, x in enumerate(cells)) + "</tr>"


def fold(summary: str, inside: str) -> str:
    """Return HTML that is seen when one clicks on its summary."""
    return f"<details><summary>{html(summary)}</summary>{inside}</details>"


def lines(texts: Iterable[str]) -> str:
    """Return lines of code."""
    return f"<pre>{chr(10).join(html(text, 2 * LONGEST) for text in texts)}</pre>"
