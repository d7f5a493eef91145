/* The pass that replaces operations by cheaper ones with the same values and gradients. Changes with its rules.
 *
 * A rule is asked for an operation on operands that are simple already. It gives the expression that takes its place,
 * MGC_NO_MATCH, or -1 when there is no memory. The first that matches counts.
 */
#ifndef MGC_SIMPLIFY_H
#define MGC_SIMPLIFY_H

#include <math.h>

#include "program/graph.h"

enum { MGC_NO_MATCH = -2 };

/* The graph that is made, and room for operands. */
typedef struct {
    mgc_graph *to;
    mgc_ints operands;
} mgc_simplifier;

static int mgc_simplified(mgc_simplifier *s, int op, const int *operands, int count, uint64_t payload);

static int mgc_simplified_pair(mgc_simplifier *s, int op, int x, int y)
{
    const int operands[] = {x, y};
    return x < 0 || y < 0 ? -1 : mgc_simplified(s, op, operands, 2, 0);
}

/* Sums: as products, which the pass over sums puts together. */

static int mgc_products_of_sum(mgc_simplifier *s, const int *operands, int count)
{
    if (count == 1) return operands[0];
    const int one = mgc_add_constant(s->to, 1.0);
    s->operands.count = 0;
    if (one < 0 || mgc_reserve_ints(&s->operands, 2 * (size_t)count) < 0) return -1;
    for (int i = 0; i < count; i++) {
        s->operands.items[2 * i] = operands[i];
        s->operands.items[2 * i + 1] = one;
    }
    return mgc_add(s->to, MGC_PRODUCTS, s->operands.items, 2 * count, 0);
}

static int mgc_quotient(mgc_simplifier *s, int x, double divisor)
{
    int exponent;
    if (fabs(frexp(divisor, &exponent)) == 0.5 && isfinite(1 / divisor)) {
        if (fabs(divisor) == 1) return divisor == 1 ? x : mgc_simplified(s, MGC_NEG, &x, 1, 0);
        return mgc_add_binary(s->to, MGC_MUL, x, mgc_add_constant(s->to, 1 / divisor));
    }
    return mgc_add_binary(s->to, MGC_DIV, x, mgc_add_constant(s->to, divisor));
}

static int mgc_quotient_of_mean(mgc_simplifier *s, const int *operands, int count)
{
    const int total = mgc_products_of_sum(s, operands, count);
    return total < 0 ? -1 : mgc_quotient(s, total, count);
}

static int mgc_products_of_dot(mgc_simplifier *s, const int *operands, int count)
{
    if (!(count & 1)) return mgc_add(s->to, MGC_PRODUCTS, operands, count, 0);
    const int one = mgc_add_constant(s->to, 1.0);      /* the bias comes last, and is added first */
    s->operands.count = 0;
    if (one < 0 || mgc_reserve_ints(&s->operands, (size_t)count + 1) < 0) return -1;
    s->operands.items[0] = operands[count - 1], s->operands.items[1] = one;
    memcpy(s->operands.items + 2, operands, (size_t)(count - 1) * sizeof *operands);
    return mgc_add(s->to, MGC_PRODUCTS, s->operands.items, count + 1, 0);
}

/* Operations with a constant */

static int mgc_negative_of_negative(mgc_simplifier *s, const int *operands, int count)
{
    (void)count;
    return s->to->op[operands[0]] == MGC_NEG ? mgc_operands_of(s->to, operands[0])[0] : MGC_NO_MATCH;
}

/* Powers with a known exponent. pow costs ten times as much as a product, a root or a division. */

/* Whether an exponent is one of these two. */
static inline int mgc_is_either(const mgc_graph *g, int exponent, double a, double b)
{
    return mgc_is_constant(g, exponent, a) || mgc_is_constant(g, exponent, b);
}

/* Its slope is 0. What is no leaf is left as it is: it sends 0 on to what it was made from, which meets its slopes. */
static int mgc_power_0(mgc_simplifier *s, const int *operands, int count)
{
    (void)count;
    if (!mgc_is_either(s->to, operands[1], 0.0, -0.0) || s->to->op[operands[0]] >= 0) return MGC_NO_MATCH;
    return mgc_add_constant(s->to, 1.0);
}

