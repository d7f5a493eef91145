/* How Value is called, and the names in a call. Changes when it has other arguments.
 *
 * What Cython says of an argument that there is not does not say what to do. Its `__init__` is left as it is: the names
 * are looked at before, and only of a class whose `__init__` it is.
 *
 * A heap type has no tp_vectorcall of Cython's before Python 3.14, and from then on one that does not see an `__init__`
 * that somebody puts in the place of ours. So there is one here, for a number alone or with a label: without it,
 * Value(2.0) takes a third longer.
 */
#ifndef MGC_ARGUMENTS_H
#define MGC_ARGUMENTS_H

#include "engine/making.h"

static initproc mgc_init;

/* Raises a TypeError for a name that is not one of an argument (arguments.pxi). Returns -1 with an exception. */
static int mgc_check_names(PyObject *names);

/* Gives a Value its label. Returns -1 with an exception. */
static int mgc_set_label(PyObject *value, PyObject *label);

/* tp_new */
static PyObject *mgc_make_by_name(PyTypeObject *type, PyObject *arguments, PyObject *names)
{
    if (names && type->tp_init == mgc_init && mgc_check_names(names) < 0) return NULL;
    return mgc_make(type, arguments, names);
}

/* Call a class as if it had no tp_vectorcall. */
static PyObject *mgc_call_by_slots(PyObject *type, PyObject *const *arguments, Py_ssize_t count, PyObject *names)
{
    PyObject *by_place = PyTuple_New(count), *by_name = names ? PyDict_New() : NULL, *result = NULL;
    if (!by_place || (names && !by_name)) goto done;
    for (Py_ssize_t i = 0; i < count; i++) PyTuple_SET_ITEM(by_place, i, Py_NewRef(arguments[i]));
    for (Py_ssize_t i = 0; names && i < PyTuple_GET_SIZE(names); i++)
        if (PyDict_SetItem(by_name, PyTuple_GET_ITEM(names, i), arguments[count + i]) < 0) goto done;
    result = PyType_Type.tp_call(type, by_place, by_name);
done:
    Py_XDECREF(by_place);
    Py_XDECREF(by_name);
    return result;
}

/* tp_vectorcall, which subclasses do not inherit */
static PyObject *mgc_call(PyObject *type, PyObject *const *arguments, size_t count, PyObject *names)
{
    const PyTypeObject *t = (PyTypeObject *)type;
    if (PyVectorcall_NARGS(count) == 1 && PyFloat_CheckExact(arguments[0]) && t->tp_init == mgc_init
        && t->tp_new == mgc_make_by_name) {
        if (!names) return mgc_new_leaf(PyFloat_AS_DOUBLE(arguments[0]));
        if (PyTuple_GET_SIZE(names) == 1 && PyUnicode_CheckExact(arguments[1])
            && PyUnicode_CompareWithASCIIString(PyTuple_GET_ITEM(names, 0), "label") == 0) {
            PyObject *leaf = mgc_new_leaf(PyFloat_AS_DOUBLE(arguments[0]));
            if (leaf && mgc_set_label(leaf, arguments[1]) < 0) Py_CLEAR(leaf);
            return leaf;
        }
    }
    return mgc_call_by_slots(type, arguments, PyVectorcall_NARGS(count), names);
}

static int mgc_install_check_of_names(PyTypeObject *type)
{
    mgc_init = type->tp_init;
    type->tp_new = mgc_make_by_name;
    type->tp_vectorcall = mgc_call;
    return 0;
}

#endif
