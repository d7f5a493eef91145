"""What the planner takes of graphs."""

from libc.stdint cimport uint64_t

cdef extern from "program/graph.h":
    enum:
        MGC_CONSTANT, MGC_PARAMETER, MGC_INPUT

    ctypedef struct mgc_ints:
        int *items
        int count, capacity

    ctypedef struct mgc_graph_loop:
        const mgc_graph *body
        const int *outputs
        int length, carries, xs, ys, captured
        bint ends, keeps_all

    ctypedef struct mgc_graph:
        int count
        int *op
        int *first
        uint64_t *payload
        unsigned char *varies
        mgc_ints operands
        const mgc_graph_loop *loops
        int loop_count
        const unsigned char *parameter_varies

    int mgc_first_captured(const mgc_graph_loop *)
    int mgc_results_of(const mgc_graph_loop *)
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
    cdef list loop_list          # a Loop for each scan
    cdef mgc_graph_loop *loops   # the same, for C
    cdef bytes parameter_varies  # of the body of a loop
    cdef bint is_body

    cdef int require_no_body(self) except -1
    cdef int add_loop(self, Loop loop) except -1
    cdef int set_loops(self, list loops) except -1

cdef class Loop:
    cdef readonly Graph body
    cdef readonly int length, carries, xs, ys
    cdef readonly bint ends, keeps_all
    cdef int depth          # how many loops are within one another
    cdef Py_hash_t hash
    cdef bint has_hash

    cdef tuple settings(self)

cdef object op_name(int op)
cpdef Graph simplify(Graph graph)
cpdef Graph sums(Graph graph)
cpdef Graph known(Graph graph, list numbers)
cdef double record(Graph to, list outputs, list inputs, list shared, list parameters) except -1.0
cdef bint is_choice(const mgc_graph *g, int e)
