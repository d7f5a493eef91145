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

MGC_NOINLINE void MGC_V(run_of_one)(const mgc_step *step, double *base, double *scratch)
{
    enum { PART = MGC_V(run_part) };
    const int operands = mgc_rows[step->op].operands;
    double *x = scratch, *y = x + PART, *z = y + PART, *f = z + PART;
    for (Py_ssize_t i = 0; i < step->count; i += PART) {
        const Py_ssize_t count = step->count - i < PART ? step->count - i : PART;
        Py_ssize_t n = MGC_V(gather)(base + step->x + i * step->dx, step->dx, count, x);
        if (operands > 1) MGC_V(gather)(base + step->y + i * step->dy, step->dy, count, y);
        if (operands > 2) MGC_V(gather)(base + step->z + i * step->dz, step->dz, count, z);
        MGC_V(lanes).forward[step->op](x, y, z, f, n);
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
    const int operands = mgc_rows[step->op].operands;
    const Py_ssize_t strides[] = {step->dx, step->dy, step->dz};
    const int places[] = {step->x, step->y, step->z};
    double *x = scratch, *y = x + PART, *z = y + PART, *f = z + PART, *g = f + PART, *received = g + PART;
    for (Py_ssize_t end = step->count; end > 0; end -= PART) {
        const Py_ssize_t i = end > PART ? end - PART : 0, count = end - i;
        double *to[3];
        const Py_ssize_t n = MGC_V(gather)(base + step->x + i * step->dx, step->dx, count, x);
        if (operands > 1) MGC_V(gather)(base + step->y + i * step->dy, step->dy, count, y);
        if (operands > 2) MGC_V(gather)(base + step->z + i * step->dz, step->dz, count, z);
        MGC_V(gather)(base + step->f + i, 1, count, f);
        MGC_V(gather)(gbase + step->f + i, 1, count, g);
        for (int j = 0; j < 3; j++) {
            to[j] = receives & MGC_X_RECEIVES << j ? received + j * PART : NULL;
            if (to[j]) memset(to[j], 0, (size_t)n * sizeof *g);
        }
        MGC_V(lanes).backward[step->op](x, y, z, f, g, to[0], to[1], to[2], n);
        for (Py_ssize_t r = count; r-- > 0;)
            for (int j = 0; j < 3; j++) if (to[j]) gbase[places[j] + (i + r) * strides[j]] += to[j][r];
    }
}

static void MGC_V(run_one)(const mgc_program *p, const double *all_weights, double *base, double *scratch)
{
    enum { angles = MGC_ANGLES_FAR };
    const mgc_lanes *const lanes = &MGC_V(lanes_of_one);
    const Py_ssize_t n = 1;
    uint64_t any_far = 0;       /* for the names of rows.h */
    for (const mgc_step *now = p->lane_steps, *last = now + p->lane_step_count; now < last; now++) {
        const int *places = p->places + now->places, count = now->count, k = now->k;
        const double *weights = all_weights + now->weights;
        const double *x = base + now->x, *x_ = x, *y_ = base + now->y, *z_ = base + now->z;
        double *f = base + now->f;
        if (count >= MGC_V(long_run) && now->op < MGC_TABLE_END) {
            MGC_V(run_of_one)(now, base, scratch);
            continue;
        }
        switch (now->op) {
#define STEP(ID, name, index, rows, weights, bias, least, sends, form, forward, backward, scalar, scalar_back) \
        case MGC_##ID: forward; break;
        MGC_STEPS(STEP)
#undef STEP
#define ROW(id, op, operands, params, value, gx, gy, gz, doc) \
        case MGC_##id: \
            for (const double *end = f + count; f < end; f++, x_ += now->dx, y_ += now->dy, z_ += now->dz) { \
                const Py_ssize_t l = 0; \
                LOAD_##operands IGNORE_##operands \
                MGC_NOT_VECTORISED; \
                *f = value; \
            } \
            break;
        MGC_TABLE(ROW)
#undef ROW
        }
    }
    (void)any_far;
}

#define SEND_1(to_x, to_y, to_z) if (part & MGC_X_RECEIVES) *gx_ += to_x;
#define SEND_2(to_x, to_y, to_z) SEND_1(to_x, to_y, to_z) if (part & MGC_Y_RECEIVES) *gy_ += to_y;
#define SEND_3(to_x, to_y, to_z) SEND_2(to_x, to_y, to_z) if (part & MGC_Z_RECEIVES) *gz_ += to_z;

static void MGC_V(run_one_back)(const mgc_program *p, const double *all_weights, const double *base, double *gbase,
                                double *gweights, double *scratch)
{
    enum { angles = MGC_ANGLES_FAR };
    const mgc_lanes *const lanes = &MGC_V(lanes_of_one);
    const Py_ssize_t n = 1, valid = 1;
    uint64_t any_far = 0;
    for (const mgc_step *now = p->lane_steps + p->lane_step_count; now-- > p->lane_steps;) {
        const int *places = p->places + now->places, count = now->count, k = now->k, receives = now->receives;
        const double *weights = all_weights + now->weights;
        const double *x = base + now->x, *y = base + now->y, *z = base + now->z;
        double *gw = gweights + now->weights, *gx = gbase + now->x, *gy = gbase + now->y, *gz = gbase + now->z;
        const double *f = base + now->f, *f_ = f, *g = gbase + now->f, *g_ = g;
        const Py_ssize_t dx = now->dx, dy = now->dy, dz = now->dz, last = count - 1;
        if (!receives) continue;
        /* The operands of a run receive one after another, as in its loops over lanes. */
        for (int left = receives, part; left; left &= ~part) {
            part = count > 1 && now->is_run && now->op < MGC_TABLE_END ? left & -left : left;
            if (count >= MGC_V(long_run) && now->op < MGC_TABLE_END) {
                MGC_V(run_of_one_back)(now, part, base, gbase, scratch);
                continue;
            }
            switch (now->op) {
#define STEP(ID, name, index, rows, weights, bias, least, sends, form, forward, backward, scalar, scalar_back) \
            case MGC_##ID: backward; break;
            MGC_STEPS(STEP)
#undef STEP
#define ROW(id, op, operands, params, value, to_x, to_y, to_z, doc) \
            case MGC_##id: { \
                const double *x_ = x + last * dx, *y_ = y + last * dy, *z_ = z + last * dz; \
                double *gx_ = gx + last * dx, *gy_ = gy + last * dy, *gz_ = gz + last * dz; \
                for (Py_ssize_t l = last; l >= 0; l--) { \
                    const double f = f_[l], g = g_[l]; \
                    MGC_NOT_VECTORISED; \
                    { \
                        const Py_ssize_t l = 0; \
                        LOAD_##operands IGNORE_##operands \
                        (void)f, (void)g, (void)gy_, (void)gz_; \
                        SEND_##operands(to_x, to_y, to_z) \
                    } \
                    x_ -= dx, y_ -= dy, z_ -= dz, gx_ -= dx, gy_ -= dy, gz_ -= dz; \
                } \
                break; \
            }
            MGC_TABLE(ROW)
#undef ROW
            }
        }
    }
    (void)any_far;
}

#undef SEND_1
#undef SEND_2
#undef SEND_3
