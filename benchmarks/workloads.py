"""What is measured, apart from the moons step: the operations, the graphs, and the processes in which they are timed.

`python workloads.py WORKLOAD ...` is a worker of `microgradc.cli.workers.Worker`: products ENGINE, chains ENGINE,
scaling NODES, gpt FORM.
"""

import importlib.util
import shutil
import sys
from importlib import import_module
from pathlib import Path
from time import perf_counter

from minigrad_engine import protect_none

from microgradc.cli.engines import installed_version
from microgradc.cli.workers import serve

PRODUCTS = 10_000
CHAINS, LENGTH = 20, 500  # micrograd's backward recurses: Python's limit is 1000 frames
MODULES = {"microgradc": "microgradc", "micrograd": "micrograd.engine", "minigrad": "minigrad.engine"}


def number_type(engine, floor=None):
    """Return the type of an engine's numbers; None if the engine is not installed.

    Args:
        engine: a key of MODULES, "floor" or "Python floats".
        floor: the directory in which `build_floor` put its module, for the floor.
    """
    if engine == "Python floats":
        return float
    if engine == "floor":
        return load_floor(floor).Value
    return import_module(MODULES[engine]).Value if installed_version(engine) else None


def build_floor(directory):
    """Compile floor.pyx into a directory."""
    from Cython.Build import cythonize
    from setuptools import Distribution, Extension

    flags = [] if sys.platform == "win32" else ["-O3"]
    source = shutil.copy(Path(__file__).with_name("floor.pyx"), directory)
    extensions = cythonize([Extension("floor", [str(source)], extra_compile_args=flags)], quiet=True)
    build = Distribution({"ext_modules": extensions}).get_command_obj("build_ext")
    build.build_lib, build.build_temp = str(directory), str(Path(directory, "build"))
    build.ensure_finalized()
    build.run()


def load_floor(directory):
    """Return the module that `build_floor` compiled."""
    (path,) = (path for path in Path(directory).glob("floor.*") if path.suffix in (".so", ".pyd"))
    spec = importlib.util.spec_from_file_location("floor", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def fill_with_products(a, b, kept):
    """Put a result of a * b of its own into each place of the list `kept`."""
    for i in range(len(kept)):
        kept[i] = a * b


def chain(x, factor, length):
    """Return x * factor * factor * …, `length` products."""
    for _ in range(length):
        x = x * factor
    return x


def chains(x, factor):
    """Return the sum of CHAINS chains of LENGTH products each."""
    ends = [chain(x, factor, LENGTH) for _ in range(CHAINS)]
    return sum(ends[1:], ends[0])


def measure_products(number):
    """Time PRODUCTS products that are kept."""
    a, b, kept = number(1.5), number(2.5), [None] * PRODUCTS
    begin = perf_counter()
    fill_with_products(a, b, kept)
    end = perf_counter()
    last = kept[-1]
    assert (last if number is float else last.data) == 3.75
    return {"forward": end - begin}


def measure_chains(number):
    """Time the building of the chains, their backward pass, and their release."""
    x, factor = number(1.0), number(1.0)
    times = measure_graph(lambda: chains(x, factor))
    assert (x.grad, factor.grad) == (CHAINS, CHAINS * LENGTH)
    return times


def measure_one_chain(number, length):
    """Time the building of one chain, its backward pass, and its release."""
    x, factor = number(1.0), number(1.0)
    times = measure_graph(lambda: chain(x, factor, length))
    assert (x.grad, factor.grad) == (1, length)
    return times


def make_gpt(form):
    """Return what takes a training step of examples/gpt.py on an eight-letter name, Adam included.

    Args:
        form: "plain Python", its engine and loops in Python; "unmodified", the same loops over microgradc's Values; or
            "compiled loops", microgradc's dot, sum and softmax in their place.
    """
    root = Path(__file__).parents[1]
    sys.path += [str(root / "examples"), str(root / "tests")]
    import gpt
    import plain_engine

    Value = plain_engine.Value if form == "plain Python" else gpt.Value
    model = gpt.GPT(Value, gpt.CompiledLoops if form == "compiled loops" else gpt.PlainLoops)
    names = [name for name in gpt.load_names() if len(name) == 8]
    losses = model.train(names, 10**9)

    def measure():
        begin = perf_counter()
        loss = next(losses)
        return {"step": perf_counter() - begin, "loss": loss}

    return measure


def measure_graph(build):
    """Time the building of a graph, backward from what `build` returns, and the release of the only reference to it."""
    begin = perf_counter()
    root = build()
    built = perf_counter()
    root.backward()
    passed = perf_counter()
    del root
    return {"build": built - begin, "backward": passed - built, "release": perf_counter() - passed}


def main(workload, subject, floor=None):
    """Serve the measurements of a workload."""
    if subject == "minigrad":
        protect_none()
    if workload == "products":
        serve(measure_products, number_type(subject, floor))
    elif workload == "chains":
        serve(measure_chains, number_type(subject))
    elif workload == "gpt":
        serve(make_gpt(subject))
    elif workload == "scaling":
        serve(measure_one_chain, number_type("microgradc"), int(subject))


if __name__ == "__main__":
    main(*sys.argv[1:])
