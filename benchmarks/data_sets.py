"""Classify 40 data sets of scikit-learn's loaders and makers: `python benchmarks/data_sets.py [NAMES]`.

`fit` with its defaults, and with scikit-learn's learning rate, next to scikit-learn's MLPClassifier and MLPRegressor of
the same layers with initial weights of the same kind, which get the same examples, standardized, the same number of
epochs and the same batches. The score is that on examples which were kept apart, the mean of three trainings with other
splits; labels are texts, bools, integers and floats by turns. Below, some more whose targets are numbers, scored by R².
"""

import sys
import warnings
from time import perf_counter

import numpy as np
from sklearn import datasets, neural_network
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler

from microgradc import MLP

EPOCHS, BATCH, HIDDEN, SPLITS = 100, 32, [32], 3
make = datasets


def classes(count, features, informative, **settings):
    """Return a maker of classes that overlap."""
    return lambda: make.make_classification(
        1000, features, n_informative=informative, n_redundant=0, n_classes=count, random_state=0, **settings)


def regression(features, noise, **settings):
    """Return a maker of a linear target, of size 1."""
    def data():
        X, y = make.make_regression(400, features, noise=noise, random_state=0, **settings)
        return X, y / y.std(0)

    return data


def labelled(load, *names):
    """Return the data of a loader with other labels."""
    def data():
        X, y = load()
        return X, np.asarray(names)[y]

    return data


def scaled(load):
    """Return the data of a loader with a target of size 1."""
    def data():
        X, y = load()
        return X, (y - y.mean(0)) / y.std(0)

    return data


def loaded(name):
    """Return a loader of a pair."""
    return lambda: getattr(datasets, f"load_{name}")(return_X_y=True)


def pair_of_digits(first, second):
    """Return two of the digits, whose labels they are."""
    def data():
        X, y = loaded("digits")()
        chosen = (y == first) | (y == second)
        return X[chosen], y[chosen]

    return data


def cut(load, *names):
    """Return the data of a loader whose target is cut into classes of one size."""
    def data():
        X, y = load()
        return X, np.asarray(names)[np.searchsorted(np.quantile(y, np.arange(1, len(names)) / len(names)), y)]

    return data


CLASSES = {
    "iris": loaded("iris"),
    "iris, texts": labelled(loaded("iris"), "setosa", "versicolor", "virginica"),
    "iris, from 1": labelled(loaded("iris"), 1, 2, 3),
    "iris, floats": labelled(loaded("iris"), 0.0, 1.0, 2.0),
    "wine": loaded("wine"),
    "wine, texts": labelled(loaded("wine"), "barolo", "grignolino", "barbera"),
    "wine, floats from 1": labelled(loaded("wine"), 1.0, 2.0, 3.0),
    "breast cancer": loaded("breast_cancer"),
    "breast cancer, texts": labelled(loaded("breast_cancer"), "malignant", "benign"),
    "breast cancer, bools": labelled(loaded("breast_cancer"), False, True),
    "digits": loaded("digits"),
    "digits 3 and 8": pair_of_digits(3, 8),
    "digits 1 and 7": pair_of_digits(1, 7),
    "moons": lambda: make.make_moons(400, noise=0.2, random_state=0),
    "moons, -1 and 1": labelled(lambda: make.make_moons(400, noise=0.2, random_state=0), -1, 1),
    "circles": lambda: make.make_circles(400, noise=0.1, factor=0.5, random_state=0),
    "circles, texts": labelled(lambda: make.make_circles(400, noise=0.1, factor=0.5, random_state=0), "out", "in"),
    "blobs, 3": lambda: make.make_blobs(400, centers=3, random_state=0),
    "blobs, 8": lambda: make.make_blobs(800, centers=8, random_state=1),
    "blobs, 5, in 10 dimensions": lambda: make.make_blobs(1000, 10, centers=5, cluster_std=4.0, random_state=0),
    "gaussian quantiles, 2": lambda: make.make_gaussian_quantiles(n_samples=600, n_classes=2, random_state=0),
    "gaussian quantiles, 3": lambda: make.make_gaussian_quantiles(n_samples=900, n_classes=3, random_state=0),
    "hastie": lambda: make.make_hastie_10_2(1000, random_state=0),
    "classification, 2": classes(2, 10, 5, class_sep=2.0),
    "classification, 4": classes(4, 10, 6, class_sep=2.0),
    "classification, 5, small": classes(5, 8, 8, class_sep=2.5),
    "classification, 1 of 10": classes(2, 10, 5, weights=[0.9], class_sep=2.0),
    "classification, noise": classes(2, 20, 5, flip_y=0.05, class_sep=2.0),
    "classification, 3, integers": labelled(classes(3, 10, 6, class_sep=2.0), -5, 10, 70),
    "classification, 10 and 20": labelled(classes(2, 10, 5, class_sep=2.0), 10, 20),
    "circles, -1.0 and 1.0": labelled(lambda: make.make_circles(400, noise=0.1, factor=0.5, random_state=0), -1.0, 1.0),
    "moons, few of one": lambda: make.make_moons((500, 50), noise=0.2, random_state=0),
    "blobs, few of one": lambda: make.make_blobs([300, 300, 30], random_state=2),
    "digits 0 and 8": pair_of_digits(0, 8),
    "digits 4 and 9": pair_of_digits(4, 9),
    "digits, odd": labelled(loaded("digits"), *[False, True] * 5),
    "diabetes, above the median": cut(loaded("diabetes"), False, True),
    "friedman 1, thirds": cut(lambda: make.make_friedman1(900, random_state=0), "low", "middle", "high"),
    "swiss roll, quarters": cut(lambda: make.make_swiss_roll(800, random_state=0), *"abcd"),
    "s curve, quarters": cut(lambda: make.make_s_curve(800, random_state=0), 1, 2, 3, 4),
}
NUMBERS = {
    "diabetes": scaled(loaded("diabetes")),
    "linear": regression(10, 5.0),
    "linear, noise": regression(5, 30.0),
    "linear, 3 targets": regression(10, 5.0, n_targets=3),
    "sparse uncorrelated": scaled(lambda: make.make_sparse_uncorrelated(400, random_state=0)),
    "friedman 1": scaled(lambda: make.make_friedman1(600, noise=0.5, random_state=0)),
    "friedman 2": scaled(lambda: make.make_friedman2(600, noise=10.0, random_state=0)),
    "friedman 3": scaled(lambda: make.make_friedman3(600, noise=0.05, random_state=0)),
    "swiss roll": scaled(lambda: make.make_swiss_roll(600, noise=0.1, random_state=0)),
    "s curve": scaled(lambda: make.make_s_curve(600, noise=0.05, random_state=0)),
}


