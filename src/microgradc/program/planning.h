/* From a graph to the steps of a program: what needs a gradient, in which order, in which places. Changes with how
 * steps are put together, and with how places are given out.
 */
#ifndef MGC_PLANNING_H
#define MGC_PLANNING_H

#include "program/grouping.h"
#include "program/needs.h"

/* Scalars */

/* After those that have places: the parameters, and scalars of other graphs of this program. */
static int mgc_place_scalars(mgc_planning *p)
{
    const mgc_graph *g = p->g;
    mgc_plan *plan = p->plan;
    int place = plan->program.scalar_count, constants = plan->constant_places.count;
    for (int e = 0; e < g->count; e++) constants += p->live[e] && g->op[e] == MGC_CONSTANT;
    if (mgc_resize((void **)&plan->constants, (size_t)constants + 1, sizeof(double)) < 0) return -1;
    if (place > INT_MAX - g->count) return -1;
    for (int e = 0; e < g->count; e++) {
        if (!p->live[e] || g->op[e] != MGC_CONSTANT) continue;
        plan->constants[plan->constant_places.count] = mgc_constant_of(g, e);
        if (mgc_push(&plan->constant_places, place) < 0) return -1;
        p->place[e] = place++;
    }
    for (int e = 0; e < g->count; e++) {
        if (mgc_hear_signals(e) < 0) return -1;
        if (!p->live[e] || g->varies[e] || g->op[e] < 0) continue;
        const int op = g->op[e], count = mgc_operands_in(g, e), *operands = mgc_operands_of(g, e);
        mgc_step step = {.op = op, .f = place, .count = 1, .receives = p->receives[e]};
        p->place[e] = place++;
        if (op >= MGC_TABLE_END) {
            step.k = mgc_k_of(&mgc_kinds[op], count);
            step.places = plan->places.count;
            if (mgc_reserve_ints(&plan->places, (size_t)count) < 0) return -1;
            for (int i = 0; i < count; i++) plan->places.items[plan->places.count++] = p->place[operands[i]];
        } else {
            step.x = count > 0 ? p->place[operands[0]] : 0;
            step.y = count > 1 ? p->place[operands[1]] : 0;
            step.z = count > 2 ? p->place[operands[2]] : 0;
        }
        if (mgc_push_step(&plan->scalar_steps, step) < 0) return -1;
    }
    plan->program.scalar_count = place;
    return 0;
}

/* Lanes */

/* Whether a step takes one of several weights, which are not rows. */
static int mgc_takes_weights(const mgc_graph *g, int e)
{
    if (g->op[e] != MGC_TAKE) return 0;
    for (int i = g->first[e] + 1; i < g->first[e + 1]; i++)
        if (g->varies[g->operands.items[i]]) return 0;
    return 1;
}

/* How many operands are rows, if they vary or are made to. */
static int mgc_rows_in(const mgc_graph *g, int e)
{
    return mgc_takes_weights(g, e) ? 1 : mgc_operand_rows_in(g, e);
}

static inline int mgc_is_row(const mgc_planning *p, int e)
{
    return p->live[e] && p->g->varies[e] && p->g->op[e] >= 0;
}

/* Expressions in the order of a number that each has, from 1 to levels, by counting. */
static void mgc_sort_by(const mgc_planning *p, const int *number, int *begin, int *sorted)
{
    memset(begin, 0, (size_t)(p->levels + 2) * sizeof *begin);
    for (int e = 0; e < p->g->count; e++) if (number[e] > 0) begin[number[e] + 1]++;
    for (int l = 1; l <= p->levels + 1; l++) begin[l] += begin[l - 1];
    for (int e = 0; e < p->g->count; e++) if (number[e] > 0) sorted[begin[number[e]]++] = e;
    for (int l = p->levels + 1; l > 0; l--) begin[l] = begin[l - 1];    /* each was moved to its end */
}

static int mgc_prepare_loop(mgc_planning *p, int e);

/* A level is how many rows an expression comes after at least; last_use that of the last one that reads it. The results
   of a loop have its level. */
