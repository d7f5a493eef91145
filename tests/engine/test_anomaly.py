"""detect_anomaly: the first number that is not finite, and the line that made it."""

import copy
import math
import os
import pickle
import threading

import numpy as np
import pytest
import torch

import microgradc
from microgradc import AnomalyError, CompileError, Value, compile, detect_anomaly, function, no_grad
from microgradc.engine.value import is_detecting, noting_places, place_of

INF, NAN = math.inf, math.nan


def caught(f, *args):
    with pytest.raises(AnomalyError) as found, detect_anomaly():
        f(*args)
    assert not is_detecting()
    return found.value


def forward(x, y):
    a = x * 2
    b = a / y
    return b * 0


def test_forward():
    x, y = Value(3.0, label="x"), Value(0.0, label="y")
    found = caught(forward, x, y)
    assert isinstance(found, FloatingPointError)
    assert (found.operation, found.operand) == ("/", None)
    assert [v.data for v in found.operands] == [6.0, 0.0]
    assert found.operands[1] is y
    assert found.place == (__file__, forward.__code__.co_firstlineno + 2)
    assert str(found).splitlines() == [
        "the result of '/' is inf",
        f"  operand 0: 6.0, the result of '*' in {__file__}, line {found.place[1] - 1}: a = x * 2",
        "  operand 1: 0.0, 'y', a leaf",
        f"  {__file__}, line {found.place[1]}: b = a / y",
    ]


def backward(x):
    y = x.sqrt()
    z = y * 3
    z.backward()


def test_backward():
    x = Value(0.0, label="x")
    found = caught(backward, x)
    first = backward.__code__.co_firstlineno
    assert (found.operation, found.operand, found.operands, found.place) == ("sqrt", 0, (x,), (__file__, first + 1))
    assert str(found).splitlines() == [
        "the gradient that 'sqrt' sends to operand 0 is inf",
        f"  the node: 0.0, the result of 'sqrt' in {__file__}, line {first + 1}: y = x.sqrt(), which got the "
        "gradient 3.0",
        "  operand 0: 0.0, 'x', a leaf",
        f"  backward() in {__file__}, line {first + 3}: z.backward()",
    ]
    x.data = 4.0
    x.grad = 0.0
    with detect_anomaly():
        backward(x)
    assert x.grad == 0.75


BAD = [
    (lambda x: x.log(), "log"),
    (lambda x: 1.0 / x, "/"),
    (lambda x: (x - 1.0) ** 0.5, "**0.5"),
    (lambda x: microgradc.sum([1e308, 1e308, x]), "sum"),
    (lambda x: microgradc.dot([1e308, 1e308], [x + 10, x + 10]), "dot"),
    (lambda x: microgradc.logsumexp([x, INF]), "logsumexp"),
    (lambda x: x.func(lambda t: INF, derivative=lambda t: 1.0), "<lambda>"),
    (lambda x: Value(NAN, (x,), "mine"), "mine"),
    (lambda x: Value(NAN, (x,), (1.0,)), "custom"),
    (lambda x: microgradc.where(True, INF, x), "where"),
    (lambda x: x % 0.0, "%"),
    (lambda x: np.log(np.array([x]))[0], "log"),
]


@pytest.mark.parametrize(("f", "operation"), BAD, ids=[name for _, name in BAD])
@pytest.mark.parametrize("gradients", [True, False])
def test_ways_to_make_one(f, operation, gradients):
    x = Value(0.0)

    def run():
        if gradients or operation in ("<lambda>", "mine", "custom"):
            return f(x)
        with no_grad():
            return f(x)

    assert caught(run).operation in (operation, "**" if operation == "**0.5" else operation)


def test_what_is_finite_passes_as_in_pytorch():
    with detect_anomaly():
        x = Value(2.0)
        y = microgradc.clip(x, -INF, INF) + microgradc.minimum(x, INF) + microgradc.where(x < INF, x, NAN)
        y.backward()
        assert x.grad == 3.0
        assert Value(INF).data == INF            # a number that nobody has computed with


