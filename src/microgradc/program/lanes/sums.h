/* Sums over lanes for one level of lanes.h, and so what the weights of dense layers receive. */

/* In blocks of s elements: LOW_s(a, b) has the even blocks of a, each followed by that of b, HIGH_s(a, b) the odd
   blocks. */
#if MGC_WIDTH > 1
#if defined(__clang__)
#define SHUFFLE(a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#else
#define SHUFFLE(a, b, ...) __builtin_shuffle(a, b, (MGC_V(mask)){__VA_ARGS__})
#endif
#endif
#if MGC_WIDTH == 2
#define LOW_1(a, b) SHUFFLE(a, b, 0, 2)
#define HIGH_1(a, b) SHUFFLE(a, b, 1, 3)
#elif MGC_WIDTH == 4
#define LOW_1(a, b) SHUFFLE(a, b, 0, 4, 2, 6)
#define HIGH_1(a, b) SHUFFLE(a, b, 1, 5, 3, 7)
#define LOW_2(a, b) SHUFFLE(a, b, 0, 1, 4, 5)
#define HIGH_2(a, b) SHUFFLE(a, b, 2, 3, 6, 7)
#elif MGC_WIDTH == 8
#define LOW_1(a, b) SHUFFLE(a, b, 0, 8, 2, 10, 4, 12, 6, 14)
#define HIGH_1(a, b) SHUFFLE(a, b, 1, 9, 3, 11, 5, 13, 7, 15)
#define LOW_2(a, b) SHUFFLE(a, b, 0, 1, 8, 9, 4, 5, 12, 13)
#define HIGH_2(a, b) SHUFFLE(a, b, 2, 3, 10, 11, 6, 7, 14, 15)
#define LOW_4(a, b) SHUFFLE(a, b, 0, 1, 2, 3, 8, 9, 10, 11)
#define HIGH_4(a, b) SHUFFLE(a, b, 4, 5, 6, 7, 12, 13, 14, 15)
#endif

#if MGC_WIDTH >= 4
/* Exchange element e of vector r for element r of vector e. */
MGC_INLINE void MGC_V(transpose)(vector v[MGC_WIDTH])
{
#define EXCHANGE(s) \
    MGC_UNROLLED_FOR(r, MGC_WIDTH) { \
        if (r & s) continue; \
        const vector a = v[r], b = v[r + s]; \
        v[r] = LOW_##s(a, b), v[r + s] = HIGH_##s(a, b); \
    }
    EXCHANGE(1)
    EXCHANGE(2)
#if MGC_WIDTH == 8
    EXCHANGE(4)
#endif
#undef EXCHANGE
}
#endif

/* The sums of MGC_WIDTH vectors, as a vector. */
MGC_INLINE vector MGC_V(sums)(const vector *v)
{
#define SUM(s, a, b) (LOW_##s(a, b) + HIGH_##s(a, b))
#if MGC_WIDTH == 1
    return v[0];
#elif MGC_WIDTH == 2
    return SUM(1, v[0], v[1]);
#elif MGC_WIDTH == 4
    return SUM(2, SUM(1, v[0], v[1]), SUM(1, v[2], v[3]));
#else
    const vector a = SUM(2, SUM(1, v[0], v[1]), SUM(1, v[2], v[3])), b = SUM(2, SUM(1, v[4], v[5]), SUM(1, v[6], v[7]));
    return SUM(4, a, b);
#endif
#undef SUM
}

#if MGC_WIDTH > 1
/* All bits in the first count lanes. */
MGC_INLINE MGC_V(mask) MGC_V(first)(Py_ssize_t count)
{
    static const long long bits[2 * MGC_WIDTH] = {ELEMENTS(-1)};
    MGC_V(mask) mask;
    memcpy(&mask, bits + MGC_WIDTH - count, sizeof mask);
    return mask;
}
#endif

static double MGC_V(sum)(const double *x, Py_ssize_t valid)
{
    enum { CHAINS = 4 };
    const MGC_V(unaligned) *v = (const MGC_V(unaligned) *)x;
    const Py_ssize_t whole = valid / MGC_WIDTH;
    vector acc[CHAINS] = {SPLAT(0.0), SPLAT(0.0), SPLAT(0.0), SPLAT(0.0)};
    Py_ssize_t b = 0;
    for (; b + CHAINS <= whole; b += CHAINS)
        for (int c = 0; c < CHAINS; c++) acc[c] += v[b + c];
    for (; b < whole; b++) acc[0] += v[b];
#if MGC_WIDTH > 1
    if (valid % MGC_WIDTH) acc[1] += MASKED(v[whole], MGC_V(first)(valid % MGC_WIDTH));
#endif
    union { vector v; double e[MGC_WIDTH]; } total = {(acc[0] + acc[1]) + (acc[2] + acc[3])};
    for (int half = MGC_WIDTH / 2; half; half /= 2)
        for (int e = 0; e < half; e++) total.e[e] += total.e[e + half];
    return total.e[0];
}

