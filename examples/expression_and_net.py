"""Draw a labelled expression with matplotlib; then train a network with 3 inputs on four points, in 20 steps.

    python examples/expression_and_net.py [--folder FOLDER]
"""

import argparse
from pathlib import Path

from microgradc import MLP, Value, draw_graph

XS = [[2.0, 3.0, -1.0], [3.0, -1.0, 0.5], [0.5, 1.0, 1.0], [1.0, 1.0, -1.0]]
YS = [1.0, -1.0, -1.0, 1.0]


def draw_expression(path):
    """Draw L = (a * b + c) * f with its gradients."""
    a = Value(2.0, label="a")
    b = Value(-3.0, label="b")
    c = Value(10.0, label="c")
    f = Value(-2.0, label="f")
    e = a * b
    e.label = "e"
    d = e + c
    d.label = "d"
    L = d * f
    L.label = "L"
    L.backward()
    print(f"L = {L.data}; dL/da = {a.grad}, dL/db = {b.grad}, dL/dc = {c.grad}, dL/df = {f.grad}")
    draw_graph(L).savefig(path, dpi=200)
    print(f"drawn in {path}")


def train(steps=20, learning_rate=0.1):
    """Train by hand: predictions, loss, gradients, update."""
    net = MLP(3, [4, 4, 1], activation="tanh", output_activation="tanh", seed=1)
    print("predictions before:", show(net(XS)), " wanted:", YS)
    for step in range(1, steps + 1):
        predictions = net(XS)
        loss = sum((prediction - y) ** 2 for prediction, y in zip(predictions, YS, strict=True))
        net.zero_grad()
        loss.backward()
        for p in net.parameters():
            p.data -= learning_rate * p.grad
        print(f"step {step:2d}   loss {loss.data:.6f}")
    print("predictions after: ", show(net(XS)), " wanted:", YS)


def show(predictions):
    return [round(p.data, 3) for p in predictions]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument(
        "--folder", type=Path, default="expression_and_net-pictures", help="for the picture (default: %(default)s)"
    )
    folder = parser.parse_args().folder
    folder.mkdir(parents=True, exist_ok=True)
    draw_expression(folder / "expression.png")
    train()


if __name__ == "__main__":
    main()
