"""Neurons, layers and multi-layer perceptrons: micrograd's `nn`, with one node for each weighted sum.

The constructor arguments, initial values, order of calls to `random`, order of parameters and reprs are micrograd's, so a seeded script
gives the same model.
"""

import random

from microgradc.engine import Value
from microgradc.functions import dot


class Module:
    """Something with parameters."""

    def zero_grad(self):
        """Set the gradient of every parameter to 0, before the next `backward()`."""
        for p in self.parameters():
            p.grad = 0

    def parameters(self):
        """Return the list of all parameters, Values."""
        return []


class Neuron(Module):
    """relu(w · x + b), or w · x + b alone.

    Args:
        nin: the number of inputs.
        nonlin: whether to apply relu.

    Raises:
        ValueError: nin is no positive integer; when called: x does not have nin entries.
    """

    def __init__(self, nin, nonlin=True):
        check_size(nin, "nin")
        self.w = [Value(random.uniform(-1, 1)) for _ in range(nin)]
        self.b = Value(0)
        self.nonlin = nonlin

    def __call__(self, x):
        """Return the Value for the inputs x, nin Values or numbers."""
        try:
            out = dot(self.w, x, self.b)
        except ValueError as error:
            raise ValueError(f"x must have {len(self.w)} entries, one for each input of {self}: {error}") from None
        return out.relu() if self.nonlin else out

    def parameters(self):
        """Return the weights and, last, the bias."""
        return [*self.w, self.b]

    def __repr__(self):
        return f"{'ReLU' if self.nonlin else 'Linear'}Neuron({len(self.w)})"


class Layer(Module):
    """Neurons side by side, all with the same inputs.

    Args:
        nin: the number of inputs.
        nout: the number of neurons.
        kwargs: passed on to each Neuron.

    Raises:
        ValueError: nin or nout is no positive integer; when called: x does not have nin entries.
    """

    def __init__(self, nin, nout, **kwargs):
        check_size(nout, "nout")
        self.neurons = [Neuron(nin, **kwargs) for _ in range(nout)]

    def __call__(self, x):
        """Return the list of nout Values for the inputs x, nin Values or numbers; for one neuron its Value alone."""
        out = [n(x) for n in self.neurons]
        return out[0] if len(out) == 1 else out

    def parameters(self):
        """Return the parameters of the neurons, one neuron after another."""
        return [p for n in self.neurons for p in n.parameters()]

    def __repr__(self):
        return f"Layer of [{', '.join(str(n) for n in self.neurons)}]"


class MLP(Module):
    """A multi-layer perceptron: layers one after another, relu between them and none at the end.

    Args:
        nin: the number of inputs.
        nouts: the number of neurons of each layer, at least one layer; the last is the number of outputs.

    Raises:
        ValueError: nouts is empty or a size is no positive integer; when called: x does not have nin entries.

    >>> import random
    >>> random.seed(1337)
    >>> model = MLP(2, [4, 4, 1])
    >>> len(model.parameters())
    37
    >>> model([2.0, 3.0]).data
    0.9767377200426484
    """

    def __init__(self, nin, nouts):
        check_size(nin, "nin")
        if isinstance(nouts, (int, str)) or not len(nouts):
            raise ValueError(f"nouts must be a list of at least one layer size, such as [16, 16, 1], got {nouts!r}")
        sizes = [nin, *nouts]
        self.layers = [Layer(sizes[i], sizes[i + 1], nonlin=i != len(nouts) - 1) for i in range(len(nouts))]

    def __call__(self, x):
        """Return the list of output Values for the inputs x, nin Values or numbers; for one output its Value alone."""
        for layer in self.layers:
            x = layer(x)
        return x

    def parameters(self):
        """Return the parameters of the layers, first to last."""
        return [p for layer in self.layers for p in layer.parameters()]

    def __repr__(self):
        return f"MLP of [{', '.join(str(layer) for layer in self.layers)}]"


def check_size(n, name):
    """Raise ValueError unless n is a positive integer."""
    if isinstance(n, bool) or not hasattr(n, "__index__") or n < 1:
        raise ValueError(f"{name} must be a positive integer, got {n!r}")
