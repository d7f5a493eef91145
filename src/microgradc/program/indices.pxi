# Indices that are computed from integer arguments: that each picks a value is looked at before a run. Included by
# program.pyx.

cdef struct mgc_index_step:
    int op, x, y            # of an input, x is which one
    int limit               # from how many values it picks at least; 0 if it is no index
    double number           # of a constant, or what was found


@cython.internal
cdef class Indices:
    """The expressions of a graph that indices are made by, in order."""
    cdef mgc_index_step *steps
    cdef int count

    def __dealloc__(self):
        PyMem_Free(self.steps)

    cdef int read(self, const mgc_graph *g, dict limits) except -1:
        """Read the expressions of a graph that these are made from; limits has the number of values of each."""
        cdef dict places = {}
        cdef list left = list(limits)
        cdef const int *operands
        cdef mgc_index_step *step
        cdef int e, i
        while left:
            e = left.pop()
            if e not in places:
                places[e] = 0
                for i in range(mgc_operands_in(g, e)):
                    left.append(mgc_operands_of(g, e)[i])
        self.steps = <mgc_index_step *>PyMem_Malloc(len(places) * sizeof(mgc_index_step))
        if self.steps == NULL:
            raise MemoryError("no memory for indices")
        for found in sorted(places):
            e = found
            step, operands = &self.steps[self.count], mgc_operands_of(g, e)
            step.op, step.limit, step.x, step.y = g.op[e], limits.get(e, 0), 0, 0
            step.number = mgc_constant_of(g, e) if step.op == MGC_CONSTANT else 0
            if step.op == MGC_INPUT:
                step.x = <int>g.payload[e]
            if mgc_operands_in(g, e) > 0:
                step.x = places[operands[0]]
            if mgc_operands_in(g, e) > 1:
                step.y = places[operands[1]]
            places[e] = self.count
            self.count += 1
        return 0

    cdef int check(self, Call call) except -1:
        """Raise IndexError unless each index of each example picks a value."""
        cdef Py_ssize_t example
        cdef mgc_index_step *step
        cdef double x
        cdef int i, a, place
        for example in range(call.call.n):
            for i in range(self.count):
                step = &self.steps[i]
                if step.op == MGC_CONSTANT:
                    continue
                if step.op == MGC_INPUT:
                    a, place = 0, step.x
                    while place >= call.columns[a]:
                        place -= call.columns[a]
                        a += 1
                    step.number = call.pointers[a][example * call.columns[a] + place]
                else:
                    step.number = mgc_value(step.op, self.steps[step.x].number, self.steps[step.y].number, 0)
                x = step.number
                if step.limit and (not 0 <= x < step.limit or x != floor(x)):
                    raise wrong_index(example, step.limit, x)
        return 0


cdef object wrong_index(Py_ssize_t example, int limit, double x):
    return IndexError(f"the index of example {example} must be an integer, at least 0 and less than {limit}, "
                      f"got {x:g}")


cdef Indices computed_indices(Graph graph):
    """The indices of a graph that are neither inputs nor those of `select`; None if there are none."""
    cdef mgc_graph *g = &graph.g
    cdef dict limits = {}
    cdef Indices found
    cdef int e, index, count
    for e in range(g.count):
        if g.op[e] != MGC_TAKE:
            continue
        index, count = mgc_operands_of(g, e)[0], mgc_operands_in(g, e) - 1
        if g.op[index] != MGC_INPUT and not is_choice(g, index):
            limits[index] = min(count, limits.get(index, count))
    if not limits:
        return None
    found = Indices()
    found.read(g, limits)
    return found
