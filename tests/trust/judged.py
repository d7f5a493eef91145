"""Graphs that magnify rounding, or have nan in them, judged node by node.

PyTorch computes each node from our operands, and what each of them receives from our gradient of the node. So nothing
is magnified: a value is right within 1e-10 of it, a gradient within 1e-10 of the largest of its contributions. Where an
operand is nan, the masks of some operations differ (docs/differences.md): what lies behind is not compared.
"""

import itertools

import numpy as np
import torch

from .differences import hidden, hidden_value, slack
from .random_graphs import LEAVES

WITHIN = 1e-10


def judge(batch, data, grads, spellings):
    """Yield (graph, what is wrong)."""
    if not batch.count:
        return
    ways = [Sums(data.shape), Sums(data.shape)]
    unknown = np.zeros(data.shape, bool)
    last = len(batch.reached) - 1 - np.argmax(batch.reached[::-1], axis=0)
    for way in ways:
        way.add(last, np.arange(batch.count), np.ones(batch.count))
    for step in reversed(range(len(batch.kinds))):
        graphs = np.flatnonzero(batch.reached[LEAVES + step])
        kinds = batch.kinds[step, graphs]
        order = np.argsort(kinds, kind="stable")
        edges = np.flatnonzero(np.diff(kinds[order], prepend=-1, append=-1)).tolist()
        for begin, end in itertools.pairwise(edges):
            members, spelling = graphs[order[begin:end]], spellings[kinds[order[begin]]]
            places = batch.operands[step, members, : spelling.operands]
            operands = [torch.tensor(data[places[:, k], members], requires_grad=True) for k in range(spelling.operands)]
            out = spelling.theirs(*operands)
            yield from wrong_values(spelling, members, data[LEAVES + step, members], out.detach().numpy(), operands)
            reach = batch.differentiated[LEAVES + step, members]
            given = np.where(reach, grads[LEAVES + step, members], 0.0)
            for way, gradients in zip(ways, received(out, operands, given), strict=True):
                for k, share in enumerate(gradients):
                    way.add(places[:, k], members, np.where(reach, share, 0.0), slack(spelling.name, given) / WITHIN)
            unclear = hidden(spelling.name, [x.detach().numpy() for x in operands], given)
            for k in range(spelling.operands):
                np.logical_or.at(unknown, (places[:, k], members), unclear)
    wrong = ~(ways[0].agree(grads) | ways[1].agree(grads) | unknown) & batch.differentiated
    for node, graph in zip(*np.nonzero(wrong), strict=True):
        yield graph, f"the gradient of x{node} is {grads[node, graph]!r}, by PyTorch {ways[0].sums[node, graph]!r}"


def received(out, operands, given):
    """Return twice what the operands receive: of the gradient as it is, and of one between 1/2 and 1, scaled back,
    where nothing under- or overflows halfway."""
    mantissas, exponents = np.frexp(given)
    for gradient, powers in ((given, 0), (mantissas, exponents)):
        if not out.requires_grad:
            yield [np.zeros(len(given))] * len(operands)
            continue
        shares = torch.autograd.grad(out, operands, torch.from_numpy(gradient), retain_graph=True, allow_unused=True)
        with np.errstate(all="ignore"):
            yield [np.zeros(len(given)) if share is None else np.ldexp(share.numpy(), powers) for share in shares]


class Sums:
    """What nodes have received, and how large it was."""

    def __init__(self, shape):
        self.sums, self.sizes = np.zeros(shape), np.zeros(shape)

    def add(self, nodes, graphs, shares, more=0.0):
        with np.errstate(all="ignore"):
            np.add.at(self.sums, (nodes, graphs), shares)
            np.add.at(self.sizes, (nodes, graphs), np.abs(shares) + more)

    def agree(self, grads):
        with np.errstate(all="ignore"):
            close = np.abs(grads - self.sums) <= WITHIN * np.maximum(self.sizes, 1e-290)
        # A sum of numbers that overflow may be inf or nan, by the order of its terms.
        overflown = np.isinf(self.sizes) & ~np.isfinite(grads) & ~np.isfinite(self.sums)
        return close | (grads == self.sums) | (np.isnan(grads) & np.isnan(self.sums)) | overflown


def wrong_values(spelling, members, ours, theirs, operands):
    """A result that cancels within one operation, as dot does, is judged by its operands: they are in a sum."""
    size = np.abs(theirs)
    if spelling.name in ("sum", "mean", "dot", "add", "sub", "mod", "log_softmax", "logsumexp"):
        with np.errstate(all="ignore"):
            size = size + np.max([np.abs(x.detach().numpy()) for x in operands], axis=0) ** (
                2 if spelling.name == "dot" else 1
            )
    if spelling.name == "polygamma":  # terms of both signs between poles
        size = size + 0.01
    with np.errstate(all="ignore"):
        right = (
            (ours == theirs)
            | (np.isnan(ours) & np.isnan(theirs))
            | (np.abs(ours - theirs) <= WITHIN * np.maximum(size, 1e-290))
        )
        if spelling.name in ("sum", "mean", "dot"):  # overflow on the way, by the order of terms
            right |= ~np.isfinite(size) & ~np.isfinite(ours) & ~np.isfinite(theirs)
    for i in np.flatnonzero(~(right | hidden_value(spelling.name, [x.detach().numpy() for x in operands]))):
        at = ", ".join(repr(x[i].item()) for x in operands)
        yield members[i], f"{spelling.text} at {at} is {ours[i]!r}, in PyTorch {theirs[i]!r}"
