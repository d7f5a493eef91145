"""fit where a model cannot be compiled: it trains as without compiling, and says why."""

from functools import partial

import numpy as np
import pytest

import microgradc
from microgradc import losses, nn

X = np.random.default_rng(0).uniform(1.0, 3.0, (24, 2))
Y = (X[:, 0] > X[:, 1]).astype(int)


class Net(nn.Module):
    def __init__(self, prepare):
        self.net = nn.MLP(2, [4, 1], activation="tanh", seed=0)
        self.prepare = prepare

    def forward(self, x):
        return self.net([self.prepare(v) for v in x])


def numbers_alone(error):
    def prepare(v):
        if not isinstance(v, float):
            raise error("only numbers, please")
        return v / 100

    return prepare


def without_end(v):
    return v if isinstance(v, float) else without_end(v)


def by_method(v):
    return 1.0 if v.is_integer() else v


def by_type(v):
    return v / 100 if isinstance(v, float) else v


def by_text(v):
    return v / 100 if len(f"{v}") < 20 else v


def by_attribute(v):
    return v if hasattr(v, "backward") else v / 100


WAYS = {
    "OSError": (numbers_alone(OSError), "OSError: only numbers, please"),
    "TypeError": (numbers_alone(TypeError), "TypeError: only numbers, please"),
    "KeyError": (numbers_alone(KeyError), "KeyError: 'only numbers, please'"),
    "RecursionError": (without_end, "RecursionError: maximum recursion depth exceeded"),
    "method of floats": (by_method, "AttributeError: "),
    "isinstance": (by_type, "something else when it is called with the numbers of an example"),
    "text": (by_text, "something else when it is called with the numbers of an example"),
    "hasattr": (by_attribute, "something else when it is called with the numbers of an example"),
}


@pytest.mark.parametrize("way", WAYS)
def test_what_a_model_does_with_numbers_alone_is_trained_eagerly(way):
    prepare, why = WAYS[way]
    eager, default = Net(prepare), Net(prepare)
    expected = eager.fit(X, Y, epochs=2, seed=0, progress=False, compile=False)
    history = default.fit(X, Y, epochs=2, seed=0, progress=False)
    assert why in history.why_eager
    assert history.loss == expected.loss
    assert [p.data for p in default.parameters()] == [p.data for p in eager.parameters()]
    with pytest.raises(Exception, match=why.partition(": ")[2] or "."):
        Net(prepare).fit(X, Y, epochs=1, progress=False, compile=True)


def test_a_model_that_can_be_compiled_says_nothing():
    assert Net(lambda v: microgradc.log(v)).fit(X, Y, epochs=1, progress=False).why_eager == ""


@pytest.mark.parametrize(
    ("loss", "settings"),
    [
        (losses.binary_cross_entropy_with_logits, {"pos_weight": 3.0}),
        (losses.poisson_nll_loss, {"full": True, "eps": 1e-3}),
        (losses.kl_div, {"log_target": True}),
    ],
)
def test_arguments_of_each_example_leave_a_loss_compiled(loss, settings):
    x = np.random.default_rng(0).uniform(0.1, 1.0, size=(12, 3))
    y = np.arange(12) % 2 * (1 if loss is losses.binary_cross_entropy_with_logits else 3.0)
    found = []
    for compiled in (True, False):
        model = microgradc.MLP(3, [4, 1], activation="softplus", seed=0)
        model.fit(x, y, loss=partial(loss, **settings), epochs=2, seed=0, progress=False, compile=compiled)
        found.append(model.vector().copy())
    np.testing.assert_allclose(*found, rtol=1e-12, atol=1e-12)
