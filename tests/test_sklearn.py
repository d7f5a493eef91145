"""The estimators next to scikit-learn's own, and in its tools."""

import copy
import pickle
import subprocess
import sys
import warnings

import numpy as np
import pytest

pytest.importorskip("sklearn", reason="is what the estimators are for")

from sklearn import datasets, neural_network
from sklearn.base import clone
from sklearn.compose import TransformedTargetRegressor
from sklearn.exceptions import ConvergenceWarning, DataConversionWarning, NotFittedError
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import microgradc
from microgradc.sklearn import MLPClassifier, MLPRegressor

theirs = {MLPClassifier: neural_network.MLPClassifier, MLPRegressor: neural_network.MLPRegressor}


def load(name):
    X, y = getattr(datasets, f"load_{name}")(return_X_y=True)
    return StandardScaler().fit_transform(X), (y - y.mean()) / y.std() if name == "diabetes" else y


def both(kind, X, y, sample_weight=None, **settings):
    """Return an estimator of ours and one of theirs, fitted to the same."""
    settings = {"random_state": 0, "max_iter": 20, "hidden_layer_sizes": (12,)} | settings
    fitted = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        for one in (kind, theirs[kind]):
            fitted.append(one(**settings).fit(X, y, sample_weight))
    return fitted


def test_names_and_defaults_are_scikit_learn_s():
    for ours, other in theirs.items():
        settings, expected = ours().get_params(), other().get_params()
        expected.pop("loss", None)
        assert settings == expected
        assert list(settings) == list(expected)


