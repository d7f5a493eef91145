"""Arguments in chunks: `microgradc.distributed` is imported when there are some."""

from __future__ import annotations

from typing import Any

from microgradc.program.lazy_arrays import has_chunks


def chunked(compiled: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Return the arguments of a compiled function as `distributed.chunks.Chunks`; None if there are no chunks."""
    if not has_chunks(args, kwargs):
        return None
    from microgradc.distributed.chunks import Chunks

    return Chunks(compiled, args, kwargs)


def rows_in_chunks(X: Any) -> Any:
    """Return a dask array of examples as `distributed.chunks.Rows`."""
    from microgradc.distributed.chunks import Rows

    return Rows(X)
