/* One level of lanes.h: operations of any number of rows. Included by level.h. places[i] is the row of operand i. */

/* f = the sum of base[places[2 i]] * base[places[2 i + 1]]. */
static void MGC_V(products)(const double *base, const int *places, double *f, Py_ssize_t k, Py_ssize_t n)
{
    n -= n % MGC_LANE_MULTIPLE;
    f = MGC_ALIGNED(f);
    for (Py_ssize_t l = 0; l < n; l++) f[l] = 0;
    for (Py_ssize_t i = 0; i < k; i++) {
        const double *a = MGC_ALIGNED(base + places[2 * i] * n), *b = MGC_ALIGNED(base + places[2 * i + 1] * n);
        MGC_EACH_LANE
        for (Py_ssize_t l = 0; l < n; l++) f[l] = MGC_MADD(a[l], b[l], f[l]);
    }
}

static void MGC_V(products_back)(const double *base, const int *places, const double *g, double *gbase,
                                 Py_ssize_t k, Py_ssize_t n)
{
    n -= n % MGC_LANE_MULTIPLE;
    g = MGC_ALIGNED(g);
    for (Py_ssize_t i = 0; i < k; i++) {
        const double *a = MGC_ALIGNED(base + places[2 * i] * n), *b = MGC_ALIGNED(base + places[2 * i + 1] * n);
        double *ga = MGC_ALIGNED(gbase + places[2 * i] * n), *gb = MGC_ALIGNED(gbase + places[2 * i + 1] * n);
        MGC_EACH_LANE
        for (Py_ssize_t l = 0; l < n; l++) ga[l] = MGC_MADD(g[l], b[l], ga[l]);
        MGC_EACH_LANE
        for (Py_ssize_t l = 0; l < n; l++) gb[l] = MGC_MADD(g[l], a[l], gb[l]);
    }
}

/* For MGC_LANE_MULTIPLE lanes: the largest value, and the sum of exp(v - it) over the others, all but one of the
   largest. An infinite one is not subtracted, as in engine/wide.h. */
MGC_INLINE void MGC_V(largest_and_others)(const double *base, const int *places, Py_ssize_t k, Py_ssize_t n,
                                          double *largest, double *others)
{
    double m[MGC_LANE_MULTIPLE], s[MGC_LANE_MULTIPLE], which[MGC_LANE_MULTIPLE], shift[MGC_LANE_MULTIPLE];
    for (int l = 0; l < MGC_LANE_MULTIPLE; l++) m[l] = base[places[0] * n + l], which[l] = 0, s[l] = 0;
    for (Py_ssize_t i = 1; i < k; i++) {
        const double *v = base + places[i] * n;
        MGC_EACH_LANE
        for (int l = 0; l < MGC_LANE_MULTIPLE; l++) {
            const int above = v[l] > m[l];
            which[l] = above ? (double)i : which[l];
            m[l] = above ? v[l] : m[l];
        }
    }
    for (int l = 0; l < MGC_LANE_MULTIPLE; l++) shift[l] = fabs(m[l]) == HUGE_VAL ? 0 : m[l];
    for (Py_ssize_t i = 0; i < k; i++) {
        const double *v = base + places[i] * n;
        MGC_EACH_LANE
        for (int l = 0; l < MGC_LANE_MULTIPLE; l++) {
            const double e = MGC_V(exp)(v[l] - shift[l]);
            s[l] += which[l] == (double)i ? 0 : e;
        }
    }
    for (int l = 0; l < MGC_LANE_MULTIPLE; l++) largest[l] = m[l], others[l] = s[l];
}

/* f = log(sum of exp(v)) */
static void MGC_V(logsumexp)(const double *base, const int *places, double *f, Py_ssize_t k, Py_ssize_t n)
{
    for (Py_ssize_t first = 0; first < n; first += MGC_LANE_MULTIPLE) {
        double m[MGC_LANE_MULTIPLE], others[MGC_LANE_MULTIPLE];
        MGC_V(largest_and_others)(base + first, places, k, n, m, others);
        MGC_EACH_LANE
        for (int l = 0; l < MGC_LANE_MULTIPLE; l++) f[first + l] = m[l] + MGC_V(log1p)(others[l]);
    }
}

