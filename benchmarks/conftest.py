"""Fixtures for the benchmarks: an engine's numbers, the floor, workers."""

import pytest
import workloads

from microgradc.cli.workers import Worker


@pytest.fixture(scope="session")
def floor(tmp_path_factory):
    """The directory of the compiled floor.pyx."""
    directory = tmp_path_factory.mktemp("floor")
    workloads.build_floor(directory)
    return directory


@pytest.fixture
def number(engine, request):
    """The type of the engine's numbers."""
    found = workloads.number_type(engine, request.getfixturevalue("floor") if engine == "floor" else None)
    if found is None:
        pytest.skip(f"{engine} is not installed: pip install {engine}")
    return found


@pytest.fixture
def start_worker():
    """A function that starts a worker, which ends with the test."""
    workers = []

    def start(command):
        workers.append(Worker(command))
        return workers[-1]

    yield start
    for worker in workers:
        if not worker.failure:
            worker.close()
