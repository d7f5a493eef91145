/* The plan of a loop: its body's steps, on slots of their own, and how numbers get into them and out. Changes with what
 * a loop is made of. Included by planning.h.
 *
 * A body is planned as a graph of its own, but that it shares what the plan around has: scalars, weights, slots. What
 * it uses of the graph around is there already, a scalar or a row, for all iterations.
 */

typedef struct mgc_loop_planning {
    mgc_planning body;
    int e;                      /* which expression of the graph around it is */
    int *outputs;               /* of the body; -1 for ys that nobody needs */
    mgc_steps steps;
    struct mgc_loop_planning *next;
} mgc_loop_planning;

static void mgc_free_loop_plannings(mgc_loop_planning *loops)
{
    while (loops) {
        mgc_loop_planning *next = loops->next;
        mgc_free_planning(&loops->body);
        PyMem_Free(loops->outputs);
        PyMem_Free(loops->steps.items);
        PyMem_Free(loops);
        loops = next;
    }
}

static inline const mgc_graph_loop *mgc_loop_of(const mgc_planning *p, int e)
{
    return &p->g->loops[p->g->payload[e]];
}

static inline int mgc_outputs_in(const mgc_graph_loop *l) { return l->carries + l->ys + l->ends; }

/* What is known of the leaves of a body before it has slots: the scalars, and the gradients that are needed. A carry
   needs one if what it begins with does, or what comes next. */
static void mgc_find_leaves_of_body(const mgc_planning *p, mgc_loop_planning *q)
{
    const mgc_graph_loop *l = mgc_loop_of(p, q->e);
    const int *operands = mgc_operands_of(p->g, q->e), *captured = operands + mgc_first_captured(l);
    mgc_planning *body = &q->body;
    const mgc_graph *g = body->g;
    for (int e = 0; e < g->count; e++) {
        const int i = (int)g->payload[e];
        if (g->op[e] == MGC_PARAMETER) {
            body->needs[e] = p->needs[captured[i]];
            if (!g->varies[e]) body->place[e] = p->place[captured[i]], body->slot[e] = p->slot[captured[i]];
        } else if (g->op[e] == MGC_INPUT && i < l->carries) {
            body->needs[e] = p->needs[operands[i]];
        } else if (g->op[e] == MGC_INPUT) {
            for (int t = 0; t < l->length; t++) body->needs[e] |= p->needs[operands[i + t * l->xs]];
        }
    }
    for (int changed = 1; changed;) {
        changed = 0;
        mgc_find_needs(body);
        for (int e = 0; e < g->count; e++) {
            const uint64_t i = g->payload[e];
            if (g->op[e] != MGC_INPUT || i >= (uint64_t)l->carries || body->needs[e]) continue;
            if (body->needs[q->outputs[i]]) body->needs[e] = 1, changed = 1;
        }
    }
}

/* All of a loop that can be known before there are slots: what its body needs, its levels. Broadcast scalars get their
   rows now, apart from those that an iteration writes. */
static int mgc_prepare_loop(mgc_planning *p, int e)
{
    const mgc_graph *g = p->g;
    const mgc_graph_loop *l = mgc_loop_of(p, e);
    const int output_count = mgc_outputs_in(l);
    mgc_loop_planning *q = PyMem_Calloc(1, sizeof *q);
    if (!q) return -1;
    q->next = p->loops, p->loops = q;
    q->e = e;
    q->body = (mgc_planning){.g = l->body, .plan = p->plan, .wanted = p->wanted, .slots = p->slots,
                             .sharing = p->sharing, .steps = &q->steps};
    q->outputs = PyMem_Malloc((size_t)(output_count + 1) * sizeof(int));
    if (!q->outputs || mgc_allocate_planning(&q->body) < 0) return -1;
    memcpy(q->outputs, l->outputs, (size_t)output_count * sizeof(int));
    for (int i = 0; i < l->ys; i++) q->outputs[l->carries + i] = -1;
    for (int r = e + 1; r < g->count; r++) {
        if (g->op[r] != MGC_RESULT || !p->live[r] || mgc_operands_of(g, r)[0] != e) continue;
        const int result = (int)g->payload[r] - l->carries;
        if (result >= 0) q->outputs[l->carries + result % l->ys] = l->outputs[l->carries + result % l->ys];
    }
    mgc_find_live(&q->body, q->outputs, output_count);
    mgc_find_leaves_of_body(p, q);
    if (mgc_place_scalars(&q->body) < 0 || mgc_find_levels(&q->body, q->outputs, output_count) < 0) return -1;
    for (int i = 0; i < l->body->count; i++)        /* indices are looked at after an iteration */
        if (l->body->op[i] >= 0 && mgc_kinds[l->body->op[i]].index)
            q->body.last_use[mgc_operands_of(l->body, i)[0]] = 0;
    return mgc_sort_levels(&q->body);
}

/* Add a place of a loop: the slot of a row; for a scalar, a weight. */
static int mgc_push_fed(mgc_planning *p, int e, int weights)
{
    mgc_plan *plan = p->plan;
    if (e < 0) return mgc_push(&plan->places, 0);       /* of ys that nobody needs */
    if (p->g->varies[e]) return mgc_push(&plan->places, p->slot[e]);
    if (mgc_push(&plan->places, -1 - (plan->weights.count - weights)) < 0) return -1;
    return mgc_push(&plan->weights, p->place[e]);
}

