/* From a row of ops.h to what Python calls: its name, and its documentation. */
#ifndef MGC_DEFINE_H
#define MGC_DEFINE_H

#include <Python.h>
#include <string.h>

#include "engine/ops.h"

/* Whether a row is called by its name alone, and so made into a method and a function: it has one operand, and Python
   has no syntax of its own for it. */
static inline int mgc_is_called_by_name(int op)
{
    return op > MGC_LEAF && mgc_rows[op].operands == 1 && op != MGC_NEG && op != MGC_ABS;
}

/* Name and document the callable of a row. The documentation begins with the signature, as Argument Clinic has it,
   which is where inspect.signature finds it. The text lives as long as the process, as what refers to it may. Returns
   -1 with an exception. */
static int mgc_define(PyMethodDef *callable, int op, const char *signature)
{
    const char *const parts[] = {mgc_rows[op].name, signature, "\n--\n\n", mgc_rows[op].doc};
    const size_t length = strlen(mgc_rows[op].name);
    size_t size = length + 2;
    for (size_t i = 0; i < Py_ARRAY_LENGTH(parts); i++) size += strlen(parts[i]);
    char *text = PyMem_Malloc(size), *end = text;
    if (!text) {
        PyErr_NoMemory();
        return -1;
    }
    for (size_t i = 0; i <= length; i++) *end++ = Py_TOLOWER(parts[0][i]);
    callable->ml_name = text;
    callable->ml_doc = end;
    memcpy(end, text, length);
    end += length;
    for (size_t i = 1; i < Py_ARRAY_LENGTH(parts); i++) {
        memcpy(end, parts[i], strlen(parts[i]) + 1);
        end += strlen(parts[i]);
    }
    return 0;
}

#endif
