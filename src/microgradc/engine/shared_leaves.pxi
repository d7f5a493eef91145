# Nodes over leaves that something else owns, as a program its parameters. Changes with who owns operands.
# Included by value.pyx.

@cython.no_gc_clear      # nodes that it keeps the leaves of may outlive its clearing
cdef class SharedLeaves:
    """Leaves that many nodes are made over: they are owned once, by this.

    The mean loss of a compiled MLP(2, [16, 16, 1]), which owns its 337 parameters like this, and its backward() take
    5.7 µs for 4 examples, 7.4 for 32 and 13.9 for 100. With a reference from each node to each parameter they take
    7.2, 9.1 and 15.3 µs, and the block of the node has 5,785 bytes instead of 2,752.
    """

    def __cinit__(self, tuple values not None):
        cdef Py_ssize_t i
        self.values = values
        self.operands = <mgc_operand *>PyMem_Calloc(len(values) + 1, sizeof(mgc_operand))
        self.is_node = <unsigned char *>PyMem_Calloc(len(values) + 1, 1)
        if self.operands == NULL or self.is_node == NULL:
            raise MemoryError(f"no memory for {len(values):,} leaves")
        for i in range(len(values)):
            self.operands[i].node = &(<Value?>values[i]).node
            self.is_node[i] = 1

    def __dealloc__(self):
        PyMem_Free(self.operands)
        PyMem_Free(self.is_node)


cdef object shared_node(double data, SharedLeaves leaves, const double *local):
    """A node over leaves with these local gradients, for leaves that have no closures and are not tracked."""
    cdef Py_ssize_t count = len(leaves.values)
    if not count:
        return mgc_new_leaf(data)
    cdef mgc_wide *w = mgc_new_shared(count, <PyObject *>leaves, leaves.operands, leaves.is_node, local)
    return mgc_new_over(MGC_CUSTOM, w, data)
