"""Measure whole trainings, a step: `python benchmarks/training.py [ROUNDS [PART OF A NAME]]`.

`f.train` next to the loop by hand and `fit`, to `jax.lax.scan` over the same steps if jax is there, and to PyTorch:
CPU time, one thread, engines by turns, the shortest of the rounds. Then, what trainings in two threads take.
"""

import os
import sys
from itertools import pairwise
from pathlib import Path
from resource import RUSAGE_SELF, getrusage
from threading import Thread
from time import perf_counter, process_time

import gpt_jax
import numpy as np

import microgradc
from microgradc import MLP, SGD, Adam, cross_entropy, hinge_loss, make_moons

sys.path.append(str(Path(__file__).parents[1] / "examples"))
ROUNDS = 15
LARGE = [784, 128, 10]
microgradc.set_num_threads(1)


def steps_by_hand(loss, optimizer, X, y, steps):
    """Take so many steps over all examples, as one writes them."""
    for _ in range(steps):
        total = loss.mean(X, y)
        optimizer.zero_grad()
        total.backward()
        optimizer.step()


def moons_in(way, steps=400):
    """Return what takes so many steps of the moons demo, 100 points each."""
    X, y = make_moons(100, noise=0.1, random_state=0)
    y = 2.0 * y - 1
    model = MLP(2, [16, 16, 1], seed=0)
    loss = microgradc.compile(lambda x, y: hinge_loss([model(x)], [y]))
    optimizer = SGD(model.parameters(), lr=0.01)
    if way == "f.train":
        return lambda: loss.train(optimizer, X, y, epochs=steps)

    return lambda: steps_by_hand(loss, optimizer, X, y, steps)


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


def large_examples():
    """Return 64 examples for the larger network, of numbers as in pictures."""
    rng = np.random.default_rng(0)
    return rng.random((64, LARGE[0])), rng.integers(0, 10, 64)


def large_in(way, steps=40):
    """Return what takes so many steps of a network of 784-128-10 with 64 examples."""
    X, y = large_examples()
    model = MLP(LARGE[0], LARGE[1:], seed=0)
    loss = microgradc.compile(lambda x, y: cross_entropy([model(x)], [y]))
    optimizer = sgd(model.parameters())
    if way == "f.train":
        return lambda: loss.train(optimizer, X, y, epochs=steps)

    return lambda: steps_by_hand(loss, optimizer, X, y, steps)


def large_in_torch(steps=40):
    """Return the same in PyTorch, float64."""
    import torch

    torch.set_num_threads(1)
    X, y = map(torch.from_numpy, large_examples())
    sizes = [torch.nn.Linear(a, b, dtype=torch.float64) for a, b in pairwise(LARGE)]
    model = torch.nn.Sequential(sizes[0], torch.nn.ReLU(), sizes[1])
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)

    def run():
        for _ in range(steps):
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(model(X), y).backward()
            optimizer.step()

    return run


def gpt_in(way, steps=100):
    """Return what takes so many steps of the GPT, each with one name of 8 letters."""
    import gpt

    model = gpt.GPT(loops=gpt.CompiledLoops)
    loss = microgradc.compile(model.loss)
    optimizer = Adam(model.parameters, lr=0.01, betas=(0.85, 0.99))
    tokens = names_of(steps)
    if way == "f.train":
        return lambda: loss.train(optimizer, tokens, batch_size=1, shuffle=False)
    lists = tokens.tolist()

    def by_hand():
        for each in lists:
            total = loss(each)
            optimizer.zero_grad()
            total.backward()
            optimizer.step()

    return by_hand


def names_of(steps):
    """Return the tokens of so many names of 8 letters."""
    import gpt

    names = [name for name in gpt.load_names() if len(name) == 8]
    return np.resize([gpt.tokens_of(name) for name in names], (steps, 10))


def set_up_jax():
    """Return jax, for one thread and float64."""
    os.environ.setdefault("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1")
    import jax

    jax.config.update("jax_enable_x64", True)
    return jax


def jax_gpt(steps=100):
    """Return the steps of the GPT in jax."""
    import gpt

    return gpt_jax.make_scan(set_up_jax(), gpt, names_of(steps))


