"""Compiled functions outside their process: pickles and files of 100,000 operations; SciPy's quad of one."""

import pickle

import pytest

from microgradc import Value, compile, load_compiled

integrate = pytest.importorskip("scipy.integrate", reason="SciPy is not installed")


@pytest.fixture(scope="module")
def long():
    """A function of 99,999 operations, recorded."""
    w = Value(0.1)

    def f(x):
        for _ in range(33_333):
            x = (x * 1.0001 + w).sin()
        return x

    f = compile(f)
    f(0.3)
    return f


@pytest.mark.benchmark(group="100,000 operations")
@pytest.mark.parametrize("way", ["pickle.dumps", "pickle.loads", "save", "load_compiled"])
def test_100_000_operations(benchmark, long, way, tmp_path):
    path, content = tmp_path / "f.safetensors", pickle.dumps(long)
    long.save(path, 0.3)
    found = benchmark({
        "pickle.dumps": lambda: pickle.dumps(long),
        "pickle.loads": lambda: pickle.loads(content),
        "save": lambda: long.save(path, 0.3),
        "load_compiled": lambda: load_compiled(path),
    }[way])
    if "load" in way:
        assert found(0.3).data == long(0.3).data


@pytest.mark.benchmark(group="quad, 651 evaluations")
@pytest.mark.parametrize("way", ["low-level callable", "callable"])
def test_quad(benchmark, way):
    rate = Value(0.5)
    f = compile(lambda x: (-rate * x * x).exp() * (30 * x).cos())
    g = f.low_level_callable(0.0) if way == "low-level callable" else lambda x: f(x).data
    found = benchmark(integrate.quad, g, -2, 3, limit=200)
    assert found == integrate.quad(lambda x: f(x).data, -2, 3, limit=200)
