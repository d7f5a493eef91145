"""`f.train`: the bits of the loop by hand, for every optimizer and in every order; when it ends early."""

import copy
import math
import random
import signal
import threading
import time

import numpy as np
import pytest

from microgradc import (
    MLP,
    SGD,
    Adagrad,
    Adam,
    AdamW,
    CosineAnnealingLR,
    LambdaLR,
    NAdam,
    ReduceLROnPlateau,
    RMSprop,
    SequentialLR,
    StepLR,
    Value,
    batches,
    clip_grad_norm_,
    compile,
    set_num_threads,
    take,
)
from microgradc.engine import CompileError
from microgradc.program.program import Order, Steps

OPTIMIZERS = {
    "SGD": lambda p: SGD(p, lr=0.1),
    "SGD with momentum": lambda p: SGD(p, lr=0.1, momentum=0.9, dampening=0.3, weight_decay=0.01),
    "SGD, Nesterov": lambda p: SGD(p, lr=0.05, momentum=0.9, nesterov=True),
    "SGD, up": lambda p: SGD(p, lr=0.01, maximize=True),
    "Adam": lambda p: Adam(p, lr=0.02),
    "Adam with all": lambda p: Adam(p, lr=0.02, betas=(0.4, 0.95), eps=1e-6, weight_decay=0.01, amsgrad=True),
    "Adam, up": lambda p: Adam(p, lr=0.001, maximize=True),
    "AdamW": lambda p: AdamW(p, lr=0.02, weight_decay=0.1),
    "AdamW, AMSGrad": lambda p: AdamW(p, lr=0.02, betas=(0.0, 0.5), amsgrad=True),
    "RMSprop": lambda p: RMSprop(p, lr=0.01),
    "RMSprop with all": lambda p: RMSprop(p, lr=0.01, alpha=0.4, weight_decay=0.1, momentum=0.9, centered=True),
    "RMSprop, up": lambda p: RMSprop(p, lr=0.001, momentum=0.5, maximize=True),
    "Adagrad": lambda p: Adagrad(p, lr=0.1),
    "Adagrad with all": lambda p: Adagrad(p, lr=0.1, lr_decay=0.1, weight_decay=0.1, initial_accumulator_value=0.5),
    "Adagrad, up": lambda p: Adagrad(p, lr=0.01, maximize=True),
    "NAdam": lambda p: NAdam(p, lr=0.02),
    "NAdam with all": lambda p: NAdam(p, lr=0.02, betas=(0.4, 0.9), weight_decay=0.1, momentum_decay=0.1),
    "NAdam, decoupled": lambda p: NAdam(p, lr=0.02, weight_decay=0.1, decoupled_weight_decay=True),
    "groups": lambda p: Adam([{"params": p[:20]}, {"params": p[20:], "lr": 0.05, "betas": (0.5, 0.9)}], lr=0.01),
}


def examples(n=23):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n, 3))
    return X, np.sin(X[:, 0]) + X[:, 1]


def learner(make, seed=0):
    """Return a model, its compiled loss, and an optimizer of it."""
    model = MLP(3, [7, 1], activation="tanh", seed=seed)
    return model, compile(lambda x, y: (model(x) - y) ** 2), make(model.parameters())


def by_hand(f, optimizer, X, y, epochs=1, batch_size=None, shuffle=True, seed=None, schedule=None, every="epoch",
            clip_norm=None):
    """The loop that `train` is."""
    losses = []
    turns = batches(np.arange(len(X)), y, batch_size or len(X), shuffle=shuffle and batch_size is not None, seed=seed)
    params = [p for group in optimizer.param_groups for p in group["params"]]
    for _ in range(epochs):
        total = 0.0
        for rows, _ in turns:
            loss = f.mean(X[rows], y[rows])
            optimizer.zero_grad()
            loss.backward()
            if clip_norm is not None:
                clip_grad_norm_(params, clip_norm)
            optimizer.step()
            total += loss.data * len(rows)
            if schedule is not None and every == "step":
                schedule.step()
        losses.append(loss.data if len(turns) == 1 else total / len(X))
        if schedule is not None and every == "epoch":
            schedule.step()
    return losses


