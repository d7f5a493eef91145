"""A few tests within Valgrind: no read of memory that nobody has written, or that was freed. It is 50 times slower."""

import shutil
import tempfile
from pathlib import Path

from .building import build, run_tests
from .findings import Findings

FILES = [
    "engine/test_wide.py",
    "program/test_one.py",
    "program/test_share.py",
    "program/test_plan.py",
    "engine/test_custom.py",
    "program/test_map.py",
    "program/test_scan.py",
]
# Frames of CPython and of libraries that it loads, which read ahead; not ours.
SUPPRESSIONS = "\n".join(
    f"{{\n   {kind} in {where}\n   Memcheck:{kind}\n   ...\n   {where}\n}}"
    for kind in ("Cond", "Value8", "Value4", "Addr4", "Addr8", "Addr16", "Addr32")
    for where in ("obj:*libpython*", "obj:*numpy*", "obj:*torch*", "obj:*python3*", "obj:*scipy*", "obj:*ld-linux*")
)


def run(budget):
    if shutil.which("valgrind") is None:
        return Findings(missing="valgrind is needed")
    findings, tree = Findings(), build(["-fno-omit-frame-pointer"])
    file = Path(tempfile.gettempdir(), "microgradc-trust.supp")
    file.write_text(SUPPRESSIONS, encoding="utf-8")
    prefix = (
        "valgrind",
        "--quiet",
        "--error-exitcode=99",
        "--leak-check=no",
        f"--suppressions={file}",
        "--show-mismatched-frees=no",
        "--num-callers=20",
    )
    # AVX-512 is unknown to it.
    run_tests(budget, findings, tree, FILES, {"PYTHONMALLOC": "malloc", "MICROGRADC_SIMD": "avx2"}, prefix=prefix)
    return findings
