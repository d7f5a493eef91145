/* The plan of a program: its steps, and what is found in them when all are there. Changes with what a program has to
 * know of its steps.
 */
#ifndef MGC_PLAN_H
#define MGC_PLAN_H

#include <ctype.h>

#include "program/replay.h"

typedef struct {
    mgc_step *items;
    int count, capacity;
} mgc_steps;

typedef struct {
    mgc_program program;        /* it refers to what follows */
    mgc_steps scalar_steps, lane_steps;
    mgc_ints places, weights, broadcast_scalars, broadcast_slots, outputs, clear_slots, clear_sizes;
    mgc_ints single_slots, output_is_first, run_weights, run_scalars, run_sizes, index_inputs, index_limits;
    unsigned char *is_single;
    mgc_ints constant_places;   /* among the scalars */
    double *constants;          /* those in these places */
    mgc_loop *loops;
} mgc_plan;

static void mgc_free_plan(mgc_plan *p)
{
    mgc_ints *all[] = {&p->output_is_first,
                       &p->places, &p->weights, &p->broadcast_scalars, &p->broadcast_slots, &p->outputs,
                       &p->clear_slots, &p->clear_sizes, &p->single_slots, &p->run_weights, &p->run_scalars,
                       &p->run_sizes, &p->index_inputs, &p->index_limits, &p->constant_places};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) mgc_free_ints(all[i]);
    PyMem_Free(p->scalar_steps.items);
    PyMem_Free(p->lane_steps.items);
    PyMem_Free(p->constants);
    PyMem_Free(p->is_single);
    for (int i = 0; i < p->program.loop_count; i++) PyMem_Free(p->loops[i].steps);
    PyMem_Free(p->loops);
    memset(p, 0, sizeof *p);
}

static int mgc_push_step(mgc_steps *steps, mgc_step step)
{
    if (steps->count == steps->capacity) {
        if (steps->capacity > INT_MAX / 2) return -1;
        const int capacity = steps->capacity ? 2 * steps->capacity : 16;
        if (mgc_resize((void **)&steps->items, (size_t)capacity, sizeof *steps->items) < 0) return -1;
        steps->capacity = capacity;
    }
    steps->items[steps->count++] = step;
    return 0;
}

/* Which rows of gradients a loop adds to. */
static void mgc_loop_writes(const mgc_plan *plan, const mgc_loop *loop, unsigned char *written)
{
    const int *fed = plan->places.items + loop->fed, *receivers = plan->places.items + loop->receivers;
    for (int i = 0; i < loop->carries + loop->length * loop->xs; i++) if (fed[i] >= 0) written[fed[i]] = 1;
    for (int i = 0; i < loop->receiver_count; i++) written[receivers[i]] = 1;
}

/* Slots that steps touch are not single; those of rows of ops.h of one result only if all are meant. */
static void mgc_touch(mgc_plan *plan, const mgc_step *steps, int count, int all)
{
    for (const mgc_step *step = steps; step < steps + count; step++) {
        const mgc_kind *kind = &mgc_kinds[step->op];
        const int first[] = {step->x, step->y, step->z}, strides[] = {step->dx, step->dy, step->dz};
        if ((mgc_is_row_of_table(step) && step->count == 1 && !all) || step->op == MGC_SCAN) continue;
        memset(plan->is_single + step->f, 0, (size_t)step->count);
        if (mgc_is_row_of_table(step)) {
            for (int j = 0; j < mgc_rows[step->op].operands; j++)
                for (int r = 0; r < step->count; r++) plan->is_single[first[j] + r * strides[j]] = 0;
        } else {
            if (kind->index) plan->is_single[step->x] = 0;
            for (int j = 0; j < kind->rows * step->k; j++) plan->is_single[plan->places.items[step->places + j]] = 0;
        }
    }
}

static void mgc_touch_places(mgc_plan *plan, int begin, int count)
{
    for (const int *place = plan->places.items + begin, *end = place + count; place < end; place++)
        if (*place >= 0) plan->is_single[*place] = 0;
}

