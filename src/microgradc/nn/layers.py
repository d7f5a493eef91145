"""Neurons, with one node for each weighted sum, and layers of them.

The constructor arguments, initial values, order of calls to `random`, order of parameters and reprs are micrograd's, so
a seeded script gives the same model.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any, TypedDict, Unpack, overload

from microgradc import changes, checks
from microgradc.cells import listed, never_fails
from microgradc.engine import Value
from microgradc.engine.functions import dot
from microgradc.keywords import suggest_keywords
from microgradc.nn.activations import activation_of, check_activation, function_of, operation_of, shown_activation
from microgradc.nn.init import Initializer, initializer
from microgradc.nn.inputs import check_length, rows_of
from microgradc.nn.module import Module
from microgradc.nn.search import is_current, neuron_outputs, versions_of

__all__ = ["Layer", "Neuron"]


class Neuron(Module):
    """activation(w · x + b), or w · x + b alone.

    Args:
        nin: the number of inputs.
        nonlin: whether to apply the activation.
        activation: 'relu', 'tanh', 'sigmoid', 'leaky_relu', 'elu', 'gelu', 'silu', 'softplus' or 'linear'; or a
            callable of a Value.
        init: the name of one of the functions in `microgradc.init`, or a callable of nin, nout and rng that returns a
            weight. The default is micrograd's, uniform on [-1, 1]. The bias is 0 at first.
        rng: where initial weights come from: the module `random`, a `random.Random`, or a NumPy generator.
        nout: the number of neurons side by side, which some initialisers ask for.

    Raises:
        TypeError: nin is not an integer; activation or init is neither a name nor callable.
        ValueError: nin is not positive, or there is no activation or initialiser of that name; when called: x does not
            have nin entries.
    """

    w: list[Value]
    b: Value
    activation: str | Callable[[Value], Value]

    @suggest_keywords
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
        draw, rng = initializer(init), checks.source(rng)
        self.w = [Value(draw(nin, nout, rng)) for _ in range(nin)]
        self.b = Value(0)
        self.nonlin = nonlin
        self.activation = check_activation(activation)

    @overload
    def __call__(self, x: Sequence[Value | float] | Sequence[Value]) -> Value: ...
    @overload
    def __call__(self, x: Any) -> Any: ...
    def __call__(self, x: Any) -> Any:
        """Return the Value for the inputs x, nin Values or numbers.

        For a batch, a list of such x or a 2-D array, it is the list of what the rows give.
        """
        try:
            out = dot(self.w, x, self.b)
        except (TypeError, ValueError):
            batch = rows_of(x)
            if batch is not None:
                return [self(row) for row in batch]
            check_length(x, self)
            raise
        return function_of(activation_of(self))(out)

    @never_fails
    def __repr__(self) -> str:
        return f"{shown_activation(activation_of(self))}Neuron({len(self.w)})"


class _Settings(TypedDict, total=False):
    """What a layer passes on to its neurons."""

    nonlin: bool
    activation: str | Callable[[Value], Value]
    init: str | Initializer
    rng: Any


class Layer(Module):
    """Neurons side by side, all with the same inputs.

    Args:
        nin: the number of inputs.
        nout: the number of neurons.
        kwargs: passed on to each Neuron: nonlin, activation, init, rng.

    Raises:
        TypeError: nin or nout is not an integer.
        ValueError: nin or nout is not positive; when called: x does not have nin entries.
    """

    neurons: list[Neuron]

    _plan = None

    def __init__(self, nin: int, nout: int, **kwargs: Unpack[_Settings]) -> None:
        checks.integer(nout, "nout", 1)
        if "rng" in kwargs:
            kwargs["rng"] = checks.source(kwargs["rng"])     # one for all neurons
        self.neurons = [Neuron(nin, nout=nout, **kwargs) for _ in range(nout)]

    def __call__(self, x: Any) -> Any:
        """Return the list of nout Values for the inputs x, nin Values or numbers; for one neuron its Value alone.

        For a batch, a list of such x or a 2-D array, it is the list of what the rows give.
        """
        plan, neurons = self._plan, self.neurons
        if (
            plan is None
            or plan.change is not changes.latest
            or not is_current(plan.neurons, neurons, plan.watched, plan.versions)
        ):
            plan = self._plan = _LayerPlan(self.neurons)
        try:
            if not plan.rows or Neuron.__call__ is not _CALL_OF_A_NEURON:
                batch = rows_of(x)
                if batch is not None:
                    return [self(row) for row in batch]
                x = x if hasattr(x, "__len__") else list(x)
                out = [n(x) for n in self.neurons]
            else:
                out = neuron_outputs(x, plan.rows, plan.biases, plan.operations)
        except (TypeError, ValueError):
            if isinstance(x, Value):   # what a layer of one neuron returns
                return self([x])
            batch = rows_of(x)
            if batch is not None:
                return [self(row) for row in batch]
            if plan.rows:
                check_length(x, self.neurons[0])
            raise
        return out[0] if len(out) == 1 else out

    @never_fails
    def __repr__(self) -> str:
        return f"Layer of [{listed(map(str, self.neurons), len(self.neurons))}]"

    def _in_words(self) -> str:
        kinds = {shown_activation(activation_of(neuron)) for neuron in self.neurons}
        return f"Layer: {len(self.neurons[0].w)} → {len(self.neurons)}, {' and '.join(sorted(kinds))}"


class _LayerPlan:
    """What a layer needs to call its neurons all at once, which takes a third of the time.

    That is possible if they are plain ones. It holds the neurons' own lists of weights, so a weight may be replaced; it
    is out of date when a neuron or an attribute of one is. Attributes that are set by `vars(neuron)`, which nobody says
    to `changes`, are looked at in each call.
    """

    def __init__(self, neurons: list[Any]) -> None:
        self.neurons = list(neurons)
        self.watched: list[tuple[dict[str, Any], tuple[Any, ...]]] = []
        self.versions = b""
        self.change = changes.latest
        self.rows: list[list[Value]] = []
        self.biases: list[Value] = []
        self.operations = b""
        if all(type(n) is Neuron and type(n.w) is list and operation_of(n) is not None for n in neurons):
            self.versions = versions_of([n.__dict__ for n in neurons])
            self.watched = [(n.__dict__, tuple(n.__dict__.values())) for n in neurons]
            self.rows = [n.w for n in neurons]
            self.biases = [n.b for n in neurons]
            self.operations = bytes([operation_of(n) or 0 for n in neurons])


_CALL_OF_A_NEURON = Neuron.__call__   # somebody may put another in its place
