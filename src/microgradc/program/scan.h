/* Loops: an iteration's steps are run again and again on the same slots, forward and back. Changes with what a loop
 * keeps from its iterations. Included by replay.h.
 *
 * The way back goes through the iterations in reverse. It finds the carries with which one began among those that the
 * way forward kept, runs the iteration again, and then its steps back. Where not all are kept, those of a part of the
 * loop are found by running that part again: so T iterations take the memory of twice the root of T. A call of one
 * example keeps all that an iteration writes instead, if that is not too much: it is few numbers, and no time.
 *
 * A lane in which a loop has ended keeps its carries from there on, whatever the steps compute in it; on the way back
 * nothing arrives at these steps, in a careful run not even 0.
 */

#define MGC_HEAR_AFTER 3e6      /* multiplications, about; some milliseconds */

/* The rows that a loop keeps, each of n numbers. */
enum {
    MGC_DONE,           /* its first number: how many iterations the way back goes through */
    MGC_ENDED,          /* not 0 in lanes in which the loop has ended */
    MGC_ASIDE,          /* the next carries, until all are read; and then, their gradients, and carries */
};

static inline Py_ssize_t mgc_rows_for_carries(const mgc_loop *loop)
{
    const Py_ssize_t all = loop->length, parts = (all - 1) / loop->every + 1;
    return loop->carries * (loop->every == 1 ? all : parts + loop->every);
}

static inline Py_ssize_t mgc_rows_kept(const mgc_loop *loop, int keeps_slots, int with_gradients)
{
    if (!with_gradients) return MGC_ASIDE + loop->carries;
    return MGC_ASIDE + 2 * (Py_ssize_t)loop->carries
        + (keeps_slots ? (Py_ssize_t)loop->length * loop->slot_count : mgc_rows_for_carries(loop));
}

static inline double *mgc_kept_row(const mgc_block *b, const mgc_loop *loop, Py_ssize_t row)
{
    return b->n == 1 ? b->kept + loop->kept_of_one + row : b->kept + (loop->kept + row) * b->n;
}

/* Of a call of one example: all that an iteration wrote. */
static inline double *mgc_kept_slots(const mgc_block *b, const mgc_loop *loop, Py_ssize_t t)
{
    return mgc_kept_row(b, loop, MGC_ASIDE + 2 * (Py_ssize_t)loop->carries + t * loop->slot_count);
}

static inline double *mgc_aside(const mgc_block *b, const mgc_loop *loop) { return mgc_kept_row(b, loop, MGC_ASIDE); }

static inline double *mgc_carry_gradients(const mgc_block *b, const mgc_loop *loop)
{
    return mgc_kept_row(b, loop, MGC_ASIDE + loop->carries);
}

static inline double *mgc_kept_carries(const mgc_block *b, const mgc_loop *loop, Py_ssize_t which)
{
    return mgc_kept_row(b, loop, MGC_ASIDE + (2 + which) * loop->carries);
}

/* Numbers of each slot in a call of one example: value and gradient. */
enum { MGC_NUMBERS_OF_ONE = 2 };

static inline void mgc_copy(double *to, const double *from, Py_ssize_t count)
{
    if (count > 2) memcpy(to, from, (size_t)count * sizeof *to);
    else for (Py_ssize_t i = 0; i < count; i++) to[i] = from[i];
}

static inline void mgc_keep_slots(const mgc_block *b, const mgc_loop *loop, Py_ssize_t t)
{
    mgc_copy(mgc_kept_slots(b, loop, t), b->base + loop->first, loop->slot_count);
}

static inline void mgc_get_kept_slots(const mgc_block *b, const mgc_loop *loop, Py_ssize_t t)
{
    mgc_copy(b->base + loop->first, mgc_kept_slots(b, loop, t), loop->slot_count);
}

/* What is in a place: a row, or a weight in all lanes. */
static inline void mgc_read_place(const mgc_block *b, const mgc_step *step, int place, double *to)
{
    if (place >= 0) mgc_copy(to, b->base + place * b->n, b->n);
    else mgc_fill(to, b->n, b->call->weights[step->weights - 1 - place]);
}

