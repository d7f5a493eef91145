"""Optimizers and clipping give what PyTorch's give, in float64: parameters, state and gradients, over 100 steps."""

import inspect
import math

import numpy as np
import pytest
import torch

from microgradc import Value, optim

N = 7
STEPS = 100
TOLERANCE = 1e-12

CASES = [
    ("SGD", {}),
    ("SGD", {"lr": 0.1, "weight_decay": 0.03}),
    ("SGD", {"lr": 0.05, "momentum": 0.9}),
    ("SGD", {"lr": 0.05, "momentum": 0.9, "dampening": 0.4, "weight_decay": 0.01}),
    ("SGD", {"lr": 0.05, "momentum": 0.8, "dampening": -0.4, "maximize": True}),
    ("SGD", {"lr": 0.05, "momentum": 1.0, "dampening": 1.0}),
    ("SGD", {"lr": 0.05, "momentum": 0.7, "nesterov": True}),
    ("SGD", {"lr": 0.05, "momentum": 0.7, "nesterov": True, "weight_decay": 0.2, "maximize": True}),
    ("Adam", {}),
    ("Adam", {"lr": 0.1, "betas": (0.5, 0.9)}),
    ("Adam", {"lr": 0.1, "betas": (0.2, 0.3), "eps": 1e-3}),
    ("Adam", {"lr": 0.1, "betas": (0.0, 0.0), "eps": 0.5}),
    ("Adam", {"lr": 0.1, "weight_decay": 0.1, "amsgrad": True}),
    ("Adam", {"lr": 0.1, "weight_decay": 0.1, "maximize": True}),
    ("AdamW", {}),
    ("AdamW", {"lr": 0.1, "weight_decay": 0.3}),
    ("AdamW", {"lr": 0.1, "weight_decay": 0.0, "amsgrad": True, "maximize": True}),
    ("AdamW", {"lr": 0.1, "betas": (0.8, 0.95), "weight_decay": 0.3, "amsgrad": True}),
    ("RMSprop", {}),
    ("RMSprop", {"lr": 0.05, "alpha": 0.9, "eps": 1e-3, "weight_decay": 0.1}),
    ("RMSprop", {"lr": 0.05, "alpha": 0.3, "centered": True}),
    ("RMSprop", {"momentum": 0.9}),
    ("RMSprop", {"momentum": 0.5, "centered": True, "weight_decay": 0.05, "maximize": True}),
    ("RMSprop", {"alpha": 1.0, "eps": 1.0}),
    ("Adagrad", {}),
    ("Adagrad", {"lr": 0.1, "lr_decay": 0.1, "eps": 1e-3}),
    ("Adagrad", {"lr": 0.1, "weight_decay": 0.1, "initial_accumulator_value": 0.5}),
    ("Adagrad", {"lr": 0.1, "lr_decay": 1e-3, "initial_accumulator_value": 2.0, "maximize": True}),
    ("NAdam", {}),
    ("NAdam", {"lr": 0.1, "betas": (0.5, 0.9), "momentum_decay": 0.1}),
    ("NAdam", {"lr": 0.1, "betas": (0.2, 0.3), "eps": 1e-3, "weight_decay": 0.1}),
    ("NAdam", {"lr": 0.1, "betas": (0.0, 0.5), "eps": 0.5, "momentum_decay": 0.0}),
    ("NAdam", {"lr": 0.1, "weight_decay": 0.1, "decoupled_weight_decay": True}),
    ("NAdam", {"lr": 0.1, "weight_decay": 0.1, "maximize": True}),
]
KINDS = list(dict.fromkeys(name for name, _ in CASES))
cases = pytest.mark.parametrize(
    ("name", "settings"), CASES, ids=lambda x: x if isinstance(x, str) else ",".join(map(str, x)) or "defaults"
)


@pytest.fixture(autouse=True)
def _float64():
    """PyTorch has NAdam's product of momenta in its default dtype."""
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def test_every_optimizer_has_cases():
    classes = {name: thing for name, thing in vars(optim).items() if isinstance(thing, type)}
    optimizers = {name for name, thing in classes.items() if issubclass(thing, optim.Optimizer)}
    assert optimizers == {"Optimizer", *KINDS}


