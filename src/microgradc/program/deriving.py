"""Derivatives as methods of a compiled function: of one example, and of a batch. Changes with these methods."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

from microgradc import checks
from microgradc.engine import Value
from microgradc.engine.value import is_detecting
from microgradc.program import anomalies, directions
from microgradc.program.arguments import Arguments
from microgradc.program.calculus import gradients
from microgradc.program.derived import gradients_program, mean_product
from microgradc.program.program import Example, Latest, MeanProduct, Program, latest_mean_product
from microgradc.program.reached import Reached
from microgradc.program.recording import Recording

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Deriving"]

_Batch = tuple[Recording, tuple[np.ndarray, ...], int, list[Any] | None, Example | None]


class Deriving:
    """These methods of `Compiled`."""

    _f: Callable[..., Any]
    _arguments: Arguments
    _latest: Latest

    def _batch(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> _Batch:
        raise NotImplementedError

    def jacobian(self, *args: Any, sparse: bool = False, **kwargs: Any) -> Any:
        """Return the derivatives of each result with respect to the arguments. See `microgradc.jacobian`.

        Args:
            args, kwargs: the arguments of one example, numbers that can be given by place.
            sparse: whether to return a `scipy.sparse.csc_array`.

        Returns:
            The structure of the results, in each place that of the arguments: for one argument its derivatives, for
            several a tuple. For a list of m results and an array of shape (n,), float64 of shape (m, n).
        """
        args = self._arguments.by_place(args, kwargs)
        return directions.jacobian_of(self, args, directions.argnums_of(args), sparse)

    def hessian(self, *args: Any, sparse: bool = False, **kwargs: Any) -> Any:
        """Return the second derivatives of the one result. See `microgradc.hessian`.

        Args:
            args, kwargs: the arguments of one example, numbers that can be given by place.
            sparse: whether to return a `scipy.sparse.csc_array`.

        Returns:
            For an array of shape (n,), float64 of shape (n, n); for several arguments a tuple of tuples.
        """
        args = self._arguments.by_place(args, kwargs)
        return directions.hessian_of(self, args, directions.argnums_of(args), sparse)

    def hvp(self, x: Any, v: Any, *args: Any) -> Any:
        """Return the product of the Hessian with respect to x and v. See `microgradc.hvp`.

        It is what SciPy takes: `scipy.optimize.minimize(f.value_and_grad, x0, jac=True, hessp=f.hvp)`.

        Args:
            x: the first argument of one example.
            v: the same structure.
            args: further arguments, which are held fixed.

        Returns:
            The structure of x, float64.
        """
        return directions.hvp_of(self, x, v, args)

    def mean_hvp(self, v: Any, *args: Any, parameters: Iterable[Value] | None = None, **kwargs: Any) -> Any:
        """Return the product of v and the second derivatives of the mean over a batch, without their matrix.

        They are taken with respect to the shared arguments; if there are none, to the parameters. The order of
        parameters is that of `model.parameters()` where the function reaches a model; what is in no model comes behind,
        as in `f.program(…).parameters`.

        Args:
            v: the direction: for parameters a float64 array or list with a number for each, in their order; for a
                shared argument its structure, for several a tuple of them.
            args, kwargs: see `mean`.
            parameters: with respect to which ones, in this order, as `model.parameters()`; those that the function does
                not use have zeros.

        Returns:
            For parameters float64 of shape (P,); else the structure of v.

        Raises:
            ValueError: v has another shape; the function returns something other than one Value.

        >>> from microgradc import compile, nn
        >>> model = nn.MLP(2, [1], seed=0)
        >>> loss = compile(lambda x, y: (model(x) - y) ** 2)
        >>> loss.mean_hvp([1.0, 0.0, 0.0], [[1.0, 2.0], [3.0, 4.0]], [0.0, 1.0])
        array([10., 14.,  4.])
        """
        if parameters is None and not kwargs and not self._arguments.shared:
            found = latest_mean_product(self._latest, args, v)
            if found is not None:
                return found
        if is_detecting():
            return self._looked_at("mean_hvp", args, kwargs, parameters, (v,))
        batch = self._batch(args, kwargs)
        if batch[4] is not None and parameters is None:
            theta = self._shared_of(args, kwargs)
            row = np.array(directions.like(v, theta, "v"), float)
            return directions.in_structure(self._mean_product(batch, None).product(batch[1], batch[4], row), theta)
        product = self._mean_product(batch, parameters)
        row = np.array(checks.real_array(v, "v"), float)
        if row.shape != (product.count,):
            raise ValueError(f"v must have a number for each of the {product.count} parameters, got shape {row.shape}")
        return product.product(batch[1], batch[4], row)

    def mean_hessian(self, *args: Any, parameters: Iterable[Value] | None = None, **kwargs: Any) -> NDArray[np.float64]:
        """Return the second derivatives of the mean over a batch. See `mean_hvp`.

        Args:
            args, kwargs, parameters: see `mean_hvp`.

        Returns:
            float64 of shape (P, P), symmetric. Of shared arguments, rows and columns are their numbers, one after
            another.
        """
        if is_detecting():
            return self._looked_at("mean_hessian", args, kwargs, parameters)
        batch = self._batch(args, kwargs)
        return self._mean_product(batch, parameters).matrix(batch[1], batch[4])

    def map_gradients(
        self, *args: Any, parameters: Iterable[Value] | None = None, **kwargs: Any
    ) -> NDArray[np.float64]:
        """Return for each example of a batch its gradient of the parameters, or the shared arguments. See `mean_hvp`.

        Args:
            args, kwargs, parameters: see `mean_hvp`.

        Returns:
            float64 of shape (n, P).

        Raises:
            ValueError: the function returns something other than one Value.
        """
        if is_detecting():
            return self._looked_at("map_gradients", args, kwargs, parameters)
        recording, arrays, _, _, shared = batch = self._batch(args, kwargs)
        _check(batch)
        key = "gradients of each", None if parameters is None else tuple(parameters)
        known: tuple[Program, int] | None = recording.derived.get(key)
        if known is None:
            chosen = self._chosen(recording, key[1])
            count = recording.program.shared_count if chosen is None else len(chosen)
            known = recording.derived[key] = gradients_program(recording.program, chosen), count
        program, count = known
        found: np.ndarray = program.run(arrays, None, True, False, shared)[1]
        return found[:, :count]

    def _looked_at(
        self,
        name: str,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        parameters: Iterable[Value] | None,
        direction: tuple[Any, ...] = (),
    ) -> Any:
        """Return what the method of a name returns, within `detect_anomaly()`."""
        chosen = None if parameters is None else tuple(parameters)

        def find(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
            return getattr(self, name)(*direction, *args, parameters=chosen, **kwargs)

        def again(y: Value, xs: list[Value]) -> Iterable[Value]:
            if name == "map_gradients":
                return gradients(y, xs)
            return directions.product_of(y, xs, *direction) if direction else directions.second_derivatives(y, xs)

        return anomalies.derivatives_of_batch(self, args, kwargs, find, again, chosen)

    def _mean_product(self, batch: _Batch, parameters: Iterable[Value] | None) -> MeanProduct:
        recording = batch[0]
        has_indices = _check(batch)
        key = "mean product", None if parameters is None else tuple(parameters)
        product: MeanProduct | None = recording.derived.get(key)
        if product is None:
            product = recording.derived[key] = mean_product(recording.program, self._chosen(recording, key[1]))
            if key[1] is None and not has_indices:
                recording.derived["mean product"] = product      # for the short way
        return product

    def _chosen(self, recording: Recording, parameters: tuple[Value, ...] | None) -> list[Value] | None:
        """Return the parameters in their order; None for the shared inputs."""
        if parameters is not None:
            for i, p in enumerate(parameters):
                if not isinstance(p, Value):
                    raise TypeError(f"parameters[{i}] must be a Value, got {type(p).__name__} {p!r:.40}")
            return list(parameters)
        if recording.program.shared_count:
            return None
        left = {id(p): p for p in recording.program.parameters}
        of_modules = [left.pop(id(p)) for p in Reached(self._f, recording.statics).parameters() if id(p) in left]
        return [*of_modules, *left.values()]

    def _shared_of(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Return the shared argument among some arguments; several as a tuple."""
        given, names = self._arguments.given(args, kwargs)
        found = tuple([given[i] for i in sorted(self._arguments.shared_in(len(given), names))])
        return found[0] if len(found) == 1 else found


def _check(batch: _Batch) -> bool:
    """Raise what the function raises for a batch, if it does not return one Value or picks by an index; return whether
    it picks by one."""
    recording, arrays, _, _, shared = batch
    recording.require_one_output()
    if recording.has_indices():
        recording.program.run(arrays, None, False, False, shared)
    return recording.has_indices()
