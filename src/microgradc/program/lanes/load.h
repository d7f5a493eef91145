/* Examples, in rows of numbers, become lanes, for one level of lanes.h. */

static void MGC_V(load)(const double *table, const Py_ssize_t *rows, Py_ssize_t columns, double *to, Py_ssize_t n,
                        Py_ssize_t valid)
{
    if (columns == 1 && !rows) {
        memcpy(to, table, (size_t)valid * sizeof *to);
        for (Py_ssize_t l = valid; l < n; l++) to[l] = to[valid - 1];
        return;
    }
    for (Py_ssize_t l = 0; l < n; l += MGC_LANE_MULTIPLE, to += MGC_LANE_MULTIPLE) {
        const double *from[MGC_LANE_MULTIPLE];
        for (Py_ssize_t i = 0; i < MGC_LANE_MULTIPLE; i++) {
            const Py_ssize_t example = l + i < valid ? l + i : valid - 1;
            from[i] = table + (rows ? rows[example] : example) * columns;
        }
        Py_ssize_t j = 0;
#if MGC_WIDTH >= 4
        for (; j + MGC_WIDTH <= columns; j += MGC_WIDTH)
            MGC_UNROLLED_FOR(part, MGC_LANE_MULTIPLE / MGC_WIDTH) {
                vector v[MGC_WIDTH];
                MGC_UNROLLED_FOR(r, MGC_WIDTH)
                    v[r] = *(const MGC_V(unaligned) *)(from[part * MGC_WIDTH + r] + j);
                MGC_V(transpose)(v);
                MGC_UNROLLED_FOR(r, MGC_WIDTH) ((vector *)(to + (j + r) * n))[part] = v[r];
            }
#endif
        for (; j < columns; j++)
            for (Py_ssize_t i = 0; i < MGC_LANE_MULTIPLE; i++) to[j * n + i] = from[i][j];
    }
}

#undef MASKED
#undef SHUFFLE
#undef LOW_1
#undef HIGH_1
#undef LOW_2
#undef HIGH_2
#undef LOW_4
#undef HIGH_4