def test_an_input_that_is_bad_already():
    for number in (INF, -INF, NAN):
        found = caught(lambda v: 1 + v * 2, Value(number, label="w"))
        what = f"the result of '*' is {number!r}, for operand 0 was not finite already when it came in"
        assert str(found).splitlines()[0] == what
        assert "'w', a leaf" in str(found)
    found = caught(lambda v: v * INF, Value(2.0))
    assert "operand 1: inf, a constant" in str(found)
    stale = Value(2.0, label="w")
    stale.grad = NAN
    found = caught(lambda: (stale * 3).backward())
    assert str(found).startswith("the gradient of operand 0 of '*' was nan before this backward() began: set it to 0")


def test_other_gradients():
    x = Value(1.0, label="x")
    x.grad = 1e308
    found = caught(lambda: (x * 1e308 * 1.0).backward())
    assert "its terms add up to too large a number" in str(found)
    x.grad = 0.0

    def closure():
        y = x * 2
        y._backward = lambda: setattr(x, "grad", NAN)
        y.backward()

    found = caught(closure)
    assert str(found).startswith("the _backward of 2.0, the result of '*' in ")
    x.grad = 0.0
    with x.register_hook(lambda g: INF):
        found = caught(lambda: (x * 2).backward())
    assert str(found).startswith("a hook made inf of the gradient 2.0 of 1.0, 'x', a leaf")


@pytest.mark.filterwarnings("ignore::UserWarning")      # PyTorch's, that this is slow, and the traceback
def test_pytorch_finds_the_same_node():
    def f(x):
        return ((x * 3).sqrt() * 0).exp()

    t = torch.tensor(0.0, dtype=torch.float64, requires_grad=True)
    with pytest.raises(RuntimeError, match="SqrtBackward0"), torch.autograd.detect_anomaly():
        f(t).backward()
    with pytest.raises(AnomalyError, match="sends to operand 0 is nan") as found, detect_anomaly():
        f(Value(0.0)).backward()
    assert found.value.operation == "sqrt"


def test_nests_and_ends():
    x = Value(0.0)
    outer = detect_anomaly()
    with outer, outer:
        with detect_anomaly():
            pass
        with pytest.raises(AnomalyError):
            1 / x
    assert (1 / x).data == INF
    assert not is_detecting()
    with pytest.raises(RuntimeError, match="detect_anomaly is left by the thread that entered it"):
        outer.__exit__(None, None, None)
    copy.copy(outer).__enter__().__exit__()
    with detect_anomaly(), pytest.raises(AnomalyError) as found:
        1 / x
    again = pickle.loads(pickle.dumps(found.value))
    assert (str(again), again.operation, again.place) == (str(found.value), "/", found.value.place)


def test_other_threads_are_left_alone():
    seen = []
    with detect_anomaly():
        thread = threading.Thread(target=lambda: seen.append((1 / Value(0.0)).data))
        thread.start()
        thread.join()
    assert seen == [INF]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_in_a_forked_child():
    with detect_anomaly():
        pid = os.fork()
        if pid == 0:
            try:
                1 / Value(0.0)
            except AnomalyError:
                os._exit(0)
            os._exit(1)
        assert os.waitpid(pid, 0)[1] == 0
    assert (1 / Value(0.0)).data == INF


@function(derivative=lambda x: 1 / x)
def log(x):
    return microgradc.log(x) if isinstance(x, Value) else math.log(x)


def ratio(x, y):
    a = x / y
    return a.log()


SCALE = Value(0.0, label="scale")


def root(x):
    return (SCALE * x).sqrt()


def line(f, number):
    return __file__, f.__code__.co_firstlineno + number


