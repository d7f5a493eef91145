"""Random graphs: a recipe of hypothesis, built with microgradc or with PyTorch."""

from hypothesis import strategies as st

import microgradc
from microgradc import Value

UNARY = [
    "neg",
    "tanh",
    "sigmoid",
    "sin",
    "cos",
    "softplus",
    "gelu",
    "silu",
    "atan",
    "asinh",
    "relu",
    "abs",
    "exp_of_tanh",
    "log_of_square",
]
BINARY = ["add", "sub", "mul", "div_by_positive", "maximum", "minimum", "hypot_plus", "pow2"]
WIDE = ["sum", "mean", "logsumexp", "dot", "dot_with_bias", "softmax_first"]


@st.composite
def recipes(draw, max_steps=40):
    """Leaves, steps (operation, operands by index), and the indices of one root or several. Operands repeat and are
    shared."""
    leaves = draw(st.lists(st.floats(-2, 2).filter(lambda x: abs(x) > 1e-3), min_size=1, max_size=5))
    steps = []
    for _ in range(draw(st.integers(1, max_steps))):
        available = len(leaves) + len(steps)
        recent = st.integers(max(0, available - 4), available - 1) | st.integers(0, available - 1)
        kind = draw(st.sampled_from(["unary", "binary", "binary", "number", "wide"]))
        if kind == "unary":
            steps.append((draw(st.sampled_from(UNARY)), (draw(recent),), None))
        elif kind == "binary":
            same = draw(st.booleans())
            x = draw(recent)
            steps.append((draw(st.sampled_from(BINARY)), (x, x if same else draw(recent)), None))
        elif kind == "number":
            steps.append(
                (draw(st.sampled_from(["add", "rsub", "mul", "rdiv"])), (draw(recent),), draw(st.floats(-2, 2)))
            )
        else:
            count = draw(st.sampled_from([1, 2, 3, 5, 8]))
            steps.append(
                (draw(st.sampled_from(WIDE)), tuple(draw(recent) for _ in range(count)), draw(st.floats(-2, 2)))
            )
    total = len(leaves) + len(steps)
    roots = [*draw(st.lists(st.integers(0, total - 1), min_size=0, max_size=3)), total - 1]
    return leaves, steps, roots


def build_values(recipe):
    """Return the list of all Values of the graph, leaves first."""
    leaves, steps, _ = recipe
    nodes = [Value(x) for x in leaves]
    for name, operands, number in steps:
        nodes.append(_step_of_values(name, [nodes[i] for i in operands], number))
    return nodes


def _step_of_both(name, v, number):
    """The steps that are written alike for Values and for tensors; by name, as functions of no arguments."""
    x, y = v[0], v[-1]
    if number is not None and len(v) == 1 and name in ("add", "rsub", "mul", "rdiv"):
        return {
            "add": lambda: x + number,
            "rsub": lambda: number - x,
            "mul": lambda: number * x,
            "rdiv": lambda: number / (x * x + 1),
        }
    return {
        "neg": lambda: -x,
        "abs": lambda: abs(x),
        "exp_of_tanh": lambda: x.tanh().exp(),
        "log_of_square": lambda: (x * x + 1).log(),
        "add": lambda: x + y,
        "sub": lambda: x - y,
        "mul": lambda: x * y,
        "div_by_positive": lambda: x / (y * y + 1),
        "pow2": lambda: (x.tanh() + 2) ** y.tanh(),
    }


def _step_of_values(name, v, number):
    m = microgradc
    x, y = v[0], v[-1]
    return {
        **_step_of_both(name, v, number),
        "maximum": lambda: m.maximum(x, y),
        "minimum": lambda: m.minimum(x, y),
        "hypot_plus": lambda: m.hypot(x, abs(y) + 1),
        "sum": lambda: m.sum(v),
        "mean": lambda: m.mean(v),
        "logsumexp": lambda: m.logsumexp(v),
        "dot": lambda: m.dot(v, v[::-1]),
        "dot_with_bias": lambda: m.dot([number] * len(v), v, x),
        "softmax_first": lambda: m.softmax(v)[0],
    }.get(name, lambda: getattr(x, name)())()


def build_tensors(recipe):
    """Return the list of all tensors of the graph, leaves first, each with its gradient kept."""
    import torch

    leaves, steps, _ = recipe
    nodes = [torch.tensor(x, dtype=torch.float64, requires_grad=True) for x in leaves]
    for name, operands, number in steps:
        node = _step_of_tensors(name, [nodes[i] for i in operands], number)
        node.retain_grad()
        nodes.append(node)
    return nodes


def _step_of_tensors(name, v, number):
    import torch

    x, y = v[0], v[-1]
    return {
        **_step_of_both(name, v, number),
        "softplus": lambda: torch.nn.functional.softplus(x, threshold=1e9),
        "gelu": lambda: torch.nn.functional.gelu(x),
        "silu": lambda: torch.nn.functional.silu(x),
        "maximum": lambda: torch.maximum(x, y),
        "minimum": lambda: torch.minimum(x, y),
        "hypot_plus": lambda: torch.hypot(x, abs(y) + 1),
        "sum": lambda: torch.stack(v).sum(),
        "mean": lambda: torch.stack(v).mean(),
        "logsumexp": lambda: torch.stack(v).logsumexp(0),
        "dot": lambda: torch.stack(v).dot(torch.stack(v[::-1])),
        "dot_with_bias": lambda: (number * torch.stack(v)).sum() + x,
        "softmax_first": lambda: torch.stack(v).softmax(0)[0],
    }.get(name, lambda: getattr(torch, name)(x))()
