"""Large graphs as a few boxes: which nodes are in one, what it says, and that no work is done beyond a limit."""

import random
import re
from base64 import b64decode

import numpy as np
import pytest
from test_viz import check_picture

import microgradc
from microgradc import MLP, Value, draw_dot, draw_graph
from microgradc.viz import collapse
from microgradc.viz.collapse import contents_of


class Neuron:
    """The lecture's: a chain of products and sums."""

    def __init__(self, nin):
        self.w = [Value(random.uniform(-1, 1)) for _ in range(nin)]
        self.b = Value(random.uniform(-1, 1))

    def __call__(self, x):
        return sum((wi * xi for wi, xi in zip(self.w, x, strict=True)), self.b).tanh()


class Net:
    def __init__(self, nin, nouts):
        sizes = [nin, *nouts]
        self.layers = [[Neuron(a) for _ in range(b)] for a, b in zip(sizes, nouts, strict=False)]

    def __call__(self, x):
        for layer in self.layers:
            x = [neuron(x) for neuron in layer]
        return x[0] if len(x) == 1 else x


XS = [[2.0, 3.0, -1.0], [3.0, -1.0, 0.5], [0.5, 1.0, 1.0], [1.0, 1.0, -1.0]]
YS = [1.0, -1.0, -1.0, 1.0]


def lecture(model=None):
    random.seed(0)
    model = model or Net(3, [4, 4, 1])
    loss = sum((model(x) - y) ** 2 for x, y in zip(XS, YS, strict=True))
    loss.backward()
    return loss


def words(contents):
    """Each box but for its numbers, from the root."""
    return [" ".join([box.op, *box.label, *box.lines[:-2]]).strip() for box in contents.boxes]


LECTURE = [
    "+ sum of 5",
    "",
    "**2 4 times",
    "- 4 times",
    "tanh 1 neuron of 4 inputs 5 parameters 4 times",
    "4 numbers",
    "tanh 4 neurons of 4 inputs 20 parameters 4 times",
    "tanh 4 neurons of 3 inputs 16 parameters 4 times",
    "48 numbers",
]


def test_the_lectures_loss_is_a_box_for_each_layer():
    loss = lecture()
    contents = contents_of(loss, 200, None)
    assert words(contents) == LECTURE
    assert contents.operands == [[1, 2], [], [3], [4, 5], [6], [], [7], [8], []]
    assert not any(contents.hidden)
    own = microgradc.nn.MLP(3, [4, 4, 1], activation="tanh", output_activation="tanh", seed=0)
    assert words(contents_of(lecture(own), 200, None)) == LECTURE


def test_its_picture_is_small_and_readable():
    figure = draw_graph(lecture())
    check_picture(figure, None)
    html = figure._repr_html_()
    svg = b64decode(re.search(r"base64,([^\"]*)", html)[1]).decode()
    assert len(html) < 30_000
    assert len(figure._repr_png_()) < 100_000
    assert "4 neurons of 3 inputs" in svg       # as text, which can be searched
    assert max(figure.get_size_inches()) < 20
    assert draw_dot(lecture()).source.count("shape=record") == 9
    assert len(draw_graph(lecture(), collapse=False)._repr_html_()) > 10 * len(html)


def test_numbers_of_a_box_are_the_least_and_the_largest():
    model = Net(2, [8, 8, 1])
    out = model([Value(1.0), Value(2.0)])
    out.backward()
    box = next(box for box in contents_of(out, 200, True).boxes if box.label == ["8 neurons of 2 inputs"])
    first = box.nodes
    assert len(first) == 8
    low, high = min(n.data for n in first), max(n.data for n in first)
    assert box.lines[-2] == f"data {low:.4f} … {high:.4f}"
    assert box.lines[:-2] == ["24 parameters"]
    first[0].data, first[1].grad = float("nan"), float("inf")
    again = next(b for b in contents_of(out, 200, True).boxes if b.label == ["8 neurons of 2 inputs"])
    assert [line.endswith(", 1 not finite") for line in again.lines[-2:]] == [True, True]


def test_a_small_graph_stays_as_it_is():
    out = MLP(2, [2, 1], seed=0)([1.0, -1.0])
    assert len(contents_of(out, 200, None).boxes) == len(microgradc.topological_sort(out))
    assert len(contents_of(out, 200, True).boxes) == 3


def test_a_graph_that_does_not_get_smaller_stays_as_it_is():
    v = Value(1.0)
    for i in range(70):
        v = v.tanh() if i % 2 else v.exp()
    assert len(contents_of(v, 200, None).boxes) == 71


def test_parameters_in_a_penalty_have_boxes_of_their_own():
    model = MLP(2, [8, 8, 1], seed=0)
    loss = model([1.0, 2.0]) ** 2 + 0.1 * sum(p * p for p in model.parameters())
    shown = words(contents_of(loss, 200, None))
    assert "+ sum of 105 products" in shown or any("105 products" in text for text in shown)
    assert "ReLU 8 neurons of 8 inputs" in shown        # without parameters: they are beside it
    assert {"64 numbers", "16 numbers", "8 numbers"} <= set(shown)


def test_inputs_before_weights():
    w = [[Value(random.random()) for _ in range(20)] for _ in range(3)]
    b = [Value(0.0) for _ in range(3)]
    total = 0
    for _ in range(5):
        x = [Value(random.random()) for _ in range(20)]
        for row, bias in zip(w, b, strict=True):
            total = total + sum((xi * wi for xi, wi in zip(x, row, strict=True)), bias).relu()
    assert "ReLU 3 neurons of 20 inputs 63 parameters 5 times" in words(contents_of(total, 200, None))


