/* Blocks of operands, and the nodes over them. Changes with how a block is laid out and filled. */
#ifndef MGC_BLOCKS_H
#define MGC_BLOCKS_H

#include "engine/making.h"
#include "engine/memory.h"
#include "engine/node.h"
#include "engine/ops.h"

/* A block for `count` operands, no nodes until somebody fills them in; with room for local gradients if asked. */
static inline mgc_wide *mgc_new_wide(Py_ssize_t count, int with_local)
{
    size_t slots = (size_t)count * (with_local ? 2 : 1);
    mgc_wide *w = PyMem_Malloc(sizeof(mgc_wide) + slots * sizeof(mgc_operand) + (size_t)count);
    if (!w) {
        PyErr_NoMemory();
        return NULL;
    }
    w->count = count;
    w->flags = 0;
    w->operands = (mgc_operand *)(w + 1);
    w->local = with_local ? (double *)(w->operands + count) : NULL;
    w->is_node = (unsigned char *)(w->operands + slots);
    w->keeper = NULL;
    memset(w->is_node, 0, (size_t)count);
    return w;
}

/* How many times a closure was assigned to a node. */
static Py_ssize_t mgc_closures;

static inline void mgc_closures_assigned(void) { mgc_closures++; }

/* A block over leaves without closures that a keeper owns; the local gradients are copied, if there are any. */
static inline mgc_wide *mgc_new_shared(Py_ssize_t count, PyObject *keeper, mgc_operand *operands,
                                       unsigned char *is_node, const double *local)
{
    mgc_wide *w = PyMem_Malloc(sizeof(mgc_wide) + (local ? (size_t)count * sizeof(double) : 0));
    if (!w) {
        PyErr_NoMemory();
        return NULL;
    }
    *w = (mgc_wide){.count = count, .is_node = is_node, .operands = operands, .keeper = mgc_own_keeper(keeper)};
    w->closures = mgc_closures;
    if (local) w->local = memcpy(w + 1, local, (size_t)count * sizeof(double));
    return w;
}

/* Whether a block has no operand that a sort without leaves would enter. */
static inline int mgc_is_over_leaves(const mgc_wide *w) { return w->keeper && w->closures == mgc_closures; }

static inline void mgc_set_node(mgc_wide *w, Py_ssize_t i, mgc_node *n)
{
    w->operands[i] = mgc_own(n);
    w->is_node[i] = 1;
    w->flags |= n->flags;
}

static inline void mgc_set_number(mgc_wide *w, Py_ssize_t i, double x)
{
    w->operands[i].number = x;
    w->is_node[i] = 0;
}

/* Make an operand of what is a Value or float exactly, where none is yet; read its number, add its flags, and return
   1; else return 0. */
static inline int mgc_put_and_read(mgc_wide *w, Py_ssize_t i, PyObject *o, double *x, unsigned *flags)
{
    if (Py_IS_TYPE(o, mgc_type)) {
        mgc_node *n = &((mgc_object *)o)->node;
        w->operands[i] = mgc_own(n);
        w->is_node[i] = 1;
        *flags |= n->flags;
        *x = n->data;
    } else if (PyFloat_CheckExact(o)) {
        w->operands[i].number = *x = PyFloat_AS_DOUBLE(o);
    } else {
        return 0;
    }
    return 1;
}

static inline int mgc_put_exact(mgc_wide *w, Py_ssize_t i, PyObject *o)
{
    double x;
    return mgc_put_and_read(w, i, o, &x, &w->flags);
}

/* The first pairs of a dot product, w0 x0 w1 x1 …, as long as they are Values or floats exactly: makes them operands
   and adds their products to *total, in one go. Returns how many pairs that were; if fewer than count,
   mgc_clear_operands comes next. */
static inline Py_ssize_t mgc_put_products(mgc_wide *block, PyObject *const *w, PyObject *const *x, Py_ssize_t count,
                                          double *total)
{
    double sum = *total, a, b;
    unsigned flags = block->flags;
    Py_ssize_t i;
    for (i = 0; i < count; i++) {
        if (!mgc_put_and_read(block, 2 * i, w[i], &a, &flags)) break;
        if (!mgc_put_and_read(block, 2 * i + 1, x[i], &b, &flags)) break;
        sum += a * b;
    }
    block->flags = flags;
    *total = sum;
    return i;
}

/* Let go of the first operands of a block. */
static inline void mgc_clear_operands(mgc_wide *w, Py_ssize_t count)
{
    for (Py_ssize_t i = 0; i < count; i++) {
        if (w->is_node[i]) mgc_drop(w->operands[i].node, NULL);
        mgc_set_number(w, i, 0);
    }
}

static inline int mgc_has_node(const mgc_wide *w) { return memchr(w->is_node, 1, (size_t)w->count) != NULL; }

/* A number among the operands becomes a node. */
static inline void mgc_replace_number(mgc_node *n, Py_ssize_t i, mgc_node *leaf)
{
    *mgc_operand_at(n, i) = mgc_own(leaf);
    if (n->flags & MGC_WIDE) n->x.wide->is_node[i] = 1;
    else n->flags |= i ? MGC_Y_NODE : MGC_X_NODE;
}

/* A leaf becomes a node over a block, which it takes over. Two operands or fewer go into the node itself. */
static inline void mgc_adopt(mgc_node *n, int op, unsigned flags, mgc_wide *w)
{
    n->op = (unsigned)op;
    if (op >= MGC_TABLE_END || w->count > 2) {
        n->flags |= flags | MGC_WIDE;
        n->x.wide = w;
        return;
    }
    n->flags |= flags | (w->is_node[0] ? MGC_X_NODE : 0);
    n->x = w->operands[0];
    if (w->count > 1) {
        n->flags |= w->is_node[1] ? MGC_Y_NODE : 0;
        n->y = w->operands[1];
    }
    PyMem_Free(w);
}

/* The same in a mode. */
MGC_RARELY static PyObject *mgc_new_over_in_mode(unsigned op, unsigned flags, mgc_wide *w, double data)
{
    mgc_node operation = {.data = data, .op = op, .flags = flags, .x = {.wide = w}};
    if (mgc_grad_enabled()) return mgc_observed(mgc_new(op, flags, operation.x, mgc_nothing, data), &operation);
    PyObject *made = mgc_observed(mgc_new_leaf(data), &operation);
    mgc_drop_wide(w);
    return made;
}

/* A node over a block, which it takes over. */
static inline PyObject *mgc_new_over(int op, mgc_wide *w, double data)
{
    const unsigned flags = MGC_WIDE | (w->flags & MGC_TRACKED);
    if (mgc_modes_anywhere) return mgc_new_over_in_mode((unsigned)op, flags, w, data);
    return mgc_new(op, flags, (mgc_operand){.wide = w}, mgc_nothing, data);
}

#endif
