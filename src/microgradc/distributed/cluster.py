"""The cluster of dask that is in force, what its workers were sent, and how they are asked without a task."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from typing import Any
from weakref import WeakKeyDictionary

from microgradc.distributed.tasks import Payload, Point, parts_of_chunks
from microgradc.program.partial import Partial

MOST_KNOWN = 16      # programs and arrays of one client
sent: WeakKeyDictionary[Any, dict[str, Any]] = WeakKeyDictionary()     # by client: the futures of programs, by name
# By client, and by the names of arrays: the worker that had each chunk, when that was asked. It decides who is asked
# for which chunks, and nothing else.
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


def forget_places(client: Any, names: tuple[str, ...]) -> None:
    """Ask again, the next time, where the chunks of arrays are."""
    places.get(client, {}).pop(names, None)


def parts_there(
    client: Any, payload: Payload, point: Point, groups: dict[str, list[int]], chunks: list[list[Any]]
) -> dict[int, Partial] | None:
    """Ask the workers that have chunks for their parts, with no task: that takes a third of the time.

    Args:
        groups: by worker, the numbers of its chunks.
        chunks: the futures of the arrays of each chunk.

    Returns:
        The part of each chunk; None if a worker is lost, or does not have its chunks any more. Tasks then compute what
        is missing.

    Raises:
        Exception: whatever a chunk raised.
    """
    wanted = {
        worker: (numbers, [[future.key for future in chunks[i]] for i in numbers])
        for worker, numbers in groups.items()
    }
    found: dict[int, Partial] = {}
    for sent_payload in (None, payload):       # which most know already
        try:
            answers = client.run(
                _parts_here, payload.name, sent_payload, point, wanted, workers=list(wanted), on_error="return"
            )
        except (OSError, KeyError, ValueError):      # a worker is gone
            return None
        for worker, answer in answers.items():
            if isinstance(answer, BaseException):
                return None
            kind, result = answer
            if kind == "error":
                raise result
            if kind == "parts":
                found |= zip(wanted.pop(worker)[0], result, strict=True)
            elif kind == "chunks":
                return None
        if not wanted:
            return found
    return None


_payloads: dict[str, Payload] = {}      # those that this process, a worker, knows


async def _parts_here(
    name: str, payload: Payload | None, point: Point, wanted: dict[str, tuple[list[int], list[list[Any]]]],
    dask_worker: Any = None,
) -> tuple[str, Any]:
    """Return 'parts' and those of a worker's chunks; 'error' and what a chunk raised; or what is not known here."""
    if payload is not None and name not in _payloads:
        _make_room(_payloads)
        _payloads[name] = payload
    known = _payloads.get(name)
    if known is None:
        return "payload", None
    numbers, keys = wanted[dask_worker.address]
    try:
        chunks: list[Sequence[Any]] = [[dask_worker.data[key] for key in chunk] for chunk in keys]
    except KeyError:
        return "chunks", None
    executor = dask_worker.executors["default"]     # the worker's threads: it stays to be heard meanwhile
    try:
        return "parts", await asyncio.get_running_loop().run_in_executor(
            executor, parts_of_chunks, known, point, numbers, chunks
        )
    except Exception as error:      # of the function, or its numbers: it is raised where it was called
        return "error", error


def _make_room(known: dict[Any, Any]) -> None:
    while len(known) >= MOST_KNOWN:
        del known[next(iter(known))]


def _itself(payload: Payload) -> Payload:
    return payload
