"""Neurons, layers and MLPs: a layer in one call gives what its neurons give one by one, whatever is done to them."""

import copy
import math
import pickle
import random

import numpy as np
import pytest

import microgradc
from microgradc import Value, linear, nn
from microgradc.engine.value import plain_number


def one_by_one(layer, x):
    out = [n(x) for n in layer.neurons]
    return out[0] if len(out) == 1 else out


def same(a, b):
    a, b = (v if isinstance(v, list) else [v] for v in (a, b))
    return [v.data for v in a] == [v.data for v in b] and [v._op for v in a] == [v._op for v in b]


@pytest.fixture
def layer():
    random.seed(1)
    return nn.Layer(3, 4)


X = [0.5, Value(-1.0), 2]


def test_a_layer_gives_what_its_neurons_give(layer):
    assert same(layer(X), one_by_one(layer, X))
    assert same(layer(tuple(X)), one_by_one(layer, X))
    assert same(layer(iter(X)), one_by_one(layer, X))
    linear_layer = nn.Layer(3, 1, nonlin=False)
    assert same(linear_layer(X), one_by_one(linear_layer, X))


def changes():
    class Doubled(nn.Neuron):
        def __call__(self, x):
            return super().__call__(x) * 2

    def replace_weight(layer):
        layer.neurons[1].w[2] = Value(7.0)

    def replace_weights(layer):
        layer.neurons[1].w = [Value(7.0), Value(8.0), Value(9.0)]

    def replace_bias(layer):
        layer.neurons[1].b = Value(7.0)

    def switch_activation(layer):
        layer.neurons[1].nonlin = False

    def replace_neuron(layer):
        layer.neurons[1] = Doubled(3)

    def replace_neurons(layer):
        layer.neurons = layer.neurons[:2]

    def append_function(layer):
        layer.neurons.append(lambda x: x[0] * Value(3.0))

    def use_a_tuple(layer):
        layer.neurons[0].w = tuple(layer.neurons[0].w)

    return [
        replace_weight,
        replace_weights,
        replace_bias,
        switch_activation,
        replace_neuron,
        replace_neurons,
        append_function,
        use_a_tuple,
    ]


@pytest.mark.parametrize("change", changes(), ids=lambda f: f.__name__)
def test_changes_to_neurons_are_seen(layer, change):
    before = layer(X)
    change(layer)
    after = layer(X)
    assert same(after, one_by_one(layer, X))
    if change.__name__ not in ("use_a_tuple",):
        assert not same(before, after)


def test_a_neurons_call_may_be_replaced(layer, monkeypatch):
    layer(X)
    monkeypatch.setattr(nn.Neuron, "__call__", lambda self, x: Value(11.0))
    assert [v.data for v in layer(X)] == [11.0] * 4


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
def test_copies_of_a_model_are_models_of_their_own(copied):
    random.seed(2)
    model = nn.MLP(2, [3, 1])
    model([1.0, 2.0])
    other = copied(model)
    for p in other.parameters():
        p.data *= 0.5
    assert [p.data for p in other.parameters()] == [p.data * 0.5 for p in model.parameters()]
    assert other([1.0, 2.0]).data != model([1.0, 2.0]).data
    other([1.0, 2.0]).backward()
    assert not any(p.grad for p in model.parameters())


def test_a_pickled_layer_looks_at_its_neurons_again(layer):
    layer(X)
    for neuron in layer.neurons:
        neuron.nonlin = False  # after the layer last looked
    other = pickle.loads(pickle.dumps(layer))
    assert same(other(X), one_by_one(other, X))
    other = copy.copy(layer)
    assert same(other(X), one_by_one(other, X))


def test_gradients_reach_inputs_and_parameters():
    random.seed(3)
    model = nn.MLP(2, [8, 1])
    x = [Value(0.3), Value(-0.8)]
    model(x).backward()
    h = 1e-6
    for v in [*x, *model.parameters()]:
        v.data += h
        above = model(x).data
        v.data -= 2 * h
        below = model(x).data
        v.data += h
        assert v.grad == pytest.approx((above - below) / (2 * h), rel=1e-6, abs=1e-8)


