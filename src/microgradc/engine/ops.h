/* THE table: one row for each operation of one, two or three operands, with its value and its gradients.
 *
 * Columns
 *   id       names the operation: MGC_<id> in C, the lower-case name in Python. A row of one operand becomes a method
 *            of Value and a function (methods.h, functions.h), but for NEG and ABS
 *   op       the string that `Value._op` shows
 *   n        how many operands it takes
 *   params   which operands, when they are plain numbers, are settings of the operation (an exponent, a slope, a bound)
 *            rather than leaves of the graph; the sum of X_, Y_ and Z_
 *   value    the result, as a C expression
 *   gx gy gz what operands x, y and z receive
 *   doc      the documentation, with the operands' names in Python: what it returns and in which ranges, the
 *            derivative, the source of a formula
 *
 * Variables in scope: x, y, z are the operands; f is the result; g is the gradient that arrives at the result.
 *
 * The gradient columns use only what C and Python spell alike: + - * /, calls, and where(c, a, b) and step(x) instead
 * of comparisons. So the text of a column (`microgradc.engine.TABLE`), evaluated in Python with Values for x, y, z, f
 * and g, builds the graph of the gradient. They contain g, instead of being factors of it, so that a mask selects: an
 * infinite g that meets a closed gate gives 0, not nan, as in PyTorch.
 *
 * Formulas and conventions at ties and corners are those of PyTorch, tools/autograd/derivatives.yaml.
 */
#ifndef MGC_OPS_H
#define MGC_OPS_H

#include <math.h>

#include "engine/special.h"

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
#define LN_10 2.30258509299404568402
#define SELU_SCALE 1.0507009873554804934
#define SELU_SCALE_ALPHA 1.7580993408473768   /* SELU_SCALE * 1.6732632423543772848 */
#define NORMAL_DENSITY_0 0.39894228040143267794   /* 1 / sqrt(2 pi) */
#define BCE_EPSILON 1e-12f   /* PyTorch has a float there, in float64 too */

/*   id          op       n params value                                gx, gy, gz, doc */
#define MGC_TABLE(ROW) \
ROW( ADD,        "+",     2, 0,    x + y,                               g, g, 0, \
     "Return x + y. d/dx = 1, d/dy = 1." ) \
ROW( SUB,        "-",     2, 0,    x - y,                               g, -g, 0, \
     "Return x - y. d/dx = 1, d/dy = -1." ) \
ROW( MUL,        "*",     2, 0,    x * y,                               g * y, g * x, 0, \
     "Return x * y. d/dx = y, d/dy = x." ) \
ROW( DIV,        "/",     2, 0,    x / y,                               g / y, -g * (f / y), 0, \
     "Return x / y; as IEEE 754 has it where y is 0. d/dx = 1 / y, d/dy = -x / y**2." ) \
ROW( POW,        "**",    2, Y_,   pow(x, y),                           where(y, g * (y * pow(x, y - 1)), 0), \
                          where(x, g * (f * log(x)), where(minimum(y, 0), g * (f * log(x)), 0)), 0, \
     "Return x ** y; nan where x is negative and y is not an integer. d/dx = y x**(y - 1), d/dy = x**y log(x)." ) \
ROW( FLOORDIV,   "//",    2, 0,    floordiv(x, y),                      0, 0, 0, \
     "Return the largest integer that is at most x / y. d/dx = d/dy = 0." ) \
ROW( MOD,        "%",     2, 0,    remainder_floor(x, y),               g, -g * floordiv(x, y), 0, \
     "Return x - y * (x // y), the remainder with the sign of y; nan where y is 0. d/dx = 1, d/dy = -(x // y)." ) \
ROW( NEG,        "-",     1, 0,    -x,                                  -g, 0, 0, \
     "Return -x. d/dx = -1." ) \
ROW( ABS,        "abs",   1, 0,    fabs(x),                             g * (step(x) - step(-x)), 0, 0, \
     "Return x without its sign. d/dx = 1 for x > 0, -1 for x < 0, 0 at 0." ) \
ROW( EXP,        "exp",   1, 0,    exp(x),                              g * f, 0, 0, \
     "Return e ** x. d/dx = exp(x)." ) \
ROW( EXPM1,      "expm1", 1, 0,    expm1(x),                            g * (f + 1), 0, 0, \
     "Return e ** x - 1, exact for small x. d/dx = exp(x)." ) \
ROW( LOG,        "log",   1, 0,    log(x),                              g / x, 0, 0, \
     "Return the natural logarithm of x; -inf at 0, nan below. d/dx = 1 / x." ) \
