/* The chain rule: how much of a node's gradient goes to its operands. Changes with how the gradient columns of the
   tables are applied. */
#ifndef MGC_CHAIN_H
#define MGC_CHAIN_H

#include "engine/node.h"
#include "engine/ops.h"
#include "engine/wide.h"

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

/* What the operands of a row of ops.h receive; nothing if there is no such row. */
static inline void mgc_row_gradients(int op, double x, double y, double z, double f, double g, double received[3])
{
    (void)y, (void)z, (void)f;
    switch (op) {
#define ROW(id, op, n, params, value, gx, gy, gz, doc) \
    case MGC_##id: received[0] = gx, received[1] = gy, received[2] = gz; break;
        MGC_TABLE(ROW)
#undef ROW
    default: received[0] = received[1] = received[2] = 0;
    }
}

/* d result / d operand i. */
static inline double mgc_local_gradient(mgc_node *n, Py_ssize_t i)
{
    const double f = n->data, g = 1;
    if (n->flags & MGC_WIDE) {
        const mgc_wide *w = n->x.wide;
        const double v = mgc_wide_at(w, i), scale = mgc_wide_scale(n->op, w, f);
        (void)scale;
        switch (n->op) {
#define ROW(id, op, value, gradient) case MGC_##id: return gradient;
            MGC_WIDE_TABLE(ROW)
#undef ROW
        case MGC_DOT: return w->count & 1 && i == w->count - 1 ? 1 : mgc_wide_at(w, i ^ 1);
        case MGC_OPAQUE: case MGC_SCAN: case MGC_RESULT: return 0;
        }
    }
    const int operands = mgc_rows[n->op].operands;
    const double x = mgc_operand_value(n, 0);
    const double y = operands > 1 ? mgc_operand_value(n, 1) : 0, z = operands > 2 ? mgc_operand_value(n, 2) : 0;
    if (n->op == MGC_POW && i == 0 && y == 0.5 && !mgc_operand_is_node(n, 1))
        return y * mgc_power_in_slope(x, y - 1, 1);
    double received[3];
    mgc_row_gradients(n->op, x, y, z, f, g, received);
    return received[i];
}

/* Send the gradient of a node on to its operands: one step of the chain rule.
   This expands the rows once more: by mgc_row_gradients, a step takes about 30 instructions more, and computes what
   numbers receive as well, a logarithm for each x ** 2. */
static inline void mgc_propagate(mgc_node *n)
{
    const double f = n->data, g = n->grad;
    (void)f;
    switch (n->op) {
#define pow(x, y) mgc_power_in_slope(x, y, !(n->flags & MGC_Y_NODE))
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
#undef pow
#define ROW(id, op, value, gradient) \
    case MGC_##id: { \
        const mgc_wide *w = n->x.wide; \
        const double scale = mgc_wide_scale(MGC_##id, w, f); (void)scale; \
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
