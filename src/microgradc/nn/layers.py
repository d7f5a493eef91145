"""Neurons, layers and multi-layer perceptrons: micrograd's `nn`, with one node for each weighted sum; and what is built of them.

The constructor arguments, initial values, order of calls to `random`, order of parameters and reprs are micrograd's, so a seeded script
gives the same model.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any, Self

from microgradc import changes, checks
from microgradc.checks import FROM_0_TO_1
from microgradc.engine import Value, is_tracing, refuse
from microgradc.engine.functions import dot
from microgradc.nn.activations import ACTIVATIONS, check_activation, function_of, operation_of
from microgradc.nn.init import Initializer, initializer
from microgradc.nn.module import Module
from microgradc.nn.search import neuron_outputs

__all__ = ["MLP", "Activation", "Dropout", "Layer", "Neuron", "Sequential"]

_NUMBERS = (Value, float, int)


class Neuron(Module):
    """activation(w · x + b), or w · x + b alone.

    Args:
        nin: the number of inputs.
        nonlin: whether to apply the activation.
        activation: 'relu', 'tanh', 'sigmoid', 'leaky_relu', 'elu', 'gelu', 'silu', 'softplus' or 'linear'; or a callable of a Value.
        init: the name of one of the functions in `microgradc.init`, or a callable of nin, nout and rng that returns a weight. The
            default is micrograd's, uniform on [-1, 1]. The bias is 0 at first.
        rng: where initial weights come from: the module `random`, or a `random.Random`.
        nout: the number of neurons side by side, which some initialisers ask for.

    Raises:
        ValueError: nin is no positive integer, there is no such activation or initialiser; when called: x does not have nin entries.
        TypeError: activation or init is neither a name nor callable.
    """

    def __init__(
        self,
        nin: int,
        nonlin: bool = True,
        activation: str | Callable[[Value], Value] = "relu",
        *,
        init: str | Initializer = "uniform",
        rng: Any = random,
        nout: int = 1,
    ) -> None:
        checks.integer(nin, "nin", 1)
        draw = initializer(init)
        self.w = [Value(draw(nin, nout, rng)) for _ in range(nin)]
        self.b = Value(0)
        self.nonlin = nonlin
        self.activation = check_activation(activation)

    def __call__(self, x: Any) -> Any:
        """Return the Value for the inputs x, nin Values or numbers; for a batch, a list of such x or a 2-D array, a list of Values."""
        try:
            out = dot(self.w, x, self.b)
        except (TypeError, ValueError):
            if is_batch(x):
                return [self(row) for row in x]
            check_inputs(x, self)
            raise
        return activation_of(self)(out)

    def __repr__(self) -> str:
        name = self.activation if self.nonlin else "linear"
        shown = ACTIVATIONS[name] if isinstance(name, str) else name_of(name)
        return f"{shown}Neuron({len(self.w)})"


class Layer(Module):
    """Neurons side by side, all with the same inputs.

    Args:
        nin: the number of inputs.
        nout: the number of neurons.
        kwargs: passed on to each Neuron: nonlin, activation, init, rng.

    Raises:
        ValueError: nin or nout is no positive integer; when called: x does not have nin entries.
    """

    _plan = None

    def __init__(self, nin: int, nout: int, **kwargs: Any) -> None:
        checks.integer(nout, "nout", 1)
        self.neurons = [Neuron(nin, nout=nout, **kwargs) for _ in range(nout)]

    def __call__(self, x: Any) -> Any:
        """Return the list of nout Values for the inputs x, nin Values or numbers; for one neuron its Value alone.

        For a batch, a list of such x or a 2-D array, it is the list of what the rows give.
        """
        plan = self._plan
        if plan is None or plan.change is not changes.latest or plan.neurons != self.neurons:
            plan = self._plan = _LayerPlan(self.neurons)
        try:
            if not plan.rows or Neuron.__call__ is not _CALL_OF_A_NEURON:
                if is_batch(x):
                    return [self(row) for row in x]
                x = x if hasattr(x, "__len__") else list(x)
                out = [n(x) for n in self.neurons]
            else:
                out = neuron_outputs(x, plan.rows, plan.biases, plan.operations)
        except (TypeError, ValueError):
            if isinstance(x, Value):   # what a layer of one neuron returns
                return self([x])
            if is_batch(x):
                return [self(row) for row in x]
            if plan.rows:
                check_inputs(x, self.neurons[0])
            raise
        return out[0] if len(out) == 1 else out

    def __repr__(self) -> str:
        return f"Layer of [{', '.join(str(n) for n in self.neurons)}]"


class Sequential(Module):
    """Modules and functions one after another, each called with what the one before returned.

    Args:
        modules: modules, or callables such as `microgradc.softmax`.

    Raises:
        ValueError: there are none.
        TypeError: one cannot be called.

    >>> import microgradc
    >>> model = Sequential(Layer(2, 8, activation="tanh"), Dropout(0.2), Layer(8, 3, nonlin=False), microgradc.softmax)
    >>> round(sum(p.data for p in model([1.0, 2.0])), 12)
    1.0
    """

    def __init__(self, *modules: Any) -> None:
        if not modules:
            raise ValueError("Sequential needs at least one module")
        for i, part in enumerate(modules):
            if not callable(part):
                raise TypeError(f"module {i} of Sequential cannot be called: {part!r}")
        self.layers = list(modules)

    def __call__(self, x: Any) -> Any:
        """Return what the last module returns; for a batch, a list of such x or a 2-D array, the list of what the rows give."""
        if is_batch(x):
            return [self(row) for row in x]
        for layer in self.layers:
            x = layer(x)
        return x

    def __getitem__(self, i: Any) -> Any:
        return self.layers[i]

    def __len__(self) -> int:
        return len(self.layers)

    def __repr__(self) -> str:
        return f"{type(self).__name__} of [{', '.join(map(name_of, self.layers))}]"


class MLP(Sequential):
    """A multi-layer perceptron: layers one after another, relu between them and none at the end.

    Args:
        nin: the number of inputs.
        nouts: the number of neurons of each layer, at least one layer; the last is the number of outputs.
        activation: of all layers but the last; see `Neuron`.
        output_activation: of the last layer.
        init: see `Neuron`.
        seed: for the initial weights, of a generator of their own, or a `random.Random`; None for the module `random`, as in micrograd.

    Raises:
        ValueError: nouts is empty, a size is no positive integer, there is no such activation or initialiser; when called: x does not
            have nin entries.
        TypeError: an activation or init is neither a name nor callable.

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

    def __init__(
        self,
        nin: int,
        nouts: Sequence[int],
        activation: str | Callable[[Value], Value] = "relu",
        output_activation: str | Callable[[Value], Value] = "linear",
        *,
        init: str | Initializer = "uniform",
        seed: Any = None,
    ) -> None:
        checks.integer(nin, "nin", 1)
        if not isinstance(nouts, Sequence) or isinstance(nouts, str) or not nouts:
            raise ValueError(f"nouts must be a list of at least one layer size, such as [16, 16, 1], got {nouts!r}")
        check_activation(activation)
        sizes = [nin, *nouts]
        rng = checks.seed(seed)
        self.layers = []
        for i in range(len(nouts)):
            act = activation if i < len(nouts) - 1 else output_activation
            self.layers.append(Layer(sizes[i], sizes[i + 1], nonlin=act != "linear", activation=act, init=init, rng=rng))

    @classmethod
    def from_torch(cls, module: Any) -> Self:
        """Return an MLP that computes what a PyTorch module does, with copies of its parameters. No random numbers are drawn.

        Args:
            module: a `torch.nn.Linear`, or a `torch.nn.Sequential`, possibly of further ones, of Linear layers of any floating-point
                dtype, each followed by at most one activation: ReLU, LeakyReLU, ELU, GELU, SiLU, Softplus, Sigmoid, Tanh or Identity.
                A missing bias is one of 0, which can be trained like the others. Softplus is exact here; PyTorch's returns its argument
                above a threshold of 20, which differs by up to 2.1e-9.

        Raises:
            TypeError: the module, or one in it, is something else.
            ValueError: the order, the sizes or a setting do not fit an MLP, parameters are shared, or a module has forward hooks.
            ImportError: PyTorch is not installed.
        """
        from microgradc.interop import mlp_from_torch

        return mlp_from_torch(cls, module)

    def to_torch(self) -> Any:
        """Return a `torch.nn.Sequential` of Linear layers and activations that computes the same, with float64 copies of the parameters.

        No random numbers are drawn. Softplus gets a threshold from which it is exact. One neuron at the end gives shape (1,), not ().

        Raises:
            TypeError: an activation has no name, such as a function of your own; a layer or a neuron has a `__call__` of its own.
            ValueError: neurons of one layer have different activations, or share a parameter.
            ImportError: PyTorch is not installed.
        """
        from microgradc.interop import mlp_to_torch

        return mlp_to_torch(self)


