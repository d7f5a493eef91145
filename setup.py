"""The extensions and their flags; everything else is in pyproject.toml."""

import os
import sys

from Cython.Build import cythonize
from setuptools import Extension, setup

# No -ffast-math: results are IEEE 754, and it would switch denormals off for the whole process. No contraction to fused
# multiply-add: results do not depend on the platform. No -march: one wheel runs everywhere.
FLAGS = [] if sys.platform == "win32" else ["-O3", "-ffp-contract=off", "-fno-math-errno", "-fvisibility=hidden"]
CHECKED = bool(os.environ.get("MICROGRADC_CHECKED"))   # array bounds are checked; for tests of the engine itself
# Lanes: the compiler may compute both sides of a choice, which raises no flag that anybody reads, and so vectorise it.
FLAGS_FOR_LANES = [] if sys.platform == "win32" else ["-fno-trapping-math"]
HEADERS = ["ops.h", "node.h", "wide.h", "slab.h", "memory.h"]
INCLUDED = ["numbers.pxi", "graph.pxi", "making.pxi", "copying.pxi", "custom.pxi", "engine.pxd"]
LANES = ["lanes.h", "lanes_level.h", "lanes_rows.h", "lanes_dense.h", "lanes_sums.h", "vmath.h", "vmath_angles.h", "lanes.pxi"]


def extension(name, flags=(), included=()):
    return Extension(
        f"microgradc.{name}",
        [f"src/microgradc/{name}.pyx"],
        include_dirs=["src/microgradc"],
        depends=[f"src/microgradc/{file}" for file in [*HEADERS, *INCLUDED, *included]],
        extra_compile_args=[*FLAGS, *flags],
    )


setup(
    ext_modules=cythonize(
        [*map(extension, ("engine", "functions", "modules", "updates")), extension("program", FLAGS_FOR_LANES, LANES)],
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
