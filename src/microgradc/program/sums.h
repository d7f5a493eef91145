/* The pass that makes one expression of each sum: of scalars, of rows with weights, of products of rows. Changes with
 * the forms of sums.
 *
 * Terms are added in the order in which they were written: a sum within another one is part of it only if it comes
 * first, as in (a + b) + c.
 */
#ifndef MGC_SUMS_H
#define MGC_SUMS_H

#include "program/graph.h"

/* A term of a sum: sign * x * y, or sign * x where y is -1. */
typedef struct {
    int sign, x, y;
} mgc_term;

/* Terms of all sums, one after another. */
typedef struct {
    mgc_term *items;
    size_t count, capacity;
} mgc_terms;

typedef struct {
    const mgc_graph *from;
    mgc_graph *to;
    int *uses;                  /* how often an expression is used; 0 is dead code */
    int *first, *last;          /* which terms an expression that is a sum has; first is -1 for others */
    unsigned char *absorbed;    /* part of a sum, and needed by nobody else */
    unsigned char *from_zero;   /* a sum that begins with 0, as `sum` and `dot` do, and not with its first term */
    int *place;                 /* the new expression of each old one */
    mgc_terms terms, stack;
    mgc_ints scalars, rows, weights, pairs;
} mgc_summing;

static int mgc_push_term(mgc_terms *terms, int sign, int x, int y)
{
    if (terms->count == terms->capacity) {
        const size_t capacity = terms->capacity ? 2 * terms->capacity : 64;
        if (mgc_resize((void **)&terms->items, capacity, sizeof *terms->items) < 0) return -1;
        terms->capacity = capacity;
    }
    terms->items[terms->count++] = (mgc_term){sign, x, y};
    return 0;
}

static void mgc_count_uses(const mgc_graph *g, const int *outputs, int output_count, int *uses)
{
    memset(uses, 0, (size_t)g->count * sizeof *uses);
    for (int i = 0; i < output_count; i++) uses[outputs[i]] += 2;      /* an output is not to be absorbed */
    for (int e = g->count - 1; e >= 0; e--) {
        if (!uses[e]) continue;
        for (int i = g->first[e]; i < g->first[e + 1]; i++)
            if (uses[g->operands.items[i]] < INT_MAX) uses[g->operands.items[i]]++;
    }
}

static inline int mgc_is_sum(int op) { return op == MGC_ADD || op == MGC_SUB || op == MGC_PRODUCTS; }

/* Find the terms of a sum, and of the sum that it begins with if nobody else needs that. */
static int mgc_find_terms(mgc_summing *s, int root)
{
    const mgc_graph *g = s->from;
    const size_t begin = s->terms.count;
    int is_explicit = 0;
    if (!mgc_is_sum(g->op[root])) return 0;
    s->stack.count = 0;
    s->scalars.count = 0;       /* those that it would absorb */
    if (mgc_push_term(&s->stack, 1, root, -1) < 0) return -1;
    while (s->stack.count) {
        const mgc_term t = s->stack.items[--s->stack.count];
        const int e = t.x, op = g->op[e], *operands = mgc_operands_of(g, e);
        const int is_part = op == MGC_MUL || op == MGC_NEG || (mgc_is_sum(op) && s->terms.count == begin);
        if (t.y >= 0 || (e != root && (s->uses[e] != 1 || !is_part))) {
            if (mgc_push_term(&s->terms, t.sign, e, t.y) < 0) return -1;
            continue;
        }
        if (e != root && mgc_push(&s->scalars, e) < 0) return -1;
        if (op == MGC_MUL) {
            if (mgc_push_term(&s->stack, t.sign, operands[0], operands[1]) < 0) return -1;
        } else if (op == MGC_PRODUCTS) {
            is_explicit = 1;
            for (int i = mgc_operands_in(g, e) - 2; i >= 0; i -= 2) {
                const int y = mgc_is_constant(g, operands[i + 1], 1.0) ? -1 : operands[i + 1];
                if (mgc_push_term(&s->stack, t.sign, operands[i], y) < 0) return -1;
            }
        } else {
            const int second = op == MGC_SUB ? -t.sign : t.sign, first = op == MGC_NEG ? -t.sign : t.sign;
            if (mgc_operands_in(g, e) == 2 && mgc_push_term(&s->stack, second, operands[1], -1) < 0) return -1;
            if (mgc_push_term(&s->stack, first, operands[0], -1) < 0) return -1;
        }
    }
    if (!is_explicit && s->terms.count - begin <= 2) {
        s->terms.count = begin;
        return 0;
    }
    if (s->terms.count > INT_MAX) return -1;
    s->first[root] = (int)begin, s->last[root] = (int)s->terms.count, s->from_zero[root] = (unsigned char)is_explicit;
    for (int i = 0; i < s->scalars.count; i++) s->absorbed[s->scalars.items[i]] = 1;
    return 0;
}

static int mgc_negated(mgc_graph *to, int e)
{
    return to->op[e] == MGC_CONSTANT ? mgc_add_constant(to, -mgc_constant_of(to, e)) : mgc_add_unary(to, MGC_NEG, e);
}

/* A sum of products of scalars, in pairs. */
static int mgc_sum_of_scalars(mgc_graph *to, const int *pairs, int count)
{
    if (count == 2) {
        if (mgc_is_constant(to, pairs[1], 1.0)) return pairs[0];
        if (mgc_is_constant(to, pairs[0], 1.0)) return pairs[1];
    }
    return mgc_add(to, MGC_PRODUCTS, pairs, count, 0);
}