def numbers(model, optimizer):
    """All that a training leaves behind."""
    state = [(name, np.asarray(part).tolist()) for group in optimizer.state for name, part in sorted(group.items())]
    lrs = [group["lr"] for group in optimizer.param_groups]
    return model.vector().tolist(), model.vector("grad").tolist(), state, lrs


def assert_same(make, schedule=None, every="epoch", **settings):
    X, y = examples()
    model, f, optimizer = learner(make)
    other, g, theirs = learner(make)
    ours = f.train(optimizer, X, y, schedule=schedule and schedule(optimizer), schedule_every=every, **settings)
    expected = by_hand(g, theirs, X, y, schedule=schedule and schedule(theirs), every=every, **settings)
    assert ours.dtype == float
    assert ours.tolist() == expected
    assert numbers(model, optimizer) == numbers(other, theirs)
    # and on from there
    f.train(optimizer, X, y, batch_size=10, shuffle=False)
    by_hand(g, theirs, X, y, batch_size=10, shuffle=False)
    assert numbers(model, optimizer) == numbers(other, theirs)


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("settings", [{}, {"batch_size": 5}, {"batch_size": 11, "shuffle": False}], ids=str)
def test_the_bits_are_those_of_the_loop_by_hand(name, settings):
    assert_same(OPTIMIZERS[name], epochs=4, seed=3, **settings)


@pytest.mark.parametrize("clip_norm", [0.0, 0.3, 100.0, math.inf])
@pytest.mark.parametrize("name", ["SGD", "Adam with all", "groups"])
def test_clipping(name, clip_norm):
    assert_same(OPTIMIZERS[name], epochs=3, seed=3, batch_size=5, clip_norm=clip_norm)


@pytest.mark.parametrize("every", ["epoch", "step"])
@pytest.mark.parametrize(
    "schedule",
    [
        lambda o: StepLR(o, 2, 0.5),
        lambda o: CosineAnnealingLR(o, 7),
        lambda o: LambdaLR(o, lambda k: 1 / (1 + k)),
    ],
)
def test_schedules(schedule, every):
    assert_same(OPTIMIZERS["SGD with momentum"], schedule, every, epochs=5, seed=1, batch_size=6)
    assert_same(OPTIMIZERS["groups"], schedule, every, epochs=3)


def test_schedules_after_one_another():
    def one_after_another(o):
        return SequentialLR(o, [StepLR(o, 1, 0.5), CosineAnnealingLR(o, 7)], [2])

    assert_same(OPTIMIZERS["groups"], one_after_another, epochs=5, seed=1, batch_size=6)


def test_a_schedule_that_goes_by_the_loss():
    X, y = examples()
    model, f, optimizer = learner(OPTIMIZERS["SGD"])
    other, g, theirs = learner(OPTIMIZERS["SGD"])
    settings = {"factor": 0.5, "patience": 0, "threshold": 0.05}
    schedule, by_hand = ReduceLROnPlateau(optimizer, **settings), ReduceLROnPlateau(theirs, **settings)
    losses = f.train(optimizer, X, y, epochs=30, batch_size=6, seed=0, schedule=schedule)
    order = random.Random(0)
    for loss in losses:
        assert g.train(theirs, X, y, batch_size=6, seed=order).tolist() == [loss]
        by_hand.step(loss)
    assert numbers(model, optimizer) == numbers(other, theirs)
    assert schedule.state_dict() == by_hand.state_dict()
    assert schedule.get_last_lr()[0] < 0.05
    with pytest.raises(ValueError, match="schedule_every must be 'epoch' for a schedule that takes the loss of one"):
        f.train(optimizer, X, y, schedule=schedule, schedule_every="step")

    class Own:
        def __init__(self):
            self.seen = []

        def step(self, loss):
            self.seen.append(loss)

    own = Own()
    assert f.train(optimizer, X, y, epochs=3, schedule=own).tolist() == own.seen


@pytest.mark.parametrize("batch_size", [1, 2, 22, 23, 1000])
def test_batches_of_any_size(batch_size):
    assert_same(OPTIMIZERS["Adam"], epochs=2, seed=0, batch_size=batch_size)


