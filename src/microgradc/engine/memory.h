/* Who owns what: the allocation, release and garbage collection of nodes. Only engine.pyx includes this file.
 *
 * A node owns one reference to each operand that is a node. Nodes carry a header of the cyclic garbage collector, but are not
 * shown to it: a graph made by the operators has no cycles, and being tracked would make a node three times as expensive. What can
 * close a cycle is a Python closure that somebody assigns to a node; that node, and those made from it later (which the closure may
 * refer to), are tracked.
 *
 * Everything here runs with the GIL held.
 */
#ifndef MGC_MEMORY_H
#define MGC_MEMORY_H

#include "engine/node.h"
#include "engine/slab.h"
#include "engine/wide.h"

static PyTypeObject *mgc_type;          /* microgradc.Value */

#ifdef _MSC_VER
#define MGC_THREAD_LOCAL __declspec(thread)
#else
#define MGC_THREAD_LOCAL _Thread_local
#endif

/* Nodes whose release waits until those before them are done, so that a chain of any length is released in constant stack. They are
   linked through the memory of `grad`, which a dead node does not need. Of this thread: what a node carries may run Python code when it
   goes, and other threads meanwhile. */
static MGC_THREAD_LOCAL mgc_object *mgc_pending;
static MGC_THREAD_LOCAL int mgc_draining;

/* How many no_grad() blocks are open: in this thread, which they concern, and in all, so that nobody pays for looking while there are
   none. */
static Py_ssize_t mgc_no_grad_anywhere;
static MGC_THREAD_LOCAL Py_ssize_t mgc_no_grad_here;

static inline int mgc_grad_enabled(void) { return !mgc_no_grad_anywhere || !mgc_no_grad_here; }

static inline void mgc_disable_grad(int by)
{
    mgc_no_grad_anywhere += by;
    mgc_no_grad_here += by;
}

/* Close the no_grad() blocks of this thread, and return how many there were. */
static inline int mgc_enable_grad(void)
{
    int blocks = (int)mgc_no_grad_here;
    mgc_disable_grad(-blocks);
    return blocks;
}

/* Whether this thread traces a function (tracing.pxi); the same scheme. */
static Py_ssize_t mgc_tracing_anywhere;
static MGC_THREAD_LOCAL Py_ssize_t mgc_tracing_here;

static inline int mgc_tracing(void) { return mgc_tracing_anywhere && mgc_tracing_here; }

static inline void mgc_trace(int by)
{
    mgc_tracing_anywhere += by;
    mgc_tracing_here += by;
}

/* In a forked child there is this thread alone. */
static inline void mgc_forget_other_threads(void)
{
    mgc_no_grad_anywhere = mgc_no_grad_here;
    mgc_tracing_anywhere = mgc_tracing_here;
}

static inline mgc_object **mgc_link(mgc_object *o) { return (mgc_object **)&o->node.grad; }

static inline void mgc_free(mgc_object *o)
{
    PyTypeObject *type = Py_TYPE((PyObject *)o);
    if (type == mgc_type) {
        mgc_give_place_back(o);
    } else {
        PyObject_GC_Del(o);
        Py_DECREF((PyObject *)type);   /* taken by mgc_dealloc */
    }
}

/* Give up a reference to a node. While nodes are released, `pending` is their queue; else it is NULL. */
static inline void mgc_drop(mgc_node *n, mgc_object **pending)
{
    PyObject *o = mgc_value_of(n);
    if (pending && Py_REFCNT(o) == 1 && Py_IS_TYPE(o, mgc_type)) {
        if (n->flags & MGC_TRACKED) PyObject_GC_UnTrack(o);
        *mgc_link((mgc_object *)o) = *pending;
        *pending = (mgc_object *)o;
    } else {
        Py_DECREF(o);
    }
}

static inline void mgc_drop_operands_of(mgc_wide *w, mgc_object **pending)
{
    if (w->keeper) Py_DECREF(w->keeper);
    else for (Py_ssize_t i = 0; i < w->count; i++)
        if (w->is_node[i]) mgc_drop(w->operands[i].node, pending);
    PyMem_Free(w);
}

static inline void mgc_drop_wide(mgc_wide *w) { mgc_drop_operands_of(w, NULL); }

static inline void mgc_drop_operands(mgc_node *n, mgc_object **pending)
{
    if (n->flags & MGC_WIDE) mgc_drop_operands_of(n->x.wide, pending);
    if (n->flags & MGC_X_NODE) mgc_drop(n->x.node, pending);
    if (n->flags & MGC_Y_NODE) mgc_drop(n->y.node, pending);
}

