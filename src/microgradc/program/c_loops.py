"""The loops of a C text: functions over many operands, which are in a text once and called with tables of places.

Changes with these loops. REAL is the type of numbers. v is the array of values and d that of gradients, f and g a
result and its gradient or, of a dense layer, f the place of the first result; x and p are tables of places. Each loop
adds in the engine's order, so that a sum has the same bits.

Where something is behind a `take`, which sends nothing to what it does not take, gradients begin at -0, and what is
sent makes them another number: ZERO, which is 0 there, makes 0 of -0. Elsewhere it is left out.
"""

from __future__ import annotations

from microgradc.program.c_text import wide_gradient

__all__ = ["LOOPS", "loop_text"]

_SKIP = "        if (!mgc_sent(g)) continue;\n"

LOOPS: dict[str, str] = {
    "mgc_sent": """
/* Whether something was sent to what has this gradient. Gradients begin at -0. */
static int mgc_sent(REAL g)
{
    return g != 0 || !signbit(g);
}
""",
    "mgc_products": """
/* A sum of k products of pairs. */
static REAL mgc_products(const REAL *v, const int *p, int k)
{
    REAL total = v[p[0]] * v[p[1]];
    for (int i = 1; i < k; i++) total += v[p[2 * i]] * v[p[2 * i + 1]];
    return total;
}
""",
    "mgc_products_back": """
static void mgc_products_back(const REAL *restrict v, REAL *restrict d, const int *p, int k, REAL g)
{
    for (int i = 0; i < k; i++) {
        const int x = p[2 * i], y = p[2 * i + 1];
        d[x] += g * v[y] + ZERO;
        d[y] += g * v[x] + ZERO;
    }
}
""",
    "mgc_logsumexp_back": f"""
static void mgc_logsumexp_back(const REAL *restrict v, REAL *restrict d, const int *p, int count, REAL f, REAL g)
{{
    const REAL scale = mgc_logsumexp_scale(v, p, count, f);
    for (int i = 0; i < count; i++) d[p[i]] += {wide_gradient("logsumexp").replace("(v ", "(v[p[i]] ")} + ZERO;
}}
""",
    "mgc_take_back": """
static void mgc_take_back(const REAL *restrict v, REAL *restrict d, const int *p, int count, REAL g)
{
    const REAL index = v[p[0]];
    if (index >= 0 && index < (REAL)(count - 1)) d[p[1 + (int)index]] += g + ZERO;
}
""",
    "mgc_cross_entropy": """
/* logsumexp of the values after the index, less the one that it picks. */
static REAL mgc_cross_entropy(const REAL *v, const int *p, int count)
{
    return mgc_logsumexp_of(v, p + 1, count - 1) - mgc_take(v, p, count);
}
""",
    "mgc_cross_entropy_back": """
static void mgc_cross_entropy_back(const REAL *restrict v, REAL *restrict d, const int *p, int count, REAL g)
{
    mgc_take_back(v, d, p, count, -g);
    mgc_logsumexp_back(v, d, p + 1, count - 1, mgc_logsumexp_of(v, p + 1, count - 1), g);
}
""",
}

# Dense layers of n results of k rows each. Weights are in k + 1 rows of n: the biases, then those of each operand.
LOOPS.update({
    "mgc_dense": """
/* A layer of n results: its biases, then its weights of each of the k operands. */
static void mgc_dense(const REAL *restrict w, REAL *restrict v, const int *x, int f, int n, int k)
{
    for (int i = 0; i < n; i++) v[f + i] = w[i];
    for (int j = 0; j < k; j++) {
        const REAL xj = v[x[j]];
        w += n;
        for (int i = 0; i < n; i++) v[f + i] += w[i] * xj;
    }
}
""",
    "mgc_dense_back": """
/* r gets the gradients of the weights, if they have any. */
static void mgc_dense_back(const REAL *restrict w, REAL *restrict r, const REAL *restrict v,
                           REAL *restrict d, const int *x, int f, int n, int k)
{
    const REAL *g = d + f;
    if (r) for (int i = 0; i < n; i++) r[i] += g[i] + ZERO;
    for (int j = 0; j < k; j++) {
        const REAL xj = v[x[j]];
        REAL total = d[x[j]];
        w += n;
        if (r) r += n;
        if (r) for (int i = 0; i < n; i++) r[i] += g[i] * xj + ZERO;
        for (int i = n; i-- > 0;) total += g[i] * w[i];
        d[x[j]] = total + ZERO;
    }
}
""",
    "mgc_dense_sent_back": """
/* The same where a result to which nothing was sent sends nothing. */
static void mgc_dense_sent_back(const REAL *restrict w, REAL *restrict r, const REAL *restrict v,
                                REAL *restrict d, const int *x, int f, int n, int k)
{
    int sent = 0;
    for (int i = 0; i < n; i++) sent += mgc_sent(d[f + i]);
    if (sent == n) mgc_dense_back(w, r, v, d, x, f, n, k);
    if (sent == n) return;
    for (int i = n; i-- > 0;) {
        const REAL g = d[f + i];
        if (!mgc_sent(g)) continue;
        if (r) r[i] += g + ZERO;
        for (int j = 0; j < k; j++) {
            const int at = (j + 1) * n + i;
            if (r) r[at] += g * v[x[j]] + ZERO;
            d[x[j]] += g * w[at] + ZERO;
        }
    }
}
""",
    "mgc_dense_of": """
/* The same, where w says where the weights are. */
static void mgc_dense_of(const int *w, REAL *v, const int *x, int f, int n, int k)
{
    for (int i = 0; i < n; i++) v[f + i] = v[w[i]];
    for (int j = 0; j < k; j++) {
        const REAL xj = v[x[j]];
        w += n;
        for (int i = 0; i < n; i++) v[f + i] += v[w[i]] * xj;
    }
}
""",
    "mgc_dense_of_back": """
/* The same, where r says where the gradients of the weights are, and p where the weights are if w is NULL. */
static void mgc_dense_of_back(const REAL *w, const int *p, const int *r, const REAL *restrict v,
                              REAL *restrict d, const int *x, int f, int n, int k)
{
    for (int i = n; i-- > 0;) {
        const REAL g = d[f + i];
        if (!mgc_sent(g)) continue;
        d[r[i]] += g + ZERO;
        for (int j = 0; j < k; j++) {
            const int at = (j + 1) * n + i;
            d[r[at]] += g * v[x[j]] + ZERO;
            d[x[j]] += g * (w ? w[at] : v[p[at]]) + ZERO;
        }
    }
}
""",
})


def loop_text(name: str, real: str, is_sent_apart: bool) -> str:
    """Return a loop as C.

    Args:
        name: that in `LOOPS`.
        real: the name of the type of numbers.
        is_sent_apart: whether gradients begin at -0, to tell what is sent from what is not.
    """
    text = LOOPS[name].strip().replace("REAL", real)
    return text.replace("ZERO", "0") if is_sent_apart else text.replace(" + ZERO", "").replace(_SKIP, "")
