"""The plan of a program: which rows become one step, with which strides; values and gradients against eager."""

import itertools
import random

import numpy as np
import pytest
from test_program import check, eager, record

import microgradc
from microgradc import maximum, take, where

rng = np.random.default_rng(3)
OF_ONE = [lambda x: x.tanh(), lambda x: -x, lambda x: x.sin(), lambda x: abs(x)]
OF_TWO = [lambda x, y: x * y, lambda x, y: x - y, lambda x, y: x + y, maximum, lambda x, y: x / (y * y + 1)]


def lane_steps(build, columns, params=()):
    made, _ = record(build, columns, params)
    return made.stats()["lane steps"]


def step_lines(build, columns, params=()):
    """The lines of the printed program that are steps."""
    made, _ = record(build, columns, params)
    return [line.strip() for line in str(made).splitlines() if " = " in line and "all lanes" not in line]


def rosenbrock(x, w):
    return sum(100 * (b - a**2) ** 2 + (1 - a) ** 2 for a, b in itertools.pairwise(x))


def of_a_scalar(x, w):
    return microgradc.sum([(w[0] * v).tanh() for v in x])


def of_neighbours(x, w):
    return microgradc.sum([(a * b).tanh() for a, b in itertools.pairwise(x)])


def of_opposites(x, w):
    return microgradc.sum([(a * b).tanh() for a, b in zip(x, reversed(x), strict=True)])


def of_every_second(x, w):
    return microgradc.sum([(a - b).tanh() for a, b in zip(x[::2], x[1::2], strict=True)])


def of_two_scalars(x, w):
    return microgradc.sum([(v * w[0]).tanh() + (v * w[1]).sin() for v in x])


def of_three(x, w):
    return microgradc.sum([where(a > w[0], b, w[1]) for a, b in zip(x, reversed(x), strict=True)])


@pytest.mark.parametrize(
    ("build", "most"),
    [(rosenbrock, 8), (of_a_scalar, 3), (of_neighbours, 3), (of_opposites, 3), (of_every_second, 3),
     (of_two_scalars, 6), (of_three, 3)],
)  # fmt: skip
def test_alike_rows_are_few_steps(build, most):
    """As many for 100 inputs as for 10."""
    assert lane_steps(build, 100, [0.3, -0.7]) <= most
    assert lane_steps(build, 10, [0.3, -0.7]) <= most


def test_rows_of_a_grid_are_as_many_steps_as_it_has_diagonals():
    def grid(x, w):
        return microgradc.sum([(a * b).tanh() for a in x[:10] for b in x[10:]])

    assert lane_steps(grid, 20) <= 19 + 2
    check(grid, rng.normal(size=(9, 20)))


@pytest.mark.parametrize("lanes", [None, 8, 24])
@pytest.mark.parametrize(
    "build", [rosenbrock, of_a_scalar, of_neighbours, of_opposites, of_every_second, of_two_scalars, of_three]
)
def test_values_and_gradients(build, lanes):
    check(build, rng.normal(size=(21, 10)), [0.3, -0.7], lanes)
    check(build, rng.normal(size=(1, 10)), [0.3, -0.7], lanes)


def test_steps_are_printed_with_their_strides():
    assert step_lines(of_a_scalar, 5, [2.0])[0] == "r6…r10 = mul r5, r0…r4"
    assert step_lines(of_opposites, 5)[0] == "r5…r9 = mul r0…r4, r4, r3, … r0"
    assert step_lines(of_every_second, 8)[0] == "r8…r11 = sub r0, r2, … r6, r1, r3, … r7"
    assert step_lines(of_every_second, 6)[0] == "r6…r8 = sub r0, r2, r4, r1, r3, r5"
    assert step_lines(of_every_second, 4)[0] == "r4…r5 = sub r0, r2, r1, r3"


