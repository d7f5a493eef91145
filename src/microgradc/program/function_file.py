"""Files of recorded functions, in the safetensors format: the graph before any pass, and what goes in and comes out.

Format 1 has these entries:

    ops         int32    for each expression, which of the names of operations it has
    counts      int32    how many operands each has
    operands    int32    those of all, one after another; they are expressions before it
    outputs     int32    the expressions that are returned
    constants   float64  of each expression 'constant', in their order
    parameters  float64  of each expression 'parameter', in their order

The k-th expression 'input' is the k-th number of the arguments. The metadata has one entry, 'microgradc', JSON:

    format      1
    version     of microgradc, which wrote it
    name        of the function
    operations  the names of operations
    arguments   for each its name, its kind ('example': it varies with the example), and its steps
    result      its steps
    parameters  for each its name, or null
    sha256      of all else, see `_digest`

Format 2 is that of functions with loops; a file without any has format 1. It has these entries besides:

    parts       int32    of each 'scan' which loop it has, of each 'result' which of its results, in their order
    loops.0.…   of the body of loop 0: ops, counts, operands, outputs, constants and parts; of a loop in that body
                loops.0.loops.0.…

and in the metadata

    loops       for each its length, carries, xs, ends and keeps_all, as `Loop` has them; the operations of its body;
                and loops, those in that body

Steps are a nest as a flat list, each container before its entries: 'number' or 'integer'; ['array', shape, 'number' or
'integer']; ['list', size], ['tuple', size], ['dict', keys], ['namedtuple', name, fields], ['dataclass', name, fields].
"""

from __future__ import annotations

import inspect
import json
import math
import os
from collections.abc import Callable, Iterator
from types import CodeType
from typing import Any, NamedTuple

import numpy as np

from microgradc import checks, container, trees
from microgradc.engine import Value
from microgradc.program import keys
from microgradc.program.graph import Graph, require_recorded
from microgradc.program.graph_entries import (
    ENTRIES,
    arrays_of,
    graph_of_entries,
    loops_of,
    names_of_loops,
    require_small,
    texts,
    type_of,
)
from microgradc.program.program import Example, recorded_graph
from microgradc.program.recording import Recording

FORMAT = 2
_PLAIN_KEYS = (str, int, float, bool, type(None))
_MOST_DIMENSIONS = 32
_DEEPEST = 5    # lists in lists of parameters that get names


class Stored(NamedTuple):
    """What a file has."""

    name: str
    graph: Graph
    numbers: list[float]                # of the parameters
    parameter_names: list[str | None]
    argument_names: list[str]
    key: keys.Key                       # of the arguments
    result: trees.Shape


def write_function(path: str | os.PathLike[str], f: Callable[..., Any], recording: Recording, args: Any) -> None:
    """Write a recording of a function to a file. See `Compiled.save`.

    Args:
        path: where to.
        f: the function, for the names of its arguments and parameters.
        recording: what it does.
        args: the arguments of one example.

    Raises:
        ValueError: the function has static arguments, or returns what is no number.
    """
    from safetensors.numpy import save as serialize

    from microgradc import __version__

    path = container.check_path(path)
    if not recording.is_of_numbers(or_names=True):
        raise ValueError("a file is of functions of numbers, which return numbers; for a static argument, compile "
                         "functools.partial(f, …) or a function that has it already")
    graph = recorded_graph(recording.program)
    require_recorded(graph)
    require_small(graph)
    parameters = recording.program.parameters
    operations, arrays = arrays_of(graph, "")
    arrays["parameters"] = np.array([p.data for p in parameters], float)
    loops = loops_of(graph, "", arrays)
    if not loops:
        del arrays["parts"]
    arguments = keys.layout_of(Example(args).key).each()
    content = {
        "format": FORMAT if loops else 1,
        "version": __version__,
        "name": getattr(f, "__qualname__", type(f).__name__),
        "operations": operations,
        "arguments": [
            {"name": name, "kind": "example", "steps": _steps_of(layout, "the arguments")}
            for name, layout in zip(
                (*argument_names(f, len(arguments) - len(recording.names)), *recording.names), arguments, strict=True
            )
        ],
        "result": _steps_of(keys.Layout(recording.shape, [keys.Leaf(None, False)] * recording.shape.leaf_count),
                            "the result", first=0),
        "parameters": parameter_names(f, parameters, bool(loops)),
    }
    if loops:
        content["loops"] = loops
    content["sha256"] = _digest(content, arrays)
    # One entry: safetensors writes several in any order, another in each process.
    container.write(path, serialize(arrays, metadata={"microgradc": json.dumps(content)}))


