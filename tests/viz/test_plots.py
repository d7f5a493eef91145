"""Pictures of training: the curves, points, areas and labels that are drawn, and bad input."""

import itertools
import math
from types import SimpleNamespace

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.colors import to_rgb

from microgradc import Value, data, nn
from microgradc.viz import plot_decision_boundary, plot_history
from microgradc.viz import training as plots


@pytest.fixture(autouse=True)
def no_state_is_left_behind():
    before = plt.get_fignums(), dict(plt.rcParams)
    yield
    assert (plt.get_fignums(), dict(plt.rcParams)) == before


def image_of(figure):
    """The figure's pixels, and a function from a point of its axes to the colour there."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    pixels = np.asarray(canvas.buffer_rgba())[::-1, :, :3] / 255

    def colour_at(x, y):
        column, row = figure.axes[0].transData.transform((x, y)).astype(int)
        return pixels[row, column]

    return colour_at


def pale(colour):
    """A colour of 25 % on white."""
    return pytest.approx(0.75 + 0.25 * np.array(to_rgb(colour)), abs=0.01)


SQUARE = [[-1, -1], [1, 1], [-1, 1], [1, -1]]


def test_areas_have_the_colour_of_the_class_of_one_output():
    figure = plot_decision_boundary(lambda x: x[0] * 2 - 1, SQUARE, [0, 1, 0, 1], resolution=20)
    colour_at = image_of(figure)
    assert colour_at(0.4, 0.3) == pale(plots.COLOURS[0])
    assert colour_at(0.6, 0.3) == pale(plots.COLOURS[1])


def test_threshold():
    figure = plot_decision_boundary(
        lambda x: 1 / (1 + np.exp(-x[0])), SQUARE, [0, 1, 0, 1], threshold=0.5, resolution=20
    )
    colour_at = image_of(figure)
    assert colour_at(-0.1, 0.3) == pale(plots.COLOURS[0])
    assert colour_at(0.1, 0.3) == pale(plots.COLOURS[1])


def test_areas_have_the_colour_of_the_largest_output():
    figure = plot_decision_boundary(lambda x: [x[0], x[1], Value(0.0)], SQUARE, [2, 1, 1, 0], resolution=20)
    colour_at = image_of(figure)
    for k, point in enumerate([(0.9, 0.3), (0.3, 0.9), (-0.5, -0.5)]):
        assert colour_at(*point) == pale(plots.COLOURS[k])


def test_points_and_legend():
    X, y = data.make_blobs([5, 7, 9], random_state=1)
    [ax] = plot_decision_boundary(nn.MLP(2, [4, 3]), X, y, resolution=5).axes
    points = {c.get_label(): c for c in ax.collections if not c.get_label().startswith("_")}
    assert list(points) == ["0", "1", "2"] == [text.get_text() for text in ax.get_legend().get_texts()]
    for k in range(3):
        np.testing.assert_array_equal(points[str(k)].get_offsets(), X[y == k])
        assert to_rgb(points[str(k)].get_facecolor()[0]) == to_rgb(plots.COLOURS[k])
    assert ax.get_xlabel() == "x[0]"
    assert ax.get_ylabel() == "x[1]"
    assert ax.get_xlim()[0] < X[:, 0].min() < X[:, 0].max() < ax.get_xlim()[1]
    assert ax.get_ylim()[0] < X[:, 1].min() < X[:, 1].max() < ax.get_ylim()[1]


@pytest.mark.parametrize(
    ("y", "colours"),
    [
        ([-1, -1, 1, 1], {"-1": 0, "1": 1}),
        ([1.0] * 4, {"1.0": 1}),
        ([0] * 4, {"0": 0}),
        (["no", "yes", "no", "no"], {"no": 0, "yes": 1}),
        ([False, True, True, True], {"False": 0, "True": 1}),
    ],
)
def test_classes_of_one_output(y, colours):
    [ax] = plot_decision_boundary(lambda x: x[0], SQUARE, y, resolution=5).axes
    found = {c.get_label(): to_rgb(c.get_facecolor()[0]) for c in ax.collections if not c.get_label().startswith("_")}
    assert found == {label: to_rgb(plots.COLOURS[k]) for label, k in colours.items()}


@pytest.mark.parametrize("score", [0.0, 1.0, float("nan"), float("inf"), -float("inf")])
def test_a_model_that_says_the_same_everywhere(score):
    plot_decision_boundary(lambda x: score, SQUARE, [0, 1, 0, 1], resolution=5).canvas.draw()
    plot_decision_boundary(lambda x: [score, score, 0.0], SQUARE, [0, 1, 0, 2], resolution=5).canvas.draw()


def test_all_points_in_one_place():
    plot_decision_boundary(lambda x: x[0], [[3.0, 4.0]] * 2, [0, 1], resolution=5).canvas.draw()


def test_the_model_is_in_evaluation_mode_without_a_graph_and_back_afterwards():
    class Model:
        training = True

        def train(self, mode=True):
            self.training = mode

        def eval(self):
            self.train(False)

        def __call__(self, x):
            assert not self.training
            assert not (w * x[0])._children
            if broken:
                raise ZeroDivisionError
            return w * x[0]

    w, model, broken = Value(2.0), Model(), False
    plot_decision_boundary(model, SQUARE, [0, 1, 0, 1], resolution=3)
    assert model.training
    broken = True
    with pytest.raises(ZeroDivisionError):
        plot_decision_boundary(model, SQUARE, [0, 1, 0, 1], resolution=3)
    assert model.training
    broken = False
    model.eval()
    plot_decision_boundary(model, SQUARE, [0, 1, 0, 1], resolution=3)
    assert not model.training


@pytest.mark.parametrize(
    ("X", "y", "arguments", "message"),
    [
        ([[1.0, 2.0, 3.0]], [0], {}, r"X must have shape \(n, 2\).*got \(1, 3\)"),
        ([1.0, 2.0], [0, 1], {}, r"X must have shape \(n, 2\).*got \(2,\)"),
        (np.empty((0, 2)), [], {}, r"at least one point, got \(0, 2\)"),
        ([[1.0, 2.0], [1.0]], [0, 1], {}, r"X must be an array of numbers of shape \(n, 2\)"),
        ([["a", "b"]], [0], {}, "X must be an array of numbers"),
        ([[1.0, float("nan")]], [0], {}, "X must be finite"),
        (SQUARE, [0, 1], {}, r"y must have shape \(4,\), a class for each point of X, got \(2,\)"),
        (SQUARE, [0, 1, 2, 2], {}, "y must have at most 2 classes for a model of one output, got 3"),
        (SQUARE, [0, 1, 0, 1], {"resolution": 1}, "resolution must be an integer of at least 2, got 1"),
    ],
)
def test_bad_data(X, y, arguments, message):
    with pytest.raises(ValueError, match=message):
        plot_decision_boundary(lambda x: x[0], X, y, **arguments)


def test_bad_models():
    with pytest.raises(ValueError, match=r"y must have classes 0 to 2, or 3 different ones.*got 2"):
        plot_decision_boundary(lambda x: [x[0], x[1], 0], SQUARE, [0, 5, 0, 5], resolution=3)
    with pytest.raises(ValueError, match=r"a number or a list of numbers, always as many, got one of shape \(1, 2\)"):
        plot_decision_boundary(lambda x: [x], SQUARE, [0, 1, 0, 1], resolution=3)
    with pytest.raises(TypeError, match="model must be a callable of a list of two numbers, got list"):
        plot_decision_boundary([], SQUARE, [0, 1, 0, 1])
    with pytest.raises(TypeError, match="ax must be matplotlib's Axes"):
        plot_decision_boundary(lambda x: x[0], SQUARE, [0, 1, 0, 1], "ax")


def history(**lists):
    return SimpleNamespace(**{"loss": [], "accuracy": [], "validation_loss": [], "validation_accuracy": [], **lists})


def curves_of(figure):
    return {
        line.get_label(): (line.get_xdata().tolist(), line.get_ydata().tolist())
        for ax in figure.axes
        for line in ax.get_lines()
    }


FULL = history(
    loss=[3.0, 2.0, 1.5],
    accuracy=[0.5, None, 0.75],
    validation_loss=[None, 2.5, 2.0],
    validation_accuracy=[0.25, 0.5, 0.625],
)


@pytest.mark.parametrize("given", [False, True])
def test_history_has_all_curves(given):
    figure, ax = plt.subplots() if given else (None, None)
    result = plot_history(FULL, ax)
    assert curves_of(result) == {
        "loss": ([1, 2, 3], [3.0, 2.0, 1.5]),
        "validation loss": ([2, 3], [2.5, 2.0]),
        "accuracy": ([1, 3], [0.5, 0.75]),
        "validation accuracy": ([1, 2, 3], [0.25, 0.5, 0.625]),
    }
    assert [ax.get_ylabel() for ax in result.axes] == ["loss", "accuracy"]
    assert "epoch" in [ax.get_xlabel() for ax in result.axes]
    legends = [text.get_text() for ax in result.axes if ax.get_legend() for text in ax.get_legend().get_texts()]
    assert legends == ["loss", "validation loss", "accuracy", "validation accuracy"]
    assert given == (result is figure)
    plt.close("all")


@pytest.mark.parametrize(
    "losses",
    [
        [3.0, 2.0],
        (3.0, 2.0),
        np.array([3.0, 2.0]),
        [Value(3.0), Value(2.0)],
        history(loss=[3.0, 2.0]),
        SimpleNamespace(loss=[3, 2]),
        history(loss=[3.0, 2.0], accuracy=[None, None]),
    ],
)
def test_a_loss_alone(losses):
    figure = plot_history(losses)
    assert curves_of(figure) == {"loss": ([1, 2], [3.0, 2.0])}
    assert len(figure.axes) == 1
    assert figure.axes[0].get_legend() is None


@pytest.mark.parametrize(
    ("losses", "scale"),
    [
        ([1.0, 0.009], "log"),
        ([1.0, 0.02], "linear"),
        ([1.0, 0.0], "linear"),
        ([1.0, -100.0], "linear"),
        ([5.0], "linear"),
        ([1e-3, float("inf"), float("nan"), 1.0], "log"),
        ([float("nan")], "linear"),
    ],
)
def test_scale_of_the_loss(losses, scale):
    figure = plot_history(losses)
    figure.canvas.draw()
    assert figure.axes[0].get_yscale() == scale


def test_history_shows_itself_in_a_notebook():
    assert plot_history(FULL)._repr_png_().startswith(b"\x89PNG")


def test_bad_histories():
    for empty in ([], [None], history(), history(accuracy=[1.0])):
        with pytest.raises(ValueError, match="a loss of at least one epoch, got none"):
            plot_history(empty)
    for wrong in (3.0, "losses", None):
        with pytest.raises(TypeError, match="history must be a History or a list of losses, got"):
            plot_history(wrong)


def test_each_part_keeps_its_mode():
    model = nn.Sequential(nn.Dropout(0.9), nn.MLP(2, [3, 1]), nn.Dropout(0.9))
    for modes in itertools.product([True, False], repeat=4):
        parts = [model, *list(model.modules())[1:4]]
        for part, mode in zip(parts, modes, strict=True):
            part.training = mode
        before = [part.training for part in model.modules()]
        figures = [plot_decision_boundary(model, SQUARE, [0, 1, 0, 1], resolution=3) for _ in range(2)]
        assert [part.training for part in model.modules()] == before
        paths = [[path.vertices.tolist() for c in f.axes[0].collections for path in c.get_paths()] for f in figures]
        assert paths[0] == paths[1]      # dropout was off in every part
        with pytest.raises(ZeroDivisionError):
            plot_decision_boundary(Failing(model), SQUARE, [0, 1, 0, 1], resolution=3)
        assert [part.training for part in model.modules()] == before


class Failing(nn.Module):
    def __init__(self, model):
        self.model = model

    def forward(self, x):
        raise ZeroDivisionError


def test_a_long_history_is_drawn_by_what_its_picture_shows():
    losses = np.random.default_rng(0).random(200_000) + 1.0
    losses[77_777], losses[123_456], losses[1000:3000] = 9.0, -5.0, math.nan
    [line] = plot_history(losses.tolist()).axes[0].get_lines()
    x, y = line.get_xdata(), line.get_ydata()
    assert len(x) <= 8_000
    assert (x[0], x[-1]) == (1, 200_000)
    assert (np.diff(x) > 0).all()
    assert dict(zip(x.tolist(), y.tolist(), strict=True))[77_778] == 9.0
    assert np.nanmin(y) == -5.0
    assert np.isnan(y).any()
    np.testing.assert_array_equal(y, losses[np.array(x) - 1])
