"""python -m microgradc run: a micrograd script, unchanged."""

import runpy
import sys

from microgradc.cli.dropin import install


def run(script, arguments):
    """Run a script as `python SCRIPT ARGS…` would, with microgradc in micrograd's place.

    Args:
        script: the `pathlib.Path` of a Python file.
        arguments: the script's own arguments.
    """
    install()
    sys.argv = [str(script), *arguments]
    sys.path[0] = str(script.resolve().parent)
    runpy.run_path(str(script), run_name="__main__")