def read_function(path: str | os.PathLike[str]) -> Stored:
    """Return what a file has that `write_function` wrote. All of it is checked.

    Raises:
        ValueError: it is something else, or was written in a format of a later version.
        OSError: it cannot be read.
    """
    path = container.check_path(path)
    try:
        with open(path, "rb") as file:
            header = container.read_header(file, os.fstat(file.fileno()).st_size)
            content = _content_of(header.metadata)
            names = [*ENTRIES, *(names_of_loops(content) if content["format"] > 1 else ())]
            arrays = {name: _read_entry(file, name, header) for name in names}
        return _stored(content, arrays)
    except RecursionError:
        raise ValueError(f"cannot load {path}: its arguments or its result are nested too deeply") from None
    except (ValueError, OverflowError) as error:
        raise ValueError(f"cannot load {path}: {error}") from None


def argument_names(f: Callable[..., Any], count: int) -> list[str]:
    """Return what a function calls its arguments."""
    known: list[str] | None = getattr(f, "argument_names", None)    # of a function that was loaded
    if isinstance(known, list) and len(known) == count:
        return known
    found: list[str] = []
    try:
        parameters = list(inspect.signature(f).parameters.values())
    except (TypeError, ValueError):
        parameters = []
    for p in parameters:
        if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD):
            found.append(p.name)
        elif p.kind == p.VAR_POSITIONAL:
            found += [f"{p.name}[{i}]" for i in range(count - len(found))]
    return (found + [f"argument {i}" for i in range(len(found), count)])[:count]


def parameter_names(f: Callable[..., Any], parameters: tuple[Value, ...], has_loops: bool) -> list[str | None]:
    """Return the name of each parameter: as `named_parameters` of a model has it, after the name of the variable that
    the function, or a step within, finds the model by; or the variable's; or the label of the Value; None if there is
    none."""
    known: list[str | None] | None = getattr(f, "parameter_names", None)
    if isinstance(known, list) and len(known) == len(parameters):
        return known
    owner = getattr(f, "__self__", f)
    names: dict[int, str] = {}
    things: list[tuple[str, Any]] = [("", owner)]
    try:
        plain = getattr(f, "__func__", f)
        variables = inspect.getclosurevars(plain)
        things += [*variables.nonlocals.items(), *variables.globals.items()]
        if has_loops:
            around = plain.__globals__
            things += [(name, around[name]) for name in _names_in(plain.__code__) if name in around]
    except (TypeError, ValueError):     # not a function of Python
        pass
    for name, thing in things:
        for path, p in _named(name, thing):
            names.setdefault(id(p), path)
    found: list[str | None] = []
    seen: set[str] = set()
    for p in parameters:
        wanted = names.get(id(p)) or p.label
        is_new = isinstance(wanted, str) and wanted != "" and wanted not in seen
        found.append(wanted if is_new else None)
        seen.update([wanted] if is_new else [])
    return found


def _names_in(code: CodeType) -> list[str]:
    """Return the names in the functions that a function makes."""
    inner = [constant for constant in code.co_consts if isinstance(constant, CodeType)]
    return [name for one in inner for name in (*one.co_names, *_names_in(one))]


def _named(name: str, thing: Any, depth: int = 0) -> Iterator[tuple[str, Value]]:
    """Yield names of the parameters in a thing."""
    if isinstance(thing, Value):
        yield name, thing
    elif not isinstance(thing, type) and callable(getattr(type(thing), "named_parameters", None)):
        for path, p in thing.named_parameters():
            yield f"{name}.{path}" if name else path, p
    elif isinstance(thing, (list, tuple, dict)) and depth < _DEEPEST:
        for key, entry in thing.items() if isinstance(thing, dict) else enumerate(thing):
            yield from _named(f"{name}[{key!r}]", entry, depth + 1)


