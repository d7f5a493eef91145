# Copying and pickling graphs without recursion. Included by engine.pyx.
#
# pickle recurses into what an object's reduction refers to. So the reduction of a root first lists everything that the root depends
# on, operands first: when the pickler reaches a node, its operands are in the pickler's memo already. While that list is written,
# nodes reduce to themselves and direct references to their operands; Listing, an object that stands before and behind the list and
# is pickled as None, says when.

cdef uint64_t listed = 0    # the epoch of the sort whose list is being pickled, or 0

cdef tuple OP_NAMES = tuple([mgc_rows[i].name.decode() for i in range(MGC_TABLE_END)]
                            + [mgc_wide_names[i].decode() for i in range(MGC_OPS_END - MGC_TABLE_END)])


@cython.binding(False)   # as for Value
cdef class Listing:
    cdef uint64_t epoch

    def __reduce__(self):
        global listed
        listed = self.epoch
        return (type(None), ())

    def __dealloc__(self):
        global listed
        if listed == self.epoch:
            listed = 0    # pickling failed half way


cdef object reduce(Value root):
    cdef Listing begin, end
    refuse_closure(root)
    fields = (type(root), OP_NAMES[root.node.op], root.node.data, root.node.grad, operands_of(root))
    if root.node.op == MGC_CUSTOM or root.baggage is not None:
        fields += (local_of(root), root.label, None if root.baggage is None else (<Baggage>root.baggage).op)
    state = getattr(root, "__dict__", None) or None
    if root.node.op == MGC_LEAF or (listed and root.node.stamp == listed):
        return (_restore, (None, *fields), state)
    nodes = nodes_of(root)
    nodes.pop()
    begin = Listing.__new__(Listing)
    begin.epoch = root.node.stamp
    end = Listing.__new__(Listing)
    return (_restore, ((begin, nodes, end), *fields), state)


cdef list nodes_of(Value root):
    """The nodes, operands first, with constants left as they are."""
    cdef Pass p
    cdef Py_ssize_t i
    memset(&p, 0, sizeof(p))
    try:
        sort(&root.node, True, &p)
        return [<Value>mgc_value_of(p.order.items[i]) for i in range(p.order.size)]
    finally:
        PyMem_Free(p.order.items)


cdef tuple operands_of(Value v):
    """Values and numbers; a number that was written as an int is an int again."""
    cdef Py_ssize_t i
    return tuple([operand_of(v, i) for i in range(operand_count(&v.node))])


cdef object operand_of(Value v, Py_ssize_t i):
    if mgc_operand_is_node(&v.node, i):
        return <Value>mgc_value_of(mgc_operand_at(&v.node, i).node)
    number = mgc_operand_value(&v.node, i)
    return int(number) if v.node.flags & MGC_INTEGER else number


cdef tuple local_of(Value v):
    cdef Py_ssize_t i
    if v.node.op != MGC_CUSTOM:
        return None
    return tuple([v.node.x.wide.local[i] for i in range(v.node.x.wide.count)])


cdef int refuse_closure(Value v) except -1:
    if v.node.flags & MGC_CLOSURE:
        raise TypeError(f"{v!r} has a Python _backward, which refers to the nodes it was written for, so a copy would send gradients to "
                        "the originals; give the node local gradients instead: Value(data, children, local_grads)")
    return 0


def _restore(_nodes, type cls not None, str op not None, double data, double grad, tuple operands not None,
             local=None, label="", op_name=None):
    """Make the node that `__reduce_ex__` described. For pickle."""
    if not issubclass(cls, Value):
        raise TypeError(f"cls must be Value or a subclass of it, got {cls!r}")
    if op not in OP_NAMES:
        raise ValueError(f"unknown operation {op!r}: the pickle comes from another version of microgradc")
    cdef Value v = build(cls, OP_NAMES.index(op), data, operands, local)
    v.node.grad = grad
    if label != "" or op_name is not None:
        set_label(v, label)
        baggage_of(v).op = op_name
    return v


cdef Value build(type cls, int op, double data, tuple operands, local):
    """A node of any type and operation."""
    cdef Value v = cls.__new__(cls)
    if not isinstance(v, Value) or v.node.op != MGC_LEAF:
        raise TypeError(f"{cls!r}.__new__ must return a new instance without children")
    v.node.data = data
    v.node.flags |= MGC_INITIALISED
    if op != MGC_LEAF or operands:
        adopt(v, op, operands, local)
    return v


cdef Value copy_with(Value v, tuple operands):
    """A copy of a node, over other operands; its __dict__ is left to the caller."""
    cdef Value copy
    refuse_closure(v)
    copy = build(type(v), v.node.op, v.node.data, operands, local_of(v))
    copy.node.grad = v.node.grad
    if v.baggage is not None:
        set_label(copy, (<Baggage>v.baggage).label)
        baggage_of(copy).op = (<Baggage>v.baggage).op
    return copy


cdef Value shallow_copy(Value v):
    copy = copy_with(v, operands_of(v))
    if getattr(v, "__dict__", None):
        copy.__dict__.update(v.__dict__)
    return copy


cdef object deepcopy(Value root, dict memo):
    cdef Value v
    cdef list subclassed = []
    for v in nodes_of(root):
        if id(v) in memo:
            continue
        copy = copy_with(v, tuple([memo[id(o)] if isinstance(o, Value) else o for o in operands_of(v)]))
        memo[id(v)] = copy
        if getattr(v, "__dict__", None):
            subclassed.append((v, copy))
    if subclassed:
        from copy import deepcopy as deepcopy_of
    for v, copy in subclassed:
        copy.__dict__.update(deepcopy_of(v.__dict__, memo))
    return memo[id(root)]
