"""Whether NumPy's functions take Values does not depend on what was imported, nor in which order."""

import sys

import pytest

USE = """
a = np.sqrt(np.array([Value(4.0), 2.25], object))
assert (a[0].data, a[1]) == (2.0, 1.5)
assert 'microgradc.arrays' not in sys.modules
assert not any('after_numpy' in type(finder).__module__ for finder in sys.meta_path)
assert np.__spec__.loader is np.__loader__ and 'exec_module' not in vars(np.__loader__)
"""
FIRST = {
    "NumPy": "import numpy as np\nfrom microgradc import Value",
    "microgradc": "from microgradc import Value\nimport numpy as np",
    "a part of NumPy": "from microgradc import Value\nimport numpy.linalg\nimport numpy as np",
    "a look for NumPy": "from microgradc import Value\nimport importlib.util\n"
    "assert importlib.util.find_spec('numpy').loader.get_code('numpy')\nimport numpy as np",
    "microgradc, again": "import importlib, microgradc\nimportlib.reload(microgradc)\nfrom microgradc import Value\n"
    "import numpy as np\nimportlib.reload(microgradc)",
    "another microgradc": "import microgradc\ndel sys.modules['microgradc'], sys.modules['microgradc.after_numpy']\n"
    "from microgradc import Value\nimport numpy as np\nsys.meta_path[:] = sys.meta_path[-4:]",
}


@pytest.mark.parametrize("first", FIRST)
def test_any_order_of_imports(run_python, first):
    run_python(f"import sys\n{FIRST[first]}\n{USE}")


def test_an_import_that_fails_once(run_python, tmp_path):
    (tmp_path / "numpy.py").write_text("raise RuntimeError('broken')")
    run_python(f"""
import sys
from microgradc import Value
sys.path.insert(0, {str(tmp_path)!r})
for _ in range(2):
    try:
        import numpy
    except RuntimeError:
        pass
del sys.path[0]
import numpy as np
{USE}""")


@pytest.mark.parametrize("stand_in", ["None", "types.ModuleType('numpy')", "unittest.mock.MagicMock()"])
def test_what_stands_in_for_numpy(run_python, stand_in):
    program = f"""
import sys, types, unittest.mock
sys.modules["numpy"] = {stand_in}
from microgradc import Value
assert (Value(2.0) * 3).data == 6.0 and "microgradc.ufuncs" not in sys.modules"""
    run_python(program)


def test_a_module_that_numpy_is_run_from(run_python):
    """`python -m` runs a module of NumPy under another name, and NumPy before it."""
    run_python("import microgradc, runpy, sys; sys.argv[1:] = ['--version']\n"
               "try:\n    runpy.run_module('numpy', run_name='__main__')\n"
               "except ImportError as error:\n    assert 'numpy.__main__' in str(error)\n"
               "import numpy as np; from microgradc import Value" + USE)


def test_microgradc_does_not_import_numpy(run_python):
    out = run_python("import sys, microgradc; microgradc.Value(2.0).exp(); print('numpy' in sys.modules)")
    assert out == "False\n"


def test_a_missing_numpy_is_missing(run_python):
    run_python("""
import sys, microgradc
sys.meta_path[:] = [f for f in sys.meta_path if getattr(f, "__name__", "") != "PathFinder"]
try:
    import numpy
except ModuleNotFoundError:
    sys.exit(0)
sys.exit("it was found")
""")
    assert sys.modules["numpy"]
