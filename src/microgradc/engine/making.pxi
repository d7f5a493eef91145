# How nodes are made, and how what they were made from is read back. Included by engine.pyx.

from cpython.tuple cimport PyTuple_GET_ITEM

cdef extern from "Python.h":
    Py_ssize_t PySequence_Fast_GET_SIZE(object)
    PyObject *PySequence_Fast_GET_ITEM(object, Py_ssize_t)
    PyObject **PySequence_Fast_ITEMS(object)


cdef object unary(int op, Value x):
    return mgc_new_unary(op, &x.node)


cdef object binary(int op, object x, object y):
    """A node over two operands, at least one of them a Value; NotImplemented if the other is no number."""
    cdef double number
    if isinstance(x, Value):
        if isinstance(y, Value):
            return mgc_new_binary(op, &(<Value>x).node, &(<Value>y).node)
        if PyFloat_CheckExact(y):
            return mgc_new_right_number(op, &(<Value>x).node, PyFloat_AS_DOUBLE(y), False)
        if not read_number(y, &number):
            return leave_to(y, mgc_rows[op].op)
        return mgc_new_right_number(op, &(<Value>x).node, number, PyLong_CheckExact(y))
    if not read_number(x, &number):
        return leave_to(x, mgc_rows[op].op)
    return mgc_new_left_number(op, number, &(<Value>y).node, PyLong_CheckExact(x))


cdef object leave_to(object other, const char *op):
    """NotImplemented, so that other's type may do the operation; or an error, if it is known that it cannot."""
    if type(other) in (str, bytes, list, tuple, dict, set, complex, type(None)):
        raise not_a_number(other, f"an operand of {op.decode()}", "a Value or a real number")
    return NotImplemented


cdef object pair(int op, object x, object y, str x_name, str y_name):
    """A node over two operands; a float if both are numbers."""
    cdef double number
    if not isinstance(x, Value) and not read_number(x, &number):
        raise not_a_number(x, x_name, "a Value or a real number")
    if not isinstance(y, Value) and not read_number(y, &number):
        raise not_a_number(y, y_name, "a Value or a real number")
    if isinstance(x, Value) or isinstance(y, Value):
        return binary(op, x, y)
    return mgc_value(op, require_number(x, x_name), number, 0)


cdef object compare(Value self, object other, int relation):
    """Whether self < other, and so on; while a function is recorded, the node that says so. Equality is identity, as by default."""
    cdef double x = self.node.data
    cdef double y
    if relation == Py_EQ or relation == Py_NE:
        if mgc_tracing() and other is not self and (isinstance(other, Value) or read_number(other, &y)):
            refuse("==")
        return NotImplemented
    if mgc_tracing():
        row = MGC_LESS if relation == Py_LT or relation == Py_GT else MGC_LESS_EQUAL
        return binary(row, self, other) if relation == Py_LT or relation == Py_LE else binary(row, other, self)
    if isinstance(other, Value):
        y = (<Value>other).node.data
    elif not read_number(other, &y):
        return leave_to(other, b"a comparison")
    if relation == Py_LT:
        return x < y
    if relation == Py_LE:
        return x <= y
    if relation == Py_GT:
        return x > y
    return x >= y


cdef int try_put(mgc_wide *w, Py_ssize_t i, object o) except -1:
    """Make o operand i of a block that has none there, and return 1; return 0 if it is no Value and no number."""
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
    """A list or tuple of the entries."""
    if type(values) is list or type(values) is tuple:
        return values
    try:
        return list(values)
    except TypeError:
        raise TypeError(f"{name} must be an iterable of Values and numbers, got {describe(values)}") from None


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
    """The dot product of x with each row, plus its bias, and the operation of that number on it, 0 for none; the last two may be None."""
    cdef object xs = sequence_of(x, "x")
    cdef list outputs = []
    cdef Py_ssize_t i
    cdef int operation
    for i in range(len(rows)):
        out = dot_product(rows[i], xs, None if biases is None else biases[i])
        operation = 0 if operations is None else operations[i]
        if operation:
            if not 0 < operation < MGC_TABLE_END or mgc_rows[operation].operands != 1:
                raise ValueError(f"{operation} is no operation of one operand")
            out = unary(operation, <Value?>out)
        outputs.append(out)
    return outputs


cdef int adopt(Value v, int op, tuple operands, object local) except -1:
    """Give a Value that has none its operation and operands, Values or numbers, and the local gradients of a custom node."""
    cdef Py_ssize_t i, count = len(operands)
    cdef Py_ssize_t expected = mgc_rows[op].operands if op < MGC_TABLE_END else max(count, 1)
    cdef unsigned int flags = 0
    if count != expected:
        raise ValueError(f"{OP_NAMES[op]} takes {expected} operands, got {count}")
    if (op == MGC_CUSTOM) != (local is not None):
        raise ValueError(f"local_grads go with CUSTOM, and with nothing else, got {OP_NAMES[op]} and {local!r}")
    cdef mgc_wide *w = mgc_new_wide(count, op == MGC_CUSTOM)
    try:
        for i in range(count):
            put(w, i, operands[i], "an operand")
            if type(operands[i]) is int and count == 2:
                flags |= MGC_INTEGER
        if op < MGC_TABLE_END and not mgc_has_node(w):
            raise TypeError(f"at least one operand of {OP_NAMES[op]} must be a Value, got {operands!r}")
        if op == MGC_CUSTOM:
            local = tuple(local)
            if len(local) != count:
                raise ValueError(f"local_grads must have one number for each child, got {len(local)} for {count} children")
            for i in range(count):
                w.local[i] = require_number(local[i], f"local_grads[{i}]")
        if v.node.op != MGC_LEAF:
            raise TypeError("a Value is given its children once, when it is made; make a new Value")
    except BaseException:
        mgc_drop_wide(w)
        raise
    flags |= w.flags & MGC_TRACKED
    mgc_adopt(&v.node, op, flags, w)
    if flags & MGC_TRACKED:
        mgc_track(&v.node)
    return 0


