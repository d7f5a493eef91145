"""Time loops against other compilers: `python benchmarks/loops.py [ROUNDS] [WORK]` prints a table.

All engines of a work run in this process by turns, on one thread: see `programs.py`. Results are compared first. The
first call of each, in which a function is recorded or compiled, is printed after its name.
"""

import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from compiled_workloads import compiled
from programs import ROUNDS, Work, jax_or_none, print_table

import microgradc
from microgradc import Value, scan

rng = np.random.default_rng(0)


def rk4(s: Any, length: Any, sin: Callable[[Any], Any], h: float = 0.01) -> Any:
    """Return the state of a pendulum a step later, by the method of Runge and Kutta."""
    def slopes(angle: Any, speed: Any) -> Any:
        return speed, -9.81 / length * sin(angle)

    x, v = s
    a, b = slopes(x, v)
    c, d = slopes(x + h / 2 * a, v + h / 2 * b)
    e, f = slopes(x + h / 2 * c, v + h / 2 * d)
    g, k = slopes(x + h * e, v + h * f)
    return x + h / 6 * (a + 2 * c + 2 * e + g), v + h / 6 * (b + 2 * d + 2 * f + k)


def pendulum(steps: int, trajectories: int = 1) -> dict[str, Work | None]:
    """Return the engines for the angle in the end and its gradient."""
    def by_scan(keep: str) -> Any:
        def f(x: Any, v: Any, length: Any) -> Any:
            return scan(lambda s, _: (rk4(s, length, microgradc.sin), None), (x, v), length=steps, keep=keep)[0][0]

        return compiled(f)

    def written_out(x: Any, v: Any, length: Any) -> Any:
        s = x, v
        for _ in range(steps):
            s = rk4(s, length, microgradc.sin)
        return s[0]

    X = (1.0, 0.1, 1.2) if trajectories == 1 else tuple(rng.uniform(0.5, 1.5, (3, trajectories)))
    engines: dict[str, Work | None] = {}
    functions = {"microgradc, scan": by_scan("all"), "microgradc, scan, sqrt": by_scan("sqrt")}
    if steps <= 1000:
        functions["microgradc, written out"] = compiled(written_out)
    for name, f in functions.items():
        method = f.value_and_grad if trajectories == 1 else f.map_value_and_grad
        begin = time.perf_counter()
        expected = method(*X)
        engines[f"{name} (first {1e3 * (time.perf_counter() - begin):.1f} ms)"] = lambda method=method: method(*X)
    if jax := jax_or_none():
        def last(x: Any, v: Any, length: Any) -> Any:
            step = lambda s, _: (rk4(s, length, jax.numpy.sin), None)   # noqa: E731
            return jax.lax.scan(step, (x, v), None, steps)[0][0]

        g = jax.value_and_grad(last, (0, 1, 2))
        g = jax.jit(g if trajectories == 1 else jax.vmap(g))
        A = tuple(map(jax.numpy.array, X))
        begin = time.perf_counter()
        found = jax.block_until_ready(g(*A))
        first = 1e3 * (time.perf_counter() - begin)
        np.testing.assert_allclose(np.array(found[1]), np.array(expected[1]), rtol=1e-6, atol=1e-9)
        engines[f"jax.lax.scan (first {first:.0f} ms)"] = lambda: jax.block_until_ready(g(*A))
    return engines


def gated_unit(size: int = 16, steps: int = 50, batch: int = 32) -> dict[str, Work | None]:
    """Return the engines for the mean loss of a gated recurrent unit and the gradient of its parameters.

    Cho and others, "Learning phrase representations using RNN encoder-decoder", EMNLP 2014.
    """
    numbers = [rng.normal(size=(size, size + 2)) / 4 for _ in range(3)]
    weights = [[[Value(x) for x in row] for row in matrix] for matrix in numbers]

    def unit(h: list[Any], x: Any) -> list[Any]:
        def layer(matrix: Any, state: list[Any]) -> list[Any]:
            return [microgradc.dot(row[:-1], [*state, x], row[-1]) for row in matrix]

        z = [microgradc.sigmoid(a) for a in layer(weights[0], h)]
        r = [microgradc.sigmoid(a) for a in layer(weights[1], h)]
        n = [microgradc.tanh(a) for a in layer(weights[2], [a * b for a, b in zip(r, h, strict=True)])]
        return [c + a * (b - c) for a, b, c in zip(z, h, n, strict=True)]

    f = compiled(lambda xs: scan(lambda h, x: (unit(h, x), None), [0.0] * size, [xs[t] for t in range(steps)])[0][0])
    X = rng.normal(size=(batch, steps))

    def ours() -> Any:
        loss = f.mean(X)
        loss.backward()
        return loss

    begin = time.perf_counter()
    ours()
    engines: dict[str, Work | None] = {f"microgradc, scan (first {1e3 * (time.perf_counter() - begin):.0f} ms)": ours}
    if jax := jax_or_none():
        jnp = jax.numpy

        def last(W: Any, X: Any) -> Any:
            def step(h: Any, x: Any) -> Any:
                with_x = lambda s: jnp.concatenate([s, x[:, None], jnp.ones((batch, 1))], 1)    # noqa: E731
                z, r = (jax.nn.sigmoid(with_x(h) @ w.T) for w in W[:2])
                n = jnp.tanh(with_x(r * h) @ W[2].T)
                return n + z * (h - n), None

            return jax.lax.scan(step, jnp.zeros((batch, size)), X.T)[0][:, 0].mean()

        g, W, B = jax.jit(jax.value_and_grad(last)), [jnp.array(w) for w in numbers], jnp.array(X)
        for row in weights[2]:
            for w in row:
                w.grad = 0.0
        loss = ours()
        value, slopes = g(W, B)
        np.testing.assert_allclose(loss.data, value, rtol=1e-9)
        np.testing.assert_allclose([[w.grad for w in row] for row in weights[2]], slopes[2], rtol=1e-7, atol=1e-10)
        engines["jax.lax.scan"] = lambda: jax.block_until_ready(g(W, B))
    return engines


WORKS: dict[str, Callable[[], dict[str, Work | None]]] = {
    "pendulum, 1,000 steps": lambda: pendulum(1000),
    "pendulum, 10,000 steps": lambda: pendulum(10_000),
    "pendulum, 1,000 of 1,000 steps": lambda: pendulum(1000, 1000),
    "gated unit of 16, 50 steps, batch of 32": gated_unit,
}


def main(rounds: int = ROUNDS, part: str = "") -> None:
    """Print the table."""
    print_table(WORKS, rounds, part)


if __name__ == "__main__":
    main(*[int(a) if a.isdigit() else a for a in sys.argv[1:]])
