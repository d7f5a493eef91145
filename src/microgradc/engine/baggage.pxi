# What few nodes carry. Included by value.pyx.

cdef class Baggage(dict):
    """The attributes of a node, and apart from them a label, a Python closure in place of the rule, an operation's
    name, the loop that a `scan` repeats."""
    cdef object label, backward, op, loop

    def __cinit__(self):
        self.label = ""

    def __reduce__(self):
        return (dict, (dict(self),))    # to others it is a dict


cdef inline Baggage baggage_if_any(Value v):
    return <Baggage>mgc_baggage_or_none(v)


cdef inline Baggage baggage_of(Value v):
    return <Baggage>mgc_make_baggage(v)


cdef object closure_of(Value v):
    """The callable in place of the rule, of a node that has one."""
    cdef Baggage baggage = baggage_if_any(v)
    if baggage is None or baggage.backward is None:
        raise RuntimeError(f"{v!r} has lost its Python _backward with its __dict__, which somebody replaced; "
                           "change the entries of vars(v) instead")
    return baggage.backward


cdef int set_label(Value v, label) except -1:
    baggage_of(v).label = label
    if type(label) is not str:
        mgc_track(&v.node)   # it may refer to v
    return 0


def without_bare(things) -> list:
    """Return a list of things without the Values that have no attributes."""
    cdef list kept = []
    for thing in things:
        if type(thing) is not Value or mgc_attributes(thing) != NULL:
            kept.append(thing)
    return kept
