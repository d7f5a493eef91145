"""What one does with microgradc, as calls that can be made again and again, each with the same numbers as its result.
A call that was interrupted raises KeyboardInterrupt.

Allocations fail in them, signals come in the middle of them, and they must not leak."""

import copy
import gc
import pickle
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

import microgradc
from microgradc import MLP, Adam, Program, Value, trees
from microgradc.engine.value import is_detecting, is_noting, is_tracing
from microgradc.program import iterations, plain_calls, scan


@dataclass
class Scenario:
    name: str
    call: Any
    watched: list = field(default_factory=list)  # Values that outlive the call: none may be lost, or kept


def flat(result):
    """All numbers of a result, as text that tells bits apart."""
    if isinstance(result, dict):
        return flat(list(result.values()))
    if isinstance(result, (tuple, list)):
        return " ".join(map(flat, result))
    if isinstance(result, np.ndarray):
        return flat(result.ravel().tolist())
    return repr(result.data if isinstance(result, Value) else result)


def outcome(scenario):
    """All numbers of what a scenario gives, or the exception, as text; and what this thread is within, which is to be
    nothing."""
    try:
        found = flat(scenario.call())
    except Exception as error:
        found = f"{type(error).__name__}: {error}"
    left = {key for module in (iterations, plain_calls, scan) for key, value in vars(module._thread).items() if value}
    left |= {f.__name__ for f in (is_tracing, is_noting, is_detecting) if f()}
    return f"{found}, still within {sorted(left)}" if left else found


def engine():
    x = [Value(0.5), Value(-1.25), Value(2.0)]

    def graph():
        for v in x:
            v.grad = 0.0
        y = microgradc.dot([*x, 2.0, x[0] * x[1]], [x[1], 2.0, *x], bias=x[0])
        z = microgradc.sum([y.tanh(), x[2] ** 2, *microgradc.softmax(x)]) + Value(1.0, (y, x[1]), (0.5, 2.0))
        z = z + microgradc.logsumexp(x) * microgradc.clip(x[0], -1.0, 0.25) + microgradc.where(x[1] > 0, x[0], x[2])
        z.backward()
        return [z, *(v.grad for v in x), len(z._prev), len(microgradc.topological_sort(z))]

    def by_hand():
        for v in x:
            v.grad = 0.0
        y = x[0] * x[1]
        out = Value(y.data * 3, (y,), "triple", "name")

        def backward():
            y.grad += 3 * out.grad

        out._backward = backward
        out.colour = [out.label]
        (out * out).backward()
        handle = y.register_hook(lambda g: g * 2)
        out.backward()
        handle.remove()
        return [out, x[0].grad, x[1].grad]

    inner = x[0] * 2.0
    out = microgradc.sum([inner, x[1], 3.0]) + inner

    def copies():
        again = copy.deepcopy(out)
        there = pickle.loads(pickle.dumps(out))
        again.backward()
        return [again, there, copy.copy(out), len(out._children), *out._local_grads]

    def arrays():
        a = np.array(x)
        b = (np.exp(a) * a[::-1] + 1.0).sum()
        return [b, microgradc.to_numpy(a), float(np.dot(a, a).data)]

    def blocks():
        with microgradc.no_grad():
            y = x[0] * x[1] + float(x[2])
        with microgradc.detect_anomaly():
            z = (x[0] * x[1]).exp()
            z.backward()
        return [y, z, microgradc.format_graph(z).count("\n")]

    for f in (graph, by_hand, copies, arrays, blocks):
        yield Scenario(f.__name__, f, [*x, inner, out])


def programs():
    x, w = [Value(0.3), Value(-0.7)], [Value(1.5), Value(0.25), Value(-2.0)]
    X = np.linspace(-1, 1, 40).reshape(20, 2)

    def body(a):
        return microgradc.tanh(a[0] * w[0] + a[1] * w[1]) * w[2] + microgradc.logsumexp([a[0], a[1], w[0]])

    def gradients():
        for p in w:
            p.grad = 0.0

    def lowering():
        return Program([body(x), x[0] * w[0]], x).run((X,), [1.0, 0.5], True, True)

    def compiling():
        gradients()
        f = microgradc.compile(body)
        total = f.mean(X)
        total.backward()
        return [f(X[0]), f.map(X), f.value_and_grad(X[0]), total, *(p.grad for p in w)]

    kept = microgradc.compile(body)

    def calling():
        gradients()
        total = kept.sum(X)
        total.backward()
        return [kept(X[1]), kept.map(X), kept.map_value_and_grad(X), total, *(p.grad for p in w)]

    def looping():
        gradients()

        def step(c, u):
            return (c[0] * w[1] + u, microgradc.tanh(c[1] + c[0])), c[1]

        def f(a):
            c, ys = microgradc.scan(step, (a[0], a[1]), [0.1, 0.2, 0.3, 0.4], keep="sqrt")
            return c[0] * c[1] + ys[2]

        g = microgradc.compile(f)
        total = g.mean(X)
        total.backward()
        return [g.value_and_grad(X[0]), total, *(p.grad for p in w)]

    def deriving():
        v = np.array([0.5, -1.0])
        return [
            microgradc.hessian(body)(X[0]),
            microgradc.hvp(body, X[0], v),
            microgradc.grad(body)(X[1]),
            microgradc.jacobian(lambda a: [a[0] * w[0], a[1] ** 2])(X[2]),
        ]

    def c_text():
        return [len(kept.to_c(X[0])), str(kept.program(X[0]))]

    for f in (lowering, compiling, calling, looping, deriving, c_text):
        yield Scenario(f.__name__, f, [*x, *w])


