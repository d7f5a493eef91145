"""C files that are compiled for a test and called through ctypes."""

import ctypes
import importlib.util
import re
import shutil
import subprocess
import sys

import numpy as np

CLANG = shutil.which("clang") or ("zig" if importlib.util.find_spec("ziglang") else None)    # zig cc is clang
COMPILERS = [path for path in (shutil.which("gcc"), CLANG) if path] or list(filter(None, [shutil.which("cc")]))
WHY_NOT = "there is no C compiler (gcc, clang, ziglang or cc), so no C text was compiled"
STRICT = ["-std=c99", "-Wall", "-Wextra", "-pedantic", "-Werror", "-ffp-contract=off"]


def write(folder, texts, name):
    """Write a file and its header."""
    for text, ending in zip(texts, ("c", "h"), strict=True):
        (folder / f"{name}.{ending}").write_text(text)


def run_compiler(folder, *arguments, compiler=None):
    """Run a compiler, which must end well and say nothing."""
    compiler = compiler or COMPILERS[0]
    command = [sys.executable, "-m", "ziglang", "cc"] if compiler == "zig" else [compiler]
    done = subprocess.run(
        [*command, *arguments], cwd=folder, capture_output=True, encoding="utf-8", timeout=300
    )
    assert done.returncode == 0, done.stderr[:3000]
    assert not done.stderr


class Library:
    """What `to_c` wrote, compiled.

    Args:
        folder: where its files go.
        texts: the two texts.
        name: of the function.
        flags: of the compiler, besides the strict ones.
        is_float: whether its numbers are float.
    """

    def __init__(self, folder, texts, name="pricer", flags=("-O1",), is_float=False, compiler=None):
        write(folder, texts, name)
        library = folder / f"{name}{len(list(folder.iterdir()))}.so"
        if is_float:
            flags = [*flags, f"-D{name}_FLOAT"]
        run_compiler(folder, *STRICT, *flags, "-shared", "-fPIC", f"{name}.c", "-o", library, "-lm", compiler=compiler)
        self.name, self.functions = name, ctypes.CDLL(str(library))
        self.dtype = np.float32 if is_float else np.float64
        self.counts = {word: int(n) for word, n in re.findall(rf"{name}_([A-Z]+) = (\d+)", texts[1])}
        self.is_passed = "*parameters," in texts[1]

    def _call(self, function, arrays):
        pointers = [ctypes.c_void_p(None if a is None else a.ctypes.data) for a in arrays]
        self.functions[function](*pointers)

    def _inputs(self, inputs, parameters):
        inputs = np.array(inputs, self.dtype).ravel()
        assert len(inputs) == self.counts["INPUTS"]
        return [inputs, *([np.array(parameters, self.dtype)] if self.is_passed else [])]

    def _empty(self, what):
        return np.full(self.counts[what] + 2, 12345.0, self.dtype)     # the last two stay

    def values(self, inputs, parameters=()):
        """Return the outputs."""
        outputs, work = self._empty("OUTPUTS"), self._empty("WORK")
        self._call(self.name, [*self._inputs(inputs, parameters), outputs, work])
        assert outputs[-2:].tolist() == work[-2:].tolist() == [12345.0] * 2
        return outputs[:-2].tolist()

    def gradients(self, inputs, seeds=(1.0,), parameters=(), wanted=(True, True)):
        """Return the outputs, and the gradients of inputs and parameters, None for those that are not wanted."""
        first = self._inputs(inputs, parameters)
        outputs, of_inputs, of_parameters, work = map(self._empty, ("OUTPUTS", "INPUTS", "PARAMETERS", "WORK"))
        results = [a if want else None for a, want in zip((of_inputs, of_parameters), wanted, strict=True)]
        self._call(f"{self.name}_gradients", [*first, np.array(seeds, self.dtype), outputs, *results, work])
        assert all(a[-2:].tolist() == [12345.0] * 2 for a in (outputs, of_inputs, of_parameters, work))
        return tuple(None if a is None else a[:-2].tolist() for a in (outputs, *results))