/* Which slots are touched by rows of ops.h of single results alone: their rows may be anywhere. */
static int mgc_find_single(mgc_plan *plan)
{
    plan->is_single = PyMem_Malloc((size_t)plan->program.slot_count + 1);
    if (!plan->is_single) return -1;
    memset(plan->is_single, 1, (size_t)plan->program.slot_count + 1);
    mgc_touch(plan, plan->lane_steps.items, plan->lane_steps.count, 0);
    for (int i = 0; i < plan->program.loop_count; i++) {
        const mgc_loop *loop = &plan->loops[i];
        mgc_touch(plan, loop->steps, loop->step_count, 1);
        memset(plan->is_single + loop->first, 0, (size_t)(loop->carries + loop->xs));
        mgc_touch_places(plan, loop->fed, loop->carries + loop->length * loop->xs);
        mgc_touch_places(plan, loop->next, loop->carries + loop->ys + loop->ends);
        mgc_touch_places(plan, loop->results, loop->carries + loop->length * loop->ys);
        mgc_touch_places(plan, loop->receivers, loop->receiver_count);
    }
    for (int i = 0; i < plan->broadcast_slots.count; i++) plan->is_single[plan->broadcast_slots.items[i]] = 0;
    return 0;
}

/* Which rows of gradients were written on the way back so far, and which the first one to write assigned; of the slots
   from `first` on. Those before are of somebody else, and hold something. */
typedef struct {
    unsigned char *written, *assigned;
    int *seen;
    int first, count;
} mgc_way_back;

static inline int mgc_is_new(const mgc_way_back *w, int slot)
{
    return slot >= w->first && slot < w->first + w->count && !w->written[slot];
}

/* Begin with some of the slots, to which nothing was written. */
static void mgc_begin_way_back(mgc_way_back *w, int first, int count)
{
    w->first = first, w->count = count;
    memset(w->written + first, 0, (size_t)count);
    memset(w->assigned + first, 0, (size_t)count);
    memset(w->seen + first, 0, (size_t)count * sizeof *w->seen);
}

/* Going back through steps, find those that assign, as nothing was written there before. What single results assign
   is put into `singles`. */
static int mgc_find_firsts(mgc_plan *plan, mgc_way_back *w, mgc_step *steps, int count, mgc_ints *singles)
{
    for (int i = count - 1; i >= 0; i--) {
        mgc_step *step = &steps[i];
        if (step->op < MGC_TABLE_END) {
            const int first[] = {step->x, step->y, step->z};
            const int strides[] = {step->dx, step->dy, step->dz};
            for (int j = 0; j < mgc_rows[step->op].operands; j++) {
                if (step->count == 1 && step->receives & MGC_X_RECEIVES << j && mgc_is_new(w, first[j])) {
                    step->receives |= MGC_X_FIRST << j;
                    w->assigned[first[j]] = 1;
                    if (singles && mgc_push(singles, first[j]) < 0) return -1;
                }
                for (int result = 0; result < step->count; result++) {
                    const int slot = first[j] + result * strides[j];
                    if (slot == plan->program.seeded && step->receives & MGC_X_RECEIVES << j)
                        plan->program.seeded = -1;
                    w->written[slot] = 1;
                }
            }
            if (step->receives & MGC_KEEPS_OTHER) memset(w->assigned + step->y, 1, (size_t)step->count);
            continue;
        }
        if (step->op == MGC_SCAN) {
            const mgc_loop *loop = &plan->loops[step->x];
            mgc_loop_writes(plan, loop, w->written);
            memset(w->assigned + loop->first, 1, (size_t)loop->slot_count);      /* it looks after them itself */
            continue;
        }
        const int *places = plan->places.items + step->places, k = mgc_kinds[step->op].rows * step->k;
        int is_first = step->op == MGC_DENSE && step->receives & MGC_OPERANDS_RECEIVE;
        for (int j = 0; j < k && is_first; j++) {
            is_first = mgc_is_new(w, places[j]) && w->seen[places[j]] != i + 1;
            w->seen[places[j]] = i + 1;
        }
        if (is_first) step->receives |= MGC_OPERANDS_RECEIVE_FIRST;
        for (int j = 0; j < k; j++) {
            if (is_first) w->assigned[places[j]] = 1;
            if (places[j] == plan->program.seeded) plan->program.seeded = -1;
            w->written[places[j]] = 1;
        }
    }
    return 0;
}

