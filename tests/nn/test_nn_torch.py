"""Initialisers and dropout have the distributions that PyTorch's have."""

import math
import random
from functools import partial

import numpy as np
import pytest
import torch

from microgradc import init, nn

NIN, NOUT = 60, 90
FAN_OUT_BY_FAN_IN = torch.empty(NOUT, NIN, dtype=torch.float64)


@pytest.mark.parametrize("name", init.__all__)
def test_initial_weights_are_distributed_as_in_pytorch(name):
    torch.manual_seed(0)
    theirs = getattr(torch.nn.init, f"{name}_")(
        FAN_OUT_BY_FAN_IN.clone(), **({"a": -1.0, "b": 1.0} if name == "uniform" else {})
    ).numpy()
    layer = nn.Layer(NIN, NOUT, init=name, rng=random.Random(0))
    ours = np.array([[w.data for w in n.w] for n in layer.neurons])
    assert not any(n.b.data for n in layer.neurons)
    assert ours.shape == theirs.shape
    # Of 5,400 numbers, the standard deviation of the standard deviation is 1 % of it (0.6 % if uniform): 5 of them at
    # most.
    assert ours.std() == pytest.approx(theirs.std(), rel=0.05 * math.sqrt(2))
    assert abs(ours.mean()) < 5 * ours.std() / math.sqrt(ours.size)
    if "uniform" in name:
        assert np.abs(ours).max() == pytest.approx(np.abs(theirs).max(), rel=0.01)
    else:
        assert np.mean(np.abs(ours) < ours.std()) == pytest.approx(0.6827, abs=0.03)


def test_gains():
    gain = torch.nn.init.calculate_gain("tanh")
    torch.manual_seed(0)
    theirs = torch.nn.init.xavier_uniform_(FAN_OUT_BY_FAN_IN.clone(), gain=gain).numpy()
    layer = nn.Layer(NIN, NOUT, init=partial(init.xavier_uniform, gain=gain), rng=random.Random(0))
    assert max(abs(p.data) for p in layer.parameters()) == pytest.approx(np.abs(theirs).max(), rel=0.01)


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
def test_dropout_as_in_pytorch(p):
    n = 20_000
    torch.manual_seed(0)
    theirs = torch.nn.Dropout(p)(torch.ones(n, dtype=torch.float64)).numpy()
    ours = np.array(nn.Dropout(p, seed=0)([1.0] * n))
    assert set(np.round(ours, 12)) == set(np.round(theirs, 12)), "the same two numbers"
    sigma = math.sqrt(p / (1 - p) / n)
    assert abs(ours.mean() - 1) < 5 * sigma
    assert abs(theirs.mean() - 1) < 5 * sigma
