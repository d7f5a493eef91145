"""The two sources of a node's memory, slabs and, under MICROGRADC_SLAB=0, CPython's allocator: they behave alike.

tracemalloc sees what CPython's allocator gives out, and nothing of slabs. So the tests need not ask the engine which of
the two is in use.
"""

import os
import sys
from pathlib import Path

import pytest

from microgradc import Value

TRACED = """
import tracemalloc
from microgradc import Value

def traced_bytes_of_a_node():
    x = Value(2.0)
    kept = [None] * 1000
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    for i in range(1000):
        kept[i] = x * x
    after = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    return (after - before) / 1000
"""

RUN_TESTS = (
    TRACED
    + """
import sys
import pytest
before = traced_bytes_of_a_node()
code = pytest.main(["-q", "-p", "no:cacheprovider", *sys.argv[1:]])
assert code == 0, f"pytest ended with {code!r}"
print("bytes of a node before and after the tests:", before, traced_bytes_of_a_node())
"""
)

HERE = Path(__file__).parent
LEFT_OUT = [
    "test_memory.py::test_keyboard_interrupt_stops_a_long_backward",  # millions of nodes; about signals, not memory
    "test_contract.py::test_moons_demo",  # micrograd's steps take long
    "test_copying.py::test_a_deep_graph",
]
FILES = [["test_contract.py"]]
if os.environ.get("MICROGRADC_LONG"):
    FILES += [["test_copying.py"], ["test_memory.py"], ["test_depth.py", "test_reentrancy.py"]]


@pytest.mark.parametrize("setting", [None, "", "1"])
def test_slabs_are_in_use_unless_the_environment_says_otherwise(run_python, monkeypatch, setting):
    monkeypatch.delenv("MICROGRADC_SLAB", raising=False)
    environment = {} if setting is None else {"MICROGRADC_SLAB": setting}
    assert float(run_python(TRACED + "print(traced_bytes_of_a_node())", **environment)) < 1


@pytest.mark.parametrize("files", FILES)
def test_the_engine_works_without_slabs(run_python, files):
    out = run_python(
        RUN_TESTS,
        *[str(HERE / file) for file in files],
        *[f"--deselect={HERE / name}" for name in LEFT_OUT],
        MICROGRADC_SLAB="0",
    )
    before, after = map(float, out.splitlines()[-1].split(":")[1].split())
    assert before >= 80
    assert after >= 80
    assert " passed" in out


def test_the_setting_is_read_once_at_import(run_python):
    run_python(
        TRACED
        + """
import os
kept = Value(1.0) * 2
os.environ["MICROGRADC_SLAB"] = "1"
assert traced_bytes_of_a_node() >= 80
""",
        MICROGRADC_SLAB="0",
    )


def test_another_setting_is_refused(run_python):
    run_python(
        """
try:
    import microgradc
except ValueError as error:
    assert str(error) == "the environment variable MICROGRADC_SLAB must be 0, 1 or unset, got 'off'", error
else:
    raise AssertionError("no error")
""",
        MICROGRADC_SLAB="off",
    )


def test_a_node_is_of_the_same_size_without_slabs(run_python):
    out = run_python("import sys; from microgradc import Value; print(sys.getsizeof(Value(1.0)))", MICROGRADC_SLAB="0")
    assert int(out) == sys.getsizeof(Value(1.0))


FORKED = """
import gc, os, sys
from microgradc import Value
x = Value(3.0)
class Node(Value):
    pass
graph = x
for _ in range(1000):
    graph = graph * 1.0 + x
cycle = Node(1.0, (x,), (2.0,))
cycle.me = cycle
closed = Value(1.0, (x,))
closed._backward = lambda: closed
later = closed * 2
pid = os.fork()
if pid == 0:
    del graph, cycle, closed, later
    gc.collect()
    y = x * x
    y.backward()
    os._exit(0 if x.grad == 6.0 else 1)
status = os.waitpid(pid, 0)[1]
assert status == 0, status
graph.backward()
assert x.grad == 1001.0
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
@pytest.mark.parametrize("setting", ["0", "1"])
def test_a_forked_child_goes_on_with_its_own_nodes(run_python, setting):
    run_python(FORKED, MICROGRADC_SLAB=setting)


COLLECTIONS = """
import gc
import weakref
import microgradc
from microgradc import Value
gc.set_threshold(1)      # allocating a node may run a collection, and so finalizers, at any time
x = Value(2.0)
made = []
class Node(Value):
    def __del__(self):
        made.append(self * x + microgradc.sum([x, self, 1.0]))
        if len(made) > 50:
            made.clear()
for i in range(2000):
    node = Node(1.0, (x,), (2.0,))
    node.me = node
    node.closed = Value(1.0, (node,))
    node.closed._backward = lambda node=node: node
    y = (x * 3 + i) * x
    y = microgradc.dot([y, x, 2.0], [x, y, x], bias=y ** 2)
    y._prev, y._local_grads
    y.backward()
del node, y
gc.collect()
assert not gc.garbage
"""


@pytest.mark.parametrize("setting", ["0", "1"])
def test_collections_while_nodes_are_made(run_python, setting):
    run_python(COLLECTIONS, MICROGRADC_SLAB=setting)


RESURRECTED = """
import gc
from microgradc import Value
x = Value(2.0)
kept = []
class Node(Value):
    def __del__(self):
        kept.append(self)      # once: CPython calls __del__ of an object once
for tie in (False, True):
    node = Node(5.0, (x * 3,), (1.0,))
    node.me = node if tie else None
    later = node * 2
    del node, later
    gc.collect()
    back = kept.pop()
    x.grad = 0.0
    (back * 1.0).backward()
    assert back.data == 5.0 and x.grad == 3.0 and gc.is_tracked(back)
    del back
    gc.collect()
    assert not kept
"""


@pytest.mark.parametrize("setting", ["0", "1"])
def test_a_node_may_come_back_in_its_finalizer(run_python, setting):
    run_python(RESURRECTED, MICROGRADC_SLAB=setting)


CHAINS = """
import sys
from microgradc import Value
sys.setrecursionlimit(200)
class Node(Value):
    pass
x = Value(1.0)
y = x
for i in range(200_000):      # plain nodes, subclasses, closures and labels by turns: each is released in its own way
    y = y + x
    if i % 7 == 0:
        y = Node(y.data, (y, x), (1.0, 0.0))
    if i % 11 == 0:
        y.label = [y.data]
    if i % 13 == 0:
        y.label = Value(1.0) * 2
before = sys.getrefcount(x)
del y
assert sys.getrefcount(x) == 2, (before, sys.getrefcount(x))
y = Value(1.0)
for _ in range(1_000_000):    # both operands of a square are the one that goes with it
    y = y * y
del y
"""


@pytest.mark.parametrize("setting", ["0", "1"])
def test_chains_of_all_kinds_are_released_without_recursion(run_python, setting):
    run_python(CHAINS, MICROGRADC_SLAB=setting)
