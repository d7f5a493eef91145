"""One example's graph as straight-line C: what a compiler makes of the moons step, for comparison with a program that
replays the graph.

Each node is a line of the forward pass and one or two of the backward pass, over doubles. A loop calls that for each
example; the L2 term and the update of the parameters are loops in C, too. It is compiled with COMMAND and called
through ctypes.
"""

import ctypes
import shutil
import subprocess
import tempfile
from pathlib import Path

import numpy as np

from microgradc import Value, topological_sort
from microgradc.cli import moons

COMMAND = ["gcc", "-O2", "-march=native", "-shared", "-fPIC"]

# For each operation: its value, and what its operands receive; a and b are the operands, g is what arrives.
RULES = {
    "+": ("{a} + {b}", ["{g}", "{g}"]),
    "*": ("{a} * {b}", ["{g} * {b}", "{g} * {a}"]),
    "-": ("-{a}", ["-{g}"]),
    "ReLU": ("{a} > 0 ? {a} : 0", ["{a} > 0 ? {g} : 0"]),
}

STEP = """
#include <string.h>

static double example(const double *x, double y, const double *p, double *gp)
{
%s
}

/* The loss before the step: the mean over n examples, and decay times the sum of squares. */
double step(const double *X, const double *y, long n, double *p, double *gp, long parameters, double decay, double rate)
{
    double sum = 0, squares = 0;
    memset(gp, 0, parameters * sizeof *gp);
    for (long i = 0; i < n; i++) sum += example(X + 2 * i, y[i], p, gp);
    for (long i = 0; i < parameters; i++) {
        squares += p[i] * p[i];
        p[i] -= rate * (gp[i] / n + 2 * decay * p[i]);
    }
    return sum / n + decay * squares;
}
"""


def example_lines(loss, names):
    """Return the C lines that compute a graph and add the gradients of the parameters to gp.

    Args:
        loss: a Value, the root.
        names: what inputs and parameters are called in C; all other leaves are constants.
    """
    names = dict(names)
    forward, backward = [], []
    nodes = [v for v in topological_sort(loss) if v._op]
    leaves = {leaf for v in nodes for leaf in v._children if not leaf._op}
    names |= {leaf: f"({leaf.data!r})" for leaf in leaves - names.keys()}
    gradients = {leaf: "g" + name for leaf, name in names.items() if name.startswith("p[")}
    for i, v in enumerate(nodes):
        names[v], gradients[v] = f"v{i}", f"g{i}"
    for v in nodes:
        value, received = RULES[v._op]
        operands = dict(zip("ab", [names[x] for x in v._children], strict=False))
        forward.append(f"double {names[v]} = {value.format(**operands)}, {gradients[v]} = 0;")
        adding = [
            f"{gradients[x]} += {gradient.format(g=gradients[v], **operands)};"
            for x, gradient in zip(v._children, received, strict=True) if x in gradients
        ]
        backward = adding + backward
    return [*forward, f"{gradients[loss]} = 1;", *backward, f"return {names[loss]};"]


def make_step(model, X, y):
    """Return a function of no arguments that takes the next moons step and returns the loss before it; the model stays
    as it is.

    Args:
        model: an MLP of `SumNeuron`, for micrograd's expression.
        X, y: the points, float64 of shape (n, 2), and their targets, (n,).
    """
    x, target, parameters = [Value(0.5), Value(0.5)], Value(1.0), model.parameters()
    loss = (1 + -target * model(x)).relu()
    names = {x[0]: "x[0]", x[1]: "x[1]", target: "y"} | {p: f"p[{i}]" for i, p in enumerate(parameters)}
    function = compile_c(STEP % "\n".join("    " + line for line in example_lines(loss, names)), COMMAND).step
    function.restype = ctypes.c_double
    X, y = np.ascontiguousarray(X), np.ascontiguousarray(y)
    p, gp = np.array([v.data for v in parameters]), np.empty(len(parameters))
    pointer, number = ctypes.c_void_p, ctypes.c_double
    arguments = [
        pointer(X.ctypes.data),
        pointer(y.ctypes.data),
        ctypes.c_long(len(y)),
        pointer(p.ctypes.data),
        pointer(gp.ctypes.data),
    ]
    arguments += [ctypes.c_long(len(p)), number(moons.DECAY), number(moons.RATE)]

    def step(kept=(X, y, p, gp)):
        return function(*arguments)

    return step


def compile_c(source, command):
    """Return the library that a compiler makes of C source."""
    with tempfile.TemporaryDirectory() as directory:
        path, library = Path(directory, "generated.c"), Path(directory, "generated.so")
        path.write_text(source)
        subprocess.run([*command, str(path), "-o", str(library), "-lm"], check=True)
        return ctypes.CDLL(str(library))


def is_available():
    """Return whether the compiler is there."""
    return shutil.which(COMMAND[0]) is not None
