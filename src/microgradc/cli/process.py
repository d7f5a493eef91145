"""The command line as a process of its own, which ends without noise: at Ctrl-C, where nobody reads what it prints, and
where what it prints cannot be written."""

from __future__ import annotations

import errno
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import NoReturn

from microgradc.cli.terminal import called, end_at_ctrl_c, say

_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EIO)


def command() -> NoReturn:
    """Run what `microgradc` or `python -m microgradc` was asked for, and end the process.

    The exit code is 0, 1 where something failed, and 2 where the command line is wrong. Ctrl-C ends the process by
    SIGINT, which a shell calls 130, and a closed pipe by SIGPIPE, 141, as with any other program. A script that is run
    ends as it would under Python.
    """
    end_at_ctrl_c()
    from microgradc.cli.main import options_of, perform

    with _ends_without_noise():
        options = options_of(sys.argv[1:])
    if options.command == "run":
        sys.exit(perform(options))
    if sys.stderr is None:      # it was closed, and the progress bar needs one
        sys.stderr = open(os.devnull, "w")      # noqa: SIM115
    if hasattr(sys.stdout, "reconfigure"):      # what a terminal cannot show, the name of a folder say, is an escape
        sys.stdout.reconfigure(errors="backslashreplace")
    with _ends_without_noise():
        sys.exit(perform(options))


@contextmanager
def _ends_without_noise() -> Iterator[None]:
    """Write all that is printed within, also before a SystemExit; end the process where it cannot be written."""
    try:
        try:
            yield
        finally:
            for stream in (sys.stdout, sys.stderr):
                if stream is not None:
                    stream.flush()
    except BrokenPipeError:
        _forget_output()
        if hasattr(signal, "SIGPIPE"):
            signal.signal(signal.SIGPIPE, signal.SIG_DFL)
            os.kill(os.getpid(), signal.SIGPIPE)
        sys.exit(1)
    except OSError as error:
        if error.errno not in _NO_ROOM:
            raise
        say(f"{called()}: cannot write: {error.strerror}")
        _forget_output()
        sys.exit(1)


def _forget_output() -> None:
    """Have what is left to be printed go nowhere: Python would try to write it once more when it ends."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError, AttributeError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
