/* A program and how it is run: steps over scalars, once a call, and steps over lanes, once for each block of examples.
 *
 * What depends on no input is a scalar: constants, parameters and what is computed of them. What does is a row of lanes, the examples
 * of a block side by side; a slot is the place of a row. Dense steps read their weights from an array of their own, which is gathered from the scalars.
 * Examples are cut into blocks, and blocks into partitions. Each partition sums up gradients of its own, and these are added in
 * their order, so that the result has the same bits whoever ran which partition.
 */
#ifndef MGC_REPLAY_H
#define MGC_REPLAY_H

#include "program/lanes/lanes.h"
#include "engine/wide.h"

/* The operation of a step: a row of ops.h, LOGSUMEXP or TAKE of wide.h, or one of these. */
enum {
    MGC_DENSE = MGC_OPS_END,   /* dot products of rows with weights */
    MGC_PRODUCTS,              /* the sum of products of pairs */
    MGC_CROSS_ENTROPY,         /* logsumexp(v) - v[index] */
    MGC_TAKE_WEIGHT,           /* a weight, by index */
    MGC_STEPS_END,
};

typedef struct {
    int op;
    int x, y, z;    /* the places of the operands: scalars or slots; x is the index of TAKE and CROSS_ENTROPY */
    int f;          /* the place of the result, of the first of them if there are several */
    int count;      /* how many results, in places one after another; so are then the operands of a row of ops.h */
    int k;          /* how many operands of a dot product, how many pairs, how many values */
    int places;     /* where the places of these begin in the program's list */
    int weights;    /* where count * k weights begin, and then count biases */
    int receives;   /* bit i: operand i has a gradient; of DENSE: bit 0 the operands, bit 1 the weights, bit 2 nothing has arrived before */
} mgc_step;

typedef struct {
    mgc_step *scalar_steps, *lane_steps;
    int scalar_step_count, lane_step_count;
    int *places;
    int scalar_count;        /* parameters first, then constants, then results */
    int parameter_count;
    int weight_count;
    int run_count;           /* runs of weights that are scalars one after another */
    int *run_weights, *run_scalars, *run_sizes;
    int input_count;         /* they have the first slots */
    int slot_count;
    int broadcast_count;     /* scalars that steps over lanes read as a row */
    int *broadcast_scalars, *broadcast_slots;
    int clear_count;         /* rows of gradients, in runs, that begin at 0; the others are assigned first */
    int *clear_slots, *clear_sizes;
    int output_count;
    int *output_places;      /* a slot, or -1 - a scalar */
} mgc_program;

typedef struct {
    const mgc_program *program;
    const mgc_lanes *lanes;
    Py_ssize_t n;                     /* examples */
    Py_ssize_t block, blocks;         /* lanes in a block */
    int partitions;
    int array_count;
    const double *const *arrays;      /* the inputs: examples in rows, array_columns[i] of them in array i */
    const int *array_columns;
    double *outputs;                  /* n rows of output_count numbers, or NULL */
    const double *seeds;              /* d result / d output of an example, for each output; NULL for no gradients */
    double *const *input_grads;       /* like arrays, or NULL */
    double *scalars, *weights;
    double *partials;                 /* of each partition: mgc_partial_size(program) numbers */
} mgc_call;

/* What a partition sums up: gradients of the weights, gradients of the broadcast scalars, outputs. */
static inline Py_ssize_t mgc_partial_size(const mgc_program *p) { return (Py_ssize_t)p->weight_count + p->broadcast_count + p->output_count; }

/* Scalars */

static inline void mgc_scalar_gradients(int op, double x, double y, double z, double f, double g, double *gx, double *gy, double *gz)
{
    (void)y, (void)z, (void)f;
    switch (op) {
#define ROW(id, op, n, params, value, dx, dy, dz, doc) case MGC_##id: *gx = dx, *gy = dy, *gz = dz; break;
        MGC_TABLE(ROW)
#undef ROW
    }
}

