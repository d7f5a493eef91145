# The shortest way into a program: for arguments that look like those of the call before. Included by program.pyx.

from cpython.buffer cimport PyBUF_FORMAT, PyBUF_STRIDES, PyBuffer_IsContiguous, PyObject_GetBuffer
from cpython.list cimport PyList_GET_ITEM

from microgradc import changes as changes_module

cdef dict change_of = vars(changes_module)      # latest: the last change

cdef enum:
    MOST_SHORTCUTS = 4
    MOST_AXES = 4
    # What an argument is that is no array
    A_NUMBER = -1
    AN_INTEGER = -2
    A_LIST = -3
    A_LIST_OF_INTEGERS = -4

ctypedef struct mgc_pattern:
    int axes                        # or what it is
    Py_ssize_t size                 # how many numbers
    Py_ssize_t shape[MOST_AXES]


@cython.internal
cdef class Pattern:
    """What arguments look like that are floats, integers, lists of one of these, and float64 arrays."""
    cdef mgc_pattern *arguments
    cdef Py_ssize_t count
    cdef tuple shapes               # of each argument's gradient; None for a float

    def __cinit__(self, tuple args):
        cdef mgc_pattern *p
        self.arguments = <mgc_pattern *>PyMem_Malloc((len(args) + 1) * sizeof(mgc_pattern))
        if self.arguments == NULL:
            raise MemoryError("no memory for the shapes of arguments")
        self.count = len(args)
        shapes = []
        for i, a in enumerate(args):
            p = &self.arguments[i]
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
            elif p.axes < 0:
                if type(a) is not list or len(<list>a) != p.size:
                    return False
            elif not is_plain(a) or len(a) != p.shape[0]:
                return False
        return True

    cdef bint read(self, tuple args, double *to) except -1:
        """Read the numbers of one example; return whether the arguments look like this."""
        cdef Py_ssize_t i, j
        cdef mgc_pattern *p
        if PyTuple_GET_SIZE(args) != self.count:
            return False
        for i in range(self.count):
            p = &self.arguments[i]
            a = <object>PyTuple_GET_ITEM(args, i)
            if p.axes == A_NUMBER or p.axes == AN_INTEGER:
                if not read_plain(a, p.axes == AN_INTEGER, to):
                    return False
            elif p.axes < 0:
                if type(a) is not list or len(<list>a) != p.size:
                    return False
                for j in range(p.size):
                    if not read_plain(<object>PyList_GET_ITEM(a, j), p.axes == A_LIST_OF_INTEGERS, to + j):
                        return False
            elif not read_array(a, p, to):
                return False
            to += p.size
        return True

    cdef object gradients(self, const double *grads):
        """Gradients in the shape of the arguments; of one argument, its gradient."""
        cdef Py_ssize_t i
        cdef list found = []
        for i in range(self.count):
            shape = self.shapes[i]
            found.append(grads[0] if shape is None else array_with(shape, grads))
            grads += self.arguments[i].size
        return found[0] if self.count == 1 else tuple(found)

    cdef Py_ssize_t examples(self, tuple args) except -1:
        """How many examples there are in arrays, whose rows look like this; 0 if they do not."""
        cdef Py_ssize_t i, n = 0
        cdef mgc_pattern *p
        if PyTuple_GET_SIZE(args) != self.count:
            return 0
        for i in range(self.count):
            p = &self.arguments[i]
            a = <object>PyTuple_GET_ITEM(args, i)
            if not is_plain(a):
                return 0
            shape = <tuple>a.shape
            if not shape or (i and shape[0] != n) or shape[1:] != (self.shapes[i] or ()) or not is_ready(a):
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


def pattern_of(tuple args):
    """Return what arguments look like, for `Latest.add`; None if it does not know it: Values, nests, other numbers."""
    load_types()
    for a in args:
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
    """A recording, and what arguments look like that are for it."""
    cdef object recording, change
    cdef Program program
    cdef Watch watch
    cdef Pattern pattern
    cdef tuple axes                 # of the results of an example where they are one array
    cdef bint has_one_output

    def __cinit__(self, recording, pattern):
        self.recording, self.change, self.program = recording, recording.change, recording.program
        self.watch, self.pattern, self.has_one_output = recording.watch, pattern, recording.has_one_output
        self.axes = recording.axes

    cdef bint holds(self) except -1:
        return change_of["latest"] is self.change and self.watch.holds()


