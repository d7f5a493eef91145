"""Small programs, in the engines that are installed: those of a work have the same results."""

import numpy as np
import programs
import pytest

SLOW = "pendulum"      # CasADi takes seconds to differentiate it


@pytest.mark.parametrize("work", [name for name in programs.WORKS if not name.startswith(SLOW)])
def test_program(benchmark, work):
    engines = {name: call for name, call in programs.WORKS[work]().items() if call is not None}
    ours = next(name for name in engines if name.startswith("microgradc"))
    benchmark(engines[ours])


@pytest.mark.parametrize("work", ["Rosenbrock, n = 100", "row of 64-32-10", "exp of 100,000", "x**3 of 100,000"])
def test_engines_agree(work):
    engines = {name: call for name, call in programs.WORKS[work]().items() if call is not None}
    first, *others = [numbers(call()) for call in engines.values()]
    for other in others:
        np.testing.assert_allclose(other, first, rtol=1e-12)


def numbers(result):
    """Return all numbers in a nest of arrays."""
    parts = [numbers(part) for part in result] if isinstance(result, (tuple, list)) else [np.ravel(np.asarray(result))]
    return np.concatenate([np.ravel(part) for part in parts])