static inline double mgc_scalar_logsumexp(const double *s, const int *v, int k)
{
    int largest = 0;
    double others = 0;
    for (int i = 1; i < k; i++) if (s[v[i]] > s[v[largest]]) largest = i;
    const double m = s[v[largest]], shift = isinf(m) ? 0 : m;
    for (int i = 0; i < k; i++) if (i != largest) others += exp(s[v[i]] - shift);
    return m + log1p(others);
}

static void mgc_run_scalars(const mgc_program *p, double *s)
{
    for (const mgc_step *t = p->scalar_steps, *end = t + p->scalar_step_count; t < end; t++) {
        const int *v = p->places + t->places;
        double total = 0;
        switch (t->op) {
        case MGC_PRODUCTS:
            for (int i = 0; i < t->k; i++) total += s[v[2 * i]] * s[v[2 * i + 1]];
            s[t->f] = total;
            break;
        case MGC_LOGSUMEXP: s[t->f] = mgc_scalar_logsumexp(s, v, t->k); break;
        default: s[t->f] = mgc_value(t->op, s[t->x], s[t->y], s[t->z]);
        }
    }
}

static void mgc_run_scalars_back(const mgc_program *p, const double *s, double *gs)
{
    for (const mgc_step *t = p->scalar_steps + p->scalar_step_count; t-- > p->scalar_steps;) {
        const int *v = p->places + t->places;
        const double f = s[t->f], g = gs[t->f];
        double gx = 0, gy = 0, gz = 0;
        switch (t->op) {
        case MGC_PRODUCTS:
            for (int i = 0; i < t->k; i++) {
                const int x = v[2 * i], y = v[2 * i + 1];
                if (x == y) {     /* a square, as in an L2 penalty: the second sum would wait for the first */
                    gs[x] += 2 * g * s[x];
                } else {
                    gs[x] += g * s[y];
                    gs[y] += g * s[x];
                }
            }
            break;
        case MGC_LOGSUMEXP:
            for (int i = 0; i < t->k; i++) gs[v[i]] += g * exp(s[v[i]] - f);
            break;
        default:
            mgc_scalar_gradients(t->op, s[t->x], s[t->y], s[t->z], f, g, &gx, &gy, &gz);
            if (t->receives & 1) gs[t->x] += gx;
            if (t->receives & 2) gs[t->y] += gy;
            if (t->receives & 4) gs[t->z] += gz;
        }
    }
}

/* Lanes. base is the block's rows of values, gbase those of gradients; n lanes, of which the first `valid` are examples. */

/* Column j of n rows of numbers, columns wide, becomes a row; and back. */
static inline void mgc_take_column(double *row, const double *table, int j, int columns, Py_ssize_t n)
{
    if (columns == 1) memcpy(row, table, (size_t)n * sizeof *row);
    else for (Py_ssize_t l = 0; l < n; l++) row[l] = table[l * columns + j];
}

static inline void mgc_put_column(const double *row, double *table, int j, int columns, Py_ssize_t n)
{
    if (columns == 1) memcpy(table, row, (size_t)n * sizeof *row);
    else for (Py_ssize_t l = 0; l < n; l++) table[l * columns + j] = row[l];
}

static void mgc_load(const mgc_call *c, double *base, Py_ssize_t first, Py_ssize_t n, Py_ssize_t valid)
{
    const mgc_program *p = c->program;
    double *row = base;
    for (int a = 0; a < c->array_count; a++) {
        const int columns = c->array_columns[a];
        const double *from = c->arrays[a] + first * columns;
        for (int j = 0; j < columns; j++, row += n) {
            mgc_take_column(row, from, j, columns, valid);
            for (Py_ssize_t l = valid; l < n; l++) row[l] = row[valid - 1];   /* padding: any number that the program is made for */
        }
    }
    for (int i = 0; i < p->broadcast_count; i++) {
        double *to = base + p->broadcast_slots[i] * n;
        const double x = c->scalars[p->broadcast_scalars[i]];
        for (Py_ssize_t l = 0; l < n; l++) to[l] = x;
    }
}

