/* The pass that puts constants in the places of parameters whose numbers are known. Changes with what is known of a
 * program's leaves.
 */
#ifndef MGC_KNOWN_H
#define MGC_KNOWN_H

#include "program/graph.h"

/* What is known of a parameter: its number; or else which parameter it is now. */
typedef struct {
    double number;
    int is_known, parameter;
} mgc_leaf;

/* Make a graph in which known parameters are constants. place gets the new expression of each old one. */
static int mgc_know(const mgc_graph *from, const mgc_leaf *leaves, int leaf_count, mgc_graph *to, int *place)
{
    mgc_ints operands = {NULL, 0, 0};
    const int expressions = from->count;
    int failed = mgc_reserve_like(to, from) < 0;
    for (int e = 0; e < expressions && !failed; e++) {
        if ((failed = mgc_hear_signals(e) < 0)) break;
        uint64_t payload = from->payload[e];
        int op = from->op[e];
        if (op == MGC_PARAMETER && payload < (uint64_t)leaf_count) {
            const mgc_leaf *leaf = &leaves[payload];
            if (leaf->is_known) op = MGC_CONSTANT, memcpy(&payload, &leaf->number, sizeof payload);
            else payload = (uint64_t)leaf->parameter;
        }
        failed = mgc_moved_operands(from, e, place, &operands) < 0;
        if (!failed) failed = (place[e] = mgc_add(to, op, operands.items, operands.count, payload)) < 0;
    }
    mgc_free_ints(&operands);
    return -failed;
}

#endif
