"""Weights of examples and classes, metrics, schedules, clipping: next to PyTorch and scikit-learn."""

import random

import numpy as np
import pytest
import torch
from sklearn import metrics as sk
from sklearn.utils.class_weight import compute_sample_weight

from microgradc import losses, nn, optim
from microgradc.train.data import make_blobs

torch.set_num_threads(1)
X, Y = make_blobs(60, centers=[[-2, 0], [2, 0], [0, 2]], cluster_std=1.5, random_state=0)
RNG = np.random.default_rng(0)
WEIGHTS = RNG.uniform(0, 3, 60)
SETTINGS = {"optimizer": "sgd", "lr": 0.1, "epochs": 4, "batch_size": 16, "seed": 5, "progress": False}


def in_two(x, y, **settings):
    return torch.nn.functional.binary_cross_entropy_with_logits(x, y.double(), **settings)


def in_torch(y, loss, weights, count, decay=0.0, clip=None, rate=lambda step, epoch: 0.1):
    """Return the mean losses and parameters of the same training in PyTorch."""
    net = nn.MLP(2, [6, count], activation="tanh", seed=0).to_torch()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1, weight_decay=decay)
    rng, found, step = random.Random(5), [], 0
    for epoch in range(4):
        order = list(range(60))
        rng.shuffle(order)
        total = 0.0
        for i in range(0, 60, 16):
            rows = order[i : i + 16]
            for group in optimizer.param_groups:
                group["lr"] = rate(step, epoch)
            out = net(torch.tensor(X[rows]))
            values = loss(out if count > 1 else out[:, 0], torch.tensor(y[rows]), reduction="none")
            mean = (values * torch.tensor(weights[rows])).mean()
            optimizer.zero_grad()
            mean.backward()
            if clip is not None:
                torch.nn.utils.clip_grad_norm_(net.parameters(), clip)
            optimizer.step()
            total += mean.item() * len(rows)
            step += 1
        found.append(total / 60)
    return found, torch.cat([p.detach().ravel() for p in net.parameters()]).numpy()


def ours(y, count, compile=None, **settings):
    model = nn.MLP(2, [6, count], activation="tanh", seed=0)
    history = model.fit(X, y, compile=compile, **{**SETTINGS, **settings})
    return history, torch.cat([p.detach().ravel() for p in model.to_torch().parameters()]).numpy()


@pytest.mark.parametrize("compile", [None, False])
@pytest.mark.parametrize("kind", ["classes", "two classes", "numbers"])
def test_weights_are_those_of_pytorchs_losses(kind, compile):
    y, count, loss = {
        "classes": (Y, 3, torch.nn.functional.cross_entropy),
        "two classes": (Y % 2, 1, in_two),
        "numbers": (X[:, 0] * 0.3, 1, torch.nn.functional.mse_loss),
    }[kind]
    history, numbers = ours(y, count, compile, sample_weight=WEIGHTS)
    expected, theirs = in_torch(y, loss, WEIGHTS, count)
    assert history.loss == pytest.approx(expected, rel=1e-12)
    np.testing.assert_allclose(numbers, theirs, rtol=1e-11, atol=1e-14)
    assert (history.why_eager == "") == (compile is None), "weights are one more input of the program"


@pytest.mark.parametrize("weights", ["balanced", {0: 2.0, 2: 0.5}, {1: 0}])
def test_class_weights_are_scikit_learns(weights):
    keep = np.r_[0:40, 50:60]
    y = Y.copy()
    y[keep] = np.sort(Y[keep])
    expected = compute_sample_weight({0: 1, 1: 1, 2: 1, **weights} if weights != "balanced" else weights, y)
    one, other = ours(y, 3, class_weight=weights), ours(y, 3, sample_weight=expected)
    assert one[0].loss == other[0].loss
    both = ours(y, 3, class_weight=weights, sample_weight=WEIGHTS)[0]
    assert both.loss == ours(y, 3, sample_weight=WEIGHTS * expected)[0].loss
    names = np.array(["a", "b", "c"])
    named = weights if weights == "balanced" else {names[c]: w for c, w in weights.items()}
    assert ours(names[y], 3, class_weight=named)[0].loss == one[0].loss


def test_weights_of_one_change_nothing_and_of_zero_leave_out():
    plain, ones = ours(Y, 3), ours(Y, 3, sample_weight=np.ones(60))
    assert ones[0].loss == pytest.approx(plain[0].loss, rel=1e-13)
    half = np.r_[np.ones(30), np.zeros(30)]
    left = ours(Y, 3, sample_weight=half, batch_size=60, shuffle=False, epochs=3)
    model = nn.MLP(2, [6, 3], activation="tanh", seed=0)
    some = model.fit(X[:30], Y[:30], **{**SETTINGS, "lr": 0.05, "batch_size": 60, "shuffle": False, "epochs": 3})
    assert [2 * x for x in left[0].loss] == pytest.approx(some.loss, rel=1e-12)


