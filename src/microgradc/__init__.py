"""micrograd's API, compiled: a scalar reverse-mode autodiff engine.

`Value` is the number that remembers how it was made. The rest are functions of Values and, each in a module of its own that is imported on
first use, networks (`nn`), losses, optimizers, training, small data sets, pictures and checkpoints.
"""

import sys as _sys
from importlib import import_module as _import_module

from microgradc import moved as _moved
from microgradc.engine.functions import (
    acos,
    acosh,
    asin,
    asinh,
    atan,
    atan2,
    atanh,
    bce,
    clip,
    cos,
    cosh,
    dot,
    elu,
    erf,
    exp,
    expm1,
    gelu,
    hypot,
    leaky_relu,
    less,
    less_equal,
    linear,
    log,
    log1p,
    log2,
    log_softmax,
    logsumexp,
    maximum,
    mean,
    minimum,
    relu,
    sigmoid,
    silu,
    sin,
    sinh,
    softmax,
    softplus,
    sqrt,
    step,
    sum,
    take,
    tan,
    tanh,
    where,
)
from microgradc.engine.value import CompileError, Value, function, no_grad, topological_sort

__version__ = "0.1.0"

__all__ = [
    "MLP",
    "SGD",
    "Activation",
    "Adam",
    "AdamW",
    "CompileError",
    "CosineAnnealingLR",
    "Dropout",
    "History",
    "LambdaLR",
    "Layer",
    "LinearLR",
    "Module",
    "Neuron",
    "Program",
    "RMSprop",
    "Sequential",
    "StepLR",
    "Value",
    "accuracy",
    "acos",
    "acosh",
    "array",
    "asin",
    "asinh",
    "atan",
    "atan2",
    "atanh",
    "batches",
    "bce",
    "binary_cross_entropy",
    "binary_cross_entropy_with_logits",
    "checkpoint",
    "clip",
    "clip_grad_norm_",
    "clip_grad_value_",
    "compile",
    "cos",
    "cosh",
    "cross_entropy",
    "data",
    "dot",
    "draw_dot",
    "draw_graph",
    "elu",
    "erf",
    "exp",
    "expm1",
    "fit",
    "format_graph",
    "function",
    "gelu",
    "get_num_threads",
    "grads",
    "hinge_loss",
    "huber_loss",
    "hypot",
    "init",
    "install",
    "l1_loss",
    "leaky_relu",
    "less",
    "less_equal",
    "linear",
    "load",
    "log",
    "log1p",
    "log2",
    "log_softmax",
    "logsumexp",
    "losses",
    "make_blobs",
    "make_circles",
    "make_moons",
    "maximum",
    "mean",
    "minimum",
    "mse_loss",
    "nll_loss",
    "nn",
    "no_grad",
    "optim",
    "outputs",
    "plot_decision_boundary",
    "plot_history",
    "relu",
    "save",
    "set_num_threads",
    "sigmoid",
    "silu",
    "sin",
    "sinh",
    "softmax",
    "softplus",
    "sqrt",
    "step",
    "sum",
    "take",
    "tan",
    "tanh",
    "to_numpy",
    "topological_sort",
    "training",
    "viz",
    "where",
]

# What is imported on first use: these modules import NumPy, or more of the standard library than an engine needs.
_LAZY = {
    "arrays": "array grads to_numpy".split(),
    "checkpoint": "load save".split(),
    "cli.dropin": "install".split(),
    "losses": "binary_cross_entropy binary_cross_entropy_with_logits cross_entropy hinge_loss huber_loss l1_loss mse_loss nll_loss".split(),
    "nn": "MLP Activation Dropout Layer Module Neuron Sequential".split(),
    "optim": "SGD Adam AdamW CosineAnnealingLR LambdaLR LinearLR RMSprop StepLR clip_grad_norm_ clip_grad_value_".split(),
    "program.compile": "compile".split(),
    "program.program": "Program get_num_threads set_num_threads".split(),
    "train.data": "batches make_blobs make_circles make_moons".split(),
    "train.fit": "History fit".split(),
    "train.scores": "accuracy outputs".split(),
    "viz": "draw_dot draw_graph format_graph plot_decision_boundary plot_history".split(),
}
_MODULES = {name: module for module, names in _LAZY.items() for name in names}
_SUBMODULES = "checkpoint data init losses nn optim training viz".split()
_sys.meta_path.append(_moved)

TYPE_CHECKING = False   # type checkers take it for True, and need not import typing
if TYPE_CHECKING:
    from microgradc import checkpoint, losses, nn, optim, viz
    from microgradc.arrays import array, grads, to_numpy
    from microgradc.checkpoint import load, save
    from microgradc.cli.dropin import install
    from microgradc.losses import (
        binary_cross_entropy,
        binary_cross_entropy_with_logits,
        cross_entropy,
        hinge_loss,
        huber_loss,
        l1_loss,
        mse_loss,
        nll_loss,
    )
    from microgradc.nn import MLP, Activation, Dropout, Layer, Module, Neuron, Sequential, init
    from microgradc.optim import (
        SGD,
        Adam,
        AdamW,
        CosineAnnealingLR,
        LambdaLR,
        LinearLR,
        RMSprop,
        StepLR,
        clip_grad_norm_,
        clip_grad_value_,
    )
    from microgradc.program.compile import compile
    from microgradc.program.program import Program, get_num_threads, set_num_threads
    from microgradc.train import data
    from microgradc.train import fit as training
    from microgradc.train.data import batches, make_blobs, make_circles, make_moons
    from microgradc.train.fit import History, fit
    from microgradc.train.scores import accuracy, outputs
    from microgradc.viz import draw_dot, draw_graph, format_graph, plot_decision_boundary, plot_history


def __getattr__(name):
    if name in _SUBMODULES:
        value = _import_module(f"microgradc.{name}")
    elif name in _MODULES:
        value = getattr(_import_module(f"microgradc.{_MODULES[name]}"), name)
    else:
        raise AttributeError(f"module 'microgradc' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__():
    return sorted({*(name for name in globals() if not name.startswith("_")), *_MODULES, *_SUBMODULES, "__version__"} - {"TYPE_CHECKING"})