def test_batches_that_threads_share():
    X, y = np.tile(examples()[0], (3000, 1)), np.tile(examples()[1], 3000)
    model, f, optimizer = learner(OPTIMIZERS["Adam"])
    other, g, theirs = learner(OPTIMIZERS["Adam"])
    try:
        set_num_threads(2)
        assert f.train(optimizer, X, y, epochs=2, seed=0, batch_size=50_000).tolist() == by_hand(
            g, theirs, X, y, epochs=2, seed=0, batch_size=50_000
        )
    finally:
        set_num_threads(2)
    assert numbers(model, optimizer) == numbers(other, theirs)


@pytest.mark.parametrize("n", [1, 2, 3, 31, 32, 33, 700, 5000])
def test_orders_are_those_of_random(n):
    ours, theirs = random.Random(5), random.Random(5)
    w = Value(0.0)
    f = compile(lambda x: w * x)
    x = np.arange(n, dtype=float)
    for _ in range(3):
        f.train(SGD([w], lr=1e-9), x, batch_size=1000, seed=ours, epochs=2)
        for _ in range(2):
            theirs.shuffle(list(range(n)))
        assert ours.getstate() == theirs.getstate()
    assert not Order(n, random.SystemRandom(), False).is_twister


class Backwards(random.Random):
    """A generator of an order of its own."""

    def shuffle(self, x):
        x.reverse()


@pytest.mark.parametrize("make", [lambda: None, lambda: random.Random(3), lambda: np.random.default_rng(3), Backwards])
def test_seeds_of_all_kinds(make):
    X, y = examples()
    found = []
    for train in (True, False):
        model, f, optimizer = learner(OPTIMIZERS["SGD"])
        random.seed(7)
        if train:
            losses = f.train(optimizer, X, y, epochs=3, batch_size=5, seed=make()).tolist()
        else:
            losses = by_hand(f, optimizer, X, y, epochs=3, batch_size=5, seed=make())
        found.append((losses, numbers(model, optimizer), random.random()))
    assert found[0] == found[1]


def test_a_shuffle_that_is_none_is_refused():
    X, y = examples()
    model, f, optimizer = learner(OPTIMIZERS["SGD"])

    class Wrong(random.Random):
        def shuffle(self, x):
            x[0] = 10**9

    before = model.vector().tolist()
    with pytest.raises(ValueError, match="does not shuffle"):
        f.train(optimizer, X, y, batch_size=5, seed=Wrong())
    assert model.vector().tolist() == before
    with pytest.raises(TypeError, match="not initialised"):
        Steps.__new__(Steps).run((X, y), None, [], Order(23, None, False), 1, 1, 1, -1.0, True)


def test_parameters_that_only_one_of_both_has():
    X, y = examples()
    model, f, _ = learner(OPTIMIZERS["SGD"])
    other, g, _ = learner(OPTIMIZERS["SGD"])
    ours, theirs = (
        SGD([*m.parameters()[5:15], Value(3.0)], lr=0.1, momentum=0.5, weight_decay=0.1) for m in (model, other)
    )
    f.train(ours, X, y, epochs=3, batch_size=5, seed=0)
    by_hand(g, theirs, X, y, epochs=3, batch_size=5, seed=0)
    assert numbers(model, ours) == numbers(other, theirs)
    assert ours.param_groups[0]["params"][-1].data == theirs.param_groups[0]["params"][-1].data != 3.0


def test_shared_arguments():
    X, y = examples()
    f = compile(lambda theta, x, y: (sum(t * x_ for t, x_ in zip(theta, x, strict=True)) - y) ** 2, shared=("theta",))
    found = []
    for train in (True, False):
        theta = [Value(0.1), 0.5, Value(0.3)]
        optimizer = Adam([theta[0], theta[2]], lr=0.1)
        for _ in range(3):
            if train:
                f.train(optimizer, theta, X, y, epochs=2)
            else:
                for _ in range(2):
                    loss = f.mean(theta, X, y)
                    optimizer.zero_grad()
                    loss.backward()
                    optimizer.step()
        found.append([theta[0].data, theta[2].data, theta[0].grad])
    assert found[0] == found[1]


