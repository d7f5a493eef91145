/* Dense layers, sums of products and sums of exponentials of one example, for one level of lanes.h: what dense.h,
 * sums.h and wide.h do in lanes, here side by side in the layer's results, in its operands or in the values of a sum.
 * Each number is made by the same operations in the same order. The arguments are those of lanes.h, and n is 1.
 */

/* Results of a layer side by side: weights are transposed on the way, in groups of vectors whose sums do not wait for
   one another. */
#if MGC_WIDTH >= 4
enum { MGC_V(groups) = MGC_WIDTH == 4 ? 4 : 2 };

/* acc[g][r] += sum_c w[(g MGC_WIDTH + r) k + c] x[rows[c]] for the last `used` of MGC_WIDTH columns; left rows of
   weights there are, after which the last one is taken again. */
MGC_INLINE void MGC_V(dense_columns)(int groups, const double *w, Py_ssize_t k, Py_ssize_t left, const double *base,
                                     const int *rows, int used, vector *acc)
{
    MGC_UNROLLED_FOR(g, groups) {
        vector v[MGC_WIDTH];
        MGC_UNROLLED_FOR(r, MGC_WIDTH) {
            const Py_ssize_t j = g * MGC_WIDTH + r;
            v[r] = *(const MGC_V(unaligned) *)(w + (j < left ? j : left - 1) * k);
        }
        MGC_V(transpose)(v);
        MGC_UNROLLED_FOR(c, MGC_WIDTH) {
            if (c < MGC_WIDTH - used) continue;
            const double x = base[rows[c]];
            acc[g] = MGC_VECTOR_MADD(v[c], SPLAT(x), acc[g]);
        }
    }
}

MGC_INLINE void MGC_V(dense_groups)(int groups, const double *w, const double *bias, const double *base,
                                    const int *rows, double *out, Py_ssize_t left, Py_ssize_t k)
{
    vector acc[MGC_V(groups)];
    double ends[MGC_V(groups) * MGC_WIDTH];
    const Py_ssize_t count = left < groups * MGC_WIDTH ? left : groups * MGC_WIDTH;
    for (int r = 0; r < groups * MGC_WIDTH; r++) ends[r] = bias && r < count ? bias[r] : 0;
    memcpy(acc, ends, sizeof(vector) * groups);
    Py_ssize_t i = 0;
    if (left >= groups * MGC_WIDTH)
        for (; i + MGC_WIDTH <= k; i += MGC_WIDTH)
            MGC_V(dense_columns)(groups, w + i, k, groups * MGC_WIDTH, base, rows + i, MGC_WIDTH, acc);
    else
        for (; i + MGC_WIDTH <= k; i += MGC_WIDTH)
            MGC_V(dense_columns)(groups, w + i, k, left, base, rows + i, MGC_WIDTH, acc);
    if (i < k)
        MGC_V(dense_columns)(groups, w + k - MGC_WIDTH, k, left, base, rows + k - MGC_WIDTH, (int)(k - i), acc);
    memcpy(ends, acc, sizeof(vector) * groups);
    memcpy(out, ends, (size_t)count * sizeof *out);
}
#endif

static void MGC_V(dense_of_one)(const double *w, const double *bias, const double *base, const int *rows, double *out,
                                Py_ssize_t m, Py_ssize_t k, Py_ssize_t n)
{
    enum { CHAINS = 4 };
    Py_ssize_t j = 0;
    (void)n;
#if MGC_WIDTH >= 4
    if (k >= MGC_WIDTH && m > CHAINS) {
        for (; j + MGC_V(groups) * MGC_WIDTH <= m; j += MGC_V(groups) * MGC_WIDTH)
            MGC_V(dense_groups)(MGC_V(groups), w + j * k, bias ? bias + j : NULL, base, rows, out + j, m - j, k);
        for (; j < m; j += MGC_WIDTH)
            MGC_V(dense_groups)(1, w + j * k, bias ? bias + j : NULL, base, rows, out + j, m - j, k);
        return;
    }
#endif
    for (; j + CHAINS <= m; j += CHAINS) {
        double acc[CHAINS];
        MGC_UNROLLED_FOR(c, CHAINS) acc[c] = bias ? bias[j + c] : 0;
        for (Py_ssize_t i = 0; i < k; i++)
            MGC_UNROLLED_FOR(c, CHAINS) acc[c] = MGC_MADD(w[(j + c) * k + i], base[rows[i]], acc[c]);
        MGC_UNROLLED_FOR(c, CHAINS) out[j + c] = acc[c];
    }
    for (; j < m; j++) {
        double acc = bias ? bias[j] : 0;
        for (Py_ssize_t i = 0; i < k; i++) acc = MGC_MADD(w[j * k + i], base[rows[i]], acc);
        out[j] = acc;
    }
}

