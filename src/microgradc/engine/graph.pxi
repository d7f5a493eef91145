# The topological sort and the backward pass. Included by value.pyx.
#
# A sort runs no Python code, but for signal handlers; so what it visits stays as it is until it ends. A backward pass
# calls the closures that people assign to `_backward`, which may do anything: drop the graph (the pass owns its root,
# the root owns the rest, and operands never change), or start another pass, here or in another thread. That pass puts
# back, when it ends, the gradients of inner nodes through which an unfinished pass goes.

from cpython.pythread cimport PyThread_get_thread_ident

cdef extern from "engine/sort.h":
    bint mgc_is_to_enter(const mgc_node *, uint64_t epoch, bint with_leaves)
    Py_ssize_t mgc_push_operands(const mgc_wide *, mgc_node **stack, uint64_t epoch, bint with_leaves)

cdef extern from "engine/chain.h":
    double mgc_local_gradient(mgc_node *, Py_ssize_t)
    void mgc_propagate(mgc_node *)

cdef enum:
    CHECK_SIGNALS_EVERY = 1 << 16   # nodes; some milliseconds
    MOST_SPARE = 1 << 21            # nodes, in each of two arrays: 16 MB each
    RESTARTS = 2                    # of a sort, before it goes through without looking at signals

ctypedef mgc_node *NodePointer

cdef struct Stack:
    NodePointer *items
    Py_ssize_t size
    Py_ssize_t capacity

cdef struct Saved:
    mgc_node *node
    double grad

cdef struct Pass:
    Stack order         # the nodes to visit, operands first
    Saved *saved        # if other passes are unfinished: the gradients that were there before, in the order of entering
    Py_ssize_t saved_size
    Py_ssize_t saved_capacity
    Saved *aside        # the gradients of leaves with hooks, from before
    Py_ssize_t aside_size
    Py_ssize_t aside_capacity
    Pass *next          # the other unfinished passes
    unsigned long thread
    uint64_t epoch      # its sort
    bint nested         # others were unfinished when this one began
    bint marked         # its nodes are marked MGC_IN_PASS
    bint has_closures
    bint overlaps       # goes through a node of an unfinished pass

# Memory of passes that are over, for the next: page faults would take longer than the pass itself. It is taken away
# while it is used, so a pass within another, or in another thread, has memory of its own.
cdef Stack spare_order, spare_stack
cdef uint64_t epoch = 0                  # the number of sorts begun
cdef Pass *unfinished = NULL             # the backward passes that are running or waiting for a closure
cdef unsigned long NO_THREAD = <unsigned long>-1    # PYTHREAD_INVALID_THREAD_ID


cdef inline int reserve(void **items, Py_ssize_t *capacity, Py_ssize_t wanted, size_t item_size) except -1:
    """Make room for `wanted` items."""
    return 0 if wanted <= capacity[0] else grow(items, capacity, wanted, item_size)


cdef int grow(void **items, Py_ssize_t *capacity, Py_ssize_t wanted, size_t item_size) except -1:
    cdef Py_ssize_t grown = max(wanted, 2 * capacity[0], 128)
    cdef void *moved = PyMem_Realloc(items[0], <size_t>grown * item_size)
    if moved == NULL:
        raise MemoryError(f"no memory for a graph of {wanted:,} nodes")
    items[0] = moved
    capacity[0] = grown
    return 0


cdef void take_spare(Stack *stack, Stack *spare) noexcept:
    """Begin with memory that is spare, if there is any and the stack has none yet."""
    if stack.items == NULL:
        stack.items, stack.capacity = spare.items, spare.capacity
        spare.items, spare.capacity = NULL, 0


cdef void give_spare(Stack *stack, Stack *spare) noexcept:
    """Keep the memory of a stack that is no longer needed, or free it if there is better, or it is too much."""
    if stack.capacity > spare.capacity and stack.capacity <= MOST_SPARE:
        stack.items, spare.items = spare.items, stack.items
        spare.capacity = stack.capacity
    PyMem_Free(stack.items)
    stack.items, stack.capacity = NULL, 0


cdef inline NodePointer leaving(mgc_node *node) noexcept:
    return <NodePointer>(<uintptr_t>node | 1)


cdef int sort(mgc_node *root, bint with_leaves, Pass *p) except -1:
    """Fill p.order with what root depends on: post-order, depth-first, operands in their order.

    A node is marked when it is entered and listed when it is left, not when it is pushed: a shared node comes after
    everything that it depends on, however it was reached first. Plain leaves are left out unless with_leaves: there is
    nothing to do for them. For a backward pass (with_leaves is false) the gradients of inner nodes are reset on the
    way.
    """
    global epoch
    cdef Stack stack
    cdef uint64_t mine
    cdef int restarts = 0
    memset(&stack, 0, sizeof(stack))
    take_spare(&stack, &spare_stack)
    take_spare(&p.order, &spare_order)
    try:
        while True:
            epoch += 1
            mine = epoch
            if not with_leaves and unfinished != NULL:
                p.nested = True
                mark_those_without_marks()
            sort_once(root, with_leaves, p, &stack, restarts < RESTARTS)
            if mine == epoch:
                p.epoch = mine
                return 0
            # A signal handler sorted something meanwhile, over our marks. Begin again; but not each time that a timer
            # goes off, or the sort would never end.
            restarts += 1
            restore(p, False)
            stack.size = p.order.size = p.saved_size = 0
            p.has_closures = p.overlaps = False
    except BaseException:
        restore(p, False)
        raise
    finally:
        give_spare(&stack, &spare_stack)


