# The derivative of a function of which nothing is known but its values. Included by value.pyx.
#
# A step that is right for one function is wrong for another: log needs one that is small next to x, sin at 1e8 and exp
# at 1e-8 one that is small next to 1. So several are tried. For each, differences over h, 2h and 4h are extrapolated to
# h = 0 (Richardson's way; Press et al., Numerical Recipes, 5.7) twice, without the largest and without the smallest:
# how far these two are apart, and what rounding does to the values, says how good the result is.

cdef enum:
    STEP_BITS = 12       # h is 2**-12 of x or of 1: truncation, about h**4, and rounding are of one size
    MOST_SMALLER = 7     # steps that are tried below these, each a 64th of the one before
    MOST_LARGER = 4      # steps that are tried above these, each 32 times the one before

cdef double ROUNDING = 2.0 ** -52
cdef double ENOUGH = 1e-8    # the relative error at which the search ends


cdef struct Slope:
    double value
    double error         # as estimated
    double step
    bint found
    bint is_resolved     # the step is small enough to see what the function does
    bint is_coarse       # a smaller step may be better: the error is not that of rounding


cdef class Probe:
    """A function of several numbers as one of the i-th alone, defined where it has a finite real value."""
    cdef object f, error
    cdef list numbers
    cdef Py_ssize_t i

    def __cinit__(self, f, list numbers, Py_ssize_t i):
        self.f, self.numbers, self.i = f, numbers, i

    cdef double at(self, double x) except? -1.0:
        """The value at x; nan where there is none, past the end of the function's domain."""
        try:
            y = self.f(*self.numbers[:self.i], x, *self.numbers[self.i + 1:])
        except (ValueError, ArithmeticError) as error:
            self.error = error
            return NAN
        if isinstance(y, complex):
            return NAN
        return require_number(y, f"the result of {name_of(self.f)}")


cdef double slope(f, list numbers, Py_ssize_t i, double value) except? -1.0:
    """Return df/dx for number i of the function's arguments, at which it has the value given."""
    cdef Probe probe = Probe(f, numbers, i)
    cdef double x = numbers[i]
    if not isfinite(x) or not isfinite(value):
        return NAN
    numpy = sys.modules.get("numpy")    # its functions warn at the end of a domain, where the caller has not been
    if numpy is None:
        return best_slope(probe, x, value)
    with numpy.errstate(all="ignore"):
        return best_slope(probe, x, value)


cdef double best_slope(Probe probe, double x, double value) except? -1.0:
    cdef Slope best
    find_slope(&best, probe, x, value)
    if not best.found and probe.error is not None:
        raise probe.error
    return best.value if best.found else NAN


def difference(f, double x) -> tuple[float, float]:
    """Return the derivative of a function of one number by differences, and its estimated error; nan if there are none.

    The step is found: see the top of this file.
    """
    cdef Slope best
    cdef Probe probe = Probe(f, [x], 0)
    cdef double value = probe.at(x)
    if not isfinite(x) or not isfinite(value):
        return NAN, 0.0
    find_slope(&best, probe, x, value)
    if not best.found:
        return NAN, 0.0
    return best.value, best.error


cdef int find_slope(Slope *found, Probe probe, double x, double value) except -1:
    cdef Slope best
    cdef int exponent = 1
    cdef double least = nextafter(fabs(x), INFINITY) - fabs(x), near_1 = ldexp(1.0, -STEP_BITS), h
    memset(&best, 0, sizeof(best))
    if x != 0:
        frexp(x, &exponent)
    best.step = h = fmax(ldexp(1.0, exponent - 1 - STEP_BITS), least)
    attempt(&best, probe, x, value, h)
    if not -3 <= exponent <= 4 and not is_good(&best):
        attempt(&best, probe, x, value, fmax(near_1, least))
        h = fmin(h, fmax(near_1, least))
    if best.is_resolved:
        h = best.step
    for _ in range(MOST_SMALLER):
        if is_good(&best) or best.found and not best.is_coarse or h == least:
            break
        h = fmax(h / 64, least)
        if not attempt(&best, probe, x, value, h) and best.is_resolved:
            break
    for _ in range(MOST_LARGER):
        if is_good(&best) or not best.is_resolved or not attempt(&best, probe, x, value, best.step * 32):
            break
    found[0] = best
    return 0


cdef bint is_good(const Slope *best) noexcept:
    return best.is_resolved and best.error <= ENOUGH * fabs(best.value)


cdef int attempt(Slope *best, Probe probe, double x, double value, double h) except -1:
    """Try a step; return whether it is better than the best."""
    cdef double differences[3]
    cdef double above[3]
    cdef double below[3]
    cdef double a, b, y_a, y_b, first, second, apart, rounding = 0
    cdef bint has_above = True, has_below = True, is_better, is_resolved
    cdef int k
    for k in range(3):
        above[k], below[k] = probe.at(x + (h * (1 << k))), probe.at(x - (h * (1 << k)))
        has_above, has_below = has_above and isfinite(above[k]), has_below and isfinite(below[k])
    if not has_above and not has_below:
        return 0
    for k in range(3):
        # What was added to x and taken from it after rounding is the true step.
        a, y_a = (x + h * (1 << k), above[k]) if has_above else (x, value)
        b, y_b = (x - h * (1 << k), below[k]) if has_below else (x, value)
        if a == b:
            return 0
        differences[k] = (y_a - y_b) / (a - b)
        rounding = fmax(rounding, (ROUNDING * fabs(y_a) + ROUNDING * fabs(y_b)) / (a - b))
    first, second = differences[0] - differences[1], differences[1] - differences[2]
    if has_above and has_below:
        first, second = first / 3, second / 3
    first, second = differences[0] + first, differences[1] + second
    apart = fabs(first - second)
    if not isfinite(first + apart + rounding):
        return 0
    is_resolved = apart <= 10 * rounding or apart <= 1e-3 * fabs(first)
    if is_resolved != best.is_resolved:
        is_better = is_resolved
    elif is_resolved and best.found and fabs(first - best.value) > 10 * (apart + rounding + best.error):
        is_better = h < best.step      # the larger step went past a jump or a bend
    else:
        is_better = apart + rounding < best.error
    if best.found and not is_better:
        return 0
    best.value, best.error, best.step, best.found = first, apart + rounding, h, True
    best.is_resolved, best.is_coarse = is_resolved, apart > 10 * rounding
    return 1
