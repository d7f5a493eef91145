# The arguments of a compiled function, for one example: their numbers in a row, and what shape they had. Included by
# program.pyx. This is `trees.flatten` for the one case in which its time counts.

import weakref
from enum import Enum

from microgradc import checks


@cython.final
cdef class Static:
    """An argument that is no number: the function gets it as it is, and for another one it is recorded anew.

    Two are equal if what they wrap is, and of the same type: True is not 1 here, and 1 is not 1.0.

    Raises:
        TypeError: it cannot be hashed.
    """
    cdef readonly object value
    cdef object key
    cdef Py_hash_t hash_of_key

    def __init__(self, value):
        self.value, self.key = value, static_key(value)
        self.hash_of_key = hash(self.key)

    def __eq__(self, other):
        return isinstance(other, Static) and self.key == (<Static>other).key

    def __hash__(self):
        return self.hash_of_key

    def __reduce__(self):
        return Static, (self.value,)

    def __repr__(self):
        return f"Static({self.value!r})"


cdef object static_key(object a):
    """What two static arguments have in common that are the same to a function."""
    if isinstance(a, tuple):
        return type(a), tuple([static_key(x) for x in a])
    if isinstance(a, frozenset):
        return type(a), frozenset([static_key(x) for x in a])
    return type(a), a.hex() if type(a) is float else a      # 0.0 and -0.0 are two, and nan is one


cdef class Example:
    """Numbers, Values, and containers of them, as a row of numbers, and a key of their shape.

    The numbers are the leaves of `trees.flatten`, in its order. The keys of two examples are equal if their shapes are,
    and integers are in the same places.
    """
    cdef double *numbers
    cdef Py_ssize_t count, capacity
    # f a number, i an integer, [...] a list, (...) a tuple, {...} a dict, <...> a namedtuple or dataclass, a... an
    # array, s what is static
    cdef bytearray shape
    # Of the keys of dicts, the classes of namedtuples and dataclasses, the fields of these, by `name_of`; and what is
    # static.
    cdef list names
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
        cdef void *moved = PyMem_Realloc(self.numbers, <size_t>grown * sizeof(double))
        if moved == NULL:
            raise MemoryError(f"no memory for an example of {count:,} numbers")
        self.numbers = <double *>moved
        self.capacity = grown
        return 0

    cdef int add(self, object a) except -1:
        if type(type(a)) is not type and isinstance(a, Enum):
            return self.add_static(Static(a))
        if PyFloat_Check(a):
            self.shape.append(c"f")
            return self.put(PyFloat_AS_DOUBLE(a), None)
        if isinstance(a, Value):
            self.shape.append(c"f")
            return self.put((<Value>a).node.data, a)
        if isinstance(a, int):
            self.shape.append(c"f" if isinstance(a, bool) else c"i")
            return self.put(number(a), None)
        if isinstance(a, list):
            return self.add_entries(a, c"[", c"]")
        if isinstance(a, tuple):
            if type(a) is tuple or not hasattr(type(a), "_fields"):
                return self.add_entries(a, c"(", c")")
            self.names.append(name_of(type(a)))
            return self.add_entries(a, c"<", c">")
        if isinstance(a, dict):
            self.names += [key if type(key) is str else name_of(key) for key in a]
            return self.add_entries(a.values(), c"{", c"}")
        if a is None or isinstance(a, (Static, str, bytes)):
            return self.add_static(a)
        if getattr(a, "shape", ()):
            return self.add_array(a)
        if hasattr(type(a), "__dataclass_fields__"):
            names = [name for name in fields_of(a) if hasattr(a, name)]
            self.names += [name_of(type(a)), *names]
            return self.add_entries([getattr(a, name) for name in names], c"<", c">")
        self.shape.append(c"f" if checks.as_integer(a) is None else c"i")
        return self.put(number(a), None)

    cdef int add_static(self, object a) except -1:
        self.shape.append(c"s")
        self.names.append(a)
        return 0

    cdef int add_entries(self, object entries, char opening, char closing) except -1:
        self.shape.append(opening)
        if Py_EnterRecursiveCall(b" in the arguments of a compiled function"):
            return -1
        try:
            for entry in entries:
                self.add(entry)
        finally:
            Py_LeaveRecursiveCall()
        self.shape.append(closing)
        return 0

    cdef int add_array(self, object a) except -1:
        require_unmasked(a)
        array = numpy().asarray(a)      # by position, whatever it is
        self.shape += f"a{'x'.join(map(str, array.shape))}{'i' if array.dtype.kind in 'iu' else 'f'}".encode()
        for entry in array.ravel().tolist():
            if isinstance(entry, Value):
                self.put((<Value>entry).node.data, entry)
            else:
                self.put(number(entry), None)
        return 0


cdef object name_of(object key):
    """What stands for the key of a dict, or for a class, without keeping it alive."""
    if isinstance(key, (str, int, float, bytes)) or key is None:
        return key
    if type(key) is tuple:
        return tuple([name_of(entry) for entry in key])
    try:
        return weakref.ref(key)
    except TypeError:        # a few classes do not have them
        return key


def require_unmasked(a) -> None:
    """Raise TypeError for a masked array in which something is masked: its numbers would be taken for data."""
    if getattr(a, "mask", None) is not None and numpy().ma.is_masked(a):
        raise TypeError("an argument must not have masked entries: leave out the examples with them, or give numbers "
                        f"for them, a.filled(0.0); got {a!r:.60}")


cdef object array_type = None, float64 = None     # NumPy's, when they are first needed


cdef int load_types() except -1:
    global array_type, float64
    if array_type is None:
        array_type, float64 = numpy().ndarray, numpy().dtype(float)
    return 0


cdef inline bint is_plain(object a) except -1:
    """Whether this is an array of float64 numbers, and no subclass."""
    return type(a) is array_type and a.dtype is float64


cdef bint is_ready(object a):
    flags = a.flags
    return flags.c_contiguous and flags.aligned


def plain_batch(tuple args):
    """Return a key of the shapes of an example, float64 arrays, and the number of examples; None for other than arrays.

    This is the fast way, for arrays of numbers alone, for what `Batch` does for everything.
    """
    cdef Py_ssize_t n = -1
    cdef list key = [], arrays = []
    cdef tuple shape
    load_types()
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
        arrays.append(a if dtype is float64 and is_ready(a) else numpy().require(a, float64, "CA"))
    return None if n < 0 or tracing() else (tuple(key), tuple(arrays), n)


cdef object unfit(object a):
    return TypeError(
        "an argument must be made of numbers, Values, lists, tuples, dicts, dataclasses and arrays, or be static, "
        "compile(f, static=(name,)); got " f"{type(a).__name__} {a!r:.40}"
    )


cdef double number(object a) except? -1.0:
    cdef double x
    if not read_number(a, &x):
        raise unfit(a)
    return x


cdef list fields_of(object a):
    """Return the names of the fields of an instance of a dataclass."""
    from dataclasses import fields

    return [field.name for field in fields(a)]


cdef extern from "Python.h":
    int Py_EnterRecursiveCall(const char *)   # not 0 after an error
    void Py_LeaveRecursiveCall()
