"""Pickles and files that cross versions of Python: one version writes, another one reads.

    python other_version.py write FOLDER
    python other_version.py read FOLDER
"""

import pickle
import sys
from collections import namedtuple
from pathlib import Path

import numpy as np

from microgradc import Value, compile, load_compiled, nn, scan, take, trees

Option = namedtuple("Option", "strike years")
X = np.linspace(-1, 1, 12).reshape(6, 2)


def functions():
    """Return functions that have no name to be found by, each with arguments of an example."""
    w, model = Value(0.75), nn.MLP(2, [4, 1], seed=0)
    return {
        "numbers": (compile(lambda x, y: (w * x * y).exp()), (0.5, 0.25), {}),
        "network": (compile(lambda x: model(x)), (X[0],), {}),
        "nest": (compile(lambda o, d: o.strike * d["rate"] * (-w * o.years).exp()),
                 (Option(90.0, 2.0), {"rate": 0.5}), {}),
        "index": (compile(lambda i, x: take([x, x * w, x**2], i + 1)), (1, 3.0), {}),
        "loop": (compile(lambda x: scan(lambda c, t: (c * w + t, None), x[0], x[1:], until=lambda c: c > 4.0)[0]),
                 (X[0],), {}),
        "static": (compile(lambda x, n, kind=None: sum(x**k for k in range(n)), static=("n",)), (2.0,),
                   {"n": 4, "kind": "sum"}),
    }


def found(f, args, kwargs):
    """Return what a function gives for an example, bit for bit."""
    value, gradients = f.value_and_grad(*args, **kwargs)
    leaves = trees.flatten(gradients)[0]
    return [float(value).hex(), *[float(x).hex() for x in leaves if x is not None]]


def write(folder):
    """Write pickles of functions, and files of those that are of numbers; and what they give."""
    for name, (f, args, kwargs) in functions().items():
        results = found(f, args, kwargs)
        (folder / f"{name}.pickle").write_bytes(pickle.dumps((f, args, kwargs, results)))
        if not kwargs:
            f.save(folder / f"{name}.safetensors", *args)
    theta = [1.0, 2.0]
    shared = compile(lambda theta, x: (theta[0] * x + theta[1]).tanh(), shared=("theta",))
    value, gradient = shared.sum_value_and_grad(theta, X[:, 0])
    (folder / "shared").write_bytes(pickle.dumps((shared, theta, X[:, 0], value, gradient)))


def read(folder):
    """Read them, and compare."""
    for name, (_, own_args, _) in functions().items():
        f, args, kwargs, results = pickle.loads((folder / f"{name}.pickle").read_bytes())
        assert found(f, args, kwargs) == results, name
        if not kwargs:
            assert found(load_compiled(folder / f"{name}.safetensors"), own_args, {}) == results, name
    f, theta, x, value, gradient = pickle.loads((folder / "shared").read_bytes())
    assert f.sum_value_and_grad(theta, x)[0] == value
    assert f.sum_value_and_grad(theta, x)[1].tolist() == gradient.tolist()
    print(f"Python {sys.version.split()[0]} read what was written there, bit for bit")


if __name__ == "__main__":
    {"write": write, "read": read}[sys.argv[1]](Path(sys.argv[2]))
