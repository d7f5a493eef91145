"""A copy of the sources that is built otherwise than a wheel: with counters of lines and branches, or with faults.

    built(folder, ["-O1"]) -> the folder, whose `src` is to be imported from
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
PARTS = ("src", "tests", "docs", "examples", "benchmarks", "setup.py", "pyproject.toml", "README.md", "LICENSE",
         "CONTRIBUTING.md", "CHANGELOG.md", "MANIFEST.in")

# Runs setup.py with flags and directives of its own behind those that are there.
BUILD = """
import json, runpy, sys
import Cython.Build
flags, links, directives = json.loads(sys.argv.pop(1))
plain = Cython.Build.cythonize
def cythonize(extensions, **options):
    options["compiler_directives"] = {**options["compiler_directives"], **directives}
    for extension in extensions:
        extension.extra_compile_args += flags
        extension.extra_link_args += links
    return plain(extensions, **options)
Cython.Build.cythonize = cythonize
sys.argv = ["setup.py", "build_ext", "--inplace"]
runpy.run_path("setup.py", run_name="__main__")
"""


def copy_of_sources(folder):
    """Copy what tests need, without anything that was built."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for name in PARTS:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, folder / name, dirs_exist_ok=True, ignore=shutil.ignore_patterns(
                "*.so", "*.pyd", "__pycache__", "*.egg-info", "build"))
        elif (ROOT / name).exists():
            shutil.copy2(ROOT / name, folder / name)
    for file in (folder / "src").rglob("*.pyx"):
        file.with_suffix(".c").unlink(missing_ok=True)
    return folder


def built(folder, flags, links=(), **directives):
    """Build the copy in a folder, in place.

    Args:
        flags, links: for the compiler and the linker, behind those of setup.py.
        directives: of Cython.

    Raises:
        RuntimeError: it does not build.
    """
    result = subprocess.run(
        [sys.executable, "-c", BUILD, json.dumps([list(flags), list(links), directives])], cwd=folder, text=True,
        capture_output=True,
    )
    if result.returncode:
        raise RuntimeError(f"the copy in {folder} does not build:\n{result.stdout[-2000:]}{result.stderr[-4000:]}")
    return folder


def environment_of(folder, **more):
    """Return an environment in which the copy is what is imported."""
    others = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    path = [str(Path(folder, "src")), *[other for other in others if other and Path(other) != ROOT / "src"]]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(path), **more}
