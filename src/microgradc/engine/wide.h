/* Operations of any number of operands, one node each: the value and, beside it, what operand i receives.
 *
 * Variables in scope of a row: w is the block; of the gradient, v is the value of operand i, f the result, g what arrives.
 * dot keeps its operands in pairs, w0 x0 w1 x1 ..., with the bias last if there is one, and has a loop of its own.
 * take has an index first; it is made while a function is recorded, from an integer argument (functions.pyx), and nowhere else.
 */
#ifndef MGC_WIDE_H
#define MGC_WIDE_H

#include "engine/node.h"
#include "engine/ops.h"

static inline double mgc_wide_at(const mgc_wide *w, Py_ssize_t i)
{
    return w->is_node[i] ? w->operands[i].node->data : w->operands[i].number;
}

/* In order, as a chain of + would: the same bits. */
static inline double mgc_sum(const mgc_wide *w)
{
    double total = 0;
    for (Py_ssize_t i = 0; i < w->count; i++) total += mgc_wide_at(w, i);
    return total;
}

/* ((bias + w0 * x0) + w1 * x1) + ..., the order of micrograd's Neuron. */
static inline double mgc_dot(const mgc_wide *w)
{
    Py_ssize_t last = w->count - 1;
    double total = w->count & 1 ? mgc_wide_at(w, last) : 0;
    for (Py_ssize_t i = 0; i < last; i += 2) total += mgc_wide_at(w, i) * mgc_wide_at(w, i + 1);
    return total;
}

/* m + log(1 + sum of the other exp(v - m)), m the largest v: nothing overflows, and no digit of a small result is lost. inf - inf is
   avoided, as in PyTorch:
   Blanchard, Higham, Higham, "Accurately computing the log-sum-exp and softmax functions", IMA J. Numer. Anal. 2021. */
static inline double mgc_logsumexp(const mgc_wide *w)
{
    Py_ssize_t largest = 0;
    double others = 0;
    for (Py_ssize_t i = 1; i < w->count; i++)
        if (mgc_wide_at(w, i) > mgc_wide_at(w, largest)) largest = i;
    const double m = mgc_wide_at(w, largest), shift = isinf(m) ? 0 : m;
    for (Py_ssize_t i = 0; i < w->count; i++)
        if (i != largest) others += exp(mgc_wide_at(w, i) - shift);
    return m + log1p(others);
}

/* nan if the index is out of range: while a function is recorded that is no error yet, the program raises it and gives the example. */
static inline double mgc_take(const mgc_wide *w)
{
    const double index = mgc_wide_at(w, 0);
    return index >= 0 && index < (double)(w->count - 1) ? mgc_wide_at(w, 1 + (Py_ssize_t)index) : NAN;
}

#define MGC_WIDE_TABLE(ROW) \
ROW( SUM,       "sum",       mgc_sum(w),                     g ) \
ROW( MEAN,      "mean",      mgc_sum(w) / (double)w->count,  g / (double)w->count ) \
ROW( LOGSUMEXP, "logsumexp", mgc_logsumexp(w),               g * exp(v - f) ) \
ROW( TAKE,      "take",      mgc_take(w),                    i && (double)i == 1 + mgc_wide_at(w, 0) ? g : 0 ) \
ROW( CUSTOM,    "custom",    0 /* it is given its value */,  g * w->local[i] )

enum {
    MGC_DOT = MGC_TABLE_END,
    MGC_OPAQUE,            /* built by hand, without local gradients: passes nothing back */
#define ROW(id, op, value, gradient) MGC_##id,
    MGC_WIDE_TABLE(ROW)
#undef ROW
    MGC_OPS_END,
};

static const char *const mgc_wide_names[] = {   /* from MGC_TABLE_END on */
    "DOT", "OPAQUE",
#define ROW(id, op, value, gradient) #id,
    MGC_WIDE_TABLE(ROW)
#undef ROW
};

static const char *const mgc_wide_ops[] = {
    "dot", "",
#define ROW(id, op, value, gradient) op,
    MGC_WIDE_TABLE(ROW)
#undef ROW
};

static inline double mgc_wide_value(int id, const mgc_wide *w)
{
    switch (id) {
#define ROW(id, op, value, gradient) case MGC_##id: return value;
        MGC_WIDE_TABLE(ROW)
#undef ROW
    case MGC_DOT: return mgc_dot(w);
    case MGC_WHERE: case MGC_CLIP: return mgc_value(id, mgc_wide_at(w, 0), mgc_wide_at(w, 1), mgc_wide_at(w, 2));
    default: return 0;   /* OPAQUE is given its value */
    }
}

