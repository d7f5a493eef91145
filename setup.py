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
ENGINE = ["ops.h", "node.h", "wide.h", "slab.h", "memory.h", "engine.pxd"]
ENGINE += [f"{name}.pxi" for name in ("numbers", "baggage", "graph", "making", "copying", "custom", "tracing")]
PROGRAM = ["replay.h", "vmath.h", "vmath_angles.h", "lanes.h"]
PROGRAM += [f"lanes_{name}.h" for name in ("level", "rows", "dense", "sums", "wide")]
PROGRAM += [f"{name}.pxi" for name in ("lowering", "planning", "examples", "running", "threads", "lanes")]


def extension(name, *flags):
    return Extension(
        f"microgradc.{name}",
        [f"src/microgradc/{name}.pyx"],
        include_dirs=["src/microgradc"],
        depends=[f"src/microgradc/{file}" for file in ENGINE + PROGRAM * (name == "program")],
        extra_compile_args=[*FLAGS, *flags],
    )


setup(
    ext_modules=cythonize(
        [*map(extension, ("engine", "functions", "modules", "updates")), extension("program", *FLAGS_FOR_LANES)],
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