/* DENSE of the rows so far. */
static int mgc_dense_of(mgc_summing *s, int bias)
{
    const int k = s->rows.count;
    if (mgc_reserve_ints(&s->rows, (size_t)k + 1) < 0) return -1;
    memcpy(s->rows.items + k, s->weights.items, (size_t)k * sizeof(int));
    s->rows.items[2 * k] = bias;
    return mgc_add(s->to, MGC_DENSE, s->rows.items, 2 * k + 1, 0);
}

/* The expression of a sum of terms. Scalars that it begins with are the bias of a dense row. From the first product of
   two rows on, it is a sum of products, to which the dense row is one more. */
static int mgc_make_sum(mgc_summing *s, const mgc_term *terms, size_t count, int from_zero)
{
    mgc_graph *to = s->to;
    const int one = mgc_add_constant(to, 1.0);
    int bias = mgc_add_constant(to, from_zero ? 0.0 : -0.0);
    if (one < 0 || bias < 0) return -1;
    s->scalars.count = s->rows.count = s->weights.count = s->pairs.count = 0;
    if (mgc_reserve_ints(&s->rows, 2 * count + 1) < 0 || mgc_reserve_ints(&s->weights, count) < 0) return -1;
    for (size_t i = 0; i < count; i++) {
        int x = s->place[terms[i].x], y = terms[i].y < 0 ? one : s->place[terms[i].y];
        if (!to->varies[x]) {
            const int other = x;
            x = y, y = other;
        }
        /* Now y is a scalar if one of the two is. */
        if (terms[i].sign < 0 && (y = mgc_negated(to, y)) < 0) return -1;
        const int has_begun = s->rows.count || s->pairs.count;
        if (!to->varies[x] && !has_begun) {
            if (mgc_push(&s->scalars, x) < 0 || mgc_push(&s->scalars, y) < 0) return -1;
            continue;
        }
        if (s->scalars.count && !has_begun
            && (bias = mgc_sum_of_scalars(to, s->scalars.items, s->scalars.count)) < 0) return -1;
        if (s->pairs.count || to->varies[y]) {
            if (s->rows.count) {
                const int dense = mgc_dense_of(s, bias);
                if (dense < 0 || mgc_push(&s->pairs, dense) < 0 || mgc_push(&s->pairs, one) < 0) return -1;
                s->rows.count = 0;
            } else if (s->scalars.count && !s->pairs.count) {
                if (mgc_push(&s->pairs, bias) < 0 || mgc_push(&s->pairs, one) < 0) return -1;
            }
            if (mgc_push(&s->pairs, x) < 0 || mgc_push(&s->pairs, y) < 0) return -1;
            continue;
        }
        /* A scalar among rows is the weight of a row of ones. */
        const int factors[] = {x, y};
        const int weight = to->varies[x] || x == one ? y : mgc_sum_of_scalars(to, factors, 2);
        if (weight < 0) return -1;
        s->rows.items[s->rows.count++] = to->varies[x] ? x : one;
        s->weights.items[s->weights.count++] = weight;
    }
    if (s->pairs.count) return mgc_add(to, MGC_PRODUCTS, s->pairs.items, s->pairs.count, 0);
    return s->rows.count ? mgc_dense_of(s, bias) : mgc_sum_of_scalars(to, s->scalars.items, s->scalars.count);
}

static int mgc_move(mgc_summing *s, int e)
{
    if (s->first[e] >= 0)
        return mgc_make_sum(s, s->terms.items + s->first[e], (size_t)(s->last[e] - s->first[e]), s->from_zero[e]);
    const mgc_graph *g = s->from;
    const int count = mgc_operands_in(g, e), *operands = mgc_operands_of(g, e);
    s->pairs.count = 0;
    if (mgc_reserve_ints(&s->pairs, (size_t)count) < 0) return -1;
    for (int i = 0; i < count; i++) s->pairs.items[i] = s->place[operands[i]];
    return mgc_add(s->to, g->op[e], s->pairs.items, count, g->payload[e]);
}

/* Make a graph in which each sum is one expression. place gets the new expression of each old one, -1 if there is
   none. */
static int mgc_sum_up(const mgc_graph *from, const int *outputs, int output_count, mgc_graph *to, int *place)
{
    const size_t count = (size_t)from->count;
    mgc_summing s = {.from = from, .to = to, .place = place};
    int *numbers = PyMem_Malloc((3 * count + 1) * sizeof *numbers);
    unsigned char *marks = PyMem_Calloc(2 * count + 1, 1);
    int failed = !numbers || !marks || mgc_reserve_like(to, from) < 0;
    if (!failed) {
        s.uses = numbers, s.first = numbers + count, s.last = numbers + 2 * count;
        s.absorbed = marks, s.from_zero = marks + count;
        memset(s.first, 0xff, count * sizeof(int));
        mgc_count_uses(from, outputs, output_count, s.uses);
    }
    for (int e = (int)count - 1; e >= 0 && !failed; e--) {
        if ((failed = mgc_hear_signals(e) < 0)) break;
        if (s.uses[e] && !s.absorbed[e]) failed = mgc_find_terms(&s, e) < 0;
    }
    for (int e = 0; e < (int)count && !failed; e++) {
        if ((failed = mgc_hear_signals(e) < 0)) break;
        place[e] = -1;
        if (s.uses[e] && !s.absorbed[e]) failed = (place[e] = mgc_move(&s, e)) < 0;
    }
    PyMem_Free(numbers);
    PyMem_Free(marks);
    PyMem_Free(s.terms.items);
    PyMem_Free(s.stack.items);
    mgc_free_ints(&s.scalars);
    mgc_free_ints(&s.rows);
    mgc_free_ints(&s.weights);
    mgc_free_ints(&s.pairs);
    return -failed;
}

#endif
