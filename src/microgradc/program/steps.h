/* The steps of programs that are no row of ops.h: what each reads, and what it calls forward and backward. Changes
 * with the steps there are. A step has a kernel in lanes/ or a loop here; all else is made from its row.
 *
 * A column of a row is
 *   index       1 if it has an index, which comes first and lies in x;
 *   rows        how many rows of lanes it reads for each of its k;
 *   weights     how many weights it reads for each of its k, and each result;
 *   bias        1 if each result has a bias, after the weights;
 *   least       the smallest k;
 *   sends       MGC_TO_ALL, or MGC_TO_ONE if it sends a gradient to the operand that the index picks, alone;
 *   form        the operands that an expression of it has, in words;
 *   forward     of n lanes: f gets the value;
 *   backward    adds what the operands receive;
 *   scalar      the value of scalars, and what `scalar_back` adds to gradients; MGC_NEVER if it reads rows alone.
 *
 * In scope are, of lanes: x, the row of the index; base and gbase, all rows of values and of gradients; places[i],
 * which is that of operand i; f, the result's, and g, its gradient's; weights and gw, their gradients; count results;
 * k; receives; n lanes, valid of them examples; lanes, the kernels; scratch. Of scalars: scalars and gradients, all of
 * them; places; values, a reader of them; f and g, numbers; k.
 */
#ifndef MGC_STEPS_H
#define MGC_STEPS_H

#include "engine/wide.h"

/* Those that nodes of the engine have, too */
#define MGC_STEPS_OF_NODES(STEP) \
STEP(LOGSUMEXP, "logsumexp", 0, 1, 0, 0, 1, MGC_TO_ALL, "at least 1", \
    lanes->logsumexp(base, places, f, k, n), \
    lanes->logsumexp_back(base, places, f, g, gbase, k, n), \
    mgc_logsumexp_of(mgc_read_scalar, &values, k), \
    mgc_logsumexp_of_scalars_back(&values, k, f, g, gradients)) \
STEP(TAKE, "take", 1, 1, 0, 0, 1, MGC_TO_ONE, "at least 2", \
    for (Py_ssize_t l = 0; l < n; l++) f[l] = base[places[mgc_index(x[l], k)] * n + l], \
    for (Py_ssize_t l = 0; l < n; l++) gbase[places[mgc_index(x[l], k)] * n + l] += g[l], \
    scalars[places[1 + mgc_index(scalars[places[0]], k)]], \
    gradients[places[1 + mgc_index(scalars[places[0]], k)]] += g)

/* Those of graphs: a dot product of rows with weights; a sum of products of pairs; logsumexp(v) - v[index] */
#define MGC_STEPS_OF_GRAPHS(STEP) \
STEP(DENSE, "dense", 0, 1, 1, 1, 0, MGC_TO_ALL, "as many rows as weights, and a bias", \
    lanes->dense(weights, weights + (Py_ssize_t)count * k, base, places, f, count, k, n), \
    if (receives & MGC_WEIGHTS_RECEIVE) \
        lanes->dense_weights(g, base, places, gw, gw + (Py_ssize_t)count * k, count, k, n, valid, scratch); \
    if (receives & MGC_OPERANDS_RECEIVE) \
        lanes->dense_operands(weights, g, gbase, places, receives & MGC_OPERANDS_RECEIVE_FIRST, count, k, n), \
    MGC_NEVER, \
    (void)0) \
STEP(PRODUCTS, "products", 0, 2, 0, 0, 0, MGC_TO_ALL, "pairs", \
    lanes->products(base, places, f, k, n), \
    lanes->products_back(base, places, g, gbase, k, n), \
    mgc_products_of_scalars(scalars, places, k), \
    mgc_products_back(places, k, scalars, g, gradients)) \
STEP(CROSS_ENTROPY, "cross_entropy", 1, 1, 0, 0, 1, MGC_TO_ALL, "at least 2", \
    lanes->cross_entropy(x, base, places, f, k, n), \
    lanes->cross_entropy_back(x, base, places, f, g, gbase, k, n), \
    MGC_NEVER, \
    (void)0)

/* Those of plans alone: take of weights */
#define MGC_STEPS_OF_PLANS(STEP) \
STEP(TAKE_WEIGHT, "take", 1, 0, 1, 0, 1, MGC_TO_ONE, "at least 2", \
    for (Py_ssize_t l = 0; l < n; l++) f[l] = weights[mgc_index(x[l], k)], \
    for (Py_ssize_t l = 0; l < valid; l++) gw[mgc_index(x[l], k)] += g[l], \
    MGC_NEVER, \
    (void)0)

#define MGC_STEPS(STEP) MGC_STEPS_OF_NODES(STEP) MGC_STEPS_OF_GRAPHS(STEP) MGC_STEPS_OF_PLANS(STEP)

#define MGC_NEVER 0

/* A loop, and its results: scan.h has what they do. A result is a row that the loop writes, and no step. */
#define MGC_LOOPS(STEP) \
STEP(SCAN, "scan", 0, 1, 0, 0, 0, MGC_TO_ALL, "those of its loop", MGC_NEVER, MGC_NEVER, MGC_NEVER, MGC_NEVER) \
STEP(RESULT, "result", 0, 1, 0, 0, 1, MGC_TO_ALL, "1", MGC_NEVER, MGC_NEVER, MGC_NEVER, MGC_NEVER)
enum { MGC_TO_ALL, MGC_TO_ONE };

/* Numbers of operations, after the engine's */
enum {
    MGC_BEFORE_STEPS = MGC_OPS_END - 1,
#define STEP(ID, ...) MGC_##ID,
    MGC_STEPS_OF_GRAPHS(STEP)
    MGC_GRAPH_OPS_END,
    MGC_BEFORE_STEPS_OF_PLANS = MGC_GRAPH_OPS_END - 1,
    MGC_STEPS_OF_PLANS(STEP)
#undef STEP
    MGC_STEPS_END,
};

typedef struct {
    const char *name;           /* NULL if there is no such step */
    int index, rows, weights, bias, least, sends;
    const char *form;
} mgc_kind;

/* By operation; of rows of ops.h all is 0. */
static const mgc_kind mgc_kinds[MGC_STEPS_END] = {
#define STEP(ID, name, index, rows, weights, bias, least, sends, form, ...) \
    [MGC_##ID] = {name, index, rows, weights, bias, least, sends, form},
    MGC_STEPS(STEP)
    MGC_LOOPS(STEP)
#undef STEP
};

/* The k of a step whose expression has so many operands. */
static inline int mgc_k_of(const mgc_kind *kind, int operands)
{
    return (operands - kind->index - kind->bias) / (kind->rows + kind->weights);
}

/* Whether an expression of this kind can have so many operands. */
static inline int mgc_can_have(const mgc_kind *kind, Py_ssize_t operands)
{
    const Py_ssize_t each = operands - kind->index - kind->bias, per_k = kind->rows + kind->weights;
    return each >= kind->least * per_k && each % per_k == 0;
}

#endif
