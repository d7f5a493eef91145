"""What notebooks show of objects: HTML in which names of users are texts, at once however large the object is, and
without an effect."""

import random
import re
from html.parser import HTMLParser

import pytest

import microgradc
from microgradc import MLP, History, Program, Value, compile, make_moons, nn, scan
from microgradc.cells import MOST_ROWS, fold, html, in_a_cell, line, lines, listed, never_fails, one_line, table
from microgradc.engine import detect_anomaly
from microgradc.program.graph import Graph, Loop

HOSTILE = "<script>alert('x')</script><img src=x onerror=\"alert('y')\">&amp;"

# What JupyterLab leaves in notebooks that are not trusted, of what is used here.
TAGS = {"b", "code", "details", "div", "pre", "summary", "table", "tbody", "td", "th", "thead", "tr"}


class Checked(HTMLParser):
    """A page: its tags are closed and of these kinds, and have no attribute but a harmless style."""

    def __init__(self, page):
        super().__init__()
        self.open, self.texts = [], []
        self.feed(page)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attrs):
        assert tag in TAGS
        assert attrs in ([], [("style", "text-align: left")])
        self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data)


def shown(thing):
    """What a cell shows of a thing, as text."""
    page = thing._repr_html_()
    page.encode()        # no halves of surrogate pairs
    return "".join(Checked(page).texts)


def compiled(name="f"):
    def f(x, y):
        return (x * y).tanh()

    f.__qualname__ = name
    return compile(f)


def network():
    class Net(nn.Module):
        def __init__(self):
            self.scale = Value(2.0)
            self.rows = {"a": [Value(1.0), Value(3.0)]}
            self.inner = MLP(2, [3, 1], seed=0)
            self.name = "text"
            self._hidden = [Value(1.0)]

    return Net()


def a_graph():
    graph = Graph()
    x, w = graph.input(), graph.parameter()
    graph.outputs = [graph.add("tanh", graph.add("mul", x, w))]
    return graph


def a_history():
    return MLP(2, [3, 1], seed=0).fit(*make_moons(30, random_state=0), epochs=3, progress=False)


def a_loop():
    body = Graph()
    body.outputs = [body.add("mul", body.input(), body.parameter())]
    return Loop(body, 7, 1, 0)


def test_a_value():
    x = Value(2.0, label="x")
    y = x * 3
    y.label = "y"
    assert shown(y) == "Value(data=6.0, grad=0) · y · made by *, of 2 operands"
    assert shown(x) == "Value(data=2.0, grad=0) · x"
    assert shown(Value(1.0)) == "Value(data=1.0, grad=0)"
    assert shown(microgradc.sum([x] * 5)).endswith("made by sum, of 5 operands")


def test_a_program_a_graph_and_a_loop():
    x, w = Value(1.0), Value(3.0)
    program = Program((w * x).tanh(), [x])
    assert shown(program).startswith("Program · 1 input · 1 parameter · 1 output · 4 expressions")
    text = shown(a_graph())
    assert text.startswith("Graph · 4 expressions · 1 input · 1 parameter · 1 outputthe expressions%0 = input 0")
    assert "%3 = tanh %2" in shown(a_graph())
    assert shown(a_loop()).startswith("Loop · 7 iterations · carries: 1 · xs: 0 · ys: 0")


def test_a_graph_with_loops():
    @compile
    def power(x):
        return scan(lambda carry, _: (carry * x, carry), Value(1.0), length=8)[0]

    power(1.5)
    text = shown(power)
    assert "1 recording" in text
    assert "recorded fornumber" in text.replace("inputsparametersoutputs", "")
    assert "loop 0: Loop: 8 iterations" in text
    assert "scan" in text


def test_a_compiled_function(tmp_path):
    f = compiled()
    assert shown(f) == "<compiled f> · not recorded yet"
    f(1.0, 2.0)
    assert "1 recording" in shown(f)
    assert "number, number" in shown(f)
    rate = Value(0.05)
    g = compile(lambda price: price * rate)
    g.save(tmp_path / "g", 100.0)
    loaded = microgradc.load_compiled(tmp_path / "g")
    text = shown(loaded)
    assert "1 recording" in text
    assert "1 parameter" in text
    assert "0.05" in text