/* What is in a place receives a row of gradients, which is the first if nothing was there before. */
static void mgc_send(const mgc_block *b, const mgc_step *step, int place, const double *g, int is_first)
{
    if (place >= 0) {
        double *to = b->gbase + place * b->n;
        if (is_first) for (Py_ssize_t l = 0; l < b->n; l++) to[l] = 0 + g[l];
        else for (Py_ssize_t l = 0; l < b->n; l++) to[l] += g[l];
        return;
    }
    double *to = b->gweights + step->weights - 1 - place;
    Py_ssize_t l = 0;
    while (b->call->careful && l < b->valid && mgc_is_none(g[l])) l++;
    if (l < b->valid) *to += b->n == 1 ? *g : b->call->lanes->sum(g, b->valid) + 0.0;
}

static void mgc_scan(const mgc_block *b, const mgc_step *step);
static void mgc_scan_back(const mgc_block *b, const mgc_step *step);

/* Steps forward, and back; has_loops: whether one of them is a loop. */
static void mgc_run(const mgc_block *b, const mgc_step *steps, int count, int has_loops)
{
    const mgc_call *c = b->call;
    for (int begin = 0, end = count; begin < count; begin = end + 1) {
        if (has_loops) for (end = begin; end < count && steps[end].op != MGC_SCAN;) end++;
        if (b->n == 1) c->lanes->run_one(c->program, steps + begin, end - begin, c->weights, b->base, b->keeps,
                                         b->scratch);
        else mgc_run_lanes(b, steps + begin, end - begin);
        if (end < count) mgc_scan(b, steps + end);
    }
}

static void mgc_run_back(const mgc_block *b, const mgc_step *steps, int count, int has_loops)
{
    const mgc_call *c = b->call;
    for (int begin = 0, end = count; end > 0; end = begin - 1) {
        if (has_loops) for (begin = end; begin > 0 && steps[begin - 1].op != MGC_SCAN;) begin--;
        if (b->n == 1)
            c->lanes->run_one_back(c->program, steps + begin, end - begin, c->weights, b->base, b->gweights,
                                   b->scratch);
        else mgc_run_lanes_back(b, steps + begin, end - begin);
        if (begin > 0 && steps[begin - 1].receives) mgc_scan_back(b, steps + begin - 1);
    }
}

/* Look in which lanes the loop had ended before the iteration that was run, and whether in all. */
static int mgc_has_ended(const mgc_block *b, const mgc_step *step, const mgc_loop *loop)
{
    double *ended = mgc_kept_row(b, loop, MGC_ENDED);
    mgc_read_place(b, step, b->call->program->places[loop->next + loop->carries + loop->ys], ended);
    for (Py_ssize_t l = 0; l < b->valid; l++) if (ended[l] == 0) return 0;
    return 1;
}

/* Whether all indices pick a value, in lanes in which the loop has not ended. */
static void mgc_check_indices(const mgc_block *b, const mgc_loop *loop)
{
    const int *check = b->call->program->places + loop->checks;
    const double *ended = mgc_kept_row(b, loop, MGC_ENDED);
    for (int i = 0; i < loop->check_count; i++, check += 2) {
        const double *index = b->base + check[0] * b->n;
        for (Py_ssize_t l = 0; l < b->valid; l++) {
            if (loop->ends && ended[l] != 0) continue;
            if (!(index[l] >= 0 && index[l] < check[1] && index[l] == floor(index[l])))
                mgc_report(b->call, MGC_WRONG_INDEX);
        }
    }
}

/* Whether a loop is to be left, for somebody pressed Ctrl-C: asked after some milliseconds of work. */
static int mgc_is_interrupted(const mgc_block *b, const mgc_loop *loop, double *worked)
{
    const mgc_call *c = b->call;
    if (!c->trouble) return 0;
    *worked += loop->work / loop->length * (double)b->n;
    if (*worked < MGC_HEAR_AFTER) return *c->trouble == MGC_INTERRUPTED;
    *worked = 0;
    if (c->hear && c->hear(c->hearer)) mgc_report(c, MGC_INTERRUPTED);
    return *c->trouble == MGC_INTERRUPTED;
}

