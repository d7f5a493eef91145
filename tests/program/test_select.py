"""select, stop_gradient, straight_through, functions of one's own, and computed indices: eagerly and recorded."""

import math

import numpy as np
import pytest
import torch
from c_library import COMPILERS, WHY_NOT, Library

import microgradc
from microgradc import CompileError, Value, compile, select, stop_gradient, straight_through, take, where

X = np.array([-1.5, -0.0, 0.0, 1e-320, 0.25, 4.0, np.inf])

# Functions of x that are not defined everywhere: the test for it, the branch, the other one; and for PyTorch.
HALVES = {
    "sqrt": (lambda x: x > 0, lambda x: microgradc.sqrt(x), lambda x: x * 2.0, torch.sqrt),
    "log": (lambda x: x > 0, lambda x: microgradc.log(x) * x, lambda x: x * 2.0, lambda x: torch.log(x) * x),
    "power": (lambda x: x > 0, lambda x: x**0.3, lambda x: x * 2.0, lambda x: x**0.3),
    "quotient": (lambda x: x > 0, lambda x: 1.0 / x, lambda x: x * 2.0, lambda x: 1.0 / x),
    "hypot": (lambda x: x > 0, lambda x: microgradc.hypot(x, 0.0), lambda x: x * 2.0, torch.abs),
}


def double_where(name, x):
    """What PyTorch's users write: the argument is replaced before the function, and the result after it."""
    branch = HALVES[name][3]
    t = torch.tensor(x, dtype=torch.float64, requires_grad=True)
    y = torch.where(t > 0, branch(torch.where(t > 0, t, torch.ones_like(t))), t * 2.0)
    y.sum().backward()
    return y.detach().numpy(), t.grad.numpy()


@pytest.mark.parametrize("flipped", [False, True])
@pytest.mark.parametrize("name", HALVES)
def test_the_other_branch_makes_no_nan(name, flipped):
    condition, branch, other, _ = HALVES[name]

    def f(x):
        if flipped:
            return select(microgradc.less_equal(x, 0.0), other(x), branch(x))
        return select(condition(x), branch(x), other(x))

    x = X[:-1] if name == "hypot" else X
    values, grads = double_where(name, x)
    g = compile(f)
    found, gradients = g.map_value_and_grad(x)
    assert found == pytest.approx(values, rel=1e-14)
    assert gradients == pytest.approx(grads, rel=1e-12, nan_ok=True)
    for i, number in enumerate(x.tolist()):
        v = Value(number)
        f(v).backward()
        assert v.grad == pytest.approx(grads[i], rel=1e-12, nan_ok=True)
        value, gradient = g.value_and_grad(number)
        assert (value, gradient) == pytest.approx((values[i], grads[i]), rel=1e-12, nan_ok=True)
        w = Value(number)
        g(w).backward()
        assert w.grad == pytest.approx(grads[i], rel=1e-12, nan_ok=True)
    batch = [Value(number) for number in x.tolist()]
    g.sum(batch).backward()
    assert [v.grad for v in batch] == pytest.approx(grads.tolist(), rel=1e-12, nan_ok=True)


def test_where_makes_nan_there():
    assert math.isnan(compile(lambda x: where(x > 0, x.sqrt(), x * 2.0)).value_and_grad(0.0)[1])


def test_select_within_select_and_of_parameters():
    w = Value(0.0)
    f = compile(lambda x: select(x > 0, select(w > 0, w.sqrt(), w * 3.0) * x, select(x < -1, x.log(), -x)))
    total = f.sum(np.array([2.0, -0.5]))
    assert total.data == 0.5
    total.backward()
    assert w.grad == 6.0
    w.data = 4.0        # the other way now
    w.grad = 0.0
    f.sum(np.array([2.0, -0.5])).backward()
    assert w.grad == 0.5
    g = compile(lambda: select(w > 5, w * 2.0, w))
    assert g().data == 4.0
    g().backward()
    assert w.grad == 1.5


