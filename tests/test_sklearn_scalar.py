"""`ScalarRegressor`: any scalar function of parameters and inputs, in scikit-learn's tools."""

import pickle

import numpy as np
import pytest

pytest.importorskip("sklearn", reason="is what the estimator is for")

from sklearn.base import clone
from sklearn.linear_model import Ridge
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from microgradc import Value, exp, log, sin
from microgradc.sklearn import ScalarRegressor


def decay(theta, x):
    return theta[0] * exp(-theta[1] * x[0]) + theta[2]


def line(theta, x):
    return theta[0] + theta[1] * x[0] + theta[2] * x[1]


def data(noise=0.0, n=60):
    rng = np.random.default_rng(0)
    t = rng.uniform(0, 4, (n, 1))
    return t, 3 * np.exp(-0.7 * t[:, 0]) + 0.5 + noise * rng.normal(size=n)


def test_parameters_are_found():
    X, y = data()
    model = ScalarRegressor(decay, [1.0, 1.0, 0.0])
    assert model.fit(X, y) is model
    np.testing.assert_allclose(model.theta_, [3, 0.7, 0.5], rtol=1e-6)
    assert model.loss_ < 1e-12
    assert model.n_iter_ > 1
    assert model.n_features_in_ == 1
    np.testing.assert_allclose(model.predict(X), y, rtol=1e-6)
    assert model.score(X, y) > 0.999999


def test_they_are_scipy_s():
    optimize = pytest.importorskip("scipy.optimize")
    X, y = data(0.1)
    weight = np.random.default_rng(1).uniform(0.5, 2, len(y))
    expected, _ = optimize.curve_fit(
        lambda t, a, b, c: a * np.exp(-b * t) + c, X[:, 0], y, p0=[1, 1, 0], sigma=weight**-0.5
    )
    found = ScalarRegressor(decay, [1.0, 1.0, 0.0]).fit(X, y, weight).theta_
    np.testing.assert_allclose(found, expected, rtol=1e-4)
    with pytest.raises(AssertionError):
        np.testing.assert_allclose(ScalarRegressor(decay, [1.0, 1.0, 0.0]).fit(X, y).theta_, expected, rtol=1e-4)


def test_a_penalty_is_ridge_s():
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(50, 2)), rng.normal(size=50)
    found = ScalarRegressor(lambda w, x: w[0] * x[0] + w[1] * x[1], np.zeros(2), alpha=0.4).fit(X, y).theta_
    np.testing.assert_allclose(found, Ridge(0.2 * 50, fit_intercept=False).fit(X, y).coef_, rtol=1e-5)


def test_losses_that_outliers_do_not_move():
    X, y = data()
    y[:5] += 100
    plain = ScalarRegressor(decay, [1.0, 1.0, 0.0]).fit(X, y)
    assert abs(plain.theta_[2] - 0.5) > 1
    for loss in ("huber", lambda p, t: ((p - t) ** 2 + 0.01) ** 0.5):
        found = ScalarRegressor(decay, [1.0, 1.0, 0.0], loss=loss).fit(X, y).theta_
        np.testing.assert_allclose(found, [3, 0.7, 0.5], rtol=0.5)
    assert ScalarRegressor(decay, [3.0, 0.7, 0.4], loss="absolute_error").fit(X, y).loss_ < plain.loss_


@pytest.mark.parametrize(
    ("f", "theta0"),
    [
        (lambda a, x: a * x[0], 1.0),
        (lambda a, x: a[0][0] * x[0] + a[1][0], [[0.0], [0.0]]),
        (lambda a, x: a[0] * x[0], np.array([1], np.float32)),
    ],
)
def test_parameters_of_all_shapes(f, theta0):
    X = np.linspace(-1, 1, 20)[:, None]
    model = ScalarRegressor(f, theta0).fit(X, 2 * X[:, 0])
    assert model.theta_.shape == np.shape(theta0)
    assert model.theta_.ravel()[0] == pytest.approx(2)
    np.testing.assert_allclose(model.predict(X), 2 * X[:, 0], atol=1e-6)