static int MGC_V(advances)(const uint64_t *numbers, uint64_t start, uint64_t stride, Py_ssize_t count)
{
    uint64_t differences = 0;
    MGC_UNROLLED_4      /* so short a loop takes half as long again if it happens to lie across two lines of code */
    for (Py_ssize_t i = 0; i < count; i++, start += stride) differences |= numbers[i] ^ start;
    return !differences;
}

/* Add the upper left part of a tile of sums. Apart from the whole tiles, which have constant bounds. */
MGC_NOINLINE void MGC_V(add_part)(const double *sums, int width, double *gw, Py_ssize_t rows, Py_ssize_t columns,
                                  Py_ssize_t k)
{
    for (Py_ssize_t a = 0; a < rows; a++)
        for (Py_ssize_t c = 0; c < columns; c++) gw[a * k + c] += sums[a * width + c];
}

/* gw[a * k + c] += the sum over valid lanes of g[a] * base[rows[c]], for a < height and c < width. There are m more
   rows of g and k_left more operands; a tile that reaches over the edge takes the last one again there, and throws
   the sum away. */
MGC_INLINE void MGC_V(weights_tile)(int height, int width, const double *g, const double *base, const int *rows,
                                    double *gw,
                                    Py_ssize_t m, Py_ssize_t k, Py_ssize_t k_left, Py_ssize_t n, Py_ssize_t valid)
{
    const Py_ssize_t whole = valid / MGC_WIDTH;
    vector acc[MGC_DOTS];
    const vector *ga[MGC_DOTS], *xc[MGC_DOTS];
    MGC_UNROLLED_FOR(s, height * width) acc[s] = SPLAT(0.0);
    MGC_UNROLLED_FOR(a, height) ga[a] = (const vector *)(g + (a < m ? a : m - 1) * n);
    MGC_UNROLLED_FOR(c, width) xc[c] = (const vector *)(base + rows[c < k_left ? c : k_left - 1] * n);
#define ADD_PRODUCTS(b, LANES) { \
        vector v[MGC_DOTS]; \
        MGC_UNROLLED_FOR(a, height) { \
            v[a] = LANES(ga[a][b]); \
            MGC_IN_REGISTER(v[a]); \
        } \
        MGC_UNROLLED_FOR(c, width) { \
            vector x_c = LANES(xc[c][b]); \
            MGC_IN_REGISTER(x_c); \
            MGC_UNROLLED_FOR(a, height) acc[a * width + c] = MGC_VECTOR_MADD(v[a], x_c, acc[a * width + c]); \
        } \
    }
#define WHOLE(v) v
#define PART(v) MASKED(v, mask)
    for (Py_ssize_t b = 0; b < whole; b++) ADD_PRODUCTS(b, WHOLE)
#if MGC_WIDTH > 1
    if (valid % MGC_WIDTH) {
        const MGC_V(mask) mask = MGC_V(first)(valid % MGC_WIDTH);
        ADD_PRODUCTS(whole, PART)
    }
#endif
#undef ADD_PRODUCTS
#undef WHOLE
#undef PART
    union {
        vector v[MGC_DOTS / MGC_WIDTH];
#if MGC_WIDTH > 1
        mgc_quad quads[MGC_DOTS / 4];
#endif
        double e[MGC_DOTS];
    } sums;
    MGC_UNROLLED_FOR(s, height * width / MGC_WIDTH) sums.v[s] = MGC_V(sums)(acc + s * MGC_WIDTH);
    if (height > m || width > k_left) {
        MGC_V(add_part)(sums.e, width, gw, m < height ? m : height, k_left < width ? k_left : width, k);
        return;
    }
    MGC_UNROLLED_FOR(a, height) {
#if MGC_WIDTH > 1
        if (width == 4) {
            *(mgc_quad *)(gw + a * k) += sums.quads[a];
            continue;
        }
#endif
        for (int c = 0; c < width; c++) gw[a * k + c] += sums.e[a * width + c];
    }
}

/* Dot products over lanes, and sums of vectors in the end: for few rows of g, few operands or short vectors. */
static void MGC_V(weights_by_dots)(const double *g, const double *base, const int *rows, double *gw,
                                   Py_ssize_t m, Py_ssize_t k, Py_ssize_t n, Py_ssize_t valid)
{
#define WEIGHTS(height, width) \
    for (Py_ssize_t i = 0; i < k; i += width) \
        for (Py_ssize_t j = 0; j < m; j += height) \
            MGC_V(weights_tile)(height, width, g + j * n, base, rows + i, gw + j * k + i, m - j, k, k - i, n, valid);
    if (m < 4) WEIGHTS(1, 8)
    else if (k == 1) WEIGHTS(8, 1)
    else if (k == 2) WEIGHTS(MGC_DOTS / 2, 2)
    else WEIGHTS(MGC_DOTS / 4, 4)
#undef WEIGHTS
}

#if MGC_WIDTH >= 4

