"""Random graphs, many at a time, as arrays: which numbers the leaves have, which spelling each node has, over what."""

from dataclasses import dataclass, fields

import numpy as np

from .spellings import MOST_OPERANDS

LEAVES, STEPS = 4, 10
CORNERS = np.array(
    [
        0.0,
        -0.0,
        1.0,
        -1.0,
        0.5,
        -0.5,
        2.0,
        -2.0,
        3.0,
        -3.0,
        5e-324,
        -5e-324,
        1e-300,
        1e-160,
        1e-20,
        -1e-20,
        20.0,
        -20.0,
        37.0,
        709.0,
        -745.0,
        1e3,
        -1e3,
        1e8,
        1e16,
        -1e16,
        1e160,
        1e300,
        -1e300,
        np.inf,
        -np.inf,
        np.nan,
    ]
)


@dataclass
class Batch:
    """`kinds` and `operands` have an axis for steps, then one for graphs; so have `leaves` and `reached`."""

    leaves: np.ndarray
    kinds: np.ndarray
    operands: np.ndarray  # with one more axis: places among leaves and earlier steps
    reached: np.ndarray  # nodes from which the last one is made, leaves first
    differentiated: (
        np.ndarray
    )  # those of them that a gradient gets to: not through the first operand of straight_through

    def only(self, graphs):
        return Batch(*(getattr(self, field.name)[:, graphs] for field in fields(self)))

    @classmethod
    def joined(cls, batches):
        return cls(
            *(np.concatenate([getattr(batch, field.name) for batch in batches], axis=1) for field in fields(cls))
        )

    @property
    def count(self):
        return self.leaves.shape[1]


def random_numbers(rng, shape, wild):
    """Normal ones, and multiples of 1/2, which tie; where it is wild, corners among them."""
    numbers = rng.normal(scale=1.5, size=shape)
    halves = rng.random(shape) < 0.25
    numbers[halves] = rng.integers(-4, 5, np.count_nonzero(halves)) / 2
    if wild:
        corners = rng.random(shape) < 0.3
        numbers[corners] = rng.choice(CORNERS, np.count_nonzero(corners))
    return numbers


def random_batch(rng, count, spellings, wild, steps=STEPS):
    """Return random graphs. Each has its own length: later steps are not reached, nor made."""
    leaves = random_numbers(rng, (LEAVES, count), wild)
    kinds = rng.integers(0, len(spellings), (steps, count)).astype(np.int32)
    places = np.arange(LEAVES, LEAVES + steps)[:, None, None]
    shape = (steps, count, MOST_OPERANDS)
    near = rng.random(shape) < 0.6
    operands = np.where(
        near, places - 1 - (rng.random(shape) * 3).astype(int), (rng.random(shape) * places).astype(int)
    )
    operands = operands.astype(np.int32)
    previous = rng.random((steps, count)) < 0.6  # so that graphs are deep
    operands[previous, 0] = np.broadcast_to(places[:, :, 0] - 1, (steps, count))[previous]
    same = rng.random((steps, count)) < 0.1  # a node twice in one operation
    operands[same, 1] = operands[same, 0]
    last = LEAVES + (rng.random(count) * steps).astype(int)
    masks = reached_from(last, kinds, operands, spellings, False), reached_from(last, kinds, operands, spellings, True)
    return Batch(leaves, kinds, operands, *masks)


def reached_from(last, kinds, operands, spellings, by_gradients):
    """Return which nodes lie behind the last of each graph."""
    steps, count = kinds.shape
    arity = np.array([spelling.operands for spelling in spellings])[kinds]
    stops = np.array([by_gradients and spelling.name == "straight_through" for spelling in spellings])[kinds]
    reached = np.zeros((LEAVES + steps, count), bool)
    reached[last, np.arange(count)] = True
    for step in reversed(range(steps)):
        for k in range(MOST_OPERANDS):
            graphs = np.flatnonzero(reached[LEAVES + step] & (arity[step] > k) & ~(stops[step] & (k == 0)))
            reached[operands[step, graphs, k], graphs] = True
    return reached


def program_of(batch, graph, spellings, comment=""):
    """Return a graph as the program that makes it."""
    lines = ["import microgradc as m; from microgradc import Value; NAN = float('nan'); inf = float('inf'); nan = NAN"]
    lines += [f"x{i} = Value({x!r})" for i, x in enumerate(batch.leaves[:, graph].tolist()) if batch.reached[i, graph]]
    name = "x0"
    for step, kind in enumerate(batch.kinds[:, graph].tolist()):
        if batch.reached[LEAVES + step, graph]:
            name = f"x{LEAVES + step}"
            spelling = spellings[kind]
            names = [f"x{i}" for i in batch.operands[step, graph].tolist()[: spelling.operands]]
            lines.append(f"{name} = {spelling.make(names)}")
    return "\n".join([*lines, f"{name}.backward()", comment])
