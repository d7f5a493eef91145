"""Small data sets for classification: two moons, circles, blobs, the same numbers as scikit-learn's for the same
arguments; and batches.

The module can be called too, which is deprecated: `microgradc.data(a)` is now `microgradc.to_numpy(a)`.
"""

import sys
import warnings
from types import ModuleType

import numpy as np

from microgradc import checks
from microgradc.arrays import to_numpy


def make_moons(n_samples=100, *, shuffle=True, noise=None, random_state=None):
    """Make two interleaving half circles.

    Args:
        n_samples: the number of points, or a pair of numbers, one for each moon.
        shuffle: whether to mix the points of the two.
        noise: the standard deviation of Gaussian noise added to the points; None for none.
        random_state: a seed, a `numpy.random.RandomState`, or None for NumPy's global generator.

    Returns:
        X, float64 of shape (n, 2), and y, int64 of shape (n,), 0 for the outer moon and 1 for the inner one.

    Raises:
        ValueError: n_samples or noise is out of range.
    """
    n_outer, n_inner = _split(n_samples)
    outer, inner = np.linspace(0, np.pi, n_outer), np.linspace(0, np.pi, n_inner)
    X = np.vstack([
        np.column_stack([np.cos(outer), np.sin(outer)]),
        np.column_stack([1 - np.cos(inner), 1 - np.sin(inner) - 0.5]),
    ])
    return _finish(X, n_outer, n_inner, shuffle, noise, random_state)


def make_circles(n_samples=100, *, shuffle=True, noise=None, random_state=None, factor=0.8):
    """Make a large circle that contains a smaller one.

    Args:
        n_samples: the number of points, or a pair of numbers, one for each circle.
        shuffle: whether to mix the points of the two.
        noise: the standard deviation of Gaussian noise added to the points; None for none.
        random_state: a seed, a `numpy.random.RandomState`, or None for NumPy's global generator.
        factor: the radius of the inner circle, in [0, 1); that of the outer one is 1.

    Returns:
        X, float64 of shape (n, 2), and y, int64 of shape (n,), 0 for the outer circle and 1 for the inner one.

    Raises:
        ValueError: n_samples, noise or factor is out of range.
    """
    if not 0 <= factor < 1:
        raise ValueError(f"factor must be in [0, 1), got {factor!r}")
    n_outer, n_inner = _split(n_samples)
    outer, inner = (np.linspace(0, 2 * np.pi, n, endpoint=False) for n in (n_outer, n_inner))
    X = np.vstack([
        np.column_stack([np.cos(outer), np.sin(outer)]),
        np.column_stack([np.cos(inner), np.sin(inner)]) * factor,
    ])
    return _finish(X, n_outer, n_inner, shuffle, noise, random_state)


