/* Trigonometric functions and their inverses: the rest of vmath.h, which includes this text for each level. */
#ifndef MGC_VMATH_ANGLES_CONSTANTS
#define MGC_VMATH_ANGLES_CONSTANTS

#define MGC_2_PI 0.6366197723675814
#define MGC_PI 3.141592653589793
#define MGC_HALF_PI 1.5707963267948966
#define MGC_PI_LOW 3.8981718325193755e-17   /* the error of MGC_PI and of MGC_HALF_PI, relative to them */

/* Up to here the near forms of sin, cos and tan are right. Beyond, the reduction of the argument needs pi to a thousand
   bits: libm's have that. */
#define MGC_ANGLE_BOUND 0x1p20

/* pi / 2 in four parts: those of 33 bits give exact products with integers below 2^20. In three, where multiply-adds
   are fused: what is left after the first one is exact, the second one has 33 bits. */
#define MGC_HALF_PI_1 0x1.921fb544p+0
#define MGC_HALF_PI_2 0x1.0b4611a6p-34
#define MGC_HALF_PI_3 0x1.3198a2ep-69
#define MGC_HALF_PI_4 0x1.b839a252049c1p-104
#define MGC_HALF_PI_FUSED_2 0x1.1a626331p-54
#define MGC_HALF_PI_FUSED_3 0x1.1701b839a252p-88

/* (sin(r) / r - 1) / r^2 at z = r^2, |r| <= pi / 4; error 2^-58 */
static const double mgc_sin_p[] = {
    -0.16666666666666632, 0.008333333333322413, -0.00019841269829807607, 2.7557313691785998e-06,
    -2.5050758089444965e-08,
    1.5896793982890154e-10,
};

/* (cos(r) - 1 + z / 2) / z^2; error 2^-64 */
static const double mgc_cos_p[] = {
    0.0416666666666666, -0.0013888888888874123, 2.4801587289481524e-05, -2.755731435237821e-07, 2.0875723304834998e-09,
    -1.1359650351210917e-11,
};

/* (tan(r) / r - 1) / z; error 2^-59.8 */
static const double mgc_tan_p[] = {
    0.3333333333333338, 0.13333333333325012, 0.053968253973059654, 0.021869488395593904, 0.008863237974343862,
    0.003592100417546715, 0.0014560483300137834, 0.0005888529791534492, 0.0002437852324800775, 8.348817488135705e-05,
    6.732291892826514e-05, -2.5728952954078497e-05, 4.8690019128757175e-05, -2.428896926387046e-05,
    9.799938600150766e-06,
};

/* (atan(t) / t - 1) / z at z = t^2, 0 <= t <= 1; error 2^-57.7 */
static const double mgc_atan_p[] = {
    -0.33333333333333093, 0.19999999999955448, -0.14285714282802844, 0.11111111013667858, -0.09090907119533038,
    0.07692281189708601, -0.06666415019371576, 0.05880592673498348, -0.052538060411746836, 0.04723294893695484,
    -0.04221721522836827, 0.036693595926570066, -0.029985668281028763, 0.022085259002482132, -0.013995080711707493,
    0.007263420787170216, -0.0029193736430490943, 0.0008434957673739057, -0.0001547994931394809, 1.3489528040079205e-05,
};

/* (asin(t) / t - 1) / z, 0 <= t <= 1 / 2; error 2^-59.8 */
static const double mgc_asin_p[] = {
    0.16666666666666763, 0.07499999999970265, 0.04464285717511766, 0.030381942683756376, 0.02237221565657637,
    0.017351600156937156, 0.013980960678877422, 0.011397782325659396, 0.010786493115545507, 0.003683180142961295,
    0.02176315559184997, -0.02107679400604281, 0.03267656997191695,
};

#endif

/* n & 1 ? x : y */
MGC_INLINE double MGC_V(if_odd)(uint64_t n, double x, double y)
{
#if MGC_WIDTH < 4
    const uint64_t mask = -(n & 1);
    return mgc_from_bits((mgc_bits(x) & mask) | (mgc_bits(y) & ~mask));
#else
    return (int64_t)(n << 63) < 0 ? x : y;      /* which looks at the sign alone */
#endif
}

/* x = n pi / 2 + r + low, |r| <= pi / 4, by Cody and Waite's method; returns r, and n as the bits of n + MGC_ROUND.
   Where parts cancel, their difference is exact. */
MGC_INLINE double MGC_V(reduce_angle)(double x, double *low, uint64_t *bits)
{
    const double rounded = MGC_MADD(x, MGC_2_PI, MGC_ROUND), n = rounded - MGC_ROUND;
    const int is_fused = MGC_MADD(1 + 0x1p-30, 1 - 0x1p-30, -1.0) != 0;
    double r, rest;
    if (is_fused) {
        const double r_1 = MGC_MADD(n, -MGC_HALF_PI, x);
        r = MGC_MADD(n, -MGC_HALF_PI_FUSED_2, r_1);
        rest = MGC_MADD(n, -MGC_HALF_PI_FUSED_3, MGC_MADD(n, -MGC_HALF_PI_FUSED_2, r_1 - r));
    } else {
        const double r_1 = MGC_MADD(n, -MGC_HALF_PI_1, x), r_2 = MGC_MADD(n, -MGC_HALF_PI_2, r_1);
        r = MGC_MADD(n, -MGC_HALF_PI_3, r_2);
        rest = MGC_MADD(n, -MGC_HALF_PI_2, r_1 - r_2) + MGC_MADD(n, -MGC_HALF_PI_3, r_2 - r);
        rest = MGC_MADD(n, -MGC_HALF_PI_4, rest);
    }
    const double sum = r + rest;
    *bits = mgc_bits(rounded);
    *low = r - sum + rest;
    return sum;
}

