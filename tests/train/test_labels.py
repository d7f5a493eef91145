"""fit with labels of all kinds: they are remembered, predicted, and measured."""

import copy
import pickle

import numpy as np
import pandas as pd
import pytest

from microgradc import accuracy, losses, nn
from microgradc.train.data import make_blobs

X, CODES = make_blobs(90, centers=[[-4, 0], [4, 0], [0, 5]], random_state=0)
KINDS = {
    "texts": np.array(["setosa", "virginica", "versicolor"]),
    "list of texts": ["a", "b", "c"],
    "bytes": np.array([b"a", b"b", b"c"]),
    "objects": np.array(["x", "y", "z"], dtype=object),
    "from 1": np.array([1, 2, 3]),
    "any integers": np.array([-7, 20, 300]),
    "small integers": np.array([1, 2, 3], np.uint8),
    "floats": np.array([0.0, 1.0, 2.0]),
    "other floats": np.array([0.5, 1.5, 2.5]),
    "indices": np.array([0, 1, 2]),
}


def fitted(y, count, **settings):
    model = nn.MLP(2, [8, count], seed=0)
    history = model.fit(X[: len(y)], y, epochs=30, lr=0.05, seed=0, progress=False, **settings)
    return model, history


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("count", [1, 3])
def test_labels_come_back(kind, count):
    names = KINDS[kind]
    two = CODES < 2 if count == 1 else CODES >= 0
    x, codes = X[two], CODES[two]
    y = [names[c] for c in codes] if kind == "list of texts" else np.asarray(names)[codes]
    if count == 1 and "floats" in kind:
        pytest.skip("floats are numbers for one output")
    model = nn.MLP(2, [8, count], seed=0)
    history = model.fit(x, y, epochs=30, lr=0.05, seed=0, validation=0.2, progress=False)
    found = model.predict(x)
    np.testing.assert_array_equal(model.classes_, np.unique(y))
    assert found.dtype.kind == np.asarray(y).dtype.kind or kind == "objects"
    assert np.mean(found == np.asarray(y)) == accuracy(model, x, y) > 0.9
    assert history.accuracy[-1] > 0.9
    assert history.validation_accuracy[-1] > 0.9
    assert model.predict_proba(x).shape == (len(x), 3 if count == 3 else 2)
    assert (model.classes_[model.predict_proba(x).argmax(1)] == found).all()


@pytest.mark.parametrize("make", [
    lambda names, codes: pd.Series(pd.Categorical.from_codes(codes, names)),
    lambda names, codes: pd.Categorical.from_codes(codes, names),
    lambda names, codes: pd.Series([names[c] for c in codes], index=range(500, 500 + len(codes))),
    lambda names, codes: pd.Series([names[c] for c in codes], dtype="string"),
    lambda names, codes: pd.DataFrame({"y": [names[c] for c in codes]}),
])
def test_labels_of_pandas(make):
    y = make(["low", "middle", "high"], CODES)
    model, _ = fitted(y, 3)
    is_ordered = "category" in str(getattr(y, "dtype", ""))
    assert model.classes_.tolist() == (["low", "middle", "high"] if is_ordered else ["high", "low", "middle"])
    assert accuracy(model, X, y) > 0.9
    assert (model.predict(X) == np.array(["low", "middle", "high"])[CODES]).mean() > 0.9


def test_a_category_without_examples_has_an_output():
    y = pd.Categorical.from_codes(CODES, ["a", "b", "c", "never"])
    model, _ = fitted(y, 4)
    assert model.classes_.tolist() == ["a", "b", "c", "never"]
    assert fitted(y, 3)[0].classes_.tolist() == ["a", "b", "c"]


