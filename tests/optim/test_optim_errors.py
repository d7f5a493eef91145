"""Optimizers refuse what they cannot use before anything changes; states survive a break; no leak, no crash."""

import array
import copy
import math
import pickle
import random

import numpy as np
import pytest
from memory_use import MEASURE, linux_only

import microgradc
from microgradc import Value, nn, optim
from microgradc.engine.value import zero_grad
from microgradc.optim import updates

OPTIMIZERS = [
    (optim.SGD, {}),
    (optim.SGD, {"momentum": 0.9}),
    (optim.Adam, {"amsgrad": True}),
    (optim.AdamW, {}),
    (optim.RMSprop, {"centered": True, "momentum": 0.5}),
    (optim.Adagrad, {"initial_accumulator_value": 0.5}),
    (optim.NAdam, {}),
]
optimizers = pytest.mark.parametrize(
    ("kind", "settings"), OPTIMIZERS, ids=lambda x: getattr(x, "__name__", None) or ",".join(x) or "-"
)


def three():
    values = [Value(1.0), Value(2.0), Value(3.0)]
    for i, v in enumerate(values):
        v.grad = 0.5 - i
    return values


v, w = Value(1.0), Value(2.0)
BAD_PARAMS = [
    ([], ValueError, r"params is empty.*a generator that was used up.*pass model.parameters\(\) anew, or a list"),
    (iter(()), ValueError, "params is empty"),
    (v, TypeError, r"got a single Value; pass a list, \[value\]"),
    ("ab", TypeError, "params must be an iterable of Values, such as .*, got str 'ab'"),
    (None, TypeError, "got NoneType None"),
    (3, TypeError, "got int 3"),
    (nn.MLP(2, [1]), TypeError, r"such as model.parameters\(\), .* got MLP MLP of"),
    (nn.MLP(2, [1]).parameters, TypeError, "got method"),
    ({"w": v}, TypeError, r"got a dict; pass \[group\] for one group, list\(d.values\(\)\)"),
    ({"params": [v]}, TypeError, r"got a dict; pass \[group\]"),
    ({v, w}, TypeError, "got a set, which has no order"),
    ([v, 3.0], TypeError, r"params\[1\] must be a Value, got float 3.0"),
    ([v, None], TypeError, r"params\[1\] must be a Value, got None"),
    ([[v]], TypeError, r"params\[0\] must be a Value, got list"),
    (microgradc.array([[1.0]]), TypeError, r"params\[0\] must be a Value, got numpy.ndarray .*list\(array.flat\)"),
    ([v, {"params": [w]}], TypeError, r"params\[1\] must be a Value, got dict"),
    ([{"params": [v]}, w], TypeError, "a group must be a dict with 'params'"),
    ([{"lr": 0.1}], TypeError, "a group must be a dict with 'params'"),
    ([{"params": []}], ValueError, "params is empty"),
    ([{"params": v}], TypeError, "got a single Value"),
    ([v, v * w], ValueError, r"params\[1\] must be a leaf, .* got the result of '\*'"),
    ([Value(1.0, (v,))], ValueError, r"params\[0\] must be a leaf"),
    ([v, w, v], ValueError, r"params\[2\] is in the optimizer already, in the same list, params\[0\]"),
    (
        [{"params": [v]}, {"params": [w, v]}],
        ValueError,
        r"params\[1\] is in the optimizer already, in param_groups\[0\]",
    ),
]


@pytest.mark.parametrize(("params", "error", "message"), BAD_PARAMS)
def test_parameters(params, error, message):
    with pytest.raises(error, match=message):
        optim.Adam(params)


NUMBER_ERRORS = [*((x, TypeError) for x in ("x", None, 1j, [1.0])), (math.nan, ValueError), (math.inf, ValueError)]
BAD_SETTINGS = [
    *[(optim.SGD, {name: x}, e) for name in ("lr", "momentum", "dampening", "weight_decay") for x, e in NUMBER_ERRORS],
    *[(optim.RMSprop, {name: x}, e) for name in ("lr", "alpha", "eps", "momentum") for x, e in NUMBER_ERRORS],
    *[(kind, {"lr": lr}, ValueError) for kind, _ in OPTIMIZERS for lr in (0, -0.1)],
    *[(optim.SGD, {name: -0.1}, ValueError) for name in ("momentum", "weight_decay")],
    *[(optim.RMSprop, {name: -0.1}, ValueError) for name in ("alpha", "eps")],
    (optim.SGD, {"momentum": 9}, ValueError),
    (optim.RMSprop, {"alpha": 1.1}, ValueError),
    *[(optim.Adam, {"betas": x}, ValueError) for x in ((1.0, 0.5), (0.5, 1.0), (-0.1, 0.5), (0.5, math.nan))],
    *[(optim.AdamW, {"betas": x}, TypeError) for x in (0.9, (0.9,), ("a", 0.9), (0.9, 0.99, 0.999), None)],
    *[(optim.SGD, {name: x}, TypeError) for name in ("nesterov", "maximize") for x in ("False", None, 1.0)],
    *[(optim.Adagrad, {name: -0.1}, ValueError) for name in ("lr_decay", "initial_accumulator_value", "eps")],
    *[(optim.NAdam, {"betas": x}, ValueError) for x in ((1.0, 0.5), (0.5, math.nan))],
    (optim.NAdam, {"momentum_decay": -1e-3}, ValueError),
    (optim.NAdam, {"decoupled_weight_decay": 1}, TypeError),
]


