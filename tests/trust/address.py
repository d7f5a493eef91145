"""Tests with AddressSanitizer: no byte is read or written that is not there, or not any more. Free places of slabs are
out of bounds too (engine/slab.h)."""

from . import sanitized
from .building import build, library_of, run_scenarios, run_tests
from .findings import Findings

FLAGS = "-fsanitize=address -fno-omit-frame-pointer"
# CPython frees little when it ends: what is alive then says nothing.
OPTIONS = "detect_leaks=0:allocator_may_return_null=1:handle_segv=1:detect_stack_use_after_return=0"


def run(budget):
    findings = Findings()
    library = library_of("libasan.so")
    if not library:
        return Findings(missing="gcc with libasan is needed")
    # libstdc++ first, or the exceptions of other libraries are not found.
    environment = {
        "LD_PRELOAD": f"{library} {library_of('libstdc++.so.6')}",
        "ASAN_OPTIONS": OPTIONS,
        "PYTHONMALLOC": "malloc",
    }
    tree = build(FLAGS)
    run_scenarios(budget, findings, tree, environment)
    run_tests(budget, findings, tree, sanitized.FILES, environment, sanitized.LEFT_OUT)
    return findings
