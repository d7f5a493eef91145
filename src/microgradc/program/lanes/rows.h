/* The rows of ops.h as loops over lanes, for one level of lanes.h, with the functions of vmath.h; what it does not
 * have is the C library's, lane by lane. The names that it gives them hold to the end of the level.
 */
#define exp(x) NEAR_OR_ANY(exp, x)
#define expm1 MGC_V(expm1)
#define log(x) NEAR_OR_ANY(log, x)
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
#define sigmoid(x) NEAR_OR_ANY(sigmoid, x)
#define hypot MGC_V(hypot)
#define sin(x) NEAR_OR_ANY(sin, x)
#define cos(x) NEAR_OR_ANY(cos, x)
#define tan(x) NEAR_OR_ANY(tan, x)
#define NEAR_OR_ANY(name, x) \
    (arguments == MGC_LOOKED_AT ? MGC_V(near_##name)(MGC_V(look_at_##name)(x, &any_far)) \
     : arguments == MGC_SOME_FAR ? MGC_V(name)(x) \
     : arguments == MGC_KEPT ? kept : MGC_V(near_##name)(x))

/* For each lane l: to[l] gets an expression, after what declares its variables. It is first computed for nothing but a
   look at what functions with a near form are taken of; all that compilers leave of this loop is the search for an
   argument that is far, and where there are no such functions, nothing. */
#define FOR_EACH_LANE(to_get, expression, ...) { \
    uint64_t any_far = 0; \
    { \
        enum { arguments = MGC_LOOKED_AT, kept = 0 }; \
        for (Py_ssize_t l = 0; l < n; l++) { __VA_ARGS__ (void)(expression); } \
    } \
    if (any_far) { \
        enum { arguments = MGC_SOME_FAR, kept = 0 }; \
        MGC_EACH_LANE \
        for (Py_ssize_t l = 0; l < n; l++) { __VA_ARGS__ to_get expression; } \
    } else { \
        enum { arguments = MGC_ALL_NEAR, kept = 0 }; \
        MGC_EACH_LANE \
        for (Py_ssize_t l = 0; l < n; l++) { __VA_ARGS__ to_get expression; } \
    } \
}

#define LOAD_1 const double x = x_[l];
#define LOAD_2 LOAD_1 const double y = y_[l];
#define LOAD_3 LOAD_2 const double z = z_[l];
#define IGNORE_1 (void)x, (void)y_, (void)z_;
#define IGNORE_2 (void)x, (void)y, (void)z_;
#define IGNORE_3 (void)x, (void)y, (void)z;
#define ADD_GRADIENTS_1(operands, gx, gy, gz) ADD_GRADIENT(operands, gx_, 0, gx)
#define ADD_GRADIENTS_2(operands, gx, gy, gz) ADD_GRADIENTS_1(operands, gx, gy, gz) ADD_GRADIENT(operands, gy_, 1, gy)
#define ADD_GRADIENTS_3(operands, gx, gy, gz) ADD_GRADIENTS_2(operands, gx, gy, gz) ADD_GRADIENT(operands, gz_, 2, gz)
#define ADD_GRADIENT(operands, to, which, gradient) \
    if (to) { \
        const double *had = receives & MGC_X_FIRST << which ? nothing : to; \
        FOR_EACH_LANE(to[l] = had[l] +, (gradient), \
            LOAD_##operands IGNORE_##operands \
            const double f = f_[l]; \
            const double g = g_[l]; \
            (void)f, (void)g; \
        ) \
    }

/* Whether a row's gradient reads sin or cos of the same x as its value does: that is kept where y would be. */
#define IS_KEPT(op) ((op) == MGC_SIN || (op) == MGC_COS)

/* x * y back, for both in one loop: the row in which most programs spend their time. What they receive is one array, to
   which x's part is added first, as by two loops; or arrays that have nothing in common. */
static void MGC_V(product_back)(const double *x, const double *y, const double *g, double *gx, double *gy,
                                const double *nothing, int receives, Py_ssize_t n)
{
    const double *had_x = receives & MGC_X_FIRST ? nothing : gx, *had_y = receives & MGC_X_FIRST << 1 ? nothing : gy;
    if (gx == gy) {
        MGC_EACH_LANE
        for (Py_ssize_t l = 0; l < n; l++) gx[l] = (had_x[l] + g[l] * y[l]) + g[l] * x[l];
        return;
    }
    MGC_EACH_LANE
    for (Py_ssize_t l = 0; l < n; l++) {
        const double to_x = had_x[l] + g[l] * y[l], to_y = had_y[l] + g[l] * x[l];
        gx[l] = to_x;
        gy[l] = to_y;
    }
}

#define ROW(id, op, operands, params, value, gx, gy, gz, doc) \
static void MGC_V(forward_##id)(const double *x_, const double *y_, const double *z_, double *f_, Py_ssize_t n) \
{ \
    n -= n % MGC_LANE_MULTIPLE;   /* tells the compiler that there are no lanes left over */ \
    FOR_EACH_LANE(f_[l] =, value, LOAD_##operands IGNORE_##operands) \
} \
static void MGC_V(backward_##id)(const double *x_, const double *y_, const double *z_, const double *f_, \
                                 const double *g_, double *gx_, double *gy_, double *gz_, const double *nothing, \
                                 int receives, Py_ssize_t n) \
{ \
    n -= n % MGC_LANE_MULTIPLE; \
    (void)gx_, (void)gy_, (void)gz_, (void)nothing, (void)receives; \
    if (MGC_##id == MGC_MUL && gx_ && gy_ && (gx_ == gy_ || gx_ + n <= gy_ || gy_ + n <= gx_)) { \
        MGC_V(product_back)(x_, y_, g_, gx_, gy_, nothing, receives, n); \
        return; \
    } \
    if (IS_KEPT(MGC_##id) && receives & MGC_KEEPS_OTHER) { \
        enum { arguments = MGC_KEPT }; \
        const double *had = receives & MGC_X_FIRST ? nothing : gx_; \
        uint64_t any_far = 0; \
        MGC_EACH_LANE \
        for (Py_ssize_t l = 0; l < n; l++) { \
            LOAD_##operands IGNORE_##operands \
            const double f = f_[l], g = g_[l], kept = y_[l]; \
            (void)f, (void)g, (void)kept, (void)any_far; \
            gx_[l] = had[l] + (gx); \
        } \
        return; \
    } \
    ADD_GRADIENTS_##operands(operands, gx, gy, gz) \
}
MGC_TABLE(ROW)
#undef ROW

/* sin(x) and cos(x), with the bits that each has alone. */
static void MGC_V(both_of_angles)(const double *x_, double *sin_, double *cos_, Py_ssize_t n)
{
    uint64_t any_far = 0;
    n -= n % MGC_LANE_MULTIPLE;
    for (Py_ssize_t l = 0; l < n; l++) (void)MGC_V(look_at_sin)(x_[l], &any_far);
    if (any_far) {
        for (Py_ssize_t l = 0; l < n; l++) MGC_V(sin_and_cos)(x_[l], sin_ + l, cos_ + l);
        return;
    }
    MGC_EACH_LANE
    for (Py_ssize_t l = 0; l < n; l++) {
        const double x = x_[l];
        sin_[l] = MGC_V(near_sin)(x);
        cos_[l] = MGC_V(near_cos)(x);
    }
}
#undef FOR_EACH_LANE
#undef ADD_GRADIENT
#undef ADD_GRADIENTS_1
#undef ADD_GRADIENTS_2
#undef ADD_GRADIENTS_3
