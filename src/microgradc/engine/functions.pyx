"""The operations as functions, of Values, numbers and NumPy arrays of either; and those of any number of operands.

A function returns a Value if one of its arguments is a Value, and a float if all are numbers. Given a NumPy array, it
works element by
element: a numeric array gives float64, an object array of Values gives an object array.
"""


from microgradc.engine.value cimport *

from microgradc.engine.value import TABLE, array_of

cdef extern from "Python.h":
    ctypedef struct PyMethodDef:
        const char *ml_name

cdef extern from "engine/functions.h":
    PyMethodDef *mgc_functions
    int mgc_install_functions(dict namespace, str module_name) except -1


cdef object elementwise(function, tuple arguments, str name):
    """Map a function over arrays, broadcast as NumPy does."""
    if not any([is_table(x) for x in arguments]):
        raise not_a_number(arguments[0], name, "a Value, a real number or an array of either")
    import numpy
    arguments = tuple([array_of(x, name) if is_table(x) else x for x in arguments])
    numeric = all([not isinstance(x, Value) and getattr(x, "dtype", None) != object for x in arguments])
    result = numpy.frompyfunc(function, len(arguments), 1)(*arguments)
    return numpy.asarray(result, dtype=float)[()] if numeric else result


cdef object map_unary "mgc_map_unary"(int op, object x):
    cdef double number
    if isinstance(x, Value):
        return unary(op, <Value>x)
    if read_number(x, &number):
        return mgc_value(op, number, 0, 0)
    return elementwise(globals()[mgc_functions[op].ml_name.decode()], (x,), "x")


cdef bint is_scalar(object x) except -1:
    cdef double number
    return isinstance(x, Value) or read_number(x, &number)


cdef object map_binary(int op, object x, object y, function, str x_name="x", str y_name="y"):
    if not is_scalar(x) and is_table(x) or not is_scalar(y) and is_table(y):
        return elementwise(function, (x, y), x_name)
    return pair(op, x, y, x_name, y_name)


cdef object map_ternary(int op, tuple arguments, function, tuple names):
    for x in arguments:
        if not is_scalar(x) and is_table(x):
            return elementwise(function, arguments, names[0])
    return ternary(op, arguments[0], arguments[1], arguments[2], names)


# Those of one operand are made from the rows of ops.h, which also begin the documentation of those of two and three.

def leaky_relu(x, negative_slope=0.01):
    """Args:
        x: a Value or a number.
        negative_slope: a real number, or a Value to learn.
    """
    return map_binary(MGC_LEAKY_RELU, x, negative_slope, leaky_relu, "x", "negative_slope")


def elu(x, alpha=1.0):
    """Args:
        x: a Value or a number.
        alpha: a real number, or a Value to learn.
    """
    return map_binary(MGC_ELU, x, alpha, elu, "x", "alpha")


def atan2(y, x):
    return map_binary(MGC_ATAN2, y, x, atan2, "y", "x")


def hypot(x, y):
    return map_binary(MGC_HYPOT, x, y, hypot)


def logaddexp(x, y):
    return map_binary(MGC_LOGADDEXP, x, y, logaddexp)


def polygamma(n, x):
    """Args:
        n: an integer, at least 0; 0 gives digamma(x).
        x: a Value or a number.

    >>> round(polygamma(1, 1.0), 6)
    1.644934
    """
    if isinstance(n, bool) or not hasattr(n, "__index__"):
        raise TypeError(f"n must be an integer, got {describe(n)}")
    cdef int order = n.__index__()
    if order < 0:
        raise ValueError(f"n must be at least 0, got {order}")
    if is_scalar(x) or not is_table(x):
        return pair(MGC_POLYGAMMA, <double>order, x, "n", "x")
    return elementwise(lambda v: polygamma(order, v), (x,), "x")


def minimum(x, y):
    return map_binary(MGC_MINIMUM, x, y, minimum)


def maximum(x, y):
    return map_binary(MGC_MAXIMUM, x, y, maximum)


def less(x, y):
    return map_binary(MGC_LESS, x, y, less)


def less_equal(x, y):
    return map_binary(MGC_LESS_EQUAL, x, y, less_equal)


def bce(x, y):
    return map_binary(MGC_BCE, x, y, bce)


def where(condition, x, y):
    """Args:
        condition: a bool, a number or a Value; it holds unless it is 0. It gets no gradient.
        x, y: Values or numbers.

    >>> v = Value(-4.0)
    >>> where(v > 0, v, -v)
    Value(data=4.0, grad=0)
    """
    return map_ternary(MGC_WHERE, (condition, x, y), where, ("condition", "x", "y"))


