"""fit: what it does is what a loop written by hand does; it reaches what it should; it refuses what cannot be meant."""

import random
import signal
import threading

import numpy as np
import pytest

import microgradc
from microgradc import History, Value, accuracy, fit, losses, nn, no_grad, optim, outputs
from microgradc.train.data import make_blobs, make_circles, make_moons


@pytest.fixture
def moons():
    return make_moons(40, noise=0.1, random_state=0)


@pytest.fixture
def model():
    return nn.MLP(2, [8, 1], seed=3)


def numbers(model):
    return [p.data for p in model.parameters()]


def test_fit_is_the_loop_one_would_write(moons, model):
    X, y = moons
    other = nn.MLP(2, [8, 1], seed=3)
    history = model.fit(X, y, optimizer="sgd", lr=0.05, epochs=3, batch_size=7, seed=11, progress=False, compile=False)
    rng = random.Random(11)
    optimizer = optim.SGD(other.parameters(), lr=0.05)
    for epoch in range(3):
        order = list(range(40))
        rng.shuffle(order)
        total = right = 0
        for i in range(0, 40, 7):
            batch = order[i : i + 7]
            logits = [other(X[k].tolist()) for k in batch]
            loss = losses.binary_cross_entropy_with_logits(logits, [int(y[k]) for k in batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.data * len(batch)
            right += sum((v.data > 0) == bool(y[k]) for v, k in zip(logits, batch, strict=True))
        assert history.loss[epoch] == pytest.approx(total / 40, rel=1e-14)
        assert history.accuracy[epoch] == right / 40
    assert numbers(model) == numbers(other)
    assert history.lr == [0.05] * 3
    assert len(history) == len(history.seconds) == 3
    assert history.validation_loss == []


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    ("data", "shape", "enough"),
    [
        (make_moons(100, noise=0.1, random_state=0), (2, [16, 16, 1]), 1.0),
        (make_blobs(100, centers=[[-4, 0], [4, 0], [0, 5]], random_state=0), (2, [16, 3]), 1.0),
        (make_circles(100, noise=0.05, factor=0.5, random_state=0), (2, [16, 16, 1]), 0.99),
    ],
    ids=["moons", "blobs", "circles"],
)
def test_the_defaults_learn_the_usual_data(data, shape, enough, seed):
    X, y = data
    model = nn.MLP(*shape, seed=seed)
    history = model.fit(X, y, seed=seed, progress=False)
    assert accuracy(model, X, y) >= enough
    assert history.loss[-1] < 0.1


def test_the_usual_loss_depends_on_the_targets(moons):
    X, y = moons
    cases = [
        (y, 1, "binary_cross_entropy_with_logits", True),
        (y.astype(bool), 1, "binary_cross_entropy_with_logits", True),
        (2 * y - 1, 1, "hinge_loss", True),
        (y, 3, "cross_entropy", True),
        (y * 0.5, 1, "mse_loss", False),
        (y[:, None] * 0.5, 1, "mse_loss", False),
        (np.stack([y, y], 1), 2, "mse_loss", False),
    ]
    for targets, nout, name, classes in cases:
        ours, theirs = (nn.MLP(2, [4, nout], seed=0) for _ in range(2))
        history = ours.fit(X, targets, epochs=1, seed=0, progress=False)
        same = theirs.fit(X, targets, loss=name, epochs=1, seed=0, progress=False)
        assert history.loss == same.loss, name
        assert numbers(ours) == numbers(theirs)
        assert bool(history.accuracy) == classes, name


def test_a_loss_of_ones_own(moons, model):
    X, y = moons

    def loss(results, targets):
        return microgradc.mean([(p - t) ** 4 for p, t in zip(results, targets, strict=True)])

    history = model.fit(X, y, loss=loss, epochs=20, seed=0, progress=False)
    assert history.loss[-1] < history.loss[0]
    assert history.accuracy == [], "a score of 0 and 1 has no threshold that is known"
    assert model.fit(X, 2 * y - 1, loss=loss, epochs=1, progress=False).accuracy != []


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "adamw", "rmsprop"])
def test_named_optimizers_are_those_of_optim(moons, optimizer):
    X, y = moons
    classes = {"sgd": optim.SGD, "adam": optim.Adam, "adamw": optim.AdamW, "rmsprop": optim.RMSprop}
    results = []
    for choice in (optimizer, classes[optimizer], lambda parameters, lr: classes[optimizer](parameters, lr=lr)):
        model = nn.MLP(2, [4, 1], seed=0)
        model.fit(X, y, optimizer=choice, lr=0.02, epochs=2, seed=0, progress=False)
        results.append(numbers(model))
    model = nn.MLP(2, [4, 1], seed=0)
    model.fit(X, y, optimizer=classes[optimizer](model.parameters(), lr=0.02), epochs=2, seed=0, progress=False)
    results.append(numbers(model))
    assert results.count(results[0]) == 4


