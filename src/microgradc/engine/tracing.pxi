# What a Value refuses while a function is recorded, to be replayed on other numbers. Included by value.pyx.

import sys


class CompileError(RuntimeError):
    """A function that is to be compiled does what could not be repeated for other numbers."""


# For each of the things that are refused: the way out.
cdef dict WAYS_OUT = {
    ".data": "use the Value itself, or read the number outside of the function",
    "an update": "take steps and clip gradients after the compiled function was called and backward() too",
    ".grad": "read gradients after the compiled function was called and backward() too",
    "float(v)": "use the Value itself: its methods and the functions in microgradc are differentiable "
                "(math.exp(v) is v.exp())",
    "int(v)": "use floor division, v // 1, or let an integer be an argument and pick by microgradc.take",
    "round(v)": "use (v + 0.5) // 1",
    "bool(v)": "if, while, and, or, not, max(), min() and sorted() take one way for all examples; "
               "use microgradc.where, maximum or minimum",
    "==": "Values are compared by identity, so it would be False for all examples; "
          "use less and less_equal with microgradc.where",
    "hash(v)": "a set or dict would find no example's number in it; use microgradc.take, or less_equal with where",
    "backward()": "call it on what the compiled function returns",
    "_backward": "replace the closure by operations of microgradc",
    "a node with local gradients": "Value.func, function and Value(data, children, local_grads) compute with numbers "
                                   "of this example; use operations of microgradc",
    "no_grad": "enter it around the call of the compiled function",
    "values[i]": "an integer argument is another one for each example; use microgradc.take(values, i)",
    "f.mean": "call the function itself for one example, and mean, sum or map of the outer one",
    "f.program": "call the function itself, and program of the outer one",
    "f.value_and_grad": "call the function itself, and value_and_grad of the outer one",
    "a copy": "it would be a leaf of its own, with one example's number; use the Value itself",
    "local gradients": "they are numbers of one example; read them outside of the function",
    "a number as text": "format the number outside of the function; print(v) shows a Value while it is recorded",
    "dropout": "its coin would fall the same way for all examples; call model.eval() first",
}


cdef str FLOAT_WOULD_LOSE = (
    "a Value is not turned into a float while gradients are enabled, for its graph would be lost: for functions of "
    "math and of arrays of floats take those of microgradc, such as microgradc.exp(v); the number alone is v.data or "
    "v.item(), and within microgradc.no_grad() float(v) too")


cdef bint is_library(str package):
    """Whether a module is not the user's: ours, NumPy's, or one of the standard library."""
    return package == "microgradc" or package == "numpy" or package in sys.stdlib_module_names


def refuse(str what):
    """Raise the CompileError that says what was refused, in which line, and what to do instead."""
    import linecache     # here, for it takes as long to import as the rest of the engine

    frame = sys._getframe()
    while frame.f_back is not None and is_library(frame.f_globals.get("__name__", "").partition(".")[0]):
        frame = frame.f_back
    line = linecache.getline(frame.f_code.co_filename, frame.f_lineno, frame.f_globals).strip()
    place = f"{frame.f_code.co_filename}, line {frame.f_lineno}" + (f": {line}" if line else "")
    raise CompileError(f"{what} cannot be replayed for other numbers: {WAYS_OUT[what]}.\n  {place}")


def is_tracing() -> bool:
    """Return whether this thread traces a function."""
    return mgc_tracing()


cdef bint tracing() noexcept:
    return mgc_tracing()


cdef bint grad_enabled() noexcept:
    return mgc_grad_enabled()


cdef inline int refuse_while_tracing(str what) except -1:
    """Raise a CompileError if this thread traces a function, which could not replay what is asked for."""
    if mgc_tracing():
        refuse(what)
    return 0


cdef inline double visible(double number, str what) except? -1.0:
    """The number, unless this thread traces a function, into whose recording it would be written once and for all."""
    refuse_while_tracing(what)
    return number


class Trace:
    """While this context lasts, this thread traces: Values refuse what cannot be replayed, and comparisons make
    nodes."""

    def __enter__(self):
        mgc_trace(1)

    def __exit__(self, *exception):
        mgc_trace(-1)


class EnableGrad:
    """While this context lasts, results remember their operands, also where a no_grad() block is open around it."""

    def __enter__(self):
        self.no_grad_blocks = mgc_enable_grad()

    def __exit__(self, *exception):
        mgc_disable_grad(self.no_grad_blocks)


class Input(Value):
    """A number among the arguments of a function that is traced."""

    def __hash__(self):
        refuse("hash(v)")


class IntegerInput(Input):
    """An integer among them."""

    def __index__(self):
        refuse("values[i]")
