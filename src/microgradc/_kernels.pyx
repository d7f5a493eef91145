"""The kernels of program/lanes on NumPy arrays, one by one. For tests, which alone import it."""

from cpython.pyport cimport PY_SSIZE_T_MAX
from libc.limits cimport INT_MAX
from libc.stdlib cimport free, malloc

from microgradc.engine.value cimport MGC_TABLE_END, leaf_version as leaf_version_at, mgc_rows
from microgradc.program.program cimport LANES, MGC_LANE_MULTIPLE, MGC_SCRATCH, Doubles, level_names, level_of, mgc_lanes


def levels():
    """Return the names of the levels that this processor has, slowest first."""
    return level_names()


def leaf_version():
    """Return how often a leaf was written that is known."""
    return leaf_version_at[0]


def level():
    """Return the name of the level that programs run on."""
    return LANES.name.decode()


cdef class Rows:
    """Rows of lanes, and how to fill and read them."""

    cdef Doubles memory
    cdef double *data
    cdef readonly Py_ssize_t count, lanes, n      # n: lanes with their padding

    def __cinit__(self, Py_ssize_t count, Py_ssize_t lanes, double padding):
        require(count >= 0 and lanes >= 0, "rows and lanes, of which there cannot be less than 0")
        if lanes > PY_SSIZE_T_MAX // 2 or count > PY_SSIZE_T_MAX // (lanes + MGC_LANE_MULTIPLE):
            raise MemoryError(f"no memory for {count:,} rows of {lanes:,} lanes")
        self.count, self.lanes = count, lanes
        self.n = (lanes + MGC_LANE_MULTIPLE - 1) // MGC_LANE_MULTIPLE * MGC_LANE_MULTIPLE
        self.memory = Doubles(count * self.n)
        self.data = self.memory.doubles
        for i in range(count * self.n):
            self.data[i] = padding

    cdef Rows fill(self, const double[:, :] values):
        for i in range(self.count):
            for lane in range(self.lanes):
                self.data[i * self.n + lane] = values[i, lane]
        return self

    cdef object read(self, double[:, :] into):
        for i in range(self.count):
            for lane in range(self.lanes):
                into[i, lane] = self.data[i * self.n + lane]


cdef Rows rows_of(const double[:, :] values, double padding):
    return Rows(values.shape[0], values.shape[1], padding).fill(values)


cdef int require(bint holds, str what) except -1:
    if not holds:
        raise ValueError(f"the shapes do not fit: {what}")
    return 0


cdef int row_of(str name) except -1:
    for op in range(1, MGC_TABLE_END):
        if mgc_rows[op].name.decode() == name:
            return op
    raise ValueError(f"{name!r} is not a row of ops.h")


def forward(str level not None, str name not None, const double[:, :] operands not None, double[:, :] out not None,
            double padding=0.0):
    """Put the value of a row of ops.h into out.

    Args:
        level: a name from `levels`.
        name: the row's name, such as "ADD".
        operands: its operands, float64 of shape (operands, lanes).
        out: float64 of shape (1, lanes).
        padding: what the lanes that make up the multiple of `MGC_LANE_MULTIPLE` hold.
    """
    cdef const mgc_lanes *lanes = level_of(level)
    cdef int op = row_of(name)
    require(operands.shape[0] == mgc_rows[op].operands, "operands")
    require(out.shape[0] == 1 and out.shape[1] == operands.shape[1], "out")
    cdef Rows x = rows_of(operands, padding), f = Rows(1, x.lanes, padding)
    cdef Py_ssize_t y = x.n if x.count > 1 else 0, z = 2 * x.n if x.count > 2 else 0
    with nogil:
        lanes.forward[op](x.data, x.data + y if y else NULL, x.data + z if z else NULL, f.data, x.n)
    f.read(out)


def backward(str level not None, str name not None, const double[:, :] operands not None,
             const double[:, :] value not None, const double[:, :] gradient not None, double[:, :] grads not None,
             list wanted=None, bint shared=False, double padding=0.0):
    """Add to grads what the operands of a row of ops.h receive.

    Args:
        level, name, operands, padding: as for `forward`.
        value, gradient: the row's value and the gradient that arrives at it, float64 of shape (1, lanes).
        grads: float64 of shape (operands, lanes).
        wanted: for each operand, whether it receives anything; None for all.
        shared: the operands are one array, the first, and receive in the first of grads.
    """
    cdef const mgc_lanes *lanes = level_of(level)
    cdef int op = row_of(name), i
    cdef const double *x[3]
    cdef double *gx[3]
    require(operands.shape[0] == mgc_rows[op].operands, "operands")
    require(value.shape[0] == gradient.shape[0] == 1, "value and gradient")
    require(value.shape[1] == gradient.shape[1] == operands.shape[1] == grads.shape[1], "lanes")
    require(grads.shape[0] == operands.shape[0], "grads")
    require(wanted is None or len(wanted) == operands.shape[0], "wanted")
    cdef Rows data = rows_of(operands, padding), out = rows_of(grads, padding)
    cdef Rows f = rows_of(value, padding), g = rows_of(gradient, padding)
    for i in range(3):
        x[i], gx[i] = NULL, NULL
        if i < data.count:
            x[i] = data.data + (0 if shared else i * data.n)
            if wanted is None or wanted[i]:
                gx[i] = out.data + (0 if shared else i * data.n)
    with nogil:
        lanes.backward[op](x[0], x[1], x[2], f.data, g.data, gx[0], gx[1], gx[2], NULL, 0, data.n)
    out.read(grads)


