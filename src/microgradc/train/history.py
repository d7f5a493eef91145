"""What a training saw, epoch by epoch."""

from __future__ import annotations

from typing import Any

from microgradc.cells import fold, in_a_cell, line, never_fails, of_count, table

MEASURED = ("loss", "accuracy", "validation_loss", "validation_accuracy")
MOST_ROWS = 20      # of a table; the ones in the middle are left out


class History:
    """What `fit` saw, one entry for each epoch that was completed. `print` shows it as a table.

    Attributes:
        loss: the mean loss of the examples, each at its turn in the epoch.
        accuracy: the share of examples that were classified right at their turn; empty if the targets are not classes.
        validation_loss, validation_accuracy: the same of the validation data, after the epoch; empty if there are none.
        metrics: the lists of further metrics, by name, those of the validation data as "validation_…". Each is an
            attribute too: `history.f1`.
        lr: the learning rate.
        seconds: how long the epoch took.
        epochs: how many epochs were asked for.
        interrupted: whether Ctrl-C ended the training.
        why_eager: why the training was not compiled; '' if it was.
    """

    def __init__(self) -> None:
        self.loss: list[float] = []
        self.accuracy: list[float] = []
        self.validation_loss: list[float] = []
        self.validation_accuracy: list[float] = []
        self.metrics: dict[str, list[float]] = {}
        self.lr: list[float] = []
        self.seconds: list[float] = []
        self.epochs = 0
        self.interrupted = False
        self.why_eager = ""

    def __len__(self) -> int:
        return len(self.loss)

    def __getattr__(self, name: str) -> list[float]:
        try:
            return self.__dict__["metrics"][name]
        except KeyError:
            raise AttributeError(f"History has no attribute {name!r}") from None

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Take what was pickled; pickles of before have no metrics."""
        self.__dict__.update({**vars(History()), **state})

    def __getitem__(self, name: str) -> list[float]:
        """Return the list of that name."""
        if name not in self.names():
            raise KeyError(f"the history has {', '.join(self.names())}, not {name!r}")
        return getattr(self, name)

    def names(self) -> list[str]:
        """Return the names of the lists that have entries, in the order of the table."""
        own = [name for name in MEASURED if getattr(self, name)]
        return [*own, *self.metrics, *[name for name in ("lr", "seconds") if getattr(self, name)]]

    def append(self, entry: dict[str, float]) -> None:
        """Add an epoch: a number for each list that has one."""
        self.extend([entry])

    def extend(self, entries: list[dict[str, float]], **same: float) -> None:
        """Add epochs: numbers by name, and those that all of them have."""
        for name in entries[0] if entries else ():
            own = self.__dict__.get(name)
            (self.metrics.setdefault(name, []) if own is None else own).extend([entry[name] for entry in entries])
        for name, number in same.items():
            self.__dict__[name].extend([number] * len(entries))

    def cut(self) -> None:
        """Forget an epoch, or several, that did not get into all of the lists: Ctrl-C comes at any time."""
        lists = [self[name] for name in self.names()]
        whole = min(map(len, [*lists, self.lr, self.seconds]))
        for numbers in lists:
            del numbers[whole:]

    def latest(self) -> dict[str, str]:
        """Return the latest losses, accuracies and metrics as text, by name."""
        return {name: shown(name, self[name][-1]) for name in self.names() if name not in ("lr", "seconds")}

    def frame(self) -> Any:
        """Return a `pandas.DataFrame` with a column for each list, by epoch, from 1.

        Raises:
            ImportError: pandas is not installed.
        """
        try:
            import pandas
        except ImportError:
            raise ImportError("History.frame() needs pandas: pip install pandas") from None
        index = pandas.RangeIndex(1, len(self) + 1, name="epoch")
        return pandas.DataFrame({name: self[name] for name in self.names()}, index=index)

    def plot(self, ax: Any = None) -> Any:
        """Draw losses and accuracies: see `microgradc.plot_history`.

        Args:
            ax: the axes to draw in; None for a new figure.

        Returns:
            The figure.

        Raises:
            ImportError: matplotlib is not installed.
            ValueError: there is no epoch.
        """
        from microgradc.viz.training import plot_history

        return plot_history(self, ax)

    @never_fails
    def __repr__(self) -> str:
        facts = [
            f"{len(self)} epochs",
            *(f"{name} {text}" for name, text in self.latest().items()),
            *["interrupted"] * self.interrupted,
        ]
        return f"<History: {', '.join(facts)}>"

    def _repr_html_(self) -> str | None:
        return in_a_cell(_page, self)

    def _cells(self) -> list[list[str]]:
        """Return the table: what is above the columns, and a row for each epoch, or for the first and the last."""
        names, half = self.names(), MOST_ROWS // 2
        epochs = range(len(self))
        shown_epochs = [*epochs[:half], None, *epochs[-half:]] if len(self) > MOST_ROWS else [*epochs]
        rows = [
            ["…"] * (1 + len(names)) if i is None else [str(i + 1), *(shown(name, self[name][i]) for name in names)]
            for i in shown_epochs
        ]
        return [["epoch", *names], *rows]

    def __str__(self) -> str:
        cells = self._cells()
        widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
        rows = ["  ".join(c.rjust(w) for c, w in zip(row, widths, strict=True)) for row in cells]
        return "\n".join(rows + ["interrupted"] * self.interrupted)


def _page(history: History) -> str:
    facts = [of_count(len(history), "epoch"), *(f"{name} {text}" for name, text in history.latest().items())]
    begin = line("<b>History</b>", [*facts, *["interrupted"] * history.interrupted])
    heads, *rows = history._cells()
    return begin + (fold("epoch by epoch", table(heads, rows)) if rows else "")


def shown(name: str, number: float) -> str:
    """Return a number of a history as text."""
    return format(number, ".1%" if name.endswith("accuracy") else ".3f" if name == "seconds" else ".4g")
