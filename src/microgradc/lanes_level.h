/* One level of lanes.h; included once for each, after its macros, which it undefines in the end. */

/* Vectors */

#if MGC_WIDTH == 1
typedef double MGC_V(vector), MGC_V(unaligned);
#define SPLAT(a) (a)
#define MASKED(v, keep) (v)
#else
typedef double MGC_V(vector) __attribute__((vector_size(8 * MGC_WIDTH), may_alias));
typedef double MGC_V(unaligned) __attribute__((vector_size(8 * MGC_WIDTH), may_alias, aligned(8)));
typedef long long MGC_V(mask) __attribute__((vector_size(8 * MGC_WIDTH), may_alias));
#if MGC_WIDTH == 2
#define ELEMENTS(a) a, a
#elif MGC_WIDTH == 4
#define ELEMENTS(a) a, a, a, a
#else
#define ELEMENTS(a) a, a, a, a, a, a, a, a
#endif
#define SPLAT(a) (vector){ELEMENTS(a)}
#define MASKED(v, keep) ((vector)((MGC_V(mask))(v) & (keep)))   /* v or 0, whatever v is: inf * 0 would be nan */
#endif
#define vector MGC_V(vector)

#include "lanes_rows.h"

/* Dense layers */

/* acc[a][b] += sum_i w[a * w_row + i * w_column] * x_i[b], where x_i is row rows[i], or row i without rows. The first a < height, b < width count. */
MGC_INLINE void MGC_V(tile)(int height, int width, const double *w, Py_ssize_t w_row, Py_ssize_t w_column, const double *x, const int *rows,
                            Py_ssize_t count, Py_ssize_t n, vector acc[2 * MGC_TILE_ROWS][MGC_TILE_VECTORS])
{
    for (Py_ssize_t i = 0; i < count; i++, w += w_column) {
        const vector *x_i = MGC_ALIGNED((const vector *)(x + (rows ? rows[i] : i) * n));
        vector v[MGC_TILE_VECTORS];
        MGC_UNROLLED
        for (int b = 0; b < width; b++) v[b] = x_i[b];
        MGC_UNROLLED
        for (int a = 0; a < height; a++) {
            const double w_ai = w[a * w_row];
            const vector w_a = SPLAT(w_ai);
            MGC_UNROLLED
            for (int b = 0; b < width; b++) acc[a][b] = MGC_VECTOR_MADD(w_a, v[b], acc[a][b]);
        }
    }
}

MGC_INLINE void MGC_V(dense_tile)(int height, int width, const double *w, const double *bias, const double *base, const int *rows, double *out,
                                  Py_ssize_t k, Py_ssize_t n)
{
    vector acc[2 * MGC_TILE_ROWS][MGC_TILE_VECTORS];
    MGC_UNROLLED
    for (int a = 0; a < height; a++) {
        const double start = bias ? bias[a] : 0;
        MGC_UNROLLED
        for (int b = 0; b < width; b++) acc[a][b] = SPLAT(start);
    }
    MGC_V(tile)(height, width, w, k, 1, base, rows, k, n, acc);
    MGC_UNROLLED
    for (int a = 0; a < height; a++)
        MGC_UNROLLED
        for (int b = 0; b < width; b++) ((vector *)(out + a * n))[b] = acc[a][b];
}

MGC_INLINE void MGC_V(operands_tile)(int height, int width, const double *w, const double *g, double *gbase, const int *rows, int assign,
                                     Py_ssize_t m, Py_ssize_t k, Py_ssize_t n)
{
    vector acc[2 * MGC_TILE_ROWS][MGC_TILE_VECTORS];
    MGC_UNROLLED
    for (int a = 0; a < height; a++)
        MGC_UNROLLED
        for (int b = 0; b < width; b++) acc[a][b] = SPLAT(0.0);
    MGC_V(tile)(height, width, w, 1, k, g, NULL, m, n, acc);
    MGC_UNROLLED
    for (int a = 0; a < height; a++) {   /* one after another: a row may be there twice */
        vector *to = (vector *)(gbase + rows[a] * n);
        MGC_UNROLLED
        for (int b = 0; b < width; b++) {
            if (!assign) acc[a][b] += to[b];
            to[b] = acc[a][b];
        }
    }
}

/* Cut rows of lanes into tiles; TILE(height, width) is the one that begins at row a, lane l. Each needs the same lanes of the given number
   of operands: if the cache does not hold all their lanes, the tiles of some lanes come one after another. */
#define TILES(rows_, operands) \
    const Py_ssize_t block = operands * n <= MGC_CACHED ? n : MGC_TILE_VECTORS * MGC_WIDTH; \
    for (Py_ssize_t begin = 0; begin < n; begin += block) { \
        const Py_ssize_t end = begin + block < n ? begin + block : n; \
        Py_ssize_t a = 0; \
        for (; a + MGC_TILE_ROWS <= rows_; a += MGC_TILE_ROWS) STRIP(MGC_TILE_ROWS) \
        for (; a + 2 <= rows_; a += 2) STRIP(2) \
        if (a < rows_) STRIP(1) \
    }