def test_validation(moons, model):
    X, y = moons
    held_out = make_moons(20, noise=0.1, random_state=1)
    history = model.fit(X, y, validation=held_out, epochs=3, seed=0, progress=False)
    assert len(history.validation_loss) == len(history.validation_accuracy) == 3
    assert history.validation_accuracy[-1] == accuracy(model, *held_out)
    expected = losses.binary_cross_entropy_with_logits(outputs(model, held_out[0]), held_out[1])
    assert history.validation_loss[-1] == pytest.approx(float(expected), rel=1e-14)
    quarter = np.float32(0.25)
    part = nn.MLP(2, [8, 1], seed=3).fit(X, y, validation=quarter, epochs=2, batch_size=30, seed=0, progress=False)
    assert len(part.validation_loss) == 2
    assert {a * 10 for a in part.validation_accuracy} <= set(range(11)), "10 examples were kept apart"


def test_a_callback_may_end_it(moons, model):
    X, y = moons
    lengths = []

    def stop_at_four(history):
        lengths.append(len(history))
        return len(history) == 4

    assert len(model.fit(X, y, callback=stop_at_four, epochs=10, progress=False)) == 4
    assert lengths == [1, 2, 3, 4]
    with pytest.raises(ZeroDivisionError):
        model.fit(X, y, callback=lambda history: 1 / 0, progress=False)
    assert not model.training


def test_a_schedule_in_a_callback(moons, model):
    X, y = moons
    optimizer = optim.SGD(model.parameters(), lr=0.1)
    schedule = optim.StepLR(optimizer, step_size=2)
    history = model.fit(X, y, optimizer=optimizer, epochs=5, callback=lambda h: schedule.step(), progress=False)
    assert history.lr == pytest.approx([0.1, 0.1, 0.01, 0.01, 0.001])


def test_dropout_is_on_in_training_and_off_after_it(moons):
    X, y = moons
    model = nn.Sequential(nn.Layer(2, 8), nn.Dropout(0.5, seed=0), nn.Layer(8, 1, nonlin=False))
    modes = []
    model.layers.insert(1, lambda x: (modes.append(model.training), x)[1])
    history = model.fit(X, y, epochs=1, batch_size=40, validation=(X[:5], y[:5]), progress=False)
    assert modes == [False, True] + [True] * 40 + [False] * 5, (
        "an output to see how many, one to see that dropout cannot be compiled"
    )
    assert "dropout cannot be replayed" in history.why_eager
    assert not model.training
    model.train()
    assert (outputs(model, X) == outputs(model, X)).all()
    assert model.training, "as it was"


@pytest.mark.usefixtures("ctrl_c")
def test_ctrl_c_returns_what_was_reached(moons, model):
    X, y = moons
    before = numbers(model)

    def interrupt(history):
        if len(history) == 3:
            threading.Thread(target=signal.raise_signal, args=(signal.SIGINT,)).start()

    history = model.fit(X, y, callback=interrupt, epochs=100_000, progress=False)
    assert history.interrupted
    assert len(history) >= 3
    lengths = {len(getattr(history, name)) for name in ("loss", "accuracy", "lr", "seconds")}
    assert lengths == {len(history)}
    assert numbers(model) != before
    assert "interrupted" in repr(history)


