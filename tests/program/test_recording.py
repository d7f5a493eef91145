"""Recording: the compiled function is compared with a plain call, leaves modules as they were, and notices what was
replaced."""

import copy
import gc
import random
import warnings
import weakref
from collections import deque

import numpy as np
import pytest

import microgradc
from microgradc import CompileError, Value, compile, nn
from microgradc.program import plain_calls

w = Value(2.0)


class Counter(nn.Module):
    """Its result depends on how often it was called, from the third time on."""

    def __init__(self):
        self.w, self.calls, self._hidden = Value(3.0), 0, [0]

    def forward(self, x):
        self.calls += 1
        return self.w * x * (2.0 if self.calls > 2 else 1.0)


def caught(x):
    try:
        return w * x.data
    except Exception:
        return w * 0.0


DIFFERENT = {
    "isinstance": lambda x: w * (x / 100 if isinstance(x, float) else x),
    "hasattr": lambda x: w * x * (1.0 if hasattr(x, "backward") else 3.0),
    "type": lambda x: x * ord(type(x).__name__[0]) * w,
    "str": lambda x: x * len(str(x)) * w,
    "repr": lambda x: x * len(repr(x)) * w,
    "caught": caught,
    "a counter": Counter(),
    "random": lambda x: x * random.random() * w,
    "numpy.random": lambda x: x * np.random.rand() * w,
    "more of them": lambda x: [w * x] * (1 if isinstance(x, Value) else 2),
}


@pytest.mark.parametrize("name", DIFFERENT)
def test_what_a_plain_call_does_otherwise_is_an_error(name):
    with pytest.raises(CompileError):
        compile(DIFFERENT[name])(1.5)


def test_a_refusal_that_is_caught_is_found_where_the_numbers_agree():
    with pytest.raises(CompileError, match="caught this error"):
        compile(caught)(0.0)


def test_nan_inf_and_numbers_that_python_refuses_are_no_difference():
    assert np.isnan(compile(lambda x: w * x)(float("nan")).data)
    assert compile(lambda x: w * x)(float("inf")).data == float("inf")
    assert compile(lambda x: w / x)(0.0).data == float("inf")
    assert np.isnan(compile(lambda x: w + x**0.5)(-1.0).data)
    assert compile(lambda x: (w * x).exp() + x.exp())(0.0).data == 2.0


def test_state_is_left_as_it_was():
    class Running(nn.Module):
        def __init__(self):
            self.w, self.count, self.seen, self.table = Value(1.0), 0, [], {"n": 0}
            self.mean, self.rng, self._last = np.zeros(2), np.random.default_rng(0), None
            self.python = random.Random(3)

        def forward(self, x):
            self.count += 1
            self.seen.append(1)
            self.table["n"] += 1
            self.mean += 1
            self._last = self.new = x * 1
            self.rng.random(), self.python.random(), random.random(), np.random.rand()
            return self.w * x

    module = Running()
    f = compile(lambda x: module(x))
    states = random.getstate(), np.random.get_state()[1].tolist()
    before = module.rng.bit_generator.state, module.python.getstate()
    for call in (lambda: f(1.0), lambda: module.train(False) and f(1.0)):
        call()
        assert (module.count, module.seen, module.table, module.mean.tolist()) == (0, [], {"n": 0}, [0, 0])
        assert module._last is None
        assert not hasattr(module, "new")
        assert (module.rng.bit_generator.state, module.python.getstate()) == before
        assert (random.getstate(), np.random.get_state()[1].tolist()) == states


def test_parameters_made_by_the_first_call_stay():
    class Lazy(nn.Module):
        def forward(self, x):
            if not hasattr(self, "w"):
                self.w = Value(4.0)
            return self.w * x

    module = Lazy()
    f = compile(module)
    f(2.0).backward()
    assert module.w.grad == 2.0


REPLACEMENTS = {
    "an attribute": lambda m: setattr(m.layers[0].neurons[0], "b", Value(m.layers[0].neurons[0].b.data)),
    "an entry": lambda m: m.layers[0].neurons[1].w.__setitem__(0, Value(m.layers[0].neurons[1].w[0].data)),
    "a layer": lambda m: m.layers.__setitem__(1, copy.deepcopy(m.layers[1])),
    "all layers": lambda m: setattr(m, "layers", copy.deepcopy(m.layers)),
    "a list": lambda m: setattr(m.layers[1].neurons[0], "w", copy.deepcopy(m.layers[1].neurons[0].w)),
    "by vars, which is found at the next check": lambda m: (
        vars(m.layers[1].neurons[0]).update(b=Value(m.layers[1].neurons[0].b.data)),
        m.train(not m.training),
    ),
    "deleted": lambda m: (
        delattr(m.layers[1].neurons[0], "b"),
        vars(m.layers[1].neurons[0]).update(b=Value(0.0)),
    ),
}


@pytest.mark.parametrize("name", REPLACEMENTS)
def test_parameters_are_told_apart_by_identity(name):
    """With the same numbers, new Values get the gradients, and their data count."""
    model = nn.MLP(2, [3, 1], activation="tanh", seed=0)
    f = compile(lambda a, b: model([a, b]))
    X = np.array([0.5, -1.0]), np.array([1.0, 2.0])
    f.sum(*X)
    REPLACEMENTS[name](model)
    model.zero_grad()
    f.sum(*X).backward()
    got = [p.grad for p in model.parameters()]
    model.zero_grad()
    microgradc.sum([model([a, b]) for a, b in zip(*X, strict=True)]).backward()
    assert got == pytest.approx([p.grad for p in model.parameters()], rel=1e-12)


