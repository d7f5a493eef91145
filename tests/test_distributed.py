"""Batches that are dask arrays: chunk by chunk, with the bits of the chunking, whoever computes them."""

import os
import signal
import threading
from dataclasses import dataclass

import numpy as np
import pytest

import microgradc
from microgradc import MLP, SGD, Adam, StepLR, Value, combine, compile, no_grad

da = pytest.importorskip("dask.array", reason="dask is not installed: pip install 'microgradc[distributed]'")

from microgradc.distributed import tasks  # noqa: E402
from microgradc.distributed.cluster import sent  # noqa: E402

RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(1000, 2)), RNG.normal(size=1000)
SIZES = (100, 1, 399, 17, 483)


def net():
    model = MLP(2, [4, 1], activation="tanh", seed=0)
    return model, compile(lambda x, y: (model(x) - y) ** 2)


def chunks(sizes=SIZES):
    return da.from_array(X, chunks=(sizes, 2)), da.from_array(Y, chunks=(sizes,))


def by_hand(f, sizes=SIZES):
    """The parts of each chunk, one after another."""
    ends = np.cumsum(sizes)
    return [f.partial(X[end - size : end], Y[end - size : end]) for size, end in zip(sizes, ends, strict=True)]


def bits(total, model):
    model.zero_grad()
    total.backward()
    return total.data, model.vector("grad").tolist()


def test_mean_and_sum_have_the_bits_of_the_parts():
    model, f = net()
    for of_chunks, of_parts in [(f.mean, f.mean_of), (f.sum, f.sum_of)]:
        assert bits(of_chunks(*chunks()), model) == bits(of_parts(by_hand(f)), model)
    with no_grad():
        assert f.mean(*chunks()).data == pytest.approx(f.mean(X, Y).data, rel=1e-14)


@pytest.mark.parametrize(
    "arguments",
    [
        lambda: (chunks()[0].rechunk((SIZES, 1)), chunks()[1]),      # columns apart
        lambda: (chunks()[0], da.from_array(Y, chunks=123)),     # other chunks
        lambda: (chunks()[0], Y),
        lambda: (chunks()[0], Y.tolist()),
        lambda: (chunks()[0].astype(np.float32).astype(float) * 0 + chunks()[0], chunks()[1]),
    ],
    ids=["columns", "other chunks", "array", "list", "computed"],
)
def test_rows_are_aligned(arguments):
    model, f = net()
    assert bits(f.mean(*arguments()), model) == bits(f.mean_of(by_hand(f)), model)


def test_unknown_sizes():
    _, f = net()
    dx, dy = chunks()
    mask = dx[:, 0] > 0
    some_x, some_y = dx[mask], dy[mask]
    assert np.isnan(some_x.shape[0])
    found = f.mean(some_x, some_y)
    assert found.data == pytest.approx(f.mean(X[X[:, 0] > 0], Y[X[:, 0] > 0]).data)
    mapped = f.map(some_x, some_y)
    np.testing.assert_array_equal(mapped.compute(), f.map(X[X[:, 0] > 0], Y[X[:, 0] > 0]))
    with pytest.raises(ValueError, match="the arguments must have the same rows in each chunk"):
        f.mean(some_x, dy[dx[:, 0] > 0.5])
    with pytest.raises(ValueError, match="unknown sizes: compute_chunk_sizes"):
        f.mean(some_x, Y)
    with pytest.raises(ValueError, match="the same chunks where their sizes are unknown, got 5 and, in argument 1, 4"):
        f.mean(some_x, da.from_array(Y, chunks=250))


def test_empty_chunks():
    model, f = net()
    dx, dy = chunks((0, 500, 0, 0, 500))
    halves = combine([f.partial(X[:500], Y[:500]), f.partial(X[500:], Y[500:])])
    assert bits(f.mean(dx, dy), model) == bits(f.mean_of(halves), model)
    assert f.map(dx, dy).compute().shape == (1000,)
    with pytest.raises(ValueError, match="got none: all chunks are empty"):
        f.mean(dx[:0], dy[:0])


def test_a_nan_in_one_chunk_is_a_nan():
    model, f = net()
    bad = X.copy()
    bad[150, 1] = np.nan
    total = f.mean(da.from_array(bad, chunks=(SIZES, 2)), chunks()[1])
    assert np.isnan(total.data)
    with pytest.raises(FloatingPointError, match="the loss became nan"):
        f.train(SGD(model.parameters(), lr=0.1), da.from_array(bad, chunks=100), Y)


