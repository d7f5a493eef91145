"""Pictures of graphs: what is in them, that nothing overlaps or is cut off, and that large graphs do no harm."""

import html
import pickle
import re
import shutil
import subprocess
import sys
from functools import partial
from itertools import combinations

import matplotlib.pyplot as plt
import numpy as np
import pytest
from graphs import build_values, recipes
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.text import Text

import microgradc
from microgradc import Value, viz
from microgradc.viz import figures

needs_dot = pytest.mark.skipif(shutil.which("dot") is None, reason="the program dot of Graphviz is not installed")

NASTY_LABELS = [
    'say "hi"',
    "a|b",
    "{x}",
    "<b>",
    "<b>bold</b>",
    "back\\slash",
    "\\",
    '\\"',
    "\\N",
    "\\n",
    "a -> b;",
    "&amp; & &lt;",
    "größe λ ≤",
    "$x^2$",
    "%s {0}",
    "]",
    "//",
    "'",
    "-",
    "a, b",
    "x = 1",
    "node",
]


def example():
    """f = tanh(x * w + b) * x, labelled, with gradients: a diamond, a constant, a node used twice."""
    x, w = Value(2.0, label="x"), Value(-3.0, label="w")
    s = x * w + 6.5
    s.label = "s"
    f = s.tanh() * x * s * s
    f.backward()
    return f


def printable(label):
    return " ".join("".join(c if c.isprintable() else " " for c in ("" if label is None else str(label))).split())


def chain(length):
    """A million nodes, of which a picture must not see more than it draws."""
    v = Value(1.0)
    for _ in range(length):
        v = v * 1.0000001
    return v


@pytest.fixture(autouse=True)
def no_state_is_left_behind():
    before = plt.get_fignums(), dict(plt.rcParams)
    yield
    assert (plt.get_fignums(), dict(plt.rcParams)) == before


def test_dot_is_micrograds_picture():
    x = Value(2.0, label="x")
    y = x * x
    y.backward()
    assert viz.draw_dot(y).source.split("\n") == [
        "digraph {",
        "\tgraph [rankdir=LR]",
        '\tn0 [label="{ data 4.0000 | grad 1.0000 }" shape=record]',
        '\top0 [label="*"]',
        "\top0 -> n0",
        "\tn1 -> op0",
        "\tn1 -> op0",
        '\tn1 [label="{ x | data 2.0000 | grad 4.0000 }" shape=record]',
        "}",
        "",
    ]


def test_dot_is_the_same_each_time():
    assert viz.draw_dot(example()).source == viz.draw_dot(example()).source


def test_dot_of_a_node_without_an_operation_leads_to_the_node_itself():
    v = Value(3.0, (Value(1.0), Value(2.0)))
    assert "n1 -> n0" in viz.draw_dot(v).source
    assert "op0" not in viz.draw_dot(v).source


def test_dot_direction_and_format():
    dot = viz.draw_dot(example(), format="png", rankdir="TB")
    assert "rankdir=TB" in dot.source
    assert dot.format == "png"
    with pytest.raises(ValueError, match="rankdir must be 'LR' or 'TB', got 'left'"):
        viz.draw_dot(example(), rankdir="left")
    with pytest.raises(ValueError, match="nonsense"):
        viz.draw_dot(example(), format="nonsense")


@needs_dot
def test_dot_shows_labels_as_they_are(tmp_path):
    root = microgradc.sum([Value(float(i), label=label) for i, label in enumerate(NASTY_LABELS)])
    root._op = 'a "<b>" \\N &amp; op'
    # Graphviz's own reading of the labels: the text in the picture.
    svg = viz.draw_dot(root).pipe(encoding="utf-8")
    texts = {" ".join(html.unescape(text).split()) for text in re.findall(r"<text[^>]*>(.*?)</text>", svg)}
    assert texts >= {*NASTY_LABELS, root._op}


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=40) | st.integers() | st.none() | st.tuples(st.text()))
def test_no_label_breaks_out_of_its_field(label):
    source = viz.draw_dot(Value(1.0, label=label)).source
    source.encode()  # no half surrogate pairs
    [quoted] = re.findall(r'n0 \[label="((?:[^"\\]|\\.)*)" shape=record\]', source)
    fields = re.split(r"(?<!\\)(?:\\\\)*\|", quoted)
    assert len(fields) == 2 + bool(printable(label))
    assert fields[-1] == " grad 0.0000 }"