/* The rows of gradients that begin at 0, in runs: all that are not assigned. */
static int mgc_next_cleared(const mgc_way_back *w, int *slot)
{
    const int end = w->first + w->count;
    while (*slot < end && w->assigned[*slot]) ++*slot;
    int size = 0;
    while (*slot + size < end && !w->assigned[*slot + size]) size++;
    return size;
}

/* Those of an iteration of a loop, to which first of all the next carries send. */
static int mgc_find_cleared_in_loop(mgc_plan *plan, mgc_loop *loop, mgc_way_back *w)
{
    mgc_begin_way_back(w, loop->first, loop->slot_count);
    const int firsts = plan->places.count;
    for (int i = 0; i < loop->carries + loop->ys; i++) {
        const int place = plan->places.items[loop->next + i], is_first = i < loop->carries && mgc_is_new(w, place);
        if (place >= 0) w->written[place] = 1;
        if (is_first) w->assigned[place] = 1;
        if (i < loop->carries && mgc_push(&plan->places, is_first) < 0) return -1;
    }
    if (mgc_find_firsts(plan, w, loop->steps, loop->step_count, NULL) < 0) return -1;
    loop->firsts = firsts, loop->clears = plan->places.count;
    for (int slot = loop->first, size; (size = mgc_next_cleared(w, &slot)); slot += size)
        if (mgc_push(&plan->places, slot) < 0 || mgc_push(&plan->places, size) < 0) return -1;
    loop->clear_count = (plan->places.count - loop->clears) / 2;
    return 0;
}

/* Whether a gradient column reads a variable, which has one letter. */
static int mgc_reads(const char *column, char name)
{
    for (const char *c = column; *c; c++) {
        const int begins = c == column || !(isalnum((unsigned char)c[-1]) || c[-1] == '_');
        if (*c == name && begins && !(isalnum((unsigned char)c[1]) || c[1] == '_')) return 1;
    }
    return 0;
}

static void mgc_mark(unsigned char *marks, int first, int stride, int count)
{
    for (int i = 0; i < count; i++) marks[first + i * stride] = 1;
}

static void mgc_mark_places(const mgc_plan *plan, unsigned char *marks, int begin, int count)
{
    for (const int *place = plan->places.items + begin, *end = place + count; place < end; place++)
        if (*place >= 0) marks[*place] = 1;
}

/* Mark the operand `which` of a row of ops.h, in all its results. */
static void mgc_mark_operand(unsigned char *marks, const mgc_step *step, int which)
{
    const int first[] = {step->x, step->y, step->z}, strides[] = {step->dx, step->dy, step->dz};
    mgc_mark(marks, first[which], strides[which], step->count);
}

/* Mark the rows of values that a step reads on the way back; of all but rows of ops.h and layers, whatever it has. */
static void mgc_mark_read_back(const mgc_plan *plan, unsigned char *marks, const mgc_step *step)
{
    if (mgc_is_row_of_table(step)) {
        const char *columns[] = {mgc_rows[step->op].gx, mgc_rows[step->op].gy, mgc_rows[step->op].gz};
        for (int j = 0; j < mgc_rows[step->op].operands; j++) {
            if (!(step->receives & MGC_X_RECEIVES << j)) continue;
            for (int i = 0; i < mgc_rows[step->op].operands; i++)
                if (mgc_reads(columns[j], "xyz"[i])) mgc_mark_operand(marks, step, i);
            if (mgc_reads(columns[j], 'f') || step->receives & MGC_KEEPS_OTHER)
                mgc_mark(marks, step->f, 1, step->count);
        }
    } else if (step->op == MGC_SCAN) {
        const mgc_loop *loop = &plan->loops[step->x];
        mgc_mark_places(plan, marks, loop->fed, loop->carries + loop->length * loop->xs);
        mgc_mark_places(plan, marks, loop->receivers, loop->receiver_count);
    } else if (step->op != MGC_DENSE || step->receives & MGC_WEIGHTS_RECEIVE) {
        mgc_mark_places(plan, marks, step->places, mgc_kinds[step->op].rows * step->k);
        if (mgc_kinds[step->op].index) marks[step->x] = 1;
        if (step->op != MGC_DENSE) mgc_mark(marks, step->f, 1, step->count);
    }
}

