/* Memory of large results, which is kept for the next: new memory comes page by page, and touching each for the first
 * time takes longer than most of what is computed. Changes with how much is kept. The GIL must be held.
 */
#ifndef MGC_BLOCKS_H
#define MGC_BLOCKS_H

#include <Python.h>

enum { MGC_KEPT_BLOCKS = 8 };
static const size_t mgc_most_kept_bytes = (size_t)32 << 20;      /* of all together */

static struct { void *memory; size_t bytes; } mgc_kept[MGC_KEPT_BLOCKS];
static size_t mgc_kept_bytes;

/* Memory for so many bytes: a kept block of at most twice the size, or new. *bytes gets how many it has. NULL without
   memory. */
static void *mgc_take_block(size_t *bytes)
{
    int best = -1;
    for (int i = 0; i < MGC_KEPT_BLOCKS; i++)
        if (mgc_kept[i].memory && mgc_kept[i].bytes >= *bytes && mgc_kept[i].bytes / 2 <= *bytes
            && (best < 0 || mgc_kept[i].bytes < mgc_kept[best].bytes)) best = i;
    if (best < 0) return PyMem_Malloc(*bytes);
    void *memory = mgc_kept[best].memory;
    *bytes = mgc_kept[best].bytes;
    mgc_kept[best].memory = NULL;
    mgc_kept_bytes -= *bytes;
    return memory;
}

/* The seat for a block of so many bytes: an empty one, while all together are not too many; else others go, in turn. */
static int mgc_seat_for(size_t bytes)
{
    static int next = 0;
    for (;;) {
        if (mgc_kept_bytes + bytes <= mgc_most_kept_bytes)
            for (int i = 0; i < MGC_KEPT_BLOCKS; i++) if (!mgc_kept[i].memory) return i;
        if (mgc_kept[next].memory) {
            PyMem_Free(mgc_kept[next].memory);
            mgc_kept_bytes -= mgc_kept[next].bytes;
            mgc_kept[next].memory = NULL;
        }
        next = (next + 1) % MGC_KEPT_BLOCKS;
    }
}

/* Give a block back: it is kept, if it is not too large. */
static void mgc_give_block_back(void *memory, size_t bytes)
{
    if (bytes > mgc_most_kept_bytes / 2) {
        PyMem_Free(memory);
        return;
    }
    const int seat = mgc_seat_for(bytes);
    mgc_kept[seat].memory = memory, mgc_kept[seat].bytes = bytes;
    mgc_kept_bytes += bytes;
}

#endif