def in_jax(sizes, X, y, loss_of, batch, steps, adam):
    """Return what takes so many steps in one jax.lax.scan."""
    jax = set_up_jax()
    import jax.numpy as jnp

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
    rng = np.random.default_rng(0)
    return in_jax(
        [64, 32, 10], rng.random((1797, 64)), rng.integers(0, 10, 1797), jax_cross_entropy, 32, steps, adam
    )


def jax_large(steps=40):
    """Return the steps of the larger network in jax."""
    return in_jax(LARGE, *large_examples(), jax_cross_entropy, 64, steps, False)


def jax_fit(steps=400):
    """Return steps of Adam with 20 points in jax: what `fit` has to do."""
    import jax

    X, y = make_moons(100, noise=0.1, random_state=0)

    def loss(out, y):
        return (jax.nn.softplus(out[:, 0]) - out[:, 0] * y).mean()

    return in_jax([2, 16, 16, 1], X, y, loss, 20, steps, True)


def jax_cross_entropy(out, y):
    """Return the mean loss of some examples."""
    import jax

    return -jax.nn.log_softmax(out)[np.arange(len(y)), y].mean()


def sgd(params):
    return SGD(params, lr=0.01)


def adam(params):
    return Adam(params, lr=1e-3)


COLUMNS = ["by hand", "f.train", "fit", "jax.lax.scan", "torch"]

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
    ("GPT, 8 letters, Adam", 100, {
        "by hand": lambda: gpt_in("by hand"), "f.train": lambda: gpt_in("f.train"), "jax.lax.scan": jax_gpt,
    }),
    ("MLP 784-128-10, batch 64, SGD", 40, {
        "by hand": lambda: large_in("by hand"), "f.train": lambda: large_in("f.train"), "jax.lax.scan": jax_large,
        "torch": large_in_torch,
    }),
    ("fit, moons, batch 20, Adam", 400, {"fit": fit_moons, "jax.lax.scan": jax_fit}),
]


def threads_lines(rounds):
    """Return lines with what four trainings take one after another and in two threads.

    Cores that others use, too, give no second half of the time. What does not depend on them: the time that the threads
    take of the processor, which is more where they share memory, and how often one waits, as for the GIL.
    """
    runs = [moons_in("f.train", 4000) for _ in range(4)]

    def take(some):
        for run in some:
            run()

    best = {}
    for _ in range(rounds + 1):
        for way, parts in (("one after another", [runs]), ("in two threads", [runs[:2], runs[2:]])):
            threads = [Thread(target=take, args=(part,)) for part in parts]
            begin, busy, waits = perf_counter(), process_time(), getrusage(RUSAGE_SELF).ru_nvcsw
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            found = perf_counter() - begin, process_time() - busy, getrusage(RUSAGE_SELF).ru_nvcsw - waits
            best[way] = min(best.get(way, found), found)
    lines = [
        f"four trainings {way}: {seconds * 1e3:.0f} ms, {busy * 1e3:.0f} ms of the processor, {waits} waits"
        for way, (seconds, busy, waits) in best.items()
    ]
    return [*lines, f"{best['one after another'][0] / best['in two threads'][0]:.2f} times as fast"]


def main(rounds=ROUNDS, part=""):
    """Print a table of microseconds a step, and lines about threads."""
    print(f"{'microseconds a step':<30}" + "".join(f"{name:>14}" for name in COLUMNS))
    for name, steps, engines in WORKLOADS:
        if part not in name:
            continue
        runs, best = {}, {}
        for engine, make in engines.items():
            try:
                runs[engine] = make()
            except ImportError:
                continue
            runs[engine]()      # it compiles
            best[engine] = float("inf")
        for _ in range(int(rounds)):
            for engine, run in runs.items():
                begin = process_time()
                run()
                best[engine] = min(best[engine], process_time() - begin)
        cells = [f"{best[engine] / steps * 1e6:.1f}" if engine in best else "-" for engine in COLUMNS]
        print(f"{name:<30}" + "".join(f"{cell:>14}" for cell in cells), flush=True)
    if part in "threads":
        print("\n".join(threads_lines(int(rounds))))


if __name__ == "__main__":
    main(*sys.argv[1:])
