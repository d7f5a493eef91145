"""What the losses refuse: each error names the entry, what came, and what to do."""

import numpy as np
import pytest
from test_losses import CLASSES
from test_losses import ELEMENTWISE as TABLE

import microgradc
from microgradc import Value, array, losses

ELEMENTWISE = list(TABLE)
V = Value(0.5)


@pytest.fixture(params=ELEMENTWISE)
def elementwise(request):
    return getattr(losses, request.param)


@pytest.fixture(params=CLASSES)
def of_classes(request):
    return getattr(losses, request.param)


@pytest.fixture(params=ELEMENTWISE + CLASSES)
def any_loss(request):
    return getattr(losses, request.param)


def test_every_loss_is_tested_and_public():
    assert sorted([*ELEMENTWISE, *CLASSES, "gaussian_nll_loss", "cosine_similarity"]) == losses.__all__
    assert all(getattr(microgradc, name) is getattr(losses, name) for name in losses.__all__)
    assert set(losses.__all__) <= set(microgradc.__all__)


@pytest.mark.parametrize("reduction", ["Mean", "", None, "batchmean", 1, []])
def test_reduction(any_loss, reduction):
    if reduction == "batchmean" and any_loss is losses.kl_div:
        return
    error = ValueError if isinstance(reduction, str) else TypeError
    with pytest.raises(error, match="reduction must be 'mean', 'sum' or 'none', got "):
        any_loss([V, V], 1, reduction=reduction)


@pytest.mark.parametrize(
    ("input", "target", "shapes", "advice"),
    [
        ([V, V], [1.0], "(2,) and (1,)", ""),
        ([V], [1.0, 1.0], "(1,) and (2,)", ""),
        ([V, V], 1.0, "(2,) and ()", ""),
        (V, [1.0], "() and (1,)", ""),
        ([V], 1.0, "(1,) and ()", ""),
        ([[V], [V]], [1.0, 1.0], "(2, 1) and (2,)", "take it out, as in [row[0] for row in input]"),
        ([V, V], [[1.0], [1.0]], "(2,) and (2, 1)", "take it out, as in [row[0] for row in target]"),
        (array([[0.5], [0.5]]), np.ones(2), "(2, 1) and (2,)", "take it out, as in input[:, 0]"),
        ([V, V], np.ones((2, 1)), "(2,) and (2, 1)", "take it out, as in target[:, 0]"),
        ([[[V]]], [[1.0]], "(1, 1, 1) and (1, 1)", ""),
        ([[V, V]], [[1.0], [1.0]], "(1, 2) and (2, 1)", ""),
        ([[V, V], [V, V]], np.ones((2, 3)), "(2, 2) and (2, 3)", ""),
    ],
)
def test_nothing_is_broadcast(elementwise, input, target, shapes, advice):
    with pytest.raises(ValueError, match="input and target must have the same shape") as error:
        elementwise(input, target)
    assert f"got {shapes}" in str(error.value)
    assert advice in str(error.value)
    assert bool(advice) == (";" in str(error.value))


@pytest.mark.parametrize("empty", [[], (), [[], []], np.ones(0), np.ones((0, 2)), iter(())])
def test_empty(any_loss, empty):
    with pytest.raises(ValueError, match="input must have at least one entry, got none"):
        any_loss(empty, 1)


def test_ragged(any_loss):
    with pytest.raises(
        ValueError, match=r"input must have rows of one length, got 2 in input\[0\] and 1 in input\[1\]"
    ):
        any_loss([[V, V], [V]], [[1, 1], [1]])
    with pytest.raises(ValueError, match=r"got 1 in input\[0\]\[0\] and 2 in input\[1\]\[1\]"):
        any_loss([[[V], [V]], [[V], [V, V]]], 1)
    with pytest.raises(TypeError, match=r"input\[1\] must be a row, as input\[0\] is, got Value"):
        any_loss([[V], V], 1)


NOT_NUMBERS = ["a", b"a", None, 1j, {}, {1.0}, object(), Value]


