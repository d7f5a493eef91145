"""The cluster of dask that is in force, and what its workers were sent."""

from __future__ import annotations

import sys
from typing import Any
from weakref import WeakKeyDictionary

from microgradc.distributed.tasks import Payload

MOST_PROGRAMS = 16      # of one client
sent: WeakKeyDictionary[Any, dict[str, Any]] = WeakKeyDictionary()     # by client: the futures of programs, by name


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
        while len(known) >= MOST_PROGRAMS:
            del known[next(iter(known))]
        found = known[payload.name] = client.submit(_itself, payload, key=payload.name)
    return found


def _itself(payload: Payload) -> Payload:
    return payload
