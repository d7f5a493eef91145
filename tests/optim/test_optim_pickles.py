"""Optimizers go through pickles and copies, also through a pickle that version 0.1.0 wrote."""

import copy
import pickle
from pathlib import Path

import numpy as np
import pytest

from microgradc import Value, optim

KINDS = [(optim.SGD, {"momentum": 0.9}), (optim.Adam, {"amsgrad": True})]
WAYS = [copy.deepcopy, *(lambda o, protocol=protocol: pickle.loads(pickle.dumps(o, protocol)) for protocol in range(6))]


def train(optimizer, steps):
    for _ in range(steps):
        for i, v in enumerate(parameters(optimizer)):
            v.grad = 0.5 - i
        optimizer.step()


def parameters(optimizer):
    return [v for group in optimizer.param_groups for v in group["params"]]


def trained(kind, settings):
    """What is in the pickle of version 0.1.0: two groups, two steps."""
    values = [Value(1.0), Value(2.0), Value(3.0)]
    optimizer = kind([{"params": values[:2]}, {"params": values[2:], "lr": 0.05}], lr=0.1, **settings)
    train(optimizer, 2)
    return optimizer


def assert_same(a, b):
    assert [v.data for v in parameters(a)] == [v.data for v in parameters(b)]
    np.testing.assert_equal(a.state_dict(), b.state_dict())
    assert a.defaults == b.defaults
    assert vars(a).keys() == vars(b).keys()


def test_a_pickle_of_version_0_1_0():
    """It has the same bits as training today, and goes on with them."""
    loaded = pickle.loads(Path(__file__).with_name("optimizers_0.1.0.pickle").read_bytes())
    for old, (kind, settings) in zip(loaded, KINDS, strict=True):
        assert type(old) is kind
        new = trained(kind, settings)
        assert_same(old, new)
        for optimizer in (old, new):
            train(optimizer, 3)
            optimizer.add_param_group({"params": [Value(4.0)]})
            train(optimizer, 1)
        assert_same(old, new)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(("kind", "settings"), [*KINDS, (optim.Adagrad, {}), (optim.NAdam, {})])
def test_copies(kind, settings, way):
    """A copy has parameters and a state of its own."""
    optimizer = trained(kind, settings)
    other = way(optimizer)
    assert_same(other, optimizer)
    before = [v.data for v in parameters(optimizer)]
    train(other, 2)
    assert [v.data for v in parameters(optimizer)] == before
    assert optimizer.state[0]["step"] == 2
    train(optimizer, 2)
    assert_same(other, optimizer)


def test_a_pickle_names_nothing_internal():
    """Such a name would have to stay for ever."""
    written = pickle.dumps(trained(*KINDS[1]), 0)
    assert b"Adam" in written
    assert b"Group" not in written
    assert b"Known" not in written
