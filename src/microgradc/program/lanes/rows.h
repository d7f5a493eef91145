/* The rows of ops.h as loops over lanes, for one level of lanes.h, with the functions of vmath.h; what it does not
 * have is the C library's, lane by lane.
 */
#include "program/lanes/vmath.h"
#define exp MGC_V(exp)
#define expm1 MGC_V(expm1)
#define log MGC_V(log)
#define log1p MGC_V(log1p)
#define log2 MGC_V(log2)
#define pow MGC_V(pow)
#define asin MGC_V(asin)
#define acos MGC_V(acos)
#define atan MGC_V(atan)
#define atan2 MGC_V(atan2)
#define sinh MGC_V(sinh)
#define cosh MGC_V(cosh)
#define tanh MGC_V(tanh)
#define asinh MGC_V(asinh)
#define acosh MGC_V(acosh)
#define atanh MGC_V(atanh)
#define erf MGC_V(erf)
#define sigmoid MGC_V(sigmoid)
#define hypot MGC_V(hypot)
#define sin(x) (beyond ? MGC_V(far_sin)(x) : MGC_V(sin)(x))
#define cos(x) (beyond ? MGC_V(far_cos)(x) : MGC_V(cos)(x))
#define tan(x) (beyond ? MGC_V(far_tan)(x) : MGC_V(tan)(x))

/* A statement for each lane l. Rows with sin, cos or tan have a second loop, for when some angle is far beyond what
   the first takes: not vectorised, but with the same values for the others. */
#define HAS_ANGLE(id) (MGC_##id == MGC_SIN || MGC_##id == MGC_COS || MGC_##id == MGC_TAN)
#define FOR_EACH_LANE(id, ...) \
    if (HAS_ANGLE(id) && MGC_V(any_far)(x_, n)) { \
        enum { beyond = 1 }; \
        for (Py_ssize_t l = 0; l < n; l++) { __VA_ARGS__ } \
    } else { \
        enum { beyond = 0 }; \
        MGC_EACH_LANE \
        for (Py_ssize_t l = 0; l < n; l++) { __VA_ARGS__ } \
    }

#define LOAD_1 const double x = x_[l];
#define LOAD_2 LOAD_1 const double y = y_[l];
#define LOAD_3 LOAD_2 const double z = z_[l];
#define IGNORE_1 (void)x, (void)y_, (void)z_;
#define IGNORE_2 (void)x, (void)y, (void)z_;
#define IGNORE_3 (void)x, (void)y, (void)z;
#define ADD_GRADIENTS_1(id, operands, gx, gy, gz) ADD_GRADIENT(id, operands, gx_, gx)
#define ADD_GRADIENTS_2(id, operands, gx, gy, gz) \
    ADD_GRADIENTS_1(id, operands, gx, gy, gz) ADD_GRADIENT(id, operands, gy_, gy)
#define ADD_GRADIENTS_3(id, operands, gx, gy, gz) \
    ADD_GRADIENTS_2(id, operands, gx, gy, gz) ADD_GRADIENT(id, operands, gz_, gz)
#define ADD_GRADIENT(id, operands, to_, gradient) \
    if (to_) { \
        double *to = MGC_ALIGNED(to_); \
        FOR_EACH_LANE(id, \
            LOAD_##operands IGNORE_##operands \
            const double f = f_[l]; \
            const double g = g_[l]; \
            (void)f, (void)g; \
            to[l] += gradient; \
        ) \
    }
#define ROW(id, op, operands, params, value, gx, gy, gz) \
static void MGC_V(forward_##id)(const double *x_, const double *y_, const double *z_, double *f_, Py_ssize_t n) \
{ \
    n -= n % MGC_LANE_MULTIPLE;   /* tells the compiler that there are no lanes left over */ \
    x_ = MGC_ALIGNED(x_), y_ = MGC_ALIGNED(y_), z_ = MGC_ALIGNED(z_), f_ = MGC_ALIGNED(f_); \
    FOR_EACH_LANE(id, \
        LOAD_##operands IGNORE_##operands \
        f_[l] = value; \
    ) \
} \
static void MGC_V(backward_##id)(const double *x_, const double *y_, const double *z_, const double *f_, \
                                 const double *g_, double *gx_, double *gy_, double *gz_, Py_ssize_t n) \
{ \
    n -= n % MGC_LANE_MULTIPLE; \
    x_ = MGC_ALIGNED(x_), y_ = MGC_ALIGNED(y_), z_ = MGC_ALIGNED(z_), f_ = MGC_ALIGNED(f_), g_ = MGC_ALIGNED(g_); \
    (void)gx_, (void)gy_, (void)gz_; \
    ADD_GRADIENTS_##operands(id, operands, gx, gy, gz) \
}
MGC_TABLE(ROW)
#undef ROW
#undef exp
#undef expm1
#undef log
#undef log1p
#undef log2
#undef pow
#undef asin
#undef acos
#undef atan
#undef atan2
#undef sinh
#undef cosh
#undef tanh
#undef asinh
#undef acosh
#undef atanh
#undef erf
#undef sigmoid
#undef hypot
#undef sin
#undef cos
#undef tan
#undef HAS_ANGLE
#undef FOR_EACH_LANE
#undef LOAD_1
#undef LOAD_2
#undef LOAD_3
#undef IGNORE_1
#undef IGNORE_2
#undef IGNORE_3
#undef ADD_GRADIENT
#undef ADD_GRADIENTS_1
#undef ADD_GRADIENTS_2
#undef ADD_GRADIENTS_3