@pytest.mark.parametrize(("kind", "settings", "error"), BAD_SETTINGS)
def test_settings(kind, settings, error):
    """At construction, in a group, and when a setting is changed between steps."""
    (name,) = settings
    with pytest.raises(error, match=f"^{name}.* must be "):
        kind([Value(1.0)], **settings)
    values = three()
    optimizer = kind(values)
    with pytest.raises(error, match=f"^{name}.* must be "):
        optimizer.add_param_group({"params": [Value(1.0)], **settings})
    assert len(optimizer.param_groups) == len(optimizer.state) == 1
    if settings == {"lr": 0}:
        return
    optimizer.param_groups[0].update(settings)
    with pytest.raises(error, match=rf"^param_groups\[0\]\['{name}'\].* must be "):
        optimizer.step()
    assert [v.data for v in values] == [1.0, 2.0, 3.0]


def test_nesterov():
    for settings in ({}, {"momentum": 0.5, "dampening": 0.1}):
        with pytest.raises(ValueError, match=r"nesterov needs a momentum, got .*, and no dampening, got"):
            optim.SGD([Value(1.0)], nesterov=True, **settings)


@optimizers
def test_a_learning_rate_of_0(kind, settings):
    values = three()
    optimizer = kind(values, **settings)
    optimizer.param_groups[0]["lr"] = 0
    optimizer.step()
    assert [v.data for v in values] == [1.0, 2.0, 3.0]


CHANGES = [
    (lambda o: o.param_groups[1]["params"].append(3), r"params\[1\] must be a Value, got int 3"),
    (lambda o: o.param_groups[1].update(params=None), r"param_groups\[1\]\['params'\] must be a list"),
    (lambda o: o.param_groups[1].update(params=(v,)), r"param_groups\[1\]\['params'\] must be a list"),
    (lambda o: o.param_groups[1].pop("params"), r"param_groups\[1\]\['params'\] must be a list"),
    (lambda o: o.param_groups[1].update(params=[v * 2]), r"params\[0\] must be a leaf"),
    (lambda o: o.param_groups[1].pop("lr"), r"param_groups\[1\]\['lr'\] is missing"),
    (lambda o: o.param_groups.append({}), "3 param_groups, 2 of them added with add_param_group"),
    (lambda o: o.param_groups.__setitem__(1, [v]), r"param_groups\[1\] must be a dict, got \[Value"),
    (lambda o: o.param_groups.__setitem__(1, {"lr": 1.0}), r"param_groups\[1\]\['params'\] must be a list"),
]
BUFFER_CHANGES = [
    (lambda o: o.param_groups[1]["params"].clear(), "got 1 for 0; was the list of parameters changed"),
    (lambda o: o.param_groups[1]["params"].append(v), "got 1 for 2; was the list of parameters changed"),
]
# Not writable float64 arrays, and arrays of another shape.
BAD_BUFFERS = [(bad, TypeError) for bad in (None, 3, [1.0], b"12345678", bytearray(8), np.frombuffer(bytes(8)))]
BAD_BUFFERS += [(array.array("f", [0.0]), TypeError)]
BAD_BUFFERS += [(np.zeros(1, dtype), TypeError) for dtype in (np.float32, int, ">f8", complex, object, "M8[s]")]
BAD_BUFFERS += [(np.zeros(shape), ValueError) for shape in (2, 0, (1, 1), ())]
BAD_BUFFERS += [(np.zeros(2)[:0], ValueError), (array.array("d", [0.0, 1.0]), ValueError)]


def two_groups(kind, settings):
    """An optimizer that has taken a step, and its parameters."""
    values = three()
    optimizer = kind([{"params": values[:2]}, {"params": values[2:]}], **settings)
    optimizer.step()
    return optimizer, values


