# NumPy, which is imported when it is first needed. Included by program.pyx.

cdef object numpy_module = None


cdef object numpy():
    """NumPy, imported when it is first needed."""
    global numpy_module
    if numpy_module is None:
        import numpy
        numpy_module = numpy
    return numpy_module
