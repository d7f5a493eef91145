"""Value.register_hook, next to torch.Tensor.register_hook."""

import copy
import gc
import pickle
import threading
import weakref

import pytest
import torch

import microgradc
from microgradc import CompileError, Value, compile, gradients, no_grad


def tensor(x):
    return torch.tensor(x, dtype=torch.float64, requires_grad=True)


def leaf_with_gradient(make):
    """A leaf that has a gradient already: a hook sees that of the pass."""
    x, seen = make(3.0), []
    (x * 5.0).backward()
    x.register_hook(lambda g: seen.append(float(g)))
    (x * x).backward()
    (x * 2.0 + x).backward()
    return [*seen, x.grad]


def several_in_order(make):
    x, seen = make(3.0), []
    x.register_hook(lambda g: seen.append(float(g)) or g * 2.0)
    x.register_hook(lambda g: seen.append(float(g)) or g + 1.0)
    x.register_hook(lambda g: seen.append(float(g)))
    (x * x).backward()
    return [*seen, x.grad]


def inner_node(make):
    """It is called when all parts have arrived, and before the operands get theirs."""
    x, seen = make(2.0), []
    y = x * x
    if make is tensor:
        y.retain_grad()
    y.register_hook(lambda g: seen.append(float(g)) or g * 10.0)
    (y * y + y.sin() + y * 3.0).backward()
    return [*seen, y.grad, x.grad]


def root(make):
    x, seen = make(2.0), []
    y = x * x
    y.register_hook(lambda g: seen.append(float(g)) or g * 7.0)
    y.backward()
    x.register_hook(lambda g: seen.append(float(g)) or g * 0.5)
    x.backward()
    return [*seen, x.grad]


def removed(make):
    x, seen = make(2.0), []
    handles = [x.register_hook(lambda g, i=i: seen.append(i)) for i in range(3)]
    handles[1].remove()
    handles[1].remove()
    (x * x).backward()
    with x.register_hook(lambda g: g * 100.0):
        (x * x).backward()
    (x * x).backward()
    return [*seen, x.grad]


def two_leaves(make):
    x, w = make(2.0), make(3.0)
    x.register_hook(lambda g: g * 2.0)
    y = x * w
    for _ in range(3):
        y = y * w + x
    w.register_hook(lambda g: -g)
    y.backward()
    return [x.grad, w.grad]


def a_pass_in_a_hook(make):
    """Another pass, through the same leaf, while one is under way."""
    x, seen = make(2.0), []
    x.register_hook(lambda g: seen.append(float(g)) or g + 0.5)
    y = x * 3.0

    def another(g):
        with torch.enable_grad():
            (x * 100.0).backward()

    y.register_hook(another)
    (y * 1.0 + x * 7.0).backward()
    return [*seen, x.grad]


@pytest.mark.parametrize(
    "program", [leaf_with_gradient, several_in_order, inner_node, root, removed, two_leaves, a_pass_in_a_hook]
)
def test_as_in_pytorch(program):
    assert list(map(float, program(Value))) == pytest.approx(list(map(float, program(tensor))), rel=1e-15)


def test_what_a_hook_returns():
    x = Value(2.0)
    for found, grad in [(None, 3.0), (5, 5.0), (True, 1.0), (Value(0.5), 0.5), (torch.tensor(4.0).item(), 4.0)]:
        x.grad = 0
        with x.register_hook(lambda g, found=found: found):
            (x * 3).backward()
        assert x.grad == grad
    x.grad = 1.0
    for wrong in ("3", [1.0], object(), 1j):
        hook = x.register_hook(lambda g, wrong=wrong: wrong)
        with hook, pytest.raises(TypeError, match="what the hook <lambda> returns must be a real number"):
            (x * 3).backward()
        assert x.grad == 1.0        # a leaf whose hooks fail gets nothing
    with pytest.raises(TypeError, match="hook must be a callable of one argument, the gradient, got int 3"):
        x.register_hook(3)


def test_an_error_in_a_hook_leaves_the_graph_usable():
    x, w = Value(2.0), Value(3.0)
    y = x * w
    z = y * y + x
    x.grad = w.grad = 10.0

    def fail(g):
        raise OSError("no")

    handles = [x.register_hook(fail), w.register_hook(lambda g: g)]
    with pytest.raises(OSError, match="no"):
        z.backward()
    assert x.grad == 10.0
    handles[0].remove()
    x.grad = w.grad = 0.0
    z.backward()
    assert (x.grad, w.grad) == (2 * 6 * 3 + 1, 2 * 6 * 2)
    with y.register_hook(fail), pytest.raises(OSError, match="no"):
        z.backward()
    assert (x.grad, w.grad) == (37.0, 24.0)      # hooked leaves that were not reached


def test_hooks_that_change_hooks_and_the_graph():
    x = Value(2.0)
    calls = []

    def once(g):
        calls.append(g)
        handle.remove()
        x.register_hook(lambda g: g * 2)
        gc.collect()

    handle = x.register_hook(once)
    (x * 3).backward()
    assert (calls, x.grad) == ([3.0], 3.0)       # those of now are called in the next pass
    (x * 3).backward()
    assert (calls, x.grad) == ([3.0], 9.0)
    y = x * x
    y.register_hook(lambda g: vars(y).clear() or y.__dict__.update(a=1))
    y.backward()
    assert x.grad == 9.0 + 8.0


