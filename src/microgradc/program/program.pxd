"""What the kernels for tests take of the compiler: the levels of SIMD instructions, and aligned memory."""

from libc.stdint cimport uint64_t

cdef extern from "program/lanes/lanes.h":
    enum:
        MGC_LANE_MULTIPLE
        MGC_SCRATCH
    ctypedef void mgc_forward(const double *x, const double *y, const double *z, double *f, Py_ssize_t n) noexcept nogil
    ctypedef void mgc_backward(const double *x, const double *y, const double *z, const double *f, const double *g,
                               double *gx, double *gy, double *gz, const double *nothing, int receives,
                               Py_ssize_t n) noexcept nogil
    ctypedef struct mgc_lanes:
        const char *name
        int width
        mgc_forward **forward
        mgc_backward **backward
        void (*dense)(const double *w, const double *bias, const double *base, const int *rows, double *out,
                      Py_ssize_t m, Py_ssize_t k, Py_ssize_t n) noexcept nogil
        void (*dense_operands)(const double *w, const double *g, double *gbase, const int *rows, bint assign,
                               Py_ssize_t m, Py_ssize_t k, Py_ssize_t n) noexcept nogil
        void (*dense_weights)(const double *g, const double *base, const int *rows, double *gw, double *gbias,
                              Py_ssize_t m, Py_ssize_t k, Py_ssize_t n, Py_ssize_t valid,
                              double *scratch) noexcept nogil
        double (*sum)(const double *x, Py_ssize_t valid) noexcept nogil
        bint (*advances)(const uint64_t *numbers, uint64_t start, uint64_t stride, Py_ssize_t count) noexcept nogil

cdef list level_names()
cdef const mgc_lanes *level_of(str name) except NULL
cdef const mgc_lanes *LANES

cdef class Doubles:
    cdef void *allocated
    cdef double *doubles
    cdef size_t size
