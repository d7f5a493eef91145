"""The extensions and their flags; everything else is in pyproject.toml.

Every `.pyx` file below src/ is an extension of the name that its place gives it; so there is no list of them.
"""

import os
import sys
from pathlib import Path

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


setup(
    options={"build_ext": {"parallel": os.cpu_count()}},
    ext_modules=cythonize(
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
    ),
)
