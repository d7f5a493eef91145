"""A regression of counts over more rows than fit into memory: chunks that come and go, on one or two worker processes.

    python examples/many_rows.py [--rows 100_000_000] [--workers 1 2] [--steps 8]

y ~ Poisson(exp(x w + b)). Each chunk of 250,000 rows is drawn anew from a seed of its own whenever it is needed, as if
it were read from a file. Newton's method with the expected Hessian: a step is one pass over all rows, for the
likelihood and its gradient. It needs `pip install 'microgradc[distributed]'`.
"""

import argparse
import resource
import sys
import time

import dask.array as da
import numpy as np
from distributed import Client, LocalCluster
from tqdm.auto import tqdm

import microgradc

COLUMNS = 3
TRUTH = np.array([0.4, -0.3, 0.2, 0.1])


def rows_of_chunk(block_info=None):
    """Draw a chunk: the columns of x, and y."""
    chunk = block_info[None]
    rng = np.random.default_rng(chunk["chunk-location"][0])
    rows = rng.normal(size=chunk["chunk-shape"])
    rows[:, COLUMNS] = rng.poisson(np.exp(rows[:, :COLUMNS] @ TRUTH[:-1] + TRUTH[-1]))
    return rows


def make_rows(rows, chunk):
    """Return all rows as a dask array that is not computed."""
    sizes = [chunk] * (rows // chunk) + [rows % chunk] * (rows % chunk > 0)
    return da.map_blocks(rows_of_chunk, chunks=(tuple(sizes), (COLUMNS + 1,)), dtype=float, meta=np.empty((0, 0)))


def likelihood(theta, row):
    """The negative logarithm of the likelihood of one row, but for what does not depend on theta."""
    z = microgradc.dot(theta[:-1], row[:COLUMNS]) + theta[-1]
    return microgradc.exp(z) - row[COLUMNS] * z


def fit(rows, steps, bar):
    """Return the estimate: Newton's method, whose Hessian is that of the normal columns that were drawn."""
    f = microgradc.compile(likelihood, shared=("theta",))
    theta = np.zeros(COLUMNS + 1)
    for _ in range(steps):
        loss, gradient = f.mean_value_and_grad(theta, rows)
        w, mean = theta[:-1], np.exp(theta[:-1] @ theta[:-1] / 2 + theta[-1])     # E exp(x w + b), x ~ N(0, 1)
        hessian = mean * np.block([[np.eye(COLUMNS) + np.outer(w, w), w[:, None]], [w, np.ones(1)]])
        theta = theta - np.linalg.solve(hessian, gradient)
        bar.update(len(rows))
        bar.set_postfix(loss=f"{loss:.6f}", gradient=f"{np.abs(gradient).max():.1e}")
    return theta


def engine_seconds(chunk):
    """Return how long the engine takes for the rows of a chunk: the least of a few times."""
    rows = make_rows(chunk, chunk).compute()
    f = microgradc.compile(likelihood, shared=("theta",))
    microgradc.set_num_threads(1)
    times = []
    for _ in range(4):
        begin = time.perf_counter()
        f.mean_value_and_grad(np.zeros(COLUMNS + 1), rows)
        times.append(time.perf_counter() - begin)
    return min(times)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=100_000_000)
    parser.add_argument("--chunk", type=int, default=250_000, help="rows of a chunk")
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--steps", type=int, default=8)
    options = parser.parse_args()
    chunk = min(options.chunk, options.rows)
    alone = engine_seconds(chunk)
    found = []
    for workers in options.workers:
        rows = make_rows(options.rows, chunk)
        settings = {"threads_per_worker": 1, "dashboard_address": ":0", "host": "127.0.0.1", "memory_limit": "400MB"}
        with LocalCluster(n_workers=workers, **settings) as cluster, Client(cluster) as client:
            client.wait_for_workers(workers)
            begin = time.perf_counter()
            total = options.rows * options.steps
            with tqdm(total=total, unit=" rows", unit_scale=True, desc=f"{workers} workers") as bar:
                theta = fit(rows, options.steps, bar)
            seconds = time.perf_counter() - begin
            memory = sum(client.run(lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss).values())
        memory += resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        engine = alone * total / chunk / workers
        print(
            f"{workers} worker{'s' * (workers > 1)}: {total / seconds:,.0f} rows a second, of which the engine takes "
            f"{engine / seconds:.0%}; {memory / 1024:,.0f} MB at most in all processes; "
            f"estimate {theta.round(4).tolist()}, truth {TRUTH.tolist()}"
        )
        found.append(theta.tolist())
    if any(theta != found[0] for theta in found):
        sys.exit("the estimates differ, which they should not in a single bit")


if __name__ == "__main__":
    main()
