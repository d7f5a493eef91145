/* THE table: one row for each operation of one, two or three operands, with its value and its gradients.
 *
 * Columns
 *   id       names the operation: MGC_<id> in C, the lower-case name in Python
 *   op       the string that `Value._op` shows
 *   n        how many operands it takes
 *   params   which operands, when they are plain numbers, are settings of the operation (an exponent, a slope, a bound)
 *            rather than leaves of the graph; the sum of X_, Y_ and Z_
 *   value    the result, as a C expression
 *   gx gy gz what operands x, y and z receive
 *
 * Variables in scope: x, y, z are the operands; f is the result; g is the gradient that arrives at the result.
 *
 * The gradient columns use only what C and Python spell alike: + - * /, calls, and where(c, a, b) and step(x) instead of
 * comparisons. So the text of a column (`microgradc.engine.TABLE`), evaluated in Python with Values for x, y, z, f and g, builds
 * the graph of the gradient. They contain g, instead of being factors of it, so that a mask selects: an infinite g that
 * meets a closed gate gives 0, not nan, as in PyTorch.
 *
 * Formulas and conventions at ties and corners are those of PyTorch, tools/autograd/derivatives.yaml.
 */
#ifndef MGC_OPS_H
#define MGC_OPS_H

#include <math.h>

/* Helpers that the rows share. */
static inline double step(double x) { return x > 0; }
static inline double where(double condition, double x, double y) { return condition != 0 ? x : y; }
static inline double minimum(double x, double y) { return x != x ? x : y != y ? y : x < y ? x : y; }
static inline double maximum(double x, double y) { return x != x ? x : y != y ? y : x > y ? x : y; }
static inline double sigmoid(double x) { return 1 / (1 + exp(-x)); }

/* The remainder with the sign of the divisor. */
static inline double remainder_floor(double x, double y)
{
    double r = fmod(x, y);
    return r != 0 && (r < 0) != (y < 0) ? r + y : r;
}

/* floor(x / y), exact even where x / y rounds up to an integer (PyTorch, c10::div_floor_floating). */
static inline double floordiv(double x, double y)
{
    if (y == 0) return x / y;
    double r = fmod(x, y), q = (x - r) / y;
    if (r != 0 && (r < 0) != (y < 0)) q -= 1;
    if (q == 0) return copysign(0.0, x / y);
    double n = floor(q);
    return q - n > 0.5 ? n + 1 : n;
}

#define X_ 1
#define Y_ 2
#define Z_ 4

#define LN_2 0.69314718055994530942
#define SQRT_HALF 0.70710678118654752440     /* 1 / sqrt(2) */
#define TWO_OVER_SQRT_PI 1.12837916709551257390
#define NORMAL_DENSITY_0 0.39894228040143267794   /* 1 / sqrt(2 pi) */
#define BCE_EPSILON 1e-12f   /* PyTorch has a float there, in float64 too */

/*   id          op       n params value                                gx, gy, gz */
#define MGC_TABLE(ROW) \
ROW( ADD,        "+",     2, 0,    x + y,                               g, g, 0 ) \
ROW( SUB,        "-",     2, 0,    x - y,                               g, -g, 0 ) \
ROW( MUL,        "*",     2, 0,    x * y,                               g * y, g * x, 0 ) \
ROW( DIV,        "/",     2, 0,    x / y,                               g / y, -g * (f / y), 0 ) \
ROW( POW,        "**",    2, Y_,   pow(x, y),                           where(y, g * (y * pow(x, y - 1)), 0), \
                          where(x, g * (f * log(x)), where(step(-y), g * (f * log(x)), 0)), 0 ) \
ROW( FLOORDIV,   "//",    2, 0,    floordiv(x, y),                      0, 0, 0 ) \
ROW( MOD,        "%",     2, 0,    remainder_floor(x, y),               g, -g * floordiv(x, y), 0 ) \
ROW( NEG,        "-",     1, 0,    -x,                                  -g, 0, 0 ) \
ROW( ABS,        "abs",   1, 0,    fabs(x),                             g * (step(x) - step(-x)), 0, 0 ) \
ROW( EXP,        "exp",   1, 0,    exp(x),                              g * f, 0, 0 ) \
ROW( EXPM1,      "expm1", 1, 0,    expm1(x),                            g * (f + 1), 0, 0 ) \
ROW( LOG,        "log",   1, 0,    log(x),                              g / x, 0, 0 ) \
ROW( LOG1P,      "log1p", 1, 0,    log1p(x),                            g / (x + 1), 0, 0 ) \
ROW( LOG2,       "log2",  1, 0,    log2(x),                             g / (x * LN_2), 0, 0 ) \
ROW( SQRT,       "sqrt",  1, 0,    sqrt(x),                             g / (2 * f), 0, 0 ) \
ROW( SIN,        "sin",   1, 0,    sin(x),                              g * cos(x), 0, 0 ) \
ROW( COS,        "cos",   1, 0,    cos(x),                              -g * sin(x), 0, 0 ) \
ROW( TAN,        "tan",   1, 0,    tan(x),                              g * (1 + f * f), 0, 0 ) \
ROW( ASIN,       "asin",  1, 0,    asin(x),                             g / sqrt(1 - x * x), 0, 0 ) \
ROW( ACOS,       "acos",  1, 0,    acos(x),                             -g / sqrt(1 - x * x), 0, 0 ) \
ROW( ATAN,       "atan",  1, 0,    atan(x),                             g / (x * x + 1), 0, 0 ) \
ROW( SINH,       "sinh",  1, 0,    sinh(x),                             g * cosh(x), 0, 0 ) \
ROW( COSH,       "cosh",  1, 0,    cosh(x),                             g * sinh(x), 0, 0 ) \
ROW( TANH,       "tanh",  1, 0,    tanh(x),                             g * (1 - f * f), 0, 0 ) \
ROW( ASINH,      "asinh", 1, 0,    asinh(x),                            g / sqrt(x * x + 1), 0, 0 ) \
ROW( ACOSH,      "acosh", 1, 0,    acosh(x),                            g / sqrt(x * x - 1), 0, 0 ) \
ROW( ATANH,      "atanh", 1, 0,    atanh(x),                            g / (1 - x * x), 0, 0 ) \
ROW( ERF,        "erf",   1, 0,    erf(x),                              g * (TWO_OVER_SQRT_PI * exp(-x * x)), 0, 0 ) \
ROW( SIGMOID,    "sigmoid", 1, 0,  sigmoid(x),                          g * (f * (1 - f)), 0, 0 ) \
ROW( RELU,       "ReLU",  1, 0,    x < 0 ? 0 : x,                       where(step(f), g, 0), 0, 0 ) \
ROW( LEAKY_RELU, "leaky_relu", 2, Y_, x > 0 ? x : x * y,                where(step(x), g, g * y), \
                          where(step(x), 0, g * x), 0 ) \
