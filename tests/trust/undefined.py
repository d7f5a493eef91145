"""Tests with UndefinedBehaviorSanitizer: nothing is done that C leaves undefined."""

from . import sanitized
from .building import build, library_of, run_scenarios, run_tests
from .findings import Findings

# Division by 0.0 is IEEE 754's; float-cast-overflow is looked at, for C leaves it undefined.
FLAGS = "-fsanitize=undefined,float-cast-overflow -fno-sanitize-recover=all"


def run(budget):
    findings = Findings()
    library = library_of("libubsan.so")
    if not library:
        return Findings(missing="gcc with libubsan is needed")
    environment = {"LD_PRELOAD": f"{library} {library_of('libstdc++.so.6')}", "UBSAN_OPTIONS": "print_stacktrace=1"}
    tree = build(FLAGS)
    run_scenarios(budget, findings, tree, environment)
    run_tests(budget, findings, tree, sanitized.FILES, environment, sanitized.LEFT_OUT)
    return findings
