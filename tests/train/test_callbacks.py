"""Callbacks of fit: one protocol, early stopping, files of the best model, a bar."""

import numpy as np
import pytest

import microgradc
from microgradc import EarlyStopping, History, ModelCheckpoint, ProgressBar, Value, nn, optim
from microgradc.train.data import make_moons

X, Y = make_moons(60, noise=0.3, random_state=0)


class Seen:
    def __init__(self, answers=()):
        self.answers, self.lengths, self.events = dict(answers), [], []

    def on_train_begin(self, model, history):
        self.events.append("begin")

    def on_epoch_end(self, model, history):
        assert isinstance(model, nn.MLP)
        self.lengths.append(len(history))
        return self.answers.get(len(history))

    def on_train_end(self, model, history):
        self.events.append("end")


def fit(callbacks, **settings):
    model = nn.MLP(2, [6, 1], seed=0)
    settings = {"epochs": 8, "seed": 0, "progress": False, **settings}
    return model, model.fit(X, Y, callbacks=callbacks, **settings)


@pytest.mark.parametrize("answer", [True, np.True_, np.bool_(1), 1])
def test_a_true_result_ends_the_training(answer):
    one, other = Seen({3: answer}), Seen({3: np.False_, 2: 0})
    _, history = fit([one, other])
    assert len(history) == 3
    assert one.lengths == other.lengths == [1, 2, 3], "all of them are asked"
    assert one.events == ["begin", "end"]


def test_callbacks_are_objects_with_the_method():
    for bad in ([lambda h: True], [EarlyStopping], ["x"], 3):
        with pytest.raises(TypeError, match=r"callbacks must be objects with a method on_epoch_end\(model, history\)"):
            fit(bad)
    with pytest.raises(TypeError, match="a function of the history is given as callback="):
        fit([lambda h: True])
    seen = Seen()
    assert len(fit(seen)[1]) == 8
    assert seen.lengths == list(range(1, 9))


def by_hand(losses, patience, min_delta):
    """Return after how many epochs Keras' rule ends, and which was the best."""
    best, best_epoch, wait = float("inf"), 0, 0
    for epoch, loss in enumerate(losses, 1):
        wait += 1
        if loss < best - min_delta:
            best, best_epoch, wait = loss, epoch, 0
        if wait >= patience:
            return epoch, best_epoch
    return len(losses), best_epoch


@pytest.mark.parametrize(("patience", "min_delta"), [(1, 0), (3, 0), (3, 0.02), (40, 0)])
@pytest.mark.parametrize("validation", [None, 0.3])
def test_early_stopping(patience, min_delta, validation):
    numbers = []

    class Numbers:
        def on_epoch_end(self, model, history):
            numbers.append(model.vector().copy())

    settings = {"epochs": 60, "lr": 0.2, "validation": validation}
    _, full = fit([], **settings)
    stop = EarlyStopping(patience, min_delta)
    model, history = fit([Numbers(), stop], **settings)
    losses = full.validation_loss if validation else full.loss
    count, best = by_hand(losses, patience, min_delta)
    assert (len(history), stop.best_epoch, stop.best) == (count, best, losses[best - 1])
    assert (model.vector() == numbers[best - 1]).all(), "restored, though the epochs may have come to their end"
    assert (fit([EarlyStopping(patience, min_delta, restore_best=False)], **settings)[0].vector() == numbers[-1]).all()


def test_early_stopping_monitors_what_it_is_told():
    stop = EarlyStopping(3, monitor="accuracy")
    _, history = fit([stop], epochs=100, lr=0.1)
    assert stop.best == max(history.accuracy)
    assert stop.best_epoch == history.accuracy.index(stop.best) + 1 == len(history) - 3
    with pytest.raises(ValueError, match="monitor must be one of loss, accuracy, got 'validation_loss'"):
        fit([EarlyStopping(monitor="validation_loss")])
    with pytest.raises(TypeError, match="monitor must be the name of a list"):
        EarlyStopping(monitor=3)
    with pytest.raises(ValueError, match="patience"):
        EarlyStopping(-1)
    with pytest.raises(TypeError, match=r"EarlyStopping.* 'restore_best_weights'. Did you mean 'restore_best'"):
        EarlyStopping(restore_best_weights=True)


