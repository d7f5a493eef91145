/* New nodes over two operands or fewer: the results of the operators. Changes with what a new node holds. */
#ifndef MGC_MAKING_H
#define MGC_MAKING_H

#include "engine/memory.h"
#include "engine/modes.h"
#include "engine/ops.h"

static inline mgc_operand mgc_constant(double x) { return (mgc_operand){.number = x}; }

static const mgc_operand mgc_nothing;

static inline PyObject *mgc_new_leaf(double data)
{
    return mgc_new(MGC_LEAF, MGC_INITIALISED, mgc_nothing, mgc_nothing, data);
}

static inline void mgc_make_truth(mgc_node *leaf) { leaf->flags |= MGC_TRUTH; }

/* The result of an operation while gradients are disabled. */
static PyObject *mgc_new_without_graph(int op, double data)
{
    return mgc_new(MGC_LEAF, MGC_INITIALISED | (mgc_gives_truth(op) ? MGC_TRUTH : 0), mgc_nothing, mgc_nothing, data);
}

/* Shows a new node to who asked for it (observing.pxi), and the operation that made it, which the node may not
   remember. Returns -1 with an exception. */
static int mgc_observe(PyObject *made, mgc_node *operation);

/* The same of a node that was just made: gives up the reference if there is an exception, and returns NULL. */
MGC_RARELY static PyObject *mgc_observed(PyObject *made, mgc_node *operation)
{
    if (!made || !(mgc_noting() || mgc_detecting()) || mgc_observe(made, operation) == 0) return made;
    Py_DECREF(made);
    return NULL;
}

/* The result of an operation in a mode. The operands are borrowed. */
MGC_RARELY static PyObject *mgc_new_in_mode(unsigned op, unsigned flags, mgc_operand x, mgc_operand y, double f)
{
    mgc_node operation = {.data = f, .op = op, .flags = flags, .x = x, .y = y};
    if (!mgc_grad_enabled()) return mgc_observed(mgc_new_without_graph((int)op, f), &operation);
    if (flags & MGC_X_NODE) mgc_own(x.node);
    if (flags & MGC_Y_NODE) mgc_own(y.node);
    return mgc_observed(mgc_new(op, flags, x, y, f), &operation);
}

/* The results of the table's operations on two operands or fewer. `integer` says that the number was an int. */
static PyObject *mgc_new_unary_of(int op, mgc_node *x, double f)
{
    const unsigned flags = MGC_X_NODE | (x->flags & MGC_TRACKED);
    if (mgc_modes_anywhere) return mgc_new_in_mode(op, flags, (mgc_operand){.node = x}, mgc_nothing, f);
    return mgc_new(op, flags, mgc_own(x), mgc_nothing, f);
}

static inline PyObject *mgc_new_unary(int op, mgc_node *x)
{
    return mgc_new_unary_of(op, x, mgc_value(op, x->data, 0, 0));
}

static inline PyObject *mgc_new_binary(int op, mgc_node *x, mgc_node *y)
{
    double f = mgc_value(op, x->data, y->data, 0);
    const unsigned flags = MGC_X_NODE | MGC_Y_NODE | ((x->flags | y->flags) & MGC_TRACKED);
    if (mgc_modes_anywhere) return mgc_new_in_mode(op, flags, (mgc_operand){.node = x}, (mgc_operand){.node = y}, f);
    return mgc_new(op, flags, mgc_own(x), mgc_own(y), f);
}

static inline PyObject *mgc_new_right_number(int op, mgc_node *x, double y, int integer)
{
    double f = mgc_value_with_number(op, x->data, y);
    const unsigned flags = MGC_X_NODE | (x->flags & MGC_TRACKED) | (integer ? MGC_INTEGER : 0);
    if (mgc_modes_anywhere) return mgc_new_in_mode(op, flags, (mgc_operand){.node = x}, mgc_constant(y), f);
    return mgc_new(op, flags, mgc_own(x), mgc_constant(y), f);
}

static inline PyObject *mgc_new_left_number(int op, double x, mgc_node *y, int integer)
{
    double f = mgc_value(op, x, y->data, 0);
    const unsigned flags = MGC_Y_NODE | (y->flags & MGC_TRACKED) | (integer ? MGC_INTEGER : 0);
    if (mgc_modes_anywhere) return mgc_new_in_mode(op, flags, mgc_constant(x), (mgc_operand){.node = y}, f);
    return mgc_new(op, flags, mgc_constant(x), mgc_own(y), f);
}

#endif
