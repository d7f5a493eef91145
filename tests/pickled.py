"""Functions and models at module level, for tests of pickles: other processes import them by name."""

import pickle

import microgradc
from microgradc import Value, nn

w = Value(1.5)


@microgradc.compile
def by_name(x):
    return (w * x).sin()


def _plain(x):
    return (w * x).cos()


other_name = microgradc.compile(_plain)     # its name leads to what was compiled, not to what it became


class Model(nn.Module):
    def __init__(self):
        self.layers = nn.MLP(2, [3, 1], seed=0)
        self.loss = microgradc.compile(self.loss)

    def loss(self, x, y):
        return (self.layers(x) - y) ** 2


class NotAModule:
    def __init__(self):
        self.w = Value(0.5)
        self.loss = microgradc.compile(self.loss)

    def loss(self, x):
        return (self.w * x).exp()


def in_hex(f, *args):
    """Return the bits of what a function returns for an example, and of its gradient; for other processes to call."""
    value, gradient = f.value_and_grad(*args)
    gradients = gradient if isinstance(gradient, tuple) else (gradient,)
    return [float(x).hex() for g in (value, *gradients) for x in (g.ravel() if hasattr(g, "ravel") else [g])]


def is_by_name(f):
    """Return whether a function that was sent here is the one that this module has."""
    return f is by_name


def again(content):
    """Return a pickle of what was unpickled."""
    return pickle.dumps(pickle.loads(content))
