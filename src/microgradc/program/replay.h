/* How a program is run: steps over scalars, once for each call, and steps over lanes, once for each block of examples.
 * Changes with what a call reads and writes.
 *
 * What depends on no input is a scalar: constants, parameters and what is computed from them. What does is a row of
 * lanes, the examples of a block side by side; a slot is the place of a row. Dense steps read their weights from an
 * array of their own, which is gathered from the scalars. Examples are cut into blocks, and blocks into partitions.
 * Each partition sums up gradients of its own, and these are added in their order, so that the result has the same
 * bits whoever ran which partition.
 */
#ifndef MGC_REPLAY_H
#define MGC_REPLAY_H

#include "program/lanes/lanes.h"
#include "program/scalars.h"
#include <time.h>

/* What may happen in a loop. */
typedef enum {
    MGC_NO_TROUBLE,
    MGC_WRONG_INDEX,                  /* an index picks nothing */
    MGC_INTERRUPTED,
} mgc_trouble;

typedef struct {
    const mgc_program *program;
    const mgc_lanes *lanes;
    Py_ssize_t n;                     /* examples */
    Py_ssize_t block, blocks;         /* lanes in a block */
    int partitions;
    int array_count;
    const double *const *arrays;      /* the inputs: examples in rows, array_columns[i] of them in array i */
    const int *array_columns;
    const Py_ssize_t *rows;           /* of each example: which row of the arrays it is; NULL: one after another */
    double *outputs;                  /* n rows of output_count numbers, or NULL */
    int skips_sums;                   /* whether nobody wants the sums of the outputs */
    const double *seeds;              /* d result / d output of an example, for each output; NULL for no gradients */
    int careful;                      /* a step to which no gradient came sends none; see below */
    double *const *input_grads;       /* like arrays, or NULL */
    double *scalars, *weights;
    double *partials;                 /* of each partition: mgc_partial_size(program) numbers */
    Py_ssize_t slice;                 /* after how many blocks a worker looks at the clock */
    volatile int stop;                /* set when a worker was interrupted: the others stop at their next block */
    volatile int *trouble;            /* what stopped a loop: mgc_trouble; or NULL */
    int (*hear)(void *);              /* whether a signal raised an exception, which `hearer` keeps; or NULL */
    void *hearer;
} mgc_call;

static inline void mgc_report(const mgc_call *c, mgc_trouble trouble)
{
    if (c->trouble && *c->trouble != MGC_INTERRUPTED) *c->trouble = trouble;
}

/* How far a worker got. */
typedef struct {
    int partition;
    Py_ssize_t block;                 /* -1: the partition is to begin */
} mgc_progress;

/* What a partition sums up: gradients of the weights, gradients of the broadcast scalars, outputs. */
static inline Py_ssize_t mgc_partial_size(const mgc_program *p)
{
    return (Py_ssize_t)p->weight_count + p->broadcast_count + p->output_count;
}

/* Lanes */

/* A block of examples: n lanes, of which the first `valid` are examples. base is its rows of values, gbase those of
   gradients. A row that only operations of ops.h touch may be where the caller has it instead: the numbers of an input
   that are an array of their own, those of the only output, the gradients of such an input. */
typedef struct {
    const mgc_call *call;
    double *base, *gbase, *scratch;
    double *kept;                       /* what loops keep: see scan.h */
    double *gweights;
    const double *nothing, *seeds;      /* a row of zeros, and one of what the gradient of the only output is */
    Py_ssize_t first, n, valid;
    int inputs, input_grads;            /* how many slots may be in arrays: those of inputs, or 0 */
    int keeps;                          /* whether the way back follows: then steps keep something for it */
    int is_again;                       /* whether an iteration is run for its way back alone */
    int output, seeded;                 /* the slot that is in the array of outputs; whose gradient is `seeds`; -1 */
} mgc_block;

static inline const double *mgc_value_row(const mgc_block *b, int slot)
{
    const mgc_call *c = b->call;
    if (slot < b->inputs && c->program->is_single[slot]) return c->arrays[slot] + b->first;
    return slot == b->output ? c->outputs + b->first : b->base + slot * b->n;
}

static inline double *mgc_gradient_row(const mgc_block *b, int slot)
{
    const mgc_call *c = b->call;
    if (slot < b->input_grads && c->program->is_single[slot]) return c->input_grads[slot] + b->first;
    return b->gbase + slot * b->n;
}