def gradients(step, n=N):
    """Gradients of all sizes and both signs, and now and then 0."""
    rng = np.random.default_rng(step)
    return rng.normal(size=n) * 10.0 ** rng.integers(-3, 3, size=n) * (rng.random(n) > 0.1)


def begin():
    """The same parameters, as Values and as tensors."""
    start = np.random.default_rng(99).normal(size=N)
    return [Value(x) for x in start], [torch.tensor([x], dtype=torch.float64, requires_grad=True) for x in start]


def give(gradient, values, tensors):
    for v, t, g in zip(values, tensors, gradient, strict=True):
        v.grad = g
        t.grad = torch.tensor([g], dtype=torch.float64)


def assert_same(values, tensors):
    # Parameters pass through 0.
    np.testing.assert_allclose([v.data for v in values], [t.item() for t in tensors], rtol=TOLERANCE, atol=1e-14)


def assert_same_state(ours, theirs, tensors):
    """Compare the buffers of one group."""
    names = ours.keys() - {"step"}
    assert names == {key for key, value in theirs.state[tensors[0]].items() if key != "step" and value is not None}
    for name in names:
        expected = [theirs.state[t][name].item() for t in tensors]
        np.testing.assert_allclose(ours[name], expected, rtol=TOLERANCE, atol=1e-300)


@cases
def test_given_gradients(name, settings):
    values, tensors = begin()
    ours, theirs = getattr(optim, name)(values, **settings), getattr(torch.optim, name)(tensors, **settings)
    for step in range(STEPS):
        give(gradients(step), values, tensors)
        ours.step()
        theirs.step()
        assert_same(values, tensors)
    assert_same_state(ours.state[0], theirs, tensors)
    assert {v.grad for v in values} == {t.grad.item() for t in tensors}


@cases
def test_training(name, settings):
    """The gradients are those of a function of the parameters, through backward() and a closure."""
    values, tensors = begin()
    ours, theirs = getattr(optim, name)(values, **settings), getattr(torch.optim, name)(tensors, **settings)

    def loss_of(p):
        return sum((a * b).tanh() + 0.1 * (a - 0.3) ** 2 for a, b in zip(p, [*p[1:], p[0]], strict=True))

    def closure_of(optimizer, p):
        def closure():
            optimizer.zero_grad()
            loss = loss_of(p)
            loss.backward()
            return loss

        return closure

    for _ in range(STEPS if not settings.get("maximize") else 20):
        our_loss, their_loss = ours.step(closure_of(ours, values)), theirs.step(closure_of(theirs, tensors))
        assert our_loss.data == pytest.approx(their_loss.item(), rel=1e-7, abs=1e-7)
    # Here a difference in the last bit comes back through the gradients, many times enlarged.
    np.testing.assert_allclose([v.data for v in values], [t.item() for t in tensors], rtol=1e-7)


@pytest.mark.parametrize("name", KINDS)
def test_groups(name):
    """Settings of their own, a rate that is changed on the way, a group that comes later."""
    values, tensors = begin()

    def make(module, p):
        first, second = {"params": p[:2], "lr": 0.05}, {"params": iter(p[2:5]), "weight_decay": 0.1, "name": "second"}
        return getattr(module, name)([first, second], lr=0.01)

    ours, theirs = make(optim, values), make(torch.optim, tensors)
    assert ours.param_groups[1]["name"] == "second"
    for step in range(STEPS):
        if step == 20:
            for optimizer, p in ((ours, values), (theirs, tensors)):
                optimizer.add_param_group({"params": p[5:], "lr": 0.2})
        if step == 40:
            for optimizer in (ours, theirs):
                optimizer.param_groups[0]["lr"] = 0.5
                optimizer.param_groups[2]["lr"] = 0.0
        give(gradients(step), values, tensors)
        ours.step()
        theirs.step()
        assert_same(values, tensors)
    assert [len(group["params"]) for group in ours.param_groups] == [2, 3, 2]