ROW( LOG1P,      "log1p", 1, 0,    log1p(x),                            g / (x + 1), 0, 0, \
     "Return log(1 + x), exact for small x; -inf at -1, nan below. d/dx = 1 / (1 + x)." ) \
ROW( LOG2,       "log2",  1, 0,    log2(x),                             g / (x * LN_2), 0, 0, \
     "Return the logarithm of x to base 2; -inf at 0, nan below. d/dx = 1 / (x log 2)." ) \
ROW( LOG10,      "log10", 1, 0,    log10(x),                            g / (x * LN_10), 0, 0, \
     "Return the logarithm of x to base 10; -inf at 0, nan below. d/dx = 1 / (x log 10)." ) \
ROW( EXP2,       "exp2",  1, 0,    exp2(x),                             g * (f * LN_2), 0, 0, \
     "Return 2 ** x. d/dx = 2**x log(2)." ) \
ROW( SQRT,       "sqrt",  1, 0,    sqrt(x),                             g / (2 * f), 0, 0, \
     "Return the square root of x; nan below 0. d/dx = 1 / (2 sqrt(x))." ) \
ROW( CBRT,       "cbrt",  1, 0,    cbrt(x),                             g / (3 * (f * f)), 0, 0, \
     "Return the cube root of x, that of -x with the sign changed. d/dx = 1 / (3 cbrt(x)**2), inf at 0." ) \
ROW( SQUARE,     "square", 1, 0,   x * x,                               g * (2 * x), 0, 0, \
     "Return x * x. d/dx = 2 x." ) \
ROW( SIN,        "sin",   1, 0,    sin(x),                              g * cos(x), 0, 0, \
     "Return the sine of x, in radians. d/dx = cos(x)." ) \
ROW( COS,        "cos",   1, 0,    cos(x),                              -g * sin(x), 0, 0, \
     "Return the cosine of x, in radians. d/dx = -sin(x)." ) \
ROW( TAN,        "tan",   1, 0,    tan(x),                              g * (1 + f * f), 0, 0, \
     "Return the tangent of x, in radians. d/dx = 1 + tan(x)**2." ) \
ROW( ASIN,       "asin",  1, 0,    asin(x),                             g / sqrt(1 - x * x), 0, 0, \
     "Return the arc sine of x, in radians; nan outside [-1, 1]. d/dx = 1 / sqrt(1 - x**2)." ) \
ROW( ACOS,       "acos",  1, 0,    acos(x),                             -g / sqrt(1 - x * x), 0, 0, \
     "Return the arc cosine of x, in radians; nan outside [-1, 1]. d/dx = -1 / sqrt(1 - x**2)." ) \
ROW( ATAN,       "atan",  1, 0,    atan(x),                             g / (x * x + 1), 0, 0, \
     "Return the arc tangent of x, in radians. d/dx = 1 / (1 + x**2)." ) \
ROW( SINH,       "sinh",  1, 0,    sinh(x),                             g * cosh(x), 0, 0, \
     "Return the hyperbolic sine of x. d/dx = cosh(x)." ) \
ROW( COSH,       "cosh",  1, 0,    cosh(x),                             g * sinh(x), 0, 0, \
     "Return the hyperbolic cosine of x. d/dx = sinh(x)." ) \
ROW( TANH,       "tanh",  1, 0,    tanh(x),                             g * (1 - f * f), 0, 0, \
     "Return the hyperbolic tangent of x. d/dx = 1 - tanh(x)**2." ) \
ROW( ASINH,      "asinh", 1, 0,    asinh(x),                            g / sqrt(x * x + 1), 0, 0, \
     "Return the inverse hyperbolic sine of x. d/dx = 1 / sqrt(x**2 + 1)." ) \
ROW( ACOSH,      "acosh", 1, 0,    acosh(x),                            g / sqrt(x * x - 1), 0, 0, \
     "Return the inverse hyperbolic cosine of x; nan below 1. d/dx = 1 / sqrt(x**2 - 1)." ) \
ROW( ATANH,      "atanh", 1, 0,    atanh(x),                            g / (1 - x * x), 0, 0, \
     "Return the inverse hyperbolic tangent of x; nan outside [-1, 1]. d/dx = 1 / (1 - x**2)." ) \
ROW( ERF,        "erf",   1, 0,    erf(x),                              g * (TWO_OVER_SQRT_PI * exp(-x * x)), 0, 0, \
     "Return the error function of x. d/dx = 2 / sqrt(pi) exp(-x**2)." ) \
