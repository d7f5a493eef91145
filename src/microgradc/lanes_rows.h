/* The rows of ops.h as loops over lanes, for one level of lanes.h. */

/* The functions of vmath.h; what it does not have is the C library's, lane by lane. */
#include "vmath.h"
#define exp MGC_V(exp)
#define expm1 MGC_V(expm1)
#define log MGC_V(log)
#define log1p MGC_V(log1p)
#define tanh MGC_V(tanh)
#define sigmoid MGC_V(sigmoid)
#define erf MGC_V(erf)

#define LOAD_1 const double x = x_[l];
#define LOAD_2 LOAD_1 const double y = y_[l];
#define LOAD_3 LOAD_2 const double z = z_[l];
#define IGNORE_1 (void)x, (void)y_, (void)z_;
#define IGNORE_2 (void)x, (void)y, (void)z_;
#define IGNORE_3 (void)x, (void)y, (void)z;
#define ADD_GRADIENTS_1(operands, gx, gy, gz) ADD_GRADIENT(operands, gx_, gx)
#define ADD_GRADIENTS_2(operands, gx, gy, gz) ADD_GRADIENTS_1(operands, gx, gy, gz) ADD_GRADIENT(operands, gy_, gy)
#define ADD_GRADIENTS_3(operands, gx, gy, gz) ADD_GRADIENTS_2(operands, gx, gy, gz) ADD_GRADIENT(operands, gz_, gz)
#define ADD_GRADIENT(operands, to_, gradient) \
    if (to_) { \
        double *to = MGC_ALIGNED(to_); \
        MGC_EACH_LANE \
        for (Py_ssize_t l = 0; l < n; l++) { \
            LOAD_##operands IGNORE_##operands \
            const double f = f_[l], g = g_[l]; \
            (void)f, (void)g; \
            to[l] += gradient; \
        } \
    }
#define ROW(id, op, operands, params, value, gx, gy, gz) \
static void MGC_V(forward_##id)(const double *x_, const double *y_, const double *z_, double *f_, Py_ssize_t n) \
{ \
    n -= n % MGC_LANE_MULTIPLE;   /* tells the compiler that there are no lanes left over */ \
    x_ = MGC_ALIGNED(x_), y_ = MGC_ALIGNED(y_), z_ = MGC_ALIGNED(z_), f_ = MGC_ALIGNED(f_); \
    MGC_EACH_LANE \
    for (Py_ssize_t l = 0; l < n; l++) { \
        LOAD_##operands IGNORE_##operands \
        f_[l] = value; \
    } \
} \
static void MGC_V(backward_##id)(const double *x_, const double *y_, const double *z_, const double *f_, const double *g_, \
                                 double *gx_, double *gy_, double *gz_, Py_ssize_t n) \
{ \
    n -= n % MGC_LANE_MULTIPLE; \
    x_ = MGC_ALIGNED(x_), y_ = MGC_ALIGNED(y_), z_ = MGC_ALIGNED(z_), f_ = MGC_ALIGNED(f_), g_ = MGC_ALIGNED(g_); \
    (void)gx_, (void)gy_, (void)gz_; \
    ADD_GRADIENTS_##operands(operands, gx, gy, gz) \
}
MGC_TABLE(ROW)
#undef ROW
#undef exp
#undef expm1
#undef log
#undef log1p
#undef tanh
#undef sigmoid
#undef erf
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
