"""Learning rates are PyTorch's, over 100 epochs; going on after a break gives what going on without it gives."""

import copy
import json
import math
import pickle

import pytest

from microgradc import Value, optim
from microgradc.optim import SGD

EPOCHS = 100
SCHEDULES = [
    ("StepLR", {"step_size": 7}),
    ("StepLR", {"step_size": 1, "gamma": 0.97}),
    ("StepLR", {"step_size": 30, "gamma": 1.5}),
    ("LinearLR", {}),
    ("LinearLR", {"start_factor": 1.0, "end_factor": 0.0, "total_iters": 90}),
    ("LinearLR", {"start_factor": 0.01, "end_factor": 0.3, "total_iters": 1}),
    ("LinearLR", {"start_factor": 0.2, "total_iters": 200}),
    ("CosineAnnealingLR", {"T_max": 100}),
    ("CosineAnnealingLR", {"T_max": 13, "eta_min": 0.02}),
    ("CosineAnnealingLR", {"T_max": 1, "eta_min": 0.02}),
    ("CosineAnnealingLR", {"T_max": 20, "eta_min": 1.0}),
    ("ExponentialLR", {"gamma": 0.95}),
    ("ExponentialLR", {"gamma": 0.0}),
    ("ExponentialLR", {"gamma": 1.02}),
    ("MultiStepLR", {"milestones": [3, 7, 60]}),
    ("MultiStepLR", {"milestones": [0, 5, 5, 6], "gamma": 0.5}),
    ("MultiStepLR", {"milestones": (), "gamma": 0.5}),
    ("CosineAnnealingWarmRestarts", {"T_0": 10}),
    ("CosineAnnealingWarmRestarts", {"T_0": 1, "eta_min": 0.02}),
    ("CosineAnnealingWarmRestarts", {"T_0": 3, "T_mult": 2, "eta_min": 0.02}),
    ("CosineAnnealingWarmRestarts", {"T_0": 1, "T_mult": 3}),
    ("SequentialLR", {"schedulers": [("LinearLR", {}), ("StepLR", {"step_size": 3})], "milestones": [9]}),
    (
        "SequentialLR",
        {
            "schedulers": [
                ("MultiStepLR", {"milestones": [0, 2]}),
                ("CosineAnnealingLR", {"T_max": 13}),
                ("LambdaLR", {"lr_lambda": lambda epoch: 0.9**epoch}),
                ("ExponentialLR", {"gamma": 0.97}),
                ("CosineAnnealingWarmRestarts", {"T_0": 3, "T_mult": 2}),
            ],
            "milestones": [5, 30, 31, 40],
        },
    ),
    (
        "SequentialLR",
        {"schedulers": [("CosineAnnealingWarmRestarts", {"T_0": 4}), ("LinearLR", {})], "milestones": [6]},
    ),
    ("SequentialLR", {"schedulers": [("LinearLR", {}), ("ExponentialLR", {"gamma": 0.5})], "milestones": [0]}),
    ("SequentialLR", {"schedulers": [("StepLR", {"step_size": 2})], "milestones": []}),
    ("LambdaLR", {"lr_lambda": lambda epoch: 0.95**epoch}),
    ("LambdaLR", {"lr_lambda": lambda epoch: max(0, 1 - epoch / 50)}),
    ("LambdaLR", {"lr_lambda": [lambda epoch: epoch // 10, lambda epoch: 1 / (1 + epoch)]}),
]
KINDS = {name for name, _ in SCHEDULES}
schedules = pytest.mark.parametrize(("name", "arguments"), SCHEDULES, ids=lambda x: x if isinstance(x, str) else None)


def test_every_schedule_has_cases():
    classes = {name: thing for name, thing in vars(optim).items() if isinstance(thing, type)}
    kinds = {name for name, thing in classes.items() if issubclass(thing, optim.lr_scheduler.LRScheduler)}
    assert kinds == KINDS | {"ReduceLROnPlateau"}
    assert set(optim.lr_scheduler.__all__) == kinds | {"LRScheduler"}


def add(optimizer, package, name, arguments):
    if "schedulers" in arguments:
        parts = [add(optimizer, package, *part) for part in arguments["schedulers"]]
        arguments = {**arguments, "schedulers": parts}
    return getattr(package, name)(optimizer, **arguments)


def make_optimizer():
    """Our optimizer, of two groups."""
    return SGD([{"params": [Value(1.0)]}, {"params": [Value(2.0)], "lr": 0.3}], lr=0.1)


def make(name, arguments):
    """Our optimizer and schedule."""
    optimizer = make_optimizer()
    return optimizer, add(optimizer, optim.lr_scheduler, name, arguments)


def make_torch(name, arguments):
    torch = pytest.importorskip("torch", reason="compares with PyTorch")
    a, b = (torch.nn.Parameter(torch.zeros(1, dtype=torch.float64)) for _ in range(2))
    optimizer = torch.optim.SGD([{"params": [a]}, {"params": [b], "lr": 0.3}], lr=0.1)
    return optimizer, add(optimizer, torch.optim.lr_scheduler, name, arguments)


def rates(optimizer):
    return [group["lr"] for group in optimizer.param_groups]


@schedules
def test_rates(name, arguments):
    (ours, our_schedule), (theirs, their_schedule) = make(name, arguments), make_torch(name, arguments)
    assert [g["initial_lr"] for g in ours.param_groups] == [g["initial_lr"] for g in theirs.param_groups] == [0.1, 0.3]
    for epoch in range(EPOCHS):
        # PyTorch goes from one rate to the next; near the lowest point of the cosine, rounding adds up to a few 1e-16.
        assert rates(ours) == pytest.approx(rates(theirs), rel=1e-12, abs=1e-15)
        assert our_schedule.get_last_lr() == rates(ours)
        assert our_schedule.last_epoch == their_schedule.last_epoch == epoch
        for optimizer in (ours, theirs):
            optimizer.step()
        for schedule in (our_schedule, their_schedule):
            schedule.step()


@schedules
@pytest.mark.parametrize("epochs", [0, 1, 6, 7, 40])
def test_going_on(name, arguments, epochs):
    """With last_epoch, or the state of the schedule, next to the optimizer's; the states go through JSON."""
    optimizer, schedule = make(name, arguments)
    for _ in range(epochs):
        schedule.step()
    saved = schedule.state_dict()
    saved_optimizer = json.loads(json.dumps(optimizer.state_dict()))
    by_state, schedule_by_state = make(name, arguments)
    by_state.load_state_dict(saved_optimizer)
    schedule_by_state.load_state_dict(json.loads(json.dumps(saved)))
    assert rates(by_state) == rates(optimizer)
    assert schedule_by_state.get_last_lr() == schedule.get_last_lr()
    by_epoch = make_optimizer()
    by_epoch.load_state_dict(saved_optimizer)
    schedule_by_epoch = add(by_epoch, optim, name, {**arguments, "last_epoch": epochs - 1})
    for _ in range(30):
        assert rates(by_epoch) == rates(by_state) == rates(optimizer)
        for each in (schedule, schedule_by_state, schedule_by_epoch):
            each.step()
    assert saved["last_epoch"] == epochs


def follow(ours, theirs, our_schedules, their_schedules, epochs=30):
    for _ in range(epochs):
        # abs: a cosine's lowest rate is what rounding leaves of it
        assert rates(ours) == pytest.approx(rates(theirs), rel=1e-12, abs=1e-16)
        theirs.step()
        for schedule in (*our_schedules, *their_schedules):
            schedule.step()


PAIRED = [
    ("StepLR", {"step_size": 7, "gamma": 0.5}),
    ("StepLR", {"step_size": 1, "gamma": 0.97}),
    ("LinearLR", {"start_factor": 0.25, "total_iters": 9}),
    ("LinearLR", {"start_factor": 1.0, "end_factor": 0.0, "total_iters": 20}),
    ("CosineAnnealingLR", {"T_max": 60}),
    ("CosineAnnealingLR", {"T_max": 13, "eta_min": 0.02}),
    ("CosineAnnealingLR", {"T_max": 1}),
    ("LambdaLR", {"lr_lambda": lambda epoch: 0.95**epoch}),
    ("ExponentialLR", {"gamma": 0.95}),
    ("MultiStepLR", {"milestones": [0, 4, 4, 9], "gamma": 0.5}),
    ("CosineAnnealingWarmRestarts", {"T_0": 4, "T_mult": 2}),
]


@pytest.mark.parametrize("second", PAIRED, ids=lambda p: p[0])
@pytest.mark.parametrize("first", PAIRED, ids=lambda p: p[0])
def test_two_schedules_are_those_of_pytorch(first, second):
    (ours, our_first), (theirs, their_first) = make(*first), make_torch(*first)
    package = pytest.importorskip("torch", reason="compares with PyTorch").optim.lr_scheduler
    our_second, their_second = add(ours, optim, *second), add(theirs, package, *second)
    follow(ours, theirs, (our_first, our_second), (their_first, their_second))


def test_three_schedules_and_one_that_comes_later():
    package = pytest.importorskip("torch", reason="compares with PyTorch").optim.lr_scheduler
    (ours, our_first), (theirs, their_first) = make(*PAIRED[0]), make_torch(*PAIRED[0])
    our_schedules, their_schedules = [our_first], [their_first]
    for name, arguments in (PAIRED[2], PAIRED[4]):
        follow(ours, theirs, our_schedules, their_schedules, 8)
        our_schedules.append(add(ours, optim, name, arguments))
        their_schedules.append(add(theirs, package, name, arguments))
    follow(ours, theirs, our_schedules, their_schedules)


FACTORS = [
    (("StepLR", {"step_size": 3, "gamma": 0.5}), lambda k: 0.5 ** (k // 3)),
    (("LinearLR", {"start_factor": 0.2, "total_iters": 8}), lambda k: min(1.0, 0.2 + 0.8 * k / 8)),
    (("CosineAnnealingLR", {"T_max": 50}), lambda k: (1 + math.cos(math.pi * k / 50)) / 2),
]


@pytest.mark.parametrize("second", FACTORS, ids=lambda p: p[0][0])
@pytest.mark.parametrize("first", FACTORS, ids=lambda p: p[0][0])
def test_factors_multiply(first, second):
    optimizer, schedule = make(*first[0])
    other = add(optimizer, optim, *second[0])
    for k in range(30):
        product = first[1](k) * second[1](k)
        assert rates(optimizer) == pytest.approx([0.1 * product, 0.3 * product], rel=1e-12)
        schedule.step()
        other.step()


def test_a_rate_set_by_hand_lasts_until_the_next_step_of_one_of_two_schedules():
    optimizer, schedule = make("StepLR", {"step_size": 2})
    other = add(optimizer, optim, "StepLR", {"step_size": 3})
    optimizer.param_groups[0]["lr"] = 7.0
    schedule.step()
    assert rates(optimizer) == [0.1, 0.3]
    other.step()
    assert rates(optimizer) == [0.1, 0.3]


@pytest.mark.parametrize("epochs", [1, 7, 12])
@pytest.mark.parametrize(
    "copied", [copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x)), None, "by epoch", "by epoch, loaded"]
)
def test_two_schedules_go_on(epochs, copied):
    kinds = [PAIRED[0], PAIRED[2]]     # for a cosine with eta_min, only a state that is loaded has the exact rate
    optimizer, schedule = make(*kinds[0])
    schedules = [schedule, add(optimizer, optim, *kinds[1])]
    for _ in range(epochs):
        for each in schedules:
            each.step()
    if copied == "by epoch":
        again = make_optimizer()
        for group in again.param_groups:
            group["initial_lr"] = group["lr"]
        restored = [add(again, optim, name, {**arguments, "last_epoch": epochs - 1}) for name, arguments in kinds]
    elif copied == "by epoch, loaded":
        again = make_optimizer()
        again.load_state_dict(optimizer.state_dict())
        restored = [add(again, optim, name, {**arguments, "last_epoch": epochs - 1}) for name, arguments in kinds]
    elif copied:
        again, restored = copied((optimizer, schedules))
    else:
        again, first = make(*kinds[0])
        restored = [first, add(again, optim, *kinds[1])]
        again.load_state_dict(optimizer.state_dict())
        for each, old in zip(restored, schedules, strict=True):
            each.load_state_dict(old.state_dict())
    for _ in range(15):
        assert rates(again) == pytest.approx(rates(optimizer), rel=1e-12)
        for each in (*schedules, *restored):
            each.step()


def test_a_group_that_was_added_before_the_second_schedule():
    optimizer, _ = make("StepLR", {"step_size": 2})
    optimizer.add_param_group({"params": [Value(1.0)], "lr": 0.5})
    add(optimizer, optim, "LinearLR", {"start_factor": 0.5})
    assert rates(optimizer) == [0.05, 0.15, 0.25]


def test_a_rate_of_0_leaves_the_parameters():
    optimizer, schedule = make("LinearLR", {"start_factor": 1.0, "end_factor": 0.0, "total_iters": 3})
    v = optimizer.param_groups[0]["params"][0]
    seen = []
    for _ in range(6):
        v.grad = 1.0
        optimizer.step()
        schedule.step()
        seen.append(v.data)
    assert seen[1] > seen[2] == seen[3] == seen[5]


def test_lists_are_copies():
    optimizer, schedule = make("StepLR", {"step_size": 1})
    schedule.get_last_lr().append(3)
    schedule.state_dict()["base_lrs"].append(3)
    state = schedule.state_dict()
    schedule.load_state_dict(state)
    state["base_lrs"].append(3)
    schedule.step()
    assert len(schedule.get_last_lr()) == len(schedule.base_lrs) == len(optimizer.param_groups)


@pytest.mark.parametrize(
    ("name", "arguments", "error", "message"),
    [
        ("StepLR", {"step_size": 0}, ValueError, "step_size must be a positive integer, got 0"),
        ("StepLR", {"step_size": 2.5}, TypeError, "step_size must be a positive integer, got 2.5"),
        ("StepLR", {"step_size": 2, "gamma": math.nan}, ValueError, "gamma must be at least 0 and finite, got nan"),
        ("StepLR", {"step_size": 2, "gamma": "0.1"}, TypeError, "gamma must be a real number, got str '0.1'"),
        (
            "StepLR",
            {"step_size": 2, "last_epoch": -2},
            ValueError,
            "last_epoch must be an integer of at least -1, got -2",
        ),
        (
            "StepLR",
            {"step_size": 2, "last_epoch": 3},
            ValueError,
            r"param_groups\[0\] has no 'initial_lr'.*load the optimizer's state",
        ),
        ("ExponentialLR", {"gamma": -1}, ValueError, "gamma must be at least 0"),
        ("MultiStepLR", {"milestones": 5}, TypeError, r"milestones must be a list of epochs, such as .*, got 5"),
        ("MultiStepLR", {"milestones": [5, 4]}, ValueError, r"milestones must be in their order, got \[5, 4\]"),
        ("MultiStepLR", {"milestones": [-1]}, ValueError, r"milestones\[0\] must be an integer of at least 0"),
        ("CosineAnnealingWarmRestarts", {"T_0": 0}, ValueError, "T_0 must be a positive integer"),
        ("CosineAnnealingWarmRestarts", {"T_0": 2, "T_mult": 1.5}, TypeError, "T_mult must be a positive integer"),
        ("ReduceLROnPlateau", {"mode": "best"}, ValueError, "mode must be 'min' or 'max', got 'best'"),
        ("ReduceLROnPlateau", {"factor": 1.0}, ValueError, r"factor must be in \[0, 1\), got 1.0"),
        ("ReduceLROnPlateau", {"patience": -1}, ValueError, "patience must be an integer of at least 0"),
        ("ReduceLROnPlateau", {"threshold_mode": None}, TypeError, "threshold_mode must be 'rel' or 'abs'"),
        ("ReduceLROnPlateau", {"min_lr": [0.1]}, ValueError, "min_lr must be a list of 2 numbers"),
        ("LinearLR", {"start_factor": 0}, ValueError, r"start_factor must be in \(0, 1\], got 0"),
        ("LinearLR", {"end_factor": 1.5}, ValueError, r"end_factor must be in \[0, 1\], got 1.5"),
        ("LinearLR", {"total_iters": 0}, ValueError, "total_iters must be a positive integer"),
        ("CosineAnnealingLR", {"T_max": 0}, ValueError, "T_max must be a positive integer"),
        ("CosineAnnealingLR", {"T_max": 5, "eta_min": -1}, ValueError, "eta_min must be at least 0"),
        (
            "LambdaLR",
            {"lr_lambda": 0.5},
            TypeError,
            "lr_lambda must be a function of the epoch, or a list of them, got 0.5",
        ),
        ("LambdaLR", {"lr_lambda": [len]}, ValueError, "lr_lambda must have 2 functions, one for each group, got 1"),
        (
            "LambdaLR",
            {"lr_lambda": lambda epoch: "x"},
            TypeError,
            "the factor that lr_lambda returned for epoch 0 must be a real number",
        ),
        (
            "LambdaLR",
            {"lr_lambda": lambda epoch: math.inf},
            ValueError,
            "lr_lambda returned for epoch 0 must be at least 0",
        ),
    ],
)
def test_errors(name, arguments, error, message):
    optimizer, _ = make("StepLR", {"step_size": 5})
    for group in optimizer.param_groups:
        del group["initial_lr"]
    with pytest.raises(error, match=message):
        getattr(optim, name)(optimizer, **arguments)
    assert rates(optimizer) == [0.1, 0.3]
    assert "initial_lr" not in optimizer.param_groups[0]


def test_no_optimizer():
    for bad in (None, [Value(1.0)], "SGD"):
        with pytest.raises(TypeError, match="optimizer must be an optimizer, such as SGD"):
            optim.StepLR(bad, 3)
        with pytest.raises(TypeError, match="optimizer must be an optimizer"):
            optim.LambdaLR(bad, lambda epoch: 1)


def test_a_failing_step_changes_nothing():
    def fails(epoch):
        if epoch == 2:
            raise RuntimeError("no rate")
        return 1 / (1 + epoch)

    optimizer, schedule = make("LambdaLR", {"lr_lambda": [lambda epoch: 1 / (1 + epoch), fails]})
    schedule.step()
    before = rates(optimizer), schedule.state_dict()
    with pytest.raises(RuntimeError, match="no rate"):
        schedule.step()
    assert (rates(optimizer), schedule.state_dict()) == before
    optimizer.add_param_group({"params": [Value(1.0)]})
    with pytest.raises(ValueError, match="the optimizer has 3 groups, 2 when the schedule was made"):
        schedule.step()


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"last_epoch": -3}, ValueError, "last_epoch must be"),
        ({"last_epoch": "1"}, TypeError, "last_epoch must be"),
        ({"base_lrs": [0.1]}, ValueError, "base_lrs must be a list of 2 numbers"),
        ({"base_lrs": (0.1, 0.3)}, TypeError, "base_lrs must be a list of 2 numbers"),
        ({"_last_lr": [0.1, None]}, TypeError, r"_last_lr\[1\] must be a real number"),
        ({"gamma": "x"}, TypeError, "gamma must be a real number"),
        ({"step_size": 0}, ValueError, "step_size must be a positive integer"),
        ({"T_max": 3}, ValueError, "state_dict must be a dict with"),
        (None, TypeError, "state_dict must be a dict with"),
    ],
)
def test_states_that_do_not_fit(change, error, message):
    _, schedule = make("StepLR", {"step_size": 5})
    before = schedule.state_dict()
    with pytest.raises(error, match=message):
        schedule.load_state_dict(change and {**before, **change})
    assert schedule.state_dict() == before