static inline void mgc_dot_backward(const mgc_wide *w, double g)
{
    Py_ssize_t last = w->count - 1;
    if (w->count & 1 && w->is_node[last]) w->operands[last].node->grad += g;
    for (Py_ssize_t i = 0; i < last; i += 2) {
        double x = mgc_wide_at(w, i), y = mgc_wide_at(w, i + 1);
        if (w->is_node[i]) w->operands[i].node->grad += g * y;
        if (w->is_node[i + 1]) w->operands[i + 1].node->grad += g * x;
    }
}

/* Whether a sort has to enter this node: not yet entered, and there is something to do for it. */
static inline int mgc_is_to_enter(const mgc_node *n, uint64_t epoch, int with_leaves)
{
    return (n->op != MGC_LEAF || n->flags & MGC_CLOSURE || with_leaves) && n->stamp != epoch;
}

/* Put the operands that a sort has to enter on its stack, the first on top. Returns how many. */
static inline Py_ssize_t mgc_push_operands(const mgc_wide *w, mgc_node **stack, uint64_t epoch, int with_leaves)
{
    mgc_node **top = stack;
    for (Py_ssize_t i = w->count; i-- > 0;)
        if (w->is_node[i] && mgc_is_to_enter(w->operands[i].node, epoch, with_leaves)) *top++ = w->operands[i].node;
    return top - stack;
}

/* d result / d operand i. */
static inline double mgc_local_gradient(mgc_node *n, Py_ssize_t i)
{
    const double f = n->data, g = 1;
    if (n->flags & MGC_WIDE) {
        const mgc_wide *w = n->x.wide;
        const double v = mgc_wide_at(w, i);
        switch (n->op) {
#define ROW(id, op, value, gradient) case MGC_##id: return gradient;
            MGC_WIDE_TABLE(ROW)
#undef ROW
        case MGC_DOT: return w->count & 1 && i == w->count - 1 ? 1 : mgc_wide_at(w, i ^ 1);
        case MGC_OPAQUE: return 0;
        }
    }
    const int operands = mgc_rows[n->op].operands;
    const double x = mgc_operand_value(n, 0);
    const double y = operands > 1 ? mgc_operand_value(n, 1) : 0, z = operands > 2 ? mgc_operand_value(n, 2) : 0;
    (void)f, (void)x, (void)y, (void)z;
    switch (n->op) {
#define ROW(id, op, n_, params, value, gx, gy, gz, doc) case MGC_##id: return i == 0 ? gx : i == 1 ? gy : gz;
        MGC_TABLE(ROW)
#undef ROW
    default: return 0;
    }
}

/* Send the gradient of a node on to its operands: one step of the chain rule. */
static inline void mgc_propagate(mgc_node *n)
{
    const double f = n->data, g = n->grad;
    (void)f;
    switch (n->op) {
#define RECEIVE(i, gradient) if (mgc_operand_is_node(n, i)) mgc_operand_at(n, i)->node->grad += gradient;
#define RECEIVE_1(gx, gy, gz) n->x.node->grad += gx;
#define RECEIVE_2(gx, gy, gz) \
        if (n->flags & MGC_X_NODE) n->x.node->grad += gx; \
        if (n->flags & MGC_Y_NODE) n->y.node->grad += gy;
#define RECEIVE_3(gx, gy, gz) RECEIVE(0, gx) RECEIVE(1, gy) RECEIVE(2, gz)
#define READ_1 const double x = n->x.node->data;
#define READ_2 \
        const double x = n->flags & MGC_X_NODE ? n->x.node->data : n->x.number; \
        const double y = n->flags & MGC_Y_NODE ? n->y.node->data : n->y.number;
#define READ_3 \
        const double x = mgc_operand_value(n, 0), y = mgc_operand_value(n, 1), z = mgc_operand_value(n, 2);
#define UNUSED_1 (void)x;
#define UNUSED_2 (void)x, (void)y;
#define UNUSED_3 (void)x, (void)y, (void)z;
#define ROW(id, op, n_, params, value, gx, gy, gz, doc) \
    case MGC_##id: { READ_##n_ UNUSED_##n_ RECEIVE_##n_(gx, gy, gz) break; }
        MGC_TABLE(ROW)
#undef ROW
#define ROW(id, op, value, gradient) \
    case MGC_##id: { \
        const mgc_wide *w = n->x.wide; \
        for (Py_ssize_t i = 0; i < w->count; i++) { \
            if (!w->is_node[i]) continue; \
            const double v = w->operands[i].node->data; (void)v; \
            w->operands[i].node->grad += gradient; \
        } \
        break; \
    }
        MGC_WIDE_TABLE(ROW)
#undef ROW
    case MGC_DOT: mgc_dot_backward(n->x.wide, g); break;
    default: break;   /* a leaf, or an opaque node */
    }
}

#endif
