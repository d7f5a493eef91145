"""What CONTRIBUTING promises: an operation of one operand is four places, one of any number of operands is six.

In a copy of the repository, which takes a minute to build, so only where MICROGRADC_LONG is set.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(
    not os.environ.get("MICROGRADC_LONG"), reason="builds the package anew: set MICROGRADC_LONG to run it"
)

ROOT = Path(__file__).parents[2]

# Each place: the file, a line that is there, and what is to be put before it.
SINC = [
    (
        "src/microgradc/engine/ops.h",
        "ROW( ASIN, ",
        'ROW( SINC, "sinc", 1, 0, x ? sin(x) / x : 1, where(x, g * ((cos(x) - f) / x), 0), 0, 0, '
        '"Return sin(x) / x; 1 at 0. d/dx = (cos(x) - sinc(x)) / x." ) \\\n',
    ),
    ("src/microgradc/engine/value.pyi", "    def asin(self)", "    def sinc(self) -> Value: ...\n"),
    ("src/microgradc/engine/functions.pyi", "asin: _OfOneOperand", "sinc: _OfOneOperand\n"),
    (
        "src/microgradc/checking/torch_rows.py",
        '        "relu": ',
        '        "sinc": lambda x: torch.where(abs(x) < 1e-150, 1, torch.sin(x) / torch.where(abs(x) < 1e-150, 1, x))'
        ",\n",
    ),
]
SUMSQ = [
    (
        "src/microgradc/engine/wide.h",
        "#define MGC_WIDE_TABLE(ROW)",
        "static inline double mgc_sumsq(const mgc_wide *w)\n{\n    double total = 0;\n"
        "    for (Py_ssize_t i = 0; i < w->count; i++) total += mgc_wide_at(w, i) * mgc_wide_at(w, i);\n"
        "    return total;\n}\n\n",
    ),
    ("src/microgradc/engine/wide.h", "ROW( MEAN, ", 'ROW( SUMSQ, "sumsq", mgc_sumsq(w), 2 * g * v ) \\\n'),
    ("src/microgradc/engine/value.pxd", "        MGC_SUM, ", "        MGC_SUMSQ\n"),
    (
        "src/microgradc/engine/functions.pyx",
        "def mean(values):",
        'def sumsq(values):\n    """Return the sum of the squares of the values, as one node. d/dv = 2 v."""\n'
        '    return wide(MGC_SUMSQ, values, "values")\n\n\n',
    ),
    (
        "src/microgradc/engine/functions.pyi",
        "@overload\ndef mean(values: Iterable[Value])",
        "def sumsq(values: Iterable[_Scalar]) -> Value | Any: ...\n\n",
    ),
    ("tests/engine/test_wide.py", '    "mean": (', '    "sumsq": (microgradc.sumsq, lambda t: (t * t).sum()),\n'),
    (
        "src/microgradc/program/simplify.h",
        "static int mgc_quotient(mgc_simplifier",
        "static int mgc_products_of_sumsq(mgc_simplifier *s, const int *operands, int count)\n{\n"
        "    s->operands.count = 0;\n"
        "    if (mgc_reserve_ints(&s->operands, 2 * (size_t)count) < 0) return -1;\n"
        "    for (int i = 0; i < 2 * count; i++) s->operands.items[i] = operands[i / 2];\n"
        "    return mgc_add(s->to, MGC_PRODUCTS, s->operands.items, 2 * count, 0);\n}\n\n",
    ),
    (
        "src/microgradc/program/simplify.h",
        "    {MGC_MEAN, ",
        '    {MGC_SUMSQ, mgc_products_of_sumsq, "sumsq", "sums have one form"},\n',
    ),
]

CHECKS = """
import inspect
import math
import pickle

import numpy as np

import microgradc
from microgradc import Value, compile
from microgradc.program.program import Program

print(microgradc.__file__)
assert str(inspect.signature(microgradc.sinc)) == "(x)" and str(inspect.signature(Value.sinc)) == "(self, /)"
assert microgradc.sinc.__doc__ == Value.sinc.__doc__ == "Return sin(x) / x; 1 at 0. d/dx = (cos(x) - sinc(x)) / x."
assert {"sinc", "sumsq"} < set(microgradc.__all__) and {"sinc", "sumsq"} < set(dir(microgradc))
assert pickle.loads(pickle.dumps(microgradc.sinc)) is microgradc.sinc