def test_bools():
    y = CODES[CODES < 2] == 1
    x = X[CODES < 2]
    model = nn.MLP(2, [8, 1], seed=0)
    other = nn.MLP(2, [8, 1], seed=0)
    history = model.fit(x, y, epochs=30, seed=0, progress=False)
    assert history.loss == other.fit(x, y.astype(int), epochs=30, seed=0, progress=False).loss
    assert model.classes_.tolist() == [False, True]
    assert model.predict(x).dtype == bool
    assert accuracy(model, x, y) == accuracy(other, x, y.astype(int)) == (model.predict(x) == y).mean()


@pytest.mark.parametrize("loss", ["hinge_loss", "binary_cross_entropy_with_logits", "cross_entropy", "mse_loss"])
def test_labels_are_what_the_loss_takes(loss):
    y = np.array(["no", "yes"])[CODES % 2]
    count = 2 if loss == "cross_entropy" else 1
    if loss == "mse_loss":
        with pytest.raises(TypeError, match="y must be real numbers for mse_loss, got labels such as 'no'"):
            fitted(y, count, loss=loss)
        return
    codes = 2 * (CODES % 2) - 1 if loss == "hinge_loss" else CODES % 2
    (model, history), (_, other) = fitted(y, count, loss=loss), fitted(codes, count, loss=loss)
    assert history.loss == other.loss
    assert set(model.predict(X)) <= {"no", "yes"}
    assert fitted(codes, count, loss=loss)[0].classes_.tolist() == sorted(set(codes.tolist()))


def test_floats_that_are_classes_for_one_output():
    for names, loss in [([0.0, 1.0], "binary_cross_entropy_with_logits"), ([-1.0, 1.0], "hinge_loss")]:
        y = np.array(names)[CODES % 2]
        model, history = fitted(y, 1)
        assert history.loss == fitted(y.astype(int), 1, loss=loss)[1].loss
        assert model.classes_.tolist() == names
        assert model.predict(X).dtype == float
        assert accuracy(model, X, y) == (model.predict(X) == y).mean() > 0.6
    assert fitted(np.array([0.0, 0.5])[CODES % 2], 1)[0].classes_ is None


def test_a_loss_of_ones_own_gets_codes():
    def loss(outputs, targets):
        assert set(targets) <= {0, 1}
        return losses.binary_cross_entropy_with_logits(outputs, targets)

    y = np.array(["no", "yes"])[CODES % 2]
    model, history = fitted(y, 1, loss=loss)
    assert "a loss of your own" in history.why_eager
    assert set(model.predict(X)) <= {"no", "yes"}


def test_labels_that_a_model_cannot_have():
    with pytest.raises(ValueError, match="y has 3 classes, 'a', 'b', 'c', and the model 1 output"):
        fitted(np.array(["a", "b", "c"])[CODES], 1)
    with pytest.raises(ValueError, match="y has 3 classes, 'a', 'b', 'c', and the model 5 outputs"):
        fitted(np.array(["a", "b", "c"])[CODES], 5)
    model, _ = fitted(np.array(["a", "b", "c"])[CODES], 3)
    assert accuracy(model, X, np.full(len(X), "never")) == 0
    with pytest.raises(TypeError, match="y must be real numbers"):
        accuracy(nn.MLP(2, [3]), X, np.full(len(X), "a"))


def test_numbers_have_no_classes():
    model, _ = fitted(CODES, 3)
    assert model.classes_.tolist() == [0, 1, 2]
    model.fit(X, np.stack([CODES, CODES, CODES], 1) * 0.5, epochs=1, progress=False)
    assert model.classes_ is None
    assert (model.predict(X) == model.outputs(X)).all()
    with pytest.raises(ValueError, match="this model was fitted to numbers, by mse_loss: it has no classes"):
        model.predict_proba(X)
    with pytest.raises(ValueError, match="predict_proba needs a model that was fitted to classes"):
        nn.MLP(2, [3]).predict_proba(X)


