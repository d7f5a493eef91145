"""Functions that return several Values: one run for all of them, and their gradients by one more run when asked for."""

import copy
import gc
import itertools
import pickle
import tracemalloc
import weakref

import numpy as np
import pytest

import microgradc
from microgradc import Value, compile, less, nn, no_grad, sqrt, take, topological_sort


@pytest.fixture
def made():
    """A model, an example of Values, what eager gives for it, and compiled; and how gradients are read."""
    model = nn.MLP(3, [6, 4], activation="tanh", seed=3)
    leaves = [Value(0.1), Value(-0.7), Value(1.3)]
    everything = [*model.parameters(), *leaves]

    def gradients(out):
        for v in everything:
            v.grad = 0.0
        out.backward()
        return np.array([v.grad for v in everything])

    f = compile(lambda x: model(x))
    return model, leaves, model(leaves), f(leaves), gradients


def close(a, b):
    return np.allclose(a, b, rtol=1e-12, atol=1e-13)


def test_each_output_and_each_set_of_them_has_its_gradient(made):
    _, _, eager, outputs, gradients = made
    assert close([v.data for v in outputs], [v.data for v in eager])
    for size in (1, 2, 3, 4):
        for chosen in itertools.combinations(range(4), size):
            wanted = gradients(sum(eager[i] ** 2 * (i + 1) for i in chosen))
            assert close(gradients(sum(outputs[i] ** 2 * (i + 1) for i in chosen)), wanted), chosen
            assert close(gradients(sum(outputs[i] ** 2 * (i + 1) for i in chosen)), wanted), "once more"


def test_means_of_several_outputs_send_gradients_of_the_batch_as_it_was(made):
    model, leaves, *_, gradients = made
    X = np.random.default_rng(0).normal(size=(300, 3))
    f = compile(lambda x: {"square": sum(v * v for v in model(x)), "rest": (model(x)[0], 3.0)})
    given = X.copy()
    got = f.mean(given)
    given[:] = 0
    rows = [model(row.tolist()) for row in X]
    assert close(gradients(got["square"]), gradients(sum(v * v for row in rows for v in row) / 300))
    assert close(gradients(got["rest"][0]), gradients(sum(row[0] for row in rows) / 300))
    assert got["rest"][1].data == 3.0
    batch = [[v, 1.0, 2.0] for v in leaves]
    assert close(gradients(f.sum(batch)["square"]), gradients(sum(v * v for row in batch for v in model(row))))


def test_gradients_are_those_of_the_numbers_at_the_call(made):
    model, _, eager, outputs, gradients = made
    wanted = gradients(eager[1] * eager[2])
    for p in model.parameters():
        p.data += 1.0
    assert close(gradients(outputs[1] * outputs[2]), wanted)


def test_arguments_within_a_graph(made):
    model, _, _, _, gradients = made
    x = Value(0.4)
    f = compile(lambda a: model([a, a * a, 1.0]))

    def through(function):
        x.grad = 0.0
        hidden = x.sin()
        out = function(hidden)
        return gradients(out[0] * out[3] + hidden), x.grad

    got, wanted = through(f), through(lambda a: model([a, a * a, 1.0]))
    assert close(got[0], wanted[0])
    assert close(got[1], wanted[1])


def test_a_pass_within_a_pass(made):
    """A closure runs another pass over the same call; it marks other nodes, and leaves this pass's gradients."""
    _, _, eager, outputs, gradients = made
    wanted = gradients(eager[0] + 2 * eager[3])

    between = Value(0.0, (outputs[3],))

    def rule():
        outputs[3].grad += 2 * between.grad
        outputs[1].backward()

    between._backward = rule
    got = gradients(outputs[0] + between)
    assert close(got, wanted + gradients(eager[1]))
    assert close(gradients(outputs[2]), gradients(eager[2]))


def test_a_pass_that_failed_leaves_nothing_for_the_next(made):
    _, _, eager, outputs, gradients = made
    wrong = Value(0.0, (outputs[0],))

    def rule():
        raise KeyError("on the way")

    wrong._backward = rule
    with pytest.raises(KeyError, match="on the way"):
        (outputs[1] * 3 + wrong).backward()
    assert close(gradients(outputs[2]), gradients(eager[2]))


