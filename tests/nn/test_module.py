"""Modules: parameters are found wherever they are, named, and set all at once or not at all."""

import sys

import numpy as np
import pytest

import microgradc
from microgradc import Value, accuracy, nn
from microgradc.nn.module import Module


class Everything(Module):
    """Parameters in all the places where they are looked for."""

    def __init__(self):
        self.scale = Value(1.0)
        self.rows = [[Value(2.0), Value(3.0)], [Value(4.0), Value(5.0)]]
        self.table = {"a": Value(6.0), 7: (Value(7.0),)}
        self.array = microgradc.array([8.0, 9.0])
        self.layer = nn.Layer(1, 2)
        self.parts = [nn.Neuron(1), None, "text", 3.0]
        self.same = self.scale
        self.itself = self
        self.inner = self.scale * 2
        self._hidden = Value(99.0)
        self.kind = nn.MLP
        self.name = "everything"


def test_parameters_are_found_wherever_they_are():
    model = Everything()
    names = [name for name, _ in model.named_parameters()]
    assert names == [
        *"scale rows.0.0 rows.0.1 rows.1.0 rows.1.1 table.a table.7.0 array.0 array.1".split(),
        *"layer.neurons.0.w.0 layer.neurons.0.b layer.neurons.1.w.0 layer.neurons.1.b parts.0.w.0 parts.0.b".split(),
    ]
    assert [p for _, p in model.named_parameters()] == model.parameters()
    assert [p.data for p in model.parameters()[:9]] == [1, 2, 3, 4, 5, 6, 7, 8, 9]
    (model.inner + model.rows[1][1]).backward()
    assert (model.scale.grad, model.rows[1][1].grad) == (2.0, 1.0)
    model.zero_grad()
    assert not any(p.grad for p in model.parameters())


def test_the_order_is_that_of_micrograd():
    model = nn.MLP(2, [3, 1])
    assert model.parameters() == [p for layer in model.layers for n in layer.neurons for p in [*n.w, n.b]]
    assert [name for name, _ in model.named_parameters()][-4:] == [
        f"layers.1.neurons.0.{x}" for x in ("w.0", "w.1", "w.2", "b")
    ]


def test_a_class_with_a_method_of_its_own_is_asked():
    class Net(Module):
        def __init__(self):
            self.used, self.unused = nn.Neuron(1), nn.Neuron(1)
            self.made = Value(5.0)

        def parameters(self):
            return [*self.used.parameters(), *self._more]

        _more = (Value(1.0),)

    class Foreign:
        def __init__(self):
            self.p = Value(2.0)

        def parameters(self):
            return [self.p]

    net = Net()
    assert [name for name, _ in net.named_parameters()] == ["used.w.0", "used.b", "parameters.2"]
    outer = Module()
    outer.net, outer.foreign = net, Foreign()
    assert outer.parameters() == [*net.parameters(), outer.foreign.p]
    assert [name for name, _ in outer.named_parameters()] == [
        "net.used.w.0",
        "net.used.b",
        "net.parameters.2",
        "foreign.0",
    ]


def test_a_subclass_of_a_network_may_add_parameters():
    class Scaled(nn.MLP):
        def __init__(self):
            super().__init__(2, [3, 1])
            self.factor = Value(2.0)

        def __call__(self, x):
            return super().__call__(x) * self.factor

    model = Scaled()
    assert model.factor in model.parameters()
    assert model.state_dict()["factor"] == 2.0


def test_equal_values_of_a_subclass_are_parameters_of_their_own():
    class Equal(Value):
        __hash__ = Value.__hash__

        def __eq__(self, other):
            return True

    model = Module()
    model.a, model.b = Equal(1.0), Equal(1.0)
    assert len(model.parameters()) == 2


def test_deep_and_endless_structures():
    model = Module()
    endless = [Value(1.0)]
    endless.append(endless)
    model.endless = endless
    assert model.parameters() == [endless[0]]
    deep = []
    for _ in range(200_000):
        deep = [deep]
    model.deep = deep
    with pytest.raises(RecursionError):
        model.parameters()
    while deep:  # the list's own release would do as well
        deep = deep[0]


def test_a_container_that_changes_while_it_is_searched():
    class Growing(Module):
        def parameters(self):
            model.__dict__[f"extra{len(vars(model))}"] = Value(1.0)
            return []

    model = Module()
    model.part = Growing()
    with pytest.raises(RuntimeError, match="changed size"):
        model.parameters()


def test_a_module_says_that_it_computes_nothing():
    with pytest.raises(NotImplementedError, match="Module has no method forward"):
        Module()(1.0)
    assert Module().parameters() == []
    assert microgradc.nn.search.find_parameters(3.0, None, True) == ([], [])