def select(condition, x, y):
    """Return x where the condition holds, else y; what was not selected gets no gradient at all, not even 0.

    With `where` it gets 0, and 0 times an infinite or undefined derivative is nan. So this is the one for values that
    are not defined everywhere: `select(x > 0, sqrt(x), 0.0)` has the gradient 0 at 0.

    Args:
        condition: a bool, a number or a Value; it holds unless it is 0. It gets no gradient.
        x, y: Values or numbers.

    Returns:
        The one selected; a Value of its own while a function is compiled.

    Raises:
        TypeError: an argument is neither a Value nor a number.

    >>> v = Value(0.0)
    >>> select(v > 0, v.sqrt(), v * 2).backward()
    >>> v.grad
    2.0
    """
    cdef double number
    for a in (condition, x, y):
        if not is_scalar(a) and is_table(a):
            return elementwise(select, (condition, x, y), "condition")
    for name, a in (("condition", condition), ("x", x), ("y", y)):
        if not is_scalar(a):
            raise not_a_number(a, name, "a Value or a real number")
    if tracing() and isinstance(condition, Value):
        # An index that is 0 or 1
        return wide(MGC_TAKE, [ternary(MGC_WHERE, condition, 1.0, 0.0, ("", "", "")), y, x], "values")
    if isinstance(condition, Value):
        number = (<Value>condition).node.data
    else:
        read_number(condition, &number)
    taken = x if number != 0 else y
    if not isinstance(taken, Value):
        read_number(taken, &number)
        return number
    return taken


def straight_through(x, y):
    """Args:
        x, y: Values or numbers.

    >>> v = Value(1.6)
    >>> straight_through(round(v), v).backward()
    >>> v.grad
    1.0
    """
    if not is_scalar(x) and is_table(x) or not is_scalar(y) and is_table(y):
        return elementwise(straight_through, (x, y), "x")
    if not tracing() and isinstance(x, Value):      # no operand: not even 0 is sent to it
        if not isinstance(y, Value):
            pair(MGC_STRAIGHT_THROUGH, 0.0, y, "x", "y")        # which refuses what is no number
            return Value((<Value>x).node.data)
        x = (<Value>x).node.data
    return pair(MGC_STRAIGHT_THROUGH, x, y, "x", "y")


def stop_gradient(v):
    """Return the number of v as a constant: what v was made from gets no gradient.

    Args:
        v: a Value or a number, or an array of them.

    >>> v = Value(3.0)
    >>> (v * stop_gradient(v)).backward()
    >>> v.grad
    3.0
    """
    return straight_through(v, 0.0)


def clip(x, lo=None, hi=None):
    """Args:
        x: a Value or a number.
        lo, hi: Values or numbers; None for no bound.
    """
    lo = float("-inf") if lo is None else lo
    hi = float("inf") if hi is None else hi
    return map_ternary(MGC_CLIP, (x, lo, hi), clip, ("x", "lo", "hi"))


def sum(values):
    """Return the sum of the values, as one node however many they are. d/dv = 1.

    Args:
        values: an iterable of Values and numbers, at least one. They are added in their order.

    Raises:
        TypeError: values is not iterable, or an entry is neither a Value nor a number.
        ValueError: there are no values.

    >>> a, b = Value(1.0), Value(2.0)
    >>> sum([a, b, 3])
    Value(data=6.0, grad=0)
    """
    return wide(MGC_SUM, values, "values")


def mean(values):
    """Return the arithmetic mean of the n values, as one node. d/dv = 1 / n.

    Args:
        values: an iterable of Values and numbers, at least one.

    Raises:
        TypeError: values is not iterable, or an entry is neither a Value nor a number.
        ValueError: there are no values.
    """
    return wide(MGC_MEAN, values, "values")


def dot(w, x, bias=None):
    """Return bias + w[0] * x[0] + w[1] * x[1] + …, as one node. d/dw[i] = x[i], d/dx[i] = w[i], d/dbias = 1.

    The terms are added in this order, so the result has the bits of micrograd's
    `sum((wi * xi for wi, xi in zip(w, x)), bias)`.

    Args:
        w, x: iterables of n Values and numbers each. A number costs no node.
        bias: a Value or a number; None for none.

    Raises:
        TypeError: w or x is not iterable, or an entry is neither a Value nor a number.
        ValueError: w and x differ in length.

    >>> w = [Value(2.0), Value(3.0)]
    >>> dot(w, [10, 1], bias=0.5)
    Value(data=23.5, grad=0)
    """
    return dot_product(w, x, bias)


def linear(x, weight, bias=None):
    """Return `dot(row, x, b)` for each row of a matrix and its bias: a matrix-vector product, W x + b.

    Args:
        x: an iterable of n Values and numbers.
        weight: a list of m rows, each an iterable of n Values and numbers.
        bias: a list of m Values and numbers; None for none.

    Returns:
        A list of m Values (floats where all operands are numbers).

    Raises:
        TypeError: an entry is neither a Value nor a number.
        ValueError: the lengths do not fit together.

    >>> linear([Value(1.0), 2.0], [[1.0, 1.0], [3.0, 4.0]], bias=[0.5, 0.0])
    [Value(data=3.5, grad=0), Value(data=11.0, grad=0)]
    """
    weight = list(sequence_of(weight, "weight"))
    bias = None if bias is None else list(sequence_of(bias, "bias"))
    if bias is not None and len(bias) != len(weight):
        raise ValueError(f"bias must have one entry for each of the {len(weight)} rows of weight, got {len(bias)}")
    return dot_products(x, weight, bias, None)


