/* What is known of a graph while steps are made of it; and what of it is needed: values, gradients. Changes with who
 * needs what.
 */
#ifndef MGC_NEEDS_H
#define MGC_NEEDS_H

#include "program/graph.h"
#include "program/grouping.h"
#include "program/plan.h"
#include "program/share.h"
#include "program/slots.h"

/* What is wanted of a run. */
enum {
    MGC_FORWARD,                /* the outputs: then places are used again */
    MGC_PARAMETER_GRADIENTS,
    MGC_INPUT_GRADIENTS,        /* and those of the parameters */
};

typedef struct {
    const mgc_graph *g;         /* that of the program, or the body of a loop */
    mgc_plan *plan;
    int wanted;
    unsigned char *live, *receives;     /* of an expression; receives is of mgc_receiver, put together */
    unsigned char *needs;
    int *place;                 /* of a scalar, or the slot of a row; -1 */
    int *slot;                  /* the slot of a row; of a scalar, of its row of equal numbers, or -1 */
    int *level, *last_use;
    int *by_level, *by_last_use;        /* expressions sorted by them */
    int *level_begin, *last_use_begin;
    int levels;
    mgc_slots *slots;           /* those of loops are among them */
    mgc_sharing *sharing;
    mgc_steps *steps;           /* where steps are put */
    struct mgc_loop_planning *loops;    /* a list of the loops in this graph */
    mgc_member *members;        /* as many as the largest level has expressions */
    int *table;                 /* layers of a level by their operands */
    int table_size;
    int *rank;                  /* of operations of a level */
    mgc_ints layers, layer_of, kinds;
} mgc_planning;

/* Of the outputs, one that is less than 0 is not needed. */
static void mgc_find_live(mgc_planning *p, const int *outputs, int output_count)
{
    const mgc_graph *g = p->g;
    for (int i = 0; i < output_count; i++) if (outputs[i] >= 0) p->live[outputs[i]] = 1;
    for (int e = g->count - 1; e >= 0; e--)
        if (p->live[e])
            for (int i = g->first[e]; i < g->first[e + 1]; i++) p->live[g->operands.items[i]] = 1;
}

/* How many operands, the first ones, are rows: the index and those that are not weights. */
static inline int mgc_operand_rows_in(const mgc_graph *g, int e)
{
    const mgc_kind *kind = &mgc_kinds[g->op[e]];
    const int count = mgc_operands_in(g, e);
    return kind->name ? kind->index + kind->rows * mgc_k_of(kind, count) : count;
}

/* Which operands of an expression receive a gradient that somebody needs. */
static int mgc_receives(const mgc_planning *p, int e)
{
    const mgc_graph *g = p->g;
    const int op = g->op[e], count = mgc_operands_in(g, e), *operands = mgc_operands_of(g, e);
    int bits = 0;
    if (op < 0) return 0;
    if (op < MGC_TABLE_END) {
        const char *columns[] = {mgc_rows[op].gx, mgc_rows[op].gy, mgc_rows[op].gz};
        for (int i = 0; i < count; i++)
            if (p->needs[operands[i]] && strcmp(columns[i], "0")) bits |= MGC_X_RECEIVES << i;
        return bits;
    }
    const int rows = mgc_operand_rows_in(g, e);
    for (int i = 0; i < count; i++)
        if (p->needs[operands[i]]) bits |= i < rows ? MGC_OPERANDS_RECEIVE : MGC_WEIGHTS_RECEIVE;
    return bits;
}

/* Whether the gradient of an expression is needed, when that is known of the leaves. */
static void mgc_find_needs(mgc_planning *p)
{
    for (int e = 0; e < p->g->count; e++) {
        p->receives[e] = (unsigned char)mgc_receives(p, e);
        if (p->g->op[e] >= 0) p->needs[e] = p->receives[e] != 0;
    }
}

static void mgc_find_needs_of_leaves(mgc_planning *p)
{
    for (int e = 0; e < p->g->count; e++) {
        if (p->g->op[e] == MGC_PARAMETER) p->needs[e] = p->wanted != MGC_FORWARD;
        if (p->g->op[e] == MGC_INPUT) p->needs[e] = p->wanted == MGC_INPUT_GRADIENTS;
    }
}

#endif