def assert_refused(optimizer, values, message, error=(TypeError, ValueError)):
    """A step fails, and nothing has changed, in the first group neither."""
    before = copy.deepcopy(([v.data for v in values], optimizer.state[0]))
    with pytest.raises(error, match=message):
        optimizer.step()
    np.testing.assert_equal(([v.data for v in values], optimizer.state[0]), before)


@optimizers
def test_groups_that_were_changed(kind, settings):
    has_buffers = settings != {} or kind is optim.AdamW
    for change, message in CHANGES + (BUFFER_CHANGES if has_buffers else []):
        optimizer, values = two_groups(kind, settings)
        change(optimizer)
        assert_refused(optimizer, values, message)


@optimizers
def test_states_that_were_changed(kind, settings):
    optimizer, values = two_groups(kind, settings)
    for name in optimizer.state[1].keys() - {"step"}:
        for bad, error in BAD_BUFFERS:
            optimizer, values = two_groups(kind, settings)
            optimizer.state[1][name] = bad
            message = f"{name} must be a writable float64 array with one number for each parameter, got "
            assert_refused(optimizer, values, message, error)
        optimizer.state[1][name] = array.array("d", [0.5])  # any array of doubles will do
        optimizer.step()
    for bad, error in ((-1, ValueError), (1.5, TypeError), (None, TypeError), ("1", TypeError)):
        optimizer.state[1]["step"] = bad
        assert_refused(optimizer, values, r"state\[1\]\['step'\] must be an integer", error)
    optimizer.state[1] = 3
    assert_refused(optimizer, values, r"state\[1\] must be a dict, got 3", TypeError)
    optimizer.state.pop()
    assert_refused(optimizer, values, "2 param_groups, 1 of them added with add_param_group", ValueError)


def test_the_loops_check_for_themselves():
    values = three()
    good = np.zeros(3)
    adam = {"step": 1, "lr": 1, "beta1": 0, "beta2": 0, "eps": 0, "weight_decay": 0, "decay": 1}
    adam["maximize"] = False
    rmsprop = {"lr": 1, "alpha": 0, "eps": 0, "weight_decay": 0, "momentum": 0, "maximize": False}
    sgd = {"lr": 1, "momentum": 1, "dampening": 0, "weight_decay": 0, "nesterov": False, "maximize": False}
    for bad, error in BAD_BUFFERS:
        for i in range(3):
            arguments = [good, good, good]
            arguments[i] = bad
            # None stands for no buffer where there may be none.
            if bad is not None or i < 2:
                with pytest.raises(error, match="must be a writable float64 array"):
                    updates.adam(values, updates.Known(), *arguments, **adam)
            if bad is not None or i < 1:
                with pytest.raises(error, match="must be a writable float64 array"):
                    updates.rmsprop(values, updates.Known(), *arguments, **rmsprop)
        if bad is not None:
            with pytest.raises(error, match="must be a writable float64 array"):
                updates.sgd(values, updates.Known(), bad, False, **sgd)
    for bad in (None, (), "abc", 3, [None], [Value], [1.0], [object()]):
        for call in (
            lambda p: updates.adam(p, updates.Known(), good, good, None, **adam),
            lambda p: updates.rmsprop(p, updates.Known(), good, None, None, **rmsprop),
            lambda p: updates.sgd(p, updates.Known(), None, True, **sgd),
            lambda p: updates.require_parameters(p, {}),
            lambda p: zero_grad(p),
            lambda p: updates.grad_norm(p, 2),
            lambda p: updates.scale_grads(p, 2),
            lambda p: updates.clamp_grads(p, 2),
        ):
            with pytest.raises(TypeError):
                call(bad)
    assert [v.data for v in values] == [1.0, 2.0, 3.0]


@optimizers
def test_a_subclass_is_a_parameter(kind, settings):
    class Parameter(Value):
        __hash__ = None

        def __eq__(self, other):
            return True

    values, others = three(), [Parameter(v.data) for v in three()]
    for v, other in zip(values, others, strict=True):
        other.grad = v.grad
    for params in (values, others):
        kind(params, **settings).step()
    assert [v.data for v in values] == [v.data for v in others] != [1.0, 2.0, 3.0]


class Training:
    """A small model in training, with two groups."""

    def __init__(self, kind, settings):
        random.seed(5)
        self.model = nn.MLP(2, [4, 1])
        hidden, out = self.model.layers
        self.optimizer = kind([{"params": hidden.parameters()}, {"params": out.parameters(), "lr": 0.05}], **settings)
        self.schedule = optim.CosineAnnealingLR(self.optimizer, 20)

    def step(self):
        self.optimizer.zero_grad()
        loss = sum((self.model([x, 1.0]) - math.sin(x)) ** 2 for x in (-1.0, 0.0, 0.5, 2.0))
        loss.backward()
        self.optimizer.step()
        self.schedule.step()
        return loss.data

    def data(self):
        return [p.data for p in self.model.parameters()]