static int mgc_find_levels(mgc_planning *p, const int *outputs, int output_count)
{
    const mgc_graph *g = p->g;
    for (int e = 0; e < g->count; e++) {
        if (mgc_hear_signals(e) < 0) return -1;
        if (!mgc_is_row(p, e)) continue;
        const int rows = mgc_rows_in(g, e), *operands = mgc_operands_of(g, e);
        p->level[e] = 1;
        for (int i = 0; i < rows; i++) {
            const int operand = operands[i];
            if (g->varies[operand]) {
                const int after = p->level[operand] + (g->op[e] != MGC_RESULT);
                if (after > p->level[e]) p->level[e] = after;
            } else if (p->slot[operand] < 0 && g->op[e] != MGC_SCAN) {
                if ((p->slot[operand] = mgc_give_slots(p->slots, 1)) < 0
                    || mgc_push(&p->plan->broadcast_scalars, p->place[operand]) < 0
                    || mgc_push(&p->plan->broadcast_slots, p->slot[operand]) < 0) return -1;
            }
        }
        if (p->level[e] > p->levels) p->levels = p->level[e];
        for (int i = 0; i < rows; i++)
            if (mgc_is_row(p, operands[i]) && p->last_use[operands[i]] < p->level[e] && g->op[e] != MGC_RESULT)
                p->last_use[operands[i]] = p->level[e];
        if (g->op[e] == MGC_SCAN && mgc_prepare_loop(p, e) < 0) return -1;
    }
    for (int i = 0; i < output_count; i++)
        if (outputs[i] >= 0) p->last_use[outputs[i]] = 0;       /* it is read at the end */
    return 0;
}

static int mgc_push_places(mgc_planning *p, const int *operands, int count)
{
    if (mgc_reserve_ints(&p->plan->places, (size_t)count) < 0) return -1;
    for (int i = 0; i < count; i++) p->plan->places.items[p->plan->places.count++] = p->slot[operands[i]];
    return 0;
}

static int mgc_push_weights(mgc_planning *p, const int *operands, int count)
{
    if (mgc_reserve_ints(&p->plan->weights, (size_t)count) < 0) return -1;
    for (int i = 0; i < count; i++) p->plan->weights.items[p->plan->weights.count++] = p->place[operands[i]];
    return 0;
}

/* A step for an operation of any number of operands. */
static int mgc_place_wide(mgc_planning *p, int e)
{
    const mgc_graph *g = p->g;
    const mgc_kind *kind = &mgc_kinds[g->op[e]];
    const int *values = mgc_operands_of(g, e) + kind->index, count = mgc_operands_in(g, e) - kind->index;
    mgc_step step = {.op = mgc_takes_weights(g, e) ? MGC_TAKE_WEIGHT : g->op[e], .count = 1,
                     .k = mgc_k_of(kind, mgc_operands_in(g, e)), .receives = p->receives[e]};
    if ((p->slot[e] = step.f = mgc_give_slots(p->slots, 1)) < 0) return -1;
    if (kind->index) step.x = p->slot[mgc_operands_of(g, e)[0]];
    if (mgc_kinds[step.op].weights) {
        const int begin = p->plan->weights.count;
        if (mgc_push_weights(p, values, count) < 0) return -1;
        if ((step.weights = mgc_share_weights(p->sharing, &p->plan->weights, begin)) < 0) return -1;
    } else {
        step.places = p->plan->places.count;
        if (mgc_push_places(p, values, count) < 0) return -1;
    }
    return mgc_push_step(p->steps, step);
}

/* One step for dot products of the same rows. */
static int mgc_place_layer(mgc_planning *p, const int *members, int count)
{
    const mgc_graph *g = p->g;
    const int k = mgc_operands_in(g, members[0]) / 2, begin = p->plan->weights.count;
    mgc_step step = {.op = MGC_DENSE, .f = mgc_give_slots(p->slots, count), .count = count, .k = k,
                     .places = p->plan->places.count};
    if (step.f < 0 || mgc_push_places(p, mgc_operands_of(g, members[0]), k) < 0) return -1;
    for (int i = 0; i < count; i++)
        if (mgc_push_weights(p, mgc_operands_of(g, members[i]) + k, k) < 0) return -1;
    for (int i = 0; i < count; i++) {
        p->slot[members[i]] = step.f + i;
        step.receives |= p->receives[members[i]];
        if (mgc_push_weights(p, mgc_operands_of(g, members[i]) + 2 * k, 1) < 0) return -1;
    }
    if ((step.weights = mgc_share_weights(p->sharing, &p->plan->weights, begin)) < 0) return -1;
    return mgc_push_step(p->steps, step);
}

