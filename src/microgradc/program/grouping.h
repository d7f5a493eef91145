/* Which rows of ops.h become one step: those of one operation whose operands advance by constant strides. Changes with
 * how they are put together.
 *
 * A stride is 1 for rows one after another, 0 for one that stands still, or any other number. Where all are 1, a kernel
 * goes over all rows of a step at once.
 */
#ifndef MGC_GROUPING_H
#define MGC_GROUPING_H

#include <stdlib.h>

#include "program/graph.h"

/* A row of ops.h with its operands in places, until those of a level are put together. */
typedef struct {
    int at[3];                  /* the places of its operands, 0 for those that the operation does not take */
    int e;
    int64_t key[4];             /* what it is sorted by */
} mgc_member;

/* Orders in which members of one step come one after another: operand i advances most slowly; those in diagonals, as
   x[i] * y[i] among all x[i] * y[j]; as they were written. */
enum { MGC_BY_X, MGC_BY_Y, MGC_BY_Z, MGC_BY_DIAGONAL, MGC_AS_WRITTEN, MGC_ORDERS };

static int mgc_compare_members(const void *first, const void *second)
{
    const mgc_member *a = first, *b = second;
    for (int i = 0; i < 4; i++)
        if (a->key[i] != b->key[i]) return a->key[i] < b->key[i] ? -1 : 1;
    return 0;
}

static void mgc_sort_members(mgc_member *members, int count, int order)
{
    int is_sorted = 1;
    for (int i = 0; i < count; i++) {
        mgc_member *m = &members[i];
        const int64_t x = m->at[0], y = m->at[1], z = m->at[2];
        const int64_t keys[MGC_ORDERS][4] = {{x, y, z}, {y, z, x}, {z, x, y}, {y - x, z - x, x}, {m->e}};
        memcpy(m->key, keys[order], sizeof m->key);
        is_sorted = is_sorted && (!i || mgc_compare_members(m - 1, m) <= 0);
    }
    if (!is_sorted) qsort(members, (size_t)count, sizeof *members, mgc_compare_members);
}

static inline int mgc_stride(const mgc_member *members, int operand)
{
    return members[1].at[operand] - members[0].at[operand];
}

/* Whether all operands advance by the same stride, 1 or -1. */
static inline int mgc_are_neighbours(const mgc_member *members, int operands)
{
    const int stride = mgc_stride(members, 0);
    int same = stride == 1 || stride == -1;
    for (int i = 1; i < operands; i++) same = same && mgc_stride(members, i) == stride;
    return same;
}

/* How many members, from the first on, have the strides that the first two have. */
static int mgc_run_length(const mgc_member *members, int count, int operands)
{
    int length = count < 2 ? count : 2;
    for (; length < count; length++)
        for (int i = 0; i < operands; i++)
            if (mgc_stride(members + length - 1, i) != mgc_stride(members, i)) return length;
    return length;
}

/* What a run of three or more is worth; 0 for a shorter one. A kernel that goes over all rows saves more. */
static inline int64_t mgc_worth(const mgc_member *members, int length, int operands)
{
    return length < 3 ? 0 : (int64_t)length * (mgc_are_neighbours(members, operands) ? 3 : 1);
}

/* What the best run is worth in the order that the members have. */
static int64_t mgc_best_run(const mgc_member *members, int count, int operands)
{
    int64_t best = 0;
    for (int i = 0, length; i < count; i += length) {
        length = mgc_run_length(members + i, count - i, operands);
        const int64_t worth = mgc_worth(members + i, length, operands);
        if (worth > best) best = worth;
        if (length == 2 && count - i > 2) length = 1;      /* the second may begin a longer one */
    }
    return best;
}

/* Sort members by the order that has the best run. Returns what that is worth. */
static int64_t mgc_sort_by_best_order(mgc_member *members, int count, int operands)
{
    int64_t best = 0;
    int best_order = MGC_BY_X, order = MGC_BY_X;
    for (; order < MGC_ORDERS; order++) {
        if (operands == 1 && order != MGC_BY_X) break;
        if (operands < 3 && order == MGC_BY_Z) continue;
        mgc_sort_members(members, count, order);
        const int64_t worth = mgc_best_run(members, count, operands);
        if (worth > best) best = worth, best_order = order;
        if (best >= 3 * (int64_t)count) return best;        /* no order has a better one */
        if (best >= count && mgc_run_length(members, count, operands) == count) return best;
    }
    if (best_order != order - 1) mgc_sort_members(members, count, best_order);
    return best;
}

/* How many of the members left, where no three are one run in any order, become the next step: a pair of neighbours is
   not torn apart for another pair. */
static int mgc_short_run(const mgc_member *members, int count, int operands)
{
    if (count < 3 || mgc_are_neighbours(members, operands)) return mgc_run_length(members, count, operands);
    return mgc_are_neighbours(members + 1, operands) ? 1 : mgc_run_length(members, count, operands);
}

#endif
