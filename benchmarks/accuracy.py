"""The largest errors of elementary functions in units in the last place, eager and compiled, next to mpmath.

    python benchmarks/accuracy.py              2,000 arguments a function
    python benchmarks/accuracy.py 100000

Arguments are uniform over where the function is neither 0 nor infinite, and half of them near 0, by powers of two.
`docs/numerics.md` has the table.
"""

import sys

import mpmath
import numpy as np

import microgradc
from microgradc import Value, engine

DOMAINS = {
    "exp": (-700, 700), "expm1": (-30, 700), "exp2": (-1000, 1000), "sinh": (-700, 700), "cosh": (-700, 700),
    "tanh": (-20, 20), "sigmoid": (-700, 30), "log_sigmoid": (-700, 30), "softplus": (-700, 700), "log": (0, 1e3),
    "log2": (0, 1e3), "log10": (0, 1e3), "log1p": (-1, 1e3), "sqrt": (0, 1e3), "asin": (-1, 1), "acos": (-1, 1),
    "acosh": (1, 1e3), "atanh": (-1, 1), "sin": (-1e3, 1e3), "cos": (-1e3, 1e3), "tan": (-1e3, 1e3), "erf": (-6, 6),
    "erfc": (-6, 26), "gammaln": (0, 100), "digamma": (0, 100), "logit": (0, 1), "gelu": (-5, 5), "silu": (-700, 700),
    "mish": (-30, 700), "selu": (-30, 30),
}  # fmt: skip
SPELT = {
    "cbrt": lambda x: mpmath.sign(x) * mpmath.cbrt(abs(x)),
    "log2": lambda x: mpmath.log(x, 2),
    "exp2": lambda x: mpmath.mpf(2) ** x,
    "sigmoid": lambda x: 1 / (1 + mpmath.exp(-x)),
    "gammaln": mpmath.loggamma,
    "log_sigmoid": lambda x: -mpmath.log1p(mpmath.exp(-x)),
    "softplus": lambda x: mpmath.log1p(mpmath.exp(x)),
    "logit": lambda x: mpmath.log(x / (1 - x)),
    "gelu": lambda x: x * mpmath.ncdf(x),
    "silu": lambda x: x / (1 + mpmath.exp(-x)),
    "mish": lambda x: x * mpmath.tanh(mpmath.log1p(mpmath.exp(x))),
    "softsign": lambda x: x / (1 + abs(x)),
    "square": lambda x: x * x,
    "selu": lambda x: (
        mpmath.mpf("1.0507009873554804934193349852946")
        * (x if x > 0 else mpmath.mpf("1.6732632423543772848170429916717") * mpmath.expm1(x))
    ),
}
NAMES = [
    row.name.lower()
    for row in engine.TABLE
    if row.operands == 1
    and (row.name.lower() in SPELT or hasattr(mpmath, row.name.lower()))
    and row.name not in ("FLOOR", "CEIL", "SIGN", "NEG")
]


def arguments(name, count):
    low, high = DOMAINS.get(name, (-1e3, 1e3))
    rng = np.random.default_rng(0)
    half = count // 2
    near = 2.0 ** rng.uniform(-40, 3, count - half) * rng.choice([-1, 1], count - half)
    x = np.concatenate([rng.uniform(low, high, half), near])
    return x[(x > low) & (x < high)]


def errors(name, x, got):
    """In units in the last place of what is exact."""
    with mpmath.workdps(50):
        exact = [SPELT.get(name, getattr(mpmath, name, None))(mpmath.mpf(v)) for v in x.tolist()]
        return [
            float(abs(mpmath.mpf(y) - e)) / np.spacing(max(abs(float(e)), 2.0**-1022))
            for y, e in zip(got, exact, strict=True)
        ]


def main():
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 2000
    print("| | eager | compiled |\n|---|---|---|")
    for name in NAMES:
        x, f = arguments(name, count), getattr(microgradc, name, None) or getattr(Value, name)
        eager = [f(Value(v)).data for v in x.tolist()]
        compiled = microgradc.compile(lambda v, f=f: f(v)).map(x)
        print(
            f"| `{name}` | {max(errors(name, x, eager)):.1f} | {max(errors(name, x, compiled.tolist())):.1f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