cdef int build_by_hand(Value v, children, local) except -1:
    """What Value(data, children, local_grads) and Value(data, children, 'op') do."""
    try:
        operands = tuple(children)
    except TypeError:
        raise TypeError(f"_children must be an iterable of Values, got {describe(children)}") from None
    for i, child in enumerate(operands):
        if not isinstance(child, Value):
            raise TypeError(f"_children[{i}] must be a Value, got {describe(child)}")
    if local is not None:
        try:
            local = tuple(local)
        except TypeError:
            raise TypeError(f"local_grads must be an iterable of numbers, one for each child, got {describe(local)}") from None
        if len(local) != len(operands):
            raise ValueError(f"local_grads must have one number for each child, got {len(local)} for {len(operands)} children")
    if operands:
        adopt(v, MGC_OPAQUE if local is None else MGC_CUSTOM, operands, local)
    return 0


cdef object custom_node(double data, tuple children, const double *local):
    """A node over Values with these local gradients, one for each, already checked; a leaf if there are none."""
    cdef Py_ssize_t i, count = len(children)
    if not count:
        return mgc_new_leaf(data)
    cdef mgc_wide *w = mgc_new_wide(count, True)
    for i in range(count):
        mgc_set_node(w, i, &(<Value>PyTuple_GET_ITEM(children, i)).node)
        w.local[i] = local[i]
    return mgc_new_over(MGC_CUSTOM, w, data)


@cython.no_gc_clear      # nodes that it keeps the leaves of may outlive its clearing
cdef class SharedLeaves:
    """Leaves that many nodes are made over: they are owned once, by this."""

    def __cinit__(self, tuple values not None):
        cdef Py_ssize_t i
        self.values = values
        self.operands = <mgc_operand *>PyMem_Calloc(len(values) + 1, sizeof(mgc_operand))
        self.is_node = <unsigned char *>PyMem_Calloc(len(values) + 1, 1)
        if self.operands == NULL or self.is_node == NULL:
            raise MemoryError(f"no memory for {len(values):,} leaves")
        for i in range(len(values)):
            self.operands[i].node = &(<Value?>values[i]).node
            self.is_node[i] = 1

    def __dealloc__(self):
        PyMem_Free(self.operands)
        PyMem_Free(self.is_node)


cdef object shared_node(double data, SharedLeaves leaves, const double *local):
    """A node over leaves with these local gradients, for leaves that have no closures and are not tracked."""
    cdef Py_ssize_t count = len(leaves.values)
    if not count:
        return mgc_new_leaf(data)
    return mgc_new_over(MGC_CUSTOM, mgc_new_shared(count, <PyObject *>leaves, leaves.operands, leaves.is_node, local), data)


cdef inline Py_ssize_t operand_count(mgc_node *node) noexcept:
    return node.x.wide.count if node.flags & MGC_WIDE else mgc_rows[node.op].operands


cdef inline bint is_setting(mgc_node *node, Py_ssize_t i) noexcept:
    """Whether operand i is a number that belongs to the operation, like an exponent, and never becomes a leaf."""
    return node.op < MGC_TABLE_END and mgc_rows[node.op].params >> i & 1 and not mgc_operand_is_node(node, i)


cdef int make_constants_leaves(mgc_node *node) except -1:
    """Turn the numbers among a node's operands into leaves of their own, but for settings."""
    cdef Py_ssize_t i
    cdef Value leaf
    for i in range(operand_count(node)):
        if not mgc_operand_is_node(node, i) and not is_setting(node, i):
            leaf = <Value>mgc_new_leaf(mgc_operand_value(node, i))
            if not mgc_operand_is_node(node, i):   # allocating may have run Python code that did this already
                mgc_replace_number(node, i, &leaf.node)
    return 0


cdef tuple children_of(Value v):
    cdef Py_ssize_t i
    make_constants_leaves(&v.node)
    return tuple([<Value>mgc_value_of(mgc_operand_at(&v.node, i).node)
                  for i in range(operand_count(&v.node)) if mgc_operand_is_node(&v.node, i)])


cdef tuple local_gradients_of(Value v):
    cdef Py_ssize_t i
    if v.node.op == MGC_OPAQUE or v.node.flags & MGC_CLOSURE:
        return ()
    make_constants_leaves(&v.node)
    return tuple([mgc_local_gradient(&v.node, i) for i in range(operand_count(&v.node)) if mgc_operand_is_node(&v.node, i)])


cdef str op_of(Value v):
    if v.baggage is not None and (<Baggage>v.baggage).op is not None:
        return (<Baggage>v.baggage).op
    if v.node.op >= MGC_TABLE_END:
        return mgc_wide_ops[v.node.op - MGC_TABLE_END].decode()
    if v.node.op == MGC_POW and is_setting(&v.node, 1):
        exponent = v.node.y.number
        return f"**{int(exponent) if v.node.flags & MGC_INTEGER else exponent}"
    return mgc_rows[v.node.op].op.decode()
