# How nodes become a graph, and what of them cannot be replayed. Included by graph.pyx.


cdef double record(Graph to, list outputs, list inputs, list shared, list parameters) except -1.0:
    """Add what outputs were made from; return the size of the largest finite number on the way.

    Leaves that are neither inputs nor shared are appended to parameters, in the order in which they are met. The first
    parameters of the graph are those that are shared.
    """
    cdef mgc_numbering places
    cdef Value v
    cdef double largest = 0
    memset(&places, 0, sizeof(places))
    try:
        for leaf in inputs:
            e = to.input()
            if mgc_set_number(&places, &(<Value>leaf).node, e) < 0:
                raise no_memory()
        for leaf in shared:
            e = to.parameter()
            if mgc_set_number(&places, &(<Value>leaf).node, e) < 0:
                raise no_memory()
        for output in outputs:
            v = output
            largest = max(largest, record_one(to, &v.node, &places, parameters, NULL, NULL))
        to.outputs = [mgc_number_of(&places, &(<Value>output).node) for output in outputs]
        require_indices(&to.g, False)
        mgc_trim_graph(&to.g)
    finally:
        mgc_free_numbering(&places)
    return largest


cdef bint is_choice(const mgc_graph *g, int e):
    """Whether an expression is 1 where something holds, else 0: the index of `select`."""
    cdef const int *operands = mgc_operands_of(g, e)
    cdef int i
    if g.op[e] != MGC_WHERE:
        return False
    for i in range(2):
        if g.op[operands[1 + i]] != MGC_CONSTANT or mgc_constant_of(g, operands[1 + i]) != 1 - i:
            return False
    return True


cdef int require_indices(const mgc_graph *g, bint is_body) except -1:
    """Raise CompileError unless each index is made from inputs, by integer arithmetic, or that of `select`.

    In the body of a loop also from what it takes from around; loops look at the numbers when they run.
    """
    cdef int e, i, index
    cdef unsigned char *from_inputs = NULL      # whether an expression is; constants are
    cdef bint takes = False
    for e in range(g.count):
        takes = takes or g.op[e] == MGC_TAKE
    if not takes:
        return 0
    from_inputs = <unsigned char *>PyMem_Malloc(g.count)
    if from_inputs == NULL:
        raise no_memory()
    try:
        for e in range(g.count):
            from_inputs[e] = g.op[e] == MGC_INPUT or g.op[e] == MGC_CONSTANT or (is_body and g.op[e] == MGC_PARAMETER)
            if g.op[e] > 0 and mgc_keeps_integers(g.op[e]):
                from_inputs[e] = True
                for i in range(mgc_operands_in(g, e)):
                    from_inputs[e] &= from_inputs[mgc_operands_of(g, e)[i]]
            if g.op[e] == MGC_TAKE:
                index = mgc_operands_of(g, e)[0]
                if not from_inputs[index] and not is_choice(g, index):
                    raise CompileError("the index of take must be an integer argument of the function that is "
                                       "compiled, or integers and such arguments put together by +, -, *, // and %; "
                                       "got one of another function")
    finally:
        PyMem_Free(from_inputs)
    return 0


cdef struct Nodes:      # a stack
    mgc_node **items
    size_t count, capacity


cdef int push_node(Nodes *stack, mgc_node *node) except -1:
    if stack.count == stack.capacity:
        grow_nodes(stack)
    stack.items[stack.count] = node
    stack.count += 1
    return 0


cdef int grow_nodes(Nodes *stack) except -1:
    cdef size_t capacity = max(64, 2 * stack.capacity)
    cdef void *moved = PyMem_Realloc(stack.items, capacity * sizeof(stack.items[0]))
    if moved == NULL:
        raise no_memory()
    stack.items, stack.capacity = <mgc_node **>moved, capacity
    return 0


cdef inline bint is_recorded_leaf(mgc_node *node, const mgc_numbering *known, const char *depends) noexcept:
    return node.op == MGC_LEAF or (known != NULL and not depends[mgc_number_of(known, node)])


cdef inline void take_note(double *largest, double x) noexcept:
    """Of a number, if it is the largest finite one."""
    if fabs(x) > largest[0] and isfinite(x):
        largest[0] = fabs(x)