@pytest.mark.parametrize("scheduler", ["synchronous", "threads"])
def test_schedulers_give_the_same_bits(scheduler):
    import dask

    model, f = net()
    wanted = bits(f.mean_of(by_hand(f)), model)
    with dask.config.set(scheduler=scheduler):
        assert bits(f.mean(*chunks()), model) == wanted


def test_map_gives_dask_arrays():
    model, _ = net()
    g = compile(lambda x: {"out": model(x), "all": [x[0], x[1] * 2], "table": [[x[0], x[1]], [x[1], x[0]]], "no": None})
    found, wanted = g.map(chunks()[0]), g.map(X)
    assert found["no"] is None
    for name in ("out", "all", "table"):
        assert isinstance(found[name], da.Array)
        assert found[name].chunks[0] == SIZES
        np.testing.assert_array_equal(found[name].compute(), wanted[name])
    assert found["table"].shape == (1000, 2, 2)


class Own:
    """A model that cannot be compiled: it looks at its numbers."""

    def __init__(self):
        self.w = Value(2.0)

    def __call__(self, x):
        return [self.w * x[0], x[1] if x[1] > 0 else -x[1]]


LABELS = np.where(X[:, 0] > 0, "yes", "no")
FITTED = {
    "texts": (1, LABELS, {}),
    "three": (3, np.digitize(X[:, 1], [-0.5, 0.5]) + 1, {}),
    "numbers": (1, Y, {"loss": "mse_loss"}),
    "two numbers": (2, X[:, ::-1], {"loss": "mse_loss"}),
    "several": (2, (X > 0).astype(int), {"loss": "binary_cross_entropy_with_logits"}),
    "signs": (2, np.sign(X), {"loss": "hinge_loss"}),
}


@pytest.mark.parametrize("name", FITTED)
def test_models_predict_chunk_by_chunk(name):
    count, y, options = FITTED[name]
    model = MLP(2, [4, count], activation="tanh", seed=0)
    model.fit(X, y, epochs=1, seed=0, progress=False, **options)
    wanted = [model.predict(X), model.outputs(X)]
    lazy = [model.predict(chunks()[0].rechunk((SIZES, 1))), microgradc.outputs(model, chunks()[0])]
    if "numbers" not in name and name != "signs":
        wanted.append(model.predict_proba(X))
        lazy.append(model.predict_proba(chunks()[0]))
    model.set_vector(model.vector() * 0)    # what was asked for before stays what it is
    for found, numbers in zip(lazy, wanted, strict=True):
        assert isinstance(found, da.Array)
        assert (found.shape, found.chunks[0]) == (numbers.shape, SIZES)
        got = found.compute()
        assert got.dtype == found.dtype == numbers.dtype
        np.testing.assert_array_equal(got, numbers)


def test_nothing_is_computed_before_predictions_are_wanted():
    def refuse(block):
        raise AssertionError("computed")

    found = MLP(2, [4, 1], seed=0).predict(chunks()[0].map_blocks(refuse, meta=np.zeros((0, 2))))
    with pytest.raises(AssertionError, match="computed"):
        found.compute()


def test_models_that_cannot_be_compiled_predict_chunk_by_chunk():
    model, x = Own(), chunks((0, 500, 0, 500))[0]
    wanted = microgradc.outputs(model, X)
    found = microgradc.outputs(model, x)
    with pytest.raises(microgradc.CompileError):
        microgradc.outputs(model, x, compile=True)
    model.w.data = 3.0
    np.testing.assert_array_equal(found.compute(), wanted)
    dropped = microgradc.Sequential(MLP(2, [1], seed=0), microgradc.Dropout(0.5))
    np.testing.assert_array_equal(dropped.outputs(x, compile=False).compute(), dropped.outputs(X, compile=False))


def test_predictions_of_unknown_and_wrong_chunks():
    model, x = MLP(2, [4, 1], seed=0), chunks()[0]
    some = model.predict(x[x[:, 0] > 0])
    np.testing.assert_array_equal(some.compute(), model.predict(X[X[:, 0] > 0]))
    for wrong, error in [(x[:, 0], ValueError), (x.astype(str), TypeError), (x[:0], ValueError)]:
        with pytest.raises(error, match="X must"):
            model.predict(wrong)


@dataclass
class Row:
    x: object
    t: object


def test_gradients_of_each_row():
    f = compile(lambda row, k: row.x[0] * row.x[1] * k + (row.t * row.t).sum())
    T = RNG.normal(size=(1000, 2, 3))
    g = compile(lambda x, t: x[0] * x[1] + microgradc.sum([v * v for r in t for v in r]))
    values, (dx, dt) = g.map_value_and_grad(chunks()[0], da.from_array(T, chunks=(SIZES, 2, 3)))
    wanted, (wx, wt) = g.map_value_and_grad(X, T)
    for found, expected in [(values, wanted), (dx, wx), (dt, wt)]:
        assert isinstance(found, da.Array)
        np.testing.assert_array_equal(found.compute(), expected)
    assert f is not None