@pytest.mark.parametrize("compile", [None, False])
def test_weights_of_validation(compile):
    held = (X[:20], Y[:20], WEIGHTS[:20])
    model = nn.MLP(2, [6, 3], seed=0)
    history = model.fit(X, Y, validation=held, compile=compile, **SETTINGS)
    values = losses.cross_entropy(model.outputs(X[:20]), Y[:20], reduction="none")
    assert history.validation_loss[-1] == pytest.approx(np.mean(np.array(values) * WEIGHTS[:20]), rel=1e-12)
    part = nn.MLP(2, [6, 3], seed=0).fit(X, Y, validation=0.25, sample_weight=WEIGHTS, **SETTINGS)
    assert len(part.validation_loss) == 4


@pytest.mark.parametrize("compile", [None, False])
def test_decay_clipping_and_schedules(compile):
    loss, ones = torch.nn.functional.cross_entropy, np.ones(60)
    for settings, theirs in [
        ({"weight_decay": 0.1}, {"decay": 0.1}),
        ({"clip_norm": 0.05}, {"clip": 0.05}),
        ({"schedule": lambda o: optim.StepLR(o, 2)}, {"rate": lambda step, epoch: 0.1 * 0.1 ** (epoch // 2)}),
        (
            {"schedule": lambda o: optim.StepLR(o, 2, 0.5), "schedule_every": "step"},
            {"rate": lambda step, epoch: 0.1 * 0.5 ** (step // 2)},
        ),
    ]:
        history, numbers = ours(Y, 3, compile, **settings)
        expected, parameters = in_torch(Y, loss, ones, 3, **theirs)
        assert history.loss == pytest.approx(expected, rel=1e-11)
        np.testing.assert_allclose(numbers, parameters, rtol=1e-9, atol=1e-13)
        if "rate" in theirs:
            assert history.lr == pytest.approx([theirs["rate"](4 * e, e) for e in range(4)])


def test_a_schedule_of_the_optimizer():
    model = nn.MLP(2, [6, 3], seed=0)
    optimizer = optim.SGD(model.parameters(), lr=0.4)
    settings = {"epochs": 3, "progress": False}
    assert model.fit(X, Y, optimizer=optimizer, schedule=optim.StepLR(optimizer, 1), **settings).lr == pytest.approx(
        [0.4, 0.04, 0.004])
    with pytest.raises(ValueError, match="the schedule is of another optimizer"):
        model.fit(X, Y, schedule=optim.StepLR(optimizer, 1), **settings)

    class Plateau:
        seen: list = []  # noqa: RUF012

        def __init__(self, optimizer):
            pass

        def step(self, metrics):
            self.seen.append(metrics)

    history = model.fit(X, Y, schedule=Plateau, validation=0.2, **settings)
    assert Plateau.seen == history.validation_loss
    with pytest.raises(ValueError, match="Plateau looks at the loss of an epoch: give schedule_every='epoch'"):
        model.fit(X, Y, schedule=Plateau, schedule_every="step", **settings)


def test_metrics_are_those_of_scikit_learn():
    names = ["precision", "recall", "f1", "balanced_accuracy"]
    held = (X[:30], Y[:30])

    def f1_score(y, found):
        return sk.f1_score(y, found, average="macro")

    model = nn.MLP(2, [6, 3], seed=0)
    history = model.fit(X, Y, metrics=[*names, f1_score, "cross_entropy"], validation=held, **SETTINGS)
    found = model.predict(held[0])
    assert history.validation_f1_score[-1] == f1_score(held[1], found) == pytest.approx(history.validation_f1[-1])
    assert history["validation_precision"][-1] == pytest.approx(
        sk.precision_score(held[1], found, average="macro", zero_division=0))
    assert history.validation_recall[-1] == pytest.approx(sk.recall_score(held[1], found, average="macro"))
    assert history.validation_balanced_accuracy[-1] == pytest.approx(sk.balanced_accuracy_score(held[1], found))
    assert history.validation_cross_entropy == pytest.approx(history.validation_loss)
    assert all(len(history[name]) == 4 for name in (*names, "f1_score", "cross_entropy"))
    assert history.metrics["f1"] is history.f1


def test_metrics_of_two_classes_and_of_numbers():
    y = np.array(["no", "yes"])[Y % 2]
    model = nn.MLP(2, [6, 1], seed=0)
    history = model.fit(X, y, metrics=["f1", "roc_auc", "precision", sk.accuracy_score], validation=(X, y), **SETTINGS)
    found, positive = model.predict(X), {"pos_label": "yes"}
    assert history.validation_f1[-1] == pytest.approx(sk.f1_score(y, found, **positive))
    assert history.validation_precision[-1] == pytest.approx(sk.precision_score(y, found, **positive))
    assert history.validation_roc_auc[-1] == pytest.approx(sk.roc_auc_score(y, model.outputs(X)))
    assert history.validation_accuracy_score == history.validation_accuracy
    target = X[:, 0] * 0.3
    model = nn.MLP(2, [6, 1], seed=0)
    history = model.fit(X, target, metrics=["r2", "mae", "rmse", sk.max_error], validation=(X, target), **SETTINGS)
    found = model.predict(X)
    assert history.validation_r2[-1] == pytest.approx(sk.r2_score(target, found))
    assert history.validation_mae[-1] == pytest.approx(sk.mean_absolute_error(target, found))
    assert history.validation_rmse[-1] ** 2 == pytest.approx(sk.mean_squared_error(target, found))
    assert history.validation_max_error[-1] == pytest.approx(sk.max_error(target, found))


def test_a_metric_does_not_take_the_name_of_something_else_in_the_history():
    def loss(y, found):
        return 7.0

    def names(y, found):
        return 8.0

    X, y = make_blobs(20, centers=2, random_state=0)
    history = nn.MLP(2, [1], seed=0).fit(X, y, metrics=[loss, names], epochs=2, progress=False)
    assert 7.0 not in history.loss
    assert history.names() == ["loss", "accuracy", "loss_1", "names_2", "lr", "seconds"]
    assert "8" in str(history)


def test_metrics_are_the_same_eager_and_compiled():
    one, other = (ours(Y, 3, compile, metrics=["f1"])[0] for compile in (None, False))
    assert one.f1 == pytest.approx(other.f1)
    assert one.accuracy == other.accuracy


BAD = [
    ({"y": ["a", "b"], "loss": "mse_loss"}, TypeError, r"y must be real numbers for mse_loss, got labels such as 'a'"),
    ({"y": ["a", "a"]}, ValueError, r"y has 1 class, 'a', and the model 1 output: one output has two classes"),
    ({"y": ["a", None]}, ValueError, r"y has no label in row 1"),
    ({"y": ["a", 1]}, TypeError, r"y must have labels of one kind, got int, str"),
    ({"validation": ([[1.0, 2.0]], ["c"]), "y": ["a", "b"]}, ValueError, r"data's y has 'c', which is none of"),
    ({"sample_weight": [1.0]}, ValueError, r"sample_weight must have a number for each of the 2 rows of X"),
    ({"sample_weight": [1.0, -1.0]}, ValueError, r"sample_weight\[1\] must be at least 0 and finite, got -1.0"),
    ({"sample_weight": [0, 0]}, ValueError, r"sample_weight must have a number above 0"),
    ({"sample_weight": ["a", "b"]}, TypeError, r"sample_weight must be real numbers"),
    ({"class_weight": {2: 1.0}}, ValueError, r"class_weight has 2, which is none of the classes 0, 1"),
    ({"class_weight": {1: -1.0}}, ValueError, r"class_weight\[1\] must be at least 0"),
    ({"class_weight": "equal"}, TypeError, r"class_weight must be 'balanced' or a dict"),
    ({"class_weight": "balanced", "y": [0.5, 1.0]}, ValueError, r"class_weight is for targets that are classes"),
    ({"metrics": ["f2"]}, ValueError, r"metrics must be of .*got 'f2'"),
    ({"metrics": ["r2"]}, ValueError, r"the targets are classes, and the metric r2 is for numbers"),
    ({"optimizer": lambda params: 3}, TypeError, r"optimizer must make an optimizer, with step\(\) and .*got 3"),
    ({"metrics": [3]}, TypeError, r"metrics must be names or functions"),
    ({"schedule": 3}, TypeError, r"schedule must be a schedule, or a function that makes one"),
    ({"schedule_every": "batch"}, ValueError, r"schedule_every must be 'epoch' or 'step'"),
    ({"clip_norm": -1.0}, ValueError, r"clip_norm must be at least 0"),
    ({"weight_decay": -1.0}, ValueError, r"weight_decay must be at least 0"),
]


@pytest.mark.parametrize(("change", "error", "message"), BAD)
def test_bad_arguments_change_nothing(change, error, message):
    model = nn.MLP(2, [4, 1], seed=0)
    before = model.vector().copy()
    arguments = {"X": [[1.0, 2.0], [3.0, 4.0]], "y": [0, 1], **change}
    with pytest.raises(error, match=message):
        model.fit(arguments.pop("X"), arguments.pop("y"), progress=False, **arguments)
    assert (model.vector() == before).all()
    assert model.classes_ is None
