# What a Value refuses while a function is recorded, to be replayed on other numbers. Included by value.pyx.

import gc
import sys
import threading
import types
import weakref

from libc.string cimport memcpy

cdef extern from "<fenv.h>" nogil:
    ctypedef struct fexcept_t:
        pass
    const int FE_ALL_EXCEPT
    int fegetexceptflag(fexcept_t *, int)
    int fesetexceptflag(const fexcept_t *, int)


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
    "register_hook": "register hooks on the arguments, or on what the compiled function returns",
    "a node with local gradients": "Value.func, function and Value(data, children, local_grads) compute with numbers "
                                   "of this example; use operations of microgradc",
    "no_grad": "enter it around the call of the compiled function",
    "values[i]": "an integer argument is another one for each example; use microgradc.take(values, i)",
    "f.mean": "call the function itself for one example, and mean, sum or map of the outer one",
    "f.partial": "call the function itself for one example, and partial of the outer one",
    "f.program": "call the function itself, and program of the outer one",
    "f.save": "save the outer one",
    "f.train": "call it outside of the compiled function, which it trains",
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
cdef int CO_VARARGS = 0x4     # as in the module inspect
cdef int GENERATORS = 0x2A0   # CO_GENERATOR, CO_COROUTINE, CO_ASYNC_GENERATOR
cdef object traces = threading.local()      # current: the Trace of this thread, while there is one


cdef bint is_library(str package):
    """Whether a module is not the user's: ours, NumPy's, or one of the standard library."""
    return package == "microgradc" or package == "numpy" or package in sys.stdlib_module_names


cdef bint runs_at_any_time(object frame):
    """Whether a function was not called by what is recorded, but by the interpreter meanwhile.

    Such are `__del__`, callbacks of weak references and of the garbage collector, signal handlers, and what a generator
    does when it is closed because nobody needs it any more.
    """
    code = frame.f_code
    if code.co_name == "__del__" or (code.co_flags & GENERATORS and sys.exc_info()[0] is GeneratorExit):
        return True
    count = code.co_argcount
    names = code.co_varnames
    given = [frame.f_locals.get(name) for name in names[:count]]
    if code.co_flags & CO_VARARGS:
        given += frame.f_locals.get(names[count + code.co_kwonlyargcount]) or ()
    for argument in given:
        if type(argument) is types.FrameType or isinstance(argument, weakref.ref) and argument() is None:
            return True
    return any([getattr(callback, "__code__", None) is code for callback in gc.callbacks])


def refuse(str what):
    """Raise the CompileError that says what was refused, in which line, and what to do instead.

    It returns if a finalizer or the like asks, which runs during a recording by chance.
    """
    trace = getattr(traces, "current", None)
    begin = None if trace is None else trace.frame
    frame = sys._getframe()
    while frame is not None and frame is not begin:
        if runs_at_any_time(frame):
            return
        frame = frame.f_back
    users = users_frame()
    place = as_text(users.f_code.co_filename, users.f_lineno, users.f_globals)
    message = f"{what} cannot be replayed for other numbers: {WAYS_OUT[what]}.\n  {place}"
    if trace is not None and trace.refused is None:
        trace.refused = message
    raise CompileError(message)


def is_tracing() -> bool:
    """Return whether this thread traces a function."""
    return mgc_tracing()


def is_grad_enabled() -> bool:
    """Return whether results remember what they were made from: not within `no_grad()`."""
    return mgc_grad_enabled()


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


cdef bytes float_flags():
    """The floating-point flags of this thread."""
    cdef fexcept_t flags
    fegetexceptflag(&flags, FE_ALL_EXCEPT)
    return (<char *>&flags)[:sizeof(flags)]


cdef int set_float_flags(bytes before) except -1:
    cdef fexcept_t flags
    memcpy(&flags, <const char *>before, sizeof(flags))
    fesetexceptflag(&flags, FE_ALL_EXCEPT)
    return 0


class Trace:
    """While this context lasts, this thread traces: Values refuse what cannot be replayed, and comparisons make nodes.

    Numbers that are made up for a trace leave no floating-point flags behind, which NumPy would report.

    Attributes:
        refused: what the first refusal said, which the function may have caught; None if there was none.
    """

    def __enter__(self):
        self.flags = float_flags()
        self.refused, self.around = None, getattr(traces, "current", None)    # the Trace within which this one begins
        traces.current, self.frame = self, sys._getframe()       # what the frame of who traces calls is recorded
        mgc_trace(1)
        return self

    def __exit__(self, kind=None, error=None, trace=None):
        mgc_trace(-1)
        traces.current, self.frame, self.around = self.around, None, None
        set_float_flags(self.flags)


class Input(Value):
    """A number among the arguments of a function that is traced."""

    def __hash__(self):
        refuse("hash(v)")
        return Value.__hash__(self)


class IntegerInput(Input):
    """An integer among them."""

    def __index__(self):
        refuse("values[i]")
        return int(self.data)
