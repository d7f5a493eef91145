"""The compiler: `compile` records a function of one example, and a `Program` replays the recording over many."""

from microgradc.program.program import Program, get_num_threads, set_num_threads

__all__ = ["Program", "get_num_threads", "set_num_threads"]
