"""Time second derivatives against other compilers: `python benchmarks/derivatives.py [ROUNDS] [WORK]` prints a table.

All engines of a work run in this process by turns, on one thread: see `programs.py`. Results are compared first.
"""

import sys
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
from compiled_workloads import compiled
from programs import ROUNDS, Work, casadi_call, jax_or_none, print_table, rosenbrock

from microgradc import nn

rng = np.random.default_rng(0)


def rosenbrock_in_jax(x: Any) -> Any:
    """Return Rosenbrock's function as arrays."""
    return (100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2).sum()


def hessian(n: int) -> dict[str, Work | None]:
    """Return the engines for the Hessian of Rosenbrock's function."""
    f, x = compiled(rosenbrock), np.linspace(-1, 1, n)
    engines: dict[str, Work | None] = {
        "microgradc": lambda: f.hessian(x),
        "microgradc, sparse": lambda: f.hessian(x, sparse=True),
        "microgradc, value and gradient": lambda: f.value_and_grad(x),
    }

    def of_casadi(casadi: Any) -> tuple[Any, Any]:
        v = casadi.SX.sym("x", n)
        return [v], [casadi.hessian(rosenbrock([v[i] for i in range(n)]), v)[0]]

    engines["CasADi, buffer (sparse)"] = casadi_call(of_casadi)
    if jax := jax_or_none():
        g, v = jax.jit(jax.hessian(rosenbrock_in_jax)), jax.numpy.array(x)
        np.testing.assert_allclose(f.hessian(x), g(v), rtol=1e-9, atol=1e-9)
        engines["jax.jit, of arrays"] = lambda: jax.block_until_ready(g(v))
    return engines


def hvp(n: int) -> dict[str, Work | None]:
    """Return the engines for the product of its Hessian and a direction."""
    f, x, v = compiled(rosenbrock), np.linspace(-1, 1, n), rng.normal(size=n)
    engines: dict[str, Work | None] = {"microgradc": lambda: f.hvp(x, v)}
    if jax := jax_or_none():
        g = jax.jit(lambda x, v: jax.jvp(jax.grad(rosenbrock_in_jax), (x,), (v,))[1])
        a, b = jax.numpy.array(x), jax.numpy.array(v)
        np.testing.assert_allclose(f.hvp(x, v), g(a, b), rtol=1e-9, atol=1e-9)
        engines["jax.jit, of arrays"] = lambda: jax.block_until_ready(g(a, b))
    return engines


def of_network(kind: str) -> dict[str, Work | None]:
    """Return the engines for second derivatives of a mean loss of 100 by the 337 parameters of an MLP."""
    sizes = 2, 16, 16, 1
    model = nn.MLP(2, list(sizes[1:]), activation="tanh", seed=0)
    loss = compiled(lambda x, y: (model(x) - y) ** 2)
    X, y, v = rng.normal(size=(100, 2)), rng.normal(size=100), rng.normal(size=337)
    engines: dict[str, Work | None] = {
        "hvp": {
            "microgradc": lambda: loss.mean_hvp(v, X, y),
            "microgradc, value and gradient": lambda: loss.mean(X, y),
        },
        "hessian": {"microgradc": lambda: loss.mean_hessian(X, y)},
        "gradients": {"microgradc": lambda: loss.map_gradients(X, y)},
    }[kind]
    if jax := jax_or_none():
        def total(p: Any, X: Any, y: Any) -> Any:
            h, first = X, 0
            for k, n in pairwise(sizes):
                w = p[first : first + (k + 1) * n].reshape(n, k + 1)
                h, first = h @ w[:, :-1].T + w[:, -1], first + (k + 1) * n
                h = jax.numpy.tanh(h) if n > 1 else h
            return ((h[:, 0] - y) ** 2).mean()

        p = jax.numpy.array([q.data for q in model.parameters()])
        a, b, c = map(jax.numpy.array, (X, y, v))
        g = jax.jit({
            "hvp": lambda p, a, b, c: jax.jvp(lambda p: jax.grad(total)(p, a, b), (p,), (c,))[1],
            "hessian": lambda p, a, b, c: jax.hessian(total)(p, a, b),
            "gradients": lambda p, a, b, c: jax.vmap(
                lambda x, y: jax.grad(total)(p, x[None], y[None])
            )(a, b),
        }[kind])
        np.testing.assert_allclose(engines["microgradc"](), g(p, a, b, c), rtol=1e-9, atol=1e-9)  # type: ignore[misc]
        engines["jax.jit"] = lambda: jax.block_until_ready(g(p, a, b, c))
    return engines


WORKS: dict[str, Callable[[], dict[str, Work | None]]] = {
    "Hessian of Rosenbrock, n = 100": lambda: hessian(100),
    "Hv of Rosenbrock, n = 100": lambda: hvp(100),
    "Hv of an MLP, mean of 100": lambda: of_network("hvp"),
    "Hessian of an MLP, mean of 100": lambda: of_network("hessian"),
    "a gradient for each of 100": lambda: of_network("gradients"),
}


def main(rounds: int = ROUNDS, part: str = "") -> None:
    """Print the table."""
    print_table(WORKS, rounds, part)


if __name__ == "__main__":
    main(*[int(a) if a.isdigit() else a for a in sys.argv[1:]])