/* The gradient that arrives at a result. */
static inline const double *mgc_arriving(const mgc_block *b, int slot)
{
    return slot == b->seeded ? b->seeds : mgc_gradient_row(b, slot);
}

/* Find what may be where the caller has it: all rows are as long as they are here, and none has padding. */
static void mgc_find_in_place(mgc_block *b)
{
    const mgc_call *c = b->call;
    const mgc_program *p = c->program;
    const int in_place = b->n == b->valid && !c->careful;
    int columns = c->array_count == p->input_count;
    for (int a = 0; a < c->array_count && columns; a++) columns = c->array_columns[a] == 1;
    if (c->rows) columns = 0;
    b->inputs = in_place && columns ? p->input_count : 0;
    b->input_grads = c->input_grads ? b->inputs : 0;
    const int only = p->output_count == 1 && p->output_places[0] >= p->input_count ? p->output_places[0] : -1;
    b->output = in_place && c->outputs && only >= 0 && p->is_single[only] ? only : -1;
    b->seeded = c->careful ? -1 : p->seeded;
}

/* A row becomes column j of n rows of numbers, columns wide. */
static inline void mgc_put_column(const double *row, double *table, int j, int columns, Py_ssize_t n)
{
    if (columns == 1) memcpy(table, row, (size_t)n * sizeof *row);
    else for (Py_ssize_t l = 0; l < n; l++) table[l * columns + j] = row[l];
}

static void mgc_load(const mgc_block *b)
{
    const mgc_call *c = b->call;
    const mgc_program *p = c->program;
    const Py_ssize_t first = b->first, n = b->n, valid = b->valid;
    double *base = b->base, *row = base;
    for (int a = 0; a < c->array_count; a++) {
        const int columns = c->array_columns[a];
        const double *from = c->arrays[a] + (c->rows ? 0 : first * columns);
        if (n == 1) memcpy(row, c->rows ? from + c->rows[0] * columns : from, (size_t)columns * sizeof *row);
        else if (a >= b->inputs || !p->is_single[a])
            c->lanes->load(from, c->rows ? c->rows + first : NULL, columns, row, n, valid);
        row += columns * n;
    }
    for (int i = 0; i < p->broadcast_count; i++) {
        double *to = base + p->broadcast_slots[i] * n;
        const double x = c->scalars[p->broadcast_scalars[i]];
        for (Py_ssize_t l = 0; l < n; l++) to[l] = x;
    }
}

/* sin or cos, and the other one in the rows from `other` on. */
static void mgc_keep_other(const mgc_lanes *lanes, const mgc_step *step, const double *x, double *other, double *f,
                           Py_ssize_t n)
{
    double *sin = step->op == MGC_SIN ? f : other, *cos = step->op == MGC_SIN ? other : f;
    if (step->is_run) lanes->both_of_angles(x, sin, cos, step->count * n);
    else for (int i = 0; i < step->count; i++, x += step->dx * n)
        lanes->both_of_angles(x, sin + i * n, cos + i * n, n);
}

static void mgc_run_lanes(const mgc_block *b, const mgc_step *step, int steps)
{
    const mgc_call *c = b->call;
    const mgc_program *p = c->program;
    const mgc_lanes *lanes = c->lanes;
    const Py_ssize_t n = b->n;
    double *base = b->base;
    for (const mgc_step *end = step + steps; step < end; step++) {
        if (b->is_again && step->receives & MGC_IS_UNREAD) continue;
        const int *places = p->places + mgc_first_place(step), count = step->count, k = mgc_size_of(step);
        const double *weights = c->weights + mgc_first_weight(step);
        const double *x = mgc_value_row(b, step->x);
        double *f = (double *)mgc_value_row(b, step->f);
        switch (step->op) {
#define STEP(ID, name, index, rows, weights, bias, least, sends, form, forward, backward, scalar, scalar_back) \
        case MGC_##ID: forward; break;
        MGC_STEPS(STEP)
#undef STEP
        default: {
            const double *y = mgc_value_row(b, step->y), *z = mgc_value_row(b, step->z);
            if (b->keeps && step->receives & MGC_KEEPS_OTHER) mgc_keep_other(lanes, step, x, base + step->y * n, f, n);
            else if (step->is_run) lanes->forward[step->op](x, y, z, f, count * n);
            else for (int i = 0; i < count; i++, x += step->dx * n, y += step->dy * n, z += step->dz * n, f += n)
                lanes->forward[step->op](x, y, z, f, n);
        }
        }
    }
}

