"""Neurons, layers and multi-layer perceptrons: micrograd's `nn`, with one node for each weighted sum; and what is built of them."""

from microgradc.engine import Value
from microgradc.nn.activations import ACTIVATIONS, function_of
from microgradc.nn.layers import MLP, Activation, Dropout, Layer, Neuron, Sequential
from microgradc.nn.module import Module

__all__ = ["ACTIVATIONS", "MLP", "Activation", "Dropout", "Layer", "Module", "Neuron", "Sequential", "Value", "function_of"]