cdef int sort_once(mgc_node *root, bint with_leaves, Pass *p, Stack *stack, bint checks_signals) except -1:
    cdef mgc_node *node
    cdef mgc_wide *wide
    cdef Py_ssize_t entered = 0
    cdef uint64_t mine = epoch
    reserve(<void **>&stack.items, &stack.capacity, 128, sizeof(NodePointer))
    reserve(<void **>&p.order.items, &p.order.capacity, 128, sizeof(NodePointer))
    stack.items[0] = root
    stack.size = 1
    while stack.size:
        stack.size -= 1
        node = stack.items[stack.size]
        if <uintptr_t>node & 1:
            # Nothing is pushed without room for it in the order: see below.
            p.order.items[p.order.size] = <NodePointer>(<uintptr_t>node - 1)
            p.order.size += 1
            continue
        if node.stamp == mine:
            continue
        node.stamp = mine
        mgc_prefetch_older(node)
        entered += 1
        if entered % CHECK_SIGNALS_EVERY == 0 and checks_signals:
            PyErr_CheckSignals()
            if mine != epoch:
                return 0
        reserve(<void **>&p.order.items, &p.order.capacity, entered, sizeof(NodePointer))
        if not with_leaves:
            if p.nested:
                save(p, node)
            if node.flags & MGC_CLOSURE:
                p.has_closures = True
            if node.op != MGC_LEAF:
                node.grad = 0
        reserve(<void **>&stack.items, &stack.capacity, stack.size + 3, sizeof(NodePointer))
        stack.items[stack.size] = leaving(node)
        stack.size += 1
        if node.flags & MGC_WIDE:
            wide = node.x.wide
            reserve(<void **>&stack.items, &stack.capacity, stack.size + wide.count, sizeof(NodePointer))
            if with_leaves or not mgc_is_over_leaves(wide):
                stack.size += mgc_push_operands(wide, stack.items + stack.size, mine, with_leaves)
            continue
        if node.flags & MGC_Y_NODE and mgc_is_to_enter(node.y.node, mine, with_leaves):
            stack.items[stack.size] = node.y.node
            stack.size += 1
        if node.flags & MGC_X_NODE and mgc_is_to_enter(node.x.node, mine, with_leaves):
            stack.items[stack.size] = node.x.node
            stack.size += 1
    return 0


cdef int save(Pass *p, mgc_node *node) except -1:
    if node.op == MGC_LEAF:      # leaves accumulate, whoever adds to them; but a hook sees one pass
        if node.flags & MGC_IN_PASS and is_hooked(<Value>mgc_value_of(node)):
            p.overlaps = True
        return 0
    reserve(<void **>&p.saved, &p.saved_capacity, p.saved_size + 1, sizeof(Saved))
    p.saved[p.saved_size].node = node
    p.saved[p.saved_size].grad = node.grad
    p.saved_size += 1
    if node.flags & MGC_IN_PASS:
        p.overlaps = True
    return 0


cdef void restore(Pass *p, bint only_unfinished) noexcept:
    """Put the saved gradients back: all, or those of nodes through which an unfinished pass goes."""
    cdef Py_ssize_t i
    for i in range(p.saved_size):
        if not only_unfinished or p.saved[i].node.flags & MGC_IN_PASS:
            p.saved[i].node.grad = p.saved[i].grad


cdef void mark(Pass *p, bint on) noexcept:
    """Mark the nodes of a pass as in one, or take the marks away."""
    cdef Py_ssize_t i
    p.marked = on
    for i in range(p.order.size):
        if on:
            p.order.items[i].flags |= MGC_IN_PASS
        else:
            p.order.items[i].flags &= ~MGC_IN_PASS


cdef void mark_unfinished(unsigned long all_but_thread, bint on) noexcept:
    """The same for all unfinished passes, but for those of one thread."""
    cdef Pass *p = unfinished
    while p != NULL:
        if p.thread != all_but_thread:
            mark(p, on)
        p = p.next


cdef void mark_those_without_marks() noexcept:
    """Mark the nodes of all unfinished passes: of each once, however many passes begin and end while it lasts."""
    cdef Pass *p = unfinished
    while p != NULL:
        if not p.marked:
            mark(p, True)
        p = p.next


cdef bint meets_another_thread(Pass *p) noexcept:
    """Whether p goes through a node of an unfinished pass of another thread."""
    cdef Py_ssize_t i
    cdef bint meets = False
    mark_unfinished(NO_THREAD, False)
    mark_unfinished(p.thread, True)
    for i in range(p.order.size):
        meets = meets or p.order.items[i].flags & MGC_IN_PASS
    mark_unfinished(NO_THREAD, True)
    return meets


