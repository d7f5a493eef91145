/* Elementary functions without branches, calls or tables, which compilers vectorise in loops over lanes: MGC_V(exp)
 * is the exp of a level of SIMD instructions, and so on. rows.h includes this text once for each level.
 *
 * Needed before: MGC_V(name), the level's name of a function; MGC_WIDTH, the lanes in a vector; MGC_MADD(a, b, c),
 * a * b + c, fused where the level can; MGC_INLINE; MGC_UNROLLED, before a short loop. To be compiled with
 * -fno-math-errno -fno-trapping-math -ffp-contract=off, and never with -ffast-math: nan, infinities, signed zeros and
 * subnormals are as in C99, annex F.
 *
 * Largest errors in units in the last place, of 10^8 arguments: exp 1.1, expm1 1.3, log 0.9, log1p 0.9,
 * log2 0.8, pow 1.2, sinh 1.0, cosh 1.0, tanh 1.9, asinh 1.4, acosh 1.8, atanh 1.5, sigmoid 1.7, erf 1.8, sin 1.4,
 * cos 1.4, tan 1.5, asin 1.2, acos 1.2, atan 1.7, atan2 1.6, hypot 1.2 . Angles are bounded: see vmath_angles.h.
 *
 * libm's remain: fmod and floor, in the rows of % and //, pow on two lanes, and what few programs compute in quantity:
 * log10, exp2, cbrt, erfc, lgamma, and the loops of special.h.
 *
 * Conditions are comparisons of doubles, as SSE2 cannot compare 64-bit integers, and integers come from the low bits
 * of x + MGC_ROUND. A chain has at most three ?:, as gcc 12 gives up at a choice of five values.
 */
#ifndef MGC_VMATH_CONSTANTS
#define MGC_VMATH_CONSTANTS

#include <float.h>
#include <math.h>
#include <stddef.h>
#include <stdint.h>

#define MGC_ROUND 0x1.8p52     /* x + MGC_ROUND holds the integer nearest to x in its low bits, for |x| < 2^51 */
#define MGC_LN2_HI 0x1.62e42fefap-1      /* 37 bits: n * MGC_LN2_HI is exact for |n| < 2^16 */
#define MGC_LN2_LO 0x1.cf79abc9e3b3ap-40
#define MGC_1_LN2 1.4426950408889634
#define MGC_1_LN2_HI 0x1.7154760000000p+0
#define MGC_1_LN2_LO 1.9259629911266175e-08
#define MGC_2_3 0.6666666666666666
#define MGC_2_3_LO 3.700743415417188e-17
#define MGC_SQRT_HALF_BITS 0x3fe6a09e667f3bcd

/* The coefficients, the constant first, are minimax ones (Remez' algorithm) on the interval that the argument is
   reduced to; the error is that of the function. */

/* (exp(r) - 1 - r) / r^2, |r| <= log(2) / 2; relative error of expm1 2^-61.7 */
static const double mgc_exp_p[] = {
    0.5, 0.16666666666666677, 0.04166666666666669, 0.008333333333321698, 0.0013888888888870133, 0.0001984126988597825,
    2.4801587356170105e-05, 2.7557244343530785e-06, 2.755724549538658e-07, 2.5108993791415422e-08, 2.09237942118761e-09,
};

/* (log((1 + s) / (1 - s)) / s - 2) / s^2 at z = s^2, the Lg1 to Lg7 of fdlibm's e_log.c (Sun Microsystems, 1993);
   error 2^-58.45 */
static const double mgc_log_p[] = {
    6.666666666666735130e-01, 3.999999999940941908e-01, 2.857142874366239149e-01, 2.222219843214978396e-01,
    1.818357216161805012e-01, 1.531383769920937332e-01, 1.479819860511658591e-01,
};

