"""Program: threads, live parameters, gradients that go on, errors, memory."""

import math
import os
import pickle
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import ClassVar

import numpy as np
import pytest
from memory_use import MEASURE, linux_only
from test_program import MODEL_W, SUMS, close, eager, model, record

import microgradc
from microgradc import Program, Value, take
from microgradc.engine import IntegerInput, Trace
from microgradc.program import get_num_threads, program, set_num_threads

INF, NAN = math.inf, math.nan
rng = np.random.default_rng(1)

# Threads


@pytest.fixture
def threads(monkeypatch):
    """`set_num_threads`, where waking a thread takes no time, so that all are used."""
    before = get_num_threads()
    monkeypatch.setattr(program, "_waking", 1e-9)
    yield set_num_threads
    set_num_threads(before)


def bits(made, X):
    sums, values, grads, (input_grads,) = made.run((X,), [1.0], True, True)
    return np.array(sums).tobytes(), values.tobytes(), grads.tobytes(), input_grads.tobytes()


BIG_X = rng.normal(size=(30_000, 3))


def test_the_bits_are_the_same_for_every_number_of_threads(threads):
    made, _ = record(model, 3, MODEL_W)
    results = set()
    for n in (1, 2, 3, 16):
        threads(n)
        assert get_num_threads() == n
        results.add(bits(made, BIG_X))
    assert len(results) == 1
    X = BIG_X[:100]
    assert close(made(BIG_X)[:100, 0], [eager(model, row, MODEL_W)[0] for row in X])
    for wrong in (0, -1, 1.5, "2", None, True):
        with pytest.raises(ValueError if type(wrong) is int else TypeError, match="n must be a positive integer"):
            set_num_threads(wrong)


def test_threads_are_used_where_they_are_worth_while(threads, monkeypatch):
    made, _ = record(model, 3, MODEL_W)
    pools = []

    class Pool(ThreadPoolExecutor):
        def submit(self, *args):
            pools.append(self)
            return super().submit(*args)

    monkeypatch.setattr(program, "ThreadPoolExecutor", Pool)
    threads(2)
    for waking, uses in (1e-9, True), (10.0, False), (1e-9, True):
        monkeypatch.setattr(program, "_waking", waking)
        bits(made, BIG_X)
        assert bool(pools) == uses
        pools.clear()
    monkeypatch.setattr(program, "_waking", None)
    bits(made, BIG_X)
    assert 0 < program._waking < 1      # measured
    assert pools
    threads(2)      # the next pool is another one


def test_programs_in_several_threads(threads):
    """One program in two threads, two programs, while the number of threads changes."""
    threads(2)
    made, other = record(model, 3, MODEL_W)[0], record(model, 3, MODEL_W[::-1], lanes=16)[0]
    jobs = [(made, BIG_X), (made, BIG_X[::-1].copy()), (other, BIG_X), (made, BIG_X[:50])]
    expected = [bits(*job) for job in jobs]
    wrong, errors = [], []

    def work(i):
        try:
            for _ in range(6):
                if bits(*jobs[i]) != expected[i]:
                    wrong.append(i)
        except BaseException as error:
            errors.append(error)

    workers = [threading.Thread(target=work, args=(i % 4,)) for i in range(6)]
    for t in workers:
        t.start()
    for i in range(200):
        threads(1 + i % 3)
    for t in workers:
        t.join()
    assert not wrong
    assert not errors


class LatePool(ThreadPoolExecutor):
    """Threads that begin late; and the function given takes no more work than `most`."""

    most = 100
    ended: ClassVar[list[int]] = []

    def submit(self, function, *args):
        if LatePool.most == 0:
            raise KeyboardInterrupt
        LatePool.most -= 1
        return super().submit(self.late, function, *args)

    def late(self, function, *args):
        time.sleep(0.2)
        function(*args)
        self.ended.append(args[0])


@pytest.fixture
def late_threads(threads, monkeypatch):
    monkeypatch.setattr(program, "ThreadPoolExecutor", LatePool)
    monkeypatch.setattr(LatePool, "most", 100)
    monkeypatch.setattr(LatePool, "ended", [])
    threads(4)
    yield
    threads(4)      # the next pool is not a late one


def test_a_run_waits_for_its_threads(late_threads):
    made, _ = record(model, 3, MODEL_W)
    found = bits(made, BIG_X)
    assert sorted(LatePool.ended) == [1, 2, 3]
    set_num_threads(1)
    assert found == bits(made, BIG_X)


def test_a_run_that_is_interrupted_waits_for_the_threads_that_have_begun(late_threads):
    made, _ = record(model, 3, MODEL_W)
    LatePool.most = 2
    with pytest.raises(KeyboardInterrupt):
        bits(made, BIG_X)
    assert sorted(LatePool.ended) == [1, 2]


