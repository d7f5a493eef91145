/* The methods of Value that are operations of one operand: one for each such row of ops.h. */
#ifndef MGC_METHODS_H
#define MGC_METHODS_H

#include "engine/define.h"
#include "engine/making.h"

#define METHOD_1(id, value) \
static PyObject *mgc_method_##id(PyObject *self, PyObject *Py_UNUSED(nothing)) \
{ \
    mgc_node *node = &((mgc_object *)self)->node; \
    const double x = node->data; \
    return mgc_new_unary_of(MGC_##id, node, value); \
}
#define METHOD_2(id, value)
#define METHOD_3(id, value)
#define ROW(id, op, n, params, value, gx, gy, gz, doc) METHOD_##n(id, value)
MGC_TABLE(ROW)
#undef ROW
#undef METHOD_1
#undef METHOD_2
#undef METHOD_3

static PyMethodDef mgc_methods[] = {    /* of all rows; those of one operand are named when they are installed */
    {0},
#define METHOD_1(id) .ml_meth = mgc_method_##id, .ml_flags = METH_NOARGS
#define METHOD_2(id) 0
#define METHOD_3(id) 0
#define ROW(id, op, n, params, value, gx, gy, gz, doc) {METHOD_##n(id)},
    MGC_TABLE(ROW)
#undef ROW
#undef METHOD_1
#undef METHOD_2
#undef METHOD_3
};

/* NumPy's names, by which its functions of object arrays call them. */
static const char *const mgc_other_names[][2] = {
    {"arcsin", "asin"}, {"arccos", "acos"}, {"arctan", "atan"},
    {"arcsinh", "asinh"}, {"arccosh", "acosh"}, {"arctanh", "atanh"},
    {"lgamma", "gammaln"}, {"fabs", "__abs__"}, {"radians", "deg2rad"}, {"degrees", "rad2deg"},
};

/* Give the type its methods: method descriptors, which check the type of self. Returns -1 with an exception. */
static int mgc_install_methods(PyTypeObject *type)
{
    for (int op = 0; op < MGC_TABLE_END; op++) {
        if (!mgc_is_called_by_name(op)) continue;
        if (mgc_define(&mgc_methods[op], op, "($self, /)")) return -1;
        PyObject *method = PyDescr_NewMethod(type, &mgc_methods[op]);
        const int failed = !method || PyDict_SetItemString(type->tp_dict, mgc_methods[op].ml_name, method);
        Py_XDECREF(method);
        if (failed) return -1;
    }
    for (size_t i = 0; i < Py_ARRAY_LENGTH(mgc_other_names); i++) {
        PyObject *method = PyDict_GetItemString(type->tp_dict, mgc_other_names[i][1]);
        if (!method || PyDict_SetItemString(type->tp_dict, mgc_other_names[i][0], method)) return -1;
    }
    PyType_Modified(type);
    return 0;
}

#endif
