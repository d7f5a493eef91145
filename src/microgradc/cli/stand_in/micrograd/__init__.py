"""What `import micrograd` finds in processes that inherit `sys.path` from a script under `python -m microgradc run`."""

import sys

from microgradc.cli.dropin import install

if __name__ == "micrograd":
    del sys.modules["micrograd"]    # itself; install() puts microgradc there
    install()