def _steps_of(layout: keys.Layout, what: str, first: int = 1) -> list[Any]:
    """Return a layout as JSON has it."""
    found: list[Any] = []
    leaves = iter(layout.leaves)
    for step in layout.shape.steps[first:]:
        if step is None:
            leaf = next(leaves)
            kind = "integer" if leaf.is_integer else "number"
            found.append(kind if leaf.shape is None else ["array", list(leaf.shape), kind])
        elif step.kind is list or step.kind is tuple:
            found.append([step.kind.__name__, step.size])
        elif step.kind is dict:
            for key in step.detail:
                if type(key) not in _PLAIN_KEYS or (isinstance(key, float) and not math.isfinite(key)):
                    wanted = "strings, finite numbers, booleans or None"
                    raise TypeError(f"for a file, the keys of dicts in {what} must be {wanted}, got {key!r:.60}")
            found.append(["dict", list(step.detail)])
        else:
            fields = keys.fields_of(step)
            keys.record_class(step.kind.__name__, fields)   # raises if it cannot be loaded
            found.append(["dataclass" if step.detail else "namedtuple", step.kind.__name__, list(fields)])
    return found


def _digest(content: dict[str, Any], arrays: dict[str, np.ndarray]) -> str:
    """Return the SHA-256 of the content, JSON without spaces and with sorted keys, and of the entries, one by one."""
    from hashlib import sha256

    digest = sha256(json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False).encode())
    for name in (*ENTRIES, *sorted(arrays.keys() - ENTRIES.keys())):
        digest.update(f"{name} {arrays[name].size} ".encode())
        digest.update(arrays[name].astype("<i4" if type_of(name) == "I32" else "<f8", copy=False).tobytes())
    return digest.hexdigest()


def _content_of(metadata: dict[str, str]) -> dict[str, Any]:
    """Return what the metadata say, if this version can read it."""
    text = metadata.get("microgradc")
    if text is None:
        raise ValueError("it is not the file of a compiled function: its metadata have no entry 'microgradc'")
    try:
        found = json.loads(text, object_pairs_hook=container.unique, parse_constant=_refuse_constant)
    except RecursionError:
        raise ValueError("its metadata are nested too deeply") from None
    except ValueError as error:
        raise ValueError(f"its metadata are not JSON: {checks.shown(error, 200)}") from None
    if not isinstance(found, dict):
        raise ValueError("its metadata must be an object")
    number = found.get("format")
    if type(number) is not int or number < 1:
        raise ValueError(f"its format must be a number, got {checks.shown(number)}")
    if number > FORMAT:
        raise ValueError(f"it has format {number}, of a later version of microgradc; this one reads up to {FORMAT}")
    return found


def _refuse_constant(text: str) -> None:
    raise ValueError(f"it has {text}")


def _read_entry(file: Any, name: str, header: container.Header) -> np.ndarray:
    """Return an entry, as arrays of the machine have it."""
    entry = header.entries.get(name)
    if entry is None:
        raise ValueError(f"it has no entry {name!r}")
    size = 4 if type_of(name) == "I32" else 8
    if entry.dtype != type_of(name) or len(entry.shape) != 1 or entry.end - entry.begin != size * entry.shape[0]:
        raise ValueError(f"{name} must be one row of {type_of(name)}, got {entry.dtype} of shape {entry.shape}")
    file.seek(header.start + entry.begin)
    content = file.read(entry.end - entry.begin)
    if len(content) != entry.end - entry.begin:
        raise container.damaged("it became shorter while it was read")
    return np.frombuffer(content, "<i4" if size == 4 else "<f8").astype(np.int32 if size == 4 else float)