cdef class Indices:
    """Row numbers as C ints, all within bounds."""

    cdef int *data

    def __cinit__(self, rows, Py_ssize_t bound):
        cdef Py_ssize_t i, row
        cdef tuple taken = tuple(rows)    # whatever a row's __index__ does to the list
        self.data = <int *>malloc((<size_t>len(taken) + 1) * sizeof(int))
        if self.data == NULL:
            raise MemoryError(f"no memory for {len(taken):,} rows")
        for i in range(len(taken)):
            row = taken[i]
            require(0 <= row < min(bound, <Py_ssize_t>INT_MAX), "rows")
            self.data[i] = <int>row

    def __dealloc__(self):
        free(self.data)


def dense(str level not None, const double[:, ::1] w not None, const double[::1] bias, const double[:, :] x not None,
          list rows not None, double[:, :] out not None, double padding=0.0):
    """Put `bias + w @ x[rows]` into out.

    Shapes: w (m, k), bias (m,) or None, x (any, lanes), rows k numbers, out (m, lanes).
    """
    cdef const mgc_lanes *lanes = level_of(level)
    cdef Py_ssize_t m = w.shape[0], k = w.shape[1]
    require(m > 0 and k > 0 and (bias is None or bias.shape[0] == m), "w and bias")
    require(len(rows) == k, "rows")
    require(out.shape[0] == m and out.shape[1] == x.shape[1], "out")
    cdef Indices at = Indices(rows, x.shape[0])
    cdef Rows base = rows_of(x, padding), f = Rows(m, base.lanes, padding)
    cdef const double *b = NULL
    if bias is not None:
        b = &bias[0]
    with nogil:
        lanes.dense(&w[0, 0], b, base.data, at.data, f.data, m, k, base.n)
    f.read(out)


def dense_operands(str level not None, const double[:, ::1] w not None, const double[:, :] g not None,
                   list rows not None, bint assign, double[:, :] grads not None, double padding=0.0):
    """Add `w.T @ g` to grads[rows], or with assign put it there.

    Shapes: w (m, k), g (m, lanes), rows k numbers, grads (any, lanes).
    """
    cdef const mgc_lanes *lanes = level_of(level)
    cdef Py_ssize_t m = w.shape[0], k = w.shape[1]
    require(m > 0 and k > 0, "w")
    require(len(rows) == k, "rows")
    require(not assign or len(set(rows)) == k, "rows, which must differ with assign")
    require(g.shape[0] == m and g.shape[1] == grads.shape[1], "g")
    cdef Indices at = Indices(rows, grads.shape[0])
    cdef Rows incoming = rows_of(g, padding), out = rows_of(grads, padding)
    with nogil:
        lanes.dense_operands(&w[0, 0], incoming.data, out.data, at.data, assign, m, k, out.n)
    out.read(grads)


def dense_weights(str level not None, const double[:, :] g not None, const double[:, :] x not None, list rows not None,
                  double[:, ::1] gw not None, double[::1] gbias, Py_ssize_t valid, double padding=0.0):
    """Add `g @ x[rows].T` over the first valid lanes to gw, and that of g to gbias unless it is None.

    Shapes: g (m, lanes), x (any, lanes), rows k numbers, gw (m, k), gbias (m,).
    """
    cdef const mgc_lanes *lanes = level_of(level)
    cdef Py_ssize_t m = gw.shape[0], k = gw.shape[1]
    require(m > 0 and k > 0 and (gbias is None or gbias.shape[0] == m), "gw and gbias")
    require(len(rows) == k, "rows")
    require(g.shape[0] == m and g.shape[1] == x.shape[1], "g and x")
    require(0 <= valid <= g.shape[1], "valid")
    cdef Indices at = Indices(rows, x.shape[0])
    cdef Rows incoming = rows_of(g, padding), base = rows_of(x, padding)
    cdef Doubles scratch = Doubles(MGC_SCRATCH)
    cdef double *b = NULL if gbias is None else &gbias[0]
    with nogil:
        lanes.dense_weights(incoming.data, base.data, at.data, &gw[0, 0], b, m, k, base.n, valid, scratch.doubles)


def sum(str level not None, const double[:, :] x not None, Py_ssize_t valid, double padding=0.0):
    """Return the sum of the first valid lanes of x, of shape (1, lanes)."""
    cdef const mgc_lanes *lanes = level_of(level)
    require(x.shape[0] == 1 and 0 <= valid <= x.shape[1], "x and valid")
    cdef Rows row = rows_of(x, padding)
    cdef double total
    with nogil:
        total = lanes.sum(row.data, valid)
    return total
