"""What the planner takes of graphs."""

from libc.stdint cimport uint64_t

cdef extern from "program/graph.h":
    enum:
        MGC_CONSTANT, MGC_PARAMETER, MGC_INPUT
        MGC_DENSE, MGC_PRODUCTS, MGC_CROSS_ENTROPY, MGC_TAKE_WEIGHT

    ctypedef struct mgc_ints:
        int *items
        int count, capacity

    ctypedef struct mgc_graph:
        int count
        int *op
        int *first
        uint64_t *payload
        unsigned char *varies
        mgc_ints operands

cdef dict NAMES         # of operations, by number

cdef class Graph:
    cdef mgc_graph g
    cdef mgc_ints output_list
    cdef readonly int input_count, parameter_count

cdef object op_name(int op)
cpdef Graph simplify(Graph graph)
cpdef Graph sums(Graph graph)
cdef Graph known(Graph graph, list numbers)
cdef double record(Graph to, list outputs, list inputs, list parameters) except -1.0
