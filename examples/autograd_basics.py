"""Values, labels and gradients; and your own functions, differentiated numerically or by a formula.

    python examples/autograd_basics.py
"""

import math

import numpy as np

from microgradc import Value, format_graph, function


@function(derivative=lambda x: 1 / (3 * math.cbrt(x) ** 2))
def cube_root(x):
    """Return the real cube root. (x ** (1/3) is nan for a negative x.)"""
    return math.cbrt(x)


def expression():
    """Show the derivatives of an expression: it remembers how it was computed."""
    a = Value(2.0, label="a")
    b = Value(-3.0, label="b")
    c = a * b + Value(10.0)
    c.label = "c"
    c.backward()
    print(f"c = a * b + 10 = {c.data}")
    print(f"dc/da = {a.grad}, which is b; dc/db = {b.grad}, which is a")
    print(format_graph(c))


def numerical_derivative():
    """Apply any function of a number with `func`; its derivative is (f(x + h) - f(x - h)) / 2h."""
    x = Value(0.5, label="x")
    y = x.func(np.exp)
    y.backward()
    print(f"d exp(x)/dx at {x.data} = {x.grad:.12f}, numerically; exp({x.data}) = {math.exp(x.data):.12f}")


def analytic_derivative():
    """Make a function of numbers differentiable with `function`. With a formula for the derivative, the gradient is
    exact."""
    numerical = function(math.cbrt)
    for number in (-8.0, 0.5, 27.0):
        exact, approximate = Value(number), Value(number)
        cube_root(exact).backward()
        numerical(approximate).backward()
        difference = abs(exact.grad - approximate.grad)
        print(f"d cbrt(x)/dx at {number:4}: {exact.grad:.12f} by the formula, {approximate.grad:.12f} numerically")
        assert difference < 1e-8, f"the formula is wrong at {number}: it differs by {difference}"


def chain_rule():
    """Use your own function inside an expression: the chain rule covers it."""
    x = Value(-8.0, label="x")
    y = (cube_root(x) ** 2 + 1).log()
    y.backward()
    print(f"d log(cbrt(x)² + 1)/dx at {x.data} = {x.grad:.12f}")
    assert math.isclose(x.grad, 2 * -2 / (4 + 1) / (3 * 4))


def main():
    expression()
    numerical_derivative()
    analytic_derivative()
    chain_rule()


if __name__ == "__main__":
    main()
