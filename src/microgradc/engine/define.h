/* From a row of ops.h to what Python calls: its name, and its documentation. */
#ifndef MGC_DEFINE_H
#define MGC_DEFINE_H

#include <Python.h>
#include <string.h>

#include "engine/ops.h"

/* Whether a row is called by its name alone, and so made into a method and a function: of one operand, without a syntax of Python's. */
static inline int mgc_is_called_by_name(int op)
{
    return op > MGC_LEAF && mgc_rows[op].operands == 1 && op != MGC_NEG && op != MGC_ABS;
}

/* Name and document the callable of a row. The documentation begins with the signature, as Argument Clinic has it, which is where
   inspect.signature finds it. The text lives as long as the process, as what refers to it may. Returns -1 with an exception. */
static int mgc_define(PyMethodDef *callable, int op, const char *signature)
{
    const char *name = mgc_rows[op].name, *doc = mgc_rows[op].doc;
    const size_t length = strlen(name), size = length + strlen(signature) + sizeof "\n--\n\n" + strlen(doc);
    char *lower = PyMem_Malloc(length + 1 + size);
    if (!lower) {
        PyErr_NoMemory();
        return -1;
    }
    for (size_t i = 0; i <= length; i++) lower[i] = Py_TOLOWER(name[i]);
    PyOS_snprintf(lower + length + 1, size, "%s%s\n--\n\n%s", lower, signature, doc);
    callable->ml_name = lower;
    callable->ml_doc = lower + length + 1;
    return 0;
}

#endif
