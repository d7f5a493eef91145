"""Each operation as PyTorch computes it: the table by which a graph of Values is run on tensors.

PyTorch is imported when the table is first asked for.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any


@cache
def torch_rows() -> dict[str, Callable[..., Any]]:
    """Return for each operation, by its name in graphs, a function of as many float64 tensors without axes."""
    import torch
    import torch.nn.functional as F

    class CubeRoot(torch.autograd.Function):
        """PyTorch has none: values of NumPy, and 1 / (3 cbrt(x)**2)."""

        @staticmethod
        def forward(x: Any) -> Any:
            import numpy as np

            return torch.tensor(np.cbrt(x.detach().numpy()))

        @staticmethod
        def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
            ctx.save_for_backward(*inputs)

        @staticmethod
        def backward(ctx: Any, g: Any) -> Any:
            root = CubeRoot.apply(*ctx.saved_tensors)
            return g / (3 * root * root)

    class StraightThrough(torch.autograd.Function):
        """PyTorch has none: x forward, and back to y alone."""

        @staticmethod
        def forward(x: Any, y: Any) -> Any:
            return x.clone()

        @staticmethod
        def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
            pass

        @staticmethod
        def backward(ctx: Any, g: Any) -> Any:
            return torch.zeros_like(g), g

    def elu(x: Any, alpha: Any) -> Any:
        """F.elu takes alpha as a number; its gradient with respect to alpha is written out."""
        slope = torch.where(x.detach() > 0, torch.zeros_like(x), torch.expm1(x.detach().clamp(max=0)))
        return F.elu(x, alpha.item()) + (alpha - alpha.detach()) * slope

    def dot(*terms: Any) -> Any:
        total = terms[-1] if len(terms) % 2 else torch.zeros((), dtype=torch.float64)
        for w, x in zip(terms[:-1:2], terms[1::2], strict=False):
            total = total + w * x
        return total

    rows: dict[str, Callable[..., Any]] = {
        "add": torch.add,
        "sub": torch.sub,
        "mul": torch.mul,
        "div": torch.div,
        "pow": torch.pow,
        "floordiv": lambda x, y: torch.div(x, y, rounding_mode="floor"),
        "mod": torch.remainder,
        "neg": torch.neg,
        "abs": torch.abs,
        "relu": torch.relu,
        "leaky_relu": lambda x, y: F.prelu(x.reshape(1), y.reshape(1))[0],
        "elu": elu,
        "gelu": F.gelu,
        "silu": F.silu,
        "selu": F.selu,
        "mish": F.mish,
        "softsign": F.softsign,
        "hardtanh": F.hardtanh,
        "log_sigmoid": F.logsigmoid,
        "cbrt": CubeRoot.apply,
        "gammaln": torch.lgamma,
        "polygamma": lambda n, x: torch.polygamma(int(n), x),
        "logaddexp": torch.logaddexp,
        "softplus": lambda x: torch.logaddexp(x, torch.zeros_like(x)),
        "step": lambda x: torch.heaviside(x, torch.zeros_like(x)),
        "atan2": torch.atan2,
        "hypot": torch.hypot,
        "minimum": torch.minimum,
        "maximum": torch.maximum,
        "less": torch.less,
        "less_equal": torch.less_equal,
        "bce": F.binary_cross_entropy,
        "where": lambda condition, x, y: torch.where(condition != 0, x, y),
        "straight_through": StraightThrough.apply,
        "clip": torch.clamp,
        "sum": lambda *values: torch.stack(values).sum(),
        "mean": lambda *values: torch.stack(values).mean(),
        "logsumexp": lambda *values: torch.stack(values).logsumexp(0),
        "take": lambda index, *values: torch.stack(values)[int(index)],
        "dot": dot,
    }
    named = "exp expm1 log log1p log2 log10 exp2 sqrt square sin cos tan asin acos atan sinh cosh tanh asinh acosh"
    for name in f"{named} atanh erf erfc digamma logit sigmoid sign floor ceil".split():
        rows[name] = getattr(torch, name)
    return rows
