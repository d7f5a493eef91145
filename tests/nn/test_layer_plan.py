"""A layer calls its neurons all at once by a plan, and notices whatever is put in place of what that was made from."""

import copy
import pickle

import pytest

from microgradc import Value, nn
from microgradc.nn.search import are_parameters

X = [1.5, -0.5]


def entry(layer):
    layer.neurons[0].w[1] = Value(7.0)


def shorter_and_longer(layer):
    layer.neurons[1].w.pop()
    layer.neurons[1].w.append(Value(7.0))


def cleared(layer):
    layer.neurons[1].w.clear()
    layer.neurons[1].w.extend([Value(7.0), Value(-3.0)])


def bias(layer):
    layer.neurons[2].b = Value(7.0)


def weights(layer):
    layer.neurons[0].w = [Value(7.0), Value(1.0)]


def neuron(layer):
    layer.neurons[0] = OTHER.neurons[0]


def all_neurons(layer):
    layer.neurons = OTHER.neurons


def deleted(layer):
    del layer.neurons[0].b
    layer.neurons[0].b = Value(7.0)


def into_vars(layer):
    vars(layer.neurons[0]).update(b=Value(7.0))


def weights_into_vars(layer):
    vars(layer.neurons[0])["w"] = [Value(7.0), Value(1.0)]


def all_into_vars(layer):
    vars(layer).update(vars(OTHER))


def other_dict(layer):
    layer.neurons[0].__dict__ = DICT


def past_setattr(layer):
    object.__setattr__(layer.neurons[0], "b", Value(7.0))


def linear_in_vars(layer):
    vars(layer.neurons[0])["nonlin"] = False
    layer.neurons[0].b.data = -20.0


def equal_numbers(layer):
    layer.neurons[0].b = Value(layer.neurons[0].b.data)


def state(layer):
    layer.load_state_dict(OTHER.state_dict())


def taken_out(layer):
    vars(layer.neurons[0]).pop("b")
    vars(layer.neurons[0])["b"] = Value(7.0)


OTHER = nn.Layer(2, 3)
DICT = dict(vars(nn.Neuron(2)), b=Value(7.0))
CHANGES = [
    entry, shorter_and_longer, cleared, bias, weights, neuron, all_neurons, deleted, into_vars, weights_into_vars,
    all_into_vars, other_dict, past_setattr, linear_in_vars, equal_numbers, state, taken_out,
]
COPIES = [lambda x: x, copy.copy, copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))]


def by_hand(layer):
    sums = [sum(w * x for w, x in zip(n.w, X, strict=True)) + n.b for n in layer.neurons]
    return [total.relu() if n.nonlin else total for total, n in zip(sums, layer.neurons, strict=True)]


def gradients(outputs, parameters):
    for p in parameters:
        p.grad = 0.0
    sum(v * (i + 1) for i, v in enumerate(outputs)).backward()
    return [p.grad for p in parameters]


@pytest.mark.parametrize("make", COPIES, ids=["itself", "copy", "deepcopy", "pickle"])
@pytest.mark.parametrize("change", CHANGES)
def test_a_layer_uses_what_is_there_now(change, make):
    layer = nn.Layer(2, 3)
    layer(X), OTHER(X)
    layer = make(layer)
    layer(X)
    change(layer)
    for _ in range(2):
        parameters = layer.parameters()
        outputs, expected = layer(X), by_hand(layer)
        assert [v.data for v in outputs] == pytest.approx([v.data for v in expected], abs=1e-14)
        assert gradients(outputs, parameters) == pytest.approx(gradients(expected, parameters), abs=1e-14)


@pytest.mark.parametrize("change", CHANGES)
def test_a_network_uses_what_is_there_now(change):
    model = nn.MLP(2, [3, 2])
    model(X)
    change(model.layers[0])
    hidden = by_hand(model.layers[0])
    expected = [sum(w * h for w, h in zip(n.w, hidden, strict=True)) + n.b for n in model.layers[1].neurons]
    outputs, parameters = model(X), model.parameters()
    assert [v.data for v in outputs] == pytest.approx([v.data for v in expected], abs=1e-14)
    assert gradients(outputs, parameters) == pytest.approx(gradients(expected, parameters), abs=1e-14)


def test_a_parameter_in_two_rows_is_seen_wherever_it_lies():
    a, b, c = sorted((Value(0.0) for _ in range(3)), key=id)
    assert are_parameters([[a, b], [c]])
    assert are_parameters([[b, c], [a]])
    for rows in [[[a, b], [b, c]], [[b], [a, b]], [[a, c], [b], [c]], [[b, b]]]:
        assert not are_parameters(rows)