/* What width vectors of operands receive, from operand i on. */
MGC_INLINE void MGC_V(operands_of_one)(int width, const double *w, const double *g, double *received, Py_ssize_t m,
                                       Py_ssize_t k)
{
    vector acc[4];
    MGC_UNROLLED_FOR(b, width) acc[b] = SPLAT(0.0);
    for (Py_ssize_t j = 0; j < m; j++, w += k) {
        const double g_j = g[j];
        const vector v = SPLAT(g_j);
        MGC_UNROLLED_FOR(b, width)
            acc[b] = MGC_VECTOR_MADD(((const MGC_V(unaligned) *)w)[b], v, acc[b]);
    }
    memcpy(received, acc, sizeof(vector) * (size_t)width);
}

static void MGC_V(dense_operands_of_one)(const double *w, const double *g, double *gbase, const int *rows, int assign,
                                         Py_ssize_t m, Py_ssize_t k, Py_ssize_t n)
{
    double received[4 * MGC_WIDTH];
    (void)n;
    for (Py_ssize_t i = 0, width; i < k; i += width) {
        if (i + 4 * MGC_WIDTH <= k) {
            MGC_V(operands_of_one)(4, w + i, g, received, m, k);
            width = 4 * MGC_WIDTH;
        } else if (i + MGC_WIDTH <= k) {
            MGC_V(operands_of_one)(1, w + i, g, received, m, k);
            width = MGC_WIDTH;
        } else {
            double acc = 0;
            for (Py_ssize_t j = 0; j < m; j++) acc = MGC_MADD(w[j * k + i], g[j], acc);
            received[0] = acc, width = 1;
        }
        for (Py_ssize_t c = 0; c < width; c++)      /* a row may be there twice */
            gbase[rows[i + c]] = assign ? received[c] : received[c] + gbase[rows[i + c]];
    }
}

static void MGC_V(dense_weights_of_one)(const double *g, const double *base, const int *rows, double *gw, double *gbias,
                                        Py_ssize_t m, Py_ssize_t k, Py_ssize_t n, Py_ssize_t valid, double *scratch)
{
    (void)n, (void)valid;
    if (gbias) for (Py_ssize_t j = 0; j < m; j++) gbias[j] += g[j] + 0.0;
    for (Py_ssize_t first = 0; first < k; first += MGC_SCRATCH) {
        const Py_ssize_t count = k - first < MGC_SCRATCH ? k - first : MGC_SCRATCH;
        for (Py_ssize_t i = 0; i < count; i++) scratch[i] = base[rows[first + i]];
        for (Py_ssize_t j = 0; j < m; j++) {
            double *to = gw + j * k + first;
            const double g_j = g[j];
            MGC_EACH_LANE
            for (Py_ssize_t i = 0; i < count; i++) to[i] += MGC_MADD(g_j, scratch[i], 0.0);
        }
    }
}

static void MGC_V(products_of_one)(const double *base, const int *places, double *f, Py_ssize_t k, Py_ssize_t n)
{
    double total = 0;
    (void)n;
    for (Py_ssize_t i = 0; i < k; i++) total = MGC_MADD(base[places[2 * i]], base[places[2 * i + 1]], total);
    *f = total;
}

static void MGC_V(products_back_of_one)(const double *base, const int *places, const double *g_, double *gbase,
                                        Py_ssize_t k, Py_ssize_t n)
{
    const double g = *g_;
    (void)n;
    for (Py_ssize_t i = 0; i < k; i++) {
        const int a = places[2 * i], b = places[2 * i + 1];
        gbase[a] = MGC_MADD(g, base[b], gbase[a]);
        gbase[b] = MGC_MADD(g, base[a], gbase[b]);
    }
}

/* e[i] = exp((v[i] - from) - minus) of a chunk of values; there is room for whole vectors. */
enum { MGC_V(exponentials) = 256 };