/* -log(erfc(x)) / x - 1, 0 <= x <= 6; relative error of erf 2^-55.4 */
static const double mgc_erf_p[] = {
    0.12837916709551256, 0.6366197723675909, 0.10277260330131567, -0.019128446993099107, -0.00020919485387737487,
    0.0016962076695674676, -0.0005901324287910702, 2.5904495224445383e-05, 6.442048339881502e-05,
    -2.9575689217712992e-05,
    3.169702869884354e-06, 3.1329280236763404e-06, -2.0371593688714306e-06, 5.706129415282259e-07,
    -1.1697768276735372e-08,
    -6.573802135738731e-08, 3.4586381477866424e-08, -1.0773763803360436e-08, 2.360601372992709e-09,
    -3.7608488689473304e-10,
    4.301945055690651e-11, -3.364476636944259e-12, 1.6149330348253233e-13, -3.592335373963067e-15,
};

/* (sinh(x) / x - 1) / x^2 at z = x^2, 0 <= x <= 1; error 2^-63 */
static const double mgc_sinh_p[] = {
    0.16666666666666669, 0.008333333333333139, 0.00019841269841437692, 2.7557319155333173e-06, 2.5052123399172768e-08,
    1.6057240292666125e-10, 7.759313669355194e-13,
};

/* ((log((1 + s) / (1 - s)) / s - 2) / s^2 - 2 / 3) / s^2 at z = s^2; relative error of the logarithm 2^-73 */
static const double mgc_pow_p[] = {
    0.3999999999999998, 0.2857142857144522, 0.222222222175106, 0.1818181887349391, 0.1538455665378563,
    0.13336325786369038, 0.11674648453740645, 0.11990431066981956,
};

#define MGC_TERMS(p) (int)(sizeof(p) / sizeof *(p))
#define MGC_POLY(p, x) MGC_V(poly)(p, MGC_TERMS(p), x)

static inline uint64_t mgc_bits(double x)
{
    union { double x; uint64_t bits; } as = {x};
    return as.bits;
}

static inline double mgc_from_bits(uint64_t bits)
{
    union { uint64_t bits; double x; } as = {bits};
    return as.x;
}

/* 2^n, -1022 <= n <= 1023, from the bits of n + MGC_ROUND: all but the lowest fall out. */
static inline double mgc_power_of_2(uint64_t n) { return mgc_from_bits((n + 1023) << 52); }

/* The leading 26 bits, whose products with 27 bits are exact. */
static inline double mgc_head(double x) { return mgc_from_bits(mgc_bits(x) & 0xfffffffff8000000); }

#endif

/* p[0] + p[1] x + p[2] x^2 + ...: Horner's rule on the even and on the odd powers, two shorter chains. */
MGC_INLINE double MGC_V(poly)(const double *p, int terms, double x)
{
    const double xx = x * x;
    double a = p[terms - 1], b = p[terms - 2];
    MGC_UNROLLED
    for (int i = terms - 3; i >= 0; i -= 2) {
        a = MGC_MADD(a, xx, p[i]);
        if (i > 0) b = MGC_MADD(b, xx, p[i - 1]);
    }
    return terms % 2 ? MGC_MADD(b, x, a) : MGC_MADD(a, x, b);
}

/* Some functions have a near form, for all arguments but those near the ends of what doubles can be; MGC_V(exp) takes
   all, and has the same value where the near form will do. rows.h looks at a row of arguments for one that is far:
   MGC_V(look_at_exp) gives it, and takes a note. */