def test_a_graph_can_be_gone_through_by_hand(made):
    """As in the lecture: each node's own _backward, from the root on."""
    model, leaves, eager, outputs, gradients = made
    wanted = gradients(eager[0] * eager[1])

    def by_hand():
        root = outputs[0] * outputs[1]
        nodes = topological_sort(root)
        for node in nodes:
            node.grad = 0.0
        root.grad = 1.0
        for node in reversed(nodes):
            node._backward()
        return {id(v): v.grad for v in nodes}

    found = by_hand()
    assert close([found.get(id(v), 0.0) for v in [*model.parameters(), *leaves]], wanted)


def test_an_output_that_nobody_asks_for_sends_nothing():
    f = compile(lambda x: [sqrt(x), x, x * x])
    for chosen, wanted in (([1], 1.0), ([2], 0.0), ([1, 2], 1.0), ([0], np.inf)):
        x = Value(0.0)
        out = f(x)
        sum(out[i] for i in chosen).backward()
        assert x.grad == wanted
    x = Value(0.0)
    out = f(x)
    (out[0] * 0.0 + out[1]).backward()      # a 0 that was sent: nan, as without compile
    assert np.isnan(x.grad)
    total = f.sum([x, 4.0])
    x.grad = 0.0
    total[1].backward()
    assert x.grad == 1.0


def test_without_gradients_and_without_parameters():
    f = compile(lambda x: [x * 2, x + 1, 3.0])
    two = compile(lambda x: (x * 2, x + 1))
    assert [v._prev for v in two(1.0)] == [set(), set()]
    assert [v.data for v in f.mean([1.0, 2.0])] == [3.0, 2.5, 3.0]
    with no_grad():
        x = Value(1.0)
        assert [v._prev for v in f(x)] == [set(), set(), set()]
    f(x)[2].backward()
    assert x.grad == 0.0


def test_results_are_in_no_cycle():
    """They go when nobody has them, without the collector."""
    class Marked(Value):
        pass

    model = nn.MLP(2, [3, 3], seed=0)
    f = compile(lambda x: model(x))
    f([0.0, 0.0])
    gc.collect()
    gc.disable()
    try:
        x = Marked(0.5)
        gone = weakref.ref(x)
        out = f([x, 1.0])
        sum(out).backward()
        assert x.grad != 0
        del x, out
        assert gone() is None
    finally:
        gc.enable()


def test_many_outputs_take_memory_in_proportion():
    def peak(k):
        model = nn.MLP(4, [16, k], seed=0)
        f = compile(lambda x: model(x))
        tracemalloc.start()
        out = f([0.1] * 4)
        sum(out).backward()
        size = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return size

    peak(4)
    assert peak(320) < 12 * peak(40)


# What was not taken


RNG = np.random.default_rng(2)
W = [Value(x) for x in (0.5, -1.0, 0.0, 2.0)]


def wide_values(x, y):
    hidden = [(x.log() * w + y).tanh() for w in W[:3]]
    return [
        x * 1.0,
        sqrt(x) * W[0],
        microgradc.dot(hidden, W[:3], W[3]),
        x.log() * y.log() + W[1],
        microgradc.logsumexp([x.log(), y.log(), W[0] * 1.0]),
        (x ** 1.5 / y).exp(),
        microgradc.where(less(x, y), 1 / x, y / x),
        microgradc.softmax([x.log(), 1 / y])[0],
        W[2].log() + y,
        sqrt(W[2]) * y,
        W[3] * W[2] + y * 2,
    ]


def eager_gradients(x, y, i):
    leaves = [Value(x), Value(y)]
    for w in W:
        w.grad = 0.0
    wide_values(*leaves)[i].backward()
    return [v.grad for v in leaves + W]


CORNERS = [(0.0, 0.0), (0.0, 1.0), (-1.0, 0.5), (2.0, 0.0), (np.inf, 1.0), (0.3, 0.7)]


def same(a, b):
    return np.allclose(a, b, rtol=1e-11, atol=1e-13, equal_nan=True)


@pytest.mark.parametrize("i", range(11))
def test_what_was_not_taken_gets_nothing(i):
    f = compile(lambda x, y, i: take(wide_values(x, y), i))
    for x, y in CORNERS:
        wanted = eager_gradients(x, y, i)
        leaves = [Value(x), Value(y)]
        for w in W:
            w.grad = 0.0
        f(*leaves, i).backward()
        assert same([v.grad for v in leaves + W], wanted), (x, y)
        assert same(f.value_and_grad(x, y, i)[1][:2], wanted[:2]), (x, y)