def test_copies_have_no_hooks_and_pickling_says_so():
    x = Value(2.0, label="x")
    y = x * x
    y.register_hook(lambda g: g * 10)
    x.register_hook(lambda g: g * 10)
    for made in (copy.deepcopy(y), copy.copy(y)):
        made.backward()
    assert x.grad == 40.0                 # of the shallow copy, which is over x
    with pytest.warns(RuntimeWarning, match="has hooks, which are not pickled"):
        made = pickle.loads(pickle.dumps(y))
    made.backward()
    assert made._children[0].grad == 40.0 + 4.0
    with pytest.raises(TypeError, match="handle of a hook"):
        copy.copy(x.register_hook(print))


def test_hooks_and_other_rules():
    x = Value(2.0)
    y = Value(4.0, (x,), "sq")
    y._backward = lambda: setattr(x, "grad", x.grad + 2 * x.data * y.grad)
    y.register_hook(lambda g: g * 3)
    (y * 2).backward()
    assert (x.grad, y.grad) == (24.0, 6.0)
    z = x * x
    z.register_hook(print)
    assert z._local_grads == (2.0, 2.0)
    assert z._backward.__name__ == "_propagate"
    shared = microgradc.sum([x, x, x])           # an existing node over leaves
    x.register_hook(lambda g: g + 100)
    x.grad = 0
    shared.backward()
    assert x.grad == 103.0


def test_gradients_as_values_go_through_hooks():
    x, seen = Value(3.0), []
    y = x * x
    y.register_hook(lambda g: g * 10)
    x.register_hook(lambda g: seen.append(g))
    slope = gradients(y * x, x)
    t = tensor(3.0)
    s = t * t
    s.register_hook(lambda g: g * 10)
    [theirs] = torch.autograd.grad(s * t, t, create_graph=True)
    assert slope.data == theirs.item()
    assert len(seen) == 1
    assert gradients(slope, x).data == torch.autograd.grad(theirs, t)[0].item()


def test_parameters_of_compiled_functions():
    w, seen = Value(3.0), []

    @compile
    def f(x):
        return w * x + w

    w.register_hook(lambda g: seen.append(g) or g * 2)
    f(2.0).backward()
    f.mean([1.0, 2.0, 3.0]).backward()
    assert (seen, w.grad) == ([3.0, 3.0], 12.0)
    late = Value(1.0)
    g = compile(lambda x: (late * x, late + x))
    g(2.0)
    late.register_hook(lambda g: g + 1)
    a, b = g(2.0)
    (a + b).backward()
    assert late.grad == 4.0
    x = Value(5.0)
    x.register_hook(lambda g: -g)
    f(x).backward()
    assert x.grad == -3.0


def test_in_a_compiled_function_it_is_an_error_that_says_so():
    @compile
    def f(x):
        y = x * x
        y.register_hook(print)
        return y

    with pytest.raises(CompileError, match=r"register_hook cannot be replayed .*\n.*y\.register_hook\(print\)"):
        f(2.0)
    x = Value(2.0)
    y = x * x
    y.register_hook(print)
    with pytest.raises(CompileError, match="or a hook, which cannot be replayed"):
        microgradc.Program(y, [x])


def test_training_heeds_hooks():
    model = microgradc.MLP(2, [1], seed=0)
    for p in model.parameters():
        p.register_hook(lambda g: 0.0)
    before = [p.data for p in model.parameters()]
    X, y = microgradc.make_moons(20, random_state=0)
    model.fit(X, y, epochs=1, progress=False, optimizer="sgd", lr=0.1)
    assert [p.data for p in model.parameters()] == before


def test_no_leaks():
    class Marker:
        pass

    x = Value(2.0)
    y = x * x
    marker = Marker()
    y.register_hook(lambda g, y=y, marker=marker: None)
    handle = x.register_hook(lambda g, marker=marker: None)
    gone = weakref.ref(marker)
    del y, marker
    handle.remove()
    gc.collect()
    assert gone() is None
    z = x * x
    kept = z.register_hook(print)
    node = [z]
    z.mark = marker = Marker()
    gone = weakref.ref(marker)
    del z, node, marker
    gc.collect()
    assert gone() is None           # a handle keeps no graph
    kept.remove()


def test_a_hook_that_comes_after_a_compiled_loss():
    """Losses of one program share their operands, and remember that none of these had a hook."""
    v, seen = Value(2.0), []
    loss = compile(lambda x: v * x).mean([1.0, 2.0])
    v.register_hook(lambda g: seen.append(g) or g * 2)
    loss.backward()
    assert (seen, v.grad) == ([1.5], 3.0)


def test_without_a_graph_and_in_threads():
    x = Value(2.0)
    with no_grad():
        y = x * 3
    y.register_hook(lambda g: g * 2)
    y.backward()
    assert (y.grad, x.grad) == (2.0, 0.0)
    errors = []

    def work():
        try:
            for _ in range(200):
                v = Value(1.5)
                v.register_hook(lambda g: g * 2)
                (v * v).backward()
                assert v.grad == 6.0
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert errors == []
