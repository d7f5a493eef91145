"""Every operation, from the engine's table, with Values and with numbers in each place: as Python text, and in PyTorch.

A spelling has text for Values, `{0} + {1}`, from which the maker of a node is compiled and which findings show; and a
function of tensors with an entry for each graph.
"""

import math
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F

import microgradc
from microgradc import engine
from microgradc.checking.torch_rows import torch_rows
from microgradc.engine.value import operate

OPERATORS = {
    "add": "{} + {}",
    "sub": "{} - {}",
    "mul": "{} * {}",
    "div": "{} / {}",
    "pow": "{} ** {}",
    "floordiv": "{} // {}",
    "mod": "{} % {}",
    "neg": "-{}",
    "abs": "abs({})",
    # PyTorch adds as many terms as there are integers up to 0.
    "polygamma": "m.polygamma({}, m.maximum({}, -1000.0))",
    # PyTorch refuses what is not a probability.
    "bce": "m.bce(m.sigmoid({}), m.sigmoid({}))",
    "bce_number": "m.bce(m.sigmoid({}), {})",
}
NUMBERS = (-2.0, -1.0, -0.5, 0.0, 0.5, 1.0, 2.0, 3.0)
SETTINGS = {"polygamma": (0, 1, 2, 3), "bce_number": (0.0, 0.3, 1.0), "where": (0.0, 1.0, math.nan)}
# Not smooth, or without a second derivative in PyTorch.
ROUGH = {
    "floordiv",
    "mod",
    "step",
    "sign",
    "floor",
    "ceil",
    "less",
    "less_equal",
    "relu",
    "abs",
    "leaky_relu",
    "elu",
    "selu",
    "hardtanh",
    "minimum",
    "maximum",
    "where",
    "clip",
    "softsign",
    "straight_through",
    "polygamma",
    "cbrt",
    "bce",
    "bce_number",
    "atan2",
    "hypot",
}
MOST_OPERANDS = 6


@dataclass
class Spelling:
    name: str
    text: str
    operands: int
    theirs: Any

    def make(self, nodes):
        """The text of a node, over the texts of its operands."""
        return self.text.format(*nodes)


def without_slope(f):
    """As doubles that pass nothing back: PyTorch has no derivative there."""
    return lambda *x: f(*(t.detach() for t in x)).double()


def logsumexp(*x):
    """PyTorch's gradients exp(x - f) do not add up to 1 where f is large, and so was rounded; those of softmax do."""
    x = torch.stack(x)
    f = x.logsumexp(0)
    finite = torch.where(torch.isfinite(x), x, 0.0)
    rounded = (f.abs() > 32) & torch.isfinite(f)
    weights = torch.where(rounded, x, 0.0).detach().softmax(0)
    weighed = (weights * finite).sum(0)
    return torch.where(rounded, f.detach() + (weighed - weighed.detach()), f)


def elu(x, alpha):
    """F.elu takes alpha as a number. The slope is exp(x), for that of expm1 cancels in PyTorch."""
    below = x.clamp(max=0)
    slope = below.exp()
    return torch.where(x > 0, x, alpha * (torch.expm1(below.detach()) + (slope - slope.detach())))


def dot(*terms):
    total = terms[-1] if len(terms) % 2 else torch.zeros_like(terms[0])
    for w, x in zip(terms[:-1:2], terms[1::2], strict=False):
        total = total + w * x
    return total


def cross_entropy(x, y):
    """PyTorch refuses nan."""
    known = ~(torch.isnan(x) | torch.isnan(y))
    loss = F.binary_cross_entropy(torch.where(known, x, 0.5), torch.where(known, y, 0.5), reduction="none")
    return torch.where(known, loss, math.nan)


def in_torch():
    """The rows of PyTorch, over many graphs at once."""
    return torch_rows() | {
        "floordiv": without_slope(torch_rows()["floordiv"]),
        "step": without_slope(lambda x: x > 0),
        "less": without_slope(torch.less),
        "less_equal": without_slope(torch.less_equal),
        "leaky_relu": lambda x, y: F.prelu(x.reshape(1, -1), y)[0],
        "elu": elu,
        "polygamma": lambda n, x: torch.polygamma(int(n[0]), torch.maximum(x, torch.full_like(x, -1000.0))),
        "bce": lambda x, y: cross_entropy(x.sigmoid(), y.sigmoid()),
        "bce_number": lambda x, y: cross_entropy(x.sigmoid(), y),
        "sum": lambda *x: torch.stack(x).sum(0),
        "mean": lambda *x: torch.stack(x).mean(0),
        "logsumexp": logsumexp,
        "dot": dot,
    }


