"""Schedules that go by a metric, and those one after another: PyTorch's rates and states."""

import json
import math
import random

import pytest
from test_lr_scheduler import PAIRED, SCHEDULES, add, follow, make, make_optimizer, make_torch, rates

from microgradc import Value, optim

# ReduceLROnPlateau

PLATEAUS = [
    {},
    {"patience": 0, "factor": 0.5},
    {"patience": 2, "factor": 0.3, "threshold": 0.1, "cooldown": 3},
    {"mode": "max", "patience": 1, "factor": 0.9},
    {"mode": "max", "patience": 1, "factor": 0.9, "threshold": 0.05, "threshold_mode": "abs", "min_lr": 0.05},
    {"patience": 1, "factor": 0.5, "threshold": 0.2, "threshold_mode": "abs", "min_lr": [0.01, 0.2], "eps": 1e-3},
    {"patience": 0, "factor": 0.0},
]


def metrics():
    """A loss that falls, with noise, a rise, and what is not finite."""
    rng = random.Random(0)
    yield from (2.0 / (1 + k) + 0.1 * rng.random() for k in range(50))
    yield from (0.5, math.nan, math.inf, -1.0, -1.0, math.nan)
    yield from (0.05 * k + rng.random() for k in range(44))


@pytest.mark.parametrize("arguments", PLATEAUS, ids=str)
def test_plateaus(arguments):
    (ours, our_schedule), (theirs, their_schedule) = (f("ReduceLROnPlateau", arguments) for f in (make, make_torch))
    for epoch, metric in enumerate(metrics()):
        assert rates(ours) == our_schedule.get_last_lr() == pytest.approx(rates(theirs), rel=1e-12)
        assert our_schedule.last_epoch == epoch
        our_schedule.step(Value(metric) if epoch % 2 else metric)
        their_schedule.step(metric)
        assert our_schedule.in_cooldown == their_schedule.in_cooldown
        if epoch == 40:     # on from the states, through JSON
            saved = json.loads(json.dumps([ours.state_dict(), our_schedule.state_dict()]))
            ours, our_schedule = make("ReduceLROnPlateau", {})
            ours.load_state_dict(saved[0])
            our_schedule.load_state_dict(saved[1])
    state = our_schedule.state_dict()
    assert state == {key: pytest.approx(their_schedule.state_dict()[key]) for key in state}
    assert epoch == 99


def test_a_plateau_next_to_another_schedule():
    pairs = [(f(*PAIRED[0]), package) for f, package in ((make, optim), (make_torch, None))]
    torch = pytest.importorskip("torch", reason="compares with PyTorch")
    optimizers, plateaus = [], []
    for (optimizer, schedule), package in pairs:
        package = package or torch.optim.lr_scheduler
        plateau = add(optimizer, package, "ReduceLROnPlateau", {"patience": 1, "factor": 0.5})
        optimizers.append(optimizer)
        plateaus.append((schedule, plateau))
    for metric in metrics():
        assert rates(optimizers[0]) == pytest.approx(rates(optimizers[1]), rel=1e-12)
        optimizers[1].step()
        for schedule, plateau in plateaus:
            schedule.step()
            plateau.step(metric)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"best": "x"}, TypeError, "best must be a real number"),
        ({"num_bad_epochs": -1}, ValueError, "num_bad_epochs must be"),
        ({"min_lrs": [0.1]}, ValueError, "min_lrs must be a list of 2 numbers"),
        ({"_last_lr": 3}, TypeError, "_last_lr must be a list of 2 numbers"),
        ({"gamma": 3}, ValueError, "state_dict must be a dict with"),
    ],
)
def test_states_of_a_plateau_that_do_not_fit(change, error, message):
    _, schedule = make("ReduceLROnPlateau", {})
    before = schedule.state_dict()
    with pytest.raises(error, match=message):
        schedule.load_state_dict({**before, **change})
    assert schedule.state_dict() == before


def test_a_group_that_comes_after_the_plateau():
    for min_lr, error in ((0.01, None), ([0.01, 0.02], ValueError)):
        optimizer, schedule = make("ReduceLROnPlateau", {"patience": 0, "factor": 0.5, "min_lr": min_lr})
        optimizer.add_param_group({"params": [Value(1.0)], "lr": 1.0})
        schedule.step(1.0)
        if error:
            with pytest.raises(error, match="3 groups, min_lr had 2"):
                schedule.step(1.0)
            assert schedule.last_epoch == 1
        else:
            schedule.step(1.0)
            assert rates(optimizer) == [0.05, 0.15, 0.5]