def test_a_gradient_inside_another_function():
    """The slope of select(x > 0, sqrt(x), 2 x) is written out by its own rule, and used within another function."""
    def slope(x):
        return select(x > 0, 0.5 / x.sqrt(), 2.0)

    f = compile(lambda x: slope(x) ** 2 + x)
    values, grads = f.map_value_and_grad(np.array([-1.0, 0.0, 4.0]))
    assert values.tolist() == [3.0, 4.0, 4.0625]
    assert grads.tolist() == [1.0, 1.0, 1.0 - 2 * 0.25 * 0.25 * 4.0**-1.5]


def torch_orders(name, x, orders):
    """The derivatives of `double_where` of some orders, one after another."""
    branch = HALVES[name][3]
    t = torch.tensor(x, dtype=torch.float64, requires_grad=True)
    y = torch.where(t > 0, branch(torch.where(t > 0, t, torch.ones_like(t))), t * 2.0 + t**3)
    found = []
    for _ in range(orders):
        (y,) = torch.autograd.grad(y.sum(), t, create_graph=True)
        found.append(y.detach().numpy())
    return found


@pytest.mark.parametrize("name", ["sqrt", "log", "power", "quotient"])
def test_all_orders(name):
    x = np.array([-1.5, 0.0, 0.25, 4.0])
    condition, branch, _, _ = HALVES[name]

    def f(x):
        return select(condition(x), branch(x), x * 2.0 + x**3)

    wanted = torch_orders(name, x, 4)
    function = f
    for k, expected in enumerate(wanted):
        function = microgradc.grad(function)
        assert [function(number) for number in x.tolist()] == pytest.approx(expected, rel=1e-12), k
    g = compile(f)
    assert [g.hessian(number) for number in x.tolist()] == pytest.approx(wanted[1], rel=1e-12)
    assert [g.hvp(number, 2.0) for number in x.tolist()] == pytest.approx(2 * wanted[1], rel=1e-12)
    # A gradient inside of another function, and the gradients of that.
    inside = compile(lambda x: microgradc.grad(f)(x) * 3.0)
    values, grads = inside.map_value_and_grad(x)
    assert values == pytest.approx(3 * wanted[0], rel=1e-12)
    assert grads == pytest.approx(3 * wanted[1], rel=1e-12)
    assert [inside.hessian(number) for number in x.tolist()] == pytest.approx(3 * wanted[2], rel=1e-12)
    for number, slope, slope_of_slope in zip(x.tolist(), *wanted[:2], strict=True):
        assert microgradc.jvp(f, (number,), (1.0,))[1] == pytest.approx(slope, rel=1e-12)
        assert microgradc.jvp(microgradc.grad(f), (number,), (1.0,))[1] == pytest.approx(slope_of_slope, rel=1e-12)


def test_all_orders_of_branches_that_have_something_in_common():
    """What receives from two selections, or from none of them, and selections in selections."""
    def f(x):
        s = x.sqrt()
        inner = select(x > -2, select(x > 0, s * 3.0, x * x), (x + 3).log() * s)
        return select(x > 0, s, x * 3.0) + select(x > 0, s.log(), x**3) + inner * x

    def by_hand(x):
        if x > 0:
            return lambda t: t.sqrt() + t.sqrt().log() + 3.0 * t.sqrt() * t
        return lambda t: 3.0 * t + t**3 + t**3

    for x in (-1.5, 0.0, 0.25, 4.0):
        t = torch.tensor(x, dtype=torch.float64, requires_grad=True)
        y, function = by_hand(x)(t), f
        for _ in range(3):
            (y,) = torch.autograd.grad(y, t, create_graph=True)
            function = microgradc.grad(function)
            assert function(x) == pytest.approx(y.item(), rel=1e-12), x


def test_all_orders_of_one_of_several():
    f = compile(lambda i, x: take([x, x**3, x.sqrt()], i + 1) * x)
    assert [f.hessian(i, 4.0)[1][1] for i in (-1, 0, 1)] == pytest.approx([2.0, 192.0, 0.375])
    assert f.hessian(0, -4.0)[1][1] == 192.0        # sqrt(-4) is not taken
    assert f.jacobian(0, -4.0) == (0.0, -256.0)
    with pytest.raises(IndexError, match="less than 3, got 3"):
        f.hessian(2, 4.0)


