"""micrograd's API, compiled: a scalar reverse-mode autodiff engine.

`Value` is the number that remembers how it was made. The rest are functions of Values and, each in a module of its own
that is imported on first use, networks (`nn`), losses, optimizers, training, small data sets, pictures and checkpoints.
"""

import sys as _sys

from microgradc import after_numpy as _after_numpy
from microgradc import engine
from microgradc import moved as _moved
from microgradc.engine import functions as _functions

__version__ = "0.2.0"    # the only place that has it
if _moved not in _sys.meta_path:
    _sys.meta_path.append(_moved)
_after_numpy.extend_numpy()


def _read_stub():
    """Return the module of each public name, by `__init__.pyi`, which is the only list of them."""
    path = f"{__path__[0]}/__init__.pyi"
    places = {}
    for number, line in enumerate(__loader__.get_data(path).decode().splitlines(), start=1):
        match line.split(maxsplit=3):
            case ["from", "microgradc.engine.functions", "import", "*"]:
                places |= dict.fromkeys(_functions.__all__, "microgradc.engine.functions")
            case ["from", module, "import", names]:
                words = names.replace(" as ", ", ").split(", ")
                if words[::2] != words[1::2]:
                    raise ImportError(f"{path}, line {number}: not `from module import a as a, b as b`: {line!r}")
                places |= dict.fromkeys(words[::2], module)
            case [name, "=", _]:
                places[name] = "microgradc"    # a module by its former name
            case [] | ["#", *_] | ["import", _] | ["__version__:", "str"]:
                pass
            case _:
                raise ImportError(f"{path}, line {number}: not understood: {line!r}")
    return places


_PLACES = _read_stub()
__all__ = [*_PLACES]

# The engine is imported at once. The rest imports NumPy, or more of the standard library than an engine needs.
_AT_ONCE = {"microgradc.engine": engine, "microgradc.engine.functions": _functions}
globals().update(
    {name: getattr(_AT_ONCE[module], name) for name, module in _PLACES.items() if module in _AT_ONCE}
)


def __getattr__(name):
    if name not in _PLACES:
        new = _moved.renamed(name)
        if new is None:
            raise AttributeError(f"module 'microgradc' has no attribute {name!r}")
        return getattr(_sys.modules[__name__], new)
    module = _PLACES[name]
    if module == "microgradc":
        __import__(f"microgradc.{name}")
        value = _sys.modules[f"microgradc.{name}"]
    else:
        value = getattr(__import__(module, fromlist=[name]), name)    # which may be a module of a package
    globals()[name] = value
    return value


def __dir__():
    return sorted({*(name for name in globals() if not name.startswith("_")), *__all__, "__version__"})