/* A row of ops.h back whose strides are not all 1: the last result first, as if each were a step. So arrives what they
   send to the same operand. */
static void mgc_rows_back(mgc_backward *backward, const mgc_step *step, const double *base, double *gbase, Py_ssize_t n)
{
    const int receives = step->receives;
    const Py_ssize_t dx = step->dx * n, dy = step->dy * n, dz = step->dz * n, last = step->count - 1;
    Py_ssize_t x = step->x * n + last * dx, y = step->y * n + last * dy, z = step->z * n + last * dz;
    Py_ssize_t f = (step->f + last) * n;
    for (int i = 0; i < step->count; i++, x -= dx, y -= dy, z -= dz, f -= n)
        backward(base + x, base + y, base + z, base + f, gbase + f, receives & MGC_X_RECEIVES ? gbase + x : NULL,
                 receives & MGC_Y_RECEIVES ? gbase + y : NULL, receives & MGC_Z_RECEIVES ? gbase + z : NULL,
                 NULL, receives & MGC_KEEPS_OTHER, n);
}

static void mgc_step_back(const mgc_block *b, const mgc_step *step)
{
    const mgc_call *c = b->call;
    const mgc_lanes *lanes = c->lanes;
    const Py_ssize_t n = b->n, valid = b->valid;
    const double *base = b->base;
    double *gbase = b->gbase, *scratch = b->scratch;
    const int *places = c->program->places + mgc_first_place(step);
    const int count = step->count, k = mgc_size_of(step), receives = step->receives;
    const double *weights = c->weights + mgc_first_weight(step);
    double *gw = b->gweights + mgc_first_weight(step);
    const double *x = mgc_value_row(b, step->x), *f = mgc_value_row(b, step->f), *g = mgc_arriving(b, step->f);
    switch (step->op) {
#define STEP(ID, name, index, rows, weights, bias, least, sends, form, forward, backward, scalar, scalar_back) \
    case MGC_##ID: backward; break;
    MGC_STEPS(STEP)
#undef STEP
    default:
        if (!step->is_run) mgc_rows_back(lanes->backward[step->op], step, base, gbase, n);
        else lanes->backward[step->op](x, mgc_value_row(b, step->y), mgc_value_row(b, step->z), f, g,
                                       receives & MGC_X_RECEIVES ? mgc_gradient_row(b, step->x) : NULL,
                                       receives & MGC_Y_RECEIVES ? mgc_gradient_row(b, step->y) : NULL,
                                       receives & MGC_Z_RECEIVES ? mgc_gradient_row(b, step->z) : NULL,
                                       b->nothing, receives, count * n);
    }
}

/* A careful step back, of one result: what its operands have in lanes to which nothing came, stays. The memory that is
   set aside for rows is behind the scratch. */
