# The shortest way into a program: for arguments that look like those of the call before. Included by program.pyx.

from cpython.buffer cimport PyBUF_FORMAT, PyBUF_STRIDES, PyBuffer_IsContiguous, PyObject_GetBuffer
from cpython.list cimport PyList_GET_ITEM

from microgradc import changes as changes_module

cdef dict change_of = vars(changes_module)      # latest: the last change

cdef enum:
    MOST_SHORTCUTS = 4
    MOST_AXES = 4
    MOST_SHARED_AMONG = 64          # arguments: a bit for each
    # What an argument is that is no array
    A_NUMBER = -1
    AN_INTEGER = -2
    A_LIST = -3
    A_LIST_OF_INTEGERS = -4
    A_STATIC = -5

ctypedef struct mgc_pattern:
    int axes                        # or what it is
    Py_ssize_t size                 # how many numbers
    Py_ssize_t shape[MOST_AXES]


@cython.internal
cdef class Pattern:
    """What arguments look like that are floats, integers, lists of one of these, float64 arrays, or static."""
    cdef mgc_pattern *arguments
    cdef Py_ssize_t count, numeric  # how many there are, and how many that are not static
    cdef tuple shapes               # of each argument's gradient; None for a float
    cdef tuple statics              # what is static, in its place

    def __cinit__(self, tuple args):
        cdef mgc_pattern *p
        self.arguments = <mgc_pattern *>PyMem_Malloc((len(args) + 1) * sizeof(mgc_pattern))
        if self.arguments == NULL:
            raise MemoryError("no memory for the shapes of arguments")
        self.count = len(args)
        self.statics = tuple([a if is_static(a) else None for a in args])
        shapes = []
        for i, a in enumerate(args):
            p = &self.arguments[i]
            if is_static(a):
                p.axes, p.size = A_STATIC, 0
                shapes.append(None)
                continue
            self.numeric += 1
            if PyFloat_Check(a) or type(a) is int:
                p.axes, p.size = A_NUMBER if PyFloat_Check(a) else AN_INTEGER, 1
                shapes.append(None)
            elif type(a) is list:
                p.axes, p.size = A_LIST if PyFloat_Check(a[0]) else A_LIST_OF_INTEGERS, len(<list>a)
                shapes.append((p.size,))
            else:
                p.axes, p.size = a.ndim, a.size
                for axis in range(p.axes):
                    p.shape[axis] = a.shape[axis]
                shapes.append(a.shape)
        self.shapes = tuple(shapes)

    def __dealloc__(self):
        PyMem_Free(self.arguments)

    cdef Py_ssize_t size(self) noexcept:
        """How many numbers the arguments have."""
        cdef Py_ssize_t i, total = 0
        for i in range(self.count):
            total += self.arguments[i].size
        return total

    cdef bint may_fit(self, tuple args) except -1:
        """Whether arguments may look like this: what `read` finds in the end."""
        cdef Py_ssize_t i
        cdef mgc_pattern *p
        if PyTuple_GET_SIZE(args) != self.count:
            return False
        for i in range(self.count):
            p = &self.arguments[i]
            a = <object>PyTuple_GET_ITEM(args, i)
            if p.axes == A_NUMBER:
                if not PyFloat_Check(a):
                    return False
            elif p.axes == AN_INTEGER:
                if type(a) is not int:
                    return False
            elif p.axes == A_STATIC:
                if not self.has_static(i, a):
                    return False
            elif p.axes < 0:
                if type(a) is not list or len(<list>a) != p.size:
                    return False
            elif not is_plain(a) or len(a) != p.shape[0]:
                return False
        return True

    cdef bint read(self, tuple args, double *to) except -1:
        """Read the numbers of one example; return whether the arguments look like this."""
        cdef Py_ssize_t i
        if PyTuple_GET_SIZE(args) != self.count:
            return False
        for i in range(self.count):
            if not self.read_argument(i, <object>PyTuple_GET_ITEM(args, i), to):
                return False
            to += self.arguments[i].size
        return True

    cdef bint read_argument(self, Py_ssize_t i, object a, double *to) except -1:
        """Read the numbers of argument i; return whether it looks like this."""
        cdef mgc_pattern *p = &self.arguments[i]
        cdef Py_ssize_t j
        if p.axes == A_NUMBER or p.axes == AN_INTEGER:
            return read_plain(a, p.axes == AN_INTEGER, to)
        if p.axes == A_STATIC:
            return self.has_static(i, a)
        if p.axes >= 0:
            return read_array(a, p, to)
        if type(a) is not list or len(<list>a) != p.size:
            return False
        for j in range(p.size):
            if not read_plain(<object>PyList_GET_ITEM(a, j), p.axes == A_LIST_OF_INTEGERS, to + j):
                return False
        return True

    cdef object gradients(self, const double *grads):
        """Gradients in the shape of the arguments, None for a static one; if one is not, its gradient alone."""
        cdef Py_ssize_t i
        cdef list found = []
        for i in range(self.count):
            if self.arguments[i].axes == A_STATIC:
                if self.numeric != 1:
                    found.append(None)
                continue
            shape = self.shapes[i]
            found.append(grads[0] if shape is None else array_with(shape, grads))
            grads += self.arguments[i].size
        return found[0] if self.numeric == 1 else tuple(found)

    cdef bint has_static(self, Py_ssize_t i, object a) except -1:
        """Whether argument i is static, and the same."""
        same = self.statics[i]
        if a is same or (type(a) is type(same) and a == same):
            return True
        return type(same) is Static and type(a) is bool and (<Static>same).value is a

    cdef tuple arrays(self, tuple args):
        """The arguments of a batch that are arrays."""
        cdef Py_ssize_t i
        if self.numeric == self.count:
            return args
        return tuple([args[i] for i in range(self.count) if self.arguments[i].axes != A_STATIC])

    cdef Py_ssize_t examples(self, tuple args) except -1:
        """How many examples there are in arrays, whose rows look like this; 0 if they do not."""
        cdef Py_ssize_t i, n = 0
        cdef mgc_pattern *p
        if PyTuple_GET_SIZE(args) != self.count:
            return 0
        for i in range(self.count):
            p = &self.arguments[i]
            a = <object>PyTuple_GET_ITEM(args, i)
            if p.axes == A_STATIC:
                if not self.has_static(i, a):
                    return 0
                continue
            if not is_plain(a):
                return 0
            shape = <tuple>a.shape
            if not shape or (n and shape[0] != n) or shape[1:] != (self.shapes[i] or ()) or not is_ready(a):
                return 0
            if p.axes == AN_INTEGER or p.axes == A_LIST or p.axes == A_LIST_OF_INTEGERS:
                return 0
            n = shape[0]
        return n