def test_compiled_forward():
    f = compile(ratio)
    f(1.0, 2.0)
    X, Y = np.array([1.0, 2.0, 0.0, 3.0]), np.array([1.0, 2.0, 4.0, 5.0])
    for call, example in [
        (lambda: f(0.0, 1.0), None),
        (lambda: f(y=1.0, x=0.0), None),
        (lambda: f(Value(0.0), 1.0), None),
        (lambda: f.value_and_grad(0.0, 1.0), None),
        (lambda: f.mean(X, Y), 2),
        (lambda: f.sum(X.tolist(), Y.tolist()), 2),
        (lambda: f.map(X, Y), 2),
        (lambda: f.map_value_and_grad(X, Y), 2),
    ]:
        found = caught(call)
        assert (found.operation, found.place) == ("log", line(ratio, 2))
        assert "in the compiled function ratio, which was called again as it is" in str(found)
        assert (f"in example {example} of 4" in str(found)) == (example is not None)
        assert "operand 0: 0.0, the result of '/'" in str(found)
    with detect_anomaly():
        assert f(2.0, 1.0).data == math.log(2.0)
        assert f.map(X[:2], Y[:2]).tolist() == [0.0, 0.0]
    assert f(0.0, 1.0).data == -INF         # as before


def test_compiled_backward():
    f = compile(root)
    for call in (lambda: f(2.0), lambda: f.mean([1.0, 2.0]), lambda: compile(lambda x: (root(x), x * 2))(2.0)[0]):
        SCALE.grad = 0.0
        with detect_anomaly():
            y = call()      # forward, all is finite
            with pytest.raises(AnomalyError) as found:
                (y * 2).backward()
        assert (found.value.operation, found.value.place) == ("sqrt", line(root, 1))
        assert "'scale'" in str(found.value) or "the result of '*'" in str(found.value)
    SCALE.grad = 0.0
    found = caught(lambda: f.value_and_grad(2.0))
    assert (found.operation, SCALE.grad) == ("sqrt", 0.0)
    shared = compile(lambda theta, x: (theta * x).sqrt(), shared=("theta",))
    found = caught(lambda: shared.mean_value_and_grad(0.0, np.array([1.0, 2.0])))
    assert found.operation == "sqrt"
    found = caught(lambda: compile(lambda x: x * 1e308).sum([1.0, 1.0]))
    assert str(found).startswith("the compiled function test_compiled_backward.<locals>.")
    assert str(found).endswith(": a sum over its 2 examples is not finite, and each of them is")


def test_recording_within_is_no_anomaly():
    """A function is recorded with other numbers, which are made up."""
    with detect_anomaly():
        f = compile(lambda x: x.log())
        assert f(0.5).data == math.log(0.5)
        assert f.mean([0.5, 0.5]).data == math.log(0.5)
        with pytest.raises(CompileError):
            compile(lambda x: x * x.data)(1.0)
        g = compile(lambda x, i: microgradc.take([x, x * 2], i))
        assert g(1.0, 1).data == 2.0
    assert caught(lambda: g(INF, 1)).operation == "*"


def test_training_goes_eagerly():
    model = microgradc.MLP(2, [2, 1], seed=0)
    next(iter(model.parameters())).data = NAN
    X, y = microgradc.make_moons(20, random_state=0)
    found = caught(lambda: model.fit(X, y, epochs=1, progress=False))
    assert "was not finite already when it came in" in str(found)


def test_places():
    x = Value(2.0)
    with noting_places():
        y = x * x
    assert place_of(y) == (__file__, test_places.__code__.co_firstlineno + 3)
    assert place_of(x * x) is None
    assert place_of(x) is None
    made = []
    with noting_places(made.append):
        z = y + 1
        with noting_places():
            y + 2
        with no_grad():
            w = y * 3
    assert made == [z, w]
    assert vars(z) == {}
    copy.deepcopy(z)
    assert pickle.loads(pickle.dumps(z)).data == 5.0


def test_memory_is_given_back(run_python):
    run_python("""
import gc, sys
from microgradc import Value, detect_anomaly
def step():
    x = Value(2.0)
    with detect_anomaly():
        try:
            y = x
            for i in range(50):
                y = y * 2 - i
            y.backward()
            (x - 2.0).log()
        except FloatingPointError:
            pass
for _ in range(3):
    step()
gc.collect()
before = sys.getallocatedblocks()
for _ in range(200):
    step()
gc.collect()
assert sys.getallocatedblocks() - before < 100, sys.getallocatedblocks() - before
""")
