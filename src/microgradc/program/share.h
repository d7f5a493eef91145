/* Blocks of weights: equal layers have one. Changes with what of a plan is shared.
 *
 * The positions of a GPT and the steps of a recurrent net apply the same weights to other rows. Their scalars are then
 * copied once a call, and their gradients are summed in one place.
 */
#ifndef MGC_SHARE_H
#define MGC_SHARE_H

#include "program/graph.h"

typedef struct {
    mgc_ints blocks;            /* of each: where it begins, how many weights it has */
    int *table;                 /* which block, by the hash of its weights, or -1 */
    int table_size;             /* a power of two, at least twice the number of blocks */
} mgc_sharing;

static void mgc_free_sharing(mgc_sharing *s)
{
    mgc_free_ints(&s->blocks);
    PyMem_Free(s->table);
}

/* The seat of the block with the same weights as those from `begin` on, or the free one where it is to be. */
static int *mgc_block_seat(const mgc_sharing *s, const int *weights, int begin, int count)
{
    uint64_t h = mgc_hash_of(0, weights + begin, count, 0);
    for (;; h++) {
        int *at = &s->table[h & (uint64_t)(s->table_size - 1)];
        if (*at < 0) return at;
        const int *block = s->blocks.items + 2 * *at;
        if (block[1] == count && !memcmp(weights + block[0], weights + begin, (size_t)count * sizeof(int))) return at;
    }
}

static int mgc_grow_sharing(mgc_sharing *s, const int *weights)
{
    if (s->table_size > INT_MAX / 2) return -1;
    const int size = s->table_size ? 2 * s->table_size : 64;
    if (mgc_resize((void **)&s->table, (size_t)size, sizeof *s->table) < 0) return -1;
    s->table_size = size;
    memset(s->table, 0xff, (size_t)size * sizeof *s->table);
    for (int i = 0; i < s->blocks.count; i += 2)
        *mgc_block_seat(s, weights, s->blocks.items[i], s->blocks.items[i + 1]) = i / 2;
    return 0;
}

/* Where the weights of a step are. They were put at the end, from `begin` on; if a block has the same, they are taken
   away again. Returns -1 without memory. */
static int mgc_share_weights(mgc_sharing *s, mgc_ints *weights, int begin)
{
    const int count = weights->count - begin;
    if (!count) return begin;
    if (s->blocks.count >= s->table_size && mgc_grow_sharing(s, weights->items) < 0) return -1;
    int *seat = mgc_block_seat(s, weights->items, begin, count);
    if (*seat >= 0) {
        weights->count = begin;
        return s->blocks.items[2 * *seat];
    }
    if (mgc_reserve_ints(&s->blocks, 2) < 0) return -1;
    *seat = s->blocks.count / 2;
    s->blocks.items[s->blocks.count++] = begin;
    s->blocks.items[s->blocks.count++] = count;
    return begin;
}

#endif
