"""Trainings over batches in chunks."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from microgradc import checks


class ChunkTurns:
    """The steps of a training over chunks.

    Without a batch size each step is over all chunks. With one, chunks come one after another in this process, the next
    one while one is gone through, and each is gone through in steps of so many rows: the order of the chunks and that
    of the rows of each is shuffled.

    Args:
        chunks: a `Chunks`.
        turns: the `Turns` of program/training.py.
        seed: see there.
    """

    chunks: Any
    turns: Any
    rng: Any
    loader: ThreadPoolExecutor
    total: Any
    done: int
    rows: int

    def __init__(self, chunks: Any, turns: Any, seed: Any) -> None:
        self.chunks, self.turns = chunks, turns
        self.rng = None if seed is False else checks.seed(seed)
        if self.rng is not None:
            turns.rng = turns.seed = self.rng       # one generator for all orders
        self.left: Iterator[int] | None = None      # chunks of this epoch
        self.loader = ThreadPoolExecutor(1, "microgradc-chunks")
        self.loading: Future[tuple[tuple[Any, ...], dict[str, Any], int]] | None = None     # the next chunk
        self.rows = 0                               # of the chunk that was begun
        self.done, self.total = 0, 0.0

    def take(self, epochs: int, most: int | None) -> list[float]:
        """Go on for so many epochs, or steps, at most; return the mean losses of the epochs that ended."""
        losses: list[float] = []
        steps = 0
        while len(losses) < epochs and steps != most:
            losses += self._step_over_all() if self.turns.size is None else self._part_of_epoch(most)
            steps += 1
        return losses

    def _step_over_all(self) -> list[float]:
        total = self.chunks.total(mean=True)
        self.turns.step(total)
        return [total.data]

    def _part_of_epoch(self, most: int | None) -> list[float]:
        """Go through a chunk, or take so many steps of it; return the mean loss of the epoch if it has ended."""
        if self.left is None:
            order = list(range(len(self.chunks)))
            if self.rng is not None:
                self.rng.shuffle(order)
            self.left, self.done, self.total = iter(order), 0, 0.0
            self._load_next()
        while not self.rows:
            if self.loading is None:
                self.left = None
                if not self.done:
                    raise ValueError("a batch must have at least one example, got none: all chunks are empty")
                return [self.total / self.done]
            args, named, self.rows = self.loading.result()
            self._load_next()
            self.turns.go_on_with(args, named)
        found = self.turns.take(1, most)
        if found:
            self.total += found[0] * self.rows
            self.done += self.rows
            self.rows = 0
        return []

    def _load_next(self) -> None:
        """Begin to compute the next chunk of the epoch, while another one is gone through."""
        i = next(self.left or iter(()), None)
        self.loading = None if i is None else self.loader.submit(self.chunks.computed, i)

    def end(self) -> None:
        """The training is over."""
        self.turns.end()
        self.loader.shutdown(wait=False, cancel_futures=True)
