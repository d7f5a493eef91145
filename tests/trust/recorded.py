"""A few random graphs more, as functions that are compiled: value, gradient, and the Hessian times a direction, against
PyTorch. A number that differs by more than 1e-10 must be one that PyTorch's own rounding moves as far: each operand is
changed by 1e-14 of it, and what comes of that is how far the two may be apart."""

import warnings

import numpy as np

import microgradc

from .random_graphs import LEAVES, random_batch
from .spellings import NAMES, ROUGH

WIGGLE = 1e-14
FACTOR = 20  # of what the wiggling moved
ROUNDING = 1e-14  # what is left where terms of about 1 cancel within an operation


def function_of(batch, graph, spellings):
    """Return a graph as the text of a function `f` of its leaves, a list."""
    lines = ["def f(x):", f"    {', '.join(f'x{i}' for i in range(LEAVES))} = x"]
    for step, kind in enumerate(batch.kinds[:, graph].tolist()):
        if batch.reached[LEAVES + step, graph]:
            name, spelling = f"x{LEAVES + step}", spellings[kind]
            names = [f"x{i}" for i in batch.operands[step, graph].tolist()[: spelling.operands]]
            lines.append(f"    {name} = {spelling.make(names)}")
    return "\n".join([*lines, f"    return {name}", ""])


def by_programs(batch, spellings, direction, findings, seed):
    """Return what compiled functions give: values, gradients, and products with Hessians."""
    values, grads, curvatures = np.zeros(batch.count), np.zeros((LEAVES, batch.count)), np.zeros((LEAVES, batch.count))
    for i in range(batch.count):
        scope = dict(NAMES)
        exec(function_of(batch, i, spellings), scope)
        f, x = microgradc.compile(scope["f"]), batch.leaves[:, i].copy()
        try:
            values[i], grads[:, i] = f.value_and_grad(x)
            if direction is not None:
                curvatures[:, i] = microgradc.hvp(f, x, direction[:, i].copy())
        except Exception as error:
            findings.add(
                f"{type(error).__name__}: {error}; batch of seed {seed}",
                seed,
                f"{function_of(batch, i, spellings)}f = microgradc.compile(f)\nx = {x.tolist()}",
            )
    return values, grads, curvatures


def left_out(spelling):
    """Python's own power and remainder of floats differ at signed zeros and infinities, so a function that meets these
    is refused: its plain call is another. A softmax cancels within itself, which no wiggling of its operands shows;
    `programs` has it."""
    return spelling.text.endswith(("** (-0.5)", "** (0.5)")) or spelling.name == "mod" or "softmax" in spelling.name


def compare(findings, rng, spellings, seed, count):
    from .graphs import by_pytorch  # which imports this

    spellings = [spelling for spelling in spellings if not left_out(spelling)]
    smooth = [spelling for spelling in spellings if spelling.name not in ROUGH and spelling.text != "{0} ** {1}"]
    # The Hessian of x ** y at y = 0 is asymmetric in PyTorch, as what it masks is a constant.
    if not count:
        return
    for chosen, second in ((spellings, False), (smooth, True)):
        batch = random_batch(rng, count, chosen, wild=False, steps=8)
        direction = rng.normal(size=batch.leaves.shape) if second else None
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            ours = by_programs(batch, chosen, direction, findings, seed)
        runs = [by_pytorch(batch, chosen, direction, wiggle) for wiggle in (None, WIGGLE, WIGGLE, WIGGLE)]
        last = len(batch.reached) - 1 - np.argmax(batch.reached[::-1], axis=0)
        names = ["value", "gradient", "Hessian times a direction"][: 2 + second]
        for k, name in enumerate(names):
            versions = [run[k][last, np.arange(count)] if k == 0 else run[k] for run in runs]
            theirs = versions[0]
            with np.errstate(all="ignore"):
                moved = np.max([np.abs(other - theirs) for other in versions[1:]], axis=0)
                differ = np.abs(ours[k] - theirs)
                wrong = ~(differ <= 1e-10 * np.abs(theirs) + FACTOR * moved + ROUNDING)
            # What is not finite is compared by the graphs that are made one by one.
            wrong &= np.all([np.isfinite(other) for other in versions], axis=0) & np.isfinite(runs[0][0]).all(0)
            for graph in np.unique(np.nonzero(wrong)[-1]):
                findings.add(
                    f"the {name} of a compiled function is {ours[k][..., graph]}, in PyTorch {theirs[..., graph]}; "
                    f"batch of seed {seed}",
                    seed,
                    f"{function_of(batch, graph, chosen)}f = microgradc.compile(f)\nx = "
                    f"{batch.leaves[:, graph].tolist()}" + (f"\nv = {direction[:, graph].tolist()}" if second else ""),
                )
        findings.count("compiled functions", count)
        findings.count("of them with second derivatives", count * second)
