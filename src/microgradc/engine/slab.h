/* Memory for nodes: slabs of 2 MiB, cut into places for one node each. Changes with how places are found and slabs
 * are kept.
 *
 * A training step builds a graph, walks it backwards and releases it, again and again. A free list would give out
 * places in the order in which they came back. That is another order after every step, and in the end each node costs
 * a cache miss. So a slab has a bit for each place, which says whether it is free, and the lowest free place is given
 * out first. Nodes made one after another then lie one after another, in whatever order their predecessors were
 * released.
 *
 * A place holds the header that CPython's garbage collector expects before an object, and the object.
 */
#ifndef MGC_SLAB_H
#define MGC_SLAB_H

#include <Python.h>
#include <stdint.h>
#include <string.h>

#include "engine/node.h"

/* Free places are out of bounds where AddressSanitizer looks on. */
#ifdef __has_feature
#define MGC_HAS_FEATURE(name) __has_feature(name)
#else
#define MGC_HAS_FEATURE(name) 0
#endif
#if defined(__SANITIZE_ADDRESS__) || MGC_HAS_FEATURE(address_sanitizer)
#include <sanitizer/asan_interface.h>
#define MGC_FORBID(start, bytes) ASAN_POISON_MEMORY_REGION(start, bytes)
#define MGC_ALLOW(start, bytes) ASAN_UNPOISON_MEMORY_REGION(start, bytes)
#else
#define MGC_FORBID(start, bytes) ((void)0)
#define MGC_ALLOW(start, bytes) ((void)0)
#endif

enum {
    MGC_SLAB_BYTES = 1 << 21,                                /* one huge page */
    MGC_GC_HEADER = 2 * sizeof(void *),                      /* PyGC_Head */
    MGC_PLACE_BYTES = MGC_GC_HEADER + sizeof(mgc_object),
    MGC_SLAB_WORDS = (MGC_SLAB_BYTES - 64) / (64 * MGC_PLACE_BYTES + 8),   /* 64 places and their word of bits each */
    MGC_SLAB_PLACES = 64 * MGC_SLAB_WORDS,
    MGC_IDLE_SLABS = 16,                                     /* kept for the next graph; more go back to the system */
};

typedef struct {
    Py_ssize_t index;                   /* in mgc_slabs */
    Py_ssize_t unused;                  /* bits set in free */
    int is_idle;                        /* counted in mgc_idle_slabs */
    uint64_t free[MGC_SLAB_WORDS];      /* a bit for each place: it is free, and not in the window */
} mgc_slab;

static mgc_slab **mgc_slabs;            /* NULL where a slab was given back */
static Py_ssize_t mgc_slab_count, mgc_slab_capacity, mgc_idle_slabs;
static Py_ssize_t mgc_lowest;           /* no slab before this one has half of its places free */

/* The window: the free ones of 64 places of the current slab, whose bits were moved here from its `free`. */
static mgc_slab *mgc_current;
static Py_ssize_t mgc_next_word;
static uint64_t mgc_window;
static char *mgc_window_start;

static inline char *mgc_places(mgc_slab *s) { return (char *)s + MGC_SLAB_BYTES - MGC_SLAB_PLACES * MGC_PLACE_BYTES; }

static inline int mgc_count_bits(uint64_t bits)
{
    int count = 0;
    for (; bits; bits &= bits - 1) count++;
    return count;
}

#ifdef _MSC_VER
#include <intrin.h>
static inline int mgc_lowest_bit(uint64_t bits)
{
    unsigned long i;
    _BitScanForward64(&i, bits);
    return (int)i;
}
#else
static inline int mgc_lowest_bit(uint64_t bits) { return __builtin_ctzll(bits); }
#endif