def test_what_a_program_has_to_look_at():
    table = [Value(float(i)) for i in range(4)]
    f = compile(lambda i, x: take(table, i) * x)
    copy_of = [Value(float(i)) for i in range(4)]
    g = compile(lambda i, x: take(copy_of, i) * x)
    i, x = np.array([0, 1, 3, 3, 1]), np.linspace(0, 1, 5)
    f.train(SGD(table, lr=0.1), i, x, epochs=3, batch_size=2, shuffle=False)
    theirs = SGD(copy_of, lr=0.1)
    for _ in range(3):
        for rows in ([0, 1], [2, 3], [4]):
            theirs.zero_grad()
            g.mean(i[rows], x[rows]).backward()
            theirs.step()
    assert [(v.data, v.grad) for v in table] == [(v.data, v.grad) for v in copy_of]
    with pytest.raises(IndexError):
        f.train(SGD(table, lr=0.1), np.array([0, 4]), x[:2])


def test_hooks_optimizers_of_your_own_and_wrapped_methods():
    X, y = examples()

    class Slow(SGD):
        def step(self, closure=None):
            self.param_groups[0]["lr"] *= 0.9
            return super().step(closure)

    def hooked(p):
        p[3].register_hook(lambda g: 2 * g)
        return SGD(p, lr=0.1)

    for make in (hooked, lambda p: Slow(p, lr=0.1)):
        for settings in ({"clip_norm": 0.5}, {"batch_size": 5, "seed": 2}):
            assert_same(make, epochs=3, **settings)
    _model, f, optimizer = learner(OPTIMIZERS["SGD"])
    calls, step = [], optimizer.step
    optimizer.step = lambda: (calls.append(1), step())
    f.train(optimizer, X.tolist(), y.tolist(), epochs=3, batch_size=10)
    assert len(calls) == 9


def test_the_callback_sees_and_changes_everything():
    X, y = examples()
    model, f, optimizer = learner(OPTIMIZERS["Adam"])
    other, g, theirs = learner(OPTIMIZERS["Adam"])
    seen = []

    def callback(epoch, loss):
        seen.append((epoch, loss, model.vector().tolist(), optimizer.state[0]["step"]))
        model.layers[0].neurons[0].b.data = float(epoch)
        optimizer.param_groups[0]["lr"] *= 0.5
        if epoch == 2:
            model.layers[0].neurons[1].b = Value(0.5)     # no parameter of the optimizer any more
        return np.bool_(epoch == 4)

    losses = f.train(optimizer, X, y, epochs=9, batch_size=10, seed=0, callback=callback)
    rng = random.Random(0)
    for epoch in range(5):
        (loss,) = by_hand(g, theirs, X, y, batch_size=10, seed=rng)
        assert seen[epoch] == (epoch, loss, other.vector().tolist(), 3 * epoch + 3)
        assert losses[epoch] == loss
        other.layers[0].neurons[0].b.data = float(epoch)
        theirs.param_groups[0]["lr"] *= 0.5
        if epoch == 2:
            other.layers[0].neurons[1].b = Value(0.5)
    assert len(losses) == len(seen) == 5
    assert numbers(model, optimizer) == numbers(other, theirs)


def test_what_is_not_finite_stops_before_the_update():
    w, v = Value(1.0), Value(2.0)
    f = compile(lambda x: w * x + v)
    optimizer = SGD([w, v], lr=0.25, momentum=0.5)
    x = np.array([1.0, 2.0, np.inf, 1.0])
    with pytest.raises(FloatingPointError, match="loss became inf"):
        f.train(optimizer, x, batch_size=1, shuffle=False)
    assert (w.data, v.data, optimizer.state[0]["step"]) == (1 - 0.25 - 0.625, 2 - 0.25 - 0.375, 2)
    assert w.grad == math.inf
    root = compile(lambda x: (w * x).sqrt())
    before = w.data, v.data, copy.deepcopy(optimizer.state)
    with pytest.raises(FloatingPointError, match="gradient of a parameter became nan"):
        root.train(optimizer, np.zeros(2))
    assert (w.data, v.data) == before[:2]
    assert optimizer.state[0]["step"] == before[2][0]["step"]
    w.register_hook(lambda g: None)
    with pytest.raises(FloatingPointError, match="gradient of a parameter became nan"):
        root.train(optimizer, np.zeros(2))


