"""Random Python programs: written once, run with microgradc's functions and with PyTorch's, then compiled, with loops
as `scan` and written out, and differentiated twice. Numbers stay about 1, so that 1e-9 of the largest is enough."""

import random
import warnings

import numpy as np
import torch

import microgradc
from microgradc import Value, compile, grad, hessian, hvp, jacobian

from .findings import Findings
from .vocabulary import OURS, THEIRS, program

WITHIN = 1e-9
INPUTS, WEIGHTS = 3, 5


def close(ours, theirs):
    ours, theirs = np.asarray(ours, float).ravel(), np.asarray(theirs, float).ravel()
    if ours.shape != theirs.shape or not np.isfinite(theirs).all():
        return ours.shape == theirs.shape and not np.isfinite(ours).all()
    return bool(np.all(np.abs(ours - theirs) <= WITHIN * max(1.0, np.abs(theirs).max(initial=0.0))))


def function(text, namespace, weights):
    scope = {**namespace, "W": weights}
    exec(text, scope)
    return scope["f"]


def run(budget, most=1 << 30):
    torch.set_num_threads(1)
    findings = Findings()
    for seed in budget.rounds(findings):
        draw = random.Random(seed)
        text = program(draw, branches=seed % 4 == 0)
        numbers = [draw.uniform(-1.5, 1.5) for _ in range(INPUTS)]
        weights = [draw.uniform(-1.0, 1.0) for _ in range(WEIGHTS)]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                wrong = list(compare(text, numbers, weights, "scan" in text, seed % 4 != 0, findings))
            except Exception as error:
                wrong = [f"{type(error).__name__}: {error}"]
        findings.cases += 1
        for what in wrong:
            findings.add(
                what,
                seed,
                f"{text}\n# x = {numbers}\n# W = {weights}\n"
                f"# python -m tests.trust --only programs --seed {seed} --hours 0",
            )
        if seed - budget.seed + 1 >= most:
            break
    return findings


def compare(text, numbers, weights, has_loops, compiles, findings):
    """Yield what differs."""
    tensors = [torch.tensor(x, dtype=torch.float64, requires_grad=True) for x in numbers + weights]
    theirs = function(text, THEIRS, tensors[INPUTS:])(tensors[:INPUTS])
    total = sum(theirs)
    expected = [
        g if g is not None else torch.zeros(())
        for g in torch.autograd.grad(total, tensors, create_graph=True, allow_unused=True)
    ]
    expected_numbers = [g.item() for g in expected]
    # Eager
    x, w = [Value(n) for n in numbers], [Value(n) for n in weights]
    f = function(text, OURS, w)
    ours = f(x)
    if not close([v.data for v in ours], [t.item() for t in theirs]):
        yield f"eager values {[v.data for v in ours]}, in PyTorch {[t.item() for t in theirs]}"
    microgradc.sum(ours).backward()
    if not close([v.grad for v in x + w], expected_numbers):
        yield f"eager gradients {[v.grad for v in x + w]}, in PyTorch {expected_numbers}"
    if not compiles:
        return
    findings.count("compiled")
    findings.count("with loops", int(has_loops))
    # Compiled: one example, a batch, sums of a batch
    point, near = np.array(numbers), np.array([numbers, [n + 0.125 for n in numbers], [n * 0.5 for n in numbers]])
    g, scalar = compile(f), compile(lambda a: microgradc.sum(f(a)))
    if not close([v.data for v in g(point)], [t.item() for t in theirs]):
        yield f"compiled values {[v.data for v in g(point)]}, in PyTorch {[t.item() for t in theirs]}"
    value, gradient = scalar.value_and_grad(point)
    if not close([value, *gradient], [total.item(), *expected_numbers[:INPUTS]]):
        yield f"value_and_grad {[value, *gradient]}, in PyTorch {[total.item(), *expected_numbers[:INPUTS]]}"
    plain = [sum(v.data for v in f([Value(n) for n in row])) for row in near]
    if not close(scalar.map(near), plain):
        yield f"map {scalar.map(near).tolist()}, one by one {plain}"
    for v in w:
        v.grad = 0.0
    scalar.mean(near[:1]).backward()
    if not close([v.grad for v in w], expected_numbers[INPUTS:]):
        yield f"mean of a batch gives the weights {[v.grad for v in w]}, in PyTorch {expected_numbers[INPUTS:]}"
    yield from second_derivatives(f, scalar, point, tensors[:INPUTS], expected[:INPUTS])


def second_derivatives(f, scalar, point, tensors, first):
    rows = []
    for one in first:
        row = [None] * len(tensors)
        if one.requires_grad:
            row = torch.autograd.grad(one, tensors, retain_graph=True, allow_unused=True)
        rows.append([0.0 if t is None else t.item() for t in row])
    found = hessian(scalar)(point)
    if not close(found, rows):
        yield f"Hessian {np.asarray(found).tolist()}, in PyTorch {rows}"
    direction = np.array([0.5, -1.0, 2.0])
    product = hvp(scalar, point, direction)
    if not close(product, np.array(rows) @ direction):
        yield f"hvp {np.asarray(product).tolist()}, in PyTorch {(np.array(rows) @ direction).tolist()}"
    if not close(np.sum(jacobian(f)(point), axis=0), grad(scalar)(point)):
        yield "the rows of the Jacobian do not add up to the gradient"
