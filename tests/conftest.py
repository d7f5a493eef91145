"""Fixtures of several test files."""

import gc
import importlib
import os
import random
import signal
import subprocess
import sys
import zlib
from types import SimpleNamespace

import numpy as np
import pytest

from microgradc import Value


def pytest_addoption(parser):
    parser.addoption("--random-order", type=int, metavar="SEED", help="run the tests in the random order of this seed")


def pytest_collection_modifyitems(config, items):
    seed = config.getoption("--random-order")
    if seed is not None:
        random.Random(seed).shuffle(items)


def pytest_collection_finish():
    """What is there by now stays: tests that collect garbage need not look at it again and again."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def random_numbers_of_its_own(request, monkeypatch):
    """A generator that a file shares begins anew for each test: its numbers do not depend on what ran before."""
    module = getattr(request, "module", None)
    for name, value in list(vars(module).items()) if module else ():
        if isinstance(value, np.random.Generator):
            monkeypatch.setattr(module, name, np.random.default_rng(zlib.crc32(request.node.nodeid.encode())))


@pytest.fixture(params=["micrograd", "microgradc"])
def engine(request):
    """micrograd, from the package index, and microgradc: what every micrograd program may rely on holds for both."""
    return SimpleNamespace(
        name=request.param,
        Value=importlib.import_module(f"{request.param}.engine").Value,
        nn=importlib.import_module(f"{request.param}.nn"),
    )


@pytest.fixture
def run_python():
    """Run a program in a process of its own, which must end well; return what it printed."""

    def run(program, *arguments, timeout=300, **environment):
        result = subprocess.run(
            [sys.executable, "-X", "faulthandler", "-c", program, *arguments],
            capture_output=True,
            text=True,
            timeout=timeout,
            env={**os.environ, **environment},
        )
        assert result.returncode == 0, f"exit code {result.returncode}\n{result.stdout}\n{result.stderr}"
        return result.stdout

    return run


@pytest.fixture
def ctrl_c():
    """Python's own handler, also where the process that began the tests ignores the signal."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def clean():
    """Put the methods of Value back that a test replaces."""
    before = dict(vars(Value))
    yield
    for name in set(vars(Value)) - set(before):
        delattr(Value, name)
    for name, old in before.items():
        if vars(Value).get(name) is not old:
            setattr(Value, name, old)
