"""Make `micrograd` mean microgradc, for programs that are not to be changed."""

from __future__ import annotations

import importlib
import sys
import warnings
from importlib.abc import Loader
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Any


def install() -> None:
    """Make `import micrograd` give microgradc from now on, in this process, and each `micrograd.x` the module
    `microgradc.x`.

    For a notebook's first cell. What was imported from micrograd before stays as it is; a warning says so.

    Raises, later: ImportError, where a program imports a submodule that microgradc does not have.

    >>> install()
    >>> from micrograd.engine import Value
    >>> Value(2.0) * 3
    Value(data=6.0, grad=0)
    >>> from micrograd.optim import SGD
    >>> SGD.__module__
    'microgradc.optim.rules'
    """
    import microgradc
    import microgradc.engine
    import microgradc.nn

    if sys.modules.get("micrograd", microgradc) is not microgradc:
        warnings.warn(
            "micrograd was imported before; what came from it then stays micrograd's: call install() first",
            stacklevel=2,
        )
    for name in [name for name in sys.modules if name.startswith("micrograd.")]:
        del sys.modules[name]
    sys.modules["micrograd"] = microgradc
    sys.modules["micrograd.engine"] = microgradc.engine
    sys.modules["micrograd.nn"] = microgradc.nn
    if not any(type(finder) is _Finder for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())


class _Finder(Loader):
    """An entry of `sys.meta_path`, and a loader: `micrograd.x` is the module `microgradc.x`, never a second copy."""

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        """Return how to import a module of micrograd while microgradc is in its place; None for any other."""
        if not name.startswith("micrograd.") or sys.modules.get("micrograd") is not sys.modules["microgradc"]:
            return None
        ours = "microgradc" + name[len("micrograd") :]
        try:
            module = importlib.import_module(ours)
        except ModuleNotFoundError as error:
            if error.name != ours:
                raise    # what that module itself imports is missing
            if sys._getframe(2).f_globals.get("__name__") == "importlib.util":
                return None    # a program asks whether there is one
            raise ModuleNotFoundError(
                f"no module {name!r}: `micrograd` is microgradc here (install() or python -m microgradc run), "
                f"which has no {ours!r}; dir(microgradc) lists what it has",
                name=name,
            ) from None
        return ModuleSpec(name, self, origin=getattr(module, "__file__", None), is_package=hasattr(module, "__path__"))

    def create_module(self, spec: ModuleSpec) -> None:
        """Leave it to the import system to make a module, which `exec_module` puts ours in place of."""

    def exec_module(self, module: ModuleType) -> None:
        """Put our module in place of a new one."""
        name = module.__name__
        sys.modules[name] = sys.modules["microgradc" + name[len("micrograd") :]]