/* sin(x + quarters pi / 2) */
MGC_INLINE double MGC_V(sin_after)(double x, uint64_t quarters)
{
    uint64_t n;
    double low;
    const double r = MGC_V(reduce_angle)(x, &low, &n), z = r * r;
    const double sin_r = r + MGC_MADD(r * z, MGC_POLY(mgc_sin_p, z), low);
    const double cos_r = 1 + MGC_MADD(z, MGC_MADD(z, MGC_POLY(mgc_cos_p, z), -0.5), -r * low);
    n += quarters;
    return mgc_from_bits(mgc_bits(MGC_V(if_odd)(n, cos_r, sin_r)) ^ (n & 2) << 62);
}

MGC_INLINE double MGC_V(near_sin)(double x) { return x == 0 ? x : MGC_V(sin_after)(x, 0); }     /* -0 stays */
MGC_INLINE double MGC_V(near_cos)(double x) { return MGC_V(sin_after)(x, 1); }

/* tan(r), or after an odd number of quarters -1 / tan(r), by Newton's step from the rounded one. */
MGC_INLINE double MGC_V(near_tan)(double x)
{
    uint64_t n;
    double low;
    const double r = MGC_V(reduce_angle)(x, &low, &n), z = r * r;
    const double tail = MGC_MADD(r * z, MGC_POLY(mgc_tan_p, z), MGC_MADD(low, z, low));
    const double y = r + tail, error = tail - (y - r);
    const double inverse = -1 / y;
    return fabs(x) < 0x1p-27 ? x : MGC_V(if_odd)(n, MGC_MADD(inverse * inverse, error, inverse), y);
}

/* A loop that calls these is not vectorised, but no lane's value depends on another. nan is not far. */
LOOK_AT(sin, fabs(x) > MGC_ANGLE_BOUND)
LOOK_AT(cos, fabs(x) > MGC_ANGLE_BOUND)
LOOK_AT(tan, fabs(x) > MGC_ANGLE_BOUND)
MGC_INLINE double MGC_V(sin)(double x) { return fabs(x) > MGC_ANGLE_BOUND ? sin(x) : MGC_V(near_sin)(x); }
MGC_INLINE double MGC_V(cos)(double x) { return fabs(x) > MGC_ANGLE_BOUND ? cos(x) : MGC_V(near_cos)(x); }
MGC_INLINE double MGC_V(tan)(double x) { return fabs(x) > MGC_ANGLE_BOUND ? tan(x) : MGC_V(near_tan)(x); }

/* sin(x) and cos(x), by one reduction: compilers find what the two have in common. */
MGC_INLINE void MGC_V(sin_and_cos)(double x, double *sin_x, double *cos_x)
{
    if (fabs(x) > MGC_ANGLE_BOUND) *sin_x = sin(x), *cos_x = cos(x);
    else *sin_x = MGC_V(near_sin)(x), *cos_x = MGC_V(near_cos)(x);
}

/* base + t + tail, where base is 0 or pi / 2 or pi, and not smaller than t unless it is 0. */
MGC_INLINE double MGC_V(angle)(double base, double t, double tail)
{
    const double sum = base + t;
    return sum + (base - sum + t + MGC_MADD(base, MGC_PI_LOW, tail));
}

/* base + atan(t), |t| <= 1. The signs alternate: the even and the odd powers of the first terms would cancel near 1. */
MGC_INLINE double MGC_V(atan_after)(double base, double t)
{
    const double z = t * t;
    double p = MGC_V(poly)(mgc_atan_p + 12, MGC_TERMS(mgc_atan_p) - 12, z);
    MGC_UNROLLED
    for (int i = 11; i >= 0; i--) p = MGC_MADD(p, z, mgc_atan_p[i]);
    return MGC_V(angle)(base, t, t * z * p);
}

/* atan(|x|) = pi / 2 - atan(1 / |x|) from 1 on */
MGC_INLINE double MGC_V(atan)(double x)
{
    const double size = fabs(x);
    return copysign(MGC_V(atan_after)(size > 1 ? MGC_HALF_PI : 0, size > 1 ? -1 / size : size), x);
}

MGC_INLINE double MGC_V(atan2)(double y, double x)
{
    const double a = fabs(y), b = fabs(x), above = a > b ? b : a, below = a > b ? a : b, sign = copysign(1, x);
    const double of_equal = a == 0 ? 0 : 1, t = a == b ? of_equal : above / below;   /* 0 / 0, inf / inf */
    const double base = sign < 0 ? MGC_PI : 0;
    return copysign(MGC_V(atan_after)(a > b ? MGC_HALF_PI : base, a > b ? -sign * t : sign * t), y);
}

/* asin(t) = pi / 2 - 2 asin(sqrt((1 - t) / 2)) from 1 / 2 on */
MGC_INLINE double MGC_V(asin)(double x)
{
    const double size = fabs(x), z = size > 0.5 ? (1 - size) * 0.5 : size * size, t = size > 0.5 ? -2 * sqrt(z) : size;
    return copysign(MGC_V(angle)(size > 0.5 ? MGC_HALF_PI : 0, t, t * z * MGC_POLY(mgc_asin_p, z)), x);
}

/* pi / 2 - asin(x), without cancellation */
MGC_INLINE double MGC_V(acos)(double x)
{
    const double size = fabs(x), z = size > 0.5 ? (1 - size) * 0.5 : size * size, root = 2 * sqrt(z);
    const double t = size > 0.5 ? copysign(root, x) : -x, base = x < 0 ? MGC_PI : 0;
    return MGC_V(angle)(size > 0.5 ? base : MGC_HALF_PI, t, t * z * MGC_POLY(mgc_asin_p, z));
}