def make_blobs(
    n_samples=100,
    n_features=2,
    *,
    centers=None,
    cluster_std=1.0,
    center_box=(-10.0, 10.0),
    shuffle=True,
    random_state=None,
    return_centers=False,
):
    """Make Gaussian blobs.

    Args:
        n_samples: the number of points, shared out equally, or a list of numbers, one for each blob.
        n_features: the number of coordinates of a point.
        centers: the number of blobs, or their centres, of shape (k, n_features); by default 3, or one for each entry of
            n_samples.
        cluster_std: the standard deviation of a blob, or a list of them.
        center_box: the interval from which the coordinates of centres are drawn.
        shuffle: whether to mix the points.
        random_state: a seed, a `numpy.random.RandomState`, or None for NumPy's global generator.
        return_centers: whether to return the centres as well.

    Returns:
        X, float64 of shape (n, n_features), y, int64 of shape (n,), the number of each point's blob; and the centres if
        asked.

    Raises:
        ValueError: a number is out of range, or lists differ in length.
    """
    rng = _generator(random_state)
    per_blob = None if np.ndim(n_samples) == 0 else [checks.integer(n, "n_samples", 1) for n in n_samples]
    if centers is None:
        centers = 3 if per_blob is None else len(per_blob)
    if np.ndim(centers) == 0:
        centers = rng.uniform(
            *center_box, size=(checks.integer(centers, "centers", 1), checks.integer(n_features, "n_features", 1))
        )
    centers = np.asarray(centers, float)
    if centers.ndim != 2:
        raise ValueError(f"centers must be a number or of shape (k, n_features), got shape {centers.shape}")
    k = len(centers)
    if per_blob is None:
        n = checks.integer(n_samples, "n_samples", 1)
        per_blob = [n // k + (i < n % k) for i in range(k)]
    stds = np.full(k, cluster_std, float) if np.ndim(cluster_std) == 0 else np.asarray(cluster_std, float)
    if len(per_blob) != k or len(stds) != k:
        raise ValueError(
            f"n_samples and cluster_std must have one entry for each of the {k} centers, "
            f"got {len(per_blob)} and {len(stds)}"
        )
    X = np.concatenate(
        [
            rng.normal(loc=c, scale=s, size=(n, centers.shape[1]))
            for c, s, n in zip(centers, stds, per_blob, strict=True)
        ]
    )
    y = np.repeat(np.arange(k), per_blob)
    if shuffle:
        order = np.arange(len(X))
        rng.shuffle(order)
        X, y = X[order], y[order]
    return (X, y, centers) if return_centers else (X, y)


def batches(X, y, batch_size=32, *, shuffle=True, seed=None, drop_last=False):
    """Go through examples once, some at a time.

    Args:
        X, y: lists or arrays of one length, an entry for each example.
        batch_size: how many examples make a batch.
        shuffle: whether to take them in random order.
        seed: for the order, an integer or a `random.Random`; None for the module `random`.
        drop_last: whether to leave out the last batch if it is smaller than the others.

    Returns:
        An iterator over pairs, the X and the y of a batch: lists of lists, arrays of arrays.

    Raises:
        ValueError: X and y differ in length or are empty, batch_size is not a positive integer.

    >>> list(batches([[1.0], [2.0], [3.0]], [1, 2, 3], batch_size=2, shuffle=False))
    [([[1.0], [2.0]], [1, 2]), ([[3.0]], [3])]
    """
    checks.integer(batch_size, "batch_size", 1)
    n = len(X)
    if n == 0 or n != len(y):
        raise ValueError(f"X and y must have one entry for each example, at least one, got {n} and {len(y)}")
    order = list(range(n))
    if shuffle:
        checks.seed(seed).shuffle(order)
    stop = n - n % batch_size if drop_last else n
    return (
        (_take(X, order[i : i + batch_size]), _take(y, order[i : i + batch_size])) for i in range(0, stop, batch_size)
    )


def hold_out(X, y, share, rng):
    """Split examples at random in two pairs (X, y), the second with this share of them.

    Raises:
        ValueError: share is not between 0 and 1, or leaves no example in one of the two.
    """
    if isinstance(share, bool) or not isinstance(share, (int, float)) or not 0 < share < 1:
        raise ValueError(f"validation must be a pair (X, y) or a share of the examples between 0 and 1, got {share!r}")
    k = round(len(X) * share)
    if not 0 < k < len(X):
        raise ValueError(f"a share of {share} of {len(X)} examples leaves none for {'training' if k else 'validation'}")
    order = list(range(len(X)))
    rng.shuffle(order)
    return (X[order[k:]], y[order[k:]]), (X[order[:k]], y[order[:k]])


def split_validation(examples, validation, rng, check_finite):
    """Return the examples to train on, and those to evaluate after each epoch or None, both checked pairs (X, y).

    Args:
        examples: a pair of arrays, as `checks.examples` returns it.
        validation: a pair (X, y), the share of the examples to keep apart, or None. See `fit`.

    Raises:
        ValueError: validation is neither, or its X has another number of columns.
    """
    X, y = examples
    if validation is None:
        return examples, None
    if not (isinstance(validation, (tuple, list)) and len(validation) == 2):
        return hold_out(X, y, validation, rng)
    X_held_out, y_held_out = validation
    held_out = checks.examples(X_held_out, y_held_out, check_finite, "the validation data's ")
    columns = X.shape[1]
    if held_out[0].shape[1] != columns:
        raise ValueError(f"the validation data's X has {held_out[0].shape[1]} columns, X has {columns}")
    return examples, held_out


def _take(a, indices):
    return a[indices] if isinstance(a, np.ndarray) else [a[i] for i in indices]


def _finish(X, n_outer, n_inner, shuffle, noise, random_state):
    rng = _generator(random_state)
    y = np.repeat([0, 1], [n_outer, n_inner])
    if shuffle:
        order = np.arange(len(X))
        rng.shuffle(order)
        X, y = X[order], y[order]
    if noise is not None:
        if not noise >= 0:
            raise ValueError(f"noise must be a standard deviation, at least 0, got {noise!r}")
        X = X + rng.normal(scale=noise, size=X.shape)
    return X, y


def _split(n_samples):
    """Return how many points the outer and the inner shape get."""
    if np.ndim(n_samples) == 0:
        n = checks.integer(n_samples, "n_samples", 1)
        return n // 2, n - n // 2
    if len(n_samples) != 2:
        raise ValueError(f"n_samples must be a number or a pair of them, got {n_samples!r}")
    return tuple(checks.integer(n, "n_samples", 1) for n in n_samples)


def _generator(random_state):
    if isinstance(random_state, np.random.RandomState):
        return random_state
    return np.random.mtrand._rand if random_state is None else np.random.RandomState(random_state)


class _CallableModule(ModuleType):
    def __call__(self, a):
        warnings.warn("microgradc.data(a) is now called microgradc.to_numpy(a)", DeprecationWarning, stacklevel=2)
        return to_numpy(a)


# `microgradc.data` was both this module and the function that reads an array of Values back.
sys.modules[__name__].__class__ = _CallableModule
