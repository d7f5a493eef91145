"""Each allocation of each scenario fails once, alone, and once with some that follow: an exception at most; no
reference is lost; and the next call has the right numbers."""

import contextlib
import gc
import importlib.util
import json
import re
import sys
import time

from .child import run_child, say, say_at
from .findings import Findings

FINE = 30  # so many in a row that did not fail: the scenario is over
MANY = 8  # that fail together; where all do, CPython 3.11 unwinds forever
NAMES = (
    "graph by_hand copies arrays blocks lowering compiling calling looping deriving c_text training steps fitting "
    "files pickles scores nests"
).split()


# Functions in which others crash where there is no memory, and the search goes on behind.
KNOWN = {
    "_visit_instance": "CPython 3.11 untracks an iterator over dict.items() that was not tracked yet",
    **dict.fromkeys(("arrays_of", "_graph_of"), "NumPy 2 reads an index through a buffer that it did not get"),
}


def run(budget, step=1):
    findings = Findings()
    if importlib.util.find_spec("_testcapi") is None:
        return Findings(missing="this Python has no _testcapi, by which allocations fail")
    if sys.version_info >= (3, 12):
        return Findings(
            missing="CPython 3.12 crashes by itself where there is no memory for a function; 3.11 is needed"
        )
    for i, name in enumerate(NAMES):
        share = max(budget.left(), 0) / (len(NAMES) - i)
        ends = time.monotonic() + share
        first = budget.seed % step
        while first is not None and time.monotonic() <= ends:
            first = search_in_child(findings, budget.seed, name, first, step, ends - time.monotonic())
    return findings


def search_in_child(findings, seed, name, first, step, seconds):
    """Search from an allocation on; return where to go on if the process died, else None."""
    known = len(findings.found)
    run_child(findings, seed, "allocations", name, first, step, seconds, timeout=seconds + 120)
    died = findings.found[-1].what if len(findings.found) > known else ""
    where = re.search(r"ended with exit code -.* at allocation (\d+)", died)
    if where is None:
        return None
    place = re.search(r"most recent call first\):\s+File .*, line \d+ in (\w+)", died)
    if place is not None and place[1] in KNOWN:
        findings.found.pop()
        findings.count(KNOWN[place[1]])
    return int(where[1]) + step


def without_crashes_of_others():
    """Do without what crashes where there is no memory: NumPy 2 gives NULL to CPython, Rust's code aborts."""
    import numpy as np
    import safetensors.numpy

    np.seterr(all="ignore")
    np.random.set_state = lambda state: None  # nothing here draws from that generator
    np.errstate = lambda **settings: contextlib.nullcontext()
    safetensors.numpy.save = in_python


def in_python(arrays, metadata):
    """The bytes of a safetensors file."""
    header, data = {"__metadata__": metadata}, b""
    for name, a in arrays.items():
        kind = f"{a.dtype.kind.upper()}{8 * a.itemsize}"
        header[name] = {"dtype": kind, "shape": a.shape, "data_offsets": [len(data), len(data) + a.nbytes]}
        data += a.tobytes()
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + data


def attempt(scenario, flat, start, stop):
    """Return what a call says whose allocations fail from `start` to before `stop`; 0 is never. None: it raised."""
    import _testcapi

    _testcapi.set_nomemory(start, stop)
    try:
        result = scenario.call()
    except Exception as error:  # CPython and NumPy make others of MemoryErrors
        _testcapi.remove_mem_hooks()
        return None, type(error).__name__
    finally:
        _testcapi.remove_mem_hooks()
    return flat(result), ""


def search(name, first, step, seconds):
    from .scenarios import flat, outcome, scenarios

    scenario = scenarios([name])[name]
    without_crashes_of_others()
    expected, begin = flat(scenario.call()), time.monotonic()
    gc.collect()
    gc.freeze()

    def counts():
        gc.collect()
        return [sys.getrefcount(v) for v in scenario.watched]

    before, fine, start, raised, grew = counts(), 0, first, {}, 0
    while fine < FINE:
        if time.monotonic() - begin > seconds:
            say(count=f"{name} not to its end, at allocation", by=start)
            break
        for stop in (start + 1, start + MANY):
            say_at(f"allocation {start}, {'alone' if stop == start + 1 else 'and some that follow'}")
            got, kind = attempt(scenario, flat, start, stop)
            say(count="cases", by=1)
            if kind:
                raised[kind] = raised.get(kind, 0) + 1
            if got is not None and got != expected:
                say(found=f"{name}: another result without an exception when allocation {start} failed ({stop})")
            got = None
            again = outcome(scenario)
            if again != expected:
                say(found=f"{name}: not usable after allocation {start} failed ({stop}): {again[:300]}")
                return
            now = counts()
            if any(after < then for then, after in zip(before, now, strict=True)):
                say(found=f"{name}: references were lost when allocation {start} failed ({stop}): {before} {now}")
            grew += any(after > then for then, after in zip(before, now, strict=True))
            before = now
            fine = 0 if kind else fine + 1
        start += step
    for kind, times in raised.items():
        say(count=kind, by=times)
    if grew:
        say(count="references that stayed (list(tuple) of CPython 3.11)", by=grew)


if __name__ == "__main__":
    search(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4]))
