"""The cluster of dask that is in force, and what its workers were sent."""

from __future__ import annotations

import sys
from typing import Any
from weakref import WeakKeyDictionary

from microgradc.distributed.tasks import Payload

MOST_KNOWN = 16      # programs and arrays of one client
sent: WeakKeyDictionary[Any, dict[str, Any]] = WeakKeyDictionary()     # by client: the futures of programs, by name
# By client, and by the names of arrays: the worker that had each chunk, when that was asked. It decides which chunks
# share a task, and nothing else.
places: WeakKeyDictionary[Any, dict[tuple[str, ...], list[str]]] = WeakKeyDictionary()


def current_client() -> Any:
    """Return the client of a cluster if one is in force, else None."""
    if "distributed" not in sys.modules:
        return None
    from distributed import default_client

    try:
        return default_client()
    except ValueError:
        return None


def sent_to(client: Any, payload: Payload) -> Any:
    """Return the future of a program on a cluster: each worker that needs it fetches it once."""
    known = sent.setdefault(client, {})
    found = known.get(payload.name)
    if found is None or found.cancelled():
        _make_room(known)
        found = known[payload.name] = client.submit(_itself, payload, key=payload.name)
    return found


def places_of(client: Any, names: tuple[str, ...], chunks: list[Any]) -> list[str]:
    """Return the worker that has each chunk of arrays of these names: futures that are done."""
    known = places.setdefault(client, {})
    if names not in known:
        _make_room(known)
        workers = client.who_has(chunks)
        known[names] = [next(iter(workers.get(chunk.key, ())), "") for chunk in chunks]
    return known[names]


def _make_room(known: dict[Any, Any]) -> None:
    while len(known) >= MOST_KNOWN:
        del known[next(iter(known))]


def _itself(payload: Payload) -> Payload:
    return payload
