# Nodes over any number of operands, of lists and other iterables. Changes with what such an operation accepts.
# Included by value.pyx.

cdef extern from "engine/blocks.h":
    mgc_wide *mgc_new_wide(Py_ssize_t count, bint with_local) except NULL
    mgc_wide *mgc_new_shared(Py_ssize_t count, PyObject *keeper, mgc_operand *, unsigned char *is_node,
                             const double *local) except NULL
    bint mgc_is_over_leaves(const mgc_wide *)
    void mgc_closures_assigned()
    void mgc_replace_number(mgc_node *, Py_ssize_t, mgc_node *)
    void mgc_adopt(mgc_node *, int op, unsigned int flags, mgc_wide *)
    void mgc_set_node(mgc_wide *, Py_ssize_t, mgc_node *)
    void mgc_set_number(mgc_wide *, Py_ssize_t, double)
    bint mgc_put_exact(mgc_wide *, Py_ssize_t, PyObject *)
    Py_ssize_t mgc_put_products(mgc_wide *, PyObject **w, PyObject **x, Py_ssize_t count, double *total)
    void mgc_clear_operands(mgc_wide *, Py_ssize_t count)
    bint mgc_has_node(mgc_wide *)
    object mgc_new_over(int op, mgc_wide *, double data)

cdef extern from "Python.h":
    Py_ssize_t PySequence_Fast_GET_SIZE(object)
    PyObject *PySequence_Fast_GET_ITEM(object, Py_ssize_t)
    PyObject **PySequence_Fast_ITEMS(object)


cdef int try_put(mgc_wide *w, Py_ssize_t i, object o) except -1:
    """Make o operand i of a block that has none there, and return 1; return 0 if it is neither a Value nor a number."""
    cdef double number
    if isinstance(o, Value):
        mgc_set_node(w, i, &(<Value>o).node)
    elif read_number(o, &number):
        mgc_set_number(w, i, number)
    else:
        return 0
    return 1


cdef int put(mgc_wide *w, Py_ssize_t i, object o, str name) except -1:
    """Make o, a Value or a number, operand i of a block that has none there."""
    if not try_put(w, i, o):
        raise not_a_number(o, name, "a Value or a real number")
    return 0


cdef int put_all(mgc_wide *w, Py_ssize_t first, Py_ssize_t stride, object values, Py_ssize_t count, str name) except -1:
    """Make the `count` entries of a list or tuple operands first, first + stride, …"""
    cdef Py_ssize_t i = 0
    cdef tuple entries
    if PySequence_Fast_GET_SIZE(values) == count:
        while i < count and mgc_put_exact(w, first + i * stride, PySequence_Fast_GET_ITEM(values, i)):
            i += 1
    if i == count:
        return 0
    # Reading other numbers may run Python code, which may change the list; so from here on we read a copy.
    entries = tuple(values)
    if len(entries) != count:
        raise RuntimeError(f"{name} changed its length from {count} to {len(entries)} while its numbers were read")
    for i in range(i, count):
        if not try_put(w, first + i * stride, entries[i]):
            raise not_a_number(entries[i], f"{name}[{i}]", "a Value or a real number")
    return 0


cdef object sequence_of(object values, str name):
    """A list or tuple of the entries, or of the rows of what has more axes than one."""
    if type(values) is list or type(values) is tuple:
        return values
    if is_table(values):
        array = array_of(values, name)
        if array.ndim:
            return array.tolist() if array.ndim == 1 else list(array)
    elif isinstance(values, dict):
        raise TypeError(f"{name} must be an iterable of Values and numbers, got a dict; list(d.values()) has its "
                        "entries without their names")
    return entries_of(values, f"{name} must be an iterable of Values and numbers")


cdef object finish(int op, mgc_wide *w):
    """A node over a block, which it takes over; a float if all the operands are numbers."""
    return finish_with(op, w, mgc_wide_value(op, w))


cdef object finish_with(int op, mgc_wide *w, double f):
    if mgc_has_node(w):
        return mgc_new_over(op, w, f)
    mgc_drop_wide(w)
    return f


cdef object wide(int op, object values, str name):
    """A node over one operand or more."""
    cdef object entries = sequence_of(values, name)
    cdef Py_ssize_t count = PySequence_Fast_GET_SIZE(entries)
    if not count:
        raise ValueError(f"{name} must have at least one entry, got none")
    cdef mgc_wide *w = mgc_new_wide(count, False)
    try:
        put_all(w, 0, 1, entries, count, name)
    except BaseException:
        mgc_drop_wide(w)
        raise
    return finish(op, w)


cdef double largest(object values, str name) except? -1.0:
    """The largest number among Values and numbers; -inf if there are none."""
    cdef double number, m = float("-inf")
    for i, v in enumerate(values):
        if isinstance(v, Value):
            number = (<Value>v).node.data
        elif not read_number(v, &number):
            raise not_a_number(v, f"{name}[{i}]", "a Value or a real number")
        m = max(m, number)
    return m


cdef object ternary(int op, object x, object y, object z, tuple names):
    cdef mgc_wide *w = mgc_new_wide(3, False)
    try:
        put(w, 0, x, names[0])
        put(w, 1, y, names[1])
        put(w, 2, z, names[2])
    except BaseException:
        mgc_drop_wide(w)
        raise
    return finish(op, w)


cdef object dot_product(object w, object x, object bias):
    """((bias + w0 * x0) + w1 * x1) + …"""
    cdef object ws = sequence_of(w, "w")
    cdef object xs = sequence_of(x, "x")
    cdef Py_ssize_t count = PySequence_Fast_GET_SIZE(ws)
    cdef double total = 0
    if PySequence_Fast_GET_SIZE(xs) != count:
        raise ValueError(f"w and x must have the same length, got {count} and {PySequence_Fast_GET_SIZE(xs)}")
    if not count and bias is None:
        return 0.0
    cdef mgc_wide *block = mgc_new_wide(2 * count + (bias is not None), False)
    try:
        if bias is not None:
            put(block, 2 * count, bias, "bias")
            total = mgc_wide_at(block, 2 * count)
        if PySequence_Fast_GET_SIZE(ws) != count or PySequence_Fast_GET_SIZE(xs) != count:
            raise RuntimeError("w or x changed its length while bias was read")
        if mgc_put_products(block, PySequence_Fast_ITEMS(ws), PySequence_Fast_ITEMS(xs), count, &total) < count:
            mgc_clear_operands(block, 2 * count)
            put_all(block, 0, 2, ws, count, "w")
            put_all(block, 1, 2, xs, count, "x")
            total = mgc_wide_value(MGC_DOT, block)
    except BaseException:
        mgc_drop_wide(block)
        raise
    return finish_with(MGC_DOT, block, total)


@cython.boundscheck(True)    # reading a number may run Python code, which may change the lists
cdef list dot_products(object x, list rows, list biases, bytes operations):
    """The dot product of x with each row, plus its bias, and the operation of that number on it, 0 for none.

    biases and operations may be None.
    """
    cdef object xs = sequence_of(x, "x")
    cdef list outputs = []
    cdef Py_ssize_t i
    cdef int operation
    for i in range(len(rows)):
        out = dot_product(rows[i], xs, None if biases is None else biases[i])
        operation = 0 if operations is None else operations[i]
        if operation:
            if not 0 < operation < MGC_TABLE_END or mgc_rows[operation].operands != 1:
                raise ValueError(f"{operation} is not an operation of one operand")
            out = unary(operation, <Value?>out)
        outputs.append(out)
    return outputs
