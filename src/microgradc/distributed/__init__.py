"""Batches in chunks: dask arrays, on the workers of a cluster or, without one, out of core on this machine's threads.

Nothing here is imported before a compiled function is called with a dask array. See docs/distributed.md.
"""