#define STRIP(height) { \
        Py_ssize_t l = begin; \
        for (; l + MGC_TILE_VECTORS * MGC_WIDTH <= end; l += MGC_TILE_VECTORS * MGC_WIDTH) TILE(height, MGC_TILE_VECTORS) \
        for (; l + 2 * MGC_WIDTH <= end; l += 2 * MGC_WIDTH) TILE(height, 2) \
        for (; l < end; l += MGC_WIDTH) TILE(height, 1) \
    }

static void MGC_V(dense)(const double *w, const double *bias, const double *base, const int *rows, double *out,
                         Py_ssize_t m, Py_ssize_t k, Py_ssize_t n)
{
#define TILE(height, width) \
    MGC_V(dense_tile)(height, width, w + a * k, bias ? bias + a : NULL, base + l, rows, out + a * n + l, k, n);
    TILES(m, k)
#undef TILE
}

static void MGC_V(dense_operands)(const double *w, const double *g, double *gbase, const int *rows, int assign,
                                  Py_ssize_t m, Py_ssize_t k, Py_ssize_t n)
{
#define TILE(height, width) MGC_V(operands_tile)(height, width, w + a, g + l, gbase + l, rows + a, assign, m, k, n);
    TILES(k, m)
#undef TILE
}

#undef TILES
#undef STRIP

/* Sums over lanes */

