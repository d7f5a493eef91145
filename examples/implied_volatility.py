"""The implied volatilities of a whole surface, by Newton's method for all options at once.

    python examples/implied_volatility.py [--folder FOLDER]

The volatility at which the price of Black and Scholes is the market's has no formula. Newton's method needs the price
and its derivative, and `map_value_and_grad` gives both for all strikes and maturities in one call. The prices are those
of a surface of the form "SVI" (Gatheral, 2004) with the skew of a stock index, so that the answer is known.
"""

import argparse
from pathlib import Path

import matplotlib

matplotlib.use("agg")

import matplotlib.pyplot as plt
import numpy as np

from microgradc import compile, erf, exp, log, sqrt

RATE = 0.03


@compile
def call(volatility, moneyness, years):
    """The price of a call, in units of the stock's; moneyness is the strike in these units."""
    width = volatility * sqrt(years)
    d = (-log(moneyness) + RATE * years) / width + width / 2
    return normal(d) - moneyness * exp(-RATE * years) * normal(d - width)


def normal(x):
    return (1 + erf(x / sqrt(2.0))) / 2


def implied(prices, moneyness, years, most=50):
    """Return the volatilities, and how many steps it took: each begins where the price bends."""
    forward = -np.log(moneyness) + RATE * years
    volatility = np.sqrt(2 * np.abs(forward) / years + 1e-4)        # of Manaster and Koehler
    for step in range(1, most + 1):
        value, (slope, _, _) = call.map_value_and_grad(volatility, moneyness, years)
        change = (value - prices) / slope
        volatility = volatility - change
        if np.abs(change).max() < 1e-12:
            return volatility, step
    raise ArithmeticError("Newton's method did not converge")


def surface():
    """Return moneyness, years and volatilities of 61 strikes at 40 maturities."""
    k, years = np.meshgrid(np.linspace(-0.4, 0.3, 61), np.linspace(0.1, 2, 40))
    skew, wings = -0.6, 0.1 / np.sqrt(years)
    variance = 0.02 * years + wings * years * (skew * k + np.sqrt(k**2 + 0.15**2)) / 1.5
    return np.exp(k), years, np.sqrt(variance / years)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument(
        "--folder", type=Path, default="implied_volatility-pictures", help="for the picture (default: %(default)s)"
    )
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    moneyness, years, expected = surface()
    strikes, times = moneyness.ravel(), years.ravel()
    prices = call.map(expected.ravel(), strikes, times)
    found, steps = implied(prices, strikes, times)
    print(f"{len(found)} options, {steps} steps, largest error {np.abs(found - expected.ravel()).max():.1e}")

    axes = plt.figure(figsize=(7, 5), layout="constrained").add_subplot(projection="3d")
    axes.plot_surface(moneyness, years, 100 * found.reshape(years.shape), cmap="viridis")
    axes.set(xlabel="strike / price", ylabel="years", zlabel="implied volatility, %")
    axes.view_init(25, -125)
    picture = options.folder / "implied_volatility.png"
    plt.savefig(picture, dpi=100)
    print(f"drawn in {picture}")


if __name__ == "__main__":
    main()
