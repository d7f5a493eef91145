"""NumPy's functions of arrays that hold Values and plain numbers, with the derivatives of the table.

For an array of objects, `np.sqrt` calls the method `sqrt` of each entry, which a float does not have; `np.sign`
compares with 0, which a Value of 0 is not; `np.floor` makes ints, and `np.trunc` takes no `np.float32`; `np.logaddexp`
takes no objects. NumPy's C API can put another loop in the place of one, and add one. These loops compute Values and,
where NumPy's fails, plain numbers; any other entry, a subclass of float for one, goes to NumPy's own loop. Arithmetic,
which is right as it is, and arrays of numbers stay NumPy's.

A subclass of arrays would do the same only for what `microgradc.array` makes, not for `np.where(mask, a, 0.0)` or
`v * np.ones(3)`, and a sum would be an array without dimensions.
"""

from cpython.object cimport PyObject
from cpython.pycapsule cimport PyCapsule_GetPointer, PyCapsule_New
from cpython.ref cimport Py_INCREF, Py_XDECREF

from microgradc.engine.value cimport Value

import numpy

from microgradc.engine import functions

__all__ = ["install"]

cdef extern from "<fenv.h>":
    int feclearexcept(int)
    int feraiseexcept(int)
    int fetestexcept(int)
    const int FE_ALL_EXCEPT
    const int FE_INVALID

# From here on, what NumPy's ufuncobject.h and dtype_api.h promise. An exception that a loop leaves set is raised.
ctypedef void (*Loop)(char **places, const Py_ssize_t *counts, const Py_ssize_t *steps, void *name) except *
ctypedef int (*ReplaceLoop)(PyObject *ufunc, Loop new, const int *signature, Loop *old) except -1
ctypedef int (*AddLoop)(PyObject *ufunc, Spec *) except -1
ctypedef int (*AddPromoter)(PyObject *ufunc, PyObject *kinds, PyObject *promoter) except -1

cdef enum:
    REPLACE_LOOP_BY_SIGNATURE = 30    # the places of three functions
    ADD_LOOP_FROM_SPEC = 43
    ADD_PROMOTER = 44
    OBJECTS = 17                      # a type of entries
    NO_CASTING = 0
    REQUIRES_PYTHON = 1
    STRIDED_LOOP = 5

cdef struct Slot:
    int slot
    void *function

cdef struct Spec:
    const char *name
    int nin
    int nout
    int casting
    int flags
    PyObject **dtypes
    Slot *slots

# Those whose loops look for a method of the same name.
cdef tuple BY_METHOD = (
    "exp", "exp2", "expm1", "log", "log2", "log10", "log1p", "sqrt", "cbrt", "sin", "cos", "tan", "arcsin", "arccos",
    "arctan", "sinh", "cosh", "tanh", "arcsinh", "arccosh", "arctanh", "fabs", "rint", "deg2rad", "rad2deg", "radians",
    "degrees",
)
cdef Loop numpys_method, numpys_sign, numpys_floor, numpys_ceil, numpys_trunc, numpys_arctan2, numpys_hypot


# Exact types: a subclass of float may have a method sqrt of its own.
cdef frozenset OF_NUMPY = frozenset(
    kind for kind in numpy.sctypeDict.values()
    if issubclass(kind, (numpy.floating, numpy.integer, numpy.bool_)) and not issubclass(kind, numpy.timedelta64)
)
cdef frozenset NUMBERS = OF_NUMPY | {float, int, bool}


cdef bint is_number(entry) except -1:
    return type(entry) in NUMBERS


cdef object entry_at(char *place):
    cdef PyObject *entry = (<PyObject **>place)[0]
    return None if entry == NULL else <object>entry


cdef int put(char *place, object result) except -1:
    cdef PyObject *former = (<PyObject **>place)[0]
    Py_INCREF(result)
    (<PyObject **>place)[0] = <PyObject *>result
    Py_XDECREF(former)
    return 0


cdef object number_of(ufunc, entry):
    """The function of a number. What it would warn of is added to what the loop has met: NumPy warns of that after."""
    cdef int met = fetestexcept(FE_ALL_EXCEPT)
    with numpy.errstate(all="ignore"):
        result = ufunc(float(entry)).item()
    feraiseexcept(met)
    return result


cdef int map_one(str name, bint with_numbers, Loop numpys, char **places, const Py_ssize_t *counts,
                 const Py_ssize_t *steps, void *data) except -1:
    """Call the method of each Value; compute what is a number, if asked to; leave anything else to NumPy."""
    cdef Py_ssize_t i, one = 1
    cdef char **place = [NULL, NULL]
    ufunc = getattr(numpy, name)
    for i in range(counts[0]):
        place[0], place[1] = places[0] + i * steps[0], places[1] + i * steps[1]
        entry = entry_at(place[0])
        if isinstance(entry, Value):
            put(place[1], getattr(entry, name)())
        elif with_numbers and is_number(entry):
            put(place[1], number_of(ufunc, entry))
        else:
            numpys(place, &one, steps, data)
    return 0


cdef int map_two(function, Loop numpys, char **places, const Py_ssize_t *counts, const Py_ssize_t *steps,
                 void *data) except -1:
    """The same of two operands."""
    cdef Py_ssize_t i, one = 1
    cdef char **place = [NULL, NULL, NULL]
    for i in range(counts[0]):
        place[0], place[1], place[2] = places[0] + i * steps[0], places[1] + i * steps[1], places[2] + i * steps[2]
        x, y = entry_at(place[0]), entry_at(place[1])
        if numpys == NULL or ((isinstance(x, Value) or is_number(x)) and (isinstance(y, Value) or is_number(y))):
            put(place[2], function(x, y))
        else:
            numpys(place, &one, steps, data)
    return 0


