"""Loss functions, named and called as in `torch.nn.functional`.

`input` and `target` are a Value or a number; a list, tuple, generator, array, tensor or column of a table of them; or a
nested list, array, tensor or table, such as a batch of rows of outputs. Entries are taken by position. Both have the
same shape: nothing is broadcast. `reduction` is 'mean', 'sum' or 'none', which gives the losses in the shape of the
input, as nested lists. A loss is a Value if one of the entries that it is made from is a Value, and else a float.

A `weight` is a number or a Value for each entry, output or class, as the function says.

Every function raises

- TypeError where an entry is neither a Value nor a real number, or reduction is not a string;
- ValueError where the shapes differ, the rows of a batch differ in length, there are no entries, or reduction is none
  of the three.

>>> from microgradc import Value
>>> predictions = [Value(0.5), Value(2.0)]
>>> loss = mse_loss(predictions, [1.0, 0.0])
>>> loss.backward()
>>> loss.data, predictions[1].grad
(2.125, 2.0)
"""

from microgradc.losses.classes import cross_entropy, nll_loss
from microgradc.losses.likelihoods import gaussian_nll_loss, kl_div, poisson_nll_loss
from microgradc.losses.pairs import (
    binary_cross_entropy,
    binary_cross_entropy_with_logits,
    hinge_loss,
    huber_loss,
    l1_loss,
    mse_loss,
    smooth_l1_loss,
)
from microgradc.losses.reading import Reduction as Reduction
from microgradc.losses.similarity import cosine_similarity

__all__ = [
    "binary_cross_entropy",
    "binary_cross_entropy_with_logits",
    "cosine_similarity",
    "cross_entropy",
    "gaussian_nll_loss",
    "hinge_loss",
    "huber_loss",
    "kl_div",
    "l1_loss",
    "mse_loss",
    "nll_loss",
    "poisson_nll_loss",
    "smooth_l1_loss",
]
