# What a node was made from, as Python reads it. Changes with what `_children`, `_local_grads`, `_op` and
# `operations_of` show.
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
    if v.node.op == MGC_OPAQUE or has_closure(v):
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


def operations_of(Value root not None) -> list:
    """Return what a Value was made by: an entry for each node that it depends on, operands first, its own last.

    An entry is a tuple of the node; the name of its operation, as graphs have it, or 'leaf', 'custom', 'opaque'; its
    operands, Values and floats; its local gradients, None unless it is custom; whether a Python closure is its rule;
    its hooks, a tuple.
    Numbers stay numbers. Several results of one call of a compiled function are custom nodes over all that it was
    called with.
    """
    cdef Value v
    cdef Py_ssize_t i
    cdef list found = [], operands
    for v in nodes_to_copy(root):
        if common_of(v) is not None:
            among, local = parts_of(v)
        else:
            operands = [None] * mgc_operand_count(&v.node)     # filled, not a comprehension: see children_of
            for i in range(len(operands)):
                if mgc_operand_is_node(&v.node, i):
                    operands[i] = <Value>mgc_value_of(mgc_operand_at(&v.node, i).node)
                else:
                    operands[i] = mgc_operand_value(&v.node, i)
            among, local = tuple(operands), local_of(v)
        found.append((v, OP_NAMES[v.node.op].lower(), among, local, has_closure(v), hooks_of(v)))
    return found


cdef dict op_numbers = {}


def operate(str op not None, *operands):
    """Return the result of an operation: a Value; a float if all operands are numbers.

    Args:
        op: its name, as graphs have it: a row of ops.h in lower case, or one of wide.h.
        operands: Values and numbers, as many as it takes.

    Raises:
        ValueError: there is no such operation, or it takes another number of operands.

    >>> operate("mul", Value(2.0), 3.0)
    Value(data=6.0, grad=0)
    """
    if not op_numbers:
        op_numbers.update({name.lower(): i for i, name in enumerate(OP_NAMES)})
    cdef int number = op_numbers.get(op, MGC_LEAF)
    cdef Py_ssize_t count = len(operands)
    if number == MGC_LEAF or MGC_OPAQUE <= number <= MGC_RESULT or number == MGC_CUSTOM:
        raise ValueError(f"there is no operation {op!r:.60}")
    if number >= MGC_TABLE_END:
        if number == MGC_DOT:
            bias = operands[count - 1] if count & 1 else None
            return dot_product(operands[:count - (count & 1):2], operands[1::2], bias)
        return wide(number, operands, op)
    if count != mgc_rows[number].operands:
        raise ValueError(f"{op} takes {mgc_rows[number].operands} operands, got {count}")
    if count == 3:
        return ternary(number, operands[0], operands[1], operands[2], ("x", "y", "z"))
    if count == 2:
        return pair(number, operands[0], operands[1], "x", "y")
    if isinstance(operands[0], Value):
        return unary(number, operands[0])
    return mgc_value(number, require_number(operands[0], "x"), 0, 0)
