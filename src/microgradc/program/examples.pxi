# The arguments of a compiled function, for one example: their numbers in a row, and what shape they had. Included by
# program.pyx.

cdef class Example:
    """Numbers, Values, and lists, tuples, dicts and arrays of them, as a row of numbers, and a key of their shape."""
    cdef double *numbers
    cdef Py_ssize_t count, capacity
    cdef bytearray shape         # f a number, i an integer, [...] a list, (...) a tuple, {...} a dict, a...; an array
    cdef list names              # the keys of dicts
    cdef list values             # for each number the Value it was read from, or None; None if there are no Values

    def __cinit__(self, args):
        self.shape, self.names = bytearray(), []
        for i, a in enumerate(args):
            self.add(a)

    def __dealloc__(self):
        PyMem_Free(self.numbers)

    @property
    def key(self):
        """What arguments of the same shape have in common."""
        return bytes(self.shape), tuple(self.names)

    def row(self):
        """Return the numbers as an array of shape (1, count)."""
        return numpy().array([[self.numbers[i] for i in range(self.count)]])

    cdef int put(self, double x, object value) except -1:
        if self.count == self.capacity:
            self.reserve(self.count + 1)
        self.numbers[self.count] = x
        self.count += 1
        if value is not None and self.values is None:
            self.values = [None] * (self.count - 1)
        if self.values is not None:
            self.values.append(value)
        return 0

    cdef int reserve(self, Py_ssize_t count) except -1:
        cdef Py_ssize_t grown = max(count, 2 * self.capacity, 16)
        cdef void *moved = PyMem_Realloc(self.numbers, grown * sizeof(double))
        if moved == NULL:
            raise MemoryError(f"no memory for an example of {count:,} numbers")
        self.numbers = <double *>moved
        self.capacity = grown
        return 0

    cdef int add(self, object a) except -1:
        cdef double x
        if PyFloat_Check(a):
            self.shape.append(c"f")
            return self.put(PyFloat_AS_DOUBLE(a), None)
        if isinstance(a, Value):
            self.shape.append(c"f")
            return self.put((<Value>a).node.data, a)
        if isinstance(a, (list, tuple, dict)):
            return self.add_entries(a)
        if getattr(a, "shape", ()):
            return self.add_array(a)
        self.shape.append(c"i" if is_integer(a) else c"f")
        if not read_number(a, &x):
            raise unfit(a)
        return self.put(x, None)

    cdef int add_entries(self, object a) except -1:
        brackets = b"{}" if isinstance(a, dict) else b"[]" if isinstance(a, list) else b"()"
        self.shape.append(brackets[0])
        if Py_EnterRecursiveCall(b" in the arguments of a compiled function"):
            return -1
        try:
            if isinstance(a, dict):
                self.names += a
                a = a.values()
            for entry in a:
                self.add(entry)
        finally:
            Py_LeaveRecursiveCall()
        self.shape.append(brackets[1])
        return 0

    cdef int add_array(self, object a) except -1:
        cdef double x
        kind = getattr(getattr(a, "dtype", None), "kind", "?")
        self.shape += f"a{'x'.join(map(str, a.shape))}{'i' if kind in 'iu' else 'f'}".encode()
        for entry in a.ravel().tolist():
            if isinstance(entry, Value):
                self.put((<Value>entry).node.data, entry)
            elif read_number(entry, &x):
                self.put(x, None)
            else:
                raise unfit(a)
        return 0


cdef object array_type = None, float64 = None     # NumPy's, when they are first needed


def plain_batch(tuple args):
    """Return a key of the shapes of an example, float64 arrays, and the number of examples; None for anything else.

    This is the fast way for what `compile._Batch` does for everything.
    """
    cdef Py_ssize_t n = -1
    cdef list key = [], arrays = []
    cdef tuple shape
    global array_type, float64
    if array_type is None:
        array_type, float64 = numpy().ndarray, numpy().dtype(float)
    for a in args:
        if type(a) is not array_type:
            return None
        shape, dtype = a.shape, a.dtype
        if dtype is not float64 and dtype.kind not in "fiub" or not shape:
            return None
        if shape[0] == 0 or (n >= 0 and shape[0] != n):
            return None
        n = shape[0]
        key += (shape[1:], dtype.char)
        arrays.append(a if dtype is float64 and a.flags.c_contiguous else numpy().ascontiguousarray(a, float64))
    return None if n < 0 or tracing() else (tuple(key), tuple(arrays), n)


cdef object unfit(object a):
    return TypeError("an argument must be made of numbers, Values, lists, tuples, dicts and arrays, "
                     f"got {type(a).__name__} {a!r:.40}")


cdef bint is_integer(object a):
    return hasattr(type(a), "__index__") and not isinstance(a, bool) and getattr(a, "dtype", None) != bool


cdef extern from "Python.h":
    int Py_EnterRecursiveCall(const char *)   # not 0 after an error
    void Py_LeaveRecursiveCall()
