"""Embedding: a row of parameters for each index."""

from __future__ import annotations

import random
from typing import Any

from microgradc import checks
from microgradc.cells import never_fails
from microgradc.engine import Value
from microgradc.engine.functions import take
from microgradc.engine.value import array_of
from microgradc.keywords import suggest_keywords
from microgradc.nn.init import Initializer, initializer
from microgradc.nn.module import Module

__all__ = ["Embedding"]


class Embedding(Module):
    """A table with a row of parameters for each index, as `torch.nn.Embedding`.

    In a function that is compiled, the index may be an integer argument, or what +, -, *, //, %, abs and integers make
    of some; see `take`.

    Args:
        num_embeddings: the number of rows.
        embedding_dim: the length of a row.
        padding_idx: a row that is not trained, from the end if negative. It is 0 at first.
        init: as for `Neuron`, of num_embeddings and embedding_dim. The default is PyTorch's, the standard normal
            distribution.
        rng: where initial weights come from, as for `Neuron`.

    Raises:
        TypeError: a size or padding_idx is not an integer; when called: x has something that is no integer.
        ValueError: a size is not positive, or there is no row padding_idx.
        IndexError: when called: an index is out of range.

    >>> letters = Embedding(27, 2)
    >>> len(letters([3, 0, 26])), len(letters(3)), len(letters.parameters())
    (3, 2, 54)
    """

    num_embeddings: int
    embedding_dim: int
    padding_idx: int | None
    weight: list[list[Value]]

    @suggest_keywords
    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        padding_idx: int | None = None,
        *,
        init: str | Initializer = "normal",
        rng: Any = random,
    ) -> None:
        self.num_embeddings = checks.integer(num_embeddings, "num_embeddings", 1)
        self.embedding_dim = checks.integer(embedding_dim, "embedding_dim", 1)
        self.padding_idx = None
        if padding_idx is not None:
            i, n = checks.integer(padding_idx, "padding_idx"), self.num_embeddings
            if not -n <= i < n:
                raise ValueError(f"padding_idx must be one of {n} rows, got {padding_idx}")
            self.padding_idx = i % n
        draw, rng = initializer(init), checks.source(rng)
        self.weight = [
            [Value(draw(self.num_embeddings, self.embedding_dim, rng)) for _ in range(self.embedding_dim)]
            for _ in range(self.num_embeddings)
        ]
        if self.padding_idx is not None:
            for p in self.weight[self.padding_idx]:
                p.data = 0.0

    def __call__(self, x: Any) -> Any:
        """Return the row of an index x, a list of Values; for nested lists or an array of indices, such rows in them.

        A float that is an integer is an index too.
        """
        table = self.weight
        if self.padding_idx is not None:
            table = list(table)
            table[self.padding_idx] = [p.detach() for p in table[self.padding_idx]]
        return self._rows(x, table)

    def _rows(self, x: Any, table: list[list[Value]]) -> Any:
        array = array_of(x, "x")
        x = x if array is None else array.tolist()
        if isinstance(x, (list, tuple)):
            return [self._rows(entry, table) for entry in x]
        return take(table, int(x) if isinstance(x, float) and x.is_integer() else x)

    @never_fails
    def __repr__(self) -> str:
        padding = "" if self.padding_idx is None else f", padding_idx={self.padding_idx}"
        return f"Embedding({self.num_embeddings}, {self.embedding_dim}{padding})"
