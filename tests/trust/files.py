"""Mutated files: models, numbers, compiled functions with loops, and the flat graphs that pickles have. What is loaded
is either refused with a documented error, or it works; memory stays bounded."""

import pickle
import random
import resource
import sys
import tempfile
from pathlib import Path

import numpy as np

import microgradc
from microgradc import MLP, Adam, Value

from .child import run_child, say, say_at
from .findings import Findings

DOCUMENTED = (ValueError, TypeError, OSError)
# A number that is not a C int; more inputs than there is memory for; an operation that functions are not recorded with
OF_PICKLES = (*DOCUMENTED, OverflowError, MemoryError, microgradc.engine.CompileError)
LEAST = 40
MEMORY = 1 << 30  # bytes of addresses that loading may take more than there were


def run(budget, most=1 << 30):
    findings = Findings()
    run_child(findings, budget.seed, "files", budget.seed, max(budget.left(), 1), most, timeout=budget.left() + 180)
    return findings


def kinds(folder):
    """Return for each kind of file its content, and what reads it and tries what it got."""
    model = MLP(2, [4, 1], seed=0, activation="tanh")
    X = np.linspace(-1, 1, 6).reshape(3, 2)
    w = [Value(0.5), Value(-0.25)]

    def looping(a):
        def step(c, u):
            return c * w[0] + microgradc.tanh(c + u), c

        c, ys = microgradc.scan(step, a[0], [a[1], 0.5, 0.25])
        return microgradc.logsumexp([c, ys[1], w[1]]) + microgradc.take([w[0], w[1]], 1)

    f = microgradc.compile(looping)
    optimizer = Adam(model.parameters(), lr=0.1)
    microgradc.losses.mse_loss([model(x) for x in X], [1.0, 0.0, 1.0]).backward()
    optimizer.step()
    model.save(folder / "model")
    microgradc.save(model, folder / "numbers")
    microgradc.save(optimizer, folder / "optimizer")
    f.save(folder / "function", X[0])
    f(X[0])
    make_program, arguments = f.program(X[0]).__reduce__()
    state = make_program, list(arguments), *arguments[0].__reduce__()[:2]
    read = {
        "model": lambda path: microgradc.load_model(path)(X[0]),
        "numbers": lambda path: microgradc.load(MLP(2, [4, 1], seed=1), path)(X[0]),
        "optimizer": lambda path: microgradc.load(Adam(model.parameters(), lr=0.1), path).step(),
        "function": lambda path: loaded(microgradc.load_compiled(path), X),
    }
    found = {name: ((folder / name).read_bytes(), use) for name, use in read.items()}
    return found, state, X


def loaded(f, X):
    f.map(X)
    f.value_and_grad(X[0])
    f.to_c(X[0])
    return pickle.loads(pickle.dumps(f)).map(X)


def mutated(draw, content):
    """Return a file with some bytes changed, cut, moved, doubled; often in its header."""
    content = bytearray(content)
    header = min(8 + int.from_bytes(content[:8], "little"), len(content))
    for _ in range(draw.choice([1, 1, 1, 2, 4])):
        end = header if draw.random() < 0.7 else len(content)
        at, length = draw.randrange(end), draw.randint(1, 12)
        kind = draw.randrange(7)
        if kind == 0:
            content[at] ^= 1 << draw.randrange(8)
        elif kind == 1:
            content[at : at + length] = b""
        elif kind == 2:
            content[at:at] = content[at : at + length]
        elif kind == 3:
            content[at : at + 1] = draw.choice(
                [b"9" * 25, b"-1", b"1e999", b"null", b"[", b"{", b'"', b"NaN", b"0", b"\\u0000"]
            )
        elif kind == 4:
            del content[draw.randrange(1, len(content)) :]
        elif kind == 5:
            other = draw.randrange(end)
            content[at : at + length] = content[other : other + length]
        else:
            content[at] = draw.randrange(256)
        if not content:
            content = bytearray(b"\0")
        header = min(header, len(content))
        if draw.random() < 0.5 and len(content) > 8:  # the length of the header agrees
            content[:8] = max(len(content) - (len(content) - header) - 8, 0).to_bytes(8, "little")
    return bytes(content)


def mutated_state(draw, state, depth=0):
    """Return a nest of numbers, texts and arrays with one thing in it changed."""
    if isinstance(state, (list, tuple)) and state:
        i = draw.randrange(len(state))
        if draw.random() < 0.1:
            return type(state)([*state[:i], *state[i + 1 :]]) if type(state) in (list, tuple) else state
        entries = [*state[:i], mutated_state(draw, state[i], depth + 1), *state[i + 1 :]]
        return type(state)(entries) if type(state) in (list, tuple) else state
    if isinstance(state, dict) and state:
        key = draw.choice(list(state))
        return {**state, key: mutated_state(draw, state[key], depth + 1)}
    if hasattr(state, "typecode") and len(state):
        changed = state[:]
        changed[draw.randrange(len(changed))] = draw.choice([0, 1, -1, 2, 7, 2**31 - 1, -(2**31), len(changed)])
        return changed
    if isinstance(state, bool) or state is None:
        return draw.choice([None, True, 3, "x"])
    if isinstance(state, (int, float)):
        return draw.choice([0, -1, 1, 2**31 - 1, 2**40, -(2**31), state + 1, 0.5, "x", None])
    if isinstance(state, str):
        return draw.choice(["", "mul", "scan", "no such thing", state + "x"])
    return state


def try_files(seed, seconds, most):
    import time

    draw, begin = random.Random(seed), time.monotonic()
    folder = Path(tempfile.mkdtemp(prefix="microgradc-trust-"))
    found, state, X = kinds(folder)
    limit_memory()
    path, cases, refused = folder / "mutated", 0, 0
    while cases < most and (time.monotonic() - begin < seconds or cases < LEAST):
        name = draw.choice([*found, "state"])
        case = draw.randrange(1 << 62)
        say_at(f"{name} {case}")
        cases += 1
        once = random.Random(case)
        try:
            if name == "state":
                use_state(once, *state, X)
            else:
                path.write_bytes(mutated(once, found[name][0]))
                found[name][1](path)
        except BaseException as error:
            if isinstance(error, OF_PICKLES if name == "state" else DOCUMENTED):
                refused += 1
                continue
            kept = folder / f"found-{name}-{case}"
            if name != "state":
                kept.write_bytes(path.read_bytes())
            say(found=f"{name} raises {type(error).__name__}: {error!s:.300} ({kept})")
    say(count="cases", by=cases)
    say(count="refused", by=refused)


def use_state(draw, make_program, arguments, make_graph, flat, X):
    """Make a program of what a pickle of it has, of which something was changed."""
    if draw.random() < 0.8:
        flat = mutated_state(draw, flat)
    else:
        arguments = [arguments[0], *mutated_state(draw, arguments[1:])]
    make_program(make_graph(*flat), *arguments[1:])(X)


def limit_memory():
    """No more than so much for all that is loaded; MemoryError is then a finding."""
    if sys.platform.startswith("linux"):
        with open("/proc/self/statm") as f:
            size = int(f.read().split()[0]) * 4096
        resource.setrlimit(resource.RLIMIT_AS, (size + MEMORY, resource.getrlimit(resource.RLIMIT_AS)[1]))


if __name__ == "__main__":
    try_files(int(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3]))