static int mgc_power_1(mgc_simplifier *s, const int *operands, int count)
{
    (void)count;
    return mgc_is_constant(s->to, operands[1], 1.0) ? operands[0] : MGC_NO_MATCH;
}

static int mgc_products_of_power(mgc_simplifier *s, const int *operands, int count)
{
    mgc_graph *to = s->to;
    const int x = operands[0], cubes = mgc_is_constant(to, operands[1], 3.0);
    (void)count;
    if (!cubes && !mgc_is_either(to, operands[1], 2.0, 4.0)) return MGC_NO_MATCH;
    const int square = mgc_add_binary(to, MGC_MUL, x, x);
    if (cubes) return mgc_add_binary(to, MGC_MUL, square, x);
    return mgc_is_constant(to, operands[1], 2.0) ? square : mgc_add_binary(to, MGC_MUL, square, square);
}

static int mgc_root_of_power(mgc_simplifier *s, const int *operands, int count)
{
    (void)count;
    if (!mgc_is_either(s->to, operands[1], 0.5, -0.5)) return MGC_NO_MATCH;
    const int root = mgc_add_unary(s->to, MGC_SQRT, operands[0]);
    if (mgc_is_constant(s->to, operands[1], 0.5)) return root;
    return mgc_add_binary(s->to, MGC_DIV, mgc_add_constant(s->to, 1.0), root);
}

/* x ** -2 is (1 / x) ** 2: 1 / (x * x) would be 0 where x * x is infinite, though x ** -2 is not 0 yet. */
static int mgc_quotient_of_power(mgc_simplifier *s, const int *operands, int count)
{
    (void)count;
    if (!mgc_is_either(s->to, operands[1], -1.0, -2.0)) return MGC_NO_MATCH;
    const int quotient = mgc_add_binary(s->to, MGC_DIV, mgc_add_constant(s->to, 1.0), operands[0]);
    if (mgc_is_constant(s->to, operands[1], -1.0)) return quotient;
    return mgc_add_binary(s->to, MGC_MUL, quotient, quotient);
}

/* Neutral elements */

static int mgc_factor_1(mgc_simplifier *s, const int *operands, int count)
{
    (void)count;
    if (mgc_is_constant(s->to, operands[1], 1.0)) return operands[0];
    return mgc_is_constant(s->to, operands[0], 1.0) ? operands[1] : MGC_NO_MATCH;
}

static int mgc_factor_minus_1(mgc_simplifier *s, const int *operands, int count)
{
    const int second = mgc_is_constant(s->to, operands[1], -1.0);
    (void)count;
    if (!second && !mgc_is_constant(s->to, operands[0], -1.0)) return MGC_NO_MATCH;
    return mgc_simplified(s, MGC_NEG, &operands[!second], 1, 0);
}

static int mgc_known_divisor(mgc_simplifier *s, const int *operands, int count)
{
    (void)count;
    if (s->to->op[operands[1]] != MGC_CONSTANT) return MGC_NO_MATCH;
    return mgc_quotient(s, operands[0], mgc_constant_of(s->to, operands[1]));
}

static int mgc_term_0(mgc_simplifier *s, const int *operands, int count)
{
    (void)count;
    if (mgc_is_constant(s->to, operands[1], -0.0)) return operands[0];
    return mgc_is_constant(s->to, operands[0], -0.0) ? operands[1] : MGC_NO_MATCH;
}

static int mgc_difference_with_0(mgc_simplifier *s, const int *operands, int count)
{
    (void)count;
    if (mgc_is_constant(s->to, operands[1], 0.0)) return operands[0];
    return mgc_is_constant(s->to, operands[0], -0.0) ? mgc_simplified(s, MGC_NEG, &operands[1], 1, 0) : MGC_NO_MATCH;
}

