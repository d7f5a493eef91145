"""What the planner takes of graphs."""

from libc.stdint cimport uint64_t

cdef extern from "program/graph.h":
    enum:
        MGC_CONSTANT, MGC_PARAMETER, MGC_INPUT

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

    int mgc_operands_in(const mgc_graph *, int)
    const int *mgc_operands_of(const mgc_graph *, int)
    double mgc_constant_of(const mgc_graph *, int)

cdef extern from "program/steps.h":
    enum:
        MGC_GRAPH_OPS_END
        MGC_TO_ONE

    ctypedef struct mgc_kind:
        const char *name
        int index, rows, weights, bias, least, sends
        const char *form

    const mgc_kind *mgc_kinds
    int mgc_k_of(const mgc_kind *, int operands)
    bint mgc_can_have(const mgc_kind *, Py_ssize_t operands)

cdef dict NAMES         # of operations, by number

cdef class Graph:
    cdef mgc_graph g
    cdef mgc_ints output_list
    cdef readonly int input_count, parameter_count

cdef object op_name(int op)
cpdef Graph simplify(Graph graph)
cpdef Graph sums(Graph graph)
cpdef Graph known(Graph graph, list numbers)
cdef double record(Graph to, list outputs, list inputs, list shared, list parameters) except -1.0
cdef bint is_choice(const mgc_graph *g, int e)