/* An iteration, whose carries are there. Returns whether the loop has ended in all lanes. */
static int mgc_iterate(const mgc_block *b, const mgc_step *step, const mgc_loop *loop, int t)
{
    const int *fed = b->call->program->places + loop->fed + loop->carries + (Py_ssize_t)t * loop->xs;
    double *x = b->base + (loop->first + loop->carries) * b->n;
    for (int i = 0; i < loop->xs; i++, x += b->n) mgc_read_place(b, step, fed[i], x);
    mgc_run(b, loop->steps, loop->step_count, loop->is_nested);
    const int has_ended = loop->ends ? mgc_has_ended(b, step, loop) : 0;
    if (loop->check_count) mgc_check_indices(b, loop);
    return has_ended;
}

/* The next carries come to be those with which the next iteration begins. */
static void mgc_go_on(const mgc_block *b, const mgc_step *step, const mgc_loop *loop)
{
    const int *next = b->call->program->places + loop->next;
    const Py_ssize_t n = b->n;
    double *carry = b->base + loop->first * n;
    if (!loop->moves_first && !loop->ends) {
        for (int i = 0; i < loop->carries; i++, carry += n)
            if (next[i] != loop->first + i) mgc_read_place(b, step, next[i], carry);
        return;
    }
    double *aside = mgc_aside(b, loop);
    for (int i = 0; i < loop->carries; i++) mgc_read_place(b, step, next[i], aside + i * n);
    const double *ended = mgc_kept_row(b, loop, MGC_ENDED);
    if (!loop->ends) mgc_copy(carry, aside, loop->carries * n);
    else for (int i = 0; i < loop->carries; i++, carry += n, aside += n)
        for (Py_ssize_t l = 0; l < n; l++) carry[l] = ended[l] != 0 ? carry[l] : aside[l];
}

static void mgc_scan(const mgc_block *around, const mgc_step *step)
{
    const mgc_program *p = around->call->program;
    const mgc_loop *loop = &p->loops[step->x];
    const int keeps_slots = around->n == 1 && loop->keeps_slots;
    mgc_block here = *around, *const b = &here;
    here.keeps = around->keeps && keeps_slots, here.is_again = 0;       /* what is run again keeps it then */
    const int *fed = p->places + loop->fed, *made = p->places + loop->next + loop->carries;
    const int *results = p->places + loop->results;
    const Py_ssize_t n = b->n, size = loop->carries * n;
    double *carry = b->base + loop->first * n;
    double worked = 0;
    int t = 0;
    for (int i = 0; i < loop->carries; i++) mgc_read_place(b, step, fed[i], carry + i * n);
    for (; t < loop->length && !mgc_is_interrupted(b, loop, &worked); t++) {
        if (b->call->seeds && !keeps_slots && t % loop->every == 0)
            mgc_copy(mgc_kept_carries(b, loop, t / loop->every), carry, size);
        const int has_ended = mgc_iterate(b, step, loop, t);
        if (b->call->seeds && keeps_slots) mgc_keep_slots(b, loop, t);
        for (int i = 0; i < loop->ys; i++) {
            const int result = results[loop->carries + (Py_ssize_t)t * loop->ys + i];
            if (result >= 0) mgc_read_place(b, step, made[i], b->base + result * n);
        }
        if (has_ended && !loop->ys) break;
        mgc_go_on(b, step, loop);
    }
    *mgc_kept_row(b, loop, MGC_DONE) = t;
    for (int i = 0; i < loop->carries; i++)
        if (results[i] >= 0) mgc_copy(b->base + results[i] * n, carry + i * n, n);
}

/* The carries with which an iteration began. `part` is the first iteration of the part whose carries were found; -1 if
   none was. */
static const double *mgc_carries_of(const mgc_block *b, const mgc_step *step, const mgc_loop *loop, int t, int done,
                                    int *part)
{
    const int begin = t / loop->every * loop->every;
    const Py_ssize_t size = loop->carries * b->n, parts = (loop->length - 1) / loop->every + 1;
    double *carry = b->base + loop->first * b->n;
    if (loop->every == 1) return mgc_kept_carries(b, loop, t);
    if (*part != begin) {
        *part = begin;
        mgc_copy(carry, mgc_kept_carries(b, loop, begin / loop->every), size);
        for (int u = begin;; u++) {
            mgc_copy(mgc_kept_carries(b, loop, parts + u - begin), carry, size);
            if (u + 1 == begin + loop->every || u + 1 == done) break;
            mgc_iterate(b, step, loop, u);
            mgc_go_on(b, step, loop);
        }
    }
    return mgc_kept_carries(b, loop, parts + t - begin);
}