MGC_NOINLINE void MGC_V(exponentials_of)(const double *base, const int *places, Py_ssize_t count, double from,
                                         double minus, double *e)
{
    Py_ssize_t i = 0;
    for (; i < count; i++) e[i] = (base[places[i]] - from) - minus;
    for (; i % MGC_LANE_MULTIPLE; i++) e[i] = 0;
    MGC_V(lanes).forward[MGC_EXP](e, e, e, e, i);
}

/* DO for each value i of k, with its exponential e[i - first], chunk by chunk. */
#define WITH_EXPONENTIALS(from, minus, DO) \
    for (Py_ssize_t first = 0; first < k; first += MGC_V(exponentials)) { \
        const Py_ssize_t end = k - first < MGC_V(exponentials) ? k : first + MGC_V(exponentials); \
        double room[MGC_V(exponentials) + MGC_LANE_MULTIPLE]; \
        double *e = (double *)(((uintptr_t)room + 63) & ~(uintptr_t)63); \
        MGC_V(exponentials_of)(base, places + first, end - first, from, minus, e); \
        for (Py_ssize_t i = first; i < end; i++) { DO } \
    }

/* The largest value, and the sum of exp(v - it) over the others: largest_and_others of wide.h. */
MGC_INLINE double MGC_V(largest_of_one)(const double *base, const int *places, Py_ssize_t k, double *others)
{
    double m = base[places[0]], sum = 0;
    Py_ssize_t which = 0;
    for (Py_ssize_t i = 1; i < k; i++) {
        const double v = base[places[i]];
        if (v > m) m = v, which = i;
    }
    const double shift = fabs(m) == HUGE_VAL ? 0 : m;
    WITH_EXPONENTIALS(shift, 0.0, sum += which == i ? 0 : e[i - first];)
    *others = sum;
    return m;
}

static void MGC_V(logsumexp_of_one)(const double *base, const int *places, double *f, Py_ssize_t k, Py_ssize_t n)
{
    double others;
    const double m = MGC_V(largest_of_one)(base, places, k, &others);
    (void)n;
    *f = m + MGC_V(log1p)(others);
}

static void MGC_V(logsumexp_back_of_one)(const double *base, const int *places, const double *f_, const double *g,
                                         double *gbase, Py_ssize_t k, Py_ssize_t n)
{
    const double f = *f_;
    double scale = 1;
    (void)n;
    if (fabs(f) > 32 && fabs(f) != HUGE_VAL) {
        double total = 0;
        WITH_EXPONENTIALS(f, 0.0, total += e[i - first];)
        scale = 1 / total;
    }
    scale *= *g;
    WITH_EXPONENTIALS(f, 0.0, gbase[places[i]] += scale * e[i - first];)
}

static void MGC_V(cross_entropy_of_one)(const double *index, const double *base, const int *places, double *f,
                                        Py_ssize_t k, Py_ssize_t n)
{
    double others;
    const double m = MGC_V(largest_of_one)(base, places, k, &others);
    (void)n;
    *f = (m - base[places[mgc_index(*index, k)]]) + (m - m) + MGC_V(log1p)(others);
}

static void MGC_V(cross_entropy_back_of_one)(const double *index, const double *base, const int *places,
                                             const double *f, const double *g, double *gbase, Py_ssize_t k,
                                             Py_ssize_t n)
{
    double from = base[places[mgc_index(*index, k)]], total = *f, others;
    (void)n;
    if (fabs(total) > 32) {
        from = MGC_V(largest_of_one)(base, places, k, &others);
        total = MGC_V(log1p)(others);
    }
    WITH_EXPONENTIALS(from, total, gbase[places[i]] += *g * (e[i - first] - (*index == (double)i));)
}

#undef WITH_EXPONENTIALS

static double MGC_V(sum_of_one)(const double *x, Py_ssize_t valid)
{
    (void)valid;
    return *x + 0.0;
}

static const mgc_lanes MGC_V(lanes_of_one) = {
    .name = MGC_STRING(MGC_LEVEL), .width = 1,
    .dense = MGC_V(dense_of_one), .dense_operands = MGC_V(dense_operands_of_one),
    .dense_weights = MGC_V(dense_weights_of_one), .sum = MGC_V(sum_of_one),
    .products = MGC_V(products_of_one), .products_back = MGC_V(products_back_of_one),
    .logsumexp = MGC_V(logsumexp_of_one), .logsumexp_back = MGC_V(logsumexp_back_of_one),
    .cross_entropy = MGC_V(cross_entropy_of_one), .cross_entropy_back = MGC_V(cross_entropy_back_of_one),
};