@pytest.mark.parametrize("bad", NOT_NUMBERS, ids=lambda o: type(o).__name__)
def test_not_a_number(any_loss, bad):
    kind = type(bad).__name__
    with pytest.raises(TypeError, match=rf"^input\[1\] must be a Value or a real number, got {kind}"):
        any_loss([V, bad], 1 if any_loss.__name__ in CLASSES else [1, 1])
    with pytest.raises(TypeError, match=rf"^input\[1\]\[0\] must be a Value or a real number, got {kind}"):
        any_loss([[V, V], [bad, V]], [1, 1] if any_loss.__name__ in CLASSES else [[1, 1], [1, 1]])


@pytest.mark.parametrize("bad", NOT_NUMBERS, ids=lambda o: type(o).__name__)
def test_not_a_number_nor_a_list(elementwise, bad):
    with pytest.raises(TypeError, match=rf"^input must be a Value or a real number, got {type(bad).__name__}"):
        elementwise(bad, 1)
    with pytest.raises(TypeError, match=rf"^target\[1\] must be a Value or a real number, got {type(bad).__name__}"):
        elementwise([V, V], [1, bad])
    with pytest.raises(TypeError, match=r"^target must be a Value or a real number"):
        elementwise(V, bad)


def test_an_array_among_the_entries(elementwise):
    with pytest.raises(TypeError, match=r"^input\[0\] must be a Value or a real number, got ndarray"):
        elementwise([np.array(0.5), V], [1, 1])
    with pytest.raises(TypeError, match=r"^input\[1\] must be a Value or a real number, got list"):
        elementwise([V, [V]], [1, 1])


def test_an_error_of_the_model_is_its_own(any_loss):
    def model():
        yield V
        raise TypeError("from the model")

    with pytest.raises(TypeError, match=r"^from the model$"):
        any_loss(model(), [1, 1])


@pytest.mark.parametrize("label", [0, 0.0, 2, -1.5, float("nan"), Value(0.0), True + 1])
def test_labels_of_hinge(label):
    with pytest.raises(
        ValueError, match=r"target\[1\] must be -1 or \+1, got .*; labels 0 and 1 become these by 2 \* y - 1"
    ):
        losses.hinge_loss([V, V], [1, label])
    with pytest.raises(ValueError, match=r"target\[1\]\[0\] must be -1 or \+1"):
        losses.hinge_loss([[V, V], [V, V]], [[1, -1], [label, 1]])
    with pytest.raises(ValueError, match=r"target must be -1 or \+1"):
        losses.hinge_loss(V, label)


@pytest.mark.parametrize("bad", [-1e-9, 1.0000001, 2, float("inf"), -float("inf")])
@pytest.mark.parametrize("make", [float, Value])
def test_probabilities(bad, make):
    for first in (0.5, float("nan")):  # a nan must not hide what comes after it
        with pytest.raises(
            ValueError, match=rf"^input\[1\] must be in \[0, 1\], got {float(bad)}; did you mean binary_cross_ent"
        ):
            losses.binary_cross_entropy([Value(first), make(bad)], [1, 1])
        for name in ("binary_cross_entropy", "binary_cross_entropy_with_logits"):
            with pytest.raises(
                ValueError,
                match=rf"^target\[1\] must be in \[0, 1\], got {float(bad)}; labels -1 and \+1 become 0 and 1",
            ):
                getattr(losses, name)([V, V], [first, make(bad)])


@pytest.mark.parametrize("bad", [0, -1.0, float("nan"), -float("inf")])
def test_delta(bad):
    with pytest.raises(ValueError, match="delta must be positive, got "):
        losses.huber_loss(V, 1.0, delta=bad)


def test_settings_are_numbers():
    with pytest.raises(TypeError, match="delta must be a real number, got str '1'"):
        losses.huber_loss(V, 1.0, delta="1")
    with pytest.raises(TypeError, match="margin must be a real number, got None"):
        losses.hinge_loss(V, 1.0, margin=None)


ROWS = [[V, V, V], [V, V, V]]


