# Sums over a batch that were found elsewhere, as nodes. Included by program.pyx.


def values_of_sums(Program program not None, list sums not None, gradients, list shared_values=None):
    """Return numbers as nodes over the parameters of a program.

    Args:
        sums: a float for each output.
        gradients: float64 of shape (outputs, shared inputs and parameters); None for no gradients.
        shared_values: for each shared input the Value that gets its gradient, or None.
    """
    cdef Py_ssize_t i, k, count = len(program.parameters), shared = program.shared_count
    cdef list children = list(program.parameters), places = []
    cdef unsigned int flags = 0
    cdef double[:, ::1] rows
    cdef Doubles local
    program.require_initialised()
    if gradients is None or not grad_enabled():
        return [Value(x) for x in sums]
    rows = gradients
    if rows.shape[0] != len(sums) or rows.shape[1] != shared + count:
        raise ValueError(f"there must be gradients of shape ({len(sums)}, {shared + count}), "
                         f"got ({rows.shape[0]}, {rows.shape[1]})")
    for i, value in enumerate((shared_values or [])[:shared]):
        if value is not None:
            children.append(<Value?>value)
            places.append(i)
    for i in range(count):
        flags |= program.nodes[i].flags
    local = Doubles(len(children))
    results = []
    for k in range(len(sums)):
        for i in range(count):
            local.doubles[i] = rows[k, shared + i]
        for i in range(len(places)):
            local.doubles[count + i] = rows[k, <Py_ssize_t>places[i]]
        if places or flags & (MGC_CLOSURE | MGC_TRACKED):
            results.append(custom_node(sums[k], tuple(children), local.doubles))
        else:
            results.append(shared_node(sums[k], program.shared, local.doubles))
    return results