def with_numbers(name, f, text, count, places):
    """The spellings that have numbers in some places."""
    kept = [i for i in range(count) if i not in places]
    for number in SETTINGS.get(name, NUMBERS):
        numbers = {i: number + (j if name == "clip" else 0) for j, i in enumerate(places)}

        def theirs(*x, numbers=numbers):
            given = iter(x)
            return f(*(torch.full_like(x[0], numbers[i]) if i in numbers else next(given) for i in range(count)))

        if name == "pow" and 1 in numbers:  # PyTorch, too, goes by whether it is a number
            theirs = lambda x, number=number: torch.pow(x, number)  # noqa: E731
        if name == "elu" and 1 in numbers:
            theirs = lambda x, number=number: F.elu(x, number)  # noqa: E731
        if name == "clip":
            theirs = lambda x, number=number: torch.clamp(x, number, number + 1)  # noqa: E731
        texts = [f"({numbers[i]!r})" if i in numbers else f"{{{kept.index(i)}}}" for i in range(count)]
        yield Spelling(name, text.format(*texts).replace("(nan)", "NAN"), len(kept), theirs)


def of_row(row, rows):
    name, count = row.name.lower(), row.operands
    text = OPERATORS.get(name, f"m.{name}({', '.join(['{}'] * count)})")
    if name != "polygamma":
        yield Spelling(name, text.format(*(f"{{{i}}}" for i in range(count))), count, rows[name])
    if name in ("polygamma", "where"):
        yield from with_numbers(name, rows[name], text, count, (0,))
    elif name == "bce":
        yield from with_numbers("bce_number", rows["bce_number"], OPERATORS["bce_number"], 2, (1,))
    elif name == "clip":
        yield from with_numbers(name, rows[name], text, 3, (1, 2))
    elif count == 2 and name != "straight_through":
        yield from with_numbers(name, rows[name], text, 2, (1,))
        if name not in ("leaky_relu", "elu"):
            yield from with_numbers(name, rows[name], text, 2, (0,))


def wide(rows):
    for count in range(1, MOST_OPERANDS + 1):
        places = [f"{{{i}}}" for i in range(count)]
        for name in ("sum", "mean", "logsumexp"):
            yield Spelling(name, f"m.{name}([{', '.join(places)}])", count, rows[name])
        bias = f", {places[-1]}" if count % 2 else ""
        pairs = [", ".join(places[i : count - count % 2 : 2]) for i in (0, 1)]
        yield Spelling("dot", f"m.dot([{pairs[0]}], [{pairs[1]}]{bias})", count, rows["dot"])
        for i in {0, count - 1}:
            yield Spelling(
                "softmax", f"m.softmax([{', '.join(places)}])[{i}]", count, lambda *x, i=i: torch.stack(x).softmax(0)[i]
            )
            yield Spelling(
                "log_softmax",
                f"m.log_softmax([{', '.join(places)}])[{i}]",
                count,
                lambda *x, i=i: torch.stack(x).log_softmax(0)[i],
            )


def spellings():
    """Return all of them; fails where an operation of the table has none."""
    rows = in_torch()
    found = [spelling for row in engine.TABLE for spelling in of_row(row, rows)]
    found += wide(rows)
    missing = {row.name.lower() for row in engine.TABLE} - {spelling.name for spelling in found}
    assert not missing, f"operations without a spelling: {missing}"
    return found


NAMES = {"m": microgradc, "NAN": math.nan, "operate": operate}


def makers(found):
    """Return for each spelling a function of the list of nodes and of the operands' places that makes the node."""
    return [
        eval(f"lambda n, i: {spelling.make([f'n[i[{k}]]' for k in range(spelling.operands)])}", dict(NAMES))
        for spelling in found
    ]
