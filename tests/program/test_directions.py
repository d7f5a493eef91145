"""Hessians, Jacobians and products of compiled functions: sparse and dense, of arguments of every kind."""

import itertools
import random
import sys

import numpy as np
import pytest
import scipy.sparse
import torch

import microgradc
from microgradc import Value, compile, hessian, jacobian

X = np.array([0.3, -1.2, 0.7, 1.9])
V = np.array([1.0, 0.5, -2.0, 0.25])
hessian_in_torch = torch.autograd.functional.hessian


def tensor(x):
    return torch.tensor(x, dtype=torch.float64)


def rosenbrock(x):
    return microgradc.sum([100 * (b - a * a) ** 2 + (1 - a) ** 2 for a, b in itertools.pairwise(x)])


def rosenbrock_in_torch(x):
    return (100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2).sum()


def arrow(x, sin=microgradc.sin):
    return sin(x[0]) * sum(a * a * x[0] for a in x) + x[3] ** 3


def dense(x, exp=microgradc.exp):
    return exp(sum(0.1 * i * a * a for i, a in enumerate(x, 1))) * x[0]


SHAPES = {
    "arrow": (arrow, lambda t: arrow(t, torch.sin), 12),
    "dense": (dense, lambda t: dense(t, torch.exp), 12),
    "dense and small": (dense, lambda t: dense(t, torch.exp), 3),
    "banded": (rosenbrock, rosenbrock_in_torch, 30),
    "linear": (lambda x: x[0] * 3.0 + x[1], lambda t: t[0] * 3.0 + t[1], 4),
}


@pytest.mark.parametrize("name", SHAPES)
def test_a_sparse_hessian_is_the_dense_one(name):
    f, in_torch, n = SHAPES[name]
    f = compile(f)
    for seed in range(3):       # the first call makes the program, the others take the short way
        x = np.random.default_rng(seed).uniform(-1, 1, max(n, 4))
        expected = hessian_in_torch(in_torch, tensor(x)).numpy()
        matrix, sparse = f.hessian(x), f.hessian(x, sparse=True)
        np.testing.assert_allclose(matrix, expected, rtol=1e-12, atol=1e-12)
        np.testing.assert_array_equal(matrix, matrix.T)
        assert isinstance(sparse, scipy.sparse.csc_array)
        np.testing.assert_array_equal(sparse.toarray(), matrix)
        assert sparse.has_canonical_format
        assert sparse.nnz == np.count_nonzero(expected)
        v = np.random.default_rng(seed).normal(size=len(x))
        np.testing.assert_allclose(f.hvp(x, v), expected @ v, rtol=1e-12, atol=1e-12)
        np.testing.assert_array_equal(hessian(f, sparse=True)(x).toarray(), matrix)
    kept = sparse.copy()
    sparse.data[:] = 7.0
    sparse.indices[:] = 0       # it is the caller's
    np.testing.assert_array_equal(f.hessian(x, sparse=True).toarray(), kept.toarray())


@pytest.mark.parametrize("seed", range(8))
def test_a_sparse_jacobian_is_the_dense_one(seed):
    source = random.Random(seed)
    m, n = source.choice([(12, 9), (3, 14), (14, 3), (1, 6)])
    pairs = [[source.sample(range(n), 2) for _ in range(source.randrange(3))] for _ in range(m)]
    full = range(m) if seed % 2 else []

    def f(x, sin=microgradc.sin, total=microgradc.sum):
        rows = [sum((sin(x[i] * x[j]) for i, j in row), 0.0 * x[0]) for row in pairs]
        return [row + (total(list(x)) * x[0] if i in full else 0.0) for i, row in enumerate(rows)]

    g = compile(f)
    for _ in range(3):
        x = np.array([source.uniform(-1, 1) for _ in range(n)])
        expected = torch.autograd.functional.jacobian(
            lambda t: torch.stack(f(t, torch.sin, lambda found: torch.stack(found).sum())), tensor(x)
        )
        np.testing.assert_allclose(g.jacobian(x), expected, rtol=1e-12, atol=1e-14)
        sparse = g.jacobian(x, sparse=True)
        assert sparse.shape == (m, n)
        np.testing.assert_array_equal(sparse.toarray(), g.jacobian(x))


