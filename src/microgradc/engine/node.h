/* What a node is: its layout, and how its operands are read. Changes with the layout. */
#ifndef MGC_NODE_H
#define MGC_NODE_H

#include <Python.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/ops.h"

typedef struct mgc_node mgc_node;
typedef struct mgc_wide mgc_wide;

/* What a node was made from: another node (of which it owns a reference), a plain number, or a block of operands. */
typedef union {
    mgc_node *node;
    double number;
    mgc_wide *wide;
} mgc_operand;

struct mgc_node {
    double data;
    double grad;
    uint64_t op : 8;       /* a row of ops.h or wide.h; MGC_LEAF without operands */
    uint64_t flags : 8;
    uint64_t stamp : 48;   /* the last sort that entered this node */
    mgc_operand x, y;      /* up to two operands; the block x.wide under MGC_WIDE */
};

/* Three operands or more. One allocation: the operands, their kinds and, for custom nodes, their local gradients. */
struct mgc_wide {
    Py_ssize_t count;
    unsigned flags;             /* those of all operands that are nodes, put together */
    unsigned char *is_node;     /* for each operand: 1 for a node, 0 for a number */
    double *local;              /* d result / d operand, or NULL */
    mgc_operand *operands;
    PyObject *keeper;           /* NULL; or what owns the operands, which are leaves, and their kinds, for many nodes */
    Py_ssize_t closures;        /* with a keeper: how many closures had been assigned when no operand had one */
};

enum {
    MGC_X_NODE = 1,        /* x is a node, not a number or unused */
    MGC_Y_NODE = 2,
    MGC_WIDE = 4,
    MGC_INTEGER = 8,       /* the number was written as an int: x ** 2 shows "**2", x ** 2.0 shows "**2.0" */
    MGC_TRUTH = 8,         /* of a leaf, which has no such number: what a comparison gave without a graph */
    MGC_CLOSURE = 16,      /* a Python callable took the place of the rule */
    MGC_TRACKED = 32,      /* seen by the cyclic garbage collector: a closure, or made from a node that has one */
    MGC_INITIALISED = 64,  /* __init__ has run */
    MGC_IN_PASS = 128,     /* an unfinished backward pass goes through it, and another one has begun */
};

/* A Value, as value.pxd declares it. */
typedef struct {
    PyObject_HEAD
    mgc_node node;
    PyObject *baggage;     /* the instance's dict; NULL for the many nodes that carry nothing (attributes.h) */
} mgc_object;

/* Ask for the memory of what a walk from the root towards the leaves is going to meet: slabs keep nodes in the order
   of their making, so it is below this one. */
#if defined(__GNUC__)
static inline void mgc_prefetch_older(const void *p) { __builtin_prefetch((const char *)p - 1280, 1); }
#else
static inline void mgc_prefetch_older(const void *p) { (void)p; }
#endif

/* The node of a Value. */
static inline mgc_node *mgc_node_of(PyObject *value) { return &((mgc_object *)value)->node; }

/* The Value that a node is part of. */
static inline PyObject *mgc_value_of(mgc_node *n) { return (PyObject *)((char *)n - offsetof(mgc_object, node)); }

static inline int mgc_operand_is_node(const mgc_node *n, Py_ssize_t i)
{
    return n->flags & MGC_WIDE ? n->x.wide->is_node[i] : n->flags >> i & 1;
}

static inline mgc_operand *mgc_operand_at(mgc_node *n, Py_ssize_t i)
{
    return n->flags & MGC_WIDE ? &n->x.wide->operands[i] : i ? &n->y : &n->x;
}

static inline double mgc_operand_value(mgc_node *n, Py_ssize_t i)
{
    mgc_operand *o = mgc_operand_at(n, i);
    return mgc_operand_is_node(n, i) ? o->node->data : o->number;
}

static inline Py_ssize_t mgc_operand_count(const mgc_node *n)
{
    return n->flags & MGC_WIDE ? n->x.wide->count : mgc_rows[n->op].operands;
}

/* Whether a node is what less, less_equal or step gave. */
static inline int mgc_gives_truth(int op) { return op == MGC_LESS || op == MGC_LESS_EQUAL || op == MGC_STEP; }

static inline int mgc_is_truth(const mgc_node *n)
{
    return n->op == MGC_LEAF ? n->flags & MGC_TRUTH : mgc_gives_truth(n->op);
}

/* Identity, as object.__hash__ has it: the low bits of an address are all alike. */
static inline Py_hash_t mgc_hash(PyObject *self)
{
    uintptr_t address = (uintptr_t)self;
    return (Py_hash_t)(address >> 4 | address << (8 * sizeof address - 4));
}

#endif