x = Value(0.5)
y = x.sinc()
y.backward()
assert y._op == "sinc" and y._children == (x,) and pickle.loads(pickle.dumps(y)).data == y.data
assert y.data == microgradc.sinc(0.5) == microgradc.sinc(x).data == math.sin(0.5) / 0.5
assert x.grad == (math.cos(0.5) - y.data) / 0.5
assert microgradc.sinc(np.array([0.0, 0.5])).tolist() == [1.0, y.data]
assert microgradc.sinc(np.array([x]))[0].data == y.data

near = np.array([0.0, -0.0, 0.5, -3.0, 2.0**20, -7.25, 1e-300, math.pi])
for points in (near, np.append(near, [1e300, -1e300, 2.0**20 + 1, 1e22, math.nan])):
    values, grads = compile(microgradc.sinc).map_value_and_grad(points)
    eager, eager_grads = [], []
    for point in points:
        v = Value(point)
        out = microgradc.sinc(v)
        out.backward()
        eager.append(out.data)
        eager_grads.append(v.grad)
    np.testing.assert_allclose(values, eager, rtol=1e-14, atol=1e-300)
    np.testing.assert_allclose(grads, eager_grads, rtol=1e-13, atol=1e-15)
    products = compile(lambda a: microgradc.sinc(3.0 * a)).map(points)      # the angle is not an input
    np.testing.assert_allclose(products, microgradc.sinc(3.0 * points), rtol=1e-14, atol=1e-300)

X = np.arange(12.0).reshape(4, 3)
values, grads = compile(lambda row: microgradc.sumsq(row)).map_value_and_grad(X)
assert values.tolist() == [microgradc.sumsq(row) for row in X.tolist()] == (X ** 2).sum(axis=1).tolist()
assert (np.asarray(grads) == 2 * X).all()
"""


@pytest.fixture(scope="module")
def changed(tmp_path_factory):
    """A copy of the repository with the operations, built in place."""
    copy = tmp_path_factory.mktemp("repository")
    leave_out = shutil.ignore_patterns("__pycache__", "*.so", "*.c", "*.pyd", "*.egg-info")
    for name in ("src", "tests", "docs"):
        shutil.copytree(ROOT / name, copy / name, ignore=leave_out)
    for file in (ROOT / "src").rglob("lanes/*.c"):    # which are written by hand
        shutil.copy(file, copy / file.relative_to(ROOT))
    for name in ("setup.py", "pyproject.toml", "README.md", "LICENSE", "MANIFEST.in"):
        shutil.copy(ROOT / name, copy / name)
    for name, before, text in SINC + SUMSQ:
        path = copy / name
        old = path.read_text(encoding="utf-8")
        assert old.count(before) == 1, f"{before!r} in {name}"
        path.write_text(old.replace(before, text + before), encoding="utf-8")
    run(copy, "setup.py", "build_ext", "--inplace")
    return copy


def run(copy, *command):
    """Run Python in the copy, which must end well; return what it printed."""
    environment = {**os.environ, "PYTHONPATH": str(copy / "src"), "MICROGRADC_OPTIMIZE": "0"}
    result = subprocess.run([sys.executable, *command], cwd=copy, env=environment, capture_output=True, text=True)
    assert result.returncode == 0, f"{result.stdout[-6000:]}\n{result.stderr[-6000:]}"
    return result.stdout


def test_four_places_and_six():
    files = [name for name, *_ in SUMSQ]
    assert len(SINC) == 4
    assert len(set(files)) == 6
    for name in ("engine/wide.h", "program/simplify.h"):    # the row, and above the table its function
        assert files.count(f"src/microgradc/{name}") == 2


def test_the_operations_are_there_eager_and_compiled(changed):
    assert run(changed, "-c", CHECKS).startswith(str(changed))


def test_the_tests_of_the_table_pass(changed):
    """Among them: values, gradients and second derivatives as in PyTorch."""
    files = ["tests/engine/test_table.py", "tests/engine/test_wide.py"]
    chosen = "sinc or sumsq or every or lists"
    output = run(changed, "-m", "pytest", "-q", "-p", "no:cacheprovider", *files, "-k", chosen)
    assert " passed" in output
    assert int(output.rpartition(" passed")[0].split()[-1]) > 10


def test_the_pages_list_the_operation(changed):
    run(changed, "docs/make_tables.py")
    page = (changed / "docs" / "expressions.md").read_text(encoding="utf-8")
    row = next(line for line in page.splitlines() if "`sinc`" in line)
    assert "sin(x) / x; 1 at 0" in row
    assert " sinc " in (changed / "README.md").read_text(encoding="utf-8")
    run(changed, "docs/make_tables.py", "--check")
