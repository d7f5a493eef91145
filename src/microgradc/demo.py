"""The main job of `python -m microgradc demo`: micrograd's demo notebook, for either engine."""

import random
from importlib import import_module

from microgradc.data import make_moons


class MoonsTraining:
    """An MLP(2, [16, 16, 1]) on two moons: max-margin loss, L2 regularisation, gradient descent.

    Args:
        package: 'microgradc' or 'micrograd'.
        seed: for the data and the initial weights.
    """

    def __init__(self, package, seed):
        random.seed(seed)
        X, y = make_moons(n_samples=100, noise=0.1, random_state=seed)
        self.X, self.y = X.tolist(), (2 * y - 1).tolist()
        self.model = import_module(f"{package}.nn").MLP(2, [16, 16, 1])

    def loss(self):
        """Return the total loss, a Value, and the share of points on the right side."""
        scores = [self.model(x) for x in self.X]
        losses = [(1 + -yi * score).relu() for yi, score in zip(self.y, scores, strict=True)]
        total = sum(losses) * (1.0 / len(losses)) + 1e-4 * sum(p * p for p in self.model.parameters())
        return total, sum((score.data > 0) == (yi > 0) for yi, score in zip(self.y, scores, strict=True)) / len(scores)

    def step(self, k, steps):
        """Take step k of `steps`; return the loss, a float, and the accuracy before it."""
        loss, accuracy = self.loss()
        self.model.zero_grad()
        loss.backward()
        learning_rate = 1.0 - 0.9 * k / steps
        for p in self.model.parameters():
            p.data -= learning_rate * p.grad
        return loss.data, accuracy

    def accuracy(self):
        """Return the share of points on the right side."""
        return self.loss()[1]
