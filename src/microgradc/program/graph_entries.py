"""Graphs as entries of a file: arrays of numbers, and what the metadata say of their loops.

Changes with what a file has of a graph; function_file.py says what that is.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from typing import Any

import numpy as np

from microgradc import checks
from microgradc.program.graph import Graph, Loop, flat, graph_of

__all__ = [
    "ENTRIES", "arrays_of", "graph_of_entries", "loops_of", "names_of_loops", "require_small", "texts", "type_of",
]  # fmt: skip

ENTRIES = {"ops": "I32", "counts": "I32", "operands": "I32", "outputs": "I32", "constants": "F64", "parameters": "F64"}
_BODY_ENTRIES = ("ops", "counts", "operands", "outputs", "constants", "parts")
_WAYS = ("ends", "keeps_all")
_PARTS = ("scan", "result")
_NUMBERED = ("input", "parameter", *_PARTS)     # expressions with a number besides their operands
_DEEPEST_LOOPS = 32     # loops in loops
_MOST_KEPT = 1 << 26    # numbers that are kept from all iterations: a file must not take the memory of the machine


def type_of(name: str) -> str:
    """Return the type of the numbers of an entry; those of bodies have names that end like those of the function."""
    return ENTRIES.get(name.rpartition(".")[2], "I32")


def arrays_of(graph: Graph, path: str) -> tuple[list[str], dict[str, np.ndarray]]:
    """Return the names of the operations of a graph, and its entries."""
    _, _, names, ops, counts, operands, leaves, constants, outputs, _ = flat(graph)
    entries = {"ops": ops, "counts": counts, "operands": operands, "outputs": outputs, "constants": constants}
    arrays = {path + name: np.array(entry, np.int32 if entry.typecode == "i" else float)
              for name, entry in entries.items()}
    is_numbered, is_part = (np.array([name in kinds for name in names], bool) for kinds in (_NUMBERED, _PARTS))
    all_ops = arrays[path + "ops"]
    with_leaves = _chosen(all_ops, _chosen(is_numbered, all_ops))
    arrays[path + "parts"] = _chosen(np.array(leaves, np.int32), _chosen(is_part, with_leaves))
    return list(names), arrays


def _chosen(array: np.ndarray, where: np.ndarray) -> np.ndarray:
    return array[where]


def loops_of(graph: Graph, path: str, arrays: dict[str, np.ndarray], depth: int = 1) -> list[dict[str, Any]]:
    """Return what the metadata say of the loops of a graph; put the entries of their bodies into the arrays."""
    found = []
    for i, loop in enumerate(graph.all_loops):
        if depth > _DEEPEST_LOOPS:
            raise ValueError(f"a file can have loops in loops, {_DEEPEST_LOOPS} deep at most")
        inside = f"{path}loops.{i}."
        operations, of_body = arrays_of(loop.body, inside)
        arrays.update(of_body)
        found.append({
            "length": loop.length, "carries": loop.carries, "xs": loop.xs, "ends": loop.ends,
            "keeps_all": loop.keeps_all, "operations": operations,
            "loops": loops_of(loop.body, inside, arrays, depth + 1),
        })
    return found


def names_of_loops(content: dict[str, Any], path: str = "", depth: int = 0) -> Iterator[str]:
    """Yield the names of the entries that loops have, the first of which says what the loops of a graph are."""
    loops = content.get("loops")
    if not isinstance(loops, list) or not all(isinstance(loop, dict) for loop in loops):
        raise ValueError("its loops must be a list of objects")
    if depth > _DEEPEST_LOOPS:
        raise ValueError(f"it has loops in loops, more than {_DEEPEST_LOOPS} deep")
    yield from [f"{path}{name}" for name in (_BODY_ENTRIES if depth else ("parts",))]
    for i, loop in enumerate(loops):
        yield from names_of_loops(loop, f"{path}loops.{i}.", depth + 1)


def graph_of_entries(content: dict[str, Any], arrays: dict[str, np.ndarray], wanted: tuple[int, int]) -> Graph:
    """Return the graph of a function in a file, its loops checked.

    Args:
        content: what the metadata say.
        arrays: the entries.
        wanted: how many inputs and parameters there must be.

    Raises:
        ValueError: it is not a graph, or its loops keep too much.
    """
    loops = _loops_in(content, arrays) if content["format"] > 1 else []
    graph = _graph_of(content, arrays, loops, wanted=wanted)
    require_small(graph)
    return graph


def _graph_of(
    content: dict[str, Any], arrays: dict[str, np.ndarray], loops: list[Loop], path: str = "",
    wanted: tuple[int, int] | None = None,
) -> Graph:  # fmt: skip
    """Return a graph of a file: that of the function, or of the body of a loop."""
    operations = texts(content, "operations")
    ops = arrays[path + "ops"]
    if len(operations) and ops.size and not 0 <= ops.min() <= ops.max() < len(operations):
        raise ValueError(f"{path}ops must be numbers of the {len(operations)} operations")
    is_numbered = np.array([name in _NUMBERED for name in operations], bool)   # any name in its place is found later
    counts = dict.fromkeys(_NUMBERED, 0)
    parts = arrays.get(path + "parts", np.zeros(0, np.int32)).tolist()
    order = array("i")
    for code in _chosen(ops, _chosen(is_numbered, ops)).tolist() if len(operations) else ():
        name = operations[code]
        if name in ("input", "parameter"):
            order.append(counts[name])
        elif counts["scan"] + counts["result"] < len(parts):
            order.append(parts[counts["scan"] + counts["result"]])
        else:
            raise ValueError(f"there are more loops and results of loops than the {len(parts)} numbers for them")
        counts[name] += 1
    if counts["scan"] + counts["result"] != len(parts):
        raise ValueError(f"there are {counts['scan'] + counts['result']} loops and results of loops, and "
                         f"{len(parts)} numbers for them")
    if wanted is not None and wanted != (counts["input"], counts["parameter"]):
        raise ValueError(f"there must be {wanted[0]} inputs and {wanted[1]} parameters, as its arguments and "
                         f"parameters are, got {counts['input']} and {counts['parameter']}")
    ints = {name: array("i", arrays[path + name].tobytes()) for name in ("ops", "counts", "operands", "outputs")}
    graph = graph_of(
        counts["input"], counts["parameter"], tuple(operations), ints["ops"], ints["counts"], ints["operands"], order,
        array("d", arrays[path + "constants"].tobytes()), ints["outputs"], loops,
    )
    if len(set(operations)) != len(operations):
        raise ValueError("a name of an operation comes twice")
    return graph


def _loops_in(content: dict[str, Any], arrays: dict[str, np.ndarray], path: str = "") -> list[Loop]:
    """Return the loops of a graph of a file."""
    found = []
    for i, loop in enumerate(content["loops"]):
        inside = f"{path}loops.{i}."
        body = _graph_of(loop, arrays, _loops_in(loop, arrays, inside), inside)
        numbers, ways = ([loop.get(name) for name in names] for names in (("length", "carries", "xs"), _WAYS))
        if not all(type(x) is int and 0 <= x < 1 << 31 for x in numbers) or not all(type(x) is bool for x in ways):
            raise ValueError(f"a loop must have a length, carries and xs, integers, and {' and '.join(_WAYS)}, true or "
                             f"false, got {checks.shown([*numbers, *ways])}")
        found.append(Loop(body, *numbers, *ways))
    return found


def require_small(graph: Graph) -> None:
    """Raise ValueError if the loops of a function keep very many numbers from their iterations."""
    kept, left = 0, list(graph.all_loops)
    while left:
        loop = left.pop()
        kept += loop.length * (loop.ys + loop.carries * loop.keeps_all)
        left += loop.body.all_loops
    if kept > _MOST_KEPT:
        raise ValueError(f"for a file, the loops of a function may keep {_MOST_KEPT:,} ys and carries, got {kept:,}; "
                         "with keep='sqrt' they keep fewer carries")


def texts(content: dict[str, Any], name: str, or_none: bool = False) -> list[Any]:
    """Return a list of texts in the metadata, or of texts and None."""
    found = content.get(name)
    if not isinstance(found, list) or not all(isinstance(x, str) or (or_none and x is None) for x in found):
        raise ValueError(f"its {name} must be a list of texts, got {checks.shown(found)}")
    return found
