# A call of a plan: memory, blocks of examples, threads. Included by program.pyx.

cdef inline Py_ssize_t padded(Py_ssize_t n) noexcept:
    """How many lanes are for n examples."""
    return (n + MGC_LANE_MULTIPLE - 1) // MGC_LANE_MULTIPLE * MGC_LANE_MULTIPLE


cdef enum:
    MOST_PARTITIONS = 16
    PARTIAL_BYTES = 1 << 22         # what the sums of all partitions may take
    TIMED_EXAMPLES = 64             # fewer say nothing about what many take
    SLICE_WORK = 1 << 22            # about a millisecond: after that, a worker looks at the clock
    SHORT_WORK = 1 << 12            # a few microseconds: less is done with the GIL


cdef int hear_signals(void *hearer) noexcept nogil:
    """Whether a signal raised an exception, which a Call then keeps; signals come to the main thread alone."""
    with gil:
        try:
            PyErr_CheckSignals()
        except BaseException as error:
            (<Call>hearer).interruption = error
            return True
    return False


@cython.internal
cdef class Call:
    """One call of a program: its memory, which the next call may have, and what it reads and writes."""
    cdef Runner runner
    cdef mgc_call call
    cdef Doubles scalars, gscalars, weights, small, partials
    cdef list lane_memory            # of each worker
    cdef Py_buffer *views            # of the arrays that it reads and writes, while it runs
    cdef int view_count
    cdef const double **pointers
    cdef double **grad_pointers
    cdef int *columns
    cdef double *seeds
    cdef double *sums
    cdef object outputs              # an array, or None
    cdef Doubles row, row_grads      # the inputs of one example, and their gradients
    cdef list input_grads            # arrays, or None
    cdef unsigned int parameter_flags    # those of all parameters, put together
    cdef uint64_t version            # of the leaves when the parameters were read; 0: they are others
    cdef bint has_shared             # whether what depends on no example was computed from the parameters
    cdef int trouble                 # what stopped a loop
    cdef int most_threads            # that it may use; 0 for as many as `set_num_threads` said
    cdef object interruption         # the exception that a signal raised meanwhile, or None

    def __cinit__(self, Runner runner):
        cdef mgc_program *p = runner.program
        cdef size_t most = <size_t>p.input_count + 1    # arrays: each has a column at least
        cdef int i
        self.runner = runner
        self.scalars, self.gscalars = Doubles(p.scalar_count + 1), Doubles(p.scalar_count + 1)
        self.weights, self.small = Doubles(p.weight_count + 1), Doubles(2 * p.output_count)
        self.seeds, self.sums = self.small.doubles, self.small.doubles + p.output_count
        self.partials, self.lane_memory = Doubles(0), []
        self.row, self.row_grads = Doubles(p.input_count + 1), Doubles(p.input_count + 1)
        self.views = <Py_buffer *>PyMem_Malloc((2 * most + 3) * sizeof(Py_buffer))
        self.pointers = <const double **>PyMem_Malloc(most * sizeof(double *))
        self.grad_pointers = <double **>PyMem_Malloc(most * sizeof(double *))
        self.columns = <int *>PyMem_Malloc(most * sizeof(int))
        if self.views == NULL or self.pointers == NULL or self.grad_pointers == NULL or self.columns == NULL:
            raise MemoryError("no memory for a call of a program")
        for i in range(runner.plan.constant_places.count):
            self.scalars.doubles[runner.plan.constant_places.items[i]] = runner.plan.constants[i]
        self.call.trouble = &self.trouble
        if runner.program.loop_count:
            self.call.hear, self.call.hearer = hear_signals, <void *>self
        self.call.program, self.call.lanes = p, LANES
        self.call.arrays, self.call.array_columns = self.pointers, self.columns
        self.call.scalars, self.call.weights = self.scalars.doubles, self.weights.doubles

    def __dealloc__(self):
        self.release_views()
        PyMem_Free(self.views)
        PyMem_Free(self.pointers)
        PyMem_Free(self.grad_pointers)
        PyMem_Free(self.columns)

    cdef int release_views(self) except -1:
        while self.view_count:
            self.view_count -= 1
            PyBuffer_Release(&self.views[self.view_count])
        self.outputs = self.input_grads = None
        return 0

    cdef int release(self) except -1:
        """The call is over: the next may have its memory."""
        self.release_views()
        self.call.skips_sums = False
        if len(self.runner.spare) < MOST_PARTITIONS:
            self.runner.spare.append(self)
        return 0

    cdef Py_buffer *view(self, array, bint writable) except NULL:
        """A view of a C-contiguous float64 array."""
        cdef Py_buffer *view = &self.views[self.view_count]
        cdef bint is_float64 = view_float64(array, view, writable)
        self.view_count += 1
        if not is_float64 or view.ndim < 1:
            raise TypeError("arrays must be float64, aligned, with an axis for the examples first, "
                            f"got {array!r:.60}")
        return view

    cdef int set_arrays(self, tuple arrays) except -1:
        cdef mgc_program *p = self.runner.program
        cdef Py_ssize_t n = -1
        cdef int columns, i, total = 0
        cdef Py_buffer *view
        if len(arrays) > p.input_count + (p.input_count == 0):
            raise ValueError(f"the program has {p.input_count} inputs, got {len(arrays)} arrays")
        for i, array in enumerate(arrays):
            view = self.view(array, False)
            if n < 0:
                n = view.shape[0]
            if n < 1:
                raise ValueError("there must be at least one example, got none")
            columns = view.len // <Py_ssize_t>sizeof(double) // n
            if view.shape[0] != n:
                raise ValueError(f"arrays must have a row for each example, "
                                 f"got {n} rows in the first and {view.shape[0]} in number {i}")
            self.pointers[i] = <const double *>view.buf
            self.columns[i] = columns
            total += columns
        if total != p.input_count:
            raise ValueError(f"the arrays must have {p.input_count} columns together, one for each input, got {total}")
        if n < 1:
            raise ValueError("there must be at least one array, got none")
        self.call.n, self.call.array_count = n, len(arrays)
        self.check_indices()
        self.call.outputs, self.call.input_grads = NULL, NULL
        if self.runner.wanted == INPUT_GRADIENTS:
            flat = new_array((n * total,))     # one piece of memory is had faster than several
            self.input_grads = []
            for i, array in enumerate(arrays):
                self.input_grads.append(flat[:n * self.columns[i]].reshape(array.shape))
                flat = flat[n * self.columns[i]:]
            for i, array in enumerate(self.input_grads):
                self.grad_pointers[i] = <double *>self.view(array, True).buf
            self.call.input_grads = self.grad_pointers
        return 0

    cdef int set_outputs(self, object array, bint with_sums) except -1:
        """Write the outputs of each example to an array, which is as large as they are; and perhaps sum them up."""
        self.call.skips_sums = not with_sums
        self.call.outputs = <double *>self.view(array, True).buf
        self.outputs = array
        return 0

    cdef int set_row(self, const double *numbers, Py_ssize_t count) except -1:
        """Take the numbers of one example for the inputs."""
        if count != self.runner.program.input_count:
            raise ValueError(f"the program has {self.runner.program.input_count} inputs, got {count}")
        if count:       # else there may be no numbers to point to
            memcpy(self.row.doubles, numbers, count * sizeof(double))
        return self.use_row()

    cdef int use_row(self) except -1:
        """Take what is in `row` for the inputs."""
        self.pointers[0], self.columns[0] = self.row.doubles, self.runner.program.input_count
        self.call.n, self.call.array_count = 1, 1
        self.call.outputs, self.call.input_grads = NULL, NULL
        self.check_indices()
        if self.runner.wanted == INPUT_GRADIENTS:
            self.grad_pointers[0] = self.row_grads.doubles
            self.call.input_grads = self.grad_pointers
        return 0

    cdef Doubles copied_row(self):
        cdef size_t count = self.runner.program.input_count
        cdef Doubles copy = Doubles(count)
        memcpy(copy.doubles, self.row.doubles, count * sizeof(double))
        return copy

    cdef list input_gradients(self):
        """The gradients of all inputs, in order."""
        if self.input_grads is not None:
            return [x for array in self.input_grads for x in array.ravel().tolist()]
        return [self.row_grads.doubles[i] for i in range(self.runner.program.input_count)]

    cdef int check_indices(self) except -1:
        """Raise IndexError unless each index picks a value."""
        cdef Py_ssize_t example
        cdef const double *index
        cdef double x
        cdef int i, limit, place, a, columns
        cdef mgc_plan *plan = &self.runner.plan
        for i in range(plan.index_inputs.count):
            place, limit, a = plan.index_inputs.items[i], plan.index_limits.items[i], 0
            while place >= self.columns[a]:
                place -= self.columns[a]
                a += 1
            index, columns = self.pointers[a] + place, self.columns[a]
            for example in range(self.call.n):
                x = index[example * columns]
                if not 0 <= x < limit or x != floor(x):
                    raise wrong_index(example, limit, x)
        if self.runner.indices is not None:
            self.runner.indices.check(self)
        return 0

    cdef int set_seeds(self, seeds) except -1:
        cdef int i, count = self.runner.program.output_count
        self.call.seeds = NULL
        if seeds is not None:
            if self.runner.wanted == FORWARD:
                raise RuntimeError("this plan has no way back")
            if len(seeds) != count:
                raise ValueError(f"seeds must have {count} numbers, one for each output, got {len(seeds)}")
            for i in range(count):
                self.seeds[i] = seeds[i]
            self.call.seeds = self.seeds
        return 0

    cdef int set_blocks(self) except -1:
        """Cut the examples into blocks, and these into partitions: both depend on the number of examples alone."""
        cdef mgc_program *p = self.runner.program
        cdef Py_ssize_t n = self.call.n, size = mgc_partial_size(p)
        cdef Py_ssize_t fitting = PARTIAL_BYTES // <Py_ssize_t>(size * sizeof(double) + 1)     # partitions
        cdef Py_ssize_t block = min(self.runner.lanes, padded(n))
        if self.runner.is_free and padded(n) <= self.runner.lanes_of_all and padded(n) % 64:
            block = padded(n)
        elif self.runner.is_free:    # blocks of one size, not full ones and a rest
            block = padded((n - 1) // ((n - 1) // block + 1) + 1)
        if block % 64 == 0:
            block += MGC_LANE_MULTIPLE    # rows a power of two apart would get into each other's way in the cache
        self.call.block, self.call.blocks = block, (n - 1) // block + 1
        self.call.partitions = max(1, min(MOST_PARTITIONS, self.call.blocks // 2, fitting))
        if self.partials.size < <size_t>(size * self.call.partitions):
            self.partials = Doubles(size * self.call.partitions)
        self.call.partials = self.partials.doubles
        return 0

    cdef double *lane_doubles(self, int worker) except NULL:
        cdef mgc_program *p = self.runner.program
        cdef size_t size = 8 + MGC_SCRATCH
        if self.call.block == 1:
            size += NUMBERS_OF_ONE * <size_t>p.slot_count + p.kept_of_one
        else:
            size += (2 + <size_t>p.slot_count * self.runner.numbers_in_slot() + p.kept_rows) * self.call.block
        if self.call.careful:
            size += p.careful_rows * <size_t>(self.call.block + 1)
        if worker == len(self.lane_memory):
            self.lane_memory.append(None)
        cdef Doubles memory = self.lane_memory[worker]
        if memory is None or memory.size < size:
            memory = self.lane_memory[worker] = Doubles(size)
        return memory.doubles

    cdef int read_parameters(self, Program program) except -1:
        cdef int i
        cdef unsigned int flags = 0
        cdef double *to = self.scalars.doubles + program.shared_count
        cdef mgc_node **nodes = program.nodes
        if self.version == leaf_version[0] and not (open_views[0] and self.is_behind(program)):
            return 0
        for i in range(self.runner.program.parameter_count - program.shared_count):
            to[i] = nodes[i].data
            flags |= nodes[i].flags
        self.parameter_flags, self.version, self.has_shared = flags, leaf_version[0], False
        return 0

    cdef bint is_behind(self, Program program) noexcept:
        """Whether a parameter has another number than was read: somebody may have written to it through a view."""
        cdef int i
        cdef const double *read = self.scalars.doubles + program.shared_count
        for i in range(self.runner.program.parameter_count - program.shared_count):
            if memcmp(&program.nodes[i].data, &read[i], sizeof(double)):
                return True
        return False

    cdef int set_shared(self, Program program, Example shared) except -1:
        """Take the numbers of the arguments that have no axis for the examples."""
        cdef Py_ssize_t count = 0 if shared is None else shared.count
        if count != program.shared_count:
            raise ValueError(f"the program has {program.shared_count} shared inputs, got {count}")
        if count:
            memcpy(self.scalars.doubles, shared.numbers, count * sizeof(double))
            self.has_shared = False
        return 0

    cdef int set_parameters(self, const double *numbers) except -1:
        """Take other numbers for the parameters, for this call."""
        memcpy(self.scalars.doubles, numbers, self.runner.program.parameter_count * sizeof(double))
        self.version, self.has_shared = 0, False
        return 0

    cdef int set_numbers(self, Program program, parameters) except -1:
        """Take the numbers in an array for those of the parameters, for this call."""
        cdef Py_ssize_t count = self.runner.program.parameter_count - program.shared_count
        cdef Py_buffer *view
        if parameters.size != count:
            raise ValueError(f"the program has {count} parameters, got {parameters.size} numbers")
        if count:
            view = self.view(parameters, False)
            memcpy(self.scalars.doubles + program.shared_count, view.buf, count * sizeof(double))
        self.version, self.has_shared = 0, False
        return 0

    cdef int execute(self) except -1:
        """Run, and once more, carefully, if a gradient is nan for something that sent none may have sent a 0."""
        self.run_now(False)
        if self.call.seeds != NULL and (self.runner.takes or self.has_unasked_output()) and self.has_nan_gradient():
            self.run_now(True)
        return 0

    cdef int run_now(self, bint careful) except -1:
        self.call.careful, self.trouble = careful, 0
        self.run_once()
        if self.trouble == INTERRUPTED:
            error, self.interruption = self.interruption, None
            raise error
        if self.trouble == WRONG_INDEX:
            raise IndexError("an index in a scan picked nothing: it must be an integer, at least 0 and less than the "
                             "number of values that take picks from")
        return 0

    cdef bint has_unasked_output(self) noexcept:
        """Whether one of the outputs gets no gradient: its seed is -0."""
        cdef int i
        for i in range(self.runner.program.output_count):
            if mgc_is_none(self.seeds[i]):
                return True
        return False

    cdef bint has_nan_gradient(self) noexcept nogil:
        cdef Py_ssize_t i, a
        for i in range(self.runner.program.parameter_count):
            if isnan(self.gscalars.doubles[i]):
                return True
        if self.call.input_grads != NULL:
            for a in range(self.call.array_count):
                for i in range(self.call.n * self.columns[a]):
                    if isnan(self.grad_pointers[a][i]):
                        return True
        return False

    cdef int run_once(self) except -1:
        cdef int i, workers = 1
        cdef clock_t begin = 0
        cdef double expected = self.runner.seconds * self.call.n
        cdef bint is_timed = self.call.n >= TIMED_EXAMPLES and not self.call.careful and (
            expected >= LEAST_SHARED or not self.runner.is_measured)
        if self.call.n == 1 and not self.call.careful:
            return self.run_one()
        self.set_blocks()
        self.call.slice = <Py_ssize_t>(SLICE_WORK / (self.runner.work * self.call.block + 1)) + 1
        self.call.stop = False
        if expected >= LEAST_SHARED:
            workers = workers_for(expected, min(self.most_threads or get_num_threads(), self.call.partitions))
        if is_timed:
            begin = clock()
        for i in range(workers):
            self.lane_doubles(i)
        if not self.has_shared:
            with nogil:
                mgc_run_shared(&self.call)
            self.has_shared = True
        if workers == 1:
            self.work(0, 1)
        else:
            run_in_threads(self.work, self.stop, workers)
        if is_timed:
            self.runner.learn(<double>(clock() - begin) / CLOCKS_PER_SEC / self.call.n)
        with nogil:
            mgc_finish(&self.call, self.sums, self.gscalars.doubles)
        return 0

    cdef int run_one(self) except -1:
        cdef double *memory
        self.call.block = self.call.blocks = self.call.partitions = 1
        if not self.partials.size:
            self.partials = Doubles(mgc_partial_size(self.runner.program))
        self.call.partials = self.partials.doubles
        memory = self.lane_doubles(0)
        if self.runner.work + self.runner.work_once < SHORT_WORK and self.has_shared:
            self.run_one_here(memory)
        else:
            with nogil:
                self.run_one_here(memory)
        self.has_shared = True
        return 0

    cdef inline void run_one_here(self, double *memory) noexcept nogil:
        if not self.has_shared:
            mgc_run_shared(&self.call)
        mgc_run_one(&self.call, memory)
        mgc_finish(&self.call, self.sums, self.gscalars.doubles)

    def work(self, int worker, int workers):
        """Run the partitions of one worker; in the main thread, signals are heard meanwhile."""
        cdef double *memory = (<Doubles>self.lane_memory[worker]).doubles
        cdef mgc_progress progress = mgc_progress(partition=worker, block=-1)
        cdef bint done = False
        while True:
            with nogil:
                done = mgc_work(&self.call, workers, memory, &progress)
            if done:
                return
            PyErr_CheckSignals()

    def stop(self):
        """Let all workers stop at their next block: the results are not wanted any more."""
        self.call.stop = True

    cdef object parameter_gradients(self):
        cdef Py_ssize_t i, count = self.runner.program.parameter_count
        cdef double[::1] to
        if self.call.seeds == NULL:
            return None
        grads = new_array((count,))
        if count:
            to = grads
            memcpy(&to[0], self.gscalars.doubles, count * sizeof(double))
        return grads

    cdef list sums_list(self):
        return [self.sums[k] for k in range(self.runner.program.output_count)]
