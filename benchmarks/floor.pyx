# cython: language_level=3
"""The floor: the least that an eager node can be in CPython.

A double and the two nodes that it was made from; one operation, one type of operand, no derivatives, no constants, no
garbage collection. (Releasing a long chain of these overflows the C stack, so nothing here makes one.)
"""

cimport cython


@cython.no_gc
@cython.freelist(16384)
@cython.final
cdef class Value:
    cdef readonly double data
    cdef Value x, y

    def __init__(self, double data):
        self.data = data

    def __mul__(Value self, Value other):
        cdef Value out = Value.__new__(Value)
        out.data = self.data * other.data
        out.x = self
        out.y = other
        return out