ROW( ERFC,       "erfc",  1, 0,    erfc(x),                             -g * (TWO_OVER_SQRT_PI * exp(-x * x)), 0, 0, \
     "Return 1 - erf(x), exact for large x. d/dx = -2 / sqrt(pi) exp(-x**2)." ) \
ROW( GAMMALN,    "gammaln", 1, 0,  lgamma(x),                           g * digamma(x), 0, 0, \
     "Return log(abs(gamma(x))), also called lgamma; inf at 0 and the negative integers. d/dx = digamma(x)." ) \
ROW( DIGAMMA,    "digamma", 1, 0,  digamma(x),                          g * polygamma(1, x), 0, 0, \
     "Return the derivative of gammaln(x); nan at the negative integers. d/dx = polygamma(1, x)." ) \
ROW( POLYGAMMA,  "polygamma", 2, X_, polygamma(x, y),               0, g * polygamma(x + 1, y), 0, \
     "Return the derivative of order n of digamma(x), where n is an integer. d/dx = polygamma(n + 1, x)." ) \
ROW( SIGMOID,    "sigmoid", 1, 0,  sigmoid(x),                          g * (f * (1 - f)), 0, 0, \
     "Return 1 / (1 + exp(-x)). d/dx = s (1 - s), s = sigmoid(x)." ) \
ROW( LOG_SIGMOID, "log_sigmoid", 1, 0, minimum(x, 0) - log1p(exp(-fabs(x))), g * sigmoid(-x), 0, 0, \
     "Return log(sigmoid(x)), without underflow. d/dx = sigmoid(-x)." ) \
ROW( LOGIT,      "logit", 1, 0,    log(x / (1 - x)), \
                          g / (sqrt(x * (1 - x)) * sqrt(x * (1 - x))) /* nan outside [0, 1]; inf at -0 too */, 0, 0, \
     "Return log(x / (1 - x)), of which sigmoid is the inverse; nan outside [0, 1]. d/dx = 1 / (x (1 - x))." ) \
ROW( RELU,       "ReLU",  1, 0,    x < 0 ? 0 : x,                       where(f, g, 0), 0, 0, \
     "Return x where it is positive, else 0. d/dx = 1 for x > 0, else 0." ) \
ROW( LEAKY_RELU, "leaky_relu", 2, Y_, x > 0 ? x : x * y,                where(step(x), g, g * y), \
                          where(step(x), 0, g * x), 0, \
     "Return x where it is positive, else negative_slope * x. d/dx = 1 for x > 0, else negative_slope." ) \
ROW( ELU,        "elu",   2, Y_,   x > 0 ? x : y * expm1(x), \
                          where(maximum(x, 0), g, g * (y * exp(where(step(-x), x, 0)))), \
                          where(step(x), 0, g * expm1(where(step(x), 0, x))), 0, \
     "Return x where it is positive, else alpha * (exp(x) - 1). d/dx = 1 for x > 0, else alpha exp(x)." ) \
ROW( GELU,       "gelu",  1, 0,    x * (0.5 * (1 + erf(x * SQRT_HALF))), \
                          g * (0.5 * (1 + erf(x * SQRT_HALF)) + x * (NORMAL_DENSITY_0 * exp(-0.5 * x * x))), 0, 0, \
     "Return x * Phi(x), Phi the normal distribution function. d/dx = Phi(x) + x phi(x).\n\n" \
     "Hendrycks and Gimpel, \"Gaussian Error Linear Units\", 2016; the exact form." ) \
ROW( SILU,       "silu",  1, 0,    x / (1 + exp(-x)), \
                          g * (sigmoid(x) * (1 + x * (1 - sigmoid(x)))), 0, 0, \
     "Return x * sigmoid(x), also called swish. d/dx = s (1 + x (1 - s)), s = sigmoid(x)." ) \
ROW( SELU,       "selu",  1, 0,    x > 0 ? SELU_SCALE * x : SELU_SCALE_ALPHA * expm1(x), \
                          where(maximum(x, 0), g * SELU_SCALE, g * (SELU_SCALE_ALPHA * exp(where(step(-x), x, 0)))), \
                          0, 0, \
     "Return scale * x where x is positive, else scale * alpha * (exp(x) - 1). d/dx = scale for x > 0, else scale " \
     "alpha exp(x).\n\n" \
     "Klambauer et al., \"Self-Normalizing Neural Networks\", 2017: scale is about 1.0507 and alpha 1.6733." ) \