class Activation(Module):
    """An activation, applied to each entry of a list, for use in `Sequential`.

    Args:
        function: a name or a callable of a Value; see `Neuron`.

    Raises:
        ValueError: there is no activation of that name.
        TypeError: function is neither a name nor callable.

    >>> Activation("relu")([Value(-1.0), 2.0])
    [Value(data=0.0, grad=0), 2.0]
    """

    def __init__(self, function: str | Callable[[Value], Value]) -> None:
        self.activation = check_activation(function)

    def __call__(self, x: Any) -> Any:
        """Return the function of x, of each entry if it is a list."""
        f = function_of(self.activation)
        if isinstance(x, (Value, float, int)):
            return f(x)
        return [self(row) for row in x] if is_batch(x) else [f(v) for v in x]

    def __repr__(self) -> str:
        return ACTIVATIONS[self.activation] if isinstance(self.activation, str) else name_of(self.activation)


class Dropout(Module):
    """In training, set each entry to 0 with probability p, and multiply the others by 1 / (1 - p); in evaluation, change nothing.

    Srivastava et al., "Dropout: a simple way to prevent neural networks from overfitting", 2014. `model.eval()` switches it off,
    `model.train()` on again; `fit` and `outputs` do so by themselves.

    Args:
        p: the probability, in [0, 1].
        seed: of a generator of its own, or a `random.Random`; None for the module `random`.

    Raises:
        ValueError: p is not in [0, 1].
        TypeError: p is no number.
    """

    def __init__(self, p: float = 0.5, seed: Any = None) -> None:
        self.p = checks.number(p, "p", FROM_0_TO_1)
        self._rng = None if seed is None else checks.seed(seed)     # a module cannot be copied

    def __call__(self, x: Any) -> Any:
        """Return x, a Value, a list of Values and numbers or a batch of such lists, with some entries dropped."""
        if not self.training or self.p == 0:
            return x
        if is_tracing():
            refuse("dropout")
        if not hasattr(x, "__iter__"):
            return self._drop(x)
        return [self(row) for row in x] if is_batch(x) else [self._drop(v) for v in x]

    def _drop(self, v: Any) -> Any:
        return v * (0.0 if checks.seed(self._rng).random() < self.p else 1 / (1 - self.p))

    def __repr__(self) -> str:
        return f"Dropout(p={self.p})"


