/* Operations of any number of operands, one node each: the value and, beside it, what operand i receives. Changes with
 * these operations.
 *
 * Variables in scope of a row: w is the block; of the gradient, v is the value of operand i, f the result, g what
 * arrives, scale what mgc_wide_scale gives. dot keeps its operands in pairs, w0 x0 w1 x1 ..., with the bias last if
 * there is one, and has a loop of its own. take has an index first; it is made while a function is recorded, from an
 * integer argument (functions.pyx), and nowhere else; so are scan, a loop, whose results are nodes over it and the
 * number of which it is (loops.pxi).
 */
#ifndef MGC_WIDE_H
#define MGC_WIDE_H

#include "engine/node.h"
#include "engine/ops.h"

static inline double mgc_wide_at(const mgc_wide *w, Py_ssize_t i)
{
    return w->is_node[i] ? w->operands[i].node->data : w->operands[i].number;
}

/* Value i of several, wherever they are: in a block here, among a program's scalars in replay.h. Compilers inline it.
   */
typedef double mgc_reader(const void *values, Py_ssize_t i);

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

/* m + log(1 + sum of the other exp(v - m)), m the largest v: nothing overflows, and no digit of a small result is
   lost. inf - inf is avoided, as in PyTorch: Blanchard, Higham, Higham, "Accurately computing the log-sum-exp and
   softmax functions", IMA J. Numer. Anal. 2021. */
static inline double mgc_logsumexp_of(mgc_reader *at, const void *values, Py_ssize_t count)
{
    Py_ssize_t largest = 0;
    double others = 0;
    for (Py_ssize_t i = 1; i < count; i++)
        if (at(values, i) > at(values, largest)) largest = i;
    const double m = at(values, largest), shift = isinf(m) ? 0 : m;
    for (Py_ssize_t i = 0; i < count; i++)
        if (i != largest) others += exp(at(values, i) - shift);
    return m + log1p(others);
}

/* What exp(v - f) is multiplied with, so that the gradients of logsumexp add up to 1. Where f is large it was rounded,
   and they do not; infinite, it has PyTorch's. */
static inline double mgc_logsumexp_scale(mgc_reader *at, const void *values, Py_ssize_t count, double f)
{
    double total = 0;
    if (!(fabs(f) > 32) || isinf(f)) return 1;
    for (Py_ssize_t i = 0; i < count; i++) total += exp(at(values, i) - f);
    return 1 / total;
}

static inline double mgc_read_wide(const void *w, Py_ssize_t i) { return mgc_wide_at(w, i); }

static inline double mgc_logsumexp(const mgc_wide *w) { return mgc_logsumexp_of(mgc_read_wide, w, w->count); }

/* nan if the index is out of range: while a function is recorded that is no error yet, the program raises it and
   gives the example. */
static inline double mgc_take(const mgc_wide *w)
{
    const double index = mgc_wide_at(w, 0);
    return index >= 0 && index < (double)(w->count - 1) ? mgc_wide_at(w, 1 + (Py_ssize_t)index) : NAN;
}

#define MGC_WIDE_TABLE(ROW) \
ROW( SUM,       "sum",       mgc_sum(w),                     g ) \
ROW( MEAN,      "mean",      mgc_sum(w) / (double)w->count,  g / (double)w->count ) \
ROW( LOGSUMEXP, "logsumexp", mgc_logsumexp(w),               g * (exp(v - f) * scale) ) \
ROW( TAKE,      "take",      mgc_take(w),                    i && (double)i == 1 + mgc_wide_at(w, 0) ? g : 0 ) \
ROW( CUSTOM,    "custom",    0 /* it is given its value */,  g * w->local[i] )

enum {
    MGC_DOT = MGC_TABLE_END,
    MGC_OPAQUE,            /* built by hand, without local gradients: passes nothing back */
    MGC_SCAN,              /* a loop that is recorded, and one of its results: they pass nothing back by themselves */
    MGC_RESULT,
#define ROW(id, op, value, gradient) MGC_##id,
    MGC_WIDE_TABLE(ROW)
#undef ROW
    MGC_OPS_END,
};

static const char *const mgc_wide_names[] = {   /* from MGC_TABLE_END on */
    "DOT", "OPAQUE", "SCAN", "RESULT",
#define ROW(id, op, value, gradient) #id,
    MGC_WIDE_TABLE(ROW)
#undef ROW
};

static const char *const mgc_wide_ops[] = {
    "dot", "", "scan", "result",
#define ROW(id, op, value, gradient) op,
    MGC_WIDE_TABLE(ROW)
#undef ROW
};

/* What is the same for all operands of a node. */
static inline double mgc_wide_scale(int id, const mgc_wide *w, double f)
{
    return id == MGC_LOGSUMEXP ? mgc_logsumexp_scale(mgc_read_wide, w, w->count, f) : 1;
}

static inline double mgc_wide_value(int id, const mgc_wide *w)
{
    switch (id) {
#define ROW(id, op, value, gradient) case MGC_##id: return value;
        MGC_WIDE_TABLE(ROW)
#undef ROW
    case MGC_DOT: return mgc_dot(w);
    case MGC_WHERE: case MGC_CLIP: return mgc_value(id, mgc_wide_at(w, 0), mgc_wide_at(w, 1), mgc_wide_at(w, 2));
    default: return 0;   /* the others are given their values */
    }
}

#endif
