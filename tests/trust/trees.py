"""Random nests of arguments, of lists, tuples, dicts, namedtuples, dataclasses and arrays: flat and back; compiled as
plain; gradients in the structure of the argument; a batch as its examples."""

import pickle
import random
import warnings
from collections import namedtuple
from dataclasses import dataclass

import numpy as np

import microgradc
from microgradc import Value, trees

from .findings import Findings

Pair = namedtuple("Pair", "first second")


@dataclass
class Box:
    inside: object
    weight: object


def nest(draw, depth=0):
    """Return a nest with at least one number in it."""
    kind = (
        draw.choice(["number", "number", "list", "tuple", "dict", "dict", "pair", "pair", "box", "array"])
        if depth < 4
        else "number"
    )
    inner = [nest(draw, depth + 1) for _ in range(draw.randint(1, 3))] if kind in ("list", "tuple", "dict") else ()
    if kind == "number":
        return draw.choice([draw.uniform(-2, 2), float(draw.randint(-2, 2)), np.float64(0.25)])
    if kind == "list":
        return inner
    if kind == "tuple":
        return tuple(inner)
    if kind == "dict":
        return {draw.choice("abcdefgh") + str(i): entry for i, entry in enumerate(inner)}
    if kind == "array":
        shape = [draw.randint(1, 3) for _ in range(draw.randint(1, 3))]  # without axes they are refused
        array = np.array([draw.uniform(-2, 2) for _ in range(int(np.prod(shape)))]).reshape(shape)
        return draw.choice([array, np.asfortranarray(array), array.astype("f4"), array.astype(">f8"), np.flip(array)])
    entries = nest(draw, depth + 1), nest(draw, depth + 1)
    return Pair(*entries) if kind == "pair" else Box(*entries)


def of(numbers):
    """A function of any nest, of which all numbers count, each in another way."""
    terms = [
        (v * (0.3 + 0.1 * i)).tanh() * (i + 1) if isinstance(v, Value) else np.tanh(v * (0.3 + 0.1 * i)) * (i + 1)
        for i, v in enumerate(trees.flatten(numbers)[0])
    ]
    return microgradc.sum(terms)


def run(budget, most=1 << 30):
    findings = Findings()
    for seed in budget.rounds(findings):
        draw = random.Random(seed)
        arguments = tuple(nest(draw) for _ in range(draw.randint(1, 3)))
        findings.cases += 1
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                wrong = list(compare(arguments, draw))
            except Exception as error:
                wrong = [f"{type(error).__name__}: {error}"]
        for what in wrong:
            findings.add(what, seed, f"# {arguments!r}\npython -m tests.trust --only trees --seed {seed} --hours 0")
        if seed - budget.seed + 1 >= most:
            break
    return findings


def numbers_of(x):
    return [float(getattr(leaf, "data", leaf)) for leaf in trees.flatten(x)[0]]


def compare(arguments, draw):
    leaves, shape = trees.flatten(arguments)
    if trees.flatten(trees.unflatten(shape, leaves)) != (leaves, shape):
        yield "it is another one after it was put together again"
    if pickle.loads(pickle.dumps(shape)) != shape:
        yield "its shape is another one after a pickle"
    f = microgradc.compile(lambda *a: of(a))
    values = [Value(float(leaf)) for leaf in leaves]
    plain = of(values)
    plain.backward()
    expected = [v.grad for v in values]
    if abs(f(*arguments).data - plain.data) > 1e-12:
        yield f"compiled {f(*arguments).data!r}, plain {plain.data!r}"
    _, gradients = f.value_and_grad(*arguments)
    if len(arguments) == 1:
        gradients = (gradients,)
    # 1 - f * f cancels where tanh is almost 1; what is left is magnified by both factors of the term.
    if not np.allclose(numbers_of(gradients), expected, rtol=1e-12, atol=1e-15 * (10 + len(leaves)) ** 2):
        yield f"gradients {numbers_of(gradients)}, plain {expected}"
    for ours, given in zip(gradients, arguments, strict=True):
        if not alike(ours, given):
            yield f"a gradient has another structure, {ours!r}, than its argument, {given!r}"
    if any(map(has_lists, arguments)):  # in a batch, a list is one of examples
        return
    # A batch of three: each number becomes an array, with an axis in front of those that it has.
    factors = [1.0, 0.5, -0.25]
    batch = tuple(stretched(argument, factors) for argument in arguments)
    rows = [of([Value(float(leaf) * factor) for leaf in leaves]).data for factor in factors]
    if not np.allclose(f.map(*batch), rows, rtol=1e-6 if "float32" in repr(arguments) else 1e-12, atol=1e-12):
        yield f"map of a batch {f.map(*batch).tolist()}, one by one {rows}"
    if f.map(*pickle.loads(pickle.dumps(batch))).tobytes() != f.map(*batch).tobytes():
        yield "a batch out of a pickle has other bits"
    if draw.random() < 0.2 and microgradc.compile(of)(arguments).data != f(*arguments).data:
        yield "as one argument it has other bits"


def has_lists(x):
    if isinstance(x, dict):
        return any(map(has_lists, x.values()))
    if isinstance(x, Box):
        return has_lists(x.inside) or has_lists(x.weight)
    return isinstance(x, list) or (type(x) is tuple) or (isinstance(x, Pair) and any(map(has_lists, x)))


def stretched(x, factors):
    if isinstance(x, np.ndarray):
        return np.stack([x.astype(float) * factor for factor in factors])
    if isinstance(x, dict):
        return {key: stretched(entry, factors) for key, entry in x.items()}
    if isinstance(x, Pair):
        return Pair(*(stretched(entry, factors) for entry in x))
    if isinstance(x, Box):
        return Box(stretched(x.inside, factors), stretched(x.weight, factors))
    return np.array([float(x) * factor for factor in factors])


def alike(ours, given):
    """Whether a gradient has the structure of its argument: lists of numbers of one shape may have become arrays."""
    if isinstance(given, dict):
        return (
            isinstance(ours, dict) and list(ours) == list(given) and all(alike(ours[key], given[key]) for key in given)
        )
    if isinstance(given, (Pair, Box)):
        names = ("first", "second") if isinstance(given, Pair) else ("inside", "weight")
        return type(ours) is type(given) and all(alike(getattr(ours, name), getattr(given, name)) for name in names)
    if isinstance(given, np.ndarray):
        return np.shape(ours) == given.shape
    if isinstance(given, (list, tuple)):
        return len(ours) == len(given) and all(map(alike, ours, given))
    return np.ndim(ours) == 0