cdef void by_method(char **places, const Py_ssize_t *counts, const Py_ssize_t *steps, void *name) except *:
    map_one((<const char *>name).decode(), True, numpys_method, places, counts, steps, name)


cdef void sign(char **places, const Py_ssize_t *counts, const Py_ssize_t *steps, void *data) except *:
    map_one("sign", False, numpys_sign, places, counts, steps, data)
    feclearexcept(FE_INVALID)    # of comparisons with nan, of which NumPy would warn


cdef void floor(char **places, const Py_ssize_t *counts, const Py_ssize_t *steps, void *data) except *:
    map_one("floor", False, numpys_floor, places, counts, steps, data)


cdef void ceil(char **places, const Py_ssize_t *counts, const Py_ssize_t *steps, void *data) except *:
    map_one("ceil", False, numpys_ceil, places, counts, steps, data)


cdef void trunc(char **places, const Py_ssize_t *counts, const Py_ssize_t *steps, void *data) except *:
    """Make ints, as NumPy's loop does, of NumPy's numbers too."""
    cdef Py_ssize_t i, one = 1
    cdef char **place = [NULL, NULL]
    for i in range(counts[0]):
        place[0], place[1] = places[0] + i * steps[0], places[1] + i * steps[1]
        entry = entry_at(place[0])
        if type(entry) in OF_NUMPY:
            put(place[1], int(entry))
        else:
            numpys_trunc(place, &one, steps, data)


cdef void arctan2(char **places, const Py_ssize_t *counts, const Py_ssize_t *steps, void *data) except *:
    map_two(functions.atan2, numpys_arctan2, places, counts, steps, data)


cdef void hypot(char **places, const Py_ssize_t *counts, const Py_ssize_t *steps, void *data) except *:
    map_two(functions.hypot, numpys_hypot, places, counts, steps, data)


cdef int logaddexp(void *context, char **places, const Py_ssize_t *counts, const Py_ssize_t *steps,
                   void *unused) except -1:
    return map_two(functions.logaddexp, NULL, places, counts, steps, NULL)


cdef int to_objects(PyObject *ufunc, PyObject **kinds, PyObject **signature, PyObject **new_kinds) except -1:
    """All operands are objects where one is."""
    cdef int i
    for i in range(3):
        Py_INCREF(OBJECT_KIND)
        new_kinds[i] = <PyObject *>OBJECT_KIND
    return 0


cdef int replace(ReplaceLoop replace_loop, ufunc, Loop new, Loop *former) except -1:
    cdef int[3] signature = [OBJECTS, OBJECTS, OBJECTS]
    if replace_loop(<PyObject *>ufunc, new, signature, former):
        raise ImportError(f"np.{ufunc.__name__} has no loop over objects")
    return 0


cdef int add_logaddexp(void **api) except -1:
    cdef PyObject *objects = <PyObject *>OBJECT_KIND
    cdef PyObject **dtypes = [objects, objects, objects]
    cdef Slot *slots = [Slot(STRIDED_LOOP, <void *>logaddexp), Slot(0, NULL)]
    cdef Spec spec = Spec(b"microgradc_logaddexp", 2, 1, NO_CASTING, REQUIRES_PYTHON, dtypes, slots)
    ufunc, promoter = numpy.logaddexp, PyCapsule_New(<void *>to_objects, b"numpy._ufunc_promoter", NULL)
    (<AddLoop>api[ADD_LOOP_FROM_SPEC])(<PyObject *>ufunc, &spec)
    for kinds in (OBJECT_KIND, None, None), (None, OBJECT_KIND, None):
        (<AddPromoter>api[ADD_PROMOTER])(<PyObject *>ufunc, <PyObject *>kinds, <PyObject *>promoter)
    return 0


cdef object OBJECT_KIND = None
cdef bint installed = False


def install() -> None:
    """Put the loops in their places, once for the process. Another call does nothing."""
    global numpys_method, OBJECT_KIND, installed
    if installed:
        return
    installed = True
    new = int(numpy.__version__.partition(".")[0]) >= 2
    core = numpy._core if new else numpy.core
    cdef void **api = <void **>PyCapsule_GetPointer(core._multiarray_umath._UFUNC_API, NULL)
    cdef ReplaceLoop replace_loop = <ReplaceLoop>api[REPLACE_LOOP_BY_SIGNATURE]
    cdef Loop former = NULL
    for name in BY_METHOD:
        replace(replace_loop, getattr(numpy, name), by_method, &former)
        if numpys_method == NULL:
            numpys_method = former
        elif former != numpys_method:    # it is not one that looks for a method
            replace(replace_loop, getattr(numpy, name), former, &former)
    replace(replace_loop, numpy.sign, sign, &numpys_sign)
    replace(replace_loop, numpy.floor, floor, &numpys_floor)
    replace(replace_loop, numpy.ceil, ceil, &numpys_ceil)
    replace(replace_loop, numpy.trunc, trunc, &numpys_trunc)
    replace(replace_loop, numpy.arctan2, arctan2, &numpys_arctan2)
    replace(replace_loop, numpy.hypot, hypot, &numpys_hypot)
    if new:
        OBJECT_KIND = numpy.dtypes.ObjectDType
        add_logaddexp(api)