#ifdef _WIN32
#include <malloc.h>
#ifndef _WIN64
#error "microgradc is for 64-bit Windows"
#endif
static inline void *mgc_map_slab(void) { return _aligned_malloc(MGC_SLAB_BYTES, MGC_SLAB_BYTES); }
static inline void mgc_unmap_slab(void *s) { _aligned_free(s); }
#else
#include <sys/mman.h>
#ifndef MAP_ANONYMOUS
#define MAP_ANONYMOUS MAP_ANON
#endif
/* From the system, for malloc would not give back to it what is freed. Of twice the size, the aligned part is kept. */
static inline void *mgc_map_slab(void)
{
    char *all = mmap(NULL, 2 * MGC_SLAB_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (all == MAP_FAILED) return NULL;
    char *s = (char *)(((uintptr_t)all + MGC_SLAB_BYTES - 1) & ~(uintptr_t)(MGC_SLAB_BYTES - 1));
    if (s > all) munmap(all, (size_t)(s - all));
    munmap(s + MGC_SLAB_BYTES, (size_t)(all + MGC_SLAB_BYTES - s));
#ifdef MADV_HUGEPAGE
    madvise(s, MGC_SLAB_BYTES, MADV_HUGEPAGE);   /* only advice: without it there are more page faults */
#endif
    return s;
}
static inline void mgc_unmap_slab(void *s) { munmap(s, MGC_SLAB_BYTES); }
#endif

static mgc_slab *mgc_new_slab(void)
{
    Py_ssize_t i = 0;
    while (i < mgc_slab_count && mgc_slabs[i]) i++;
    if (i == mgc_slab_capacity) {
        Py_ssize_t capacity = 2 * mgc_slab_capacity + 16;
        mgc_slab **moved = PyMem_Realloc(mgc_slabs, (size_t)capacity * sizeof *moved);
        if (!moved) return NULL;
        mgc_slabs = moved;
        mgc_slab_capacity = capacity;
    }
    mgc_slab *s = mgc_map_slab();
    if (!s) return NULL;
    s->index = i;
    s->unused = MGC_SLAB_PLACES;
    s->is_idle = 0;
    memset(s->free, 0xff, sizeof s->free);
    MGC_FORBID(mgc_places(s), MGC_SLAB_PLACES * MGC_PLACE_BYTES);
    mgc_slabs[i] = s;
    if (i == mgc_slab_count) mgc_slab_count++;
    return s;
}

/* Move the window on: within the slab, to the first slab that is half free, or to a new slab. Returns 0 if there is
   no memory. */
static int mgc_move_window(void)
{
    for (;;) {
        if (mgc_current) {
            while (mgc_next_word < MGC_SLAB_WORDS) {
                Py_ssize_t word = mgc_next_word++;
                if (!mgc_current->free[word]) continue;
                mgc_window = mgc_current->free[word];
                mgc_window_start = mgc_places(mgc_current) + word * 64 * MGC_PLACE_BYTES;
                mgc_current->free[word] = 0;
                mgc_current->unused -= mgc_count_bits(mgc_window);
                return 1;
            }
        }
        mgc_slab *s = NULL;
        for (; mgc_lowest < mgc_slab_count; mgc_lowest++) {
            s = mgc_slabs[mgc_lowest];
            if (s && s->unused >= MGC_SLAB_PLACES / 2) break;
            s = NULL;
        }
        if (!s && !(s = mgc_new_slab())) return 0;
        if (s->is_idle) {
            s->is_idle = 0;
            mgc_idle_slabs--;
        }
        mgc_current = s;
        mgc_next_word = 0;
        mgc_lowest = s->index + 1;
    }
}

/* The lowest place of the window, which must not be empty. */
static inline char *mgc_next_place(void)
{
    char *place = mgc_window_start + mgc_lowest_bit(mgc_window) * MGC_PLACE_BYTES;
    mgc_window &= mgc_window - 1;
    MGC_ALLOW(place, MGC_PLACE_BYTES);
    return place;
}

/* No place of a slab is in use any more. */
static void mgc_slab_is_empty(mgc_slab *s)
{
    if (s == mgc_current) {
        mgc_next_word = 0;
    } else if (mgc_idle_slabs < MGC_IDLE_SLABS) {
        s->is_idle = 1;
        mgc_idle_slabs++;
    } else {
        mgc_slabs[s->index] = NULL;
        MGC_ALLOW(s, MGC_SLAB_BYTES);
        mgc_unmap_slab(s);
    }
}

/* Give back the place that an address lies in. */
static inline void mgc_give_place_back(const void *inside)
{
    mgc_slab *s = (mgc_slab *)((uintptr_t)inside & ~(uintptr_t)(MGC_SLAB_BYTES - 1));
    size_t i = (size_t)((const char *)inside - mgc_places(s)) / MGC_PLACE_BYTES;
    s->free[i / 64] |= (uint64_t)1 << (i % 64);
    MGC_FORBID(mgc_places(s) + i * MGC_PLACE_BYTES, MGC_PLACE_BYTES);
    s->unused++;
    if (s->unused >= MGC_SLAB_PLACES / 2) {
        if (s->index < mgc_lowest) mgc_lowest = s->index;
        if (s->unused == MGC_SLAB_PLACES) mgc_slab_is_empty(s);
    }
}

#endif