def around(folder):
    X = np.linspace(-1, 1, 24).reshape(12, 2)
    y = np.where(X[:, 0] * X[:, 1] > 0.1, 1.0, -1.0)
    model = MLP(2, [4, 1], seed=1, activation="tanh")
    parameters = model.parameters()
    f = microgradc.compile(lambda a, t: (model(a) - t) ** 2)
    f(X[0], 1.0)        # or it would have no recording to take out of the process
    start = model.state_dict()

    def training():
        model.load_state_dict(start)
        optimizer = Adam(parameters, lr=0.05)
        losses = f.train(optimizer, X, y, epochs=3, batch_size=5, seed=0)
        return [losses, *(p.data for p in parameters)]

    def steps():
        model.load_state_dict(start)
        optimizer = Adam(parameters, lr=0.05)
        schedule = microgradc.StepLR(optimizer, 2)
        for _ in range(3):
            optimizer.zero_grad()
            f.mean(X, y).backward()
            microgradc.clip_grad_norm_(parameters, 1.0)
            optimizer.step()
            schedule.step()
        optimizer.load_state_dict(optimizer.state_dict())
        return [p.data for p in parameters]

    def fitted():
        other = MLP(2, [3, 1], seed=2)
        return other, other.fit(X, y, epochs=2, batch_size=4, seed=0, progress=False)

    complete = fitted()[1].loss

    def fitting():
        other, history = fitted()
        if history.interrupted:  # Ctrl-C ends `fit`, which returns: what there is must be the beginning of the whole
            assert history.loss == complete[: len(history)], f"{history.loss} is no beginning of {complete}"
            assert np.isin(other.predict(X), y).all()
            raise KeyboardInterrupt
        return [history.loss, other.predict(X[:3])]

    def files():
        model.load_state_dict(start)
        model.save(folder / "whole")
        microgradc.save(model, folder / "numbers")
        f.save(folder / "function", X[0], 1.0)
        whole = microgradc.load_model(folder / "whole")
        microgradc.load(whole, folder / "numbers")
        return [whole(X[0]), microgradc.load_compiled(folder / "function").map(X, y)]

    def pickles():
        model.load_state_dict(start)
        return [pickle.loads(pickle.dumps(model))(X[0]), pickle.loads(pickle.dumps(f)).map(X, y)]

    def scores():
        model.load_state_dict(start)
        return [
            microgradc.losses.mse_loss([model(a) for a in X], y),
            microgradc.cross_entropy([0.1, 0.2, parameters[0]], 1),
            microgradc.accuracy(model, X, y),
        ]

    def nests():
        leaves, shape = trees.flatten({"a": [parameters[0], (1.0, X)], "b": parameters[1]})
        return [len(leaves), trees.flatten(trees.unflatten(shape, leaves))[0]]

    for g in (training, steps, fitting, files, pickles, scores, nests):
        yield Scenario(g.__name__, g, list(parameters))


def scenarios(only=()):
    """Return all of them, or some, each called twice, so that what is kept is there."""
    made = [*engine(), *programs(), *around(Path(tempfile.mkdtemp(prefix="microgradc-trust-")))]
    found = {scenario.name: scenario for scenario in made}
    for name in only or found:
        expected = flat(found[name].call())
        assert flat(found[name].call()) == expected, f"{name} does not repeat its numbers"
    gc.collect()
    return found


if __name__ == "__main__":  # in a process that somebody watches
    from .child import say, say_at

    for one in scenarios().values():
        say_at(one.name)
        for _ in range(10):
            one.call()
        say(count="cases", by=10)
