/* The steps of a program for one example, whose rows are single numbers, for one level of lanes.h. A step of a few
 * results is a case of a switch; a long one has its operands put side by side, and goes through the loops of rows.h.
 */

enum { MGC_V(long_run) = 8, MGC_V(run_part) = 256 };    /* results, from which on it is worth it; and at a time */

/* `count` numbers, `stride` apart, side by side; the last one again as padding. Returns how many with the padding. */
MGC_INLINE Py_ssize_t MGC_V(gather)(const double *from, Py_ssize_t stride, Py_ssize_t count, double *to)
{
    Py_ssize_t i = 0;
    if (stride == 1) for (; i < count; i++) to[i] = from[i];
    else for (; i < count; i++) to[i] = from[i * stride];
    for (; i % MGC_LANE_MULTIPLE; i++) to[i] = to[count - 1];
    return i;
}

MGC_NOINLINE void MGC_V(run_of_one)(const mgc_step *step, double *base, int keeps, double *scratch)
{
    enum { PART = MGC_V(run_part) };
    const int operands = mgc_rows[step->op].operands;
    double *x = scratch, *y = x + PART, *z = y + PART, *f = z + PART;
    for (Py_ssize_t i = 0; i < step->count; i += PART) {
        const Py_ssize_t count = step->count - i < PART ? step->count - i : PART;
        Py_ssize_t n = MGC_V(gather)(base + step->x + i * step->dx, step->dx, count, x);
        if (operands > 1) MGC_V(gather)(base + step->y + i * step->dy, step->dy, count, y);
        if (operands > 2) MGC_V(gather)(base + step->z + i * step->dz, step->dz, count, z);
        if (keeps) {
            MGC_V(both_of_angles)(x, step->op == MGC_SIN ? f : y, step->op == MGC_SIN ? y : f, n);
            memcpy(base + step->y + i, y, (size_t)count * sizeof *y);
        } else {
            MGC_V(lanes).forward[step->op](x, y, z, f, n);
        }
        memcpy(base + step->f + i, f, (size_t)count * sizeof *f);
    }
}

/* What the operands of some results receive, the last result first, as in mgc_rows_back; the operands of a run, one
   after another, as in its loops over lanes. */
MGC_NOINLINE void MGC_V(run_of_one_back)(const mgc_step *step, int receives, const double *base, double *gbase,
                                         double *scratch)
{
    enum { PART = MGC_V(run_part) };
    _Static_assert(8 * PART <= MGC_SCRATCH, "the rows fit");
    const int operands = mgc_rows[step->op].operands, keeps = step->receives & MGC_KEEPS_OTHER;
    const Py_ssize_t strides[] = {step->dx, step->dy, step->dz};
    const int places[] = {step->x, step->y, step->z};
    double *x = scratch, *y = x + PART, *z = y + PART, *f = z + PART, *g = f + PART, *received = g + PART;
    for (Py_ssize_t end = step->count; end > 0; end -= PART) {
        const Py_ssize_t i = end > PART ? end - PART : 0, count = end - i;
        double *to[3];
        const Py_ssize_t n = MGC_V(gather)(base + step->x + i * step->dx, step->dx, count, x);
        if (operands > 1 || keeps) MGC_V(gather)(base + step->y + i * step->dy, step->dy, count, y);
        if (operands > 2) MGC_V(gather)(base + step->z + i * step->dz, step->dz, count, z);
        MGC_V(gather)(base + step->f + i, 1, count, f);
        MGC_V(gather)(gbase + step->f + i, 1, count, g);
        for (int j = 0; j < 3; j++) {
            to[j] = receives & MGC_X_RECEIVES << j ? received + j * PART : NULL;
            if (to[j]) memset(to[j], 0, (size_t)n * sizeof *g);
        }
        MGC_V(lanes).backward[step->op](x, y, z, f, g, to[0], to[1], to[2], NULL, keeps, n);
        for (Py_ssize_t r = count; r-- > 0;)
            for (int j = 0; j < 3; j++) if (to[j]) gbase[places[j] + (i + r) * strides[j]] += to[j][r];
    }
}

/* A step that is no row of ops.h. */
MGC_NOINLINE void MGC_V(wide_of_one)(const mgc_program *p, const mgc_step *step, const double *all_weights,
                                     double *base)
{
    const mgc_lanes *const lanes = &MGC_V(lanes_of_one);
    const Py_ssize_t n = 1;
    const int *places = p->places + step->places, count = step->count, k = step->k;
    const double *weights = all_weights + step->weights, *x = base + step->x;
    double *f = base + step->f;
    switch (step->op) {
#define STEP(ID, name, index, rows, weights, bias, least, sends, form, forward, backward, scalar, scalar_back) \
    case MGC_##ID: forward; break;
    MGC_STEPS(STEP)
#undef STEP
    }
}