def test_modules():
    text = shown(MLP(2, [16, 16, 1]))
    assert text.startswith("MLP · 337 parameters · in training mode")
    assert "layers.1Layer: 16 → 16, ReLU272" in text
    text = shown(network().eval())
    assert text.startswith("Net · 16 parameters · in evaluation mode")
    for row in ("scaleValue(data=2.0, grad=0)1", "rowsdict of 12", "innerMLP of [Layer of", "13"):
        assert row in text
    assert "text" not in text
    assert shown(nn.Sequential(nn.Layer(2, 3), nn.Dropout(0.5), microgradc.softmax)).count("layers.") == 2
    assert shown(nn.Neuron(3)).startswith("Neuron · 4 parameters")


def test_a_history():
    text = shown(a_history())
    assert text.startswith("History · 3 epochs · loss")
    assert "epoch by epoch" in text
    long = History()
    long.loss, long.lr, long.seconds = [1.0] * 1000, [0.1] * 1000, [0.0] * 1000
    assert long._repr_html_().count("<tr>") == 1 + MOST_ROWS + 1
    assert shown(History()) == "History · 0 epochs"


@pytest.mark.parametrize("name", [HOSTILE, "\ud800\x00\n\t", "x" * 10_000, "\u202e"])
def test_names_of_users_are_texts(name):
    history = History()
    history.metrics, history.loss = {name: [1.0, 2.0]}, [1.0, 0.5]
    net = network()
    setattr(net, name, [Value(5.0)])
    net.dictionary = {name: Value(1.0)}
    Named = type("Named", (nn.Module,), {})
    Named.__name__ = name.replace("\x00", "").replace("\ud800", "")
    f = compiled(name)
    f(1.0, 2.0)
    value = Value(1.0, label=name) * 2
    value.label = value._op = name
    for thing in (value, history, net, Named(), f):
        shown(thing)     # which checks the tags
        assert "<script" not in thing._repr_html_()
        assert len(thing._repr_html_()) < 4000
    if name == HOSTILE:
        assert HOSTILE in shown(net)


def test_cells_do_not_grow_with_what_is_behind(monkeypatch):
    v = Value(1.0)
    for _ in range(1_000_000):
        v = v * 1.0000001
    reads = []
    monkeypatch.setattr(microgradc.engine.value, "topological_sort", reads.append)
    assert len(v._repr_html_()) < 200
    assert not reads
    x = Value(1.0)
    y = x
    for i in range(100_000):
        y = (y + Value(float(i))) if i % 2 else y.tanh()
    program = Program(y, [x])
    assert len(program._repr_html_()) < 2500
    wide = Graph()
    inputs = [wide.input() for _ in range(50_000)]
    wide.outputs = [wide.add("sum", *inputs)]
    assert len(wide._repr_html_()) < 2500
    assert "… 49,970 more" in Graph.first_lines(wide, 30)[0] or len(wide.first_lines(30)) == 30
    small = Graph()
    small.outputs = [small.add("sum", *[small.input() for _ in range(20)])]
    assert small.first_lines(21)[20] == str(small).splitlines()[20]
    assert small.first_lines(3) == ["%0 = input 0", "%1 = input 1", "%2 = input 2"]


def test_a_program_is_not_planned_for_a_cell():
    """Steps are made when a program runs or prints; a cell shows what was recorded."""
    x = Value(1.0)
    program = Program(x.tanh(), [x])
    program._repr_html_()
    x.data = 2.0
    assert "%1 = tanh %0" in shown(program)
    assert "rows" not in shown(program)


def test_a_repr_of_a_wide_layer_is_short():
    model = MLP(784, [128, 10])
    assert repr(model.layers[0]) == "Layer of [ReLUNeuron(784), ReLUNeuron(784), ReLUNeuron(784), … 128 in all]"
    assert len(repr(model)) < 300
    assert len(model._repr_html_()) < 1500
    assert repr(MLP(2, [32, 1])).count("ReLUNeuron") == 32          # micrograd's