def test_a_progress_bar_with_loss_and_accuracy(moons, model, capsys):
    X, y = moons
    model.fit(X, y, epochs=2)
    err = capsys.readouterr().err
    assert "training, compiled: 100%" in err
    assert "loss=" in err
    assert "accuracy=" in err
    model.fit(X, y, epochs=2, progress=False)
    assert capsys.readouterr().err == ""


def test_history_in_short():
    history = History()
    assert repr(history) == "<History: 0 epochs>"
    history.append({"loss": 0.123456, "accuracy": 0.5, "validation_loss": 1e-9})
    assert repr(history) == "<History: 1 epochs, loss 0.1235, accuracy 50.0%, validation_loss 1e-09>"


def test_outputs_and_accuracy(model):
    X = [[1.0, 2.0], [3.0, 4.0], [-1.0, 0.5]]
    with no_grad():
        expected = [model(x).data for x in X]
    assert outputs(model, X, compile=False).tolist() == expected
    assert outputs(model, X).tolist() == model.outputs(np.array(X)).tolist() == pytest.approx(expected, rel=1e-14)
    assert outputs(nn.MLP(2, [3], seed=0), X).shape == (3, 3)
    assert outputs(lambda x: [Value(x[0])], X).tolist() == [1.0, 3.0, -1.0]
    assert outputs(lambda x: x[0], X).tolist() == [1.0, 3.0, -1.0]
    assert accuracy(lambda x: x[0], X, [1, 1, 0]) == accuracy(lambda x: x[0], X, [1, 1, -1]) == 1.0
    assert accuracy(lambda x: x[0] / 4, X, [0, 1, 0], threshold=0.5) == 1.0
    assert accuracy(lambda x: [0.0, x[0], 2.0], X, [2, 1, 0]) == pytest.approx(2 / 3)


def test_models_that_are_no_modules(moons):
    X, y = moons

    class Line:
        def __init__(self):
            self.w, self.b = Value(0.0), Value(0.0)

        def parameters(self):
            return [self.w, self.b]

        def __call__(self, x):
            return self.w * x[1] + self.b

    line = Line()
    assert fit(line, X, y, lr=0.05, seed=0, progress=False).accuracy[-1] > 0.7


