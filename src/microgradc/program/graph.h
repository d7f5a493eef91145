/* A graph of operations as flat arrays, each expression once. Changes with what an expression is made of.
 *
 * An expression is a number, its place; its operands come before it. Two that do the same are one, by a hash table.
 * Whatever allocates returns -1 when there is no memory, and leaves the graph as it was. A pass over a graph returns -1
 * then, or with an exception where a signal was heard.
 */
#ifndef MGC_GRAPH_H
#define MGC_GRAPH_H

#include <Python.h>
#include <limits.h>
#include <stdint.h>
#include <string.h>

#include "engine/wide.h"
#include "program/steps.h"

/* Leaves; operations are those of ops.h, wide.h and steps.h. */
enum {
    MGC_CONSTANT = -3,
    MGC_PARAMETER = -2,
    MGC_INPUT = -1,
};

typedef struct {
    int *items;
    int count, capacity;
} mgc_ints;

/* A seat in the table of expressions: one of them, or -1; and a part of its hash, which tells most others from it. */
typedef struct {
    int e;
    uint32_t tag;
} mgc_seat;

struct mgc_graph_loop;

typedef struct {
    int count, capacity;
    int *op;
    int *first;                /* where the operands begin; those of the last one end at first[count] */
    uint64_t *payload;         /* the bits of a constant; which input, parameter, loop or result it is; else 0 */
    unsigned char *varies;     /* whether it depends on an input: then it is another number for each example */
    mgc_ints operands;
    mgc_seat *table;           /* expressions by their hash */
    int hashed;                /* how many these are: all but inputs and parameters, each of which is added once */
    int table_size;            /* a power of two, more than twice as many */
    const struct mgc_graph_loop *loops;         /* of each scan, by its payload; somebody else owns them */
    int loop_count;
    const unsigned char *parameter_varies;      /* of the body of a loop: which parameters vary; NULL: none does */
} mgc_graph;

/* A loop. Its operands in the graph are what the carries begin with; the xs of the first iteration, of the second, …;
   and what the body has for parameters. Its results are the carries in the end, and the ys of each iteration. */
typedef struct mgc_graph_loop {
    const mgc_graph *body;     /* its inputs are the carries, and then the xs of an iteration */
    const int *outputs;        /* the next carries; the ys; and if `ends`, what is not 0 where no iteration is left */
    int length, carries, xs, ys, captured, ends;
    int keeps_all;             /* whether the way back is to find the carries of each iteration, or some of them */
} mgc_graph_loop;

static inline int mgc_first_captured(const mgc_graph_loop *l) { return l->carries + l->length * l->xs; }

static inline int mgc_results_of(const mgc_graph_loop *l) { return l->carries + l->length * l->ys; }

static int mgc_resize(void **memory, size_t count, size_t size)
{
    void *moved = count > (size_t)PY_SSIZE_T_MAX / size ? NULL : PyMem_Realloc(*memory, count * size);
    if (!moved) return -1;
    *memory = moved;
    return 0;
}

static int mgc_reserve_ints(mgc_ints *ints, size_t more)
{
    const size_t wanted = (size_t)ints->count + more;
    if (wanted <= (size_t)ints->capacity) return 0;
    if (wanted > INT_MAX) return -1;
    size_t capacity = (size_t)ints->capacity * 2 < 32 ? 32 : (size_t)ints->capacity * 2;
    if (capacity < wanted) capacity = wanted;
    if (capacity > INT_MAX) capacity = INT_MAX;
    if (mgc_resize((void **)&ints->items, capacity, sizeof(int)) < 0) return -1;
    ints->capacity = (int)capacity;
    return 0;
}

static inline int mgc_push(mgc_ints *ints, int item)
{
    if (ints->count == ints->capacity && mgc_reserve_ints(ints, 1) < 0) return -1;
    ints->items[ints->count++] = item;
    return 0;
}

static inline void mgc_free_ints(mgc_ints *ints)
{
    PyMem_Free(ints->items);
    memset(ints, 0, sizeof *ints);
}

static void mgc_free_graph(mgc_graph *g)
{
    PyMem_Free(g->op);
    PyMem_Free(g->first);
    PyMem_Free(g->payload);
    PyMem_Free(g->varies);
    PyMem_Free(g->table);
    mgc_free_ints(&g->operands);
    memset(g, 0, sizeof *g);
}

