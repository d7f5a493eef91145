"""Train as in PyTorch: forward pass, backward pass, optimizer step. Choose a loss and an optimizer.

    python examples/training_loop.py [--loss mse_loss|hinge_loss|binary_cross_entropy_with_logits] [--optimizer
    SGD|Adam] [--folder FOLDER]

The script draws the decision boundary and the loss curve. `model.fit(X, y)` is this loop with a progress bar and
checks; see digits.py.
"""

import argparse
from pathlib import Path

import microgradc
from microgradc import MLP, accuracy, batches, plot_decision_boundary, plot_history

LEARNING_RATES = {"SGD": 0.15, "Adam": 0.02}
LOSSES = ["mse_loss", "hinge_loss", "binary_cross_entropy_with_logits"]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument(
        "--loss", choices=LOSSES, default="binary_cross_entropy_with_logits", help="default: %(default)s"
    )
    parser.add_argument("--optimizer", choices=LEARNING_RATES, default="Adam", help="default: %(default)s")
    parser.add_argument(
        "--epochs", type=int, default=100, help="how often to go through the points (default: %(default)s)"
    )
    parser.add_argument(
        "--folder", type=Path, default="training_loop-pictures", help="for the pictures (default: %(default)s)"
    )
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)

    X, y = microgradc.make_moons(200, noise=0.15, random_state=0)
    if options.loss != "binary_cross_entropy_with_logits":
        y = 2 * y - 1   # the other losses need -1 and 1 instead of 0 and 1
    model = MLP(2, [16, 16, 1], activation="tanh", init="xavier_uniform", seed=0)
    loss_of = getattr(microgradc, options.loss)
    optimizer = getattr(microgradc, options.optimizer)(model.parameters(), lr=LEARNING_RATES[options.optimizer])

    losses = []
    for epoch in range(1, options.epochs + 1):
        total = 0.0
        for X_batch, y_batch in batches(X, y, batch_size=20, seed=epoch):
            predictions = model(X_batch)
            loss = loss_of(predictions, y_batch)

            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item() * len(y_batch)
        losses.append(total / len(y))
        if epoch % 10 == 0 or epoch == options.epochs:
            print(f"epoch {epoch:3d}   loss {losses[-1]:.4f}   accuracy {accuracy(model, X, y):.1%}")

    for name, figure in {
        "decision-boundary": plot_decision_boundary(model, X, y),
        "loss": plot_history(losses),
    }.items():
        path = options.folder / f"{name}.png"
        figure.savefig(path, dpi=150)
        print(f"drawn in {path}")


if __name__ == "__main__":
    main()
