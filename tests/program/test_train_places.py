"""`f.train` wherever a program has its parameters: among weights, in sums, in both; in groups of any order."""

import random
import sys
import threading

import numpy as np
import pytest

from microgradc import MLP, SGD, Adam, AdamW, RMSprop, Value, clip_grad_norm_, compile, scan, take
from microgradc.program import training

MAKERS = {
    "SGD": lambda p: SGD(p, lr=0.05, momentum=0.9, dampening=0.2, weight_decay=0.01),
    "Adam": lambda p: Adam(p, lr=0.02, amsgrad=True),
    "RMSprop": lambda p: RMSprop(p, lr=0.01, momentum=0.5, centered=True),
}


def examples(n=21):
    rng = np.random.default_rng(1)
    X = rng.normal(size=(n, 3))
    return X, np.sin(X[:, 0]) + X[:, 1]


def plain(p, model):
    return lambda x, y: (model(x) - y) ** 2


def penalized(p, model):
    """The first layer is read by a sum over parameters, too."""
    return lambda x, y: (model(x) - y) ** 2 + sum(w * w for w in p[:8]) * 0.01


def tied(p, model):
    """Some weights are in two layers, one is an output's bias and a factor."""
    first, last = model.layers
    row, bias = first.neurons[0].w, last.neurons[0].b

    def loss(x, y):
        inner = last([u.tanh() for u in first(x)])
        return (inner + sum(w * v for w, v in zip(row, x, strict=True)) - bias * y) ** 2

    return loss


def recurrent(p, model):
    def loss(x, y):
        state = model.layers[0].neurons[0]
        h = 0.0
        for v in x:
            h = state([h, v, 1.0])
        return (h + model(x) - y) ** 2

    return loss


def scaled(p, model):
    """Weights are computed of parameters, and some of these are weights, too."""
    return lambda x, y: (sum(p[i] * p[9] * x[i] for i in range(3)) + model(x) - y) ** 2


LOSSES = [plain, penalized, tied, recurrent, scaled]


def interleaved(make):
    """Groups whose parameters lie among each other's: biases apart from weights, and one that has only strangers."""
    return lambda p: make([{"params": p[3::4]}, {"params": [w for i, w in enumerate(p) if i % 4 != 3], "lr": 0.03},
                           {"params": [Value(1.0), Value(2.0)]}])


def shuffled(make):
    def of(p):
        p = [*p, Value(3.0)]
        random.Random(4).shuffle(p)
        return make(p)

    return of


def partial(make):
    return lambda p: make([p[5], p[2], p[11]])


def by_hand(f, optimizer, X, y, batch, epochs, clip):
    losses = []
    params = [p for group in optimizer.param_groups for p in group["params"]]
    for _ in range(epochs):
        total = 0.0
        for i in range(0, len(X), batch):
            loss = f.mean(X[i : i + batch], y[i : i + batch])
            optimizer.zero_grad()
            loss.backward()
            if clip is not None:
                clip_grad_norm_(params, clip)
            optimizer.step()
            total += loss.data * len(X[i : i + batch])
        losses.append(loss.data if batch >= len(X) else total / len(X))
    return losses


def left_behind(model, optimizer):
    params = [p for group in optimizer.param_groups for p in group["params"]]
    state = [(name, np.asarray(part).tolist()) for group in optimizer.state for name, part in sorted(group.items())]
    return [[(p.data, p.grad) for p in some] for some in (model.parameters(), params)], state


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("of", [lambda make: make, interleaved, shuffled, partial])
def test_the_bits_are_those_of_the_loop_by_hand(loss, of):
    X, y = examples()
    for name, make in MAKERS.items():
        for batch, clip in ((6, None), (1, 0.2), (100, 0.05)):
            found = []
            for train in (True, False):
                model = MLP(3, [4, 1], activation="tanh", seed=0)
                f = compile(loss(model.parameters(), model))
                optimizer = of(make)(model.parameters())
                losses = []
                for epochs in (2, 1):       # and on, with the state of the optimizer
                    if train:
                        settings = {"batch_size": batch, "epochs": epochs, "shuffle": False, "clip_norm": clip}
                        losses += f.train(optimizer, X, y, **settings).tolist()
                    else:
                        losses += by_hand(f, optimizer, X, y, batch, epochs, clip)
                found.append((losses, left_behind(model, optimizer)))
            assert found[0] == found[1], name