/* Find steps of an iteration whose results nothing on its way back depends on: it does not run them again. */
static void mgc_find_unread(const mgc_plan *plan, const mgc_loop *loop, unsigned char *marks)
{
    const int *checks = plan->places.items + loop->checks;
    memset(marks + loop->first, 0, (size_t)loop->slot_count);
    if (loop->ends) mgc_mark_places(plan, marks, loop->next + loop->carries + loop->ys, 1);
    for (int i = 0; i < loop->check_count; i++) marks[checks[2 * i]] = 1;
    for (int i = 0; i < loop->step_count; i++) mgc_mark_read_back(plan, marks, &loop->steps[i]);
    for (int i = loop->step_count - 1; i >= 0; i--) {
        mgc_step *step = &loop->steps[i];
        const mgc_kind *kind = &mgc_kinds[step->op];
        if (step->op == MGC_SCAN) continue;
        if (step->receives && !memchr(marks + step->f, 1, (size_t)step->count)) {
            step->receives |= MGC_IS_UNREAD;
        } else if (mgc_is_row_of_table(step)) {
            for (int j = 0; j < mgc_rows[step->op].operands; j++) mgc_mark_operand(marks, step, j);
        } else {
            mgc_mark_places(plan, marks, step->places, kind->rows * step->k);
            if (kind->index) marks[step->x] = 1;
        }
    }
}

static int mgc_find_cleared_in(mgc_plan *plan, mgc_way_back *w)
{
    const int only = plan->outputs.count == 1 ? plan->outputs.items[0] : -1;
    plan->program.seeded = -1;
    for (int i = 0; i < plan->program.loop_count; i++) {
        if (mgc_find_cleared_in_loop(plan, &plan->loops[i], w) < 0) return -1;
        mgc_find_unread(plan, &plan->loops[i], w->written);
    }
    mgc_begin_way_back(w, 0, plan->program.slot_count);
    plan->program.seeded = only >= plan->program.input_count && plan->is_single[only] ? only : -1;
    for (int i = 0; i < plan->outputs.count; i++) {
        const int slot = plan->outputs.items[i], is_first = slot >= 0 && !w->written[slot];
        if (is_first) w->written[slot] = w->assigned[slot] = 1;
        if (mgc_push(&plan->output_is_first, is_first) < 0) return -1;
    }
    if (mgc_find_firsts(plan, w, plan->lane_steps.items, plan->lane_steps.count, &plan->single_slots) < 0) return -1;
    for (int slot = 0, size; (size = mgc_next_cleared(w, &slot)); slot += size)
        if (mgc_push(&plan->clear_slots, slot) < 0 || mgc_push(&plan->clear_sizes, size) < 0) return -1;
    return 0;
}

/* Find the rows of gradients that begin at 0: all but those of outputs, and those that a dense layer or a single result
   is the first to write, going back. */
static int mgc_find_cleared(mgc_plan *plan)
{
    const size_t slots = (size_t)plan->program.slot_count;
    unsigned char *marks = PyMem_Malloc(2 * slots + 1);
    int *seen = PyMem_Malloc((slots + 1) * sizeof *seen);
    mgc_way_back w = {.written = marks, .assigned = marks + slots, .seen = seen};
    const int failed = !marks || !seen || mgc_find_cleared_in(plan, &w) < 0;
    PyMem_Free(marks);
    PyMem_Free(seen);
    return -failed;
}