def test_what_was_not_taken_gets_nothing_in_batches():
    f = compile(lambda x, y, i: take(wide_values(x, y), i) * 2)
    n = 700
    corners = RNG.integers(0, len(CORNERS), n)
    X, Y = np.array(CORNERS)[corners].T.copy()
    picks = RNG.integers(0, 11, n)
    wanted = 2 * np.array([eager_gradients(*row) for row in zip(X.tolist(), Y.tolist(), picks.tolist(), strict=True)])
    _, (gx, gy, gi) = f.map_value_and_grad(X, Y, picks)
    assert same(gx, wanted[:, 0])
    assert same(gy, wanted[:, 1])
    assert not gi.any()
    finite = np.isfinite(wanted).all(axis=1)     # of these, the parameters' sums tell something
    for w in W:
        w.grad = 0.0
    f.sum(X[finite], Y[finite], picks[finite]).backward()
    assert same([w.grad for w in W], wanted[finite].sum(axis=0)[2:])
    assert np.isnan(f.map(X, Y, picks)).any()
    assert finite.sum() > 100


def test_a_row_of_expressions_and_an_index_for_each():
    f = compile(lambda x, i, j: take([[sqrt(x), x], [x, x.log()], [x * 3, 1 / x]], i)[0] * take([x.log(), x + 1], j))
    for i, j in itertools.product(range(3), range(2)):
        x = Value(0.0)
        ([sqrt(x), x, x * 3][i] * [x.log(), x + 1][j]).backward()
        assert same(f.value_and_grad(0.0, i, j)[1][0], x.grad), (i, j)


def test_a_zero_that_was_sent_is_none_that_was_not():
    """0 times an infinite derivative stays nan where it is taken, as without compile."""
    f = compile(lambda x, i: take([sqrt(x) * 0.0, x], i))
    assert np.isnan(f.value_and_grad(0.0, 0)[1][0])
    assert f.value_and_grad(0.0, 1)[1][0] == 1.0


def by_pickle(v):
    return pickle.loads(pickle.dumps(v))


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy, by_pickle])
def test_an_output_is_copied_as_a_node_over_parameters_and_arguments(made, duplicate):
    model, leaves, eager, outputs, gradients = made
    originals = [*model.parameters(), *leaves]
    for one, expected in zip(outputs, eager, strict=True):
        wanted = gradients(expected)
        model.zero_grad()
        for v in leaves:
            v.grad = 0.0
        double = duplicate(one)
        assert double.data == one.data
        assert all(v.grad == 0 for v in originals)
        children = double._prev
        assert set(children).isdisjoint(originals) or set(children) == set(originals)
        assert (set(children) == set(originals)) == (duplicate is copy.copy)
        double.backward()
        assert close(sorted(v.grad for v in children), sorted(wanted))


@pytest.mark.parametrize("duplicate", [copy.deepcopy, by_pickle])
def test_what_is_made_of_outputs_is_copied(duplicate):
    w, x = Value(3.0), Value(2.0)
    f = compile(lambda x: [w * x, w * w * x, sqrt(x - 2.0)])    # the last has no gradient at 2
    y = f(x)
    w.data = 5.0      # gradients are those at the call
    several = duplicate({"loss": y[0] + y[1], "part": y[0], "x": x, "all": y, "w": w})
    several["loss"].backward()
    assert (several["x"].grad, several["w"].grad) == (3.0 + 9.0, 2.0 + 12.0)
    assert (x.grad, w.grad) == (0.0, 0.0)
    assert several["part"].data == several["all"][0].data == 6.0
    assert several["part"] is several["all"][0]
    (y[0] + y[1]).backward()      # which still are what they were
    assert (x.grad, w.grad) == (12.0, 14.0)


def test_a_copy_of_the_total_over_a_batch():
    w = Value(3.0)
    double, product = copy.deepcopy(compile(lambda x: [w * 2, w * x]).sum([1.0, 2.0]))
    product.backward()
    double.backward()
    assert [v.grad for v in double._prev] == [3.0 + 4.0]
    assert w.grad == 0.0
