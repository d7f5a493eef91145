# Loops while a function is recorded: one node for all iterations, and one for each of its results. Included by
# value.pyx.

from libc.math cimport floor as c_floor


def loop_results(loop, tuple operands not None, list numbers not None) -> list:
    """Return the results of a loop, Values over one node that has the operands; floats if no operand is a Value.

    Args:
        loop: a `Loop`, which says what an iteration does.
        operands: Values and numbers: what the carries begin with; the xs of all iterations, one after another; what
            the iterations use besides.
        numbers: of the results.
    """
    cdef Py_ssize_t i, count = len(operands)
    cdef mgc_wide *w = mgc_new_wide(count, False)
    cdef list results = []
    try:
        put_all(w, 0, 1, operands, count, "operands")
    except BaseException:
        mgc_drop_wide(w)
        raise
    node = finish_with(MGC_SCAN, w, 0.0)
    if not isinstance(node, Value):
        return numbers
    baggage_of(node).loop = loop
    for i, x in enumerate(numbers):
        w = mgc_new_wide(2, False)
        mgc_set_node(w, 0, &(<Value>node).node)
        mgc_set_number(w, 1, <double>i)
        results.append(mgc_new_over(MGC_RESULT, w, x))
    return results


cdef object loop_of(Value v):
    """The Loop of a node that is a scan."""
    cdef Baggage baggage = baggage_if_any(v)
    if baggage is None or baggage.loop is None:
        raise CompileError("a node says that it is a loop, and has none: it was made by hand")
    return baggage.loop


def loop_behind(Value v not None):
    """Return the Loop of a node that is a scan."""
    return loop_of(v)


cpdef bint is_index(Value v) except -1:
    """Whether a Value is made from integer arguments of a function that is traced, by integer arithmetic alone."""
    cdef list left = [v]
    cdef set seen = set()
    cdef Py_ssize_t i
    cdef double x
    while left:
        v = left.pop()
        if id(v) in seen or isinstance(v, IntegerInput):
            continue
        seen.add(id(v))
        if not mgc_keeps_integers(v.node.op):
            return False
        for i in range(mgc_operand_count(&v.node)):
            if mgc_operand_is_node(&v.node, i):
                left.append(<Value>mgc_value_of(mgc_operand_at(&v.node, i).node))
            else:
                x = mgc_operand_value(&v.node, i)
                if x != c_floor(x):
                    return False
    return True


def number_behind(x) -> float:
    """Return the number of a Value, also while a function is traced, or a real number in double precision.

    Raises:
        TypeError: it is neither.
    """
    cdef double number
    if isinstance(x, Value):
        return (<Value>x).node.data
    if not read_number(x, &number):
        raise not_a_number(x, "x", "a Value or a real number")
    return number