def test_train_and_eval_reach_all_parts():
    model = Module()
    model.parts = {"a": nn.Sequential(nn.Layer(1, 1), nn.Dropout()), "b": [nn.Dropout()]}
    dropouts = [m for m in model.modules() if isinstance(m, nn.Dropout)]
    assert len(dropouts) == 2
    model.array = np.array([nn.Dropout(), None], object)
    model._hidden = nn.Dropout()
    model.itself = [model]
    assert [
        type(m).__name__ for m in model.modules()
    ] == "Module Sequential Layer Neuron Dropout Dropout Dropout".split()
    assert model.eval() is model
    assert not model.array[0].training
    assert model._hidden.training
    assert not any(m.training for m in model.modules())
    assert model.train() is model
    assert all(m.training for m in model.modules())
    assert not any(m.training for m in model.train(np.False_).modules())


def test_state_dict_has_an_array_for_each_list():
    model = Everything()
    state = model.state_dict()
    assert {name: array.shape for name, array in state.items()} == {
        **{"scale": (), "rows": (2, 2), "table.a": (), "table.7.0": (), "array": (2,)},
        **{"layer.neurons.0.w": (1,), "layer.neurons.0.b": (), "layer.neurons.1.w": (1,), "layer.neurons.1.b": ()},
        **{"parts.0.w": (1,), "parts.0.b": ()},
    }
    assert state["rows"].tolist() == [[2.0, 3.0], [4.0, 5.0]]
    state["rows"][0, 0] = 100.0
    assert model.rows[0][0].data == 2.0, "a copy"


def test_ragged_lists_and_shared_values_have_entries_of_their_own():
    model = Module()
    shared = Value(3.0)
    model.shared = shared
    model.ragged = [[Value(1.0)], [Value(2.0), shared, Value(4.0)]]
    assert {name: float(a) for name, a in model.state_dict().items()} == {
        "shared": 3.0, "ragged.0.0": 1.0, "ragged.1.0": 2.0, "ragged.1.2": 4.0,
    }


@pytest.mark.parametrize("make", [Everything, lambda: nn.MLP(3, [4, 2])])
def test_a_state_dict_goes_into_another_model(make):
    model, other = make(), make()
    for i, p in enumerate(model.parameters()):
        p.data = 0.1 * i
    other.load_state_dict(model.state_dict())
    assert [p.data for p in other.parameters()] == [p.data for p in model.parameters()]
    other.load_state_dict({name: array.tolist() for name, array in model.state_dict().items()})


def faulty(state):
    first, second, *_ = state
    yield {**state, first: np.zeros(7)}, rf"{first} has shape \(7,\), the model needs \(2,\)"
    yield {name: a for name, a in state.items() if name != second}, f"{second} is missing"
    yield {**state, "more": np.zeros(1)}, "more is unexpected"
    yield {**state, second: np.array("a")}, f"{second} must be real numbers, got dtype <U1"
    yield {**state, second: np.array(1j)}, f"{second} must be real numbers, got dtype complex128"
    yield {**state, first: [[1.0], [1.0, 2.0]]}, f"{first} must have rows of one length"
    yield {}, "and 6 more"


def test_a_state_dict_that_does_not_fit_changes_nothing():
    model = nn.MLP(2, [12, 1])
    state = {name: a + 1 for name, a in model.state_dict().items()}
    before = [p.data for p in model.parameters()]
    cases = list(faulty(state))
    assert len(cases) == 7
    for case, message in cases:
        with pytest.raises(ValueError, match=f"(?s)the state does not fit MLP, which stays as it was:.*{message}"):
            model.load_state_dict(case)
        assert [p.data for p in model.parameters()] == before
    with pytest.raises(TypeError, match="state_dict must be a dict of arrays"):
        model.load_state_dict([1.0])
    model.load_state_dict({"layers.1.neurons.0.b": 5.0, "more": 1.0}, strict=False)
    assert model.layers[1].neurons[0].b.data == 5.0
    assert [p.data for p in model.parameters()][:-1] == before[:-1]


def test_names_that_collide_are_refused():
    model = Module()
    model.table = {"1": Value(1.0), 1: Value(2.0)}
    with pytest.raises(ValueError, match=r"two parameters are both called table\.1"):
        model.state_dict()


def test_searching_leaves_no_reference_behind():
    model = Everything()
    counts = [sys.getrefcount(p) for p in model.parameters()]
    for _ in range(100):
        list(model.named_parameters())
        model.state_dict()
    assert [sys.getrefcount(p) for p in model.parameters()] == counts


def test_modes_are_put_back_where_ctrl_c_comes_while_they_are_set(monkeypatch):
    model = nn.MLP(2, [3, 1], seed=0)
    model.train()
    set_first = type(model).train

    def interrupted(self, mode=True):
        set_first(self, mode)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(type(model), "train", interrupted)
        with pytest.raises(KeyboardInterrupt):
            accuracy(model, [[1.0, 2.0]], [1.0])
    assert all(m.training for m in model.modules())
