"""Programs in several threads, with ThreadSanitizer: no two threads touch the same number, one of them to write it,
without an order between them.

CPython is not built with it, so it does not see the order that the GIL makes. What it reports of memory that only code
with the GIL touches is no race; `SUPPRESSIONS` says which functions those are. What runs without the GIL, the lanes and
the loops of training, is not among them."""

import tempfile
from pathlib import Path

from .building import build, preloaded
from .child import run_child
from .findings import Findings

SUPPRESSIONS = """
# Objects of CPython: under the GIL.
race:_PyEval_EvalFrameDefault
race:Py_DECREF
race:Py_INCREF
# The engine's nodes and slabs, and what Cython makes of Python code: under the GIL.
race:mgc_allocate
race:mgc_deallocate
race:mgc_give_place_back
race:mgc_next_place
race:mgc_move_window
race:__Pyx_
race:__pyx_pw_
race:__pyx_pf_
race:__pyx_tp_
race:__pyx_tp_dealloc
race:__pyx_tp_new
"""


def run(budget):
    library = preloaded("libtsan.so")
    if not library["LD_PRELOAD"]:
        return Findings(missing="gcc with libtsan is needed")
    findings, tree = Findings(), build(["-fsanitize=thread"])
    file = Path(tempfile.gettempdir(), "microgradc-trust.tsan")
    file.write_text(SUPPRESSIONS, encoding="utf-8")
    options = "report_signal_unsafe=0 ignore_noninstrumented_modules=1 exitcode=66 history_size=4"
    environment = {
        **library,
        "PYTHONPATH": str(tree / "src"),
        "TSAN_OPTIONS": f"suppressions={file} {options}",
    }
    run_child(
        findings,
        budget.seed,
        "under_threads",
        budget.seed,
        max(budget.left(), 5),
        timeout=budget.left() + 600,
        environment=environment,
    )
    return findings
