"""The price of a European call and its derivatives to all five inputs: Black and Scholes (1973), doi:10.1086/260062.

A scalar function other than a network. `price` is written once for microgradc and jax; by hand in NumPy it is the
closed form of the price and of each derivative, which share what they have in common. """

import math

import numpy as np

import microgradc

COUNT = 100_000


def examples():
    """Return spot, strike, years, rate and volatility: five arrays of COUNT numbers."""
    rng = np.random.default_rng(0)
    bounds = [(80, 120), (80, 120), (0.1, 2), (0, 0.1), (0.1, 0.5)]
    return [rng.uniform(low, high, COUNT) for low, high in bounds]


def price(spot, strike, years, rate, volatility, functions=microgradc):
    """Return the price, in the functions of a package."""
    deviation = volatility * functions.sqrt(years)
    d1 = (functions.log(spot / strike) + (rate + volatility * volatility / 2) * years) / deviation
    d2 = d1 - deviation

    def cdf(x):
        return (1 + functions.erf(x * math.sqrt(0.5))) / 2

    return spot * cdf(d1) - strike * functions.exp(-rate * years) * cdf(d2)


def make_jax(jax, rows):
    """Return what computes the prices and their gradients in one jitted function."""

    class functions:
        exp, log, sqrt, erf = jax.lax.exp, jax.lax.log, jax.lax.sqrt, jax.lax.erf

    def one(*row):
        return price(*row, functions=functions)

    f = jax.jit(jax.vmap(jax.value_and_grad(one, argnums=tuple(range(5)))))
    rows = [jax.numpy.array(column) for column in rows]
    return lambda: jax.block_until_ready(f(*rows))


def aligned(rows, columns):
    """Return an array whose rows begin at 64-byte boundaries: without that, the time varies by half from process to
    process."""
    width = -(-columns // 8) * 8
    memory = np.empty(rows * width + 8)
    begin = -memory.ctypes.data // 8 % 8
    return memory[begin:begin + rows * width].reshape(rows, width)[:, :columns]


class NumPyPrices:
    """Prices and their gradients by hand: all arrays are there before, so nothing is allocated.

    Args:
        rows: spot, strike, years, rate and volatility; they are copied.
        block: how many rows are worked on at once, so that what is in between stays in the cache; None for all.
    """

    def __init__(self, rows, block=None):
        from scipy.special import ndtr

        self.ndtr, self.n = ndtr, len(rows[0])
        self.block = block or self.n
        self.rows, self.results, self.between = aligned(5, self.n), aligned(6, self.n), aligned(7, self.block)
        self.rows[:] = rows

    def __call__(self):
        for begin in range(0, self.n, self.block):
            part = slice(begin, begin + self.block)
            self.fill(self.rows[:, part], self.results[:, part])
        return self.results[0], tuple(self.results[1:])

    def fill(self, rows, results):
        """Put price and gradients of a block of rows into results."""
        spot, strike, years, rate, volatility = rows
        price, by_spot, by_strike, by_years, by_rate, by_volatility = results
        root, deviation, d1, d2, discounted, density, t = self.between[:, :len(spot)]
        np.sqrt(years, out=root)
        np.multiply(volatility, root, out=deviation)
        # d1 = (log(spot / strike) + rate * years) / deviation + deviation / 2
        np.divide(spot, strike, out=d1)
        np.log(d1, out=d1)
        np.multiply(rate, years, out=t)
        np.add(d1, t, out=d1)
        np.divide(d1, deviation, out=d1)
        np.multiply(deviation, 0.5, out=density)
        np.add(d1, density, out=d1)
        np.subtract(d1, deviation, out=d2)
        np.negative(t, out=t)
        np.exp(t, out=discounted)
        # d price / d spot = N(d1), d price / d strike = -exp(-rate * years) N(d2)
        self.ndtr(d1, out=by_spot)
        self.ndtr(d2, out=d2)
        np.multiply(discounted, d2, out=by_strike)
        np.multiply(strike, by_strike, out=t)
        np.multiply(spot, by_spot, out=price)
        np.subtract(price, t, out=price)
        np.negative(by_strike, out=by_strike)
        np.multiply(t, years, out=by_rate)
        # vega = spot n(d1) sqrt(years); d price / d years = vega volatility / (2 years) + rate strike exp(-rate years)
        # N(d2)
        np.multiply(d1, d1, out=density)
        np.multiply(density, -0.5, out=density)
        np.exp(density, out=density)
        np.multiply(density, 1 / math.sqrt(2 * math.pi), out=density)
        np.multiply(density, spot, out=density)
        np.multiply(density, root, out=by_volatility)
        np.multiply(density, volatility, out=density)
        np.multiply(density, 0.5, out=density)
        np.divide(density, root, out=density)
        np.multiply(t, rate, out=t)
        np.add(density, t, out=by_years)
