# Who looks at new nodes: where they are made, and whether their numbers are finite. Included by value.pyx.
#
# While nobody does, this costs nothing: a new node asks one question for all modes (mgc_modes_anywhere in modes.h), and
# a backward pass one. A line is kept with its node, so it is known as long as the node lives.

cdef extern from "engine/modes.h":
    bint mgc_noting()
    bint mgc_detecting()
    Py_ssize_t mgc_detecting_here
    void mgc_note(Py_ssize_t by)
    void mgc_detect(Py_ssize_t by)


class AnomalyError(FloatingPointError):
    """The first number that is not finite, within `detect_anomaly()`.

    Attributes:
        operation: the name of the operation, as `_op` has it.
        operands: what it was made from, Values and floats.
        operand: of a gradient, which of these it goes to; None for a number on the way forward.
        place: the file and line of the user's code that made the node; None if it is not known.
    """

    def __init__(self, message, operation=None, operands=(), operand=None, place=None):
        super().__init__(message)
        self.operation, self.operands, self.operand, self.place = operation, operands, operand, place

    def __reduce__(self):
        return (type(self), (*self.args, self.operation, (), self.operand, self.place))   # without the graph


cdef object users_frame():
    """The frame that runs the user's code: the last one that is not of a library, or the first of all."""
    frame = sys._getframe()
    while frame.f_back is not None and is_library(frame.f_globals.get("__name__", "").partition(".")[0]):
        frame = frame.f_back
    return frame


cdef str as_text(file, line, module_globals=None):
    import linecache     # here, for it takes as long to import as the rest of the engine

    text = linecache.getline(file, line, module_globals).strip()
    return f"{file}, line {line}" + (f": {text}" if text else "")


def place_of(Value v not None):
    """Return the file and the line of the user's code that made a node, a tuple; None if nobody noted it."""
    cdef Baggage baggage = baggage_if_any(v)
    return None if baggage is None else baggage.place


def place_as_text(place) -> str:
    """Return a file and a line with what is there."""
    return "a line that is not known" if place is None else as_text(place[0], place[1])


def derive(Value v):
    """Say of which operation the derivative is that is made from now on, while places are noted.

    A derivative has the place of the operation of the user's, whatever its order.

    Args:
        v: the node of an operation; None at the end.
    """
    cdef Baggage baggage
    if v is None:
        traces.derived = None
    else:
        baggage = baggage_if_any(v)
        node, order = (v, 0) if baggage is None or baggage.derived is None else baggage.derived
        traces.derived = node, order + 1


cdef tuple place_in_force(tuple derived):
    """The file and the line of an operation that is made now, perhaps for a derivative."""
    if derived is not None and place_of(derived[0]) is not None:
        return place_of(derived[0])
    frame = users_frame()
    return frame.f_code.co_filename, frame.f_lineno


cdef int observe "mgc_observe"(object made, mgc_node *operation) except -1:
    """See a new node, and the operation that made it."""
    cdef Value v = <Value>made
    if mgc_noting():
        baggage_of(v).derived = getattr(traces, "derived", None)
        baggage_of(v).place = place_in_force(baggage_of(v).derived)
        then = getattr(traces, "then", None)
        if then is not None:
            then(v)
    if mgc_detecting() and not isfinite(operation.data):
        raise forward_anomaly(v, operation)
    return 0


cdef tuple operands_in(mgc_node *operation):
    cdef Py_ssize_t i, count = mgc_operand_count(operation)
    cdef list operands = [None] * count     # filled, not a comprehension: see children_of
    for i in range(count):
        if mgc_operand_is_node(operation, i):
            operands[i] = <Value>mgc_value_of(mgc_operand_at(operation, i).node)
        else:
            operands[i] = mgc_operand_value(operation, i)
    return tuple(operands)


cdef str name_in(Value v, mgc_node *operation):
    """The name of an operation; v is the node, which may have another one."""
    cdef str name = op_of(v)
    if name == "":
        name = (mgc_wide_names[operation.op - MGC_TABLE_END].decode().lower() if operation.op >= MGC_TABLE_END
                else mgc_rows[operation.op].op.decode())
    return name


cdef str shown_operand(Py_ssize_t i, x):
    """An operand in a message: its label, its number, where it comes from."""
    cdef Value v
    if not isinstance(x, Value):
        return f"operand {i}: {x!r}, a constant"
    v = <Value>x
    name = f"{v.label!r}, " if v.label != "" else ""
    kind = "a leaf" if v.node.op == MGC_LEAF else f"the result of {op_of(v)!r}"
    place = place_of(v)
    return f"operand {i}: {v.node.data!r}, {name}{kind}" + ("" if place is None else f" in {place_as_text(place)}")