static void mgc_result_back(const mgc_block *b, const mgc_step *step, int result)
{
    const mgc_call *c = b->call;
    const Py_ssize_t n = b->n, valid = b->valid;
    const double *base = b->base;
    double *gbase = b->gbase, *gweights = b->gweights, *scratch = b->scratch;
    const int *places = c->program->places + mgc_first_place(step);
    const int k = mgc_size_of(step), is_row = mgc_is_row_of_table(step);
    int operands[3] = {0, 0, 0};
    if (is_row) {
        operands[0] = step->x + result * step->dx;
        operands[1] = step->y + result * step->dy, operands[2] = step->z + result * step->dz;
    }
    int received[3], rows = 0;
    const int *receivers = is_row ? received : places;
    if (is_row) for (int i = 0; i < 3; i++) {
        if (step->receives & MGC_X_RECEIVES << i) received[rows++] = operands[i];
    } else if (mgc_kinds[step->op].sends == MGC_TO_ALL) {
        rows = mgc_kinds[step->op].rows * k;
    }
    const double *g = gbase + (step->f + result) * n;
    double *aside = scratch + MGC_SCRATCH;
    int any = 0;
    for (Py_ssize_t l = 0; l < n; l++) any |= !mgc_is_none(g[l]);
    if (!any) return;
    if (step->op == MGC_DENSE && step->receives & MGC_WEIGHTS_RECEIVE) {
        int *own_places = (int *)(aside + (Py_ssize_t)rows * n);
        double *gw = gweights + mgc_first_weight(step);
        for (int i = 0; i < rows; i++) {
            own_places[i] = i;
            for (Py_ssize_t l = 0; l < n; l++) aside[i * n + l] = mgc_is_none(g[l]) ? 0 : base[places[i] * n + l];
        }
        c->lanes->dense_weights(g, aside, own_places, gw + (Py_ssize_t)result * k,
                                gw + (Py_ssize_t)step->count * k + result, 1, k, n, valid, scratch);
        for (int i = 0; i < k; i++) gw[(Py_ssize_t)result * k + i] += 0.0;
        gw[(Py_ssize_t)step->count * k + result] += 0.0;
        if (!(step->receives & MGC_OPERANDS_RECEIVE)) return;
    }
    for (int i = 0; i < rows; i++)
        memcpy(aside + i * n, gbase + receivers[i] * n, (size_t)n * sizeof *aside);
    if (step->op == MGC_DENSE) {
        c->lanes->dense_operands(c->weights + step->weights + (Py_ssize_t)result * k, g, gbase, places, 0, 1, k, n);
    } else {
        mgc_step one = *step;
        one.count = 1, one.is_run = 1, one.f += result;
        if (is_row) {
            one.x = operands[0], one.y = operands[1], one.z = operands[2];
            one.receives &= ~(7 * MGC_X_FIRST);     /* all rows begin at -0 */
        }
        mgc_step_back(b, &one);
    }
    for (int i = 0; i < rows; i++) {
        double *row = gbase + receivers[i] * n;
        for (Py_ssize_t l = 0; l < n; l++) row[l] = mgc_is_none(g[l]) ? aside[i * n + l] : row[l] + 0.0;
    }
}

static void mgc_run_lanes_back(const mgc_block *b, const mgc_step *steps, int step_count)
{
    for (int s = step_count; s-- > 0;) {
        const mgc_step *step = &steps[s];
        if (!step->receives) continue;
        if (!b->call->careful) mgc_step_back(b, step);
        else for (int i = step->count; i-- > 0;) mgc_result_back(b, step, i);
    }
}

#include "program/scan.h"

/* What a block leaves behind: outputs, their sums, and the gradients of scalars and inputs. */

static void mgc_store_outputs(const mgc_block *b, double *sums)
{
    const mgc_call *c = b->call;
    const mgc_program *p = c->program;
    const Py_ssize_t first = b->first, valid = b->valid;
    for (int i = 0; i < p->output_count; i++) {
        const int place = p->output_places[i];
        const double *row = place < 0 ? NULL : mgc_value_row(b, place);
        if (c->n == 1) sums[i] = place < 0 ? c->scalars[-1 - place] : *row;       /* -0 stays */
        else if (!c->skips_sums)
            sums[i] += place < 0 ? c->scalars[-1 - place] * (double)valid : c->lanes->sum(row, valid);
        if (!c->outputs || (b->output >= 0 && place == b->output)) continue;
        double *to = c->outputs + first * p->output_count;
        if (place >= 0) mgc_put_column(row, to, i, p->output_count, valid);
        else for (Py_ssize_t l = 0; l < valid; l++) to[l * p->output_count + i] = c->scalars[-1 - place];
    }
}

static void mgc_store_input_gradients(const mgc_block *b)
{
    const mgc_call *c = b->call;
    const Py_ssize_t first = b->first, n = b->n, valid = b->valid;
    const double *row = b->gbase;
    for (int a = 0; a < c->array_count; a++) {
        const int columns = c->array_columns[a];
        double *to = c->input_grads[a] + first * columns;
        if (a < b->input_grads && c->program->is_single[a]) {
            row += n;
            continue;
        }
        for (int j = 0; j < columns; j++, row += n) mgc_put_column(row, to, j, columns, valid);
        for (Py_ssize_t i = 0; c->careful && i < valid * columns; i++) to[i] += 0.0;     /* -0 becomes 0 */
    }
}

