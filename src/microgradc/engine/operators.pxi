# The operators: nodes over two operands or fewer, and comparisons. Changes with what an operator accepts.
# Included by value.pyx.

cdef object unary(int op, Value x):
    return mgc_new_unary(op, &x.node)


cdef object binary(int op, object x, object y):
    """A node over two operands, at least one of them a Value; NotImplemented if the other is not a number."""
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
    if type(other) in (str, bytes, list, tuple, dict, set, complex, type(None)) or is_masked(other):
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
    """Whether self < other, and so on; while a function is traced, the node that says so. Equality is identity."""
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
        return NotImplemented if is_masked(other) else leave_to(other, b"a comparison")    # NumPy's is masked
    if relation == Py_LT:
        return x < y
    if relation == Py_LE:
        return x <= y
    if relation == Py_GT:
        return x > y
    return x >= y


cdef Value round_half_to_even(Value x):
    """Operations of the table alone, so that it can be compiled."""
    below = unary(MGC_FLOOR, x)
    rest = binary(MGC_SUB, x, below)
    even = binary(MGC_MUL, unary(MGC_CEIL, binary(MGC_SUB, binary(MGC_MUL, x, 0.5), 0.25)), 2.0)    # where rest is 1/2
    above = ternary(MGC_WHERE, binary(MGC_LESS, 0.5, rest), binary(MGC_ADD, below, 1.0), even, ("", "", ""))
    return ternary(MGC_WHERE, binary(MGC_LESS, rest, 0.5), below, above, ("", "", ""))