@cython.final
cdef class Latest:
    """The recordings that were used last, for calls whose arguments look like those of the calls before.

    Its methods return None where they do not, or where a recording may not hold any more: then the call goes the way of
    all calls.

    Args:
        recordings: the Recordings they are from, which are told when another one is used than the time before.
    """
    cdef object recordings
    cdef list shortcuts             # that which was used last comes first

    def __init__(self, recordings):
        self.recordings, self.shortcuts = recordings, []

    def __reduce__(self):
        return Latest, (self.recordings,)

    def add(self, recording, Pattern pattern):
        """Let a recording be found for arguments that look like those that it was found for.

        Args:
            recording: a Recording.
            pattern: what `pattern_of` returned for the arguments of an example, before the recording was made.
        """
        cdef Shortcut known
        if pattern is None or pattern.size() != (<Program>recording.program).input_count:
            return
        kept = self.recordings.used
        others = [known for known in self.shortcuts if known.recording in kept and known.recording is not recording]
        self.shortcuts = [Shortcut(recording, pattern), *others[:MOST_SHORTCUTS - 1]]

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

    cdef Shortcut of_example(self, tuple args):
        """The shortcut for the arguments of an example, which are still to be read; None if there is none."""
        cdef Shortcut found
        if tracing() or detecting():
            return None
        for found in self.shortcuts:
            if found.pattern.may_fit(args):
                return found if self.holds(found) else None
        return None

    cdef Shortcut of_batch(self, tuple args, Py_ssize_t *n):
        """The shortcut for a batch, and how many examples it has; None if there is none."""
        cdef Shortcut found
        if tracing() or detecting():
            return None
        for found in self.shortcuts:
            n[0] = found.pattern.examples(args)
            if n[0]:
                return found if self.holds(found) else None
        return None

    def value_and_grad(self, tuple args):
        """Return what `Compiled.value_and_grad` returns, or None."""
        cdef Call call
        cdef Shortcut found = self.of_example(args)
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

    def example(self, tuple args):
        """Return what a compiled function returns when it is called, or None."""
        cdef Call call
        cdef Shortcut found = self.of_example(args)
        if found is None:
            return None
        call = found.program.runner(found.program.wanted_now(None)).call()
        if not found.pattern.read(args, call.row.doubles):
            call.release()
            return None
        call.use_row()
        values = found.program.one_example(call, None)
        return values[0] if found.has_one_output else found.recording.rebuild(values)

    def map(self, tuple args):
        """Return what `Compiled.map` returns, or None."""
        cdef Call call
        cdef Py_ssize_t n = 0
        cdef Shortcut found = self.of_batch(args, &n)
        if found is None or found.axes is None:
            return None
        call = found.program.runner(FORWARD).call()
        call.set_arrays(args)
        result = new_array((call.call.n, *found.axes))
        call.set_outputs(result)
        call.set_seeds(None)
        call.read_parameters(found.program)
        call.execute()
        call.release()
        return result

    def total(self, tuple args, bint mean):
        """Return what `Compiled.mean`, or `sum`, returns, or None."""
        cdef Py_ssize_t n = 0
        cdef Shortcut found = self.of_batch(args, &n)
        if found is None:
            return None
        values = found.program.totals(args, 1.0 / n if mean else 1.0)
        return values[0] if found.has_one_output else found.recording.rebuild(values)


@cython.final
cdef class LatestShared:
    """The same for batches with shared arguments: float64 arrays of examples, and what `Pattern` knows of the others.

    Args:
        recording: a Recording, found for these arguments.
        positions: of the arguments that are shared, in order.
        shared, rows: what `pattern_of` returned for these, and for the others of an example.
    """
    cdef Shortcut found             # its pattern is that of the rows
    cdef tuple positions
    cdef Pattern shared
    cdef bint fits                  # what was recorded: arguments may have changed meanwhile

    def __init__(self, recording, tuple positions, Pattern shared, Pattern rows):
        cdef Program program = recording.program
        self.found, self.positions, self.shared = Shortcut(recording, rows), positions, shared
        self.fits = (shared.size() == program.shared_count and rows.size() == program.input_count
                     and self.found.has_one_output)

    def total_and_grad(self, tuple args, bint mean):
        """Return what `Compiled.sum_value_and_grad`, or that of the mean, returns, or None."""
        cdef Call call
        cdef Program program = self.found.program
        cdef Py_ssize_t i, n
        cdef double factor
        cdef list theta = [], arrays = []
        if not self.fits or tracing() or detecting() or not self.found.holds():
            return None
        for i in range(PyTuple_GET_SIZE(args)):
            (theta if i in self.positions else arrays).append(<object>PyTuple_GET_ITEM(args, i))
        rows = tuple(arrays)
        n = self.found.pattern.examples(rows)
        if not n:
            return None
        call = program.runner(PARAMETER_GRADIENTS).call()
        call.has_shared = False
        if not self.shared.read(tuple(theta), call.scalars.doubles):
            call.release()
            return None
        factor = 1.0 / n if mean else 1.0
        call.set_arrays(rows)
        call.set_seeds([factor])
        call.read_parameters(program)
        call.execute()
        result = call.sums[0] * factor, self.shared.gradients(call.gscalars.doubles)
        call.release()
        return result
