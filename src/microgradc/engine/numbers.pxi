# Reading what Python passes as a number. Included by value.pyx.

cdef int read_number(object o, double *out) except -1:
    """Put a real number into out and return 1; return 0 for what is none. OverflowError for an int beyond doubles.

    A Value is a number within no_grad only: read as one, it would lose its graph.
    """
    if PyFloat_Check(o):
        out[0] = PyFloat_AS_DOUBLE(o)
        return 1
    if PyLong_Check(o):
        out[0] = PyLong_AsDouble(o)
        return 1
    if isinstance(o, Value):
        refuse_while_tracing("float(v)")
        out[0] = (<Value>o).node.data
        return not mgc_grad_enabled()
    cdef type kind = type(o)
    # An array converts to float when it has one element; it is an array all the same. NumPy's scalars have no length.
    if hasattr(kind, "__len__") or not (hasattr(kind, "__float__") or hasattr(kind, "__index__")):
        return 0
    if PyComplex_Check(o) or (hasattr(kind, "imag") and isinstance(o, Complex) and not isinstance(o, Real)):
        return 0
    out[0] = float(o)
    return 1


cdef double require_number(object o, str name) except? -1.0:
    """Return o as a double, or raise the TypeError that says what the argument `name` should have been."""
    cdef double number
    if read_number(o, &number):
        return number
    raise not_a_number(o, name, "a real number")


cdef double number_of(object o, str name) except? -1.0:
    """The same of a Value: its data, for one whose gradient is seen to."""
    return (<Value>o).node.data if isinstance(o, Value) else require_number(o, name)


def real_number(value, str name not None) -> float:
    """Return a real number as a float, or raise the TypeError that says what the argument `name` should have been."""
    return require_number(value, name)


def plain_number(x) -> float:
    """Return the number of a Value, whose graph is not wanted, or of anything else that `float` takes."""
    return x.data if isinstance(x, Value) else float(x)


cdef bint is_masked(object o):
    """Whether o is what NumPy gives for a masked entry of an array, which is an array itself."""
    return (<type>type(o)).__name__ == "MaskedConstant"


cdef object not_a_number(object o, str name, str expected):
    advice = ""
    if isinstance(o, Value):
        advice = "; .data is its number, which gets no gradient"
    elif isinstance(o, Complex):
        advice = "; complex numbers are not supported"
    elif getattr(o, "requires_grad", False) is True:
        advice = "; PyTorch's graph would be lost: pass .detach() of it"
    elif is_masked(o):
        advice = "; what is masked has no number: fill it, a.filled(0.0), or leave it out"
    elif getattr(o, "shape", None) == () and hasattr(o, "item"):
        advice = "; its number is .item()"
    elif hasattr(o, "shape") or isinstance(o, (list, tuple)):
        advice = "; microgradc.array(x) makes an array of Values, one for each element"
    elif isinstance(o, str):
        advice = "; convert it with float(...) first"
    return TypeError(f"{name} must be {expected}, got {describe(o)}{advice}")


cdef list entries_of(object values, str expected):
    """What an iterable yields. What it raises meanwhile is passed on."""
    try:
        iterator = iter(values)
    except TypeError:
        raise TypeError(f"{expected}, got {describe(values)}") from None
    return list(iterator)


cdef str describe(object o):
    kind = type(o)
    name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
    if getattr(o, "shape", ()):
        return f"{name} of shape {tuple(o.shape)}"
    return "None" if o is None else f"{name} {repr(o)[:40]}"
