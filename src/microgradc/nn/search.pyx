"""What `nn` leaves to C: running a layer's neurons, and finding the parameters and modules in a module's attributes.

Where is searched: in the attributes of a module, but for those whose name begins with an underscore, and in lists,
tuples, dicts, object arrays and further modules in them; each once. A module whose class has a method `parameters` of
its own is asked for its parameters instead.
"""

from cpython.dict cimport PyDict_Check
from cpython.float cimport PyFloat_Check
from cpython.list cimport PyList_Check
from cpython.long cimport PyLong_Check
from cpython.object cimport PyObject
from cpython.tuple cimport PyTuple_Check
from cpython.type cimport PyType_Check
from cpython.unicode cimport PyUnicode_Check
from libc.stdint cimport uint64_t, uintptr_t

from microgradc.engine.value cimport *

cdef extern from *:
    """
    /* A number that is another one when a dict was written to; 0 if this Python does not say. */
    #if PY_VERSION_HEX < 0x030C0000
    #define mgc_dict_version(dict) (((PyDictObject *)(dict))->ma_version_tag)
    #else
    #define mgc_dict_version(dict) 0
    #endif
    #define mgc_is_exactly(thing, type) ((PyObject *)Py_TYPE(thing) == (PyObject *)(type))
    """
    uint64_t mgc_dict_version(PyObject *)
    bint mgc_is_exactly(PyObject *, object)

cdef extern from "Python.h":
    int Py_EnterRecursiveCall(const char *)   # not 0 after an error
    void Py_LeaveRecursiveCall()
    # Of pointers, which are borrowed: a reference to each entry would take half of the time.
    Py_ssize_t PyList_GET_SIZE(PyObject *)
    PyObject *PyList_GET_ITEM(PyObject *, Py_ssize_t)
    Py_ssize_t PyTuple_GET_SIZE(PyObject *)
    PyObject *PyTuple_GET_ITEM(PyObject *, Py_ssize_t)
    Py_ssize_t PyDict_GET_SIZE(PyObject *)
    bint PyDict_Next(PyObject *, Py_ssize_t *, PyObject **, PyObject **)


def neuron_outputs(x, rows, biases, operations):
    """Return `linear(x, rows, biases)`, to each entry of which the operation with that number is applied; 0 for none.

    rows and biases are lists of one length, operations as many bytes. The number of an operation is its place in
    `engine.TABLE`, from 1.
    """
    return dot_products(x, rows, biases, operations)


def versions_of(list dicts not None) -> bytes:
    """Return what tells `is_current` at once that nobody wrote to the dicts, where Python counts that."""
    cdef bytearray versions = bytearray()
    cdef uint64_t version
    for attributes in dicts:
        version = mgc_dict_version(<PyObject *>attributes)
        versions += (<char *>&version)[:sizeof(version)]
    return bytes(versions)


def is_current(list before not None, object now, list watched not None, bytes versions not None) -> bool:
    """Return whether lists have the same entries, and dicts the values that they had: by identity.

    Args:
        before, now: the lists.
        watched: pairs of a dict and the tuple of its values.
        versions: of these dicts, as `versions_of` gave them.
    """
    cdef PyObject *key
    cdef PyObject *value
    cdef PyObject *pair
    cdef PyObject *values
    cdef Py_ssize_t i, k, place, count = len(before)
    cdef const uint64_t *known = <const uint64_t *><const char *>versions
    cdef uint64_t version
    if type(now) is not list or PyList_GET_SIZE(<PyObject *>now) != count:
        return False
    for i in range(count):
        if PyList_GET_ITEM(<PyObject *>before, i) != PyList_GET_ITEM(<PyObject *>now, i):
            return False
    for i in range(PyList_GET_SIZE(<PyObject *>watched)):
        pair = PyList_GET_ITEM(<PyObject *>watched, i)
        version = mgc_dict_version(PyTuple_GET_ITEM(pair, 0))
        if version and version == known[i]:
            continue
        values = PyTuple_GET_ITEM(pair, 1)
        if PyDict_GET_SIZE(PyTuple_GET_ITEM(pair, 0)) != PyTuple_GET_SIZE(values):
            return False
        k = place = 0
        while PyDict_Next(PyTuple_GET_ITEM(pair, 0), &place, &key, &value):
            if value != PyTuple_GET_ITEM(values, k):
                return False
            k += 1
    return True