def test_shared_arguments():
    f = compile(lambda theta, x, y: (theta[0] * x[0] + theta[1] * x[1] - y) ** 2, shared=("theta",))
    value, grad = f.mean_value_and_grad([1.0, 2.0], *chunks())
    wanted = f.mean_value_and_grad([1.0, 2.0], X, Y)
    assert value == pytest.approx(wanted[0], rel=1e-14)
    np.testing.assert_allclose(grad, wanted[1], rtol=1e-12)
    theta = [Value(1.0), Value(2.0)]
    f.mean(theta, *chunks()).backward()
    assert [v.grad for v in theta] == grad.tolist()
    with pytest.raises(TypeError, match="a shared argument must be numbers or Values, got a dask array"):
        f.mean(da.ones(2), X, Y)


def test_integers_may_be_indices():
    table = [Value(float(i)) for i in range(5)]
    f = compile(lambda i: microgradc.take(table, i) ** 2)
    index = RNG.integers(0, 5, 100)
    f.mean(da.from_array(index, chunks=30)).backward()
    assert sum(v.grad for v in table) == pytest.approx(2 * index.mean())
    with pytest.raises(IndexError) as caught:
        f.mean(da.from_array(np.append(index, 7), chunks=30))
    assert "in chunk 3, where example 0 is its first row" in "".join(caught.value.__notes__)


def test_training_over_all_chunks_is_the_loop_by_hand():
    model, f = net()
    losses = f.train(Adam(model.parameters(), lr=0.01), *chunks(), epochs=4)
    other, g = net()
    optimizer = Adam(other.parameters(), lr=0.01)
    for i in range(4):
        total = g.mean(*chunks())
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
        assert losses[i] == total.data
    assert model.vector().tolist() == other.vector().tolist()


def test_training_in_steps_over_chunks():
    model, f = net()
    losses = f.train(SGD(model.parameters(), lr=0.1), *chunks(), epochs=2, batch_size=1000, shuffle=False)
    other, g = net()
    optimizer = SGD(other.parameters(), lr=0.1)
    for wanted in losses:
        total, end = 0.0, 0
        for size in SIZES:
            loss = g.mean(X[end : end + size], Y[end : end + size])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            end += size
            total += loss.data * size
        assert wanted == total / 1000
    assert model.vector().tolist() == other.vector().tolist()


