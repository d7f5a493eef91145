/* The names in a call of Value, where it is called by name. Changes when it has other arguments.
 *
 * What Cython says of an argument that there is not does not say what to do. Its `__init__` is left as it is: the names
 * are looked at before, and only of a class whose `__init__` it is.
 */
#ifndef MGC_ARGUMENTS_H
#define MGC_ARGUMENTS_H

#include "engine/memory.h"

static initproc mgc_init;

/* Raises a TypeError for a name that is not one of an argument (arguments.pxi). Returns -1 with an exception. */
static int mgc_check_names(PyObject *names);

/* tp_new */
static PyObject *mgc_make_by_name(PyTypeObject *type, PyObject *arguments, PyObject *names)
{
    if (names && type->tp_init == mgc_init && mgc_check_names(names) < 0) return NULL;
    return mgc_make(type, arguments, names);
}

static int mgc_install_check_of_names(PyTypeObject *type)
{
    mgc_init = type->tp_init;
    type->tp_new = mgc_make_by_name;
    return 0;
}

#endif