cdef inline bint read_plain(object a, bint integer, double *to) except -1:
    """Read a float, or an integer; return whether it is one."""
    if not integer:
        if not PyFloat_Check(a):
            return False
        to[0] = PyFloat_AS_DOUBLE(a)
    else:
        if type(a) is not int:
            return False
        to[0] = number(a)
    return True


cdef bint read_array(object a, mgc_pattern *p, double *to) except -1:
    """Read the numbers of a float64 array; return whether it is one of this shape."""
    cdef Py_buffer view
    cdef bint fits
    if not is_plain(a):
        return False
    PyObject_GetBuffer(a, &view, PyBUF_STRIDES | PyBUF_FORMAT)
    fits = (view.ndim == p.axes and view.format != NULL and view.format[0] == c"d" and view.format[1] == 0
            and not memcmp(view.shape, p.shape, p.axes * sizeof(Py_ssize_t)) and PyBuffer_IsContiguous(&view, c"C"))
    if fits:
        memcpy(to, view.buf, p.size * sizeof(double))
    PyBuffer_Release(&view)
    return fits


cdef object array_with(tuple shape, const double *numbers):
    """A new float64 array with these numbers."""
    cdef Py_buffer view
    array = new_array(shape)
    view_float64(array, &view, True)
    memcpy(view.buf, numbers, view.len)
    PyBuffer_Release(&view)
    return array


cdef bint is_static(object a):
    """Whether an argument is static; a bool is, too."""
    if type(a) is Static or a is None or a is True or a is False or isinstance(a, (str, bytes)):
        return True
    return type(type(a)) is not type and isinstance(a, Enum)


def pattern_of(tuple args):
    """Return what arguments look like, for `Latest.add`; None if it does not know it: Values, nests, other numbers."""
    load_types()
    for a in args:
        if is_static(a):
            continue
        if type(a) is list:
            if not a or not (all([PyFloat_Check(x) for x in a]) or all([type(x) is int for x in a])):
                return None
        elif type(a) is array_type:
            if not is_plain(a) or not 0 < a.ndim <= MOST_AXES:
                return None
        elif not PyFloat_Check(a) and type(a) is not int:
            return None
    return Pattern(args)


