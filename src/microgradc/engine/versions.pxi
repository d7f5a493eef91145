# When a leaf that somebody may have a copy of changed. Included by value.pyx.

from cpython.ref cimport Py_REFCNT

cdef extern from "engine/memory.h":
    uint64_t mgc_leaf_version

cdef uint64_t *leaf_version = &mgc_leaf_version
cdef Py_ssize_t open_view_count = 0
cdef Py_ssize_t *open_views = &open_view_count


cdef inline void write_data(Value v, double x) noexcept:
    """Set the number of a Value that is there: not the way of operations, which make new ones."""
    v.node.data = x
    if Py_REFCNT(v) > 1:       # others than its constructor know it
        leaf_version[0] += 1
