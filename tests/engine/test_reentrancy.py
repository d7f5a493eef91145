"""Callbacks that call backward(), drop the graph or run in other threads."""

import copy
import gc
import os
import pickle
import signal
import sys
import threading
import time

import pytest

import microgradc
from microgradc import Value


def test_a_callback_that_runs_another_pass_over_the_same_nodes():
    x = Value(3.0)
    shared = x * x
    node = Value(shared.data, (shared,))

    def _backward():
        (shared * 10).backward()  # reaches x through the inner node that this pass is about to use
        assert shared.grad == 4.0  # … and is put back as it was
        shared.grad += node.grad

    node._backward = _backward
    (node * 2 + shared * 4).backward()
    # 10 · 2x from the pass inside, (2 + 4) · 2x from the one outside.
    assert x.grad == 10 * 6.0 + 6 * 6.0
    assert shared.grad == 6.0


def test_the_inside_pass_leaves_its_gradients_in_nodes_of_its_own():
    x = Value(3.0)
    node = Value(1.0, (x,))
    seen = []

    def _backward():
        inner = x * 2
        out = inner * 5
        out.backward()
        out.backward()
        seen.append((out.grad, inner.grad))
        x.grad += node.grad

    node._backward = _backward
    (node * 7).backward()
    assert seen == [(1.0, 5.0)]
    assert x.grad == 2 * 10.0 + 7.0


def test_a_callback_that_runs_the_same_pass_once_more():
    x = Value(3.0)
    node = Value(x.data, (x,))
    depth = []

    def _backward():
        x.grad += node.grad
        if len(depth) < 3:
            depth.append(node.grad)
            root.backward()

    node._backward = _backward
    root = node * 2
    root.backward()
    assert depth == [2.0, 2.0, 2.0]
    assert x.grad == 4 * 2.0
    assert node.grad == 2.0


def test_a_callback_that_drops_the_graph():
    x = Value(2.0)
    holder = {}

    def build():
        node = Value(4.0, (x * 1.0,))

        def _backward():
            holder.clear()
            gc.collect()
            [Value(9.0) * 9.0 for _ in range(1000)]  # would overwrite what was released too early
            node._children[0].grad += node.grad

        node._backward = _backward
        y = node
        for _ in range(1000):
            y = y + x
        holder["root"] = y

    build()
    holder["root"].backward()
    assert x.grad == 1001.0


def test_a_callback_that_replaces_itself_and_reads_prev():
    x = Value(2.0)
    node = Value(4.0, (x,))

    def _backward():
        x.grad += node.grad
        node._backward = lambda: None
        [n._prev for n in microgradc.topological_sort(root)]

    node._backward = _backward
    root = microgradc.sum([node * 3.0, 2.0, x])
    root.backward()
    assert x.grad == 4.0
    root.backward()
    assert x.grad == 5.0


def test_an_exception_in_a_callback_of_an_inside_pass():
    x = Value(2.0)
    shared = x * 2
    bad = Value(1.0, (shared,))
    bad._backward = lambda: 1 / 0
    node = Value(1.0, (shared,))

    def _backward():
        with pytest.raises(ZeroDivisionError):
            (bad + shared).backward()
        assert shared.grad == 3.0
        shared.grad += node.grad

    node._backward = _backward
    (node + shared * 3).backward()
    assert shared.grad == 4.0
    assert x.grad == 8.0
    y = shared * 5
    y.backward()
    assert shared.grad == 5.0


def test_eight_threads_over_shared_leaves():
    w = [Value(float(i)) for i in range(8)]
    errors, rounds = [], 300
    old = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)

    def work(k):
        try:
            for _ in range(rounds):
                out = microgradc.dot(w, [1.0] * 8)
                node = Value(out.data, (out,))

                def _backward(node=node, out=out):
                    out.grad += node.grad

                node._backward = _backward
                y = node * 2 + sum((wi * 1.0 for wi in w), Value(0.0))
                y.backward()
                assert out.grad == 2.0
                with microgradc.no_grad():
                    assert not (w[0] * k)._prev
                assert (w[0] * k)._prev
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(k,)) for k in range(8)]
    [t.start() for t in threads]
    [t.join() for t in threads]
    sys.setswitchinterval(old)
    assert not errors
    assert [v.grad for v in w] == [8 * rounds * 3.0] * 8


