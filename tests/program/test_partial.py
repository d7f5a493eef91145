"""Parts of batches: sums that are made anywhere, and added up by a fixed tree."""

import pickle
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import microgradc
from microgradc import MLP, Partial, Value, combine, compile, no_grad


@pytest.fixture
def model():
    return MLP(2, [4, 1], activation="tanh", seed=0)


@pytest.fixture
def loss(model):
    return compile(lambda x, y: (model(x) - y) ** 2)


RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(100, 2)), RNG.normal(size=100)


def cut(f, size, *arrays):
    return [f.partial(*[a[i : i + size] for a in arrays]) for i in range(0, len(arrays[0]), size)]


def gradients_of(total, parameters):
    for p in parameters:
        p.grad = 0.0
    total.backward()
    return np.array([p.grad for p in parameters])


def test_a_part_has_what_the_sum_has(model, loss):
    part = loss.partial(X, Y)
    total = loss.sum(X, Y)
    parameters = loss.program(X[0], Y[0]).parameters
    assert part.count == 100
    assert part.sum == total.data
    assert part.mean == part.sum / 100
    assert part.gradients.tolist() == gradients_of(total, parameters).tolist()
    assert part.shared_gradients.shape == (0,)
    assert sorted(map(id, parameters)) == sorted(map(id, model.parameters()))


@pytest.mark.parametrize("size", [1, 7, 50, 100])
def test_values_over_parts_are_those_over_the_batch(model, loss, size):
    parts = cut(loss, size, X, Y)
    for of_parts, of_batch in [(loss.mean_of, loss.mean), (loss.sum_of, loss.sum)]:
        total, wanted = of_parts(parts), of_batch(X, Y)
        assert total.data == pytest.approx(wanted.data, rel=1e-14)
        expected = gradients_of(wanted, model.parameters())
        np.testing.assert_allclose(gradients_of(total, model.parameters()), expected, rtol=1e-12, atol=1e-14)
    assert loss.mean_of(combine(parts)).data == loss.mean_of(parts).data


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=70), st.integers(0, 5))
def test_the_tree_may_be_cut_at_each_power_of_two(numbers, power):
    f = compile(lambda x: x * 1.0)
    parts = [f.partial([x]) for x in numbers]
    size = 2**power
    groups = [combine(parts[i : i + size]) for i in range(0, len(parts), size)]
    assert combine(groups).sum == combine(parts).sum
    level = list(numbers)     # what the docs say the tree is
    while len(level) > 1:
        level = [sum(level[i : i + 2]) for i in range(0, len(level), 2)]
    assert combine(parts).sum == level[0]


def test_empty_parts_add_nothing(loss):
    empty = loss.partial(X[:0], Y[:0])
    assert (empty.count, empty.sum, empty.gradients.any()) == (0, 0.0, False)
    assert np.isnan(empty.mean)
    parts = cut(loss, 30, X, Y)
    assert combine([empty, *parts]).count == 100
    with_empty = combine([parts[0], empty, parts[1], empty, empty])
    assert with_empty.sum == combine(parts[:2]).sum
    with pytest.raises(ValueError, match="at least one example, got empty parts alone"):
        loss.mean_of([empty, empty])
    assert combine([empty, empty]).count == 0


def test_parts_travel(loss):
    part = loss.partial(X, Y)
    back = pickle.loads(pickle.dumps(part))
    assert (back.count, back.sum, back.gradients.tolist()) == (100, part.sum, part.gradients.tolist())
    assert loss.mean_of(back).data == loss.mean_of(part).data
    assert "100 examples" in repr(back)


def test_parts_of_a_process_where_the_function_was_called(run_python):
    text = run_python(
        "import pickle, microgradc as m, numpy as np\n"
        "model = m.MLP(2, [4, 1], activation='tanh', seed=0)\n"
        "f = m.compile(lambda x, y: (model(x) - y) ** 2)\n"
        "print(pickle.dumps(f.partial(np.ones((3, 2)), np.zeros(3))).hex())"
    )
    part = pickle.loads(bytes.fromhex(getattr(text, "stdout", text).strip()))
    model = MLP(2, [4, 1], activation="tanh", seed=0)
    f = compile(lambda x, y: (model(x) - y) ** 2)     # which was never called here
    mean = f.mean_of(part)
    assert mean.data == pytest.approx(f([1.0, 1.0], 0.0).data, rel=1e-14)
    assert gradients_of(mean, model.parameters()).any()


