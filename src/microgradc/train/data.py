"""Small data sets for classification: two moons, circles, blobs, the same numbers as scikit-learn's for the same
arguments; and batches.

The module can be called too, which is deprecated: `microgradc.data(a)` is now `microgradc.to_numpy(a)`.
"""

from __future__ import annotations

import math
import random
import sys
import warnings
from collections.abc import Iterator, Mapping, Sequence
from types import ModuleType
from typing import TYPE_CHECKING, Any, Generic, Literal, Protocol, TypeAlias, TypeVar, overload

import numpy as np

from microgradc import checks
from microgradc.arrays import to_numpy
from microgradc.engine.value import array_of, real_number
from microgradc.keywords import suggest_keywords

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from microgradc.checks import Nested, Seed

    _Floats: TypeAlias = NDArray[np.float64]
    _Places: TypeAlias = NDArray[np.int64]

    class _Frame(Protocol):
        def to_numpy(self) -> Any: ...

    class _Tensor(Protocol):
        def numpy(self) -> Any: ...

    # What they are not taken of as it is.
    _Other: TypeAlias = _Frame | _Tensor | tuple[Any, ...] | range

# What batches are taken of as it is: a list or an array.
_X = TypeVar("_X", bound="list[Any] | NDArray[Any]")
_Y = TypeVar("_Y", bound="list[Any] | NDArray[Any]")


@suggest_keywords
def make_moons(
    n_samples: int | Sequence[int] = 100,
    *,
    shuffle: bool = True,
    noise: float | None = None,
    random_state: Seed = None,
) -> tuple[_Floats, _Places]:
    """Make two interleaving half circles.

    Args:
        n_samples: the number of points, or a pair of numbers, one for each moon.
        shuffle: whether to mix the points of the two.
        noise: the standard deviation of Gaussian noise added to the points; None for none.
        random_state: a seed, one of NumPy's generators, a `random.Random`, or None for NumPy's global generator.

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


@suggest_keywords
def make_circles(
    n_samples: int | Sequence[int] = 100,
    *,
    shuffle: bool = True,
    noise: float | None = None,
    random_state: Seed = None,
    factor: float = 0.8,
) -> tuple[_Floats, _Places]:
    """Make a large circle that contains a smaller one.

    Args:
        n_samples: the number of points, or a pair of numbers, one for each circle.
        shuffle: whether to mix the points of the two.
        noise: the standard deviation of Gaussian noise added to the points; None for none.
        random_state: a seed, one of NumPy's generators, a `random.Random`, or None for NumPy's global generator.
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


