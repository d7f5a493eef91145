"""Each scenario again and again: the memory of the process and the number of objects stay flat."""

import gc
import sys
import time

from .allocations import NAMES
from .child import run_child, say, say_at
from .findings import Findings

MOST = 100_000  # rounds
GROWTH = 4 << 20  # bytes: what allocators keep, whatever the rounds


def run(budget, rounds=MOST):
    findings = Findings()
    if not sys.platform.startswith("linux"):
        return Findings(missing="it reads the resident size from /proc")
    for i, name in enumerate(NAMES):
        share = max(budget.left(), 1) / (len(NAMES) - i)
        run_child(findings, budget.seed, "leaks", name, rounds, share, timeout=share + 300)
    return findings


def resident():
    with open("/proc/self/statm") as f:
        return int(f.read().split()[1]) * 4096


def measure():
    gc.collect()
    return resident(), sys.getallocatedblocks(), len(gc.get_objects())


def repeat(name, rounds, seconds):
    from .scenarios import scenarios

    call = scenarios([name])[name].call
    begin, done = time.monotonic(), 0
    while done < rounds // 5 and (done < 20 or time.monotonic() - begin < seconds / 5):  # what is kept, is kept by now
        call()
        done += 1
    before, warm = measure(), done
    before = measure()
    while done - warm < rounds and (done - warm < 100 or time.monotonic() - begin < seconds):
        say_at(f"round {done}") if done % 1000 == 0 else None
        call()
        done += 1
    after, counted = measure(), done - warm
    say(count="cases", by=counted)
    what = ("bytes", "blocks", "objects")
    limits = (GROWTH, max(100, counted // 100), max(100, counted // 100))
    for kind, limit, then, now in zip(what, limits, before, after, strict=True):
        if now - then > limit:
            say(found=f"{name}: {now - then:,} {kind} more after {counted:,} rounds")


if __name__ == "__main__":
    repeat(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]))
