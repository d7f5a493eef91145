/* Steps over scalars, what depends on no example: forward, and back. Changes with how they are run.
 */
#ifndef MGC_SCALARS_H
#define MGC_SCALARS_H

#include "engine/chain.h"
#include "program/program.h"

/* The scalars at some places. */
typedef struct {
    const double *scalars;
    const int *places;
} mgc_scalars_at;

static inline double mgc_read_scalar(const void *from, Py_ssize_t i)
{
    const mgc_scalars_at *at = from;
    return at->scalars[at->places[i]];
}

static inline double mgc_products_of_scalars(const double *scalars, const int *places, int k)
{
    double total = 0;
    for (int i = 0; i < k; i++) total += scalars[places[2 * i]] * scalars[places[2 * i + 1]];
    return total;
}

static void mgc_run_scalars(const mgc_program *p, double *scalars)
{
    for (const mgc_step *step = p->scalar_steps, *end = step + p->scalar_step_count; step < end; step++) {
        const int *places = p->places + mgc_first_place(step), k = mgc_size_of(step);
        const mgc_scalars_at values = {scalars, places};
        switch (step->op) {
#define STEP(ID, name, index, rows, weights, bias, least, sends, form, forward, backward, scalar, scalar_back) \
        case MGC_##ID: scalars[step->f] = scalar; break;
        MGC_STEPS(STEP)
#undef STEP
        default:
            scalars[step->f] = mgc_value(step->op, scalars[step->x], scalars[step->y], scalars[step->z]);
        }
    }
}

/* Whether a gradient is that of something to which none was sent. All gradients of a careful run begin at -0, and what
   is sent makes them another number: 0 is added to it, which makes 0 of -0. So a 0 that was sent, and meets an infinite
   derivative, becomes nan, as it does in a graph; but what `take` did not take, and an output that nobody asks for,
   sends nothing. */
static inline int mgc_is_none(double g) { return g == 0 && signbit(g); }

static inline void mgc_fill(double *to, Py_ssize_t count, double x)
{
    for (Py_ssize_t i = 0; i < count; i++) to[i] = x;
}

static inline void mgc_products_back(const int *places, int k, const double *scalars, double g, double *gradients)
{
    for (int i = 0; i < k; i++) {
        const int x = places[2 * i], y = places[2 * i + 1];
        if (x == y) {     /* a square, as in an L2 penalty: the second sum would wait for the first */
            gradients[x] += 2 * g * scalars[x];
        } else {
            gradients[x] += g * scalars[y];
            gradients[y] += g * scalars[x];
        }
    }
}

static inline void mgc_logsumexp_of_scalars_back(const mgc_scalars_at *values, int k, double f, double g,
                                                 double *gradients)
{
    const double scale = mgc_logsumexp_scale(mgc_read_scalar, values, k, f);
    for (int i = 0; i < k; i++) gradients[values->places[i]] += g * (exp(mgc_read_scalar(values, i) - f) * scale);
}

static void mgc_run_scalars_back(const mgc_program *p, const double *scalars, double *gradients, int careful)
{
    for (int s = p->scalar_step_count; s-- > 0;) {
        const mgc_step *step = &p->scalar_steps[s];
        const int *places = p->places + mgc_first_place(step), k = mgc_size_of(step);
        const mgc_scalars_at values = {scalars, places};
        const double f = scalars[step->f], g = gradients[step->f];
        double received[3];
        if (careful && mgc_is_none(g)) continue;
        switch (step->op) {
#define STEP(ID, name, index, rows, weights, bias, least, sends, form, forward, backward, scalar, scalar_back) \
        case MGC_##ID: scalar_back; break;
        MGC_STEPS(STEP)
#undef STEP
        default:
            mgc_row_gradients(step->op, scalars[step->x], scalars[step->y], scalars[step->z], f, g, received);
            if (step->receives & MGC_X_RECEIVES) gradients[step->x] += received[0];
            if (step->receives & MGC_Y_RECEIVES) gradients[step->y] += received[1];
            if (step->receives & MGC_Z_RECEIVES) gradients[step->z] += received[2];
        }
        if (!careful) continue;
        if (step->op < MGC_TABLE_END) {
            if (step->receives & MGC_X_RECEIVES) gradients[step->x] += 0.0;
            if (step->receives & MGC_Y_RECEIVES) gradients[step->y] += 0.0;
            if (step->receives & MGC_Z_RECEIVES) gradients[step->z] += 0.0;
        } else if (mgc_kinds[step->op].sends == MGC_TO_ALL) {
            for (int i = 0; i < mgc_kinds[step->op].rows * k; i++) gradients[places[i]] += 0.0;
        }
    }
}

#endif
