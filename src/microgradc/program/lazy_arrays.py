"""Which arguments are dask arrays: numbers that are not there yet, in chunks."""

from __future__ import annotations

import sys
from typing import Any

from microgradc.program.arguments import STATIC
from microgradc.trees import flatten


def has_chunks(args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    """Return whether there is a dask array among arguments.

    Raises:
        TypeError: there is another collection of dask: it has no rows that can be counted.
    """
    if "dask" not in sys.modules:
        return False
    found = False
    for a in (*args, *kwargs.values()):
        for leaf in [a] if isinstance(a, list) else flatten(a, (list, *STATIC))[0]:
            found = is_dask_array(leaf) or found
    return found


def is_dask_array(leaf: Any) -> bool:
    """Return whether something is a dask array; raise TypeError if it is another collection of dask."""
    if type(leaf).__module__.partition(".")[0] not in ("dask", "dask_expr") or not hasattr(leaf, "__dask_graph__"):
        return False
    if type(leaf).__module__.startswith("dask.array"):
        return True
    raise TypeError(
        f"an argument must be a dask array, with chunks of rows, got {type(leaf).__module__}.{type(leaf).__name__}: "
        "a DataFrame becomes one by .to_dask_array(lengths=True)"
    )