cdef int add_leaf(Graph to, mgc_node *node, mgc_numbering *places, list parameters, double *largest) except -1:
    """Add a parameter; return its place."""
    cdef int e
    require_replayable(node)
    take_note(largest, node.data)
    parameters.append(<Value>mgc_value_of(node))
    to.parameter_count += 1
    e = mgc_add(&to.g, MGC_PARAMETER, NULL, 0, to.parameter_count - 1)
    if e < 0 or mgc_set_number(places, node, e) < 0:
        raise no_memory()
    return e


cdef double record_one(Graph to, mgc_node *root, mgc_numbering *places, list parameters,
                       const mgc_numbering *known, const char *depends) except -1.0:
    """The same for one output. A signal handler may run meanwhile; nodes stay where they are, as none loses operands.

    Unless `known` is NULL, it has a number for each node, and where `depends` is 0 for it, the node is a parameter.
    """
    cdef Nodes stack
    cdef mgc_ints operands
    cdef mgc_node *node
    cdef mgc_node *operand
    cdef Py_ssize_t i, count, visits = 0
    cdef int e
    cdef double largest = 0, x
    stack.items, stack.count, stack.capacity = NULL, 0, 0
    operands.items, operands.count, operands.capacity = NULL, 0, 0
    try:
        push_node(&stack, root)
        while stack.count:
            visits += 1
            if visits % CHECK_SIGNALS_EVERY == 0:
                PyErr_CheckSignals()
            node = stack.items[stack.count - 1]
            if mgc_number_of(places, node) >= 0:
                stack.count -= 1
                continue
            if is_recorded_leaf(node, known, depends):
                stack.count -= 1
                add_leaf(to, node, places, parameters, &largest)
                continue
            require_replayable(node)     # before its operands: by hand a node can be made its own
            count = mgc_operand_count(node)
            operands.count = 0
            for i in range(count):       # leaves have no operands, and are added here: most of a dot product are some
                e = -1
                if mgc_operand_is_node(node, i):
                    operand = mgc_operand_at(node, i).node
                    e = mgc_number_of(places, operand)
                    if e < 0 and not is_recorded_leaf(operand, known, depends):
                        break
                    if e < 0:
                        e = add_leaf(to, operand, places, parameters, &largest)
                if mgc_push(&operands, e) < 0:
                    raise no_memory()
            if operands.count < count:
                for i in range(count - 1, operands.count - 1, -1):
                    if mgc_operand_is_node(node, i) and mgc_number_of(places, mgc_operand_at(node, i).node) < 0:
                        push_node(&stack, mgc_operand_at(node, i).node)
                continue
            stack.count -= 1
            for i in range(count):
                if operands.items[i] < 0:
                    x = mgc_operand_value(node, i)
                    operands.items[i] = mgc_add_constant(&to.g, x)
                    if operands.items[i] < 0:
                        raise no_memory()
                    take_note(&largest, x)
            take_note(&largest, node.data)
            e = add_operation(to, node, &operands)
            if e < 0 or mgc_set_number(places, node, e) < 0:
                raise no_memory()
    finally:
        PyMem_Free(stack.items)
        mgc_free_ints(&operands)
    return largest


cdef int add_operation(Graph to, mgc_node *node, mgc_ints *operands) except? -1:
    """Add the operation that a node is; return its place, -1 without memory."""
    cdef int which = 0
    if node.op == MGC_SCAN:
        which = to.add_loop(loop_of(<Value>mgc_value_of(node)))
    elif node.op == MGC_RESULT:
        which, operands.count = <int>mgc_operand_value(node, 1), 1
    return mgc_add(&to.g, node.op, operands.items, operands.count, which)


cdef int require_replayable(mgc_node *node) except -1:
    v = <Value>mgc_value_of(node)
    if node.op == MGC_CUSTOM or node.op == MGC_OPAQUE or (node.flags & MGC_CLOSURE and is_python(v)):
        raise CompileError(
            f"the node {v._op or 'without a name'!r} has a rule of its own (a closure, local gradients, Value.func or "
            "function) or a hook, which cannot be replayed for other numbers; use operations of microgradc")
    return 0
