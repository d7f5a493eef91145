/* The functions of one operand: one for each such row of ops.h. */
#ifndef MGC_FUNCTIONS_H
#define MGC_FUNCTIONS_H

#include "engine/define.h"

/* The function of a row, of anything (functions.pyx). */
static PyObject *mgc_map_unary(int op, PyObject *x);

/* The argument x of a call, by its place or by its name; NULL with a TypeError. */
static PyObject *mgc_argument_x(int op, PyObject *const *arguments, Py_ssize_t count, PyObject *names);

#define FUNCTION_1(id) \
static PyObject *mgc_function_##id(PyObject *Py_UNUSED(module), PyObject *const *arguments, Py_ssize_t count, \
                                   PyObject *names) \
{ \
    PyObject *x = count == 1 && !names ? *arguments : mgc_argument_x(MGC_##id, arguments, count, names); \
    return x ? mgc_map_unary(MGC_##id, x) : NULL; \
}
#define FUNCTION_2(id)
#define FUNCTION_3(id)
#define ROW(id, op, n, params, value, gx, gy, gz, doc) FUNCTION_##n(id)
MGC_TABLE(ROW)
#undef ROW
#undef FUNCTION_1
#undef FUNCTION_2
#undef FUNCTION_3

static PyMethodDef mgc_functions[] = {    /* of all rows; those of one operand are named when they are installed */
    {0},
#define FUNCTION_1(id) \
    .ml_meth = (PyCFunction)(void (*)(void))mgc_function_##id, .ml_flags = METH_FASTCALL | METH_KEYWORDS
#define FUNCTION_2(id) 0
#define FUNCTION_3(id) 0
#define ROW(id, op, n, params, value, gx, gy, gz, doc) {FUNCTION_##n(id)},
    MGC_TABLE(ROW)
#undef ROW
#undef FUNCTION_1
#undef FUNCTION_2
#undef FUNCTION_3
};

static PyObject *mgc_argument_x(int op, PyObject *const *arguments, Py_ssize_t count, PyObject *names)
{
    const char *function = mgc_functions[op].ml_name;
    const Py_ssize_t named = names ? PyTuple_GET_SIZE(names) : 0;
    for (Py_ssize_t i = 0; i < named; i++) {
        PyObject *name = PyTuple_GET_ITEM(names, i);
        if (PyUnicode_CompareWithASCIIString(name, "x"))
            return PyErr_Format(PyExc_TypeError, "%s() got an unexpected keyword argument '%U'", function, name);
    }
    if (count + named != 1)
        return PyErr_Format(PyExc_TypeError, "%s() takes exactly 1 positional argument (%zd given)", function,
                            count + named);
    return *arguments;    /* those by name follow those by place */
}

/* Put the functions into the namespace of a module. Returns -1 with an exception. */
static int mgc_install_functions(PyObject *namespace, PyObject *module_name)
{
    for (int op = 0; op < MGC_TABLE_END; op++) {
        if (!mgc_is_called_by_name(op)) continue;
        if (mgc_define(&mgc_functions[op], op, "(x)")) return -1;
        PyObject *function = PyCFunction_NewEx(&mgc_functions[op], NULL, module_name);
        const int failed = !function || PyDict_SetItemString(namespace, mgc_functions[op].ml_name, function);
        Py_XDECREF(function);
        if (failed) return -1;
    }
    return 0;
}

#endif