def test_labels():
    model = MLP(2, [8, 8, 1], seed=0)
    for name, p in model.named_parameters():
        p.label = name
    loss = sum((model([1.0, 2.0]) - 1.0) ** 2 for _ in range(4)) + sum(p**2 for p in model.parameters())
    labels = [box.label[0] for box in contents_of(loss, 200, None).boxes if box.label]
    assert "layers.0.neurons…" in labels
    a, b = lecture(), lecture()
    a.label = "<script>alert(1)</script>"
    total = a + b
    shown = [box.label for box in contents_of(total, 200, None).boxes]
    assert any(label and label[0] == "<script>alert(1)</script>" for label in shown)
    assert "<script" not in draw_graph(total)._repr_html_()
    html = draw_graph(total)._repr_html_()
    svg = b64decode(re.search(r"base64,([^\"]*)", html)[1]).decode()
    assert "<script" not in svg
    assert "&lt;script&gt;" in svg


def test_colours_are_those_of_the_largest_gradient():
    source = draw_dot(lecture(), color="grad").source
    assert source.count("fillcolor") == 9


def test_boxes_are_few():
    contents = contents_of(lecture(), 4, None)
    assert len(contents.boxes) == 4
    assert contents.hidden == [0, 0, 0, 8]      # the outputs and the targets, of 4 examples
    check_picture(draw_graph(lecture(), max_nodes=4), None)


def test_no_more_nodes_are_looked_at_than_the_limit(monkeypatch):
    monkeypatch.setattr(collapse, "LOOKED_AT", 30)
    monkeypatch.setattr(collapse, "MOST_LOOKED_AT", 300)
    seen = []

    class Part(collapse.Part):
        def __init__(self, root, max_nodes):
            super().__init__(root, max_nodes)
            seen.append(len(self.nodes))

    monkeypatch.setattr(collapse, "Part", Part)
    v = Value(1.0)
    for _ in range(100_000):
        v = v * 1.0000001
    contents_of(v, 21, None)
    assert max(seen) == 300
    monkeypatch.setattr(collapse, "LOOKED_AT_FOR_A_BOX", 10)
    seen.clear()
    contents_of(v, 21, None)
    assert max(seen) == 210         # as few boxes show little, little is looked at
    model = MLP(2, [16, 16, 1], seed=0)
    contents = contents_of(sum(model([1.0, float(i)]) for i in range(50)), 200, True)
    assert any(contents.hidden)


def test_errors():
    for draw in (draw_dot, draw_graph):
        for bad, shown in (("yes", "'yes'"), (np.array([1, 2]), r"array\(\[1, 2\]\)"), (1.0, "1.0"), (1, "1")):
            with pytest.raises(TypeError, match=f"collapse must be True, False or None, got {shown}$"):
                draw(Value(1.0), collapse=bad)
        draw(Value(1.0), collapse=np.True_)


def values(count):
    return [Value(float(i)) for i in range(count)]


def test_layers_without_bias():
    """Of two factors that are both leaves, the first are the weights, as in micrograd's w * x."""
    rows, inputs = [values(3) for _ in range(16)], values(3)
    one = microgradc.sum([microgradc.dot(row, inputs).tanh() for row in rows])
    assert words(contents_of(one, 200, None)) == [
        "sum sum of 16", "tanh 16 neurons of 3 inputs 48 parameters", "3 numbers"
    ]
    two = microgradc.sum([microgradc.dot(row, x).tanh() for x in (inputs, values(3)) for row in rows])
    assert "tanh 16 neurons of 3 inputs 48 parameters 2 times" in words(contents_of(two, 200, None))
    # Constants are new ones each time: what there is less of are the weights.
    after = microgradc.sum([microgradc.dot([1.0, 2.0, 3.0], row).tanh() for _ in range(5) for row in rows])
    assert "tanh 16 neurons of 3 inputs 48 parameters 5 times" in words(contents_of(after, 200, None))


@pytest.mark.parametrize(
    ("of", "shown"),
    [(microgradc.sum, "sum sum of 1,000"), (microgradc.mean, "mean"), (sum, "+ sum of 1,001"),
     (microgradc.logsumexp, "logsumexp")],
)
def test_many_operands_of_one_node_are_one_box(of, shown):
    contents = contents_of(of(values(1000)), 200, None)
    assert words(contents)[0] == shown
    assert words(contents)[1].endswith("00 numbers" if of is not sum else "01 numbers")
    assert len(contents.boxes) == 2
    assert contents.hidden == [0, 0]


def test_a_sum_of_more_than_is_looked_at():
    contents = contents_of(microgradc.sum([v**2 for v in values(50_000)]), 20, None)
    assert words(contents) == ["sum sum of 50,000", "**2 19,999 times"]
    assert contents.hidden == [30_001, 19_999]


def test_a_layer_that_is_not_all_there_is_counted_as_it_is():
    """Three neurons, of which one is used for the second example."""
    rows, biases = [values(3) for _ in range(3)], values(3)
    used = [microgradc.dot(row, values(3), b).tanh() for row, b in zip(rows, biases, strict=True)]
    used.append(microgradc.dot(rows[0], values(3), biases[0]).tanh())
    box = next(b for b in contents_of(microgradc.sum(used), 200, True).boxes if b.op == "tanh")
    assert [*box.label, *box.lines[:-2]] == ["3 neurons of 3 inputs", "12 parameters", "4 in all"]


def test_what_is_hidden_is_counted_for_its_user_alone():
    """Two groups share a hidden one, of which each uses half."""
    leaves = values(10)
    squares = [v**2 for v in leaves]
    total = microgradc.sum([s.exp() for s in squares[:4]]) + microgradc.sum([s.tanh() for s in squares[4:]])
    contents = contents_of(total, 3, True)
    assert len(contents.boxes) == 3
    assert sorted(contents.hidden) == [0, 4, 6]