@pytest.mark.parametrize(
    ("name", "setting", "value"),
    [
        ("SGD", "momentum", 0.9),
        ("SGD", "maximize", True),
        ("Adam", "betas", (0.5, 0.6)),
        ("AdamW", "weight_decay", 0.5),
        ("RMSprop", "momentum", 0.0),
        ("Adagrad", "lr_decay", 0.5),
        ("NAdam", "betas", (0.5, 0.6)),
        ("NAdam", "decoupled_weight_decay", True),
    ],
)
def test_settings_may_change(name, setting, value):
    values, tensors = begin()
    settings = {"momentum": 0.4} if name == "RMSprop" else {"weight_decay": 0.1} if name == "NAdam" else {}
    ours, theirs = getattr(optim, name)(values, **settings), getattr(torch.optim, name)(tensors, **settings)
    for step in range(40):
        if step == 10:
            ours.param_groups[0][setting] = theirs.param_groups[0][setting] = value
        give(gradients(step), values, tensors)
        ours.step()
        theirs.step()
    assert_same(values, tensors)


@pytest.mark.parametrize("name", ["SGD", "Adam", "RMSprop", "Adagrad", "NAdam"])
def test_infinite_gradients(name):
    values, tensors = begin()
    settings = {"Adam": {"amsgrad": True}, "Adagrad": {}, "NAdam": {}}.get(name, {"momentum": 0.5})
    ours, theirs = getattr(optim, name)(values, **settings), getattr(torch.optim, name)(tensors, **settings)
    for gradient in ([1.0, 0.0, -0.0, math.inf, -math.inf, math.nan, 1e-320], [0.5] * N):
        give(gradient, values, tensors)
        ours.step()
        theirs.step()
        assert_same(values, tensors)
        assert_same_state(ours.state[0], theirs, tensors)


def defaults_of(optimizer):
    """The settings that both have."""
    omitted = {"foreach", "differentiable", "fused", "capturable"}
    if type(optimizer).__name__ in ("Adam", "AdamW"):
        omitted.add("decoupled_weight_decay")     # which makes the one the other
    return {key: value for key, value in optimizer.defaults.items() if key not in omitted}


@pytest.mark.parametrize("name", KINDS)
def test_signatures(name):
    """Names, defaults and the order of what may be given by position are PyTorch's."""
    ours, theirs = (inspect.signature(getattr(module, name)).parameters for module in (optim, torch.optim))
    assert {key: p.default for key, p in ours.items()} == {key: theirs[key].default for key in ours}
    by_position = [key for key, p in ours.items() if p.kind is p.POSITIONAL_OR_KEYWORD]
    assert by_position == list(theirs)[: len(by_position)]


def test_adam_and_adamw_differ_in_one_default():
    adam, adamw = (inspect.signature(kind).parameters for kind in (optim.Adam, optim.AdamW))
    assert list(adam) == list(adamw)
    assert [key for key in adam if adam[key] != adamw[key]] == ["weight_decay"]


@pytest.mark.parametrize("name", KINDS)
def test_defaults(name):
    values, tensors = begin()
    ours, theirs = getattr(optim, name)(values), getattr(torch.optim, name)(tensors)
    assert defaults_of(ours) == defaults_of(theirs)
    assert {line.split(":")[0] for line in repr(theirs).splitlines()} >= {
        line.split(":")[0] for line in repr(ours).splitlines() if "params" not in line
    }


NORMS = [2.0, 1, 3, 0.5, math.inf, "inf", -math.inf, 0, -1.0]
GRADIENTS = {
    "small": [1e-3, -2e-4, 3e-3],
    "large": [30.0, -40.0, 0.5],
    "zeros": [0.0, 0.0],
    "nan": [1.0, math.nan, 2.0],
    "inf": [1.0, -math.inf, 2.0],
    "nan and inf": [math.inf, math.nan, 0.0],
    "huge": [1e200, 1e200],
    "tiny": [1e-200, 5e-324],
    "one": [-7.0],
    "none": [],
    "many": list(gradients(5, 1000)),
}


