"""Random graphs against PyTorch in float64, of all operations of the table, ties, corners, inf and nan among them.

Many graphs at a time run through PyTorch, whose own autograd gives the gradients; here each is made and differentiated
by itself. The policy:

- two numbers agree where they are equal, both nan, or differ by at most 1e-10 of theirs (or by 1e-300: PyTorch's vector
  library flushes tiny results to 0);
- a graph with numbers that do not agree, for it cancels or has nan in it, is judged node by node, by `judged`.
"""

import gc

import numpy as np
import torch

from microgradc import Value

from . import recorded
from .findings import Findings
from .judged import judge
from .random_graphs import LEAVES, Batch, program_of, random_batch
from .spellings import MOST_OPERANDS, makers, spellings

BATCH = 50_000
WITHIN = 1e-10
TINY = 1e-300


def differs(ours, theirs):
    """Where two arrays of numbers do not agree."""
    with np.errstate(all="ignore"):
        return ~(
            (ours == theirs)
            | ((ours != ours) & (theirs != theirs))
            | (np.abs(ours - theirs) <= WITHIN * np.abs(theirs) + TINY)
        )


def one_by_one(batch, at_once=2000):
    """Yield what each graph is made of, as lists."""
    for begin in range(0, batch.count, at_once):
        some = slice(begin, begin + at_once)
        yield from zip(
            batch.leaves[:, some].T.tolist(),
            batch.kinds[:, some].T.tolist(),
            batch.operands[:, some].transpose(1, 0, 2).tolist(),
            batch.reached[LEAVES:, some].T.tolist(),
            strict=True,
        )


def by_microgradc(batch, make, everything=False):
    """Return the data of all nodes, and the gradients of leaves, or of all nodes; 0 where a node is not reached."""
    nodes_of_a_graph = len(batch.reached)
    data = np.zeros((batch.count, nodes_of_a_graph))
    grads = np.zeros((batch.count, nodes_of_a_graph if everything else LEAVES))
    for i, (leaves, kinds, operands, reached) in enumerate(one_by_one(batch)):
        nodes = [Value(x) for x in leaves]
        for kind, places, is_reached in zip(kinds, operands, reached, strict=True):
            nodes.append(make[kind](nodes, places) if is_reached else None)
        root = next(node for node in reversed(nodes) if node is not None)
        root.backward()
        data[i] = [0.0 if node is None else node.data for node in nodes]
        grads[i] = [0.0 if node is None else node.grad for node in (nodes if everything else nodes[:LEAVES])]
    return np.where(batch.reached, data.T, 0.0), grads.T


def by_pytorch(batch, found, second=None, wiggle=None):
    """Return the same, as tensors: the nodes' data, the leaves' gradients; and with `second`, a direction, how the
    gradients change in it. `wiggle` changes each operand by rounding of such a size."""
    leaves = torch.tensor(batch.leaves.reshape(-1), requires_grad=True)
    values, count = leaves, batch.count
    for step in range(len(batch.kinds)):
        graphs = np.flatnonzero(batch.reached[LEAVES + step])
        kinds = batch.kinds[step, graphs]
        order = np.argsort(kinds, kind="stable")
        edges = np.flatnonzero(np.diff(kinds[order], prepend=-1, append=-1)).tolist()
        # Taken all at once: what goes back through an index is as large as what it was taken from.
        members = graphs[order]
        places = batch.operands[step, members].astype(np.int64) * count + members[:, None]
        operands = values.index_select(0, torch.from_numpy(places.T.reshape(-1).copy())).reshape(MOST_OPERANDS, -1)
        if wiggle is not None:
            operands = operands * (1 + wiggle * torch.randn(operands.shape, dtype=torch.float64))
        parts = []
        for begin, group in zip(edges[:-1], operands.split(np.diff(edges).tolist(), dim=1), strict=True):
            spelling = found[kinds[order[begin]]]
            parts.append(spelling.theirs(*group.unbind(0)[: spelling.operands]))
        new = torch.zeros(count, dtype=torch.float64)
        if parts:
            new = new.index_copy(0, torch.from_numpy(members), torch.cat(parts))
        values = torch.cat([values, new])
    nodes = values.reshape(-1, count)
    last = len(batch.reached) - 1 - np.argmax(batch.reached[::-1], axis=0)
    total = nodes[torch.from_numpy(last), torch.arange(count)].sum()
    [grads] = torch.autograd.grad(total, leaves, create_graph=second is not None)
    data = np.where(batch.reached, nodes.detach().numpy(), 0.0)
    if second is None:
        return data, grads.reshape(LEAVES, count).numpy()
    curvature = torch.zeros_like(leaves)
    if grads.requires_grad:
        [curvature] = torch.autograd.grad((grads * torch.from_numpy(second.reshape(-1))).sum(), leaves)
    return data, grads.detach().reshape(LEAVES, count).numpy(), curvature.reshape(LEAVES, count).numpy()


def run(budget, batch_size=BATCH, recorded_of_a_batch=60):
    torch.set_num_threads(1)
    gc.disable()  # there are no cycles, and many lists
    findings, found, unclear = Findings(), spellings(), []
    make = makers(found)
    findings.counts["spellings of operations"] = len(found)
    for seed in budget.rounds(findings):
        rng = np.random.default_rng(seed)
        batch = random_batch(rng, batch_size, found, wild=seed % 3 == 0)
        data, grads = by_microgradc(batch, make)
        theirs, their_grads = by_pytorch(batch, found)
        wrong = np.flatnonzero(differs(data, theirs).any(0) | differs(grads, their_grads).any(0))
        findings.cases += batch.count
        findings.count("nodes", int(batch.reached[LEAVES:].sum()))
        findings.count("with inf or nan", int((~np.isfinite(data) | ~np.isfinite(theirs)).any(0).sum()))
        findings.count("judged node by node", len(wrong))
        unclear.append((seed, batch.only(wrong)))
        if len(unclear) == 10:
            look_at(findings, unclear, make, found)
        recorded.compare(findings, rng, found, seed, recorded_of_a_batch)
    look_at(findings, unclear, make, found)
    return findings


def look_at(findings, unclear, make, found):
    """Judge the graphs of several batches at once, and forget them."""
    seeds = np.concatenate([[0], *(np.full(batch.count, seed) for seed, batch in unclear)])[1:].astype(int).tolist()
    if seeds:
        batch = Batch.joined([batch for _, batch in unclear])
        for graph, says in judge(batch, *by_microgradc(batch, make, everything=True), found):
            findings.add(f"{says}; batch of seed {seeds[graph]}", seeds[graph], program_of(batch, graph, found))
    unclear.clear()
