# The numbers of many leaves at once: as memory that an array shares, or copied. Changes with who may write to leaves.
# Included by value.pyx.

from cpython.buffer cimport PyBUF_C_CONTIGUOUS, PyBUF_FORMAT, PyBUF_ND, PyBUF_SIMPLE, PyBUF_STRIDES, PyBUF_WRITABLE
from cpython.buffer cimport PyBuffer_Release, PyObject_GetBuffer

cdef extern from *:
    """
    #define mgc_is_of(thing, type) PyObject_TypeCheck(thing, (PyTypeObject *)(type))
    """
    bint mgc_is_of(PyObject *, object)
    PyObject *entry_of "PyList_GET_ITEM"(PyObject *, Py_ssize_t)   # borrowed: counts are not written

cdef enum:
    BUF_CONTIGUOUS = 0xE0       # what a consumer of one kind of contiguous memory or another asks for, with its strides

cdef char *FLOAT64 = b"d"


@cython.internal
@cython.no_gc_clear      # arrays that use the leaves' memory may outlive its clearing
cdef class Vector:
    """The numbers, or gradients, of leaves that lie evenly in memory, by the buffer protocol. It owns the leaves."""
    cdef tuple leaves
    cdef char *first
    cdef Py_ssize_t count, stride
    cdef bint is_data

    def __getbuffer__(self, Py_buffer *view, int flags):
        if self.stride != sizeof(double) and (flags & PyBUF_STRIDES != PyBUF_STRIDES or flags & BUF_CONTIGUOUS):
            raise BufferError("parameters lie apart in memory: only a view with strides can be had")
        view.buf, view.len, view.itemsize = self.first, self.count * <Py_ssize_t>sizeof(double), sizeof(double)
        view.readonly, view.ndim = False, 1
        view.format = FLOAT64 if flags & PyBUF_FORMAT else NULL
        view.shape = &self.count if flags & PyBUF_ND else NULL
        view.strides = &self.stride if flags & PyBUF_STRIDES == PyBUF_STRIDES else NULL
        view.suboffsets, view.internal, view.obj = NULL, NULL, self
        if self.is_data:
            open_views[0] += 1

    def __releasebuffer__(self, Py_buffer *view):
        if self.is_data:
            open_views[0] -= 1
            leaf_version[0] += 1      # what was written last, nobody has seen


cdef tuple leaves_of(list params):
    """The Values of a list, as a tuple, which owns them; TypeError for something else."""
    cdef tuple leaves = tuple(params)
    for i in range(len(leaves)):
        if not isinstance(leaves[i], Value):
            raise TypeError(f"parameters[{i}] must be a Value, got {describe(leaves[i])}")
    return leaves


def vector_of(list params not None, bint gradients):
    """Return the numbers or gradients of Values as a buffer that is a view of them; None if they do not lie evenly."""
    refuse_while_tracing(".grad" if gradients else ".data")
    cdef tuple leaves = leaves_of(params)
    cdef Vector vector
    cdef mgc_node *node
    cdef Py_ssize_t i, stride = sizeof(double), count = len(leaves)
    cdef char *first
    if count == 0:
        return None
    node = &(<Value>leaves[0]).node
    first = <char *>(&node.grad if gradients else &node.data)
    for i in range(1, count):
        node = &(<Value>leaves[i]).node
        if i == 1:
            stride = <Py_ssize_t>(<intptr_t><char *>(&node.grad if gradients else &node.data) - <intptr_t>first)
        if <intptr_t><char *>(&node.grad if gradients else &node.data) != <intptr_t>first + i * stride:
            return None
    if stride == 0:
        return None
    vector = Vector.__new__(Vector)
    vector.leaves, vector.first, vector.count, vector.stride = leaves, first, count, stride
    vector.is_data = not gradients
    return vector


def write_vector(list params not None, list numbers not None):
    """Set the numbers of Values to as many floats."""
    refuse_while_tracing("an update")
    cdef tuple leaves = leaves_of(params)
    cdef Py_ssize_t i
    if len(numbers) != len(leaves):
        raise ValueError(f"there are {len(leaves)} Values for {len(numbers)} numbers")
    for number in numbers:
        if not PyFloat_CheckExact(number):
            raise TypeError(f"numbers must be floats, got {describe(number)}")
    for i in range(len(leaves)):
        write_data(<Value>leaves[i], PyFloat_AS_DOUBLE(numbers[i]))


cdef int view_numbers(object array, list rows, Py_buffer *view, bint writable) except -1:
    """View an array of as many float64 as rows have Values, in rows; raise TypeError and ValueError for another one."""
    cdef bint is_float64
    cdef Py_ssize_t i, count = 0
    for row in rows:
        for i in range(len(<list?>row)):
            if not mgc_is_of(entry_of(<PyObject *>row, i), Value):
                raise TypeError(f"parameters must be Values, got {describe((<list>row)[i])}")
        count += len(<list>row)
    PyObject_GetBuffer(array, view, PyBUF_C_CONTIGUOUS | PyBUF_FORMAT | (PyBUF_WRITABLE if writable else PyBUF_SIMPLE))
    is_float64 = view.format != NULL and view.format[0] == FLOAT64[0] and view.format[1] == 0
    if not is_float64 or view.len != count * <Py_ssize_t>sizeof(double):
        PyBuffer_Release(view)
        raise ValueError(f"there are {count} Values, for which an array must have as many float64")
    return 0


def read_numbers(list rows not None, array, bint gradients):
    """Write the numbers or gradients of the Values in lists to an array of as many float64, in rows."""
    refuse_while_tracing(".grad" if gradients else ".data")
    cdef Py_buffer view
    cdef mgc_node *node
    cdef double *number
    cdef Py_ssize_t i
    view_numbers(array, rows, &view, True)
    number = <double *>view.buf
    for row in rows:                  # no Python code runs from here on
        for i in range(len(<list>row)):
            node = mgc_node_of(entry_of(<PyObject *>row, i))
            number[0] = node.grad if gradients else node.data
            number += 1
    PyBuffer_Release(&view)


def write_numbers(list rows not None, array):
    """Set the numbers of the Values in lists to those in an array of as many float64, in rows."""
    refuse_while_tracing("an update")
    cdef Py_buffer view
    cdef const double *number
    cdef Py_ssize_t i
    view_numbers(array, rows, &view, False)
    number = <const double *>view.buf
    for row in rows:                  # nor here
        for i in range(len(<list>row)):
            write_data(<Value>entry_of(<PyObject *>row, i), number[0])
            number += 1
    PyBuffer_Release(&view)
    leaf_version[0] += 1