def logsumexp(values):
    """Return log(sum(exp(v) for v in values)), as one node, without overflow. d/dv = exp(v - result).

    Args:
        values: an iterable of Values and numbers, at least one.

    Raises:
        TypeError: values is not iterable, or an entry is neither a Value nor a number.
        ValueError: there are no values.
    """
    return wide(MGC_LOGSUMEXP, values, "values")


def softmax(values):
    """Return exp(v) / sum(exp(v) for all v), for each of the values, without overflow. d s_i/d v_j = s_i ((i = j) -
    s_j).

    Args:
        values: an iterable of n Values and numbers, at least one.

    Returns:
        A list of n Values (floats if all values are numbers), which add up to 1.

    Raises:
        TypeError: values is not iterable, or an entry is neither a Value nor a number.
        ValueError: there are no values.
    """
    return [map_unary(MGC_EXP, v) for v in log_softmax(values)]


def log_softmax(values):
    """Return v - logsumexp(values), for each of the values. d l_i/d v_j = (i = j) - exp(l_j).

    Args:
        values: an iterable of n Values and numbers, at least one.

    Returns:
        A list of n Values (floats if all values are numbers).

    Raises:
        TypeError: values is not iterable, or an entry is neither a Value nor a number.
        ValueError: there are no values.
    """
    values = sequence_of(values, "values")
    if not tracing():
        values = shift_largest_to_0(values, "values")
    elif len(values):
        m = largest_traced(values)
        values = [v - m for v in values]
    total = wide(MGC_LOGSUMEXP, values, "values")
    return [v - total for v in values]


cdef list shift_largest_to_0(values, str name):
    cdef double m = largest(values, name), number
    cdef list shifted = []
    # The largest is taken off before, and not within logsumexp alone, where it would cancel digits of the result. It is
    # a constant: what it takes from each value, it takes from the sum. If it is infinite, all become nan, as in
    # PyTorch.
    for v in values:
        if not isinstance(v, Value) and read_number(v, &number):     # a float32 would round to its own digits
            v = number
        shifted.append(v - m)
    return shifted


cdef object largest_traced(values):
    """The largest of Values and numbers, a node: pair by pair, so that many of a program are one step.

    What goes back through it adds up to 0: the gradients of log_softmax do.
    """
    cdef list left = list(values)
    while len(left) > 1:
        left = [maximum(*left[i:i + 2]) if i + 1 < len(left) else left[i] for i in range(0, len(left), 2)]
    return left[0]


def take(values, index):
    """Return `values[index]`, also where the index is an argument of a function that is compiled. The gradient goes to
    the one taken.

    Args:
        values: n Values and numbers; or n rows of them, such as an embedding.
        index: an integer, 0 <= index < n; or, in a function that is being compiled (`microgradc.compile`), an integer
            argument, or what +, -, *, //, %, abs and integers make of some.

    Returns:
        An entry, or a row as a list.

    Raises:
        TypeError: index is not an integer.
        IndexError: it is out of range; when a compiled function is called, the message gives the example.
        ValueError: there are no values, or the rows differ in length.

    >>> take([Value(1.0), Value(2.0)], 1)
    Value(data=2.0, grad=0)
    >>> take([[1.0, 2.0], [3.0, 4.0]], 0)
    [1.0, 2.0]
    """
    values = list(sequence_of(values, "values"))
    if not values:
        raise ValueError("values must have at least one entry, got none")
    rows = [list(sequence_of(row, "a row of values")) for row in values] if hasattr(values[0], "__len__") else None
    if rows is not None and len(set(map(len, rows))) > 1:
        raise ValueError("the rows of values must have one length")
    if isinstance(index, Value):
        if not tracing() or not is_index(index):
            raise TypeError("index must be an integer, or an integer argument of a function that is being compiled, "
                            "or what +, -, *, //, %, abs and integers make of such arguments, "
                            f"got {'a Value' if tracing() else repr(index)}")
        if rows is None:
            return wide(MGC_TAKE, [index, *values], "values")
        return [wide(MGC_TAKE, [index, *column], "values") for column in zip(*rows)]
    if isinstance(index, bool) or not hasattr(index, "__index__"):
        raise TypeError(f"index must be an integer, got {type(index).__name__} {index!r}")
    if not 0 <= index < len(values):
        raise IndexError(f"index must be at least 0 and less than {len(values)}, the number of values, got {index}")
    return values[index] if rows is None else rows[index]


cdef int begin_documentation() except -1:
    """Put what the rows say before what the functions of two and three operands add to it."""
    for row in TABLE:
        function = globals().get(row.name.lower())
        if row.operands > 1 and function is not None:
            more = function.__doc__
            function.__doc__ = row.doc if more is None else row.doc + "\n\n" + more.replace("\n    ", "\n").rstrip()
    return 0


mgc_install_functions(globals(), __name__)
lgamma = globals()["gammaln"]
begin_documentation()
__all__ = [name for name, thing in globals().items() if getattr(thing, "__module__", None) == __name__]
