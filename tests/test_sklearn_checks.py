"""The checks that scikit-learn has for estimators."""

import pytest

pytest.importorskip("sklearn", reason="is what the estimators are for")

from sklearn.utils.estimator_checks import parametrize_with_checks

from microgradc.sklearn import MLPClassifier, MLPRegressor

SMALL = {"hidden_layer_sizes": (10,), "max_iter": 40, "learning_rate_init": 0.02}


@parametrize_with_checks([MLPClassifier(**SMALL), MLPRegressor(**SMALL)])
def test_sklearn_s_own_checks(estimator, check):
    check(estimator)