cdef class _Search:
    """Collects the parameters in the attributes of a module, and their names if wanted."""

    cdef object all_parameters      # Module.parameters: a class that has another one is asked
    cdef list values, names
    cdef set seen                   # Values, and the addresses of other things
    cdef list alive                 # the things at these addresses

    cdef bint is_new(self, object thing) except -1:
        cdef Py_ssize_t count = len(self.seen)
        if type(thing) is Value:
            self.seen.add(thing)
        else:
            self.seen.add(<uintptr_t><PyObject *>thing)
            self.alive.append(thing)
        return len(self.seen) > count

    cdef int visit(self, object thing, str name) except -1:
        if isinstance(thing, Value):
            if (<Value>thing).node.op == MGC_LEAF and self.is_new(thing):
                self.values.append(thing)
                if self.names is not None:
                    self.names.append(name)
        elif PyList_Check(thing) or PyTuple_Check(thing) or PyDict_Check(thing):
            self.enter(thing, thing, name)
        elif PyFloat_Check(thing) or PyLong_Check(thing) or PyUnicode_Check(thing) or PyType_Check(thing):
            return 0
        elif thing is not None:
            self.visit_object(thing, name)
        return 0

    cdef int visit_object(self, object thing, str name) except -1:
        parameters = getattr(type(thing), "parameters", None)
        if parameters is self.all_parameters:
            self.enter(thing, thing.__dict__, name, True)
        elif callable(parameters):
            named = self.names is not None and hasattr(thing, "named_parameters")
            self.enter(thing, dict(thing.named_parameters()) if named else list(thing.parameters()), name)
        elif getattr(thing, "dtype", None) == object:
            self.enter(thing, thing.tolist(), name)
        return 0

    cdef int enter(self, object thing, object entries, str name, bint only_public=False) except -1:
        """Visit the entries of a container, or the public ones of a module's dict, unless they have been visited."""
        if not self.is_new(thing):
            return 0
        if Py_EnterRecursiveCall(b" while looking for parameters"):
            return -1
        try:
            if PyDict_Check(entries):
                for key, entry in (<dict>entries).items():
                    if not (only_public and type(key) is str and (<str>key).startswith("_")):
                        self.visit(entry, self.extend(name, key))
            elif PyList_Check(entries) or PyTuple_Check(entries):
                for i, entry in enumerate(entries):
                    self.visit(entry, self.extend(name, i))
            else:
                self.visit(entries, name)
        finally:
            Py_LeaveRecursiveCall()
        return 0

    cdef str extend(self, str name, object key):
        if self.names is None:
            return None
        return f"{name}.{key}" if name else str(key)


cdef class _ModuleSearch(_Search):
    """Collects the modules in the attributes of a module, those with a method `parameters` of their own too."""

    cdef object kind                # Module
    cdef list modules

    cdef int visit(self, object thing, str name) except -1:
        return 0 if type(thing) is Value else _Search.visit(self, thing, name)

    cdef int visit_object(self, object thing, str name) except -1:
        if isinstance(thing, self.kind):
            if <uintptr_t><PyObject *>thing not in self.seen:
                self.modules.append(thing)
            self.enter(thing, thing.__dict__, name, True)
        elif getattr(thing, "dtype", None) == object:
            self.enter(thing, thing.tolist(), name)
        return 0


def find_modules(module, kind):
    """Return a module and all modules in its attributes, each once, in the order of the attributes.

    Args:
        module: an object with attributes.
        kind: the class of modules.
    """
    cdef _ModuleSearch search = _ModuleSearch.__new__(_ModuleSearch)
    search.kind, search.modules = kind, []
    search.values, search.names, search.seen, search.alive = [], None, set(), []
    search.visit_object(module, None)
    return search.modules


def find_parameters(module, all_parameters, bint with_names):
    """Return the leaves in the attributes of a module, in their order, and their names.

    Args:
        module: an object with attributes.
        all_parameters: the function `parameters` of the class of modules whose attributes are searched.
        with_names: whether names are wanted.

    Returns:
        A list of Values, and a list of names such as 'layers.0.neurons.1.w.2', or None.
    """
    cdef _Search search = _Search.__new__(_Search)
    search.all_parameters = all_parameters
    search.values, search.names, search.seen, search.alive = [], [] if with_names else None, set(), []
    search.enter(module, getattr(module, "__dict__", {}), "", True)
    return search.values, search.names


def are_parameters(list rows not None) -> bool:
    """Return whether lists have Values, of no class of one's own, leaves, and none of them twice."""
    cdef PyObject *value
    cdef uintptr_t address, first = 0, last = 0
    cdef list runs = []                 # of rising addresses, which Values have that were made one after another
    cdef Py_ssize_t i
    for row in rows:
        for i in range(len(<list?>row)):      # without references: to write each count takes as long again
            value = PyList_GET_ITEM(<PyObject *>row, i)
            address = <uintptr_t>value
            if not mgc_is_exactly(value, Value) or mgc_node_of(value).op != MGC_LEAF:
                return False
            if address <= last:
                runs.append((first, last))
                first = address
            elif not first:
                first = address
            last = address
    runs.append((first, last))
    runs.sort()
    if all([runs[i][1] < runs[i + 1][0] for i in range(len(runs) - 1)]):
        return True
    return len(set().union(*rows)) == sum(map(len, rows))
