"""What a training saw, epoch by epoch."""

from __future__ import annotations


class History:
    """What `fit` saw, one entry for each epoch that was completed.

    Attributes:
        loss: the mean loss of the examples, each at its turn in the epoch.
        accuracy: the share of examples that were classified right at their turn; empty if the targets are not classes.
        validation_loss, validation_accuracy: the same of the validation data, after the epoch; empty if there are none.
        lr: the learning rate.
        seconds: how long the epoch took.
        interrupted: whether Ctrl-C ended the training.
        why_eager: why the training was not compiled; '' if it was.
    """

    def __init__(self) -> None:
        self.loss: list[float] = []
        self.accuracy: list[float] = []
        self.validation_loss: list[float] = []
        self.validation_accuracy: list[float] = []
        self.lr: list[float] = []
        self.seconds: list[float] = []
        self.interrupted = False
        self.why_eager = ""

    def __len__(self) -> int:
        return len(self.loss)

    def append(self, entry: dict[str, float]) -> None:
        """Add an epoch: a number for each attribute that has one."""
        for name, number in entry.items():
            getattr(self, name).append(number)

    def latest(self) -> dict[str, str]:
        """Return the latest losses and accuracies as text, by name."""
        names = [name for name in ("loss", "accuracy", "validation_loss", "validation_accuracy") if getattr(self, name)]
        return {name: format(getattr(self, name)[-1], ".1%" if name.endswith("accuracy") else ".4g") for name in names}

    def __repr__(self) -> str:
        facts = [
            f"{len(self)} epochs",
            *(f"{name} {text}" for name, text in self.latest().items()),
            *["interrupted"] * self.interrupted,
        ]
        return f"<History: {', '.join(facts)}>"
