"""Train a network of tanh neurons on exclusive or; then draw the graph of its loss with Graphviz.

    python examples/tanh_mlp_graph.py [--steps N] [--folder FOLDER]

Without the program `dot`, the pictures are drawn by `draw_graph`, and a warning says so.
"""

import argparse
from pathlib import Path

from microgradc import MLP, Value, draw_dot, mse_loss

X = [[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]]
Y = [-1.0, 1.0, 1.0, -1.0]


def train(model, steps, learning_rate=0.5):
    """Train by hand, with gradient descent."""
    for step in range(1, steps + 1):
        loss = mse_loss(model(X), Y)
        model.zero_grad()
        loss.backward()
        for p in model.parameters():
            p.data -= learning_rate * p.grad
        print(f"step {step:2d}   loss {loss.data:.6f}")


def labelled_loss(model):
    """Return the loss after training, with labels on parameters, inputs and outputs for the picture."""
    for name, p in model.named_parameters():   # such as layers.0.neurons.1.w.0
        p.label = name
    outputs = []
    for i, x in enumerate(X):
        outputs.append(model([Value(number, label=f"x[{i}][{j}]") for j, number in enumerate(x)]))
        outputs[-1].label = f"output {i}"
    loss = mse_loss(outputs, Y)
    loss.label = "loss"
    model.zero_grad()
    loss.backward()
    return loss


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--steps", type=int, default=40, help="how many steps to train (default: %(default)s)")
    parser.add_argument(
        "--folder", type=Path, default="tanh_mlp_graph-pictures", help="for the pictures (default: %(default)s)"
    )
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)

    model = MLP(2, [2, 1], activation="tanh", output_activation="tanh", seed=8)
    train(model, options.steps)
    for x, y in zip(X, Y, strict=True):
        print(f"{x} gives {model(x).data:6.3f}, wanted {y:4}")

    graph = draw_dot(labelled_loss(model))
    graph.attr(ranksep="1.5")   # inches between the columns: many lines need room
    print(f"the source of the loss's graph: {graph.save(options.folder / 'loss.gv')}")
    for ending in ("png", "svg"):
        print(f"drawn in {graph.render(outfile=options.folder / f'loss.{ending}')}")


if __name__ == "__main__":
    main()