static void mgc_run_lanes(const mgc_call *c, double *base, Py_ssize_t n)
{
    const mgc_program *p = c->program;
    const mgc_lanes *lanes = c->lanes;
    for (const mgc_step *t = p->lane_steps, *end = t + p->lane_step_count; t < end; t++) {
        const int *places = p->places + t->places;
        const double *w = c->weights + t->weights, *x = base + t->x * n;
        double *f = base + t->f * n;
        switch (t->op) {
        case MGC_DENSE: lanes->dense(w, w + (Py_ssize_t)t->count * t->k, base, places, f, t->count, t->k, n); break;
        case MGC_PRODUCTS: lanes->products(base, places, f, t->k, n); break;
        case MGC_LOGSUMEXP: lanes->logsumexp(base, places, f, t->k, n); break;
        case MGC_CROSS_ENTROPY: lanes->cross_entropy(x, base, places, f, t->k, n); break;
        case MGC_TAKE: for (Py_ssize_t l = 0; l < n; l++) f[l] = base[places[mgc_index(x[l], t->k)] * n + l]; break;
        case MGC_TAKE_WEIGHT: for (Py_ssize_t l = 0; l < n; l++) f[l] = w[mgc_index(x[l], t->k)]; break;
        default: lanes->forward[t->op](x, base + t->y * n, base + t->z * n, f, t->count * n);
        }
    }
}

static void mgc_run_lanes_back(const mgc_call *c, const double *base, double *gbase, double *gweights, Py_ssize_t n, Py_ssize_t valid)
{
    const mgc_program *p = c->program;
    const mgc_lanes *lanes = c->lanes;
    for (const mgc_step *t = p->lane_steps + p->lane_step_count; t-- > p->lane_steps;) {
        const int *places = p->places + t->places;
        const double *w = c->weights + t->weights, *x = base + t->x * n, *f = base + t->f * n, *g = gbase + t->f * n;
        double *gw = gweights + t->weights;
        if (!t->receives) continue;
        switch (t->op) {
        case MGC_DENSE:
            if (t->receives & 2) lanes->dense_weights(g, base, places, gw, gw + (Py_ssize_t)t->count * t->k, t->count, t->k, n, valid);
            if (t->receives & 1) lanes->dense_operands(w, g, gbase, places, t->receives & 4, t->count, t->k, n);
            break;
        case MGC_PRODUCTS: lanes->products_back(base, places, g, gbase, t->k, n); break;
        case MGC_LOGSUMEXP: lanes->logsumexp_back(base, places, f, g, gbase, t->k, n); break;
        case MGC_CROSS_ENTROPY: lanes->cross_entropy_back(x, base, places, f, g, gbase, t->k, n); break;
        case MGC_TAKE: for (Py_ssize_t l = 0; l < n; l++) gbase[places[mgc_index(x[l], t->k)] * n + l] += g[l]; break;
        case MGC_TAKE_WEIGHT: for (Py_ssize_t l = 0; l < valid; l++) gw[mgc_index(x[l], t->k)] += g[l]; break;
        default:
            lanes->backward[t->op](x, base + t->y * n, base + t->z * n, f, g,
                                   t->receives & 1 ? gbase + t->x * n : NULL, t->receives & 2 ? gbase + t->y * n : NULL,
                                   t->receives & 4 ? gbase + t->z * n : NULL, t->count * n);
        }
    }
}

/* What a block leaves behind: outputs, their sums, and the gradients of scalars and inputs. */
static void mgc_store_outputs(const mgc_call *c, const double *base, double *sums, Py_ssize_t first, Py_ssize_t n, Py_ssize_t valid)
{
    const mgc_program *p = c->program;
    for (int k = 0; k < p->output_count; k++) {
        const int place = p->output_places[k];
        const double *row = base + place * n;
        sums[k] += place < 0 ? c->scalars[-1 - place] * (double)valid : c->lanes->sum(row, valid);
        if (!c->outputs) continue;
        double *to = c->outputs + first * p->output_count;
        if (place >= 0) mgc_put_column(row, to, k, p->output_count, valid);
        else for (Py_ssize_t l = 0; l < valid; l++) to[l * p->output_count + k] = c->scalars[-1 - place];
    }
}