def test_linear():
    w = [[Value(1.0), 2.0], [3.0, Value(4.0)]]
    x = [Value(5.0), 6.0]
    out = linear(x, w, bias=[Value(0.5), 1.0])
    assert [v.data for v in out] == [17.5, 40.0]
    microgradc.sum(out).backward()
    assert (w[0][0].grad, w[1][1].grad, x[0].grad) == (5.0, 6.0, 4.0)
    assert linear([1.0, 2.0], [[3.0, 4.0]]) == [11.0]
    assert linear((v for v in x), (row for row in w))[0].data == 17.0
    with pytest.raises(ValueError, match="bias must have one entry for each of the 2 rows of weight, got 1"):
        linear(x, w, [1.0])
    with pytest.raises(ValueError, match="same length"):
        linear(x, [[1.0]])
    with pytest.raises(TypeError, match=r"w\[0\] must be a Value or a real number"):
        linear(x, [["a", 1.0]])


@pytest.mark.parametrize("activation", [*nn.ACTIVATIONS, math.sin])
def test_activations(activation, layer):
    function = {"linear": lambda v: v, math.sin: Value.sin}.get(activation) or getattr(microgradc, activation)
    given = Value.sin if activation is math.sin else activation
    layer = nn.Layer(3, 4, activation=given)
    expected = [function(microgradc.dot(n.w, X, n.b)) for n in layer.neurons]
    assert same(layer(X), expected)
    assert same(layer(X), one_by_one(layer, X))
    values = list(map(Value, (0.5, -1.0, 2.0)))
    assert same(nn.Activation(given)(values), list(map(function, values)))
    model = nn.MLP(3, [4, 1], activation=given, output_activation=given, seed=1)
    inner = [function(microgradc.dot(n.w, X, n.b)) for n in model.layers[0].neurons]
    last = model.layers[1].neurons[0]
    assert model(X).data == function(microgradc.dot(last.w, inner, last.b)).data


def test_names():
    assert repr(nn.MLP(2, [1, 1], activation="leaky_relu", output_activation="tanh")) == (
        "MLP of [Layer of [LeakyReLUNeuron(2)], Layer of [TanhNeuron(1)]]"
    )
    assert repr(nn.Neuron(2, activation=math.sin)) == "sinNeuron(2)"
    model = nn.Sequential(nn.Layer(2, 1), nn.Activation("silu"), nn.Dropout(0.25), microgradc.softmax)
    assert repr(model) == "Sequential of [Layer of [ReLUNeuron(2)], SiLU, Dropout(p=0.25), softmax]"


def test_a_batch_gives_a_list_of_what_its_rows_give():
    model = nn.MLP(3, [4, 2], activation="tanh")
    rows = [[0.1, 0.2, 0.3], [1.0, -1.0, 2.0], [0.0, 5.0, 3.0], [2.0, 2.0, 2.0]]
    expected = [[v.data for v in model(row)] for row in rows]
    for part in (model, model.layers[0], nn.Sequential(model), model.layers[0].neurons[0]):
        alone = [part(row) for row in rows]
        for batch in (
            rows,
            tuple(map(tuple, rows)),
            np.array(rows),
            list(np.array(rows)),
            microgradc.array(rows),
            rows[:3],
            np.eye(3),
        ):
            for single, together in zip(alone if len(batch) == 4 else map(part, batch), part(batch), strict=True):
                assert same(single, together)
    assert [[v.data for v in row] for row in model(np.array(rows, dtype=np.float32).astype(float))] != expected
    assert model(np.zeros((0, 3))) == []
    assert isinstance(nn.MLP(3, [1])(rows)[0], Value)
    layer = nn.Layer(3, 2)
    layer.neurons.append(lambda x: x[0])    # no plain neuron
    assert len(layer(rows)) == 4
    with pytest.raises(ValueError, match="x must have 3 entries"):
        model([[1.0, 2.0], [3.0, 4.0]])