/* The gradients that come from outside: of outputs, to begin with. */
static void mgc_begin_gradients(const mgc_block *b)
{
    const mgc_call *c = b->call;
    const mgc_program *p = c->program;
    const Py_ssize_t n = b->n;
    double *gbase = b->gbase;
    if (c->careful) mgc_fill(gbase, p->slot_count * n, -0.0);
    else for (int i = 0; i < p->clear_count; i++) {
        int slot = p->clear_slots[i];
        const int end = slot + p->clear_sizes[i];
        for (; slot < end && slot < b->input_grads; slot++)
            memset(mgc_gradient_row(b, slot), 0, (size_t)n * sizeof *gbase);
        memset(gbase + slot * n, 0, (size_t)(end - slot) * n * sizeof *gbase);
    }
    for (int i = 0; i < p->output_count; i++) {
        const double seed = c->seeds[i];
        double *row = p->output_places[i] < 0 ? NULL : mgc_gradient_row(b, p->output_places[i]);
        if (p->output_places[i] < 0 || p->output_places[i] == b->seeded) continue;
        if (p->output_is_first[i] && !c->careful) mgc_fill(row, n, seed);
        else for (Py_ssize_t l = 0; l < n; l++) row[l] += seed;
    }
}

/* Where in what a partition sums up that begins which this call needs: gradients of weights come first, then those of
   broadcast scalars, and the sums of outputs last. */
static Py_ssize_t mgc_first_sum(const mgc_call *c)
{
    const mgc_program *p = c->program;
    if (!c->seeds) return (Py_ssize_t)p->weight_count + p->broadcast_count;
    return p->weights_receive ? 0 : p->weight_count;
}

/* What a partition sums up is 0. */
static void mgc_clear_partial(const mgc_call *c, double *partial)
{
    const Py_ssize_t size = mgc_partial_size(c->program), outputs = c->program->output_count;
    const Py_ssize_t first = mgc_first_sum(c);
    memset(partial + first, 0, (size_t)(size - first) * sizeof *partial);
    if (c->careful) mgc_fill(partial + first, size - outputs - first, -0.0);
}

/* A call of one example, in which its one partition is the total: memory is for scratch, for some numbers of each slot,
   and for what loops keep. */
static void mgc_run_one(const mgc_call *c, double *memory)
{
    const mgc_program *p = c->program;
    double *partial = c->partials;
    double *base = memory + MGC_SCRATCH, *gbase = base + p->slot_count;
    double *gbroadcast = partial + p->weight_count, *sums = gbroadcast + p->broadcast_count;
    const mgc_block b = {.call = c, .base = base, .gbase = gbase, .kept = base + MGC_NUMBERS_OF_ONE * p->slot_count,
                         .gweights = partial, .scratch = memory, .n = 1, .valid = 1, .keeps = c->seeds != NULL,
                         .output = -1, .seeded = -1};
    mgc_clear_partial(c, partial);
    mgc_load(&b);
    mgc_run(&b, p->lane_steps, p->lane_step_count, p->loop_count);
    for (int i = 0; i < p->output_count; i++) {
        const int place = p->output_places[i];
        sums[i] = place < 0 ? c->scalars[-1 - place] : base[place];
        if (c->outputs) c->outputs[i] = sums[i];
    }
    if (!c->seeds) return;
    for (int i = 0; i < p->single_count; i++) gbase[p->single_slots[i]] = 0;
    mgc_begin_gradients(&b);
    mgc_run_back(&b, p->lane_steps, p->lane_step_count, p->loop_count);
    for (int i = 0; i < p->broadcast_count; i++) gbroadcast[i] = gbase[p->broadcast_slots[i]];
    if (c->input_grads) mgc_store_input_gradients(&b);
}

/* memory begins with two rows: zeros, and the seed of the only output. */
static void mgc_run_block(const mgc_call *c, Py_ssize_t block, double *memory, double *partial)
{
    const mgc_program *p = c->program;
    const Py_ssize_t first = block * c->block, left = c->n - first, valid = left < c->block ? left : c->block;
    const Py_ssize_t n = (valid + MGC_LANE_MULTIPLE - 1) / MGC_LANE_MULTIPLE * MGC_LANE_MULTIPLE;
    double *base = memory + 2 * c->block, *kept = base + p->slot_count * c->block;
    double *gbase = kept + p->kept_rows * c->block;
    double *gbroadcast = partial + p->weight_count, *sums = gbroadcast + p->broadcast_count;
    mgc_block b = {.call = c, .base = base, .gbase = gbase, .scratch = gbase + p->slot_count * c->block,
                   .kept = kept, .gweights = partial, .nothing = memory, .seeds = memory + c->block, .first = first,
                   .n = n, .valid = valid, .keeps = c->seeds != NULL};
    mgc_find_in_place(&b);
    mgc_load(&b);
    mgc_run(&b, p->lane_steps, p->lane_step_count, p->loop_count);
    mgc_store_outputs(&b, sums);
    if (!c->seeds) return;
    mgc_begin_gradients(&b);
    mgc_run_back(&b, p->lane_steps, p->lane_step_count, p->loop_count);
    for (int i = 0; i < p->broadcast_count; i++) {
        const double *row = gbase + p->broadcast_slots[i] * n;
        Py_ssize_t l = 0;
        while (c->careful && l < valid && mgc_is_none(row[l])) l++;
        if (l < valid) gbroadcast[i] += c->lanes->sum(row, valid) + 0.0;
    }
    if (c->input_grads) mgc_store_input_gradients(&b);
}