def test_cells_change_nothing_and_are_not_recorded():
    x = Value(2.0, label="x")
    y = (x * 3).tanh()
    heard = []
    x.register_hook(heard.append)
    before = [(n._op, n.data, n.grad, n.label) for n in microgradc.topological_sort(y)]
    f = compiled()
    f(1.0, 2.0)
    model, history, state = MLP(2, [3, 1], seed=0), a_history(), random.getstate()
    used = list(f._recordings.used)
    with detect_anomaly():
        for thing in (x, y, f, model, history, a_graph(), a_loop()):
            thing._repr_html_()
            repr(thing)
    assert before == [(n._op, n.data, n.grad, n.label) for n in microgradc.topological_sort(y)]
    assert not heard
    assert used == list(f._recordings.used)
    assert random.getstate() == state
    y.backward()
    assert len(heard) == 1

    @compile
    def looked_at(a):
        b = a * 2
        pages.append(b._repr_html_())
        return b

    pages = []
    assert looked_at(3.0).data == 6.0
    assert "recorded" in pages[0]        # no number of one example gets out


KINDS = [Program, Graph, Loop, History, MLP, nn.Sequential, nn.Layer, nn.Neuron, nn.Dropout, nn.Activation,
         nn.Embedding, nn.LayerNorm, nn.Softmax, nn.Flatten, Value, type(compiled()), microgradc.Partial]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_half_built_things(kind):
    thing = kind.__new__(kind, 1.0) if kind is Value else kind.__new__(kind)
    assert isinstance(repr(thing), str)
    if hasattr(kind, "_repr_html_"):
        assert isinstance(thing._repr_html_(), str | None)


class Trouble:
    """Nothing that is asked of it works."""

    def __getattribute__(self, name):
        raise ZeroDivisionError

    __repr__ = __str__ = __len__ = __iter__ = lambda self: 1 / 0


def test_things_that_do_not_work():
    model = MLP(2, [3, 1])
    model.layers[0] = Trouble()
    assert repr(model).startswith("<microgradc.nn.containers.MLP object at")
    assert model._repr_html_() is None
    model.layers = None
    assert isinstance(repr(model), str)
    assert Value(1.0, label=Trouble())._repr_html_() is None
    history = History()
    history.loss = ["a", None]
    assert isinstance(repr(history), str)
    assert history._repr_html_() is None
    around = nn.Sequential(nn.Layer(1, 1))
    around.layers.append(around)
    assert repr(around) == "Sequential of [Layer of [ReLUNeuron(1)], ...]"
    assert "2 parameters" in shown(around)


def test_a_repr_of_the_users_is_shown():
    class Mine(Value):
        def __repr__(self):
            return f"<b>{self.data}</b>"

    assert shown(Mine(2.0)) == "<b>2.0</b>"


def test_parts():
    assert html("a<b>") == "a&lt;b&gt;"
    assert html("x" * 200, 10) == "x" * 9 + "…"
    assert one_line("a\n\tb\x00 c") == "a b c"
    assert line("<b>x</b>", ["", "a&b"]) == "<div><b>x</b> · a&amp;b</div>"
    assert Checked(fold("a<", lines(["1 < 2", "3"]))).texts == ["a<", "1 < 2\n3"]
    row = '<tr><td style="text-align: left">a</td><td>1</td></tr>'
    assert table([], [["a", 1]]) == f"<table><tbody>{row}</tbody></table>"
    assert table(["n"], [[i] for i in range(100)]).count("<tr>") == MOST_ROWS + 2
    assert "… 95 more" in table(["n", "m"], [[i, i] for i in range(5)], 100)
    assert listed(iter("abc"), 3) == "a, b, c"
    assert in_a_cell(lambda: 1 / 0) is None

    class Fails:
        @never_fails
        def __repr__(self):
            return 1 / 0

    assert re.fullmatch(r"<.*Fails object at 0x\w+>", repr(Fails()))