@needs_dot
@pytest.mark.parametrize(("format", "start"), [("svg", b"<?xml"), ("png", b"\x89PNG\r\n")])
def test_dot_renders(tmp_path, format, start):
    path = viz.draw_dot(example(), format=format).render(tmp_path / "graph")
    with open(path, "rb") as file:
        assert file.read().startswith(start)


@needs_dot
def test_dot_shows_itself_in_a_notebook():
    bundle = viz.draw_dot(example())._repr_mimebundle_()
    assert set(bundle) == {"text/html", "image/png"}
    assert bundle["text/html"].startswith("<img ")
    assert bundle["image/png"].startswith(b"\x89PNG")


def drawn(figure):
    """The axes, their patches by name, their texts, and a renderer to measure them with."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    [ax] = figure.axes
    boxes = {
        name: [p for p in ax.patches if p.get_label() == f"_{name}"]
        for name in ("box", "operation", "edge", "arrowhead")
    }
    return ax, boxes, [t for t in ax.texts if isinstance(t, Text)], canvas.get_renderer()


def check_picture(figure, root):
    """Nothing overlaps, nothing is cut off, every text is in its box and every line leads from a box to a box."""
    ax, patches, texts, renderer = drawn(figure)
    boxes = [p.get_window_extent(renderer) for p in patches["box"]]
    for box in boxes:
        assert figure.bbox.x0 <= box.x0 < box.x1 <= figure.bbox.x1
        assert figure.bbox.y0 <= box.y0 < box.y1 <= figure.bbox.y1
    for a, b in combinations(boxes, 2):
        assert not a.overlaps(b)
    texts_in = {}
    for text in texts:
        extent = text.get_window_extent(renderer)
        home = [
            box
            for box in boxes
            if box.x0 <= extent.x0 and extent.x1 <= box.x1 and box.y0 <= extent.y0 and extent.y1 <= box.y1
        ]
        assert len(home) == 1, text
        assert not text.get_parse_math()
        texts_in.setdefault(id(home[0]), []).append(extent)
    for together in texts_in.values():
        for a, b in combinations(together, 2):
            assert not a.overlaps(b)
    for edge, head in zip(patches["edge"], patches["arrowhead"], strict=True):
        start, end = ax.transData.transform(edge.get_path().vertices[[0, -1]])
        assert any(abs(start[0] - box.x1) < 0.01 and box.y0 < start[1] < box.y1 for box in boxes)
        assert any(abs(end[0] - box.x0) < 0.01 and box.y0 < end[1] < box.y1 for box in boxes)
        assert ax.transData.transform(head.get_xy()[0]) == pytest.approx(end)
    if root is not None:
        nodes = microgradc.topological_sort(root)
        assert len(boxes) == len(nodes)
        assert len(patches["operation"]) == sum(bool(node._op) for node in nodes)
        assert len(patches["edge"]) == sum(len(node._children) for node in nodes)
        shown = sorted(text.get_text() for text in texts)
        assert shown == sorted(
            text
            for node in nodes
            for text in (node._op, str(node.label), f"data {node.data:.4f}", f"grad {node.grad:.4f}")
            if text
        )


def test_graph_of_an_example():
    check_picture(viz.draw_graph(example()), example())


def test_graph_of_one_node():
    check_picture(viz.draw_graph(Value(1.5, label="x")), Value(1.5, label="x"))


def test_graph_of_a_wide_sum():
    total = microgradc.sum([Value(0.1 * i, label=f"x{i}") for i in range(20)])
    check_picture(viz.draw_graph(total), total)


def test_graph_of_an_mlp():
    loss = microgradc.nn.MLP(3, [4, 4, 1])([0.5, -1.0, 2.0]).tanh()
    loss.backward()
    figure = viz.draw_graph(loss, collapse=False)
    check_picture(figure, None)
    width, height = figure.get_size_inches()
    assert 5 < width < 20
    assert 5 < height < 20


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(recipes(max_steps=12))
def test_graphs_of_random_graphs(recipe):
    root = build_values(recipe)[-1]
    check_picture(viz.draw_graph(root), None)
    for node in microgradc.topological_sort(root):
        node.label = "label" if node.label == "" else node.label
    small = viz.draw_graph(root, figsize=(8, 6))
    small.set_dpi(300)  # letters of five pixels are placed on whole pixels, and run over their box
    check_picture(small, None)


@pytest.mark.parametrize(
    ("x", "shown"),
    [
        (0.0, "0.0000"),
        (-0.0, "-0.0000"),
        (1e-300, "1.0000e-300"),
        (-5e-324, "-4.9407e-324"),
        (123456789.0, "1.2346e+08"),
        (0.001, "0.0010"),
        (float("inf"), "inf"),
        (float("nan"), "nan"),
        (999999.5, "999999.5000"),
        (1.7e308, "1.7000e+308"),
        (-2.5, "-2.5000"),
    ],
)
def test_numbers(x, shown):
    figure = viz.draw_graph(Value(x))
    check_picture(figure, None)
    assert figure.axes[0].texts[0].get_text() == f"data {shown}"
    assert f"data {shown} " in viz.draw_dot(Value(x)).source
    assert f"data {shown} " in viz.format_graph(Value(x))


@pytest.mark.parametrize(
    "label", [*NASTY_LABELS, "x" * 500, "W" * 32, 7, ("a", 1), "two\nlines\tand tab", "\x00\ud800"]
)
def test_labels(label):
    """No mathtext, no control characters; long ones are shortened."""
    figure = viz.draw_graph(Value(1.0, label=label) * 2)
    check_picture(figure, None)
    shown = printable(label)
    texts = [text.get_text() for text in figure.axes[0].texts]
    if shown:
        assert shown in texts or shown[:31] + "…" in texts
    else:
        assert len(texts) == 7  # two for the operand, two for the constant, three for the result


@pytest.mark.parametrize("label", [np.array([1, 2]), np.array([]), np.array([""])])
def test_labels_that_have_no_truth_value(label):
    v = Value(3.0)
    v.label = label
    shown = str(label)
    assert shown in [text.get_text() for text in viz.draw_graph(v * v).axes[0].texts]
    assert shown in viz.draw_dot(v * v).source
    assert shown in viz.format_graph(v * v)


def test_pictures_pickled_by_version_0_1():
    old = Figure(figsize=(1, 1))
    old._repr_png_ = partial(figures._png, old)         # which is pickled by its name
    again = pickle.loads(pickle.dumps(old))
    assert again._repr_png_().startswith(b"\x89PNG")


def test_no_label_is_no_line():
    for label in ("", None):
        assert [text.get_text() for text in viz.draw_graph(Value(1.0, label=label)).axes[0].texts] == [
            "data 1.0000",
            "grad 0.0000",
        ]


@pytest.mark.parametrize("layout", [None, "tight", "constrained"])
def test_graph_in_given_axes(layout):
    figure, (ax, other) = plt.subplots(1, 2, figsize=(12, 4), layout=layout)
    assert viz.draw_graph(example(), ax=ax) is figure
    assert not other.patches
    other.remove()
    check_picture(figure, example())
    plt.close(figure)
    with pytest.raises(ValueError, match="give one of the two"):
        viz.draw_graph(example(), ax=ax, figsize=(3, 3))
    with pytest.raises(TypeError, match="Axes"):
        viz.draw_graph(example(), ax=figure)


def test_graph_of_a_deep_graph_fits_into_a_figure():
    figure = viz.draw_graph(chain(600), max_nodes=900)
    assert figure.get_size_inches()[0] == pytest.approx(viz.boxes.LARGEST_FIGURE)
    assert figure.get_size_inches()[0] * 300 < 2**16


@pytest.mark.parametrize(("format", "start"), [("svg", b"<?xml"), ("png", b"\x89PNG\r\n")])
def test_graph_is_saved(tmp_path, format, start):
    viz.draw_graph(example()).savefig(tmp_path / f"graph.{format}")
    assert (tmp_path / f"graph.{format}").read_bytes().startswith(start)


def test_graph_shows_itself_in_a_notebook():
    assert viz.draw_graph(example())._repr_png_().startswith(b"\x89PNG")


def test_text_refers_to_what_occurs_again():
    x = Value(2.0, label="x")
    y = x * x
    z = y.exp() + y
    z.backward()
    assert viz.format_graph(z).split("\n") == [
        "#1 + | data 58.5982 | grad 1.0000",
        "├─ #2 exp | data 54.5982 | grad 1.0000",
        "│  └─ #3 * | data 4.0000 | grad 55.5982",
        "│     ├─ #4 x | data 2.0000 | grad 222.3926",
        "│     └─ x, see #4",
        "└─ *, see #3",
    ]


@settings(max_examples=30, deadline=None)
@given(recipes())
def test_text_has_each_node_once_and_each_edge(recipe):
    root = build_values(recipe)[-1]
    nodes = microgradc.topological_sort(root)
    lines = viz.format_graph(root, max_nodes=10_000).split("\n")
    assert len(lines) == 1 + sum(len(node._children) for node in nodes)
    assert sum("data" in line for line in lines) == len(nodes)


def test_of_a_large_graph_the_part_nearest_to_the_root_is_shown():
    root = chain(1_000_000)
    figure = viz.draw_graph(root, max_nodes=21)
    check_picture(figure, None)
    texts = [text.get_text() for text in figure.axes[0].texts]
    assert texts.count("*") == 11  # and 10 constants
    assert [text for text in texts if "more" in text] == ["… 2 more"]
    assert re.findall(r'"… .*more"', viz.draw_dot(root, max_nodes=21).source) == ['"… 2 more"']
    lines = viz.format_graph(root, max_nodes=21).split("\n")
    assert len(lines) == 22
    assert [line.lstrip(" │├└─") for line in lines if "more" in line] == ["… 2 more"]


def test_a_node_with_a_million_operands():
    same, different = microgradc.sum([Value(1.0)] * 1_000_000), microgradc.sum([Value(1.0) for _ in range(1_000_000)])
    assert "… 999,920 more" in viz.format_graph(same, max_nodes=10)
    assert "… 999,991 more" in viz.format_graph(different, max_nodes=10)
    check_picture(viz.draw_graph(different, max_nodes=10), None)


def test_all_nodes_are_shown_if_there_are_as_many_as_may_be():
    assert "more" not in viz.format_graph(chain(10), max_nodes=21)
    assert "more" in viz.format_graph(chain(10), max_nodes=20)


def test_only_the_root():
    assert viz.format_graph(chain(10), max_nodes=1).split("\n")[1] == "└─ … 2 more"


@pytest.mark.parametrize("draw", [viz.draw_dot, viz.draw_graph, viz.format_graph])
def test_errors(draw):
    with pytest.raises(TypeError, match=r"root must be a Value, the result whose graph is drawn, got float 1\.0"):
        draw(1.0)
    for bad in (0, -1, 2.5, True, None):
        kind = ValueError if type(bad) is int else TypeError
        with pytest.raises(kind, match=f"max_nodes must be a positive integer, got {bad}"):
            draw(Value(1.0), max_nodes=bad)


@pytest.mark.parametrize(
    ("missing", "call", "message"),
    [
        ("matplotlib", "draw_graph(Value(1.0))", "pip install matplotlib"),
        ("matplotlib", "plot_history([1.0])", "pip install matplotlib"),
    ],
)
def test_a_missing_package_is_named(run_python, missing, call, message):
    program = f"""