static inline int mgc_operands_in(const mgc_graph *g, int e) { return g->first[e + 1] - g->first[e]; }

static inline const int *mgc_operands_of(const mgc_graph *g, int e) { return g->operands.items + g->first[e]; }

static inline double mgc_constant_of(const mgc_graph *g, int e)
{
    double x;
    memcpy(&x, &g->payload[e], sizeof x);
    return x;
}

/* Whether an expression is a constant with these bits: 0 and -0 are two, and nan is one. */
static inline int mgc_is_constant(const mgc_graph *g, int e, double x)
{
    return g->op[e] == MGC_CONSTANT && !memcmp(&g->payload[e], &x, sizeof x);
}

/* SplitMix64's finalizer: Steele, Lea, Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014. */
static inline uint64_t mgc_mix(uint64_t x)
{
    x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
    return x ^ x >> 31;
}

static inline uint64_t mgc_hash_of(int op, const int *operands, int count, uint64_t payload)
{
    uint64_t h = mgc_mix(payload + (uint64_t)(op + 4) * UINT64_C(0x9e3779b97f4a7c15));
    for (int i = 0; i < count; i++) h = (h ^ (uint64_t)operands[i]) * UINT64_C(0x9e3779b97f4a7c15);
    return mgc_mix(h);
}

/* The seat in the table of an expression, or the free one where it is to be.
 *
 * What is made one after another is looked for one after another; were seats at random, most of the time would go into
 * fetching them. So it is first looked for near the place of its last operand. Where that is crowded, as when one value
 * is multiplied with many, it has a seat at random.
 */
static mgc_seat *mgc_table_seat(const mgc_graph *g, int op, const int *operands, int count, uint64_t payload,
                                uint32_t *tag)
{
    enum { NEAR = 8 };
    const uint64_t mask = (uint64_t)g->table_size - 1, hash = mgc_hash_of(op, operands, count, payload);
    uint64_t last = op < 0 ? hash : 0;
    for (int i = 0; i < count; i++) if ((uint64_t)operands[i] > last) last = (uint64_t)operands[i];
    uint64_t seat = 2 * last + (hash & 3);
    *tag = (uint32_t)(hash >> 32);
    for (int probe = 0;; probe++, seat++) {
        if (probe == NEAR) seat = hash;
        mgc_seat *at = &g->table[seat & mask];
        if (at->e < 0) return at;
        if (at->tag != *tag) continue;
        const int e = at->e;
        if (g->op[e] == op && g->payload[e] == payload && mgc_operands_in(g, e) == count
            && (!count || !memcmp(mgc_operands_of(g, e), operands, (size_t)count * sizeof *operands))) return at;
    }
}

/* Whether each expression of an operation is another one. */
static inline int mgc_is_unique(int op) { return op == MGC_INPUT || op == MGC_PARAMETER; }

/* Make room for so many expressions in the table. */
static int mgc_reserve_table(mgc_graph *g, int hashed)
{
    if (hashed < g->table_size / 2) return 0;
    if (hashed > INT_MAX / 8) return -1;
    int size = 64;
    while (size / 2 <= hashed) size *= 2;
    if (mgc_resize((void **)&g->table, (size_t)size, sizeof *g->table) < 0) return -1;
    g->table_size = size;
    memset(g->table, 0xff, (size_t)size * sizeof *g->table);
    for (int e = 0; e < g->count; e++) {
        if (mgc_is_unique(g->op[e])) continue;
        uint32_t tag;
        mgc_seat *seat = mgc_table_seat(g, g->op[e], mgc_operands_of(g, e), mgc_operands_in(g, e), g->payload[e], &tag);
        seat->e = e, seat->tag = tag;
    }
    return 0;
}

/* Make room for so many expressions. */
static int mgc_reserve_graph(mgc_graph *g, size_t count)
{
    if (count <= (size_t)g->capacity) return 0;
    size_t capacity = 64;
    while (capacity < count) capacity *= 2;
    if (capacity > INT_MAX / 4) return -1;
    if (mgc_resize((void **)&g->op, capacity, sizeof *g->op) < 0) return -1;
    if (mgc_resize((void **)&g->first, capacity + 1, sizeof *g->first) < 0) return -1;
    if (mgc_resize((void **)&g->payload, capacity, sizeof *g->payload) < 0) return -1;
    if (mgc_resize((void **)&g->varies, capacity, sizeof *g->varies) < 0) return -1;
    if (!g->capacity) g->first[0] = 0;
    g->capacity = (int)capacity;
    return 0;
}