@cython.internal
@cython.final
cdef class Shortcut:
    """A recording, and what arguments look like that are for it.

    Args:
        recording: a Recording.
        pattern: of the arguments; where some are shared, of the others.
        names: of the last of them.
        positions: of those that are shared.
        shared: their pattern, or None.
    """
    cdef object recording, change
    cdef Program program
    cdef Watch watch
    cdef Pattern pattern, shared
    cdef tuple names
    cdef unsigned long long is_shared       # the positions of those that are, as bits
    cdef tuple axes                 # of the results of an example where they are one array
    cdef bint has_one_output

    def __cinit__(self, recording, Pattern pattern, tuple names, frozenset positions, Pattern shared):
        self.recording, self.change, self.program = recording, recording.change, recording.program
        self.watch, self.pattern, self.has_one_output = recording.watch, pattern, recording.has_one_output
        self.axes, self.names, self.shared, self.is_shared = recording.axes, names, shared, 0
        for i in positions:
            self.is_shared |= 1ULL << <int>i

    cdef bint holds(self) except -1:
        return change_of["latest"] is self.change and self.watch.holds()

    cdef tuple part(self, tuple args, bint shared):
        """The arguments that are shared, or the others."""
        cdef Py_ssize_t i
        cdef list found
        if self.shared is None:
            return () if shared else args
        found = []
        for i in range(min(PyTuple_GET_SIZE(args), MOST_SHARED_AMONG)):
            if (self.is_shared >> i & 1) == shared:
                found.append(<object>PyTuple_GET_ITEM(args, i))
        return tuple(found)

    cdef Py_ssize_t examples(self, tuple args) except -1:
        """How many examples there are in a batch, if it looks like this; else 0. What is shared is still to be read."""
        cdef Py_ssize_t n
        if self.shared is not None and PyTuple_GET_SIZE(args) > MOST_SHARED_AMONG:
            return 0
        n = self.pattern.examples(self.part(args, False))
        return n if self.shared is None or (n and self.shared.may_fit(self.part(args, True))) else 0

    cdef Call call(self, tuple args, int wanted):
        """A call for a batch that looks like this, its arguments read; None if it does not in the end."""
        cdef Call call = self.program.runner(wanted).call()
        if self.shared is not None:
            call.has_shared = False
            if not self.shared.read(self.part(args, True), call.scalars.doubles):
                call.release()
                return None
        call.set_arrays(self.pattern.arrays(self.part(args, False)))
        return call