def test_rows_one_after_another_stay_one_run_of_the_kernel():
    """However they were written, and though others have their operands."""

    def backwards(x, w):
        return microgradc.sum([(x[i] * x[i + 8]).tanh() for i in reversed(range(8))])

    assert step_lines(backwards, 16)[:2] == ["r16…r23 = mul r0…r7, r8…r15", "r24…r31 = tanh r16…r23"]

    def among_others(x, w):
        return microgradc.sum([x[i] * x[i + 8] for i in range(8)]) + microgradc.sum(
            [(x[i] * w[0]).tanh() for i in range(0, 8, 3)] + [(x[i] * x[15 - i // 2]).tanh() for i in range(4)]
        )

    check(among_others, rng.normal(size=(9, 16)), [2.0])


def of_places(chosen):
    """A function whose rows have operands with the given places: of each layer (operation, places of x, of y)."""

    def build(x, w):
        rows = [*x, *w]
        for f, first, second in chosen:
            pairs = zip(first, second, strict=True)
            operands = [(rows[i % len(rows)], rows[j % len(rows)]) for i, j in pairs]
            rows += [f(a, b) if f in OF_TWO else f(a) for a, b in operands]
        return microgradc.sum([r.tanh() for r in rows])

    return build


@pytest.mark.parametrize("seed", range(40))
def test_random_strides(seed):
    """Layers of rows whose operands advance by strides from -2 to 3, in runs of several lengths, in any order."""
    draw = random.Random(seed)
    chosen = []
    for _ in range(draw.randint(1, 4)):
        f = draw.choice(OF_ONE + OF_TWO)
        first, second = [], []
        for _ in range(draw.randint(1, 4)):
            length, x, y = draw.randint(1, 7), draw.randint(0, 30), draw.randint(0, 30)
            dx, dy = draw.choice([0, 1, 2, -1, -2, 3]), draw.choice([0, 1, 2, -1, -2, 3])
            first += [x + i * dx for i in range(length)]
            second += [y + i * dy for i in range(length)]
        order = list(range(len(first)))
        if draw.random() < 0.5:
            draw.shuffle(order)
        chosen.append((f, [first[i] for i in order], [second[i] for i in order]))
    check(of_places(chosen), rng.normal(size=(11, 9)), [0.3, -0.7, 1.9], draw.choice([None, 8, 16]), share=1e-11)


def test_what_stands_still_receives_from_the_last_row_first():
    """As if each were a step; the bits are those of a sum in that order."""
    numbers = [1e16, 1.0, -1e16, 3.0, 1.0, 0.5]
    made, _ = record(lambda x, w: [v * x[6] for v in x[:6]], 7)
    assert made.stats()["lane steps"] == 1
    (input_grads,) = made.run((np.array([[*numbers, 1.0]]),), [1.0] * 6, False, True)[3]
    total = 0.0
    for number in reversed(numbers):
        total += number
    assert input_grads.tolist() == [[1.0] * 6 + [total]]


def test_careful_runs_have_strides_too():
    """A 0 that meets an infinite derivative is nan only where it was sent."""

    def build(x, w):
        roots = [(v * w[0]).sqrt() for v in x[:5]] + [(a * b).sqrt() for a, b in zip(x[:5], x[4::-1], strict=True)]
        return take(roots, x[5])

    X = np.column_stack([np.array([[4.0, 1.0, 0.0, 9.0, 16.0]] * 10), np.arange(10)])
    made, _ = record(build, 6, [1.0], integers=[5])
    _, values, _, (input_grads,) = made.run((X,), [1.0], True, True)
    for row, (got, value) in enumerate(zip(input_grads, values[:, 0], strict=True)):
        expected = eager(build, X[row], [1.0], integers=[5])
        assert value == expected[0]
        assert np.array_equal(got[:5], expected[2][:5], equal_nan=True)
    finite = [row for row in range(10) if row not in (2, 7)]
    _, _, grads, _ = made.run((X[finite],), [1.0], False, False)
    assert grads.tolist() == pytest.approx([sum(eager(build, X[row], [1.0], integers=[5])[1][0] for row in finite)])


def test_places_are_used_again_without_gradients():
    """With strides, too: a call without gradients has the same bits."""

    def build(x, w):
        rows = list(x)
        for step in range(12):
            rows = [a * b.tanh() + w[step % 2] * c for a, b, c in
                    zip(rows, rows[::-1], rows[1:] + rows[:1], strict=True)]  # fmt: skip
        return microgradc.sum(rows)

    check(build, rng.normal(size=(17, 8)), [0.3, -0.7], share=1e-11)