def test_one_early_stopping_for_two_trainings():
    stop = EarlyStopping(2)
    lengths = [len(fit([stop], lr=0.5, epochs=200)[1]) for _ in range(2)]
    assert lengths[0] == lengths[1] < 200


def test_early_stopping_of_a_model_that_is_no_module():
    class Line:
        def __init__(self):
            self.w, self.b = Value(0.0), Value(0.0)

        def parameters(self):
            return [self.w, self.b]

        def __call__(self, x):
            return self.w * x[1] + self.b

    line, stop = Line(), EarlyStopping(2)
    history = microgradc.fit(line, X, Y, optimizer="sgd", lr=30.0, epochs=50, callbacks=[stop], seed=0, progress=False)
    assert stop.best == min(history.loss)
    assert len(history) < 50


def test_checkpoints(tmp_path):
    path = tmp_path / "last.safetensors"
    model, _ = fit([ModelCheckpoint(path)])
    assert (microgradc.load(nn.MLP(2, [6, 1]), path).vector() == model.vector()).all()
    fit([ModelCheckpoint(tmp_path / "{epoch:02d}.safetensors")], epochs=3)
    assert sorted(p.name for p in tmp_path.glob("0*")) == [f"0{i}.safetensors" for i in (1, 2, 3)]


@pytest.mark.parametrize("path", ["{epoch}-{loss}", "{epoch", "{epoch:x.}"])
def test_a_path_with_other_braces(path):
    with pytest.raises(ValueError, match=r"path may have \{epoch\} in it, and nothing else in braces"):
        ModelCheckpoint(path)
    assert ModelCheckpoint("{loss}").path == "{loss}"


def test_a_checkpoint_is_the_whole_model(tmp_path):
    path = tmp_path / "model.safetensors"
    model = nn.Sequential(nn.Layer(2, 4), nn.Dropout(0.5), nn.Layer(4, 1, activation="linear"))
    model.fit(X, np.where(Y, "in", "out"), epochs=2, callbacks=[ModelCheckpoint(path)], progress=False)
    copy = microgradc.load_model(path)
    assert not any(part.training for part in copy.modules()), "as fit leaves the model"
    assert (copy.predict(X) == model.predict(X)).all()


def test_a_checkpoint_of_a_class_of_ones_own_has_its_numbers(tmp_path):
    class Own(nn.Module):
        def __init__(self, seed):
            self.inner = nn.MLP(2, [3, 1], seed=seed)

        def forward(self, x):
            return self.inner(x) * 2

    path, model = tmp_path / "own.safetensors", Own(0)
    model.fit(X, Y, epochs=2, callbacks=[ModelCheckpoint(path)], progress=False)
    assert (microgradc.load(Own(1), path).vector() == model.vector()).all()


def test_the_best_checkpoint(tmp_path):
    path = tmp_path / "best.safetensors"
    stop = EarlyStopping(5, monitor="loss")
    model, history = fit([ModelCheckpoint(path, save_best_only=True, monitor="loss"), stop], epochs=60, lr=0.5)
    assert stop.best_epoch < len(history)
    assert (microgradc.load(nn.MLP(2, [6, 1]), path).vector() == model.vector()).all()


def test_a_bar_of_ones_own_is_the_only_one(capsys):
    fit([ProgressBar()], progress=True)
    err = capsys.readouterr().err
    assert err.count("100%") == 1
    assert "8/8" in err
    fit([ProgressBar()])
    assert "100%" in capsys.readouterr().err


def test_a_schedule_is_stepped_by_a_callback_too():
    class Halve:
        def on_epoch_end(self, model, history):
            optimizer.param_groups[0]["lr"] /= 2

    model = nn.MLP(2, [6, 1], seed=0)
    optimizer = optim.SGD(model.parameters(), lr=0.4)
    assert model.fit(X, Y, optimizer=optimizer, callbacks=[Halve()], epochs=3, progress=False).lr == [0.4, 0.2, 0.1]
    assert isinstance(History(), History)
