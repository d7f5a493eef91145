"""What `microgradc.compile` is measured on, in its engines: `python compiled_workloads.py WORKLOAD ENGINE` is a worker
of `Worker`.

An engine is a function that returns a function of no arguments, which does the work once and returns its result: the
loss before a training step, or numbers and arrays of them. All engines of a workload have the same results. They are
single-threaded, unless they say otherwise, and get their batches in the form that suits them best.
"""

import gc
import os
import sys
from collections.abc import Callable
from contextlib import contextmanager, nullcontext
from functools import partial
from itertools import cycle
from pathlib import Path
from time import perf_counter
from typing import NamedTuple

import black_scholes
import generated_c
import gpt_jax
import numpy as np

import microgradc
from microgradc import nn, optim
from microgradc.cli import moons
from microgradc.cli.engines import (
    SumNeuron,
    installed_version,
    micrograd_step,
    one_thread_step,
    torch_loop,
    torch_step,
    with_neurons,
)
from microgradc.cli.workers import serve

CHECKED = 10        # results of each engine
TOLERANCE = 1e-9
DIGITS_RATE = 0.1
GPT_STEPS = 10**9    # the learning rate goes down to 0 with them: here it stays
COMPILED, TORCH = "microgradc, compiled", "PyTorch eager, batched"


class Engine(NamedTuple):
    """An engine of a workload."""

    make: Callable
    turn: int = 10        # measurements in a turn
    needs: tuple = ()     # projects on the package index, or gcc
    repeat: int = 1       # how often the work is done in one measurement
    context: Callable = nullcontext     # makes the context of the measurements


def compiled(f):
    """Return the function compiled, for one thread."""
    microgradc.set_num_threads(1)
    return microgradc.compile(f)


def single_threaded_torch():
    import torch

    torch.set_num_threads(1)
    return torch


