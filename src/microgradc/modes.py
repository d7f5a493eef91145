"""Training and evaluation: the two modes of a model, whatever its class."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


def set_mode(model: Any, training: bool) -> None:
    """Switch a model between training and evaluation, if it has the two."""
    if hasattr(model, "train"):
        model.train(training)


@contextmanager
def evaluating(model: Any) -> Iterator[None]:
    """Set a model to evaluation, and each of its parts back to the mode that it had."""
    parts = list(model.modules()) if hasattr(model, "modules") else [model] if hasattr(model, "training") else []
    before = [part.training for part in parts]
    try:
        set_mode(model, training=False)
        yield
    finally:
        for part, mode in zip(parts, before, strict=True):
            if part.training != mode:
                part.training = mode
