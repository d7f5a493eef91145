"""Draw the pictures that the README and the pages in this folder show.

    python docs/make_pictures.py [FOLDER]
"""

import sys
from pathlib import Path

from microgradc import MLP, Value, draw_graph, make_moons, plot_decision_boundary, plot_history


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


def main(folder):
    moons, history = training()
    graphs = [("expression", expression(), 150), ("layers", layers(), 150)]
    for name, figure, dpi in [*graphs, ("moons", moons, 100), ("history", history, 100)]:
        figure.savefig(folder / f"{name}.png", dpi=dpi)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / "images")
