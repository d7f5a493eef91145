# Programs of derivatives at one example, and the shortest way into them. Included by program.pyx.

@cython.final
cdef class Derived:
    """A program of derivatives, and where its numbers go in an array.

    Args:
        program: its inputs are the numbers of the arguments; or, with directions, these are its shared inputs.
        directions: float64 arrays, whose rows are the examples, the same in each call; None for one example.
        source, target: of each number that goes somewhere, its place in the outputs, of all examples one after another,
            and in the result. What nothing goes to is 0.
        shape: of the result.
        is_whole: whether the array is what the caller gets, of arguments of which there is nothing else to see to.
        finish: what makes the caller's result of the array, or None.
        indices: with directions, which numbers of the arguments are inputs in front of these as well: each is an index.
    """
    cdef Program program
    cdef readonly object directions, finish
    cdef readonly tuple shape
    cdef readonly bint is_whole
    cdef tuple indices
    cdef Py_ssize_t *places          # source and target, in turns
    cdef Py_ssize_t count, size

    def __cinit__(self, Program program not None, directions, source, target, tuple shape, bint is_whole, finish=None,
                  tuple indices=()):
        cdef Py_ssize_t i, j, size = 1, last = program.output_count * (1 if directions is None else len(directions))
        self.program, self.directions, self.finish = program, directions, finish
        self.shape, self.is_whole, self.indices = shape, is_whole, indices
        self.count = len(source)
        for i in range(len(shape)):
            size *= <Py_ssize_t>shape[i]
        self.size = size
        self.places = <Py_ssize_t *>PyMem_Malloc((2 * self.count + 1) * sizeof(Py_ssize_t))
        if self.places == NULL:
            raise MemoryError(f"no memory for the places of {self.count:,} derivatives")
        for i, (j, to) in enumerate(zip(source, target, strict=True)):
            if not 0 <= j < last or not 0 <= to < size:
                raise ValueError("places must be in the outputs and in the result")
            self.places[2 * i], self.places[2 * i + 1] = j, to

    def __dealloc__(self):
        PyMem_Free(self.places)

    cdef Call begin(self):
        return self.program.runner(FORWARD).call()

    cdef double *arguments(self, Call call) noexcept:
        """Where the numbers of the arguments go."""
        return call.row.doubles if self.directions is None else call.scalars.doubles

    cdef object run(self, Call call):
        """Run a call whose arguments are there; the result as an array, a float where it has no axes."""
        cdef Py_buffer view
        cdef const double *found
        cdef double *to
        cdef Py_ssize_t i
        outputs = None
        if self.directions is None:
            call.use_row()
        else:
            call.has_shared = False
            outputs = new_array((len(self.directions), self.program.output_count))
            call.set_arrays((self.directions,) if not self.indices else (self.tiled_indices(call), self.directions))
            call.set_outputs(outputs, False)
        call.set_seeds(None)
        call.read_parameters(self.program)
        call.execute()
        found = call.sums if outputs is None else call.call.outputs
        if not self.shape:
            number = found[self.places[0]] if self.count else 0.0
            call.release()
            return number
        result = new_array(self.shape)
        view_float64(result, &view, True)
        to = <double *>view.buf
        if self.count < self.size:
            memset(to, 0, view.len)
        for i in range(self.count):
            to[self.places[2 * i + 1]] = found[self.places[2 * i]]
        PyBuffer_Release(&view)
        call.release()
        return result

    cdef object tiled_indices(self, Call call):
        return numpy().array([[call.scalars.doubles[i] for i in self.indices]] * len(self.directions))

    def __call__(self, *rows):
        """Return the array; see `run`.

        Args:
            rows: float64 arrays, which one after another are the numbers of the arguments.
        """
        cdef Call call = self.begin()
        cdef double *to = self.arguments(call)
        cdef Py_ssize_t left = (self.program.input_count if self.directions is None else self.program.shared_count)
        cdef Py_buffer view
        for row in rows:
            if not view_float64(row, &view, False) or view.len > left * <Py_ssize_t>sizeof(double):
                PyBuffer_Release(&view)
                raise ValueError("rows must be float64 arrays, with a number for each of the arguments'")
            memcpy(to, view.buf, view.len)
            to += view.len // <Py_ssize_t>sizeof(double)
            left -= view.len // <Py_ssize_t>sizeof(double)
            PyBuffer_Release(&view)
        if left:
            raise ValueError(f"rows must have a number for each of the arguments', {left} more")
        return self.run(call)


cdef Derived derived_of(Shortcut found, str name):
    """The program of some derivatives of a recording; None if it was not made yet."""
    return None if found is None else (<dict>found.recording.derived).get(name)


def latest_matrix(Latest latest not None, tuple args, str name):
    """Return what `Compiled.hessian`, or `jacobian`, returns, or None.

    Args:
        name: in `Recording.derived`.
    """
    cdef Shortcut found = latest.of_example(args, ())
    cdef Derived derived = derived_of(found, name)
    cdef Call call
    if derived is None or not derived.is_whole:
        return None
    call = derived.begin()
    if not found.pattern.read(args, derived.arguments(call)):
        call.release()
        return None
    result = derived.run(call)
    return result if derived.finish is None else derived.finish(result)


