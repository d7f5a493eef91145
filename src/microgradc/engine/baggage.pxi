# What few nodes carry. Included by value.pyx.

cdef class Baggage:
    """What few nodes carry: a label, a Python closure in place of the rule, an operation's name."""
    cdef object label, backward, op

    def __cinit__(self):
        self.label = ""


cdef Baggage baggage_of(Value v):
    if v.baggage is None:
        v.baggage = Baggage.__new__(Baggage)
    return <Baggage>v.baggage


cdef int set_label(Value v, label) except -1:
    baggage_of(v).label = label
    if type(label) is not str:
        mgc_track(&v.node)   # it may refer to v
    return 0
