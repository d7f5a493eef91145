"""The words of random programs: functions of the same names for Values and for tensors, and programs of them."""

import numpy as np
import torch
import torch.nn.functional as F

import microgradc as m
from microgradc import losses


def _plain_scan(step, carry, xs, until=None):
    """The loop written out: what `scan` must be equal to."""
    ys = []
    for x in _vector(xs):
        before = carry
        carry, y = step(carry, x)
        if until is not None:
            ended = until(before)
            carry = tuple(torch.where(ended, a, b) for a, b in zip(before, carry, strict=True))
        ys.append(y)
    return carry, ys


def _vector(v):
    return torch.stack([torch.as_tensor(x, dtype=torch.float64) for x in v])


OURS = {
    "tanh": m.tanh,
    "sin": m.sin,
    "sigmoid": m.sigmoid,
    "softplus": m.softplus,
    "erf": m.erf,
    "atan": m.atan,
    "gelu": m.gelu,
    "silu": m.silu,
    "exp": m.exp,
    "log": m.log,
    "sqrt": m.sqrt,
    "maximum": m.maximum,
    "minimum": m.minimum,
    "hypot": m.hypot,
    "atan2": m.atan2,
    "logaddexp": m.logaddexp,
    "less": m.less,
    "where": m.where,
    "select": m.select,
    "clip": m.clip,
    "total": m.sum,
    "mean": m.mean,
    "dot": m.dot,
    "logsumexp": m.logsumexp,
    "softmax": m.softmax,
    "log_softmax": m.log_softmax,
    "scan": m.scan,
    "matvec": lambda W, v: list(np.array(W) @ np.array(v)),
    "outer_sum": lambda v, w: (np.array(v)[:, None] * np.array(w)[None, :]).sum(),
    "array_exp": lambda v: list(np.exp(np.tanh(np.array(v)))),
    "mse": lambda p, t: losses.mse_loss(p, t),
    "huber": lambda p, t: losses.huber_loss(p, t, delta=0.7),
    "smooth": lambda p, t: losses.smooth_l1_loss(p, t, beta=0.5),
    "cross": lambda p, k: losses.cross_entropy(p, k),
    "bce_logits": lambda p: losses.binary_cross_entropy_with_logits(p, [1.0, 0.0, 0.25]),
    "linear": lambda v, W: m.linear(v, [W[: len(v)], W[-len(v) :]], W[:2]),
}
THEIRS = {
    "tanh": torch.tanh,
    "sin": torch.sin,
    "sigmoid": torch.sigmoid,
    "erf": torch.erf,
    "atan": torch.atan,
    "gelu": F.gelu,
    "softplus": lambda x: torch.logaddexp(x, torch.zeros_like(x)),
    "silu": F.silu,
    "exp": torch.exp,
    "log": torch.log,
    "sqrt": torch.sqrt,
    "maximum": torch.maximum,
    "minimum": torch.minimum,
    "hypot": torch.hypot,
    "atan2": torch.atan2,
    "logaddexp": torch.logaddexp,
    "less": lambda x, y: torch.as_tensor(x) < y,
    "where": torch.where,
    "select": torch.where,
    "clip": torch.clamp,
    "total": lambda v: _vector(v).sum(),
    "mean": lambda v: _vector(v).mean(),
    "dot": lambda v, w: (_vector(v) * _vector(w)).sum(),
    "logsumexp": lambda v: _vector(v).logsumexp(0),
    "softmax": lambda v: list(_vector(v).softmax(0)),
    "log_softmax": lambda v: list(_vector(v).log_softmax(0)),
    "scan": _plain_scan,
    "matvec": lambda W, v: list(torch.stack([_vector(row) for row in W]) @ _vector(v)),
    "outer_sum": lambda v, w: (_vector(v)[:, None] * _vector(w)[None, :]).sum(),
    "array_exp": lambda v: list(torch.exp(torch.tanh(_vector(v)))),
    "mse": lambda p, t: F.mse_loss(_vector(p), _vector(t)),
    "huber": lambda p, t: F.huber_loss(_vector(p), _vector(t), delta=0.7),
    "smooth": lambda p, t: F.smooth_l1_loss(_vector(p), _vector(t), beta=0.5),
    "cross": lambda p, k: F.cross_entropy(_vector(p), torch.tensor(k)),
    "bce_logits": lambda p: F.binary_cross_entropy_with_logits(
        _vector(p), torch.tensor([1.0, 0.0, 0.25], dtype=torch.float64)
    ),
    "linear": lambda v, W: list(
        torch.stack([_vector(W[: len(v)]), _vector(W[-len(v) :])]) @ _vector(v) + _vector(W[:2])
    ),
}

