"""A program's beginning that measures whether memory stays flat. For processes of their own.

AddressSanitizer keeps what was freed for a while: how much memory there is then says nothing."""

import sys

import pytest

MEASURE = """
import gc, os, random, sys
import microgradc
from microgradc import Value, nn

def resident():
    with open("/proc/self/statm") as f:
        return int(f.read().split()[1]) * 4096

def flat(work, rounds, warm_up):
    for i in range(warm_up):
        work(i)
    gc.collect()
    before, peak = resident(), 0
    for i in range(rounds):
        work(i)
    gc.collect()
    growth = resident() - before
    assert growth < 4 << 20 or "ASAN_OPTIONS" in os.environ, f"grew by {growth >> 10} KiB"
    assert not gc.garbage, gc.garbage[:3]
    print(f"grew by {growth >> 10} KiB")
"""

linux_only = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads the resident size from /proc")
