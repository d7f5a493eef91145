"""Module: something with parameters, which can be found, named, saved in a dict and trained."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any, Literal, Self, overload

from microgradc import changes, checks
from microgradc.cells import in_a_cell
from microgradc.engine.value import Value, read_numbers, vector_of, write_numbers, zero_grad
from microgradc.keywords import suggest_keywords
from microgradc.nn.in_cells import page_of_module
from microgradc.nn.search import find_modules, find_parameters
from microgradc.nn.state import groups_for, groups_of, refuse_faults, wrong_names, wrong_shape

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import ArrayLike, NDArray

    from microgradc.checks import Lazy, Seed
    from microgradc.train.fit import Callback, History, Stepping


class Module:
    """Something with parameters: the base class of networks and their parts.

    Parameters are the leaves among a module's attributes: Values, and Values in lists, tuples, dicts, object arrays and
    other modules. An attribute whose name begins with an underscore is not searched. As in micrograd, a class may have
    a method `parameters` of its own instead. A subclass defines `forward`, or `__call__` itself.

    >>> class Line(Module):
    ...     def __init__(self):
    ...         self.slope, self.intercept = Value(2.0), Value(1.0)
    ...     def forward(self, x):
    ...         return self.slope * x + self.intercept
    >>> line = Line()
    >>> line(3.0), [name for name, _ in line.named_parameters()]
    (Value(data=7.0, grad=0), ['slope', 'intercept'])
    """

    training = True
    classes_: np.ndarray | None = None     # the labels of what it was fitted to, in the order of its outputs

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "training":
            changes.switched()
        elif name == "__dict__" or (not name.startswith("_") and self.__dict__.get(name, self) is not value):
            changes.happened()
        super().__setattr__(name, value)

    def __delattr__(self, name: str) -> None:
        changes.happened()
        super().__delattr__(name)

    def __setstate__(self, state: Any) -> None:
        """Take what was pickled or copied. A method of this module that was compiled is one again."""
        attributes, slots = state if isinstance(state, tuple) else (state, None)
        self.__dict__.update(attributes or {})
        for name, value in (slots or {}).items():
            setattr(self, name, value)
        for value in list(self.__dict__.values()):
            if callable(getattr(type(value), "rejoin", None)):    # a compiled function
                value.rejoin(self)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Return `self.forward(...)`."""
        forward = getattr(self, "forward", None)
        if forward is None:
            raise NotImplementedError(f"{type(self).__name__} has no method forward(x), which says what it computes")
        return forward(*args, **kwargs)

    def _repr_html_(self) -> str | None:
        return in_a_cell(page_of_module, self, Module.parameters)

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Set the gradient of every parameter to 0, before the next `backward()`.

        Args:
            set_to_none: PyTorch's; a gradient that is not there is 0 here.
        """
        checks.flag(set_to_none, "set_to_none")
        zero_grad(list(self.parameters()))

    def parameters(self) -> list[Value]:
        """Return the list of all parameters, each once, in the order of the attributes."""
        return find_parameters(self, Module.parameters, False)[0]

    def named_parameters(self) -> Iterator[tuple[str, Value]]:
        """Return pairs of a name, such as 'layers.0.neurons.1.w.2', and a parameter, in the order of `parameters()`."""
        values, names = find_parameters(self, Module.parameters, True)
        assert names is not None
        if type(self).parameters is Module.parameters:
            return iter(list(zip(names, values, strict=True)))
        found = {id(value): name for name, value in zip(names, values, strict=True)}
        return iter([(found.get(id(p), f"parameters.{i}"), p) for i, p in enumerate(self.parameters())])

    def vector(self, of: Literal["data", "grad"] = "data") -> NDArray[np.float64]:
        """Return the parameters, in the order of `parameters()`, as one float64 array: a view of them.

        What is written to it, the model has, and compiled functions see it when they are called next. Where parameters
        do not lie evenly in memory (they do when they were made one after another), it is a copy of their numbers,
        which is read-only: `flags.writeable` is False. `set_vector` writes in both cases.

        Args:
            of: "data", or "grad" for the gradients.

        Returns:
            Shape (n,). It belongs to the Values that are the parameters now, and keeps them.

        Raises:
            ValueError: of is something else.

        >>> line = Module()
        >>> line.w, line.b = [Value(1.0), Value(2.0)], Value(3.0)
        >>> line.vector(), line.vector("grad")
        (array([1., 2., 3.]), array([0., 0., 0.]))
        """
        import numpy as np

        if of not in ("data", "grad"):
            raise ValueError(f"of must be 'data' or 'grad', got {of!r:.40}")
        params = list(self.parameters())
        view = vector_of(params, of == "grad")
        if view is not None:
            return np.asarray(view)
        copy = np.empty(len(params))
        read_numbers([params], copy, of == "grad")
        copy.flags.writeable = False
        return copy

    def set_vector(self, theta: ArrayLike) -> None:
        """Set the parameters, in the order of `parameters()`, to the numbers in an array. Either all are set or none.

        Args:
            theta: n real numbers, as `vector()` returns them.

        Raises:
            TypeError, ValueError: theta is not made of n real numbers.

        >>> line = Module()
        >>> line.w, line.b = [Value(1.0), Value(2.0)], Value(3.0)
        >>> line.set_vector([4, 5, 6])
        >>> line.vector()
        array([4., 5., 6.])
        """
        array, params = checks.real_array(theta, "theta"), list(self.parameters())
        if array.shape != (len(params),):
            expected = f"shape ({len(params)},), a number for each parameter"
            raise ValueError(f"theta must have {expected}, got shape {array.shape}")
        write_numbers([params], array.astype(float, "C", copy=False))

    def modules(self) -> Iterator[Module]:
        """Return this module and all modules among its attributes, each once; they are where parameters may be."""
        return iter(find_modules(self, Module))

    def train(self, mode: bool = True) -> Self:
        """Set `training` of this module and those in it, which switches Dropout on or off; return self.

        Args:
            mode: True for training, False for evaluation. As with parameters, what is in an attribute with an
                underscore is not reached.

        Raises:
            TypeError: mode is neither.
        """
        mode = checks.flag(mode, "mode")
        for module in self.modules():
            if module.training != mode:
                module.training = mode
        return self

    def eval(self) -> Self:
        """Switch to evaluation, `train(False)`; return self."""
        return self.train(False)

    def state_dict(self) -> dict[str, NDArray[np.float64]]:
        """Return copies of the parameters as float64 arrays, by name.

        A list of Values is an array, a Value is one of shape ().

        >>> line = Module()
        >>> line.w, line.b = [Value(1.0), Value(2.0)], Value(3.0)
        >>> line.state_dict()
        {'w': array([1., 2.]), 'b': array(3.)}
        """
        return {name: group.read() for name, group in groups_of(self).items()}

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True) -> None:
        """Set the parameters to the numbers in a dict, as `state_dict()` returns it. Either all are set or none.

        Args:
            state_dict: arrays or nested lists of real numbers, by name. Layers may have PyTorch's names and shapes
                instead of ours: `layers.0.weight`, of shape (out, in), and `layers.0.bias`.
            strict: whether an entry that is missing, or that the model does not have, is an error; if not, it is left
                out.

        Raises:
            TypeError: state_dict is not a mapping.
            ValueError: an entry is missing, unexpected, of the wrong shape or not of real numbers. The message lists
                all of them.
        """
        if not isinstance(state_dict, Mapping):
            expected = "a dict of arrays, as model.state_dict() returns it"
            raise TypeError(f"state_dict must be {expected}, got {type(state_dict).__name__}")
        strict = checks.flag(strict, "strict")
        groups = groups_for(self, state_dict)
        faults, arrays = wrong_names(groups, state_dict) if strict else [], {}
        for name, group in groups.items():
            if name not in state_dict:
                continue
            try:
                array = checks.real_array(state_dict[name], name)
            except (TypeError, ValueError) as error:
                faults.append(str(error))
                continue
            arrays[name] = array.astype(float, copy=False)
            faults += wrong_shape(name, array.shape, group)
        refuse_faults(self, faults)
        for name, array in arrays.items():
            groups[name].write(array)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the whole model, what it is made of and its numbers, to a file that `microgradc.load_model` reads.

        It is a safetensors file with PyTorch's names: the weights of a layer are one matrix, `layers.0.weight`, of
        shape (out, in). The file is written whole or not at all. There is no code in it. The classes that `fit` noted
        and which parts are in training mode are kept; a generator of `Dropout` is not.

        Args:
            path: where to, usually with the ending .safetensors.

        Raises:
            TypeError: a part is none of microgradc's: a module or an activation of your own. The message says which.
                `microgradc.save` and `microgradc.load` keep the numbers of any model.
            ValueError: parameters are shared, or path is something other than a file.
            OSError: the file cannot be written.

        >>> import tempfile, microgradc
        >>> model = microgradc.MLP(2, [16, 1], activation="tanh")
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     model.save(f"{folder}/model.safetensors")
        ...     copy = microgradc.load_model(f"{folder}/model.safetensors")
        >>> copy([1.0, 2.0]).data == model([1.0, 2.0]).data
        True
        """
        from microgradc.checkpoint.models import save_model

        save_model(self, path)

    @suggest_keywords
    def fit(
        self,
        X: ArrayLike,
        y: ArrayLike,
        *,
        loss: str | Callable[..., Any] | None = None,
        optimizer: Stepping = "adam",
        lr: float | None = None,
        weight_decay: float | None = None,
        epochs: int = 100,
        batch_size: int = 32,
        shuffle: bool = True,
        seed: Seed = None,
        validation: float | tuple[ArrayLike, ...] | None = None,
        sample_weight: ArrayLike | None = None,
        class_weight: Mapping[Any, float] | Literal["balanced"] | None = None,
        metrics: str | Callable[..., Any] | Sequence[str | Callable[..., Any]] | None = None,
        schedule: Any = None,
        schedule_every: Literal["epoch", "step"] = "epoch",
        clip_norm: float | None = None,
        progress: bool = True,
        callback: Callable[[History], Any] | None = None,
        callbacks: Sequence[Callback] | None = None,
        check_finite: bool = True,
        compile: bool | None = None,
    ) -> History:
        """Train on examples: see `microgradc.fit`, which has the same arguments (a test compares them)."""
        settings = {name: value for name, value in locals().items() if name not in ("self", "X", "y")}
        from microgradc.train.fit import fit

        return fit(self, X, y, **settings)

    @overload
    def outputs(self, X: Lazy, *, compile: bool | None = None) -> Any: ...
    @overload
    def outputs(self, X: ArrayLike, *, compile: bool | None = None) -> NDArray[np.float64]: ...
    def outputs(self, X: Any, *, compile: bool | None = None) -> Any:
        """Return the outputs for the rows of X, without a graph and with dropout off: see `microgradc.outputs`."""
        return _scores().outputs(self, X, compile=compile)

    @overload
    def predict(self, X: Lazy) -> Any: ...
    @overload
    def predict(self, X: ArrayLike) -> NDArray[Any]: ...
    def predict(self, X: Any) -> Any:
        """Return the classes of the rows of X, with the labels of `fit`; numbers if it was fitted to numbers.

        Args:
            X: examples, numbers of shape (n, nin); or a dask array of them, for which a dask array is returned.

        Returns:
            Shape (n,), of the dtype of the labels, `classes_`; or what `outputs` returns, if the targets were no
            classes. Where each example had several targets of 0 and 1, or -1 and 1: such integers, of shape (n, nout).

        Raises:
            ValueError, TypeError: X is not of that shape, or not of numbers.
        """
        return _predictions().predict(self, X)

    @overload
    def predict_proba(self, X: Lazy) -> Any: ...
    @overload
    def predict_proba(self, X: ArrayLike) -> NDArray[np.float64]: ...
    def predict_proba(self, X: Any) -> Any:
        """Return the probabilities of the classes for the rows of X.

        Args:
            X: examples, numbers of shape (n, nin); or a dask array of them, for which a dask array is returned.

        Returns:
            float64 of shape (n, k), in the order of `classes_`.

        Raises:
            ValueError: the model was not fitted to classes, or with a loss that does not lead to probabilities; X is
                not of that shape.
            TypeError: X are not numbers.
        """
        return _predictions().predict_proba(self, X)


@cache
def _scores() -> Any:
    """The module of outputs, which is imported when it is first asked for: a statement each time takes microseconds."""
    from microgradc.train import scores

    return scores


@cache
def _predictions() -> Any:
    """The module of predictions."""
    from microgradc.train import predictions

    return predictions