class _LayerPlan:
    """What a layer needs to call its neurons all at once, which takes a third of the time: possible if they are plain ones.

    It holds the neurons' own lists of weights, so a weight may be replaced; it is out of date when a neuron or an attribute of one is.
    """

    def __init__(self, neurons: list[Any]) -> None:
        self.neurons = list(neurons)
        self.change = changes.latest
        self.rows: list[list[Value]] = []
        self.biases: list[Value] = []
        self.operations = b""
        if all(type(n) is Neuron and type(n.w) is list and operation_of(n) is not None for n in neurons):
            self.rows = [n.w for n in neurons]
            self.biases = [n.b for n in neurons]
            self.operations = bytes([operation_of(n) or 0 for n in neurons])


_CALL_OF_A_NEURON = Neuron.__call__   # somebody may put another in its place


def activation_of(neuron: Neuron) -> Callable[[Any], Any]:
    """Return the function that the neuron applies."""
    return function_of(neuron.activation if neuron.nonlin else "linear")


def name_of(function: Any) -> str:
    """Return how a module or a function is called in a repr."""
    return repr(function) if isinstance(function, Module) else getattr(function, "__name__", type(function).__name__)


def is_batch(x: Any) -> bool:
    """Return whether x is a list of examples: a 2-D array, or a list or tuple of lists, tuples or 1-D arrays."""
    if type(x) is list and x and type(x[0]) in _NUMBERS:     # the usual example, told apart fast
        return False
    if getattr(x, "ndim", None) == 2:
        return True
    return isinstance(x, (list, tuple)) and len(x) > 0 and (isinstance(x[0], (list, tuple)) or getattr(x[0], "ndim", 0) == 1)


def check_inputs(x: Any, neuron: Neuron) -> None:
    """Raise ValueError unless x has an entry for each weight of the neuron."""
    if hasattr(x, "__len__") and len(x) != len(neuron.w):
        raise ValueError(f"x must have {len(neuron.w)} entries, one for each input of {neuron}, got {len(x)}") from None
