# The level of SIMD instructions that programs run on. Included by program.pyx.

import os

from libc.stdint cimport uint64_t, uintptr_t
from libc.string cimport memcmp, memcpy, memset

cdef extern from "program/lanes/levels.h":
    const mgc_lanes *const *mgc_lanes_levels
    const mgc_lanes *mgc_lanes_of(const char *name)


cdef list level_names():
    """The names of the levels that this processor has, slowest first."""
    cdef Py_ssize_t i = 0
    names = []
    while mgc_lanes_levels[i] != NULL:
        if mgc_lanes_of(mgc_lanes_levels[i].name) != NULL:
            names.append(mgc_lanes_levels[i].name.decode())
        i += 1
    return names


cdef const mgc_lanes *level_of(str name) except NULL:
    """The level of that name; the fastest for the empty one."""
    cdef bytes encoded = name.encode()
    cdef const char *wanted = encoded
    cdef const mgc_lanes *found = mgc_lanes_of(wanted if name else NULL)
    if found == NULL:
        raise ValueError(f"this processor has the SIMD levels {', '.join(level_names())}, not {name!r}; "
                         "leave the environment variable MICROGRADC_SIMD unset to have the fastest")
    return found


# What programs run on.
cdef const mgc_lanes *LANES = level_of(os.environ.get("MICROGRADC_SIMD", ""))