/* Of the second operand alone: a sum goes on with what is in the first one. */
static int mgc_sum_with_negative(mgc_simplifier *s, const int *operands, int count)
{
    (void)count;
    if (s->to->op[operands[1]] != MGC_NEG) return MGC_NO_MATCH;
    return mgc_simplified_pair(s, MGC_SUB, operands[0], mgc_operands_of(s->to, operands[1])[0]);
}

static int mgc_difference_with_negative(mgc_simplifier *s, const int *operands, int count)
{
    (void)count;
    if (s->to->op[operands[1]] != MGC_NEG) return MGC_NO_MATCH;
    return mgc_simplified_pair(s, MGC_ADD, operands[0], mgc_operands_of(s->to, operands[1])[0]);
}

static int mgc_known_condition(mgc_simplifier *s, const int *operands, int count)
{
    (void)count;
    if (s->to->op[operands[0]] != MGC_CONSTANT) return MGC_NO_MATCH;
    return operands[mgc_constant_of(s->to, operands[0]) != 0 ? 1 : 2];
}

static int mgc_equal_choices(mgc_simplifier *s, const int *operands, int count)
{
    (void)s, (void)count;
    return operands[1] == operands[2] ? operands[1] : MGC_NO_MATCH;
}

/* Cross entropy */

/* Of logsumexp(v) - v[index], however v was shifted. */
static int mgc_cross_entropy_of_difference(mgc_simplifier *s, const int *operands, int count)
{
    mgc_graph *to = s->to;
    const int total = operands[0], taken = operands[1];
    (void)count;
    if (to->op[total] != MGC_LOGSUMEXP || to->op[taken] != MGC_TAKE) return MGC_NO_MATCH;
    const int values = mgc_operands_in(to, total);
    if (mgc_operands_in(to, taken) != values + 1
        || memcmp(mgc_operands_of(to, total), mgc_operands_of(to, taken) + 1, (size_t)values * sizeof(int)))
        return MGC_NO_MATCH;
    s->operands.count = 0;
    if (mgc_reserve_ints(&s->operands, (size_t)values + 1) < 0) return -1;
    memcpy(s->operands.items, mgc_operands_of(to, taken), ((size_t)values + 1) * sizeof(int));
    return mgc_add(to, MGC_CROSS_ENTROPY, s->operands.items, values + 1, 0);
}

/* If all of some values are differences with the same second operand, what is in front of it; -1 if they are not. */
static int mgc_common_subtrahend(const mgc_graph *g, const int *values, int count)
{
    for (int i = 0; i < count; i++) {
        if (g->op[values[i]] != MGC_SUB) return -1;
        if (mgc_operands_of(g, values[i])[1] != mgc_operands_of(g, values[0])[1]) return -1;
    }
    return count ? mgc_operands_of(g, values[0])[1] : -1;
}

static int mgc_cross_entropy_of_log_softmax(mgc_simplifier *s, const int *operands, int count)
{
    mgc_graph *to = s->to;
    const int k = count - 1, total = mgc_common_subtrahend(to, operands + 1, k);
    if (total < 0 || to->op[total] != MGC_LOGSUMEXP || mgc_operands_in(to, total) != k) return MGC_NO_MATCH;
    s->operands.count = 0;
    if (mgc_reserve_ints(&s->operands, (size_t)count) < 0) return -1;
    int *values = s->operands.items;
    values[0] = operands[0];
    for (int i = 0; i < k; i++) {
        values[i + 1] = mgc_operands_of(to, operands[i + 1])[0];
        if (values[i + 1] != mgc_operands_of(to, total)[i]) return MGC_NO_MATCH;
    }
    if (mgc_common_subtrahend(to, values + 1, k) >= 0)
        for (int i = 1; i < count; i++) values[i] = mgc_operands_of(to, values[i])[0];
    const int loss = mgc_add(to, MGC_CROSS_ENTROPY, values, count, 0);
    return loss < 0 ? -1 : mgc_add_unary(to, MGC_NEG, loss);
}

