"""A keyword that a function does not have is answered with the one that was meant."""

import inspect

import numpy as np
import pytest

import microgradc
from microgradc import MLP, SGD, Adam, Value, compile, fit, losses, nn, optim
from microgradc.keywords import suggest_keywords

X, Y = np.ones((4, 2)), np.array([0, 1, 0, 1])
v = Value(1.0)

MEANT = [
    ("epochs", lambda: MLP(2, [1]).fit(X, Y, epoch=3)),
    ("lr", lambda: fit(MLP(2, [1]), X, Y, learning_rate=0.1)),
    ("progress", lambda: fit(MLP(2, [1]), X, Y, verbose=0)),
    ("validation", lambda: fit(MLP(2, [1]), X, Y, validation_split=0.1)),
    ("activation", lambda: MLP(2, [1], actvation="relu")),
    ("seed", lambda: MLP(2, [1], random_state=0)),
    ("nonlin", lambda: nn.Layer(2, 1, nonlinear=True)),
    ("betas", lambda: Adam([v], beta=(0.9, 0.9))),
    ("weight_decay", lambda: optim.AdamW([v], weightdecay=0.1)),
    ("momentum", lambda: SGD([v], momemtum=0.9)),
    ("lr", lambda: SGD([v], LR=0.9)),
    ("step_size", lambda: optim.lr_scheduler.StepLR(SGD([v], lr=0.1), stepsize=3)),
    ("max_norm", lambda: optim.clip_grad_norm_([v], maxnorm=1.0)),
    ("lanes", lambda: compile(lambda x: x, lane=8)),
    ("batch_size", lambda: microgradc.batches(X, Y, batchsize=3)),
    ("noise", lambda: microgradc.make_moons(10, noize=0.1)),
    ("reduction", lambda: losses.cross_entropy([[1.0, 2.0]], [0], reduce="mean")),
    ("threshold", lambda: microgradc.accuracy(MLP(2, [1]), X, Y, treshold=0.5)),
    ("max_nodes", lambda: microgradc.draw_graph(v, maxnodes=3)),
]


@pytest.mark.parametrize(("meant", "call"), MEANT)
def test_the_keyword_that_was_meant(meant, call):
    with pytest.raises(TypeError, match=rf"unexpected keyword argument '\w+'\. Did you mean '{meant}'\?$"):
        call()


def test_a_keyword_like_no_other_lists_those_there_are():
    with pytest.raises(TypeError, match=r"save\(\) got .* 'zip'; its arguments are model, path$"):
        microgradc.save(MLP(2, [1]), "x", zip=True)


def test_functions_stay_what_they_are():
    @suggest_keywords
    def f(a, /, b, *, c=3):
        """What it does."""
        return a, b, c

    assert f(1, b=2) == (1, 2, 3)
    assert f.__doc__ == "What it does."
    assert str(inspect.signature(f)) == "(a, /, b, *, c=3)"
    with pytest.raises(TypeError, match="'a'; its arguments are b, c"):
        f(a=1, b=2)
    with pytest.raises(TypeError, match="missing 1 required positional argument"):
        f(1)


@pytest.mark.parametrize("f", [
    MLP, MLP.fit, fit, nn.Neuron, nn.Dropout, Adam, optim.AdamW, compile, microgradc.batches, losses.huber_loss,
])  # fmt: skip
def test_signatures_show_every_argument(f):
    parameters = inspect.signature(f).parameters.values()
    assert len(parameters) > 1
    assert not any(p.kind in (p.VAR_KEYWORD, p.VAR_POSITIONAL) for p in parameters)