/* One of `workers` takes its partitions; memory is that of its block, 64-byte aligned: (2 + slot_count + kept_rows) *
   block numbers, and for gradients slot_count * block and MGC_SCRATCH more, and in a careful run the rows set aside.
   Returns 0 now and then, after a fiftieth of a second of the process, for the caller to look at signals and to go on
   from there; 1 when all is done, or was stopped. */
static int mgc_work(const mgc_call *c, int workers, double *memory, mgc_progress *at)
{
    const Py_ssize_t size = mgc_partial_size(c->program);
    Py_ssize_t left = c->slice;
    int has_begun = 0;
    clock_t begin = 0;
    mgc_fill(memory, c->block, 0.0);
    mgc_fill(memory + c->block, c->block, c->seeds ? c->seeds[0] : 0.0);
    for (; at->partition < c->partitions; at->partition += workers, at->block = -1) {
        const int i = at->partition;
        double *partial = c->partials + i * size;
        if (at->block < 0) {
            mgc_clear_partial(c, partial);
            at->block = c->blocks * i / c->partitions;
        }
        for (; at->block < c->blocks * (i + 1) / c->partitions; at->block++) {
            if (c->stop) return 1;
            if (left-- == 0) {
                const clock_t now = clock();
                left = c->slice;
                if (!has_begun) begin = now, has_begun = 1;
                else if (now - begin > CLOCKS_PER_SEC / 50) return 0;
            }
            mgc_run_block(c, at->block, memory, partial);
        }
    }
    return 1;
}

/* What depends on no example: before the workers begin, and again when a parameter changed. */
static void mgc_run_shared(const mgc_call *c)
{
    const mgc_program *p = c->program;
    mgc_run_scalars(p, c->scalars);
    for (int i = 0; i < p->run_count; i++)
        memcpy(c->weights + p->run_weights[i], c->scalars + p->run_scalars[i],
               (size_t)p->run_sizes[i] * sizeof(double));
}

/* When they are done: sums gets output_count sums over all examples; gscalars, scalar_count numbers, the gradients of
   the scalars. */
static void mgc_finish(const mgc_call *c, double *sums, double *gscalars)
{
    const mgc_program *p = c->program;
    const Py_ssize_t size = mgc_partial_size(p);
    double *total = c->partials;
    for (int i = 1; i < c->partitions; i++)
        for (Py_ssize_t j = mgc_first_sum(c); j < size; j++) total[j] += c->partials[i * size + j];
    memcpy(sums, total + p->weight_count + p->broadcast_count, (size_t)p->output_count * sizeof *sums);
    if (!c->seeds) return;
    mgc_fill(gscalars, p->scalar_count, c->careful ? -0.0 : 0.0);
    for (int i = 0; i < p->run_count && p->weights_receive; i++) {
        const double *from = total + p->run_weights[i];
        double *to = gscalars + p->run_scalars[i];
        for (int j = 0; j < p->run_sizes[i]; j++) to[j] += from[j];
    }
    for (int i = 0; i < p->broadcast_count; i++) gscalars[p->broadcast_scalars[i]] += total[p->weight_count + i];
    for (int k = 0; k < p->output_count; k++)
        if (p->output_places[k] < 0) gscalars[-1 - p->output_places[k]] += c->seeds[k] * (double)c->n;
    mgc_run_scalars_back(p, c->scalars, gscalars, c->careful);
    for (int i = 0; c->careful && i < p->parameter_count; i++) gscalars[i] += 0.0;
}

#endif
