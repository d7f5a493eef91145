"""PyTorch's own samples of its operations, losses, modules and optimizers: what its tests are run with."""

import sys
import unittest
from types import ModuleType

import numpy as np
import torch


def internal(name):
    """Return a module of `torch.testing._internal`. Of expecttest, which it imports, it needs a class to inherit."""
    try:
        import expecttest  # noqa: F401
    except ImportError:
        stand_in = ModuleType("expecttest")
        stand_in.TestCase = unittest.TestCase
        sys.modules["expecttest"] = stand_in
    return __import__(f"torch.testing._internal.{name}", fromlist=[name])


def entry(name, variant=""):
    """Return PyTorch's entry of an operation."""
    [found] = [
        op
        for op in internal("common_methods_invocations").op_db
        if op.name == name and op.variant_test_name == variant
    ]
    return found


def samples(name, variant="", reference=False):
    """Yield (input, other arguments, named arguments) in float64; with `reference`, those with extreme numbers too."""
    op, seed = entry(name, variant), 1234
    torch.manual_seed(seed)
    made = op.reference_inputs if reference and hasattr(op, "reference_inputs") else op.sample_inputs
    for sample in made("cpu", torch.float64, requires_grad=True):
        yield sample.input, sample.args, sample.kwargs


def few(tensors, most=20):
    """Return the entries of tensors, broadcast against one another: at most so many, spread over all of them."""
    tensors = torch.broadcast_tensors(*tensors)
    count = tensors[0].numel()
    chosen = torch.from_numpy(np.unique(np.linspace(0, count - 1, min(count, most)).astype(int)))
    return [t.detach().reshape(-1)[chosen].clone() for t in tensors]
