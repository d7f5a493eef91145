"""All transforms of 200 random functions, and of random loops, against jax's, where it is installed.

For jax a function is a table of numbers, which one interpreter runs: so it is compiled once, not 200 times.
"""

import random

import numpy as np
import pytest

import microgradc
from microgradc import Value, compile, gradients, hvp, jacobian, jvp, scan, value_and_grad, vjp

jax = pytest.importorskip("jax", reason="jax is not installed, so random functions are not compared with it")

INPUTS, STEPS, KINDS = 4, 12, 9
CLOSE = {"rtol": 1e-9, "atol": 1e-9}


def table(seed):
    """Return a random function: for each step its kind and two operands."""
    choose = random.Random(seed)
    return [
        (choose.randrange(KINDS), choose.randrange(max(0, k - 6), k), choose.randrange(k))
        for k in range(INPUTS, INPUTS + STEPS)
    ]


def step(kind, a, b, library):
    return [
        lambda: a + b,
        lambda: a - b,
        lambda: a * b,
        lambda: a / (b * b + 1.0),
        lambda: library.tanh(a),
        lambda: library.sin(a),
        lambda: library.exp(a) / (library.exp(a) + 1.0),
        lambda: library.maximum(a, b * 0.5),
        lambda: library.sqrt(a * a + b * b + 0.25),
    ][kind]()


def ours(seed):
    steps = table(seed)

    def results(x):
        nodes = [x[i] for i in range(INPUTS)]
        for kind, i, j in steps:
            nodes.append(step(kind, nodes[i], nodes[j], microgradc))
        return nodes

    return results


def one(results):
    return results[-1] * results[-2] + results[-3]


@pytest.fixture(scope="module")
def theirs():
    """What jax says of a table and numbers, by name."""
    jax.config.update("jax_enable_x64", True)
    jnp = jax.numpy

    def results(x, steps):
        def run(nodes, row):
            place, (kind, i, j) = row
            found = [step(which, nodes[i], nodes[j], jnp) for which in range(KINDS)]
            return nodes.at[place].set(jnp.stack(found)[kind]), None

        begin = jnp.concatenate([x, jnp.zeros(STEPS)])
        return jax.lax.scan(run, begin, (jnp.arange(INPUTS, INPUTS + STEPS), steps))[0]

    def f(x, steps):
        return one(results(x, steps))

    def several(x, steps):
        return results(x, steps)[-4:]

    def loop(x, steps):
        last, ys = jax.lax.scan(lambda c, _: (jnp.tanh(results(c, steps)[-INPUTS:]), c[0] * x[1]), x, length=5)
        return last @ x + ys @ ys

    def of(f):
        slope = jax.grad(f)
        return {
            "value_and_grad": jax.value_and_grad(f),
            "hessian": jax.hessian(f),
            "hvp": lambda x, steps, v: jax.jvp(lambda x: slope(x, steps), (x,), (v,))[1],
            "third": lambda x, steps, v: jax.jvp(
                lambda x: jax.jvp(lambda x: slope(x, steps), (x,), (v,))[1], (x,), (v,)
            )[1],
        }

    found = {name: jax.jit(g) for name, g in of(f).items()}
    found["jacobian"] = jax.jit(jax.jacobian(several))
    found["jvp"] = jax.jit(lambda x, steps, v: jax.jvp(lambda x: several(x, steps), (x,), (v,)))
    found["vjp"] = jax.jit(lambda x, steps, v: jax.vjp(lambda x: several(x, steps), x)[1](v)[0])
    found["map_value_and_grad"] = jax.jit(jax.vmap(jax.value_and_grad(f), (0, None)))
    return found | {f"{name} of a loop": jax.jit(g) for name, g in of(loop).items()}


@pytest.mark.parametrize("seed", range(200))
def test_random_functions(seed, theirs):
    results, steps = ours(seed), np.array(table(seed))
    source = np.random.default_rng(seed)
    x, v, X = source.uniform(-1.5, 1.5, INPUTS), source.uniform(-1, 1, INPUTS), source.uniform(-1, 1, (3, INPUTS))
    f, several = compile(lambda x: one(results(x))), compile(lambda x: results(x)[-4:])
    value, slope = theirs["value_and_grad"](x, steps)
    for found in (f.value_and_grad(x), value_and_grad(f)(x)):
        np.testing.assert_allclose(found[0], value, **CLOSE)
        np.testing.assert_allclose(found[1], slope, **CLOSE)
    matrix = theirs["hessian"](x, steps)
    np.testing.assert_allclose(f.hessian(x), matrix, **CLOSE)
    np.testing.assert_allclose(f.hessian(x, sparse=True).toarray(), matrix, **CLOSE)
    np.testing.assert_allclose(f.hvp(x, v), theirs["hvp"](x, steps, v), **CLOSE)
    np.testing.assert_allclose(several.jacobian(x), theirs["jacobian"](x, steps), **CLOSE)
    np.testing.assert_allclose(jacobian(several)(x), theirs["jacobian"](x, steps), **CLOSE)
    for found, wanted in zip(jvp(several, (x,), (v,)), theirs["jvp"](x, steps, v), strict=True):
        np.testing.assert_allclose(found, wanted, **CLOSE)
    np.testing.assert_allclose(vjp(several, x)[1](list(v))[0], theirs["vjp"](x, steps, v), **CLOSE)
    for found, wanted in zip(f.map_value_and_grad(X), theirs["map_value_and_grad"](X, steps), strict=True):
        np.testing.assert_allclose(found, wanted, **CLOSE)
    xs = list(map(Value, x))
    np.testing.assert_allclose([g.data for g in gradients(one(results(xs)), xs)], slope, **CLOSE)
    if seed % 5 == 0:
        third = jvp(lambda x: hvp(f, x, v), (x,), (v,))[1]
        np.testing.assert_allclose(third, theirs["third"](x, steps, v), rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("seed", range(40))
def test_random_loops(seed, theirs):
    results, steps = ours(seed), np.array(table(seed))
    source = np.random.default_rng(seed)
    x, v = source.uniform(-1.5, 1.5, INPUTS), source.uniform(-1, 1, INPUTS)

    def body(c, x):
        return [microgradc.tanh(y) for y in results(c)[-INPUTS:]], c[0] * x[1]

    def f(x):
        keep = ("all", "sqrt")[seed % 2]
        last, ys = scan(lambda c, _: body(c, x), [x[i] for i in range(INPUTS)], length=5, keep=keep)
        return microgradc.sum([a * x[i] for i, a in enumerate(last)]) + microgradc.sum([y * y for y in ys])

    f = compile(f)
    for found, wanted in zip(f.value_and_grad(x), theirs["value_and_grad of a loop"](x, steps), strict=True):
        np.testing.assert_allclose(found, wanted, **CLOSE)
    np.testing.assert_allclose(f.hessian(x), theirs["hessian of a loop"](x, steps), **CLOSE)
    np.testing.assert_allclose(f.hvp(x, v), theirs["hvp of a loop"](x, steps, v), **CLOSE)
    if seed % 8 == 0:
        third = jvp(lambda x: hvp(f, x, v), (x,), (v,))[1]
        np.testing.assert_allclose(third, theirs["third of a loop"](x, steps, v), rtol=1e-8, atol=1e-8)