def test_several_targets_for_each_example():
    y = np.stack([CODES == 0, CODES == 1], 1).astype(int)
    for loss, targets in [("binary_cross_entropy_with_logits", y), ("hinge_loss", 2 * y - 1)]:
        model, history = fitted(targets, 2, loss=loss)
        assert (model.predict(X) == targets).mean() == accuracy(model, X, targets) > 0.9
        assert model.predict(X).dtype.kind == "i"
        assert history.accuracy[-1] > 0.8
    with pytest.raises(ValueError, match="hinge_loss gives scores, no probabilities"):
        model.predict_proba(X)


def test_probabilities_as_targets():
    y = np.eye(3)[CODES]
    model, _ = fitted(y, 3, loss="cross_entropy")
    assert (model.predict(X) == CODES).mean() > 0.9
    model = nn.MLP(2, [8, 1], output_activation="sigmoid", seed=0)
    model.fit(X, CODES / 2, loss="binary_cross_entropy", epochs=30, seed=0, progress=False)
    assert set(model.predict(X).tolist()) <= {0, 1}
    assert (model.predict(X) == (model.outputs(X) > 0.5)).all()
    model.fit(X, CODES // 2, loss="binary_cross_entropy", epochs=30, lr=0.05, seed=0, progress=False)
    assert accuracy(model, X, CODES // 2) == (model.predict(X) == CODES // 2).mean() > 0.9
    assert accuracy(model, X, CODES // 2, threshold=0.0) == (CODES // 2).mean()


@pytest.mark.parametrize("count", [1, 3])
def test_categories_that_are_integers(count):
    codes = CODES if count == 3 else CODES // 2
    targets = pd.Series(codes + 3, dtype="category")
    model, _ = fitted(targets, count)
    assert model.predict(X).dtype == model.classes_.dtype == np.int64
    assert accuracy(model, X, targets) == accuracy(model, X, codes + 3) == (model.predict(X) == codes + 3).mean() > 0.9


def test_floats_that_are_no_indices_are_labels():
    model, _ = fitted(CODES / 2, 3)
    assert model.classes_.tolist() == [0, 0.5, 1]
    assert (model.predict(X) == CODES / 2).mean() == accuracy(model, X, CODES / 2) > 0.9
    with pytest.raises(ValueError, match="must be the index of one of 3 classes, 0 to 2, got 5"):
        fitted(np.array([0, 2, 5])[CODES], 3)


def test_the_accuracy_of_probabilities_is_that_of_the_largest():
    y = np.eye(3)[CODES]
    model, _ = fitted(y, 3, loss="cross_entropy")
    assert accuracy(model, X, y) == accuracy(model, X, CODES) == (model.predict(X) == CODES).mean()


def test_copies_and_pickles_remember():
    model, _ = fitted(np.array(["a", "b", "c"])[CODES], 3)
    for other in (pickle.loads(pickle.dumps(model)), copy.deepcopy(model)):
        assert (other.predict(X) == model.predict(X)).all()
        assert (other.predict_proba(X) == model.predict_proba(X)).all()


@pytest.mark.parametrize("share", [0.1, 0.25, 0.5])
def test_validation_has_its_share_of_each_class(share):
    from microgradc.train.data import hold_out
    from microgradc.train.fit import prepare

    y = np.repeat([0, 1, 2], [60, 30, 9])
    x = np.arange(99.0)[:, None]
    import random

    for seed in range(5):
        _, examples, held_out = prepare(
            nn.MLP(1, [3], seed=0), x, y, None, share, None, None, None, random.Random(seed), True)
        counts = np.bincount(held_out.y, minlength=3)
        assert counts.sum() == round(99 * share)
        assert (np.abs(counts - np.array([60, 30, 9]) * share) < 1).all()
        assert sorted([*examples.X[:, 0], *held_out.X[:, 0]]) == list(range(99))
    kept, apart = hold_out(np.array([0, 0, 0, 0, 1]), 0.4, random.Random(0), True)
    assert 4 in kept
    assert len(apart) == 2
