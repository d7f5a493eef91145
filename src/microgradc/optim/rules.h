/* The rules of the optimizers, for a part of the parameters: arithmetic on arrays, which compilers vectorise. Each
 * names its source in PyTorch, and rounds in the same order. Changes with the rules.
 */
#ifndef MGC_RULES_H
#define MGC_RULES_H

#include <math.h>

#include "engine/node.h"
#include "engine/update.h"

typedef struct {
    mgc_update update;
    double lr, momentum, dampening, weight_decay;
    int nesterov, maximize, first;
} mgc_sgd;

typedef struct {
    mgc_update update;
    double lr, beta1, beta2, eps, weight_decay, decay;      /* decay: what parameters are multiplied with (AdamW) */
    double step_size, root_correction;                      /* of a step */
    int maximize;
} mgc_adam;

typedef struct {
    mgc_update update;
    double lr, alpha, eps, weight_decay, momentum;
    int maximize;
} mgc_rmsprop;

typedef struct {
    mgc_update update;
    double lr, lr_decay, weight_decay, initial, eps;        /* initial: where the sums begin */
    double rate;                                            /* of a step */
    int maximize, first;
} mgc_adagrad;

typedef struct {
    mgc_update update;
    double lr, beta1, beta2, eps, weight_decay, decay, momentum_decay;     /* decay: as of Adam */
    double correction, mu, mu_next;                                         /* of a step */
    int maximize, first;
} mgc_nadam;

typedef union {
    mgc_update update;
    mgc_sgd sgd;
    mgc_adam adam;
    mgc_rmsprop rmsprop;
    mgc_adagrad adagrad;
    mgc_nadam nadam;
} mgc_rule;

/* The same numbers by wider instructions where the loader can choose: divisions and roots are most of the time. */
#if defined(__x86_64__) && defined(__GLIBC__) && defined(__GNUC__) && !defined(__clang__)
#define MGC_CLONES __attribute__((target_clones("avx2", "default")))
#else
#define MGC_CLONES
#endif

/* A buffer from a place on; NULL if there is none. */
static inline double *mgc_buffer(const mgc_update *u, int i, Py_ssize_t place)
{
    return u->buffers[i] ? u->buffers[i] + place : NULL;
}

static void mgc_begin_sgd(mgc_update *u, Py_ssize_t step, int first)
{
    (void)step;
    ((mgc_sgd *)u)->first = first;
}

/* torch/optim/sgd.py, _single_tensor_sgd */
static void mgc_change_sgd(const mgc_update *u, Py_ssize_t place, Py_ssize_t n, double *x, double *g)
{
    const mgc_sgd *rule = (const mgc_sgd *)u;
    const double momentum = rule->momentum, share = 1 - rule->dampening, lr = rule->lr;
    double *b = mgc_buffer(u, 0, place);
    if (rule->maximize) for (Py_ssize_t i = 0; i < n; i++) g[i] = -g[i];
    if (rule->weight_decay != 0) for (Py_ssize_t i = 0; i < n; i++) g[i] += rule->weight_decay * x[i];
    if (b) {
        if (rule->first) for (Py_ssize_t i = 0; i < n; i++) b[i] = g[i];
        else for (Py_ssize_t i = 0; i < n; i++) b[i] = b[i] * momentum + share * g[i];
        if (rule->nesterov) for (Py_ssize_t i = 0; i < n; i++) g[i] = g[i] + momentum * b[i];
        else for (Py_ssize_t i = 0; i < n; i++) g[i] = b[i];
    }
    for (Py_ssize_t i = 0; i < n; i++) x[i] += -lr * g[i];
}

static void mgc_begin_adam(mgc_update *u, Py_ssize_t step, int first)
{
    mgc_adam *rule = (mgc_adam *)u;
    (void)first;
    rule->step_size = rule->lr / (1 - pow(rule->beta1, (double)step));
    rule->root_correction = pow(1 - pow(rule->beta2, (double)step), 0.5);
}

