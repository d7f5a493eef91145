"""Typos of keywords are answered with the keyword that was meant, and so are the names that others have for it."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, ParamSpec, TypeVar

_P = ParamSpec("_P")
_R = TypeVar("_R")

# What scikit-learn, Keras and PyTorch call arguments that have another name here.
SYNONYMS = {
    "alpha": "weight_decay",
    "class_weights": "class_weight",
    "clipnorm": "clip_norm",
    "generator": "seed",
    "hidden_layer_sizes": "nouts",
    "hidden_sizes": "nouts",
    "in_features": "nin",
    "initializer": "init",
    "l2": "weight_decay",
    "layers": "nouts",
    "learning_rate": "lr",
    "loss_fn": "loss",
    "lr_scheduler": "schedule",
    "max_grad_norm": "clip_norm",
    "max_iter": "epochs",
    "n_iter": "epochs",
    "nonlinearity": "activation",
    "out_features": "nout",
    "parameters": "params",
    "random_state": "seed",
    "rng": "seed",
    "sample_weights": "sample_weight",
    "scheduler": "schedule",
    "validation_data": "validation",
    "validation_fraction": "validation",
    "validation_split": "validation",
    "verbose": "progress",
}


def suggest_keywords(f: Callable[_P, _R]) -> Callable[_P, _R]:
    """Decorate a function so that a keyword that it does not have is a TypeError that names the one that was meant."""
    known = _keywords(f)

    @wraps(f)
    def suggesting(*args: _P.args, **kwargs: _P.kwargs) -> _R:
        for name in kwargs:
            if name not in known:
                raise unexpected(f, name)
        return f(*args, **kwargs)

    return suggesting


def unexpected(f: Callable[..., Any], name: str) -> TypeError:
    """Return the error of a keyword that a function does not have, which names the one that was meant."""
    return TypeError(f"{f.__qualname__}() got an unexpected keyword argument {name!r}{_advice(name, _keywords(f))}")


def _keywords(f: Callable[..., Any]) -> tuple[str, ...]:
    code = f.__code__
    return code.co_varnames[code.co_posonlyargcount : code.co_argcount + code.co_kwonlyargcount]


def _advice(name: str, known: tuple[str, ...]) -> str:
    from difflib import get_close_matches

    names = [n for n in known if n != "self"]
    meant = [SYNONYMS[name]] if SYNONYMS.get(name) in names else get_close_matches(name.lower(), names, 1)
    if meant:
        return f". Did you mean {meant[0]!r}?"
    return f"; its arguments are {', '.join(names)}" if names else "; it takes none"
