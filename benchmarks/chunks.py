"""Measure what a step over a batch in chunks costs besides the engine: `python benchmarks/chunks.py [CHUNKS] [ROWS]`.

A step is the mean over all chunks and its gradients, on a cluster of one and of two worker processes of one thread:
chunks that are kept on the workers, and chunks that are tasks. Next to it the same parts in this process, and an empty
task that is sent to each worker and back. Wall time in milliseconds, the least and the median of the steps.
"""

import sys
import time

import dask.array as da
import numpy as np
from distributed import Client, LocalCluster

import microgradc

STEPS = 30


def times(step):
    """Return the least and the median of what some steps take, in milliseconds, and the CPU time of this process."""
    found, begin = [], time.process_time()
    for _ in range(STEPS):
        start = time.perf_counter()
        step()
        found.append(1e3 * (time.perf_counter() - start))
    return f"{min(found):8.1f} {sorted(found)[STEPS // 2]:8.1f} {1e3 * (time.process_time() - begin) / STEPS:8.1f}"


def main():
    chunks, rows = [int(word) for word in (*sys.argv[1:], *["16", "16000"][len(sys.argv) - 1 :])]
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(rows, 2)), rng.normal(size=rows)
    model = microgradc.MLP(2, [16, 16, 1], activation="tanh", seed=0)
    loss = microgradc.compile(lambda x, y: (model(x) - y) ** 2)
    size = -(-rows // chunks)
    microgradc.set_num_threads(1)
    print(f"{rows} rows in {chunks} chunks, {len(model.parameters())} parameters; ms: least, median, CPU here")

    def parts():
        return loss.mean_of(loss.partial(x[i : i + size], y[i : i + size]) for i in range(0, rows, size))

    print(f"{'parts in this process':40}{times(parts)}")
    for workers in (1, 2):
        settings = {"threads_per_worker": 1, "dashboard_address": ":0", "host": "127.0.0.1"}
        with LocalCluster(n_workers=workers, **settings) as cluster, Client(cluster) as client:
            client.wait_for_workers(workers)
            lazy = da.from_array(x, chunks=(size, 2)), da.from_array(y, chunks=size)
            kept = [a.persist() for a in lazy]
            name = f"{workers} worker{'s' * (workers > 1)}, "
            addresses = list(client.scheduler_info()["workers"])

            def empty(client=client, addresses=addresses):
                client.gather([client.submit(int, workers=worker, pure=False) for worker in addresses])

            print(f"{name + 'an empty task for each':40}{times(empty)}")
            print(f"{name + 'chunks kept there':40}{times(lambda a=kept: loss.mean(*a))}")
            print(f"{name + 'chunks that are tasks':40}{times(lambda a=lazy: loss.mean(*a))}")


if __name__ == "__main__":
    main()
