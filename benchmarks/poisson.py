"""A regression of counts, y ~ Poisson(exp(x w + b)): its likelihood over all rows, and the gradient of the parameters.

What `scipy.optimize.minimize` calls at each step. microgradc has the parameters as a shared argument, or as Values
outside of the function; jax has them as an argument of a jitted function. All are timed in turns, in CPU time and with
one thread, so that a busy machine slows all of them.

    python benchmarks/poisson.py [rows] [columns]
"""

import os
import sys
import time

for _name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(_name, "1")
os.environ.setdefault("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1")

import numpy as np  # noqa: E402

import microgradc  # noqa: E402
from microgradc import Value  # noqa: E402

TURNS, CALLS = 20, 200


def examples(rows, columns):
    """Return counts and what they depend on, and the parameters at which they are looked at."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(rows, columns)) / columns**0.5
    theta = rng.normal(size=columns + 1) / 2
    return rng.poisson(np.exp(X @ theta[:-1] + theta[-1])).astype(float), X, theta


def loss(theta, x, y, functions=microgradc):
    """Return the negative logarithm of the likelihood of one row, but for what does not depend on theta."""
    z = functions.dot(theta[:-1], x) + theta[-1]
    return functions.exp(z) - y * z


def make_shared(y, X, theta):
    """Return the call with theta as a shared argument."""
    f = microgradc.compile(loss, shared=("theta",))
    return lambda: f.sum_value_and_grad(theta, X, y)


def make_outer(y, X, theta):
    """Return the call with theta as Values outside of the function."""
    parameters = [Value(t) for t in theta]
    f = microgradc.compile(lambda x, y: loss(parameters, x, y))

    def call():
        for p, t in zip(parameters, theta.tolist(), strict=True):
            p.data, p.grad = t, 0.0
        total = f.sum(X, y)
        total.backward()
        return total.data, np.array([p.grad for p in parameters])
    return call


def make_jax(y, X, theta):
    """Return the call in jax, whose dot is one matrix product for all rows."""
    import jax

    jax.config.update("jax_enable_x64", True)

    def total(theta, X, y):
        return jax.vmap(lambda x, y: loss(theta, x, y, jax.numpy))(X, y).sum()

    f = jax.jit(jax.value_and_grad(total))
    X, y = jax.numpy.array(X), jax.numpy.array(y)

    def call():
        value, gradient = jax.block_until_ready(f(theta, X, y))
        return float(value), np.asarray(gradient)
    return call


def main(rows=5_000, columns=10):
    """Print the times of all, and how they compare with that of shared arguments."""
    microgradc.set_num_threads(1)
    given = examples(rows, columns)
    calls = {"shared argument": make_shared(*given), "outer Values": make_outer(*given)}
    try:
        calls["jax.jit"] = make_jax(*given)
    except ImportError:
        print("jax is not installed: without it")
    value, gradient = calls["outer Values"]()
    for name, call in calls.items():
        found = call()
        assert np.isclose(found[0], value, rtol=1e-12), name
        assert np.allclose(found[1], gradient, rtol=1e-9), name
    best = dict.fromkeys(calls, float("inf"))
    for _ in range(TURNS):
        for name, call in calls.items():
            begin = time.process_time()
            for _ in range(CALLS):
                call()
            best[name] = min(best[name], (time.process_time() - begin) / CALLS)
    print(f"{rows:,} rows of {columns} columns, with gradients")
    for name, seconds in best.items():
        print(f"{name:16} {1e6 * seconds:8.1f} µs {seconds / best['shared argument']:6.2f}")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