def splits_of(name):
    """Yield numbers of splits, and their examples: X and y to train on, and others, standardized."""
    X, y = (CLASSES if name in CLASSES else NUMBERS)[name]()
    for seed in range(SPLITS):
        apart = train_test_split(X, y, test_size=0.3, random_state=seed, stratify=y if name in CLASSES else None)
        scaler = StandardScaler().fit(apart[0])
        yield seed, scaler.transform(apart[0]), apart[2], scaler.transform(apart[1]), apart[3]


def by_fit(X, y, seed, is_class, **settings):
    """Return what predicts, trained by `fit`."""
    count = (len(np.unique(y)) if is_class else 2) if y.ndim == 1 else y.shape[1]
    model = MLP(X.shape[1], [*HIDDEN, 1 if y.ndim == 1 and count == 2 else count], init="xavier_uniform", seed=seed)
    model.fit(X, y, epochs=EPOCHS, batch_size=BATCH, seed=seed, progress=False, **settings)
    return model


def by_scikit_learn(X, y, seed, is_class):
    """Return the same of scikit-learn."""
    kind = neural_network.MLPClassifier if is_class else neural_network.MLPRegressor
    model = kind(
        hidden_layer_sizes=HIDDEN, max_iter=EPOCHS, batch_size=min(BATCH, len(X)), random_state=seed,
        n_iter_no_change=EPOCHS,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return model.fit(X, y)


WAYS = {
    "fit": by_fit,
    "lr=0.001": lambda *examples: by_fit(*examples, lr=0.001),
    "sklearn": by_scikit_learn,
}


def scores_of(name):
    """Return the mean score of each way over the splits, and the seconds that it took."""
    is_class, found = name in CLASSES, {way: [] for way in WAYS}
    for seed, X, y, X_test, y_test in splits_of(name):
        for way, train in WAYS.items():
            begin = perf_counter()
            model = train(X, y, seed, is_class)
            found[way].append((score(y_test, model.predict(X_test), is_class), perf_counter() - begin))
    return {way: tuple(np.mean(pairs, axis=0).tolist()) for way, pairs in found.items()}


def score(y, found, is_class):
    """Return the share of right classes, or R²."""
    if is_class:
        return np.mean(found == y)
    return 1 - np.sum((y - found) ** 2) / np.sum((y - y.mean(0)) ** 2)


def main(names=None):
    """Print a table."""
    print(f"| {'data set':<28} | " + " | ".join(f"{way:>8}" for way in WAYS) + " | seconds | sklearn |")
    print("|---" * (len(WAYS) + 3) + "|")
    worse = 0
    for name in names or [*CLASSES, *NUMBERS]:
        found = scores_of(name)
        worse += bool(name in CLASSES and found["fit"][0] < found["sklearn"][0] - 0.01)
        cells = [f"{score:8.3f}" for score, _ in found.values()]
        cells += [f"{found[way][1]:7.2f}" for way in ("fit", "sklearn")]
        print(f"| {name:<28} | " + " | ".join(cells) + " |", flush=True)
    print(f"classified more than 0.01 worse: {worse}")


if __name__ == "__main__":
    main(sys.argv[1:])