cdef list shown_operands(tuple operands):
    cdef list lines = [shown_operand(i, x) for i, x in enumerate(operands[:8])]
    return lines + ([f"and {len(operands) - 8:,} more operands"] if len(operands) > 8 else [])


cdef bint is_finite(x) except -1:
    return isfinite((<Value>x).node.data if isinstance(x, Value) else <double>x)


cdef object forward_anomaly(Value v, mgc_node *operation):
    """The error that says that the result of an operation is not finite; v is the node, which may have no operands."""
    cdef Baggage baggage = baggage_if_any(v)
    cdef tuple operands = operands_in(operation), place, derived = None if baggage is None else baggage.derived
    cdef str name = name_in(v, operation)
    bad = [i for i, x in enumerate(operands) if not is_finite(x)]
    what = f"the result of {name!r} is {operation.data!r}"
    if bad:
        what += f", for operand {bad[0]} was not finite already when it came in"
    frame = users_frame()
    place = place_of(v)
    if place is None:
        place = frame.f_code.co_filename, frame.f_lineno
    lines = [what, *shown_operands(operands)]
    if derived is not None:
        lines = shown_derivative(derived[0], derived[1], lines)
        if (<Value>derived[0]).node.op != MGC_LEAF:
            operands, name = operands_in(&(<Value>derived[0]).node), name_in(derived[0], &(<Value>derived[0]).node)
    lines.append(as_text(place[0], place[1], frame.f_globals if place[0] == frame.f_code.co_filename else None))
    return AnomalyError("\n  ".join(lines), name, operands, None, place)


def anomaly_at(Value v not None):
    """Return the AnomalyError that says that the number of a node is not finite."""
    return forward_anomaly(v, &v.node)


cdef list shown_derivative(Value v, order, list lines):
    """What is said of an operation that is made for the derivative of the user's, and of that one."""
    which = "the derivative" if order == 1 else f"the derivative of order {order}"
    if v.node.op == MGC_LEAF:       # where what it receives is added up
        return [f"in {which} with respect to {shown_node(v)}, {lines[0]}", *lines[1:]]
    return [f"in {which} of {name_in(v, &v.node)!r}, {lines[0]}", *lines[1:],
            f"the node: {shown_node(v)}", *shown_operands(operands_in(&v.node))]


cdef int sweep_detecting(Pass *p) except -1:
    """The same as sweep, whose root has its gradient, with a look at each number that is sent."""
    cdef mgc_node *node
    cdef Py_ssize_t i
    for i in range(p.order.size - 1, -1, -1):
        node = p.order.items[i]
        before = gradients_in(node)
        arrived = node.grad
        if node.flags & MGC_CLOSURE:
            run_python(node, p)
        else:
            mgc_propagate(node)
        require_finite_gradients(<Value>mgc_value_of(node), arrived, before)
        if i % CHECK_SIGNALS_EVERY == 0 and i:
            PyErr_CheckSignals()
    return 0


cdef list gradients_in(mgc_node *node):
    """The gradients of the operands that are nodes."""
    cdef Py_ssize_t i, count = mgc_operand_count(node)
    cdef list found = [0.0] * count
    for i in range(count):
        if mgc_operand_is_node(node, i):
            found[i] = mgc_operand_at(node, i).node.grad
    return found


cdef int require_finite_gradients(Value v, double arrived, list before) except -1:
    cdef Py_ssize_t i
    cdef tuple operands
    cdef str name
    if isfinite(arrived) and not isfinite(v.node.grad):
        raise AnomalyError(f"a hook made {v.node.grad!r} of the gradient {arrived!r} of {shown_node(v)}",
                           op_of(v), operands_in(&v.node), None, place_of(v))
    for i, x in enumerate(gradients_in(&v.node)):
        if isfinite(<double>x):
            continue
        if baggage_if_any(v) is not None and baggage_if_any(v).origin is not None:
            baggage_if_any(v).origin()      # which raises, with the line
        operands, name = operands_in(&v.node), name_in(v, &v.node)
        if not isfinite(<double>before[i]):
            what = (f"the gradient of operand {i} of {name!r} was {before[i]!r} before this backward() began: set it "
                    "to 0 first")
        elif not mgc_operand_is_node(&v.node, i) or has_closure(v):
            what = f"the _backward of {shown_node(v)} made the gradient of operand {i} {x!r}"
        elif isfinite(mgc_local_gradient(&v.node, i) * arrived):
            what = f"the gradient of operand {i} of {name!r} is {x!r}: its terms add up to too large a number"
        else:
            what = f"the gradient that {name!r} sends to operand {i} is {x!r}"
        lines = [what, f"the node: {shown_node(v)}, which got the gradient {arrived!r}", *shown_operands(operands)]
        frame = users_frame()
        lines.append(f"backward() in {as_text(frame.f_code.co_filename, frame.f_lineno, frame.f_globals)}")
        raise AnomalyError("\n  ".join(lines), name, operands, i, place_of(v))
    return 0


