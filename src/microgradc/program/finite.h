/* Whether numbers are finite, many at once. */
#ifndef MGC_FINITE_H
#define MGC_FINITE_H

#include <stdint.h>
#include <string.h>

/* An exponent of ones, to which one more is added, reaches the sign: so no comparison, and the loop becomes vectors. */
static inline int mgc_all_finite(const double *x, Py_ssize_t n)
{
    uint64_t found = 0;
    for (Py_ssize_t i = 0; i < n; i++) {
        uint64_t bits;
        memcpy(&bits, x + i, sizeof bits);
        found |= (bits & 0x7FF0000000000000u) + 0x0010000000000000u;
    }
    return !(found >> 63);
}

#endif
