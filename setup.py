"""The extensions and their flags; everything else is in pyproject.toml.

Every `.pyx` file below src/ is an extension of the name that its place gives it; so there is no list of them.
"""

import os
import sys
from pathlib import Path

import Cython
from Cython.Build import cythonize
from setuptools import Extension, setup

ROOT = "src/microgradc"
# No -ffast-math: results are IEEE 754, and it would switch denormals off for the whole process. No contraction to fused
# multiply-add: results do not depend on the platform. No -march: one wheel runs everywhere. No debug information: five
# sixths of a wheel.
FLAGS = [] if sys.platform == "win32" else ["-O3", "-g0", "-ffp-contract=off", "-fno-math-errno", "-fvisibility=hidden"]
CHECKED = bool(os.environ.get("MICROGRADC_CHECKED"))   # array bounds are checked; for tests of the engine itself
# Lanes: the compiler may compute both sides of a choice, which raises no flag that anybody reads, and so vectorise it.
FLAGS_OF_PROGRAMS = [] if sys.platform == "win32" else ["-fno-trapping-math"]


def extension(source: Path) -> Extension:
    """Return the extension of a `.pyx` file, which is built anew when what it may include has changed."""
    parts = source.relative_to("src").with_suffix("").parts
    folders = {Path(ROOT, "engine"), source.parent}
    return Extension(
        ".".join(parts),
        [source.as_posix()],
        include_dirs=[ROOT],
        depends=[
            file.as_posix()
            for folder in folders
            for ending in ("h", "pxi", "pxd")
            for file in folder.rglob(f"*.{ending}")
        ],
        extra_compile_args=FLAGS + FLAGS_OF_PROGRAMS * ("program" in parts),
    )


# What Cython 3.3.1 makes of a list comprehension gives its item up when the list cannot grow, and the code around it
# gives the item up again: under memory pressure somebody else's reference is lost.
FAULTY = """\
    int result = PyList_Append(list, x);
    Py_DECREF(x);
    return result;
"""
MENDED = """\
    int result = PyList_Append(list, x);
    if (likely(result == 0)) Py_DECREF(x);   /* else the caller does */
    return result;
"""


def mend(extensions: list[Extension]) -> list[Extension]:
    """Mend list comprehensions in the C that Cython made."""
    for file in (Path(source) for extension in extensions for source in extension.sources):
        text = file.read_text()
        mended = text.replace(FAULTY, MENDED)
        if mended != text:
            file.write_text(mended)
        elif "__Pyx_ListComp_AppendAndDecref(PyObject" in text and MENDED not in text and Cython.__version__ == "3.3.1":
            raise SystemExit(f"{file}: the helper of list comprehensions is not the one that setup.py mends")
    return extensions


setup(
    options={"build_ext": {"parallel": os.cpu_count()}},
    ext_modules=mend(cythonize(
        [extension(source) for source in sorted(Path(ROOT).rglob("*.pyx"))],
        include_path=["src"],
        compiler_directives={
            "language_level": 3,
            "binding": True,
            "boundscheck": CHECKED,
            "wraparound": CHECKED,
            "auto_pickle": False,
            "c_api_binop_methods": False,
        },
    )),
)
