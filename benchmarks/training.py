"""Measure whole trainings, a step: `python benchmarks/training.py [ROUNDS]`.

`f.train` next to the loop by hand and `fit`, and to `jax.lax.scan` over the same steps if jax is there: CPU time,
one thread, engines by turns, the shortest of the rounds.
"""

import os
import sys
from itertools import pairwise
from time import process_time

import numpy as np

import microgradc
from microgradc import MLP, SGD, Adam, cross_entropy, hinge_loss, make_moons

ROUNDS = 15
microgradc.set_num_threads(1)


def moons_in(way, steps=400):
    """Return what takes so many steps of the moons demo, 100 points each."""
    X, y = make_moons(100, noise=0.1, random_state=0)
    y = 2.0 * y - 1
    model = MLP(2, [16, 16, 1], seed=0)
    loss = microgradc.compile(lambda x, y: hinge_loss([model(x)], [y]))
    optimizer = SGD(model.parameters(), lr=0.01)
    if way == "f.train":
        return lambda: loss.train(optimizer, X, y, epochs=steps)

    def by_hand():
        for _ in range(steps):
            total = loss.mean(X, y)
            optimizer.zero_grad()
            total.backward()
            optimizer.step()

    return by_hand


def digits_in(way, make, steps=570):
    """Return what takes so many steps with 32 of 1,797 digits."""
    rng = np.random.default_rng(0)
    X, y = rng.random((1797, 64)), rng.integers(0, 10, 1797)
    model = MLP(64, [32, 10], seed=0)
    loss = microgradc.compile(lambda x, y: cross_entropy([model(x)], [y]))
    optimizer = make(model.parameters())
    if way == "f.train":
        return lambda: loss.train(optimizer, X, y, epochs=steps // 57, batch_size=32, seed=0)

    def by_hand():
        for i in range(steps):
            rows = slice(32 * (i % 56), 32 * (i % 56) + 32)
            total = loss.mean(X[rows], y[rows])
            optimizer.zero_grad()
            total.backward()
            optimizer.step()

    return by_hand


def fit_moons(epochs=80):
    """Return what fits 100 points in batches of 20 for so many epochs."""
    X, y = make_moons(100, noise=0.1, random_state=0)
    model = MLP(2, [16, 16, 1], seed=0)
    return lambda: model.fit(X, y, epochs=epochs, batch_size=20, seed=0, progress=False)


def in_jax(sizes, X, y, loss_of, batch, steps, adam):
    """Return what takes so many steps in one jax.lax.scan, float64."""
    os.environ.setdefault("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1")
    import jax
    import jax.numpy as jnp

    jax.config.update("jax_enable_x64", True)
    rng = np.random.default_rng(0)
    params = [(jnp.array(rng.uniform(-1, 1, (a, b)) / a**0.5), jnp.zeros(b)) for a, b in pairwise(sizes)]

    def outputs(params, x):
        for w, b in params[:-1]:
            x = jax.nn.relu(x @ w + b)
        return x @ params[-1][0] + params[-1][1]

    def step(carry, rows):
        params, m, v, t = carry
        grads = jax.grad(lambda p: loss_of(outputs(p, X[rows]), y[rows]))(params)
        if not adam:
            return (jax.tree.map(lambda p, g: p - 0.01 * g, params, grads), m, v, t), None
        t = t + 1
        m = jax.tree.map(lambda m, g: m + 0.1 * (g - m), m, grads)
        v = jax.tree.map(lambda v, g: 0.999 * v + 0.001 * g * g, v, grads)
        rate, root = 1e-3 / (1 - 0.9**t), jnp.sqrt(1 - 0.999**t)
        params = jax.tree.map(lambda p, m, v: p - rate * m / (jnp.sqrt(v) / root + 1e-8), params, m, v)
        return (params, m, v, t), None

    zeros = jax.tree.map(jnp.zeros_like, params)
    rows = jnp.array(np.resize(np.arange(len(X) // batch * batch), (steps, batch)))
    run = jax.jit(lambda carry: jax.lax.scan(step, carry, rows)[0])
    X, y = jnp.array(X), jnp.array(y)
    return lambda: jax.block_until_ready(run((params, zeros, zeros, 0.0)))


def jax_moons(steps=400):
    """Return the moons steps in jax."""
    import jax.numpy as jnp

    X, y = make_moons(100, noise=0.1, random_state=0)
    return in_jax(
        [2, 16, 16, 1], X, 2.0 * y - 1, lambda out, y: jnp.maximum(0, 1 - y * out[:, 0]).mean(), 100, steps, False
    )


def jax_digits(adam, steps=570):
    """Return the digits steps in jax."""
    import jax

    rng = np.random.default_rng(0)
    X, y = rng.random((1797, 64)), rng.integers(0, 10, 1797)

    def loss(out, y):
        return -jax.nn.log_softmax(out)[np.arange(32), y].mean()

    return in_jax([64, 32, 10], X, y, loss, 32, steps, adam)


def sgd(params):
    return SGD(params, lr=0.01)


def adam(params):
    return Adam(params, lr=1e-3)


COLUMNS = ["by hand", "f.train", "fit", "jax.lax.scan"]

# The workload, its steps, and who takes them.
WORKLOADS = [
    ("moons, 100 points, SGD", 400, {
        "by hand": lambda: moons_in("by hand"), "f.train": lambda: moons_in("f.train"), "jax.lax.scan": jax_moons,
    }),
    ("digits, batch 32, SGD", 570, {
        "by hand": lambda: digits_in("by hand", sgd), "f.train": lambda: digits_in("f.train", sgd),
        "jax.lax.scan": lambda: jax_digits(False),
    }),
    ("digits, batch 32, Adam", 570, {
        "by hand": lambda: digits_in("by hand", adam), "f.train": lambda: digits_in("f.train", adam),
        "jax.lax.scan": lambda: jax_digits(True),
    }),
    ("fit, moons, batch 20, Adam", 400, {"fit": fit_moons}),
]


def main(rounds=ROUNDS):
    """Print a table of microseconds a step."""
    print(f"{'microseconds a step':<30}" + "".join(f"{name:>14}" for name in COLUMNS))
    for name, steps, engines in WORKLOADS:
        runs, best = {}, {}
        for engine, make in engines.items():
            try:
                runs[engine] = make()
            except ImportError:
                continue
            runs[engine]()      # it compiles
            best[engine] = float("inf")
        for _ in range(rounds):
            for engine, run in runs.items():
                begin = process_time()
                run()
                best[engine] = min(best[engine], process_time() - begin)
        cells = [f"{best[engine] / steps * 1e6:.1f}" if engine in best else "-" for engine in COLUMNS]
        print(f"{name:<30}" + "".join(f"{cell:>14}" for cell in cells), flush=True)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
