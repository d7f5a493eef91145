"""Estimators next to scikit-learn's, and whole models in files: `python benchmarks/estimators.py [ROUNDS]`.

By turns in one process, CPU time, one thread, the shortest of some rounds. Both train alike: losses are compared.
"""

import os

os.environ["OMP_NUM_THREADS"] = "1"      # before NumPy is imported

import sys
import tempfile
import warnings
from functools import partial
from time import process_time

import numpy as np
import safetensors.numpy
from sklearn import datasets, neural_network
from sklearn.exceptions import ConvergenceWarning
from sklearn.preprocessing import StandardScaler

import microgradc
import microgradc.sklearn
from microgradc.nn.state import matrices_of


def shortest(rounds, *functions):
    """Return the shortest CPU time of each function, which are called by turns."""
    times = [[] for _ in functions]
    for _ in range(rounds):
        for f, found in zip(functions, times, strict=True):
            begin = process_time()
            f()
            found.append(process_time() - begin)
    return [min(found) for found in times]


def compare_estimators(rounds):
    print(f"{'20 epochs of batches of 200, ms':<34}{'scikit-learn':>14}{'microgradc':>12}{'ratio':>8}  predict: ratio")
    for name, hidden in (("iris", (100,)), ("breast_cancer", (100,)), ("digits", (32,)), ("digits", (100,))):
        X, y = getattr(datasets, f"load_{name}")(return_X_y=True)
        X = StandardScaler().fit_transform(X)
        kinds = neural_network.MLPClassifier, microgradc.sklearn.MLPClassifier
        models = [kind(hidden, max_iter=20, random_state=0) for kind in kinds]
        theirs, ours = shortest(rounds, *(partial(model.fit, X, y) for model in models))
        np.testing.assert_allclose(models[0].loss_curve_, models[1].loss_curve_, rtol=1e-4)
        found = shortest(3 * rounds, *(partial(model.predict, X) for model in models))
        title = f"{name}, {X.shape[0]} x {X.shape[1]}, {hidden}"
        print(f"{title:<34}{1e3 * theirs:>14.1f}{1e3 * ours:>12.1f}{theirs / ours:>8.2f}{found[0] / found[1]:>16.2f}")


def compare_files(rounds):
    model = microgradc.MLP(784, [512, 512, 10], seed=0)
    arrays = {name: group.read() for name, group in matrices_of(model).items()}
    with tempfile.TemporaryDirectory() as folder:
        plain, whole = f"{folder}/plain", f"{folder}/whole"
        kept = []
        times = shortest(
            rounds,
            lambda: safetensors.numpy.save_file(arrays, plain),
            lambda: model.save(whole),
            lambda: microgradc.load(model, whole),
            lambda: kept.append(microgradc.load_model(whole)) or kept.clear(),
        )
    names = "a plain safetensors file of the numbers", "model.save", "load", "load_model"
    print("\nMLP(784, [512, 512, 10]) in a file")
    for name, time in zip(names, times, strict=True):
        print(f"{name:<44}{1e3 * time:>8.1f} ms{time / times[0]:>8.1f} x")


if __name__ == "__main__":
    warnings.simplefilter("ignore", ConvergenceWarning)
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    compare_estimators(rounds)
    compare_files(rounds)