MGC_NOINLINE void MGC_V(wide_of_one_back)(const mgc_program *p, const mgc_step *step, const double *all_weights,
                                          const double *base, double *gbase, double *gweights, double *scratch)
{
    const mgc_lanes *const lanes = &MGC_V(lanes_of_one);
    const Py_ssize_t n = 1, valid = 1;
    const int *places = p->places + step->places, count = step->count, k = step->k, receives = step->receives;
    const double *weights = all_weights + step->weights, *x = base + step->x, *f = base + step->f;
    const double *g = gbase + step->f;
    double *gw = gweights + step->weights;
    switch (step->op) {
#define STEP(ID, name, index, rows, weights, bias, least, sends, form, forward, backward, scalar, scalar_back) \
    case MGC_##ID: backward; break;
    MGC_STEPS(STEP)
#undef STEP
    }
}

static void MGC_V(run_one)(const mgc_program *p, const mgc_step *steps, int count, const double *weights,
                           double *base, int is_way_back, double *scratch)
{
    enum { arguments = MGC_SOME_FAR, kept = 0 };
    const Py_ssize_t l = 0;     /* these four are for the names of rows.h */
    uint64_t any_far = 0;
    for (const mgc_step *at = steps, *end = at + count; at < end; at++) {
        if (at->op >= MGC_TABLE_END) {
            MGC_V(wide_of_one)(p, at, weights, base);
            continue;
        }
        if (at->count >= MGC_V(long_run)) {
            MGC_V(run_of_one)(at, base, is_way_back && at->receives & MGC_KEEPS_OTHER, scratch);
            continue;
        }
        const double *x_ = base + at->x, *y_ = base + at->y, *z_ = base + at->z;
        double *f_ = base + at->f;
        for (int left = at->count;;) {
            switch (at->op) {
#define ROW(id, op, operands, params, value, to_x, to_y, to_z, doc) \
            case MGC_##id: { \
                LOAD_##operands IGNORE_##operands \
                if (IS_KEPT(MGC_##id) && is_way_back && at->receives & MGC_KEEPS_OTHER) { \
                    double *other = (double *)y_; \
                    MGC_V(sin_and_cos)(x, MGC_##id == MGC_SIN ? f_ : other, MGC_##id == MGC_SIN ? other : f_); \
                } else { \
                    *f_ = value; \
                } \
                break; \
            }
            MGC_TABLE(ROW)
#undef ROW
            }
            if (!--left) break;
            x_ += at->dx, y_ += at->dy, z_ += at->dz, f_++;
        }
    }
    (void)any_far;
}

#define SEND_1(to_x, to_y, to_z) if (part & MGC_X_RECEIVES) ((double *)x_)[to_gradient] += to_x;
#define SEND_2(to_x, to_y, to_z) SEND_1(to_x, to_y, to_z) \
    if (part & MGC_Y_RECEIVES) ((double *)y_)[to_gradient] += to_y;
#define SEND_3(to_x, to_y, to_z) SEND_2(to_x, to_y, to_z) \
    if (part & MGC_Z_RECEIVES) ((double *)z_)[to_gradient] += to_z;

/* gbase lies behind base, in the same memory. */
static void MGC_V(run_one_back)(const mgc_program *p, const mgc_step *steps, int count, const double *weights,
                                double *base, double *gweights, double *scratch)
{
    const Py_ssize_t l = 0, to_gradient = p->slot_count;
    uint64_t any_far = 0;
    for (int s = count; s-- > 0;) {
        const mgc_step *at = &steps[s];
        int receives = at->receives & (MGC_X_RECEIVES | MGC_Y_RECEIVES | MGC_Z_RECEIVES);
        if (!at->receives) continue;
        if (at->op >= MGC_TABLE_END) {
            MGC_V(wide_of_one_back)(p, at, weights, base, base + to_gradient, gweights, scratch);
            continue;
        }
        for (int left = at->count, part = receives; receives; receives &= ~part, left = at->count) {
            const double *x_ = base + at->x, *y_ = base + at->y, *z_ = base + at->z;
            const double *f_ = base + at->f;
            if (left > 1) {     /* the operands of a run receive one after another, as in its loops over lanes */
                part = at->is_run ? receives & -receives : receives;
                if (left >= MGC_V(long_run)) {
                    MGC_V(run_of_one_back)(at, part, base, base + to_gradient, scratch);
                    continue;
                }
                const int last = left - 1;
                x_ += last * (Py_ssize_t)at->dx, y_ += last * (Py_ssize_t)at->dy, z_ += last * (Py_ssize_t)at->dz;
                f_ += last;
            }
            for (;;) {
                const double f = *f_, g = f_[to_gradient];
                (void)f;
                switch (at->op) {
#define ROW(id, op, operands, params, value, to_x, to_y, to_z, doc) \
                case MGC_##id: { \
                    enum { arguments = IS_KEPT(MGC_##id) ? MGC_KEPT : MGC_SOME_FAR }; \
                    const double kept = IS_KEPT(MGC_##id) ? *y_ : 0; \
                    LOAD_##operands IGNORE_##operands \
                    (void)kept; \
                    SEND_##operands(to_x, to_y, to_z) \
                    break; \
                }
                MGC_TABLE(ROW)
#undef ROW
                }
                if (!--left) break;
                x_ -= at->dx, y_ -= at->dy, z_ -= at->dz, f_--;
            }
        }
    }
    (void)any_far;
}

#undef SEND_1
#undef SEND_2
#undef SEND_3