/* The layers of a level: dot products of the same rows, in the order of their first members. */
static int mgc_place_layers(mgc_planning *p, const int *level, int count)
{
    const mgc_graph *g = p->g;
    p->layers.count = p->layer_of.count = 0;        /* (the first member, how many); the layer of each member */
    int size = 16, dense = 0;
    for (int i = 0; i < count; i++) dense += g->op[level[i]] == MGC_DENSE;
    if (!dense) return 0;
    while (size < 2 * dense && size < INT_MAX / 2) size *= 2;
    if (size > p->table_size) {
        if (mgc_resize((void **)&p->table, (size_t)size, sizeof *p->table) < 0) return -1;
        p->table_size = size;
    }
    memset(p->table, 0xff, (size_t)size * sizeof *p->table);
    for (int i = 0; i < count; i++) {
        const int e = level[i];
        if (g->op[e] != MGC_DENSE) continue;
        const int k = mgc_operands_in(g, e) / 2, *operands = mgc_operands_of(g, e);
        uint64_t h = mgc_hash_of(MGC_DENSE, operands, k, 0);
        int layer;
        for (;; h++) {
            layer = p->table[h &= (uint64_t)size - 1];
            if (layer < 0) break;
            const int other = p->layers.items[2 * layer];
            if (mgc_operands_in(g, other) / 2 == k
                && !memcmp(mgc_operands_of(g, other), operands, (size_t)k * sizeof *operands)) break;
        }
        if (layer < 0) {
            p->table[h] = layer = p->layers.count / 2;
            if (mgc_push(&p->layers, e) < 0 || mgc_push(&p->layers, 0) < 0) return -1;
        }
        p->layers.items[2 * layer + 1]++;
        if (mgc_push(&p->layer_of, layer) < 0) return -1;
    }
    /* Members sorted by their layers: each count becomes the end of those before. */
    int *sorted = (int *)p->members, end = 0, member = 0;
    for (int layer = 0; layer < p->layers.count / 2; layer++) {
        const int many = p->layers.items[2 * layer + 1];
        p->layers.items[2 * layer + 1] = end;
        end += many;
    }
    for (int i = 0; i < count; i++)
        if (g->op[level[i]] == MGC_DENSE) sorted[p->layers.items[2 * p->layer_of.items[member++] + 1]++] = level[i];
    int begin = 0;
    for (int layer = 0; layer < p->layers.count / 2; layer++) {
        if (mgc_place_layer(p, sorted + begin, p->layers.items[2 * layer + 1] - begin) < 0) return -1;
        begin = p->layers.items[2 * layer + 1];
    }
    return 0;
}

/* A step for members of one operation whose operands advance by constant strides. */
static int mgc_place_run(mgc_planning *p, const mgc_member *members, int count)
{
    const int op = p->g->op[members->e], operands = mgc_rows[op].operands;
    const int ascends = count < 2 || !mgc_are_neighbours(members, operands) || mgc_stride(members, 0) > 0;
    const mgc_member *first = ascends ? members : members + count - 1;
    mgc_step step = {.op = op, .x = first->at[0], .y = first->at[1], .z = first->at[2], .dx = 1, .dy = 1, .dz = 1,
                     .count = count, .is_run = count < 2 || mgc_are_neighbours(members, operands),
                     .f = mgc_give_slots(p->slots, count)};
    if (step.f < 0) return -1;
    if (!step.is_run) {
        step.dx = mgc_stride(members, 0);
        if (operands > 1) step.dy = mgc_stride(members, 1);
        if (operands > 2) step.dz = mgc_stride(members, 2);
    }
    for (int i = 0; i < count; i++) {
        p->slot[members[i].e] = step.f + (ascends ? i : count - 1 - i);
        step.receives |= p->receives[members[i].e];
    }
    if ((op == MGC_SIN || op == MGC_COS) && step.receives && p->wanted != MGC_FORWARD) {
        if ((step.y = mgc_give_slots(p->slots, count)) < 0) return -1;
        step.dy = 1, step.receives |= MGC_KEEPS_OTHER;
    }
    return mgc_push_step(p->steps, step);
}

