# What few nodes carry. Included by value.pyx.

cdef extern from "engine/attributes.h":
    object mgc_baggage_or_none(object)
    object mgc_make_baggage(object)
    PyObject *mgc_attributes(object)
    int mgc_set_attribute(object, object, object) except -1
    int mgc_delete_attribute(object, object) except -1
    int mgc_install_attributes(PyTypeObject *, PyTypeObject *) except -1

cdef class Baggage(dict):
    """The attributes of a node, and apart from them a label, a Python closure in place of the rule, an operation's
    name, hooks, the loop that a `scan` repeats, where it was made, of which operation it is a derivative, and
    what to do if it sends a gradient that is not finite."""
    cdef object label, backward, op, loop, place, origin
    cdef tuple derived      # an operation of the user's, and the order of the derivative
    cdef dict hooks

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
        raise lost_closure(v)
    return baggage.backward


cdef object lost_closure(Value v):
    return RuntimeError(f"{v!r} has lost its Python _backward, or its hooks, with its __dict__, which somebody "
                        "replaced; change the entries of vars(v) instead")


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