def test_gradients_reach_an_object_array():
    model = nn.MLP(2, [3, 1], activation="tanh")
    x = microgradc.array([0.5, -0.5])
    model(x).backward()
    assert all(microgradc.grads(x) != 0)


def test_initial_values_are_repeatable():
    def drawn(seed):
        return [p.data for p in nn.MLP(2, [3, 1], seed=seed).parameters()]

    assert drawn(5) == drawn(5) != drawn(6)
    random.seed(7)
    state = random.getstate()
    nn.MLP(2, [3, 1], seed=5)
    assert random.getstate() == state
    assert [p.data for p in nn.MLP(2, [1], init=lambda nin, nout, rng: 10 * nin + nout).parameters()] == [
        21.0,
        21.0,
        0.0,
    ]


def test_a_dropout_with_p_0_or_1():
    assert nn.Dropout(0.0)(X) is X
    assert [plain_number(v) for v in nn.Dropout(1.0)(X)] == [0.0] * 3
    assert nn.Dropout(1.0).eval()(X) is X
    assert nn.Dropout(0.5, seed=1)(Value(3.0)).data in (0.0, 6.0)
    first, second = nn.Dropout(0.5, seed=1), nn.Dropout(0.5, seed=1)
    assert [plain_number(v) for v in first([1.0] * 50)] == [plain_number(v) for v in second([1.0] * 50)]
    assert len(nn.Dropout(0.5)([[1.0, 2.0], [3.0, 4.0]])[1]) == 2
    assert copy.deepcopy(nn.Dropout(0.5))([1.0]) in ([0.0], [2.0])
    assert pickle.loads(pickle.dumps(nn.Sequential(nn.Dropout(0.5, seed=1)))).layers[0].p == 0.5
    for wrong in ("x", 1, None):
        with pytest.raises(TypeError, match="mode must be True or False, got "):
            nn.Dropout().train(wrong)


def test_bad_arguments():
    with pytest.raises(ValueError, match=r"activation must be one of linear, relu, .*, got 'rleu'"):
        nn.MLP(2, [1], activation="rleu")
    with pytest.raises(TypeError, match="activation must be a name or a callable of a Value, got None"):
        nn.Layer(2, 1, activation=None)
    with pytest.raises(ValueError, match=r"init must be one of kaiming_normal, .*, got 'zero'"):
        nn.MLP(2, [1], init="zero")
    with pytest.raises(TypeError, match="init must be a name or a callable of nin, nout and rng, got 3"):
        nn.Neuron(2, init=3)
    for p in (-0.1, 1.1, float("nan")):
        with pytest.raises(ValueError, match=r"p must be in \[0, 1\]"):
            nn.Dropout(p)
    for wrong in ("21", 3, None):
        with pytest.raises(TypeError, match="nouts must be a list of at least one layer size"):
            nn.MLP(2, wrong)
    with pytest.raises(ValueError, match="nouts must be a list of at least one layer size"):
        nn.MLP(2, [])
    with pytest.raises(ValueError, match="Sequential needs at least one module"):
        nn.Sequential()
    with pytest.raises(TypeError, match="module 1 of Sequential cannot be called: 3"):
        nn.Sequential(nn.Layer(2, 1), 3)
    assert microgradc.engine.TABLE[6].operands == 2
    with pytest.raises(ValueError, match="7 is not an operation of one operand"):
        microgradc.nn.search.neuron_outputs([1.0], [[Value(1.0)]], [Value(0.0)], bytes([7]))


def test_a_layer_takes_what_a_layer_of_one_neuron_returns():
    model = nn.MLP(2, [1, 3, 1], "tanh", seed=0)
    first, second, third = model.layers
    assert model([0.5, -1.0]).data == third(second([first([0.5, -1.0])])).data
    assert [v.data for v in model([[0.5, -1.0], [1.0, 2.0]])] == [model([0.5, -1.0]).data, model([1.0, 2.0]).data]
    with pytest.raises(ValueError, match="x must have 3 entries"):
        third(first([0.5, -1.0]))