NAN = float("nan")
BAD = [
    ({"X": [[1.0, 2.0], [3.0, NAN]]}, ValueError, r"X has nan in row 1, column 1; leave such rows out"),
    ({"X": [[1.0, 2.0], [float("inf"), 1.0]]}, ValueError, r"X has inf in row 1, column 0"),
    ({"y": [1.0, NAN]}, ValueError, r"y has nan in row 1;"),
    (
        {"X": []},
        ValueError,
        r"X must have a row of numbers for each example, at least one, shape \(n, nin\), got shape \(0,\)",
    ),
    ({"X": np.zeros((0, 2)), "y": []}, ValueError, r"got shape \(0, 2\)"),
    ({"X": [1.0, 2.0]}, ValueError, r"got shape \(2,\); see X.reshape\(-1, 1\)"),
    ({"X": np.zeros((2, 2, 2))}, ValueError, r"got shape \(2, 2, 2\)"),
    ({"X": [[1.0], [1.0, 2.0]]}, ValueError, r"X must have rows of one length"),
    ({"X": [["a", "b"], ["c", "d"]]}, TypeError, r"X must be real numbers, got dtype <U1"),
    ({"X": [[1.0, 2.0, 3.0]] * 2}, ValueError, r"x must have 2 entries"),
    ({"y": [1]}, ValueError, r"y must have a target for each of the 2 rows of X, shape \(2,\), got shape \(1,\)"),
    ({"y": 3}, ValueError, r"y must have a target for each of the 2 rows"),
    ({"y": [0, 3], "loss": "cross_entropy"}, ValueError, r"cross_entropy needs a model with an output for each class"),
    (
        {"y": [0, 2], "loss": "binary_cross_entropy_with_logits"},
        ValueError,
        r"target\[1\] must be in \[0, 1\], got 2.0",
    ),
    (
        {"y": [0, 1], "loss": "hinge_loss"},
        ValueError,
        r"target\[0\] must be -1 or \+1, got 0.0; labels 0 and 1 become these",
    ),
    (
        {"y": [[0.0, 1.0], [1.0, 0.0]]},
        ValueError,
        r"y does not fit mse_loss and 1 outputs: input and target must have the same shape",
    ),
    (
        {"validation": ([[1.0, 2.0]], [2])},
        ValueError,
        r"the validation data's y does not fit binary_.* target\[0\] must be in",
    ),
    ({"epochs": 0}, ValueError, r"epochs must be a positive integer, got 0"),
    ({"batch_size": 0}, ValueError, r"batch_size must be a positive integer, got 0"),
    ({"batch_size": 2.5}, TypeError, r"batch_size must be a positive integer, got 2.5"),
    ({"lr": 0}, ValueError, r"lr"),
    ({"lr": -1.0}, ValueError, r"lr"),
    ({"loss": "mse"}, ValueError, r"loss must be one of .*mse_loss.*, or a callable, got 'mse'"),
    ({"loss": 3}, TypeError, r"loss must be a name or a callable of outputs and targets, got 3"),
    ({"optimizer": "adamm"}, ValueError, r"optimizer must be one of sgd, adam, adamw, rmsprop, .*, got 'adamm'"),
    ({"optimizer": 3}, TypeError, r"optimizer must be a name"),
    ({"shuffle": "no"}, TypeError, r"shuffle must be True or False, got 'no'"),
    ({"compile": "yes"}, TypeError, r"compile must be True or False, got 'yes'"),
    ({"callback": 3}, TypeError, r"callback must be a function of the history, got 3"),
    (
        {"validation": 1.5},
        ValueError,
        r"validation must be a pair \(X, y\) or a share of the examples between 0 and 1, got 1.5",
    ),
    ({"validation": True}, ValueError, r"validation must be a pair"),
    ({"validation": 0.1}, ValueError, r"a share of 0.1 of 2 examples leaves none for validation"),
    ({"validation": ([[1.0, NAN]], [1])}, ValueError, r"the validation data's X has nan in row 0, column 1"),
    ({"validation": ([[1.0, 2.0]],)}, ValueError, r"validation must be a pair"),
    ({"validation": ([[1.0, 2.0, 3.0]], [1])}, ValueError, r"the validation data's X has 3 columns, X has 2"),
]


@pytest.mark.parametrize(("change", "error", "message"), BAD)
def test_bad_arguments_change_nothing(model, change, error, message):
    before = numbers(model)
    arguments = {"X": [[1.0, 2.0], [3.0, 4.0]], "y": [0, 1], **change}
    with pytest.raises(error, match=message):
        model.fit(arguments.pop("X"), arguments.pop("y"), progress=False, **arguments)
    assert numbers(model) == before


def test_labels_out_of_range():
    model = nn.MLP(2, [3], seed=0)
    with pytest.raises(
        ValueError,
        match=r"y does not fit cross_entropy and 3 outputs: target\[1\] must be the index of one of 3 classes",
    ):
        model.fit([[1.0, 2.0]] * 3, [0, 3, 1], progress=False)
    with pytest.raises(TypeError, match=r"convert it with int"):
        model.fit([[1.0, 2.0]] * 2, [0.0, 1.5], loss="cross_entropy", progress=False)
    with pytest.raises(ValueError, match=r"classes must be integers, y.astype\(int\)"):
        model.fit([[1.0, 2.0]] * 2, [0.0, 1.5], progress=False)


