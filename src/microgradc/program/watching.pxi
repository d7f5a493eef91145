# Whether places that hold parameters hold others by now. Included by program.pyx.

from cpython.dict cimport PyDict_GetItem, PyDict_Next
from cpython.list cimport PyList_Check
from cpython.object cimport PyObject

cdef extern from "Python.h":
    ctypedef struct PyListObject:
        PyObject **ob_item
    ctypedef struct PyTupleObject:
        PyObject *ob_item[1]
    PyObject *PyCell_GET(object)

cdef object NOT_WATCHED = object()


cdef class Watch:
    """Lists, dicts, variables of functions, and the very objects that are in them now.

    What is in an attribute whose name begins with an underscore is not looked at, as parameters are not searched there.
    """
    cdef list lists, dicts, cells, variables       # pairs of such a place and what was there

    def __init__(self, lists, dicts, cells, variables):
        self.lists = [(x, tuple(x)) for x in lists]
        self.dicts = [(x, tuple([NOT_WATCHED if type(key) is str and key[:1] == "_" else entry
                                 for key, entry in x.items()])) for x in dicts]
        self.cells = [(x, x.cell_contents) for x in cells]
        self.variables = [(x, name, x[name]) for x, name in variables]

    def __bool__(self):
        """Whether each is where it was: by pointer, so that a check costs about a nanosecond for each."""
        cdef PyObject *key
        cdef PyObject *entry
        cdef PyObject *expected
        cdef Py_ssize_t i, place
        for pair in self.lists:
            x, before = <object>(<tuple>pair)[0], <tuple>(<tuple>pair)[1]
            if len(<list>x) != len(<tuple>before) or memcmp(
                    (<PyListObject *>x).ob_item, (<PyTupleObject *>before).ob_item, len(<list>x) * sizeof(PyObject *)):
                return False
        for pair in self.dicts:
            x, before = <object>(<tuple>pair)[0], <tuple>(<tuple>pair)[1]
            if len(<dict>x) != len(<tuple>before):
                return False
            i = place = 0
            while PyDict_Next(x, &place, &key, &entry):
                expected = (<PyTupleObject *>before).ob_item[i]
                if entry != expected and expected != <PyObject *>NOT_WATCHED:
                    return False
                i += 1
        for pair in self.cells:
            if PyCell_GET(<object>(<tuple>pair)[0]) != <PyObject *>(<tuple>pair)[1]:
                return False
        for found in self.variables:
            if PyDict_GetItem((<tuple>found)[0], (<tuple>found)[1]) != <PyObject *>(<tuple>found)[2]:
                return False
        return True