def test_training_in_batches_is_seeded_and_takes_schedules():
    found = []
    for seed in (0, 0, 1):
        model, f = net()
        optimizer = SGD(model.parameters(), lr=0.1)
        seen = []
        f.train(
            optimizer, *chunks(), epochs=3, batch_size=50, seed=seed, schedule=StepLR(optimizer, 10, 0.5),
            schedule_every="step", callback=lambda epoch, loss, seen=seen: seen.append(loss) or epoch == 1,
        )  # fmt: skip
        assert len(seen) == 2
        steps = 2 * sum(-(-size // 50) for size in SIZES)
        assert optimizer.param_groups[0]["lr"] == pytest.approx(0.1 * 0.5 ** (steps // 10))
        found.append(model.vector().tolist())
    assert found[0] == found[1] != found[2]


REFUSED = [
    (lambda f, dx, dy: f.partial(dx, dy), "a dask array, which this would have to compute as a whole"),
    (lambda f, dx, dy: f.mean(dx, dy.astype(complex)), "must be made of real numbers, got a dask array of complex128"),
    (lambda f, dx, dy: f.mean(dx, da.from_array(Y, chunks=100)[:900]), "got 1000 and, in argument 1, 900"),
    (lambda f, dx, dy: f.mean(dx, Y[:10]), "got 1000 and, in argument 1, 10"),
    (lambda f, dx, dy: f.mean(dx, 1.0), "got 1000 and, in argument 1, a single number"),
    (lambda f, dx, dy: f.mean(dx, da.ones(())), "must have rows of a known size"),
    (lambda f, dx, dy: f.map_gradients(dx, dy), "a dask array, which this would have to compute as a whole"),
]


@pytest.mark.parametrize(("call", "message"), REFUSED, ids=[m[:20] for _, m in REFUSED])
def test_what_cannot_be_done_says_so(call, message):
    _, f = net()
    with pytest.raises((TypeError, ValueError), match=message):
        call(f, *chunks())


def test_what_takes_whole_arrays_does_not_pull_chunks_in_silence():
    model, _ = net()
    for call in (lambda: model.fit(*chunks()), lambda: microgradc.accuracy(model, *chunks())):
        with pytest.raises(TypeError, match="is Array of dask, which this would pull into memory as a whole"):
            call()


def test_a_frame_says_how_to_become_an_array():
    class Frame:
        __module__ = "dask.dataframe.core"
        __dask_graph__ = None

    _, f = net()
    with pytest.raises(TypeError, match=r"to_dask_array\(lengths=True\)"):
        f.mean(Frame(), Y)


def test_chunks_are_not_pulled_into_memory_at_once():
    seen, most, lock = [0], [0], threading.Lock()

    def load(block):
        with lock:
            seen[0] += 1
            most[0] = max(most[0], seen[0])
        return block

    def done(part):
        with lock:
            seen[0] -= 1
        return part

    import dask

    _, f = net()
    dx = da.zeros((6400, 2), chunks=(100, 2)).map_blocks(load, dtype=float)
    with dask.config.set(scheduler="synchronous"):
        parts = tasks.part_of_chunk
        tasks.part_of_chunk = lambda *a: done(parts(*a))
        try:
            f.mean(dx, np.zeros(6400))
        finally:
            tasks.part_of_chunk = parts
    assert most[0] < 20 < 64


def test_nothing_of_dask_is_imported_before_it_is_used(run_python):
    run_python(
        "import sys, microgradc as m, numpy as np\n"
        "m.compile(lambda x: x * x).mean(np.ones(3))\n"
        "assert not any(name.partition('.')[0] in ('dask', 'distributed') for name in sys.modules)"
    )


def same_bits_on_a_cluster(client):
    model, f = net()
    wanted = bits(f.mean_of(by_hand(f)), model)
    assert bits(f.mean(*chunks()), model) == wanted
    kept = [a.persist() for a in chunks()]
    assert bits(f.mean(*kept), model) == wanted
    np.testing.assert_array_equal(f.map(*chunks()).compute(), f.map(X, Y))


def models_predict_on_workers(client):
    for model in (MLP(2, [4, 3], seed=0), Own()):
        np.testing.assert_array_equal(microgradc.outputs(model, chunks()[0]).compute(), microgradc.outputs(model, X))


def a_program_travels_once(client):
    model, f = net()
    kept = [a.persist() for a in chunks()]
    f.mean(*kept)
    before = dict(sent[client])
    model.parameters()[0].data += 1
    f.mean(*kept)
    assert dict(sent[client]) == before


def a_worker_of_another_version_says_so(client):
    _, f = net()
    f.program(X[0], Y[0])
    here = tasks.__version__
    tasks.__version__ = "0.0.9"
    try:
        with pytest.raises(RuntimeError, match=r"and the program was recorded by 0\.0\.9"):
            f.mean(*chunks())
    finally:
        tasks.__version__ = here


def an_error_in_a_chunk_arrives(client):
    table = [Value(1.0)]
    f = compile(lambda i: microgradc.take(table, i) * 2.0)
    with pytest.raises(IndexError):
        f.mean(da.from_array(np.array([0, 0, 0, 3]), chunks=2))


def training_goes_on_after_a_worker_was_killed(client):
    model, f = net()
    kept = [a.persist() for a in chunks((100,) * 10)]
    optimizer = SGD(model.parameters(), lr=0.1)
    losses = []
    for i in range(4):
        losses += f.train(optimizer, *kept).tolist()
        if i == 1:
            os.kill(next(iter(client.run(os.getpid).values())), signal.SIGKILL)
    other, g = net()
    second = SGD(other.parameters(), lr=0.1)
    theirs = []
    for _ in range(4):
        total = g.mean_of(by_hand(g, (100,) * 10))
        second.zero_grad()
        total.backward()
        second.step()
        theirs.append(total.data)
    assert losses == theirs
    assert model.vector().tolist() == other.vector().tolist()


def test_on_two_worker_processes():
    distributed = pytest.importorskip("distributed", reason="dask.distributed is not installed")
    settings = {"n_workers": 2, "threads_per_worker": 1, "dashboard_address": ":0", "host": "127.0.0.1"}
    with distributed.LocalCluster(**settings, silence_logs=50) as cluster, distributed.Client(cluster) as client:
        same_bits_on_a_cluster(client)
        models_predict_on_workers(client)
        a_program_travels_once(client)
        a_worker_of_another_version_says_so(client)
        an_error_in_a_chunk_arrives(client)
        training_goes_on_after_a_worker_was_killed(client)
