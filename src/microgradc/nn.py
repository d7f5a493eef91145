"""Neurons, layers and multi-layer perceptrons: micrograd's `nn`, with one node for each weighted sum.

The constructor arguments, initial values, order of calls to `random`, order of parameters and reprs are micrograd's, so a seeded script
gives the same model.
"""

import random
from collections.abc import Sequence
from typing import Any

from microgradc.engine import Value
from microgradc.functions import _neuron_outputs, dot

__all__ = ["MLP", "Layer", "Module", "Neuron", "Value"]

# Another object whenever an attribute of any Neuron is set. A Layer that sees the same need not ask its neurons again.
_latest_change = object()


class Module:
    """Something with parameters."""

    def zero_grad(self) -> None:
        """Set the gradient of every parameter to 0, before the next `backward()`."""
        for p in self.parameters():
            p.grad = 0

    def parameters(self) -> list[Value]:
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

    def __init__(self, nin: int, nonlin: bool = True) -> None:
        check_size(nin, "nin")
        self.w = [Value(random.uniform(-1, 1)) for _ in range(nin)]
        self.b = Value(0)
        self.nonlin = nonlin

    def __setattr__(self, name: str, value: Any) -> None:
        global _latest_change
        _latest_change = object()
        super().__setattr__(name, value)

    def __call__(self, x: Any) -> Any:
        """Return the Value for the inputs x, nin Values or numbers."""
        try:
            out = dot(self.w, x, self.b)
        except ValueError:
            check_inputs(x, self)
            raise
        return out.relu() if self.nonlin else out

    def parameters(self) -> list[Value]:
        """Return the weights and, last, the bias."""
        return [*self.w, self.b]

    def __repr__(self) -> str:
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

    _plan = None

    def __init__(self, nin: int, nout: int, **kwargs: Any) -> None:
        check_size(nout, "nout")
        self.neurons = [Neuron(nin, **kwargs) for _ in range(nout)]

    def __call__(self, x: Any) -> Any:
        """Return the list of nout Values for the inputs x, nin Values or numbers; for one neuron its Value alone."""
        plan = self._plan
        if plan is None or plan.latest_change is not _latest_change or plan.neurons != self.neurons:
            plan = self._plan = _LayerPlan(self.neurons)
        if not plan.rows or Neuron.__call__ is not _CALL_OF_A_NEURON:
            out = [n(x) for n in self.neurons]
        else:
            try:
                out = _neuron_outputs(x, plan.rows, plan.biases, plan.relus)
            except ValueError:
                check_inputs(x, self.neurons[0])
                raise
        return out[0] if len(out) == 1 else out

    def parameters(self) -> list[Value]:
        """Return the parameters of the neurons, one neuron after another."""
        return [p for n in self.neurons for p in n.parameters()]

    def __repr__(self) -> str:
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

    def __init__(self, nin: int, nouts: Sequence[int]) -> None:
        check_size(nin, "nin")
        if not isinstance(nouts, Sequence) or isinstance(nouts, str) or not nouts:
            raise ValueError(f"nouts must be a list of at least one layer size, such as [16, 16, 1], got {nouts!r}")
        sizes = [nin, *nouts]
        self.layers = [Layer(sizes[i], sizes[i + 1], nonlin=i != len(nouts) - 1) for i in range(len(nouts))]

    def __call__(self, x: Any) -> Any:
        """Return the list of output Values for the inputs x, nin Values or numbers; for one output its Value alone."""
        for layer in self.layers:
            x = layer(x)
        return x

    def parameters(self) -> list[Value]:
        """Return the parameters of the layers, first to last."""
        return [p for layer in self.layers for p in layer.parameters()]

    def __repr__(self) -> str:
        return f"MLP of [{', '.join(str(layer) for layer in self.layers)}]"


class _LayerPlan:
    """What a layer needs to call its neurons all at once, which takes a third of the time: possible if they are plain ones.

    It holds the neurons' own lists of weights, so a weight may be replaced; it is out of date when a neuron or an attribute of one is.
    """

    def __init__(self, neurons: list[Any]) -> None:
        self.neurons = list(neurons)
        self.latest_change = _latest_change
        plain = all(type(n) is Neuron and type(n.w) is list for n in neurons)
        self.rows = [n.w for n in neurons] if plain else []
        self.biases = [n.b for n in neurons] if plain else []
        self.relus = [bool(n.nonlin) for n in neurons] if plain else []


_CALL_OF_A_NEURON = Neuron.__call__   # somebody may put another in its place


def check_inputs(x: Any, neuron: Neuron) -> None:
    """Raise ValueError unless x has an entry for each weight of the neuron."""
    if hasattr(x, "__len__") and len(x) != len(neuron.w):
        raise ValueError(f"x must have {len(neuron.w)} entries, one for each input of {neuron}, got {len(x)}") from None


def check_size(n: Any, name: str) -> None:
    """Raise ValueError unless n is a positive integer."""
    if isinstance(n, bool) or not hasattr(n, "__index__") or n < 1:
        raise ValueError(f"{name} must be a positive integer, got {n!r}")