/* Steps for members of one operation: the longest runs first, so that they are not torn apart by others. */
static int mgc_place_members(mgc_planning *p, mgc_member *members, int count)
{
    const int operands = mgc_rows[p->g->op[members->e]].operands;
    while (count > 2) {
        const int64_t best = mgc_sort_by_best_order(members, count, operands);
        if (!best || (best < 16 && count > 1000)) break;    /* short runs among many are chance: no more sorting */
        int left = 0;
        for (int i = 0, length; i < count; i += length) {
            length = mgc_run_length(members + i, count - i, operands);
            if (2 * mgc_worth(members + i, length, operands) >= best) {
                if (mgc_place_run(p, members + i, length) < 0) return -1;
                continue;
            }
            if (length == 2 && count - i > 2) length = 1;
            memmove(members + left, members + i, (size_t)length * sizeof *members);
            left += length;
        }
        count = left;
    }
    mgc_sort_members(members, count, MGC_BY_X);
    for (int i = 0, length; i < count; i += length) {
        length = mgc_short_run(members + i, count - i, operands);
        if (mgc_place_run(p, members + i, length) < 0) return -1;
    }
    return 0;
}

/* The rows of ops.h of a level, those of one operation after another, by first appearance. */
static int mgc_place_rows(mgc_planning *p, const int *level, int count)
{
    const mgc_graph *g = p->g;
    mgc_ints *kinds = &p->kinds;            /* (an operation, the end of its members) */
    int end = 0, failed = 0;
    kinds->count = 0;
    for (int i = 0; i < count; i++) {
        const int op = g->op[level[i]];
        if (op >= MGC_TABLE_END) continue;
        if (p->rank[op] < 0) {
            p->rank[op] = kinds->count / 2;
            if (mgc_push(kinds, op) < 0 || mgc_push(kinds, 0) < 0) return -1;
        }
        kinds->items[2 * p->rank[op] + 1]++;
    }
    for (int i = 0; i < kinds->count; i += 2) {
        const int many = kinds->items[i + 1];
        kinds->items[i + 1] = end;
        end += many;
    }
    for (int i = 0; i < count; i++) {
        const int e = level[i], op = g->op[e], *operands = mgc_operands_of(g, e);
        if (op >= MGC_TABLE_END) continue;
        mgc_member *member = &p->members[kinds->items[2 * p->rank[op] + 1]++];
        memset(member, 0, sizeof *member);
        member->e = e;
        for (int j = 0; j < mgc_operands_in(g, e); j++) member->at[j] = p->slot[operands[j]];
    }
    for (int i = 0, begin = 0; i < kinds->count; begin = kinds->items[i + 1], i += 2) {
        p->rank[kinds->items[i]] = -1;
        failed = failed || mgc_place_members(p, p->members + begin, kinds->items[i + 1] - begin) < 0;
    }
    return -failed;
}

static int mgc_place_loop(mgc_planning *p, int e);

/* Go through the expressions level by level, those of one kind together, so that they become one step. */
static int mgc_place_lanes(mgc_planning *p)
{
    const mgc_graph *g = p->g;
    int unheard = 0;
    for (int l = 1; l <= p->levels; l++) {
        const int *level = p->by_level + p->level_begin[l], count = p->level_begin[l + 1] - p->level_begin[l];
        if ((unheard += count) > 0xffff) {
            if (PyErr_CheckSignals() < 0) return -1;
            unheard = 0;
        }
        for (int i = 0; i < count; i++) {
            const int op = g->op[level[i]];
            if (op < MGC_TABLE_END || op == MGC_DENSE || op == MGC_RESULT) continue;
            if ((op == MGC_SCAN ? mgc_place_loop(p, level[i]) : mgc_place_wide(p, level[i])) < 0) return -1;
        }
        if (mgc_place_layers(p, level, count) < 0 || mgc_place_rows(p, level, count) < 0) return -1;
        if (p->wanted != MGC_FORWARD) continue;         /* the way back needs them all */
        for (int i = p->last_use_begin[l]; i < p->last_use_begin[l + 1]; i++)
            if (mgc_take_slot_back(p->slots, p->slot[p->by_last_use[i]]) < 0) return -1;
    }
    return 0;
}