def test_what_no_thread_could_be_had_for_is_done_by_the_caller(threads, monkeypatch):
    refused = []

    class Pool(ThreadPoolExecutor):
        def submit(self, function, *args):
            if args[0] > 1:
                refused.append(args[0])
                raise RuntimeError("can't start new thread")
            return super().submit(function, *args)

    monkeypatch.setattr(program, "ThreadPoolExecutor", Pool)
    monkeypatch.setattr(program, "_waking", 1e-9)
    threads(4)
    made, _ = record(model, 3, MODEL_W)
    found = bits(made, BIG_X)
    assert refused == [2]
    threads(1)
    assert found == bits(made, BIG_X)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_fork(threads):
    threads(2)
    made, _ = record(model, 3, MODEL_W)
    expected = bits(made, BIG_X)
    child = os.fork()
    if not child:
        os._exit(0 if bits(made, BIG_X) == expected else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert bits(made, BIG_X) == expected


# Parameters


def test_parameters_are_read_at_each_call_and_kept_alive():
    made, w = record(lambda x, w: w[0] * x[0] + w[1] ** 2, 1, [3.0, 5.0])
    assert [p.data for p in made.parameters] == [3.0, 5.0]
    X = np.array([[1.0], [2.0]])
    assert made(X)[:, 0].tolist() == [28.0, 31.0]
    w[0].data, w[1].data = -1.0, 0.5
    assert made(X)[:, 0].tolist() == [-0.75, -1.75]
    del w
    filler = [Value(1e9) for _ in range(1000)]
    assert made(X)[:, 0].tolist() == [-0.75, -1.75]
    assert len(filler) == 1000


def test_gradients_through_further_graph():

    def build(x, w):
        return (w[0] * x[0]).tanh() + w[1]

    made, w = record(build, 1, [0.5, 0.25])
    X = rng.normal(size=(10, 1))
    (total,) = made.totals((X,), 0.1)
    again, v = [Value(0.5), Value(0.25)], Value(3.0)
    (total * v + total**2 + w[0]).backward()
    mean = sum(build([x], again) for x in X[:, 0]) / 10
    (mean * 3 + mean**2 + again[0]).backward()
    assert [p.grad for p in w] == pytest.approx([p.grad for p in again], rel=1e-12)
    assert v.grad == total.data == pytest.approx(mean.data, rel=1e-14)
    once = w[0].grad
    total.backward()    # a second pass
    total.backward()
    mean.backward()
    mean.backward()
    assert w[0].grad == pytest.approx(again[0].grad, rel=1e-12) != once
    with microgradc.no_grad():
        (leaf,) = made.totals((X,), 0.1)
    assert not leaf._prev
    assert leaf.data == pytest.approx(mean.data, rel=1e-14)


def test_values_in_a_batch_get_gradients():
    made, w = record(lambda x, w: w[0] * x[0] * x[1], 2, [3.0])
    a, b = Value(2.0), Value(5.0)
    X = np.array([[2.0, 5.0], [7.0, 5.0]])
    (total,) = made.totals((X,), 1.0, [a, b, None, b])
    (total * 2).backward()
    assert (a.grad, b.grad, w[0].grad) == (2 * 15.0, 2 * (6.0 + 21.0), 2 * 45.0)


def test_add_gradients():
    made, w = record(lambda x, w: w[0] * x[0], 1, [3.0])
    w[0].grad = 1.0
    sums, outputs = made.add_gradients((np.array([[1.0], [2.0]]),), [0.5])
    assert (sums, outputs.tolist(), w[0].grad) == ([9.0], [[3.0], [6.0]], 1.0 + 1.5)


# Text, errors


def test_text_and_stats():
    made, _ = record(SUMS["layer"], 4, [1.0] * 4)
    text, stats = str(made), made.stats()
    assert repr(made) == "<Program: 4 inputs, 4 parameters, 1 outputs>"
    assert text.startswith("Program: 4 inputs")
    assert "dense 3 x 4 of r0…r3" in text
    assert "tanh" in text
    assert (stats["inputs"], stats["parameters"], stats["outputs"], stats["simd"]) == (4, 4, 1, stats["simd"])
    assert stats["bytes"] == stats["slots"] * stats["lanes"] * 16

    def everything(x, w):
        return [f(x, w) for f in SUMS.values()] + [take(w, x[3]), microgradc.cross_entropy(x[:3], x[3]), take(x, x[3])]

    made, _ = record(everything, 4, [1.0] * 4, integers=(3,))
    assert all(
        word in str(made)
        for word in ("logsumexp of", "take r3 of 4 weights", "cross_entropy r3 of", "products of", "in all lanes")
    )


def test_wrong_arguments():
    x, w = Value(1.0), Value(2.0)
    out = x * w
    node = Value(3.0, (w,), "")
    for wrong, error, message in [
        (([out, 3.0], [x]), TypeError, r"outputs\[1\] must be a Value, got float 3.0"),
        ((out, [x, "a"]), TypeError, r"inputs\[1\] must be a Value"),
        (([], [x]), ValueError, "at least one Value"),
        ((out, [out]), ValueError, r"inputs\[0\] must be a leaf"),
        ((node * x, [node]), ValueError, r"inputs\[0\] must be a leaf"),
        ((out, [x, x]), ValueError, "comes twice"),
    ]:
        with pytest.raises(error, match=message):
            Program(*wrong)
    for lanes in (0, 7, -8, 8.0, "8", True):
        with pytest.raises(ValueError, match="lanes must be a positive multiple of 8"):
            Program(out, [x], lanes=lanes)
    made = Program(out, [x])
    with pytest.raises(TypeError, match="made once"):
        made.__init__(out, [x])
    with pytest.raises(TypeError, match="not initialised"):
        pickle.dumps(Program.__new__(Program))
    with pytest.raises(TypeError, match="not initialised"):
        str(Program.__new__(Program))
    with pytest.raises(TypeError, match="not initialised"):
        Program.__new__(Program).has_same_graph([out], [x])
    for arrays, error, message in [
        ((), ValueError, "at least one array|1 columns together"),
        ((np.zeros((0, 1)),), ValueError, "at least one example"),
        ((np.zeros((2, 2)),), ValueError, "must have 1 columns together, one for each input, got 2"),
        ((np.zeros((2, 1)), np.zeros((2, 1))), ValueError, "1 inputs, got 2 arrays"),
        ((np.zeros((2, 1), np.float32),), TypeError, "must be float64"),
        ((np.zeros((2, 1), ">f8"),), TypeError, "must be float64"),
        ((np.array(1.0),), TypeError, "an axis for the examples"),
        ((np.zeros((4, 2))[:, :1],), ValueError, "C-contiguous"),
        (([[1.0]],), TypeError, "list"),
    ]:
        with pytest.raises(error, match=message):
            made(*arrays)
    for outputs, inputs in [([1.0], [x]), ([out], ["a"])]:
        with pytest.raises(TypeError, match="Value"):
            made.has_same_graph(outputs, inputs)
    for values, error in [([1.0, None], TypeError), (["a", x], TypeError), ([None], IndexError)]:
        with pytest.raises(error):
            made.totals((np.ones((2, 1)),), 1.0, values)
    with pytest.raises(ValueError, match="seeds must have 1 numbers"):
        made.run((np.ones((2, 1)),), [1.0, 2.0], True, True)
    assert made(np.array([[4.0]])).tolist() == [[8.0]]    # all the same


def test_custom_nodes_and_foreign_indices_are_refused():
    x, w = Value(1.0), Value(2.0)
    closure, leaf = Value(3.0, (w,)), Value(1.0)
    closure._backward = leaf._backward = lambda: None
    for node in (closure, leaf, w.func(math.exp), Value(3.0, (w,), (2.0,)), Value(3.0, (w,), "op")):
        with pytest.raises(microgradc.CompileError, match="a rule of its own"):
            Program(x * node, [x])
    with Trace():
        index = IntegerInput(1e300)
        taken = take([x, w], index)
    for inputs in ([x], [x, Value(0.0)]):
        with pytest.raises(microgradc.CompileError, match="integer argument"):
            Program(taken, inputs)
    made = Program(taken, [index, x])
    for wrong in (2.0, -1.0, 0.5, NAN, INF, 1e300):
        with pytest.raises(IndexError, match=r"index of example 1 .* less than 2"):
            made(np.array([[0.0, 1.0], [wrong, 1.0]]))


def test_an_index_that_changes_after_its_check_reaches_no_foreign_memory(run_python):
    """As another thread may change it while the GIL is released. It then picks the first value."""
    run_python("""
import numpy as np
from microgradc import Program, Value, take
from microgradc.engine import IntegerInput, Trace
x, v, w = Value(1.0), Value(2.0), Value(3.0)
with Trace():
    index = IntegerInput(0.0)
    of_rows, of_weights = take([x * v, x + w], index), take([v, w], index)
made = Program([of_rows, of_weights], [index, x])
empty = np.empty
for wrong in (1e9, -1e9, 2.0, -1.0, 1e300, float("nan"), float("inf")):
    X = np.array([[1.0, 5.0]] * 9)

    def change_and_make(*args, **kwargs):
        X[:, 0] = wrong
        return empty(*args, **kwargs)

    v.grad = w.grad = 0.0
    np.empty = change_and_make
    _, outputs = made.add_gradients((X,), [1.0, 1.0])
    np.empty = empty
    assert outputs.tolist() == [[10.0, 2.0]] * 9, (wrong, outputs)
    assert (v.grad, w.grad) == (9 * 5.0 + 9, 0.0), wrong
""")


# Memory


@linux_only
def test_no_leak(run_python):
    run_python(MEASURE + """
import numpy as np
from microgradc import Program
x, w, v = Value(1.0), Value(2.0), Value(3.0)
made = Program([(w * x).tanh() + w, x.exp()], [x])
X, values = np.ones((9, 1)), [v] + [None] * 8
def work(i):
    made(X)
    made.run((X,), [1.0, 2.0], True, True)
    a, b = made.totals((X,), 0.1, values)
    (a + b).backward()
    try:
        made(X, X)
    except ValueError:
        pass
flat(work, 100_000, 2_000)
def build(i):
    x, w = Value(1.0), Value(2.0)
    made = Program(microgradc.dot([w, w * 2], [x, 1.0]).tanh(), [x])
    made(X), made.stats(), str(made)
flat(build, 2_000, 2_000)     # what waits for the collector differs between versions of Python, and then stays
""")


@linux_only
def test_memory_runs_out(run_python):
    """The system refuses memory for the rows of a block: MemoryError, and the program goes on."""
    out = run_python("""
import resource, numpy as np
from microgradc import Program, Value
x = Value(1.0)
y = x
for i in range(1000):
    y = (y * x).tanh()
made = Program(y, [x], lanes=1 << 20)
X = np.ones((1 << 20, 1))
expected = made(X[:8])
made.run((X[:8],), [1.0], True, True)
soft, hard = resource.getrlimit(resource.RLIMIT_AS)
used = int(open("/proc/self/statm").read().split()[0]) * 4096
resource.setrlimit(resource.RLIMIT_AS, (used + (1 << 30), hard))
for _ in range(3):
    try:
        made.run((X,), [1.0], True, True)
    except MemoryError as error:
        print(error)
assert (made(X[:8]) == expected).all()
""")
    assert out.count("no memory for") == 3


def test_long_chains_and_many_outputs():
    """Lowering and planning take time that grows with the graph, no recursion, and few places where no gradient is
    wanted."""
    x, p = Value(0.5), Value(0.25)
    y = x
    for i in range(100_000):
        y = (y * p).sin() if i % 2 else y + 0.1
    X = np.array([[0.5], [0.75]])
    made = Program(y, [x])
    assert made(X)[0, 0] == pytest.approx(y.data, rel=1e-12)
    y.backward()
    (total,) = made.totals((X[:1],), 1.0)
    expected, p.grad = p.grad, 0.0
    total.backward()
    assert p.grad == pytest.approx(expected, rel=1e-12)
    outputs = Program([(x * float(i)).tanh() for i in range(1000)], [x])
    assert outputs(X)[1] == pytest.approx(np.tanh(0.75 * np.arange(1000)))


def test_a_program_that_is_made_while_it_is_made():
    x, w = Value(1.0), [Value(float(i)) for i in range(2000)]
    made = Program.__new__(Program)

    class Outputs:
        def __iter__(self):
            made.__init__([w[1] * x], [x])
            yield microgradc.dot(w, [x] * len(w))

    with pytest.raises(TypeError, match="made once"):
        made.__init__(Outputs(), [x])
    assert made.parameters == (w[1],)
    sums, _, gradients, _ = made.run((np.full((8, 1), 3.0),), [1.0], False, True)
    assert (sums, gradients.tolist()) == ([24.0], [24.0])


SMALLEST_STACKS = """
import threading
try:
    threading.stack_size(32768)
except ValueError:
    threading.stack_size(65536)      # CPython 3.14 wants a few more
"""

WITH_THREADS = """
import numpy as np, microgradc
microgradc.set_num_threads(4)
model = microgradc.nn.MLP(16, [16, 16, 1], seed=0)
X = np.random.default_rng(0).random((20000, 16))
total = microgradc.compile(lambda x: model(x)).sum(X)
total.backward()
print(total.data, sum(p.grad for p in model.parameters()))
"""


def test_threads_with_the_smallest_stacks():
    found = [
        subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, check=False)
        for text in (SMALLEST_STACKS + WITH_THREADS, WITH_THREADS)
    ]
    assert [run.returncode for run in found] == [0, 0], found[0].stderr
    assert found[0].stdout == found[1].stdout != ""