typedef struct {
    int op;
    int (*apply)(mgc_simplifier *, const int *operands, int count);
    const char *name;
    const char *reason;
} mgc_rule;

static const mgc_rule mgc_rules[] = {
    {MGC_SUM, mgc_products_of_sum, "sum", "sums have one form, however they were written"},
    {MGC_MEAN, mgc_quotient_of_mean, "mean", "a sum, divided once"},
    {MGC_DOT, mgc_products_of_dot, "dot", "a sum of products, the bias first"},
    {MGC_NEG, mgc_negative_of_negative, "-(-x)", "is x"},
    {MGC_POW, mgc_power_0, "x ** 0", "is 1, of a leaf: what is no leaf would send 0 times its own slopes on"},
    {MGC_POW, mgc_power_1, "x ** 1", "is x"},
    {MGC_POW, mgc_products_of_power, "x ** 2", "a product, as are x ** 3 and x ** 4, within 2 ulp"},
    {MGC_POW, mgc_root_of_power, "x ** 0.5", "a square root; for x ** -0.5, 1 is divided by it"},
    {MGC_POW, mgc_quotient_of_power, "x ** -1", "a division; x ** -2 is the square of that, which neither overflows "
     "nor vanishes before its time"},
    {MGC_MUL, mgc_factor_1, "x * 1", "is x"},
    {MGC_MUL, mgc_factor_minus_1, "x * -1", "is -x, with the same bits"},
    {MGC_DIV, mgc_known_divisor, "x / 2", "a product has the same bits if the divisor is a power of two"},
    {MGC_ADD, mgc_term_0, "x + -0.0", "is x; x + 0.0 is not where x is -0.0"},
    {MGC_ADD, mgc_sum_with_negative, "x + -y", "is x - y, with the same bits"},
    {MGC_SUB, mgc_difference_with_0, "x - 0.0", "is x, and -0.0 - x is -x; 0.0 - x is not where x is 0.0"},
    {MGC_SUB, mgc_difference_with_negative, "x - -y", "is x + y, with the same bits"},
    {MGC_WHERE, mgc_known_condition, "where(1, x, y)", "is x, and y receives nothing"},
    {MGC_WHERE, mgc_equal_choices, "where(c, x, x)", "is x; the condition receives nothing in any case"},
    {MGC_SUB, mgc_cross_entropy_of_difference, "logsumexp(v) - take(v, i)",
     "one step, which takes the largest value off by itself"},
    {MGC_TAKE, mgc_cross_entropy_of_log_softmax, "take(log_softmax(v), i)",
     "the same; the shift of log_softmax is not needed any more"},
};

enum { MGC_RULES = sizeof mgc_rules / sizeof *mgc_rules };

/* The expression of an operation, by a rule if one matches. */
static int mgc_simplified(mgc_simplifier *s, int op, const int *operands, int count, uint64_t payload)
{
    for (int i = 0; i < MGC_RULES; i++) {
        if (mgc_rules[i].op != op) continue;
        const int found = mgc_rules[i].apply(s, operands, count);
        if (found != MGC_NO_MATCH) return found;
    }
    return mgc_add(s->to, op, operands, count, payload);
}

/* Make a graph of the simplified expressions; those that nobody needs any more stay in it. place gets the new
   expression of each old one. */
static int mgc_simplify(const mgc_graph *from, mgc_graph *to, int *place)
{
    mgc_simplifier s = {to, {NULL, 0, 0}};
    mgc_ints operands = {NULL, 0, 0};
    const int expressions = from->count;
    int failed = mgc_reserve_like(to, from) < 0;
    for (int e = 0; e < expressions && !failed; e++) {
        if ((failed = mgc_hear_signals(e) < 0)) break;
        failed = mgc_moved_operands(from, e, place, &operands) < 0;
        if (failed) break;
        failed = (place[e] = mgc_simplified(&s, from->op[e], operands.items, operands.count, from->payload[e])) < 0;
    }
    mgc_free_ints(&operands);
    mgc_free_ints(&s.operands);
    return -failed;
}

#endif