@overload
def make_blobs(
    n_samples: int | Sequence[int] = 100,
    n_features: int = 2,
    *,
    centers: int | ArrayLike | None = None,
    cluster_std: float | Sequence[float] = 1.0,
    center_box: tuple[float, float] = (-10.0, 10.0),
    shuffle: bool = True,
    random_state: Seed = None,
    return_centers: Literal[False] = False,
) -> tuple[_Floats, _Places]: ...
@overload
def make_blobs(
    n_samples: int | Sequence[int] = 100,
    n_features: int = 2,
    *,
    centers: int | ArrayLike | None = None,
    cluster_std: float | Sequence[float] = 1.0,
    center_box: tuple[float, float] = (-10.0, 10.0),
    shuffle: bool = True,
    random_state: Seed = None,
    return_centers: Literal[True],
) -> tuple[_Floats, _Places, _Floats]: ...
@suggest_keywords
def make_blobs(
    n_samples: Any = 100,
    n_features: int = 2,
    *,
    centers: Any = None,
    cluster_std: float | Sequence[float] = 1.0,
    center_box: tuple[float, float] = (-10.0, 10.0),
    shuffle: bool = True,
    random_state: Seed = None,
    return_centers: bool = False,
) -> tuple[_Floats, _Places] | tuple[_Floats, _Places, _Floats]:
    """Make Gaussian blobs.

    Args:
        n_samples: the number of points, shared out equally, or a list of numbers, one for each blob.
        n_features: the number of coordinates of a point.
        centers: the number of blobs, or their centres, of shape (k, n_features); by default 3, or one for each entry of
            n_samples.
        cluster_std: the standard deviation of a blob, or a list of them.
        center_box: the interval from which the coordinates of centres are drawn.
        shuffle: whether to mix the points.
        random_state: a seed, one of NumPy's generators, a `random.Random`, or None for NumPy's global generator.
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
    if not np.all(np.asarray(cluster_std, float) >= 0):
        raise ValueError(f"cluster_std must be standard deviations, at least 0, got {cluster_std!r}")
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


@overload
def batches(
    X: _X, y: _Y, batch_size: int = 32, *, shuffle: bool = True, seed: Seed = None, drop_last: bool = False
) -> Batches[_X, _Y]: ...
@overload
def batches(
    X: _Other, y: object, batch_size: int = 32, *, shuffle: bool = True, seed: Seed = None, drop_last: bool = False
) -> Batches[Any, Any]: ...
@overload
def batches(
    X: object, y: _Other, batch_size: int = 32, *, shuffle: bool = True, seed: Seed = None, drop_last: bool = False
) -> Batches[Any, Any]: ...
@suggest_keywords
def batches(
    X: Any, y: Any, batch_size: int = 32, *, shuffle: bool = True, seed: Seed = None, drop_last: bool = False
) -> Batches[Any, Any]:
    """Go through examples some at a time, once for each `for` over the result.

    Args:
        X, y: lists, arrays, frames, series or tensors of one length, an entry for each example. They are taken by
            position, whatever labels they have.
        batch_size: how many examples make a batch.
        shuffle: whether to take them in random order, anew each time.
        seed: for the orders, an integer, a `random.Random` or a NumPy generator; None for the module `random`.
        drop_last: whether to leave out the last batch if it is smaller than the others.

    Returns:
        An iterable of pairs, the X and the y of a batch: lists of lists, arrays of all else. It can be gone through
        again, and `len` is the number of batches. `next(iter(batches(X, y)))` is a single one.

    Raises:
        ValueError: X and y differ in length or are empty, batch_size is not a positive integer.
        TypeError: X or y is not such a sequence.

    >>> turns = batches([[1.0], [2.0], [3.0]], [1, 2, 3], batch_size=2, shuffle=False)
    >>> list(turns)
    [([[1.0], [2.0]], [1, 2]), ([[3.0]], [3])]
    >>> len(turns), len(list(turns))
    (2, 2)
    """
    return Batches(X, y, batch_size, shuffle, seed, drop_last)


class Batches(Generic[_X, _Y]):
    """What `batches` returns: pairs of the X and the y of a batch, each time in another order."""

    batch_size: int
    shuffle: bool
    drop_last: bool

    def __init__(self, X: _X, y: _Y, batch_size: int, shuffle: bool, seed: Seed, drop_last: bool) -> None:
        self.batch_size = checks.integer(batch_size, "batch_size", 1)
        self.shuffle, self.drop_last = checks.flag(shuffle, "shuffle"), checks.flag(drop_last, "drop_last")
        self._rng = None if seed is None else checks.seed(seed)     # a module cannot be copied
        self._X, self._y = _sequence(X, "X"), _sequence(y, "y")
        self._count()

    def __len__(self) -> int:
        n = self._count()
        return n // self.batch_size if self.drop_last else -(-n // self.batch_size)

    def __iter__(self) -> Iterator[tuple[_X, _Y]]:
        order = list(range(self._count()))
        if self.shuffle:
            checks.seed(self._rng).shuffle(order)
        k = self.batch_size
        turns = [order[i * k : (i + 1) * k] for i in range(len(self))]
        return ((_take(self._X, turn), _take(self._y, turn)) for turn in turns)

    def __repr__(self) -> str:
        return f"<{len(self)} batches of {self.batch_size}, of {self._count()} examples>"

    def _count(self) -> int:
        """Return the number of examples."""
        n = len(self._X)
        if n == 0 or n != len(self._y):
            raise ValueError(f"X and y must have one entry for each example, at least one, got {n} and {len(self._y)}")
        return n


def hold_out(y: NDArray[Any], share: Any, rng: Any, by_class: bool) -> tuple[_Places, _Places]:
    """Return the places of examples to train on and, at random, of this share of them to keep apart.

    Args:
        y: the targets.
        by_class: whether they are classes, each of which gives its share, as far as that is a number of examples; one
            of a class at least remains.

    Raises:
        ValueError: share is not between 0 and 1, or leaves no example in one of the two.
    """
    expected = "validation must be a pair (X, y) or a share of the examples between 0 and 1"
    try:
        number = math.nan if checks.is_bool(share) else real_number(share, "validation")
    except TypeError:
        raise ValueError(f"{expected}, got {share!r:.60}") from None
    if not 0 < number < 1:
        raise ValueError(f"{expected}, got {share!r}")
    share, n = number, len(y)
    k = round(n * share)
    if not 0 < k < n:
        raise ValueError(f"a share of {share} of {n} examples leaves none for {'training' if k else 'validation'}")
    shuffled = list(range(n))
    rng.shuffle(shuffled)
    order = np.array(shuffled)
    if not by_class:
        return order[k:], order[:k]
    _, classes, counts = np.unique(y[order], return_inverse=True, return_counts=True)
    numbers = _shared_out(counts, k)
    turns = np.empty(n, int)        # of each example among those of its class
    for c in range(len(counts)):
        turns[classes == c] = np.arange(counts[c])
    apart = turns < numbers[classes]
    return order[~apart], order[apart]


def _shared_out(counts: NDArray[Any], k: int) -> NDArray[Any]:
    """Return how many of k examples each class gives, by its count: whole numbers, the largest remainders first."""
    most = np.maximum(counts - 1, 0)
    exact = counts * (k / counts.sum())
    numbers = np.minimum(np.floor(exact).astype(int), most)
    for c in np.argsort(numbers - exact, kind="stable").tolist() * 2:
        if numbers.sum() < k and numbers[c] < most[c]:
            numbers[c] += 1
    return numbers


def _sequence(a: Any, name: str) -> Any:
    """Return examples as something whose entry i is that of example i."""
    array = array_of(a, name)
    if array is not None and array.ndim:
        return array
    if array is not None or not (hasattr(a, "__len__") and hasattr(a, "__getitem__")) or isinstance(a, Mapping):
        expected = "a list, an array or the like, with an entry for each example"
        advice = "; list(x) has the entries of an iterator" if hasattr(a, "__next__") else ""
        raise TypeError(f"{name} must be {expected}, got {type(a).__name__} {a!r:.40}{advice}")
    checks.require_unmasked(a, name)
    return a


def _take(a: Any, indices: list[int]) -> Any:
    return a[indices] if isinstance(a, np.ndarray) else [a[i] for i in indices]


def _finish(
    X: _Floats, n_outer: int, n_inner: int, shuffle: bool, noise: float | None, random_state: Seed
) -> tuple[_Floats, _Places]:
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


def _split(n_samples: Any) -> tuple[int, int]:
    """Return how many points the outer and the inner shape get."""
    if np.ndim(n_samples) == 0:
        n = checks.integer(n_samples, "n_samples", 1)
        return n // 2, n - n // 2
    if len(n_samples) != 2:
        raise ValueError(f"n_samples must be a number or a pair of them, got {n_samples!r}")
    outer, inner = (checks.integer(n, "n_samples", 1) for n in n_samples)
    return outer, inner


def _generator(random_state: Any) -> Any:
    if isinstance(random_state, np.random.RandomState):
        return random_state
    if random_state is None or random_state is np.random:
        return np.random.mtrand._rand
    if isinstance(random_state, np.random.Generator):
        return np.random.RandomState(random_state.bit_generator)     # its numbers come from there
    if isinstance(random_state, random.Random) or random_state is random:
        random_state = random_state.getrandbits(32)
    try:
        return np.random.RandomState(random_state)
    except (TypeError, ValueError) as error:
        expected = "a seed from 0 to 2**32 - 1, one of NumPy's generators, a random.Random or None"
        raise type(error)(f"random_state must be {expected}, got {random_state!r:.60}") from None


class _CallableModule(ModuleType):
    def __call__(self, a: Nested) -> _Floats:
        warnings.warn("microgradc.data(a) is now called microgradc.to_numpy(a)", DeprecationWarning, stacklevel=2)
        return to_numpy(a)


# `microgradc.data` was both this module and the function that reads an array of Values back.
sys.modules[__name__].__class__ = _CallableModule