/* In blocks of s elements: LOW_s(a, b) has the even blocks of a, each followed by that of b, HIGH_s(a, b) the odd blocks. */
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
    MGC_UNROLLED \
    for (int r = 0; r < MGC_WIDTH; r++) { \
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
    const vector *v = MGC_ALIGNED((const vector *)x);
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

/* Add the upper left part of a tile of sums. Apart from the whole tiles, which have constant bounds. */
MGC_NOINLINE void MGC_V(add_part)(const double *sums, int width, double *gw, Py_ssize_t rows, Py_ssize_t columns, Py_ssize_t k)
{
    for (Py_ssize_t a = 0; a < rows; a++)
        for (Py_ssize_t c = 0; c < columns; c++) gw[a * k + c] += sums[a * width + c];
}

/* gw[a * k + c] += the sum over valid lanes of g[a] * base[rows[c]], for a < height and c < width. The tile may reach over the edge: there it
   takes the last row again, and throws the sum away. */
MGC_INLINE void MGC_V(weights_tile)(int height, int width, const double *g, const double *base, const int *rows, double *gw,
                                    Py_ssize_t m, Py_ssize_t k, Py_ssize_t k_left, Py_ssize_t n, Py_ssize_t valid)
{
    const Py_ssize_t whole = valid / MGC_WIDTH;
    vector acc[MGC_DOTS];
    const vector *ga[MGC_DOTS], *xc[MGC_DOTS];
    MGC_UNROLLED
    for (int s = 0; s < height * width; s++) acc[s] = SPLAT(0.0);
    MGC_UNROLLED
    for (int a = 0; a < height; a++) ga[a] = MGC_ALIGNED((const vector *)(g + (a < m ? a : m - 1) * n));
    MGC_UNROLLED
    for (int c = 0; c < width; c++) xc[c] = MGC_ALIGNED((const vector *)(base + rows[c < k_left ? c : k_left - 1] * n));
#define ADD_PRODUCTS(b, LANES) { \
        vector v[MGC_DOTS]; \
        MGC_UNROLLED \
        for (int a = 0; a < height; a++) { \
            v[a] = LANES(ga[a][b]); \
            MGC_IN_REGISTER(v[a]); \
        } \
        MGC_UNROLLED \
        for (int c = 0; c < width; c++) { \
            vector x_c = LANES(xc[c][b]); \
            MGC_IN_REGISTER(x_c); \
            MGC_UNROLLED \
            for (int a = 0; a < height; a++) acc[a * width + c] = MGC_VECTOR_MADD(v[a], x_c, acc[a * width + c]); \
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
    MGC_UNROLLED
    for (int s = 0; s < height * width / MGC_WIDTH; s++) sums.v[s] = MGC_V(sums)(acc + s * MGC_WIDTH);
    if (height > m || width > k_left) {
        MGC_V(add_part)(sums.e, width, gw, m < height ? m : height, k_left < width ? k_left : width, k);
        return;
    }
    MGC_UNROLLED
    for (int a = 0; a < height; a++) {
#if MGC_WIDTH > 1
        if (width == 4) {
            *(mgc_quad *)(gw + a * k) += sums.quads[a];
            continue;
        }
#endif
        for (int c = 0; c < width; c++) gw[a * k + c] += sums.e[a * width + c];
    }
}

/* Dot products over lanes: for few rows of g or few operands. */
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
    MGC_UNROLLED
    for (int a = 0; a < height; a++)
        MGC_UNROLLED
        for (int b = 0; b < width; b++) acc[a][b] = SPLAT(0.0);
    MGC_V(tile)(height, width, g, n, 1, x, NULL, lanes, width * MGC_WIDTH, acc);
    if (columns >= width * MGC_WIDTH) {
        MGC_UNROLLED
        for (int a = 0; a < height; a++)
            MGC_UNROLLED
            for (int b = 0; b < width; b++) ((MGC_V(unaligned) *)(gw + a * k))[b] += acc[a][b];
    } else {
        double part[2 * MGC_TILE_ROWS * MGC_TILE_VECTORS * MGC_WIDTH];
        for (int a = 0; a < height; a++)
            for (int b = 0; b < width; b++) memcpy(part + (a * width + b) * MGC_WIDTH, &acc[a][b], sizeof(vector));
        MGC_V(add_part)(part, width * MGC_WIDTH, gw, height, columns, k);
    }
}

/* width vectors of operands, for all rows of g and the lanes given. */
MGC_INLINE void MGC_V(weights_strip)(int width, const double *g, const double *base, const int *rows, double *gw,
                                     Py_ssize_t m, Py_ssize_t k, Py_ssize_t k_left, Py_ssize_t n, Py_ssize_t lanes, vector *packed)
{
    for (int c = 0; c < width; c++)
        for (Py_ssize_t l = 0; l < lanes; l += MGC_WIDTH) {
            vector v[MGC_WIDTH];
            MGC_UNROLLED
            for (int r = 0; r < MGC_WIDTH; r++) {
                const Py_ssize_t i = c * MGC_WIDTH + r;
                v[r] = *(const vector *)(base + rows[i < k_left ? i : k_left - 1] * n + l);
            }
            MGC_V(transpose)(v);
            MGC_UNROLLED
            for (int r = 0; r < MGC_WIDTH; r++) packed[(l + r) * width + c] = v[r];
        }
    Py_ssize_t j = 0;
#define OUTER(height) MGC_V(outer_tile)(height, width, g + j * n, (const double *)packed, gw + j * k, k, k_left, n, lanes);
    if (2 * width <= MGC_TILE_VECTORS)
        for (; j + 2 * MGC_TILE_ROWS <= m; j += 2 * MGC_TILE_ROWS) OUTER(2 * MGC_TILE_ROWS)
    for (; j + MGC_TILE_ROWS <= m; j += MGC_TILE_ROWS) OUTER(MGC_TILE_ROWS)
    for (; j + 2 <= m; j += 2) OUTER(2)
    if (j < m) OUTER(1)
#undef OUTER
}

/* Outer products, one lane after another, with the operands turned to lie side by side. */
static void MGC_V(weights_by_outer_products)(const double *g, const double *base, const int *rows, double *gw,
                                             Py_ssize_t m, Py_ssize_t k, Py_ssize_t n, Py_ssize_t valid)
{
    enum { LANES = 128 };
    vector packed[LANES * MGC_TILE_VECTORS];
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
                                 Py_ssize_t m, Py_ssize_t k, Py_ssize_t n, Py_ssize_t valid)
{
    if (gbias) for (Py_ssize_t j = 0; j < m; j++) gbias[j] += MGC_V(sum)(g + j * n, valid);
#if MGC_WIDTH >= 4
    if (m >= 4 && k >= MGC_WIDTH) {
        MGC_V(weights_by_outer_products)(g, base, rows, gw, m, k, n, valid);
        return;
    }
#endif
    MGC_V(weights_by_dots)(g, base, rows, gw, m, k, n, valid);
}

/* The level */

static const mgc_lanes MGC_V(lanes) = {
    MGC_STRING(MGC_LEVEL),
    MGC_WIDTH,
    {
        NULL,
#define ROW(id, op, operands, params, value, gx, gy, gz) MGC_V(forward_##id),
        MGC_TABLE(ROW)
#undef ROW
    },
    {
        NULL,
#define ROW(id, op, operands, params, value, gx, gy, gz) MGC_V(backward_##id),
        MGC_TABLE(ROW)
#undef ROW
    },
    MGC_V(dense), MGC_V(dense_operands), MGC_V(dense_weights), MGC_V(sum),
};

#undef SPLAT
#undef ELEMENTS
#undef MASKED
#undef vector
#undef SHUFFLE
#undef LOW_1
#undef HIGH_1
#undef LOW_2
#undef HIGH_2
#undef LOW_4
#undef HIGH_4
#undef MGC_LEVEL
#undef MGC_WIDTH
#undef MGC_TILE_ROWS
#undef MGC_TILE_VECTORS
#undef MGC_DOTS
#undef MGC_MADD
#undef MGC_VECTOR_MADD
