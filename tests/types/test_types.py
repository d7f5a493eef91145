"""The programs that mypy and pyright look at (`.ci/types`) run, and what `assert_type` says is true when they do."""

import runpy
import subprocess
import sys
import types
import typing
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

HERE = Path(__file__).parent


def fits(thing, kind):
    """Return whether something is of a type, as far as that can be seen when it is there."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if kind is typing.Any:
        return True
    if kind is None or kind is types.NoneType:
        return thing is None
    if origin is np.ndarray:
        dtype = typing.get_args(arguments[1])[0]
        return isinstance(thing, np.ndarray) and (dtype is typing.Any or issubclass(thing.dtype.type, dtype))
    if origin is tuple:
        whole = arguments[:1] * len(thing) if arguments[1:] == (...,) else arguments
        return isinstance(thing, tuple) and len(thing) == len(whole) and all(map(fits, thing, whole))
    if origin is list:
        return isinstance(thing, list) and all(fits(entry, arguments[0]) for entry in thing)
    if origin is dict:
        return isinstance(thing, dict) and all(fits(pair, tuple[arguments]) for pair in thing.items())
    return isinstance(thing, kind)


def test_what_is_said_to_be_of_a_type_is(monkeypatch):
    looked_at = []

    def assert_type(thing, kind):
        assert fits(thing, kind), (thing, kind)
        looked_at.append(kind)
        return thing

    monkeypatch.setattr(typing, "assert_type", assert_type)
    runpy.run_path(str(HERE / "relied_on.py"))
    assert len(looked_at) > 60


def test_fits_can_fail():
    floats = np.ones(2)
    for thing, kind in [
        (1, str), ([1], list[str]), ((1.0,), tuple[float, float]), (None, int), (floats, NDArray[np.int64]),
        ({"a": 1}, dict[str, str]), (floats, float),
    ]:
        assert not fits(thing, kind)


def test_the_typical_program_runs():
    result = subprocess.run([sys.executable, HERE / "typical.py"], capture_output=True, text=True, timeout=300)
    assert result.returncode == 0, result.stderr
    assert "(2, 2)" in result.stderr


@pytest.mark.skipif(find_spec("mypy") is None, reason="needs mypy; .ci/types runs it, and pyright")
def test_mypy(tmp_path):
    result = subprocess.run(
        [sys.executable, "-m", "mypy", "--config-file", "tests/types/mypy.ini", "--cache-dir", str(tmp_path)],
        cwd=HERE.parents[1], capture_output=True, text=True, timeout=300,
    )
    assert result.returncode == 0, result.stdout
