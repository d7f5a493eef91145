"""Draw the pictures that the README and the pages in this folder show.

    python docs/make_pictures.py [FOLDER]
"""

import sys
from io import BytesIO
from pathlib import Path

from matplotlib.figure import Figure
from PIL import Image

from microgradc import MLP, Value, accuracy, draw_graph, make_moons, plot_decision_boundary, plot_history


def expression():
    """The expression of micrograd's lecture, with its gradients."""
    a, b, c, f = Value(2.0, label="a"), Value(-3.0, label="b"), Value(10.0, label="c"), Value(-2.0, label="f")
    d = a * b + c
    d.label = "d"
    L = d * f
    L.label = "L"
    L.backward()
    return draw_graph(L)


def layers():
    """The loss of the lecture's network."""
    xs, ys = [[2.0, 3.0, -1.0], [3.0, -1.0, 0.5], [0.5, 1.0, 1.0], [1.0, 1.0, -1.0]], [1.0, -1.0, -1.0, 1.0]
    model = MLP(3, [4, 4, 1], activation="tanh", output_activation="tanh", seed=0)
    loss = sum((model(x) - y) ** 2 for x, y in zip(xs, ys, strict=True))
    loss.backward()
    return draw_graph(loss)


def training():
    """Two moons: what an MLP has learnt, and how."""
    X, y = make_moons(200, noise=0.15, random_state=0)
    model = MLP(2, [16, 16, 1], activation="tanh", seed=0)
    history = model.fit(X, y, epochs=60, validation=0.25, seed=0, progress=False)
    return plot_decision_boundary(model, X, y), plot_history(history)


def learning(epochs):
    """The frames of a film: the boundary between two moons before the training, and after each epoch."""
    X, y = make_moons(200, noise=0.15, random_state=0)
    model, frames = MLP(2, [16, 16, 1], activation="tanh", seed=0), []

    def draw(done):
        figure = Figure(figsize=(6, 3.6), dpi=100)
        axes = figure.add_axes((0, 0, 1, 1))    # to the edges: it looks the same on any page
        plot_decision_boundary(model, X, y, ax=axes, resolution=60)
        axes.set_axis_off()
        axes.get_legend().remove()
        says = f"epoch {done:2d}   accuracy {accuracy(model, X, y):6.1%}"
        box = {"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "boxstyle": "round,pad=0.4"}
        axes.text(0.02, 0.04, says, transform=axes.transAxes, family="monospace", size=12, color="#222222", bbox=box)
        figure.savefig(png := BytesIO(), format="png")
        frames.append(Image.open(png).convert("RGB"))

    draw(0)
    model.fit(X, y, epochs=epochs, lr=0.005, seed=0, progress=False, callback=lambda history: draw(len(history)))
    return frames


def save_film(frames, path):
    """Write frames as a GIF that is repeated, and stays at the last frame for a while. All have the last's colours."""
    palette = frames[-1].quantize(48)
    first, *rest = [frame.quantize(palette=palette, dither=Image.Dither.NONE) for frame in frames]
    durations = [600] + [100] * (len(rest) - 1) + [3000]
    first.save(path, save_all=True, append_images=rest, duration=durations, loop=0, optimize=False)


def main(folder, epochs=40):
    moons, history = training()
    graphs = [("expression", expression(), 150), ("layers", layers(), 150)]
    for name, figure, dpi in [*graphs, ("moons", moons, 100), ("history", history, 100)]:
        figure.savefig(folder / f"{name}.png", dpi=dpi)
    save_film(learning(epochs), folder / "learning.gif")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / "images")