def test_rows_in_any_order_are_read_where_they_are():
    """Integers, single columns and wide rows; padding, and the way for one example."""
    rng = np.random.default_rng(0)
    table = [Value(0.1 * i) for i in range(5)]
    weights = [Value(w) for w in rng.normal(size=11)]
    f = compile(lambda i, x, y: (take(table, i) + sum(w * v for w, v in zip(weights, x, strict=True)) - y) ** 2)
    i, x, y = rng.integers(0, 5, 53), rng.normal(size=(53, 11)), rng.normal(size=53)
    for batch in (1, 7, 8, 50):
        optimizer = SGD([*table, *weights], lr=0.01)
        before = [p.data for p in table + weights]
        order = list(range(53))
        random.Random(3).shuffle(order)
        f.train(optimizer, i, x, y, batch_size=batch, seed=3)
        after = [p.data for p in table + weights]
        for p, number in zip(table + weights, before, strict=True):
            p.data = number
        f.train(optimizer, i[order], x[order], y[order], batch_size=batch, shuffle=False)
        assert [p.data for p in table + weights] == after


@pytest.mark.parametrize("computed", [False, True])
def test_what_take_did_not_take_gets_no_nan(computed):
    """The derivative of a root at 0 is infinite, and 0 times that is not sent."""
    x, y = np.random.default_rng(0).random((12, 3)) + 0.5, np.ones(12)
    i = np.zeros(12, int)
    found = []
    for train in (True, False):
        weights = [Value(w) for w in (1.0, 2.0, 3.0, 0.0, 0.0, 0.0)]

        def loss(i, x, y, weights=weights):
            rows = weights[:3], weights[3:]
            sums = [sum(w * v for w, v in zip(row, x, strict=True)) for row in rows]
            if computed:
                sums = [row[0] * 2 for row in rows]
            return (take([s.sqrt() for s in sums], i) - y) ** 2

        f, optimizer = compile(loss), Adam(weights, lr=0.01)
        if train:
            f.train(optimizer, i, x, y, batch_size=5, shuffle=False, epochs=2)
        else:
            for _ in range(2):
                for k in (0, 5, 10):
                    total = f.mean(i[k : k + 5], x[k : k + 5], y[k : k + 5])
                    optimizer.zero_grad()
                    total.backward()
                    optimizer.step()
        found.append([(w.data, str(w.grad)) for w in weights])
    assert found[0] == found[1]
    assert found[0][3][1] == "0.0"


def test_arguments_by_keyword():
    X, y = examples()

    def loss(x, *, y, power, epochs=1):
        return (model(x) - y) ** power * epochs

    found = []
    for way in ("place", "keyword", "hand", "hooks"):
        model = MLP(3, [4, 1], activation="tanh", seed=0)
        optimizer = SGD(model.parameters(), lr=0.05)
        f = compile(loss, static=("power",))
        if way == "place":
            compile(plain(None, model)).train(optimizer, X, y, batch_size=5, seed=0, epochs=3)
        elif way == "hand":
            order = list(range(21))
            rng = random.Random(0)
            for _ in range(3):
                order = list(range(21))
                rng.shuffle(order)
                for k in range(0, 21, 5):
                    total = f.mean(X[order[k : k + 5]], y=y[order[k : k + 5]], power=2)
                    optimizer.zero_grad()
                    total.backward()
                    optimizer.step()
        else:
            if way == "hooks":
                model.parameters()[0].register_hook(lambda g: None)
            f.train(optimizer, X, y=y, power=2, batch_size=5, seed=0, epochs=3)
        found.append([p.data for p in model.parameters()])
    assert found[1] == found[2] == found[3]
    assert found[0] == pytest.approx(found[1], rel=1e-12)
    with pytest.raises(TypeError, match="Did you mean 'batch_size'"):
        f.train(optimizer, X, y=y, power=2, batchsize=5)
    with pytest.raises(TypeError, match="'lr'"):
        f.train(optimizer, X, y=y, power=2, lr=5)
    with pytest.raises(TypeError, match="missing"):
        f.train(optimizer, X, power=2)


def test_steps_are_kept_for_the_next_training_but_not_its_examples():
    import gc
    import weakref

    X, y = examples()
    model, other = (MLP(3, [4, 1], seed=0) for _ in range(2))
    f, g = (compile(plain(None, m)) for m in (model, other))
    ours, theirs = (Adam(m.parameters()) for m in (model, other))

    class Numbers(np.ndarray):
        """An array to which a reference can be weak."""

    rows = X.copy().view(Numbers)
    seen = weakref.ref(rows)
    with pytest.raises(ZeroDivisionError):      # in the middle of a training
        f.train(ours, rows, y, batch_size=4, seed=0, epochs=3, callback=lambda *_: 1 / 0)
    del rows
    gc.collect()
    assert seen() is None
    g.train(theirs, X, y, batch_size=4, seed=0)
    model.parameters()[0].data = other.parameters()[0].data = 0.25      # what was written since is read
    for f_, o in ((f, ours), (g, theirs)):
        f_.train(o, X, y, batch_size=5, seed=1)
    assert model.vector().tolist() == other.vector().tolist()
    model.layers[0].neurons[0].w[0] = Value(1.0)        # another parameter: other steps
    ours = Adam(model.parameters())
    f.train(ours, X, y)
    assert model.layers[0].neurons[0].w[0].data != 1.0


