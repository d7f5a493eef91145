# Memory for numbers. Changes with how kernels want them aligned. Included by program.pyx.

cdef class Doubles:
    """64-byte aligned doubles, 0 at first."""

    def __cinit__(self, size_t size):
        if size > (<size_t>-1 - 64) // sizeof(double):
            raise MemoryError(f"no memory for {size:,} numbers")
        self.allocated = PyMem_Malloc(size * sizeof(double) + 64)
        if self.allocated == NULL:
            raise MemoryError(f"no memory for {size * sizeof(double):,} bytes")
        self.doubles = <double *>((<uintptr_t>self.allocated + 63) & ~<uintptr_t>63)
        self.size = size
        memset(self.doubles, 0, size * sizeof(double))

    def __dealloc__(self):
        PyMem_Free(self.allocated)
