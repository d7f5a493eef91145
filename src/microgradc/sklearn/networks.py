"""`MLPClassifier` and `MLPRegressor`: scikit-learn's, with a network of microgradc's."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.metrics import accuracy_score, r2_score
from sklearn.model_selection import train_test_split
from sklearn.utils import check_random_state, column_or_1d
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import check_classification_targets, type_of_target, unique_labels
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

from microgradc import checks
from microgradc.sklearn.training import (
    ACTIVATIONS,
    Examples,
    compiled_loss,
    compiled_outputs,
    log_loss,
    make_network,
    make_optimizer,
    minimize,
    squared_error,
    train,
)
from microgradc.train.predictions import note

SOLVERS = ("adam", "sgd", "lbfgs", "adamw", "rmsprop")

# What is made anew when it is needed, and not pickled.
_MADE_ANEW = ("_loss", "_outputs")


class _Network(BaseEstimator):
    """What the two have in common."""

    n_layers_: int
    n_outputs_: int
    best_loss_: float | None
    best_validation_score_: float | None

    _loss_of_an_example: Callable[[Any, Any], Any]

    def __init__(
        self,
        hidden_layer_sizes: Any = (100,),
        activation: str = "relu",
        *,
        solver: str = "adam",
        alpha: float = 0.0001,
        batch_size: Any = "auto",
        learning_rate: str = "constant",
        learning_rate_init: float = 0.001,
        power_t: float = 0.5,
        max_iter: int = 200,
        shuffle: bool = True,
        random_state: Any = None,
        tol: float = 1e-4,
        verbose: Any = False,
        warm_start: bool = False,
        momentum: float = 0.9,
        nesterovs_momentum: bool = True,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-8,
        n_iter_no_change: int = 10,
        max_fun: int = 15000,
    ) -> None:
        self.hidden_layer_sizes = hidden_layer_sizes
        self.activation = activation
        self.solver = solver
        self.alpha = alpha
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.learning_rate_init = learning_rate_init
        self.power_t = power_t
        self.max_iter = max_iter
        self.shuffle = shuffle
        self.random_state = random_state
        self.tol = tol
        self.verbose = verbose
        self.warm_start = warm_start
        self.momentum = momentum
        self.nesterovs_momentum = nesterovs_momentum
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.beta_1 = beta_1
        self.beta_2 = beta_2
        self.epsilon = epsilon
        self.n_iter_no_change = n_iter_no_change
        self.max_fun = max_fun

    @property
    def coefs_(self) -> list[np.ndarray]:
        """The weights of each layer, of shape (inputs, outputs), copies: `model_` has the weights."""
        check_is_fitted(self)
        return [layer.T for layer in self._matrices("weight")]

    @property
    def intercepts_(self) -> list[np.ndarray]:
        """The biases of each layer, copies."""
        check_is_fitted(self)
        return self._matrices("bias")

    def _matrices(self, ending: str) -> list[np.ndarray]:
        from microgradc.nn.state import matrices_of

        return [group.read() for name, group in matrices_of(self.model_).items() if name.endswith(ending)]

    def _fit(self, X: Any, y: Any, sample_weight: Any, incremental: bool, classes: Any = None) -> Self:
        """Check everything, and train."""
        self._check_settings(incremental)
        is_first = not hasattr(self, "model_") or not (self.warm_start or incremental)
        X, y = validate_data(
            self, X, y, accept_sparse=("csr", "csc"), multi_output=True, dtype=np.float64, order="C", reset=is_first,
            y_numeric=isinstance(self, RegressorMixin),
        )
        X = X if isinstance(X, np.ndarray) else X.toarray()
        if y.ndim == 2 and y.shape[1] == 1:
            y = column_or_1d(y, warn=True)
        targets, count = self._targets(y, is_first, classes)
        weight = None if sample_weight is None else _check_sample_weight(sample_weight, X, dtype=np.float64)
        rng = check_random_state(self.random_state)
        if is_first:
            self._begin(X.shape[1], count, rng)
        if getattr(self, "_loss", None) is None:
            self._loss = compiled_loss(self.model_, self._loss_of_an_example)
        score = None
        if self.early_stopping and self.solver != "lbfgs":
            X, targets, weight, score = self._kept_apart(X, targets, weight, rng)
        size = min(200 if self.batch_size == "auto" else self.batch_size, len(X))
        if self.solver == "lbfgs":
            minimize(self, self._loss, Examples(X, targets, weight, self.alpha, len(X)))
        else:
            if not incremental or not hasattr(self, "_optimizer"):
                self._optimizer = make_optimizer(self, self.model_)
            alpha = 0.0 if self.solver == "adamw" else self.alpha      # which has it as its weight decay
            epochs = 1 if incremental else self.max_iter
            train(self, self._loss, Examples(X, targets, weight, alpha, size), score, rng, epochs)
        self.model_.eval()
        self._outputs = compiled_outputs(self.model_)
        return self

    def _begin(self, features: int, count: int, rng: Any) -> None:
        """Make a new network, and forget what was seen."""
        sizes = self.hidden_layer_sizes
        hidden = [int(size) for size in (sizes if isinstance(sizes, Iterable) else [sizes])]
        self.model_ = make_network([features, *hidden, count], self.activation, rng)
        self._loss, self._outputs = None, compiled_outputs(self.model_)
        if hasattr(self, "_optimizer"):
            del self._optimizer
        self.n_iter_ = self.t_ = self._no_improvement_count = 0
        self.n_layers_, self.n_outputs_ = len(hidden) + 2, count
        if self.solver != "lbfgs":
            self.loss_curve_: list[float] = []
            self.best_loss_ = None if self.early_stopping else np.inf
            self.validation_scores_: list[float] | None = [] if self.early_stopping else None
            self.best_validation_score_ = -np.inf if self.early_stopping else None

    def _kept_apart(
        self, X: np.ndarray, y: np.ndarray, weight: np.ndarray | None, rng: Any
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray | None, Callable[[], float]]:
        """Return the examples to train on, and a function that measures the network on the others."""
        of_classes = isinstance(self, ClassifierMixin) and y.ndim == 1
        arrays = [X, y] if weight is None else [X, y, weight]
        parts = train_test_split(
            *arrays, random_state=rng, test_size=self.validation_fraction, stratify=y if of_classes else None
        )
        X_held_out, y_held_out = parts[1], parts[3]
        if len(X_held_out) < 2:
            raise ValueError("the validation set has a single example: increase validation_fraction, or the data")
        held_out_weight = None if weight is None else parts[5]

        def score() -> float:
            return float(self._measure(y_held_out, self._predicted(self._raw(X_held_out)), held_out_weight))

        return parts[0], parts[2], None if weight is None else parts[4], score

    def _raw(self, X: np.ndarray) -> np.ndarray:
        """Return the outputs of the network, of shape (n,) for one output, else (n, nout)."""
        return self._outputs.map(X)

    def _checked_raw(self, X: Any) -> np.ndarray:
        check_is_fitted(self)
        X = validate_data(self, X, accept_sparse=("csr", "csc"), dtype=np.float64, order="C", reset=False)
        return self._raw(X if isinstance(X, np.ndarray) else X.toarray())

    def _check_settings(self, incremental: bool) -> None:
        sizes = self.hidden_layer_sizes
        for size in sizes if isinstance(sizes, Iterable) else [sizes]:
            checks.integer(size, "hidden_layer_sizes", 1)
        _one_of(self.activation, "activation", ACTIVATIONS)
        _one_of(self.solver, "solver", SOLVERS)
        _one_of(self.learning_rate, "learning_rate", ("constant", "invscaling", "adaptive"))
        if self.batch_size != "auto":
            checks.integer(self.batch_size, "batch_size", 1)
        for name in ("max_iter", "max_fun"):
            checks.integer(getattr(self, name), name, 1)
        for name in ("learning_rate_init", "epsilon"):
            checks.number(getattr(self, name), name, checks.POSITIVE)
        for name in ("alpha", "power_t", "tol"):
            checks.number(getattr(self, name), name, checks.NOT_NEGATIVE)
        checks.number(self.momentum, "momentum", checks.FROM_0_TO_1)
        checks.number(self.n_iter_no_change, "n_iter_no_change", checks.ABOVE_0)
        for name in ("validation_fraction", "beta_1", "beta_2"):
            checks.number(getattr(self, name), name, checks.BELOW_1)
        for name in ("shuffle", "warm_start", "nesterovs_momentum", "early_stopping"):
            checks.flag(getattr(self, name), name)
        if incremental and self.early_stopping:
            raise ValueError("partial_fit takes one epoch at a time, early_stopping must be False")

    # What differs.

    def _measure(self, y: np.ndarray, predictions: np.ndarray, weight: Any) -> float:
        """Return the score of predictions."""
        raise NotImplementedError

    def _targets(self, y: np.ndarray, is_first: bool, classes: Any) -> tuple[np.ndarray, int]:
        """Return the targets as the loss takes them, and the number of outputs."""
        raise NotImplementedError

    def _predicted(self, raw: np.ndarray) -> np.ndarray:
        """Return predictions as `_targets` returns targets."""
        raise NotImplementedError

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in super().__getstate__().items() if name not in _MADE_ANEW}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        if hasattr(self, "model_"):
            self._outputs = compiled_outputs(self.model_)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags


_SETTINGS = """
    Args:
        hidden_layer_sizes: the numbers of neurons of the hidden layers.
        activation: of the hidden layers: 'relu', 'tanh', 'logistic' or 'identity'.
        solver: 'adam', 'sgd', 'adamw' or 'rmsprop', which take steps over batches; or SciPy's 'lbfgs', over all data.
        alpha: the strength of the L2 penalty on the weights, which is divided by the number of examples of a batch;
            for 'adamw' its weight decay.
        batch_size: how many examples make a step; 'auto' is 200, or all if there are fewer.
        learning_rate: of 'sgd': 'constant'; 'invscaling', learning_rate_init / t ** power_t after t examples; or
            'adaptive', a fifth of what it was where the training would end.
        learning_rate_init, power_t: see learning_rate.
        max_iter: how many epochs there are at most, for 'lbfgs' iterations.
        shuffle: whether to take the examples in another order in each epoch.
        random_state: a seed or a NumPy RandomState: for the initial weights, the order and the examples kept apart.
        tol, n_iter_no_change: training ends if the loss, or with early_stopping the score, has not improved by tol for
            more than so many epochs; of 'lbfgs', tol is the largest entry of the gradient at the end.
        verbose: whether to print the loss of each epoch.
        warm_start: whether `fit` goes on from where it ended before.
        momentum, nesterovs_momentum: of 'sgd'.
        early_stopping, validation_fraction: whether to keep this share of the examples apart, and to end by the score
            on them; the best weights are restored.
        beta_1, beta_2, epsilon: of 'adam' and 'adamw'; epsilon of 'rmsprop' too.
        max_fun: how often 'lbfgs' computes the loss at most.
