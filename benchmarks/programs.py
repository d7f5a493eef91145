"""Time small programs against other compilers: `python benchmarks/programs.py [ROUNDS] [WORK]` prints a table.

All engines of a work run in this process by turns, on one thread; times are CPU time, the least and the median of all
rounds. What is not installed (jax, casadi) is left out. WORK is a part of a name.
"""

import os
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

os.environ["OPENBLAS_NUM_THREADS"] = "1"     # before NumPy is imported

import numpy as np
from compiled_workloads import (
    compiled,
    digits_step,
    gpt_step,
    installed_version,
    jax_gpt_step,
    jax_moons_step,
    single_threaded_jax,
)

import microgradc
from microgradc import nn
from microgradc.cli.engines import one_thread_step

ROUNDS = 40
Work = Callable[[], Any]
G, DAMPING, STEP = 9.81, 0.1, 0.01


def jax_or_none() -> Any:
    """Return jax, for one thread; None if it is not installed."""
    return single_threaded_jax() if installed_version("jax") else None


def casadi_call(make: Callable[[Any], tuple[Any, Any]]) -> Work | None:
    """Return a call of CasADi's buffer, its fastest way, for `make(casadi)`: the inputs and the outputs of SX."""
    if not installed_version("casadi"):
        return None
    import casadi

    inputs, outputs = make(casadi)
    function = casadi.Function("f", inputs, outputs)
    buffer, trigger = function.buffer()
    arrays = [np.linspace(-1, 1, function.size1_in(i)) for i in range(function.n_in())]
    results = [np.zeros(function.nnz_out(i)) for i in range(function.n_out())]
    for i, array in enumerate(arrays):
        buffer.set_arg(i, memoryview(array))
    for i, array in enumerate(results):
        buffer.set_res(i, memoryview(array))

    def call() -> list[np.ndarray]:
        trigger()
        return results

    call.kept = buffer, function     # type: ignore[attr-defined]
    return call


# The value and gradient of Rosenbrock's function

def rosenbrock(x: Any) -> Any:
    """Return the sum of 100 (x[i + 1] - x[i]²)² + (1 - x[i])²."""
    return sum(100 * (x[i + 1] - x[i] ** 2) ** 2 + (1 - x[i]) ** 2 for i in range(len(x) - 1))


def rosenbrocks(n: int) -> dict[str, Work | None]:
    """Return the engines at -1 … 1 in n steps."""
    f, x = compiled(rosenbrock), np.linspace(-1, 1, n)
    engines: dict[str, Work | None] = {"microgradc": lambda: f.value_and_grad(x)}

    def of_casadi(casadi: Any) -> tuple[Any, Any]:
        v = casadi.SX.sym("x", n)
        y = rosenbrock([v[i] for i in range(n)])
        return [v], [y, casadi.gradient(y, v)]

    engines["CasADi, buffer"] = casadi_call(of_casadi)
    if jax := jax_or_none():
        g = jax.jit(
            jax.value_and_grad(lambda x: (100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2).sum())
        )
        v = jax.numpy.array(x)
        engines["jax.jit"] = lambda: jax.block_until_ready(g(v))
    return engines


# A pendulum: 1,000 steps of Runge and Kutta's method

def advance(state: tuple[Any, Any], sin: Callable[[Any], Any]) -> tuple[Any, Any]:
    """Return the angle and its velocity a step later."""

    def rate(angle: Any, velocity: Any) -> tuple[Any, Any]:
        return velocity, -sin(angle) * G - velocity * DAMPING

    y, w = state
    k1 = rate(y, w)
    k2 = rate(y + k1[0] * (STEP / 2), w + k1[1] * (STEP / 2))
    k3 = rate(y + k2[0] * (STEP / 2), w + k2[1] * (STEP / 2))
    k4 = rate(y + k3[0] * STEP, w + k3[1] * STEP)
    dy, dw = ((a + 2 * b + 2 * c + d) * (STEP / 6) for a, b, c, d in zip(k1, k2, k3, k4, strict=True))
    return y + dy, w + dw


def swing(y: Any, w: Any, steps: int, sin: Callable[[Any], Any]) -> Any:
    """Return the angle after some steps."""
    state = y, w
    for _ in range(steps):
        state = advance(state, sin)
    return state[0]


def pendulums(steps: int) -> dict[str, Work | None]:
    """Return the engines for one trajectory, its end and the gradient of that."""
    f = compiled(lambda y, w: swing(y, w, steps, microgradc.sin))
    engines: dict[str, Work | None] = {"microgradc": lambda: f.value_and_grad(-1.0, -1.0)}

    def of_casadi(casadi: Any) -> tuple[Any, Any]:
        y, w = casadi.SX.sym("y"), casadi.SX.sym("w")
        end = swing(y, w, steps, casadi.sin)
        return [y, w], [end, casadi.gradient(end, y), casadi.gradient(end, w)]

    engines["CasADi, buffer"] = casadi_call(of_casadi)
    if jax := jax_or_none():
        def loop(y: Any, w: Any) -> Any:
            return jax.lax.scan(lambda s, _: (advance(s, jax.numpy.sin), None), (y, w), length=steps)[0][0]

        g = jax.jit(jax.value_and_grad(loop, argnums=(0, 1)))
        engines["jax.lax.scan"] = lambda: jax.block_until_ready(g(-1.0, -1.0))
    return engines


