# Copying and pickling graphs without recursion. Included by value.pyx.
#
# pickle recurses into what an object's reduction refers to. So the reduction of a root first lists everything that
# the root depends on, operands first: when the pickler reaches a node, its operands are in the pickler's memo
# already. While that list is written, nodes on it reduce to themselves and direct references to their operands. A
# Listing stands before the list and another behind it, to say when; they are pickled as None.

cdef PyObject *listings = NULL    # the Listings whose lists are being written, the innermost first

cdef str TRUTH = "TRUTH"          # in a pickle: a leaf that a comparison gave

cdef tuple OP_NAMES = tuple([mgc_rows[i].name.decode() for i in range(MGC_TABLE_END)]
                            + [mgc_wide_names[i].decode() for i in range(MGC_OPS_END - MGC_TABLE_END)])


@cython.binding(False)   # as for Value
cdef class Listing:
    cdef set ids              # of the nodes on the list
    cdef unsigned long thread
    cdef PyObject *next
    cdef Listing begin        # of the one behind the list: the one before it

    def __reduce__(self):
        global listings
        if self.begin is not None:
            self.begin.end()
        elif not is_open(self):
            self.thread = PyThread_get_thread_ident()
            self.next = listings
            listings = <PyObject *>self
        return (type(None), ())

    cdef void end(self) noexcept:
        cdef PyObject **link = &listings
        while link[0] != NULL and link[0] != <PyObject *>self:
            link = &(<Listing>link[0]).next
        if link[0] != NULL:
            link[0] = self.next

    def __dealloc__(self):
        self.end()    # if pickling failed half way


cdef bint is_open(Listing listing) noexcept:
    cdef PyObject *other = listings
    while other != NULL and other != <PyObject *>listing:
        other = (<Listing>other).next
    return other != NULL


cdef bint is_listed(Value v) except -1:
    """Whether a list with v on it is being written by this thread."""
    cdef PyObject *other = listings
    cdef unsigned long thread = PyThread_get_thread_ident()
    while other != NULL:
        if (<Listing>other).thread == thread and id(v) in (<Listing>other).ids:
            return True
        other = (<Listing>other).next
    return False


cdef object reduce(Value root):
    cdef Listing begin, end
    cdef Baggage baggage = baggage_if_any(root)
    refuse_to_copy_closure(root)
    if hooks_of(root):
        import warnings
        warnings.warn(f"{root!r} has hooks, which are not pickled", RuntimeWarning)
    op = TRUTH if root.node.op == MGC_LEAF and mgc_is_truth(&root.node) else OP_NAMES[root.node.op]
    operands, local = parts_of(root)
    fields = (type(root), op, root.node.data, root.node.grad, operands)
    if root.node.op == MGC_CUSTOM or baggage is not None:
        fields += (local, root.label, None if baggage is None else baggage.op)
    state = state_of(root)
    if root.node.op == MGC_LEAF or is_listed(root):
        return (_restore, (None, *fields), state)
    nodes = nodes_to_copy(root)
    nodes.pop()
    begin = Listing.__new__(Listing)
    begin.ids = {id(v) for v in nodes}
    end = Listing.__new__(Listing)
    end.begin = begin
    return (_restore, ((begin, nodes, end), *fields), state)


cdef tuple operands_of(Value v):
    """Values and numbers; a number that was written as an int is an int again."""
    cdef Py_ssize_t i, count = mgc_operand_count(&v.node)
    cdef list operands = [None] * count     # filled, not a comprehension: see children_of
    for i in range(count):
        operands[i] = operand_of(v, i)
    return tuple(operands)


cdef object operand_of(Value v, Py_ssize_t i):
    if mgc_operand_is_node(&v.node, i):
        return <Value>mgc_value_of(mgc_operand_at(&v.node, i).node)
    number = mgc_operand_value(&v.node, i)
    return int(number) if v.node.flags & MGC_INTEGER else number


cdef tuple local_of(Value v):
    cdef Py_ssize_t i
    if v.node.op != MGC_CUSTOM:
        return None
    cdef list local = [None] * v.node.x.wide.count
    for i in range(v.node.x.wide.count):
        local[i] = v.node.x.wide.local[i]
    return tuple(local)


