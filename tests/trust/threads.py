"""Several Python threads at once in the compiled functions that they share: each gets the bits that one thread gets;
and trainings side by side leave what they leave one after another."""

import threading

import numpy as np

import microgradc
from microgradc import MLP, Adam, Value

from .findings import Findings
from .scenarios import flat

THREADS = 4


def shared_functions():
    """Return (name, call of an array): functions that are compiled once."""
    model = MLP(2, [8, 1], seed=0, activation="tanh")
    w = [Value(0.5), Value(-1.5)]
    net = microgradc.compile(lambda x: (model(x) - 1.0) ** 2)
    curve = microgradc.compile(lambda x: microgradc.logsumexp([w[0] * x[0], w[1] * x[1], x[0]]) * microgradc.erf(x[1]))

    def step(c, u):
        return c * w[0] + microgradc.sin(c + u), c

    loop = microgradc.compile(lambda x: microgradc.scan(step, x[0], [x[1], 0.5, 0.25])[0])
    for name, f in (("net", net), ("curve", curve), ("loop", loop)):
        yield f"{name}.map", lambda X, f=f: f.map(X)
        yield f"{name}.map_value_and_grad", lambda X, f=f: f.map_value_and_grad(X)
        yield f"{name}.sum", lambda X, f=f: f.sum(X)
        yield f"{name}.value_and_grad", lambda X, f=f: f.value_and_grad(X[0])
        yield f"{name}.hessian", lambda X, f=f: microgradc.hessian(f)(X[0])
    yield "compile", lambda X: microgradc.compile(lambda x: x[0] * w[0] + x[1])(X[0])
    yield "eager", lambda X: eager(w, X)
    yield "training", training


def eager(w, X):
    """On leaves of one's own: those of others get the gradients of all."""
    a, b = Value(float(X[0, 0])), Value(float(X[0, 1]))
    y = (a * w[0].data + b).tanh() * a
    y.backward()
    return [y, a.grad, b.grad]


def training(X):
    model = MLP(2, [4, 1], seed=3)
    f = microgradc.compile(lambda x: (model(x) - 1.0) ** 2)
    return [f.train(Adam(model.parameters(), lr=0.01), X, epochs=2, batch_size=16, seed=1), list(model.parameters())]


def run(budget, most=1 << 30):
    findings, before = Findings(), microgradc.get_num_threads()
    try:
        for seed in budget.rounds(findings):
            rng = np.random.default_rng(seed)
            inputs = [rng.normal(size=(int(rng.integers(1, 3000)), 2)) for _ in range(THREADS)]
            microgradc.set_num_threads(int(rng.integers(1, 5)))
            calls = list(shared_functions())
            rng.shuffle(calls)
            for name, call in calls:
                together(findings, seed, name, call, inputs)
            if seed - budget.seed + 1 >= most:
                break
    finally:
        microgradc.set_num_threads(before)
    return findings


def together(findings, seed, name, call, inputs):
    """Call it in several threads, which have not called it before; then alone."""
    got, wrong, start = [None] * THREADS, [], threading.Barrier(THREADS)

    def work(i):
        try:
            start.wait(60)
            got[i] = [flat(call(inputs[i])) for _ in range(3)]
        except BaseException as error:
            wrong.append(f"{type(error).__name__}: {error}")

    threads = [threading.Thread(target=work, args=(i,)) for i in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    if any(thread.is_alive() for thread in threads):
        wrong.append("a thread hangs")
    alone = [flat(call(x)) for x in inputs]
    findings.cases += 3 * THREADS
    if wrong or any(result != alone[i] for i, results in enumerate(got) for result in results or ()):
        findings.add(
            f"{name} in {THREADS} threads: {wrong or 'other bits than in one'}",
            seed,
            f"python -m tests.trust --only threads --seed {seed} --hours 0",
        )
