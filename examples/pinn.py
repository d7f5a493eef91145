"""A network that learns to solve the heat equation u_t = u_xx / 10 from the equation alone.

    python examples/pinn.py [--steps N] [--folder FOLDER]

Within, the network's derivatives satisfy the equation; at the beginning it is sin(pi x), and at both ends 0: these mean
squares are minimized together. `gradients` inside of a compiled function gives u_t and u_xx.
The solution is known: exp(-pi^2 t / 10) sin(pi x).
"""

import argparse
from pathlib import Path

import matplotlib

matplotlib.use("agg")

import matplotlib.pyplot as plt
import numpy as np

from microgradc import MLP, Adam, CosineAnnealingLR, compile, gradients

model = MLP(2, [16, 16, 1], activation="tanh", init="xavier_uniform", seed=0)


@compile
def residual(t, x):
    """The square of what is wrong with the equation at a point."""
    u_t, u_x = gradients(model([t, x]), [t, x])
    return (u_t - 0.1 * gradients(u_x, x)) ** 2


@compile
def misfit(t, x, u):
    return (model([t, x]) - u) ** 2


def solution(t, x):
    return np.exp(-0.1 * np.pi**2 * t) * np.sin(np.pi * x)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--steps", type=int, default=1500, help="of Adam (default: %(default)s)")
    parser.add_argument("--folder", type=Path, default="pinn-pictures", help="for the picture (default: %(default)s)")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)

    rng = np.random.default_rng(0)
    t, x = rng.uniform(0, 3, 200), rng.uniform(0, 1, 200)
    begin, times = np.linspace(0, 1, 40), np.linspace(0, 3, 20)
    edge_t = np.hstack([np.zeros(40), times, times])
    edge_x = np.hstack([begin, np.zeros(20), np.ones(20)])
    edge_u = np.hstack([np.sin(np.pi * begin), np.zeros(40)])

    optimizer = Adam(model.parameters(), lr=0.01)
    schedule = CosineAnnealingLR(optimizer, T_max=options.steps)
    for step in range(options.steps):
        optimizer.zero_grad()
        loss = residual.mean(t, x) + 10 * misfit.mean(edge_t, edge_x, edge_u)
        loss.backward()
        optimizer.step()
        schedule.step()
        if step % 250 == 0 or step == options.steps - 1:
            print(f"step {step}: loss {loss.data:.2e}")

    grid_t, grid_x = np.meshgrid(np.linspace(0, 3, 61), np.linspace(0, 1, 41))
    points = np.column_stack([grid_t.ravel(), grid_x.ravel()])
    found = model.outputs(points).reshape(grid_t.shape)
    error = np.abs(found - solution(grid_t, grid_x))
    print(f"largest error {error.max():.4f}")

    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4), layout="constrained")
    for axes, values, title in ((left, found, "u(t, x) by the network"), (right, error, "error")):
        figure.colorbar(axes.pcolormesh(grid_t, grid_x, values, shading="gouraud"))
        axes.set(xlabel="t", ylabel="x", title=title)
    picture = options.folder / "pinn.png"
    figure.savefig(picture, dpi=100)
    print(f"drawn in {picture}")


if __name__ == "__main__":
    main()