/* torch/optim/adam.py, _single_tensor_adam */
MGC_CLONES
static void mgc_adam_part(const mgc_adam *rule, Py_ssize_t n, double *x, double *g, double *m, double *v,
                          double *largest)
{
    const double step_size = rule->step_size, root_correction = rule->root_correction, eps = rule->eps;
    const double w = 1 - rule->beta1, beta2 = rule->beta2, decay = rule->decay, weight_decay = rule->weight_decay;
    if (rule->maximize) for (Py_ssize_t i = 0; i < n; i++) g[i] = -g[i];
    for (Py_ssize_t i = 0; i < n; i++) x[i] *= decay;
    if (weight_decay != 0) for (Py_ssize_t i = 0; i < n; i++) g[i] += weight_decay * x[i];
    /* m + w (g - m), from the nearer end, as aten/src/ATen/native/Lerp.h has it */
    if (w < 0.5) for (Py_ssize_t i = 0; i < n; i++) m[i] = m[i] + w * (g[i] - m[i]);
    else for (Py_ssize_t i = 0; i < n; i++) m[i] = g[i] - (g[i] - m[i]) * (1 - w);
    for (Py_ssize_t i = 0; i < n; i++) v[i] = v[i] * beta2 + (1 - beta2) * g[i] * g[i];
    if (largest) for (Py_ssize_t i = 0; i < n; i++) largest[i] = v[i] > largest[i] || isnan(v[i]) ? v[i] : largest[i];
    const double *second = largest ? largest : v;
    for (Py_ssize_t i = 0; i < n; i++) x[i] += -step_size * m[i] / (sqrt(second[i]) / root_correction + eps);
}

static void mgc_change_adam(const mgc_update *u, Py_ssize_t place, Py_ssize_t n, double *x, double *g)
{
    mgc_adam_part((const mgc_adam *)u, n, x, g, mgc_buffer(u, 0, place), mgc_buffer(u, 1, place),
                  mgc_buffer(u, 2, place));
}

static void mgc_begin_rmsprop(mgc_update *u, Py_ssize_t step, int first)
{
    (void)u, (void)step, (void)first;
}

/* torch/optim/rmsprop.py, _single_tensor_rmsprop */
MGC_CLONES
static void mgc_rmsprop_part(const mgc_rmsprop *rule, Py_ssize_t n, double *x, double *g, double *squares,
                             double *means, double *b)
{
    const double alpha = rule->alpha, w = 1 - alpha, lr = rule->lr, eps = rule->eps, momentum = rule->momentum;
    double root[MGC_UPDATE_PART];
    if (rule->maximize) for (Py_ssize_t i = 0; i < n; i++) g[i] = -g[i];
    if (rule->weight_decay != 0) for (Py_ssize_t i = 0; i < n; i++) g[i] += rule->weight_decay * x[i];
    for (Py_ssize_t i = 0; i < n; i++) squares[i] = squares[i] * alpha + (1 - alpha) * g[i] * g[i];
    if (means) {
        if (w < 0.5) for (Py_ssize_t i = 0; i < n; i++) means[i] = means[i] + w * (g[i] - means[i]);
        else for (Py_ssize_t i = 0; i < n; i++) means[i] = g[i] - (g[i] - means[i]) * (1 - w);
        for (Py_ssize_t i = 0; i < n; i++) root[i] = sqrt(squares[i] - means[i] * means[i]);
    } else {
        for (Py_ssize_t i = 0; i < n; i++) root[i] = sqrt(squares[i]);
    }
    if (b) {
        for (Py_ssize_t i = 0; i < n; i++) b[i] = b[i] * momentum + g[i] / (root[i] + eps);
        for (Py_ssize_t i = 0; i < n; i++) x[i] += -lr * b[i];
    } else {
        for (Py_ssize_t i = 0; i < n; i++) x[i] += -lr * g[i] / (root[i] + eps);
    }
}

static void mgc_change_rmsprop(const mgc_update *u, Py_ssize_t place, Py_ssize_t n, double *x, double *g)
{
    mgc_rmsprop_part((const mgc_rmsprop *)u, n, x, g, mgc_buffer(u, 0, place), mgc_buffer(u, 1, place),
                     mgc_buffer(u, 2, place));
}

static void mgc_begin_adagrad(mgc_update *u, Py_ssize_t step, int first)
{
    mgc_adagrad *rule = (mgc_adagrad *)u;
    rule->first = first;
    rule->rate = rule->lr / (1 + (double)(step - 1) * rule->lr_decay);
}