def latest_hvp(Latest latest not None, x, v, tuple others):
    """Return what `Compiled.hvp` returns, or None."""
    cdef tuple args = (x, *others)
    cdef Shortcut found = latest.of_example(args, ())
    cdef Derived derived = derived_of(found, "hvp")
    cdef Call call
    cdef double *directions
    cdef Py_ssize_t size
    if derived is None or not derived.is_whole:
        return None
    call = derived.begin()
    directions = call.row.doubles + found.pattern.size()
    if not found.pattern.read(args, call.row.doubles) or not found.pattern.read_argument(0, v, directions):
        call.release()
        return None
    size = found.pattern.arguments[0].size
    memset(directions + size, 0, (found.pattern.size() - size) * sizeof(double))
    return derived.run(call)


@cython.final
cdef class MeanProduct:
    """The product of a direction and the second derivatives of a mean over a batch, as gradients of a mean of tangents.

    Args:
        program: of the tangents; the direction is its last shared inputs.
        places: of each number of the product, in the gradients of the shared inputs and parameters; -1 if it is 0.
    """
    cdef Program program
    cdef Py_ssize_t *places
    cdef readonly Py_ssize_t count

    def __cinit__(self, Program program not None, list places not None):
        cdef Py_ssize_t i
        self.program, self.count = program, len(places)
        self.places = <Py_ssize_t *>PyMem_Malloc((self.count + 1) * sizeof(Py_ssize_t))
        if self.places == NULL:
            raise MemoryError(f"no memory for the places of {self.count:,} derivatives")
        for i in range(self.count):
            self.places[i] = places[i]
            if not -1 <= self.places[i] < program.shared_count + <Py_ssize_t>len(program.parameters):
                raise ValueError("places must be those of shared inputs and parameters")
        if self.count > program.shared_count:
            raise ValueError("the program has no shared inputs for a direction")

    def __dealloc__(self):
        PyMem_Free(self.places)

    cdef Call begin(self, tuple arrays, Example shared):
        """A call over the examples of arrays, whose direction is still to be set."""
        cdef Py_ssize_t count = 0 if shared is None else shared.count
        cdef Call call = self.program.runner(PARAMETER_GRADIENTS).call()
        if count + self.count != self.program.shared_count:
            raise ValueError(f"the program has {self.program.shared_count} shared inputs, got {count + self.count}")
        call.set_arrays(arrays)
        call.set_seeds([1.0 / call.call.n])
        if count:
            memcpy(call.scalars.doubles, shared.numbers, count * sizeof(double))
        call.read_parameters(self.program)
        return call

    cdef double *direction(self, Call call) noexcept:
        return call.scalars.doubles + self.program.shared_count - self.count

    cdef int run(self, Call call, double *to) except -1:
        cdef Py_ssize_t i
        call.has_shared = False
        call.execute()
        for i in range(self.count):
            to[i] = call.gscalars.doubles[self.places[i]] if self.places[i] >= 0 else 0.0
        return 0

    def product(self, tuple arrays, Example shared, v):
        """Return the product with v, a float64 array with a number for each place."""
        cdef Py_buffer view
        cdef Call call = self.begin(arrays, shared)
        cdef bint fits = view_float64(v, &view, False) and view.len == self.count * <Py_ssize_t>sizeof(double)
        if fits:
            memcpy(self.direction(call), view.buf, view.len)
        PyBuffer_Release(&view)
        if not fits:
            raise ValueError(f"v must be float64 of {self.count} numbers")
        result = new_array((self.count,))
        view_float64(result, &view, True)
        try:
            self.run(call, <double *>view.buf)
        finally:
            PyBuffer_Release(&view)
        call.release()
        return result

    def matrix(self, tuple arrays, Example shared):
        """Return the second derivatives: the products with unit vectors, of which one half is taken."""
        cdef Py_buffer view
        cdef Py_ssize_t i, j, count = self.count
        cdef Call call = self.begin(arrays, shared)
        cdef double *v = self.direction(call)
        cdef double *to
        result = new_array((count, count))
        view_float64(result, &view, True)
        to = <double *>view.buf
        memset(v, 0, count * sizeof(double))
        try:
            for i in range(count):
                v[i] = 1
                self.run(call, to + i * count)
                v[i] = 0
                PyErr_CheckSignals()
            for i in range(count):
                for j in range(i):
                    to[i * count + j] = to[j * count + i]
        finally:
            PyBuffer_Release(&view)
        call.release()
        return result


def latest_mean_product(Latest latest not None, tuple args, v):
    """Return what `Compiled.mean_hvp` returns, or None."""
    cdef Py_ssize_t n = 0
    cdef Shortcut found = latest.of_batch(args, (), &n)
    cdef MeanProduct derived
    if found is None or found.shared is not None or not is_plain(v):
        return None
    derived = (<dict>found.recording.derived).get("mean product")
    if derived is None or (<tuple>v.shape) != (derived.count,) or not is_ready(v):
        return None
    return derived.product(found.pattern.arrays(args), None, v)