def test_several_results(model):
    f = compile(lambda x: {"a": model(x), "b": [x[0] * model(x), x[1]]})
    parts = cut(f, 30, X)
    assert parts[0].sum.shape == (3,)
    assert parts[0].gradients.shape == (3, len(model.parameters()))
    found, wanted = f.mean_of(parts), f.mean(X)
    assert found["b"][0].data == pytest.approx(wanted["b"][0].data)
    np.testing.assert_allclose(
        gradients_of(found["b"][0], model.parameters()), gradients_of(wanted["b"][0], model.parameters()), atol=1e-13
    )


def test_shared_arguments_have_gradients_of_their_own():
    w = Value(2.0)
    f = compile(lambda theta, x: w * theta[0] * x + theta[1], shared=("theta",))
    part = f.partial([3.0, 1.0], [1.0, 2.0, 4.0])
    assert part.shared_gradients.tolist() == [14.0, 3.0]
    assert part.gradients.tolist() == [21.0]
    assert f.sum_of([part, f.partial([3.0, 1.0], [1.0])]).data == 52.0


@dataclass
class Point:
    x: float
    y: float


def test_arguments_of_any_kind():
    f = compile(lambda p, kind, *, k: (p.x - p.y) * k if kind == "a" else p.x)
    part = f.partial(Point(np.ones(3), np.zeros(3)), "a", k=np.full(3, 2.0))
    assert part.sum == 6.0
    back = pickle.loads(pickle.dumps(part))
    assert f.sum_of([part, back]).data == 12.0
    other = f.partial(Point(np.ones(3), np.zeros(3)), "b", k=np.full(3, 2.0))
    with pytest.raises(ValueError, match=r"parts\[1\] is of another function, or of other arguments"):
        combine([part, other])


def test_within_no_grad_there_are_no_gradients(loss):
    with no_grad():
        part = loss.partial(X, Y)
        assert part.gradients is None
        assert loss.mean_of([part, part]).data == pytest.approx(loss.mean(X, Y).data)
    with pytest.raises(ValueError, match="made within no_grad"):
        loss.mean_of(part)


def test_what_is_no_part():
    f, g = compile(lambda x: x * 2.0), compile(lambda x: Value(1.0) * x)
    with pytest.raises(ValueError, match="at least one part, got none"):
        combine([])
    with pytest.raises(TypeError, match=r"parts\[0\] must be what f.partial returned, got int 3"):
        combine([3])
    with pytest.raises(TypeError, match="Values among them would get no gradients"):
        f.partial([Value(1.0)])
    w = Value(2.0)
    h = compile(lambda x: w * x)
    with pytest.raises(ValueError, match="another function: this one has 1 results and 1 parameters"):
        h.mean_of(f.partial([1.0]))
    with pytest.raises(microgradc.CompileError):
        compile(lambda x: f.partial([x]) and x)(1.0)
    assert isinstance(g.partial([1.0]), Partial)


def test_hooks_and_values_with_baggage_get_their_gradients(model, loss):
    seen = []
    model.parameters()[0].register_hook(seen.append)
    loss.mean_of(loss.partial(X, Y)).backward()
    assert len(seen) == 1


def test_parts_do_not_write_into_each_other(loss):
    parts = cut(loss, 30, X, Y)
    before = [p.gradients.copy() for p in parts]
    combine(parts)
    assert all((x == p.gradients).all() for x, p in zip(before, parts, strict=True))


def test_parts_of_a_function_of_the_same_shape_are_refused():
    def net(activation):
        model = MLP(2, [3, 1], activation=activation, seed=0)
        return compile(lambda x: model(x))

    x = np.ones((4, 2))
    of_tanh, of_relu, again = net("tanh"), net("relu"), net("tanh")
    parts = [of_tanh.partial(x), of_tanh.partial(x[:2])]
    assert again.mean_of(parts).data == of_tanh.mean_of(parts).data     # the same function with other parameters
    for call in (of_relu.mean_of, of_relu.sum_of, lambda parts: combine([*parts, of_relu.partial(x)])):
        with pytest.raises(ValueError, match="another function"):
            call(parts)
