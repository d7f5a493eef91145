# Programs as C functions that SciPy's loops call, without Python. Included by program.pyx.

from cpython.pycapsule cimport PyCapsule_GetContext, PyCapsule_New, PyCapsule_SetContext, PyCapsule_SetDestructor
from cpython.ref cimport Py_DECREF, Py_INCREF
from libc.math cimport NAN
from libc.stdint cimport intptr_t
from libc.stdlib cimport free, malloc

cdef enum:
    NUMBERS_ON_STACK = 512          # memory of a call that is not allocated: 4 KB
    NUMBERS_IN_LINE = 8             # of the cache: memory begins with one

ctypedef struct mgc_low_level:
    mgc_call call                   # but for what each call has for itself
    const mgc_plan *plan
    size_t partials, numbers        # that a call needs: of the first kind, and in all


@cython.internal
cdef class LowLevel:
    """A program with the parameters' numbers of now. Calls only read from it, so threads may make them at once."""
    cdef mgc_low_level c
    cdef Call made

    def __cinit__(self, Program program):
        cdef Runner runner = program.runner(FORWARD)
        cdef mgc_program *p = runner.program
        self.made = Call(runner)    # a new one, which nobody else gets
        self.made.read_parameters(program)
        self.c.call, self.c.plan = self.made.call, &runner.plan
        self.c.call.n = self.c.call.block = self.c.call.blocks = self.c.call.partitions = 1
        self.c.call.array_count, self.c.call.seeds, self.c.call.input_grads = 1, NULL, NULL
        self.c.call.careful = False
        mgc_run_shared(&self.c.call)
        self.c.partials = <size_t>(mgc_partial_size(p) // NUMBERS_IN_LINE + 1) * NUMBERS_IN_LINE
        self.c.numbers = self.c.partials + NUMBERS_OF_ONE * p.slot_count + p.kept_of_one + MGC_SCRATCH + 2 * NUMBERS_IN_LINE


cdef double result_of(const mgc_low_level *f, const double *x, Py_ssize_t count) noexcept nogil:
    """The result for one example; nan where there is another number of inputs, an index is out of range, or no memory.
    """
    cdef double local[NUMBERS_ON_STACK]
    cdef double *memory = local
    cdef double *begin
    cdef double result, index
    cdef mgc_call call = f.call
    cdef int columns = f.call.program.input_count, trouble = 0, i
    if count != columns:
        return NAN
    for i in range(f.plan.index_inputs.count):
        index = x[f.plan.index_inputs.items[i]]
        if not (0 <= index < f.plan.index_limits.items[i] and index == floor(index)):
            return NAN
    if f.numbers > NUMBERS_ON_STACK:
        memory = <double *>malloc(f.numbers * sizeof(double))
        if memory == NULL:
            return NAN
    begin = <double *>((<size_t>memory + 63) & ~<size_t>63)
    call.arrays, call.array_columns, call.outputs, call.partials = &x, &columns, &result, begin
    call.trouble, call.hear = &trouble, NULL
    mgc_run_one(&call, begin + f.partials)
    if memory != local:
        free(memory)
    return NAN if trouble else result


cdef double of_number(double x, void *f) noexcept nogil:
    return result_of(<mgc_low_level *>f, &x, 1)


cdef double of_numbers(int count, double *x, void *f) noexcept nogil:
    return result_of(<mgc_low_level *>f, x, count)


cdef int of_buffer(double *x, intptr_t count, double *result, void *f) noexcept nogil:
    result[0] = result_of(<mgc_low_level *>f, x, count)
    return count == (<mgc_low_level *>f).call.program.input_count     # 0 is an error: SciPy raises one


cdef void free_low_level(object capsule) noexcept:
    Py_DECREF(<object>PyCapsule_GetContext(capsule))


SIGNATURES = ("double (double, void *)", "double (int, double *, void *)", "int (double *, intptr_t, double *, void *)")
"""The C functions that a program can be."""


def low_level_capsules(Program program not None, str signature not None) -> tuple:
    """Return a program of one output as a C function and its data, two capsules, as SciPy takes them.

    Args:
        program: a Program.
        signature: one of `SIGNATURES`.

    Raises:
        ValueError: it is not, or the program has more than one output, or not one input where the function has one.
    """
    cdef LowLevel made
    program.require_initialised()
    if signature not in SIGNATURES:
        raise ValueError(f"signature must be one of {', '.join(map(repr, SIGNATURES))}, got {signature!r:.60}")
    if program.output_count != 1:
        raise ValueError(f"the function must return one Value for this, it returned {program.output_count}")
    if signature == SIGNATURES[0]:
        if program.input_count != 1:
            raise ValueError(f"a function of one number must have one, got {program.input_count}")
        function = PyCapsule_New(<void *>of_number, b"double (double, void *)", NULL)
    elif signature == SIGNATURES[1]:
        function = PyCapsule_New(<void *>of_numbers, b"double (int, double *, void *)", NULL)
    else:
        function = PyCapsule_New(<void *>of_buffer, b"int (double *, intptr_t, double *, void *)", NULL)
    if computed_indices(program.recorded) is not None:
        raise ValueError("the index of take must be an argument of a C function, got one that is computed")
    made = LowLevel(program)
    data = PyCapsule_New(&made.c, b"microgradc", NULL)
    PyCapsule_SetContext(data, <void *>made)
    Py_INCREF(made)
    PyCapsule_SetDestructor(data, free_low_level)
    return function, data
