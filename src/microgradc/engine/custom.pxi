# Functions that are not built in. Included by value.pyx.


cdef object apply_function(f, tuple args, derivative, h):
    """A custom node over those of args that are Values; its local gradients are derivative's or central differences."""
    cdef list wanted = [i for i, x in enumerate(args) if isinstance(x, Value)]
    if wanted and mgc_tracing() and derivative is not None:
        return traced_function(f, args, derivative, wanted)
    if wanted:
        refuse_while_tracing("a node with local gradients")
    cdef list numbers = [number_of(x, f"argument {i} of {name_of(f)}") for i, x in enumerate(args)]
    cdef Value v
    result = require_number(f(*numbers), f"the result of {name_of(f)}")
    if not wanted:
        return result
    v = <Value>mgc_new_leaf(result)
    if not mgc_grad_enabled():
        return v
    if derivative is None:
        local = [slope(f, numbers, i, result) if h is None else central_difference(f, numbers, i, h) for i in wanted]
    else:
        local = one_for_each(f, derivative(*numbers), args)
        local = [local[i] for i in wanted]
    baggage_of(v).op = name_of(f)
    build_by_hand(v, [args[i] for i in wanted], local)
    return v


cdef list one_for_each(f, found, tuple args):
    """What a derivative returned, as a list."""
    found = list(found) if isinstance(found, (tuple, list)) else [found]
    if len(found) != len(args):
        raise ValueError(f"the derivative of {name_of(f)} must return one number for each argument, "
                         f"got {len(found)} for {len(args)}")
    return found


cdef object traced_function(f, tuple args, derivative, list wanted):
    """The value and the derivative as they are written, of Values: both are recorded.

    The gradient goes to the sum of derivative times argument, the slopes of which are the derivatives.
    """
    value = f(*args)
    local = one_for_each(f, derivative(*args), args)
    slopes = None
    for i in wanted:
        term = pair(MGC_MUL, pair(MGC_STRAIGHT_THROUGH, local[i], 0.0, f"derivative {i}", ""), args[i], "", "")
        slopes = term if slopes is None else pair(MGC_ADD, slopes, term, "", "")
    return pair(MGC_STRAIGHT_THROUGH, value, slopes, f"the result of {name_of(f)}", "")


cdef double central_difference(f, list numbers, Py_ssize_t i, double step) except? -1.0:
    cdef double x = numbers[i]
    cdef double above = x + step, below = x - step
    y_above = require_number(f(*numbers[:i], above, *numbers[i + 1:]), f"the result of {name_of(f)}")
    y_below = require_number(f(*numbers[:i], below, *numbers[i + 1:]), f"the result of {name_of(f)}")
    # What was added to x and taken from it after rounding is the true step.
    return (y_above - y_below) / (above - below) if above != below else float("nan")


cdef str name_of(f):
    return str(getattr(f, "__name__", None) or type(f).__name__)


cdef int check_function(f, derivative, h) except -1:
    if not callable(f):
        raise TypeError(f"f must be a callable, got {describe(f)}")
    if derivative is not None and not callable(derivative):
        raise TypeError(f"derivative must be a callable, got {describe(derivative)}")
    if h is not None:
        if derivative is not None:
            raise ValueError("h is the step of the central difference, which is not taken when a derivative is given")
        if not require_number(h, "h") > 0:
            raise ValueError(f"h must be positive, got {h}")
    return 0


def function(f=None, *, derivative=None, h=None):
    """Make a function of numbers differentiable: applied to Values, it gives a node. A decorator.

    Args:
        f: a function of one or several floats that returns a real number.
        derivative: a function of the same floats that returns df/dx for each, in a tuple; for one argument the number
            alone will do. Without it each derivative comes from differences, as in `Value.func`.
        h: the step of the central difference, as in `Value.func`.

    Returns:
        A function of as many Values or real numbers, by place or by keyword. It returns a Value if one of them is a
        Value, else a float. `microgradc.compile` records it if f and derivative are written in operations of Values
        (`microgradc.exp(x)`, not `math.exp(x)`).

    Raises:
        TypeError: f or derivative cannot be called; when called: an argument or a result is not a real number.
        ValueError: h is not positive, or a derivative is given as well; when called: the derivative returns another
            number of numbers.

    >>> @function(derivative=lambda x, y: (2 * x * y, x * x))
    ... def cone(x, y):
    ...     return x * x * y
    >>> r, height = Value(3.0), Value(2.0)
    >>> cone(r, height).backward()
    >>> r.grad, height.grad
    (12.0, 9.0)
    """
    if f is None:
        return lambda f: function(f, derivative=derivative, h=h)
    check_function(f, derivative, h)

    @wraps(f)
    def differentiable(*args, **kwargs):
        if not kwargs:
            return apply_function(f, args, derivative, h)
        from inspect import signature
        bound = signature(f).bind(*args, **kwargs)
        args, names = bound.args, tuple(bound.kwargs)
        rule = None if derivative is None else with_names(derivative, len(args), names)
        return apply_function(with_names(f, len(args), names), (*args, *bound.kwargs.values()), rule, h)

    differentiable.derivative = derivative      # where a recording looks for parameters
    return differentiable


def with_names(f, count, names):
    """Return f as a function of arguments by place, the first count of which are so; the others have these names."""
    @wraps(f)
    def by_place(*args):
        return f(*args[:count], **dict(zip(names, args[count:])))
    return by_place