def branches(theta, x):
    """A function that looks at its numbers, which cannot be compiled."""
    return theta[0] * x[0] if float(x[0].data if isinstance(x[0], Value) else x[0]) > 0 else theta[1] * x[0]


def test_a_function_that_cannot_be_compiled():
    X = np.linspace(-1, 1, 20)[:, None]
    y = np.where(X[:, 0] > 0, 2 * X[:, 0], -3 * X[:, 0])
    model = ScalarRegressor(branches, [0.0, 0.0]).fit(X, y)
    np.testing.assert_allclose(model.theta_, [2, -3], rtol=1e-5)
    np.testing.assert_allclose(model.predict(X), y, atol=1e-5)


def test_bounds():
    X, y = data()
    model = ScalarRegressor(decay, [1.0, 1.0, 0.0], bounds=[(0, 2), (None, None), (0, None)]).fit(X, y)
    assert model.theta_[0] == pytest.approx(2)


def test_in_scikit_learn_s_tools():
    X, y = data(0.05)
    model = ScalarRegressor(decay, [1.0, 1.0, 0.0])
    assert cross_val_score(model, X, y, cv=3).mean() > 0.9
    search = GridSearchCV(model, {"alpha": [0.0, 1.0], "theta0": [[1.0, 1.0, 0.0]]}, cv=2, n_jobs=2).fit(X, y)
    assert search.best_params_["alpha"] == 0.0
    assert clone(search.best_estimator_).get_params() == search.best_estimator_.get_params()
    for other in (pickle.loads(pickle.dumps(search.best_estimator_)), pickle.loads(pickle.dumps(model))):
        assert other.fit(X, y).predict(X).tolist() == model.fit(X, y).predict(X).tolist()
    X2 = np.column_stack([X, X**2])
    scaled = make_pipeline(StandardScaler(), ScalarRegressor(line, np.zeros(3))).fit(X2, y)
    assert scaled.score(X2, y) > 0.9


def test_frames():
    pd = pytest.importorskip("pandas", reason="makes the frames")
    X, y = data()
    frame = pd.DataFrame({"t": X[:, 0]}, index=range(7, 67))
    model = ScalarRegressor(decay, [1.0, 1.0, 0.0]).fit(frame, pd.Series(y, index=range(60)))
    assert model.feature_names_in_.tolist() == ["t"]
    np.testing.assert_allclose(model.theta_, [3, 0.7, 0.5], rtol=1e-6)


@pytest.mark.parametrize(
    ("arguments", "error", "match"),
    [
        ({"f": "decay"}, TypeError, r"f must be a function f\(theta, x\)"),
        ({"theta0": []}, ValueError, "theta0 must have a finite number"),
        ({"theta0": [np.nan, 1.0, 1.0]}, ValueError, "theta0 must have a finite number"),
        ({"theta0": ["a"]}, TypeError, "theta0 must be real numbers"),
        ({"loss": "hinge"}, ValueError, "loss must be one of squared_error, absolute_error, huber"),
        ({"alpha": -1.0}, ValueError, "alpha must be at least 0"),
        ({"f": lambda theta, x: [theta[0]]}, TypeError, "f must return one number, got list"),
        ({"max_iter": 0}, ValueError, "max_iter must be a positive integer"),
        ({"f": lambda theta, x: log(theta[0] - 2)}, ValueError, "the loss became nan: f, or loss, must be finite at"),
    ],
)
def test_what_is_wrong(arguments, error, match):
    X, y = data()
    with pytest.raises(error, match=match):
        ScalarRegressor(**{"f": decay, "theta0": [1.0, 1.0, 0.0]} | arguments).fit(X, y)


def test_a_wave():
    X = np.linspace(0, 6, 80)[:, None]
    model = ScalarRegressor(lambda a, x: a[0] * sin(a[1] * x[0]), [1.0, 1.1]).fit(X, 2 * np.sin(1.3 * X[:, 0]))
    np.testing.assert_allclose(model.theta_, [2, 1.3], rtol=1e-5)