def test_threads_over_a_shared_graph_without_callbacks():
    x = Value(1.5)
    y = x
    for _ in range(1000):
        y = y * 1.0 + 0.0
    threads = [threading.Thread(target=lambda: [y.backward() for _ in range(100)]) for _ in range(8)]
    [t.start() for t in threads]
    [t.join() for t in threads]
    assert x.grad == 800.0


def test_two_threads_with_callbacks_over_the_same_nodes_are_told():
    x = Value(1.0)
    shared = x * 2
    inside, go_on = threading.Event(), threading.Event()
    node = Value(1.0, (shared,))

    def _backward():
        if not inside.is_set():
            inside.set()
            go_on.wait(10)
        shared.grad += node.grad

    node._backward = _backward
    thread = threading.Thread(target=(node * 5).backward)
    thread.start()
    inside.wait(10)
    with pytest.raises(RuntimeError, match="another thread"):
        (node * 3).backward()
    (shared * 7).backward()  # without callbacks it takes its turn
    go_on.set()
    thread.join()
    assert shared.grad == 5.0
    assert x.grad == 7 * 2.0 + 5 * 2.0


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="this platform has no interval timers")
def test_a_signal_handler_that_runs_a_pass_during_a_sort():
    x = Value(1.0)
    y = x
    for _ in range(300_000):
        y = y + x
    calls = []

    def handler(*_):
        if len(calls) < 50:
            calls.append(None)
            before = x.grad
            y.backward()
            x.grad = before

    old = signal.signal(signal.SIGALRM, handler)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
        for _ in range(30):
            x.grad = 0.0
            y.backward()
            assert x.grad == 300_001.0
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, old)
    assert calls


SORTS = {
    "backward": lambda v: v.backward(),
    "topological_sort": microgradc.topological_sort,
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    "pickle": pickle.dumps,
    "picture": microgradc.format_graph,
    "lowering": lambda v: microgradc.Program([v], []),
}


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="this platform has no interval timers")
@pytest.mark.parametrize("work", ["backward", "topological_sort", "deepcopy"])
@pytest.mark.parametrize("name", SORTS)
def test_a_timer_whose_handler_sorts_does_not_starve_what_it_interrupts(name, work):
    x = Value(1.0)
    y = x
    for _ in range(200_000):
        y = y + x
    small = Value(2.0) * 3
    SORTS[name](small)      # what it imports, it imports here
    begin = time.perf_counter()
    SORTS[work](y)
    alone = time.perf_counter() - begin
    x.grad, hits = 0.0, []

    def handler(*_):
        hits.append(None)
        assert len(hits) < 10_000, "the work was begun anew again and again"
        SORTS[name](small)

    old = signal.signal(signal.SIGALRM, handler)
    try:
        signal.setitimer(signal.ITIMER_REAL, alone / 8, alone / 8)
        while not hits:
            x.grad = 0.0
            result = SORTS[work](y)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, old)
    if work == "backward":
        assert x.grad == 200_001.0
    else:
        assert len(result if work == "topological_sort" else microgradc.topological_sort(result)) == 200_001


def test_a_list_that_shrinks_while_it_is_read():
    entries = []

    class Shrinks:
        def __float__(self):
            entries.clear()
            return 1.0

    entries += [Value(1.0), Shrinks(), Value(2.0), Value(3.0)]
    assert microgradc.sum(entries).data == 7.0
    assert entries == []


def test_lists_that_change_each_other_while_they_are_read():
    class Changes:
        def __init__(self, change):
            self.change = change

        def __float__(self):
            self.change()
            return 1.0

    xs = [1.0]
    with pytest.raises(RuntimeError, match="x changed its length from 1 to 100001"):
        microgradc.dot([Changes(lambda: xs.extend([Value(1.0)] * 100_000))], xs)
    xs = [1.0, 2.0]
    with pytest.raises(RuntimeError, match="x changed its length from 2 to 1"):
        microgradc.dot([Changes(xs.pop), 1.0], xs)
    ws = [1.0]
    with pytest.raises(RuntimeError, match="w or x changed its length"):
        microgradc.dot(ws, [1.0], bias=Changes(lambda: ws.append(1.0)))
    with pytest.raises(IndexError):
        microgradc.nn.search.neuron_outputs([1.0], [[1.0]] * 5000, [], None)


