"""Modules one after another: Sequential, and MLP, whose arguments and initial values are micrograd's."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Self, SupportsIndex

from microgradc import checks
from microgradc.cells import listed, never_fails
from microgradc.engine import Value
from microgradc.keywords import suggest_keywords
from microgradc.nn.activations import check_activation
from microgradc.nn.axes import Flatten
from microgradc.nn.init import Initializer
from microgradc.nn.inputs import rows_of
from microgradc.nn.layers import Layer
from microgradc.nn.module import Module

if TYPE_CHECKING:
    from microgradc.checks import Seed

__all__ = ["MLP", "Sequential"]


class Sequential(Module):
    """Modules and functions one after another, each called with what the one before returned.

    Args:
        modules: modules, or callables such as `microgradc.softmax`.

    Raises:
        ValueError: there are none.
        TypeError: one cannot be called.

    >>> import microgradc
    >>> from microgradc import nn
    >>> model = nn.Sequential(nn.Layer(2, 8, activation="tanh"), nn.Dropout(0.2), nn.Layer(8, 3), microgradc.softmax)
    >>> round(sum(p.data for p in model([1.0, 2.0])), 12)
    1.0
    """

    layers: list[Any]

    def __init__(self, *modules: Callable[..., Any]) -> None:
        if not modules:
            raise ValueError("Sequential needs at least one module")
        for i, part in enumerate(modules):
            if not callable(part):
                raise TypeError(f"module {i} of Sequential cannot be called: {part!r}")
        self.layers = list(modules)

    def __call__(self, x: Any) -> Any:
        """Return what the last module returns.

        For a batch, a list of such x or a 2-D array, it is the list of what the rows give.
        """
        if type(self.layers[0]) is Flatten:
            x = self.layers[0].of_batch(x)
        batch = rows_of(x)
        if batch is not None:
            return [self(row) for row in batch]
        for layer in self.layers:
            x = layer.of_example(x) if type(layer) is Flatten else layer(x)
        return x

    @classmethod
    def from_torch(cls, module: Any) -> Self:
        """Return a model that computes what a `torch.nn.Sequential` does, with copies of its parameters.

        No random numbers are drawn. What is in evaluation mode there, is here.

        Args:
            module: a `torch.nn.Sequential` of Linear, the activations of `MLP.from_torch`, Dropout, Embedding, Flatten,
                Identity, LayerNorm, LogSoftmax and Softmax, or of further ones. A missing bias of Linear is one of 0.

        Raises:
            TypeError: the module, or one in it, is something else.
            ValueError: a setting does not fit, such as an axis that would join the examples of a batch; parameters are
                shared, or a module has forward hooks.
            ImportError: PyTorch is not installed.
        """
        from microgradc.interop import sequential_from_torch

        return sequential_from_torch(cls, module)

    def to_torch(self) -> Any:
        """Return a `torch.nn.Sequential` that computes the same, with float64 copies of the parameters.

        No random numbers are drawn. A layer of one neuron gives shape (1,), not ().

        Raises:
            TypeError: a part is a module or function of your own, or has a `__call__` of its own.
            ValueError: neurons of one layer have different activations, or a parameter occurs twice.
            ImportError: PyTorch is not installed.
        """
        from microgradc.interop import sequential_to_torch

        return sequential_to_torch(self)

    def __getitem__(self, i: SupportsIndex | slice) -> Any:
        return self.layers[i]

    def __len__(self) -> int:
        return len(self.layers)

    @never_fails
    def __repr__(self) -> str:
        return f"{type(self).__name__} of [{listed(map(_shown, self.layers), len(self.layers))}]"


class MLP(Sequential):
    """A multi-layer perceptron: layers one after another, relu between them and none at the end.

    Args:
        nin: the number of inputs.
        nouts: the number of neurons of each layer, at least one layer; the last is the number of outputs.
        activation: of all layers but the last; see `Neuron`.
        output_activation: of the last layer.
        init: see `Neuron`.
        seed: for the initial weights, of a generator of their own, or a `random.Random` or NumPy generator; None for
            the module `random`, as in micrograd.

    Raises:
        TypeError: nouts is not a list or tuple, a size is not an integer, or an activation or init is neither a name
            nor callable.
        ValueError: nouts is empty, a size is not positive, or there is no activation or initialiser of that name; when
            called: x does not have nin entries.

    >>> import random
    >>> random.seed(1337)
    >>> model = MLP(2, [4, 4, 1])
    >>> len(model.parameters())
    37
    >>> model([2.0, 3.0]).data
    0.9767377200426484
    >>> [v.data for v in model([[2.0, 3.0], [0.0, 0.0]])]
    [0.9767377200426484, 0.0]
    """

    @suggest_keywords
    def __init__(
        self,
        nin: int,
        nouts: Sequence[int],
        activation: str | Callable[[Value], Value] = "relu",
        output_activation: str | Callable[[Value], Value] = "linear",
        *,
        init: str | Initializer = "uniform",
        seed: Seed = None,
    ) -> None:
        checks.integer(nin, "nin", 1)
        expected = f"nouts must be a list of at least one layer size, such as [16, 16, 1], got {nouts!r:.60}"
        if not isinstance(nouts, Sequence) or isinstance(nouts, str):
            raise TypeError(expected)
        if not nouts:
            raise ValueError(expected)
        check_activation(activation)
        sizes = [nin, *nouts]
        rng = checks.seed(seed)
        self.layers = []
        for i in range(len(nouts)):
            act = activation if i < len(nouts) - 1 else output_activation
            nonlin = act != "linear"
            self.layers.append(Layer(sizes[i], sizes[i + 1], nonlin=nonlin, activation=act, init=init, rng=rng))

    @classmethod
    def from_torch(cls, module: Any) -> Self:
        """Return an MLP that computes what a PyTorch module does, with copies of its parameters.

        No random numbers are drawn.

        Args:
            module: a `torch.nn.Linear`, or a `torch.nn.Sequential`, possibly of further ones, of Linear layers of any
                floating-point dtype, each followed by at most one activation: ReLU, LeakyReLU, ELU, GELU, SiLU,
                Softplus, Sigmoid, Tanh or Identity. A missing bias is one of 0, which can be trained like the others.
                Softplus is exact here; PyTorch's returns its argument above a threshold of 20, which differs by up to
                2.1e-9.

        Raises:
            TypeError: the module, or one in it, is something else.
            ValueError: the order, the sizes or a setting do not fit an MLP, parameters are shared, or a module has
                forward hooks.
            ImportError: PyTorch is not installed.
        """
        from microgradc.interop import mlp_from_torch

        return mlp_from_torch(cls, module)

    def to_torch(self) -> Any:
        """Return a `torch.nn.Sequential` of Linear layers and activations that computes the same.

        It has float64 copies of the parameters. No random numbers are drawn. Softplus gets a threshold from which it is
        exact. One neuron at the end gives shape (1,), not ().

        Raises:
            TypeError: an activation has no name, such as a function of your own; a layer or a neuron has a `__call__`
                of its own.
            ValueError: neurons of one layer have different activations, or share a parameter.
            ImportError: PyTorch is not installed.
        """
        from microgradc.interop import mlp_to_torch

        return mlp_to_torch(self)


def _shown(part: Any) -> str:
    """Return what a part of a network is called in the repr of the whole."""
    return repr(part) if isinstance(part, Module) else getattr(part, "__name__", type(part).__name__)