def single_threaded_jax():
    os.environ["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
    import jax

    jax.config.update("jax_enable_x64", True)
    jax.config.update("jax_platforms", "cpu")
    jax.config.update(
        "jax_cpu_enable_async_dispatch", False
    )  # else it has a second thread, which takes longer on small work
    return jax


def training_step(loss_of, optimizer):
    """Return the step of a training loop; `loss_of` makes the loss."""

    def step():
        loss = loss_of()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.item()

    return step


# The moons step

def moons_arrays():
    X, y = moons.points()
    return np.array(X), np.array(y)


def jax_moons_step():
    jax = single_threaded_jax()
    import jax.numpy as jnp

    X, y = map(jnp.array, moons_arrays())
    parameters = [
        (
            jnp.array([[w.data for w in neuron.w] for neuron in layer.neurons]),
            jnp.array([neuron.b.data for neuron in layer.neurons]),
        )
        for layer in moons.seeded(nn.MLP).layers
    ]

    def loss_of(parameters, X, y):
        h = X
        for i, (w, b) in enumerate(parameters):
            h = h @ w.T + b
            h = jax.nn.relu(h) if i < len(parameters) - 1 else h
        squares = sum((p * p).sum() for layer in parameters for p in layer)
        return jax.nn.relu(1 - y * h[:, 0]).mean() + moons.DECAY * squares

    @jax.jit
    def update(parameters, X, y):
        loss, gradients = jax.value_and_grad(loss_of)(parameters, X, y)
        return loss, jax.tree.map(lambda p, g: p - moons.RATE * g, parameters, gradients)

    def step():
        nonlocal parameters
        loss, parameters = jax.block_until_ready(update(parameters, X, y))
        return float(loss)

    return step


@contextmanager
def garbage_kept():
    """Keep the garbage collector from running by itself, in which most of micrograd's time goes; its turn comes
    untimed, before."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def c_moons_step():
    return generated_c.make_step(with_neurons(SumNeuron), *moons_arrays())


def recording(model_of):
    """Return what compiles the moons loss anew and runs it once."""
    model, (X, y) = model_of(), moons_arrays()
    return lambda: moons.compiled_loss(model).mean(X, y).item()


def many_moons(threads):
    """Return what computes the loss of 100,000 points and its gradients."""
    X, y = microgradc.make_moons(100_000, noise=0.1, random_state=moons.SEED)
    model, y = moons.seeded(nn.MLP), y * 2.0 - 1
    loss = moons.compiled_loss(model)
    microgradc.set_num_threads(threads)

    def work():
        total = loss.mean(X, y)
        model.zero_grad()
        total.backward()
        return [total.data, *(p.grad for p in model.parameters())]

    return work


# One example

def one_example():
    f, x = compiled(moons.seeded(nn.MLP)), [0.5, -0.25]
    return lambda: f(x)


def torch_one_example():
    torch = single_threaded_torch()
    model, x = moons.seeded(nn.MLP).to_torch(), torch.tensor([0.5, -0.25], dtype=torch.float64)
    return lambda: model(x)


def torch_no_grad():
    import torch

    return torch.no_grad()


# Digits

def digits_batches(size):
    """Return batches of images in [0, 1] and digits, a list; the last, smaller one is left out."""
    from sklearn.datasets import load_digits

    images, digits = load_digits(return_X_y=True)
    count = len(digits) // size
    return [(images[i * size:(i + 1) * size] / 16, digits[i * size:(i + 1) * size]) for i in range(count)]


def digits_model():
    return nn.MLP(64, [32, 10], init="kaiming_uniform", seed=0)


def digits_step(size, adam):
    model, batches = digits_model(), cycle(digits_batches(size))
    loss = compiled(lambda x, digit: microgradc.cross_entropy(model(x), digit))
    optimizer = optim.Adam(model.parameters()) if adam else optim.SGD(model.parameters(), lr=DIGITS_RATE)
    return training_step(lambda: loss.mean(*next(batches)), optimizer)


def torch_digits_step(size, adam):
    torch = single_threaded_torch()
    model = digits_model().to_torch()
    batches = cycle([(torch.tensor(images), torch.tensor(digits)) for images, digits in digits_batches(size)])

    def loss_of():
        images, digits = next(batches)
        return torch.nn.functional.cross_entropy(model(images), digits)

    if adam:
        return training_step(loss_of, torch.optim.Adam(model.parameters()))
    return torch_loop(loss_of, list(model.parameters()), DIGITS_RATE)


# Regression

def regression():
    """Return 1,000 examples of 8 numbers, and a smooth function of them."""
    X = np.random.default_rng(0).normal(size=(1000, 8))
    return X, np.sin(X.sum(axis=1))


def tanh_model():
    return nn.MLP(8, [64, 64, 1], activation="tanh", init="xavier_uniform", seed=0)


def tanh_step():
    model, (X, y) = tanh_model(), regression()
    loss = compiled(lambda x, y: (model(x) - y) ** 2)
    return training_step(lambda: loss.mean(X, y), optim.SGD(model.parameters(), lr=0.01))


def torch_tanh_step():
    torch = single_threaded_torch()
    model, (X, y) = tanh_model().to_torch(), map(torch.tensor, regression())
    return torch_loop(lambda: torch.nn.functional.mse_loss(model(X).squeeze(1), y), list(model.parameters()), 0.01)


# Prices

def prices():
    f, rows = compiled(black_scholes.price), black_scholes.examples()
    return lambda: f.map_value_and_grad(*rows)


def jax_prices():
    return black_scholes.make_jax(single_threaded_jax(), black_scholes.examples())


def numpy_prices(block):
    return black_scholes.NumPyPrices(black_scholes.examples(), block)


# The GPT of examples/gpt.py

def gpt_names():
    """Return the module, and names of eight letters."""
    sys.path.append(str(Path(__file__).parents[1] / "examples"))
    import gpt

    return gpt, [name for name in gpt.load_names() if len(name) == 8]


def gpt_step():
    gpt, names = gpt_names()
    microgradc.set_num_threads(1)
    losses = gpt.GPT(loops=gpt.CompiledLoops).train_compiled(names, GPT_STEPS)
    return lambda: next(losses)


def jax_gpt_step():
    jax = single_threaded_jax()
    gpt, names = gpt_names()
    return gpt_jax.make_step(jax, gpt, names, GPT_STEPS)


def both(ours, theirs, turn, *arguments, needs=()):
    """Return the two engines that most workloads compare."""
    return {
        COMPILED: Engine(partial(ours, *arguments), turn, needs),
        TORCH: Engine(partial(theirs, *arguments), turn, ("torch", *needs)),
    }


WORKLOADS = {
    "moons step": {
        "micrograd": Engine(micrograd_step, 2, ("micrograd",)),
        "micrograd, garbage collector off": Engine(micrograd_step, 2, ("micrograd",), context=garbage_kept),
        COMPILED: Engine(one_thread_step, 2000),
        "generated C": Engine(c_moons_step, 500, ("gcc",)),
        "jax.jit": Engine(jax_moons_step, 200, ("jax",)),
        TORCH: Engine(torch_step, 100, ("torch",)),
    },
    "recording the moons loss": {
        "nn.MLP": Engine(partial(recording, lambda: moons.seeded(nn.MLP)), 10),
        "micrograd's expression": Engine(partial(recording, lambda: with_neurons(SumNeuron)), 10),
    },
    "one example, with gradients": {
        COMPILED: Engine(one_example, 20, repeat=100),
        TORCH: Engine(torch_one_example, 20, ("torch",), repeat=100),
    },
    "one example, no_grad": {
        COMPILED: Engine(one_example, 20, repeat=100, context=microgradc.no_grad),
        TORCH: Engine(torch_one_example, 20, ("torch",), repeat=100, context=torch_no_grad),
    },
    "digits step, batch 32, SGD": both(digits_step, torch_digits_step, 100, 32, False, needs=("scikit-learn",)),
    "digits step, batch 32, Adam": both(digits_step, torch_digits_step, 100, 32, True, needs=("scikit-learn",)),
    "digits step, batch 1,797, SGD": both(digits_step, torch_digits_step, 20, 1797, False, needs=("scikit-learn",)),
    "tanh step, batch 1,000": both(tanh_step, torch_tanh_step, 20),
    "GPT step, one name": {
        COMPILED: Engine(gpt_step, 100, ("names",)),
        "jax.jit": Engine(jax_gpt_step, 100, ("jax", "names")),
    },
    "moons loss, batch 100,000": {
        "one thread": Engine(partial(many_moons, 1), 10),
        "two threads": Engine(partial(many_moons, 2), 10),
    },
    "100,000 prices and gradients": {
        COMPILED: Engine(prices),
        "jax.jit": Engine(jax_prices, needs=("jax",)),
        "NumPy by hand": Engine(partial(numpy_prices, None), needs=("scipy",)),
        "NumPy by hand, blocks": Engine(partial(numpy_prices, 8192), needs=("scipy",)),
    },
}


def missing(engine):
    """Return what an engine needs that is not installed: a list of names."""
    return [
        name for name in engine.needs if not (generated_c.is_available() if name == "gcc" else installed_version(name))
    ]


def numbers_of(result):
    """Return a result as a list of numbers that stand for it: of an array its sums and a few entries."""
    if isinstance(result, (tuple, list)):
        return [x for part in result for x in numbers_of(part)]
    if hasattr(result, "detach"):
        result = result.detach()
    array = np.asarray(
        getattr(result, "data", result) if isinstance(result, microgradc.Value) else result, dtype=float
    ).ravel()
    return array.tolist() if array.size < 10 else [array.sum(), np.abs(array).sum(), *array[::array.size // 7].tolist()]


def measured(engine):
    """Return what measures an engine once: the time of its work, and the first CHECKED times its result."""
    work = engine.make()
    done = 0

    def measure():
        nonlocal done
        with engine.context():
            begin = perf_counter()
            for _ in range(engine.repeat):
                result = work()
            taken = (perf_counter() - begin) / engine.repeat
        done += 1
        return {"step": taken, "result": numbers_of(result) if done <= CHECKED else None}

    return measure


if __name__ == "__main__":
    serve(measured(WORKLOADS[sys.argv[1]][sys.argv[2]]))