/* For MGC_LANE_MULTIPLE lanes: 1 / the sum of exp(v - f) where f is large, as in engine/wide.h; else 1. */
MGC_INLINE void MGC_V(softmax_scale)(const double *base, const int *places, const double *f, Py_ssize_t k, Py_ssize_t n,
                                     double *scale)
{
    int is_large = 0;
    double total[MGC_LANE_MULTIPLE];
    for (int l = 0; l < MGC_LANE_MULTIPLE; l++) {
        scale[l] = 1, total[l] = 0;
        is_large |= fabs(f[l]) > 32 && fabs(f[l]) != HUGE_VAL;
    }
    if (!is_large) return;
    for (Py_ssize_t i = 0; i < k; i++) {
        const double *v = base + places[i] * n;
        MGC_EACH_LANE
        for (int l = 0; l < MGC_LANE_MULTIPLE; l++) total[l] += MGC_V(exp)(v[l] - f[l]);
    }
    for (int l = 0; l < MGC_LANE_MULTIPLE; l++)
        if (fabs(f[l]) > 32 && fabs(f[l]) != HUGE_VAL) scale[l] = 1 / total[l];
}

static void MGC_V(logsumexp_back)(const double *base, const int *places, const double *f, const double *g,
                                  double *gbase, Py_ssize_t k, Py_ssize_t n)
{
    for (Py_ssize_t first = 0; first < n; first += MGC_LANE_MULTIPLE) {
        double scaled[MGC_LANE_MULTIPLE];
        MGC_V(softmax_scale)(base + first, places, f + first, k, n, scaled);
        for (int l = 0; l < MGC_LANE_MULTIPLE; l++) scaled[l] *= g[first + l];
        for (Py_ssize_t i = 0; i < k; i++) {
            const double *v = base + places[i] * n + first;
            double *gv = gbase + places[i] * n + first;
            MGC_EACH_LANE
            for (int l = 0; l < MGC_LANE_MULTIPLE; l++) gv[l] += scaled[l] * MGC_V(exp)(v[l] - f[first + l]);
        }
    }
}

/* f = logsumexp(v) - v[index], without the digits that the two have in common; nan if the largest is infinite. */
static void MGC_V(cross_entropy)(const double *index, const double *base, const int *places, double *f,
                                 Py_ssize_t k, Py_ssize_t n)
{
    for (Py_ssize_t first = 0; first < n; first += MGC_LANE_MULTIPLE) {
        double m[MGC_LANE_MULTIPLE], others[MGC_LANE_MULTIPLE];
        MGC_V(largest_and_others)(base + first, places, k, n, m, others);
        for (int l = 0; l < MGC_LANE_MULTIPLE; l++)
            m[l] = (m[l] - base[places[mgc_index(index[first + l], k)] * n + first + l]) + (m[l] - m[l]);
        MGC_EACH_LANE
        for (int l = 0; l < MGC_LANE_MULTIPLE; l++) f[first + l] = m[l] + MGC_V(log1p)(others[l]);
    }
}

/* v receives g (softmax(v) - (v is the one that was taken)), softmax(v) = exp((v - v[index]) - f). Where f is large,
   and would lose digits of v or be inf, it is exp((v - m) - log1p(others)); where f is nan, all receive nan. */
static void MGC_V(cross_entropy_back)(const double *index, const double *base, const int *places, const double *f,
                                      const double *g, double *gbase, Py_ssize_t k, Py_ssize_t n)
{
    for (Py_ssize_t first = 0; first < n; first += MGC_LANE_MULTIPLE) {
        double from[MGC_LANE_MULTIPLE], total[MGC_LANE_MULTIPLE];
        int any_large = 0;
        for (int l = 0; l < MGC_LANE_MULTIPLE; l++) {
            from[l] = base[places[mgc_index(index[first + l], k)] * n + first + l];
            total[l] = f[first + l];
            any_large |= fabs(total[l]) > 32;
        }
        if (any_large) {
            double m[MGC_LANE_MULTIPLE], others[MGC_LANE_MULTIPLE];
            MGC_V(largest_and_others)(base + first, places, k, n, m, others);
            for (int l = 0; l < MGC_LANE_MULTIPLE; l++)
                if (fabs(total[l]) > 32) from[l] = m[l], total[l] = MGC_V(log1p)(others[l]);
        }
        for (Py_ssize_t i = 0; i < k; i++) {
            const double *v = base + places[i] * n + first;
            double *gv = gbase + places[i] * n + first;
            MGC_EACH_LANE
            for (int l = 0; l < MGC_LANE_MULTIPLE; l++)
                gv[l] += g[first + l] * (MGC_V(exp)((v[l] - from[l]) - total[l]) - (index[first + l] == (double)i));
        }
    }
}