@optimizers
@pytest.mark.parametrize("begun", [0, 1, 10])
def test_going_on_gives_the_same_bits(kind, settings, begun):
    training, restored = Training(kind, settings), Training(kind, settings)
    for _ in range(begun):
        training.step()
    state = copy.deepcopy(training.optimizer.state_dict())
    restored.step()  # which must leave no trace
    restored.optimizer.load_state_dict(pickle.loads(pickle.dumps(state)))
    restored.schedule.load_state_dict(training.schedule.state_dict())
    for p, x in zip(restored.model.parameters(), training.data(), strict=True):
        p.data = x
    copied = copy.deepcopy(training)
    for _ in range(20):
        training.step()
        restored.step()
        copied.step()
    assert training.data() == restored.data() == copied.data()
    assert training.optimizer.param_groups[1]["lr"] == restored.optimizer.param_groups[1]["lr"]


def test_states_are_copies():
    optimizer, values = two_groups(optim.Adam, {})
    state = optimizer.state_dict()
    assert [group["params"] for group in state["param_groups"]] == [[0, 1], [2]]
    assert {type(x) for s in state["state"] for x in s.values()} == {int, np.ndarray}
    kept = copy.deepcopy(state)
    optimizer.step()
    optimizer.load_state_dict(state)
    optimizer.step()
    for s, k in zip(state["state"], kept["state"], strict=True):
        np.testing.assert_equal(s, k)
    assert optimizer.param_groups[0]["params"] == values[:2]
    assert not np.shares_memory(optimizer.state[0]["exp_avg"], state["state"][0]["exp_avg"])


BAD_STATES = [
    (lambda s: s.pop("state"), "state_dict must be a dict with 'state' and 'param_groups'"),
    (lambda s: s.update(state={}), "state must be a list of dicts"),
    (lambda s: s["state"].pop(), "state must have 2 entries, one for each group, got 1"),
    (lambda s: s["param_groups"].pop(), "param_groups must have 2 entries, one for each group, got 1"),
    (
        lambda s: s["param_groups"][1]["params"].append(3),
        r"param_groups\[1\]\['params'\] must have 1 entries, one for each .*, got 2",
    ),
    (lambda s: s["param_groups"][1].pop("params"), r"param_groups\[1\]\['params'\] must have 1 entries, .* got None"),
    (lambda s: s["param_groups"][1].pop("eps"), r"param_groups\[1\]\['eps'\] is missing"),
    (lambda s: s["param_groups"][1].update(lr="x"), r"param_groups\[1\]\['lr'\] must be a real number"),
    (
        lambda s: s["param_groups"][1].update(betas=(2, 3)),
        r"param_groups\[1\]\['betas'\]\[0\] must be in \[0, 1\), got 2",
    ),
    (lambda s: s["state"][1].pop("exp_avg"), r"state\[1\] lacks \['exp_avg'\]; is it another optimizer's"),
    (lambda s: s["state"][1].pop("step"), r"state\[1\] lacks \['step'\]"),
    (lambda s: s["state"][1].update(step=-1), r"state\[1\]\['step'\] must be an integer of at least 0"),
    (lambda s: s["state"][1].update(square_avg=np.zeros(1)), r"state\[1\] has \['square_avg'\], unknown to Adam"),
    (
        lambda s: s["state"][1].update(exp_avg=np.zeros(2)),
        r"state\[1\]\['exp_avg'\] must be 1 numbers.* of shape \(2,\)",
    ),
    (lambda s: s["state"][1].update(exp_avg=["a"]), r"state\[1\]\['exp_avg'\] must be 1 numbers"),
    (
        lambda s: s["state"][1].update(exp_avg=np.zeros(1, complex)),
        r"state\[1\]\['exp_avg'\] must be 1 numbers.* got complex128",
    ),
]


@pytest.mark.parametrize(("change", "message"), BAD_STATES)
def test_states_that_do_not_fit(change, message):
    optimizer, values = two_groups(optim.Adam, {})
    other, _ = two_groups(optim.Adam, {"lr": 0.5})
    other.step()
    state, before = other.state_dict(), optimizer.state_dict()
    change(state)
    with pytest.raises((TypeError, ValueError), match=message):
        optimizer.load_state_dict(state)
    np.testing.assert_equal(optimizer.state_dict(), before)
    assert optimizer.param_groups[0]["params"] == values[:2]