UNARY = [
    "tanh({})",
    "sin({})",
    "sigmoid({})",
    "softplus({})",
    "erf({})",
    "atan({})",
    "gelu({})",
    "silu({})",
    "exp(tanh({}))",
    "log({0} * {0} + 1)",
    "sqrt({0} * {0} + 0.5)",
    "-{}",
    "abs({})",
    "{} ** 2",
    "1.5 - {}",
    "2 * {}",
    "1 / ({0} * {0} + 1)",
    "clip({}, -0.75, 1.25)",
]
BINARY = [
    "{} + {}",
    "{} - {}",
    "tanh({} * {})",
    "{0} / ({1} * {1} + 1)",
    "maximum({}, {})",
    "minimum({}, {})",
    "hypot({}, {} + 0.25)",
    "logaddexp({}, {})",
    "where(less({0}, {1}), {0}, {1} * 0.5)",
    "select(less({0}, {1}), tanh({1}), {0})",
    "(tanh({}) + 2) ** tanh({})",
    "atan2({0}, {1} * {1} + 0.5)",
]
OF_VECTORS = [
    "total({})",
    "mean({})",
    "logsumexp({})",
    "softmax({})[1]",
    "log_softmax({})[0]",
    "tanh(dot({0}, {0}))",
    "tanh(total(matvec([W[:3], W[1:4]], {})))",
    "tanh(outer_sum({0}, {0}))",
    "total(array_exp({}))",
    "mse({}, [0.5, W[0], -1.0])",
    "huber({}, [0.25, -1.5, W[1]])",
    "smooth({}, [W[2], 0.1, 0.2])",
    "cross({}, 2)",
    "bce_logits({})",
    "total(linear({}, W))",
]


def expression(draw, names):
    kind = draw.random()
    if kind < 0.4:
        return draw.choice(UNARY).format(draw.choice(names))
    if kind < 0.75:
        return draw.choice(BINARY).format(draw.choice(names), draw.choice(names))
    return draw.choice(OF_VECTORS).format(f"[{', '.join(draw.choice(names) for _ in range(3))}]")


def loop(draw, names, name, indent="    ", depth=0):
    """The lines of a scan: two carries, a row of xs, perhaps an end, perhaps a scan within."""
    inside = ["c[0]", "c[1]", "u", *draw.sample(names, 1), "W[3]"]
    lines = [f"{indent}def step_{name}(c, u):"]
    if depth == 0 and draw.random() < 0.3:
        lines += loop(draw, inside, f"{name}_within", indent + "    ", 1)
        inside.append(f"{name}_within")
    lines.append(f"{indent}    p = {expression(draw, inside)}")
    until = f", until=lambda c: less({draw.uniform(0.3, 0.9)!r}, c[0])" if draw.random() < 0.3 else ""
    result = "None" if until else "tanh(p)"
    lines.append(f"{indent}    return (tanh(c[0] * 0.5 + p), tanh({expression(draw, [*inside, 'p'])})), {result}")
    xs = ", ".join(draw.choice([*names, "0.5", "-0.25"]) for _ in range(draw.randint(1, 5)))
    lines.append(
        f"{indent}d_{name}, ys_{name} = scan(step_{name}, ({draw.choice(names)}, {draw.choice(names)} * 0.5), "
        f"[{xs}]{until})"
    )
    last = "" if until else f" + ys_{name}[-1]"
    lines.append(f"{indent}{name} = d_{name}[0] * d_{name}[1]{last}")
    return lines


def program(draw, branches):
    """Return the text of a function f of three numbers that returns two; `W` are five weights."""
    names = ["x[0]", "x[1]", "x[2]", "W[0]", "W[4]"]
    lines = [
        "def f(x):",
        f"    def helper(p, q):\n        r = {expression(draw, ['p', 'q', 'W[1]'])}\n"
        f"        return {expression(draw, ['p', 'q', 'r'])}",
    ]
    for i in range(draw.randint(2, 8)):
        name, kind = f"v{i}", draw.random()
        if kind < 0.6:
            lines.append(f"    {name} = {expression(draw, names)}")
        elif kind < 0.7:
            lines.append(f"    {name} = helper({draw.choice(names)}, {draw.choice(names)})")
        elif kind < 0.8:
            lines += [
                f"    {name} = {draw.choice(names)}",
                f"    for i in range({draw.randint(1, 4)}):",
                f"        {name} = tanh({name} + {expression(draw, names)} * (i + 1) * 0.25)",
            ]
        elif kind < 0.95 or not branches:
            lines += loop(draw, names, name)
        else:
            lines += [
                f"    {name} = {draw.choice(names)}",
                f"    if {draw.choice(names)} > {draw.choice(names)}:",
                f"        {name} = {expression(draw, names)}",
            ]
        names.append(name)
    return "\n".join([*lines, f"    return [{names[-1]} + 0 * x[0], {expression(draw, names)} + 0 * x[0]]", ""])