cdef int refuse_to_copy_closure(Value v) except -1:
    if has_closure(v):
        raise TypeError(f"{v!r} has a Python _backward, which refers to the nodes it was written for, so a copy would "
                        "send gradients to the originals; give the node local gradients instead: "
                        "Value(data, children, local_grads)")
    return 0


def _restore(_nodes, type cls not None, str op not None, double data, double grad, tuple operands not None,
             local=None, label="", op_name=None):
    """Make the node that `__reduce_ex__` described. For pickle."""
    if not issubclass(cls, Value):
        raise TypeError(f"cls must be Value or a subclass of it, got {cls!r}")
    cdef bint is_truth = op == TRUTH
    op = OP_NAMES[MGC_LEAF] if is_truth else op
    if op not in OP_NAMES:
        raise ValueError(f"unknown operation {op!r}: the pickle comes from another version of microgradc")
    cdef Value v = build(cls, OP_NAMES.index(op), data, operands, local)
    v.node.grad = grad
    if is_truth:
        mgc_make_truth(&v.node)
    if label != "" or op_name is not None:
        set_label(v, label)
        baggage_of(v).op = op_name
    return v


cdef Value build(type cls, int op, double data, tuple operands, local):
    """A node of any type and operation."""
    cdef Value v = cls.__new__(cls)
    if not isinstance(v, Value) or v.node.op != MGC_LEAF:
        raise TypeError(f"{cls!r}.__new__ must return a new instance without children")
    write_data(v, data)
    v.node.flags |= MGC_INITIALISED
    if op != MGC_LEAF or operands:
        adopt(v, op, operands, local)
    return v


cdef Value copy_with(Value v, tuple operands, tuple local):
    """A copy of a node, over other operands; its __dict__ is left to the caller."""
    cdef Value copy
    cdef Baggage baggage = baggage_if_any(v)
    refuse_to_copy_closure(v)
    copy = build(type(v), v.node.op, v.node.data, operands, local)
    copy.node.grad = v.node.grad
    if copy.node.op == MGC_LEAF and mgc_is_truth(&v.node):
        mgc_make_truth(&copy.node)
    if baggage is not None:
        set_label(copy, baggage.label)
        baggage_of(copy).op = baggage.op
    return copy


cdef Value shallow_copy(Value v):
    operands, local = parts_of(v)
    copy = copy_with(v, operands, local)
    set_state(copy, state_of(v))
    return copy


cdef object state_of(Value v):
    """The attributes: None, a dict, or a pair with that of the __slots__ of a subclass, as object.__getstate__ has it.
    """
    attributes = dict(<object>mgc_attributes(v)) if mgc_attributes(v) != NULL else None
    state = None if type(v) is Value else object.__getstate__(v)
    return (attributes, state[1]) if type(state) is tuple else attributes


cdef int set_state(Value v, state) except -1:
    """Give a node the attributes that state_of found."""
    in_dict, in_slots = state if type(state) is tuple else (state, None)
    if in_dict:
        v.__dict__.update(in_dict)
    for name, value in (in_slots or {}).items():
        setattr(v, name, value)
    return 0


cdef tuple copied_operands_of(tuple operands, dict memo):
    cdef list copies = [None] * len(operands)
    for i, o in enumerate(operands):
        copies[i] = memo[id(o)] if isinstance(o, Value) else o
    return tuple(copies)


cdef object deepcopy(Value root, dict memo):
    cdef Value v
    cdef list baggage = []
    for v in nodes_to_copy(root):
        if id(v) in memo:
            continue
        operands, local = parts_of(v)
        copy = copy_with(v, copied_operands_of(operands, memo), local)
        memo[id(v)] = copy
        if type(v) is not Value or type(v.label) is not str or mgc_attributes(v) != NULL:
            baggage.append((v, copy))
    if baggage:
        from copy import deepcopy as deepcopy_of
    for v, copy in baggage:
        set_state(copy, deepcopy_of(state_of(v), memo))
        set_label(copy, deepcopy_of(v.label, memo))
    return memo[id(root)]