cdef str shown_node(Value v):
    label = f"{v.label!r}, " if v.label != "" else ""
    place = place_of(v)
    return f"{v.node.data!r}, {label}" + (f"the result of {name_in(v, &v.node)!r}" if v.node.op else "a leaf") + (
        "" if place is None else f" in {place_as_text(place)}")


def set_origin(values, origin):
    """Say of the results of one call what to do when they send a gradient that is not finite.

    Args:
        values: Values.
        origin: a callable of no arguments, which raises an AnomalyError if it can say more.
    """
    cdef Value v, common
    for v in values:
        if v.node.op != MGC_LEAF:
            common = common_of(v)
            baggage_of(v if common is None else common).origin = origin
            mgc_track(&v.node)


def is_noting() -> bool:
    """Return whether this thread notes where nodes are made."""
    return mgc_noting()


def is_detecting() -> bool:
    """Return whether this thread is within `detect_anomaly()`."""
    return mgc_detecting()


cdef bint detecting() noexcept:
    return mgc_detecting()


cdef class Observer:
    """A context in which this thread notes where nodes are made; which and what else, say its subclasses."""
    cdef unsigned long thread
    cdef Py_ssize_t depth, notes, detects

    def __enter__(self):
        cdef unsigned long thread = PyThread_get_thread_ident()
        if self.depth and self.thread != thread:
            raise RuntimeError(f"{type(self).__name__} is in force in another thread; make another one")
        self.thread = thread
        self.depth += 1
        mgc_note(self.notes)
        mgc_detect(self.detects)
        return self

    def __exit__(self, kind=None, error=None, trace=None):
        if not self.depth or self.thread != PyThread_get_thread_ident():
            raise RuntimeError(f"{type(self).__name__} is left by the thread that entered it, as often as it entered")
        self.depth -= 1
        mgc_note(-self.notes)
        mgc_detect(-self.detects)

    def __reduce__(self):
        return type(self), ()       # a copy is not entered


class noting_places(Observer):
    """While this context lasts, the nodes that this thread makes know in which line of the user's code that was.

    Args:
        then: called with each of them when it was made; it may change their data.
    """

    def __init__(self, then=None):
        (<Observer>self).notes = 1
        self.then = then

    def __enter__(self):
        Observer.__enter__(self)
        self.around, traces.then = getattr(traces, "then", None), self.then
        return self

    def __exit__(self, kind=None, error=None, trace=None):
        Observer.__exit__(self)
        traces.then = self.around


class detect_anomaly(Observer):
    """Raise at the first number that is not finite, forward or backward, with the line that made it.

    As `torch.autograd.detect_anomaly`, for numbers on the way forward too. A context manager; contexts may be nested,
    and are in force for the thread that enters them. An operation whose result is inf or nan raises at once; a gradient
    does during `backward()`, which has to be called within the context as well, and leaves may then have got a part of
    their gradients. Where a compiled function gives such a number, the one bad example is called again as plain Python,
    which finds the line. Nodes remember where they were made, so all is slower within the context.

    Raises:
        AnomalyError: a number is not finite. It names the operation, its operands with their numbers and labels, and
            the line of your code; an operand that was not finite when it came in is named as such.

    >>> x = Value(0.0, label="x")
    >>> try:
    ...     with detect_anomaly():
    ...         (x.sqrt() * 2).backward()
    ... except AnomalyError as error:
    ...     error.operation, error.operand
    ('sqrt', 0)
    """

    def __init__(self):
        (<Observer>self).notes = (<Observer>self).detects = 1


class undetected(Observer):
    """While this context lasts, numbers need not be finite."""

    def __enter__(self):
        (<Observer>self).detects = -mgc_detecting_here
        return Observer.__enter__(self)