"""


class MLPClassifier(ClassifierMixin, _Network):
    __doc__ = f"""A classifier: a multi-layer perceptron with the names and defaults of `sklearn.neural_network`'s.

    The initial weights, the order of examples, the loss and the rules that end a training are scikit-learn's, so with
    the same random_state both learn the same, but for rounding and the place of Adam's epsilon. No ConvergenceWarning
    is given: n_iter_ == max_iter says it.
{_SETTINGS}
    Attributes:
        classes_: the labels of the classes.
        model_: the network, a `microgradc.MLP`, which predicts these classes too; `model_.save(path)` writes it to a
            file.
        n_features_in_, feature_names_in_: of the examples; the names if these were a frame.
        loss_curve_, loss_, best_loss_: the loss of each epoch, the last and the best.
        n_iter_, t_: how many epochs were taken, and how many examples were seen.
        validation_scores_, best_validation_score_: with early_stopping, after each epoch; else None.
        coefs_, intercepts_, n_layers_, n_outputs_, out_activation_: what the network is made of.

    >>> from microgradc import make_moons
    >>> X, y = make_moons(200, noise=0.1, random_state=0)
    >>> MLPClassifier([16, 16], learning_rate_init=0.01, random_state=0).fit(X, y).score(X, y) > 0.95
    True
    """

    _loss_of_an_example = staticmethod(log_loss)

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Train on examples.

        Args:
            X: numbers of shape (n, n_features): an array, a frame, a sparse matrix.
            y: a label for each example, or 0 or 1 for each of several labels, shape (n, n_labels).
            sample_weight: how much each example counts; None for all the same.

        Returns:
            The classifier.

        Raises:
            ValueError, TypeError: the data or a setting is not as it must be, or the training diverged.
        """
        return self._fit(X, y, sample_weight, incremental=False)

    @available_if(lambda self: self.solver != "lbfgs")     # which takes all data at once
    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None, classes: Any = None) -> Self:
        """Train for one epoch, from where it ended before.

        Args:
            X, y, sample_weight: as for `fit`.
            classes: all labels that there will be; needed at the first call.

        Returns:
            The classifier.

        Raises:
            ValueError, TypeError: as for `fit`; classes are missing, or others than before.
        """
        if not hasattr(self, "classes_") and classes is None:
            raise ValueError("classes must be given at the first call of partial_fit: all labels that there will be")
        known = getattr(self, "classes_", None)
        if known is not None and classes is not None and not np.array_equal(known, unique_labels(classes)):
            raise ValueError(f"classes must be those of the first call, {known!r:.80}, got {classes!r:.80}")
        return self._fit(X, y, sample_weight, incremental=True, classes=classes)

    def predict(self, X: Any) -> np.ndarray:
        """Return the label of each example; for several labels, 0 or 1 for each."""
        found = self._predicted(self._checked_raw(X))
        return found if self._is_multilabel else self.classes_[found]

    def predict_proba(self, X: Any) -> np.ndarray:
        """Return the probability of each class for each example, shape (n, n_classes)."""
        return np.exp(self._log_proba(self._checked_raw(X)))

    def predict_log_proba(self, X: Any) -> np.ndarray:
        """Return the logarithms of the probabilities, exact for small ones too."""
        return self._log_proba(self._checked_raw(X))

    def _log_proba(self, raw: np.ndarray) -> np.ndarray:
        if self._is_multilabel:
            return -np.logaddexp(0, -raw.reshape(len(raw), -1))
        if raw.ndim == 2:
            return raw - np.logaddexp.reduce(raw, axis=1, keepdims=True)
        if len(self.classes_) == 1:
            return np.zeros((len(raw), 1))
        return -np.logaddexp(0, np.column_stack([raw, -raw]))

    def _targets(self, y: np.ndarray, is_first: bool, classes: Any) -> tuple[np.ndarray, int]:
        check_classification_targets(y)
        is_multilabel = type_of_target(y).startswith("multilabel")
        if is_first:
            self._is_multilabel = is_multilabel
            self.classes_ = unique_labels(y if classes is None or is_multilabel else classes)
            self.out_activation_ = "softmax" if len(self.classes_) > 2 and not is_multilabel else "logistic"
        elif is_multilabel != self._is_multilabel or (
            is_multilabel and y.shape[1] != len(self.classes_)
        ) or len(np.setdiff1d(unique_labels(y), self.classes_)):
            found = unique_labels(y)
            raise ValueError(f"y must have the classes of the first fit, {self.classes_!r:.80}, got {found!r:.80}")
        count = len(self.classes_)
        if self._is_multilabel:
            return np.ascontiguousarray(y, float)[:, 0] if count == 1 else np.ascontiguousarray(y, float), count
        found = np.searchsorted(self.classes_, y)
        return found.astype(np.int64 if count > 2 else float), count if count > 2 else 1

    def _begin(self, features: int, count: int, rng: Any) -> None:
        super()._begin(features, count, rng)
        loss = "cross_entropy" if self.out_activation_ == "softmax" else "binary_cross_entropy_with_logits"
        note(self.model_, None if self._is_multilabel else self.classes_, loss, several=self._is_multilabel)

    def _measure(self, y: np.ndarray, predictions: np.ndarray, weight: Any) -> float:
        return accuracy_score(y, predictions, sample_weight=weight)

    def _predicted(self, raw: np.ndarray) -> np.ndarray:
        if raw.ndim == 2 and not self._is_multilabel:
            return raw.argmax(axis=1)
        found = (raw > 0).astype(np.int64)
        if self._is_multilabel:
            return found.reshape(len(raw), -1)
        return np.minimum(found, len(self.classes_) - 1)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags


class MLPRegressor(RegressorMixin, _Network):
    __doc__ = f"""A regressor: a multi-layer perceptron with the names and defaults of `sklearn.neural_network`'s.

    It minimizes half of the squared error. See `MLPClassifier` for what it has in common with scikit-learn's.
{_SETTINGS}
    Attributes:
        model_: the network, a `microgradc.MLP`; `model_.save(path)` writes it to a file.
        n_features_in_, feature_names_in_, loss_curve_, loss_, best_loss_, n_iter_, t_, validation_scores_,
            best_validation_score_, coefs_, intercepts_, n_layers_, n_outputs_, out_activation_: see `MLPClassifier`.

    >>> import numpy as np
    >>> X = np.linspace(-1, 1, 50)[:, None]
    >>> MLPRegressor([16], "tanh", solver="lbfgs", random_state=0).fit(X, X[:, 0] ** 2).score(X, X[:, 0] ** 2) > 0.99
    True
    """

    _loss_of_an_example = staticmethod(squared_error)

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Train on examples.

        Args:
            X: numbers of shape (n, n_features): an array, a frame, a sparse matrix.
            y: a number for each example, or several, shape (n, n_outputs).
            sample_weight: how much each example counts; None for all the same.

        Returns:
            The regressor.

        Raises:
            ValueError, TypeError: the data or a setting is not as it must be, or the training diverged.
        """
        return self._fit(X, y, sample_weight, incremental=False)

    @available_if(lambda self: self.solver != "lbfgs")     # which takes all data at once
    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Train for one epoch, from where it ended before. See `fit`."""
        return self._fit(X, y, sample_weight, incremental=True)

    def predict(self, X: Any) -> np.ndarray:
        """Return a number for each example, or several as in y."""
        return self._checked_raw(X)

    def _targets(self, y: np.ndarray, is_first: bool, classes: Any) -> tuple[np.ndarray, int]:
        count = 1 if y.ndim == 1 else y.shape[1]
        if not is_first and count != self.n_outputs_:
            raise ValueError(f"y must have {self.n_outputs_} numbers for each example as at the first fit, got {count}")
        self.out_activation_ = "identity"
        return np.ascontiguousarray(y, float), count

    def _measure(self, y: np.ndarray, predictions: np.ndarray, weight: Any) -> float:
        return r2_score(y, predictions, sample_weight=weight)

    def _predicted(self, raw: np.ndarray) -> np.ndarray:
        return raw


def _one_of(value: Any, name: str, known: Iterable[str]) -> None:
    if not isinstance(value, str) or value not in known:
        raise ValueError(f"{name} must be one of {', '.join(known)}, got {value!r:.60}")