def test_what_select_takes():
    a, b = Value(1.0), Value(2.0)
    assert select(True, a, b) is a
    assert select(0.0, a, b) is b
    assert select(Value(float("nan")), a, b) is a
    assert select(1, 3, 4) == 3.0
    assert isinstance(select(1, 3, 4), float)
    assert select(np.array([True, False]), 1.0, np.array([5.0, 6.0])).tolist() == [1.0, 6.0]
    for bad in (("x", a, b), (True, "x", b), (True, a, None)):
        with pytest.raises(TypeError, match="must be a Value or a real number"):
            select(*bad)


def test_stop_gradient():
    v = Value(0.0)
    (stop_gradient(v.sqrt()) * v).backward()
    assert v.grad == 0.0
    assert stop_gradient(3) == 3.0
    assert stop_gradient(np.array([1.0, 2.0])).tolist() == [1.0, 2.0]
    w = Value(0.0)
    f = compile(lambda x: stop_gradient(x.sqrt()) * x + stop_gradient(w.sqrt()) + stop_gradient(w) * w)
    values, grads = f.map_value_and_grad(np.array([0.0, 4.0]))
    assert (values.tolist(), grads.tolist()) == ([0.0, 8.0], [0.0, 2.0])
    f.sum(np.array([0.0, 4.0])).backward()
    assert w.grad == 0.0
    assert f.value_and_grad(4.0) == (8.0, 2.0)
    with pytest.raises(TypeError, match="must be a Value or a real number"):
        stop_gradient("x")


