"""python -m microgradc run: a micrograd script, unchanged."""

import io
import os
import sys
import types
from collections.abc import Callable
from importlib.machinery import SourceFileLoader
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from microgradc.cli.dropin import install
from microgradc.cli.terminal import interrupt_at_ctrl_c

_Hook = Callable[[type[BaseException], BaseException, types.TracebackType | None], Any]
_former: list[types.ModuleType] = []
SCRIPT = "MICROGRADC_SCRIPT"    # the variable that tells worker processes which script it is


def run(script: Path, arguments: list[str]) -> None:
    """Run a script as `python SCRIPT ARGS…` would, with microgradc in micrograd's place.

    The script's module is `__main__` from then on, also when its body has ended: threads, functions of atexit and
    pickles still need it. Worker processes that are spawned begin with `microgradc.cli.spawned`, which the module's
    `__spec__` names to multiprocessing; those of joblib, which begin with nothing of the script, inherit `sys.path`, on
    which there is a stand-in for micrograd.

    Args:
        script: the `pathlib.Path` of a Python file.
        arguments: the script's own arguments.
    """
    install()
    sys.argv = [str(script), *arguments]
    sys.path[:1] = [str(script.resolve().parent), str(Path(__file__).parent / "stand_in")]
    os.environ[SCRIPT] = str(script.absolute())
    _former.append(sys.modules["__main__"])    # else its names would be cleared, and this program still runs in it
    module = sys.modules["__main__"] = types.ModuleType("__main__")
    module.__spec__ = find_spec("microgradc.cli.spawned")
    interrupt_at_ctrl_c()
    try:
        execute(str(script.absolute()), vars(module))
    except SystemExit:
        raise
    except BaseException as error:
        for _ in range(2):    # without the frames of this file
            error.__traceback__ = error.__traceback__ and error.__traceback__.tb_next
        sys.excepthook(type(error), error, error.__traceback__)
        sys.excepthook = _all_but(error, sys.excepthook)
        raise


def execute(path: str, namespace: dict[str, Any]) -> None:
    """Execute a Python file in a namespace."""
    with io.open_code(path) as file:
        source = file.read()
    namespace.update(__file__=path, __cached__=None, __doc__=None, __package__=None, __builtins__=__builtins__)
    namespace["__loader__"] = SourceFileLoader(namespace["__name__"], path)
    namespace.setdefault("__annotations__", {})
    exec(compile(source, path, "exec", dont_inherit=True), namespace)


def _all_but(printed: BaseException, hook: _Hook) -> _Hook:
    """Return a hook that prints all exceptions but one, which was printed."""

    def print_another(
        kind: type[BaseException], error: BaseException, traceback: types.TracebackType | None
    ) -> None:
        if error is not printed:
            hook(kind, error, traceback)

    return print_another
