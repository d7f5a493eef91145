# NumPy, which is imported when it is first needed, and arrays for results. Included by program.pyx.

from cpython.buffer cimport PyBuffer_FillInfo

cdef extern from "program/blocks.h":
    void *mgc_take_block(size_t *bytes_taken)
    void mgc_give_block_back(void *, size_t)

cdef enum:
    LARGE = 1 << 13      # numbers, from which on memory is kept for the next result

cdef object numpy_module = None
cdef object numpy_empty = None


cdef object numpy():
    """NumPy, imported when it is first needed."""
    global numpy_module, numpy_empty
    if numpy_module is None:
        import numpy
        numpy_module, numpy_empty = numpy, numpy.empty
    return numpy_module


@cython.internal
cdef class Block:
    """Memory of an array; when the array is gone, that of a later one."""
    cdef void *memory
    cdef size_t bytes, used

    def __cinit__(self, size_t used):
        self.bytes = self.used = used
        self.memory = mgc_take_block(&self.bytes)
        if self.memory == NULL:
            self.bytes = 0
            raise MemoryError(f"no memory for a result of {used:,} bytes")

    def __dealloc__(self):
        if self.memory != NULL:
            mgc_give_block_back(self.memory, self.bytes)

    def __getbuffer__(self, Py_buffer *view, int flags):
        PyBuffer_FillInfo(view, self, self.memory, self.used, False, flags)


cdef object new_array(tuple shape):
    """A new float64 array, whose numbers are not set."""
    cdef Py_ssize_t count = 1
    cdef object length
    if numpy_module is None:
        numpy()
    for length in shape:
        count *= <Py_ssize_t>length
    if count < LARGE or count > PY_SSIZE_T_MAX // 16:
        return numpy_empty(shape)
    return numpy_module.frombuffer(Block(count * sizeof(double)), float).reshape(shape)
