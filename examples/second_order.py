"""Second derivatives at work: regression, least squares, error bars, and a function of 100 numbers.

    python examples/second_order.py [--folder FOLDER]

It needs SciPy, scikit-learn, whose data and coefficients it compares with, and matplotlib for the picture.
"""

import argparse
from itertools import pairwise
from pathlib import Path

import matplotlib

matplotlib.use("agg")

import matplotlib.pyplot as plt
import numpy as np
from scipy.optimize import least_squares, minimize
from sklearn.datasets import load_breast_cancer
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from microgradc import compile, dot, exp, softplus, sum


def regression():
    """Logistic regression of 569 tumours by Newton's method and BFGS, and how sure its coefficients are."""
    data = load_breast_cancer()
    X, signs = StandardScaler().fit_transform(data.data), 2.0 * data.target - 1
    n = len(X)

    @compile(shared=("theta",))
    def loss(theta, x, sign):
        penalty = dot(theta[1:], theta[1:]) / (2 * n)
        return softplus(-sign * dot(theta[1:], x, theta[0])) + penalty

    by_sklearn = LogisticRegression(C=1.0, tol=1e-12, solver="newton-cholesky").fit(X, data.target)
    expected = np.hstack([by_sklearn.intercept_, by_sklearn.coef_[0]])
    start = np.zeros(X.shape[1] + 1)
    ways = {
        "trust-ncg": {       # Newton's method, each step by conjugate gradients in a trust region
            "hessp": lambda theta, v, X, s: loss.mean_hvp(v, theta, X, s),
            "options": {"gtol": 1e-12},
        },
        "BFGS": {"options": {"gtol": 1e-9}},
    }
    for method, settings in ways.items():
        found = minimize(
            loss.mean_value_and_grad, start, args=(X, signs), jac=True, method=method, **settings
        )
        print(f"{method}: {found.nit} steps; to scikit-learn {np.abs(found.x - expected).max():.1e}")
    # Laplace's approximation: around the best coefficients, the posterior is a normal distribution
    covariance = np.linalg.inv(n * loss.mean_hessian(found.x, X, signs))
    return data.feature_names, found.x[1:], np.sqrt(np.diag(covariance))[1:]


# Misra1a of the NIST's reference datasets for nonlinear regression: volumes y at pressures x
MISRA_X = [77.6, 114.9, 141.1, 190.8, 239.9, 289.0, 332.8, 378.4, 434.8, 477.3, 536.8, 593.1, 689.1, 760.0]
MISRA_Y = [10.07, 14.73, 17.94, 23.93, 29.61, 35.18, 40.02, 44.82, 50.76, 55.05, 61.01, 66.40, 75.47, 81.78]
CERTIFIED = [2.3894212918e2, 5.5015643181e-4]


def monolayer():
    """Least squares with an exact Jacobian, from a start that is far away."""

    @compile
    def residuals(b):
        return [b[0] * (1 - exp(-b[1] * x)) - y for x, y in zip(MISRA_X, MISRA_Y, strict=True)]

    start = np.array([500.0, 1e-4])
    found = least_squares(
        lambda b: residuals.map(b[None])[0], start, jac=residuals.jacobian, x_scale="jac", ftol=1e-15, xtol=1e-15
    )
    error = np.abs(found.x / CERTIFIED - 1).max()
    print(f"least squares: {found.nfev} evaluations; to the certified parameters {error:.1e}")
    return found.x


def valley(n=100):
    """Rosenbrock's function of 100 numbers: a sparse Hessian, three numbers a column."""

    @compile
    def rosenbrock(x):
        return sum([100 * (b - a * a) ** 2 + (1 - a) ** 2 for a, b in pairwise(x)])

    start, values = np.zeros(n), []
    found = minimize(
        rosenbrock.value_and_grad, start, jac=True, hess=lambda x: rosenbrock.hessian(x, sparse=True),
        method="Newton-CG", options={"xtol": 1e-12, "maxiter": 2000},
        callback=lambda x: values.append(rosenbrock.value_and_grad(x)[0]),
    )  # fmt: skip
    count = rosenbrock.hessian(start, sparse=True).nnz
    print(f"Rosenbrock: {count} numbers in the Hessian; {found.nit} steps; to 1 {np.abs(found.x - 1).max():.1e}")
    return values


def draw(folder, coefficients, parameters, values):
    names, best, deviations = coefficients
    figure, (left, middle, right) = plt.subplots(1, 3, figsize=(14, 5), layout="constrained")
    order = np.argsort(best)
    left.errorbar(best[order], range(len(best)), xerr=2 * deviations[order], fmt="o", markersize=3)
    left.set_yticks(range(len(best)), [names[i] for i in order], fontsize=7)
    left.axvline(0, color="grey", linewidth=0.5)
    left.set_title("coefficients, two standard deviations")
    x = np.linspace(0, 800, 200)
    middle.plot(MISRA_X, MISRA_Y, "o", x, parameters[0] * (1 - np.exp(-parameters[1] * x)))
    middle.set(xlabel="pressure", ylabel="volume", title="Misra1a, least squares")
    right.semilogy(np.maximum(values, 1e-30))
    right.set(xlabel="step of Newton-CG", ylabel="Rosenbrock's function of 100 numbers", title="sparse Hessian")
    figure.savefig(folder / "second_order.png", dpi=100)
    print(f"drawn in {folder / 'second_order.png'}")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument(
        "--folder", type=Path, default="second_order-pictures", help="for the picture (default: %(default)s)"
    )
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    draw(options.folder, regression(), monolayer(), valley())


if __name__ == "__main__":
    main()