/* The same for what a pass makes of another graph. */
static int mgc_reserve_like(mgc_graph *g, const mgc_graph *other)
{
    return mgc_reserve_graph(g, (size_t)other->count) < 0 || mgc_reserve_table(g, other->hashed) < 0
        || mgc_reserve_ints(&g->operands, (size_t)other->operands.count) < 0 ? -1 : 0;
}

/* Whether something is another number for each example, whatever its operands are. All loops are run over lanes. */
static inline int mgc_varies_by_itself(const mgc_graph *g, int op, uint64_t payload)
{
    return op == MGC_INPUT || op == MGC_SCAN
        || (op == MGC_PARAMETER && g->parameter_varies && g->parameter_varies[payload]);
}

/* Add an expression that there is not yet. */
static int mgc_append(mgc_graph *g, int op, const int *operands, int count, uint64_t payload)
{
    if (g->count == g->capacity && mgc_reserve_graph(g, (size_t)g->count + 1) < 0) return -1;
    if (mgc_reserve_ints(&g->operands, (size_t)count) < 0) return -1;
    const int e = g->count++;
    int *to = g->operands.items + g->operands.count;
    unsigned char varies = (unsigned char)mgc_varies_by_itself(g, op, payload);
    for (int i = 0; i < count; i++) {
        to[i] = operands[i];
        varies |= g->varies[operands[i]];
    }
    g->op[e] = op, g->payload[e] = payload, g->varies[e] = varies;
    g->first[e + 1] = g->operands.count += count;
    return e;
}

/* The expression of an operation on operands, which are not within this graph's own memory. */
static int mgc_add(mgc_graph *g, int op, const int *operands, int count, uint64_t payload)
{
    if (mgc_is_unique(op)) return mgc_append(g, op, operands, count, payload);
    if (mgc_reserve_table(g, g->hashed + 1) < 0) return -1;
    uint32_t tag;
    mgc_seat *seat = mgc_table_seat(g, op, operands, count, payload, &tag);
    if (seat->e >= 0) return seat->e;
    const int e = mgc_append(g, op, operands, count, payload);
    if (e >= 0) seat->e = e, seat->tag = tag, g->hashed++;
    return e;
}

/* Give back memory that a graph has no use for when it is done; it grows again when something is added. */
static void mgc_trim_graph(mgc_graph *g)
{
    const size_t count = g->count ? (size_t)g->count : 1;
    PyMem_Free(g->table);
    g->table = NULL, g->table_size = 0;
    if (mgc_resize((void **)&g->op, count, sizeof *g->op) < 0
        || mgc_resize((void **)&g->first, count + 1, sizeof *g->first) < 0
        || mgc_resize((void **)&g->payload, count, sizeof *g->payload) < 0
        || mgc_resize((void **)&g->varies, count, sizeof *g->varies) < 0) { /* then it stays as it is */ }
    g->capacity = g->count;
    if (g->operands.count && !mgc_resize((void **)&g->operands.items, (size_t)g->operands.count, sizeof(int)))
        g->operands.capacity = g->operands.count;
}

/* Whether two graphs are the same, expression by expression. */
static int mgc_equal_graphs(const mgc_graph *a, const mgc_graph *b)
{
    const size_t count = (size_t)a->count;
    if (a->count != b->count || a->operands.count != b->operands.count) return 0;
    return !count || (!memcmp(a->op, b->op, count * sizeof *a->op)
                      && !memcmp(a->first, b->first, (count + 1) * sizeof *a->first)
                      && !memcmp(a->payload, b->payload, count * sizeof *a->payload)
                      && (!a->operands.count || !memcmp(a->operands.items, b->operands.items,
                                                        (size_t)a->operands.count * sizeof(int))));
}

static inline int mgc_add_constant(mgc_graph *g, double x)
{
    uint64_t bits;
    memcpy(&bits, &x, sizeof bits);
    return mgc_add(g, MGC_CONSTANT, NULL, 0, bits);
}