/* gw[a * k] to gw[a * k + columns - 1] += sum_l g[a][l] * x[l], x's rows being operands side by side. */
MGC_INLINE void MGC_V(outer_tile)(int height, int width, const double *g, const double *x, double *gw,
                                  Py_ssize_t k, Py_ssize_t columns, Py_ssize_t n, Py_ssize_t lanes)
{
    vector acc[2 * MGC_TILE_ROWS][MGC_TILE_VECTORS];
    MGC_UNROLLED_FOR(a, height) MGC_UNROLLED_FOR(b, width) acc[a][b] = SPLAT(0.0);
    MGC_UNROLLED_FOR(a, height) MGC_PREFETCH(gw + a * k);
    MGC_UNROLLED_FOR(a, height) MGC_PREFETCH(gw + a * k + width * MGC_WIDTH - 1);
    MGC_V(tile)(height, width, g, n, 1, x, NULL, lanes, width * MGC_WIDTH, acc);
    if (columns >= width * MGC_WIDTH) {
        MGC_UNROLLED_FOR(a, height) MGC_UNROLLED_FOR(b, width) ((MGC_V(unaligned) *)(gw + a * k))[b] += acc[a][b];
    } else {
        double part[2 * MGC_TILE_ROWS * MGC_TILE_VECTORS * MGC_WIDTH];
        for (int a = 0; a < height; a++)
            for (int b = 0; b < width; b++) memcpy(part + (a * width + b) * MGC_WIDTH, &acc[a][b], sizeof(vector));
        MGC_V(add_part)(part, width * MGC_WIDTH, gw, height, columns, k);
    }
}

/* The gradients of all weights of width vectors of operands, k_left of which there are, from the lanes given. */
MGC_INLINE void MGC_V(weights_strip)(int width, const double *g, const double *base, const int *rows, double *gw,
                                     Py_ssize_t m, Py_ssize_t k, Py_ssize_t k_left, Py_ssize_t n, Py_ssize_t lanes,
                                     vector *packed)
{
    for (int c = 0; c < width; c++)
        for (Py_ssize_t l = 0; l < lanes; l += MGC_WIDTH) {
            vector v[MGC_WIDTH];
            MGC_UNROLLED_FOR(r, MGC_WIDTH) {
                const Py_ssize_t i = c * MGC_WIDTH + r;
                v[r] = *(const vector *)(base + rows[i < k_left ? i : k_left - 1] * n + l);
            }
            MGC_V(transpose)(v);
            MGC_UNROLLED_FOR(r, MGC_WIDTH) packed[(l + r) * width + c] = v[r];
        }
    Py_ssize_t j = 0;
#define OUTER(height) \
    MGC_V(outer_tile)(height, width, g + j * n, (const double *)packed, gw + j * k, k, k_left, n, lanes);
    if (2 * width <= MGC_TILE_VECTORS)
        for (; j + 2 * MGC_TILE_ROWS <= m; j += 2 * MGC_TILE_ROWS) OUTER(2 * MGC_TILE_ROWS)
    for (; j + MGC_TILE_ROWS <= m; j += MGC_TILE_ROWS) OUTER(MGC_TILE_ROWS)
    for (; j + 2 <= m; j += 2) OUTER(2)
    if (j < m) OUTER(1)
#undef OUTER
}

/* Outer products, one lane after another: the operands are transposed to lie side by side, and no sum runs across a
   vector. */
static void MGC_V(weights_by_outer_products)(const double *g, const double *base, const int *rows, double *gw,
                                             Py_ssize_t m, Py_ssize_t k, Py_ssize_t n, Py_ssize_t valid,
                                             double *scratch)
{
    enum { LANES = 128 };   /* at a time, which take 32 KB at most of the cache */
    _Static_assert(LANES * MGC_TILE_VECTORS * MGC_WIDTH <= MGC_SCRATCH, "the operands fit");
    vector *packed = (vector *)scratch;
    const Py_ssize_t blocks = (valid + LANES - 1) / LANES;
    const Py_ssize_t block = blocks ? (valid + blocks * MGC_WIDTH - 1) / (blocks * MGC_WIDTH) * MGC_WIDTH : 0;
    for (Py_ssize_t l = 0; l < valid; l += block) {
        const Py_ssize_t lanes = valid - l < block ? valid - l : block;
        Py_ssize_t i = 0;
#define STRIP(width) \
    for (; i + (width - 1) * MGC_WIDTH < k; i += width * MGC_WIDTH) \
        MGC_V(weights_strip)(width, g + l, base + l, rows + i, gw + i, m, k, k - i, n, lanes, packed);
        STRIP(MGC_TILE_VECTORS)
        STRIP(2)
        STRIP(1)
#undef STRIP
    }
}

#endif

static void MGC_V(dense_weights)(const double *g, const double *base, const int *rows, double *gw, double *gbias,
                                 Py_ssize_t m, Py_ssize_t k, Py_ssize_t n, Py_ssize_t valid, double *scratch)
{
    (void)scratch;
    if (gbias) for (Py_ssize_t j = 0; j < m; j++) gbias[j] += MGC_V(sum)(g + j * n, valid);
#if MGC_WIDTH >= 4
    if (m >= 4 && k >= MGC_WIDTH) {
        MGC_V(weights_by_outer_products)(g, base, rows, gw, m, k, n, valid, scratch);
        return;
    }
#endif
    MGC_V(weights_by_dots)(g, base, rows, gw, m, k, n, valid);
}
