# Functions that see a gradient when it is complete, and may change it: Value.register_hook. Included by value.pyx.
#
# A node with hooks carries MGC_CLOSURE, as one with a Python rule does: so a sort enters it, even if it is a leaf, and
# a backward pass stops at it. A hook of a leaf is to see the gradient of this pass alone, which is added to `grad`
# afterwards; so `grad` is set aside when the pass begins.


cdef int run_python(mgc_node *node, Pass *p) except -1:
    """Visit a node that carries MGC_CLOSURE: its hooks, and then its rule."""
    cdef Value v = <Value>mgc_value_of(node)
    cdef Baggage baggage = baggage_if_any(v)
    if baggage is None or (baggage.backward is None and baggage.hooks is None):
        raise lost_closure(v)
    if baggage.hooks is not None:
        run_hooks(v, baggage.hooks, p)
    if type(baggage.backward) is Joint:
        (<Joint>baggage.backward).run(p)
    elif baggage.backward is not None:
        baggage.backward()
    else:
        mgc_propagate(node)      # of a leaf: nothing
    return 0


cdef int run_hooks(Value v, dict hooks, Pass *p) except -1:
    """Let the hooks of a node change its gradient; one of a leaf is added to what was set aside.

    Where an unfinished pass has set that leaf aside too, it is added there: what is in the leaf is a part of that pass.
    """
    cdef Pass *other
    cdef double *total
    cdef double grad = after_hooks(hooks, v.node.grad)
    if p.aside_size == 0 or p.aside[p.aside_size - 1].node != &v.node:
        v.node.grad = grad
        return 0
    p.aside_size -= 1
    v.node.grad = p.aside[p.aside_size].grad
    total, other = NULL, p.next if p.nested else NULL
    while other != NULL and total == NULL:
        total = aside_in(other, &v.node)
        other = other.next
    if total == NULL:
        total = &v.node.grad
    total[0] += grad
    return 0


cdef double *aside_in(Pass *p, mgc_node *leaf) noexcept:
    """What a pass has set aside for a leaf; NULL if it has not."""
    cdef Py_ssize_t i
    for i in range(p.aside_size):
        if p.aside[i].node == leaf:
            return &p.aside[i].grad
    return NULL


cdef double after_hooks(dict hooks, double grad) except? -1.0:
    for hook in list(hooks.values()):
        found = hook(grad)
        if found is not None:
            grad = number_of(found, f"what the hook {name_of(hook)} returns")
    return grad


cdef int set_aside(Pass *p) except -1:
    """Begin the gradients of leaves with hooks anew: in the order of the pass, which meets the last one first."""
    cdef Py_ssize_t i
    cdef mgc_node *node
    for i in range(p.order.size):
        node = p.order.items[i]
        if node.op == MGC_LEAF and is_hooked(<Value>mgc_value_of(node)):
            reserve(<void **>&p.aside, &p.aside_capacity, p.aside_size + 1, sizeof(Saved))
            p.aside[p.aside_size].node, p.aside[p.aside_size].grad = node, node.grad
            p.aside_size += 1
    for i in range(p.aside_size):      # nothing can fail any more
        p.aside[i].node.grad = 0
    return 0


cdef void put_back(Pass *p) noexcept:
    """Put back what was set aside and not reached: the pass failed."""
    while p.aside_size:
        p.aside_size -= 1
        p.aside[p.aside_size].node.grad = p.aside[p.aside_size].grad


cdef bint is_hooked(Value v) noexcept:
    """Whether a node has hooks, or had some."""
    cdef Baggage baggage = baggage_if_any(v) if v.node.flags & MGC_CLOSURE else None
    return baggage is not None and baggage.hooks is not None


cdef bint has_closure(Value v) noexcept:
    """Whether a Python callable took the place of the rule; or was lost."""
    cdef Baggage baggage = baggage_if_any(v) if v.node.flags & MGC_CLOSURE else None
    if baggage is None:
        return v.node.flags & MGC_CLOSURE != 0
    return baggage.backward is not None or baggage.hooks is None


cdef bint is_python(Value v) noexcept:
    """Whether Python code has a part in what a node sends on: a closure, or hooks of a node that is no leaf."""
    return has_closure(v) or (v.node.op != MGC_LEAF and bool(hooks_of(v)))


cdef double received(Value v, double grad) except? -1.0:
    """What is added to the gradient of a leaf that gets this one in a pass."""
    return after_hooks(baggage_if_any(v).hooks, grad) if is_hooked(v) else grad


cdef tuple hooks_of(Value v):
    return tuple(baggage_if_any(v).hooks.values()) if is_hooked(v) else ()


cdef object add_hook(Value v, hook):
    cdef Baggage baggage
    refuse_while_tracing("register_hook")
    if not callable(hook):
        raise TypeError(f"hook must be a callable of one argument, the gradient, got {describe(hook)}")
    baggage = baggage_of(v)
    if baggage.hooks is None:
        baggage.hooks = {}
    handle = RemovableHandle(baggage.hooks)
    baggage.hooks[handle] = hook
    mgc_closures_assigned()
    v.node.flags |= MGC_CLOSURE
    mgc_track(&v.node)    # a hook that refers to this node is a cycle
    return handle


class RemovableHandle:
    """What `Value.register_hook` returns. As a context manager, it removes the hook at its end."""

    def __init__(self, hooks):
        self._hooks = hooks      # not the node: a handle keeps no graph

    def remove(self):
        """Remove the hook, if it is still there."""
        self._hooks.pop(self, None)

    def __enter__(self):
        return self

    def __exit__(self, kind=None, error=None, trace=None):
        self.remove()

    def __reduce__(self):
        raise TypeError("the handle of a hook belongs to the node that it was registered on, and cannot be copied")