@pytest.mark.parametrize("name", ["iris", "wine", "breast_cancer", "digits", "diabetes"])
def test_scores_are_those_of_scikit_learn(name):
    X, y = load(name)
    kind = MLPRegressor if name == "diabetes" else MLPClassifier
    ours, other = both(kind, X[::2], y[::2], hidden_layer_sizes=(20,), learning_rate_init=0.01, max_iter=30)
    assert abs(ours.score(X[1::2], y[1::2]) - other.score(X[1::2], y[1::2])) <= 0.01
    assert ours.score(X[1::2], y[1::2]) > (0.3 if name == "diabetes" else 0.9)


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"momentum": 0.0},
        {"nesterovs_momentum": False, "batch_size": 7},
        {"learning_rate": "invscaling", "alpha": 0.1},
        {"learning_rate": "adaptive", "tol": 0.05, "n_iter_no_change": 2, "max_iter": 60},
        {"activation": "tanh", "hidden_layer_sizes": (5, 4), "shuffle": False},
        {"activation": "logistic", "alpha": 0.0},
        {"activation": "identity"},
        {"early_stopping": True, "validation_fraction": 0.2, "n_iter_no_change": 3, "max_iter": 40},
        {"n_iter_no_change": 1, "tol": 0.01, "max_iter": 100},
    ],
)
@pytest.mark.parametrize("name", ["iris", "breast_cancer", "diabetes"])
def test_the_same_training_as_scikit_learn_s(name, settings):
    """With SGD, each loss is the same but for rounding: initial weights, order, penalty, steps and when it ends."""
    X, y = load(name)
    X, y = X[::3], y[::3]
    if settings.get("early_stopping"):
        y = np.minimum(y, 1) if name == "iris" else y     # theirs is stratified for two classes only
    kind = MLPRegressor if name == "diabetes" else MLPClassifier
    ours, other = both(kind, X, y, **{"solver": "sgd", "learning_rate_init": 0.02, "batch_size": 16} | settings)
    np.testing.assert_allclose(ours.loss_curve_, other.loss_curve_, rtol=1e-9, atol=1e-12)
    for attribute in ("n_iter_", "t_", "n_layers_", "n_outputs_", "out_activation_", "n_features_in_"):
        assert getattr(ours, attribute) == getattr(other, attribute), attribute
    for attribute in ("best_loss_", "best_validation_score_", "validation_scores_", "loss_"):
        expected = getattr(other, attribute)
        assert getattr(ours, attribute) == (expected if expected is None else pytest.approx(expected, rel=1e-9))
    for ending in ("coefs_", "intercepts_"):
        for a, b in zip(getattr(ours, ending), getattr(other, ending), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-7, atol=1e-9)
    np.testing.assert_allclose(ours.predict(X), other.predict(X), rtol=1e-7, atol=1e-9)
    if kind is MLPClassifier:
        np.testing.assert_allclose(ours.predict_proba(X), other.predict_proba(X), rtol=1e-7, atol=1e-9)
        expected = other.predict_log_proba(X)
        exact = expected > -10       # theirs is log(1 - p)
        np.testing.assert_allclose(ours.predict_log_proba(X)[exact], expected[exact], rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("name", ["iris", "breast_cancer", "diabetes"])
@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_other_solvers_that_scikit_learn_has(name, solver):
    """Adam's epsilon is added before the correction of its bias there, and after it here, as in PyTorch."""
    X, y = load(name)
    ours, other = both(MLPRegressor if name == "diabetes" else MLPClassifier, X, y, solver=solver)
    assert ours.loss_ == pytest.approx(other.loss_, rel=1e-4)
    if solver == "adam":
        np.testing.assert_allclose(ours.loss_curve_, other.loss_curve_, rtol=1e-4)
    else:
        assert not hasattr(ours, "loss_curve_")
    assert ours.score(X, y) == pytest.approx(other.score(X, y), abs=0.01)


@pytest.mark.parametrize("solver", ["adamw", "rmsprop"])
def test_solvers_that_it_has_not(solver):
    X, y = load("iris")
    model = MLPClassifier((10,), solver=solver, learning_rate_init=0.01, random_state=0).fit(X, y)
    assert model.score(X, y) > 0.95


@pytest.mark.parametrize("kind", [MLPClassifier, MLPRegressor])
@pytest.mark.parametrize("solver", ["sgd", "lbfgs"])
def test_sample_weights(kind, solver):
    X, y = load("iris")
    weight = np.random.default_rng(0).uniform(0, 2, len(y))
    weight[:5] = 0
    settings = {"solver": solver, "batch_size": 40, "max_iter": 10, "alpha": 0.1}
    ours, other = both(kind, X, y, weight, **settings)
    assert ours.loss_ == pytest.approx(other.loss_, rel=1e-9)
    assert ours.loss_ != pytest.approx(kind((12,), random_state=0, **settings).fit(X, y).loss_, rel=1e-3)
    ours, other = both(kind, X, y, weight, early_stopping=True, **settings)
    np.testing.assert_allclose(ours.predict(X), other.predict(X), rtol=1e-9)


def test_several_outputs():
    X, _ = load("wine")
    Y = np.column_stack([X[:, 0], X[:, 1] ** 2])
    ours, other = both(MLPRegressor, X[:, 2:], Y, solver="sgd", learning_rate_init=0.01, alpha=0.1)
    np.testing.assert_allclose(ours.loss_curve_, other.loss_curve_, rtol=1e-9)
    np.testing.assert_allclose(ours.predict(X[:, 2:]), other.predict(X[:, 2:]), rtol=1e-7)
    assert ours.predict(X[:3, 2:]).shape == (3, 2)


def test_several_labels():
    X, Y = datasets.make_multilabel_classification(60, 6, n_classes=4, random_state=0)
    X = StandardScaler().fit_transform(X)
    ours, other = both(MLPClassifier, X, Y, solver="sgd", learning_rate_init=0.05)
    np.testing.assert_allclose(ours.loss_curve_, other.loss_curve_, rtol=1e-9)
    assert ours.predict(X).tolist() == other.predict(X).tolist()
    np.testing.assert_allclose(ours.predict_proba(X), other.predict_proba(X), rtol=1e-7)
    assert ours.classes_.tolist() == other.classes_.tolist()
    assert ours.model_.predict(X).tolist() == ours.predict(X).tolist()
    np.testing.assert_allclose(ours.model_.predict_proba(X), ours.predict_proba(X))


@pytest.mark.parametrize(
    "labels", [["no", "yes"], ["a", "b", "c"], [1, 2, 5], [-1, 1], [1.0, 2.0], [True, False], ["only"]]
)
def test_labels_of_all_kinds(labels):
    X, y = load("iris")
    y = np.array(labels)[y % len(labels)]
    model = MLPClassifier((8,), max_iter=60, learning_rate_init=0.02, random_state=0).fit(X, y)
    assert model.classes_.tolist() == sorted(labels)
    assert model.model_.classes_ is model.classes_
    found = model.predict(X)
    assert found.dtype == y.dtype
    assert np.mean(found == y) > 0.5
    p = model.predict_proba(X)
    assert p.shape == (len(X), len(labels))
    np.testing.assert_allclose(p.sum(axis=1), 1)
    assert (model.classes_[p.argmax(axis=1)] == found).all()


def test_its_network_is_ours(tmp_path):
    X, y = load("iris")
    names = np.array(["setosa", "versicolor", "virginica"])
    model = MLPClassifier((8, 4), max_iter=5, random_state=0).fit(X, names[y])
    assert isinstance(model.model_, microgradc.MLP)
    assert not model.model_.training
    logits = microgradc.outputs(model.model_, X[:5])
    np.testing.assert_allclose(np.exp(logits) / np.exp(logits).sum(axis=1)[:, None], model.predict_proba(X[:5]))
    model.model_.save(tmp_path / "iris.safetensors")
    kept = microgradc.load_model(tmp_path / "iris.safetensors")
    assert kept.classes_.tolist() == names.tolist()
    assert microgradc.outputs(kept, X[:5]).tolist() == logits.tolist()
    np.testing.assert_allclose(kept.predict_proba(X), model.predict_proba(X))
    assert kept.predict(X).tolist() == model.predict(X).tolist()
    layer = model.model_.layers[0]
    assert model.coefs_[0][:, 2].tolist() == [w.data for w in layer.neurons[2].w]


@pytest.mark.parametrize("solver", ["sgd", "adam"])
def test_partial_fit(solver):
    X, y = load("iris")
    ours = MLPClassifier((8,), solver=solver, random_state=0)
    other = neural_network.MLPClassifier((8,), solver=solver, random_state=0)
    for _ in range(5):
        ours.partial_fit(X[::2], y[::2], classes=[0, 1, 2])
        other.partial_fit(X[::2], y[::2], classes=[0, 1, 2])
    ours = pickle.loads(pickle.dumps(ours))        # its optimizer goes on
    ours.partial_fit(X[:40], y[:40])               # not all classes
    other.partial_fit(X[:40], y[:40])
    np.testing.assert_allclose(ours.loss_curve_, other.loss_curve_, rtol=1e-5)
    np.testing.assert_allclose(ours.predict_proba(X), other.predict_proba(X), rtol=1e-4, atol=1e-6)
    with pytest.raises(ValueError, match="classes must be those of the first call"):
        ours.partial_fit(X, y, classes=[0, 1])
    with pytest.raises(ValueError, match="y must have the classes of the first fit"):
        ours.partial_fit(X, y + 1)
    with pytest.raises(ValueError, match="classes must be given"):
        MLPClassifier().partial_fit(X, y)
    assert not hasattr(MLPRegressor(solver="lbfgs"), "partial_fit")
    with pytest.raises(ValueError, match="early_stopping"):
        MLPRegressor(early_stopping=True).partial_fit(X, y)


def test_warm_start():
    X, y = load("iris")
    settings = {"warm_start": True, "max_iter": 5, "random_state": 0, "solver": "sgd", "hidden_layer_sizes": (6,)}
    ours, other = both(MLPClassifier, X, y, **settings)
    network = ours.model_
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        ours.fit(X, y)
        other.fit(X, y)
    assert ours.model_ is network
    assert len(ours.loss_curve_) == 10
    np.testing.assert_allclose(ours.loss_curve_, other.loss_curve_, rtol=1e-9)
    with pytest.raises(ValueError, match="y must have the classes of the first fit"):
        ours.fit(X, y + 1)
    ours.set_params(warm_start=False).fit(X, y + 1)
    assert ours.model_ is not network
    assert len(ours.loss_curve_) == 5


def test_in_scikit_learn_s_tools():
    X, y = load("iris")
    model = make_pipeline(StandardScaler(), MLPClassifier((6,), max_iter=30, learning_rate_init=0.05, random_state=0))
    assert cross_val_score(model, X, y, cv=3).mean() > 0.9
    search = GridSearchCV(model, {"mlpclassifier__alpha": [1e-4, 1e-2]}, cv=2, n_jobs=2).fit(X, y)
    assert search.best_score_ > 0.9
    assert search.best_estimator_[-1].loss_curve_
    copied = clone(model[-1])
    assert copied.get_params() == model[-1].get_params()
    assert not hasattr(copied, "model_")
    of_logs = TransformedTargetRegressor(MLPRegressor((6,), solver="lbfgs", random_state=0), func=np.log1p,
                                         inverse_func=np.expm1)
    assert of_logs.fit(X[:, :3], X[:, 3] + 2).score(X[:, :3], X[:, 3] + 2) > 0.9


def test_copies_and_pickles():
    X, y = load("iris")
    model = MLPClassifier((6,), max_iter=5, random_state=0).fit(X, y)
    for other in (pickle.loads(pickle.dumps(model)), copy.deepcopy(model)):
        assert other.predict_proba(X).tolist() == model.predict_proba(X).tolist()
        assert other.fit(X, y).loss_curve_ == model.loss_curve_
    assert len(pickle.dumps(model)) < 60_000


def test_frames():
    pd = pytest.importorskip("pandas", reason="makes the frames")
    X, y = load("iris")
    frame = pd.DataFrame(X, columns=["a", "b", "c", "d"], index=range(500, 500 + len(X)))
    labels = pd.Series(pd.Categorical(np.array(["x", "y", "z"])[y]), index=frame.index)
    model = make_pipeline(StandardScaler(), MLPClassifier((6,), max_iter=30, random_state=0))
    model.set_output(transform="pandas").fit(frame, labels)
    assert model[-1].feature_names_in_.tolist() == ["a", "b", "c", "d"]
    assert set(model.predict(frame)) <= {"x", "y", "z"}
    assert model[:-1].transform(frame).columns.tolist() == ["a", "b", "c", "d"]
    with pytest.raises(ValueError, match="feature names"):
        model[-1].predict(frame[["b", "a", "c", "d"]])


def test_sparse_inputs():
    sparse = pytest.importorskip("scipy.sparse")
    X, y = load("iris")
    X = np.where(abs(X) < 1, 0, X)
    model = MLPRegressor((6,), max_iter=5, random_state=0)
    expected = model.fit(X, y).predict(X)
    assert model.fit(sparse.csr_array(X), y).predict(sparse.csc_array(X)).tolist() == expected.tolist()


@pytest.mark.parametrize(
    ("settings", "match"),
    [
        ({"hidden_layer_sizes": (0,)}, "hidden_layer_sizes must be a positive integer"),
        ({"hidden_layer_sizes": -1}, "hidden_layer_sizes must be a positive integer"),
        ({"activation": "gelu"}, "activation must be one of identity, logistic, tanh, relu, got 'gelu'"),
        ({"solver": "newton"}, "solver must be one of adam, sgd"),
        ({"learning_rate": "falling"}, "learning_rate must be one of constant"),
        ({"batch_size": 0}, "batch_size must be a positive integer"),
        ({"alpha": -1}, "alpha must be at least 0"),
        ({"max_iter": 0}, "max_iter must be a positive integer"),
        ({"learning_rate_init": 0}, "learning_rate_init must be positive"),
        ({"validation_fraction": 1.0}, r"validation_fraction must be in \[0, 1\)"),
        ({"n_iter_no_change": 0}, "n_iter_no_change must be positive"),
        ({"early_stopping": True, "validation_fraction": 0.005}, "validation set|test_size"),
    ],
)
def test_settings_that_are_wrong(settings, match):
    X, y = load("iris")
    for kind in (MLPClassifier, MLPRegressor):
        with pytest.raises(ValueError, match=match):
            kind(**settings).fit(X, y)


def test_a_layer_size_by_itself_and_none_at_all():
    X, y = load("iris")
    assert [len(layer.neurons) for layer in MLPClassifier(7, max_iter=1).fit(X, y).model_.layers] == [7, 3]
    assert len(MLPClassifier((), max_iter=1).fit(X, y).model_.layers) == 1


def test_what_is_wrong_with_data():
    X, y = load("iris")
    with pytest.raises(ValueError, match="Unknown label type"):
        MLPClassifier().fit(X, y + 0.5 * X[:, 0])
    with pytest.raises(NotFittedError):
        MLPRegressor().predict(X)
    with pytest.raises(ValueError, match=r"the training diverged.*StandardScaler"):
        MLPRegressor(solver="sgd", learning_rate_init=1e6, momentum=0.0, random_state=0).fit(X * 1e3, y)
    with pytest.warns(DataConversionWarning):
        MLPRegressor((2,), max_iter=1).fit(X, y[:, None])
    model = MLPRegressor((2,), warm_start=True, max_iter=1).fit(X, y)
    with pytest.raises(ValueError, match="y must have 1 numbers"):
        model.fit(X, X[:, :2])


def test_verbose(capsys):
    X, y = load("iris")
    MLPClassifier((2,), max_iter=2, verbose=True, early_stopping=True, random_state=0).fit(X, y)
    assert capsys.readouterr().out.startswith("Iteration 1, loss = ")


def test_nobody_else_imports_scikit_learn():
    code = (
        "import sys, microgradc\n[getattr(microgradc, name) for name in microgradc.__all__]\n"
        "assert 'sklearn' not in sys.modules\nsys.modules['sklearn'] = None\n"
        "try: import microgradc.sklearn\n"
        "except ImportError as error: print(error)"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout == "microgradc.sklearn needs scikit-learn: pip install 'microgradc[sklearn]'\n"
