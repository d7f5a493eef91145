"""What the command line says, how it was called, and Ctrl-C, which may come while the rest is imported."""

from __future__ import annotations

import os
import signal
import sys
from contextlib import suppress


def say(message: str) -> None:
    """Print a line on standard error, if there is one."""
    if sys.stderr is not None:
        with suppress(OSError):
            print(message, file=sys.stderr, flush=True)


def called() -> str:
    """Return how the command was called, for what it says."""
    name = os.path.basename(sys.argv[0]).removesuffix(".exe")
    return name if name == "microgradc" else "python -m microgradc"


def end_at_ctrl_c() -> None:
    """Have Ctrl-C end this process without a word, at any moment; unless it is ignored, as after `nohup`."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)


def interrupt_at_ctrl_c() -> None:
    """Have Ctrl-C raise KeyboardInterrupt, as Python has it when it begins."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_DFL:
        signal.signal(signal.SIGINT, signal.default_int_handler)
