"""What cells of notebooks show of graphs, programs, loops and compiled functions: how large they are, and how they
begin."""

from __future__ import annotations

from itertools import islice
from typing import Any

from microgradc.cells import MOST_ROWS, code, fold, line, lines, of_count, table
from microgradc.program.keys import in_words, plain

MOST_LINES = 30         # of a graph
MOST_LOOPS = 4
MOST_RECORDINGS = 6


def page_of_graph(graph: Any) -> str:
    """Return the facts of a graph, its first expressions and its first loops."""
    facts = [
        of_count(len(graph), "expression"),
        of_count(graph.input_count, "input"),
        of_count(graph.parameter_count, "parameter"),
        of_count(len(graph.outputs), "output"),
    ]
    return line("<b>Graph</b>", facts) + _folds(graph)


def page_of_program(program: Any, graph: Any) -> str:
    """Return the facts of a program, and the first expressions of what was recorded. It is not planned for that."""
    return line("<b>Program</b>", _sizes(program, graph)) + _folds(graph)


def page_of_loop(loop: Any) -> str:
    """Return the facts of a loop, and the first expressions of its body."""
    facts = [
        of_count(loop.length, "iteration") + (" at most" if loop.ends else ""),
        *(f"{name}: {getattr(loop, name)}" for name in ("carries", "xs", "ys")),
    ]
    return line("<b>Loop</b>", facts) + _folds(loop.body, "of its body")


def page_of_function(function: Any, recordings: Any) -> str:
    """Return what a compiled function is called, its recordings, and the program of the latest."""
    latest = [*recordings.used][: -1 - MOST_RECORDINGS : -1] or [r for r, _ in getattr(recordings, "carried", ())]
    count = max(len(recordings.used), len(latest))
    rows = [
        [_arguments(recording.keys), *(f"{n:,}" for n in (p.input_count, len(p.parameters), p.output_count))]
        for recording in latest[:MOST_RECORDINGS]
        for p in [recording.program]
    ]
    begin = line(code(repr(function)), [of_count(count, "recording") if count else "not recorded yet"])
    if not rows:
        return begin
    all_of_them = table(["recorded for", "inputs", "parameters", "outputs"], rows, count)
    return begin + all_of_them + fold("the latest", latest[0].program._repr_html_())


def page_of_parameters(function: Any) -> str:
    """Return what unfolds to the first parameters of a function that was loaded."""
    count = len(function.parameters)
    rows = [[name, repr(p.data)] for name, p in islice(function.named_parameters(), MOST_ROWS)]
    return fold(of_count(count, "parameter"), table(["parameter", "data"], rows, count)) if rows else ""


def _arguments(keys: list[Any]) -> str:
    """Return what the arguments of a recording look like: the key of an example says it."""
    return next((in_words(plain(key)) for key in keys if isinstance(key[0], bytes)), "a batch")


def _sizes(program: Any, graph: Any) -> list[str]:
    return [
        of_count(program.input_count, "input"),
        of_count(len(program.parameters), "parameter"),
        of_count(program.output_count, "output"),
        of_count(len(graph), "expression"),
    ]


def _folds(graph: Any, of_what: str = "") -> str:
    count, loops = len(graph), graph.all_loops
    texts = graph.first_lines(MOST_LINES)
    what = f"expressions {of_what}".strip()
    summary = f"the {what}" if count <= MOST_LINES else f"the first {len(texts)} of {count:,} {what}"
    folds = [fold(summary, lines(texts))] if count else []
    for i, loop in enumerate(loops[:MOST_LOOPS]):
        folds.append(fold(f"loop {i}: {repr(loop).strip('<>')}", lines(loop.body.first_lines(MOST_LINES))))
    if len(loops) > MOST_LOOPS:
        folds.append(line(f"… {len(loops) - MOST_LOOPS:,} more loops", []))
    return "".join(folds)