/* The usual case for a temporary: nothing else goes with it. Returns 0, and has done nothing, if it is not that case. */
static inline int mgc_free_alone(mgc_object *o)
{
    mgc_node *n = &o->node;
    if (n->flags & MGC_WIDE || o->baggage != Py_None || !Py_IS_TYPE((PyObject *)o, mgc_type)) return 0;
    PyObject *x = n->flags & MGC_X_NODE ? mgc_value_of(n->x.node) : NULL;
    PyObject *y = n->flags & MGC_Y_NODE ? mgc_value_of(n->y.node) : NULL;
    Py_ssize_t needed = x == y ? 3 : 2;   /* of v * v, both references go */
    if ((x && Py_REFCNT(x) < needed) || (y && Py_REFCNT(y) < needed)) return 0;
    Py_XDECREF(x);
    Py_XDECREF(y);
    Py_DECREF(Py_None);
    mgc_free(o);
    return 1;
}

/* tp_dealloc. Releasing an operand or baggage may come back here: it then only queues. */
static void mgc_dealloc(PyObject *self)
{
    mgc_object *o = (mgc_object *)self;
    if (!Py_IS_TYPE(self, mgc_type)) {
        PyObject_GC_UnTrack(self);
        Py_INCREF((PyObject *)Py_TYPE(self));   /* subtype_dealloc drops the type before we free the object */
    } else if (o->node.flags & MGC_TRACKED) {
        PyObject_GC_UnTrack(self);
    }
    if (mgc_free_alone(o)) return;
    if (mgc_draining) {
        *mgc_link(o) = mgc_pending;
        mgc_pending = o;
        return;
    }
    mgc_draining = 1;
    *mgc_link(o) = NULL;
    mgc_object *queue = o;      /* and mgc_pending, for those that come through tp_dealloc */
    for (;;) {
        if (!(o = queue)) {
            if (!(queue = mgc_pending)) break;
            mgc_pending = NULL;
            continue;
        }
        queue = *mgc_link(o);
        mgc_prefetch_older(o);
        mgc_drop_operands(&o->node, &queue);
        Py_DECREF(o->baggage);
        mgc_free(o);
    }
    mgc_draining = 0;
}

/* Identity, as object.__hash__ has it: the low bits of an address are all alike. */
static inline Py_hash_t mgc_hash(PyObject *self)
{
    uintptr_t address = (uintptr_t)self;
    return (Py_hash_t)(address >> 4 | address << (8 * sizeof address - 4));
}

/* tp_alloc: `Value(...)` itself takes the same nodes as the operators. */
static PyObject *mgc_alloc(PyTypeObject *type, Py_ssize_t items)
{
    if (type != mgc_type) return PyType_GenericAlloc(type, items);
    mgc_object *o = mgc_take_place(mgc_type);
    if (o) memset(&o->node, 0, sizeof o->node);
    return (PyObject *)o;
}

static int mgc_traverse(PyObject *self, visitproc visit, void *arg)
{
    mgc_object *o = (mgc_object *)self;
    mgc_node *n = &o->node;
    Py_ssize_t count = n->flags & MGC_WIDE ? n->x.wide->count : 2;
    Py_VISIT(o->baggage);
    if (n->flags & MGC_WIDE && n->x.wide->keeper) Py_VISIT(n->x.wide->keeper);
    else for (Py_ssize_t i = 0; i < count; i++)
        if (mgc_operand_is_node(n, i)) Py_VISIT(mgc_value_of(mgc_operand_at(n, i)->node));
    return 0;
}

/* tp_clear: what is left is a leaf. */
static int mgc_clear(PyObject *self)
{
    mgc_object *o = (mgc_object *)self;
    mgc_node old = o->node;
    PyObject *baggage = o->baggage;
    o->node.op = MGC_LEAF;
    o->node.flags &= MGC_TRACKED | MGC_INITIALISED;
    o->baggage = Py_NewRef(Py_None);
    mgc_drop_operands(&old, NULL);
    Py_DECREF(baggage);
    return 0;
}

/* Take over the slots that Cython filled. Returns -1 with an exception if the layouts differ. */
static int mgc_install_slots(PyTypeObject *type)
{
    if (type->tp_basicsize != sizeof(mgc_object)) {
        PyErr_SetString(PyExc_SystemError, "node.h and value.pxd disagree about the layout of a Value");
        return -1;
    }
    mgc_type = type;
    type->tp_name = "microgradc.engine.Value";   /* where users find it: its `__module__`, and what pickles refer to */
    type->tp_traverse = mgc_traverse;
    if (!mgc_header_is_as_expected(type)) {
        if (!PyErr_Occurred())
            PyErr_SetString(PyExc_SystemError, "this Python's garbage collector has another object header than slab.h");
        return -1;
    }
    type->tp_alloc = mgc_alloc;
    type->tp_dealloc = mgc_dealloc;
    type->tp_clear = mgc_clear;
    return 0;
}

