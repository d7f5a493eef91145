/* The loop of Adam, in parts: what is read of nodes first, then arithmetic on arrays, which compilers vectorise.
 * Changes with the rule.
 */
#ifndef MGC_ADAM_H
#define MGC_ADAM_H

#include <math.h>

#include "engine/node.h"

typedef struct {
    double step_size, root_correction, beta1, beta2, eps, weight_decay, decay;
    int maximize;
} mgc_adam;

/* The same numbers by wider instructions where the loader can choose: divisions and roots are most of the time. */
#if defined(__x86_64__) && defined(__GLIBC__) && defined(__GNUC__) && !defined(__clang__)
#define MGC_CLONES __attribute__((target_clones("avx2", "default")))
#else
#define MGC_CLONES
#endif

enum { MGC_ADAM_PART = 64 };

/* torch/optim/adam.py, _single_tensor_adam, for n numbers with gradients g; x are the numbers. */
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

/* A step for the Values in items; largest may be NULL. */
static void mgc_adam_step(const mgc_adam *rule, PyObject **items, Py_ssize_t n, double *m, double *v, double *largest)
{
    double x[MGC_ADAM_PART], g[MGC_ADAM_PART];
    for (Py_ssize_t first = 0; first < n; first += MGC_ADAM_PART) {
        const Py_ssize_t count = n - first < MGC_ADAM_PART ? n - first : MGC_ADAM_PART;
        for (Py_ssize_t i = 0; i < count; i++) {
            const mgc_node *p = mgc_node_of(items[first + i]);
            x[i] = p->data, g[i] = p->grad;
        }
        mgc_adam_part(rule, count, x, g, m + first, v + first, largest ? largest + first : NULL);
        for (Py_ssize_t i = 0; i < count; i++) mgc_node_of(items[first + i])->data = x[i];
    }
}

#endif