ROW( ELU,        "elu",   2, Y_,   x > 0 ? x : y * expm1(x),            where(step(x), g, g * (y * exp(minimum(x, 0)))), \
                          where(step(x), 0, g * expm1(minimum(x, 0))), 0 ) \
ROW( GELU,       "gelu",  1, 0,    x * (0.5 * (1 + erf(x * SQRT_HALF))), \
                          g * (0.5 * (1 + erf(x * SQRT_HALF)) + x * (NORMAL_DENSITY_0 * exp(-0.5 * x * x))), 0, 0 ) \
ROW( SILU,       "silu",  1, 0,    x / (1 + exp(-x)),                   g * (sigmoid(x) * (1 + x * (1 - sigmoid(x)))), 0, 0 ) \
ROW( SOFTPLUS,   "softplus", 1, 0, maximum(x, 0) + log1p(exp(-fabs(x))), g * sigmoid(x), 0, 0 ) \
ROW( STEP,       "step",  1, 0,    step(x),                             0, 0, 0 ) \
ROW( ATAN2,      "atan2", 2, 0,    atan2(x, y),                         where(x * x + y * y, g * y / (x * x + y * y), 0), \
                          where(x * x + y * y, -g * x / (x * x + y * y), 0), 0 ) \
ROW( HYPOT,      "hypot", 2, 0,    hypot(x, y),                         g * (x / f), g * (y / f), 0 ) \
ROW( MINIMUM,    "minimum", 2, 0,  minimum(x, y),                       where(step(y - x), g, where(step(x - y), 0, g / 2)), \
                          where(step(x - y), g, where(step(y - x), 0, g / 2)), 0 ) \
ROW( MAXIMUM,    "maximum", 2, 0,  maximum(x, y),                       where(step(x - y), g, where(step(y - x), 0, g / 2)), \
                          where(step(y - x), g, where(step(x - y), 0, g / 2)), 0 ) \
ROW( LESS,       "<",     2, 0,    x < y,                               0, 0, 0 ) \
ROW( LESS_EQUAL, "<=",    2, 0,    x <= y,                              0, 0, 0 ) \
ROW( BCE,        "bce",   2, 0,    (y - 1) * maximum(log1p(-x), -100) - y * maximum(log(x), -100), \
                          g * ((x - y) / maximum((1 - x) * x, BCE_EPSILON)), g * (log1p(-x) - log(x)), 0 ) \
ROW( WHERE,      "where", 3, X_,   where(x, y, z),                      0, where(x, g, 0), where(x, 0, g) ) \
ROW( CLIP,       "clip",  3, Y_ + Z_, minimum(maximum(x, y), z),        where(step(y - x), 0, where(step(x - z), 0, g)), \
                          where(step(z - y), where(step(y - x), g, 0), 0), \
                          where(step(x - z), g, where(step(y - z), g, 0)) )

/* 0 is a leaf; then the rows of the table; then the operations of any number of operands (wide.h). */
enum {
    MGC_LEAF,
#define ROW(id, op, n, params, value, gx, gy, gz) MGC_##id,
    MGC_TABLE(ROW)
#undef ROW
    MGC_TABLE_END,
};

typedef struct {
    const char *name, *op;
    int operands, params;
    const char *value, *gx, *gy, *gz;
} mgc_row;

static const mgc_row mgc_rows[] = {
    {"LEAF", "", 0, 0, "", "", "", ""},
#define ROW(id, op, n, params, value, gx, gy, gz) {#id, op, n, params, #value, #gx, #gy, #gz},
    MGC_TABLE(ROW)
#undef ROW
};

/* The value of a row of the table. */
static inline double mgc_value(int id, double x, double y, double z)
{
    (void)y, (void)z;
    switch (id) {
#define ROW(id, op, n, params, value, gx, gy, gz) case MGC_##id: return value;
        MGC_TABLE(ROW)
#undef ROW
    default: return x;
    }
}

#endif
