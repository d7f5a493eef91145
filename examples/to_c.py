"""Write functions as C, and call them without Python: a small network in a C program, an option's price in a library.

    python examples/to_c.py [--folder FOLDER] [--compiler gcc|clang|cc]

`model` is trained on two moons and becomes model.c and model.h; a program of a few lines, main.c, calls it. `price` is
the Black-Scholes price of a call; a shared library made from price.c gives its price and its sensitivities. Next to
each number of C stands the one of Python.
"""

import argparse
import ctypes
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np

import microgradc
from microgradc import MLP, compile

MAIN = """\
#include <stdio.h>
#include "model.h"

int main(void)
{
    static const double points[][model_INPUTS] = {%s};
    double output[model_OUTPUTS], work[model_WORK];
    for (int i = 0; i < (int)(sizeof points / sizeof *points); i++) {
        model(points[i], output, work);
        printf("%%.17g\\n", output[0]);
    }
    return 0;
}
"""
FLAGS = ["-std=c99", "-O2", "-ffp-contract=off"]     # the bits of Python; without the last flag it is a little faster


@compile
def price(spot, strike, rate, volatility, years):
    """Return what the right is worth to buy for `strike` in some years what costs `spot` now."""
    spread = volatility * years.sqrt()
    d1 = ((spot / strike).log() + (rate + volatility**2 / 2) * years) / spread
    return spot * normal(d1) - strike * (-rate * years).exp() * normal(d1 - spread)


def normal(x):
    """Return the probability that a standard normal number is below x."""
    return microgradc.erfc(-x * 0.5**0.5) / 2


def write(folder, name, texts):
    """Write what `to_c` returned; return the path of the C file."""
    for ending, text in zip(("c", "h"), texts, strict=True):
        (folder / f"{name}.{ending}").write_text(text, encoding="utf-8")
    return folder / f"{name}.c"


def network_in_c(folder, compiler):
    """Train a network, and compute its outputs in a C program."""
    X, y = microgradc.make_moons(100, noise=0.1, random_state=0)
    model = MLP(2, [16, 16, 1], seed=0)
    model.fit(X, 2 * y - 1, epochs=20, progress=False, seed=0)
    output = compile(lambda x: model(x))
    source = write(folder, "model", output.to_c(X[0], name="model"))
    points = X[:4]
    rows = ", ".join("{" + ", ".join(map(repr, row)) + "}" for row in points.tolist())
    (folder / "main.c").write_text(MAIN % rows, encoding="utf-8")
    program = folder / "main"
    subprocess.run([compiler, *FLAGS, folder / "main.c", source, "-lm", "-o", program], check=True)
    printed = subprocess.run([program], check=True, capture_output=True, encoding="utf-8").stdout.split()
    print(f"a network of {len(model.parameters())} parameters: model.c has {source.stat().st_size:,} bytes")
    for point, in_c in zip(points, printed, strict=True):
        print(f"model({point[0]:6.3f}, {point[1]:6.3f})   C {float(in_c)!r:22} Python {model(point).data!r}")


def price_in_c(folder, compiler):
    """Compute a price and its gradient in a shared library."""
    arguments = [100.0, 95.0, 0.03, 0.2, 0.75]
    texts = price.to_c(*arguments, name="price")
    source = write(folder, "price", texts)
    path = folder / "price.so"
    subprocess.run([compiler, *FLAGS, "-shared", "-fPIC", source, "-lm", "-o", path], check=True)
    library = ctypes.CDLL(str(path.resolve()))
    inputs, seeds, outputs = np.array(arguments), np.ones(1), np.empty(1)
    gradients, work = np.empty(5), np.empty(int(re.findall(r"price_WORK = (\d+)", texts[1])[0]))
    arrays = [inputs, seeds, outputs, gradients, None, work]     # no parameters
    library.price_gradients(*[None if a is None else ctypes.c_void_p(a.ctypes.data) for a in arrays])
    value, wanted = price.value_and_grad(*arguments)
    print(f"price{'':10} C {outputs.item()!r:22} Python {value!r}")
    names = "spot strike rate volatility years".split()
    for name, in_c, in_python in zip(names, gradients.tolist(), wanted, strict=True):
        print(f"d/d {name:11} C {in_c!r:22} Python {in_python!r}")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--folder", type=Path, default="to_c-files", help="for the files (default: %(default)s)")
    parser.add_argument("--compiler", help="default: the first that is there of cc, gcc and clang")
    options = parser.parse_args()
    compiler = options.compiler or next(filter(None, map(shutil.which, ("cc", "gcc", "clang"))), None)
    if compiler is None:
        sys.exit("there is no C compiler: install gcc or clang, or name one with --compiler")
    options.folder.mkdir(parents=True, exist_ok=True)
    network_in_c(options.folder, compiler)
    price_in_c(options.folder, compiler)


if __name__ == "__main__":
    main()
