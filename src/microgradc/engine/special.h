/* The derivatives of log(gamma): functions of the rows in ops.h that the C library lacks. Changes with their formulas,
 * which are PyTorch's (aten/src/ATen/native/Math.h), as its digits are the reference.
 */
#ifndef MGC_SPECIAL_H
#define MGC_SPECIAL_H

#include <math.h>

/* The logarithmic derivative of gamma: the reflection formula below 0, the recurrence up to 10, then the asymptotic
   series (Moshier, Cephes, psi.c). */
static inline double digamma(double x)
{
    static const double series[] = {8.33333333333333333333e-2, -2.10927960927960927961e-2, 7.57575757575757575758e-3,
                                    -4.16666666666666666667e-3, 3.96825396825396825397e-3, -8.33333333333333333333e-3,
                                    8.33333333333333333333e-2};
    const double pi = 3.14159265358979323846;
    double below = 0, rest = 0;
    if (x == 0) return copysign(HUGE_VAL, -x);
    if (x < 0) {
        if (x == trunc(x)) return NAN;
        below = -pi / tan(pi * (x - trunc(x)));
        x = 1 - x;
    }
    double steps = 0;
    for (; x < 10; x += 1) steps -= 1 / x;
    if (x == 10) return steps + 2.25175258906672110764 + below;
    if (x < 1e17) {
        const double z = 1 / (x * x);
        for (int i = 0; i < 7; i++) rest = rest * z + series[i];
        rest *= z;
    }
    return steps + log(x) - 0.5 / x - rest + below;
}

/* The sum of (q + k)**-s over k = 0, 1, …: Euler and Maclaurin's formula after nine terms and more (Moshier, Cephes,
   zeta.c). */
static inline double hurwitz_zeta(double s, double q)
{
    static const double factors[] = {12.0, -720.0, 30240.0, -1209600.0, 47900160.0, -1.8924375803183791606e9,
                                     7.47242496e10, -2.950130727918164224e12, 1.1646782814350067249e14,
                                     -4.5979787224074726105e15, 1.8152105401943546773e17, -7.1661652561756670113e18};
    if (s == 1) return HUGE_VAL;
    if (s < 1) return NAN;
    if (q <= 0) {
        if (q == floor(q)) return HUGE_VAL;
        if (s != floor(s)) return NAN;
    }
    double sum = pow(q, -s), term = 0, a = q;
    for (int i = 0; i < 9 || a <= 9; i++) {
        a += 1;
        term = pow(a, -s);
        sum += term;
        if (-0x1p-53 * sum < term && term < 0x1p-53 * sum) return sum;
    }
    sum += term * a / (s - 1) - 0.5 * term;
    double rising = 1;
    for (int i = 0, k = 0; i < 12; i++, k += 2) {
        rising *= s + k;
        term /= a;
        const double more = rising * term / factors[i];
        sum += more;
        if (fabs(more / sum) < 0x1p-53) break;
        rising *= s + k + 1;
        term /= a;
    }
    return sum;
}

/* The second derivative of log(gamma): the reflection formula below 1/2, the recurrence, the asymptotic series. */
static inline double trigamma(double x)
{
    const double pi = 3.14159265358979323846;
    double sign = 1, sum = 0;
    if (x < 0.5) {
        const double sine = sin(pi * x);
        sign = -1;
        sum = -(pi * pi) / (sine * sine);
        x = 1 - x;
    }
    for (int i = 0; i < 6; i++, x += 1) sum += 1 / (x * x);
    const double z = 1 / (x * x);
    sum += (1 + 1 / (2 * x) + z * (1.0 / 6 - z * (1.0 / 30 - z * (1.0 / 42)))) / x;
    return sign * sum;
}

/* The derivative of digamma of order n, an integer of at least 0. */
static inline double polygamma(double n, double x)
{
    if (n == 0) return digamma(x);
    if (n == 1) return trigamma(x);
    return (fmod(n, 2) != 0 ? 1 : -1) * exp(lgamma(n + 1)) * hurwitz_zeta(n + 1, x);
}

#endif
