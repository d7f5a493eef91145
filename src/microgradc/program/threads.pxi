# The threads that run partitions. Included by program.pyx.

from concurrent.futures import ThreadPoolExecutor, wait
from time import perf_counter

from libc.time cimport CLOCKS_PER_SEC, clock, clock_t

cdef object pool = None      # of the threads besides the caller's
cdef int threads = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


# In seconds: what a call takes at least in which it is asked whether threads are worth while; a multiplication, about;
# what it takes to wake a thread and to hear that it is done, None until it was measured.
cdef double LEAST_SHARED = 1e-4
cdef double SECONDS_OF_WORK = 2.4e-10
_waking = None


def set_num_threads(n):
    """Set how many threads a compiled function may use for a large batch.

    The results have the same bits for every number.

    Args:
        n: a positive integer; at first, the number of cores that this process may use.

    Raises:
        TypeError: n is not an integer.
        ValueError: n is not positive.
    """
    global threads, pool
    threads = min(checks.integer(n, "n", 1), MOST_PARTITIONS)
    pool = None              # its threads end when its work is done


def get_num_threads() -> int:
    """Return how many threads a compiled function may use for a large batch."""
    return threads


cdef int workers_for(double seconds, int most) except -1:
    """Return how many threads are worth while for so much work, `most` at most.

    Each has twice as much to do as it takes to wake it, so that two are faster than one even if the second one begins
    late. That is measured once, with threads that have nothing to do.
    """
    global _waking
    if most < 2:
        return 1
    if _waking is None:
        times = []
        for _ in range(6):
            begin = perf_counter()
            run_in_threads(_nothing, _nothing, 2)
            times.append(perf_counter() - begin)
        _waking = sorted(times[1:])[2]      # the first one starts a thread
    return max(1, <int>min(seconds / (2 * <double>_waking), most))


def _nothing(worker=0, workers=0):
    """The work of a thread that is woken to see how long that takes."""


cdef int run_in_threads(function, stop, int workers) except -1:
    """Call function(i, workers) for each i < workers, the first in this thread; return when all are done.

    If this thread is interrupted, it calls stop(), so that the others end soon.
    """
    global pool
    cdef list futures = []
    cdef bint refused = False
    executor = None
    try:
        try:
            executor = pool      # another thread may set a new one meanwhile
            if executor is None:
                executor = pool = ThreadPoolExecutor(MOST_PARTITIONS - 1, thread_name_prefix="microgradc")
            for i in range(1, workers):
                futures.append(executor.submit(function, i, workers))
        except RuntimeError:     # the interpreter shuts down, or there are no more threads
            refused = True
        function(0, workers)
    except BaseException:
        stop()
        raise
    finally:
        interrupted = None
        while futures:
            try:
                wait(futures)    # they write into memory of ours
                break
            except BaseException as error:
                interrupted = error
                stop()
        if interrupted is not None:
            raise interrupted
    for future in futures:
        future.result()
    if refused:     # then this thread does the rest; but what was refused may be queued, and must end before
        if pool is executor:
            pool = None
        if executor is not None:
            executor.shutdown(wait=True)
        for i in range(1, workers):
            function(i, workers)
    return 0


def _forget_threads():
    """In a forked child there are no threads but one."""
    global pool
    pool = None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_threads)