def test_straight_through():
    def f(x):
        return straight_through((x + 0.5) // 1, x) ** 2

    g = compile(f)
    for x in (-1.6, 0.4, 2.5):
        v = Value(x)
        f(v).backward()
        assert v.grad == 2 * ((x + 0.5) // 1)
        assert g.value_and_grad(x) == (((x + 0.5) // 1) ** 2, 2 * ((x + 0.5) // 1))
    assert isinstance(straight_through(Value(1.0), 2.0), Value)
    assert straight_through(1.0, 2.0) == 1.0
    for bad in (("x", 1.0), (1.0, None), (Value(1.0), None)):
        with pytest.raises(TypeError, match="must be a Value or a real number"):
            straight_through(*bad)


# Functions of one's own

@microgradc.function(derivative=lambda x, y=2.0: (2 * x * y, x * x))
def cone(x, y=2.0):
    return x * x * y


@microgradc.function(derivative=lambda x: select(x > 0, 1.0, 0.25))     # not the derivative of what follows
def bent(x):
    return microgradc.maximum(x, 0.0)


@microgradc.function(derivative=lambda x: microgradc.cos(x) * 3.0)
def scaled_sine(x):
    return microgradc.sin(x) * 3.0


@pytest.mark.parametrize("f", [lambda x: cone(x, x * 3).sin(), lambda x: cone(y=x, x=2.0), bent, scaled_sine])
def test_functions_with_a_rule_in_values_are_recorded(f):
    g = compile(f)
    points = np.array([-2.0, 0.0, 0.5])
    values, grads = g.map_value_and_grad(points)
    for i, x in enumerate(points.tolist()):
        v = Value(x)
        out = f(v)
        out.backward()
        assert values[i] == pytest.approx(out.data, rel=1e-15)
        assert grads[i] == pytest.approx(v.grad, rel=1e-14)
        assert g.value_and_grad(x) == pytest.approx((out.data, v.grad), rel=1e-14)


def test_a_rule_that_is_infinite_does_not_touch_the_value():
    f = microgradc.function(lambda x: microgradc.sqrt(x), derivative=lambda x: 0.5 / microgradc.sqrt(x))
    value, gradient = compile(f).value_and_grad(0.0)
    assert (value, gradient) == (0.0, math.inf)


def test_parameters_that_a_rule_reaches_are_read_anew():
    weights = [Value(2.0)]
    f = microgradc.function(lambda x: x * weights[0], derivative=lambda x: weights[0])
    g = compile(lambda x: f(x) + 1.0)
    assert g.value_and_grad(3.0) == (7.0, 2.0)
    weights[0].data = 5.0
    assert g.value_and_grad(3.0) == (16.0, 5.0)
    weights[0] = Value(7.0)
    assert g.value_and_grad(3.0) == (22.0, 7.0)


def test_rules_of_numbers_are_refused():
    numbers = microgradc.function(lambda x: math.exp(x), derivative=lambda x: math.exp(x))
    with pytest.raises(CompileError, match=r"float\(v\) cannot be replayed"):
        compile(numbers)(1.0)
    half = microgradc.function(lambda x: microgradc.exp(x), derivative=lambda x: math.exp(x))
    with pytest.raises(CompileError, match=r"float\(v\) cannot be replayed"):
        compile(half)(1.0)
    with pytest.raises(CompileError, match="a node with local gradients cannot be replayed"):
        compile(microgradc.function(lambda x: microgradc.exp(x)))(1.0)
    with pytest.raises(ValueError, match="must return one number for each argument, got 1 for 2"):
        compile(microgradc.function(lambda x, y: x * y, derivative=lambda x, y: x))(1.0, 2.0)
    with pytest.raises(TypeError, match="derivative 0 must be a Value or a real number"):
        compile(microgradc.function(lambda x: x * 2, derivative=lambda x: "slope"))(1.0)


def test_functions_by_keyword():
    x, y = Value(3.0), Value(4.0)
    cone(y=y, x=x).backward()
    assert (x.grad, y.grad) == (24.0, 9.0)
    assert cone(x=3.0) == 18.0
    f = microgradc.function(lambda a, *, b: a * b)
    f(b=y, a=x).backward()
    assert (x.grad, y.grad) == (pytest.approx(28.0), pytest.approx(12.0))
    with pytest.raises(TypeError, match="unexpected keyword argument 'z'"):
        cone(x, z=1.0)


# Indices that are computed

TABLE = [Value(10.0 * k) for k in range(6)]
INDICES = {
    "i + 1": lambda i, j: i + 1,
    "1 + i": lambda i, j: 1 + i,
    "-i + 5": lambda i, j: -i + 5,
    "5 - i": lambda i, j: 5 - i,
    "i * 2 % 5": lambda i, j: i * 2 % 5,
    "(i + j) // 2": lambda i, j: (i + j) // 2,
    "abs(i - j)": lambda i, j: abs(i - j),
    "i": lambda i, j: i,
    "i * 1": lambda i, j: i * 1,
    "both": lambda i, j: (i + j) * (i + j) % 6,
}


@pytest.mark.parametrize("name", INDICES)
def test_computed_indices(name):
    index = INDICES[name]
    f = compile(lambda i, j, x: take(TABLE, index(i, j)) * x + take([x, x * 2, x * 3, x, x, x], index(i, j)))
    i, j = np.array([0, 3, 4, 1, 2] * 9), np.array([1, 2, 0, 4, 4] * 9)
    x = np.linspace(-1.0, 1.0, 45)
    expected = [10.0 * index(a, b) * c + [c, c * 2, c * 3, c, c, c][index(a, b)] for a, b, c in
                zip(i.tolist(), j.tolist(), x.tolist(), strict=True)]
    assert f.map(i, j, x) == pytest.approx(expected, rel=1e-14, abs=1e-300)
    assert f.map_value_and_grad(i, j, x)[0] == pytest.approx(expected, rel=1e-14, abs=1e-300)
    assert [f(int(a), int(b), c).data for a, b, c in zip(i, j, x, strict=True)] == pytest.approx(expected, rel=1e-14)
    for v in TABLE:
        v.grad = 0.0
    f.sum(i, j, x).backward()
    for k, v in enumerate(TABLE):
        assert v.grad == pytest.approx(x[[index(a, b) == k for a, b in zip(i, j, strict=True)]].sum(), abs=1e-12)


def test_computed_indices_out_of_range():
    f = compile(lambda i: take(TABLE, i * 2 + 1))
    assert f.map(np.array([0, 1, 2])).tolist() == [10.0, 30.0, 50.0]
    for bad, got in ((3, 7), (-1, -1), (2**40, "2.19902e")):
        with pytest.raises(IndexError, match=f"example 2 must be an integer, at least 0 and less than 6, got {got}"):
            f.map(np.array([0, 1, bad]))
        with pytest.raises(IndexError, match=f"example 0 must be an integer, at least 0 and less than 6, got {got}"):
            f(bad)
        with pytest.raises(IndexError, match=f"example 1 must be an integer, at least 0 and less than 6, got {got}"):
            f.mean(np.array([0, bad]))
        assert f(1).data == 30.0
    with pytest.raises(IndexError, match="example 0"):
        compile(lambda i: take(TABLE, i * 2 + 1))(7)
    g = compile(lambda i, j: take(TABLE, i // j))
    assert g(4, 2).data == 20.0
    with pytest.raises(IndexError, match="example 1 must be an integer"):
        g.map(np.array([4, 4]), np.array([2, 0]))


def test_what_is_no_index():
    w = Value(2.0)
    for index in (lambda i: i * 0.5, lambda i: i + w, lambda i: i / 2, lambda i: i**2, lambda i: microgradc.sin(i)):
        with pytest.raises(TypeError, match="index must be an integer, or an integer argument"):
            compile(lambda i, index=index: take(TABLE, index(i)))(1)
    with pytest.raises(TypeError, match="index must be an integer"):
        compile(lambda x: take(TABLE, x + 1))(1.0)
    with pytest.raises(TypeError, match="index must be an integer, or an integer argument"):
        take(TABLE, Value(1.0) + 1)


def test_rows_of_a_table_by_a_computed_index():
    rows = [[Value(1.0 * k), Value(2.0 * k)] for k in range(4)]
    f = compile(lambda i, x: microgradc.dot(take(rows, i + 1), x))
    found = f.map(np.array([0, 2, 1]), np.array([[1.0, 1.0], [1.0, 0.0], [0.0, 1.0]]))
    assert found.tolist() == [3.0, 3.0, 4.0]
    with pytest.raises(IndexError, match="example 1 must be an integer, at least 0 and less than 4, got 4"):
        f.sum(np.array([0, 3]), np.ones((2, 2)))


@pytest.mark.parametrize("counts", [(2, 3), (3, 2)])
def test_an_index_of_two_lists_is_one_of_the_shorter(counts):
    f = compile(lambda i, x: take([x * k for k in range(counts[0])], i) + take([x + k for k in range(counts[1])], i))
    assert f.map(np.array([1]), np.ones(1)).tolist() == [3.0]
    with pytest.raises(IndexError, match="less than 2, got 2"):
        f.map(np.array([2]), np.ones(1))


def test_what_is_shifted_by_another_logsumexp_is_no_cross_entropy():
    def f(i, x):
        total = microgradc.logsumexp([2 * x, x - 1])
        return take([x - total, x + 1 - total], i)

    x, i = np.array([-1.0, 0.5, 2.0]), np.array([0, 1, 1])
    expected = x + i - np.logaddexp(2 * x, x - 1)
    assert compile(f).map(i, x) == pytest.approx(expected, rel=1e-14)


def test_cross_entropy_with_a_computed_index():
    f = compile(lambda v, i: microgradc.logsumexp(v) - take(v, i - 1))
    V, i = np.array([[1.0, 2.0, 3.0], [3.0, 1.0, 0.5]]), np.array([1, 3])
    values, (grads, _) = f.map_value_and_grad(V, i)
    t = torch.tensor(V, requires_grad=True)
    loss = torch.nn.functional.cross_entropy(t, torch.tensor(i - 1), reduction="none")
    loss.sum().backward()
    assert values == pytest.approx(loss.detach().numpy(), rel=1e-13)
    assert grads == pytest.approx(t.grad.numpy(), rel=1e-12, nan_ok=True)
    with pytest.raises(IndexError, match=r"example 0 .* got -1"):
        f.map(V, np.array([0, 1]))


def test_choices_that_are_known_when_recorded():
    f = compile(lambda x: select(Value(1.0) > 0, x * 2, x.sqrt()) + select(Value(0.0) > 0, Value(2.0), Value(3.0)) * x)
    assert f.map_value_and_grad(np.array([-1.0, 2.0]))[1].tolist() == [5.0, 5.0]
    assert f.value_and_grad(-1.0) == (-5.0, 5.0)


@pytest.mark.skipif(not COMPILERS, reason=WHY_NOT)
def test_selections_and_rules_in_c(tmp_path):
    w, u = Value(4.0), Value(0.0)
    rows = [Value(float(k * k)) for k in range(5)]

    def f(x, i):
        found = select(x > 0.5, x * w, x - 1) * take(rows, i + 1) + select(w > u, w * 2, u)
        return found + bent(x) * stop_gradient(x * w) + take([x, x * 2, x * 3], i * 1)

    g = compile(f)
    library = Library(tmp_path, g.to_c(0.3, 1, name="choices"), "choices")
    parameters = g.program(0.3, 1).parameters
    for x in (0.3, 0.9, -2.0):
        for p in parameters:
            p.grad = 0.0
        v = Value(x)
        out = g(v, 1)
        out.backward()
        outputs, gradients, of_parameters = library.gradients([x, 1])
        assert outputs == [pytest.approx(out.data, rel=1e-15)]
        assert gradients == [pytest.approx(v.grad, rel=1e-14), 0.0]
        assert of_parameters == pytest.approx([p.grad for p in parameters], rel=1e-14)


def softplus(x):
    """Of which the first branch, and its derivative, are infinite where the other one is taken."""
    return select(x < 30, (1 + x.exp()).log(), x)


def behind(x, i):
    w = [Value(0.0), Value(0.5), Value(-1.0), Value(2.0), Value(1.5), Value(0.25)]
    lost = [(x * 1000).exp() * 1e300 * k for k in range(1, 5)]      # infinite, if x > 1
    root = x.sqrt()
    dense = [microgradc.dot([*lost, root], w[:5], w[5]), *[microgradc.dot([*lost, root], w[1:], k) for k in range(3)]]
    terms = [
        select(x > 0, root, x * 3),
        select(x < 1, sum(v.log() for v in lost), x),                                       # a run
        select(x < 1, sum(dense), -x),
        select(x < 1, microgradc.dot([*lost, 1 / x, root], [root, *lost, 2.0]), 2 * x),     # many products
        select(x < 1, microgradc.logsumexp([root, *lost]), 0.5),
        select(x < 1, select(x > 0.5, root.log(), take([root, x.log(), 1 / x], i)), 1.0),
        select(x > 0, root.log(), x) * 0.0,
    ]
    return microgradc.sum(terms)


@pytest.mark.skipif(not COMPILERS, reason=WHY_NOT)
@pytest.mark.parametrize("mode", ["baked", "passed"])
def test_what_is_not_taken_gets_nothing_in_c(tmp_path, mode):
    f, g = compile(softplus), compile(behind)
    library = Library(tmp_path, f.to_c(1.0, name="softplus", parameters=mode), "softplus")
    for x in (-40.0, 0.0, 29.0, 31.0, 800.0, 1e300):
        value, gradient = f.value_and_grad(x)
        (out,), (found,), _ = library.gradients([x])
        assert (out, found) == (pytest.approx(value, rel=1e-14), pytest.approx(gradient, rel=1e-14))
        assert math.isfinite(found)
    library = Library(tmp_path, g.to_c(0.25, 1, name="behind", parameters=mode), "behind")
    parameters = g.program(0.25, 1).parameters
    for x in (-1.0, 0.0, 0.25, 0.75, 2.0, 1e300):
        for i in range(3):
            for p in parameters:
                p.grad = 0.0
            v = Value(x)
            g(v, i).backward()
            _, gradients, of_parameters = library.gradients([x, i], parameters=[p.data for p in parameters])
            assert gradients == [pytest.approx(v.grad, rel=1e-12, nan_ok=True), 0.0], (x, i)
            assert of_parameters == pytest.approx([p.grad for p in parameters], rel=1e-12, nan_ok=True)
            assert not any(math.copysign(1, grad) < 0 for grad in (*gradients, *of_parameters) if grad == 0)
            if x == 2.0:
                assert math.isfinite(v.grad)


def test_c_without_take_has_no_test_for_it():
    c = "".join(compile(lambda x: where(x > 0, x.sqrt(), [1.0, x][1])).to_c(1.0))
    assert not [text for text in ("mgc_sent", "+ 0;", "-0.0") if text in c]