#define MGC_LOOKED_AT 0
#define MGC_ALL_NEAR 1
#define MGC_SOME_FAR 2
#define MGC_KEPT 3              /* the value is known: sin or cos of what the other one was taken of */
#undef LOOK_AT
#define LOOK_AT(name, is_far) \
    MGC_INLINE double MGC_V(look_at_##name)(double x, uint64_t *any_far) \
    { \
        *any_far |= is_far ? 1 : 0; \
        return x; \
    }

/* Exponentials */

/* x + x_low = n log(2) + r + low, |r| <= log(2) / 2, by Cody and Waite's method; returns r, and n as the bits of n +
   MGC_ROUND. */
MGC_INLINE double MGC_V(reduce_exp)(double x, double x_low, double *low, uint64_t *n)
{
    const double rounded = MGC_MADD(x, MGC_1_LN2, MGC_ROUND), whole = rounded - MGC_ROUND;
    const double hi = MGC_MADD(whole, -MGC_LN2_HI, x), lo = MGC_MADD(whole, MGC_LN2_LO, -x_low), r = hi - lo;
    *n = mgc_bits(rounded);
    *low = hi - r - lo;
    return r;
}

/* exp(r + low) - 1 - r */
MGC_INLINE double MGC_V(exp_tail)(double r, double low) { return MGC_MADD(r * r, MGC_POLY(mgc_exp_p, r), low); }

/* exp(x) / 2^n - 1, with a rounding error more than reduce_exp would leave. */
MGC_INLINE double MGC_V(reduced_expm1)(double x, uint64_t *n)
{
    const double rounded = MGC_MADD(x, MGC_1_LN2, MGC_ROUND), whole = rounded - MGC_ROUND;
    const double r = MGC_MADD(whole, -MGC_LN2_LO, MGC_MADD(whole, -MGC_LN2_HI, x));
    *n = mgc_bits(rounded);
    return MGC_MADD(r * r, MGC_POLY(mgc_exp_p, r), r);
}

/* x 2^n for a result between 2^-1100 and 2^1100: in two steps, as 2^n may be too large or too small for a double when
   the result is not. */
MGC_INLINE double MGC_V(scaled)(double x, uint64_t n)
{
    const uint64_t half = ((n + 4096) & 8191) >> 1;   /* floor(n / 2) + 2048 */
    return x * mgc_power_of_2(half - 2048) * mgc_power_of_2(n - half + 2048);
}

MGC_INLINE double MGC_V(near_exp)(double x)
{
    uint64_t n;
    const double y = 1 + MGC_V(reduced_expm1)(x, &n);
    return mgc_from_bits(mgc_bits(y) + (n << 52));
}

MGC_INLINE double MGC_V(exp)(double x)
{
    uint64_t n;
    const double y = 1 + MGC_V(reduced_expm1)(x > 710 ? 710 : x < -746 ? -746 : x, &n);    /* inf and 0 there */
    return MGC_V(scaled)(y, n);
}

LOOK_AT(exp, !(fabs(x) <= 708))

/* 2^shift exp(x + x_low) for |x| < 1000, and its rounding error. */
MGC_INLINE double MGC_V(scaled_exp)(double x, double x_low, uint64_t shift, double *error)
{
    uint64_t n;
    double low;
    const double r = MGC_V(reduce_exp)(x, x_low, &low, &n), y_1 = r + MGC_V(exp_tail)(r, low), y = 1 + y_1;
    n += shift;
    *error = MGC_V(scaled)(y_1 - (y - 1), n);
    return MGC_V(scaled)(y, n);
}

/* 2^(n - 1) - 1 / 2 and its sum with 2^(n - 1) r, of which the rounding error is kept: the two may cancel. */
MGC_INLINE double MGC_V(expm1)(double x)
{
    uint64_t n;
    double low;
    const double r = MGC_V(reduce_exp)(x > 709.8 ? 709.8 : x < -50 ? -50 : x, 0, &low, &n);
    const double scale = mgc_power_of_2(n - 1);     /* exp(709.8) overflows */
    const double a = scale - 0.5, b = scale * r, sum = a + b, b_part = sum - a;
    const double error = (a - (sum - b_part)) + (b - b_part);
    const double half = sum + MGC_MADD(scale, MGC_V(exp_tail)(r, low), error);
    return fabs(x) < 0x1p-54 ? x : x > 709.8 ? HUGE_VAL : 2 * half;   /* tiny ones would lose a bit in half */
}

/* 1 / (1 + exp(-x)), while that sum is exact but for one rounding; then e (1 - e), e = exp(x) */
MGC_INLINE double MGC_V(near_sigmoid)(double x)
{
    uint64_t n;
    const double y = MGC_V(reduced_expm1)(x > 708 ? -708 : -x, &n), scale = mgc_power_of_2(n);
    return 1 / MGC_MADD(scale, y, 1 + scale);
}

LOOK_AT(sigmoid, x < -36)

MGC_INLINE double MGC_V(sigmoid)(double x)
{
    const double e = MGC_V(exp)(x), near = MGC_V(near_sigmoid)(x < -36 ? -36 : x);
    return x < -36 ? MGC_MADD(-e, e, e) : near;
}

/* (1 - e) / (1 + e), e = exp(-2 |x|), both halved; then Newton's step, with the rounding errors. */
MGC_INLINE double MGC_V(tanh)(double x)
{
    uint64_t n;
    const double size = fabs(x), y = MGC_V(reduced_expm1)(-2 * (size > 20 ? 20 : size), &n);
    const double scale = mgc_power_of_2(n - 1), a = 0.5 - scale, b = 0.5 + scale;
    const double above = MGC_MADD(-scale, y, a), above_error = MGC_MADD(-scale, y, a - above);
    const double below = MGC_MADD(scale, y, b), below_error = MGC_MADD(scale, y, b - below), f = above / below;
    return copysign(MGC_MADD(MGC_MADD(-f, below_error, above_error), 1 + f, f), x);    /* 1 + f = 1 / below */
}

/* 1 - exp(log(erfc(x))): one polynomial gives log(erfc), whose error counts less as erf comes near to 1. */
MGC_INLINE double MGC_V(erf)(double x)
{
    uint64_t n;
    const double size = fabs(x), clipped = size > 6 ? 6 : size;
    const double p = MGC_POLY(mgc_erf_p, clipped), minus_log = MGC_MADD(clipped, p, clipped);
    const double rest = MGC_MADD(clipped, p, clipped - minus_log);
    const double y = MGC_V(reduced_expm1)(-minus_log, &n), scale = mgc_power_of_2(n);
    const double f = MGC_MADD(-scale, y, 1 - scale);
    return size < 0x1p-30 ? MGC_MADD(x, mgc_erf_p[0], x) : copysign(MGC_MADD(rest, 1 - f, f), x);
}

/* (exp(x) - exp(-x)) / 2, from 1 on; a polynomial below, where they cancel. */
MGC_INLINE double MGC_V(sinh)(double x)
{
    double error;
    const double size = fabs(x), half = MGC_V(scaled_exp)(size > 711 ? 711 : size, 0, -1, &error), z = x * x;
    const double large = half - (0.25 / half - error), small = MGC_MADD(x * z, MGC_POLY(mgc_sinh_p, z), x);
    return size < 1 ? small : copysign(large, x);
}

MGC_INLINE double MGC_V(cosh)(double x)
{
    double error;
    const double size = fabs(x), half = MGC_V(scaled_exp)(size > 711 ? 711 : size, 0, -1, &error);
    return half + (0.25 / half + error);
}

/* Logarithms */

/* x = 2^k m, sqrt(1/2) <= m < sqrt(2), for a positive, normal x; returns m. */
MGC_INLINE double MGC_V(reduce_log)(double x, double *k)
{
    const uint64_t bits = mgc_bits(x) + (0x3ff0000000000000 - MGC_SQRT_HALF_BITS);
    *k = mgc_from_bits((bits >> 52) | 0x4330000000000000) - (0x1p52 + 1023);
    return mgc_from_bits((bits & 0x000fffffffffffff) + MGC_SQRT_HALF_BITS);
}

/* k log(2) + log(1 + f) + low, sqrt(1/2) <= 1 + f < sqrt(2), as in fdlibm's e_log.c. */
MGC_INLINE double MGC_V(reduced_log)(double k, double f, double low)
{
    const double s = f / (2 + f), z = s * s, half_square = 0.5 * f * f;
    const double y = MGC_MADD(s, MGC_MADD(z, MGC_POLY(mgc_log_p, z), half_square), MGC_MADD(k, MGC_LN2_LO, low));
    return MGC_MADD(k, MGC_LN2_HI, f - (half_square - y));
}

/* What a logarithm gives besides log(x) of a finite x > 0. */
MGC_INLINE double MGC_V(log_special)(double x, double y)
{
    return x < 0 ? NAN : x == 0 ? -HUGE_VAL : x < HUGE_VAL ? y : x;
}

MGC_INLINE double MGC_V(near_log)(double x)
{
    double k;
    const double m = MGC_V(reduce_log)(x, &k);
    return MGC_V(reduced_log)(k, m - 1, 0);
}

LOOK_AT(log, !((x >= DBL_MIN) & (x <= DBL_MAX)))

MGC_INLINE double MGC_V(log)(double x)
{
    double k;
    const double m = MGC_V(reduce_log)(x < DBL_MIN ? x * 0x1p54 : x, &k);
    return MGC_V(log_special)(x, MGC_V(reduced_log)(x < DBL_MIN ? k - 54 : k, m - 1, 0));
}

/* k log(2) + log(1 + x + low): log(u) + error / u, where 1 + x + low is u + error. */
MGC_INLINE double MGC_V(log1p_sum)(double k, double x, double low)
{
    double u_k;
    const double u = 1 + x, x_part = u - 1, error = (1 - (u - x_part)) + (x - x_part);
    const double f = MGC_V(reduce_log)(u, &u_k) - 1;
    return MGC_V(log_special)(u, MGC_V(reduced_log)(u_k + k, f, (error + low) / u));
}

MGC_INLINE double MGC_V(log1p)(double x) { return copysign(MGC_V(log1p_sum)(0, x, 0), x); }   /* -0 stays */

/* log(x) / log(2), with log(1 + f) in a head whose product with that of 1 / log(2) is exact, and a tail (FreeBSD's
   e_log2.c). */
MGC_INLINE double MGC_V(log2)(double x)
{
    double k;
    const double f = MGC_V(reduce_log)(x < DBL_MIN ? x * 0x1p54 : x, &k) - 1, n = x < DBL_MIN ? k - 54 : k;
    const double s = f / (2 + f), z = s * s, half_square = 0.5 * f * f, head = mgc_head(f - half_square);
    const double tail = MGC_MADD(s, MGC_MADD(z, MGC_POLY(mgc_log_p, z), half_square), f - head - half_square);
    const double hi = head * MGC_1_LN2_HI, lo = MGC_MADD(tail + head, MGC_1_LN2_LO, tail * MGC_1_LN2_HI), sum = n + hi;
    return MGC_V(log_special)(x, sum + (lo + (n - sum + hi)));
}

/* (log(1 + x) - log(1 - x)) / 2: two terms of one sign */
MGC_INLINE double MGC_V(atanh)(double x) { return 0.5 * (MGC_V(log1p)(x) - MGC_V(log1p)(-x)); }

/* log(1 + t), t = x + x^2 / (1 + sqrt(1 + x^2)), and log(2 x) where x^2 might be too large. */
MGC_INLINE double MGC_V(asinh)(double x)
{
    const double size = fabs(x), bounded = size > 0x1p28 ? 0 : size, square = bounded * bounded;
    const double more = square / (1 + sqrt(1 + square));
    const double t = bounded + more, low = more - (t - bounded);
    return copysign(MGC_V(log1p_sum)(size > 0x1p28, size > 0x1p28 ? size : t, size > 0x1p28 ? -1 : low), x);
}

/* log(1 + t), t = x - 1 + sqrt((x - 1) (x + 1)), and log(2 x) likewise. */
MGC_INLINE double MGC_V(acosh)(double x)
{
    const double less = (x > 0x1p28 ? 1 : x) - 1, root = sqrt(x < 1 ? -1 : less * (less + 2));
    const double t = root + less, low = less - (t - root);
    return MGC_V(log1p_sum)(x > 0x1p28, x > 0x1p28 ? x : t, x > 0x1p28 ? -1 : low);
}

/* Powers */

#if MGC_WIDTH < 4   /* libm's is faster than this on two lanes */
MGC_INLINE double MGC_V(pow)(double x, double y) { return pow(x, y); }
#else

/* log(x 2^more) of a positive, normal x, as a sum of two; relative error below 2^-64. With s = f / (2 + f), log(1 +
   f) = s (2 + s^2 (2/3 + s^2 p(s^2))): all but p in two parts, of which the first has 26 bits, so that products are
   exact. */
MGC_INLINE double MGC_V(log_in_two)(double x, double more, double *low)
{
    double k;
    const double f = MGC_V(reduce_log)(x, &k) - 1, inverse = 1 / (2 + f);
    const double below_head = mgc_head(2 + f), below_tail = f - (below_head - 2);
    const double s = f * inverse, s_head = mgc_head(s);
    const double s_tail = (f - s_head * below_head - s_head * below_tail) * inverse;
    const double z = s * s, z_exact = s_head * s_head, z_head = mgc_head(z_exact);
    const double z_tail = (z_exact - z_head) + s_tail * (s_head + s);
    const double c = z * MGC_POLY(mgc_pow_p, z), c_head = mgc_head(MGC_2_3 + c);
    const double c_tail = MGC_2_3 - c_head + c + MGC_2_3_LO;
    const double u_exact = z_head * c_head, u_tail = MGC_MADD(z_head, c_tail, z_tail * (c_head + c_tail));
    const double v_head = mgc_head(2 + u_exact), v_tail = 2 - v_head + u_exact + u_tail;
    const double y = v_head * s_head, y_tail = MGC_MADD(v_head, s_tail, v_tail * s);
    const double n = k + more, n_ln2 = n * MGC_LN2_HI, sum = n_ln2 + y;
    *low = n_ln2 - sum + y + MGC_MADD(n, MGC_LN2_LO, y_tail);
    return sum;
}

/* exp(y log(|x|)), and the special cases of C99, annex F.9.4.4 */
MGC_INLINE double MGC_V(pow)(double x_, double y_)
{
    double low, error;
    const double x = y_ == 0 ? 1 : x_, y = x_ == 1 ? 0 : y_;   /* 1 even of nan */
    const double size = fabs(x), finite_y = y > 0x1p70 ? 0x1p70 : y < -0x1p70 ? -0x1p70 : y;
    const double log_x = MGC_V(log_in_two)(size < DBL_MIN ? size * 0x1p54 : size, size < DBL_MIN ? -54 : 0, &low);
    const double log_head = mgc_head(log_x), log_tail = log_x - log_head + low, y_head = mgc_head(finite_y);
    const double exact = log_head * y_head, rest = MGC_MADD(log_head, finite_y - y_head, log_tail * finite_y);
    const double special_log = size == 0 ? -HUGE_VAL : size < HUGE_VAL ? 0 : size;   /* nan is not < */
    const double product = special_log == 0 ? exact + rest : special_log * y;
    const double clipped = product > 720 ? 720 : product < -760 ? -760 : product;
    const double power = MGC_V(scaled_exp)(clipped, product == clipped ? exact - product + rest : 0, 0, &error);

    /* The sign: beyond 2^53 all integers are even, and below the roundings to an integer are right. */
    const double y_size = fabs(y), half = 0.5 * y_size;
    const double fraction = y_size < 0x1p52 ? y_size + 0x1p52 - 0x1p52 - y_size : 0;
    const double half_fraction = y_size < 0x1p53 ? half + 0x1p52 - 0x1p52 - half : 0;
    const double negative = size < HUGE_VAL ? NAN : 1, of_fraction = x < 0 ? negative : 1;
    const double of_integer = half_fraction != 0 ? copysign(1, x) : 1;
    return power * (fraction != 0 ? of_fraction : of_integer);
}
#endif

/* Scaled, as a square may be too large or too small for a double. */
MGC_INLINE double MGC_V(hypot)(double x, double y)
{
    const double a = fabs(x), b = fabs(y), size = a > b ? a : b;
    const double scale = size > 0x1p510 ? 0x1p-600 : size < 0x1p-450 ? 0x1p600 : 1;
    const double back = size > 0x1p510 ? 0x1p600 : size < 0x1p-450 ? 0x1p-600 : 1;
    const double f = sqrt(a * scale * (a * scale) + b * scale * (b * scale)) * back;
    return ((a == HUGE_VAL) | (b == HUGE_VAL)) ? HUGE_VAL : f;   /* even beside nan */
}

#include "program/lanes/vmath_angles.h"