/* torch/optim/adagrad.py, _single_tensor_adagrad */
MGC_CLONES
static void mgc_adagrad_part(const mgc_adagrad *rule, Py_ssize_t n, double *x, double *g, double *sum)
{
    const double rate = rule->rate, eps = rule->eps;
    if (rule->first) for (Py_ssize_t i = 0; i < n; i++) sum[i] = rule->initial;
    if (rule->maximize) for (Py_ssize_t i = 0; i < n; i++) g[i] = -g[i];
    if (rule->weight_decay != 0) for (Py_ssize_t i = 0; i < n; i++) g[i] += rule->weight_decay * x[i];
    for (Py_ssize_t i = 0; i < n; i++) sum[i] += g[i] * g[i];
    for (Py_ssize_t i = 0; i < n; i++) x[i] += -rate * g[i] / (sqrt(sum[i]) + eps);
}

static void mgc_change_adagrad(const mgc_update *u, Py_ssize_t place, Py_ssize_t n, double *x, double *g)
{
    mgc_adagrad_part((const mgc_adagrad *)u, n, x, g, mgc_buffer(u, 0, place));
}

static void mgc_begin_nadam(mgc_update *u, Py_ssize_t step, int first)
{
    mgc_nadam *rule = (mgc_nadam *)u;
    const double t = (double)step;
    rule->first = first;
    rule->correction = 1 - pow(rule->beta2, t);
    rule->mu = rule->beta1 * (1 - 0.5 * pow(0.96, t * rule->momentum_decay));
    rule->mu_next = rule->beta1 * (1 - 0.5 * pow(0.96, (t + 1) * rule->momentum_decay));
}

/* torch/optim/nadam.py, _single_tensor_nadam */
MGC_CLONES
static void mgc_nadam_part(const mgc_nadam *rule, Py_ssize_t n, double *x, double *g, double *m, double *v,
                           double *product)
{
    const double w = 1 - rule->beta1, beta2 = rule->beta2, correction = rule->correction, eps = rule->eps;
    const double mu = rule->mu, of_gradient = -rule->lr * (1 - mu), of_mean = -rule->lr * rule->mu_next;
    const double mu_next = rule->mu_next, decay = rule->decay, weight_decay = rule->weight_decay;
    if (rule->first) for (Py_ssize_t i = 0; i < n; i++) product[i] = 1;
    if (rule->maximize) for (Py_ssize_t i = 0; i < n; i++) g[i] = -g[i];
    for (Py_ssize_t i = 0; i < n; i++) x[i] *= decay;
    if (weight_decay != 0) for (Py_ssize_t i = 0; i < n; i++) g[i] += weight_decay * x[i];
    for (Py_ssize_t i = 0; i < n; i++) product[i] *= mu;
    if (w < 0.5) for (Py_ssize_t i = 0; i < n; i++) m[i] = m[i] + w * (g[i] - m[i]);
    else for (Py_ssize_t i = 0; i < n; i++) m[i] = g[i] - (g[i] - m[i]) * (1 - w);
    for (Py_ssize_t i = 0; i < n; i++) v[i] = v[i] * beta2 + (1 - beta2) * g[i] * g[i];
    for (Py_ssize_t i = 0; i < n; i++) {
        const double root = sqrt(v[i] / correction) + eps;
        x[i] += of_gradient / (1 - product[i]) * g[i] / root;
        x[i] += of_mean / (1 - product[i] * mu_next) * m[i] / root;
    }
}

static void mgc_change_nadam(const mgc_update *u, Py_ssize_t place, Py_ssize_t n, double *x, double *g)
{
    mgc_nadam_part((const mgc_nadam *)u, n, x, g, mgc_buffer(u, 0, place), mgc_buffer(u, 1, place),
                   mgc_buffer(u, 2, place));
}

/* Change the Values in items. */
static void mgc_change_values(const mgc_update *u, PyObject **items, Py_ssize_t n)
{
    double x[MGC_UPDATE_PART], g[MGC_UPDATE_PART];
    for (Py_ssize_t place = 0; place < n; place += MGC_UPDATE_PART) {
        const Py_ssize_t count = n - place < MGC_UPDATE_PART ? n - place : MGC_UPDATE_PART;
        for (Py_ssize_t i = 0; i < count; i++) {
            const mgc_node *p = mgc_node_of(items[place + i]);
            x[i] = p->data, g[i] = p->grad;
        }
        u->change(u, place, count, x, g);
        for (Py_ssize_t i = 0; i < count; i++) mgc_node_of(items[place + i])->data = x[i];
    }
}

#endif