def test_a_metric_is_a_number():
    _, schedule = make("ReduceLROnPlateau", {})
    with pytest.raises(TypeError, match="metrics must be a real number"):
        schedule.step("x")


# SequentialLR


def test_the_epochs_of_those_in_a_sequence():
    name, arguments = next(case for case in SCHEDULES if len(case[1].get("schedulers", ())) == 5)
    (_, our_schedule), (theirs, their_schedule) = make(name, arguments), make_torch(name, arguments)
    for _ in range(60):
        expected = [part.last_epoch for part in their_schedule._schedulers]
        assert [part.last_epoch for part in our_schedule._schedulers] == expected
        theirs.step()
        our_schedule.step()
        their_schedule.step()
    assert our_schedule.state_dict()["_milestones"] == their_schedule.state_dict()["_milestones"]


def test_a_sequence_next_to_another_schedule():
    name, arguments = next(case for case in SCHEDULES if len(case[1].get("schedulers", ())) == 2)
    (ours, our_schedule), (theirs, their_schedule) = make(name, arguments), make_torch(name, arguments)
    package = pytest.importorskip("torch", reason="compares with PyTorch").optim.lr_scheduler
    other, their_other = add(ours, optim, *PAIRED[0]), add(theirs, package, *PAIRED[0])
    follow(ours, theirs, (our_schedule, other), (their_schedule, their_other))


def test_a_sequence_in_a_sequence():
    optimizer = make_optimizer()
    inner = optim.SequentialLR(optimizer, [optim.ExponentialLR(optimizer, 0.5), optim.StepLR(optimizer, 1, 0.1)], [2])
    outer = optim.SequentialLR(optimizer, [optim.LinearLR(optimizer, 0.5, total_iters=2), inner], [3])
    found = []
    for _ in range(8):
        found.append(rates(optimizer)[0] / 0.1)
        outer.step()
    assert found == pytest.approx([0.5, 0.75, 1.0, 1.0, 0.5, 1.0, 0.1, 0.01])
    assert inner.last_epoch == 5


def test_sequences_that_are_refused():
    optimizer = make_optimizer()
    step, plateau = optim.StepLR(optimizer, 3), optim.ReduceLROnPlateau(optimizer)
    other = optim.StepLR(make_optimizer(), 3)
    for schedulers, milestones, error, message in (
        ([step, 3], [1], TypeError, r"schedulers\[1\] must be a schedule, .*got 3"),
        ([step, plateau], [1], ValueError, r"schedulers\[1\] .* ReduceLROnPlateau, which takes a metric"),
        ([step, other], [1], ValueError, r"schedulers\[1\] is another optimizer's"),
        ([step, step], [1], ValueError, r"schedulers\[1\] comes twice"),
        ([], [], ValueError, "at least one schedule"),
        ([step], [1], ValueError, "milestones must be one less than the 1 schedulers, got 1"),
        ([step, optim.StepLR(optimizer, 4)], [-1], ValueError, r"milestones\[0\] must be"),
    ):
        before = rates(optimizer)
        with pytest.raises(error, match=message):
            optim.SequentialLR(optimizer, schedulers, milestones)
        assert rates(optimizer) == before
    assert optimizer._schedules == 3


def test_warm_restarts_within_an_epoch():
    arguments = {"T_0": 3, "T_mult": 2, "eta_min": 0.01}
    name = "CosineAnnealingWarmRestarts"
    (ours, our_schedule), (theirs, their_schedule) = make(name, arguments), make_torch(name, arguments)
    for epoch in (0.25, 0.5, 2.75, None, None, 7.5, 26, None, 1.5, None, None, 22, 8.999):
        theirs.step()
        for schedule in (our_schedule, their_schedule):
            schedule.step(epoch)
        assert rates(ours) == pytest.approx(rates(theirs), rel=1e-12)
        assert our_schedule.last_epoch == their_schedule.last_epoch
        assert our_schedule.T_i == their_schedule.T_i
        assert our_schedule.T_cur == pytest.approx(their_schedule.T_cur)
    again, going_on = make(name, arguments)
    going_on.load_state_dict(json.loads(json.dumps(our_schedule.state_dict())))
    for each in (our_schedule, going_on):
        each.step()
    assert rates(again) == rates(ours)
    with pytest.raises(ValueError, match="epoch must be at least 0"):
        going_on.step(-1)
