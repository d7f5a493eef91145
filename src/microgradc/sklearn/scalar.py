"""`ScalarRegressor`: the parameters of any scalar function, fitted to data."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

import microgradc
from microgradc import checks
from microgradc.engine import CompileError
from microgradc.engine.value import plain_number

LOSSES: dict[str, Callable[[Any, Any], Any]] = {
    "squared_error": lambda prediction, target: (prediction - target) ** 2,
    "absolute_error": lambda prediction, target: abs(prediction - target),
    "huber": lambda prediction, target: microgradc.huber_loss([prediction], [target]),
}


class ScalarRegressor(RegressorMixin, BaseEstimator):
    """Any scalar function of parameters and inputs as a regressor: its parameters are fitted by SciPy's L-BFGS.

    The function is compiled (`microgradc.compile`), with exact derivatives. One that cannot be, since it looks at its
    numbers, is called for each example.

    Args:
        f: a function f(theta, x) that returns the prediction for one example: theta is what theta0 is, with Values in
            it, and x the list of the example's inputs.
        theta0: where to begin: numbers, a number, a list or an array of them.
        loss: 'squared_error', 'absolute_error', 'huber', or a function of a prediction and a target.
        alpha: the strength of an L2 penalty on the parameters: alpha / 2 times the sum of their squares is added to the
            mean loss.
        bounds: a pair (lowest, highest) for each parameter, None for none; see `scipy.optimize.minimize`.
        max_iter: how many iterations there are at most.
        tol: the largest entry of the gradient at the end.

    Attributes:
        theta_: the parameters that were found, of theta0's shape.
        loss_: the mean loss with them, and the penalty.
        n_iter_: how many iterations it took.
        n_features_in_, feature_names_in_: of the examples; the names if these were a frame.

    >>> import numpy as np
    >>> from microgradc import exp
    >>> def decay(theta, x):
    ...     return theta[0] * exp(-theta[1] * x[0])
    >>> t = np.linspace(0, 4, 30)[:, None]
    >>> model = ScalarRegressor(decay, [1.0, 1.0]).fit(t, 3 * np.exp(-0.5 * t[:, 0]))
    >>> model.theta_.round(4).tolist()
    [3.0, 0.5]
    """

    loss_: float
    n_iter_: int

    def __init__(
        self,
        f: Any,
        theta0: Any,
        *,
        loss: Any = "squared_error",
        alpha: float = 0.0,
        bounds: Any = None,
        max_iter: int = 1000,
        tol: float = 1e-8,
    ) -> None:
        self.f = f
        self.theta0 = theta0
        self.loss = loss
        self.alpha = alpha
        self.bounds = bounds
        self.max_iter = max_iter
        self.tol = tol

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Find the parameters with the least mean loss, next to theta0.

        Args:
            X: numbers of shape (n, n_features), an array or a frame.
            y: a number for each example.
            sample_weight: how much each example counts; None for all the same.

        Returns:
            The regressor.

        Raises:
            ValueError, TypeError: the data or a setting is not as it must be, f does not return one number, or the loss
                became inf or nan.
        """
        from scipy.optimize import minimize

        theta0 = self._check_settings()
        X, y = validate_data(self, X, y, dtype=np.float64, order="C", y_numeric=True)
        y = np.ascontiguousarray(y, float)
        weight = np.ones(len(X))
        if sample_weight is not None:
            weight = _check_sample_weight(sample_weight, X, dtype=np.float64)
            weight = weight * (len(X) / weight.sum())
        loss = LOSSES[self.loss] if isinstance(self.loss, str) else self.loss
        mean = _mean_loss(self.f, loss, theta0, (X, y, weight))

        def value_and_grad(theta: np.ndarray) -> tuple[float, np.ndarray]:
            value, gradient = mean(theta.reshape(theta0.shape))
            return value + 0.5 * self.alpha * float(theta @ theta), np.ravel(gradient) + self.alpha * theta

        options = {"maxiter": self.max_iter, "gtol": self.tol, "ftol": 1e-15}
        found = minimize(
            value_and_grad, theta0.ravel(), method="L-BFGS-B", jac=True, bounds=self.bounds, options=options
        )
        if not np.isfinite(found.fun):
            raise ValueError(f"the loss became {found.fun}: f, or loss, must be finite at theta0 and near it")
        self.theta_ = found.x.reshape(theta0.shape)
        self.loss_, self.n_iter_ = float(found.fun), int(found.nit)
        self._outputs = _compiled_outputs(self.f)
        return self

    def predict(self, X: Any) -> np.ndarray:
        """Return f of the parameters that were found and each example, float64 of shape (n,)."""
        check_is_fitted(self)
        X = validate_data(self, X, dtype=np.float64, order="C", reset=False)
        theta = self.theta_.tolist()
        try:
            return self._outputs.map(theta, X)
        except CompileError:
            with microgradc.no_grad():
                return np.array([plain_number(_one(self.f(theta, x))) for x in X.tolist()])

    def _check_settings(self) -> np.ndarray:
        """Return theta0 as an array."""
        if not callable(self.f):
            raise TypeError(f"f must be a function f(theta, x), got {self.f!r:.60}")
        if not callable(self.loss) and self.loss not in LOSSES:
            raise ValueError(f"loss must be one of {', '.join(LOSSES)}, or a function, got {self.loss!r:.60}")
        checks.number(self.alpha, "alpha", checks.NOT_NEGATIVE)
        checks.number(self.tol, "tol", checks.NOT_NEGATIVE)
        checks.integer(self.max_iter, "max_iter", 1)
        theta0 = checks.real_array(self.theta0, "theta0").astype(float)
        if theta0.size == 0 or not np.isfinite(theta0).all():
            raise ValueError(f"theta0 must have a finite number for each parameter, got {self.theta0!r:.60}")
        return theta0

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in super().__getstate__().items() if name != "_outputs"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        if hasattr(self, "theta_"):
            self._outputs = _compiled_outputs(self.f)


Mean = Callable[[np.ndarray], tuple[float, Any]]


def _compiled_outputs(f: Any) -> Any:
    return microgradc.compile(lambda theta, x: _one(f(theta, x)), shared=("theta",))


def _mean_loss(f: Any, loss: Any, theta0: np.ndarray, data: tuple[np.ndarray, ...]) -> Mean:
    """Return the function of the parameters that is minimized, and its gradient."""

    def example(theta: Any, x: Any, y: Any, weight: Any) -> Any:
        return weight * loss(_one(f(theta, x)), y)

    compiled = microgradc.compile(example, shared=("theta",))

    def fast(theta: np.ndarray) -> tuple[float, Any]:
        return compiled.mean_value_and_grad(theta.tolist(), *data)

    def slow(theta: np.ndarray) -> tuple[float, Any]:
        values = microgradc.array(theta)
        rows = zip(*(array.tolist() for array in data), strict=True)
        total = microgradc.mean([example(values.tolist(), *row) for row in rows])
        total.backward()
        return total.data, microgradc.grads(values)

    try:
        fast(theta0)
    except CompileError:
        return slow
    return fast


def _one(prediction: Any) -> Any:
    """Return a prediction, which must be one number."""
    if isinstance(prediction, (list, tuple, np.ndarray)):
        raise TypeError(f"f must return one number, got {type(prediction).__name__} {prediction!r:.40}")
    return prediction
