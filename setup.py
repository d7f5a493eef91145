"""The extensions, their flags, and how they are built, and the README of the package index; everything else is in
pyproject.toml.

Every `.pyx` file below src/ is an extension of the name that its place gives it; so there is no list of them.
"""

import os
import re
import sys
import tomllib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import Cython
from Cython.Build import cythonize
from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext
from setuptools.modified import newer_group

ROOT = "src/microgradc"
# C that is written by hand and compiled by itself: the kernels, once for each level of SIMD instructions.
KERNELS = sorted(file.as_posix() for file in Path(ROOT, "program/lanes").glob("*.c"))
CHECKED = bool(os.environ.get("MICROGRADC_CHECKED"))   # array bounds are checked; for tests of the engine itself
# One of 0 to 3: compile all at this level, for a build that is soon thrown away.
LEVEL = os.environ.get("MICROGRADC_OPTIMIZE", "")
if LEVEL not in ("", "0", "1", "2", "3"):
    raise SystemExit(f"MICROGRADC_OPTIMIZE must be 0, 1, 2 or 3, got {LEVEL!r}")

DIRECTIVES = {
    "language_level": 3,
    "binding": True,
    "boundscheck": CHECKED,
    "wraparound": CHECKED,
    "auto_pickle": False,
    "c_api_binop_methods": False,
}


def flags(source: str) -> list[str]:
    """Return the compiler's flags for a C file.

    No -ffast-math: results are IEEE 754, and it would switch denormals off for the whole process. No contraction to
    fused multiply-add: results do not depend on the platform. No -march: one wheel runs everywhere. No debug
    information: five sixths of a wheel.
    """
    if sys.platform == "win32":
        # _Static_assert is C11's; comments and docstrings have letters that the system's own encoding may lack.
        return ["/std:c11", "/utf-8"]
    if source.endswith("_kernels.c"):
        level = "s"     # for tests
    elif source in KERNELS or {"engine", "optim"} & {*Path(source).parts}:
        level = "3"     # what runs for each node or each parameter is worth the time that it takes to compile
    else:
        level = "1"     # what calls kernels is not
    common = [f"-O{LEVEL or level}", "-g0", "-ffp-contract=off", "-fno-math-errno", "-fvisibility=hidden"]
    # In kernels the compiler may compute both sides of a choice, which raises no flag that anybody reads.
    return [*common, "-fno-trapping-math"] if source in KERNELS else common


def extension(source: Path) -> Extension:
    """Return the extension of a `.pyx` file, which is built anew when what it may include has changed."""
    parts = source.relative_to("src").with_suffix("").parts
    folders = {Path(ROOT, "engine"), source.parent}
    return Extension(
        ".".join(parts),
        [source.as_posix(), *KERNELS * (source.stem == "program")],
        include_dirs=[ROOT],
        depends=["setup.py"] + [
            file.as_posix()
            for folder in folders
            for ending in ("h", "pxi", "pxd")
            for file in folder.rglob(f"*.{ending}")
        ],
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


def mend(extension: Extension) -> None:
    """Mend list comprehensions in the C that Cython made."""
    for file in map(Path, extension.sources):
        text = file.read_text(encoding="utf-8")
        mended = text.replace(FAULTY, MENDED)
        if mended != text:
            file.write_text(mended, encoding="utf-8")
        elif "__Pyx_ListComp_AppendAndDecref(PyObject" in text and MENDED not in text and Cython.__version__ == "3.3.1":
            raise SystemExit(f"{file}: the helper of list comprehensions is not the one that setup.py mends")


class Build(build_ext):
    """Every C file is a task of its own, the longest first, so that all processors are busy to the end. Nothing is
    translated or compiled before it is asked for: pip runs setup.py more than once."""

    def build_extensions(self):
        workers = self.parallel = self.parallel or os.cpu_count() or 1
        translated = cythonize(
            self.extensions,
            include_path=["src"],
            force=self.force,
            nthreads=workers if workers > 1 else 0,
            compiler_directives=DIRECTIVES,
        )
        for extension, of_c in zip(self.extensions, translated, strict=True):
            mend(of_c)
            extension.sources, extension.define_macros = of_c.sources, of_c.define_macros   # those that files ask for
        tasks = [(extension, source) for extension in self.extensions for source in extension.sources]
        tasks.sort(key=lambda task: (task[1] in KERNELS, os.path.getsize(task[1])), reverse=True)
        with ThreadPoolExecutor(workers) as pool:
            objects = list(pool.map(self.compile_one, *zip(*tasks, strict=True)))
        for extension in self.extensions:
            extension.extra_objects = [
                made for (whose, _), made in zip(tasks, objects, strict=True) if whose is extension
            ]
            extension.depends, extension.sources = extension.depends + extension.sources, []
        super().build_extensions()    # which links them

    def compile_one(self, extension, source):
        """Compile a C file, if it or what it may include has changed; return the name of the object file."""
        made, = self.compiler.object_filenames([source], output_dir=self.build_temp)
        if self.force or newer_group([source, *extension.depends], made):
            self.compiler.compile(
                [source], output_dir=self.build_temp, include_dirs=extension.include_dirs, debug=self.debug,
                macros=extension.define_macros, extra_postargs=flags(source) + extension.extra_compile_args,
            )
        return made


def readme() -> str:
    """Return README.md with links and pictures of this version in the repository: the package index has no files."""
    metadata = tomllib.loads(Path("pyproject.toml").read_text(encoding="utf-8"))
    version = re.search('__version__ = "(.*)"', Path(ROOT, "__init__.py").read_text(encoding="utf-8"))[1]
    address = metadata["project"]["urls"]["Source"]

    def absolute(link):
        kind = "raw" if link[1] else "blob"
        return f"{link[1]}[{link[2]}]({address}/{kind}/v{version}/{link[3]})"

    return re.sub(r"(!?)\[([^]]*)\]\((?!https?:|#)([^)]+)\)", absolute, Path("README.md").read_text(encoding="utf-8"))


if __name__ == "__main__":
    setup(
        long_description=readme(),
        long_description_content_type="text/markdown",
        cmdclass={"build_ext": Build},
        ext_modules=[extension(source) for source in sorted(Path(ROOT).rglob("*.pyx"))],
    )
