"""History: a table, a frame, a picture; and the bar that shows it, in a terminal and in a notebook."""

import builtins
import copy
import pickle
import time

import pytest

import microgradc
from microgradc import History, ProgressBar, nn
from microgradc.train import loop
from microgradc.train.data import make_moons

X, Y = make_moons(40, noise=0.1, random_state=0)


@pytest.fixture
def history():
    found = History()
    for i in range(3):
        found.append({"loss": 1 / (i + 1), "accuracy": 0.5 + i / 4, "f1": 0.25, "validation_f1": i, "lr": 0.1,
                      "seconds": 0.01})
    return found


def test_it_prints_as_a_table(history):
    assert str(history).splitlines() == [
        "epoch    loss  accuracy    f1  validation_f1   lr  seconds",
        "    1       1     50.0%  0.25              0  0.1    0.010",
        "    2     0.5     75.0%  0.25              1  0.1    0.010",
        "    3  0.3333    100.0%  0.25              2  0.1    0.010",
    ]
    assert "\n" not in repr(history)
    history.interrupted = True
    assert str(history).endswith("interrupted")
    long = History()
    for i in range(1000):
        long.append({"loss": i})
    lines = str(long).splitlines()
    assert len(lines) == 22
    assert [line.split() for line in lines[9:13]] == [["9", "8"], ["10", "9"], ["…", "…"], ["991", "990"]]


def test_lists_by_name(history):
    assert history["f1"] is history.f1 is history.metrics["f1"]
    assert history["loss"] is history.loss
    with pytest.raises(KeyError, match=r"the history has loss, accuracy, f1, .*, not 'f2'"):
        history["f2"]
    with pytest.raises(AttributeError, match="History has no attribute 'f2'"):
        history.f2  # noqa: B018
    for other in (pickle.loads(pickle.dumps(history)), copy.deepcopy(history), copy.copy(history)):
        assert str(other) == str(history)
        assert other.validation_f1 == [0, 1, 2]


def test_what_is_not_whole_is_cut(history):
    history.loss.append(0.1)
    history.accuracy.append(0.1)
    history.cut()
    assert {len(history[name]) for name in history.names()} == {3}
    other = History()
    other.extend([{"loss": 1.0}, {"loss": 2.0}])
    other.cut()
    assert len(other) == 0


def test_a_pickle_of_before(history):
    state = {name: entry for name, entry in vars(history).items() if name not in ("metrics", "epochs")}
    other = History.__new__(History)
    other.__setstate__(state)
    assert repr(other) == "<History: 3 epochs, loss 0.3333, accuracy 100.0%>"


def test_a_frame(history, monkeypatch):
    frame = history.frame()
    assert frame.index.name == "epoch"
    assert frame.index.tolist() == [1, 2, 3]
    assert list(frame) == ["loss", "accuracy", "f1", "validation_f1", "lr", "seconds"]
    assert frame.accuracy.tolist() == history.accuracy
    plain = builtins.__import__

    def without(name, *args):
        if name == "pandas":
            raise ImportError(name)
        return plain(name, *args)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ImportError, match=r"History.frame\(\) needs pandas: pip install pandas"):
        history.frame()


def test_it_draws_itself(history):
    figure = history.plot()
    assert [ax.get_ylabel() for ax in figure.axes] == ["loss", "accuracy"]
    assert history.plot(figure.axes[0]) is figure


def test_a_bar_that_says_that_the_model_is_recorded(capsys, monkeypatch):
    monkeypatch.setattr(loop, "LONG", 0.05)
    model = nn.Sequential(nn.MLP(2, [4, 1], seed=0), lambda v: (time.sleep(0.05), v)[1])
    model.fit(X, Y, epochs=2)
    err = capsys.readouterr().err
    assert err.index("recording the model") < err.index("training")
    assert "2/2" in err


def test_a_bar_is_closed_after_an_error(capsys):
    class Breaks:
        def on_epoch_end(self, model, history):
            raise ZeroDivisionError

    bar = ProgressBar()
    with pytest.raises(ZeroDivisionError):
        nn.MLP(2, [4, 1]).fit(X, Y, callbacks=[bar, Breaks()])
    assert bar._bar is None
    assert capsys.readouterr().err.endswith("\n")


def test_in_a_notebook_a_bar_is_one_line_and_no_stream():
    nbclient, nbformat = pytest.importorskip("nbclient"), pytest.importorskip("nbformat")
    code = "from microgradc import MLP, make_moons\nh = MLP(2, [8, 1], seed=0).fit(*make_moons(60), epochs=300)\n"
    code += "from microgradc import EarlyStopping\nh = MLP(2, [8, 1], seed=0).fit(*make_moons(60), epochs=30, "
    code += "validation=0.2, callbacks=[EarlyStopping()])"
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(code)])
    nbclient.NotebookClient(book, timeout=120, kernel_name="python3").execute()
    outputs = book.cells[0].outputs
    assert [o.output_type for o in outputs] == ["display_data"] * 2, outputs
    lines = [o.data["text/plain"] for o in outputs]
    assert all("\n" not in line and "\r" not in line for line in lines)
    assert "training, compiled: 100%" in lines[0]
    assert "300/300" in lines[0]
    assert "accuracy=" in lines[0]


def test_it_is_a_public_name():
    assert microgradc.History is History
