"""The C layout of a Value, for Cython modules that cimport it."""

from cpython.object cimport PyObject
from libc.stdint cimport uint64_t


cdef extern from "engine/node.h":
    ctypedef union mgc_operand:
        mgc_node *node
        double number
        mgc_wide *wide

    ctypedef struct mgc_node:
        double data
        double grad
        uint64_t op
        uint64_t flags
        uint64_t stamp
        mgc_operand x
        mgc_operand y

    ctypedef struct mgc_wide:
        Py_ssize_t count
        unsigned int flags
        unsigned char *is_node
        double *local
        mgc_operand *operands
        PyObject *keeper

    enum:
        MGC_X_NODE, MGC_Y_NODE, MGC_WIDE, MGC_INTEGER, MGC_CLOSURE, MGC_TRACKED, MGC_INITIALISED, MGC_IN_PASS
    void mgc_prefetch_older(const void *) nogil
    mgc_node *mgc_node_of(PyObject *) nogil
    PyObject *mgc_value_of(mgc_node *)
    bint mgc_operand_is_node(mgc_node *, Py_ssize_t)
    mgc_operand *mgc_operand_at(mgc_node *, Py_ssize_t)
    double mgc_operand_value(mgc_node *, Py_ssize_t)
    Py_ssize_t mgc_operand_count(const mgc_node *)
    Py_hash_t mgc_hash(object)

cdef extern from "engine/ops.h":
    ctypedef struct mgc_row:
        const char *name
        const char *op
        int operands
        int params
        const char *value
        const char *gx
        const char *gy
        const char *gz
        const char *doc

    const mgc_row *mgc_rows
    double mgc_value(int op, double x, double y, double z)
    enum:
        MGC_LEAF, MGC_TABLE_END
        # Those that have a line of Cython.
        MGC_ADD, MGC_SUB, MGC_MUL, MGC_DIV, MGC_POW, MGC_FLOORDIV, MGC_MOD, MGC_NEG, MGC_ABS, MGC_EXP
        MGC_SQRT, MGC_FLOOR, MGC_CEIL, MGC_LOGADDEXP
        MGC_LEAKY_RELU, MGC_ELU, MGC_ATAN2, MGC_HYPOT, MGC_MINIMUM, MGC_MAXIMUM, MGC_LESS, MGC_LESS_EQUAL, MGC_BCE
        MGC_POLYGAMMA, MGC_WHERE, MGC_STRAIGHT_THROUGH, MGC_CLIP
    bint mgc_keeps_integers(int id)

cdef extern from "engine/wide.h":
    enum:
        MGC_SUM, MGC_MEAN, MGC_DOT, MGC_LOGSUMEXP, MGC_TAKE, MGC_CUSTOM, MGC_OPAQUE, MGC_SCAN, MGC_RESULT
        MGC_OPS_END
    const char *const *mgc_wide_names
    const char *const *mgc_wide_ops
    double mgc_wide_at(const mgc_wide *, Py_ssize_t)
    double mgc_wide_value(int op, mgc_wide *)


cdef class Value:
    cdef mgc_node node
    cdef object baggage     # may be NULL: read and written by attributes.h and memory.h alone

# Whoever writes the data of a Value that is there adds 1 to this: a compiled function keeps a copy of its parameters,
# and reads them again when it is another number.
cdef uint64_t *leaf_version

# How many buffers there are through which the data of leaves may be written at any time, which nobody counts.
cdef Py_ssize_t *open_views

cdef void zero_gradients(list params) noexcept
cdef int read_number(object o, double *out) except -1
cdef object not_a_number(object o, str name, str expected)
cdef str describe(object o)
cdef object unary(int op, Value x)
cdef object binary(int op, object x, object y)
cdef object pair(int op, object x, object y, str x_name, str y_name)
cdef object ternary(int op, object x, object y, object z, tuple names)
cdef double largest(object values, str name) except? -1.0
cdef object sequence_of(object values, str name)
cdef bint is_table(object o) except -1
cdef object wide(int op, object values, str name)
cdef object dot_product(object w, object x, object bias)
cdef list dot_products(object x, list rows, list biases, bytes operations)
cdef bint tracing() noexcept
cdef bint detecting() noexcept
cdef bint is_python(Value v) noexcept
cdef double received(Value v, double grad) except? -1.0
cdef bint grad_enabled() noexcept

cdef class SharedLeaves:
    cdef readonly tuple values
    cdef mgc_operand *operands
    cdef unsigned char *is_node

cdef object shared_node(double data, SharedLeaves leaves, const double *local)
cdef object custom_node(double data, tuple children, const double *local)
cdef list joint_nodes(list numbers, tuple children, SharedLeaves leaves, object send)
cdef object loop_of(Value v)
cpdef bint is_index(Value v) except -1