def _stored(content: dict[str, Any], arrays: dict[str, np.ndarray]) -> Stored:
    """Return what a file has, checked."""
    said = content.pop("sha256", None)
    if said != _digest(content, arrays):
        raise ValueError("it was damaged or changed: its content has another SHA-256 than it says")
    given = content.get("arguments")
    if not isinstance(given, list) or not all(isinstance(a, dict) for a in given):
        raise ValueError("its arguments must be a list of objects")
    steps: list[trees.Step | None] = [trees.Step(tuple, len(given))]
    leaves: list[keys.Leaf] = []
    for i, argument in enumerate(given):
        if argument.get("kind") != "example":
            kind = checks.shown(argument.get("kind"))
            raise ValueError(f"argument {i} is of the kind {kind}, which this version of microgradc does not know")
        of_argument = _layout_of(argument.get("steps"), f"argument {i}")
        steps += of_argument.shape.steps
        leaves += of_argument.leaves
    result = _layout_of(content.get("result"), "the result")
    if any(leaf != (None, False) for leaf in result.leaves):
        raise ValueError("the result must be made of single numbers")
    wanted = sum(leaf.size for leaf in leaves), arrays["parameters"].size
    graph = graph_of_entries(content, arrays, wanted)
    is_integer = [leaf.is_integer for leaf in leaves for _ in range(leaf.size)]
    for i in require_recorded(graph):
        if not is_integer[i]:
            raise ValueError(f"input {i} is an index, so it must be an integer, got a number")
    if len(graph.outputs) != len(result.leaves):
        raise ValueError(f"the result has {len(result.leaves)} numbers, and the graph {len(graph.outputs)}")
    layout = keys.Layout(trees.Shape(tuple(steps), len(leaves)), leaves)
    names = texts(content, "parameters", or_none=True)
    if len(names) != graph.parameter_count:
        raise ValueError(f"there must be {graph.parameter_count} names of parameters, got {len(names)}")
    return Stored(
        _text(content.get("name"), "its name"), graph, arrays["parameters"].tolist(), names,
        [_text(a.get("name"), f"the name of argument {i}") for i, a in enumerate(given)],
        keys.plain(Example(layout.arguments()).key), result.shape,
    )


def _layout_of(given: Any, what: str) -> keys.Layout:
    """Return steps of JSON as a layout."""
    if not isinstance(given, list):
        raise ValueError(f"the steps of {what} must be a list, got {checks.shown(given)}")
    steps: list[trees.Step | None] = []
    leaves: list[keys.Leaf] = []
    waiting = 1     # for so many entries
    for step in given:
        if not waiting:
            raise ValueError(f"{what} has more steps than its containers have entries")
        read = _step_of(step, what, len(given))
        if isinstance(read, keys.Leaf):
            leaves.append(read)
            steps.append(None)
            waiting -= 1
        else:
            steps.append(read)
            waiting += read.size - 1
    if waiting:
        raise ValueError(f"{what} has fewer steps than its containers have entries")
    return keys.Layout(trees.Shape(tuple(steps), len(leaves)), leaves)


def _step_of(step: Any, what: str, most: int) -> keys.Leaf | trees.Step:
    """Return one of the steps."""
    match step:
        case "number" | "integer":
            return keys.Leaf(None, step == "integer")
        case ["array", [_, *_] as shape, "number" | "integer" as kind] if len(shape) <= _MOST_DIMENSIONS:
            if all(type(n) is int and 0 <= n < 1 << 31 for n in shape):
                return keys.Leaf(tuple(shape), kind == "integer")
        case ["list" | "tuple" as kind, int(size)] if type(size) is int and 0 <= size < most:
            return trees.Step(list if kind == "list" else tuple, size)
        case ["dict", [*names]] if all(type(key) in _PLAIN_KEYS for key in names) and len(set(names)) == len(names):
            return trees.Step(dict, len(names), tuple(names))
        case ["namedtuple" | "dataclass", str(name), [*fields]]:
            return trees.Step(keys.record_class(name, fields), len(fields))
    raise ValueError(f"{what} has a step that is none: {checks.shown(step)}")


def _text(x: Any, what: str) -> str:
    if not isinstance(x, str):
        raise ValueError(f"{what} must be a text, got {checks.shown(x)}")
    return x