import sys
sys.modules[{missing!r}] = None
from microgradc import Value
from microgradc.viz import *
format_graph(Value(1.0))
try:
    {call}
except ImportError as error:
    print(error)
"""
    assert message in run_python(program)


def test_import_is_light():
    program = "import sys, microgradc.viz; print([m for m in ('matplotlib', 'graphviz') if m in sys.modules])"
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def test_colours_by_the_size_of_gradients():
    x, w, dead, bad = (Value(v, label=n) for v, n in ((2.0, "x"), (1e-3, "w"), (-1.0, "dead"), (0.0, "bad")))
    y = x * w * 1e-2 + dead.relu() + bad.sqrt()
    y.backward()
    source = viz.draw_dot(y, color="grad").source
    shade = dict(re.findall(r'label="\{ (\w+) \|.*?fillcolor="(#\w+)"', source))
    assert set(shade) == {"x", "w", "dead", "bad"}
    assert (shade["dead"], shade["bad"]) == ("#ffffff", "#e78ac3")
    assert int(shade["w"][3:5], 16) < int(shade["x"][3:5], 16) < 255        # the larger, the darker
    assert "fillcolor" not in viz.draw_dot(y).source
    boxes = [p for p in viz.draw_graph(y, color="grad").axes[0].patches if p.get_label() == "_box"]
    faces = [to_hex(p.get_facecolor()) for p in boxes]
    assert set(shade.values()) < set(faces)
    plain = [p for p in viz.draw_graph(y).axes[0].patches if p.get_label() == "_box"]
    assert {to_hex(p.get_facecolor()) for p in plain} == {"#ffffff"}
    for draw in (viz.draw_dot, viz.draw_graph):
        with pytest.raises(ValueError, match="color must be None or 'grad', the size of gradients, got 'red'"):
            draw(y, color="red")
    viz.draw_graph(Value(1.0), color="grad")        # no gradients at all
