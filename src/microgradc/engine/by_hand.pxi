# Nodes built by hand: operands and local gradients that somebody gives. Changes with what may be given.
# Included by value.pyx.

from cpython.tuple cimport PyTuple_GET_ITEM


cdef int adopt(Value v, int op, tuple operands, object local) except -1:
    """Give a Value that has none its operation, its operands and, for a custom node, local gradients."""
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
                raise ValueError("local_grads must have one number for each child, "
                                 f"got {len(local)} for {count} children")
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
    operands = tuple(entries_of(children, "_children must be an iterable of Values"))
    for i, child in enumerate(operands):
        if not isinstance(child, Value):
            raise TypeError(f"_children[{i}] must be a Value, got {describe(child)}")
    if local is not None:
        local = tuple(entries_of(local, "local_grads must be an iterable of numbers, one for each child"))
        if len(local) != len(operands):
            raise ValueError("local_grads must have one number for each child, "
                             f"got {len(local)} for {len(operands)} children")
    if operands:
        adopt(v, MGC_OPAQUE if local is None else MGC_CUSTOM, operands, local)
        if mgc_noting() or mgc_detecting():
            observe(v, &v.node)
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