def test_variables_and_containers_of_a_function():
    weights, table, one = [Value(1.0)], {"a": Value(2.0)}, Value(3.0)
    f = compile(lambda x: weights[0] * x + table["a"] * one)
    f(1.0)
    weights[0], table["a"], one = Value(1.0), Value(2.0), Value(3.0)
    f(1.0).backward()
    assert (weights[0].grad, table["a"].grad, one.grad) == (1.0, 3.0, 2.0)


def test_recordings_are_few_and_can_be_forgotten():
    calls = []

    def f(x):
        calls.append(len(x))
        return w * microgradc.sum(x)

    compiled = compile(f, recordings=2)
    with warnings.catch_warnings(record=True) as caught_warnings:
        warnings.simplefilter("always")
        for n in (1, 2, 1, 3, 4):
            compiled([1.0] * n)
    assert ["more than 2 shapes" in str(warning.message) for warning in caught_warnings] == [True]
    calls.clear()
    compiled([1.0] * 4), compiled([1.0] * 3)
    assert not calls
    compiled([1.0] * 1)
    assert set(calls) == {1}
    calls.clear()
    compiled.clear()
    compiled([1.0] * 1)
    assert calls
    for wrong in (0, -1):
        with pytest.raises(ValueError, match="recordings"):
            compile(f, recordings=wrong)


def test_keys_hold_no_object_of_the_callers():
    class Key:
        pass

    f = compile(lambda d: w * microgradc.sum(list(d.values())))
    key = Key()
    assert f({key: 2.0}).data == 4.0
    assert f.value_and_grad({key: 2.0})[1] == {key: 2.0}
    reference = weakref.ref(key)
    del key
    gc.collect()
    assert reference() is None


def test_attributes_of_a_module_do_not_hide_those_of_the_compiled_one():
    class Normalise(nn.Module):
        def __init__(self):
            self.mean, self.sum, self.map, self.program, self.clear = (Value(float(i)) for i in range(5))

        def forward(self, x):
            return (x - self.mean) * self.clear

    f = compile(Normalise())
    assert f.mean(np.array([1.0, 2.0])).data == 6.0
    assert f.map(np.array([1.0, 2.0])).tolist() == [4.0, 8.0]
    assert isinstance(f.__wrapped__, Normalise)


def test_made_up_numbers_warn_of_nothing():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        f = compile(lambda x: microgradc.sum(np.sqrt(x)) * w)
        assert f.map(np.ones((4, 3))).tolist() == [6.0] * 4
        g = compile(lambda x: w * np.log(x))
        assert g.map(np.ones(3)).tolist() == [0.0] * 3


def test_finalizers_and_callbacks_are_not_refused():
    seen = []

    class Thing:
        def __del__(self):
            seen.append(w.data)

    def f(x):
        Thing()
        thing = type("Other", (), {})()
        reference = weakref.ref(thing, lambda _: seen.append(w.item()))
        del thing
        assert reference() is None
        return w * x

    assert compile(f)(3.0).data == 6.0
    assert seen == [2.0] * 6

    def generator():
        try:
            yield
        finally:
            seen.append(w.data)

    def closes(x):
        waiting = generator()
        next(waiting)
        del waiting         # it is closed, and its `finally` runs
        return w * x

    assert compile(closes)(3.0).data == 6.0
    assert seen == [2.0] * 9

    class Compiles:
        def __del__(self):
            try:
                compile(lambda x: w * x.data)(1.0)
            except CompileError as error:
                seen.append(error)

    Compiles()
    assert isinstance(seen[-1], CompileError)  # what a finalizer records itself is refused as ever


def test_ctrl_c_before_the_plain_call_leaves_no_mark(monkeypatch):
    def interrupt(leaf):
        raise KeyboardInterrupt

    f = compile(lambda x: w * x)
    with monkeypatch.context() as patch:
        patch.setattr(plain_calls, "_is_numpys_integer", interrupt)
        with pytest.raises(KeyboardInterrupt):
            f(1.5)
    assert not plain_calls.is_trying()
    assert f(1.5).data == 3.0
    assert len(f._recordings.used) == 1


@pytest.mark.parametrize("kind", [list, dict, set, deque])
def test_subclasses_of_containers_in_a_module(kind):
    """What a call puts into them while it is recorded is taken out again; an exception of the module is its own."""
    class Own(kind):
        pass

    def put(log):
        if kind is dict:
            log[len(log)] = 1
        elif kind is set:
            log.add(len(log))
        else:
            log.append(1)

    class Net:
        def __init__(self):
            self.w, self.log, self.fails = Value(2.0), Own(), False

        def parameters(self):
            return [self.w]

        def __call__(self, x):
            if self.fails:
                raise RuntimeError("mine")
            put(self.log)
            return self.w * x

    net = Net()
    f = compile(net)
    assert f(3.0).data == 6.0
    assert len(net.log) <= 1
    assert f.value_and_grad(4.0) == (8.0, 2.0)
    net.fails = True
    with pytest.raises(RuntimeError, match="mine"):
        compile(net)(1.0)