def test_sparse_of_several_arguments():
    def f(x, w):
        return x[0] * w**2 + x[1] * x[2]

    x, w = [1.0, 2.0, 3.0], 5.0
    whole = [[0, 0, 0, 10], [0, 0, 1, 0], [0, 1, 0, 0], [10, 0, 0, 2]]
    assert compile(f).hessian(x, w, sparse=True).toarray().tolist() == whole
    assert hessian(f, sparse=True)(x, w).toarray().tolist() == [[0, 0, 0], [0, 0, 1], [0, 1, 0]]
    assert hessian(f, 1, sparse=True)(x, w).toarray().tolist() == [[2]]
    assert jacobian(lambda x, w: [x[0] * w, w], 1, sparse=True)(x, w).toarray().tolist() == [[1], [1]]
    assert hessian(lambda x: x["a"] * x["b"] ** 2, sparse=True)({"a": 2.0, "b": 3.0}).toarray().tolist() == [
        [0, 6], [6, 4],
    ]  # fmt: skip
    for wrong in ([Value(1.0), 2.0, 3.0], 5.0), (x, Value(1.0)):
        with pytest.raises(TypeError, match="sparse=True is for arguments that are numbers"):
            hessian(f, sparse=True)(*wrong)


def test_sparse_without_scipy(monkeypatch):
    monkeypatch.setitem(sys.modules, "scipy.sparse", None)
    f = compile(rosenbrock)
    with pytest.raises(ImportError, match="pip install scipy"):
        f.hessian(X, sparse=True)
    assert f.hessian(X).shape == (4, 4)


KINDS = {
    "array": X, "list": X.tolist(), "strided": np.repeat(X, 2)[::2], "float32": X.astype(np.float32),
    "tuple": tuple(X), "integers": [1, 2, 3, -1], "square": X.reshape(2, 2).copy(),
}  # fmt: skip


@pytest.mark.parametrize("first", KINDS)
def test_arguments_of_every_kind_after_one_another(first):
    def g(x):
        a, b, c, d = x.ravel() if getattr(x, "ndim", 1) == 2 else x
        return 100 * (b - a * a) ** 2 * c + (1 - d) ** 2

    f = compile(g)
    for second in KINDS:
        for name in (first, second, first):
            numbers = np.ravel(KINDS[name]).astype(float)
            shape = np.shape(KINDS[name])
            expected = torch.autograd.functional.hessian(g, tensor(numbers)).numpy()
            got = f.hessian(KINDS[name])
            if name == "tuple":
                got = np.array(got)
            np.testing.assert_allclose(got, expected.reshape(shape + shape), rtol=1e-12)
            np.testing.assert_allclose(f.hessian(KINDS[name], sparse=True).toarray(), expected, rtol=1e-12)
            numbers = [0.0, 1.0, 2.0, 3.0]
            v = np.reshape(numbers, shape) if isinstance(KINDS[name], np.ndarray) else type(KINDS[name])(numbers)
            product = f.hvp(KINDS[name], v)
            np.testing.assert_allclose(np.ravel(product), expected @ np.arange(4.0), rtol=1e-12)


def test_a_direction_of_another_shape():
    f = compile(rosenbrock)
    for _ in range(2):
        f.hvp(X, V)
        for v in (V[:3], V[None], [1.0, 2.0], 3.0):
            with pytest.raises(ValueError, match="v must have the structure"):
                f.hvp(X, v)
        np.testing.assert_allclose(f.hvp(X, V.tolist()), f.hvp(X, V), rtol=1e-15)
