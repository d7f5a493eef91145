# distutils: define_macros=CYTHON_USE_TYPE_SPECS=1
# A heap type, whose methods people may replace: writing to another kind's `__name__` would overwrite memory.
"""Value: a number that remembers how it was made, and finds the derivatives of what was made from it."""

cimport cython
from cpython.complex cimport PyComplex_Check
from cpython.exc cimport PyErr_CheckSignals
from cpython.float cimport PyFloat_AS_DOUBLE, PyFloat_Check, PyFloat_CheckExact
from cpython.long cimport PyLong_AsDouble, PyLong_Check, PyLong_CheckExact
from cpython.mem cimport PyMem_Calloc, PyMem_Free, PyMem_Realloc
from cpython.object cimport PyTypeObject, Py_EQ, Py_GT, Py_LE, Py_LT, Py_NE
from cpython.ref cimport Py_DECREF, Py_INCREF, Py_XDECREF
from libc.math cimport INFINITY, NAN, fabs, fmax, fmin, frexp, isfinite, ldexp, nextafter
from libc.stdint cimport intptr_t, uint64_t, uintptr_t
from libc.string cimport memset

import os
import sys
from collections import namedtuple
from functools import wraps
from math import ceil, floor, pi, trunc
from numbers import Complex, Real

cdef extern from "engine/methods.h":
    int mgc_install_methods(PyTypeObject *) except -1

cdef extern from "engine/modes.h":
    void mgc_forget_other_threads()
    bint mgc_grad_enabled()
    bint mgc_tracing()
    void mgc_trace(int by)

cdef extern from "engine/memory.h":
    int mgc_install_slots(PyTypeObject *) except -1
    void mgc_track(mgc_node *)
    void mgc_drop_wide(mgc_wide *)

cdef extern from "engine/arguments.h":
    int mgc_install_check_of_names(PyTypeObject *) except -1

cdef extern from "engine/making.h":
    object mgc_new_leaf(double)
    bint mgc_is_truth(const mgc_node *)
    void mgc_make_truth(mgc_node *)
    object mgc_new_unary(int op, mgc_node *)
    object mgc_new_binary(int op, mgc_node *, mgc_node *)
    object mgc_new_right_number(int op, mgc_node *, double, bint integer)
    object mgc_new_left_number(int op, double, mgc_node *, bint integer)

__all__ = ["TABLE", "AnomalyError", "CompileError", "Row", "Value", "detect_anomaly", "function", "no_grad",
           "topological_sort"]

include "versions.pxi"
include "numbers.pxi"
include "tables.pxi"
include "rows.pxi"
include "baggage.pxi"
include "graph.pxi"
include "hooks.pxi"
include "observing.pxi"
include "operators.pxi"
include "wide.pxi"
include "by_hand.pxi"
include "arguments.pxi"
include "shared_leaves.pxi"
include "joint.pxi"
include "loops.pxi"
include "children.pxi"
include "copying.pxi"
include "differences.pxi"
include "custom.pxi"
include "no_grad.pxi"
include "in_cells.pxi"


cdef str OPERANDS_STAY = ("the operands of a node never change: make a new one, Value(data, children, ...), "
                          "or a leaf of its number, Value(v.data)")


