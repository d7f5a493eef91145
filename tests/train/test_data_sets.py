"""A few of the data sets of benchmarks/data_sets.py: fit with its defaults is as good as scikit-learn's networks."""

import importlib.util
from pathlib import Path

import pytest

PATH = Path(__file__).parents[2] / "benchmarks" / "data_sets.py"


@pytest.fixture(scope="module")
def sets():
    spec = importlib.util.spec_from_file_location("data_sets", PATH)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_there_are_forty(sets):
    assert len(sets.CLASSES) == 40
    assert not sets.CLASSES.keys() & sets.NUMBERS.keys()


FEW = ["iris, texts", "wine, floats from 1", "breast cancer, bools", "moons, -1 and 1", "digits 3 and 8", "linear"]


@pytest.mark.parametrize("name", FEW)
def test_as_good_as_scikit_learn(name, sets, monkeypatch):
    monkeypatch.setattr(sets, "EPOCHS", 40)
    monkeypatch.setattr(sets, "SPLITS", 2)
    found = sets.scores_of(name)
    assert found["fit"][0] > found["sklearn"][0] - 0.02, "one example of iris is a hundredth"
