"""Scenarios and tests within Valgrind: nothing depends on memory that nobody has written, or that was given back.

Nodes are CPython's to allocate then, and CPython has malloc do so: Valgrind knows each of them. It is 50 times slower.
"""

import shutil
import tempfile
from pathlib import Path

from .building import build, run_scenarios, run_tests
from .findings import Findings

# None of these imports PyTorch, which takes minutes here.
FILES = [
    "program/test_share.py",
    "program/test_plan.py",
    "engine/test_copying.py",
    "program/test_train_places.py",
    "program/test_one.py",
]
# What others do, by the frame on top. CPython 3.11 takes the digit of an int that is 0, which has none, times 0: where
# in its table of small integers that int lies then counts as unknown for ever, for each who uses its address.
SUPPRESSIONS = "\n".join(
    f"{{\n   {kind} in {where}\n   Memcheck:{kind}\n   {where}\n}}"
    for kind, places in {
        "Cond": "fun:maybe_small_long fun:_PyLong_FromByteArray fun:PyLong_FromString fun:long_bitwise",
        "Value8": "obj:*/libpython* obj:*/bin/python* obj:*/lib-dynload/*",
        # Words and vectors that are longer than a text.
        "Addr8": "obj:*/ld-linux*",
        "Addr32": "fun:*memcmp*",
    }.items()
    for where in [*places.split(), *["obj:*/site-packages/*"] * (kind[0] != "A")]
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
    environment = {"PYTHONMALLOC": "malloc", "MICROGRADC_SLAB": "0", "MICROGRADC_SIMD": "avx2"}
    run_scenarios(budget, findings, tree, environment, prefix)
    run_tests(budget, findings, tree, FILES, environment, prefix=prefix)
    return findings