def test_many_parameters_side_by_side():
    X, y = examples()
    for make in (lambda make: make, interleaved):
        found = []
        for train in (True, False):
            model = MLP(3, [40, 1], activation="tanh", seed=0)
            f, optimizer = compile(plain(None, model)), make(MAKERS["Adam"])(model.parameters())
            if train:
                f.train(optimizer, X, y, epochs=3, batch_size=8, shuffle=False)
            else:
                by_hand(f, optimizer, X, y, 8, 3, None)
            found.append(left_behind(model, optimizer))
        assert found[0] == found[1]


def test_a_gradient_of_a_weight_that_is_not_finite():
    weights = [Value(w) for w in (0.0, 0.0, 1.0)]
    f = compile(lambda x: sum(w * v for w, v in zip(weights, x, strict=True)).sqrt())
    optimizer = SGD(weights, lr=0.5)
    with pytest.raises(FloatingPointError, match="gradient of a parameter became inf"):
        f.train(optimizer, np.array([[1.0, 2.0, 3.0], [1.0, 2.0, 0.0]]))
    assert [w.data for w in weights] == [0.0, 0.0, 1.0]
    assert weights[0].grad == np.inf


def test_a_compiled_function_sees_what_was_trained():
    """There is no view of the parameters, in which case each call looks at all of them."""
    X, y = examples()
    p = [Value(0.1), Value(0.2)]
    f = compile(lambda x, y: (p[0] * x[0] + p[1] - y) ** 2)
    optimizer, before = SGD(p, lr=0.05), np.inf
    for _ in range(3):
        f.train(optimizer, X, y)
        after = f.mean(X, y).data
        assert after < before
        before = after
    for k in p:
        k.data += 0.0       # a write that is known
    assert f.mean(X, y).data == after


def test_an_optimizer_trains_once_at_a_time():
    X, y = examples()
    model = MLP(3, [4, 1], seed=0)
    f, optimizer = compile(plain(None, model)), SGD(model.parameters(), lr=1e-6)
    f.train(optimizer, X, y)
    errors, begun = [], threading.Event()

    def long():
        begun.set()
        f.train(optimizer, X, y, epochs=200_000)

    thread = threading.Thread(target=long)
    thread.start()
    begun.wait()
    while thread.is_alive() and not errors:
        try:
            f.train(optimizer, X, y)
        except RuntimeError as error:
            errors.append(str(error))
    thread.join()
    assert "another training" in errors[0]
    f.train(optimizer, X, y)        # and then again


def test_an_interrupt_at_any_line_leaves_the_optimizer_as_its_parameters_are():
    X, y = examples()
    model = MLP(3, [4, 1], seed=0)
    f, optimizer = compile(plain(None, model)), Adam(model.parameters(), lr=1e-3)
    f.train(optimizer, X, y)
    optimizer.load_state_dict(optimizer.state_dict())
    left = 0

    def trace(frame, event, arg):
        nonlocal left
        if event == "line":
            left -= 1
            if left < 0:
                raise KeyboardInterrupt
        return trace

    def trace_calls(frame, event, arg):
        return trace if frame.f_code.co_filename == training.__file__ else None

    def now():
        return optimizer.state[0]["step"], [p.data for p in model.parameters()]

    others, lines, is_done = sys.gettrace(), 0, False
    while not is_done:
        (steps, numbers), left = now(), lines
        sys.settrace(trace_calls)
        try:
            f.train(optimizer, X, y)
            is_done = True
        except KeyboardInterrupt:
            lines += 1
        finally:
            sys.settrace(others)
        assert now()[0] - steps == (now()[1] != numbers), lines
        f.train(optimizer, X, y)        # as usable as before
    assert lines > 50