ROW( MISH,       "mish",  1, 0,    x * tanh(log1p(exp(x))), \
                          g * (tanh(log1p(exp(x))) \
                               + x * sigmoid(x) * (1 - tanh(log1p(exp(x))) * tanh(log1p(exp(x))))), 0, 0, \
     "Return x * tanh(softplus(x)). d/dx = t + x sigmoid(x) (1 - t**2), t = tanh(softplus(x)).\n\n" \
     "Misra, \"Mish: A Self Regularized Non-Monotonic Activation Function\", 2019." ) \
ROW( SOFTSIGN,   "softsign", 1, 0, x / (1 + fabs(x)), \
                          where(x - x, g * f, g / ((1 + maximum(x, -x)) * (1 + maximum(x, -x)))), 0, 0, \
     "Return x / (1 + abs(x)). d/dx = 1 / (1 + abs(x))**2; both are nan for an infinite x, as in PyTorch." ) \
ROW( HARDTANH,   "hardtanh", 1, 0, x < -1 ? -1 : x > 1 ? 1 : x, \
                          where(maximum(x + 1, 0), where(maximum(1 - x, 0), g, 0), 0), 0, 0, \
     "Return x, but at least -1 and at most 1. d/dx = 1 for -1 < x < 1, else 0." ) \
ROW( SOFTPLUS,   "softplus", 1, 0, maximum(x, 0) + log1p(exp(-fabs(x))), g * sigmoid(x), 0, 0, \
     "Return log(1 + exp(x)). d/dx = sigmoid(x)." ) \
ROW( STEP,       "step",  1, 0,    step(x),                             0, 0, 0, \
     "Return 1 where x is positive, else 0. d/dx = 0." ) \
ROW( SIGN,       "sign",  1, 0,    (x > 0 ? 1 : 0) - (x < 0 ? 1 : 0),   0, 0, 0, \
     "Return 1 where x is positive, -1 where it is negative, else 0, also where it is nan. d/dx = 0." ) \
ROW( FLOOR,      "floor", 1, 0,    floor(x),                            0, 0, 0, \
     "Return the largest integer that is at most x. d/dx = 0." ) \
ROW( CEIL,       "ceil",  1, 0,    ceil(x),                             0, 0, 0, \
     "Return the smallest integer that is at least x. d/dx = 0." ) \
ROW( ATAN2,      "atan2", 2, 0,    atan2(x, y), \
                          where(x * x + y * y, g * y / (x * x + y * y), 0), \
                          where(x * x + y * y, -g * x / (x * x + y * y), 0), 0, \
     "Return the angle of the point (x, y) to the x axis, in radians, in [-pi, pi].\n\n" \
     "d/dy = x / (x**2 + y**2), d/dx = -y / (x**2 + y**2); 0 at the origin, as in PyTorch." ) \
ROW( HYPOT,      "hypot", 2, 0,    hypot(x, y),                         g * (x / f), g * (y / f), 0, \
     "Return sqrt(x**2 + y**2) without overflow. d/dx = x / hypot(x, y), d/dy = y / hypot(x, y); nan at the " \
     "origin." ) \
ROW( LOGADDEXP,  "logaddexp", 2, 0, x == y ? x + LN_2 : maximum(x, y) + log1p(exp(-fabs(x - y))), \
                          g / (1 + exp(y - x)), g / (1 + exp(x - y)), 0, \
     "Return log(exp(x) + exp(y)) without overflow. d/dx = 1 / (1 + exp(y - x)), d/dy = 1 / (1 + exp(x - y)); nan " \
     "where x and y are the same infinity, as in PyTorch." ) \
ROW( MINIMUM,    "minimum", 2, 0,  minimum(x, y), \
                          where(step(y - x), g, where(step(x - y), 0, g / 2)), \
                          where(step(x - y), g, where(step(y - x), 0, g / 2)), 0, \
     "Return the smaller of x and y; nan if one is nan. The gradient goes to the smaller; at a tie, one half " \
     "to each." ) \
ROW( MAXIMUM,    "maximum", 2, 0,  maximum(x, y), \
                          where(step(x - y), g, where(step(y - x), 0, g / 2)), \
                          where(step(y - x), g, where(step(x - y), 0, g / 2)), 0, \
     "Return the larger of x and y; nan if one is nan. The gradient goes to the larger; at a tie, one half to " \
     "each." ) \