cdef void forget(Pass *p) noexcept:
    """Take a pass off the list of unfinished ones."""
    cdef Pass **link = &unfinished
    while link[0] != p:
        link = &link[0].next
    link[0] = p.next
    if p.marked:
        mark(p, False)
        mark_unfinished(NO_THREAD, True)    # those that were marked too


def _forget_other_threads():
    """In a forked child: no other thread will end its pass, or leave no_grad."""
    cdef Pass *p = unfinished
    cdef Pass *after
    cdef unsigned long thread = PyThread_get_thread_ident()
    mgc_forget_other_threads()
    while p != NULL:
        after = p.next
        if p.thread != thread:
            forget(p)
        p = after


cdef double seed_of(object gradient, object retain_graph) except? -1:
    """The gradient that a pass begins with, of the arguments of Value.backward."""
    if retain_graph is not None and not isinstance(retain_graph, bool):
        raise TypeError(f"retain_graph must be True, False or None, got {describe(retain_graph)}")
    return 1 if gradient is None else require_number(gradient, "gradient")


cdef int run_backward(Value root, double seed) except -1:
    """Backpropagate from root, whose gradient is the seed. See Value.backward."""
    global unfinished
    # Not on the C stack: a closure may switch to another one, or fork, while others look at this pass.
    cdef Pass *p = <Pass *>PyMem_Calloc(1, sizeof(Pass))
    if p == NULL:
        raise MemoryError()
    p.thread = PyThread_get_thread_ident()
    try:
        sort(&root.node, False, p)
        if p.overlaps and p.has_closures and meets_another_thread(p):
            restore(p, False)
            raise RuntimeError(
                "backward() met nodes through which another thread's unfinished backward() goes, and some of them have "
                "a Python _backward, which would see the gradients of both; let one pass end before the other begins")
        p.next = unfinished
        unfinished = p
        try:
            if p.has_closures:
                set_aside(p)
            sweep(root, seed, p)
        finally:
            put_back(p)
            forget(p)
            restore(p, True)
    finally:
        give_spare(&p.order, &spare_order)
        PyMem_Free(p.saved)
        PyMem_Free(p.aside)
        PyMem_Free(p)
    return 0


cdef int sweep(Value root, double seed, Pass *p) except -1:
    """Visit the nodes of p.order, last first, and apply the chain rule to each."""
    cdef mgc_node *node
    cdef Py_ssize_t i
    root.node.grad = root.node.grad + seed if root.node.op == MGC_LEAF else seed
    if mgc_detecting():
        return sweep_detecting(p)
    for i in range(p.order.size - 1, -1, -1):
        node = p.order.items[i]
        mgc_prefetch_older(node)
        if node.flags & MGC_CLOSURE:
            run_python(node, p)
        else:
            mgc_propagate(node)
        if i % CHECK_SIGNALS_EVERY == 0 and i:
            PyErr_CheckSignals()
    return 0


cdef list nodes_of(Value root):
    """The nodes, operands first, with constants left as they are."""
    cdef Pass p
    cdef Py_ssize_t i
    cdef list nodes
    memset(&p, 0, sizeof(p))
    try:
        sort(&root.node, True, &p)
        nodes = [None] * p.order.size     # filled, not a comprehension: see children_of
        for i in range(p.order.size):
            nodes[i] = <Value>mgc_value_of(p.order.items[i])
        return nodes
    finally:
        give_spare(&p.order, &spare_order)


def topological_sort(Value root not None):
    """Return the nodes that `root` depends on, itself included, each after its operands.

    The order is that of micrograd's `build_topo` with ordered children: post-order, depth-first. It depends on the
    graph alone. It is found without recursion. Constants of the graph (the 3 of `v * 3`) become leaves, as when `_prev`
    is read.

    Args:
        root: the Value to start from.

    Returns:
        A new list of Values; the last is `root`.

    Raises:
        TypeError: if `root` is not a Value.

    >>> x = Value(2.0, label='x')
    >>> [node.label or node._op for node in topological_sort((x * x).tanh())]
    ['x', '*', 'tanh']
    """
    cdef Value v
    for v in nodes_of(root):
        make_constants_leaves(&v.node)
    return nodes_of(root)


def zero_grad(list params not None):
    """Set the gradient of each of the Values to 0."""
    cdef PyObject **items
    cdef Py_ssize_t i
    refuse_while_tracing("an update")
    items = PySequence_Fast_ITEMS(params)
    for i in range(len(params)):
        if not isinstance(<object>items[i], Value):
            raise TypeError(f"params[{i}] must be a Value, got {describe(params[i])}")
    zero_gradients(params)


cdef void zero_gradients(list params) noexcept:
    """Set the gradient of each to 0; all are Values."""
    cdef PyObject **items = PySequence_Fast_ITEMS(params)
    cdef Py_ssize_t i
    for i in range(len(params)):     # nothing here runs Python code, which might change the list
        mgc_node_of(items[i]).grad = 0