def test_no_state_dict():
    for bad in (None, [], "state", 3):
        with pytest.raises(TypeError, match="state_dict must be a dict with 'state' and 'param_groups'"):
            optim.Adam([Value(1.0)]).load_state_dict(bad)


@optimizers
def test_entries_may_be_replaced(kind, settings):
    """A dict in place of a group's keeps its state, an empty dict in place of a state begins anew."""
    (optimizer, values), (same, same_values) = two_groups(kind, settings), two_groups(kind, settings)
    optimizer.param_groups[0] = {**optimizer.param_groups[0], "lr": 0.5}
    same.param_groups[0]["lr"] = 0.5
    optimizer.state[1] = {}
    same.state[1].clear()
    for each in (optimizer, same):
        each.step()
        each.param_groups[0]["lr"] = 0.25
        each.step()
    assert [v.data for v in values] == [v.data for v in same_values]
    assert [state["step"] for state in optimizer.state] == [3, 2]
    np.testing.assert_equal(optimizer.state_dict(), same.state_dict())


def test_lists_that_shrink_and_grow():
    optimizer, values = two_groups(optim.Adam, {})
    del optimizer.param_groups[0], optimizer.state[0]
    before = [v.data for v in values]
    optimizer.step()
    optimizer.add_param_group({"params": values[:1]})
    assert [v.data == x for v, x in zip(values, before, strict=True)] == [True, True, False]
    optimizer.step()
    assert [v.data == x for v, x in zip(values, before, strict=True)] == [False, True, False]
    assert [state["step"] for state in optimizer.state] == [3, 1]


def test_repr():
    lines = repr(optim.SGD(three(), lr=0.1)).splitlines()
    assert lines[:4] == ["SGD (", "Parameter Group 0", "    params: 3 Values", "    dampening: 0.0"]


def test_the_base_has_no_rule():
    optimizer = optim.Optimizer([Value(1.0)], {"lr": 0.1})
    with pytest.raises(NotImplementedError, match="use SGD, Adam"):
        optimizer.step()


def test_closures():
    v = Value(1.0)
    optimizer = optim.SGD([v], lr=0.5)
    assert optimizer.step() is None
    assert optimizer.step(lambda: setattr(v, "grad", 1.0) or "loss") == "loss"
    assert v.data == 0.5
    optimizer.zero_grad()
    assert v.grad == 0.0


@pytest.mark.parametrize("clip", [optim.clip_grad_norm_, optim.clip_grad_value_])
def test_clipping(clip):
    values = three()
    gradients = [v.grad for v in values]
    for bad, error in (("x", TypeError), (None, TypeError), (math.nan, ValueError), (-1.0, ValueError)):
        with pytest.raises(error, match=r"max_norm must be|clip_value must be"):
            clip(values, bad)
    for bad in ([*values, 3], "abc", None, {"params": values}, [values]):
        with pytest.raises(TypeError, match=r"params.* must be "):
            clip(bad, 1.0)
    used_up = (v for v in values)
    list(used_up)
    message = "a generator that gives nothing: no gradient is clipped; was it used up before"
    with pytest.warns(UserWarning, match=message):
        clip(used_up, 1.0)
    for bad, error in (("x", TypeError), (math.nan, ValueError)):
        with pytest.raises(error, match="norm_type must be"):
            optim.clip_grad_norm_(values, 1.0, bad)
    assert [v.grad for v in values] == gradients


@linux_only
def test_memory(run_python):
    run_python(MEASURE + """
import numpy as np
from microgradc import optim
from microgradc.optim import updates
def fails(f):
    try:
        f()
    except (TypeError, ValueError):
        return
    raise AssertionError("no error")
def work(i):
    values = [Value(1.0) for _ in range(50)]
    for kind in (optim.SGD, optim.Adam, optim.AdamW, optim.RMSprop):
        optimizer = kind(values)
        schedule = optim.StepLR(optimizer, 2)
        optimizer.step(), schedule.step(), optimizer.zero_grad()
        optimizer.load_state_dict(optimizer.state_dict())
        optim.clip_grad_norm_(values, 1.0), optim.clip_grad_value_(iter(values), 1.0)
        values.append(3)
        fails(lambda: kind(values))
        values.pop()
        optimizer.param_groups[0]["params"].pop()
        if kind is not optim.SGD:
            fails(optimizer.step)
    for bad in (np.zeros(3), np.zeros(50, "f4"), np.zeros((5, 10)), np.frombuffer(bytes(400)), 3):
        fails(lambda: updates.require_parameters(values, {"exp_avg": bad}))
flat(work, 1_000, 100)
""")