static inline int mgc_add_unary(mgc_graph *g, int op, int x) { return mgc_add(g, op, &x, 1, 0); }

static inline int mgc_add_binary(mgc_graph *g, int op, int x, int y)
{
    const int operands[] = {x, y};
    return x < 0 || y < 0 ? -1 : mgc_add(g, op, operands, 2, 0);
}

/* For a loop over the expressions of a graph: hear signals now and then. A handler may add to the graph meanwhile, but
   it changes nothing that is there. Returns -1 with an exception. */
static inline int mgc_hear_signals(int e) { return e && !(e & 0xffff) ? PyErr_CheckSignals() : 0; }

/* Numbers by address, while nodes become expressions. No two nodes begin in the same 64 bytes, and those made one after
   another lie 80 bytes apart: so each 4 KiB with nodes in them have 64 seats, and a hash table finds these. */
typedef struct {
    uintptr_t page;            /* an address without its last 12 bits; 0 if there is none */
    size_t seats;              /* where its seats begin */
} mgc_page;

typedef struct {
    mgc_page *pages;
    int *seats;                /* of each the number, or -1 */
    size_t size, count, capacity;       /* of the pages: size is a power of two, seats are for capacity of them */
} mgc_numbering;

enum { MGC_SEATS = 64 };
_Static_assert(sizeof(mgc_object) >= 64, "no two nodes begin in the same 64 bytes");

static inline mgc_page *mgc_page_of(const mgc_numbering *n, uintptr_t page)
{
    size_t i = (size_t)(page * UINT64_C(0x9e3779b97f4a7c15) >> 32) & (n->size - 1);     /* Knuth's golden ratio */
    while (n->pages[i].page && n->pages[i].page != page) i = (i + 1) & (n->size - 1);
    return &n->pages[i];
}

/* The number of an address; -1 if it has none. */
static inline int mgc_number_of(const mgc_numbering *n, const void *address)
{
    if (!n->size) return -1;
    const mgc_page *page = mgc_page_of(n, (uintptr_t)address >> 12);
    return page->page ? n->seats[page->seats + ((uintptr_t)address >> 6) % MGC_SEATS] : -1;
}

static void mgc_free_numbering(mgc_numbering *n)
{
    PyMem_Free(n->pages);
    PyMem_Free(n->seats);
    memset(n, 0, sizeof *n);
}

/* Make room for one more page. */
static int mgc_grow_numbering(mgc_numbering *n)
{
    const size_t capacity = n->capacity ? 2 * n->capacity : 16;
    mgc_numbering larger = {.size = 2 * capacity, .count = n->count, .capacity = capacity};
    larger.pages = PyMem_Calloc(larger.size, sizeof *larger.pages);
    if (!larger.pages || mgc_resize((void **)&n->seats, capacity, MGC_SEATS * sizeof *n->seats) < 0) {
        PyMem_Free(larger.pages);
        return -1;
    }
    for (size_t i = 0; i < n->size; i++)
        if (n->pages[i].page) *mgc_page_of(&larger, n->pages[i].page) = n->pages[i];
    PyMem_Free(n->pages);
    larger.seats = n->seats;
    *n = larger;
    return 0;
}

static int mgc_set_number(mgc_numbering *n, const void *address, int number)
{
    if (n->count == n->capacity && mgc_grow_numbering(n) < 0) return -1;
    mgc_page *page = mgc_page_of(n, (uintptr_t)address >> 12);
    if (!page->page) {
        page->page = (uintptr_t)address >> 12, page->seats = MGC_SEATS * n->count++;
        memset(n->seats + page->seats, 0xff, MGC_SEATS * sizeof *n->seats);
    }
    n->seats[page->seats + ((uintptr_t)address >> 6) % MGC_SEATS] = number;
    return 0;
}

/* The operands of an expression in the places that a pass has put them in. */
static inline int mgc_moved_operands(const mgc_graph *from, int e, const int *place, mgc_ints *to)
{
    const int count = mgc_operands_in(from, e), *operands = mgc_operands_of(from, e);
    to->count = 0;
    if (mgc_reserve_ints(to, (size_t)count) < 0) return -1;
    for (int i = 0; i < count; i++) to->items[to->count++] = place[operands[i]];
    return 0;
}

#endif