def test_an_entry_that_removes_itself():
    class Meta(type):
        def __getattr__(cls, name):
            entries.clear()
            raise AttributeError(name)

    class Entry(metaclass=Meta):
        __slots__ = ("a", "b")

        def __float__(self):
            return 3.0

    entries = [Entry()]
    assert microgradc.sum(entries) == 3.0


FORK = """
import os, threading
from microgradc import Value
import microgradc
x = Value(1.0)
shared = x * 2
waiting, go_on = threading.Event(), threading.Event()
node = Value(1.0, (shared,))
def _backward():
    waiting.set()
    go_on.wait(30)
    shared.grad += node.grad
node._backward = _backward
def in_thread():
    with microgradc.no_grad():
        root.backward()
root = node * 3
thread = threading.Thread(target=in_thread)
thread.start()
waiting.wait(30)
child = os.fork()
if child == 0:
    go_on.set()
    for _ in range(4):
        others = [threading.Thread(target=lambda: [(Value(1.0) * 2).backward() for _ in range(1000)]) for _ in range(4)]
        [t.start() for t in others]
        [t.join() for t in others]
    (node * 5 + shared).backward()      # the pass of the thread that is not here is forgotten
    assert shared.grad == 6.0, shared.grad
    assert (x * 2)._prev
    os._exit(0)
go_on.set()
thread.join()
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
assert shared.grad == 3.0
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform has no fork")
def test_fork_while_another_thread_is_in_a_callback(run_python):
    run_python(FORK, PYTHONWARNINGS="ignore::DeprecationWarning")


def test_a_pass_within_a_pass_while_an_unrelated_one_waits():
    inside, go_on = threading.Event(), threading.Event()
    unrelated = Value(1.0, (Value(1.0) * 1.0,))
    unrelated._backward = lambda: (inside.set(), go_on.wait(10))
    thread = threading.Thread(target=(unrelated * 2).backward)
    thread.start()
    inside.wait(10)
    test_a_callback_that_runs_the_same_pass_once_more()
    go_on.set()
    thread.join()


def test_a_slow_destructor_in_one_thread_does_not_stop_another():
    class Slow:
        def __del__(self):
            inside.set()
            go_on.wait(10)

    inside, go_on = threading.Event(), threading.Event()
    holder = [Value(1.0, (), "", Slow())]
    thread = threading.Thread(target=holder.clear)
    thread.start()
    inside.wait(10)
    released = []

    class Leaf(Value):
        def __del__(self):
            released.append(1)

    for _ in range(10):
        y = Leaf(1.0) * 2 + 1
        del y
    assert len(released) == 10
    go_on.set()
    thread.join()


def test_no_grad_is_a_matter_of_one_thread():
    x = Value(2.0)
    seen = []
    with microgradc.no_grad():
        thread = threading.Thread(target=lambda: seen.append((x * 2)._prev))
        thread.start()
        thread.join()
        assert (x * 2)._prev == set()
    assert x in seen[0]
    with pytest.raises(RuntimeError, match="left more often"):
        microgradc.no_grad().__exit__(None, None, None)
    assert (x * 2)._prev


def test_no_grad_nests_and_survives_exceptions():
    x = Value(2.0)
    with microgradc.no_grad():
        with pytest.raises(ZeroDivisionError), microgradc.no_grad():
            raise ZeroDivisionError
        assert (x * 2)._prev == set()
        assert Value(1.0, (x,), (1.0,))._prev == set()
        assert microgradc.sum([x, x])._prev == set()
    assert (x * 2)._prev

    @microgradc.no_grad()
    def f(v):
        return v * 3

    assert f(x)._prev == set()
    assert f(x).data == 6.0
    assert microgradc.no_grad(lambda v: v * 4)(x)._prev == set()

    @microgradc.no_grad
    def generator():
        yield x * 5

    assert next(generator())._prev == set()