def test_errors_in_schedules_and_callbacks_leave_whole_steps():
    X, y = examples()

    class Failing:
        def __init__(self, after):
            self.left = after

        def step(self):
            self.left -= 1
            if self.left < 0:
                raise LookupError("no rate")

    for every, allowed, steps, rows, epochs in (("step", 2, 3, 18, 1), ("epoch", 3, 16, 21, 4)):
        found = []
        for way in ("train", "hand"):
            model = MLP(3, [4, 1], seed=0)
            f, optimizer = compile(plain(None, model)), Adam(model.parameters())
            if way == "train":
                with pytest.raises(LookupError):
                    f.train(optimizer, X, y, batch_size=6, shuffle=False, epochs=9, schedule=Failing(allowed),
                            schedule_every=every)
                assert optimizer.state[0]["step"] == steps
            else:
                by_hand(f, optimizer, X[:rows], y[:rows], 6, epochs, None)
            if way == "train":      # the next one begins with an epoch
                f.train(optimizer, X, y, batch_size=8, shuffle=False)
            else:
                by_hand(f, optimizer, X, y, 8, 1, None)
            found.append(left_behind(model, optimizer))
        assert found[0] == found[1]


@pytest.mark.parametrize("large", [False, True])
def test_a_step_that_fails_leaves_what_was_before_it(large):
    """An index that is computed in a scan is found to be wrong in the middle of a step."""
    table = [Value(float(k)) for k in range(3)]
    weights = [Value(0.5 + k) for k in range(4)]

    def loss(x, i):
        picked, _ = scan(lambda c, index: (c + take(table, index), None), x[0], i)
        return (picked + sum(w * v for w, v in zip(weights, x, strict=True))) ** 2

    n = 40_000 if large else 6
    x, i = np.ones((n, 4)), np.ones((n, 2), int)
    f, optimizer = compile(loss), SGD([*table, *weights], lr=1e-3)
    f.train(optimizer, x, i, epochs=2)
    before = [(p.data, p.grad) for p in table + weights]
    assert all(w.grad for w in weights)
    i[n // 2, 1] = 3
    with pytest.raises(IndexError, match="in a scan picked nothing"):
        f.train(optimizer, x, i)
    assert [(p.data, p.grad) for p in table + weights] == before


def test_what_callbacks_do_to_the_model_and_to_the_examples():
    X, y = examples()
    found = []
    for way in ("train", "hand"):
        models = [MLP(3, [4, 1], seed=0)]
        f = compile(lambda x, y, models=models: (models[0](x) - y) ** 2)
        params = models[0].parameters()
        optimizer = AdamW(params, lr=0.01)
        rows, targets = X.copy(), y.copy()

        def callback(epoch, loss, rows=rows, targets=targets, models=models):
            rows *= 0.5                                  # in place: the next epoch sees it
            targets[epoch] = 3.0
            if epoch == 1:
                models[0] = MLP(3, [4, 1], seed=9)       # the model is gone; the optimizer has its parameters

        if way == "train":
            f.train(optimizer, rows, targets, batch_size=6, shuffle=False, epochs=4, callback=callback)
        else:
            for epoch in range(4):
                by_hand(f, optimizer, rows, targets, 6, 1, None)
                callback(epoch, 0.0)
        found.append([[(p.data, p.grad) for p in some] for some in (params, models[0].parameters())])
    assert found[0] == found[1]
    lists = X.tolist(), y.tolist()
    with pytest.raises(ValueError, match="order is of 21 examples, there are 20"):
        f.train(optimizer, *lists, epochs=3, callback=lambda *_: [part.pop() for part in lists] and None)


OUT_OF_MEMORY = """
import sys
import _testcapi, numpy as np
from microgradc import MLP, SGD, Adam, compile

X = np.random.default_rng(0).normal(size=(16, 3))

def made():
    model = MLP(3, [4, 1], seed=0)
    f = compile(lambda x, t: (model(x) - t) ** 2)
    optimizer = (SGD if sys.argv[1] == "SGD" else Adam)(model.parameters(), lr=1e-2)
    f.mean(X, X[:, 0])
    return f, optimizer

def losses(f, optimizer):
    return f.train(optimizer, X, X[:, 0], epochs=3).tolist()

expected, failed = losses(*made()), 0
for start in range(150, 450):       # before, Python's own; among these is all that the first steps need
    f, optimizer = made()
    _testcapi.set_nomemory(start, start + 1)
    try:
        losses(f, optimizer)
    except MemoryError:
        _testcapi.remove_mem_hooks()
        failed += 1
        if not optimizer.state[0].get("step"):
            assert losses(f, optimizer) == expected, start
    finally:
        _testcapi.remove_mem_hooks()
print(failed)
"""


@pytest.mark.skipif(sys.version_info >= (3, 12), reason="CPython itself crashes where there is no memory")
@pytest.mark.parametrize("name", ["SGD", "Adam"])
def test_a_first_training_without_memory_leaves_the_next_one_whole(run_python, name):
    pytest.importorskip("_testcapi", reason="this Python has no _testcapi to inject MemoryError with")
    assert int(run_python(OUT_OF_MEMORY, name)) > 50
