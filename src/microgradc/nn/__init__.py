"""micrograd's `nn` with one node for each weighted sum: neurons, layers, multi-layer perceptrons; and further
modules."""

from microgradc.engine import Value
from microgradc.nn.activations import ACTIVATIONS, function_of
from microgradc.nn.axes import Flatten, LayerNorm, Softmax
from microgradc.nn.containers import MLP, Sequential
from microgradc.nn.elementwise import Activation, Dropout
from microgradc.nn.embedding import Embedding
from microgradc.nn.layers import Layer, Neuron, _LayerPlan  # noqa: F401 -- pickles of version 0.1.0 refer to it
from microgradc.nn.module import Module

__all__ = [
    "ACTIVATIONS",
    "MLP",
    "Activation",
    "Dropout",
    "Embedding",
    "Flatten",
    "Layer",
    "LayerNorm",
    "Module",
    "Neuron",
    "Sequential",
    "Softmax",
    "Value",
    "function_of",
]
