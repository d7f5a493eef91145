"""Make `micrograd` mean microgradc, for programs that are not to be changed."""

import sys
import warnings


def install():
    """Make `import micrograd`, `micrograd.engine` and `micrograd.nn` give microgradc from now on, in this process.

    For a notebook's first cell. What was imported from micrograd before stays as it is; a warning says so.

    >>> install()
    >>> from micrograd.engine import Value
    >>> Value(2.0) * 3
    Value(data=6.0, grad=0)
    """
    import microgradc
    import microgradc.engine
    import microgradc.nn

    if sys.modules.get("micrograd", microgradc) is not microgradc:
        warnings.warn(
            "micrograd was imported before; what came from it then stays micrograd's: call install() first",
            stacklevel=2,
        )
    sys.modules["micrograd"] = microgradc
    sys.modules["micrograd.engine"] = microgradc.engine
    sys.modules["micrograd.nn"] = microgradc.nn