@cython.final
cdef class Latest:
    """The recordings that were used last, for calls whose arguments look like those of the calls before.

    Its methods take the arguments of a call and the names of the last of them, and return None where they do not look
    so, or where a recording may not hold any more: then the call goes the way of all calls.

    Args:
        recordings: the Recordings they are from, which are told when another one is used than the time before.
    """
    cdef object recordings
    cdef list shortcuts             # that which was used last comes first

    def __init__(self, recordings):
        self.recordings, self.shortcuts = recordings, []

    def __reduce__(self):
        return Latest, (self.recordings,)

    def add(self, recording, Pattern pattern, tuple names=(), frozenset positions=frozenset(), Pattern shared=None):
        """Let a recording be found for arguments that look like those that it was found for.

        Args:
            recording: a Recording.
            pattern: what `pattern_of` returned for the arguments of an example that are not shared, before the
                recording was made.
            names: of the last arguments.
            positions, shared: which arguments are shared, and what `pattern_of` returned for these.
        """
        cdef Shortcut known
        cdef Program program = recording.program
        if pattern is None or pattern.size() != program.input_count:
            return
        if shared is not None and shared.count + pattern.count > MOST_SHARED_AMONG:
            return
        if (0 if shared is None else shared.size()) != program.shared_count:
            return
        kept = self.recordings.used
        others = [known for known in self.shortcuts if known.recording in kept and known.recording is not recording]
        made = Shortcut(recording, pattern, names, positions, shared)
        self.shortcuts = [made, *others[:MOST_SHORTCUTS - 1]]

    cdef bint holds(self, Shortcut found) except -1:
        """Whether a recording still holds; if so, it was used last. Python code may run meanwhile."""
        recordings = self.recordings
        if not found.holds():
            return False
        if recordings.latest is not found.recording:
            if found.recording not in recordings.used:
                return False
            recordings.use(found.recording)
        if self.shortcuts and self.shortcuts[0] is not found:
            self.shortcuts = [found, *[other for other in self.shortcuts if other is not found][:MOST_SHORTCUTS - 1]]
        return True

    cdef Shortcut of_example(self, tuple args, tuple names):
        """The shortcut for the arguments of an example, which are still to be read; None if there is none."""
        cdef Shortcut found
        if tracing() or detecting():
            return None
        for found in self.shortcuts:
            if found.shared is None and found.names == names and found.pattern.may_fit(args):
                return found if self.holds(found) else None
        return None

    cdef Shortcut of_batch(self, tuple args, tuple names, Py_ssize_t *n):
        """The shortcut for a batch, and how many examples it has; None if there is none."""
        cdef Shortcut found
        if tracing() or detecting():
            return None
        for found in self.shortcuts:
            if found.names != names:
                continue
            n[0] = found.examples(args)
            if n[0]:
                return found if self.holds(found) else None
        return None

    def value_and_grad(self, tuple args, tuple names=()):
        """Return what `Compiled.value_and_grad` returns, or None."""
        cdef Call call
        cdef Shortcut found = self.of_example(args, names)
        if found is None or not found.has_one_output:
            return None
        call = found.program.runner(INPUT_GRADIENTS).call()
        if not found.pattern.read(args, call.row.doubles):
            call.release()
            return None
        call.use_row()
        call.set_seeds(ONE_SEED)
        call.read_parameters(found.program)
        call.execute()
        result = call.sums[0], found.pattern.gradients(call.row_grads.doubles)
        call.release()
        return result

    def example(self, tuple args, tuple names=()):
        """Return what a compiled function returns when it is called, or None."""
        cdef Call call
        cdef Shortcut found = self.of_example(args, names)
        if found is None:
            return None
        call = found.program.runner(found.program.wanted_now(None)).call()
        if not found.pattern.read(args, call.row.doubles):
            call.release()
            return None
        call.use_row()
        values = found.program.one_example(call, None)
        return values[0] if found.has_one_output else found.recording.rebuild(values)

    def map(self, tuple args, tuple names=()):
        """Return what `Compiled.map` returns, or None."""
        cdef Call call
        cdef Py_ssize_t n = 0
        cdef Shortcut found = self.of_batch(args, names, &n)
        if found is None or found.axes is None:
            return None
        call = found.call(args, FORWARD)
        if call is None:
            return None
        result = new_array((n, *found.axes))
        call.set_outputs(result, False)
        call.set_seeds(None)
        call.read_parameters(found.program)
        call.execute()
        call.release()
        return result

    def total(self, tuple args, tuple names, bint mean):
        """Return what `Compiled.mean`, or `sum`, returns, or None."""
        cdef Call call
        cdef Py_ssize_t n = 0
        cdef Shortcut found = self.of_batch(args, names, &n)
        cdef double factor
        cdef int wanted
        if found is None:
            return None
        wanted = found.program.wanted_now(None)
        call = found.call(args, wanted)
        if call is None:
            return None
        factor = 1.0 / n if mean else 1.0
        call.set_seeds([factor] if wanted != FORWARD else None)
        call.read_parameters(found.program)
        call.execute()
        values = found.program.totals_of(call, found.pattern.arrays(found.part(args, False)), factor, None, None)
        return values[0] if found.has_one_output else found.recording.rebuild(values)

    def total_and_grad(self, tuple args, tuple names, bint mean):
        """Return what `Compiled.sum_value_and_grad`, or that of the mean, returns, or None."""
        cdef Call call
        cdef Py_ssize_t n = 0
        cdef double factor
        cdef Shortcut found = self.of_batch(args, names, &n)
        if found is None or found.shared is None or not found.has_one_output:
            return None
        call = found.call(args, PARAMETER_GRADIENTS)
        if call is None:
            return None
        factor = 1.0 / n if mean else 1.0
        call.set_seeds([factor])
        call.read_parameters(found.program)
        call.execute()
        result = call.sums[0] * factor, found.shared.gradients(call.gscalars.doubles)
        call.release()
        return result
