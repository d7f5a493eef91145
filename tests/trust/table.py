"""The table of parts: a module of this package with `run(budget) -> Findings`, its share of time, and what it does.

A module of several parts is told which one: `run(budget, name)`."""

from dataclasses import dataclass


@dataclass
class Part:
    name: str
    share: float
    what: str
    module: str = ""  # where its name is not that of the part


PARTS = [
    Part("graphs", 4, "random graphs against PyTorch in float64: values, gradients, second derivatives; as programs"),
    Part("programs", 3, "random Python programs over the API, with loops and derivatives, against PyTorch and eager"),
    Part("trees", 1, "random nests of arguments: flat and back, compiled and plain"),
    Part("files", 2, "mutated files of models, functions, states, and pickles: documented errors alone"),
    Part("allocations", 3, "each allocation fails once: MemoryError, nothing is lost, all is usable afterwards"),
    Part("signals", 1, "storms of signals: KeyboardInterrupt or done, usable afterwards"),
    Part("forks", 1, "forks, ends of interpreters and subinterpreters with graphs and threads alive"),
    Part("threads", 1, "several threads in one compiled function: the bits of one thread"),
    Part("leaks", 2, "each scenario again and again: memory and numbers of objects stay flat"),
    Part("address", 3, "tests with AddressSanitizer, free places of slabs out of bounds", "sanitized"),
    Part("undefined", 3, "tests with UndefinedBehaviorSanitizer", "sanitized"),
    Part("thread", 2, "threads of programs with ThreadSanitizer"),
    Part("valgrind", 2, "a few tests within Valgrind"),
    Part("mutants", 4, "faults that were put in, which the tests must see"),
]
