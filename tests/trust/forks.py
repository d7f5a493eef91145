"""Forks in the middle of things, ends of interpreters with graphs and threads alive, and subinterpreters: the child
goes on with the right numbers, nothing hangs, nothing crashes."""

import os
import random
import subprocess
import sys
import time
import warnings

from .child import ROOT, run_child, say, say_at
from .findings import Findings

AT_THE_END = """
import atexit, sys, threading, weakref
import numpy as np
import microgradc
from microgradc import MLP, Adam, Value
model = MLP(2, [8, 1], seed=0)
f = microgradc.compile(lambda x: (model(x) - 1.0) ** 2)
X = np.random.default_rng(0).normal(size=({rows}, 2))
f.mean(X).backward()
kept = [f.mean(X), f(X[0]), model([1.0, 2.0])]
class AtTheEnd:
    def __del__(self):
        (kept_too * 2 + 1).backward()
        f.map(X[:3])
kept_too = Value(2.0) * 3
microgradc.kept = AtTheEnd()
node = Value(1.0) * 2
node._backward = lambda: node       # a cycle
node.own = [node, kept]
sys.modules["elsewhere"] = kept
atexit.register(lambda: f.mean(X).backward())
def forever():
    while True:
        {work}
for _ in range({threads}):
    threading.Thread(target=forever, daemon=True).start()
import time
time.sleep({wait})
{leave}
"""
WORK = [
    "f.map(X)",
    "f.mean(X)",
    "(Value(1.0) * 2 + 3).backward()",
    "microgradc.compile(lambda x: x[0] * 2)(X[0])",
    "f.train(Adam(model.parameters()), X, batch_size=7)",
]
LEAVE = ["", "sys.exit(0)", "f = X = None", "del microgradc.kept", "import gc; gc.collect()"]
QUIET = ("lowering", "copies", "arrays", "c_text")  # in threads meanwhile: they leave gradients alone
FORKED = ("compiling", "calling", "training", "graph", "looping", "pickles", "nests", "deriving")
SUBINTERPRETER = """
import sys, microgradc
try:
    import _xxsubinterpreters as interpreters
except ImportError:
    import _interpreters as interpreters
one = interpreters.create()
try:
    interpreters.run_string(one, "import microgradc; x = microgradc.Value(2.0); (x * x).backward()")
    print("fine")
except Exception as error:
    assert "ImportError" in str(error) or "does not support" in str(error), error
    print("refused")
x = microgradc.Value(3.0)
(x * x).backward()
assert x.grad == 6.0
interpreters.destroy(one)
assert (x * 2).data == 6.0
"""


def run(budget, most=1 << 30):
    findings, draw = Findings(), random.Random(budget.seed)
    if hasattr(os, "fork"):
        run_child(
            findings, budget.seed, "forks", budget.seed, max(budget.left() / 2, 1), most, timeout=budget.left() + 200
        )
    else:
        findings.count("no fork on this platform")
    ended(findings, budget.seed, SUBINTERPRETER)
    for i, seed in enumerate(budget.rounds(findings)):
        ended(
            findings,
            seed,
            AT_THE_END.format(
                rows=draw.choice([5, 100, 5000]),
                work=draw.choice(WORK),
                threads=draw.randint(0, 4),
                wait=draw.choice([0.0, 0.001, 0.05]),
                leave=draw.choice(LEAVE),
            ),
        )
        if i + 1 >= most:
            break
    return findings


def ended(findings, seed, program):
    """Run a program to its end, which must be a good one."""
    findings.cases += 1
    try:
        result = subprocess.run(
            [sys.executable, "-X", "faulthandler", "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=120
        )
    except subprocess.TimeoutExpired:
        findings.add("a process does not end", seed, program)
        return
    if "refused" in result.stdout:
        findings.count("subinterpreters refused")
    # Daemon threads are stopped where they are: what they print then is CPython's.
    if result.returncode:
        findings.add(f"exit code {result.returncode} at the end: {result.stderr[-1500:]}", seed, program)


def fork_again_and_again(seed, seconds, most):
    """Fork while other threads are in the middle of the scenarios."""
    import threading

    import microgradc

    from .scenarios import flat, scenarios

    warnings.simplefilter("ignore", DeprecationWarning)
    draw, begin, found = random.Random(seed), time.monotonic(), scenarios([*QUIET, *FORKED])
    expected = {name: flat(found[name].call()) for name in (*QUIET, *FORKED)}
    microgradc.set_num_threads(2)
    stop, cases = threading.Event(), 0

    def busy(name):
        while not stop.is_set():
            found[name].call()

    # One thread for each, for they share leaves.
    threads = [threading.Thread(target=busy, args=(name,), daemon=True) for name in draw.sample(QUIET, 2)]
    for thread in threads:
        thread.start()
    while cases < most and (time.monotonic() - begin < seconds or not cases):
        name = draw.choice(FORKED)
        say_at(f"{name}, fork {cases}")
        child = os.fork()
        if not child:
            try:
                alive = {thread.name for thread in threads}
                result = flat(scenario_alone(found[name]))
                os._exit(0 if result == expected[name] and alive else 3)
            except BaseException:
                os._exit(4)
        cases += 1
        code = waited(child)
        if code:
            say(found=f"{name} in a forked child: exit code {code} (3: other numbers, 4: an exception, none: it hung)")
    stop.set()
    for thread in threads:
        thread.join(30)
    for name in QUIET:
        if flat(found[name].call()) != expected[name]:
            say(found=f"{name} in the parent after {cases} forks: other numbers")
    say(count="cases", by=cases)
    say(count="forks", by=cases)


def scenario_alone(scenario):
    """In the child, where no other thread is: what was half done to leaves by one of them is undone first."""
    for v in scenario.watched:
        v.grad = 0.0
    return scenario.call()


def waited(child, seconds=60):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.002)
    os.kill(child, 9)
    os.waitpid(child, 0)
    return "none"


if __name__ == "__main__":
    fork_again_and_again(int(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3]))
