# What a node was made from, as Python reads it. Changes with what `_children`, `_local_grads` and `_op` show.
# Included by value.pyx.

cdef inline bint is_setting(mgc_node *node, Py_ssize_t i) noexcept:
    """Whether operand i is a number that belongs to the operation, like an exponent, and never becomes a leaf."""
    return node.op < MGC_TABLE_END and mgc_rows[node.op].params >> i & 1 and not mgc_operand_is_node(node, i)


cdef int make_constants_leaves(mgc_node *node) except -1:
    """Turn the numbers among a node's operands into leaves of their own, but for settings."""
    cdef Py_ssize_t i
    cdef Value leaf
    for i in range(mgc_operand_count(node)):
        if not mgc_operand_is_node(node, i) and not is_setting(node, i):
            leaf = <Value>mgc_new_leaf(mgc_operand_value(node, i))
            if not mgc_operand_is_node(node, i):   # allocating may have run Python code that did this already
                mgc_replace_number(node, i, &leaf.node)
    return 0


cdef tuple children_of(Value v):
    # Not a comprehension: when its list cannot grow, Cython 3.3 gives back the reference to the entry twice.
    cdef Py_ssize_t i
    cdef list children = []
    make_constants_leaves(&v.node)
    for i in range(mgc_operand_count(&v.node)):
        if mgc_operand_is_node(&v.node, i):
            children.append(<Value>mgc_value_of(mgc_operand_at(&v.node, i).node))
    return tuple(children)


cdef tuple local_gradients_of(Value v):
    cdef Py_ssize_t i
    if v.node.op == MGC_OPAQUE or v.node.flags & MGC_CLOSURE:
        return ()
    cdef list gradients = []
    make_constants_leaves(&v.node)
    for i in range(mgc_operand_count(&v.node)):
        if mgc_operand_is_node(&v.node, i):
            gradients.append(mgc_local_gradient(&v.node, i))
    return tuple(gradients)


cdef str op_of(Value v):
    cdef Baggage baggage = baggage_if_any(v)
    if baggage is not None and baggage.op is not None:
        return baggage.op
    if v.node.op >= MGC_TABLE_END:
        return mgc_wide_ops[v.node.op - MGC_TABLE_END].decode()
    if v.node.op == MGC_POW and is_setting(&v.node, 1):
        exponent = v.node.y.number
        return f"**{int(exponent) if v.node.flags & MGC_INTEGER else exponent}"
    return mgc_rows[v.node.op].op.decode()