static void mgc_run_block(const mgc_call *c, Py_ssize_t b, double *memory, double *partial)
{
    const mgc_program *p = c->program;
    const Py_ssize_t first = b * c->block, left = c->n - first, valid = left < c->block ? left : c->block;
    const Py_ssize_t n = (valid + MGC_LANE_MULTIPLE - 1) / MGC_LANE_MULTIPLE * MGC_LANE_MULTIPLE;
    double *base = memory, *gbase = memory + p->slot_count * c->block;
    double *gweights = partial, *gbroadcast = partial + p->weight_count, *sums = gbroadcast + p->broadcast_count;
    mgc_load(c, base, first, n, valid);
    mgc_run_lanes(c, base, n);
    mgc_store_outputs(c, base, sums, first, n, valid);
    if (!c->seeds) return;
    for (int i = 0; i < p->clear_count; i++) memset(gbase + p->clear_slots[i] * n, 0, (size_t)p->clear_sizes[i] * n * sizeof *gbase);
    for (int k = 0; k < p->output_count; k++)
        if (p->output_places[k] >= 0)
            for (Py_ssize_t l = 0; l < n; l++) gbase[p->output_places[k] * n + l] += c->seeds[k];
    mgc_run_lanes_back(c, base, gbase, gweights, n, valid);
    for (int i = 0; i < p->broadcast_count; i++) gbroadcast[i] += c->lanes->sum(gbase + p->broadcast_slots[i] * n, valid);
    if (!c->input_grads) return;
    const double *row = gbase;
    for (int a = 0; a < c->array_count; a++) {
        const int columns = c->array_columns[a];
        double *to = c->input_grads[a] + first * columns;
        for (int j = 0; j < columns; j++, row += n) mgc_put_column(row, to, j, columns, valid);
    }
}

/* One of `workers` takes its partitions; memory is that of its block: 2 * slot_count * block numbers, 64-byte aligned. */
static void mgc_work(const mgc_call *c, int worker, int workers, double *memory)
{
    const Py_ssize_t size = mgc_partial_size(c->program);
    for (int i = worker; i < c->partitions; i += workers) {
        double *partial = c->partials + i * size;
        memset(partial, 0, (size_t)size * sizeof *partial);
        for (Py_ssize_t b = c->blocks * i / c->partitions; b < c->blocks * (i + 1) / c->partitions; b++)
            mgc_run_block(c, b, memory, partial);
    }
}

/* Before the workers begin. */
static void mgc_begin(const mgc_call *c)
{
    const mgc_program *p = c->program;
    mgc_run_scalars(p, c->scalars);
    for (int i = 0; i < p->run_count; i++)
        memcpy(c->weights + p->run_weights[i], c->scalars + p->run_scalars[i], (size_t)p->run_sizes[i] * sizeof(double));
}

/* When they are done: sums gets output_count sums over all examples; gscalars, scalar_count numbers, the gradients of the scalars. */
static void mgc_finish(const mgc_call *c, double *sums, double *gscalars)
{
    const mgc_program *p = c->program;
    const Py_ssize_t size = mgc_partial_size(p);
    double *total = c->partials;
    for (int i = 1; i < c->partitions; i++)
        for (Py_ssize_t j = 0; j < size; j++) total[j] += c->partials[i * size + j];
    memcpy(sums, total + p->weight_count + p->broadcast_count, (size_t)p->output_count * sizeof *sums);
    if (!c->seeds) return;
    memset(gscalars, 0, (size_t)p->scalar_count * sizeof *gscalars);
    for (int i = 0; i < p->run_count; i++) {
        const double *from = total + p->run_weights[i];
        double *to = gscalars + p->run_scalars[i];
        for (int j = 0; j < p->run_sizes[i]; j++) to[j] += from[j];
    }
    for (int i = 0; i < p->broadcast_count; i++) gscalars[p->broadcast_scalars[i]] += total[p->weight_count + i];
    for (int k = 0; k < p->output_count; k++)
        if (p->output_places[k] < 0) gscalars[-1 - p->output_places[k]] += c->seeds[k] * (double)c->n;
    mgc_run_scalars_back(p, c->scalars, gscalars);
}

#endif