ROW( LESS,       "<",     2, 0,    x < y,                               0, 0, 0, \
     "Return 1 where x < y, else 0, also where one is nan. d/dx = d/dy = 0.\n\n" \
     "`x < y` is a bool, which asks for the numbers; less, with `where`, can be compiled." ) \
ROW( LESS_EQUAL, "<=",    2, 0,    x <= y,                              0, 0, 0, \
     "Return 1 where x <= y, else 0, also where one is nan. d/dx = d/dy = 0. See `less`." ) \
ROW( BCE,        "bce",   2, 0,    (y - 1) * maximum(log1p(-x), -100) - y * maximum(log(x), -100), \
                          g * ((x - y) / maximum((1 - x) * x, BCE_EPSILON)), g * (log1p(-x) - log(x)), 0, \
     "Return the binary cross-entropy -(y log(x) + (1 - y) log(1 - x)) of a probability x, where y is the " \
     "label or its probability.\n\n" \
     "Each logarithm is at least -100, so a label that x rules out costs 100 and not inf; nan outside [0, 1]. " \
     "d/dx = (x - y) / max(x (1 - x), 1e-12), d/dy = log(1 - x) - log(x); as in PyTorch. `microgradc.losses` " \
     "has it over batches." ) \
ROW( WHERE,      "where", 3, X_,   where(x, y, z),                      0, where(x, g, 0), where(x, 0, g), \
     "Return x where the condition holds, else y. The gradient goes to the one that was chosen." ) \
ROW( STRAIGHT_THROUGH, "straight_through", 2, 0, x,                     0, g, 0, \
     "Return x, with the gradient of y. d/dx = 0, d/dy = 1; nothing goes back to what x was made from, not even " \
     "a 0 that would make nan of an infinite derivative.\n\n" \
     "Bengio et al., \"Estimating or Propagating Gradients Through Stochastic Neurons\", 2013." ) \
ROW( CLIP,       "clip",  3, Y_ + Z_, minimum(maximum(x, y), z), \
                          where(step(y - x), 0, where(step(x - z), 0, g)), \
                          where(step(z - y), where(step(y - x), g, 0), 0), \
                          where(step(x - z), g, where(step(y - z), g, 0)), \
     "Return x, but at least lo and at most hi; hi where they contradict each other.\n\n" \
     "The gradient goes to x where lo <= x <= hi, else to the bound that was taken (`torch.clamp`)." )

/* 0 is a leaf; then the rows of the table; then the operations of any number of operands (wide.h). */
enum {
    MGC_LEAF,
#define ROW(id, op, n, params, value, gx, gy, gz, doc) MGC_##id,
    MGC_TABLE(ROW)
#undef ROW
    MGC_TABLE_END,
};

typedef struct {
    const char *name, *op;
    int operands, params;
    const char *value, *gx, *gy, *gz, *doc;
} mgc_row;

static const mgc_row mgc_rows[] = {
    {"LEAF", "", 0, 0, "", "", "", "", ""},
#define ROW(id, op, n, params, value, gx, gy, gz, doc) {#id, op, n, params, #value, #gx, #gy, #gz, doc},
    MGC_TABLE(ROW)
#undef ROW
};

/* Whether a row makes integers of integers: what an index may be made by. */
static inline int mgc_keeps_integers(int id)
{
    return id == MGC_ADD || id == MGC_SUB || id == MGC_MUL || id == MGC_FLOORDIV || id == MGC_MOD || id == MGC_NEG
           || id == MGC_ABS;
}

/* The value of a row of the table. */
static inline double mgc_value(int id, double x, double y, double z)
{
    (void)y, (void)z;
    switch (id) {
#define ROW(id, op, n, params, value, gx, gy, gz, doc) case MGC_##id: return value;
        MGC_TABLE(ROW)
#undef ROW
    default: return x;
    }
}

/* The same where y is a number of the caller's. PyTorch takes roots where the exponent is the number 1/2 or -1/2, and
   pow where it is a tensor, which differ at -0 and -inf. A program has SQRT there (program/simplify.h). */
static inline double mgc_value_with_number(int id, double x, double y)
{
    if (id != MGC_POW || fabs(y) != 0.5) return mgc_value(id, x, y, 0);
    return y > 0 ? sqrt(x) : 1 / sqrt(x);
}

/* pow where it is in the slope of x ** (y + 1). */
static inline double mgc_power_in_slope(double x, double y, int is_number)
{
    return is_number && y == -0.5 ? 1 / sqrt(x) : pow(x, y);
}

#endif