static int mgc_allocate_planning(mgc_planning *p)
{
    const size_t count = (size_t)p->g->count;
    p->live = PyMem_Calloc(3 * count + 1, 1);
    p->place = PyMem_Malloc((6 * count + 1) * sizeof(int));
    p->rank = PyMem_Malloc((MGC_TABLE_END + 1) * sizeof(int));
    if (!p->live || !p->place || !p->rank) return -1;
    p->receives = p->live + count, p->needs = p->live + 2 * count;
    p->slot = p->place + count, p->level = p->place + 2 * count, p->last_use = p->place + 3 * count;
    p->by_level = p->place + 4 * count, p->by_last_use = p->place + 5 * count;
    memset(p->place, 0xff, 2 * count * sizeof(int));
    memset(p->level, 0, 2 * count * sizeof(int));
    for (int op = 0; op <= MGC_TABLE_END; op++) p->rank[op] = -1;
    return 0;
}

/* Expressions by their levels, and by those at which they are needed for the last time. */
static int mgc_sort_levels(mgc_planning *p)
{
    p->level_begin = PyMem_Malloc(2 * ((size_t)p->levels + 3) * sizeof(int));
    if (!p->level_begin) return -1;
    p->last_use_begin = p->level_begin + p->levels + 3;
    mgc_sort_by(p, p->level, p->level_begin, p->by_level);
    mgc_sort_by(p, p->last_use, p->last_use_begin, p->by_last_use);
    int most = 0;
    for (int l = 1; l <= p->levels; l++)
        if (p->level_begin[l + 1] - p->level_begin[l] > most) most = p->level_begin[l + 1] - p->level_begin[l];
    p->members = PyMem_Malloc(((size_t)most + 1) * sizeof *p->members);
    return p->members ? 0 : -1;
}

static void mgc_free_loop_plannings(struct mgc_loop_planning *loops);

static void mgc_free_planning(mgc_planning *p)
{
    PyMem_Free(p->live);
    PyMem_Free(p->place);
    PyMem_Free(p->members);
    PyMem_Free(p->rank);
    PyMem_Free(p->level_begin);
    PyMem_Free(p->table);
    mgc_free_ints(&p->layers);
    mgc_free_ints(&p->layer_of);
    mgc_free_ints(&p->kinds);
    mgc_free_loop_plannings(p->loops);
}

#include "program/loops.h"

static int mgc_make_steps(mgc_planning *p, const int *outputs, int output_count)
{
    const mgc_graph *g = p->g;
    mgc_plan *plan = p->plan;
    mgc_find_live(p, outputs, output_count);
    mgc_find_needs_of_leaves(p);
    mgc_find_needs(p);
    for (int e = 0; e < g->count; e++) {
        if (g->op[e] == MGC_INPUT) p->slot[e] = (int)g->payload[e];
        if (g->op[e] == MGC_PARAMETER) p->place[e] = (int)g->payload[e];
    }
    if (mgc_place_scalars(p) < 0 || mgc_find_levels(p, outputs, output_count) < 0 || mgc_sort_levels(p) < 0
        || mgc_place_lanes(p) < 0) return -1;
    for (int i = 0; i < output_count; i++)
        if (mgc_push(&plan->outputs, g->varies[outputs[i]] ? p->slot[outputs[i]] : -1 - p->place[outputs[i]]) < 0)
            return -1;
    plan->program.slot_count = p->slots->count;
    return mgc_complete_program(plan);
}

/* Make the plan of a graph's outputs. Returns -1 without memory, or with an exception where a signal was heard. */
static int mgc_make_plan(const mgc_graph *g, const int *outputs, int output_count, int parameter_count,
                         int input_count, int wanted, mgc_plan *plan)
{
    mgc_slots slots = {.count = input_count};
    mgc_sharing sharing = {.table = NULL};
    mgc_planning p = {.g = g, .plan = plan, .wanted = wanted, .slots = &slots, .sharing = &sharing,
                      .steps = &plan->lane_steps};
    mgc_program *to = &plan->program;
    to->parameter_count = to->scalar_count = parameter_count, to->input_count = input_count;
    const int failed = mgc_allocate_planning(&p) < 0 || mgc_make_steps(&p, outputs, output_count) < 0;
    mgc_free_planning(&p);
    mgc_free_sharing(&sharing);
    mgc_free_ints(&slots.free);
    return -failed;
}

#endif