/* Runs of weights whose scalars follow one another. */
static int mgc_find_runs(mgc_plan *plan)
{
    for (int w = 0; w < plan->weights.count; w++) {
        const int scalar = plan->weights.items[w], last = plan->run_weights.count - 1;
        if (last >= 0 && plan->run_scalars.items[last] + plan->run_sizes.items[last] == scalar)
            plan->run_sizes.items[last]++;
        else if (mgc_push(&plan->run_weights, w) < 0 || mgc_push(&plan->run_scalars, scalar) < 0
                 || mgc_push(&plan->run_sizes, 1) < 0) return -1;
    }
    return 0;
}

/* The inputs that are an index, and how many values each picks from at least; those that are computed are looked at by
   themselves (indices.pxi). */
static int mgc_find_index_limits(mgc_plan *plan)
{
    for (int i = 0; i < plan->lane_steps.count; i++) {
        const mgc_step *step = &plan->lane_steps.items[i];
        if (!mgc_kinds[step->op].index || step->x >= plan->program.input_count) continue;
        int j = 0;
        while (j < plan->index_inputs.count && plan->index_inputs.items[j] != step->x) j++;
        if (j == plan->index_inputs.count) {
            if (mgc_push(&plan->index_inputs, step->x) < 0 || mgc_push(&plan->index_limits, step->k) < 0) return -1;
        } else if (plan->index_limits.items[j] > step->k) {
            plan->index_limits.items[j] = step->k;
        }
    }
    return 0;
}

/* Look at steps: how many rows a careful step back sets aside at most, and whether the gradient of any weight is
   needed. */
static void mgc_look_at_steps(mgc_program *to, const mgc_step *steps, int count)
{
    for (const mgc_step *step = steps; step < steps + count; step++) {
        const mgc_kind *kind = &mgc_kinds[step->op];
        const int rows = mgc_is_row_of_table(step) ? 3 : kind->rows * step->k;
        if (rows > to->careful_rows) to->careful_rows = rows;
        if (step->op == MGC_SCAN || (!kind->rows && kind->weights)) to->weights_receive |= step->receives != 0;
        else to->weights_receive |= kind->weights && step->receives & MGC_WEIGHTS_RECEIVE;
    }
}

/* What a program has of its plan. */
static int mgc_complete_program(mgc_plan *plan)
{
    mgc_program *to = &plan->program;
    if (mgc_find_single(plan) < 0 || mgc_find_cleared(plan) < 0 || mgc_find_runs(plan) < 0
        || mgc_find_index_limits(plan) < 0) return -1;
    to->scalar_steps = plan->scalar_steps.items, to->scalar_step_count = plan->scalar_steps.count;
    to->lane_steps = plan->lane_steps.items, to->lane_step_count = plan->lane_steps.count;
    to->places = plan->places.items, to->weight_count = plan->weights.count;
    to->run_count = plan->run_weights.count, to->run_weights = plan->run_weights.items;
    to->run_scalars = plan->run_scalars.items, to->run_sizes = plan->run_sizes.items;
    to->broadcast_count = plan->broadcast_scalars.count, to->broadcast_slots = plan->broadcast_slots.items;
    to->broadcast_scalars = plan->broadcast_scalars.items;
    to->clear_count = plan->clear_slots.count, to->clear_slots = plan->clear_slots.items;
    to->clear_sizes = plan->clear_sizes.items;
    to->is_single = plan->is_single;
    to->single_count = plan->single_slots.count, to->single_slots = plan->single_slots.items;
    to->output_is_first = plan->output_is_first.items;
    to->output_count = plan->outputs.count, to->output_places = plan->outputs.items;
    to->loops = plan->loops;
    mgc_look_at_steps(to, to->lane_steps, to->lane_step_count);
    for (int i = 0; i < to->loop_count; i++) mgc_look_at_steps(to, to->loops[i].steps, to->loops[i].step_count);
    return 0;
}

#endif