# Without binding, methods are CPython's own method descriptors, which check the type of self; Cython's functions do not
# (https://github.com/cython/cython/issues/1903). The clinic format is what inspect.signature reads there; Cython does
# not write it for the class, whose docstring begins with the arguments of __init__.
@cython.binding(False)
@cython.embedsignature(True)
@cython.embedsignature.format("clinic")
cdef class Value:
    """Value(data, _children=(), _op='', label='')\n--\n\nA scalar that takes part in a computation, and its gradient.

    Arithmetic with Values and real numbers makes new Values and remembers their operands; `backward()` on the last of
    them puts d last / d v into the `grad` of each v that it was made from. Numbers are C doubles, arithmetic is IEEE
    754. `==` and `hash` go by identity, `<`, `<=`, `>` and `>=` by data.

    Args:
        data: a real number: int, float, bool, a NumPy scalar, anything with `__float__` that is not an array.
        _children: the Values that this one was made from, for a node built by hand. A str here is the label, and the
            rest moves up: `Value(2.0, "a")`, `Value(2.0, "c", (a, b), "+")`.
        _op: the name of the operation, for pictures. Or one number for each child: d self / d child. `backward()` then
            uses these. (A node that has children but no such numbers passes nothing back unless `_backward` is
            assigned.)
        label: a name, for pictures.

    Raises:
        TypeError: data is not a real number, a child is not a Value, a local gradient is not a number.
        ValueError: there are not as many local gradients as children.

    Differs from micrograd: data is a float always; docs/differences.md has the list.

    >>> a, b = Value(2.0, label='a'), Value(-3.0, label='b')
    >>> c = a * b + 10
    >>> c.backward()
    >>> c, a.grad, b.grad
    (Value(data=4.0, grad=1.0), -3.0, 2.0)
    """

    # Between NumPy's scalars, which so leave `np.float64(2) * v` to us, and its arrays, which so take `array * v`.
    __array_priority__ = -1.0

    def __init__(self, data, _children=(), _op="", label=""):
        cdef double number = require_number(data, "data")
        if type(_children) is str:
            label, _children, _op = label_first(_children, _op, label)
        if self.node.op != MGC_LEAF or (self.node.flags & MGC_INITIALISED and _children != ()):
            raise TypeError("a Value is given its children once, when it is made; make a new Value")
        local = None
        if _children == ():
            if type(_op) is not str and _op != ():
                raise TypeError("_op must be a str, or numbers that go with children, "
                                f"got {describe(_op)} and no children")
        elif type(_op) is not str:
            local, _op = _op, ""
        write_data(self, visible(number, ".data") if self.node.flags & MGC_INITIALISED else number)
        if _children != () and mgc_grad_enabled():
            refuse_while_tracing("a node with local gradients")
        self.node.flags |= MGC_INITIALISED
        if _op != "" and _op != ():
            baggage_of(self).op = _op
        if label != "":
            set_label(self, label)
        if _children != () and mgc_grad_enabled():
            build_by_hand(self, _children, local)

    @property
    def data(self) -> float:
        """The number."""
        return visible(self.node.data, ".data")

    @data.setter
    def data(self, value):
        write_data(self, visible(require_number(value, "data"), ".data"))

    @property
    def grad(self) -> float:
        """d root / d self, for the root that `backward()` was called on. Leaves add up over calls until it is set to
        0."""
        return visible(self.node.grad, ".grad")

    @grad.setter
    def grad(self, value):
        self.node.grad = visible(require_number(value, "grad"), ".grad")

    @property
    def label(self):
        """A name, for pictures; '' if there is none."""
        cdef Baggage baggage = baggage_if_any(self)
        return "" if baggage is None else baggage.label

    @label.setter
    def label(self, value):
        set_label(self, value)

    @property
    def _op(self) -> str:
        """The operation that made this node: '+', '*', '**2', 'ReLU', 'tanh', …; '' for a leaf."""
        return op_of(self)

    @_op.setter
    def _op(self, str value not None):
        baggage_of(self).op = value

    @property
    def _children(self) -> tuple:
        """The operands, in order; one that occurs twice is there twice. Constants become leaves when this is first
        read."""
        return children_of(self)

    @_children.setter
    def _children(self, value):
        raise AttributeError(OPERANDS_STAY)

    @property
    def _prev(self) -> set:
        """The operands, as micrograd has them: a set."""
        return set(children_of(self))

    @_prev.setter
    def _prev(self, value):
        raise AttributeError(OPERANDS_STAY)

    @property
    def _local_grads(self) -> tuple:
        """d self / d child, for each of `_children`; () if that is up to a Python `_backward`."""
        refuse_while_tracing("local gradients")
        return local_gradients_of(self)

    @property
    def _backward(self):
        """A callable that sends this node's gradient on to its operands. Assign a callable of no arguments to replace
        the rule."""
        return closure_of(self) if has_closure(self) else self._propagate

    @_backward.setter
    def _backward(self, value):
        if not callable(value):
            raise TypeError(f"_backward must be a callable of no arguments, got {describe(value)}")
        refuse_while_tracing("_backward")
        baggage_of(self).backward = value
        mgc_closures_assigned()
        self.node.flags |= MGC_CLOSURE
        mgc_track(&self.node)   # a closure that refers to this node is a cycle

    def _propagate(self):
        """Add this node's gradient, times the local derivative, to that of each operand."""
        refuse_while_tracing("backward()")
        mgc_propagate(&self.node)

    def backward(self, gradient=None, retain_graph=None) -> None:
        """Find d self / d v for every v that self was made from, and add it to `v.grad`.

        Leaves add up over calls; the gradients of inner nodes are reset first. So a second call, or two roots that
        share a part, give what they should. The pass is iterative: the depth of the graph is bounded by memory alone.
        The order of the additions is fixed by the graph.

        Args:
            gradient: a number to take the place of d self / d self, which is 1; all gradients are multiplied with it.
            retain_graph: PyTorch's; not needed, as a graph remains for as long as somebody has its last Value.

        Raises:
            KeyboardInterrupt, or whatever a Python `_backward` raises: leaves may then have got a part of their
                gradient; zero them before going on.
            MemoryError: there is no room for the order of the nodes; no leaf has changed.

        Differs from micrograd: a second call is right (micrograd gets 27 and then 45 for x ** 3 at 3; the sum is 54).

        >>> x = Value(3.0)
        >>> y = x ** 3
        >>> y.backward(); y.backward()
        >>> x.grad
        54.0
        """
        refuse_while_tracing("backward()")
        run_backward(self, 1 if gradient is None and retain_graph is None else seed_of(gradient, retain_graph))

    def register_hook(self, hook):
        """Have a function called with the gradient of self when it is complete, in each `backward()`.

        As `torch.Tensor.register_hook`. Of an inner node, that is before its operands get their share; of a leaf,
        before the gradient of this pass, which alone is passed, is added to `grad`. Hooks run in the order of
        registration. A copy has no hooks, and pickling warns that it leaves them out. A hook that raises ends the pass.

        Args:
            hook: a callable that takes the gradient, a float, and returns None, or a number to take its place.

        Returns:
            A handle: `handle.remove()` removes the hook; `with v.register_hook(f):` does at its end.

        Raises:
            TypeError: hook is not callable; in `backward()`: it returned something else.
            CompileError: it is called in a function that is being compiled.

        >>> x = Value(3.0)
        >>> handle = x.register_hook(lambda g: 2 * g)
        >>> (x * x).backward()
        >>> x.grad
        12.0
        """
        return add_hook(self, hook)

    def __setattr__(self, name, value):
        mgc_set_attribute(self, name, value)

    def __delattr__(self, name):
        mgc_delete_attribute(self, name)

    # Arithmetic. NumPy arrays get NotImplemented, and take over.

    def __add__(self, other):
        return binary(MGC_ADD, self, other)

    def __radd__(self, other):
        return binary(MGC_ADD, other, self)

    def __sub__(self, other):
        return binary(MGC_SUB, self, other)

    def __rsub__(self, other):
        return binary(MGC_SUB, other, self)

    def __mul__(self, other):
        return binary(MGC_MUL, self, other)

    def __rmul__(self, other):
        return binary(MGC_MUL, other, self)

    def __truediv__(self, other):
        return binary(MGC_DIV, self, other)

    def __rtruediv__(self, other):
        return binary(MGC_DIV, other, self)

    def __pow__(self, other, modulo):
        return NotImplemented if modulo is not None else binary(MGC_POW, self, other)

    def __rpow__(self, other, modulo):
        return NotImplemented if modulo is not None else binary(MGC_POW, other, self)

    def __floordiv__(self, other):
        return binary(MGC_FLOORDIV, self, other)

    def __rfloordiv__(self, other):
        return binary(MGC_FLOORDIV, other, self)

    def __mod__(self, other):
        return binary(MGC_MOD, self, other)

    def __rmod__(self, other):
        return binary(MGC_MOD, other, self)

    def __divmod__(self, other):
        quotient = binary(MGC_FLOORDIV, self, other)
        return quotient if quotient is NotImplemented else (quotient, binary(MGC_MOD, self, other))

    def __rdivmod__(self, other):
        quotient = binary(MGC_FLOORDIV, other, self)
        return quotient if quotient is NotImplemented else (quotient, binary(MGC_MOD, other, self))

    def __neg__(self):
        return unary(MGC_NEG, self)

    def __pos__(self):
        return self

    def __abs__(self):
        return unary(MGC_ABS, self)

    # Comparison and conversion. Equality is identity, as for any object that defines none.

    def __richcmp__(self, other, int relation):
        return compare(self, other, relation)

    def __bool__(self):
        # What a comparison gave goes by its number; anything else is true, as any object that defines nothing.
        refuse_while_tracing("bool(v)")
        return self.node.data != 0 if mgc_is_truth(&self.node) else True

    def __hash__(self):
        return mgc_hash(self)

    def __float__(self):
        refuse_while_tracing("float(v)")
        if mgc_grad_enabled():
            raise TypeError(FLOAT_WOULD_LOSE)
        return self.node.data

    def __int__(self):
        return int(visible(self.node.data, "int(v)"))

    def __floor__(self):
        return floor(visible(self.node.data, "int(v)"))

    def __ceil__(self):
        return ceil(visible(self.node.data, "int(v)"))

    def __trunc__(self):
        return trunc(visible(self.node.data, "int(v)"))

    def __round__(self, ndigits=None):
        return round(visible(self.node.data, "round(v)"), ndigits)

    def __format__(self, spec):
        return format(visible(self.node.data, "a number as text"), spec) if spec else str(self)

    def __repr__(self):
        if mgc_tracing():
            return f"Value(op={op_of(self)!r}, recorded)"    # a number would be that of one example
        grad = <object>self.node.grad or 0   # in micrograd a gradient that nobody has touched is the int
        return f"Value(data={self.node.data!r}, grad={grad!r})"

    def item(self) -> float:
        """Return the number, as `torch.Tensor.item` does."""
        return visible(self.node.data, ".data")

    def detach(self) -> Value:
        """Return the number as a new leaf, which no gradient goes through, as `torch.Tensor.detach` does."""
        return pair(MGC_STRAIGHT_THROUGH, self, 0.0, "", "") if mgc_tracing() else mgc_new_leaf(self.node.data)

    def conjugate(self) -> Value:
        """Return self: the numbers are real. NumPy asks for it in `np.var`."""
        return self

    def __copy__(self):
        refuse_while_tracing("a copy")
        return shallow_copy(self)

    def __deepcopy__(self, memo):
        refuse_while_tracing("a copy")
        return deepcopy(self, memo)

    def __reduce_ex__(self, protocol):
        if type(self).__reduce__ is not object.__reduce__:
            return self.__reduce__()    # a subclass has its own way
        refuse_while_tracing("a copy")
        return reduce(self)

    # Functions of two operands; those of one are made from the rows of ops.h (methods.h). NumPy's functions of object
    # arrays call them by these names.

    def leaky_relu(self, negative_slope=0.01) -> Value:
        """Return self where it is positive, else negative_slope * self. d/dx = 1 for x > 0, else negative_slope.

        Args:
            negative_slope: a real number, or a Value to learn.
        """
        return pair(MGC_LEAKY_RELU, self, negative_slope, "self", "negative_slope")

    def elu(self, alpha=1.0) -> Value:
        """Return self where it is positive, else alpha * (exp(self) - 1). d/dx = 1 for x > 0, else alpha exp(x).

        Args:
            alpha: a real number, or a Value to learn.
        """
        return pair(MGC_ELU, self, alpha, "self", "alpha")

    def arctan2(self, x) -> Value:
        """Return the angle of the point (x, self) to the x axis, in radians. See `microgradc.atan2`."""
        return pair(MGC_ATAN2, self, x, "self", "x")

    def hypot(self, other) -> Value:
        """Return sqrt(self**2 + other**2). d/dx = x / hypot(x, y)."""
        return pair(MGC_HYPOT, self, other, "self", "other")

    def logaddexp(self, other) -> Value:
        """Return log(exp(self) + exp(other)) without overflow. d/dx = 1 / (1 + exp(y - x))."""
        return pair(MGC_LOGADDEXP, self, other, "self", "other")

    def rint(self) -> Value:
        """Return the nearest integer, the even one of two; `np.rint` and `np.round` ask for it. d/dx = 0."""
        return round_half_to_even(self)

    def deg2rad(self) -> Value:
        """Return self * pi / 180, degrees as radians. d/dx = pi / 180."""
        return self * (pi / 180)

    def rad2deg(self) -> Value:
        """Return self * 180 / pi, radians as degrees. d/dx = 180 / pi."""
        return self * (180 / pi)

    def func(self, f, derivative=None, h=None) -> Value:
        """Return f(self), for any function f of one number.

        Args:
            f: a callable that takes a float and returns a real number.
            derivative: a callable that takes a float and returns f'. If there is none, f' comes from differences: over
                steps h, 2h and 4h, extrapolated to 0. They are tried relative to |x|, then to 1, then smaller or larger
                ones, until the estimated error is small, 1e-8 of f'; else the best counts. Where f has no value on one
                side (a ValueError, an ArithmeticError, nan, inf), they are one-sided. f is called 6 to 60 times.
            h: a step. Then f' is the plain central difference (f(x + h) - f(x - h)) / (2 h).

        Returns:
            A node whose `_op` is f's name.

        Raises:
            TypeError: f or derivative cannot be called, or does not return a real number.
            ValueError: h is not positive, or a derivative is given as well.

        >>> import math
        >>> x = Value(0.5)
        >>> y = x.func(math.exp)
        >>> y.backward()
        >>> abs(x.grad - math.exp(0.5)) < 1e-9
        True
        """
        check_function(f, derivative, h)
        return apply_function(f, (self,), derivative, h)

# Before the first subclass, which inherits the slots.
mgc_install_slots(<PyTypeObject *>Value)
mgc_install_check_of_names(<PyTypeObject *>Value)
mgc_install_methods(<PyTypeObject *>Value)
mgc_install_attributes(<PyTypeObject *>Value, <PyTypeObject *>Baggage)
Value.__module__ = "microgradc.engine"
Value._repr_html_ = in_a_cell

include "tracing.pxi"
include "vectors.pxi"

for _public in (AnomalyError, CompileError, Row, Trace, Input, IntegerInput, RemovableHandle, detect_anomaly, function,
                no_grad, topological_sort, _restore):
    _public.__module__ = "microgradc.engine"     # where users find them, and what pickles refer to
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_other_threads)
