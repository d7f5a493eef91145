"""The table of docs/arguments.md: what users of jax and PyTorch write, and the same here, side by side."""

from pathlib import Path

import numpy as np
import pytest
import torch

import microgradc
from microgradc import Value, compile, select, stop_gradient, straight_through, take

X, T = np.array([-1.5, 0.0, 0.75, 2.0]), np.array([0.5, -0.25])
PAGE = Path(__file__).parents[2] / "docs" / "arguments.md"


@pytest.fixture(scope="module")
def jax():
    found = pytest.importorskip("jax", reason="jax is not installed, so nothing is compared with it")
    found.config.update("jax_enable_x64", True)
    return found


def power(x, n):
    return sum(x**i for i in range(n))


def line(t, x):
    return (t[0] * x + t[1]) ** 2


def close(found, expected):
    assert np.asarray(found) == pytest.approx(np.asarray(expected), rel=1e-12)


def test_static_arguments(jax):
    theirs = jax.jit(power, static_argnames="n")
    ours = compile(power, static=("n",))
    for n in (1, 4):
        close(ours(1.25, n).data, theirs(1.25, n=n))
        close(ours.map(X, n=n), jax.vmap(lambda x, n=n: theirs(x, n=n))(X))
    with pytest.raises(TypeError, match="kind"):
        jax.jit(lambda x, kind: x)(1.0, kind="tanh")
    assert compile(lambda x, kind: x)(1.0, kind="tanh").data == 1.0


def test_shared_arguments(jax):
    ours = compile(line, shared=("t",))
    close(ours.map(T, X), jax.vmap(line, in_axes=(None, 0))(T, X))
    value, gradient = jax.value_and_grad(lambda t: jax.vmap(line, in_axes=(None, 0))(t, X).sum())(T)
    found = ours.sum_value_and_grad(T, X)
    close(found[0], value)
    close(found[1], gradient)
    values, (of_t, of_x) = jax.vmap(jax.value_and_grad(line, argnums=(0, 1)), in_axes=(None, 0))(T, X)
    found = ours.map_value_and_grad(T, X)
    close(found[0], values)
    close(found[1][0], of_t)
    close(found[1][1], of_x)
    one = ours.value_and_grad(T, 0.75)
    theirs = jax.value_and_grad(line, argnums=(0, 1))(T, 0.75)
    close(one[0], theirs[0])
    close(one[1][0], theirs[1][0])
    close(one[1][1], theirs[1][1])


def test_gradients_that_stop(jax):
    close(compile(lambda x: stop_gradient(x * x) * x).map_value_and_grad(X)[1],
          jax.vmap(jax.grad(lambda x: jax.lax.stop_gradient(x * x) * x))(X))
    half = lambda x: (x + 0.5) // 1  # noqa: E731
    close(compile(lambda x: straight_through(half(x), x) * x).map_value_and_grad(X)[1],
          jax.vmap(jax.grad(lambda x: (x + jax.lax.stop_gradient(half(x) - x)) * x))(X))
    t = torch.tensor(X, requires_grad=True)
    ((t * t).detach() * t).sum().backward()
    close(compile(lambda x: stop_gradient(x * x) * x).map_value_and_grad(X)[1], t.grad)


def test_the_double_where(jax):
    def double(x):
        positive = x > 0
        return jax.numpy.where(positive, jax.numpy.sqrt(jax.numpy.where(positive, x, 1.0)), 0.0)
    close(compile(lambda x: select(x > 0, x.sqrt(), 0.0)).map_value_and_grad(X)[1], jax.vmap(jax.grad(double))(X))


def test_functions_with_a_rule_of_their_own(jax):
    @jax.custom_jvp
    def theirs(x):
        return jax.numpy.maximum(x, 0.0)

    theirs.defjvps(lambda t, out, x: t * jax.numpy.where(x > 0, 1.0, 0.1))
    ours = microgradc.function(
        lambda x: microgradc.maximum(x, 0.0), derivative=lambda x: microgradc.where(x > 0, 1.0, 0.1)
    )
    values, grads = compile(lambda x: ours(x) ** 2 + ours(x)).map_value_and_grad(X)
    close(values, jax.vmap(lambda x: theirs(x) ** 2 + theirs(x))(X))
    close(grads, jax.vmap(jax.grad(lambda x: theirs(x) ** 2 + theirs(x)))(X))


def test_rows_of_a_table(jax):
    table = jax.numpy.array([0.0, 10.0, 20.0, 30.0])
    ours = compile(lambda i: take([Value(10.0 * k) for k in range(4)], i + 1))
    i = np.array([0, 2, 1])
    close(ours.map(i), jax.vmap(lambda i: table[i + 1])(i))


def test_the_page_has_them():
    page = PAGE.read_text(encoding="utf-8")
    idioms = "static_argnames", "in_axes=(None, 0)", "stop_gradient", "custom_jvp", "table[i + 1]", "argnums=(0, 1)"
    assert [idiom for idiom in idioms if idiom not in page] == []