@pytest.mark.parametrize(
    ("targets", "loss"),
    [
        *[(name, None) for name in ("classes", "scores", "many", "numbers", "rows")],
        *[("rows", loss) for loss in ("binary_cross_entropy_with_logits", "huber_loss", "l1_loss")],
        ("scores in rows", "hinge_loss"),
    ],
)
def test_compiled_training_follows_eager_training(moons, targets, loss):
    X, y = moons
    rows = np.stack([y, 1 - y], 1)
    y = {
        "classes": y,
        "scores": 2 * y - 1,
        "many": y,
        "numbers": y * 0.5,
        "rows": rows * 1.0,
        "scores in rows": 2 * rows - 1,
    }[targets]
    nout = 3 if targets == "many" else 2 if y.ndim == 2 else 1
    histories = []
    for choice in (False, True, None):
        model = nn.MLP(2, [8, nout], activation="tanh", seed=3)
        histories.append(
            model.fit(X, y, epochs=10, batch_size=7, loss=loss, validation=0.2, seed=1, progress=False, compile=choice)
        )
    eager, compiled, by_itself = histories
    assert compiled.loss == pytest.approx(eager.loss, rel=1e-9)
    assert compiled.validation_loss == pytest.approx(eager.validation_loss, rel=1e-9)
    assert compiled.accuracy == eager.accuracy
    assert compiled.validation_accuracy == eager.validation_accuracy
    assert by_itself.loss == compiled.loss
    assert (eager.why_eager, compiled.why_eager) == ("compile=False", "")


class Halved(nn.Module):
    """A model that looks at its mode, and at a number that somebody may change."""

    def __init__(self):
        self.net, self.factor = nn.MLP(2, [3, 1], seed=0), 1.0

    def forward(self, x):
        return self.net(x) * (self.factor * (0.5 if self.training else 1))


def test_validation_is_evaluation_and_a_callback_may_change_the_model(moons):
    def train(compiled):
        model = Halved()

        def change(history):
            model.factor *= 0.9
            model.eval()

        return model.fit(*moons, epochs=4, validation=moons, seed=0, progress=False, compile=compiled, callback=change)

    eager, compiled = train(False), train(True)
    assert compiled.loss == pytest.approx(eager.loss, rel=1e-9)
    assert compiled.validation_loss == pytest.approx(eager.validation_loss, rel=1e-9)


def test_a_mode_of_ones_own_comes_back(moons):
    model = nn.Sequential(nn.Layer(2, 4), nn.Dropout(0.5), nn.Layer(4, 1, nonlin=False))
    model.layers[1].eval()
    outputs(model, moons[0])
    assert [m.training for m in (model, *model.layers)] == [True, True, False, True]
    assert len(model) == 3
    assert model[1] is model.layers[1]


def test_what_is_no_probability_is_named(moons):
    for choice in (True, False):
        with pytest.raises(
            ValueError, match=r"input\[\d+\] must be in \[0, 1\], got .*did you mean binary_cross_entropy_with_logits"
        ):
            nn.MLP(2, [4, 1], seed=0).fit(*moons, loss="binary_cross_entropy", progress=False, compile=choice)


def test_classes_that_a_model_cannot_have(moons, model):
    X, _ = moons
    with pytest.raises(ValueError, match=r"one output has two classes; a model for k classes has k outputs"):
        model.fit(X, np.arange(len(X)) % 3, progress=False)
    for y in (np.arange(len(X)) % 3, np.full(len(X), 2), np.linspace(0, 1, len(X))):
        with pytest.raises(ValueError, match="y must have the classes 0 and 1, or -1 and 1"):
            accuracy(model, X, y)
    with pytest.raises(ValueError, match="y must have the classes 0 to 2"):
        accuracy(nn.MLP(2, [3]), X, np.full(len(X), 7))
    assert accuracy(nn.MLP(2, [3], seed=0), X, np.ones((len(X), 3))) >= 0


