"""The data sets against scikit-learn's: the same numbers for the same arguments."""

import numpy as np
import pytest
from sklearn import datasets

from microgradc import data

CALLS = [
    ("make_moons", {"noise": 0.1, "random_state": 3}),
    ("make_moons", {"n_samples": (7, 4), "random_state": 1}),
    ("make_moons", {"n_samples": 11, "shuffle": False}),
    ("make_circles", {"noise": 0.1, "random_state": 3, "factor": 0.5}),
    ("make_circles", {"n_samples": (7, 4), "random_state": 1}),
    ("make_blobs", {"random_state": 3}),
    ("make_blobs", {"n_samples": [3, 4], "random_state": 1, "cluster_std": [0.1, 2.0], "return_centers": True}),
    ("make_blobs", {"n_samples": 11, "centers": 4, "n_features": 3, "random_state": 1}),
    ("make_blobs", {"n_samples": 10, "centers": [[1, 2], [3.0, 4]], "random_state": 5, "shuffle": False}),
]


@pytest.mark.parametrize(("name", "arguments"), CALLS)
def test_as_in_scikit_learn(name, arguments):
    for ours, theirs in zip(getattr(data, name)(**arguments), getattr(datasets, name)(**arguments), strict=True):
        np.testing.assert_array_equal(ours, theirs)
        assert ours.dtype == theirs.dtype


def test_without_a_seed_it_uses_numpys_global_generator():
    np.random.seed(1337)
    X, y = data.make_moons(20, noise=0.1)
    np.random.seed(1337)
    X2, y2 = datasets.make_moons(20, noise=0.1)
    np.testing.assert_array_equal(X, X2)
    np.testing.assert_array_equal(y, y2)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: data.make_moons(0), "n_samples must be a positive integer, got 0"),
        (lambda: data.make_moons((1, 2, 3)), "a number or a pair"),
        (lambda: data.make_moons(noise=-1.0), "noise must be a standard deviation"),
        (lambda: data.make_circles(factor=1.0), r"factor must be in \[0, 1\), got 1.0"),
        (lambda: data.make_blobs(centers=0), "centers must be a positive integer"),
        (lambda: data.make_blobs(centers=[1.0, 2.0]), "shape"),
        (lambda: data.make_blobs(5, cluster_std=-1.0), "cluster_std must be standard deviations, at least 0, got -1.0"),
        (lambda: data.make_blobs([3, 4], centers=3), "one entry for each of the 3 centers"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize("make", [data.make_moons, data.make_circles, data.make_blobs])
def test_a_generator_of_numpy_as_random_state(make):
    first, second = (make(5, random_state=np.random.default_rng(0))[0] for _ in range(2))
    np.testing.assert_array_equal(first, second)


def test_a_number_that_is_not_an_integer():
    with pytest.raises(TypeError, match=r"n_samples must be a positive integer, got 2\.5"):
        data.make_moons(2.5)