def test_a_view_and_a_compiled_function_see_what_was_trained():
    X, y = examples()
    model, f, optimizer = learner(OPTIMIZERS["SGD"])
    theta, before = model.vector(), f.mean(X, y).data
    f.train(optimizer, X, y, epochs=10)
    assert f.mean(X, y).data < before
    assert theta.tolist() == [p.data for p in model.parameters()]


def test_ctrl_c_ends_after_a_whole_step(ctrl_c):
    X, y = examples()
    model, f, optimizer = learner(OPTIMIZERS["Adam"])
    f.train(optimizer, X, y)
    timer = threading.Timer(0.1, signal.raise_signal, [signal.SIGINT])
    timer.start()
    begin = time.perf_counter()
    with pytest.raises(KeyboardInterrupt):
        f.train(optimizer, X, y, epochs=10**9, batch_size=5, seed=0)
    timer.join()
    assert time.perf_counter() - begin < 5
    steps = optimizer.state[0]["step"]
    other, g, theirs = learner(OPTIMIZERS["Adam"])
    g.train(theirs, X, y)
    count = (steps - 1) // 5
    g.train(theirs, X, y, epochs=max(count, 1), batch_size=5, seed=0) if count else None
    assert steps > 100
    assert theirs.state[0]["step"] <= steps < theirs.state[0]["step"] + 5
    if theirs.state[0]["step"] == steps:
        assert numbers(model, optimizer) == numbers(other, theirs)


def test_within_no_grad_and_while_recording():
    from microgradc import detect_anomaly, no_grad

    X, y = examples()
    found = []
    for context in (None, no_grad, detect_anomaly):
        model, f, optimizer = learner(OPTIMIZERS["Adam"])
        if context is None:
            losses = f.train(optimizer, X, y, epochs=2)
        else:
            with context():
                losses = f.train(optimizer, X, y, epochs=2)
        found.append((losses.tolist(), numbers(model, optimizer)))
    assert found[0] == found[1] == found[2]
    outer = compile(lambda x: f.train(optimizer, X, y) and x)
    with pytest.raises(CompileError, match=r"f\.train"):
        outer(1.0)


def test_wrong_arguments():
    X, y = examples()
    model, f, optimizer = learner(OPTIMIZERS["SGD"])
    before = numbers(model, optimizer)
    for error, arguments in [
        (TypeError, {"optimizer": model}),
        (ValueError, {"epochs": 0}),
        (TypeError, {"epochs": 1.5}),
        (ValueError, {"batch_size": 0}),
        (TypeError, {"shuffle": 2}),
        (TypeError, {"seed": "a", "batch_size": 3}),
        (TypeError, {"seed": "a"}),
        (TypeError, {"optimizer": SGD}),
        (TypeError, {"schedule": 3}),
        (TypeError, {"schedule": StepLR}),
        (ValueError, {"schedule": StepLR(SGD([Value(1.0)]), 2)}),
        (ValueError, {"schedule_every": "batch"}),
        (ValueError, {"clip_norm": -1}),
        (TypeError, {"callback": 3}),
        (TypeError, {"epoch": 3}),
    ]:
        with pytest.raises(error):
            f.train(arguments.pop("optimizer", optimizer), X, y, **arguments)
    with pytest.raises(ValueError, match="one row for each example"):
        f.train(optimizer, X, y[:3])
    with pytest.raises(ValueError, match="one Value"):
        compile(lambda x: [model(x), model(x)]).train(optimizer, X)
    optimizer.param_groups[0]["lr"] = -1
    with pytest.raises(ValueError, match="lr"):
        f.train(optimizer, X, y)
    optimizer.param_groups[0]["lr"] = before[3][0]
    assert numbers(model, optimizer) == before