def test_what_cannot_be_compiled_is_trained_step_by_step(moons):
    X, y = moons

    def branching(x):
        return model(x) if model(x) > 0 else model(x) * 0.5

    def random_scale(x):
        return model(x) * random.random()

    model = nn.MLP(2, [4, 1], seed=0)
    for call, reason in [
        (branching, "cannot be replayed"),
        (random_scale, "did something else when it was called again"),
    ]:
        net = nn.Sequential(call)
        net.parameters = model.parameters
        history = net.fit(X, y, epochs=1, progress=False)
        assert reason in history.why_eager
        with pytest.raises(microgradc.CompileError, match=reason):
            net.fit(X, y, epochs=1, progress=False, compile=True)
    history = model.fit(X, y, loss=lambda p, t: losses.mse_loss(p, t), epochs=1, progress=False)
    assert "a loss of your own" in history.why_eager


def test_an_optimizer_has_its_own_learning_rate(moons, model):
    with pytest.raises(ValueError, match="lr is given to the optimizer that you made"):
        model.fit(*moons, optimizer=optim.SGD(model.parameters(), lr=0.1), lr=0.1)
    with pytest.raises(ValueError, match="the optimizer has none of the model's parameters"):
        model.fit(*moons, optimizer=optim.SGD(nn.Neuron(2).parameters(), lr=0.1))
    with pytest.raises(TypeError, match=r"model must be a Module, or have a method parameters\(\)"):
        fit(lambda x: Value(x[0]), *moons)


@pytest.mark.parametrize("compiled", [True, False])
def test_a_list_of_one_output_is_that_output(moons, compiled):
    X, y = moons
    model = nn.MLP(2, [4, 1], seed=0)
    net = nn.Sequential(model, lambda v: [v])
    assert net.fit(X, y, epochs=2, seed=0, progress=False, compile=compiled).loss == pytest.approx(
        nn.MLP(2, [4, 1], seed=0).fit(X, y, epochs=2, seed=0, progress=False).loss, rel=1e-12
    )


def test_nan_in_the_data_if_one_insists(model):
    history = model.fit([[1.0, NAN], [3.0, 4.0]], [0, 1], epochs=2, check_finite=False, progress=False)
    assert len(history) == 2


def test_a_loss_that_becomes_nan_stops_before_the_step(model):
    X, y = [[1e200, 1.0], [1.0, 1.0]], [1e200, 0.0]
    before = numbers(model)
    with pytest.raises(
        FloatingPointError, match=r"the loss became (inf|nan); a lower learning rate than 0.01 may help"
    ):
        model.fit(X, y, progress=False)
    assert numbers(model) == before
    assert not model.training


def test_batches():
    X, y = np.arange(20).reshape(10, 2), list(range(10))
    seen = list(microgradc.batches(X, y, 4, seed=1))
    assert [len(b) for _, b in seen] == [4, 4, 2]
    assert all(isinstance(a, np.ndarray) and isinstance(b, list) for a, b in seen)
    assert sorted(i for _, b in seen for i in b) == y
    assert all((a[:, 0] == 2 * np.array(b)).all() for a, b in seen), "rows stay with their targets"
    again, other = ([b for _, b in microgradc.batches(X, y, 4, seed=seed)] for seed in (1, 2))
    assert [b for _, b in seen] == again != other
    assert [len(b) for _, b in microgradc.batches(X, y, 4, drop_last=True)] == [4, 4]
    assert [b for _, b in microgradc.batches(X, y, 20, shuffle=False)] == [y]
    random.seed(3)
    first = [b for _, b in microgradc.batches(X, y, 4)]
    random.seed(3)
    assert [b for _, b in microgradc.batches(X, y, 4)] == first
    for arguments, message in [
        (([], []), "at least one, got 0 and 0"),
        ((X, y[:3]), "got 10 and 3"),
        ((X, y, 0), "batch_size must be"),
    ]:
        with pytest.raises(ValueError, match=message):
            microgradc.batches(*arguments)
    with pytest.raises(TypeError, match=r"seed must be an integer, a random.Random, or None"):
        microgradc.batches(X, y, seed="1")
