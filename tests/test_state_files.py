"""States of optimizers and schedules in files."""

import random

import numpy as np
import pytest
from test_checkpoint import mutations

import microgradc
from microgradc import MLP, Value, load, save


@pytest.fixture
def path(tmp_path):
    return tmp_path / "state.safetensors"


def trained(kind, **settings):
    model = MLP(2, [3, 1], seed=0)
    optimizer = kind(model.parameters(), **settings)
    for _ in range(3):
        optimizer.zero_grad()
        (model([1.0, 2.0]) ** 2).backward()
        optimizer.step()
    return model, optimizer


@pytest.mark.parametrize("kind", ["SGD", "Adam", "AdamW", "RMSprop"])
def test_optimizers(path, kind):
    settings = {"SGD": {"lr": 0.1, "momentum": 0.9}, "Adam": {"betas": (0.8, 0.99)}}.get(kind, {})
    _, optimizer = trained(getattr(microgradc, kind), **settings)
    save(optimizer, path)
    other = getattr(microgradc, kind)(MLP(2, [3, 1]).parameters(), lr=0.5)
    assert load(other, path) is other
    expected, found = optimizer.state_dict(), other.state_dict()
    assert found["param_groups"] == expected["param_groups"]
    for a, b in zip(expected["state"], found["state"], strict=True):
        assert a.keys() == b.keys()
        assert all(np.array_equal(a[name], b[name]) for name in a)
    first = path.read_bytes()
    save(other, path)
    assert path.read_bytes() == first


def test_a_new_optimizer_and_a_schedule(path):
    optimizer = microgradc.SGD([Value(1.0)], lr=0.1)
    save(optimizer, path)
    load(microgradc.SGD([Value(1.0)], lr=0.2), path)
    schedule = microgradc.StepLR(optimizer, 2)
    for _ in range(3):
        optimizer.step()
        schedule.step()
    save(schedule, path)
    other = load(microgradc.StepLR(microgradc.SGD([Value(1.0)], lr=0.1), 5), path)
    assert other.state_dict() == schedule.state_dict()


def test_states_that_do_not_fit(path):
    model, optimizer = trained(microgradc.Adam)
    other = microgradc.Adam(MLP(2, [4, 1]).parameters())
    before = other.state_dict()
    save(optimizer, path)
    with pytest.raises(ValueError, match=r"cannot load .*13 entries|cannot load .*must have"):
        load(other, path)
    with pytest.raises(ValueError, match=r"is it another optimizer's|is missing"):
        load(microgradc.SGD(model.parameters()), path)
    with pytest.raises(ValueError, match="strict=False is for models"):
        load(optimizer, path, strict=False)
    with pytest.raises(ValueError, match="the state of an optimizer or a schedule, and not of a model"):
        load(model, path)
    save(model, path)
    with pytest.raises(ValueError, match="numbers of a model, and not the state of a Adam"):
        load(other, path)
    assert other.state_dict() == before
    optimizer.param_groups[0]["note"] = Value(1.0)
    with pytest.raises(TypeError, match=r"state_dict\(\)\['param_groups'\]\[0\]\['note'\] must be a number, a text"):
        save(optimizer, path)


def test_damaged_states(path):
    _, optimizer = trained(microgradc.Adam)
    save(optimizer, path)
    other, loaded, refusals = microgradc.Adam(MLP(2, [3, 1]).parameters()), 0, 0
    for content in mutations(path.read_bytes(), random.Random(3)):
        path.write_bytes(content)
        try:
            load(other, path)
            loaded += 1
        except ValueError as error:
            refusals += str(path) in str(error)
    assert loaded > 5
    assert loaded + refusals == 200
