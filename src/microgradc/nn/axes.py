"""Modules that go by the axes of what they are called with, named as in PyTorch: Flatten, LayerNorm and Softmax."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf, prod
from typing import Any

from microgradc import checks, trees
from microgradc.cells import never_fails
from microgradc.checks import NOT_NEGATIVE
from microgradc.engine import Value
from microgradc.engine.functions import dot, mean, softmax, sqrt
from microgradc.keywords import suggest_keywords
from microgradc.nn.module import Module

__all__ = ["Flatten", "LayerNorm", "Softmax"]


class Softmax(Module):
    """The softmax along an axis, as `torch.nn.Softmax`.

    Args:
        dim: the axis of the numbers that add up to 1; -1 is the last one, which it is in `Sequential`. None is axis 1
            of two, and else 0. One example, a list of numbers, has no other axis: dim may be 1, as for a batch of it.

    Raises:
        TypeError: dim is not an integer.
        ValueError: when called: x has no such axis.

    >>> [round(p, 3) for p in Softmax(dim=-1)([0.0, 1.0])]
    [0.269, 0.731]
    """

    dim: int | None

    @suggest_keywords
    def __init__(self, dim: int | None = None) -> None:
        self.dim = None if dim is None else checks.integer(dim, "dim")

    def __call__(self, x: Any) -> Any:
        """Return x, lists of Values and numbers, with the softmax of each of its rows along the axis in their place."""
        entries, shape = trees.entries(x, "x")
        dim = int(len(shape) == 2) if self.dim is None else self.dim
        if len(shape) < 2 and dim == 1:
            dim = 0
        axis = _axis(dim, "dim", shape)
        if not shape:
            return softmax(entries)[0]
        n, after = shape[axis], prod(shape[axis + 1 :])
        for begin in range(0, len(entries), n * after):
            for k in range(begin, begin + after):
                entries[k : k + n * after : after] = softmax(entries[k : k + n * after : after])
        return trees.nest(entries, shape)

    @never_fails
    def __repr__(self) -> str:
        return f"Softmax(dim={self.dim})"


class Flatten(Module):
    """Make one axis of several, as `torch.nn.Flatten`.

    Axis 0 is that of the examples of a batch, which remains. `Sequential` calls it with one example at a time, which it
    makes a list of numbers; such a list alone is left as it is.

    Args:
        start_dim, end_dim: the first and the last of the axes, counted as in a batch.

    Raises:
        TypeError: start_dim or end_dim is not an integer.
        ValueError: when called: x has no such axis, or end_dim comes before start_dim.

    >>> Flatten()([[[1, 2], [3, 4]], [[5, 6], [7, 8]]])
    [[1, 2, 3, 4], [5, 6, 7, 8]]
    """

    start_dim: int
    end_dim: int

    @suggest_keywords
    def __init__(self, start_dim: int = 1, end_dim: int = -1) -> None:
        self.start_dim, self.end_dim = checks.integer(start_dim, "start_dim"), checks.integer(end_dim, "end_dim")

    def __call__(self, x: Any) -> Any:
        """Return the entries of x, nested lists or an array, in nested lists with fewer axes."""
        entries, shape = trees.entries(x, "x")
        return entries if len(shape) < 2 else self._joined(entries, shape, 0)

    def of_example(self, x: Any) -> Any:
        """Return what x, one example of a batch, becomes."""
        entries, shape = trees.entries(x, "x")
        return self._joined(entries, shape, 1) if shape else x

    def of_batch(self, x: Any) -> Any:
        """Return what x becomes if it is a batch of examples with several axes each; x itself if it is not."""
        entries, shape = trees.entries(x, "x")
        return self._joined(entries, shape, 0) if len(shape) > 2 else x

    def _joined(self, entries: list[Any], shape: tuple[int, ...], missing: int) -> Any:
        """Return entries of this shape, at whose front some axes of a batch are missing, with axes joined."""
        full = (1,) * missing + shape
        first, last = _axis(self.start_dim, "start_dim", full), _axis(self.end_dim, "end_dim", full)
        if last < first:
            raise ValueError(f"end_dim must not come before start_dim, got {self} for x of shape {shape}")
        if first < missing <= last:
            raise ValueError(f"start_dim must be at least 1 in Sequential, where examples stay apart, got {self}")
        full = (*full[:first], prod(full[first : last + 1]), *full[last + 1 :])
        return trees.nest(entries, full[missing:])

    @never_fails
    def __repr__(self) -> str:
        return f"Flatten(start_dim={self.start_dim}, end_dim={self.end_dim})"


class LayerNorm(Module):
    """Subtract the mean and divide by the standard deviation, then multiply with a weight and add a bias.

    (x - mean(x)) / sqrt(var(x) + eps) weight + bias, where var divides by the number of entries. As
    `torch.nn.LayerNorm`; Ba, Kiros and Hinton, "Layer Normalization", 2016.

    Args:
        normalized_shape: the number of entries that are taken together, the length of the last axis; or a list of
            lengths, for several axes at the end.
        eps: what keeps the denominator from 0.
        elementwise_affine: whether there are weights and biases, one for each entry, at first 1 and 0.
        bias: whether there are biases among them.

    Raises:
        TypeError: an argument has the wrong type.
        ValueError: a length is not positive, or eps is negative; when called: x does not end in these axes.

    >>> norm = LayerNorm(3)
    >>> [round(v.data, 3) for v in norm([1.0, 2.0, 6.0])]
    [-0.926, -0.463, 1.389]
    """

    normalized_shape: tuple[int, ...]
    eps: float
    elementwise_affine: bool

    weight: Any
    bias: Any

    @suggest_keywords
    def __init__(
        self,
        normalized_shape: int | Sequence[int],
        eps: float = 1e-5,
        elementwise_affine: bool = True,
        bias: bool = True,
    ) -> None:
        is_list = hasattr(normalized_shape, "__iter__") and not isinstance(normalized_shape, str)
        lengths: Any = normalized_shape if is_list else [normalized_shape]
        self.normalized_shape = tuple([checks.integer(n, "normalized_shape", 1) for n in lengths])
        if not self.normalized_shape:
            raise ValueError("normalized_shape must have at least one length, got none")
        self.eps = checks.number(eps, "eps", NOT_NEGATIVE)
        self.elementwise_affine = checks.flag(elementwise_affine, "elementwise_affine")
        with_bias = checks.flag(bias, "bias") and self.elementwise_affine
        n = prod(self.normalized_shape)
        self.weight = trees.nest([Value(1.0) for _ in range(n)], self.normalized_shape) if elementwise_affine else None
        self.bias = trees.nest([Value(0.0) for _ in range(n)], self.normalized_shape) if with_bias else None

    def __call__(self, x: Any) -> Any:
        """Return x, lists of Values and numbers, normalized along its last axes."""
        entries, shape = trees.entries(x, "x")
        own = self.normalized_shape
        if shape[-len(own) :] != own and (shape, own) != ((), (1,)):     # one number, of a layer of one neuron
            raise ValueError(f"x must have a shape that ends in {own}, got {shape}")
        weights = None if self.weight is None else trees.entries(self.weight, "weight")[0]
        biases = None if self.bias is None else trees.entries(self.bias, "bias")[0]
        found: list[Any] = []
        for row in trees.rows(entries, prod(own)):
            found += self._normalized(row, weights, biases)
        return trees.nest(found, shape)

    def _normalized(self, row: list[Any], weights: list[Any] | None, biases: list[Any] | None) -> list[Any]:
        middle = mean(row)
        centred = [x - middle for x in row]
        deviation = sqrt(dot(centred, centred) / len(row) + self.eps)
        scale = inf if isinstance(deviation, float) and deviation == 0 else 1 / deviation
        out = [c * scale for c in centred]
        if weights is not None:
            out = [c * w for c, w in zip(out, weights, strict=True)]
        return out if biases is None else [c + b for c, b in zip(out, biases, strict=True)]

    @never_fails
    def __repr__(self) -> str:
        affine, bias = self.elementwise_affine, self.bias is not None
        return f"LayerNorm({self.normalized_shape}, eps={self.eps}, elementwise_affine={affine}, bias={bias})"


def _axis(dim: int, name: str, shape: tuple[int, ...]) -> int:
    """Return an axis, which counts from the end if it is negative, from 0; a number alone has one."""
    n = max(len(shape), 1)
    if not -n <= dim < n:
        raise ValueError(f"{name} must be an axis of x, of shape {shape}, got {dim}")
    return dim % n
