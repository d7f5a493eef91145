# Whether places that hold parameters hold others by now. Included by program.pyx.

from cpython.dict cimport PyDict_GetItem, PyDict_Next
from cpython.object cimport PyObject

cdef extern from "Python.h":
    ctypedef struct PyListObject:
        PyObject **ob_item
    ctypedef struct PyTupleObject:
        PyObject *ob_item[1]
    Py_ssize_t PyList_GET_SIZE(PyObject *)
    PyObject *PyCell_GET(object)

# Values that were made one after another lie at the same distance from each other. So a list of them need not be
# compared with what was in it, which would take twice the memory.
ctypedef struct watched_stretch:
    Py_ssize_t count
    uint64_t start, stride

ctypedef struct watched_list:
    PyObject *entries
    PyObject **before
    Py_ssize_t count
    Py_ssize_t stretch_count        # 0: to be compared
    watched_stretch stretches[4]


cdef int find_stretches(watched_list *x) noexcept:
    """Cut the pointers of a long list into stretches, unless it takes too many."""
    cdef uint64_t *before = <uint64_t *>x.before
    cdef Py_ssize_t begin = 0, end
    cdef int count = 0
    while begin < x.count and count < 4:
        end = begin + 1
        while end < x.count and before[end] - before[end - 1] == before[begin + 1] - before[begin]:
            end += 1
        x.stretches[count].count, x.stretches[count].start = end - begin, before[begin]
        x.stretches[count].stride = before[begin + 1] - before[begin] if end - begin > 1 else 0
        begin = end
        count += 1
    x.stretch_count = count if begin == x.count and x.count >= 16 else 0
    return 0


cdef bint is_unchanged(const watched_list *x) noexcept:
    cdef uint64_t *now = <uint64_t *>(<PyListObject *>x.entries).ob_item
    cdef Py_ssize_t i
    if PyList_GET_SIZE(x.entries) != x.count:
        return False
    if not x.stretch_count:
        return x.count == 0 or not memcmp(now, x.before, x.count * sizeof(PyObject *))
    for i in range(x.stretch_count):
        if not LANES.advances(now, x.stretches[i].start, x.stretches[i].stride, x.stretches[i].count):
            return False
        now += x.stretches[i].count
    return True


cpdef bint has_entries(list entries, tuple before):
    """Whether a list has the very objects that are in a tuple, in their order."""
    cdef Py_ssize_t count = len(before)
    return len(entries) == count and (not count or not memcmp(
        (<PyListObject *>entries).ob_item, (<PyTupleObject *>before).ob_item, count * sizeof(PyObject *)))


@cython.no_gc_clear       # the pointers are to what the lists hold
cdef class Watch:
    """Lists, dicts, variables of functions, and the very objects that are in them now.

    attributes are pairs of an object and a name; others are further containers, which are gone through.
    """
    cdef list lists, dicts, cells, variables, attributes, others    # pairs of such a place and what was there
    cdef watched_list *watched                     # the lists
    cdef Py_ssize_t list_count

    def __init__(self, lists, dicts, cells, variables, attributes, others):
        cdef Py_ssize_t i
        if self.watched != NULL:
            raise TypeError("a Watch is made once")
        pairs = [(x, tuple(x)) for x in lists]
        self.dicts = [(x, tuple(x.values())) for x in dicts]
        self.cells = [(x, x.cell_contents) for x in cells]
        self.variables = [(x, name, x[name]) for x, name in variables]
        self.attributes = [(x, name, getattr(x, name)) for x, name in attributes]
        self.others = [(x, list(x)) for x in others]
        self.watched = <watched_list *>PyMem_Malloc((len(pairs) + 1) * sizeof(watched_list))
        if self.watched == NULL:
            raise MemoryError("no memory to watch lists")
        self.lists = pairs
        for i, (x, before) in enumerate(pairs):
            self.watched[i].entries = <PyObject *>x
            self.watched[i].before = (<PyTupleObject *>before).ob_item
            self.watched[i].count = len(<tuple>before)
            find_stretches(&self.watched[i])
        self.list_count = len(pairs)

    def __dealloc__(self):
        PyMem_Free(self.watched)

    def __bool__(self):
        """Whether each is where it was: by pointer."""
        return self.holds()

    cdef bint holds(self) except -1:
        cdef PyObject *key
        cdef PyObject *entry
        cdef Py_ssize_t i, place
        for i in range(self.list_count):
            if not is_unchanged(&self.watched[i]):
                return False
        for entries, before in self.dicts:
            if len(<dict>entries) != len(<tuple>before):
                return False
            i = place = 0
            while PyDict_Next(entries, &place, &key, &entry):
                if entry != (<PyTupleObject *>before).ob_item[i]:
                    return False
                i += 1
        for cell, content in self.cells:
            if PyCell_GET(cell) != <PyObject *>content:
                return False
        for names, name, content in self.variables:
            if PyDict_GetItem(names, name) != <PyObject *>content:
                return False
        for thing, name, content in self.attributes:
            if getattr(thing, name, None) is not content:
                return False
        for container, before in self.others:
            if len(container) != len(before):
                return False
            for now, content in zip(container, before):
                if now is not content:
                    return False
        return True
