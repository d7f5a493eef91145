"""A pendulum's length and damping, from noisy measurements of its angle, and how sure they are.

    python examples/pendulum.py [--folder FOLDER]

The equation angle'' = -g / length * sin(angle) - damping * angle' has no solution in known functions. So the loss runs
it, by the method of Runge and Kutta, in a `scan`: 1,000 steps for each release, recorded as one. SciPy's `minimize`
gets the loss of all releases and its gradient, and the second derivatives at the minimum give standard errors. The
measurements come from SciPy's own solver with known parameters, so that the answer is known.

It needs SciPy, and matplotlib for the picture.
"""

import argparse
from pathlib import Path
from time import perf_counter

import matplotlib

matplotlib.use("agg")

import matplotlib.pyplot as plt
import numpy as np
from scipy.integrate import solve_ivp
from scipy.optimize import minimize

from microgradc import compile, scan, sin, sum

GRAVITY = 9.81
BETWEEN, STEPS = 0.05, 5            # seconds from one measurement to the next, and steps of the solver in them
TRUE = np.array([0.8, 0.25])        # metres, 1 / second
NOISE = 0.03


def slope(theta, state):
    """The derivative of the angle and of its speed."""
    (length, damping), (angle, speed) = theta, state
    return speed, -GRAVITY / length * sin(angle) - damping * speed


def runge_kutta(theta, state, h):
    """One step of h seconds."""
    def ahead(slopes, h):
        return [x + h * k for x, k in zip(state, slopes, strict=True)]

    k1 = slope(theta, state)
    k2 = slope(theta, ahead(k1, h / 2))
    k3 = slope(theta, ahead(k2, h / 2))
    k4 = slope(theta, ahead(k3, h))
    return ahead([(a + 2 * b + 2 * c + d) / 6 for a, b, c, d in zip(k1, k2, k3, k4, strict=True)], h)


def to_the_next(theta, state):
    """From one measurement to the next: few steps, so a `for` loop."""
    for _ in range(STEPS):
        state = runge_kutta(theta, state, BETWEEN / STEPS)
    return state


def from_rest(angle):
    return [angle, 0.0 * angle]


@compile(shared=("theta",))
def misfit(theta, angle, measured):
    """The squared errors of one release from rest, at this angle: many iterations, so a `scan`."""
    def step(state, seen):
        state = to_the_next(theta, state)
        return state, (state[0] - seen) ** 2

    return sum(scan(step, from_rest(angle), measured)[1])


@compile(shared=("theta",))
def swing(theta, angle):
    """The angle at each measurement."""
    def step(state, _):
        state = to_the_next(theta, state)
        return state, state[0]

    return scan(step, from_rest(angle), length=200)[1]


def measurements(angles, seed=0):
    """Return noisy angles of all releases, of shape (releases, 200)."""
    times = BETWEEN * np.arange(1, 201)

    def slopes(_, state):
        return state[1], -GRAVITY / TRUE[0] * np.sin(state[0]) - TRUE[1] * state[1]

    exact = [solve_ivp(slopes, (0, times[-1]), [a, 0.0], t_eval=times, rtol=1e-9, atol=1e-9).y[0] for a in angles]
    return np.array(exact) + np.random.default_rng(seed).normal(scale=NOISE, size=(len(angles), 200))


def fit(angles, measured, guess):
    """Return the parameters, their covariances, and the number of calls."""
    found = minimize(misfit.sum_value_and_grad, guess, args=(angles, measured), jac=True, method="BFGS")
    second = len(angles) * misfit.mean_hessian(found.x, angles, measured)
    variance = found.fun / (measured.size - len(found.x))
    return found.x, 2 * variance * np.linalg.inv(second), found.nfev


def draw(path, angles, measured, guess, theta, covariances):
    times = BETWEEN * np.arange(1, 201)
    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4.2), width_ratios=(1.7, 1), layout="constrained")
    which = len(angles) - 1
    left.plot(times, measured[which], ".", color="0.6", markersize=4, label="measured")
    left.plot(times, swing.map(guess, angles)[which], ":", color="tab:orange", label="the guess")
    left.plot(times, swing.map(theta, angles)[which], color="tab:blue", label="fitted")
    left.set(xlabel="seconds", ylabel="angle", title=f"a release at {angles[which]:.1f}")
    left.legend(loc="upper right", ncols=3)
    turn = np.linspace(0, 2 * np.pi, 200)
    axes = np.linalg.cholesky(covariances)
    for deviations in (1, 2):
        ellipse = theta[:, None] + deviations * axes @ [np.cos(turn), np.sin(turn)]
        right.plot(*ellipse, color="tab:blue", alpha=1 / deviations, label=f"{deviations} \N{GREEK SMALL LETTER SIGMA}")
    right.plot(*theta, "o", color="tab:blue", label="fitted")
    right.plot(*TRUE, "x", color="black", label="true")
    right.set(xlabel="length", ylabel="damping", title="how sure")
    right.ticklabel_format(useOffset=False)
    right.tick_params(axis="x", rotation=30)
    right.margins(y=0.35)
    right.legend(loc="upper center", ncols=2, fontsize="small")
    figure.savefig(path, dpi=120)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument(
        "--folder", type=Path, default="pendulum-pictures", help="for the picture (default: %(default)s)"
    )
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    angles = np.linspace(0.3, 2.4, 8)
    measured = measurements(angles)
    guess = np.array([0.75, 0.1])
    begin = perf_counter()
    theta, covariances, calls = fit(angles, measured, guess)
    print(f"{len(angles)} releases of {200 * STEPS} steps, {calls} calls with gradients and a Hessian: "
          f"{perf_counter() - begin:.2f} s")
    for name, x, error, true in zip(("length", "damping"), theta, np.sqrt(np.diag(covariances)), TRUE, strict=True):
        print(f"{name:8} {x:.5f} +- {error:.5f}, true {true}")
    path = options.folder / "pendulum.png"
    draw(path, angles, measured, guess, theta, covariances)
    print(f"drawn in {path}")