/* The results that are needed get slots, which come before those of the body. */
static int mgc_place_results(mgc_planning *p, int e, mgc_loop *loop)
{
    const mgc_graph *g = p->g;
    const mgc_graph_loop *l = mgc_loop_of(p, e);
    const int count = mgc_results_of(l);
    loop->results = p->plan->places.count;
    for (int i = 0; i < count; i++) if (mgc_push(&p->plan->places, -1) < 0) return -1;
    for (int r = e + 1; r < g->count; r++) {
        if (g->op[r] != MGC_RESULT || !p->live[r] || mgc_operands_of(g, r)[0] != e) continue;
        if ((p->slot[r] = mgc_give_slots(p->slots, 1)) < 0) return -1;
        p->plan->places.items[loop->results + (int)g->payload[r]] = p->slot[r];
    }
    return 0;
}

/* What an iteration reads besides, and adds gradients to; the indices in it; how much work it is. */
static int mgc_complete_loop(mgc_planning *p, mgc_loop *loop, const mgc_loop_planning *q)
{
    const mgc_graph_loop *l = mgc_loop_of(p, q->e);
    const int *captured = mgc_operands_of(p->g, q->e) + mgc_first_captured(l);
    mgc_ints *places = &p->plan->places;
    loop->receivers = places->count;
    for (int i = 0; i < l->captured; i++)
        if (p->g->varies[captured[i]] && mgc_push(places, p->slot[captured[i]]) < 0) return -1;
    loop->receiver_count = places->count - loop->receivers;
    loop->checks = places->count;
    for (int i = 0; i < loop->step_count; i++) {
        const mgc_step *step = &loop->steps[i];
        const int size = mgc_size_of(step);
        if (step->op == MGC_SCAN) {
            loop->is_nested = 1, loop->work += p->plan->loops[step->x].work;
            continue;
        }
        loop->work += (double)step->count * (size ? size : 4);
        if (!mgc_kinds[step->op].index) continue;
        if (mgc_push(places, step->x) < 0 || mgc_push(places, step->k) < 0) return -1;
    }
    loop->check_count = (places->count - loop->checks) / 2;
    loop->work *= loop->length;
    return 0;
}

enum { MGC_MOST_SLOTS_KEPT = 1 << 20 };  /* numbers, a cache's worth: beyond, it is faster to compute them again */

/* Set aside what a loop keeps; returns where it begins, -1 if there is too much. */
static int mgc_keep_rows(int *kept, const mgc_loop *loop, int keeps_slots, int wanted)
{
    const int first = *kept;
    const Py_ssize_t rows = mgc_rows_kept(loop, keeps_slots, wanted != MGC_FORWARD);
    if (rows > INT_MAX - first) return -1;
    *kept += (int)rows;
    return first;
}

static int mgc_place_loop(mgc_planning *p, int e)
{
    mgc_plan *plan = p->plan;
    const mgc_graph_loop *l = mgc_loop_of(p, e);
    const int *operands = mgc_operands_of(p->g, e), *captured = operands + mgc_first_captured(l);
    mgc_loop_planning *q = p->loops;
    while (q->e != e) q = q->next;
    mgc_planning *body = &q->body;
    mgc_loop loop = {.length = l->length, .carries = l->carries, .xs = l->xs, .ys = l->ys, .ends = l->ends};
    if (mgc_place_results(p, e, &loop) < 0) return -1;
    if ((loop.first = mgc_give_slots(p->slots, l->carries + l->xs)) < 0) return -1;
    for (int i = 0; i < body->g->count; i++) {
        const int which = (int)body->g->payload[i];
        if (body->g->op[i] == MGC_INPUT) body->slot[i] = loop.first + which;
        if (body->g->op[i] == MGC_PARAMETER && body->g->varies[i]) body->slot[i] = p->slot[captured[which]];
    }
    if (mgc_place_lanes(body) < 0) return -1;
    loop.slot_count = p->slots->count - loop.first;
    loop.steps = q->steps.items, loop.step_count = q->steps.count;

    mgc_step step = {.op = MGC_SCAN, .count = 1, .receives = p->receives[e]};
    const int begin = plan->weights.count;
    loop.fed = plan->places.count;
    for (int i = 0; i < mgc_first_captured(l); i++) if (mgc_push_fed(p, operands[i], begin) < 0) return -1;
    loop.next = plan->places.count;
    for (int i = 0; i < mgc_outputs_in(l); i++) if (mgc_push_fed(body, q->outputs[i], begin) < 0) return -1;
    for (int i = 0; i < l->carries; i++) {
        const int place = plan->places.items[loop.next + i];
        loop.moves_first |= place != loop.first + i && place >= loop.first && place < loop.first + l->carries;
    }
    if ((step.weights = mgc_share_weights(p->sharing, &plan->weights, begin)) < 0) return -1;
    if (mgc_complete_loop(p, &loop, q) < 0) return -1;

    const int part = (int)ceil(sqrt(l->length));
    loop.every = l->keeps_all || l->length < 4 ? 1 : part;
    loop.keeps_slots = loop.every == 1 && !loop.is_nested && p->wanted != MGC_FORWARD
        && (double)loop.length * loop.slot_count <= MGC_MOST_SLOTS_KEPT;
    if ((loop.kept = mgc_keep_rows(&plan->program.kept_rows, &loop, 0, p->wanted)) < 0) return -1;
    if ((loop.kept_of_one = mgc_keep_rows(&plan->program.kept_of_one, &loop, loop.keeps_slots, p->wanted)) < 0)
        return -1;
    if (mgc_resize((void **)&plan->loops, (size_t)plan->program.loop_count + 1, sizeof loop) < 0) return -1;
    step.x = plan->program.loop_count;
    plan->loops[plan->program.loop_count++] = loop;
    q->steps = (mgc_steps){NULL, 0, 0};         /* they are the plan's from here on */
    return mgc_push_step(p->steps, step);
}
