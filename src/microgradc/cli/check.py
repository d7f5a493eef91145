"""python -m microgradc check MODULE:FUNCTION: a function on Values, compiled, and on PyTorch's tensors, as a table."""

from __future__ import annotations

import importlib
import inspect
import os
import sys
from importlib.util import find_spec
from pathlib import Path
from traceback import TracebackException
from typing import Any

import microgradc
from microgradc.checking.compare import compared


class CheckError(Exception):
    """What was asked for cannot be checked; the message says why."""


class FunctionError(Exception):
    """What is to be checked raised an exception: the message says which. `traceback` is the text that shows where."""

    def __init__(self, what: str, error: BaseException) -> None:
        super().__init__(f"{what}, {type(error).__name__}: {error}")
        shown = TracebackException.from_exception(error)
        _keep_users_frames(shown)
        self.traceback = "".join(shown.format())


def check(target: str, inputs: str, order: int) -> int:
    """Print the table; return 0 if all numbers agree, and 1 if they do not, or were not compared.

    Args:
        target: MODULE:FUNCTION, the module as it is imported from the current folder.
        inputs: the numbers, with commas between them.
        order: 2 for second derivatives too.

    Raises:
        CheckError: there is no such function, or it does not take these inputs.
        FunctionError: the function, or its module, raised an exception.
    """
    f, numbers = _found(target), _numbers(inputs)
    arguments = _arguments(f, numbers, target)
    has_torch = find_spec("torch") is not None
    try:
        found = compared(f, arguments, order, 1e-9, 1e-9, has_torch)
    except Exception as error:
        raise FunctionError(f"{target} raised an exception", error) from error
    print(found)
    return 0 if found.agrees else 1


def _found(target: str) -> Any:
    module_name, _, name = target.partition(":")
    if not module_name or not name:
        raise CheckError(f"what is checked is MODULE:FUNCTION, such as models:loss, got {target!r}")
    if os.getcwd() not in sys.path and "" not in sys.path:
        sys.path.insert(0, os.getcwd())
    module_name = module_name.removesuffix(".py").replace(os.sep, ".")
    try:
        found: Any = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module_name}.".startswith(f"{error.name}."):
            raise CheckError(f"{module_name} imports {error.name}, which is not installed") from error
        raise CheckError(f"there is no module {module_name}, here or among what is installed") from error
    except Exception as error:
        raise FunctionError(f"{module_name} cannot be imported", error) from error
    for part in name.split("."):
        if not hasattr(found, part):
            known = [n for n, thing in vars(found).items() if inspect.isfunction(thing) and not n.startswith("_")]
            there = f"it has {', '.join(known[:10])}" if known else "it has none"
            raise CheckError(f"there is no function {name} in {module_name}; {there}")
        found = getattr(found, part)
    if not callable(found):
        raise CheckError(f"{target} is not a function, but {type(found).__name__} {found!r:.40}")
    return found


def _keep_users_frames(shown: TracebackException | None) -> None:
    """Take the frames of this package, and of Python's imports, off a traceback and off those of its causes."""
    while shown is not None:
        folders = (str(Path(module.__file__ or "").parent) + os.sep for module in (microgradc, importlib))
        ours = (*folders, "<frozen importlib")
        shown.stack[:] = [frame for frame in shown.stack if not frame.filename.startswith(ours)]
        _keep_users_frames(shown.__cause__)
        shown = shown.__context__


def _numbers(text: str) -> list[float]:
    try:
        return [float(part) for part in text.split(",") if part.strip()]
    except ValueError as error:
        raise CheckError(f"--inputs are numbers with commas between them, such as 1.0,2.0, got {text!r}") from error


def _arguments(f: Any, numbers: list[float], target: str) -> tuple[Any, ...]:
    """Return the numbers as arguments: one for each parameter, or all as one list for a function of one parameter."""
    try:
        signature = inspect.signature(f)
    except (TypeError, ValueError):
        return tuple(numbers)
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    by_place = [p for p in signature.parameters.values() if p.kind in kinds]
    needed = [p for p in by_place if p.default is inspect.Parameter.empty]
    takes_more = any(p.kind is inspect.Parameter.VAR_POSITIONAL for p in signature.parameters.values())
    if len(needed) <= len(numbers) and (takes_more or len(numbers) <= len(by_place)) and numbers:
        return tuple(numbers)
    if len(needed) == 1 and len(numbers) > 1 and not takes_more:
        return (numbers,)
    raise CheckError(f"{target}{signature} takes {len(needed)} numbers, and --inputs has {len(numbers)}")