# One row through a network

def one_row(*sizes: int) -> dict[str, Work | None]:
    """Return the engines for an MLP with ReLU of these sizes."""
    model = nn.MLP(sizes[0], list(sizes[1:]), seed=0)
    f, x = compiled(model), np.linspace(0, 1, sizes[0])
    row = x[None]
    layers = [
        (np.array([[w.data for w in n.w] for n in layer.neurons]), np.array([n.b.data for n in layer.neurons]))
        for layer in model.layers
    ]

    def call() -> list[float]:
        with microgradc.no_grad():
            return [v.data for v in f(x)]

    def by_hand() -> np.ndarray:
        h = x
        for i, (w, b) in enumerate(layers):
            h = w @ h + b
            h = np.maximum(h, 0) if i < len(layers) - 1 else h
        return h

    return {"microgradc, f(x)": call, "microgradc, map": lambda: f.map(row), "NumPy": by_hand}


# Functions of many numbers

FUNCTIONS = {
    "x**3": lambda x, m: x**3, "exp": lambda x, m: m.exp(x), "log": lambda x, m: m.log(x),
    "tanh": lambda x, m: m.tanh(x), "sqrt": lambda x, m: m.sqrt(x),
    "sigmoid": lambda x, m: m.sigmoid(x) if m is microgradc else 1 / (1 + m.exp(-x)),
}  # fmt: skip


def function_of_many(name: str) -> dict[str, Work | None]:
    """Return the engines for value and derivative at 100,000 numbers."""
    f, x = compiled(lambda x: FUNCTIONS[name](x, microgradc)), np.linspace(0.1, 3, 100_000)
    engines: dict[str, Work | None] = {"microgradc": lambda: f.map_value_and_grad(x)}
    if jax := jax_or_none():
        g = jax.jit(jax.vmap(jax.value_and_grad(lambda x: FUNCTIONS[name](x, jax.numpy))))
        v = jax.numpy.array(x)
        engines["jax.jit"] = lambda: jax.block_until_ready(g(v))
    return engines


def map_of_many(name: str, by_numpy: Callable[[np.ndarray], np.ndarray]) -> dict[str, Work | None]:
    """Return the engines for the values alone."""
    f, x = compiled(lambda x: FUNCTIONS[name](x, microgradc)), np.linspace(0.1, 3, 100_000)
    return {"microgradc, map": lambda: f.map(x), "NumPy": lambda: by_numpy(x)}


def steps(ours: Callable[[], Work], of_jax: Callable[[], Work]) -> dict[str, Work | None]:
    """Return the engines for a training step."""
    return {"microgradc": ours(), "jax.jit": of_jax() if installed_version("jax") else None}


WORKS: dict[str, Callable[[], dict[str, Work | None]]] = {
    **{f"Rosenbrock, n = {n:,}": lambda n=n: rosenbrocks(n) for n in (2, 100, 1000)},
    "pendulum, 1,000 steps": lambda: pendulums(1000),
    "row of 64-32-10": lambda: one_row(64, 32, 10),
    "row of 784-128-10": lambda: one_row(784, 128, 10),
    **{f"{name} of 100,000, value and gradient": lambda name=name: function_of_many(name) for name in FUNCTIONS},
    "exp of 100,000": lambda: map_of_many("exp", np.exp),
    "x**3 of 100,000": lambda: map_of_many("x**3", lambda x: x**3),
    "moons step": lambda: steps(one_thread_step, jax_moons_step),
    "GPT step, 8 letters, Adam": lambda: steps(gpt_step, jax_gpt_step),
    "digits step, batch 32": lambda: {"microgradc": digits_step(32, False)},
}  # fmt: skip


def times(engines: dict[str, Work | None], rounds: int) -> Iterator[tuple[str, list[float]]]:
    """Yield each engine's name and its times in microseconds."""
    present = {name: work for name, work in engines.items() if work is not None}
    repeat = {}
    for name, work in present.items():
        work(), work()
        begin = time.process_time()
        work()
        repeat[name] = max(1, min(1000, int(1e-3 / (time.process_time() - begin + 1e-7))))
    taken: dict[str, list[float]] = {name: [] for name in present}
    for _ in range(rounds):
        for name, work in present.items():
            begin = time.process_time()
            for _ in range(repeat[name]):
                work()
            taken[name].append((time.process_time() - begin) / repeat[name] * 1e6)
    yield from taken.items()


def print_table(works: dict[str, Callable[[], dict[str, Work | None]]], rounds: int, part: str) -> None:
    """Print how long each engine takes for each work whose name has the part in it."""
    microgradc.set_num_threads(1)
    print("| work | engine | least, µs | median, µs |\n|---|---|---|---|")
    for work, make in works.items():
        if part in work:
            for name, taken in times(make(), rounds):
                print(f"| {work} | {name} | {min(taken):.2f} | {statistics.median(taken):.2f} |", flush=True)


def main(rounds: int = ROUNDS, part: str = "") -> None:
    """Print the table."""
    print_table(WORKS, rounds, part)


if __name__ == "__main__":
    main(*[int(a) if a.isdigit() else a for a in sys.argv[1:]])