/* Show a node to the garbage collector. */
static inline void mgc_track(mgc_node *n)
{
    PyObject *o = mgc_value_of(n);
    n->flags |= MGC_TRACKED;
    if (!PyObject_GC_IsTracked(o)) PyObject_GC_Track(o);
}

/* A new node, which takes over the references in x and y. NULL with MemoryError; the references are then dropped. */
static inline PyObject *mgc_new(unsigned op, unsigned flags, mgc_operand x, mgc_operand y, double data)
{
    mgc_node n = {.data = data, .op = op, .flags = flags, .x = x, .y = y};
    mgc_object *o = mgc_take_place(mgc_type);
    if (!o) {
        mgc_drop_operands(&n, NULL);
        return NULL;
    }
    o->node = n;
    o->baggage = Py_NewRef(Py_None);
    if (flags & MGC_TRACKED) PyObject_GC_Track(o);
    return (PyObject *)o;
}

static inline mgc_operand mgc_own(mgc_node *n)
{
    Py_INCREF(mgc_value_of(n));
    return (mgc_operand){.node = n};
}

static inline mgc_operand mgc_constant(double x) { return (mgc_operand){.number = x}; }

static const mgc_operand mgc_nothing;

static inline PyObject *mgc_new_leaf(double data)
{
    return mgc_new(MGC_LEAF, MGC_INITIALISED, mgc_nothing, mgc_nothing, data);
}

/* The results of the table's operations on two operands or fewer. `integer` says that the number was an int. */
static PyObject *mgc_new_unary_of(int op, mgc_node *x, double f)
{
    if (!mgc_grad_enabled()) return mgc_new_leaf(f);
    return mgc_new(op, MGC_X_NODE | (x->flags & MGC_TRACKED), mgc_own(x), mgc_nothing, f);
}

static inline PyObject *mgc_new_unary(int op, mgc_node *x)
{
    return mgc_new_unary_of(op, x, mgc_value(op, x->data, 0, 0));
}

static inline PyObject *mgc_new_binary(int op, mgc_node *x, mgc_node *y)
{
    double f = mgc_value(op, x->data, y->data, 0);
    if (!mgc_grad_enabled()) return mgc_new_leaf(f);
    unsigned flags = MGC_X_NODE | MGC_Y_NODE | ((x->flags | y->flags) & MGC_TRACKED);
    return mgc_new(op, flags, mgc_own(x), mgc_own(y), f);
}

static inline PyObject *mgc_new_right_number(int op, mgc_node *x, double y, int integer)
{
    double f = mgc_value(op, x->data, y, 0);
    if (!mgc_grad_enabled()) return mgc_new_leaf(f);
    unsigned flags = MGC_X_NODE | (x->flags & MGC_TRACKED) | (integer ? MGC_INTEGER : 0);
    return mgc_new(op, flags, mgc_own(x), mgc_constant(y), f);
}

static inline PyObject *mgc_new_left_number(int op, double x, mgc_node *y, int integer)
{
    double f = mgc_value(op, x, y->data, 0);
    if (!mgc_grad_enabled()) return mgc_new_leaf(f);
    unsigned flags = MGC_Y_NODE | (y->flags & MGC_TRACKED) | (integer ? MGC_INTEGER : 0);
    return mgc_new(op, flags, mgc_constant(x), mgc_own(y), f);
}

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

/* A block over leaves without closures that a keeper owns; the local gradients are copied. */
static inline mgc_wide *mgc_new_shared(Py_ssize_t count, PyObject *keeper, mgc_operand *operands, unsigned char *is_node, const double *local)
{
    mgc_wide *w = PyMem_Malloc(sizeof(mgc_wide) + (size_t)count * sizeof(double));
    if (!w) {
        PyErr_NoMemory();
        return NULL;
    }
    *w = (mgc_wide){.count = count, .is_node = is_node, .operands = operands, .keeper = Py_NewRef(keeper), .closures = mgc_closures};
    w->local = memcpy(w + 1, local, (size_t)count * sizeof(double));
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

/* Make an operand of what is a Value or float exactly, where none is yet; read its number, add its flags, and return 1; else return 0. */
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

/* The first pairs of a dot product, w0 x0 w1 x1 …, as long as they are Values or floats exactly: makes them operands and adds their
   products to *total, in one go. Returns how many pairs that were; if fewer than count, mgc_clear_operands comes next. */
static inline Py_ssize_t mgc_put_products(mgc_wide *block, PyObject *const *w, PyObject *const *x, Py_ssize_t count, double *total)
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

/* A node over a block, which it takes over. */
static inline PyObject *mgc_new_over(int op, mgc_wide *w, double data)
{
    if (!mgc_grad_enabled()) {
        mgc_drop_wide(w);
        return mgc_new_leaf(data);
    }
    return mgc_new(op, MGC_WIDE | (w->flags & MGC_TRACKED), (mgc_operand){.wide = w}, mgc_nothing, data);
}

#endif
