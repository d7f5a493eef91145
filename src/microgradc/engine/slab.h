/* Memory for nodes: slabs of 2 MiB, given out in the order of their addresses.
 *
 * A training step builds a graph, walks it backwards and releases it, again and again. A free list would hand the places out in the
 * order in which they came back, which is another permutation after every step, until each node costs a cache miss. A bit for each
 * place, searched from the lowest, keeps the order of making the order in memory, however the nodes are released.
 *
 * A place holds the header that CPython's garbage collector expects before an object, and the object. Zeros there mean: not tracked.
 */
#ifndef MGC_SLAB_H
#define MGC_SLAB_H

#include <Python.h>
#include <stdint.h>
#include <string.h>

#include "engine/node.h"

#ifdef Py_GIL_DISABLED
#error "microgradc needs a CPython with the GIL: without it, objects have no collector's header"
#endif

enum {
    MGC_SLAB_BYTES = 1 << 21,                                /* one huge page */
    MGC_GC_HEADER = 2 * sizeof(void *),
    MGC_PLACE_BYTES = MGC_GC_HEADER + sizeof(mgc_object),
    MGC_SLAB_WORDS = (MGC_SLAB_BYTES - 64) / (64 * MGC_PLACE_BYTES + 8),
    MGC_SLAB_PLACES = 64 * MGC_SLAB_WORDS,
    MGC_IDLE_SLABS = 16,                                     /* kept for the next graph; further ones go back to the system */
};

typedef struct {
    Py_ssize_t index;                   /* in mgc_slabs */
    Py_ssize_t unused;                  /* bits set in free */
    int is_idle;                        /* counted in mgc_idle_slabs */
    uint64_t free[MGC_SLAB_WORDS];      /* a bit for each place that is free and not in the window */
} mgc_slab;

static mgc_slab **mgc_slabs;            /* with holes, where slabs were given back */
static Py_ssize_t mgc_slab_count, mgc_slab_capacity, mgc_idle_slabs;
static Py_ssize_t mgc_lowest;           /* no slab before this index is half free */

/* The window: 64 places of the current slab, taken out of its `free`. */
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
#include <malloc.h>
#ifndef _WIN64
#error "microgradc is for 64-bit Windows"
#endif
static inline int mgc_lowest_bit(uint64_t bits)
{
    unsigned long i;
    _BitScanForward64(&i, bits);
    return (int)i;
}
static inline void *mgc_map_slab(void) { return _aligned_malloc(MGC_SLAB_BYTES, MGC_SLAB_BYTES); }
static inline void mgc_unmap_slab(void *s) { _aligned_free(s); }
#else
#include <sys/mman.h>
#ifndef MAP_ANONYMOUS
#define MAP_ANONYMOUS MAP_ANON
#endif
static inline int mgc_lowest_bit(uint64_t bits) { return __builtin_ctzll(bits); }
/* Mapped directly, and not by malloc, which would keep for itself what is given back. Of twice the size, the aligned part is kept. */
static inline void *mgc_map_slab(void)
{
    char *all = mmap(NULL, 2 * MGC_SLAB_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (all == MAP_FAILED) return NULL;
    char *s = (char *)(((uintptr_t)all + MGC_SLAB_BYTES - 1) & ~(uintptr_t)(MGC_SLAB_BYTES - 1));
    if (s > all) munmap(all, (size_t)(s - all));
    munmap(s + MGC_SLAB_BYTES, (size_t)(all + MGC_SLAB_BYTES - s));
#ifdef MADV_HUGEPAGE
    madvise(s, MGC_SLAB_BYTES, MADV_HUGEPAGE);   /* advice: without it there are more page faults */
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
    mgc_slabs[i] = s;
    if (i == mgc_slab_count) mgc_slab_count++;
    return s;
}

/* Move the window on: within the slab, to the first slab that is half free, or to a new one. Returns 0 if there is no memory. */
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

/* A place for an exact Value: type and reference count are set, the node and the baggage are not. NULL with MemoryError. */
static inline mgc_object *mgc_take_place(PyTypeObject *type)
{
    if (!mgc_window && !mgc_move_window()) return (mgc_object *)PyErr_NoMemory();
    char *place = mgc_window_start + mgc_lowest_bit(mgc_window) * MGC_PLACE_BYTES;
    mgc_window &= mgc_window - 1;
    memset(place, 0, MGC_GC_HEADER);
    PyObject *o = (PyObject *)(place + MGC_GC_HEADER);
    Py_SET_TYPE(o, type);
    Py_SET_REFCNT(o, 1);
    return (mgc_object *)o;
}

static void mgc_slab_is_empty(mgc_slab *s)
{
    if (s == mgc_current) {
        mgc_next_word = 0;
    } else if (mgc_idle_slabs < MGC_IDLE_SLABS) {
        s->is_idle = 1;
        mgc_idle_slabs++;
    } else {
        mgc_slabs[s->index] = NULL;
        mgc_unmap_slab(s);
    }
}

static inline void mgc_give_place_back(mgc_object *o)
{
    mgc_slab *s = (mgc_slab *)((uintptr_t)o & ~(uintptr_t)(MGC_SLAB_BYTES - 1));
    size_t i = (size_t)((char *)o - mgc_places(s)) / MGC_PLACE_BYTES;
    s->free[i / 64] |= (uint64_t)1 << (i % 64);
    s->unused++;
    if (s->unused >= MGC_SLAB_PLACES / 2) {
        if (s->index < mgc_lowest) mgc_lowest = s->index;
        if (s->unused == MGC_SLAB_PLACES) mgc_slab_is_empty(s);
    }
}

/* Whether the collector's header is what we take it for. */
static int mgc_header_is_as_expected(PyTypeObject *type)
{
    mgc_object *o = mgc_take_place(type);
    if (!o) return 0;
    const void *zeros[2] = {0};
    char *header = (char *)o - MGC_GC_HEADER;
    int good = !PyObject_GC_IsTracked((PyObject *)o);
    memset(&o->node, 0, sizeof o->node);
    o->baggage = Py_None;   /* not owned: the collector looks, nobody else does */
    PyObject_GC_Track(o);
    good = good && PyObject_GC_IsTracked((PyObject *)o) && memcmp(header, zeros, MGC_GC_HEADER) != 0;
    PyObject_GC_UnTrack(o);
    good = good && !PyObject_GC_IsTracked((PyObject *)o) && memcmp(header, zeros, MGC_GC_HEADER) == 0;
    mgc_give_place_back(o);
    return good;
}

#endif
