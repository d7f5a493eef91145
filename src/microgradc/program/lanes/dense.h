/* Dense layers for one level of lanes.h: their values, and what the operands receive. */

/* acc[a][b] += sum_i w[a * w_row + i * w_column] * x_i[b] for a < height, b < width: x_i are the rows rows[i] of x,
   or all count of them. What all layers come down to: the tile stays in registers, and each w is used width times,
   each x_i[b] height times. */
MGC_INLINE void MGC_V(tile)(int height, int width, const double *w, Py_ssize_t w_row, Py_ssize_t w_column,
                            const double *x, const int *rows, Py_ssize_t count, Py_ssize_t n,
                            vector acc[2 * MGC_TILE_ROWS][MGC_TILE_VECTORS])
{
    for (Py_ssize_t i = 0; i < count; i++, w += w_column) {
        const vector *x_i = (const vector *)(x + (rows ? rows[i] : i) * n);
        vector v[MGC_TILE_VECTORS];
        MGC_UNROLLED_FOR(b, width) v[b] = x_i[b];
        MGC_UNROLLED_FOR(a, height) {
            const double w_ai = w[a * w_row];
            const vector w_a = SPLAT(w_ai);
            MGC_UNROLLED_FOR(b, width) acc[a][b] = MGC_VECTOR_MADD(w_a, v[b], acc[a][b]);
        }
    }
}

MGC_INLINE void MGC_V(dense_tile)(int height, int width, const double *w, const double *bias, const double *base,
                                  const int *rows, double *out, Py_ssize_t k, Py_ssize_t n)
{
    vector acc[2 * MGC_TILE_ROWS][MGC_TILE_VECTORS];
    MGC_UNROLLED_FOR(a, height) {
        const double start = bias ? bias[a] : 0;
        MGC_UNROLLED_FOR(b, width) acc[a][b] = SPLAT(start);
    }
    MGC_V(tile)(height, width, w, k, 1, base, rows, k, n, acc);
    MGC_UNROLLED_FOR(a, height) MGC_UNROLLED_FOR(b, width) ((vector *)(out + a * n))[b] = acc[a][b];
}

MGC_INLINE void MGC_V(operands_tile)(int height, int width, const double *w, const double *g, double *gbase,
                                     const int *rows, int assign, Py_ssize_t m, Py_ssize_t k, Py_ssize_t n)
{
    vector acc[2 * MGC_TILE_ROWS][MGC_TILE_VECTORS];
    MGC_UNROLLED_FOR(a, height) MGC_UNROLLED_FOR(b, width) acc[a][b] = SPLAT(0.0);
    MGC_V(tile)(height, width, w, 1, k, g, NULL, m, n, acc);
    MGC_UNROLLED_FOR(a, height) {   /* one after another: a row may be there twice */
        vector *to = (vector *)(gbase + rows[a] * n);
        MGC_UNROLLED_FOR(b, width) {
            if (!assign) acc[a][b] += to[b];
            to[b] = acc[a][b];
        }
    }
}

/* 4 vectors of lanes are 2 and 2, not 3 and 1: a tile of one has too few sums to fill the wait for each. */
#define IS_TWICE_2(lanes) (MGC_TILE_VECTORS == 3 && lanes == 4 * MGC_WIDTH)

/* Many operands, in chunks, of which those of a strip of lanes are put side by side: then they stay in the first-level
   cache while all rows of weights go by, and these in the second-level cache while all strips do. Sums that wait for
   the next chunk are in out; their terms come in the same order. */
enum { MGC_V(packed) = 1536, MGC_V(chunk) = MGC_V(packed) / (MGC_TILE_VECTORS * MGC_WIDTH) };

MGC_INLINE void MGC_V(chunk_tile)(int height, int width, const double *w, const double *bias, int goes_on,
                                  const double *x, double *out, Py_ssize_t count, Py_ssize_t k, Py_ssize_t n)
{
    vector acc[2 * MGC_TILE_ROWS][MGC_TILE_VECTORS];
    MGC_UNROLLED_FOR(a, height) {
        const double start = bias ? bias[a] : 0;
        MGC_UNROLLED_FOR(b, width) acc[a][b] = goes_on ? ((const vector *)(out + a * n))[b] : SPLAT(start);
    }
    MGC_V(tile)(height, width, w, k, 1, x, NULL, count, width * MGC_WIDTH, acc);
    MGC_UNROLLED_FOR(a, height) MGC_UNROLLED_FOR(b, width) ((vector *)(out + a * n))[b] = acc[a][b];
}

static void MGC_V(dense_in_chunks)(const double *w, const double *bias, const double *base, const int *rows,
                                   double *out, Py_ssize_t m, Py_ssize_t k, Py_ssize_t n)
{
    const Py_ssize_t chunks = (k + MGC_V(chunk) - 1) / MGC_V(chunk), chunk = (k + chunks - 1) / chunks;
    vector room[MGC_V(packed) / MGC_WIDTH];
    for (Py_ssize_t first = 0, count; first < k; first += count) {
        count = k - first < chunk ? k - first : chunk;
#define TILE(height, width) \
        MGC_V(chunk_tile)(height, width, w + a * k + first, bias ? bias + a : NULL, first != 0, \
                          (const double *)room, out + a * n + l, count, k, n);
#define STRIP(width) { \
        for (Py_ssize_t i = 0; i < count; i++) { \
            const vector *x = (const vector *)(base + rows[first + i] * n + l); \
            MGC_UNROLLED_FOR(b, width) room[i * width + b] = x[b]; \
        } \
        Py_ssize_t a = 0; \
        for (; a + MGC_TILE_ROWS <= m; a += MGC_TILE_ROWS) TILE(MGC_TILE_ROWS, width) \
        for (; a < m; a++) TILE(1, width) \
    }
        Py_ssize_t l = 0;
        for (; l + MGC_TILE_VECTORS * MGC_WIDTH <= n && !IS_TWICE_2(n - l); l += MGC_TILE_VECTORS * MGC_WIDTH)
            STRIP(MGC_TILE_VECTORS)
        for (; l + 2 * MGC_WIDTH <= n; l += 2 * MGC_WIDTH) STRIP(2)
        for (; l < n; l += MGC_WIDTH) STRIP(1)
#undef TILE
#undef STRIP
    }
}

/* Cut rows of lanes into tiles; TILE(height, width) is the one that begins at row a, lane l. Each needs the same
   lanes of the given number of operands: if the cache does not hold all their lanes, the tiles of some lanes come one
   after another. */
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
        for (; l + MGC_TILE_VECTORS * MGC_WIDTH <= end && !IS_TWICE_2(end - l); l += MGC_TILE_VECTORS * MGC_WIDTH) \
            TILE(height, MGC_TILE_VECTORS) \
        for (; l + 2 * MGC_WIDTH <= end; l += 2 * MGC_WIDTH) TILE(height, 2) \
        for (; l < end; l += MGC_WIDTH) TILE(height, 1) \
    }

static void MGC_V(dense)(const double *w, const double *bias, const double *base, const int *rows, double *out,
                         Py_ssize_t m, Py_ssize_t k, Py_ssize_t n)
{
    if (k > MGC_V(chunk) && k * n > MGC_CACHED && m >= MGC_TILE_ROWS) {
        MGC_V(dense_in_chunks)(w, bias, base, rows, out, m, k, n);
        return;
    }
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
#undef IS_TWICE_2
