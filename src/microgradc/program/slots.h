/* Slots, the places of rows: which are given out, and which are free again. Changes with how they are given out. */
#ifndef MGC_SLOTS_H
#define MGC_SLOTS_H

#include "program/graph.h"

typedef struct {
    int count;                  /* all that were ever given out */
    mgc_ints free;              /* intervals (first, how many) that are free again, sorted */
} mgc_slots;

/* The first of `size` slots one after another; -1 without memory. */
static int mgc_give_slots(mgc_slots *s, int size)
{
    int *free = s->free.items;
    for (int i = 0; i < s->free.count; i += 2) {
        if (free[i + 1] < size) continue;
        const int first = free[i];
        free[i] += size, free[i + 1] -= size;
        if (!free[i + 1]) {
            s->free.count -= 2;
            memmove(free + i, free + i + 2, (size_t)(s->free.count - i) * sizeof *free);
        }
        return first;
    }
    if (size > INT_MAX - s->count) return -1;
    s->count += size;
    return s->count - size;
}

/* A slot is free again; free neighbours become one interval. */
static int mgc_take_slot_back(mgc_slots *s, int slot)
{
    if (mgc_reserve_ints(&s->free, 2) < 0) return -1;
    int *free = s->free.items, low = 0, high = s->free.count / 2;
    while (low < high) {
        const int middle = (low + high) / 2;
        if (free[2 * middle] < slot) low = middle + 1;
        else high = middle;
    }
    const int i = 2 * low, joins_before = i && free[i - 2] + free[i - 1] == slot;
    const int joins_after = i < s->free.count && slot + 1 == free[i];
    if (joins_before && joins_after) {
        free[i - 1] += 1 + free[i + 1];
        s->free.count -= 2;
        memmove(free + i, free + i + 2, (size_t)(s->free.count - i) * sizeof *free);
    } else if (joins_before) {
        free[i - 1]++;
    } else if (joins_after) {
        free[i]--, free[i + 1]++;
    } else {
        memmove(free + i + 2, free + i, (size_t)(s->free.count - i) * sizeof *free);
        free[i] = slot, free[i + 1] = 1;
        s->free.count += 2;
    }
    return 0;
}

#endif