@pytest.mark.parametrize("bad", [3, -1, -99, 10**30, np.int64(3)])
def test_class_out_of_range(of_classes, bad):
    with pytest.raises(ValueError, match=rf"^target\[1\] must be the index of one of 3 classes, 0 to 2, got {bad}$"):
        of_classes(ROWS, [0, bad])
    with pytest.raises(ValueError, match=r"^target must be the index of one of 3 classes, 0 to 2"):
        of_classes(ROWS[0], bad)


@pytest.mark.parametrize("bad", [1.0, np.float64(1), "1", None, True, np.bool_(True), V], ids=repr)
def test_class_that_is_no_integer(of_classes, bad):
    with pytest.raises(
        TypeError, match=rf"^target\[1\] must be an integer, the index of a class, got {type(bad).__name__}"
    ) as error:
        of_classes(ROWS, [0, bad])
    assert ("; convert it with int(...)" in str(error.value)) == isinstance(bad, (float, bool))
    with pytest.raises(TypeError, match=r"^target must be an integer"):
        of_classes(ROWS[0], bad)


def test_classes_as_an_array_of_floats(of_classes):
    with pytest.raises(
        TypeError, match=r"^target\[0\] must be an integer, the index of a class, got float 0.0; convert it with int"
    ):
        of_classes(ROWS, np.zeros(2))


@pytest.mark.parametrize(
    ("input", "target", "message"),
    [
        (ROWS, 1, r"target must be 2 indices, one for each row of input, got shape \(\)"),
        (ROWS, [1], r"target must be 2 indices, .*, got shape \(1,\)"),
        (ROWS, [1, 1, 1], r"target must be 2 indices, .*, got shape \(3,\)"),
        (ROWS, [[0, 1, 0], [1, 0, 0]], r"target must be 2 indices, .*, got an entry for each of input, .*np.argmax"),
        (ROWS[0], [0, 1, 2], r"target must be one index, .*, got an entry for each of input, shape \(3,\).*argmax"),
        (ROWS[0], [1], r"target must be one index, for the one row of input, got shape \(1,\)"),
        (V, 0, r"input must have shape \(C,\), one number for each class, or \(N, C\), got \(\)"),
        ([ROWS], [[0, 0]], r"input must have shape \(C,\), .*, got \(1, 2, 3\)"),
    ],
)
def test_shapes_of_classes(of_classes, input, target, message):
    with pytest.raises(ValueError, match=message):
        of_classes(input, target)


def test_bools_are_one_hot_rows():
    logits = [[0.5, -1.0, 2.0], [0.0, 1.0, 0.25]]
    one_hot = np.array([1, 2])[:, None] == np.arange(3)
    for target in one_hot, one_hot.tolist():
        assert losses.cross_entropy(logits, target) == pytest.approx(losses.cross_entropy(logits, [1, 2]), rel=1e-15)
    one = losses.cross_entropy(logits[0], [False, True, False])
    assert one == pytest.approx(losses.cross_entropy(logits[0], 1), rel=1e-15)
    with pytest.raises(ValueError, match=r"target must be 2 indices, .*np.argmax"):
        losses.nll_loss(logits, one_hot)


def test_tables_of_pandas(elementwise):
    pandas = pytest.importorskip("pandas", reason="tables of pandas")
    y = pandas.Series(["b", "c", "b"])
    assert losses.cross_entropy([[1.0, 2.0]] * 3, pandas.get_dummies(y)) == losses.cross_entropy(
        [[1.0, 2.0]] * 3, [[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]]
    )
    column = pandas.DataFrame({"a": [1.0, 1.0]})
    with pytest.raises(ValueError, match=r"take it out, as in input\.iloc\[:, 0\]$"):
        elementwise(column, [1.0, 1.0])
    assert elementwise(column.iloc[:, 0], [1.0, 1.0]) is not None


def test_an_error_changes_nothing(elementwise):
    v = Value(0.5)
    with pytest.raises((TypeError, ValueError)):
        elementwise([v, v], [1.0, "a"])
    assert (v.data, v.grad) == (0.5, 0.0)
