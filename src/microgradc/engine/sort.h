/* What the topological sort (graph.pxi) does at each operand. Changes with which nodes a sort has to visit. */
#ifndef MGC_SORT_H
#define MGC_SORT_H

#include "engine/node.h"
#include "engine/ops.h"

/* Whether a sort has to enter this node: not yet entered, and there is something to do for it. */
static inline int mgc_is_to_enter(const mgc_node *n, uint64_t epoch, int with_leaves)
{
    return (n->op != MGC_LEAF || n->flags & MGC_CLOSURE || with_leaves) && n->stamp != epoch;
}

/* Put the operands that a sort has to enter on its stack, the first on top. Returns how many. */
static inline Py_ssize_t mgc_push_operands(const mgc_wide *w, mgc_node **stack, uint64_t epoch, int with_leaves)
{
    mgc_node **top = stack;
    for (Py_ssize_t i = w->count; i-- > 0;)
        if (w->is_node[i] && mgc_is_to_enter(w->operands[i].node, epoch, with_leaves)) *top++ = w->operands[i].node;
    return top - stack;
}

#endif
