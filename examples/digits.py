"""Classify handwritten digits with an MLP of scalars: 64 inputs, 32 hidden neurons, 10 outputs.

    python examples/digits.py [--epochs N] [--seed N] [--folder FOLDER]

The images of 8 by 8 pixels come from scikit-learn (`pip install scikit-learn`). The network trains in a few seconds.
Then the script saves it, and loads it again.
"""

import argparse
from pathlib import Path
from time import perf_counter

from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

import microgradc
from microgradc import MLP, Adam, CosineAnnealingLR, accuracy, plot_history


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument(
        "--epochs", type=int, default=20, help="how often to go through the images (default: %(default)s)"
    )
    parser.add_argument(
        "--seed", type=int, default=0, help="for the split, the initial weights and the order (default: %(default)s)"
    )
    parser.add_argument(
        "--folder", type=Path, default="digits-results", help="for the model and a picture (default: %(default)s)"
    )
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)

    images, digits = load_digits(return_X_y=True)
    X, X_test, y, y_test = train_test_split(
        images / 16, digits, test_size=0.25, stratify=digits, random_state=options.seed
    )
    model = MLP(64, [32, 10], init="kaiming_uniform", seed=options.seed)
    print(f"{len(y)} images to learn from, {len(y_test)} to test with; {len(model.parameters())} parameters")

    optimizer = Adam(model.parameters(), lr=0.01)
    schedule = CosineAnnealingLR(optimizer, T_max=options.epochs)   # large steps first, small steps last
    begin = perf_counter()
    history = model.fit(
        X,
        y,
        loss="cross_entropy",   # takes the ten outputs as logits: no softmax in the model
        optimizer=optimizer,
        epochs=options.epochs,
        seed=options.seed,
        validation=(X_test, y_test),   # evaluated, not trained on
        callback=lambda history: schedule.step(),
    )
    seconds = perf_counter() - begin
    print(f"training      {seconds:.1f} s, {seconds / options.epochs:.2f} s an epoch")
    print(f"test accuracy {accuracy(model, X_test, y_test):.2%}")

    path = options.folder / "digits.safetensors"
    microgradc.save(model, path)
    again = microgradc.load(MLP(64, [32, 10]), path)
    assert (again.outputs(X_test) == model.outputs(X_test)).all()
    print(f"saved in      {path}; loaded again, it gives the same outputs")

    picture = options.folder / "history.png"
    plot_history(history).savefig(picture, dpi=150)
    print(f"drawn in      {picture}")


if __name__ == "__main__":
    main()
