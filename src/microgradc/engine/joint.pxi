# Several nodes that come from one call of something, which sends the gradients of all of them on at once. Changes with
# how such nodes hang together. Included by value.pyx.
#
# Each is made over two others. In the one, its own, its gradient arrives. The other, which they have in common, is over
# all that the call was made from, and a backward pass visits it after them. Its rule is a Joint. A copy is an ordinary
# custom node over the latter.


@cython.internal
@cython.final
cdef class Joint:
    """The rule of the node in common.

    Attributes:
        arrivals: for each result the node in which its gradient arrives.
        send: takes a list of gradients, for each result what arrived, -0.0 if that is not part of the pass, and adds
            to the gradients of what the call was made from. Its method `local_gradients` takes the same and returns
            a list of what would be added.
    """
    cdef list arrivals
    cdef object send

    def __call__(self):
        """Send on what is there, for those who go through a graph by hand."""
        self.send([v.grad or -0.0 for v in self.arrivals])

    cdef int run(self, Pass *p) except -1:
        """Send on what arrived in a pass."""
        cdef Py_ssize_t i
        cdef Value v
        cdef list gradients = [-0.0] * len(self.arrivals)
        cdef set entered = None
        if epoch != p.epoch:       # another sort has marked nodes meanwhile
            entered = {<uintptr_t>p.order.items[i] for i in range(p.order.size)}
        for i, v in enumerate(self.arrivals):
            if <uintptr_t>&v.node in entered if entered is not None else v.node.stamp == p.epoch:
                gradients[i] = v.node.grad + 0.0
        self.send(gradients)
        return 0


cdef list joint_nodes(list numbers, tuple children, SharedLeaves leaves, object send):
    """Nodes with these numbers, over Values; see Joint.

    Args:
        numbers: floats.
        children: all that they depend on.
        leaves: the same, if they are leaves without closures that something else owns; or None.
        send: see Joint.
    """
    cdef Py_ssize_t i, count = len(children)
    cdef Joint rule = Joint.__new__(Joint)
    cdef Value common, own
    cdef mgc_wide *w
    cdef list results = []
    if not count:
        return [mgc_new_leaf(x) for x in numbers]
    rule.arrivals, rule.send = [], send
    if leaves is None:
        w = mgc_new_wide(count, False)
        for i in range(count):
            mgc_set_node(w, i, &(<Value>PyTuple_GET_ITEM(children, i)).node)
    else:
        w = mgc_new_shared(count, <PyObject *>leaves, leaves.operands, leaves.is_node, NULL)
    common = <Value>mgc_new_over(MGC_OPAQUE, w, 0)
    baggage_of(common).op = "several results"
    baggage_of(common).backward = rule
    common.node.flags |= MGC_CLOSURE
    mgc_track(&common.node)
    for x in numbers:
        own = <Value>mgc_new_over(MGC_OPAQUE, mgc_new_wide(0, False), x)
        rule.arrivals.append(own)
        w = mgc_new_wide(2, True)
        mgc_set_node(w, 0, &own.node)
        mgc_set_node(w, 1, &common.node)
        w.local[0], w.local[1] = 1, 0
        results.append(<Value>mgc_new_over(MGC_CUSTOM, w, x))
    return results


cdef Joint joint_of(Value v):
    """The rule of a node in common; None for any other node."""
    cdef Baggage baggage = baggage_if_any(v) if v.node.flags & MGC_CLOSURE else None
    if baggage is None or type(baggage.backward) is not Joint:
        return None
    return <Joint>baggage.backward


cdef Value common_of(Value v):
    """The node in common, of one of several results; None for any other node."""
    cdef mgc_wide *w = v.node.x.wide
    cdef Value common
    if v.node.op != MGC_CUSTOM or w.count != 2 or not (w.is_node[0] and w.is_node[1]):
        return None
    if w.local[0] != 1 or w.local[1] != 0:
        return None
    common = <Value>mgc_value_of(w.operands[1].node)
    return None if joint_of(common) is None else common


cdef tuple parts_of(Value v):
    """The operands of a node and its local gradients, None unless it is custom, as a copy has them."""
    cdef Value common = common_of(v), own
    cdef list seeds
    cdef Joint rule
    if common is None:
        return operands_of(v), local_of(v)
    own, rule = <Value>mgc_value_of(v.node.x.wide.operands[0].node), joint_of(common)
    seeds = [1.0 if arrival is own else -0.0 for arrival in rule.arrivals]
    return operands_of(common), tuple(rule.send.local_gradients(seeds))


cdef list nodes_to_copy(Value root):
    """The nodes that a copy of the root's graph has copies of, operands first."""
    cdef list nodes = nodes_of(root)
    cdef set left_out = set()
    cdef Joint rule
    cdef Value v
    for v in nodes:
        rule = joint_of(v)
        if rule is not None:
            left_out.add(id(v))
            left_out.update(map(id, rule.arrivals))
    if left_out:     # unless something else than a result is over them, which cannot be copied
        for v in nodes:
            if common_of(v) is None:
                left_out.difference_update(map(id, operands_of(v)))
    return [v for v in nodes if v is root or id(v) not in left_out]
