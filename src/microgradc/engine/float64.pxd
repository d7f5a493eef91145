"""Views of arrays of float64 numbers. Changes with what counts as one."""

from cpython.buffer cimport PyBUF_C_CONTIGUOUS, PyBUF_FORMAT, PyBUF_SIMPLE, PyBUF_WRITABLE, PyObject_GetBuffer


cdef inline int view_float64(object array, Py_buffer *view, bint writable) except -1:
    """Fill view, which the caller then releases; return whether the numbers are float64, in C order as all views are.

    It raises what PyObject_GetBuffer raises, and then there is nothing to release.
    """
    PyObject_GetBuffer(array, view, PyBUF_C_CONTIGUOUS | PyBUF_FORMAT | (PyBUF_WRITABLE if writable else PyBUF_SIMPLE))
    return view.format != NULL and view.format[0] == c"d" and view.format[1] == 0
