/* Who owns what: references to nodes are taken, and given back, here and nowhere else. Changes with ownership and
 * with what CPython asks of a type that takes part in garbage collection.
 *
 * A node owns one reference to each operand that is a node. Nodes carry a header of the cyclic garbage collector, but
 * are not shown to it: a graph made by the operators has no cycles, and being tracked would make a node three times
 * as expensive. Only a Python closure that somebody assigns to a node can close a cycle. So that node is tracked, and
 * with it those made from it later, to which the closure may refer.
 *
 * Everything here runs with the GIL held. Only value.pyx includes this file.
 */
#ifndef MGC_MEMORY_H
#define MGC_MEMORY_H

#include "engine/allocation.h"
#include "engine/modes.h"
#include "engine/node.h"

static PyTypeObject *mgc_type;          /* microgradc.Value */

/* A new reference to a node, for an operand. */
static inline mgc_operand mgc_own(mgc_node *n)
{
    Py_INCREF(mgc_value_of(n));
    return (mgc_operand){.node = n};
}

/* The same for what owns the operands of a block. */
static inline PyObject *mgc_own_keeper(PyObject *keeper) { return Py_NewRef(keeper); }

/* Nodes whose release waits until those before them are done, so that a chain of any length is released in constant
   stack. They are linked through the memory of `grad`, which a dead node does not need. Each thread has a list of its
   own: releasing what a node carries may run Python code, and meanwhile other threads run. */
static MGC_THREAD_LOCAL mgc_object *mgc_pending;
static MGC_THREAD_LOCAL int mgc_draining;

static inline mgc_object **mgc_link(mgc_object *o) { return (mgc_object **)&o->node.grad; }

static inline void mgc_free(mgc_object *o)
{
    PyTypeObject *type = Py_TYPE((PyObject *)o);
    if (type == mgc_type) {
        mgc_deallocate(o);
    } else {
        PyObject_GC_Del(o);
        Py_DECREF((PyObject *)type);   /* as the base of a heap type has to */
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

/* The usual case for a temporary: nothing else goes with it. Returns 0, and has done nothing, if it is not that case.
   */
static inline int mgc_free_alone(mgc_object *o)
{
    mgc_node *n = &o->node;
    if (n->flags & MGC_WIDE || o->baggage || !Py_IS_TYPE((PyObject *)o, mgc_type)) return 0;
    PyObject *x = n->flags & MGC_X_NODE ? mgc_value_of(n->x.node) : NULL;
    PyObject *y = n->flags & MGC_Y_NODE ? mgc_value_of(n->y.node) : NULL;
    Py_ssize_t needed = x == y ? 3 : 2;   /* of v * v, both references go */
    if ((x && Py_REFCNT(x) < needed) || (y && Py_REFCNT(y) < needed)) return 0;
    Py_XDECREF(x);
    Py_XDECREF(y);
    mgc_deallocate(o);
    return 1;
}

/* tp_dealloc. Releasing an operand or baggage may come back here: it then only queues. */
static void mgc_dealloc(PyObject *self)
{
    mgc_object *o = (mgc_object *)self;
    if (!Py_IS_TYPE(self, mgc_type)) {
        PyObject_GC_UnTrack(self);
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
        Py_XDECREF(o->baggage);
        mgc_free(o);
    }
    mgc_draining = 0;
}

/* tp_alloc: `Value(...)` itself takes the same nodes as the operators. */
static PyObject *mgc_alloc(PyTypeObject *type, Py_ssize_t items)
{
    if (type != mgc_type) return PyType_GenericAlloc(type, items);
    mgc_object *o = mgc_allocate(type);
    if (!o) return NULL;
    memset(&o->node, 0, sizeof o->node);
    o->baggage = NULL;
    return (PyObject *)o;
}

/* tp_new */
static PyObject *mgc_make(PyTypeObject *type, PyObject *Py_UNUSED(arguments), PyObject *Py_UNUSED(names))
{
    if (!(type->tp_flags & Py_TPFLAGS_IS_ABSTRACT)) return type->tp_alloc(type, 0);
    PyObject *nothing = PyTuple_New(0);
    PyObject *refused = nothing ? PyBaseObject_Type.tp_new(type, nothing, NULL) : NULL;   /* says what is abstract */
    Py_XDECREF(nothing);
    return refused;
}

/* tp_free. Not PyObject_GC_Del, which subclasses have: so CPython refuses to make one an instance of the other by
   assigning `__class__`. */
static void mgc_free_memory(void *o) { mgc_deallocate(o); }

static int mgc_traverse(PyObject *self, visitproc visit, void *arg)
{
    mgc_object *o = (mgc_object *)self;
    mgc_node *n = &o->node;
    Py_ssize_t count = n->flags & MGC_WIDE ? n->x.wide->count : 2;
    if (!Py_IS_TYPE(self, mgc_type)) Py_VISIT(Py_TYPE(self));   /* an exact Value does not count its type */
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
    o->baggage = NULL;
    mgc_drop_operands(&old, NULL);
    Py_XDECREF(baggage);
    return 0;
}

/* Take over the slots that Cython filled. Returns -1 with an exception if the layouts differ. */
static int mgc_install_slots(PyTypeObject *type)
{
    if (type->tp_basicsize != sizeof(mgc_object) || !(type->tp_flags & Py_TPFLAGS_HEAPTYPE)) {
        PyErr_SetString(PyExc_SystemError,
                        "node.h and value.pxd disagree about the layout of a Value, or it is not a heap type");
        return -1;
    }
    mgc_type = (PyTypeObject *)Py_NewRef((PyObject *)type);   /* for ever: exact Values do not count it */
    type->tp_name = "microgradc.engine.Value";   /* where users find it: its `__module__`, and what pickles refer to */
    type->tp_traverse = mgc_traverse;
    if (mgc_choose_allocation(type) < 0) return -1;
    type->tp_new = mgc_make;
    type->tp_alloc = mgc_alloc;
    type->tp_free = mgc_free_memory;
    type->tp_dealloc = mgc_dealloc;
    type->tp_clear = mgc_clear;
    return 0;
}

/* Counts what changes the data or the flags of a leaf that others than its constructor know: who keeps a copy of many
   leaves need not look at each to see that it holds. */
static uint64_t mgc_leaf_version = 1;

/* Show a node to the garbage collector. */
static inline void mgc_track(mgc_node *n)
{
    PyObject *o = mgc_value_of(n);
    n->flags |= MGC_TRACKED;
    if (n->op == MGC_LEAF && Py_REFCNT(o) > 1) mgc_leaf_version++;
    if (!PyObject_GC_IsTracked(o)) PyObject_GC_Track(o);
}

/* A new node, which takes over the references in x and y. NULL with MemoryError; the references are then dropped. */
static inline PyObject *mgc_new(unsigned op, unsigned flags, mgc_operand x, mgc_operand y, double data)
{
    mgc_node n = {.data = data, .op = op, .flags = flags, .x = x, .y = y};
    mgc_object *o = mgc_allocate(mgc_type);
    if (!o) {
        mgc_drop_operands(&n, NULL);
        return NULL;
    }
    o->node = n;
    o->baggage = NULL;
    if (flags & MGC_TRACKED) PyObject_GC_Track(o);
    return (PyObject *)o;
}

#endif