def with_gradients(gradient):
    values = [Value(1.0) for _ in gradient]
    tensors = [torch.ones(1, dtype=torch.float64, requires_grad=True) for _ in gradient]
    give(gradient, values, tensors)
    return values, tensors


def assert_same_gradients(values, tensors):
    np.testing.assert_allclose([v.grad for v in values], [t.grad.item() for t in tensors], rtol=TOLERANCE, atol=0)


@pytest.mark.parametrize("gradient", GRADIENTS.values(), ids=GRADIENTS)
@pytest.mark.parametrize("norm_type", NORMS)
@pytest.mark.parametrize("max_norm", [1.0, 0, 2.5, math.inf])
def test_clip_grad_norm(gradient, norm_type, max_norm):
    values, tensors = with_gradients(gradient)
    ours = optim.clip_grad_norm_((v for v in list(values)) if values else values, max_norm, norm_type)
    theirs = torch.nn.utils.clip_grad_norm_(tensors, max_norm, norm_type)
    assert type(ours) is float
    assert ours == pytest.approx(theirs.item(), rel=TOLERANCE, abs=0, nan_ok=True)
    assert_same_gradients(values, tensors)


@pytest.mark.parametrize("gradient", [pytest.param(g, id=name) for name, g in GRADIENTS.items() if g])
@pytest.mark.parametrize("clip_value", [0.0, 1.0, 2, math.inf])
def test_clip_grad_value(gradient, clip_value):
    values, tensors = with_gradients(gradient)
    assert optim.clip_grad_value_((v for v in values), clip_value) is None
    torch.nn.utils.clip_grad_value_(tensors, clip_value)
    assert_same_gradients(values, tensors)


@pytest.mark.parametrize("gradient", [[1.0, math.nan], [math.inf, 1.0]])
def test_clipping_what_is_not_finite(gradient):
    values, tensors = with_gradients(gradient)
    for clip, parameters in ((optim.clip_grad_norm_, values), (torch.nn.utils.clip_grad_norm_, tensors)):
        with pytest.raises(RuntimeError, match="error_if_nonfinite=False"):
            clip(parameters, 1.0, error_if_nonfinite=True)
    assert_same_gradients(values, tensors)
    np.testing.assert_array_equal([v.grad for v in values], gradient)


def test_clipping_one_value():
    values, tensors = with_gradients([3.0])
    assert optim.clip_grad_norm_(values[0], 1.0) == torch.nn.utils.clip_grad_norm_(tensors[0], 1.0).item() == 3.0
    optim.clip_grad_value_(values[0], 0.5)
    torch.nn.utils.clip_grad_value_(tensors[0], 0.5)
    assert_same_gradients(values, tensors)


@pytest.mark.parametrize("count", [1, 63, 64, 65, 129])
@pytest.mark.parametrize(
    "settings", [{}, {"amsgrad": True, "weight_decay": 0.1}, {"betas": (0.3, 0.5), "maximize": True}]
)
def test_adam_of_many_parameters(count, settings):
    """It goes over parts of 64."""
    rng = np.random.default_rng(count)
    numbers, gradients = rng.normal(size=count), rng.normal(size=(5, count))
    gradients[2, 0] = np.nan if count == 63 else 0.0
    ours = [Value(x) for x in numbers]
    theirs = torch.tensor(numbers, requires_grad=True)
    optimizer, reference = optim.Adam(ours, lr=0.1, **settings), torch.optim.Adam([theirs], lr=0.1, **settings)
    for row in gradients:
        for p, g in zip(ours, row, strict=True):
            p.grad = g
        theirs.grad = torch.tensor(row)
        optimizer.step()
        reference.step()
        np.testing.assert_allclose([p.data for p in ours], theirs.detach().numpy(), rtol=1e-13, atol=1e-15)


def test_a_parameter_that_comes_twice_is_refused_at_a_step():
    w = Value(1.0)
    optimizer = optim.Adam([w, Value(2.0)])
    optimizer.param_groups[0]["params"] = [w, w]
    with pytest.raises(ValueError, match="comes twice"):
        optimizer.step()
    assert w.data == 1.0