/* The steps of an iteration back, which was run. `received` are the gradients of the next carries, and then those of
   the carries. */
static void mgc_iteration_back(const mgc_block *b, const mgc_step *step, const mgc_loop *loop, int t, double *received)
{
    const mgc_program *p = b->call->program;
    const int *fed = p->places + loop->fed, *next = p->places + loop->next, *results = p->places + loop->results;
    const int *firsts = p->places + loop->firsts, *clear = p->places + loop->clears;
    const int assigns = !b->call->careful && b->n > 1;
    const double none = b->call->careful ? -0.0 : 0.0;
    const Py_ssize_t n = b->n;
    double *gslots = b->gbase + loop->first * n, *arrives = mgc_aside(b, loop);
    const double *ended = mgc_kept_row(b, loop, MGC_ENDED);
    if (b->call->careful) mgc_fill(gslots, loop->slot_count * n, none);
    else if (n == 1) memset(gslots, 0, (size_t)loop->slot_count * sizeof *gslots);
    else for (int i = 0; i < loop->clear_count; i++, clear += 2)
        memset(b->gbase + clear[0] * n, 0, (size_t)(clear[1] * n) * sizeof *gslots);
    for (int i = 0; i < loop->carries; i++) {
        const double *g = received + i * n;
        if (loop->ends) {
            for (Py_ssize_t l = 0; l < n; l++) arrives[l] = ended[l] != 0 ? none : g[l];
            g = arrives;
        }
        mgc_send(b, step, next[i], g, firsts[i] && assigns);
    }
    for (int i = 0; i < loop->ys; i++) {
        const int result = results[loop->carries + (Py_ssize_t)t * loop->ys + i];
        if (result >= 0) mgc_send(b, step, next[loop->carries + i], b->gbase + result * n, 0);
    }
    mgc_run_back(b, loop->steps, loop->step_count, loop->is_nested);
    if (!loop->ends) mgc_copy(received, gslots, loop->carries * n);
    else for (int i = 0; i < loop->carries; i++)
        for (Py_ssize_t l = 0; l < n; l++)
            received[i * n + l] = gslots[i * n + l] + (ended[l] != 0 ? received[i * n + l] : none);
    for (int i = 0; i < loop->xs; i++)
        mgc_send(b, step, fed[loop->carries + (Py_ssize_t)t * loop->xs + i], gslots + (loop->carries + i) * n, 0);
}

static void mgc_scan_back(const mgc_block *b, const mgc_step *step)
{
    const mgc_program *p = b->call->program;
    const mgc_loop *loop = &p->loops[step->x];
    const int *fed = p->places + loop->fed, *results = p->places + loop->results;
    const Py_ssize_t n = b->n, size = loop->carries * n;
    double *carry = b->base + loop->first * n, *received = mgc_carry_gradients(b, loop);
    mgc_block again = *b;
    double worked = 0;
    int part = -1, done = (int)*mgc_kept_row(b, loop, MGC_DONE);
    again.is_again = 1;
    for (int i = 0; i < loop->carries; i++) {
        if (results[i] >= 0) mgc_copy(received + i * n, b->gbase + results[i] * n, n);
        else mgc_fill(received + i * n, n, b->call->careful ? -0.0 : 0.0);
    }
    for (int t = done; t-- > 0 && !mgc_is_interrupted(b, loop, &worked);) {
        if (n == 1 && loop->keeps_slots) {
            mgc_get_kept_slots(b, loop, t);
            if (loop->ends) mgc_has_ended(b, step, loop);
        } else {
            mgc_copy(carry, mgc_carries_of(b, step, loop, t, done, &part), size);
            mgc_iterate(&again, step, loop, t);
        }
        mgc_iteration_back(b, step, loop, t, received);
    }
    for (int i = 0; i < loop->carries; i++) mgc_send(b, step, fed[i], received + i * n, 0);
}
